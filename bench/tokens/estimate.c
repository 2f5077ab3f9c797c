/*
 * The core's estimate of tokens, for bench/tokens/run.mjs.
 *
 *   estimate < records     each record: its length in bytes, a newline, the
 *                          bytes; prints one estimate a line
 *   estimate --speed < text   prints the MB of it estimated in a second
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "oc_tokens.h"

static char *read_all(FILE *file, size_t *len) {
  size_t cap = 1 << 16;
  char *text = malloc(cap);
  size_t got;

  *len = 0;
  while(text && (got = fread(text + *len, 1, cap - *len, file)) > 0) {
    *len += got;
    if(*len == cap) {
      char *more = realloc(text, cap *= 2);

      if(!more)
        free(text);
      text = more;
    }
  }
  if(!text) {
    fputs("estimate: no memory\n", stderr);
    exit(1);
  }
  return text;
}

static int estimates(const char *text, size_t len) {
  size_t at = 0;

  while(at < len) {
    size_t size = 0;

    while(at < len && text[at] >= '0' && text[at] <= '9')
      size = size * 10 + (size_t)(text[at++] - '0');
    if(at == len || text[at++] != '\n' || size > len - at) {
      fputs("estimate: bad record\n", stderr);
      return 1;
    }
    printf("%lu\n", (unsigned long)oc_tokens_text(text + at, size));
    at += size;
  }
  return 0;
}

static double seconds(void) {
  struct timespec now;

  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The best of ten tries: the machine has others to serve. */
static int speed(const char *text, size_t len) {
  size_t sum = 0;
  double best = 0;
  int i;

  for(i = 0; i < 10; i++) {
    double start = seconds();
    double rate;
    size_t done = 0;

    do {
      sum += oc_tokens_text(text, len);
      done += len;
    } while(done < 10000000);
    rate = (double)done / 1e6 / (seconds() - start);
    if(rate > best)
      best = rate;
  }
  printf("%.0f\n", best);
  return sum ? 0 : 1;
}

int main(int argc, char **argv) {
  size_t len;
  char *text = read_all(stdin, &len);
  int failed;

  if(argc > 1 && strcmp(argv[1], "--speed") == 0)
    failed = len ? speed(text, len) : 1;
  else
    failed = estimates(text, len);
  free(text);
  return failed;
}
