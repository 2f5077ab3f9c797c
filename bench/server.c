/*
 * The server the benches measure against: HTTP/1.1 on loopback, one thread,
 * one epoll descriptor. It is meant never to be what is measured, so bodies
 * are dropped unread by the kernel and answers are rendered beforehand.
 *
 *   server [SECONDS]     prints the port it listens on, then serves until
 *                        its standard input closes or the time is up
 *
 * A line on standard input is answered with one line of what happened since
 * the last one, by which a bench sees whether the server kept up:
 *
 *   cpu SECONDS wall SECONDS requests COUNT bytes COUNT late_us MICROSECONDS
 *
 * bytes being those of request bodies, late_us how much too late a paced
 * chunk went out at worst.
 *
 * Paths, each followed by anything:
 *
 *   /plain/              a chat completion of about 500 bytes
 *   /burst/N/SIZE/       a stream of N chunks with SIZE bytes of text each,
 *                        as fast as the socket takes it
 *   /tools/N/SIZE/       the same of one tool call: fragments of arguments
 *   /paced/N/MICROS/     a stream of N chunks, one each MICROS microseconds
 *   /single/N/MICROS/    the same, but a late chunk puts off those behind it
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define HEAD_MAX 16384          /* request line and headers */
#define DISCARD_MAX (1 << 20)   /* dropped by one recv() */
#define HTTP_CHUNK 16384        /* events of a burst travel in such pieces */
#define BURSTS_MAX 16           /* different bursts kept rendered */
#define BURST_BYTES_MAX ((size_t)1 << 30)
#define TEXT_MAX 65536          /* bytes of text in one delta */
#define PACED_SIZE 8            /* bytes of text in a paced delta */
#define PACED_VARIANTS 1024
#define EVENTS_MAX 256

enum conn_state { READ_HEAD, READ_BODY, WRITE, PACED };
enum route_kind {
  ROUTE_NONE, ROUTE_PLAIN, ROUTE_BURST, ROUTE_TOOLS, ROUTE_PACED,
  ROUTE_SINGLE
};

struct route {
  enum route_kind kind;
  unsigned long count;
  unsigned long param;          /* SIZE or MICROS */
};

/* Bytes ready to be sent. */
struct block {
  char *data;
  size_t len;
  size_t cap;
};

struct burst {
  struct route route;
  struct block block;
};

struct conn {
  int fd;
  enum conn_state state;
  int keep_alive;
  struct route route;
  unsigned long long body_left;
  const char *out;              /* borrowed from a block */
  size_t out_left;
  unsigned long sent;           /* paced: chunks sent so far */
  uint64_t due_ns;
  size_t heap_at;               /* 1-based place in the heap; 0: not in it */
  size_t head_len;
  char head[HEAD_MAX];
};

static struct {
  int epoll;
  int listener;
  int timer;
  uint64_t timer_ns;            /* what the timer is set to */
  struct conn **heap;           /* paced streams, the next due first */
  size_t heap_len;
  size_t heap_cap;
  unsigned long requests;
  unsigned long long bytes;
  uint64_t late_ns;
  double cpu;                   /* at the last report */
  uint64_t wall_ns;
  struct burst bursts[BURSTS_MAX];
  size_t bursts_len;
  struct block plain;
  struct block missing;
  struct block refused;
  struct block proceed;
  struct block paced_start;
  struct block paced_end;
  struct block paced[PACED_VARIANTS];
} server;

static void die(const char *what) {
  perror(what);
  exit(1);
}

static uint64_t now_ns(void) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static double cpu_seconds(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* ------------------------------------------------------- rendering answers */

static void block_add(struct block *block, const char *bytes, size_t len) {
  if(block->len + len > block->cap) {
    block->cap = (block->len + len) * 2;
    block->data = realloc(block->data, block->cap);
    if(!block->data)
      die("realloc");
  }
  memcpy(block->data + block->len, bytes, len);
  block->len += len;
}

static void block_addf(struct block *block, const char *format, ...) {
  char text[2048];
  int len;
  va_list args;

  va_start(args, format);
  len = vsnprintf(text, sizeof(text), format, args);
  va_end(args);
  block_add(block, text, (size_t)len);
}

static void answer(struct block *block, const char *status,
                   const char *body) {
  block_addf(block,
             "HTTP/1.1 %s\r\n"
             "Content-Type: application/json\r\n"
             "X-Request-Id: req_7f3a9c\r\n"
             "Content-Length: %zu\r\n"
             "\r\n", status, strlen(body));
  block_add(block, body, strlen(body));
}

#define CHUNK_HEAD \
  "data: {\"id\":\"chatcmpl-1787575036836132584\"," \
  "\"object\":\"chat.completion.chunk\",\"created\":1787575036," \
  "\"model\":\"openai/gpt-5-mini\",\"service_tier\":\"default\"," \
  "\"system_fingerprint\":\"fp_44709d6fcb\","
#define DELTA_HEAD "\"choices\":[{\"index\":0,\"delta\":"
#define DELTA_TAIL ",\"logprobs\":null,\"finish_reason\":null}]}\n\n"

#define STREAM_HEAD \
  "HTTP/1.1 200 OK\r\n" \
  "Content-Type: text/event-stream; charset=utf-8\r\n" \
  "Cache-Control: no-cache\r\n" \
  "X-Request-Id: req_7f3a9c\r\n" \
  "Transfer-Encoding: chunked\r\n" \
  "\r\n"

static const char role_event[] =
  CHUNK_HEAD DELTA_HEAD "{\"role\":\"assistant\",\"content\":\"\"}" DELTA_TAIL;

static const char stop_event[] =
  CHUNK_HEAD DELTA_HEAD
  "{},\"logprobs\":null,\"finish_reason\":\"stop\"}]}\n\n";

static const char end_events[] =
  CHUNK_HEAD "\"choices\":[],\"usage\":{\"prompt_tokens\":9,"
  "\"completion_tokens\":100,\"total_tokens\":109,"
  "\"prompt_tokens_details\":{\"cached_tokens\":0},"
  "\"completion_tokens_details\":{\"reasoning_tokens\":0},"
  "\"cost\":0.00001}}\n\n"
  "data: [DONE]\n\n";

/* A call whose arguments are one text. */
#define CALL_HEAD \
  CHUNK_HEAD DELTA_HEAD "{\"tool_calls\":[{\"index\":0,"
#define CALL_TAIL "\"}}]}" DELTA_TAIL

static const char call_start[] =
  CALL_HEAD "\"id\":\"call_DdmO9pD3xa9XTPNJ32zg2hcA\","
  "\"type\":\"function\",\"function\":{\"name\":\"write\","
  "\"arguments\":\"{\\\"text\\\":\\\"" CALL_TAIL;

static const char call_end[] =
  CALL_HEAD "\"function\":{\"arguments\":\"\\\"}" CALL_TAIL
  CHUNK_HEAD DELTA_HEAD
  "{},\"logprobs\":null,\"finish_reason\":\"tool_calls\"}]}\n\n";

/* What the model says, over and over. Deltas are slices of it, so that text
   varies from chunk to chunk, with a line break now and then. */
static const char speech[] =
  "A vector is a quantity that has both a size and a direction. Think of an "
  "arrow: how long it is says how much, and where it points says which way. "
  "In two dimensions you write it as a pair of numbers, in three dimensions "
  "as a triple, and nothing stops you from going on to hundreds of them.\n"
  "Adding two vectors means walking along the first and then along the "
  "second; the sum is the straight line home. Multiplying by a number makes "
  "the arrow longer or shorter, and a negative number turns it around.\n"
  "Wind is a vector, and so is the pull of the earth; temperature is not, "
  "since it points nowhere. The words of a text can be vectors as well: "
  "similar words get similar arrows, and that is how a search engine finds "
  "a page on kittens when you ask it for young cats. ";

/* Appends the number'th slice of the speech; `newline` is how a line break
   is written. */
static void add_slice(struct block *block, unsigned long number,
                      unsigned long size, const char *newline) {
  const size_t cycle = sizeof(speech) - 1;
  size_t at = (size_t)((unsigned long long)number * size % cycle);
  unsigned long i;

  for(i = 0; i < size; i++) {
    if(speech[at] == '\n')
      block_add(block, newline, strlen(newline));
    else
      block_add(block, &speech[at], 1);
    at = at + 1 == cycle ? 0 : at + 1;
  }
}

/* Appends the event whose text is such a slice. */
static void add_delta(struct block *block, unsigned long number,
                      unsigned long size) {
  static const char head[] = CHUNK_HEAD DELTA_HEAD "{\"content\":\"";
  static const char tail[] = "\"}" DELTA_TAIL;

  block_add(block, head, sizeof(head) - 1);
  add_slice(block, number, size, "\\n");
  block_add(block, tail, sizeof(tail) - 1);
}

/* The same as a fragment of the arguments, a JSON text in a JSON text. */
static void add_fragment(struct block *block, unsigned long number,
                         unsigned long size) {
  static const char head[] =
    CALL_HEAD "\"function\":{\"arguments\":\"";
  static const char tail[] = CALL_TAIL;

  block_add(block, head, sizeof(head) - 1);
  add_slice(block, number, size, "\\\\n");
  block_add(block, tail, sizeof(tail) - 1);
}

static void add_http_chunk(struct block *block, const char *bytes,
                           size_t len) {
  block_addf(block, "%zx\r\n", len);
  block_add(block, bytes, len);
  block_add(block, "\r\n", 2);
}

static void add_events(struct block *events, const struct route *route) {
  int is_call = route->kind == ROUTE_TOOLS;
  unsigned long i;

  block_add(events, role_event, sizeof(role_event) - 1);
  if(is_call)
    block_add(events, call_start, sizeof(call_start) - 1);
  for(i = 0; i < route->count; i++) {
    if(is_call)
      add_fragment(events, i, route->param);
    else
      add_delta(events, i, route->param);
  }
  if(is_call)
    block_add(events, call_end, sizeof(call_end) - 1);
  else
    block_add(events, stop_event, sizeof(stop_event) - 1);
  block_add(events, end_events, sizeof(end_events) - 1);
}

/* The whole stream, its head included, is rendered once and kept: serving it
   is then nothing but send(). NULL when it would be too much. */
static const struct block *burst_block(const struct route *route) {
  struct block events = { NULL, 0, 0 };
  struct burst *burst;
  size_t i, at;

  for(i = 0; i < server.bursts_len; i++) {
    burst = &server.bursts[i];
    if(burst->route.kind == route->kind &&
       burst->route.count == route->count &&
       burst->route.param == route->param)
      return &burst->block;
  }
  if(server.bursts_len == BURSTS_MAX || route->param > TEXT_MAX ||
     route->count > BURST_BYTES_MAX / (route->param + sizeof(role_event)))
    return NULL;
  burst = &server.bursts[server.bursts_len++];
  burst->route = *route;
  add_events(&events, route);
  block_add(&burst->block, STREAM_HEAD, sizeof(STREAM_HEAD) - 1);
  for(at = 0; at < events.len; at += HTTP_CHUNK)
    add_http_chunk(&burst->block, events.data + at,
                   events.len - at < HTTP_CHUNK ? events.len - at :
                                                  (size_t)HTTP_CHUNK);
  add_http_chunk(&burst->block, "", 0);
  free(events.data);
  return &burst->block;
}

static void render_answers(void) {
  struct block event = { NULL, 0, 0 };
  unsigned long i;

  answer(&server.plain, "200 OK",
         "{\"id\":\"chatcmpl-1787575036836132584\","
         "\"object\":\"chat.completion\",\"created\":1787575036,"
         "\"model\":\"openai/gpt-5-mini\",\"choices\":[{\"index\":0,"
         "\"message\":{\"role\":\"assistant\",\"content\":\"A vector is a "
         "quantity with a size and a direction; think of an arrow.\\nIts "
         "length says how much, and its tip says which way.\"},"
         "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":13,"
         "\"completion_tokens\":27,\"total_tokens\":40,"
         "\"prompt_tokens_details\":{\"cached_tokens\":0},"
         "\"completion_tokens_details\":{\"reasoning_tokens\":0},"
         "\"cost\":0.000033}}");
  answer(&server.missing, "404 Not Found",
         "{\"error\":{\"code\":\"not_found\",\"message\":\"no such bench\"}}");
  answer(&server.refused, "400 Bad Request",
         "{\"error\":{\"code\":\"invalid_input\","
         "\"message\":\"more than this server does\"}}");
  block_addf(&server.proceed, "HTTP/1.1 100 Continue\r\n\r\n");

  block_add(&server.paced_start, STREAM_HEAD, sizeof(STREAM_HEAD) - 1);
  add_http_chunk(&server.paced_start, role_event, sizeof(role_event) - 1);
  for(i = 0; i < PACED_VARIANTS; i++) {
    event.len = 0;
    add_delta(&event, i, PACED_SIZE);
    add_http_chunk(&server.paced[i], event.data, event.len);
  }
  event.len = 0;
  block_add(&event, stop_event, sizeof(stop_event) - 1);
  block_add(&event, end_events, sizeof(end_events) - 1);
  add_http_chunk(&server.paced_end, event.data, event.len);
  add_http_chunk(&server.paced_end, "", 0);
  free(event.data);
}

/* ----------------------------------------------- the heap of paced streams */

static void heap_put(size_t at, struct conn *conn) {
  server.heap[at] = conn;
  conn->heap_at = at;
}

/* Moves a stream whose due time changed, or is new, to where it belongs. */
static void heap_settle(size_t at) {
  struct conn *conn = server.heap[at];
  size_t child;

  while(at > 1 && server.heap[at / 2]->due_ns > conn->due_ns) {
    heap_put(at, server.heap[at / 2]);
    at /= 2;
  }
  while((child = at * 2) <= server.heap_len) {
    if(child < server.heap_len &&
       server.heap[child + 1]->due_ns < server.heap[child]->due_ns)
      child++;
    if(server.heap[child]->due_ns >= conn->due_ns)
      break;
    heap_put(at, server.heap[child]);
    at = child;
  }
  heap_put(at, conn);
}

static void heap_add(struct conn *conn) {
  if(server.heap_len + 1 >= server.heap_cap) {
    server.heap_cap = server.heap_cap ? server.heap_cap * 2 : 1024;
    server.heap = realloc(server.heap,
                          server.heap_cap * sizeof(*server.heap));
    if(!server.heap)
      die("realloc");
  }
  server.heap[++server.heap_len] = conn;
  heap_settle(server.heap_len);
}

static void heap_remove(struct conn *conn) {
  size_t at = conn->heap_at;
  struct conn *last;

  if(!at)
    return;
  conn->heap_at = 0;
  last = server.heap[server.heap_len--];
  if(last != conn) {
    server.heap[at] = last;
    heap_settle(at);
  }
}

/* -------------------------------------------------------------- connections */

static void conn_close(struct conn *conn) {
  heap_remove(conn);
  close(conn->fd);
  free(conn);
}

/* Value of a header in conn->head, or NULL. The head ends in a blank line,
   so a match never runs over its end. */
static const char *header(const struct conn *conn, const char *name) {
  size_t len = strlen(name);
  const char *line = strstr(conn->head, "\r\n");

  while(line && line[2] != '\r') {
    line += 2;
    if(!strncasecmp(line, name, len) && line[len] == ':') {
      line += len + 1;
      return line + strspn(line, " \t");
    }
    line = strstr(line, "\r\n");
  }
  return NULL;
}

static struct route parse_route(const char *path) {
  struct route route = { ROUTE_NONE, 0, 0 };

  if(!strncmp(path, "/plain/", 7))
    route.kind = ROUTE_PLAIN;
  else if(sscanf(path, "/burst/%lu/%lu/", &route.count, &route.param) == 2)
    route.kind = ROUTE_BURST;
  else if(sscanf(path, "/tools/%lu/%lu/", &route.count, &route.param) == 2)
    route.kind = ROUTE_TOOLS;
  else if(sscanf(path, "/paced/%lu/%lu/", &route.count, &route.param) == 2)
    route.kind = ROUTE_PACED;
  else if(sscanf(path, "/single/%lu/%lu/", &route.count, &route.param) == 2)
    route.kind = ROUTE_SINGLE;
  return route;
}

/* Sends what is left of conn->out: 1 all gone, 0 the socket is full,
   -1 the connection is lost. */
static int conn_flush(struct conn *conn) {
  while(conn->out_left) {
    ssize_t n = send(conn->fd, conn->out, conn->out_left, MSG_NOSIGNAL);
    if(n < 0)
      return errno == EAGAIN ? 0 : -1;
    conn->out += n;
    conn->out_left -= (size_t)n;
  }
  return 1;
}

static void conn_out(struct conn *conn, const struct block *block) {
  conn->out = block->data;
  conn->out_left = block->len;
}

/* The request is read: chooses the answer. */
static void conn_answer(struct conn *conn) {
  const struct block *block = &server.missing;

  server.requests++;
  conn->state = WRITE;
  if(conn->route.kind == ROUTE_PLAIN)
    block = &server.plain;
  else if(conn->route.kind == ROUTE_BURST ||
          conn->route.kind == ROUTE_TOOLS) {
    block = burst_block(&conn->route);
    if(!block)
      block = &server.refused;
  }
  else if(conn->route.kind == ROUTE_PACED ||
          conn->route.kind == ROUTE_SINGLE) {
    block = &server.paced_start;
    conn->state = PACED;
    conn->sent = 0;
    conn->due_ns = now_ns() + conn->route.param * 1000ull;
    heap_add(conn);
  }
  conn_out(conn, block);
}

/* Looks for a whole head: 1 found and understood, 0 more is needed,
   -1 it is beyond this server. */
static int conn_parse(struct conn *conn) {
  char *end = memmem(conn->head, conn->head_len, "\r\n\r\n", 4);
  const char *value;
  char *path;
  size_t size, extra;

  if(!end)
    return conn->head_len < HEAD_MAX - 1 ? 0 : -1;
  size = (size_t)(end - conn->head) + 4;
  extra = conn->head_len - size;
  /* Cuts the head from what follows; the byte comes back below. */
  conn->head[conn->head_len] = '\0';
  if(header(conn, "Transfer-Encoding"))
    return -1;
  value = header(conn, "Content-Length");
  conn->body_left = value ? strtoull(value, NULL, 10) : 0;
  server.bytes += conn->body_left;
  value = header(conn, "Connection");
  conn->keep_alive = !value || strncasecmp(value, "close", 5);
  path = memchr(conn->head, ' ', size);
  conn->route = parse_route(path + 1);
  if(!extra && conn->body_left && header(conn, "Expect")) {
    /* Small enough to go out at once on an otherwise idle connection. */
    conn_out(conn, &server.proceed);
    if(conn_flush(conn) != 1)
      return -1;
  }
  if(extra > conn->body_left) {
    memmove(conn->head, conn->head + size + conn->body_left,
            extra - conn->body_left);
    conn->head_len = extra - conn->body_left;
    conn->body_left = 0;
  }
  else {
    conn->body_left -= extra;
    conn->head_len = 0;
  }
  return 1;
}

static ssize_t conn_read_head(struct conn *conn) {
  ssize_t n = recv(conn->fd, conn->head + conn->head_len,
                   HEAD_MAX - 1 - conn->head_len, 0);
  if(n > 0)
    conn->head_len += (size_t)n;
  return n;
}

/* On TCP, MSG_TRUNC drops bytes inside the kernel without copying them. */
static ssize_t conn_read_body(struct conn *conn) {
  ssize_t n = recv(conn->fd, NULL,
                   conn->body_left < DISCARD_MAX ? (size_t)conn->body_left :
                                                   (size_t)DISCARD_MAX,
                   MSG_TRUNC);
  if(n > 0)
    conn->body_left -= (unsigned long long)n;
  return n;
}

/* Goes as far as the socket allows, which edge-triggered events demand.
   Returns 0 when the connection has to be closed. */
static int conn_run(struct conn *conn) {
  for(;;) {
    ssize_t n = 1;
    int done;

    switch(conn->state) {
    case READ_HEAD:
      done = conn->head_len ? conn_parse(conn) : 0;
      if(done < 0)
        return 0;
      if(done)
        conn->state = READ_BODY;
      else
        n = conn_read_head(conn);
      break;
    case READ_BODY:
      if(conn->body_left)
        n = conn_read_body(conn);
      else
        conn_answer(conn);
      break;
    case WRITE:
      done = conn_flush(conn);
      if(done < 0)
        return 0;
      if(!done)
        return 1;
      if(!conn->keep_alive)
        return 0;
      conn->state = READ_HEAD;
      break;
    case PACED:
      return conn_flush(conn) >= 0;
    }
    if(n < 0)
      return errno == EAGAIN;
    if(n == 0)
      return 0;
  }
}

/* Sends the chunk that is due. Returns 0 when the connection is lost. */
static int conn_pace(struct conn *conn, uint64_t now) {
  if(now - conn->due_ns > server.late_ns)
    server.late_ns = now - conn->due_ns;
  if(conn->route.kind == ROUTE_SINGLE)
    conn->due_ns = now;
  conn->due_ns += conn->route.param * 1000ull;
  heap_settle(conn->heap_at);
  if(conn->out_left)            /* the client is slow: wait for it */
    return 1;
  if(conn->sent < conn->route.count) {
    conn_out(conn, &server.paced[conn->sent % PACED_VARIANTS]);
    conn->sent++;
    return conn_flush(conn) >= 0;
  }
  heap_remove(conn);
  conn_out(conn, &server.paced_end);
  conn->state = WRITE;
  return conn_run(conn);
}

static void run_timers(void) {
  struct itimerspec spec;
  uint64_t now;

  while(server.heap_len && server.heap[1]->due_ns <= (now = now_ns())) {
    struct conn *conn = server.heap[1];
    if(!conn_pace(conn, now))
      conn_close(conn);
  }
  if(!server.heap_len || server.heap[1]->due_ns == server.timer_ns)
    return;
  server.timer_ns = server.heap[1]->due_ns;
  memset(&spec, 0, sizeof(spec));
  spec.it_value.tv_sec = (time_t)(server.timer_ns / 1000000000u);
  spec.it_value.tv_nsec = (long)(server.timer_ns % 1000000000u);
  if(timerfd_settime(server.timer, TFD_TIMER_ABSTIME, &spec, NULL))
    die("timerfd_settime");
}

/* ----------------------------------------------------------- the main loop */

static void watch(int fd, void *ptr, uint32_t events) {
  struct epoll_event event;

  memset(&event, 0, sizeof(event));
  event.events = events;
  event.data.ptr = ptr;
  if(epoll_ctl(server.epoll, EPOLL_CTL_ADD, fd, &event))
    die("epoll_ctl");
}

static void accept_all(void) {
  int fd;

  while((fd = accept4(server.listener, NULL, NULL,
                      SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
    struct conn *conn = calloc(1, sizeof(*conn));
    int on = 1;

    if(!conn)
      die("calloc");
    conn->fd = fd;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    watch(fd, conn, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
  }
}

static void report(void) {
  double cpu = cpu_seconds();
  uint64_t wall = now_ns();

  printf("cpu %.6f wall %.6f requests %lu bytes %llu late_us %lu\n",
         cpu - server.cpu, (double)(wall - server.wall_ns) / 1e9,
         server.requests, server.bytes,
         (unsigned long)(server.late_ns / 1000));
  fflush(stdout);
  server.cpu = cpu;
  server.wall_ns = wall;
  server.requests = 0;
  server.bytes = 0;
  server.late_ns = 0;
}

/* Returns 0 when standard input is closed. */
static int read_commands(void) {
  char bytes[256];
  ssize_t n = read(STDIN_FILENO, bytes, sizeof(bytes));
  ssize_t i;

  for(i = 0; i < n; i++) {
    if(bytes[i] == '\n')
      report();
  }
  return n > 0;
}

static void conn_event(struct conn *conn, uint32_t events) {
  int open = !(events & (EPOLLERR | EPOLLHUP));

  /* Nobody reads a paced stream's socket, so its end shows only here. */
  if(conn->state == PACED && (events & EPOLLRDHUP))
    open = 0;
  if(!open || !conn_run(conn))
    conn_close(conn);
}

static void serve(uint64_t end_ns) {
  struct epoll_event events[EVENTS_MAX];

  for(;;) {
    uint64_t now = now_ns();
    int i, n;

    if(now >= end_ns)
      return;
    n = epoll_wait(server.epoll, events, EVENTS_MAX,
                   (int)((end_ns - now) / 1000000u) + 1);
    if(n < 0 && errno != EINTR)
      die("epoll_wait");
    for(i = 0; i < n; i++) {
      if(events[i].data.ptr == &server.listener)
        accept_all();
      else if(events[i].data.ptr == &server.epoll) {
        if(!read_commands())
          return;
      }
      else if(events[i].data.ptr != &server.timer)
        conn_event(events[i].data.ptr, events[i].events);
    }
    run_timers();
  }
}

static unsigned open_listener(void) {
  struct sockaddr_in address;
  socklen_t len = sizeof(address);

  server.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK |
                           SOCK_CLOEXEC, 0);
  memset(&address, 0, sizeof(address));
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if(server.listener < 0 ||
     bind(server.listener, (struct sockaddr *)&address, len) ||
     listen(server.listener, 4096) ||
     getsockname(server.listener, (struct sockaddr *)&address, &len))
    die("listen");
  return ntohs(address.sin_port);
}

int main(int argc, char **argv) {
  unsigned long seconds = argc > 1 ? strtoul(argv[1], NULL, 10) : 600;
  struct rlimit limit;

  if(!seconds || seconds > 86400) {
    fprintf(stderr, "usage: server [SECONDS]\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  if(!getrlimit(RLIMIT_NOFILE, &limit)) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  render_answers();
  server.epoll = epoll_create1(EPOLL_CLOEXEC);
  server.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  if(server.epoll < 0 || server.timer < 0)
    die("epoll");
  printf("%u\n", open_listener());
  fflush(stdout);
  /* Addresses of its own fields tell the server's descriptors from
     connections. */
  watch(server.listener, &server.listener, EPOLLIN | EPOLLET);
  watch(server.timer, &server.timer, EPOLLIN | EPOLLET);
  watch(STDIN_FILENO, &server.epoll, EPOLLIN);
  server.cpu = cpu_seconds();
  server.wall_ns = now_ns();
  serve(server.wall_ns + seconds * 1000000000ull);
  return 0;
}
