/*
 * oc_media: a picture, a document or a sound, from a file or from memory,
 * as a piece of a message's JSON text.
 *
 * What it is comes from its first bytes. The base64 text is written straight
 * into the message: a file is read in pieces and never held as a whole.
 */
#ifndef OC_MEDIA_H
#define OC_MEDIA_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "oc_buf.h"
#include "oc_error.h"

typedef enum oc_media_kind {
  OC_MEDIA_FILE,      /* as what it has to be: anything */
  OC_MEDIA_IMAGE,
  OC_MEDIA_AUDIO
} oc_media_kind;

typedef struct oc_media_type {
  const char *name;         /* "image/png" */
  const char *format;       /* "png": the usual ending of a file's name */
  const char *description;  /* "a PNG image" */
  oc_media_kind kind;
} oc_media_type;

/* Bytes from the beginning that oc_media_detect() wants to see. */
#define OC_MEDIA_HEAD 64

/* The type of data that begins with these bytes; NULL: none we know. */
const oc_media_type *oc_media_detect(const void *bytes, size_t len);

/* A file as it was found. */
typedef struct oc_media_stamp {
  dev_t device;
  ino_t inode;
  int64_t seconds;
  int64_t nanoseconds;
  size_t size;
} oc_media_stamp;

typedef struct oc_media {
  /* to be set by the caller, borrowed; the rest zero */
  const char *path;           /* NULL: `data` is given */
  const char *data;
  size_t len;
  const char *declared;       /* type for bytes we do not know; may be NULL */
  oc_media_kind kind;         /* what it has to be */
  size_t max;                 /* most bytes it may have */
  /* public, read only */
  size_t size;                /* bytes of the JSON text it becomes */
  char problem[200];          /* why it failed, without the path */
  /* private */
  const oc_media_type *type;  /* NULL: as declared */
  oc_media_stamp stamp;
} oc_media;

/*
 * Looks at it: sets `size` or fails with OC_E_NO_FILE, OC_E_UNREADABLE,
 * OC_E_EMPTY_FILE, OC_E_FILE_TOO_LARGE, OC_E_UNKNOWN_TYPE, OC_E_WRONG_TYPE
 * and a `problem`. Nothing stays open. Does not wait for pipes and devices.
 */
oc_code oc_media_probe(oc_media *media);
/*
 * Appends exactly the `size` bytes that were announced: a JSON string with
 * a data URL or, for audio, {"data":"...","format":"..."}. OC_E_FILE_CHANGED
 * when the file is not any more what it was (then part of the text has
 * been written), the errors of oc_media_probe(), those of oc_buf.
 */
oc_code oc_media_append(oc_media *media, oc_buf *out);

#endif
