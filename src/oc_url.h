/* oc_url: which URLs are valid, and where a redirect may lead. */
#ifndef OC_URL_H
#define OC_URL_H

/* Whether libcurl understands it; the scheme is http or https. */
int oc_url_is_valid(const char *url);
/*
 * Whether a request that carries a key may follow from one URL to another:
 * the same host and port, or the step from http to https on the same host.
 */
int oc_url_may_follow(const char *from, const char *to);

/*
 * Path and query of a URL. NULL: it is none, or out of memory; the caller
 * frees.
 */
char *oc_url_path(const char *url);
/* Where a Location leads from a URL; the same. */
char *oc_url_join(const char *from, const char *location);

#endif
