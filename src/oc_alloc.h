/*
 * oc_alloc: the core's allocator.
 *
 * Every allocation of the core goes through these three functions, so that
 * a test (or a host) can replace them. The defaults are those of the C
 * library. Replace them before the first client exists, from one thread.
 */
#ifndef OC_ALLOC_H
#define OC_ALLOC_H

#include <stddef.h>

typedef struct oc_allocator {
  void *(*malloc_fn)(size_t size);
  void *(*realloc_fn)(void *block, size_t size);
  void (*free_fn)(void *block);
} oc_allocator;

void oc_set_allocator(const oc_allocator *allocator);

#ifdef OC_COUNT_BLOCKS
/* Blocks that were allocated and not freed; for one thread alone. */
size_t oc_live_blocks(void);
#endif

void *oc_malloc(size_t size);
/* Zeroed memory for one object. */
void *oc_calloc(size_t size);
void *oc_realloc(void *block, size_t size);
void oc_free(void *block);
/*
 * To be called with a block that is about to be filled from its beginning
 * on: a large one then comes in huge pages, where the system has them. To be
 * given its memory page by page takes longer than to fill it. All pages that
 * it touches are named, so that it stays one mapping that can be moved.
 */
void oc_expect_large(void *block, size_t size);
/* A NUL-terminated copy of `len` bytes; caller frees. NULL: out of memory. */
char *oc_strndup(const char *text, size_t len);
/* Overwrites memory in a way the compiler may not leave out. */
void oc_wipe(void *block, size_t size);

#endif
