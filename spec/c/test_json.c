#include "test.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/oc_json.h"
#include "../../src/oc_utf8.h"

/* A copy that ends where its block ends: a sanitizer sees overreads. */
static char *exact_copy(const char *text, size_t len) {
  char *copy = malloc(len ? len : 1);
  if(!copy)
    abort();
  if(len)
    memcpy(copy, text, len);
  return copy;
}

/* The last token (END or ERROR); stores what the error was, and where. */
static oc_json_token read_all(const char *text, size_t len, int lenient,
                              oc_code *code, size_t *offset) {
  char *copy = exact_copy(text, len);
  oc_json reader;
  oc_json_token token;

  oc_json_init(&reader, copy, len);
  if(lenient)
    oc_json_allow_bad_utf8(&reader);
  do {
    token = oc_json_next(&reader);
    if(token > OC_JSON_END &&
       (reader.value.text < copy ||
        reader.value.text + reader.value.len > copy + len))
      CHECK(!"a token lies outside of the text");
  } while(token > OC_JSON_END);
  *code = reader.error;
  *offset = oc_json_offset(&reader);
  CHECK(*offset <= len);
  CHECK(oc_json_next(&reader) == token);          /* stays so */
  free(copy);
  return token;
}

static oc_code check_text(const char *text, size_t len) {
  oc_code code;
  size_t offset;
  oc_json_token token = read_all(text, len, 0, &code, &offset);
  CHECK((token == OC_JSON_END) == (code == OC_OK));
  return code;
}

static uint64_t random_state = 88172645463325252u;

static uint64_t random_bits(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

static oc_slice slice_of(const char *text) {
  oc_slice slice;
  slice.text = text;
  slice.len = strlen(text);
  return slice;
}

static int buf_is(const oc_buf *buf, const char *text) {
  return buf->len == strlen(text) &&
         (!buf->len || !memcmp(buf->data, text, buf->len));
}

/*
 * Accept and reject
 */

static const char *const accepted[] = {
  /* scalars and white space */
  "0", "-0", "1", "-1", "10", "1234567890", "1.5", "-1.5", "0.0", "1e1",
  "1E1", "1e+1", "1e-1", "1E+01", "1e00", "0e0", "0e+1", "-0.0e-0",
  "123.456e78", "1e400", "-1e400", "1e-400", "1e99999999999999999999",
  "0.000000000000000000000000000000000000000000000000000000000000000000001",
  "100000000000000000000000000000000000000000000000000000000000000000000",
  "true", "false", "null", "\"\"", " true", "true ", "\ttrue\n", "\r\n1\r\n",
  " \n\r\t[ \n\r\t] \n\r\t", "  {  }  ",
  /* arrays */
  "[]", "[ ]", "[[]]", "[[[[]]]]", "[1]", "[1,2,3]", "[ 1 , 2 ]", "[\n1\n]",
  "[null]", "[true,false,null]", "[\"\"]", "[\"a\",1,{},[]]", "[-0]",
  "[1e1]", "[0]", "[0,0]", "[[],[],[{}]]", "[null, 1, \"1\", {}]",
  "[1,null,null,null,2]", "[2] ", " [1]", "[\"a\"]\n",
  /* objects */
  "{}", "{ }", "{\"a\":1}", "{ \"a\" : 1 }", "{\"a\":1,\"b\":2}",
  "{\"\":0}", "{\"a\":{\"b\":{\"c\":[]}}}", "{\"a\":1,\"a\":2}",
  "{\"a\":\"b\",\"a\":\"b\"}", "{\"\\u0000\":1}", "{\"a\":[]}",
  "{\n\"a\": \"b\"\n}", "{\"a\\nb\":1}", "{\"x\":[{\"id\":\"y\"}],\"id\":1}",
  /* strings */
  "\"a\"", "\" \"", "\"/\"", "\"\x7F\"", "\"\\\"\"", "\"\\\\\"", "\"\\/\"",
  "\"\\b\\f\\n\\r\\t\"", "\"\\u0000\"", "\"\\u0041\"", "\"\\uABCD\"",
  "\"\\uabcd\"", "\"\\uaBcD\"", "\"\\u0022\"", "\"\\u005C\"",
  "\"\\\\u0000\"", "\"\\\\a\"", "\"\\\\n\"", "\"\\\\\\\"\"",
  "\"\\uD834\\uDD1E\"", "\"\\uD834\"", "\"\\uDD1E\"", "\"\\uDD1E\\uD834\"",
  "\"\\uD834\\uD834\\uDD1E\"", "\"\\uD834x\"", "\"\\uD834\\n\"",
  "\"\\uFFFF\"", "\"\\uFFFE\"", "\"\\uFDD0\"", "\"\\u2028\\u2029\"",
  "\"a/*b*/c\"", "\"# // not a comment\"", "\"new\\u000Aline\"",
  "\"[{,:]}\"", "\"\xC2\x80\"", "\"\xDF\xBF\"", "\"\xE0\xA0\x80\"",
  "\"\xED\x9F\xBF\"", "\"\xEE\x80\x80\"", "\"\xEF\xBF\xBF\"",
  "\"\xEF\xBB\xBF\"", "\"\xF0\x90\x80\x80\"", "\"\xF4\x8F\xBF\xBF\"",
  "\"\xE2\x80\xA8\xE2\x80\xA9\"", "\"\xF0\x9F\x98\x80\xC3\xA9z\xE6\xBC\xA2\"",
  "\"12345678\"", "\"1234567\"", "\"123456\xC3\xA9\"", "\"1234567\xC3\xA9\"",
  "\"12345678\xC3\xA9\"", "\"1234567\\n\"", "\"12345678\\n\""
};

static const char *const rejected[] = {
  /* nothing, and something behind */
  "", " ", "\n", "\t \r", "1 2", "1,", ",1", "[] []", "[]]", "{}}", "[],",
  "{},", "{}#", "[]x", "\"a\"b", "true false", "truefalse", "1a", "\"\"\"\"",
  "null,", "[1]]", "{\"a\":1}}", "{\"a\":true} \"x\"", "[1]1", "{}//", "{}/**/",
  /* words */
  "t", "tr", "tru", "trueX", "True", "TRUE", "truf", "f", "fals", "falsE",
  "n", "nul", "nulL", "NULL", "undefined", "nan", "NaN", "-NaN", "inf",
  "Infinity", "-Infinity", "[NaN]", "[-Infinity]", "[nul]", "[tru]", "a",
  "[a]", "'a'", "['a']", "<.>", "[<null>]", "*", "_", "&", "\\", "(1)",
  /* numbers */
  "-", "+", "+1", "++1", "--1", "-+1", "01", "-01", "00", "-00", "012",
  "1.", "-1.", "0.", ".1", "-.1", ".", "1.e1", "1.e", "1.x", "1e", "1E",
  "1e+", "1e-", "1eE2", "1e1.5", "1e1e1", "1.2.3", "1..2", "0x1", "0xFF",
  "0X1", "1x", "1L", "1f", "1_000", "1,000", "1 000", "- 1", "0e", "0e+",
  "0.3e", "0.3e+", "9.e+", "[1.]", "[1e]", "[-]", "[-a]", "[- 1]", "[01]",
  "[1 2]", "[1e+]", "[2.e3]", "[.5]", "[+1]", "[0.1.2]", "[-2.]", "[1+2]",
  "[0e]", "1e1x", "1.5x", "-x", "-a1", "\xEF\xBC\x91",
  /* arrays */
  "[", "]", "[1", "[1,", "[,", "[,1]", "[1,]", "[1,,2]", "[,]", "[,,]",
  "[1 true]", "[\"a\" \"b\"]", "[1:2]", "[\"\": 1]", "[\"a\"", "[[]", "[[1]",
  "[1}", "[}", "[1;2]", "[\"a\",", "[\"a\",\n", "[x", "[\"x\"]]", "[*]",
  "[1,\n1\n,1", "[{}", "[{]", "[3[4]]", "[//1\n1]", "[/*x*/]", "[\"\",]",
  /* objects */
  "{", "}", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,", "{,}", "{\"a\"}",
  "{\"a\":}", "{:1}", "{1:1}", "{a:1}", "{'a':1}", "{\"a\":1,}", "{\"a\" 1}",
  "{\"a\":1 \"b\":2}", "{\"a\":1,,\"b\":2}", "{\"a\"::1}", "{\"a\",1}",
  "{\"a\":1]", "{]", "{\"a\":1:2}", "{null:1}", "{true:1}", "{[]:1}",
  "{\"a\":1,b:2}", "{\"a\":x}", "{\"a\"x:1}", "{\"a\":1;\"b\":2}", "{\"a\"=1}",
  "{\"a\":1/**/}", "{/**/\"a\":1}", "{\"a\":1,\"b\"}", "{\"a\":1,\"b\":}",
  "{\"a", "{\"a\":\"b", "{\"a\":\"b\"", "{\"a\":{}", "{\"a\" \"b\"}",
  "{9999E9:1}", "{\"x\", null}", "{\"id\":0,,,,,}", "{\"a\":\"b\"}#{}",
  /* strings */
  "\"", "\"a", "\"\\", "\"\\\"", "\"\\a\"", "\"\\v\"", "\"\\0\"", "\"\\'\"",
  "\"\\x41\"", "\"\\U0041\"", "\"\\ \"", "\"\\\n\"", "\"\\u\"", "\"\\u0\"",
  "\"\\u00\"", "\"\\u000\"", "\"\\u000G\"", "\"\\uG000\"", "\"\\u 041\"",
  "\"\\u+041\"", "\"\\u00 1\"", "\"\\u", "\"\\u0", "\"\\u004", "\"\\u0041",
  "\"\\uD834\\u\"", "\"\\uD834\\\"", "\"\\\\\\\"", "\"\\e\"", "\"\\1\"",
  "\"\\uD834\\uD\"", "\"\\\xC3\xA9\"", "\"a\nb\"", "\"a\tb\"", "\"a\rb\"",
  "\"\x01\"", "\"\x1F\"", "\"\n\"", "\"12345678\n\"", "\"1234567\x1F\"",
  "\"abc", "\"12345678", "\"123456789", "\"1234567", "\\u0022x\\u0022",
  "[\"a\x1E\"]", "{\"a\nb\":1}", "\xE2\x80\x9C" "a\xE2\x80\x9D",
  /* white space that is none, marks, other encodings */
  "\xEF\xBB\xBF{}", "\xEF\xBB\xBF", "\xEF\xBB", "\xEF", "\f1", "\v1",
  "1\f", "1\v", "\xC2\xA0" "1", "1\xC2\xA0", "\xE2\x81\xA0[]", "[\f]",
  "[1\v]", "\x85[]", "\xFF\xFE[", "\x1B[1m1", "\b1"
};

/* In a string: bad UTF-8. Only the bytes between the quotes. */
static const char *const bad_utf8[] = {
  "\x80", "\xBF", "a\x80", "\xC0\x80", "\xC1\xBF", "\xC0\xAF", "\xC3",
  "\xC3(", "\xC3\xC3\xA9", "\xE2\x82", "\xE2\x82(", "\xE2(\xA1", "\xE0\x80\x80",
  "\xE0\x9F\xBF", "\xED\xA0\x80", "\xED\xBF\xBF", "\xED\xA0\xBD\xED\xB8\x80",
  "\xF0\x80\x80\x80", "\xF0\x8F\xBF\xBF", "\xF0\x9F\x98", "\xF0\x9F",
  "\xF0", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xF8\x88\x80\x80\x80",
  "\xFC\x84\x80\x80\x80\x80", "\xFE", "\xFF", "\xFE\xFE\xFF\xFF",
  "\xE6\xBC\xA2\x80", "12345678\xFF", "1234567\xFF", "\xE9 latin",
  "\xC3\xA9\xE9\xC3\xA9", "\xF0\x9F\x98\x80\x80", "\xF0(\x8C\xBC",
  "\xF0\x90(\xBC", "\xF0\x90\x8C(", "a\xE5", "\xE2\x82\\n"
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

TEST(accepts) {
  size_t i;
  for(i = 0; i < COUNT(accepted); i++)
    CHECK_FOR(check_text(accepted[i], strlen(accepted[i])) == OC_OK,
              "%s", accepted[i]);
}

TEST(rejects) {
  size_t i;
  for(i = 0; i < COUNT(rejected); i++)
    CHECK_FOR(check_text(rejected[i], strlen(rejected[i])) == OC_E_JSON,
              "%s", rejected[i]);
}

/* Whatever stands for a value stands for an item and a member too. */
TEST(accepts_and_rejects_inside) {
  char text[512];
  size_t i;

  for(i = 0; i < COUNT(accepted); i++) {
    snprintf(text, sizeof text, "[%s,%s]", accepted[i], accepted[i]);
    CHECK_FOR(check_text(text, strlen(text)) == OC_OK, "%s", text);
    snprintf(text, sizeof text, "{\"k\": %s,\"k\":[%s]}", accepted[i],
             accepted[i]);
    CHECK_FOR(check_text(text, strlen(text)) == OC_OK, "%s", text);
  }
  for(i = 0; i < COUNT(rejected); i++) {
    /* some become right between brackets */
    snprintf(text, sizeof text, "[%s]", rejected[i]);
    if(strcmp(rejected[i], "1,000") && strcmp(rejected[i], "") &&
       strspn(rejected[i], " \t\r\n") != strlen(rejected[i]))
      CHECK_FOR(check_text(text, strlen(text)) == OC_E_JSON, "%s", text);
    snprintf(text, sizeof text, "{\"k\":%s}", rejected[i]);
    CHECK_FOR(check_text(text, strlen(text)) == OC_E_JSON, "%s", text);
  }
}

TEST(rejects_nul_bytes) {
  CHECK(check_text("\0", 1) == OC_E_JSON);
  CHECK(check_text("1\0", 2) == OC_E_JSON);
  CHECK(check_text("[\0]", 3) == OC_E_JSON);
  CHECK(check_text("\"\0\"", 3) == OC_E_JSON);
  CHECK(check_text("\"12345678\0\"", 11) == OC_E_JSON);
  CHECK(check_text("[]\0", 3) == OC_E_JSON);
  CHECK(check_text("{\0}", 3) == OC_E_JSON);
  CHECK(check_text("[\0" "1]", 4) == OC_E_JSON);
  CHECK(check_text("\xFF\xFE[\0]\0", 6) == OC_E_JSON);   /* UTF-16 */
  CHECK(check_text("\0[\0]", 4) == OC_E_JSON);
  CHECK(check_text(NULL, 0) == OC_E_JSON);
}

TEST(every_control_character_is_rejected) {
  char text[32];
  int byte;
  int before;

  for(byte = 0; byte < 0x20; byte++) {
    for(before = 0; before < 20; before++) {
      memset(text, 'x', sizeof text);
      text[0] = '"';
      text[1 + before] = (char)byte;
      text[30] = '"';
      CHECK_FOR(check_text(text, 31) == OC_E_JSON, "%d at %d", byte, before);
    }
  }
  for(byte = 0x20; byte < 0x80; byte++) {
    if(byte == '"' || byte == '\\')
      continue;
    for(before = 0; before < 20; before++) {
      memset(text, 'x', sizeof text);
      text[0] = '"';
      text[1 + before] = (char)byte;
      text[30] = '"';
      CHECK_FOR(check_text(text, 31) == OC_OK, "%d at %d", byte, before);
    }
  }
}

TEST(bad_utf8_is_an_error_unless_allowed) {
  char text[64];
  size_t i;
  size_t pad;

  for(i = 0; i < COUNT(bad_utf8); i++) {
    for(pad = 0; pad < 10; pad++) {
      oc_code code;
      size_t offset;
      size_t len = (size_t)snprintf(text, sizeof text, "{\"%.*s%s\": \"%s\"}",
                                    (int)pad, "abcdefghij", bad_utf8[i],
                                    bad_utf8[i]);
      CHECK_FOR(check_text(text, len) == OC_E_UTF8, "no. %d", (int)i);
      CHECK(read_all(text, len, 1, &code, &offset) == OC_JSON_END);
    }
  }
  /* outside of strings it is simply no JSON, allowed or not */
  {
    oc_code code;
    size_t offset;
    CHECK(read_all("[\x80]", 3, 1, &code, &offset) == OC_JSON_ERROR);
    CHECK(code == OC_E_JSON && offset == 1);
    CHECK(read_all("\"\x80\x01\"", 4, 1, &code, &offset) == OC_JSON_ERROR);
    CHECK(code == OC_E_JSON && offset == 2);
  }
}

TEST(errors_have_offsets) {
  static const struct {
    const char *text;
    size_t offset;
  } cases[] = {
    { "", 0 }, { "  x", 2 }, { "[1,]", 3 }, { "[1 2]", 3 }, { "{\"a\" 1}", 5 },
    { "{\"a\":1,}", 7 }, { "nulx", 3 }, { "nul", 3 }, { "01", 1 },
    { "-x", 1 }, { "1.x", 2 }, { "1ex", 2 }, { "\"ab\ncd\"", 3 },
    { "\"ab\\xcd\"", 4 }, { "\"\\u00G0\"", 5 }, { "\"abc", 4 },
    { "\"12345678\xFF\"", 9 }, { "[] x", 3 }, { "[", 1 }, { "\"\\u12", 5 }
  };
  size_t i;

  for(i = 0; i < COUNT(cases); i++) {
    oc_code code;
    size_t offset;
    CHECK(read_all(cases[i].text, strlen(cases[i].text), 0, &code, &offset)
          == OC_JSON_ERROR);
    CHECK_FOR(offset == cases[i].offset, "%s: %d", cases[i].text,
              (int)offset);
  }
}

/*
 * Nesting
 */

static oc_code check_nesting(size_t depth, int objects) {
  size_t unit = objects ? 5 : 1;
  size_t len = depth * (unit + 1) + 1;
  char *text = malloc(len);
  size_t i;
  oc_code code;

  if(!text)
    abort();
  for(i = 0; i < depth; i++) {
    memcpy(text + i * unit, objects ? "{\"a\":" : "[", unit);
    text[depth * unit + 1 + i] = objects ? '}' : ']';
  }
  text[depth * unit] = '1';
  code = check_text(text, len);
  free(text);
  return code;
}

TEST(nesting) {
  int objects;
  for(objects = 0; objects < 2; objects++) {
    CHECK(check_nesting(1, objects) == OC_OK);
    CHECK(check_nesting(100, objects) == OC_OK);
    CHECK(check_nesting(OC_JSON_MAX_DEPTH - 1, objects) == OC_OK);
    CHECK(check_nesting(OC_JSON_MAX_DEPTH, objects) == OC_OK);
    CHECK(check_nesting(OC_JSON_MAX_DEPTH + 1, objects) == OC_E_DEPTH);
    CHECK(check_nesting(100000, objects) == OC_E_DEPTH);
  }
}

/* The kinds of all levels are remembered, in every mixture. */
TEST(nesting_is_matched) {
  char text[2 * OC_JSON_MAX_DEPTH * 5];
  char kinds[OC_JSON_MAX_DEPTH];
  int round;

  for(round = 0; round < 50; round++) {
    size_t depth = 1 + random_bits() % OC_JSON_MAX_DEPTH;
    size_t len = 0;
    size_t i;
    size_t flipped;

    for(i = 0; i < depth; i++) {
      kinds[i] = random_bits() & 1;
      if(kinds[i]) {
        memcpy(text + len, "{\"\":", 4);
        len += 4;
      }
      else
        text[len++] = '[';
    }
    text[len++] = '0';
    for(i = depth; i-- > 0;)
      text[len++] = kinds[i] ? '}' : ']';
    CHECK(check_text(text, len) == OC_OK);
    flipped = len - 1 - random_bits() % depth;
    text[flipped] = text[flipped] == '}' ? ']' : '}';
    CHECK(check_text(text, len) == OC_E_JSON);
  }
}

/*
 * Tokens
 */

TEST(tokens_in_order) {
  static const char text[] =
    " { \"a\" : [ 1 , -2.5e3 , true , false , null , \"x\\n\" ] ,"
    " \"b\\\"\" : { } , \"c\" : [ ] } ";
  static const struct {
    oc_json_token token;
    const char *value;
    int escaped;
  } expected[] = {
    { OC_JSON_OBJECT, "{", 0 }, { OC_JSON_KEY, "a", 0 },
    { OC_JSON_ARRAY, "[", 0 }, { OC_JSON_NUMBER, "1", 0 },
    { OC_JSON_NUMBER, "-2.5e3", 0 }, { OC_JSON_TRUE, "true", 0 },
    { OC_JSON_FALSE, "false", 0 }, { OC_JSON_NULL, "null", 0 },
    { OC_JSON_STRING, "x\\n", 1 }, { OC_JSON_ARRAY_END, "]", 0 },
    { OC_JSON_KEY, "b\\\"", 1 }, { OC_JSON_OBJECT, "{", 0 },
    { OC_JSON_OBJECT_END, "}", 0 }, { OC_JSON_KEY, "c", 0 },
    { OC_JSON_ARRAY, "[", 0 }, { OC_JSON_ARRAY_END, "]", 0 },
    { OC_JSON_OBJECT_END, "}", 0 }, { OC_JSON_END, "", 0 },
    { OC_JSON_END, "", 0 }
  };
  oc_json reader;
  size_t i;

  oc_json_init(&reader, text, sizeof text - 1);
  for(i = 0; i < COUNT(expected); i++) {
    CHECK(oc_json_next(&reader) == expected[i].token);
    CHECK(reader.token == expected[i].token);
    CHECK_FOR(reader.value.len == strlen(expected[i].value) &&
              !memcmp(reader.value.text, expected[i].value,
                      reader.value.len), "token %d", (int)i);
    if(reader.token == OC_JSON_KEY || reader.token == OC_JSON_STRING)
      CHECK(reader.escaped == expected[i].escaped);
  }
  CHECK(oc_json_offset(&reader) == sizeof text - 1);
}

TEST(duplicate_keys_are_all_reported) {
  static const char text[] = "{\"a\":1,\"a\":2,\"\\u0061\":3}";
  oc_json reader;
  int keys = 0;
  double sum = 0;

  oc_json_init(&reader, text, sizeof text - 1);
  while(oc_json_next(&reader) > OC_JSON_END) {
    if(reader.token == OC_JSON_KEY)
      keys += oc_json_is(&reader, "a");
    else if(reader.token == OC_JSON_NUMBER)
      sum += oc_json_number(&reader);
  }
  CHECK(reader.error == OC_OK);
  CHECK(keys == 3 && sum == 6);
}

TEST(an_error_stays) {
  oc_json reader;
  oc_slice raw;
  int i;

  oc_json_init(&reader, "[1,]", 4);
  CHECK(oc_json_next(&reader) == OC_JSON_ARRAY);
  CHECK(oc_json_next(&reader) == OC_JSON_NUMBER);
  for(i = 0; i < 3; i++) {
    CHECK(oc_json_next(&reader) == OC_JSON_ERROR);
    CHECK(reader.error == OC_E_JSON);
    CHECK(oc_json_skip(&reader, &raw) == OC_E_JSON);
    CHECK(oc_json_offset(&reader) == 3);
  }
}

TEST(is) {
  static const struct {
    const char *text;
    const char *name;
    int is;
  } cases[] = {
    { "\"a\"", "a", 1 }, { "\"a\"", "b", 0 }, { "\"a\"", "", 0 },
    { "\"\"", "", 1 }, { "\"\"", "a", 0 }, { "\"ab\"", "a", 0 },
    { "\"a\"", "ab", 0 }, { "\"\\u0061\"", "a", 1 },
    { "\"\\u0061b\"", "a", 0 }, { "\"\\u0061\"", "ab", 0 },
    { "\"content\"", "content", 1 }, { "\"c\\u006fntent\"", "content", 1 },
    { "\"\\n\"", "\n", 1 }, { "\"\\n\"", "\\n", 0 }, { "\"\\/\"", "/", 1 },
    { "\"\\uD83D\\uDE00\"", "\xF0\x9F\x98\x80", 1 },
    { "\"\\uD83D\"", "\xEF\xBF\xBD", 1 },
    { "\"\\uDE00\"", "\xEF\xBF\xBD", 1 },
    { "\"\\uD83D\\u0041\"", "\xEF\xBF\xBD" "A", 1 },
    { "\"\\uD83D\\uD83D\"", "\xEF\xBF\xBD\xEF\xBF\xBD", 1 },
    { "\"\\u0000\"", "", 0 }, { "\"a\\u0000b\"", "a", 0 },
    { "\"\\u00e9\"", "\xC3\xA9", 1 }, { "\"\\u20ac\"", "\xE2\x82\xAC", 1 },
    { "\"\xC3\xA9\\n\"", "\xC3\xA9\n", 1 }, { "\"\\\\\"", "\\", 1 },
    { "1", "1", 0 }, { "null", "null", 0 }
  };
  size_t i;

  for(i = 0; i < COUNT(cases); i++) {
    oc_json reader;
    char *copy = exact_copy(cases[i].text, strlen(cases[i].text));
    oc_json_init(&reader, copy, strlen(cases[i].text));
    oc_json_next(&reader);
    CHECK_FOR(oc_json_is(&reader, cases[i].name) == cases[i].is, "%s is %s",
              cases[i].text, cases[i].name);
    free(copy);
  }
}

static int raw_is(oc_slice raw, const char *text) {
  return raw.len == strlen(text) && !memcmp(raw.text, text, raw.len);
}

TEST(skip_gives_the_exact_text) {
  static const char *const values[] = {
    "1", "-1.5e+10", "true", "false", "null", "\"\"", "\"a\\\"b\"", "[]",
    "[ ]", "{}", "[1, [2, {\"a\": [3]}], \"]\"]", "{ \"a\" : { \"}\" : 1 } }",
    "[[[[[]]]]]"
  };
  char text[256];
  size_t i;

  for(i = 0; i < COUNT(values); i++) {
    oc_json reader;
    oc_slice raw;
    size_t len;

    /* as a whole */
    len = (size_t)snprintf(text, sizeof text, "  %s  ", values[i]);
    oc_json_init(&reader, text, len);
    oc_json_next(&reader);
    CHECK(oc_json_skip(&reader, &raw) == OC_OK);
    CHECK_FOR(raw_is(raw, values[i]), "%s", values[i]);
    CHECK(oc_json_next(&reader) == OC_JSON_END);

    /* as a member, from its key; then as an item, from its first token */
    len = (size_t)snprintf(text, sizeof text, "{\"k\" : %s , \"l\":[ %s ,2]}",
                           values[i], values[i]);
    oc_json_init(&reader, text, len);
    oc_json_next(&reader);
    CHECK(oc_json_next(&reader) == OC_JSON_KEY);
    CHECK(oc_json_skip(&reader, &raw) == OC_OK);
    CHECK_FOR(raw_is(raw, values[i]), "%s", values[i]);
    CHECK(oc_json_next(&reader) == OC_JSON_KEY);
    CHECK(oc_json_is(&reader, "l"));
    CHECK(oc_json_next(&reader) == OC_JSON_ARRAY);
    oc_json_next(&reader);
    CHECK(oc_json_skip(&reader, &raw) == OC_OK);
    CHECK(raw_is(raw, values[i]));
    CHECK(oc_json_next(&reader) == OC_JSON_NUMBER);
    CHECK(oc_json_number(&reader) == 2);
    CHECK(oc_json_next(&reader) == OC_JSON_ARRAY_END);
    CHECK(oc_json_next(&reader) == OC_JSON_OBJECT_END);
    CHECK(oc_json_next(&reader) == OC_JSON_END);

    /* nobody wants it */
    oc_json_init(&reader, text, len);
    oc_json_next(&reader);
    CHECK(oc_json_skip(&reader, NULL) == OC_OK);
    CHECK(oc_json_next(&reader) == OC_JSON_END);
  }
}

TEST(skip_checks_what_it_skips) {
  static const struct {
    const char *text;
    oc_code code;
  } cases[] = {
    { "{\"a\":[1,]}", OC_E_JSON }, { "{\"a\":[1", OC_E_JSON },
    { "{\"a\":", OC_E_JSON }, { "{\"a\"", OC_E_JSON },
    { "{\"a\":[\"\xFF\"]}", OC_E_UTF8 }, { "{\"a\":tru", OC_E_JSON },
    { "{\"a\":{\"b\":\"\\x\"}}", OC_E_JSON }
  };
  size_t i;

  for(i = 0; i < COUNT(cases); i++) {
    oc_json reader;
    oc_slice raw;
    char *copy = exact_copy(cases[i].text, strlen(cases[i].text));
    oc_json_init(&reader, copy, strlen(cases[i].text));
    oc_json_next(&reader);
    CHECK(oc_json_next(&reader) == OC_JSON_KEY);
    CHECK_FOR(oc_json_skip(&reader, &raw) == cases[i].code, "%s",
              cases[i].text);
    CHECK(reader.token == OC_JSON_ERROR);
    free(copy);
  }
}

/*
 * Strings
 */

TEST(unescape) {
  static const struct {
    const char *raw;
    const char *text;
  } cases[] = {
    { "", "" }, { "a", "a" }, { "\\n", "\n" }, { "a\\nb", "a\nb" },
    { "\\\"\\\\\\/\\b\\f\\n\\r\\t", "\"\\/\b\f\n\r\t" },
    { "\\u0041\\u007F\\u0080\\u07FF\\u0800\\uFFFF",
      "A\x7F\xC2\x80\xDF\xBF\xE0\xA0\x80\xEF\xBF\xBF" },
    { "\\uD800\\uDC00", "\xF0\x90\x80\x80" },
    { "\\uDBFF\\uDFFF", "\xF4\x8F\xBF\xBF" },
    { "x\\ud83d\\ude00y", "x\xF0\x9F\x98\x80y" },
    { "\\uD7FF\\uE000", "\xED\x9F\xBF\xEE\x80\x80" },
    { "\\uD83D", "\xEF\xBF\xBD" }, { "\\uDE00", "\xEF\xBF\xBD" },
    { "\\uD83Dx", "\xEF\xBF\xBDx" }, { "x\\uDE00x", "x\xEF\xBF\xBDx" },
    { "\\uD83D\\n", "\xEF\xBF\xBD\n" },
    { "\\uD83D\\uD83D\\uDE00", "\xEF\xBF\xBD\xF0\x9F\x98\x80" },
    { "\\uDE00\\uD83D", "\xEF\xBF\xBD\xEF\xBF\xBD" },
    { "\\uD83D\\uDE00\\uDE00", "\xF0\x9F\x98\x80\xEF\xBF\xBD" },
    { "\\uD83D\\u0041", "\xEF\xBF\xBD" "A" },
    { "\xC3\xA9\\\\\xE2\x82\xAC", "\xC3\xA9\\\xE2\x82\xAC" },
    { "\xFF\\n\xFF", "\xFF\n\xFF" }
  };
  oc_buf out;
  size_t i;

  oc_buf_init(&out, 1000);
  for(i = 0; i < COUNT(cases); i++) {
    char *copy = exact_copy(cases[i].raw, strlen(cases[i].raw));
    oc_slice raw;
    raw.text = copy;
    raw.len = strlen(cases[i].raw);
    oc_buf_clear(&out);
    CHECK(oc_json_unescape(raw, &out, NULL) == OC_OK);
    CHECK_FOR(buf_is(&out, cases[i].text), "%s", cases[i].raw);
    free(copy);
  }
  /* a NUL may come out */
  oc_buf_clear(&out);
  CHECK(oc_json_unescape(slice_of("a\\u0000b"), &out, NULL) == OC_OK);
  CHECK(out.len == 3 && !memcmp(out.data, "a\0b", 3));
  oc_buf_free(&out);
}

TEST(unescape_refuses_what_the_reader_would) {
  static const char *const cases[] = {
    "\\", "a\\", "\\x", "\\u", "\\u00", "\\u004", "\\u00G1", "\\uD83D\\",
    "\\uD83D\\u12"
  };
  oc_buf out;
  size_t i;

  oc_buf_init(&out, 1000);
  oc_buf_puts(&out, "kept");
  for(i = 0; i < COUNT(cases); i++) {
    char *copy = exact_copy(cases[i], strlen(cases[i]));
    oc_slice raw;
    unsigned pending = 0;
    raw.text = copy;
    raw.len = strlen(cases[i]);
    CHECK(oc_json_unescape(raw, &out, &pending) == OC_E_JSON);
    CHECK(buf_is(&out, "kept") && pending == 0);
    free(copy);
  }
  oc_buf_free(&out);
}

TEST(unescape_joins_fragments) {
  static const struct {
    const char *parts[4];
    const char *text;
    unsigned left;
  } cases[] = {
    { { "\\uD83D", "\\uDE00" }, "\xF0\x9F\x98\x80", 0 },
    { { "a\\uD83D", "\\uDE00b" }, "a\xF0\x9F\x98\x80" "b", 0 },
    { { "\\uD83D", "", "\\uDE00" }, "\xF0\x9F\x98\x80", 0 },
    { { "\\uD83D", "x" }, "\xEF\xBF\xBDx", 0 },
    { { "\\uD83D", "\\n" }, "\xEF\xBF\xBD\n", 0 },
    { { "\\uD83D", "x\\uDE00" }, "\xEF\xBF\xBDx\xEF\xBF\xBD", 0 },
    { { "\\uD83D", "\\uD83D", "\\uDE00" }, "\xEF\xBF\xBD\xF0\x9F\x98\x80", 0 },
    { { "\\uD83D" }, "", 0xD83D },
    { { "\\uD83D", "" }, "", 0xD83D },
    { { "\\uD83D", "\\uD801" }, "\xEF\xBF\xBD", 0xD801 },
    { { "\\uDE00" }, "\xEF\xBF\xBD", 0 },
    { { "\\uDE00\\uD83D", "\\uDE00\\uD83D", "\\uDE00" },
      "\xEF\xBF\xBD\xF0\x9F\x98\x80\xF0\x9F\x98\x80", 0 },
    { { "\\uD83D\\uDE00", "\\uDE00" }, "\xF0\x9F\x98\x80\xEF\xBF\xBD", 0 },
    { { "\\uD83Dx", "\\uDE00" }, "\xEF\xBF\xBDx\xEF\xBF\xBD", 0 }
  };
  oc_buf out;
  size_t i;
  size_t k;

  oc_buf_init(&out, 1000);
  for(i = 0; i < COUNT(cases); i++) {
    unsigned pending = 0;
    oc_buf_clear(&out);
    for(k = 0; k < 4 && cases[i].parts[k]; k++)
      CHECK(oc_json_unescape(slice_of(cases[i].parts[k]), &out, &pending)
            == OC_OK);
    CHECK_FOR(buf_is(&out, cases[i].text) && pending == cases[i].left,
              "no. %d", (int)i);
  }
  oc_buf_free(&out);
}

TEST(unescape_at_the_maximum) {
  const char *raw = "\\u0041bc\\uD83D\\uDE00\\n";      /* 8 bytes */
  size_t max;

  for(max = 0; max < 12; max++) {
    oc_buf out;
    unsigned pending = 0xD800;
    oc_buf_init(&out, max);
    CHECK(oc_json_unescape(slice_of(raw), &out, NULL) ==
          (max < 8 ? OC_E_TOO_LARGE : OC_OK));
    CHECK(out.len == (max < 8 ? 0u : 8u));
    oc_buf_free(&out);
    /* what was pending is pending still */
    oc_buf_init(&out, max);
    CHECK(oc_json_unescape(slice_of(raw), &out, &pending) ==
          (max < 11 ? OC_E_TOO_LARGE : OC_OK));
    CHECK(pending == (max < 11 ? 0xD800u : 0u));
    oc_buf_free(&out);
  }
}

/* Long ones are written piece by piece, cut anywhere in a character. */
TEST(write_long_string) {
  static char text[20000];
  oc_buf out;
  size_t shift;
  size_t i;

  oc_buf_init(&out, 50000);
  for(shift = 0; shift < 4; shift++) {
    memset(text, 'a', sizeof text);
    for(i = shift; i + 4 <= sizeof text; i += 4)
      memcpy(text + i, "\xF0\x9F\x98\x80", 4);
    for(; i < sizeof text; i++)
      text[i] = '\n';
    oc_buf_clear(&out);
    CHECK(oc_json_write_string(&out, text, sizeof text) == OC_OK);
    CHECK(out.len >= sizeof text + 2 && out.data[0] == '"'
          && !memcmp(out.data + 1, text, 19990)
          && out.data[out.len - 1] == '"');
    /* the last character is cut, or one in the middle is broken */
    oc_buf_clear(&out);
    CHECK(oc_json_write_string(&out, text, 12000 + shift - 1) == OC_E_UTF8
          && !out.len);
    text[8190] = 'a';
    CHECK(oc_json_write_string(&out, text, sizeof text) == OC_E_UTF8
          && !out.len);
  }
  oc_buf_free(&out);
}

TEST(string_end) {
  static const char ends[] = "\"\n\x01";
  char text[80];
  size_t len;
  size_t i;

  for(len = 0; len < 60; len++) {
    for(i = 0; i < sizeof ends; i++) {
      oc_letters letters;
      const char *end;
      memset(text, 'x', sizeof text);
      text[len] = i < 3 ? ends[i] : '"';
      end = oc_json_string_end(text, text + (i < 3 ? 70 : (int)len),
                               &letters);
      CHECK_FOR(end == (i ? NULL : text + len)
                && (i || letters == OC_LETTERS_PLAIN), "%d %d", (int)len,
                (int)i);
      if(len < 3)
        continue;
      /* an escape, or a byte of another script, somewhere before it */
      text[len] = '"';
      memcpy(text + (len - 2) * i / 4, "\\\"", 2);
      end = oc_json_string_end(text, text + 70, &letters);
      CHECK_FOR(end == text + len && letters == OC_LETTERS_ASCII, "%d %d",
                (int)len, (int)i);
      memcpy(text + (len - 2) * i / 4, "\\u", 2);
      end = oc_json_string_end(text, text + 70, &letters);
      CHECK_FOR(end == text + len && letters == OC_LETTERS_ANY, "%d %d",
                (int)len, (int)i);
      memcpy(text + (len - 2) * i / 4, "\xC3\xBC", 2);
      end = oc_json_string_end(text, text + 70, &letters);
      CHECK_FOR(end == text + len && letters == OC_LETTERS_ANY, "%d %d",
                (int)len, (int)i);
    }
  }
}

TEST(write_string) {
  static const struct {
    const char *text;
    const char *json;
  } cases[] = {
    { "", "\"\"" }, { "a", "\"a\"" }, { "/", "\"/\"" },
    { "\"\\", "\"\\\"\\\\\"" }, { "\b\f\n\r\t", "\"\\b\\f\\n\\r\\t\"" },
    { "\x01\x0B\x1F\x7F", "\"\\u0001\\u000b\\u001f\x7F\"" },
    { "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80",
      "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"" },
    { "\xE2\x80\xA8", "\"\xE2\x80\xA8\"" },
    { "12345678\"12345678", "\"12345678\\\"12345678\"" }
  };
  oc_buf out;
  size_t i;

  oc_buf_init(&out, 1000);
  for(i = 0; i < COUNT(cases); i++) {
    size_t len = strlen(cases[i].text);
    char *copy = exact_copy(cases[i].text, len);
    oc_buf_clear(&out);
    CHECK(oc_json_write_string(&out, copy, len) == OC_OK);
    CHECK_FOR(buf_is(&out, cases[i].json), "%s", cases[i].json);
    free(copy);
  }
  oc_buf_clear(&out);
  CHECK(oc_json_write_string(&out, "a\0b", 3) == OC_OK);
  CHECK(buf_is(&out, "\"a\\u0000b\""));
  oc_buf_clear(&out);
  CHECK(oc_json_write_string(&out, NULL, 0) == OC_OK);
  CHECK(buf_is(&out, "\"\""));

  /* nothing is written when it is not valid */
  oc_buf_clear(&out);
  oc_buf_puts(&out, "kept");
  for(i = 0; i < COUNT(bad_utf8); i++)
    CHECK(oc_json_write_string(&out, bad_utf8[i], strlen(bad_utf8[i]))
          == OC_E_UTF8);
  CHECK(buf_is(&out, "kept"));
  oc_buf_free(&out);

  oc_buf_init(&out, 6);
  CHECK(oc_json_write_string(&out, "abc\n", 4) == OC_E_TOO_LARGE);
  CHECK(out.len == 0);
  CHECK(oc_json_write_string(&out, "ab\n", 3) == OC_OK);
  CHECK(buf_is(&out, "\"ab\\n\""));
  oc_buf_free(&out);
}

TEST(strings_come_back) {
  oc_buf json;
  oc_buf text;
  oc_buf back;
  int round;

  oc_buf_init(&json, 100000);
  oc_buf_init(&text, 100000);
  oc_buf_init(&back, 100000);
  for(round = 0; round < 2000; round++) {
    oc_json reader;
    size_t len = random_bits() % 60;
    oc_slice raw;

    oc_buf_clear(&text);
    oc_buf_clear(&json);
    oc_buf_clear(&back);
    while(len--) {
      static const char *const pieces[] = {
        "\"", "\\", "\n", "\x01", "\xC3\xA9", "\xE6\xBC\xA2",
        "\xF0\x9F\x98\x80", "plain text", "\x7F", "/"
      };
      oc_buf_puts(&text, pieces[random_bits() % COUNT(pieces)]);
    }
    CHECK(oc_json_write_string(&json, text.data, text.len) == OC_OK);
    oc_json_init(&reader, json.data, json.len);
    CHECK(oc_json_next(&reader) == OC_JSON_STRING);
    raw = reader.value;
    CHECK(oc_json_next(&reader) == OC_JSON_END);
    CHECK(oc_json_unescape(raw, &back, NULL) == OC_OK);
    CHECK(back.len == text.len &&
          (!back.len || !memcmp(back.data, text.data, back.len)));
  }
  oc_buf_free(&json);
  oc_buf_free(&text);
  oc_buf_free(&back);
}

/*
 * Damaged texts
 */

static const char chunk[] =
  "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":"
  "1753100000,\"model\":\"openai/gpt-5-mini\",\"choices\":[{\"index\":0,"
  "\"delta\":{\"content\":\" wor\\u006cd \xF0\x9F\x98\x80 \\uD83D\\uDE00"
  "\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}";

static const char mixture[] =
  "[1, -2.5e+10, true, false, null, \"\\\"\\\\\\/\\b\\f\\n\\r\\t\", {}, [],"
  " {\"a\": {\"b\": [[], {}, \"\xC3\xA9\"]}}]";

static const char *const documents[] = {
  chunk, mixture, "\"just a string, a long one \\u00e9\"", "{ \"\" : { } }"
};

TEST(truncated_at_every_byte) {
  size_t i;
  for(i = 0; i < COUNT(documents); i++) {
    size_t len = strlen(documents[i]);
    size_t cut;

    CHECK(check_text(documents[i], len) == OC_OK);
    for(cut = 0; cut < len; cut++) {
      oc_code code;
      size_t offset;
      CHECK_FOR(check_text(documents[i], cut) == OC_E_JSON,
                "document %d cut at %d", (int)i, (int)cut);
      CHECK(read_all(documents[i], cut, 1, &code, &offset) == OC_JSON_ERROR);
      CHECK(code == OC_E_JSON && offset == cut);
    }
  }
}

static void use_everything(const char *text, size_t len) {
  char *copy = exact_copy(text, len);
  oc_json reader;
  oc_buf out;
  oc_slice raw;
  unsigned pending = 0;
  int mode;

  oc_buf_init(&out, 2000);
  for(mode = 0; mode < 3; mode++) {
    oc_json_init(&reader, copy, len);
    if(mode & 1)
      oc_json_allow_bad_utf8(&reader);
    while(oc_json_next(&reader) > OC_JSON_END) {
      oc_json_is(&reader, "content");
      if(reader.token == OC_JSON_NUMBER)
        oc_json_number(&reader);
      else if(reader.token == OC_JSON_STRING) {
        oc_buf_clear(&out);
        CHECK(oc_json_unescape(reader.value, &out, &pending) == OC_OK);
      }
      if(mode == 2 && oc_json_skip(&reader, &raw) == OC_OK)
        CHECK(raw.text >= copy && raw.text + raw.len <= copy + len);
    }
  }
  oc_buf_clear(&out);
  CHECK(oc_utf8_sanitize(&out, copy, len) == OC_OK);
  CHECK(oc_utf8_valid_prefix(out.data, out.len) == out.len);
  oc_buf_free(&out);
  free(copy);
}

TEST(random_mutations_do_no_harm) {
  static const char alphabet[] = "{}[]\",:\\u0123456789abcdefDE+-.tfn \n";
  int round;

  for(round = 0; round < 20000; round++) {
    const char *document = documents[round % COUNT(documents)];
    char text[600];
    size_t len = strlen(document);
    int edits = 1 + (int)(random_bits() % 4);

    memcpy(text, document, len);
    while(edits--) {
      size_t at = random_bits() % len;
      switch(random_bits() % 4) {
      case 0:
        text[at] = (char)random_bits();
        break;
      case 1:
        text[at] = alphabet[random_bits() % (sizeof alphabet - 1)];
        break;
      case 2:
        memmove(text + at, text + at + 1, len - at - 1);
        len -= len > 1;
        break;
      default:
        memmove(text + at + 1, text + at, len - at);
        len++;
        text[at] = alphabet[random_bits() % (sizeof alphabet - 1)];
      }
    }
    use_everything(text, len);
  }
}

int main(void) {
  RUN(accepts);
  RUN(rejects);
  RUN(accepts_and_rejects_inside);
  RUN(rejects_nul_bytes);
  RUN(every_control_character_is_rejected);
  RUN(bad_utf8_is_an_error_unless_allowed);
  RUN(errors_have_offsets);
  RUN(nesting);
  RUN(nesting_is_matched);
  RUN(tokens_in_order);
  RUN(duplicate_keys_are_all_reported);
  RUN(an_error_stays);
  RUN(is);
  RUN(skip_gives_the_exact_text);
  RUN(skip_checks_what_it_skips);
  RUN(unescape);
  RUN(unescape_refuses_what_the_reader_would);
  RUN(unescape_joins_fragments);
  RUN(unescape_at_the_maximum);
  RUN(write_string);
  RUN(write_long_string);
  RUN(string_end);
  RUN(strings_come_back);
  RUN(truncated_at_every_byte);
  RUN(random_mutations_do_no_harm);
  return test_report();
}
