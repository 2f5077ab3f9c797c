#include "ldescriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/*
 * fill_descriptors() -> true | false: has something stand in for each of the
 * three that is closed. What is opened next would get its number, and the
 * answer would go into that: a socket, a journal. They are opened the wrong way
 * round, so that who writes an answer is told that nobody gets it.
 */
static int fill_descriptors(lua_State *L) {
  int done = 1;
  int fd;
  for(fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
    int flags = fd == STDIN_FILENO ? O_WRONLY : O_RDONLY;
    /* the lowest free number is this one: all below are open by now */
    if(fcntl(fd, F_GETFD) == -1 && errno == EBADF)
      done = open("/dev/null", flags | O_NOCTTY) == fd && done;
  }
  lua_pushboolean(L, done);
  return 1;
}

void ldescriptor_register(lua_State *L) {
  static const luaL_Reg functions[] = {
    { "fill_descriptors", fill_descriptors },
    { NULL, NULL }
  };
  lcompat_register(L, functions);
}
