/*
 * The JSON reader against another one, jansson: both accept a text or both
 * refuse it, and both read the same value out of it.
 *
 * Where they differ on purpose, and are not compared:
 * - a surrogate escape without its other half: RFC 8259 leaves it open.
 *   Servers send such halves, so we read U+FFFD; jansson refuses.
 * - numbers beyond a double: we read them as infinite, and the binding
 *   keeps their text; jansson refuses.
 * - deeper nesting than 512 (ours) or 2048 (jansson's).
 * - a NUL in a key: jansson's objects cannot hold it.
 * - a NUL outside of strings, which nothing allows: jansson takes one behind
 *   a number for the end of the text.
 * - of a key that is there twice jansson keeps the last; we show both.
 */
#include "fuzz.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PLENTY ((size_t)1 << 24)

/* What our reader meets that is not compared. */
static int is_special(const char *text, size_t size) {
  oc_json reader;
  oc_json_init(&reader, text, size);
  while(oc_json_next(&reader) > OC_JSON_END) {
    if(reader.token == OC_JSON_NUMBER && isinf(oc_json_number(&reader)))
      return 1;
    if(reader.token == OC_JSON_KEY || reader.token == OC_JSON_STRING) {
      const char *at = reader.value.text;
      const char *end = at + reader.value.len;
      int is_high = 0;
      while(at < end) {
        unsigned unit = 0;
        if(*at == '\\' && at[1] == 'u') {
          char *digits = fuzz_string(at + 2, 4);
          unit = (unsigned)strtoul(digits, NULL, 16);
          free(digits);
          if(!unit && reader.token == OC_JSON_KEY)
            return 1;
        }
        /* each half needs the other one */
        if(is_high != (unit >= 0xDC00 && unit < 0xE000))
          return 1;
        is_high = unit >= 0xD800 && unit < 0xDC00;
        at += *at != '\\' ? 1 : at[1] == 'u' ? 6 : 2;
      }
      if(is_high)
        return 1;
    }
  }
  return reader.error == OC_E_DEPTH;
}

static int is_text(const oc_json *reader, const char *text, size_t len) {
  oc_buf plain;
  int same;
  oc_buf_init(&plain, PLENTY);
  MUST(!oc_json_unescape(reader->value, &plain, NULL));
  same = plain.len == len && (!len || !memcmp(plain.data, text, len));
  oc_buf_free(&plain);
  return same;
}

static void check_value(oc_json *reader, const json_t *value);

/* The last value of each key is jansson's; the ones before are passed. */
static void check_object(oc_json *reader, const json_t *object) {
  size_t found = 0;
  while(oc_json_next(reader) == OC_JSON_KEY) {
    oc_json look = *reader;
    oc_buf key;
    const json_t *value;
    int is_last = 1;

    oc_buf_init(&key, PLENTY);
    MUST(!oc_json_unescape(reader->value, &key, NULL));
    oc_json_skip(&look, NULL);
    while(is_last && oc_json_next(&look) == OC_JSON_KEY) {
      is_last = !is_text(&look, key.data, key.len);
      oc_json_skip(&look, NULL);
    }
    value = json_object_getn(object, key.len ? key.data : "", key.len);
    MUST(value != NULL);
    oc_buf_free(&key);
    if(!is_last) {
      oc_json_skip(reader, NULL);
      continue;
    }
    found++;
    oc_json_next(reader);
    check_value(reader, value);
  }
  MUST(reader->token == OC_JSON_OBJECT_END);
  MUST(found == json_object_size(object));
}

static void check_value(oc_json *reader, const json_t *value) {
  size_t i;
  switch(reader->token) {
  case OC_JSON_OBJECT:
    MUST(json_is_object(value));
    check_object(reader, value);
    break;
  case OC_JSON_ARRAY:
    MUST(json_is_array(value));
    for(i = 0; oc_json_next(reader) != OC_JSON_ARRAY_END; i++) {
      MUST(i < json_array_size(value));
      check_value(reader, json_array_get(value, i));
    }
    MUST(i == json_array_size(value));
    break;
  case OC_JSON_STRING:
    MUST(json_is_string(value));
    MUST(is_text(reader, json_string_value(value),
                 json_string_length(value)));
    break;
  case OC_JSON_NUMBER:
    MUST(json_is_number(value));
    MUST(oc_json_number(reader) == json_number_value(value));
    break;
  case OC_JSON_TRUE:
    MUST(json_is_true(value));
    break;
  case OC_JSON_FALSE:
    MUST(json_is_false(value));
    break;
  default:
    MUST(reader->token == OC_JSON_NULL && json_is_null(value));
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char *text;
  json_t *value;
  json_error_t error;
  oc_json reader;
  int is_valid;

  if(fuzz_is_starving())
    return 0;
  text = fuzz_copy(data, size);
  is_valid = fuzz_is_json(text, size);
  if(memchr(text, 0, size))
    MUST(!is_valid);
  else if(!is_special(text, size)) {
    value = json_loadb(text, size, JSON_DECODE_ANY | JSON_ALLOW_NUL
                                   | JSON_DECODE_INT_AS_REAL, &error);
    /* jansson reads no further than where a number is too large */
    if(value || json_error_code(&error) != json_error_numeric_overflow)
      MUST(is_valid == (value != NULL));
    if(is_valid && value) {
      oc_json_init(&reader, text, size);
      oc_json_next(&reader);
      check_value(&reader, value);
      MUST(oc_json_next(&reader) == OC_JSON_END);
    }
    json_decref(value);
  }
  free(text);
  return 0;
}
