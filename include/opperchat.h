/*
 * opperchat for programs in C or C++ that have Lua in them.
 *
 * `make static` builds libopperchat.a, with everything that `require` finds
 * of opperchat inside. docs/embedding.md shows how to use it.
 */
#ifndef OPPERCHAT_H
#define OPPERCHAT_H

#ifdef __cplusplus
extern "C" {
#endif

/* Lua's own headers may come before or after this one. */
struct lua_State;

/*
 * All three are Lua functions (lua_CFunction): push them with lua_pushcfunction
 * and call them with lua_pcall, since they raise when memory is short or the
 * package library was not opened (luaL_openlibs).
 */

/*
 * Puts opperchat and all its modules into package.preload. Nothing of them
 * is loaded before a script requires it. What stands there under one of
 * their names already is left alone. Returns nothing.
 */
int luaopen_opperchat_preload(struct lua_State *L);

/*
 * The same, and loads opperchat: returns what `require "opperchat"` returns,
 * the same table each time. May itself be put into package.preload.
 */
int luaopen_opperchat(struct lua_State *L);

/* The part in C, which the other two put into package.preload. */
int luaopen_opperchat_core(struct lua_State *L);

#ifdef __cplusplus
}
#endif

#endif
