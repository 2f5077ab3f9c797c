/*
 * What the first text of a stream costs: CPU time from the moment before the
 * program waits for it until the write callback has it. The head of the
 * answer, and the chunk that only names the role, came some time before.
 */
#include <stdio.h>
#include <stdlib.h>

#include "floor.h"

struct watch {
  int writes;
  double at;                    /* CPU clock when the text was there */
};

static size_t note(char *bytes, size_t size, size_t len, void *to) {
  struct watch *watch = to;

  (void)bytes;
  if(++watch->writes == 2)
    watch->at = cpu_seconds();
  return size * len;
}

/* Microseconds. */
static double one(CURLM *multi, CURL *easy, struct watch *watch) {
  double before = 0;
  int running = 1;

  watch->writes = 0;
  watch->at = 0;
  if(curl_multi_add_handle(multi, easy))
    die("curl_multi_add_handle");
  do {
    if(curl_multi_perform(multi, &running))
      die("curl_multi_perform");
    if(watch->writes < 2)
      before = cpu_seconds();
    if(running && curl_multi_poll(multi, NULL, 0, 1000, NULL))
      die("curl_multi_poll");
  } while(running);
  if(check_ended(multi) != 1 || !watch->at)
    die("the stream has no text");
  curl_multi_remove_handle(multi, easy);
  return (watch->at - before) * 1e6;
}

void floor_first(long times, const char *url) {
  struct curl_slist *headers = make_headers();
  double *values = must_alloc((size_t)times, sizeof(*values));
  struct watch watch;
  CURLM *multi = curl_multi_init();
  size_t bytes = 0;
  CURL *easy = make_stream(url, headers, &bytes);
  long i;

  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, note);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &watch);
  for(i = 0; i < times; i++)
    values[i] = one(multi, easy, &watch);
  printf("first %.2f\n", at_share(values, times, 0.5));
  printf("first_p95 %.2f\n", at_share(values, times, 0.95));
  curl_easy_cleanup(easy);
  curl_multi_cleanup(multi);
  curl_slist_free_all(headers);
  free(values);
}
