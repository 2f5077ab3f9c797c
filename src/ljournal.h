/* ljournal: conversations on disk, for lua/opperchat/store.lua alone. */
#ifndef LJOURNAL_H
#define LJOURNAL_H

#include "lcompat.h"

/* Adds the functions to the table on top of the stack. */
void ljournal_register(lua_State *L);

#endif
