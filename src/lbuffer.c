#include "lbuffer.h"

#include <stdint.h>

#define BUFFER "opperchat.Buffer"

static int buffer_gc(lua_State *L) {
  oc_buf *buf = lua_touserdata(L, 1);
  if(buf)
    oc_buf_free(buf);
  return 0;
}

oc_buf *lbuffer_new(lua_State *L) {
  oc_buf *buf = lua_newuserdata(L, sizeof *buf);
  oc_buf_init(buf, SIZE_MAX / 2);
  if(luaL_newmetatable(L, BUFFER)) {
    lua_pushcfunction(L, buffer_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  return buf;
}

int lbuffer_push(lua_State *L, oc_buf *buf) {
  lua_pushlstring(L, buf->len ? buf->data : "", buf->len);
  oc_buf_free(buf);
  return 1;
}
