#include "oc_body.h"

#include <stdint.h>
#include <string.h>

#define TAIL "]}"

/* How many messages ahead memory is asked for. */
#define AHEAD 4
#if defined(__GNUC__)
#define PREFETCH(address) __builtin_prefetch(address)
#else
#define PREFETCH(address) ((void)(address))
#endif

oc_code oc_body_init(oc_body *body, const char *options, size_t len,
                     const oc_history *list) {
  oc_code code;

  memset(body, 0, sizeof *body);
  oc_buf_init(&body->head, SIZE_MAX / 2);
  code = oc_buf_putc(&body->head, '{');
  if(!code)
    code = oc_buf_append(&body->head, options, len);
  if(!code && len)
    code = oc_buf_putc(&body->head, ',');
  if(!code)
    code = oc_buf_puts(&body->head, "\"messages\":[");
  if(code) {
    oc_buf_free(&body->head);
    return code;
  }
  oc_history_fork(list, &body->list);
  body->size = body->head.len + list->bytes
               + (list->count ? list->count - 1 : 0) + strlen(TAIL);
  return OC_OK;
}

void oc_body_free(oc_body *body) {
  oc_buf_free(&body->head);
  oc_history_free(&body->list);
  body->size = 0;
}

/*
 * The bytes of one piece. The comma between two messages stands in front
 * of each message but the first; it is handed out as `comma`.
 */
static oc_slice get_piece(const oc_body *body, size_t piece, size_t *comma) {
  oc_slice text;
  *comma = piece > 1 && piece <= body->list.count;
  if(piece == 0) {
    text.text = body->head.data;
    text.len = body->head.len;
  }
  else if(piece <= body->list.count) {
    const oc_message *message = oc_history_at(&body->list, piece - 1);
    text.text = message->json;
    text.len = message->len;
  }
  else {
    text.text = TAIL;
    text.len = strlen(TAIL);
  }
  return text;
}

/*
 * Copies whole messages as long as they fit, which is nearly all of the
 * work of a long history. They lie scattered in memory, so the next ones
 * are called for while this one is copied.
 */
static size_t read_messages(oc_body *body, char *to, size_t max) {
  const oc_history *list = &body->list;
  size_t index = body->piece - 1;
  size_t done = 0;

  for(; index < list->count; index++) {
    const oc_message *message = oc_history_at(list, index);
    if(message->len >= max - done)
      break;
    if(index + AHEAD < list->count)
      PREFETCH(oc_history_at(list, index + AHEAD));
    if(index)
      to[done++] = ',';
    memcpy(to + done, message->json, message->len);
    done += message->len;
  }
  body->piece = index + 1;
  return done;
}

size_t oc_body_read(oc_body *body, char *to, size_t max) {
  size_t done = 0;
  size_t last = body->list.count + 1;

  while(done < max && body->piece <= last) {
    size_t comma;
    size_t len;
    oc_slice text;
    if(body->piece && !body->offset)
      done += read_messages(body, to + done, max - done);
    text = get_piece(body, body->piece, &comma);
    if(done == max)
      break;
    if(comma && body->offset == 0) {
      to[done++] = ',';
      body->offset = 1;
      continue;
    }
    len = text.len - (body->offset - comma);
    if(len > max - done)
      len = max - done;
    memcpy(to + done, text.text + (body->offset - comma), len);
    done += len;
    body->offset += len;
    if(body->offset - comma == text.len) {
      body->piece++;
      body->offset = 0;
    }
  }
  return done;
}

void oc_body_seek(oc_body *body, size_t offset) {
  size_t last = body->list.count + 1;
  body->piece = 0;
  body->offset = 0;
  while(body->piece <= last) {
    size_t comma;
    oc_slice text = get_piece(body, body->piece, &comma);
    if(offset < text.len + comma) {
      body->offset = offset;
      return;
    }
    offset -= text.len + comma;
    body->piece++;
  }
}

oc_code oc_body_print(const oc_body *body, oc_buf *out) {
  oc_body copy = *body;
  oc_code code = oc_buf_reserve(out, body->size);
  if(code)
    return code;
  /* a view of the same pieces; only its position is its own */
  copy.piece = 0;
  copy.offset = 0;
  out->len += oc_body_read(&copy, out->data + out->len, body->size);
  return OC_OK;
}
