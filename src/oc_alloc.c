#include "oc_alloc.h"

#include <stdlib.h>
#include <string.h>

static oc_allocator current = { malloc, realloc, free };

void oc_set_allocator(const oc_allocator *allocator) {
  current = *allocator;
}

void *oc_malloc(size_t size) {
  return current.malloc_fn(size ? size : 1);
}

void *oc_calloc(size_t size) {
  void *block = oc_malloc(size);
  if(block)
    memset(block, 0, size);
  return block;
}

void *oc_realloc(void *block, size_t size) {
  return current.realloc_fn(block, size ? size : 1);
}

void oc_free(void *block) {
  if(block)
    current.free_fn(block);
}

char *oc_strndup(const char *text, size_t len) {
  char *copy = oc_malloc(len + 1);
  if(copy) {
    if(len)
      memcpy(copy, text, len);
    copy[len] = '\0';
  }
  return copy;
}

/* Not known to be memset() when this is compiled. */
static void *(*const volatile set_bytes)(void *, int, size_t) = memset;

void oc_wipe(void *block, size_t size) {
  if(size)
    set_bytes(block, 0, size);
}
