#include "oc_secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "oc_alloc.h"

/* Keys are short; what is longer is something else. */
#define LINE_MAX_BYTES 16384

/* Shorter ones are no secrets but words. */
#define SECRET_MIN 12
/* So much of a secret at the end of a text is taken for its beginning. */
#define SECRET_PART 4
/* Pieces of at least this size, and a third of it, are blotted out. */
#define PIECE_MIN 8

/* {==== reading ==== */

oc_code oc_secret_set(oc_secret *secret, const char *text, size_t len) {
  char *copy = oc_strndup(text, len);
  if(!copy)
    return OC_E_NOMEM;
  oc_secret_forget(secret);
  secret->text = copy;
  secret->len = len;
  return OC_OK;
}

void oc_secret_forget(oc_secret *secret) {
  if(secret->text) {
    oc_wipe(secret->text, secret->len);
    oc_free(secret->text);
  }
  secret->text = NULL;
  secret->len = 0;
}

/*
 * Reads a descriptor and keeps the first line. `drains`: what stands behind
 * it is read as well, so that a command that prints more can end.
 */
static oc_code read_line(oc_secret *secret, int fd, int drains) {
  char line[LINE_MAX_BYTES] = { 0 };
  char rest[512] = { 0 };
  size_t len = 0;
  oc_code code = OC_OK;
  ssize_t count;

  for(;;) {
    int is_full = len == sizeof line;
    char *to = is_full ? rest : line + len;
    count = read(fd, to, is_full ? sizeof rest : sizeof line - len);
    if(count < 0 && errno == EINTR)
      continue;
    if(count <= 0)
      break;
    if(!is_full)
      len += (size_t)count;
    /* a device may go on for ever */
    if(!drains && (len == sizeof line || memchr(line, '\n', len)))
      break;
  }
  if(count < 0)
    code = OC_E_UNREADABLE;
  else {
    const char *end = memchr(line, '\n', len);
    size_t line_len = end ? (size_t)(end - line) : len;
    if(line_len && line[line_len - 1] == '\r')
      line_len--;
    code = oc_secret_set(secret, line, line_len);
  }
  oc_wipe(line, sizeof line);
  oc_wipe(rest, sizeof rest);
  return code;
}

oc_code oc_secret_read_file(oc_secret *secret, const char *path,
                            int *is_open) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  struct stat about;
  oc_code code;

  if(fd < 0)
    return errno == ENOENT || errno == ENOTDIR ? OC_E_NO_FILE
                                               : OC_E_UNREADABLE;
  *is_open = !fstat(fd, &about) && S_ISREG(about.st_mode)
             && (about.st_mode & (S_IRGRP | S_IROTH)) != 0;
  code = read_line(secret, fd, 0);
  close(fd);
  return code;
}

oc_code oc_secret_run(oc_secret *secret, const char *command, int *status) {
  FILE *pipe;
  oc_code code;

  *status = -1;
  pipe = popen(command, "r");
  if(!pipe)
    return OC_E_UNREADABLE;
  fcntl(fileno(pipe), F_SETFD, FD_CLOEXEC);
  /* not through stdio, whose buffer nobody wipes */
  code = read_line(secret, fileno(pipe), 1);
  *status = pclose(pipe);
  return code;
}

int oc_secret_is_clean(const oc_secret *secret) {
  size_t i;
  for(i = 0; i < secret->len; i++) {
    unsigned char byte = (unsigned char)secret->text[i];
    if(byte < 32 || byte == 127)
      return 0;
  }
  return 1;
}

/* }==== */

/* {==== hiding ==== */

int oc_secret_is_name(const char *name, size_t len) {
  static const char *const words[] = {
    "auth", "key", "token", "secret", "cookie", "passw", "credential"
  };
  size_t word;
  for(word = 0; word < sizeof words / sizeof *words; word++) {
    size_t word_len = strlen(words[word]);
    size_t i;
    for(i = 0; i + word_len <= len; i++) {
      if(!strncasecmp(name + i, words[word], word_len))
        return 1;
    }
  }
  return 0;
}

static int lower(int byte) {
  return byte >= 'A' && byte <= 'Z' ? byte + 'a' - 'A' : byte;
}

static int hex_value(int byte) {
  byte = lower(byte);
  if(byte >= '0' && byte <= '9')
    return byte - '0';
  return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* Up to `count` hexadecimal digits; how many there were. */
static size_t read_hex(const char *at, size_t left, size_t count,
                       int *value) {
  size_t i;
  *value = 0;
  for(i = 0; i < count && i < left && hex_value(at[i]) >= 0; i++)
    *value = *value * 16 + hex_value(at[i]);
  return i;
}

/* "&#45;" or "&#x2d;": its length, 0: it is none. */
static size_t read_entity(const char *at, size_t left, int *value) {
  size_t len = 2;
  size_t digits;
  if(left < 4 || at[0] != '&' || at[1] != '#')
    return 0;
  if(lower(at[2]) == 'x') {
    digits = read_hex(at + 3, left - 3, 6, value);
    len = 3 + digits;
  }
  else {
    *value = 0;
    for(digits = 0; digits < 6 && len < left && at[len] >= '0'
                    && at[len] <= '9'; digits++, len++)
      *value = *value * 10 + at[len] - '0';
  }
  return digits && len < left && at[len] == ';' ? len + 1 : 0;
}

/* One byte in some encoding: how many bytes of the text it takes. */
static size_t read_encoded(const char *at, size_t left, int *value) {
  if(*at == '%' && left > 2 && read_hex(at + 1, left - 1, 2, value) == 2)
    return 3;
  if(*at == '\\' && left > 3 && lower(at[1]) == 'x'
     && read_hex(at + 2, left - 2, 2, value) == 2)
    return 4;
  if(*at == '\\' && left > 5 && at[1] == 'u'
     && read_hex(at + 2, left - 2, 4, value) == 4)
    return 6;
  if(*at == '\\' && left > 1) {
    *value = (unsigned char)at[1];
    return 2;
  }
  return read_entity(at, left, value);
}

/* How many bytes of the text stand for this byte; 0: they do not. */
static size_t shows(const char *at, size_t left, char byte) {
  int wanted = lower((unsigned char)byte);
  int value;
  size_t len;
  if(lower((unsigned char)*at) == wanted)
    return 1;
  len = read_encoded(at, left, &value);
  return len && lower(value) == wanted ? len : 0;
}

static int is_space(char byte) {
  return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t';
}

/*
 * How much of the text shows the secret from its first byte on; `shown` is
 * how much of the secret that is.
 */
static size_t match(const char *text, size_t len, const char *secret,
                    size_t secret_len, size_t *shown) {
  size_t at = 0;
  size_t end = 0;

  *shown = 0;
  while(at < len && *shown < secret_len) {
    size_t step = shows(text + at, len - at, secret[*shown]);
    if(step) {
      at += step;
      end = at;
      ++*shown;
    }
    else if(*shown && is_space(text[at]))
      at++;
    else
      break;
  }
  return end;
}

/* How much of the text, from its first byte on, has to go. */
static size_t find_piece(const char *text, size_t len, const char *secret,
                         size_t secret_len) {
  size_t least = secret_len / 3 > PIECE_MIN ? secret_len / 3 : PIECE_MIN;
  size_t best = 0;
  size_t from;
  for(from = 0; from + least <= secret_len || !from; from++) {
    size_t shown;
    size_t count;
    /* most of the time it is over with the first byte */
    if(lower((unsigned char)*text) != lower((unsigned char)secret[from])
       && *text != '%' && *text != '\\' && *text != '&')
      continue;
    count = match(text, len, secret + from, secret_len - from,
                         &shown);
    if((shown >= least || (!from && shown >= SECRET_PART && count == len))
       && count > best)
      best = count;
  }
  return best;
}

void oc_secret_hide(char *text, size_t len, const char *secret,
                    size_t secret_len) {
  size_t at = 0;
  if(secret_len < SECRET_MIN)
    return;
  while(at < len) {
    size_t count = find_piece(text + at, len - at, secret, secret_len);
    memset(text + at, '*', count);
    at += count ? count : 1;
  }
}

void oc_secret_hide_logins(char *text, size_t len) {
  size_t at;
  for(at = 0; at < len; at++) {
    size_t from = at;
    if(text[at] != '@')
      continue;
    /* back to "//", or to where the word begins */
    while(from && !strchr(" '\"/\n*", text[from - 1]))
      from--;
    memset(text + from, '*', at - from);
  }
}

/* }==== */
