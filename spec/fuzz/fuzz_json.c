/*
 * The JSON reader and writer: what is read, written and read again is the
 * same, and never but valid JSON comes out of the writer.
 */
#include "fuzz.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/oc_utf8.h"

#define PLENTY ((size_t)1 << 26)

/* Reads one value and writes it, token by token. The reader's last token. */
static oc_json_token rewrite(oc_json *reader, oc_buf *out, oc_code *code) {
  oc_json_token before = OC_JSON_END;
  oc_json_token token;
  size_t offset = 0;

  *code = OC_OK;
  while((token = oc_json_next(reader)) > OC_JSON_END) {
    oc_buf plain;
    MUST(oc_json_offset(reader) > offset);
    offset = oc_json_offset(reader);
    if(token == OC_JSON_OBJECT_END || token == OC_JSON_ARRAY_END) {
      if(!*code)
        *code = oc_buf_putc(out, token == OC_JSON_OBJECT_END ? '}' : ']');
      before = token;
      continue;
    }
    if(!*code && before != OC_JSON_END && before != OC_JSON_OBJECT
       && before != OC_JSON_ARRAY)
      *code = oc_buf_putc(out, before == OC_JSON_KEY ? ':' : ',');
    before = token;
    if(*code)
      continue;
    switch(token) {
    case OC_JSON_OBJECT:
    case OC_JSON_ARRAY:
      *code = oc_buf_putc(out, token == OC_JSON_OBJECT ? '{' : '[');
      break;
    case OC_JSON_KEY:
    case OC_JSON_STRING:
      MUST(reader->escaped
           == (memchr(reader->value.text, '\\', reader->value.len) != NULL));
      oc_buf_init(&plain, PLENTY);
      *code = oc_json_unescape(reader->value, &plain, NULL);
      MUST(plain.len <= reader->value.len);
      MUST(oc_utf8_valid_prefix(plain.data, plain.len) == plain.len);
      if(!*code && (!plain.len || !memchr(plain.data, 0, plain.len))) {
        const char *name = oc_buf_cstr(&plain);
        if(name)
          MUST(oc_json_is(reader, name));
      }
      if(!*code)
        *code = oc_json_write_string(out, plain.data, plain.len);
      oc_buf_free(&plain);
      break;
    case OC_JSON_NUMBER: {
      double number = oc_json_number(reader);
      MUST(!(number != number));
      if(isinf(number))
        *code = oc_buf_puts(out, number > 0 ? "1e999" : "-1e999");
      else
        *code = oc_json_write_number(out, number);
      break;
    }
    default:
      *code = oc_buf_append(out, reader->value.text, reader->value.len);
    }
  }
  MUST(oc_json_next(reader) == token);
  MUST((token == OC_JSON_ERROR) == (reader->error != OC_OK));
  return token;
}

/* A text that may or may not be JSON. */
static void check_text(const char *text, size_t size) {
  oc_json reader;
  oc_slice raw;
  oc_buf once;
  oc_buf twice;
  oc_code code;
  oc_json_token end;

  oc_buf_init(&once, PLENTY);
  oc_buf_init(&twice, PLENTY);
  oc_json_init(&reader, text, size);
  end = rewrite(&reader, &once, &code);
  MUST(!code || fuzz_is_starved());

  /* to skip a value says the same of it */
  oc_json_init(&reader, text, size);
  if(oc_json_next(&reader) > OC_JSON_END && !oc_json_skip(&reader, &raw)) {
    MUST(raw.text >= text && raw.text + raw.len <= text + size);
    MUST((oc_json_next(&reader) == OC_JSON_END) == (end == OC_JSON_END));
    MUST(fuzz_is_json(raw.text, raw.len));
  }
  else
    MUST(end == OC_JSON_ERROR);

  /* less strict is not otherwise strict */
  oc_json_init(&reader, text, size);
  oc_json_allow_bad_utf8(&reader);
  while(oc_json_next(&reader) > OC_JSON_END) {
  }
  if(end == OC_JSON_END)
    MUST(reader.token == OC_JSON_END);
  else if(reader.token == OC_JSON_END)
    MUST(oc_utf8_valid_prefix(text, size) < size);

  if(end == OC_JSON_END && !code) {
    oc_json_init(&reader, once.data, once.len);
    MUST(rewrite(&reader, &twice, &code) == OC_JSON_END);
    MUST(code || (once.len == twice.len
                  && !memcmp(once.data, twice.data, once.len)));
  }
  oc_buf_free(&once);
  oc_buf_free(&twice);
}

/* Any bytes, as the content of a string. */
static void check_string(const char *text, size_t size) {
  size_t valid = oc_utf8_valid_prefix(text, size);
  oc_buf out;
  oc_buf plain;
  oc_json reader;
  oc_code code;

  MUST(valid <= size);
  oc_buf_init(&out, PLENTY);
  oc_buf_init(&plain, PLENTY);
  code = oc_json_write_string(&out, text, size);
  MUST((code == OC_E_UTF8) == (valid < size) || code == OC_E_NOMEM);
  MUST(!code || !out.len);
  if(!code) {
    oc_json_init(&reader, out.data, out.len);
    MUST(oc_json_next(&reader) == OC_JSON_STRING);
    code = oc_json_unescape(reader.value, &plain, NULL);
    if(!code)
      MUST(plain.len == size && (!size || !memcmp(plain.data, text, size)));
    MUST(oc_json_next(&reader) == OC_JSON_END);
  }
  oc_buf_clear(&plain);
  if(!oc_utf8_sanitize(&plain, text, size)) {
    MUST(oc_utf8_valid_prefix(plain.data, plain.len) == plain.len);
    MUST(plain.len >= valid && (!valid || !memcmp(plain.data, text, valid)));
    MUST((valid == size) == (plain.len == size
                             && (!size || !memcmp(plain.data, text, size))));
  }
  oc_buf_free(&out);
  oc_buf_free(&plain);
}

/* Any eight bytes, as a number. */
static void check_number(const char *bytes) {
  double number;
  oc_buf out;
  oc_code code;

  memcpy(&number, bytes, sizeof number);
  oc_buf_init(&out, PLENTY);
  code = oc_json_write_number(&out, number);
  MUST_IF_FED((code == OC_OK) == (isfinite(number) != 0));
  if(!code) {
    oc_slice text;
    text.text = out.data;
    text.len = out.len;
    MUST(fuzz_is_json(out.data, out.len));
    MUST(oc_json_parse_number(text) == number);
  }
  oc_buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char *text = fuzz_copy(data, size);
  check_text(text, size);
  check_string(text, size);
  if(size >= sizeof(double))
    check_number(text);
  free(text);
  return 0;
}
