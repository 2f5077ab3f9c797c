#include "oc_measure.h"

#include <limits.h>

#include "oc_json.h"
#include "oc_tokens.h"

/* Adds without running over: a sum of many messages still fits. */
static void add(oc_measure *measure, size_t tokens) {
  if(tokens > UINT_MAX / 4 - measure->tokens)
    measure->tokens = UINT_MAX / 4;
  else
    measure->tokens += (unsigned)tokens;
}

static void add_text(oc_measure *measure, oc_slice raw) {
  oc_tokens tokens;
  oc_tokens_init(&tokens);
  oc_tokens_add_raw(&tokens, raw);
  add(measure, oc_tokens_count(&tokens));
}

/* The value behind a key, when it is a text; else it is passed over. */
static void add_value(oc_measure *measure, oc_json *reader) {
  if(oc_json_next(reader) == OC_JSON_STRING)
    add_text(measure, reader->value);
  else
    oc_json_skip(reader, NULL);
}

/* An image's detail is all of its object that changes the cost. */
static size_t image_cost(oc_json *reader) {
  size_t cost = OC_TOKENS_IMAGE;
  if(oc_json_next(reader) != OC_JSON_OBJECT) {
    oc_json_skip(reader, NULL);
    return cost;
  }
  while(oc_json_next(reader) == OC_JSON_KEY) {
    int is_detail = oc_json_is(reader, "detail");
    oc_json_next(reader);
    if(is_detail && oc_json_is(reader, "low"))
      cost = OC_TOKENS_IMAGE_LOW;
    oc_json_skip(reader, NULL);
  }
  return cost;
}

/* One part of a content list: the reader has just returned its brace. */
static void add_part(oc_measure *measure, oc_json *reader) {
  while(oc_json_next(reader) == OC_JSON_KEY) {
    size_t cost = 0;
    if(oc_json_is(reader, "text") || oc_json_is(reader, "refusal")) {
      add_value(measure, reader);
      continue;
    }
    if(oc_json_is(reader, "image_url"))
      cost = image_cost(reader);
    else {
      if(oc_json_is(reader, "file"))
        cost = OC_TOKENS_FILE;
      else if(oc_json_is(reader, "input_audio"))
        cost = OC_TOKENS_AUDIO;
      oc_json_next(reader);
      oc_json_skip(reader, NULL);
    }
    if(cost) {
      measure->has_media = 1;
      add(measure, cost);
    }
  }
}

static void add_content(oc_measure *measure, oc_json *reader) {
  oc_json_token token = oc_json_next(reader);
  if(token == OC_JSON_STRING)
    add_text(measure, reader->value);
  else if(token != OC_JSON_ARRAY)
    oc_json_skip(reader, NULL);
  else {
    while((token = oc_json_next(reader)) != OC_JSON_ARRAY_END
          && token != OC_JSON_ERROR) {
      if(token == OC_JSON_OBJECT)
        add_part(measure, reader);
      else
        oc_json_skip(reader, NULL);
    }
  }
}

/* What a call is made of lies at different depths: all its texts count but
   for those that are no words of the model. */
static void add_call(oc_measure *measure, oc_json *reader) {
  while(oc_json_next(reader) == OC_JSON_KEY) {
    if(oc_json_is(reader, "function") || oc_json_is(reader, "custom")) {
      if(oc_json_next(reader) == OC_JSON_OBJECT)
        add_call(measure, reader);
      else
        oc_json_skip(reader, NULL);
    }
    else if(oc_json_is(reader, "name") || oc_json_is(reader, "arguments")
            || oc_json_is(reader, "input"))
      add_value(measure, reader);
    else {
      oc_json_next(reader);
      oc_json_skip(reader, NULL);
    }
  }
}

static void add_calls(oc_measure *measure, oc_json *reader) {
  if(oc_json_next(reader) != OC_JSON_ARRAY) {
    oc_json_skip(reader, NULL);
    return;
  }
  while(oc_json_next(reader) == OC_JSON_OBJECT) {
    add(measure, OC_TOKENS_CALL);
    add_call(measure, reader);
  }
}

void oc_measure_message(oc_measure *measure, const char *json, size_t len) {
  oc_json reader;

  measure->tokens = OC_TOKENS_MESSAGE;
  measure->has_media = 0;
  oc_json_init(&reader, json, len);
  oc_json_next(&reader);
  while(oc_json_next(&reader) == OC_JSON_KEY) {
    if(oc_json_is(&reader, "content"))
      add_content(measure, &reader);
    else if(oc_json_is(&reader, "tool_calls"))
      add_calls(measure, &reader);
    else if(oc_json_is(&reader, "name") || oc_json_is(&reader, "refusal"))
      add_value(measure, &reader);
    else {
      oc_json_next(&reader);
      oc_json_skip(&reader, NULL);
    }
  }
}
