#include "lclient.h"

#include <string.h>

#include "lrequest.h"
#include "lsecret.h"
#include "lutil.h"
#include "oc_clock.h"
#include "oc_exchange.h"

/* Events one drain delivers at most: a handler may make new ones for ever. */
#define MAX_DRAIN 10000
/* Handlers of one request that may raise in one drain: more than it has. */
#define MAX_TRIES 2000

oc_client *lclient_open(lua_State *L, int index) {
  oc_client *client = lutil_open(L, index, LUTIL_CLIENT);
  if(oc_client_is_closed(client))
    lutil_misuse(L, "client is closed");
  return client;
}

/*
 * client(settings) -> client | nil, code, message
 *
 * `settings`: base_url, key (a string or a secret), http2, skip_verify,
 * trusts_only, max_connections, and the texts of OC_CLIENT_TEXT_MAP;
 * record, replay (paths of tapes), replay_speed (0: no waiting at all),
 * replay_in_order. The key is copied and not kept on the Lua side.
 */
static int client_new(lua_State *L) {
  static const char *const names[OC_TEXT_COUNT] = {
#define X(symbol, name, option) name,
    OC_CLIENT_TEXT_MAP(X)
#undef X
  };
  oc_client_options options;
  oc_error error;
  lutil_box *box;
  int i;

  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  memset(&options, 0, sizeof options);
  memset(&error, 0, sizeof error);
  options.base_url = lutil_string_field(L, 1, "base_url", NULL);
  options.key = lsecret_field(L, 1, "key", &options.key_len);
  for(i = 0; i < OC_TEXT_COUNT; i++)
    options.texts[i] = lutil_string_field(L, 1, names[i], NULL);
  options.trusts_only = lutil_boolean_field(L, 1, "trusts_only");
  options.skip_verify = lutil_boolean_field(L, 1, "skip_verify");
  options.http2 = lutil_boolean_field(L, 1, "http2");
  options.record = lutil_string_field(L, 1, "record", NULL);
  options.replay.path = lutil_string_field(L, 1, "replay", NULL);
  options.replay.speed = lutil_number_field(L, 1, "replay_speed", 0);
  options.replay.in_order = lutil_boolean_field(L, 1, "replay_in_order");
  options.max_connections =
    (long)lutil_number_field(L, 1, "max_connections", 0);
  box = lutil_new(L, LUTIL_CLIENT);
  lcompat_get_uservalue(L, -1);
  lua_newtable(L);
  lua_setfield(L, -2, "requests");
  lua_pop(L, 1);
  box->core = oc_client_new(&options, &error);
  if(box->core)
    return 1;
  lua_pushnil(L);
  lua_pushstring(L, error.name);
  lua_pushstring(L, oc_error_message(&error));
  oc_error_clear(&error);
  return 3;
}

/* The box of a client that may be closed; NULL core: finalised. */
static oc_client *test_client(lua_State *L) {
  return lutil_check(L, 1, LUTIL_CLIENT)->core;
}

/* client_close(client): ends its requests; drain() tells them. */
static int client_close(lua_State *L) {
  oc_client *client = test_client(L);
  if(client)
    oc_client_close(client);
  return 0;
}

static int client_gc(lua_State *L) {
  lutil_box *box = lutil_test(L, 1, LUTIL_CLIENT);
  oc_client *client = box ? box->core : NULL;
  if(client) {
    box->core = NULL;
    oc_client_dispose(client);
  }
  return 0;
}

/* Where the host of a URL begins: behind "user:password@". */
static const char *host_of(const char *url) {
  const char *host = strstr(url, "://");
  const char *at;
  host = host ? host + 3 : url;
  for(at = host; *at && *at != '/'; at++) {
    if(*at == '@')
      host = at + 1;
  }
  return host;
}

static int client_tostring(lua_State *L) {
  oc_client *client = test_client(L);
  if(!client || oc_client_is_closed(client))
    lua_pushliteral(L, "opperchat.client (closed)");
  else {
    const char *url = oc_client_base_url(client);
    lua_pushlstring(L, url, (size_t)(strstr(url, "://") + 3 - url));
    lua_pushfstring(L, "opperchat.client (%s%s, %s)", lua_tostring(L, -1),
                    host_of(url),
                    oc_client_has_key(client) ? "key <redacted>"
                                              : "no key");
  }
  return 1;
}

/* client_is_closed(client) */
static int client_is_closed(lua_State *L) {
  oc_client *client = test_client(L);
  lua_pushboolean(L, !client || oc_client_is_closed(client));
  return 1;
}

/* client_open(client) -> its state; raises when it is closed */
static int client_open(lua_State *L) {
  lclient_open(L, 1);
  lcompat_get_uservalue(L, 1);
  return 1;
}

/* client_active(client) -> requests that have not ended */
static int client_active(lua_State *L) {
  oc_client *client = test_client(L);
  lcompat_push_integral(L, client ? oc_client_active(client) : 0);
  return 1;
}

/* client_has_key(client) */
static int client_has_key(lua_State *L) {
  oc_client *client = test_client(L);
  lua_pushboolean(L, client && oc_client_has_key(client));
  return 1;
}

/* {==== tapes ==== */

/*
 * client_left(client) -> recordings that were not played: a list of tables
 * with line, method, path, attempt, body (JSON text) | nil: nothing plays
 */
static int client_left(lua_State *L) {
  oc_client *client = test_client(L);
  const oc_player *player = client ? oc_client_player(client) : NULL;
  const oc_recording *recording;
  size_t at = 0;
  int count = 0;

  if(!player)
    return 0;
  lua_newtable(L);
  while((recording = oc_player_left(player, &at)) != NULL) {
    oc_slice body = oc_recording_body(recording);
    lua_createtable(L, 0, 5);
    lcompat_push_integral(L, oc_recording_line(recording));
    lua_setfield(L, -2, "line");
    lua_pushstring(L, oc_recording_method(recording));
    lua_setfield(L, -2, "method");
    lua_pushstring(L, oc_recording_path(recording));
    lua_setfield(L, -2, "path");
    lua_pushinteger(L, oc_recording_attempt(recording));
    lua_setfield(L, -2, "attempt");
    if(body.len) {
      lua_pushlstring(L, body.text, body.len);
      lua_setfield(L, -2, "body");
    }
    lua_rawseti(L, -2, ++count);
  }
  return 1;
}

/* client_record_problem(client) -> why not all of it was recorded | nil */
static int client_record_problem(lua_State *L) {
  oc_client *client = test_client(L);
  const oc_recorder *recorder = client ? oc_client_recorder(client) : NULL;
  const char *problem = recorder ? oc_recorder_problem(recorder) : NULL;
  if(!problem)
    return 0;
  lua_pushstring(L, problem);
  return 1;
}

/* }==== */

/* {==== moving forward ==== */

/* Seconds as a wait in milliseconds, rounded up; -1: no end. */
static int64_t wait_of(lua_Number seconds) {
  return seconds < 0 ? -1 : seconds > 1e9 ? 1000000000000
         : (int64_t)(seconds * 1000 + 0.999);
}

/*
 * step(client, seconds, anyway): moves the transfers forward without
 * calling any Lua function, until there is news; waits at most that long
 * (nil: as long as it takes, or until a signal comes), but not while there
 * is news to be told, unless `anyway`.
 */
static int step(lua_State *L) {
  oc_client *client = test_client(L);
  lua_Number seconds = luaL_optnumber(L, 2, -1);
  if(client && !oc_client_is_closed(client))
    oc_client_step(client, wait_of(seconds), lua_toboolean(L, 3));
  return 0;
}

/* Appends where the error came from to a message that is a string. */
static int traceback(lua_State *L) {
  if(lua_type(L, 1) != LUA_TSTRING)
    return 1;
  lua_getglobal(L, "debug");
  if(!lua_istable(L, -1))
    return lua_settop(L, 1), 1;
  lua_getfield(L, -1, "traceback");
  if(!lua_isfunction(L, -1))
    return lua_settop(L, 1), 1;
  lua_pushvalue(L, 1);
  lua_pushinteger(L, 2);
  lua_call(L, 2, 1);
  return 1;
}

/*
 * Calls the handlers of all requests with news, in the order of their news,
 * until it is `until_us`; those it does not come to keep theirs for the next
 * time. Returns for how many. Adds how many have raised to `errors`; the
 * first error replaces the value at 2. The stack is that of run(), and
 * remains.
 */
static int deliver(lua_State *L, oc_client *client, int64_t until_us,
                   int *errors) {
  oc_exchange *exchange;
  int count = 0;

  while(count < MAX_DRAIN && (exchange = oc_client_next(client)) != NULL) {
    int tag = (int)oc_exchange_tag(exchange);
    int status;
    int has_more;
    int tries;
    count++;
    lua_rawgeti(L, 4, tag);             /* 7: the request */
    if(lua_isnil(L, 7)) {
      oc_exchange_unref(exchange);
      lua_settop(L, 6);
      continue;
    }
    /* a handler that raises ends its own request, of which it is told */
    tries = MAX_TRIES;
    do {
      lua_settop(L, 7);
      lua_pushvalue(L, 6);
      lua_pushvalue(L, 7);
      lcompat_get_uservalue(L, 7);
      if(until_us == OC_NEVER)
        lua_pushnil(L);
      else
        lua_pushnumber(L, (lua_Number)until_us);
      status = lua_pcall(L, 3, 1, 5);
      if(status && status != LUA_ERRMEM)
        lrequest_abort(L, 7);
      if(status && !(*errors)++) {
        lua_pushvalue(L, -1);
        lua_replace(L, 2);
      }
    } while(status && status != LUA_ERRMEM && --tries);
    has_more = !status && lua_toboolean(L, -1);
    if(status || has_more)
      /* not told yet: the next drain tries again */
      oc_client_news(client, exchange);
    else if(oc_exchange_has_ended(exchange)) {
      lua_pushnil(L);
      lua_rawseti(L, 4, tag);
    }
    oc_exchange_unref(exchange);
    lua_settop(L, 6);
    if(status || has_more || (until_us != OC_NEVER && oc_now_us() >= until_us))
      break;
  }
  return count;
}

/*
 * What drain() and advance() do and return, with the client at 1. Within a
 * handler it does nothing. `is_stepping`: moves the transfers forward as
 * well, some at a time, so that no text waits for all the others to be read;
 * what the last time has left comes first.
 */
static int run(lua_State *L, int64_t until_us, int is_stepping) {
  oc_client *client = test_client(L);
  int has_more = is_stepping;
  int errors = 0;
  int told;
  int must;

  lua_settop(L, 1);
  luaL_checkstack(L, 10, NULL);
  lua_pushnil(L);                       /* 2: the first error */
  lcompat_get_uservalue(L, 1);          /* 3: the state */
  lua_getfield(L, 3, "is_draining");
  if(!client || lua_toboolean(L, -1)) {
    lua_settop(L, 3);
    return 1;
  }
  lua_pop(L, 1);
  lua_pushboolean(L, 1);
  lua_setfield(L, 3, "is_draining");
  lua_getfield(L, 3, "requests");       /* 4 */
  lua_pushvalue(L, lua_upvalueindex(1));    /* 5: traceback() */
  lua_pushvalue(L, lua_upvalueindex(2));    /* 6: lrequest_deliver() */
  told = deliver(L, client, until_us, &errors);
  /* whatever the budget, each call does something */
  must = !told;
  while(has_more && !errors && (must || oc_now_us() < until_us)) {
    must = 0;
    has_more = oc_client_step_until(client, until_us);
    if(oc_now_us() < until_us)
      deliver(L, client, until_us, &errors);
  }
  /* nobody polls it again */
  if(oc_client_is_closed(client))
    deliver(L, client, OC_NEVER, &errors);
  lua_pushnil(L);
  lua_setfield(L, 3, "is_draining");
  lua_settop(L, 3);
  if(!errors)
    return 1;
  lua_pushboolean(L, 1);
  lua_pushvalue(L, 2);
  return 3;
}

/*
 * drain(client) -> its state[, true, error]. Calls the handlers of all
 * requests with news. What they raise is returned at the end, the first of
 * them.
 */
static int drain(lua_State *L) {
  return run(L, OC_NEVER, 0);
}

/*
 * advance(client, seconds[, budget]): what step(client, seconds) and then
 * drain(client) do, which is what a host asks for in each frame. With a
 * budget it stops when it has taken so many seconds, beside the waiting:
 * the rest is for the next time.
 */
static int advance(lua_State *L) {
  oc_client *client = test_client(L);
  lua_Number seconds = luaL_optnumber(L, 2, -1);
  lua_Number budget = luaL_optnumber(L, 3, -1);

  if(!(budget >= 0 && budget < 1e9)) {
    lua_settop(L, 2);
    step(L);
    return run(L, OC_NEVER, 0);
  }
  if(client && seconds != 0)
    oc_client_await(client, wait_of(seconds));
  return run(L, oc_now_us() + (int64_t)(budget * 1e6), 1);
}

/* timeout(client) -> seconds until step() is due anyway | nil */
static int timeout(lua_State *L) {
  oc_client *client = test_client(L);
  int64_t due = client ? oc_client_timeout_ms(client) : -1;
  if(due < 0)
    return 0;
  lua_pushnumber(L, (lua_Number)due / 1000);
  return 1;
}

/* pollfd(client) -> descriptor to watch for reading | nil */
static int pollfd(lua_State *L) {
  oc_client *client = test_client(L);
  int fd = client ? oc_client_fd(client) : -1;
  if(fd < 0)
    return 0;
  lua_pushinteger(L, fd);
  return 1;
}

/* }==== */

/*
 * A function that drains has what it calls as upvalues: one that is pushed
 * is garbage afterwards, on 5.1 and LuaJIT.
 */
static void register_draining(lua_State *L, const char *name,
                              lua_CFunction function) {
  lua_pushcfunction(L, traceback);
  lua_pushcfunction(L, lrequest_deliver);
  lua_pushcclosure(L, function, 2);
  lua_setfield(L, -2, name);
}

void lclient_register(lua_State *L) {
  static const luaL_Reg functions[] = {
    { "client", client_new },
    { "client_close", client_close },
    { "client_is_closed", client_is_closed },
    { "client_open", client_open },
    { "client_active", client_active },
    { "client_has_key", client_has_key },
    { "client_left", client_left },
    { "client_record_problem", client_record_problem },
    { "step", step },
    { "timeout", timeout },
    { "pollfd", pollfd },
    { NULL, NULL }
  };
  static const luaL_Reg methods[] = { { NULL, NULL } };
  static const luaL_Reg meta[] = {
    { "__gc", client_gc },
    { "__tostring", client_tostring },
    { NULL, NULL }
  };
  lutil_add_type(L, LUTIL_CLIENT, methods, meta);
  lcompat_register(L, functions);
  register_draining(L, "drain", drain);
  register_draining(L, "advance", advance);
}
