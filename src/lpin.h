#ifndef LPIN_H
#define LPIN_H

/* Keeps this shared object in memory when the state that loaded it closes. */
void lpin_module(void);

#endif
