#include "test.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../src/oc_alloc.h"
#include "../../src/oc_base64.h"
#include "../../src/oc_player.h"
#include "../../src/oc_recorder.h"
#include "../../src/oc_redact.h"
#include "../../src/oc_sha256.h"
#include "../../src/oc_tree.h"
#include "../../src/oc_url.h"

#define MAX (1 << 20)

/* {==== helpers ==== */

static int is_text(const oc_buf *buf, const char *text) {
  return buf->len == strlen(text)
         && (!buf->len || !memcmp(buf->data, text, buf->len));
}

/* }==== */

/* {==== parts ==== */

TEST(hashes) {
  static const struct {
    const char *text;
    const char *digits;
  } known[] = {
    { "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
    { "abc",
      "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
    { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" }
  };
  char million[1000];
  char digits[65];
  size_t i;
  for(i = 0; i < sizeof known / sizeof *known; i++) {
    oc_sha256_hex(known[i].text, strlen(known[i].text), digits);
    CHECK_FOR(!strcmp(digits, known[i].digits), "\"%s\"", known[i].text);
  }
  /* both sides of the block that takes the length */
  memset(million, 'a', sizeof million);
  for(i = 54; i < 66; i++) {
    char other[65];
    oc_sha256_hex(million, i, digits);
    oc_sha256_hex(million, i + 1, other);
    CHECK(strlen(digits) == 64 && strcmp(digits, other));
  }
  oc_sha256_hex(million, sizeof million, digits);
  CHECK(!strcmp(digits, "41edece42d63e8d9bf515a9ba6932e1c"
                        "20cbc9f5a5d134645adb5db1b9737ea3"));
}

TEST(decodes_base64) {
  unsigned char bytes[64];
  size_t len;
  for(len = 0; len < sizeof bytes; len++) {
    oc_base64 encoder;
    oc_buf text;
    oc_buf back;
    bytes[len] = (unsigned char)(len * 37 + 11);
    oc_buf_init(&text, MAX);
    oc_buf_init(&back, MAX);
    oc_base64_begin(&encoder);
    oc_base64_append(&encoder, &text, bytes, len);
    oc_base64_end(&encoder, &text);
    CHECK(!oc_base64_decode(text.data ? text.data : "", text.len, &back));
    CHECK_FOR(back.len == len && (!len || !memcmp(back.data, bytes, len)),
              "%lu bytes", (unsigned long)len);
    oc_buf_free(&text);
    oc_buf_free(&back);
  }
}

TEST(refuses_bad_base64) {
  static const char *const bad[] = {
    "a", "ab", "abc", "a===", "====", "ab=c", "ab c", "abcd=", "ab=cabcd",
    "ab\ncd=="
  };
  size_t i;
  for(i = 0; i < sizeof bad / sizeof *bad; i++) {
    oc_buf out;
    oc_buf_init(&out, MAX);
    CHECK_FOR(oc_base64_decode(bad[i], strlen(bad[i]), &out) == OC_E_RANGE,
              "%s", bad[i]);
    oc_buf_free(&out);
  }
}

TEST(takes_urls_apart) {
  char *text = oc_url_path("http://a.b:81/v1/x?y=1");
  CHECK(text && !strcmp(text, "/v1/x?y=1"));
  oc_free(text);
  text = oc_url_path("http://a.b");
  CHECK(text && !strcmp(text, "/"));
  oc_free(text);
  CHECK(!oc_url_path("::"));
  text = oc_url_join("http://a.b:81/v1/x", "/other?y=2");
  CHECK(text && !strcmp(text, "http://a.b:81/other?y=2"));
  oc_free(text);
  text = oc_url_join("http://a.b:81/v1/x", "z");
  CHECK(text && !strcmp(text, "http://a.b:81/v1/z"));
  oc_free(text);
  text = oc_url_join("http://a.b/", "https://c.d/e");
  CHECK(text && !strcmp(text, "https://c.d/e"));
  oc_free(text);
}

/* }==== */

/* {==== secrets ==== */

static void check_redacted(const char *text, const char *expected) {
  oc_redact redact;
  oc_buf out;
  memset(&redact, 0, sizeof redact);
  oc_redact_add(&redact, "my/own\"key", 10);
  oc_redact_add(&redact, "short", 5);
  oc_redact_add_header(&redact, "X-Token: header-word");
  oc_redact_add_header(&redact, "X-Team: harmless-word");
  oc_buf_init(&out, MAX);
  CHECK(!oc_redact_append(&redact, &out, text, strlen(text)));
  CHECK_FOR(is_text(&out, expected), "%s -> %.*s", text, (int)out.len,
            out.data);
  oc_buf_free(&out);
}

TEST(redacts) {
  check_redacted("", "");
  check_redacted("nothing", "nothing");
  check_redacted("a my/own\"key b", "a <redacted> b");
  check_redacted("a my\\/own\\\"key b", "a <redacted> b");
  check_redacted("my/own\"keymy/own\"key", "<redacted><redacted>");
  check_redacted("my/own\"ke", "my/own\"ke");
  check_redacted("short header-word harmless-word",
                 "short <redacted> harmless-word");
  check_redacted("sk-12345678", "<redacted>");
  check_redacted("sk-1234567", "sk-1234567");
  check_redacted("risk-12345678", "risk-12345678");
  check_redacted("\\nsk-12345678\\n", "\\n<redacted>\\n");
  check_redacted("(sk-proj-ab_c-123456).", "(<redacted>).");
  check_redacted("Bearer abcdefgh1", "Bearer <redacted>");
  check_redacted("bearer of the news", "bearer of the news");
}

TEST(knows_secret_names) {
  CHECK(oc_redact_is_secret_name("Authorization", 13));
  CHECK(oc_redact_is_secret_name("set-cookie", 10));
  CHECK(oc_redact_is_secret_name("X-API-Key", 9));
  CHECK(!oc_redact_is_secret_name("content-type", 12));
  CHECK(!oc_redact_is_secret_name("x-ratelimit-remaining-tokens", 28));
}

/* A stream with a secret that is cut at any place. */
TEST(marks_pieces) {
  static const char secret[] = "sk-abcdef0123456789";
  size_t cut;
  for(cut = 1; cut < strlen(secret); cut++) {
    char text[256];
    unsigned char marks[256];
    char left[256];
    size_t len;
    size_t count = 0;
    size_t i;
    oc_redact redact;
    memset(&redact, 0, sizeof redact);
    oc_redact_add(&redact, secret, strlen(secret));
    len = (size_t)snprintf(text, sizeof text,
                           "data: {\"content\":\"a %.*s\"}\n\n"
                           "data: {\"content\": \"%s b\"}\n\n",
                           (int)cut, secret, secret + cut);
    CHECK(!oc_redact_mark(&redact, text, len, marks));
    for(i = 0; i < len; i++) {
      if(marks[i] == 1)
        left[count++] = '#';
      else if(!marks[i])
        left[count++] = text[i];
    }
    left[count] = '\0';
    CHECK_FOR(!strcmp(left, "data: {\"content\":\"a #\"}\n\n"
                            "data: {\"content\": \" b\"}\n\n"),
              "%lu: %s", (unsigned long)cut, left);
  }
}

/* }==== */

/* {==== trees ==== */

static size_t compare(const char *a, const char *b, oc_buf *where) {
  oc_tree one;
  oc_tree other;
  size_t found;
  CHECK_FOR(!oc_tree_read(&one, a, strlen(a)), "%s", a);
  CHECK_FOR(!oc_tree_read(&other, b, strlen(b)), "%s", b);
  found = oc_tree_compare(&one, &other, where);
  oc_tree_free(&one);
  oc_tree_free(&other);
  return found;
}

TEST(compares) {
#define ID_A "call_0123456789abcdef01234567"
#define ID_B "call_fedcba9876543210fedcba98"
  static const struct {
    const char *recorded;
    const char *sent;
    size_t found;
    const char *where;
  } pairs[] = {
    { "{\"a\":1,\"b\":[1,2]}", " { \"b\" : [ 1.0, 2e0 ] , \"a\":1 } ", 0, "" },
    { "\"\\u00e9\\/\"", "\"\xC3\xA9/\"", 0, "" },
    { "-0", "0.0", 0, "" },
    { "12345678901234567890", "12345678901234567891", 1,
      "the body: recorded 12345678901234567890, sent 12345678901234567891" },
    { "{\"a\":1}", "{\"a\":2}", 1, "a: recorded 1, sent 2" },
    { "{\"a\":{\"b\":[true,{\"c\":null}]}}",
      "{\"a\":{\"b\":[true,{\"c\":\"x\"}]}}", 1,
      "a.b[2].c: recorded null, sent \"x\"" },
    { "[1]", "[1,[2,3]]", 2, "[2]: recorded nothing, sent [2,3]" },
    { "{\"a\":1,\"c\":2}", "{\"b\":1,\"c\":2}", 2,
      "a: recorded 1, sent nothing" },
    { "{}", "[]", 1, "the body: recorded {}, sent []" },
    { "\"a <redacted> b <redacted>\"", "\"a secret b another\"", 0, "" },
    { "\"a <redacted> b\"", "\"a secret c\"", 1, NULL },
    { "[\"" ID_A "\",\"" ID_B "\",\"" ID_A "\"]",
      "[\"" ID_B "\",\"" ID_A "\",\"" ID_B "\"]", 0, "" },
    { "[\"" ID_A "\",\"" ID_A "\"]", "[\"" ID_B "\",\"" ID_A "\"]", 1, NULL }
  };
  size_t i;
  for(i = 0; i < sizeof pairs / sizeof *pairs; i++) {
    oc_buf where;
    oc_buf_init(&where, MAX);
    CHECK_FOR(compare(pairs[i].recorded, pairs[i].sent, &where)
              == pairs[i].found, "%s", pairs[i].recorded);
    CHECK_FOR(!pairs[i].where || is_text(&where, pairs[i].where),
              "%s: %.*s", pairs[i].recorded, (int)where.len, where.data);
    oc_buf_free(&where);
  }
}

TEST(writes_one_form) {
  static const char text[] =
    " {\"b\":[1.50,\"\\u0041\"],\"a\":{\"d\":null,\"c\":false},\"a\":true} ";
  oc_tree tree;
  oc_buf out;
  oc_buf_init(&out, MAX);
  CHECK(!oc_tree_read(&tree, text, strlen(text)));
  CHECK(!oc_tree_write(&tree, &out));
  CHECK_FOR(is_text(&out, "{\"a\":{\"c\":false,\"d\":null},\"a\":true,"
                          "\"b\":[1.5,\"A\"]}"),
            "%.*s", (int)out.len, out.data);
  oc_tree_free(&tree);
  oc_buf_free(&out);
}

TEST(cleans) {
  char text[8192];
  char long_part[1500];
  oc_redact none;
  oc_buf out;
  oc_buf again;

  memset(&none, 0, sizeof none);
  memset(long_part, 'A', sizeof long_part - 1);
  long_part[sizeof long_part - 1] = '\0';
  snprintf(text, sizeof text, " {\"a\" : [ \"data:image/png;base64,%s\", "
           "\"%s\", \"%s.\" , 1.0 ],\"sk-12345678\":{}, \"b\":\"\" }",
           long_part, long_part, long_part);
  oc_buf_init(&out, MAX);
  oc_buf_init(&again, MAX);
  CHECK(!oc_tree_clean(&none, text, strlen(text), &out));
  oc_buf_putc(&out, '\0');
  out.len--;
  CHECK(!strncmp(out.data, "{\"a\":[\"data:image/png;base64,<sha256 ", 36));
  CHECK(strstr(out.data, ", 1499 characters>\",\"<sha256 "));
  CHECK(strstr(out.data, "AAA.\",1.0],\"<redacted>\":{},\"b\":\"\"}"));
  /* what is clean stays as it is */
  CHECK(!oc_tree_clean(&none, out.data, out.len, &again));
  CHECK(again.len == out.len && !memcmp(again.data, out.data, out.len));
  oc_buf_free(&out);
  oc_buf_free(&again);
  oc_buf_init(&out, MAX);
  CHECK(oc_tree_clean(&none, "[1,", 3, &out) == OC_E_JSON);
  oc_buf_free(&out);
}

/* }==== */

/* {==== tapes ==== */

static char path[64];

static void name_file(void) {
  int fd;
  snprintf(path, sizeof path, "/tmp/opperchat-tape-XXXXXX");
  fd = mkstemp(path);
  if(fd >= 0)
    close(fd);
}

static void write_file(const char *text) {
  FILE *file = fopen(path, "w");
  if(file) {
    fputs(text, file);
    fclose(file);
  }
}

static oc_player *open_player(double speed, oc_code *code) {
  char problem[OC_PROBLEM_MAX];
  oc_player_options options;
  options.path = path;
  options.speed = speed;
  options.in_order = 0;
  *code = OC_OK;
  return oc_player_open(&options, code, problem);
}

static const oc_recording *find(oc_player *player, const char *body,
                                int attempt, oc_error *error) {
  oc_player_request request;
  memset(&request, 0, sizeof request);
  request.method = "POST";
  request.path = "/chat/completions";
  request.attempt = attempt;
  request.body.text = body;
  request.body.len = strlen(body);
  return oc_player_find(player, &request, error);
}

#define LINE(more) "{\"request\":{\"body\":{\"a\":1}" more "}}\n"
#define FIRST "{\"opperchat_tape\":1}\n"

TEST(plays_in_order) {
  oc_error error;
  oc_code code;
  oc_player *player;
  const oc_recording *found;
  size_t at = 0;

  memset(&error, 0, sizeof error);
  name_file();
  write_file(FIRST
    LINE(",\"attempt\":2},\"response\":{\"status\":201")
    LINE("},\"at\":\"2\",\"response\":{\"status\":202")
    LINE("},\"at\":\"1\",\"response\":{\"status\":203")
    LINE("},\"at\":\"3\",\"response\":{\"status\":204"));
  player = open_player(0, &code);
  CHECK(player != NULL);
  if(player) {
    found = find(player, "{\"a\":1}", 1, &error);
    CHECK(found && oc_recording_status(found) == 203);
    found = find(player, "{\"a\":1}", 2, &error);
    CHECK(found && oc_recording_status(found) == 201);
    found = oc_player_left(player, &at);
    CHECK(found && oc_recording_line(found) == 3);
    /* rather another attempt than none */
    found = find(player, "{\"a\":1}", 7, &error);
    CHECK(found && oc_recording_status(found) == 202);
    found = find(player, "{\"a\":1}", 1, &error);
    CHECK(found && oc_recording_status(found) == 204);
    CHECK(!find(player, "{\"a\":1}", 1, &error));
    CHECK(error.code == OC_E_NO_RECORDING && !error.retryable);
    at = 0;
    CHECK(!oc_player_left(player, &at));
  }
  oc_error_clear(&error);
  oc_player_free(player);
  remove(path);
}

TEST(keeps_times) {
  oc_error error;
  oc_code code;
  oc_player *player;
  const oc_recording *found;
  const char *message;
  int retryable;
  oc_slice piece;

  memset(&error, 0, sizeof error);
  name_file();
  write_file(FIRST LINE("},\"response\":{\"chunks\":[[100,\"ab\","
                        "{\"base64\":\"/w==\"}],[50,\"c\"],[300,\"\"]]},"
                        "\"error\":{\"code\":\"truncated\"},\"ms\":{"
                        "\"first_byte\":40,\"end\":400,\"retry\":1000"));
  player = open_player(2, &code);
  CHECK(player != NULL);
  found = player ? find(player, "{\"a\":1.0}", 1, &error) : NULL;
  CHECK(found != NULL);
  if(found) {
    CHECK(oc_recording_pieces(found) == 4);
    piece = oc_recording_piece(found, 1);
    CHECK(piece.len == 1 && *piece.text == '\xFF');
    CHECK(!oc_recording_is_same(found, 0) && oc_recording_is_same(found, 1));
    CHECK(oc_recording_head_due(player, found) == 20);
    CHECK(oc_recording_due(player, found, 0) == 50);
    /* time does not go back */
    CHECK(oc_recording_due(player, found, 2) == 50);
    CHECK(oc_recording_due(player, found, 3) == 150);
    CHECK(oc_recording_due(player, found, 4) == 200);
    CHECK(!oc_recording_ends_with_piece(found));
    CHECK(oc_recording_retry(found) == 1000);
    CHECK(oc_player_scale(player, 1000) == 500);
    CHECK(oc_recording_error(found, &message, &retryable)
          == OC_E_TRUNCATED && retryable < 0);
  }
  oc_error_clear(&error);
  oc_player_free(player);
  remove(path);
}

/* {==== memory ==== */

static size_t allowed;

static void *limited_malloc(size_t size) {
  return allowed && allowed-- ? malloc(size) : NULL;
}

static void *limited_realloc(void *block, size_t size) {
  return allowed && allowed-- ? realloc(block, size) : NULL;
}

static const char whole[] = FIRST
  LINE("},\"at\":\"1\",\"response\":{\"status\":200,\"headers\":{"
       "\"x\":[\"a\",\"b\"],\"y\":\"c\"},\"chunks\":[[1,\"a\"],[2,"
       "{\"base64\":\"/w==\"}]]},\"ms\":{\"end\":4")
  LINE("},\"error\":{\"code\":\"connection_lost\",\"message\":\"gone\"")
  "{\"request\":{\"body\":{\"b\":[{\"c\":\"<redacted>\"}]}},"
  "\"response\":{\"body\":{\"d\":1}}}\n";

/* Fails the n-th allocation, for each n, until nothing fails. */
TEST(survives_no_memory) {
  oc_allocator limited = { limited_malloc, limited_realloc, free };
  oc_allocator usual = { malloc, realloc, free };
  size_t count;
  int is_done = 0;

  name_file();
  write_file(whole);
  oc_set_allocator(&limited);
  for(count = 0; !is_done && count < 5000; count++) {
    oc_error error;
    oc_code code;
    oc_player *player;
    memset(&error, 0, sizeof error);
    allowed = count;
    player = open_player(0, &code);
    if(player) {
      const oc_recording *found =
        find(player, "{\"b\":[{\"c\":\"anything\"}]}", 1, &error);
      find(player, "{\"b\":[{\"d\":\"anything\"}]}", 1, &error);
      is_done = found != NULL && error.code == OC_E_NO_RECORDING && allowed;
    }
    else
      CHECK(code == OC_E_NOMEM);
    oc_error_clear(&error);
    oc_player_free(player);
  }
  oc_set_allocator(&usual);
  CHECK(is_done && count > 20);
  remove(path);
}

/* Records with ever more memory: a line is there, or a problem is. */
TEST(records_without_memory) {
  oc_allocator limited = { limited_malloc, limited_realloc, free };
  oc_allocator usual = { malloc, realloc, free };
  size_t count;
  int is_done = 0;

  name_file();
  for(count = 1; !is_done && count < 5000; count++) {
    char problem[OC_PROBLEM_MAX];
    oc_code code = OC_OK;
    oc_recorder *recorder;
    oc_response response;
    oc_error none;
    memset(&none, 0, sizeof none);
    allowed = 1000;
    oc_set_allocator(&limited);
    oc_response_init(&response, MAX, MAX, 0);
    oc_response_header(&response, "HTTP/1.1 200 OK\r\n", 17, &none);
    oc_response_header(&response, "X-Y: z\r\n", 8, &none);
    oc_response_header(&response, "\r\n", 2, &none);
    allowed = count;
    recorder = oc_recorder_open(path, "a-long-secret", 13, &code, problem);
    if(recorder) {
      oc_take *take = oc_take_new(recorder, 1000000);
      if(take) {
        oc_take_end end;
        memset(&end, 0, sizeof end);
        end.method = "GET";
        end.path = "/models";
        end.attempt = 1;
        end.status = 200;
        end.response = &response;
        end.is_stream = 1;
        end.connect = -1;
        end.retry_ms = -1;
        end.now_us = 1010000;
        oc_take_bytes(take, "data: a-long", 12, 1001000, 0);
        oc_take_bytes(take, "-secret \xC3", 9, 1002000, 0);
        oc_take_finish(take, &end);
      }
      is_done = !oc_recorder_problem(recorder);
      oc_recorder_free(recorder);
    }
    oc_response_free(&response);
  }
  oc_set_allocator(&usual);
  CHECK(is_done);
  {
    oc_buf text;
    char problem[OC_PROBLEM_MAX];
    oc_buf_init(&text, MAX);
    CHECK(!oc_file_read(path, MAX, &text, problem));
    oc_buf_putc(&text, '\0');
    CHECK(!strncmp(text.data, FIRST, strlen(FIRST)));
    CHECK(!strstr(text.data, "long"));
    CHECK(strstr(text.data, "\"chunks\":[[1,\"data: <redacted>\"],"
                            "[2,\" \",{\"base64\":\"ww==\"}]]"));
    CHECK(strstr(text.data, "\"headers\":{\"x-y\":\"z\"}"));
    oc_buf_free(&text);
  }
  remove(path);
}

/* }==== */

/* Every beginning of a tape is read, or refused with a reason. */
TEST(reads_any_beginning) {
  size_t len;
  name_file();
  for(len = 0; len < strlen(whole); len++) {
    char text[sizeof whole];
    oc_code code;
    oc_player *player;
    memcpy(text, whole, len);
    text[len] = '\0';
    write_file(text);
    player = open_player(0, &code);
    CHECK((player != NULL) == (code == OC_OK));
    oc_player_free(player);
  }
  remove(path);
}

/* }==== */

int main(void) {
  RUN(hashes);
  RUN(decodes_base64);
  RUN(refuses_bad_base64);
  RUN(takes_urls_apart);
  RUN(redacts);
  RUN(knows_secret_names);
  RUN(marks_pieces);
  RUN(compares);
  RUN(writes_one_form);
  RUN(cleans);
  RUN(plays_in_order);
  RUN(keeps_times);
  RUN(survives_no_memory);
  RUN(records_without_memory);
  RUN(reads_any_beginning);
  return test_report();
}
