#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../src/oc_alloc.h"
#include "../../src/oc_secret.h"

#define KEY "op-5ecret-Key.0123456789"

/* What is left of a text when the key is hidden in it. */
static int hides(const char *text, const char *wanted) {
  char copy[512];
  snprintf(copy, sizeof copy, "%s", text);
  oc_secret_hide(copy, strlen(copy), KEY, strlen(KEY));
  if(strcmp(copy, wanted))
    fprintf(stderr, "got: %s\n", copy);
  return !strcmp(copy, wanted);
}

TEST(hides_a_secret) {
  CHECK(hides("", ""));
  CHECK(hides("no such key", "no such key"));
  CHECK(hides(KEY, "************************"));
  CHECK(hides("<" KEY ">", "<************************>"));
  CHECK(hides(KEY KEY, "************************************************"));
  CHECK(hides("OP-5ECRET-KEY.0123456789", "************************"));
  CHECK(hides("op-5ecret-Key.%30123456789!", "**************************!"));
  CHECK(hides("op\\u002d5ecret-Key.0123456789",
              "*****************************"));
  CHECK(hides("&#x6f;p&#45;5ecret-Key.0123456789!",
              "*********************************!"));
  CHECK(hides("op-5ecret\n-Key.0123456789", "*************************"));
}

TEST(hides_pieces_of_it) {
  CHECK(hides("op-5ecret... is wrong", "*********... is wrong"));
  CHECK(hides("...0123456789 is wrong", "..*********** is wrong"));
  /* cut off by the end of the text */
  CHECK(hides("the key op-5e", "the key *****"));
  CHECK(hides("the key op-", "the key op-"));
  CHECK(hides("ecret-K", "ecret-K"));
}

TEST(takes_short_secrets_for_words) {
  char text[] = "ollama is not running";
  oc_secret_hide(text, strlen(text), "ollama", 6);
  CHECK(!strcmp(text, "ollama is not running"));
}

TEST(survives_any_end) {
  static const char text[] = "&#x6f;%6f\\u006f\\x6f\\o&#111;op-5ecret-Key";
  size_t from;
  size_t to;
  for(from = 0; from < sizeof text; from++) {
    for(to = from; to < sizeof text; to++) {
      char *copy = malloc(to > from ? to - from : 1);
      memcpy(copy, text + from, to - from);
      oc_secret_hide(copy, to - from, KEY, strlen(KEY));
      oc_secret_hide_logins(copy, to - from);
      free(copy);
    }
  }
  CHECK(1);
}

TEST(hides_logins) {
  char text[] = "bad proxy 'http://joe:pa@ss@host:1' or joe:pass@x, a@b";
  oc_secret_hide_logins(text, strlen(text));
  CHECK(!strcmp(text,
                "bad proxy 'http://*********@host:1' or ********@x, *@b"));
}

TEST(knows_names_that_smell) {
  CHECK(oc_secret_is_name("Authorization", 13));
  CHECK(oc_secret_is_name("x-API-KEY", 9));
  CHECK(oc_secret_is_name("Set-Cookie", 10));
  CHECK(oc_secret_is_name("X-Session-Token", 15));
  CHECK(!oc_secret_is_name("Content-Type", 12));
  CHECK(!oc_secret_is_name("", 0));
}

TEST(reads_files_and_commands) {
  oc_secret secret = { NULL, 0 };
  char path[] = "/tmp/opperchat-secret-XXXXXX";
  int fd = mkstemp(path);
  int is_open = 0;
  int status;

  CHECK(fd >= 0 && write(fd, KEY "\r\nmore\n", 31) == 31);
  CHECK(!oc_secret_read_file(&secret, path, &is_open));
  CHECK(!is_open && secret.len == strlen(KEY) && !strcmp(secret.text, KEY));
  chmod(path, 0644);
  CHECK(!oc_secret_read_file(&secret, path, &is_open) && is_open);
  CHECK(oc_secret_is_clean(&secret));
  close(fd);
  unlink(path);
  CHECK(oc_secret_read_file(&secret, path, &is_open) == OC_E_NO_FILE);
  CHECK(oc_secret_read_file(&secret, "/tmp", &is_open) == OC_E_UNREADABLE);

  CHECK(!oc_secret_run(&secret, "printf 'a\\001b\\nc'", &status));
  CHECK(!status && secret.len == 3 && !oc_secret_is_clean(&secret));
  CHECK(!oc_secret_run(&secret, "seq 1 20000 | tr -d '\\n'; exit 7", &status));
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
  CHECK(secret.len == 16384);
  oc_secret_forget(&secret);
  oc_secret_forget(&secret);
  CHECK(!secret.text && !secret.len);
}

/* Blocks that cannot be had. */
static void *no_malloc(size_t size) {
  (void)size;
  return NULL;
}

TEST(runs_out_of_memory) {
  oc_secret secret = { NULL, 0 };
  oc_allocator none = { no_malloc, realloc, free };
  oc_allocator usual = { malloc, realloc, free };
  int status;
  oc_set_allocator(&none);
  CHECK(oc_secret_set(&secret, KEY, strlen(KEY)) == OC_E_NOMEM);
  CHECK(oc_secret_run(&secret, "echo x", &status) == OC_E_NOMEM);
  oc_set_allocator(&usual);
  CHECK(!secret.text);
}

int main(void) {
  RUN(hides_a_secret);
  RUN(hides_pieces_of_it);
  RUN(takes_short_secrets_for_words);
  RUN(survives_any_end);
  RUN(hides_logins);
  RUN(knows_names_that_smell);
  RUN(reads_files_and_commands);
  RUN(runs_out_of_memory);
  return test_report();
}
