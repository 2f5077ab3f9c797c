#include "oc_tree.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oc_alloc.h"
#include "oc_redact.h"
#include "oc_sha256.h"
#include "oc_utf8.h"

/* Longer base64 is not kept. */
#define BASE64_MAX 1024
/* Digits that a double holds exactly. */
#define EXACT_DIGITS 15
/* So much of a value is shown, and of what two have in common before it. */
#define SHOWN 60
#define SHOWN_BEFORE 20

/* {==== reading ==== */

static size_t add_node(oc_tree *tree) {
  if(tree->count + 1 >= tree->cap) {
    size_t cap = tree->cap ? tree->cap * 2 : 32;
    oc_node *nodes = oc_realloc(tree->nodes, cap * sizeof *nodes);
    if(!nodes)
      return 0;
    tree->nodes = nodes;
    tree->cap = cap;
  }
  memset(&tree->nodes[++tree->count], 0, sizeof *tree->nodes);
  return tree->count;
}

/* "call_" and 24 digits: what oc_call makes up. */
#define ID_LEN 29

static int is_made_up(const char *text, size_t len) {
  size_t i;
  if(len != ID_LEN || memcmp(text, "call_", 5))
    return 0;
  for(i = 5; i < len; i++) {
    if(!text[i] || !strchr("0123456789abcdef", text[i]))
      return 0;
  }
  return 1;
}

/* Takes a made-up id for the how manieth it is. */
static oc_code number_id(oc_tree *tree, oc_node *node) {
  char name[32];
  size_t i;
  oc_code code = OC_OK;
  if(!is_made_up(tree->text.data + node->at, node->len))
    return OC_OK;
  for(i = 0; i < tree->ids.len; i += ID_LEN) {
    if(!memcmp(tree->ids.data + i, tree->text.data + node->at, ID_LEN))
      break;
  }
  if(i == tree->ids.len)
    code = oc_buf_append(&tree->ids, tree->text.data + node->at, ID_LEN);
  snprintf(name, sizeof name, "call_#%lu", (unsigned long)(i / ID_LEN + 1));
  tree->text.len = node->at;
  if(!code)
    code = oc_buf_puts(&tree->text, name);
  node->len = tree->text.len - node->at;
  return code;
}

/* 1, 1.0 and 1e0 are the same; more digits than a double has are kept. */
static oc_code add_number(oc_tree *tree, const oc_json *reader) {
  if(reader->value.len <= EXACT_DIGITS
     || memchr(reader->value.text, '.', reader->value.len)) {
    double number = oc_json_number(reader);
    if(number - number == 0)
      return oc_json_write_number(&tree->text, number == 0 ? 0 : number);
  }
  return oc_buf_append(&tree->text, reader->value.text, reader->value.len);
}

static int compare_keys(const oc_tree *tree, const oc_node *a,
                        const oc_node *b) {
  size_t len = a->key_len < b->key_len ? a->key_len : b->key_len;
  int order = len ? memcmp(tree->text.data + a->key,
                           tree->text.data + b->key, len) : 0;
  if(!order)
    order = a->key_len < b->key_len ? -1 : a->key_len > b->key_len;
  return order;
}

/* Sorts a list of siblings by key: a merge sort, so equal keys stay in
   their order. */
static size_t sort(oc_tree *tree, size_t first, size_t count) {
  size_t half = count / 2;
  size_t middle = first;
  size_t before = 0;
  size_t head = 0;
  size_t last = 0;
  size_t i;
  if(count < 2)
    return first;
  for(i = 0; i < half; i++) {
    before = middle;
    middle = tree->nodes[middle].next;
  }
  tree->nodes[before].next = 0;
  first = sort(tree, first, half);
  middle = sort(tree, middle, count - half);
  while(first || middle) {
    size_t *from = !middle || (first
                   && compare_keys(tree, &tree->nodes[first],
                                   &tree->nodes[middle]) <= 0)
                   ? &first : &middle;
    size_t node = *from;
    *from = tree->nodes[node].next;
    if(last)
      tree->nodes[last].next = node;
    else
      head = node;
    last = node;
  }
  tree->nodes[last].next = 0;
  return head;
}

/*
 * The value whose first token was just read, as node `at`. As deep as the
 * reader allows it.
 */
static oc_code read_value(oc_tree *tree, oc_json *reader, size_t at) {
  oc_json_token type = reader->token;
  size_t last = 0;
  oc_code code = OC_OK;

  tree->nodes[at].type = type;
  tree->nodes[at].at = tree->text.len;
  if(type == OC_JSON_ERROR)
    return reader->error;
  if(type == OC_JSON_STRING) {
    code = oc_json_unescape(reader->value, &tree->text, NULL);
    tree->nodes[at].len = tree->text.len - tree->nodes[at].at;
    if(!code)
      code = number_id(tree, &tree->nodes[at]);
  }
  else if(type == OC_JSON_NUMBER) {
    code = add_number(tree, reader);
    tree->nodes[at].len = tree->text.len - tree->nodes[at].at;
  }
  while(!code && (type == OC_JSON_OBJECT || type == OC_JSON_ARRAY)) {
    size_t key = tree->text.len;
    size_t child;
    oc_json_token token = oc_json_next(reader);
    if(token == OC_JSON_OBJECT_END || token == OC_JSON_ARRAY_END)
      break;
    if(token == OC_JSON_KEY) {
      code = oc_json_unescape(reader->value, &tree->text, NULL);
      token = oc_json_next(reader);
    }
    if(token == OC_JSON_ERROR)
      return reader->error;
    child = code ? 0 : add_node(tree);
    if(!child)
      return code ? code : OC_E_NOMEM;
    tree->nodes[child].key = key;
    tree->nodes[child].key_len = tree->text.len - key;
    code = read_value(tree, reader, child);
    if(last)
      tree->nodes[last].next = child;
    else
      tree->nodes[at].child = child;
    last = child;
    tree->nodes[at].count++;
    tree->nodes[at].leaves += tree->nodes[child].leaves;
  }
  if(!tree->nodes[at].leaves)
    tree->nodes[at].leaves = 1;
  if(!code && type == OC_JSON_OBJECT)
    tree->nodes[at].child = sort(tree, tree->nodes[at].child,
                                 tree->nodes[at].count);
  return code;
}

oc_code oc_tree_read(oc_tree *tree, const char *text, size_t len) {
  oc_json reader;
  oc_code code;

  memset(tree, 0, sizeof *tree);
  oc_buf_init(&tree->text, SIZE_MAX / 4);
  oc_buf_init(&tree->ids, SIZE_MAX / 4);
  if(!add_node(tree))
    return OC_E_NOMEM;
  oc_json_init(&reader, text, len);
  oc_json_next(&reader);
  code = read_value(tree, &reader, 1);
  if(!code && oc_json_next(&reader) != OC_JSON_END)
    code = reader.error;
  return code;
}

void oc_tree_free(oc_tree *tree) {
  oc_free(tree->nodes);
  tree->nodes = NULL;
  oc_buf_free(&tree->text);
  oc_buf_free(&tree->ids);
}

/* }==== */

/* {==== writing ==== */

static oc_code write_node(const oc_tree *tree, const oc_node *node,
                          oc_buf *out) {
  const char *text = tree->text.data ? tree->text.data + node->at : "";
  int is_object = node->type == OC_JSON_OBJECT;
  size_t child;
  oc_code code;

  switch(node->type) {
  case OC_JSON_STRING:
    return oc_json_write_string(out, text, node->len);
  case OC_JSON_NUMBER:
    return oc_buf_append(out, text, node->len);
  case OC_JSON_TRUE:
    return oc_buf_puts(out, "true");
  case OC_JSON_FALSE:
    return oc_buf_puts(out, "false");
  case OC_JSON_OBJECT:
  case OC_JSON_ARRAY:
    break;
  default:
    return oc_buf_puts(out, "null");
  }
  code = oc_buf_putc(out, is_object ? '{' : '[');
  for(child = node->child; !code && child; child = tree->nodes[child].next) {
    const oc_node *item = &tree->nodes[child];
    if(child != node->child)
      code = oc_buf_putc(out, ',');
    if(!code && is_object) {
      code = oc_json_write_string(out, tree->text.data + item->key,
                                  item->key_len);
      if(!code)
        code = oc_buf_putc(out, ':');
    }
    if(!code)
      code = write_node(tree, item, out);
  }
  return code ? code : oc_buf_putc(out, is_object ? '}' : ']');
}

oc_code oc_tree_write(const oc_tree *tree, oc_buf *out) {
  return write_node(tree, &tree->nodes[1], out);
}

/* }==== */

/* {==== comparing ==== */

struct comparison {
  const oc_tree *a;           /* recorded */
  const oc_tree *b;           /* sent */
  oc_buf path;
  oc_buf *where;              /* NULL: nobody asks, or it is found */
};

/* Whether a text fits another one in which "<redacted>" stands for any. */
static int fits(const char *pattern, size_t pattern_len, const char *text,
                size_t len) {
  const size_t hole = strlen(OC_REDACTED);
  size_t p = 0;
  size_t t = 0;
  size_t last_p = SIZE_MAX;
  size_t last_t = 0;

  while(t < len || p < pattern_len) {
    if(pattern_len - p >= hole && !memcmp(pattern + p, OC_REDACTED, hole)) {
      p += hole;
      last_p = p;
      last_t = t;
    }
    else if(p < pattern_len && t < len && pattern[p] == text[t]) {
      p++;
      t++;
    }
    else if(last_p != SIZE_MAX && last_t < len) {
      t = ++last_t;
      p = last_p;
    }
    else
      return 0;
  }
  return 1;
}

static int same_text(const struct comparison *pair, const oc_node *a,
                     const oc_node *b) {
  const char *text = pair->a->text.data + a->at;
  const char *other = pair->b->text.data + b->at;
  if(a->len == b->len && (!a->len || !memcmp(text, other, a->len)))
    return 1;
  return a->type == OC_JSON_STRING
         && (fits(text, a->len, other, b->len)
             || fits(other, b->len, text, a->len));
}

/* One side of a difference in words; `from`: where it begins to differ. */
static oc_code show(const oc_tree *tree, const oc_node *node, size_t from,
                    oc_buf *out) {
  const char *text;
  size_t len;
  oc_buf whole;
  oc_code code;

  if(!node)
    return oc_buf_puts(out, "nothing");
  if(node->type == OC_JSON_STRING) {
    text = tree->text.data + node->at;
    from = from > SHOWN_BEFORE ? from - SHOWN_BEFORE : 0;
    while(from && ((unsigned char)text[from] & 0xC0) == 0x80)
      from--;
    len = node->len - from > SHOWN ? SHOWN : node->len - from;
    len = oc_utf8_valid_prefix(text + from, len);
    code = from ? oc_buf_puts(out, "...") : OC_OK;
    if(!code)
      code = oc_json_write_string(out, text + from, len);
    if(!code && from + len < node->len)
      code = oc_buf_puts(out, "...");
    return code;
  }
  oc_buf_init(&whole, SIZE_MAX / 4);
  code = write_node(tree, node, &whole);
  len = whole.len > SHOWN ? SHOWN : whole.len;
  if(!code)
    code = oc_buf_append(out, whole.data,
                         oc_utf8_valid_prefix(whole.data, len));
  if(!code && len < whole.len)
    code = oc_buf_puts(out, "...");
  oc_buf_free(&whole);
  return code;
}

/* The first difference; out of memory leaves less of it. */
/* Whether a text has had a secret taken out. */
static int has_hole(const oc_tree *tree, const oc_node *node) {
  static const char hole[] = OC_REDACTED;
  size_t len = sizeof hole - 1;
  size_t i;
  if(!node || node->type != OC_JSON_STRING)
    return 0;
  for(i = 0; i + len <= node->len; i++) {
    if(!memcmp(tree->text.data + node->at + i, hole, len))
      return 1;
  }
  return 0;
}

static void tell(struct comparison *pair, const oc_node *a,
                 const oc_node *b) {
  oc_buf *where = pair->where;
  size_t from = 0;

  if(!where)
    return;
  pair->where = NULL;
  if(a && b && a->type == OC_JSON_STRING && b->type == OC_JSON_STRING) {
    while(from < a->len && from < b->len
          && pair->a->text.data[a->at + from]
             == pair->b->text.data[b->at + from])
      from++;
  }
  if(pair->path.len)
    oc_buf_append(where, pair->path.data, pair->path.len);
  else
    oc_buf_puts(where, "the body");
  if(has_hole(pair->a, a)) {
    /* what was sent may be the secret that is not on the tape */
    oc_buf_puts(where, ": differs around " OC_REDACTED);
    return;
  }
  oc_buf_puts(where, ": recorded ");
  show(pair->a, a, from, where);
  oc_buf_puts(where, ", sent ");
  show(pair->b, b, from, where);
}

static void add_key(oc_buf *path, const char *key, size_t len) {
  if(path->len)
    oc_buf_putc(path, '.');
  oc_buf_append(path, key, len < SHOWN ? len : SHOWN);
}

/* Lists count from 1, as `messages()` does. */
static void add_index(oc_buf *path, size_t index) {
  char text[32];
  snprintf(text, sizeof text, "[%lu]", (unsigned long)index);
  oc_buf_puts(path, text);
}

static size_t compare(struct comparison *pair, const oc_node *a,
                      const oc_node *b);

/* Something that only one side has. */
static size_t compare_one(struct comparison *pair, const oc_node *a,
                          const oc_node *b) {
  const oc_node *one = a ? a : b;
  tell(pair, a, b);
  return one ? one->leaves : 0;
}

static size_t compare_children(struct comparison *pair, const oc_node *a,
                               const oc_node *b) {
  size_t one = a->child;
  size_t other = b->child;
  size_t path_len = pair->path.len;
  size_t index = 0;
  size_t found = 0;

  while(one || other) {
    const oc_node *x = one ? &pair->a->nodes[one] : NULL;
    const oc_node *y = other ? &pair->b->nodes[other] : NULL;
    if(a->type == OC_JSON_ARRAY)
      add_index(&pair->path, ++index);
    else {
      const char *x_key = x ? pair->a->text.data + x->key : NULL;
      const char *y_key = y ? pair->b->text.data + y->key : NULL;
      if(x && y) {
        size_t len = x->key_len < y->key_len ? x->key_len : y->key_len;
        int order = len ? memcmp(x_key, y_key, len) : 0;
        if(!order)
          order = x->key_len < y->key_len ? -1 : x->key_len > y->key_len;
        if(order < 0)
          y = NULL;
        else if(order > 0)
          x = NULL;
      }
      if(x)
        add_key(&pair->path, x_key, x->key_len);
      else if(y)
        add_key(&pair->path, y_key, y->key_len);
    }
    found += x && y ? compare(pair, x, y) : compare_one(pair, x, y);
    pair->path.len = path_len;
    if(x)
      one = x->next;
    if(y)
      other = y->next;
  }
  return found;
}

static size_t compare(struct comparison *pair, const oc_node *a,
                      const oc_node *b) {
  if(a->type != b->type) {
    tell(pair, a, b);
    return a->leaves > b->leaves ? a->leaves : b->leaves;
  }
  if(a->type == OC_JSON_OBJECT || a->type == OC_JSON_ARRAY)
    return compare_children(pair, a, b);
  if(same_text(pair, a, b))
    return 0;
  tell(pair, a, b);
  return 1;
}

size_t oc_tree_compare(const oc_tree *recorded, const oc_tree *sent,
                       oc_buf *where) {
  struct comparison pair;
  size_t found;
  pair.a = recorded;
  pair.b = sent;
  pair.where = where;
  oc_buf_init(&pair.path, SIZE_MAX / 4);
  found = compare(&pair, &recorded->nodes[1], &sent->nodes[1]);
  oc_buf_free(&pair.path);
  return found;
}

/* }==== */

/* {==== cleaning ==== */

static size_t base64_len(const char *text, size_t len) {
  size_t i = 0;
  while(i < len && ((text[i] >= 'A' && text[i] <= 'Z')
                    || (text[i] >= 'a' && text[i] <= 'z')
                    || (text[i] >= '0' && text[i] <= '9')
                    || memchr("+/=-_", text[i], 5)))
    i++;
  return i;
}

/* Where long base64 begins that reaches to the end of a text; `len`: there
   is none. */
static size_t find_base64(const char *text, size_t len) {
  size_t from = 0;
  if(len <= BASE64_MAX)
    return len;
  if(len > 5 && !memcmp(text, "data:", 5)) {
    const char *comma = memchr(text, ',', len > 256 ? 256 : len);
    from = comma ? (size_t)(comma - text) + 1 : 0;
  }
  return len - from > BASE64_MAX
         && base64_len(text + from, len - from) == len - from ? from : len;
}

static oc_code write_clean(const oc_redact *redact, const oc_buf *plain,
                           oc_buf *out) {
  size_t from = find_base64(plain->data, plain->len);
  oc_buf clean;
  oc_code code;

  oc_buf_init(&clean, SIZE_MAX / 4);
  code = oc_redact_append(redact, &clean, plain->data, from);
  if(!code && from < plain->len) {
    char digits[65];
    char text[128];
    oc_sha256_hex(plain->data + from, plain->len - from, digits);
    snprintf(text, sizeof text, "<sha256 %s, %lu characters>", digits,
             (unsigned long)(plain->len - from));
    code = oc_buf_puts(&clean, text);
  }
  if(!code)
    code = oc_json_write_string(out, clean.data ? clean.data : "",
                                clean.len);
  oc_buf_free(&clean);
  return code;
}

/* Whether a comma stands between two tokens. */
static int has_comma(oc_json_token before, oc_json_token token) {
  return before != OC_JSON_END && before != OC_JSON_OBJECT
         && before != OC_JSON_ARRAY && before != OC_JSON_KEY
         && token != OC_JSON_OBJECT_END && token != OC_JSON_ARRAY_END;
}

oc_code oc_tree_clean(const oc_redact *redact, const char *text, size_t len,
                      oc_buf *out) {
  oc_json reader;
  oc_json_token before = OC_JSON_END;
  oc_json_token token;
  oc_buf plain;
  oc_code code = OC_OK;

  oc_buf_init(&plain, SIZE_MAX / 4);
  oc_json_init(&reader, text, len);
  while(!code && (token = oc_json_next(&reader)) > OC_JSON_END) {
    if(has_comma(before, token))
      code = oc_buf_putc(out, ',');
    if(token == OC_JSON_STRING || token == OC_JSON_KEY) {
      oc_buf_clear(&plain);
      if(!code)
        code = oc_json_unescape(reader.value, &plain, NULL);
      if(!code)
        code = write_clean(redact, &plain, out);
      if(!code && token == OC_JSON_KEY)
        code = oc_buf_putc(out, ':');
    }
    else if(!code)
      code = oc_buf_append(out, reader.value.text, reader.value.len);
    before = token;
  }
  oc_buf_free(&plain);
  return code ? code : reader.error;
}

/* }==== */
