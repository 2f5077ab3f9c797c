/*
 * oc_history: the list of messages.
 *
 * A history is a length and a reference to a shared, append-only vector of
 * messages. A fork (and the snapshot a request is sent from) takes one more
 * reference: no message and no pointer is copied. Whoever appends first
 * appends in place; another one that then appends at the same place gets a
 * vector of its own.
 *
 * The list is always valid to send: a tool result answers a call of the
 * assistant message before it, once, and calls may stand open only at the
 * very end. Each function that changes the list checks that, and changes
 * nothing when it fails.
 */
#ifndef OC_HISTORY_H
#define OC_HISTORY_H

#include <stddef.h>

#include "oc_error.h"
#include "oc_json.h"
#include "oc_message.h"

typedef struct oc_vector oc_vector;

typedef struct oc_history {
  /* public, read only */
  size_t count;         /* messages */
  size_t bytes;         /* their JSON text, without the commas between */
  /* private */
  oc_vector *vector;    /* NULL while empty */
  size_t counted;       /* so many messages at the beginning ... */
  size_t tokens;        /* ... have these tokens */
} oc_history;

/* Where and why a list is not valid. */
typedef struct oc_flaw {
  oc_code code;         /* OC_E_ORPHAN, OC_E_OPEN_CALL */
  size_t index;         /* 0-based index of the message at fault */
  oc_slice id;          /* raw id of the call; borrowed from its message */
} oc_flaw;

void oc_history_init(oc_history *history);
/* Drops all messages; the history is empty and usable again. */
void oc_history_free(oc_history *history);
/* `copy` is initialised by this. Never fails. */
void oc_history_fork(const oc_history *history, oc_history *copy);
/* Frees `history` and gives it what `from` holds; `from` is empty then. */
void oc_history_adopt(oc_history *history, oc_history *from);
/* Whether both hold the same messages because one is a fork of the other. */
int oc_history_same(const oc_history *a, const oc_history *b);

/* How many messages at the beginning are the very same ones. */
size_t oc_history_common(const oc_history *a, const oc_history *b);
/*
 * The indexes of those messages of `base` that are not in `edited`, in
 * order, into `indexes`, which has room for all. Returns how many.
 */
size_t oc_history_missing(const oc_history *base, const oc_history *edited,
                          size_t *indexes);

/* What makes one list out of another: a splice. */
typedef struct oc_edit {
  size_t at;            /* in both */
  size_t removed;       /* so many of the one ... */
  size_t added;         /* ... became so many of the other */
} oc_edit;

/* The shortest splice that makes `edited` out of `base`. */
void oc_history_diff(const oc_history *base, const oc_history *edited,
                     oc_edit *edit);
/*
 * Does to `history` what was done to `base` to get `edited`, wherever in it
 * the messages that were replaced stand now. OC_E_CHANGED: they do not stand
 * there any more; OC_E_ORPHAN, OC_E_OPEN_CALL, OC_E_NOMEM. Changes nothing
 * when it fails.
 */
oc_code oc_history_patch(oc_history *history, const oc_history *base,
                         const oc_history *edited, oc_flaw *flaw);

/* Puts another message in the place of one that it is a copy of. */
oc_code oc_history_replace(oc_history *history, size_t index,
                           oc_message *message);

/* Borrowed; `index` is below count. */
const oc_message *oc_history_at(const oc_history *history, size_t index);

/* The estimated tokens of all messages. Each is counted once. */
size_t oc_history_tokens(oc_history *history);
/* Whether that takes no time to speak of: nearly all of it was counted. */
int oc_history_is_counted(const oc_history *history);
/* Forgets the sum, after estimates have been replaced. */
void oc_history_recount(oc_history *history);
/* The same of one message; `index` is below count. */
unsigned oc_history_tokens_at(const oc_history *history, size_t index);
int oc_history_has_media(const oc_history *history, size_t index);
/*
 * Replaces the estimate of a message, in every list that it is in; those
 * are to be counted again. As oc_message_set_tokens().
 */
void oc_history_set_tokens(oc_history *history, size_t index,
                           unsigned tokens, unsigned counter);

/*
 * Appends a message; the history takes a reference of its own. Fails with
 * OC_E_ORPHAN or OC_E_OPEN_CALL (see `flaw`), OC_E_NOMEM.
 */
oc_code oc_history_append(oc_history *history, oc_message *message,
                          oc_flaw *flaw);
/*
 * Appends `count` messages of another list, from index `at` on, which exist.
 * Fails as oc_history_append() does; what was appended before stays.
 */
oc_code oc_history_take(oc_history *history, const oc_history *from,
                        size_t at, size_t count, oc_flaw *flaw);
/*
 * Replaces `remove` messages from index `at` on by `count` others, of which
 * the history takes references. OC_E_RANGE, OC_E_ORPHAN, OC_E_OPEN_CALL,
 * OC_E_NOMEM; the index in `flaw` is that of the resulting list.
 */
oc_code oc_history_splice(oc_history *history, size_t at, size_t remove,
                          oc_message *const *messages, size_t count,
                          oc_flaw *flaw);
/* Keeps the first `count` messages. The caller cuts where a turn begins. */
void oc_history_cut(oc_history *history, size_t count);

/* Index at which the last `turns` turns begin; fewer turns: the first. */
size_t oc_history_turn(const oc_history *history, size_t turns,
                       size_t *found);
/* How many system and developer messages stand before everything else. */
size_t oc_history_head(const oc_history *history);
/* 1 and the raw id of the first call at the tail without a result. */
int oc_history_open_call(const oc_history *history, oc_slice *id);

#endif
