/*
 * oc_text: a text that grows with a stream.
 *
 * Fragments may be cut anywhere: between the two escapes of a surrogate
 * pair, or between the bytes of a character. `whole` is how much of the
 * text consists of complete, valid characters; no byte before it changes.
 */
#ifndef OC_TEXT_H
#define OC_TEXT_H

#include <stddef.h>

#include "oc_buf.h"
#include "oc_error.h"
#include "oc_json.h"

typedef struct oc_text {
  /* public, read only */
  oc_buf buf;
  size_t whole;
  /* private */
  unsigned pending;       /* half a surrogate pair at the end */
} oc_text;

void oc_text_init(oc_text *text, size_t max);
void oc_text_free(oc_text *text);
/*
 * Appends a raw JSON string. Invalid bytes become U+FFFD as soon as it is
 * sure that they are not the beginning of a character.
 */
oc_code oc_text_add(oc_text *text, oc_slice raw);
/* The same when it is known what the string is made of. */
oc_code oc_text_add_letters(oc_text *text, oc_slice raw, oc_letters letters);
/* Appends text that has no escapes to be decoded. */
oc_code oc_text_add_plain(oc_text *text, oc_slice plain);
/* No more fragments: what is incomplete becomes U+FFFD. */
oc_code oc_text_finish(oc_text *text);

/*
 * Replaces what is not UTF-8 in a finished text of any kind: it would make
 * every later request of the list invalid.
 */
oc_code oc_text_make_valid(oc_buf *buf);

#endif
