#include "oc_recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "oc_alloc.h"
#include "oc_base64.h"
#include "oc_clock.h"
#include "oc_redact.h"
#include "oc_tree.h"
#include "oc_utf8.h"

/* Pieces of what is no stream that come within so many ms are one. */
#define TOGETHER_MS 100

struct oc_recorder {
  int fd;
  char *key;                  /* owned; NULL: none */
  size_t key_len;
  int64_t last_us;            /* when the last attempt began */
  int has_problem;
  char problem[OC_PROBLEM_MAX];
};

/* A piece of the body as libcurl handed it over, and where it ends. */
struct piece {
  int64_t ms;
  size_t end;
  int is_same;                /* seen together with the one before */
};

struct oc_take {
  oc_recorder *recorder;
  int64_t at_us;              /* of the wall clock */
  int64_t sent_us;
  oc_buf bytes;
  struct piece *pieces;
  size_t count;
  size_t cap;
  int is_broken;              /* out of memory: not all of it is there */
};

/* {==== the file ==== */

void oc_recorder_forget(oc_recorder *recorder) {
  if(recorder && recorder->key) {
    oc_wipe(recorder->key, recorder->key_len);
    oc_free(recorder->key);
    recorder->key = NULL;
    recorder->key_len = 0;
  }
}

void oc_recorder_free(oc_recorder *recorder) {
  if(!recorder)
    return;
  if(recorder->fd >= 0)
    close(recorder->fd);
  if(recorder->key)
    oc_wipe(recorder->key, recorder->key_len);
  oc_free(recorder->key);
  oc_free(recorder);
}

const char *oc_recorder_problem(const oc_recorder *recorder) {
  return recorder->has_problem ? recorder->problem : NULL;
}

static void note_problem(oc_recorder *recorder, int number) {
  if(recorder->has_problem)
    return;
  recorder->has_problem = 1;
  if(number)
    oc_file_fail_errno(recorder->problem, OC_E_WRITE, "cannot be written",
                       number);
  else
    oc_file_fail(recorder->problem, OC_E_NOMEM, "out of memory");
}

static int lock(int fd, int operation) {
  int failed;
  do
    failed = flock(fd, operation);
  while(failed && errno == EINTR);
  return failed;
}

/* What has to stand before the next line of the file as it is now. */
static const char *prefix_of(int fd, off_t size) {
  char last = '\n';
  if(!size)
    return "{\"opperchat_tape\":1}\n";
  /* somebody's editor has left off the end of the last line */
  if(pread(fd, &last, 1, size - 1) == 1 && last != '\n')
    return "\n";
  return "";
}

/*
 * Adds a line, all of it or nothing, with one write; NULL: a new file gets
 * its first line, and that is all. 0 or an errno.
 */
static int write_line(oc_recorder *recorder, const oc_buf *line) {
  struct stat status;
  oc_buf whole;
  int number = 0;

  /* not waited for, since a poll may not block: one write with O_APPEND
     keeps lines apart where there is no lock, too */
  lock(recorder->fd, LOCK_EX | LOCK_NB);
  oc_buf_init(&whole, SIZE_MAX / 4);
  if(fstat(recorder->fd, &status))
    number = errno;
  else if((line || !status.st_size)
          && (oc_buf_puts(&whole, prefix_of(recorder->fd, status.st_size))
              || (line && (oc_buf_append(&whole, line->data, line->len)
                           || oc_buf_putc(&whole, '\n')))))
    number = ENOMEM;
  else if(whole.len) {
    number = oc_file_write(recorder->fd, whole.data, whole.len);
    if(number && ftruncate(recorder->fd, status.st_size)) {
      /* a part of a line stays: the next one begins on its own */
    }
  }
  oc_buf_free(&whole);
  lock(recorder->fd, LOCK_UN);
  return number;
}

oc_recorder *oc_recorder_open(const char *path, const char *key,
                              size_t key_len, oc_code *code, char *problem) {
  struct stat status;
  oc_recorder *recorder = oc_calloc(sizeof *recorder);
  int number;

  if(!recorder) {
    *code = oc_file_fail(problem, OC_E_NOMEM, "out of memory");
    return NULL;
  }
  *code = OC_OK;
  recorder->fd = oc_file_open(path, O_RDWR | O_APPEND | O_CREAT, OC_E_WRITE,
                              &status, code, problem);
  if(recorder->fd >= 0 && key) {
    recorder->key = oc_strndup(key, key_len);
    recorder->key_len = key_len;
    if(!recorder->key)
      *code = oc_file_fail(problem, OC_E_NOMEM, "out of memory");
  }
  if(recorder->fd >= 0 && !*code) {
    number = write_line(recorder, NULL);
    if(number)
      *code = oc_file_fail_errno(problem, OC_E_WRITE, "cannot be written",
                                 number);
  }
  if(*code) {
    oc_recorder_free(recorder);
    return NULL;
  }
  return recorder;
}

/* }==== */

/* {==== a take ==== */

oc_take *oc_take_new(oc_recorder *recorder, int64_t now_us) {
  struct timespec now;
  oc_take *take = oc_calloc(sizeof *take);

  if(!take) {
    note_problem(recorder, 0);
    return NULL;
  }
  take->recorder = recorder;
  take->sent_us = now_us;
  oc_buf_init(&take->bytes, SIZE_MAX / 4);
  clock_gettime(CLOCK_REALTIME, &now);
  take->at_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
  /* two that began one after the other are told apart */
  if(take->at_us <= recorder->last_us)
    take->at_us = recorder->last_us + 1;
  recorder->last_us = take->at_us;
  return take;
}

void oc_take_bytes(oc_take *take, const char *bytes, size_t len,
                   int64_t now_us, int is_same) {
  int64_t ms = (now_us - take->sent_us) / OC_MS;
  struct piece *piece;

  if(take->is_broken)
    return;
  if(oc_buf_append(&take->bytes, bytes, len)) {
    take->is_broken = 1;
    return;
  }
  if(take->count == take->cap) {
    size_t cap = take->cap ? take->cap * 2 : 16;
    struct piece *pieces = oc_realloc(take->pieces, cap * sizeof *pieces);
    if(!pieces) {
      take->is_broken = 1;
      return;
    }
    take->pieces = pieces;
    take->cap = cap;
  }
  piece = &take->pieces[take->count];
  piece->is_same = is_same && take->count;
  piece->ms = piece->is_same ? piece[-1].ms : ms < 0 ? 0 : ms;
  piece->end = take->bytes.len;
  take->count++;
}

/* Puts together what nobody could have seen apart. */
static void join_pieces(oc_take *take) {
  size_t i;
  for(i = 1; i < take->count; i++) {
    struct piece *piece = &take->pieces[i];
    piece->is_same = piece->ms - piece[-1].ms <= TOGETHER_MS;
    if(piece->is_same)
      piece->ms = piece[-1].ms;
  }
}

/* Whether all of it was seen together. */
static int is_one(const oc_take *take) {
  size_t i;
  for(i = 1; i < take->count; i++) {
    if(!take->pieces[i].is_same)
      return 0;
  }
  return take->count > 0;
}

/* }==== */

/* {==== the line ==== */

static oc_code put_integer(oc_buf *out, const char *prefix, int64_t number) {
  char text[96];
  snprintf(text, sizeof text, "%s%lld", prefix, (long long)number);
  return oc_buf_puts(out, text);
}

/* A JSON string of any bytes, without secrets. */
static oc_code put_text(const oc_redact *redact, oc_buf *out,
                        const char *text, size_t len) {
  oc_buf clean;
  oc_buf valid;
  oc_code code;
  oc_buf_init(&clean, SIZE_MAX / 4);
  oc_buf_init(&valid, SIZE_MAX / 4);
  code = oc_redact_append(redact, &clean, text, len);
  if(!code && clean.len)
    code = oc_utf8_sanitize(&valid, clean.data, clean.len);
  if(!code)
    code = oc_json_write_string(out, valid.data ? valid.data : "",
                                valid.len);
  oc_buf_free(&clean);
  oc_buf_free(&valid);
  return code;
}

static oc_code put_time(oc_buf *out, int64_t us) {
  char text[64];
  time_t seconds = (time_t)(us / 1000000);
  struct tm parts;
  size_t len;
  gmtime_r(&seconds, &parts);
  len = strftime(text, sizeof text, "{\"at\":\"%Y-%m-%dT%H:%M:%S", &parts);
  snprintf(text + len, sizeof text - len, ".%06ldZ\"", (long)(us % 1000000));
  return oc_buf_puts(out, text);
}

/* A line of a head taken apart. */
struct header {
  oc_slice name;
  oc_slice value;
};

static int read_header(oc_slice line, struct header *header) {
  const char *colon = memchr(line.text, ':', line.len);
  const char *end = line.text + line.len;
  if(!colon || colon == line.text)
    return 0;
  header->name.text = line.text;
  header->name.len = (size_t)(colon - line.text);
  for(colon++; colon < end && memchr(" \t", *colon, 2); colon++) {
  }
  while(end > colon && memchr(" \t\r\n", end[-1], 4))
    end--;
  header->value.text = colon;
  header->value.len = (size_t)(end - colon);
  return 1;
}

static int is_name(oc_slice name, const char *other) {
  return name.len == strlen(other) && !strncasecmp(name.text, other,
                                                   name.len);
}

/* Headers of a request that tell something and give nothing away. */
static int is_harmless(oc_slice name) {
  return is_name(name, "content-type") || is_name(name, "accept")
         || is_name(name, "x-opper-name") || is_name(name, "x-opper-tags");
}

/* Names are written in lower case, as HTTP/2 has them. */
static oc_code put_name(const oc_redact *redact, oc_buf *out,
                        oc_slice name) {
  size_t from = out->len;
  oc_code code = put_text(redact, out, name.text, name.len);
  for(; !code && from < out->len; from++) {
    if(out->data[from] >= 'A' && out->data[from] <= 'Z')
      out->data[from] = (char)(out->data[from] + ('a' - 'A'));
  }
  return code ? code : oc_buf_putc(out, ':');
}

static oc_code put_request_headers(const oc_redact *redact, oc_buf *out,
                                   const struct curl_slist *headers) {
  int count = 0;
  oc_code code = oc_buf_puts(out, ",\"headers\":{");
  for(; !code && headers; headers = headers->next) {
    struct header header;
    oc_slice line;
    line.text = headers->data;
    line.len = strlen(line.text);
    if(!read_header(line, &header) || !is_harmless(header.name))
      continue;
    if(count++)
      code = oc_buf_putc(out, ',');
    if(!code)
      code = put_name(redact, out, header.name);
    if(!code)
      code = put_text(redact, out, header.value.text, header.value.len);
  }
  return code ? code : oc_buf_putc(out, '}');
}

/* The next line of a head; 0: there is none. */
static int next_line(const oc_buf *head, size_t *at, oc_slice *line) {
  const char *end;
  if(*at >= head->len)
    return 0;
  line->text = head->data + *at;
  end = memchr(line->text, '\n', head->len - *at);
  line->len = end ? (size_t)(end - line->text) + 1 : head->len - *at;
  *at += line->len;
  return 1;
}

/*
 * Headers of the response, as they came but for those that may hold
 * secrets. One that comes several times has a list of values.
 */
static oc_code put_response_headers(const oc_redact *redact, oc_buf *out,
                                    const oc_take_end *end) {
  const oc_buf *head = &end->response->head;
  int is_first = 1;
  size_t at = 0;
  oc_slice line;
  oc_code code = oc_buf_puts(out, ",\"headers\":{");

  while(!code && next_line(head, &at, &line)) {
    struct header header;
    struct header other;
    size_t later = 0;
    size_t own = at - line.len;
    int values = 0;
    int is_known = 0;
    if(!read_header(line, &header)
       || oc_redact_is_secret_name(header.name.text, header.name.len))
      continue;
    while(next_line(head, &later, &line) && !is_known) {
      if(read_header(line, &other) && other.name.len == header.name.len
         && !strncasecmp(other.name.text, header.name.text, other.name.len)) {
        is_known = later - line.len < own;
        values++;
      }
    }
    if(is_known)
      continue;
    if(!is_first)
      code = oc_buf_putc(out, ',');
    is_first = 0;
    if(!code)
      code = put_name(redact, out, header.name);
    if(end->location && is_name(header.name, "location")) {
      if(!code)
        code = put_text(redact, out, end->location, strlen(end->location));
      continue;
    }
    if(!code && values > 1)
      code = oc_buf_putc(out, '[');
    later = own;
    values = 0;
    while(!code && next_line(head, &later, &line)) {
      if(!read_header(line, &other) || other.name.len != header.name.len
         || strncasecmp(other.name.text, header.name.text, other.name.len))
        continue;
      if(values++)
        code = oc_buf_putc(out, ',');
      if(!code)
        code = put_text(redact, out, other.value.text, other.value.len);
    }
    if(!code && values > 1)
      code = oc_buf_putc(out, ']');
  }
  return code ? code : oc_buf_putc(out, '}');
}

/* Parts of a piece that is not all text: more of them are all base64. */
#define PARTS_MAX 8

static oc_code put_base64(oc_buf *out, const char *bytes, size_t len) {
  oc_base64 encoder;
  oc_code code = oc_buf_puts(out, "{\"base64\":\"");
  oc_base64_begin(&encoder);
  if(!code)
    code = oc_base64_append(&encoder, out, bytes, len);
  if(!code)
    code = oc_base64_end(&encoder, out);
  return code ? code : oc_buf_puts(out, "\"}");
}

/* Bytes at the beginning that are no text. */
static size_t no_text(const char *bytes, size_t len) {
  size_t i = 1;
  while(i < len && !oc_utf8_valid_prefix(bytes + i, len - i < 4 ? len - i
                                                                : 4))
    i++;
  return i;
}

/*
 * Bytes of one piece as the parts they are written in: texts, and between
 * them what is no UTF-8, such as half a character at the end.
 */
static oc_code put_bytes(oc_buf *out, const char *bytes, size_t len) {
  size_t start = out->len;
  size_t at = 0;
  int parts = 0;
  oc_code code = OC_OK;
  if(!len)
    return oc_buf_puts(out, ",\"\"");
  while(!code && at < len) {
    size_t count = oc_utf8_valid_prefix(bytes + at, len - at);
    if(parts++ == PARTS_MAX) {
      out->len = start;
      at = 0;
      count = len;
    }
    code = oc_buf_putc(out, ',');
    if(!code && count && parts <= PARTS_MAX)
      code = oc_json_write_string(out, bytes + at, count);
    else if(!code) {
      count = count ? count : no_text(bytes + at, len - at);
      code = put_base64(out, bytes + at, count);
    }
    at += count;
  }
  return code;
}

static oc_code clean_bytes(const oc_take *take, const unsigned char *marks,
                           size_t from, size_t to, oc_buf *out) {
  oc_code code = OC_OK;
  oc_buf_clear(out);
  while(!code && from < to) {
    size_t end = from;
    while(end < to && !marks[end])
      end++;
    code = oc_buf_append(out, take->bytes.data + from, end - from);
    if(!code && end < to && marks[end] == 1)
      code = oc_buf_puts(out, OC_REDACTED);
    from = end + 1;
  }
  return code;
}

/* Deepest body that stands in a line as it is: there are levels around it. */
#define BODY_DEPTH 256

/* Whether a text can stand in the line as it is. */
static int is_json_line(const oc_buf *text) {
  oc_json reader;
  int depth = 0;
  if(!text->len || memchr(text->data, '\n', text->len)
     || memchr(text->data, '\r', text->len)
     || memchr(" \t", text->data[0], 2)
     || memchr(" \t", text->data[text->len - 1], 2))
    return 0;
  oc_json_init(&reader, text->data, text->len);
  while(depth < BODY_DEPTH && oc_json_next(&reader) > OC_JSON_END) {
    if(reader.token == OC_JSON_OBJECT || reader.token == OC_JSON_ARRAY)
      depth++;
    else if(reader.token == OC_JSON_OBJECT_END
            || reader.token == OC_JSON_ARRAY_END)
      depth--;
  }
  return reader.token == OC_JSON_END;
}

static oc_code put_pieces(const oc_redact *redact, const oc_take *take,
                          oc_buf *out, int is_stream) {
  unsigned char *marks;
  oc_buf clean;
  size_t from = 0;
  size_t i;
  oc_code code;

  if(!take->count)
    return OC_OK;
  marks = oc_malloc(take->bytes.len);
  if(!marks)
    return OC_E_NOMEM;
  oc_buf_init(&clean, SIZE_MAX / 4);
  code = oc_redact_mark(redact, take->bytes.data, take->bytes.len, marks);
  if(!code && !is_stream && is_one(take)) {
    code = clean_bytes(take, marks, 0, take->bytes.len, &clean);
    if(!code && is_json_line(&clean)) {
      code = oc_buf_puts(out, ",\"body\":");
      if(!code)
        code = oc_buf_append(out, clean.data, clean.len);
      goto done;
    }
  }
  for(i = 0; !code && i < take->count; i++) {
    const struct piece *piece = &take->pieces[i];
    if(!piece->is_same)
      code = put_integer(out, i ? "],[" : ",\"chunks\":[[", piece->ms);
    if(!code)
      code = clean_bytes(take, marks, from, piece->end, &clean);
    if(!code)
      code = put_bytes(out, clean.data ? clean.data : "", clean.len);
    from = piece->end;
  }
  if(!code)
    code = oc_buf_puts(out, "]]");
done:
  oc_free(marks);
  oc_buf_free(&clean);
  return code;
}

static oc_code put_request(const oc_redact *redact, oc_buf *out,
                           const oc_take_end *end) {
  oc_code code = oc_buf_puts(out, ",\"request\":{\"method\":\"");
  if(!code)
    code = oc_buf_puts(out, end->method);
  if(!code)
    code = oc_buf_puts(out, "\",\"path\":");
  if(!code)
    code = put_text(redact, out, end->path, strlen(end->path));
  if(!code)
    code = put_integer(out, ",\"attempt\":", end->attempt);
  if(!code)
    code = put_request_headers(redact, out, end->headers);
  if(!code && end->body) {
    oc_buf body;
    oc_buf_init(&body, SIZE_MAX / 4);
    code = oc_body_print(end->body, &body);
    if(!code)
      code = oc_buf_puts(out, ",\"body\":");
    if(!code)
      code = oc_tree_clean(redact, body.data, body.len, out);
    oc_buf_free(&body);
  }
  return code ? code : oc_buf_putc(out, '}');
}

static oc_code put_response(const oc_redact *redact, oc_buf *out,
                            const oc_take *take, const oc_take_end *end) {
  const oc_buf *head = &end->response->head;
  oc_code code;
  if(!end->status && !head->len && !take->count)
    return OC_OK;
  code = put_integer(out, ",\"response\":{\"status\":",
                     end->status);
  if(!code && !end->response->has_head)
    code = oc_buf_puts(out, ",\"is_cut\":true");
  if(!code && head->len > 5 && !memcmp(head->data, "HTTP/", 5)) {
    const char *space = memchr(head->data, ' ', head->len);
    code = oc_buf_puts(out, ",\"http\":");
    if(!code)
      code = put_text(redact, out, head->data + 5,
                      space ? (size_t)(space - head->data) - 5 : 0);
  }
  if(!code)
    code = put_response_headers(redact, out, end);
  if(!code)
    code = put_pieces(redact, take, out, end->is_stream);
  return code ? code : oc_buf_putc(out, '}');
}

static oc_code put_error(const oc_redact *redact, oc_buf *out,
                         const oc_error *error) {
  const char *message = oc_error_message(error);
  oc_code code = oc_buf_puts(out, ",\"error\":{\"code\":\"");
  if(!code)
    code = oc_buf_puts(out, oc_code_name(error->code));
  if(!code)
    code = oc_buf_puts(out, "\",\"message\":");
  if(!code)
    code = put_text(redact, out, message, strlen(message));
  if(!code)
    code = oc_buf_puts(out, error->retryable ? ",\"retryable\":true}"
                                             : ",\"retryable\":false}");
  return code;
}

/* When it ended: together with the last piece, or behind it. */
static int64_t end_ms(const oc_take *take, const oc_take_end *end) {
  int64_t ms = (end->now_us - take->sent_us) / OC_MS;
  int64_t last = take->count ? take->pieces[take->count - 1].ms : -1;
  if(take->count && end->is_same)
    return last;
  return ms > last ? ms : last + 1;
}

static oc_code put_times(oc_buf *out, const oc_take *take,
                         const oc_take_end *end) {
  oc_code code = put_integer(out, ",\"ms\":{\"end\":", end_ms(take, end));
  if(!code && end->connect >= 0)
    code = put_integer(out, ",\"connect\":",
                       (int64_t)(end->connect * 1000));
  if(!code && end->first_byte > 0) {
    int64_t ms = (int64_t)(end->first_byte * 1000);
    if(take->count && ms > take->pieces[0].ms)
      ms = take->pieces[0].ms;
    code = put_integer(out, ",\"first_byte\":", ms);
  }
  if(!code && end->retry_ms >= 0)
    code = put_integer(out, ",\"retry\":", end->retry_ms);
  return code ? code : oc_buf_puts(out, "}}");
}

void oc_take_finish(oc_take *take, const oc_take_end *end) {
  oc_recorder *recorder = take->recorder;
  const struct curl_slist *header;
  oc_redact redact;
  oc_buf line;
  oc_code code;
  int number;

  memset(&redact, 0, sizeof redact);
  if(recorder->key)
    oc_redact_add(&redact, recorder->key, recorder->key_len);
  for(header = end->headers; header; header = header->next)
    oc_redact_add_header(&redact, header->data);
  oc_buf_init(&line, SIZE_MAX / 4);
  /* of what is no stream, only a long pause can be noticed */
  if(!end->is_stream)
    join_pieces(take);
  code = take->is_broken ? OC_E_NOMEM : put_time(&line, take->at_us);
  if(!code)
    code = put_request(&redact, &line, end);
  if(!code)
    code = put_response(&redact, &line, take, end);
  if(!code && end->error)
    code = put_error(&redact, &line, end->error);
  if(!code)
    code = put_times(&line, take, end);
  if(code)
    note_problem(recorder, code == OC_E_NOMEM ? 0 : EINVAL);
  else {
    number = write_line(recorder, &line);
    if(number)
      note_problem(recorder, number);
  }
  oc_buf_free(&line);
  oc_buf_free(&take->bytes);
  oc_free(take->pieces);
  oc_free(take);
}

/* }==== */
