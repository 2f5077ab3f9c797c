#include "lembed.h"

#include <lauxlib.h>
#include <lua.h>
#include <string.h>

#include "opperchat.h"

/* Pushes what the file at `index` returns, as `require` calls it. */
static void run(lua_State *L, int index) {
  const lembed_file *file = &lembed_files[index];
  if(luaL_loadbuffer(L, (const char *)file->text, file->len, file->chunk_name))
    lua_error(L);
  lua_pushstring(L, file->name);
  lua_call(L, 1, 1);
}

/* The loader of one file; its upvalue is the index. */
static int load(lua_State *L) {
  run(L, (int)lua_tointeger(L, lua_upvalueindex(1)));
  return 1;
}

/* package.preload[name] = the function on top, unless there is one. Pops it. */
static void add(lua_State *L, int preload, const char *name) {
  lua_getfield(L, preload, name);
  if(!lua_isnil(L, -1)) {
    lua_pop(L, 2);
    return;
  }
  lua_pop(L, 1);
  lua_setfield(L, preload, name);
}

/* Pushes package.loaded and package.preload. */
static void push_package(lua_State *L) {
  lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
  if(lua_istable(L, -1)) {
    lua_getfield(L, -1, "package");
    if(lua_istable(L, -1)) {
      lua_getfield(L, -1, "preload");
      lua_remove(L, -2);
      if(lua_istable(L, -1))
        return;
    }
  }
  luaL_error(L, "opperchat needs the package library (luaL_openlibs)");
}

static void fill(lua_State *L, int preload) {
  int i;
  for(i = 0; lembed_files[i].name; i++) {
    lua_pushinteger(L, i);
    lua_pushcclosure(L, load, 1);
    add(L, preload, lembed_files[i].name);
  }
  lua_pushcfunction(L, luaopen_opperchat_core);
  add(L, preload, "opperchat.core");
}

/*
 * A host may call this directly, and `require` may come to it by another
 * way later: one table has to come out of both, so package.loaded is asked
 * and told. (There `require` keeps a mark of its own while it loads.)
 */
int lembed_open(lua_State *L, const char *name) {
  int loaded;
  int i = 0;
  luaL_checkstack(L, 8, "opperchat");
  push_package(L);
  loaded = lua_gettop(L) - 1;
  fill(L, loaded + 1);
  lua_getfield(L, loaded, name);
  if(lua_istable(L, -1))
    return 1;
  while(lembed_files[i].name && strcmp(lembed_files[i].name, name) != 0)
    i++;
  if(!lembed_files[i].name)
    return luaL_error(L, "%s is not in this library", name);
  run(L, i);
  lua_pushvalue(L, -1);
  lua_setfield(L, loaded, name);
  return 1;
}

LEMBED_EXPORT int luaopen_opperchat_preload(lua_State *L) {
  luaL_checkstack(L, 8, "opperchat");
  push_package(L);
  fill(L, lua_gettop(L));
  return 0;
}
