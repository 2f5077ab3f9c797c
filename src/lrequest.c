#include "lrequest.h"

#include <float.h>
#include <string.h>

#include "lbuffer.h"
#include "lclient.h"
#include "lconversation.h"
#include "lutil.h"
#include "oc_alloc.h"
#include "oc_exchange.h"

/* Bytes of one call that handlers have been told. */
struct told_call {
  size_t id;
  size_t name;
  size_t arguments;
};

/* The same of all texts and calls. */
struct told {
  size_t reasoning;
  size_t content;
  size_t refusal;
  struct told_call *calls;
  size_t call_count;
};

typedef struct lrequest {
  oc_exchange *exchange;    /* NULL: not made yet */
  oc_history history;       /* the conversation's, with the prompt */
  int keep_partial;         /* an answer cut short is kept as well */
  int is_settled;
  int is_cancelled;         /* by the program: it wants no more deltas */
  struct told told;         /* how much of the reply handlers have seen */
  size_t taken;             /* and how much of the content was asked for */
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
  /* "1e999" is infinite */
  if(number >= 0 && number <= DBL_MAX) {
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
  lua_createtable(L, (int)reply->calls.count, 0);
  for(i = 0; i < reply->calls.count; i++) {
    const oc_call *call = &reply->calls.items[i];
    lua_createtable(L, 0, 4);
    set_text(L, "id", &call->id);
    set_text(L, "name", &call->name);
    set_text(L, "arguments_json", &call->arguments.buf);
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
  if(reply->calls.count) {
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
    code = commit(request, conversation, 0);
    if(code) {
      oc_error error;
      memset(&error, 0, sizeof error);
      error.code = code;
      push_error(L, exchange, &error);
      lua_setfield(L, -2, "result");
    }
  }
  else if(request->keep_partial
          && oc_exchange_reply(exchange)->content.buf.len)
    commit(request, conversation, 1);
  lua_pushboolean(L, !is_done || code);
  lua_setfield(L, -2, "failed");
  lua_pop(L, 1);
  oc_history_free(&request->history);
  if(conversation)
    conversation->is_busy = 0;
  request->is_settled = 1;
  return 1;
}

/* }==== */

/* {==== telling handlers ==== */

/* Calls the function in state field `name`, if any, with the text. */
static void tell_text(lua_State *L, const char *name, const char *text,
                      size_t len) {
  lua_getfield(L, 2, name);
  if(lua_isfunction(L, -1)) {
    /* the text alone, so that a function such as io.write will do */
    lua_pushlstring(L, text, len);
    lua_call(L, 1, 0);
  }
  else
    lua_pop(L, 1);
}

/* Calls on_event, if it is there (still), with {type=, text=}. */
static void tell_event(lua_State *L, const char *type, const char *text,
                       size_t len) {
  lua_getfield(L, 2, "on_event");
  if(!lua_isfunction(L, -1)) {
    lua_pop(L, 1);
    return;
  }
  lua_createtable(L, 0, 2);
  lua_pushstring(L, type);
  lua_setfield(L, -2, "type");
  lua_pushlstring(L, text, len);
  lua_setfield(L, -2, "text");
  lua_pushvalue(L, 1);
  lua_call(L, 2, 0);
}

/*
 * Tells what is new of one text; `seen` moves first, so that a handler
 * that raises is not told the same again.
 */
static void tell_new_text(lua_State *L, const lrequest *request,
                          const oc_text *text, size_t *seen,
                          const char *type) {
  size_t from = *seen;
  size_t to = text->whole;
  int has_delta = *type == 'c';

  if(to == from || request->is_cancelled)
    return;
  *seen = to;
  if(has_delta)
    tell_text(L, "on_delta", text->buf.data + from, to - from);
  /* the first handler may have cancelled it */
  if(!request->is_cancelled)
    tell_event(L, type, text->buf.data + from, to - from);
}

/* Tells on_event what is new of one tool call: id and name when known. */
static void tell_new_call(lua_State *L, lrequest *request, size_t at) {
  const oc_call *call = &oc_exchange_reply(request->exchange)->calls.items[at];
  struct told_call *told = &request->told.calls[at];
  struct told_call before = *told;

  told->id = call->id.len;
  told->name = call->name.len;
  told->arguments = call->arguments.whole;
  if(!memcmp(&before, told, sizeof before))
    return;
  lua_getfield(L, 2, "on_event");
  if(!lua_isfunction(L, -1)) {
    lua_pop(L, 1);
    return;
  }
  lua_createtable(L, 0, 5);
  lua_pushliteral(L, "tool_call");
  lua_setfield(L, -2, "type");
  lcompat_push_integral(L, at + 1);
  lua_setfield(L, -2, "index");
  if(before.id != told->id)
    set_text_if(L, "id", &call->id);
  if(before.name != told->name)
    set_text_if(L, "name", &call->name);
  lua_pushlstring(L, call->arguments.whole > before.arguments
                     ? call->arguments.buf.data + before.arguments : "",
                  told->arguments - before.arguments);
  lua_setfield(L, -2, "arguments");
  lua_pushvalue(L, 1);
  lua_call(L, 2, 0);
}

/* Fragments of several calls may come by turns, so each is looked at. */
static void tell_new_calls(lua_State *L, lrequest *request) {
  const oc_reply *reply = oc_exchange_reply(request->exchange);
  struct told *told = &request->told;
  size_t i;

  if(told->call_count < reply->calls.count) {
    size_t count = reply->calls.count;
    struct told_call *calls = oc_realloc(told->calls, count * sizeof *calls);
    if(!calls)
      luaL_error(L, "out of memory");
    memset(calls + told->call_count, 0,
           (count - told->call_count) * sizeof *calls);
    told->calls = calls;
    told->call_count = count;
  }
  for(i = 0; i < told->call_count && !request->is_cancelled; i++)
    tell_new_call(L, request, i);
}

/* Everything that has arrived since the last time: (request, its state). */
static void tell_news(lua_State *L, lrequest *request) {
  const oc_reply *reply = oc_exchange_reply(request->exchange);
  struct told *told = &request->told;

  luaL_checkstack(L, 8, NULL);
  tell_new_text(L, request, &reply->reasoning, &told->reasoning, "reasoning");
  tell_new_text(L, request, &reply->content, &told->content, "content");
  tell_new_text(L, request, &reply->refusal, &told->refusal, "refusal");
  if(reply->calls.count)
    tell_new_calls(L, request);
}

/*
 * Tells the news of a request and, at its end, its outcome. On the stack:
 * (request, its state). Raises what a handler raises; what it was called
 * for is not told again.
 */
int lrequest_deliver(lua_State *L) {
  lrequest *request = lutil_open(L, 1, LUTIL_REQUEST);
  tell_news(L, request);
  if(!lrequest_settle(L, 1))
    return 0;
  lua_getfield(L, 2, "on_end");
  if(lua_isfunction(L, -1)) {
    /* once: it is gone before it is called */
    lua_pushnil(L);
    lua_setfield(L, 2, "on_end");
    lua_pushvalue(L, 1);
    lua_call(L, 1, 0);
  }
  return 0;
}

void lrequest_abort(lua_State *L, int index) {
  lrequest *request = lutil_open(L, index, LUTIL_REQUEST);
  if(!oc_exchange_has_ended(request->exchange)) {
    request->is_cancelled = 1;
    oc_exchange_cancel(request->exchange, OC_E_HANDLER);
  }
}

/* request_abort(request): a handler has raised an error */
static int request_abort(lua_State *L) {
  lrequest_abort(L, 1);
  return 0;
}

/* deliver(request): the same for one request, whatever its client does */
static int deliver(lua_State *L) {
  lutil_open(L, 1, LUTIL_REQUEST);
  lua_settop(L, 1);
  lcompat_get_uservalue(L, 1);
  return lrequest_deliver(L);
}

/* has_ended(request) */
static int has_ended(lua_State *L) {
  lrequest *request = lutil_open(L, 1, LUTIL_REQUEST);
  lua_pushboolean(L, oc_exchange_has_ended(request->exchange));
  return 1;
}

/*
 * take(request) -> the content that arrived since the last time | nil.
 * For a program that asks instead of being told.
 */
static int take(lua_State *L) {
  lrequest *request = lutil_open(L, 1, LUTIL_REQUEST);
  const oc_text *text = &oc_exchange_reply(request->exchange)->content;
  size_t from = request->taken;
  if(text->whole == from)
    return 0;
  lua_pushlstring(L, text->buf.data + from, text->whole - from);
  request->taken = text->whole;
  return 1;
}

/* content(request) -> the content that has arrived so far */
static int content(lua_State *L) {
  lrequest *request = lutil_open(L, 1, LUTIL_REQUEST);
  const oc_text *text = &oc_exchange_reply(request->exchange)->content;
  lua_pushlstring(L, text->whole ? text->buf.data : "", text->whole);
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
 * request(setup, client, conversation, options, prompt, stream, tag,
 * keep_partial) -> request
 * | nil, code, message[, detail, index of the prompt's message]
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
  lua_settop(L, 8);
  luaL_checkstack(L, 10, NULL);
  box = lutil_new(L, LUTIL_REQUEST);
  lcompat_get_uservalue(L, 9);
  lua_pushvalue(L, 2);
  lua_setfield(L, -2, "client");
  lua_pushvalue(L, 3);
  lua_setfield(L, -2, "conversation");
  lua_pop(L, 1);
  request = box->core = oc_calloc(sizeof *request);
  if(!request)
    return lutil_fail(L, OC_E_NOMEM);
  request->keep_partial = lua_toboolean(L, 8);
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
  lua_settop(L, 9);
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
  request->is_cancelled = 1;
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
    oc_free(request->told.calls);
    oc_free(request);
  }
  return 0;
}

static const char *state_name(const lrequest *request) {
  static const char *const names[] = { "idle", "sending", "receiving",
                                       "done", "failed" };
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
    { "request_abort", request_abort },
    { "request_state", request_state },
    { "request_raw", request_raw },
    { "deliver", deliver },
    { "has_ended", has_ended },
    { "take", take },
    { "content", content },
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
