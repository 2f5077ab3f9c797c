/* lrequest: one request in flight as a userdata. */
#ifndef LREQUEST_H
#define LREQUEST_H

#include "lcompat.h"

/* Registers the type; adds its functions to the table on top. */
void lrequest_register(lua_State *L);
/*
 * When the exchange of the open request at `index` has ended: commits the
 * turn to its conversation, once, and leaves the outcome in the request's
 * state (`result`, and `failed` when it is an error). 1: it has ended.
 * May raise out of memory; then it can be called again.
 */
int lrequest_settle(lua_State *L, int index);
/* Ends the request at `index`, of which a handler has raised an error. */
void lrequest_abort(lua_State *L, int index);
/*
 * Tells the handlers in the state what is new, and the outcome when there
 * is one. A lua_CFunction of (request, its state[, until when in
 * microseconds]), to be called protected. Raises what a handler raises; what
 * it was called for is not told again. Returns true when the time was up
 * before all was told.
 */
int lrequest_deliver(lua_State *L);

#endif
