#include "oc_client_private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "oc_alloc.h"
#include "oc_clock.h"
#include "oc_curl_memory.h"
#include "oc_exchange.h"
#include "oc_setup.h"
#include "oc_sigpipe.h"
#include "oc_url.h"

/* {==== libcurl's global state ==== */

static pthread_once_t global_once = PTHREAD_ONCE_INIT;
static CURLcode global_result;

/*
 * Once per process and never undone: another user of libcurl may be in the
 * same process, and curl_global_cleanup() would end under its feet.
 */
static void global_init(void) {
  global_result = oc_curl_memory_init();
}

/* }==== */

/* {==== callbacks of libcurl: C work only ==== */

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *user,
                     void *socket_user) {
  oc_client *client = user;
  int events = 0;
  (void)easy;
  (void)socket_user;
  if(what == CURL_POLL_IN || what == CURL_POLL_INOUT)
    events |= OC_POLL_IN;
  if(what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
    events |= OC_POLL_OUT;
  /* an error here would fail every transfer of this client; a socket that
     cannot be watched runs into its own deadline instead */
  oc_poller_set(client->poller, (int)fd, events);
  return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *user) {
  oc_client *client = user;
  (void)multi;
  /* at once is in this step still, which has its own idea of now */
  client->curl_deadline_us = timeout_ms < 0 ? OC_NEVER
                             : !timeout_ms ? client->now_us
                             : oc_now_us() + timeout_ms * OC_MS;
  return 0;
}

/* A socket that a child process of the host does not inherit. */
static int open_socket(const struct curl_sockaddr *address) {
  int fd;
#ifdef SOCK_CLOEXEC
  fd = socket(address->family, address->socktype | SOCK_CLOEXEC,
              address->protocol);
  if(fd >= 0 || errno != EINVAL)
    return fd;
#endif
  fd = socket(address->family, address->socktype, address->protocol);
  if(fd >= 0)
    fcntl(fd, F_SETFD, FD_CLOEXEC);
  return fd;
}

static curl_socket_t on_open(void *user, curlsocktype purpose,
                             struct curl_sockaddr *address) {
  oc_client *client = user;
  int fd = open_socket(address);
  (void)purpose;
  if(fd < 0)
    return CURL_SOCKET_BAD;
  if(oc_poller_open(client->poller, fd)) {
    close(fd);
    return CURL_SOCKET_BAD;
  }
  oc_gate_note_open(&client->gate);
  return fd;
}

static int on_close(void *user, curl_socket_t fd) {
  oc_client *client = user;
  int i;
  /* its number may soon be another socket's */
  for(i = client->ready_at; i < client->ready_count; i++) {
    if(client->ready[i].fd == (int)fd)
      client->ready[i].fd = -1;
  }
  oc_poller_close(client->poller, (int)fd);
  oc_gate_note_close(&client->gate);
  return close((int)fd);
}

/* }==== */

/* {==== life ==== */

/* A copy of a string that may be absent; 0: out of memory. */
static int copy_string(char **to, const char *from) {
  if(!from)
    return 1;
  *to = oc_strndup(from, strlen(from));
  return *to != NULL;
}

static int copy_key(oc_client *client, const oc_client_options *options) {
  size_t len = strlen(OC_KEY_HEADER);
  char *line;
  if(!options->key)
    return 1;
  line = oc_malloc(len + options->key_len + 1);
  if(!line)
    return 0;
  memcpy(line, OC_KEY_HEADER, len);
  memcpy(line + len, options->key, options->key_len);
  line[len + options->key_len] = '\0';
  client->key_header.data = line;
  return 1;
}

/* Opens what records and plays; 0: `error` says why not. */
static int open_tapes(oc_client *client, const oc_client_options *options,
                      oc_error *error) {
  char problem[OC_PROBLEM_MAX];
  oc_code code = OC_OK;
  if(options->replay.path) {
    client->player = oc_player_open(&options->replay, &code, problem);
    if(!client->player)
      oc_error_set(error, code, "option 'replay': %s: %s",
                   options->replay.path, problem);
  }
  if(!code && options->record) {
    client->recorder = oc_recorder_open(options->record, options->key,
                                        options->key_len, &code, problem);
    if(!client->recorder)
      oc_error_set(error, code, "option 'record': %s: %s", options->record,
                   problem);
  }
  return !code;
}

static int starts_with_https(const char *url) {
  return url && !strncasecmp(url, "https", 5);
}

/*
 * libcurl makes two sockets of its own here, to wake up
 * curl_multi_poll(), and child processes of the host would inherit them.
 * They get the lowest free descriptors; no other thread is likely to take
 * these in between, and what it would have taken is not touched.
 */
static CURLM *init_multi(const oc_poller *poller) {
  CURLM *multi;
  int fds[2];
  int i;

  for(i = 0; i < 2; i++)
    fds[i] = poller ? fcntl(oc_poller_fd(poller), F_DUPFD_CLOEXEC, 0) : -1;
  for(i = 0; i < 2; i++) {
    if(fds[i] >= 0)
      close(fds[i]);
  }
  multi = curl_multi_init();
  for(i = 0; i < 2; i++) {
    struct sockaddr_storage address = { 0 };
    socklen_t size = sizeof address;
    if(fds[i] >= 0 && !getsockname(fds[i], (struct sockaddr *)&address, &size)
       && address.ss_family == AF_UNIX)
      fcntl(fds[i], F_SETFD, FD_CLOEXEC);
  }
  return multi;
}

/* Whether libcurl may find a proxy in the environment that wants TLS. */
static int has_tls_proxy(void) {
  static const char *const names[] = {
    "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"
  };
  size_t i;
  for(i = 0; i < sizeof names / sizeof *names; i++) {
    if(starts_with_https(getenv(names[i])))
      return 1;
  }
  return 0;
}

static int copy_texts(oc_client *client, const oc_client_options *options) {
  int i;
  for(i = 0; i < OC_TEXT_COUNT; i++) {
    if(!copy_string(&client->texts[i], options->texts[i]))
      return 0;
  }
  return 1;
}

oc_client *oc_client_new(const oc_client_options *options, oc_error *error) {
  oc_client *client;

  pthread_once(&global_once, global_init);
  if(global_result) {
    oc_error_set(error, OC_E_CURL, "libcurl does not start: %s",
                 curl_easy_strerror(global_result));
    return NULL;
  }
  if(!oc_url_is_valid(options->base_url)) {
    oc_error_set(error, OC_E_RANGE, "option 'base_url': not a valid URL");
    return NULL;
  }
  client = oc_calloc(sizeof *client);
  if(!client) {
    oc_error_set(error, OC_E_NOMEM, "%s", oc_code_message(OC_E_NOMEM));
    return NULL;
  }
  client->refs = 1;
  client->curl_deadline_us = OC_NEVER;
  client->next_deadline_us = OC_NEVER;
  client->until_us = OC_NEVER;
  client->now_us = oc_now_us();
  client->http2 = options->http2;
  client->max_connections = options->max_connections;
  oc_gate_init(&client->gate, options->http2
                              && starts_with_https(options->base_url));
  client->trusts_only = options->trusts_only;
  client->skip_verify = options->skip_verify;
  client->has_tls = starts_with_https(options->base_url)
                    || starts_with_https(options->texts[OC_TEXT_PROXY])
                    || has_tls_proxy();
  client->poller = oc_poller_new();
  client->multi = init_multi(client->poller);
  if(!client->poller || !client->multi || !copy_key(client, options)
     || !copy_string(&client->base_url, options->base_url)
     || !copy_texts(client, options)) {
    oc_client_unref(client);
    oc_error_set(error, OC_E_NOMEM, "out of memory or descriptors");
    return NULL;
  }
  if(!open_tapes(client, options, error)) {
    oc_client_unref(client);
    return NULL;
  }
  curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
  curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
  curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, on_timer);
  curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
  curl_multi_setopt(client->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS,
                    options->max_connections);
  curl_multi_setopt(client->multi, CURLMOPT_MAX_CONCURRENT_STREAMS,
                    (long)OC_STREAMS_EACH);
  return client;
}

oc_client *oc_client_ref(oc_client *client) {
  client->refs++;
  return client;
}

static void wipe_string(char *text) {
  if(text)
    oc_wipe(text, strlen(text));
}

/* What nobody needs any more once every exchange has ended. */
static void wipe_secrets(oc_client *client) {
  oc_exchange *exchange;
  oc_setup *setup;
  int i;

  /* keys are looked for in what has not been told yet */
  for(exchange = client->news_first; exchange;
      exchange = oc_exchange_links(exchange)->next_news)
    oc_exchange_hide_keys(exchange);
  for(setup = client->setups; setup; setup = setup->behind)
    oc_wipe(setup->text, setup->text_len);
  oc_recorder_forget(client->recorder);
  wipe_string(client->key_header.data);
  for(i = 0; i < OC_TEXT_COUNT; i++)
    wipe_string(client->texts[i]);
}

void oc_client_close(oc_client *client) {
  oc_exchange *exchange;

  if(!client->multi)
    return;
  while((exchange = client->first) != NULL)
    oc_exchange_cancel(exchange, OC_E_CLOSED);
  while(client->spare_count)
    curl_easy_cleanup(client->spare[--client->spare_count]);
  if(client->multi) {
    oc_sigpipe guard;
    oc_sigpipe_hold(&guard, client->has_tls);
    /* still reports sockets, so the poller goes last */
    curl_multi_cleanup(client->multi);
    oc_sigpipe_release(&guard);
    client->multi = NULL;
  }
  oc_poller_free(client->poller);
  client->poller = NULL;
  client->curl_deadline_us = OC_NEVER;
  client->next_deadline_us = OC_NEVER;
  client->ready_at = client->ready_count = client->looks = 0;
  wipe_secrets(client);
}

void oc_client_dispose(oc_client *client) {
  oc_exchange *exchange;
  oc_client_close(client);
  client->is_disposed = 1;
  while((exchange = oc_client_next(client)) != NULL)
    oc_exchange_unref(exchange);
  oc_client_unref(client);
}

void oc_client_unref(oc_client *client) {
  int i;

  if(!client || --client->refs)
    return;
  /* every exchange holds a reference: none is left, listed or queued */
  oc_client_close(client);
  oc_poller_free(client->poller);
  /* there may be a login in it */
  wipe_string(client->base_url);
  oc_free(client->base_url);
  oc_free(client->key_header.data);
  for(i = 0; i < OC_TEXT_COUNT; i++)
    oc_free(client->texts[i]);
  oc_recorder_free(client->recorder);
  oc_player_free(client->player);
  oc_free(client);
}

int oc_client_is_closed(const oc_client *client) {
  return !client->multi;
}

int oc_client_has_key(const oc_client *client) {
  return client->key_header.data != NULL;
}

struct curl_slist *oc_client_key_header(oc_client *client) {
  return client->key_header.data ? &client->key_header : NULL;
}

void oc_client_add_setup(oc_client *client, oc_setup *setup) {
  setup->before = NULL;
  setup->behind = client->setups;
  if(client->setups)
    client->setups->before = setup;
  client->setups = setup;
}

void oc_client_remove_setup(oc_client *client, oc_setup *setup) {
  if(setup->before)
    setup->before->behind = setup->behind;
  else if(client->setups == setup)
    client->setups = setup->behind;
  if(setup->behind)
    setup->behind->before = setup->before;
}

oc_recorder *oc_client_recorder(const oc_client *client) {
  return client->recorder;
}

oc_player *oc_client_player(const oc_client *client) {
  return client->player;
}

oc_slice oc_client_key(const oc_client *client) {
  size_t len = strlen(OC_KEY_HEADER);
  oc_slice key = { NULL, 0 };
  if(client->key_header.data && strlen(client->key_header.data) > len) {
    key.text = client->key_header.data + len;
    key.len = strlen(key.text);
  }
  return key;
}

const char *oc_client_base_url(const oc_client *client) {
  return client->base_url;
}

void oc_client_note_url(oc_client *client, const char *url) {
  if(starts_with_https(url))
    client->has_tls = 1;
}

/* }==== */

/* {==== transfers ==== */

/* Whether a file name is that of a PKCS #12 archive. */
static int is_pkcs12(const char *name) {
  size_t len = strlen(name);
  return len > 4 && (!strcasecmp(name + len - 4, ".p12")
                     || !strcasecmp(name + len - 4, ".pfx"));
}

static CURLcode set_texts(oc_client *client, CURL *easy) {
  static const CURLoption names[OC_TEXT_COUNT] = {
#define X(symbol, name, option) option,
    OC_CLIENT_TEXT_MAP(X)
#undef X
  };
  CURLcode result = CURLE_OK;
  const char *cert = client->texts[OC_TEXT_CLIENT_CERT];
  int i;

  /* whoever names the certificates to be trusted wants no others: libcurl
     would go on to trust its own folder beside a file, and its own file
     beside a folder */
  if(client->trusts_only) {
    curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(easy, CURLOPT_CAINFO, NULL);
  }
  if(client->texts[OC_TEXT_PROXY_CA_FILE])
    curl_easy_setopt(easy, CURLOPT_PROXY_CAPATH, NULL);
  for(i = 0; i < OC_TEXT_COUNT && !result; i++) {
    if(client->texts[i])
      result = curl_easy_setopt(easy, names[i], client->texts[i]);
  }
  if(!result && cert && is_pkcs12(cert))
    result = curl_easy_setopt(easy, CURLOPT_SSLCERTTYPE, "P12");
  return result;
}

static CURLcode configure(oc_client *client, CURL *easy) {
  CURLcode result = set_texts(client, easy);
#define SET(option, value)                                  \
  do {                                                      \
    if(!result)                                             \
      result = curl_easy_setopt(easy, option, value);       \
  } while(0)
  SET(CURLOPT_NOSIGNAL, 1L);
  SET(CURLOPT_OPENSOCKETFUNCTION, on_open);
  SET(CURLOPT_OPENSOCKETDATA, client);
  SET(CURLOPT_CLOSESOCKETFUNCTION, on_close);
  SET(CURLOPT_CLOSESOCKETDATA, client);
  SET(CURLOPT_TCP_KEEPALIVE, 1L);
#if LIBCURL_VERSION_NUM >= 0x075500
  SET(CURLOPT_PROTOCOLS_STR, "http,https");
#else
  SET(CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
#if LIBCURL_VERSION_NUM >= 0x075700
  /* a name that is being looked up must not hold up a cancel */
  SET(CURLOPT_QUICK_EXIT, 1L);
#endif
  SET(CURLOPT_HTTP_VERSION, client->http2 ? (long)CURL_HTTP_VERSION_2TLS
                                          : (long)CURL_HTTP_VERSION_1_1);
  SET(CURLOPT_ACCEPT_ENCODING, "");
  if(client->skip_verify) {
    SET(CURLOPT_SSL_VERIFYPEER, 0L);
    SET(CURLOPT_SSL_VERIFYHOST, 0L);
  }
#undef SET
  return result;
}

/*
 * How long libcurl waits for an answer from one kind of address before it
 * tries the other kind as well: 250 ms are usual, at least 100 (RFC 8305).
 * Its timer for that goes on when the connection is there, and all timers
 * that are due run in one go: those of requests that begin together must not
 * end in the same frame.
 */
static void spread_timer(oc_client *client, CURL *easy) {
  client->spread = (client->spread + 17) % 136;
  curl_easy_setopt(easy, CURLOPT_HAPPY_EYEBALLS_TIMEOUT_MS,
                   150 + client->spread);
}

CURL *oc_client_take_easy(oc_client *client, CURLcode *result) {
  CURL *easy;
  *result = CURLE_OK;
  if(client->spare_count)
    easy = client->spare[--client->spare_count];
  else {
    easy = curl_easy_init();
    *result = easy ? configure(client, easy) : CURLE_OUT_OF_MEMORY;
    if(*result) {
      curl_easy_cleanup(easy);
      return NULL;
    }
  }
  spread_timer(client, easy);
  return easy;
}

void oc_client_give_easy(oc_client *client, CURL *easy, int is_changed) {
  if(client->multi && client->spare_count < MAX_SPARE) {
    /* what an exchange may have changed; its buffer goes with it */
    if(is_changed) {
      curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "");
      curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)CURL_MAX_WRITE_SIZE);
    }
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, NULL);
    curl_easy_setopt(easy, CURLOPT_CURLU, NULL);
    client->spare[client->spare_count++] = easy;
  }
  else
    curl_easy_cleanup(easy);
}

void oc_client_unlist(oc_client *client, oc_exchange *exchange) {
  oc_links *links = oc_exchange_links(exchange);
  if(!links->is_listed)
    return;
  if(client->due_from == exchange)
    client->due_from = links->behind;
  if(links->before)
    oc_exchange_links(links->before)->behind = links->behind;
  else
    client->first = links->behind;
  if(links->behind)
    oc_exchange_links(links->behind)->before = links->before;
  links->before = links->behind = NULL;
  links->is_listed = 0;
  if(!--client->active)
    client->next_deadline_us = OC_NEVER;
}

void oc_client_enlist(oc_client *client, oc_exchange *exchange) {
  oc_links *links = oc_exchange_links(exchange);
  if(links->is_listed)
    return;
  links->before = NULL;
  links->behind = client->first;
  if(client->first)
    oc_exchange_links(client->first)->before = exchange;
  client->first = exchange;
  links->is_listed = 1;
  client->active++;
}

CURLMcode oc_client_launch(oc_client *client, oc_exchange *exchange,
                           CURL *easy) {
  CURLMcode result;
  oc_sigpipe guard;

  oc_exchange_links(exchange)->launched_us = oc_now_us();
  oc_sigpipe_hold(&guard, client->has_tls);
  result = curl_multi_add_handle(client->multi, easy);
  if(!result) {
    oc_client_enlist(client, exchange);
    oc_client_note_deadline(client, oc_exchange_deadline(exchange));
    /* the first bytes leave now and not at the host's next frame */
    oc_client_run_timers(client);
    /* a host that watches the descriptor does not come here first */
    oc_poller_flush(client->poller);
  }
  oc_sigpipe_release(&guard);
  return result;
}

CURLMcode oc_client_add(oc_client *client, oc_exchange *exchange,
                        CURL *easy, int64_t connect_ms) {
  client->now_us = oc_now_us();
  if(client->gate.sharing == OC_SHARING_NEVER)
    return oc_client_launch(client, exchange, easy);
  return oc_gate_enter(client, exchange, easy, connect_ms);
}

void oc_client_remove(oc_client *client, oc_exchange *exchange, CURL *easy) {
  int was_held = oc_gate_leave(client, exchange);
  oc_client_unlist(client, exchange);
  if(client->multi && !was_held) {
    oc_sigpipe guard;
    oc_sigpipe_hold(&guard, client->has_tls);
    curl_multi_remove_handle(client->multi, easy);
    oc_sigpipe_release(&guard);
  }
}

CURLcode oc_client_resume(oc_client *client, CURL *easy) {
  CURLcode result;
  oc_sigpipe guard;

  client->now_us = oc_now_us();
  oc_sigpipe_hold(&guard, client->has_tls);
  /* hands over what it has kept back, and sets a timer to go on */
  result = curl_easy_pause(easy, CURLPAUSE_CONT);
  oc_sigpipe_release(&guard);
  oc_poller_flush(client->poller);
  return result;
}

void oc_client_wait(oc_client *client, oc_exchange *exchange,
                    int64_t deadline_us) {
  oc_client_enlist(client, exchange);
  client->waiting++;
  oc_client_note_deadline(client, deadline_us);
}

void oc_client_stop_waiting(oc_client *client, oc_exchange *exchange) {
  client->waiting--;
  oc_client_unlist(client, exchange);
}

/* }==== */

/* {==== news ==== */

void oc_client_news(oc_client *client, oc_exchange *exchange) {
  oc_links *links = oc_exchange_links(exchange);
  /* nobody will read the queue any more */
  if(links->has_news || client->is_disposed)
    return;
  links->has_news = 1;
  links->next_news = NULL;
  oc_exchange_ref(exchange);
  if(client->news_last)
    oc_exchange_links(client->news_last)->next_news = exchange;
  else
    client->news_first = exchange;
  client->news_last = exchange;
}

oc_exchange *oc_client_next(oc_client *client) {
  oc_exchange *exchange = client->news_first;
  if(exchange) {
    oc_links *links = oc_exchange_links(exchange);
    client->news_first = links->next_news;
    if(!client->news_first)
      client->news_last = NULL;
    links->next_news = NULL;
    links->has_news = 0;
  }
  return exchange;
}

size_t oc_client_active(const oc_client *client) {
  return client->active;
}

void oc_client_note_deadline(oc_client *client, int64_t deadline_us) {
  if(deadline_us < client->next_deadline_us)
    client->next_deadline_us = deadline_us;
}

int64_t oc_client_now(const oc_client *client) {
  return client->now_us;
}

void oc_client_received(oc_client *client, size_t len) {
  client->received += len;
}

int oc_client_is_late(const oc_client *client) {
  return client->until_us != OC_NEVER && oc_now_us() >= client->until_us;
}

/* }==== */
