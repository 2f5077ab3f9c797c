#include "lrequest_private.h"

#include <string.h>

#include "lconversation.h"
#include "loutcome.h"
#include "lutil.h"

/*
 * Prompt and answer go into the list together. Of an answer that was cut
 * short only the text is kept. Nothing here can raise.
 */
static oc_code commit(lrequest *request, lconversation *conversation,
                      int is_partial) {
  oc_message *message;
  oc_flaw flaw;
  oc_code code = oc_reply_message(oc_exchange_reply(request->exchange),
                                  is_partial, &message);
  if(code)
    return code;
  code = oc_history_append(&request->history, message, &flaw);
  oc_message_unref(message);
  if(!code && conversation)
    oc_history_adopt(&conversation->history, &request->history);
  return code;
}

/*
 * Asks the function `on_check` of the state (on top of the stack), if there
 * is one, about the result in it. What it returns instead of nil is an
 * error and becomes the result. It may not yield.
 */
static int passes_check(lua_State *L) {
  lua_getfield(L, -1, "on_check");
  if(!lua_isfunction(L, -1)) {
    lua_pop(L, 1);
    return 1;
  }
  lua_getfield(L, -2, "result");
  lua_call(L, 1, 1);
  if(lua_isnil(L, -1)) {
    lua_pop(L, 1);
    return 1;
  }
  lua_setfield(L, -2, "result");
  return 0;
}

static void push_failure(lua_State *L, const oc_exchange *exchange,
                         oc_code code) {
  oc_error error;
  memset(&error, 0, sizeof error);
  error.code = code;
  loutcome_push_error(L, exchange, &error);
}

/* Whether the server has answered, with an error or the page of one. */
static int is_refusal(const oc_exchange *exchange) {
  oc_kind kind = oc_code_kind(oc_exchange_error(exchange)->code);
  return kind == OC_KIND_API || kind == OC_KIND_HTTP;
}

/*
 * The end of a conversation's request: the turn is committed, and the
 * outcome left in the state on top of the stack.
 */
static void settle_turn(lua_State *L, lrequest *request) {
  oc_exchange *exchange = request->exchange;
  lconversation *conversation;
  int has_reply = oc_exchange_state(exchange) == OC_STATE_DONE;
  int is_done = has_reply && !request->is_abandoned;
  int is_good;
  oc_code code = OC_OK;

  /* all that may raise comes before the turn is committed */
  if(is_done)
    loutcome_push_reply(L, exchange);
  else if(has_reply)
    push_failure(L, exchange, OC_E_CANCELLED);
  else
    loutcome_push_error(L, exchange, oc_exchange_error(exchange));
  lua_setfield(L, -2, "result");
  is_good = is_done && passes_check(L);
  lua_pushboolean(L, !is_good);
  lua_setfield(L, -2, "failed");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "committed");

  lua_getfield(L, -1, "conversation");
  conversation = lconversation_test(L, -1);
  lua_pop(L, 1);
  if(is_good)
    code = commit(request, conversation, 0);
  else if(!is_done && request->keep_partial && !request->is_abandoned
          && oc_exchange_reply(exchange)->content.buf.len)
    is_good = !commit(request, conversation, 1);
  if(is_good && !code) {
    /* the field is there: this asks for no memory */
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, "committed");
  }
  if(code) {
    /* nothing was committed: this may be tried again */
    push_failure(L, exchange, code);
    lua_setfield(L, -2, "result");
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, "failed");
    lua_getfield(L, -1, "conversation");
    conversation = lconversation_test(L, -1);
    lua_pop(L, 1);
  }
  /* whoever reads that a request was too long wants to know */
  if(!has_reply && !request->is_counted && is_refusal(exchange))
    lrequest_count_sent(request);
  request->is_settled = 1;
  oc_history_free(&request->history);
  oc_history_free(&request->base);
  /* one that was abandoned may have another request by now */
  if(conversation && !request->is_abandoned)
    conversation->is_busy = 0;
}

/* The same for a request that belongs to no conversation. */
static void settle_document(lua_State *L, const lrequest *request) {
  const oc_exchange *exchange = request->exchange;
  int is_done = oc_exchange_state(exchange) == OC_STATE_DONE;

  if(is_done)
    loutcome_push_document(L, exchange);
  else
    loutcome_push_error(L, exchange, oc_exchange_error(exchange));
  lua_setfield(L, -2, "result");
  lua_pushboolean(L, !is_done);
  lua_setfield(L, -2, "failed");
}

int lrequest_settle(lua_State *L, int index) {
  lrequest *request = lutil_open(L, index, LUTIL_REQUEST);
  oc_exchange *exchange = request->exchange;

  if(!exchange || !oc_exchange_has_ended(exchange))
    return 0;
  if(request->is_settled)
    return 1;
  luaL_checkstack(L, 8, NULL);
  lcompat_get_uservalue(L, index);
  if(oc_exchange_document(exchange))
    settle_document(L, request);
  else
    settle_turn(L, request);
  lua_pop(L, 1);
  request->is_settled = 1;
  return 1;
}
