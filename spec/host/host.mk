# Host programs: Lua states in a C program of our own. For the main Makefile
# to include. They have the module linked in, unless they load it themselves.

HOST_DIR := $(MODULE_DIR)/host
LUA_LIBS = $(call ask,LUA_LIBS,pkg-config --libs $(LUA_NAME) || echo -l$(LUA_NAME))
# OpenSSL plays the server with TLS; without its headers that is skipped.
TLS_FLAGS = $(call ask,TLS_FLAGS,pkg-config --exists openssl && echo -DHOST_TLS)
TLS_LIBS = $(if $(TLS_FLAGS),-lssl -lcrypto)
HOST_OBJECTS := $(addprefix $(HOST_DIR)/,memory.o guest.o host.o loopback.o)

# LuaJIT takes no allocator of its own on 64 bit; guest runs with any Lua.
HOST_PROGRAMS := $(addprefix $(HOST_DIR)/,$(if $(findstring lua5.4,$(LUA_NAME)),memory) guest)

$(HOST_DIR)/%.o: spec/host/%.c $(MODULE_DIR)/flags
	@mkdir -p $(@D)
	$(call say,CC $< ($(LUA_NAME)))
	$(Q)$(COMPILE) $(TLS_FLAGS) -I$(LUA_HEADERS) -c -o $@ $<

# -E: what Lua exports is there for lua-cjson and its kind.
$(HOST_DIR)/%: $(HOST_DIR)/%.o $(HOST_DIR)/host.o $(HOST_DIR)/loopback.o $(CORE_OBJECTS) $(BINDING_OBJECTS)
	$(call say,LINK $@)
	$(Q)$(CC) $(CFLAGS) $(EXTRA_CFLAGS) $(LDFLAGS) -Wl,-E -pthread -o $@ $^ \
	  $(LUA_LIBS) $(CURL_LIBS) $(TLS_LIBS) -lm -ldl

.SECONDARY: $(HOST_OBJECTS)
-include $(HOST_OBJECTS:.o=.d)
