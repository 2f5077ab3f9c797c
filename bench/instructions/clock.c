/*
 * To be preloaded: the time is always the same. Lua makes the seed of its
 * hashes of it, and where two keys collide more instructions are needed.
 */
#include <time.h>

__attribute__((visibility("default")))
time_t time(time_t *out) {
  const time_t now = 1700000000;
  if(out)
    *out = now;
  return now;
}
