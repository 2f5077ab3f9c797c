/*
 * oc_retry: whether a request that has failed is sent once more, and when.
 *
 * The rules are those of the official clients: 408, 409, 429 and 5xx, and
 * connections that fail or break before anything of an answer arrived. What
 * a server says of it goes before: x-should-retry, retry-after-ms,
 * retry-after (RFC 9110, section 10.2.3), or words in the error's message.
 */
#ifndef OC_RETRY_H
#define OC_RETRY_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "oc_error.h"
#include "oc_json.h"

/* A server that asks for a longer wait is not waited for. */
#define OC_RETRY_MAX_MS 120000
/* Without its word: half a second, doubled each time, and not above this. */
#define OC_RETRY_FIRST_MS 500
#define OC_RETRY_LIMIT_MS 8000

/* What a response says about it. Header values, empty when absent. */
typedef struct oc_retry_hints {
  oc_slice should;        /* x-should-retry */
  oc_slice after_ms;      /* retry-after-ms */
  oc_slice after;         /* retry-after: seconds or a date */
  oc_slice date;          /* what the server takes for now */
} oc_retry_hints;

/*
 * Milliseconds that the server asks to wait, never 0. Below 0: it does not
 * say, or wants no wait at all, which would not help it. `message`: the
 * error's. `now`: for a server that sends no date.
 */
int64_t oc_retry_after(const oc_retry_hints *hints, const char *message,
                       time_t now);
/* Milliseconds that "Please try again in 1m2.5s" asks for, below 0: none. */
int64_t oc_retry_in_text(const char *message);
/*
 * Milliseconds before the next try when the server does not say; `tries`
 * have been made. Random, so that clients do not come back together.
 */
int64_t oc_retry_backoff(int tries);
/* Whether it is something the server has said, hints and all. */
int oc_retry_is_answer(const oc_error *error);
/* Whether such a failure may be followed by another try. */
int oc_retry_is_worth(const oc_error *error, const oc_retry_hints *hints);

#endif
