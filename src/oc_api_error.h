/*
 * oc_api_error: finds out what a server meant by an error body.
 *
 * Servers and gateways differ: {"error":{"message","code","type"}},
 * {"error":"text"}, {"errors":[{...}]}, {"message"}, {"detail"}, HTML from
 * a proxy, plain text, nothing.
 */
#ifndef OC_API_ERROR_H
#define OC_API_ERROR_H

#include <stddef.h>

#include "oc_error.h"
#include "oc_json.h"

/*
 * Fills in `error` from a body. A message found in JSON makes it an error
 * of kind api with the server's own code; anything else one of kind http
 * (api with a status of success: an error event in a stream) with the
 * beginning of the text. Also decides whether trying again makes
 * sense: 408, 409, 429 and 5xx, whether as status or as the body's code.
 */
void oc_api_error_read(oc_error *error, int status, const char *body,
                       size_t len);

/*
 * Whether what stands under "error" is one: servers write null, false, ""
 * and {} there, too.
 */
int oc_api_error_is_problem(oc_slice raw);

#endif
