#include "oc_utf8.h"

#include "oc_word.h"

size_t oc_utf8_length(const char *at, const char *end, size_t *bad,
                      int *cut) {
  const unsigned char *s = (const unsigned char *)at;
  size_t left = (size_t)(end - at);
  unsigned char low = 0x80;
  unsigned char high = 0xBF;
  size_t need;
  size_t i;

  *cut = 0;
  *bad = 1;
  if(s[0] < 0x80)
    return 1;
  if(s[0] < 0xC2 || s[0] > 0xF4)
    return 0;
  if(s[0] < 0xE0)
    need = 2;
  else if(s[0] < 0xF0) {
    need = 3;
    if(s[0] == 0xE0)
      low = 0xA0;       /* overlong */
    else if(s[0] == 0xED)
      high = 0x9F;      /* surrogates */
  }
  else {
    need = 4;
    if(s[0] == 0xF0)
      low = 0x90;       /* overlong */
    else if(s[0] == 0xF4)
      high = 0x8F;      /* above U+10FFFF */
  }
  for(i = 1; i < need; i++) {
    if(i == left) {
      *cut = 1;
      *bad = i;
      return 0;
    }
    if(s[i] < low || s[i] > high) {
      *bad = i;
      return 0;
    }
    low = 0x80;
    high = 0xBF;
  }
  return need;
}

size_t oc_utf8_valid_prefix(const char *text, size_t len) {
  const char *at = text;
  const char *end;
  size_t bad;
  int cut;

  if(!len)
    return 0;
  end = text + len;
  while(at < end) {
    size_t n;
    while(end - at >= 32 && !((oc_load_word(at) | oc_load_word(at + 8)
                               | oc_load_word(at + 16) | oc_load_word(at + 24))
                              & OC_HIGH_BITS))
      at += 32;
    while(end - at >= 8 && !(oc_load_word(at) & OC_HIGH_BITS))
      at += 8;
    while(at < end && !(*at & 0x80))
      at++;
    /* text in another script: stay here while it lasts */
    while(at < end && (*at & 0x80)) {
      n = oc_utf8_length(at, end, &bad, &cut);
      if(!n)
        return (size_t)(at - text);
      at += n;
    }
  }
  return len;
}

size_t oc_utf8_encode(char *out, unsigned character) {
  if(character < 0x80) {
    out[0] = (char)character;
    return 1;
  }
  if(character < 0x800) {
    out[0] = (char)(0xC0 | character >> 6);
    out[1] = (char)(0x80 | (character & 0x3F));
    return 2;
  }
  if(character < 0x10000) {
    out[0] = (char)(0xE0 | character >> 12);
    out[1] = (char)(0x80 | (character >> 6 & 0x3F));
    out[2] = (char)(0x80 | (character & 0x3F));
    return 3;
  }
  out[0] = (char)(0xF0 | character >> 18);
  out[1] = (char)(0x80 | (character >> 12 & 0x3F));
  out[2] = (char)(0x80 | (character >> 6 & 0x3F));
  out[3] = (char)(0x80 | (character & 0x3F));
  return 4;
}

oc_code oc_utf8_put(oc_buf *out, unsigned character) {
  char bytes[4];
  return oc_buf_append(out, bytes, oc_utf8_encode(bytes, character));
}

oc_code oc_utf8_sanitize(oc_buf *out, const char *text, size_t len) {
  size_t before = out->len;
  oc_code code = OC_OK;

  while(len && !code) {
    size_t good = oc_utf8_valid_prefix(text, len);
    size_t bad = 0;
    int cut;

    code = oc_buf_append(out, text, good);
    if(!code && good < len) {
      oc_utf8_length(text + good, text + len, &bad, &cut);
      code = oc_utf8_put(out, OC_REPLACEMENT);
    }
    text += good + bad;
    len -= good + bad;
  }
  if(code)
    out->len = before;
  return code;
}
