#include "oc_retry.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>

#include "oc_random.h"

/* Longer waits are all the same: too long. */
#define FOREVER_MS ((int64_t)1000 * 3600 * 24 * 365)

static int is_word(oc_slice value, const char *word) {
  return value.len == strlen(word) && !strncasecmp(value.text, word,
                                                   value.len);
}

/* Milliseconds of a number of units; below 0: it is none. */
static int64_t milliseconds(oc_slice number, double unit_ms) {
  oc_json reader;
  double value;
  oc_json_init(&reader, number.text, number.len);
  if(oc_json_next(&reader) != OC_JSON_NUMBER)
    return -1;
  value = oc_json_number(&reader) * unit_ms;
  if(oc_json_next(&reader) != OC_JSON_END || !(value >= 0))
    return -1;
  return value < (double)FOREVER_MS ? (int64_t)(value + 0.5) : FOREVER_MS;
}

/* The time of an HTTP date, -1: it is none. */
static time_t read_date(oc_slice value) {
  char text[64];
  if(!value.len || value.len >= sizeof text)
    return -1;
  memcpy(text, value.text, value.len);
  text[value.len] = '\0';
  return curl_getdate(text, NULL);
}

/* {==== words ==== */

/* A number at `*at`, which moves behind it; below 0: none. */
static double read_number(const char **at) {
  const char *first = *at;
  oc_slice number;
  while(isdigit((unsigned char)**at)
        || (**at == '.' && *at > first && isdigit((unsigned char)(*at)[1])))
    ++*at;
  number.text = first;
  number.len = (size_t)(*at - first);
  return number.len && number.len < 20 ? oc_json_parse_number(number) : -1;
}

/* Milliseconds of the unit at `*at`, which moves behind it; 0: none. */
static double read_unit(const char **at) {
  static const struct {
    const char *name;
    double ms;
  } units[] = {
    { "milliseconds", 1 }, { "millisecond", 1 }, { "ms", 1 },
    { "seconds", 1000 }, { "second", 1000 }, { "secs", 1000 },
    { "sec", 1000 }, { "s", 1000 },
    { "minutes", 60000 }, { "minute", 60000 }, { "mins", 60000 },
    { "min", 60000 }, { "m", 60000 },
    { "hours", 3600000 }, { "hour", 3600000 }, { "h", 3600000 }
  };
  size_t i;
  for(i = 0; i < sizeof units / sizeof units[0]; i++) {
    size_t len = strlen(units[i].name);
    if(!strncasecmp(*at, units[i].name, len)
       && !isalpha((unsigned char)(*at)[len])) {
      *at += len;
      return units[i].ms;
    }
  }
  return 0;
}

/* The sum of "1m2.5s" or "20 seconds"; below 0: it is no time. */
static int64_t read_span(const char *at) {
  double sum = -1;
  for(;;) {
    double number;
    double unit;
    while(*at == ' ')
      at++;
    number = read_number(&at);
    if(number < 0)
      break;
    while(*at == ' ')
      at++;
    unit = read_unit(&at);
    if(!unit)
      break;
    sum = (sum < 0 ? 0 : sum) + number * unit;
  }
  if(sum < 0)
    return -1;
  return sum < (double)FOREVER_MS ? (int64_t)(sum + 0.5) : FOREVER_MS;
}

int64_t oc_retry_in_text(const char *message) {
  static const char *const phrases[] = {
    "again in ", "retry in ", "retry after ", "again after ", "wait "
  };
  const char *at;
  for(at = message; *at; at++) {
    size_t i;
    for(i = 0; i < sizeof phrases / sizeof phrases[0]; i++) {
      size_t len = strlen(phrases[i]);
      if(!strncasecmp(at, phrases[i], len)) {
        int64_t wait = read_span(at + len);
        if(wait >= 0)
          return wait;
      }
    }
  }
  return -1;
}

/* }==== */

int64_t oc_retry_after(const oc_retry_hints *hints, const char *message,
                       time_t now) {
  int64_t wait = milliseconds(hints->after_ms, 1);
  time_t until;

  if(wait >= 0)
    return wait;
  wait = milliseconds(hints->after, 1000);
  if(wait >= 0)
    return wait;
  until = read_date(hints->after);
  if(until != (time_t)-1) {
    time_t from = read_date(hints->date);
    double seconds = difftime(until, from != (time_t)-1 ? from : now);
    if(seconds <= 0)
      return 0;
    return seconds < (double)FOREVER_MS / 1000 ? (int64_t)(seconds * 1000)
                                               : FOREVER_MS;
  }
  return oc_retry_in_text(message);
}

int64_t oc_retry_backoff(int tries) {
  int64_t wait = OC_RETRY_FIRST_MS;
  unsigned random;
  while(--tries > 0 && wait < OC_RETRY_LIMIT_MS)
    wait *= 2;
  if(wait > OC_RETRY_LIMIT_MS)
    wait = OC_RETRY_LIMIT_MS;
  /* up to a quarter less */
  oc_random_bytes(&random, sizeof random);
  return wait - (int64_t)((double)wait / 4 * (random % 1000) / 1000);
}

static int is_worth_status(int status) {
  return status == 408 || status == 409 || status == 429 || status >= 500;
}

int oc_retry_is_worth(const oc_error *error, const oc_retry_hints *hints) {
  if(is_word(hints->should, "false"))
    return 0;
  switch(error->code) {
  case OC_E_RESOLVE:
  case OC_E_CONNECT:
  case OC_E_CONNECTION:
  case OC_E_PROXY:
  case OC_E_CURL:
  case OC_E_TLS:
  case OC_E_TIMEOUT_CONNECT:
  case OC_E_TRUNCATED:
  case OC_E_EMPTY:
    return 1;
  case OC_E_API:
  case OC_E_HTTP_STATUS:
    return is_word(hints->should, "true") || is_worth_status(error->status)
           || error->retryable;
  default:
    return 0;
  }
}
