-- What once went wrong, each a story of its own.

local Server = require "spec.support.server"
local core = require "opperchat.core"
local opperchat = require "opperchat"
local socket = require "socket"

local SLOW = os.getenv("OPPERCHAT_SLOW") and 10 or 1

describe("regression:", function()
  local server = Server.for_tests()

  local function converse(options)
    options = options or {}
    options.base_url = options.base_url or server.url
    options.max_retries = options.max_retries or 0
    local client = opperchat.client(options)
    return opperchat.conversation { client = client, model = "m" }, client
  end

  -- A new socket was told to the kernel at the next wait only, so that a host
  -- which watches the descriptor slept until another timer of libcurl's.
  it("a watched descriptor has news as soon as a new connection has", function()
    local chat, client = converse()
    if not client:pollfd() then
      client:close()
      return
    end
    local done
    local started = core.now()
    chat:start("Hi", { on_done = function(reply) done = reply end })
    while not done and core.now() - started < 5 do
      local watched = { getfd = function() return client:pollfd() end }
      socket.select({ watched }, nil, client:timeout() or 1)
      client:poll()
    end
    assert.equal("ok", done.content)
    assert.is_true(core.now() - started < 0.1 * SLOW, core.now() - started)
    client:close()
  end)

  it("a key function may not get a second request in", function()
    local chat, client
    chat, client = converse { api_key = function()
      opperchat.sleep(0.02)
      return "key"
    end }
    local outcomes = {}
    for i = 1, 2 do
      opperchat.go(function()
        local ok, reply = pcall(chat.send, chat, "question " .. i)
        outcomes[i] = { ok, reply }
      end)
    end
    while opperchat.poll(0.05) > 0 do
      assert.is_true(#outcomes <= 2)
    end
    local worked = 0
    for _, outcome in ipairs(outcomes) do
      if outcome[2] and outcome[1] then
        worked = worked + 1
      elseif not outcome[1] then
        assert.truthy(tostring(outcome[2]):find("conversation is busy", 1, true), outcome[2])
      end
    end
    -- PUC 5.1 cannot yield within the pcall above: then none gets through
    assert.is_true(worked <= 1)
    assert.equal(2 * worked, #chat)
    client:close()
  end)

  it("a hook that starts another request of its conversation is found out", function()
    local chat, client, inner
    chat, client = converse { on_request = function()
      if not inner then
        inner = true
        inner = chat:start("from the hook")
      end
    end }
    local ok, err = pcall(chat.send, chat, "from the program")
    assert.is_false(ok)
    assert.truthy(err:find("conversation is busy", 1, true), err)
    assert.equal("ok", assert(inner:wait()).content)
    assert.equal(2, #chat)
    client:close()
  end)

  it("a hook that closes the client ends the call", function()
    local chat, client
    chat, client = converse { on_request = function()
      client:close()
    end }
    local ok, err = pcall(chat.send, chat, "Hi")
    assert.is_false(ok)
    assert.truthy(err:find("client is closed", 1, true), err)
    assert.equal(0, #chat)
  end)

  it("what does not wait does not wait", function()
    local chat, client = converse()
    server:default { body = "{}", delay = 2 }
    chat:start("Hi")
    local started = core.now()
    for _ = 1, 5 do
      opperchat.sleep(0)
      opperchat.sleep(-1)
      client:poll(-1)
    end
    assert.is_true(core.now() - started < 0.5 * SLOW)
    for _, wrong in ipairs { 0 / 0, "1" } do
      assert.is_false(pcall(opperchat.sleep, wrong))
      assert.is_false(pcall(client.poll, client, wrong))
    end
    client:close()
  end)

  -- Lua 5.1 has no ephemerons.
  it("tasks that have ended are collected", function()
    local function run()
      for _ = 1, 2000 do
        opperchat.go(function() end)
      end
      collectgarbage()
      collectgarbage()
      return collectgarbage("count")
    end
    run()
    local before = run()
    assert.is_true(run() < before + 200)
  end)

  it("text that only begins like a stream is no stream", function()
    local chat, client = converse()
    for _, text in ipairs {
      "internal error", "denied by proxy", "rate limit", "d", "data", "idle", ": no",
    } do
      server:reply { headers = { ["content-type"] = "text/plain" }, body = text }
      local reply, err = chat:send("Hi")
      assert.is_nil(reply)
      -- a comment is a stream that ends without an answer
      assert.equal(text == ": no" and "truncated" or "protocol", err.kind, text)
    end
    server:reply { body = "\239\187\191" .. '{"choices":[{"message":{"content":"BOM"}}]}' }
    assert.equal("BOM", assert(chat:send("Hi")).content)
    client:close()
  end)

  it("fragments of unknown fields are put together", function()
    local chat, client = converse()
    local function delta(fields)
      return 'data: {"choices":[{"index":0,"delta":' .. fields .. "}]}\n\n"
    end
    server:stream {
      delta '{"content":"a","function_call":{"name":"f","arguments":"{\\"x\\""},"thinking":"one "}',
      delta '{"function_call":{"arguments":":1}"},"thinking":"two"}',
      'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
    }
    assert(chat:send("Hi", { stream = true }))
    local last = chat:last()
    assert.equal("one two", last.thinking)
    assert.same({ name = "f", arguments = '{"x":1}' }, last.function_call)
    client:close()
  end)

  it("a finalizer may close what is being worked with", function()
    local chat, client = converse()
    for i = 1, 20 do
      chat:append(i % 2 == 1 and "user" or "assistant", ("text "):rep(200))
    end
    local make = rawget(_G, "newproxy") or function()
      return setmetatable({}, { __gc = true })
    end
    local is_closed = false
    local function trap()
      local object = make(true)
      getmetatable(object).__gc = function()
        is_closed = true
        chat:close()
      end
      if not rawget(_G, "newproxy") then
        setmetatable(object, getmetatable(object))
      end
    end
    trap()
    for _ = 1, 2000 do
      local ok, err = pcall(function()
        local fork = chat:fork()
        fork:splice(1, 2, { { role = "user", content = "x" } })
        fork:preview("y")
        return fork:messages(1, 3)
      end)
      if not ok then
        assert.truthy(tostring(err):find("conversation is closed", 1, true), err)
        break
      end
    end
    collectgarbage()
    assert.is_true(is_closed)
    client:close()
  end)

  -- One step used to look at 128 sockets and then ended all others whose time
  -- seemed to be up, though their answers had long arrived.
  it("whoever has been answered is heard before its time is up", function()
    local client = opperchat.client { base_url = server.url, timeout = { idle = 0.3 } }
    local origin = opperchat.conversation { client = client, model = "m" }
    local count = 150
    server:default { chunks = {
      'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n',
      'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
    } }
    local good, bad = 0, 0
    for _ = 1, count do
      origin:fork():start("Hi", { on_done = function(reply)
        if reply then
          good = good + 1
        else
          bad = bad + 1
        end
      end })
    end
    -- the host is away for longer than `idle`
    local started = core.now()
    while core.now() - started < 0.2 do
      client:poll(0.01)
    end
    core.sleep(0.6)
    while client:poll(0.05) > 0 do
      assert.is_true(core.now() - started < 10)
    end
    assert.equal(count, good)
    assert.equal(0, bad)
    client:close()
  end)

  it("an answer that has run off into blanks is read at once", function()
    local chat, client = converse()
    server:reply { body = { choices = { {
      message = { role = "assistant", content = "```json\n" .. ("\n"):rep(20000) .. "x" },
      finish_reason = "stop",
    } } } }
    local before = os.clock()
    local reply, err = chat:send("Hi", { schema = { a = "string" } })
    assert.is_nil(reply)
    assert.equal("no_json", err.code)
    assert.is_true(os.clock() - before < 0.5 * SLOW)
    client:close()
  end)

  it("a tool that cannot be written spoils nothing", function()
    local chat, client = converse()
    assert.is_false(pcall(chat.tool, chat, { name = "a", description = "\255" }))
    chat:tool { name = "b", run = function() end }
    assert.equal("ok", assert(chat:send("Hi", { temperature = 0 })).content)
    assert.equal("ok", assert(chat:fork():send("Hi")).content)
    client:close()
  end)

  it("a cancel between two tries ends both", function()
    local chat, client = converse()
    server:default { chunks = { table.concat {
      'data: {"choices":[{"index":0,"delta":{"content":"no json"}}]}\n\n',
      'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
    } } }
    local reply, err = chat:send("Hi", {
      schema = { a = "string" }, schema_retries = 3,
      on_delta = function() chat:cancel() end,
    })
    assert.is_nil(reply)
    assert.equal("cancelled", err.kind)
    assert.equal(1, #server:requests())
    assert.equal(0, #chat)
    client:close()
  end)

  it("a restriction to some tools holds for all steps", function()
    local chat, client = converse()
    server:reply { body = { choices = { { message = { role = "assistant", tool_calls = {
      { id = "1", type = "function", ["function"] = { name = "f", arguments = "{}" } },
    } }, finish_reason = "tool_calls" } } } }
    chat:tool { name = "f", run = function() return "x" end }
    assert(chat:run("Hi", { tool_choice = { type = "allowed_tools", allowed_tools = {
      mode = "required", tools = { { type = "function", name = "f" } },
    } } }))
    local second = server:requests()[2].json.tool_choice
    assert.equal("allowed_tools", second.type)
    assert.equal("auto", second.allowed_tools.mode)
    assert.equal("f", second.allowed_tools.tools[1].name)
    client:close()
  end)
end)
