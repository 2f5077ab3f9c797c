#include "oc_media.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "oc_alloc.h"
#include "oc_base64.h"

/* Bytes of a file that are read at once. */
#define PIECE (48 * 1024)

#if defined(__APPLE__)
#define MTIME st_mtimespec
#else
#define MTIME st_mtim
#endif

/* {==== types ==== */

static const oc_media_type types[] = {
  { "image/png", "png", "a PNG image", OC_MEDIA_IMAGE },
  { "image/jpeg", "jpg", "a JPEG image", OC_MEDIA_IMAGE },
  { "image/gif", "gif", "a GIF image", OC_MEDIA_IMAGE },
  { "image/webp", "webp", "a WebP image", OC_MEDIA_IMAGE },
  { "application/pdf", "pdf", "a PDF document", OC_MEDIA_FILE },
  { "audio/wav", "wav", "WAV audio", OC_MEDIA_AUDIO },
  { "audio/mpeg", "mp3", "MP3 audio", OC_MEDIA_AUDIO }
};

enum { PNG, JPEG, GIF, WEBP, PDF, WAV, MP3 };

static int begins(const unsigned char *bytes, size_t len, const char *with,
                  size_t with_len) {
  return len >= with_len && !memcmp(bytes, with, with_len);
}

#define BEGINS(with) begins(at, len, with, sizeof(with) - 1)

/*
 * An ID3 tag, or the header of a frame of layer III: eleven ones, and no
 * reserved version, bit rate or sample rate.
 */
static int is_mp3(const unsigned char *at, size_t len) {
  if(BEGINS("ID3"))
    return len >= 10 && at[3] != 0xff && at[4] != 0xff;
  return len >= 4 && at[0] == 0xff && (at[1] & 0xe0) == 0xe0
         && (at[1] & 0x18) != 0x08 && (at[1] & 0x06) == 0x02
         && (at[2] & 0xf0) != 0xf0 && (at[2] & 0x0c) != 0x0c;
}

/* Producers put blanks or a byte order mark in front of the header. */
static int is_pdf(const unsigned char *at, size_t len) {
  if(BEGINS("\xef\xbb\xbf")) {
    at += 3;
    len -= 3;
  }
  while(len && (*at == ' ' || (*at >= '\t' && *at <= '\r'))) {
    at++;
    len--;
  }
  return BEGINS("%PDF-");
}

const oc_media_type *oc_media_detect(const void *bytes, size_t len) {
  const unsigned char *at = bytes;

  if(BEGINS("\x89PNG\r\n\x1a\n"))
    return &types[PNG];
  if(BEGINS("\xff\xd8\xff"))
    return &types[JPEG];
  if(BEGINS("GIF87a") || BEGINS("GIF89a"))
    return &types[GIF];
  if(BEGINS("RIFF") && len >= 12 && !memcmp(at + 8, "WEBP", 4))
    return &types[WEBP];
  if(BEGINS("RIFF") && len >= 12 && !memcmp(at + 8, "WAVE", 4))
    return &types[WAV];
  if(is_pdf(at, len))
    return &types[PDF];
  if(is_mp3(at, len))
    return &types[MP3];
  return NULL;
}

/* }==== */

/* {==== checking ==== */

static oc_code fail(oc_media *media, oc_code code, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;

static oc_code fail(oc_media *media, oc_code code, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(media->problem, sizeof media->problem, format, args);
  va_end(args);
  return code;
}

/* strerror() is neither safe with threads nor the same in every locale. */
static oc_code fail_errno(oc_media *media, int number) {
  switch(number) {
  case ENOENT:
  case ENOTDIR:
    return fail(media, OC_E_NO_FILE, "no such file");
  case EACCES:
  case EPERM:
    return fail(media, OC_E_UNREADABLE, "permission denied");
  case EMFILE:
  case ENFILE:
    return fail(media, OC_E_UNREADABLE, "too many open files");
  case ENAMETOOLONG:
    return fail(media, OC_E_UNREADABLE, "the name is too long");
  case ELOOP:
    return fail(media, OC_E_UNREADABLE, "too many symbolic links");
  case ENXIO:
  case ENODEV:
  case EOPNOTSUPP:
    return fail(media, OC_E_UNREADABLE, "not a regular file");
  case EIO:
    return fail(media, OC_E_UNREADABLE, "input/output error");
  default:
    return fail(media, OC_E_UNREADABLE, "cannot be read (errno %d)", number);
  }
}

static oc_code check_size(oc_media *media, uint64_t size) {
  /* keeps sums of sizes from overflowing */
  size_t max = media->max < SIZE_MAX / 16 ? media->max : SIZE_MAX / 16;
  if(size == 0)
    return fail(media, OC_E_EMPTY_FILE, "%s",
                media->path ? "the file is empty" : "there are no bytes");
  if(size > max)
    return fail(media, OC_E_FILE_TOO_LARGE,
                "%llu bytes, more than the limit of %llu (max_bytes)",
                (unsigned long long)size, (unsigned long long)max);
  return OC_OK;
}

static oc_code check_type(oc_media *media, const oc_media_type *type) {
  media->type = type;
  if(!type && media->declared)
    return OC_OK;
  switch(media->kind) {
  case OC_MEDIA_IMAGE:
    if(!type)
      return fail(media, OC_E_UNKNOWN_TYPE,
                  "not a PNG, JPEG, WebP or GIF image (for another kind of "
                  "image say type = \"image/...\")");
    if(type->kind != OC_MEDIA_IMAGE)
      return fail(media, OC_E_WRONG_TYPE, "%s, not an image",
                  type->description);
    break;
  case OC_MEDIA_AUDIO:
    if(!type)
      return fail(media, OC_E_UNKNOWN_TYPE,
                  "not WAV or MP3 audio (for another kind of audio say "
                  "type = \"audio/...\")");
    if(type->kind != OC_MEDIA_AUDIO)
      return fail(media, OC_E_WRONG_TYPE, "%s, not audio",
                  type->description);
    break;
  case OC_MEDIA_FILE:
    if(!type)
      return fail(media, OC_E_UNKNOWN_TYPE,
                  "neither PDF nor PNG, JPEG, WebP, GIF, WAV or MP3 (for "
                  "another kind of file say type = \"...\")");
    break;
  }
  return OC_OK;
}

/* The subtype of a declared type is its format, with two known aliases. */
static const char *format_of(const oc_media *media) {
  const char *slash;
  if(media->type)
    return media->type->format;
  slash = strchr(media->declared, '/');
  if(!slash)
    return media->declared;
  if(!strcmp(slash, "/mpeg"))
    return "mp3";
  return strcmp(slash, "/x-wav") ? slash + 1 : "wav";
}

static const char *name_of(const oc_media *media) {
  return media->type ? media->type->name : media->declared;
}

#define URL_HEAD "\"data:"
#define URL_MIDDLE ";base64,"
#define URL_TAIL "\""
#define AUDIO_HEAD "{\"data\":\""
#define AUDIO_MIDDLE "\",\"format\":\""
#define AUDIO_TAIL "\"}"

static void set_size(oc_media *media, size_t bytes) {
  media->size = oc_base64_size(bytes);
  if(media->kind == OC_MEDIA_AUDIO)
    media->size += strlen(AUDIO_HEAD) + strlen(AUDIO_MIDDLE)
                   + strlen(format_of(media)) + strlen(AUDIO_TAIL);
  else
    media->size += strlen(URL_HEAD) + strlen(name_of(media))
                   + strlen(URL_MIDDLE) + strlen(URL_TAIL);
}

/* Reads until the piece is full or the file ends; -1: errno. */
static ssize_t read_piece(int fd, void *to, size_t max) {
  size_t done = 0;
  while(done < max) {
    ssize_t got = read(fd, (char *)to + done, max - done);
    if(got < 0 && errno == EINTR)
      continue;
    if(got < 0)
      return -1;
    if(got == 0)
      break;
    done += (size_t)got;
  }
  return (ssize_t)done;
}

/* Opens the file and notes which one it is; -1: failed, with `*code`. */
static int open_file(oc_media *media, oc_media_stamp *stamp, oc_code *code) {
  struct stat status;
  int fd;

  /* a pipe that nobody writes to would keep us waiting */
  do
    fd = open(media->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  while(fd < 0 && errno == EINTR);
  if(fd < 0 || fstat(fd, &status)) {
    *code = fail_errno(media, errno);
    if(fd >= 0)
      close(fd);
    return -1;
  }
  if(S_ISDIR(status.st_mode))
    *code = fail(media, OC_E_UNREADABLE, "a directory");
  else if(!S_ISREG(status.st_mode))
    *code = fail(media, OC_E_UNREADABLE, "not a regular file");
  else
    *code = check_size(media, (uint64_t)status.st_size);
  if(*code) {
    close(fd);
    return -1;
  }
  memset(stamp, 0, sizeof *stamp);
  stamp->device = status.st_dev;
  stamp->inode = status.st_ino;
  stamp->seconds = (int64_t)status.MTIME.tv_sec;
  stamp->nanoseconds = (int64_t)status.MTIME.tv_nsec;
  stamp->size = (size_t)status.st_size;
  return fd;
}

oc_code oc_media_probe(oc_media *media) {
  oc_code code;

  if(!media->path) {
    code = check_size(media, media->len);
    if(!code)
      code = check_type(media, oc_media_detect(media->data, media->len));
    if(!code)
      set_size(media, media->len);
  }
  else {
    unsigned char head[OC_MEDIA_HEAD];
    ssize_t got;
    int fd = open_file(media, &media->stamp, &code);
    if(fd < 0)
      return code;
    got = read_piece(fd, head, sizeof head);
    code = got < 0 ? fail_errno(media, errno)
                   : check_type(media, oc_media_detect(head, (size_t)got));
    close(fd);
    if(!code)
      set_size(media, media->stamp.size);
  }
  return code;
}

/* }==== */

/* {==== writing ==== */

static oc_code fail_changed(oc_media *media) {
  return fail(media, OC_E_FILE_CHANGED, "the file changed while it was read");
}

static int is_same(const oc_media_stamp *a, const oc_media_stamp *b) {
  return a->device == b->device && a->inode == b->inode
         && a->seconds == b->seconds && a->nanoseconds == b->nanoseconds
         && a->size == b->size;
}

/* Whether the file behind the descriptor is still the one of the stamp. */
static int is_unchanged(const oc_media *media, int fd) {
  struct stat status;
  return !fstat(fd, &status)
         && (uint64_t)status.st_size == media->stamp.size
         && (int64_t)status.MTIME.tv_sec == media->stamp.seconds
         && (int64_t)status.MTIME.tv_nsec == media->stamp.nanoseconds;
}

/* All bytes of the file as base64. */
static oc_code copy_file(oc_media *media, int fd, unsigned char *piece,
                         oc_buf *out) {
  oc_base64 encoder;
  size_t left = media->stamp.size;
  oc_code code = OC_OK;

  oc_base64_begin(&encoder);
  while(!code && left) {
    size_t want = left < PIECE ? left : PIECE;
    ssize_t got = read_piece(fd, piece, want);
    if(got < 0)
      return fail_errno(media, errno);
    if((size_t)got < want)
      return fail_changed(media);
    /* a file rewritten within one tick of the clock has its old time */
    if(left == media->stamp.size
       && oc_media_detect(piece, want < OC_MEDIA_HEAD ? want : OC_MEDIA_HEAD)
          != media->type)
      return fail_changed(media);
    code = oc_base64_append(&encoder, out, piece, want);
    left -= want;
  }
  if(!code)
    code = oc_base64_end(&encoder, out);
  if(!code && !is_unchanged(media, fd))
    code = fail_changed(media);
  return code;
}

static oc_code append_file(oc_media *media, oc_buf *out) {
  oc_media_stamp stamp;
  unsigned char *piece;
  oc_code code;
  int fd = open_file(media, &stamp, &code);

  if(fd < 0)
    return code;
  if(!is_same(&stamp, &media->stamp)) {
    close(fd);
    return fail_changed(media);
  }
  piece = oc_malloc(PIECE);
  code = piece ? copy_file(media, fd, piece, out) : OC_E_NOMEM;
  oc_free(piece);
  close(fd);
  return code;
}

static oc_code append_base64(oc_media *media, oc_buf *out) {
  oc_base64 encoder;
  oc_code code;

  if(media->path)
    return append_file(media, out);
  oc_base64_begin(&encoder);
  code = oc_base64_append(&encoder, out, media->data, media->len);
  return code ? code : oc_base64_end(&encoder, out);
}

oc_code oc_media_append(oc_media *media, oc_buf *out) {
  int is_audio = media->kind == OC_MEDIA_AUDIO;
  oc_code code = oc_buf_reserve(out, media->size);

  if(!code)
    code = oc_buf_puts(out, is_audio ? AUDIO_HEAD : URL_HEAD);
  if(!code && !is_audio)
    code = oc_buf_puts(out, name_of(media));
  if(!code && !is_audio)
    code = oc_buf_puts(out, URL_MIDDLE);
  if(!code)
    code = append_base64(media, out);
  if(!code && is_audio)
    code = oc_buf_puts(out, AUDIO_MIDDLE);
  if(!code && is_audio)
    code = oc_buf_puts(out, format_of(media));
  if(!code)
    code = oc_buf_puts(out, is_audio ? AUDIO_TAIL : URL_TAIL);
  return code;
}

/* }==== */
