/* Two URLs, a line each: whether the key may go from one to the other. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "../../src/oc_url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const char *at = (const char *)data;
  const char *end = at + size;
  oc_slice line = { "", 0 };
  char *from;
  char *to;

  fuzz_line(&at, end, &line);
  from = fuzz_string(line.text, line.len);
  line.len = 0;
  fuzz_line(&at, end, &line);
  to = fuzz_string(line.text, line.len);
  if(oc_url_is_valid(from))
    MUST(oc_url_may_follow(from, from));
  if(oc_url_may_follow(from, to)) {
    /* never from TLS to the open */
    MUST(strncmp(from, "https:", 6) || strncmp(to, "http:", 5));
    MUST(oc_url_may_follow(to, to));
  }
  free(from);
  free(to);
  return 0;
}
