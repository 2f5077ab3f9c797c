/*
 * oc_file: what reading and writing conversations on disk have in common.
 *
 * Only regular files are opened: nothing waits for a pipe's other end, and
 * no device notices that it was looked at. Each function that fails says
 * why in `problem`, which has room for OC_PROBLEM_MAX bytes: words without
 * the path, the same in every locale.
 */
#ifndef OC_FILE_H
#define OC_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "oc_buf.h"
#include "oc_error.h"

#define OC_PROBLEM_MAX 192

/* Writes the problem; returns the code. */
oc_code oc_file_fail(char *problem, oc_code code, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;
/* The same with `what` and the meaning of an errno behind it. */
oc_code oc_file_fail_errno(char *problem, oc_code code, const char *what,
                           int number);

/*
 * Opens a regular file with these flags of open(2); one that is created is
 * private to its owner. It closes on exec. -1 and `*code`: OC_E_NO_FILE
 * (only when it was not to be created), OC_E_NOT_A_FILE, `failed`.
 */
int oc_file_open(const char *path, int flags, oc_code failed,
                 struct stat *status, oc_code *code, char *problem);

/*
 * Reads an open file from its beginning to its end into an empty buffer.
 * OC_E_FILE_TOO_LARGE (more than `max` bytes), OC_E_UNREADABLE, OC_E_NOMEM.
 */
oc_code oc_file_read_open(int fd, size_t max, oc_buf *text, char *problem);
/* The same for a file with a path; also OC_E_NO_FILE, OC_E_NOT_A_FILE. */
oc_code oc_file_read(const char *path, size_t max, oc_buf *text,
                     char *problem);

/* Writes all of it, or returns an errno; some of it may be written then. */
int oc_file_write(int fd, const void *bytes, size_t len);
/* Hands what was written to the disk. 0 or an errno. */
int oc_file_sync(int fd);
/*
 * The same for the folder that a path is in, so that a new name in it
 * lasts. Where that cannot be done nothing can be done about it either.
 */
void oc_file_sync_folder(const char *path);

#endif
