#include "oc_player_private.h"

#include <string.h>

#include "oc_alloc.h"

oc_recording *oc_recording_new(size_t line) {
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

void oc_recording_free(oc_recording *recording) {
  oc_free(recording->method);
  oc_free(recording->path);
  oc_free(recording->pieces);
  oc_free(recording->message);
  oc_buf_free(&recording->body);
  oc_buf_free(&recording->head);
  oc_buf_free(&recording->bytes);
  oc_free(recording);
}

uint64_t oc_recording_hash(const oc_buf *body) {
  uint64_t hash = 14695981039346656037u;
  size_t i;
  for(i = 0; i < body->len; i++)
    hash = (hash ^ (unsigned char)body->data[i]) * 1099511628211u;
  return hash;
}

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

int oc_recording_ends_with_piece(const oc_recording *recording) {
  return recording->count
         && recording->end_ms <= recording->pieces[recording->count - 1].ms;
}

int64_t oc_recording_retry(const oc_recording *recording) {
  return recording->retry_ms;
}
