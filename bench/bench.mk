# The programs the benches measure with. For the main Makefile to include; by
# itself it works as well: make -f bench/bench.mk bench-programs

CURL_LIBS ?= -lcurl
BENCH_COMPILE = $(CC) -O2 -std=c99 -D_GNU_SOURCE $(WARNINGS)

.PHONY: bench-programs
bench-programs: build/bench/server build/bench/floor

build/bench/server: bench/server.c
	@mkdir -p $(@D)
	$(call say,CC $<)
	$(Q)$(BENCH_COMPILE) -o $@ $<

build/bench/floor: bench/floor.c
	@mkdir -p $(@D)
	$(call say,CC $<)
	$(Q)$(BENCH_COMPILE) $(CURL_CFLAGS) -o $@ $< $(CURL_LIBS)
