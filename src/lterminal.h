/*
 * lterminal: how wide a terminal is, and what was typed into it, for the
 * command `opperchat`.
 */
#ifndef LTERMINAL_H
#define LTERMINAL_H

#include "lcompat.h"

/* Adds its functions to the table on top of the stack. */
void lterminal_register(lua_State *L);

#endif
