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

oc_code oc_fields_keep(oc_fields *fields, oc_slice key, oc_slice value,
                       size_t max) {
  oc_field *field = oc_fields_find(fields, key);
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
