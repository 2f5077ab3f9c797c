#include "lrequest.h"

#include <string.h>

#include "lbuffer.h"
#include "lclient.h"
#include "lconversation.h"
#include "loutcome.h"
#include "lsetup.h"
#include "lutil.h"
#include "oc_alloc.h"
#include "oc_clock.h"
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
  oc_history base;          /* the conversation's list when it was made */
  oc_history history;       /* the same with the prompt */
  int is_counted;           /* its estimate is known: */
  size_t sent_tokens;
  int keep_partial;         /* an answer cut short is kept as well */
  int is_settled;
  int is_cancelled;         /* by the program: it wants no more deltas */
  int is_abandoned;         /* nobody waits: nothing is to be committed */
  struct told told;         /* how much of the reply handlers have seen */
  size_t taken;             /* and how much of the content was asked for */
  int told_retries;         /* so many of them on_retry was told */
  int is_read;              /* by a loop that asks for its text */
  int has_handlers;         /* which are told what arrives */
} lrequest;

/*
 * Counts what is sent. Most programs never ask, so a list of which much has
 * not been counted is left alone; see tokens.lua.
 */
static void count_sent(lrequest *request) {
  request->is_counted = 1;
  request->sent_tokens = oc_history_tokens(&request->history);
}

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
    count_sent(request);
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

/* }==== */

/* {==== telling handlers ==== */

/* Finds bytes of a request, from an offset on. */
typedef oc_slice (*fetch_fn)(const lrequest *request, size_t at,
                             size_t from);

static oc_slice rest_of(const oc_buf *buf, size_t len, size_t from) {
  oc_slice slice;
  slice.text = len > from ? buf->data + from : "";
  slice.len = len > from ? len - from : 0;
  return slice;
}

static const oc_reply *reply_of(const lrequest *request) {
  return oc_exchange_reply(request->exchange);
}

static oc_slice fetch_reasoning(const lrequest *request, size_t at,
                                size_t from) {
  const oc_text *text = &reply_of(request)->reasoning;
  (void)at;
  return rest_of(&text->buf, text->whole, from);
}

static oc_slice fetch_content(const lrequest *request, size_t at,
                              size_t from) {
  const oc_text *text = &reply_of(request)->content;
  (void)at;
  return rest_of(&text->buf, text->whole, from);
}

static oc_slice fetch_refusal(const lrequest *request, size_t at,
                              size_t from) {
  const oc_text *text = &reply_of(request)->refusal;
  (void)at;
  return rest_of(&text->buf, text->whole, from);
}

static oc_slice fetch_id(const lrequest *request, size_t at, size_t from) {
  const oc_buf *id = &reply_of(request)->calls.items[at].id;
  return rest_of(id, id->len, from);
}

static oc_slice fetch_name(const lrequest *request, size_t at, size_t from) {
  const oc_buf *name = &reply_of(request)->calls.items[at].name;
  return rest_of(name, name->len, from);
}

static oc_slice fetch_arguments(const lrequest *request, size_t at,
                                size_t from) {
  const oc_text *text = &reply_of(request)->calls.items[at].arguments;
  return rest_of(&text->buf, text->whole, from);
}

/* The beginning of a text, at most so many bytes, in whole characters. */
static oc_slice head_of(oc_slice text, size_t most) {
  if(text.len > most) {
    text.len = most;
    while(text.len > most - 3 && (text.text[text.len] & 0xC0) == 0x80)
      text.len--;
  }
  return text;
}

#if LCOMPAT_COLLECTS_FIRST

/* What fits in here needs no userdata, which would be garbage. */
#define ROOM 2048

static void push_copy(lua_State *L, const lrequest *request, fetch_fn fetch,
                      size_t at, size_t from, size_t most) {
  oc_buf *copy = lbuffer_new(L);
  oc_slice live = head_of(fetch(request, at, from), most);
  if(oc_buf_append(copy, live.text, live.len))
    luaL_error(L, "out of memory");
  lbuffer_push(L, copy);
  lua_remove(L, -2);
}

#endif

/*
 * Pushes such bytes, at most `most`, and returns how many there were. A
 * finalizer of the program may run whenever memory is asked of Lua, and what
 * it does may move them, so they are looked for behind the last moment that
 * can happen.
 */
static size_t push_live(lua_State *L, const lrequest *request, fetch_fn fetch,
                        size_t at, size_t from, size_t most) {
  oc_slice live = head_of(fetch(request, at, from), most);
#if LCOMPAT_COLLECTS_FIRST
  char room[ROOM];
  if(live.len > sizeof room) {
    push_copy(L, request, fetch, at, from, most);
    return lcompat_rawlen(L, -1);
  }
  memcpy(room, live.text, live.len);
  lua_pushlstring(L, room, live.len);
#else
  lua_pushlstring(L, live.text, live.len);
#endif
  return live.len;
}

/*
 * Most bytes that one call of a handler is given. Strings of this size find
 * a place where the collector has freed one; C libraries give larger ones
 * back to the system, which gives out each page anew.
 */
#define MOST 65536
#define ALL ((size_t)-1)

/* Pushes a handler of the state at 2, or nil. */
static int push_handler(lua_State *L, const char *name) {
  lua_getfield(L, 2, name);
  return lua_isfunction(L, -1);
}

/*
 * Tells the next piece of what is new of one text; 0: there is none. `seen`
 * moves before handlers are called, so that none is told the same again.
 * on_delta comes last: it is the one that may wait for the end of its own
 * request.
 */
static int tell_piece(lua_State *L, lrequest *request, fetch_fn fetch,
                      size_t *seen, const char *type) {
  int top = lua_gettop(L);
  int has_delta;
  int has_event;

  if(request->is_cancelled || !fetch(request, 0, *seen).len)
    return 0;
  has_delta = push_handler(L, *type == 'c' ? "on_delta" : "");
  has_event = push_handler(L, "on_event");
  if(!has_delta && !has_event)
    *seen += fetch(request, 0, *seen).len;
  else
    *seen += push_live(L, request, fetch, 0, *seen, MOST);
  if(has_event) {
    lua_pushvalue(L, top + 2);
    lua_createtable(L, 0, 2);
    lua_pushstring(L, type);
    lua_setfield(L, -2, "type");
    lua_pushvalue(L, top + 3);
    lua_setfield(L, -2, "text");
    lua_pushvalue(L, 1);
    lua_call(L, 2, 0);
  }
  /* that handler may have cancelled it, or waited for its end */
  if(has_delta && !request->is_cancelled && !request->is_settled) {
    /* the text alone, so that a function such as io.write will do */
    lua_pushvalue(L, top + 1);
    lua_pushvalue(L, top + 3);
    lua_call(L, 1, 0);
  }
  lua_settop(L, top);
  return 1;
}

static int is_past(int64_t until_us) {
  return until_us != OC_NEVER && oc_now_us() >= until_us;
}

/* Tells all that is new of one text; 0: the time was up. */
static int tell_new_text(lua_State *L, lrequest *request, fetch_fn fetch,
                         size_t *seen, const char *type, int64_t until_us) {
  while(tell_piece(L, request, fetch, seen, type)) {
    /* most often that was all, and nobody has to look at the clock */
    if(fetch(request, 0, *seen).len && is_past(until_us))
      return 0;
  }
  return 1;
}

/*
 * Tells on_event the next piece of what is new of one tool call, with id and
 * name when they are; 0: there is none.
 */
static int tell_call_piece(lua_State *L, lrequest *request, size_t at) {
  const oc_call *call = &reply_of(request)->calls.items[at];
  struct told_call now;
  struct told_call before = request->told.calls[at];
  size_t told;
  int top = lua_gettop(L);

  now.id = call->id.len;
  now.name = call->name.len;
  now.arguments = call->arguments.whole;
  if(request->is_cancelled || (now.id == before.id && now.name == before.name
                               && now.arguments == before.arguments))
    return 0;
  request->told.calls[at] = now;
  if(push_handler(L, "on_event")) {
    lua_createtable(L, 0, 5);
    lua_pushliteral(L, "tool_call");
    lua_setfield(L, -2, "type");
    lcompat_push_integral(L, at + 1);
    lua_setfield(L, -2, "index");
    if(before.id != now.id) {
      push_live(L, request, fetch_id, at, 0, ALL);
      lua_setfield(L, -2, "id");
    }
    if(before.name != now.name) {
      push_live(L, request, fetch_name, at, 0, ALL);
      lua_setfield(L, -2, "name");
    }
    told = push_live(L, request, fetch_arguments, at, before.arguments, MOST);
    /* a finalizer may have had the rest told meanwhile */
    if(request->told.calls[at].arguments == now.arguments)
      request->told.calls[at].arguments = before.arguments + told;
    lua_setfield(L, -2, "arguments");
    lua_pushvalue(L, 1);
    lua_call(L, 2, 0);
  }
  lua_settop(L, top);
  return 1;
}

/* Fragments of several calls may come by turns, so each is looked at. 0: the
   time was up. */
static int tell_new_calls(lua_State *L, lrequest *request,
                          int64_t until_us) {
  const oc_reply *reply = oc_exchange_reply(request->exchange);
  struct told *told = &request->told;
  size_t i;

  if(told->call_count < reply->calls.count) {
    size_t count = reply->calls.count;
    struct told_call *calls = oc_realloc(told->calls, count * sizeof *calls);
    if(!calls) {
      return luaL_error(L, "out of memory");
    }
    memset(calls + told->call_count, 0,
           (count - told->call_count) * sizeof *calls);
    told->calls = calls;
    told->call_count = count;
  }
  for(i = 0; i < told->call_count; i++) {
    while(tell_call_piece(L, request, i)) {
      if(is_past(until_us))
        return 0;
    }
  }
  return 1;
}

/*
 * Tells on_retry that an attempt has failed, and how long it is until the
 * next one. That may have begun when the host was slow, with its own news.
 */
static void tell_retry(lua_State *L, lrequest *request) {
  const oc_exchange *exchange = request->exchange;
  int retries = oc_exchange_retries(exchange);
  int top = lua_gettop(L);

  if(retries == request->told_retries || request->is_cancelled)
    return;
  request->told_retries = retries;
  if(push_handler(L, "on_retry")) {
    int64_t wait = oc_exchange_retry_wait(exchange);
    lua_createtable(L, 0, 3);
    lua_pushnumber(L, (lua_Number)wait / 1000);
    lua_setfield(L, -2, "wait");
    lcompat_push_integral(L, oc_exchange_attempts(exchange) - !wait);
    lua_setfield(L, -2, "attempt");
    loutcome_push_error(L, exchange, oc_exchange_retry_error(exchange));
    lua_setfield(L, -2, "err");
    lua_pushvalue(L, 1);
    lua_call(L, 2, 0);
  }
  lua_settop(L, top);
}

/* Whether there is something that handlers have not been told. */
static int has_untold(const lrequest *request) {
  const struct told *told = &request->told;
  const oc_call_list *calls = &reply_of(request)->calls;
  size_t i;

  if(request->is_cancelled)
    return 0;
  if(fetch_reasoning(request, 0, told->reasoning).len
     || fetch_content(request, 0, told->content).len
     || fetch_refusal(request, 0, told->refusal).len
     || told->call_count < calls->count)
    return 1;
  for(i = 0; i < told->call_count; i++) {
    const oc_call *call = &calls->items[i];
    const struct told_call *seen = &told->calls[i];
    if(call->id.len != seen->id || call->name.len != seen->name
       || call->arguments.whole != seen->arguments)
      return 1;
  }
  return 0;
}

/*
 * What has arrived since the last time: (request, its state). 0: the time
 * was up before all of it was told.
 */
static int tell_news(lua_State *L, lrequest *request, int64_t until_us) {
  struct told *told = &request->told;

  luaL_checkstack(L, 12, NULL);
  tell_retry(L, request);
  return (tell_new_text(L, request, fetch_reasoning, &told->reasoning,
                        "reasoning", until_us)
          && tell_new_text(L, request, fetch_content, &told->content,
                           "content", until_us)
          && tell_new_text(L, request, fetch_refusal, &told->refusal,
                           "refusal", until_us)
          && (!reply_of(request)->calls.count
              || tell_new_calls(L, request, until_us)))
         || !has_untold(request);
}

int lrequest_deliver(lua_State *L) {
  lrequest *request = lutil_open(L, 1, LUTIL_REQUEST);
  lua_Number until = lua_tonumber(L, 3);
  int64_t until_us = until > 0 ? (int64_t)until : OC_NEVER;

  if(!tell_news(L, request, until_us)) {
    lua_pushboolean(L, 1);
    return 1;
  }
  if(request->has_handlers)
    oc_exchange_taken(request->exchange);
  if(!lrequest_settle(L, 1))
    return 0;
  lua_getfield(L, 2, "on_end");
  if(lua_isfunction(L, -1)) {
    /* it takes itself away when it has got so far that once is enough */
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_call(L, 2, 0);
  }
  return 0;
}

void lrequest_abort(lua_State *L, int index) {
  lrequest *request = lutil_open(L, index, LUTIL_REQUEST);
  /* it is told no more, also of an answer that is there already */
  request->is_cancelled = 1;
  if(!oc_exchange_has_ended(request->exchange))
    oc_exchange_cancel(request->exchange, OC_E_HANDLER);
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
 * For a program that asks instead of being told: from now on the transfer
 * pauses when it does not.
 */
static int take(lua_State *L) {
  lrequest *request = lutil_open(L, 1, LUTIL_REQUEST);
  if(!request->is_read) {
    request->is_read = 1;
    oc_exchange_pace(request->exchange, 1);
  }
  if(!fetch_content(request, 0, request->taken).len)
    oc_exchange_taken(request->exchange);
  if(!fetch_content(request, 0, request->taken).len)
    return 0;
  request->taken += push_live(L, request, fetch_content, 0, request->taken,
                              ALL);
  /* not before: a transfer that goes on brings what libcurl has of it */
  oc_exchange_taken(request->exchange);
  return 1;
}

/*
 * request_pace(request, has_handlers): whether what arrives waits to be told
 * to handlers. Without them, and unless take() is called, nobody waits for
 * the pieces, and the transfer does not wait for anybody.
 */
static int request_pace(lua_State *L) {
  lrequest *request = lutil_open(L, 1, LUTIL_REQUEST);
  request->has_handlers = lua_toboolean(L, 2);
  request->is_read = 0;
  oc_exchange_pace(request->exchange, request->has_handlers);
  return 0;
}

/* content(request) -> the content that has arrived so far */
static int content(lua_State *L) {
  push_live(L, lutil_open(L, 1, LUTIL_REQUEST), fetch_content, 0, 0, ALL);
  return 1;
}

/* }==== */

/* {==== making and sending ==== */

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
    count_sent(request);
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
    count_sent(request);
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
  count_sent(request);
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

/* }==== */

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
    { "request_pace", request_pace },
    { "request_cancel", request_cancel },
    { "request_abandon", request_abandon },
    { "request_abort", request_abort },
    { "request_state", request_state },
    { "request_raw", request_raw },
    { "request_head", request_head },
    { "request_peer", request_peer },
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
