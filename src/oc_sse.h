/*
 * oc_sse: event-stream framing (WHATWG HTML, section 9.2 "Server-sent
 * events"): bytes in, events out, split anywhere.
 *
 *     oc_sse_feed(&sse, bytes, len);
 *     while((got = oc_sse_next(&sse, &event)) > 0)
 *       use(event);
 *
 * An event is there as soon as its blank line is. When it lies whole inside
 * the bytes fed, its data points into them and nothing is copied.
 */
#ifndef OC_SSE_H
#define OC_SSE_H

#include <stddef.h>

#include "oc_buf.h"
#include "oc_error.h"
#include "oc_json.h"

/* Borrowed until the next call of oc_sse_next(), _finish() or _free(). */
typedef struct oc_sse_event {
  oc_slice type;          /* the event: field; empty when there was none */
  oc_slice data;          /* the data: lines, joined by LF */
} oc_sse_event;

typedef struct oc_sse {
  /* public, read only */
  oc_code error;          /* OC_E_EVENT_TOO_LARGE, OC_E_NOMEM; stays */
  size_t comments;        /* comment lines seen: signs of life */
  /* private */
  const char *at;         /* what is left of the feed, borrowed */
  const char *end;
  const char *lf;         /* first LF not before `at`, or `end`; NULL: not
                             searched for */
  oc_buf line;            /* beginning of a line whose end was not fed yet */
  oc_buf type;
  oc_buf joined;          /* data, when it is not one line of the feed */
  oc_slice data;          /* data, when it is: borrowed from the feed */
  unsigned char has_data; /* there was a data line */
  unsigned char is_joined;
  unsigned char delivered;
  unsigned char after_cr; /* a LF that comes next belongs to that CR */
  unsigned char bom;      /* bytes of a BOM seen; BOM_OVER: none can come */
} oc_sse;

/*
 * `max_event` limits each line and the joined data of an event, in bytes:
 * what goes over ends the stream with OC_E_EVENT_TOO_LARGE.
 */
void oc_sse_init(oc_sse *sse, size_t max_event);
/*
 * Gives the next bytes of the stream. They are borrowed until oc_sse_next()
 * has returned something else than 1, and must not be fed before.
 */
void oc_sse_feed(oc_sse *sse, const char *bytes, size_t len);
/* 1: an event; 0: needs more bytes; -1: see sse->error. */
int oc_sse_next(oc_sse *sse, oc_sse_event *event);
/*
 * For somebody who knows what the next event is likely to be: what is left
 * of the feed when it stands between two events, at most as much as an event
 * may have. NULL: it does not, or the next event is not all of it in the
 * feed. oc_sse_skip() passes over `len` bytes of it that were a whole event
 * of one line, without CR.
 */
const char *oc_sse_rest(const oc_sse *sse, size_t *len);
void oc_sse_skip(oc_sse *sse, size_t len);
/*
 * The stream has ended: 1 when there is one more event, whose blank line is
 * missing (a browser would drop it, but servers do cut the last newline);
 * then 0, or -1.
 */
int oc_sse_finish(oc_sse *sse, oc_sse_event *event);
/* Frees the memory; only oc_sse_init() may follow. */
void oc_sse_free(oc_sse *sse);

#endif
