/*
 * An allocator that counts, and that fails when it has given out so much.
 *
 *     oc_set_allocator(&counting);
 *     allocations_left = 3;              the fourth fails, and all after it
 *     ...
 *     CHECK(blocks == 0);                what is allocated now
 *     oc_set_allocator(&standard);
 */
#ifndef OC_SPEC_COUNTING_H
#define OC_SPEC_COUNTING_H

#include <stdlib.h>

#include "../../src/oc_alloc.h"

static int allocations_left;
static int blocks;
static size_t largest;                /* bytes that were asked for at once */
static size_t asked;                  /* bytes that were asked for in all */

static void count_bytes(size_t size) {
  largest = size > largest ? size : largest;
  asked += size;
}

static void *counting_malloc(size_t size) {
  void *block = allocations_left-- > 0 ? malloc(size) : NULL;
  count_bytes(size);
  blocks += block != NULL;
  return block;
}

static void *counting_realloc(void *old, size_t size) {
  void *block = allocations_left-- > 0 ? realloc(old, size) : NULL;
  count_bytes(size);
  blocks += block && !old;
  return block;
}

static void counting_free(void *block) {
  blocks--;
  free(block);
}

static const oc_allocator counting = {
  counting_malloc, counting_realloc, counting_free
};
static const oc_allocator standard = { malloc, realloc, free };

#endif
