#include "counting.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "../../src/oc_history.h"

/* One message of each kind; each test has its own references. */
enum { SYSTEM, USER, ANSWER, CALL_A, CALL_AB, RESULT_A, RESULT_B, RESULT_A2,
       KINDS };

static const char *const texts[KINDS] = {
  "{\"role\":\"system\",\"content\":\"s\"}",
  "{\"role\":\"user\",\"content\":\"u\"}",
  "{\"role\":\"assistant\",\"content\":\"answer\"}",
  "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"a\"}]}",
  ("{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"\\u0061\"},"
   "{\"id\":\"b\"}],\"content\":null}"),
  "{\"role\":\"tool\",\"content\":\"1\",\"tool_call_id\":\"a\"}",
  "{\"role\":\"tool\",\"content\":\"22\",\"tool_call_id\":\"b\"}",
  "{\"role\":\"tool\",\"content\":\"333\",\"tool_call_id\":\"\\u0061\"}"
};

static oc_message *kinds[KINDS];

static void make_kinds(void) {
  int i;
  for(i = 0; i < KINDS; i++)
    CHECK(!oc_message_json(&kinds[i], texts[i], strlen(texts[i]), NULL));
}

/* With all histories freed, nobody else may hold a message. */
static void free_kinds(void) {
  int i;
  for(i = 0; i < KINDS; i++) {
    CHECK_FOR(kinds[i]->refs == 1, "%s: %u", texts[i], kinds[i]->refs);
    oc_message_unref(kinds[i]);
  }
}

static int kind_of(const oc_message *message) {
  int i;
  for(i = 0; i < KINDS && kinds[i] != message; i++) {
  }
  return i;
}

/* What a list holds, a digit for each message. */
static const char *show(const oc_history *history) {
  static char text[4][300];
  static int turn;
  char *at = text[turn++ % 4];
  size_t i;
  for(i = 0; i < history->count && i < 299; i++)
    at[i] = (char)('0' + kind_of(oc_history_at(history, i)));
  at[i] = '\0';
  return at;
}

static oc_code append(oc_history *history, int kind) {
  oc_flaw flaw;
  return oc_history_append(history, kinds[kind], &flaw);
}

/* Appends a message for each digit. */
static void fill(oc_history *history, const char *digits) {
  oc_history_init(history);
  for(; *digits; digits++)
    CHECK_FOR(!append(history, *digits - '0'), "%s", digits);
}

static oc_code splice(oc_history *history, size_t at, size_t removed,
                      const char *digits, oc_flaw *flaw) {
  oc_message *list[300];
  size_t count;
  for(count = 0; digits[count]; count++)
    list[count] = kinds[digits[count] - '0'];
  return oc_history_splice(history, at, removed, list, count, flaw);
}

TEST(begins_empty) {
  oc_history history;
  oc_history copy;
  oc_slice id;
  size_t found;

  oc_history_init(&history);
  CHECK(history.count == 0 && history.bytes == 0);
  CHECK(oc_history_turn(&history, 5, &found) == 0 && found == 0);
  CHECK(oc_history_head(&history) == 0);
  CHECK(!oc_history_open_call(&history, &id));
  oc_history_cut(&history, 0);
  oc_history_fork(&history, &copy);
  CHECK(oc_history_same(&history, &copy));
  oc_history_free(&copy);
  oc_history_free(&history);
  oc_history_free(&history);
}

TEST(appends) {
  oc_history history;
  size_t bytes = 0;
  size_t i;

  make_kinds();
  oc_history_init(&history);
  for(i = 0; i < 1000; i++) {
    CHECK(!append(&history, i % 2 ? ANSWER : USER));
    bytes += strlen(texts[i % 2 ? ANSWER : USER]);
    CHECK(history.count == i + 1 && history.bytes == bytes);
  }
  for(i = 0; i < 1000; i++)
    CHECK(oc_history_at(&history, i) == kinds[i % 2 ? ANSWER : USER]);
  CHECK(kinds[USER]->refs == 501);
  oc_history_free(&history);
  free_kinds();
}

TEST(shares_until_both_go_on) {
  oc_history a;
  oc_history b;
  oc_history c;

  make_kinds();
  fill(&a, "01212");
  oc_history_fork(&a, &b);
  CHECK(oc_history_same(&a, &b));
  CHECK(kinds[USER]->refs == 3);          /* no message was copied */
  CHECK(!append(&b, USER));               /* in place */
  CHECK(!oc_history_same(&a, &b));
  CHECK(!strcmp(show(&a), "01212") && !strcmp(show(&b), "012121"));
  CHECK(!append(&a, SYSTEM));             /* must not hurt b */
  CHECK(!strcmp(show(&a), "012120") && !strcmp(show(&b), "012121"));
  oc_history_fork(&b, &c);
  oc_history_cut(&c, 3);
  CHECK(!append(&c, ANSWER));
  CHECK(!strcmp(show(&c), "0122") && !strcmp(show(&b), "012121"));
  oc_history_free(&b);
  CHECK(!strcmp(show(&a), "012120") && !strcmp(show(&c), "0122"));
  oc_history_free(&a);
  CHECK(!append(&c, ANSWER));
  CHECK(!strcmp(show(&c), "01222"));
  oc_history_free(&c);
  free_kinds();
}

TEST(adopts) {
  oc_history a;
  oc_history b;

  make_kinds();
  fill(&a, "12");
  oc_history_fork(&a, &b);
  CHECK(!append(&b, USER) && !append(&b, ANSWER));
  oc_history_adopt(&a, &b);
  CHECK(!strcmp(show(&a), "1212") && b.count == 0 && b.bytes == 0);
  CHECK(a.bytes == 2 * (strlen(texts[USER]) + strlen(texts[ANSWER])));
  oc_history_free(&b);
  CHECK(!strcmp(show(&a), "1212"));
  oc_history_free(&a);
  free_kinds();
}

TEST(cuts) {
  oc_history a;
  oc_history b;

  make_kinds();
  fill(&a, "01212");
  oc_history_fork(&a, &b);
  oc_history_cut(&a, 9);
  CHECK(a.count == 5);
  oc_history_cut(&a, 3);
  CHECK(!strcmp(show(&a), "012") && !strcmp(show(&b), "01212"));
  CHECK(a.bytes == strlen(texts[SYSTEM]) + strlen(texts[USER])
                   + strlen(texts[ANSWER]));
  oc_history_free(&b);
  CHECK(!append(&a, USER));
  CHECK(!strcmp(show(&a), "0121"));
  CHECK(kinds[ANSWER]->refs == 2);        /* what was cut is given back */
  oc_history_cut(&a, 0);
  CHECK(a.count == 0 && a.bytes == 0);
  CHECK(!append(&a, USER) && a.count == 1);
  oc_history_free(&a);
  free_kinds();
}

/* Which message may follow which list. */
TEST(keeps_calls_and_results_together) {
  static const struct {
    const char *list;
    int next;
    oc_code code;
    const char *id;
  } cases[] = {
    { "", RESULT_A, OC_E_ORPHAN, "a" },
    { "1", RESULT_A, OC_E_ORPHAN, "a" },
    { "12", RESULT_A, OC_E_ORPHAN, "a" },
    { "13", RESULT_A, OC_OK, "" },
    { "13", RESULT_A2, OC_OK, "" },
    { "13", RESULT_B, OC_E_ORPHAN, "b" },
    { "13", USER, OC_E_OPEN_CALL, "a" },
    { "13", ANSWER, OC_E_OPEN_CALL, "a" },
    { "13", SYSTEM, OC_E_OPEN_CALL, "a" },
    { "13", CALL_A, OC_E_OPEN_CALL, "a" },
    { "135", RESULT_A, OC_E_ORPHAN, "a" },
    { "135", RESULT_A2, OC_E_ORPHAN, "\\u0061" },
    { "135", USER, OC_OK, "" },
    { "135", ANSWER, OC_OK, "" },
    { "135", CALL_A, OC_OK, "" },
    { "14", RESULT_B, OC_OK, "" },
    { "14", USER, OC_E_OPEN_CALL, "\\u0061" },
    { "146", USER, OC_E_OPEN_CALL, "\\u0061" },
    { "145", USER, OC_E_OPEN_CALL, "b" },
    { "146", RESULT_B, OC_E_ORPHAN, "b" },
    { "1465", RESULT_A, OC_E_ORPHAN, "a" },
    { "1465", USER, OC_OK, "" },
    { "1456", ANSWER, OC_OK, "" },
    { "13523", RESULT_A, OC_OK, "" }
  };
  size_t i;

  make_kinds();
  for(i = 0; i < sizeof cases / sizeof *cases; i++) {
    oc_history history;
    oc_flaw flaw;
    oc_code code;
    size_t bytes;

    fill(&history, cases[i].list);
    bytes = history.bytes;
    code = oc_history_append(&history, kinds[cases[i].next], &flaw);
    CHECK_FOR(code == cases[i].code, "%d: %s", (int)i, oc_code_name(code));
    if(code) {
      CHECK(flaw.code == code && flaw.index == strlen(cases[i].list));
      CHECK_FOR(flaw.id.len == strlen(cases[i].id)
                && !memcmp(flaw.id.text, cases[i].id, flaw.id.len),
                "%d", (int)i);
      CHECK(!strcmp(show(&history), cases[i].list));
      CHECK(history.bytes == bytes);
    }
    oc_history_free(&history);
  }
  free_kinds();
}

TEST(names_the_open_call) {
  static const struct {
    const char *list;
    const char *id;
  } cases[] = {
    { "1", NULL }, { "12", NULL }, { "13", "a" }, { "135", NULL },
    { "14", "\\u0061" }, { "145", "b" }, { "146", "\\u0061" },
    { "1465", NULL }, { "13512", NULL }
  };
  size_t i;

  make_kinds();
  for(i = 0; i < sizeof cases / sizeof *cases; i++) {
    oc_history history;
    oc_slice id;
    int is_open;
    fill(&history, cases[i].list);
    is_open = oc_history_open_call(&history, &id);
    CHECK_FOR(is_open == (cases[i].id != NULL), "%s", cases[i].list);
    if(is_open && cases[i].id)
      CHECK_FOR(id.len == strlen(cases[i].id)
                && !memcmp(id.text, cases[i].id, id.len), "%s",
                cases[i].list);
    oc_history_free(&history);
  }
  free_kinds();
}

TEST(finds_turns_and_head) {
  static const struct {
    const char *list;
    size_t turns;
    size_t at;
    size_t found;
  } cases[] = {
    { "", 1, 0, 0 }, { "0", 1, 1, 0 }, { "02", 1, 2, 0 },
    { "1", 1, 0, 1 }, { "1", 0, 1, 0 }, { "1212", 1, 2, 1 },
    { "1212", 2, 0, 2 }, { "1212", 3, 0, 2 }, { "001212", 9, 2, 2 },
    { "013521", 1, 5, 1 }, { "013521", 2, 1, 2 }, { "11", 1, 1, 1 },
    { "02121", 5, 2, 2 }, { "01213", 1, 3, 1 }, { "0121465", 1, 3, 1 }
  };
  size_t i;
  oc_history history;

  make_kinds();
  for(i = 0; i < sizeof cases / sizeof *cases; i++) {
    size_t found = 99;
    size_t at;
    fill(&history, cases[i].list);
    at = oc_history_turn(&history, cases[i].turns, &found);
    CHECK_FOR(at == cases[i].at && found == cases[i].found, "%s, %d: %d %d",
              cases[i].list, (int)cases[i].turns, (int)at, (int)found);
    oc_history_free(&history);
  }
  fill(&history, "0010");
  CHECK(oc_history_head(&history) == 2);
  oc_history_free(&history);
  fill(&history, "10");
  CHECK(oc_history_head(&history) == 0);
  oc_history_free(&history);
  fill(&history, "00");
  CHECK(oc_history_head(&history) == 2);
  oc_history_free(&history);
  free_kinds();
}

TEST(splices) {
  static const struct {
    const char *list;
    size_t at;
    size_t removed;
    const char *insert;
    const char *result;       /* NULL: refused */
    oc_code code;
    size_t index;             /* of the flaw */
  } cases[] = {
    { "", 0, 0, "12", "12", OC_OK, 0 },
    { "", 0, 0, "", "", OC_OK, 0 },
    { "12", 0, 0, "0", "012", OC_OK, 0 },
    { "12", 2, 0, "12", "1212", OC_OK, 0 },
    { "1212", 1, 2, "2", "122", OC_OK, 0 },
    { "1212", 0, 4, "", "", OC_OK, 0 },
    { "12", 3, 0, "", NULL, OC_E_RANGE, 0 },
    { "12", 0, 3, "", NULL, OC_E_RANGE, 0 },
    { "12", 2, 1, "", NULL, OC_E_RANGE, 0 },
    { "12", 1, (size_t)-1, "", NULL, OC_E_RANGE, 0 },
    { "1352", 2, 1, "", NULL, OC_E_OPEN_CALL, 2 },
    { "1352", 1, 1, "", NULL, OC_E_ORPHAN, 1 },
    { "1352", 1, 2, "", "12", OC_OK, 0 },
    { "1352", 1, 1, "4", NULL, OC_E_OPEN_CALL, 3 },
    { "1352", 1, 1, "46", "14652", OC_OK, 0 },
    { "1352", 2, 0, "1", NULL, OC_E_OPEN_CALL, 2 },
    { "1352", 2, 1, "7", "1372", OC_OK, 0 },
    { "1352", 3, 1, "", "135", OC_OK, 0 },
    { "1352", 2, 2, "", "13", OC_OK, 0 },
    { "12", 1, 1, "5", NULL, OC_E_ORPHAN, 1 },
    { "12", 2, 0, "355", NULL, OC_E_ORPHAN, 4 }
  };
  size_t i;

  make_kinds();
  for(i = 0; i < sizeof cases / sizeof *cases; i++) {
    oc_history history;
    oc_history fork;
    oc_flaw flaw;
    oc_code code;
    size_t bytes;

    fill(&history, cases[i].list);
    bytes = history.bytes;
    oc_history_fork(&history, &fork);
    code = splice(&history, cases[i].at, cases[i].removed, cases[i].insert,
                  &flaw);
    CHECK_FOR(code == cases[i].code, "%d: %s", (int)i, oc_code_name(code));
    CHECK_FOR(!strcmp(show(&history), cases[i].result ? cases[i].result
                                                      : cases[i].list),
              "%d: %s", (int)i, show(&history));
    if(code == OC_E_ORPHAN || code == OC_E_OPEN_CALL)
      CHECK_FOR(flaw.index == cases[i].index, "%d: %d", (int)i,
                (int)flaw.index);
    if(code)
      CHECK(history.bytes == bytes && oc_history_same(&history, &fork));
    CHECK(!strcmp(show(&fork), cases[i].list) && fork.bytes == bytes);
    CHECK(!append(&fork, SYSTEM));
    oc_history_free(&history);
    oc_history_free(&fork);
  }
  free_kinds();
}

/* {==== what changed between two lists ==== */

static size_t tokens_of(const oc_history *history) {
  size_t sum = 0;
  size_t i;
  for(i = 0; i < history->count; i++)
    sum += oc_history_tokens_at(history, i);
  return sum;
}

TEST(adds_up_tokens) {
  oc_history a;
  oc_history b;
  oc_message *pinned;
  oc_flaw flaw;
  size_t before;

  make_kinds();
  oc_history_init(&a);
  CHECK(oc_history_tokens(&a) == 0);
  oc_history_free(&a);
  fill(&a, "01213512");
  CHECK(oc_history_tokens(&a) > 0 && oc_history_tokens(&a) == tokens_of(&a));
  oc_history_fork(&a, &b);
  CHECK(oc_history_tokens(&b) == oc_history_tokens(&a));
  CHECK(!splice(&b, 1, 2, "1", &flaw)
        && oc_history_tokens(&b) == tokens_of(&b));
  before = oc_history_tokens(&b);
  CHECK(splice(&b, 1, 1, "5", &flaw) == OC_E_ORPHAN
        && oc_history_tokens(&b) == before);
  CHECK(append(&b, RESULT_A) == OC_E_ORPHAN && oc_history_tokens(&b) == before);
  oc_history_cut(&b, 2);
  CHECK(oc_history_tokens(&b) == tokens_of(&b)
        && oc_history_tokens(&a) == tokens_of(&a));
  oc_history_adopt(&a, &b);
  CHECK(oc_history_tokens(&a) == tokens_of(&a) && oc_history_tokens(&b) == 0);
  oc_history_cut(&a, 0);
  CHECK(oc_history_tokens(&a) == 0);
  oc_history_free(&a);

  /* another count of one message is in all lists once they count again */
  fill(&a, "0122");
  oc_history_fork(&a, &b);
  CHECK(!append(&b, USER));
  oc_history_set_tokens(&a, 3, 1000, 7);
  CHECK(oc_message_tokens(kinds[ANSWER]) == 1000
        && kinds[ANSWER]->counter == 7);
  oc_history_recount(&a);
  oc_history_recount(&b);
  CHECK(oc_history_tokens(&a) == tokens_of(&a) && oc_history_tokens(&a) > 2000);
  CHECK(oc_history_tokens(&b) == tokens_of(&b));
  oc_history_set_tokens(&b, 0, 50, 7);
  CHECK(oc_history_tokens(&b) == tokens_of(&b));
  oc_history_recount(&a);

  /* replaced in one list alone */
  CHECK(!oc_message_flag(&pinned, kinds[USER], OC_FLAG_PINNED));
  CHECK(pinned->flags == OC_FLAG_PINNED && pinned->len == kinds[USER]->len
        && oc_message_tokens(pinned) == oc_message_tokens(kinds[USER]));
  CHECK(!oc_history_replace(&a, 1, pinned));
  CHECK(oc_history_at(&a, 1) == pinned && oc_history_at(&b, 1) == kinds[USER]);
  CHECK(oc_history_tokens(&a) == tokens_of(&a) && a.count == 4);
  oc_history_free(&b);
  CHECK(!oc_history_replace(&a, 1, kinds[USER]));       /* in place */
  CHECK(oc_history_tokens(&a) == tokens_of(&a) && !strcmp(show(&a), "0122"));
  CHECK(pinned->refs == 1);
  oc_message_unref(pinned);
  oc_history_free(&a);
  oc_history_recount(&a);
  CHECK(oc_history_tokens(&a) == 0);
  free_kinds();
}

TEST(compares) {
  static const struct {
    const char *base;
    const char *edited;
    size_t common;
    size_t at;
    size_t removed;
    size_t added;
  } cases[] = {
    { "", "", 0, 0, 0, 0 },
    { "", "12", 0, 0, 0, 2 },
    { "12", "", 0, 0, 2, 0 },
    { "012", "012", 3, 3, 0, 0 },
    { "012", "01212", 3, 3, 0, 2 },
    { "01212", "012", 3, 3, 2, 0 },
    { "0121352", "01352", 2, 2, 2, 0 },
    { "012", "0212", 1, 1, 0, 1 },
    { "0112", "012", 2, 2, 1, 0 },
    { "012", "0112", 2, 2, 0, 1 },
    { "1122", "2211", 0, 0, 4, 4 },
    { "012012", "002", 1, 1, 4, 1 }
  };
  size_t i;

  make_kinds();
  for(i = 0; i < sizeof cases / sizeof *cases; i++) {
    oc_history base;
    oc_history edited;
    oc_edit edit;
    oc_flaw flaw;
    fill(&base, cases[i].base);
    fill(&edited, cases[i].edited);
    CHECK_FOR(oc_history_common(&base, &edited) == cases[i].common, "%d",
              (int)i);
    CHECK_FOR(oc_history_common(&edited, &base) == cases[i].common, "%d",
              (int)i);
    oc_history_diff(&base, &edited, &edit);
    CHECK_FOR(edit.at == cases[i].at && edit.removed == cases[i].removed
              && edit.added == cases[i].added, "%d: %d %d %d", (int)i,
              (int)edit.at, (int)edit.removed, (int)edit.added);
    /* what the edit says makes the one out of the other */
    CHECK(!oc_history_patch(&base, &base, &edited, &flaw));
    CHECK_FOR(!strcmp(show(&base), cases[i].edited), "%d: %s", (int)i,
              show(&base));
    CHECK(oc_history_tokens(&base) == tokens_of(&base));
    oc_history_free(&base);
    oc_history_free(&edited);
  }
  free_kinds();
}


/* Messages that are all different, a letter each: user and assistant in turn,
   X a call and Y its result. */
static oc_message *letters[26];

static void make_letters(void) {
  int i;
  for(i = 0; i < 26; i++) {
    char text[200];
    if(i == 'X' - 'A' || i == 'Y' - 'A')
      strcpy(text, texts[i == 'X' - 'A' ? CALL_A : RESULT_A]);
    else
      sprintf(text, "{\"role\":\"%s\",\"content\":\"%.*s\"}",
              i % 2 ? "assistant" : "user", i + 1,
              "abcdefghijklmnopqrstuvwxyz");
    CHECK(!oc_message_json(&letters[i], text, strlen(text), NULL));
  }
}

static void free_letters(void) {
  int i;
  for(i = 0; i < 26; i++) {
    CHECK_FOR(letters[i]->refs == 1, "%c", 'A' + i);
    CHECK_FOR(!letters[i]->mark, "%c", 'A' + i);
    oc_message_unref(letters[i]);
  }
}

/* A list with a message for each letter; a space is left out. */
static void spell(oc_history *history, const char *word) {
  oc_flaw flaw;
  oc_history_init(history);
  for(; *word; word++) {
    if(*word != ' ')
      CHECK_FOR(!oc_history_append(history, letters[*word - 'A'], &flaw),
                "%c", *word);
  }
}

static const char *word_of(const oc_history *history) {
  static char word[4][100];
  static int turn;
  char *at = word[turn++ % 4];
  size_t i;
  for(i = 0; i < history->count && i < 99; i++) {
    int k;
    for(k = 0; k < 26 && letters[k] != oc_history_at(history, i); k++) {
    }
    at[i] = (char)('A' + k);
  }
  at[i] = '\0';
  return at;
}

TEST(tells_what_is_missing) {
  static const struct {
    const char *base;
    const char *edited;
    const char *missing;        /* digits: indexes */
  } cases[] = {
    { "", "", "" }, { "", "AB", "" }, { "ABC", "", "012" },
    { "ABC", "ABC", "" }, { "ABCD", "AC", "13" }, { "ABCD", "DCBA", "" },
    { "AXYB", "AB", "12" }, { "ABCD", "AEFD", "12" }, { "AAB", "AB", "" },
    { "AAB", "B", "01" }
  };
  size_t i;

  make_kinds();
  make_letters();
  for(i = 0; i < sizeof cases / sizeof *cases; i++) {
    oc_history base;
    oc_history edited;
    size_t indexes[10];
    char found[11];
    size_t count;
    size_t k;
    spell(&base, cases[i].base);
    spell(&edited, cases[i].edited);
    count = oc_history_missing(&base, &edited, indexes);
    for(k = 0; k < count; k++)
      found[k] = (char)('0' + indexes[k]);
    found[count] = '\0';
    CHECK_FOR(!strcmp(found, cases[i].missing), "%d: %s", (int)i, found);
    oc_history_free(&base);
    oc_history_free(&edited);
  }
  free_letters();
  free_kinds();
}

TEST(patches) {
  static const struct {
    const char *base;
    const char *edited;
    const char *list;         /* what became of base meanwhile */
    const char *result;       /* NULL: refused */
    oc_code code;
  } cases[] = {
    /* gone on */
    { "ABCDEF", "AEF", "ABCDEFGH", "AEFGH", OC_OK },
    { "ABCDEF", "ASEF", "ABCDEFGHIJ", "ASEFGHIJ", OC_OK },
    /* lost its tail, but not what was edited */
    { "ABCDEF", "AEF", "ABCD", "A", OC_OK },
    { "ABCDEF", "ASEF", "ABCDGH", "ASGH", OC_OK },
    /* lost a part of what was edited, or all of it */
    { "ABCDEF", "ASEF", "ABC", NULL, OC_E_CHANGED },
    { "ABCDEF", "ASEF", "A", NULL, OC_E_CHANGED },
    { "ABCDEF", "ASEF", "", NULL, OC_E_CHANGED },
    { "ABCDEF", "ASEF", "ABCGEF", NULL, OC_E_CHANGED },
    { "ABCDEF", "ASEF", "ABGCDEF", NULL, OC_E_CHANGED },
    { "ABCDEF", "ASEF", "ADCBEF", NULL, OC_E_CHANGED },
    /* edited elsewhere: it is found where it stands now */
    { "ABCDEF", "ASEF", "GHABCDEF", "GHASEF", OC_OK },
    { "ABCDEF", "ASEF", "BCDEF", "SEF", OC_OK },
    { "ABCDEF", "ASEF", "ABCDGF", "ASGF", OC_OK },
    { "ABCDEF", "ASEF", "BCD", "S", OC_OK },
    /* turns with others between them went */
    { "ABCDEF", "ACF", "ABCDEFG", "ACFG", OC_OK },
    { "ABCDEF", "ACF", "ABGCDEF", NULL, OC_E_CHANGED },
    /* all of it */
    { "ABCD", "", "ABCD", "", OC_OK },
    { "ABCD", "", "ABCDEF", "EF", OC_OK },
    { "ABCD", "S", "EFABCD", "EFS", OC_OK },
    { "ABCD", "EFGH", "ABCDIJ", "EFGHIJ", OC_OK },
    /* it only adds */
    { "ABCD", "ASBCD", "ABCDEF", "ASBCDEF", OC_OK },
    { "ABCD", "SABCD", "ABCDEF", "SABCDEF", OC_OK },
    { "ABCD", "SABCD", "EF", "SEF", OC_OK },
    { "ABCD", "ABCDS", "ABCDEF", "ABCDSEF", OC_OK },
    { "ABCD", "ABCSD", "AB", NULL, OC_E_CHANGED },
    { "ABCD", "ABSCD", "AB", "ABS", OC_OK },
    { "ABCD", "ABSCD", "ACD", NULL, OC_E_CHANGED },
    { "", "AB", "", "AB", OC_OK },
    { "", "AB", "CD", "ABCD", OC_OK },
    { "", "", "AB", "AB", OC_OK },
    { "AB", "AB", "CD", "CD", OC_OK },
    { "AB", "", "", NULL, OC_E_CHANGED },
    /* what would come of it is no list to be sent */
    { "ABEXY", "A", "ABEXYCD", "ACD", OC_OK },
    { "ABEX", "ABSX", "ABEXY", "ABSXY", OC_OK },
    { "ABEX", "ABE", "ABEXY", NULL, OC_E_ORPHAN },
    { "AB", "ABX", "ABCD", NULL, OC_E_OPEN_CALL }
  };
  size_t i;

  make_kinds();
  make_letters();
  for(i = 0; i < sizeof cases / sizeof *cases; i++) {
    oc_history base;
    oc_history edited;
    oc_history list;
    oc_history before;
    oc_flaw flaw;
    oc_code code;

    spell(&base, cases[i].base);
    spell(&edited, cases[i].edited);
    spell(&list, cases[i].list);
    oc_history_fork(&list, &before);
    code = oc_history_patch(&list, &base, &edited, &flaw);
    CHECK_FOR(code == cases[i].code, "%d: %s", (int)i, oc_code_name(code));
    CHECK_FOR(!strcmp(word_of(&list), cases[i].result ? cases[i].result
                                                      : cases[i].list),
              "%d: %s", (int)i, word_of(&list));
    CHECK(oc_history_tokens(&list) == tokens_of(&list));
    if(code)
      CHECK(oc_history_same(&list, &before) && list.bytes == before.bytes);
    CHECK(!strcmp(word_of(&before), cases[i].list));
    oc_history_free(&base);
    oc_history_free(&edited);
    oc_history_free(&list);
    oc_history_free(&before);
  }
  free_letters();
  free_kinds();
}

/* What is a fork of the base in truth, and has gone on in the same vector. */
TEST(patches_forks) {
  oc_history chat;
  oc_history base;
  oc_history draft;
  oc_flaw flaw;
  oc_message *summary;

  make_kinds();
  make_letters();
  summary = letters['S' - 'A'];
  spell(&chat, "ABCDEF");
  oc_history_fork(&chat, &base);
  oc_history_fork(&chat, &draft);
  CHECK(!oc_history_splice(&draft, 0, 4, &summary, 1, &flaw));
  CHECK(!oc_history_append(&chat, letters['G' - 'A'], &flaw));
  CHECK(!oc_history_append(&chat, letters['H' - 'A'], &flaw));
  CHECK(oc_history_common(&chat, &base) == 6);
  CHECK(!oc_history_patch(&chat, &base, &draft, &flaw));
  CHECK(!strcmp(word_of(&chat), "SEFGH"));
  CHECK(!strcmp(word_of(&base), "ABCDEF"));
  /* once more: what it is about has gone */
  CHECK(oc_history_patch(&chat, &base, &draft, &flaw) == OC_E_CHANGED);
  CHECK(!strcmp(word_of(&chat), "SEFGH"));
  oc_history_free(&chat);
  oc_history_fork(&base, &chat);
  CHECK(!oc_history_patch(&chat, &base, &draft, &flaw));
  CHECK(oc_history_same(&chat, &draft));
  oc_history_free(&chat);
  oc_history_free(&base);
  oc_history_free(&draft);
  free_letters();
  free_kinds();
}

/* }==== */

/* Taking a part of a list is appending its messages one after another. */
TEST(takes_parts) {
  static const char *const lists[] = { "", "1", "13", "14", "146", "1465" };
  static const char source[] = "0121351246513";
  size_t i;
  size_t at;
  size_t count;

  make_kinds();
  for(i = 0; i < sizeof lists / sizeof *lists; i++) {
    for(at = 0; at < sizeof source - 1; at++) {
      for(count = 0; count <= sizeof source - 1 - at; count++) {
        oc_history from;
        oc_history list;
        oc_history model;
        oc_flaw flaw;
        oc_code code;
        oc_code expected = OC_OK;
        size_t k;

        fill(&from, source);
        fill(&list, lists[i]);
        fill(&model, lists[i]);
        for(k = 0; k < count && !expected; k++)
          expected = append(&model, source[at + k] - '0');
        code = oc_history_take(&list, &from, at, count, &flaw);
        CHECK_FOR(code == expected, "%d %d %d", (int)i, (int)at, (int)count);
        CHECK_FOR(!strcmp(show(&list), show(&model)), "%d %d %d", (int)i,
                  (int)at, (int)count);
        CHECK(list.bytes == model.bytes
              && oc_history_tokens(&list) == oc_history_tokens(&model));
        if(code)
          CHECK(flaw.code == code && flaw.index == list.count);
        CHECK(!strcmp(show(&from), source));
        oc_history_free(&from);
        oc_history_free(&list);
        oc_history_free(&model);
      }
    }
  }
  free_kinds();
}

/* {==== against a model ==== */

#define FORKS 7
#define MAX_LIST 60

static unsigned long seed;

static unsigned roll(unsigned sides) {
  seed = seed * 6364136223846793005UL + 1442695040888963407UL;
  return (unsigned)(seed >> 33) % sides;
}

/* The rules once more, without any cleverness: read from the first on. */
static int is_valid(const char *digits) {
  int has_a = 0;
  int has_b = 0;
  for(; *digits; digits++) {
    int kind = *digits - '0';
    if(kind == RESULT_A || kind == RESULT_A2) {
      if(!has_a)
        return 0;
      has_a = 0;
    }
    else if(kind == RESULT_B) {
      if(!has_b)
        return 0;
      has_b = 0;
    }
    else if(has_a || has_b)
      return 0;
    else if(kind == CALL_A)
      has_a = 1;
    else if(kind == CALL_AB)
      has_a = has_b = 1;
  }
  return 1;
}

static void check_model(oc_history *history, const char *model) {
  size_t bytes = 0;
  size_t tokens = 0;
  size_t i;
  CHECK_FOR(!strcmp(show(history), model), "%s instead of %s", show(history),
            model);
  for(i = 0; model[i]; i++) {
    bytes += strlen(texts[model[i] - '0']);
    tokens += oc_message_tokens(kinds[model[i] - '0']);
  }
  CHECK(history->bytes == bytes && oc_history_tokens(history) == tokens);
}

/* One random change of one list and of its model. */
static void change(oc_history *history, char *model) {
  char wanted[2 * MAX_LIST + 10];
  size_t len = strlen(model);
  size_t at = roll((unsigned)len + 1);
  size_t removed = roll((unsigned)(len - at) + 1);
  char insert[6];
  size_t count = roll(6);
  oc_flaw flaw;
  size_t i;

  switch(roll(len > MAX_LIST ? 2 : 10)) {
  case 0:
    oc_history_cut(history, at);
    model[at] = '\0';
    break;
  case 1:
    oc_history_cut(history, len - len / 8);
    model[len - len / 8] = '\0';
    break;
  case 2:
  case 3:
    if(roll(2))
      removed = removed < 3 ? removed : 3;
    for(i = 0; i < count; i++)
      insert[i] = (char)('0' + roll(KINDS));
    insert[count] = '\0';
    sprintf(wanted, "%.*s%s%s", (int)at, model, insert, model + at + removed);
    if(is_valid(wanted)) {
      CHECK(!splice(history, at, removed, insert, &flaw));
      strcpy(model, wanted);
    }
    else {
      CHECK(splice(history, at, removed, insert, &flaw) == flaw.code);
      CHECK(flaw.code);
      CHECK(flaw.index < strlen(wanted));
      /* up to the message at fault all is well, with it nothing is */
      wanted[flaw.index + 1] = '\0';
      CHECK_FOR(!is_valid(wanted), "%s", wanted);
      wanted[flaw.index] = '\0';
      CHECK_FOR(is_valid(wanted), "%s", wanted);
    }
    break;
  default:
    sprintf(wanted, "%s%d", model, (int)roll(KINDS));
    CHECK((append(history, wanted[len] - '0') == OC_OK) == is_valid(wanted));
    if(is_valid(wanted))
      strcpy(model, wanted);
  }
}

TEST(behaves_like_its_model) {
  int round;
  make_kinds();
  for(round = 0; round < 40; round++) {
    oc_history lists[FORKS];
    char models[FORKS][2 * MAX_LIST + 10];
    int step;
    int i;

    seed = (unsigned long)round;
    for(i = 0; i < FORKS; i++) {
      oc_history_init(&lists[i]);
      models[i][0] = '\0';
    }
    for(step = 0; step < 1500; step++) {
      int a = (int)roll(FORKS);
      int b = (int)roll(FORKS);
      switch(roll(12)) {
      case 0:
        if(a != b) {
          oc_history_free(&lists[b]);
          oc_history_fork(&lists[a], &lists[b]);
          memmove(models[b], models[a], sizeof models[a]);
          CHECK(oc_history_same(&lists[a], &lists[b]));
        }
        break;
      case 1:
        if(a != b) {
          oc_history_adopt(&lists[a], &lists[b]);
          memmove(models[a], models[b], sizeof models[a]);
          models[b][0] = '\0';
        }
        break;
      case 2:
        if(!roll(10)) {
          oc_history_free(&lists[a]);
          models[a][0] = '\0';
        }
        break;
      default:
        change(&lists[a], models[a]);
      }
      check_model(&lists[a], models[a]);
      check_model(&lists[b], models[b]);
      if(step % 50 == 0) {
        for(i = 0; i < FORKS; i++)
          check_model(&lists[i], models[i]);
      }
      if(oc_history_same(&lists[a], &lists[b]))
        CHECK(!strcmp(models[a], models[b]));
    }
    for(i = 0; i < FORKS; i++) {
      check_model(&lists[i], models[i]);
      oc_history_free(&lists[i]);
    }
    for(i = 0; i < KINDS; i++)
      CHECK(kinds[i]->refs == 1);
  }
  free_kinds();
}

/* }==== */

TEST(survives_lack_of_memory) {
  oc_history a;
  oc_history b;
  oc_flaw flaw;

  make_kinds();
  oc_set_allocator(&counting);
  blocks = 0;
  allocations_left = 0;
  oc_history_init(&a);
  CHECK(append(&a, USER) == OC_E_NOMEM && a.count == 0 && a.bytes == 0);
  allocations_left = 1;
  while(!append(&a, USER)) {
  }
  CHECK(a.count >= 8);                       /* full, and not to be grown */
  CHECK(kinds[USER]->refs == a.count + 1);
  oc_history_fork(&a, &b);
  CHECK(append(&b, USER) == OC_E_NOMEM && oc_history_same(&a, &b));
  CHECK(splice(&a, 0, 1, "", &flaw) == OC_E_NOMEM);
  CHECK(oc_history_same(&a, &b));
  CHECK(kinds[USER]->refs == a.count + 1);
  oc_history_cut(&a, 1);
  CHECK(append(&a, USER) == OC_E_NOMEM && a.count == 1);
  oc_history_free(&a);
  oc_history_free(&b);
  CHECK(blocks == 0);
  oc_set_allocator(&standard);
  free_kinds();
}

TEST(edits_without_memory) {
  int budget;

  make_kinds();
  make_letters();
  oc_set_allocator(&counting);
  for(budget = 0; budget < 3; budget++) {
    oc_history base;
    oc_history edited;
    oc_history list;
    oc_history before;
    oc_flaw flaw;
    oc_message *pinned = NULL;
    size_t tokens;
    oc_code code;

    blocks = 0;
    allocations_left = 100;
    spell(&base, "ABCDEF");
    spell(&edited, "ASEF");
    spell(&list, "ABCDEFGH");
    oc_history_fork(&list, &before);
    tokens = oc_history_tokens(&list);

    allocations_left = budget;
    code = oc_history_patch(&list, &base, &edited, &flaw);
    CHECK_FOR(code == (budget ? OC_OK : OC_E_NOMEM), "%d", budget);
    CHECK(!strcmp(word_of(&list), code ? "ABCDEFGH" : "ASEFGH"));
    CHECK(oc_history_tokens(&list) == tokens_of(&list));
    CHECK(oc_history_tokens(&before) == tokens && before.count == 8);

    allocations_left = budget;
    code = oc_message_flag(&pinned, letters[0], OC_FLAG_PINNED);
    CHECK_FOR(code == (budget ? OC_OK : OC_E_NOMEM), "%d", budget);
    if(!code) {
      /* the list is shared, so replacing takes a vector */
      oc_history other;
      oc_history_fork(&before, &other);
      code = oc_history_replace(&before, 0, pinned);
      CHECK_FOR(code == (budget > 1 ? OC_OK : OC_E_NOMEM), "%d", budget);
      CHECK(!strcmp(word_of(&other), "ABCDEFGH"));
      CHECK(oc_history_tokens(&before) == tokens && before.count == 8);
      oc_history_free(&other);
      oc_message_unref(pinned);
    }
    oc_history_free(&base);
    oc_history_free(&edited);
    oc_history_free(&list);
    oc_history_free(&before);
    CHECK_FOR(blocks == 0, "%d: %d", budget, blocks);
  }
  oc_set_allocator(&standard);
  free_letters();
  free_kinds();
}

int main(void) {
  RUN(begins_empty);
  RUN(appends);
  RUN(shares_until_both_go_on);
  RUN(adopts);
  RUN(cuts);
  RUN(keeps_calls_and_results_together);
  RUN(names_the_open_call);
  RUN(finds_turns_and_head);
  RUN(splices);
  RUN(adds_up_tokens);
  RUN(compares);
  RUN(tells_what_is_missing);
  RUN(patches);
  RUN(patches_forks);
  RUN(takes_parts);
  RUN(behaves_like_its_model);
  RUN(edits_without_memory);
  RUN(survives_lack_of_memory);
  return test_report();
}
