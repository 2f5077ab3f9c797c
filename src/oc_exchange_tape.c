#include "oc_exchange_private.h"

#include <string.h>

#include "oc_alloc.h"
#include "oc_clock.h"
#include "oc_url.h"

/* {==== recording ==== */

/* Whether the answer is not to blame, as far as it came. */
static int is_of_transfer(const oc_exchange *exchange) {
  switch(oc_code_kind(exchange->error.code)) {
  case OC_KIND_NETWORK:
  case OC_KIND_TLS:
  case OC_KIND_TIMEOUT:
  case OC_KIND_CANCELLED:
  case OC_KIND_LIMIT:
    return 1;
  default:
    return exchange->is_broken;
  }
}

/* Behind the client's base_url, or where a redirect led; NULL: no memory.
   The caller frees. */
static char *path_of(const oc_exchange *exchange) {
  const char *path = exchange->setup->url
                     + strlen(oc_client_base_url(exchange->client));
  return exchange->moved_to ? oc_url_path(exchange->moved_to)
                            : oc_strndup(path, strlen(path));
}

void oc_exchange_end_take(oc_exchange *exchange, const char *location,
                          int64_t retry_ms) {
  oc_take *take = exchange->take;
  oc_take_end end;
  long status = 0;
  char *path;

  if(!take)
    return;
  exchange->take = NULL;
  path = path_of(exchange);
  memset(&end, 0, sizeof end);
  end.method = exchange->setup->is_get ? "GET" : "POST";
  end.path = path ? path : "";
  end.attempt = exchange->attempts;
  end.headers = exchange->setup->headers;
  end.body = exchange->setup->is_get ? NULL : &exchange->body;
  end.response = &exchange->response;
  end.is_stream = exchange->response.mode == OC_RESPONSE_STREAM;
  end.location = location;
  end.error = is_of_transfer(exchange) ? &exchange->error : NULL;
  end.connect = -1;
  /* held back, its handle would tell of an earlier transfer */
  if(exchange->easy && exchange->links.place != OC_PLACE_HELD) {
    curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &status);
    end.connect = oc_exchange_time(exchange, CURLINFO_PRETRANSFER_TIME);
    end.first_byte = oc_exchange_time(exchange, CURLINFO_STARTTRANSFER_TIME);
  }
  end.status = (int)status;
  end.retry_ms = retry_ms;
  end.now_us = oc_now_us();
  end.is_same = exchange->links.has_news;
  oc_take_finish(take, &end);
  oc_free(path);
}

/* }==== */

/* {==== playing ==== */

/* A host that comes so late gets all that is due together, as it would from
   a socket. */
#define LATE_MS 20

int64_t oc_exchange_play_at(const oc_exchange *exchange) {
  const oc_player *player = oc_client_player(exchange->client);
  const oc_recording *recording = exchange->playing;
  int64_t ms = exchange->has_played_head
               ? oc_recording_due(player, recording, exchange->piece)
               : oc_recording_head_due(player, recording);
  return exchange->sent_us + ms * OC_MS;
}

static int play_head(oc_exchange *exchange) {
  size_t at = 0;
  oc_slice line;
  exchange->has_played_head = 1;
  exchange->timing.first_byte =
    oc_seconds_between(exchange->sent_us, oc_client_now(exchange->client));
  while(oc_recording_head(exchange->playing, &at, &line)) {
    if(oc_response_header(&exchange->response, line.text, line.len,
                          &exchange->error))
      return 0;
  }
  exchange->life_us = oc_client_now(exchange->client);
  return 1;
}

/* The recording has come to its end, or the answer to nothing. */
static void finish_play(oc_exchange *exchange) {
  oc_response *response = &exchange->response;
  const char *message;
  int retryable;
  oc_code code = oc_recording_error(exchange->playing, &message, &retryable);
  oc_kind kind = oc_code_kind(code);
  oc_slice value;

  oc_exchange_read_status(exchange);
  if(!exchange->error.code && code
     && (kind == OC_KIND_CANCELLED
         || (!exchange->done_us && !oc_response_is_error(response)))) {
    oc_error_set(&exchange->error, code, "%s", message);
    if(retryable >= 0)
      exchange->error.retryable = retryable;
  }
  if(exchange->error.code)
    oc_exchange_fail(exchange);
  else if(oc_exchange_is_redirect(response->status)
          && oc_response_find(response, "location", &value)) {
    char *location = oc_strndup(value.text, value.len);
    char *url = location ? oc_url_join(oc_exchange_url(exchange), location)
                         : NULL;
    oc_exchange_follow_on(exchange, url ? url : "");
    oc_free(location);
    oc_free(url);
  }
  else
    oc_exchange_finish_body(exchange);
}

/*
 * Plays what came together next: no more each time, so that the caller sees
 * it as it was seen when it was recorded.
 */
void oc_exchange_play(oc_exchange *exchange) {
  const oc_recording *recording = exchange->playing;
  int is_instant = oc_player_is_instant(oc_client_player(exchange->client));
  size_t count = oc_recording_pieces(recording);
  int64_t now = oc_client_now(exchange->client);

  if(!exchange->has_played_head) {
    if(!play_head(exchange)) {
      finish_play(exchange);
      return;
    }
    if(is_instant || oc_exchange_play_at(exchange) <= now)
      oc_exchange_play(exchange);
    else
      oc_client_note_deadline(exchange->client,
                              oc_exchange_deadline(exchange));
    return;
  }
  do {
    oc_slice bytes;
    size_t got;
    if(exchange->piece == count) {
      finish_play(exchange);
      return;
    }
    bytes = oc_recording_piece(recording, exchange->piece++);
    got = !bytes.len ? 0
          : oc_exchange_on_body((char *)(uintptr_t)bytes.text, 1, bytes.len,
                                exchange);
    if(got == CURL_WRITEFUNC_PAUSE) {
      /* it is told when there is room for this piece */
      exchange->piece--;
      return;
    }
    if(got != bytes.len
       || (exchange->piece == count
           && oc_recording_ends_with_piece(recording))) {
      finish_play(exchange);
      return;
    }
  } while(oc_recording_is_same(recording, exchange->piece)
          || (!is_instant
              && oc_exchange_play_at(exchange) + LATE_MS * OC_MS <= now));
  oc_client_note_deadline(exchange->client, oc_exchange_deadline(exchange));
}

void oc_exchange_begin_play(oc_exchange *exchange) {
  oc_player_request request;
  oc_buf body;
  char *path = path_of(exchange);

  exchange->attempts++;
  memset(&request, 0, sizeof request);
  oc_buf_init(&body, SIZE_MAX / 4);
  if(!path || (!exchange->setup->is_get
               && oc_body_print(&exchange->body, &body))) {
    oc_free(path);
    oc_exchange_fail_with(exchange, OC_E_NOMEM);
    return;
  }
  request.method = exchange->setup->is_get ? "GET" : "POST";
  request.path = path;
  request.attempt = exchange->attempts;
  request.body.text = body.data;
  request.body.len = body.len;
  request.key = oc_client_key(exchange->client);
  exchange->has_played_head = 0;
  exchange->piece = 0;
  exchange->playing = oc_player_find(oc_client_player(exchange->client),
                                     &request, &exchange->error);
  oc_buf_free(&body);
  oc_free(path);
  if(!exchange->playing) {
    oc_exchange_fail(exchange);
    return;
  }
  if(oc_recording_connect(exchange->playing) >= 0)
    exchange->timing.connect = oc_recording_connect(exchange->playing);
  oc_client_wait(exchange->client, exchange, oc_exchange_deadline(exchange));
}

/* }==== */
