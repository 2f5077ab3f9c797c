/* lconversation: the list of messages as a userdata. */
#ifndef LCONVERSATION_H
#define LCONVERSATION_H

#include "lcompat.h"
#include "oc_history.h"
#include "oc_json.h"

typedef struct lconversation {
  oc_history history;
  int is_busy;          /* a request will commit to it: no edits */
} lconversation;

/* Registers the type; adds its functions to the table on top. */
void lconversation_register(lua_State *L);
/* The open conversation at an index; raises otherwise. */
lconversation *lconversation_open(lua_State *L, int index);
/* The same or NULL: not a conversation, or closed. */
lconversation *lconversation_test(lua_State *L, int index);
/*
 * Appends the messages of the list at `index` (JSON texts, or strings in
 * a field `text`: user messages) to a history that is not an object's.
 * On failure pushes what lua functions return: nil, code, message, index.
 * Returns how many values were pushed, 0: all appended.
 */
int lconversation_append_list(lua_State *L, int index, oc_history *history);

#endif
