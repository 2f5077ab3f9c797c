/*
 * oc_tree: JSON values to be compared by what they mean.
 *
 * The order of keys, white space, escapes and the form of numbers do not
 * matter; neither do the ids that this module made up for tool calls
 * without one, which are others each time. Where one side says
 * `<redacted>`, any text may stand on the other.
 */
#ifndef OC_TREE_H
#define OC_TREE_H

#include <stddef.h>

#include "oc_buf.h"
#include "oc_error.h"
#include "oc_json.h"
#include "oc_redact.h"

typedef struct oc_node {
  oc_json_token type;
  size_t key;             /* offset in `text`: of the key in its object */
  size_t key_len;
  size_t at;              /* the same: decoded string, or number */
  size_t len;
  size_t child;           /* first one, 0: none */
  size_t next;            /* of the same parent, 0: none */
  size_t count;           /* children */
  size_t leaves;          /* values in it that have none in them */
} oc_node;

typedef struct oc_tree {
  /* private */
  oc_node *nodes;         /* [0] is not used, [1] is the root */
  size_t count;
  size_t cap;
  oc_buf text;
  oc_buf ids;             /* made-up ids, one behind the other */
} oc_tree;

/*
 * Reads a whole text. OC_E_JSON, OC_E_DEPTH, OC_E_UTF8, OC_E_NOMEM; the
 * tree has to be freed in any case.
 */
oc_code oc_tree_read(oc_tree *tree, const char *text, size_t len);
void oc_tree_free(oc_tree *tree);
/* Appends the same text for trees that are equal. */
oc_code oc_tree_write(const oc_tree *tree, oc_buf *out);

/*
 * How many values differ; 0: equal. `where` gets the first one in words,
 * `messages[2].content: recorded "a", sent "b"`, cut; it may be NULL.
 */
size_t oc_tree_compare(const oc_tree *recorded, const oc_tree *sent,
                       oc_buf *where);

/*
 * Appends a JSON text without what is secret in it, and with a stand-in for
 * each long piece of base64: its SHA-256 and its length.
 */
oc_code oc_tree_clean(const oc_redact *redact, const char *text, size_t len,
                      oc_buf *out);

#endif
