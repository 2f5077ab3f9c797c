#include "lrequest_private.h"

#include <string.h>

#include "lbuffer.h"
#include "loutcome.h"
#include "lutil.h"
#include "oc_alloc.h"
#include "oc_clock.h"

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

void lrequest_register_deliver(lua_State *L) {
  static const luaL_Reg functions[] = {
    { "request_abort", request_abort },
    { "request_pace", request_pace },
    { "deliver", deliver },
    { "has_ended", has_ended },
    { "take", take },
    { "content", content },
    { NULL, NULL }
  };
  lcompat_register(L, functions);
}
