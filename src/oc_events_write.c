#include "oc_events.h"

#include <stdio.h>
#include <string.h>

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
