#include "oc_text.h"

#include <string.h>

#include "oc_utf8.h"

/* U+FFFD */
#define REPLACEMENT "\xEF\xBF\xBD"

void oc_text_init(oc_text *text, size_t max) {
  oc_buf_init(&text->buf, max);
  text->whole = 0;
  text->pending = 0;
}

void oc_text_free(oc_text *text) {
  oc_buf_free(&text->buf);
  text->whole = 0;
  text->pending = 0;
}

/*
 * Whether these bytes may become a character with more behind them: a
 * leading byte and fewer continuation bytes than it asks for. `len` <= 3.
 */
static int is_beginning(const char *bytes, size_t len) {
  char guess[4];
  size_t i;
  memcpy(guess, bytes, len);
  /* one of the two completes every beginning that can be completed */
  for(i = len; i < 4; i++) {
    guess[i] = (char)0x80;
    if(oc_utf8_valid_prefix(guess, i + 1) == i + 1)
      return 1;
  }
  for(i = len; i < 4; i++) {
    guess[i] = (char)0xBF;
    if(oc_utf8_valid_prefix(guess, i + 1) == i + 1)
      return 1;
  }
  return 0;
}

/*
 * Replaces what is invalid behind `whole`, but for the last `keep` bytes,
 * which may become a character yet.
 */
static oc_code mend(oc_text *text, size_t keep) {
  const char *tail = text->buf.data + text->whole;
  size_t len = text->buf.len - text->whole;
  size_t whole = text->whole;
  oc_buf clean;
  oc_code code;

  oc_buf_init(&clean, (size_t)-1 / 2);
  code = oc_utf8_sanitize(&clean, tail, len - keep);
  if(!code) {
    whole += clean.len;
    code = oc_buf_append(&clean, tail + len - keep, keep);
  }
  if(!code) {
    text->buf.len = text->whole;
    code = oc_buf_append(&text->buf, clean.data, clean.len);
    text->whole = code ? text->whole : whole;
  }
  oc_buf_free(&clean);
  return code;
}

/* How many bytes at the end may become a character with more behind them. */
static size_t count_open(const char *bytes, size_t len) {
  size_t keep;
  for(keep = len < 3 ? len : 3; keep; keep--) {
    if(is_beginning(bytes + len - keep, keep))
      break;
  }
  return keep;
}

/* Moves `whole` over the bytes that have just been added. */
static oc_code settle(oc_text *text) {
  const char *tail;
  size_t len = text->buf.len - text->whole;
  size_t valid;
  size_t keep;

  if(!len)
    return OC_OK;
  tail = text->buf.data + text->whole;
  valid = oc_utf8_valid_prefix(tail, len);
  text->whole += valid;
  if(valid == len)
    return OC_OK;
  keep = count_open(tail + valid, len - valid);
  return keep == len - valid ? OC_OK : mend(text, keep);
}

oc_code oc_text_add(oc_text *text, oc_slice raw) {
  oc_code code;
  if(!raw.len)
    return OC_OK;
  code = oc_json_unescape(raw, &text->buf, &text->pending);
  return code ? code : settle(text);
}

oc_code oc_text_add_letters(oc_text *text, oc_slice raw, oc_letters letters) {
  oc_code code;
  /* what is open at the end has to be settled first */
  if(letters == OC_LETTERS_ANY || text->pending
     || text->whole < text->buf.len)
    return oc_text_add(text, raw);
  code = letters == OC_LETTERS_PLAIN
         ? oc_buf_append(&text->buf, raw.text, raw.len)
         : oc_json_unescape(raw, &text->buf, NULL);
  /* ASCII needs no check; when that failed, nothing was added */
  text->whole = text->buf.len;
  return code;
}

oc_code oc_text_add_plain(oc_text *text, oc_slice plain) {
  oc_code code = oc_buf_append(&text->buf, plain.text, plain.len);
  return code ? code : settle(text);
}

oc_code oc_text_finish(oc_text *text) {
  oc_code code = OC_OK;
  if(text->pending) {
    code = oc_buf_puts(&text->buf, REPLACEMENT);
    text->pending = 0;
  }
  if(!code && text->whole < text->buf.len)
    code = mend(text, 0);
  return code;
}

oc_code oc_text_make_valid(oc_buf *buf) {
  oc_buf clean;
  oc_code code;
  if(oc_utf8_valid_prefix(buf->data, buf->len) == buf->len)
    return OC_OK;
  oc_buf_init(&clean, buf->max > (size_t)-1 / 3 ? buf->max : buf->max * 3);
  code = oc_utf8_sanitize(&clean, buf->data, buf->len);
  if(code) {
    oc_buf_free(&clean);
    return code;
  }
  clean.max = buf->max;
  oc_buf_free(buf);
  *buf = clean;
  return OC_OK;
}
