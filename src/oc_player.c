#include "oc_player_private.h"

#include <stdlib.h>
#include <string.h>

#include "oc_alloc.h"
#include "oc_file.h"
#include "oc_recorder.h"

/* Largest tape. */
#define TAPE_MAX ((size_t)1 << 30)

static int add(oc_player *player, oc_recording *recording) {
  if(player->count == player->cap) {
    size_t cap = player->cap ? player->cap * 2 : 16;
    oc_recording **list = oc_realloc(player->list, cap * sizeof *list);
    if(!list)
      return 0;
    player->list = list;
    player->cap = cap;
  }
  recording->index = player->count;
  /* one that somebody has put in has its place where it stands */
  if(!recording->at[0] && player->count)
    memcpy(recording->at, player->list[player->count - 1]->at,
           sizeof recording->at);
  player->list[player->count++] = recording;
  return 1;
}

static int compare_times(const void *a, const void *b) {
  const oc_recording *one = *(oc_recording *const *)a;
  const oc_recording *other = *(oc_recording *const *)b;
  int order = strcmp(one->at, other->at);
  if(order)
    return order;
  return one->index < other->index ? -1 : one->index > other->index;
}

static oc_code read_tape(oc_player *player, const oc_buf *text,
                         char *problem) {
  const char *at = text->data;
  const char *end = at ? at + text->len : NULL;
  int64_t version = -1;
  size_t number = 0;

  while(at < end) {
    const char *line_end = memchr(at, '\n', (size_t)(end - at));
    char what[OC_PROBLEM_MAX];
    oc_recording *recording;
    oc_slice line;
    oc_code code;
    line.text = at;
    line.len = line_end ? (size_t)(line_end - at) : (size_t)(end - at);
    at += line.len + 1;
    number++;
    while(line.len && memchr(" \t\r", line.text[line.len - 1], 3))
      line.len--;
    if(!line.len)
      continue;
    recording = oc_recording_new(number);
    if(!recording)
      return oc_file_fail(problem, OC_E_NOMEM, "out of memory");
    code = oc_recording_read(&recording, line, &version, what);
    if(code) {
      oc_recording_free(recording);
      if(version < 0 && code == OC_E_BAD_LINE)
        break;
      return oc_file_fail(problem, code, "line %lu: %s",
                          (unsigned long)number, what);
    }
    if(version > OC_TAPE_VERSION) {
      if(recording)
        oc_recording_free(recording);
      return oc_file_fail(problem, OC_E_BAD_VERSION, "line %lu: version "
                          "%lld, and not %d", (unsigned long)number,
                          (long long)version, OC_TAPE_VERSION);
    }
    if(version < 0) {
      oc_recording_free(recording);
      break;
    }
    if(recording && !add(player, recording)) {
      oc_recording_free(recording);
      return oc_file_fail(problem, OC_E_NOMEM, "out of memory");
    }
  }
  if(version < 0)
    return oc_file_fail(problem, OC_E_WRONG_TYPE, "no tape: its first line "
                        "has to be {\"opperchat_tape\":1}");
  if(player->count)
    qsort(player->list, player->count, sizeof *player->list, compare_times);
  return OC_OK;
}

oc_player *oc_player_open(const oc_player_options *options, oc_code *code,
                          char *problem) {
  const char *slash = strrchr(options->path, '/');
  const char *name = slash ? slash + 1 : options->path;
  oc_player *player = oc_calloc(sizeof *player);
  oc_buf text;

  if(player) {
    player->speed = options->speed;
    player->in_order = options->in_order;
    player->name = oc_strndup(name, strlen(name));
  }
  if(!player || !player->name) {
    oc_player_free(player);
    *code = oc_file_fail(problem, OC_E_NOMEM, "out of memory");
    return NULL;
  }
  oc_buf_init(&text, SIZE_MAX / 4);
  *code = oc_file_read(options->path, TAPE_MAX, &text, problem);
  if(!*code)
    *code = read_tape(player, &text, problem);
  oc_buf_free(&text);
  if(*code) {
    oc_player_free(player);
    return NULL;
  }
  return player;
}

void oc_player_free(oc_player *player) {
  if(!player)
    return;
  while(player->count)
    oc_recording_free(player->list[--player->count]);
  oc_free(player->list);
  oc_free(player->name);
  oc_free(player);
}

const oc_recording *oc_player_left(const oc_player *player, size_t *at) {
  while(*at < player->count) {
    const oc_recording *recording = player->list[(*at)++];
    if(!recording->is_used)
      return recording;
  }
  return NULL;
}

int64_t oc_player_scale(const oc_player *player, int64_t ms) {
  double scaled;
  if(player->speed <= 0)
    return 0;
  scaled = (double)ms / player->speed;
  return scaled < OC_TAPE_MAX_MS ? (int64_t)(scaled + 0.5)
                                 : (int64_t)OC_TAPE_MAX_MS;
}

int oc_player_is_instant(const oc_player *player) {
  return player->speed <= 0;
}

int64_t oc_recording_due(const oc_player *player,
                         const oc_recording *recording, size_t index) {
  int64_t ms = recording->end_ms;
  if(index < recording->count)
    ms = recording->pieces[index].ms;
  else if(recording->count
          && ms < recording->pieces[recording->count - 1].ms)
    ms = recording->pieces[recording->count - 1].ms;
  return oc_player_scale(player, ms);
}

int64_t oc_recording_head_due(const oc_player *player,
                              const oc_recording *recording) {
  int64_t first = oc_recording_due(player, recording, 0);
  int64_t ms = recording->first_ms < 0
               ? first : oc_player_scale(player, recording->first_ms);
  return ms < first ? ms : first;
}
