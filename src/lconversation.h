/* lconversation: the list of messages as a userdata. */
#ifndef LCONVERSATION_H
#define LCONVERSATION_H

#include "lcompat.h"
#include "oc_history.h"
#include "oc_json.h"

typedef struct lconversation {
  oc_history history;
  oc_history marked;    /* the list as it was when tokens.lua marked it */
  int is_busy;          /* a request will commit to it: no edits */
} lconversation;

/* Registers the type; adds its functions to the table on top. */
void lconversation_register(lua_State *L);
/* The open conversation at an index; raises otherwise. */
lconversation *lconversation_open(lua_State *L, int index);
/* The same unless a request of it is in flight; `instead`: what to do on a
   fork ("send", "work"). */
lconversation *lconversation_open_idle(lua_State *L, int index,
                                       const char *instead);
/* The same or NULL: not a conversation, or closed. */
lconversation *lconversation_test(lua_State *L, int index);
/*
 * Pushes nil, code, message, and the id of the call that the flaw is about,
 * if it is. Its message has to live. Returns how many values that is.
 */
int lconversation_fail(lua_State *L, oc_code code, const oc_flaw *flaw);
/*
 * Appends a prompt to a history that is not an object's: a text (a user
 * message), or a list of messages (see lmessage.h). 0: done; else how many
 * values were pushed: nil, code, message, detail, index in the list.
 */
int lconversation_append_prompt(lua_State *L, int index,
                                oc_history *history);

#endif
