#include "lsetup.h"

#include <string.h>

#include "lclient.h"
#include "lsecret.h"
#include "lutil.h"
#include "oc_secret.h"

#define SETUP "opperchat.Setup"

oc_setup *lsetup_check(lua_State *L, int index) {
  oc_setup **box = luaL_checkudata(L, index, SETUP);
  if(!*box)
    luaL_argerror(L, index, "a setup that was finalised");
  return *box;
}

/* A time limit, rounded up: 0.29 is a little less in binary. 0: none. */
static int64_t milliseconds(lua_State *L, int index, const char *name) {
  double seconds = lutil_number_field(L, index, name, 0);
  if(seconds <= 0 || seconds > 1e9)
    return 0;
  return seconds < 0.001 ? 1 : (int64_t)(seconds * 1000 + 0.999);
}

/* The list of header lines in the field "headers", as a userdata on top. */
static const char **push_headers(lua_State *L, int index, size_t *count) {
  const char **lines;
  size_t i;
  lua_getfield(L, index, "headers");
  *count = lua_istable(L, -1) ? lcompat_rawlen(L, -1) : 0;
  lines = lua_newuserdata(L, (*count + 1) * sizeof *lines);
  for(i = 0; i < *count; i++) {
    lua_rawgeti(L, -2, (int)i + 1);
    lines[i] = luaL_checkstring(L, -1);
    lua_pop(L, 1);
  }
  return lines;
}

static int setup_gc(lua_State *L) {
  oc_setup **box = lua_touserdata(L, 1);
  oc_setup_unref(*box);
  *box = NULL;
  return 0;
}

/*
 * setup(client, settings) -> what the requests of a conversation have in
 * common, made once
 *
 * `settings`: key (a string or a secret), headers (lines), connect,
 * first_token, idle, total (seconds, absent: none), max_response, max_event,
 * max_buffered (bytes), max_retries; get (the path of a document to get;
 * absent: it is for conversations).
 */
static int setup_new(lua_State *L) {
  oc_client *client = lclient_open(L, 1);
  oc_setup_options options;
  oc_setup **box;

  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  memset(&options, 0, sizeof options);
  options.path = lutil_string_field(L, 2, "get", NULL);
  options.is_get = options.path != NULL;
  if(!options.is_get)
    options.path = "/chat/completions";
  options.key = lsecret_field(L, 2, "key", &options.key_len);
  options.deadlines.connect_ms = milliseconds(L, 2, "connect");
  options.deadlines.first_token_ms = milliseconds(L, 2, "first_token");
  options.deadlines.idle_ms = milliseconds(L, 2, "idle");
  options.deadlines.total_ms = milliseconds(L, 2, "total");
  options.max_response =
    (size_t)lutil_number_field(L, 2, "max_response", 64e6);
  options.max_event = (size_t)lutil_number_field(L, 2, "max_event", 16e6);
  options.max_buffered = (size_t)lutil_number_field(L, 2, "max_buffered", 0);
  options.max_retries = lutil_count(lutil_number_field(L, 2, "max_retries", 0));
  options.headers = push_headers(L, 2, &options.header_count);
  box = lua_newuserdata(L, sizeof *box);
  *box = NULL;
  if(luaL_newmetatable(L, SETUP)) {
    lua_pushcfunction(L, setup_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  *box = oc_setup_new(client, &options);
  if(!*box)
    return luaL_error(L, "out of memory");
  return 1;
}

/* hide(setup, text) -> the same without the key and what other headers of
   these requests hold that is secret */
static int hide(lua_State *L) {
  oc_setup *setup = lsetup_check(L, 1);
  size_t len;
  const char *text = luaL_checklstring(L, 2, &len);
  char *copy = lua_newuserdata(L, len + 1);
  memcpy(copy, text, len);
  oc_setup_hide(setup, copy, len);
  lua_pushlstring(L, copy, len);
  return 1;
}

/* setup_headers(setup) -> its header lines, without what is secret */
static int setup_headers(lua_State *L) {
  oc_setup *setup = lsetup_check(L, 1);
  const struct curl_slist *item;
  int count = 0;

  lua_newtable(L);
  for(item = setup->headers; item; item = item->next) {
    const char *end = strpbrk(item->data, ":;");
    size_t len = end ? (size_t)(end - item->data) : 0;
    if(oc_secret_is_name(item->data, len)) {
      lua_pushlstring(L, item->data, len);
      lua_pushliteral(L, ": <redacted>");
      lua_concat(L, 2);
    }
    else
      lua_pushstring(L, item->data);
    lua_rawseti(L, -2, ++count);
  }
  return 1;
}

/* is_secret_name(name): whether a header of this name is not to be shown */
static int is_secret_name(lua_State *L) {
  size_t len;
  const char *name = luaL_checklstring(L, 1, &len);
  lua_pushboolean(L, oc_secret_is_name(name, len));
  return 1;
}

void lsetup_register(lua_State *L) {
  static const luaL_Reg functions[] = {
    { "setup", setup_new },
    { "hide", hide },
    { "setup_headers", setup_headers },
    { "is_secret_name", is_secret_name },
    { NULL, NULL }
  };
  lcompat_register(L, functions);
}
