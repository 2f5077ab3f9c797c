/* Which redirects are followed: those that take the key nowhere else. */
#include "oc_url.h"

#include "test.h"

TEST(valid) {
  CHECK(oc_url_is_valid("http://localhost:8080/v1"));
  CHECK(oc_url_is_valid("https://api.opper.ai/v3/compat"));
  CHECK(oc_url_is_valid("HTTPS://api.opper.ai"));
  CHECK(!oc_url_is_valid("ftp://api.opper.ai"));
  CHECK(!oc_url_is_valid("file:///etc/passwd"));
  CHECK(!oc_url_is_valid("gopher://localhost"));
  CHECK(!oc_url_is_valid("api.opper.ai"));
  CHECK(!oc_url_is_valid(""));
}

TEST(follow) {
  static const struct {
    const char *from;
    const char *to;
    int may;
  } rows[] = {
    { "https://a.test/x", "https://a.test/y", 1 },
    { "https://a.test/x", "https://A.TEST:443/y", 1 },
    { "http://a.test/x", "http://a.test:80/y", 1 },
    { "http://a.test:8080/x", "http://a.test:8080/y", 1 },
    /* up, but only from one usual port to the other */
    { "http://a.test/x", "https://a.test/x", 1 },
    { "http://a.test:8080/x", "https://a.test/x", 0 },
    { "http://a.test/x", "https://a.test:8443/x", 0 },
    /* never down */
    { "https://a.test/x", "http://a.test/x", 0 },
    { "https://a.test/x", "http://a.test:443/x", 0 },
    { "https://a.test:8080/x", "http://a.test:8080/x", 0 },
    /* to nobody else */
    { "https://a.test/x", "https://b.test/x", 0 },
    { "https://a.test/x", "https://a.test.b.test/x", 0 },
    { "https://a.test/x", "https://www.a.test/x", 0 },
    { "https://a.test/x", "https://a.test@b.test/x", 0 },
    { "https://a.test/x", "https://a.test:444/x", 0 },
    { "http://a.test:81/x", "http://a.test/x", 0 },
    { "http://127.0.0.1/x", "http://localhost/x", 0 },
    /* nor by another protocol */
    { "http://a.test/x", "file:///a.test/x", 0 },
    { "http://a.test/x", "ftp://a.test/x", 0 },
    { "http://a.test/x", "ws://a.test/x", 0 },
    { "http://a.test/x", "", 0 },
    { "http://a.test/x", "http://[", 0 }
  };
  size_t i;
  for(i = 0; i < sizeof rows / sizeof rows[0]; i++)
    CHECK_FOR(oc_url_may_follow(rows[i].from, rows[i].to) == rows[i].may,
              "%s to %s", rows[i].from, rows[i].to);
}

int main(void) {
  RUN(valid);
  RUN(follow);
  return test_report();
}
