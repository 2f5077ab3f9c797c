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

void oc_sleep_us(int64_t us) {
  Sleep((DWORD)((us + 999) / 1000));
}
#else
#include <time.h>

int64_t oc_now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void oc_sleep_us(int64_t us) {
  struct timespec time;
  time.tv_sec = (time_t)(us / 1000000);
  time.tv_nsec = (long)(us % 1000000) * 1000;
  nanosleep(&time, NULL);
}
#endif

double oc_seconds_between(int64_t from_us, int64_t to_us) {
  return (double)(to_us - from_us) / 1e6;
}
