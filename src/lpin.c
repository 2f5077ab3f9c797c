/*
 * A Lua state unloads its modules when it closes, but what libcurl and the
 * libraries below it have set up for the process would not survive that. The
 * Makefile's linker flag says the same; LuaRocks has no place for such a flag,
 * and Apple's linker none.
 */
#include "lpin.h"

#if defined(_WIN32)

void lpin_module(void) {
}

#else

#include <dlfcn.h>

/* Of the handle it gets nobody knows, so that nobody closes it. */
void lpin_module(void) {
  static const char inside = 0;
  Dl_info object;
  if(dladdr(&inside, &object) && object.dli_fname)
    (void)dlopen(object.dli_fname, RTLD_NOW | RTLD_NOLOAD);
}

#endif
