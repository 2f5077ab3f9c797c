#include "oc_history.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "oc_alloc.h"

/* Owns one reference to each of its `used` messages. */
struct oc_vector {
  unsigned refs;
  size_t used;
  size_t cap;
  oc_message *items[];
};

static oc_vector *vector_new(size_t cap) {
  oc_vector *vector;
  if(cap > (SIZE_MAX - sizeof *vector) / sizeof vector->items[0])
    return NULL;
  vector = oc_malloc(sizeof *vector + cap * sizeof vector->items[0]);
  if(vector) {
    vector->refs = 1;
    vector->used = 0;
    vector->cap = cap;
  }
  return vector;
}

/* Gives back the messages behind the first `count`. */
static void vector_cut(oc_vector *vector, size_t count) {
  while(vector->used > count)
    oc_message_unref(vector->items[--vector->used]);
}

static void vector_unref(oc_vector *vector) {
  if(vector && --vector->refs == 0) {
    vector_cut(vector, 0);
    oc_free(vector);
  }
}

/* Adds a message to a vector with room; takes a new reference. */
static void vector_push(oc_vector *vector, oc_message *message) {
  vector->items[vector->used++] = oc_message_ref(message);
}

void oc_history_init(oc_history *history) {
  memset(history, 0, sizeof *history);
}

void oc_history_free(oc_history *history) {
  vector_unref(history->vector);
  oc_history_init(history);
}

void oc_history_fork(const oc_history *history, oc_history *copy) {
  *copy = *history;
  if(copy->vector)
    copy->vector->refs++;
}

void oc_history_adopt(oc_history *history, oc_history *from) {
  oc_history old = *history;
  *history = *from;
  oc_history_init(from);
  oc_history_free(&old);
}

int oc_history_same(const oc_history *a, const oc_history *b) {
  return a->count == b->count && (a->vector == b->vector || !a->count);
}

const oc_message *oc_history_at(const oc_history *history, size_t index) {
  return history->vector->items[index];
}

/*
 * Makes room for one more message at the end of this history. The vector
 * is used as it is when nobody else has appended to it. A sole owner grows
 * it; otherwise the pointers move to a new one.
 */
static oc_code make_room(oc_history *history) {
  oc_vector *vector = history->vector;
  oc_vector *bigger;
  size_t cap;
  size_t i;

  if(vector && vector->refs == 1)
    vector_cut(vector, history->count);
  if(vector && vector->used == history->count && vector->used < vector->cap)
    return OC_OK;
  cap = history->count < 8 ? 8 : history->count + history->count / 2;
  if(vector && vector->refs == 1) {
    if(cap > (SIZE_MAX - sizeof *vector) / sizeof vector->items[0])
      return OC_E_NOMEM;
    bigger = oc_realloc(vector, sizeof *vector
                                + cap * sizeof vector->items[0]);
    if(!bigger)
      return OC_E_NOMEM;
    bigger->cap = cap;
    history->vector = bigger;
    return OC_OK;
  }
  bigger = vector_new(cap);
  if(!bigger)
    return OC_E_NOMEM;
  assert(vector || !history->count);
  for(i = 0; i < history->count; i++)
    vector_push(bigger, vector->items[i]);
  vector_unref(vector);
  history->vector = bigger;
  return OC_OK;
}

/*
 * Whether the results at items[first .. last) answer `id`; the tool
 * messages of one assistant message stand directly behind it.
 */
static int is_answered(oc_message *const *items, size_t first, size_t last,
                       oc_slice id) {
  size_t i;
  for(i = first; i < last; i++) {
    if(oc_raw_equal(oc_message_result_id(items[i]), id))
      return 1;
  }
  return 0;
}

/* The raw id of the first call of items[call] without a result. */
static int find_open(oc_message *const *items, size_t call, size_t last,
                     oc_slice *id) {
  oc_calls calls;
  oc_calls_begin(&calls, items[call]);
  while(oc_calls_next(&calls, id)) {
    if(!is_answered(items, call + 1, last, *id))
      return 1;
  }
  return 0;
}

static int has_call(const oc_message *message, oc_slice id) {
  oc_calls calls;
  oc_slice other;
  oc_calls_begin(&calls, message);
  while(oc_calls_next(&calls, &other)) {
    if(oc_raw_equal(other, id))
      return 1;
  }
  return 0;
}

/*
 * Whether `message` may follow items[0 .. count). That list is valid, so
 * only the last message that is not a result has to be looked at.
 */
static oc_code check_next(oc_message *const *items, size_t count,
                          const oc_message *message, oc_flaw *flaw) {
  size_t call = count;
  oc_code code = OC_OK;

  while(call && items[call - 1]->role == OC_ROLE_TOOL)
    call--;
  if(message->role == OC_ROLE_TOOL) {
    flaw->id = oc_message_result_id(message);
    if(!call || !has_call(items[call - 1], flaw->id)
       || is_answered(items, call, count, flaw->id))
      code = OC_E_ORPHAN;
  }
  else if(call && find_open(items, call - 1, count, &flaw->id))
    code = OC_E_OPEN_CALL;
  flaw->code = code;
  flaw->index = count;
  return code;
}

/* Appends without a look at what stands before. */
static oc_code push(oc_history *history, oc_message *message) {
  oc_code code = make_room(history);
  if(code)
    return code;
  vector_push(history->vector, message);
  history->count++;
  history->bytes += message->len;
  return OC_OK;
}

oc_code oc_history_append(oc_history *history, oc_message *message,
                          oc_flaw *flaw) {
  oc_code code = check_next(history->vector ? history->vector->items : NULL,
                            history->count, message, flaw);
  return code ? code : push(history, message);
}

oc_code oc_history_take(oc_history *history, const oc_history *from,
                        size_t at, size_t count, oc_flaw *flaw) {
  int is_known = 0;
  oc_code code = OC_OK;
  for(; count && !code; at++, count--) {
    oc_message *message = from->vector->items[at];
    /* behind one that is no result all is as valid as it is over there */
    code = is_known ? push(history, message)
                    : oc_history_append(history, message, flaw);
    is_known = is_known || message->role != OC_ROLE_TOOL;
  }
  return code;
}

oc_code oc_history_splice(oc_history *history, size_t at, size_t remove,
                          oc_message *const *messages, size_t count,
                          oc_flaw *flaw) {
  oc_vector *vector;
  oc_message *const *old = history->vector ? history->vector->items : NULL;
  size_t bytes = 0;
  size_t i;
  size_t total;

  flaw->code = OC_OK;
  if(at > history->count || remove > history->count - at)
    return OC_E_RANGE;
  total = history->count - remove + count;
  vector = vector_new(total + 8);
  if(!vector)
    return OC_E_NOMEM;
  assert(old || (!at && !history->count));
  assert(messages || !count);
  for(i = 0; i < at; i++)
    vector_push(vector, old[i]);
  for(i = 0; i < count; i++)
    vector_push(vector, messages[i]);
  for(i = at + remove; i < history->count; i++)
    vector_push(vector, old[i]);

  /* what stands before the place was valid and still is */
  for(i = 0; i < total; i++) {
    oc_message *message = vector->items[i];
    bytes += message->len;
    if(i >= at && check_next(vector->items, i, message, flaw)) {
      vector_unref(vector);
      return flaw->code;
    }
  }
  vector_unref(history->vector);
  history->vector = vector;
  history->count = total;
  history->bytes = bytes;
  oc_history_recount(history);
  return OC_OK;
}

size_t oc_history_common(const oc_history *a, const oc_history *b) {
  size_t count = a->count < b->count ? a->count : b->count;
  size_t i;
  /* nobody has touched the beginning of a vector they still share */
  if(!count || a->vector == b->vector)
    return count;
  for(i = 0; i < count; i++) {
    if(a->vector->items[i] != b->vector->items[i])
      break;
  }
  return i;
}

size_t oc_history_missing(const oc_history *base, const oc_history *edited,
                          size_t *indexes) {
  size_t found = 0;
  size_t i;
  for(i = 0; i < edited->count; i++)
    edited->vector->items[i]->mark = 1;
  for(i = 0; i < base->count; i++) {
    if(!base->vector->items[i]->mark)
      indexes[found++] = i;
  }
  for(i = 0; i < edited->count; i++)
    edited->vector->items[i]->mark = 0;
  return found;
}

void oc_history_diff(const oc_history *base, const oc_history *edited,
                     oc_edit *edit) {
  size_t first = oc_history_common(base, edited);
  size_t a = base->count;
  size_t b = edited->count;
  while(a > first && b > first
        && base->vector->items[a - 1] == edited->vector->items[b - 1]) {
    a--;
    b--;
  }
  edit->at = first;
  edit->removed = a - first;
  edit->added = b - first;
}

/* Whether the messages of `base` that an edit took stand at `at`. */
static int stands_at(const oc_history *history, size_t at,
                     const oc_history *base, const oc_edit *edit) {
  return edit->removed <= history->count - at
         && !memcmp(history->vector->items + at,
                    base->vector->items + edit->at,
                    edit->removed * sizeof history->vector->items[0]);
}

/* Where an edit of `base` is to be made in `history`; its count: nowhere. */
static size_t find_place(const oc_history *history, const oc_history *base,
                         const oc_edit *edit) {
  size_t at;
  if(!edit->removed) {
    /* it only adds: what stood before the place has to stand there still */
    return oc_history_common(history, base) >= edit->at ? edit->at
                                                        : history->count + 1;
  }
  if(edit->at < history->count && stands_at(history, edit->at, base, edit))
    return edit->at;
  for(at = 0; at < history->count; at++) {
    if(stands_at(history, at, base, edit))
      return at;
  }
  return history->count + 1;
}

oc_code oc_history_patch(oc_history *history, const oc_history *base,
                         const oc_history *edited, oc_flaw *flaw) {
  oc_edit edit;
  size_t at;

  flaw->code = OC_OK;
  oc_history_diff(base, edited, &edit);
  if(!edit.removed && !edit.added)
    return OC_OK;
  if(oc_history_same(history, base)) {
    /* the usual case: nothing has happened since */
    oc_history copy;
    oc_history_fork(edited, &copy);
    oc_history_adopt(history, &copy);
    return OC_OK;
  }
  at = find_place(history, base, &edit);
  if(at > history->count)
    return OC_E_CHANGED;
  return oc_history_splice(history, at, edit.removed,
                           edit.added ? edited->vector->items + edit.at
                                      : NULL,
                           edit.added, flaw);
}

oc_code oc_history_replace(oc_history *history, size_t index,
                           oc_message *message) {
  oc_flaw flaw;
  oc_vector *vector = history->vector;
  oc_message *old = vector->items[index];
  if(vector->refs > 1)
    return oc_history_splice(history, index, 1, &message, 1, &flaw);
  history->bytes += message->len - old->len;
  if(index < history->counted)
    history->tokens += (size_t)oc_message_tokens(message)
                       - oc_message_tokens(old);
  vector->items[index] = oc_message_ref(message);
  oc_message_unref(old);
  return OC_OK;
}

void oc_history_recount(oc_history *history) {
  history->counted = 0;
  history->tokens = 0;
}

size_t oc_history_tokens(oc_history *history) {
  for(; history->counted < history->count; history->counted++)
    history->tokens +=
      oc_message_tokens(history->vector->items[history->counted]);
  return history->tokens;
}

/* So much is counted in passing: in a tenth of a millisecond. */
#define FEW_MESSAGES 16
#define FEW_BYTES (32 * 1024)

int oc_history_is_counted(const oc_history *history) {
  size_t bytes = 0;
  size_t i;
  if(history->count - history->counted > FEW_MESSAGES)
    return 0;
  for(i = history->counted; i < history->count; i++)
    bytes += history->vector->items[i]->len;
  return bytes <= FEW_BYTES;
}

unsigned oc_history_tokens_at(const oc_history *history, size_t index) {
  return oc_message_tokens(history->vector->items[index]);
}

int oc_history_has_media(const oc_history *history, size_t index) {
  return oc_message_has_media(history->vector->items[index]);
}

void oc_history_set_tokens(oc_history *history, size_t index,
                           unsigned tokens, unsigned counter) {
  oc_message_set_tokens(history->vector->items[index], tokens, counter);
  oc_history_recount(history);
}

void oc_history_cut(oc_history *history, size_t count) {
  while(history->count > count) {
    oc_message *last = history->vector->items[--history->count];
    history->bytes -= last->len;
    if(history->counted > history->count) {
      history->counted--;
      history->tokens -= oc_message_tokens(last);
    }
  }
  if(!history->count)
    oc_history_free(history);
  else if(history->vector->refs == 1)
    vector_cut(history->vector, history->count);
}

size_t oc_history_turn(const oc_history *history, size_t turns,
                       size_t *found) {
  size_t at = history->count;
  size_t i = history->count;

  *found = 0;
  while(i && *found < turns) {
    i--;
    if(history->vector->items[i]->role == OC_ROLE_USER) {
      at = i;
      ++*found;
    }
  }
  return at;
}

size_t oc_history_head(const oc_history *history) {
  size_t i;
  for(i = 0; i < history->count; i++) {
    int role = history->vector->items[i]->role;
    if(role != OC_ROLE_SYSTEM && role != OC_ROLE_DEVELOPER)
      break;
  }
  return i;
}

int oc_history_open_call(const oc_history *history, oc_slice *id) {
  size_t call = history->count;
  if(!call)
    return 0;
  while(call && history->vector->items[call - 1]->role == OC_ROLE_TOOL)
    call--;
  return call && find_open(history->vector->items, call - 1, history->count,
                           id);
}
