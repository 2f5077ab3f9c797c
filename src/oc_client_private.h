/*
 * oc_client_private: what the two files of oc_client share. Nobody else looks
 * inside.
 *
 * oc_client.c opens and closes, and knows who is under way; oc_client_step.c
 * moves them forward.
 */
#ifndef OC_CLIENT_PRIVATE_H
#define OC_CLIENT_PRIVATE_H

#include "oc_client.h"
#include "oc_poller.h"

/* Idle easy handles kept for the next exchange. */
#define MAX_SPARE 32
/* Sockets asked for at a time. */
#define MAX_READY 128

struct oc_client {
  unsigned refs;
  CURLM *multi;               /* NULL: closed */
  oc_poller *poller;
  CURL *spare[MAX_SPARE];
  size_t spare_count;
  long spread;                /* see spread_timer() */
  oc_exchange *first;         /* those that have not ended */
  size_t active;
  size_t waiting;             /* so many of them are not under way */
  int running;                /* libcurl's count after its last action */
  int is_broken;              /* an action of libcurl's has failed */
  int finished;               /* messages of libcurl's left to be read */
  oc_exchange *news_first;    /* queue; each holds a reference */
  oc_exchange *news_last;
  int64_t now_us;
  int64_t curl_deadline_us;   /* when libcurl wants to be called */
  int64_t next_deadline_us;   /* no exchange's deadline is before this */
  oc_exchange *due_from;      /* where the look for those due goes on, NULL:
                                 it is over */
  /* a sweep serves every socket that is ready, in one or in several steps */
  oc_ready ready[MAX_READY];
  int ready_count;
  int ready_at;               /* the first that was not served yet */
  int looks;                  /* of this sweep; 0: it is over */
  int is_last_look;
  int may_have_more;          /* a socket may be ready again at once */
  size_t received;            /* by the action under way */
  int64_t until_us;           /* end of the step under way, OC_NEVER: none */
  int64_t sweep_us;           /* when this sweep began */
  int64_t heard_us;           /* all that had come by then was read */
  int has_tls;                /* SIGPIPE must be held back */
  int is_disposed;            /* its owner is gone */
  char *base_url;
  struct curl_slist key_header;   /* data is NULL without a key */
  oc_setup *setups;           /* whose headers have to be wiped */
  char *texts[OC_TEXT_COUNT];
  int trusts_only;
  int skip_verify;
  int http2;
  oc_recorder *recorder;      /* NULL: nothing is recorded */
  oc_player *player;          /* NULL: requests go to the server */
};

/* Lets libcurl act on its timers. */
void oc_client_run_timers(oc_client *client);

#endif
