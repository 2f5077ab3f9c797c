/*
 * What a server says of when to come back. The lines of the input are
 * x-should-retry, retry-after-ms, retry-after, date, and the message.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "../../src/oc_retry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const oc_slice empty = { "", 0 };
  static const int64_t year_ms = (int64_t)1000 * 3600 * 24 * 365;
  const char *at = (const char *)data;
  const char *end = at + size;
  oc_retry_hints hints;
  oc_slice *slots[4];
  oc_error error;
  char *copies[5];
  char *message;
  int64_t wait;
  int64_t words;
  int i;

  slots[0] = &hints.should;
  slots[1] = &hints.after_ms;
  slots[2] = &hints.after;
  slots[3] = &hints.date;
  for(i = 0; i < 5; i++) {
    oc_slice line;
    if(!fuzz_line(&at, end, &line))
      line = empty;
    copies[i] = i < 4 ? fuzz_copy(line.text, line.len)
                      : fuzz_string(line.text, line.len);
    if(i < 4) {
      slots[i]->text = copies[i];
      slots[i]->len = line.len;
    }
  }
  message = copies[4];
  words = oc_retry_in_text(message);
  MUST(words >= -1 && words <= year_ms);
  wait = oc_retry_after(&hints, message, 1000000000);
  MUST(wait >= -1 && wait <= year_ms && wait != 0);
  if(!hints.after.len && !hints.after_ms.len)
    MUST(wait == (words > 0 ? words : -1));

  memset(&error, 0, sizeof error);
  for(i = 0; i < OC_CODE_COUNT; i++) {
    error.code = (oc_code)i;
    error.status = (int)(size * 37 % 600);
    if(oc_retry_is_answer(&error) && oc_retry_is_worth(&error, &hints))
      MUST(hints.should.len != 5 || memcmp(hints.should.text, "false", 5));
  }
  fuzz_reset_random();
  for(i = 0; i < 40; i++) {
    wait = oc_retry_backoff(i);
    MUST(wait >= OC_RETRY_FIRST_MS / 4 * 3 && wait <= OC_RETRY_LIMIT_MS);
  }
  for(i = 0; i < 5; i++)
    free(copies[i]);
  return 0;
}
