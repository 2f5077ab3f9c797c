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

/*
 * How many frames it took at most until one of the streams that are told of
 * something in this frame was; `seen` and `told` are what was known of each.
 */
static long frames_late(const size_t *bytes, size_t *seen, long *told,
                        long streams, long frame) {
  long i, late = 0;

  for(i = 0; i < streams; i++) {
    if(bytes[i] == seen[i])
      continue;
    if(seen[i] && frame - told[i] > late)
      late = frame - told[i];
    seen[i] = bytes[i];
    told[i] = frame;
  }
  return late;
}

void floor_frames(long streams, const char *url) {
  struct curl_slist *headers = make_headers();
  size_t *bytes = must_alloc((size_t)streams, sizeof(*bytes));
  size_t *seen = must_alloc((size_t)streams, sizeof(*seen));
  long *told = must_alloc((size_t)streams, sizeof(*told));
  double *times = must_alloc(FRAMES_MAX, sizeof(*times));
  CURLM *multi = curl_multi_init();
  double next = wall_seconds(), worst;
  long i, frames = 0, ended = 0, late = 0;
  int running = 1;

  for(i = 0; i < streams; i++) {
    if(curl_multi_add_handle(multi, make_stream(url, headers, &bytes[i])))
      die("curl_multi_add_handle");
  }
  while(running && frames < FRAMES_MAX) {
    long now_late;
    times[frames++] = perform(multi, &running, &ended);
    now_late = frames_late(bytes, seen, told, streams, frames);
    late = now_late > late ? now_late : late;
    next += FRAME;
    sleep_until(next);
  }
  if(ended != streams)
    die("some streams did not end");
  worst = at_share(times, frames, 1);
  printf("median %.4f\n", at_share(times, frames, 0.5));
  printf("p99 %.4f\n", at_share(times, frames, 0.99));
  printf("worst %.4f\n", worst);
  printf("late %ld\n", late);
  for(i = 0; i < IDLE; i++)
    times[i] = perform(multi, &running, &ended);
  printf("idle %.4f\n", at_share(times, IDLE, 0.5));
  /* the process ends here */
}
