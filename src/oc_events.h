/*
 * oc_events: conversations as lines of JSON.
 *
 * The first line is the header, an object with "opperchat": the version of
 * the format. Each other line is an event, one committed turn:
 *
 *   "splice":[at,removed]  replaces messages (`at` counts from 1) ...
 *   "with":[...]           ... by these; may be left out
 *   "append":[...]         then adds these
 *   "pinned":[...] ...     flags (oc_message.h): positions among the messages
 *                          of the line, those of "with" before the others
 *   "usage":{...} "options":{...}   from now on; the last ones count
 *   "time":...             for people
 *
 * Other keys are ignored, but one of these has to be there. Messages stand
 * there as they are, byte for byte, but for line breaks between tokens.
 *
 * A line is applied as a whole or not at all, and the list is always valid
 * to send (oc_history.h).
 */
#ifndef OC_EVENTS_H
#define OC_EVENTS_H

#include <stddef.h>

#include "oc_buf.h"
#include "oc_error.h"
#include "oc_file.h"
#include "oc_history.h"
#include "oc_json.h"

#define OC_EVENTS_VERSION 1

/*
 * Appends the line that makes `after` out of `before`: the splice that makes
 * `edited` out of it (NULL: none was made), then the messages that `after`
 * has behind it. When `after` does not begin with `edited` it is one splice.
 * What has not changed is not written. `extra`: more fields, `"key":value`
 * with commas between. Nothing is appended when there is nothing to say.
 * OC_E_NOMEM, OC_E_TOO_LARGE; the buffer is as it was then.
 */
oc_code oc_event_write(oc_buf *line, const oc_history *before,
                       const oc_history *edited, const oc_history *after,
                       const char *extra, size_t extra_len);
/*
 * Appends the line of the turn that begins at `*at`, which moves to the
 * next one; the head belongs to the first turn.
 */
oc_code oc_event_write_turn(oc_buf *line, const oc_history *history,
                            size_t *at);

/* What a line says beside messages: raw JSON, borrowed; NULL: nothing. */
typedef struct oc_event {
  oc_slice usage;
  oc_slice options;
} oc_event;

/*
 * Does to the list what a line (without its newline) says. OC_E_BAD_LINE
 * (`problem` has OC_PROBLEM_MAX bytes), OC_E_NOMEM; the list is as it was.
 */
oc_code oc_event_apply(oc_history *history, const char *line, size_t len,
                       oc_event *event, char *problem);

typedef struct oc_replay {
  oc_slice header;      /* borrowed, as are the others; NULL: new, no line
                           has ever been complete */
  oc_slice usage;       /* NULL: none */
  oc_slice options;     /* NULL: none but the header's */
  size_t options_line;
  size_t events;        /* lines behind the header */
  size_t good;          /* bytes of all complete lines */
  size_t torn;          /* bytes of a last line that was cut off */
  size_t line;          /* number of the line that was cut off, or is wrong */
  char problem[OC_PROBLEM_MAX];
} oc_replay;

/*
 * Reads all lines of a text into an empty list. A last line without newline
 * that is not a complete object was cut off and does not count; one that is
 * complete does. OC_E_BAD_LINE, OC_E_BAD_VERSION, OC_E_NOMEM; the list is
 * empty then.
 */
oc_code oc_replay_text(oc_history *history, const char *text, size_t len,
                       oc_replay *replay);

#endif
