#include "oc_client_private.h"

#include <limits.h>
#include <time.h>

#include "oc_clock.h"
#include "oc_exchange.h"
#include "oc_sigpipe.h"

/* How often sockets are asked for in one sweep. */
#define MAX_LOOKS 64
/* Sockets served before what they brought is handed on. */
#define SLICE 8
/* A read of so much may have left something behind: half of libcurl's buffer,
   as what frames a chunk is in it too. */
#define FULL_READ (CURL_MAX_WRITE_SIZE / 2)
/* See gather(). */
#define MIN_SHARED 4
#define PAUSE_EACH_US 100
#define PAUSE_MAX_US 1000
/* How often one step waits again when there was no news. */
#define MAX_TURNS 64

/* Lets libcurl act on one socket, or on its timers. */
static void act(oc_client *client, curl_socket_t fd, int events) {
  int mask = (events & OC_POLL_IN ? CURL_CSELECT_IN : 0)
             | (events & OC_POLL_OUT ? CURL_CSELECT_OUT : 0)
             | (events & OC_POLL_ERROR ? CURL_CSELECT_ERR : 0);
  client->received = 0;
  if(curl_multi_socket_action(client->multi, fd, mask, &client->running))
    client->is_broken = 1;
}

void oc_client_run_timers(oc_client *client) {
  /* libcurl sets the next one while it works on this */
  client->curl_deadline_us = OC_NEVER;
  act(client, CURL_SOCKET_TIMEOUT, 0);
}

static int is_past(int64_t until_us) {
  return until_us != OC_NEVER && oc_now_us() >= until_us;
}

/*
 * Hands libcurl's finished transfers to their exchanges: one in any case,
 * and no more when the time is up.
 */
static void collect_finished(oc_client *client, int64_t until_us) {
  CURLMsg *message;
  client->finished = 0;
  while((message = curl_multi_info_read(client->multi, &client->finished))
        != NULL) {
    if(message->msg == CURLMSG_DONE) {
      CURLcode result = message->data.result;
      char *exchange = NULL;
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &exchange);
      oc_gate_note_end(client, (oc_exchange *)(void *)exchange);
      oc_exchange_finish((oc_exchange *)(void *)exchange, (int)result);
    }
    if(is_past(until_us))
      break;
  }
}

/*
 * Ends all transfers. An action of libcurl's fails when it gets no memory,
 * and then it does not say of which transfer it has lost sight.
 */
static void give_up(oc_client *client) {
  oc_exchange *exchange;
  oc_exchange *behind;

  client->is_broken = 0;
  for(exchange = client->first; exchange; exchange = behind) {
    behind = oc_exchange_links(exchange)->behind;
    if(oc_exchange_state(exchange) != OC_STATE_WAITING
       && oc_exchange_links(exchange)->place != OC_PLACE_HELD)
      oc_exchange_finish(exchange, CURLE_OUT_OF_MEMORY);
  }
}

/*
 * Ends the exchanges that have run out of time, one in any case, and sends
 * those again that have waited for it. Life only moves a deadline further
 * away, so the earliest one of the last look is a safe time for the next
 * look, and a chunk costs nothing here.
 *
 * Whoever is told that its time is up must have been heard before: what
 * counts is the time up to which all sockets were read.
 */
static void check_deadlines(oc_client *client, int64_t until_us) {
  oc_exchange *exchange = client->due_from;

  if(!exchange) {
    if(client->heard_us < client->next_deadline_us)
      return;
    client->next_deadline_us = OC_NEVER;
    exchange = client->first;
  }
  while(exchange) {
    int64_t deadline = oc_exchange_deadline(exchange);
    /* taken off the list, it does not go astray */
    client->due_from = oc_exchange_links(exchange)->behind;
    if(deadline > client->heard_us)
      oc_client_note_deadline(client, deadline);
    else {
      oc_exchange_expire(exchange);
      if(is_past(until_us))
        return;
    }
    exchange = client->due_from;
  }
}

/*
 * Milliseconds until a deadline, or libcurl, is due; -1: not at all. They
 * are rounded up: whoever sleeps for so long finds that it has passed, and
 * does not come back again and again in its last millisecond.
 */
static int64_t due_ms(const oc_client *client) {
  int64_t deadline;
  int64_t now;

  if(!client->multi)
    return -1;
  /* a step has left something, or it was over as soon as it was added */
  if(client->is_broken || client->looks || client->finished
     || client->due_from
     || client->running < (int)(client->active - client->waiting))
    return 0;
  deadline = client->curl_deadline_us < client->next_deadline_us
             ? client->curl_deadline_us : client->next_deadline_us;
  if(oc_gate_deadline(client) < deadline)
    deadline = oc_gate_deadline(client);
  if(deadline == OC_NEVER)
    return -1;
  now = oc_now_us();
  return deadline > now ? (deadline - now + OC_MS - 1) / OC_MS : 0;
}

int64_t oc_client_timeout_ms(oc_client *client) {
  return client->news_first ? 0 : due_ms(client);
}

int oc_client_fd(const oc_client *client) {
  return client->multi ? oc_poller_fd(client->poller) : -1;
}

/*
 * Asks which sockets have news, waiting for some if there are none. With
 * poll(2) and no socket at all this is a sleep, which libcurl needs while it
 * looks up a name in a thread. 0: a signal has ended the wait.
 */
static int look(oc_client *client, int wait_ms) {
  int count = oc_poller_wait(client->poller, wait_ms, client->ready,
                             MAX_READY);
  client->now_us = oc_now_us();
  client->ready_at = 0;
  client->ready_count = count > 0 ? count : 0;
  client->may_have_more = 0;
  if(!client->looks++)
    client->sweep_us = client->now_us;
  client->is_last_look = count < MAX_READY || client->looks >= MAX_LOOKS;
  return count >= 0;
}

/*
 * Lets libcurl act on so many of the sockets that are ready, on one in any
 * case. Those it does not come to keep their turn: the kernel would name the
 * same ones first again.
 */
static void serve(oc_client *client, int max, int64_t until_us) {
  while(client->ready_at < client->ready_count && max--) {
    const oc_ready *ready = &client->ready[client->ready_at++];
    if(ready->fd < 0)
      continue;
    act(client, ready->fd, ready->events);
    if(client->received >= FULL_READ || ready->events & OC_POLL_OUT)
      client->may_have_more = 1;
    if(is_past(until_us))
      break;
  }
}

/* Does what sockets and libcurl's timers ask for. */
static void work(oc_client *client, int max, int64_t until_us) {
  if(client->ready_at < client->ready_count
     || client->now_us >= client->curl_deadline_us) {
    oc_sigpipe guard;
    oc_sigpipe_hold(&guard, client->has_tls);
    serve(client, max, until_us);
    if(client->now_us >= client->curl_deadline_us)
      oc_client_run_timers(client);
    oc_sigpipe_release(&guard);
  }
  if(client->looks && client->ready_at == client->ready_count
     && client->is_last_look) {
    client->looks = 0;
    client->heard_us = client->sweep_us;
  }
}

/* Hands on what has ended. */
static void settle(oc_client *client, int64_t until_us) {
  oc_poller_flush(client->poller);
  /* always: adding a handle may have finished it */
  collect_finished(client, until_us);
  if(client->is_broken)
    give_up(client);
  if(!client->finished)
    check_deadlines(client, until_us);
  if(client->gate.leaders.count || client->gate.held.count)
    oc_gate_serve(client, until_us);
}

/*
 * libcurl asks every stream of a connection whether it has news when one has,
 * and servers send each of them by itself. So a connection of many streams is
 * read so often that the asking takes a part of the time at most: what comes
 * meanwhile is read in one go. Not when there is more to be read or written
 * than fits in at a time. 0: a signal has ended the wait.
 */
static int gather(oc_client *client, int64_t last_us) {
  struct timespec pause = { 0, 0 };
  size_t streams = client->active - client->waiting;
  int64_t pause_us;
  int worked;
  int i;

  /* news without a socket of ours: libcurl has looked up a name */
  if(client->gate.sharing != OC_SHARING_YES || !client->gate.sockets
     || streams < client->gate.sockets * MIN_SHARED)
    return 1;
  for(i = 0; i < client->ready_count; i++) {
    if(client->ready[i].events != OC_POLL_IN)
      return 1;
  }
  pause_us = (int64_t)(streams / client->gate.sockets) * PAUSE_EACH_US;
  pause_us = last_us + (pause_us < PAUSE_MAX_US ? pause_us : PAUSE_MAX_US)
             - client->now_us;
  if(pause_us <= 0)
    return 1;
  pause.tv_nsec = (long)pause_us * 1000;
  worked = !nanosleep(&pause, NULL);
  client->now_us = oc_now_us();
  return worked;
}

/* Serves all sockets that are ready. 0: a signal has ended the wait. */
static int move(oc_client *client, int wait_ms) {
  int64_t last_us = client->sweep_us;
  int is_full = client->may_have_more;
  int worked;

  if(client->looks)
    work(client, MAX_READY, OC_NEVER);
  do {
    worked = look(client, wait_ms);
    if(wait_ms && client->ready_count && !is_full)
      worked = gather(client, last_us);
    work(client, MAX_READY, OC_NEVER);
    wait_ms = 0;
  } while(client->looks);
  settle(client, OC_NEVER);
  return worked;
}

/* How long to wait at most: until `until_us`, or sooner if something is due. */
static int wait_until(const oc_client *client, int64_t until_us) {
  int64_t wait_ms = due_ms(client);
  if(until_us != OC_NEVER) {
    int64_t now = oc_now_us();
    int64_t left_ms = until_us > now ? (until_us - now + OC_MS - 1) / OC_MS
                                     : 0;
    if(wait_ms < 0 || left_ms < wait_ms)
      wait_ms = left_ms;
  }
  return wait_ms > INT_MAX ? INT_MAX : (int)wait_ms;
}

/*
 * A body of 10 MB leaves in 160 writes, and of none of them there is
 * anything to be told: going back to the caller each time would cost more
 * than writing. A signal goes back at once; one that came while libcurl was
 * at work, where nobody sees it, after MAX_TURNS at the latest.
 */
void oc_client_step(oc_client *client, int64_t wait_ms, int anyway) {
  int64_t until = OC_NEVER;
  int turns = 0;

  if(!client->multi)
    return;
  if(!wait_ms || (client->news_first && !anyway)) {
    move(client, 0);
    return;
  }
  if(wait_ms > 0)
    until = oc_now_us() + wait_ms * OC_MS;
  while(move(client, wait_until(client, until)) && !client->news_first
        && client->active && client->now_us < until && ++turns < MAX_TURNS)
    ;
}

void oc_client_await(oc_client *client, int64_t wait_ms) {
  if(client->multi && !client->news_first && !client->looks)
    look(client, wait_until(client, wait_ms < 0 ? OC_NEVER
                                    : oc_now_us() + wait_ms * OC_MS));
}

int oc_client_step_until(oc_client *client, int64_t until_us) {
  if(!client->multi)
    return 0;
  if(client->ready_at == client->ready_count)
    look(client, 0);
  else
    client->now_us = oc_now_us();
  client->until_us = until_us;
  work(client, SLICE, until_us);
  settle(client, until_us);
  client->until_us = OC_NEVER;
  return client->looks || client->finished || client->due_from
         || client->may_have_more || !oc_gate_deadline(client)
         || is_past(client->curl_deadline_us)
         || client->next_deadline_us <= client->heard_us;
}
