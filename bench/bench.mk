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
	$(Q)sh bench/tokens/install.sh
	$(Q)node bench/tokens/corpus.mjs
	$(Q)node bench/tokens/run.mjs
