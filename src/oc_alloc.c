#include "oc_alloc.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Two huge pages: smaller blocks would mostly waste the rest of one. */
#define LARGE (4u << 20)

static oc_allocator current = { malloc, realloc, free };

#ifdef OC_COUNT_BLOCKS
static size_t live_blocks;
#define COUNT(change) (live_blocks += (change))

size_t oc_live_blocks(void) {
  return live_blocks;
}
#else
#define COUNT(change) ((void)0)
#endif

void oc_set_allocator(const oc_allocator *allocator) {
  current = *allocator;
}

void *oc_malloc(size_t size) {
  void *block = current.malloc_fn(size ? size : 1);
  if(block)
    COUNT(1);
  return block;
}

void *oc_calloc(size_t size) {
  void *block = oc_malloc(size);
  if(block)
    memset(block, 0, size);
  return block;
}

void *oc_realloc(void *block, size_t size) {
  void *moved = current.realloc_fn(block, size ? size : 1);
  if(moved && !block)
    COUNT(1);
  return moved;
}

void oc_expect_large(void *block, size_t size) {
#ifdef MADV_HUGEPAGE
  const uintptr_t page = 4096;
  uintptr_t from = (uintptr_t)block & ~(page - 1);
  uintptr_t to = ((uintptr_t)block + size + page - 1) & ~(page - 1);
  if(size >= LARGE)
    madvise((void *)from, to - from, MADV_HUGEPAGE);
#else
  (void)block;
  (void)size;
#endif
}

void oc_free(void *block) {
  if(block) {
    COUNT((size_t)-1);
    current.free_fn(block);
  }
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
