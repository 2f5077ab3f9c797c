#include "counting.h"
#include "test.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../src/oc_media.h"
#include "../../src/oc_message.h"

/* Where the files of this run lie. */
static char folder[] = "/tmp/opperchat-media-XXXXXX";

static const char *path_of(const char *name) {
  static char path[200];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

static const char *write_file(const char *name, const char *bytes,
                              size_t len) {
  const char *path = path_of(name);
  FILE *file = fopen(path, "wb");
  CHECK(file && fwrite(bytes, 1, len, file) == len);
  if(file)
    fclose(file);
  return path;
}

static oc_media media_of(oc_media_kind kind, const char *path) {
  oc_media media;
  memset(&media, 0, sizeof media);
  media.kind = kind;
  media.path = path;
  media.max = 1000000;
  return media;
}

static oc_media media_of_data(oc_media_kind kind, const char *data,
                              size_t len) {
  oc_media media = media_of(kind, NULL);
  media.data = data;
  media.len = len;
  return media;
}

/* {==== types ==== */

static int is_type(const char *bytes, size_t len, const char *name) {
  const oc_media_type *type = oc_media_detect(bytes, len);
  return name ? type && !strcmp(type->name, name) : !type;
}

#define IS(bytes, name) is_type(bytes, sizeof bytes - 1, name)

TEST(knows_types) {
  CHECK(IS("\x89PNG\r\n\x1a\n", "image/png"));
  CHECK(IS("\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg"));
  CHECK(IS("GIF87a", "image/gif"));
  CHECK(IS("GIF89a....", "image/gif"));
  CHECK(IS("RIFF\x10\0\0\0WEBPVP8 ", "image/webp"));
  CHECK(IS("RIFF\x10\0\0\0WAVEfmt ", "audio/wav"));
  CHECK(IS("%PDF-1.7\n", "application/pdf"));
  CHECK(IS("\xef\xbb\xbf%PDF-1.7\n", "application/pdf"));
  CHECK(IS("\r\n %PDF-1.7\n", "application/pdf"));
  CHECK(IS("ID3\x04\0\0\0\0\0\0", "audio/mpeg"));
  CHECK(IS("\xff\xfb\x90\x64", "audio/mpeg"));    /* MPEG 1 */
  CHECK(IS("\xff\xf3\x40\xc0", "audio/mpeg"));    /* MPEG 2 */
  CHECK(IS("\xff\xe3\x18\xc4", "audio/mpeg"));    /* MPEG 2.5 */
}

TEST(knows_what_is_none) {
  CHECK(is_type("", 0, NULL));
  CHECK(IS("hello", NULL));
  CHECK(IS("\x89PNG\n\x1a\n", NULL));             /* lost its carriage return */
  CHECK(IS("\xff\xd8", NULL));
  CHECK(IS("GIF88a", NULL));
  CHECK(IS("RIFF\x10\0\0\0AVI LIST", NULL));
  CHECK(IS("RIFF\x10\0\0\0WAV", NULL));
  CHECK(IS("see %PDF-1.7", NULL));
  CHECK(IS("   ", NULL));
  CHECK(IS("\xef\xbb\xbf", NULL));
  CHECK(IS("ID3", NULL));
  CHECK(IS("\xff\xfe""a\0", NULL));               /* UTF-16 */
  CHECK(IS("\xff\xf1\x50\x80", NULL));            /* AAC */
  CHECK(IS("\xff\xfd\x90\x64", NULL));            /* layer II */
  CHECK(IS("\xff\xeb\x90\x64", NULL));            /* a reserved version */
  CHECK(IS("\xff\xfb\xf0\x64", NULL));            /* no such bit rate */
  CHECK(IS("\xff\xfb\x9c\x64", NULL));            /* no such sample rate */
  CHECK(IS("\xff\xff\xff\xff", NULL));
}

/* Any beginning of any of them is read within its bounds. */
TEST(reads_no_further_than_told) {
  static const char *const all[] = {
    "\x89PNG\r\n\x1a\n", "\xff\xd8\xff", "GIF89a", "RIFFaaaaWEBP", "%PDF-",
    "\xef\xbb\xbf  %PDF-", "ID3aaaaaaa", "\xff\xfb\x90\x64"
  };
  size_t i;
  for(i = 0; i < sizeof all / sizeof *all; i++) {
    size_t len;
    for(len = 0; len <= strlen(all[i]); len++) {
      char *copy = malloc(len ? len : 1);
      memcpy(copy, all[i], len);
      CHECK_FOR(!oc_media_detect(copy, len) == (len < strlen(all[i])),
                "%d, %d", (int)i, (int)len);
      free(copy);
    }
  }
}

/* }==== */

/* {==== texts ==== */

static int becomes(oc_media *media, const char *expected) {
  oc_buf out;
  int same;
  oc_buf_init(&out, strlen(expected));
  same = !oc_media_probe(media) && media->size == strlen(expected)
         && !oc_media_append(media, &out) && out.len == media->size
         && !memcmp(out.data, expected, out.len);
  oc_buf_free(&out);
  return same;
}

TEST(writes_data) {
  oc_media media = media_of_data(OC_MEDIA_IMAGE, "GIF89a", 6);
  CHECK(becomes(&media, "\"data:image/gif;base64,R0lGODlh\""));
  media = media_of_data(OC_MEDIA_FILE, "%PDF-1", 6);
  CHECK(becomes(&media, "\"data:application/pdf;base64,JVBERi0x\""));
  media = media_of_data(OC_MEDIA_AUDIO, "ID3\4\0\0\0\0\0\0", 10);
  CHECK(becomes(&media, "{\"data\":\"SUQzBAAAAAAAAA==\",\"format\":\"mp3\"}"));
  media = media_of_data(OC_MEDIA_AUDIO, "RIFF\0\0\0\0WAVE", 12);
  CHECK(becomes(&media, "{\"data\":\"UklGRgAAAABXQVZF\",\"format\":\"wav\"}"));
}

TEST(writes_declared_types) {
  oc_media media = media_of_data(OC_MEDIA_IMAGE, "abc", 3);
  media.declared = "image/heic";
  CHECK(becomes(&media, "\"data:image/heic;base64,YWJj\""));
  media = media_of_data(OC_MEDIA_AUDIO, "abc", 3);
  media.declared = "audio/ogg";
  CHECK(becomes(&media, "{\"data\":\"YWJj\",\"format\":\"ogg\"}"));
  media.declared = "audio/mpeg";
  CHECK(becomes(&media, "{\"data\":\"YWJj\",\"format\":\"mp3\"}"));
  media.declared = "audio/x-wav";
  CHECK(becomes(&media, "{\"data\":\"YWJj\",\"format\":\"wav\"}"));
  /* the bytes know better */
  media = media_of_data(OC_MEDIA_IMAGE, "GIF89a", 6);
  media.declared = "image/png";
  CHECK(becomes(&media, "\"data:image/gif;base64,R0lGODlh\""));
}

TEST(writes_files) {
  const char *path = write_file("a.png", "GIF89a", 6);
  oc_media media = media_of(OC_MEDIA_IMAGE, path);
  CHECK(becomes(&media, "\"data:image/gif;base64,R0lGODlh\""));
  /* shorter than what is looked at, and several pieces long */
  {
    static const size_t lengths[] = {
      63, 64, 65, 49151, 49152, 49153, 98303, 98304, 98305, 200000
    };
    static char bytes[200000];
    size_t i;
    for(i = 0; i < sizeof bytes; i++)
      bytes[i] = (char)(i * 7 + i / 256);
    memcpy(bytes, "%PDF-", 5);
    for(i = 0; i < sizeof lengths / sizeof *lengths; i++) {
      oc_media data = media_of_data(OC_MEDIA_FILE, bytes, lengths[i]);
      oc_buf expected;
      oc_buf out;
      media = media_of(OC_MEDIA_FILE, write_file("b", bytes, lengths[i]));
      CHECK(!oc_media_probe(&data) && !oc_media_probe(&media));
      CHECK(data.size == media.size);
      oc_buf_init(&expected, data.size);
      oc_buf_init(&out, media.size);
      CHECK(!oc_media_append(&data, &expected));
      CHECK(!oc_media_append(&media, &out));
      CHECK_FOR(out.len == media.size && expected.len == out.len
                && !memcmp(out.data, expected.data, out.len), "%d",
                (int)lengths[i]);
      oc_buf_free(&expected);
      oc_buf_free(&out);
    }
  }
}

/* }==== */

/* {==== what goes wrong ==== */

static int fails(oc_media *media, oc_code code, const char *problem) {
  oc_code got = oc_media_probe(media);
  if(got != code || strcmp(media->problem, problem)) {
    printf("got %s: %s\n", oc_code_name(got), media->problem);
    return 0;
  }
  return 1;
}

TEST(refuses_what_is_no_file) {
  oc_media media = media_of(OC_MEDIA_FILE, path_of("none"));
  CHECK(fails(&media, OC_E_NO_FILE, "no such file"));
  media = media_of(OC_MEDIA_FILE, write_file("a", "%PDF-", 5));
  {
    char below[300];
    snprintf(below, sizeof below, "%s/b", media.path);
    media.path = below;
    CHECK(fails(&media, OC_E_NO_FILE, "no such file"));
  }
  media = media_of(OC_MEDIA_FILE, folder);
  CHECK(fails(&media, OC_E_UNREADABLE, "a directory"));
  media = media_of(OC_MEDIA_FILE, "/dev/null");
  CHECK(fails(&media, OC_E_UNREADABLE, "not a regular file"));
  CHECK(!mkfifo(path_of("pipe"), 0600));
  media = media_of(OC_MEDIA_FILE, path_of("pipe"));
  CHECK(fails(&media, OC_E_UNREADABLE, "not a regular file"));
  CHECK(!symlink("loop", path_of("loop")));
  media = media_of(OC_MEDIA_FILE, path_of("loop"));
  CHECK(fails(&media, OC_E_UNREADABLE, "too many symbolic links"));
  media = media_of(OC_MEDIA_FILE, write_file("secret", "%PDF-", 5));
  CHECK(!chmod(media.path, 0));
  if(geteuid())
    CHECK(fails(&media, OC_E_UNREADABLE, "permission denied"));
}

TEST(refuses_sizes) {
  oc_media media = media_of(OC_MEDIA_FILE, write_file("a", "", 0));
  CHECK(fails(&media, OC_E_EMPTY_FILE, "the file is empty"));
  media = media_of_data(OC_MEDIA_FILE, "", 0);
  CHECK(fails(&media, OC_E_EMPTY_FILE, "there are no bytes"));
  media = media_of(OC_MEDIA_FILE, write_file("a", "%PDF-1", 6));
  media.max = 6;
  CHECK(!oc_media_probe(&media));
  media.max = 5;
  CHECK(fails(&media, OC_E_FILE_TOO_LARGE,
              "6 bytes, more than the limit of 5 (max_bytes)"));
  media = media_of_data(OC_MEDIA_FILE, "%PDF-1", SIZE_MAX);
  media.max = SIZE_MAX;
  CHECK(oc_media_probe(&media) == OC_E_FILE_TOO_LARGE);
}

TEST(refuses_types) {
  oc_media media = media_of_data(OC_MEDIA_IMAGE, "%PDF-", 5);
  CHECK(fails(&media, OC_E_WRONG_TYPE, "a PDF document, not an image"));
  media.declared = "image/png";
  CHECK(fails(&media, OC_E_WRONG_TYPE, "a PDF document, not an image"));
  media = media_of_data(OC_MEDIA_AUDIO, "GIF89a", 6);
  CHECK(fails(&media, OC_E_WRONG_TYPE, "a GIF image, not audio"));
  media = media_of_data(OC_MEDIA_IMAGE, "hello", 5);
  CHECK(oc_media_probe(&media) == OC_E_UNKNOWN_TYPE);
  media = media_of_data(OC_MEDIA_AUDIO, "hello", 5);
  CHECK(oc_media_probe(&media) == OC_E_UNKNOWN_TYPE);
  media = media_of_data(OC_MEDIA_FILE, "hello", 5);
  CHECK(oc_media_probe(&media) == OC_E_UNKNOWN_TYPE);
  /* a file may be anything we know */
  media = media_of_data(OC_MEDIA_FILE, "GIF89a", 6);
  CHECK(!oc_media_probe(&media));
}

static oc_code append(oc_media *media) {
  oc_buf out;
  oc_code code;
  oc_buf_init(&out, 1000000);
  code = oc_media_append(media, &out);
  oc_buf_free(&out);
  return code;
}

/* Between the two looks; other times of change differ by a second at least. */
TEST(notices_changes) {
  const char *path = write_file("a", "%PDF-12345", 10);
  oc_media media = media_of(OC_MEDIA_FILE, path);
  struct timespec times[2];

  CHECK(!oc_media_probe(&media));
  CHECK(append(&media) == OC_OK);
  write_file("a", "%PDF-123456", 11);
  CHECK(append(&media) == OC_E_FILE_CHANGED);
  CHECK(!strcmp(media.problem, "the file changed while it was read"));

  CHECK(!oc_media_probe(&media));
  memset(times, 0, sizeof times);
  times[1].tv_sec = 1000;
  CHECK(!utimensat(AT_FDCWD, path, times, 0));
  CHECK(append(&media) == OC_E_FILE_CHANGED);

  /* the same size and time, but another beginning */
  CHECK(!oc_media_probe(&media));
  write_file("a", "GIF89a78901", 11);
  CHECK(!utimensat(AT_FDCWD, path, times, 0));
  CHECK(append(&media) == OC_E_FILE_CHANGED);

  CHECK(!oc_media_probe(&media));
  CHECK(!unlink(path));
  CHECK(append(&media) == OC_E_NO_FILE);
}

/* }==== */

/* {==== memory ==== */

#define HEAD "{\"role\":\"user\",\"content\":[{\"type\":\"f\",\"f\":"
#define TAIL "}]}"

static oc_code make_message(oc_media *media, oc_message **message) {
  oc_buf buf;
  oc_code code;

  oc_buf_init(&buf, SIZE_MAX / 2);
  code = oc_media_probe(media);
  if(!code)
    code = oc_message_begin(&buf, strlen(HEAD) + media->size + strlen(TAIL));
  if(!code)
    code = oc_buf_puts(&buf, HEAD);
  if(!code)
    code = oc_media_append(media, &buf);
  if(!code)
    code = oc_buf_puts(&buf, TAIL);
  if(!code)
    code = oc_message_end(message, &buf, NULL);
  oc_buf_free(&buf);
  return code;
}

/* One block of exactly the message's size, and one to read through. */
TEST(builds_messages_in_place) {
  enum { SIZE = 900000 };
  char *bytes = malloc(SIZE);
  oc_media media;
  oc_message *message;

  memset(bytes, 'x', SIZE);
  memcpy(bytes, "%PDF-", 5);
  media = media_of(OC_MEDIA_FILE, write_file("large", bytes, SIZE));
  oc_set_allocator(&counting);
  allocations_left = 2;
  blocks = 0;
  largest = asked = 0;
  CHECK(make_message(&media, &message) == OC_OK);
  CHECK(blocks == 1);
  CHECK(largest == offsetof(oc_message, json) + message->len);
  CHECK(asked - largest <= 64 * 1024);
  CHECK(message->refs == 1 && message->role == OC_ROLE_USER);
  CHECK(message->len == strlen(HEAD) + media.size + strlen(TAIL));
  CHECK(!memcmp(message->json, HEAD, strlen(HEAD)));
  CHECK(!memcmp(message->json + message->len - 5, "4\"}]}", 5));
  oc_message_unref(message);
  CHECK(blocks == 0);
  oc_set_allocator(&standard);
  free(bytes);
}

TEST(survives_lack_of_memory) {
  oc_media media = media_of(OC_MEDIA_FILE, write_file("a", "%PDF-1", 6));
  int n;
  oc_set_allocator(&counting);
  for(n = 0; n < 3; n++) {
    oc_message *message;
    oc_code code;
    blocks = 0;
    allocations_left = n;
    code = make_message(&media, &message);
    CHECK_FOR(code == (n < 2 ? OC_E_NOMEM : OC_OK), "%d", n);
    if(!code)
      oc_message_unref(message);
    CHECK_FOR(blocks == 0, "%d", n);
  }
  oc_set_allocator(&standard);
}

/* }==== */

int main(void) {
  static const char *const names[] = {
    "a", "a.png", "b", "large", "loop", "pipe", "secret"
  };
  size_t i;

  if(!mkdtemp(folder)) {
    printf("cannot make %s\n", folder);
    return 1;
  }
  RUN(knows_types);
  RUN(knows_what_is_none);
  RUN(reads_no_further_than_told);
  RUN(writes_data);
  RUN(writes_declared_types);
  RUN(writes_files);
  RUN(refuses_what_is_no_file);
  RUN(refuses_sizes);
  RUN(refuses_types);
  RUN(notices_changes);
  RUN(builds_messages_in_place);
  RUN(survives_lack_of_memory);
  for(i = 0; i < sizeof names / sizeof *names; i++)
    unlink(path_of(names[i]));
  rmdir(folder);
  return test_report();
}
