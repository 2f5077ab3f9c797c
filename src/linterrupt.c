#include "linterrupt.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

/* Signals belong to the process, and so do these. */
static volatile sig_atomic_t pending;
static struct sigaction before;
static int is_watching;

static void note(int number) {
  (void)number;
  pending = 1;
}

static int ignores(int number) {
  struct sigaction now;
  return !sigaction(number, NULL, &now) && now.sa_handler == SIG_IGN;
}

/*
 * Whether this process was started with SIGINT ignored, and is to stay so. The
 * standalone interpreters set their own handler without a look at the one
 * before. But a shell that starts a command in the background ignores SIGQUIT
 * together with SIGINT, takes the terminal from its stdin, and SIGQUIT no
 * interpreter touches.
 */
static int is_ignored(void) {
  return ignores(SIGINT) || (ignores(SIGQUIT) && !isatty(STDIN_FILENO));
}

/*
 * interrupts_watch(on): from now on SIGINT is only noted, or it is again what
 * it was before. Without SA_RESTART, so that a wait for a server or for a line
 * of input returns at once. One that is ignored stays ignored.
 */
static int watch(lua_State *L) {
  int on = lua_toboolean(L, 1);
  if(on && !is_watching) {
    struct sigaction action;
    if(is_ignored()) {
      signal(SIGINT, SIG_IGN);
      return 0;
    }
    memset(&action, 0, sizeof action);
    action.sa_handler = note;
    sigemptyset(&action.sa_mask);
    pending = 0;
    is_watching = !sigaction(SIGINT, &action, &before);
  }
  else if(!on && is_watching) {
    sigaction(SIGINT, &before, NULL);
    is_watching = 0;
  }
  return 0;
}

/* interrupts_take() -> whether there was one since the last call */
static int take(lua_State *L) {
  lua_pushboolean(L, pending);
  pending = 0;
  return 1;
}

/*
 * interrupts_die(): ends the process as SIGINT would have, so that a shell
 * that runs it in a loop knows to leave the loop. Returns only where the
 * signal is ignored or blocked.
 */
static int die(lua_State *L) {
  (void)L;
  if(is_ignored())
    return 0;
  signal(SIGINT, SIG_DFL);
  raise(SIGINT);
  return 0;
}

void linterrupt_register(lua_State *L) {
  static const luaL_Reg functions[] = {
    { "interrupts_watch", watch },
    { "interrupts_take", take },
    { "interrupts_die", die },
    { NULL, NULL }
  };
  lcompat_register(L, functions);
}
