#include "oc_reply.h"

#include <stdio.h>
#include <string.h>

#include "oc_alloc.h"
#include "oc_api_error.h"
#include "oc_utf8.h"

/* {==== life ==== */

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
  oc_like_init(&reply->like, max);
  reply->usage.prompt_tokens = -1;
  reply->usage.completion_tokens = -1;
  reply->usage.total_tokens = -1;
  reply->usage.cached_tokens = -1;
  reply->usage.reasoning_tokens = -1;
  reply->usage.cost = -1;
}

void oc_reply_free(oc_reply *reply) {
  oc_call_list_free(&reply->calls);
  oc_text_free(&reply->content);
  oc_text_free(&reply->reasoning);
  oc_text_free(&reply->refusal);
  oc_buf_free(&reply->finish_reason);
  oc_buf_free(&reply->id);
  oc_buf_free(&reply->model);
  oc_buf_free(&reply->usage_raw);
  oc_fields_free(&reply->extra);
  oc_buf_free(&reply->reasoning_key);
  oc_like_free(&reply->like);
  oc_reply_init(reply, reply->max);
}

/* }==== */

static void note_text(oc_reply *reply, oc_target target, oc_slice raw) {
  oc_effects_note_text(&reply->effects, raw);
  reply->like_target = target;
}

/* Reads the value behind the KEY just read and keeps it, unless null. */
static oc_code read_extra(oc_reply *reply, oc_json *reader) {
  oc_slice key = reader->value;
  oc_slice value;
  oc_code code = oc_json_skip(reader, &value);
  if(code || *value.text == 'n')
    return code;
  oc_effects_note(&reply->effects);
  return oc_fields_keep(&reply->extra, key, value, reply->max, 1);
}

/* {==== values ==== */

/* Stores a string behind the KEY just read, unless one is there already. */
static oc_code read_once(oc_json *reader, oc_buf *into) {
  oc_slice raw;
  int found;
  oc_code code = oc_json_read_string(reader, &raw, &found);
  if(!code && found && !into->len)
    code = oc_json_unescape(raw, into, NULL);
  return code;
}

static oc_code read_details(oc_json *reader, const char *name,
                            double *number) {
  oc_code code = OC_OK;
  if(oc_json_next(reader) != OC_JSON_OBJECT)
    return reader->token == OC_JSON_ERROR ? reader->error
                                          : oc_json_skip(reader, NULL);
  while(!code && oc_json_next(reader) == OC_JSON_KEY) {
    if(oc_json_is(reader, name))
      code = oc_json_read_number(reader, number);
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
      code = oc_json_read_number(&reader, &usage->prompt_tokens);
    else if(oc_json_is(&reader, "completion_tokens"))
      code = oc_json_read_number(&reader, &usage->completion_tokens);
    else if(oc_json_is(&reader, "total_tokens"))
      code = oc_json_read_number(&reader, &usage->total_tokens);
    else if(oc_json_is(&reader, "cost"))
      code = oc_json_read_number(&reader, &usage->cost);
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
        code = oc_json_read_string(reader, &text, &found);
      else if(oc_json_is(reader, "type")) {
        oc_slice type;
        code = oc_json_read_string(reader, &type, &found);
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
    oc_effects_note(&reply->effects);
    return read_parts(reply, reader);
  }
  return token == OC_JSON_ERROR ? reader->error : oc_json_skip(reader, NULL);
}

/* Reasoning, under whichever of its names this server uses first. */
static oc_code read_reasoning(oc_reply *reply, oc_json *reader) {
  oc_slice key = reader->value;
  oc_slice raw;
  int found;
  oc_code code = oc_json_read_string(reader, &raw, &found);

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
      code = oc_call_list_read(&reply->calls, &reader, is_whole, reply->max,
                               &reply->effects);
    else if(oc_json_is(&reader, "reasoning_content")
            || oc_json_is(&reader, "reasoning"))
      code = read_reasoning(reply, &reader);
    else if(oc_json_is(&reader, "refusal")) {
      oc_slice text;
      code = oc_json_read_string(&reader, &text, &found);
      if(!code && found && text.len) {
        oc_effects_note(&reply->effects);
        code = oc_text_add(&reply->refusal, text);
      }
    }
    else if(oc_json_is(&reader, "role"))
      code = oc_json_skip(&reader, NULL);
    else
      code = read_extra(reply, &reader);
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
      code = oc_json_read_number(reader, &index);
    else if(oc_json_is(reader, "delta") || oc_json_is(reader, "message")) {
      /* some servers send one of the other kind, or both kinds at once */
      int is_own = oc_json_is(reader, "message") == is_whole;
      oc_slice raw;
      code = oc_json_skip(reader, &raw);
      if(!code && *raw.text == '{')
        *(is_own ? &body : &other) = raw;
    }
    else if(oc_json_is(reader, "finish_reason"))
      code = oc_json_read_string(reader, &finish, &found);
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
    oc_effects_note(&reply->effects);
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
        oc_effects_note(&reply->effects);
        code = read_usage(reply, raw);
      }
    }
    else if(oc_json_is(&reader, "id"))
      code = read_once(&reader, &reply->id);
    else if(oc_json_is(&reader, "model"))
      code = read_once(&reader, &reply->model);
    else if(oc_json_is(&reader, "cost"))
      code = oc_json_read_number(&reader, &cost);
    else if(oc_json_is(&reader, "error") || oc_json_is(&reader, "errors")) {
      oc_slice raw;
      code = oc_json_skip(&reader, &raw);
      if(!code && oc_api_error_is_problem(raw)) {
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

static oc_code add_like(oc_reply *reply, oc_slice raw, oc_letters letters) {
  oc_text *text = &reply->content;
  if(reply->like_target == OC_TARGET_REASONING)
    text = &reply->reasoning;
  else if(reply->like_target == OC_TARGET_ARGUMENTS)
    text = &reply->calls.items[reply->effects.call].arguments;
  return oc_text_add_letters(text, raw, letters);
}

oc_code oc_reply_like(oc_reply *reply, const char *bytes, size_t len,
                      size_t *used, oc_error *error) {
  oc_slice raw;
  oc_letters letters;
  oc_code code = OC_OK;

  *used = oc_like_event(&reply->like, bytes, len, &raw, &letters);
  if(*used)
    code = add_like(reply, raw, letters);
  if(code == OC_E_JSON) {
    /* the long road says where */
    *used = 0;
    code = OC_OK;
  }
  return code ? fail(error, code, "bad chunk", bytes, len) : OC_OK;
}

oc_code oc_reply_chunk(oc_reply *reply, const char *data, size_t len,
                       oc_error *error) {
  oc_slice raw;
  oc_letters letters;
  oc_code code;

  if(oc_like_matches(&reply->like, data, len, &raw, &letters)) {
    code = add_like(reply, raw, letters);
    return code ? fail(error, code, "bad chunk", data, len) : OC_OK;
  }
  oc_like_forget(&reply->like);
  if(!len)
    return OC_OK;
  if(len >= 6 && !memcmp(data, "[DONE]", 6)) {
    reply->is_done = 1;
    return OC_OK;
  }
  memset(&reply->effects, 0, sizeof reply->effects);
  code = read_object(reply, data, len, 0, error);
  if(code)
    return fail(error, code, "bad chunk", data, len);
  /* one that did nothing but add a string to one text */
  if(reply->effects.count == 1 && reply->effects.text.len) {
    if(reply->effects.is_arguments)
      reply->like_target = OC_TARGET_ARGUMENTS;
    oc_like_remember(&reply->like, data, len, reply->effects.text);
  }
  return OC_OK;
}

size_t oc_reply_size(const oc_reply *reply) {
  size_t size = reply->content.buf.len + reply->reasoning.buf.len
                + reply->refusal.buf.len;
  size_t i;
  for(i = 0; i < reply->calls.count; i++)
    size += reply->calls.items[i].arguments.buf.len;
  return size;
}

int oc_reply_has_output(const oc_reply *reply) {
  return reply->content.buf.len || reply->reasoning.buf.len
         || reply->refusal.buf.len || reply->calls.count;
}

/* }==== */

/* {==== the end ==== */

oc_code oc_reply_finish(oc_reply *reply) {
  oc_code code = oc_text_finish(&reply->content);
  if(!code)
    code = oc_text_finish(&reply->reasoning);
  if(!code)
    code = oc_text_finish(&reply->refusal);
  if(!code)
    code = oc_text_make_valid(&reply->finish_reason);
  if(!code)
    code = oc_text_make_valid(&reply->model);
  if(!code)
    code = oc_text_make_valid(&reply->id);
  if(!code)
    code = oc_text_make_valid(&reply->usage_raw);
  if(!code)
    code = oc_fields_finish(&reply->extra);
  if(!code)
    code = oc_call_list_finish(&reply->calls);
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

  if(!code && !reply->has_content && reply->calls.count)
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
      code = oc_json_write_field(out, "\":", &reply->reasoning.buf);
  }
  if(!code && reply->refusal.buf.len)
    code = oc_json_write_field(out, ",\"refusal\":", &reply->refusal.buf);
  if(!code)
    code = oc_call_list_write(&reply->calls, out);
  if(!code)
    code = oc_fields_write(&reply->extra, out);
  if(!code)
    code = oc_buf_putc(out, '}');
  return code;
}

oc_code oc_reply_message(const oc_reply *reply, int is_partial,
                         oc_message **out) {
  int has_calls = reply->calls.count && !is_partial;
  size_t size = oc_reply_size(reply);
  oc_buf buf;
  oc_code code;
  oc_buf_init(&buf, (size_t)-1 / 2);
  /* a few escapes fit in as well */
  code = oc_message_room(&buf, size + size / 16 + 64);
  if(!code)
    code = is_partial ? write_text(&buf, reply)
                      : write_message(&buf, reply, has_calls);
  if(!code)
    *out = oc_message_own(&buf, has_calls);
  oc_buf_free(&buf);
  return code;
}

oc_code oc_reply_raw(const oc_reply *reply, oc_buf *out) {
  oc_code code = oc_json_write_field(out, "{\"id\":", &reply->id);
  if(!code)
    code = oc_json_write_field(
      out, ",\"object\":\"chat.completion\",\"model\":", &reply->model);
  if(!code)
    code = oc_buf_puts(out, ",\"choices\":[{\"index\":0,\"message\":");
  if(!code)
    code = write_message(out, reply, 1);
  if(!code)
    code = oc_buf_puts(out, ",\"finish_reason\":");
  if(!code && reply->finish_reason.len)
    code = oc_json_write_field(out, "", &reply->finish_reason);
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
