/* Exchanges one after another, with the easy interface. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "floor.h"

struct buffer {
  char *data;
  size_t len;
  size_t cap;
};

static void append(struct buffer *buffer, const char *bytes, size_t len) {
  if(buffer->len + len > buffer->cap) {
    buffer->cap = (buffer->len + len) * 2;
    buffer->data = realloc(buffer->data, buffer->cap);
    if(!buffer->data)
      die("out of memory");
  }
  memcpy(buffer->data + buffer->len, bytes, len);
  buffer->len += len;
}

static struct buffer read_file(const char *path) {
  struct buffer buffer = { NULL, 0, 0 };
  char bytes[65536];
  size_t n;
  FILE *file = fopen(path, "rb");

  if(!file)
    die("cannot open the body file");
  while((n = fread(bytes, 1, sizeof(bytes), file)) > 0)
    append(&buffer, bytes, n);
  fclose(file);
  return buffer;
}

static size_t collect(char *bytes, size_t size, size_t len, void *to) {
  append(to, bytes, size * len);
  return size * len;
}

void floor_posts(long times, const char *path, const char *url) {
  struct buffer body = read_file(path);
  struct buffer answer = { NULL, 0, 0 };
  struct curl_slist *headers = make_headers();
  CURL *easy = make_post(url, headers, body.data, body.len);
  struct spent start;
  long i;

  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, collect);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &answer);
  start = spent_now();
  for(i = 0; i < times; i++) {
    answer.len = 0;
    check(easy, curl_easy_perform(easy));
    if(!answer.len || answer.data[answer.len - 1] != '}')
      die("the answer is not whole");
  }
  print_spent(start);
  curl_easy_cleanup(easy);
  curl_slist_free_all(headers);
  free(answer.data);
  free(body.data);
}

void floor_burst(const char *url) {
  struct curl_slist *headers = make_headers();
  size_t bytes = 0;
  CURL *easy = make_stream(url, headers, &bytes);
  struct spent start = spent_now();

  check(easy, curl_easy_perform(easy));
  print_spent(start);
  if(!bytes)
    die("the stream is empty");
  curl_easy_cleanup(easy);
  curl_slist_free_all(headers);
}
