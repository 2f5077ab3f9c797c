/*
 * The floor: what bare libcurl spends on the exchanges of the benches.
 *
 *   floor sequential N BODYFILE URL   N posts one after another
 *   floor post N BODYFILE URL         the same with a body of many megabytes
 *   floor burst URL                   one stream, its bytes only counted
 *   floor paced N URL                 N streams at once
 *
 * Prints `cpu SECONDS`, user and system time of the exchanges alone. A run
 * whose answers are not all whole prints why and fails.
 */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* Body of a request that asks for a stream. */
#define STREAM_BODY \
  "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]," \
  "\"stream\":true,\"stream_options\":{\"include_usage\":true}}"

struct buffer {
  char *data;
  size_t len;
  size_t cap;
};

static void die(const char *what) {
  fprintf(stderr, "floor: %s\n", what);
  exit(1);
}

static double cpu_seconds(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void append(struct buffer *buffer, const char *bytes, size_t len) {
  if(buffer->len + len > buffer->cap) {
    buffer->cap = (buffer->len + len) * 2;
    buffer->data = realloc(buffer->data, buffer->cap);
    if(!buffer->data)
      die("out of memory");
  }
  memcpy(buffer->data + buffer->len, bytes, len);
  buffer->len += len;
}

static struct buffer read_file(const char *path) {
  struct buffer buffer = { NULL, 0, 0 };
  char bytes[65536];
  size_t n;
  FILE *file = fopen(path, "rb");

  if(!file)
    die("cannot open the body file");
  while((n = fread(bytes, 1, sizeof(bytes), file)) > 0)
    append(&buffer, bytes, n);
  fclose(file);
  return buffer;
}

static size_t collect(char *bytes, size_t size, size_t len, void *to) {
  append(to, bytes, size * len);
  return size * len;
}

static size_t count(char *bytes, size_t size, size_t len, void *to) {
  (void)bytes;
  *(size_t *)to += size * len;
  return size * len;
}

static struct curl_slist *make_headers(void) {
  struct curl_slist *list;

  list = curl_slist_append(NULL, "Content-Type: application/json");
  list = curl_slist_append(list, "Authorization: Bearer test");
  /* Waiting for "100 Continue" would only make the floor higher. */
  list = curl_slist_append(list, "Expect:");
  if(!list)
    die("out of memory");
  return list;
}

static CURL *make_post(const char *url, struct curl_slist *headers,
                       const char *body, size_t len) {
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

static void check(CURL *easy, CURLcode result) {
  long status = 0;

  if(result != CURLE_OK)
    die(curl_easy_strerror(result));
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  if(status != 200)
    die("the answer is not 200");
}

static double posts(long times, const char *path, const char *url) {
  struct buffer body = read_file(path);
  struct buffer answer = { NULL, 0, 0 };
  struct curl_slist *headers = make_headers();
  CURL *easy = make_post(url, headers, body.data, body.len);
  double start;
  long i;

  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, collect);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &answer);
  start = cpu_seconds();
  for(i = 0; i < times; i++) {
    answer.len = 0;
    check(easy, curl_easy_perform(easy));
    if(!answer.len || answer.data[answer.len - 1] != '}')
      die("the answer is not whole");
  }
  start = cpu_seconds() - start;
  curl_easy_cleanup(easy);
  curl_slist_free_all(headers);
  free(answer.data);
  free(body.data);
  return start;
}

static double burst(const char *url) {
  struct curl_slist *headers = make_headers();
  CURL *easy = make_post(url, headers, STREAM_BODY, strlen(STREAM_BODY));
  size_t bytes = 0;
  double start;

  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, count);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &bytes);
  start = cpu_seconds();
  check(easy, curl_easy_perform(easy));
  start = cpu_seconds() - start;
  if(!bytes)
    die("the stream is empty");
  curl_easy_cleanup(easy);
  curl_slist_free_all(headers);
  return start;
}

/* The loop as libcurl's own examples write it. */
static double paced(long streams, const char *url) {
  struct curl_slist *headers = make_headers();
  CURL **easies = calloc((size_t)streams, sizeof(*easies));
  size_t *bytes = calloc((size_t)streams, sizeof(*bytes));
  CURLM *multi = curl_multi_init();
  double start;
  long i, done = 0;
  int running, left;

  if(!easies || !bytes || !multi)
    die("out of memory");
  start = cpu_seconds();
  for(i = 0; i < streams; i++) {
    easies[i] = make_post(url, headers, STREAM_BODY, strlen(STREAM_BODY));
    curl_easy_setopt(easies[i], CURLOPT_WRITEFUNCTION, count);
    curl_easy_setopt(easies[i], CURLOPT_WRITEDATA, &bytes[i]);
    if(curl_multi_add_handle(multi, easies[i]))
      die("curl_multi_add_handle");
  }
  do {
    CURLMsg *message;

    if(curl_multi_perform(multi, &running))
      die("curl_multi_perform");
    while((message = curl_multi_info_read(multi, &left)) != NULL) {
      if(message->msg == CURLMSG_DONE) {
        check(message->easy_handle, message->data.result);
        done++;
      }
    }
    if(running && curl_multi_poll(multi, NULL, 0, 1000, NULL))
      die("curl_multi_poll");
  } while(running);
  start = cpu_seconds() - start;
  for(i = 0; i < streams; i++) {
    if(bytes[i] != bytes[0] || !bytes[i])
      die("the streams are not equally long");
    curl_multi_remove_handle(multi, easies[i]);
    curl_easy_cleanup(easies[i]);
  }
  if(done != streams)
    die("some streams did not end");
  curl_multi_cleanup(multi);
  curl_slist_free_all(headers);
  free(easies);
  free(bytes);
  return start;
}

int main(int argc, char **argv) {
  const char *mode = argc > 2 ? argv[1] : "";
  struct rlimit limit;
  double cpu;

  if(!getrlimit(RLIMIT_NOFILE, &limit)) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  if(curl_global_init(CURL_GLOBAL_DEFAULT))
    die("curl_global_init");
  if(argc == 5 && (!strcmp(mode, "sequential") || !strcmp(mode, "post")))
    cpu = posts(strtol(argv[2], NULL, 10), argv[3], argv[4]);
  else if(argc == 3 && !strcmp(mode, "burst"))
    cpu = burst(argv[2]);
  else if(argc == 4 && !strcmp(mode, "paced"))
    cpu = paced(strtol(argv[2], NULL, 10), argv[3]);
  else {
    fprintf(stderr, "usage: floor sequential|post N BODYFILE URL\n"
                    "       floor burst URL\n"
                    "       floor paced N URL\n");
    return 2;
  }
  printf("cpu %.6f\n", cpu);
  curl_global_cleanup();
  return 0;
}
