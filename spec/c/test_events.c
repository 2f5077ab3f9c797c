#include "failing.h"
#include "test.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/oc_events.h"

#define HEADER "{\"opperchat\":1,\"options\":{\"model\":\"m\"}}"
#define USER "{\"role\":\"user\",\"content\":\"u\"}"
#define ANSWER "{\"role\":\"assistant\",\"content\":\"a\"}"
#define CALL "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":" \
  "[{\"id\":\"c1\"},{\"id\":\"c2\"}]}"
#define RESULT1 "{\"role\":\"tool\",\"content\":\"1\",\"tool_call_id\":\"c1\"}"
#define RESULT2 "{\"role\":\"tool\",\"content\":\"2\",\"tool_call_id\":\"c2\"}"

static void add(oc_history *history, const char *json, unsigned flags) {
  oc_message *message;
  oc_message *flagged;
  oc_flaw flaw;
  CHECK_FOR(!oc_message_json(&message, json, strlen(json), NULL), "%s", json);
  CHECK(!oc_message_flag(&flagged, message, flags));
  CHECK_FOR(!oc_history_append(history, flagged, &flaw), "%s", json);
  oc_message_unref(message);
  oc_message_unref(flagged);
}

/* Whether both lists have the same texts and flags. */
static int same(const oc_history *a, const oc_history *b) {
  size_t i;
  if(a->count != b->count || a->bytes != b->bytes)
    return 0;
  for(i = 0; i < a->count; i++) {
    const oc_message *x = oc_history_at(a, i);
    const oc_message *y = oc_history_at(b, i);
    if(x->len != y->len || memcmp(x->json, y->json, x->len)
       || x->flags != y->flags || x->role != y->role
       || x->has_calls != y->has_calls
       || oc_history_tokens_at(a, i) != oc_history_tokens_at(b, i))
      return 0;
  }
  return 1;
}

static oc_code apply(oc_history *history, const char *line) {
  oc_event event;
  char problem[OC_PROBLEM_MAX] = "";
  oc_code code = oc_event_apply(history, line, strlen(line), &event, problem);
  CHECK_FOR(!code == !*problem, "%s", line);
  return code;
}

/* The line has to be exactly this. */
static void writes(const char *expected, const oc_history *before,
                   const oc_history *edited, const oc_history *after,
                   const char *extra) {
  oc_buf line;
  oc_history work;
  size_t len = strlen(expected);
  oc_buf_init(&line, SIZE_MAX / 2);
  CHECK(!oc_event_write(&line, before, edited, after, extra, strlen(extra)));
  CHECK_FOR(line.len == len && !memcmp(line.data ? line.data : "", expected,
                                       len),
            "%.*s instead of %s", (int)line.len, line.data, expected);
  /* and to make the one out of the other */
  if(line.len) {
    oc_event event;
    char problem[OC_PROBLEM_MAX];
    oc_history_fork(before, &work);
    CHECK_FOR(!oc_event_apply(&work, line.data, line.len - 1, &event,
                              problem), "%s", problem);
    CHECK(same(&work, after));
    oc_history_free(&work);
  }
  oc_buf_free(&line);
}

/* {==== writing ==== */

TEST(writes_what_was_appended) {
  oc_history before;
  oc_history after;

  oc_history_init(&before);
  oc_history_init(&after);
  writes("", &before, NULL, &after, "");
  writes("{\"usage\":{}}\n", &before, NULL, &after, "\"usage\":{}");
  add(&after, USER, 0);
  add(&after, ANSWER, 0);
  writes("{\"append\":[" USER "," ANSWER "]}\n", &before, NULL, &after, "");
  writes("{\"append\":[" USER "," ANSWER "]}\n", &before, &before, &after,
         "");
  oc_history_fork(&after, &before);
  writes("", &before, NULL, &after, "");
  add(&after, USER, OC_FLAG_PINNED);
  writes("{\"append\":[" USER "],\"pinned\":[1],\"usage\":{\"n\":1}}\n",
         &before, NULL, &after, "\"usage\":{\"n\":1}");
  oc_history_free(&before);
  oc_history_free(&after);
}

TEST(writes_a_splice_and_what_was_appended) {
  oc_history before;
  oc_history edited;
  oc_history after;
  oc_message *summary;
  oc_message *flagged;
  oc_flaw flaw;
  const char *text = "{\"role\":\"assistant\",\"content\":\"sum\"}";

  oc_history_init(&before);
  add(&before, USER, 0);
  add(&before, ANSWER, 0);
  add(&before, USER, 0);
  add(&before, ANSWER, 0);
  CHECK(!oc_message_json(&summary, text, strlen(text), NULL));
  CHECK(!oc_message_flag(&flagged, summary, OC_FLAG_SUMMARY));
  oc_history_fork(&before, &edited);
  CHECK(!oc_history_splice(&edited, 0, 2, &flagged, 1, &flaw));
  oc_history_fork(&edited, &after);
  writes("{\"splice\":[1,2],\"with\":[{\"role\":\"assistant\",\"content\":"
         "\"sum\"}],\"summary\":[1]}\n", &before, &edited, &after, "");
  writes("{\"splice\":[1,2],\"with\":[{\"role\":\"assistant\",\"content\":"
         "\"sum\"}],\"summary\":[1]}\n", &before, NULL, &after, "");
  add(&after, USER, OC_FLAG_FACTS | OC_FLAG_PINNED);
  add(&after, CALL, 0);
  add(&after, RESULT1, OC_FLAG_FACTS);
  writes("{\"splice\":[1,2],\"with\":[{\"role\":\"assistant\",\"content\":"
         "\"sum\"}],\"append\":[" USER "," CALL "," RESULT1 "],"
         "\"pinned\":[2],\"summary\":[1],\"facts\":[2,4]}\n",
         &before, &edited, &after, "");
  /* only cut */
  oc_history_free(&after);
  oc_history_fork(&before, &after);
  CHECK(!oc_history_splice(&after, 2, 2, NULL, 0, &flaw));
  writes("{\"splice\":[3,2]}\n", &before, NULL, &after, "");
  /* `after` does not begin with `edited`: one splice */
  writes("{\"splice\":[3,2]}\n", &before, &edited, &after, "");
  /* what was edited is not there any more, and nothing else has changed */
  oc_history_free(&after);
  oc_history_fork(&before, &after);
  add(&after, USER, 0);
  writes("{\"append\":[" USER "]}\n", &before, &edited, &after, "");
  oc_message_unref(summary);
  oc_message_unref(flagged);
  oc_history_free(&before);
  oc_history_free(&edited);
  oc_history_free(&after);
}

TEST(keeps_a_line_a_line) {
  static const char text[] = "{\"role\":\"user\",\r\n\"content\":\n\"\\n\"}";
  static const char line[] =
    "{\"append\":[{\"role\":\"user\",  \"content\": \"\\n\"}]}\n";
  oc_history empty;
  oc_history after;
  oc_buf buf;

  oc_history_init(&empty);
  oc_history_init(&after);
  add(&after, text, 0);
  oc_buf_init(&buf, SIZE_MAX / 2);
  CHECK(!oc_event_write(&buf, &empty, NULL, &after, "", 0));
  CHECK(buf.len == sizeof line - 1 && !memcmp(buf.data, line, buf.len));
  oc_buf_free(&buf);
  oc_history_free(&after);
}

/* A turn costs as much in a long conversation as in a short one. */
TEST(writes_no_more_than_has_changed) {
  oc_history before;
  oc_history after;
  size_t lens[2];
  int i;

  for(i = 0; i < 2; i++) {
    int turns = i ? 5000 : 10;
    oc_buf line;
    oc_buf_init(&line, SIZE_MAX / 2);
    oc_history_init(&after);
    for(; turns > 1; turns--) {
      add(&after, USER, 0);
      add(&after, ANSWER, 0);
    }
    oc_history_fork(&after, &before);
    add(&after, USER, 0);
    add(&after, ANSWER, 0);
    CHECK(!oc_event_write(&line, &before, NULL, &after, "", 0));
    lens[i] = line.len;
    oc_buf_free(&line);
    oc_history_free(&before);
    oc_history_free(&after);
  }
  CHECK(lens[0] == lens[1]);
}

TEST(writes_a_list_turn_by_turn) {
  static const char expected[] =
    "{\"append\":[{\"role\":\"system\",\"content\":\"s\"}," USER "," CALL ","
    RESULT1 "," RESULT2 "," ANSWER "],\"pinned\":[2]}\n"
    "{\"append\":[" USER "]}\n"
    "{\"append\":[" USER "," ANSWER "],\"facts\":[2]}\n";
  oc_history list;
  oc_buf buf;
  size_t at = 0;

  oc_history_init(&list);
  oc_buf_init(&buf, SIZE_MAX / 2);
  CHECK(!oc_event_write_turn(&buf, &list, &at) && !at && !buf.len);
  add(&list, "{\"role\":\"system\",\"content\":\"s\"}", 0);
  CHECK(!oc_event_write_turn(&buf, &list, &at) && at == 1);
  CHECK(buf.len == strlen("{\"append\":[{\"role\":\"system\",\"content\":"
                          "\"s\"}]}\n"));
  oc_buf_clear(&buf);
  at = 0;
  add(&list, USER, OC_FLAG_PINNED);
  add(&list, CALL, 0);
  add(&list, RESULT1, 0);
  add(&list, RESULT2, 0);
  add(&list, ANSWER, 0);
  add(&list, USER, 0);
  add(&list, USER, 0);
  add(&list, ANSWER, OC_FLAG_FACTS);
  while(at < list.count)
    CHECK(!oc_event_write_turn(&buf, &list, &at));
  CHECK_FOR(buf.len == sizeof expected - 1
            && !memcmp(buf.data, expected, buf.len), "%.*s", (int)buf.len,
            buf.data);
  oc_buf_free(&buf);
  oc_history_free(&list);
}

/* }==== */

/* {==== reading a line ==== */

TEST(applies_a_line) {
  oc_history list;
  oc_history_init(&list);
  CHECK(!apply(&list, "{\"append\":[" USER "," ANSWER "]}"));
  CHECK(list.count == 2);
  CHECK(!apply(&list, " { \"append\" : [ " USER " , " CALL " ] ,\t\"pinned\""
               ": [ 2 , 1 ] , \"new\" : [ { } , null , \"]}\\\"\" ] } \r"));
  CHECK(list.count == 4);
  CHECK(oc_history_at(&list, 2)->flags == OC_FLAG_PINNED);
  CHECK(oc_history_at(&list, 3)->flags == OC_FLAG_PINNED);
  CHECK(oc_history_at(&list, 2)->len == strlen(USER));
  CHECK(!apply(&list, "{\"append\":[" RESULT2 "," RESULT1 "]}"));
  CHECK(!apply(&list, "{\"\\u0073plice\":[1,2]}"));
  CHECK(list.count == 4);
  CHECK(!apply(&list, "{\"facts\":[1],\"append\":[" USER "],\"with\":["
               ANSWER "],\"splice\":[1,0],\"summary\":[2]}"));
  CHECK(list.count == 6);
  CHECK(oc_history_at(&list, 0)->flags == OC_FLAG_FACTS);
  CHECK(oc_history_at(&list, 5)->flags == OC_FLAG_SUMMARY);
  CHECK(!apply(&list, "{\"splice\":[7,0],\"with\":[]}"));
  CHECK(!apply(&list, "{\"splice\":[1,6],\"append\":[]}"));
  CHECK(list.count == 0);
  CHECK(!apply(&list, "{\"splice\":[1e0,0.0],\"with\":[" USER "]}"));
  CHECK(!apply(&list, "{\"time\":1}"));
  CHECK(!apply(&list, "{\"usage\":{},\"options\":{}}"));
  CHECK(list.count == 1);
  oc_history_free(&list);
}

TEST(refuses_what_is_no_event) {
  static const char *const lines[] = {
    "", " ", "[]", "1", "null", "{}", "{", "}", "{\"x\":1}", "\"\"",
    "{\"append\":[" USER "]", "{\"append\":[" USER "]}}", "{\"append\"}",
    "{\"append\":}", "{\"append\":[" USER "],}", "{,\"append\":[" USER "]}",
    "{\"append\":[" USER "]}{}", "{\"append\":[" USER "] \"x\":1}",
    "{\"append\":[" USER ",]}", "{\"append\":[," USER "]}",
    "{\"append\":[" USER " " USER "]}", "{\"append\":" USER "}",
    "{\"append\":[" USER "}}", "{\"append\":[" USER "]]", "{\"append\":[1]}",
    "{\"append\":[[" USER "]]}", "{\"append\":[{}]}", "{\"append\":null}",
    "{\"append\":[{\"role\":\"user\"}]}", "{\"append\":[],\"append\":[]}",
    "{\"append\":[{\"role\":\"bot\",\"content\":\"\"}]}",
    "{\"append\":[{\"role\":\"user\",\"content\":\"\xff\"}]}",
    "{\"append\":[{\"role\":\"user\",\"content\":\"\t\"}]}",
    "{append:[]}", "{'append':[]}", "{1:[]}", "{\"append\":[],\"x\":tru}",
    "{\"append\":[],\"x\":[1,]}", "{\"append\":[],\"x\":\"}",
    "{\"append\":[],\"\xff\":1}", "{\"append\":[],\"\\x\":1}",
    "{\"append\":[],\"x\":[}}", "{\"append\":[],\"x\":01}",
    /* what cannot be applied to a user message and an answer */
    "{\"append\":[" RESULT1 "]}", "{\"append\":[" CALL "," USER "]}",
    "{\"append\":[" CALL "," RESULT1 "," USER "]}",
    "{\"append\":[" CALL "," RESULT1 "," RESULT1 "]}",
    "{\"splice\":[0,1]}", "{\"splice\":[1,3]}", "{\"splice\":[3,1]}",
    "{\"splice\":[4,0]}", "{\"splice\":[1,-1]}", "{\"splice\":[-1,1]}",
    "{\"splice\":[1.5,1]}", "{\"splice\":[1,0.5]}", "{\"splice\":[1]}",
    "{\"splice\":[1,1,1]}", "{\"splice\":[]}", "{\"splice\":1}",
    "{\"splice\":[\"1\",1]}", "{\"splice\":[1,1e99]}", "{\"splice\":[1,null]}",
    "{\"splice\":[1e300,1]}", "{\"splice\":[18446744073709551617,1]}",
    "{\"splice\":[1,18446744073709551616]}", "{\"splice\":[1,1}",
    "{\"with\":[" USER "]}", "{\"with\":[" USER "],\"append\":[]}",
    "{\"splice\":[1,1],\"with\":" USER "}",
    "{\"splice\":[2,0],\"with\":[" CALL "]}",
    "{\"splice\":[1,2],\"with\":[" RESULT1 "]}",
    "{\"append\":[" USER "],\"pinned\":[0]}",
    "{\"append\":[" USER "],\"pinned\":[2]}",
    "{\"append\":[" USER "],\"pinned\":[1.5]}",
    "{\"append\":[" USER "],\"pinned\":[-1]}",
    "{\"append\":[" USER "],\"pinned\":[\"1\"]}",
    "{\"append\":[" USER "],\"pinned\":1}",
    "{\"append\":[" USER "],\"pinned\":[1}",
    "{\"append\":[" USER "],\"facts\":[1e300]}",
    "{\"append\":[" USER "],\"summary\":{}}", "{\"pinned\":[1]}",
    "{\"usage\":1}", "{\"usage\":[]}", "{\"options\":null}",
    "{\"usage\":{\"a\":}}", "{\"options\":{]}", "{\"time\":nul}"
  };
  oc_history list;
  oc_history copy;
  oc_event event;
  char problem[OC_PROBLEM_MAX];
  size_t i;

  oc_history_init(&list);
  add(&list, USER, 0);
  add(&list, ANSWER, 0);
  for(i = 0; i < sizeof lines / sizeof lines[0]; i++) {
    oc_history_fork(&list, &copy);
    CHECK_FOR(apply(&list, lines[i]) == OC_E_BAD_LINE, "%s", lines[i]);
    CHECK_FOR(oc_history_same(&list, &copy), "%s", lines[i]);
    oc_history_free(&copy);
  }
  CHECK(oc_event_apply(&list, "{\"append\":[]\0}", 14, &event, problem));
  CHECK(oc_event_apply(&list, "{\"append\":[\0]}", 14, &event, problem));
  CHECK(oc_event_apply(&list, "{\"app\0nd\":[]}", 13, &event, problem));
  CHECK(oc_event_apply(&list, "\0", 1, &event, problem));
  /* it says which message is wrong */
  CHECK(apply(&list, "{\"append\":[" USER ",{}]}"));
  oc_event_apply(&list, "{\"append\":[" USER ",{}]}",
                 strlen("{\"append\":[" USER ",{}]}"), &event, problem);
  CHECK_FOR(!strcmp(problem, "message 2: a message needs a role"), "%s",
            problem);
  CHECK(list.count == 2);
  oc_history_free(&list);
}

/* The splice is made and the append fails: nothing has happened. */
TEST(applies_all_of_a_line_or_nothing) {
  oc_history list;
  oc_history copy;
  oc_history_init(&list);
  add(&list, USER, 0);
  add(&list, ANSWER, 0);
  oc_history_fork(&list, &copy);
  CHECK(apply(&list, "{\"splice\":[1,2],\"with\":[" USER "],\"append\":["
              ANSWER "," RESULT1 "]}") == OC_E_BAD_LINE);
  CHECK(apply(&list, "{\"append\":[" USER "," ANSWER "," RESULT1 "]}")
        == OC_E_BAD_LINE);
  CHECK(oc_history_same(&list, &copy) && same(&list, &copy));
  CHECK(!apply(&list, "{\"append\":[" USER "]}"));
  CHECK(list.count == 3 && copy.count == 2);
  oc_history_free(&list);
  oc_history_free(&copy);
}

/* A message may be nested as deeply as the reader goes. */
TEST(reads_every_message_that_it_writes) {
  enum { DEPTH = OC_JSON_MAX_DEPTH - 1 };
  static char text[DEPTH * 2 + 100];
  oc_history empty;
  oc_history list;
  oc_history back;
  oc_replay replay;
  oc_buf buf;
  size_t torn;
  int i;

  strcpy(text, "{\"role\":\"user\",\"content\":");
  for(i = 0; i < DEPTH; i++)
    strcat(text, "[");
  for(i = 0; i < DEPTH; i++)
    strcat(text, "]");
  strcat(text, "}");
  oc_history_init(&empty);
  oc_history_init(&list);
  oc_history_init(&back);
  add(&list, text, 0);
  oc_buf_init(&buf, SIZE_MAX / 2);
  CHECK(!oc_buf_puts(&buf, HEADER "\n"));
  CHECK(!oc_event_write(&buf, &empty, NULL, &list, "", 0));
  for(torn = 0; torn < 2; torn++) {
    /* with and without the newline */
    CHECK(!oc_replay_text(&back, buf.data, buf.len - torn, &replay));
    CHECK(same(&list, &back) && !replay.torn);
    oc_history_free(&back);
  }
  CHECK(!oc_replay_text(&back, buf.data, buf.len - 2, &replay));
  CHECK(!back.count && replay.torn);
  oc_buf_free(&buf);
  oc_history_free(&list);
}

/* }==== */

/* {==== reading all lines ==== */

static oc_code replay_of(const char *text, size_t *count, oc_replay *replay) {
  oc_history list;
  oc_code code;
  oc_history_init(&list);
  code = oc_replay_text(&list, text, strlen(text), replay);
  if(code)
    CHECK_FOR(!list.count && replay->line && *replay->problem, "%s", text);
  *count = list.count;
  oc_history_free(&list);
  return code;
}

static int is_slice(oc_slice slice, const char *text) {
  return slice.text && slice.len == strlen(text)
         && !memcmp(slice.text, text, slice.len);
}

TEST(reads_a_file) {
  static const char text[] =
    HEADER "\n"
    "{\"append\":[" USER "],\"usage\":{\"n\":1}}\n"
    "{\"options\":{\"model\":\"x\"}}\n"
    "{\"append\":[" ANSWER "],\"usage\":{\"n\":2}}\n";
  oc_replay replay;
  size_t count;

  CHECK(!replay_of(text, &count, &replay));
  CHECK(count == 2 && replay.events == 3 && !replay.torn && !replay.line);
  CHECK(replay.good == sizeof text - 1);
  CHECK(is_slice(replay.header, HEADER));
  CHECK(is_slice(replay.usage, "{\"n\":2}"));
  CHECK(is_slice(replay.options, "{\"model\":\"x\"}"));
  CHECK(replay.options_line == 3);
  CHECK(!replay_of("", &count, &replay));
  CHECK(!replay.header.text && !replay.good && !replay.torn);
  CHECK(!replay_of(HEADER, &count, &replay));
  CHECK(is_slice(replay.header, HEADER) && replay.good == strlen(HEADER));
  CHECK(!replay_of("{\"a\":[1],\"opperchat\":1.0,\"b\":{}}\r\n", &count,
                   &replay));
  CHECK(!replay.usage.text && !replay.options.text && !replay.events);
}

TEST(drops_a_torn_end) {
  static const char *const ends[] = {
    "{", "{\"app", "{\"append\":[" USER "]", "{\"append\":[" USER "],\"x\":",
    " ", "garbage", "12", "{\"append\":[" USER "]}x", "\x01\x02", "{x}",
    "{\"append\":[{\"role\":\"user\",\"content\":\"\xc3"
  };
  oc_replay replay;
  size_t count;
  size_t i;
  char text[400];
  size_t good = strlen(HEADER "\n{\"append\":[" USER "]}\n");

  for(i = 0; i < sizeof ends / sizeof ends[0]; i++) {
    sprintf(text, "%s\n{\"append\":[%s]}\n%s", HEADER, USER, ends[i]);
    CHECK_FOR(!replay_of(text, &count, &replay), "%s", ends[i]);
    CHECK_FOR(count == 1 && replay.torn == strlen(ends[i])
              && replay.line == 3 && replay.good == good, "%s", ends[i]);
    /* with a newline behind it, it was written so */
    strcat(text, "\n");
    CHECK_FOR(replay_of(text, &count, &replay) == OC_E_BAD_LINE
              && replay.line == 3, "%s", ends[i]);
  }
  /* zeros, which some file systems leave after a crash of the system */
  {
    oc_history list;
    oc_history_init(&list);
    CHECK(!oc_replay_text(&list, HEADER "\n\0\0\0", strlen(HEADER) + 4,
                          &replay));
    CHECK(replay.torn == 3 && replay.good == strlen(HEADER) + 1);
  }
}

TEST(counts_a_last_line_without_newline) {
  oc_replay replay;
  size_t count;
  CHECK(!replay_of(HEADER "\n{\"append\":[" USER "]}", &count, &replay));
  CHECK(count == 1 && !replay.torn);
  /* but it must be one that can be applied */
  CHECK(replay_of(HEADER "\n{\"append\":[" RESULT1 "]}", &count, &replay)
        == OC_E_BAD_LINE && replay.line == 2);
  CHECK(replay_of(HEADER "\n{}", &count, &replay) == OC_E_BAD_LINE);
}

TEST(refuses_broken_files) {
  static const struct {
    const char *text;
    oc_code code;
    size_t line;
  } files[] = {
    { "hello", OC_E_BAD_LINE, 1 }, { "hello\n", OC_E_BAD_LINE, 1 },
    { "\n", OC_E_BAD_LINE, 1 }, { " ", OC_E_BAD_LINE, 1 },
    { "{}\n", OC_E_BAD_LINE, 1 }, { "{}", OC_E_BAD_LINE, 1 },
    { "{\"x\":1", OC_E_BAD_LINE, 1 },
    { "{\"opperchat\":1,\n", OC_E_BAD_LINE, 1 },
    { "{\"opperchat\":1}x\n", OC_E_BAD_LINE, 1 },
    { "{\"opperchat\":\"1\"}\n", OC_E_BAD_LINE, 1 },
    { "{\"opperchat\":0}\n", OC_E_BAD_LINE, 1 },
    { "{\"opperchat\":null}\n", OC_E_BAD_LINE, 1 },
    { "[1]\n", OC_E_BAD_LINE, 1 }, { "\xef\xbb\xbf" HEADER, OC_E_BAD_LINE, 1 },
    { "{\"opperchat\":2}\n", OC_E_BAD_VERSION, 1 },
    { "{\"opperchat\":1.5}\n", OC_E_BAD_VERSION, 1 },
    { "{\"opperchat\":1e300}", OC_E_BAD_VERSION, 1 },
    { "{\"opperchat\":2}\n{\"what\n", OC_E_BAD_VERSION, 1 },
    { HEADER "\n\n", OC_E_BAD_LINE, 2 },
    { HEADER "\n" HEADER "\n", OC_E_BAD_LINE, 2 },
    { HEADER "\n{\"append\":[" USER "]}\n\n{\"append\":[" USER "]}\n",
      OC_E_BAD_LINE, 3 },
    { HEADER "\n{\"append\":[" USER "]\n{\"append\":[" USER "]}\n",
      OC_E_BAD_LINE, 2 },
    { HEADER "\n{\"append\":[" USER "]}{\"append\":[" USER "]}\n",
      OC_E_BAD_LINE, 2 },
    { HEADER "\n{\"append\":[" CALL "]}\n{\"append\":[" USER "]}\n{\"a",
      OC_E_BAD_LINE, 3 }
  };
  oc_replay replay;
  size_t count;
  size_t i;

  for(i = 0; i < sizeof files / sizeof files[0]; i++) {
    oc_code code = replay_of(files[i].text, &count, &replay);
    CHECK_FOR(code == files[i].code && replay.line == files[i].line,
              "%s: %s in line %d", files[i].text, oc_code_name(code),
              (int)replay.line);
  }
}

/* A conversation with all there is: { text, how many messages so far }. */
static void build(oc_buf *buf, oc_history *states, size_t *count) {
  static const char *const turns[] = {
    "{\"append\":[{\"role\":\"system\",\"content\":\"s\"}," USER "," ANSWER
    "],\"pinned\":[2]}",
    "{\"append\":[{\"role\":\"user\",\"content\":\"h\xc3\xa9 \\ud83d\\ude00 "
    "\xf0\x9f\x98\x80 \\\"x\\\" \\\\\"}," CALL "]}",
    "{\"append\":[" RESULT2 "," RESULT1 "," ANSWER "],\"usage\":{\"n\":1}}",
    "{\"append\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"
    "\"}]\"}]}," ANSWER "]}",
    "{\"splice\":[2,2]}",
    "{\"append\":[" USER "," ANSWER "],\"facts\":[1,2]}",
    "{\"splice\":[2,5],\"with\":[{\"role\":\"assistant\",\"content\":\"S\"}],"
    "\"append\":[" USER "],\"summary\":[1],\"pinned\":[2]}",
    "{\"append\":[{\"role\":\"assistant\",\"content\":\"\",\"x\":{\"y\":"
    "[1.50,null]}}]}",
    "{\"options\":{\"model\":\"z\"}}",
    "{\"append\":[" USER "," CALL "," RESULT1 "]}",
    "{\"append\":[" RESULT2 "," ANSWER "]}",
    "{\"append\":[" USER "," ANSWER "],\"time\":\"2026\"}",
    "{\"splice\":[1,0],\"with\":[{\"role\":\"developer\",\"content\":\"d\"}]}",
    "{\"append\":[" USER "," ANSWER "," USER "," ANSWER "]}",
    "{\"append\":[" USER "," ANSWER "]}"
  };
  size_t i;

  *count = sizeof turns / sizeof turns[0];
  CHECK(!oc_buf_puts(buf, HEADER "\n"));
  oc_history_init(&states[0]);
  for(i = 0; i < *count; i++) {
    oc_history_fork(&states[i], &states[i + 1]);
    CHECK_FOR(!apply(&states[i + 1], turns[i]), "%s", turns[i]);
    CHECK(!oc_buf_puts(buf, turns[i]));
    CHECK(!oc_buf_putc(buf, '\n'));
  }
}

TEST(survives_being_cut_at_every_byte) {
  oc_history states[20];
  oc_history list;
  oc_replay replay;
  oc_buf buf;
  size_t count;
  size_t cut;

  oc_buf_init(&buf, SIZE_MAX / 2);
  build(&buf, states, &count);
  oc_history_init(&list);
  for(cut = 0; cut <= buf.len; cut++) {
    /* of its own size, so that a read behind it is seen */
    char *copy = malloc(cut + !cut);
    size_t lines = 0;
    size_t i;
    memcpy(copy, buf.data, cut);
    for(i = 0; i < cut; i++)
      lines += copy[i] == '\n';
    /* the last line is whole but for its newline */
    if(cut < buf.len && buf.data[cut] == '\n')
      lines++;
    CHECK_FOR(!oc_replay_text(&list, copy, cut, &replay), "%d: %s", (int)cut,
              replay.problem);
    CHECK_FOR(lines == (replay.header.text ? 1 + replay.events : 0), "%d",
              (int)cut);
    CHECK_FOR(same(&list, &states[replay.events]), "%d", (int)cut);
    CHECK_FOR(replay.good + replay.torn == cut, "%d", (int)cut);
    oc_history_free(&list);
    free(copy);
  }
  for(cut = 0; cut <= count; cut++)
    oc_history_free(&states[cut]);
  oc_buf_free(&buf);
}

/* Whatever is changed, the list is valid to send. */
static int is_valid(const oc_history *list) {
  oc_history copy;
  oc_flaw flaw;
  size_t i;
  int valid = 1;
  oc_history_init(&copy);
  for(i = 0; valid && i < list->count; i++)
    valid = !oc_history_append(&copy, (oc_message *)oc_history_at(list, i),
                               &flaw);
  oc_history_free(&copy);
  return valid;
}

TEST(survives_any_changed_byte) {
  oc_history states[20];
  oc_history list;
  oc_replay replay;
  oc_buf buf;
  size_t count;
  size_t i;
  int round;
  int read = 0;
  unsigned seed = 1;

  oc_buf_init(&buf, SIZE_MAX / 2);
  build(&buf, states, &count);
  oc_history_init(&list);
  for(round = 0; round < 20000; round++) {
    char *copy = malloc(buf.len);
    int flips;
    memcpy(copy, buf.data, buf.len);
    for(flips = 0; flips <= round % 3; flips++) {
      seed = seed * 1103515245u + 12345u;
      copy[(seed >> 8) % buf.len] = (char)(round % 2 ? seed >> 24
                                           : (unsigned)"{}[],:\"\\\n0 "
                                             [(seed >> 24) % 11]);
    }
    if(!oc_replay_text(&list, copy, buf.len, &replay)) {
      read++;
      CHECK(is_valid(&list));
      CHECK(replay.good + replay.torn == buf.len);
    }
    else
      CHECK(!list.count);
    oc_history_free(&list);
    free(copy);
  }
  CHECK(read > 100 && read < 20000);
  for(i = 0; i <= count; i++)
    oc_history_free(&states[i]);
  oc_buf_free(&buf);
}

/* }==== */

/* {==== memory ==== */

TEST(survives_every_failed_allocation) {
  oc_history states[20];
  oc_history list;
  oc_replay replay;
  oc_buf buf;
  oc_buf line;
  size_t count;
  size_t i;
  int n;
  oc_code code = OC_E_NOMEM;

  oc_buf_init(&buf, SIZE_MAX / 2);
  oc_buf_init(&line, SIZE_MAX / 2);
  build(&buf, states, &count);
  oc_history_init(&list);
  oc_set_allocator(&failing);
  for(n = 0; code && n < 10000; n++) {
    left = n;
    code = oc_replay_text(&list, buf.data, buf.len, &replay);
    CHECK_FOR(!code || (code == OC_E_NOMEM && !list.count), "%d: %s", n,
              oc_code_name(code));
  }
  left = -1;
  CHECK(!code && same(&list, &states[count]));
  code = OC_E_NOMEM;
  for(n = 0; code && n < 100; n++) {
    left = n;
    code = oc_event_write(&line, &states[0], &states[4], &list, "", 0);
    CHECK(!code || (code == OC_E_NOMEM && !line.len));
    if(code)
      oc_buf_free(&line);
  }
  CHECK(!code && n > 1);
  oc_set_allocator(&standard);
  oc_history_free(&list);
  oc_buf_free(&line);
  for(i = 0; i <= count; i++)
    oc_history_free(&states[i]);
  oc_buf_free(&buf);
}

/* }==== */

int main(void) {
  RUN(writes_what_was_appended);
  RUN(writes_a_splice_and_what_was_appended);
  RUN(keeps_a_line_a_line);
  RUN(writes_no_more_than_has_changed);
  RUN(writes_a_list_turn_by_turn);
  RUN(applies_a_line);
  RUN(refuses_what_is_no_event);
  RUN(applies_all_of_a_line_or_nothing);
  RUN(reads_every_message_that_it_writes);
  RUN(reads_a_file);
  RUN(drops_a_torn_end);
  RUN(counts_a_last_line_without_newline);
  RUN(refuses_broken_files);
  RUN(survives_being_cut_at_every_byte);
  RUN(survives_any_changed_byte);
  RUN(survives_every_failed_allocation);
  return test_report();
}
