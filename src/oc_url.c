#include "oc_url.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "oc_alloc.h"

/* One URL taken apart; the strings are libcurl's. */
struct parts {
  CURLU *url;
  char *scheme;
  char *host;
  char *port;
};

static int take_apart(struct parts *parts, const char *text) {
  memset(parts, 0, sizeof *parts);
  parts->url = curl_url();
  return parts->url
         && !curl_url_set(parts->url, CURLUPART_URL, text, 0)
         && !curl_url_get(parts->url, CURLUPART_SCHEME, &parts->scheme, 0)
         && !curl_url_get(parts->url, CURLUPART_HOST, &parts->host, 0)
         && !curl_url_get(parts->url, CURLUPART_PORT, &parts->port,
                          CURLU_DEFAULT_PORT);
}

static void drop(struct parts *parts) {
  curl_free(parts->scheme);
  curl_free(parts->host);
  curl_free(parts->port);
  curl_url_cleanup(parts->url);
}

int oc_url_is_valid(const char *url) {
  struct parts parts;
  int is_valid = take_apart(&parts, url)
                 && (!strcmp(parts.scheme, "http")
                     || !strcmp(parts.scheme, "https"));
  drop(&parts);
  return is_valid;
}

int oc_url_may_follow(const char *from, const char *to) {
  struct parts a;
  struct parts b;
  int may = 0;

  /* both, so that both can be dropped */
  int is_url = take_apart(&a, from);
  is_url = take_apart(&b, to) && is_url;
  if(is_url && !strcasecmp(a.host, b.host)) {
    if(!strcmp(a.scheme, b.scheme))
      may = !strcmp(a.port, b.port);
    else
      may = !strcmp(a.scheme, "http") && !strcmp(b.scheme, "https")
            && !strcmp(a.port, "80") && !strcmp(b.port, "443");
  }
  drop(&a);
  drop(&b);
  return may;
}

char *oc_url_path(const char *url) {
  struct parts parts;
  char *path = NULL;
  char *query = NULL;
  char *result = NULL;

  if(take_apart(&parts, url)
     && !curl_url_get(parts.url, CURLUPART_PATH, &path, 0)) {
    size_t size;
    curl_url_get(parts.url, CURLUPART_QUERY, &query, 0);
    size = strlen(path) + (query ? strlen(query) : 0) + 2;
    result = oc_malloc(size);
    if(result)
      snprintf(result, size, "%s%s%s", path, query ? "?" : "",
               query ? query : "");
  }
  curl_free(path);
  curl_free(query);
  drop(&parts);
  return result;
}

char *oc_url_join(const char *from, const char *location) {
  struct parts parts;
  char *url = NULL;
  char *result = NULL;

  if(take_apart(&parts, from)
     && !curl_url_set(parts.url, CURLUPART_URL, location, 0)
     && !curl_url_get(parts.url, CURLUPART_URL, &url, 0))
    result = oc_strndup(url, strlen(url));
  curl_free(url);
  drop(&parts);
  return result;
}
