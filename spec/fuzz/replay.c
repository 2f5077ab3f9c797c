/*
 * Runs a fuzz target without libFuzzer over files and folders of them, and
 * ends with "N passed, N failed", one for each file.
 *
 *   build/core/fuzz/fuzz_sse            its corpus and regressions
 *   build/core/fuzz/fuzz_sse FILE...    these files and folders
 *
 * Each file is fed again and again: as it is, with the first allocation
 * failing, with the second, until a run passes. Nothing may crash or stay
 * behind. OPPERCHAT_SLOW (valgrind) leaves that out.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "replay.h"

static int passed;
static int failed;
static int with_memory;

/* Whole file; caller frees. */
static uint8_t *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  uint8_t *data = NULL;
  long end;

  if(!file || fseek(file, 0, SEEK_END) || (end = ftell(file)) < 0
     || fseek(file, 0, SEEK_SET))
    goto out;
  data = malloc((size_t)end + 1);
  *size = data ? fread(data, 1, (size_t)end, file) : 0;
out:
  if(file)
    fclose(file);
  return data;
}

/* One run; `n` below 0: no allocation fails. 0: all is well. */
static int run_once(const uint8_t *data, size_t size, long n) {
  jmp_buf escape;
  long before = fuzz_blocks();
  fuzz_escape = &escape;
  if(setjmp(escape)) {
    if(n >= 0)
      fprintf(stderr, "  with allocation %ld failing\n", n);
    return 1;
  }
  fuzz_starve(n);
  LLVMFuzzerTestOneInput(data, size);
  if(fuzz_blocks() == before)
    return 0;
  fprintf(stderr, "%ld blocks are left", fuzz_blocks() - before);
  fprintf(stderr, n >= 0 ? " when allocation %ld fails\n" : "\n", n);
  return 1;
}

static void run_file(const char *path) {
  size_t size = 0;
  uint8_t *data = read_file(path, &size);
  uint8_t *copy;
  int bad = !data;
  long n;

  if(data) {
    /* without the byte too many */
    copy = (uint8_t *)fuzz_copy(data, size);
    bad = run_once(copy, size, -1);
    for(n = 0; with_memory && !bad; n += 1 + n / 100) {
      bad = run_once(copy, size, n);
      if(!fuzz_is_starved())
        break;
    }
    free(copy);
  }
  free(data);
  if(bad) {
    printf("FAILED %s\n", path);
    failed++;
  }
  else
    passed++;
}

static int compare(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* All files of a folder, in order. */
static void run_folder(const char *path) {
  DIR *folder = opendir(path);
  struct dirent *entry;
  char *names[2000];
  size_t count = 0;
  size_t i;

  if(!folder)
    return;
  while((entry = readdir(folder)) != NULL && count < 2000) {
    if(*entry->d_name != '.')
      names[count++] = fuzz_string(entry->d_name, strlen(entry->d_name));
  }
  closedir(folder);
  qsort(names, count, sizeof *names, compare);
  for(i = 0; i < count; i++) {
    char file[1024];
    snprintf(file, sizeof file, "%s/%s", path, names[i]);
    run_file(file);
    free(names[i]);
  }
}

int main(int argc, char **argv) {
  const char *name = strrchr(argv[0], '/');
  const char *target;
  int i = 1;

  name = name ? name + 1 : argv[0];
  target = strncmp(name, "fuzz_", 5) ? name : name + 5;
  with_memory = !getenv("OPPERCHAT_SLOW");
  if(i < argc) {
    for(; i < argc; i++) {
      DIR *folder = opendir(argv[i]);
      if(!folder)
        run_file(argv[i]);
      else {
        closedir(folder);
        run_folder(argv[i]);
      }
    }
  }
  else {
    static const char *const folders[] = { "corpus", "regressions" };
    size_t k;
    for(k = 0; k < 2; k++) {
      char path[512];
      snprintf(path, sizeof path, "spec/fuzz/%s/%s", folders[k], target);
      run_folder(path);
    }
  }
  printf("%d passed, %d failed\n", passed, failed);
  return failed || !passed;
}
