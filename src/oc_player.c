#include "oc_player.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oc_alloc.h"
#include "oc_base64.h"
#include "oc_file.h"
#include "oc_recorder.h"
#include "oc_redact.h"
#include "oc_tree.h"

/* Largest tape. */
#define TAPE_MAX ((size_t)1 << 30)
#define AT_MAX 32
#define MAX_MS 1e12
/* Paths are shown up to here. */
#define PATH_SHOWN 200

struct piece {
  int64_t ms;
  size_t end;
  int is_same;                /* came together with the one before */
};

struct oc_recording {
  size_t line;
  size_t index;               /* where it stood on the tape */
  char at[AT_MAX];            /* when it was sent, "": not known */
  char *method;
  char *path;
  int attempt;
  oc_buf body;                /* canonical */
  uint64_t hash;              /* of the body */
  int has_holes;              /* "<redacted>" in it */
  int is_used;
  int status;
  int is_cut;                 /* the head has no end */
  oc_buf head;                /* lines, each with its "\r\n" */
  oc_buf bytes;
  struct piece *pieces;
  size_t count;
  size_t cap;
  oc_code error;
  char *message;
  int retryable;              /* below 0: not said */
  int64_t connect_ms;         /* the times: below 0: not known */
  int64_t first_ms;
  int64_t end_ms;
  int64_t retry_ms;
};

struct oc_player {
  oc_recording **list;
  size_t count;
  size_t cap;
  double speed;
  int in_order;
  char *name;                 /* the file's, without its folders */
};

/* {==== reading a line ==== */

/* A line being read; `what` says what is wrong with it. */
struct reading {
  oc_json json;
  oc_recording *recording;
  oc_code code;
  char what[OC_PROBLEM_MAX];
};

static int refuse(struct reading *reading, const char *place,
                  const char *wanted) {
  if(!reading->code) {
    reading->code = OC_E_BAD_LINE;
    snprintf(reading->what, sizeof reading->what, "%s: %s", place, wanted);
  }
  return 0;
}

static int out_of_memory(struct reading *reading) {
  if(!reading->code) {
    reading->code = OC_E_NOMEM;
    snprintf(reading->what, sizeof reading->what, "out of memory");
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
    struct piece *pieces = oc_realloc(recording->pieces,
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
    if(!read_number(reading, "response.chunks", MAX_MS, &ms))
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
      read_number(reading, "ms.connect", MAX_MS, &recording->connect_ms);
    else if(is_key(reading, "first_byte"))
      read_number(reading, "ms.first_byte", MAX_MS, &recording->first_ms);
    else if(is_key(reading, "end"))
      read_number(reading, "ms.end", MAX_MS, &recording->end_ms);
    else if(is_key(reading, "retry"))
      read_number(reading, "ms.retry", MAX_MS, &recording->retry_ms);
    else
      skip(reading, NULL);
  }
  return !reading->code;
}

static int read_at(struct reading *reading) {
  char *at = NULL;
  int worked = take_text(reading, "at", &at);
  if(worked)
    snprintf(reading->recording->at, AT_MAX, "%s", at);
  oc_free(at);
  return worked;
}

static uint64_t hash_of(const oc_buf *text) {
  uint64_t hash = 14695981039346656037u;
  size_t i;
  for(i = 0; i < text->len; i++)
    hash = (hash ^ (unsigned char)text->data[i]) * 1099511628211u;
  return hash;
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
  recording->hash = hash_of(&recording->body);
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

static void recording_free(oc_recording *recording) {
  oc_free(recording->method);
  oc_free(recording->path);
  oc_free(recording->pieces);
  oc_free(recording->message);
  oc_buf_free(&recording->body);
  oc_buf_free(&recording->head);
  oc_buf_free(&recording->bytes);
  oc_free(recording);
}

static oc_recording *recording_new(size_t line) {
  oc_recording *recording = oc_calloc(sizeof *recording);
  if(recording) {
    recording->line = line;
    recording->attempt = 1;
    recording->retryable = -1;
    recording->connect_ms = -1;
    recording->first_ms = -1;
    recording->end_ms = -1;
    recording->retry_ms = -1;
    oc_buf_init(&recording->body, SIZE_MAX / 4);
    oc_buf_init(&recording->head, SIZE_MAX / 4);
    oc_buf_init(&recording->bytes, SIZE_MAX / 4);
  }
  return recording;
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
    recording_free(recording);
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

/* }==== */

/* {==== the tape ==== */

static int add(oc_player *player, oc_recording *recording) {
  if(player->count == player->cap) {
    size_t cap = player->cap ? player->cap * 2 : 16;
    oc_recording **list = oc_realloc(player->list, cap * sizeof *list);
    if(!list)
      return 0;
    player->list = list;
    player->cap = cap;
  }
  recording->index = player->count;
  /* one that somebody has put in has its place where it stands */
  if(!recording->at[0] && player->count)
    memcpy(recording->at, player->list[player->count - 1]->at, AT_MAX);
  player->list[player->count++] = recording;
  return 1;
}

static int compare_times(const void *a, const void *b) {
  const oc_recording *one = *(oc_recording *const *)a;
  const oc_recording *other = *(oc_recording *const *)b;
  int order = strcmp(one->at, other->at);
  if(order)
    return order;
  return one->index < other->index ? -1 : one->index > other->index;
}

static oc_code read_tape(oc_player *player, const oc_buf *text,
                         char *problem) {
  const char *at = text->data;
  const char *end = at ? at + text->len : NULL;
  int64_t version = -1;
  size_t number = 0;

  while(at < end) {
    const char *line_end = memchr(at, '\n', (size_t)(end - at));
    struct reading reading;
    oc_slice line;
    line.text = at;
    line.len = line_end ? (size_t)(line_end - at) : (size_t)(end - at);
    at += line.len + 1;
    number++;
    while(line.len && memchr(" \t\r", line.text[line.len - 1], 3))
      line.len--;
    if(!line.len)
      continue;
    memset(&reading, 0, sizeof reading);
    reading.recording = recording_new(number);
    if(!reading.recording)
      return oc_file_fail(problem, OC_E_NOMEM, "out of memory");
    if(!read_line(&reading, line, &version)) {
      recording_free(reading.recording);
      if(version < 0 && reading.code == OC_E_BAD_LINE)
        break;
      return oc_file_fail(problem, reading.code, "line %lu: %s",
                          (unsigned long)number, reading.what);
    }
    if(version > OC_TAPE_VERSION) {
      if(reading.recording)
        recording_free(reading.recording);
      return oc_file_fail(problem, OC_E_BAD_VERSION, "line %lu: version "
                          "%lld, and not %d", (unsigned long)number,
                          (long long)version, OC_TAPE_VERSION);
    }
    if(version < 0) {
      recording_free(reading.recording);
      break;
    }
    if(reading.recording && !add(player, reading.recording)) {
      recording_free(reading.recording);
      return oc_file_fail(problem, OC_E_NOMEM, "out of memory");
    }
  }
  if(version < 0)
    return oc_file_fail(problem, OC_E_WRONG_TYPE, "no tape: its first line "
                        "has to be {\"opperchat_tape\":1}");
  if(player->count)
    qsort(player->list, player->count, sizeof *player->list, compare_times);
  return OC_OK;
}

oc_player *oc_player_open(const oc_player_options *options, oc_code *code,
                          char *problem) {
  const char *slash = strrchr(options->path, '/');
  const char *name = slash ? slash + 1 : options->path;
  oc_player *player = oc_calloc(sizeof *player);
  oc_buf text;

  if(player) {
    player->speed = options->speed;
    player->in_order = options->in_order;
    player->name = oc_strndup(name, strlen(name));
  }
  if(!player || !player->name) {
    oc_player_free(player);
    *code = oc_file_fail(problem, OC_E_NOMEM, "out of memory");
    return NULL;
  }
  oc_buf_init(&text, SIZE_MAX / 4);
  *code = oc_file_read(options->path, TAPE_MAX, &text, problem);
  if(!*code)
    *code = read_tape(player, &text, problem);
  oc_buf_free(&text);
  if(*code) {
    oc_player_free(player);
    return NULL;
  }
  return player;
}

void oc_player_free(oc_player *player) {
  if(!player)
    return;
  while(player->count)
    recording_free(player->list[--player->count]);
  oc_free(player->list);
  oc_free(player->name);
  oc_free(player);
}

/* }==== */

/* {==== matching ==== */

static int is_for(const oc_recording *recording,
                  const oc_player_request *request) {
  return !strcmp(recording->method, request->method)
         && !strcmp(recording->path, request->path);
}

/* A request as it is looked for. */
struct wanted {
  const oc_player_request *request;
  oc_tree tree;               /* of the body */
  int has_tree;
  oc_buf body;                /* canonical */
  uint64_t hash;
};

/* The canonical body as a tree; 0: out of memory. */
static int plant(oc_tree *tree, const oc_buf *body) {
  if(!oc_tree_read(tree, body->data, body->len))
    return 1;
  oc_tree_free(tree);
  return 0;
}

static int is_match(const oc_recording *recording, struct wanted *wanted) {
  oc_tree tree;
  int is_equal;
  if(!is_for(recording, wanted->request))
    return 0;
  if(recording->hash == wanted->hash
     && recording->body.len == wanted->body.len
     && (!wanted->body.len
         || !memcmp(recording->body.data, wanted->body.data,
                    wanted->body.len)))
    return 1;
  if(!recording->has_holes || !wanted->has_tree || !recording->body.len
     || !plant(&tree, &recording->body))
    return 0;
  is_equal = !oc_tree_compare(&tree, &wanted->tree, NULL);
  oc_tree_free(&tree);
  return is_equal;
}

static oc_code read_wanted(struct wanted *wanted) {
  const oc_player_request *request = wanted->request;
  oc_redact redact;
  oc_buf clean;
  oc_code code;

  if(!request->body.len) {
    wanted->hash = hash_of(&wanted->body);
    return OC_OK;
  }
  memset(&redact, 0, sizeof redact);
  if(request->key.len)
    oc_redact_add(&redact, request->key.text, request->key.len);
  oc_buf_init(&clean, SIZE_MAX / 4);
  code = oc_tree_clean(&redact, request->body.text, request->body.len,
                       &clean);
  if(!code) {
    code = oc_tree_read(&wanted->tree, clean.data, clean.len);
    wanted->has_tree = 1;
  }
  if(!code)
    code = oc_tree_write(&wanted->tree, &wanted->body);
  wanted->hash = hash_of(&wanted->body);
  oc_buf_free(&clean);
  return code;
}

/* The recording with the fewest differences; `where` gets the first. */
static const oc_recording *find_nearest(const oc_player *player,
                                        const struct wanted *wanted,
                                        oc_buf *where) {
  const oc_recording *nearest = NULL;
  size_t least = SIZE_MAX;
  size_t i;

  for(i = 0; i < player->count; i++) {
    const oc_recording *recording = player->list[i];
    oc_buf words;
    oc_tree tree;
    size_t found;
    if(!is_for(recording, wanted->request) || !recording->body.len
       || !wanted->has_tree || !plant(&tree, &recording->body))
      continue;
    oc_buf_init(&words, SIZE_MAX / 4);
    /* one that was played already is worth less than one that is left */
    found = oc_tree_compare(&tree, &wanted->tree, &words) * 2
            + (size_t)recording->is_used;
    if(found < least) {
      least = found;
      nearest = recording;
      oc_buf_clear(where);
      oc_buf_append(where, words.data, words.len);
    }
    oc_buf_free(&words);
    oc_tree_free(&tree);
  }
  return nearest;
}

static void tell(const oc_player *player, struct wanted *wanted,
                 size_t played, oc_error *error) {
  const oc_player_request *request = wanted->request;
  const oc_recording *nearest;
  oc_buf where;

  if(played) {
    oc_error_set(error, OC_E_NO_RECORDING,
                 "%s %.*s is on %s %lu time%s and was sent once more",
                 request->method, PATH_SHOWN, request->path, player->name,
                 (unsigned long)played, played > 1 ? "s" : "");
    return;
  }
  oc_buf_init(&where, SIZE_MAX / 4);
  nearest = find_nearest(player, wanted, &where);
  if(nearest)
    oc_error_set(error, OC_E_NO_RECORDING,
                 "%s %.*s is not on %s; the nearest, line %lu%s, differs in "
                 "%.*s", request->method, PATH_SHOWN, request->path,
                 player->name, (unsigned long)nearest->line,
                 nearest->is_used ? " (played already)" : "",
                 (int)where.len, where.data ? where.data : "");
  else
    oc_error_set(error, OC_E_NO_RECORDING, "%s %.*s is not on %s",
                 request->method, PATH_SHOWN, request->path, player->name);
  oc_buf_free(&where);
}

const oc_recording *oc_player_find(oc_player *player,
                                   const oc_player_request *request,
                                   oc_error *error) {
  struct wanted wanted;
  oc_recording *found = NULL;
  size_t played = 0;
  size_t i;
  oc_code code;

  memset(&wanted, 0, sizeof wanted);
  wanted.request = request;
  oc_buf_init(&wanted.body, SIZE_MAX / 4);
  code = read_wanted(&wanted);
  for(i = 0; !code && i < player->count; i++) {
    oc_recording *recording = player->list[i];
    if(player->in_order ? !is_for(recording, request)
                        : !is_match(recording, &wanted))
      continue;
    if(recording->is_used) {
      played++;
      continue;
    }
    if(!found)
      found = recording;
    /* of requests of the same text each gets its own attempts */
    if(player->in_order || recording->attempt == request->attempt) {
      found = recording;
      break;
    }
  }
  if(found)
    found->is_used = 1;
  else if(code)
    oc_error_set(error, code, "%s", oc_code_message(code));
  else
    tell(player, &wanted, played, error);
  if(wanted.has_tree)
    oc_tree_free(&wanted.tree);
  oc_buf_free(&wanted.body);
  return found;
}

const oc_recording *oc_player_left(const oc_player *player, size_t *at) {
  while(*at < player->count) {
    const oc_recording *recording = player->list[(*at)++];
    if(!recording->is_used)
      return recording;
  }
  return NULL;
}

/* }==== */

/* {==== a recording ==== */

size_t oc_recording_line(const oc_recording *recording) {
  return recording->line;
}

const char *oc_recording_method(const oc_recording *recording) {
  return recording->method;
}

const char *oc_recording_path(const oc_recording *recording) {
  return recording->path;
}

int oc_recording_attempt(const oc_recording *recording) {
  return recording->attempt;
}

oc_slice oc_recording_body(const oc_recording *recording) {
  oc_slice body;
  body.text = recording->body.data;
  body.len = recording->body.len;
  return body;
}

int oc_recording_status(const oc_recording *recording) {
  return recording->status;
}

double oc_recording_connect(const oc_recording *recording) {
  return recording->connect_ms < 0 ? -1 : (double)recording->connect_ms
                                          / 1000;
}

int oc_recording_head(const oc_recording *recording, size_t *at,
                      oc_slice *line) {
  const oc_buf *head = &recording->head;
  const char *end;
  if(*at >= head->len)
    return 0;
  line->text = head->data + *at;
  end = memchr(line->text, '\n', head->len - *at);
  line->len = end ? (size_t)(end - line->text) + 1 : head->len - *at;
  *at += line->len;
  return 1;
}

size_t oc_recording_pieces(const oc_recording *recording) {
  return recording->count;
}

int oc_recording_is_same(const oc_recording *recording, size_t index) {
  return index < recording->count && recording->pieces[index].is_same;
}

oc_slice oc_recording_piece(const oc_recording *recording, size_t index) {
  size_t from = index ? recording->pieces[index - 1].end : 0;
  oc_slice piece;
  piece.text = recording->bytes.data + from;
  piece.len = recording->pieces[index].end - from;
  return piece;
}

oc_code oc_recording_error(const oc_recording *recording,
                           const char **message, int *retryable) {
  *retryable = recording->retryable;
  *message = recording->message ? recording->message
                                : oc_code_message(recording->error);
  return recording->error;
}

int64_t oc_player_scale(const oc_player *player, int64_t ms) {
  double scaled;
  if(player->speed <= 0)
    return 0;
  scaled = (double)ms / player->speed;
  return scaled < MAX_MS ? (int64_t)(scaled + 0.5) : (int64_t)MAX_MS;
}

int oc_player_is_instant(const oc_player *player) {
  return player->speed <= 0;
}

int64_t oc_recording_due(const oc_player *player,
                         const oc_recording *recording, size_t index) {
  int64_t ms = recording->end_ms;
  if(index < recording->count)
    ms = recording->pieces[index].ms;
  else if(recording->count
          && ms < recording->pieces[recording->count - 1].ms)
    ms = recording->pieces[recording->count - 1].ms;
  return oc_player_scale(player, ms);
}

int64_t oc_recording_head_due(const oc_player *player,
                              const oc_recording *recording) {
  int64_t first = oc_recording_due(player, recording, 0);
  int64_t ms = recording->first_ms < 0
               ? first : oc_player_scale(player, recording->first_ms);
  return ms < first ? ms : first;
}

int oc_recording_ends_with_piece(const oc_recording *recording) {
  return recording->count
         && recording->end_ms <= recording->pieces[recording->count - 1].ms;
}

int64_t oc_recording_retry(const oc_recording *recording) {
  return recording->retry_ms;
}

/* }==== */
