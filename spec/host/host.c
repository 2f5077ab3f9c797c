#include "host.h"

void host_open(lua_State *L, lua_CFunction core) {
  luaL_openlibs(L);
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "path");
  lua_pushfstring(L, "lua/?.lua;lua/?/init.lua;%s", lua_tostring(L, -1));
  lua_setfield(L, -3, "path");
  lua_settop(L, 1);
  if(core) {
    lua_getfield(L, 1, "preload");
    lua_pushcfunction(L, core);
    lua_setfield(L, -2, "opperchat.core");
  }
  lua_settop(L, 0);
}
