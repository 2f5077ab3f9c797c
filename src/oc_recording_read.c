#include "oc_player_private.h"

#include <stdio.h>
#include <string.h>

#include "oc_alloc.h"
#include "oc_base64.h"
#include "oc_file.h"
#include "oc_redact.h"
#include "oc_tree.h"

/* A line being read. */
struct reading {
  oc_json json;
  oc_recording *recording;
  oc_code code;
  char *what;                 /* says what is wrong with it */
};

static int refuse(struct reading *reading, const char *place,
                  const char *wanted) {
  if(!reading->code) {
    reading->code = OC_E_BAD_LINE;
    snprintf(reading->what, OC_PROBLEM_MAX, "%s: %s", place, wanted);
  }
  return 0;
}

static int out_of_memory(struct reading *reading) {
  if(!reading->code) {
    reading->code = OC_E_NOMEM;
    snprintf(reading->what, OC_PROBLEM_MAX, "out of memory");
  }
  return 0;
}

/* 1 unless it is bad JSON. */
static int skip(struct reading *reading, oc_slice *raw) {
  return !oc_json_skip(&reading->json, raw)
         || refuse(reading, "not valid JSON", "as it stands");
}

/* The string just read, appended decoded. */
static int take_string(struct reading *reading, const char *place,
                       oc_buf *out) {
  if(reading->json.token != OC_JSON_STRING)
    return refuse(reading, place, "a string expected");
  return !oc_json_unescape(reading->json.value, out, NULL)
         || out_of_memory(reading);
}

/* The same as a string of its own. */
static int take_text(struct reading *reading, const char *place,
                     char **out) {
  oc_buf text;
  int worked;
  oc_buf_init(&text, SIZE_MAX / 4);
  oc_json_next(&reading->json);
  worked = take_string(reading, place, &text);
  if(worked && text.len && memchr(text.data, '\0', text.len))
    worked = refuse(reading, place, "a text without \\u0000 expected");
  if(worked) {
    oc_free(*out);
    *out = oc_strndup(text.data ? text.data : "", text.len);
    if(!*out)
      worked = out_of_memory(reading);
  }
  oc_buf_free(&text);
  return worked;
}

static int take_number(struct reading *reading, const char *place,
                       double max, int64_t *out) {
  double number;
  if(reading->json.token != OC_JSON_NUMBER)
    return refuse(reading, place, "a number expected");
  number = oc_json_number(&reading->json);
  if(!(number >= 0 && number <= max))
    return refuse(reading, place, "a number in range expected");
  *out = (int64_t)number;
  return 1;
}

static int read_number(struct reading *reading, const char *place,
                       double max, int64_t *out) {
  oc_json_next(&reading->json);
  return take_number(reading, place, max, out);
}

/* Whether an object begins with the next token. */
static int open_object(struct reading *reading, const char *place) {
  return oc_json_next(&reading->json) == OC_JSON_OBJECT
         || refuse(reading, place, "an object expected");
}

/* Whether there is one more key. */
static int next_key(struct reading *reading) {
  oc_json_token token;
  if(reading->code)
    return 0;
  token = oc_json_next(&reading->json);
  if(token == OC_JSON_ERROR)
    return refuse(reading, "not valid JSON", "as it stands");
  return token == OC_JSON_KEY;
}

static int is_key(const struct reading *reading, const char *name) {
  return oc_json_is(&reading->json, name);
}

/* The body of a request in its canonical form. */
static int read_body(struct reading *reading) {
  oc_recording *recording = reading->recording;
  oc_redact none;
  oc_slice raw;
  oc_buf clean;
  oc_tree tree;
  oc_code code;

  if(!skip(reading, &raw))
    return 0;
  memset(&none, 0, sizeof none);
  oc_buf_init(&clean, SIZE_MAX / 4);
  code = oc_tree_clean(&none, raw.text, raw.len, &clean);
  if(!code) {
    code = oc_tree_read(&tree, clean.data, clean.len);
    oc_buf_clear(&recording->body);
    if(!code)
      code = oc_tree_write(&tree, &recording->body);
    oc_tree_free(&tree);
  }
  oc_buf_free(&clean);
  return !code || out_of_memory(reading);
}

static int read_request(struct reading *reading) {
  oc_recording *recording = reading->recording;
  int64_t number = 0;
  if(!open_object(reading, "request"))
    return 0;
  while(next_key(reading)) {
    if(is_key(reading, "method"))
      take_text(reading, "request.method", &recording->method);
    else if(is_key(reading, "path"))
      take_text(reading, "request.path", &recording->path);
    else if(is_key(reading, "attempt")) {
      if(read_number(reading, "request.attempt", 1e9, &number))
        recording->attempt = (int)number;
    }
    else if(is_key(reading, "body"))
      read_body(reading);
    else
      skip(reading, NULL);
  }
  return !reading->code;
}

/* One value of a header; the name is the part of `line` before `name`. */
static int put_header(struct reading *reading, const oc_buf *name) {
  oc_buf *head = &reading->recording->head;
  oc_buf value;
  size_t i;
  int worked;
  oc_buf_init(&value, SIZE_MAX / 4);
  worked = take_string(reading, "response.headers", &value);
  for(i = 0; worked && i < value.len; i++) {
    if(memchr("\r\n", value.data[i], 3))
      worked = refuse(reading, "response.headers", "a value of one line "
                      "expected");
  }
  if(worked && (oc_buf_append(head, name->data, name->len)
                || oc_buf_puts(head, ": ")
                || oc_buf_append(head, value.data, value.len)
                || oc_buf_puts(head, "\r\n")))
    worked = out_of_memory(reading);
  oc_buf_free(&value);
  return worked;
}

static int read_headers(struct reading *reading) {
  oc_buf name;
  if(!open_object(reading, "response.headers"))
    return 0;
  oc_buf_init(&name, SIZE_MAX / 4);
  while(next_key(reading)) {
    size_t i;
    oc_buf_clear(&name);
    if(oc_json_unescape(reading->json.value, &name, NULL)) {
      out_of_memory(reading);
      break;
    }
    for(i = 0; i < name.len; i++) {
      if(memchr("\r\n:", name.data[i], 4))
        refuse(reading, "response.headers", "a name expected");
    }
    if(!name.len)
      refuse(reading, "response.headers", "a name expected");
    if(oc_json_next(&reading->json) != OC_JSON_ARRAY) {
      put_header(reading, &name);
      continue;
    }
    while(!reading->code
          && oc_json_next(&reading->json) != OC_JSON_ARRAY_END)
      put_header(reading, &name);
  }
  oc_buf_free(&name);
  return !reading->code;
}

static int add_piece(struct reading *reading, int64_t ms, int is_same) {
  oc_recording *recording = reading->recording;
  if(recording->count == recording->cap) {
    size_t cap = recording->cap ? recording->cap * 2 : 8;
    oc_piece *pieces = oc_realloc(recording->pieces,
                                      cap * sizeof *pieces);
    if(!pieces)
      return out_of_memory(reading);
    recording->pieces = pieces;
    recording->cap = cap;
  }
  /* time goes forward, whatever was written by hand */
  if(recording->count && ms < recording->pieces[recording->count - 1].ms)
    ms = recording->pieces[recording->count - 1].ms;
  recording->pieces[recording->count].is_same = is_same;
  recording->pieces[recording->count].ms = ms;
  recording->pieces[recording->count++].end = recording->bytes.len;
  return 1;
}

/* The bytes of {"base64": "..."}, appended. */
static int read_base64(struct reading *reading) {
  char *text = NULL;
  oc_code code;
  while(next_key(reading)) {
    if(is_key(reading, "base64"))
      take_text(reading, "response.chunks", &text);
    else
      skip(reading, NULL);
  }
  if(!text)
    return refuse(reading, "response.chunks", "\"base64\" expected");
  code = oc_base64_decode(text, strlen(text), &reading->recording->bytes);
  oc_free(text);
  if(code == OC_E_RANGE)
    return refuse(reading, "response.chunks", "valid base64 expected");
  return !code || out_of_memory(reading);
}

static int read_chunks(struct reading *reading) {
  oc_json *json = &reading->json;
  if(oc_json_next(json) != OC_JSON_ARRAY)
    return refuse(reading, "response.chunks", "a list expected");
  while(oc_json_next(json) == OC_JSON_ARRAY) {
    int64_t ms;
    int count = 0;
    if(!read_number(reading, "response.chunks", OC_TAPE_MAX_MS, &ms))
      return 0;
    while(!reading->code && oc_json_next(json) != OC_JSON_ARRAY_END) {
      if(json->token == OC_JSON_OBJECT)
        read_base64(reading);
      else
        take_string(reading, "response.chunks", &reading->recording->bytes);
      if(!reading->code)
        add_piece(reading, ms, count++ > 0);
    }
    if(reading->code)
      return 0;
  }
  return json->token == OC_JSON_ARRAY_END
         || refuse(reading, "response.chunks", "[ms, text] expected");
}

static int read_response(struct reading *reading, oc_slice *body) {
  oc_recording *recording = reading->recording;
  int64_t number = 0;
  if(!open_object(reading, "response"))
    return 0;
  while(next_key(reading)) {
    if(is_key(reading, "status")) {
      if(read_number(reading, "response.status", 999, &number))
        recording->status = (int)number;
    }
    else if(is_key(reading, "headers"))
      read_headers(reading);
    else if(is_key(reading, "chunks"))
      read_chunks(reading);
    else if(is_key(reading, "body"))
      skip(reading, body);
    else if(is_key(reading, "is_cut"))
      recording->is_cut = oc_json_next(&reading->json) == OC_JSON_TRUE;
    else
      skip(reading, NULL);
  }
  return !reading->code;
}

/* The code of a name that a transfer can end with; OC_OK: there is none. */
static oc_code find_code(const char *name) {
  int code;
  for(code = 1; code < OC_CODE_COUNT; code++) {
    oc_kind kind = oc_code_kind((oc_code)code);
    if(!strcmp(oc_code_name((oc_code)code), name))
      return kind == OC_KIND_STORE || kind == OC_KIND_MISUSE
             ? OC_OK : (oc_code)code;
  }
  return OC_OK;
}

static int read_error(struct reading *reading) {
  oc_recording *recording = reading->recording;
  char *name = NULL;
  if(!open_object(reading, "error"))
    return 0;
  while(next_key(reading)) {
    if(is_key(reading, "code"))
      take_text(reading, "error.code", &name);
    else if(is_key(reading, "message"))
      take_text(reading, "error.message", &recording->message);
    else if(is_key(reading, "retryable"))
      recording->retryable = oc_json_next(&reading->json) == OC_JSON_TRUE;
    else
      skip(reading, NULL);
  }
  if(!reading->code) {
    recording->error = name ? find_code(name) : OC_OK;
    if(!recording->error)
      refuse(reading, "error.code", "the code of an error expected");
  }
  oc_free(name);
  return !reading->code;
}

static int read_times(struct reading *reading) {
  oc_recording *recording = reading->recording;
  if(!open_object(reading, "ms"))
    return 0;
  while(next_key(reading)) {
    if(is_key(reading, "connect"))
      read_number(reading, "ms.connect", OC_TAPE_MAX_MS,
                  &recording->connect_ms);
    else if(is_key(reading, "first_byte"))
      read_number(reading, "ms.first_byte", OC_TAPE_MAX_MS,
                  &recording->first_ms);
    else if(is_key(reading, "end"))
      read_number(reading, "ms.end", OC_TAPE_MAX_MS, &recording->end_ms);
    else if(is_key(reading, "retry"))
      read_number(reading, "ms.retry", OC_TAPE_MAX_MS, &recording->retry_ms);
    else
      skip(reading, NULL);
  }
  return !reading->code;
}

static int read_at(struct reading *reading) {
  char *at = NULL;
  int worked = take_text(reading, "at", &at);
  if(worked)
    snprintf(reading->recording->at, sizeof reading->recording->at, "%s", at);
  oc_free(at);
  return worked;
}

static int has_holes(const oc_buf *text) {
  const size_t len = strlen(OC_REDACTED);
  const char *at = text->data;
  const char *end = at + text->len;
  while(at && (size_t)(end - at) >= len) {
    if(!memcmp(at, OC_REDACTED, len))
      return 1;
    at = memchr(at + 1, OC_REDACTED[0], (size_t)(end - at) - 1);
  }
  return 0;
}

/* What a line does not say. */
static int complete(struct reading *reading, oc_slice body) {
  oc_recording *recording = reading->recording;
  if(!recording->method)
    recording->method = oc_strndup(recording->body.len ? "POST" : "GET",
                                   recording->body.len ? 4 : 3);
  if(!recording->path && recording->method) {
    const char *path = strcmp(recording->method, "GET")
                       ? "/chat/completions" : "/models";
    recording->path = oc_strndup(path, strlen(path));
  }
  if(!recording->method || !recording->path)
    return out_of_memory(reading);
  if(body.len && recording->count)
    return refuse(reading, "response", "\"chunks\" or \"body\" expected, "
                  "and not both");
  if(body.len
     && (oc_buf_append(&recording->bytes, body.text, body.len)
         || !add_piece(reading, recording->first_ms < 0
                                ? 0 : recording->first_ms, 0)))
    return out_of_memory(reading);
  if(recording->end_ms < 0)
    recording->end_ms = recording->count
                        ? recording->pieces[recording->count - 1].ms : 0;
  recording->hash = oc_recording_hash(&recording->body);
  recording->has_holes = has_holes(&recording->body);
  return 1;
}

/* The status line and the end of the head. */
static int frame_head(struct reading *reading, const oc_buf *headers) {
  oc_buf *head = &reading->recording->head;
  char line[64];
  snprintf(line, sizeof line, "HTTP/1.1 %03d\r\n",
           reading->recording->status);
  if(oc_buf_puts(head, line)
     || oc_buf_append(head, headers->data, headers->len)
     || (!reading->recording->is_cut && oc_buf_puts(head, "\r\n")))
    return out_of_memory(reading);
  return 1;
}

/*
 * Reads a line into `reading->recording`, which is NULL afterwards when the
 * line is one that says what the file is; `*version` is what it says.
 */
static int read_line(struct reading *reading, oc_slice line,
                     int64_t *version) {
  oc_recording *recording = reading->recording;
  oc_slice body = { NULL, 0 };
  oc_buf headers;
  int has_request = 0;
  int has_response = 0;

  oc_json_init(&reading->json, line.text, line.len);
  if(!open_object(reading, "the line"))
    return 0;
  while(next_key(reading)) {
    if(is_key(reading, "request"))
      has_request = read_request(reading);
    else if(is_key(reading, "response"))
      has_response = read_response(reading, &body);
    else if(is_key(reading, "error"))
      has_response = read_error(reading);
    else if(is_key(reading, "ms"))
      read_times(reading);
    else if(is_key(reading, "at"))
      read_at(reading);
    else if(is_key(reading, "opperchat_tape"))
      read_number(reading, "opperchat_tape", 1e9, version);
    else
      skip(reading, NULL);
  }
  if(!reading->code && oc_json_next(&reading->json) != OC_JSON_END)
    refuse(reading, "not valid JSON", "one object expected");
  if(reading->code)
    return 0;
  if(!has_request && *version >= 0) {
    oc_recording_free(recording);
    reading->recording = NULL;
    return 1;
  }
  if(!has_request)
    return refuse(reading, "the line", "\"request\" expected");
  if(!has_response)
    return refuse(reading, "the line", "\"response\" or \"error\" expected");
  if(!recording->status && (recording->head.len || recording->count
                            || body.len))
    recording->status = 200;
  if(!complete(reading, body))
    return 0;
  if(!recording->status && !recording->head.len && !recording->count)
    return 1;
  headers = recording->head;
  oc_buf_init(&recording->head, SIZE_MAX / 4);
  frame_head(reading, &headers);
  oc_buf_free(&headers);
  return !reading->code;
}

oc_code oc_recording_read(oc_recording **recording, oc_slice line,
                          int64_t *version, char *what) {
  struct reading reading;
  memset(&reading, 0, sizeof reading);
  reading.recording = *recording;
  reading.what = what;
  read_line(&reading, line, version);
  *recording = reading.recording;
  return reading.code;
}
