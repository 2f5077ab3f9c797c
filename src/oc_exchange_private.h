/*
 * oc_exchange_private: what the two files of oc_exchange share. Nobody else
 * looks inside.
 *
 * oc_exchange.c sends and reads; oc_exchange_tape.c writes down what comes,
 * or plays in the place of a transfer what was written down.
 */
#ifndef OC_EXCHANGE_PRIVATE_H
#define OC_EXCHANGE_PRIVATE_H

#include "oc_exchange.h"
#include "oc_response.h"

struct oc_exchange {
  unsigned refs;
  oc_client *client;            /* the setup's */
  oc_links links;
  oc_state state;
  CURL *easy;                   /* NULL unless under way */
  oc_setup *setup;              /* owned: one reference */
  char *moved_to;               /* where a redirect led, NULL: nowhere */
  oc_body body;
  struct curl_slist large;      /* one more header of a large body */
  oc_buf small;                 /* a copy of a small body, see send_request */
  int is_stream;
  int64_t tag;
  int attempts;
  int retries;                  /* attempts after failures */
  int max_retries;
  int64_t retry_wait_ms;        /* how long the next one waits */
  int64_t retry_at_us;          /* when it is sent */
  int redirects;
  int has_reader;               /* it takes the answer as it arrives */
  size_t taken;                 /* bytes of it, so far */
  int is_paused;                /* until it has taken the rest */
  size_t share;                 /* bytes of it read in this step */
  int is_starting;              /* its first bytes leave just now */
  int has_yielded;              /* reads on when it is its turn again */
  oc_response response;
  oc_error error;               /* code is OC_OK unless it failed */
  oc_error last_error;          /* of the attempt before this one */
  char detail[CURL_ERROR_SIZE]; /* libcurl's own words */
  /* times of oc_clock */
  int64_t started_us;
  int64_t sent_us;              /* the same of this attempt */
  int64_t life_us;              /* when the last byte arrived */
  int64_t first_token_us;       /* 0: none yet */
  int64_t done_us;              /* "[DONE]" arrived, 0: not yet */
  oc_timing timing;
  oc_peer peer;
  oc_take *take;                /* this attempt's record, NULL: none */
  int is_broken;                /* the transfer failed, and not the answer */
  const oc_recording *playing;  /* in the place of a transfer, or NULL */
  int has_played_head;
  size_t piece;                 /* to be played next */
};

/* {==== oc_exchange.c ==== */

/* The status of the response, as far as it has come. */
void oc_exchange_read_status(oc_exchange *exchange);
/* A time of libcurl's in seconds since this attempt was sent: what it was held
   back for counts. 0: it has not come to that. */
double oc_exchange_time(const oc_exchange *exchange, CURLINFO info);
/* Bytes of the body: libcurl's write callback. */
size_t oc_exchange_on_body(char *bytes, size_t size, size_t count,
                           void *user);
/* Where the request goes: behind redirects, too. */
const char *oc_exchange_url(const oc_exchange *exchange);
/* Whether the response is a redirect that keeps method and body. */
int oc_exchange_is_redirect(int status);
/* Sends the same request to where a redirect leads, or fails. */
void oc_exchange_follow_on(oc_exchange *exchange, const char *location);
/* The body is complete: is the answer? */
void oc_exchange_finish_body(oc_exchange *exchange);
/* An attempt has come to nothing: `error` says why. */
void oc_exchange_fail(oc_exchange *exchange);
void oc_exchange_fail_with(oc_exchange *exchange, oc_code code);

/* }==== */

/* {==== oc_exchange_tape.c ==== */

/*
 * This attempt is over: writes down what there is to be recorded.
 * `location`: where it is redirected to, NULL: nowhere; `retry_ms`: below 0:
 * it is not sent again.
 */
void oc_exchange_end_take(oc_exchange *exchange, const char *location,
                          int64_t retry_ms);
/* The same as sending a request, with a recording in the server's place. */
void oc_exchange_begin_play(oc_exchange *exchange);
/* When the next part of the recording is to be played. */
int64_t oc_exchange_play_at(const oc_exchange *exchange);
/* Plays what came together next. */
void oc_exchange_play(oc_exchange *exchange);

/* }==== */

#endif
