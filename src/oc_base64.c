#include "oc_base64.h"

#include <stdint.h>

static const char alphabet[] =
  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t oc_base64_size(size_t len) {
  size_t groups = len / 3 + (len % 3 != 0);
  return groups > SIZE_MAX / 4 ? SIZE_MAX : groups * 4;
}

static void encode_group(char *to, const unsigned char *from) {
  unsigned long bits = (unsigned long)from[0] << 16
                       | (unsigned long)from[1] << 8 | from[2];
  to[0] = alphabet[bits >> 18];
  to[1] = alphabet[bits >> 12 & 63];
  to[2] = alphabet[bits >> 6 & 63];
  to[3] = alphabet[bits & 63];
}

void oc_base64_begin(oc_base64 *encoder) {
  encoder->count = 0;
}

oc_code oc_base64_append(oc_base64 *encoder, oc_buf *out, const void *bytes,
                         size_t len) {
  const unsigned char *at = bytes;
  const unsigned char *end;
  char *to;
  oc_code code;

  if(len > SIZE_MAX - 2)
    return OC_E_TOO_LARGE;
  code = oc_buf_reserve(out, (encoder->count + len) / 3 > SIZE_MAX / 4
                               ? SIZE_MAX : (encoder->count + len) / 3 * 4);
  if(code || !len)
    return code;
  end = at + len;
  if(encoder->count) {
    while(encoder->count < 3 && at < end)
      encoder->rest[encoder->count++] = *at++;
    if(encoder->count == 3) {
      encode_group(out->data + out->len, encoder->rest);
      out->len += 4;
      encoder->count = 0;
    }
  }
  if(end - at >= 3) {
    to = out->data + out->len;
    for(; end - at >= 3; at += 3, to += 4)
      encode_group(to, at);
    out->len = (size_t)(to - out->data);
  }
  while(at < end)
    encoder->rest[encoder->count++] = *at++;
  return OC_OK;
}

oc_code oc_base64_end(oc_base64 *encoder, oc_buf *out) {
  char group[4];
  oc_code code;
  size_t i;

  if(!encoder->count)
    return OC_OK;
  for(i = encoder->count; i < 3; i++)
    encoder->rest[i] = 0;
  encode_group(group, encoder->rest);
  for(i = encoder->count + 1u; i < 4; i++)
    group[i] = '=';
  code = oc_buf_append(out, group, sizeof group);
  if(!code)
    encoder->count = 0;
  return code;
}

static int value_of(char c) {
  if(c >= 'A' && c <= 'Z')
    return c - 'A';
  if(c >= 'a' && c <= 'z')
    return c - 'a' + 26;
  if(c >= '0' && c <= '9')
    return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

oc_code oc_base64_decode(const char *text, size_t len, oc_buf *out) {
  size_t i;
  if(len % 4)
    return OC_E_RANGE;
  for(i = 0; i < len; i += 4) {
    unsigned long group = 0;
    char bytes[3];
    int count = 3;
    int j;
    oc_code code;
    if(i + 4 == len && text[i + 3] == '=')
      count = text[i + 2] == '=' ? 1 : 2;
    for(j = 0; j < 4; j++) {
      int value = j > count ? 0 : value_of(text[i + (size_t)j]);
      if(value < 0)
        return OC_E_RANGE;
      group = group << 6 | (unsigned long)value;
    }
    bytes[0] = (char)(group >> 16 & 255);
    bytes[1] = (char)(group >> 8 & 255);
    bytes[2] = (char)(group & 255);
    code = oc_buf_append(out, bytes, (size_t)count);
    if(code)
      return code;
  }
  return OC_OK;
}
