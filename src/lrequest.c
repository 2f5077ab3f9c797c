#include "lrequest.h"

#include <string.h>

#include "lbuffer.h"
#include "lclient.h"
#include "lconversation.h"
#include "lutil.h"
#include "oc_alloc.h"
#include "oc_exchange.h"

typedef struct lrequest {
  oc_exchange *exchange;    /* NULL: not made yet */
  oc_history history;       /* the conversation's, with the prompt */
  int is_settled;
} lrequest;

/* {==== the outcome as Lua tables ==== */

static void set_text(lua_State *L, const char *name, const oc_buf *text) {
  lua_pushlstring(L, text->len ? text->data : "", text->len);
  lua_setfield(L, -2, name);
}

/* Absent is nil. */
static void set_text_if(lua_State *L, const char *name, const oc_buf *text) {
  if(text->len)
    set_text(L, name, text);
}

static void set_number_if(lua_State *L, const char *name, double number) {
  if(number >= 0) {
    lua_pushnumber(L, (lua_Number)number);
    lua_setfield(L, -2, name);
  }
}

static void set_count_if(lua_State *L, const char *name, double count) {
  if(count >= 0 && count < 9007199254740992.0) {
    lcompat_push_integral(L, count);
    lua_setfield(L, -2, name);
  }
}

static void set_header_if(lua_State *L, const oc_exchange *exchange,
                          const char *field, const char *header) {
  oc_slice value;
  if(oc_exchange_header(exchange, header, &value) && value.len) {
    lua_pushlstring(L, value.text, value.len);
    lua_setfield(L, -2, field);
  }
}

static void push_usage(lua_State *L, const oc_usage *usage) {
  double total = usage->total_tokens;
  if(total < 0 && usage->prompt_tokens >= 0 && usage->completion_tokens >= 0)
    total = usage->prompt_tokens + usage->completion_tokens;
  lua_createtable(L, 0, 6);
  set_count_if(L, "prompt_tokens", usage->prompt_tokens);
  set_count_if(L, "completion_tokens", usage->completion_tokens);
  set_count_if(L, "total_tokens", total);
  set_count_if(L, "cached_tokens", usage->cached_tokens);
  set_count_if(L, "reasoning_tokens", usage->reasoning_tokens);
  set_number_if(L, "cost", usage->cost);
}

static void push_calls(lua_State *L, const oc_reply *reply) {
  size_t i;
  lua_createtable(L, (int)reply->call_count, 0);
  for(i = 0; i < reply->call_count; i++) {
    const oc_call *call = &reply->calls[i];
    lua_createtable(L, 0, 4);
    set_text(L, "id", &call->id);
    set_text(L, "name", &call->name);
    set_text(L, "arguments_json", &call->arguments);
    lua_rawseti(L, -2, (int)i + 1);
  }
}

/* What has arrived, whole or in part. */
static void push_reply(lua_State *L, const oc_exchange *exchange) {
  const oc_reply *reply = oc_exchange_reply(exchange);
  const oc_timing *timing = oc_exchange_timing(exchange);

  luaL_checkstack(L, 6, NULL);
  lua_createtable(L, 0, 16);
  if(reply->has_content)
    set_text(L, "content", &reply->content.buf);
  set_text_if(L, "reasoning", &reply->reasoning.buf);
  set_text_if(L, "refusal", &reply->refusal.buf);
  set_text_if(L, "finish_reason", &reply->finish_reason);
  set_text_if(L, "id", &reply->id);
  set_text_if(L, "model", &reply->model);
  if(reply->call_count) {
    push_calls(L, reply);
    lua_setfield(L, -2, "tool_calls");
  }
  if(reply->has_usage || reply->usage.cost >= 0) {
    push_usage(L, &reply->usage);
    lua_setfield(L, -2, "usage");
  }
  set_header_if(L, exchange, "trace_id", "x-opper-trace-id");
  set_header_if(L, exchange, "served_model", "x-opper-served-model");
  set_header_if(L, exchange, "served_provider", "x-opper-served-provider");
  lcompat_push_integral(L, oc_exchange_attempts(exchange));
  lua_setfield(L, -2, "attempts");
  lua_createtable(L, 0, 4);
  set_number_if(L, "connect", timing->connect);
  set_number_if(L, "first_byte", timing->first_byte);
  set_number_if(L, "first_token", timing->first_token);
  set_number_if(L, "total", timing->total);
  lua_setfield(L, -2, "timing");
}

static void push_error(lua_State *L, const oc_exchange *exchange,
                       const oc_error *error) {
  luaL_checkstack(L, 8, NULL);
  lua_createtable(L, 0, 9);
  lua_pushstring(L, oc_kind_name(oc_code_kind(error->code)));
  lua_setfield(L, -2, "kind");
  lua_pushstring(L, *error->name ? error->name
                                 : oc_code_name(error->code));
  lua_setfield(L, -2, "code");
  lua_pushstring(L, oc_error_message(error));
  lua_setfield(L, -2, "message");
  if(error->status) {
    lcompat_push_integral(L, error->status);
    lua_setfield(L, -2, "status");
  }
  lua_pushboolean(L, error->retryable);
  lua_setfield(L, -2, "retryable");
  lcompat_push_integral(L, oc_exchange_attempts(exchange));
  lua_setfield(L, -2, "attempts");
  set_header_if(L, exchange, "trace_id", "x-opper-trace-id");
  if(oc_reply_has_output(oc_exchange_reply(exchange))) {
    push_reply(L, exchange);
    lua_setfield(L, -2, "partial");
  }
}

/* }==== */

/* {==== the end of a turn ==== */

/* Prompt and answer go into the list together. Nothing here can raise. */
static oc_code commit(lrequest *request, lconversation *conversation) {
  oc_message *message;
  oc_flaw flaw;
  oc_code code = oc_reply_message(oc_exchange_reply(request->exchange),
                                  &message);
  if(code)
    return code;
  code = oc_history_append(&request->history, message, &flaw);
  oc_message_unref(message);
  if(!code && conversation)
    oc_history_adopt(&conversation->history, &request->history);
  return code;
}

int lrequest_settle(lua_State *L, int index) {
  lrequest *request = lutil_open(L, index, LUTIL_REQUEST);
  lconversation *conversation;
  oc_exchange *exchange = request->exchange;
  int is_done;
  oc_code code = OC_OK;

  if(!exchange || !oc_exchange_has_ended(exchange))
    return 0;
  if(request->is_settled)
    return 1;
  luaL_checkstack(L, 8, NULL);
  lcompat_get_uservalue(L, index);
  lua_getfield(L, -1, "conversation");
  conversation = lconversation_test(L, -1);
  lua_pop(L, 1);
  is_done = oc_exchange_state(exchange) == OC_STATE_DONE;
  /* all that may raise comes before the turn is committed */
  if(is_done)
    push_reply(L, exchange);
  else
    push_error(L, exchange, oc_exchange_error(exchange));
  lua_setfield(L, -2, "result");
  if(is_done) {
    code = commit(request, conversation);
    if(code) {
      oc_error error;
      memset(&error, 0, sizeof error);
      error.code = code;
      push_error(L, exchange, &error);
      lua_setfield(L, -2, "result");
    }
  }
  lua_pushboolean(L, !is_done || code);
  lua_setfield(L, -2, "failed");
  lua_pop(L, 1);
  oc_history_free(&request->history);
  if(conversation)
    conversation->is_busy = 0;
  request->is_settled = 1;
  return 1;
}

/* settle(request) -> whether it has ended */
static int settle(lua_State *L) {
  lutil_check(L, 1, LUTIL_REQUEST);
  lua_pushboolean(L, lrequest_settle(L, 1));
  return 1;
}

/* }==== */

/* {==== making and sending ==== */

static int64_t milliseconds(lua_State *L, int index, const char *name) {
  double seconds = lutil_number_field(L, index, name, 0);
  if(seconds <= 0)
    return 0;
  return seconds > 1e9 ? 0 : seconds < 0.001 ? 1 : (int64_t)(seconds * 1000);
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

#define SETUP "opperchat.Setup"

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
 * `settings`: key, headers (lines), connect, first_token, idle, total
 * (seconds, absent: none), max_response, max_event (bytes).
 */
static int setup_new(lua_State *L) {
  oc_client *client = lclient_open(L, 1);
  oc_setup_options options;
  oc_setup **box;

  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  memset(&options, 0, sizeof options);
  options.path = "/chat/completions";
  options.key = lutil_string_field(L, 2, "key", &options.key_len);
  options.deadlines.connect_ms = milliseconds(L, 2, "connect");
  options.deadlines.first_token_ms = milliseconds(L, 2, "first_token");
  options.deadlines.idle_ms = milliseconds(L, 2, "idle");
  options.deadlines.total_ms = milliseconds(L, 2, "total");
  options.max_response =
    (size_t)lutil_number_field(L, 2, "max_response", 64e6);
  options.max_event = (size_t)lutil_number_field(L, 2, "max_event", 16e6);
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

/*
 * request(setup, client, conversation, options, prompt, stream, tag)
 * -> request | nil, code, message[, detail, index of the prompt's message]
 *
 * `options`: JSON fields of the body. `prompt`: sent behind the
 * conversation's messages and kept together with the answer.
 */
static int request_new(lua_State *L) {
  oc_setup **setup = luaL_checkudata(L, 1, SETUP);
  lconversation *conversation = lconversation_open(L, 3);
  size_t len;
  const char *options = luaL_checklstring(L, 4, &len);
  lrequest *request;
  lutil_box *box;
  oc_body body;
  oc_slice open;
  oc_code code;
  int failed;

  lclient_open(L, 2);
  lua_settop(L, 7);
  luaL_checkstack(L, 10, NULL);
  box = lutil_new(L, LUTIL_REQUEST);
  lcompat_get_uservalue(L, 8);
  lua_pushvalue(L, 2);
  lua_setfield(L, -2, "client");
  lua_pushvalue(L, 3);
  lua_setfield(L, -2, "conversation");
  lua_pop(L, 1);
  request = box->core = oc_calloc(sizeof *request);
  if(!request)
    return lutil_fail(L, OC_E_NOMEM);
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
  request->exchange = oc_exchange_new(*setup, &body, lua_toboolean(L, 6),
                                      (int64_t)lua_tonumber(L, 7));
  if(!request->exchange)
    return lutil_fail(L, OC_E_NOMEM);
  lua_settop(L, 8);
  return 1;
}

/* request_start(request): sends it. The conversation is busy from now on. */
static int request_start(lua_State *L) {
  lrequest *request = lutil_open(L, 1, LUTIL_REQUEST);
  lconversation *conversation;
  lcompat_get_uservalue(L, 1);
  lua_getfield(L, -1, "conversation");
  conversation = lconversation_test(L, -1);
  if(conversation)
    conversation->is_busy = 1;
  oc_exchange_start(request->exchange);
  return 0;
}

/* request_cancel(request): ends it, unless it has ended. */
static int request_cancel(lua_State *L) {
  lrequest *request = lutil_open(L, 1, LUTIL_REQUEST);
  oc_exchange_cancel(request->exchange, OC_E_CANCELLED);
  return 0;
}

/* request_raw(request) -> the whole answer as JSON text | nil */
static int request_raw(lua_State *L) {
  lrequest *request = lutil_open(L, 1, LUTIL_REQUEST);
  oc_buf *text = lbuffer_new(L);
  oc_code code = oc_reply_raw(oc_exchange_reply(request->exchange), text);
  return code ? lutil_fail(L, code) : lbuffer_push(L, text);
}

/* }==== */

static int request_gc(lua_State *L) {
  lutil_box *box = lutil_test(L, 1, LUTIL_REQUEST);
  lrequest *request = box ? box->core : NULL;
  if(request) {
    box->core = NULL;
    oc_exchange_unref(request->exchange);
    oc_history_free(&request->history);
    oc_free(request);
  }
  return 0;
}

static const char *state_name(const lrequest *request) {
  static const char *const names[] = { "idle", "sending", "receiving",
                                       "done", "failed" };
  if(!request || !request->exchange)
    return "closed";
  return names[oc_exchange_state(request->exchange)];
}

/* request_state(request) -> its state's name */
static int request_state(lua_State *L) {
  lua_pushstring(L, state_name(lutil_check(L, 1, LUTIL_REQUEST)->core));
  return 1;
}

static int request_tostring(lua_State *L) {
  lua_pushfstring(L, "opperchat.request (%s)",
                  state_name(lutil_check(L, 1, LUTIL_REQUEST)->core));
  return 1;
}

void lrequest_register(lua_State *L) {
  static const luaL_Reg functions[] = {
    { "setup", setup_new },
    { "request", request_new },
    { "request_start", request_start },
    { "request_cancel", request_cancel },
    { "request_state", request_state },
    { "request_raw", request_raw },
    { "settle", settle },
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
}
