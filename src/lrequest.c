#include "lrequest_private.h"

#include "lbuffer.h"
#include "lclient.h"
#include "lconversation.h"
#include "lsetup.h"
#include "lutil.h"
#include "oc_alloc.h"

void lrequest_count_sent(lrequest *request) {
  request->is_counted = 1;
  request->sent_tokens = oc_history_tokens(&request->history);
}

/* request_head(request) -> the header lines of the last response */
static int request_head(lua_State *L) {
  lrequest *request = lutil_open(L, 1, LUTIL_REQUEST);
  oc_slice head = oc_exchange_head(request->exchange);
  lua_pushlstring(L, head.text, head.len);
  return 1;
}

/* request_peer(request) -> {address, lookup, http} of the last
   connection */
static int request_peer(lua_State *L) {
  lrequest *request = lutil_open(L, 1, LUTIL_REQUEST);
  const oc_peer *peer = oc_exchange_peer(request->exchange);
  lua_createtable(L, 0, 3);
  if(*peer->address) {
    lua_pushstring(L, peer->address);
    lua_setfield(L, -2, "address");
  }
  lua_pushnumber(L, (lua_Number)peer->lookup);
  lua_setfield(L, -2, "lookup");
  if(*peer->http) {
    lua_pushstring(L, peer->http);
    lua_setfield(L, -2, "http");
  }
  return 1;
}

/* A new request with its client in its state, on top; NULL: no memory. */
static lrequest *push_request(lua_State *L, int client) {
  lutil_box *box = lutil_new(L, LUTIL_REQUEST);
  lcompat_get_uservalue(L, -1);
  lua_pushvalue(L, client);
  lua_setfield(L, -2, "client");
  lua_pop(L, 1);
  return box->core = oc_calloc(sizeof(lrequest));
}

/*
 * request(setup, client, conversation, options, prompt, stream, tag,
 * keep_partial[, list]) -> request, its state
 * | nil, code, message[, detail, index of the prompt's message]
 *
 * `options`: JSON fields of the body. `prompt`: sent behind the
 * conversation's messages and kept together with the answer. `list`: sent
 * in the place of those messages, and kept in their place.
 */
static int request_new(lua_State *L) {
  oc_setup *setup = lsetup_check(L, 1);
  lconversation *conversation;
  size_t len;
  const char *options = luaL_checklstring(L, 4, &len);
  lrequest *request;
  oc_body body;
  oc_slice open;
  oc_code code;
  int failed;

  lclient_open(L, 2);
  lua_settop(L, 9);
  luaL_checkstack(L, 10, NULL);
  request = push_request(L, 2);
  if(!request)
    return lutil_fail(L, OC_E_NOMEM);
  lcompat_get_uservalue(L, 10);
  lua_pushvalue(L, 3);
  lua_setfield(L, -2, "conversation");
  lua_pop(L, 1);
  request->keep_partial = lua_toboolean(L, 8);
  /* not before: a finalizer may have closed it meanwhile */
  conversation = lconversation_open_idle(L, 3, "send");
  oc_history_fork(&conversation->history, &request->base);
  if(!lua_isnil(L, 9))
    conversation = lconversation_open(L, 9);
  oc_history_fork(&conversation->history, &request->history);
  failed = lconversation_append_prompt(L, 5, &request->history);
  if(!failed && oc_history_open_call(&request->history, &open)) {
    failed = lutil_fail(L, OC_E_OPEN_CALL) + 1;
    lua_pushlstring(L, open.text, open.len);
  }
  if(failed)
    return failed;
  code = oc_body_init(&body, options, len, &request->history);
  if(code)
    return lutil_fail(L, code);
  request->exchange = oc_exchange_new(setup, &body, lua_toboolean(L, 6),
                                      (int64_t)lua_tonumber(L, 7));
  if(!request->exchange)
    return lutil_fail(L, OC_E_NOMEM);
  if(oc_history_is_counted(&request->history))
    lrequest_count_sent(request);
  lua_settop(L, 10);
  lcompat_get_uservalue(L, 10);
  return 2;
}

/*
 * request_tokens(request[, anyway]) -> estimated tokens of the messages it
 * has sent | nil: they were not counted. `anyway`: counts them, as long as
 * it has not ended.
 */
static int request_tokens(lua_State *L) {
  lrequest *request = lutil_open(L, 1, LUTIL_REQUEST);
  if(!request->is_counted && lua_toboolean(L, 2) && !request->is_settled)
    lrequest_count_sent(request);
  if(!request->is_counted)
    return 0;
  lcompat_push_integral(L, request->sent_tokens);
  return 1;
}

/*
 * get(setup, client, tag) -> request without a conversation, whose result
 * is a table with the text of a document | nil, code, message
 */
static int request_get(lua_State *L) {
  oc_setup *setup = lsetup_check(L, 1);
  lrequest *request;

  luaL_argcheck(L, setup->is_get, 1, "not a setup that gets");
  lclient_open(L, 2);
  lua_settop(L, 3);
  luaL_checkstack(L, 10, NULL);
  request = push_request(L, 2);
  if(!request)
    return lutil_fail(L, OC_E_NOMEM);
  request->exchange = oc_exchange_new(setup, NULL, 0,
                                      (int64_t)lua_tonumber(L, 3));
  return request->exchange ? 1 : lutil_fail(L, OC_E_NOMEM);
}

/*
 * request_start(request): sends it. Its client's `requests` have it from now
 * on until it was told its end, and its conversation is busy.
 */
static int request_start(lua_State *L) {
  lrequest *request = lutil_open(L, 1, LUTIL_REQUEST);
  lconversation *conversation;
  lua_settop(L, 1);
  lcompat_get_uservalue(L, 1);
  /* this may ask for memory, and run finalizers of the program */
  lua_getfield(L, 2, "client");
  lcompat_get_uservalue(L, 3);
  lua_getfield(L, 4, "requests");
  lua_pushvalue(L, 1);
  lua_rawseti(L, 5, (int)oc_exchange_tag(request->exchange));
  lua_getfield(L, 2, "conversation");
  conversation = lconversation_test(L, -1);
  if(conversation) {
    /* code of the program has run since the request was made */
    if(conversation->is_busy
       || !oc_history_same(&conversation->history, &request->base)) {
      lua_pushnil(L);
      lua_rawseti(L, 5, (int)oc_exchange_tag(request->exchange));
      lutil_misuse(L, "conversation is busy: another request of it was "
                      "started, or it was changed, in the meantime");
    }
    conversation->is_busy = 1;
  }
  oc_exchange_start(request->exchange);
  return 0;
}

/*
 * request_again(request, setup, options, stream, tag, list) -> true
 * | nil, code, message
 *
 * Sends one that has failed before anything of an answer arrived once more,
 * with another list. It is started like a new one.
 */
static int request_again(lua_State *L) {
  lrequest *request = lutil_open(L, 1, LUTIL_REQUEST);
  oc_setup *setup = lsetup_check(L, 2);
  size_t len;
  const char *options = luaL_checklstring(L, 3, &len);
  lconversation *list = lconversation_open(L, 6);
  lconversation *conversation;
  oc_exchange *exchange;
  oc_body body;
  oc_code code;

  lua_settop(L, 6);
  lcompat_get_uservalue(L, 1);
  lua_getfield(L, -1, "conversation");
  conversation = lconversation_open(L, -1);
  code = oc_body_init(&body, options, len, &list->history);
  if(code)
    return lutil_fail(L, code);
  exchange = oc_exchange_new(setup, &body, lua_toboolean(L, 4),
                             (int64_t)lua_tonumber(L, 5));
  if(!exchange)
    return lutil_fail(L, OC_E_NOMEM);
  oc_exchange_follow(exchange, request->exchange);
  oc_exchange_pace(exchange, request->has_handlers || request->is_read);
  oc_exchange_unref(request->exchange);
  request->exchange = exchange;
  request->told_retries = 0;
  oc_history_free(&request->base);
  oc_history_free(&request->history);
  oc_history_fork(&conversation->history, &request->base);
  oc_history_fork(&list->history, &request->history);
  lrequest_count_sent(request);
  request->is_settled = 0;
  lua_pushboolean(L, 1);
  return 1;
}

/* request_limit(request, retries): at most so many attempts more */
static int request_limit(lua_State *L) {
  lrequest *request = lutil_open(L, 1, LUTIL_REQUEST);
  oc_exchange_limit(request->exchange,
                    lutil_count(luaL_checknumber(L, 2)));
  return 0;
}

/* request_retries(request) -> how often it was sent again after a failure */
static int request_retries(lua_State *L) {
  lrequest *request = lutil_open(L, 1, LUTIL_REQUEST);
  lcompat_push_integral(L, oc_exchange_retries(request->exchange));
  return 1;
}

/* request_cancel(request): ends it, unless it has ended. */
static int request_cancel(lua_State *L) {
  lrequest *request = lutil_open(L, 1, LUTIL_REQUEST);
  request->is_cancelled = 1;
  oc_exchange_cancel(request->exchange, OC_E_CANCELLED);
  return 0;
}

/*
 * request_abandon(request): ends it and gives its conversation free, to
 * which nothing will be committed even if the answer is there already. Asks
 * for no memory.
 */
static int request_abandon(lua_State *L) {
  lrequest *request = lutil_open(L, 1, LUTIL_REQUEST);
  lconversation *conversation;

  request->is_cancelled = 1;
  oc_exchange_cancel(request->exchange, OC_E_CANCELLED);
  if(request->is_settled || request->is_abandoned)
    return 0;
  request->is_abandoned = 1;
  lcompat_get_uservalue(L, 1);
  lua_getfield(L, -1, "conversation");
  conversation = lconversation_test(L, -1);
  if(conversation)
    conversation->is_busy = 0;
  return 0;
}

/* request_raw(request) -> the whole answer as JSON text | nil */
static int request_raw(lua_State *L) {
  lrequest *request = lutil_open(L, 1, LUTIL_REQUEST);
  oc_buf *text = lbuffer_new(L);
  oc_code code = oc_reply_raw(oc_exchange_reply(request->exchange), text);
  return code ? lutil_fail(L, code) : lbuffer_push(L, text);
}

static int request_gc(lua_State *L) {
  lutil_box *box = lutil_test(L, 1, LUTIL_REQUEST);
  lrequest *request = box ? box->core : NULL;
  if(request) {
    box->core = NULL;
    oc_exchange_unref(request->exchange);
    oc_history_free(&request->history);
    oc_history_free(&request->base);
    oc_free(request->told.calls);
    oc_free(request);
  }
  return 0;
}

static const char *state_name(const lrequest *request) {
  static const char *const names[] = { "idle", "sending", "receiving",
                                       "waiting", "done", "failed" };
  if(!request || !request->exchange)
    return "closed";
  if(oc_exchange_state(request->exchange) == OC_STATE_FAILED
     && oc_code_kind(oc_exchange_error(request->exchange)->code)
        == OC_KIND_CANCELLED)
    return "cancelled";
  return names[oc_exchange_state(request->exchange)];
}

/* request_state(request) -> its state's name */
static int request_state(lua_State *L) {
  lua_pushstring(L, state_name(lutil_open(L, 1, LUTIL_REQUEST)));
  return 1;
}

static int request_tostring(lua_State *L) {
  lua_pushfstring(L, "opperchat.request (%s)",
                  state_name(lutil_check(L, 1, LUTIL_REQUEST)->core));
  return 1;
}

void lrequest_register(lua_State *L) {
  static const luaL_Reg functions[] = {
    { "request", request_new },
    { "get", request_get },
    { "request_start", request_start },
    { "request_tokens", request_tokens },
    { "request_again", request_again },
    { "request_limit", request_limit },
    { "request_retries", request_retries },
    { "request_cancel", request_cancel },
    { "request_abandon", request_abandon },
    { "request_state", request_state },
    { "request_raw", request_raw },
    { "request_head", request_head },
    { "request_peer", request_peer },
    { NULL, NULL }
  };
  static const luaL_Reg methods[] = { { NULL, NULL } };
  static const luaL_Reg meta[] = {
    { "__gc", request_gc },
    { "__tostring", request_tostring },
    { NULL, NULL }
  };
  lutil_add_type(L, LUTIL_REQUEST, methods, meta);
  lcompat_register(L, functions);
  lrequest_register_deliver(L);
}
