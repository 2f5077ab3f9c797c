/* A game's way: curl_multi_perform once a frame, with many streams. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "floor.h"

#define FRAME (1.0 / 60)
#define FRAMES_MAX 3600
#define IDLE 1001

static void sleep_until(double when) {
  double left = when - wall_seconds();
  struct timespec ts;

  if(left <= 0)
    return;
  ts.tv_sec = (time_t)left;
  ts.tv_nsec = (long)((left - (double)ts.tv_sec) * 1e9);
  nanosleep(&ts, NULL);
}

/* CPU milliseconds of one call. */
static double perform(CURLM *multi, int *running, long *ended) {
  double start = cpu_seconds();

  if(curl_multi_perform(multi, running))
    die("curl_multi_perform");
  *ended += check_ended(multi);
  return (cpu_seconds() - start) * 1000;
}

void floor_frames(long streams, const char *url) {
  struct curl_slist *headers = make_headers();
  size_t *bytes = must_alloc((size_t)streams, sizeof(*bytes));
  double *times = must_alloc(FRAMES_MAX, sizeof(*times));
  CURLM *multi = curl_multi_init();
  double next = wall_seconds(), worst;
  long i, frames = 0, ended = 0;
  int running = 1;

  for(i = 0; i < streams; i++) {
    if(curl_multi_add_handle(multi, make_stream(url, headers, &bytes[i])))
      die("curl_multi_add_handle");
  }
  while(running && frames < FRAMES_MAX) {
    times[frames++] = perform(multi, &running, &ended);
    next += FRAME;
    sleep_until(next);
  }
  if(ended != streams)
    die("some streams did not end");
  worst = at_share(times, frames, 1);
  printf("median %.4f\n", at_share(times, frames, 0.5));
  printf("p99 %.4f\n", at_share(times, frames, 0.99));
  printf("worst %.4f\n", worst);
  for(i = 0; i < IDLE; i++)
    times[i] = perform(multi, &running, &ended);
  printf("idle %.4f\n", at_share(times, IDLE, 0.5));
  /* the process ends here */
}
