/*
 * lsecret: keys as userdata, so that they never become Lua strings, which
 * nobody can overwrite.
 */
#ifndef LSECRET_H
#define LSECRET_H

#include "lcompat.h"

/* A field that holds a key: a string or a secret; NULL: absent. It lives as
   long as the table at `index` (an absolute one) holds it. */
const char *lsecret_field(lua_State *L, int index, const char *name,
                          size_t *len);

/* Adds its functions to the table on top of the stack. */
void lsecret_register(lua_State *L);

#endif
