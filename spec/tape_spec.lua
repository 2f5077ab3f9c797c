-- Tapes: what one client has recorded with a server, another one plays without
-- any, and the program that uses it cannot tell.

local socket = require "socket"
local cjson = require("cjson").new()
local opperchat = require "opperchat"
local core = require "opperchat.core"
local Server = require "spec.support.server"
local shell = require "spec.support.shell"
local sse = require "spec.support.sse"
local with = require "spec.support.with"
local completion = require("spec.support.completion").json

local KEY = "op-5ecret-Key.0123456789"
local NOWHERE = "http://no-such-host.invalid/v1"

local SLOW = (os.getenv("OPPERCHAT_SLOW") or os.getenv("ASAN_OPTIONS")
  or os.getenv("OPPERCHAT_GC")) and 8 or 1

local read, write = shell.read_file, shell.write_file

local function lines_of(path)
  local lines = {}
  for line in read(path):gmatch("[^\n]+") do
    lines[#lines + 1] = cjson.decode(line)
  end
  return lines
end

-- Whatever a program can see of a value, without times and random ids.
local function plain(value)
  if type(value) == "string" then
    return (value:gsub("call_" .. ("%x"):rep(24), "call_random"))
  elseif type(value) ~= "table" then
    return type(value) == "function" and "function" or value
  end
  local copy = {}
  for key, item in pairs(value) do
    if key ~= "timing" then
      copy[key] = plain(item)
    end
  end
  return copy
end

local function outcome(reply, err)
  return {
    reply = plain(reply), err = plain(err), text = err and plain(tostring(err)),
    raw = reply and reply.raw and plain(reply:raw()),
  }
end

local function call_answer(id, name, arguments)
  return '{"id":"c1","model":"m","choices":[{"index":0,"finish_reason":"tool_calls","message":'
    .. '{"role":"assistant","content":null,"tool_calls":[{"id":' .. cjson.encode(id)
    .. ',"type":"function","function":{"name":' .. cjson.encode(name) .. ',"arguments":'
    .. cjson.encode(arguments) .. "}}]}}]}"
end

local function chat_of(client, given)
  return opperchat.conversation(with({
    client = client, model = "test/model", system = "Be brief.", trace_id = "t",
  }, given))
end

-- One prompt, answered as a stream; everything that is told of it.
local function streamed(client, prompt, given)
  local seen = {}
  local chat = chat_of(client)
  local all = {
    on_event = function(event, request)
      seen[#seen + 1] = plain(event)
      if given and given.cancel_at == #seen then
        request:cancel()
      end
    end,
    on_retry = function(info)
      seen[#seen + 1] = plain(info)
    end,
    keep_partial = given and given.keep_partial,
  }
  local result = outcome(chat:start(prompt or "Hello", all):wait())
  result.events, result.messages = seen, plain(chat:messages())
  return result
end

local function sent(client, prompt, given)
  local chat = chat_of(client)
  local result = outcome(chat:send(prompt or "Hello", given))
  result.messages = plain(chat:messages())
  return result
end

describe("a tape", function()
  local server = Server.for_tests()
  local path

  before_each(function()
    path = os.tmpname()
    os.remove(path)
  end)

  after_each(function()
    os.remove(path)
  end)

  local function client_with(given, more)
    return opperchat.client(with(with({
      api_key = KEY, timeout = { connect = 20, first_token = 20, idle = 20 }, max_retries = 0,
    }, given), more))
  end

  local function recorder(given)
    return client_with(given, {
      base_url = given and given.base_url or server.url, record = path,
    })
  end

  local function player(given, more)
    return client_with(given, with({
      base_url = NOWHERE, replay = path, api_key = given and given.api_key or "",
    }, more))
  end

  -- Records a program, plays it, and expects the same.
  local function same(program, given, speed)
    local client = recorder(given)
    local recorded = program(client)
    assert.is_true(client:close())
    assert.falsy(read(path):find(KEY, 1, true), "the key is on the tape")
    client = player(given, { replay_speed = speed })
    local played = program(client)
    assert.same(recorded, played)
    assert.same({}, client:replay_left())
    client:close()
    return recorded
  end

  local HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
  local EVENTS = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
  local HELLO = sse.text("Hel") .. sse.text("lo")
  local STOP = sse.finish("stop")

  -- { name, what the server does, options of the client, kind of the error }
  local cases = {
    { "an answer", function() server:reply { body = completion("Hi") } end },
    { "headers of Opper's", function()
      server:reply { body = completion("Hi"), headers = {
        ["X-Opper-Trace-Id"] = "trace-1", ["X-Opper-Served-Model"] = "big",
        ["X-Opper-Served-Provider"] = "somebody", ["X-Opper-Cost"] = "0.25",
        ["Set-Cookie"] = "session=abc", ["X-Ratelimit-Remaining-Tokens"] = "12",
      } }
    end },
    { "a header that comes twice", function()
      server:reply { body = completion("Hi"), headers = {
        { "X-Opper-Trace-Id", "one" }, { "X-Opper-Trace-Id", "two" },
      } }
    end },
    { "white space around JSON", function()
      server:reply { body = "\n  " .. completion("Hi") .. "\n" }
    end },
    { "bytes that are no UTF-8", function() server:reply { body = completion("a\255b") } end },
    { "a stream nobody asked for", function()
      server:stream({ HELLO, STOP, sse.done })
    end },
    { "an answer in pieces", function()
      local body = completion(("x"):rep(5000))
      server:script { { "send", HEAD .. "Content-Length: " .. #body .. "\r\n\r\n" },
        { "send", body:sub(1, 10) }, { "sleep", 0.15 }, { "send", body:sub(11, 3000) },
        { "sleep", 0.15 }, { "send", body:sub(3001) }, { "close" } }
    end },
    { "a large answer", function() server:reply { body = completion(("y"):rep(2000000)) } end },
    { "an error of the API", function()
      server:reply { status = 400, body = '{"error":{"message":"no","code":"bad_thing"}}' }
    end, {}, "api" },
    { "an error that is no JSON", function()
      server:reply { status = 500, body = "<html>oh no</html>" }
    end, {}, "http" },
    { "an error without a body", function()
      server:reply { status = 502, body = "" }
    end, {}, "http" },
    { "an error that repeats the key", function()
      server:reply { status = 401, body = '{"error":{"message":"Incorrect API key provided: '
        .. 'sk-proj-abcdef0123456789. See the docs.","code":"invalid_api_key"}}' }
    end, {}, "api", true },
    { "an error with Retry-After", function()
      server:reply { status = 429, body = "slow down", headers = { ["Retry-After"] = "7" } }
    end, {}, "http" },
    { "an error in a success", function()
      server:reply { body = '{"error":{"message":"no","code":"inner"}}' }
    end, {}, "api" },
    { "no JSON", function() server:reply { body = "Hello?" } end, {}, "protocol" },
    { "deep JSON", function()
      local parts = {}
      for depth = 1, 10 do
        parts[depth] = ('"x%d":%s1%s'):format(depth, ("["):rep(depth * 50), ("]"):rep(depth * 50))
      end
      server:reply { body = completion("Hi", "," .. table.concat(parts, ",")) }
    end },
    { "no choices", function() server:reply { body = '{"id":"x"}' } end, {}, "protocol" },
    { "no body", function() server:reply { body = "" } end, {}, "protocol" },
    { "too large an answer", function()
      server:reply { body = completion(("x"):rep(5000)) }
    end, { max_response_bytes = 1000 }, "limit" },
    { "too many headers", function()
      server:script { { "send", HEAD .. ("X-Long: " .. ("x"):rep(60000) .. "\r\n"):rep(8)
        .. "\r\n" }, { "close" } }
    end, {}, "limit" },
    { "a server that hangs up", function()
      server:script { { "close" } }
    end, {}, "network" },
    { "a reset", function() server:script { { "reset" } } end, {}, "network" },
    { "an end in the status line", function()
      server:script { { "send", "HTTP/1.1 20" }, { "close" } }
    end, {}, nil, true },
    { "an end in the headers", function()
      server:script { { "send", HEAD .. "X-Half: " }, { "close" } }
    end, {}, "network" },
    { "an end behind the headers", function()
      server:script { { "send", HEAD .. "Content-Length: 100\r\n\r\n" }, { "close" } }
    end, {}, "truncated" },
    { "an end in the body", function()
      server:script { { "send", HEAD .. "Content-Length: 1000\r\n\r\n" .. completion("x") },
        { "close" } }
    end, {}, "truncated" },
    { "an end in a chunk", function()
      server:script { { "send", HEAD .. "Transfer-Encoding: chunked\r\n\r\n50\r\n{\"id\"" },
        { "close" } }
    end, {} },
    { "no HTTP", function()
      server:script { { "send", "SSH-2.0-OpenSSH_9\r\n" }, { "close" } }
    end, {}, "protocol" },
    { "an error whose page is cut", function()
      server:script { { "send", "HTTP/1.1 503 No\r\nContent-Length: 500\r\n\r\nnot now" },
        { "close" } }
    end, {}, "http" },
    { "no token in time", function()
      server:script { { "sleep", 0.02 }, { "stall" } }
    end, { timeout = { first_token = 0.15 } }, "timeout" },
    { "an error's body that does not come", function()
      server:script { { "send", "HTTP/1.1 503 No\r\nContent-Length: 500\r\n\r\n" }, { "stall" } }
    end, { timeout = { first_token = 0.15 } }, "http" },
    { "a long silence", function()
      server:script { { "send", EVENTS .. HELLO }, { "stall" } }
    end, { timeout = { idle = 0.15 } }, "timeout" },
    { "no end in time", function()
      server:script { { "send", EVENTS .. HELLO }, { "stall" } }
    end, { timeout = { total = 0.2 } }, "timeout" },
    { "a stream that ends early", function()
      server:stream { HELLO }
    end, {}, "truncated" },
    { "a stream with an error in it", function()
      server:stream { HELLO, 'data: {"error":{"message":"upstream died","code":"upstream"}}\n\n',
        HELLO }
    end, {}, "api" },
    { "a stream with bad JSON in it", function()
      server:stream { HELLO, "data: {\"choices\":[{\n\n", HELLO }
    end, {}, "protocol" },
    { "a stream that breaks", function()
      server:script { { "send", EVENTS:gsub("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n")
        .. ("%x\r\n%s\r\n"):format(#HELLO, HELLO) }, { "close" } }
    end, {} },
    { "a stream that stays open behind [DONE]", function()
      server:script { { "send", EVENTS .. HELLO .. STOP .. sse.done }, { "stall" } }
    end },
    { "a stream that is reset behind [DONE]", function()
      server:script { { "send", EVENTS .. HELLO .. STOP .. sse.done }, { "reset" } }
    end },
    { "a large event", function()
      server:stream { HELLO, "data: " .. ("x"):rep(20000) }
    end, { max_response_bytes = 10000 }, "limit" },
    { "tool calls", function()
      server:stream({ sse.calls(sse.call(0, nil, "f", '{"a"')), sse.calls(sse.call(0, nil, nil,
        ':1}')), sse.finish("tool_calls"), sse.usage_chunk, sse.done }, { pause = 0.01 })
    end },
    { "reasoning", function()
      server:stream({ sse.delta('{"reasoning_content":"hm"}'), HELLO, STOP, sse.done })
    end },
    { "retries", function()
      server:reply { status = 503, body = "busy" }
      server:script { { "close" } }
      server:reply { status = 429, body = "wait", headers = { ["Retry-After-Ms"] = "20" } }
      server:stream { HELLO, STOP, sse.done }
    end, { max_retries = 3 } },
    { "retries that are used up", function()
      server:default { status = 503, body = "busy", headers = { ["Retry-After-Ms"] = "5" } }
    end, { max_retries = 2 }, "http" },
    { "a redirect", function()
      server:reply { status = 307, headers = { Location = server.url .. "/moved?x=1" }, body = "" }
      server:reply { status = 308, headers = { Location = "/elsewhere" }, body = "" }
    end },
    { "redirects without end", function()
      server:default { status = 307, headers = { Location = server.url .. "/round" }, body = "" }
    end, {}, "limit" },
    { "a redirect to another server", function()
      server:reply { status = 307, headers = { Location = "http://other.invalid/v1" }, body = "" }
    end, {}, "http" },
    { "hints before the answer", function()
      server:script { { "send", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" .. HEAD
        .. "Content-Length: " .. #completion("Hi") .. "\r\n\r\n" .. completion("Hi") } }
    end },
  }

  for _, case in ipairs(cases) do
    local name, prepare, given, kind, is_other = case[1], case[2], case[3], case[4], case[5]
    for how, program in pairs { sent = sent, streamed = streamed } do
      it("has " .. name .. ", " .. how, function()
        prepare()
        if is_other then
          -- what is secret, or not the same each time, differs in the message
          local recorded = program(recorder(given))
          local played = program(player(given))
          assert.equal(recorded.err.kind, played.err.kind)
          assert.equal(recorded.err.code, played.err.code)
          assert.falsy(read(path):find("abcdef0123456789", 1, true))
          return
        end
        local result = same(program, given)
        assert.equal(kind or nil, kind and result.err and result.err.kind)
      end)
    end
  end

  it("has a server that is not there", function()
    local listener = assert(socket.bind("127.0.0.1", 0))
    local _, port = listener:getsockname()
    listener:close()
    for _, url in ipairs { "http://127.0.0.1:" .. port, "http://unknown-host.invalid/v1" } do
      local result = same(function(client)
        return { sent(client), streamed(client) }
      end, { base_url = url })
      assert.equal("network", result[1].err.kind)
      os.remove(path)
    end
  end)

  it("has a server that is none for TLS", function()
    local listener = assert(socket.bind("127.0.0.1", 0))
    listener:settimeout(0)
    local _, port = listener:getsockname()
    local result = same(function(client)
      local request = chat_of(client):start("Hello")
      while client:active() > 0 do
        client:poll(0.01)
        local connection = listener:accept()
        if connection then
          connection:send("this is no TLS, whatever you may think\r\n")
          connection:close()
        end
      end
      return outcome(request:wait())
    end, { base_url = "https://127.0.0.1:" .. port })
    listener:close()
    assert.equal("tls", result.err.kind)
  end)

  it("has a packed answer", function()
    local file = os.tmpname()
    write(file, completion(("packed "):rep(1000)))
    local pipe = io.popen("gzip -c " .. file)
    local packed = pipe:read("*a")
    pipe:close()
    os.remove(file)
    server:reply { body = packed, headers = { ["Content-Encoding"] = "gzip" } }
    local result = same(sent)
    assert.equal(7000, #result.reply.content)
    assert.truthy(read(path):find("packed packed", 1, true))
  end)

  it("has a request that was cancelled", function()
    for _, keep in ipairs { true, false } do
      server:reset()
      server:stream({ HELLO, HELLO, HELLO, HELLO, STOP, sse.done }, { pause = 0.02 })
      local result = same(function(client)
        return streamed(client, "Hello", { cancel_at = 2, keep_partial = keep })
      end)
      assert.equal("cancelled", result.err.kind)
      os.remove(path)
    end
  end)

  it("has a request that is not cancelled when it is played", function()
    server:stream({ HELLO, HELLO, HELLO, HELLO }, { pause = 0.05 })
    local recorded = streamed(recorder(), "Hello", { cancel_at = 2 })
    local played = streamed(player())
    assert.same(recorded.err, played.err)
    assert.same(recorded.events, played.events)
  end)

  it("has a request whose handler failed, and one whose client was closed", function()
    server:stream({ HELLO, HELLO, HELLO, HELLO }, { pause = 0.02 })
    local function program(client)
      local ended
      local worked, problem = pcall(function()
        chat_of(client):start("Hello", {
          on_delta = function() error("oops", 0) end,
          on_done = function(_, err) ended = plain(err) end,
        }):wait()
      end)
      return { worked, plain(problem):match("^oops"), ended }
    end
    same(program)
    os.remove(path)
    server:reset()
    server:stream({ HELLO, HELLO, HELLO, HELLO }, { pause = 0.02 })
    local client = recorder()
    local request = chat_of(client):start("Hello")
    request:wait(0.03)
    client:close()
    local _, err = request:wait()
    assert.equal("closed", err.code)
    local lines = lines_of(path)
    assert.equal("closed", lines[2].error.code)
  end)

  it("has a request nobody waited for", function()
    server:stream({ HELLO, HELLO, HELLO, HELLO }, { pause = 0.05 })
    do
      local client = recorder()
      chat_of(client):start("Hello"):wait(0.02)
      client:close()
    end
    collectgarbage()
    collectgarbage()
    assert.equal(2, #lines_of(path))
  end)

  it("has a list of models", function()
    server:reply { body = '{"object":"list","data":[{"id":"a/b","context_length":1000}]}' }
    local result = same(function(client)
      return { plain(client:models()), plain(client:model("a/b")) }
    end)
    assert.equal("a/b", result[1][1].id)
    assert.equal("GET", lines_of(path)[2].request.method)
  end)

  it("has runs with tools", function()
    server:reply { body = call_answer("", "weather", '{"city":"Oslo"}') }
    server:reply { body = call_answer("", "weather", '{"city":"Rome"}') }
    server:reply { body = completion("cold and warm") }
    local result = same(function(client)
      local chat = chat_of(client, { tools = { {
        name = "weather", description = "Weather", parameters = { city = "string" },
        run = function(arguments) return { degrees = #arguments.city } end,
      } } })
      local ended = outcome(chat:run("Weather?"))
      ended.messages = plain(chat:messages())
      return ended
    end)
    assert.equal("cold and warm", result.reply.content)
    assert.equal(3, result.reply.steps)
    assert.truthy(read(path):find('{\\"degrees\\":4}', 1, true))
  end)

  it("has other models and other keys", function()
    server:reply { status = 404, body = '{"error":{"message":"no such model",'
      .. '"code":"model_not_found"}}' }
    server:reply { status = 401, body = '{"error":{"message":"old","code":"invalid_api_key"}}' }
    server:reply { body = completion("from the other one") }
    local asked = 0
    local result = same(function(client)
      return outcome(chat_of(client):send("Hello", { fallback_models = { "test/other" } }))
    end, { api_key = function()
      asked = asked + 1
      return "key-" .. asked .. "-of-a-function"
    end })
    assert.equal("from the other one", result.reply.content)
    assert.equal(4, #lines_of(path))
    -- for the key and its successor, and not when it was played
    assert.equal(2, asked)
  end)

  it("has structured answers that are asked for again", function()
    server:reply { body = completion('{"age":"many"}') }
    server:reply { body = completion('{"age":36}') }
    local result = same(function(client)
      return outcome(chat_of(client):send("How old?", {
        schema = { age = "integer" }, schema_retries = 1,
      }))
    end)
    assert.equal(36, result.reply.parsed.age)
  end)

  it("has a history of ten megabytes", function()
    local text = ("word "):rep(2000)
    local messages = {}
    for i = 1, 1000 do
      messages[i] = { role = i % 2 == 1 and "user" or "assistant", content = text .. i }
    end
    local result = same(function(client)
      return outcome(opperchat.conversation { client = client, model = "m", messages = messages }
        :send("and now?"))
    end)
    assert.equal("ok", result.reply.content)
  end)

  it("keeps no pictures", function()
    local image = os.tmpname() .. ".png"
    write(image, "\137PNG\r\n\26\n" .. ("\1\2\3picture"):rep(50000))
    local function program(client)
      return sent(client, { "What is it?", opperchat.image(image) })
    end
    local result = program(recorder())
    local text = read(path)
    assert.truthy(#text < 2000, #text)
    assert.truthy(text:find("data:image/png;base64,<sha256 ", 1, true))
    assert.same(result, program(player()))
    -- another picture is another request
    write(image, "\137PNG\r\n\26\n" .. ("\1\2\3Picture"):rep(50000))
    local other = program(player())
    assert.equal("no_recording", other.err.code)
    assert.truthy(other.err.message:find("image_url.url", 1, true), other.err.message)
    os.remove(image)
  end)

  it("plays at the speed of the recording, and faster, and slower", function()
    server:stream({ HELLO, HELLO, HELLO, STOP, sse.done }, { pause = 0.1 })
    local recorded = streamed(recorder())
    local function seconds(speed)
      local started = socket.gettime()
      local played = streamed(player(nil, { replay_speed = speed }))
      assert.same(recorded, played)
      return socket.gettime() - started
    end
    local usual = seconds(1)
    assert.truthy(usual >= 0.38 and usual < 0.6 * SLOW, usual)
    local fast = seconds(4)
    assert.truthy(fast >= 0.09 and fast < 0.2 * SLOW, fast)
    local slow = seconds(0.5)
    assert.truthy(slow >= 0.76, slow)
    local at_once = seconds("instant")
    assert.truthy(at_once < 0.08 * SLOW, at_once)
  end)

  it("does not wait for another try", function()
    server:reply { status = 503, body = "busy", headers = { ["Retry-After"] = "1" } }
    local recorded = streamed(recorder { max_retries = 1 })
    local started = socket.gettime()
    assert.same(recorded, streamed(player { max_retries = 1 }))
    assert.truthy(socket.gettime() - started < 0.5)
    started = socket.gettime()
    assert.same(recorded, streamed(player({ max_retries = 1 }, { replay_speed = 2 })))
    assert.truthy(socket.gettime() - started >= 0.5)
  end)

  it("keeps the deadlines of its own client", function()
    server:stream({ HELLO, HELLO, STOP, sse.done }, { pause = 0.3 })
    streamed(recorder())
    local played = streamed(player({ timeout = { idle = 0.1 } }, { replay_speed = 1 }))
    assert.equal("idle_timeout", played.err.code)
  end)

  it("is played by poll, in tasks and under a wait with a limit", function()
    server:stream({ HELLO, HELLO, STOP, sse.done }, { pause = 0.02 })
    server:stream({ HELLO, HELLO, STOP, sse.done }, { pause = 0.02 })
    local client = recorder()
    streamed(client, "one")
    streamed(client, "two")
    client = player()
    local done = {}
    for _, prompt in ipairs { "two", "one" } do
      opperchat.go(function()
        local reply = assert(chat_of(client):send(prompt, { stream = true }))
        done[#done + 1] = reply.content
      end)
    end
    while client:active() > 0 do
      local due = client:timeout()
      assert.truthy(due and due <= 0.001)
      client:poll()
    end
    assert.same({ "HelloHello", "HelloHello" }, done)
    client = player(nil, { replay_speed = 1 })
    local request = chat_of(client):start("one")
    assert.is_nil(request:wait(0.01))
    assert.equal("HelloHello", assert(request:wait()).content)
  end)

  it("is played in parallel, each request its own answer", function()
    local count = 20
    local function program(client)
      local contents, left = {}, count
      for i = 1, count do
        chat_of(client):start("number " .. i % 10, {
          on_delta = function() end,
          on_done = function(reply)
            contents[i] = reply.content
            left = left - 1
          end,
        })
      end
      while left > 0 do
        client:poll(1)
      end
      return contents
    end
    for i = 1, count do
      server:stream({ sse.text("answer " .. i), STOP, sse.done }, { delay = (i * 7 % 5) / 100 })
    end
    same(program)
  end)

  it("gives the same request its answers in order", function()
    for i = 1, 3 do
      server:reply { body = completion("answer " .. i) }
    end
    local function program(client)
      local contents = {}
      for i = 1, 3 do
        contents[i] = assert(chat_of(client):send("Hello")).content
      end
      return contents
    end
    assert.same({ "answer 1", "answer 2", "answer 3" }, same(program))
    local client = player()
    program(client)
    local _, err = chat_of(client):send("Hello")
    assert.equal("protocol", err.kind)
    assert.equal("no_recording", err.code)
    assert.is_false(err.retryable)
    assert.truthy(err.message:find("3 times", 1, true), err.message)
  end)

  it("tells what is left", function()
    local client = recorder()
    assert(chat_of(client):send("one"))
    assert(chat_of(client):send("two"))
    assert.error_matches(function() client:replay_left() end, "without 'replay'")
    client = player()
    assert.equal(2, #client:replay_left())
    assert(chat_of(client):send("one"))
    local left = client:replay_left()
    assert.equal(1, #left)
    assert.same({ 3, "POST", "/chat/completions", 1 },
      { left[1].line, left[1].method, left[1].path, left[1].attempt })
    assert.equal("two", cjson.decode(left[1].body).messages[2].content)
    client:close()
    assert.equal(1, #client:replay_left())
  end)

  it("says what does not match", function()
    local client = recorder()
    assert(chat_of(client, { temperature = 0.5 }):send("Name a river of Europe that is long."))
    client = player()
    local function problem(prompt, given)
      local _, err = chat_of(client, given):send(prompt)
      assert.equal("no_recording", err.code)
      return err.message
    end
    local text = problem("Name a river of Europe that is short.", { temperature = 0.5 })
    assert.truthy(text:find("line 2, differs in messages[2].content: recorded ", 1, true), text)
    assert.truthy(text:find('that is long."', 1, true), text)
    assert.truthy(text:find('that is short."', 1, true), text)
    text = problem("Name a river of Europe that is long.", { temperature = 0.7 })
    assert.truthy(text:find("temperature: recorded 0.5, sent 0.7", 1, true), text)
    text = problem("Name a river of Europe that is long.")
    assert.truthy(text:find("temperature: recorded 0.5, sent nothing", 1, true), text)
    local _, err = client:models()
    assert.equal("GET /models is not on " .. path:match("[^/]+$"), err.message)
    -- and goes on playing
    assert(chat_of(client, { temperature = 0.5 }):send("Name a river of Europe that is long."))
  end)

  it("can be played in order, whatever is asked", function()
    local client = recorder()
    server:reply { body = completion("first") }
    server:reply { body = completion("second") }
    assert(chat_of(client):send("It is the " .. os.time()))
    assert(chat_of(client):send("now"))
    client = player(nil, { replay_match = "order" })
    assert.equal("first", assert(chat_of(client):send("another")).content)
    assert.equal("second", assert(chat_of(client):send("and another")).content)
    local _, err = chat_of(client):send("one too many")
    assert.equal("no_recording", err.code)
  end)

  it("does not mind the order of keys, white space and forms of numbers", function()
    write(path, '{"opperchat_tape":1}\n\n'
      .. '{"request": {"body": {"messages": [{"content": "H\\u00e9llo\\/", "role": "user"}],'
      .. '  "temperature": 1.0, "model": "m"}}, "response": {"body": ' .. completion("Hi")
      .. "}}\r\n")
    local client = player()
    local chat = opperchat.conversation { client = client, model = "m", temperature = 1 }
    assert.equal("Hi", assert(chat:send("H\195\169llo/")).content)
  end)

  it("can be written by hand", function()
    write(path, (([==[
{"opperchat_tape": 1, "note": "made up"}
{"request": {"body": {"model": "m", "messages": [{"role": "user", "content": "a"}]}},|
 "error": {"code": "connection_lost"}}
{"request": {"body": {"model": "m", "messages": [{"role": "user", "content": "b"}]}},|
 "response": {"status": 429, "headers": {"retry-after": "3"},|
              "body": {"error": {"message": "slow"}}}}
{"request": {"body": {"model": "m", "stream": true,|
                      "messages": [{"role": "user", "content": "c"}]}},|
 "response": {"chunks": [[0, "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"},",|
                             "\"finish_reason\":\"stop\"}]}\n\n"],|
                         [5, {"base64": "ZGF0YTogW0RPTkVdCgo="}]]}}
{"request": {"method": "GET", "path": "/models"},|
 "response": {"body": {"data": [{"id": "x"}]}}}]==]):gsub("|\n", " ")))
    local client = player()
    local function send(prompt, given)
      local reply, err = opperchat.conversation { client = client, model = "m",
        include_usage = false }:send(prompt, given)
      return reply or err
    end
    assert.equal("connection_lost", send("a").code)
    local err = send("b")
    assert.equal(429, err.status)
    assert.equal("slow", err.message)
    assert.equal("Hi", send("c", { stream = true }).content)
    assert.equal("x", assert(client:models())[1].id)
    assert.same({}, client:replay_left())
  end)

  it("says which line is wrong", function()
    local good = '{"opperchat_tape":1}\n'
    for text, wanted in pairs {
      [""] = "no tape",
      ["hello\n"] = "no tape",
      ['{"request":{},"response":{}}\n'] = "no tape",
      ['{"opperchat_tape":2}\n'] = "line 1: version 2",
      [good .. "{\n"] = "line 2: ",
      [good .. "\n{}{}\n"] = "line 3: ",
      [good .. "[]\n"] = "line 2: the line: an object expected",
      [good .. '{"request":{}}\n'] = '"response" or "error" expected',
      [good .. '{"request":{"path":7},"response":{}}\n'] = "request.path: a string expected",
      [good .. '{"request":{},"response":{"chunks":7}}\n'] = "response.chunks: a list expected",
      [good .. '{"request":{},"response":{"chunks":[[0,7]]}}\n'] = "response.chunks",
      [good .. '{"request":{},"response":{"chunks":[[0,{"base64":"a"}]]}}\n'] = "valid base64",
      [good .. '{"request":{},"response":{"headers":{"a":"b\\r\\nc: d"}}}\n'] = "of one line",
      [good .. '{"request":{},"error":{"code":"whatever"}}\n'] = "error.code",
      [good .. '{"request":{},"error":{"code":"locked"}}\n'] = "error.code",
      [good .. '{"request":{},"response":{"status":"200"}}\n'] = "response.status",
      [good .. '{"request":{},"response":{"chunks":[[0,"a"]],"body":"b"}}\n'] = "and not both",
    } do
      write(path, text)
      assert.error_matches(function() player() end, wanted, 1, true)
    end
    os.remove(path)
    assert.error_matches(function() player() end,
      "client: option 'replay': " .. path .. ": no such file", 1, true)
    assert.error_matches(function()
      opperchat.client { record = "/no/such/folder/tape" }
    end, "client: option 'record': /no/such/folder/tape: ", 1, true)
  end)

  it("is read whatever is in it", function()
    server:stream({ HELLO, STOP, sse.done }, { pause = 0.01 })
    streamed(recorder())
    local text = read(path)
    math.randomseed(7)
    for _ = 1, 300 do
      local at = math.random(#text)
      local kind = math.random(3)
      local broken = text:sub(1, at - 1)
        .. (kind == 1 and "" or kind == 2 and string.char(math.random(0, 255)) or '"')
        .. text:sub(at + (kind == 3 and 0 or 1))
      write(path, broken)
      local worked, client = pcall(player)
      if worked then
        streamed(client)
      else
        assert.truthy(client:find("option 'replay'", 1, true), client)
      end
    end
  end)

  it("needs no key and no network", function()
    local client = recorder()
    assert(chat_of(client):send("Hello"))
    client:close()
    -- Opper's own host, which refuses whoever has no key
    client = opperchat.client {
      replay = path, base_url = "https://api.opper.ai/v3/compat",
      api_key = function() error("asked for a key") end,
    }
    assert.equal("ok", assert(chat_of(client):send("Hello")).content)
    assert.equal(1, #server:requests())
  end)

  it("opens no socket when it is played", function()
    if not shell.succeeds("strace -o /dev/null true") or os.getenv("ASAN_OPTIONS")
        or os.getenv("OPPERCHAT_SLOW") then
      pending("needs strace")
      return
    end
    assert(chat_of(recorder()):send("Hello"))
    local trace = os.tmpname()
    local output = shell.run_lua(([[
      local opperchat = require "opperchat"
      local chat = opperchat.conversation {
        client = opperchat.client { replay = %q }, model = "test/model", system = "Be brief.",
      }
      print(assert(chat:send("Hello")).content)
    ]]):format(path), shell.env() .. " strace -f -e trace=network -o " .. trace)
    assert.equal("ok\n", output)
    local calls = read(trace)
    -- libcurl wakes itself up with a pair of sockets that lead nowhere
    calls = calls:gsub("[^\n]*socketpair%(AF_UNIX[^\n]*\n", "")
    for _, name in ipairs { "socket%(", "connect%(", "sendto%(", "bind%(", "AF_INET" } do
      assert.falsy(calls:find(name), calls)
    end
    os.remove(trace)
  end)

  describe("holds no secrets:", function()
    local function recorded(given, chat_given, prompt)
      local client = recorder(given)
      sent(client, prompt or "Hello", chat_given)
      client:close()
      return read(path)
    end

    it("the key, wherever it stands", function()
      server:reply { body = completion("you said " .. KEY), headers = {
        ["X-Echo"] = "Bearer " .. KEY, ["X-Api-Key"] = KEY, ["Set-Cookie"] = "a=" .. KEY,
      } }
      local text = recorded({ tags = { mine = "x" }, name = "bot" }, nil, "My key is " .. KEY)
      assert.falsy(text:find("5ecret", 1, true))
      assert.falsy(text:lower():find("cookie", 1, true))
      assert.falsy(text:lower():find("authorization", 1, true))
      local line = lines_of(path)[2]
      assert.equal("My key is <redacted>", line.request.body.messages[2].content)
      assert.equal("you said <redacted>", line.response.body.choices[1].message.content)
      assert.equal("<redacted>", line.response.headers["x-echo"])
      assert.is_nil(line.response.headers["x-api-key"])
      assert.same({ ["content-type"] = "application/json", ["x-opper-name"] = "bot",
        ["x-opper-tags"] = "mine:x" }, line.request.headers)
      -- the same prompt is the same request, with any key and with none
      assert.equal("you said <redacted>", sent(player(), "My key is " .. KEY).reply.content)
    end)

    it("keys of headers and functions", function()
      local text = recorded({
        headers = { ["X-Api-Key"] = "header.SECRET.0815", Cookie = "session.SECRET" },
        api_key = function() return "function.SECRET.4711" end,
      }, nil, "a header.SECRET.0815 b function.SECRET.4711 c session.SECRET")
      assert.falsy(text:find("SECRET", 1, true), text)
      assert.truthy(text:find("a <redacted> b <redacted> c <redacted>", 1, true), text)
    end)

    it("what looks like a key", function()
      local prompt = "sk-abc123def456 (sk-proj-Abc_12-34567890) op-0123456789abcdef. "
        .. "Authorization: Bearer eyJhbGciOi.J9x and BEARER 0123456789; ghp_0123456789abcdefABCD"
      local text = recorded(nil, nil, prompt)
      assert.equal("<redacted> (<redacted>) <redacted>. Authorization: Bearer <redacted> and "
        .. "BEARER <redacted>; <redacted>", lines_of(path)[2].request.body.messages[2].content)
      assert.falsy(text:find("abc123", 1, true))
    end)

    it("and words stay", function()
      local prompt = "A risk-management task-force, co-op-erative bearer of news; sk-learn; "
        .. "op-ed-writers-everywhere, bearer bonds"
      recorded(nil, nil, prompt)
      assert.equal(prompt, lines_of(path)[2].request.body.messages[2].content)
    end)

    it("a key that comes in pieces", function()
      local pieces = { "Your key: ", KEY:sub(1, 5), KEY:sub(6, 11), KEY:sub(12), " bye" }
      local events = {}
      for i, piece in ipairs(pieces) do
        events[i] = sse.text(piece)
      end
      events[#events + 1] = STOP
      server:stream(events, { pause = 0.01 })
      local client = recorder()
      streamed(client)
      client:close()
      local text = read(path)
      for i = 2, 4 do
        assert.falsy(text:find(pieces[i], 1, true), text)
      end
      assert.equal("Your key: <redacted> bye", streamed(player()).reply.content)
      -- and cut by the network
      os.remove(path)
      server:script {
        { "send", EVENTS .. 'data: {"choices":[{"delta":{"content":"' .. KEY:sub(1, 9) },
        { "sleep", 0.03 },
        { "send", KEY:sub(10) .. '"},"finish_reason":"stop"}]}\n\n' }, { "close" },
      }
      streamed(recorder())
      assert.falsy(read(path):find(KEY:sub(1, 9), 1, true))
      assert.equal("<redacted>", streamed(player()).reply.content)
    end)

    it("in the file of nobody else", function()
      recorded()
      local pipe = io.popen("ls -l " .. path)
      assert.truthy(pipe:read("*a"):find("^%-rw%-%-%-%-%-%-%-"))
      pipe:close()
    end)
  end)

  it("goes on where it ended", function()
    assert(chat_of(recorder()):send("one"))
    write(path, read(path):sub(1, -2))
    assert(chat_of(recorder()):send("two"))
    local lines = lines_of(path)
    assert.equal(3, #lines)
    assert.equal(1, lines[1].opperchat_tape)
    assert.equal("two", lines[3].request.body.messages[2].content)
  end)

  it("is shared by clients without a line in a line", function()
    local clients, left = {}, 0
    for i = 1, 4 do
      clients[i] = recorder()
    end
    for i = 1, 40 do
      left = left + 1
      chat_of(clients[i % 4 + 1]):start("text " .. i .. ("x"):rep(20000), {
        on_done = function() left = left - 1 end,
      })
    end
    while left > 0 do
      opperchat.poll(1)
    end
    assert.equal(41, #lines_of(path))
    assert.equal(40, #player():replay_left())
  end)

  it("that cannot be written ends no request", function()
    local full = io.open("/dev/full", "w")
    if not full then
      pending("needs /dev/full")
      return
    end
    full:close()
    -- a file of a size that must not grow
    write(path, '{"opperchat_tape":1}\n' .. (" "):rep(1020) .. "\n")
    local text = shell.run_lua(([[
      local opperchat = require "opperchat"
      local client = opperchat.client { base_url = %q, record = %q, api_key = "" }
      local chat = opperchat.conversation { client = client, model = "m" }
      print(assert(chat:send("Hello")).content)
      print(client:close())
    ]]):format(server.url, path), "trap '' XFSZ; ulimit -f 1; unset LD_PRELOAD; ")
    if os.getenv("ASAN_OPTIONS") then
      return
    end
    assert.truthy(text:find("^ok\nnil\tstore error %(write_failed%)"), text)
  end)

  it("checks its options", function()
    for wanted, given in pairs {
      ["one of them expected"] = { record = "a", replay = "b" },
      ["option 'replay_speed': means nothing without 'replay'"] = { replay_speed = 1 },
      ["option 'replay_match': means nothing without 'replay'"] = { replay_match = "order" },
      ["option 'replay_speed': number > 0 or \"instant\" expected"] = {
        replay = path, replay_speed = 0,
      },
      ["option 'replay_match': \"exact\" or \"order\" expected"] = {
        replay = path, replay_match = "any",
      },
      ["option 'record'"] = { record = "" },
    } do
      assert.error_matches(function() opperchat.client(given) end, wanted, 1, true)
    end
    assert.is_nil(core.client_left(client_with({}, { base_url = NOWHERE })))
  end)

  it("gives random streams back as they were", function()
    local random = math.random
    math.randomseed(42)
    local letters = { "a", "\195\169", "\226\130\172", "\240\159\152\128", "\\n", " ", "\\u00e9",
      "\\ud83d\\ude00", "<", "&" }
    for round = 1, 12 do
      local events = {}
      for _ = 1, random(1, 25) do
        local text = {}
        for i = 1, random(0, 12) do
          text[i] = letters[random(#letters)]
        end
        local kind = random(10)
        if kind == 1 then
          events[#events + 1] = ": ping\n\n"
        elseif kind == 2 then
          events[#events + 1] = sse.delta('{"reasoning_content":"' .. table.concat(text) .. '"}')
        elseif kind == 3 then
          events[#events + 1] = sse.calls(sse.call(random(0, 2), nil, "f" .. random(2), "{}"))
        else
          events[#events + 1] = sse.text(table.concat(text))
        end
      end
      events[#events + 1] = random(5) > 1 and STOP or nil
      events[#events + 1] = random(5) > 1 and sse.usage_chunk or nil
      events[#events + 1] = random(5) > 1 and sse.done or nil
      local bytes = table.concat(events)
      local steps = { { "send", EVENTS } }
      local at = 1
      while at <= #bytes do
        local count = random(4) == 1 and random(3) or random(200)
        steps[#steps + 1] = { "send", bytes:sub(at, at + count - 1) }
        at = at + count
        if random(3) == 1 then
          steps[#steps + 1] = { "sleep", random(0, 4) / 1000 }
        end
      end
      steps[#steps + 1] = { random(6) == 1 and "reset" or "close" }
      server:reset()
      server:script(steps)
      os.remove(path)
      same(function(client)
        return streamed(client, "round " .. round)
      end, nil, round % 3 == 0 and 1 or "instant")
    end
  end)
end)
