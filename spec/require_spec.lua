-- What a program pays for `require "opperchat"`, and that what is loaded later
-- is there when it is needed.

local opperchat = require "opperchat"
local shell = require "spec.support.shell"

-- How this Lua is called in the Makefile.
local function make_name()
  return rawget(_G, "jit") and "luajit" or _VERSION:gsub("^Lua ", "lua")
end

local run, quote = shell.run_lua, shell.quote

-- Prints the shared objects of the process whose path has one of these words.
local OBJECTS = [[
local maps = io.open("/proc/self/maps")
local seen = {}
for line in maps:lines() do
  for word in ("curl ssl crypto gnutls nss3 core.so"):gmatch("%S+") do
    if line:find("/[^/]*" .. word:gsub("%p", "%%%0") .. "[^/]*$") and not seen[word] then
      seen[word] = true
      print(word)
    end
  end
end
]]

local has_maps = io.open("/proc/self/maps") ~= nil

describe("require \"opperchat\"", function()
  it("loads neither the core nor anything of TLS", function()
    if not has_maps then
      pending("no /proc")
      return
    end
    local output, status = run("local opperchat = require 'opperchat'\nassert(opperchat.policy.keep"
      .. " and opperchat.history.split and opperchat.null)\n" .. OBJECTS)
    assert.equal("0", status, output)
    -- what checks memory may bring some of its own
    assert.equal((run(OBJECTS)), output)
    local with = run("require('opperchat').type(1)\n" .. OBJECTS)
    assert.truthy(with:find("curl\n", 1, true), with)
  end)

  -- OpenSSL reads its settings when it is initialised: from a pipe that nobody
  -- writes into, that never ends.
  it("and a conversation start no TLS, a client does", function()
    local pipe = os.tmpname()
    os.remove(pipe)
    if not shell.has("timeout")
        or not shell.succeeds("mkfifo " .. quote(pipe)) then
      pending("no timeout or no mkfifo")
      return
    end
    local prefix = "OPENSSL_CONF=" .. quote(pipe) .. " timeout -s KILL "
    -- for as long as it takes to be sure that it hangs
    local _, hung = run("require('opperchat').client{ base_url = 'https://127.0.0.1:9' }",
      prefix .. "2")
    local output, status = run("local chat = require('opperchat').conversation{ model = 'm' }\n"
      .. "chat:append('user', 'Hi')\nassert(#chat == 1)", prefix .. "60")
    os.remove(pipe)
    if hung == "0" then
      pending("a libcurl without OpenSSL")
      return
    end
    assert.equal("137", hung)
    assert.equal("0", status, output)
  end)

  it("loads little", function()
    local output, status = run([[
      local before = {}
      for name in pairs(package.loaded) do before[name] = true end
      require "opperchat"
      for name in pairs(package.loaded) do
        if not before[name] and name:find("^opperchat") then print(name) end
      end]])
    assert.equal("0", status, output)
    local names = {}
    for name in output:gmatch("[^\n]+") do
      names[#names + 1] = name
    end
    table.sort(names)
    assert.same({ "opperchat", "opperchat.counter", "opperchat.interrupted", "opperchat.json",
      "opperchat.lazy", "opperchat.policies" }, names)
  end)

  it("has all its fields from the beginning", function()
    local output, status = run([[
      local opperchat = require "opperchat"
      local names = {}
      for _, from in ipairs { opperchat, opperchat.policy, opperchat.history, opperchat.tokens } do
        for name in pairs(from) do names[#names + 1] = name end
      end
      table.sort(names)
      print(table.concat(names, " "))]])
    assert.equal("0", status, output)
    local names = {}
    for _, from in ipairs{ opperchat, opperchat.policy, opperchat.history, opperchat.tokens } do
      for name in pairs(from) do
        names[#names + 1] = name
      end
    end
    table.sort(names)
    assert.equal(table.concat(names, " ") .. "\n", output)
  end)

  -- As the file has it, with nothing else loaded before.
  for name, code in pairs{
    client = "opperchat.client{}:close()",
    conversation = "opperchat.conversation{}:append('user', 'Hi')",
    load = "assert(not opperchat.load('/no/such/file'))",
    import = "assert(#opperchat.import{ { role = 'user', content = 'Hi' } } == 1)",
    poll = "assert(opperchat.poll() == 0)",
    go = "assert(opperchat.go(function() return 7 end):wait() == 7)",
    sleep = "opperchat.sleep(0.001)",
    secret = "opperchat.secret{ env = 'HOME' }",
    image = "assert(opperchat.image('https://example.com/a.png').type == 'image_url')",
    file = "assert(opperchat.file('https://example.com/a.pdf').type == 'file')",
    audio = "assert(opperchat.audio{ data = 'RIFF\\0\\0\\0\\0WAVEfmt ', type = 'audio/wav' })",
    policy = "opperchat.conversation{ policy = opperchat.policy.keep{ turns = 1 } }:compact()",
    history = "assert(opperchat.history.check{ { role = 'user', content = 'Hi' } })",
    tokens = "assert(opperchat.tokens.count('some words') > 0)",
    type = "assert(opperchat.type(1) == nil)",
    json = "assert(not opperchat.client{ base_url = 'http://127.0.0.1:9', max_retries = 0 }"
      .. ":json{ schema = { a = 'string' }, input = 'Hi' })",
    models = "assert(not opperchat.client{ base_url = 'http://127.0.0.1:9', max_retries = 0 }"
      .. ":models())",
    doctor = "assert(not opperchat.doctor{ write = false, client = opperchat.client{"
      .. " base_url = 'http://127.0.0.1:9', max_retries = 0 } }.ok)",
    export = "assert(opperchat.conversation{}:export() == '[]')",
    save = "local p = os.tmpname() assert(opperchat.conversation{}:save(p)) os.remove(p)",
    ["chat:tokens"] = "assert(opperchat.conversation{}:tokens() > 0)",
    splice = "opperchat.conversation{}:splice(1, 0, { { role = 'user', content = 'Hi' } },"
      .. " { repair = true })",
  } do
    it("can begin with " .. name, function()
      local output, status = run("local opperchat = require 'opperchat'\n" .. code,
        "OPPER_API_KEY=k")
      assert.equal("0", status, output)
    end)
  end

  it("raises mistakes at the line that makes them", function()
    local output = run("local opperchat = require 'opperchat'\n"
      .. "print(pcall(function()\nopperchat.client{ baseurl = '' }\nend))\n"
      .. "print(pcall(function()\nopperchat.policy.keep{ turn = 1 }\nend))\n"
      .. "print(pcall(function()\nopperchat.conversation{ policy = opperchat.policy.fit }\nend))")
    assert.truthy(output:find(":3: client: unknown option 'baseurl' (did you mean 'base_url'?)", 1,
      true), output)
    assert.truthy(output:find(":6: policy.keep: unknown option 'turn'", 1, true), output)
    assert.truthy(output:find("write policy.fit{...}", 1, true), output)
  end)

  it("counts with the function a program puts there before anything else", function()
    local output, status = run([[
      local opperchat = require "opperchat"
      opperchat.tokens.count = function(text) return #text end
      local chat = opperchat.conversation { model = "m" }
      chat:append("user", ("x"):rep(1000))
      local tokens, how = chat:tokens()
      print(tokens > 1000, how)]])
    assert.equal("0", status, output)
    assert.equal("true\tcounted\n", output)
  end)

  it("says at once, and each time, when the core is missing", function()
    local output = run("package.cpath = package.cpath:gsub('[^;]*build[^;]*', '')\n"
      .. "for _ = 1, 2 do print(pcall(require, 'opperchat')) end")
    local message = "false\topperchat.core is not built: make LUA=" .. make_name()
      .. " in the folder of opperchat\n"
    local first, second = output:find(message, 1, true)
    assert.equal(1, first, output)
    assert.truthy(output:find(message, second, true), output)
    assert.truthy(output:find("module 'opperchat.core' not found", 1, true), output)
  end)

  -- A folder with another core, and what goes before a program that finds it there.
  local function with_core(bytes)
    local folder = shell.new_folder()
    assert(shell.succeeds("mkdir " .. quote(folder .. "/opperchat")))
    shell.write_file(folder .. "/opperchat/core.so", bytes)
    return folder, ("package.cpath = %q .. package.cpath\n"):format(folder .. "/?.so;")
  end

  local function core_file()
    for template in package.cpath:gmatch("[^;]+") do
      local path = template:gsub("%?", "opperchat/core")
      local file = io.open(path, "rb")
      if file then
        file:close()
        return path
      end
    end
  end

  it("says at once, and each time, when the core is for another Lua", function()
    local bytes = shell.read_file(core_file())
    local note = "opperchat core for " .. _VERSION
    if bytes:sub(2, 4) ~= "ELF" then
      pending("no ELF")
      return
    end
    -- the linkers' order is what we rely on
    assert.truthy(bytes:sub(1, 4096):find(note, 1, true))
    local folder, before = with_core((bytes:gsub(note:gsub("%p", "%%%0"),
      "opperchat core for Lua 4.9")))
    local output = run(before .. "for _ = 1, 2 do print(pcall(require, 'opperchat')) end")
    shell.remove_folder(folder)
    local message = ("false\topperchat.core at %s/opperchat/core.so is built for another Lua"
      .. " (Lua 4.9) than this one (%s): make LUA=%s\n"):format(folder,
      _VERSION .. (rawget(_G, "jit") and ", LuaJIT" or ""), make_name())
    assert.equal(message:rep(2), output)
  end)

  it("says each time when the core does not load", function()
    local folder, before = with_core("not one")
    local output = run(before .. "local opperchat = require 'opperchat'\n"
      .. "print(pcall(opperchat.conversation))\nprint(pcall(opperchat.client))\n"
      .. "print(pcall(opperchat.array))\nprint(pcall(opperchat.tokens.count, 'x'))")
    shell.remove_folder(folder)
    local message = "false\topperchat.core at " .. folder .. "/opperchat/core.so cannot be loaded\n"
    local _, count = output:gsub(message:gsub("%p", "%%%0"), "")
    assert.equal(3, count, output)
    assert.is_nil(output:find("loop or previous", 1, true), output)
  end)

  it("knows a loader that misses Lua's functions", function()
    local explain = require("opperchat.missing").explain
    local from = "error loading module 'opperchat.core' from file '/x/opperchat/core.so':\n\t"
    for _, text in ipairs{
      "/x/opperchat/core.so: undefined symbol: lua_setiuservalue",
      "dlopen(/x/opperchat/core.so, 0x6): symbol not found in flat namespace '_luaL_register'",
      "Error relocating /x/opperchat/core.so: lua_setfenv: symbol not found",
    } do
      local message = explain(from .. text)
      assert.equal(1, message:find("opperchat.core at /x/opperchat/core.so is built for another"
        .. " Lua", 1, true), message)
      assert.truthy(message:find(text, 1, true), message)
    end
    assert.truthy(explain(from .. "libcurl.so.4: cannot open shared object file: No such file")
      :find("cannot be loaded\n", 1, true))
  end)

  it("says each time when lua-cjson is missing", function()
    local output = run("package.preload.cjson = function() error('none') end\n"
      .. "for _ = 1, 2 do print(pcall(require, 'opperchat')) end")
    local _, count = output:gsub("false\topperchat needs lua%-cjson", "")
    assert.equal(2, count, output)
  end)

  -- Whatever a host does between the require and the first use.
  local USE = [[
    local client = opperchat.client{ base_url = "http://127.0.0.1:9", max_retries = 0 }
    local chat = opperchat.conversation{ client = client, policy = opperchat.policy.fit{} }
    assert(opperchat.image("https://example.com/a.png"))
    assert(opperchat.history.repair{ { role = "user", content = "Hi" } })
    assert(opperchat.secret{ env = "HOME" })
    assert(chat:tokens() > 0 and chat:export() == "[]")
    assert(not chat:send("Hi"))
    assert(not client:models())
    assert(not client:json{ schema = { a = "string" }, input = "Hi" })
    assert(not opperchat.doctor{ write = false, client = client }.ok)
    print "used"]]

  for what, code in pairs{
    ["package.path and package.cpath are empty"] = "package.path, package.cpath = '', ''",
    ["there is no require"] = "require = nil",
    ["require is another function"] = "require = function(name) error('not ' .. name) end",
    ["there is no package and no io"] = "package, io = nil, { stderr = io.stderr, open = io.open }",
  } do
    it("is enough when " .. what .. " afterwards", function()
      local output, status = run("local opperchat = require 'opperchat'\n" .. code .. "\n"
        .. "local path, cpath, own = (package or {}).path, (package or {}).cpath, require\n" .. USE
        .. "\nassert(path == (package or {}).path and cpath == (package or {}).cpath)\n"
        .. "assert(own == require)")
      assert.equal("0", status, output)
      assert.equal("used\n", output)
    end)
  end

  -- Lua has no chdir. But the folder a program is in can be emptied, and the name by
  -- which the shell has gone there be given to the one that has the files now.
  it("is enough when relative paths lead elsewhere afterwards", function()
    local folder = shell.new_folder()
    assert(shell.succeeds("cd " .. quote(folder)
      .. " && mkdir -p here/lib there && ln -s here name && ln -s there next"))
    assert(shell.succeeds(("cp -r lua/opperchat %s/here/lib/ && cp %s %s/here/lib/opperchat/")
      :format(quote(folder), quote(core_file()), quote(folder))))
    local output, status = run(([[
      require "cjson"
      package.path, package.cpath = "./lib/?.lua;./lib/?/init.lua", "./lib/?.so"
      local opperchat = require "opperchat"
      assert(os.rename("%s/here/lib", "%s/there/lib"))
      assert(os.rename("%s/next", "%s/name"))
      assert(not pcall(require, "opperchat.errors"))
      assert(package.path == "./lib/?.lua;./lib/?/init.lua" and package.cpath == "./lib/?.so")
    ]]):format(folder, folder, folder, folder) .. USE, "cd " .. quote(folder .. "/name") .. " &&")
    shell.remove_folder(folder)
    assert.equal("0", status, output)
    assert.equal("used\n", output)
  end)

  it("leaves a module to a host that replaces it", function()
    local output, status = run([[
      local opperchat = require "opperchat"
      package.preload["opperchat.media"] = function() return { image = function() return 1 end } end
      package.loaded["opperchat.doctor"] = { run = function() return 2 end }
      print(opperchat.image(), opperchat.doctor())]])
    assert.equal("0", status, output)
    assert.equal("1\t2\n", output)
  end)

  it("a second time makes clients and secrets of the first one known as such", function()
    local output, status = run([[
      local opperchat = require "opperchat"
      local options = { base_url = "http://127.0.0.1:9", max_retries = 0 }
      local client = opperchat.client(options)
      options.api_key = opperchat.secret{ env = "HOME" }
      local with_secret = opperchat.client(options)
      for name in pairs(package.loaded) do
        if name:find("^opperchat") then package.loaded[name] = nil end
      end
      opperchat = require "opperchat"
      local chat = opperchat.conversation{ client = client, model = "m" }
      local worked, err = pcall(function()
chat:send("Hi")                             -- line 12
      end)
      print(worked, err)
      print(#chat, client:poll(), client:close(), with_secret:close())
      print(pcall(function()
opperchat.client(options)                   -- line 17
      end))
      options.api_key = nil
      local fresh = opperchat.client(options)
      local reply, problem = opperchat.conversation{ client = fresh }:send("Hi")
      print(reply, problem.kind)]])
    assert.equal("0", status, output)
    assert.truthy(output:find(":12: this client belongs to an earlier load of opperchat", 1, true),
      output)
    assert.truthy(output:find("\n0\t0\ttrue\ttrue\n", 1, true), output)
    assert.truthy(output:find(":17: this secret belongs to an earlier load of opperchat", 1, true),
      output)
    assert.truthy(output:find("\nnil\tnetwork\n", 1, true), output)
  end)

  it("finds the core wherever a host has put it", function()
    local output, status = run([[
      local path = package.cpath
      package.preload["opperchat.core"] = function()
        package.cpath = path
        return package.loadlib(assert(package.searchpath("opperchat.core", path)),
          "luaopen_opperchat_core")()
      end
      if not package.searchpath then print("true") return end
      package.cpath = ""
      package.preload.cjson = package.loadlib(package.searchpath("cjson", path), "luaopen_cjson")
      print(require("opperchat").type(1) == nil)]])
    assert.equal("0", status, output)
    assert.equal("true\n", output)
  end)
end)
