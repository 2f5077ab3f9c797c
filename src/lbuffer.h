/* lbuffer: a buffer on the Lua heap, so that a raise cannot leak its memory. */
#ifndef LBUFFER_H
#define LBUFFER_H

#include "lcompat.h"
#include "oc_buf.h"

/* Pushes a new, empty buffer; it lives as long as the userdata pushed. */
oc_buf *lbuffer_new(lua_State *L);
/* Pushes what was built as a string. The memory need not wait for the
   collector. Returns 1. */
int lbuffer_push(lua_State *L, oc_buf *buf);

#endif
