/*
 * Framing and assembly together: what oc_response does with the bytes of a
 * stream, without a network. Each stream is read whole, split in two at
 * every byte, and byte by byte, and must come to the same end each time.
 */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "../../src/oc_alloc.h"
#include "../../src/oc_api_error.h"
#include "../../src/oc_random.h"
#include "../../src/oc_reply.h"
#include "../../src/oc_sse.h"
#include "../../src/oc_utf8.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* One chunk whose only choice is `choice`, as the line of an event. */
#define CHUNK(choice) \
  "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\"," \
  "\"created\":1,\"model\":\"m\",\"choices\":[" choice "]}"
#define DELTA(delta) CHUNK("{\"index\":0,\"delta\":" delta \
  ",\"finish_reason\":null}")
#define TEXT(text) DELTA("{\"content\":\"" text "\"}")
#define CALLS(calls) DELTA("{\"tool_calls\":[" calls "]}")
#define FINISH(reason) CHUNK("{\"index\":0,\"delta\":{}," \
  "\"finish_reason\":\"" reason "\"}")
#define USAGE "\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2," \
  "\"total_tokens\":11,\"prompt_tokens_details\":{\"cached_tokens\":4}," \
  "\"completion_tokens_details\":{\"reasoning_tokens\":1},\"cost\":0.5}"
#define USAGE_CHUNK \
  "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[]," USAGE "}"
#define STOP FINISH("stop") "\n\n"
#define DONE "data: [DONE]\n\n"

#define HELLO TEXT("Hel") "\n\n" TEXT("lo") "\n\n"
#define FIRST "{\"index\":0,\"id\":\"a\",\"type\":\"function\"," \
  "\"function\":{\"name\":\"f\",\"arguments\":\"\"}}"
#define SECOND "{\"index\":1,\"id\":\"b\",\"type\":\"function\"," \
  "\"function\":{\"name\":\"g\",\"arguments\":\"\"}}"
#define MORE(index, text) "{\"index\":" #index \
  ",\"function\":{\"arguments\":\"" text "\"}}"

typedef struct stream {
  const char *name;
  const char *bytes;
  const char *expected;   /* see describe() */
} stream;

/* {==== one reading ==== */

typedef struct reading {
  oc_sse sse;
  oc_reply reply;
  oc_error error;
  oc_buf told;            /* content in the pieces handlers would see */
  size_t told_reasoning;
  int has_failed;
} reading;

static void reading_init(reading *r, size_t max_event) {
  memset(r, 0, sizeof *r);
  oc_sse_init(&r->sse, max_event);
  oc_reply_init(&r->reply, 1000000);
  oc_buf_init(&r->told, 1000000);
}

static void reading_free(reading *r) {
  oc_sse_free(&r->sse);
  oc_reply_free(&r->reply);
  oc_error_clear(&r->error);
  oc_buf_free(&r->told);
}

static int take(reading *r, const oc_sse_event *event) {
  if(r->reply.is_done)
    return 0;
  if(event->type.len == 5 && !memcmp(event->type.text, "error", 5)) {
    oc_api_error_read(&r->error, 200, event->data.text, event->data.len);
    return 1;
  }
  return oc_reply_chunk(&r->reply, event->data.text, event->data.len,
                        &r->error) != OC_OK;
}

/* What a handler is told does not change behind its back. */
static void tell(reading *r) {
  const oc_text *text = &r->reply.content;
  CHECK(text->whole >= r->told.len);
  CHECK(text->whole <= text->buf.len);
  CHECK(!r->told.len || !memcmp(text->buf.data, r->told.data, r->told.len));
  CHECK(oc_utf8_valid_prefix(text->buf.data, text->whole) == text->whole);
  if(text->whole > r->told.len)
    oc_buf_append(&r->told, text->buf.data + r->told.len,
                  text->whole - r->told.len);
  CHECK(r->reply.reasoning.whole >= r->told_reasoning);
  r->told_reasoning = r->reply.reasoning.whole;
}

/* The piece lies in a block of its own that is gone afterwards. */
static void feed(reading *r, const char *bytes, size_t len) {
  char *copy = malloc(len ? len : 1);
  oc_sse_event event;
  int more = 0;

  if(!copy)
    abort();
  if(r->has_failed) {
    free(copy);
    return;
  }
  memcpy(copy, bytes, len);
  oc_sse_feed(&r->sse, copy, len);
  while(!r->has_failed && (more = oc_sse_next(&r->sse, &event)) > 0)
    r->has_failed = take(r, &event);
  if(more < 0 && !r->has_failed) {
    oc_error_set(&r->error, r->sse.error, "x");
    r->has_failed = 1;
  }
  tell(r);
  memset(copy, '#', len);
  free(copy);
}

static void finish(reading *r) {
  oc_sse_event event;
  int more;
  if(!r->has_failed && !r->reply.is_done) {
    more = oc_sse_finish(&r->sse, &event);
    if(more > 0) {
      r->has_failed = take(r, &event);
      if(r->error.code == OC_E_JSON)
        oc_error_set(&r->error, OC_E_TRUNCATED, "x");
    }
    else if(more < 0) {
      oc_error_set(&r->error, r->sse.error, "x");
      r->has_failed = 1;
    }
  }
  if(!r->has_failed && !r->reply.finish_reason.len) {
    oc_error_set(&r->error, OC_E_TRUNCATED, "x");
    r->has_failed = 1;
  }
  CHECK(oc_reply_finish(&r->reply) == OC_OK);
  tell(r);
}

static void add(oc_buf *out, const char *name, const oc_buf *text) {
  oc_buf_puts(out, name);
  oc_buf_append(out, text->len ? text->data : "", text->len);
}

static int is_made_up(const oc_buf *id) {
  return id->len == 29 && !memcmp(id->data, "call_", 5);
}

/*
 * `content [reasoning] {refusal} call(id,name,arguments)... #finish $total
 * !error`, and only what is there.
 */
static void describe(const reading *r, oc_buf *out) {
  const oc_reply *reply = &r->reply;
  size_t i;
  add(out, "", &reply->content.buf);
  if(reply->reasoning.buf.len) {
    add(out, " [", &reply->reasoning.buf);
    oc_buf_puts(out, "]");
  }
  if(reply->refusal.buf.len) {
    add(out, " {", &reply->refusal.buf);
    oc_buf_puts(out, "}");
  }
  for(i = 0; i < reply->calls.count; i++) {
    const oc_call *call = &reply->calls.items[i];
    if(is_made_up(&call->id))
      oc_buf_puts(out, " call(?");
    else
      add(out, " call(", &call->id);
    add(out, ",", &call->name);
    add(out, ",", &call->arguments.buf);
    oc_buf_puts(out, ")");
  }
  if(reply->finish_reason.len)
    add(out, " #", &reply->finish_reason);
  if(reply->has_usage) {
    char number[160];
    sprintf(number, " $%g/%g/%g/%g", reply->usage.total_tokens,
            reply->usage.cached_tokens, reply->usage.reasoning_tokens,
            reply->usage.cost);
    oc_buf_puts(out, number);
  }
  if(r->has_failed) {
    oc_buf_puts(out, " !");
    oc_buf_puts(out, r->error.name);
  }
  CHECK(r->told.len == reply->content.buf.len);
  /* what is kept is what a later request sends back: it must be valid */
  if(!r->has_failed) {
    oc_message *message = NULL;
    CHECK(oc_reply_message(reply, 0, &message) == OC_OK);
    oc_message_unref(message);
  }
}

static void check_split(const stream *s, size_t max_event, size_t at,
                        size_t step, size_t second) {
  size_t len = strlen(s->bytes);
  size_t i;
  reading r;
  oc_buf got;

  reading_init(&r, max_event);
  oc_buf_init(&got, 1000000);
  if(step) {
    for(i = 0; i < len; i += step)
      feed(&r, s->bytes + i, len - i < step ? len - i : step);
  }
  else {
    feed(&r, s->bytes, at);
    feed(&r, s->bytes + at, second - at);
    feed(&r, s->bytes + second, len - second);
  }
  finish(&r);
  describe(&r, &got);
  CHECK_FOR(got.len == strlen(s->expected)
            && !memcmp(got.data, s->expected, got.len),
            "%s\n  split at %d, %d, step %d\n  got:      %.*s\n"
            "  expected: %s", s->name, (int)at, (int)second, (int)step,
            (int)got.len, got.data, s->expected);
  oc_buf_free(&got);
  reading_free(&r);
}

static void check_stream(const stream *s) {
  size_t len = strlen(s->bytes);
  size_t at;
  for(at = 0; at <= len; at++)
    check_split(s, 1000000, at, 0, len);
  for(at = 1; at <= 7; at++)
    check_split(s, 1000000, 0, at, 0);
}

static void check_streams(const stream *streams, size_t count) {
  size_t i;
  for(i = 0; i < count; i++)
    check_stream(&streams[i]);
}

/* }==== */

TEST(line_ends) {
  static const stream streams[] = {
    { "LF", HELLO STOP DONE, "Hello #stop" },
    { "CRLF", TEXT("Hel") "\r\n\r\n" TEXT("lo") "\r\n\r\n"
      FINISH("stop") "\r\n\r\ndata: [DONE]\r\n\r\n", "Hello #stop" },
    { "CR", TEXT("Hel") "\r\r" TEXT("lo") "\r\r"
      FINISH("stop") "\r\rdata: [DONE]\r\r", "Hello #stop" },
    { "CRLF within an event", "event: x\r\ndata: {\"choices\":[\r\n"
      "data: {\"delta\":{\"content\":\"Hello\"},\r\n: comment\r\ndata: "
      "\"finish_reason\":\"stop\"}]}\r\n\r\n", "Hello #stop" },
    { "CR within an event", "event: x\rdata: {\"choices\":[\r"
      "data: {\"delta\":{\"content\":\"Hello\"},\r: comment\rdata: "
      "\"finish_reason\":\"stop\"}]}\r\r", "Hello #stop" },
    { "mixed", TEXT("Hel") "\r\n\n" TEXT("lo") "\r\r\n"
      FINISH("stop") "\n\rdata: [DONE]\r\n\r", "Hello #stop" },
    { "many blank lines", "\n\n\r\n" HELLO "\n\n\n\r\r" STOP "\n" DONE,
      "Hello #stop" },
    { "no DONE", HELLO STOP, "Hello #stop" },
    { "no last newline", HELLO FINISH("stop"), "Hello #stop" },
    { "one last newline", HELLO FINISH("stop") "\n", "Hello #stop" },
    { "one last CR", HELLO FINISH("stop") "\r", "Hello #stop" },
    { "DONE without a newline", HELLO STOP "data: [DONE]", "Hello #stop" },
    { "DONE without space", HELLO STOP "data:[DONE]\n\n", "Hello #stop" },
    { "DONE with something behind", HELLO STOP "data: [DONE] \n\n",
      "Hello #stop" },
    { "the text in the last event", TEXT("Hel") "\n\n"
      CHUNK("{\"delta\":{\"content\":\"lo\"},\"finish_reason\":\"stop\"}"),
      "Hello #stop" },
    { "garbage behind DONE", HELLO STOP DONE "data: {nonsense\n\n"
      TEXT("more") "\n\n", "Hello #stop" },
  };
  check_streams(streams, COUNT(streams));
}

TEST(fields) {
  static const stream streams[] = {
    { "BOM", "\xEF\xBB\xBF" HELLO STOP DONE, "Hello #stop" },
    { "comments", ": OPENROUTER PROCESSING\n\n:\n" HELLO ":keep-alive\n\n"
      STOP ": bye\n\n" DONE, "Hello #stop" },
    { "comment inside an event", TEXT("Hel") "\n: still here\n\n"
      ": and here\n" TEXT("lo") "\n\n" STOP, "Hello #stop" },
    { "no space", "data:{\"choices\":[{\"delta\":{\"content\":\"Hello\"}}]}\n\n"
      "data:{\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
      "data:[DONE]\n\n", "Hello #stop" },
    { "two spaces", "data:  {\"choices\":[{\"delta\":{\"content\":\"Hello\"},"
      "\"finish_reason\":\"stop\"}]}\n\n", "Hello #stop" },
    { "a tab", "data:\t{\"choices\":[{\"delta\":{\"content\":\"Hello\"},"
      "\"finish_reason\":\"stop\"}]}\n\n", "Hello #stop" },
    { "data in many lines", "data: {\"choices\":[{\n"
      "data: \"delta\":\ndata:\ndata: {\"content\":\"Hello\"},\n"
      "data:\"finish_reason\":\"stop\"\ndata: }]}\n\n" DONE, "Hello #stop" },
    { "event names and ids", "event: message\nid: 7\nretry: 100\n"
      TEXT("Hel") "\nunknown: x\nnonsense\n\nevent\n" TEXT("lo") "\n\n"
      STOP "event: done\n" DONE, "Hello #stop" },
    { "events without data", "event: ping\n\nid: 1\n\n" HELLO
      "event: error\n\n" STOP DONE, "Hello #stop" },
    { "empty data", "data:\n\ndata\n\n" HELLO "data: \n\n" STOP DONE,
      "Hello #stop" },
  };
  check_streams(streams, COUNT(streams));
}

TEST(usage) {
  static const stream streams[] = {
    { "of its own", HELLO STOP USAGE_CHUNK "\n\n" DONE,
      "Hello #stop $11/4/1/0.5" },
    { "of its own, last and unterminated", HELLO STOP USAGE_CHUNK,
      "Hello #stop $11/4/1/0.5" },
    { "with the finish reason", HELLO "data: {\"choices\":[{\"delta\":{},"
      "\"finish_reason\":\"stop\"}]," USAGE "}\n\n" DONE,
      "Hello #stop $11/4/1/0.5" },
    { "null but at the end", "data: {\"choices\":[{\"delta\":{\"content\":"
      "\"Hello\"}}],\"usage\":null}\n\n" STOP USAGE_CHUNK "\n\n" DONE,
      "Hello #stop $11/4/1/0.5" },
    { "choices null on its chunk", HELLO STOP "data: {\"choices\":null,"
      USAGE "}\n\n" DONE, "Hello #stop $11/4/1/0.5" },
    { "no choices on its chunk", HELLO STOP "data: {" USAGE "}\n\n" DONE,
      "Hello #stop $11/4/1/0.5" },
    { "growing", "data: {\"choices\":[{\"delta\":{\"content\":\"Hello\"}}],"
      "\"usage\":{\"total_tokens\":1}}\n\n" STOP USAGE_CHUNK "\n\n" DONE,
      "Hello #stop $11/4/1/0.5" },
    { "cost beside it", HELLO STOP "data: {\"choices\":[],\"usage\":"
      "{\"total_tokens\":3,\"prompt_tokens_details\":null},\"cost\":0.25}\n\n"
      DONE, "Hello #stop $3/-1/-1/0.25" },
    { "of the wrong type", HELLO STOP "data: {\"choices\":[],\"usage\":"
      "{\"total_tokens\":\"many\",\"cost\":[1],\"completion_tokens_details\":"
      "7}}\n\n" DONE, "Hello #stop $-1/-1/-1/-1" },
  };
  check_streams(streams, COUNT(streams));
}

TEST(odd_chunks) {
  static const stream streams[] = {
    { "nulls everywhere", "data: {\"id\":null,\"object\":null,\"created\":"
      "null,\"model\":null,\"choices\":[{\"index\":null,\"delta\":{\"role\":"
      "null,\"content\":null,\"tool_calls\":null,\"refusal\":null,"
      "\"reasoning\":null,\"reasoning_content\":null,\"function_call\":null,"
      "\"audio\":null},\"logprobs\":null,\"finish_reason\":null}],\"usage\":"
      "null,\"error\":null,\"system_fingerprint\":null}\n\n"
      DELTA("{\"content\":\"Hello\",\"tool_calls\":null}") "\n\n"
      STOP DONE, "Hello #stop" },
    { "delta null", CHUNK("{\"delta\":null,\"finish_reason\":null}") "\n\n"
      HELLO CHUNK("{\"delta\":null,\"finish_reason\":\"stop\"}") "\n\n",
      "Hello #stop" },
    { "no delta", CHUNK("{\"index\":0}") "\n\n" HELLO
      CHUNK("{\"finish_reason\":\"stop\"}") "\n\n", "Hello #stop" },
    { "choices null, empty, or of nulls", "data: {\"choices\":null}\n\n"
      "data: {\"choices\":[]}\n\ndata: {\"choices\":[null]}\n\ndata: {}\n\n"
      HELLO STOP, "Hello #stop" },
    { "no object, no role, no index", "data: {\"choices\":[{\"delta\":"
      "{\"content\":\"Hello\"}}]}\n\ndata: {\"choices\":[{\"finish_reason\":"
      "\"stop\"}]}\n\n", "Hello #stop" },
    { "a role on each chunk", DELTA("{\"role\":\"assistant\",\"content\":"
      "\"Hel\"}") "\n\n" DELTA("{\"role\":\"assistant\",\"content\":\"lo\"}")
      "\n\n" STOP, "Hello #stop" },
    { "message for delta", CHUNK("{\"message\":{\"content\":\"Hello\"},"
      "\"finish_reason\":\"stop\"}") "\n\n", "Hello #stop" },
    { "content as parts", DELTA("{\"content\":[{\"type\":\"text\",\"text\":"
      "\"Hel\"},{\"type\":\"text\",\"text\":\"lo\"}]}") "\n\n" STOP,
      "Hello #stop" },
    { "another choice beside ours", CHUNK("{\"index\":1,\"delta\":"
      "{\"content\":\"no\"}},{\"index\":0,\"delta\":{\"content\":\"Hello\"}}")
      "\n\n" CHUNK("{\"index\":1,\"finish_reason\":\"length\"}") "\n\n" STOP,
      "Hello #stop" },
    { "an empty answer", DELTA("{\"role\":\"assistant\",\"content\":\"\"}")
      "\n\n" STOP DONE, " #stop" },
    { "an unknown finish reason", HELLO FINISH("eos_token") "\n\n",
      "Hello #eos_token" },
    { "two finish reasons", HELLO STOP FINISH("length") "\n\n",
      "Hello #length" },
    { "an empty finish reason on each", CHUNK("{\"delta\":{\"content\":"
      "\"Hello\"},\"finish_reason\":\"\"}") "\n\n" STOP, "Hello #stop" },
    { "text behind the finish reason", TEXT("Hel") "\n\n" STOP TEXT("lo")
      "\n\n" DONE, "Hello #stop" },
    { "reasoning", DELTA("{\"reasoning_content\":\"hm\",\"content\":null}")
      "\n\n" DELTA("{\"reasoning_content\":\"m\"}") "\n\n" HELLO STOP,
      "Hello [hmm] #stop" },
    { "reasoning under both names", DELTA("{\"reasoning\":\"hm\","
      "\"reasoning_content\":\"hm\"}") "\n\n" DELTA("{\"reasoning\":\"m\","
      "\"reasoning_content\":\"m\"}") "\n\n" HELLO STOP,
      "Hello [hmm] #stop" },
    { "refusal", DELTA("{\"refusal\":\"I \"}") "\n\n"
      DELTA("{\"refusal\":\"won't\"}") "\n\n" STOP, " {I won't} #stop" },
    { "timings, as llama.cpp adds them", HELLO "data: {\"choices\":[{"
      "\"finish_reason\":\"stop\",\"index\":0,\"delta\":{}}],\"timings\":"
      "{\"prompt_n\":1,\"a\":[[],{}]}}\n\n", "Hello #stop" },
  };
  check_streams(streams, COUNT(streams));
}

TEST(characters) {
  static const stream streams[] = {
    { "UTF-8", TEXT("h\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80") "\n\n" STOP,
      "h\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80 #stop" },
    { "UTF-8 cut between chunks", TEXT("h\xC3") "\n\n" TEXT("\xA9\xE2")
      "\n\n" TEXT("\x82") "\n\n" TEXT("\xAC\xF0\x9F") "\n\n"
      TEXT("\x98\x80") "\n\n" STOP,
      "h\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80 #stop" },
    { "surrogates", TEXT("\\ud83d\\ude00!") "\n\n" STOP,
      "\xF0\x9F\x98\x80! #stop" },
    { "surrogates cut between chunks", TEXT("a\\ud83d") "\n\n"
      TEXT("\\ude00b") "\n\n" STOP, "a\xF0\x9F\x98\x80" "b #stop" },
    { "half a pair, then text", TEXT("a\\ud83d") "\n\n" TEXT("b") "\n\n" STOP,
      "a\xEF\xBF\xBD" "b #stop" },
    { "half a pair at the end", TEXT("a\\ud83d") "\n\n" STOP,
      "a\xEF\xBF\xBD #stop" },
    { "half a character at the end", TEXT("a\xE2\x82") "\n\n" STOP,
      "a\xEF\xBF\xBD #stop" },
    { "bytes that are no UTF-8", TEXT("a\xFF" "b\xC0\x80" "c") "\n\n" STOP,
      "a\xEF\xBF\xBD" "b\xEF\xBF\xBD\xEF\xBF\xBD" "c #stop" },
    { "escapes", TEXT("\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9") "\n\n" STOP,
      "\"\\/\b\f\n\r\tA\xC3\xA9 #stop" },
    { "escaped keys", "data: {\"ch\\u006fices\":[{\"delt\\u0061\":"
      "{\"c\\u006fntent\":\"Hello\"},\"finish_reason\":\"st\\u006fp\"}]}\n\n",
      "Hello #stop" },
    { "arguments cut between the bytes", CALLS("{\"index\":0,\"id\":\"a\","
      "\"function\":{\"name\":\"f\",\"arguments\":\"\\\"\xE2\x82\"}}") "\n\n"
      CALLS(MORE(0, "\xAC\\ud83d")) "\n\n" CALLS(MORE(0, "\\ude00\\\""))
      "\n\n" FINISH("tool_calls") "\n\n",
      " call(a,f,\"\xE2\x82\xAC\xF0\x9F\x98\x80\") #tool_calls" },
  };
  check_streams(streams, COUNT(streams));
}

TEST(tool_calls) {
  static const stream streams[] = {
    { "one", CALLS(FIRST) "\n\n" CALLS(MORE(0, "{\\\"a\\\"")) "\n\n"
      CALLS(MORE(0, ":1}")) "\n\n" FINISH("tool_calls") "\n\n" DONE,
      " call(a,f,{\"a\":1}) #tool_calls" },
    { "two, one after the other", CALLS(FIRST) "\n\n" CALLS(MORE(0, "{}"))
      "\n\n" CALLS(SECOND) "\n\n" CALLS(MORE(1, "[]")) "\n\n"
      FINISH("tool_calls") "\n\n",
      " call(a,f,{}) call(b,g,[]) #tool_calls" },
    { "two, side by side", CALLS(FIRST) "\n\n" CALLS(SECOND) "\n\n"
      CALLS(MORE(0, "{")) "\n\n" CALLS(MORE(1, "[")) "\n\n"
      CALLS(MORE(0, "}")) "\n\n" CALLS(MORE(1, "]")) "\n\n"
      FINISH("tool_calls") "\n\n",
      " call(a,f,{}) call(b,g,[]) #tool_calls" },
    { "two in one chunk", CALLS(FIRST "," SECOND) "\n\n"
      CALLS(MORE(1, "[]") "," MORE(0, "{}")) "\n\n" FINISH("tool_calls"),
      " call(a,f,{}) call(b,g,[]) #tool_calls" },
    { "text, then a call", TEXT("Wait.") "\n\n" CALLS(FIRST) "\n\n"
      FINISH("tool_calls"), "Wait. call(a,f,) #tool_calls" },
    { "null name with each fragment", CALLS(FIRST) "\n\n"
      CALLS("{\"index\":0,\"id\":null,\"type\":null,\"function\":{\"name\":"
      "null,\"arguments\":\"{}\"}}") "\n\n" FINISH("tool_calls"),
      " call(a,f,{}) #tool_calls" },
    { "empty id and name with each fragment", CALLS(FIRST) "\n\n"
      CALLS("{\"index\":0,\"id\":\"\",\"function\":{\"name\":\"\","
      "\"arguments\":\"{\"}}") "\n\n" CALLS("{\"index\":0,\"id\":\"\","
      "\"function\":{\"name\":\"\",\"arguments\":\"}\"}}") "\n\n"
      FINISH("tool_calls"), " call(a,f,{}) #tool_calls" },
    { "the name with each fragment", CALLS(FIRST) "\n\n"
      CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\","
      "\"arguments\":\"{\"}}") "\n\n" CALLS("{\"index\":0,\"id\":\"a\","
      "\"function\":{\"name\":\"f\",\"arguments\":\"}\"}}") "\n\n"
      FINISH("tool_calls"), " call(a,f,{}) #tool_calls" },
    { "both index 0", CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":"
      "\"f\",\"arguments\":\"{}\"}}") "\n\n" CALLS("{\"index\":0,\"id\":\"b\","
      "\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}") "\n\n"
      FINISH("tool_calls"), " call(a,f,{}) call(b,g,{}) #tool_calls" },
    { "index from 1", CALLS("{\"index\":1,\"id\":\"a\",\"function\":{\"name\":"
      "\"f\",\"arguments\":\"{\"}}") "\n\n" CALLS(MORE(1, "}")) "\n\n"
      FINISH("tool_calls"), " call(a,f,{}) #tool_calls" },
    { "index null", CALLS("{\"index\":null,\"id\":\"a\",\"function\":{"
      "\"name\":\"f\",\"arguments\":\"{\"}}") "\n\n" CALLS(MORE(null, "}"))
      "\n\n" FINISH("tool_calls"), " call(a,f,{}) #tool_calls" },
    { "no index", CALLS("{\"id\":\"a\",\"function\":{\"name\":\"f\","
      "\"arguments\":\"{}\"}}") "\n\n" CALLS("{\"id\":\"b\",\"function\":{"
      "\"name\":\"g\",\"arguments\":\"[]\"}}") "\n\n" FINISH("tool_calls"),
      " call(a,f,{}) call(b,g,[]) #tool_calls" },
    { "no index in one list", CALLS("{\"function\":{\"name\":\"f\","
      "\"arguments\":\"{}\"}},{\"function\":{\"name\":\"g\",\"arguments\":"
      "\"[]\"}}") "\n\n" FINISH("tool_calls"),
      " call(?,f,{}) call(?,g,[]) #tool_calls" },
    { "empty ids, as llama.cpp sends them", CALLS("{\"index\":0,\"id\":\"\","
      "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},{\"index\":1,"
      "\"id\":\"\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}")
      "\n\n" FINISH("tool_calls"),
      " call(?,f,{}) call(?,f,{}) #tool_calls" },
    { "arguments as an object", CALLS("{\"index\":0,\"id\":\"a\",\"function\":"
      "{\"name\":\"f\",\"arguments\":{\"x\":[1, 2]}}}") "\n\n"
      FINISH("tool_calls"), " call(a,f,{\"x\":[1, 2]}) #tool_calls" },
    { "arguments null", CALLS("{\"index\":0,\"id\":\"a\",\"function\":"
      "{\"name\":\"f\",\"arguments\":null}}") "\n\n" FINISH("tool_calls"),
      " call(a,f,) #tool_calls" },
    { "nulls in the list", CALLS("null," FIRST ",7,\"x\"") "\n\n"
      FINISH("tool_calls"), " call(a,f,) #tool_calls" },
    { "an empty list", CALLS("") "\n\n" HELLO STOP, "Hello #stop" },
    { "a call cut short", CALLS(FIRST) "\n\n" CALLS(MORE(0, "{\\\"a\\\":"))
      "\n\n", " call(a,f,{\"a\":) !truncated" },
  };
  check_streams(streams, COUNT(streams));
}

TEST(errors) {
  static const stream streams[] = {
    { "an error object", TEXT("He") "\n\ndata: {\"error\":{\"message\":"
      "\"upstream died\",\"type\":\"server_error\",\"code\":\"boom\"}}\n\n"
      DONE, "He !boom" },
    { "an error text", TEXT("He") "\n\ndata: {\"error\":\"died\"}\n\n",
      "He !api_error" },
    { "a native error", TEXT("He") "\n\ndata: {\"type\":\"error\",\"error\":"
      "\"died\"}\n\n", "He !api_error" },
    { "an object of type error", TEXT("He") "\n\ndata: {\"object\":\"error\","
      "\"message\":\"died\",\"code\":400}\n\n", "He !400" },
    { "an error event", TEXT("He") "\n\nevent: error\ndata: {\"message\":"
      "\"died\",\"code\":\"boom\"}\n\n", "He !boom" },
    { "an error event that is no JSON", TEXT("He") "\n\nevent: error\n"
      "data: upstream died\n\n", "He !api_error" },
    { "an error beside choices", TEXT("He") "\n\ndata: {\"choices\":[],"
      "\"error\":{\"message\":\"died\",\"code\":502}}\n\n", "He !502" },
    { "an error behind the finish reason", TEXT("He") "\n\n" STOP
      "data: {\"error\":{\"message\":\"guard\",\"code\":\"blocked\"}}\n\n",
      "He #stop !blocked" },
    { "an unterminated error", TEXT("He") "\n\ndata: {\"error\":{\"code\":"
      "\"boom\",\"message\":\"x\"}}", "He !boom" },
    { "an error first", "data: {\"error\":{\"code\":\"boom\",\"message\":"
      "\"x\"}}\n\n" HELLO STOP, " !boom" },
    { "errors that are none", "data: {\"error\":null,\"choices\":[]}\n\n"
      "data: {\"error\":\"\",\"choices\":[]}\n\ndata: {\"error\":{}}\n\n"
      "data: {\"error\":false}\n\n" HELLO STOP, "Hello #stop" },
    { "bad JSON in the middle", TEXT("A") "\n\ndata: {\"choices\":[{]\n\n"
      TEXT("B") "\n\n" STOP, "A !bad_json" },
    { "no JSON at all", TEXT("A") "\n\ndata: OK\n\n" TEXT("B") "\n\n" STOP,
      "A !bad_json" },
    { "JSON that is no object", TEXT("A") "\n\ndata: [1]\n\n" STOP,
      "A !bad_response" },
    { "a bad escape", TEXT("A") "\n\n" TEXT("\\x") "\n\n" STOP,
      "A !bad_json" },
    { "no finish reason", HELLO, "Hello !truncated" },
    { "half an event", HELLO "data: {\"choices\":[", "Hello !truncated" },
    { "half a [DONE]", HELLO STOP "data: [DO", "Hello #stop !truncated" },
    { "half a line", HELLO STOP "dat", "Hello #stop" },
    { "no finish reason, but DONE", HELLO DONE, "Hello !truncated" },
    { "nothing but DONE", DONE, " !truncated" },
    { "nothing but comments", ": one\n\n: two\n\n", " !truncated" },
  };
  check_streams(streams, COUNT(streams));
}

/* Many chunks in one stream, in three pieces at random places. */
TEST(long_streams) {
  static const char *const pieces[] = {
    TEXT("ab") "\n\n", TEXT("c") "\n\n", TEXT("\xC3\xA9") "\n\n",
    ": x\n\n", TEXT("\\n") "\r\n\r\n", DELTA("{\"reasoning\":\"r\"}") "\n\n",
    TEXT("\\ud83d") "\n\n" TEXT("\\ude00") "\n\n"
  };
  static const char *const texts[] = {
    "ab", "c", "\xC3\xA9", "", "\n", "", "\xF0\x9F\x98\x80"
  };
  unsigned seed = 1;
  int round;

  for(round = 0; round < 50; round++) {
    oc_buf bytes;
    oc_buf expected;
    stream s;
    size_t reasons = 0;
    int i;
    oc_buf_init(&bytes, 1000000);
    oc_buf_init(&expected, 1000000);
    for(i = 0; i < 40; i++) {
      unsigned pick = (seed = seed * 1103515245u + 12345u) >> 16;
      pick %= (unsigned)COUNT(pieces);
      oc_buf_puts(&bytes, pieces[pick]);
      oc_buf_puts(&expected, texts[pick]);
      reasons += pick == 5;
    }
    oc_buf_puts(&bytes, STOP DONE);
    if(reasons)
      oc_buf_puts(&expected, " [");
    for(i = 0; i < (int)reasons; i++)
      oc_buf_puts(&expected, "r");
    oc_buf_puts(&expected, reasons ? "] #stop" : " #stop");
    s.name = "a random stream";
    s.bytes = oc_buf_cstr(&bytes);
    s.expected = oc_buf_cstr(&expected);
    for(i = 0; i < 200; i++) {
      size_t first;
      size_t second;
      seed = seed * 1103515245u + 12345u;
      first = (seed >> 8) % (bytes.len + 1);
      seed = seed * 1103515245u + 12345u;
      second = first + (seed >> 8) % (bytes.len + 1 - first);
      check_split(&s, 1000000, first, 0, second);
    }
    oc_buf_free(&bytes);
    oc_buf_free(&expected);
  }
}

/* What is too large is too large however it arrives. */
TEST(limits) {
  static const stream fits = { "fits", HELLO STOP, "Hello #stop" };
  static const stream large = { "too large", "data: {}\n\n" HELLO STOP,
                                "!event_too_large" };
  size_t len = strlen(large.bytes);
  size_t at;
  for(at = 0; at <= strlen(fits.bytes); at++)
    check_split(&fits, 300, at, 0, strlen(fits.bytes));
  for(at = 0; at <= len; at++) {
    reading r;
    reading_init(&r, 40);
    feed(&r, large.bytes, at);
    feed(&r, large.bytes + at, len - at);
    finish(&r);
    CHECK(r.has_failed && r.error.code == OC_E_EVENT_TOO_LARGE);
    reading_free(&r);
  }
}

int main(void) {
  RUN(line_ends);
  RUN(fields);
  RUN(usage);
  RUN(odd_chunks);
  RUN(characters);
  RUN(tool_calls);
  RUN(errors);
  RUN(long_streams);
  RUN(limits);
  return test_report();
}
