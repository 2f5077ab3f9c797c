#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "../../src/oc_utf8.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* A copy that ends where its block ends: a sanitizer sees overreads. */
static char *exact_copy(const char *text, size_t len) {
  char *copy = malloc(len ? len : 1);
  if(!copy)
    abort();
  if(len)
    memcpy(copy, text, len);
  return copy;
}

static int buf_is(const oc_buf *buf, const char *text) {
  return buf->len == strlen(text) &&
         (!buf->len || !memcmp(buf->data, text, buf->len));
}

/* Every sequence of up to three bytes, against the table of RFC 3629. */
TEST(utf8_against_the_standard) {
  unsigned a;
  unsigned b;
  unsigned c;
  int bad = 0;

  for(a = 0x80; a < 0x100; a++)
    for(b = 0; b < 0x100; b++)
      for(c = 0x7E; c < 0xC2; c++) {
        char text[3];
        size_t want = 0;
        text[0] = (char)a;
        text[1] = (char)b;
        text[2] = (char)c;
        if(a >= 0xC2 && a <= 0xDF && b >= 0x80 && b <= 0xBF)
          want = c < 0x80 ? 3 : 2;
        else if(b >= (a == 0xE0 ? 0xA0u : 0x80u) &&
                b <= (a == 0xED ? 0x9Fu : 0xBFu) &&
                a >= 0xE0 && a <= 0xEF && c >= 0x80 && c <= 0xBF)
          want = 3;
        if(oc_utf8_valid_prefix(text, 3) != want)
          bad++;
      }
  CHECK(bad == 0);
}

TEST(valid_prefix) {
  CHECK(oc_utf8_valid_prefix("", 0) == 0);
  CHECK(oc_utf8_valid_prefix(NULL, 0) == 0);
  CHECK(oc_utf8_valid_prefix("abc", 3) == 3);
  CHECK(oc_utf8_valid_prefix("abc\x80", 4) == 3);
  CHECK(oc_utf8_valid_prefix("12345678\xC3\xA9\xFF", 11) == 10);
  CHECK(oc_utf8_valid_prefix("\xE2\x82", 2) == 0);
  CHECK(oc_utf8_valid_prefix("a\xF0\x9F\x98", 4) == 1);
  CHECK(oc_utf8_valid_prefix("a\0b\xC3\xA9", 5) == 5);
}

/* The practice of the Unicode standard (table 3-8) and of browsers. */
TEST(sanitize) {
#define R "\xEF\xBF\xBD"
  static const struct {
    const char *text;
    const char *clean;
  } cases[] = {
    { "", "" }, { "abc", "abc" }, { "\x80", R }, { "a\x80z", "a" R "z" },
    { "\xC0\x80", R R }, { "\xE2\x82", R }, { "\xE2\x82z", R "z" },
    { "\xF0\x9F\x98", R }, { "\xF0\x9F\x98\xF0\x9F\x98\x80",
      R "\xF0\x9F\x98\x80" },
    { "\xED\xA0\x80", R R R }, { "\xF4\x90\x80\x80", R R R R },
    { "\xC0\xAF\xE0\x80\xBF\xF0\x81\x82" "A", R R R R R R R R "A" },
    { "\xE1\x80\xE2\xF0\x91\x92\xF1\xBF" "A", R R R R "A" },
    { "\xFF\xFE", R R }, { "caf\xE9", "caf" R },
    { "\xC3\xA9\xE6\xBC\xA2", "\xC3\xA9\xE6\xBC\xA2" }
  };
#undef R
  oc_buf out;
  size_t i;

  oc_buf_init(&out, 1000);
  for(i = 0; i < COUNT(cases); i++) {
    size_t len = strlen(cases[i].text);
    char *copy = exact_copy(cases[i].text, len);
    oc_buf_clear(&out);
    CHECK(oc_utf8_sanitize(&out, copy, len) == OC_OK);
    CHECK_FOR(buf_is(&out, cases[i].clean), "no. %d", (int)i);
    free(copy);
  }
  oc_buf_free(&out);
  oc_buf_init(&out, 5);
  CHECK(oc_utf8_sanitize(&out, "abc\xFF", 4) == OC_E_TOO_LARGE);
  CHECK(out.len == 0);
  oc_buf_free(&out);
}

int main(void) {
  RUN(utf8_against_the_standard);
  RUN(valid_prefix);
  RUN(sanitize);
  return test_report();
}
