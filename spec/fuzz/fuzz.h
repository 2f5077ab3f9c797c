/*
 * What the fuzz targets have in common.
 *
 * A target is one function, LLVMFuzzerTestOneInput(). It runs under
 * libFuzzer (`make fuzz`) and in a plain program (replay.c) that feeds it
 * the files of its corpus, so that any compiler can run them, also with
 * each allocation failing in turn. Inputs are texts that people can read.
 */
#ifndef OC_FUZZ_H
#define OC_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "../../src/oc_buf.h"
#include "../../src/oc_history.h"
#include "../../src/oc_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#if defined(__GNUC__)
#define FUZZ_PRINTF(which, first)                       \
  __attribute__((format(printf, which, first)))
#define FUZZ_NORETURN __attribute__((noreturn))
#else
#define FUZZ_PRINTF(which, first)
#define FUZZ_NORETURN
#endif

/* What has to hold for every input. */
#define MUST(condition)                                           \
  ((condition) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #condition))
FUZZ_NORETURN void fuzz_fail(const char *file, int line, const char *what);

/*
 * The same for what holds only while no allocation has failed. An
 * allocation that fails may cost an answer, never its being valid.
 */
#define MUST_IF_FED(condition) MUST(fuzz_is_starved() || (condition))

/* {==== memory ==== */

/* The n-th allocation from now on fails, once; below 0: none does. */
void fuzz_starve(long n);
/* Whether it has. */
int fuzz_is_starved(void);
/* Whether this run is one of those. */
int fuzz_is_starving(void);
/* No allocation fails from here to fuzz_feed_end(), for a check. */
long fuzz_feed(void);
void fuzz_feed_end(long n);
/* Blocks of the core that have not been freed. */
long fuzz_blocks(void);

/* A copy in a block of its own size, so that a read behind it is seen. It
   does not come from the core's allocator and never fails; free(). */
char *fuzz_copy(const void *bytes, size_t len);
/* The same with a NUL behind it. */
char *fuzz_string(const void *bytes, size_t len);

/* }==== */

/* {==== splits ==== */

/* How often each target feeds the same input in other pieces. */
int fuzz_rounds(void);

/* Where an input is cut: the same input is always cut the same. */
typedef struct fuzz_split {
  int round;            /* 0: not at all, 1: behind each byte */
  uint32_t state;
} fuzz_split;

void fuzz_split_init(fuzz_split *split, int round, const uint8_t *data,
                     size_t size);
/* Bytes of the next piece, at most `left`; may be none. */
size_t fuzz_piece(fuzz_split *split, size_t left);
uint32_t fuzz_random(fuzz_split *split);

/* }==== */

/* {==== what came out, as a text ==== */

typedef struct fuzz_note {
  char *text;
  size_t len;
  size_t cap;
} fuzz_note;

void fuzz_note_bytes(fuzz_note *note, const void *bytes, size_t len);
void fuzz_notef(fuzz_note *note, const char *format, ...) FUZZ_PRINTF(2, 3);
/* Keeps what came out of round 0; later ones have to be the same, unless an
   allocation has failed. Empties `note` for the next round. */
void fuzz_compare(fuzz_note *first, fuzz_note *note, int round);
void fuzz_note_free(fuzz_note *note);

/* }==== */

/* {==== what is always true of ... ==== */

/* The next line of an input, without its LF; 0: no more. */
int fuzz_line(const char **at, const char *end, oc_slice *line);
/* A text is one strict JSON value. */
int fuzz_is_json(const char *text, size_t len);
/* A list could be made again by appending, and its sums are right. */
void fuzz_check_list(const oc_history *list);
/* Both hold messages of the same text and flags. */
int fuzz_same_list(const oc_history *a, const oc_history *b);

/* }==== */

/* The core's random numbers are the same in each round. */
void fuzz_reset_random(void);

#endif
