/*
 * ldescriptor: descriptors 0, 1 and 2 of a program that asks for it, the
 * command `opperchat`.
 */
#ifndef LDESCRIPTOR_H
#define LDESCRIPTOR_H

#include "lcompat.h"

/* Adds its function to the table on top of the stack. */
void ldescriptor_register(lua_State *L);

#endif
