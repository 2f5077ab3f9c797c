/*
 * Base64 in pieces of any length, against a decoder of ten lines, and
 * media from memory: as long as was announced, and valid JSON. The first
 * byte says what kind it has to be.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "../../src/oc_base64.h"
#include "../../src/oc_media.h"

static void check_decoded(const oc_buf *out, const uint8_t *data,
                          size_t size) {
  static const char digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  unsigned bits = 0;
  int have = 0;
  size_t at = 0;
  size_t i;
  MUST(out->len % 4 == 0);
  for(i = 0; i < out->len && out->data[i] != '='; i++) {
    const char *digit = strchr(digits, out->data[i]);
    MUST(digit && *digit);
    bits = bits << 6 | (unsigned)(digit - digits);
    have += 6;
    if(have >= 8) {
      have -= 8;
      MUST(at < size && data[at] == (bits >> have & 0xff));
      at++;
    }
  }
  MUST(at == size && out->len - i < 3 && !(bits & ((1u << have) - 1)));
}

static void check_base64(const uint8_t *data, size_t size) {
  int round;
  for(round = 0; round < fuzz_rounds(); round++) {
    fuzz_split split;
    oc_base64 encoder;
    oc_buf out;
    size_t at = 0;
    oc_code code = OC_OK;
    fuzz_split_init(&split, round, data, size);
    oc_buf_init(&out, (size_t)1 << 24);
    oc_base64_begin(&encoder);
    while(at < size && !code) {
      size_t len = fuzz_piece(&split, size - at);
      char *piece = fuzz_copy(data + at, len);
      code = oc_base64_append(&encoder, &out, piece, len);
      /* nothing was remembered: it can be tried again */
      if(code)
        code = oc_base64_append(&encoder, &out, piece, len);
      free(piece);
      at += len;
    }
    if(!code)
      code = oc_base64_end(&encoder, &out);
    if(code)
      MUST(fuzz_is_starved());
    else {
      MUST(out.len == oc_base64_size(size));
      check_decoded(&out, data, size);
    }
    oc_buf_free(&out);
  }
}

static void check_media(const char *data, size_t size) {
  static const char *const declared[] = {
    NULL, "image/x", "audio/x-wav", "text/plain", "audio", "audio/mpeg"
  };
  oc_media media;
  oc_buf out;

  memset(&media, 0, sizeof media);
  if(size) {
    media.kind = (oc_media_kind)((unsigned char)*data % 3);
    media.declared = declared[(unsigned char)*data / 3 % 6];
    data++;
    size--;
  }
  oc_media_detect(data, size < OC_MEDIA_HEAD ? size : OC_MEDIA_HEAD);
  media.data = data;
  media.len = size;
  media.max = 100000;
  if(oc_media_probe(&media)) {
    MUST(*media.problem);
    return;
  }
  oc_buf_init(&out, (size_t)1 << 24);
  if(!oc_media_append(&media, &out)) {
    MUST(out.len == media.size);
    MUST(fuzz_is_json(out.data, out.len));
  }
  else
    MUST(fuzz_is_starved());
  oc_buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char *copy = fuzz_copy(data, size);
  check_base64(data, size);
  check_media(copy, size);
  free(copy);
  return 0;
}
