/*
 * oc_client: the connections many exchanges share.
 *
 * Owns the libcurl multi handle, the poller behind it, the deadlines and
 * the queue of exchanges with news. Nothing here blocks but
 * oc_client_step(), and that only as long as it is told to. No function may
 * be called from within a libcurl callback.
 */
#ifndef OC_CLIENT_H
#define OC_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include <curl/curl.h>

#include "oc_error.h"
#include "oc_player.h"
#include "oc_recorder.h"

typedef struct oc_client oc_client;
typedef struct oc_exchange oc_exchange;

typedef struct oc_setup oc_setup;

/*
 * Texts that libcurl is given as they are, by names of our options:
 * X(symbol, name, libcurl's option)
 */
#define OC_CLIENT_TEXT_MAP(X)                                          \
  X(PROXY, "proxy", CURLOPT_PROXY)                                     \
  X(NO_PROXY, "no_proxy", CURLOPT_NOPROXY)                             \
  X(PROXY_CA_FILE, "proxy_ca_file", CURLOPT_PROXY_CAINFO)              \
  X(CA_FILE, "ca_file", CURLOPT_CAINFO)                                \
  X(CA_PATH, "ca_path", CURLOPT_CAPATH)                                \
  X(CLIENT_CERT, "client_cert", CURLOPT_SSLCERT)                       \
  X(CLIENT_KEY, "client_key", CURLOPT_SSLKEY)                          \
  X(CLIENT_KEY_PASSWORD, "client_key_password", CURLOPT_KEYPASSWD)

typedef enum oc_client_text {
#define X(symbol, name, option) OC_TEXT_##symbol,
  OC_CLIENT_TEXT_MAP(X)
#undef X
  OC_TEXT_COUNT
} oc_client_text;

/* Strings are copied. */
typedef struct oc_client_options {
  const char *base_url;       /* without a trailing slash */
  const char *key;            /* NULL: none */
  size_t key_len;
  const char *texts[OC_TEXT_COUNT];   /* NULL: libcurl's own default */
  int trusts_only;            /* the certificates in texts and no others */
  int skip_verify;            /* any certificate of the server will do */
  int http2;                  /* offer HTTP/2 where there is TLS */
  long max_connections;       /* 0: no limit */
  const char *record;         /* tape to record on, NULL: none */
  oc_player_options replay;   /* tape to play, in the place of any network;
                                 its path is NULL: none */
} oc_client_options;

/* NULL: see `error`. The caller owns the one reference. */
oc_client *oc_client_new(const oc_client_options *options, oc_error *error);
oc_client *oc_client_ref(oc_client *client);
/* The last reference closes the client and frees it. */
void oc_client_unref(oc_client *client);
/*
 * Closes the client, forgets the news nobody will read, and drops the
 * caller's reference. (A queued exchange holds its client, so the queue has
 * to be emptied by somebody.)
 */
void oc_client_dispose(oc_client *client);
/*
 * Ends every exchange with OC_E_CLOSED (they wait in the queue of news),
 * closes all connections and wipes the key, that of every setup and all else
 * that is secret. Idempotent.
 */
void oc_client_close(oc_client *client);
int oc_client_is_closed(const oc_client *client);

/*
 * Moves everything forward until there is news, for at most `wait_ms` (below
 * 0: as long as it takes). While news is waiting to be taken it does not
 * wait, unless `anyway`: then it waits once. It may return early, and does so
 * when a signal comes.
 */
void oc_client_step(oc_client *client, int64_t wait_ms, int anyway);
/*
 * Does a part of what there is to do, without waiting: serves a few sockets,
 * none after `until_us` (a time of oc_clock) has come, but one in any case,
 * and the same with the exchanges that have ended. All get their turn, in
 * this call or a later one. Whether there may be more to do at once: then to
 * be called again, when the news has been taken.
 */
int oc_client_step_until(oc_client *client, int64_t until_us);
/* Waits for something to do, at most `wait_ms` (see oc_client_step()). */
void oc_client_await(oc_client *client, int64_t wait_ms);
/*
 * Takes the next exchange with news out of the queue; NULL: none. The
 * caller gets a reference.
 */
oc_exchange *oc_client_next(oc_client *client);
/* Exchanges that have not ended. */
size_t oc_client_active(const oc_client *client);
/* The descriptor to watch for reading, -1: none (see oc_poller). */
int oc_client_fd(const oc_client *client);
/* Milliseconds until oc_client_step() is due anyway, rounded up; -1: not at
   all. */
int64_t oc_client_timeout_ms(oc_client *client);

/* Whether the client has a key of its own. */
int oc_client_has_key(const oc_client *client);
/* What a header with a key begins with. */
#define OC_KEY_HEADER "Authorization: Bearer "
/* The header with the client's key, as a list of one; NULL: no key. */
struct curl_slist *oc_client_key_header(oc_client *client);
/* What records and what plays the client's requests; NULL: nothing does. */
oc_recorder *oc_client_recorder(const oc_client *client);
oc_player *oc_client_player(const oc_client *client);
/* The client's own key, empty: none. Borrowed until it is closed. */
oc_slice oc_client_key(const oc_client *client);
/* Borrowed as long as the client lives. */
const char *oc_client_base_url(const oc_client *client);

/* {==== for oc_setup only ==== */

/* The client wipes the headers of the setups in its list. */
void oc_client_add_setup(oc_client *client, oc_setup *setup);
void oc_client_remove_setup(oc_client *client, oc_setup *setup);

/* }==== */

/* {==== for oc_exchange only ==== */

/*
 * A handle on which everything is set that the transfers of this client
 * have in common. It may have served another exchange, so each has to set
 * all the rest. NULL: see `result`.
 */
CURL *oc_client_take_easy(oc_client *client, CURLcode *result);
/* `is_changed`: it was used without CURLOPT_ACCEPT_ENCODING. */
void oc_client_give_easy(oc_client *client, CURL *easy, int is_changed);
/*
 * Puts the transfer under way, and its exchange (CURLINFO_PRIVATE) on the
 * list of those to be finished. It may have to wait for another one's
 * connection first, at most `connect_ms` (0: no limit); see oc_links.
 */
CURLMcode oc_client_add(oc_client *client, oc_exchange *exchange,
                        CURL *easy, int64_t connect_ms);
void oc_client_remove(oc_client *client, oc_exchange *exchange, CURL *easy);
/*
 * Keeps an exchange that libcurl knows nothing of among those that have not
 * ended, until oc_exchange_expire() is due for it.
 */
void oc_client_wait(oc_client *client, oc_exchange *exchange,
                    int64_t deadline_us);
void oc_client_stop_waiting(oc_client *client, oc_exchange *exchange);
/* Queues the exchange for oc_client_next(), once. */
void oc_client_news(oc_client *client, oc_exchange *exchange);
/* Lets a transfer go on that its write callback has paused. */
CURLcode oc_client_resume(oc_client *client, CURL *easy);
/* A server has answered in this version of HTTP (CURL_HTTP_VERSION_*). */
void oc_client_note_http(oc_client *client, long version);
/* A request goes to another place than the client's own. */
void oc_client_note_url(oc_client *client, const char *url);
/* A deadline may have come closer. */
void oc_client_note_deadline(oc_client *client, int64_t deadline_us);
/* The time of the current step, by oc_clock. */
int64_t oc_client_now(const oc_client *client);
/* So much of an answer's body has come. */
void oc_client_received(oc_client *client, size_t len);
/* Whether the time of the step is up. */
int oc_client_is_late(const oc_client *client);

/* }==== */

#endif
