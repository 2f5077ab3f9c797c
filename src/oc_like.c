#include "oc_like.h"

#include <string.h>

/* How an event begins and ends whose data is the chunk. */
static const char field[] = "data: ";
static const char blank[] = "\n\n";

#define FIELD_LEN (sizeof field - 1)
#define BLANK_LEN (sizeof blank - 1)

void oc_like_init(oc_like *like, size_t max) {
  oc_buf_init(&like->chunk, max);
  like->at = 0;
  like->behind = 0;
  like->is_line = 0;
}

void oc_like_free(oc_like *like) {
  oc_buf_free(&like->chunk);
}

void oc_like_forget(oc_like *like) {
  oc_buf_clear(&like->chunk);
}

void oc_like_remember(oc_like *like, const char *chunk, size_t len,
                      oc_slice string) {
  oc_like_forget(like);
  like->at = (size_t)(string.text - chunk);
  like->behind = len - like->at - string.len;
  /* data of several lines is joined by LF, with a field name in each */
  like->is_line = !memchr(chunk, '\n', len) && !memchr(chunk, '\r', len);
  /* without memory for it the next chunk takes the long road */
  oc_buf_append(&like->chunk, chunk, len);
}

/* The end of the chunk that begins at `at`, if it is one; else NULL. */
static const char *match(const oc_like *like, const char *at,
                         const char *end, oc_slice *string,
                         oc_letters *letters) {
  const char *chunk = like->chunk.data;
  const char *quote;

  if(!like->chunk.len || (size_t)(end - at) < like->at + like->behind
     || memcmp(at, chunk, like->at))
    return NULL;
  at += like->at;
  quote = oc_json_string_end(at, end, letters);
  if(!quote || (size_t)(end - quote) < like->behind
     || memcmp(quote, chunk + like->chunk.len - like->behind, like->behind))
    return NULL;
  string->text = at;
  string->len = (size_t)(quote - at);
  return quote + like->behind;
}

int oc_like_matches(const oc_like *like, const char *chunk, size_t len,
                    oc_slice *string, oc_letters *letters) {
  const char *end = chunk + len;
  return match(like, chunk, end, string, letters) == end && len;
}

size_t oc_like_event(const oc_like *like, const char *bytes, size_t len,
                     oc_slice *string, oc_letters *letters) {
  const char *end = bytes + len;
  const char *at;

  if(!like->is_line || len < FIELD_LEN || memcmp(bytes, field, FIELD_LEN))
    return 0;
  at = match(like, bytes + FIELD_LEN, end, string, letters);
  if(!at || (size_t)(end - at) < BLANK_LEN || memcmp(at, blank, BLANK_LEN))
    return 0;
  return (size_t)(at - bytes) + BLANK_LEN;
}
