/*
 * lopperchat: the module "opperchat.core", the binding of the C core.
 *
 * What a program uses is the Lua face on top of it (lua/opperchat); the
 * functions here check just enough not to crash.
 */
#include <curl/curl.h>

#include "lclient.h"
#include "lcompat.h"
#include "lconversation.h"
#include "ldescriptor.h"
#include "lfolder.h"
#include "lhistory.h"
#include "linterrupt.h"
#include "ljournal.h"
#include "ljson.h"
#include "lpin.h"
#include "lrequest.h"
#include "lsecret.h"
#include "lsetup.h"
#include "lsystem.h"
#include "lterminal.h"
#include "lutil.h"
#include "oc_alloc.h"
#include "oc_clock.h"
#include "oc_random.h"

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

#if defined(__ELF__)
/*
 * Which Lua this is built for, where lua/opperchat/lazy.lua can read it
 * without loading the file: linkers put notes at its beginning. The layout is
 * that of ELF.
 */
static const struct {
  uint32_t name_len, text_len, type;
  char name[12];
  char text[32];
} build_note __attribute__((section(".note.opperchat"), aligned(4), used)) = {
  sizeof "opperchat", 32, 1, "opperchat", "opperchat core for " LUA_VERSION
};
#endif

/* uuid() -> a random UUID */
static int uuid(lua_State *L) {
  char text[37];
  oc_random_uuid(text);
  lua_pushstring(L, text);
  return 1;
}

/* now() -> seconds of a clock that only goes forward */
static int now(lua_State *L) {
  lua_pushnumber(L, (lua_Number)oc_now_us() / 1e6);
  return 1;
}

/* sleep(seconds) */
static int sleep_for(lua_State *L) {
  lua_Number seconds = luaL_checknumber(L, 1);
  if(seconds > 0)
    oc_sleep_us((int64_t)((seconds < 1e9 ? seconds : 1e9) * 1e6));
  return 0;
}

/* curl_version() -> libcurl's own words about itself */
static int libcurl_version(lua_State *L) {
  lua_pushstring(L, curl_version());
  return 1;
}

#ifdef OC_COUNT_BLOCKS
/* live_blocks() -> how many blocks of memory the core holds */
static int live_blocks(lua_State *L) {
  lua_pushnumber(L, (lua_Number)oc_live_blocks());
  return 1;
}
#endif

EXPORT int luaopen_opperchat_core(lua_State *L);

EXPORT int luaopen_opperchat_core(lua_State *L) {
  static const luaL_Reg functions[] = {
    { "uuid", uuid },
    { "now", now },
    { "sleep", sleep_for },
    { "curl_version", libcurl_version },
#ifdef OC_COUNT_BLOCKS
    { "live_blocks", live_blocks },
#endif
    { NULL, NULL }
  };
  lpin_module();
  lua_newtable(L);
  lcompat_register(L, functions);
  lutil_register(L);
  ljson_register(L);
  lclient_register(L);
  lconversation_register(L);
  ldescriptor_register(L);
  lfolder_register(L);
  lhistory_register(L);
  linterrupt_register(L);
  ljournal_register(L);
  lrequest_register(L);
  lsecret_register(L);
  lsetup_register(L);
  lsystem_register(L);
  lterminal_register(L);
  return 1;
}
