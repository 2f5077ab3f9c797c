#include "counting.h"
#include "test.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/oc_buf.h"
#include "../../src/oc_error.h"

static int buf_is(const oc_buf *buf, const char *text) {
  return buf->len == strlen(text) &&
         (!buf->len || !memcmp(buf->data, text, buf->len));
}

/*
 * oc_buf
 */

TEST(starts_without_memory) {
  oc_buf buf;
  oc_buf_init(&buf, 100);
  CHECK(!buf.data && buf.len == 0 && buf.cap == 0 && buf.max == 100);
  CHECK(oc_buf_append(&buf, NULL, 0) == OC_OK);
  CHECK(oc_buf_reserve(&buf, 0) == OC_OK);
  CHECK(!buf.data);
  oc_buf_clear(&buf);
  oc_buf_consume(&buf, 10);
  oc_buf_free(&buf);
  oc_buf_free(&buf);
}

TEST(appends) {
  oc_buf buf;
  int i;

  oc_buf_init(&buf, 10000);
  CHECK(oc_buf_puts(&buf, "ab") == OC_OK);
  CHECK(oc_buf_putc(&buf, 'c') == OC_OK);
  CHECK(oc_buf_append(&buf, "d\0e", 3) == OC_OK);
  CHECK(buf.len == 6 && !memcmp(buf.data, "abcd\0e", 6));
  oc_buf_clear(&buf);
  CHECK(buf.len == 0 && buf.data);
  for(i = 0; i < 10000; i++)
    CHECK(oc_buf_putc(&buf, (char)i) == OC_OK);
  CHECK(buf.len == 10000 && buf.data[9999] == (char)9999);
  oc_buf_free(&buf);
  CHECK(!buf.data && buf.len == 0 && buf.max == 10000);
  CHECK(oc_buf_puts(&buf, "again") == OC_OK);
  CHECK(buf_is(&buf, "again"));
  oc_buf_free(&buf);
}

/* To the maximum and not a byte further, whichever way it is reached. */
TEST(keeps_its_maximum) {
  size_t max;
  for(max = 0; max < 200; max++) {
    oc_buf buf;
    size_t i;

    oc_buf_init(&buf, max);
    for(i = 0; i < max; i++)
      CHECK(oc_buf_putc(&buf, 'x') == OC_OK);
    CHECK_FOR(oc_buf_putc(&buf, 'y') == OC_E_TOO_LARGE, "%d", (int)max);
    CHECK_FOR(buf.len == max, "%d", (int)max);
    CHECK(oc_buf_reserve(&buf, 1) == OC_E_TOO_LARGE);
    CHECK(oc_buf_reserve(&buf, 0) == OC_OK);
    CHECK(oc_buf_append(&buf, NULL, 0) == OC_OK);
    oc_buf_free(&buf);

    oc_buf_init(&buf, max);
    CHECK(oc_buf_reserve(&buf, max + 1) == OC_E_TOO_LARGE);
    CHECK(oc_buf_reserve(&buf, SIZE_MAX) == OC_E_TOO_LARGE);
    CHECK(oc_buf_reserve(&buf, max) == OC_OK);
    CHECK(oc_buf_puts(&buf, "") == OC_OK);
    oc_buf_free(&buf);
  }
}

TEST(refuses_unchanged) {
  oc_buf buf;
  oc_buf_init(&buf, 10);
  CHECK(oc_buf_puts(&buf, "12345678") == OC_OK);
  CHECK(oc_buf_puts(&buf, "9ab") == OC_E_TOO_LARGE);
  CHECK(oc_buf_append(&buf, "x", SIZE_MAX) == OC_E_TOO_LARGE);
  CHECK(buf_is(&buf, "12345678"));
  CHECK(oc_buf_puts(&buf, "9a") == OC_OK);
  CHECK(buf_is(&buf, "123456789a"));
  oc_buf_free(&buf);
}

/* The terminator is not content: it fits even when nothing else does. */
TEST(terminates) {
  oc_buf buf;
  size_t i;

  oc_buf_init(&buf, 64);
  CHECK(!strcmp(oc_buf_cstr(&buf), ""));
  CHECK(buf.len == 0);
  for(i = 0; i < 64; i++) {
    CHECK(oc_buf_putc(&buf, 'x') == OC_OK);
    CHECK(strlen(oc_buf_cstr(&buf)) == i + 1);
  }
  CHECK(oc_buf_putc(&buf, 'y') == OC_E_TOO_LARGE);
  CHECK(buf.len == 64);
  CHECK(strlen(oc_buf_cstr(&buf)) == 64);
  oc_buf_free(&buf);
}

TEST(consumes) {
  oc_buf buf;
  oc_buf_init(&buf, 100);
  oc_buf_puts(&buf, "0123456789");
  oc_buf_consume(&buf, 0);
  CHECK(buf_is(&buf, "0123456789"));
  oc_buf_consume(&buf, 3);
  CHECK(buf_is(&buf, "3456789"));
  oc_buf_puts(&buf, "ab");
  CHECK(buf_is(&buf, "3456789ab"));
  oc_buf_consume(&buf, 9);
  CHECK(buf.len == 0);
  oc_buf_puts(&buf, "x");
  oc_buf_consume(&buf, 1000);
  CHECK(buf.len == 0);
  oc_buf_free(&buf);
}

TEST(hands_over_its_memory) {
  oc_buf buf;
  size_t len = 99;
  char *data;

  oc_buf_init(&buf, 100);
  oc_buf_puts(&buf, "mine");
  data = oc_buf_take(&buf, &len);
  CHECK(len == 4 && !memcmp(data, "mine", 4));
  CHECK(!buf.data && buf.len == 0 && buf.max == 100);
  oc_free(data);
  data = oc_buf_take(&buf, &len);
  CHECK(len == 0);
  oc_free(data);
}

/*
 * oc_alloc
 */

TEST(allocator_can_be_replaced) {
  char *text;
  unsigned char *zeroed;
  int i;

  allocations_left = 100;
  blocks = 0;
  oc_set_allocator(&counting);
  text = oc_strndup("abcdef", 3);
  CHECK(text && !strcmp(text, "abc"));
  CHECK(blocks == 1);
  text = oc_realloc(text, 100);
  CHECK(text && !strcmp(text, "abc"));
  oc_free(text);
  oc_free(NULL);
  CHECK(blocks == 0);
  text = oc_strndup(NULL, 0);
  CHECK(text && !*text);
  oc_free(text);
  zeroed = oc_calloc(50);
  for(i = 0; i < 50; i++)
    CHECK(zeroed[i] == 0);
  oc_free(zeroed);
  text = oc_malloc(0);
  CHECK(text != NULL);
  oc_free(text);
  CHECK(blocks == 0);
  allocations_left = 0;
  CHECK(!oc_malloc(1) && !oc_calloc(1) && !oc_strndup("x", 1));
  CHECK(!oc_realloc(NULL, 1));
  oc_set_allocator(&standard);
}

TEST(buffer_survives_lack_of_memory) {
  oc_buf buf;
  size_t len;
  char *data;
  int i;

  blocks = 0;
  oc_set_allocator(&counting);
  oc_buf_init(&buf, 10000);
  allocations_left = 0;
  CHECK(oc_buf_puts(&buf, "x") == OC_E_NOMEM);
  CHECK(!buf.data && buf.len == 0);
  CHECK(!oc_buf_cstr(&buf));
  allocations_left = 1;
  CHECK(oc_buf_puts(&buf, "kept") == OC_OK);
  for(i = 0; i < 10000 && buf.len < buf.cap; i++)
    oc_buf_putc(&buf, '.');
  CHECK(oc_buf_putc(&buf, 'x') == OC_E_NOMEM);
  CHECK(!oc_buf_cstr(&buf));
  CHECK(buf.len == buf.cap && !memcmp(buf.data, "kept...", 7));
  allocations_left = 0;
  data = oc_buf_take(&buf, &len);         /* uncut, but there */
  CHECK(data && !memcmp(data, "kept...", 7));
  oc_free(data);
  oc_buf_free(&buf);
  CHECK(blocks == 0);
  oc_set_allocator(&standard);
}

TEST(wipes) {
  char secret[32];
  size_t i;

  memset(secret, 'k', sizeof secret);
  oc_wipe(secret, sizeof secret - 1);
  for(i = 0; i < sizeof secret - 1; i++)
    CHECK(secret[i] == 0);
  CHECK(secret[31] == 'k');
  oc_wipe(NULL, 0);
}

/*
 * oc_error
 */

TEST(every_code_has_its_words) {
  int code;
  int other;

  for(code = 0; code < OC_CODE_COUNT; code++) {
    CHECK(*oc_code_name((oc_code)code));
    CHECK(*oc_code_message((oc_code)code));
    CHECK(oc_code_kind((oc_code)code) < OC_KIND_COUNT);
    CHECK(strlen(oc_code_name((oc_code)code)) <
          sizeof ((oc_error *)0)->name);
    for(other = 0; other < code; other++)
      CHECK_FOR(strcmp(oc_code_name((oc_code)code),
                       oc_code_name((oc_code)other)), "%s",
                oc_code_name((oc_code)code));
  }
  CHECK(OC_OK == 0);
  CHECK(!strcmp(oc_kind_name(OC_KIND_TRUNCATED), "truncated"));
  CHECK(oc_code_kind(OC_E_TRUNCATED) == OC_KIND_TRUNCATED);
  CHECK(oc_code_kind(OC_E_UTF8) == OC_KIND_PROTOCOL);
}

TEST(sets_and_clears) {
  oc_error error;

  memset(&error, 0, sizeof error);
  CHECK(!strcmp(oc_error_message(&error), oc_code_message(OC_OK)));
  oc_error_set(&error, OC_E_API, "%s: %d", "quota", 7);
  CHECK(error.code == OC_E_API && !strcmp(error.name, "api_error"));
  CHECK(!strcmp(oc_error_message(&error), "quota: 7"));
  CHECK(!error.retryable);
  oc_error_set(&error, OC_E_CONNECTION, "%s again",
               oc_error_message(&error));              /* its own message */
  CHECK(!strcmp(oc_error_message(&error), "quota: 7 again"));
  CHECK(error.retryable);
  oc_error_clear(&error);
  CHECK(error.code == OC_OK && !error.message && !error.name[0]);
  oc_error_clear(&error);
}

TEST(names_are_cut_between_characters) {
  oc_error error;
  char name[100];
  int pad;

  memset(&error, 0, sizeof error);
  oc_error_set_name(&error, "insufficient_quota", 12);
  CHECK(!strcmp(error.name, "insufficient"));
  for(pad = 58; pad < 66; pad++) {
    memset(name, 'x', sizeof name);
    memcpy(name + pad, "\xF0\x9F\x98\x80", 4);
    oc_error_set_name(&error, name, 80);
    CHECK_FOR(strlen(error.name) == (size_t)(pad > 59 && pad < 63 ? pad : 63),
              "%d", pad);
  }
}

TEST(long_messages_are_cut_between_characters) {
  oc_error error;
  static char text[5000];
  int pad;

  memset(&error, 0, sizeof error);
  for(pad = 2030; pad < 2060; pad++) {
    const char *message;
    size_t len;

    memset(text, 'x', sizeof text - 1);
    memcpy(text + pad, "\xF0\x9F\x98\x80", 4);
    oc_error_set(&error, OC_E_API, "%s", text);
    message = oc_error_message(&error);
    len = strlen(message);
    CHECK(len > 2000 && len < 2100 && !memcmp(message, text, len));
    CHECK_FOR(len <= (size_t)pad || len >= (size_t)pad + 4, "%d", pad);
  }
  oc_error_clear(&error);
}

TEST(errors_without_memory) {
  oc_error error;

  memset(&error, 0, sizeof error);
  oc_set_allocator(&counting);
  blocks = 0;
  allocations_left = 0;
  oc_error_set(&error, OC_E_NOMEM, "%s", "a long story");
  CHECK(!error.message);
  CHECK(!strcmp(oc_error_message(&error), oc_code_message(OC_E_NOMEM)));
  CHECK(!strcmp(error.name, "out_of_memory"));
  oc_error_clear(&error);
  CHECK(blocks == 0);
  oc_set_allocator(&standard);
}

int main(void) {
  RUN(starts_without_memory);
  RUN(appends);
  RUN(keeps_its_maximum);
  RUN(refuses_unchanged);
  RUN(terminates);
  RUN(consumes);
  RUN(hands_over_its_memory);
  RUN(allocator_can_be_replaced);
  RUN(buffer_survives_lack_of_memory);
  RUN(wipes);
  RUN(every_code_has_its_words);
  RUN(sets_and_clears);
  RUN(names_are_cut_between_characters);
  RUN(long_messages_are_cut_between_characters);
  RUN(errors_without_memory);
  return test_report();
}
