#include "failing.h"
#include "test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/mount.h>
#endif

#include "../../src/oc_events.h"
#include "../../src/oc_journal.h"
#include "../../src/oc_save.h"

#define MAX (SIZE_MAX / 8)

static char folder[] = "/tmp/opperchat-journal-XXXXXX";

/* A path in the folder of this run; four of them live at a time. */
static const char *in_folder(const char *name) {
  static char paths[4][4200];
  static int turn;
  char *path = paths[turn++ % 4];
  snprintf(path, sizeof paths[0], "%s/%s", folder, name);
  return path;
}

static void put_file(const char *path, const char *text, size_t len) {
  FILE *file = fopen(path, "wb");
  CHECK(file && fwrite(text, 1, len, file) == len);
  if(file)
    CHECK(!fclose(file));
}

static int file_is(const char *path, const char *text) {
  oc_buf buf;
  char problem[OC_PROBLEM_MAX];
  int is;
  oc_buf_init(&buf, MAX);
  is = !oc_file_read(path, MAX, &buf, problem) && buf.len == strlen(text)
       && !memcmp(buf.data, text, buf.len);
  if(!is)
    printf("%s holds '%.*s'\n", path, (int)buf.len, buf.data);
  oc_buf_free(&buf);
  return is;
}

static int mode_of(const char *path) {
  struct stat status;
  return stat(path, &status) ? -1 : (int)(status.st_mode & 07777);
}

/* How many files a folder has, but for `.` and `..`. */
static int count_files(const char *path) {
  DIR *dir = opendir(path);
  int count = -2;
  while(dir && readdir(dir))
    count++;
  if(dir)
    closedir(dir);
  return count;
}

/* Runs a function in a process of its own; how many checks failed in it. */
static int in_child(void (*function)(const char *), const char *argument) {
  int status;
  pid_t child = fork();
  if(!child) {
    alarm(120);
    test_bad = 0;
    function(argument);
    fflush(stdout);
    _exit(test_bad < 100 ? test_bad : 100);
  }
  if(waitpid(child, &status, 0) != child || !WIFEXITED(status))
    return -1;
  return WEXITSTATUS(status);
}

/* Opens a journal and keeps all that is in it. */
static oc_code open_all(oc_journal *journal, const char *path) {
  oc_buf text;
  oc_code code;
  oc_journal_init(journal);
  oc_buf_init(&text, MAX);
  code = oc_journal_open(journal, path);
  if(!code)
    code = oc_journal_read(journal, MAX, &text);
  if(!code)
    code = oc_journal_keep(journal, text.len);
  oc_buf_free(&text);
  return code;
}

static oc_code add(oc_journal *journal, const char *line) {
  return oc_journal_append(journal, line, strlen(line), 0);
}

/* {==== writing a journal ==== */

TEST(writes_lines) {
  const char *path = in_folder("lines");
  oc_journal journal;
  mode_t mask = umask(0);

  CHECK(!open_all(&journal, path));
  umask(mask);
  CHECK(mode_of(path) == 0600);
  CHECK(fcntl(journal.fd, F_GETFD) & FD_CLOEXEC);
  CHECK(!oc_journal_append(&journal, "one\n", 4, 1));
  CHECK(!add(&journal, "two\n"));
  CHECK(file_is(path, "one\ntwo\n"));
  oc_journal_close(&journal);
  oc_journal_close(&journal);
  CHECK(add(&journal, "no\n") == OC_E_WRITE);
  CHECK(oc_journal_keep(&journal, 0) == OC_E_WRITE);
  CHECK(!open_all(&journal, path));
  CHECK(!oc_journal_append(&journal, "three\n", 6, 1));
  oc_journal_close(&journal);
  CHECK(file_is(path, "one\ntwo\nthree\n"));
  chmod(path, 0644);
  CHECK(!open_all(&journal, path));
  CHECK(mode_of(path) == 0644);
  oc_journal_close(&journal);
}

TEST(mends_the_end) {
  const char *path = in_folder("end");
  oc_journal journal;
  oc_buf text;

  put_file(path, "one\ntwo\nthr", 11);
  oc_buf_init(&text, MAX);
  oc_journal_init(&journal);
  CHECK(!oc_journal_open(&journal, path));
  CHECK(!oc_journal_read(&journal, MAX, &text));
  CHECK(text.len == 11 && file_is(path, "one\ntwo\nthr"));
  CHECK(!oc_journal_keep(&journal, 8));
  CHECK(!add(&journal, "3\n"));
  oc_journal_close(&journal);
  CHECK(file_is(path, "one\ntwo\n3\n"));
  put_file(path, "one", 3);
  CHECK(!open_all(&journal, path));
  CHECK(!add(&journal, "two\n"));
  oc_journal_close(&journal);
  CHECK(file_is(path, "one\ntwo\n"));
  /* somebody who knows nothing of locks writes between reading and keeping */
  oc_buf_clear(&text);
  CHECK(!oc_journal_open(&journal, path));
  CHECK(!oc_journal_read(&journal, MAX, &text));
  put_file(path, "other\n", 6);
  CHECK(oc_journal_keep(&journal, 4) == OC_E_JOURNAL_CHANGED);
  oc_journal_close(&journal);
  CHECK(file_is(path, "other\n"));
  CHECK(!oc_journal_open(&journal, path));
  oc_buf_clear(&text);
  CHECK(oc_journal_read(&journal, 5, &text) == OC_E_FILE_TOO_LARGE);
  oc_journal_close(&journal);
  oc_buf_free(&text);
}

static void refuses(const char *path, oc_code expected) {
  oc_journal journal;
  oc_code code;
  oc_journal_init(&journal);
  code = oc_journal_open(&journal, path);
  CHECK_FOR(code == expected, "%s: %s, %s", path, oc_code_name(code),
            journal.problem);
  CHECK(journal.fd < 0 && *journal.problem && !journal.path);
  oc_journal_close(&journal);
}

static void refuse_all(const char *argument) {
  char name[400];
  (void)argument;
  alarm(20);                /* opening a pipe might wait for ever */
  refuses(folder, OC_E_NOT_A_FILE);
  CHECK(!mkfifo(in_folder("fifo"), 0600));
  refuses(in_folder("fifo"), OC_E_NOT_A_FILE);
  refuses("/dev/full", OC_E_NOT_A_FILE);
  refuses("/dev/null", OC_E_NOT_A_FILE);
  refuses("", OC_E_WRITE);
  refuses(in_folder("none/x"), OC_E_WRITE);
  put_file(in_folder("file"), "", 0);
  refuses(in_folder("file/x"), OC_E_WRITE);
  memset(name, 'x', sizeof name - 1);
  name[sizeof name - 1] = '\0';
  refuses(in_folder(name), OC_E_WRITE);
  CHECK(!symlink("circle", in_folder("circle")));
  refuses(in_folder("circle"), OC_E_WRITE);
}

TEST(refuses_what_is_no_file) {
  CHECK(!in_child(refuse_all, NULL));
}

TEST(has_its_file_alone) {
  const char *path = in_folder("alone");
  oc_journal journal;
  int ready[2];
  int done[2];
  char byte;
  pid_t child;

  CHECK(!open_all(&journal, path));
  refuses(path, OC_E_LOCKED);
  CHECK(!add(&journal, "one\n"));
  oc_journal_close(&journal);

  CHECK(!pipe(ready) && !pipe(done));
  child = fork();
  if(!child) {
    int failed = open_all(&journal, path) || add(&journal, "two\n");
    close(done[1]);
    if(write(ready[1], "x", 1) != 1 || read(done[0], &byte, 1) != 0)
      failed = 1;
    _exit(failed);
  }
  CHECK(read(ready[0], &byte, 1) == 1);
  refuses(path, OC_E_LOCKED);
  CHECK(file_is(path, "one\ntwo\n"));       /* to be read at any time */
  close(done[1]);
  {
    int status = 1;
    waitpid(child, &status, 0);
    CHECK(status == 0);
  }
  CHECK(!open_all(&journal, path));         /* the lock has died with it */
  CHECK(!add(&journal, "three\n"));
  oc_journal_close(&journal);
  CHECK(file_is(path, "one\ntwo\nthree\n"));
  close(ready[0]);
  close(ready[1]);
  close(done[0]);
}

static void append_as_stranger(const char *path, const char *text) {
  FILE *file = fopen(path, "ab");
  CHECK(file && fputs(text, file) >= 0);
  if(file)
    fclose(file);
}

TEST(notices_what_others_do) {
  const char *path = in_folder("others");
  const char *second = in_folder("others2");
  oc_journal journal;

  CHECK(!open_all(&journal, path));
  CHECK(!add(&journal, "one\n"));
  append_as_stranger(path, "foreign\n");
  CHECK(add(&journal, "two\n") == OC_E_JOURNAL_CHANGED);
  CHECK(add(&journal, "two\n") == OC_E_JOURNAL_CHANGED);
  CHECK(file_is(path, "one\nforeign\n"));
  CHECK(!truncate(path, 4));                /* as it was: fine again */
  CHECK(!add(&journal, "two\n"));
  CHECK(!truncate(path, 4));
  CHECK(add(&journal, "three\n") == OC_E_JOURNAL_CHANGED);
  oc_journal_close(&journal);
  CHECK(file_is(path, "one\n"));

  CHECK(!open_all(&journal, path));
  CHECK(!rename(path, second));
  CHECK(add(&journal, "two\n") == OC_E_JOURNAL_CHANGED);
  put_file(path, "one\n", 4);               /* another one, the same size */
  CHECK(add(&journal, "two\n") == OC_E_JOURNAL_CHANGED);
  CHECK_FOR(strstr(journal.problem, "replaced"), "%s", journal.problem);
  oc_journal_close(&journal);
  CHECK(file_is(path, "one\n") && file_is(second, "one\n"));

  CHECK(!open_all(&journal, path));
  CHECK(!unlink(path));
  CHECK(add(&journal, "two\n") == OC_E_JOURNAL_CHANGED);
  CHECK_FOR(strstr(journal.problem, "deleted"), "%s", journal.problem);
  oc_journal_close(&journal);
  CHECK(mode_of(path) == -1);
}

TEST(stays_with_its_file) {
  oc_journal journal;
  char before[4096];

  CHECK(getcwd(before, sizeof before) != NULL);
  CHECK(!chdir(folder));
  CHECK(!symlink("real", "link"));
  CHECK(!open_all(&journal, "link"));
  CHECK(!add(&journal, "one\n"));
  CHECK(!chdir("/"));
  CHECK(!add(&journal, "two\n"));
  CHECK(!chdir(before));
  oc_journal_close(&journal);
  CHECK(file_is(in_folder("real"), "one\ntwo\n"));
}

/* }==== */

/* {==== when the disk says no ==== */

TEST(knows_when_it_knows_nothing) {
  const char *path = in_folder("unknown");
  oc_journal journal;
  int other;
  int own;

  CHECK(!open_all(&journal, path));
  CHECK(!add(&journal, "one\n"));
  /* neither writing nor cutting works */
  own = dup(journal.fd);
  other = open(path, O_RDONLY);
  CHECK(dup2(other, journal.fd) >= 0);
  CHECK(add(&journal, "two\n") == OC_E_WRITE);
  CHECK(dup2(own, journal.fd) >= 0);
  CHECK(add(&journal, "two\n") == OC_E_WRITE);
  CHECK_FOR(strstr(journal.problem, "unknown state"), "%s", journal.problem);
  close(other);
  close(own);
  oc_journal_close(&journal);
  CHECK(!open_all(&journal, path));
  CHECK(!add(&journal, "two\n"));
  oc_journal_close(&journal);
  CHECK(file_is(path, "one\ntwo\n"));
}

static oc_code save_text(const char *path, const char *text, size_t times) {
  oc_save save;
  char problem[OC_PROBLEM_MAX] = "";
  oc_code code;
  oc_save_init(&save);
  code = oc_save_begin(&save, path, problem);
  for(; !code && times; times--)
    code = oc_save_write(&save, text, strlen(text), problem);
  if(!code)
    code = oc_save_commit(&save, problem);
  oc_save_abort(&save);
  CHECK_FOR(!code == !*problem, "%s: %s", path, problem);
  return code;
}

/* A piece of a line that does not fit must not stay; what fits later does. */
static void fill_up(const char *dir) {
  static char line[10000];
  char path[4200];
  char saved[4200];
  char filler[4200];
  oc_journal journal;
  struct stat status;
  oc_code code = OC_OK;
  int lines = 0;

  snprintf(path, sizeof path, "%s/journal", dir);
  snprintf(saved, sizeof saved, "%s/saved", dir);
  snprintf(filler, sizeof filler, "%s/filler", dir);
  memset(line, 'x', sizeof line - 1);
  line[sizeof line - 2] = '\n';
  put_file(filler, line, sizeof line - 1);
  put_file(saved, "old\n", 4);
  CHECK(!open_all(&journal, path));
  while(!code && lines < 1000) {
    code = add(&journal, line);
    lines += !code;
  }
  CHECK_FOR(code == OC_E_WRITE && lines > 2 && lines < 1000, "%d lines: %s",
            lines, oc_code_name(code));
  CHECK_FOR(strstr(journal.problem, "no space")
            || strstr(journal.problem, "too large"), "%s", journal.problem);
  CHECK(!stat(path, &status)
        && status.st_size == (off_t)(lines * (sizeof line - 1)));
  CHECK(save_text(saved, line, 100) == OC_E_WRITE);
  CHECK(file_is(saved, "old\n"));
  CHECK(count_files(dir) == 3);
  /* the same with room again, where that is what was missing */
  CHECK(!unlink(filler));
  if(strstr(journal.problem, "no space")) {
    CHECK(!add(&journal, line));
    CHECK(!stat(path, &status)
          && status.st_size == (off_t)((lines + 1) * (sizeof line - 1)));
  }
  oc_journal_close(&journal);
}

/* A small disk that only this process sees. 0: not allowed to. */
static int mount_small(const char *path, int is_read_only) {
#if defined(__linux__)
  mkdir(path, 0700);
  if(unshare(CLONE_NEWNS)
     || mount("none", "/", "none", MS_REC | MS_PRIVATE, "")
     || mount("none", path, "tmpfs", 0, "size=128k"))
    return 0;
  if(is_read_only) {
    char file[4200];
    snprintf(file, sizeof file, "%s/saved", path);
    put_file(file, "old\n", 4);
    if(mount("none", path, "tmpfs", MS_REMOUNT | MS_RDONLY, "size=128k"))
      return 0;
  }
  return 1;
#else
  (void)path;
  (void)is_read_only;
  return 0;
#endif
}

#define NOT_ALLOWED 77

static void fill_small_disk(const char *path) {
  if(!mount_small(path, 0))
    _exit(NOT_ALLOWED);
  fill_up(path);
}

TEST(survives_a_full_disk) {
  int result = in_child(fill_small_disk, in_folder("full"));
  if(result == NOT_ALLOWED)
    SKIP("file systems cannot be mounted here");
  CHECK(!result);
}

static void fill_allowance(const char *path) {
  struct rlimit limit = { 64 * 1024, 64 * 1024 };
  mkdir(path, 0700);
  signal(SIGXFSZ, SIG_IGN);
  CHECK(!setrlimit(RLIMIT_FSIZE, &limit));
  fill_up(path);
}

TEST(survives_the_limit_of_a_file) {
  CHECK(!in_child(fill_allowance, in_folder("limit")));
}

static void use_read_only(const char *path) {
  char file[4200];
  char other[4200];
  oc_journal journal;

  if(!mount_small(path, 1))
    _exit(NOT_ALLOWED);
  snprintf(file, sizeof file, "%s/saved", path);
  snprintf(other, sizeof other, "%s/other", path);
  oc_journal_init(&journal);
  CHECK(oc_journal_open(&journal, file) == OC_E_WRITE);
  CHECK_FOR(strstr(journal.problem, "read-only"), "%s", journal.problem);
  CHECK(oc_journal_open(&journal, other) == OC_E_WRITE);
  CHECK(save_text(file, "new", 1) == OC_E_WRITE);
  CHECK(save_text(other, "new", 1) == OC_E_WRITE);
  CHECK(file_is(file, "old\n") && count_files(path) == 1);
}

TEST(survives_a_read_only_disk) {
  int result = in_child(use_read_only, in_folder("readonly"));
  if(result == NOT_ALLOWED)
    SKIP("file systems cannot be mounted here");
  CHECK(!result);
}

/* }==== */

/* {==== saving ==== */

TEST(replaces_a_file) {
  const char *path = in_folder("saves/file");
  mode_t mask = umask(0);

  CHECK(!mkdir(in_folder("saves"), 0700));
  CHECK(!save_text(path, "one\n", 1));
  CHECK(file_is(path, "one\n") && mode_of(path) == 0600);
  chmod(path, 0644);
  CHECK(!save_text(path, "two\n", 2));
  CHECK(file_is(path, "two\ntwo\n") && mode_of(path) == 0644);
  CHECK(!save_text(path, "", 0));
  CHECK(file_is(path, ""));
  CHECK(!save_text(path, "0123456789", 100000));
  {
    struct stat status;
    CHECK(!stat(path, &status) && status.st_size == 1000000);
  }
  umask(mask);
  CHECK(count_files(in_folder("saves")) == 1);
}

TEST(leaves_the_old_file_when_it_is_not_committed) {
  const char *path = in_folder("kept");
  oc_save save;
  char problem[OC_PROBLEM_MAX];
  int before;

  put_file(path, "old\n", 4);
  before = count_files(folder);
  oc_save_init(&save);
  oc_save_abort(&save);
  CHECK(!oc_save_begin(&save, path, problem));
  CHECK(fcntl(save.fd, F_GETFD) & FD_CLOEXEC);
  CHECK(!oc_save_write(&save, "new\n", 4, problem));
  CHECK(count_files(folder) == before + 1);
  CHECK(mode_of(save.temporary) == mode_of(path));
  oc_save_abort(&save);
  CHECK(count_files(folder) == before && file_is(path, "old\n"));
  /* the folder goes away meanwhile */
  CHECK(!mkdir(in_folder("gone"), 0700));
  CHECK(!oc_save_begin(&save, in_folder("gone/x"), problem));
  CHECK(!rename(in_folder("gone"), in_folder("gone2")));
  CHECK(oc_save_commit(&save, problem) == OC_E_WRITE);
  oc_save_abort(&save);
}

static int is_link(const char *path) {
  struct stat status;
  return !lstat(path, &status) && S_ISLNK(status.st_mode);
}

TEST(keeps_links) {
  CHECK(!mkdir(in_folder("links"), 0700));
  CHECK(!mkdir(in_folder("links/sub"), 0700));
  put_file(in_folder("links/sub/target"), "old\n", 4);
  CHECK(!symlink("sub/target", in_folder("links/a")));
  CHECK(!symlink(in_folder("links/a"), in_folder("links/b")));
  CHECK(!symlink("nowhere", in_folder("links/dangling")));
  CHECK(!symlink("round", in_folder("links/round")));
  CHECK(!save_text(in_folder("links/b"), "new\n", 1));
  CHECK(is_link(in_folder("links/a")) && is_link(in_folder("links/b")));
  CHECK(file_is(in_folder("links/sub/target"), "new\n"));
  CHECK(!save_text(in_folder("links/dangling"), "new\n", 1));
  CHECK(is_link(in_folder("links/dangling")));
  CHECK(file_is(in_folder("links/nowhere"), "new\n"));
  CHECK(save_text(in_folder("links/round"), "new\n", 1) == OC_E_WRITE);
  CHECK(count_files(in_folder("links")) == 6);
  CHECK(count_files(in_folder("links/sub")) == 1);
}

static void save_refused(const char *argument) {
  (void)argument;
  alarm(20);
  CHECK(!mkfifo(in_folder("fifo2"), 0600));
  CHECK(save_text(in_folder("fifo2"), "x", 1) == OC_E_NOT_A_FILE);
  CHECK(save_text(folder, "x", 1) == OC_E_NOT_A_FILE);
  CHECK(save_text("/dev/full", "x", 1) == OC_E_NOT_A_FILE);
  CHECK(save_text("", "x", 1) == OC_E_WRITE);
  CHECK(save_text(in_folder("nope/"), "x", 1) == OC_E_WRITE);
  CHECK(save_text(in_folder("nope/x"), "x", 1) == OC_E_WRITE);
  put_file(in_folder("plain"), "", 0);
  CHECK(save_text(in_folder("plain/x"), "x", 1) == OC_E_WRITE);
  CHECK(save_text(in_folder("plain/"), "x", 1) == OC_E_WRITE);
}

TEST(saves_only_over_files) {
  CHECK(!in_child(save_refused, NULL));
}

/* What is read-only for everybody stays as it is, for all but root. */
static void save_protected(const char *path) {
  char file[4200];
  oc_journal journal;

  if(geteuid() == 0 && setuid(65534))
    _exit(NOT_ALLOWED);
  snprintf(file, sizeof file, "%s/protected", path);
  oc_journal_init(&journal);
  CHECK(save_text(file, "x", 1) == OC_E_WRITE);
  CHECK(oc_journal_open(&journal, file) == OC_E_WRITE);
  CHECK(!strcmp(journal.problem, "cannot be opened: permission denied"));
  CHECK(file_is(file, "old\n") && count_files(path) == 1);
}

TEST(respects_permissions) {
  const char *path = in_folder("protected");
  int result;

  CHECK(!chmod(folder, 0755));
  CHECK(!mkdir(path, 0777) && !chmod(path, 0777));
  put_file(in_folder("protected/protected"), "old\n", 4);
  CHECK(!chmod(in_folder("protected/protected"), 0444));
  result = in_child(save_protected, path);
  if(result == NOT_ALLOWED)
    SKIP("the user cannot be changed here");
  CHECK(!result);
}

/* }==== */

/* {==== reading ==== */

TEST(reads_files) {
  const char *path = in_folder("reads");
  char problem[OC_PROBLEM_MAX];
  oc_buf text;

  oc_buf_init(&text, MAX);
  put_file(path, "0123456789", 10);
  CHECK(!oc_file_read(path, 10, &text, problem) && text.len == 10);
  oc_buf_clear(&text);
  CHECK(oc_file_read(path, 9, &text, problem) == OC_E_FILE_TOO_LARGE);
  put_file(path, "", 0);
  oc_buf_clear(&text);
  CHECK(!oc_file_read(path, 0, &text, problem) && !text.len && text.data);
  CHECK(oc_file_read(folder, 10, &text, problem) == OC_E_NOT_A_FILE);
  CHECK(oc_file_read("/dev/zero", 10, &text, problem) == OC_E_NOT_A_FILE);
  CHECK(oc_file_read(in_folder("none"), 10, &text, problem) == OC_E_NO_FILE);
  CHECK(oc_file_read(in_folder("reads/x"), 10, &text, problem)
        == OC_E_NO_FILE);
  CHECK(mode_of(in_folder("none")) == -1);
  oc_buf_free(&text);
#if defined(__linux__)
  /* files that have no size until they are read */
  CHECK(!oc_file_read("/proc/self/status", MAX, &text, problem) && text.len);
  oc_buf_free(&text);
  CHECK(oc_file_read("/proc/self/status", 9, &text, problem)
        == OC_E_FILE_TOO_LARGE);
  oc_buf_free(&text);
#endif
}

/* }==== */

/* {==== a process that is killed ==== */

#define HEADER "{\"opperchat\":1}\n"

static unsigned random_number(void) {
  static unsigned seed = 2463534242u;
  seed ^= seed << 13;
  seed ^= seed >> 17;
  seed ^= seed << 5;
  return seed;
}

/* The text of the turn `n`: some are so long that writing them takes time. */
static size_t turn_len(unsigned n) {
  return n % 16 == 7 ? 1000000 : 20 + n * 37 % 3000;
}

static void append_turn(oc_history *list, unsigned n) {
  static char text[1000100];
  oc_message *message;
  oc_flaw flaw;
  size_t head = (size_t)sprintf(text, "%u ", n);
  memset(text + head, 'a' + (int)(n % 26), turn_len(n));
  CHECK(!oc_message_text(&message, OC_ROLE_USER, text, head + turn_len(n),
                         NULL));
  CHECK(!oc_history_append(list, message, &flaw));
  oc_message_unref(message);
  CHECK(!oc_message_text(&message, OC_ROLE_ASSISTANT, "ok", 2, NULL));
  CHECK(!oc_history_append(list, message, &flaw));
  oc_message_unref(message);
}

/* Goes on with a journal for ever, and says after each turn that it is in. */
static void write_for_ever(const char *path, int acknowledge) {
  oc_journal journal;
  oc_history list;
  oc_history before;
  oc_replay replay;
  oc_buf buf;
  unsigned n;

  oc_journal_init(&journal);
  oc_buf_init(&buf, MAX);
  oc_history_init(&list);
  if(oc_journal_open(&journal, path) || oc_journal_read(&journal, MAX, &buf)
     || oc_replay_text(&list, buf.data, buf.len, &replay)
     || oc_journal_keep(&journal, replay.good)
     || (!replay.header.text && add(&journal, HEADER)))
    _exit(1);
  for(n = (unsigned)list.count / 2;; n++) {
    oc_buf_clear(&buf);
    oc_history_fork(&list, &before);
    append_turn(&list, n);
    if(test_bad || oc_event_write(&buf, &before, NULL, &list, "", 0)
       || oc_journal_append(&journal, buf.data, buf.len, 0))
      _exit(2);
    oc_history_free(&before);
    n++;
    if(write(acknowledge, &n, sizeof n) != sizeof n)
      _exit(3);
    n--;
  }
}

/* How many turns there are in the file, each of them as it was written. */
static unsigned read_turns(const char *path, int *torn) {
  oc_history list;
  oc_replay replay;
  oc_buf buf;
  char problem[OC_PROBLEM_MAX];
  unsigned turns = 0;

  oc_history_init(&list);
  oc_buf_init(&buf, MAX);
  if(!oc_file_read(path, MAX, &buf, problem)) {
    CHECK_FOR(!oc_replay_text(&list, buf.data, buf.len, &replay), "%s",
              replay.problem);
    *torn += replay.torn > 0;
    CHECK(list.count % 2 == 0);
    for(; turns < list.count / 2; turns++) {
      const oc_message *message = oc_history_at(&list, 2 * turns);
      char head[60];
      int len = sprintf(head, "{\"role\":\"user\",\"content\":\"%u ", turns);
      CHECK(message->len == (size_t)len + turn_len(turns) + 2
            && !memcmp(message->json, head, (size_t)len));
    }
  }
  oc_history_free(&list);
  oc_buf_free(&buf);
  return turns;
}

TEST(loses_no_turn_when_it_is_killed) {
  const char *path = in_folder("killed");
  unsigned acknowledged = 0;
  int torn = 0;
  int extra = 0;
  unsigned total = 0;
  int round;

  for(round = 0; round < 200; round++) {
    int words[2];
    int status;
    unsigned turns;
    pid_t child;

    if(round % 10 == 0) {
      total += acknowledged;
      unlink(path);
      acknowledged = 0;
    }
    CHECK(!pipe(words));
    child = fork();
    if(!child) {
      close(words[0]);
      write_for_ever(path, words[1]);
    }
    close(words[1]);
    usleep(random_number() % 4000);
    kill(child, SIGKILL);
    while(read(words[0], &turns, sizeof turns) == sizeof turns) {
      CHECK(turns > acknowledged);
      acknowledged = turns;
    }
    close(words[0]);
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
    turns = read_turns(path, &torn);
    CHECK_FOR(turns == acknowledged || turns == acknowledged + 1,
              "round %d: %u of %u", round, turns, acknowledged);
    extra += turns > acknowledged;
    acknowledged = turns;
  }
  if(getenv("OPPERCHAT_FIGURES"))
    printf("%u turns, 200 kills: %d torn ends, %d turns before their word\n",
           total + acknowledged, torn, extra);
}

/* Saves one text and then another one for ever, each longer than a piece. */
static void save_for_ever(const char *path, int started) {
  static char texts[2][300001];
  int i;
  memset(texts[0], 'a', 300000);
  memset(texts[1], 'b', 200000);
  for(i = 0;; i++) {
    if(save_text(path, texts[i % 2], 1))
      _exit(1);
    if(write(started, "x", 1) != 1)
      _exit(2);
  }
}

TEST(keeps_the_old_or_the_new_file_when_it_is_killed) {
  const char *path = in_folder("killed-saves/file");
  int round;

  CHECK(!mkdir(in_folder("killed-saves"), 0700));
  for(round = 0; round < 50; round++) {
    char problem[OC_PROBLEM_MAX];
    char byte;
    oc_buf text;
    int words[2];
    int status;
    pid_t child;

    CHECK(!pipe(words));
    child = fork();
    if(!child) {
      close(words[0]);
      save_for_ever(path, words[1]);
    }
    close(words[1]);
    CHECK(read(words[0], &byte, 1) == 1);
    usleep(random_number() % 2000);
    kill(child, SIGKILL);
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
    close(words[0]);
    oc_buf_init(&text, MAX);
    CHECK(!oc_file_read(path, MAX, &text, problem));
    CHECK(text.len == 300000 || text.len == 200000);
    CHECK(!memchr(text.data, text.len == 300000 ? 'b' : 'a', text.len));
    oc_buf_free(&text);
  }
}

/* }==== */

/* {==== memory ==== */

/* The number of the next descriptor: grows when one is lost. */
static int next_descriptor(void) {
  int fd = dup(0);
  close(fd);
  return fd;
}

TEST(survives_every_failed_allocation) {
  const char *inside = in_folder("memory");
  const char *path = in_folder("memory/file");
  const char *link = in_folder("memory/link");
  int before = next_descriptor();
  oc_journal journal;
  oc_buf text;
  oc_code code = OC_E_NOMEM;
  int n;

  CHECK(!mkdir(inside, 0700));
  put_file(path, "old\n", 4);
  CHECK(!symlink("file", link));
  oc_set_allocator(&failing);
  for(n = 0; code && n < 100; n++) {
    left = n;
    code = save_text(link, "new\n", 1);
    left = -1;
    CHECK_FOR(!code || code == OC_E_NOMEM, "%d", n);
    CHECK(file_is(path, code ? "old\n" : "new\n"));
    CHECK(count_files(inside) == 2);
  }
  CHECK(n > 3);
  code = OC_E_NOMEM;
  oc_buf_init(&text, MAX);
  for(n = 0; code && n < 100; n++) {
    oc_journal_init(&journal);
    left = n;
    code = oc_journal_open(&journal, path);
    if(!code)
      code = oc_journal_read(&journal, MAX, &text);
    left = -1;
    CHECK_FOR(!code || (code == OC_E_NOMEM && *journal.problem), "%d", n);
    oc_journal_close(&journal);
    oc_buf_free(&text);
  }
  CHECK(n > 3);
  oc_set_allocator(&standard);
  CHECK(next_descriptor() == before);
}

/* }==== */

int main(void) {
  char command[100];
  if(!mkdtemp(folder)) {
    perror(folder);
    return 1;
  }
  RUN(writes_lines);
  RUN(mends_the_end);
  RUN(refuses_what_is_no_file);
  RUN(has_its_file_alone);
  RUN(notices_what_others_do);
  RUN(stays_with_its_file);
  RUN(knows_when_it_knows_nothing);
  RUN(survives_a_full_disk);
  RUN(survives_the_limit_of_a_file);
  RUN(survives_a_read_only_disk);
  RUN(replaces_a_file);
  RUN(leaves_the_old_file_when_it_is_not_committed);
  RUN(keeps_links);
  RUN(saves_only_over_files);
  RUN(respects_permissions);
  RUN(reads_files);
  RUN(loses_no_turn_when_it_is_killed);
  RUN(keeps_the_old_or_the_new_file_when_it_is_killed);
  RUN(survives_every_failed_allocation);
  snprintf(command, sizeof command, "rm -rf '%s'", folder);
  if(system(command))
    printf("%s cannot be removed\n", folder);
  return test_report();
}
