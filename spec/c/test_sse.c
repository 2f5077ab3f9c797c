#include "counting.h"
#include "test.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/oc_sse.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

#define BOM "\xEF\xBB\xBF"

/*
 * What came out, as text: each event as `type|data;`, `error;` at the end
 * when it ended with one.
 */
typedef struct outcome {
  char text[4096];
  size_t len;
  size_t comments;
  oc_code error;
} outcome;

static void note(outcome *got, const char *text, size_t len) {
  if(len > sizeof got->text - 1 - got->len)
    len = sizeof got->text - 1 - got->len;
  if(len)
    memcpy(got->text + got->len, text, len);
  got->len += len;
  got->text[got->len] = '\0';
}

static void note_event(outcome *got, const oc_sse_event *event) {
  note(got, event->type.text, event->type.len);
  note(got, "|", 1);
  note(got, event->data.text, event->data.len);
  note(got, ";", 1);
}

/*
 * Feeds one piece. It lies in a block of its own size that is gone as soon
 * as it may be: a sanitizer sees who looks outside or keeps a pointer.
 */
static int feed(oc_sse *sse, outcome *got, const char *text, size_t len) {
  char *copy = malloc(len ? len : 1);
  oc_sse_event event;
  int more;

  if(!copy)
    abort();
  if(len)
    memcpy(copy, text, len);
  oc_sse_feed(sse, copy, len);
  while((more = oc_sse_next(sse, &event)) > 0)
    note_event(got, &event);
  memset(copy, '#', len);
  free(copy);
  return more;
}

static void finish(oc_sse *sse, outcome *got) {
  oc_sse_event event;
  int more;

  while((more = oc_sse_finish(sse, &event)) > 0)
    note_event(got, &event);
  CHECK(oc_sse_finish(sse, &event) == more);
  CHECK((more < 0) == (sse->error != OC_OK));
  if(more < 0)
    note(got, "error;", 6);
  got->comments = sse->comments;
  got->error = sse->error;
  oc_sse_free(sse);
}

static void start(oc_sse *sse, outcome *got, size_t max) {
  got->len = 0;
  got->text[0] = '\0';
  oc_sse_init(sse, max);
}

static int is_outcome(const outcome *got, const char *events, size_t len,
                      size_t comments) {
  return got->len == len && !memcmp(got->text, events, len) &&
         got->comments == comments;
}

/* Whole, split in two and in three at every offset, byte by byte. */
static void check_stream(const char *text, size_t len, size_t max,
                         const char *events, size_t events_len,
                         size_t comments) {
  oc_sse sse;
  outcome got;
  size_t i;
  size_t k;

  start(&sse, &got, max);
  feed(&sse, &got, text, len);
  finish(&sse, &got);
  CHECK_FOR(is_outcome(&got, events, events_len, comments),
            "%s\n  whole: %s, %d comments", text, got.text,
            (int)got.comments);

  for(i = 0; i <= len; i++) {
    start(&sse, &got, max);
    feed(&sse, &got, text, i);
    feed(&sse, &got, text + i, len - i);
    finish(&sse, &got);
    CHECK_FOR(is_outcome(&got, events, events_len, comments),
              "%s\n  split at %d: %s", text, (int)i, got.text);
  }
  for(i = 0; len < 60 && i <= len; i++)
    for(k = i; k <= len; k++) {
      start(&sse, &got, max);
      feed(&sse, &got, text, i);
      feed(&sse, &got, text + i, k - i);
      feed(&sse, &got, text + k, len - k);
      finish(&sse, &got);
      CHECK_FOR(is_outcome(&got, events, events_len, comments),
                "%s\n  split at %d and %d: %s", text, (int)i, (int)k,
                got.text);
    }

  start(&sse, &got, max);
  for(i = 0; i < len; i++) {
    feed(&sse, &got, text + i, 1);
    feed(&sse, &got, NULL, 0);
  }
  finish(&sse, &got);
  CHECK_FOR(is_outcome(&got, events, events_len, comments),
            "%s\n  byte by byte: %s", text, got.text);
}

static const struct {
  const char *text;
  const char *events;
  size_t comments;
} streams[] = {
  /* nothing */
  { "", "", 0 }, { "\n", "", 0 }, { "\n\n\n", "", 0 }, { "\r\n\r\n", "", 0 },
  { "\r\r", "", 0 },
  /* the common shape */
  { "data: {\"a\":1}\n\ndata: {\"a\":2}\n\ndata: [DONE]\n\n",
    "|{\"a\":1};|{\"a\":2};|[DONE];", 0 },
  { "data:x\n\n", "|x;", 0 }, { "data: x\n\n", "|x;", 0 },
  { "data:  x\n\n", "| x;", 0 }, { "data:\tx\n\n", "|\tx;", 0 },
  { "data: x \n\n", "|x ;", 0 }, { "data: a: b\n\n", "|a: b;", 0 },
  { "data:: x\n\n", "|: x;", 0 },
  /* empty data is data */
  { "data\n\n", "|;", 0 }, { "data:\n\n", "|;", 0 }, { "data: \n\n", "|;", 0 },
  { "data\ndata\n\n", "|\n;", 0 }, { "data:\ndata: x\n\n", "|\nx;", 0 },
  { "data: x\ndata\n\n", "|x\n;", 0 },
  /* several lines */
  { "data: a\ndata: b\n\n", "|a\nb;", 0 },
  { "data: a\ndata:b\ndata: c\n\ndata: d\n\n", "|a\nb\nc;|d;", 0 },
  { "data: a\nid: 1\ndata: b\n\n", "|a\nb;", 0 },
  { "data: a\n: hm\ndata: b\n\n", "|a\nb;", 1 },
  /* all line ends */
  { "data: a\r\ndata: b\r\n\r\n", "|a\nb;", 0 },
  { "data: a\rdata: b\r\r", "|a\nb;", 0 },
  { "data: a\r\n\r\ndata: b\r\n\r\n", "|a;|b;", 0 },
  { "data: a\r\rdata: b\r\r", "|a;|b;", 0 },
  { "data: a\n\rdata: b\r\n\n", "|a;|b;", 0 },
  { "data: a\r\n\ndata: b\n\r\n", "|a;|b;", 0 },
  { "data: a\ndata: b\rdata: c\r\ndata: d\n\r", "|a\nb\nc\nd;", 0 },
  { "data: a\n\ndata: b\r\rdata: c\n\n", "|a;|b;|c;", 0 },
  /* types */
  { "event: ping\ndata: x\n\n", "ping|x;", 0 },
  { "data: x\nevent: ping\n\n", "ping|x;", 0 },
  { "event: a\nevent: b\ndata: x\n\n", "b|x;", 0 },
  { "event: a\nevent\ndata: x\n\n", "|x;", 0 },
  { "event:a\ndata: x\n\ndata: y\n\n", "a|x;|y;", 0 },
  { "event: ping\n\n", "", 0 }, { "event: ping\n\ndata: x\n\n", "|x;", 0 },
  { "event\ndata: x\n\n", "|x;", 0 }, { "event:  a\ndata\n\n", " a|;", 0 },
  /* what is not for us */
  { "id: 7\ndata: x\n\n", "|x;", 0 }, { "retry: 100\n\n", "", 0 },
  { "id: 7\n\nretry: 1\n\ndata: x\n\n", "|x;", 0 },
  { "datax: 1\n\n", "", 0 }, { "dat: 1\n\n", "", 0 }, { "dat", "", 0 },
  { " data: x\n\n", "", 0 }, { "Data: x\n\n", "", 0 },
  { "data : x\n\n", "", 0 }, { "eventx: a\ndata: x\n\n", "|x;", 0 },
  { "{\"error\":{\"message\":\"no\"}}\n\n", "", 0 },
  { "{\"error\":{\"message\":\"no\"}}", "", 0 },
  { "<html>\n<body>oops</body>\n", "", 0 },
  /* comments */
  { ":\n\n", "", 1 }, { ": ping\n\n: ping\n\n", "", 2 },
  { ": OPENROUTER PROCESSING\n\ndata: x\n\n", "|x;", 1 },
  { ":data: x\n\n", "", 1 }, { "data: x\n:\n\n", "|x;", 1 }, { ":x", "", 1 },
  /* byte order mark */
  { BOM "data: x\n\n", "|x;", 0 }, { BOM, "", 0 }, { BOM "\n", "", 0 },
  { BOM BOM "data: x\n\ndata: y\n\n", "|y;", 0 },
  { "data: x\n\n" BOM "data: y\n\n", "|x;", 0 },
  { "\n" BOM "data: y\n\n", "", 0 }, { "data: " BOM "\n\n", "|" BOM ";", 0 },
  { "\xEF" "data: x\n\ndata: y\n\n", "|y;", 0 },
  { "\xEF\xBB" "data: x\ndata: y\n\n", "|y;", 0 },
  { "\xEF\xBB\n\ndata: y\n\n", "|y;", 0 }, { "\xEF", "", 0 },
  { "\xEF\xBB\xEF\xBB\xBF" "data: x\ndata: y\n\n", "|y;", 0 },
  { BOM ": hello\n", "", 1 },
  /* the last event, unterminated */
  { "data: x", "|x;", 0 }, { "data: x\n", "|x;", 0 }, { "data: x\r", "|x;", 0 },
  { "data: x\r\n", "|x;", 0 }, { "data: x\n\ndata: y", "|x;|y;", 0 },
  { "data: a\ndata: b", "|a\nb;", 0 }, { "event: e\ndata: b", "e|b;", 0 },
  { "data: b\nevent: e", "e|b;", 0 }, { "data", "|;", 0 },
  { "event: e", "", 0 }, { "data: x\n\nevent: e\n", "|x;", 0 },
  { "data: x\n\n\n\n", "|x;", 0 }, { "data: x\n:", "|x;", 1 },
  /* text */
  { "data: \xF0\x9F\x98\x80\n\n", "|\xF0\x9F\x98\x80;", 0 },
  { "data: \xFF\x80\n\n", "|\xFF\x80;", 0 }
};

TEST(streams_split_anywhere) {
  size_t i;
  for(i = 0; i < COUNT(streams); i++)
    check_stream(streams[i].text, strlen(streams[i].text), 1000,
                 streams[i].events, strlen(streams[i].events),
                 streams[i].comments);
}

TEST(nul_bytes_are_text) {
  check_stream("data: a\0b\n\n", 11, 1000, "|a\0b;", 5, 0);
  check_stream("\0data: a\n\ndata: b\n\n", 19, 1000, "|b;", 3, 0);
}

/* The same stream with every kind of line end is the same stream. */
TEST(line_ends_are_alike) {
  static const char text[] =
    "data: one\n\n: hm\nevent: e\ndata: two\ndata: three\n\n\ndata: four\n\n";
  static const char events[] = "|one;e|two\nthree;|four;";
  char other[256];
  size_t len = 0;
  size_t i;

  check_stream(text, strlen(text), 1000, events, strlen(events), 1);
  for(i = 0; text[i]; i++)
    other[len++] = text[i] == '\n' ? '\r' : text[i];
  other[len] = '\0';
  check_stream(other, len, 1000, events, strlen(events), 1);
  len = 0;
  for(i = 0; text[i]; i++) {
    if(text[i] == '\n')
      other[len++] = '\r';
    other[len++] = text[i];
  }
  other[len] = '\0';
  check_stream(other, len, 1000, events, strlen(events), 1);
}

/* A split must not change what is too large either. */
TEST(limits) {
  /* a line of 10 bytes, with its field name */
  check_stream("data: 1234\n\n", 12, 10, "|1234;", 6, 0);
  check_stream("data: 12345\n\n", 13, 10, "error;", 6, 0);
  check_stream("data: 12345", 11, 10, "error;", 6, 0);
  check_stream("data: 1\n\ndata: 12345\n\n", 22, 10, "|1;error;", 9, 0);
  check_stream(":123456789\n\n", 12, 10, "", 0, 1);
  check_stream(":1234567890\n\n", 13, 10, "error;", 6, 0);
  check_stream("unknown: 90\n\n", 13, 10, "error;", 6, 0);
  check_stream("event: abcd\n\n", 13, 10, "error;", 6, 0);
  /* the data of one event, with the line feeds in between */
  check_stream("data:1234\ndata:56789\n\n", 22, 10, "|1234\n56789;", 12, 0);
  check_stream("data:12345\ndata:6789\n\n", 22, 10, "|12345\n6789;", 12, 0);
  check_stream("data:12345\ndata:67890\n\n", 23, 10, "error;", 6, 0);
  check_stream("data\ndata\ndata\ndata\n\n", 21, 3, "error;", 6, 0);
  check_stream("data\ndata\ndata\ndata\n\n", 21, 4, "|\n\n\n;", 5, 0);
  check_stream("data\ndata\ndata\ndata\ndata\ndata\n\n", 31, 4, "error;", 6,
               0);
  /* each event counts for itself */
  check_stream("data: 1234\n\ndata: 1234\n\ndata: 1234\n\n", 36, 10,
               "|1234;|1234;|1234;", 18, 0);
  check_stream("x\n\n", 3, 0, "error;", 6, 0);
  check_stream("\n\n", 2, 0, "", 0, 0);
}

TEST(an_error_stays_and_has_a_code) {
  oc_sse sse;
  oc_sse_event event;

  oc_sse_init(&sse, 10);
  oc_sse_feed(&sse, "data: 0123456789\n\n", 18);
  CHECK(oc_sse_next(&sse, &event) == -1);
  CHECK(sse.error == OC_E_EVENT_TOO_LARGE);
  oc_sse_feed(&sse, "data: 1\n\n", 9);
  CHECK(oc_sse_next(&sse, &event) == -1);
  CHECK(oc_sse_finish(&sse, &event) == -1);
  oc_sse_free(&sse);
}

TEST(events_come_at_once) {
  static const char *const parts[] = {
    "data: 1\n\n", "data: 2\r\n\r", "\ndata: 3\r\r", "data: 4\n", "\n",
    "data: 5", "\n\n"
  };
  static const int events[] = { 1, 1, 1, 0, 1, 0, 1 };
  oc_sse sse;
  size_t i;

  oc_sse_init(&sse, 100);
  for(i = 0; i < COUNT(parts); i++) {
    oc_sse_event event;
    int got = 0;
    oc_sse_feed(&sse, parts[i], strlen(parts[i]));
    while(oc_sse_next(&sse, &event) > 0)
      got++;
    CHECK_FOR(got == events[i], "part %d", (int)i);
  }
  oc_sse_free(&sse);
}

TEST(whole_events_are_not_copied) {
  static const char text[] = "data: {\"a\":1}\n\ndata: {\"a\":2}\r\n\r\n";
  oc_sse sse;
  oc_sse_event event;

  oc_sse_init(&sse, 100);
  oc_sse_feed(&sse, text, sizeof text - 1);
  CHECK(oc_sse_next(&sse, &event) == 1);
  CHECK(event.data.text == text + 6 && event.data.len == 7);
  CHECK(oc_sse_next(&sse, &event) == 1);
  CHECK(event.data.text == text + 21 && event.data.len == 7);
  CHECK(oc_sse_next(&sse, &event) == 0);
  CHECK(!sse.line.data && !sse.joined.data && !sse.type.data);
  oc_sse_free(&sse);
}

TEST(finish_reads_what_is_still_fed) {
  oc_sse sse;
  oc_sse_event event;

  oc_sse_init(&sse, 100);
  oc_sse_feed(&sse, "data: 1\n\ndata: 2\n\ndata: 3", 25);
  CHECK(oc_sse_next(&sse, &event) == 1);
  CHECK(oc_sse_finish(&sse, &event) == 1 && event.data.text[0] == '2');
  CHECK(oc_sse_finish(&sse, &event) == 1 && event.data.text[0] == '3');
  CHECK(oc_sse_finish(&sse, &event) == 0);
  oc_sse_free(&sse);
}

TEST(unused_or_empty) {
  oc_sse sse;
  oc_sse_event event;

  oc_sse_init(&sse, 100);
  CHECK(oc_sse_next(&sse, &event) == 0);
  CHECK(oc_sse_finish(&sse, &event) == 0);
  oc_sse_feed(&sse, NULL, 0);
  CHECK(oc_sse_next(&sse, &event) == 0);
  oc_sse_free(&sse);
  oc_sse_free(&sse);
}

/* A long line in small pieces is scanned and copied once. */
TEST(long_lines_in_small_pieces) {
  enum { SIZE = 4 * 1024 * 1024, PIECE = 16 };
  oc_sse sse;
  oc_sse_event event;
  char piece[PIECE];
  size_t i;

  memset(piece, 'x', sizeof piece);
  oc_sse_init(&sse, SIZE + 100);
  oc_sse_feed(&sse, "data: ", 6);
  CHECK(oc_sse_next(&sse, &event) == 0);
  for(i = 0; i < SIZE; i += PIECE) {
    oc_sse_feed(&sse, piece, PIECE);
    if(oc_sse_next(&sse, &event) != 0)
      break;
  }
  CHECK(i == SIZE);
  oc_sse_feed(&sse, "\n\n", 2);
  CHECK(oc_sse_next(&sse, &event) == 1);
  CHECK(event.data.len == SIZE);
  oc_sse_free(&sse);
}

static uint32_t random_state = 2463534242u;

static uint32_t random_bits(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 17;
  random_state ^= random_state << 5;
  return random_state;
}

/* Random streams: any way of cutting them gives what the whole gives. */
TEST(random_streams_randomly_cut) {
  static const char *const pieces[] = {
    "data", ":", " ", "x", "\n", "\r", "\r\n", "event", "data: ", "\n\n",
    "id", BOM, "\xEF", "yyyyyyyy", "data: z\n\n"
  };
  int round;

  for(round = 0; round < 5000; round++) {
    char text[400];
    size_t len = 0;
    size_t count = random_bits() % 40;
    size_t max = random_bits() % 4 ? 300 : 1 + random_bits() % 20;
    outcome whole;
    int cuts;
    oc_sse sse;

    while(count--) {
      const char *piece = pieces[random_bits() % COUNT(pieces)];
      memcpy(text + len, piece, strlen(piece));
      len += strlen(piece);
    }
    start(&sse, &whole, max);
    feed(&sse, &whole, text, len);
    finish(&sse, &whole);
    for(cuts = 0; cuts < 5; cuts++) {
      outcome got;
      size_t at = 0;
      start(&sse, &got, max);
      while(at < len) {
        size_t step = 1 + random_bits() % 12;
        if(step > len - at)
          step = len - at;
        feed(&sse, &got, text + at, step);
        at += step;
      }
      finish(&sse, &got);
      CHECK(is_outcome(&got, whole.text, whole.len, whole.comments));
    }
  }
}

/* Fails the n-th allocation and all after it, for every n until none fails. */
TEST(out_of_memory) {
  static const char text[] =
    "event: a\ndata: one\ndata: two\n\n: hm\ndata: three\n\ndata: four";
  static const char events[] = "a|one\ntwo;|three;|four;";
  int n;

  for(n = 0; n < 100; n++) {
    oc_sse sse;
    outcome got;
    size_t i;

    oc_set_allocator(&counting);
    allocations_left = n;
    start(&sse, &got, 1000);
    for(i = 0; i < sizeof text - 1; i += 7)
      feed(&sse, &got, text + i, i + 7 < sizeof text ? 7
                                                     : sizeof text - 1 - i);
    finish(&sse, &got);
    oc_set_allocator(&standard);
    if(!got.error)
      break;
    CHECK(got.error == OC_E_NOMEM);
    CHECK(strstr(got.text, "error;") != NULL);
  }
  CHECK(n > 0 && n < 100);
  {
    outcome got;
    oc_sse sse;
    start(&sse, &got, 1000);
    feed(&sse, &got, text, sizeof text - 1);
    finish(&sse, &got);
    CHECK(is_outcome(&got, events, sizeof events - 1, 1));
  }
}

/* What is left can be looked at between two events, and nowhere else. */
TEST(rest_is_there_between_events) {
  static const struct {
    const char *text;
    long left;                /* -1: nothing to be seen */
  } cases[] = {
    { "data: a\n\n", 0 }, { "data: a\n\ndata: b", -1 }, { "data: a\n", -1 },
    { "event: a\n", -1 }, { ": a\n", 0 }, { "data: a\r\n\r\n", 0 },
    { "data: a\r\n\r", -1 }, { "", -1 }, { "d", -1 }
  };
  oc_sse sse;
  oc_sse_event event;
  size_t left;
  size_t i;

  for(i = 0; i < COUNT(cases); i++) {
    const char *rest;
    outcome got;
    memset(&got, 0, sizeof got);
    oc_sse_init(&sse, 100);
    feed(&sse, &got, cases[i].text, strlen(cases[i].text));
    oc_sse_feed(&sse, "", 0);
    rest = oc_sse_rest(&sse, &left);
    CHECK_FOR(rest ? (long)left == cases[i].left : cases[i].left < 0, "%s",
              cases[i].text);
    oc_sse_free(&sse);
  }
  oc_sse_init(&sse, 20);
  oc_sse_feed(&sse, "data: a\n\ndata: b\n\ndata: c\n\n", 27);
  CHECK(oc_sse_next(&sse, &event) == 1 && *event.data.text == 'a');
  CHECK(*oc_sse_rest(&sse, &left) == 'd' && left == 18);
  oc_sse_skip(&sse, 9);
  CHECK(oc_sse_rest(&sse, &left) && left == 9);
  CHECK(oc_sse_next(&sse, &event) == 1 && *event.data.text == 'c');
  CHECK(oc_sse_next(&sse, &event) == 0);
  /* no more than an event may have */
  oc_sse_feed(&sse, "data: a\n\ndata: b\n\ndata: c\n\n", 27);
  CHECK(oc_sse_rest(&sse, &left) && left == 20);
  oc_sse_free(&sse);
}

int main(void) {
  RUN(streams_split_anywhere);
  RUN(nul_bytes_are_text);
  RUN(line_ends_are_alike);
  RUN(limits);
  RUN(an_error_stays_and_has_a_code);
  RUN(events_come_at_once);
  RUN(whole_events_are_not_copied);
  RUN(finish_reads_what_is_still_fed);
  RUN(unused_or_empty);
  RUN(long_lines_in_small_pieces);
  RUN(random_streams_randomly_cut);
  RUN(rest_is_there_between_events);
  RUN(out_of_memory);
  return test_report();
}
