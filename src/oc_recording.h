/*
 * oc_recording: one line of a tape, a request and what came of it; borrowed
 * from its oc_player.
 */
#ifndef OC_RECORDING_H
#define OC_RECORDING_H

#include <stddef.h>
#include <stdint.h>

#include "oc_error.h"
#include "oc_json.h"

typedef struct oc_recording oc_recording;

size_t oc_recording_line(const oc_recording *recording);
const char *oc_recording_method(const oc_recording *recording);
const char *oc_recording_path(const oc_recording *recording);
int oc_recording_attempt(const oc_recording *recording);
/* The body of the request as JSON text in a fixed form; empty: none. */
oc_slice oc_recording_body(const oc_recording *recording);

int oc_recording_status(const oc_recording *recording);
/* Seconds until the connection was there, below 0: not known. */
double oc_recording_connect(const oc_recording *recording);
/* The next line of the head from `*at` on; 0: that were all. */
int oc_recording_head(const oc_recording *recording, size_t *at,
                      oc_slice *line);
size_t oc_recording_pieces(const oc_recording *recording);
oc_slice oc_recording_piece(const oc_recording *recording, size_t index);
/* Whether a piece came together with the one before it. */
int oc_recording_is_same(const oc_recording *recording, size_t index);
/* How the transfer failed, OC_OK: it did not; `message` is borrowed,
   `retryable` is below 0 when it was not said. */
oc_code oc_recording_error(const oc_recording *recording,
                           const char **message, int *retryable);

/* Whether the end was seen together with the last piece. */
int oc_recording_ends_with_piece(const oc_recording *recording);
/* How many milliseconds the client waited before it sent the request again,
   below 0: not known. */
int64_t oc_recording_retry(const oc_recording *recording);

#endif
