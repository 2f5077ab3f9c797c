#include "oc_events_private.h"

#include <stdint.h>
#include <string.h>

#include "oc_alloc.h"

/* {==== finding values ==== */

/*
 * A message may be nested as deeply as the reader goes, and in a line it is
 * two levels deeper. So the two levels are read here, by looking for where
 * values end, and the reader checks each value by itself.
 */

static const char *skip_space(const char *at, const char *end) {
  while(at < end && (*at == ' ' || *at == '\t' || *at == '\r'
                     || *at == '\n'))
    at++;
  return at;
}

/* Behind the string that begins at `at`; NULL: it has no end. */
static const char *string_end(const char *at, const char *end) {
  const char *quote = at;
  while((quote = memchr(quote + 1, '"', (size_t)(end - quote - 1))) != NULL) {
    const char *slash = quote;
    while(slash[-1] == '\\')
      slash--;
    /* an odd number of backslashes means this quote */
    if(!((quote - slash) & 1))
      return quote + 1;
  }
  return NULL;
}

/*
 * Behind the value that begins at `at`, if there is one; NULL: it has no
 * end. What is between is still to be checked.
 */
static const char *value_end(const char *at, const char *end) {
  size_t depth = 0;
  if(at == end)
    return NULL;
  if(*at != '{' && *at != '[' && *at != '"') {
    while(at < end && !strchr(",]} \t\r\n", *at))
      at++;
    return at;
  }
  while(at < end) {
    if(*at == '"') {
      at = string_end(at, end);
      if(!at)
        return NULL;
    }
    else {
      if(*at == '{' || *at == '[')
        depth++;
      else if(*at == '}' || *at == ']')
        depth--;
      at++;
    }
    if(!depth)
      return at;
  }
  return NULL;
}

/* Whether a text is one value, of this kind. */
static int is_value(oc_slice text, oc_json_token kind) {
  oc_json reader;
  oc_json_init(&reader, text.text, text.len);
  if(oc_json_next(&reader) != kind)
    return 0;
  while(oc_json_next(&reader) > OC_JSON_END) {
  }
  return reader.token == OC_JSON_END;
}

/* The same for any kind. */
static int is_any_value(oc_slice text) {
  oc_json reader;
  oc_json_init(&reader, text.text, text.len);
  while(oc_json_next(&reader) > OC_JSON_END) {
  }
  return reader.token == OC_JSON_END;
}

int oc_event_is_complete(const char *line, size_t len) {
  const char *end = line + len;
  const char *at = skip_space(line, end);
  oc_json reader;

  if(at == end || *at != '{')
    return 0;
  at = value_end(at, end);
  if(!at || skip_space(at, end) != end)
    return 0;
  oc_json_init(&reader, line, len);
  while(oc_json_next(&reader) > OC_JSON_END) {
  }
  return reader.token == OC_JSON_END || reader.error == OC_E_DEPTH;
}

/* }==== */

/* {==== reading a line ==== */

enum { SPLICE, WITH, APPEND, USAGE, OPTIONS, TIME, VERSION, FIRST_FLAG };

/* Keys of a line, in this order; the rest are flags. */
static const struct key {
  const char *name;
  unsigned flag;
} keys[] = {
  { "splice", 0 }, { "with", 0 }, { "append", 0 }, { "usage", 0 },
  { "options", 0 }, { "time", 0 }, { "opperchat", 0 },
#define X(symbol, bit, name) { name, bit },
  OC_FLAG_MAP(X)
#undef X
};

#define KEYS (sizeof keys / sizeof keys[0])

/* A line while it is read. */
typedef struct reading {
  oc_slice values[KEYS];        /* NULL: the key is not there */
  oc_message **items;           /* owned, with a reference to each */
  size_t count;
  size_t cap;
  size_t with;                  /* so many of them belong to the splice */
  char *problem;
} reading;

static void reading_free(reading *r) {
  while(r->count)
    oc_message_unref(r->items[--r->count]);
  oc_free(r->items);
}

static oc_code fail(reading *r, const char *words) {
  return oc_file_fail(r->problem, OC_E_BAD_LINE, "%s", words);
}

static oc_code fail_code(reading *r, oc_code code) {
  oc_file_fail(r->problem, code, "%s", oc_code_message(code));
  return code == OC_E_NOMEM ? code : OC_E_BAD_LINE;
}

/* Reads a value into the slice, whose text is its beginning. */
static const char *take_value(oc_slice *value, const char *at,
                              const char *end) {
  const char *behind = value_end(at, end);
  value->text = at;
  value->len = behind ? (size_t)(behind - at) : 0;
  return behind;
}

/* Which of the keys a raw string, with its quotes, is; KEYS: another one;
   KEYS + 1: no string. */
static size_t find_key(oc_slice text) {
  oc_json reader;
  size_t i;
  if(!is_value(text, OC_JSON_STRING))
    return KEYS + 1;
  oc_json_init(&reader, text.text, text.len);
  oc_json_next(&reader);
  for(i = 0; i < KEYS && !oc_json_is(&reader, keys[i].name); i++) {
  }
  return i;
}

/* Reads a key and its value; behind it, or NULL: not valid, or twice. */
static const char *read_key(reading *r, const char *at, const char *end) {
  oc_slice name;
  oc_slice value;
  size_t key;

  at = take_value(&name, at, end);
  key = at ? find_key(name) : KEYS + 1;
  if(key > KEYS)
    return NULL;
  at = skip_space(at, end);
  if(at == end || *at != ':')
    return NULL;
  at = take_value(&value, skip_space(at + 1, end), end);
  if(key < KEYS) {
    if(r->values[key].text)
      return NULL;
    r->values[key] = value;
  }
  else if(at && !is_any_value(value))
    return NULL;
  return at;
}

/* Finds the values of all keys; unknown ones are checked and left out. */
static oc_code read_keys(reading *r, const char *line, size_t len) {
  const char *end = line + len;
  const char *at = skip_space(line, end);
  int is_first = 1;

  if(at == end)
    return fail(r, "an empty line");
  if(*at != '{')
    return fail(r, "not a JSON object");
  at = skip_space(at + 1, end);
  while(at < end && (*at != '}' || !is_first)) {
    at = read_key(r, at, end);
    if(!at)
      return fail(r, "not valid JSON");
    is_first = 0;
    at = skip_space(at, end);
    if(at == end || *at != ',')
      break;
    at = skip_space(at + 1, end);
  }
  if(at == end || *at != '}' || skip_space(at + 1, end) != end)
    return fail(r, "not valid JSON");
  return OC_OK;
}

/* Takes over the caller's reference, also on an error. */
static oc_code add_message(reading *r, oc_message *message) {
  if(r->count == r->cap) {
    size_t cap = r->cap ? r->cap * 2 : 8;
    oc_message **items = oc_realloc(r->items, cap * sizeof *items);
    if(!items) {
      oc_message_unref(message);
      return fail_code(r, OC_E_NOMEM);
    }
    r->items = items;
    r->cap = cap;
  }
  r->items[r->count++] = message;
  return OC_OK;
}

/* Makes messages of an array of them. */
static oc_code read_messages(reading *r, oc_slice array) {
  const char *at = array.text;
  const char *end = array.text + array.len;

  if(*at != '[')
    return fail(r, "a list of messages is no list");
  at = skip_space(at + 1, end);
  if(at + 1 == end && *at == ']')
    return OC_OK;
  for(;;) {
    oc_message *message;
    oc_slice text;
    size_t where;
    oc_code code;

    at = take_value(&text, at, end);
    if(!at)
      return fail(r, "not valid JSON");
    code = oc_message_json(&message, text.text, text.len, &where);
    if(!code)
      code = add_message(r, message);
    else if(code != OC_E_NOMEM)
      return oc_file_fail(r->problem, OC_E_BAD_LINE, "message %llu: %s",
                          (unsigned long long)r->count + 1,
                          oc_code_message(code));
    if(code)
      return fail_code(r, code);
    at = skip_space(at, end);
    if(at + 1 == end && *at == ']')
      return OC_OK;
    if(at >= end || *at != ',')
      return fail(r, "not valid JSON");
    at = skip_space(at + 1, end);
  }
}

/*
 * Reads an array of whole numbers, at most `max` of them, from `low` to
 * `high`; how many there were. -1: it is something else.
 */
static long read_numbers(oc_json *reader, size_t *numbers, long max,
                         size_t low, size_t high) {
  long count = 0;
  if(oc_json_next(reader) != OC_JSON_ARRAY)
    return -1;
  while(oc_json_next(reader) == OC_JSON_NUMBER) {
    double number = oc_json_number(reader);
    if(count == max || !(number >= (double)low && number <= (double)high)
       || (double)(size_t)number != number)
      return -1;
    numbers[count++] = (size_t)number;
  }
  if(reader->token != OC_JSON_ARRAY_END
     || oc_json_next(reader) != OC_JSON_END)
    return -1;
  return count;
}

/* Gives messages a flag. */
static oc_code read_flag(reading *r, const struct key *key, oc_slice value) {
  oc_json reader;
  oc_json_init(&reader, value.text, value.len);
  if(oc_json_next(&reader) != OC_JSON_ARRAY)
    return fail(r, "flags are no list of positions");
  while(oc_json_next(&reader) == OC_JSON_NUMBER) {
    double number = oc_json_number(&reader);
    oc_message *flagged;
    oc_message **item;
    oc_code code;
    if(!(number >= 1 && number <= (double)r->count)
       || (double)(size_t)number != number)
      return fail(r, "a flag of a message that is not there");
    item = &r->items[(size_t)number - 1];
    code = oc_message_flag(&flagged, *item, (*item)->flags | key->flag);
    if(code)
      return fail_code(r, code);
    oc_message_unref(*item);
    *item = flagged;
  }
  if(reader.token != OC_JSON_ARRAY_END || oc_json_next(&reader) != OC_JSON_END)
    return fail(r, "flags are no list of positions");
  return OC_OK;
}

/* Makes of the values all that is not in the list yet. */
static oc_code read_values(reading *r) {
  size_t i;
  int known = 0;
  oc_code code = OC_OK;

  for(i = 0; i < KEYS; i++)
    known |= r->values[i].text != NULL;
  if(r->values[VERSION].text)
    return fail(r, "a second header");
  if(!known)
    return fail(r, "not an event");
  if(r->values[WITH].text && !r->values[SPLICE].text)
    return fail(r, "\"with\" without \"splice\"");
  if((r->values[USAGE].text && !is_value(r->values[USAGE], OC_JSON_OBJECT))
     || (r->values[OPTIONS].text
         && !is_value(r->values[OPTIONS], OC_JSON_OBJECT))
     || (r->values[TIME].text && !is_any_value(r->values[TIME])))
    return fail(r, "\"usage\", \"options\" or \"time\" is broken");
  if(r->values[WITH].text)
    code = read_messages(r, r->values[WITH]);
  r->with = r->count;
  if(!code && r->values[APPEND].text)
    code = read_messages(r, r->values[APPEND]);
  for(i = FIRST_FLAG; !code && i < KEYS; i++) {
    if(r->values[i].text)
      code = read_flag(r, &keys[i], r->values[i]);
  }
  return code;
}

/* Says which message of the line, if it is one, does not fit in. */
static oc_code fail_flaw(reading *r, oc_code code) {
  if(code == OC_E_RANGE)
    return fail(r, "\"splice\" of messages that are not there");
  return fail_code(r, code);
}

/* Changes the list; on an error it has half of the changes. */
static oc_code apply(reading *r, oc_history *history) {
  oc_flaw flaw;
  size_t i;
  oc_code code = OC_OK;

  if(r->values[SPLICE].text) {
    oc_json reader;
    size_t numbers[2];
    oc_json_init(&reader, r->values[SPLICE].text, r->values[SPLICE].len);
    if(read_numbers(&reader, numbers, 2, 0, SIZE_MAX / 2) != 2)
      return fail(r, "\"splice\" is not a position and a number");
    if(!numbers[0])
      return fail_flaw(r, OC_E_RANGE);
    code = oc_history_splice(history, numbers[0] - 1, numbers[1], r->items,
                             r->with, &flaw);
  }
  for(i = r->with; !code && i < r->count; i++)
    code = oc_history_append(history, r->items[i], &flaw);
  return code ? fail_flaw(r, code) : OC_OK;
}

oc_code oc_event_apply_part(oc_history *history, const char *line, size_t len,
                            oc_event *event, char *problem) {
  reading r;
  oc_code code;

  memset(&r, 0, sizeof r);
  r.problem = problem;
  code = read_keys(&r, line, len);
  if(!code)
    code = read_values(&r);
  if(!code)
    code = apply(&r, history);
  event->usage = r.values[USAGE];
  event->options = r.values[OPTIONS];
  reading_free(&r);
  return code;
}

oc_code oc_event_apply(oc_history *history, const char *line, size_t len,
                       oc_event *event, char *problem) {
  oc_history work;
  oc_code code;

  oc_history_fork(history, &work);
  code = oc_event_apply_part(&work, line, len, event, problem);
  if(code)
    oc_history_free(&work);
  else
    oc_history_adopt(history, &work);
  return code;
}

/* }==== */
