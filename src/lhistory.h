/* lhistory: what policies ask of a list, and how they edit it. */
#ifndef LHISTORY_H
#define LHISTORY_H

#include "lcompat.h"

/* Adds the functions to the table on top. */
void lhistory_register(lua_State *L);

#endif
