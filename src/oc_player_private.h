/*
 * oc_player_private: what the files of oc_player and oc_recording share.
 * Nobody else looks inside.
 *
 * oc_player.c opens a tape and knows its speed, oc_player_find.c looks for
 * the recording of a request; oc_recording_read.c makes a recording of a
 * line, oc_recording.c says what is in it.
 */
#ifndef OC_PLAYER_PRIVATE_H
#define OC_PLAYER_PRIVATE_H

#include "oc_buf.h"
#include "oc_player.h"

/* Longest time on a tape. */
#define OC_TAPE_MAX_MS 1e12

typedef struct oc_piece {
  int64_t ms;
  size_t end;
  int is_same;                /* came together with the one before */
} oc_piece;

struct oc_recording {
  size_t line;
  size_t index;               /* where it stood on the tape */
  char at[32];                /* when it was sent, "": not known */
  char *method;
  char *path;
  int attempt;
  oc_buf body;                /* canonical */
  uint64_t hash;              /* of the body */
  int has_holes;              /* "<redacted>" in it */
  int is_used;
  int status;
  int is_cut;                 /* the head has no end */
  oc_buf head;                /* lines, each with its "\r\n" */
  oc_buf bytes;
  oc_piece *pieces;
  size_t count;
  size_t cap;
  oc_code error;
  char *message;
  int retryable;              /* below 0: not said */
  int64_t connect_ms;         /* the times: below 0: not known */
  int64_t first_ms;
  int64_t end_ms;
  int64_t retry_ms;
};

struct oc_player {
  oc_recording **list;
  size_t count;
  size_t cap;
  double speed;
  int in_order;
  char *name;                 /* the file's, without its folders */
};

/* NULL: no memory. */
oc_recording *oc_recording_new(size_t line);
void oc_recording_free(oc_recording *recording);
/*
 * Reads a line into a new recording, which is freed and NULL afterwards when
 * the line is one that says what the file is; `*version` is what it says.
 * OC_E_BAD_LINE, OC_E_NOMEM: `what` (OC_PROBLEM_MAX bytes) says why.
 */
oc_code oc_recording_read(oc_recording **recording, oc_slice line,
                          int64_t *version, char *what);
/* Of a canonical body. */
uint64_t oc_recording_hash(const oc_buf *body);

#endif
