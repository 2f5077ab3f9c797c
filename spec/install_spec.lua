-- Installing: the rock and `make install`, each tried from what it has installed
-- alone.

local Server = require "spec.support.server"
local install = require "spec.support.install"
local shell = require "spec.support.shell"

local quote = shell.quote
local VERSION = _VERSION:match("%d+%.%d+")
local ROCKSPEC = "opperchat-scm-1.rockspec"

-- The command of a copy of the tree, where the tree has none yet.
local COMMAND = [[
#!/usr/bin/env lua
local opperchat = require "opperchat"
local source = debug.getinfo(opperchat.client, "S").source
print(opperchat.version, source, ...)
]]

describe("installing", function()
  local server, folder, tree

  -- What is installed is a copy of the sources, with one command more.
  setup(function()
    server = Server.start()
    folder = shell.new_folder()
    tree = folder .. "/tree"
    assert(shell.succeeds("mkdir " .. quote(tree)))
    for _, name in ipairs{
      "src", "lua", "include", "embed", "rockspec", "docs", "doc", "bin", "plugin", ".ci",
      "Makefile", "README.md", "LICENSE",
    } do
      assert(shell.succeeds("test ! -e " .. name .. " || cp -pR " .. name .. " " .. quote(tree)))
    end
    assert(shell.succeeds("rm -f " .. quote(tree) .. "/src/*.o; mkdir -p "
      .. quote(tree) .. "/bin"))
    -- beside the real command, which may want a terminal, a key or arguments
    shell.write_file(tree .. "/bin/opperchat-spec", COMMAND)
    -- the objects of the usual separate build
    install.succeed(install.make("all"))
  end)

  teardown(function()
    server:stop()
    shell.remove_folder(folder)
  end)

  -- Environment in which only the modules below a prefix come before Lua's own.
  local function paths(prefix)
    return "LUA_PATH=" .. quote(prefix .. "/share/lua/" .. VERSION .. "/?.lua;"
        .. prefix .. "/share/lua/" .. VERSION .. "/?/init.lua;;")
      .. " LUA_CPATH=" .. quote(prefix .. "/lib/lua/" .. VERSION .. "/?.so;;")
  end

  -- The command has to find its own installation, from any folder, with any path.
  local function check_command(path, prefix)
    local output = install.succeed("cd / && unset LD_PRELOAD && LUA_PATH='/nowhere/?.lua;;' "
      .. "LUA_CPATH='/nowhere/?.so;;' " .. quote(path) .. " one 'two three'")
    local version, source, rest = output:match("^(%S+)\t([^\t]*)\t(.*)\n$")
    assert.equal(require("opperchat").version, version, output)
    assert.equal("@" .. prefix .. "/share/lua/" .. VERSION .. "/opperchat/lazy.lua", source)
    assert.equal("one\ttwo three", rest)
  end

  describe("with LuaRocks", function()
    if not shell.has("luarocks") then
      pending("luarocks is missing")
      return
    end
    local prefix, log

    setup(function()
      prefix = folder .. "/rock"
      -- Debian keeps curl/curl.h in a folder that LuaRocks does not know
      local include = shell.output_of("pkg-config --variable=includedir libcurl"):match("[^\n]*")
      local multiarch = shell.output_of("gcc -print-multiarch"):match("[^\n]*")
      if shell.succeeds("test -f /usr/include/" .. multiarch .. "/curl/curl.h") then
        include = "/usr/include/" .. multiarch
      end
      local headers = shell.output_of(".ci/lua-incdir " .. quote(shell.interpreter()))
      -- The network is not asked for lua-cjson, which is there already. (Without
      -- dependencies LuaRocks would give its commands no path.)
      local config = shell.write_file(folder .. "/luarocks.lua",
        'rocks_provided = { ["lua-cjson"] = "2.1.0-1" }\n')
      local sources = folder .. "/sources"
      assert(shell.succeeds("cp -pR " .. quote(tree) .. " " .. quote(sources)))
      local path = sources .. "/rockspec/" .. ROCKSPEC
      local rockspec, count = shell.read_file(path):gsub("\n    bin = {\n",
        '%0      ["opperchat-spec"] = "bin/opperchat-spec",\n')
      assert.equal(1, count)
      shell.write_file(path, rockspec)
      -- Some versions copy all of lua/, whatever the list says.
      for file in shell.output_of("cd " .. quote(sources) .. " && find lua -type f")
        :gmatch("[^\n]+") do
        if not rockspec:find('"' .. file .. '"', 1, true) then
          assert(os.remove(sources .. "/" .. file))
        end
      end
      log = install.succeed("cd " .. quote(sources) .. " && unset LUA_PATH LUA_CPATH LD_PRELOAD"
        .. " && HOME=" .. quote(folder)
        .. " LUAROCKS_CONFIG=" .. quote(config)
        .. " luarocks --lua-version " .. VERSION .. " --tree " .. quote(prefix)
        .. " make rockspec/" .. ROCKSPEC .. " CFLAGS='-O0 -fPIC'"
        .. " CURL_INCDIR=" .. quote(include)
        .. " LUA_INCDIR=" .. quote(headers:match("[^\n]*")))
    end)

    it("installs all that is needed", function()
      assert.truthy(log:find("opperchat scm-1 is now installed", 1, true), log)
      local output = install.smoke(paths(prefix), server.url, "@" .. prefix .. "/")
      assert.truthy(output:find("^%d+ modules, 4 messages\n$"), output)
    end)

    it("keeps the module in memory when its state closes", function()
      local program = install.build_folder("build") .. "/host/stays"
      install.succeed(install.make(program))
      install.succeed("unset LD_PRELOAD; " .. program .. " "
        .. quote(prefix .. "/lib/lua/" .. VERSION .. "/opperchat/core.so"))
    end)

    it("installs commands that find their modules", function()
      check_command(prefix .. "/bin/opperchat-spec", prefix)
      for path in shell.output_of("find bin -type f"):gmatch("[^\n]+") do
        assert.truthy(shell.succeeds("test -x " .. quote(prefix .. "/" .. path)), path)
      end
    end)

    it("brings the manual along", function()
      assert.truthy(shell.succeeds("test -s " .. quote(prefix .. "/lib/luarocks/rocks-" .. VERSION
        .. "/opperchat/scm-1/docs/options.md")))
    end)
  end)

  describe("with make", function()
    -- The copy is installed, but with the objects that are there already.
    local function make(words)
      return install.succeed("cd " .. quote(tree) .. " && { test -e build || ln -s "
        .. quote(install.build_folder():match("^(.*)/")) .. " build; } && "
        .. install.make(words))
    end

    local function list(path)
      return shell.output_of("cd " .. quote(path) .. " && find . -type f | LC_ALL=C sort")
    end

    it("works from any prefix, with a blank and a quote in it", function()
      local prefix = folder .. "/it's a prefix"
      make("install PREFIX=" .. quote(prefix))
      local output = install.smoke(paths(prefix), server.url, "@" .. prefix .. "/")
      assert.truthy(output:find("^%d+ modules, 4 messages\n$"), output)
      check_command(prefix .. "/bin/opperchat-spec", prefix)
    end)

    it("can be read and run by others, whatever the umask", function()
      local prefix = folder .. "/shared"
      install.succeed("umask 077; cd " .. quote(tree) .. " && " .. install.make("install PREFIX="
        .. quote(prefix)))
      assert.equal("", shell.output_of("find " .. quote(prefix) .. "/* ! -perm -444"))
      assert.equal("", shell.output_of("find " .. quote(prefix)
        .. "/* -type d ! -perm -555"))
      assert.equal("", shell.output_of("find " .. quote(prefix) .. "/bin -type f ! -perm -555"))
    end)

    it("puts DESTDIR before each path and into no file", function()
      local stage = folder .. "/stage"
      make("install PREFIX=/opt/opperchat DESTDIR=" .. quote(stage))
      local command = shell.read_file(stage .. "/opt/opperchat/bin/opperchat-spec")
      assert.truthy(command:find("'/opt/opperchat/share/lua/" .. VERSION .. "/?.lua;", 1, true))
      assert.equal("", shell.output_of("grep -rlF " .. quote(stage) .. " "
        .. quote(stage) .. " --include=*.lua --include=opperchat*"))
    end)

    it("leaves nothing of an older version, and a loaded module as it is", function()
      local prefix = folder .. "/twice"
      make("install PREFIX=" .. quote(prefix))
      local core = prefix .. "/lib/lua/" .. VERSION .. "/opperchat/core.so"
      local inode = shell.output_of("ls -i " .. quote(core))
      local before = list(prefix)
      shell.write_file(prefix .. "/share/lua/" .. VERSION .. "/opperchat/gone.lua", "return 1")
      -- as a program does that has it loaded
      local loaded = assert(io.open(core, "rb"))
      make("install PREFIX=" .. quote(prefix))
      assert.equal(before, list(prefix))
      assert.are_not.equal(inode, shell.output_of("ls -i " .. quote(core)))
      loaded:close()
    end)

    it("is taken back by `make uninstall`, and nothing else is", function()
      local prefix = folder .. "/back"
      local others = prefix .. "/share/lua/" .. VERSION .. "/other.lua"
      make("install PREFIX=" .. quote(prefix))
      shell.write_file(others, "return 1")
      shell.write_file(prefix .. "/bin/other", "#!/bin/sh\n")
      make("uninstall PREFIX=" .. quote(prefix))
      assert.equal("./bin/other\n./share/lua/" .. VERSION .. "/other.lua\n", list(prefix))
    end)
  end)
end)
