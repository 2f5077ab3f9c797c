#include "test.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/oc_like.h"
#include "../../src/oc_response.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define MAX 4000

#define HEAD "{\"id\":\"c\",\"choices\":[{\"delta\":{\"content\":\""
#define TAIL "\"}}]}"
#define CHUNK(text) HEAD text TAIL
#define EVENT(text) "data: " CHUNK(text) "\n\n"

static void remember(oc_like *like, const char *chunk, const char *string) {
  oc_slice raw;
  raw.text = strstr(chunk, string);
  raw.len = strlen(string);
  oc_like_init(like, MAX);
  oc_like_remember(like, chunk, strlen(chunk), raw);
}

/* The string found in an event; NULL: it is not alike. */
static const char *found(const oc_like *like, const char *bytes,
                         size_t *used) {
  static char text[100];
  size_t len = strlen(bytes);
  char *copy = malloc(len ? len : 1);
  oc_slice raw = { "", 0 };
  oc_letters letters = OC_LETTERS_ANY;

  if(!copy)
    abort();
  memcpy(copy, bytes, len);
  *used = oc_like_event(like, copy, len, &raw, &letters);
  if(*used)
    sprintf(text, "%s%.*s", letters == OC_LETTERS_PLAIN ? "plain " : "",
            (int)raw.len, raw.text);
  free(copy);
  return *used ? text : NULL;
}

TEST(finds_what_is_alike) {
  static const struct {
    const char *bytes;
    const char *text;
  } cases[] = {
    { EVENT("abc"), "plain abc" },
    { EVENT(""), "plain " },
    { EVENT("abc") EVENT("d"), "plain abc" },
    { EVENT("a\\n\\\"b\\u00e9"), "a\\n\\\"b\\u00e9" },
    { EVENT("gr\xC3\xBC\xC3\x9F"), "gr\xC3\xBC\xC3\x9F" },
    { EVENT("a long one, a long one, a long one"),
      "plain a long one, a long one, a long one" },
    { "data:" CHUNK("abc") "\n\n", NULL },
    { "data: " CHUNK("abc") "\n", NULL },
    { "data: " CHUNK("abc") "\ndata: 1\n\n", NULL },
    { "data: " CHUNK("abc") " \n\n", NULL },
    { "data: " CHUNK("abc") "\r\n\r\n", NULL },
    { "data:  " CHUNK("abc") "\n\n", NULL },
    { "event: x\n" EVENT("abc"), NULL },
    { ": x\n" EVENT("abc"), NULL },
    { "\n" EVENT("abc"), NULL },
    { "data: " HEAD "abc\n" TAIL "\n\n", NULL },
    { "data: " HEAD "abc" "\"}]}" "\n\n", NULL },
    { "data: " HEAD "abc\\" TAIL "\n\n", NULL },
    { "data: {\"id\":\"d\",\"choices\":[{\"delta\":{\"content\":\"a" TAIL
      "\n\n", NULL },
    { "", NULL },
    { "data: ", NULL }
  };
  const char *event = EVENT("some text");
  oc_like like;
  size_t used;
  size_t i;

  remember(&like, CHUNK("hello"), "hello");
  for(i = 0; i < COUNT(cases); i++) {
    const char *text = found(&like, cases[i].bytes, &used);
    CHECK_FOR(cases[i].text ? text && !strcmp(text, cases[i].text) : !text,
              "%s", cases[i].bytes);
  }
  /* never before all of it is there */
  for(i = 0; i <= strlen(event); i++) {
    char part[200];
    memcpy(part, event, i);
    part[i] = '\0';
    found(&like, part, &used);
    CHECK_FOR(used == (i == strlen(event) ? i : 0), "%d", (int)i);
  }
  oc_like_forget(&like);
  CHECK(!found(&like, EVENT("abc"), &used));
  oc_like_free(&like);
}

/* Data of two lines would have a field name in each. */
TEST(knows_that_lines_are_joined) {
  static const char chunk[] = "{\"a\":\n\"hello\"}";
  oc_like like;
  oc_slice raw;
  size_t used;
  oc_letters letters;

  remember(&like, chunk, "hello");
  CHECK(!found(&like, "data: {\"a\":\n\"hello\"}\n\n", &used));
  CHECK(oc_like_matches(&like, chunk, strlen(chunk), &raw, &letters)
        && letters == OC_LETTERS_PLAIN && raw.len == 5);
  CHECK(!oc_like_matches(&like, chunk, strlen(chunk) - 1, &raw, &letters));
  CHECK(!oc_like_matches(&like, chunk, 0, &raw, &letters));
  oc_like_free(&like);
  remember(&like, "{\"a\":\r\"hello\"}", "hello");
  CHECK(!found(&like, "data: {\"a\":\r\"hello\"}\n\n", &used));
  oc_like_free(&like);
  /* one too long to be remembered */
  oc_like_init(&like, 10);
  raw.text = chunk + 7;
  raw.len = 5;
  oc_like_remember(&like, chunk, strlen(chunk), raw);
  CHECK(!oc_like_matches(&like, chunk, strlen(chunk), &raw, &letters));
  oc_like_free(&like);
}

/* {==== whole streams ==== */

static uint32_t seed = 1;

static size_t pick(size_t count) {
  seed = seed * 1664525u + 1013904223u;
  return (seed >> 8) % count;
}

/* What a stream comes to, as text; fed in pieces of `step` bytes. */
static void read_stream(char *out, size_t room, const char *text, size_t len,
                        size_t step) {
  oc_response response;
  oc_error error;
  size_t at;
  int ended = 0;
  const oc_reply *reply = &response.reply;

  memset(&error, 0, sizeof error);
  oc_response_init(&response, MAX, 300, 0);
  response.status = 200;
  for(at = 0; at < len && !ended; at += step)
    ended = oc_response_body(&response, text + at,
                             at + step < len ? step : len - at, &error);
  if(!ended)
    oc_response_finish(&response, &error);
  snprintf(out, room, "%d %s|%.*s|%.*s|%d|%d %s",
           (int)response.sse.comments, reply->is_done ? "done" : "",
           (int)reply->content.buf.len,
           reply->content.buf.len ? reply->content.buf.data : "",
           (int)reply->reasoning.buf.len,
           reply->reasoning.buf.len ? reply->reasoning.buf.data : "",
           (int)reply->calls.count, (int)error.code,
           error.code ? oc_error_message(&error) : "");
  if(reply->calls.count)
    snprintf(out + strlen(out), room - strlen(out), "|%.*s",
             (int)reply->calls.items[0].arguments.buf.len,
             reply->calls.items[0].arguments.buf.len
             ? reply->calls.items[0].arguments.buf.data : "");
  oc_error_clear(&error);
  oc_response_free(&response);
}

static const char *const events[] = {
  EVENT("abc"), EVENT("a\\nb"), EVENT("gr\xC3\xBC"), EVENT("cut \xC3"),
  EVENT("\xBC end"), EVENT("\\ud83d"), EVENT("\\ude00"), EVENT("bad \\x"),
  EVENT("a text that is longer than sixteen bytes"), EVENT(""),
  "data: {\"choices\":[{\"delta\":{\"reasoning\":\"hm\"}}]}\n\n",
  "data: {\"choices\":[{\"delta\":{\"reasoning\":\"hm, hm\"}}]}\n\n",
  "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":"
  "{\"arguments\":\"{}\"}}]}}]}\n\n",
  "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":"
  "{\"arguments\":\"[1,\\n2]\"}}]}}]}\n\n",
  ": comment\n\n", "\n", "data: " CHUNK("a") "\r\n\r\n",
  "data: {\"id\":\"c\",\ndata: \"choices\":[{\"delta\":{\"content\":\"j"
  TAIL "\n\n",
  "event: error\n" EVENT("no"), "data: [DONE]\n\n"
};

/* Byte by byte no event is all there, and each is read by itself. */
TEST(is_what_the_long_road_reads) {
  static char whole[2 * MAX];
  static char bytewise[2 * MAX];
  int round;

  for(round = 0; round < 20000; round++) {
    char text[2000];
    size_t len = 0;
    size_t count = 1 + pick(10);
    size_t kind = pick(COUNT(events));

    while(count--) {
      const char *event = events[kind];
      size_t event_len = strlen(event);
      memcpy(text + len, event, event_len);
      len += event_len;
      /* most often another one that is like it */
      if(pick(4) == 0)
        kind = pick(COUNT(events));
      else
        kind = kind < 10 ? pick(10) : kind;
    }
    if(pick(2)) {
      size_t at = pick(len);
      if(pick(2))
        text[at] = "\"\\\n\r:{}a \xC3"[pick(10)];
      else
        memmove(text + at, text + at + 1, --len - at);
    }
    read_stream(bytewise, sizeof bytewise, text, len, 1);
    read_stream(whole, sizeof whole, text, len, round % 2 ? len : 150);
    CHECK_FOR(!strcmp(whole, bytewise), "%.*s\n%s\n%s", (int)len, text, whole,
              bytewise);
  }
}

/* It must be taken, or it is worth nothing. */
TEST(short_road_is_taken) {
  oc_response response;
  oc_error error;
  int i;

  memset(&error, 0, sizeof error);
  oc_response_init(&response, MAX, MAX, 0);
  response.status = 200;
  for(i = 0; i < 3; i++) {
    const char *text = EVENT("abc") EVENT("d");
    CHECK(!oc_response_body(&response, text, strlen(text), &error));
    CHECK(response.reply.effects.count == (i ? 77u : 1u));
    /* set anew by each chunk that is read */
    response.reply.effects.count = 77;
  }
  CHECK(response.reply.content.buf.len == 12);
  oc_response_free(&response);
}

/* }==== */

int main(void) {
  RUN(finds_what_is_alike);
  RUN(knows_that_lines_are_joined);
  RUN(is_what_the_long_road_reads);
  RUN(short_road_is_taken);
  return test_report();
}
