#include "counting.h"
#include "test.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/oc_reply.h"
#include "../../src/oc_utf8.h"

#define MAX 100000

/* {==== telling what a reply is ==== */

static int is_text(const oc_buf *buf, const char *text) {
  return buf->len == strlen(text)
         && (!buf->len || !memcmp(buf->data, text, buf->len));
}

/* The message to keep, as a text to be freed; "?" and why: there is none. */
static char *message_of(const oc_reply *reply) {
  oc_message *message;
  oc_code code = oc_reply_message(reply, 0, &message);
  char *text;
  if(code) {
    text = malloc(100);
    sprintf(text, "?%s", oc_code_name(code));
    return text;
  }
  text = malloc(message->len + 1);
  memcpy(text, message->json, message->len);
  text[message->len] = '\0';
  oc_message_unref(message);
  return text;
}

static void check_message(const oc_reply *reply, const char *expected,
                          const char *input) {
  char *text = message_of(reply);
  CHECK_FOR(!strcmp(text, expected), "%s\n  gives    %s\n  expected %s", input,
            text, expected);
  free(text);
}

/* Reads a whole response that must be right. */
static void read_whole(oc_reply *reply, const char *json) {
  oc_error error;
  memset(&error, 0, sizeof error);
  oc_reply_init(reply, MAX);
  CHECK_FOR(!oc_reply_whole(reply, json, strlen(json), &error), "%s: %s",
            json, oc_error_message(&error));
  oc_error_clear(&error);
}

/* One whose message has these fields, checked against the one to keep. */
static void whole_is(const char *fields, const char *expected) {
  char json[3000];
  oc_reply reply;
  sprintf(json, "{\"choices\":[{\"message\":{%s},\"finish_reason\":\"stop\"}]}",
          fields);
  read_whole(&reply, json);
  check_message(&reply, expected, fields);
  oc_reply_free(&reply);
}

/* Reads chunks up to a NULL, then ends the stream. The first bad code. */
static oc_code read_chunks(oc_reply *reply, const char *const *chunks,
                           oc_error *error) {
  oc_code code = OC_OK;
  oc_reply_init(reply, MAX);
  for(; *chunks && !code; chunks++)
    code = oc_reply_chunk(reply, *chunks, strlen(*chunks), error);
  return code ? code : oc_reply_finish(reply);
}

#define CHUNK(delta) "{\"choices\":[{\"index\":0,\"delta\":{" delta "}}]}"
#define CALLS(calls) CHUNK("\"tool_calls\":[" calls "]")

/* }==== */

/* {==== whole responses ==== */

TEST(reads_a_whole_response) {
  static const char json[] =
    "{\"id\":\"c-1\",\"object\":\"chat.completion\",\"created\":5,"
    "\"model\":\"openai/gpt-5-mini\",\"choices\":[{\"index\":0,"
    "\"finish_reason\":\"stop\",\"message\":{\"role\":\"assistant\","
    "\"content\":\"A \\\"b\\\" \\u00e9 \\ud83d\\ude00\"}}],"
    "\"usage\":{\"prompt_tokens\":13,\"completion_tokens\":4,"
    "\"total_tokens\":17,\"prompt_tokens_details\":{\"cached_tokens\":3},"
    "\"completion_tokens_details\":{\"reasoning_tokens\":2},"
    "\"cost\":0.000033,\"server_tool_use\":{}},\"cost\":7}";
  oc_reply reply;
  oc_buf raw;

  read_whole(&reply, json);
  CHECK(reply.is_done && reply.has_choice && reply.has_content);
  CHECK(is_text(&reply.content.buf,
                "A \"b\" \xC3\xA9 \xF0\x9F\x98\x80"));
  CHECK(is_text(&reply.finish_reason, "stop"));
  CHECK(is_text(&reply.id, "c-1"));
  CHECK(is_text(&reply.model, "openai/gpt-5-mini"));
  CHECK(reply.has_usage);
  CHECK(reply.usage.prompt_tokens == 13);
  CHECK(reply.usage.completion_tokens == 4);
  CHECK(reply.usage.total_tokens == 17);
  CHECK(reply.usage.cached_tokens == 3);
  CHECK(reply.usage.reasoning_tokens == 2);
  CHECK(reply.usage.cost > 0.000032 && reply.usage.cost < 0.000034);
  check_message(&reply, "{\"role\":\"assistant\",\"content\":"
                "\"A \\\"b\\\" \xC3\xA9 \xF0\x9F\x98\x80\"}", json);
  oc_buf_init(&raw, MAX);
  CHECK(!oc_reply_raw(&reply, &raw));
  CHECK(is_text(&raw, "{\"id\":\"c-1\",\"object\":\"chat.completion\","
    "\"model\":\"openai/gpt-5-mini\",\"choices\":[{\"index\":0,\"message\":"
    "{\"role\":\"assistant\",\"content\":\"A \\\"b\\\" \xC3\xA9 "
    "\xF0\x9F\x98\x80\"},\"finish_reason\":\"stop\"}],"
    "\"usage\":{\"prompt_tokens\":13,\"completion_tokens\":4,"
    "\"total_tokens\":17,\"prompt_tokens_details\":{\"cached_tokens\":3},"
    "\"completion_tokens_details\":{\"reasoning_tokens\":2},"
    "\"cost\":0.000033,\"server_tool_use\":{}}}"));
  oc_buf_free(&raw);
  oc_reply_free(&reply);
  CHECK(!oc_reply_has_output(&reply));
}

/*
 * The text with its value number `n` replaced by null, to be freed; NULL:
 * there are fewer.
 */
static char *with_null(const char *json, int n) {
  oc_json reader;
  oc_slice value;
  char *text;

  oc_json_init(&reader, json, strlen(json));
  while(n >= 0) {
    oc_json_token token = oc_json_next(&reader);
    if(token <= OC_JSON_END)
      return NULL;
    if(token != OC_JSON_KEY && token != OC_JSON_OBJECT_END
       && token != OC_JSON_ARRAY_END)
      n--;
  }
  CHECK(!oc_json_skip(&reader, &value));
  text = malloc(strlen(json) + 5);
  sprintf(text, "%.*snull%s", (int)(value.text - json), json,
          value.text + value.len);
  return text;
}

static const char full_response[] =
  "{\"id\":\"c\",\"object\":\"chat.completion\",\"created\":1,"
  "\"model\":\"m\",\"system_fingerprint\":\"f\",\"error\":null,"
  "\"cost\":0.5,\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,"
  "\"total_tokens\":3,\"prompt_tokens_details\":{\"cached_tokens\":4},"
  "\"completion_tokens_details\":{\"reasoning_tokens\":5},\"cost\":1},"
  "\"choices\":[{\"index\":0,\"finish_reason\":\"stop\",\"logprobs\":{},"
  "\"message\":{\"role\":\"assistant\",\"content\":\"x\",\"refusal\":\"r\","
  "\"reasoning\":\"y\",\"extra\":{\"a\":[1,2]},\"tool_calls\":["
  "{\"index\":0,\"id\":\"a\",\"type\":\"function\",\"sig\":\"s\","
  "\"function\":{\"name\":\"f\",\"arguments\":\"{}\",\"strict\":true}},"
  "{\"id\":\"b\"}]}}]}";

/* Anything may be null, and then it might as well not be there. */
TEST(takes_null_anywhere) {
  int refused = 0;
  char *json;
  int n;

  for(n = 0; (json = with_null(full_response, n)) != NULL; n++) {
    oc_reply reply;
    oc_error error;
    oc_code code;
    memset(&error, 0, sizeof error);
    oc_reply_init(&reply, MAX);
    code = oc_reply_whole(&reply, json, strlen(json), &error);
    if(code) {
      CHECK_FOR(code == OC_E_NO_CHOICES || code == OC_E_BAD_RESPONSE,
                "%s: %s", json, oc_code_name(code));
      refused++;
    }
    else {
      char *text = message_of(&reply);
      CHECK_FOR(*text != '?', "%s: %s", json, text);
      /* only the value of an unknown field may keep a null inside */
      CHECK_FOR(!strstr(text, "null") || strstr(text, "\"content\":null")
                || strstr(text, "[null,2]") || strstr(text, "[1,null]")
                || strstr(text, "{\"a\":null}"), "%s: %s", json, text);
      free(text);
    }
    oc_error_clear(&error);
    oc_reply_free(&reply);
    free(json);
  }
  CHECK(n > 40);
  /* the whole, the choices, the choice, the message */
  CHECK_FOR(refused == 4, "%d", refused);
}

TEST(takes_odd_contents) {
  whole_is("\"content\":\"x\"", "{\"role\":\"assistant\",\"content\":\"x\"}");
  whole_is("\"content\":\"\"", "{\"role\":\"assistant\",\"content\":\"\"}");
  whole_is("\"content\":null", "{\"role\":\"assistant\",\"content\":\"\"}");
  whole_is("\"role\":\"assistant\"",
           "{\"role\":\"assistant\",\"content\":\"\"}");
  whole_is("\"role\":\"user\",\"content\":\"x\"",
           "{\"role\":\"assistant\",\"content\":\"x\"}");
  whole_is("\"content\":5", "{\"role\":\"assistant\",\"content\":\"\"}");
  whole_is("\"content\":{\"a\":1}",
           "{\"role\":\"assistant\",\"content\":\"\"}");
  whole_is("\"content\":\"a\\ud83d\"",
           "{\"role\":\"assistant\",\"content\":\"a\xEF\xBF\xBD\"}");
  whole_is("\"content\":\"a\xFFz\"",
           "{\"role\":\"assistant\",\"content\":\"a\xEF\xBF\xBDz\"}");
  whole_is("\"content\":\"a\\u0000b\"",
           "{\"role\":\"assistant\",\"content\":\"a\\u0000b\"}");
  whole_is("\"content\":[{\"type\":\"text\",\"text\":\"a\"},"
           "{\"type\":\"thinking\",\"thinking\":[{\"text\":\"no\"}]},"
           "\"b\",{\"text\":\"c\"},{\"type\":null,\"text\":\"d\"},"
           "null,{\"type\":\"text\"},{\"type\":\"text\",\"text\":null},7]",
           "{\"role\":\"assistant\",\"content\":\"abcd\"}");
  whole_is("\"content\":[]", "{\"role\":\"assistant\",\"content\":\"\"}");
  whole_is("\"refusal\":\"No.\",\"content\":null",
           "{\"role\":\"assistant\",\"content\":\"\",\"refusal\":\"No.\"}");
}

TEST(keeps_unknown_fields) {
  whole_is("\"content\":\"x\",\"annotations\":[ { \"a\": 1.50 } ],"
           "\"b\\u0061d\":\"\\/\",\"none\":null",
           "{\"role\":\"assistant\",\"content\":\"x\","
           "\"annotations\":[ { \"a\": 1.50 } ],\"b\\u0061d\":\"\\/\"}");
  /* an escaped name of a known field is that field */
  whole_is("\"c\\u006fntent\":\"x\"",
           "{\"role\":\"assistant\",\"content\":\"x\"}");
  /* given twice: the last one */
  whole_is("\"content\":\"x\",\"a\":1,\"b\":2,\"\\u0061\":{\"c\":3}",
           "{\"role\":\"assistant\",\"content\":\"x\",\"a\":{\"c\":3},"
           "\"b\":2}");
  whole_is("\"content\":\"x\",\"\":1,\"\":2",
           "{\"role\":\"assistant\",\"content\":\"x\",\"\":2}");
  whole_is("\"content\":\"x\",\"a\":\"\xFF\",\"\xFE\":1",
           "{\"role\":\"assistant\",\"content\":\"x\",\"a\":\"\xEF\xBF\xBD\","
           "\"\xEF\xBF\xBD\":1}");
}

TEST(limits_unknown_fields) {
  char *json = malloc(20 * (OC_MAX_FIELDS + 10));
  int count;
  for(count = OC_MAX_FIELDS; count <= OC_MAX_FIELDS + 1; count++) {
    oc_reply reply;
    oc_error error;
    oc_code code;
    size_t len = (size_t)sprintf(json, "{\"choices\":[{\"message\":{"
                                       "\"content\":\"x\"");
    int i;
    memset(&error, 0, sizeof error);
    for(i = 0; i < count; i++)
      len += (size_t)sprintf(json + len, ",\"f%d\":%d", i, i);
    len += (size_t)sprintf(json + len, "}}]}");
    oc_reply_init(&reply, MAX);
    code = oc_reply_whole(&reply, json, len, &error);
    CHECK(code == (count > OC_MAX_FIELDS ? OC_E_TOO_LARGE : OC_OK));
    CHECK(error.code == code);
    oc_error_clear(&error);
    oc_reply_free(&reply);
  }
  free(json);
}

TEST(assembles_whole_calls) {
#define HEAD "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":["
#define FUNCTION(name, arguments) \
  "\"function\":{\"name\":\"" name "\",\"arguments\":" arguments "}"
#define CALL(id, name, arguments) \
  "{\"id\":\"" id "\"," FUNCTION(name, arguments) ",\"type\":\"function\"}"
  whole_is("\"tool_calls\":[" CALL("a", "f", "\"{}\"") ","
           CALL("b", "g", "\"{\\\"x\\\":1}\"") "]",
           HEAD CALL("a", "f", "\"{}\"") ","
           CALL("b", "g", "\"{\\\"x\\\":1}\"") "]}");
  /* without a type it is a function */
  whole_is("\"tool_calls\":[{\"id\":\"a\"," FUNCTION("f", "\"{}\"") "}]",
           HEAD "{\"id\":\"a\",\"type\":\"function\","
           FUNCTION("f", "\"{}\"") "}]}");
  whole_is("\"tool_calls\":[{\"id\":\"a\",\"type\":null,"
           FUNCTION("f", "\"{}\"") "},{\"id\":\"b\",\"type\":\"\","
           FUNCTION("f", "\"{}\"") "}]",
           HEAD "{\"id\":\"a\",\"type\":\"function\","
           FUNCTION("f", "\"{}\"") "},{\"id\":\"b\",\"type\":\"function\","
           FUNCTION("f", "\"{}\"") "}]}");
  /* arguments that are no string */
  whole_is("\"tool_calls\":[" CALL("a", "f", "{\"x\": 1}") ","
           CALL("b", "f", "null") "," CALL("c", "f", "\"\"") "]",
           HEAD CALL("a", "f", "\"{\\\"x\\\": 1}\"") ","
           CALL("b", "f", "\"\"") "," CALL("c", "f", "\"\"") "]}");
  /* all numbered 0, which is nobody's business here */
  whole_is("\"tool_calls\":[{\"index\":0,\"id\":\"a\","
           FUNCTION("f", "\"{}\"") "},{\"index\":0,\"id\":\"b\","
           FUNCTION("f", "\"{}\"") "}]",
           HEAD "{\"id\":\"a\",\"type\":\"function\"," FUNCTION("f", "\"{}\"")
           "},{\"id\":\"b\",\"type\":\"function\"," FUNCTION("f", "\"{}\"")
           "}]}");
  /* unknown keys on both levels, and another kind of call */
  whole_is("\"content\":\"t\",\"tool_calls\":[{\"id\":\"a\","
           "\"thought_signature\":\"s\\/g\",\"function\":{\"name\":\"f\","
           "\"arguments\":\"\",\"strict\":true}},{\"id\":\"b\",\"type\":"
           "\"custom\",\"custom\":{\"input\":[1]}}]",
           "{\"role\":\"assistant\",\"content\":\"t\",\"tool_calls\":["
           "{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\","
           "\"arguments\":\"\",\"strict\":true},\"thought_signature\":"
           "\"s\\/g\"},{\"id\":\"b\",\"type\":\"custom\",\"custom\":"
           "{\"input\":[1]}}]}");
  /* elements that are no calls */
  whole_is("\"tool_calls\":[null,5,\"x\"]",
           "{\"role\":\"assistant\",\"content\":\"\"}");
  whole_is("\"tool_calls\":{}", "{\"role\":\"assistant\",\"content\":\"\"}");
  whole_is("\"tool_calls\":[{\"id\":\"a\",\"function\":null}]",
           HEAD "{\"id\":\"a\",\"type\":\"function\"}]}");
}

/* An id that is missing, empty or used twice would make the list invalid. */
TEST(gives_each_call_an_id) {
  static const char json[] =
    "{\"choices\":[{\"message\":{\"tool_calls\":["
    "{\"function\":{\"name\":\"f\"}},{\"id\":\"\"},{\"id\":null},{\"id\":7},"
    "{\"id\":\"a\"},{\"id\":\"a\"},{\"id\":\"\\u0061\"},{\"id\":\"b\"}]}}]}";
  oc_reply reply;
  char *text;
  size_t i;
  size_t j;

  read_whole(&reply, json);
  CHECK(reply.calls.count == 8);
  for(i = 0; i < reply.calls.count; i++) {
    const oc_buf *id = &reply.calls.items[i].id;
    CHECK(id->len > 0);
    if(i != 4 && i != 7)
      CHECK_FOR(id->len == 29 && !memcmp(id->data, "call_", 5), "%d", (int)i);
    for(j = 0; j < i; j++)
      CHECK(id->len != reply.calls.items[j].id.len
            || memcmp(id->data, reply.calls.items[j].id.data, id->len));
  }
  CHECK(is_text(&reply.calls.items[4].id, "a"));
  CHECK(is_text(&reply.calls.items[7].id, "b"));
  text = message_of(&reply);
  CHECK(*text != '?');
  free(text);
  oc_reply_free(&reply);
}

TEST(sends_reasoning_back_with_calls_only) {
  whole_is("\"content\":\"x\",\"reasoning_content\":\"hm\"",
           "{\"role\":\"assistant\",\"content\":\"x\"}");
  whole_is("\"reasoning\":\"hm\",\"reasoning_content\":\"again\","
           "\"tool_calls\":[{\"id\":\"a\",\"function\":{\"name\":\"f\","
           "\"arguments\":\"\"}}]",
           "{\"role\":\"assistant\",\"content\":null,\"reasoning\":\"hm\","
           "\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\",\"function\":"
           "{\"name\":\"f\",\"arguments\":\"\"}}]}");
}

TEST(chooses_one_choice) {
  static const struct {
    const char *json;
    const char *content;
  } cases[] = {
    { "{\"choices\":[{\"index\":0,\"message\":{\"content\":\"a\"}},"
      "{\"index\":1,\"message\":{\"content\":\"b\"}}]}", "a" },
    { "{\"choices\":[{\"index\":1,\"message\":{\"content\":\"b\"}},"
      "{\"index\":0,\"message\":{\"content\":\"a\"}}]}", "a" },
    { "{\"choices\":[{\"message\":{\"content\":\"a\"}},"
      "{\"message\":{\"content\":\"b\"}}]}", "a" },
    { "{\"choices\":[null,{\"message\":{\"content\":\"a\"}}]}", "a" },
    { "{\"choices\":[{\"index\":null,\"message\":{\"content\":\"a\"}}]}",
      "a" },
    { "{\"choices\":[{\"delta\":{\"content\":\"a\"}}]}", "a" },
    { "{\"choices\":[{\"delta\":{\"content\":\"\",\"role\":\"assistant\"},"
      "\"message\":{\"content\":\"a\"}}]}", "a" },
    { "{\"choices\":[{\"message\":{\"content\":\"a\"},\"delta\":"
      "{\"content\":\"\",\"role\":\"assistant\"}}]}", "a" },
    { " \n{ \"choices\" : [ { \"message\" : { \"content\" : \"a\" } } ] }\r\n",
      "a" },
    { "{\"choices\":[{\"message\":{\"content\":\"a\"}}],\"error\":null}", "a" },
    { "{\"error\":{},\"choices\":[{\"message\":{\"content\":\"a\"}}]}", "a" },
    { "{\"errors\":[ ],\"choices\":[{\"message\":{\"content\":\"a\"}}]}",
      "a" },
    { "{\"error\":false,\"choices\":[{\"message\":{\"content\":\"a\"}}]}",
      "a" },
    { "{\"error\":0,\"choices\":[{\"message\":{\"content\":\"a\"}}]}", "a" },
    { "{\"type\":\"error\",\"choices\":[{\"message\":{\"content\":\"a\"}}]}",
      "a" }
  };
  size_t i;
  for(i = 0; i < sizeof cases / sizeof *cases; i++) {
    oc_reply reply;
    read_whole(&reply, cases[i].json);
    CHECK_FOR(is_text(&reply.content.buf, cases[i].content), "%s",
              cases[i].json);
    oc_reply_free(&reply);
  }
}

TEST(names_what_is_no_response) {
  static const struct {
    const char *json;
    oc_code code;
  } cases[] = {
    { "", OC_E_EMPTY },
    { "<html>502</html>", OC_E_JSON },
    { "Bad gateway", OC_E_JSON },
    { "{\"choices\":[", OC_E_JSON },
    { "{\"choices\":[]} {}", OC_E_JSON },
    { "[]", OC_E_BAD_RESPONSE },
    { "null", OC_E_BAD_RESPONSE },
    { "\"text\"", OC_E_BAD_RESPONSE },
    { "{}", OC_E_NO_CHOICES },
    { "{\"choices\":null}", OC_E_NO_CHOICES },
    { "{\"choices\":[]}", OC_E_NO_CHOICES },
    { "{\"choices\":{}}", OC_E_NO_CHOICES },
    { "{\"choices\":[null]}", OC_E_NO_CHOICES },
    { "{\"choices\":[7]}", OC_E_NO_CHOICES },
    { "{\"choices\":[{}]}", OC_E_BAD_RESPONSE },
    { "{\"choices\":[{\"message\":null}]}", OC_E_BAD_RESPONSE },
    { "{\"choices\":[{\"message\":\"x\"}]}", OC_E_BAD_RESPONSE },
    { "{\"error\":{\"message\":\"m\"}}", OC_E_API },
    { "{\"error\":\"m\"}", OC_E_API },
    { "{\"error\":true}", OC_E_API },
    { "{\"error\":{\"foo\":1}}", OC_E_API },
    { "{\"errors\":[{\"message\":\"m\"}]}", OC_E_API },
    { "{\"type\":\"error\",\"error\":\"m\"}", OC_E_API },
    { "{\"object\":\"error\",\"message\":\"m\",\"code\":400}", OC_E_API },
    { "{\"choices\":[{\"message\":{\"content\":\"x\"}}],"
      "\"error\":{\"message\":\"m\"}}", OC_E_API }
  };
  size_t i;
  for(i = 0; i < sizeof cases / sizeof *cases; i++) {
    oc_reply reply;
    oc_error error;
    oc_code code;
    memset(&error, 0, sizeof error);
    oc_reply_init(&reply, MAX);
    code = oc_reply_whole(&reply, cases[i].json, strlen(cases[i].json),
                          &error);
    CHECK_FOR(code == cases[i].code, "%s: %s", cases[i].json,
              oc_code_name(code));
    CHECK_FOR(error.code == code, "%s: %s", cases[i].json,
              oc_code_name(error.code));
    if(strstr(cases[i].json, "\"m\""))
      CHECK_FOR(!strcmp(oc_error_message(&error), "m"), "%s: %s",
                cases[i].json, oc_error_message(&error));
    oc_error_clear(&error);
    oc_reply_free(&reply);
  }
}

/* An error shows the beginning of what came, whole characters of it. */
TEST(shows_what_is_no_response) {
  char text[600];
  int pad;
  for(pad = 190; pad < 206; pad++) {
    oc_reply reply;
    oc_error error;
    const char *shown;
    memset(&error, 0, sizeof error);
    memset(text, 'x', sizeof text);
    memcpy(text + pad, "\xF0\x9F\x98\x80", 4);
    oc_reply_init(&reply, MAX);
    CHECK(oc_reply_whole(&reply, text, sizeof text, &error) == OC_E_JSON);
    shown = strstr(oc_error_message(&error), "xxx");
    CHECK(shown && strlen(shown) <= 200 && strlen(shown) >= 190);
    CHECK_FOR(shown && oc_utf8_valid_prefix(shown, strlen(shown))
                       == strlen(shown), "%d", pad);
    oc_error_clear(&error);
    oc_reply_free(&reply);
  }
}

/* Cut anywhere it is no response, and nothing is read behind its end. */
TEST(refuses_every_beginning) {
  size_t len;
  for(len = 0; len < strlen(full_response); len++) {
    char *copy = malloc(len ? len : 1);
    oc_reply reply;
    oc_error error;
    memset(&error, 0, sizeof error);
    memcpy(copy, full_response, len);
    oc_reply_init(&reply, MAX);
    CHECK_FOR(oc_reply_whole(&reply, copy, len, &error), "%d", (int)len);
    oc_error_clear(&error);
    oc_reply_free(&reply);
    free(copy);
  }
}

TEST(limits_each_text) {
  static const char *const texts[] = {
    "{\"choices\":[{\"message\":{\"content\":\"0123456789a\"}}]}",
    "{\"choices\":[{\"message\":{\"reasoning\":\"0123456789a\"}}]}",
    "{\"choices\":[{\"message\":{\"refusal\":\"0123456789a\"}}]}",
    "{\"choices\":[{\"message\":{\"extra\":\"0123456789a\"}}]}",
    "{\"choices\":[{\"message\":{\"tool_calls\":[{\"id\":\"0123456789a\"}]}}]}",
    "{\"choices\":[{\"message\":{},\"finish_reason\":\"0123456789a\"}]}",
    "{\"choices\":[{\"message\":{}}],\"model\":\"0123456789a\"}"
  };
  size_t i;
  for(i = 0; i < sizeof texts / sizeof *texts; i++) {
    oc_reply reply;
    oc_error error;
    memset(&error, 0, sizeof error);
    oc_reply_init(&reply, 10);
    CHECK_FOR(oc_reply_whole(&reply, texts[i], strlen(texts[i]), &error)
              == OC_E_TOO_LARGE, "%s", texts[i]);
    CHECK(error.code == OC_E_TOO_LARGE);
    oc_error_clear(&error);
    oc_reply_free(&reply);
  }
}

/* }==== */

/* {==== streams ==== */

/* The message to keep of a stream that must be right. */
static void stream_is(const char *const *chunks, const char *expected) {
  oc_reply reply;
  oc_error error;
  memset(&error, 0, sizeof error);
  CHECK_FOR(!read_chunks(&reply, chunks, &error), "%s: %s", chunks[0],
            oc_error_message(&error));
  check_message(&reply, expected, chunks[0]);
  oc_error_clear(&error);
  oc_reply_free(&reply);
}

#define STREAM(expected, ...)                           \
  do {                                                  \
    static const char *const list[] = { __VA_ARGS__, NULL };  \
    stream_is(list, expected);                          \
  } while(0)

TEST(joins_a_stream) {
  static const char *const chunks[] = {
    "{\"id\":\"c1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":"
      "{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}",
    "{\"id\":\"c2\",\"model\":\"n\",\"choices\":[{\"index\":0,\"delta\":"
      "{\"content\":\"Hel\"},\"finish_reason\":null}],\"usage\":null}",
    "{\"id\":\"c2\",\"model\":\"n\",\"choices\":[{\"index\":0,\"delta\":"
      "{\"content\":\"lo\"},\"finish_reason\":null}],\"usage\":null}",
    "{\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{},"
      "\"finish_reason\":\"stop\"}]}",
    "{\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2,"
      "\"total_tokens\":11,\"cost\":0.5}}",
    "[DONE]", NULL
  };
  oc_reply reply;
  oc_error error;

  memset(&error, 0, sizeof error);
  CHECK(!read_chunks(&reply, chunks, &error));
  CHECK(is_text(&reply.content.buf, "Hello"));
  CHECK(is_text(&reply.id, "c1") && is_text(&reply.model, "m"));
  CHECK(is_text(&reply.finish_reason, "stop"));
  CHECK(reply.is_done && reply.has_usage);
  CHECK(reply.usage.total_tokens == 11 && reply.usage.cost == 0.5);
  CHECK(oc_reply_has_output(&reply));
  oc_reply_free(&reply);
}

TEST(takes_odd_chunks) {
#define HELLO "{\"role\":\"assistant\",\"content\":\"Hello\"}"
  /* the table of odd streams, as far as it is not about framing */
  STREAM(HELLO, CHUNK("\"content\":\"Hel\""), CHUNK("\"content\":null"),
         CHUNK("\"content\":\"lo\""));
  STREAM(HELLO, CHUNK("\"content\":\"Hello\""), CHUNK("\"tool_calls\":null"),
         CHUNK("\"tool_calls\":[]"), CHUNK("\"tool_calls\":[null]"));
  STREAM(HELLO, CHUNK("\"content\":\"Hello\""),
         "{\"choices\":[{\"delta\":null}]}", "{\"choices\":[null]}",
         "{\"choices\":null}", "{\"choices\":[{}]}", "{\"choices\":[]}",
         "{}", "", "[DONE]");
  STREAM(HELLO, CHUNK("\"content\":\"Hello\",\"function_call\":null,"
                      "\"audio\":null,\"refusal\":null"));
  STREAM(HELLO, CHUNK("\"content\":[{\"type\":\"text\",\"text\":\"Hel\"}]"),
         CHUNK("\"content\":[{\"type\":\"text\",\"text\":\"lo\"}]"));
  /* a whole message where a delta belongs, and both at once */
  STREAM(HELLO, "{\"choices\":[{\"message\":{\"content\":\"Hello\"}}]}");
  STREAM(HELLO, "{\"choices\":[{\"delta\":{\"content\":\"Hel\"},\"message\":"
         "{\"role\":\"assistant\",\"content\":\"\"}}]}",
         "{\"choices\":[{\"message\":{\"role\":\"assistant\",\"content\":\"\"}"
         ",\"delta\":{\"content\":\"lo\"}}]}");
  /* more choices than were asked for */
  STREAM(HELLO, CHUNK("\"content\":\"Hel\""),
         "{\"choices\":[{\"index\":1,\"delta\":{\"content\":\"Bye\"}}]}",
         "{\"choices\":[{\"index\":1,\"delta\":{\"content\":\"!\"},"
         "\"finish_reason\":\"stop\"},"
         "{\"index\":0,\"delta\":{\"content\":\"lo\"}}]}");
  /* unknown fields go on as lists do, or are replaced */
  STREAM("{\"role\":\"assistant\",\"content\":\"\",\"details\":[1, 2,3],"
         "\"x\":{\"b\":2},\"s\":\"t\"}",
         CHUNK("\"details\":[1, 2],\"x\":[ ],\"s\":\"t\""),
         CHUNK("\"details\":[ ]"),
         CHUNK("\"details\":[3],\"x\":{\"b\":2}"), CHUNK("\"s\":\"\""),
         CHUNK("\"details\":[]"));
  STREAM("{\"role\":\"assistant\",\"content\":\"\",\"details\":[ 1 ]}",
         CHUNK("\"details\":[\n]"), CHUNK("\"details\":[ 1 ]"));
}

TEST(knows_a_stream_with_an_empty_text) {
  STREAM("{\"role\":\"assistant\",\"content\":\"\"}",
         CHUNK("\"content\":\"\""));
  STREAM("{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":["
         "{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\","
         "\"arguments\":\"\"}}]}",
         CHUNK("\"content\":\"\""),
         CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\"}}"));
}

TEST(joins_reasoning) {
  STREAM("{\"role\":\"assistant\",\"content\":\"x\"}",
         CHUNK("\"reasoning_content\":\"a\",\"reasoning\":\"a\""),
         CHUNK("\"reasoning_content\":\"b\",\"reasoning\":\"b\""),
         CHUNK("\"content\":\"x\",\"reasoning_content\":\"\""));
  STREAM("{\"role\":\"assistant\",\"content\":null,\"reasoning_content\":"
         "\"ab\",\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\"}]}",
         CHUNK("\"reasoning_content\":\"a\",\"reasoning\":\"a\""),
         CHUNK("\"reasoning_content\":\"b\",\"reasoning\":\"b\""),
         CALLS("{\"index\":0,\"id\":\"a\"}"));
}

/* A character may be cut in two: its bytes, or its surrogates. */
TEST(joins_halves_of_characters) {
#define SMILE "{\"role\":\"assistant\",\"content\":\"\xF0\x9F\x98\x80!\"}"
#define BROKEN "\xEF\xBF\xBD"
  STREAM(SMILE, CHUNK("\"content\":\"\\ud83d\""),
         CHUNK("\"content\":\"\\ude00\""),
         CHUNK("\"content\":\"!\""));
  STREAM(SMILE, CHUNK("\"content\":\"\\ud83d\""), CHUNK("\"content\":\"\""),
         CHUNK("\"content\":\"\\ude00!\""));
  STREAM(SMILE, CHUNK("\"content\":\"\xF0\x9F\""),
         CHUNK("\"content\":\"\x98\""),
         CHUNK("\"content\":\"\x80!\""));
  STREAM("{\"role\":\"assistant\",\"content\":\"" BROKEN "\"}",
         CHUNK("\"content\":\"\\ud83d\""));
  STREAM("{\"role\":\"assistant\",\"content\":\"" BROKEN "x\"}",
         CHUNK("\"content\":\"\\ud83d\""), CHUNK("\"content\":\"x\""));
  STREAM("{\"role\":\"assistant\",\"content\":\"" BROKEN BROKEN "\"}",
         CHUNK("\"content\":\"\\ud83d\""), CHUNK("\"content\":\"\\ud83d\""));
  STREAM("{\"role\":\"assistant\",\"content\":\"" BROKEN "\"}",
         CHUNK("\"content\":\"\xF0\x9F\""));
  STREAM("{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":"
         "\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\","
         "\"arguments\":\"\xF0\x9F\x98\x80\"}}]}",
         CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\","
               "\"arguments\":\"\\ud83d\"}}"),
         CALLS("{\"index\":0,\"function\":{\"arguments\":\"\\ude00\"}}"));
}

/* What two calls, f(1) with the id a and g(2) with the id b, look like. */
#define TWO                                                                  \
  "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":["                \
  "{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\","        \
  "\"arguments\":\"{\\\"x\\\":1}\"}},"                                       \
  "{\"id\":\"b\",\"type\":\"function\",\"function\":{\"name\":\"g\","        \
  "\"arguments\":\"{\\\"x\\\":2}\"}}]}"
#define BEGIN(index, id, name) \
  index "\"id\":\"" id "\",\"function\":{\"name\":\"" name                   \
  "\",\"arguments\":\"\"}"
#define MORE(index, arguments) \
  index "\"function\":{\"arguments\":\"" arguments "\"}"
#define X1A "{\\\"x\\\""
#define X1B ":1}"
#define X2A "{\\\"x\\\":"
#define X2B "2}"

TEST(assembles_calls) {
  /* as the API says */
  STREAM(TWO, CALLS("{" BEGIN("\"index\":0,", "a", "f") "}"),
         CALLS("{" MORE("\"index\":0,", X1A) "}"),
         CALLS("{" MORE("\"index\":0,", X1B) "}"),
         CALLS("{" BEGIN("\"index\":1,", "b", "g") "}"),
         CALLS("{" MORE("\"index\":1,", X2A) "}"),
         CALLS("{" MORE("\"index\":1,", X2B) "}"));
  /* in turns, and several in one chunk */
  STREAM(TWO, CALLS("{" BEGIN("\"index\":0,", "a", "f") "},{"
                    BEGIN("\"index\":1,", "b", "g") "}"),
         CALLS("{" MORE("\"index\":1,", X2A) "}"),
         CALLS("{" MORE("\"index\":0,", X1A) "}"),
         CALLS("{" MORE("\"index\":0,", X1B) "},{"
               MORE("\"index\":1,", X2B) "}"));
  /* beginning at 1, with a gap */
  STREAM(TWO, CALLS("{" BEGIN("\"index\":1,", "a", "f") "}"),
         CALLS("{" MORE("\"index\":1,", X1A X1B) "}"),
         CALLS("{" BEGIN("\"index\":7,", "b", "g") "}"),
         CALLS("{" MORE("\"index\":7,", X2A X2B) "}"));
  /* all zero */
  STREAM(TWO, CALLS("{" BEGIN("\"index\":0,", "a", "f") "}"),
         CALLS("{" MORE("\"index\":0,", X1A) "}"),
         CALLS("{" MORE("\"index\":0,", X1B) "}"),
         CALLS("{" BEGIN("\"index\":0,", "b", "g") "}"),
         CALLS("{" MORE("\"index\":0,", X2A) "}"),
         CALLS("{" MORE("\"index\":0,", X2B) "}"));
  /* no index, or null */
  STREAM(TWO, CALLS("{" BEGIN("", "a", "f") "}"),
         CALLS("{" MORE("", X1A) "}"), CALLS("{" MORE("", X1B) "}"),
         CALLS("{" BEGIN("\"index\":null,", "b", "g") "}"),
         CALLS("{" MORE("\"index\":null,", X2A) "}"),
         CALLS("{" MORE("\"index\":null,", X2B) "}"));
  /* the id with every fragment, without an index */
  STREAM(TWO, CALLS("{" BEGIN("", "a", "f") "}"),
         CALLS("{" BEGIN("", "b", "g") "}"),
         CALLS("{\"id\":\"a\"," MORE("", X1A) "}"),
         CALLS("{\"id\":\"b\"," MORE("", X2A) "}"),
         CALLS("{\"id\":\"\\u0061\"," MORE("", X1B) "},"
               "{\"id\":\"b\"," MORE("", X2B) "}"));
  /* whole calls in one chunk each, all numbered 0 */
  STREAM(TWO, CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\","
                    "\"arguments\":\"" X1A X1B "\"}}"),
         CALLS("{\"index\":0,\"id\":\"b\",\"function\":{\"name\":\"g\","
               "\"arguments\":\"" X2A X2B "\"}}"));
  /* arguments as an object */
  STREAM(TWO, CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\","
                    "\"arguments\":{\"x\":1}}}"),
         CALLS("{\"index\":1,\"id\":\"b\",\"function\":{\"name\":\"g\","
               "\"arguments\":{\"x\":2}}}"));
}

TEST(assembles_names_and_ids) {
  /* the name again and again, or null, or empty, and so the id and type */
  STREAM(TWO, CALLS("{" BEGIN("\"index\":0,", "a", "f") "}"),
         CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\","
               "\"arguments\":\"" X1A "\"}}"),
         CALLS("{\"index\":0,\"id\":null,\"type\":null,\"function\":"
               "{\"name\":null,\"arguments\":\"" X1B "\"}}"),
         CALLS("{" BEGIN("\"index\":1,", "b", "g") "}"),
         CALLS("{\"index\":1,\"id\":\"\",\"type\":\"\",\"function\":"
               "{\"name\":\"\",\"arguments\":\"" X2A "\"}}"),
         CALLS("{\"index\":1,\"id\":\"\",\"function\":{\"name\":\"g\","
               "\"arguments\":\"" X2B "\"}}"));
  /* a name in pieces */
  STREAM("{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":"
         "\"a\",\"type\":\"function\",\"function\":{\"name\":\"get_weather\","
         "\"arguments\":\"{}\"}}]}",
         CALLS("{" BEGIN("\"index\":0,", "a", "get_") "}"),
         CALLS("{\"index\":0,\"function\":{\"name\":\"weather\"}}"),
         CALLS("{" MORE("\"index\":0,", "{}") "}"));
  /* an id that comes late */
  STREAM(TWO, CALLS("{\"index\":0,\"function\":{\"name\":\"f\"}}"),
         CALLS("{\"index\":0,\"id\":\"a\"}"),
         CALLS("{\"index\":1,\"function\":{\"name\":\"g\",\"arguments\":\""
               X2A "\"}}"),
         CALLS("{" MORE("\"index\":0,", X1A X1B) "}"),
         CALLS("{\"index\":1,\"id\":\"b\"," MORE("", X2B) "}"));
  /* the type is what came first that says something */
  STREAM("{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":"
         "\"a\",\"custom\":{\"input\":\"x\"},\"type\":\"custom\"}]}",
         CALLS("{\"index\":0,\"id\":\"a\",\"custom\":{\"input\":\"x\"}}"),
         CALLS("{\"index\":0,\"type\":\"custom\"}"),
         CALLS("{\"index\":0,\"type\":\"\"}"));
}

/* Two calls of which the ids are made up here. */
static void check_two_calls(const char *const *chunks, const char *name) {
  oc_reply reply;
  oc_error error;
  memset(&error, 0, sizeof error);
  CHECK(!read_chunks(&reply, chunks, &error));
  CHECK_FOR(reply.calls.count == 2, "%s: %d", chunks[1],
            (int)reply.calls.count);
  if(reply.calls.count == 2) {
    CHECK(is_text(&reply.calls.items[0].name, "f"));
    CHECK_FOR(is_text(&reply.calls.items[1].name, name), "%s", chunks[1]);
    CHECK_FOR(is_text(&reply.calls.items[0].arguments.buf, "{\"x\":1}"), "%s",
              chunks[1]);
    CHECK(is_text(&reply.calls.items[1].arguments.buf, "{\"x\":2}"));
    CHECK(reply.calls.items[0].id.len == 29);
    CHECK(reply.calls.items[1].id.len == 29);
    CHECK(memcmp(reply.calls.items[0].id.data,
                 reply.calls.items[1].id.data, 29));
  }
  oc_error_clear(&error);
  oc_reply_free(&reply);
}

#define WHOLE(index, name, arguments) "{" index "\"function\":{\"name\":\"" \
  name "\",\"arguments\":\"" arguments "\"}}"
#define TWO_CALLS(name, ...)                                  \
  do {                                                        \
    static const char *const list[] = { __VA_ARGS__, NULL };  \
    check_two_calls(list, name);                              \
  } while(0)

TEST(tells_calls_apart_without_ids) {
  TWO_CALLS("g", CALLS(WHOLE("\"index\":0,", "f", X1A X1B)),
            CALLS(WHOLE("\"index\":1,", "g", X2A X2B)));
  TWO_CALLS("g", CALLS(WHOLE("\"index\":0,", "f", X1A X1B)),
            CALLS(WHOLE("\"index\":0,", "g", X2A X2B)));
  TWO_CALLS("f", CALLS(WHOLE("\"index\":0,", "f", X1A X1B)),
            CALLS(WHOLE("\"index\":0,", "f", X2A X2B)));
  TWO_CALLS("f", CALLS(WHOLE("", "f", X1A X1B)),
            CALLS(WHOLE("", "f", X2A X2B)));
  TWO_CALLS("f", CHUNK("\"content\":null"),
            CALLS(WHOLE("", "f", X1A X1B) "," WHOLE("", "f", X2A X2B)));
  TWO_CALLS("f", CHUNK("\"content\":null"),
            CALLS(WHOLE("\"index\":0,", "f", X1A X1B) ","
                  WHOLE("\"index\":0,", "f", X2A X2B)));
  TWO_CALLS("g", CALLS(WHOLE("\"index\":0,\"id\":\"\",", "f", X1A X1B)),
            CALLS(WHOLE("\"index\":0,\"id\":\"\",", "g", X2A X2B)));
  TWO_CALLS("f", CALLS(WHOLE("", "f", X1A)), CALLS("{" MORE("", X1B) "}"),
            CALLS(WHOLE("", "f", X2A)), CALLS("{" MORE("", X2B) "}"));
  /* the name with each fragment, and no id or index that tells */
  TWO_CALLS("f", CALLS(WHOLE("\"index\":0,", "f", X1A)),
            CALLS(WHOLE("\"index\":0,", "f", X1B)),
            CALLS(WHOLE("\"index\":0,", "f", X2A)),
            CALLS(WHOLE("\"index\":0,", "f", X2B)));
  /* blanks behind complete arguments are not another call */
  TWO_CALLS("g", CALLS(WHOLE("\"index\":0,", "f", X1A X1B)),
            CALLS(WHOLE("\"index\":0,", "f", "")),
            CALLS(WHOLE("\"index\":1,", "g", X2A)),
            CALLS(WHOLE("\"index\":1,", "g", X2B)));
}

/* With neither id nor index a repeated name tells only behind the end. */
TEST(finds_the_end_of_arguments) {
  static const struct {
    const char *first;
    const char *second;
    size_t calls;
  } cases[] = {
    { "{}", "{}", 2 }, { "[{}]", "x", 2 }, { "{\\\"a\\\":[1,2]} ", "{}", 2 },
    { "{x:1}", "{x:2}", 2 }, { "{", "}", 1 }, { "{\\\"}", "\\\"}", 1 },
    { "{\\\"\\\\", "\\\"}", 1 }, { "{\\\"\\\\\\\"}", "\\\"}", 1 },
    { "{\\\"\\\\\\\\\\\"}", "{}", 2 }, { "[{}", "]", 1 }, { " ", "{}", 1 },
    { "5", "6", 1 }, { "}", "{", 1 }, { "{\\ud83d", "\\ude00}", 1 }
  };
  size_t i;
  for(i = 0; i < sizeof cases / sizeof *cases; i++) {
    char first[200];
    char second[200];
    const char *chunks[3];
    oc_reply reply;
    oc_error error;
    memset(&error, 0, sizeof error);
    sprintf(first, CALLS(WHOLE("\"index\":0,", "f", "%s")), cases[i].first);
    sprintf(second, CALLS(WHOLE("\"index\":0,", "f", "%s")),
            cases[i].second);
    chunks[0] = first;
    chunks[1] = second;
    chunks[2] = NULL;
    CHECK_FOR(!read_chunks(&reply, chunks, &error), "%s", first);
    CHECK_FOR(reply.calls.count == cases[i].calls, "%s, %s: %d",
              cases[i].first, cases[i].second, (int)reply.calls.count);
    oc_error_clear(&error);
    oc_reply_free(&reply);
  }
}

/* The same id for all, as some servers do it: told apart by their index. */
TEST(tells_calls_with_one_id_apart) {
  static const char *const chunks[] = {
    CALLS("{" BEGIN("\"index\":0,", "a", "f") "},{"
          BEGIN("\"index\":1,", "a", "g") "}"),
    CALLS("{" MORE("\"index\":0,\"id\":\"a\",", X1A) "},{"
          MORE("\"index\":1,\"id\":\"a\",", X2A) "}"),
    CALLS("{" MORE("\"index\":0,\"id\":\"a\",", X1B) "},{"
          MORE("\"index\":1,\"id\":\"a\",", X2B) "}"),
    NULL
  };
  oc_reply reply;
  oc_error error;
  memset(&error, 0, sizeof error);
  CHECK(!read_chunks(&reply, chunks, &error));
  CHECK(reply.calls.count == 2);
  CHECK(is_text(&reply.calls.items[0].arguments.buf, "{\"x\":1}"));
  CHECK(is_text(&reply.calls.items[1].arguments.buf, "{\"x\":2}"));
  CHECK(is_text(&reply.calls.items[0].id, "a"));
  CHECK(reply.calls.items[1].id.len == 29);
  oc_reply_free(&reply);
}

TEST(keeps_unknown_fields_of_calls) {
  STREAM("{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":"
         "\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\","
         "\"strict\":true},\"type\":\"function\",\"thought_signature\":\"S\","
         "\"parts\":[1,2]}]}",
         CALLS("{" BEGIN("\"index\":0,", "a", "f")
               ",\"type\":\"function\",\"thought_signature\":\"S\"}"),
         CALLS("{\"index\":0,\"function\":{\"arguments\":\"{\",\"strict\":"
               "true},\"parts\":[1],\"thought_signature\":null}"),
         CALLS("{" MORE("\"index\":0,", "}") ",\"parts\":[2],"
               "\"thought_signature\":\"\"}"));
}

TEST(limits_the_calls) {
  oc_reply reply;
  oc_error error;
  int i;
  memset(&error, 0, sizeof error);
  oc_reply_init(&reply, MAX);
  for(i = 0; i <= OC_MAX_CALLS; i++) {
    char chunk[200];
    oc_code code;
    sprintf(chunk, "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":%d,"
                   "\"id\":\"%d\"}]}}]}", i, i);
    code = oc_reply_chunk(&reply, chunk, strlen(chunk), &error);
    CHECK(code == (i < OC_MAX_CALLS ? OC_OK : OC_E_TOO_LARGE));
  }
  CHECK(error.code == OC_E_TOO_LARGE);
  oc_error_clear(&error);
  oc_reply_free(&reply);
}

TEST(reads_usage_wherever_it_is) {
  static const char *const ends[] = {
    "{\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"total_tokens\":3,"
      "\"cost\":0.25}}",
    "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],"
      "\"usage\":{\"prompt_tokens\":1,\"total_tokens\":3,\"cost\":0.25}}",
    "{\"usage\":{\"prompt_tokens\":1,\"total_tokens\":3},\"cost\":0.25}",
    "{\"cost\":0.25,\"choices\":null,\"usage\":{\"prompt_tokens\":1,"
      "\"total_tokens\":3,\"cost\":null}}",
    "{\"choices\":[{\"delta\":{\"content\":\"!\"}}],"
      "\"usage\":{\"prompt_tokens\":1,\"total_tokens\":3,\"cost\":0.25}}"
  };
  size_t i;
  for(i = 0; i < sizeof ends / sizeof *ends; i++) {
    const char *chunks[5];
    oc_reply reply;
    oc_error error;
    memset(&error, 0, sizeof error);
    chunks[0] = "{\"choices\":[{\"delta\":{\"content\":\"x\"}}],"
                "\"usage\":{\"prompt_tokens\":1,\"total_tokens\":2}}";
    chunks[1] = "{\"choices\":[{\"delta\":{\"content\":\"y\"}}],"
                "\"usage\":null}";
    chunks[2] = ends[i];
    chunks[3] = "[DONE]";
    chunks[4] = NULL;
    CHECK(!read_chunks(&reply, chunks, &error));
    CHECK_FOR(reply.usage.prompt_tokens == 1 && reply.usage.total_tokens == 3
              && reply.usage.cost == 0.25
              && reply.usage.completion_tokens < 0, "%s", ends[i]);
    oc_reply_free(&reply);
  }
}

TEST(knows_errors_in_a_stream) {
  static const struct {
    const char *chunk;
    const char *message;    /* NULL: anything that is not empty */
    const char *name;
  } cases[] = {
    { "{\"error\":{\"message\":\"blocked\",\"type\":\"guard\",\"code\":\"g\"}}",
      "blocked", "g" },
    { "{\"error\":{\"message\":\"blocked\",\"type\":\"guard\",\"code\":null}}",
      "blocked", "guard" },
    { "{\"error\":\"blocked\"}", "blocked", "api_error" },
    { "{\"type\":\"error\",\"error\":\"blocked\"}", "blocked", "api_error" },
    { "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\","
      "\"message\":\"blocked\"}}", "blocked", "overloaded_error" },
    { "{\"object\":\"error\",\"message\":\"blocked\",\"code\":400,"
      "\"type\":\"BadRequest\"}", "blocked", "400" },
    { "{\"errors\":[{\"message\":\"blocked\"}]}", "blocked", "api_error" },
    { "{\"choices\":[{\"delta\":{\"content\":\"\"},\"finish_reason\":"
      "\"error\"}],\"error\":{\"code\":502,\"message\":\"blocked\"}}",
      "blocked", "502" },
    { "{\"error\":{}  ,\"choices\":[],\"type\":\"error\"}", "", "" },
    { "{\"error\":{\"foo\":1}}", NULL, "api_error" },
    { "{\"error\":1}", NULL, "api_error" },
    { "{\"error\":[\"blocked\"]}", "blocked", "api_error" }
  };
  size_t i;
  for(i = 0; i < sizeof cases / sizeof *cases; i++) {
    const char *chunks[4];
    oc_reply reply;
    oc_error error;
    oc_code code;
    memset(&error, 0, sizeof error);
    chunks[0] = CHUNK("\"content\":\"He\"");
    chunks[1] = cases[i].chunk;
    chunks[2] = CHUNK("\"content\":\"llo\"");
    chunks[3] = NULL;
    code = read_chunks(&reply, chunks, &error);
    if(cases[i].message && !*cases[i].message)
      CHECK_FOR(code == OC_OK && is_text(&reply.content.buf, "Hello"), "%s",
                cases[i].chunk);
    else {
      CHECK_FOR(code == OC_E_API && error.code == OC_E_API, "%s: %s %s",
                cases[i].chunk, oc_code_name(code),
                oc_code_name(error.code));
      CHECK_FOR(!strcmp(error.name, cases[i].name), "%s: %s",
                cases[i].chunk, error.name);
      CHECK_FOR(cases[i].message
                ? !strcmp(oc_error_message(&error), cases[i].message)
                : *oc_error_message(&error) != 0, "%s: %s", cases[i].chunk,
                oc_error_message(&error));
      CHECK(is_text(&reply.content.buf, "He"));
    }
    oc_error_clear(&error);
    oc_reply_free(&reply);
  }
}

TEST(names_bad_chunks) {
  static const struct {
    const char *chunk;
    oc_code code;
  } cases[] = {
    { "{\"choices\":[{\"delta\":{\"content\":\"x\"}}]", OC_E_JSON },
    { CHUNK("\"content\":\"x\"") "x", OC_E_JSON },
    { CHUNK("\"content\":\"\\q\""), OC_E_JSON },
    { CHUNK("\"content\":\"\\u12\""), OC_E_JSON },
    { CHUNK("\"content\":\"a\nb\""), OC_E_JSON },
    { CHUNK("\"content\":\"a\"b\""), OC_E_JSON },
    { "hello", OC_E_JSON },
    { "[]", OC_E_BAD_RESPONSE },
    { "5", OC_E_BAD_RESPONSE }
  };
  size_t i;
  size_t before;
  for(i = 0; i < sizeof cases / sizeof *cases; i++) {
    /* as the first chunk, and behind one that looks much like it */
    for(before = 0; before < 2; before++) {
      const char *chunks[3];
      oc_reply reply;
      oc_error error;
      oc_code code;
      memset(&error, 0, sizeof error);
      chunks[0] = CHUNK("\"content\":\"x\"");
      chunks[before] = cases[i].chunk;
      chunks[before + 1] = NULL;
      code = read_chunks(&reply, chunks, &error);
      CHECK_FOR(code == cases[i].code && error.code == code, "%s: %s",
                cases[i].chunk, oc_code_name(code));
      oc_error_clear(&error);
      oc_reply_free(&reply);
    }
  }
}

/* }==== */

/* {==== the short road gives what the long one gives ==== */

/* All that a reply holds, as one text. */
static void describe(const oc_reply *reply, oc_buf *out) {
  char line[300];
  size_t i;
  oc_buf_clear(out);
#define ADD(buf)                                         \
  oc_buf_puts(out, "\n" #buf "=");                       \
  oc_buf_append(out, (buf).len ? (buf).data : "", (buf).len)
  ADD(reply->content.buf);
  ADD(reply->reasoning.buf);
  ADD(reply->refusal.buf);
  ADD(reply->finish_reason);
  ADD(reply->id);
  ADD(reply->model);
  ADD(reply->usage_raw);
  for(i = 0; i < reply->extra.count; i++) {
    ADD(reply->extra.items[i].key);
    ADD(reply->extra.items[i].value);
  }
  for(i = 0; i < reply->calls.count; i++) {
    const oc_call *call = &reply->calls.items[i];
    size_t j;
    ADD(call->id);
    ADD(call->name);
    ADD(call->arguments.buf);
    for(j = 0; j < call->extra.count; j++) {
      ADD(call->extra.items[j].key);
      ADD(call->extra.items[j].value);
    }
    for(j = 0; j < call->function_extra.count; j++) {
      ADD(call->function_extra.items[j].key);
      ADD(call->function_extra.items[j].value);
    }
    sprintf(line, "\n%g %d %u %d", call->index, call->has_function,
            call->arguments.pending, (int)call->arguments.whole);
    oc_buf_puts(out, line);
  }
#undef ADD
  sprintf(line, "\n%g %g %g %g %g %g | %d %d %d %d | %u %u %u",
          reply->usage.prompt_tokens, reply->usage.completion_tokens,
          reply->usage.total_tokens, reply->usage.cached_tokens,
          reply->usage.reasoning_tokens, reply->usage.cost,
          reply->has_content, reply->has_usage, reply->has_choice,
          reply->is_done, reply->content.pending, reply->reasoning.pending,
          reply->refusal.pending);
  oc_buf_puts(out, line);
}

static unsigned long seed;

static unsigned roll(unsigned sides) {
  seed = seed * 6364136223846793005UL + 1442695040888963407UL;
  return (unsigned)(seed >> 33) % sides;
}

/* What stands in the strings of the stream. */
static const char *const strings[] = {
  "a", "b c", "", "", "\\n", "\\\"", "\\\\", "\\u00e9", "\\ud83d", "\\ude00",
  "\xC3\xA9", "\xF0\x9F", "\x98\x80", "\\u0000", "{", "}",
  "\\\"content\\\":\\\"",
  "{\\\"x\\\":1}", " ", "x\\ud83d", "\\ude00y", "\\/", "}}]}", "null", "f", "g"
};

/* Once in a while something that is no JSON. */
static const char *const bad_strings[] = {
  "\\q", "\\u12", "a\"b", "\n", "\\", "\"", "\x01", "\",\"content\":\"z",
  "\"},\"x\":{\"y\":\""
};

/* Chunks around strings: %s, twice in some. */
static const char *const templates[] = {
  CHUNK("\"content\":\"%s\""),
  CHUNK("\"content\": \"%s\""),
  CHUNK("\"role\":\"assistant\",\"content\":\"%s\""),
  CHUNK("\"content\":\"%s\",\"reasoning\":null"),
  CHUNK("\"content\":\"%s\",\"reasoning\":\"\""),
  CHUNK("\"content\":\"%s\",\"reasoning\":\"%s\""),
  CHUNK("\"content\":\"%s\",\"content\":\"%s\""),
  CHUNK("\"reasoning\":\"%s\""),
  CHUNK("\"reasoning_content\":\"%s\",\"reasoning\":\"%s\""),
  CHUNK("\"refusal\":\"%s\""),
  CHUNK("\"content\":\"%s\",\"extra\":\"%s\""),
  CHUNK("\"content\":\"%s\",\"extra\":[1]"),
  CHUNK("\"x\":{\"content\":\"%s\"},\"content\":\"y\""),
  CHUNK("\"content\":[{\"type\":\"text\",\"text\":\"%s\"}]"),
  CALLS("{\"index\":0,\"function\":{\"arguments\":\"%s\"}}"),
  CALLS("{\"index\":1,\"function\":{\"arguments\":\"%s\"}}"),
  CALLS("{\"index\":0,\"type\":\"function\",\"function\":"
        "{\"arguments\":\"%s\"}}"),
  CALLS("{\"function\":{\"arguments\":\"%s\"}}"),
  CALLS("{\"index\":0,\"function\":{\"name\":\"%s\",\"arguments\":\"%s\"}}"),
  CALLS("{\"index\":0,\"sig\":[1],\"function\":{\"arguments\":\"%s\"}}"),
  CALLS("{\"index\":0,\"sig\":\"%s\",\"function\":{\"arguments\":\"{\"}}"),
  CALLS("{\"index\":0,\"id\":\"%s\",\"function\":{\"arguments\":\"%s\"}}"),
  CALLS("{\"index\":0,\"function\":{\"arguments\":\"%s\"}},"
        "{\"index\":1,\"function\":{\"arguments\":\"%s\"}}"),
  CALLS("{\"index\":0,\"function\":{\"name\":null,\"arguments\":\"%s\"}}"),
  "{\"choices\":[{\"delta\":{\"content\" :\"k\"},\"logprobs\":"
    "{\"content\":\"%s\"}}]}",
  "{\"choices\":[{\"delta\":{\"content\":\"%s\"},\"message\":"
    "{\"role\":\"assistant\"}}]}",
  "{\"choices\":[{\"index\":1,\"delta\":{\"content\":\"%s\"}}]}",
  "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%s\"}},"
    "{\"index\":1,\"delta\":{\"content\":\"%s\"}}]}",
  "{\"id\":\"%s\",\"choices\":[{\"delta\":{\"content\":\"%s\"}}]}",
  "{\"choices\":[{\"delta\":{\"content\":\"%s\"},\"finish_reason\":null}],"
    "\"usage\":null}",
  "{\"choices\":[{\"delta\":{\"content\":\"%s\"},\"finish_reason\":\"\"}]}",
  "{\"choices\":[{\"delta\":{\"content\":\"%s\"},\"finish_reason\":\"%s\"}]}",
  "{\"choices\":[{\"delta\":{\"content\":\"%s\"}}],\"cost\":1}",
  "{\"choices\":[{\"delta\":{\"content\":\"%s\"}}],\"usage\":"
    "{\"total_tokens\":5,\"x\":\"%s\"}}",
  "{\"x\":\"%s\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}",
  "{\"error\":\"\",\"choices\":[{\"delta\":{\"content\":\"%s\"}}]}"
};

static const char *any_string(int may_be_bad) {
  if(may_be_bad && !roll(60))
    return bad_strings[roll(sizeof bad_strings / sizeof *bad_strings)];
  return strings[roll(sizeof strings / sizeof *strings)];
}

/* Puts strings where a template has %s. */
static void make_chunk(const char *template, int may_be_bad, char *chunk) {
  while(*template) {
    if(template[0] == '%') {
      const char *text = any_string(may_be_bad);
      strcpy(chunk, text);
      chunk += strlen(text);
      template += 2;
    }
    else
      *chunk++ = *template++;
  }
  *chunk = '\0';
}

/*
 * The same stream twice: as it is, and with one blank in every other
 * chunk, so that no chunk looks like the one before it.
 */
TEST(short_road_is_the_same) {
  int round;
  oc_buf as_is;
  oc_buf blanked;

  oc_buf_init(&as_is, SIZE_MAX / 2);
  oc_buf_init(&blanked, SIZE_MAX / 2);
  for(round = 0; round < 4000; round++) {
    oc_reply a;
    oc_reply b;
    oc_error error_a;
    oc_error error_b;
    const char *template = "";
    char chunk[1000] = "";
    int step;
    oc_code code = OC_OK;

    seed = (unsigned long)round;
    memset(&error_a, 0, sizeof error_a);
    memset(&error_b, 0, sizeof error_b);
    oc_reply_init(&a, MAX);
    oc_reply_init(&b, MAX);
    for(step = 0; step < 30 && !code; step++) {
      char spaced[1100];
      if(!step || !roll(4))
        template = templates[roll(sizeof templates / sizeof *templates)];
      make_chunk(template, round % 2, chunk);
      sprintf(spaced, "{%s%s", step % 2 ? " " : "", chunk + 1);
      code = oc_reply_chunk(&a, chunk, strlen(chunk), &error_a);
      CHECK_FOR(code == oc_reply_chunk(&b, spaced, strlen(spaced), &error_b),
                "%d: %s", round, chunk);
    }
    CHECK(error_a.code == code && error_b.code == code);
    if(!code) {
      describe(&a, &as_is);
      describe(&b, &blanked);
      CHECK_FOR(as_is.len == blanked.len
                && !memcmp(as_is.data, blanked.data, as_is.len),
                "%d:%.*s\n  instead of%.*s", round, (int)as_is.len,
                as_is.data, (int)blanked.len, blanked.data);
      CHECK(!oc_reply_finish(&a));
      if(a.calls.count <= OC_MAX_CALLS) {
        char *text = message_of(&a);
        CHECK_FOR(*text != '?', "%d: %s", round, text);
        free(text);
      }
    }
    oc_error_clear(&error_a);
    oc_error_clear(&error_b);
    oc_reply_free(&a);
    oc_reply_free(&b);
  }
  oc_buf_free(&as_is);
  oc_buf_free(&blanked);
}

/* It must be taken, or it is worth nothing. */
TEST(short_road_is_taken) {
  oc_reply reply;
  oc_error error;
  int i;
  size_t before;

  memset(&error, 0, sizeof error);
  oc_reply_init(&reply, MAX);
  for(i = 0; i < 100; i++) {
    char chunk[300];
    sprintf(chunk, "{\"id\":\"c\",\"created\":1,\"choices\":[{\"index\":0,"
                   "\"delta\":{\"content\":\"word %d\\n\",\"tool_calls\":null},"
                   "\"finish_reason\":null}],\"usage\":null}", i);
    before = reply.effects.count;
    CHECK(!oc_reply_chunk(&reply, chunk, strlen(chunk), &error));
    if(i)
      CHECK(reply.effects.count == before && reply.like.chunk.len);
    /* set anew by each chunk that is read */
    reply.effects.count = 77;
  }
  CHECK(reply.content.buf.len == 10 * 7 + 90 * 8);
  oc_reply_free(&reply);
}

/* }==== */

TEST(survives_lack_of_memory) {
  static const char *const chunks[] = {
    "{\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":"
      "{\"content\":\"a\\ud83d\",\"reasoning\":\"r\"}}]}",
    CHUNK("\"content\":\"b\xFF\""),
    CHUNK("\"content\":\"c\""),
    CHUNK("\"refusal\":\"no\",\"x\":[1],\"y\":\"\xFF\""),
    CHUNK("\"x\":[2]"),
    CALLS("{\"index\":0,\"id\":\"\\u0061\",\"function\":{\"name\":\"f\","
          "\"arguments\":\"{\",\"strict\":true},\"sig\":1}"),
    CALLS("{\"index\":1,\"function\":{\"name\":\"f\",\"arguments\":{}}}"),
    "{\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":"
      "{\"total_tokens\":5}}",
    NULL
  };
  int n;
  oc_code code = OC_E_NOMEM;

  oc_set_allocator(&counting);
  for(n = 0; n < 300 && code; n++) {
    oc_reply reply;
    oc_error error;
    oc_message *message = NULL;
    oc_buf raw;

    blocks = 0;
    allocations_left = n;
    memset(&error, 0, sizeof error);
    oc_buf_init(&raw, MAX);
    code = read_chunks(&reply, chunks, &error);
    if(!code)
      code = oc_reply_message(&reply, 0, &message);
    if(!code)
      code = oc_reply_raw(&reply, &raw);
    CHECK_FOR(!code || code == OC_E_NOMEM, "%d: %s", n, oc_code_name(code));
    CHECK_FOR(!error.code || error.code == OC_E_NOMEM, "%d: %s", n,
              oc_error_message(&error));
    oc_message_unref(message);
    oc_buf_free(&raw);
    oc_error_clear(&error);
    oc_reply_free(&reply);
    CHECK_FOR(blocks == 0, "%d", n);
  }
  CHECK(!code && n > 20);
  oc_set_allocator(&standard);
}

int main(void) {
  RUN(reads_a_whole_response);
  RUN(takes_null_anywhere);
  RUN(takes_odd_contents);
  RUN(keeps_unknown_fields);
  RUN(limits_unknown_fields);
  RUN(assembles_whole_calls);
  RUN(gives_each_call_an_id);
  RUN(sends_reasoning_back_with_calls_only);
  RUN(chooses_one_choice);
  RUN(names_what_is_no_response);
  RUN(shows_what_is_no_response);
  RUN(refuses_every_beginning);
  RUN(limits_each_text);
  RUN(joins_a_stream);
  RUN(takes_odd_chunks);
  RUN(knows_a_stream_with_an_empty_text);
  RUN(joins_reasoning);
  RUN(joins_halves_of_characters);
  RUN(assembles_calls);
  RUN(assembles_names_and_ids);
  RUN(tells_calls_apart_without_ids);
  RUN(finds_the_end_of_arguments);
  RUN(tells_calls_with_one_id_apart);
  RUN(keeps_unknown_fields_of_calls);
  RUN(limits_the_calls);
  RUN(reads_usage_wherever_it_is);
  RUN(knows_errors_in_a_stream);
  RUN(names_bad_chunks);
  RUN(short_road_is_the_same);
  RUN(short_road_is_taken);
  RUN(survives_lack_of_memory);
  return test_report();
}
