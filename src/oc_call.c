#include "oc_call.h"

#include <string.h>

#include "oc_alloc.h"
#include "oc_message.h"
#include "oc_random.h"

void oc_effects_note(oc_effects *effects) {
  effects->count++;
  effects->text.len = 0;
}

void oc_effects_note_text(oc_effects *effects, oc_slice raw) {
  effects->count++;
  effects->text = raw;
  effects->is_arguments = 0;
}

static void call_init(oc_call *call, size_t max) {
  memset(call, 0, sizeof *call);
  oc_buf_init(&call->id, max);
  oc_buf_init(&call->name, max);
  oc_text_init(&call->arguments, max);
  call->index = -1;
}

static void call_free(oc_call *call) {
  oc_buf_free(&call->id);
  oc_buf_free(&call->name);
  oc_text_free(&call->arguments);
  oc_fields_free(&call->extra);
  oc_fields_free(&call->function_extra);
}

void oc_call_list_free(oc_call_list *list) {
  while(list->count)
    call_free(&list->items[--list->count]);
  oc_free(list->items);
  list->items = NULL;
}

static oc_call *add_call(oc_call_list *list, size_t max, double index) {
  oc_call *items;
  if(list->count == OC_MAX_CALLS)
    return NULL;
  items = oc_realloc(list->items, (list->count + 1) * sizeof *items);
  if(!items)
    return NULL;
  list->items = items;
  call_init(&items[list->count], max);
  items[list->count].index = index;
  return &items[list->count++];
}

/* One element of a tool_calls list, as it stands in this delta. */
struct fragment {
  double index;
  oc_slice id;            /* raw; empty: none */
  oc_slice name;          /* raw; empty: none */
  oc_slice arguments;     /* raw string, or the text of another value */
  int arguments_plain;    /* arguments is not a string but JSON */
  int has_function;
};

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
  return oc_json_decodes_to(raw, buf->len ? buf->data : "", buf->len);
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
static oc_call *find_call(oc_call_list *list, const struct fragment *fragment,
                          size_t first) {
  oc_call *call = NULL;
  size_t i;

  for(i = fragment->id.len ? list->count : 0; i-- > 0;) {
    oc_call *known = &list->items[i];
    if(same_text(&known->id, fragment->id)
       && (fragment->index < 0 || known->index < 0
           || fragment->index == known->index))
      return known;
  }
  if(fragment->index >= 0) {
    for(i = list->count; !call && i-- > 0;) {
      if(list->items[i].index == fragment->index)
        call = &list->items[i];
    }
  }
  else if(list->count && list->count == first)
    call = &list->items[first - 1];
  return call && opens_another(call, fragment) ? NULL : call;
}

static oc_code apply_fragment(oc_call *call, const struct fragment *fragment,
                              oc_effects *effects, size_t at) {
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
      oc_effects_note_text(effects, fragment->arguments);
      effects->is_arguments = 1;
      effects->call = at;
    }
  }
  /* an id or a name may open another call next time */
  if(fragment->id.len || fragment->name.len || fragment->arguments_plain)
    oc_effects_note(effects);
  return code;
}

/* Keeps the value behind the KEY just read, unless it is null. */
static oc_code read_extra(oc_json *reader, oc_fields *extra, size_t max,
                          oc_effects *effects) {
  oc_slice key = reader->value;
  oc_slice value;
  oc_code code = oc_json_skip(reader, &value);
  if(code || *value.text == 'n')
    return code;
  oc_effects_note(effects);
  return oc_fields_keep(extra, key, value, max, 0);
}

static oc_code read_function(oc_json *reader, struct fragment *fragment) {
  oc_code code = OC_OK;
  oc_json_token token = oc_json_next(reader);

  if(token != OC_JSON_OBJECT)
    return token == OC_JSON_ERROR ? reader->error
                                  : oc_json_skip(reader, NULL);
  fragment->has_function = 1;
  while(!code && oc_json_next(reader) == OC_JSON_KEY) {
    if(oc_json_is(reader, "name")) {
      code = oc_json_read_string(reader, &fragment->name, NULL);
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
    code = oc_fields_keep(&call->extra, key, value, call->id.max, 0);
  return code;
}

/* Keeps the unknown fields of a call and of its function. */
static oc_code read_call_extra(oc_call *call, oc_slice raw,
                               oc_effects *effects) {
  size_t max = call->id.max;
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
          code = read_extra(&reader, &call->function_extra, max, effects);
      }
    }
    else if(oc_json_is(&reader, "id") || oc_json_is(&reader, "index"))
      code = oc_json_skip(&reader, NULL);
    else if(oc_json_is(&reader, "type"))
      code = read_type(&reader, call);
    else
      code = read_extra(&reader, &call->extra, max, effects);
  }
  return code ? code : reader.error;
}

/* One element of tool_calls; `raw` is an object's exact text. */
static oc_code read_call(oc_call_list *list, oc_slice raw, int is_whole,
                         size_t first, size_t max, oc_effects *effects) {
  oc_json reader;
  struct fragment fragment;
  oc_call *call;
  oc_code code = OC_OK;

  memset(&fragment, 0, sizeof fragment);
  fragment.index = -1;
  oc_json_init(&reader, raw.text, raw.len);
  oc_json_allow_bad_utf8(&reader);
  oc_json_next(&reader);
  while(!code && oc_json_next(&reader) == OC_JSON_KEY) {
    if(oc_json_is(&reader, "index"))
      code = oc_json_read_number(&reader, &fragment.index);
    else if(oc_json_is(&reader, "id"))
      code = oc_json_read_string(&reader, &fragment.id, NULL);
    else if(oc_json_is(&reader, "function"))
      code = read_function(&reader, &fragment);
    else
      code = oc_json_skip(&reader, NULL);
  }
  if(!code)
    code = reader.error;
  if(code)
    return code;
  call = is_whole ? NULL : find_call(list, &fragment, first);
  if(!call)
    call = add_call(list, max, fragment.index);
  if(!call)
    return list->count == OC_MAX_CALLS ? OC_E_TOO_LARGE : OC_E_NOMEM;
  code = apply_fragment(call, &fragment, effects,
                        (size_t)(call - list->items));
  return code ? code : read_call_extra(call, raw, effects);
}

oc_code oc_call_list_read(oc_call_list *list, oc_json *reader, int is_whole,
                          size_t max, oc_effects *effects) {
  size_t first = list->count;
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
      code = read_call(list, raw, is_whole, first, max, effects);
  }
  return code;
}

/* Whether an earlier call has the same id. */
static int is_repeated(const oc_call_list *list, size_t at) {
  const oc_buf *id = &list->items[at].id;
  size_t i;
  for(i = 0; i < at; i++) {
    const oc_buf *other = &list->items[i].id;
    if(other->len == id->len && !memcmp(other->data, id->data, id->len))
      return 1;
  }
  return 0;
}

static oc_code complete_call(oc_call_list *list, size_t at) {
  oc_call *call = &list->items[at];
  oc_code code = oc_text_finish(&call->arguments);
  if(!code)
    code = oc_text_make_valid(&call->name);
  if(!code)
    code = oc_text_make_valid(&call->id);
  if(!code)
    code = oc_fields_finish(&call->extra);
  if(!code)
    code = oc_fields_finish(&call->function_extra);
  if(!code && (!call->id.len || is_repeated(list, at))) {
    char own[32];
    oc_random_hex(own, 24);
    oc_buf_clear(&call->id);
    code = oc_buf_puts(&call->id, "call_");
    if(!code)
      code = oc_buf_append(&call->id, own, 24);
  }
  return code;
}

oc_code oc_call_list_finish(oc_call_list *list) {
  oc_code code = OC_OK;
  size_t i;
  for(i = 0; !code && i < list->count; i++)
    code = complete_call(list, i);
  return code;
}

static oc_code write_call(oc_buf *out, const oc_call *call) {
  static const oc_slice type = { "type", 4 };
  oc_code code = oc_json_write_field(out, "{\"id\":", &call->id);
  if(!code && !oc_fields_find(&call->extra, type))
    code = oc_buf_puts(out, ",\"type\":\"function\"");
  if(!code && call->has_function) {
    code = oc_json_write_field(out, ",\"function\":{\"name\":", &call->name);
    if(!code)
      code = oc_json_write_field(out, ",\"arguments\":", &call->arguments.buf);
    if(!code)
      code = oc_fields_write(&call->function_extra, out);
    if(!code)
      code = oc_buf_putc(out, '}');
  }
  if(!code)
    code = oc_fields_write(&call->extra, out);
  if(!code)
    code = oc_buf_putc(out, '}');
  return code;
}

oc_code oc_call_list_write(const oc_call_list *list, oc_buf *out) {
  oc_code code = OC_OK;
  size_t i;
  for(i = 0; !code && i < list->count; i++) {
    code = oc_buf_puts(out, i ? "," : ",\"tool_calls\":[");
    if(!code)
      code = write_call(out, &list->items[i]);
  }
  if(!code && list->count)
    code = oc_buf_putc(out, ']');
  return code;
}
