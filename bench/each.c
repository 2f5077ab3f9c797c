/*
 * A process for each request, as programs without a client of their own do
 * it. What the process prints is read through a pipe, as its parent has to.
 *
 *   each sequential N COMMAND...   N times, one after another
 *   each together N COMMAND...     N at once
 *
 * Prints `cpu SECONDS`, user and system time of the processes and of this
 * one, which starts them; `wall SECONDS` and `bytes N`, what they printed.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static void die(const char *what) __attribute__((noreturn));
static void die(const char *what) {
  fprintf(stderr, "each: %s\n", what);
  exit(1);
}

static double seconds(struct timeval time) {
  return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static double cpu_seconds(void) {
  struct rusage own, children;
  getrusage(RUSAGE_SELF, &own);
  getrusage(RUSAGE_CHILDREN, &children);
  return seconds(own.ru_utime) + seconds(own.ru_stime) +
         seconds(children.ru_utime) + seconds(children.ru_stime);
}

static double wall_seconds(void) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Returns the descriptor that its output can be read from. */
static int start(char **command) {
  posix_spawn_file_actions_t actions;
  int ends[2];
  pid_t pid;

  if(pipe(ends))
    die("pipe");
  fcntl(ends[0], F_SETFD, FD_CLOEXEC);
  fcntl(ends[1], F_SETFD, FD_CLOEXEC);
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  if(posix_spawnp(&pid, command[0], &actions, NULL, command, environ))
    die("the command cannot be run");
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  return ends[0];
}

static void wait_for_one(void) {
  int status;

  if(wait(&status) < 0 || !WIFEXITED(status) || WEXITSTATUS(status))
    die("a process has failed");
}

/* Reads once; returns 0 at the end. */
static size_t drain(int fd) {
  static char bytes[65536];
  ssize_t n;

  do {
    n = read(fd, bytes, sizeof(bytes));
  } while(n < 0 && errno == EINTR);
  if(n < 0)
    die("read");
  return (size_t)n;
}

static size_t sequential(long count, char **command) {
  size_t bytes = 0, n;
  long i;

  for(i = 0; i < count; i++) {
    int fd = start(command);
    while((n = drain(fd)) > 0)
      bytes += n;
    close(fd);
    wait_for_one();
  }
  return bytes;
}

static size_t together(long count, char **command) {
  struct pollfd *fds = calloc((size_t)count, sizeof(*fds));
  size_t bytes = 0, n;
  long i, open = count;

  if(!fds)
    die("out of memory");
  for(i = 0; i < count; i++) {
    fds[i].fd = start(command);
    fds[i].events = POLLIN;
  }
  while(open) {
    if(poll(fds, (nfds_t)count, -1) < 0)
      die("poll");
    for(i = 0; i < count; i++) {
      if(!fds[i].revents)
        continue;
      n = drain(fds[i].fd);
      bytes += n;
      if(!n) {
        close(fds[i].fd);
        fds[i].fd = -1;
        open--;
      }
    }
  }
  for(i = 0; i < count; i++)
    wait_for_one();
  free(fds);
  return bytes;
}

int main(int argc, char **argv) {
  long count = argc > 3 ? strtol(argv[2], NULL, 10) : 0;
  double cpu, wall;
  size_t bytes;

  if(count <= 0 || (strcmp(argv[1], "sequential") &&
                    strcmp(argv[1], "together"))) {
    fprintf(stderr, "usage: each sequential|together N COMMAND...\n");
    return 2;
  }
  cpu = cpu_seconds();
  wall = wall_seconds();
  bytes = argv[1][0] == 's' ? sequential(count, argv + 3) :
                              together(count, argv + 3);
  printf("cpu %.6f\n", cpu_seconds() - cpu);
  printf("wall %.6f\n", wall_seconds() - wall);
  printf("bytes %zu\n", bytes);
  return 0;
}
