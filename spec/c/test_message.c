#include "counting.h"
#include "test.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/oc_message.h"

static oc_slice slice(const char *text) {
  oc_slice result;
  result.text = text;
  result.len = strlen(text);
  return result;
}

static int message_is(const oc_message *message, const char *json) {
  return message->len == strlen(json)
         && !memcmp(message->json, json, message->len);
}

static int slice_is(oc_slice a, const char *text) {
  return a.len == strlen(text) && !memcmp(a.text, text, a.len);
}

/* The code for a message given as JSON text; frees what was made. */
static oc_code try_json(const char *json) {
  oc_message *message = NULL;
  oc_code code = oc_message_json(&message, json, strlen(json), NULL);
  CHECK_FOR((code == OC_OK) == (message != NULL), "%s", json);
  oc_message_unref(message);
  return code;
}

TEST(knows_the_roles) {
  static const char *const names[] = {
    "system", "developer", "user", "assistant", "tool"
  };
  int role;
  for(role = 0; role < OC_ROLE_COUNT; role++) {
    CHECK(!strcmp(oc_role_name((oc_role)role), names[role]));
    CHECK(oc_role_parse(names[role], strlen(names[role])) == (oc_role)role);
    CHECK(oc_role_parse(names[role], strlen(names[role]) - 1)
          == OC_ROLE_COUNT);
  }
  CHECK(oc_role_parse("User", 4) == OC_ROLE_COUNT);
  CHECK(oc_role_parse("", 0) == OC_ROLE_COUNT);
  CHECK(oc_role_parse("user\0x", 6) == OC_ROLE_COUNT);
}

TEST(writes_text) {
  oc_message *message;
  size_t where = 77;

  CHECK(!oc_message_text(&message, OC_ROLE_USER, "Hi \"you\"\n", 9, &where));
  CHECK(message_is(message,
                   "{\"role\":\"user\",\"content\":\"Hi \\\"you\\\"\\n\"}"));
  CHECK(message->role == OC_ROLE_USER && !message->has_calls);
  CHECK(message->refs == 1);
  oc_message_unref(message);

  CHECK(!oc_message_text(&message, OC_ROLE_SYSTEM, "", 0, NULL));
  CHECK(message_is(message, "{\"role\":\"system\",\"content\":\"\"}"));
  oc_message_unref(message);

  CHECK(!oc_message_text(&message, OC_ROLE_ASSISTANT, "a\0b", 3, NULL));
  CHECK(message_is(message,
                   "{\"role\":\"assistant\",\"content\":\"a\\u0000b\"}"));
  oc_message_unref(message);
  CHECK(where == 77);
}

/* Each escape takes six bytes: the first guess at the size is too small. */
TEST(writes_much_text) {
  size_t len = 100000;
  char *text = malloc(len);
  oc_message *message;

  memset(text, '\x01', len);
  CHECK(!oc_message_text(&message, OC_ROLE_USER, text, len, NULL));
  CHECK(message->len
        == strlen("{\"role\":\"user\",\"content\":\"\"}") + 6 * len);
  oc_message_unref(message);
  free(text);
}

TEST(refuses_bad_utf8) {
  static const struct {
    const char *text;
    size_t where;
  } bad[] = {
    { "\xFF", 0 }, { "abc\xC3", 3 }, { "abc\xC3(", 3 }, { "\xED\xA0\x80", 0 },
    { "\xC3\xA9\xC0\xAF", 2 }, { "\xF4\x90\x80\x80", 0 }
  };
  size_t i;
  for(i = 0; i < sizeof bad / sizeof *bad; i++) {
    oc_message *message = NULL;
    size_t where = 99;
    CHECK(oc_message_text(&message, OC_ROLE_USER, bad[i].text,
                          strlen(bad[i].text), &where) == OC_E_UTF8);
    CHECK_FOR(where == bad[i].where, "%d: %d", (int)i, (int)where);
    CHECK(!message);
  }
}

TEST(finds_the_call_of_a_result) {
  static const char json[] = "{\"role\":\"tool\",\"tool_call_id\":"
                             "\"call \\\"1\\\"\",\"content\":\"42\\t\"}";
  oc_message *message;
  CHECK(!oc_message_json(&message, json, strlen(json), NULL));
  CHECK(message->role == OC_ROLE_TOOL);
  CHECK(slice_is(oc_message_result_id(message), "call \\\"1\\\""));
  oc_message_unref(message);
}

/* What is read is kept byte for byte, but for the blanks around it. */
TEST(keeps_json) {
  static const char *const texts[] = {
    "{\"role\":\"user\",\"content\":\"Hi\"}",
    "{ \"content\" : [ {\"type\":\"text\"} ],\n\"role\":\"user\" }",
    "{\"role\":\"user\",\"content\":\"\\u00e9 \\/\",\"x\":[1.50,null]}",
    "{\"r\\u006fle\":\"system\",\"content\":\"\"}",
    "{\"role\":\"assistant\",\"content\":null}",
    "{\"role\":\"assistant\",\"content\":\"x\",\"tool_calls\":null}",
    "{\"role\":\"assistant\",\"content\":\"x\",\"tool_calls\":[]}",
    "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"a\"}]}",
    "{\"role\":\"tool\",\"content\":\"x\",\"tool_call_id\":\"a\"}",
    "{\"role\":\"user\",\"content\":0}",
    "{\"role\":\"user\",\"content\":\"x\",\"tool_calls\":[{\"id\":\"a\"}]}"
  };
  size_t i;
  for(i = 0; i < sizeof texts / sizeof *texts; i++) {
    oc_message *message = NULL;
    char padded[300];
    CHECK_FOR(!oc_message_json(&message, texts[i], strlen(texts[i]), NULL),
              "%s", texts[i]);
    CHECK_FOR(message && message_is(message, texts[i]), "%s", texts[i]);
    if(message)
      CHECK_FOR(message->has_calls == (strstr(texts[i], "null,\"tool_c") != 0),
                "%s", texts[i]);
    oc_message_unref(message);
    message = NULL;
    sprintf(padded, "\t \n%s\r\n ", texts[i]);
    CHECK(!oc_message_json(&message, padded, strlen(padded), NULL));
    CHECK_FOR(message && message_is(message, texts[i]), "%s", texts[i]);
    oc_message_unref(message);
  }
}

TEST(adds_null_content_to_calls) {
  static const char text[] =
    " {\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"a\",\"x\":1}] } ";
  oc_message *message;
  CHECK(!oc_message_json(&message, text, strlen(text), NULL));
  CHECK(message_is(message, "{\"role\":\"assistant\",\"tool_calls\":[{\"id\":"
                            "\"a\",\"x\":1}] ,\"content\":null}"));
  CHECK(message->has_calls);
  oc_message_unref(message);
}

TEST(refuses_what_is_no_message) {
  static const struct {
    const char *json;
    oc_code code;
  } bad[] = {
    { "", OC_E_JSON },
    { "[]", OC_E_NOT_OBJECT },
    { "\"user\"", OC_E_NOT_OBJECT },
    { "null", OC_E_NOT_OBJECT },
    { "{}", OC_E_NO_ROLE },
    { "{\"content\":\"x\"}", OC_E_NO_ROLE },
    { "{\"role\":null,\"content\":\"x\"}", OC_E_NO_ROLE },
    { "{\"role\":1,\"content\":\"x\"}", OC_E_NO_ROLE },
    { "{\"role\":\"human\",\"content\":\"x\"}", OC_E_ROLE },
    { "{\"role\":\"user\",\"role\":\"user\",\"content\":\"x\"}", OC_E_ROLE },
    { "{\"role\":\"user\"}", OC_E_NO_CONTENT },
    { "{\"role\":\"user\",\"content\":null}", OC_E_NO_CONTENT },
    { "{\"role\":\"system\",\"content\":null}", OC_E_NO_CONTENT },
    { "{\"role\":\"assistant\"}", OC_E_NO_CONTENT },
    { "{\"role\":\"assistant\",\"tool_calls\":[]}", OC_E_NO_CONTENT },
    { "{\"role\":\"tool\",\"content\":\"x\"}", OC_E_NO_CALL_ID },
    { "{\"role\":\"tool\",\"content\":\"x\",\"tool_call_id\":\"\"}",
      OC_E_NO_CALL_ID },
    { "{\"role\":\"tool\",\"content\":\"x\",\"tool_call_id\":5}",
      OC_E_NO_CALL_ID },
    { "{\"role\":\"tool\",\"tool_call_id\":\"a\"}", OC_E_NO_CONTENT },
    { "{\"role\":\"user\",\"content\":\"x\"} x", OC_E_JSON },
    { "{\"role\":\"user\",\"content\":\"x\"", OC_E_JSON },
    { "{\"role\":\"user\",\"content\":\"x\",}", OC_E_JSON },
    { "{\"role\":\"user\",\"content\":'x'}", OC_E_JSON },
    { "{\"role\":\"user\",\"content\":\"\xFF\"}", OC_E_UTF8 },
    { "{\"role\":\"assistant\",\"tool_calls\":{}}", OC_E_CALL_ID },
    { "{\"role\":\"assistant\",\"tool_calls\":\"a\"}", OC_E_CALL_ID },
    { "{\"role\":\"assistant\",\"tool_calls\":[1]}", OC_E_CALL_ID },
    { "{\"role\":\"assistant\",\"tool_calls\":[{}]}", OC_E_CALL_ID },
    { "{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"\"}]}",
      OC_E_CALL_ID },
    { "{\"role\":\"assistant\",\"tool_calls\":[{\"id\":7}]}", OC_E_CALL_ID },
    { "{\"role\":\"assistant\",\"tool_calls\":"
      "[{\"id\":\"a\"},{\"id\":\"a\"}]}", OC_E_CALL_ID },
    { "{\"role\":\"assistant\",\"tool_calls\":"
      "[{\"id\":\"a\"},{\"id\":\"\\u0061\"}]}", OC_E_CALL_ID },
    { "{\"role\":\"assistant\",\"tool_calls\":null,"
      "\"tool_calls\":[{\"id\":\"a\"}]}", OC_E_CALL_ID },
    { "{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"a\"}", OC_E_JSON },
    { "{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"a\",\"x\":}]}",
      OC_E_JSON }
  };
  size_t i;
  for(i = 0; i < sizeof bad / sizeof *bad; i++) {
    oc_code code = try_json(bad[i].json);
    CHECK_FOR(code == bad[i].code, "%s: %s", bad[i].json, oc_code_name(code));
  }
}

TEST(says_where_json_is_wrong) {
  static const char text[] = "{\"role\":\"user\",\"content\":tru}";
  oc_message *message;
  size_t where = 0;
  CHECK(oc_message_json(&message, text, strlen(text), &where) == OC_E_JSON);
  CHECK(where >= 25 && where <= 28);
}

/* Cut anywhere a message is refused, and nothing is read behind its end. */
TEST(refuses_every_beginning) {
  static const char text[] =
    "{\"role\":\"assistant\",\"content\":\"\\u00e9\xC3\xA9\",\"tool_calls\":"
    "[{\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}";
  size_t len;
  for(len = 0; len < strlen(text); len++) {
    char *copy = malloc(len ? len : 1);
    oc_message *message = NULL;
    memcpy(copy, text, len);
    CHECK_FOR(oc_message_json(&message, copy, len, NULL), "%d", (int)len);
    CHECK(!message);
    free(copy);
  }
  CHECK(try_json(text) == OC_OK);
}

TEST(limits_the_calls) {
  char *text = malloc(64 * (OC_MAX_CALLS + 2));
  int count;
  for(count = OC_MAX_CALLS; count <= OC_MAX_CALLS + 1; count++) {
    size_t len = (size_t)sprintf(text, "{\"role\":\"assistant\","
                                       "\"tool_calls\":[{\"id\":\"0\"}");
    int i;
    for(i = 1; i < count; i++)
      len += (size_t)sprintf(text + len, ",{\"id\":\"%d\"}", i);
    strcpy(text + len, "]}");
    CHECK((try_json(text) == OC_OK) == (count == OC_MAX_CALLS));
  }
  free(text);
}

TEST(walks_over_calls) {
  static const char text[] =
    "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":["
    "{\"function\":{\"id\":\"no\"},\"id\":\"a\"},"
    "{\"id\":\"b\\\"\\u00e9\",\"x\":[{\"id\":\"no\"}]},"
    "{\"id\":\"c\"}],\"id\":\"no\"}";
  static const char *const expected[] = { "a", "b\\\"\\u00e9", "c" };
  oc_message *message;
  oc_calls calls;
  oc_slice id;
  size_t i;

  CHECK(!oc_message_json(&message, text, strlen(text), NULL));
  oc_calls_begin(&calls, message);
  for(i = 0; i < 3; i++) {
    CHECK(oc_calls_next(&calls, &id));
    CHECK_FOR(slice_is(id, expected[i]), "%d", (int)i);
  }
  CHECK(!oc_calls_next(&calls, &id));
  CHECK(!oc_calls_next(&calls, &id));
  oc_message_unref(message);

  CHECK(!oc_message_text(&message, OC_ROLE_USER, "x", 1, NULL));
  oc_calls_begin(&calls, message);
  CHECK(!oc_calls_next(&calls, &id));
  oc_message_unref(message);
}

TEST(compares_raw_texts) {
  CHECK(oc_raw_equal(slice(""), slice("")));
  CHECK(oc_raw_equal(slice("abc"), slice("abc")));
  CHECK(oc_raw_equal(slice("a\\u0062c"), slice("abc")));
  CHECK(oc_raw_equal(slice("abc"), slice("\\u0061\\u0062\\u0063")));
  CHECK(oc_raw_equal(slice("\\n"), slice("\\u000A")));
  CHECK(oc_raw_equal(slice("\\ud83d\\ude00"), slice("\xF0\x9F\x98\x80")));
  CHECK(!oc_raw_equal(slice("abc"), slice("abd")));
  CHECK(!oc_raw_equal(slice("abc"), slice("ab")));
  CHECK(!oc_raw_equal(slice("\\\\"), slice("\\\"")));
  CHECK(!oc_raw_equal(slice("\\u0000"), slice("")));
  CHECK(!oc_raw_equal(slice("\\ud83d"), slice("\xF0\x9F\x98\x80")));
}

TEST(counts_references) {
  oc_message *message;
  CHECK(!oc_message_text(&message, OC_ROLE_USER, "x", 1, NULL));
  CHECK(oc_message_ref(message) == message && message->refs == 2);
  oc_message_unref(message);
  CHECK(message->refs == 1);
  oc_message_unref(message);
  oc_message_unref(NULL);
}

/* What goes through a buffer that becomes the message. */
static oc_code end_of(oc_message **message, const char *json, size_t room,
                      size_t *where) {
  oc_buf buf;
  oc_code code;
  oc_buf_init(&buf, 1);
  code = oc_message_begin(&buf, room);
  if(!code)
    code = oc_buf_puts(&buf, json);
  if(!code)
    code = oc_message_end(message, &buf, where);
  if(!code)
    CHECK(!buf.data && !buf.len && !buf.cap);
  oc_buf_free(&buf);
  return code;
}

TEST(becomes_what_was_written) {
  static const char *const texts[] = {
    "{\"role\":\"user\",\"content\":[]}",
    "{\"role\":\"user\",\"content\":\"x\"} \n",
    " {\"role\":\"system\",\"content\":\"x\"}",
    "{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"a\"}]}",
    "{\"role\":\"tool\",\"content\":\"x\",\"tool_call_id\":\"a\"}"
  };
  oc_message *expected;
  oc_message *message;
  size_t where = 0;
  size_t i;

  for(i = 0; i < sizeof texts / sizeof *texts; i++) {
    const char *text = texts[i];
    CHECK(!oc_message_json(&expected, text, strlen(text), NULL));
    CHECK_FOR(!end_of(&message, text, strlen(text), NULL), "%s", text);
    CHECK_FOR(message->len == expected->len
              && !memcmp(message->json, expected->json, message->len)
              && message->role == expected->role && message->refs == 1
              && message->has_calls == expected->has_calls, "%s", text);
    oc_message_unref(message);
    oc_message_unref(expected);
  }
  CHECK(end_of(&message, "{}", 1, NULL) == OC_E_TOO_LARGE);
  CHECK(end_of(&message, "", 0, NULL) == OC_E_JSON);
  CHECK(end_of(&message, "{}", 2, NULL) == OC_E_NO_ROLE);
  CHECK(end_of(&message, "{\"role\":x}", 10, &where) == OC_E_JSON);
  CHECK(where == 8);
  CHECK(end_of(&message, "", SIZE_MAX, NULL) == OC_E_TOO_LARGE);
}

TEST(survives_lack_of_memory) {
  static const char calls[] =
    "{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"a\"},{\"id\":\"b\"}]}";
  oc_message *message;
  oc_code code;
  int n;

  oc_set_allocator(&counting);
  for(n = 0; n < 20; n++) {
    blocks = 0;
    allocations_left = n;
    code = oc_message_text(&message, OC_ROLE_USER, "\x01\x01\x01", 3, NULL);
    CHECK(code == (n < 2 ? OC_E_NOMEM : OC_OK));
    if(!code)
      oc_message_unref(message);
    allocations_left = n;
    code = oc_message_json(&message, calls, strlen(calls), NULL);
    CHECK(code == OC_E_NOMEM || (code == OC_OK && n > 2));
    if(!code)
      oc_message_unref(message);
    CHECK_FOR(blocks == 0, "%d", n);
  }
  CHECK(code == OC_OK);
  oc_set_allocator(&standard);
}

int main(void) {
  RUN(knows_the_roles);
  RUN(writes_text);
  RUN(writes_much_text);
  RUN(refuses_bad_utf8);
  RUN(finds_the_call_of_a_result);
  RUN(keeps_json);
  RUN(adds_null_content_to_calls);
  RUN(refuses_what_is_no_message);
  RUN(says_where_json_is_wrong);
  RUN(refuses_every_beginning);
  RUN(limits_the_calls);
  RUN(walks_over_calls);
  RUN(compares_raw_texts);
  RUN(counts_references);
  RUN(becomes_what_was_written);
  RUN(survives_lack_of_memory);
  return test_report();
}
