# opperchat without files: the Lua files go into the library. For the main
# Makefile to include; docs/embedding.md says what for.

EMBED_DIR := $(MODULE_DIR)/static
EMBED_LIBRARY := $(EMBED_DIR)/libopperchat.a
EMBED_HEADER := $(EMBED_DIR)/opperchat.h
EMBED_SINGLE := $(MODULE_DIR)/single/opperchat.so
EMBED_TEXTS := $(CORE_DIR)/embed/lua_files
EMBED_OBJECTS = $(EMBED_TEXTS).o $(MODULE_DIR)/obj/lembed.o \
  $(CORE_OBJECTS) $(BINDING_OBJECTS)

.PHONY: static
static: $(EMBED_LIBRARY) $(EMBED_HEADER) ## Build build/$(LUA)/static/libopperchat.a, for programs in C

.PHONY: single
single: $(EMBED_SINGLE) ## Build build/$(LUA)/single/opperchat.so, a module in one file

# Asked each time; written only when a Lua file has changed.
$(EMBED_TEXTS).c: FORCE
	@mkdir -p $(@D)
	$(Q)$(LUA) embed/embed.lua $@

$(EMBED_TEXTS).o: $(EMBED_TEXTS).c $(CORE_DIR)/flags
	$(call say,CC $<)
	$(Q)$(COMPILE) -Iembed -c -o $@ $<

$(MODULE_DIR)/obj/lembed.o: embed/lembed.c $(MODULE_DIR)/flags
	@mkdir -p $(@D)
	$(call say,CC $< ($(LUA_NAME)))
	$(Q)$(COMPILE) -Iinclude -I$(LUA_HEADERS) -c -o $@ $<

# One object whose only names are luaopen_opperchat*: nothing in it meets a
# name of the host. Apple's ld forgets hidden names by itself; elsewhere it
# takes objcopy, and without that the names stay, hidden from shared objects.
OBJCOPY = objcopy
$(EMBED_LIBRARY): $(EMBED_OBJECTS)
	@mkdir -p $(@D)
	$(call say,AR $@)
	@rm -f $@
	$(Q)if $(CC) $(CFLAGS) $(EXTRA_CFLAGS) -nostdlib -r -o $(@D)/opperchat.o $^ && \
	  { [ $(SYSTEM) = Darwin ] || $(OBJCOPY) --localize-hidden $(@D)/opperchat.o; }; \
	then \
	  $(AR) rcs $@ $(@D)/opperchat.o; \
	else \
	  echo "$@: could not hide the inner names"; \
	  $(AR) rcs $@ $^; \
	fi
	@rm -f $(@D)/opperchat.o

$(EMBED_HEADER): include/opperchat.h
	@mkdir -p $(@D)
	$(Q)cp $< $@

$(EMBED_SINGLE): $(EMBED_OBJECTS)
	@mkdir -p $(@D)
	$(call say,LINK $@)
	$(Q)$(CC) $(CFLAGS) $(EXTRA_CFLAGS) $(MODULE_LDFLAGS) $(LDFLAGS) -pthread \
	  -o $@ $^ $(CURL_LIBS) $(MODULE_LIBS)

-include $(EMBED_TEXTS).d $(MODULE_DIR)/obj/lembed.d

# -- The example ---------------------------------------------------------------

# `make demo-embed EMBED_CJSON=/usr/lib/x86_64-linux-gnu/liblua5.4-cjson.a`
# links lua-cjson in as well; without it, `require "cjson"` finds it.
EMBED_CJSON =
# What a program exports of Lua is there for lua-cjson and its kind.
EXPORT_LUA = -Wl,$(if $(filter Darwin,$(SYSTEM)),-export_dynamic,-E)
EMBED_HOST := $(EMBED_DIR)/host
EMBED_LINK = $(EMBED_LIBRARY) $(EMBED_CJSON) $(LUA_LIBS) $(CURL_LIBS) -pthread -lm -ldl

$(EMBED_HOST): examples/embed/host.c $(EMBED_LIBRARY) $(EMBED_HEADER) $(MODULE_DIR)/flags
	$(call say,CC $<)
	$(Q)$(COMPILE) $(if $(EMBED_CJSON),-DEMBED_CJSON) -I$(@D) -I$(LUA_HEADERS) \
	  $(LDFLAGS) $(EXPORT_LUA) -o $@ $< $(EMBED_LINK)

.PHONY: demo-embed
demo-embed: deps-run ## A conversation in a game loop in C, with opperchat linked in
	@$(MAKE) $(EMBED_HOST)
	@$(LUA) examples/embed/run.lua $(EMBED_HOST)

# -- For the specs -------------------------------------------------------------

$(EMBED_DIR)/embedded: spec/host/embedded.c $(HOST_DIR)/loopback.o $(EMBED_LIBRARY) $(EMBED_HEADER)
	$(call say,CC $<)
	$(Q)$(COMPILE) -I$(@D) -I$(LUA_HEADERS) $(LDFLAGS) $(EXPORT_LUA) -o $@ $< \
	  $(HOST_DIR)/loopback.o $(TLS_LIBS) $(EMBED_LINK)

# The same source is C++.
$(EMBED_DIR)/host-c++: examples/embed/host.c $(EMBED_LIBRARY) $(EMBED_HEADER)
	$(call say,CXX $<)
	$(Q)$(CXX) -x c++ -Wall -Wextra -Werror $(CFLAGS) -I$(@D) -I$(LUA_HEADERS) $< -x none \
	  $(LDFLAGS) $(EXPORT_LUA) -o $@ $(EMBED_LINK)

# The programs of docs/embedding.md, written there by the spec.
$(EMBED_DIR)/docs/%: $(EMBED_DIR)/docs/%.c $(EMBED_LIBRARY) $(EMBED_HEADER)
	$(Q)$(COMPILE) -Werror -I$(EMBED_DIR) -I$(LUA_HEADERS) $(LDFLAGS) $(EXPORT_LUA) -o $@ $< \
	  $(EMBED_LINK)

-include $(EMBED_HOST).d $(EMBED_DIR)/embedded.d
