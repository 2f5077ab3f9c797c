#include "oc_json.h"

#include <stdint.h>
#include <string.h>

#include "oc_json_scan.h"
#include "oc_utf8.h"

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

#define is_high(unit) (((unit) & 0xFC00u) == 0xD800u)
#define is_low(unit) (((unit) & 0xFC00u) == 0xDC00u)
#define is_digit(byte) ((unsigned)(byte) - '0' < 10u)

/* What stands behind a backslash, 0: no such escape. */
static const char simple_escape[256] = {
  ['"'] = '"', ['\\'] = '\\', ['/'] = '/', ['b'] = '\b', ['f'] = '\f',
  ['n'] = '\n', ['r'] = '\r', ['t'] = '\t'
};

/* Value of a hexadecimal digit plus one, 0: not a digit. */
static const unsigned char hex_digit[256] = {
  ['0'] = 1, ['1'] = 2, ['2'] = 3, ['3'] = 4, ['4'] = 5, ['5'] = 6,
  ['6'] = 7, ['7'] = 8, ['8'] = 9, ['9'] = 10, ['A'] = 11, ['B'] = 12,
  ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16, ['a'] = 11, ['b'] = 12,
  ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16
};

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
  const uint64_t high = reader->lenient_utf8 ? 0 : OC_HIGH_BITS;
  const char *end = reader->end;
  const char *text = at + 1;
  const char *bad = text;

  reader->escaped = 0;
  at = text;
  for(;;) {
    unsigned char byte;

    at = oc_find_special(at, end, high);
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
        size_t len = oc_utf8_length(at, end, &invalid, &cut);
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

/*
 * Strings
 */

const char *oc_json_string_end(const char *at, const char *end,
                               oc_letters *letters) {
  uint64_t high = OC_HIGH_BITS;

  *letters = OC_LETTERS_PLAIN;
  for(;;) {
    at = oc_find_special(at, end, high);
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
    unit = OC_REPLACEMENT;
  return oc_utf8_encode(bytes, unit);
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
        code = oc_utf8_put(out, OC_REPLACEMENT);
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
      code = oc_utf8_put(out, join_surrogates(held, unit));
      held = 0;
      continue;
    }
    if(held)
      code = oc_utf8_put(out, OC_REPLACEMENT);
    held = is_high(unit) ? unit : 0;
    if(!held && !code)
      code = oc_utf8_put(out, is_low(unit) ? OC_REPLACEMENT : unit);
  }
  if(held && !pending && !code)
    code = oc_utf8_put(out, OC_REPLACEMENT);
  if(code) {
    out->len = before;
    return code;
  }
  if(pending)
    *pending = held;
  return OC_OK;
}
