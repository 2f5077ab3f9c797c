/*
 * oc_player: plays a tape that oc_recorder has written, or somebody by hand.
 *
 * Each recording is played once. A request gets the first one left of the
 * same method, path and body (see oc_tree), in the order in which they were
 * sent; among these rather one of the same attempt.
 */
#ifndef OC_PLAYER_H
#define OC_PLAYER_H

#include <stddef.h>
#include <stdint.h>

#include "oc_error.h"
#include "oc_json.h"
#include "oc_recording.h"

typedef struct oc_player oc_player;

typedef struct oc_player_options {
  const char *path;
  double speed;               /* 1: as recorded; 0: no waiting at all */
  int in_order;               /* the next one of the path, whatever is in it */
} oc_player_options;

/*
 * Reads a tape. NULL: `*code` and `problem` (OC_PROBLEM_MAX bytes) say why
 * not: what oc_file_read() says, OC_E_BAD_LINE, OC_E_BAD_VERSION,
 * OC_E_WRONG_TYPE.
 */
oc_player *oc_player_open(const oc_player_options *options, oc_code *code,
                          char *problem);
/* No recording of it may be in use any more. NULL is nothing. */
void oc_player_free(oc_player *player);

/* A request that wants an answer. */
typedef struct oc_player_request {
  const char *method;
  const char *path;
  int attempt;
  oc_slice body;              /* JSON, empty: none */
  oc_slice key;               /* the client's, empty: none */
} oc_player_request;

/* NULL: `error` says what is on the tape and how that differs. */
const oc_recording *oc_player_find(oc_player *player,
                                   const oc_player_request *request,
                                   oc_error *error);

/* The recordings that were not played, one after the other: the first one
   from `*at` on, which moves behind it. NULL: no more. */
const oc_recording *oc_player_left(const oc_player *player, size_t *at);

/*
 * Milliseconds between the request and the head, or a piece (behind the last
 * one: the end), at the player's speed.
 */
int64_t oc_recording_head_due(const oc_player *player,
                              const oc_recording *recording);
int64_t oc_recording_due(const oc_player *player,
                         const oc_recording *recording, size_t index);
/* How long as many recorded milliseconds take at the player's speed. */
int64_t oc_player_scale(const oc_player *player, int64_t ms);
/* Whether nothing waits. */
int oc_player_is_instant(const oc_player *player);

#endif
