/*
 * Histories. The input is a program for four lists, in letters and digits:
 *
 *   aLM       append message M, a letter, to list L, a digit
 *   sLARNM... splice: at A remove R, put N messages there
 *   fLK       list K becomes a fork of L
 *   pLBE      patch L with what made E out of B
 *   tLKAN     take N messages of list K from A on
 *   cLN       cut where the last N turns begin
 *   gLI       flag message I
 *   jLKE      the line of a journal that makes K out of L, by way of E
 *   bLN       read the body in pieces of N
 *
 * Whatever is done, each list stays valid to send, and what fails changes
 * nothing.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "../../src/oc_body.h"
#include "../../src/oc_events.h"

#define LISTS 4

/* Escapes in ids: the same id in another spelling. */
static const char *const texts[] = {
  "{\"role\":\"user\",\"content\":\"u\"}",
  "{\"role\":\"assistant\",\"content\":\"a\"}",
  "{\"role\":\"system\",\"content\":\"s\"}",
  "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"x\"}]}",
  "{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":\"x\"},"
    "{\"id\":\"y\\u0061\"}]}",
  "{\"role\":\"tool\",\"tool_call_id\":\"x\",\"content\":\"1\"}",
  "{\"role\":\"tool\",\"tool_call_id\":\"\\u0078\",\"content\":\"2\"}",
  "{\"role\":\"tool\",\"tool_call_id\":\"ya\",\"content\":\"3\"}",
  "{\"role\":\"tool\",\"tool_call_id\":\"\\u0079\\u0061\",\"content\":\"4\"}",
  "{\"role\":\"developer\",\"content\":[{\"type\":\"text\",\"text\":\"d\"}]}",
  "{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":"
    "{\"url\":\"http://x/\"}}],\"name\":\"n\"}"
};

#define TEXTS (sizeof texts / sizeof *texts)

/* The input being read. */
typedef struct program {
  const uint8_t *at;
  const uint8_t *end;
} program;

static unsigned next(program *p) {
  unsigned byte = p->at < p->end ? *p->at++ : 0;
  if(byte >= '0' && byte <= '9')
    return byte - '0';
  return byte >= 'a' ? byte - 'a' : byte;
}

static oc_message *make(unsigned which) {
  oc_message *message = NULL;
  const char *text = texts[which % TEXTS];
  oc_code code = oc_message_json(&message, text, strlen(text), NULL);
  MUST(!code || (code == OC_E_NOMEM && fuzz_is_starved()));
  return code ? NULL : message;
}

/* A list as it was before something that may fail. */
typedef struct memory {
  oc_history list;
} memory;

static void remember(memory *m, const oc_history *list) {
  oc_history_fork(list, &m->list);
}

static void check(memory *m, const oc_history *list, oc_code code) {
  if(code)
    MUST(list->count == m->list.count && fuzz_same_list(list, &m->list));
  MUST(code != OC_E_NOMEM || fuzz_is_starved());
  fuzz_check_list(list);
  oc_history_free(&m->list);
}

static oc_code splice(program *p, oc_history *list) {
  oc_message *messages[4] = { NULL, NULL, NULL, NULL };
  oc_flaw flaw;
  size_t at = next(p);
  size_t removed = next(p);
  size_t count = next(p) % 5;
  size_t i;
  oc_code code = OC_OK;
  for(i = 0; i < count; i++) {
    messages[i] = make(next(p));
    if(!messages[i])
      code = OC_E_NOMEM;
  }
  if(!code)
    code = oc_history_splice(list, at, removed, messages, count, &flaw);
  for(i = 0; i < 4; i++)
    oc_message_unref(messages[i]);
  return code;
}

static oc_code take(program *p, oc_history *list, const oc_history *from) {
  size_t at = next(p);
  size_t count = next(p);
  oc_flaw flaw;
  oc_history work;
  oc_code code;
  if(at > from->count)
    at = from->count;
  if(count > from->count - at)
    count = from->count - at;
  oc_history_fork(list, &work);
  code = oc_history_take(&work, from, at, count, &flaw);
  fuzz_check_list(&work);
  if(code)
    oc_history_free(&work);
  else
    oc_history_adopt(list, &work);
  return code;
}

static oc_code flag(program *p, oc_history *list) {
  unsigned which = next(p);
  const oc_message *old;
  oc_message *message;
  oc_code code;
  if(!list->count)
    return OC_OK;
  old = oc_history_at(list, which % list->count);
  code = oc_message_flag(&message, old, old->flags ^ (1u << which % 3));
  if(!code) {
    code = oc_history_replace(list, which % list->count, message);
    oc_message_unref(message);
  }
  return code;
}

/* What is written of a change makes the same change. */
static void journal(const oc_history *before, const oc_history *edited,
                    const oc_history *after) {
  oc_history list;
  oc_event event;
  oc_buf line;
  char problem[OC_PROBLEM_MAX];
  oc_code code;

  oc_history_fork(before, &list);
  oc_buf_init(&line, (size_t)1 << 24);
  code = oc_event_write(&line, before, edited, after, "", 0);
  MUST_IF_FED(!code);
  if(code)
    MUST(!line.len);
  else if(line.len) {
    MUST(line.data[line.len - 1] == '\n');
    code = oc_event_apply(&list, line.data, line.len - 1, &event, problem);
    MUST_IF_FED(!code);
    MUST(code || fuzz_same_list(&list, after));
  }
  else
    MUST(fuzz_same_list(&list, after));
  oc_history_free(&list);
  oc_buf_free(&line);
}

static void read_body(const oc_history *list, unsigned step) {
  oc_body body;
  oc_buf whole;
  char piece[64];
  size_t at = 0;
  size_t len;

  oc_buf_init(&whole, (size_t)1 << 24);
  if(oc_body_init(&body, "\"model\":\"m\"", 11, list)) {
    oc_body_free(&body);
    return;
  }
  if(!oc_body_print(&body, &whole)) {
    MUST(whole.len == body.size && fuzz_is_json(whole.data, whole.len));
    while((len = oc_body_read(&body, piece, step % sizeof piece + 1)) > 0) {
      MUST(at + len <= whole.len && !memcmp(whole.data + at, piece, len));
      at += len;
    }
    MUST(at == whole.len);
    at = whole.len * step / 100 % (whole.len + 1);
    oc_body_seek(&body, at);
    len = oc_body_read(&body, piece, sizeof piece);
    MUST(at + len <= whole.len && !memcmp(whole.data + at, piece, len));
  }
  oc_buf_free(&whole);
  oc_body_free(&body);
}

static oc_code append(program *p, oc_history *list) {
  oc_message *message = make(next(p));
  oc_flaw flaw;
  oc_code code;
  if(!message)
    return OC_E_NOMEM;
  code = oc_history_append(list, message, &flaw);
  oc_message_unref(message);
  return code;
}

/* Cuts where a turn begins, as callers have to. */
static void cut(program *p, oc_history *list) {
  size_t found;
  oc_history_cut(list, oc_history_turn(list, next(p) % 4, &found));
}

static void step(program *p, oc_history *lists) {
  unsigned what = *p->at++;
  oc_history *list = &lists[next(p) % LISTS];
  oc_history *other = strchr("fptj", (int)what) ? &lists[next(p) % LISTS]
                                                : NULL;
  oc_flaw flaw;
  memory m;
  oc_code code = OC_OK;

  remember(&m, list);
  switch(what) {
  case 'a':
    code = append(p, list);
    break;
  case 's':
    code = splice(p, list);
    break;
  case 'f':
    if(list != other) {
      oc_history_free(other);
      oc_history_fork(list, other);
    }
    break;
  case 'p':
    code = oc_history_patch(list, other, &lists[next(p) % LISTS], &flaw);
    break;
  case 't':
    code = take(p, list, other);
    break;
  case 'c':
    cut(p, list);
    break;
  case 'g':
    code = flag(p, list);
    break;
  case 'j':
    journal(list, &lists[next(p) % LISTS], other);
    journal(list, NULL, other);
    break;
  case 'b':
    read_body(list, next(p));
    break;
  default:
    break;
  }
  check(&m, list, code);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  oc_history lists[LISTS];
  program p;
  int steps = 64;
  int i;

  p.at = data;
  p.end = data + size;
  for(i = 0; i < LISTS; i++)
    oc_history_init(&lists[i]);
  while(p.at < p.end && steps--) {
    oc_slice id;
    step(&p, lists);
    for(i = 0; i < LISTS; i++) {
      oc_history_open_call(&lists[i], &id);
      MUST(oc_history_head(&lists[i]) <= lists[i].count);
    }
  }
  for(i = 0; i < LISTS; i++)
    fuzz_check_list(&lists[i]);
  for(i = 0; i < LISTS; i++)
    oc_history_free(&lists[i]);
  return 0;
}
