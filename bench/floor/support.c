#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "floor.h"

/* Body of a request that asks for a stream. */
#define STREAM_BODY \
  "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]," \
  "\"stream\":true,\"stream_options\":{\"include_usage\":true}}"

void die(const char *what) {
  fprintf(stderr, "floor: %s\n", what);
  exit(1);
}

void *must_alloc(size_t count, size_t size) {
  void *memory = calloc(count, size);
  if(!memory)
    die("out of memory");
  return memory;
}

double cpu_seconds(void) {
  struct timespec ts;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
  return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

double wall_seconds(void) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

struct spent spent_now(void) {
  struct spent spent;
  spent.wall = wall_seconds();
  spent.cpu = cpu_seconds();
  return spent;
}

void print_spent(struct spent start) {
  printf("cpu %.6f\n", cpu_seconds() - start.cpu);
  printf("wall %.6f\n", wall_seconds() - start.wall);
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double at_share(double *values, long count, double share) {
  long at = (long)((double)count * share);
  qsort(values, (size_t)count, sizeof(*values), compare);
  return values[at < count ? at : count - 1];
}

struct curl_slist *make_headers(void) {
  struct curl_slist *list;

  list = curl_slist_append(NULL, "Content-Type: application/json");
  list = curl_slist_append(list, "Authorization: Bearer test");
  /* Waiting for "100 Continue" would only make the floor higher. */
  list = curl_slist_append(list, "Expect:");
  if(!list)
    die("out of memory");
  return list;
}

CURL *make_post(const char *url, struct curl_slist *headers, const char *body,
                size_t len) {
  CURL *easy = curl_easy_init();

  if(!easy)
    die("curl_easy_init");
  curl_easy_setopt(easy, CURLOPT_URL, url);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_PROXY, "");
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
  curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len);
  return easy;
}

static size_t count(char *bytes, size_t size, size_t len, void *to) {
  (void)bytes;
  *(size_t *)to += size * len;
  return size * len;
}

CURL *make_stream(const char *url, struct curl_slist *headers,
                  size_t *bytes) {
  CURL *easy = make_post(url, headers, STREAM_BODY, strlen(STREAM_BODY));

  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, count);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, bytes);
  return easy;
}

void check(CURL *easy, CURLcode result) {
  long status = 0;

  if(result != CURLE_OK)
    die(curl_easy_strerror(result));
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  if(status != 200)
    die("the answer is not 200");
}

long check_ended(CURLM *multi) {
  CURLMsg *message;
  long ended = 0;
  int left;

  while((message = curl_multi_info_read(multi, &left)) != NULL) {
    if(message->msg == CURLMSG_DONE) {
      check(message->easy_handle, message->data.result);
      ended++;
    }
  }
  return ended;
}
