/*
 * The body of an error. The first line is the status, then a secret that
 * must not be seen any more once it was hidden.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "../../src/oc_api_error.h"
#include "../../src/oc_secret.h"
#include "../../src/oc_utf8.h"

static int is_valid(const char *text) {
  size_t len = strlen(text);
  return oc_utf8_valid_prefix(text, len) == len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const char *at = (const char *)data;
  const char *end = at + size;
  oc_slice line = { "", 0 };
  oc_error error;
  oc_json reader;
  char *number;
  char *secret;
  char *body;
  size_t len;

  fuzz_line(&at, end, &line);
  number = fuzz_string(line.text, line.len < 3 ? line.len : 3);
  line.len = 0;
  fuzz_line(&at, end, &line);
  secret = fuzz_string(line.text, line.len);
  len = (size_t)(end - at);
  body = fuzz_copy(at, len);

  memset(&error, 0, sizeof error);
  oc_api_error_read(&error, atoi(number), body, len);
  MUST(error.code == OC_E_API || error.code == OC_E_HTTP_STATUS);
  MUST(error.status == atoi(number));
  MUST(memchr(error.name, 0, sizeof error.name) && *error.name);
  MUST(is_valid(oc_error_message(&error)) && is_valid(error.name));
  oc_secret_hide(error.name, strlen(error.name), secret, strlen(secret));
  if(error.message)
    oc_secret_hide(error.message, strlen(error.message), secret,
                   strlen(secret));
  if(strlen(secret) >= 12) {
    MUST(!strstr(oc_error_message(&error), secret)
         || secret[strspn(secret, "*")] == '\0');
    MUST(!strstr(error.name, secret)
         || secret[strspn(secret, "*")] == '\0');
  }
  oc_error_clear(&error);

  oc_json_init(&reader, body, len);
  if(oc_json_next(&reader) > OC_JSON_END) {
    oc_slice raw;
    if(!oc_json_skip(&reader, &raw))
      oc_api_error_is_problem(raw);
  }
  free(number);
  free(secret);
  free(body);
  return 0;
}
