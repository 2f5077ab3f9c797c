#include "oc_setup.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "oc_alloc.h"
#include "oc_secret.h"

/* What a post sends, and what a get wants. */
#define CONTENT_TYPE "Content-Type: application/json"
#define ACCEPT "Accept: application/json"

static int is_header(const char *line, const char *name) {
  size_t len = strlen(name);
  return !strncasecmp(line, name, len)
         && (line[len] == ':' || line[len] == ';');
}

static int has_header(const oc_setup_options *options, const char *name) {
  size_t i;
  for(i = 0; i < options->header_count; i++) {
    if(is_header(options->headers[i], name))
      return 1;
  }
  return 0;
}

/* Lines being put one behind the other into one block. */
struct lines {
  struct curl_slist *next;    /* the next free item */
  char *at;
};

static void put_line(struct lines *lines, const char *line, size_t len) {
  lines->next->data = lines->at;
  lines->next->next = lines->next + 1;
  lines->next++;
  memcpy(lines->at, line, len);
  lines->at += len;
  *lines->at++ = '\0';
}

/*
 * libcurl reads such a list and nothing more, so its items stand in one
 * block, and the client's own key, which is wiped when the client is
 * closed, is the last item of every list.
 */
static int make_headers(oc_setup *setup, const oc_setup_options *options) {
  int has_authorization = has_header(options, "Authorization");
  int has_key = options->key && options->key_len && !has_authorization;
  struct curl_slist *shared = options->key || has_authorization
                              ? NULL : oc_client_key_header(setup->client);
  const char *format = options->is_get ? ACCEPT : CONTENT_TYPE;
  struct lines lines;
  struct curl_slist *first;
  size_t i;

  setup->text_len = strlen(format) + 1
                    + sizeof OC_KEY_HEADER + options->key_len;
  for(i = 0; i < options->header_count; i++)
    setup->text_len += strlen(options->headers[i]) + 1;
  first = oc_malloc((options->header_count + 2) * sizeof *first);
  setup->headers = first;
  setup->text = oc_calloc(setup->text_len);
  if(!first || !setup->text)
    return 0;
  lines.next = first;
  lines.at = setup->text;
  for(i = 0; i < options->header_count; i++)
    put_line(&lines, options->headers[i], strlen(options->headers[i]));
  if(!has_header(options, options->is_get ? "Accept" : "Content-Type"))
    put_line(&lines, format, strlen(format));
  if(has_key) {
    put_line(&lines, OC_KEY_HEADER, strlen(OC_KEY_HEADER));
    memcpy(lines.at - 1, options->key, options->key_len);
    lines.at[options->key_len - 1] = '\0';
  }
  /* never empty: either the caller or we set the format */
  lines.next[-1].next = shared;
  return 1;
}

oc_setup *oc_setup_new(oc_client *client, const oc_setup_options *options) {
  const char *base = oc_client_base_url(client);
  size_t size = strlen(base) + strlen(options->path) + 1;
  oc_setup *setup = oc_calloc(sizeof *setup);

  if(!setup)
    return NULL;
  setup->refs = 1;
  setup->client = oc_client_ref(client);
  setup->is_get = options->is_get;
  setup->deadlines = options->deadlines;
  setup->max_response = options->max_response;
  setup->max_event = options->max_event;
  setup->max_buffered = options->max_buffered;
  setup->max_retries = options->max_retries;
  setup->url = oc_calloc(size);
  setup->parsed_url = curl_url();
  if(setup->url)
    snprintf(setup->url, size, "%s%s", base, options->path);
  if(!setup->url || !setup->parsed_url
     || curl_url_set(setup->parsed_url, CURLUPART_URL, setup->url, 0)
     || !make_headers(setup, options)) {
    oc_setup_unref(setup);
    return NULL;
  }
  oc_client_add_setup(client, setup);
  return setup;
}

oc_setup *oc_setup_ref(oc_setup *setup) {
  setup->refs++;
  return setup;
}

void oc_setup_unref(oc_setup *setup) {
  if(!setup || --setup->refs)
    return;
  oc_client_remove_setup(setup->client, setup);
  if(setup->text)
    oc_wipe(setup->text, setup->text_len);
  if(setup->url)
    oc_wipe(setup->url, strlen(setup->url));
  curl_url_cleanup(setup->parsed_url);
  oc_free(setup->text);
  oc_free(setup->headers);
  oc_free(setup->url);
  oc_client_unref(setup->client);
  oc_free(setup);
}

/* Each word of a value: "Bearer KEY", "a=KEY; b=KEY". */
static void hide_words(const char *value, char *text, size_t len) {
  while(*value) {
    size_t word = strcspn(value, " ;,");
    oc_secret_hide(text, len, value, word);
    value += word;
    value += strspn(value, " ;,");
  }
}

void oc_setup_hide(const oc_setup *setup, char *text, size_t len) {
  const struct curl_slist *item;
  for(item = setup->headers; item; item = item->next) {
    const char *colon = strchr(item->data, ':');
    if(colon && oc_secret_is_name(item->data, (size_t)(colon - item->data)))
      hide_words(colon + 1, text, len);
  }
}
