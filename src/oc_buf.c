#include "oc_buf.h"

#include <string.h>

#include "oc_alloc.h"

void oc_buf_init(oc_buf *buf, size_t max) {
  buf->data = NULL;
  buf->len = 0;
  buf->cap = 0;
  buf->max = max;
}

void oc_buf_free(oc_buf *buf) {
  oc_free(buf->data);
  oc_buf_init(buf, buf->max);
}

void oc_buf_clear(oc_buf *buf) {
  buf->len = 0;
}

oc_code oc_buf_reserve(oc_buf *buf, size_t more) {
  size_t need;
  size_t cap;
  char *data;

  if(buf->len > buf->max || more > buf->max - buf->len)
    return OC_E_TOO_LARGE;
  need = buf->len + more;
  if(need <= buf->cap)
    return OC_OK;
  cap = buf->cap ? buf->cap : buf->max < 64 ? buf->max : 64;
  while(cap < need)
    cap = cap > buf->max / 2 ? buf->max : cap * 2;
  data = oc_realloc(buf->data, cap);
  if(!data)
    return OC_E_NOMEM;
  oc_expect_large(data, cap);
  buf->data = data;
  buf->cap = cap;
  return OC_OK;
}

oc_code oc_buf_append(oc_buf *buf, const void *bytes, size_t len) {
  /* the memory may be a byte larger than the maximum, see oc_buf_cstr() */
  if(len > buf->cap - buf->len || len > buf->max - buf->len) {
    oc_code code = oc_buf_reserve(buf, len);
    if(code)
      return code;
  }
  if(len)
    memcpy(buf->data + buf->len, bytes, len);
  buf->len += len;
  return OC_OK;
}

oc_code oc_buf_puts(oc_buf *buf, const char *text) {
  return oc_buf_append(buf, text, strlen(text));
}

oc_code oc_buf_putc(oc_buf *buf, char byte) {
  return oc_buf_append(buf, &byte, 1);
}

void oc_buf_consume(oc_buf *buf, size_t len) {
  if(len >= buf->len) {
    buf->len = 0;
    return;
  }
  memmove(buf->data, buf->data + len, buf->len - len);
  buf->len -= len;
}

const char *oc_buf_cstr(oc_buf *buf) {
  /* the terminator is not content and may stand one past the maximum */
  if(buf->len == buf->cap) {
    char *data = oc_realloc(buf->data, buf->cap + 1);
    if(!data)
      return NULL;
    buf->data = data;
    buf->cap++;
  }
  buf->data[buf->len] = '\0';
  return buf->data;
}

char *oc_buf_take(oc_buf *buf, size_t *len) {
  char *data = oc_realloc(buf->data, buf->len);
  if(!data)
    data = buf->data;
  *len = buf->len;
  oc_buf_init(buf, buf->max);
  return data;
}
