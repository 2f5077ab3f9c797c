#include "oc_exchange_private.h"

#include <stdio.h>
#include <string.h>

#include "oc_alloc.h"
#include "oc_clock.h"
#include "oc_curl_error.h"
#include "oc_curl_memory.h"
#include "oc_retry.h"
#include "oc_url.h"

#define MAX_REDIRECTS 5
/* How long a server may take to close a stream after "[DONE]". */
#define DONE_GRACE_MS 250
/* Larger bodies are read in pieces of this size: they stay in the cache... */
#define UPLOAD_BUFFER (64L * 1024L)
/* ...smaller ones leave in one packet with the headers. */
#define SMALL_BODY (32 * 1024)
/*
 * What a transfer may read although the step's time is up: 200 chunks, 0.1 ms;
 * three of the pieces that libcurl hands on.
 * libcurl itself reads up to 1.6 MB at a time; with much less than this, a
 * host whose handlers are slow would fall behind what it is sent.
 */
#define SHARE (3 * CURL_MAX_WRITE_SIZE)

void oc_exchange_read_status(oc_exchange *exchange) {
  long status = 0;
  if(exchange->playing) {
    exchange->response.status = exchange->has_played_head
                                ? oc_recording_status(exchange->playing) : 0;
    return;
  }
  curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &status);
  exchange->response.status = (int)status;
}

double oc_exchange_time(const oc_exchange *exchange, CURLINFO info) {
  double seconds = 0;
  curl_easy_getinfo(exchange->easy, info, &seconds);
  return seconds > 0 ? seconds + oc_seconds_between(exchange->sent_us,
                                     exchange->links.launched_us)
                     : 0;
}

/* The first text, reasoning or tool fragment: a shorter deadline begins. */
static void note_output(oc_exchange *exchange) {
  if(!exchange->first_token_us
     && oc_response_has_output(&exchange->response)) {
    exchange->first_token_us = exchange->life_us;
    oc_client_note_deadline(exchange->client,
                            oc_exchange_deadline(exchange));
  }
}

/* {==== called by libcurl ==== */

static size_t on_header(char *line, size_t size, size_t count, void *user) {
  oc_exchange *exchange = user;
  size_t len = size * count;
  exchange->life_us = oc_client_now(exchange->client);
  return oc_response_header(&exchange->response, line, len,
                            &exchange->error) ? 0 : len;
}

/* Whether so much of the answer has not been taken that no more is wanted. */
static int is_behind(const oc_exchange *exchange) {
  size_t limit = exchange->setup->max_buffered;
  return limit
         && oc_reply_size(&exchange->response.reply) - exchange->taken >= limit;
}

size_t oc_exchange_on_body(char *bytes, size_t size, size_t count, void *user) {
  oc_exchange *exchange = user;
  oc_response *response = &exchange->response;
  size_t len = size * count;
  int64_t now = oc_client_now(exchange->client);

  if(!len)
    return 0;
  if(exchange->life_us != now)
    exchange->share = 0;
  exchange->life_us = now;
  if(exchange->has_reader && is_behind(exchange)) {
    exchange->is_paused = 1;
    return CURL_WRITEFUNC_PAUSE;
  }
  if(exchange->easy
     && ((exchange->share && exchange->share + len > SHARE
          && oc_client_is_late(exchange->client))
         || (exchange->is_starting && is_behind(exchange)))) {
    exchange->has_yielded = 1;
    oc_client_note_deadline(exchange->client, 0);
    return CURL_WRITEFUNC_PAUSE;
  }
  exchange->share += len;
  oc_client_received(exchange->client, len);
  /* what comes behind "[DONE]" is not looked at, nor does it count */
  if(exchange->done_us && !exchange->take)
    return len;
  exchange->state = OC_STATE_RECEIVING;
  /* what the caller has not seen yet comes together with this */
  if(exchange->take)
    oc_take_bytes(exchange->take, bytes, len, exchange->life_us,
                  exchange->links.has_news);
  if(response->mode == OC_RESPONSE_UNKNOWN)
    oc_exchange_read_status(exchange);
  if(oc_response_body(response, bytes, len, &exchange->error))
    return 0;
  if(response->reply.is_done && !exchange->done_us) {
    exchange->done_us = exchange->life_us;
    oc_client_note_deadline(exchange->client,
                            exchange->done_us + DONE_GRACE_MS * OC_MS);
  }
  note_output(exchange);
  if(response->mode == OC_RESPONSE_STREAM)
    oc_client_news(exchange->client, exchange);
  return len;
}

static size_t on_read(char *to, size_t size, size_t count, void *user) {
  oc_exchange *exchange = user;
  return oc_body_read(&exchange->body, to, size * count);
}

/* libcurl sends again on a new connection when a kept one was dead, or the
   server has refused the request. */
static int on_seek(void *user, curl_off_t offset, int origin) {
  oc_exchange *exchange = user;
  if(origin != SEEK_SET || offset < 0)
    return CURL_SEEKFUNC_CANTSEEK;
  oc_body_seek(&exchange->body, (size_t)offset);
  return CURL_SEEKFUNC_OK;
}

#if LIBCURL_VERSION_NUM >= 0x075000
/*
 * Just before the request is sent, each time. libcurl rewinds only when it has
 * sent something of the body before, and may have read some and sent nothing:
 * the body would have a hole in it (seen with 7.88).
 */
static int on_begin(void *user, char *address, char *own_address, int port,
                    int own_port) {
  oc_exchange *exchange = user;
  (void)address;
  (void)own_address;
  (void)port;
  (void)own_port;
  oc_body_seek(&exchange->body, 0);
  return CURL_PREREQFUNC_OK;
}
#endif

/* }==== */

/* {==== life ==== */

oc_exchange *oc_exchange_new(oc_setup *setup, oc_body *body, int is_stream,
                             int64_t tag) {
  static char expect[] = "Expect:";
  oc_exchange *exchange = oc_calloc(sizeof *exchange);

  if(!exchange) {
    if(body)
      oc_body_free(body);
    return NULL;
  }
  exchange->refs = 1;
  exchange->setup = oc_setup_ref(setup);
  exchange->client = setup->client;
  if(body) {
    exchange->body = *body;
    memset(body, 0, sizeof *body);
  }
  exchange->is_stream = is_stream;
  exchange->tag = tag;
  exchange->max_retries = setup->max_retries;
  /* no waiting for "100 Continue" before a large body */
  exchange->large.data = expect;
  exchange->large.next = setup->headers;
  exchange->timing.connect = -1;
  exchange->timing.first_byte = -1;
  exchange->timing.first_token = -1;
  exchange->timing.total = -1;
  oc_buf_init(&exchange->small, SMALL_BODY);
  oc_response_init(&exchange->response, setup->max_response,
                   setup->max_event, setup->is_get);
  return exchange;
}

oc_exchange *oc_exchange_ref(oc_exchange *exchange) {
  exchange->refs++;
  return exchange;
}

/* Takes the transfer out of libcurl's hands. */
static void release_easy(oc_exchange *exchange) {
  if(exchange->playing) {
    exchange->playing = NULL;
    oc_client_stop_waiting(exchange->client, exchange);
  }
  if(exchange->easy) {
    oc_client_remove(exchange->client, exchange, exchange->easy);
#if LIBCURL_VERSION_NUM >= 0x075000
    if(!exchange->setup->is_get && !exchange->small.len)
      curl_easy_setopt(exchange->easy, CURLOPT_PREREQFUNCTION, NULL);
#endif
    oc_client_give_easy(exchange->client, exchange->easy,
                        exchange->is_stream);
    exchange->easy = NULL;
  }
}

void oc_exchange_unref(oc_exchange *exchange) {
  if(!exchange || --exchange->refs)
    return;
  if(exchange->state == OC_STATE_WAITING)
    oc_client_stop_waiting(exchange->client, exchange);
  if(exchange->take) {
    oc_error_set(&exchange->error, OC_E_CANCELLED, "%s",
                 oc_code_message(OC_E_CANCELLED));
    oc_exchange_end_take(exchange, NULL, -1);
  }
  release_easy(exchange);
  oc_free(exchange->moved_to);
  oc_body_free(&exchange->body);
  oc_buf_free(&exchange->small);
  oc_response_free(&exchange->response);
  oc_error_clear(&exchange->error);
  oc_error_clear(&exchange->last_error);
  oc_setup_unref(exchange->setup);
  oc_free(exchange);
}

/* }==== */

/* {==== endings ==== */

/* Nothing of the request is needed any more once it has ended. */
static void end(oc_exchange *exchange, oc_state state) {
  oc_exchange_end_take(exchange, NULL, -1);
  exchange->timing.total =
    oc_seconds_between(exchange->started_us, oc_now_us());
  if(exchange->first_token_us) {
    double first_token =
      oc_seconds_between(exchange->started_us, exchange->first_token_us);
    /* our clock was read when the step began, before libcurl read its own */
    exchange->timing.first_token =
      first_token > exchange->timing.first_byte
      ? first_token : exchange->timing.first_byte;
  }
  if(exchange->state == OC_STATE_WAITING)
    oc_client_stop_waiting(exchange->client, exchange);
  exchange->state = state;
  release_easy(exchange);
  oc_body_free(&exchange->body);
  oc_buf_free(&exchange->small);
  oc_response_trim(&exchange->response);
  oc_client_news(exchange->client, exchange);
}

/* Servers repeat the key they do not like: it goes no further. */
static void hide_key(oc_exchange *exchange) {
  oc_error *error = &exchange->error;
  oc_kind kind = oc_code_kind(error->code);

  oc_setup_hide(exchange->setup, error->name, strlen(error->name));
  if(error->message)
    oc_setup_hide(exchange->setup, error->message, strlen(error->message));
  /* libcurl shows the URL of a proxy it cannot read, password and all */
  if(kind == OC_KIND_NETWORK || kind == OC_KIND_TLS)
    oc_error_hide_logins(error);
}

void oc_exchange_hide_keys(oc_exchange *exchange) {
  oc_buf *head = &exchange->response.head;
  if(head->len)
    oc_setup_hide(exchange->setup, head->data, head->len);
}

static void read_hints(const oc_exchange *exchange, oc_retry_hints *hints) {
  memset(hints, 0, sizeof *hints);
  oc_response_find(&exchange->response, "x-should-retry", &hints->should);
  oc_response_find(&exchange->response, "retry-after-ms", &hints->after_ms);
  oc_response_find(&exchange->response, "retry-after", &hints->after);
  oc_response_find(&exchange->response, "date", &hints->date);
}

/*
 * Whether the request waits to be sent once more. Not when something of the
 * answer has arrived (the caller may have seen it), not when the server
 * wants a longer wait than anybody should be kept for, and not when it
 * could not end in time. Notes what the server says of it in any case.
 */
static int waits_to_retry(oc_exchange *exchange) {
  const oc_setup *setup = exchange->setup;
  oc_error *error = &exchange->error;
  oc_retry_hints hints;
  int64_t wait = -1;
  int is_worth;

  memset(&hints, 0, sizeof hints);
  if(oc_retry_is_answer(error)) {
    read_hints(exchange, &hints);
    wait = oc_retry_after(&hints, oc_error_message(error), time(NULL));
    error->retry_after_ms = wait > 0 ? wait : 0;
  }
  is_worth = oc_retry_is_worth(error, &hints);
  if(oc_retry_is_answer(error))
    error->retryable = is_worth;
  if(!is_worth || wait > OC_RETRY_MAX_MS
     || exchange->retries >= exchange->max_retries
     || oc_client_is_closed(exchange->client)
     || oc_reply_has_output(&exchange->response.reply))
    return 0;
  if(wait < 0)
    wait = oc_retry_backoff(exchange->retries + 1);
  if(exchange->playing && oc_recording_retry(exchange->playing) >= 0)
    wait = oc_recording_retry(exchange->playing);
  exchange->retry_wait_ms = wait;
  if(exchange->playing)
    wait = oc_player_scale(oc_client_player(exchange->client), wait);
  exchange->retry_at_us = oc_now_us() + wait * OC_MS;
  return !setup->deadlines.total_ms
         || exchange->retry_at_us
            < exchange->started_us + setup->deadlines.total_ms * OC_MS;
}

void oc_exchange_fail(oc_exchange *exchange) {
  hide_key(exchange);
  exchange->error.status = exchange->response.status;
  if(exchange->state != OC_STATE_WAITING && waits_to_retry(exchange)) {
    oc_exchange_end_take(exchange, NULL, exchange->retry_wait_ms);
    release_easy(exchange);
    exchange->retries++;
    exchange->state = OC_STATE_WAITING;
    oc_client_wait(exchange->client, exchange, exchange->retry_at_us);
    /* whoever counts down wants to know */
    oc_client_news(exchange->client, exchange);
    return;
  }
  /* what is there is shown as err.partial */
  oc_reply_finish(&exchange->response.reply);
  end(exchange, OC_STATE_FAILED);
}

void oc_exchange_fail_with(oc_exchange *exchange, oc_code code) {
  oc_error_clear(&exchange->error);
  oc_error_set(&exchange->error, code, "%s", oc_code_message(code));
  oc_exchange_fail(exchange);
}

/* The cost of a whole response may stand in a header only. */
static void read_cost(oc_exchange *exchange) {
  oc_usage *usage = &exchange->response.reply.usage;
  oc_slice value;
  oc_json reader;
  if(usage->cost >= 0
     || !oc_response_find(&exchange->response, "x-opper-cost", &value))
    return;
  oc_json_init(&reader, value.text, value.len);
  if(oc_json_next(&reader) == OC_JSON_NUMBER) {
    double cost = oc_json_number(&reader);
    if(oc_json_next(&reader) == OC_JSON_END)
      usage->cost = cost;
  }
}

void oc_exchange_finish_body(oc_exchange *exchange) {
  int failed = oc_response_finish(&exchange->response, &exchange->error);
  note_output(exchange);
  if(failed) {
    oc_exchange_fail(exchange);
    return;
  }
  read_cost(exchange);
  end(exchange, OC_STATE_DONE);
}

const char *oc_exchange_url(const oc_exchange *exchange) {
  return exchange->moved_to ? exchange->moved_to : exchange->setup->url;
}

/* Sends the same request to another place. 0: no, `error` says why. */
static int follow(oc_exchange *exchange, const char *location) {
  char *url;

  if(!oc_url_may_follow(oc_exchange_url(exchange), location)) {
    oc_error_set(&exchange->error, OC_E_REDIRECT,
                 "HTTP status %d: a redirect to another server is not "
                 "followed", exchange->response.status);
    return 0;
  }
  if(exchange->redirects == MAX_REDIRECTS) {
    oc_error_set(&exchange->error, OC_E_REDIRECTS, "more than %d redirects",
                 MAX_REDIRECTS);
    return 0;
  }
  url = oc_strndup(location, strlen(location));
  if(!url) {
    oc_error_set(&exchange->error, OC_E_NOMEM, "%s",
                 oc_code_message(OC_E_NOMEM));
    return 0;
  }
  oc_free(exchange->moved_to);
  exchange->moved_to = url;
  oc_client_note_url(exchange->client, url);
  exchange->redirects++;
  return 1;
}

int oc_exchange_is_redirect(int status) {
  return status == 301 || status == 302 || status == 307 || status == 308;
}

static void read_times(oc_exchange *exchange) {
  double first_byte;
  if(exchange->playing)
    return;
  first_byte = oc_exchange_time(exchange, CURLINFO_STARTTRANSFER_TIME);
  exchange->timing.connect =
    oc_exchange_time(exchange, CURLINFO_PRETRANSFER_TIME);
  if(first_byte > 0)
    exchange->timing.first_byte = first_byte
      + oc_seconds_between(exchange->started_us, exchange->sent_us);
}

static void read_peer(oc_exchange *exchange) {
  oc_peer *peer = &exchange->peer;
  char *address = NULL;
  long version = 0;

  curl_easy_getinfo(exchange->easy, CURLINFO_NAMELOOKUP_TIME, &peer->lookup);
  curl_easy_getinfo(exchange->easy, CURLINFO_PRIMARY_IP, &address);
  curl_easy_getinfo(exchange->easy, CURLINFO_HTTP_VERSION, &version);
  if(exchange->response.status && !exchange->moved_to)
    oc_client_note_http(exchange->client, version);
  snprintf(peer->address, sizeof peer->address, "%s", address ? address : "");
  snprintf(peer->http, sizeof peer->http, "%s",
           version == CURL_HTTP_VERSION_1_0 ? "1.0"
           : version == CURL_HTTP_VERSION_1_1 ? "1.1"
           : version == CURL_HTTP_VERSION_2_0 ? "2" : "");
}

static void send_request(oc_exchange *exchange);

void oc_exchange_follow_on(oc_exchange *exchange, const char *location) {
  if(exchange->take) {
    /* a tape is played under any address */
    char *path = oc_url_may_follow(oc_exchange_url(exchange), location)
                 ? oc_url_path(location) : NULL;
    oc_exchange_end_take(exchange, path, -1);
    oc_free(path);
  }
  if(!follow(exchange, location)) {
    oc_exchange_fail(exchange);
    return;
  }
  release_easy(exchange);
  send_request(exchange);
}

void oc_exchange_finish(oc_exchange *exchange, int result) {
  oc_response *response = &exchange->response;
  char *location = NULL;
  double connect = 0;

  curl_easy_getinfo(exchange->easy, CURLINFO_REDIRECT_URL, &location);
  curl_easy_getinfo(exchange->easy, CURLINFO_PRETRANSFER_TIME, &connect);
  oc_exchange_read_status(exchange);
  read_times(exchange);
  read_peer(exchange);
  if(exchange->error.code) {
    oc_exchange_fail(exchange);
    return;
  }
  /* libcurl takes the end of the connection for the end of the headers,
     and calls a line that it finds too long out of memory */
  if(response->head.len && !response->has_head
     && (!result || result == CURLE_PARTIAL_FILE
         || result == CURLE_OUT_OF_MEMORY)) {
    oc_code code = result == CURLE_OUT_OF_MEMORY ? OC_E_HEADERS_TOO_LARGE
                                                 : OC_E_CONNECTION;
    oc_error_set(&exchange->error, code, "%s: in the headers",
                 oc_code_message(code));
    oc_exchange_fail(exchange);
    return;
  }
  /* a connection that breaks behind "[DONE]", or in the page of an error,
     has done its work */
  if(result && !exchange->done_us && !oc_response_is_error(response)) {
    long proxy = 0;
    curl_easy_getinfo(exchange->easy, CURLINFO_HTTP_CONNECTCODE, &proxy);
    exchange->is_broken = 1;
    oc_curl_error_set(&exchange->error,
                      proxy >= 300 ? CURLE_COULDNT_RESOLVE_PROXY
                                   : (CURLcode)result,
                      exchange->detail, connect > 0);
    oc_exchange_fail(exchange);
    return;
  }
  if(oc_exchange_is_redirect(response->status) && location) {
    oc_exchange_follow_on(exchange, location);
    return;
  }
  oc_exchange_finish_body(exchange);
}

/* When the exchange runs out of time, by its own clocks. */
static int64_t own_deadline(const oc_exchange *exchange) {
  const oc_deadlines *limits = &exchange->setup->deadlines;
  int64_t deadline = OC_NEVER;

  if(exchange->state == OC_STATE_WAITING)
    return exchange->retry_at_us;
  if(exchange->has_yielded)
    return 0;
  if(exchange->done_us)
    return exchange->done_us + DONE_GRACE_MS * OC_MS;
  if(exchange->is_paused)
    deadline = OC_NEVER;
  else if(!exchange->first_token_us) {
    if(limits->first_token_ms)
      deadline = exchange->sent_us + limits->first_token_ms * OC_MS;
  }
  else if(limits->idle_ms)
    deadline = exchange->life_us + limits->idle_ms * OC_MS;
  if(limits->total_ms
     && exchange->started_us + limits->total_ms * OC_MS < deadline)
    deadline = exchange->started_us + limits->total_ms * OC_MS;
  if(exchange->links.connect_by_us
     && exchange->links.connect_by_us < deadline)
    deadline = exchange->links.connect_by_us;
  return deadline;
}

int64_t oc_exchange_deadline(const oc_exchange *exchange) {
  int64_t deadline = own_deadline(exchange);
  if(exchange->playing && !exchange->is_paused
     && oc_exchange_play_at(exchange) < deadline)
    deadline = oc_exchange_play_at(exchange);
  return deadline;
}

static void resume(oc_exchange *exchange);

/* Goes on with a transfer that had to wait, for its reader or its turn. */
static void resume(oc_exchange *exchange) {
  CURLcode result = CURLE_OK;

  exchange->is_paused = 0;
  exchange->has_yielded = 0;
  if(exchange->easy)
    result = oc_client_resume(exchange->client, exchange->easy);
  exchange->life_us = oc_client_now(exchange->client);
  if(result)
    oc_exchange_finish(exchange, (int)result);
  else
    oc_client_note_deadline(exchange->client,
                            oc_exchange_deadline(exchange));
}

/* Whether it is to end although there is always more to be read. */
static int is_over(const oc_exchange *exchange, int64_t now) {
  const oc_deadlines *limits = &exchange->setup->deadlines;
  if(exchange->done_us)
    return now >= exchange->done_us + DONE_GRACE_MS * OC_MS;
  return (limits->total_ms
          && now >= exchange->started_us + limits->total_ms * OC_MS)
         || (limits->first_token_ms && !exchange->first_token_us
             && now >= exchange->sent_us + limits->first_token_ms * OC_MS);
}

void oc_exchange_expire(oc_exchange *exchange) {
  const oc_deadlines *limits = &exchange->setup->deadlines;
  int64_t now = oc_client_now(exchange->client);
  oc_code code;
  int64_t limit;

  if(exchange->playing && !exchange->is_paused
     && oc_exchange_play_at(exchange) <= now) {
    oc_exchange_play(exchange);
    return;
  }
  if(exchange->state == OC_STATE_WAITING) {
    oc_client_stop_waiting(exchange->client, exchange);
    /* kept for whoever has not been told yet */
    oc_error_clear(&exchange->last_error);
    exchange->last_error = exchange->error;
    memset(&exchange->error, 0, sizeof exchange->error);
    send_request(exchange);
    return;
  }
  if(exchange->links.connect_by_us
     && exchange->links.connect_by_us <= now) {
    /* as libcurl would have it, in whose hands it is not yet */
    exchange->is_broken = 1;
    oc_curl_error_set(&exchange->error, CURLE_OPERATION_TIMEDOUT, "", 0);
    oc_exchange_fail(exchange);
    return;
  }
  if(exchange->has_yielded) {
    resume(exchange);
    if(!exchange->has_yielded || !is_over(exchange, now))
      return;
  }
  /* its handle would tell of an earlier transfer */
  if(exchange->links.place != OC_PLACE_HELD)
    oc_exchange_read_status(exchange);
  if(exchange->done_us || oc_response_is_error(&exchange->response)) {
    read_times(exchange);
    oc_exchange_finish_body(exchange);
    return;
  }
  if(limits->total_ms
     && now - exchange->started_us >= limits->total_ms * OC_MS) {
    code = OC_E_TIMEOUT_TOTAL;
    limit = limits->total_ms;
  }
  else if(exchange->first_token_us) {
    code = OC_E_TIMEOUT_IDLE;
    limit = limits->idle_ms;
  }
  else {
    code = OC_E_TIMEOUT_FIRST;
    limit = limits->first_token_ms;
  }
  oc_error_set(&exchange->error, code, "%s (%ld.%03ld s)",
               oc_code_message(code), (long)(limit / 1000),
               (long)(limit % 1000));
  oc_exchange_fail(exchange);
}

void oc_exchange_cancel(oc_exchange *exchange, oc_code code) {
  if(!oc_exchange_has_ended(exchange))
    oc_exchange_fail_with(exchange, code);
}

void oc_exchange_pace(oc_exchange *exchange, int has_reader) {
  exchange->has_reader = has_reader;
  if(!has_reader && exchange->is_paused
     && (exchange->easy || exchange->playing))
    resume(exchange);
}

void oc_exchange_taken(oc_exchange *exchange) {
  exchange->taken = oc_reply_size(&exchange->response.reply);
  if(exchange->is_paused && (exchange->easy || exchange->playing))
    resume(exchange);
}

/* }==== */

/* {==== sending ==== */

static CURLcode configure(oc_exchange *exchange) {
  CURL *easy = exchange->easy;
  CURLcode result = CURLE_OK;
  int64_t connect_ms = exchange->setup->deadlines.connect_ms;
#define SET(option, value)                                  \
  do {                                                      \
    if(!result)                                             \
      result = curl_easy_setopt(easy, option, value);       \
  } while(0)
  if(exchange->moved_to)
    SET(CURLOPT_URL, exchange->moved_to);
  SET(CURLOPT_CURLU, exchange->moved_to ? NULL
                                        : exchange->setup->parsed_url);
  SET(CURLOPT_PRIVATE, exchange);
  SET(CURLOPT_ERRORBUFFER, exchange->detail);
  SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)exchange->body.size);
  SET(CURLOPT_POSTFIELDS, exchange->small.len ? exchange->small.data : NULL);
  if(exchange->setup->is_get) {
    SET(CURLOPT_HTTPGET, 1L);
    SET(CURLOPT_HTTPHEADER, exchange->setup->headers);
  }
  else if(exchange->small.len)
    SET(CURLOPT_HTTPHEADER, exchange->setup->headers);
  else {
    SET(CURLOPT_HTTPHEADER, &exchange->large);
    SET(CURLOPT_POST, 1L);
    SET(CURLOPT_READFUNCTION, on_read);
    SET(CURLOPT_READDATA, exchange);
    SET(CURLOPT_SEEKFUNCTION, on_seek);
    SET(CURLOPT_SEEKDATA, exchange);
    SET(CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BUFFER);
#if LIBCURL_VERSION_NUM >= 0x075000
    SET(CURLOPT_PREREQFUNCTION, on_begin);
    SET(CURLOPT_PREREQDATA, exchange);
#endif
  }
  SET(CURLOPT_HEADERFUNCTION, on_header);
  SET(CURLOPT_HEADERDATA, exchange);
  SET(CURLOPT_WRITEFUNCTION, oc_exchange_on_body);
  SET(CURLOPT_WRITEDATA, exchange);
  if(exchange->is_stream) {
    /* compressing proxies hold streams back to fill their blocks */
    SET(CURLOPT_ACCEPT_ENCODING, NULL);
    /* refused by a handle that has its buffer still: that one will do */
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)OC_RECEIVE_BUFFER);
  }
  /* 0 would mean libcurl's own default of 300 s */
  SET(CURLOPT_CONNECTTIMEOUT_MS,
      connect_ms && connect_ms < 86400000 ? (long)connect_ms : 86400000L);
#undef SET
  return result;
}

static void send_request(oc_exchange *exchange) {
  CURLcode result;

  oc_body_seek(&exchange->body, 0);
  oc_response_reset(&exchange->response);
  exchange->detail[0] = '\0';
  exchange->state = OC_STATE_SENDING;
  exchange->sent_us = oc_now_us();
  exchange->life_us = exchange->sent_us;
  exchange->first_token_us = 0;
  exchange->done_us = 0;
  exchange->taken = 0;
  exchange->is_paused = 0;
  exchange->has_yielded = 0;
  exchange->is_broken = 0;
  if(oc_client_player(exchange->client)) {
    oc_exchange_begin_play(exchange);
    return;
  }
  if(oc_client_recorder(exchange->client))
    exchange->take = oc_take_new(oc_client_recorder(exchange->client),
                                 exchange->sent_us);
  exchange->easy = oc_client_take_easy(exchange->client, &result);
  if(!exchange->easy) {
    oc_curl_error_set(&exchange->error, result, "", 0);
    oc_exchange_fail(exchange);
    return;
  }
  /*
   * libcurl sends what it reads from a callback on its own, behind the
   * headers: one more system call, and the server wakes up twice.
   */
  if(exchange->body.size <= SMALL_BODY && !exchange->small.len
     && !exchange->setup->is_get
     && oc_body_print(&exchange->body, &exchange->small)) {
    oc_exchange_fail_with(exchange, OC_E_NOMEM);
    return;
  }
  result = configure(exchange);
  if(result) {
    oc_curl_error_set(&exchange->error, result, "", 0);
    oc_exchange_fail(exchange);
    return;
  }
  exchange->attempts++;
  /* nobody could take yet what may arrive meanwhile */
  exchange->is_starting = 1;
  if(oc_client_add(exchange->client, exchange, exchange->easy,
                   exchange->setup->deadlines.connect_ms))
    oc_exchange_fail_with(exchange, OC_E_CURL);
  exchange->is_starting = 0;
}

void oc_exchange_limit(oc_exchange *exchange, int retries) {
  if(retries < exchange->max_retries)
    exchange->max_retries = retries;
}

void oc_exchange_follow(oc_exchange *exchange, const oc_exchange *before) {
  exchange->started_us = before->started_us;
  exchange->attempts = before->attempts;
}

void oc_exchange_start(oc_exchange *exchange) {
  if(!exchange->started_us)
    exchange->started_us = oc_now_us();
  if(oc_client_is_closed(exchange->client))
    oc_exchange_fail_with(exchange, OC_E_CLOSED);
  else
    send_request(exchange);
}

/* }==== */

/* {==== reading it out ==== */

int64_t oc_exchange_tag(const oc_exchange *exchange) {
  return exchange->tag;
}

oc_state oc_exchange_state(const oc_exchange *exchange) {
  return exchange->state;
}

int oc_exchange_has_ended(const oc_exchange *exchange) {
  return exchange->state >= OC_STATE_DONE;
}

const oc_reply *oc_exchange_reply(const oc_exchange *exchange) {
  return &exchange->response.reply;
}

const oc_buf *oc_exchange_document(const oc_exchange *exchange) {
  return exchange->setup->is_get ? &exchange->response.text : NULL;
}

const oc_error *oc_exchange_error(const oc_exchange *exchange) {
  return &exchange->error;
}

const oc_timing *oc_exchange_timing(const oc_exchange *exchange) {
  return &exchange->timing;
}

int oc_exchange_retries(const oc_exchange *exchange) {
  return exchange->retries;
}

int64_t oc_exchange_retry_wait(const oc_exchange *exchange) {
  return exchange->state == OC_STATE_WAITING ? exchange->retry_wait_ms : 0;
}

const oc_error *oc_exchange_retry_error(const oc_exchange *exchange) {
  return exchange->state == OC_STATE_WAITING ? &exchange->error
                                             : &exchange->last_error;
}

int oc_exchange_attempts(const oc_exchange *exchange) {
  return exchange->attempts;
}

int oc_exchange_status(const oc_exchange *exchange) {
  return exchange->response.status;
}

const oc_setup *oc_exchange_setup(const oc_exchange *exchange) {
  return exchange->setup;
}

const oc_peer *oc_exchange_peer(const oc_exchange *exchange) {
  return &exchange->peer;
}

oc_slice oc_exchange_head(const oc_exchange *exchange) {
  oc_slice head;
  head.text = exchange->response.head.len ? exchange->response.head.data : "";
  head.len = exchange->response.head.len;
  return head;
}

int oc_exchange_header(const oc_exchange *exchange, const char *name,
                       oc_slice *value) {
  return oc_response_find(&exchange->response, name, value);
}

oc_links *oc_exchange_links(oc_exchange *exchange) {
  return &exchange->links;
}

/* }==== */
