/*
 * What a host that links libopperchat.a may do with it.
 *
 *   embedded SMOKE.lua MODULE...
 *
 * SMOKE.lua is spec/support/smoke.lua; of opperchat nothing is read from a
 * file.
 */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loopback.h"
#include "opperchat.h"

static char url[64];
static char slow_url[64];
static char **arguments;

/*
 * A host has names of its own, and some may be those that opperchat uses
 * inside. Nothing of it may get here: the linker would not say so.
 */
int oc_buf_append(void);
int oc_client_new(void);
int lembed_open(void);
extern const int lembed_files[1];
const int lembed_files[1] = { 0 };

int oc_buf_append(void) {
  abort();
}

int oc_client_new(void) {
  abort();
}

int lembed_open(void) {
  abort();
}

/* {==== helpers ==== */

static int preload(lua_State *L) {
  lua_settop(L, 0);
  lua_pushcfunction(L, luaopen_opperchat_preload);
  lua_call(L, 0, 0);
  return lua_gettop(L) == 0 ? 0 : luaL_error(L, "it left something behind");
}

static lua_State *new_state(void) {
  lua_State *L = luaL_newstate();
  if(!L)
    abort();
  luaL_openlibs(L);
  return L;
}

/* Runs a script; 0: it did not raise. */
static int run(lua_State *L, const char *script) {
  int bad;
  lua_settop(L, 0);
  bad = luaL_loadstring(L, script);
  if(!bad) {
    lua_pushstring(L, url);
    lua_pushstring(L, slow_url);
    bad = lua_pcall(L, 2, 0, 0);
  }
  if(bad)
    printf("%s\n", lua_tostring(L, -1));
  return bad;
}

/* A state with opperchat in package.preload and a function `new_chat`. */
static lua_State *new_guest(void) {
  lua_State *L = new_state();
  lua_pushcfunction(L, preload);
  if(lua_pcall(L, 0, 0, 0)
     || run(L, "local url, slow_url = ...\n"
               "function new_chat(is_slow)\n"
               "  local opperchat = require 'opperchat'\n"
               "  local client = opperchat.client{ api_key = '',\n"
               "    base_url = is_slow and slow_url or url }\n"
               "  return opperchat.conversation{\n"
               "    client = client, model = 'm',\n"
               "  }\n"
               "end\n")) {
    printf("%s\n", lua_tostring(L, -1));
    abort();
  }
  return L;
}

/* Calls a function of a state until it returns no true; 0: all was well. */
static int drive(lua_State *L, const char *name, int at_most) {
  int goes_on = 1;
  while(goes_on && at_most-- > 0) {
    lua_settop(L, 0);
    lua_getglobal(L, name);
    if(lua_pcall(L, 0, 1, 0)) {
      printf("%s\n", lua_tostring(L, -1));
      return 1;
    }
    goes_on = lua_toboolean(L, -1);
  }
  return 0;
}

/* }==== */

/* {==== tasks ==== */

/* All modules, from inside of the program, and a conversation. */
static int smoke(void) {
  lua_State *L = new_guest();
  int count = 2;
  int bad = luaL_loadfile(L, arguments[0]);
  if(!bad) {
    char **name;
    lua_pushstring(L, url);
    lua_pushliteral(L, "@opperchat/");
    for(name = arguments + 1; *name; name++, count++) {
      luaL_checkstack(L, 1, NULL);
      lua_pushstring(L, *name);
    }
    bad = lua_pcall(L, count, 0, 0);
  }
  if(bad)
    printf("%s\n", lua_tostring(L, -1));
  lua_close(L);
  return bad;
}

/* Until a script asks, nothing is loaded. */
static int lazy(void) {
  lua_State *L = new_guest();
  int bad = run(L,
    "for name in pairs(package.loaded) do\n"
    "  assert(not name:find('opperchat', 1, true), name)\n"
    "end\n"
    "local before = collectgarbage('count')\n"
    "assert(require 'opperchat.core')\n"
    "assert(not package.loaded.opperchat)\n"
    "assert(require('opperchat.policy.keep'){ turns = 1 })\n"
    "assert(not package.loaded['opperchat.policy.summarize'])\n");
  lua_close(L);
  return bad;
}

static int push_twice(lua_State *L) {
  lua_pushcfunction(L, luaopen_opperchat);
  lua_pushliteral(L, "opperchat");
  lua_call(L, 1, 1);
  lua_pushcfunction(L, luaopen_opperchat);
  lua_call(L, 0, 1);
  if(!lua_istable(L, -1) || !lua_rawequal(L, -1, -2))
    return luaL_error(L, "two faces");
  lua_setglobal(L, "face");
  return 0;
}

/* However it is opened, there is one. */
static int same_face(void) {
  lua_State *L = new_state();
  int bad;
  lua_pushcfunction(L, push_twice);
  bad = lua_pcall(L, 0, 0, 0);
  if(bad)
    printf("%s\n", lua_tostring(L, -1));
  bad = bad || run(L, "assert(require 'opperchat' == face)\n"
                      "assert(face.policy.keep{ turns = 2 })\n");
  lua_close(L);

  L = new_state();
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "preload");
  lua_pushcfunction(L, luaopen_opperchat);
  lua_setfield(L, -2, "opperchat");
  bad = bad || run(L, "assert(require('opperchat').version)\n"
                      "assert(require 'opperchat' == require 'opperchat')\n");
  lua_close(L);
  return bad;
}

/* What the host or a script has put there stays. */
static int replaced(void) {
  lua_State *L = new_state();
  int bad = run(L, "package.preload['opperchat.secret'] = function()\n"
                   "  return { new = function() return 'theirs' end }\n"
                   "end\n");
  lua_pushcfunction(L, preload);
  bad = bad || lua_pcall(L, 0, 0, 0)
        || run(L, "assert(require('opperchat').secret() == 'theirs')\n");
  lua_close(L);
  return bad;
}

/* No package library: a message, no crash. */
static int bare(void) {
  lua_State *L = luaL_newstate();
  int bad = 1;
  lua_pushcfunction(L, luaopen_opperchat);
  if(lua_pcall(L, 0, 1, 0)) {
    bad = !strstr(lua_tostring(L, -1), "needs the package library");
    if(bad)
      printf("%s\n", lua_tostring(L, -1));
  }
  lua_close(L);
  return bad;
}

/* No lua-cjson: `require` says what is missing, and says so again. */
static int no_cjson(void) {
  lua_State *L = new_guest();
  int bad = run(L,
    "package.preload.cjson = function() error('no such thing', 0) end\n"
    "for _ = 1, 2 do\n"
    "  local found, complaint = pcall(require, 'opperchat')\n"
    "  assert(not found)\n"
    "  assert(complaint:find('needs lua-cjson', 1, true), complaint)\n"
    "  for name, value in pairs(package.loaded) do\n"
    "    if type(value) ~= 'table' then -- 5.1's mark of a failure\n"
    "      package.loaded[name] = nil\n"
    "    end\n"
    "  end\n"
    "end\n"
    "package.preload.cjson = nil\n"
    "assert(require 'opperchat')\n");
  lua_close(L);
  return bad;
}

/*
 * Two states take turns; one is closed in the middle of its streams, and the
 * other does not notice.
 */
static int two_states(void) {
  static const char slow[] =
    "local opperchat = require 'opperchat'\n"
    "local words = 0\n"
    "for _ = 1, 3 do\n"
    "  new_chat(true):start('x', {\n"
    "    on_delta = function() words = words + 1 end,\n"
    "  })\n"
    "end\n"
    "function step()\n"
    "  assert(opperchat.poll(0.01) > 0)\n"
    "  return words < 10\n"
    "end\n";
  static const char quick[] =
    "local opperchat = require 'opperchat'\n"
    "local chat = new_chat()\n"
    "local turns = 0\n"
    "local function ask()\n"
    "  chat:start('x', { on_done = function(reply, err)\n"
    "    assert(reply, tostring(err))\n"
    "    turns = turns + 1\n"
    "    if turns % 10 ~= 0 then ask() end\n"
    "  end })\n"
    "end\n"
    "function ten()\n"
    "  ask()\n"
    "  local deadline = os.time() + 60\n"
    "  repeat opperchat.poll(0.1) until turns % 10 == 0 and turns > 0\n"
    "    or os.time() > deadline\n"
    "  assert(turns % 10 == 0 and #chat == 2 * turns, turns)\n"
    "end\n";
  lua_State *one = new_guest();
  lua_State *other = new_guest();
  int bad = run(one, slow) || run(other, slow) || drive(one, "step", 1000)
            || run(other, quick) || drive(other, "ten", 1);
  lua_close(one);
  bad = bad || drive(other, "step", 1000) || drive(other, "ten", 1);
  lua_close(other);
  return bad;
}

/* States come and go, each with requests that have not ended. */
static int closing(void) {
  int bad = 0;
  int i;
  for(i = 0; i < 20 && !bad; i++) {
    lua_State *L = new_guest();
    bad = run(L, "local opperchat = require 'opperchat'\n"
                 "local chat = new_chat(true)\n"
                 "opperchat.go(function() chat:send('x') end)\n"
                 "new_chat(true):start('x')\n"
                 "opperchat.poll(0.001)\n");
    lua_close(L);
  }
  return bad;
}

/* }==== */

int main(int argc, char **argv) {
  static const struct {
    const char *name;
    int (*run)(void);
  } tasks[] = {
    { "smoke", smoke },           { "lazy", lazy },
    { "same_face", same_face },   { "replaced", replaced },
    { "bare", bare },             { "no_cjson", no_cjson },
    { "two_states", two_states }, { "closing", closing }
  };
  int passed = 0;
  int failed = 0;
  size_t i;
  int port;
  if(argc < 3)
    return 2;
  arguments = argv + 1;
  port = loopback_start();
  sprintf(url, "http://127.0.0.1:%d/v1", port);
  sprintf(slow_url, "http://127.0.0.1:%d/slow", port);
  for(i = 0; i < sizeof tasks / sizeof *tasks; i++) {
    if(tasks[i].run()) {
      printf("failed: %s\n", tasks[i].name);
      failed++;
    }
    else
      passed++;
  }
  printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}
