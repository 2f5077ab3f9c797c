/*
 * oc_utf8: what is valid UTF-8 (RFC 3629: no surrogates, no overlong forms,
 * at most U+10FFFF), and what is put in the place of what is not.
 */
#ifndef OC_UTF8_H
#define OC_UTF8_H

#include <stddef.h>

#include "oc_buf.h"
#include "oc_error.h"

#define OC_REPLACEMENT 0xFFFDu

/* Length of the valid prefix; `len` when all of it is valid. */
size_t oc_utf8_valid_prefix(const char *text, size_t len);
/* Appends the text with each invalid part replaced by U+FFFD. */
oc_code oc_utf8_sanitize(oc_buf *out, const char *text, size_t len);

/*
 * Length of the character at `at` (which is before `end`), or 0 when it is
 * not valid; then `bad` is the length of the invalid part: the longest that
 * begins a character, at least one byte. It reaches to `end`, and `cut` is
 * set, when more bytes could have made it valid.
 */
size_t oc_utf8_length(const char *at, const char *end, size_t *bad,
                      int *cut);
/* Writes a character (at most U+10FFFF); returns how many bytes. */
size_t oc_utf8_encode(char *out, unsigned character);
/* The same, appended. */
oc_code oc_utf8_put(oc_buf *out, unsigned character);

#endif
