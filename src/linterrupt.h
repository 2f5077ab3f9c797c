/*
 * linterrupt: Ctrl-C for a program that asks for it, the command `opperchat`.
 *
 * A library leaves signals to its host, and this one does: nothing is touched
 * before interrupts_watch(true) is called, and only lua/opperchat/command
 * calls it, which is the whole program. It cannot do without: the handler of
 * the standalone interpreter raises an error in whatever runs and takes itself
 * away, so that a second Ctrl-C would kill a chat that was to go on.
 */
#ifndef LINTERRUPT_H
#define LINTERRUPT_H

#include "lcompat.h"

/* Adds its functions to the table on top of the stack. */
void linterrupt_register(lua_State *L);

#endif
