#include "counting.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "../../src/oc_api_error.h"
#include "../../src/oc_json.h"
#include "../../src/oc_utf8.h"

static void read_error(oc_error *error, int status, const char *body,
                       size_t len) {
  /* a copy of exactly this size, so that reading behind it is noticed */
  char *copy = malloc(len ? len : 1);
  memset(error, 0, sizeof *error);
  memcpy(copy, body, len);
  oc_api_error_read(error, status, copy, len);
  free(copy);
}

/* What a body is read as. */
static void gives(int status, const char *body, oc_code code,
                  const char *name, const char *message, int retryable) {
  oc_error error;
  read_error(&error, status, body, strlen(body));
  CHECK_FOR(error.code == code, "%s: %s", body, oc_code_name(error.code));
  CHECK_FOR(!strcmp(error.name, name), "%s: %s", body, error.name);
  CHECK_FOR(!strcmp(oc_error_message(&error), message), "%s: %s", body,
            oc_error_message(&error));
  CHECK_FOR(error.status == status, "%s: %d", body, error.status);
  CHECK_FOR(!error.retryable == !retryable, "%s", body);
  oc_error_clear(&error);
}

TEST(reads_what_servers_send) {
  gives(401, "{\"error\":\"No API key was sent.\",\"docs_url\":\"https://x\"}",
        OC_E_API, "api_error", "No API key was sent.", 0);
  gives(400, "{\"error\":{\"code\":\"invalid_input\",\"message\":\"messages is "
             "required\",\"details\":{}}}",
        OC_E_API, "invalid_input", "messages is required", 0);
  gives(404, "{\"errors\":[{\"type\":\"HTTPException\"}]}", OC_E_API,
        "HTTPException", oc_code_message(OC_E_API), 0);
  gives(404, "{\"errors\":[{\"type\":\"HTTPException\",\"detail\":\"d\"}]}",
        OC_E_API, "HTTPException", "d", 0);
  gives(404, "{\"type\":\"error\",\"error\":{\"type\":\"not_found_error\","
             "\"message\":\"no such model\"}}",
        OC_E_API, "not_found_error", "no such model", 0);
  gives(403, "{\"error\":{\"message\":\"m\",\"type\":\"permission_error\","
             "\"param\":null,\"code\":null}}",
        OC_E_API, "permission_error", "m", 0);
  gives(429, "{\"error\":{\"code\":\"rate_limit\",\"message\":\"slow down\"}}",
        OC_E_API, "rate_limit", "slow down", 1);
  gives(400, "{\"type\":\"BadRequestError\",\"message\":\"m\","
             "\"detail\":\"d\"}",
        OC_E_API, "BadRequestError", "m", 0);
  gives(400, "{\"detail\":\"d\",\"message\":\"m\",\"type\":\"T\"}", OC_E_API,
        "T", "m", 0);
  gives(404, "{\"detail\":\"Not Found\"}", OC_E_API, "api_error", "Not Found",
        0);
  gives(422, "{\"detail\":[{\"loc\":[\"body\",\"messages\"],\"msg\":\"field "
             "required\",\"type\":\"value_error.missing\"}]}",
        OC_E_API, "value_error.missing", "field required", 0);
  gives(400, "{\"object\":\"error\",\"message\":\"m\",\"type\":\"invalid\","
             "\"param\":null,\"code\":40303}",
        OC_E_API, "40303", "m", 0);
  gives(401, "{\"error\":\"m\",\"code\":\"no_key\"}", OC_E_API, "no_key", "m",
        0);
  gives(400, "{\"error\":{\"message\":{\"message\":\"inner\",\"code\":\"c\"}}}",
        OC_E_API, "c", "inner", 0);
  gives(400, "{\"error\":{\"type\":\"t\",\"code\":\"c\",\"detail\":\"d\","
             "\"message\":\"m\"}}", OC_E_API, "c", "m", 0);
  gives(400, "{\"error\":[\"first\",\"second\"]}", OC_E_API, "api_error",
        "first", 0);
  gives(400, "{\"errors\":[null,{},{\"message\":\"\"},{\"message\":\"m\"}]}",
        OC_E_API, "api_error", "m", 0);
  gives(400, "{\"error\":{\"message\":\"tab\\t \\u00e9 \\ud83d\\ude00\"}}",
        OC_E_API, "api_error", "tab\t \xC3\xA9 \xF0\x9F\x98\x80", 0);
  gives(400, " \r\n{ \"\\u0065rror\" : { \"mess\\u0061ge\" : \"m\" } } ",
        OC_E_API, "api_error", "m", 0);
}

TEST(reads_what_is_no_error_object) {
#define STATUS OC_E_HTTP_STATUS, "http_status"
  gives(500, "", STATUS, "HTTP status 500", 1);
  gives(404, "Not found\n", STATUS, "HTTP status 404: Not found", 0);
  gives(400, "{}", STATUS, "HTTP status 400: {}", 0);
  gives(400, "[]", STATUS, "HTTP status 400: []", 0);
  gives(400, "null", STATUS, "HTTP status 400: null", 0);
  gives(400, "\"text\"", STATUS, "HTTP status 400: \"text\"", 0);
  gives(400, "{\"error\":null}", STATUS, "HTTP status 400: {\"error\":null}",
        0);
  gives(400, "{\"error\":{}}", STATUS, "HTTP status 400: {\"error\":{}}", 0);
  gives(400, "{\"error\":{\"message\":null,\"code\":null}}", STATUS,
        "HTTP status 400: {\"error\":{\"message\":null,\"code\":null}}", 0);
  gives(400, "{\"type\":\"error\"}", STATUS,
        "HTTP status 400: {\"type\":\"error\"}", 0);
  gives(400, "{\"code\":\"c\"}", STATUS, "HTTP status 400: {\"code\":\"c\"}",
        0);
  gives(400, "3 < 5 and 7 > 6", STATUS, "HTTP status 400: 3 < 5 and 7 > 6", 0);
  gives(400, " \t\r\n ", STATUS, "HTTP status 400", 0);
}

TEST(reads_html) {
  gives(502, "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>"
             "\r\n<center><h1>502 Bad Gateway</h1></center>\r\n<hr>\r\n"
             "</body></html>", STATUS,
        "HTTP status 502: 502 Bad Gateway 502 Bad Gateway", 1);
  gives(503, "<!DOCTYPE html><?x?><title>Busy</title><style>body{}</style>x",
        STATUS, "HTTP status 503: Busy", 1);
  gives(503, "<p>Busy<script>alert(1)</script>", STATUS,
        "HTTP status 503: Busy", 1);
  gives(503, "<p class=\"", STATUS, "HTTP status 503", 1);
  gives(503, "<", STATUS, "HTTP status 503: <", 1);
  gives(503, "<s", STATUS, "HTTP status 503", 1);
}

/* In an answer of status 200 (an event of a stream) it is the API's error. */
TEST(reads_errors_of_streams) {
  gives(200, "{\"error\":{\"message\":\"m\",\"code\":\"c\"}}", OC_E_API, "c",
        "m", 0);
  gives(200, "{\"error\":{\"message\":\"m\",\"code\":503}}", OC_E_API, "503",
        "m", 1);
  gives(200, "{\"error\":{\"message\":\"m\",\"code\":\"429\"}}", OC_E_API,
        "429", "m", 1);
  gives(200, "{\"error\":{\"message\":\"m\",\"code\":400}}", OC_E_API, "400",
        "m", 0);
  gives(200, "it broke", OC_E_API, "api_error",
        "the API reported an error: it broke", 0);
  gives(200, "", OC_E_API, "api_error", "the API reported an error", 0);
}

TEST(knows_what_may_be_tried_again) {
  static const int again[] = { 408, 409, 429, 500, 502, 503, 504, 529, 599 };
  static const int never[] = { 400, 401, 402, 403, 404, 413, 422, 301, 600 };
  size_t i;
  for(i = 0; i < sizeof again / sizeof *again; i++) {
    oc_error error;
    read_error(&error, again[i], "{\"error\":\"m\"}", 13);
    CHECK_FOR(error.retryable, "%d", again[i]);
    oc_error_clear(&error);
    read_error(&error, again[i], "m", 1);
    CHECK_FOR(error.retryable, "%d", again[i]);
    oc_error_clear(&error);
  }
  for(i = 0; i < sizeof never / sizeof *never; i++) {
    oc_error error;
    read_error(&error, never[i], "{\"error\":\"m\"}", 13);
    CHECK_FOR(!error.retryable, "%d", never[i]);
    oc_error_clear(&error);
    read_error(&error, never[i], "m", 1);
    CHECK_FOR(!error.retryable, "%d", never[i]);
    oc_error_clear(&error);
  }
}

static void check_is_shown(const oc_error *error, const char *what) {
  const char *message = oc_error_message(error);
  CHECK_FOR(strlen(message) < 2100, "%s", what);
  CHECK_FOR(oc_utf8_valid_prefix(message, strlen(message))
            == strlen(message), "%s", what);
  CHECK_FOR(oc_utf8_valid_prefix(error->name, strlen(error->name))
            == strlen(error->name), "%s", what);
}

TEST(survives_binary_bodies) {
  char body[600];
  size_t i;
  unsigned long seed = 7;
  int round;
  for(round = 0; round < 500; round++) {
    oc_error error;
    size_t len = (size_t)round;
    for(i = 0; i < len; i++) {
      seed = seed * 6364136223846793005UL + 1442695040888963407UL;
      body[i] = (char)(seed >> 33);
    }
    read_error(&error, 500, body, len);
    CHECK(error.code == OC_E_HTTP_STATUS);
    check_is_shown(&error, "binary");
    oc_error_clear(&error);
  }
}

TEST(cuts_snippets_between_characters) {
  char body[400];
  size_t pad;
  for(pad = 180; pad < 210; pad++) {
    oc_error error;
    memset(body, 'x', sizeof body);
    memcpy(body + pad, "\xF0\x9F\x98\x80", 4);
    read_error(&error, 500, body, sizeof body);
    check_is_shown(&error, "snippet");
    CHECK(strlen(oc_error_message(&error)) > 180);
    oc_error_clear(&error);
  }
}

TEST(mends_bad_utf8) {
  static const char body[] =
    "{\"error\":{\"message\":\"a\xFFz\",\"code\":\"b\xC3\"}}";
  oc_error error;
  read_error(&error, 400, body, sizeof body - 1);
  CHECK(error.code == OC_E_API);
  CHECK(!strcmp(oc_error_message(&error), "a\xEF\xBF\xBDz"));
  CHECK(!strcmp(error.name, "b"));
  oc_error_clear(&error);
}

/* A message of a megabyte is cut, and so is a code. */
TEST(survives_huge_bodies) {
  size_t len = 1000000;
  char *body = malloc(len + 200);
  oc_error error;
  size_t i;

  i = (size_t)sprintf(body, "{\"error\":{\"code\":\"");
  memset(body + i, 'c', 5000);
  i += 5000;
  i += (size_t)sprintf(body + i, "\",\"message\":\"begin ");
  memset(body + i, 'm', len - i);
  strcpy(body + len, "\"}}");
  read_error(&error, 400, body, strlen(body));
  CHECK(error.code == OC_E_API);
  CHECK(!memcmp(oc_error_message(&error), "begin mmm", 9));
  CHECK(strlen(oc_error_message(&error)) > 1000);
  CHECK(strlen(error.name) == 63);
  check_is_shown(&error, "huge");
  oc_error_clear(&error);

  /* deeper than anything should be */
  memset(body, '[', len);
  memcpy(body, "{\"error\":", 9);
  read_error(&error, 400, body, len);
  CHECK(error.code == OC_E_HTTP_STATUS);
  check_is_shown(&error, "deep");
  oc_error_clear(&error);

  for(i = 0; i < len - 20; i += 11)
    memcpy(body + i, "{\"message\":", 11);
  read_error(&error, 400, body, i);
  check_is_shown(&error, "deep messages");
  oc_error_clear(&error);

  memset(body, '<', len);
  read_error(&error, 400, body, len);
  check_is_shown(&error, "tags");
  oc_error_clear(&error);
  free(body);
}

/* Whatever is cut off, the rest is read without a crash. */
TEST(survives_every_beginning) {
  static const char body[] =
    "{\"errors\":[{\"message\":\"a\\u00e9\",\"code\":1.5e3,\"x\":{\"y\":[{}]}},"
    "\"text\"],\"detail\":[{\"msg\":\"m\"}],\"type\":\"t\"}";
  size_t len;
  for(len = 0; len < sizeof body; len++) {
    oc_error error;
    read_error(&error, 400, body, len);
    CHECK(error.code == OC_E_API || error.code == OC_E_HTTP_STATUS);
    check_is_shown(&error, body);
    oc_error_clear(&error);
  }
}

/* An error without words is still an error. */
TEST(survives_lack_of_memory) {
  static const char body[] =
    "{\"error\":{\"message\":\"m\\n\",\"code\":\"c\"},\"detail\":\"d\"}";
  int n;

  oc_set_allocator(&counting);
  for(n = 0; n < 20; n++) {
    oc_error error;
    blocks = 0;
    allocations_left = n;
    read_error(&error, 429, body, sizeof body - 1);
    CHECK(error.code == OC_E_API || error.code == OC_E_HTTP_STATUS);
    CHECK(error.retryable && error.status == 429);
    CHECK(*oc_error_message(&error) && *error.name);
    oc_error_clear(&error);
    CHECK_FOR(blocks == 0, "%d", n);
  }
  oc_set_allocator(&standard);
}

int main(void) {
  RUN(reads_what_servers_send);
  RUN(reads_what_is_no_error_object);
  RUN(reads_html);
  RUN(reads_errors_of_streams);
  RUN(knows_what_may_be_tried_again);
  RUN(survives_binary_bodies);
  RUN(cuts_snippets_between_characters);
  RUN(mends_bad_utf8);
  RUN(survives_huge_bodies);
  RUN(survives_every_beginning);
  RUN(survives_lack_of_memory);
  return test_report();
}
