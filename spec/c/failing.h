/*
 * An allocator of which one call fails, and those after it do not.
 *
 *     oc_set_allocator(&failing);
 *     left = 3;                          the fourth fails
 *     ...
 *     oc_set_allocator(&standard);
 */
#ifndef OC_SPEC_FAILING_H
#define OC_SPEC_FAILING_H

#include <stdlib.h>

#include "../../src/oc_alloc.h"

static int left;      /* allocations until one fails; -1: none does */

static void *failing_malloc(size_t size) {
  return left >= 0 && !left-- ? NULL : malloc(size);
}

static void *failing_realloc(void *block, size_t size) {
  return left >= 0 && !left-- ? NULL : realloc(block, size);
}

static const oc_allocator failing = { failing_malloc, failing_realloc, free };
static const oc_allocator standard = { malloc, realloc, free };

#endif
