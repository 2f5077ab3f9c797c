/*
 * A good guest: what a host expects of a module it has loaded.
 *
 *   build/lua5.4/host/guest [TASK...]
 *
 * The module is not linked in but loaded by `require`, from LUA_CPATH.
 */
#include <dlfcn.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host.h"
#include "loopback.h"

static char url[64];
static char slow_url[64];
static char reset_url[64];
static char tls_url[64];
static char ca_path[] = "/tmp/opperchat-guest-XXXXXX";

/* {==== states ==== */

/* One task of guest.lua in a state of its own. 0: it did not raise. */
static int run_in(lua_State *L, const char *task, const char *where) {
  host_open(L, NULL);
  if(luaL_loadfile(L, "spec/host/guest.lua")) {
    printf("%s\n", lua_tostring(L, -1));
    return 1;
  }
  lua_pushstring(L, task);
  lua_pushstring(L, where);
  lua_pushstring(L, ca_path);
  if(lua_pcall(L, 3, 0, 0)) {
    printf("%s: %s\n", task, lua_tostring(L, -1));
    return 1;
  }
  return 0;
}

static int run(const char *task, const char *where) {
  lua_State *L = luaL_newstate();
  int bad = run_in(L, task, where);
  lua_close(L);
  return bad;
}

/* The same in a process of its own, which may be killed. */
static int run_apart(const char *task, const char *where) {
  int status = 0;
  pid_t pid;
  fflush(stdout);
  pid = fork();
  if(!pid) {
    int bad;
    signal(SIGPIPE, SIG_DFL);
    bad = run(task, where);
    fflush(stdout);
    _exit(bad);
  }
  if(pid < 0 || waitpid(pid, &status, 0) != pid)
    return 1;
  if(WIFSIGNALED(status))
    printf("%s: killed by signal %d\n", task, WTERMSIG(status));
  return status != 0;
}

/* }==== */

/* {==== tasks ==== */

/* -1: skipped. */
static int hangup(void) {
  return run_apart("hangup", reset_url);
}

static int tls_hangup(void) {
  return *tls_url ? run_apart("tls_hangup", tls_url) : -1;
}

static int child(void) {
  return run("child", slow_url);
}

/* A locale with a comma, of the system or made for the occasion. */
static int use_comma(void) {
  static const char *const names[] = {
    "de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE"
  };
  size_t i;
  for(i = 0; i < sizeof names / sizeof *names; i++) {
    if(setlocale(LC_ALL, names[i]))
      return 1;
  }
  return 0;
}

static int comma(void) {
  static char path[] = "/tmp/opperchat-locale-XXXXXX";
  int found = use_comma();
  int bad = -1;
  char command[200];
  *command = '\0';
  if(!found && mkdtemp(path)) {
    snprintf(command, sizeof command, "localedef -i de_DE -f UTF-8 "
             "%s/de_DE.UTF-8 >/dev/null 2>&1", path);
    if(!system(command)) {
      setenv("LOCPATH", path, 1);
      found = use_comma();
    }
  }
  if(found)
    bad = run("locale", url);
  setlocale(LC_ALL, "C");
  if(*command) {
    snprintf(command, sizeof command, "rm -rf %s", path);
    if(system(command))
      bad = 1;
  }
  return bad;
}

static void *work(void *arg) {
  *(int *)arg = run("work", url);
  return NULL;
}

#define THREADS 4

static int threads(void) {
  pthread_t ids[THREADS];
  int bads[THREADS];
  int bad = 0;
  int i;
  for(i = 0; i < THREADS; i++) {
    if(pthread_create(&ids[i], NULL, work, &bads[i]))
      return 1;
  }
  for(i = 0; i < THREADS; i++) {
    pthread_join(ids[i], NULL);
    bad |= bads[i];
  }
  return bad;
}

/*
 * States are closed in the middle of a transfer, and the module let go of,
 * while another state goes on.
 */
static int closing(void) {
  pthread_t id;
  int bad_other = 0;
  int bad = 0;
  int i;
  if(pthread_create(&id, NULL, work, &bad_other))
    return 1;
  for(i = 0; i < 5; i++)
    bad |= run("leave", slow_url);
  pthread_join(id, NULL);
  /* and once more, when nobody else holds it */
  bad |= run("leave", slow_url);
  bad |= run("work", url);
  return bad | bad_other;
}

/* }==== */

static const struct {
  const char *name;
  int (*function)(void);
} list[] = {
  /* first those in processes of their own: they begin with no client */
  { "hangup", hangup },
  { "tls_hangup", tls_hangup },
  { "child", child },
  { "comma", comma },
  { "threads", threads },
  { "closing", closing }
};

int main(int argc, char **argv) {
  int counts[3] = { 0, 0, 0 };    /* passed, failed, skipped */
  int port = loopback_start();
  int fd = mkstemp(ca_path);
  size_t i;

  if(fd >= 0)
    close(fd);
  snprintf(url, sizeof url, "http://127.0.0.1:%d/v1", port);
  snprintf(slow_url, sizeof slow_url, "http://127.0.0.1:%d/slow", port);
  snprintf(reset_url, sizeof reset_url, "http://127.0.0.1:%d/reset", port);
  port = loopback_start_tls(ca_path);
  if(port)
    snprintf(tls_url, sizeof tls_url, "https://127.0.0.1:%d/v1", port);
  for(i = 0; i < sizeof list / sizeof *list; i++) {
    int bad;
    int k;
    int chosen = argc < 2;
    for(k = 1; k < argc; k++)
      chosen |= !strcmp(argv[k], list[i].name);
    if(!chosen)
      continue;
    alarm(120);
    bad = list[i].function();
    counts[bad < 0 ? 2 : bad != 0]++;
    if(bad)
      printf("%s %s\n", bad < 0 ? "skipped" : "FAILED ", list[i].name);
    fflush(stdout);
  }
  unlink(ca_path);
  printf("%d passed, %d failed", counts[0], counts[1]);
  if(counts[2])
    printf(", %d skipped", counts[2]);
  putchar('\n');
  return counts[1] != 0;
}
