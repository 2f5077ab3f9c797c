#include "oc_json.h"

#include <float.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define is_digit(byte) ((unsigned)(byte) - '0' < 10u)

/* Largest power of ten that is exact in a double. */
#define EXACT_POWER 22

/*
 * More significant digits than this never change the nearest double, except
 * by being there at all (767 is the most that a tie can have).
 */
#define DIGITS_MAX 768

/* Exponents are kept in this range while they are read. */
#define EXPONENT_MAX INT64_C(1000000000000000)

#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD == 0
#define EXACT_ARITHMETIC 1
#else
#define EXACT_ARITHMETIC 0      /* x87: results are rounded twice */
#endif

/* The text of a number taken apart. */
struct decimal {
  const char *digits;     /* first digit */
  const char *stop;       /* behind the last digit of the fraction */
  int64_t exponent;       /* as written, 0: none */
  int negative;
};

static struct decimal split_number(oc_slice number) {
  const char *at = number.text;
  const char *end = at + number.len;
  struct decimal d;
  int minus = 0;

  d.negative = at < end && *at == '-';
  at += d.negative;
  d.digits = at;
  while(at < end && (is_digit(*at) || *at == '.'))
    at++;
  d.stop = at;
  d.exponent = 0;
  if(at < end)
    at++;                                   /* e or E */
  if(at < end && (*at == '+' || *at == '-'))
    minus = *at++ == '-';
  for(; at < end && is_digit(*at); at++)
    if(d.exponent < EXPONENT_MAX)
      d.exponent = d.exponent * 10 + (*at - '0');
  if(minus)
    d.exponent = -d.exponent;
  return d;
}

/*
 * Correct for any number of digits. strtod() is handed an integer with an
 * exponent, so that no locale's decimal point can come into it.
 */
static double parse_slowly(const struct decimal *d) {
  char text[DIGITS_MAX + 32];
  size_t len = 0;
  int64_t exponent = d->exponent;
  int fraction = 0;
  int rest = 0;
  const char *at;

  for(at = d->digits; at < d->stop; at++) {
    if(*at == '.') {
      fraction = 1;
      continue;
    }
    exponent -= fraction;
    if(!len && *at == '0')
      continue;
    if(len < DIGITS_MAX)
      text[len++] = *at;
    else {
      rest |= *at != '0';
      exponent++;
    }
  }
  if(!len)
    return 0;
  if(rest) {
    text[len++] = '1';
    exponent--;
  }
  /* far outside of what a double can hold with DIGITS_MAX digits */
  if(exponent > 9999)
    exponent = 9999;
  else if(exponent < -9999)
    exponent = -9999;
  snprintf(text + len, sizeof text - len, "e%d", (int)exponent);
  return strtod(text, NULL);
}

double oc_json_parse_number(oc_slice number) {
  static const double power[EXACT_POWER + 1] = {
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12,
    1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22
  };
  const uint64_t exact = UINT64_C(1) << 53;
  const struct decimal d = split_number(number);
  uint64_t mantissa = 0;
  int64_t exponent = d.exponent;
  int digits = 0;               /* significant ones */
  int fraction = 0;
  double value;
  const char *at;

  for(at = d.digits; at < d.stop && digits < 20; at++) {
    if(*at == '.') {
      fraction = 1;
      continue;
    }
    mantissa = mantissa * 10 + (unsigned)(*at - '0');
    digits += digits || *at != '0';
    exponent -= fraction;
  }
  if(digits < 20 && !mantissa)
    value = 0;
  else if(digits < 20 && !exponent &&
          (EXACT_ARITHMETIC || mantissa <= exact))
    value = (double)mantissa;
  else if(digits < 20 && EXACT_ARITHMETIC && mantissa <= exact &&
          exponent >= -EXACT_POWER && exponent <= EXACT_POWER)
    value = exponent < 0 ? (double)mantissa / power[-exponent]
                         : (double)mantissa * power[exponent];
  else
    value = parse_slowly(&d);
  return d.negative ? -value : value;
}

double oc_json_number(const oc_json *reader) {
  return oc_json_parse_number(reader->value);
}
