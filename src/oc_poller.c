#include "oc_poller.h"

#include <errno.h>
#include <string.h>

#include "oc_alloc.h"

#if defined(__linux__) && !defined(OC_POLLER_POLL)

#include <sys/epoll.h>
#include <unistd.h>

/* Sockets asked for in one system call. */
#define BATCH 128

struct oc_poller {
  int fd;
};

oc_poller *oc_poller_new(void) {
  oc_poller *poller = oc_malloc(sizeof *poller);
  if(!poller)
    return NULL;
  poller->fd = epoll_create1(EPOLL_CLOEXEC);
  if(poller->fd < 0) {
    oc_free(poller);
    return NULL;
  }
  return poller;
}

void oc_poller_free(oc_poller *poller) {
  if(poller) {
    close(poller->fd);
    oc_free(poller);
  }
}

oc_code oc_poller_set(oc_poller *poller, int fd, int events) {
  struct epoll_event event;
  int failed;

  memset(&event, 0, sizeof event);
  event.data.fd = fd;
  if(events & OC_POLL_IN)
    event.events |= EPOLLIN;
  if(events & OC_POLL_OUT)
    event.events |= EPOLLOUT;
  if(!events) {
    /* the socket may be gone: then the kernel has forgotten it already */
    epoll_ctl(poller->fd, EPOLL_CTL_DEL, fd, &event);
    return OC_OK;
  }
  failed = epoll_ctl(poller->fd, EPOLL_CTL_MOD, fd, &event);
  if(failed && errno == ENOENT)
    failed = epoll_ctl(poller->fd, EPOLL_CTL_ADD, fd, &event);
  return failed ? OC_E_NOMEM : OC_OK;
}

int oc_poller_wait(oc_poller *poller, int timeout_ms, oc_ready *ready,
                   int max) {
  struct epoll_event events[BATCH];
  int count = epoll_wait(poller->fd, events, max < BATCH ? max : BATCH,
                         timeout_ms);
  int i;
  for(i = 0; i < count; i++) {
    unsigned got = events[i].events;
    ready[i].fd = events[i].data.fd;
    ready[i].events = (got & EPOLLIN ? OC_POLL_IN : 0)
                      | (got & EPOLLOUT ? OC_POLL_OUT : 0)
                      | (got & (EPOLLERR | EPOLLHUP) ? OC_POLL_ERROR : 0);
  }
  return count;
}

int oc_poller_fd(const oc_poller *poller) {
  return poller->fd;
}

#else

#if defined(_WIN32)
#include <winsock2.h>
#define poll WSAPoll
#else
#include <poll.h>
#endif

struct oc_poller {
  struct pollfd *items;
  size_t count;
  size_t cap;
  size_t next;      /* where the search for news begins: fairness */
};

oc_poller *oc_poller_new(void) {
  return oc_calloc(sizeof(oc_poller));
}

void oc_poller_free(oc_poller *poller) {
  if(poller) {
    oc_free(poller->items);
    oc_free(poller);
  }
}

oc_code oc_poller_set(oc_poller *poller, int fd, int events) {
  size_t i;
  for(i = 0; i < poller->count; i++) {
    if((int)poller->items[i].fd == fd)
      break;
  }
  if(!events) {
    if(i < poller->count)
      poller->items[i] = poller->items[--poller->count];
    return OC_OK;
  }
  if(i == poller->cap) {
    size_t cap = poller->cap ? poller->cap * 2 : 16;
    struct pollfd *items = oc_realloc(poller->items, cap * sizeof *items);
    if(!items)
      return OC_E_NOMEM;
    poller->items = items;
    poller->cap = cap;
  }
  if(i == poller->count)
    poller->count++;
  poller->items[i].fd = fd;
  poller->items[i].events = (short)((events & OC_POLL_IN ? POLLIN : 0)
                                    | (events & OC_POLL_OUT ? POLLOUT : 0));
  poller->items[i].revents = 0;
  return OC_OK;
}

int oc_poller_wait(oc_poller *poller, int timeout_ms, oc_ready *ready,
                   int max) {
  int left = poll(poller->items, poller->count, timeout_ms);
  int count = 0;
  size_t i;

  if(left < 0)
    return errno == EINTR ? -1 : 0;
  if(poller->next >= poller->count)
    poller->next = 0;
  for(i = 0; i < poller->count && count < max && left; i++) {
    size_t at = (poller->next + i) % poller->count;
    int got = poller->items[at].revents;
    if(!got)
      continue;
    left--;
    ready[count].fd = (int)poller->items[at].fd;
    ready[count++].events = (got & POLLIN ? OC_POLL_IN : 0)
                            | (got & POLLOUT ? OC_POLL_OUT : 0)
                            | (got & ~(POLLIN | POLLOUT) ? OC_POLL_ERROR : 0);
  }
  poller->next += i;
  return count;
}

int oc_poller_fd(const oc_poller *poller) {
  (void)poller;
  return -1;
}

#endif
