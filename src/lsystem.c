#include "lsystem.h"

#include <curl/curl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

static void set_text(lua_State *L, const char *name, const char *text) {
  if(text) {
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
  }
}

/* curl_info() -> what libcurl was built with */
static int curl_info(lua_State *L) {
  const curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);
  lua_createtable(L, 0, 6);
  set_text(L, "version", info->version);
  set_text(L, "tls", info->ssl_version);
#if LIBCURL_VERSION_NUM >= 0x074600
  if(info->age >= CURLVERSION_SEVENTH) {
    set_text(L, "ca_file", info->cainfo);
    set_text(L, "ca_path", info->capath);
  }
#endif
  lua_pushboolean(L, (info->features & CURL_VERSION_HTTP2) != 0);
  lua_setfield(L, -2, "http2");
  lua_pushboolean(L, (info->features & CURL_VERSION_ASYNCHDNS) != 0);
  lua_setfield(L, -2, "async_dns");
  return 1;
}

/* system_name() -> "Linux 6.1.0 x86_64" | nil */
static int system_name(lua_State *L) {
  struct utsname name;
  if(uname(&name) < 0)
    return 0;
  lua_pushfstring(L, "%s %s %s", name.sysname, name.release, name.machine);
  return 1;
}

/* is_terminal(descriptor) */
static int is_terminal(lua_State *L) {
  lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
  return 1;
}

/* file_kind(path) -> "file", "directory" or "other" | nil */
static int file_kind(lua_State *L) {
  struct stat about;
  if(stat(luaL_checkstring(L, 1), &about))
    return 0;
  lua_pushstring(L, S_ISREG(about.st_mode) ? "file"
                    : S_ISDIR(about.st_mode) ? "directory" : "other");
  return 1;
}

void lsystem_register(lua_State *L) {
  static const luaL_Reg functions[] = {
    { "curl_info", curl_info },
    { "system_name", system_name },
    { "is_terminal", is_terminal },
    { "file_kind", file_kind },
    { NULL, NULL }
  };
  lcompat_register(L, functions);
}
