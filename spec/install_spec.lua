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
  local server = Server.for_tests()
  local folder, tree

  -- What is installed is a copy of the sources, with one command more.
  setup(function()
    folder = shell.new_folder()
    tree = folder .. "/tree"
    assert(shell.succeeds("mkdir " .. quote(tree)))
    for _, name in ipairs{
      "src", "lua", "include", "embed", "rockspec", "docs", "doc", "bin", "plugin", ".ci",
      "Makefile", "README.md", "LICENSE", ".gitignore",
    } do
      assert(shell.succeeds("test ! -e " .. name .. " || cp -pR " .. name .. " " .. quote(tree)))
    end
    assert(shell.succeeds("rm -f " .. quote(tree) .. "/src/*.o; mkdir -p "
      .. quote(tree) .. "/bin"))
    -- beside the real command, which may want a terminal, a key or arguments
    shell.write_file(tree .. "/bin/opperchat-spec", COMMAND)
    -- the objects of the usual separate build
    shell.must(install.make("all"))
  end)

  teardown(function()
    shell.remove_folder(folder)
  end)

  -- Environment in which only the modules below a prefix come before Lua's own.
  local function paths(prefix)
    return "LUA_PATH=" .. quote(prefix .. "/share/lua/" .. VERSION .. "/?.lua;"
        .. prefix .. "/share/lua/" .. VERSION .. "/?/init.lua;;")
      .. " LUA_CPATH=" .. quote(prefix .. "/lib/lua/" .. VERSION .. "/?.so;;")
  end

  local function list(path)
    return shell.output_of("cd " .. quote(path) .. " && find . -type f | LC_ALL=C sort")
  end

  -- The command has to find its own installation, from any folder, with any path.
  local function check_command(path, prefix)
    local output = shell.must("cd / && unset LD_PRELOAD && LUA_PATH='/nowhere/?.lua;;' "
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
    local sources, before

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
      sources = folder .. "/sources"
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
      before = list(sources)
      log = shell.must("cd " .. quote(sources) .. " && unset LUA_PATH LUA_CPATH LD_PRELOAD"
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
      shell.must(install.make(program))
      shell.must("unset LD_PRELOAD; " .. program .. " "
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

    -- Lua 5.1 looks into the folder it runs in first, and would take what LuaRocks
    -- leaves there for the installation.
    it("leaves nothing in the sources that git shows or `make clean` leaves", function()
      assert.are_not.equal(before, list(sources))
      if shell.has("git") then
        assert.equal("", shell.must("cd " .. quote(sources) .. " && unset LD_PRELOAD GIT_DIR "
          .. "&& export HOME=" .. quote(folder) .. " && git init -q 2>/dev/null && printf '%s' "
          .. quote(before) .. " | git add --pathspec-from-file=- "
          .. "&& git ls-files --others --modified --exclude-standard"))
        assert(shell.succeeds("rm -rf " .. quote(sources .. "/.git")))
      end
      shell.must("cd " .. quote(sources) .. " && " .. install.make("clean"))
      assert.equal(before, list(sources))
    end)
  end)

  describe("with make", function()
    -- The copy is installed, but with the objects that are there already.
    local function make(words)
      return shell.must("cd " .. quote(tree) .. " && { test -e build || ln -s "
        .. quote(install.build_folder():match("^(.*)/")) .. " build; } && "
        .. install.make(words))
    end

    it("works from any prefix, with a blank and a quote in it", function()
      local prefix = folder .. "/it's a prefix"
      make("install PREFIX=" .. quote(prefix))
      local output = install.smoke(paths(prefix), server.url, "@" .. prefix .. "/")
      assert.truthy(output:find("^%d+ modules, 4 messages\n$"), output)
      check_command(prefix .. "/bin/opperchat-spec", prefix)
    end)

    it("prints the paths that its Lua does not have yet", function()
      local prefix = folder .. "/it's told"
      local output = make("install PREFIX=" .. quote(prefix))
      local settings = output
        :match("\n(export LUA_PATH=[^\n]*;;'\nexport LUA_CPATH=[^\n]*;;'\n)$")
      assert.truthy(settings, output)
      -- in a shell that was given them it is found, and there is nothing to say
      local shell_line = "unset LD_PRELOAD LUA_PATH LUA_CPATH; " .. settings .. "cd / && "
      assert.equal("@" .. prefix .. "/share/lua/" .. VERSION .. "/opperchat/lazy.lua\n",
        shell.must(shell_line .. quote(shell.interpreter()) .. " -e " .. quote([[
          require "opperchat.core"
          print(debug.getinfo(require("opperchat").client, "S").source)]])))
      assert.is_nil(shell.must(shell_line .. "cd " .. quote(tree) .. " && .ci/install "
        .. quote(shell.interpreter()) .. " "
        .. quote(install.build_folder() .. "/opperchat/core.so") .. " " .. quote(prefix))
        :find("LUA_PATH", 1, true))
    end)

    it("can be read and run by others, whatever the umask", function()
      local prefix = folder .. "/shared"
      shell.must("umask 077; cd " .. quote(tree) .. " && " .. install.make("install PREFIX="
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
      assert.equal("", shell.output_of("find " .. quote(prefix) .. " -type d -empty"))
      assert.falsy(shell.succeeds("test -e " .. quote(prefix .. "/lib")))
    end)

    it("leaves no folder of its own behind", function()
      local prefix = folder .. "/deep/er"
      make("install PREFIX=" .. quote(prefix .. "/"))
      make("uninstall PREFIX=" .. quote(prefix))
      assert.falsy(shell.succeeds("test -e " .. quote(prefix)))
      assert.truthy(shell.succeeds("test -d " .. quote(folder .. "/deep")))
    end)

    it("removes no folder of the system, even an empty one", function()
      local stage = folder .. "/system"
      make("install PREFIX=/usr/local DESTDIR=" .. quote(stage))
      make("uninstall PREFIX=/usr/local DESTDIR=" .. quote(stage))
      assert.equal("bin\nlib\nshare\n", shell.output_of("ls " .. quote(stage .. "/usr/local")))
      assert.equal("", shell.output_of("ls " .. quote(stage) .. "/usr/local/*/"
        .. " | grep -v ':$' | grep ."))
    end)
  end)

  describe("for two Luas below one prefix", function()
    local OTHER = VERSION == "5.1" and "5.4" or "5.1"
    local prefix, command
    if not shell.has("lua" .. OTHER) then
      pending("lua" .. OTHER .. " is missing")
      return
    end

    -- As `make install LUA=...` calls it. The module is not loaded by these.
    local function run(words)
      return shell.must("cd " .. quote(tree) .. " && unset LD_PRELOAD DESTDIR && .ci/install "
        .. words .. " " .. quote(prefix))
    end
    local function install_for(lua)
      return run(quote(lua) .. " " .. quote(install.build_folder() .. "/opperchat/core.so"))
    end
    local function uninstall_for(lua)
      return run("--remove " .. quote(lua))
    end
    local function has_modules(version)
      return shell.succeeds("test -e " .. quote(prefix .. "/share/lua/" .. version
        .. "/opperchat/init.lua"))
    end
    local function is_for(version)
      return shell.read_file(command):find("/share/lua/" .. version .. "/?.lua;", 1, true) ~= nil
    end

    before_each(function()
      prefix = folder .. "/two Luas"
      command = prefix .. "/bin/opperchat-spec"
      install_for(shell.interpreter())
    end)

    after_each(function()
      shell.remove_folder(prefix)
    end)

    it("the command stays that of the first, and it is said", function()
      local output = install_for("lua" .. OTHER)
      assert.truthy(has_modules(OTHER))
      local kept = command .. " stays as it is, with Lua " .. VERSION
      assert.truthy(output:find(kept, 1, true), output)
      check_command(command, prefix)
      uninstall_for("lua" .. OTHER)
      assert.falsy(has_modules(OTHER))
      check_command(command, prefix)
    end)

    it("the second has one when the first is gone", function()
      install_for("lua" .. OTHER)
      uninstall_for(shell.interpreter())
      assert.truthy(has_modules(OTHER))
      assert.falsy(shell.succeeds("test -e " .. quote(command)))
      install_for("lua" .. OTHER)
      assert.truthy(is_for(OTHER))
    end)

    it("a command whose installation is gone is replaced, and it is said", function()
      shell.remove_folder(prefix .. "/share/lua/" .. VERSION)
      local output = install_for("lua" .. OTHER)
      assert.truthy(output:find(command .. " was not of this", 1, true), output)
      assert.truthy(is_for(OTHER))
    end)

    it("`make uninstall` leaves a command of something else", function()
      shell.write_file(command, "#!/bin/sh\necho mine\n")
      local output = uninstall_for(shell.interpreter())
      assert.equal("#!/bin/sh\necho mine\n", shell.read_file(command))
      assert.truthy(output:find(command .. " belongs to another", 1, true), output)
    end)
  end)

  describe("building", function()
    -- What `make` prints in the tree, without building.
    local function dry(words)
      return install.run("cd " .. quote(tree) .. " && unset MAKEFLAGS MFLAGS MAKELEVEL LD_PRELOAD "
        .. "&& make -n " .. words)
    end

    it("says first when there is no such Lua", function()
      for _, target in ipairs{ "all", "install PREFIX=/nowhere", "uninstall PREFIX=/nowhere" } do
        local output, worked = install.run("cd " .. quote(tree)
          .. " && unset MAKEFLAGS MFLAGS MAKELEVEL LD_PRELOAD && make LUA=nosuch " .. target)
        assert.falsy(worked)
        assert.truthy(output:match("^[^\n]*"):find("nosuch: no such Lua; ", 1, true), output)
        assert.truthy(output:find("found here:[^\n]* lua"), output)
      end
    end)

    -- The first lines that `make` prints, where no package is installed.
    local function complaint(words)
      local system = folder .. "/system without packages"
      assert(shell.succeeds("mkdir -p " .. quote(system)))
      for _, name in ipairs{ "apt-get", "dpkg-query" } do
        shell.write_file(system .. "/" .. name, "#!/bin/sh\nexit 1\n")
      end
      assert(shell.succeeds("chmod +x " .. quote(system) .. "/*"))
      local output, worked = install.run("cd " .. quote(tree)
        .. " && unset MAKEFLAGS MFLAGS MAKELEVEL LD_PRELOAD && PATH=" .. quote(system) .. ":$PATH "
        .. "make BUILD_DIR=" .. quote(folder .. "/nothing") .. " LUA=" .. quote(shell.interpreter())
        .. " " .. words)
      assert.falsy(worked, output)
      return output
    end

    it("says which headers are missing, and which packages have them", function()
      local output = complaint("CC='gcc -nostdinc'")
      assert.truthy(output:find("^no curl/curl%.h; "), output)
      assert.truthy(output:find("\nThese packages are missing: apt%-get install [^\n]*"
        .. "lib[^\n]*%-dev[^\n]* libcurl4%-openssl%-dev\n"), output)
      output = complaint("LUA_INCDIR=/nowhere")
      assert.truthy(output:find("^LUA_INCDIR=/nowhere: no lua%.h and lauxlib%.h "), output)
      output = complaint("CC=nosuch-cc")
      assert.truthy(output:find("^nosuch%-cc: no such compiler; "), output)
      assert.truthy(output:find("\nThese packages are missing: [^\n]* gcc "), output)
    end)

    it("names LUA and PREFIX in its help", function()
      local output = shell.must("cd " .. quote(tree) .. " && " .. install.make("help"))
      assert.truthy(output:find("\n[^\n]*LUA=lua5.3[^\n]*PREFIX=[^\n]*\n$"), output)
    end)

    it("takes as many cores as there are, unless -j says it", function()
      local cores = shell.output_of("getconf _NPROCESSORS_ONLN"):match("%d+") or "1"
      local automatic = " -j" .. cores .. " all\n"
      assert.truthy(dry("demo PREFIX=/opt/my-java"):find(automatic, 1, true))
      assert.truthy(dry("demo PREFIX='/opt/ -j9'"):find(automatic, 1, true))
      assert.falsy(dry("-j3 demo"):find(automatic, 1, true))
      assert.falsy(dry("-kj3 demo"):find(automatic, 1, true))
    end)

    it("goes to BUILD_DIR alone", function()
      local sources, build = folder .. "/read only", folder .. "/elsewhere"
      assert(shell.succeeds("cp -pR " .. quote(tree) .. " " .. quote(sources)
        .. " && rm -f " .. quote(sources) .. "/build"))
      local before = list(sources)
      shell.must("cd " .. quote(sources) .. " && " .. install.make("all BUILD_DIR="
        .. quote(build)))
      assert.equal(before, list(sources))
      local paths_of_it = shell.must("cd " .. quote(sources) .. " && "
        .. install.make("env BUILD_DIR=" .. quote(build)))
      shell.must("cd / && unset LUA_PATH LUA_CPATH LD_PRELOAD && eval " .. quote(paths_of_it)
        .. " && " .. quote(shell.interpreter()) .. " -e 'require \"opperchat.core\"'")
    end)
  end)
end)
