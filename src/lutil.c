#include "lutil.h"

#include <stdarg.h>
#include <string.h>

#include "oc_client.h"

/* Registry field: where our own Lua files lie (see lutil_misuse). */
#define SOURCE_KEY "opperchat.source"

/*
 * What tells a box from a stranger's userdata: its size, and the address of
 * its entry here. Looking up a metatable by name costs several times that.
 */
static const struct lutil_tag {
  const char *registry_name;
  const char *name;           /* in messages */
  int fields;                 /* that its state has at least */
} tags[LUTIL_TYPE_COUNT] = {
  { "opperchat.Client", "client", 24 },
  /* most of them are lists that policies work on, with no state at all */
  { "opperchat.Conversation", "conversation", 0 },
  { "opperchat.Request", "request", 8 }
};

lutil_box *lutil_new(lua_State *L, lutil_type type) {
  lutil_box *box = lua_newuserdata(L, sizeof *box);
  box->core = NULL;
  box->tag = &tags[type];
  luaL_getmetatable(L, tags[type].registry_name);
  lua_setmetatable(L, -2);
  lua_createtable(L, 0, tags[type].fields);
  lcompat_set_uservalue(L, -2);
  return box;
}

void lutil_add_type(lua_State *L, lutil_type type, const luaL_Reg *methods,
                    const luaL_Reg *meta) {
  luaL_newmetatable(L, tags[type].registry_name);
  lua_pushstring(L, tags[type].registry_name);
  lua_setfield(L, -2, "__name");
  lcompat_register(L, meta);
  lua_newtable(L);
  lcompat_register(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}

/* A userdata that may be a box. */
static lutil_box *test_box(lua_State *L, int index) {
  /* a light userdata has no length */
  if(lua_type(L, index) != LUA_TUSERDATA
     || lcompat_rawlen(L, index) != sizeof(lutil_box))
    return NULL;
  return lua_touserdata(L, index);
}

lutil_box *lutil_test(lua_State *L, int index, lutil_type type) {
  lutil_box *box = test_box(L, index);
  return box && box->tag == &tags[type] ? box : NULL;
}

lutil_box *lutil_check(lua_State *L, int index, lutil_type type) {
  lutil_box *box = lutil_test(L, index, type);
  if(!box)
    lutil_misuse(L, "%s expected, got %s%s", tags[type].name,
                 luaL_typename(L, index),
                 lua_isuserdata(L, index) ? ""
                                          : " (call methods with a colon)");
  return box;
}

void *lutil_open(lua_State *L, int index, lutil_type type) {
  lutil_box *box = lutil_check(L, index, type);
  void *core = box ? box->core : NULL;
  if(!core)
    lutil_misuse(L, "%s is closed", tags[type].name);
  return core;
}

/*
 * Whether a stack level is code of ours: a C function, or a Lua function
 * from the folder set_source() named.
 */
static int is_own(const lua_Debug *info, const char *source, size_t len) {
  return *info->what == 'C' || (len && !strncmp(info->source, source, len))
         || !strncmp(info->source, "=(tail call)", 12);
}

/* Pushes "file:line: " of the program that called us, or "". */
static void push_where(lua_State *L) {
  lua_Debug info;
  const char *source;
  size_t len;
  int level;

  lua_getfield(L, LUA_REGISTRYINDEX, SOURCE_KEY);
  source = lua_tolstring(L, -1, &len);
  for(level = 0; lua_getstack(L, level, &info); level++) {
    lua_getinfo(L, "Sl", &info);
    if(!is_own(&info, source, source ? len : 0) && info.currentline > 0) {
      lua_pushfstring(L, "%s:%d: ", info.short_src, info.currentline);
      lua_remove(L, -2);
      return;
    }
  }
  lua_pop(L, 1);
  lua_pushliteral(L, "");
}

int lutil_misuse(lua_State *L, const char *format, ...) {
  va_list args;
  luaL_checkstack(L, 4, "error");
  push_where(L);
  va_start(args, format);
  lua_pushvfstring(L, format, args);
  va_end(args);
  lua_concat(L, 2);
  return lua_error(L);
}

int lutil_fail(lua_State *L, oc_code code) {
  lua_pushnil(L);
  lua_pushstring(L, oc_code_name(code));
  lua_pushstring(L, oc_code_message(code));
  return 3;
}

const char *lutil_string_field(lua_State *L, int index, const char *name,
                               size_t *len) {
  const char *text;
  lua_getfield(L, index, name);
  text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, len) : NULL;
  lua_pop(L, 1);
  return text;
}

double lutil_number_field(lua_State *L, int index, const char *name,
                          double absent) {
  double number;
  lua_getfield(L, index, name);
  number = lua_type(L, -1) == LUA_TNUMBER ? (double)lua_tonumber(L, -1)
                                          : absent;
  lua_pop(L, 1);
  return number;
}

int lutil_boolean_field(lua_State *L, int index, const char *name) {
  int boolean;
  lua_getfield(L, index, name);
  boolean = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return boolean;
}

int lutil_count(double number) {
  return number > 1e6 ? 1000000 : number > 0 ? (int)number : 0;
}

/* {==== functions for the Lua side ==== */

/* The type of a value of ours; LUTIL_TYPE_COUNT: not ours. */
static lutil_type type_of(lua_State *L, int index) {
  const lutil_box *box = test_box(L, index);
  int type;
  for(type = 0; box && type < LUTIL_TYPE_COUNT; type++) {
    if(box->tag == &tags[type])
      return (lutil_type)type;
  }
  return LUTIL_TYPE_COUNT;
}

/* The type named by the string at an index. */
static lutil_type check_type(lua_State *L, int index) {
  const char *name = luaL_checkstring(L, index);
  int type;
  for(type = 0; type < LUTIL_TYPE_COUNT; type++) {
    if(!strcmp(tags[type].name, name))
      return (lutil_type)type;
  }
  luaL_argerror(L, index, "unknown type");
  return LUTIL_TYPE_COUNT;
}

/* state(object) -> the table beside it */
static int state(lua_State *L) {
  if(type_of(L, 1) == LUTIL_TYPE_COUNT)
    return lutil_misuse(L, "client, conversation or request expected");
  lcompat_get_uservalue(L, 1);
  return 1;
}

/* open(value, type) -> the state; raises unless it is open and that type */
static int open_state(lua_State *L) {
  lutil_open(L, 1, check_type(L, 2));
  lcompat_get_uservalue(L, 1);
  return 1;
}

/* kind(value) -> "client", "conversation", "request", nil; and whether it
   is open. Never raises. */
static int kind(lua_State *L) {
  lutil_type type = type_of(L, 1);
  lutil_box *box;
  if(type == LUTIL_TYPE_COUNT) {
    lua_pushnil(L);
    return 1;
  }
  lua_pushstring(L, tags[type].name);
  box = lutil_test(L, 1, type);
  /* a closed client keeps its core: what it has left to tell is in there */
  lua_pushboolean(L, box && box->core
                       && (type != LUTIL_CLIENT
                           || !oc_client_is_closed(box->core)));
  return 2;
}

/* methods(kind) -> the table of its methods, to be extended */
static int methods(lua_State *L) {
  luaL_getmetatable(L, tags[check_type(L, 1)].registry_name);
  lua_getfield(L, -1, "__index");
  return 1;
}

/* set_call(kind, function): what calling such an object does */
static int set_call(lua_State *L) {
  luaL_getmetatable(L, tags[check_type(L, 1)].registry_name);
  lua_pushvalue(L, 2);
  lua_setfield(L, -2, "__call");
  return 0;
}

/* set_close(kind, function): what leaving the scope of such a variable does */
static int set_close(lua_State *L) {
  luaL_getmetatable(L, tags[check_type(L, 1)].registry_name);
  lua_pushvalue(L, 2);
  lua_setfield(L, -2, "__close");
  return 0;
}

/* misuse(message): raises it at the line of the calling program */
static int misuse(lua_State *L) {
  return lutil_misuse(L, "%s", luaL_checkstring(L, 1));
}

/* set_source(prefix): what the chunk names of our own files begin with */
static int set_source(lua_State *L) {
  luaL_checkstring(L, 1);
  lua_settop(L, 1);
  lua_setfield(L, LUA_REGISTRYINDEX, SOURCE_KEY);
  return 0;
}

void lutil_register(lua_State *L) {
  static const luaL_Reg functions[] = {
    { "state", state },
    { "open", open_state },
    { "kind", kind },
    { "methods", methods },
    { "set_call", set_call },
    { "set_close", set_close },
    { "misuse", misuse },
    { "set_source", set_source },
    { NULL, NULL }
  };
  lcompat_register(L, functions);
}

/* }==== */
