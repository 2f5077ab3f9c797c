#include "loopback.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#ifdef HOST_TLS
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#endif

/* {==== sockets ==== */

static int listen_somewhere(int *port) {
  struct sockaddr_in address;
  socklen_t size = sizeof address;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  memset(&address, 0, sizeof address);
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if(fd < 0 || bind(fd, (struct sockaddr *)&address, size)
     || listen(fd, 128)
     || getsockname(fd, (struct sockaddr *)&address, &size)) {
    perror("loopback");
    exit(1);
  }
  *port = ntohs(address.sin_port);
  return fd;
}

static pid_t servers[2];

static void end_servers(void) {
  size_t i;
  for(i = 0; i < sizeof servers / sizeof *servers; i++) {
    if(servers[i] > 0)
      kill(servers[i], SIGKILL);
  }
}

/*
 * A server is a process of its own: a program that forks while threads of its
 * own allocate may find the allocator locked for ever in the child (seen with
 * ASan's). It says nothing, and goes with the program.
 */
static void serve_apart(void *(*accept_all)(void *), int fd) {
  static size_t count;
  int alive[2];
  pid_t pid;
  if(count == sizeof servers / sizeof *servers || pipe(alive)
     || (pid = fork()) < 0) {
    perror("loopback: server");
    exit(1);
  }
  if(!pid) {
    char byte;
    pthread_t thread;
    close(alive[1]);
    if(!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr)
       || pthread_create(&thread, NULL, accept_all, (void *)(intptr_t)fd))
      _exit(1);
    /* ends when nobody is left who could write */
    while(read(alive[0], &byte, 1) > 0)
      continue;
    _exit(0);
  }
  close(alive[0]);
  close(fd);
  fcntl(alive[1], F_SETFD, FD_CLOEXEC);
  if(!count)
    atexit(end_servers);
  servers[count++] = pid;
}

static void start_thread(void *(*function)(void *), int fd) {
  pthread_t thread;
  if(pthread_create(&thread, NULL, function, (void *)(intptr_t)fd)) {
    perror("loopback: thread");
    exit(1);
  }
  pthread_detach(thread);
}

/* 0: all was sent. */
static int put(int fd, const char *text) {
  size_t len = strlen(text);
  while(len) {
    ssize_t sent = send(fd, text, len, MSG_NOSIGNAL);
    if(sent <= 0)
      return 1;
    text += sent;
    len -= (size_t)sent;
  }
  return 0;
}

static void nap(long ms) {
  struct timespec time;
  time.tv_sec = ms / 1000;
  time.tv_nsec = ms % 1000 * 1000000;
  nanosleep(&time, NULL);
}

/* }==== */

/* {==== answers ==== */

#define USAGE "\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2," \
  "\"total_tokens\":9,\"cost\":0.5}"
#define CALLS "\"tool_calls\":[{\"index\":0,\"id\":\"c1\"," \
  "\"type\":\"function\",\"function\":{\"name\":\"add\"," \
  "\"arguments\":\"{\\\"a\\\":1,\\\"b\\\":2}\"}}]"

static int put_whole(int fd, const char *body) {
  char head[200];
  snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\n"
           "Content-Type: application/json\r\nContent-Length: %lu\r\n\r\n",
           (unsigned long)strlen(body));
  return put(fd, head) || put(fd, body);
}

static int put_chunk(int fd, const char *data) {
  char text[1000];
  snprintf(text, sizeof text, "%lx\r\ndata: %s\n\n\r\n",
           (unsigned long)strlen(data) + 8, data);
  return put(fd, text);
}

static int begin_stream(int fd) {
  return put(fd, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                 "Transfer-Encoding: chunked\r\n\r\n");
}

#define DELTA(delta) "{\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":" \
  "0,\"delta\":{" delta "}}]}"

static int put_stream(int fd, int with_calls) {
  if(begin_stream(fd))
    return 1;
  if(with_calls)
    return put_chunk(fd, DELTA(CALLS))
           || put_chunk(fd, "{\"choices\":[{\"index\":0,\"delta\":{},"
                            "\"finish_reason\":\"tool_calls\"}]," USAGE "}")
           || put_chunk(fd, "[DONE]") || put(fd, "0\r\n\r\n");
  return put_chunk(fd, DELTA("\"role\":\"assistant\",\"content\":\"\""))
         || put_chunk(fd, DELTA("\"reasoning_content\":\"hm\""))
         || put_chunk(fd, DELTA("\"content\":\"o\""))
         || put_chunk(fd, DELTA("\"content\":\"k\""))
         || put_chunk(fd, "{\"choices\":[{\"index\":0,\"delta\":{},"
                          "\"finish_reason\":\"stop\"}]}")
         || put_chunk(fd, "{\"choices\":[]," USAGE "}")
         || put_chunk(fd, "[DONE]") || put(fd, "0\r\n\r\n");
}

static int put_slowly(int fd) {
  int bad = begin_stream(fd);
  while(!bad) {
    bad = put_chunk(fd, DELTA("\"content\":\"drip \""));
    nap(5);
  }
  return bad;
}

/* Answers one request. 0: the connection goes on. */
static int answer(int fd, const char *head, const char *body) {
  int with_calls = strstr(body, "\"tools\"")
                   && !strstr(body, "\"tool_call_id\"");
  if(strstr(head, " /slow"))
    return put_slowly(fd);
  if(strstr(body, "\"stream\":true"))
    return put_stream(fd, with_calls);
  if(with_calls)
    return put_whole(fd, "{\"id\":\"c\",\"model\":\"m\",\"choices\":[{"
                         "\"index\":0,\"message\":{\"role\":\"assistant\","
                         "\"content\":null," CALLS "},\"finish_reason\":"
                         "\"tool_calls\"}]," USAGE "}");
  return put_whole(fd, "{\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\""
                       ":0,\"message\":{\"role\":\"assistant\",\"content\":"
                       "\"ok\",\"x\":{\"y\":[1]}},\"finish_reason\":\"stop\""
                       "}]," USAGE "}");
}

/* }==== */

/* {==== requests ==== */

/* Reads until `len` bytes are there, growing the text. 0: they are. */
static int fill(int fd, char **text, size_t *have, size_t len) {
  *text = realloc(*text, len + 1);
  if(!*text)
    exit(1);
  while(*have < len) {
    ssize_t got = recv(fd, *text + *have, len - *have, 0);
    if(got <= 0)
      return 1;
    *have += (size_t)got;
  }
  (*text)[len] = '\0';
  return 0;
}

/* One request after another. */
static void *serve(void *arg) {
  int fd = (int)(intptr_t)arg;
  char *text = NULL;
  int one = 1;

  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  for(;;) {
    size_t have = 0;
    size_t len = 0;
    char *head_end = NULL;
    const char *length;
    char head[4000];
    /* byte by byte up to the empty line: this is only a test */
    do {
      if(fill(fd, &text, &have, have + 1))
        goto out;
      head_end = have > 3 ? strstr(text + have - 4, "\r\n\r\n") : NULL;
    } while(!head_end && have < sizeof head - 1);
    memcpy(head, text, have + 1);
    if(strstr(head, " /reset")) {
      struct linger linger = { 1, 0 };
      setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
      goto out;
    }
    length = strcasestr(head, "content-length:");
    len = length ? (size_t)strtoul(length + 15, NULL, 10) : 0;
    have = 0;
    if(fill(fd, &text, &have, len) || answer(fd, head, text))
      goto out;
  }
out:
  free(text);
  close(fd);
  return NULL;
}

static void *accept_all(void *arg) {
  int fd = (int)(intptr_t)arg;
  for(;;) {
    int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    if(peer >= 0)
      start_thread(serve, peer);
  }
  return NULL;
}

int loopback_start(void) {
  int port;
  int fd = listen_somewhere(&port);
  serve_apart(accept_all, fd);
  return port;
}

/* }==== */

/* {==== TLS ==== */

#ifdef HOST_TLS

static SSL_CTX *context;

static void make_certificate(const char *ca_path) {
  EVP_PKEY *key = EVP_EC_gen("P-256");
  X509 *cert = X509_new();
  X509_NAME *name = X509_get_subject_name(cert);
  X509_EXTENSION *alt = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name,
                                            "IP:127.0.0.1");
  FILE *file = fopen(ca_path, "w");

  X509_set_version(cert, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
  X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
  X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             (const unsigned char *)"loopback", -1, -1, 0);
  X509_set_issuer_name(cert, name);
  X509_set_pubkey(cert, key);
  X509_add_ext(cert, alt, -1);
  X509_sign(cert, key, EVP_sha256());
  context = SSL_CTX_new(TLS_server_method());
  if(!file || !context || !PEM_write_X509(file, cert)
     || SSL_CTX_use_certificate(context, cert) != 1
     || SSL_CTX_use_PrivateKey(context, key) != 1) {
    fprintf(stderr, "loopback: no certificate\n");
    exit(1);
  }
  fclose(file);
  X509_EXTENSION_free(alt);
  X509_free(cert);
  EVP_PKEY_free(key);
}

/* Shakes hands, reads a little, and goes without a word. */
static void *serve_tls(void *arg) {
  int fd = (int)(intptr_t)arg;
  SSL *ssl = SSL_new(context);
  char byte[64];
  struct linger linger = { 1, 0 };

  SSL_set_fd(ssl, fd);
  if(SSL_accept(ssl) == 1)
    SSL_read(ssl, byte, sizeof byte);
  SSL_free(ssl);
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
  close(fd);
  return NULL;
}

static void *accept_tls(void *arg) {
  int fd = (int)(intptr_t)arg;
  for(;;) {
    int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    if(peer >= 0)
      start_thread(serve_tls, peer);
  }
  return NULL;
}

int loopback_start_tls(const char *ca_path) {
  int port;
  int fd = listen_somewhere(&port);
  make_certificate(ca_path);
  serve_apart(accept_tls, fd);
  return port;
}

#else

int loopback_start_tls(const char *ca_path) {
  (void)ca_path;
  return 0;
}

#endif

/* }==== */
