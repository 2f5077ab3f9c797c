/* oc_url: where a redirect may lead. */
#ifndef OC_URL_H
#define OC_URL_H

/*
 * Whether a request that carries a key may follow from one URL to another:
 * the same host and port, or the step from http to https on the same host.
 */
int oc_url_may_follow(const char *from, const char *to);

#endif
