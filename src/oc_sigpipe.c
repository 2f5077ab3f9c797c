#include "oc_sigpipe.h"

#include <pthread.h>

void oc_sigpipe_hold(oc_sigpipe *guard, int is_on) {
  sigset_t pipe_set;
  sigset_t pending;

  guard->is_on = is_on;
  if(!is_on)
    return;
  sigemptyset(&pipe_set);
  sigaddset(&pipe_set, SIGPIPE);
  sigpending(&pending);
  guard->was_pending = sigismember(&pending, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe_set, &guard->old);
}

void oc_sigpipe_release(const oc_sigpipe *guard) {
  sigset_t pending;

  if(!guard->is_on)
    return;
  sigpending(&pending);
  if(!guard->was_pending && sigismember(&pending, SIGPIPE)) {
    sigset_t pipe_set;
    int signal_number;
    sigemptyset(&pipe_set);
    sigaddset(&pipe_set, SIGPIPE);
    /* it is pending, so this does not wait */
    sigwait(&pipe_set, &signal_number);
  }
  pthread_sigmask(SIG_SETMASK, &guard->old, NULL);
}
