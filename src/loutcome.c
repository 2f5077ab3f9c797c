#include "loutcome.h"

#include <float.h>
#include <string.h>

#include "lutil.h"

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

/* A server that repeats the key may do so anywhere. */
static void set_header_if(lua_State *L, const oc_exchange *exchange,
                          const char *field, const char *header) {
  oc_slice value;
  if(oc_exchange_header(exchange, header, &value) && value.len) {
    char *copy = lua_newuserdata(L, value.len);
    memcpy(copy, value.text, value.len);
    oc_setup_hide(oc_exchange_setup(exchange), copy, value.len);
    lua_pushlstring(L, copy, value.len);
    lua_setfield(L, -3, field);
    lua_pop(L, 1);
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
void loutcome_push_reply(lua_State *L, const oc_exchange *exchange) {
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

/* What was got, not looked at. */
void loutcome_push_document(lua_State *L, const oc_exchange *exchange) {
  const oc_buf *text = oc_exchange_document(exchange);
  luaL_checkstack(L, 4, NULL);
  lua_createtable(L, 0, 3);
  set_text(L, "text", text);
  lcompat_push_integral(L, oc_exchange_status(exchange));
  lua_setfield(L, -2, "status");
  lcompat_push_integral(L, oc_exchange_attempts(exchange));
  lua_setfield(L, -2, "attempts");
}

void loutcome_push_error(lua_State *L, const oc_exchange *exchange,
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
  if(error->retry_after_ms) {
    lua_pushnumber(L, (lua_Number)error->retry_after_ms / 1000);
    lua_setfield(L, -2, "retry_after");
  }
  lcompat_push_integral(L, oc_exchange_attempts(exchange));
  lua_setfield(L, -2, "attempts");
  set_header_if(L, exchange, "trace_id", "x-opper-trace-id");
  if(oc_reply_has_output(oc_exchange_reply(exchange))) {
    loutcome_push_reply(L, exchange);
    lua_setfield(L, -2, "partial");
  }
}
