#include "oc_journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "oc_alloc.h"

void oc_journal_init(oc_journal *journal) {
  memset(journal, 0, sizeof *journal);
  journal->fd = -1;
}

void oc_journal_close(oc_journal *journal) {
  if(journal->fd >= 0)
    close(journal->fd);     /* and with it the lock */
  journal->fd = -1;
  oc_free(journal->path);
  journal->path = NULL;
  oc_free(journal->name);
  journal->name = NULL;
}

static oc_code fail_nomem(oc_journal *journal) {
  return oc_file_fail(journal->problem, OC_E_NOMEM, "out of memory");
}

/* Where there are no locks the file is still looked at before each line. */
static oc_code lock(oc_journal *journal) {
  int done;
  do
    done = flock(journal->fd, LOCK_EX | LOCK_NB);
  while(done && errno == EINTR);
  if(done && errno == EWOULDBLOCK)
    return oc_file_fail(journal->problem, OC_E_LOCKED,
                        "another journal has it open");
  return OC_OK;
}

/* A path that stays right when the process changes its folder. */
static char *absolute(const char *path) {
  char *real = realpath(path, NULL);
  char *copy = oc_strndup(real ? real : path, strlen(real ? real : path));
  free(real);
  return copy;
}

/* Whether the file is still there, under its name, and of this size. */
static oc_code check_unchanged(oc_journal *journal) {
  struct stat ours;
  struct stat named;

  if(journal->is_broken)
    return oc_file_fail(journal->problem, OC_E_WRITE,
                        "an earlier error has left it in an unknown state");
  if(fstat(journal->fd, &ours))
    return oc_file_fail_errno(journal->problem, OC_E_WRITE,
                              "cannot be written", errno);
  if(stat(journal->path, &named)) {
    if(errno == ENOENT || errno == ENOTDIR)
      return oc_file_fail(journal->problem, OC_E_JOURNAL_CHANGED,
                          "the file was deleted or moved");
    return oc_file_fail_errno(journal->problem, OC_E_WRITE,
                              "cannot be written", errno);
  }
  if((uint64_t)named.st_dev != journal->device
     || (uint64_t)named.st_ino != journal->inode)
    return oc_file_fail(journal->problem, OC_E_JOURNAL_CHANGED,
                        "the file was replaced by another one");
  if((uint64_t)ours.st_size != journal->size)
    return oc_file_fail(journal->problem, OC_E_JOURNAL_CHANGED,
                        "somebody else has written to the file");
  return OC_OK;
}

oc_code oc_journal_open(oc_journal *journal, const char *path) {
  struct stat status;
  oc_code code;

  journal->is_broken = 0;
  journal->fd = oc_file_open(path, O_RDWR | O_CREAT | O_APPEND, OC_E_WRITE,
                             &status, &code, journal->problem);
  if(journal->fd < 0)
    return code;
  code = lock(journal);
  if(!code && fstat(journal->fd, &status))
    code = oc_file_fail_errno(journal->problem, OC_E_WRITE,
                              "cannot be opened", errno);
  if(!code) {
    journal->device = (uint64_t)status.st_dev;
    journal->inode = (uint64_t)status.st_ino;
    journal->size = (uint64_t)status.st_size;
    journal->is_new = !journal->size;
    journal->name = oc_strndup(path, strlen(path));
    journal->path = absolute(path);
    /* a save may have replaced it before it was locked */
    code = journal->name && journal->path ? check_unchanged(journal)
                                          : fail_nomem(journal);
  }
  if(code)
    oc_journal_close(journal);
  return code;
}

static oc_code fail_closed(oc_journal *journal) {
  return oc_file_fail(journal->problem, OC_E_WRITE, "the journal is closed");
}

oc_code oc_journal_read(oc_journal *journal, size_t max, oc_buf *text) {
  oc_code code;
  if(journal->fd < 0)
    return fail_closed(journal);
  code = oc_file_read_open(journal->fd, max, text, journal->problem);
  if(!code)
    journal->size = text->len;
  return code;
}

/* Cuts the file; a file that cannot be cut is not written to any more. */
static int cut(oc_journal *journal, uint64_t size) {
  int done;
  do
    done = ftruncate(journal->fd, (off_t)size);
  while(done && errno == EINTR);
  if(done) {
    journal->is_broken = 1;
    return errno;
  }
  journal->size = size;
  return 0;
}

oc_code oc_journal_append(oc_journal *journal, const void *line, size_t len,
                          int sync) {
  oc_code code;
  int number;

  if(journal->fd < 0)
    return fail_closed(journal);
  code = check_unchanged(journal);
  if(code)
    return code;
  number = oc_file_write(journal->fd, line, len);
  if(!number && sync) {
    number = oc_file_sync(journal->fd);
    /* after that nobody knows what of the file is on the disk */
    if(number)
      journal->is_broken = 1;
    else if(journal->is_new)
      oc_file_sync_folder(journal->path);
    journal->is_new = 0;
  }
  if(number) {
    cut(journal, journal->size);
    return oc_file_fail_errno(journal->problem, OC_E_WRITE,
                              "cannot be written", number);
  }
  journal->size += len;
  return OC_OK;
}

/* Whether the file ends in a newline, or has no line; -1: an errno. */
static int ends_line(const oc_journal *journal) {
  char last;
  ssize_t got;

  if(!journal->size)
    return 1;
  do
    got = pread(journal->fd, &last, 1, (off_t)(journal->size - 1));
  while(got < 0 && errno == EINTR);
  if(got < 0)
    return -1;
  return got == 1 && last == '\n';
}

oc_code oc_journal_keep(oc_journal *journal, uint64_t size) {
  oc_code code;
  int ends;

  if(journal->fd < 0)
    return fail_closed(journal);
  code = check_unchanged(journal);
  if(code)
    return code;
  if(size < journal->size) {
    int number = cut(journal, size);
    if(number)
      return oc_file_fail_errno(journal->problem, OC_E_WRITE,
                                "its broken end cannot be cut off", number);
  }
  ends = ends_line(journal);
  if(ends < 0)
    return oc_file_fail_errno(journal->problem, OC_E_WRITE,
                              "cannot be read", errno);
  return ends ? OC_OK : oc_journal_append(journal, "\n", 1, 0);
}

int oc_journal_is(const oc_journal *journal, const char *path) {
  struct stat status;
  return journal->fd >= 0 && !stat(path, &status)
         && (uint64_t)status.st_dev == journal->device
         && (uint64_t)status.st_ino == journal->inode;
}
