/*
 * oc_poller: waits for many sockets at once.
 *
 * On Linux one epoll descriptor, which a foreign event loop can watch in
 * the place of all the sockets behind it. Elsewhere (or with
 * -DOC_POLLER_POLL) poll(2), which has no such descriptor.
 */
#ifndef OC_POLLER_H
#define OC_POLLER_H

#include "oc_error.h"

#define OC_POLL_IN 1
#define OC_POLL_OUT 2
#define OC_POLL_ERROR 4

typedef struct oc_poller oc_poller;

typedef struct oc_ready {
  int fd;
  int events;       /* OC_POLL_* */
} oc_ready;

/* NULL: out of memory or of descriptors. */
oc_poller *oc_poller_new(void);
void oc_poller_free(oc_poller *poller);
/*
 * Watches a socket for `events`; 0: not any more. Takes effect at the next
 * wait. A socket that has been closed already may be removed.
 */
oc_code oc_poller_set(oc_poller *poller, int fd, int events);
/*
 * The caller opens a socket, and will say when it closes it. Such sockets
 * may stay known to the kernel while nothing is wanted of them, so that a
 * kept connection costs no system call between two requests. OC_E_NOMEM.
 */
oc_code oc_poller_open(oc_poller *poller, int fd);
/*
 * Tells the system what has been asked for since the last wait. For a host
 * that watches oc_poller_fd() and does not call oc_poller_wait() first.
 */
void oc_poller_flush(oc_poller *poller);
/* The socket is about to be closed. */
void oc_poller_close(oc_poller *poller, int fd);
/*
 * Waits at most `timeout_ms` (below 0: for ever) and stores up to `max`
 * sockets with news. Returns how many; -1: a signal came first.
 */
int oc_poller_wait(oc_poller *poller, int timeout_ms, oc_ready *ready,
                   int max);
/* One descriptor that is readable when a socket has news; -1: none. */
int oc_poller_fd(const oc_poller *poller);

#endif
