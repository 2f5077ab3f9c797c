/* lmessage: messages out of what Lua holds. */
#ifndef LMESSAGE_H
#define LMESSAGE_H

#include "lcompat.h"
#include "oc_message.h"

/*
 * Makes a message of the value at `index`: its JSON text, or a list of
 * pieces of it. A piece is a string or a table that stands for media:
 *
 *   path or data    where the bytes are
 *   kind            "image", "audio", "file": what they have to be
 *   type            media type, where the bytes do not tell
 *   max_bytes
 *
 * 0: made, the caller owns the reference. Else four values were pushed: nil,
 * code, message, offset of a JSON error (nil for what is wrong with media).
 * The stack grows by up to three values in either case.
 */
int lmessage_make(lua_State *L, int index, oc_message **out);

#endif
