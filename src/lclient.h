/* lclient: a client as a userdata, and the drain of its news. */
#ifndef LCLIENT_H
#define LCLIENT_H

#include "lcompat.h"
#include "oc_client.h"

/* Registers the type; adds its functions to the table on top. */
void lclient_register(lua_State *L);
/* The open client at an index; raises otherwise. */
oc_client *lclient_open(lua_State *L, int index);

#endif
