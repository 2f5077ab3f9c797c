/*
 * lrequest_private: what the three files of lrequest share. Nobody else looks
 * inside.
 *
 * lrequest.c makes requests, sends and ends them; lrequest_deliver.c tells
 * handlers what has arrived; lrequest_settle.c commits the turn of one that
 * has ended.
 */
#ifndef LREQUEST_PRIVATE_H
#define LREQUEST_PRIVATE_H

#include "lrequest.h"
#include "oc_exchange.h"
#include "oc_history.h"

/* Bytes of one call that handlers have been told. */
struct told_call {
  size_t id;
  size_t name;
  size_t arguments;
};

/* The same of all texts and calls. */
struct told {
  size_t reasoning;
  size_t content;
  size_t refusal;
  struct told_call *calls;
  size_t call_count;
};

typedef struct lrequest {
  oc_exchange *exchange;    /* NULL: not made yet */
  oc_history base;          /* the conversation's list when it was made */
  oc_history history;       /* the same with the prompt */
  int is_counted;           /* its estimate is known: */
  size_t sent_tokens;
  int keep_partial;         /* an answer cut short is kept as well */
  int is_settled;
  int is_cancelled;         /* by the program: it wants no more deltas */
  int is_abandoned;         /* nobody waits: nothing is to be committed */
  struct told told;         /* how much of the reply handlers have seen */
  size_t taken;             /* and how much of the content was asked for */
  int told_retries;         /* so many of them on_retry was told */
  int is_read;              /* by a loop that asks for its text */
  int has_handlers;         /* which are told what arrives */
} lrequest;

/*
 * Counts what is sent. Most programs never ask, so a list of which much has
 * not been counted is left alone; see tokens.lua.
 */
void lrequest_count_sent(lrequest *request);
/* Adds the functions that tell what has arrived to the table on top. */
void lrequest_register_deliver(lua_State *L);

#endif
