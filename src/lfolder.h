/*
 * lfolder: folders, and files that nobody else can read: what Lua's own library
 * cannot do and the command `opperchat` has to.
 */
#ifndef LFOLDER_H
#define LFOLDER_H

#include "lcompat.h"

/* Adds its functions to the table on top of the stack. */
void lfolder_register(lua_State *L);

#endif
