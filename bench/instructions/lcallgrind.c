/*
 * callgrind: a Lua module by which a program under callgrind says what is to
 * be counted. Anywhere else its functions do nothing.
 */
#include <lua.h>
#include <lauxlib.h>

#include <valgrind/callgrind.h>

int luaopen_callgrind(lua_State *L);

/* start() -- counts from 0 on */
static int start(lua_State *L) {
  (void)L;
  CALLGRIND_ZERO_STATS;
  CALLGRIND_START_INSTRUMENTATION;
  return 0;
}

/* stop() -- writes what was counted into the next of the output files */
static int stop(lua_State *L) {
  (void)L;
  CALLGRIND_STOP_INSTRUMENTATION;
  CALLGRIND_DUMP_STATS;
  return 0;
}

static void add(lua_State *L, const char *name, lua_CFunction function) {
  lua_pushcfunction(L, function);
  lua_setfield(L, -2, name);
}

__attribute__((visibility("default")))
int luaopen_callgrind(lua_State *L) {
  lua_newtable(L);
  add(L, "start", start);
  add(L, "stop", stop);
  return 1;
}
