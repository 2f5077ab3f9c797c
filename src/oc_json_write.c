#include "oc_json.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>

#include "oc_json_scan.h"
#include "oc_utf8.h"

/* Bytes of a text that are checked, then written. */
#define WRITE_PIECE 8192

/* The letter that stands behind the backslash, 0: none shorter than \u. */
static const char short_escape[256] = {
  ['"'] = '"', ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n',
  ['\r'] = 'r', ['\t'] = 't'
};

/*
 * Strings
 */

/* Appends the escape of a control character, a quote or a backslash. */
static oc_code put_escape(oc_buf *out, unsigned char byte) {
  static const char hex[] = "0123456789abcdef";
  char text[6] = { '\\', 'u', '0', '0', '0', '0' };

  if(short_escape[byte]) {
    text[1] = short_escape[byte];
    return oc_buf_append(out, text, 2);
  }
  text[4] = hex[byte >> 4];
  text[5] = hex[byte & 15];
  return oc_buf_append(out, text, 6);
}

/* The inside of a string. */
static oc_code put_text(oc_buf *out, const char *at, const char *end) {
  oc_code code = OC_OK;
  while(at < end && !code) {
    const char *stop = oc_find_special(at, end, 0);
    code = oc_buf_append(out, at, (size_t)(stop - at));
    at = stop;
    if(at < end && !code)
      code = put_escape(out, (unsigned char)*at++);
  }
  return code;
}

/*
 * The inside of a string up to the first byte that is no ASCII, in one pass.
 * Returns where that is, or `end`.
 */
static const char *put_ascii(oc_buf *out, const char *at, const char *end,
                             oc_code *code) {
  while(at < end && !*code) {
    const char *stop = oc_find_special(at, end, OC_HIGH_BITS);
    *code = oc_buf_append(out, at, (size_t)(stop - at));
    at = stop;
    if(at == end || (unsigned char)*at >= 0x80 || *code)
      break;
    *code = put_escape(out, (unsigned char)*at++);
  }
  return at;
}

oc_code oc_json_write_string(oc_buf *out, const char *text, size_t len) {
  const size_t before = out->len;
  oc_code code = oc_buf_putc(out, '"');
  const char *end;

  if(!len)
    text = "";
  end = text + len;

  /* in pieces: what is read is still in the cache when it is written */
  while(text < end && !code) {
    size_t left = (size_t)(end - text);
    size_t piece = left < WRITE_PIECE ? left : WRITE_PIECE;
    const char *stop = put_ascii(out, text, text + piece, &code);
    if(stop < text + piece && !code) {
      size_t rest = piece - (size_t)(stop - text);
      size_t valid = oc_utf8_valid_prefix(stop, rest);
      /* the piece may end within a character */
      if(valid < rest && (piece == left || rest - valid > 3))
        code = OC_E_UTF8;
      else
        code = put_text(out, stop, stop + valid);
      stop += valid;
    }
    text = stop;
  }
  if(!code)
    code = oc_buf_putc(out, '"');
  if(code)
    out->len = before;
  return code;
}

oc_code oc_json_write_field(oc_buf *out, const char *prefix,
                            const oc_buf *text) {
  oc_code code = oc_buf_puts(out, prefix);
  return code ? code : oc_json_write_string(out, text->data, text->len);
}

/*
 * Numbers
 */

#define is_digit(byte) ((unsigned)(byte) - '0' < 10u)

/*
 * Makes what printf's %g wrote JSON, as short as it goes: whatever bytes the
 * locale has for a decimal point become '.', and the exponent loses its plus
 * sign and leading zeros. Returns the new length.
 */
static size_t tidy_number(char *text) {
  const char *from = text;
  char *to = text;

  if(*from == '-')
    *to++ = *from++;
  while(is_digit(*from))
    *to++ = *from++;
  if(*from && *from != 'e') {
    *to++ = '.';
    while(*from && !is_digit(*from))
      from++;
    while(is_digit(*from))
      *to++ = *from++;
  }
  if(*from == 'e') {
    *to++ = *from++;
    if(*from == '-')
      *to++ = *from++;
    while(*from == '+' || *from == '0')
      from++;
    while(is_digit(*from))
      *to++ = *from++;
  }
  return (size_t)(to - text);
}

/* Writes an integer of at most 2^53, right to left; returns its start. */
static char *write_integer(char *end, int64_t value) {
  uint64_t rest = (uint64_t)(value < 0 ? -value : value);

  do {
    *--end = (char)('0' + rest % 10);
    rest /= 10;
  } while(rest);
  return end;
}

oc_code oc_json_write_number(oc_buf *out, double number) {
  const double exact = 9007199254740992.0;      /* 2^53 */
  const double size = fabs(number);
  char text[64];
  oc_slice written;
  int precision;

  if(!isfinite(number))
    return OC_E_JSON;
  if(size <= exact && (double)(int64_t)number == number) {
    char *end = text + sizeof text;
    char *at = write_integer(end, (int64_t)number);
    if(signbit(number))                         /* also of -0 */
      *--at = '-';
    return oc_buf_append(out, at, (size_t)(end - at));
  }
  written.text = text;
  if(size > exact && size < 1e21) {             /* integral, all digits */
    int len = snprintf(text, sizeof text, "%.0f", number);
    return oc_buf_append(out, text, (size_t)len);
  }
  /* 15 digits are never too many, but where doubles lose precision */
  precision = size < DBL_MIN ? 1 : 15;
  for(;;) {
    snprintf(text, sizeof text, "%.*g", precision, number);
    written.len = tidy_number(text);
    if(precision == 17 || oc_json_parse_number(written) == number)
      break;
    precision++;
  }
  return oc_buf_append(out, text, written.len);
}
