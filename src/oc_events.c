#include "oc_events.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "oc_alloc.h"

/* {==== writing ==== */

/* Messages of a list, to be written. */
typedef struct part {
  const oc_history *history;
  size_t from;
  size_t count;
} part;

static oc_code put_number(oc_buf *line, size_t number) {
  char text[32];
  snprintf(text, sizeof text, "%llu", (unsigned long long)number);
  return oc_buf_puts(line, text);
}

/* A line break can only stand between tokens: a blank will do as well. */
static oc_code put_raw(oc_buf *line, const char *text, size_t len) {
  oc_code code = oc_buf_append(line, text, len);
  char *at;
  char *end;

  if(code || !len)
    return code;
  at = line->data + line->len - len;
  end = line->data + line->len;
  while((at = memchr(at, '\n', (size_t)(end - at))) != NULL)
    *at++ = ' ';
  at = end - len;
  while((at = memchr(at, '\r', (size_t)(end - at))) != NULL)
    *at++ = ' ';
  return OC_OK;
}

/* A comma, but for the first field, and the key. */
static oc_code put_key(oc_buf *line, size_t start, const char *key) {
  oc_code code = OC_OK;
  if(line->len > start + 1)
    code = oc_buf_putc(line, ',');
  if(!code)
    code = oc_buf_putc(line, '"');
  if(!code)
    code = oc_buf_puts(line, key);
  if(!code)
    code = oc_buf_puts(line, "\":");
  return code;
}

static oc_code put_messages(oc_buf *line, size_t start, const char *key,
                            const part *messages) {
  size_t bytes = 0;
  size_t i;
  oc_code code;

  if(!messages->count)
    return OC_OK;
  for(i = 0; i < messages->count; i++)
    bytes += oc_history_at(messages->history, messages->from + i)->len + 1;
  code = oc_buf_reserve(line, bytes + 64);
  if(!code)
    code = put_key(line, start, key);
  for(i = 0; !code && i < messages->count; i++) {
    const oc_message *message = oc_history_at(messages->history,
                                              messages->from + i);
    code = oc_buf_putc(line, i ? ',' : '[');
    if(!code)
      code = put_raw(line, message->json, message->len);
  }
  return code ? code : oc_buf_putc(line, ']');
}

/* The positions of those messages that have a flag, if there are any. */
static oc_code put_flag(oc_buf *line, size_t start, const char *name,
                        unsigned flag, const part *parts) {
  size_t position = 0;
  int found = 0;
  int which;
  oc_code code = OC_OK;

  for(which = 0; which < 2; which++) {
    const part *messages = &parts[which];
    size_t i;
    for(i = 0; !code && i < messages->count; i++) {
      position++;
      if(!(oc_history_at(messages->history, messages->from + i)->flags
           & flag))
        continue;
      if(!found)
        code = put_key(line, start, name);
      if(!code)
        code = oc_buf_putc(line, found ? ',' : '[');
      if(!code)
        code = put_number(line, position);
      found = 1;
    }
  }
  return code || !found ? code : oc_buf_putc(line, ']');
}

/* The splice, without its messages. */
static oc_code put_splice(oc_buf *line, size_t start, const oc_edit *edit) {
  oc_code code;
  if(!edit->removed && !edit->added)
    return OC_OK;
  code = put_key(line, start, "splice");
  if(!code)
    code = oc_buf_putc(line, '[');
  if(!code)
    code = put_number(line, edit->at + 1);
  if(!code)
    code = oc_buf_putc(line, ',');
  if(!code)
    code = put_number(line, edit->removed);
  return code ? code : oc_buf_putc(line, ']');
}

/* `parts`: the messages of the splice, and those to be appended. */
static oc_code put_line(oc_buf *line, const oc_edit *edit, const part *parts,
                        const char *extra, size_t extra_len) {
  size_t start = line->len;
  oc_code code = oc_buf_putc(line, '{');

  if(!code)
    code = put_splice(line, start, edit);
  if(!code)
    code = put_messages(line, start, "with", &parts[0]);
  if(!code)
    code = put_messages(line, start, "append", &parts[1]);
#define X(symbol, bit, name)                                            \
  if(!code)                                                             \
    code = put_flag(line, start, name, OC_FLAG_##symbol, parts);
  OC_FLAG_MAP(X)
#undef X
  if(!code && extra_len && line->len > start + 1)
    code = oc_buf_putc(line, ',');
  if(!code)
    code = put_raw(line, extra, extra_len);
  if(!code)
    code = oc_buf_puts(line, "}\n");
  /* nothing was said: an empty object */
  if(code || line->len == start + 3)
    line->len = start;
  return code;
}

oc_code oc_event_write(oc_buf *line, const oc_history *before,
                       const oc_history *edited, const oc_history *after,
                       const char *extra, size_t extra_len) {
  oc_edit edit;
  part parts[2];

  if(!edited || oc_history_common(edited, after) < edited->count)
    edited = oc_history_common(before, after) < before->count ? after
                                                              : before;
  oc_history_diff(before, edited, &edit);
  parts[0].history = edited;
  parts[0].from = edit.at;
  parts[0].count = edit.added;
  parts[1].history = after;
  parts[1].from = edited->count;
  parts[1].count = after->count - edited->count;
  return put_line(line, &edit, parts, extra, extra_len);
}

static int is_user(const oc_history *history, size_t at) {
  return oc_history_at(history, at)->role == OC_ROLE_USER;
}

oc_code oc_event_write_turn(oc_buf *line, const oc_history *history,
                            size_t *at) {
  oc_edit none = { 0, 0, 0 };
  part parts[2] = { { NULL, 0, 0 }, { NULL, 0, 0 } };
  size_t end = *at;
  oc_code code;

  if(!end) {
    while(end < history->count && !is_user(history, end))
      end++;
  }
  if(end < history->count)
    end++;
  while(end < history->count && !is_user(history, end))
    end++;
  parts[1].history = history;
  parts[1].from = *at;
  parts[1].count = end - *at;
  code = put_line(line, &none, parts, "", 0);
  if(!code)
    *at = end;
  return code;
}

/* }==== */

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

/* Whether a line can be a whole one, and not the beginning of one. */
static int is_complete(const char *line, size_t len) {
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

/* Applies a line; on an error the list may have a part of it. */
static oc_code apply_line(oc_history *history, const char *line, size_t len,
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
  code = apply_line(&work, line, len, event, problem);
  if(code)
    oc_history_free(&work);
  else
    oc_history_adopt(history, &work);
  return code;
}

/* }==== */

/* {==== reading all lines ==== */

/* What the files that opperchat writes begin with. */
#define MAGIC "{\"opperchat\":"

/* Whether a text is a part of the first line that we would have written;
   any other file is somebody else's. */
static int is_torn_header(const char *text, size_t len) {
  size_t magic = sizeof MAGIC - 1;
  return !memcmp(text, MAGIC, len < magic ? len : magic);
}

static oc_code fail_line(oc_replay *replay, oc_code code, const char *words) {
  return oc_file_fail(replay->problem, code, "%s", words);
}

static oc_code read_header(oc_replay *replay, const char *line, size_t len) {
  oc_json reader;
  double version = 0;
  int found = 0;

  oc_json_init(&reader, line, len);
  if(oc_json_next(&reader) == OC_JSON_OBJECT) {
    while(oc_json_next(&reader) == OC_JSON_KEY) {
      if(oc_json_is(&reader, "opperchat") && !found++)
        oc_json_read_number(&reader, &version);
      else
        oc_json_skip(&reader, NULL);
    }
    if(reader.token == OC_JSON_OBJECT_END)
      oc_json_next(&reader);
  }
  if(reader.token != OC_JSON_END || !(version >= 1))
    return fail_line(replay, OC_E_BAD_LINE, "not a saved conversation");
  if(version != OC_EVENTS_VERSION)
    return oc_file_fail(replay->problem, OC_E_BAD_VERSION,
                        "version %.17g of the format, known is %d", version,
                        OC_EVENTS_VERSION);
  replay->header.text = line;
  replay->header.len = len;
  return OC_OK;
}

static oc_code read_event(oc_history *history, oc_replay *replay,
                          const char *line, size_t len) {
  oc_event event;
  oc_code code = apply_line(history, line, len, &event, replay->problem);
  if(code)
    return code;
  replay->events++;
  if(event.usage.text)
    replay->usage = event.usage;
  if(event.options.text) {
    replay->options = event.options;
    replay->options_line = replay->line;
  }
  return OC_OK;
}

oc_code oc_replay_text(oc_history *history, const char *text, size_t len,
                       oc_replay *replay) {
  const char *at = text;
  const char *end = text + len;
  oc_code code = OC_OK;

  memset(replay, 0, sizeof *replay);
  while(!code && at < end) {
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    size_t line_len = (size_t)((newline ? newline : end) - at);

    replay->line++;
    if(!newline && !is_complete(at, line_len)
       && (replay->line > 1 || is_torn_header(at, line_len))) {
      replay->torn = line_len;
      break;
    }
    code = replay->line == 1 ? read_header(replay, at, line_len)
                             : read_event(history, replay, at, line_len);
    at = newline ? newline + 1 : end;
    if(!code)
      replay->good = (size_t)(at - text);
  }
  if(code)
    oc_history_free(history);
  else if(!replay->torn)
    replay->line = 0;
  return code;
}

/* }==== */
