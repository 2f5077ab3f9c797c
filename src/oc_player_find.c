#include "oc_player_private.h"

#include <string.h>

#include "oc_redact.h"
#include "oc_tree.h"

/* Paths are shown up to here. */
#define PATH_SHOWN 200

static int is_for(const oc_recording *recording,
                  const oc_player_request *request) {
  return !strcmp(recording->method, request->method)
         && !strcmp(recording->path, request->path);
}

/* A request as it is looked for. */
struct wanted {
  const oc_player_request *request;
  oc_tree tree;               /* of the body */
  int has_tree;
  oc_buf body;                /* canonical */
  uint64_t hash;
};

/* The canonical body as a tree; 0: out of memory. */
static int plant(oc_tree *tree, const oc_buf *body) {
  if(!oc_tree_read(tree, body->data, body->len))
    return 1;
  oc_tree_free(tree);
  return 0;
}

static int is_match(const oc_recording *recording, struct wanted *wanted) {
  oc_tree tree;
  int is_equal;
  if(!is_for(recording, wanted->request))
    return 0;
  if(recording->hash == wanted->hash
     && recording->body.len == wanted->body.len
     && (!wanted->body.len
         || !memcmp(recording->body.data, wanted->body.data,
                    wanted->body.len)))
    return 1;
  if(!recording->has_holes || !wanted->has_tree || !recording->body.len
     || !plant(&tree, &recording->body))
    return 0;
  is_equal = !oc_tree_compare(&tree, &wanted->tree, NULL);
  oc_tree_free(&tree);
  return is_equal;
}

static oc_code read_wanted(struct wanted *wanted) {
  const oc_player_request *request = wanted->request;
  oc_redact redact;
  oc_buf clean;
  oc_code code;

  if(!request->body.len) {
    wanted->hash = oc_recording_hash(&wanted->body);
    return OC_OK;
  }
  memset(&redact, 0, sizeof redact);
  if(request->key.len)
    oc_redact_add(&redact, request->key.text, request->key.len);
  oc_buf_init(&clean, SIZE_MAX / 4);
  code = oc_tree_clean(&redact, request->body.text, request->body.len,
                       &clean);
  if(!code) {
    code = oc_tree_read(&wanted->tree, clean.data, clean.len);
    wanted->has_tree = 1;
  }
  if(!code)
    code = oc_tree_write(&wanted->tree, &wanted->body);
  wanted->hash = oc_recording_hash(&wanted->body);
  oc_buf_free(&clean);
  return code;
}

/* The recording with the fewest differences; `where` gets the first. */
static const oc_recording *find_nearest(const oc_player *player,
                                        const struct wanted *wanted,
                                        oc_buf *where) {
  const oc_recording *nearest = NULL;
  size_t least = SIZE_MAX;
  size_t i;

  for(i = 0; i < player->count; i++) {
    const oc_recording *recording = player->list[i];
    oc_buf words;
    oc_tree tree;
    size_t found;
    if(!is_for(recording, wanted->request) || !recording->body.len
       || !wanted->has_tree || !plant(&tree, &recording->body))
      continue;
    oc_buf_init(&words, SIZE_MAX / 4);
    /* one that was played already is worth less than one that is left */
    found = oc_tree_compare(&tree, &wanted->tree, &words) * 2
            + (size_t)recording->is_used;
    if(found < least) {
      least = found;
      nearest = recording;
      oc_buf_clear(where);
      oc_buf_append(where, words.data, words.len);
    }
    oc_buf_free(&words);
    oc_tree_free(&tree);
  }
  return nearest;
}

static void tell(const oc_player *player, struct wanted *wanted,
                 size_t played, oc_error *error) {
  const oc_player_request *request = wanted->request;
  const oc_recording *nearest;
  oc_buf where;

  if(played) {
    oc_error_set(error, OC_E_NO_RECORDING,
                 "%s %.*s is on %s %lu time%s and was sent once more",
                 request->method, PATH_SHOWN, request->path, player->name,
                 (unsigned long)played, played > 1 ? "s" : "");
    return;
  }
  oc_buf_init(&where, SIZE_MAX / 4);
  nearest = find_nearest(player, wanted, &where);
  if(nearest)
    oc_error_set(error, OC_E_NO_RECORDING,
                 "%s %.*s is not on %s; the nearest, line %lu%s, differs in "
                 "%.*s", request->method, PATH_SHOWN, request->path,
                 player->name, (unsigned long)nearest->line,
                 nearest->is_used ? " (played already)" : "",
                 (int)where.len, where.data ? where.data : "");
  else
    oc_error_set(error, OC_E_NO_RECORDING, "%s %.*s is not on %s",
                 request->method, PATH_SHOWN, request->path, player->name);
  oc_buf_free(&where);
}

const oc_recording *oc_player_find(oc_player *player,
                                   const oc_player_request *request,
                                   oc_error *error) {
  struct wanted wanted;
  oc_recording *found = NULL;
  size_t played = 0;
  size_t i;
  oc_code code;

  memset(&wanted, 0, sizeof wanted);
  wanted.request = request;
  oc_buf_init(&wanted.body, SIZE_MAX / 4);
  code = read_wanted(&wanted);
  for(i = 0; !code && i < player->count; i++) {
    oc_recording *recording = player->list[i];
    if(player->in_order ? !is_for(recording, request)
                        : !is_match(recording, &wanted))
      continue;
    if(recording->is_used) {
      played++;
      continue;
    }
    if(!found)
      found = recording;
    /* of requests of the same text each gets its own attempts */
    if(player->in_order || recording->attempt == request->attempt) {
      found = recording;
      break;
    }
  }
  if(found)
    found->is_used = 1;
  else if(code)
    oc_error_set(error, code, "%s", oc_code_message(code));
  else
    tell(player, &wanted, played, error);
  if(wanted.has_tree)
    oc_tree_free(&wanted.tree);
  oc_buf_free(&wanted.body);
  return found;
}
