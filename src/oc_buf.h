/*
 * oc_buf: growable bytes with a mandatory maximum.
 *
 * A buffer starts empty and without memory; it doubles as it grows and
 * refuses, unchanged, what would take it over its maximum. The bytes are
 * not NUL-terminated unless oc_buf_cstr() asks for it.
 */
#ifndef OC_BUF_H
#define OC_BUF_H

#include <stddef.h>

#include "oc_error.h"

typedef struct oc_buf {
  char *data;     /* owned; NULL while empty */
  size_t len;
  size_t cap;
  size_t max;
} oc_buf;

void oc_buf_init(oc_buf *buf, size_t max);
/* Frees the memory; the buffer is empty and usable again. */
void oc_buf_free(oc_buf *buf);
/* Empties the buffer and keeps its memory. */
void oc_buf_clear(oc_buf *buf);
/* Makes room for `more` bytes: OC_E_TOO_LARGE, OC_E_NOMEM. */
oc_code oc_buf_reserve(oc_buf *buf, size_t more);
oc_code oc_buf_append(oc_buf *buf, const void *bytes, size_t len);
oc_code oc_buf_puts(oc_buf *buf, const char *text);
oc_code oc_buf_putc(oc_buf *buf, char byte);
/* Drops the first `len` bytes (all of them when there are fewer). */
void oc_buf_consume(oc_buf *buf, size_t len);
/* NUL-terminated view, borrowed until the next change; NULL: no memory. */
const char *oc_buf_cstr(oc_buf *buf);
/* Hands the memory, cut to size, to the caller, who frees it. */
char *oc_buf_take(oc_buf *buf, size_t *len);

#endif
