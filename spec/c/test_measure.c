#include "test.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/oc_measure.h"
#include "../../src/oc_message.h"
#include "../../src/oc_tokens.h"

static oc_measure measure_text(const char *json, size_t len) {
  oc_measure measure;
  /* exactly as long as it says: a sanitizer sees who reads on */
  char *copy = malloc(len ? len : 1);
  memcpy(copy, json, len);
  oc_measure_message(&measure, copy, len);
  free(copy);
  return measure;
}

static oc_measure measure_of(const char *json) {
  return measure_text(json, strlen(json));
}

static unsigned tokens_in(const char *text) {
  return (unsigned)oc_tokens_text(text, strlen(text));
}

/* What each message comes to beyond its frame: texts, and a number. */
TEST(adds_up) {
  static const struct {
    const char *json;
    const char *texts[4];
    unsigned more;
    int has_media;
  } cases[] = {
    { "{\"role\":\"user\",\"content\":\"Hello there\"}",
      { "Hello there" }, 0, 0 },
    { "{\"content\":\"Hello there\",\"role\":\"user\"}",
      { "Hello there" }, 0, 0 },
    { "{\"role\":\"user\",\"content\":\"\"}", { NULL }, 0, 0 },
    { "{\"role\":\"user\",\"content\":null}", { NULL }, 0, 0 },
    { " { \"role\" : \"user\" , \"content\" : \"Hi\" } ", { "Hi" }, 0, 0 },
    { "{\"role\":\"user\",\"name\":\"Ann\",\"content\":\"Hi\"}",
      { "Hi", "Ann" }, 0, 0 },
    { "{\"role\":\"assistant\",\"content\":null,\"refusal\":\"I will not\"}",
      { "I will not" }, 0, 0 },
    { "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"one\"},"
      "{\"text\":\"two words\",\"type\":\"text\"},"
      "{\"type\":\"refusal\",\"refusal\":\"no way\"}]}",
      { "one", "two words", "no way" }, 0, 0 },
    { "{\"role\":\"user\",\"content\":[]}", { NULL }, 0, 0 },
    /* media */
    { "{\"role\":\"user\",\"content\":[{\"type\":\"image_url\","
      "\"image_url\":{\"url\":\"data:image/png;base64,AAAA\"}}]}",
      { NULL }, OC_TOKENS_IMAGE, 1 },
    { "{\"role\":\"user\",\"content\":[{\"type\":\"image_url\","
      "\"image_url\":{\"url\":\"u\",\"detail\":\"low\"}}]}",
      { NULL }, OC_TOKENS_IMAGE_LOW, 1 },
    { "{\"role\":\"user\",\"content\":[{\"type\":\"image_url\","
      "\"image_url\":{\"detail\":\"l\\u006fw\",\"url\":\"u\"}}]}",
      { NULL }, OC_TOKENS_IMAGE_LOW, 1 },
    { "{\"role\":\"user\",\"content\":[{\"type\":\"image_url\","
      "\"image_url\":{\"url\":\"low\",\"detail\":\"high\"}}]}",
      { NULL }, OC_TOKENS_IMAGE, 1 },
    { "{\"role\":\"user\",\"content\":[{\"type\":\"image_url\","
      "\"image_url\":\"https://x/a.png\"}]}",
      { NULL }, OC_TOKENS_IMAGE, 1 },
    { "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"See\"},"
      "{\"type\":\"image_url\",\"image_url\":{\"url\":\"u\"}},"
      "{\"type\":\"image_url\",\"image_url\":{\"url\":\"v\","
      "\"detail\":\"low\"}}]}",
      { "See" }, OC_TOKENS_IMAGE + OC_TOKENS_IMAGE_LOW, 1 },
    { "{\"role\":\"user\",\"content\":[{\"type\":\"file\","
      "\"file\":{\"file_data\":\"data:application/pdf;base64,AAAA\","
      "\"filename\":\"a.pdf\"}}]}",
      { NULL }, OC_TOKENS_FILE, 1 },
    { "{\"role\":\"user\",\"content\":[{\"type\":\"input_audio\","
      "\"input_audio\":{\"data\":\"AAAA\",\"format\":\"wav\"}}]}",
      { NULL }, OC_TOKENS_AUDIO, 1 },
    /* calls and results */
    { "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":"
      "\"call_with_a_long_id\",\"type\":\"function\",\"function\":"
      "{\"name\":\"look\",\"arguments\":\"[1, 22]\"}}]}",
      { "look", "[1, 22]" }, OC_TOKENS_CALL, 0 },
    { "{\"role\":\"assistant\",\"content\":\"Wait\",\"tool_calls\":[{\"id\":"
      "\"a\",\"custom\":{\"name\":\"look\",\"input\":\"far away\"}},"
      "{\"id\":\"b\"}]}",
      { "Wait", "look", "far away" }, 2 * OC_TOKENS_CALL, 0 },
    { "{\"role\":\"tool\",\"tool_call_id\":\"call_1\",\"content\":\"42\"}",
      { "42" }, 0, 0 },
    /* what nobody knows costs nothing, whatever it looks like */
    { "{\"role\":\"user\",\"x\":{\"content\":\"no\",\"a\":[1,{\"text\":"
      "\"no\"}]},\"content\":\"Hi\",\"y\":[[[]]],\"z\":1e9}",
      { "Hi" }, 0, 0 },
    { "{\"role\":\"user\",\"content\":[{\"type\":\"new\",\"new\":{\"text\":"
      "\"no\",\"image_url\":{}}},{\"type\":\"text\",\"text\":\"yes\"}]}",
      { "yes" }, 0, 0 },
    /* strange, and valid JSON all the same */
    { "{\"role\":\"user\",\"content\":[1,null,\"x\",[{\"text\":\"no\"}],"
      "{\"type\":\"text\",\"text\":\"yes\"}]}",
      { "yes" }, 0, 0 },
    { "{\"role\":\"user\",\"content\":{\"text\":\"no\"}}", { NULL }, 0, 0 },
    { "{\"role\":\"user\",\"content\":12}", { NULL }, 0, 0 },
    { "{\"role\":\"user\",\"content\":\"a\",\"name\":{\"n\":[]}}",
      { "a" }, 0, 0 },
    { "{\"role\":\"user\",\"content\":[{\"text\":{\"text\":\"no\"}},"
      "{\"text\":7},{}]}", { NULL }, 0, 0 },
    { "{\"role\":\"assistant\",\"content\":\"a\",\"tool_calls\":{\"x\":[]}}",
      { "a" }, 0, 0 },
    { "{\"role\":\"assistant\",\"tool_calls\":[],\"content\":\"a\"}",
      { "a" }, 0, 0 },
    { "{\"role\":\"assistant\",\"content\":\"a\",\"tool_calls\":[{"
      "\"function\":[\"name\",{\"name\":\"no\"}],\"x\":{\"name\":\"no\"}}]}",
      { "a" }, OC_TOKENS_CALL, 0 },
    { "{\"role\":\"assistant\",\"content\":\"a\",\"tool_calls\":[{"
      "\"function\":{\"name\":\"f\",\"arguments\":{\"b\":\"no\"}}}]}",
      { "a", "f" }, OC_TOKENS_CALL, 0 },
    { "{\"role\":\"user\",\"content\":[{\"type\":\"image_url\","
      "\"image_url\":[{\"detail\":\"low\"}]}]}",
      { NULL }, OC_TOKENS_IMAGE, 1 },
    { "{\"role\":\"user\",\"content\":[{\"type\":\"image_url\","
      "\"image_url\":{\"url\":{\"detail\":\"low\"},\"detail\":[\"low\"]}}]}",
      { NULL }, OC_TOKENS_IMAGE, 1 }
  };
  size_t i;

  for(i = 0; i < sizeof cases / sizeof *cases; i++) {
    oc_measure measure = measure_of(cases[i].json);
    unsigned expected = OC_TOKENS_MESSAGE + cases[i].more;
    size_t k;
    for(k = 0; k < 4 && cases[i].texts[k]; k++)
      expected += tokens_in(cases[i].texts[k]);
    CHECK_FOR(measure.tokens == expected, "%d: %u instead of %u", (int)i,
              measure.tokens, expected);
    CHECK_FOR(measure.has_media == cases[i].has_media, "%d", (int)i);
  }
}

/* Every message knows what it costs. */
TEST(is_in_every_message) {
  const char *json = "{\"role\":\"user\",\"content\":[{\"type\":\"image_url\","
                     "\"image_url\":{\"url\":\"u\"}}]}";
  oc_message *message;
  oc_message *copy;
  size_t where;
  oc_buf buf;

  CHECK(!oc_message_json(&message, json, strlen(json), &where));
  CHECK(oc_message_tokens(message) == measure_of(json).tokens
        && oc_message_has_media(message)
        && message->flags == 0 && message->counter == 0);
  CHECK(!oc_message_flag(&copy, message, OC_FLAG_PINNED | OC_FLAG_FACTS));
  CHECK(oc_message_tokens(copy) == oc_message_tokens(message)
        && oc_message_has_media(copy)
        && copy->flags == 5 && copy->len == message->len
        && !memcmp(copy->json, message->json, copy->len));
  oc_message_unref(copy);
  oc_message_unref(message);
  CHECK(!oc_message_text(&message, OC_ROLE_USER, "Hello \"you\"", 11,
                         &where));
  CHECK(oc_message_tokens(message)
        == measure_text(message->json, message->len).tokens);
  CHECK(oc_message_tokens(message) > OC_TOKENS_MESSAGE
        && !oc_message_has_media(message));
  oc_message_set_tokens(message, 99, 7);
  CHECK(oc_message_tokens(message) == 99 && message->counter == 7
        && !oc_message_has_media(message));
  oc_message_set_tokens(message, 0, 0);
  CHECK(oc_message_tokens(message)
        == measure_text(message->json, message->len).tokens);
  oc_message_unref(message);
  json = "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":"
         "\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}";
  oc_buf_init(&buf, (size_t)-1 / 2);
  CHECK(!oc_message_room(&buf, 1) && !oc_buf_puts(&buf, json));
  message = oc_message_own(&buf, 1);
  CHECK(message->len == strlen(json) && !buf.data);
  CHECK(oc_message_tokens(message) == measure_of(json).tokens);
  oc_message_unref(message);
  CHECK(oc_flag_parse("pinned", 6) == 1 && oc_flag_parse("summary", 7) == 2
        && oc_flag_parse("facts", 5) == 4 && oc_flag_parse("pin", 3) == 0
        && oc_flag_parse("", 0) == 0);
}

/* Large texts, and so many parts that their sum would run over. */
TEST(stays_within_bounds) {
  static const char head[] = "{\"role\":\"user\",\"content\":\"";
  static const char part[] = "{\"file\":0},";
  size_t len = 8u << 20;
  size_t files = 600000;
  char *json = malloc(sizeof head + files * sizeof part + len);
  char *at = json;
  oc_measure measure;
  size_t i;

  memcpy(at, head, sizeof head - 1);
  memset(at + sizeof head - 1, 'a', len);
  memcpy(at + sizeof head - 1 + len, "\"}", 2);
  measure = measure_text(json, sizeof head - 1 + len + 2);
  CHECK(measure.tokens > len / 100 && measure.tokens < len);

  at += sprintf(at, "{\"role\":\"user\",\"content\":[");
  for(i = 0; i < files; i++)
    at += sprintf(at, "%s", part);
  at += sprintf(at - 1, "]}") - 1;
  measure = measure_text(json, (size_t)(at - json));
  CHECK(measure.tokens == UINT_MAX / 4 && measure.has_media);
  free(json);
}

/* Deep values are passed over; what is cut off ends it. */
TEST(comes_to_an_end) {
  static const char whole[] =
    "{\"role\":\"assistant\",\"content\":[{\"type\":\"image_url\","
    "\"image_url\":{\"detail\":\"low\"}},{\"text\":\"a\"}],\"tool_calls\":"
    "[{\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}],\"x\":[[{}]]}";
  char deep[2000];
  size_t i;

  for(i = 0; i <= sizeof whole - 1; i++)
    CHECK(measure_text(whole, i).tokens >= OC_TOKENS_MESSAGE);
  strcpy(deep, "{\"role\":\"user\",\"content\":");
  for(i = strlen(deep); i < 1000; i++)
    deep[i] = '[';
  deep[i] = '\0';
  CHECK(measure_of(deep).tokens >= OC_TOKENS_MESSAGE);
  CHECK(measure_of("").tokens == OC_TOKENS_MESSAGE);
  CHECK(measure_of("[]").tokens == OC_TOKENS_MESSAGE);
}

int main(void) {
  RUN(adds_up);
  RUN(is_in_every_message);
  RUN(stays_within_bounds);
  RUN(comes_to_an_end);
  return test_report();
}
