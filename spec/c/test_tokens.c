#include "test.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../src/oc_buf.h"
#include "../../src/oc_json.h"
#include "../../src/oc_tokens.h"

/* Text of each kind, with the counts of o200k_base. */
static const struct {
  const char *name;
  const char *text;
  unsigned tokens;
} samples[] = {
  {"English",
   "The library opens at nine in the morning and closes when the last "
   "reader has gone home.", 18},
  {"a question",
   "Hi! Could you explain what a vector is, and give me a short example in "
   "3D?", 21},
  {"German",
   "Die Bibliothek öffnet um neun Uhr morgens und schließt, wenn der letzte "
   "Leser nach Hause gegangen ist. Wer ein Buch behalten möchte, sagt es an "
   "der Theke und bekommt zwei weitere Wochen.", 40},
  {"French",
   "La bibliothèque ouvre à neuf heures du matin et ferme quand le dernier "
   "lecteur est rentré chez lui.", 20},
  {"Spanish",
   "La biblioteca abre a las nueve de la mañana y cierra cuando el último "
   "lector se ha ido a casa.", 22},
  {"Russian",
   "Библиотека открывается в девять часов утра и закрывается, когда "
   "последний читатель уходит домой.", 23},
  {"Greek",
   "Η βιβλιοθήκη ανοίγει στις εννέα το πρωί και κλείνει όταν ο τελευταίος "
   "αναγνώστης πάει σπίτι του.", 34},
  {"Arabic",
   "تفتح المكتبة في الساعة التاسعة صباحا وتغلق عندما يعود آخر قارئ إلى "
   "بيته.", 22},
  {"Hebrew",
   "הספרייה נפתחת בתשע בבוקר ונסגרת כאשר הקורא האחרון הולך הביתה.", 22},
  {"Hindi",
   "पुस्तकालय सुबह नौ बजे खुलता है और जब आखिरी पाठक घर चला जाता है तब "
   "बंद होता है।", 26},
  {"Chinese",
   "图书馆早上九点开门，最后一位读者回家以后才关门。如果你想多借几天，"
   "请在柜台告诉我们，可以再借两个星期。", 40},
  {"Japanese",
   "図書館は朝の九時に開き、最後の読者が家に帰ると閉まります。", 26},
  {"Korean",
   "도서관은 아침 아홉 시에 열고 마지막 독자가 집에 돌아가면 닫습니다. "
   "책을 더 오래 빌리고 싶으면 창구에서 말씀해 주시면 두 주를 더 드립니다.",
   48},
  {"Thai",
   "ห้องสมุดเปิดเวลาเก้าโมงเช้าและปิดเมื่อผู้อ่านคนสุดท้ายกลับบ้าน", 24},
  {"code",
   "static int add(int a, int b) {\n  if(a > INT_MAX - b)\n"
   "    return INT_MAX;\n  return a + b;\n}\n\n"
   "for(i = 0; i < count; i++)\n  total = add(total, values[i]);\n", 52},
  {"JSON",
   "{\"model\":\"gpt-5-mini\",\"messages\":[{\"role\":\"user\","
   "\"content\":\"Hello\"}],\"temperature\":0.5,\"stream\":true,"
   "\"max_tokens\":1024,\"tools\":[]}", 40},
};

#define SAMPLES (sizeof samples / sizeof *samples)

static size_t count_raw(const char *raw, size_t len) {
  oc_tokens tokens;
  oc_slice slice;

  slice.text = raw;
  slice.len = len;
  oc_tokens_init(&tokens);
  oc_tokens_add_raw(&tokens, slice);
  return oc_tokens_count(&tokens);
}

TEST(no_text_is_nothing_and_any_text_is_something) {
  oc_tokens tokens;

  CHECK(oc_tokens_text("", 0) == 0);
  CHECK(oc_tokens_text(NULL, 0) == 0);
  CHECK(count_raw(NULL, 0) == 0);
  oc_tokens_init(&tokens);
  CHECK(oc_tokens_count(&tokens) == 0);
  oc_tokens_add(&tokens, "", 0);
  CHECK(oc_tokens_count(&tokens) == 0);
  CHECK(oc_tokens_text(" ", 1) == 1);
  CHECK(oc_tokens_text("\n", 1) == 1);
  CHECK(oc_tokens_text("a", 1) == 1);
  CHECK(oc_tokens_text("\0", 1) >= 1);
  CHECK(count_raw("\\n", 2) == 1);
}

TEST(is_near_the_truth) {
  double all = 0;
  size_t i;

  for(i = 0; i < SAMPLES; i++) {
    double count = (double)oc_tokens_text(samples[i].text,
                                          strlen(samples[i].text));
    double off = count / samples[i].tokens - 1;

    /* One sentence says little: a token more or less is 5 % of it. */
    CHECK_FOR(off > -0.15 && off < 0.15, "%s: %g of %u", samples[i].name,
              count, samples[i].tokens);
    all += off < 0 ? -off : off;
  }
  CHECK_FOR(all / SAMPLES < 0.1, "all: %g", all / SAMPLES);
}

TEST(is_the_same_wherever_the_text_is_cut) {
  size_t i;

  for(i = 0; i < SAMPLES; i++) {
    const char *text = samples[i].text;
    size_t len = strlen(text);
    size_t whole = oc_tokens_text(text, len);
    oc_tokens bytewise;
    size_t at;

    oc_tokens_init(&bytewise);
    for(at = 0; at <= len; at++) {
      oc_tokens tokens;

      oc_tokens_init(&tokens);
      oc_tokens_add(&tokens, text, at);
      /* Asking in between changes nothing. */
      oc_tokens_count(&tokens);
      oc_tokens_add(&tokens, text + at, len - at);
      CHECK_FOR(oc_tokens_count(&tokens) == whole, "%s at %lu",
                samples[i].name, (unsigned long)at);
      if(at < len)
        oc_tokens_add(&bytewise, text + at, 1);
    }
    CHECK(oc_tokens_count(&bytewise) == whole);
  }
}

/* Writes everything above 0x7E as escapes as well. */
static void escape_all(oc_buf *out, const char *text) {
  const unsigned char *at = (const unsigned char *)text;

  while(*at) {
    unsigned long point = *at++;
    char unit[48];
    int more = point < 0xC0 ? 0 : point < 0xE0 ? 1 : point < 0xF0 ? 2 : 3;

    if(more)
      point &= 0x3FUL >> more;
    for(; more; more--)
      point = point << 6 | (*at++ & 0x3F);
    if(point >= 0x10000)
      sprintf(unit, "\\u%04lX\\u%04lx", 0xD800 + ((point - 0x10000) >> 10),
              0xDC00 + (point & 0x3FF));
    else
      sprintf(unit, "\\u%04lx", point);
    CHECK(!oc_buf_puts(out, unit));
  }
}

static void check_raw(const char *raw, size_t len, size_t expected) {
  size_t at;

  CHECK_FOR(count_raw(raw, len) == expected, "%.*s", (int)len, raw);
  for(at = 0; at <= len; at++) {
    oc_tokens tokens;
    oc_slice part;

    oc_tokens_init(&tokens);
    part.text = raw;
    part.len = at;
    oc_tokens_add_raw(&tokens, part);
    oc_tokens_count(&tokens);
    part.text = raw + at;
    part.len = len - at;
    oc_tokens_add_raw(&tokens, part);
    CHECK_FOR(oc_tokens_count(&tokens) == expected, "%.*s at %lu", (int)len,
              raw, (unsigned long)at);
  }
}

TEST(counts_what_escapes_stand_for) {
  static const char mixed[] =
    "a \"quoted\" word,\ta tab\r\n\nand \\ back/slash \b\f\x01 é 图 "
    "\xF0\x9F\x98\x80\xF0\x9F\x9A\x80 end";
  oc_buf out;
  size_t i;

  oc_buf_init(&out, 100000);
  for(i = 0; i <= SAMPLES; i++) {
    const char *text = i < SAMPLES ? samples[i].text : mixed;
    size_t len = strlen(text);
    size_t expected = oc_tokens_text(text, len);

    oc_buf_clear(&out);
    CHECK(!oc_json_write_string(&out, text, len));
    check_raw(out.data + 1, out.len - 2, expected);
    oc_buf_clear(&out);
    escape_all(&out, text);
    check_raw(out.data, out.len, expected);
  }
  check_raw("a\\/b", 4, oc_tokens_text("a/b", 3));
  oc_buf_free(&out);
}

TEST(plain_and_raw_pieces_may_alternate) {
  oc_tokens tokens;
  oc_slice raw = {"\\u00e9 one\\ntwo", 15};

  oc_tokens_init(&tokens);
  oc_tokens_add(&tokens, "caf", 3);
  oc_tokens_add_raw(&tokens, raw);
  oc_tokens_add(&tokens, " three", 6);
  CHECK(oc_tokens_count(&tokens)
        == oc_tokens_text("café one\ntwo three", 19));
}

/* Each text costs what it does with U+FFFD in the place of what is wrong. */
TEST(takes_what_is_not_utf8) {
  static const struct {
    const char *bad;
    const char *good;
  } cases[] = {
    {"a\x80" "b", "a\xEF\xBF\xBD" "b"},
    {"a\xFF\xFE" "b", "a\xEF\xBF\xBD\xEF\xBF\xBD" "b"},
    {"a\xC3", "a\xEF\xBF\xBD"},
    {"a\xC3" "b", "a\xEF\xBF\xBD" "b"},
    {"a\xE2\x82", "a\xEF\xBF\xBD"},
    {"a\xE2\x82" "bcd", "a\xEF\xBF\xBD" "bcd"},
    {"a\xF0\x9F\x98 b", "a\xEF\xBF\xBD b"},
    {"a\xC3\xC3\xA9", "a\xEF\xBF\xBDé"},
    {"\xED\xA0\x80", "\xEF\xBF\xBD"},
    {"\xE0\x80\xAF", "\xEF\xBF\xBD"},
    {"\xF4\x90\x80\x80", "\xEF\xBF\xBD"},
    {"\xF0\x80\x80\xAF", "\xEF\xBF\xBD"},
    {"\xC1", "\xEF\xBF\xBD"},
    {"\xF5", "\xEF\xBF\xBD"},
  };
  static const struct {
    const char *raw;
    const char *good;
  } escapes[] = {
    {"a\\uD83D", "a\xEF\xBF\xBD"},
    {"a\\uD83Db", "a\xEF\xBF\xBD" "b"},
    {"a\\uD83D\\n", "a\xEF\xBF\xBD\n"},
    {"a\\uD83D\\uD83D\\uDE00", "a\xEF\xBF\xBD\xF0\x9F\x98\x80"},
    {"a\\uD83D\\u0041", "a\xEF\xBF\xBD" "A"},
    {"a\\uDE00", "a\xEF\xBF\xBD"},
    {"a\xC3\\n", "a\xEF\xBF\xBD\n"},
    {"a\\", "a\xEF\xBF\xBD"},
    {"a\\u12", "a\xEF\xBF\xBD"},
    {"a\\u12xy", "a\xEF\xBF\xBDxy"},
  };
  size_t i;

  for(i = 0; i < sizeof cases / sizeof *cases; i++)
    CHECK_FOR(oc_tokens_text(cases[i].bad, strlen(cases[i].bad))
              == oc_tokens_text(cases[i].good, strlen(cases[i].good)),
              "case %lu", (unsigned long)i);
  for(i = 0; i < sizeof escapes / sizeof *escapes; i++)
    check_raw(escapes[i].raw, strlen(escapes[i].raw),
              oc_tokens_text(escapes[i].good, strlen(escapes[i].good)));
}

TEST(takes_any_bytes) {
  char bytes[4096];
  unsigned seed = 1;
  int round;

  for(round = 0; round < 200; round++) {
    oc_tokens tokens;
    size_t cut;
    size_t whole;
    size_t i;

    for(i = 0; i < sizeof bytes; i++) {
      seed = seed * 1103515245u + 12345u;
      /* every other round mostly the bytes that matter to the decoders */
      bytes[i] = round & 1 ? "\\uD8dC\xE2\xF0\x9F\x80n"[seed >> 16 & 7]
                           : (char)(seed >> 16);
    }
    cut = (seed >> 8) % sizeof bytes;
    whole = oc_tokens_text(bytes, sizeof bytes);
    oc_tokens_init(&tokens);
    oc_tokens_add(&tokens, bytes, cut);
    oc_tokens_add(&tokens, bytes + cut, sizeof bytes - cut);
    CHECK(oc_tokens_count(&tokens) == whole);
    CHECK(whole > 0 && whole < 4 * sizeof bytes);
    whole = count_raw(bytes, sizeof bytes);
    oc_tokens_init(&tokens);
    oc_tokens_add_raw(&tokens, (oc_slice){bytes, cut});
    oc_tokens_add_raw(&tokens, (oc_slice){bytes + cut, sizeof bytes - cut});
    CHECK(oc_tokens_count(&tokens) == whole);
  }
}

/* A megabyte of one thing: the count is sane, and soon there. */
TEST(takes_huge_runs) {
  static const struct {
    const char *unit;
    double least;       /* tokens per character */
    double most;
  } runs[] = {
    {"a", 0.05, 0.5},
    {" ", 0, 0.1},
    {"\n", 0, 0.3},
    {"-", 0, 0.1},
    {"7", 0.3, 0.36},
    {"\xF0\x9F\x98\x80", 0.3, 2},
    {"的", 0.3, 2},
    {"\xFF", 0.1, 3},
  };
  size_t size = 1 << 20;
  char *text = malloc(size);
  size_t i;

  CHECK(text != NULL);
  for(i = 0; text && i < sizeof runs / sizeof *runs; i++) {
    size_t len = strlen(runs[i].unit);
    size_t times = size / len;
    clock_t start;
    double count;
    double seconds;
    size_t at;

    for(at = 0; at < times; at++)
      memcpy(text + at * len, runs[i].unit, len);
    start = clock();
    count = (double)oc_tokens_text(text, times * len) / (double)times;
    seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    CHECK_FOR(count >= runs[i].least && count <= runs[i].most,
              "run %lu: %g", (unsigned long)i, count);
    /* Milliseconds; minutes, were it not linear. */
    CHECK_FOR(seconds < 5, "run %lu: %g s", (unsigned long)i, seconds);
  }
  free(text);
}

TEST(does_not_overflow) {
  oc_tokens tokens;
  size_t one = oc_tokens_text("0123456789", 10);

  oc_tokens_init(&tokens);
  oc_tokens_add(&tokens, "0", 1);
  /* as after exabytes */
  tokens.cost = INT64_MAX - 1000000;
  oc_tokens_add(&tokens, "0123456789", 10);
  CHECK(oc_tokens_count(&tokens) > one);
}

int main(void) {
  RUN(no_text_is_nothing_and_any_text_is_something);
  RUN(is_near_the_truth);
  RUN(is_the_same_wherever_the_text_is_cut);
  RUN(counts_what_escapes_stand_for);
  RUN(plain_and_raw_pieces_may_alternate);
  RUN(takes_what_is_not_utf8);
  RUN(takes_any_bytes);
  RUN(takes_huge_runs);
  RUN(does_not_overflow);
  return test_report();
}
