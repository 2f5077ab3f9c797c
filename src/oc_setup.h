/*
 * oc_setup: what the requests of one conversation have in common.
 *
 * Address, headers, deadlines and limits, made ready for libcurl once and
 * shared by any number of exchanges.
 */
#ifndef OC_SETUP_H
#define OC_SETUP_H

#include <curl/curl.h>
#include <stddef.h>
#include <stdint.h>

#include "oc_client.h"

/* Milliseconds; 0: no deadline. */
typedef struct oc_deadlines {
  int64_t connect_ms;
  int64_t first_token_ms;
  int64_t idle_ms;
  int64_t total_ms;
} oc_deadlines;

typedef struct oc_setup_options {
  const char *path;           /* appended to the client's base_url */
  int is_get;                 /* gets a JSON document; otherwise: posts */
  const char *key;            /* NULL: the client's key */
  size_t key_len;
  const char *const *headers; /* "Name: value", copied */
  size_t header_count;
  oc_deadlines deadlines;
  size_t max_response;        /* bytes, after decompression */
  size_t max_event;           /* bytes of one event of a stream */
  size_t max_buffered;        /* bytes that wait for a reader, 0: no limit */
  int max_retries;            /* attempts after the first one */
} oc_setup_options;

/* public, read only */
struct oc_setup {
  unsigned refs;
  oc_client *client;          /* owned: one reference */
  char *url;
  CURLU *parsed_url;          /* the same: libcurl takes it apart once */
  int is_get;
  struct curl_slist *headers;
  oc_deadlines deadlines;
  size_t max_response;
  size_t max_event;
  size_t max_buffered;
  int max_retries;
  /* private */
  char *text;                 /* all header lines */
  size_t text_len;
  oc_setup *before;           /* the client's list */
  oc_setup *behind;
};

/*
 * The caller's headers take the place of our own of the same name. NULL:
 * out of memory. The caller owns the one reference.
 */
oc_setup *oc_setup_new(oc_client *client, const oc_setup_options *options);
oc_setup *oc_setup_ref(oc_setup *setup);
/* The last reference wipes a key of its own and frees it. */
void oc_setup_unref(oc_setup *setup);
/* Blots out the key, and what other headers hold that are secret, in a text. */
void oc_setup_hide(const oc_setup *setup, char *text, size_t len);

#endif
