/* lsetup: what the requests of a conversation have in common, as a userdata. */
#ifndef LSETUP_H
#define LSETUP_H

#include "lcompat.h"
#include "oc_setup.h"

/* Adds its functions to the table on top. */
void lsetup_register(lua_State *L);
/* The setup at an index, owned by its userdata; raises otherwise. */
oc_setup *lsetup_check(lua_State *L, int index);

#endif
