/* Whether and when a request that has failed is sent again. */
#include "oc_retry.h"

#include <string.h>

#include "test.h"

#define NOW ((time_t)1700000000)      /* Tue, 14 Nov 2023 22:13:20 GMT */
#define YEAR_MS ((int64_t)1000 * 3600 * 24 * 365)

static oc_slice slice(const char *text) {
  oc_slice result;
  result.text = text ? text : "";
  result.len = text ? strlen(text) : 0;
  return result;
}

/* Milliseconds to wait by these headers and this message. */
static int64_t after(const char *ms, const char *seconds, const char *date,
                     const char *message) {
  oc_retry_hints hints;
  memset(&hints, 0, sizeof hints);
  hints.after_ms = slice(ms);
  hints.after = slice(seconds);
  hints.date = slice(date);
  return oc_retry_after(&hints, message ? message : "", NOW);
}

TEST(numbers) {
  static const struct {
    const char *text;
    int64_t ms;           /* of retry-after */
  } rows[] = {
    { "1", 1000 }, { "20", 20000 }, { "0.5", 500 }, { "1.2345", 1235 },
    { "2.5e1", 25000 }, { " 3 ", 3000 }, { "120", 120000 },
    { "121", 121000 }, { "31536000", YEAR_MS },
    /* too long to be told apart */
    { "31536001", YEAR_MS }, { "99999999999999999999999", YEAR_MS },
    { "1e300", YEAR_MS }, { "1e999", YEAR_MS },
    /* no time, or no number */
    { "0", -1 }, { "0.0", -1 }, { "0.0001", -1 }, { "-1", -1 },
    { "-0", -1 }, { "", -1 }, { "soon", -1 }, { "1,5", -1 }, { "1 2", -1 },
    { "0x10", -1 }, { "nan", -1 }, { "inf", -1 }, { "Infinity", -1 },
    { "{}", -1 }, { "\"5\"", -1 }, { "true", -1 }, { "5;", -1 },
    { "+5", -1 }, { "\xff\xfe", -1 }
  };
  size_t i;
  for(i = 0; i < sizeof rows / sizeof rows[0]; i++)
    CHECK_FOR(after(NULL, rows[i].text, NULL, NULL) == rows[i].ms,
              "%s: %ld", rows[i].text,
              (long)after(NULL, rows[i].text, NULL, NULL));
  CHECK(after("250", NULL, NULL, NULL) == 250);
  CHECK(after("1.5", NULL, NULL, NULL) == 2);
  CHECK(after("120001", NULL, NULL, NULL) == 120001);
  CHECK(after("1e30", NULL, NULL, NULL) == YEAR_MS);
  CHECK(after("-250", NULL, NULL, NULL) == -1);
  CHECK(after("soon", NULL, NULL, NULL) == -1);
}

TEST(order) {
  /* the more exact one first, and what says nothing is passed over */
  CHECK(after("250", "20", NULL, "try again in 7s") == 250);
  CHECK(after("0", "20", NULL, "try again in 7s") == 20000);
  CHECK(after("junk", "20", NULL, "try again in 7s") == 20000);
  CHECK(after(NULL, "0", NULL, "try again in 7s") == 7000);
  CHECK(after("junk", "junk", NULL, "try again in 7s") == 7000);
  CHECK(after(NULL, NULL, NULL, "try again in 7s") == 7000);
  CHECK(after(NULL, NULL, NULL, "try again later") == -1);
  CHECK(after(NULL, NULL, NULL, NULL) == -1);
}

TEST(dates) {
  /* by the clock of the server, where it tells */
  CHECK(after(NULL, "Tue, 14 Nov 2023 22:13:50 GMT", NULL, NULL) == 30000);
  CHECK(after(NULL, "Tue, 14 Nov 2023 22:13:50 GMT",
              "Tue, 14 Nov 2023 22:13:45 GMT", NULL) == 5000);
  CHECK(after(NULL, "Fri, 01 Jan 1999 00:00:20 GMT",
              "Fri, 01 Jan 1999 00:00:00 GMT", NULL) == 20000);
  CHECK(after(NULL, "Tue, 14 Nov 2023 22:13:50 GMT", "today", NULL) == 30000);
  /* the two old forms */
  CHECK(after(NULL, "Tuesday, 14-Nov-23 22:13:50 GMT", NULL, NULL) == 30000);
  CHECK(after(NULL, "Tue Nov 14 22:13:50 2023", NULL, NULL) == 30000);
  /* it has passed */
  CHECK(after(NULL, "Tue, 14 Nov 2023 22:13:20 GMT", NULL, NULL) == -1);
  CHECK(after(NULL, "Tue, 14 Nov 2023 21:13:20 GMT", NULL, NULL) == -1);
  CHECK(after(NULL, "Tue, 14 Nov 2023 22:13:50 GMT",
              "Tue, 14 Nov 2023 23:13:45 GMT", NULL) == -1);
  CHECK(after(NULL, "Tue, 14 Nov 2023 21:13:20 GMT", NULL,
              "wait 3 seconds") == 3000);
  /* far away */
  CHECK(after(NULL, "Tue, 14 Nov 2023 22:15:21 GMT", NULL, NULL) == 121000);
  CHECK(after(NULL, "Tue, 14 Nov 2034 22:13:20 GMT", NULL, NULL) == YEAR_MS);
  /* no dates */
  CHECK(after(NULL, "Tue, 99 Nov 2023 22:13:50 GMT", NULL, NULL) == -1);
  CHECK(after(NULL, "Tue, 14 Nov 2023 22:13:50 GMT and so on, and on, and on,"
              " and on, and on", NULL, NULL) == -1);
}

TEST(words) {
  static const struct {
    const char *text;
    int64_t ms;
  } rows[] = {
    /* OpenAI, Azure, Groq, Gemini and others */
    { "Rate limit reached for gpt-5 in organization org-x on requests per min"
      " (RPM): Limit 3, Used 3, Requested 1. Please try again in 20s. Visit"
      " https://platform.openai.com/account/rate-limits", 20000 },
    { "Rate limit reached on tokens per min (TPM): Limit 30000, Used 29000,"
      " Requested 1450. Please try again in 898ms.", 898 },
    { "Please try again in 1.898s.", 1898 },
    { "Please try again in 6m0s.", 360000 },
    { "Please try again in 7m12.672s. Need more tokens?", 432672 },
    { "please try again in 1h2m3s", 3723000 },
    { "Please retry after 26 seconds.", 26000 },
    { "Please retry after 1 second.", 1000 },
    { "Quota exceeded. Please retry in 34.074824224s.", 34075 },
    { "You have exhausted your capacity on this model. Your quota will reset"
      " after 39s.", 39000 },
    { "Please wait 5 seconds before the next request", 5000 },
    { "Too many requests, wait for 2 minutes and 3 seconds", 123000 },
    { "Try again in about 5 minutes.", 300000 },
    { "Limit resets in 2 hours, 30 mins", 9000000 },
    { "Retry-After exceeded; retry after: 10 sec", 10000 },
    { "HTTP status 429: TRY AGAIN IN 3 S", 3000 },
    { "Model is loading, it will be available in 1 day", 86400000 },
    { "try again later, but wait 4s", 4000 },
    { "wait 9999999 days", YEAR_MS },
    { "try again in 99999999999999999999999999999999999 s", YEAR_MS },
    { "try again in 0s", 0 },
    /* nothing to go by */
    { "", -1 }, { "Please try again later.", -1 }, { "try again in", -1 },
    { "try again in 20", -1 }, { "try again in a minute", -1 },
    { "try again in 20 cats", -1 }, { "try again in 20 samples", -1 },
    { "wait", -1 }, { "wait ", -1 }, { "wait for", -1 }, { "wait -5s", -1 },
    { "await 5s", -1 }, { "waiting 5s", -1 }, { "in 5s", -1 },
    { "Limit 20s, used 5s", -1 }, { "try again in s", -1 },
    { "try again in .5s", -1 }
  };
  size_t i;
  for(i = 0; i < sizeof rows / sizeof rows[0]; i++)
    CHECK_FOR(oc_retry_in_text(rows[i].text) == rows[i].ms, "%s: %ld",
              rows[i].text, (long)oc_retry_in_text(rows[i].text));
}

/* 0.5 s doubled each time, up to 8 s, and up to a quarter less. */
TEST(backoff) {
  static const int64_t waits[] = { 500, 1000, 2000, 4000, 8000, 8000, 8000 };
  int tries;
  for(tries = 1; tries <= 7; tries++) {
    int64_t longest = waits[tries - 1];
    int64_t low = longest;
    int64_t high = 0;
    int i;
    for(i = 0; i < 2000; i++) {
      int64_t wait = oc_retry_backoff(tries);
      low = wait < low ? wait : low;
      high = wait > high ? wait : high;
    }
    CHECK_FOR(low >= longest - longest / 4, "%d: %ld", tries, (long)low);
    CHECK_FOR(high <= longest, "%d: %ld", tries, (long)high);
    /* all of that room is used */
    CHECK_FOR(low < longest - longest / 5, "%d: %ld", tries, (long)low);
    CHECK_FOR(high > longest - longest / 20, "%d: %ld", tries, (long)high);
  }
  CHECK(oc_retry_backoff(0) <= 500);
  CHECK(oc_retry_backoff(1000000000) <= 8000);
}

static int is_worth(oc_code code, int is_retryable, const char *should) {
  oc_retry_hints hints;
  oc_error error;
  memset(&hints, 0, sizeof hints);
  memset(&error, 0, sizeof error);
  hints.should = slice(should);
  error.code = code;
  error.retryable = is_retryable;
  return oc_retry_is_worth(&error, &hints);
}

TEST(worth) {
  static const oc_code never[] = {
    OC_E_NOMEM, OC_E_TOO_LARGE, OC_E_RESPONSE_TOO_LARGE,
    OC_E_EVENT_TOO_LARGE, OC_E_HEADERS_TOO_LARGE, OC_E_DEPTH,
    OC_E_REDIRECTS, OC_E_REDIRECT, OC_E_CERTIFICATE, OC_E_TIMEOUT_FIRST,
    OC_E_TIMEOUT_IDLE, OC_E_TIMEOUT_TOTAL, OC_E_NO_CHOICES,
    OC_E_BAD_RESPONSE, OC_E_JSON, OC_E_CANCELLED, OC_E_CLOSED, OC_E_HANDLER
  };
  static const oc_code always[] = {
    OC_E_RESOLVE, OC_E_CONNECT, OC_E_CONNECTION, OC_E_PROXY, OC_E_CURL,
    OC_E_TLS, OC_E_TIMEOUT_CONNECT, OC_E_TRUNCATED, OC_E_EMPTY
  };
  size_t i;
  for(i = 0; i < sizeof never / sizeof never[0]; i++)
    CHECK_FOR(!is_worth(never[i], 1, "true"), "%s", oc_code_name(never[i]));
  for(i = 0; i < sizeof always / sizeof always[0]; i++) {
    oc_error error;
    memset(&error, 0, sizeof error);
    oc_error_set(&error, always[i], "x");
    CHECK_FOR(is_worth(always[i], 0, ""), "%s", oc_code_name(always[i]));
    /* and the program is told the same */
    CHECK_FOR(error.retryable, "%s", oc_code_name(always[i]));
    oc_error_clear(&error);
  }
  CHECK(is_worth(OC_E_API, 1, ""));
  CHECK(!is_worth(OC_E_API, 0, ""));
  CHECK(is_worth(OC_E_HTTP_STATUS, 1, "maybe"));
  CHECK(!is_worth(OC_E_HTTP_STATUS, 0, "maybe"));
  /* the server knows better than its status */
  CHECK(is_worth(OC_E_API, 0, "true"));
  CHECK(is_worth(OC_E_API, 0, "True"));
  CHECK(!is_worth(OC_E_API, 1, "false"));
  CHECK(!is_worth(OC_E_HTTP_STATUS, 1, "FALSE"));
  CHECK(is_worth(OC_E_HTTP_STATUS, 1, "falsehood"));
}

int main(void) {
  RUN(numbers);
  RUN(order);
  RUN(dates);
  RUN(words);
  RUN(backoff);
  RUN(worth);
  return test_report();
}
