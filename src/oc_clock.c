#include "oc_clock.h"

#if defined(_WIN32)
#include <windows.h>

int64_t oc_now_us(void) {
  LARGE_INTEGER ticks;
  LARGE_INTEGER rate;
  QueryPerformanceCounter(&ticks);
  QueryPerformanceFrequency(&rate);
  return (int64_t)((double)ticks.QuadPart * 1e6 / (double)rate.QuadPart);
}
#else
#include <time.h>

int64_t oc_now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}
#endif

int64_t oc_now_ms(void) {
  return oc_now_us() / 1000;
}
