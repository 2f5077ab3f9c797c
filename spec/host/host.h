/* What the host programs share: a Lua state that finds this tree. */
#ifndef HOST_H
#define HOST_H

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

/* The module, where it is linked in. */
int luaopen_opperchat_core(lua_State *L);

/*
 * Opens the libraries and finds lua/ in the current folder; `core` is the
 * module, NULL: `require` looks for it. To be called protected: may raise.
 */
void host_open(lua_State *L, lua_CFunction core);

#endif
