/*
 * lcompat: what differs between Lua 5.1, LuaJIT, 5.2, 5.3, 5.4 and 5.5.
 *
 * The only file that looks at LUA_VERSION_NUM. Names are our own, since
 * LuaJIT exports some of the official ones and plain 5.1 does not.
 */
#ifndef LCOMPAT_H
#define LCOMPAT_H

#include <lauxlib.h>
#include <lua.h>

/* Numbers have an integer subtype of 64 bits. */
#if LUA_VERSION_NUM >= 503
#define LCOMPAT_HAS_INTEGERS 1
#else
#define LCOMPAT_HAS_INTEGERS 0
#endif

/* Every userdata of ours has one table beside it, set at its birth. */
#if LUA_VERSION_NUM >= 502
#define lcompat_set_uservalue(L, index) lua_setuservalue(L, index)
#define lcompat_get_uservalue(L, index) lua_getuservalue(L, index)
#define lcompat_rawlen(L, index) lua_rawlen(L, index)
#define lcompat_register(L, functions) luaL_setfuncs(L, functions, 0)
#else
#define lcompat_set_uservalue(L, index) lua_setfenv(L, index)
#define lcompat_get_uservalue(L, index) lua_getfenv(L, index)
#define lcompat_rawlen(L, index) lua_objlen(L, index)
#define lcompat_register(L, functions) luaL_register(L, NULL, functions)
#endif

/* lua_pushlstring() may run finalizers before it copies the bytes. */
#if LUA_VERSION_NUM < 503
#define LCOMPAT_COLLECTS_FIRST 1
#else
#define LCOMPAT_COLLECTS_FIRST 0
#endif

/* Index that stays right when the stack grows. */
#define lcompat_absindex(L, index) \
  ((index) > 0 || (index) <= LUA_REGISTRYINDEX ? (index) \
                                               : lua_gettop(L) + (index) + 1)

/* Pushes an integral value: an integer where Lua has them. */
#if LUA_VERSION_NUM >= 503
#define lcompat_push_integral(L, number) \
  lua_pushinteger(L, (lua_Integer)(number))
#else
#define lcompat_push_integral(L, number) lua_pushnumber(L, (lua_Number)(number))
#endif

#endif
