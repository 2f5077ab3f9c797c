/*
 * oc_save: puts a whole new content in the place of a file, or nothing.
 *
 * What is written goes into a temporary file beside the target and takes
 * its place in the end. Until then, and whenever anything fails, the old
 * file is as it was. The new one has the old one's permissions, or is
 * private to its owner. A symbolic link stays one: what it points at is
 * replaced. A process that is killed meanwhile leaves the temporary file,
 * `.opperchat-*.tmp`, behind; who saves in the same folder next removes it.
 */
#ifndef OC_SAVE_H
#define OC_SAVE_H

#include "oc_buf.h"
#include "oc_error.h"
#include "oc_file.h"

typedef struct oc_save {
  /* private */
  char *target;         /* owned; what the path's symbolic links lead to */
  char *temporary;      /* owned; NULL: no such file */
  oc_buf pending;       /* not written yet */
  int fd;               /* -1: none */
} oc_save;

/* An inactive one: may be aborted, and begun. */
void oc_save_init(oc_save *save);
/* OC_E_NOT_A_FILE, OC_E_WRITE, OC_E_NOMEM. */
oc_code oc_save_begin(oc_save *save, const char *path, char *problem);
oc_code oc_save_write(oc_save *save, const void *bytes, size_t len,
                      char *problem);
/* The new content is on the disk and in its place. */
oc_code oc_save_commit(oc_save *save, char *problem);
/* Frees all, and removes a temporary file that was not committed. */
void oc_save_abort(oc_save *save);

#endif
