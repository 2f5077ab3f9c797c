/*
 * A game loop in C in which somebody answers while the frames go on.
 *
 *   make demo-embed
 *
 * opperchat is linked in: no file of it has to be anywhere. With
 * OPPER_API_KEY the words come from Opper, with OPPER_BASE_URL from that
 * server. It is C and C++, for Lua 5.1 to 5.4 and LuaJIT.
 */
#ifdef __cplusplus
#include <lua.hpp>
#else
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#endif
#include <stdio.h>
#include <time.h>

#include "opperchat.h"

#ifdef EMBED_CJSON
#ifdef __cplusplus
extern "C"
#endif
int luaopen_cjson(lua_State *L);
#endif

/* What would come with the game, from its own archive. */
static const char script[] =
  "local opperchat = require 'opperchat'\n"
  "local keep = require 'opperchat.policy.keep'\n"
  "local owl = opperchat.conversation{\n"
  "  model = 'openai/gpt-5-mini', system = 'You are an old owl.',\n"
  "  policy = keep{ turns = 20 },\n"
  "}\n"
  "opperchat.go(function()\n"
  "  for _, question in ipairs{ \"What's a vector?\",\n"
  "      'Give me an example in 3D.' } do\n"
  "    say('\\n> ' .. question .. '\\n')\n"
  "    local reply, err = owl:send(question, { on_delta = say })\n"
  "    if not reply then error(err) end\n"
  "  end\n"
  "end)\n"
  "function update()\n"
  "  return opperchat.poll{ budget = 0.002 }\n"
  "end\n";

/* say(text): what the game would draw. */
static int say(lua_State *L) {
  fputs(luaL_checkstring(L, 1), stdout);
  fflush(stdout);
  return 0;
}

/* Runs protected: what it raises ends here, not in the engine. */
static int start(lua_State *L) {
  luaL_openlibs(L);

  /* Nothing is loaded before the script asks for it. */
  lua_pushcfunction(L, luaopen_opperchat_preload);
  lua_call(L, 0, 0);

#ifdef EMBED_CJSON
  /* lua-cjson linked in as well, and no file is needed but the program. */
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "preload");
  lua_pushcfunction(L, luaopen_cjson);
  lua_setfield(L, -2, "cjson");
  lua_settop(L, 0);
#endif

  lua_pushcfunction(L, say);
  lua_setglobal(L, "say");
  if(luaL_loadbuffer(L, script, sizeof script - 1, "=owl"))
    return lua_error(L);
  lua_call(L, 0, 0);
  return 0;
}

/* What was raised, as a text: errors of opperchat are tables. */
static const char *message(lua_State *L) {
  lua_getglobal(L, "tostring");
  lua_insert(L, -2);
  if(lua_pcall(L, 1, 1, 0) || !lua_isstring(L, -1))
    return "an error without a message";
  return lua_tostring(L, -1);
}

/* One frame of Lua. How much is under way; -1: an error. */
static int update(lua_State *L) {
  int active;
  lua_getglobal(L, "update");
  if(lua_pcall(L, 0, 1, 0))
    return -1;
  active = (int)lua_tointeger(L, -1);
  lua_pop(L, 1);
  return active;
}

int main(void) {
  static const struct timespec frame = { 0, 16 * 1000 * 1000 };
  int frames = 0;
  int active = -1;
  lua_State *L = luaL_newstate();
  if(!L)
    return 1;
  lua_pushcfunction(L, start);
  if(!lua_pcall(L, 0, 0, 0)) {
    do {
      /* input, physics, drawing ... */
      frames++;
      active = update(L);
      nanosleep(&frame, NULL);
    } while(active > 0);
  }
  if(active < 0)
    fprintf(stderr, "host: %s\n", message(L));
  else
    printf("\n%d frames went by\n", frames);
  lua_close(L);
  return active != 0;
}
