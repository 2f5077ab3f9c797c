/*
 * lutil: what all userdata of the binding have in common.
 *
 * A userdata is a box with one pointer to a core object. Its metatable and
 * its one table (the "state", in which the Lua side keeps what belongs to
 * the object) are set before the pointer. An empty box is a closed object.
 */
#ifndef LUTIL_H
#define LUTIL_H

#include "lcompat.h"
#include "oc_error.h"

typedef enum lutil_type {
  LUTIL_CLIENT,
  LUTIL_CONVERSATION,
  LUTIL_REQUEST,
  LUTIL_TYPE_COUNT
} lutil_type;

typedef struct lutil_box {
  void *core;
  const struct lutil_tag *tag;    /* which type; private */
} lutil_box;

/* Pushes a new, still closed object of a registered type. */
lutil_box *lutil_new(lua_State *L, lutil_type type);
/*
 * Registers a type and leaves nothing on the stack. `methods` go into the
 * __index table, `meta` into the metatable; "__gc" in it serves as __close.
 */
void lutil_add_type(lua_State *L, lutil_type type, const luaL_Reg *methods,
                    const luaL_Reg *meta);
/* The box at an index, closed or not; NULL: another type of value. */
lutil_box *lutil_test(lua_State *L, int index, lutil_type type);
/* The same, but raises (at the caller's line) for another type of value. */
lutil_box *lutil_check(lua_State *L, int index, lutil_type type);
/* The core object of an open box; raises for a closed one. */
void *lutil_open(lua_State *L, int index, lutil_type type);

/*
 * Raises an error that names the line of the program that called us: the
 * first function on the stack that is neither in C nor in our own Lua files.
 */
int lutil_misuse(lua_State *L, const char *format, ...);
/* Pushes nil and a code's name and message: three values. */
int lutil_fail(lua_State *L, oc_code code);

/* An optional field of the table at `index` (an absolute one), as a string
   that lives as long as the table holds it; NULL: absent. */
const char *lutil_string_field(lua_State *L, int index, const char *name,
                               size_t *len);
double lutil_number_field(lua_State *L, int index, const char *name,
                          double absent);
int lutil_boolean_field(lua_State *L, int index, const char *name);
/* A number as a small count: from 0 to a million. */
int lutil_count(double number);

/* Adds state(), methods(), kind(), misuse(), set_source() to the table on
   top of the stack. */
void lutil_register(lua_State *L);

#endif
