/*
 * oc_response: what a server answers, read as it arrives.
 *
 * Headers and body of one response, in pieces of any size, made into an
 * oc_reply, whole or streamed; or kept as they are, when a JSON document of
 * another kind was asked for.
 */
#ifndef OC_RESPONSE_H
#define OC_RESPONSE_H

#include <stddef.h>

#include "oc_buf.h"
#include "oc_error.h"
#include "oc_json.h"
#include "oc_reply.h"
#include "oc_sse.h"

/* What the body turned out to be. */
typedef enum oc_response_mode {
  OC_RESPONSE_UNKNOWN,        /* white space only so far */
  OC_RESPONSE_WHOLE,
  OC_RESPONSE_STREAM,
  OC_RESPONSE_ERROR
} oc_response_mode;

typedef struct oc_response {
  /* to be set as soon as it is known, 0: not yet */
  int status;
  /* public, read only */
  oc_response_mode mode;
  int has_head;               /* the headers came to their end */
  oc_buf head;                /* header lines */
  oc_reply reply;
  oc_buf text;                /* a whole response, or an error's body */
  /* private */
  oc_sse sse;
  size_t received;
  size_t blank;               /* of `text`, in front of what tells the mode */
  size_t max;
  size_t max_event;
  int is_document;
} oc_response;

/*
 * `max` limits the body, `max_event` one event of a stream. `is_document`:
 * no chat completion is expected, but any JSON, which stays in `text`.
 */
void oc_response_init(oc_response *response, size_t max, size_t max_event,
                      int is_document);
void oc_response_free(oc_response *response);
/* Forgets everything: the same request is sent again. */
void oc_response_reset(oc_response *response);
/* Frees what nobody needs any more once the response was read. */
void oc_response_trim(oc_response *response);

/* The next header line. 0: goes on; else `error` says why not. */
int oc_response_header(oc_response *response, const char *line, size_t len,
                       oc_error *error);
/*
 * The next bytes of the body; `status` has to be set. 0: goes on; else
 * `error` says why not, unless the page of an error has said enough.
 */
int oc_response_body(oc_response *response, const char *bytes, size_t len,
                     oc_error *error);
/* The body is complete. 0: so is the answer; else `error` says why not. */
int oc_response_finish(oc_response *response, oc_error *error);

/* Whether it is that of an error, which may not have a body yet. */
int oc_response_is_error(const oc_response *response);
/* Whether some of the answer has arrived. */
int oc_response_has_output(const oc_response *response);
/* A header, name without regard to case. 1: found. */
int oc_response_find(const oc_response *response, const char *name,
                     oc_slice *value);

#endif
