/*
 * oc_like: the chunk before.
 *
 * Successive chunks of a stream are the same bytes but for one string: the
 * text that they add. Whoever has read such a chunk remembers it, and those
 * that equal it on both sides of that string need not be parsed again.
 */
#ifndef OC_LIKE_H
#define OC_LIKE_H

#include <stddef.h>

#include "oc_buf.h"
#include "oc_json.h"

typedef struct oc_like {
  /* private */
  oc_buf chunk;         /* empty: none is known */
  size_t at;            /* where the string begins in it */
  size_t behind;        /* bytes from its closing quote on */
  int is_line;          /* it may stand behind one "data: " */
} oc_like;

/* `max`: most bytes of a chunk that is remembered. */
void oc_like_init(oc_like *like, size_t max);
void oc_like_free(oc_like *like);
void oc_like_forget(oc_like *like);
/* `string`: the raw string within the chunk. */
void oc_like_remember(oc_like *like, const char *chunk, size_t len,
                      oc_slice string);

/*
 * Whether the chunk is one like it. Then `string` is the raw string that it
 * has, and `letters` says what this is made of.
 */
int oc_like_matches(const oc_like *like, const char *chunk, size_t len,
                    oc_slice *string, oc_letters *letters);
/*
 * The same for an event of a stream that begins with these bytes, most often
 * that chunk between "data: " and a blank line. Its length; 0: it is not
 * known to be one, or not all of it is there.
 */
size_t oc_like_event(const oc_like *like, const char *bytes, size_t len,
                     oc_slice *string, oc_letters *letters);

#endif
