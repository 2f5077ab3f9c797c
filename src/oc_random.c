#include "oc_random.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#if defined(__linux__)
#include <sys/random.h>
#elif defined(__APPLE__) || defined(__FreeBSD__) || defined(__OpenBSD__)
#include <stdlib.h>
#endif

#include "oc_clock.h"

/*
 * Last resort where the system gives no random bytes: ids must differ,
 * they guard no secret.
 */
static void weak_bytes(unsigned char *bytes, size_t len) {
  static uint64_t state;
  size_t i;
  state ^= (uint64_t)oc_now_us() ^ (uint64_t)(uintptr_t)bytes;
  for(i = 0; i < len; i++) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    bytes[i] = (unsigned char)(state >> 56);
  }
}

void oc_random_bytes(void *bytes, size_t len) {
#if defined(__linux__)
  if(getrandom(bytes, len, 0) == (ssize_t)len)
    return;
#elif defined(__APPLE__) || defined(__FreeBSD__) || defined(__OpenBSD__)
  arc4random_buf(bytes, len);
  return;
#endif
  weak_bytes(bytes, len);
}

void oc_random_hex(char *out, size_t len) {
  static const char digits[] = "0123456789abcdef";
  unsigned char bytes[32];
  size_t i;
  for(i = 0; i < len; i++) {
    size_t at = i % (2 * sizeof bytes);
    if(!at)
      oc_random_bytes(bytes, sizeof bytes);
    out[i] = digits[bytes[at / 2] >> (at % 2 * 4) & 15];
  }
}

void oc_random_uuid(char out[37]) {
  char hex[32];
  oc_random_hex(hex, sizeof hex);
  hex[12] = '4';
  hex[16] = "89ab"[(hex[16] & 3)];
  snprintf(out, 37, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12,
           hex + 16, hex + 20);
}
