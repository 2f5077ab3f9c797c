#include "ljournal.h"

#include <stdint.h>
#include <string.h>

#include "lbuffer.h"
#include "lconversation.h"
#include "lutil.h"
#include "oc_events.h"
#include "oc_file.h"
#include "oc_journal.h"
#include "oc_save.h"

#define JOURNAL "opperchat.Journal"
#define SAVE "opperchat.Save"

/* {==== arguments and failures ==== */

/* nil, code, "path: problem" */
static int fail_path(lua_State *L, oc_code code, const char *path,
                     const char *problem) {
  lua_pushnil(L);
  lua_pushstring(L, oc_code_name(code));
  lua_pushfstring(L, "%s: %s", path, problem);
  return 3;
}

/* nil, code, "path: line n: problem", n; `path` may be NULL */
static int fail_replay(lua_State *L, oc_code code, const char *path,
                       const oc_replay *replay) {
  lua_pushnil(L);
  lua_pushstring(L, oc_code_name(code));
  lua_pushfstring(L, "%s%sline %d: %s", path ? path : "", path ? ": " : "",
                  (int)replay->line, replay->problem);
  lcompat_push_integral(L, replay->line);
  return 4;
}

static const char *check_path(lua_State *L, int arg) {
  size_t len;
  const char *path = luaL_checklstring(L, arg, &len);
  luaL_argcheck(L, strlen(path) == len, arg, "a path with a zero byte");
  return path;
}

static size_t check_max(lua_State *L, int arg) {
  lua_Number max = luaL_checknumber(L, arg);
  return max >= 0 && max < (lua_Number)(SIZE_MAX / 4) ? (size_t)max
                                                       : SIZE_MAX / 4;
}

/* }==== */

/* {==== reading ==== */

static void set_slice(lua_State *L, const char *name, oc_slice text) {
  if(text.text) {
    lua_pushlstring(L, text.text, text.len);
    lua_setfield(L, -2, name);
  }
}

static void set_number(lua_State *L, const char *name, size_t number) {
  lcompat_push_integral(L, number);
  lua_setfield(L, -2, name);
}

/*
 * Pushes what was found as a table. The text that it points into is on the
 * stack, out of reach of any finalizer.
 */
static int push_replay(lua_State *L, const oc_replay *replay) {
  lua_newtable(L);
  set_slice(L, "header", replay->header);
  set_slice(L, "options", replay->options);
  set_slice(L, "usage", replay->usage);
  set_number(L, "options_line", replay->options_line);
  set_number(L, "events", replay->events);
  set_number(L, "good_bytes", replay->good);
  if(replay->torn) {
    set_number(L, "torn_line", replay->line);
    set_number(L, "torn_bytes", replay->torn);
  }
  return 1;
}

/* Replays a text into the list at `arg`; `path` may be NULL. */
static int replay(lua_State *L, int arg, const char *text, size_t len,
                  const char *path) {
  oc_history *history = &lconversation_open(L, arg)->history;
  oc_replay found;
  oc_code code;

  luaL_argcheck(L, !history->count, arg, "an empty list expected");
  code = oc_replay_text(history, text, len, &found);
  return code ? fail_replay(L, code, path, &found) : push_replay(L, &found);
}

/*
 * replay_text(text, list) -> { header =, options =, usage = texts, or nil,
 * options_line =, events =, good_bytes =, torn_line =, torn_bytes = }
 * | nil, code, message, line
 */
static int replay_text(lua_State *L) {
  size_t len;
  const char *text;
  luaL_checktype(L, 1, LUA_TSTRING);
  text = lua_tolstring(L, 1, &len);
  return replay(L, 2, text, len, NULL);
}

/* replay_file(path, list, max bytes) -> the same */
static int replay_file(lua_State *L) {
  const char *path = check_path(L, 1);
  size_t max = check_max(L, 3);
  char problem[OC_PROBLEM_MAX];
  oc_buf *text;
  oc_code code;

  lua_settop(L, 3);
  lconversation_open(L, 2);
  text = lbuffer_new(L);
  code = oc_file_read(path, max, text, problem);
  if(code) {
    oc_buf_free(text);
    return fail_path(L, code, path, problem);
  }
  replay(L, 2, text->data, text->len, path);
  /* it need not wait for the collector */
  oc_buf_free(text);
  return lua_gettop(L) - 4;
}

/* }==== */

/* {==== the journal ==== */

static int journal_gc(lua_State *L) {
  oc_journal *journal = luaL_checkudata(L, 1, JOURNAL);
  oc_journal_close(journal);
  return 0;
}

static oc_journal *check_journal(lua_State *L) {
  return luaL_checkudata(L, 1, JOURNAL);
}

/*
 * A copy of the journal's path: what is pushed for a message may run a
 * finalizer that closes it. Longer ones are cut.
 */
#define NAME_MAX_SHOWN 1024

static const char *copy_name(const oc_journal *journal, char *name) {
  const char *full = journal->name ? journal->name : "journal";
  size_t len = strlen(full);
  if(len >= NAME_MAX_SHOWN)
    len = NAME_MAX_SHOWN - 1;
  memcpy(name, full, len);
  name[len] = '\0';
  return name;
}

static int fail_journal(lua_State *L, oc_code code,
                        const oc_journal *journal) {
  char name[NAME_MAX_SHOWN];
  return fail_path(L, code, copy_name(journal, name), journal->problem);
}

/* journal_open(path) -> journal | nil, code, message */
static int journal_open(lua_State *L) {
  const char *path = check_path(L, 1);
  oc_journal *journal = lua_newuserdata(L, sizeof *journal);
  oc_code code;

  oc_journal_init(journal);
  if(luaL_newmetatable(L, JOURNAL)) {
    lua_pushcfunction(L, journal_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  code = oc_journal_open(journal, path);
  return code ? fail_path(L, code, path, journal->problem) : 1;
}

/* journal_replay(journal, list, max bytes) -> see replay_text */
static int journal_replay(lua_State *L) {
  oc_journal *journal = check_journal(L);
  size_t max = check_max(L, 3);
  char name[NAME_MAX_SHOWN];
  oc_buf *text;
  oc_code code;

  lua_settop(L, 3);
  lconversation_open(L, 2);
  text = lbuffer_new(L);
  code = oc_journal_read(journal, max, text);
  if(code) {
    oc_buf_free(text);
    return fail_journal(L, code, journal);
  }
  replay(L, 2, text->data, text->len, copy_name(journal, name));
  oc_buf_free(text);
  return lua_gettop(L) - 4;
}

/* journal_keep(journal, bytes) -> true | nil, code, message */
static int journal_keep(lua_State *L) {
  oc_journal *journal = check_journal(L);
  lua_Number bytes = luaL_checknumber(L, 2);
  oc_code code;
  luaL_argcheck(L, bytes >= 0 && bytes < 9e15, 2, "number of bytes expected");
  code = oc_journal_keep(journal, (uint64_t)bytes);
  if(code)
    return fail_journal(L, code, journal);
  lua_pushboolean(L, 1);
  return 1;
}

/* journal_append(journal, line, sync) -> true | nil, code, message */
static int journal_append(lua_State *L) {
  oc_journal *journal = check_journal(L);
  size_t len;
  const char *line = luaL_checklstring(L, 2, &len);
  oc_code code = oc_journal_append(journal, line, len, lua_toboolean(L, 3));
  if(code)
    return fail_journal(L, code, journal);
  lua_pushboolean(L, 1);
  return 1;
}

/* The list at `arg`; nil is the empty one. */
static const oc_history *list_at(lua_State *L, int arg) {
  static const oc_history empty;
  return lua_isnoneornil(L, arg) ? &empty
                                 : &lconversation_open(L, arg)->history;
}

/*
 * journal_write(journal, before, edited, after, extra, sync)
 * -> bytes written | nil, code, message
 *
 * The line that makes `after` out of `before`: see oc_event_write(). Each
 * list but `after` may be nil.
 */
static int journal_write(lua_State *L) {
  oc_journal *journal = check_journal(L);
  size_t len;
  const char *extra = luaL_optlstring(L, 5, "", &len);
  const oc_history *before;
  const oc_history *edited;
  const oc_history *after;
  size_t bytes;
  oc_buf *line;
  oc_code code;

  lua_settop(L, 6);
  line = lbuffer_new(L);
  /* from here on no finalizer can run */
  before = list_at(L, 2);
  edited = lua_isnil(L, 3) ? NULL : list_at(L, 3);
  after = list_at(L, 4);
  code = oc_event_write(line, before, edited, after, extra, len);
  if(code) {
    oc_buf_free(line);
    oc_file_fail(journal->problem, code, "%s", oc_code_message(code));
    return fail_journal(L, code, journal);
  }
  bytes = line->len;
  if(bytes)
    code = oc_journal_append(journal, line->data, bytes,
                             lua_toboolean(L, 6));
  oc_buf_free(line);
  if(code)
    return fail_journal(L, code, journal);
  lcompat_push_integral(L, bytes);
  return 1;
}

/* journal_close(journal): idempotent */
static int journal_close(lua_State *L) {
  oc_journal_close(check_journal(L));
  return 0;
}

/* journal_is(journal, path) -> whether the path leads to its file */
static int journal_is(lua_State *L) {
  const oc_journal *journal = check_journal(L);
  lua_pushboolean(L, oc_journal_is(journal, check_path(L, 2)));
  return 1;
}

/* }==== */

/* {==== saving ==== */

/* What is freed, and removed, even when Lua raises. */
typedef struct save_anchor {
  oc_save save;
  oc_buf line;
} save_anchor;

static int save_gc(lua_State *L) {
  save_anchor *anchor = luaL_checkudata(L, 1, SAVE);
  oc_save_abort(&anchor->save);
  oc_buf_free(&anchor->line);
  return 0;
}

static save_anchor *save_new(lua_State *L) {
  save_anchor *anchor = lua_newuserdata(L, sizeof *anchor);
  oc_save_init(&anchor->save);
  oc_buf_init(&anchor->line, SIZE_MAX / 2);
  if(luaL_newmetatable(L, SAVE)) {
    lua_pushcfunction(L, save_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  return anchor;
}

/* Writes a text and a newline, when there is a text. */
static oc_code write_line(oc_save *save, const char *text, size_t len,
                          char *problem) {
  oc_code code = OC_OK;
  if(len)
    code = oc_save_write(save, text, len, problem);
  return code || !len ? code : oc_save_write(save, "\n", 1, problem);
}

/* A line for each turn; in memory there is one of them at a time. */
static oc_code write_turns(save_anchor *anchor, const oc_history *history,
                           char *problem) {
  size_t at = 0;
  oc_code code = OC_OK;
  while(!code && at < history->count) {
    oc_buf_clear(&anchor->line);
    code = oc_event_write_turn(&anchor->line, history, &at);
    if(code)
      oc_file_fail(problem, code, "%s", oc_code_message(code));
    else
      code = oc_save_write(&anchor->save, anchor->line.data,
                           anchor->line.len, problem);
  }
  return code;
}

/*
 * save_file(path, list, header, event) -> true | nil, code, message
 *
 * The header comes first; the event, "" for none, last. Both without their
 * newlines.
 */
static int save_file(lua_State *L) {
  const char *path = check_path(L, 1);
  size_t header_len;
  size_t event_len;
  const char *header = luaL_checklstring(L, 3, &header_len);
  const char *event = luaL_checklstring(L, 4, &event_len);
  save_anchor *anchor;
  const oc_history *history;
  char problem[OC_PROBLEM_MAX];
  oc_code code;

  lconversation_open(L, 2);
  anchor = save_new(L);
  history = &lconversation_open(L, 2)->history;
  code = oc_save_begin(&anchor->save, path, problem);
  if(!code)
    code = write_line(&anchor->save, header, header_len, problem);
  if(!code)
    code = write_turns(anchor, history, problem);
  if(!code)
    code = write_line(&anchor->save, event, event_len, problem);
  if(!code)
    code = oc_save_commit(&anchor->save, problem);
  oc_save_abort(&anchor->save);
  oc_buf_free(&anchor->line);
  if(code)
    return fail_path(L, code, path, problem);
  lua_pushboolean(L, 1);
  return 1;
}

/* }==== */

void ljournal_register(lua_State *L) {
  static const luaL_Reg functions[] = {
    { "replay_text", replay_text },
    { "replay_file", replay_file },
    { "journal_open", journal_open },
    { "journal_replay", journal_replay },
    { "journal_keep", journal_keep },
    { "journal_append", journal_append },
    { "journal_write", journal_write },
    { "journal_close", journal_close },
    { "journal_is", journal_is },
    { "save_file", save_file },
    { NULL, NULL }
  };
  lcompat_register(L, functions);
}
