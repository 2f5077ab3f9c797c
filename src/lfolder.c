#include "lfolder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef __APPLE__
#define MTIME st_mtimespec
#else
#define MTIME st_mtim
#endif

#define FOLDER "opperchat.Folder"

/* nil, "path: problem", number */
static int failed(lua_State *L, const char *path, int number) {
  lua_pushnil(L);
  lua_pushfstring(L, "%s: %s", path, strerror(number));
  lua_pushinteger(L, number);
  return 3;
}

/* make_folder(path) -> true | nil, problem, number. For its owner alone. */
static int make_folder(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  if(mkdir(path, 0700) && errno != EEXIST)
    return failed(L, path, errno);
  lua_pushboolean(L, 1);
  return 1;
}

/* close_to_others(folder) -> whether it is closed to all but its owner */
static int close_to_others(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  struct stat about;
  lua_pushboolean(L, !stat(path, &about) && S_ISDIR(about.st_mode)
                     && (!(about.st_mode & 077)
                         || (about.st_uid == geteuid()
                             && !chmod(path, about.st_mode & 07700))));
  return 1;
}

/*
 * make_file(path) -> true | nil, problem, number. Empty, for its owner alone;
 * one that is there already is left as it is, and a failure.
 */
static int make_file(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if(fd < 0)
    return failed(L, path, errno);
  close(fd);
  lua_pushboolean(L, 1);
  return 1;
}

/* A box for the open folder: what Lua raises below must not leak it. */
static int close_folder(lua_State *L) {
  DIR **box = luaL_checkudata(L, 1, FOLDER);
  if(*box)
    closedir(*box);
  *box = NULL;
  return 0;
}

/*
 * list_folder(path) -> { { name =, modified =, size = }, ... } in no order,
 * plain files only; nil, problem, number
 */
static int list_folder(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  DIR **box = lua_newuserdata(L, sizeof *box);
  const struct dirent *entry;
  int count = 0;

  *box = NULL;
  if(luaL_newmetatable(L, FOLDER)) {
    lua_pushcfunction(L, close_folder);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  *box = opendir(path);
  if(!*box)
    return failed(L, path, errno);
  lua_newtable(L);
  while((entry = readdir(*box)) != NULL) {
    struct stat about;
    if(fstatat(dirfd(*box), entry->d_name, &about, 0) ||
       !S_ISREG(about.st_mode))
      continue;
    lua_createtable(L, 0, 3);
    lua_pushstring(L, entry->d_name);
    lua_setfield(L, -2, "name");
    lua_pushnumber(L, (lua_Number)about.MTIME.tv_sec
                      + (lua_Number)about.MTIME.tv_nsec / 1e9);
    lua_setfield(L, -2, "modified");
    lua_pushnumber(L, (lua_Number)about.st_size);
    lua_setfield(L, -2, "size");
    lua_rawseti(L, -2, ++count);
  }
  closedir(*box);
  *box = NULL;
  return 1;
}

void lfolder_register(lua_State *L) {
  static const luaL_Reg functions[] = {
    { "make_folder", make_folder },
    { "close_to_others", close_to_others },
    { "make_file", make_file },
    { "list_folder", list_folder },
    { NULL, NULL }
  };
  lcompat_register(L, functions);
}
