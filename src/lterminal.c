#include "lterminal.h"

#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

/* terminal_width(descriptor) -> columns | nil */
static int terminal_width(lua_State *L) {
  struct winsize size;
  if(ioctl((int)luaL_checkinteger(L, 1), TIOCGWINSZ, &size) || !size.ws_col)
    return 0;
  lua_pushinteger(L, size.ws_col);
  return 1;
}

/* Changes one of the local flags of stdin. Returns whether it was on. */
static int set_flag(tcflag_t flag, int on) {
  struct termios modes;
  int was_on;
  if(tcgetattr(STDIN_FILENO, &modes))
    return 0;
  was_on = (modes.c_lflag & flag) != 0;
  if(was_on != on) {
    if(on)
      modes.c_lflag |= flag;
    else
      modes.c_lflag &= ~flag;
    tcsetattr(STDIN_FILENO, TCSANOW, &modes);
  }
  return was_on;
}

/*
 * terminal_hold(on) -> whether it was so before
 *
 * Whether Ctrl-C leaves in the terminal what was typed of a line, for
 * terminal_drop() to find. Only while a line is read: a Ctrl-C at another time
 * is to forget what was typed ahead.
 */
static int terminal_hold(lua_State *L) {
  lua_pushboolean(L, set_flag(NOFLSH, lua_toboolean(L, 1)));
  return 1;
}

/*
 * terminal_drop() -> how many bytes were typed of a line without an end; they
 * are thrown away
 */
static int terminal_drop(lua_State *L) {
  /* as long as lines are edited, an unfinished one cannot be seen */
  int edits = set_flag(ICANON, 0);
  int count = 0;
  if(ioctl(STDIN_FILENO, FIONREAD, &count))
    count = 0;
  tcflush(STDIN_FILENO, TCIFLUSH);
  set_flag(ICANON, edits);
  lua_pushinteger(L, count);
  return 1;
}

void lterminal_register(lua_State *L) {
  static const luaL_Reg functions[] = {
    { "terminal_width", terminal_width },
    { "terminal_hold", terminal_hold },
    { "terminal_drop", terminal_drop },
    { NULL, NULL }
  };
  lcompat_register(L, functions);
}
