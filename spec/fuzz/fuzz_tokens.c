/* The token estimate: the same however the text is cut or escaped. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "../../src/oc_measure.h"
#include "../../src/oc_tokens.h"

static size_t count(const char *text, size_t len, int is_raw,
                    fuzz_split *split) {
  oc_tokens tokens;
  size_t at = 0;
  oc_tokens_init(&tokens);
  while(at < len) {
    size_t piece = fuzz_piece(split, len - at);
    char *copy = fuzz_copy(text + at, piece);
    oc_slice raw;
    raw.text = copy;
    raw.len = piece;
    if(is_raw)
      oc_tokens_add_raw(&tokens, raw);
    else
      oc_tokens_add(&tokens, copy, piece);
    free(copy);
    at += piece;
  }
  return oc_tokens_count(&tokens);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char *text = fuzz_copy(data, size);
  size_t whole = oc_tokens_text(text, size);
  size_t raw = 0;
  oc_buf quoted;
  oc_measure measure;
  int round;

  MUST(!whole == !size);
  MUST(whole <= 2 * size);
  for(round = 0; round < fuzz_rounds(); round++) {
    fuzz_split split;
    size_t this_raw;
    fuzz_split_init(&split, round, data, size);
    MUST(count(text, size, 0, &split) == whole);
    this_raw = count(text, size, 1, &split);
    if(!round)
      raw = this_raw;
    MUST(this_raw == raw);
  }
  if(!memchr(text, '\\', size))
    MUST(raw == whole);

  /* escaped it is the same text */
  oc_buf_init(&quoted, (size_t)1 << 24);
  if(!oc_json_write_string(&quoted, text, size)) {
    oc_slice inner;
    fuzz_split split;
    inner.text = quoted.data + 1;
    inner.len = quoted.len - 2;
    fuzz_split_init(&split, 0, data, size);
    MUST(count(inner.text, inner.len, 1, &split) == whole);
  }
  oc_buf_free(&quoted);

  if(fuzz_is_json(text, size)) {
    oc_measure_message(&measure, text, size);
    MUST(measure.tokens <= (unsigned)-1 / 4);
  }
  free(text);
  return 0;
}
