# The fuzz targets, as plain programs and under libFuzzer. For the main
# Makefile to include.

# jansson's headers are not everywhere; without them it is left out.
HAS_JANSSON = $(call ask,JANSSON_FOUND,pkg-config --exists jansson && echo yes)
FUZZ_SOURCES := $(sort $(wildcard spec/fuzz/fuzz_*.c))
ifeq ($(HAS_JANSSON),)
  FUZZ_SOURCES := $(filter-out %/fuzz_jansson.c,$(FUZZ_SOURCES))
endif
FUZZ_NAMES := $(FUZZ_SOURCES:spec/fuzz/%.c=%)
FUZZ_PROGRAMS := $(addprefix $(CORE_DIR)/fuzz/,$(FUZZ_NAMES))
FUZZ_COMMON := $(CORE_DIR)/fuzz/fuzz.o $(filter-out %/oc_random.o,$(CORE_OBJECTS))
FUZZ_LIBS = $(if $(findstring jansson,$@),-ljansson) $(CURL_LIBS) -lm

$(CORE_DIR)/fuzz/%.o: spec/fuzz/%.c $(CORE_DIR)/flags
	@mkdir -p $(@D)
	$(call say,CC $<)
	$(Q)$(COMPILE) -c -o $@ $<

$(CORE_DIR)/fuzz/fuzz_%: $(CORE_DIR)/fuzz/fuzz_%.o $(CORE_DIR)/fuzz/replay.o $(FUZZ_COMMON)
	$(call say,LINK $@)
	$(Q)$(CC) $(CFLAGS) $(EXTRA_CFLAGS) $(LDFLAGS) -pthread -o $@ $^ $(FUZZ_LIBS)

$(CORE_DIR)/libfuzzer/fuzz_%: $(CORE_DIR)/fuzz/fuzz_%.o $(FUZZ_COMMON)
	@mkdir -p $(@D)
	$(call say,LINK $@)
	$(Q)$(CC) $(CFLAGS) $(EXTRA_CFLAGS) -fsanitize=fuzzer $(LDFLAGS) -pthread \
	  -o $@ $^ $(FUZZ_LIBS)

.SECONDARY: $(FUZZ_NAMES:%=$(CORE_DIR)/fuzz/%.o) $(CORE_DIR)/fuzz/fuzz.o $(CORE_DIR)/fuzz/replay.o
-include $(FUZZ_NAMES:%=$(CORE_DIR)/fuzz/%.d) $(CORE_DIR)/fuzz/fuzz.d $(CORE_DIR)/fuzz/replay.d

# Seconds for each target.
SECONDS = 60
# `make fuzz FUZZ=sse`, or "sse json".
FUZZ = $(FUZZ_NAMES:fuzz_%=%)
# Built beside the rest; the checks of the sanitizers end the run.
FUZZ_SETTINGS = VARIANT=fuzz- CC=clang CFLAGS="-O1 -g" \
  EXTRA_CFLAGS="-fsanitize=fuzzer-no-link,address,undefined \
  -fno-sanitize-recover=undefined -fno-omit-frame-pointer"

.PHONY: fuzz-programs
fuzz-programs: $(FUZZ:%=$(CORE_DIR)/libfuzzer/fuzz_%)
