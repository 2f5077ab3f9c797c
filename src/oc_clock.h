/* oc_clock: monotonic time; setting the wall clock does not move it. */
#ifndef OC_CLOCK_H
#define OC_CLOCK_H

#include <stdint.h>

/* A time that is never reached. */
#define OC_NEVER INT64_MAX

/* Microseconds of a millisecond: a time limit is given in milliseconds and
   added to a time of this clock, which is finer, so that no deadline comes
   before its time. */
#define OC_MS ((int64_t)1000)

int64_t oc_now_us(void);
double oc_seconds_between(int64_t from_us, int64_t to_us);
/* Sleeps that long, or until a signal comes. */
void oc_sleep_us(int64_t us);

#endif
