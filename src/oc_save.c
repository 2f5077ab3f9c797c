#include "oc_save.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "oc_alloc.h"
#include "oc_random.h"

/* So much is gathered before it is written. */
#define PIECE (64 * 1024)

/* Links that are followed before it is taken for a circle. */
#define MAX_LINKS 40

#define NAME_HEAD ".opperchat-"
#define NAME_TAIL ".tmp"
#define NAME_DIGITS 16

/* So much of a folder is looked through for temporary files of the dead. */
#define MAX_ENTRIES 10000

void oc_save_init(oc_save *save) {
  save->target = NULL;
  save->temporary = NULL;
  save->fd = -1;
  oc_buf_init(&save->pending, SIZE_MAX / 2);
}

/* Bytes of a path up to its last name. */
static size_t folder_len(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? (size_t)(slash - path) + 1 : 0;
}

/* The folder of `path` with another name in it; the caller frees it. */
static char *beside(const char *path, const char *name, size_t len) {
  size_t folder = *name == '/' ? 0 : folder_len(path);
  char *result = oc_malloc(folder + len + 1);
  if(result) {
    memcpy(result, path, folder);
    memcpy(result + folder, name, len);
    result[folder + len] = '\0';
  }
  return result;
}

/* Follows one symbolic link. 1: followed, 0: it is none, -1: errno. */
static int follow(char **path) {
  char name[4096];
  char *next;
  struct stat status;
  ssize_t len;

  if(lstat(*path, &status) || !S_ISLNK(status.st_mode))
    return 0;
  len = readlink(*path, name, sizeof name);
  if(len < 0)
    return -1;
  if((size_t)len == sizeof name) {
    errno = ENAMETOOLONG;
    return -1;
  }
  next = beside(*path, name, (size_t)len);
  if(!next) {
    errno = ENOMEM;
    return -1;
  }
  oc_free(*path);
  *path = next;
  return 1;
}

/* What is to be replaced: its path without links at its end. */
static oc_code find_target(oc_save *save, const char *path, char *problem) {
  int links = 0;
  int followed = 1;

  save->target = oc_strndup(path, strlen(path));
  if(!save->target)
    return oc_file_fail(problem, OC_E_NOMEM, "out of memory");
  while(followed > 0) {
    followed = follow(&save->target);
    if(followed > 0 && ++links > MAX_LINKS) {
      errno = ELOOP;
      followed = -1;
    }
  }
  if(!followed)
    return OC_OK;
  return oc_file_fail_errno(problem,
                            errno == ENOMEM ? OC_E_NOMEM : OC_E_WRITE,
                            "cannot be written", errno);
}

/* {==== temporary files ==== */

/*
 * A temporary file is locked while somebody writes it. The lock goes with
 * its process, however that ends: what has none was left behind.
 */

/*
 * Locks a new file. 0: somebody took it for one that was left behind, in the
 * moment before. Where files cannot be locked none is ever removed either.
 */
static int hold(int fd) {
  struct stat status;
  if(flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
    return 0;
  return fstat(fd, &status) || status.st_nlink > 0;
}

static int is_temporary_name(const char *name) {
  size_t head = sizeof NAME_HEAD - 1;
  return !strncmp(name, NAME_HEAD, head)
         && strspn(name + head, "0123456789abcdef") == NAME_DIGITS
         && !strcmp(name + head + NAME_DIGITS, NAME_TAIL);
}

/*
 * Removes a temporary file that nobody writes any more. One whose name is
 * gone is in its place by now and is not locked, not even for a moment: it
 * may be a journal that somebody opens.
 */
static void remove_stale(int folder, const char *name) {
  struct stat opened;
  struct stat named;
  int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY
                                | O_CLOEXEC);
  if(fd < 0)
    return;
  if(!fstat(fd, &opened) && S_ISREG(opened.st_mode)
     && !fstatat(folder, name, &named, AT_SYMLINK_NOFOLLOW)
     && named.st_ino == opened.st_ino && named.st_dev == opened.st_dev
     && !flock(fd, LOCK_EX | LOCK_NB))
    unlinkat(folder, name, 0);
  close(fd);
}

/* Removes what killed processes have left in the folder of a path. What
   cannot be removed is no reason not to save. */
static oc_code clean_folder(const char *path, char *problem) {
  char *name = beside(path, "", 0);
  const struct dirent *entry;
  DIR *folder;
  int seen = 0;

  if(!name)
    return oc_file_fail(problem, OC_E_NOMEM, "out of memory");
  folder = opendir(*name ? name : ".");
  oc_free(name);
  if(!folder)
    return OC_OK;
  while(seen++ < MAX_ENTRIES && (entry = readdir(folder)) != NULL) {
    if(is_temporary_name(entry->d_name))
      remove_stale(dirfd(folder), entry->d_name);
  }
  closedir(folder);
  return OC_OK;
}

static oc_code open_temporary(oc_save *save, char *problem) {
  char name[sizeof NAME_HEAD + NAME_DIGITS + sizeof NAME_TAIL];
  int number = EEXIST;
  int tries;

  for(tries = 0; tries < 100 && number == EEXIST; tries++) {
    size_t len = sizeof NAME_HEAD - 1;
    memcpy(name, NAME_HEAD, len);
    oc_random_hex(name + len, NAME_DIGITS);
    len += NAME_DIGITS;
    memcpy(name + len, NAME_TAIL, sizeof NAME_TAIL);
    save->temporary = beside(save->target, name, strlen(name));
    if(!save->temporary)
      return oc_file_fail(problem, OC_E_NOMEM, "out of memory");
    save->fd = open(save->temporary,
                    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if(save->fd >= 0 && hold(save->fd))
      return OC_OK;
    number = save->fd >= 0 || errno == EINTR ? EEXIST : errno;
    if(save->fd >= 0) {
      close(save->fd);
      save->fd = -1;
      unlink(save->temporary);
    }
    oc_free(save->temporary);
    save->temporary = NULL;
  }
  if(number == ENOENT)
    return oc_file_fail(problem, OC_E_WRITE, "there is no such folder");
  return oc_file_fail_errno(problem, OC_E_WRITE,
                            "no file can be made in this folder", number);
}

/* }==== */

/*
 * Owner and permissions of the old file. What was for its group is not for
 * another one, should the group not be ours to give.
 */
static int copy_mode(int fd, const struct stat *old) {
  mode_t mode = old->st_mode & 07777;
  struct stat status;

  if(fstat(fd, &status))
    return errno;
  if((status.st_uid != old->st_uid || status.st_gid != old->st_gid)
     && fchown(fd, old->st_uid, old->st_gid)
     && fchown(fd, (uid_t)-1, old->st_gid))
    mode &= ~(mode_t)070;
  return fchmod(fd, mode) ? errno : 0;
}

oc_code oc_save_begin(oc_save *save, const char *path, char *problem) {
  struct stat old;
  int exists;
  oc_code code = find_target(save, path, problem);

  if(code)
    return code;
  exists = !stat(save->target, &old);
  if(exists && !S_ISREG(old.st_mode))
    return oc_file_fail(problem, OC_E_NOT_A_FILE, "%s",
                        S_ISDIR(old.st_mode) ? "it is a folder"
                                             : "not a regular file");
  if(!exists && errno != ENOENT)
    return oc_file_fail_errno(problem, OC_E_WRITE, "cannot be written",
                              errno);
  if(!exists && !save->target[folder_len(save->target)])
    return oc_file_fail(problem, OC_E_WRITE, "there is no such folder");
  /* the folder's owner could replace what he made read-only; he said no */
  if(exists && access(save->target, W_OK))
    return oc_file_fail_errno(problem, OC_E_WRITE, "cannot be written",
                              errno);
  code = clean_folder(save->target, problem);
  if(!code)
    code = open_temporary(save, problem);
  if(!code && exists) {
    int number = copy_mode(save->fd, &old);
    if(number)
      code = oc_file_fail_errno(problem, OC_E_WRITE,
                                "its permissions cannot be kept", number);
  }
  return code;
}

static oc_code flush(oc_save *save, char *problem) {
  int number = oc_file_write(save->fd, save->pending.data,
                             save->pending.len);
  oc_buf_clear(&save->pending);
  return number ? oc_file_fail_errno(problem, OC_E_WRITE,
                                     "cannot be written", number)
                : OC_OK;
}

oc_code oc_save_write(oc_save *save, const void *bytes, size_t len,
                      char *problem) {
  oc_code code = oc_buf_append(&save->pending, bytes, len);
  if(code)
    return oc_file_fail(problem, code, "%s", oc_code_message(code));
  return save->pending.len < PIECE ? OC_OK : flush(save, problem);
}

oc_code oc_save_commit(oc_save *save, char *problem) {
  oc_code code = flush(save, problem);
  int number;
  int lock;

  if(code)
    return code;
  number = oc_file_sync(save->fd);
  /* it stays locked until it has its name */
  lock = fcntl(save->fd, F_DUPFD_CLOEXEC, 0);
  /* some file systems say only now that there was no room */
  if(close(save->fd) && !number && errno != EINTR)
    number = errno;
  save->fd = -1;
  if(!number && rename(save->temporary, save->target))
    number = errno;
  if(lock >= 0)
    close(lock);
  if(number)
    return oc_file_fail_errno(problem, OC_E_WRITE, "cannot be written",
                              number);
  oc_free(save->temporary);
  save->temporary = NULL;
  oc_file_sync_folder(save->target);
  return OC_OK;
}

void oc_save_abort(oc_save *save) {
  if(save->fd >= 0)
    close(save->fd);
  if(save->temporary)
    unlink(save->temporary);
  oc_free(save->temporary);
  oc_free(save->target);
  oc_buf_free(&save->pending);
  oc_save_init(save);
}
