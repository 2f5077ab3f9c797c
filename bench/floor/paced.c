/* Many streams at once: the loop as libcurl's own examples write it. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "floor.h"

/* One connection for all, which libcurl limits to 100 streams by itself. */
static void use_http2(CURL *easy, const char *ca) {
  curl_easy_setopt(easy, CURLOPT_CAINFO, ca);
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
  curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L);
}

static void step(CURLM *multi, int *running) {
  if(curl_multi_perform(multi, running))
    die("curl_multi_perform");
}

static void pause_until_news(CURLM *multi) {
  if(curl_multi_poll(multi, NULL, 0, 1000, NULL))
    die("curl_multi_poll");
}

static void add(CURLM *multi, CURL *easy) {
  if(curl_multi_add_handle(multi, easy))
    die("curl_multi_add_handle");
}

static void warm_up(CURLM *multi, const char *url, const char *ca,
                    struct curl_slist *headers) {
  size_t bytes = 0;
  CURL *easy = make_stream(url, headers, &bytes);
  int running = 1;

  use_http2(easy, ca);
  add(multi, easy);
  while(running) {
    step(multi, &running);
    if(running)
      pause_until_news(multi);
  }
  if(check_ended(multi) != 1)
    die("the first request did not end");
  curl_multi_remove_handle(multi, easy);
  curl_easy_cleanup(easy);
}

void floor_paced(long streams, const char *url, const char *ca,
                 const char *warm) {
  struct curl_slist *headers = make_headers();
  CURL **easies = must_alloc((size_t)streams, sizeof(*easies));
  size_t *bytes = must_alloc((size_t)streams, sizeof(*bytes));
  CURLM *multi = curl_multi_init();
  struct spent start;
  long i, connects = 0, done = 0;
  int running;

  curl_multi_setopt(multi, CURLMOPT_MAX_CONCURRENT_STREAMS, streams + 1);
  if(ca)
    warm_up(multi, warm, ca, headers);
  start = spent_now();
  for(i = 0; i < streams; i++) {
    easies[i] = make_stream(url, headers, &bytes[i]);
    if(ca)
      use_http2(easies[i], ca);
    add(multi, easies[i]);
  }
  do {
    step(multi, &running);
    done += check_ended(multi);
    if(running)
      pause_until_news(multi);
  } while(running);
  print_spent(start);
  for(i = 0; i < streams; i++) {
    long count = 0;

    if(bytes[i] != bytes[0] || !bytes[i])
      die("the streams are not equally long");
    curl_easy_getinfo(easies[i], CURLINFO_NUM_CONNECTS, &count);
    connects += count;
    curl_multi_remove_handle(multi, easies[i]);
    curl_easy_cleanup(easies[i]);
  }
  if(done != streams)
    die("some streams did not end");
  if(ca && connects)
    die("that took more than one connection");
  curl_multi_cleanup(multi);
  curl_slist_free_all(headers);
  free(easies);
  free(bytes);
}

static double resident_bytes(void) {
  FILE *file = fopen("/proc/self/statm", "r");
  double size, resident;

  if(!file || fscanf(file, "%lf %lf", &size, &resident) != 2)
    die("/proc/self/statm cannot be read");
  fclose(file);
  return resident * (double)sysconf(_SC_PAGESIZE);
}

/* Prints what a stream takes once each of them has begun. */
void floor_memory(long streams, const char *url) {
  struct curl_slist *headers = make_headers();
  size_t *bytes = must_alloc((size_t)streams, sizeof(*bytes));
  CURLM *multi = curl_multi_init();
  double before;
  long i, begun = 0;
  int running = 1;

  before = resident_bytes();
  for(i = 0; i < streams; i++)
    add(multi, make_stream(url, headers, &bytes[i]));
  while(running && begun < streams) {
    step(multi, &running);
    pause_until_news(multi);
    for(begun = 0; begun < streams && bytes[begun]; begun++)
      ;
  }
  if(begun < streams)
    die("some streams did not begin");
  printf("bytes %.0f\n", (resident_bytes() - before) / (double)streams);
  /* the process ends here, and the streams with it */
}
