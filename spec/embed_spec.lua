-- Embedding: the library for programs in C, and the module in one file.

local Server = require "spec.support.server"
local install = require "spec.support.install"
local shell = require "spec.support.shell"
local offline = dofile("examples/support/offline.lua")

local quote = shell.quote
local BUILD = install.build_folder("build")
local STATIC = BUILD .. "/static"

-- The names with global linkage that a library defines.
local function names_in(path, options)
  local names = {}
  for name in shell.output_of("nm " .. options .. " " .. quote(path)):gmatch(" [A-Z] (%S+)") do
    names[#names + 1] = name
  end
  return names
end

local function check_names(names)
  assert.truthy(#names > 50)
  for _, name in ipairs(names) do
    assert.truthy(name:find("^_?luaopen_opperchat"), name)
  end
end

-- A program in a folder without any file but itself, with no path of its own.
local function run_alone(program, environment)
  local folder = shell.new_folder()
  assert(shell.succeeds("cp " .. quote(program) .. " " .. quote(folder .. "/program")))
  local output, worked = install.run("cd " .. quote(folder)
    .. " && unset LUA_PATH LUA_CPATH LUA_INIT LUA_PATH_5_4 LUA_CPATH_5_4 LD_PRELOAD"
    .. " OPPER_API_KEY OPPER_BASE_URL && env " .. (environment or "") .. " ./program")
  shell.remove_folder(folder)
  assert(worked, output)
  return output
end

describe("the static library", function()
  if not shell.has("ld") then
    pending("ld is missing")
    return
  end
  local server

  setup(function()
    server = offline.start("lua5.4")
    shell.must(install.make("static " .. STATIC .. "/host " .. STATIC .. "/embedded"))
  end)

  teardown(function()
    server:stop()
  end)

  it("defines no name but luaopen_opperchat*", function()
    if not shell.has("objcopy") or not shell.has("nm") then
      pending("objcopy is missing")
      return
    end
    check_names(names_in(STATIC .. "/libopperchat.a", "-g --defined-only"))
  end)

  local function check_conversation(program)
    local output = run_alone(program, "OPPER_BASE_URL=" .. server.url)
    assert.truthy(output:find("written as a list of numbers", 1, true), output)
    assert.truthy(output:find('You asked me "What\'s a vector?" before', 1, true), output)
    -- it is shown word by word, with many frames between
    assert.truthy(tonumber(output:match("\n(%d+) frames went by\n$")) > 20, output)
  end

  it("gives examples/embed/host.c a conversation while its frames go on", function()
    check_conversation(STATIC .. "/host")
  end)

  it("is used from C++ in the same way", function()
    if not shell.has(os.getenv("CXX") or "g++") then
      pending("a C++ compiler is missing")
      return
    end
    shell.must(install.make(STATIC .. "/host-c++"))
    check_conversation(STATIC .. "/host-c++")
  end)

  it("ends a host with a message when nobody is there", function()
    local output, worked = install.run("unset LD_PRELOAD; env OPPER_BASE_URL=http://127.0.0.1:9/v1 "
      .. STATIC .. "/host")
    assert.is_false(worked)
    assert.truthy(output:find("\nhost: .*network error"), output)
  end)

  it("does well what a host may do to it", function()
    local output = shell.must("unset LD_PRELOAD LUA_PATH LUA_CPATH; " .. STATIC
      .. "/embedded spec/support/smoke.lua " .. table.concat(install.module_names(), " "))
    assert.truthy(output:find("\n8 passed, 0 failed\n$"), output)
  end)

  -- Compiles a program of docs/embedding.md.
  local function build_program(block, words)
    local program = STATIC .. "/docs/program"
    assert(shell.succeeds("mkdir -p " .. STATIC .. "/docs && rm -f " .. program))
    shell.write_file(program .. ".c", block)
    shell.must(install.make(program .. " " .. words))
    return program
  end

  local function check_program(block, words)
    return run_alone(build_program(block, words), "OPPER_BASE_URL=" .. server.url)
  end

  local programs = {}
  for block in shell.read_file("docs/embedding.md"):gmatch("\n```c\n(.-)```\n") do
    programs[#programs + 1] = block
  end

  it("does what the first program of docs/embedding.md shows", function()
    assert.truthy(check_program(programs[1], ""):find("A vector is", 1, true))
  end)

  it("says in that program why nobody answers", function()
    local program = quote(build_program(programs[1], ""))
    for settings, words in pairs{
      ["-u OPPER_BASE_URL"] = "set OPPER_API_KEY",
      ["OPPER_BASE_URL=http://127.0.0.1:9/v1"] = "network error",
    } do
      local output, worked = install.run("unset LD_PRELOAD; env -u OPPER_API_KEY " .. settings
        .. " " .. program)
      assert.is_false(worked)
      assert.truthy(output:find(words, 1, true), output)
    end
  end)

  it("is as large and has as many functions as its page and its header say", function()
    local page = shell.read_file("docs/embedding.md")
    local header = shell.read_file("include/opperchat.h")
    local _, count = header:gsub("\nint luaopen_", "")
    assert.equal(3, count)
    assert.truthy(header:find("All three are Lua functions", 1, true))
    assert.truthy(page:find("`opperchat.h` has three functions", 1, true))
    if not shell.has("size") then
      pending("size is missing")
      return
    end
    local total = shell.output_of("size -t " .. STATIC .. "/libopperchat.a")
      :match("(%d+)%s+%x+%s+%(TOTALS%)")
    local megabytes = tonumber(page:match("stripped, is less than (%d+) MB"))
    assert.truthy(tonumber(total) > 1e5 and tonumber(total) < megabytes * 1e6, total)
  end)

  it("does so with lua-cjson linked in as well", function()
    local library = shell.output_of("gcc -print-file-name=liblua" .. _VERSION:match("%d.%d")
      .. "-cjson.a"):match("[^\n]*")
    if not library:find("/", 1, true) then
      pending("lua-cjson's library is missing")
      return
    end
    assert.equal(require("opperchat").version .. "\n",
      check_program(programs[2], "EMBED_CJSON=" .. quote(library)))
    assert.is_nil(programs[3])
  end)
end)

describe("the module in one file", function()
  local server = Server.for_tests()
  local folder

  setup(function()
    folder = shell.new_folder()
    shell.must(install.make("single"))
    assert(shell.succeeds("cp " .. BUILD .. "/single/opperchat.so " .. quote(folder)))
  end)

  teardown(function()
    shell.remove_folder(folder)
  end)

  local function run(script)
    return shell.must("cd " .. quote(folder) .. " && unset LUA_PATH LUA_PATH_5_4 LUA_CPATH"
      .. " LUA_CPATH_5_4 LUA_INIT LD_PRELOAD && " .. quote(shell.interpreter()) .. " -e "
      .. quote(script))
  end

  it("defines no name but luaopen_opperchat*", function()
    check_names(names_in(BUILD .. "/single/opperchat.so", "-D --defined-only"))
  end)

  it("has all modules and holds a conversation, found through package.cpath", function()
    local output = install.smoke("LUA_CPATH=" .. quote(folder .. "/?.so;;"), server.url,
      "@opperchat/")
    assert.truthy(output:find("^%d+ modules, 4 messages\n$"), output)
  end)

  it("lies beside a script, with no setting at all", function()
    assert.equal(require("opperchat").version .. "\n",
      run[[print(require("opperchat").version)]])
  end)

  it("is asked for any of its modules first", function()
    for _, name in ipairs(install.module_names()) do
      local is_for_a_host = name:find("loop.", 1, true) or name:find("nvim", 1, true)
        or name:find("health", 1, true)
      if not is_for_a_host then
        run(([[
          assert(require "%s")
          local opperchat = require "opperchat"
          assert(opperchat == require "opperchat" and package.loaded.opperchat == opperchat)
          assert(require "%s" == package.loaded["%s"])
          assert(opperchat.policy.keep { turns = 2 })]]):format(name, name, name))
      end
    end
  end)

  it("tells the lines of its sources, and misuse at the caller's", function()
    assert.truthy(run[[
      local opperchat = require "opperchat"
      print(debug.getinfo(require("opperchat.client").new, "S").short_src)
      print(select(2, pcall(function() opperchat.conversation{ mdel = "x" } end)))
    ]]:find("^opperchat/client%.lua\n%(command line%):3: conversation: unknown option 'mdel'"))
  end)
end)
