/* loutcome: what came of a request, as Lua tables. Absent is nil. */
#ifndef LOUTCOME_H
#define LOUTCOME_H

#include "lcompat.h"
#include "oc_error.h"
#include "oc_exchange.h"

/* Pushes a reply: what has arrived, whole or in part. */
void loutcome_push_reply(lua_State *L, const oc_exchange *exchange);
/* Pushes {text =} of an exchange that got a document. */
void loutcome_push_document(lua_State *L, const oc_exchange *exchange);
/* Pushes an error, with what had arrived as `partial`. */
void loutcome_push_error(lua_State *L, const oc_exchange *exchange,
                         const oc_error *error);

#endif
