/*
 * oc_call: tool calls, put together from the fragments of a stream or read
 * from a whole message.
 *
 * Servers differ in nearly everything: calls numbered from 0, from 1, all
 * 0 or not at all; ids that come late, empty, twice or never; names that
 * come in pieces or with each fragment.
 */
#ifndef OC_CALL_H
#define OC_CALL_H

#include <stddef.h>

#include "oc_buf.h"
#include "oc_error.h"
#include "oc_fields.h"
#include "oc_json.h"
#include "oc_text.h"

/* One tool call under construction. */
typedef struct oc_call {
  oc_buf id;              /* never empty once the reply is finished */
  oc_buf name;
  oc_text arguments;      /* JSON text as the model wrote it */
  oc_fields extra;        /* unknown fields of the call */
  oc_fields function_extra;   /* the same of its "function" object */
  double index;           /* the server's index; -1: it named none */
  int has_function;       /* 0: another kind of call, all of it in extra */
  /* how far the arguments have been searched for their end (is_complete) */
  size_t scanned;
  size_t depth;           /* brackets open there */
  int in_string;
  int has_begun;          /* a first bracket was there */
} oc_call;

typedef struct oc_call_list {
  oc_call *items;
  size_t count;
} oc_call_list;

/*
 * What a chunk has done. One that did nothing but add one string to one
 * text may serve as the pattern for the next (see oc_reply_chunk).
 */
typedef struct oc_effects {
  unsigned count;
  oc_slice text;          /* the string added last; len 0: something else */
  size_t call;            /* the call whose arguments it was added to */
  int is_arguments;
} oc_effects;

/* Counts something that is no string added to a text. */
void oc_effects_note(oc_effects *effects);
void oc_effects_note_text(oc_effects *effects, oc_slice raw);

void oc_call_list_free(oc_call_list *list);
/*
 * Reads the value behind the KEY "tool_calls". `is_whole`: a complete
 * message, in which each element is a call of its own. `max`: most bytes
 * of each text.
 */
oc_code oc_call_list_read(oc_call_list *list, oc_json *reader, int is_whole,
                          size_t max, oc_effects *effects);
/* No more fragments: completes texts, gives each call an id of its own. */
oc_code oc_call_list_finish(oc_call_list *list);
/* Appends `,"tool_calls":[...]`, or nothing when there are none. */
oc_code oc_call_list_write(const oc_call_list *list, oc_buf *out);

#endif
