#include "fuzz.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/oc_alloc.h"
#include "../../src/oc_random.h"
#include "replay.h"

jmp_buf *fuzz_escape;

void fuzz_fail(const char *file, int line, const char *what) {
  fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
  if(fuzz_escape)
    longjmp(*fuzz_escape, 1);
  abort();
}

/* {==== memory ==== */

static long left = -1;          /* allocations until one fails */
static int is_starving;
static int is_starved;
static long blocks;

/* 1: this one fails. */
static int fails(void) {
  if(left < 0 || left--)
    return 0;
  is_starved = 1;
  return 1;
}

static void *starving_malloc(size_t size) {
  void *block = fails() ? NULL : malloc(size);
  blocks += block != NULL;
  return block;
}

static void *starving_realloc(void *old, size_t size) {
  void *block;
  if(fails())
    return NULL;
  block = realloc(old, size);
  blocks += block && !old;
  return block;
}

static void starving_free(void *block) {
  blocks--;
  free(block);
}

void fuzz_starve(long n) {
  static const oc_allocator starving = {
    starving_malloc, starving_realloc, starving_free
  };
  oc_set_allocator(&starving);
  left = n;
  is_starving = n >= 0;
  is_starved = 0;
}

int fuzz_is_starved(void) {
  return is_starved;
}

int fuzz_is_starving(void) {
  return is_starving;
}

long fuzz_feed(void) {
  long n = left;
  left = -1;
  return n;
}

void fuzz_feed_end(long n) {
  left = n;
}

long fuzz_blocks(void) {
  return blocks;
}

char *fuzz_copy(const void *bytes, size_t len) {
  char *copy = malloc(len ? len : 1);
  if(!copy)
    abort();
  if(len)
    memcpy(copy, bytes, len);
  return copy;
}

char *fuzz_string(const void *bytes, size_t len) {
  char *copy = malloc(len + 1);
  if(!copy)
    abort();
  if(len)
    memcpy(copy, bytes, len);
  copy[len] = '\0';
  return copy;
}

/* }==== */

/* {==== splits ==== */

int fuzz_rounds(void) {
  return is_starving ? 3 : 6;
}

uint32_t fuzz_random(fuzz_split *split) {
  /* xorshift */
  split->state ^= split->state << 13;
  split->state ^= split->state >> 17;
  split->state ^= split->state << 5;
  return split->state;
}

void fuzz_split_init(fuzz_split *split, int round, const uint8_t *data,
                     size_t size) {
  size_t i;
  split->round = round;
  split->state = 2166136261u + (uint32_t)round;
  for(i = 0; i < size; i++)
    split->state = (split->state ^ data[i]) * 16777619u;
  if(!split->state)
    split->state = 1;
  fuzz_random(split);
}

size_t fuzz_piece(fuzz_split *split, size_t left_over) {
  static const size_t most[] = { 0, 0, 4, 16, 64, 300 };
  size_t piece;
  if(!split->round)
    return left_over;
  piece = split->round == 1
          ? 1 : fuzz_random(split) % (most[split->round % 6] + 1);
  return piece < left_over ? piece : left_over;
}

/* }==== */

/* {==== notes ==== */

void fuzz_note_bytes(fuzz_note *note, const void *bytes, size_t len) {
  if(note->len + len + 1 > note->cap) {
    note->cap = (note->len + len + 1) * 2;
    note->text = realloc(note->text, note->cap);
    if(!note->text)
      abort();
  }
  if(len)
    memcpy(note->text + note->len, bytes, len);
  note->len += len;
  note->text[note->len] = '\0';
}

void fuzz_notef(fuzz_note *note, const char *format, ...) {
  char text[512];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  fuzz_note_bytes(note, text, strlen(text));
}

void fuzz_compare(fuzz_note *first, fuzz_note *note, int round) {
  if(!round) {
    fuzz_note_free(first);
    *first = *note;
    memset(note, 0, sizeof *note);
    return;
  }
  if(!is_starved
     && (note->len != first->len
         || (note->len && memcmp(note->text, first->text, note->len)))) {
    fprintf(stderr, "-- whole:\n%s\n-- in pieces (round %d):\n%s\n",
            first->len ? first->text : "", round,
            note->len ? note->text : "");
    fuzz_fail(__FILE__, __LINE__, "the same in any pieces");
  }
  note->len = 0;
}

void fuzz_note_free(fuzz_note *note) {
  free(note->text);
  memset(note, 0, sizeof *note);
}

/* }==== */

/* {==== checks ==== */

int fuzz_line(const char **at, const char *end, oc_slice *line) {
  const char *stop;
  if(*at >= end)
    return 0;
  stop = memchr(*at, '\n', (size_t)(end - *at));
  line->text = *at;
  line->len = (size_t)((stop ? stop : end) - *at);
  *at = stop ? stop + 1 : end;
  return 1;
}

int fuzz_is_json(const char *text, size_t len) {
  oc_json reader;
  oc_json_init(&reader, text, len);
  while(oc_json_next(&reader) > OC_JSON_END) {
  }
  return reader.token == OC_JSON_END;
}

void fuzz_check_list(const oc_history *list) {
  oc_history copy;
  oc_flaw flaw;
  size_t bytes = 0;
  size_t tokens = 0;
  size_t i;
  long fed = fuzz_feed();

  oc_history_init(&copy);
  for(i = 0; i < list->count; i++) {
    oc_message *message = (oc_message *)oc_history_at(list, i);
    bytes += message->len;
    tokens += oc_message_tokens(message);
    MUST(!message->mark);
    MUST(!oc_history_append(&copy, message, &flaw));
  }
  MUST(bytes == list->bytes);
  oc_history_free(&copy);
  oc_history_fork(list, &copy);
  MUST(tokens == oc_history_tokens(&copy));
  oc_history_free(&copy);
  fuzz_feed_end(fed);
}

int fuzz_same_list(const oc_history *a, const oc_history *b) {
  size_t i;
  if(a->count != b->count)
    return 0;
  for(i = 0; i < a->count; i++) {
    const oc_message *one = oc_history_at(a, i);
    const oc_message *other = oc_history_at(b, i);
    if(one->len != other->len || one->flags != other->flags
       || one->role != other->role || one->has_calls != other->has_calls
       || memcmp(one->json, other->json, one->len))
      return 0;
  }
  return 1;
}

/* }==== */

/* {==== in the place of src/oc_random.c ==== */

static uint32_t random_state;

void fuzz_reset_random(void) {
  random_state = 1;
}

void oc_random_bytes(void *bytes, size_t len) {
  unsigned char *at = bytes;
  while(len--) {
    random_state = random_state * 1103515245u + 12345u;
    *at++ = (unsigned char)(random_state >> 16);
  }
}

void oc_random_hex(char *out, size_t len) {
  while(len--) {
    unsigned char byte;
    oc_random_bytes(&byte, 1);
    *out++ = "0123456789abcdef"[byte & 15];
  }
}

void oc_random_uuid(char out[37]) {
  oc_random_hex(out, 36);
  out[36] = '\0';
}

/* }==== */
