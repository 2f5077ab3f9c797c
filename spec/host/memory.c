/*
 * Every allocation fails once.
 *
 * A host with the module linked in runs conversations against a server of
 * its own while the n-th allocation fails: Lua's, the core's, libcurl's, or
 * whichever comes; alone, or together with all that follow. After each try
 * the list has to be valid, the conversation usable, and nothing left over.
 * The scenarios are in memory.lua.
 *
 *   build/lua5.4/host/memory [SCENARIO...]
 *
 * The first allocations fail one by one, the later ones in growing steps;
 * with OPPERCHAT_MEMORY=full each of them does.
 */
#include <curl/curl.h>
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../src/oc_alloc.h"
#include "host.h"
#include "loopback.h"

/* {==== allocators ==== */

enum { LUA = 1, CORE = 2, CURLS = 4 };

static int fails_in;            /* whose allocations count */
static long left = -1;          /* until one fails; below 0: none does */
static long stretch;            /* so many more fail behind it */
static int has_failed;
static long lua_bytes;
static long core_blocks;
static long curl_blocks;
static lua_State *state;        /* the one at work */
static int is_traced;           /* OPPERCHAT_MEMORY=trace: says what failed */

static void disarm(void) {
  left = -1;
  stretch = 0;
}

/*
 * Lua collects its garbage when it gets no memory and asks once more, so
 * that one failure alone would never be seen.
 */
static void arm(int who, long n, int forever) {
  fails_in = who;
  left = n;
  stretch = forever ? 1000000000 : who & LUA ? 1 : 0;
  has_failed = 0;
}

/* Where the program is. Asks for no memory, unlike luaL_traceback(). */
static void trace(void) {
  lua_Debug where;
  int level;
  for(level = 0; level < 20 && lua_getstack(state, level, &where); level++) {
    lua_getinfo(state, "Sl", &where);
    fprintf(stderr, "    %s:%d\n", where.short_src, where.currentline);
  }
}

/* Whether this allocation is to fail. */
static int fails(int who) {
  if(left < 0 || !(who & fails_in))
    return 0;
  if(left) {
    left--;
    return 0;
  }
  if(!has_failed && is_traced)
    trace();
  has_failed = 1;
  if(!stretch--)
    left = -1;
  return 1;
}

static void *lua_memory(void *user, void *block, size_t old, size_t size) {
  (void)user;
  if(!block)
    old = 0;
  if(!size) {
    lua_bytes -= (long)old;
    free(block);
    return NULL;
  }
  if(size > old && fails(LUA))
    return NULL;
  lua_bytes += (long)size - (long)old;
  return realloc(block, size);
}

static void *core_malloc(size_t size) {
  if(fails(CORE))
    return NULL;
  core_blocks++;
  return malloc(size);
}

static void *core_realloc(void *block, size_t size) {
  if(fails(CORE))
    return NULL;
  core_blocks += !block;
  return realloc(block, size);
}

static void core_free(void *block) {
  core_blocks--;
  free(block);
}

static void *curls_malloc(size_t size) {
  if(fails(CURLS))
    return NULL;
  curl_blocks++;
  return malloc(size);
}

static void *curls_calloc(size_t count, size_t size) {
  if(fails(CURLS))
    return NULL;
  curl_blocks++;
  return calloc(count, size);
}

static void *curls_realloc(void *block, size_t size) {
  if(fails(CURLS))
    return NULL;
  curl_blocks += !block;
  return realloc(block, size);
}

static char *curls_strdup(const char *text) {
  if(fails(CURLS))
    return NULL;
  curl_blocks++;
  return strdup(text);
}

static void curls_free(void *block) {
  curl_blocks -= block != NULL;
  free(block);
}

/* }==== */

/* {==== tries ==== */

static const struct mode {
  const char *name;
  int who;
  int forever;
} modes[] = {
  { "Lua", LUA, 0 },
  { "Lua and on", LUA, 1 },
  { "core", CORE, 0 },
  { "core and on", CORE, 1 },
  { "libcurl", CURLS, 0 },
  { "libcurl and on", CURLS, 1 },
  { "any and on", LUA | CORE | CURLS, 1 }
};

#define MODES (sizeof modes / sizeof *modes)

static int is_full;
static int passed;
static int failed;
static long tries;
static char doing[200];

/* A try that does not come to an end says which one it was. */
static void on_alarm(int number) {
  static const char words[] = " does not come to its end\n";
  (void)number;
  if(write(2, doing, strlen(doing)) < 0
     || write(2, words, sizeof words - 1) < 0)
    _exit(3);
  abort();
}

static long next_n(long n) {
  return n + (is_full ? 1 : 1 + n / 24);
}

static void complain(const char *scenario, const struct mode *mode, long n,
                     const char *what) {
  printf("%s: with allocation %ld of %s failing: %s\n", scenario, n,
         mode->name, what);
  fflush(stdout);
}

/* Calls memory.<name>() of the table at 1. 0: it did not raise. */
static int call(lua_State *L, const char *name) {
  int status;
  lua_getfield(L, 1, name);
  status = lua_pcall(L, 0, 0, 0);
  if(status)
    return status;
  return 0;
}

/* The try itself: with arguments and all nothing is asked of Lua. */
static int attempt(lua_State *L, int index, const struct mode *mode,
                   long n) {
  int status;
  lua_getfield(L, 1, "run");
  lua_rawgeti(L, -1, index);
  arm(mode->who, n, mode->forever);
  status = lua_pcall(L, 0, 0, 0);
  disarm();
  lua_settop(L, 1);
  return status;
}

/* Every n for one scenario and one allocator. 0: all is well. */
static int run_mode(lua_State *L, int index, const char *name,
                    const struct mode *mode) {
  long n = 0;
  long before;
  int bad = 0;

  /* once with all memory, for what is kept from then on */
  call(L, "setup");
  attempt(L, index, mode, -1);
  call(L, "check");
  lua_settop(L, 1);
  call(L, "forget");
  before = core_blocks;
  for(; bad < 5; n = next_n(n)) {
    snprintf(doing, sizeof doing, "%s: allocation %ld of %s", name, n,
             mode->name);
    alarm(60);
    if(call(L, "setup")) {
      complain(name, mode, n, lua_tostring(L, -1));
      return 1;
    }
    if(is_traced)
      fprintf(stderr, "%s\n", doing);
    attempt(L, index, mode, n);
    tries++;
    if(call(L, "check")) {
      complain(name, mode, n, lua_tostring(L, -1));
      lua_settop(L, 1);
      bad++;
    }
    if(!has_failed)
      break;
  }
  call(L, "forget");
  if(core_blocks > before && !bad) {
    char text[80];
    snprintf(text, sizeof text, "%ld blocks of the core are left over",
             core_blocks - before);
    complain(name, mode, n, text);
    bad = 1;
  }
  return bad;
}

static void run_scenario(lua_State *L, int index) {
  const char *name;
  size_t i;
  int bad = 0;
  lua_getfield(L, 1, "names");
  lua_rawgeti(L, -1, index);
  name = strdup(lua_tostring(L, -1));
  lua_settop(L, 1);
  for(i = 0; i < MODES; i++)
    bad += run_mode(L, index, name, &modes[i]);
  if(bad)
    failed++;
  else
    passed++;
  free((void *)name);
}

/* }==== */

/* {==== programs ==== */

static char url[64];
static char folder[64];

/* Loads the scenarios: memory.lua(url, folder). */
static int load(lua_State *L) {
  host_open(L, luaopen_opperchat_core);
  if(luaL_loadfile(L, "spec/host/memory.lua"))
    return lua_error(L);
  lua_pushstring(L, url);
  lua_pushstring(L, folder);
  lua_call(L, 2, 1);
  return 1;
}

/* Keeps lua-cjson loaded, so that a report of what it leaks can name it. */
static void hold_cjson(lua_State *L) {
  if(!luaL_dostring(L, "return package.searchpath('cjson', package.cpath)")
     && lua_tostring(L, -1))
    dlopen(lua_tostring(L, -1), RTLD_NOW);
  lua_settop(L, 1);
}

/* What is left when a state is closed. */
static void close_state(lua_State *L, const char *what) {
  lua_close(L);
  if(lua_bytes || core_blocks) {
    printf("%s: %ld bytes of Lua and %ld blocks of the core are left\n",
           what, lua_bytes, core_blocks);
    failed++;
    lua_bytes = core_blocks = 0;
  }
  else
    passed++;
}

/* A state that is made and loads all modules while memory is short. */
static void run_load(void) {
  long bytes = lua_bytes;
  long blocks = core_blocks;
  size_t i;
  for(i = 0; i < MODES; i++) {
    const struct mode *mode = &modes[i];
    long n = 0;
    int bad = 0;
    do {
      lua_State *L;
      snprintf(doing, sizeof doing, "load: allocation %ld of %s", n,
               mode->name);
      alarm(60);
      state = L = lua_newstate(lua_memory, NULL);
      arm(mode->who, n, mode->forever);
      lua_pushcfunction(L, load);
      lua_pcall(L, 0, 0, 0);
      disarm();
      lua_close(L);
      tries++;
      if(lua_bytes != bytes || core_blocks != blocks) {
        char text[80];
        snprintf(text, sizeof text, "%ld bytes of Lua, %ld blocks left",
                 lua_bytes - bytes, core_blocks - blocks);
        complain("load", mode, n, text);
        bytes = lua_bytes;
        blocks = core_blocks;
        bad = 1;
      }
      n += is_full ? 1 : 1 + n / 6;
    } while(has_failed && !bad);
    if(bad)
      failed++;
    else
      passed++;
  }
}

static int is_chosen(int argc, char **argv, const char *name) {
  int i;
  for(i = 1; i < argc; i++) {
    if(!strcmp(argv[i], name))
      return 1;
  }
  return argc < 2;
}

int main(int argc, char **argv) {
  static const oc_allocator allocator = {
    core_malloc, core_realloc, core_free
  };
  const char *wanted = getenv("OPPERCHAT_MEMORY");
  lua_State *L;
  int count;
  int i;

  is_traced = wanted && !strcmp(wanted, "trace");
  is_full = wanted && !strcmp(wanted, "full");
  signal(SIGALRM, on_alarm);
  curl_global_init_mem(CURL_GLOBAL_ALL, curls_malloc, curls_free,
                       curls_realloc, curls_strdup, curls_calloc);
  oc_set_allocator(&allocator);
  strcpy(folder, "/tmp/opperchat-memory-XXXXXX");
  if(!mkdtemp(folder))
    return 1;
  snprintf(url, sizeof url, "http://127.0.0.1:%d/v1", loopback_start());

  state = L = lua_newstate(lua_memory, NULL);
  lua_pushcfunction(L, load);
  if(lua_pcall(L, 0, 1, 0)) {
    printf("%s\n0 passed, 1 failed\n", lua_tostring(L, -1));
    return 1;
  }
  lua_getfield(L, 1, "names");
  count = (int)lua_rawlen(L, -1);
  lua_pop(L, 1);
  for(i = 1; i <= count; i++) {
    int chosen;
    lua_getfield(L, 1, "names");
    lua_rawgeti(L, -1, i);
    chosen = is_chosen(argc, argv, lua_tostring(L, -1));
    lua_settop(L, 1);
    if(chosen)
      run_scenario(L, i);
  }
  call(L, "close");
  call(L, "forget");
  hold_cjson(L);
  if(is_chosen(argc, argv, "load"))
    run_load();
  close_state(L, "close");

  {
    char path[100];
    snprintf(path, sizeof path, "%s/journal", folder);
    unlink(path);
    snprintf(path, sizeof path, "%s/saved", folder);
    unlink(path);
    rmdir(folder);
  }
  fprintf(stderr, "%ld tries\n", tries);
  printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}

/* }==== */
