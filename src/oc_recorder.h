/*
 * oc_recorder: writes down exchanges, to be played again by oc_player.
 *
 * The file is a tape: JSON Lines. The first line says so, each further one
 * is one request and what came back, with the times of its pieces:
 *
 *     {"opperchat_tape":1}
 *     {"at":"2026-01-31T12:00:00.000000Z",
 *      "request":{"method":"POST","path":"/chat/completions","attempt":1,
 *                 "headers":{"content-type":"application/json"},
 *                 "body":{"model":"m","messages":[...]}},
 *      "response":{"status":200,"headers":{"content-type":"..."},
 *                  "chunks":[[230,"data: ..."],[251,"...",{"base64":"4oI="}]]},
 *      "ms":{"connect":12,"first_byte":230,"end":252}}
 *
 * (all of it on one line). What came together stands in one of the chunks,
 * in the pieces in which libcurl handed it over. A response that came
 * together and is JSON stands in "body" in the place of "chunks". "error"
 * says how the transfer failed:
 * {"code":"connection_lost","message":"...","retryable":true}. "retry" among
 * the times says how long the client waited before it sent the request
 * again, "is_cut" in the response that its headers did not come to an end.
 *
 * Secrets are not written (see oc_redact), and a line only when the request
 * has ended, with one write, also when others write to the same file.
 */
#ifndef OC_RECORDER_H
#define OC_RECORDER_H

#include <curl/curl.h>
#include <stddef.h>
#include <stdint.h>

#include "oc_body.h"
#include "oc_error.h"
#include "oc_file.h"
#include "oc_response.h"

#define OC_TAPE_VERSION 1

typedef struct oc_recorder oc_recorder;
/* One attempt that is being recorded. */
typedef struct oc_take oc_take;

/*
 * Opens a tape, or makes one, to write at its end. NULL: `*code` and
 * `problem` (OC_PROBLEM_MAX bytes) say why. `key` is the client's, copied;
 * NULL: none.
 */
oc_recorder *oc_recorder_open(const char *path, const char *key,
                              size_t key_len, oc_code *code, char *problem);
/* Closes the file. NULL is nothing. */
void oc_recorder_free(oc_recorder *recorder);
/* Wipes its copy of the key: nothing more is to be recorded. */
void oc_recorder_forget(oc_recorder *recorder);
/* Why something could not be written, NULL: all of it was. */
const char *oc_recorder_problem(const oc_recorder *recorder);

/* A request is about to be sent; times are oc_clock's. NULL: no memory, it
   is not recorded. */
oc_take *oc_take_new(oc_recorder *recorder, int64_t now_us);
/*
 * Bytes of the response have arrived. `is_same`: together with the last
 * ones, as far as the caller can tell.
 */
void oc_take_bytes(oc_take *take, const char *bytes, size_t len,
                   int64_t now_us, int is_same);

/* How an attempt ended, and what it was. All of it is borrowed. */
typedef struct oc_take_end {
  const char *method;
  const char *path;
  int attempt;
  const struct curl_slist *headers;   /* of the request */
  const oc_body *body;                /* NULL: none */
  const oc_response *response;
  int status;                         /* of the response, 0: none */
  int is_stream;                      /* the response turned out to be one */
  const char *location;       /* in the place of that header, NULL: as it is */
  const oc_error *error;              /* of the transfer, NULL: none */
  double connect;                     /* seconds, below 0: not known */
  double first_byte;
  int64_t retry_ms;                   /* below 0: it is not sent again */
  int64_t now_us;
  int is_same;                        /* as of oc_take_bytes */
} oc_take_end;

/* Writes it down and frees the take. */
void oc_take_finish(oc_take *take, const oc_take_end *end);

#endif
