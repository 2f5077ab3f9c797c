/*
 * oc_message: one immutable, reference-counted message.
 *
 * A message is its JSON text, written once. Histories, forks and requests
 * in flight share it; nobody changes it. The count is not atomic: messages
 * never leave the Lua state (and so the thread) that made them.
 *
 * What it is likely to cost is estimated when somebody asks: most programs
 * never do, and of a long answer that is a good part of the work.
 */
#ifndef OC_MESSAGE_H
#define OC_MESSAGE_H

#include <stddef.h>

#include "oc_buf.h"
#include "oc_error.h"
#include "oc_json.h"

/* X(symbol, name on the wire) */
#define OC_ROLE_MAP(X)        \
  X(SYSTEM, "system")         \
  X(DEVELOPER, "developer")   \
  X(USER, "user")             \
  X(ASSISTANT, "assistant")   \
  X(TOOL, "tool")

typedef enum oc_role {
#define X(symbol, name) OC_ROLE_##symbol,
  OC_ROLE_MAP(X)
#undef X
  OC_ROLE_COUNT
} oc_role;

/* Most tool calls one assistant message may hold. */
#define OC_MAX_CALLS 1024

/*
 * What a message is to policies. Never sent, but saved.
 * X(symbol, bit, name in Lua and in files)
 */
#define OC_FLAG_MAP(X)                                                  \
  X(PINNED, 1, "pinned")      /* stays, with its turn */                \
  X(SUMMARY, 2, "summary")    /* stands for what a policy has taken */  \
  X(FACTS, 4, "facts")        /* what a policy has learned */

enum {
#define X(symbol, bit, name) OC_FLAG_##symbol = bit,
  OC_FLAG_MAP(X)
#undef X
  OC_FLAG_ALL = 7
};

/* public, read only but for `mark`; see also oc_message_tokens() */
typedef struct oc_message {
  unsigned refs;
  unsigned tokens;            /* private */
  unsigned counter;           /* who has counted them, 0: the core */
  unsigned char role;         /* oc_role */
  unsigned char has_calls;    /* assistant: a non-empty tool_calls list */
  unsigned char flags;        /* OC_FLAG_... */
  unsigned char mark;         /* scratch of whoever walks over lists */
  unsigned char is_measured;  /* private: the core has counted them */
  unsigned char has_media;    /* private */
  size_t len;                 /* bytes of json */
  char json[];                /* not NUL-terminated */
} oc_message;

const char *oc_role_name(oc_role role);
/* OC_ROLE_COUNT: no such role. */
oc_role oc_role_parse(const char *name, size_t len);

/*
 * A message with plain text content. The caller owns the one reference.
 * OC_E_UTF8 (`*where`: offset of the first bad byte), OC_E_NOMEM.
 */
oc_code oc_message_text(oc_message **out, oc_role role, const char *text,
                        size_t len, size_t *where);
/*
 * A message from its JSON text, kept byte for byte (an assistant message
 * with tool calls and no content gets "content":null, which the API
 * requires). Checked: strict JSON in UTF-8, a known role, content, an id
 * of its own for each tool call, tool_call_id on a result. `*where` is the
 * offset of a JSON error.
 */
oc_code oc_message_json(oc_message **out, const char *json, size_t len,
                        size_t *where);

/*
 * The same for a text that is too large to be copied: it is written into a
 * buffer that becomes the message.
 *
 * oc_message_begin() makes an empty `buf` one for `len` bytes of text, in one
 * allocation; more cannot be appended. oc_message_end() turns it into the
 * message and leaves it empty; on an error the caller frees it.
 */
oc_code oc_message_begin(oc_buf *buf, size_t len);
oc_code oc_message_end(oc_message **out, oc_buf *buf, size_t *where);

/*
 * The same for an assistant message whose text the core itself writes, which
 * is not checked: oc_message_room() makes room in an empty `buf` for about
 * `len` bytes, and more may be appended.
 */
oc_code oc_message_room(oc_buf *buf, size_t len);
oc_message *oc_message_own(oc_buf *buf, int has_calls);

/* A copy with other flags. OC_E_NOMEM. */
oc_code oc_message_flag(oc_message **out, const oc_message *message,
                        unsigned flags);
/* The flag of a name, 0: none. */
unsigned oc_flag_parse(const char *name, size_t len);

/* Its tokens, estimated, with what a message costs. */
unsigned oc_message_tokens(oc_message *message);
/* Whether it has parts that are no text. */
int oc_message_has_media(oc_message *message);
/* Another count. `counter`: who says so; 0: the core's own, whatever
   `tokens` is. */
void oc_message_set_tokens(oc_message *message, unsigned tokens,
                           unsigned counter);

oc_message *oc_message_ref(oc_message *message);
void oc_message_unref(oc_message *message);

/* The raw (still escaped) tool_call_id of a tool message. */
oc_slice oc_message_result_id(const oc_message *message);

/* Walks over the ids of an assistant message's tool calls. */
typedef struct oc_calls {
  oc_json reader;
  int done;
} oc_calls;

void oc_calls_begin(oc_calls *calls, const oc_message *message);
/* 1: `*id` is the next call's raw (still escaped) id; 0: no more. */
int oc_calls_next(oc_calls *calls, oc_slice *id);

/* Whether two raw JSON strings are the same text, escapes decoded. */
int oc_raw_equal(oc_slice a, oc_slice b);

#endif
