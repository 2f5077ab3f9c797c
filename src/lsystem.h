/*
 * lsystem: what is known of the system below us, for whoever looks for what
 * is wrong.
 */
#ifndef LSYSTEM_H
#define LSYSTEM_H

#include "lcompat.h"

/* Adds its functions to the table on top of the stack. */
void lsystem_register(lua_State *L);

#endif
