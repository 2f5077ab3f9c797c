#include "oc_message.h"

#include <stdint.h>
#include <string.h>

#include "oc_alloc.h"
#include "oc_measure.h"
#include "oc_utf8.h"

static const char *const roles[OC_ROLE_COUNT] = {
#define X(symbol, name) name,
  OC_ROLE_MAP(X)
#undef X
};

const char *oc_role_name(oc_role role) {
  return roles[role];
}

oc_role oc_role_parse(const char *name, size_t len) {
  int role;
  for(role = 0; role < OC_ROLE_COUNT; role++) {
    if(strlen(roles[role]) == len && !memcmp(roles[role], name, len))
      break;
  }
  return (oc_role)role;
}

oc_message *oc_message_ref(oc_message *message) {
  message->refs++;
  return message;
}

void oc_message_unref(oc_message *message) {
  if(message && --message->refs == 0)
    oc_free(message);
}

/* Fills in all of a message whose text stands already. */
static void set_up(oc_message *message, oc_role role, int has_calls,
                   size_t len) {
  message->refs = 1;
  message->role = (unsigned char)role;
  message->has_calls = (unsigned char)has_calls;
  message->flags = 0;
  message->mark = 0;
  message->counter = 0;
  message->is_measured = 0;
  message->len = len;
}

static void be_measured(oc_message *message) {
  oc_measure measure;
  if(message->is_measured)
    return;
  oc_measure_message(&measure, message->json, message->len);
  message->is_measured = 1;
  message->has_media = (unsigned char)measure.has_media;
  if(!message->counter)
    message->tokens = measure.tokens;
}

unsigned oc_message_tokens(oc_message *message) {
  if(!message->counter)
    be_measured(message);
  return message->tokens;
}

int oc_message_has_media(oc_message *message) {
  be_measured(message);
  return message->has_media;
}

void oc_message_set_tokens(oc_message *message, unsigned tokens,
                           unsigned counter) {
  message->tokens = tokens;
  message->counter = counter;
  if(!counter)
    message->is_measured = 0;
}

/* Makes the message out of a finished text. */
static oc_code make(oc_message **out, oc_role role, int has_calls,
                    const char *json, size_t len) {
  oc_message *message = oc_malloc(offsetof(oc_message, json) + len);
  if(!message)
    return OC_E_NOMEM;
  memcpy(message->json, json, len);
  set_up(message, role, has_calls, len);
  *out = message;
  return OC_OK;
}

oc_code oc_message_flag(oc_message **out, const oc_message *message,
                        unsigned flags) {
  size_t size = offsetof(oc_message, json) + message->len;
  oc_message *copy = oc_malloc(size);
  if(!copy)
    return OC_E_NOMEM;
  memcpy(copy, message, size);
  copy->refs = 1;
  copy->mark = 0;
  copy->flags = (unsigned char)(flags & OC_FLAG_ALL);
  *out = copy;
  return OC_OK;
}

unsigned oc_flag_parse(const char *name, size_t len) {
  static const struct {
    const char *name;
    unsigned flag;
  } flags[] = {
#define X(symbol, bit, text) { text, OC_FLAG_##symbol },
    OC_FLAG_MAP(X)
#undef X
  };
  size_t i;
  for(i = 0; i < sizeof flags / sizeof flags[0]; i++) {
    if(strlen(flags[i].name) == len && !memcmp(flags[i].name, name, len))
      return flags[i].flag;
  }
  return 0;
}

/* Appends "key":"text" with the key given as it stands, quotes and all. */
static oc_code put_field(oc_buf *buf, const char *key, oc_slice text,
                         size_t *where) {
  oc_code code = oc_buf_puts(buf, key);
  if(!code)
    code = oc_json_write_string(buf, text.text, text.len);
  if(code == OC_E_UTF8 && where)
    *where = oc_utf8_valid_prefix(text.text, text.len);
  return code;
}

oc_code oc_message_text(oc_message **out, oc_role role, const char *text,
                        size_t len, size_t *where) {
  oc_buf buf;
  oc_slice content;
  oc_code code;

  content.text = text;
  content.len = len;
  oc_buf_init(&buf, SIZE_MAX / 2);
  /* most text needs no escapes: one allocation */
  code = oc_buf_reserve(&buf, len + 48);
  if(!code)
    code = oc_buf_puts(&buf, "{\"role\":\"");
  if(!code)
    code = oc_buf_puts(&buf, roles[role]);
  if(!code)
    code = put_field(&buf, "\",\"content\":", content, where);
  if(!code)
    code = oc_buf_putc(&buf, '}');
  if(!code)
    code = make(out, role, 0, buf.data, buf.len);
  oc_buf_free(&buf);
  return code;
}

/* What oc_message_json() looks for while it reads. */
struct shape {
  int role;             /* oc_role, -1: none seen */
  int has_content;
  int has_list;         /* "tool_calls" was there, maybe empty or null */
  int has_calls;
  int has_result_id;
};

/*
 * Reads one tool call up to its end and finds its raw id. The reader has
 * just returned the call's OC_JSON_OBJECT.
 */
static oc_code read_call(oc_json *reader, oc_slice *id) {
  id->text = NULL;
  id->len = 0;
  while(oc_json_next(reader) == OC_JSON_KEY) {
    int is_id = oc_json_is(reader, "id");
    if(is_id) {
      if(oc_json_next(reader) == OC_JSON_STRING)
        *id = reader->value;
      else if(oc_json_skip(reader, NULL))
        return reader->error;
    }
    else if(oc_json_skip(reader, NULL))
      return reader->error;
  }
  return reader->token == OC_JSON_OBJECT_END ? OC_OK : reader->error;
}

/* Checks the value of "tool_calls". The reader stands on its key. */
static oc_code read_calls(oc_json *reader, struct shape *shape) {
  oc_slice *ids;
  size_t count = 0;
  oc_code code = OC_OK;
  oc_json_token token = oc_json_next(reader);

  if(token == OC_JSON_NULL)
    return OC_OK;
  if(token != OC_JSON_ARRAY)
    return token == OC_JSON_ERROR ? reader->error : OC_E_CALL_ID;
  ids = oc_malloc(OC_MAX_CALLS * sizeof *ids);
  if(!ids)
    return OC_E_NOMEM;
  while(!code && (token = oc_json_next(reader)) == OC_JSON_OBJECT) {
    size_t i;
    if(count == OC_MAX_CALLS) {
      code = OC_E_CALL_ID;
      break;
    }
    code = read_call(reader, &ids[count]);
    if(!code && !ids[count].len)
      code = OC_E_CALL_ID;
    for(i = 0; !code && i < count; i++) {
      if(oc_raw_equal(ids[i], ids[count]))
        code = OC_E_CALL_ID;
    }
    count++;
  }
  oc_free(ids);
  if(!code && token != OC_JSON_ARRAY_END)
    code = token == OC_JSON_ERROR ? reader->error : OC_E_CALL_ID;
  if(!code && count)
    shape->has_calls = 1;
  return code;
}

/* Reads a whole message and notes what it has. */
static oc_code read_shape(oc_json *reader, struct shape *shape) {
  oc_code code;

  memset(shape, 0, sizeof *shape);
  shape->role = -1;
  if(oc_json_next(reader) != OC_JSON_OBJECT)
    return reader->token == OC_JSON_ERROR ? reader->error : OC_E_NOT_OBJECT;
  while(oc_json_next(reader) == OC_JSON_KEY) {
    if(oc_json_is(reader, "role")) {
      oc_role role;
      oc_json_token token = oc_json_next(reader);
      if(token != OC_JSON_STRING)
        return token == OC_JSON_ERROR ? reader->error : OC_E_NO_ROLE;
      role = oc_role_parse(reader->value.text, reader->value.len);
      if(role == OC_ROLE_COUNT || shape->role >= 0)
        return OC_E_ROLE;
      shape->role = (int)role;
    }
    else if(oc_json_is(reader, "content")) {
      if(oc_json_next(reader) == OC_JSON_NULL)
        shape->has_content = -1;
      else {
        shape->has_content = 1;
        code = oc_json_skip(reader, NULL);
        if(code)
          return code;
      }
    }
    else if(oc_json_is(reader, "tool_calls")) {
      /* with two lists nobody knows which one counts */
      code = shape->has_list++ ? OC_E_CALL_ID : read_calls(reader, shape);
      if(code)
        return code;
    }
    else if(oc_json_is(reader, "tool_call_id")) {
      if(oc_json_next(reader) == OC_JSON_STRING && reader->value.len)
        shape->has_result_id = 1;
      else if(oc_json_skip(reader, NULL))
        return reader->error;
    }
    else if(oc_json_skip(reader, NULL))
      return reader->error;
  }
  if(reader->token != OC_JSON_OBJECT_END || oc_json_next(reader) != OC_JSON_END)
    return reader->error;
  return OC_OK;
}

/* Reads a message and checks that it is complete. */
static oc_code check_message(const char *json, size_t len,
                             struct shape *shape, size_t *where) {
  oc_json reader;
  oc_code code;

  oc_json_init(&reader, json, len);
  code = read_shape(&reader, shape);
  if(where)
    *where = oc_json_offset(&reader);
  if(code)
    return code;
  if(shape->role < 0)
    return OC_E_NO_ROLE;
  if(shape->role != OC_ROLE_ASSISTANT)
    shape->has_calls = 0;
  if(shape->role == OC_ROLE_TOOL && !shape->has_result_id)
    return OC_E_NO_CALL_ID;
  if(shape->has_content < 1 && shape->role != OC_ROLE_ASSISTANT)
    return OC_E_NO_CONTENT;
  return shape->has_content || shape->has_calls ? OC_OK : OC_E_NO_CONTENT;
}

/* Length without the blanks at the end. */
static size_t trimmed(const char *json, size_t len) {
  while(len && strchr(" \t\r\n", json[len - 1]))
    len--;
  return len;
}

oc_code oc_message_json(oc_message **out, const char *json, size_t len,
                        size_t *where) {
  static const char null_content[] = ",\"content\":null}";
  struct shape shape;
  oc_buf buf;
  oc_code code = check_message(json, len, &shape, where);

  if(code)
    return code;
  len = trimmed(json, len);
  while(len && strchr(" \t\r\n", *json)) {
    json++;
    len--;
  }
  if(shape.has_content)
    return make(out, (oc_role)shape.role, shape.has_calls, json, len);
  oc_buf_init(&buf, SIZE_MAX / 2);
  code = oc_buf_append(&buf, json, len - 1);
  if(!code)
    code = oc_buf_puts(&buf, null_content);
  if(!code)
    code = make(out, OC_ROLE_ASSISTANT, 1, buf.data, buf.len);
  oc_buf_free(&buf);
  return code;
}

#define HEADER offsetof(oc_message, json)

oc_code oc_message_room(oc_buf *buf, size_t len) {
  oc_code code = oc_buf_reserve(buf, HEADER + len);
  if(!code)
    buf->len = HEADER;
  return code;
}

oc_message *oc_message_own(oc_buf *buf, int has_calls) {
  size_t size;
  oc_message *message = (oc_message *)(void *)oc_buf_take(buf, &size);
  set_up(message, OC_ROLE_ASSISTANT, has_calls, size - HEADER);
  return message;
}

oc_code oc_message_begin(oc_buf *buf, size_t len) {
  if(len > SIZE_MAX / 2)
    return OC_E_TOO_LARGE;
  /* a buffer never takes more than its maximum, so this is exact */
  buf->max = HEADER + len;
  return oc_message_room(buf, len);
}

oc_code oc_message_end(oc_message **out, oc_buf *buf, size_t *where) {
  const char *json = buf->data + HEADER;
  size_t len = buf->len - HEADER;
  struct shape shape;
  oc_message *message;
  oc_code code = check_message(json, len, &shape, where);

  if(code)
    return code;
  if(!shape.has_content || *json != '{') {
    code = oc_message_json(out, json, len, where);
    if(!code)
      oc_buf_free(buf);
    return code;
  }
  message = (oc_message *)(void *)buf->data;
  set_up(message, (oc_role)shape.role, shape.has_calls, trimmed(json, len));
  *out = message;
  oc_buf_init(buf, 0);
  return OC_OK;
}

oc_slice oc_message_result_id(const oc_message *message) {
  oc_json reader;
  oc_slice id = { "", 0 };

  oc_json_init(&reader, message->json, message->len);
  oc_json_next(&reader);
  while(oc_json_next(&reader) == OC_JSON_KEY) {
    if(oc_json_is(&reader, "tool_call_id")) {
      if(oc_json_next(&reader) == OC_JSON_STRING)
        id = reader.value;
      break;
    }
    oc_json_skip(&reader, NULL);
  }
  return id;
}

void oc_calls_begin(oc_calls *calls, const oc_message *message) {
  calls->done = 1;
  if(!message->has_calls)
    return;
  oc_json_init(&calls->reader, message->json, message->len);
  oc_json_next(&calls->reader);
  while(oc_json_next(&calls->reader) == OC_JSON_KEY) {
    if(oc_json_is(&calls->reader, "tool_calls")) {
      calls->done = oc_json_next(&calls->reader) != OC_JSON_ARRAY;
      return;
    }
    oc_json_skip(&calls->reader, NULL);
  }
}

int oc_calls_next(oc_calls *calls, oc_slice *id) {
  if(calls->done || oc_json_next(&calls->reader) != OC_JSON_OBJECT
     || read_call(&calls->reader, id)) {
    calls->done = 1;
    return 0;
  }
  return 1;
}

int oc_raw_equal(oc_slice a, oc_slice b) {
  if(a.len == b.len && (!a.len || !memcmp(a.text, b.text, a.len)))
    return 1;
  if((!a.len || !memchr(a.text, '\\', a.len))
     && (!b.len || !memchr(b.text, '\\', b.len)))
    return 0;
  return oc_json_same_text(a, b);
}
