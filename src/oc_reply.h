/*
 * oc_reply: what the model answered, put together from one whole response
 * or from the chunks of a stream.
 *
 * Both take the same road: a whole message is one large delta. Anything
 * may be null, missing or doubled, as servers do it; what is not known is
 * kept as raw JSON and goes back to the server with the message.
 */
#ifndef OC_REPLY_H
#define OC_REPLY_H

#include <stddef.h>

#include "oc_buf.h"
#include "oc_call.h"
#include "oc_error.h"
#include "oc_fields.h"
#include "oc_json.h"
#include "oc_like.h"
#include "oc_message.h"
#include "oc_text.h"

/* Token counts and cost in US dollars; below 0: the server did not say. */
typedef struct oc_usage {
  double prompt_tokens;
  double completion_tokens;
  double total_tokens;
  double cached_tokens;
  double reasoning_tokens;
  double cost;
} oc_usage;

/* What a chunk that looks like the one before it adds to. */
typedef enum oc_target {
  OC_TARGET_CONTENT,
  OC_TARGET_REASONING,
  OC_TARGET_ARGUMENTS
} oc_target;

typedef struct oc_reply {
  /* public, read only */
  oc_text content;
  oc_text reasoning;
  oc_text refusal;
  oc_buf finish_reason;
  oc_buf id;
  oc_buf model;
  oc_call_list calls;
  oc_usage usage;
  int has_content;        /* the content was a text, maybe an empty one */
  int has_usage;
  int has_choice;         /* at least one choice was there */
  int is_done;            /* "[DONE]" or a finish reason and an end */
  /* private */
  oc_buf usage_raw;       /* the usage object as the server wrote it */
  oc_fields extra;        /* unknown fields of the message */
  oc_buf reasoning_key;   /* under which name reasoning came */
  size_t max;             /* maximum of each buffer */
  /* the last chunk, when all it did was to add one string to one text:
     the next one is most often the same bytes around another string */
  oc_like like;
  oc_target like_target;
  oc_effects effects;     /* of the last chunk that was read as a whole */
} oc_reply;

/* `max`: most bytes any one of the texts may grow to. */
void oc_reply_init(oc_reply *reply, size_t max);
/* Frees all; the reply is empty and usable again. */
void oc_reply_free(oc_reply *reply);

/*
 * Reads a complete response body. OC_OK, or an error of which `error` has
 * the details: not JSON, an error object, no choices, no message.
 */
oc_code oc_reply_whole(oc_reply *reply, const char *json, size_t len,
                       oc_error *error);
/* Reads the data of one event of a stream; "[DONE]" sets is_done. */
oc_code oc_reply_chunk(oc_reply *reply, const char *data, size_t len,
                       oc_error *error);
/*
 * The same for an event that begins with these bytes, when its chunk is like
 * the last one. `used`: its length; 0: it is not known to be like it.
 */
oc_code oc_reply_like(oc_reply *reply, const char *bytes, size_t len,
                      size_t *used, oc_error *error);
/*
 * To be called once at the end of a stream or after oc_reply_whole():
 * completes half characters, gives every call an id of its own.
 */
oc_code oc_reply_finish(oc_reply *reply);

/* Bytes of all texts and arguments. */
size_t oc_reply_size(const oc_reply *reply);
/* Whether any text, reasoning or call has arrived. */
int oc_reply_has_output(const oc_reply *reply);

/*
 * The assistant message to keep; caller owns the one reference. With
 * `is_partial` only its text: calls that were cut short cannot be answered.
 */
oc_code oc_reply_message(const oc_reply *reply, int is_partial,
                         oc_message **out);
/* The reply as one chat.completion object, appended to `out`. */
oc_code oc_reply_raw(const oc_reply *reply, oc_buf *out);

#endif
