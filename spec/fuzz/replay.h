/* Between fuzz.c and replay.c. */
#ifndef OC_REPLAY_H
#define OC_REPLAY_H

#include <setjmp.h>

/* Where to go when something does not hold; NULL: abort. */
extern jmp_buf *fuzz_escape;

#endif
