/* oc_random: identifiers nobody can guess. */
#ifndef OC_RANDOM_H
#define OC_RANDOM_H

#include <stddef.h>

/* Fills `bytes` from the system's generator. */
void oc_random_bytes(void *bytes, size_t len);
/* Writes `len` lower-case hexadecimal digits, without a terminator. */
void oc_random_hex(char *out, size_t len);
/* A random UUID (RFC 9562, version 4): 36 characters and a NUL. */
void oc_random_uuid(char out[37]);

#endif
