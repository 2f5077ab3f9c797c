/*
 * oc_base64: base64 (RFC 4648, with padding, without line breaks), written
 * straight into a buffer. The bytes may come in pieces of any length. And
 * read again, in one piece.
 */
#ifndef OC_BASE64_H
#define OC_BASE64_H

#include <stddef.h>

#include "oc_buf.h"
#include "oc_error.h"

typedef struct oc_base64 {
  /* private: bytes that wait for the rest of their group of three */
  unsigned char rest[3];
  unsigned char count;
} oc_base64;

/* Characters that `len` bytes take; SIZE_MAX: more than fit into memory. */
size_t oc_base64_size(size_t len);

void oc_base64_begin(oc_base64 *encoder);
/* OC_E_TOO_LARGE, OC_E_NOMEM: nothing was written, nothing remembered. */
oc_code oc_base64_append(oc_base64 *encoder, oc_buf *out, const void *bytes,
                         size_t len);
/* Writes what waits, padded. The encoder can begin again. */
oc_code oc_base64_end(oc_base64 *encoder, oc_buf *out);

/*
 * Appends the bytes that a text with its padding stands for. OC_E_RANGE:
 * it is not base64 (some may have been written); OC_E_TOO_LARGE,
 * OC_E_NOMEM.
 */
oc_code oc_base64_decode(const char *text, size_t len, oc_buf *out);

#endif
