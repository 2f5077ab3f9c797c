#include "oc_json.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* What the reader expects next. */
enum {
  AT_VALUE,          /* a value: at the start, after ':' and ',' */
  AT_FIRST_ITEM,     /* a value or ']' */
  AT_FIRST_KEY,      /* a key or '}' */
  AT_KEY,            /* a key: after ',' */
  AT_COLON,          /* ':' after a key */
  AT_NEXT,           /* ',' or the end of the container */
  AT_END,            /* nothing but white space */
  AT_STOP            /* END or ERROR was returned */
};

#define REPLACEMENT 0xFFFDu

#define is_high(unit) (((unit) & 0xFC00u) == 0xD800u)
#define is_low(unit) (((unit) & 0xFC00u) == 0xDC00u)
#define is_digit(byte) ((unsigned)(byte) - '0' < 10u)

/* What stands behind a backslash, 0: no such escape. */
static const char simple_escape[256] = {
  ['"'] = '"', ['\\'] = '\\', ['/'] = '/', ['b'] = '\b', ['f'] = '\f',
  ['n'] = '\n', ['r'] = '\r', ['t'] = '\t'
};

/* Bytes of a text that are checked, then written. */
#define WRITE_PIECE 8192

/* The letter that stands behind the backslash, 0: none shorter than \u. */
static const char short_escape[256] = {
  ['"'] = '"', ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n',
  ['\r'] = 'r', ['\t'] = 't'
};

/* Value of a hexadecimal digit plus one, 0: not a digit. */
static const unsigned char hex_digit[256] = {
  ['0'] = 1, ['1'] = 2, ['2'] = 3, ['3'] = 4, ['4'] = 5, ['5'] = 6,
  ['6'] = 7, ['7'] = 8, ['8'] = 9, ['9'] = 10, ['A'] = 11, ['B'] = 12,
  ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16, ['a'] = 11, ['b'] = 12,
  ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16
};

/*
 * Scanning eight bytes at a time
 */

#define ONES UINT64_C(0x0101010101010101)
#define HIGH_BITS UINT64_C(0x8080808080808080)

static uint64_t load_word(const char *at) {
  uint64_t word;
  memcpy(&word, at, sizeof word);
  return word;
}

/*
 * Sets the top bit of each byte that is a control character, a quote, a
 * backslash, or has a bit of `high`. Borrows may mark a byte wrongly, but
 * only one behind a rightly marked byte, so the first mark is always true.
 */
static uint64_t mark_special(uint64_t word, uint64_t high) {
  uint64_t quote = word ^ (ONES * '"');
  uint64_t slash = word ^ (ONES * '\\');
  return (((quote - ONES) & ~quote & HIGH_BITS) |
          ((slash - ONES) & ~slash & HIGH_BITS) |
          ((word - ONES * 0x20) & ~word & HIGH_BITS) |
          (word & high));
}

static int is_special(unsigned char byte, uint64_t high) {
  return byte < 0x20 || byte == '"' || byte == '\\' || (byte & high & 0x80);
}

#ifdef __SSE2__

/* The same of sixteen bytes, a bit for each and no wrong ones. */
static unsigned mark_sixteen(const char *at, uint64_t high) {
  __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
  __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1F)),
                                   bytes);
  __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
  __m128i slash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
  __m128i marks = _mm_or_si128(_mm_or_si128(quote, slash), control);
  if(high)
    marks = _mm_or_si128(marks, bytes);
  return (unsigned)_mm_movemask_epi8(marks);
}

#endif

/* The first special byte, or `end`. `high`: HIGH_BITS or 0. */
static const char *find_special(const char *at, const char *end,
                                uint64_t high) {
#ifdef __SSE2__
  while(end - at >= 16) {
    unsigned marks = mark_sixteen(at, high);
    if(marks)
      return at + __builtin_ctz(marks);
    at += 16;
  }
#endif
  while(end - at >= 8) {
    uint64_t marks = mark_special(load_word(at), high);
    if(marks) {
#if defined(__GNUC__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
      return at + (__builtin_ctzll(marks) >> 3);
#else
      break;
#endif
    }
    at += 8;
  }
  while(at < end && !is_special((unsigned char)*at, high))
    at++;
  return at;
}

/*
 * UTF-8
 */

/*
 * Length of the character at `at` (which is before `end`), or 0 when it is
 * not valid; then `bad` is the length of the invalid part: the longest that
 * begins a character, at least one byte. It reaches to `end`, and `cut` is
 * set, when more bytes could have made it valid.
 */
static size_t utf8_length(const char *at, const char *end, size_t *bad,
                          int *cut) {
  const unsigned char *s = (const unsigned char *)at;
  size_t left = (size_t)(end - at);
  unsigned char low = 0x80;
  unsigned char high = 0xBF;
  size_t need;
  size_t i;

  *cut = 0;
  *bad = 1;
  if(s[0] < 0x80)
    return 1;
  if(s[0] < 0xC2 || s[0] > 0xF4)
    return 0;
  if(s[0] < 0xE0)
    need = 2;
  else if(s[0] < 0xF0) {
    need = 3;
    if(s[0] == 0xE0)
      low = 0xA0;       /* overlong */
    else if(s[0] == 0xED)
      high = 0x9F;      /* surrogates */
  }
  else {
    need = 4;
    if(s[0] == 0xF0)
      low = 0x90;       /* overlong */
    else if(s[0] == 0xF4)
      high = 0x8F;      /* above U+10FFFF */
  }
  for(i = 1; i < need; i++) {
    if(i == left) {
      *cut = 1;
      *bad = i;
      return 0;
    }
    if(s[i] < low || s[i] > high) {
      *bad = i;
      return 0;
    }
    low = 0x80;
    high = 0xBF;
  }
  return need;
}

size_t oc_utf8_valid_prefix(const char *text, size_t len) {
  const char *at = text;
  const char *end;
  size_t bad;
  int cut;

  if(!len)
    return 0;
  end = text + len;
  while(at < end) {
    size_t n;
    while(end - at >= 32 && !((load_word(at) | load_word(at + 8)
                               | load_word(at + 16) | load_word(at + 24))
                              & HIGH_BITS))
      at += 32;
    while(end - at >= 8 && !(load_word(at) & HIGH_BITS))
      at += 8;
    while(at < end && !(*at & 0x80))
      at++;
    /* text in another script: stay here while it lasts */
    while(at < end && (*at & 0x80)) {
      n = utf8_length(at, end, &bad, &cut);
      if(!n)
        return (size_t)(at - text);
      at += n;
    }
  }
  return len;
}

/* Writes a character (at most U+10FFFF); returns how many bytes. */
static size_t utf8_encode(char *out, unsigned character) {
  if(character < 0x80) {
    out[0] = (char)character;
    return 1;
  }
  if(character < 0x800) {
    out[0] = (char)(0xC0 | character >> 6);
    out[1] = (char)(0x80 | (character & 0x3F));
    return 2;
  }
  if(character < 0x10000) {
    out[0] = (char)(0xE0 | character >> 12);
    out[1] = (char)(0x80 | (character >> 6 & 0x3F));
    out[2] = (char)(0x80 | (character & 0x3F));
    return 3;
  }
  out[0] = (char)(0xF0 | character >> 18);
  out[1] = (char)(0x80 | (character >> 12 & 0x3F));
  out[2] = (char)(0x80 | (character >> 6 & 0x3F));
  out[3] = (char)(0x80 | (character & 0x3F));
  return 4;
}

static oc_code put_character(oc_buf *out, unsigned character) {
  char bytes[4];
  return oc_buf_append(out, bytes, utf8_encode(bytes, character));
}

oc_code oc_utf8_sanitize(oc_buf *out, const char *text, size_t len) {
  size_t before = out->len;
  oc_code code = OC_OK;

  while(len && !code) {
    size_t good = oc_utf8_valid_prefix(text, len);
    size_t bad = 0;
    int cut;

    code = oc_buf_append(out, text, good);
    if(!code && good < len) {
      utf8_length(text + good, text + len, &bad, &cut);
      code = put_character(out, REPLACEMENT);
    }
    text += good + bad;
    len -= good + bad;
  }
  if(code)
    out->len = before;
  return code;
}

/*
 * The reader
 */

void oc_json_init(oc_json *reader, const char *text, size_t len) {
  if(!text)
    text = "";
  reader->token = OC_JSON_END;
  reader->value.text = text;
  reader->value.len = 0;
  reader->escaped = 0;
  reader->error = OC_OK;
  reader->start = text;
  reader->at = text;
  reader->end = text + len;
  reader->depth = 0;
  reader->state = AT_VALUE;
  reader->lenient_utf8 = 0;
}

void oc_json_allow_bad_utf8(oc_json *reader) {
  reader->lenient_utf8 = 1;
}

size_t oc_json_offset(const oc_json *reader) {
  return (size_t)(reader->at - reader->start);
}

static oc_json_token fail(oc_json *reader, const char *at, oc_code code) {
  reader->at = at;
  reader->error = code;
  reader->state = AT_STOP;
  reader->value.text = at;
  reader->value.len = 0;
  return reader->token = OC_JSON_ERROR;
}

/* Whether the innermost container is an object. There must be one. */
static int in_object(const oc_json *reader) {
  unsigned level = reader->depth - 1;
  return reader->stack[level >> 3] >> (level & 7) & 1;
}

/* A token of `len` bytes at `at`; `state` is what comes after it. */
static oc_json_token accept(oc_json *reader, const char *at, size_t len,
                            oc_json_token token, unsigned state) {
  reader->value.text = at;
  reader->value.len = len;
  reader->at = at + len;
  reader->state = (unsigned char)state;
  return reader->token = token;
}

static oc_json_token open_container(oc_json *reader, const char *at,
                                    int object) {
  unsigned level = reader->depth;
  unsigned char bit = (unsigned char)(1u << (level & 7));

  if(level == OC_JSON_MAX_DEPTH)
    return fail(reader, at, OC_E_DEPTH);
  reader->depth++;
  if(object) {
    reader->stack[level >> 3] |= bit;
    return accept(reader, at, 1, OC_JSON_OBJECT, AT_FIRST_KEY);
  }
  reader->stack[level >> 3] &= (unsigned char)~bit;
  return accept(reader, at, 1, OC_JSON_ARRAY, AT_FIRST_ITEM);
}

static oc_json_token close_container(oc_json *reader, const char *at,
                                     oc_json_token token) {
  reader->depth--;
  return accept(reader, at, 1, token, reader->depth ? AT_NEXT : AT_END);
}

/*
 * Length of the escape whose backslash is at `at`; 0: invalid or cut, and
 * `bad` is the offending byte (`end` when it is missing).
 */
static size_t check_escape(const char *at, const char *end,
                           const char **bad) {
  int i;

  at++;
  if(at < end && simple_escape[(unsigned char)*at])
    return 2;
  *bad = at;
  if(at == end || *at != 'u')
    return 0;
  for(i = 0; i < 4; i++) {
    at++;
    *bad = at;
    if(at == end || !hex_digit[(unsigned char)*at])
      return 0;
  }
  return 6;
}

/* The string whose opening quote is at `at`. */
static oc_json_token read_string(oc_json *reader, const char *at,
                                 oc_json_token token, unsigned state) {
  const uint64_t high = reader->lenient_utf8 ? 0 : HIGH_BITS;
  const char *end = reader->end;
  const char *text = at + 1;
  const char *bad = text;

  reader->escaped = 0;
  at = text;
  for(;;) {
    unsigned char byte;

    at = find_special(at, end, high);
    if(at == end)
      return fail(reader, at, OC_E_JSON);
    byte = (unsigned char)*at;
    if(byte == '"')
      break;
    if(byte == '\\') {
      size_t len = check_escape(at, end, &bad);
      if(!len)
        return fail(reader, bad, OC_E_JSON);
      reader->escaped = 1;
      at += len;
    }
    else if(byte >= 0x80) {
      do {
        size_t invalid;
        int cut;
        size_t len = utf8_length(at, end, &invalid, &cut);
        /* cut off by the end of the text: it is the quote that is missing */
        if(!len)
          return fail(reader, cut ? end : at, cut ? OC_E_JSON : OC_E_UTF8);
        at += len;
      } while(at < end && (*at & 0x80));
    }
    else
      return fail(reader, at, OC_E_JSON);   /* a control character */
  }
  reader->value.text = text;
  reader->value.len = (size_t)(at - text);
  reader->at = at + 1;
  reader->state = (unsigned char)state;
  return reader->token = token;
}

static oc_json_token read_number(oc_json *reader, const char *text,
                                 unsigned state) {
  const char *end = reader->end;
  const char *at = text;

  if(*at == '-')
    at++;
  if(at == end || !is_digit(*at))
    return fail(reader, at, OC_E_JSON);
  /* a digit after a leading zero is what the next call stumbles over */
  if(*at++ != '0')
    while(at < end && is_digit(*at))
      at++;
  if(at < end && *at == '.') {
    at++;
    if(at == end || !is_digit(*at))
      return fail(reader, at, OC_E_JSON);
    while(at < end && is_digit(*at))
      at++;
  }
  if(at < end && (*at == 'e' || *at == 'E')) {
    at++;
    if(at < end && (*at == '+' || *at == '-'))
      at++;
    if(at == end || !is_digit(*at))
      return fail(reader, at, OC_E_JSON);
    while(at < end && is_digit(*at))
      at++;
  }
  return accept(reader, text, (size_t)(at - text), OC_JSON_NUMBER, state);
}

static oc_json_token read_word(oc_json *reader, const char *at,
                               const char *word, size_t len,
                               oc_json_token token, unsigned state) {
  if((size_t)(reader->end - at) >= len && !memcmp(at, word, len))
    return accept(reader, at, len, token, state);
  while(at < reader->end && *at == *word) {
    at++;
    word++;
  }
  return fail(reader, at, OC_E_JSON);
}

static oc_json_token read_value(oc_json *reader, const char *at) {
  const unsigned after = reader->depth ? AT_NEXT : AT_END;

  switch(*at) {
  case '"':
    return read_string(reader, at, OC_JSON_STRING, after);
  case '{':
    return open_container(reader, at, 1);
  case '[':
    return open_container(reader, at, 0);
  case 't':
    return read_word(reader, at, "true", 4, OC_JSON_TRUE, after);
  case 'f':
    return read_word(reader, at, "false", 5, OC_JSON_FALSE, after);
  case 'n':
    return read_word(reader, at, "null", 4, OC_JSON_NULL, after);
  case '-':
  case '0': case '1': case '2': case '3': case '4':
  case '5': case '6': case '7': case '8': case '9':
    return read_number(reader, at, after);
  default:
    return fail(reader, at, OC_E_JSON);
  }
}

static const char *skip_space(const char *at, const char *end) {
  while(at < end && (unsigned char)*at <= ' ' &&
        (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r'))
    at++;
  return at;
}

oc_json_token oc_json_next(oc_json *reader) {
  const char *end = reader->end;
  const char *at;
  unsigned state = reader->state;

  if(state == AT_STOP)
    return reader->token;
  at = skip_space(reader->at, end);
  if(at == end) {
    if(state != AT_END)
      return fail(reader, at, OC_E_JSON);
    return accept(reader, at, 0, OC_JSON_END, AT_STOP);
  }

  if(state == AT_NEXT) {
    int object = in_object(reader);
    if(*at != ',') {
      if(*at != (object ? '}' : ']'))
        return fail(reader, at, OC_E_JSON);
      return close_container(reader, at,
                             object ? OC_JSON_OBJECT_END : OC_JSON_ARRAY_END);
    }
    state = object ? AT_KEY : AT_VALUE;
    at = skip_space(at + 1, end);
    if(at == end)
      return fail(reader, at, OC_E_JSON);
  }
  else if(state == AT_COLON) {
    if(*at != ':')
      return fail(reader, at, OC_E_JSON);
    state = AT_VALUE;
    at = skip_space(at + 1, end);
    if(at == end)
      return fail(reader, at, OC_E_JSON);
  }

  switch(state) {
  case AT_FIRST_ITEM:
    if(*at == ']')
      return close_container(reader, at, OC_JSON_ARRAY_END);
    return read_value(reader, at);
  case AT_VALUE:
    return read_value(reader, at);
  case AT_FIRST_KEY:
    if(*at == '}')
      return close_container(reader, at, OC_JSON_OBJECT_END);
    break;
  case AT_KEY:
    break;
  default:
    return fail(reader, at, OC_E_JSON);     /* text behind the value */
  }
  if(*at != '"')
    return fail(reader, at, OC_E_JSON);
  return read_string(reader, at, OC_JSON_KEY, AT_COLON);
}

oc_code oc_json_skip(oc_json *reader, oc_slice *raw) {
  const char *text;
  unsigned depth;

  if(reader->token == OC_JSON_KEY)
    oc_json_next(reader);
  text = reader->value.text;
  if(reader->token == OC_JSON_STRING)
    text--;                                 /* its quote */
  else if(reader->token == OC_JSON_OBJECT ||
          reader->token == OC_JSON_ARRAY) {
    depth = reader->depth;
    while(reader->depth >= depth && oc_json_next(reader) != OC_JSON_ERROR)
      ;
  }
  if(reader->token == OC_JSON_ERROR)
    return reader->error;
  if(raw) {
    raw->text = text;
    raw->len = (size_t)(reader->at - text);
  }
  return OC_OK;
}

/*
 * Strings
 */

const char *oc_json_string_end(const char *at, const char *end,
                               oc_letters *letters) {
  uint64_t high = HIGH_BITS;

  *letters = OC_LETTERS_PLAIN;
  for(;;) {
    at = find_special(at, end, high);
    if(at == end)
      return NULL;
    if(*at == '"')
      return at;
    if((unsigned char)*at >= 0x80) {
      *letters = OC_LETTERS_ANY;
      high = 0;
      continue;
    }
    if(*at != '\\' || ++at == end)
      return NULL;
    if(*at == 'u')
      *letters = OC_LETTERS_ANY;
    else if(*letters == OC_LETTERS_PLAIN)
      *letters = OC_LETTERS_ASCII;
    at++;
  }
}

/* Reads one escape; returns its length, 0: not one. */
static size_t read_escape(const char *at, const char *end, unsigned *unit) {
  const char *bad;
  size_t len = check_escape(at, end, &bad);
  const unsigned char *s = (const unsigned char *)at;

  if(len == 2)
    *unit = (unsigned char)simple_escape[s[1]];
  else if(len)
    *unit = ((hex_digit[s[2]] - 1u) << 12 | (hex_digit[s[3]] - 1u) << 8 |
             (hex_digit[s[4]] - 1u) << 4 | (hex_digit[s[5]] - 1u));
  return len;
}

static unsigned join_surrogates(unsigned high, unsigned low) {
  return 0x10000u + ((high - 0xD800u) << 10) + (low - 0xDC00u);
}

/*
 * Decodes what begins at `*at`, a byte or an escape, into at most four
 * bytes; returns how many, 0: no escape.
 */
static size_t decode_step(const char **at, const char *end, char *bytes) {
  unsigned unit = 0;
  unsigned low = 0;
  size_t step;

  if(**at != '\\') {
    *bytes = *(*at)++;
    return 1;
  }
  step = read_escape(*at, end, &unit);
  if(!step)
    return 0;
  *at += step;
  if(is_high(unit) && *at < end && **at == '\\' &&
     (step = read_escape(*at, end, &low)) != 0 && is_low(low)) {
    unit = join_surrogates(unit, low);
    *at += step;
  }
  else if(is_high(unit) || is_low(unit))
    unit = REPLACEMENT;
  return utf8_encode(bytes, unit);
}

int oc_json_decodes_to(oc_slice raw, const char *text, size_t len) {
  const char *at = raw.text;
  const char *end = raw.text + raw.len;

  while(at < end) {
    char bytes[4];
    size_t count = decode_step(&at, end, bytes);
    if(!count || count > len || memcmp(bytes, text, count))
      return 0;
    text += count;
    len -= count;
  }
  return !len;
}

int oc_json_same_text(oc_slice a, oc_slice b) {
  const char *a_end = a.text + a.len;
  const char *b_end = b.text + b.len;
  char a_bytes[4];
  char b_bytes[4];
  size_t a_count = 0;       /* decoded and not compared yet */
  size_t b_count = 0;
  size_t a_from = 0;
  size_t b_from = 0;

  while((a_count || a.text < a_end) && (b_count || b.text < b_end)) {
    if(!a_count) {
      a_from = 0;
      a_count = decode_step(&a.text, a_end, a_bytes);
    }
    if(!b_count) {
      b_from = 0;
      b_count = decode_step(&b.text, b_end, b_bytes);
    }
    if(!a_count || !b_count || a_bytes[a_from] != b_bytes[b_from])
      return 0;
    a_from++;
    b_from++;
    a_count--;
    b_count--;
  }
  return !a_count && !b_count && a.text == a_end && b.text == b_end;
}

int oc_json_is_text(const oc_json *reader, const char *text, size_t len) {
  if(reader->token != OC_JSON_KEY && reader->token != OC_JSON_STRING)
    return 0;
  if(reader->escaped)
    return oc_json_decodes_to(reader->value, text, len);
  return reader->value.len == len && !memcmp(reader->value.text, text, len);
}

oc_code oc_json_unescape(oc_slice raw, oc_buf *out, unsigned *pending) {
  const size_t before = out->len;
  unsigned held = pending ? *pending : 0;   /* a high surrogate */
  oc_code code = OC_OK;
  const char *at = raw.text;
  const char *end;

  if(!raw.len)
    return OC_OK;
  end = at + raw.len;
  while(at < end && !code) {
    unsigned unit = 0;
    const char *stop;
    size_t step;

    if(*at != '\\') {
      if(held) {
        held = 0;
        code = put_character(out, REPLACEMENT);
        continue;
      }
      stop = memchr(at, '\\', (size_t)(end - at));
      if(!stop)
        stop = end;
      code = oc_buf_append(out, at, (size_t)(stop - at));
      at = stop;
      continue;
    }
    step = read_escape(at, end, &unit);
    if(!step) {
      code = OC_E_JSON;
      break;
    }
    at += step;
    if(held && is_low(unit)) {
      code = put_character(out, join_surrogates(held, unit));
      held = 0;
      continue;
    }
    if(held)
      code = put_character(out, REPLACEMENT);
    held = is_high(unit) ? unit : 0;
    if(!held && !code)
      code = put_character(out, is_low(unit) ? REPLACEMENT : unit);
  }
  if(held && !pending && !code)
    code = put_character(out, REPLACEMENT);
  if(code) {
    out->len = before;
    return code;
  }
  if(pending)
    *pending = held;
  return OC_OK;
}

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
    const char *stop = find_special(at, end, 0);
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
    const char *stop = find_special(at, end, HIGH_BITS);
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

/*
 * Numbers
 */

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

/*
 * Values of fields
 */

oc_code oc_json_read_string(oc_json *reader, oc_slice *raw, int *found) {
  oc_json_token token = oc_json_next(reader);
  if(found)
    *found = token == OC_JSON_STRING;
  if(token == OC_JSON_STRING) {
    *raw = reader->value;
    return OC_OK;
  }
  return token == OC_JSON_ERROR ? reader->error : oc_json_skip(reader, NULL);
}

oc_code oc_json_read_number(oc_json *reader, double *number) {
  oc_json_token token = oc_json_next(reader);
  if(token == OC_JSON_NUMBER) {
    *number = oc_json_number(reader);
    return OC_OK;
  }
  return token == OC_JSON_ERROR ? reader->error : oc_json_skip(reader, NULL);
}

oc_code oc_json_write_field(oc_buf *out, const char *prefix,
                            const oc_buf *text) {
  oc_code code = oc_buf_puts(out, prefix);
  return code ? code : oc_json_write_string(out, text->data, text->len);
}
