#include "oc_reply.h"

#include <stdio.h>
#include <string.h>

#include "oc_alloc.h"
#include "oc_api_error.h"
#include "oc_random.h"

/* {==== life ==== */

static void call_init(oc_call *call, size_t max) {
  memset(call, 0, sizeof *call);
  oc_buf_init(&call->id, max);
  oc_buf_init(&call->name, max);
  oc_text_init(&call->arguments, max);
  call->index = -1;
}

static void fields_free(oc_fields *fields) {
  while(fields->count) {
    oc_field *field = &fields->items[--fields->count];
    oc_buf_free(&field->key);
    oc_buf_free(&field->value);
  }
  oc_free(fields->items);
  fields->items = NULL;
}

static void call_free(oc_call *call) {
  oc_buf_free(&call->id);
  oc_buf_free(&call->name);
  oc_text_free(&call->arguments);
  fields_free(&call->extra);
  fields_free(&call->function_extra);
}

void oc_reply_init(oc_reply *reply, size_t max) {
  memset(reply, 0, sizeof *reply);
  reply->max = max;
  oc_text_init(&reply->content, max);
  oc_text_init(&reply->reasoning, max);
  oc_text_init(&reply->refusal, max);
  oc_buf_init(&reply->finish_reason, max);
  oc_buf_init(&reply->id, max);
  oc_buf_init(&reply->model, max);
  oc_buf_init(&reply->usage_raw, max);
  oc_buf_init(&reply->reasoning_key, max);
  oc_buf_init(&reply->like, max);
  reply->usage.prompt_tokens = -1;
  reply->usage.completion_tokens = -1;
  reply->usage.total_tokens = -1;
  reply->usage.cached_tokens = -1;
  reply->usage.reasoning_tokens = -1;
  reply->usage.cost = -1;
}

void oc_reply_free(oc_reply *reply) {
  while(reply->call_count)
    call_free(&reply->calls[--reply->call_count]);
  oc_free(reply->calls);
  oc_text_free(&reply->content);
  oc_text_free(&reply->reasoning);
  oc_text_free(&reply->refusal);
  oc_buf_free(&reply->finish_reason);
  oc_buf_free(&reply->id);
  oc_buf_free(&reply->model);
  oc_buf_free(&reply->usage_raw);
  fields_free(&reply->extra);
  oc_buf_free(&reply->reasoning_key);
  oc_buf_free(&reply->like);
  oc_reply_init(reply, reply->max);
}

/* }==== */

/* Counts what a chunk did besides adding a string to one text. */
static void note_effect(oc_reply *reply) {
  reply->effects++;
  reply->like_target = OC_TARGET_NONE;
}

/*
 * Counts a string added to one text. A chunk with no other effect may
 * serve as the pattern for the next one (see is_like_last).
 */
static void note_text(oc_reply *reply, oc_target target, oc_slice raw) {
  reply->effects++;
  reply->like_target = target;
  reply->like_text = raw.text;
  reply->like_len = raw.len;
}

/* {==== unknown fields ==== */

static oc_slice slice_of(const oc_buf *buf) {
  oc_slice slice;
  slice.text = buf->len ? buf->data : "";
  slice.len = buf->len;
  return slice;
}

static oc_field *find_field(const oc_fields *fields, oc_slice key) {
  size_t i;
  for(i = 0; i < fields->count; i++) {
    if(oc_raw_equal(slice_of(&fields->items[i].key), key))
      return &fields->items[i];
  }
  return NULL;
}

static oc_code add_field(oc_fields *fields, oc_slice key, size_t max,
                         oc_field **added) {
  oc_field *items;
  if(fields->count == OC_MAX_FIELDS)
    return OC_E_TOO_LARGE;
  items = oc_realloc(fields->items, (fields->count + 1) * sizeof *items);
  if(!items)
    return OC_E_NOMEM;
  fields->items = items;
  *added = &items[fields->count++];
  oc_buf_init(&(*added)->key, max);
  oc_buf_init(&(*added)->value, max);
  return oc_buf_append(&(*added)->key, key.text, key.len);
}

/* Whether a JSON value is a list that has elements. */
static int is_filled_list(oc_slice value) {
  size_t i = 1;
  if(*value.text != '[')
    return 0;
  while(strchr(" \t\r\n", value.text[i]))
    i++;
  return value.text[i] != ']';
}

/*
 * Keeps an unknown field. A second value of the same key replaces the
 * first one, unless it is empty, but a list goes on with the new elements,
 * since streams send lists in pieces.
 */
static oc_code keep_field(oc_fields *fields, oc_slice key, oc_slice value,
                          size_t max) {
  oc_field *field = find_field(fields, key);
  oc_code code = OC_OK;

  if(!field)
    code = add_field(fields, key, max, &field);
  else if(is_filled_list(slice_of(&field->value))
          && *value.text == '[') {
    if(!is_filled_list(value))
      return OC_OK;
    code = oc_buf_reserve(&field->value, value.len);
    if(!code)
      field->value.data[field->value.len - 1] = ',';
    value.text++;
    value.len--;
  }
  else if(value.len == 2 && *value.text == '"')
    return OC_OK;
  else
    oc_buf_clear(&field->value);
  return code ? code : oc_buf_append(&field->value, value.text, value.len);
}

/* Reads the value behind the KEY just read and keeps it, unless null. */
static oc_code read_extra(oc_reply *reply, oc_json *reader,
                          oc_fields *extra) {
  oc_slice key = reader->value;
  oc_slice value;
  oc_code code = oc_json_skip(reader, &value);
  if(code || *value.text == 'n')
    return code;
  note_effect(reply);
  return keep_field(extra, key, value, reply->max);
}

/* }==== */

/* {==== values ==== */

/* The value behind the KEY just read, when it is a string; else skipped. */
static oc_code read_string(oc_json *reader, oc_slice *raw, int *found) {
  oc_json_token token = oc_json_next(reader);
  *found = token == OC_JSON_STRING;
  if(*found) {
    *raw = reader->value;
    return OC_OK;
  }
  if(token == OC_JSON_ERROR)
    return reader->error;
  return oc_json_skip(reader, NULL);
}

/* Stores a string behind the KEY just read, unless one is there already. */
static oc_code read_once(oc_json *reader, oc_buf *into) {
  oc_slice raw;
  int found;
  oc_code code = read_string(reader, &raw, &found);
  if(!code && found && !into->len)
    code = oc_json_unescape(raw, into, NULL);
  return code;
}

/* The number behind the KEY just read; -1 when it is something else. */
static oc_code read_number(oc_json *reader, double *number) {
  oc_json_token token = oc_json_next(reader);
  if(token == OC_JSON_NUMBER) {
    *number = oc_json_number(reader);
    return OC_OK;
  }
  if(token == OC_JSON_ERROR)
    return reader->error;
  return oc_json_skip(reader, NULL);
}

static oc_code read_details(oc_json *reader, const char *name,
                            double *number) {
  oc_code code = OC_OK;
  if(oc_json_next(reader) != OC_JSON_OBJECT)
    return reader->token == OC_JSON_ERROR ? reader->error
                                          : oc_json_skip(reader, NULL);
  while(!code && oc_json_next(reader) == OC_JSON_KEY) {
    if(oc_json_is(reader, name))
      code = read_number(reader, number);
    else
      code = oc_json_skip(reader, NULL);
  }
  return code ? code : reader->error;
}

/* The usage object; `raw` is its exact text. */
static oc_code read_usage(oc_reply *reply, oc_slice raw) {
  oc_json reader;
  oc_usage *usage = &reply->usage;
  oc_code code = OC_OK;

  oc_json_init(&reader, raw.text, raw.len);
  oc_json_allow_bad_utf8(&reader);
  if(oc_json_next(&reader) != OC_JSON_OBJECT)
    return OC_OK;
  reply->has_usage = 1;
  oc_buf_clear(&reply->usage_raw);
  code = oc_buf_append(&reply->usage_raw, raw.text, raw.len);
  while(!code && oc_json_next(&reader) == OC_JSON_KEY) {
    if(oc_json_is(&reader, "prompt_tokens"))
      code = read_number(&reader, &usage->prompt_tokens);
    else if(oc_json_is(&reader, "completion_tokens"))
      code = read_number(&reader, &usage->completion_tokens);
    else if(oc_json_is(&reader, "total_tokens"))
      code = read_number(&reader, &usage->total_tokens);
    else if(oc_json_is(&reader, "cost"))
      code = read_number(&reader, &usage->cost);
    else if(oc_json_is(&reader, "prompt_tokens_details"))
      code = read_details(&reader, "cached_tokens", &usage->cached_tokens);
    else if(oc_json_is(&reader, "completion_tokens_details"))
      code = read_details(&reader, "reasoning_tokens",
                          &usage->reasoning_tokens);
    else
      code = oc_json_skip(&reader, NULL);
  }
  return code ? code : reader.error;
}

/* }==== */

/* {==== tool calls ==== */

/* One element of a tool_calls list, as it stands in this delta. */
struct fragment {
  double index;
  oc_slice id;            /* raw; empty: none */
  oc_slice name;          /* raw; empty: none */
  oc_slice arguments;     /* raw string, or the text of another value */
  int arguments_plain;    /* arguments is not a string but JSON */
  int has_function;
};

static oc_call *add_call(oc_reply *reply, double index) {
  oc_call *calls;
  if(reply->call_count == OC_MAX_CALLS)
    return NULL;
  calls = oc_realloc(reply->calls,
                     (reply->call_count + 1) * sizeof *calls);
  if(!calls)
    return NULL;
  reply->calls = calls;
  call_init(&calls[reply->call_count], reply->max);
  calls[reply->call_count].index = index;
  return &calls[reply->call_count++];
}

/*
 * Whether the arguments are a complete object already: all its brackets are
 * closed. Each byte is looked at once, however often this is asked.
 */
static int is_complete(oc_call *call) {
  const char *text = call->arguments.buf.data;
  for(; call->scanned < call->arguments.whole; call->scanned++) {
    char c = text[call->scanned];
    if(c == '"')
      call->in_string = !call->in_string;
    else if(call->in_string)
      call->scanned += c == '\\';
    else if(c == '{' || c == '[') {
      call->depth++;
      call->has_begun = 1;
    }
    else if((c == '}' || c == ']') && call->depth)
      call->depth--;
  }
  return call->has_begun && !call->depth && !call->in_string;
}

static int same_text(const oc_buf *buf, oc_slice raw) {
  oc_slice text;
  text.text = buf->data;
  text.len = buf->len;
  /* a decoded text has no escapes but may have backslashes of its own */
  if(memchr(raw.text, '\\', raw.len)) {
    oc_buf plain;
    int equal;
    oc_buf_init(&plain, raw.len + 4);
    equal = !oc_json_unescape(raw, &plain, NULL) && plain.len == buf->len
            && !memcmp(plain.data, buf->data, plain.len);
    oc_buf_free(&plain);
    return equal;
  }
  return text.len == raw.len && !memcmp(text.text, raw.text, raw.len);
}

/*
 * Whether a fragment that seems to belong to `call` begins another one: it
 * has an id of its own, or it names a function although the arguments of
 * `call` have begun. Some servers repeat the name with each fragment, so
 * the same name counts only when these arguments are complete.
 */
static int opens_another(oc_call *call, const struct fragment *fragment) {
  if(fragment->id.len && call->id.len)
    return 1;
  if(!fragment->name.len || !call->arguments.buf.len)
    return 0;
  if(!same_text(&call->name, fragment->name))
    return 1;
  return (fragment->index < 0 || fragment->arguments.len)
         && is_complete(call);
}

/*
 * Which call a fragment belongs to; NULL: a new one. By id first, since
 * some servers number all calls 0; by index; without either, to the last
 * call. `first` is the number of calls at the beginning of this delta:
 * within one list, elements without id and index are calls of their own.
 */
static oc_call *find_call(oc_reply *reply, const struct fragment *fragment,
                          size_t first) {
  oc_call *call = NULL;
  size_t i;

  for(i = fragment->id.len ? reply->call_count : 0; i-- > 0;) {
    oc_call *known = &reply->calls[i];
    if(same_text(&known->id, fragment->id)
       && (fragment->index < 0 || known->index < 0
           || fragment->index == known->index))
      return known;
  }
  if(fragment->index >= 0) {
    for(i = reply->call_count; !call && i-- > 0;) {
      if(reply->calls[i].index == fragment->index)
        call = &reply->calls[i];
    }
  }
  else if(reply->call_count && reply->call_count == first)
    call = &reply->calls[first - 1];
  return call && opens_another(call, fragment) ? NULL : call;
}

static oc_code apply_fragment(oc_reply *reply, oc_call *call,
                              const struct fragment *fragment) {
  oc_code code = OC_OK;
  if(fragment->has_function)
    call->has_function = 1;
  if(fragment->id.len && !call->id.len)
    code = oc_json_unescape(fragment->id, &call->id, NULL);
  /* names come whole, in pieces, or again with each fragment */
  if(!code && fragment->name.len && !call->arguments.buf.len
     && !same_text(&call->name, fragment->name))
    code = oc_json_unescape(fragment->name, &call->name, NULL);
  if(!code && fragment->arguments.len) {
    if(fragment->arguments_plain)
      code = oc_text_add_plain(&call->arguments, fragment->arguments);
    else {
      code = oc_text_add(&call->arguments, fragment->arguments);
      note_text(reply, OC_TARGET_ARGUMENTS, fragment->arguments);
      reply->like_call = (size_t)(call - reply->calls);
    }
  }
  /* an id or a name may open another call next time */
  if(fragment->id.len || fragment->name.len || fragment->arguments_plain)
    note_effect(reply);
  return code;
}

static oc_code read_function(oc_json *reader, struct fragment *fragment) {
  oc_code code = OC_OK;
  int found;
  oc_json_token token = oc_json_next(reader);

  if(token != OC_JSON_OBJECT)
    return token == OC_JSON_ERROR ? reader->error
                                  : oc_json_skip(reader, NULL);
  fragment->has_function = 1;
  while(!code && oc_json_next(reader) == OC_JSON_KEY) {
    if(oc_json_is(reader, "name")) {
      code = read_string(reader, &fragment->name, &found);
    }
    else if(oc_json_is(reader, "arguments")) {
      token = oc_json_next(reader);
      if(token == OC_JSON_STRING)
        fragment->arguments = reader->value;
      else if(token == OC_JSON_ERROR)
        code = reader->error;
      else {
        code = oc_json_skip(reader, &fragment->arguments);
        fragment->arguments_plain = 1;
        if(token == OC_JSON_NULL)
          fragment->arguments.len = 0;
      }
    }
    else
      code = oc_json_skip(reader, NULL);
  }
  return code ? code : reader->error;
}

/* The type is an extra field too, but an empty one is none. */
static oc_code read_type(oc_json *reader, oc_call *call) {
  static const oc_slice key = { "type", 4 };
  oc_slice value;
  oc_code code = oc_json_skip(reader, &value);
  if(!code && *value.text == '"' && value.len > 2)
    code = keep_field(&call->extra, key, value, call->id.max);
  return code;
}

/* Keeps the unknown fields of a call and of its function. */
static oc_code read_call_extra(oc_reply *reply, oc_call *call,
                               oc_slice raw) {
  oc_json reader;
  oc_code code = OC_OK;

  oc_json_init(&reader, raw.text, raw.len);
  oc_json_allow_bad_utf8(&reader);
  oc_json_next(&reader);
  while(!code && oc_json_next(&reader) == OC_JSON_KEY) {
    if(oc_json_is(&reader, "function") && call->has_function) {
      if(oc_json_next(&reader) != OC_JSON_OBJECT) {
        code = oc_json_skip(&reader, NULL);
        continue;
      }
      while(!code && oc_json_next(&reader) == OC_JSON_KEY) {
        if(oc_json_is(&reader, "name") || oc_json_is(&reader, "arguments"))
          code = oc_json_skip(&reader, NULL);
        else
          code = read_extra(reply, &reader, &call->function_extra);
      }
    }
    else if(oc_json_is(&reader, "id") || oc_json_is(&reader, "index"))
      code = oc_json_skip(&reader, NULL);
    else if(oc_json_is(&reader, "type"))
      code = read_type(&reader, call);
    else
      code = read_extra(reply, &reader, &call->extra);
  }
  return code ? code : reader.error;
}

/* One element of tool_calls; `raw` is an object's exact text. */
static oc_code read_tool_call(oc_reply *reply, oc_slice raw, int is_whole,
                              size_t first) {
  oc_json reader;
  struct fragment fragment;
  oc_call *call;
  oc_code code = OC_OK;
  int found;

  memset(&fragment, 0, sizeof fragment);
  fragment.index = -1;
  oc_json_init(&reader, raw.text, raw.len);
  oc_json_allow_bad_utf8(&reader);
  oc_json_next(&reader);
  while(!code && oc_json_next(&reader) == OC_JSON_KEY) {
    if(oc_json_is(&reader, "index"))
      code = read_number(&reader, &fragment.index);
    else if(oc_json_is(&reader, "id"))
      code = read_string(&reader, &fragment.id, &found);
    else if(oc_json_is(&reader, "function"))
      code = read_function(&reader, &fragment);
    else
      code = oc_json_skip(&reader, NULL);
  }
  if(!code)
    code = reader.error;
  if(code)
    return code;
  call = is_whole ? NULL : find_call(reply, &fragment, first);
  if(!call)
    call = add_call(reply, fragment.index);
  if(!call)
    return reply->call_count == OC_MAX_CALLS ? OC_E_TOO_LARGE : OC_E_NOMEM;
  code = apply_fragment(reply, call, &fragment);
  return code ? code : read_call_extra(reply, call, raw);
}

static oc_code read_tool_calls(oc_reply *reply, oc_json *reader,
                               int is_whole) {
  size_t first = reply->call_count;
  oc_json_token token = oc_json_next(reader);
  oc_code code = OC_OK;

  if(token != OC_JSON_ARRAY)
    return token == OC_JSON_ERROR ? reader->error
                                  : oc_json_skip(reader, NULL);
  while(!code) {
    oc_slice raw;
    token = oc_json_next(reader);
    if(token == OC_JSON_ARRAY_END)
      break;
    if(token == OC_JSON_ERROR)
      return reader->error;
    code = oc_json_skip(reader, &raw);
    if(!code && token == OC_JSON_OBJECT)
      code = read_tool_call(reply, raw, is_whole, first);
  }
  return code;
}

/* }==== */

/* {==== messages and chunks ==== */

/*
 * Content as a list of parts (some servers answer so): the text parts are
 * joined. The reader has just returned the list's OC_JSON_ARRAY.
 */
static oc_code read_parts(oc_reply *reply, oc_json *reader) {
  oc_code code = OC_OK;
  oc_json_token token;
  while(!code && (token = oc_json_next(reader)) != OC_JSON_ARRAY_END) {
    oc_slice text = { NULL, 0 };
    int is_text = 1;
    if(token == OC_JSON_STRING) {
      code = oc_text_add(&reply->content, reader->value);
      continue;
    }
    if(token != OC_JSON_OBJECT) {
      code = token == OC_JSON_ERROR ? reader->error
                                    : oc_json_skip(reader, NULL);
      continue;
    }
    while(!code && oc_json_next(reader) == OC_JSON_KEY) {
      int found = 0;
      if(oc_json_is(reader, "text"))
        code = read_string(reader, &text, &found);
      else if(oc_json_is(reader, "type")) {
        oc_slice type;
        code = read_string(reader, &type, &found);
        if(found)
          is_text = type.len == 4 && !memcmp(type.text, "text", 4);
      }
      else
        code = oc_json_skip(reader, NULL);
    }
    if(!code)
      code = reader->error;
    if(!code && is_text && text.text)
      code = oc_text_add(&reply->content, text);
  }
  if(!code)
    reply->has_content = 1;
  return code;
}

static oc_code read_content(oc_reply *reply, oc_json *reader) {
  oc_json_token token = oc_json_next(reader);
  if(token == OC_JSON_STRING) {
    reply->has_content = 1;
    if(reader->value.len)
      note_text(reply, OC_TARGET_CONTENT, reader->value);
    return oc_text_add(&reply->content, reader->value);
  }
  if(token == OC_JSON_ARRAY) {
    note_effect(reply);
    return read_parts(reply, reader);
  }
  return token == OC_JSON_ERROR ? reader->error : oc_json_skip(reader, NULL);
}

/* Reasoning, under whichever of its names this server uses first. */
static oc_code read_reasoning(oc_reply *reply, oc_json *reader) {
  oc_slice key = reader->value;
  oc_slice raw;
  int found;
  oc_code code = read_string(reader, &raw, &found);

  if(code || !found || !raw.len)
    return code;
  if(!reply->reasoning_key.len)
    code = oc_buf_append(&reply->reasoning_key, key.text, key.len);
  if(!code && reply->reasoning_key.len == key.len
     && !memcmp(reply->reasoning_key.data, key.text, key.len)) {
    note_text(reply, OC_TARGET_REASONING, raw);
    code = oc_text_add(&reply->reasoning, raw);
  }
  return code;
}

/* A message or a delta. */
static oc_code read_delta(oc_reply *reply, oc_slice raw, int is_whole) {
  oc_json reader;
  oc_code code = OC_OK;
  int found;

  oc_json_init(&reader, raw.text, raw.len);
  oc_json_allow_bad_utf8(&reader);
  if(oc_json_next(&reader) != OC_JSON_OBJECT)
    return OC_OK;
  while(!code && oc_json_next(&reader) == OC_JSON_KEY) {
    if(oc_json_is(&reader, "content"))
      code = read_content(reply, &reader);
    else if(oc_json_is(&reader, "tool_calls"))
      code = read_tool_calls(reply, &reader, is_whole);
    else if(oc_json_is(&reader, "reasoning_content")
            || oc_json_is(&reader, "reasoning"))
      code = read_reasoning(reply, &reader);
    else if(oc_json_is(&reader, "refusal")) {
      oc_slice text;
      code = read_string(&reader, &text, &found);
      if(!code && found && text.len) {
        note_effect(reply);
        code = oc_text_add(&reply->refusal, text);
      }
    }
    else if(oc_json_is(&reader, "role"))
      code = oc_json_skip(&reader, NULL);
    else
      code = read_extra(reply, &reader, &reply->extra);
  }
  return code ? code : reader.error;
}

/*
 * One choice. Only the first one counts: when a caller forces more than
 * one out of the server, the others are left alone.
 */
static oc_code read_choice(oc_reply *reply, oc_json *reader, int is_whole) {
  oc_slice body = { NULL, 0 };
  oc_slice other = { NULL, 0 };
  oc_slice finish = { NULL, 0 };
  double index = 0;
  oc_code code = OC_OK;
  int found = 0;

  while(!code && oc_json_next(reader) == OC_JSON_KEY) {
    if(oc_json_is(reader, "index"))
      code = read_number(reader, &index);
    else if(oc_json_is(reader, "delta") || oc_json_is(reader, "message")) {
      /* some servers send one of the other kind, or both kinds at once */
      int is_own = oc_json_is(reader, "message") == is_whole;
      oc_slice raw;
      code = oc_json_skip(reader, &raw);
      if(!code && *raw.text == '{')
        *(is_own ? &body : &other) = raw;
    }
    else if(oc_json_is(reader, "finish_reason"))
      code = read_string(reader, &finish, &found);
    else
      code = oc_json_skip(reader, NULL);
  }
  if(!code)
    code = reader->error;
  if(code || index > 0)
    return code;
  reply->has_choice = 1;
  if(!body.text)
    body = other;
  if(is_whole && !body.text)
    return OC_E_BAD_RESPONSE;
  if(body.text)
    code = read_delta(reply, body, is_whole);
  if(!code && found && finish.len) {
    oc_buf_clear(&reply->finish_reason);
    note_effect(reply);
    code = oc_json_unescape(finish, &reply->finish_reason, NULL);
  }
  return code;
}

static oc_code read_choices(oc_reply *reply, oc_json *reader, int is_whole) {
  oc_json_token token = oc_json_next(reader);
  oc_code code = OC_OK;

  if(token != OC_JSON_ARRAY)
    return token == OC_JSON_ERROR ? reader->error
                                  : oc_json_skip(reader, NULL);
  while(!code && (token = oc_json_next(reader)) != OC_JSON_ARRAY_END) {
    if(token == OC_JSON_ERROR)
      return reader->error;
    if(token == OC_JSON_OBJECT && !(is_whole && reply->has_choice))
      code = read_choice(reply, reader, is_whole);
    else
      code = oc_json_skip(reader, NULL);
  }
  return code;
}

/* Whether "error" holds one: servers write null, false, "" and {} too. */
static int is_problem(oc_slice raw) {
  size_t i = 1;
  switch(*raw.text) {
  case 'n':
  case 'f':
    return 0;
  case 't':
    return 1;
  case '"':
    return raw.len > 2;
  case '{':
  case '[':
    while(strchr(" \t\r\n", raw.text[i]))
      i++;
    return raw.text[i] != '}' && raw.text[i] != ']';
  default:
    return oc_json_parse_number(raw) != 0;
  }
}

/*
 * A response or a chunk. An error object in it ends the reading with
 * OC_E_API; `error` is filled in then.
 */
static oc_code read_object(oc_reply *reply, const char *json, size_t len,
                           int is_whole, oc_error *error) {
  oc_json reader;
  oc_code code = OC_OK;
  double cost = -1;
  int has_choices = 0;
  int is_error = 0;

  oc_json_init(&reader, json, len);
  oc_json_allow_bad_utf8(&reader);
  if(oc_json_next(&reader) != OC_JSON_OBJECT) {
    if(reader.token == OC_JSON_ERROR)
      return reader.error;
    code = oc_json_skip(&reader, NULL);
    if(code)
      return code;
    return oc_json_next(&reader) == OC_JSON_END ? OC_E_BAD_RESPONSE
                                                : reader.error;
  }
  while(!code && oc_json_next(&reader) == OC_JSON_KEY) {
    if(oc_json_is(&reader, "choices")) {
      has_choices = 1;
      code = read_choices(reply, &reader, is_whole);
    }
    else if(oc_json_is(&reader, "usage")) {
      oc_slice raw;
      code = oc_json_skip(&reader, &raw);
      if(!code && *raw.text == '{') {
        note_effect(reply);
        code = read_usage(reply, raw);
      }
    }
    else if(oc_json_is(&reader, "id"))
      code = read_once(&reader, &reply->id);
    else if(oc_json_is(&reader, "model"))
      code = read_once(&reader, &reply->model);
    else if(oc_json_is(&reader, "cost"))
      code = read_number(&reader, &cost);
    else if(oc_json_is(&reader, "error") || oc_json_is(&reader, "errors")) {
      oc_slice raw;
      code = oc_json_skip(&reader, &raw);
      if(!code && is_problem(raw)) {
        oc_api_error_read(error, 200, json, len);
        return OC_E_API;
      }
    }
    else if(oc_json_is(&reader, "object") || oc_json_is(&reader, "type")) {
      oc_slice raw;
      code = oc_json_skip(&reader, &raw);
      if(!code && raw.len == 7 && !memcmp(raw.text, "\"error\"", 7))
        is_error = 1;
    }
    else
      code = oc_json_skip(&reader, NULL);
  }
  if(!code)
    code = reader.error;
  if(!code && oc_json_next(&reader) != OC_JSON_END)
    code = reader.error;
  if(!code && is_error && !has_choices) {
    oc_api_error_read(error, 200, json, len);
    return OC_E_API;
  }
  if(!code && cost >= 0 && reply->usage.cost < 0)
    reply->usage.cost = cost;
  return code;
}

/* Says what was wrong with what the server sent. */
static oc_code fail(oc_error *error, oc_code code, const char *what,
                    const char *text, size_t len) {
  if(code == OC_E_API)
    return code;
  if(code == OC_E_NOMEM || code == OC_E_TOO_LARGE || code == OC_E_DEPTH)
    oc_error_set(error, code, "%s", oc_code_message(code));
  else
    /* whole characters only */
    oc_error_set(error, code, "%s: %s: %.*s", what, oc_code_message(code),
                 (int)oc_utf8_valid_prefix(text, len > 200 ? 200 : len), text);
  return code;
}

oc_code oc_reply_whole(oc_reply *reply, const char *json, size_t len,
                       oc_error *error) {
  oc_code code;
  if(!len) {
    oc_error_set(error, OC_E_EMPTY, "%s", oc_code_message(OC_E_EMPTY));
    return OC_E_EMPTY;
  }
  code = read_object(reply, json, len, 1, error);
  if(!code && !reply->has_choice)
    code = OC_E_NO_CHOICES;
  if(code)
    return fail(error, code, "bad response", json, len);
  reply->is_done = 1;
  return oc_reply_finish(reply);
}

/* Where a string ends: its closing quote; NULL: not a plain JSON string. */
static const char *string_end(const char *at, const char *end) {
  while(at < end && *at != '"') {
    if((unsigned char)*at < 0x20)
      return NULL;
    if(*at == '\\' && ++at == end)
      return NULL;
    at++;
  }
  return at < end ? at : NULL;
}

static oc_code add_like(oc_reply *reply, oc_slice raw) {
  switch(reply->like_target) {
  case OC_TARGET_CONTENT:
    return oc_text_add(&reply->content, raw);
  case OC_TARGET_REASONING:
    return oc_text_add(&reply->reasoning, raw);
  default:
    return oc_text_add(&reply->calls[reply->like_call].arguments, raw);
  }
}

/*
 * Successive chunks of a stream are the same bytes but for one string. A
 * chunk that equals the one before it on both sides of that string is not
 * parsed again: 1 when it has been dealt with.
 */
static int is_like_last(oc_reply *reply, const char *data, size_t len,
                        oc_code *code) {
  const char *string;
  const char *end;
  size_t behind = reply->like.len - reply->like_at - reply->like_len;
  oc_slice raw;

  if(len <= reply->like_at + behind
     || memcmp(data, reply->like.data, reply->like_at)
     || memcmp(data + len - behind,
               reply->like.data + reply->like.len - behind, behind))
    return 0;
  string = data + reply->like_at;
  end = data + len - behind;
  if(string_end(string, data + len) != end)
    return 0;
  raw.text = string;
  raw.len = (size_t)(end - string);
  *code = add_like(reply, raw);
  return 1;
}

/* Remembers a chunk that did nothing but add a string to one text. */
static void remember_like(oc_reply *reply, const char *data, size_t len) {
  reply->like_at = (size_t)(reply->like_text - data);
  /* without memory for it the next chunk takes the long road */
  if(oc_buf_append(&reply->like, data, len))
    oc_buf_clear(&reply->like);
}

oc_code oc_reply_chunk(oc_reply *reply, const char *data, size_t len,
                       oc_error *error) {
  oc_code code;

  if(reply->like.len && is_like_last(reply, data, len, &code))
    return code ? fail(error, code, "bad chunk", data, len) : OC_OK;
  oc_buf_clear(&reply->like);
  if(!len)
    return OC_OK;
  if(len >= 6 && !memcmp(data, "[DONE]", 6)) {
    reply->is_done = 1;
    return OC_OK;
  }
  reply->effects = 0;
  reply->like_target = OC_TARGET_NONE;
  code = read_object(reply, data, len, 0, error);
  if(code)
    return fail(error, code, "bad chunk", data, len);
  if(reply->effects == 1 && reply->like_target != OC_TARGET_NONE)
    remember_like(reply, data, len);
  return OC_OK;
}

int oc_reply_has_output(const oc_reply *reply) {
  return reply->content.buf.len || reply->reasoning.buf.len
         || reply->refusal.buf.len || reply->call_count;
}

/* }==== */

/* {==== the end ==== */

/* Invalid UTF-8 would make every later request of the list invalid. */
static oc_code make_valid(oc_buf *buf) {
  oc_buf clean;
  oc_code code;
  if(oc_utf8_valid_prefix(buf->data, buf->len) == buf->len)
    return OC_OK;
  oc_buf_init(&clean, buf->max > (size_t)-1 / 3 ? buf->max : buf->max * 3);
  code = oc_utf8_sanitize(&clean, buf->data, buf->len);
  if(code) {
    oc_buf_free(&clean);
    return code;
  }
  clean.max = buf->max;
  oc_buf_free(buf);
  *buf = clean;
  return OC_OK;
}

static oc_code make_fields_valid(oc_fields *fields) {
  oc_code code = OC_OK;
  size_t i;
  for(i = 0; !code && i < fields->count; i++) {
    code = make_valid(&fields->items[i].key);
    if(!code)
      code = make_valid(&fields->items[i].value);
  }
  return code;
}

/* Whether an earlier call has the same id. */
static int is_repeated(const oc_reply *reply, size_t at) {
  const oc_buf *id = &reply->calls[at].id;
  size_t i;
  for(i = 0; i < at; i++) {
    const oc_buf *other = &reply->calls[i].id;
    if(other->len == id->len && !memcmp(other->data, id->data, id->len))
      return 1;
  }
  return 0;
}

static oc_code complete_call(oc_reply *reply, size_t at) {
  oc_call *call = &reply->calls[at];
  oc_code code = oc_text_finish(&call->arguments);
  if(!code)
    code = make_valid(&call->name);
  if(!code)
    code = make_valid(&call->id);
  if(!code)
    code = make_fields_valid(&call->extra);
  if(!code)
    code = make_fields_valid(&call->function_extra);
  if(!code && (!call->id.len || is_repeated(reply, at))) {
    char own[32];
    oc_random_hex(own, 24);
    oc_buf_clear(&call->id);
    code = oc_buf_puts(&call->id, "call_");
    if(!code)
      code = oc_buf_append(&call->id, own, 24);
  }
  return code;
}

oc_code oc_reply_finish(oc_reply *reply) {
  size_t i;
  oc_code code = oc_text_finish(&reply->content);
  if(!code)
    code = oc_text_finish(&reply->reasoning);
  if(!code)
    code = oc_text_finish(&reply->refusal);
  if(!code)
    code = make_valid(&reply->finish_reason);
  if(!code)
    code = make_valid(&reply->model);
  if(!code)
    code = make_valid(&reply->id);
  if(!code)
    code = make_valid(&reply->usage_raw);
  if(!code)
    code = make_fields_valid(&reply->extra);
  for(i = 0; !code && i < reply->call_count; i++)
    code = complete_call(reply, i);
  return code;
}

/* Writes `"key":"text"`, the key as it stands. */
static oc_code write_field(oc_buf *out, const char *key, const oc_buf *text) {
  oc_code code = oc_buf_puts(out, key);
  if(!code)
    code = oc_json_write_string(out, text->data, text->len);
  return code;
}

static oc_code write_extra(oc_buf *out, const oc_fields *extra) {
  oc_code code = OC_OK;
  size_t i;
  for(i = 0; !code && i < extra->count; i++) {
    const oc_field *field = &extra->items[i];
    code = oc_buf_puts(out, ",\"");
    if(!code)
      code = oc_buf_append(out, field->key.data, field->key.len);
    if(!code)
      code = oc_buf_puts(out, "\":");
    if(!code)
      code = oc_buf_append(out, field->value.data, field->value.len);
  }
  return code;
}

static oc_code write_call(oc_buf *out, const oc_call *call) {
  static const oc_slice type = { "type", 4 };
  oc_code code = write_field(out, "{\"id\":", &call->id);
  if(!code && !find_field(&call->extra, type))
    code = oc_buf_puts(out, ",\"type\":\"function\"");
  if(!code && call->has_function) {
    code = write_field(out, ",\"function\":{\"name\":", &call->name);
    if(!code)
      code = write_field(out, ",\"arguments\":", &call->arguments.buf);
    if(!code)
      code = write_extra(out, &call->function_extra);
    if(!code)
      code = oc_buf_putc(out, '}');
  }
  if(!code)
    code = write_extra(out, &call->extra);
  if(!code)
    code = oc_buf_putc(out, '}');
  return code;
}

static oc_code write_text(oc_buf *out, const oc_reply *reply) {
  oc_code code = oc_buf_puts(out, "{\"role\":\"assistant\",\"content\":");
  if(!code)
    code = oc_json_write_string(out, reply->content.buf.data,
                                reply->content.buf.len);
  if(!code)
    code = oc_buf_putc(out, '}');
  return code;
}

/*
 * Reasoning goes back only together with tool calls: there, some servers
 * insist on it, and without calls others refuse it and it costs tokens.
 */
static oc_code write_message(oc_buf *out, const oc_reply *reply,
                             int with_reasoning) {
  oc_code code = oc_buf_puts(out, "{\"role\":\"assistant\",\"content\":");
  size_t i;

  if(!code && !reply->has_content && reply->call_count)
    code = oc_buf_puts(out, "null");
  else if(!code)
    code = oc_json_write_string(out, reply->content.buf.data,
                                reply->content.buf.len);
  if(!code && with_reasoning && reply->reasoning.buf.len) {
    code = oc_buf_puts(out, ",\"");
    if(!code)
      code = oc_buf_append(out, reply->reasoning_key.data,
                           reply->reasoning_key.len);
    if(!code)
      code = write_field(out, "\":", &reply->reasoning.buf);
  }
  if(!code && reply->refusal.buf.len)
    code = write_field(out, ",\"refusal\":", &reply->refusal.buf);
  for(i = 0; !code && i < reply->call_count; i++) {
    code = oc_buf_puts(out, i ? "," : ",\"tool_calls\":[");
    if(!code)
      code = write_call(out, &reply->calls[i]);
  }
  if(!code && reply->call_count)
    code = oc_buf_putc(out, ']');
  if(!code)
    code = write_extra(out, &reply->extra);
  if(!code)
    code = oc_buf_putc(out, '}');
  return code;
}

oc_code oc_reply_message(const oc_reply *reply, int is_partial,
                         oc_message **out) {
  int has_calls = reply->call_count && !is_partial;
  oc_buf buf;
  oc_code code;
  oc_buf_init(&buf, (size_t)-1 / 2);
  code = is_partial ? write_text(&buf, reply)
                    : write_message(&buf, reply, has_calls);
  if(!code)
    code = oc_message_own(out, buf.data, buf.len, has_calls);
  oc_buf_free(&buf);
  return code;
}

oc_code oc_reply_raw(const oc_reply *reply, oc_buf *out) {
  oc_code code = write_field(out, "{\"id\":", &reply->id);
  if(!code)
    code = write_field(out, ",\"object\":\"chat.completion\",\"model\":",
                       &reply->model);
  if(!code)
    code = oc_buf_puts(out, ",\"choices\":[{\"index\":0,\"message\":");
  if(!code)
    code = write_message(out, reply, 1);
  if(!code)
    code = oc_buf_puts(out, ",\"finish_reason\":");
  if(!code && reply->finish_reason.len)
    code = write_field(out, "", &reply->finish_reason);
  else if(!code)
    code = oc_buf_puts(out, "null");
  if(!code)
    code = oc_buf_puts(out, "}]");
  if(!code && reply->usage_raw.len) {
    code = oc_buf_puts(out, ",\"usage\":");
    if(!code)
      code = oc_buf_append(out, reply->usage_raw.data, reply->usage_raw.len);
  }
  if(!code)
    code = oc_buf_putc(out, '}');
  return code;
}

/* }==== */
