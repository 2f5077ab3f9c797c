#include "oc_redact.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "oc_alloc.h"
#include "oc_secret.h"

/* Shorter ones are no secrets but words: "ollama", "none". */
#define SECRET_MIN 8

/* How keys begin, and the fewest characters that have to follow. */
static const struct {
  const char *text;
  size_t min;
} prefixes[] = {
  { "sk-", 8 }, { "op-", 12 }, { "sk_", 16 }, { "gsk_", 16 },
  { "xai-", 16 }, { "hf_", 16 }, { "ghp_", 16 }, { "github_pat_", 16 },
  { "glpat-", 16 }, { "AIza", 24 }, { "AKIA", 16 }, { "r8_", 16 },
  { "nvapi-", 16 }, { "pplx-", 16 }, { "xoxb-", 16 }, { "csk-", 16 }
};

#define PREFIXES (sizeof prefixes / sizeof *prefixes)
#define BEARER "bearer "
#define BEARER_MIN 8
/* A bearer's token of so many letters needs no digit. */
#define BEARER_LONG 20

/* {==== what is known ==== */

void oc_redact_add(oc_redact *redact, const char *text, size_t len) {
  if(len < SECRET_MIN || redact->count == OC_REDACT_MAX)
    return;
  redact->known[redact->count].text = text;
  redact->known[redact->count++].len = len;
}

static int contains(const char *name, size_t len, const char *word) {
  size_t word_len = strlen(word);
  size_t i;
  for(i = 0; i + word_len <= len; i++) {
    if(!strncasecmp(name + i, word, word_len))
      return 1;
  }
  return 0;
}

int oc_redact_is_secret_name(const char *name, size_t len) {
  static const char *const words[] = {
    "auth", "key", "token", "secret", "cookie", "password", "session",
    "credential", "organization"
  };
  size_t i;
  /* x-ratelimit-remaining-tokens is no token */
  if(contains(name, len, "ratelimit") || contains(name, len, "rate-limit"))
    return 0;
  for(i = 0; i < sizeof words / sizeof *words; i++) {
    if(contains(name, len, words[i]))
      return 1;
  }
  return 0;
}

void oc_redact_add_header(oc_redact *redact, const char *line) {
  const char *colon = strchr(line, ':');
  const char *word;
  if(!colon || !oc_redact_is_secret_name(line, (size_t)(colon - line)))
    return;
  /* "Bearer KEY" or the key alone */
  for(colon++; *colon == ' '; colon++) {
  }
  oc_redact_add(redact, colon, strlen(colon));
  /* each word of it, and what stands behind the name of a cookie */
  for(word = colon; *word; word += strcspn(word, " ;,=")) {
    word += strspn(word, " ;,=");
    oc_redact_add(redact, word, strcspn(word, " ;,="));
  }
}

/* }==== */

/* {==== finding ==== */

/* Bytes of a text that is searched for secrets in other forms. */
#define MAX_DISGUISED ((size_t)1024 * 1024)

static int is_key_char(char c) {
  return isalnum((unsigned char)c) || c == '-' || c == '_';
}

/* Length of a secret at the beginning of a text, also where JSON escapes
   some of its characters; 0: it is not there. */
static size_t match_known(oc_slice secret, const char *text, size_t len) {
  size_t i = 0;
  size_t j;
  for(j = 0; j < secret.len; j++, i++) {
    if(i + 1 < len && text[i] == '\\' && text[i + 1] == secret.text[j]
       && memchr("/\"\\", secret.text[j], 3))
      i++;
    if(i >= len || text[i] != secret.text[j])
      return 0;
  }
  return i;
}

/* Whether a word may begin here: "risk-free" is no key. */
static int is_boundary(const char *text, size_t at) {
  if(!at || !is_key_char(text[at - 1]))
    return 1;
  /* behind an escape of JSON */
  return at > 1 && text[at - 2] == '\\' && strchr("nrtbf", text[at - 1]);
}

/* Characters of a token, without the full stop of a sentence. */
static size_t token_len(const char *text, size_t len, const char *more,
                        int *has_digit) {
  size_t i;
  *has_digit = 0;
  for(i = 0; i < len && (is_key_char(text[i]) || (text[i]
                         && strchr(more, text[i]))); i++) {
    if(isdigit((unsigned char)text[i]))
      *has_digit = 1;
  }
  while(i && text[i - 1] == '.')
    i--;
  return i;
}

/* Length of what looks like a secret at `at`; `*skip`: bytes in front of it
   that stay. */
static size_t match_likely(const char *text, size_t len, size_t at,
                           size_t *skip) {
  const char *from = text + at;
  size_t left = len - at;
  size_t i;
  int has_digit;
  *skip = 0;
  if(!is_boundary(text, at))
    return 0;
  for(i = 0; i < PREFIXES; i++) {
    size_t prefix = strlen(prefixes[i].text);
    if(left > prefix && !memcmp(from, prefixes[i].text, prefix)) {
      size_t rest = token_len(from + prefix, left - prefix, ".",
                              &has_digit);
      if(rest >= prefixes[i].min && has_digit)
        return prefix + rest;
    }
  }
  if(left > strlen(BEARER) && !strncasecmp(from, BEARER, strlen(BEARER))) {
    size_t rest = token_len(from + strlen(BEARER), left - strlen(BEARER),
                            "._~+/=", &has_digit);
    if(rest >= BEARER_MIN && (has_digit || rest >= BEARER_LONG)) {
      *skip = strlen(BEARER);
      return rest;
    }
  }
  return 0;
}

size_t oc_redact_next(const oc_redact *redact, const char *text, size_t len,
                      size_t *at) {
  static const char firsts[] = "sogxhAr" "npcBbSOGHgRNPC";
  for(; *at < len; ++*at) {
    size_t i;
    size_t skip;
    size_t found;
    for(i = 0; i < redact->count; i++) {
      found = match_known(redact->known[i], text + *at, len - *at);
      if(found)
        return found;
    }
    if(!text[*at] || !strchr(firsts, text[*at]))
      continue;
    found = match_likely(text, len, *at, &skip);
    if(found) {
      *at += skip;
      return found;
    }
  }
  return 0;
}

oc_code oc_redact_append(const oc_redact *redact, oc_buf *out,
                         const char *text, size_t len) {
  size_t from = 0;
  size_t at = 0;
  size_t start = out->len;
  size_t found;
  oc_code code = OC_OK;
  while(!code && (found = oc_redact_next(redact, text, len, &at)) > 0) {
    code = oc_buf_append(out, text + from, at - from);
    if(!code)
      code = oc_buf_puts(out, OC_REDACTED);
    at += found;
    from = at;
  }
  if(!code)
    code = oc_buf_append(out, text + from, len - from);
  /* in capitals, in the forms of URLs and HTML, or a part of it */
  for(at = 0; !code && len <= MAX_DISGUISED && at < redact->count; at++)
    oc_secret_hide(out->data + start, out->len - start,
                   redact->known[at].text, redact->known[at].len);
  return code;
}

/* }==== */

/* {==== secrets in pieces ==== */

static void mark(unsigned char *marks, size_t from, size_t len) {
  if(len && !marks[from])
    marks[from] = 1;
  while(len-- > 1) {
    /* a secret that began in the middle of this one is part of it */
    marks[++from] = 2;
  }
}

/* The end of the raw JSON string that begins at `at`. */
static size_t string_end(const char *text, size_t len, size_t at) {
  while(at < len && text[at] != '"' && text[at] != '\n')
    at += text[at] == '\\' ? 2 : 1;
  return at < len ? at : len;
}

/*
 * A stream brings a text in pieces, `"content":"sk-ab"`, `"content":"cd"`.
 * They are put together for each name, with the place of each byte.
 */
static oc_code mark_pieces(const oc_redact *redact, const char *text,
                           size_t len, const char *name,
                           unsigned char *marks) {
  size_t name_len = strlen(name);
  oc_buf joined;
  size_t *places = NULL;
  size_t at;
  size_t found;
  size_t i;
  oc_code code = OC_OK;

  oc_buf_init(&joined, len);
  for(at = 0; !code && at + name_len < len; at++) {
    size_t end;
    if(text[at] != '"' || memcmp(text + at, name, name_len))
      continue;
    at += name_len;
    while(at < len && text[at] == ' ')
      at++;
    if(at >= len || text[at] != '"')
      continue;
    end = string_end(text, len, ++at);
    if(!places) {
      places = oc_malloc(len * sizeof *places);
      if(!places)
        return OC_E_NOMEM;
    }
    for(i = at; i < end; i++)
      places[joined.len + i - at] = i;
    code = oc_buf_append(&joined, text + at, end - at);
    at = end;
  }
  at = 0;
  /* without a text there is no place in one */
  while(!code && places
        && (found = oc_redact_next(redact, joined.data, joined.len,
                                   &at)) > 0) {
    int is_first = 1;
    for(i = at; i < at + found; i++) {
      if(is_first && !marks[places[i]])
        marks[places[i]] = 1;
      else if(!is_first)
        marks[places[i]] = 2;
      is_first = 0;
    }
    at += found;
  }
  oc_free(places);
  oc_buf_free(&joined);
  return code;
}

/*
 * Known secrets in other forms than their own: what errors and logs do not
 * show does not go on a tape either. Larger bodies are spared the time.
 */
static oc_code mark_disguised(const oc_redact *redact, const char *text,
                              size_t len, unsigned char *marks) {
  char *copy;
  size_t i;

  if(!redact->count || !len || len > MAX_DISGUISED)
    return OC_OK;
  copy = oc_strndup(text, len);
  if(!copy)
    return OC_E_NOMEM;
  for(i = 0; i < redact->count; i++)
    oc_secret_hide(copy, len, redact->known[i].text, redact->known[i].len);
  for(i = 0; i < len; i++) {
    if(copy[i] != text[i] && !marks[i])
      marks[i] = i && copy[i - 1] != text[i - 1] ? 2 : 1;
  }
  oc_free(copy);
  return OC_OK;
}

oc_code oc_redact_mark(const oc_redact *redact, const char *text, size_t len,
                       unsigned char *marks) {
  static const char *const names[] = {
    "\"content\":", "\"arguments\":", "\"reasoning\":",
    "\"reasoning_content\":", "\"text\":", "\"refusal\":", "\"token\":"
  };
  size_t at = 0;
  size_t found;
  size_t i;
  oc_code code = OC_OK;

  memset(marks, 0, len);
  while((found = oc_redact_next(redact, text, len, &at)) > 0) {
    mark(marks, at, found);
    at += found;
  }
  for(i = 0; !code && i < sizeof names / sizeof *names; i++)
    code = mark_pieces(redact, text, len, names[i], marks);
  return code ? code : mark_disguised(redact, text, len, marks);
}

/* }==== */
