/*
 * oc_sigpipe: no SIGPIPE for the host.
 *
 * OpenSSL writes to a socket with write(2), which raises SIGPIPE when the
 * peer is gone. No handler of the host may be touched, so the signal is
 * blocked in this thread while libcurl works, and one that came up in
 * between is taken off before it is let through again.
 */
#ifndef OC_SIGPIPE_H
#define OC_SIGPIPE_H

#include <signal.h>

typedef struct oc_sigpipe {
  sigset_t old;
  int is_on;
  int was_pending;
} oc_sigpipe;

/* `is_on`: whether there is any need; it costs system calls. */
void oc_sigpipe_hold(oc_sigpipe *guard, int is_on);
void oc_sigpipe_release(const oc_sigpipe *guard);

#endif
