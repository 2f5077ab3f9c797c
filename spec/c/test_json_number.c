#include "test.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/oc_json.h"

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

static uint64_t random_state = 88172645463325252u;

static uint64_t random_bits(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

static double parse(const char *text) {
  size_t len = strlen(text);
  char *copy = exact_copy(text, len);
  oc_json reader;
  double number = 0;

  oc_json_init(&reader, copy, len);
  CHECK_FOR(oc_json_next(&reader) == OC_JSON_NUMBER, "%.40s", text);
  number = oc_json_number(&reader);
  CHECK_FOR(oc_json_next(&reader) == OC_JSON_END, "%.40s", text);
  free(copy);
  return number;
}

static uint64_t bits_of(double number) {
  uint64_t bits;
  memcpy(&bits, &number, sizeof bits);
  return bits;
}

static double from_bits(uint64_t bits) {
  double number;
  memcpy(&number, &bits, sizeof number);
  return number;
}

/* The same bits: tells -0 from 0. */
static int same(double a, double b) {
  return bits_of(a) == bits_of(b);
}

TEST(numbers_at_the_edges) {
  static const struct {
    const char *text;
    double number;
  } cases[] = {
    { "0", 0.0 }, { "-0", -0.0 }, { "0.0", 0.0 }, { "-0.0e5", -0.0 },
    { "0e999999999999999999999", 0.0 }, { "1", 1 }, { "-1", -1 },
    { "1e0", 1 }, { "1e22", 1e22 }, { "1e23", 1e23 }, { "1e-22", 1e-22 },
    { "1e-23", 1e-23 }, { "0.1", 0.1 }, { "0.3", 0.3 }, { "1.1", 1.1 },
    { "123456789.123456789", 123456789.123456789 },
    { "9007199254740991", 9007199254740991.0 },
    { "9007199254740992", 9007199254740992.0 },
    { "9007199254740993", 9007199254740992.0 },
    { "9007199254740993.0000000000000000000001", 9007199254740994.0 },
    { "9007199254740994", 9007199254740994.0 },
    { "9007199254740995", 9007199254740996.0 },
    { "-9007199254740993", -9007199254740992.0 },
    { "9223372036854775807", 9223372036854775808.0 },
    { "9223372036854775808", 9223372036854775808.0 },
    { "18446744073709551615", 18446744073709551616.0 },
    { "18446744073709551616", 18446744073709551616.0 },
    { "9999999999999999999", 1e19 },
    { "99999999999999999999", 1e20 },
    { "1.7976931348623157e308", DBL_MAX },
    { "1.7976931348623158e308", DBL_MAX },
    { "17976931348623157e292", DBL_MAX },
    { "2.2250738585072014e-308", DBL_MIN },
    { "2.2250738585072011e-308", 2.225073858507201e-308 },
    { "2.2250738585072012e-308", DBL_MIN },
    { "4.9406564584124654e-324", 4.9406564584124654e-324 },
    { "5e-324", 4.9406564584124654e-324 },
    { "3e-324", 4.9406564584124654e-324 }, { "2e-324", 0.0 },
    { "-2e-324", -0.0 }, { "1e-400", 0.0 }, { "-1e-400", -0.0 },
    { "1e-99999999999999999999", 0.0 },
    { "0.000000000000000000000000000001e30", 1.0 },
    { "1000000000000000000000000000000e-30", 1.0 },
    { "6929495644600919.5", 6929495644600920.0 },
    { "3.7455744005952583e15", 3.7455744005952583e15 },
    { "8.5e1", 85 }, { "100E-2", 1 }, { "1E+2", 100 }
  };
  size_t i;

  for(i = 0; i < COUNT(cases); i++)
    CHECK_FOR(same(parse(cases[i].text), cases[i].number), "%s: %.17g",
              cases[i].text, parse(cases[i].text));
  CHECK(parse("1e400") == HUGE_VAL);
  CHECK(parse("-1e400") == -HUGE_VAL);
  CHECK(parse("1.8e308") == HUGE_VAL);
  CHECK(parse("1e99999999999999999999999") == HUGE_VAL);
}

TEST(numbers_with_very_many_digits) {
  enum { DIGITS = 3000 };
  char text[DIGITS + 64];

  /* 1 and zeros, exponent takes them back */
  memset(text, '0', sizeof text);
  text[0] = '1';
  strcpy(text + DIGITS, "e-2999");
  CHECK(parse(text) == 1);
  /* zeros in front, exponent brings the digits up */
  memset(text, '0', DIGITS);
  text[1] = '.';
  strcpy(text + DIGITS, "15e3000");
  CHECK(parse(text) == 15);
  /* half way between two doubles, and a digit far behind decides */
  memset(text, '0', DIGITS);
  memcpy(text, "9007199254740993.0", 18);
  strcpy(text + DIGITS, "1");
  CHECK(parse(text) == 9007199254740994.0);
  strcpy(text + DIGITS, "0");
  CHECK(parse(text) == 9007199254740992.0);
  memset(text, '9', DIGITS);
  text[DIGITS] = '\0';
  CHECK(parse(text) == HUGE_VAL);
  strcpy(text + DIGITS, "e-3000");
  CHECK(parse(text) == 1);
}

/* 2^-1075 is half way between 0 and the smallest double; ties to even. */
TEST(half_of_the_smallest_double) {
  char digits[1200];
  char text[1300];
  size_t len;
  size_t i;
  int k;

  /* 5^1075, that is 2^-1075 * 10^1075, by hand */
  memset(digits, 0, sizeof digits);
  digits[0] = 1;
  len = 1;
  for(k = 0; k < 1075; k++) {
    int carry = 0;
    for(i = 0; i < len || carry; i++) {
      int v = digits[i] * 5 + carry;
      digits[i] = (char)(v % 10);
      carry = v / 10;
      if(i >= len)
        len = i + 1;
    }
  }
  for(i = 0; i < len; i++)
    text[i] = (char)('0' + digits[len - 1 - i]);
  strcpy(text + len, "e-1075");
  CHECK(len == 752);
  CHECK(parse(text) == 0);
  strcpy(text + len, "1e-1076");
  CHECK(parse(text) == 4.9406564584124654e-324);
  memset(text + len, '0', 300);
  strcpy(text + len + 300, "1e-1376");
  CHECK(parse(text) == 4.9406564584124654e-324);
  text[len - 1]--;
  strcpy(text + len, "9e-1076");
  CHECK(parse(text) == 0);
}

/* Random decimals, against the C library. */
TEST(numbers_agree_with_strtod) {
  int round;
  for(round = 0; round < 30000; round++) {
    char text[128];
    size_t len = 0;
    size_t count = 1 + random_bits() % 25;
    size_t i;

    if(random_bits() & 1)
      text[len++] = '-';
    text[len++] = (char)('1' + random_bits() % 9);
    for(i = 1; i < count; i++)
      text[len++] = (char)('0' + random_bits() % 10);
    if(random_bits() & 1) {
      text[len++] = '.';
      count = 1 + random_bits() % 20;
      for(i = 0; i < count; i++)
        text[len++] = (char)('0' + random_bits() % 10);
    }
    text[len] = '\0';
    if(random_bits() & 1)
      snprintf(text + len, sizeof text - len, "e%d",
               (int)(random_bits() % 700) - 350);
    CHECK_FOR(same(parse(text), strtod(text, NULL)), "%s", text);
  }
}

static const char *written(oc_buf *out, double number) {
  oc_buf_clear(out);
  CHECK(oc_json_write_number(out, number) == OC_OK);
  return oc_buf_cstr(out);
}

TEST(write_number) {
  static const struct {
    double number;
    const char *text;
  } cases[] = {
    { 0.0, "0" }, { -0.0, "-0" }, { 1, "1" }, { -1, "-1" }, { 10, "10" },
    { 0.1, "0.1" }, { -0.5, "-0.5" }, { 0.7, "0.7" }, { 1.5, "1.5" },
    { 1.0 / 3, "0.3333333333333333" }, { 100, "100" },
    { 1e15, "1000000000000000" },
    { 0.1 + 0.2, "0.30000000000000004" }, { 1e20, "100000000000000000000" },
    { 9007199254740991.0, "9007199254740991" },
    { -9007199254740992.0, "-9007199254740992" },
    { 9007199254740994.0, "9007199254740994" },
    { 9223372036854775808.0, "9223372036854775808" },
    { 999999999999999868928.0, "999999999999999868928" },
    { 1e21, "1e21" }, { -1e21, "-1e21" }, { 1e22, "1e22" },
    { 1e100, "1e100" }, { 1.5e300, "1.5e300" }, { 1e-7, "1e-7" },
    { 1.5e-10, "1.5e-10" }, { 0.0001, "0.0001" }, { 1e-5, "1e-5" },
    { 123456.789, "123456.789" }, { DBL_MAX, "1.7976931348623157e308" },
    { DBL_MIN, "2.2250738585072014e-308" },
    { 4.9406564584124654e-324, "5e-324" }, { 1e-320, "1e-320" }
  };
  oc_buf out;
  size_t i;

  oc_buf_init(&out, 100);
  for(i = 0; i < COUNT(cases); i++)
    CHECK_FOR(!strcmp(written(&out, cases[i].number), cases[i].text),
              "%s: %s", cases[i].text, written(&out, cases[i].number));
  oc_buf_clear(&out);
  CHECK(oc_json_write_number(&out, HUGE_VAL) == OC_E_JSON);
  CHECK(oc_json_write_number(&out, -HUGE_VAL) == OC_E_JSON);
  CHECK(oc_json_write_number(&out, HUGE_VAL - HUGE_VAL) == OC_E_JSON);
  CHECK(out.len == 0);
  oc_buf_free(&out);
  oc_buf_init(&out, 2);
  CHECK(oc_json_write_number(&out, 0.5) == OC_E_TOO_LARGE);
  CHECK(oc_json_write_number(&out, 100) == OC_E_TOO_LARGE);
  CHECK(out.len == 0);
  oc_buf_free(&out);
}

static void check_random_round_trips(int rounds) {
  oc_buf out;
  oc_buf_init(&out, 100);
  while(rounds--) {
    double number = from_bits(random_bits());
    if(rounds & 1)                    /* of everyday size */
      number = (double)(int64_t)random_bits() / 9223372036854775808.0 * 1e4;
    if(rounds % 16 == 0)
      number = from_bits(random_bits() >> 12);          /* subnormal */
    if(rounds % 16 == 2)
      number = (double)(int64_t)(random_bits() >> random_bits() % 64);
    if(!isfinite(number))
      continue;
    CHECK_FOR(same(parse(written(&out, number)), number), "%s",
              written(&out, number));
    CHECK(out.len <= 25);
  }
  oc_buf_free(&out);
}

TEST(numbers_come_back) {
  check_random_round_trips(20000);
}

TEST(numbers_under_another_locale) {
  static const char *const names[] = {
    "de_DE.UTF-8", "de_DE.utf8", "de_DE", "fr_FR.UTF-8", "fr_FR.utf8",
    "sv_SE.UTF-8", "nl_NL.UTF-8", "ps_AF.UTF-8", "ps_AF", "German", "de-DE"
  };
  oc_json reader;
  oc_buf out;
  size_t i;
  int found = 0;

  for(i = 0; i < COUNT(names); i++) {
    if(!setlocale(LC_ALL, names[i]))
      continue;
    if(!strcmp(localeconv()->decimal_point, "."))
      continue;
    found++;
    oc_buf_init(&out, 100);
    CHECK(!strcmp(written(&out, 1.5), "1.5"));
    CHECK(!strcmp(written(&out, 1.25e-10), "1.25e-10"));
    CHECK(!strcmp(written(&out, 1e21), "1e21"));
    CHECK(!strcmp(written(&out, 1234567.5), "1234567.5"));
    oc_buf_free(&out);
    CHECK(parse("1.5") == 1.5);
    CHECK(parse("1.2345678901234567890123e-5") == 1.2345678901234567890123e-5);
    oc_json_init(&reader, "1,5", 3);
    CHECK(oc_json_next(&reader) == OC_JSON_NUMBER);
    CHECK(oc_json_next(&reader) == OC_JSON_ERROR);
    CHECK(reader.error == OC_E_JSON);
    check_random_round_trips(5000);
  }
  setlocale(LC_ALL, "C");
  if(!found)
    SKIP("no locale with another decimal point");
}

int main(void) {
  RUN(numbers_at_the_edges);
  RUN(numbers_with_very_many_digits);
  RUN(half_of_the_smallest_double);
  RUN(numbers_agree_with_strtod);
  RUN(write_number);
  RUN(numbers_come_back);
  RUN(numbers_under_another_locale);
  return test_report();
}
