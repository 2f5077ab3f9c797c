/* oc_sha256: SHA-256 (FIPS 180-4), for telling large values apart. */
#ifndef OC_SHA256_H
#define OC_SHA256_H

#include <stddef.h>

/* Writes 64 lower-case hexadecimal digits and a NUL. */
void oc_sha256_hex(const void *bytes, size_t len, char out[65]);

#endif
