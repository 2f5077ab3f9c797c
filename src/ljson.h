/*
 * ljson: the JSON functions of opperchat.core that need no Lua values.
 *
 * Writing and reading whole Lua values is lua-cjson's work; these are the
 * pieces it does not do, or not in the same way in each of its builds.
 */
#ifndef LJSON_H
#define LJSON_H

#include <lua.h>

/*
 * Adds to the table on top of the stack:
 *   quote(text)   JSON string | nil, offset of the first invalid byte
 *   number(n)     JSON number | nil, message
 *   check_json(text)   true, and whether it has escapes of surrogates, numbers
 *                      of 16 bytes or more, empty arrays
 *                      | nil, code name, offset
 *   mark_empty_arrays(text, marker)   text | nil, code name, offset
 * Offsets are in bytes and begin with 1.
 */
void ljson_register(lua_State *L);

#endif
