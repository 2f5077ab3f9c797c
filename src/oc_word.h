/*
 * oc_word: eight bytes of a text at a time.
 */
#ifndef OC_WORD_H
#define OC_WORD_H

#include <stdint.h>
#include <string.h>

#define OC_ONES UINT64_C(0x0101010101010101)
#define OC_HIGH_BITS UINT64_C(0x8080808080808080)

static inline uint64_t oc_load_word(const char *at) {
  uint64_t word;
  memcpy(&word, at, sizeof word);
  return word;
}

#endif
