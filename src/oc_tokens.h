/*
 * oc_tokens: about how many tokens a text is for a language model.
 *
 * Without a vocabulary: every model has another one, and a gateway does not
 * say which. A few KB of table (oc_tokens_table.h) hold how likely a token
 * begins at a character, given the two before it, learned from o200k_base on
 * texts of many languages, code and JSON. For another tokenizer the estimate
 * is off by a factor that is much the same for all texts of a conversation.
 *
 * Fed piece by piece, in constant memory and linear time; where the pieces
 * are cut makes no difference.
 */
#ifndef OC_TOKENS_H
#define OC_TOKENS_H

#include <stddef.h>
#include <stdint.h>

#include "oc_json.h"

typedef struct oc_tokens {
  /* private */
  int64_t cost;             /* so far, in parts of a token */
  uint32_t before;          /* the last character, as the table sees it */
  uint32_t before2;         /* and the one before that */
  unsigned char upper;      /* the last character was a capital */
  unsigned char digits;     /* place in a group of three digits */
  unsigned char any;        /* there was a byte */
  unsigned char missing;    /* bytes to come of a cut UTF-8 character */
  unsigned char escape;     /* place in a cut JSON escape */
  uint32_t point;           /* the cut character so far */
  uint32_t least;           /* below this its form is overlong */
  uint32_t unit;            /* the cut \uXXXX so far */
  uint32_t high;            /* surrogate that waits for its other half */
} oc_tokens;

void oc_tokens_init(oc_tokens *tokens);
/*
 * UTF-8, cut anywhere, also within a character. What is not UTF-8 counts
 * like U+FFFD.
 */
void oc_tokens_add(oc_tokens *tokens, const char *text, size_t len);
/*
 * The same for a raw JSON string (between the quotes, as oc_json hands it
 * out): counts what its escapes stand for. It too may be cut anywhere.
 */
void oc_tokens_add_raw(oc_tokens *tokens, oc_slice raw);
/*
 * The estimate so far, rounded; 0 for no text, at least 1 for any. More may
 * be added afterwards.
 */
size_t oc_tokens_count(const oc_tokens *tokens);
/* The estimate of one text. */
size_t oc_tokens_text(const char *text, size_t len);

#endif
