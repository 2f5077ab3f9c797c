#include "lmessage.h"

#include <stdint.h>
#include <string.h>

#include "lbuffer.h"
#include "lutil.h"
#include "oc_media.h"

static int fail_at(lua_State *L, oc_code code, size_t where) {
  lutil_fail(L, code);
  lcompat_push_integral(L, where + 1);
  return 4;
}

/* The failure of media, said with the name of the file. */
static int fail_media(lua_State *L, oc_code code, const oc_media *media) {
  lua_pushnil(L);
  lua_pushstring(L, oc_code_name(code));
  lua_pushfstring(L, "%s: %s", media->path ? media->path : "data",
                  *media->problem ? media->problem : oc_code_message(code));
  lua_pushnil(L);
  return 4;
}

static oc_media_kind kind_of(const char *name) {
  return name && !strcmp(name, "image") ? OC_MEDIA_IMAGE
         : name && !strcmp(name, "audio") ? OC_MEDIA_AUDIO
                                          : OC_MEDIA_FILE;
}

/*
 * Reads the table on top of the stack. What `media` points at belongs to
 * strings that the table holds.
 */
static void read_media(lua_State *L, oc_media *media) {
  int index = lua_gettop(L);
  double max = lutil_number_field(L, index, "max_bytes", 0);
  size_t len;

  memset(media, 0, sizeof *media);
  media->path = lutil_string_field(L, index, "path", &len);
  media->data = lutil_string_field(L, index, "data", &media->len);
  media->declared = lutil_string_field(L, index, "type", &len);
  media->kind = kind_of(lutil_string_field(L, index, "kind", &len));
  /* larger ones are cut down by the core */
  media->max = max >= 0 && max < (double)(SIZE_MAX / 16) ? (size_t)max
                                                         : SIZE_MAX / 16;
}

/*
 * Looks at every piece: counts the bytes of the whole text and fills in the
 * list of media, which is on the Lua heap. 0, or the values of a failure.
 */
static int measure(lua_State *L, int index, size_t count, oc_media *media,
                   size_t *total) {
  size_t i;

  *total = 0;
  for(i = 1; i <= count; i++) {
    size_t len = 0;
    lua_rawgeti(L, index, (int)i);
    if(lua_type(L, -1) == LUA_TSTRING)
      lua_tolstring(L, -1, &len);
    else if(lua_istable(L, -1)) {
      oc_code code;
      read_media(L, media);
      code = oc_media_probe(media);
      if(code)
        return fail_media(L, code, media);
      len = media->size;
      media++;
    }
    else
      return fail_at(L, OC_E_NOT_OBJECT, 0);
    lua_pop(L, 1);
    if(len > SIZE_MAX / 4 - *total)
      return fail_at(L, OC_E_TOO_LARGE, 0);
    *total += len;
  }
  return 0;
}

/* Writes every piece into the buffer. 0, or the values of a failure. */
static int write_pieces(lua_State *L, int index, size_t count,
                        oc_media *media, oc_buf *buf) {
  oc_code code = OC_OK;
  size_t i;

  for(i = 1; i <= count; i++) {
    lua_rawgeti(L, index, (int)i);
    if(lua_type(L, -1) == LUA_TSTRING) {
      size_t len;
      const char *text = lua_tolstring(L, -1, &len);
      code = oc_buf_append(buf, text, len);
      if(code)
        return fail_at(L, code, 0);
    }
    else {
      code = oc_media_append(media, buf);
      if(code)
        return fail_media(L, code, media);
      media++;
    }
    lua_pop(L, 1);
  }
  return 0;
}

static size_t count_media(lua_State *L, int index, size_t count) {
  size_t found = 0;
  size_t i;
  for(i = 1; i <= count; i++) {
    lua_rawgeti(L, index, (int)i);
    found += lua_istable(L, -1) ? 1 : 0;
    lua_pop(L, 1);
  }
  return found;
}

static int make_of_pieces(lua_State *L, int index, oc_message **out) {
  size_t count = lcompat_rawlen(L, index);
  oc_media *media = lua_newuserdata(L, (count_media(L, index, count) + 1)
                                         * sizeof *media);
  oc_buf *buf = lbuffer_new(L);
  size_t total;
  size_t where = 0;
  oc_code code;
  int failed = measure(L, index, count, media, &total);

  if(failed)
    return failed;
  code = oc_message_begin(buf, total);
  if(code)
    return fail_at(L, code, 0);
  failed = write_pieces(L, index, count, media, buf);
  if(!failed) {
    code = oc_message_end(out, buf, &where);
    failed = code ? fail_at(L, code, where) : 0;
  }
  /* what was begun may be large: it need not wait for the collector */
  oc_buf_free(buf);
  return failed;
}

int lmessage_make(lua_State *L, int index, oc_message **out) {
  size_t len;
  size_t where = 0;
  const char *json;
  oc_code code;

  luaL_checkstack(L, 10, NULL);
  index = lcompat_absindex(L, index);
  if(lua_istable(L, index))
    return make_of_pieces(L, index, out);
  if(lua_type(L, index) != LUA_TSTRING)
    return fail_at(L, OC_E_NOT_OBJECT, 0);
  json = lua_tolstring(L, index, &len);
  code = oc_message_json(out, json, len, &where);
  return code ? fail_at(L, code, where) : 0;
}
