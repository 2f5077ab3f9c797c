#include "ljson.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>

#include "lbuffer.h"
#include "lcompat.h"
#include "oc_json.h"
#include "oc_utf8.h"

/* What is built from shorter texts than this needs no memory of its own. */
#define ROOM 2048

/* The longest escape of one byte: \u00XX. */
#define ESCAPE_MAX 6

/* A string of more bytes than this is read here: lua-cjson takes each byte
   by itself. */
#define LONG_STRING 65536

/* A number of fewer bytes is an integer that a double holds, if it is one. */
#define LONG_NUMBER 16

/* Only a string will do: a number would be turned into one in place. */
static const char *check_string(lua_State *L, int index, size_t *len) {
  luaL_checktype(L, index, LUA_TSTRING);
  return lua_tolstring(L, index, len);
}

static int ljson_quote(lua_State *L) {
  size_t len;
  const char *text = check_string(L, 1, &len);
  char room[ROOM];
  oc_buf small;
  oc_buf *out;
  oc_code code;

  if(len <= (ROOM - 2) / ESCAPE_MAX) {
    /* it fits for sure, so the buffer never asks for memory */
    small.data = room;
    small.len = 0;
    small.cap = sizeof room;
    small.max = sizeof room;
    code = oc_json_write_string(&small, text, len);
    if(!code) {
      lua_pushlstring(L, small.data, small.len);
      return 1;
    }
  }
  else {
    out = lbuffer_new(L);
    code = oc_json_write_string(out, text, len);
    if(!code)
      return lbuffer_push(L, out);
  }
  if(code != OC_E_UTF8)
    return luaL_error(L, "%s", oc_code_message(code));
  lua_pushnil(L);
  lua_pushinteger(L, (lua_Integer)oc_utf8_valid_prefix(text, len) + 1);
  return 2;
}

static int ljson_number(lua_State *L) {
  char room[64];
  oc_buf out;
  lua_Number number;

  luaL_checktype(L, 1, LUA_TNUMBER);
#if LCOMPAT_HAS_INTEGERS
  /* all its digits: a double has room for only 53 of the 64 bits */
  if(lua_isinteger(L, 1)) {
    int len = snprintf(room, sizeof room, "%lld",
                       (long long)lua_tointeger(L, 1));
    lua_pushlstring(L, room, (size_t)len);
    return 1;
  }
#endif
  number = lua_tonumber(L, 1);
  out.data = room;
  out.len = 0;
  out.cap = sizeof room;
  out.max = sizeof room;
  if(oc_json_write_number(&out, (double)number)) {
    lua_pushnil(L);
    lua_pushstring(L, isnan(number) ? "NaN cannot be written as JSON"
                                    : "infinity cannot be written as JSON");
    return 2;
  }
  lua_pushlstring(L, out.data, out.len);
  return 1;
}

/* nil, the code's name, where it was found. */
static int push_reader_error(lua_State *L, const oc_json *reader) {
  lua_pushnil(L);
  lua_pushstring(L, oc_code_name(reader->error));
  lua_pushinteger(L, (lua_Integer)oc_json_offset(reader) + 1);
  return 3;
}

/* Whether a raw string has an escape of half a surrogate pair. */
static int has_surrogate(oc_slice raw) {
  const char *at = raw.text;
  const char *end = raw.text + raw.len;

  while((at = memchr(at, '\\', (size_t)(end - at))) != NULL) {
    if(at[1] == 'u' && (at[2] | 0x20) == 'd' && at[3] >= '8')
      return 1;
    at += 2;
  }
  return 0;
}

static int is_long_string(const oc_json *reader) {
  return reader->token == OC_JSON_STRING && reader->value.len > LONG_STRING;
}

static int ljson_check(lua_State *L) {
  size_t len;
  const char *text = check_string(L, 1, &len);
  int has_surrogates = 0;
  int has_long_numbers = 0;
  int has_empty_arrays = 0;
  int has_long_strings = 0;
  oc_json_token before = OC_JSON_END;
  oc_json reader;

  oc_json_init(&reader, text, len);
  while(oc_json_next(&reader) > OC_JSON_END) {
    if(reader.token == OC_JSON_NUMBER)
      has_long_numbers |= reader.value.len >= LONG_NUMBER;
    else if(reader.token == OC_JSON_ARRAY_END)
      has_empty_arrays |= before == OC_JSON_ARRAY;
    else if((reader.token == OC_JSON_STRING || reader.token == OC_JSON_KEY)
            && reader.escaped && !has_surrogates)
      has_surrogates = has_surrogate(reader.value);
    has_long_strings |= is_long_string(&reader);
    before = reader.token;
  }
  if(reader.token == OC_JSON_ERROR)
    return push_reader_error(L, &reader);
  lua_pushboolean(L, 1);
  lua_pushboolean(L, has_surrogates);
  lua_pushboolean(L, has_long_numbers);
  lua_pushboolean(L, has_empty_arrays);
  lua_pushboolean(L, has_long_strings);
  return 5;
}

/* An array to be marked is one whose first token is its end. */
static int ljson_mark_empty_arrays(lua_State *L) {
  size_t len;
  size_t marker_len;
  const char *text = check_string(L, 1, &len);
  const char *marker = check_string(L, 2, &marker_len);
  const char *copied = text;
  oc_buf *out = NULL;
  oc_json_token before = OC_JSON_END;
  oc_code code = OC_OK;
  oc_json reader;

  oc_json_init(&reader, text, len);
  while(oc_json_next(&reader) > OC_JSON_END && !code) {
    if(reader.token == OC_JSON_ARRAY_END && before == OC_JSON_ARRAY) {
      const char *end = reader.value.text;
      const char *begin = end;

      while(*begin != '[')
        begin--;
      if(!out) {
        out = lbuffer_new(L);
        code = oc_buf_reserve(out, len + marker_len);
      }
      if(!code)
        code = oc_buf_append(out, copied, (size_t)(begin + 1 - copied));
      if(!code)
        code = oc_buf_append(out, marker, marker_len);
      copied = end;
    }
    before = reader.token;
  }
  if(!code && reader.token == OC_JSON_ERROR) {
    if(out)
      oc_buf_free(out);
    return push_reader_error(L, &reader);
  }
  if(!out) {
    lua_settop(L, 1);
    return 1;
  }
  if(!code)
    code = oc_buf_append(out, copied, (size_t)(text + len - copied));
  if(code)
    return luaL_error(L, "%s", oc_code_message(code));
  return lbuffer_push(L, out);
}

/*
 * lift_strings(text, marker) -> the same text with "<marker><n>" in the place
 * of each long string that is a value, and a table of those strings, decoded,
 * by what stands in their place. The text has been checked.
 */
static int ljson_lift_strings(lua_State *L) {
  size_t len;
  const char *text;
  const char *copied;
  oc_buf *out;
  oc_buf *string;
  oc_code code = OC_OK;
  oc_json reader;
  int count = 0;

  check_string(L, 2, &len);
  lua_settop(L, 2);
  out = lbuffer_new(L);
  string = lbuffer_new(L);
  lua_newtable(L);
  text = check_string(L, 1, &len);
  copied = text;
  oc_json_init(&reader, text, len);
  while(oc_json_next(&reader) > OC_JSON_END && !code) {
    if(!is_long_string(&reader))
      continue;
    code = oc_buf_append(out, copied, (size_t)(reader.value.text - copied));
    copied = reader.value.text + reader.value.len;
    lua_pushfstring(L, "%s%d", lua_tostring(L, 2), ++count);
    if(!code)
      code = oc_buf_puts(out, lua_tostring(L, -1));
    if(!code)
      code = oc_json_unescape(reader.value, string, NULL);
    lbuffer_push(L, string);
    lua_rawset(L, 5);
  }
  if(!code)
    code = oc_buf_append(out, copied, (size_t)(text + len - copied));
  if(code)
    return luaL_error(L, "%s", oc_code_message(code));
  lbuffer_push(L, out);
  lua_pushvalue(L, 5);
  return 2;
}

void ljson_register(lua_State *L) {
  static const struct {
    const char *name;
    lua_CFunction function;
  } functions[] = {
    { "quote", ljson_quote },
    { "number", ljson_number },
    { "check_json", ljson_check },
    { "mark_empty_arrays", ljson_mark_empty_arrays },
    { "lift_strings", ljson_lift_strings }
  };
  size_t i;

  for(i = 0; i < sizeof functions / sizeof *functions; i++) {
    lua_pushcfunction(L, functions[i].function);
    lua_setfield(L, -2, functions[i].name);
  }
}
