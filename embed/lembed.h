/*
 * lembed: the Lua files of opperchat inside of a library.
 *
 * Knows no Lua header, so that what embed.lua writes is compiled once for
 * all Luas.
 */
#ifndef LEMBED_H
#define LEMBED_H

#include <stddef.h>

#if defined(_WIN32)
#define LEMBED_EXPORT __declspec(dllexport)
#else
#define LEMBED_EXPORT __attribute__((visibility("default")))
#endif

struct lua_State;

typedef struct {
  const char *name;       /* as in `require` */
  const char *chunk_name; /* as in messages, "@opperchat/init.lua" */
  const unsigned char *text;
  size_t len;
} lembed_file;

/* Written by embed.lua; the last one has no name. */
extern const lembed_file lembed_files[];

/*
 * What luaopen_<name> does: fills package.preload, loads one file and
 * returns what `require` would. Raises.
 */
int lembed_open(struct lua_State *L, const char *name);

#endif
