#include "oc_retry.h"

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

static int is_digit(char c) {
  return c >= '0' && c <= '9';
}

static int is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* A number such as 20 or 1.5 at `*at`, which moves behind it; below 0:
   none. */
static double read_number(const char **at) {
  const char *first = *at;
  const char *end = first;
  oc_slice number;

  while(is_digit(*end))
    end++;
  if(end > first && *end == '.' && is_digit(end[1])) {
    end++;
    while(is_digit(*end))
      end++;
  }
  *at = end;
  number.text = first;
  number.len = (size_t)(end - first);
  return number.len ? oc_json_parse_number(number) : -1;
}

/* Milliseconds of the unit at `*at`, which moves behind it; 0: none. */
static double read_unit(const char **at) {
  static const struct {
    const char *name;
    double ms;
  } units[] = {
    { "milliseconds", 1 }, { "millisecond", 1 }, { "ms", 1 },
    { "seconds", 1e3 }, { "second", 1e3 }, { "secs", 1e3 },
    { "sec", 1e3 }, { "s", 1e3 },
    { "minutes", 6e4 }, { "minute", 6e4 }, { "mins", 6e4 },
    { "min", 6e4 }, { "m", 6e4 },
    { "hours", 36e5 }, { "hour", 36e5 }, { "hrs", 36e5 }, { "hr", 36e5 },
    { "h", 36e5 },
    { "days", 864e5 }, { "day", 864e5 }, { "d", 864e5 }
  };
  size_t i;
  for(i = 0; i < sizeof units / sizeof units[0]; i++) {
    size_t len = strlen(units[i].name);
    if(!strncasecmp(*at, units[i].name, len) && !is_letter((*at)[len])) {
      *at += len;
      return units[i].ms;
    }
  }
  return 0;
}

/* Moves behind blanks and words that may stand before a number. */
static void skip_words(const char **at, const char *const *words) {
  size_t i = 0;
  while(**at == ' ')
    ++*at;
  while(words[i]) {
    size_t len = strlen(words[i]);
    if(!strncasecmp(*at, words[i], len)) {
      *at += len;
      i = 0;
    }
    else
      i++;
  }
}

/* The sum of "1m2.5s" or "2 minutes and 3 seconds"; below 0: no time. */
static int64_t read_span(const char *at) {
  static const char *const before[] = {
    " ", "for ", "about ", "another ", "at least ", "approximately ", NULL
  };
  static const char *const between[] = { " ", ",", "and ", NULL };
  double sum = -1;

  skip_words(&at, before);
  for(;;) {
    double number = read_number(&at);
    double unit;
    if(number < 0)
      break;
    while(*at == ' ')
      at++;
    unit = read_unit(&at);
    if(unit <= 0)
      break;
    sum = (sum < 0 ? 0 : sum) + number * unit;
    skip_words(&at, between);
  }
  if(sum < 0)
    return -1;
  return sum < (double)FOREVER_MS ? (int64_t)(sum + 0.5) : FOREVER_MS;
}

int64_t oc_retry_in_text(const char *message) {
  static const char *const phrases[] = {
    "again in", "again after", "retry in", "retry after", "retrying in",
    "retrying after", "reset in", "reset after", "resets in", "resets after",
    "available in", "wait"
  };
  const char *at;
  for(at = message; *at; at++) {
    size_t i;
    if(at > message && is_letter(at[-1]))
      continue;
    for(i = 0; i < sizeof phrases / sizeof phrases[0]; i++) {
      size_t len = strlen(phrases[i]);
      if(!strncasecmp(at, phrases[i], len)
         && (at[len] == ' ' || at[len] == ':')) {
        int64_t wait = read_span(at + len + 1);
        if(wait >= 0)
          return wait;
      }
    }
  }
  return -1;
}

/* }==== */

/* Milliseconds until an HTTP date; 0: it has passed, or is none. */
static int64_t until_date(const oc_retry_hints *hints, time_t now) {
  time_t until = read_date(hints->after);
  time_t from = read_date(hints->date);
  double seconds;

  if(until == (time_t)-1)
    return 0;
  seconds = difftime(until, from != (time_t)-1 ? from : now);
  if(seconds <= 0)
    return 0;
  return seconds < (double)FOREVER_MS / 1000 ? (int64_t)(seconds * 1000)
                                             : FOREVER_MS;
}

int64_t oc_retry_after(const oc_retry_hints *hints, const char *message,
                       time_t now) {
  int64_t wait = milliseconds(hints->after_ms, 1);
  if(wait <= 0)
    wait = milliseconds(hints->after, 1000);
  if(wait < 0)
    wait = until_date(hints, now);
  if(wait <= 0)
    wait = oc_retry_in_text(message);
  return wait > 0 ? wait : -1;
}

int64_t oc_retry_backoff(int tries) {
  int64_t wait = OC_RETRY_FIRST_MS;
  unsigned random = 0;
  while(--tries > 0 && wait < OC_RETRY_LIMIT_MS)
    wait *= 2;
  if(wait > OC_RETRY_LIMIT_MS)
    wait = OC_RETRY_LIMIT_MS;
  /* up to a quarter less */
  oc_random_bytes(&random, sizeof random);
  return wait - (int64_t)((double)wait / 4 * (random % 1000) / 1000);
}

int oc_retry_is_answer(const oc_error *error) {
  return error->code == OC_E_API || error->code == OC_E_HTTP_STATUS;
}

int oc_retry_is_worth(const oc_error *error, const oc_retry_hints *hints) {
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
    if(is_word(hints->should, "true"))
      return 1;
    return error->retryable && !is_word(hints->should, "false");
  default:
    return 0;
  }
}
