/*
 * oc_redact: takes secrets out of what is written down.
 *
 * Secrets are those that are known (the client's key, the values of headers
 * such as Authorization) and what looks like one: "sk-...", "op-...",
 * "Bearer ..." and the prefixes of other vendors.
 */
#ifndef OC_REDACT_H
#define OC_REDACT_H

#include <stddef.h>

#include "oc_buf.h"
#include "oc_error.h"
#include "oc_json.h"

/* What stands in the place of a secret. */
#define OC_REDACTED "<redacted>"

#define OC_REDACT_MAX 32

/* All zero: no known secrets. */
typedef struct oc_redact {
  /* private; borrowed texts */
  oc_slice known[OC_REDACT_MAX];
  size_t count;
} oc_redact;

/*
 * One more known secret; the text is borrowed. Short ones are words and no
 * secrets: they are left alone.
 */
void oc_redact_add(oc_redact *redact, const char *text, size_t len);
/* What is secret in a header line; the line is borrowed. */
void oc_redact_add_header(oc_redact *redact, const char *line);
/* Whether a header of this name may hold a secret. */
int oc_redact_is_secret_name(const char *name, size_t len);

/*
 * The next secret at or behind `*at`, which moves to where it begins.
 * Returns its length, 0: there is none.
 */
size_t oc_redact_next(const oc_redact *redact, const char *text, size_t len,
                      size_t *at);
/* Appends a text without its secrets. */
oc_code oc_redact_append(const oc_redact *redact, oc_buf *out,
                         const char *text, size_t len);
/*
 * Finds the secrets in the body of a response, also those that a stream
 * brings in pieces. `marks` has `len` bytes: 0: stays, 1: a secret begins
 * here, 2: it goes on. OC_E_NOMEM.
 */
oc_code oc_redact_mark(const oc_redact *redact, const char *text, size_t len,
                       unsigned char *marks);

#endif
