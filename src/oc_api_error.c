#include "oc_api_error.h"

#include <stdlib.h>
#include <string.h>

#include "oc_json.h"

/* Longest piece of an unknown body that is shown. */
#define SNIPPET_MAX 200

/* What a body said: decoded texts, empty when it did not. */
struct said {
  oc_buf message;
  oc_buf code;
};

/* Keeps the first text that is not empty. */
static oc_code keep(oc_buf *buf, const oc_json *reader) {
  if(buf->len || !reader->value.len)
    return OC_OK;
  if(reader->token == OC_JSON_STRING)
    return oc_json_unescape(reader->value, buf, NULL);
  return oc_buf_append(buf, reader->value.text, reader->value.len);
}

/* Whether the KEY just read is one of these. */
static int is_any(const oc_json *reader, const char *const *names) {
  for(; *names; names++) {
    if(oc_json_is(reader, *names))
      return 1;
  }
  return 0;
}

/*
 * Reads the fields of an object whose OC_JSON_OBJECT has just been read.
 * The order of preference is that of the names, not of the body.
 */
static void read_fields(oc_json *reader, struct said *said) {
  static const char *const messages[] = { "message", "detail", "msg", NULL };
  static const char *const codes[] = { "code", "type", NULL };
  struct said late;
  oc_buf_init(&late.message, said->message.max);
  oc_buf_init(&late.code, said->code.max);

  while(oc_json_next(reader) == OC_JSON_KEY) {
    int is_message = is_any(reader, messages);
    int is_code = is_any(reader, codes);
    int is_first = oc_json_is(reader, "message") || oc_json_is(reader, "code");
    oc_json_token token = oc_json_next(reader);
    if(token == OC_JSON_STRING && is_message)
      keep(is_first ? &said->message : &late.message, reader);
    else if((token == OC_JSON_STRING || token == OC_JSON_NUMBER) && is_code)
      keep(is_first ? &said->code : &late.code, reader);
    else if(token == OC_JSON_OBJECT && is_message)
      read_fields(reader, &late);
    else if(oc_json_skip(reader, NULL))
      break;
  }
  if(!said->message.len)
    oc_buf_append(&said->message, late.message.data, late.message.len);
  if(!said->code.len)
    oc_buf_append(&said->code, late.code.data, late.code.len);
  oc_buf_free(&late.message);
  oc_buf_free(&late.code);
}

/* Reads "error" or "errors": an object, a text, or a list of either. */
static void read_problem(oc_json *reader, struct said *said) {
  oc_json_token token = oc_json_next(reader);
  if(token == OC_JSON_STRING)
    keep(&said->message, reader);
  else if(token == OC_JSON_OBJECT)
    read_fields(reader, said);
  else if(token == OC_JSON_ARRAY) {
    while((token = oc_json_next(reader)) > OC_JSON_END
          && token != OC_JSON_ARRAY_END) {
      if(token == OC_JSON_STRING)
        keep(&said->message, reader);
      else if(token == OC_JSON_OBJECT)
        read_fields(reader, said);
      else if(oc_json_skip(reader, NULL))
        break;
    }
  }
  else
    oc_json_skip(reader, NULL);
}

/* Whether the whole text is one JSON object; fills in `said`. */
static int read_json(const char *body, size_t len, struct said *said) {
  struct said outer;
  oc_json reader;
  int is_object;

  oc_buf_init(&outer.message, said->message.max);
  oc_buf_init(&outer.code, said->code.max);
  oc_json_init(&reader, body, len);
  oc_json_allow_bad_utf8(&reader);
  is_object = oc_json_next(&reader) == OC_JSON_OBJECT;
  while(is_object && oc_json_next(&reader) == OC_JSON_KEY) {
    if(oc_json_is(&reader, "error") || oc_json_is(&reader, "errors"))
      read_problem(&reader, said);
    else if(oc_json_is(&reader, "message") || oc_json_is(&reader, "detail")) {
      if(oc_json_next(&reader) == OC_JSON_STRING)
        keep(&outer.message, &reader);
      else
        oc_json_skip(&reader, NULL);
    }
    else if(oc_json_is(&reader, "code") || oc_json_is(&reader, "type")) {
      oc_json_token token = oc_json_next(&reader);
      if(token == OC_JSON_STRING || token == OC_JSON_NUMBER)
        keep(&outer.code, &reader);
      else
        oc_json_skip(&reader, NULL);
    }
    else
      oc_json_skip(&reader, NULL);
  }
  is_object = is_object && reader.token == OC_JSON_OBJECT_END;
  if(!said->message.len) {
    oc_buf_append(&said->message, outer.message.data, outer.message.len);
    /* "type":"error" says nothing; a code beside a message does */
    if(!said->code.len && outer.message.len)
      oc_buf_append(&said->code, outer.code.data, outer.code.len);
  }
  oc_buf_free(&outer.message);
  oc_buf_free(&outer.code);
  return is_object;
}

static int is_space(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The readable beginning of a text or HTML page, on one line. */
static void make_snippet(const char *body, size_t len,
                         char out[SNIPPET_MAX + 1]) {
  size_t used = 0;
  size_t i;
  size_t valid;
  int in_tag = 0;
  int gap = 0;

  for(i = 0; i < len && used < SNIPPET_MAX - 1; i++) {
    char c = body[i];
    if(c == '<') {
      static const char style[] = "<style";
      static const char script[] = "<script";
      if(len - i > 7 && (!memcmp(body + i, style, 6)
                         || !memcmp(body + i, script, 7)))
        break;
      in_tag = 1;
    }
    else if(c == '>' && in_tag) {
      in_tag = 0;
      gap = 1;
    }
    else if(!in_tag) {
      if(is_space(c) || (unsigned char)c < 0x20 || c == 0x7F)
        gap = 1;
      else {
        if(gap && used)
          out[used++] = ' ';
        gap = 0;
        out[used++] = c;
      }
    }
  }
  /* whole characters only */
  valid = oc_utf8_valid_prefix(out, used);
  out[valid] = '\0';
}

static int is_retryable_status(int status) {
  return status == 408 || status == 409 || status == 429
         || (status >= 500 && status < 600);
}

void oc_api_error_read(oc_error *error, int status, const char *body,
                       size_t len) {
  struct said said;
  int has_message;

  oc_buf_init(&said.message, 64 * 1024);
  oc_buf_init(&said.code, 1024);
  read_json(body, len, &said);
  has_message = said.message.len > 0;
  if(has_message || said.code.len) {
    const char *code = oc_buf_cstr(&said.code);
    oc_error_set(error, OC_E_API, "%.*s%s", (int)said.message.len,
                 has_message ? said.message.data : "",
                 has_message ? "" : oc_code_message(OC_E_API));
    if(said.code.len && code) {
      oc_error_set_name(error, said.code.data, said.code.len);
      error->retryable = is_retryable_status(atoi(code));
    }
  }
  else {
    char snippet[SNIPPET_MAX + 1];
    make_snippet(body, len, snippet);
    oc_error_set(error, OC_E_HTTP_STATUS, "HTTP status %d%s%s", status,
                 *snippet ? ": " : "", snippet);
  }
  error->status = status;
  if(is_retryable_status(status))
    error->retryable = 1;
  oc_buf_free(&said.message);
  oc_buf_free(&said.code);
}
