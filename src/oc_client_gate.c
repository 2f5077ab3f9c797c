/*
 * Requests that begin together need one connection where the server speaks
 * HTTP/2, and one each where it does not. Which of the two is known when the
 * first connection is there: until then the first request goes ahead and the
 * others wait for it, but not for long.
 *
 * libcurl could have them wait (CURLOPT_PIPEWAIT). But it forgets what a
 * server speaks when the last connection to it is closed, lets those that
 * wait go one by one where it is HTTP/1, and does not count the time. So it
 * is asked to only where HTTP/2 is known to be spoken.
 */
#include "oc_client_private.h"

#include "oc_clock.h"
#include "oc_exchange.h"

/* How long the others wait for the first one. A handshake over a slow network
   takes as long. */
#define PATIENCE_US (500 * OC_MS)

/* Whether the transfer has a connection: its request has left. */
static int is_connected(CURL *easy) {
  double connect = 0;
  curl_easy_getinfo(easy, CURLINFO_PRETRANSFER_TIME, &connect);
  return connect > 0;
}

static void put_last(oc_client *client, oc_exchange *exchange, CURL *easy) {
  oc_links *links = oc_exchange_links(exchange);
  links->held = easy;
  links->held_behind = NULL;
  links->held_before = client->held_last;
  if(client->held_last)
    oc_exchange_links(client->held_last)->held_behind = exchange;
  else
    client->held_first = exchange;
  client->held_last = exchange;
}

static void take_out(oc_client *client, oc_exchange *exchange) {
  oc_links *links = oc_exchange_links(exchange);
  if(links->held_before)
    oc_exchange_links(links->held_before)->held_behind = links->held_behind;
  else
    client->held_first = links->held_behind;
  if(links->held_behind)
    oc_exchange_links(links->held_behind)->held_before = links->held_before;
  else
    client->held_last = links->held_before;
  links->held_before = links->held_behind = NULL;
  links->held = NULL;
  if(!client->held_first)
    client->lets_in = 0;
}

/* The first one's connection is to tell what the server speaks. */
static void lead(oc_client *client, oc_exchange *exchange, CURL *easy) {
  client->leader = exchange;
  client->leader_easy = easy;
  client->held_until_us = client->now_us + PATIENCE_US;
}

/*
 * Whether libcurl is to have a request wait for a connection that is about to
 * be there. Not the first of as many as share one: so connections that are
 * needed together are opened together.
 */
static int may_wait(const oc_client *client) {
  size_t under_way = client->active - client->waiting;
  return client->sharing == OC_SHARING_YES && !client->max_connections
         && under_way % OC_STREAMS_PER_CONNECTION != 0;
}

/* Says how a request comes to a connection that is launched now. */
static void prepare(oc_client *client, oc_exchange *exchange, CURL *easy) {
  long waits = may_wait(client);

  if(client->sharing == OC_SHARING_UNKNOWN && !client->leader
     && !client->lets_in)
    lead(client, exchange, easy);
  curl_easy_setopt(easy, CURLOPT_PIPEWAIT, waits);
  if(!waits)
    oc_exchange_links(exchange)->connect_by_us = 0;
}

int oc_gate_hold(oc_client *client, oc_exchange *exchange, CURL *easy,
                 int64_t connect_ms) {
  oc_links *links = oc_exchange_links(exchange);

  if(connect_ms)
    links->connect_by_us = client->now_us + connect_ms * OC_MS;
  if(client->held_first
     || (client->sharing == OC_SHARING_UNKNOWN && client->leader
         && client->now_us < client->held_until_us)) {
    put_last(client, exchange, easy);
    oc_client_wait(client, exchange, oc_exchange_deadline(exchange));
    return 1;
  }
  prepare(client, exchange, easy);
  return 0;
}

int oc_gate_leave(oc_client *client, oc_exchange *exchange) {
  if(oc_exchange_links(exchange)->held) {
    take_out(client, exchange);
    client->waiting--;
    return 1;
  }
  /* the next one goes ahead in its place */
  if(client->leader == exchange)
    client->leader = NULL;
  return 0;
}

void oc_gate_note_end(oc_client *client, const oc_exchange *exchange) {
  if(client->leader != exchange)
    return;
  client->leader = NULL;
  /* it has failed: what the others are told they find out by themselves */
  if(!is_connected(client->leader_easy))
    client->lets_in = client->held_first != NULL;
  else if(client->sharing == OC_SHARING_UNKNOWN)
    client->sharing = OC_SHARING_YES;
}

void oc_client_note_http(oc_client *client, long version) {
  if(client->sharing == OC_SHARING_NEVER)
    return;
  if(version == CURL_HTTP_VERSION_2_0)
    client->sharing = OC_SHARING_YES;
  else if(version == CURL_HTTP_VERSION_1_1
          || version == CURL_HTTP_VERSION_1_0)
    client->sharing = OC_SHARING_NO;
}

int oc_gate_is_due(const oc_client *client) {
  return client->held_first
         && (client->sharing != OC_SHARING_UNKNOWN || client->lets_in
             || !client->leader);
}

int64_t oc_gate_deadline(const oc_client *client) {
  return client->held_first ? client->held_until_us : OC_NEVER;
}

/* Launches the first of those held back. */
static void let_in(oc_client *client) {
  oc_exchange *exchange = client->held_first;
  oc_links *links = oc_exchange_links(exchange);
  CURL *easy = links->held;
  int64_t now = oc_now_us();

  /* what it has waited counts */
  if(links->connect_by_us) {
    int64_t left_us = links->connect_by_us - now;
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                     left_us > OC_MS ? (long)(left_us / OC_MS) : 1L);
  }
  prepare(client, exchange, easy);
  take_out(client, exchange);
  oc_client_stop_waiting(client, exchange);
  if(oc_client_launch(client, exchange, easy))
    oc_exchange_cancel(exchange, OC_E_CURL);
}

void oc_gate_serve(oc_client *client, int64_t until_us) {
  if(client->leader && is_connected(client->leader_easy)) {
    client->leader = NULL;
    if(client->sharing == OC_SHARING_UNKNOWN)
      client->sharing = OC_SHARING_YES;
  }
  if(client->held_first && client->now_us >= client->held_until_us)
    client->lets_in = 1;
  while(oc_gate_is_due(client)) {
    let_in(client);
    if(until_us != OC_NEVER && oc_now_us() >= until_us)
      break;
  }
}
