#include "oc_response.h"

#include <string.h>
#include <strings.h>

#include "oc_api_error.h"
#include "oc_utf8.h"

/* Headers of one response, and of an error body: more is not read. */
#define MAX_HEADERS (256 * 1024)
#define MAX_ERROR_BODY (1024 * 1024)
/* Longest piece of a bad document that is shown. */
#define SNIPPET_MAX 200

/* {==== life ==== */

void oc_response_init(oc_response *response, size_t max, size_t max_event,
                      int is_document) {
  memset(response, 0, sizeof *response);
  response->max = max;
  response->max_event = max_event;
  response->is_document = is_document;
  oc_buf_init(&response->head, MAX_HEADERS);
  oc_buf_init(&response->text, max);
  oc_sse_init(&response->sse, max_event);
  oc_reply_init(&response->reply, max);
}

void oc_response_free(oc_response *response) {
  oc_buf_free(&response->head);
  oc_buf_free(&response->text);
  oc_sse_free(&response->sse);
  oc_reply_free(&response->reply);
}

/* A response that may be followed by another one begins. */
static void begin(oc_response *response) {
  oc_buf_clear(&response->head);
  response->status = 0;
  response->has_head = 0;
}

void oc_response_reset(oc_response *response) {
  begin(response);
  oc_buf_clear(&response->text);
  oc_sse_free(&response->sse);
  oc_sse_init(&response->sse, response->max_event);
  oc_reply_free(&response->reply);
  response->mode = OC_RESPONSE_UNKNOWN;
  response->received = 0;
  response->blank = 0;
}

void oc_response_trim(oc_response *response) {
  oc_sse_free(&response->sse);
  if(!response->is_document || response->mode == OC_RESPONSE_ERROR)
    oc_buf_free(&response->text);
}

/* }==== */

/* {==== reading ==== */

/* Fails with the table's message. */
static int fail(oc_error *error, oc_code code) {
  oc_error_set(error, code, "%s", oc_code_message(code));
  return 1;
}

static int is_success(const oc_response *response) {
  return response->status >= 200 && response->status <= 299;
}

int oc_response_header(oc_response *response, const char *line, size_t len,
                       oc_error *error) {
  if(len > 5 && !memcmp(line, "HTTP/", 5))
    begin(response);
  if(len && (line[0] == '\r' || line[0] == '\n'))
    response->has_head = 1;
  if(!oc_buf_append(&response->head, line, len))
    return 0;
  oc_error_set(error, OC_E_HEADERS_TOO_LARGE, "%s (%d bytes)",
               oc_code_message(OC_E_HEADERS_TOO_LARGE), MAX_HEADERS);
  return 1;
}

/* One event of the stream. 0: goes on. */
static int take_event(oc_response *response, const oc_sse_event *event,
                      oc_error *error) {
  if(response->reply.is_done)
    return 0;
  if(event->type.len == 5 && !memcmp(event->type.text, "error", 5)) {
    oc_api_error_read(error, response->status, event->data.text,
                      event->data.len);
    return 1;
  }
  return oc_reply_chunk(&response->reply, event->data.text, event->data.len,
                        error) != OC_OK;
}

/* The events that are like the last one, up to another one. 0: goes on. */
static int take_like(oc_response *response, oc_error *error) {
  oc_reply *reply = &response->reply;
  size_t left;
  size_t used;
  const char *rest;

  while(!reply->is_done
        && (rest = oc_sse_rest(&response->sse, &left)) != NULL) {
    if(oc_reply_like(reply, rest, left, &used, error))
      return 1;
    if(!used)
      break;
    oc_sse_skip(&response->sse, used);
  }
  return 0;
}

static int read_stream(oc_response *response, const char *bytes, size_t len,
                       oc_error *error) {
  oc_sse_event event;
  int more;
  oc_sse_feed(&response->sse, bytes, len);
  do {
    if(take_like(response, error))
      return 1;
    more = oc_sse_next(&response->sse, &event);
    if(more > 0 && take_event(response, &event, error))
      return 1;
  } while(more > 0);
  return more < 0 ? fail(error, response->sse.error) : 0;
}

#define BOM "\xEF\xBB\xBF"

/* Whether a text begins with a field of an event stream. */
static oc_response_mode match_field(const char *text, size_t len,
                                    const char *name) {
  size_t name_len = strlen(name);
  if(memcmp(text, name, len < name_len ? len : name_len))
    return OC_RESPONSE_WHOLE;
  if(len <= name_len)
    return OC_RESPONSE_UNKNOWN;
  return memchr(":\r\n", text[name_len], 3) ? OC_RESPONSE_STREAM
                                            : OC_RESPONSE_WHOLE;
}

/*
 * Tells a stream from a whole response by how it begins, since servers
 * answer with either, whatever was asked for and whatever the content type
 * says. A stream begins with a comment or one of the four fields. What is
 * in front of that is looked at once: a server may send white space, byte by
 * byte, for as long as it works on an answer.
 */
static oc_response_mode detect_mode(oc_response *response) {
  static const char *const fields[] = { "data", "event", "id", "retry" };
  const char *text = response->text.data;
  size_t len = response->text.len;
  oc_response_mode mode = OC_RESPONSE_WHOLE;
  size_t i;

  if(!len)
    return OC_RESPONSE_UNKNOWN;
  if(!response->blank && len >= 3 && !memcmp(text, BOM, 3))
    response->blank = 3;
  while(response->blank < len
        && memchr(" \t\r\n", text[response->blank], 4))
    response->blank++;
  text += response->blank;
  len -= response->blank;
  if(!len || (len < 3 && !memcmp(text, BOM, len)))
    return OC_RESPONSE_UNKNOWN;
  if(*text == ':')
    return OC_RESPONSE_STREAM;
  for(i = 0; i < 4 && mode == OC_RESPONSE_WHOLE; i++)
    mode = match_field(text, len, fields[i]);
  return mode;
}

/* Collects the first bytes until they say what kind of answer this is. */
static int begin_body(oc_response *response, const char *bytes, size_t len,
                      oc_error *error) {
  int failed = 0;
  if(oc_buf_append(&response->text, bytes, len))
    return fail(error, OC_E_NOMEM);
  if(!is_success(response))
    response->mode = OC_RESPONSE_ERROR;
  else
    response->mode = response->is_document ? OC_RESPONSE_WHOLE
                                           : detect_mode(response);
  if(response->mode == OC_RESPONSE_STREAM) {
    failed = read_stream(response, response->text.data, response->text.len,
                         error);
    oc_buf_free(&response->text);
  }
  return failed;
}

int oc_response_body(oc_response *response, const char *bytes, size_t len,
                     oc_error *error) {
  response->received += len;
  if(response->received > response->max) {
    /* an error has said enough by now */
    if(response->mode != OC_RESPONSE_ERROR)
      oc_error_set(error, OC_E_RESPONSE_TOO_LARGE, "%s (%lu)",
                   oc_code_message(OC_E_RESPONSE_TOO_LARGE),
                   (unsigned long)response->max);
    return 1;
  }
  switch(response->mode) {
  case OC_RESPONSE_UNKNOWN:
    return begin_body(response, bytes, len, error);
  case OC_RESPONSE_STREAM:
    return read_stream(response, bytes, len, error);
  case OC_RESPONSE_ERROR:
    /* the beginning says what is wrong */
    if(response->text.len + len <= MAX_ERROR_BODY)
      oc_buf_append(&response->text, bytes, len);
    return 0;
  default:
    return oc_buf_append(&response->text, bytes, len)
           ? fail(error, OC_E_NOMEM) : 0;
  }
}

/* }==== */

/* {==== the end ==== */

static int finish_stream(oc_response *response, oc_error *error) {
  oc_reply *reply = &response->reply;
  oc_sse_event event;
  int more = reply->is_done ? 0 : oc_sse_finish(&response->sse, &event);

  if(more < 0)
    return fail(error, response->sse.error);
  if(more > 0 && take_event(response, &event, error)) {
    /* the last event has no end: it was cut, not written badly */
    if(error->code == OC_E_JSON)
      oc_error_set(error, OC_E_TRUNCATED,
                   "the stream ended within an event");
    return 1;
  }
  if(!reply->finish_reason.len) {
    oc_error_set(error, OC_E_TRUNCATED,
                 "the stream ended without a finish_reason");
    return 1;
  }
  return oc_reply_finish(reply) ? fail(error, OC_E_NOMEM) : 0;
}

/*
 * Reads a document to its end. 1: it is an object with an error in it, as
 * some servers send with a status of success.
 */
static int has_problem(oc_json *reader) {
  int is_problem = 0;
  if(oc_json_next(reader) != OC_JSON_OBJECT) {
    if(reader->token != OC_JSON_ERROR)
      oc_json_skip(reader, NULL);
    oc_json_next(reader);
    return 0;
  }
  while(oc_json_next(reader) == OC_JSON_KEY) {
    int is_error = oc_json_is(reader, "error")
                   || oc_json_is(reader, "errors");
    oc_slice raw;
    if(!oc_json_skip(reader, &raw) && is_error)
      is_problem |= oc_api_error_is_problem(raw);
  }
  oc_json_next(reader);
  return is_problem;
}

static int finish_document(oc_response *response, oc_error *error) {
  const oc_buf *text = &response->text;
  oc_json reader;
  int is_problem;

  if(!text->len)
    return fail(error, OC_E_EMPTY);
  oc_json_init(&reader, text->data, text->len);
  is_problem = has_problem(&reader);
  if(reader.token != OC_JSON_END) {
    size_t shown = text->len > SNIPPET_MAX ? SNIPPET_MAX : text->len;
    /* whole characters only */
    oc_error_set(error, reader.error, "bad response: %s: %.*s",
                 oc_code_message(reader.error),
                 (int)oc_utf8_valid_prefix(text->data, shown), text->data);
    return 1;
  }
  if(is_problem)
    oc_api_error_read(error, response->status, text->data, text->len);
  return is_problem;
}

int oc_response_finish(oc_response *response, oc_error *error) {
  oc_slice text;
  oc_code code;

  if(!is_success(response)) {
    oc_api_error_read(error, response->status, response->text.data,
                      response->text.len);
    return 1;
  }
  if(response->mode == OC_RESPONSE_STREAM)
    return finish_stream(response, error);
  if(response->is_document)
    return finish_document(response, error);
  text.text = response->text.data;
  text.len = response->text.len;
  if(text.len >= 3 && !memcmp(text.text, BOM, 3)) {
    text.text += 3;
    text.len -= 3;
  }
  while(text.len && memchr(" \t\r\n", *text.text, 4)) {
    text.text++;
    text.len--;
  }
  code = oc_reply_whole(&response->reply, text.text, text.len, error);
  if(code && error->code != code)
    fail(error, code);
  return code != OC_OK;
}

/* }==== */

/* {==== reading it out ==== */

int oc_response_is_error(const oc_response *response) {
  return response->mode == OC_RESPONSE_ERROR
         || (response->has_head && response->status
             && !is_success(response));
}

int oc_response_has_output(const oc_response *response) {
  if(response->mode == OC_RESPONSE_STREAM)
    return oc_reply_has_output(&response->reply);
  return response->mode == OC_RESPONSE_WHOLE;
}

int oc_response_find(const oc_response *response, const char *name,
                     oc_slice *value) {
  const char *at = response->head.len ? response->head.data : "";
  const char *end = at + response->head.len;
  size_t name_len = strlen(name);

  while(at < end) {
    const char *line_end = memchr(at, '\n', (size_t)(end - at));
    if(!line_end)
      line_end = end;
    if((size_t)(line_end - at) > name_len && at[name_len] == ':'
       && !strncasecmp(at, name, name_len)) {
      at += name_len + 1;
      while(at < line_end && memchr(" \t", *at, 2))
        at++;
      while(line_end > at && memchr(" \t\r", line_end[-1], 3))
        line_end--;
      value->text = at;
      value->len = (size_t)(line_end - at);
      return 1;
    }
    at = line_end + 1;
  }
  return 0;
}

/* }==== */
