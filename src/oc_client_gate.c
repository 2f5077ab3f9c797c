/*
 * Requests that begin together need one connection where the server speaks
 * HTTP/2, or one for each hundred of them, and one each where it does not.
 * Which of the two is known when the first connection is there.
 *
 * libcurl opens a connection for each request that finds none with room in
 * it. So whoever needs a new one becomes a leader, and the others are held
 * back until it is there: not for long, and then in growing numbers they go
 * ahead as well. In plain HTTP, and where the server speaks HTTP/1, nobody
 * waits.
 *
 * (CURLOPT_PIPEWAIT is something like it. But libcurl then forgets what a
 * server speaks when the last connection to it is closed, lets those that
 * wait go one by one where it is HTTP/1, does not count their time, and when
 * connections are full opens one for each request nevertheless.)
 */
#include "oc_client_private.h"

#include "oc_clock.h"
#include "oc_exchange.h"

/* How long connections are waited for before more are opened. */
#define PATIENCE_US (300 * OC_MS)

/* {==== queues ==== */

static void put_last(oc_queue *queue, oc_exchange *exchange, oc_place place) {
  oc_links *links = oc_exchange_links(exchange);
  links->place = place;
  links->gate_behind = NULL;
  links->gate_before = queue->last;
  if(queue->last)
    oc_exchange_links(queue->last)->gate_behind = exchange;
  else
    queue->first = exchange;
  queue->last = exchange;
  queue->count++;
}

static void take_out(oc_queue *queue, oc_exchange *exchange) {
  oc_links *links = oc_exchange_links(exchange);
  if(links->gate_before)
    oc_exchange_links(links->gate_before)->gate_behind = links->gate_behind;
  else
    queue->first = links->gate_behind;
  if(links->gate_behind)
    oc_exchange_links(links->gate_behind)->gate_before = links->gate_before;
  else
    queue->last = links->gate_before;
  links->gate_before = links->gate_behind = NULL;
  links->place = OC_PLACE_NONE;
  queue->count--;
}

/* }==== */

/* Whether the transfer has a connection: its request has left. */
static int is_connected(CURL *easy) {
  double connect = 0;
  curl_easy_getinfo(easy, CURLINFO_PRETRANSFER_TIME, &connect);
  return connect > 0;
}

/*
 * Whether requests may have to wait here. Where the number of connections is
 * limited it is libcurl that has them wait, and as long as it takes, once
 * there is one.
 */
static int is_shared(const oc_client *client) {
  return client->gate.sharing == OC_SHARING_UNKNOWN
         || (client->gate.sharing == OC_SHARING_YES
             && !client->max_connections);
}

/* Requests that connections serve which are ready. */
static size_t served(const oc_client *client) {
  return client->active - client->waiting - client->gate.leaders.count;
}

/* Whether a request finds a connection that has room for it. */
static int has_room(const oc_client *client) {
  const oc_gate *gate = &client->gate;
  return served(client) < gate->ready * gate->streams_each;
}

/*
 * Whether the first one that is held back is to open a connection, as those
 * that are being opened have no room for it. As long as nobody knows what the
 * server speaks there is one leader.
 */
static int lacks_leader(const oc_gate *gate) {
  if(gate->sharing == OC_SHARING_UNKNOWN)
    return !gate->leaders.count;
  return gate->leaders.count + gate->held.count
         > gate->leaders.count * gate->streams_each;
}

/* Whether the first one that is held back may go. */
static int may_go(const oc_client *client) {
  const oc_gate *gate = &client->gate;
  return gate->held.count
         && (gate->lets_in || !is_shared(client)
             || lacks_leader(gate) || has_room(client));
}

/*
 * Connections that were thought to have room take nobody more, beside the
 * requests they all served before. That is what the server allows; but where
 * it is one each, more likely it gives them up, and the next one has room.
 */
static void learn_room(oc_gate *gate, size_t before) {
  if(before > gate->ready)
    gate->streams_each = (before + gate->ready - 1) / gate->ready;
  else
    gate->ready = 0;
}

/* Puts a transfer into libcurl's hands and sees whether that opens a
   connection. */
static CURLMcode launch(oc_client *client, oc_exchange *exchange, CURL *easy) {
  oc_gate *gate = &client->gate;
  int is_led = !has_room(client);
  size_t before = served(client);
  unsigned opened = gate->opened;
  unsigned closed = gate->closed;
  CURLMcode result;

  oc_exchange_links(exchange)->easy = easy;
  oc_exchange_links(exchange)->connect_by_us = 0;
  result = oc_client_launch(client, exchange, easy);
  if(result || !is_shared(client))
    return result;
  /* the last connection may have been dead, and the name is looked up first */
  if(!is_led && (gate->opened != opened || !gate->ready)
     && !is_connected(easy)) {
    is_led = 1;
    if(gate->closed == closed && gate->ready)
      learn_room(gate, before);
  }
  if(is_led)
    put_last(&gate->leaders, exchange, OC_PLACE_LEADING);
  return result;
}

void oc_gate_init(oc_gate *gate, int shares) {
  const curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);
  gate->streams_each = OC_STREAMS_EACH;
  gate->sharing = shares && info->features & CURL_VERSION_HTTP2
                  ? OC_SHARING_UNKNOWN : OC_SHARING_NEVER;
}

CURLMcode oc_gate_enter(oc_client *client, oc_exchange *exchange, CURL *easy,
                        int64_t connect_ms) {
  oc_gate *gate = &client->gate;
  oc_links *links = oc_exchange_links(exchange);

  if(client->active == client->waiting)
    gate->streams_each = OC_STREAMS_EACH;
  if(!is_shared(client)
     || (!gate->held.count && (!gate->leaders.count || has_room(client))))
    return launch(client, exchange, easy);
  if(!gate->held.count)
    gate->patience_us = client->now_us + PATIENCE_US;
  links->easy = easy;
  links->connect_by_us = connect_ms ? client->now_us + connect_ms * OC_MS : 0;
  put_last(&gate->held, exchange, OC_PLACE_HELD);
  oc_client_wait(client, exchange, oc_exchange_deadline(exchange));
  return CURLM_OK;
}

/* Takes one out that was held back. */
static void release(oc_client *client, oc_exchange *exchange) {
  oc_gate *gate = &client->gate;
  take_out(&gate->held, exchange);
  client->waiting--;
  if(!gate->held.count)
    gate->lets_in = 0;
}

int oc_gate_leave(oc_client *client, oc_exchange *exchange) {
  switch(oc_exchange_links(exchange)->place) {
  case OC_PLACE_HELD:
    oc_exchange_links(exchange)->connect_by_us = 0;
    release(client, exchange);
    return 1;
  case OC_PLACE_LEADING:
    /* the next one goes ahead in its place */
    take_out(&client->gate.leaders, exchange);
    return 0;
  default:
    return 0;
  }
}

/* A leader has its connection, a new one or one that got room meanwhile. */
static void arrive(oc_gate *gate, oc_exchange *leader) {
  long connects = 0;

  take_out(&gate->leaders, leader);
  curl_easy_getinfo(oc_exchange_links(leader)->easy, CURLINFO_NUM_CONNECTS,
                    &connects);
  if(connects && gate->ready < gate->sockets)
    gate->ready++;
  if(gate->sharing == OC_SHARING_UNKNOWN)
    gate->sharing = OC_SHARING_YES;
}

void oc_gate_note_end(oc_client *client, oc_exchange *exchange) {
  oc_gate *gate = &client->gate;
  oc_links *links = oc_exchange_links(exchange);

  if(links->place != OC_PLACE_LEADING)
    return;
  if(is_connected(links->easy))
    arrive(gate, exchange);
  else {
    take_out(&gate->leaders, exchange);
    /* why it has failed the others find out by themselves, all at once */
    if(gate->sharing == OC_SHARING_UNKNOWN && !gate->leaders.count
       && gate->held.count)
      gate->lets_in = 1;
  }
}

void oc_gate_note_open(oc_gate *gate) {
  gate->sockets++;
  gate->opened++;
}

void oc_gate_note_close(oc_gate *gate) {
  gate->sockets--;
  gate->closed++;
  /* it may be that which was to be used no more, and looked full */
  gate->streams_each = OC_STREAMS_EACH;
  if(gate->ready > gate->sockets)
    gate->ready = gate->sockets;
}

void oc_client_note_http(oc_client *client, long version) {
  oc_gate *gate = &client->gate;
  if(gate->sharing == OC_SHARING_NEVER)
    return;
  if(version == CURL_HTTP_VERSION_2_0) {
    if(gate->sharing == OC_SHARING_NO)
      gate->streams_each = OC_STREAMS_EACH;
    gate->sharing = OC_SHARING_YES;
  }
  else if(version == CURL_HTTP_VERSION_1_1
          || version == CURL_HTTP_VERSION_1_0)
    gate->sharing = OC_SHARING_NO;
}

int64_t oc_gate_deadline(const oc_client *client) {
  oc_exchange *leader = client->gate.leaders.first;
  if(!client->gate.held.count)
    return OC_NEVER;
  /* one may have got its connection outside of a step */
  for(; leader; leader = oc_exchange_links(leader)->gate_behind) {
    if(is_connected(oc_exchange_links(leader)->easy))
      return 0;
  }
  return may_go(client) ? 0 : client->gate.patience_us;
}

/* Launches the first of those held back. */
static void let_in(oc_client *client) {
  oc_exchange *exchange = client->gate.held.first;
  oc_links *links = oc_exchange_links(exchange);

  /* what it has waited counts */
  if(links->connect_by_us) {
    int64_t left_us = links->connect_by_us - oc_now_us();
    curl_easy_setopt(links->easy, CURLOPT_CONNECTTIMEOUT_MS,
                     left_us > OC_MS ? (long)(left_us / OC_MS) : 1L);
  }
  release(client, exchange);
  oc_client_unlist(client, exchange);
  if(launch(client, exchange, links->easy))
    oc_exchange_cancel(exchange, OC_E_CURL);
}

void oc_gate_serve(oc_client *client, int64_t until_us) {
  oc_gate *gate = &client->gate;
  oc_exchange *leader = gate->leaders.first;
  size_t more = 0;

  while(leader) {
    oc_links *links = oc_exchange_links(leader);
    oc_exchange *behind = links->gate_behind;
    if(gate->sharing == OC_SHARING_NO)
      take_out(&gate->leaders, leader);
    else if(is_connected(links->easy))
      arrive(gate, leader);
    leader = behind;
  }
  if(gate->held.count && client->now_us >= gate->patience_us) {
    more = gate->leaders.count + 1;
    gate->patience_us = client->now_us + PATIENCE_US;
  }
  while(may_go(client) || (more && gate->held.count)) {
    if(more)
      more--;
    let_in(client);
    if(until_us != OC_NEVER && oc_now_us() >= until_us)
      break;
  }
}
