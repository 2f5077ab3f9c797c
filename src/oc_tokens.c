#include "oc_tokens.h"
void oc_tokens_init(oc_tokens *tokens) { tokens->bytes = 0; }
void oc_tokens_add(oc_tokens *tokens, const char *text, size_t len) {
  (void)text;
  tokens->bytes += len;
}
void oc_tokens_add_raw(oc_tokens *tokens, oc_slice raw) {
  tokens->bytes += raw.len;
}
size_t oc_tokens_count(const oc_tokens *tokens) {
  return (tokens->bytes + 3) / 4;
}
size_t oc_tokens_text(const char *text, size_t len) {
  (void)text;
  return (len + 3) / 4;
}
