#include "oc_sse.h"

#include <string.h>

static const char bom[] = "\xEF\xBB\xBF";

#define BOM_OVER 3

void oc_sse_init(oc_sse *sse, size_t max_event) {
  memset(sse, 0, sizeof *sse);
  oc_buf_init(&sse->line, max_event);
  oc_buf_init(&sse->type, max_event);
  oc_buf_init(&sse->joined, max_event);
}

void oc_sse_free(oc_sse *sse) {
  oc_buf_free(&sse->line);
  oc_buf_free(&sse->type);
  oc_buf_free(&sse->joined);
}

/* First `byte` in the text, or its end. */
static const char *find(const char *at, const char *end, char byte) {
  const char *found = at < end ? memchr(at, byte, (size_t)(end - at)) : NULL;
  return found ? found : end;
}

void oc_sse_feed(oc_sse *sse, const char *bytes, size_t len) {
  if(!len)
    bytes = "";
  sse->at = bytes;
  sse->end = bytes + len;
  sse->lf = NULL;
}

static int fail(oc_sse *sse, oc_code code) {
  sse->error = code == OC_E_TOO_LARGE ? OC_E_EVENT_TOO_LARGE : code;
  return -1;
}

/* Forgets the event that was delivered or had no data. */
static void reset_event(oc_sse *sse) {
  oc_buf_clear(&sse->type);
  oc_buf_clear(&sse->joined);
  sse->data.text = NULL;
  sse->data.len = 0;
  sse->has_data = 0;
  sse->is_joined = 0;
  sse->delivered = 0;
}

/* Copies the data that was borrowed so far. */
static oc_code own_data(oc_sse *sse) {
  if(!sse->has_data || sse->is_joined)
    return OC_OK;
  sse->is_joined = 1;
  return oc_buf_append(&sse->joined, sse->data.text, sse->data.len);
}

/* `stays`: the text lives until the feed is used up. */
static oc_code add_data(oc_sse *sse, const char *text, size_t len,
                        int stays) {
  oc_code code;

  if(!sse->has_data) {
    sse->has_data = 1;
    sse->data.text = text;
    sse->data.len = len;
    return stays ? OC_OK : own_data(sse);
  }
  code = own_data(sse);
  if(!code)
    code = oc_buf_putc(&sse->joined, '\n');
  if(!code)
    code = oc_buf_append(&sse->joined, text, len);
  return code;
}

/* Whether the line is that field; then `text` becomes its value. */
static int is_field(const char **text, size_t *len, const char *name,
                    size_t name_len) {
  const char *value;
  size_t left;

  if(*len < name_len || memcmp(*text, name, name_len))
    return 0;
  value = *text + name_len;
  left = *len - name_len;
  if(left) {
    if(*value != ':')
      return 0;
    value++;
    left--;
    if(left && *value == ' ') {
      value++;
      left--;
    }
  }
  *text = value;
  *len = left;
  return 1;
}

/* A line that is not blank, without its end. */
static oc_code use_line(oc_sse *sse, const char *text, size_t len,
                        int stays) {
  if(len > sse->line.max)
    return OC_E_EVENT_TOO_LARGE;
  if(is_field(&text, &len, "data", 4))
    return add_data(sse, text, len, stays);
  if(*text == ':')
    sse->comments++;
  else if(is_field(&text, &len, "event", 5)) {
    oc_buf_clear(&sse->type);
    return oc_buf_append(&sse->type, text, len);
  }
  return OC_OK;         /* id, retry, and what is not for us */
}

/* A blank line: 1 when it completes an event. */
static int dispatch(oc_sse *sse, oc_sse_event *event) {
  if(!sse->has_data) {
    reset_event(sse);
    return 0;
  }
  if(sse->is_joined) {
    sse->data.text = sse->joined.data;
    sse->data.len = sse->joined.len;
  }
  if(!sse->data.len)
    sse->data.text = "";
  event->data = sse->data;
  event->type.text = sse->type.len ? sse->type.data : "";
  event->type.len = sse->type.len;
  sse->delivered = 1;
  return 1;
}

/*
 * Swallows a BOM at the very start. Bytes that only began like one are the
 * beginning of the first line.
 */
static oc_code skip_bom(oc_sse *sse) {
  while(sse->bom < BOM_OVER && sse->at < sse->end) {
    if(*sse->at != bom[sse->bom]) {
      oc_code code = oc_buf_append(&sse->line, bom, sse->bom);
      sse->bom = BOM_OVER;
      return code;
    }
    sse->at++;
    sse->bom++;
  }
  return OC_OK;
}

/* The feed is used up: keeps what the next one goes on with. */
static int keep_rest(oc_sse *sse) {
  oc_code code = oc_buf_append(&sse->line, sse->at,
                               (size_t)(sse->end - sse->at));
  sse->at = sse->end;
  if(!code)
    code = own_data(sse);
  return code ? fail(sse, code) : 0;
}

int oc_sse_next(oc_sse *sse, oc_sse_event *event) {
  oc_code code = OC_OK;

  if(sse->error)
    return -1;
  if(sse->delivered)
    reset_event(sse);
  if(sse->bom < BOM_OVER)
    code = skip_bom(sse);

  while(!code && sse->at < sse->end) {
    const char *text = sse->at;
    const char *stop;
    size_t len;
    int stays = 1;

    if(sse->after_cr) {
      sse->after_cr = 0;
      if(*text == '\n') {
        sse->at++;
        continue;
      }
    }
    if(*text == '\n')
      stop = text;
    else {
      /* not anew for each line of those that end with CR alone */
      if(!sse->lf || sse->lf < text)
        sse->lf = find(text, sse->end, '\n');
      stop = find(text, sse->lf, '\r');
      if(stop == sse->end)
        break;
    }
    sse->after_cr = *stop == '\r';
    sse->at = stop + 1;

    len = (size_t)(stop - text);
    if(sse->line.len) {
      code = oc_buf_append(&sse->line, text, len);
      if(code)
        break;
      text = sse->line.data;
      len = sse->line.len;
      stays = 0;
    }
    if(!len) {
      if(dispatch(sse, event))
        return 1;
      continue;
    }
    code = use_line(sse, text, len, stays);
    oc_buf_clear(&sse->line);
  }
  return code ? fail(sse, code) : keep_rest(sse);
}

const char *oc_sse_rest(const oc_sse *sse, size_t *len) {
  if(sse->error || sse->line.len || sse->after_cr || sse->bom < BOM_OVER
     || (!sse->delivered && (sse->has_data || sse->type.len)))
    return NULL;
  *len = (size_t)(sse->end - sse->at);
  if(*len > sse->line.max)
    *len = sse->line.max;
  return sse->at;
}

void oc_sse_skip(oc_sse *sse, size_t len) {
  sse->at += len;
}

int oc_sse_finish(oc_sse *sse, oc_sse_event *event) {
  oc_code code = OC_OK;
  int got = oc_sse_next(sse, event);

  if(got)
    return got;
  if(sse->line.len) {
    code = use_line(sse, sse->line.data, sse->line.len, 0);
    oc_buf_clear(&sse->line);
  }
  return code ? fail(sse, code) : dispatch(sse, event);
}
