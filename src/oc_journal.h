/*
 * oc_journal: a file that grows by one line per turn.
 *
 * While it is open no other journal, of this or another process, writes to
 * the file: it is locked (flock(2), which others may ignore). So before each
 * line the file is looked at, and when it is not as this journal left it,
 * nothing is written. A line is in the file as a whole or, on any error
 * that leaves the process alive, not at all. A process that is killed can
 * leave a part of a line at the end, which the next one takes away.
 *
 * No signal is touched: a host with a limit on the size of files
 * (RLIMIT_FSIZE) is to ignore SIGXFSZ if it wants to live to see the error.
 *
 * The functions that can fail say why in `problem`, without the path.
 */
#ifndef OC_JOURNAL_H
#define OC_JOURNAL_H

#include <stddef.h>
#include <stdint.h>

#include "oc_buf.h"
#include "oc_error.h"
#include "oc_file.h"

typedef struct oc_journal {
  /* public, read only */
  char *name;           /* owned; the path as it was given */
  char problem[OC_PROBLEM_MAX];
  /* private */
  char *path;           /* owned; where the file is, whatever folder the
                           process changes to */
  uint64_t size;        /* as this journal left the file */
  uint64_t device;
  uint64_t inode;
  int fd;               /* -1: closed */
  unsigned char is_new; /* its name may not be on the disk yet */
  unsigned char is_broken;      /* what was written is not known */
} oc_journal;

/* Whether a path, under whatever name, leads to the file of an open journal. */
int oc_journal_is(const oc_journal *journal, const char *path);
/* A closed journal: may be opened, and closed. */
void oc_journal_init(oc_journal *journal);
/*
 * Opens a file, or makes one, and locks it; on an error it stays closed.
 * OC_E_LOCKED, OC_E_NOT_A_FILE, OC_E_WRITE, OC_E_NOMEM.
 */
oc_code oc_journal_open(oc_journal *journal, const char *path);
/* All that is in it. OC_E_FILE_TOO_LARGE, OC_E_UNREADABLE, OC_E_NOMEM. */
oc_code oc_journal_read(oc_journal *journal, size_t max, oc_buf *text);
/*
 * Keeps the first bytes of what was read and cuts off the others; the last
 * line gets the newline that it may lack. To be called before the first
 * append. OC_E_JOURNAL_CHANGED, OC_E_WRITE.
 */
oc_code oc_journal_keep(oc_journal *journal, uint64_t size);
/*
 * Adds a line, which ends in a newline. `sync`: it is on the disk when this
 * returns. OC_E_JOURNAL_CHANGED, OC_E_WRITE; nothing was written then.
 */
oc_code oc_journal_append(oc_journal *journal, const void *line, size_t len,
                          int sync);
/* Idempotent. */
void oc_journal_close(oc_journal *journal);

#endif
