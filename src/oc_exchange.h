/*
 * oc_exchange: one HTTP exchange with a chat-completions server.
 *
 * Posts a body, reads a whole response or a stream into an oc_reply (or
 * gets a JSON document as it is), keeps the deadlines and limits, and ends
 * exactly once: with the answer complete, or with an error.
 */
#ifndef OC_EXCHANGE_H
#define OC_EXCHANGE_H

#include <stddef.h>
#include <stdint.h>

#include "oc_body.h"
#include "oc_client.h"
#include "oc_error.h"
#include "oc_json.h"
#include "oc_reply.h"
#include "oc_setup.h"

typedef enum oc_state {
  OC_STATE_IDLE,        /* not started */
  OC_STATE_SENDING,     /* nothing has arrived */
  OC_STATE_RECEIVING,
  OC_STATE_WAITING,     /* an attempt has failed, the next one is to come */
  OC_STATE_DONE,        /* ended with a reply */
  OC_STATE_FAILED       /* ended with an error */
} oc_state;

/* Seconds since the start; below 0: did not happen. */
typedef struct oc_timing {
  double connect;       /* connected; 0 on a kept connection */
  double first_byte;
  double first_token;
  double total;
} oc_timing;

/* The other end of the last connection. */
typedef struct oc_peer {
  char address[64];     /* "": none yet */
  double lookup;        /* seconds for its name */
  char http[4];         /* "1.1", "2"; "": unknown */
} oc_peer;

/*
 * `body` is moved: the exchange owns what it held, whether or not this
 * succeeds. `is_stream`: the body asks for a stream. `tag` is the caller's
 * own. A setup that gets has no body (NULL). NULL: out of memory. The caller
 * owns the one reference.
 */
oc_exchange *oc_exchange_new(oc_setup *setup, oc_body *body, int is_stream,
                             int64_t tag);
oc_exchange *oc_exchange_ref(oc_exchange *exchange);
/* The last reference cancels what is still under way and frees it. */
void oc_exchange_unref(oc_exchange *exchange);

/* At most so many attempts after the first one, in the place of what the
   setup says. */
void oc_exchange_limit(oc_exchange *exchange, int retries);
/* Before the start: it takes the place of one that has failed, and has what
   is left of its time. */
void oc_exchange_follow(oc_exchange *exchange, const oc_exchange *before);
/*
 * Sends the first bytes. What fails at once ends the exchange, too, and
 * comes through the client's queue like every ending.
 */
void oc_exchange_start(oc_exchange *exchange);
/*
 * With `has_reader`, the answer of a stream is taken as it arrives: when
 * the setup's max_buffered bytes of it have not been taken, the transfer
 * pauses until they are, and the time for silence does not run.
 */
void oc_exchange_pace(oc_exchange *exchange, int has_reader);
/* The reader has seen all there is. */
void oc_exchange_taken(oc_exchange *exchange);
/* Ends it now with this code, unless it has ended already. */
void oc_exchange_cancel(oc_exchange *exchange, oc_code code);

int64_t oc_exchange_tag(const oc_exchange *exchange);
oc_state oc_exchange_state(const oc_exchange *exchange);
int oc_exchange_has_ended(const oc_exchange *exchange);
/* Borrowed as long as the exchange lives. Texts grow while it runs. */
const oc_reply *oc_exchange_reply(const oc_exchange *exchange);
/* What was got: valid JSON once it is done. NULL: it is a chat's exchange. */
const oc_buf *oc_exchange_document(const oc_exchange *exchange);
/* The error of a failed exchange. */
const oc_error *oc_exchange_error(const oc_exchange *exchange);
const oc_timing *oc_exchange_timing(const oc_exchange *exchange);
/* How often it was sent again after a failure, or is about to be. */
int oc_exchange_retries(const oc_exchange *exchange);
/* Milliseconds that it waits before it is sent again; 0: it does not. */
int64_t oc_exchange_retry_wait(const oc_exchange *exchange);
/* Why it was sent again the last time, or will be. */
const oc_error *oc_exchange_retry_error(const oc_exchange *exchange);
/* How many times the request was sent. */
int oc_exchange_attempts(const oc_exchange *exchange);
/* HTTP status of the last response, 0: none. */
int oc_exchange_status(const oc_exchange *exchange);
const oc_setup *oc_exchange_setup(const oc_exchange *exchange);
const oc_peer *oc_exchange_peer(const oc_exchange *exchange);
/* The header lines of the last response, with their line breaks. */
oc_slice oc_exchange_head(const oc_exchange *exchange);
/* A header of the last response, name without regard to case. 1: found. */
int oc_exchange_header(const oc_exchange *exchange, const char *name,
                       oc_slice *value);

/* {==== for oc_client only ==== */

/* Where an exchange is that has no connection yet; see oc_client_gate.c. */
typedef enum oc_place {
  OC_PLACE_NONE,
  OC_PLACE_HELD,        /* its transfer has not been launched */
  OC_PLACE_LEADING
} oc_place;

/* Links an exchange into the client's list and queues. */
typedef struct oc_links {
  oc_exchange *before;
  oc_exchange *behind;
  oc_exchange *next_news;
  int is_listed;
  int has_news;
  int64_t launched_us;        /* when libcurl got it */
  /* at the gate */
  oc_place place;
  oc_exchange *gate_before;
  oc_exchange *gate_behind;
  CURL *easy;
  int64_t connect_by_us;      /* held back: at most until then, 0: no limit */
} oc_links;

oc_links *oc_exchange_links(oc_exchange *exchange);
/* Blots out keys in the headers of the response. */
void oc_exchange_hide_keys(oc_exchange *exchange);
/* The transfer is over; `result` is its CURLcode. */
void oc_exchange_finish(oc_exchange *exchange, int result);
/* When the exchange runs out of time, by oc_clock; OC_NEVER: not at all. */
int64_t oc_exchange_deadline(const oc_exchange *exchange);
/* Its deadline has passed. */
void oc_exchange_expire(oc_exchange *exchange);

/* }==== */

#endif
