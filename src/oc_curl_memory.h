/*
 * oc_curl_memory: memory of libcurl that is overwritten before it is freed.
 *
 * libcurl builds each request, with the key in it, in memory that it frees
 * as it is, so that keys stay in the heap until somebody else happens to
 * use that place.
 */
#ifndef OC_CURL_MEMORY_H
#define OC_CURL_MEMORY_H

#include <curl/curl.h>

/*
 * Of a stream so many bytes are read with one system call when they are
 * there. Less than what malloc() asks the system for each time.
 */
#define OC_RECEIVE_BUFFER (120 * 1024)

/*
 * curl_global_init() with such functions, where the system tells how large
 * a block is. They are malloc() and free() underneath. A process in which
 * somebody else has started libcurl before keeps what it has.
 */
CURLcode oc_curl_memory_init(void);

#endif
