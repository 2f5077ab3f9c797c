# The programs the benches measure with. For the main Makefile to include; by
# itself it works as well: make -f bench/bench.mk bench-programs

CURL_LIBS ?= -lcurl
BENCH_COMPILE = $(CC) -O2 -std=c99 -D_GNU_SOURCE $(WARNINGS)

.PHONY: bench-programs
bench-programs: build/bench/server build/bench/each build/bench/floor

build/bench/%: bench/%.c
	@mkdir -p $(@D)
	$(call say,CC $<)
	$(Q)$(BENCH_COMPILE) -o $@ $<

build/bench/floor: $(wildcard bench/floor/*.c) bench/floor/floor.h
	@mkdir -p $(@D)
	$(call say,CC bench/floor)
	$(Q)$(BENCH_COMPILE) $(CURL_CFLAGS) -o $@ $(filter %.c,$^) $(CURL_LIBS)

# -- How good the estimate of tokens is ----------------------------------------

build/bench/tokens/estimate: bench/tokens/estimate.c $(CORE_DIR)/oc_tokens.o
	@mkdir -p $(@D)
	$(call say,CC $<)
	$(Q)$(BENCH_COMPILE) -Isrc -o $@ $^

# Needs node, npm and Debian's packages; installs nothing outside of build/.
.PHONY: bench-tokens
bench-tokens: build/bench/tokens/estimate
	@if command -v node >/dev/null && command -v npm >/dev/null; then \
	  sh bench/tokens/install.sh && node bench/tokens/corpus.mjs \
	    && node bench/tokens/run.mjs; \
	else \
	  echo "no node and npm: the estimate of tokens was not measured"; \
	fi

# -- Instructions of the hot paths ----------------------------------------------

.PHONY: instructions-programs
instructions-programs: build/bench/server build/bench/callgrind.so build/bench/clock.so

build/bench/callgrind.so: bench/instructions/lcallgrind.c
	@mkdir -p $(@D)
	$(call say,CC $<)
	$(Q)$(BENCH_COMPILE) -fPIC -shared -I$(LUA_HEADERS) -o $@ $<

build/bench/clock.so: bench/instructions/clock.c
	@mkdir -p $(@D)
	$(call say,CC $<)
	$(Q)$(BENCH_COMPILE) -fPIC -shared -o $@ $<

# What the figures depend on beside the sources.
BUILT_WITH = $(strip $(shell uname -m), compiler \
  $(shell echo __VERSION__ | $(CC) -E -P - | tr -d '"') $(CFLAGS) $(EXTRA_CFLAGS))

# Neither the speed of the machine nor its load is in the figures.
.PHONY: run-instructions
run-instructions:
	@if ! command -v valgrind >/dev/null || \
	  ! echo '#include <valgrind/callgrind.h>' | $(CC) -E - >/dev/null 2>&1; then \
	  echo "no valgrind: the instructions were not counted"; \
	  echo "0 passed, 0 failed, 1 skipped"; \
	else \
	  $(BUILD) all instructions-programs && \
	  $(LUA) bench/instructions/run.lua $(if $(WRITE),--write) \
	    "$$(command -v $(LUA))" "$(MODULE_DIR)" "$(BUILT_WITH)" $(CASES); \
	fi
