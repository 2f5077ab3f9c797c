/*
 * oc_secret: keys that are kept no longer than needed.
 *
 * The text of a secret lies in memory of its own, which is overwritten when
 * it is forgotten. It is read without a copy elsewhere: no stdio buffer, no
 * string of the host's language.
 */
#ifndef OC_SECRET_H
#define OC_SECRET_H

#include <stddef.h>

#include "oc_error.h"

typedef struct oc_secret {
  char *text;                 /* NUL-terminated; NULL: none */
  size_t len;
} oc_secret;

/* Takes a copy. OC_E_NOMEM, or OC_OK. */
oc_code oc_secret_set(oc_secret *secret, const char *text, size_t len);
/* Overwrites and frees the text. May be called again. */
void oc_secret_forget(oc_secret *secret);

/*
 * The first line of a file, without its line break. OC_E_NO_FILE,
 * OC_E_UNREADABLE, OC_E_NOMEM. `is_open`: others than its owner may read
 * the file.
 */
oc_code oc_secret_read_file(oc_secret *secret, const char *path,
                            int *is_open);
/*
 * The first line that a shell command prints. Blocks until it ends. `status`
 * is that of waitpid(), or -1 when the command could not be started or its
 * end is not known. OC_E_UNREADABLE, OC_E_NOMEM.
 */
oc_code oc_secret_run(oc_secret *secret, const char *command, int *status);

/* Whether it can be the value of a header. */
int oc_secret_is_clean(const oc_secret *secret);

/* Whether a header of this name carries a secret. */
int oc_secret_is_name(const char *name, size_t len);

/*
 * Blots out a secret in a text: all of it and larger pieces, in upper or
 * lower case, encoded as in URLs, JSON or HTML, broken into lines, or cut off
 * by the end of the text. Short secrets are no secrets but words ("ollama",
 * "none") and stay.
 */
void oc_secret_hide(char *text, size_t len, const char *secret,
                    size_t secret_len);
/* The same for what stands before the "@" in URLs. */
void oc_secret_hide_logins(char *text, size_t len);

#endif
