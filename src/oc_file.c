#include "oc_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "oc_alloc.h"

/* {==== what goes wrong ==== */

oc_code oc_file_fail(char *problem, oc_code code, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(problem, OC_PROBLEM_MAX, format, args);
  va_end(args);
  return code;
}

/*
 * strerror() is neither safe with threads nor the same in every locale.
 * X(errno, words)
 */
#define ERRNO_MAP(X)                                    \
  X(ENOENT, "no such file or folder")                   \
  X(ENOTDIR, "a part of the path is not a folder")      \
  X(EISDIR, "it is a folder")                           \
  X(EACCES, "permission denied")                        \
  X(EPERM, "operation not permitted")                   \
  X(EROFS, "the file system is read-only")              \
  X(ENOSPC, "no space left on the device")              \
  X(EDQUOT, "the disk quota is used up")                \
  X(EFBIG, "the file would be too large")               \
  X(EIO, "input/output error")                          \
  X(EMFILE, "too many open files")                      \
  X(ENFILE, "too many open files in the system")        \
  X(ENAMETOOLONG, "the name is too long")               \
  X(ELOOP, "too many symbolic links")                   \
  X(ETXTBSY, "the file is being executed")              \
  X(EBUSY, "the file is in use")                        \
  X(ENOMEM, "out of memory")

oc_code oc_file_fail_errno(char *problem, oc_code code, const char *what,
                           int number) {
  switch(number) {
#define X(symbol, words)                                        \
  case symbol:                                                  \
    return oc_file_fail(problem, code, "%s: %s", what, words);
  ERRNO_MAP(X)
#undef X
  default:
    return oc_file_fail(problem, code, "%s: errno %d", what, number);
  }
}

/* }==== */

/* {==== opening and reading ==== */

static oc_code fail_open(char *problem, int flags, oc_code failed,
                         int number) {
  if(!(flags & O_CREAT) && (number == ENOENT || number == ENOTDIR))
    return oc_file_fail(problem, OC_E_NO_FILE, "no such file");
  if(number == ENOENT)
    return oc_file_fail(problem, failed, "there is no such folder");
  if(number == EISDIR)
    return oc_file_fail(problem, OC_E_NOT_A_FILE, "it is a folder");
  if(number == ENXIO || number == ENODEV || number == EOPNOTSUPP)
    return oc_file_fail(problem, OC_E_NOT_A_FILE, "not a regular file");
  return oc_file_fail_errno(problem, failed, "cannot be opened", number);
}

static oc_code check_regular(char *problem, const struct stat *status) {
  if(S_ISREG(status->st_mode))
    return OC_OK;
  return oc_file_fail(problem, OC_E_NOT_A_FILE, "%s",
                      S_ISDIR(status->st_mode) ? "it is a folder"
                                               : "not a regular file");
}

int oc_file_open(const char *path, int flags, oc_code failed,
                 struct stat *status, oc_code *code, char *problem) {
  int fd;

  /* to some devices being opened means something */
  if(!stat(path, status)) {
    *code = check_regular(problem, status);
    if(*code)
      return -1;
  }
  do
    fd = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
  while(fd < 0 && errno == EINTR);
  if(fd < 0) {
    *code = fail_open(problem, flags, failed, errno);
    return -1;
  }
  if(fstat(fd, status))
    *code = oc_file_fail_errno(problem, failed, "cannot be opened", errno);
  else
    *code = check_regular(problem, status);
  if(*code) {
    close(fd);
    return -1;
  }
  return fd;
}

static oc_code fail_too_large(char *problem, size_t max) {
  return oc_file_fail(problem, OC_E_FILE_TOO_LARGE,
                      "larger than the limit of %llu bytes",
                      (unsigned long long)max);
}

oc_code oc_file_read_open(int fd, size_t max, oc_buf *text, char *problem) {
  struct stat status;
  oc_code code;

  if(max > SIZE_MAX / 4)
    max = SIZE_MAX / 4;
  if(fstat(fd, &status))
    return oc_file_fail_errno(problem, OC_E_UNREADABLE, "cannot be read",
                              errno);
  if((uint64_t)status.st_size > max)
    return fail_too_large(problem, max);
  /* one more, so that the end is seen without asking for more memory */
  code = oc_buf_reserve(text, (size_t)status.st_size + 1);
  while(!code) {
    ssize_t got = pread(fd, text->data + text->len, text->cap - text->len,
                        (off_t)text->len);
    if(got < 0 && errno == EINTR)
      continue;
    if(got < 0)
      return oc_file_fail_errno(problem, OC_E_UNREADABLE, "cannot be read",
                                errno);
    if(got == 0)
      return OC_OK;
    text->len += (size_t)got;
    if(text->len > max)
      return fail_too_large(problem, max);
    code = oc_buf_reserve(text, 1);
  }
  return oc_file_fail(problem, code, "%s", oc_code_message(code));
}

oc_code oc_file_read(const char *path, size_t max, oc_buf *text,
                     char *problem) {
  struct stat status;
  oc_code code;
  int fd = oc_file_open(path, O_RDONLY, OC_E_UNREADABLE, &status, &code,
                        problem);
  if(fd < 0)
    return code;
  code = oc_file_read_open(fd, max, text, problem);
  close(fd);
  return code;
}

/* }==== */

/* {==== writing ==== */

int oc_file_write(int fd, const void *bytes, size_t len) {
  const char *at = bytes;
  while(len) {
    ssize_t done = write(fd, at, len);
    if(done < 0 && errno == EINTR)
      continue;
    if(done < 0)
      return errno;
    at += done;
    len -= (size_t)done;
  }
  return 0;
}

int oc_file_sync(int fd) {
  int done;
  do {
#if defined(__APPLE__)
    done = fsync(fd);
#else
    done = fdatasync(fd);
#endif
  } while(done && errno == EINTR);
  /* what cannot be synced at all, such as some network's files */
  return done && errno != EINVAL && errno != ENOTSUP ? errno : 0;
}

void oc_file_sync_folder(const char *path) {
  const char *slash = strrchr(path, '/');
  char *folder;
  int fd;

  if(!slash)
    folder = oc_strndup(".", 1);
  else
    folder = oc_strndup(path, slash == path ? 1 : (size_t)(slash - path));
  if(!folder)
    return;
  fd = open(folder, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
  oc_free(folder);
  if(fd >= 0) {
    while(fsync(fd) && errno == EINTR) {
    }
    close(fd);
  }
}

/* }==== */
