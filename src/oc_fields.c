#include "oc_fields.h"

#include <string.h>

#include "oc_alloc.h"
#include "oc_message.h"
#include "oc_text.h"

void oc_fields_free(oc_fields *fields) {
  while(fields->count) {
    oc_field *field = &fields->items[--fields->count];
    oc_buf_free(&field->key);
    oc_buf_free(&field->value);
  }
  oc_free(fields->items);
  fields->items = NULL;
}

static oc_slice slice_of(const oc_buf *buf) {
  oc_slice slice;
  slice.text = buf->len ? buf->data : "";
  slice.len = buf->len;
  return slice;
}

oc_field *oc_fields_find(const oc_fields *fields, oc_slice key) {
  size_t i;
  for(i = 0; i < fields->count; i++) {
    if(oc_raw_equal(slice_of(&fields->items[i].key), key))
      return &fields->items[i];
  }
  return NULL;
}

/* Adds a field, or nothing. */
static oc_code add_field(oc_fields *fields, oc_slice key, oc_slice value,
                         size_t max) {
  oc_field *items;
  oc_field *field;
  oc_code code;
  if(fields->count == OC_MAX_FIELDS)
    return OC_E_TOO_LARGE;
  items = oc_realloc(fields->items, (fields->count + 1) * sizeof *items);
  if(!items)
    return OC_E_NOMEM;
  fields->items = items;
  field = &items[fields->count];
  oc_buf_init(&field->key, max);
  oc_buf_init(&field->value, max);
  code = oc_buf_append(&field->key, key.text, key.len);
  if(!code)
    code = oc_buf_append(&field->value, value.text, value.len);
  if(!code)
    fields->count++;
  else
    oc_buf_free(&field->key);
  return code;
}

/* Puts another value in the place of one, or leaves it. */
static oc_code replace(oc_buf *buf, oc_slice value) {
  oc_buf other;
  oc_code code;
  oc_buf_init(&other, buf->max);
  code = oc_buf_append(&other, value.text, value.len);
  if(code)
    return code;
  oc_buf_free(buf);
  *buf = other;
  return OC_OK;
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

/* Whether fragments of this field are pieces of one text. */
static int is_joined(oc_slice key) {
  return !(key.len == 4 && !memcmp(key.text, "type", 4));
}

/* Puts a list's elements behind those of another one. */
static oc_code extend_list(oc_buf *list, oc_slice more) {
  oc_code code;
  if(!is_filled_list(more))
    return OC_OK;
  code = oc_buf_reserve(list, more.len);
  if(!code)
    list->data[list->len - 1] = ',';
  return code ? code : oc_buf_append(list, more.text + 1, more.len - 1);
}

/* Puts the fields of an object into another one, as a stream goes on. */
static oc_code merge_object(oc_buf *object, oc_slice more) {
  oc_fields fields = { NULL, 0 };
  oc_slice texts[2];
  oc_buf merged;
  oc_code code = OC_OK;
  size_t i;

  texts[0] = slice_of(object);
  texts[1] = more;
  for(i = 0; !code && i < 2; i++) {
    oc_json reader;
    oc_json_init(&reader, texts[i].text, texts[i].len);
    oc_json_allow_bad_utf8(&reader);
    oc_json_next(&reader);
    while(!code && oc_json_next(&reader) == OC_JSON_KEY) {
      oc_slice key = reader.value;
      oc_slice value;
      code = oc_json_skip(&reader, &value);
      if(!code && *value.text != 'n')
        code = oc_fields_keep(&fields, key, value, object->max, 1);
    }
  }
  oc_buf_init(&merged, object->max);
  if(!code)
    code = oc_fields_write(&fields, &merged);
  /* the comma in front becomes the brace */
  if(!code && merged.len)
    merged.data[0] = '{';
  else if(!code)
    code = oc_buf_putc(&merged, '{');
  if(!code)
    code = oc_buf_putc(&merged, '}');
  oc_fields_free(&fields);
  oc_buf_free(code ? &merged : object);
  if(!code)
    *object = merged;
  return code;
}

oc_code oc_fields_keep(oc_fields *fields, oc_slice key, oc_slice value,
                       size_t max, int joins) {
  oc_field *field = oc_fields_find(fields, key);
  oc_slice old;
  oc_code code;

  if(!field)
    return add_field(fields, key, value, max);
  old = slice_of(&field->value);
  if(is_filled_list(old) && *value.text == '[')
    return extend_list(&field->value, value);
  if(value.len == 2 && *value.text == '"')
    return OC_OK;
  if(joins && *old.text == '{' && *value.text == '{')
    return merge_object(&field->value, value);
  if(joins && *old.text == '"' && *value.text == '"' && is_joined(key)) {
    field->value.len--;
    code = oc_buf_append(&field->value, value.text + 1, value.len - 1);
    /* its quote is still there */
    if(code)
      field->value.len++;
    return code;
  }
  return replace(&field->value, value);
}

oc_code oc_fields_finish(oc_fields *fields) {
  oc_code code = OC_OK;
  size_t i;
  for(i = 0; !code && i < fields->count; i++) {
    code = oc_text_make_valid(&fields->items[i].key);
    if(!code)
      code = oc_text_make_valid(&fields->items[i].value);
  }
  return code;
}

oc_code oc_fields_write(const oc_fields *fields, oc_buf *out) {
  oc_code code = OC_OK;
  size_t i;
  for(i = 0; !code && i < fields->count; i++) {
    const oc_field *field = &fields->items[i];
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
