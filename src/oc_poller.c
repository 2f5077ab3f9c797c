#include "oc_poller.h"

#include <errno.h>
#include <string.h>

#include "oc_alloc.h"

#if defined(__linux__) && !defined(OC_POLLER_POLL)

#include <sys/epoll.h>
#include <unistd.h>

/* Sockets asked for in one system call. */
#define BATCH 128

/* What is known of one socket; the index into the table is its number. */
struct watch {
  unsigned char wanted;     /* OC_POLL_* */
  unsigned char known;      /* what the kernel has been told */
  unsigned char is_open;    /* between oc_poller_open() and _close() */
  unsigned char is_changed; /* is on the list of changes */
};

struct oc_poller {
  int fd;
  struct watch *watches;
  size_t watch_count;
  int *changed;             /* sockets to be looked at before the next wait */
  size_t changed_count;
  size_t changed_cap;
};

oc_poller *oc_poller_new(void) {
  oc_poller *poller = oc_calloc(sizeof *poller);
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
    oc_free(poller->watches);
    oc_free(poller->changed);
    oc_free(poller);
  }
}

/* The entry of a socket, made if need be; NULL: out of memory. */
static struct watch *find_watch(oc_poller *poller, int fd) {
  size_t need = (size_t)fd + 1;
  if(need > poller->watch_count) {
    size_t count = need < 64 ? 64 : need + need / 2;
    struct watch *watches = oc_realloc(poller->watches,
                                       count * sizeof *watches);
    if(!watches)
      return NULL;
    memset(watches + poller->watch_count, 0,
           (count - poller->watch_count) * sizeof *watches);
    poller->watches = watches;
    poller->watch_count = count;
  }
  return &poller->watches[fd];
}

/* Tells the kernel what is wanted of a socket. */
static oc_code tell(oc_poller *poller, int fd, struct watch *watch) {
  struct epoll_event event;
  int failed;

  if(watch->wanted == watch->known)
    return OC_OK;
  memset(&event, 0, sizeof event);
  event.data.fd = fd;
  if(watch->wanted & OC_POLL_IN)
    event.events |= EPOLLIN;
  if(watch->wanted & OC_POLL_OUT)
    event.events |= EPOLLOUT;
  if(!watch->wanted) {
    /* the socket may be gone: then the kernel has forgotten it already */
    epoll_ctl(poller->fd, EPOLL_CTL_DEL, fd, &event);
    watch->known = 0;
    return OC_OK;
  }
  failed = epoll_ctl(poller->fd, watch->known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD,
                     fd, &event);
  if(failed && errno == ENOENT)
    failed = epoll_ctl(poller->fd, EPOLL_CTL_ADD, fd, &event);
  else if(failed && errno == EEXIST)
    failed = epoll_ctl(poller->fd, EPOLL_CTL_MOD, fd, &event);
  watch->known = failed ? 0 : watch->wanted;
  return failed ? OC_E_NOMEM : OC_OK;
}

/* Puts a socket on the list of changes. 0: no room, tell at once. */
static int note_change(oc_poller *poller, int fd, struct watch *watch) {
  if(watch->is_changed)
    return 1;
  if(poller->changed_count == poller->changed_cap) {
    size_t cap = poller->changed_cap ? poller->changed_cap * 2 : 16;
    int *changed = oc_realloc(poller->changed, cap * sizeof *changed);
    if(!changed)
      return 0;
    poller->changed = changed;
    poller->changed_cap = cap;
  }
  poller->changed[poller->changed_count++] = fd;
  watch->is_changed = 1;
  return 1;
}

oc_code oc_poller_set(oc_poller *poller, int fd, int events) {
  struct watch *watch = find_watch(poller, fd);
  if(!watch)
    return OC_E_NOMEM;
  watch->wanted = (unsigned char)events;
  /* whoever does not say when it closes a socket has the last word now */
  if(!watch->is_open || (events && !note_change(poller, fd, watch)))
    return tell(poller, fd, watch);
  return OC_OK;
}

oc_code oc_poller_open(oc_poller *poller, int fd) {
  struct watch *watch = find_watch(poller, fd);
  if(!watch)
    return OC_E_NOMEM;
  watch->wanted = 0;
  watch->known = 0;
  watch->is_open = 1;
  return OC_OK;
}

void oc_poller_close(oc_poller *poller, int fd) {
  struct watch *watch = find_watch(poller, fd);
  if(watch) {
    watch->wanted = 0;
    tell(poller, fd, watch);
    watch->is_open = 0;
  }
}

void oc_poller_flush(oc_poller *poller) {
  size_t i;
  for(i = 0; i < poller->changed_count; i++) {
    int fd = poller->changed[i];
    struct watch *watch = &poller->watches[fd];
    watch->is_changed = 0;
    if(watch->wanted)
      tell(poller, fd, watch);
  }
  poller->changed_count = 0;
}

int oc_poller_wait(oc_poller *poller, int timeout_ms, oc_ready *ready,
                   int max) {
  struct epoll_event events[BATCH];
  int count;
  int used = 0;
  int i;

  oc_poller_flush(poller);
  count = epoll_wait(poller->fd, events, max < BATCH ? max : BATCH,
                     timeout_ms);
  for(i = 0; i < count; i++) {
    unsigned got = events[i].events;
    int fd = events[i].data.fd;
    struct watch *watch = &poller->watches[fd];
    if(!watch->wanted) {
      /* an idle connection has something to say to nobody */
      tell(poller, fd, watch);
      continue;
    }
    ready[used].fd = fd;
    ready[used++].events = (got & EPOLLIN ? OC_POLL_IN : 0)
                           | (got & EPOLLOUT ? OC_POLL_OUT : 0)
                           | (got & (EPOLLERR | EPOLLHUP) ? OC_POLL_ERROR
                                                          : 0);
  }
  return count < 0 ? -1 : used;
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

oc_code oc_poller_open(oc_poller *poller, int fd) {
  (void)poller;
  (void)fd;
  return OC_OK;
}

void oc_poller_close(oc_poller *poller, int fd) {
  oc_poller_set(poller, fd, 0);
}

void oc_poller_flush(oc_poller *poller) {
  (void)poller;
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
