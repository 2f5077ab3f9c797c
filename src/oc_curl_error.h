/* oc_curl_error: what a result of libcurl means here. */
#ifndef OC_CURL_ERROR_H
#define OC_CURL_ERROR_H

#include <curl/curl.h>

#include "oc_error.h"

/*
 * Sets the error for a failed transfer. `detail` is libcurl's own text
 * (CURLOPT_ERRORBUFFER), may be empty. `is_connected`: the connection
 * stood already, so a timeout is not one of connecting.
 */
void oc_curl_error_set(oc_error *error, CURLcode result, const char *detail,
                       int is_connected);

#endif
