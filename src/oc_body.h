/*
 * oc_body: a request body that is never built.
 *
 * The options of a request and a fork of the history, read out piece by
 * piece as {options,"messages":[message,message,...]}. It can be read any
 * number of times (a retry begins again) and from any offset.
 */
#ifndef OC_BODY_H
#define OC_BODY_H

#include <stddef.h>

#include "oc_buf.h"
#include "oc_error.h"
#include "oc_history.h"

typedef struct oc_body {
  /* public, read only */
  size_t size;            /* bytes of the whole body */
  /* private */
  oc_buf head;            /* up to and with the '[' of the list */
  oc_history list;
  size_t piece;           /* 0: head, 1 .. count: messages, then the tail */
  size_t offset;          /* in that piece */
} oc_body;

/*
 * `options`: fields as JSON text without the braces ("\"model\":\"m\""),
 * may be empty; copied. `list` is forked. OC_E_NOMEM.
 */
oc_code oc_body_init(oc_body *body, const char *options, size_t len,
                     const oc_history *list);
void oc_body_free(oc_body *body);
/* Copies the next bytes, at most `max`; 0 at the end. */
size_t oc_body_read(oc_body *body, char *to, size_t max);
/* Goes to an offset; beyond the end: to the end. */
void oc_body_seek(oc_body *body, size_t offset);
/* Appends the whole body to `out`. */
oc_code oc_body_print(const oc_body *body, oc_buf *out);

#endif
