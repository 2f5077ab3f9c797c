/*
 * oc_json: a strict RFC 8259 reader and writer that allocates nothing per
 * value.
 *
 * The reader pulls tokens from a complete text. It checks the grammar, the
 * nesting limit and that strings are UTF-8 (RFC 8259, section 8.1). Strings
 * are handed out as the raw bytes between the quotes; oc_json_unescape()
 * decodes them when somebody wants them. All pointers are borrowed from the
 * text and live as long as it does.
 */
#ifndef OC_JSON_H
#define OC_JSON_H

#include <stddef.h>
#include <string.h>

#include "oc_buf.h"
#include "oc_error.h"

/* Deepest nesting the reader accepts ("nothing is unbounded"). */
#define OC_JSON_MAX_DEPTH 512

typedef enum oc_json_token {
  OC_JSON_ERROR = -1,     /* reader->error says why; stays so */
  OC_JSON_END = 0,        /* the text held exactly one value; stays so */
  OC_JSON_OBJECT,
  OC_JSON_OBJECT_END,
  OC_JSON_ARRAY,
  OC_JSON_ARRAY_END,
  OC_JSON_KEY,
  OC_JSON_STRING,
  OC_JSON_NUMBER,
  OC_JSON_TRUE,
  OC_JSON_FALSE,
  OC_JSON_NULL
} oc_json_token;

/* Borrowed bytes. */
typedef struct oc_slice {
  const char *text;
  size_t len;
} oc_slice;

typedef struct oc_json {
  /* public, read only: the token just returned by oc_json_next() */
  oc_json_token token;
  oc_slice value;         /* KEY, STRING: between the quotes, still escaped;
                             every other token: its own bytes */
  int escaped;            /* KEY, STRING: value has a backslash */
  oc_code error;          /* OC_E_JSON, OC_E_DEPTH, OC_E_UTF8 */
  /* private */
  const char *start;
  const char *at;
  const char *end;
  unsigned depth;
  unsigned char state;
  unsigned char lenient_utf8;
  unsigned char stack[OC_JSON_MAX_DEPTH / 8];   /* bit set: an object */
} oc_json;

/* Starts reading `len` bytes. The text is borrowed, not copied. */
void oc_json_init(oc_json *reader, const char *text, size_t len);
/*
 * Accept bytes of 0x80 and above in strings without looking at them: for
 * answers of servers that cut a character in two over stream chunks. What
 * is put together from them must be checked afterwards.
 */
void oc_json_allow_bad_utf8(oc_json *reader);
oc_json_token oc_json_next(oc_json *reader);
/* Offset of the reader in the text: where an error was found. */
size_t oc_json_offset(const oc_json *reader);
/*
 * To be called when the token just read begins a value (or is a KEY: then
 * the value behind it is meant). Reads to the end of that value and stores
 * its exact text in `raw` (which may be NULL). OC_OK or the reader's error.
 */
oc_code oc_json_skip(oc_json *reader, oc_slice *raw);
/* What a raw string is made of: the less it is, the less has to be done. */
typedef enum oc_letters {
  OC_LETTERS_PLAIN,     /* ASCII without escapes */
  OC_LETTERS_ASCII,     /* ASCII, and escapes of two bytes */
  OC_LETTERS_ANY
} oc_letters;

/*
 * Where the string ends whose text begins at `at`: its closing quote. NULL:
 * before that comes `end`, or a byte that must not stand in a string. What
 * its escapes are is left to oc_json_unescape().
 */
const char *oc_json_string_end(const char *at, const char *end,
                               oc_letters *letters);
/* Whether a raw string decodes to this text. Takes no memory. */
int oc_json_decodes_to(oc_slice raw, const char *text, size_t len);
/* Whether the KEY or STRING just read is this text, escapes decoded. */
int oc_json_is_text(const oc_json *reader, const char *text, size_t len);
/*
 * The same for a name that is written out. A key is asked for one name
 * after the other, and most are told apart by their lengths: here the
 * compiler knows that of the name.
 */
static inline int oc_json_is(const oc_json *reader, const char *name) {
  size_t len = strlen(name);
  return (reader->value.len == len || reader->escaped)
         && oc_json_is_text(reader, name, len);
}
/* Whether two raw strings are the same text, escapes decoded. Takes no
   memory: an answer that depended on it could make a list invalid. */
int oc_json_same_text(oc_slice a, oc_slice b);
/* The NUMBER just read; the same under every LC_NUMERIC. */
double oc_json_number(const oc_json *reader);

/*
 * The value behind the KEY just read, when it is a string (a number); any
 * other value is skipped and leaves the result as it was. `found` may be
 * NULL. OC_OK or the reader's error.
 */
oc_code oc_json_read_string(oc_json *reader, oc_slice *raw, int *found);
oc_code oc_json_read_number(oc_json *reader, double *number);

/* The same for the text of any number that the reader has accepted. */
double oc_json_parse_number(oc_slice number);
/*
 * Appends the decoded bytes of a raw string (between the quotes, as the
 * reader hands it out). A pair of surrogate escapes becomes one character.
 * A lone one becomes U+FFFD, with one exception: when `pending` is not
 * NULL, a high surrogate at the very end is stored there instead of being
 * written, and a low one at the very start is joined with the one stored
 * there by an earlier call (0: none). If the text does not go on with a
 * low surrogate, the stored one is written as U+FFFD first.
 */
oc_code oc_json_unescape(oc_slice raw, oc_buf *out, unsigned *pending);

/*
 * Writes a JSON string with its quotes: the shortest escapes, '/' and
 * everything above 0x7E as it is. OC_E_UTF8 (and nothing written) when the
 * text is not valid UTF-8.
 */
oc_code oc_json_write_string(oc_buf *out, const char *text, size_t len);
/* The same behind `prefix`, which is written as it stands: `,"key":`. */
oc_code oc_json_write_field(oc_buf *out, const char *prefix,
                            const oc_buf *text);
/*
 * Writes the shortest decimal that reads back as the same double, integral
 * values below 1e21 without point or exponent. The same under every
 * LC_NUMERIC. NaN and infinities have no JSON form: OC_E_JSON.
 */
oc_code oc_json_write_number(oc_buf *out, double number);

#endif
