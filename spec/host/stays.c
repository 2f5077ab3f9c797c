/*
 * Whether a module is still in memory when the state that loaded it is gone.
 *
 *   stays PATH/TO/opperchat/core.so
 */
#include <dlfcn.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>

int main(int argc, char **argv) {
  lua_State *L = luaL_newstate();
  if(!L || argc != 2)
    return 1;
  luaL_openlibs(L);
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "loadlib");
  lua_pushstring(L, argv[1]);
  lua_pushliteral(L, "luaopen_opperchat_core");
  if(lua_pcall(L, 2, 1, 0) || !lua_isfunction(L, -1) || lua_pcall(L, 0, 1, 0)) {
    printf("%s: %s\n", argv[1], lua_tostring(L, -1));
    return 1;
  }
  lua_close(L);
  if(!dlopen(argv[1], RTLD_NOW | RTLD_NOLOAD)) {
    printf("%s was unloaded\n", argv[1]);
    return 1;
  }
  return 0;
}
