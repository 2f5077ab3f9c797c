#include "test.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/oc_alloc.h"
#include "../../src/oc_base64.h"
#include "../../src/oc_buf.h"

static int is_encoded(const char *bytes, size_t len, const char *expected) {
  oc_base64 encoder;
  oc_buf out;
  int same;

  oc_buf_init(&out, 1000);
  oc_base64_begin(&encoder);
  same = !oc_base64_append(&encoder, &out, bytes, len)
         && !oc_base64_end(&encoder, &out)
         && out.len == strlen(expected)
         && out.len == oc_base64_size(len)
         && (!out.len || !memcmp(out.data, expected, out.len));
  oc_buf_free(&out);
  return same;
}

TEST(encodes_the_vectors_of_the_rfc) {
  CHECK(is_encoded("", 0, ""));
  CHECK(is_encoded("f", 1, "Zg=="));
  CHECK(is_encoded("fo", 2, "Zm8="));
  CHECK(is_encoded("foo", 3, "Zm9v"));
  CHECK(is_encoded("foob", 4, "Zm9vYg=="));
  CHECK(is_encoded("fooba", 5, "Zm9vYmE="));
  CHECK(is_encoded("foobar", 6, "Zm9vYmFy"));
}

TEST(encodes_every_character) {
  unsigned char bytes[48];
  size_t i;
  /* the alphabet itself, in order, as groups of six bits */
  for(i = 0; i < 16; i++) {
    unsigned long bits = 0;
    size_t j;
    for(j = 0; j < 4; j++)
      bits = bits << 6 | (i * 4 + j);
    bytes[i * 3] = (unsigned char)(bits >> 16);
    bytes[i * 3 + 1] = (unsigned char)(bits >> 8);
    bytes[i * 3 + 2] = (unsigned char)bits;
  }
  CHECK(is_encoded((char *)bytes, sizeof bytes,
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"));
  CHECK(is_encoded("\0\0\0", 3, "AAAA"));
  CHECK(is_encoded("\xff\xff\xff\xff", 4, "/////w=="));
  CHECK(is_encoded("\xfb\xef\xbe", 3, "++++"));
}

/* A second opinion, bit by bit. */
static int decode(const char *text, size_t len, unsigned char *to) {
  static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  unsigned long bits = 0;
  int held = 0;
  int count = 0;
  size_t i;
  for(i = 0; i < len && text[i] != '='; i++) {
    const char *found = strchr(alphabet, text[i]);
    if(!found || !*found)
      return -1;
    bits = bits << 6 | (unsigned long)(found - alphabet);
    held += 6;
    if(held >= 8) {
      held -= 8;
      to[count++] = (unsigned char)(bits >> held);
      bits &= (1ul << held) - 1;
    }
  }
  return bits ? -1 : count;
}

static void fill(unsigned char *bytes, size_t len) {
  unsigned long seed = 12345;
  size_t i;
  for(i = 0; i < len; i++) {
    seed = (seed * 1103515245u + 12345u) & 0x7fffffffu;
    bytes[i] = (unsigned char)(seed >> 16);
  }
}

TEST(encodes_all_lengths) {
  unsigned char bytes[300];
  unsigned char back[300];
  size_t len;
  fill(bytes, sizeof bytes);
  for(len = 0; len <= sizeof bytes; len++) {
    oc_base64 encoder;
    oc_buf out;
    int count;
    oc_buf_init(&out, oc_base64_size(len));
    oc_base64_begin(&encoder);
    CHECK(!oc_base64_append(&encoder, &out, bytes, len));
    CHECK(!oc_base64_end(&encoder, &out));
    CHECK_FOR(out.len == oc_base64_size(len), "%d", (int)len);
    count = out.len ? decode(out.data, out.len, back) : 0;
    CHECK_FOR(count == (int)len && !memcmp(back, bytes, len), "%d", (int)len);
    oc_buf_free(&out);
  }
}

/* Cut in two places, in every way. */
TEST(takes_pieces_of_any_length) {
  unsigned char bytes[23];
  size_t a;
  size_t b;
  oc_base64 encoder;
  oc_buf whole;

  fill(bytes, sizeof bytes);
  oc_buf_init(&whole, 100);
  oc_base64_begin(&encoder);
  oc_base64_append(&encoder, &whole, bytes, sizeof bytes);
  oc_base64_end(&encoder, &whole);
  for(a = 0; a <= sizeof bytes; a++) {
    for(b = a; b <= sizeof bytes; b++) {
      oc_buf out;
      oc_buf_init(&out, oc_base64_size(sizeof bytes));
      oc_base64_begin(&encoder);
      CHECK(!oc_base64_append(&encoder, &out, bytes, a));
      CHECK(!oc_base64_append(&encoder, &out, bytes + a, b - a));
      CHECK(!oc_base64_append(&encoder, &out, NULL, 0));
      CHECK(!oc_base64_append(&encoder, &out, bytes + b, sizeof bytes - b));
      CHECK(!oc_base64_end(&encoder, &out));
      CHECK_FOR(out.len == whole.len && !memcmp(out.data, whole.data, out.len),
                "%d, %d", (int)a, (int)b);
      oc_buf_free(&out);
    }
  }
  oc_buf_free(&whole);
}

TEST(takes_single_bytes) {
  oc_base64 encoder;
  oc_buf out;
  size_t i;
  oc_buf_init(&out, 8);
  oc_base64_begin(&encoder);
  for(i = 0; i < 5; i++)
    CHECK(!oc_base64_append(&encoder, &out, &"fooba"[i], 1));
  CHECK(!oc_base64_end(&encoder, &out));
  CHECK(out.len == 8 && !memcmp(out.data, "Zm9vYmE=", 8));
  /* it begins again by itself */
  oc_buf_clear(&out);
  CHECK(!oc_base64_append(&encoder, &out, "f", 1));
  CHECK(!oc_base64_end(&encoder, &out));
  CHECK(out.len == 4 && !memcmp(out.data, "Zg==", 4));
  oc_buf_free(&out);
}

TEST(refuses_unchanged) {
  oc_base64 encoder;
  oc_buf out;
  oc_buf_init(&out, 7);
  oc_base64_begin(&encoder);
  CHECK(!oc_base64_append(&encoder, &out, "fo", 2));
  CHECK(oc_base64_append(&encoder, &out, "obar", 4) == OC_E_TOO_LARGE);
  CHECK(out.len == 0);
  CHECK(oc_base64_append(&encoder, &out, "x", SIZE_MAX) == OC_E_TOO_LARGE);
  CHECK(!oc_base64_append(&encoder, &out, "ob", 2));
  CHECK(oc_base64_end(&encoder, &out) == OC_E_TOO_LARGE);
  CHECK(out.len == 4 && !memcmp(out.data, "Zm9v", 4));
  oc_buf_free(&out);
}

TEST(knows_its_size) {
  CHECK(oc_base64_size(0) == 0);
  CHECK(oc_base64_size(1) == 4);
  CHECK(oc_base64_size(3) == 4);
  CHECK(oc_base64_size(4) == 8);
  CHECK(oc_base64_size(SIZE_MAX) == SIZE_MAX);
  CHECK(oc_base64_size(SIZE_MAX / 4 * 3 + 3) == SIZE_MAX);
}

int main(void) {
  RUN(encodes_the_vectors_of_the_rfc);
  RUN(encodes_every_character);
  RUN(encodes_all_lengths);
  RUN(takes_pieces_of_any_length);
  RUN(takes_single_bytes);
  RUN(refuses_unchanged);
  RUN(knows_its_size);
  return test_report();
}
