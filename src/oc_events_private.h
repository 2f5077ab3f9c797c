/*
 * oc_events_private: what the files of oc_events share. Nobody else looks
 * inside.
 *
 * oc_events_write.c writes a line, oc_events.c reads one, and
 * oc_events_replay.c reads all of a text.
 */
#ifndef OC_EVENTS_PRIVATE_H
#define OC_EVENTS_PRIVATE_H

#include "oc_events.h"

/* Whether a line can be a whole one, and not the beginning of one. */
int oc_event_is_complete(const char *line, size_t len);
/* The same as oc_event_apply(), but on an error the list may have a part of
   the line. */
oc_code oc_event_apply_part(oc_history *history, const char *line, size_t len,
                            oc_event *event, char *problem);

#endif
