/*
 * The floor: what bare libcurl spends on the exchanges of the benches. Each
 * function does its work and prints its figures, `NAME NUMBER` a line. A run
 * whose answers are not all whole says why and fails.
 */
#ifndef FLOOR_H
#define FLOOR_H

#include <curl/curl.h>
#include <stddef.h>

/* exchanges.c: one after another */
void floor_posts(long times, const char *path, const char *url);
void floor_burst(const char *url);

/* paced.c: at once. `ca` (NULL: none) and `warm` for one HTTP/2 connection:
   a first request to `warm` opens it. */
void floor_paced(long streams, const char *url, const char *ca,
                 const char *warm);
void floor_memory(long streams, const char *url);

/* frames.c */
void floor_frames(long streams, const char *url);

/* first.c */
void floor_first(long times, const char *url);

/* support.c */
struct spent {
  double cpu;                   /* user and system time of this process */
  double wall;
};

void die(const char *what) __attribute__((noreturn));
void *must_alloc(size_t count, size_t size);
double cpu_seconds(void);
double wall_seconds(void);
struct spent spent_now(void);
/* Prints what was spent since `start`. */
void print_spent(struct spent start);
/* A number of which `share` of all are no larger; sorts them. */
double at_share(double *values, long count, double share);

struct curl_slist *make_headers(void);
CURL *make_post(const char *url, struct curl_slist *headers, const char *body,
                size_t len);
/* The same that asks for a stream, whose bytes are counted in `bytes`. */
CURL *make_stream(const char *url, struct curl_slist *headers, size_t *bytes);
void check(CURL *easy, CURLcode result);
/* Takes the endings of a multi handle; returns how many there were. */
long check_ended(CURLM *multi);

#endif
