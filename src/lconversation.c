#include "lconversation.h"

#include <string.h>

#include "lbuffer.h"
#include "lmessage.h"
#include "lutil.h"
#include "oc_alloc.h"
#include "oc_body.h"

lconversation *lconversation_open(lua_State *L, int index) {
  return lutil_open(L, index, LUTIL_CONVERSATION);
}

lconversation *lconversation_test(lua_State *L, int index) {
  lutil_box *box = lutil_test(L, index, LUTIL_CONVERSATION);
  return box ? box->core : NULL;
}

lconversation *lconversation_open_idle(lua_State *L, int index,
                                       const char *instead) {
  lconversation *conversation = lconversation_open(L, index);
  if(conversation->is_busy)
    lutil_misuse(L, "conversation is busy: a request is in flight "
                    "(wait for it, cancel it, or %s on a fork)", instead);
  return conversation;
}

/* The conversation at 1, if it may be changed. */
static lconversation *open_idle(lua_State *L) {
  return lconversation_open_idle(L, 1, "work");
}

static int conversation_new(lua_State *L) {
  lutil_box *box = lutil_new(L, LUTIL_CONVERSATION);
  box->core = oc_calloc(sizeof(lconversation));
  if(!box->core)
    return luaL_error(L, "out of memory");
  return 1;
}

/* close(): drops the messages. Idempotent; also __gc and __close. */
static int conversation_close(lua_State *L) {
  lutil_box *box = lutil_test(L, 1, LUTIL_CONVERSATION);
  if(box && box->core) {
    lconversation *conversation = box->core;
    box->core = NULL;
    oc_history_free(&conversation->history);
    oc_history_free(&conversation->marked);
    oc_free(conversation);
  }
  return 0;
}

/* {==== appending ==== */

/* Pushes nil, code, message and what the flaw points at: an id. */
static int fail_flaw(lua_State *L, oc_code code, const char *id,
                     size_t len) {
  lutil_fail(L, code);
  if(code != OC_E_ORPHAN && code != OC_E_OPEN_CALL)
    return 3;
  lua_pushlstring(L, id, len);
  return 4;
}

int lconversation_fail(lua_State *L, oc_code code, const oc_flaw *flaw) {
  if(code == OC_E_ORPHAN || code == OC_E_OPEN_CALL)
    return fail_flaw(L, code, flaw->id.text, flaw->id.len);
  return lutil_fail(L, code);
}

/* Appends a message that was just made and drops the maker's reference. */
static int append_made(lua_State *L, oc_history *history,
                       oc_message *message) {
  oc_flaw flaw;
  char id[128];
  size_t len = 0;
  oc_code code = oc_history_append(history, message, &flaw);
  if(code == OC_E_ORPHAN || code == OC_E_OPEN_CALL) {
    /* the flaw points into a message that may be gone before Lua raises */
    len = flaw.id.len < sizeof id ? flaw.id.len : sizeof id;
    memcpy(id, flaw.id.text, len);
  }
  oc_message_unref(message);
  return code ? fail_flaw(L, code, id, len) : 0;
}

static int fail_at(lua_State *L, oc_code code, size_t where) {
  lutil_fail(L, code);
  lcompat_push_integral(L, where + 1);
  return 4;
}

/*
 * append_text(conversation, role, text) -> true
 * | nil, code, message[, offset of a bad byte or id of a call]
 */
static int append_text(lua_State *L) {
  lconversation *conversation = open_idle(L);
  size_t role_len;
  size_t len;
  const char *role_name = luaL_checklstring(L, 2, &role_len);
  const char *text = luaL_checklstring(L, 3, &len);
  oc_role role = oc_role_parse(role_name, role_len);
  oc_message *message;
  size_t where = 0;
  oc_code code;
  int failed;

  if(role == OC_ROLE_COUNT)
    return lutil_fail(L, OC_E_ROLE);
  if(role == OC_ROLE_TOOL)
    return lutil_fail(L, OC_E_NO_CALL_ID);
  luaL_checkstack(L, 6, NULL);
  code = oc_message_text(&message, role, text, len, &where);
  if(code)
    return fail_at(L, code, where);
  failed = append_made(L, &conversation->history, message);
  if(failed)
    return failed;
  lua_pushboolean(L, 1);
  return 1;
}

/* The same for a message given as JSON text or pieces of it. */
static int append_json(lua_State *L) {
  lconversation *conversation;
  oc_message *message;
  int failed;

  open_idle(L);
  luaL_checkstack(L, 12, NULL);
  failed = lmessage_make(L, 2, &message);
  if(failed)
    return failed;
  /* a finalizer may have closed it, or sent it, meanwhile */
  conversation = lconversation_test(L, 1);
  if(!conversation || conversation->is_busy) {
    oc_message_unref(message);
    open_idle(L);
    return 0;
  }
  failed = append_made(L, &conversation->history, message);
  if(failed)
    return failed;
  lua_pushboolean(L, 1);
  return 1;
}

/* Appends a list of messages, each JSON text or pieces of it. */
static int append_list(lua_State *L, int index, oc_history *history) {
  size_t count = lcompat_rawlen(L, index);
  size_t i;

  luaL_checkstack(L, 10, NULL);
  for(i = 1; i <= count; i++) {
    int top = lua_gettop(L);
    oc_message *message;
    int failed;
    lua_rawgeti(L, index, (int)i);
    failed = lmessage_make(L, -1, &message);
    if(!failed)
      failed = append_made(L, history, message);
    if(failed) {
      while(failed < 4) {
        lua_pushnil(L);
        failed++;
      }
      lcompat_push_integral(L, i);
      return failed + 1;
    }
    lua_settop(L, top);
  }
  return 0;
}

int lconversation_append_prompt(lua_State *L, int index, oc_history *history) {
  oc_message *message;
  oc_code code;
  size_t len;
  size_t where = 0;
  const char *text;

  if(lua_istable(L, index))
    return append_list(L, index, history);
  text = luaL_checklstring(L, index, &len);
  code = oc_message_text(&message, OC_ROLE_USER, text, len, &where);
  return code ? fail_at(L, code, where) : append_made(L, history, message);
}

/* }==== */

/* {==== reading ==== */

/* Index of a message: 1 is the first, -1 the last one. 0: no such one. */
static size_t read_index(lua_State *L, int arg, size_t count) {
  lua_Number index = luaL_checknumber(L, arg);
  if(index < 0)
    index += (lua_Number)count + 1;
  if(!(index >= 1 && index <= (lua_Number)count))
    return 0;
  return (size_t)index;
}

/* message_json(conversation, index) -> JSON text, role, flags | nil */
static int message_json(lua_State *L) {
  lconversation *conversation = lconversation_open(L, 1);
  size_t index = read_index(L, 2, conversation->history.count);
  const oc_message *message;
  oc_role role;
  unsigned flags;
  if(!index) {
    lua_pushnil(L);
    return 1;
  }
#if LCOMPAT_COLLECTS_FIRST
  {
    /* a finalizer may take the message away before it is copied */
    oc_buf *copy = lbuffer_new(L);
    conversation = lconversation_open(L, 1);
    index = read_index(L, 2, conversation->history.count);
    if(!index)
      return 0;
    message = oc_history_at(&conversation->history, index - 1);
    role = (oc_role)message->role;
    flags = message->flags;
    if(oc_buf_append(copy, message->json, message->len))
      return luaL_error(L, "out of memory");
    lbuffer_push(L, copy);
  }
#else
  message = oc_history_at(&conversation->history, index - 1);
  role = (oc_role)message->role;
  flags = message->flags;
  lua_pushlstring(L, message->json, message->len);
#endif
  lua_pushstring(L, oc_role_name(role));
  lcompat_push_integral(L, flags);
  return 3;
}

static int conversation_len(lua_State *L) {
  lconversation *conversation = lconversation_open(L, 1);
  lcompat_push_integral(L, conversation->history.count);
  return 1;
}

/* bytes(conversation) -> bytes of JSON text of all messages */
static int conversation_bytes(lua_State *L) {
  lconversation *conversation = lconversation_open(L, 1);
  lcompat_push_integral(L, conversation->history.bytes);
  return 1;
}

/* check_idle(conversation): raises while a request of it is in flight */
static int check_idle(lua_State *L) {
  lconversation_open_idle(L, 1, "send");
  return 0;
}

/* is_busy(conversation) */
static int conversation_is_busy(lua_State *L) {
  lua_pushboolean(L, lconversation_open(L, 1)->is_busy);
  return 1;
}

/* open_call(conversation) -> raw id of the first call without result | nil */
static int open_call(lua_State *L) {
  lconversation *conversation = lconversation_open(L, 1);
  oc_slice id;
  if(!oc_history_open_call(&conversation->history, &id))
    return 0;
  lua_pushlstring(L, id.text, id.len);
  return 1;
}

static int conversation_tostring(lua_State *L) {
  lutil_box *box = lutil_check(L, 1, LUTIL_CONVERSATION);
  lconversation *conversation = box->core;
  if(!conversation)
    lua_pushliteral(L, "opperchat.conversation (closed)");
  else
    lua_pushfstring(L, "opperchat.conversation (%d %s)",
                    (int)conversation->history.count,
                    conversation->history.count == 1 ? "message"
                                                     : "messages");
  return 1;
}

/* }==== */

/* {==== editing ==== */

/* turn(conversation, n) -> index at which the last n turns begin, how many
   turns were found. The index is one past the end when there is none. */
static int find_turn(lua_State *L) {
  lconversation *conversation = lconversation_open(L, 1);
  lua_Number turns = luaL_checknumber(L, 2);
  size_t count = conversation->history.count;
  size_t found;
  /* a number as large as you like: each turn has a message */
  size_t at = oc_history_turn(&conversation->history,
                              !(turns > 0) ? 0
                              : turns < (lua_Number)count ? (size_t)turns
                                                          : count, &found);
  lcompat_push_integral(L, at + 1);
  lcompat_push_integral(L, found);
  return 2;
}

/* head(conversation) -> how many messages of the head there are */
static int find_head(lua_State *L) {
  lconversation *conversation = lconversation_open(L, 1);
  lcompat_push_integral(L, oc_history_head(&conversation->history));
  return 1;
}

/* cut(conversation, count): keeps the first messages */
static int cut(lua_State *L) {
  lconversation *conversation = open_idle(L);
  lua_Number count = luaL_checknumber(L, 2);
  if(count < 0 || count > (lua_Number)conversation->history.count)
    return 0;
  /* no list will begin with what is marked any more, and it would keep the
     place behind this one taken: the next append would copy all of it */
  if(conversation->marked.count > (size_t)count)
    oc_history_free(&conversation->marked);
  oc_history_cut(&conversation->history, (size_t)count);
  return 0;
}

/* A list of messages that is freed even when Lua raises. */
typedef struct message_list {
  oc_message **items;
  size_t count;
} message_list;

static int message_list_gc(lua_State *L) {
  message_list *list = lua_touserdata(L, 1);
  while(list->count)
    oc_message_unref(list->items[--list->count]);
  oc_free(list->items);
  list->items = NULL;
  return 0;
}

static message_list *message_list_new(lua_State *L, size_t cap) {
  message_list *list = lua_newuserdata(L, sizeof *list);
  list->items = NULL;
  list->count = 0;
  if(luaL_newmetatable(L, "opperchat.message_list")) {
    lua_pushcfunction(L, message_list_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  list->items = oc_malloc((cap ? cap : 1) * sizeof *list->items);
  if(!list->items)
    luaL_error(L, "out of memory");
  return list;
}

/*
 * splice(conversation, at, remove, list of messages) -> true
 * | nil, code, message, detail, index in the list or of the message
 */
static int splice(lua_State *L) {
  lconversation *conversation;
  size_t at = (size_t)luaL_checknumber(L, 2);
  size_t removed = (size_t)luaL_checknumber(L, 3);
  size_t count;
  size_t i;
  message_list *list;
  int top;
  oc_flaw flaw;
  oc_code code;

  open_idle(L);
  luaL_checktype(L, 4, LUA_TTABLE);
  count = lcompat_rawlen(L, 4);
  list = message_list_new(L, count);
  luaL_checkstack(L, 10, NULL);
  top = lua_gettop(L);
  for(i = 1; i <= count; i++) {
    int failed;
    lua_rawgeti(L, 4, (int)i);
    failed = lmessage_make(L, -1, &list->items[list->count]);
    if(failed) {
      lcompat_push_integral(L, i);
      return failed + 1;
    }
    lua_settop(L, top);
    list->count++;
  }
  /* again: a finalizer may have closed it, or sent it, meanwhile */
  conversation = open_idle(L);
  code = oc_history_splice(&conversation->history, at - 1, removed,
                           list->items, list->count, &flaw);
  if(code == OC_E_ORPHAN || code == OC_E_OPEN_CALL) {
    /* the id may lie in a message that only `list` holds: it still does */
    fail_flaw(L, code, flaw.id.text, flaw.id.len);
    lcompat_push_integral(L, flaw.index + 1);
    return 5;
  }
  if(code)
    return lutil_fail(L, code);
  lua_pushboolean(L, 1);
  return 1;
}

/* fork(conversation) -> another one with the same messages */
static int conversation_fork(lua_State *L) {
  lconversation *conversation;
  lconversation *copy;
  lconversation_open(L, 1);
  conversation_new(L);
  /* not before: making one may run a finalizer that closes the other */
  conversation = lconversation_open(L, 1);
  copy = lconversation_open(L, -1);
  oc_history_fork(&conversation->history, &copy->history);
  oc_history_fork(&conversation->marked, &copy->marked);
  return 1;
}

/*
 * adopt(conversation, other): gives it the messages and the mark of another
 * one, which is empty afterwards. For work that was done on a fork.
 */
static int adopt(lua_State *L) {
  lconversation *conversation = lconversation_open(L, 1);
  lconversation *other = lconversation_open(L, 2);
  oc_history_adopt(&conversation->history, &other->history);
  oc_history_adopt(&conversation->marked, &other->marked);
  return 0;
}

/* set_busy(conversation, is_busy): holds off edits while a fork of it is
   at work for it. */
static int set_busy(lua_State *L) {
  lconversation_open(L, 1)->is_busy = lua_toboolean(L, 2);
  return 0;
}

/* }==== */

/* {==== the body ==== */

typedef struct body_anchor {
  oc_history history;
  oc_body body;
} body_anchor;

static int body_anchor_gc(lua_State *L) {
  body_anchor *anchor = lua_touserdata(L, 1);
  oc_history_free(&anchor->history);
  oc_body_free(&anchor->body);
  return 0;
}

/*
 * body(conversation, options, prompt) -> the body of a request
 * with these messages at the end | nil, code, message, detail, index
 */
static int body(lua_State *L) {
  lconversation *conversation;
  size_t len;
  const char *options = luaL_checklstring(L, 2, &len);
  body_anchor *anchor;
  oc_buf *text;
  oc_slice open;
  oc_code code;
  int failed;

  anchor = lua_newuserdata(L, sizeof *anchor);
  memset(anchor, 0, sizeof *anchor);
  if(luaL_newmetatable(L, "opperchat.body_anchor")) {
    lua_pushcfunction(L, body_anchor_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  conversation = lconversation_open(L, 1);
  oc_history_fork(&conversation->history, &anchor->history);
  failed = lconversation_append_prompt(L, 3, &anchor->history);
  if(failed)
    return failed;
  if(oc_history_open_call(&anchor->history, &open)) {
    lutil_fail(L, OC_E_OPEN_CALL);
    lua_pushlstring(L, open.text, open.len);
    return 4;
  }
  text = lbuffer_new(L);
  code = oc_body_init(&anchor->body, options, len, &anchor->history);
  if(!code)
    code = oc_body_print(&anchor->body, text);
  return code ? lutil_fail(L, code) : lbuffer_push(L, text);
}

/* }==== */

void lconversation_register(lua_State *L) {
  static const luaL_Reg functions[] = {
    { "conversation", conversation_new },
    { "conversation_close", conversation_close },
    { "append_text", append_text },
    { "append_json", append_json },
    { "message_json", message_json },
    { "bytes", conversation_bytes },
    { "check_idle", check_idle },
    { "is_busy", conversation_is_busy },
    { "open_call", open_call },
    { "turn", find_turn },
    { "head", find_head },
    { "cut", cut },
    { "splice", splice },
    { "fork", conversation_fork },
    { "adopt", adopt },
    { "set_busy", set_busy },
    { "body", body },
    { NULL, NULL }
  };
  static const luaL_Reg methods[] = { { NULL, NULL } };
  static const luaL_Reg meta[] = {
    { "__gc", conversation_close },
    { "__len", conversation_len },
    { "__tostring", conversation_tostring },
    { NULL, NULL }
  };
  lutil_add_type(L, LUTIL_CONVERSATION, methods, meta);
  lcompat_register(L, functions);
}
