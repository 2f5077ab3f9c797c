/*
 * oc_json_scan: where a string needs a closer look; for oc_json.c and
 * oc_json_write.c alone. A call into another file would cost a streamed
 * chunk more instructions than the two copies are worth, and so did `inline`.
 */
#ifndef OC_JSON_SCAN_H
#define OC_JSON_SCAN_H

#include <stdint.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "oc_word.h"

/*
 * Sets the top bit of each byte that is a control character, a quote, a
 * backslash, or has a bit of `high`. Borrows may mark a byte wrongly, but
 * only one behind a rightly marked byte, so the first mark is always true.
 */
static uint64_t oc_mark_special(uint64_t word, uint64_t high) {
  uint64_t quote = word ^ (OC_ONES * '"');
  uint64_t slash = word ^ (OC_ONES * '\\');
  return (((quote - OC_ONES) & ~quote & OC_HIGH_BITS) |
          ((slash - OC_ONES) & ~slash & OC_HIGH_BITS) |
          ((word - OC_ONES * 0x20) & ~word & OC_HIGH_BITS) |
          (word & high));
}

static int oc_is_special(unsigned char byte, uint64_t high) {
  return byte < 0x20 || byte == '"' || byte == '\\' || (byte & high & 0x80);
}

#ifdef __SSE2__

/* The same of sixteen bytes, a bit for each and no wrong ones. */
static unsigned oc_mark_sixteen(const char *at, uint64_t high) {
  __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
  __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1F)),
                                   bytes);
  __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
  __m128i slash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
  __m128i marks = _mm_or_si128(_mm_or_si128(quote, slash), control);
  if(high)
    marks = _mm_or_si128(marks, bytes);
  return (unsigned)_mm_movemask_epi8(marks);
}

#endif

/*
 * The first byte that is a control character, a quote, a backslash, or has a
 * bit of `high` (OC_HIGH_BITS or 0); or `end`.
 */
static const char *oc_find_special(const char *at, const char *end,
                                   uint64_t high) {
#ifdef __SSE2__
  while(end - at >= 16) {
    unsigned marks = oc_mark_sixteen(at, high);
    if(marks)
      return at + __builtin_ctz(marks);
    at += 16;
  }
#endif
  while(end - at >= 8) {
    uint64_t marks = oc_mark_special(oc_load_word(at), high);
    if(marks) {
#if defined(__GNUC__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
      return at + (__builtin_ctzll(marks) >> 3);
#else
      break;
#endif
    }
    at += 8;
  }
  while(at < end && !oc_is_special((unsigned char)*at, high))
    at++;
  return at;
}

#endif
