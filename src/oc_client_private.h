/*
 * oc_client_private: what the three files of oc_client share. Nobody else
 * looks inside.
 *
 * oc_client.c opens and closes, and knows who is under way; oc_client_gate.c
 * lets those in that begin together; oc_client_step.c moves them forward.
 */
#ifndef OC_CLIENT_PRIVATE_H
#define OC_CLIENT_PRIVATE_H

#include "oc_client.h"
#include "oc_poller.h"

/* Idle easy handles kept for the next exchange. */
#define MAX_SPARE 32
/*
 * So many requests share a connection, or as few as the server allows. The
 * same as libcurl's default, and what servers are asked to allow at least (RFC
 * 9113). Not more: libcurl looks at each of them when one has news.
 */
#define OC_STREAMS_EACH 100
/* Sockets asked for at a time. */
#define MAX_READY 128

/* Whether requests to the client's server share connections. */
typedef enum oc_sharing {
  OC_SHARING_NEVER,           /* no TLS, or no HTTP/2 wanted */
  OC_SHARING_UNKNOWN,         /* there was no connection yet */
  OC_SHARING_YES,             /* or there is one, and no answer yet */
  OC_SHARING_NO               /* the server speaks HTTP/1 */
} oc_sharing;

typedef struct oc_queue {
  oc_exchange *first;
  oc_exchange *last;
  size_t count;
} oc_queue;

/* See oc_client_gate.c. */
typedef struct oc_gate {
  oc_sharing sharing;
  oc_queue leaders;           /* under way, each to open a connection */
  oc_queue held;              /* those that wait for these connections */
  int64_t patience_us;        /* when more of them go ahead */
  int lets_in;                /* all of them do: the first one has failed */
  size_t ready;               /* connections for any number of requests */
  size_t sockets;             /* that are open */
  size_t streams_each;        /* requests that a connection has room for */
  unsigned opened;            /* sockets, ever */
  unsigned closed;
} oc_gate;

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
  long max_connections;       /* 0: no limit */
  oc_gate gate;
  oc_recorder *recorder;      /* NULL: nothing is recorded */
  oc_player *player;          /* NULL: requests go to the server */
};

/* {==== oc_client.c ==== */

/* Takes an exchange on the list of those that have not ended, or off it. */
void oc_client_enlist(oc_client *client, oc_exchange *exchange);
void oc_client_unlist(oc_client *client, oc_exchange *exchange);
/* Puts the transfer into libcurl's hands. */
CURLMcode oc_client_launch(oc_client *client, oc_exchange *exchange,
                           CURL *easy);

/* }==== */

/* {==== oc_client_gate.c ==== */

/* `shares`: it offers HTTP/2 with TLS. */
void oc_gate_init(oc_gate *gate, int shares);
/* Launches the transfer, or holds it back until its turn comes. */
CURLMcode oc_gate_enter(oc_client *client, oc_exchange *exchange, CURL *easy,
                        int64_t connect_ms);
/* The exchange needs no connection any more. 1: it was still held back. */
int oc_gate_leave(oc_client *client, oc_exchange *exchange);
/* The transfer of an exchange has ended. */
void oc_gate_note_end(oc_client *client, oc_exchange *exchange);
void oc_gate_note_open(oc_gate *gate);
void oc_gate_note_close(oc_gate *gate);
/* Launches those whose turn has come: one in any case, and no more when the
   time is up. */
void oc_gate_serve(oc_client *client, int64_t until_us);
/* When oc_gate_serve() has something to do; 0: now, OC_NEVER: not by
   itself. */
int64_t oc_gate_deadline(const oc_client *client);

/* }==== */

/* {==== oc_client_step.c ==== */

/* Lets libcurl act on its timers. */
void oc_client_run_timers(oc_client *client);

/* }==== */

#endif
