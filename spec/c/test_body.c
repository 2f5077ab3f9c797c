#include "test.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/oc_body.h"

#define MAX 4096

/* A list of user messages with these texts. */
static void fill(oc_history *history, const char *const *list) {
  oc_history_init(history);
  for(; *list; list++) {
    oc_message *message;
    oc_flaw flaw;
    CHECK(!oc_message_text(&message, OC_ROLE_USER, *list, strlen(*list),
                           NULL));
    CHECK(!oc_history_append(history, message, &flaw));
    oc_message_unref(message);
  }
}

static const char *const none[] = { NULL };
static const char *const one[] = { "Hi", NULL };
static const char *const some[] = { "Hi", "", "a \"b\"", "the last", NULL };

static const struct {
  const char *options;
  const char *const *list;
  const char *expected;
} cases[] = {
  { "", none, "{\"messages\":[]}" },
  { "\"model\":\"m\"", none, "{\"model\":\"m\",\"messages\":[]}" },
  { "", one, "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}" },
  { "\"model\":\"m\",\"n\":1", some,
    "{\"model\":\"m\",\"n\":1,\"messages\":["
    "{\"role\":\"user\",\"content\":\"Hi\"},"
    "{\"role\":\"user\",\"content\":\"\"},"
    "{\"role\":\"user\",\"content\":\"a \\\"b\\\"\"},"
    "{\"role\":\"user\",\"content\":\"the last\"}]}" }
};

#define CASES (sizeof cases / sizeof *cases)

static void begin(oc_body *body, size_t i) {
  oc_history history;
  fill(&history, cases[i].list);
  CHECK(!oc_body_init(body, cases[i].options, strlen(cases[i].options),
                      &history));
  /* the body has a fork of its own */
  oc_history_free(&history);
}

/* Reads to the end in pieces of `step` bytes; the length of all of it. */
static size_t read_all(oc_body *body, size_t step, char *to) {
  size_t total = 0;
  size_t len;
  while((len = oc_body_read(body, to + total, step)) > 0) {
    CHECK(len <= step);
    total += len;
    if(total > MAX - step)
      break;
  }
  return total;
}

TEST(prints) {
  size_t i;
  for(i = 0; i < CASES; i++) {
    oc_body body;
    oc_buf out;
    begin(&body, i);
    oc_buf_init(&out, MAX);
    oc_buf_puts(&out, "before");
    CHECK(!oc_body_print(&body, &out));
    CHECK_FOR(out.len == 6 + strlen(cases[i].expected)
              && !memcmp(out.data, "before", 6)
              && !memcmp(out.data + 6, cases[i].expected, out.len - 6),
              "%s", cases[i].expected);
    CHECK(body.size == strlen(cases[i].expected));
    oc_buf_free(&out);
    oc_body_free(&body);
  }
}

TEST(reads_in_pieces_of_every_size) {
  size_t i;
  for(i = 0; i < CASES; i++) {
    size_t len = strlen(cases[i].expected);
    size_t step;
    oc_body body;
    begin(&body, i);
    for(step = 1; step <= len + 1; step++) {
      char read[MAX];
      memset(read, '?', sizeof read);
      oc_body_seek(&body, 0);
      CHECK_FOR(read_all(&body, step, read) == len, "%d", (int)step);
      CHECK_FOR(!memcmp(read, cases[i].expected, len), "%d", (int)step);
      CHECK(read[len] == '?');
      CHECK(oc_body_read(&body, read, step) == 0);
    }
    CHECK(oc_body_read(&body, NULL, 0) == 0);
    oc_body_free(&body);
  }
}

/* A retry, or a redirect, goes on anywhere. */
TEST(seeks_to_every_offset) {
  size_t i;
  for(i = 0; i < CASES; i++) {
    size_t len = strlen(cases[i].expected);
    size_t offset;
    size_t before;
    oc_body body;
    begin(&body, i);
    for(offset = 0; offset <= len + 2; offset++) {
      size_t left = offset < len ? len - offset : 0;
      for(before = 0; before < 3; before++) {
        char read[MAX];
        /* from wherever the last reading stopped */
        oc_body_read(&body, read, before * 7);
        oc_body_seek(&body, offset);
        CHECK_FOR(read_all(&body, before * 50 + 1, read) == left, "%d",
                  (int)offset);
        CHECK_FOR(!left || !memcmp(read, cases[i].expected + offset, left),
                  "%d", (int)offset);
        oc_body_seek(&body, offset);
      }
    }
    oc_body_free(&body);
  }
}

TEST(printing_does_not_move_it) {
  oc_body body;
  oc_buf out;
  char read[MAX];
  size_t len = strlen(cases[3].expected);

  begin(&body, 3);
  oc_buf_init(&out, MAX);
  CHECK(oc_body_read(&body, read, 60) == 60);
  CHECK(!oc_body_print(&body, &out));
  CHECK(out.len == len && !memcmp(out.data, cases[3].expected, len));
  CHECK(oc_body_read(&body, read + 60, MAX - 60) == len - 60);
  CHECK(!memcmp(read, cases[3].expected, len));
  oc_buf_free(&out);
  oc_buf_init(&out, len - 1);
  CHECK(oc_body_print(&body, &out) == OC_E_TOO_LARGE && out.len == 0);
  oc_buf_free(&out);
  oc_body_free(&body);
}

/* What is appended while a request is under way is not part of it. */
TEST(keeps_its_own_list) {
  oc_history history;
  oc_message *message;
  oc_flaw flaw;
  oc_body body;
  char read[MAX];
  size_t len;

  fill(&history, some);
  CHECK(!oc_body_init(&body, cases[3].options, strlen(cases[3].options),
                      &history));
  CHECK(oc_body_read(&body, read, 40) == 40);
  CHECK(!oc_message_text(&message, OC_ROLE_USER, "more", 4, NULL));
  CHECK(!oc_history_append(&history, message, &flaw));
  oc_history_cut(&history, 1);
  CHECK(!oc_history_append(&history, message, &flaw));
  oc_message_unref(message);
  oc_history_free(&history);
  len = 40 + oc_body_read(&body, read + 40, MAX - 40);
  CHECK(len == strlen(cases[3].expected)
        && !memcmp(read, cases[3].expected, len));
  oc_body_free(&body);
  CHECK(body.size == 0);
}

TEST(counts_a_long_list) {
  oc_history history;
  oc_body body;
  oc_buf out;
  char text[64];
  int i;

  oc_history_init(&history);
  for(i = 0; i < 5000; i++) {
    oc_message *message;
    oc_flaw flaw;
    int len = sprintf(text, "message %d\n", i);
    CHECK(!oc_message_text(&message, i % 2 ? OC_ROLE_ASSISTANT : OC_ROLE_USER,
                           text, (size_t)len, NULL));
    CHECK(!oc_history_append(&history, message, &flaw));
    oc_message_unref(message);
  }
  CHECK(!oc_body_init(&body, "", 0, &history));
  oc_buf_init(&out, SIZE_MAX / 2);
  CHECK(!oc_body_print(&body, &out));
  CHECK(out.len == body.size);
  CHECK(!memcmp(out.data + out.len - 11, " 4999\\n\"}]}", 11));
  oc_buf_free(&out);
  oc_body_free(&body);
  oc_history_free(&history);
}

int main(void) {
  RUN(prints);
  RUN(reads_in_pieces_of_every_size);
  RUN(seeks_to_every_offset);
  RUN(printing_does_not_move_it);
  RUN(keeps_its_own_list);
  RUN(counts_a_long_list);
  return test_report();
}
