#include "oc_error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "oc_alloc.h"

/* Longest formatted message; servers put whole pages into theirs. */
#define MESSAGE_MAX 2048

static const struct {
  oc_kind kind;
  const char *name;
  const char *message;
} codes[OC_CODE_COUNT] = {
#define X(symbol, kind, name, message) { OC_KIND_##kind, name, message },
  OC_CODE_MAP(X)
#undef X
};

static const char *const kinds[OC_KIND_COUNT] = {
#define X(symbol, name) name,
  OC_KIND_MAP(X)
#undef X
};

const char *oc_kind_name(oc_kind kind) {
  return kinds[kind];
}

const char *oc_code_name(oc_code code) {
  return codes[code].name;
}

const char *oc_code_message(oc_code code) {
  return codes[code].message;
}

oc_kind oc_code_kind(oc_code code) {
  return codes[code].kind;
}

/* Whether trying again makes sense when only the code is known. */
static int is_retryable(oc_code code) {
  switch(codes[code].kind) {
  case OC_KIND_NETWORK:
  case OC_KIND_TIMEOUT:
  case OC_KIND_TRUNCATED:
    return 1;
  default:
    /* a connection may break in the middle of a handshake, and one without
       an announced length before the body; a certificate gets no better */
    return code == OC_E_TLS || code == OC_E_EMPTY;
  }
}

void oc_error_set(oc_error *error, oc_code code, const char *format, ...) {
  char text[MESSAGE_MAX];
  int len;
  va_list args;

  va_start(args, format);
  len = vsnprintf(text, sizeof text, format, args);
  va_end(args);
  if(len < 0)
    len = 0;
  else if((size_t)len >= sizeof text) {
    /* cut, but not inside a UTF-8 sequence */
    len = (int)sizeof text - 2;
    while(len && ((unsigned char)text[len] & 0xC0) == 0x80)
      len--;
  }

  oc_free(error->message);
  error->message = oc_strndup(text, (size_t)len);
  error->code = code;
  error->retryable = is_retryable(code);
  oc_error_set_name(error, codes[code].name, strlen(codes[code].name));
}

void oc_error_set_name(oc_error *error, const char *name, size_t len) {
  if(len >= sizeof error->name) {
    len = sizeof error->name - 1;
    while(len && ((unsigned char)name[len] & 0xC0) == 0x80)
      len--;
  }
  memcpy(error->name, name, len);
  error->name[len] = '\0';
}

/* Shorter ones are no secrets but words: "ollama", "none". */
#define SECRET_MIN 12
/* So much of a secret at the end of a text is taken for its beginning. */
#define SECRET_PART 4

static void hide(char *text, const char *secret, size_t len) {
  size_t left = strlen(text);
  for(; left; text++, left--) {
    size_t count = left < len ? left : len;
    if((count == len || count >= SECRET_PART) && !memcmp(text, secret, count))
      memset(text, '*', count);
  }
}

void oc_error_hide(oc_error *error, const char *secret, size_t len) {
  if(len < SECRET_MIN)
    return;
  hide(error->name, secret, len);
  if(error->message)
    hide(error->message, secret, len);
}

const char *oc_error_message(const oc_error *error) {
  return error->message ? error->message : codes[error->code].message;
}

void oc_error_clear(oc_error *error) {
  oc_free(error->message);
  memset(error, 0, sizeof *error);
}
