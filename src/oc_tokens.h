#ifndef OC_TOKENS_H
#define OC_TOKENS_H
#include <stddef.h>
#include "oc_json.h"
typedef struct oc_tokens { size_t bytes; } oc_tokens;
void oc_tokens_init(oc_tokens *tokens);
void oc_tokens_add(oc_tokens *tokens, const char *text, size_t len);
void oc_tokens_add_raw(oc_tokens *tokens, oc_slice raw);
size_t oc_tokens_count(const oc_tokens *tokens);
size_t oc_tokens_text(const char *text, size_t len);
#endif
