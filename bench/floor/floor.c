/*
 * What bare libcurl spends on the exchanges of the benches.
 *
 *   floor sequential N BODYFILE URL   N posts one after another
 *   floor burst URL                   one stream, its bytes only counted
 *   floor paced N URL [CA WARMURL]    N streams at once; with CA over one
 *                                     HTTP/2 connection, opened by WARMURL
 *   floor frames N URL                N streams, moved 60 times a second
 *   floor first N URL                 the first text of N streams
 *   floor memory N URL                bytes that each of N streams takes
 *   floor version                     libcurl's
 *
 * Prints `cpu SECONDS`, user and system time of the exchanges alone, and
 * `wall SECONDS`; frames, first and memory print figures of their own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "floor.h"

static int usage(void) {
  fprintf(stderr, "usage: floor sequential N BODYFILE URL\n"
                  "       floor burst URL\n"
                  "       floor paced N URL [CA WARMURL]\n"
                  "       floor frames|first|memory N URL\n"
                  "       floor version\n");
  return 2;
}

int main(int argc, char **argv) {
  const char *mode = argc > 1 ? argv[1] : "";
  long count = argc > 2 ? strtol(argv[2], NULL, 10) : 0;
  struct rlimit limit;

  if(!getrlimit(RLIMIT_NOFILE, &limit)) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  if(curl_global_init(CURL_GLOBAL_DEFAULT))
    die("curl_global_init");
  if(argc == 2 && !strcmp(mode, "version"))
    printf("%s\n", curl_version_info(CURLVERSION_NOW)->version);
  else if(argc == 3 && !strcmp(mode, "burst"))
    floor_burst(argv[2]);
  else if(count <= 0)
    return usage();
  else if(argc == 5 && !strcmp(mode, "sequential"))
    floor_posts(count, argv[3], argv[4]);
  else if(argc == 4 && !strcmp(mode, "paced"))
    floor_paced(count, argv[3], NULL, NULL);
  else if(argc == 6 && !strcmp(mode, "paced"))
    floor_paced(count, argv[3], argv[4], argv[5]);
  else if(argc == 4 && !strcmp(mode, "frames"))
    floor_frames(count, argv[3]);
  else if(argc == 4 && !strcmp(mode, "first"))
    floor_first(count, argv[3]);
  else if(argc == 4 && !strcmp(mode, "memory"))
    floor_memory(count, argv[3]);
  else
    return usage();
  curl_global_cleanup();
  return 0;
}
