#include "oc_curl_memory.h"

#include <stdlib.h>
#include <string.h>

#include "oc_alloc.h"

#if defined(__linux__)
#include <malloc.h>
#define SIZE_OF(block) malloc_usable_size(block)
#elif defined(__APPLE__)
#include <malloc/malloc.h>
#define SIZE_OF(block) malloc_size(block)
#elif defined(__FreeBSD__)
#include <malloc_np.h>
#define SIZE_OF(block) malloc_usable_size(block)
#endif

#ifdef SIZE_OF

/*
 * The buffer that streams are read into holds nothing of ours, and most of
 * its pages are never touched. No other block of libcurl's is of its size:
 * those that grow do it by doubling.
 */
static int is_receive_buffer(size_t size) {
  return size >= OC_RECEIVE_BUFFER && size < OC_RECEIVE_BUFFER + 4096;
}

static void wiping_free(void *block) {
  if(block) {
    size_t size = SIZE_OF(block);
    if(!is_receive_buffer(size))
      oc_wipe(block, size);
    free(block);
  }
}

/* realloc() would leave the old place as it was. */
static void *wiping_realloc(void *block, size_t size) {
  size_t old;
  void *copy;

  if(!block)
    return malloc(size);
  old = SIZE_OF(block);
  if(size <= old && size >= old / 2)
    return block;
  copy = malloc(size);
  if(copy) {
    memcpy(copy, block, old < size ? old : size);
    wiping_free(block);
  }
  return copy;
}

CURLcode oc_curl_memory_init(void) {
  return curl_global_init_mem(CURL_GLOBAL_ALL, malloc, wiping_free,
                              wiping_realloc, strdup, calloc);
}

#else

CURLcode oc_curl_memory_init(void) {
  return curl_global_init(CURL_GLOBAL_ALL);
}

#endif
