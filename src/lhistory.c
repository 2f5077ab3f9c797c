#include "lhistory.h"

#include <limits.h>
#include <string.h>

#include "lconversation.h"
#include "lutil.h"
#include "oc_alloc.h"
#include "oc_measure.h"
#include "oc_tokens.h"

/* {==== reading ==== */

/* 0-based index of a message out of a 1-based argument; raises. */
static size_t check_index(lua_State *L, int arg, const oc_history *history) {
  lua_Number index = luaL_checknumber(L, arg);
  luaL_argcheck(L, index >= 1 && index <= (lua_Number)history->count, arg,
                "no such message");
  return (size_t)index - 1;
}

/* tokens(conversation) -> estimated tokens of all messages */
static int list_tokens(lua_State *L) {
  lcompat_push_integral(L,
                        oc_history_tokens(&lconversation_open(L, 1)->history));
  return 1;
}

typedef struct turn {
  size_t first;
  size_t count;         /* messages so far */
  size_t tokens;
  unsigned flags;       /* of any of them */
} turn;

/* Puts what is known of a turn into the three tables from `base` on. */
static void push_turn(lua_State *L, int base, int number, const turn *of) {
  if(!of->count)
    return;
  lcompat_push_integral(L, of->first + 1);
  lua_rawseti(L, base, number);
  lcompat_push_integral(L, of->tokens);
  lua_rawseti(L, base + 1, number);
  lua_pushboolean(L, of->flags != 0);
  lua_rawseti(L, base + 2, number);
}

/*
 * turns(conversation) -> how many messages the head has, their tokens,
 * first = { index of the first message of each turn }, tokens = {...},
 * kept = { whether a message of it is pinned, a summary, facts }.
 *
 * What stands between the head and the first user message is the turn 0,
 * when there is any.
 */
static int list_turns(lua_State *L) {
  const oc_history *history = &lconversation_open(L, 1)->history;
  size_t head = oc_history_head(history);
  size_t i;
  size_t head_tokens = 0;
  int number = 0;
  int base;
  turn now = { 0, 0, 0, 0 };

  luaL_checkstack(L, 8, NULL);
  for(i = 0; i < head; i++)
    head_tokens += oc_history_tokens_at(history, i);
  lcompat_push_integral(L, head);
  lcompat_push_integral(L, head_tokens);
  lua_newtable(L);
  lua_newtable(L);
  lua_newtable(L);
  base = lua_gettop(L) - 2;
  /* a finalizer may have changed the list: nothing is kept across one */
  for(i = head; i < lconversation_open(L, 1)->history.count; i++) {
    const oc_message *message;
    history = &lconversation_open(L, 1)->history;
    message = oc_history_at(history, i);
    if(message->role == OC_ROLE_USER) {
      push_turn(L, base, number++, &now);
      memset(&now, 0, sizeof now);
    }
    if(!now.count++)
      now.first = i;
    now.tokens += oc_history_tokens_at(history, i);
    now.flags |= message->flags;
  }
  push_turn(L, base, number, &now);
  return 5;
}

/*
 * kinds(conversation) -> a letter for each message: s d u a t for the role,
 * c for an assistant message with tool calls; upper case: with media
 */
static int list_kinds(lua_State *L) {
  static const char letters[] = "sduat";
  const oc_history *history = &lconversation_open(L, 1)->history;
  size_t count = history->count;
  char *text = lua_newuserdata(L, count + 1);
  size_t i;

  history = &lconversation_open(L, 1)->history;
  for(i = 0; i < count && i < history->count; i++) {
    const oc_message *message = oc_history_at(history, i);
    char letter = message->has_calls ? 'c' : letters[message->role];
    text[i] = (char)(oc_history_has_media(history, i) ? letter - 'a' + 'A'
                                                      : letter);
  }
  lua_pushlstring(L, text, i);
  return 1;
}

/* message_info(conversation, index) -> tokens, bytes, flags, counter */
static int message_info(lua_State *L) {
  const oc_history *history = &lconversation_open(L, 1)->history;
  size_t index = check_index(L, 2, history);
  const oc_message *message = oc_history_at(history, index);
  lcompat_push_integral(L, oc_history_tokens_at(history, index));
  lcompat_push_integral(L, message->len);
  lcompat_push_integral(L, message->flags);
  lcompat_push_integral(L, message->counter);
  return 4;
}

/*
 * find_flag(conversation, flag) -> index of the first message with it that is
 * not pinned | nil
 */
static int find_flag(lua_State *L) {
  const oc_history *history = &lconversation_open(L, 1)->history;
  size_t len;
  const char *name = luaL_checklstring(L, 2, &len);
  unsigned flag = oc_flag_parse(name, len);
  size_t i;
  for(i = 0; i < history->count; i++) {
    unsigned flags = oc_history_at(history, i)->flags;
    if(flags & flag && !(flags & OC_FLAG_PINNED)) {
      lcompat_push_integral(L, i + 1);
      return 1;
    }
  }
  return 0;
}

/* common(a, b) -> how many messages at the beginning are the same ones */
static int common(lua_State *L) {
  lconversation *a = lconversation_open(L, 1);
  lconversation *b = lconversation_open(L, 2);
  lcompat_push_integral(L, oc_history_common(&a->history, &b->history));
  return 1;
}

/* missing(base, edited) -> indexes of what `edited` has not any more */
static int missing(lua_State *L) {
  lconversation *base = lconversation_open(L, 1);
  lconversation *edited = lconversation_open(L, 2);
  size_t *indexes = lua_newuserdata(L, (base->history.count + 1)
                                         * sizeof *indexes);
  size_t count;
  size_t i;
  /* these are drafts: no finalizer of a program knows them */
  count = oc_history_missing(&base->history, &edited->history, indexes);
  lua_createtable(L, (int)count, 0);
  for(i = 0; i < count; i++) {
    lcompat_push_integral(L, indexes[i] + 1);
    lua_rawseti(L, -2, (int)i + 1);
  }
  return 1;
}

/* mark(conversation): it remembers its list as it is */
static int mark(lua_State *L) {
  lconversation *conversation = lconversation_open(L, 1);
  oc_history copy;
  oc_history_fork(&conversation->history, &copy);
  oc_history_adopt(&conversation->marked, &copy);
  return 0;
}

/* mark_tokens(conversation) -> tokens of the list that it remembers but for
   its last message, and of that one | nil: it remembers none */
static int mark_tokens(lua_State *L) {
  oc_history *marked = &lconversation_open(L, 1)->marked;
  size_t answer;
  if(!marked->count)
    return 0;
  answer = oc_history_tokens_at(marked, marked->count - 1);
  lcompat_push_integral(L, oc_history_tokens(marked) - answer);
  lcompat_push_integral(L, answer);
  return 2;
}

/*
 * beyond_mark(list, conversation, anew) -> tokens and messages that the list
 * has more than the conversation's mark | nil: it does not begin with it.
 * `anew`: counts of messages may have changed since.
 */
static int beyond_mark(lua_State *L) {
  oc_history *list = &lconversation_open(L, 1)->history;
  oc_history *marked = &lconversation_open(L, 2)->marked;
  if(!marked->count || oc_history_common(list, marked) < marked->count)
    return 0;
  if(lua_toboolean(L, 3))
    oc_history_recount(marked);
  lua_pushnumber(L, (lua_Number)oc_history_tokens(list)
                    - (lua_Number)oc_history_tokens(marked));
  lcompat_push_integral(L, list->count - marked->count);
  return 2;
}

/* estimate(text) -> tokens */
static int estimate(lua_State *L) {
  size_t len;
  const char *text = luaL_checklstring(L, 1, &len);
  lcompat_push_integral(L, oc_tokens_text(text, len));
  return 1;
}

/* }==== */

/* {==== editing ==== */

/* assign(list, other): from now on it holds what the other one holds */
static int assign(lua_State *L) {
  lconversation *list = lconversation_open(L, 1);
  lconversation *other = lconversation_open(L, 2);
  oc_history copy;
  oc_history_fork(&other->history, &copy);
  oc_history_adopt(&list->history, &copy);
  return 0;
}

/*
 * patch(conversation, base, edited) -> true: what made `edited` out of
 * `base` was done to it | nil, code, message
 */
static int patch(lua_State *L) {
  lconversation *list = lconversation_open(L, 1);
  lconversation *base = lconversation_open(L, 2);
  lconversation *edited = lconversation_open(L, 3);
  oc_flaw flaw;
  oc_code code = oc_history_patch(&list->history, &base->history,
                                  &edited->history, &flaw);
  if(code)
    return lutil_fail(L, code);
  lua_pushboolean(L, 1);
  return 1;
}

/* set_flag(conversation, index, flag, on) */
static int set_flag(lua_State *L) {
  oc_history *history = &lconversation_open(L, 1)->history;
  size_t index = check_index(L, 2, history);
  const oc_message *message = oc_history_at(history, index);
  size_t len;
  const char *name = luaL_checklstring(L, 3, &len);
  unsigned flag = oc_flag_parse(name, len);
  unsigned flags = lua_toboolean(L, 4) ? message->flags | flag
                                       : message->flags & ~flag;
  oc_message *copy;
  oc_code code;

  if(flags == message->flags)
    return 0;
  code = oc_message_flag(&copy, message, flags);
  if(!code) {
    code = oc_history_replace(history, index, copy);
    oc_message_unref(copy);
  }
  return code ? luaL_error(L, "out of memory") : 0;
}

/* take(conversation, from, first, last) -> true: messages of another list
   are at its end now | nil, code, message[, id] */
static int take_messages(lua_State *L) {
  oc_history *history = &lconversation_open(L, 1)->history;
  oc_history *from = &lconversation_open(L, 2)->history;
  lua_Number first = luaL_checknumber(L, 3);
  lua_Number last = luaL_checknumber(L, 4);
  oc_flaw flaw;
  oc_code code;

  luaL_argcheck(L, first >= 1 && last <= (lua_Number)from->count, 3,
                "no such messages");
  code = last < first ? OC_OK
         : oc_history_take(history, from, (size_t)first - 1,
                           (size_t)(last - first) + 1, &flaw);
  if(code)
    return lconversation_fail(L, code, &flaw);
  lua_pushboolean(L, 1);
  return 1;
}

/* set_tokens(conversation, index, tokens, counter): another count */
static int set_tokens(lua_State *L) {
  oc_history *history = &lconversation_open(L, 1)->history;
  size_t index = check_index(L, 2, history);
  lua_Number tokens = luaL_checknumber(L, 3);
  lua_Number counter = luaL_checknumber(L, 4);
  if(!(tokens >= 0))
    tokens = 0;
  if(tokens > UINT_MAX / 4)
    tokens = UINT_MAX / 4;
  oc_history_set_tokens(history, index, (unsigned)tokens, (unsigned)counter);
  return 0;
}

/* uncounted(conversation, counter, from) -> index of the first message from
   there on that somebody else has counted | nil */
static int uncounted(lua_State *L) {
  const oc_history *history = &lconversation_open(L, 1)->history;
  unsigned counter = (unsigned)luaL_checknumber(L, 2);
  lua_Number from = luaL_checknumber(L, 3);
  size_t i;
  for(i = from >= 1 ? (size_t)from - 1 : 0; i < history->count; i++) {
    if(oc_history_at(history, i)->counter != counter) {
      lcompat_push_integral(L, i + 1);
      return 1;
    }
  }
  return 0;
}

/* measure(conversation, index): the core's own estimate again */
static int measure(lua_State *L) {
  oc_history *history = &lconversation_open(L, 1)->history;
  oc_history_set_tokens(history, check_index(L, 2, history), 0, 0);
  return 0;
}

/* recount(conversation): adds the counts of its messages up again */
static int recount(lua_State *L) {
  oc_history_recount(&lconversation_open(L, 1)->history);
  return 0;
}

/* }==== */

void lhistory_register(lua_State *L) {
  static const luaL_Reg functions[] = {
    { "tokens", list_tokens },
    { "turns", list_turns },
    { "kinds", list_kinds },
    { "message_info", message_info },
    { "find_flag", find_flag },
    { "common", common },
    { "missing", missing },
    { "mark", mark },
    { "mark_tokens", mark_tokens },
    { "beyond_mark", beyond_mark },
    { "estimate", estimate },
    { "assign", assign },
    { "patch", patch },
    { "set_flag", set_flag },
    { "take_messages", take_messages },
    { "set_tokens", set_tokens },
    { "uncounted", uncounted },
    { "measure", measure },
    { "recount", recount },
    { NULL, NULL }
  };
  lcompat_register(L, functions);
  lcompat_push_integral(L, OC_TOKENS_REQUEST);
  lua_setfield(L, -2, "TOKENS_REQUEST");
  lcompat_push_integral(L, OC_TOKENS_MESSAGE);
  lua_setfield(L, -2, "TOKENS_MESSAGE");
  lcompat_push_integral(L, OC_TOKENS_IMAGE);
  lua_setfield(L, -2, "TOKENS_IMAGE");
  lcompat_push_integral(L, OC_TOKENS_IMAGE_LOW);
  lua_setfield(L, -2, "TOKENS_IMAGE_LOW");
  lcompat_push_integral(L, OC_TOKENS_FILE);
  lua_setfield(L, -2, "TOKENS_FILE");
  lcompat_push_integral(L, OC_TOKENS_AUDIO);
  lua_setfield(L, -2, "TOKENS_AUDIO");
  lcompat_push_integral(L, OC_TOKENS_CALL);
  lua_setfield(L, -2, "TOKENS_CALL");
}
