/* How a response begins: which kind it is, however it arrives. */
#include "oc_response.h"

#include <string.h>
#include <unistd.h>

#include "test.h"

#define BOM "\xEF\xBB\xBF"
#define MAX ((size_t)64 * 1024 * 1024)

/* The mode after a body that came in pieces of `size` bytes. */
static oc_response_mode mode_of(const char *body, size_t size) {
  oc_response response;
  oc_response_mode mode;
  oc_error error;
  size_t len = strlen(body);
  size_t at;

  memset(&error, 0, sizeof error);
  oc_response_init(&response, MAX, MAX, 0);
  response.status = 200;
  for(at = 0; at < len; at += size)
    oc_response_body(&response, body + at, len - at < size ? len - at : size,
                     &error);
  mode = response.mode;
  oc_response_free(&response);
  oc_error_clear(&error);
  return mode;
}

TEST(tells_a_stream_from_a_whole_response) {
  static const struct {
    const char *body;
    oc_response_mode mode;
  } rows[] = {
    { "data: {}\n\n", OC_RESPONSE_STREAM },
    { ": hello\n", OC_RESPONSE_STREAM },
    { " \r\n\t\n event: x\n", OC_RESPONSE_STREAM },
    { BOM "data: {}\n\n", OC_RESPONSE_STREAM },
    { BOM " \n retry: 1\n", OC_RESPONSE_STREAM },
    { "{\"id\":\"1\"}", OC_RESPONSE_WHOLE },
    { " \n {\"id\":\"1\"}", OC_RESPONSE_WHOLE },
    { BOM "\n{\"id\":\"1\"}", OC_RESPONSE_WHOLE },
    { " " BOM "data: {}\n\n", OC_RESPONSE_WHOLE },
    { "database", OC_RESPONSE_WHOLE },
    { "\n dat", OC_RESPONSE_UNKNOWN },
    { BOM "  ", OC_RESPONSE_UNKNOWN },
    { " \xEF\xBB", OC_RESPONSE_UNKNOWN },
    { "   \n\n", OC_RESPONSE_UNKNOWN }
  };
  size_t i;
  size_t size;
  for(i = 0; i < sizeof rows / sizeof *rows; i++) {
    for(size = 1; size <= 8; size++)
      CHECK_FOR(mode_of(rows[i].body, size) == rows[i].mode,
                "\"%s\" in pieces of %d", rows[i].body, (int)size);
  }
}

/*
 * Two million pieces of one byte: whoever begins from the start with each of
 * them takes two million million steps, which is more than an hour.
 */
TEST(white_space_is_looked_at_once) {
  oc_response response;
  oc_error error;
  size_t count = 2000000;
  size_t i;

  memset(&error, 0, sizeof error);
  oc_response_init(&response, MAX, MAX, 0);
  response.status = 200;
  alarm(100);
  for(i = 0; i < count; i++)
    oc_response_body(&response, &" \n"[i % 2], 1, &error);
  alarm(0);
  CHECK(response.mode == OC_RESPONSE_UNKNOWN);
  CHECK(response.blank == count);
  CHECK(!oc_response_body(&response, "data: {}\n\n", 10, &error));
  CHECK(response.mode == OC_RESPONSE_STREAM);
  /* a second attempt begins anew */
  oc_response_reset(&response);
  response.status = 200;
  CHECK(!oc_response_body(&response, "{", 1, &error));
  CHECK(response.mode == OC_RESPONSE_WHOLE);
  oc_response_free(&response);
  oc_error_clear(&error);
}

int main(void) {
  RUN(tells_a_stream_from_a_whole_response);
  RUN(white_space_is_looked_at_once);
  return test_report();
}
