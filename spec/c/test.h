/*
 * A harness of a few lines. A test case is a function; CHECK() reports a
 * failure and goes on, so that one run shows everything that is wrong.
 *
 *     TEST(adds) { CHECK(1 + 1 == 2); }
 *     int main(void) { RUN(adds); return test_report(); }
 *
 * The last line of the output is `N passed, N failed`, in test cases, with
 * `, N skipped` behind it when there are any.
 */
#ifndef OC_TEST_H
#define OC_TEST_H

#include <stdio.h>

static int test_passed_count;
static int test_failed_count;
static int test_skipped_count;
static int test_bad;                  /* failed checks of this test case */
static const char *test_skip_reason;  /* set: this test case was skipped */

#define TEST(name) static void test_##name(void)

#define RUN(name) test_run(#name, test_##name)

/* Failures of one test case that are shown; the others are counted. */
#define TEST_SHOWN 10

#define CHECK(condition)                                                \
  do {                                                                  \
    if(!(condition) && test_bad++ < TEST_SHOWN)                         \
      printf("%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);    \
  } while(0)

/* The same, and says with which input: printf's arguments. */
#define CHECK_FOR(condition, ...)                                       \
  do {                                                                  \
    if(!(condition) && test_bad++ < TEST_SHOWN) {                       \
      printf("%s:%d: failed: %s for ", __FILE__, __LINE__, #condition); \
      printf(__VA_ARGS__);                                              \
      putchar('\n');                                                    \
    }                                                                   \
  } while(0)

/* Leaves the test case, which then counts as skipped. */
#define SKIP(reason)              \
  do {                            \
    test_skip_reason = (reason);  \
    return;                       \
  } while(0)

static void test_run(const char *name, void (*function)(void)) {
  test_bad = 0;
  test_skip_reason = NULL;
  function();
  if(test_bad) {
    test_failed_count++;
    printf("FAILED  %s (%d checks)\n", name, test_bad);
  }
  else if(test_skip_reason) {
    test_skipped_count++;
    printf("skipped %s: %s\n", name, test_skip_reason);
  }
  else
    test_passed_count++;
  fflush(stdout);
}

static int test_report(void) {
  printf("%d passed, %d failed", test_passed_count, test_failed_count);
  if(test_skipped_count)
    printf(", %d skipped", test_skipped_count);
  putchar('\n');
  return test_failed_count ? 1 : 0;
}

#endif
