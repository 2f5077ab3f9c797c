#include "oc_api_error.h"

#include <stdlib.h>
#include <string.h>

#include "oc_utf8.h"

/* Longest piece of an unknown body that is shown. */
#define SNIPPET_MAX 200

/* Longest piece of a message that is looked at: oc_error cuts it anyway. */
#define MESSAGE_MAX 4096

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

static void said_init(struct said *said, size_t max) {
  oc_buf_init(&said->message, max);
  oc_buf_init(&said->code, max);
}

static void said_free(struct said *said) {
  oc_buf_free(&said->message);
  oc_buf_free(&said->code);
}

/* Adds what is missing in `said` and frees the other one. */
static void complete(struct said *said, struct said *other) {
  if(!said->message.len)
    oc_buf_append(&said->message, other->message.data, other->message.len);
  if(!said->code.len)
    oc_buf_append(&said->code, other->code.data, other->code.len);
  said_free(other);
}

static void read_problem(oc_json *reader, struct said *said);

/*
 * Reads the fields of an object whose OC_JSON_OBJECT has just been read.
 * The order of preference is that of the names, not of the body.
 */
static void read_fields(oc_json *reader, struct said *said) {
  static const char *const messages[] = { "message", "detail", "msg", NULL };
  static const char *const codes[] = { "code", "type", NULL };
  struct said late;
  said_init(&late, said->message.max);

  while(oc_json_next(reader) == OC_JSON_KEY) {
    int is_message = is_any(reader, messages);
    int is_code = is_any(reader, codes);
    int is_first = oc_json_is(reader, "message") || oc_json_is(reader, "code");
    oc_json_token token = oc_json_next(reader);
    if(token == OC_JSON_STRING && is_message)
      keep(is_first ? &said->message : &late.message, reader);
    else if((token == OC_JSON_STRING || token == OC_JSON_NUMBER) && is_code)
      keep(is_first ? &said->code : &late.code, reader);
    else if(is_message)
      read_problem(reader, &late);
    else if(oc_json_skip(reader, NULL))
      break;
  }
  complete(said, &late);
}

/*
 * Reads what "error" or "errors" holds: an object, a text, or a list of
 * either. The first token of it has just been read.
 */
static void read_problem(oc_json *reader, struct said *said) {
  if(reader->token == OC_JSON_STRING)
    keep(&said->message, reader);
  else if(reader->token == OC_JSON_OBJECT)
    read_fields(reader, said);
  else if(reader->token == OC_JSON_ARRAY) {
    while(oc_json_next(reader) > OC_JSON_END
          && reader->token != OC_JSON_ARRAY_END)
      read_problem(reader, said);
  }
}

/* Reads a body that is one JSON object; any other says nothing. */
static void read_json(const char *body, size_t len, struct said *said) {
  struct said outer;
  oc_json reader;

  oc_json_init(&reader, body, len);
  oc_json_allow_bad_utf8(&reader);
  if(oc_json_next(&reader) != OC_JSON_OBJECT)
    return;
  while(oc_json_next(&reader) == OC_JSON_KEY) {
    int is_problem = oc_json_is(&reader, "error")
                     || oc_json_is(&reader, "errors");
    oc_json_next(&reader);
    if(is_problem)
      read_problem(&reader, said);
    else
      oc_json_skip(&reader, NULL);
  }
  /* or the object itself is the problem: {"message":...,"code":...} */
  said_init(&outer, len);
  oc_json_init(&reader, body, len);
  oc_json_allow_bad_utf8(&reader);
  oc_json_next(&reader);
  read_fields(&reader, &outer);
  /* "type":"error" says nothing; a code beside a message does */
  if((!said->message.len && !outer.message.len)
     || (outer.code.len == 5 && !memcmp(outer.code.data, "error", 5)))
    oc_buf_clear(&outer.code);
  complete(said, &outer);
}

static int is_space(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* What stands behind the '<' of a tag, but not behind a "less than". */
static int is_tag_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '/'
         || c == '!' || c == '?';
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
    if(c == '<' && i + 1 < len && is_tag_start(body[i + 1])) {
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

/* Codes that say "later", where no status does: in a stream that has begun. */
static int is_retryable_name(const char *name) {
  static const char *const names[] = {
    "rate_limit", "overloaded", "server_error", "internal_error",
    "internal_server_error", "service_unavailable", "engine_overloaded",
    "temporarily_unavailable", "timeout", "try_again"
  };
  size_t i;
  for(i = 0; i < sizeof names / sizeof names[0]; i++) {
    if(!strncmp(name, names[i], strlen(names[i])))
      return 1;
  }
  return 0;
}

static int is_retryable_status(int status) {
  return status == 408 || status == 409 || status == 429
         || (status >= 500 && status < 600);
}

/* An error of kind api; without a text it gets the table's. */
static void set_message(oc_error *error, const oc_buf *text) {
  oc_buf clean;
  size_t len = text->len < MESSAGE_MAX ? text->len : MESSAGE_MAX;

  /* each byte may become the three of U+FFFD */
  oc_buf_init(&clean, 3 * MESSAGE_MAX);
  if(len && !oc_utf8_sanitize(&clean, text->data, len))
    oc_error_set(error, OC_E_API, "%.*s", (int)clean.len, clean.data);
  else
    oc_error_set(error, OC_E_API, "%s", oc_code_message(OC_E_API));
  oc_buf_free(&clean);
}

void oc_api_error_read(oc_error *error, int status, const char *body,
                       size_t len) {
  struct said said;

  /* what is decoded is never longer than what was written */
  said_init(&said, len);
  read_json(body, len, &said);
  if(said.message.len || said.code.len) {
    const char *code = oc_buf_cstr(&said.code);
    set_message(error, &said.message);
    if(said.code.len && code) {
      size_t valid = oc_utf8_valid_prefix(code, said.code.len);
      /* a code that is no text leaves the table's */
      if(valid)
        oc_error_set_name(error, code, valid);
      /* what is no number is 0, which is no status */
      error->retryable = is_retryable_status(atoi(code)) /* NOLINT */
                         || (status < 400 && is_retryable_name(code));
    }
  }
  else {
    char snippet[SNIPPET_MAX + 1];
    make_snippet(body, len, snippet);
    if(status >= 200 && status < 300)
      oc_error_set(error, OC_E_API, "%s%s%s", oc_code_message(OC_E_API),
                   *snippet ? ": " : "", snippet);
    else
      oc_error_set(error, OC_E_HTTP_STATUS, "HTTP status %d%s%s", status,
                   *snippet ? ": " : "", snippet);
  }
  error->status = status;
  if(is_retryable_status(status))
    error->retryable = 1;
  said_free(&said);
}

int oc_api_error_is_problem(oc_slice raw) {
  size_t i = 1;
  switch(*raw.text) {
  case 'n':
  case 'f':
    return 0;
  case 't':
    return 1;
  case '"':
    return raw.len > 2;
  case '{':
  case '[':
    while(strchr(" \t\r\n", raw.text[i]))
      i++;
    return raw.text[i] != '}' && raw.text[i] != ']';
  default:
    return oc_json_parse_number(raw) != 0;
  }
}
