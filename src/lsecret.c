#include "lsecret.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "lutil.h"
#include "oc_secret.h"

#define SECRET "opperchat.Secret"

static int secret_gc(lua_State *L) {
  oc_secret_forget(luaL_checkudata(L, 1, SECRET));
  return 0;
}

static int secret_tostring(lua_State *L) {
  lua_pushliteral(L, "<redacted>");
  return 1;
}

/* A new secret without a text, on top of the stack. */
static oc_secret *push_secret(lua_State *L) {
  oc_secret *secret = lua_newuserdata(L, sizeof *secret);
  memset(secret, 0, sizeof *secret);
  if(luaL_newmetatable(L, SECRET)) {
    lua_pushcfunction(L, secret_gc);
    lua_setfield(L, -2, "__gc");
    lua_pushcfunction(L, secret_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pushliteral(L, SECRET);
    lua_setfield(L, -2, "__name");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
  }
  lua_setmetatable(L, -2);
  return secret;
}

const char *lsecret_field(lua_State *L, int index, const char *name,
                          size_t *len) {
  const oc_secret *secret;
  lua_getfield(L, index, name);
  if(lua_type(L, -1) != LUA_TUSERDATA) {
    lua_pop(L, 1);
    return lutil_string_field(L, index, name, len);
  }
  secret = luaL_checkudata(L, -1, SECRET);
  *len = secret->len;
  lua_pop(L, 1);
  return secret->text;
}

/* Why a key cannot be sent; NULL: it can. */
static const char *problem_of(const oc_secret *secret) {
  if(!secret->len)
    return "it is empty";
  return oc_secret_is_clean(secret) ? NULL : "control character in it";
}

/* The results of a function that has read the secret on top. */
static int give(lua_State *L, const oc_secret *secret, const char *problem) {
  if(!problem)
    problem = problem_of(secret);
  if(!problem)
    return 1;
  lua_pushnil(L);
  lua_pushstring(L, problem);
  return 2;
}

/* secret_env(name) -> secret | nil, why */
static int secret_env(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  oc_secret *secret = push_secret(L);
  const char *value = getenv(name);
  if(!value || !*value)
    return give(L, secret, "it is not set");
  if(oc_secret_set(secret, value, strlen(value)))
    return luaL_error(L, "out of memory");
  return give(L, secret, NULL);
}

/*
 * secret_file(path) -> secret of its first line, whether others may read
 * the file | nil, why
 */
static int secret_file(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  oc_secret *secret = push_secret(L);
  int is_open = 0;
  oc_code code = oc_secret_read_file(secret, path, &is_open);
  if(code == OC_E_NOMEM)
    return luaL_error(L, "out of memory");
  if(code || problem_of(secret))
    return give(L, secret, code ? oc_code_message(code) : NULL);
  lua_pushboolean(L, is_open);
  return 2;
}

/* secret_command(command) -> secret of the first line it prints | nil, why */
static int secret_command(lua_State *L) {
  const char *command = luaL_checkstring(L, 1);
  oc_secret *secret = push_secret(L);
  int status;
  oc_code code = oc_secret_run(secret, command, &status);
  if(code == OC_E_NOMEM)
    return luaL_error(L, "out of memory");
  if(code)
    return give(L, secret, "it cannot be run");
  /* a host that collects all its children itself leaves no status */
  if(status != -1 && !(WIFEXITED(status) && WEXITSTATUS(status) == 0)) {
    oc_secret_forget(secret);
    lua_pushnil(L);
    if(WIFSIGNALED(status))
      lua_pushfstring(L, "it was ended by signal %d", WTERMSIG(status));
    else
      lua_pushfstring(L, "it ended with exit code %d", WEXITSTATUS(status));
    return 2;
  }
  return give(L, secret, NULL);
}

/* secret_text(string) -> secret | nil, why */
static int secret_text(lua_State *L) {
  size_t len;
  const char *text = luaL_checklstring(L, 1, &len);
  oc_secret *secret = push_secret(L);
  if(oc_secret_set(secret, text, len))
    return luaL_error(L, "out of memory");
  return give(L, secret, NULL);
}

/* secret_forget(secret): it has no text any more */
static int secret_forget(lua_State *L) {
  return secret_gc(L);
}

void lsecret_register(lua_State *L) {
  static const luaL_Reg functions[] = {
    { "secret_env", secret_env },
    { "secret_file", secret_file },
    { "secret_command", secret_command },
    { "secret_text", secret_text },
    { "secret_forget", secret_forget },
    { NULL, NULL }
  };
  lcompat_register(L, functions);
}
