/* Event streams: the events are the same however the bytes are split. */
#include "fuzz.h"

#include <stdlib.h>

#include "../../src/oc_sse.h"

static void note_event(fuzz_note *note, const oc_sse_event *event) {
  fuzz_notef(note, "<");
  fuzz_note_bytes(note, event->type.text, event->type.len);
  fuzz_notef(note, "|");
  fuzz_note_bytes(note, event->data.text, event->data.len);
  fuzz_notef(note, ">\n");
}

static void read_stream(const uint8_t *data, size_t size, size_t max,
                        fuzz_split *split, fuzz_note *note) {
  oc_sse sse;
  oc_sse_event event;
  size_t at = 0;
  int more = 0;

  oc_sse_init(&sse, max);
  while(at < size && more >= 0) {
    size_t len = fuzz_piece(split, size - at);
    char *piece = fuzz_copy(data + at, len);
    oc_sse_feed(&sse, piece, len);
    while((more = oc_sse_next(&sse, &event)) > 0)
      note_event(note, &event);
    free(piece);
    at += len;
  }
  while((more = oc_sse_finish(&sse, &event)) > 0)
    note_event(note, &event);
  MUST((more < 0) == (sse.error != OC_OK));
  MUST(oc_sse_next(&sse, &event) <= 0);
  MUST(!sse.error || sse.error == OC_E_EVENT_TOO_LARGE
       || (sse.error == OC_E_NOMEM && fuzz_is_starved()));
  fuzz_notef(note, "error %d", (int)sse.error);
  /* where it breaks off, later comments are not counted */
  if(!sse.error)
    fuzz_notef(note, ", %lu comments", (unsigned long)sse.comments);
  oc_sse_free(&sse);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const size_t limits[] = { 1 << 20, 40, 9 };
  fuzz_note first = { NULL, 0, 0 };
  fuzz_note note = { NULL, 0, 0 };
  size_t i;
  int round;

  for(i = 0; i < sizeof limits / sizeof *limits; i++) {
    for(round = 0; round < fuzz_rounds(); round++) {
      fuzz_split split;
      fuzz_split_init(&split, round, data, size);
      read_stream(data, size, limits[i], &split, &note);
      fuzz_compare(&first, &note, round);
    }
  }
  fuzz_note_free(&first);
  fuzz_note_free(&note);
  return 0;
}
