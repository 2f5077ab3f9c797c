/*
 * lfolder: folders, and how wide a terminal is: what Lua's own library cannot
 * say and the command `opperchat` has to know.
 */
#ifndef LFOLDER_H
#define LFOLDER_H

#include "lcompat.h"

/* Adds its functions to the table on top of the stack. */
void lfolder_register(lua_State *L);

#endif
