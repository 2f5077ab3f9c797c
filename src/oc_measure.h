/*
 * oc_measure: how many tokens a message is likely to cost.
 *
 * Texts are estimated by oc_tokens; images, files and audio by a fixed cost,
 * since what they come to is each server's own secret; and every message
 * costs a few tokens for its frame.
 */
#ifndef OC_MEASURE_H
#define OC_MEASURE_H

#include <stddef.h>

/* Role, name and what separates messages (as OpenAI counts them). */
#define OC_TOKENS_MESSAGE 4
/* What a request costs beyond its messages: the answer's beginning. */
#define OC_TOKENS_REQUEST 3
/* One tool call beyond its name, its arguments. */
#define OC_TOKENS_CALL 8
/* An image of 1024 x 1024 in high detail, and any image in low detail. */
#define OC_TOKENS_IMAGE 765
#define OC_TOKENS_IMAGE_LOW 85
/* Two or three pages of a document; half a minute of audio. */
#define OC_TOKENS_FILE 2000
#define OC_TOKENS_AUDIO 300

typedef struct oc_measure {
  unsigned tokens;      /* at most UINT_MAX / 4 */
  int has_media;        /* parts that are no text */
} oc_measure;

/* `json`: a message that has been checked. Never fails. */
void oc_measure_message(oc_measure *measure, const char *json, size_t len);

#endif
