-- What a program pays for `require "opperchat"`, and that what is loaded later
-- is there when it is needed.

local opperchat = require "opperchat"

local function interpreter()
  local i = 0
  while arg[i - 1] do
    i = i - 1
  end
  return arg[i]
end

local function quote(word)
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

local function command_works(command)
  local result = os.execute(command .. " >/dev/null 2>&1")
  return result == true or result == 0
end

-- Runs a program in a process of its own: what it prints, and its exit code.
local function run(code, prefix)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(code)
  file:close()
  local pipe = assert(io.popen(("{ %s %s %s; } 2>&1 </dev/null; echo \"exit=$?\"")
    :format(prefix or "", quote(interpreter()), quote(path))))
  local output = pipe:read("*a")
  pipe:close()
  os.remove(path)
  return output:match("^(.*)exit=(%d+)\n$")
end

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
    if not command_works("command -v timeout")
        or not command_works("mkfifo " .. quote(pipe)) then
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

  it("says at once when the core is missing", function()
    local output, status = run("package.cpath = package.cpath:gsub('[^;]*build[^;]*', '')\n"
      .. "require 'opperchat'")
    assert.equal("1", status, output)
    assert.truthy(output:find("module 'opperchat.core' not found", 1, true), output)
  end)

  it("says at the first use when a module is missing", function()
    local output, status = run("local opperchat = require 'opperchat'\npackage.path = ''\n"
      .. "opperchat.conversation{}")
    assert.equal("1", status, output)
    assert.truthy(output:find("module 'opperchat.conversation' not found", 1, true), output)
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
