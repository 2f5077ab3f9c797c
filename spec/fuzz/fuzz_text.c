/*
 * Texts that grow with a stream. Each line of the input is a fragment, a
 * JSON string without its quotes; the text is the same however it is cut.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "../../src/oc_text.h"
#include "../../src/oc_utf8.h"

/* Behind the escape or byte at `at`; `at` is within a valid raw string. */
static size_t step(const char *raw, size_t at) {
  if(raw[at] != '\\')
    return at + 1;
  return at + (raw[at + 1] == 'u' ? 6 : 2);
}

/* A raw string, in a block of its own; NULL: the line is none. */
static char *raw_of(const char *text, size_t len) {
  char *quoted = malloc(len + 2);
  oc_json reader;
  int is_string;
  if(!quoted)
    abort();
  quoted[0] = '"';
  if(len)
    memcpy(quoted + 1, text, len);
  quoted[len + 1] = '"';
  oc_json_init(&reader, quoted, len + 2);
  oc_json_allow_bad_utf8(&reader);
  is_string = oc_json_next(&reader) == OC_JSON_STRING
              && reader.value.len == len
              && oc_json_next(&reader) == OC_JSON_END;
  free(quoted);
  return is_string ? fuzz_copy(text, len) : NULL;
}

static void add(oc_text *text, const char *raw, size_t len, oc_code *code,
                fuzz_note *seen) {
  oc_slice slice;
  char *copy;
  if(*code)
    return;
  copy = fuzz_copy(raw, len);
  slice.text = copy;
  slice.len = len;
  *code = oc_text_add(text, slice);
  free(copy);
  if(*code)
    return;
  MUST(text->whole <= text->buf.len);
  MUST(text->buf.len - text->whole < 4);
  /* what was whole does not change any more */
  MUST(text->whole >= seen->len
       && (!seen->len || !memcmp(seen->text, text->buf.data, seen->len)));
  MUST(oc_utf8_valid_prefix(text->buf.data, text->whole) == text->whole);
  if(text->whole > seen->len)
    fuzz_note_bytes(seen, text->buf.data + seen->len,
                    text->whole - seen->len);
}

static void finish(oc_text *text, oc_code code, fuzz_note *note) {
  if(!code)
    code = oc_text_finish(text);
  MUST(!code || (code == OC_E_NOMEM && fuzz_is_starved()));
  if(!code) {
    MUST(text->whole == text->buf.len);
    MUST(oc_utf8_valid_prefix(text->buf.data, text->buf.len)
         == text->buf.len);
    fuzz_note_bytes(note, text->buf.data, text->buf.len);
  }
  oc_text_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const char *at = (const char *)data;
  const char *end = at + size;
  fuzz_note all = { NULL, 0, 0 };
  fuzz_note first = { NULL, 0, 0 };
  fuzz_note note = { NULL, 0, 0 };
  fuzz_note seen = { NULL, 0, 0 };
  oc_text text;
  oc_code code = OC_OK;
  oc_slice line;
  oc_buf buf;
  int round;

  /* as the lines cut it */
  oc_text_init(&text, 1 << 24);
  while(fuzz_line(&at, end, &line)) {
    char *raw = raw_of(line.text, line.len);
    if(raw) {
      fuzz_note_bytes(&all, raw, line.len);
      add(&text, raw, line.len, &code, &seen);
      free(raw);
    }
  }
  finish(&text, code, &note);
  fuzz_compare(&first, &note, 0);
  if(code)
    fuzz_notef(&first, " ");

  for(round = 0; round < fuzz_rounds(); round++) {
    fuzz_split split;
    size_t from = 0;
    fuzz_split_init(&split, round, data, size);
    oc_text_init(&text, 1 << 24);
    code = OC_OK;
    seen.len = 0;
    while(from < all.len && !code) {
      size_t most = fuzz_piece(&split, all.len - from);
      size_t to = from;
      while(to < all.len && to - from < most)
        to = step(all.text, to);
      add(&text, all.text + from, to - from, &code, &seen);
      from = to;
    }
    finish(&text, code, &note);
    fuzz_compare(&first, &note, round + 1);
  }

  oc_buf_init(&buf, 1 << 24);
  if(!oc_buf_append(&buf, data, size) && !oc_text_make_valid(&buf))
    MUST(oc_utf8_valid_prefix(buf.data, buf.len) == buf.len);
  oc_buf_free(&buf);
  fuzz_note_free(&all);
  fuzz_note_free(&first);
  fuzz_note_free(&note);
  fuzz_note_free(&seen);
  return 0;
}
