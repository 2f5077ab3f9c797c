# opperchat: build, demo, tests.
#
# `make help` lists the targets. Nothing is written outside this folder but
# by `install`, and the packages that `demo` and `test` find missing.

# -- For you to edit, here or on the command line -----------------------------

# The Lua to build for and to run: lua5.4 lua5.3 lua5.2 lua5.1 luajit ...
LUA = lua5.4

# Where its lua.h is. Looked for when empty.
LUA_INCDIR =

# libcurl >= 7.68. Looked for with pkg-config, then curl-config.
CURL_CFLAGS = $(call ask,CURL_CFLAGS,$(CURL_ASK) --cflags)
CURL_LIBS = $(or $(call ask,CURL_LIBS,$(CURL_ASK) --libs),-lcurl)

CFLAGS = -O2 -g
LDFLAGS =

# Where everything is built: another folder when this one cannot be written to.
BUILD_DIR = build

# `make install` puts share/lua/<version> and lib/lua/<version> here.
PREFIX = /usr/local

# `make demo-extract FILE=letter.pdf` reads another document.
FILE =

# `make test SPECS=spec/json_spec.lua FILTER="some name"` runs a part,
# `make test MATRIX=all` all of spec/matrix_spec.lua.
SPECS = $(sort $(wildcard spec/*_spec.lua spec/*/*_spec.lua))
FILTER =
BENCH =
SEED =

# -- Nothing below needs to change --------------------------------------------

.DEFAULT_GOAL := all
MAKEFLAGS += --no-print-directory --no-builtin-rules

LUA_NAME := $(notdir $(LUA))

# Asks the system once, and only when the answer is needed: a first `make demo`
# reads this file before the packages are there.
ask = $(eval $(1) := $(shell $(2) 2>/dev/null))$($(1))
CURL_ASK = $$(pkg-config --exists libcurl 2>/dev/null \
  && echo pkg-config libcurl || echo curl-config)
LUA_HEADERS = $(or $(LUA_INCDIR),$(call ask,LUA_FOUND,.ci/lua-incdir "$(LUA)"),\
  $(error $(shell .ci/lua-incdir "$(LUA)" 2>&1)))

# Compiles on every core, unless `make -j` has said on how many. (MAKEFLAGS
# would hold the variables of the command line as well.)
CORES = $(call ask,CORES_FOUND,getconf _NPROCESSORS_ONLN || echo 1)
BUILD = $(MAKE) $(if $(filter -j% --jobserver%,$(MFLAGS)),,-j$(CORES))

# VARIANT names a second build beside the usual one: "asan-".
VARIANT =
CORE_DIR := $(BUILD_DIR)/$(VARIANT)core
MODULE_DIR := $(BUILD_DIR)/$(VARIANT)$(LUA_NAME)
MODULE := $(MODULE_DIR)/opperchat/core.so

CORE_SOURCES := $(sort $(wildcard src/oc_*.c))
BINDING_SOURCES := $(sort $(filter-out $(CORE_SOURCES),$(wildcard src/*.c)))
TEST_SOURCES := $(sort $(wildcard spec/c/test_*.c))
CORE_OBJECTS := $(CORE_SOURCES:src/%.c=$(CORE_DIR)/%.o)
BINDING_OBJECTS := $(BINDING_SOURCES:src/%.c=$(MODULE_DIR)/obj/%.o)
TEST_OBJECTS := $(TEST_SOURCES:spec/c/%.c=$(CORE_DIR)/spec/%.o)
TEST_PROGRAMS := $(TEST_SOURCES:spec/c/%.c=$(CORE_DIR)/spec/%)

WARNINGS = -Wall -Wextra -Wpedantic -Wshadow -Wundef -Wstrict-prototypes \
  -Wmissing-prototypes -Wvla -Wdeclaration-after-statement
EXTRA_CFLAGS =
ALL_CFLAGS = -std=c99 -D_GNU_SOURCE $(WARNINGS) $(CFLAGS) $(EXTRA_CFLAGS) \
  -fPIC -fvisibility=hidden -pthread $(CURL_CFLAGS)

# The module stays loaded when its Lua state closes: libcurl's own globals
# would not survive being unloaded. It never links a Lua library, so that it
# uses the one of its host.
# Tested on Linux. What is here for macOS, Cygwin and MSYS was not.
SYSTEM := $(shell uname -s)
ifeq ($(SYSTEM),Darwin)
  MODULE_LDFLAGS = -bundle -undefined dynamic_lookup
else ifneq ($(filter CYGWIN% MSYS%,$(SYSTEM)),)
  # A DLL leaves no name open, not even Lua's.
  MODULE_LDFLAGS = -shared
  MODULE_LIBS = $(LUA_LIBS)
else ifneq ($(filter MINGW%,$(SYSTEM)),)
  $(error The core needs POSIX (file locks, poll, threads): use the MSYS or \
    Cygwin environment, or WSL, in the place of $(SYSTEM))
else
  MODULE_LDFLAGS = -shared -Wl,-z,nodelete
endif

COMPILE = $(CC) $(ALL_CFLAGS) -MMD -MP
ifdef V
  Q =
else
  Q = @
  say = @echo "  $(1)"
endif

.PHONY: all
all: $(MODULE) ## Build build/$(LUA)/opperchat/core.so (the default)

# The flags come first: they know whether there is such a Lua.
$(MODULE): $(MODULE_DIR)/flags $(CORE_OBJECTS) $(BINDING_OBJECTS)
	@mkdir -p $(@D)
	$(call say,LINK $@)
	$(Q)$(CC) $(CFLAGS) $(EXTRA_CFLAGS) $(MODULE_LDFLAGS) $(LDFLAGS) -pthread \
	  -o $@ $(CORE_OBJECTS) $(BINDING_OBJECTS) $(CURL_LIBS) $(MODULE_LIBS)

$(CORE_DIR)/%.o: src/%.c $(CORE_DIR)/flags
	@mkdir -p $(@D)
	$(call say,CC $<)
	$(Q)$(COMPILE) -c -o $@ $<

$(MODULE_DIR)/obj/%.o: src/%.c $(MODULE_DIR)/flags
	@mkdir -p $(@D)
	$(call say,CC $< ($(LUA_NAME)))
	$(Q)$(COMPILE) -I$(LUA_HEADERS) -c -o $@ $<

$(CORE_DIR)/spec/%.o: spec/c/%.c $(CORE_DIR)/flags
	@mkdir -p $(@D)
	$(call say,CC $<)
	$(Q)$(COMPILE) -Isrc -c -o $@ $<

$(CORE_DIR)/spec/%: $(CORE_DIR)/spec/%.o $(CORE_OBJECTS)
	$(call say,LINK $@)
	$(Q)$(CC) $(CFLAGS) $(EXTRA_CFLAGS) $(LDFLAGS) -pthread -o $@ $^ $(CURL_LIBS)

# Rewritten only when the flags differ, so that other flags mean a rebuild and
# the same flags do not.
$(CORE_DIR)/flags: FORCE headers
	@mkdir -p $(@D)
	@echo '$(COMPILE) $(LDFLAGS)' | cmp -s - $@ || echo '$(COMPILE) $(LDFLAGS)' > $@

$(MODULE_DIR)/flags: FORCE headers
	@mkdir -p $(@D)
	@echo '$(COMPILE) $(LDFLAGS) $(LUA_HEADERS)' | cmp -s - $@ \
	  || echo '$(COMPILE) $(LDFLAGS) $(LUA_HEADERS)' > $@

.PHONY: FORCE
FORCE:

# Those of Lua each time, as there is a Lua for each build.
.PHONY: headers
headers:
	@CC='$(CC)' CURL_CFLAGS='$(CURL_CFLAGS)' .ci/headers "$(LUA)" "$(LUA_INCDIR)"

.SECONDARY: $(TEST_OBJECTS)
-include $(CORE_OBJECTS:.o=.d) $(BINDING_OBJECTS:.o=.d) $(TEST_OBJECTS:.o=.d)

-include spec/fuzz/fuzz.mk
-include spec/host/host.mk
include embed/embed.mk

# This tree's modules before whatever LUA_PATH and LUA_CPATH already hold.
SET_PATHS = eval "$$(.ci/env '$(MODULE_DIR)')"

.PHONY: programs
programs: $(MODULE) $(TEST_PROGRAMS) $(FUZZ_PROGRAMS) $(HOST_PROGRAMS)

# -- For users ----------------------------------------------------------------

.PHONY: demo
demo: deps-run ## Install what is missing, build, and hold a short conversation
	@$(BUILD) all
	@$(SET_PATHS) && $(LUA) examples/quickstart.lua

.PHONY: demo-extract
demo-extract: deps-run ## The same for facts out of a PDF (FILE picks another document)
	@$(BUILD) all
	@$(SET_PATHS) && $(LUA) examples/extract.lua $(if $(FILE),"$(FILE)")

.PHONY: demo-tools
demo-tools: deps-run ## The same for a text adventure whose doors and chests are tools
	@$(BUILD) all
	@$(SET_PATHS) && $(LUA) examples/tools.lua

.PHONY: demo-endless
demo-endless: deps-run ## The same for 500 turns in 8,000 tokens, as a chart
	@$(BUILD) all
	@$(SET_PATHS) && $(LUA) examples/endless.lua

.PHONY: demo-love
demo-love: ## The same for the game in examples/love, with LuaJIT and LÖVE
	@LUA=luajit .ci/deps run love
	@$(BUILD) LUA=luajit all
	@love examples/love

.PHONY: doctor
doctor: deps-run ## Look for what is wrong between this machine and the server
	@$(BUILD) all
	@$(SET_PATHS) && $(LUA) -e 'os.exit(require("opperchat").doctor().ok and 0 or 1)'

.PHONY: env
env: ## Print the settings for this tree: eval "$$(make -s env)"
	@.ci/env "$(MODULE_DIR)"

.PHONY: install
install: ## Build and copy the module below PREFIX
	@$(BUILD) all
	@DESTDIR="$(DESTDIR)" .ci/install "$(LUA)" "$(MODULE)" "$(PREFIX)"

.PHONY: uninstall
uninstall: ## Remove what `install` has copied
	@DESTDIR="$(DESTDIR)" .ci/install --remove "$(LUA)" "$(PREFIX)"

.PHONY: clean
clean: ## Remove build/, and what LuaRocks has left in the sources
	rm -rf build opperchat src/*.o

# -- For developers -----------------------------------------------------------

# Suites wait more than they work.
JOBS = $(shell echo $$(($(CORES) + 1)))
RUN_SPECS = $(LUA) spec/run.lua --lua "$(LUA)" --filter "$(FILTER)" --jobs $(JOBS)

# Streams and hosts: what has to hold on LuaJIT, with the collector at its most
# aggressive and with poll(2) as well.
STREAM_SPECS = $(addprefix spec/,stream_spec.lua request_spec.lua driver_spec.lua)

.PHONY: test
ifeq ($(LUA)-$(origin SPECS)-$(FILTER),lua5.4-file-)
test: deps-test ## Run all tests; ends with "N passed, N failed" (SPECS, FILTER pick)
	@$(BUILD) LUA=luajit all
	@.ci/sum $(TEST_PARTS) \
	  "make test-one LUA=luajit SPECS='$(STREAM_SPECS) spec/conversation_spec.lua'"
else
test: test-one
endif

TEST_PARTS = "make test-one" "make gc SPECS='$(STREAM_SPECS)'" "make poll"

# The other Luas, each with all specs.
OTHER_LUAS = lua5.3 lua5.2 lua5.1 luajit

.PHONY: test-all
test-all: deps-test ## The same with every Lua: 5.1 to 5.4 and LuaJIT
	@for lua in $(OTHER_LUAS); do LUA=$$lua .ci/deps run || exit 1; done
	@$(BUILD) LUA=luajit all
	@.ci/sum $(TEST_PARTS) $(foreach lua,$(OTHER_LUAS),"make test-one LUA=$(lua) MATRIX=")

# The specs with one Lua; the C tests know none and run with 5.4 alone.
.PHONY: test-one
test-one: deps-test
	@$(BUILD) programs
	@$(SET_PATHS) && $(RUN_SPECS) \
	  $(if $(findstring lua5.4,$(LUA)),$(TEST_PROGRAMS) $(FUZZ_PROGRAMS)) \
	  $(HOST_PROGRAMS) $(SPECS)

.PHONY: lint
lint: deps-test ## Check the sources: luacheck, gcc and clang, house rules
	@LUA_INCDIR="$(LUA_HEADERS)" \
	  FLAGS="-std=c99 -D_GNU_SOURCE $(WARNINGS) -Werror -O2 $(CURL_CFLAGS)" .ci/lint

.PHONY: analyze
analyze: deps-test ## Look for mistakes without running anything: clang-tidy, cppcheck, gcc
	@LUA_INCDIR="$(LUA_HEADERS)" \
	  FLAGS="-std=c99 -D_GNU_SOURCE $(CURL_CFLAGS)" .ci/analyze

# Not under checkers of memory, unless asked for: what runs programs of its own
# without the checker.
APART = install embed rockspec nvim nvim_plugin
# valgrind sees no other process at all.
APART_VALGRIND = $(APART) command command_terminal love examples endless_example \
  extract_example replay_example stream_example tools_example
without = $(if $(filter file,$(origin SPECS)),$(filter-out $(1:%=spec/%_spec.lua),$(SPECS)),$(SPECS))

ASAN = VARIANT=asan- CC=gcc CFLAGS="-O1 -g" \
  EXTRA_CFLAGS="-fsanitize=address,undefined -fno-omit-frame-pointer"

.PHONY: asan
asan: deps-test ## Run everything under AddressSanitizer and UBSan
	@$(BUILD) $(ASAN) programs
	@$(MAKE) $(ASAN) run-asan

.PHONY: run-asan
run-asan:
	@$(SET_PATHS) && \
	  ASAN_OPTIONS="detect_leaks=1:abort_on_error=0" \
	  LSAN_OPTIONS="suppressions=spec/lsan.supp:print_suppressions=0" \
	  UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1" \
	  $(RUN_SPECS) --name asan \
	  --preload "$$(gcc -print-file-name=libasan.so)" \
	  $(TEST_PROGRAMS) $(FUZZ_PROGRAMS) $(HOST_PROGRAMS) $(call without,$(APART))

.PHONY: valgrind
valgrind: deps-test ## Run everything under valgrind
	@$(BUILD) programs
	@$(SET_PATHS) && OPPERCHAT_SLOW=1 $(RUN_SPECS) --jobs $(CORES) --name valgrind \
	  --wrap "valgrind -q --leak-check=full --error-exitcode=9 \
	  --suppressions=spec/valgrind.supp" $(TEST_PROGRAMS) $(FUZZ_PROGRAMS) \
	  $(HOST_DIR)/guest $(call without,$(APART_VALGRIND))

# A module for threads: each Lua state in one of its own.
TSAN = VARIANT=tsan- CC=gcc CFLAGS="-O1 -g" EXTRA_CFLAGS="-fsanitize=thread"

.PHONY: tsan
tsan: deps-test ## Run states in threads under ThreadSanitizer
	@$(BUILD) $(TSAN) run-tsan

.PHONY: run-tsan
run-tsan: $(MODULE) $(HOST_DIR)/guest
	@$(SET_PATHS) && $(HOST_DIR)/guest threads closing

.PHONY: memory
memory: deps-test ## Let each allocation fail, one after the other; takes an hour
	@$(BUILD) programs
	@$(SET_PATHS) && OPPERCHAT_MEMORY=full $(HOST_DIR)/memory

# clang and its runtime are not everywhere; Debian has libclang-rt-14-dev.
.PHONY: fuzz
fuzz: deps-test ## Look for inputs that break the core (SECONDS for each, FUZZ picks)
	@if echo 'int LLVMFuzzerTestOneInput(void); int LLVMFuzzerTestOneInput(void) \
	  { return 0; }' | clang -fsanitize=fuzzer,address -x c - -o /dev/null \
	  2>/dev/null; then \
	  $(BUILD) $(FUZZ_SETTINGS) FUZZ="$(FUZZ)" fuzz-programs \
	    && .ci/fuzz $(SECONDS) $(FUZZ); \
	else \
	  echo "no clang with libFuzzer: not fuzzed"; \
	  echo "0 passed, 0 failed, 1 skipped"; \
	fi

.PHONY: gc
gc: deps-test ## Run the specs with the collector as eager as it can be
	@$(BUILD) all
	@$(SET_PATHS) && OPPERCHAT_GC=1 $(RUN_SPECS) --name gc $(SPECS)

.PHONY: reliability
reliability: deps-test ## Try every fault, and write what comes of it into docs/reliability.md
	@$(BUILD) all
	@$(SET_PATHS) && MATRIX=write $(RUN_SPECS) --name reliability spec/matrix_spec.lua

# Counts the blocks of memory that the core holds.
SOAK = VARIANT=soak- EXTRA_CFLAGS=-DOC_COUNT_BLOCKS

.PHONY: soak
soak: deps-test ## Minutes of requests, many of which fail, in one process (SEED=1 picks)
	@$(BUILD) $(SOAK) all bench-programs
	@$(MAKE) $(SOAK) run-soak

.PHONY: run-soak
run-soak:
	@$(SET_PATHS) && $(LUA) spec/soak/run.lua $(SEED)

# What other systems than Linux wait with.
POLL = VARIANT=poll- EXTRA_CFLAGS=-DOC_POLLER_POLL
POLL_SPECS = $(addprefix spec/,transport_spec.lua stream_spec.lua \
  request_spec.lua driver_spec.lua http2_spec.lua)

.PHONY: poll
poll: deps-test ## Run what waits with poll(2) in the place of epoll
	@$(BUILD) $(POLL) all
	@$(MAKE) $(POLL) run-poll

.PHONY: run-poll
run-poll:
	@$(SET_PATHS) && $(RUN_SPECS) --name poll $(POLL_SPECS)

.PHONY: bench
bench: deps-bench ## Measure against bare libcurl (BENCH="--strict CASE..." picks)
	@$(BUILD) all bench-programs
	@$(SET_PATHS) && $(LUA) bench/run.lua $(BENCH)
	@$(if $(filter-out --strict,$(BENCH)),,$(MAKE) bench-tokens)

.PHONY: instructions
instructions: deps-test ## Count instructions of the hot paths (WRITE=1 writes them down)
	@$(MAKE) run-instructions

-include bench/bench.mk

.PHONY: docs
docs: ## Write docs/api.md from lua/opperchat/types.lua
	$(LUA) docs/generator/api.lua docs/api.md

.PHONY: deps-run
deps-run: # Install what building and the demo need
	@LUA="$(LUA_NAME)" .ci/deps run

.PHONY: deps-test
deps-test: # Install what the tests need
	@LUA="$(LUA_NAME)" .ci/deps run test

.PHONY: deps-bench
deps-bench: # Install what the benches need
	@LUA="$(LUA_NAME)" .ci/deps run bench
	@spec/peer/install.sh || echo "the npm client could not be installed: bench without it"

.PHONY: help
help: ## Show this list
	@echo "For users:"
	@sed -n '/^all:/p; /^# -- For users/,/^# -- For developers/p' Makefile | cat - embed/embed.mk | $(TARGETS)
	@echo "For developers:"
	@sed -n '/^# -- For developers/,$$p' Makefile | $(TARGETS)
	@echo "For each: LUA=lua5.3 (or 5.2, 5.1, luajit) picks the Lua, PREFIX=/opt/x where install goes."

TARGETS = sed -n 's/^\([a-z-]*\):.*\#\# \(.*\)/\1|\2/p' | sed 's/\$$\$$/$$/g' | \
  while IFS='|' read -r name text; do printf '  %-12s %s\n' "$$name" "$$text"; done
