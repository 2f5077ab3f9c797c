/*
 * oc_fields: fields of an answer that nobody here knows.
 *
 * They are kept as raw JSON and go back to the server with the message:
 * some servers insist on it.
 */
#ifndef OC_FIELDS_H
#define OC_FIELDS_H

#include <stddef.h>

#include "oc_buf.h"
#include "oc_error.h"
#include "oc_json.h"

/* Most unknown fields that one message or call may have. */
#define OC_MAX_FIELDS 256

/* A field that is kept as it came: the raw key, the value's exact text. */
typedef struct oc_field {
  oc_buf key;
  oc_buf value;
} oc_field;

/* All zero: no fields. */
typedef struct oc_fields {
  oc_field *items;
  size_t count;
} oc_fields;

void oc_fields_free(oc_fields *fields);
/* NULL: no such field. The key is raw, its escapes do not matter. */
oc_field *oc_fields_find(const oc_fields *fields, oc_slice key);
/*
 * Keeps a field. A second value of the same key replaces the first one,
 * unless it is empty, but a list goes on with the new elements, since
 * streams send lists in pieces. `joins`: texts and objects are sent in
 * pieces, too, so texts are put together and objects merged. `max`: most
 * bytes of a value. OC_E_TOO_LARGE, OC_E_NOMEM: nothing has changed.
 */
oc_code oc_fields_keep(oc_fields *fields, oc_slice key, oc_slice value,
                       size_t max, int joins);
/* No more fields: bytes that are not UTF-8 become U+FFFD. */
oc_code oc_fields_finish(oc_fields *fields);
/* Appends `,"key":value` for each field. */
oc_code oc_fields_write(const oc_fields *fields, oc_buf *out);

#endif
