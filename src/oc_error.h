/*
 * oc_error: what can go wrong, in one table.
 *
 * Core functions that can fail return an oc_code (0 is success). What ends
 * a request is an oc_error: a code, and what the server or libcurl said.
 */
#ifndef OC_ERROR_H
#define OC_ERROR_H

#include <stddef.h>
#include <stdint.h>

/* X(symbol, name as Lua sees it in err.kind) */
#define OC_KIND_MAP(X)        \
  X(NONE, "none")             \
  X(NETWORK, "network")       \
  X(TLS, "tls")               \
  X(TIMEOUT, "timeout")       \
  X(HTTP, "http")             \
  X(API, "api")               \
  X(PROTOCOL, "protocol")     \
  X(TRUNCATED, "truncated")   \
  X(CANCELLED, "cancelled")   \
  X(LIMIT, "limit")           \
  X(TOOL, "tool")             \
  X(SCHEMA, "schema")         \
  X(STORE, "store")           \
  X(MISUSE, "misuse")

/* X(symbol, kind, name as Lua sees it in err.code, message) */
#define OC_CODE_MAP(X)                                                       \
  X(OK, NONE, "ok", "no error")                                              \
  /* memory and limits */                                                    \
  X(E_NOMEM, LIMIT, "out_of_memory", "out of memory")                        \
  X(E_TOO_LARGE, LIMIT, "too_large", "a buffer reached its maximum")         \
  X(E_RESPONSE_TOO_LARGE, LIMIT, "response_too_large",                       \
    "the response is larger than max_response_bytes")                        \
  X(E_EVENT_TOO_LARGE, LIMIT, "event_too_large",                             \
    "one event of the stream is larger than allowed")                        \
  X(E_HEADERS_TOO_LARGE, LIMIT, "headers_too_large",                         \
    "the response headers are larger than allowed")                          \
  X(E_DEPTH, LIMIT, "nesting_too_deep", "JSON is nested too deeply")         \
  X(E_REDIRECTS, LIMIT, "too_many_redirects", "too many redirects")          \
  X(E_FILE_TOO_LARGE, LIMIT, "file_too_large",                               \
    "the file is larger than max_bytes")                                     \
  /* connection */                                                           \
  X(E_RESOLVE, NETWORK, "unknown_host", "the host name cannot be resolved")  \
  X(E_CONNECT, NETWORK, "connection_refused", "cannot connect")              \
  X(E_CONNECTION, NETWORK, "connection_lost", "the connection broke")        \
  X(E_PROXY, NETWORK, "proxy_failed", "the proxy refused")                   \
  X(E_CURL, NETWORK, "transfer_failed", "the transfer failed")               \
  X(E_TLS, TLS, "tls_failed", "the TLS connection failed")                   \
  X(E_CERTIFICATE, TLS, "bad_certificate",                                   \
    "the server's certificate cannot be trusted")                            \
  X(E_TIMEOUT_CONNECT, TIMEOUT, "connect_timeout",                           \
    "no connection within timeout.connect")                                  \
  X(E_TIMEOUT_FIRST, TIMEOUT, "first_token_timeout",                         \
    "no first token within timeout.first_token")                             \
  X(E_TIMEOUT_IDLE, TIMEOUT, "idle_timeout",                                 \
    "nothing arrived for timeout.idle")                                      \
  X(E_TIMEOUT_TOTAL, TIMEOUT, "total_timeout",                               \
    "not finished within timeout.total")                                     \
  /* what the server says */                                                 \
  X(E_HTTP_STATUS, HTTP, "http_status", "the server answered with an error") \
  X(E_REDIRECT, HTTP, "redirect", "the server redirects to another place")   \
  X(E_API, API, "api_error", "the API reported an error")                    \
  X(E_NO_KEY, API, "missing_api_key", "no API key")                          \
  X(E_TRUNCATED, TRUNCATED, "truncated", "the answer ended too early")       \
  X(E_NO_CHOICES, PROTOCOL, "no_choices", "the answer has no choices")       \
  X(E_BAD_RESPONSE, PROTOCOL, "bad_response",                                \
    "the answer is not a chat completion")                                   \
  X(E_EMPTY, PROTOCOL, "empty_response", "the answer has no body")           \
  X(E_JSON, PROTOCOL, "bad_json", "not valid JSON")                          \
  X(E_UTF8, PROTOCOL, "bad_utf8", "not valid UTF-8")                         \
  X(E_NO_RECORDING, PROTOCOL, "no_recording",                                \
    "no recording of this request is left")                                  \
  X(E_CANCELLED, CANCELLED, "cancelled", "the request was cancelled")        \
  X(E_CLOSED, CANCELLED, "closed", "the client was closed")                  \
  X(E_HANDLER, CANCELLED, "handler_failed", "a handler raised an error")     \
  /* files */                                                                \
  X(E_NO_FILE, STORE, "no_file", "no such file")                             \
  X(E_UNREADABLE, STORE, "unreadable", "the file cannot be read")            \
  X(E_EMPTY_FILE, STORE, "empty_file", "the file is empty")                  \
  X(E_UNKNOWN_TYPE, STORE, "unknown_type", "an unknown type of file")        \
  X(E_WRONG_TYPE, STORE, "wrong_type", "the wrong type of file")             \
  X(E_FILE_CHANGED, STORE, "file_changed",                                   \
    "the file changed while it was read")                                    \
  X(E_NOT_A_FILE, STORE, "not_a_file", "not a regular file")                 \
  X(E_LOCKED, STORE, "locked", "another journal writes to this file")        \
  X(E_WRITE, STORE, "write_failed", "the file cannot be written")            \
  X(E_JOURNAL_CHANGED, STORE, "journal_changed",                             \
    "the file is not as this journal left it")                               \
  X(E_BAD_LINE, STORE, "bad_line", "a line of the file is broken")           \
  X(E_BAD_VERSION, STORE, "bad_version", "an unknown version of the format") \
  /* wrong use: the binding raises these */                                  \
  X(E_ROLE, MISUSE, "unknown_role", "unknown role")                          \
  X(E_NO_ROLE, MISUSE, "no_role", "a message needs a role")                  \
  X(E_NO_CONTENT, MISUSE, "no_content", "a message needs content")           \
  X(E_NOT_OBJECT, MISUSE, "not_an_object", "a message is a JSON object")     \
  X(E_NO_CALL_ID, MISUSE, "no_tool_call_id",                                 \
    "a tool message needs a tool_call_id")                                   \
  X(E_CALL_ID, MISUSE, "bad_tool_calls",                                     \
    "each tool call needs an id of its own")                                 \
  X(E_ORPHAN, MISUSE, "orphan_result", "a tool result without its call")     \
  X(E_OPEN_CALL, MISUSE, "open_call", "a tool call without its result")      \
  X(E_RANGE, MISUSE, "out_of_range", "index out of range")                   \
  X(E_CHANGED, MISUSE, "list_changed",                                       \
    "the messages that were edited are not there any more")

typedef enum oc_kind {
#define X(symbol, name) OC_KIND_##symbol,
  OC_KIND_MAP(X)
#undef X
  OC_KIND_COUNT
} oc_kind;

typedef enum oc_code {
#define X(symbol, kind, name, message) OC_##symbol,
  OC_CODE_MAP(X)
#undef X
  OC_CODE_COUNT
} oc_code;

const char *oc_kind_name(oc_kind kind);
const char *oc_code_name(oc_code code);
const char *oc_code_message(oc_code code);
oc_kind oc_code_kind(oc_code code);

/* Why a request ended without a reply. Owns `message`. */
typedef struct oc_error {
  oc_code code;
  int status;        /* HTTP status, 0: none arrived */
  int retryable;     /* the same request may succeed later */
  int64_t retry_after_ms;   /* what the server asks for, 0: nothing */
  char name[64];     /* err.code: the server's own code, or the table's */
  char *message;     /* NULL: the table's message */
} oc_error;

/*
 * Sets code, name, retryability and a formatted message. Long messages are
 * cut. Out of memory leaves the table's message. Frees an earlier message.
 */
void oc_error_set(oc_error *error, oc_code code, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;
/* Replaces err.code by the server's own (cut to 63 bytes). */
void oc_error_set_name(oc_error *error, const char *name, size_t len);
/* Blots out "user:password" before the "@" of URLs in the message. */
void oc_error_hide_logins(oc_error *error);
/* The message, never NULL; borrowed until the error changes. */
const char *oc_error_message(const oc_error *error);
/* Frees the message and returns to "no error". */
void oc_error_clear(oc_error *error);

#endif
