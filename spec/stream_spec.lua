-- Streams as servers really send them: each must end in a reply or in a named
-- error, never in a Lua error and never with something silently lost.
--
-- spec/c/test_stream.c splits such streams at every byte. Here they come over
-- a real connection: whole, split at some places, and byte by byte.

local opperchat = require "opperchat"
local core = require "opperchat.core"
local Server = require "spec.support.server"
local sse = require "spec.support.sse"
local with = require "spec.support.with"

local text, call, calls, finish = sse.text, sse.call, sse.calls, sse.finish
local HELLO = text("Hel") .. text("lo")
local STOP, DONE = finish("stop"), sse.done

local function with_line_ends(bytes, line_end)
  return (bytes:gsub("\n", line_end))
end

-- What a stream is expected to end in: `content`, `calls` ("id name arguments"
-- each, "?" for an id of our own), `reasoning`, `refusal`, `finish`, `total`;
-- with `kind` and `code` an error, and the rest is what err.partial has.
local rows = {
  -- the table of field-notes: what broke other libraries
  { "plain, LF", HELLO .. STOP .. DONE, content = "Hello" },
  { "CRLF", with_line_ends(HELLO .. STOP .. DONE, "\r\n"), content = "Hello" },
  { "bare CR", with_line_ends(HELLO .. STOP .. DONE, "\r"), content = "Hello" },
  { "byte order mark first", "\239\187\191" .. HELLO .. STOP .. DONE, content = "Hello" },
  { "no space after data:", (HELLO .. STOP .. DONE):gsub("data: ", "data:"), content = "Hello" },
  { "data in several lines", (HELLO .. STOP):gsub('"choices":', '\ndata: "choices":\ndata:')
    .. DONE, content = "Hello" },
  { "data in several lines, CRLF", with_line_ends((HELLO .. STOP):gsub('"choices":',
    '\ndata: "choices":\ndata:') .. DONE, "\r\n"), content = "Hello" },
  { "last event without a newline", text("He") .. sse.line('{"index":0,"delta":{"content":"llo"},'
    .. '"finish_reason":"stop"}'), content = "Hello" },
  { "error in the middle", text("He") .. 'data: {"error":{"message":"upstream died",'
    .. '"code":"upstream"}}\n\n', content = "He", kind = "api", code = "upstream" },
  { "early end without a finish_reason", text("partial ") .. text("answer"),
    content = "partial answer", kind = "truncated", code = "truncated" },
  { "bad JSON in the middle", text("A") .. "data: {\"choices\":[{\n\n" .. text("B") .. STOP .. DONE,
    content = "A", kind = "protocol", code = "bad_json" },
  { "content null", sse.delta('{"content":null}') .. HELLO .. sse.delta('{"content":null}')
    .. STOP .. DONE, content = "Hello" },
  { "tool_calls null", sse.delta('{"content":"Hello","tool_calls":null}') .. STOP .. DONE,
    content = "Hello" },
  { "arguments with name null", calls(call(0, "a", "f", "")) .. calls(
    '{"index":0,"id":null,"function":{"name":null,"arguments":"{}"}}') .. finish("tool_calls")
    .. DONE, calls = { "a f {}" }, finish = "tool_calls" },
  { "the name repeated", calls(call(0, "a", "f", "{")) .. calls(call(0, nil, "f", "}"))
    .. finish("tool_calls") .. DONE, calls = { "a f {}" }, finish = "tool_calls" },
  { "two calls with index 0", calls(call(0, "a", "f", "{}")) .. calls(call(0, "b", "g", "{}"))
    .. finish("tool_calls") .. DONE, calls = { "a f {}", "b g {}" }, finish = "tool_calls" },
  { "calls from index 1", calls(call(1, "a", "f", "{")) .. calls(call(1, nil, nil, "}"))
    .. finish("tool_calls") .. DONE, calls = { "a f {}" }, finish = "tool_calls" },
  { "index null", calls('{"index":null,"id":"a","function":{"name":"f","arguments":"{}"}}')
    .. finish("tool_calls") .. DONE, calls = { "a f {}" }, finish = "tool_calls" },
  { "delta null", sse.delta("null") .. HELLO .. STOP .. DONE, content = "Hello" },
  { "no object field", 'data: {"choices":[{"delta":{"content":"Hello"}}]}\n\n'
    .. 'data: {"choices":[{"finish_reason":"stop"}]}\n\n' .. DONE, content = "Hello" },

  -- endings
  { "no [DONE]", HELLO .. STOP, content = "Hello" },
  { "[DONE] without a finish_reason", HELLO .. DONE, content = "Hello", kind = "truncated",
    code = "truncated" },
  { "nothing but [DONE]", DONE, kind = "truncated", code = "truncated" },
  { "nothing but comments", ": a\n\n: b\n\n", kind = "truncated", code = "truncated" },
  { "an empty answer", sse.delta('{"role":"assistant","content":""}') .. STOP .. DONE,
    content = "" },
  { "cut within an event", text("Hel") .. sse.line('{"index":0,"delta":{"content":"lo'),
    content = "Hel", kind = "truncated", code = "truncated" },
  { "cut within the usage chunk", HELLO .. STOP .. sse.usage_chunk:sub(1, -20),
    content = "Hello", kind = "truncated", code = "truncated" },
  { "comments and pings", ": PROCESSING\n\nevent: ping\ndata: {}\n\n" .. HELLO .. ":\n\n" .. STOP
    .. DONE, content = "Hello" },

  -- usage
  { "usage on a chunk of its own", HELLO .. STOP .. sse.usage_chunk .. DONE, content = "Hello",
    total = 11 },
  { "usage with the finish_reason", HELLO .. finish("stop", "," .. sse.usage) .. DONE,
    content = "Hello", total = 11 },
  { "usage null until the end", sse.delta('{"content":"Hello"}', ',"usage":null') .. STOP
    .. sse.usage_chunk .. DONE, content = "Hello", total = 11 },

  -- texts
  { "a surrogate pair in two chunks", text("a\\ud83d") .. text("\\ude00b") .. STOP .. DONE,
    content = "a\240\159\152\128b" },
  { "half a surrogate pair", text("a\\ud83d") .. text("b") .. STOP .. DONE,
    content = "a\239\191\189b" },
  { "a character in three chunks", text("h\226") .. text("\130") .. text("\172!") .. STOP .. DONE,
    content = "h\226\130\172!" },
  { "bytes that are no UTF-8", text("a\255b") .. STOP .. DONE, content = "a\239\191\189b" },
  { "a NUL", text("a\\u0000b") .. STOP .. DONE, content = "a\0b" },
  { "reasoning", sse.delta('{"reasoning_content":"hm"}') .. sse.delta('{"reasoning_content":"m"}')
    .. HELLO .. STOP .. DONE, content = "Hello", reasoning = "hmm" },
  { "refusal", sse.delta('{"refusal":"I "}') .. sse.delta('{"refusal":"won\'t"}') .. STOP .. DONE,
    refusal = "I won't" },

  -- tool calls
  { "two calls, one after the other", calls(call(0, "a", "f", "")) .. calls(call(0, nil, nil, "{"))
    .. calls(call(0, nil, nil, "}")) .. calls(call(1, "b", "g", "")) .. calls(call(1, nil, nil,
    '{"x":1}')) .. finish("tool_calls") .. DONE, calls = { "a f {}", 'b g {"x":1}' },
    finish = "tool_calls" },
  { "two calls, side by side", calls(call(0, "a", "f", "") .. "," .. call(1, "b", "g", ""))
    .. calls(call(0, nil, nil, '{"y":')) .. calls(call(1, nil, nil, '{"x":'))
    .. calls(call(0, nil, nil, "2}")) .. calls(call(1, nil, nil, "1}")) .. finish("tool_calls")
    .. DONE, calls = { 'a f {"y":2}', 'b g {"x":1}' }, finish = "tool_calls" },
  { "calls without ids", calls(call(0, "", "f", "{}") .. "," .. call(1, "", "f", "{}"))
    .. finish("tool_calls") .. DONE, calls = { "? f {}", "? f {}" }, finish = "tool_calls" },
  { "an id that comes late", calls(call(0, nil, "f", "{")) .. calls(call(0, "a", nil, "}"))
    .. finish("tool_calls") .. DONE, calls = { "a f {}" }, finish = "tool_calls" },
  { "arguments as an object", calls('{"index":0,"id":"a","function":{"name":"f","arguments":'
    .. '{"x":1}}}') .. finish("tool_calls") .. DONE, calls = { 'a f {"x":1}' },
    finish = "tool_calls" },
  { "text and a call", text("Wait.") .. calls(call(0, "a", "f", "{}")) .. finish("tool_calls")
    .. DONE, content = "Wait.", calls = { "a f {}" }, finish = "tool_calls" },
  { "a call cut short", calls(call(0, "a", "f", '{"x":')), calls = { 'a f {"x":' },
    kind = "truncated", code = "truncated" },

  -- errors in all shapes
  { "an error text", text("He") .. 'data: {"error":"died"}\n\n' .. DONE, content = "He",
    kind = "api", code = "api_error" },
  { "an error event", text("He") .. 'event: error\ndata: {"message":"died","code":"x"}\n\n',
    content = "He", kind = "api", code = "x" },
  { "an error event that is no JSON", text("He") .. "event: error\ndata: died\n\n",
    content = "He", kind = "api", code = "api_error" },
  { "an error of the native API", text("He") .. 'data: {"type":"error","error":"died"}\n\n',
    content = "He", kind = "api", code = "api_error" },
  { "a numeric code", text("He") .. 'data: {"error":{"message":"died","code":502}}\n\n',
    content = "He", kind = "api", code = "502" },
  { "an error behind the finish_reason", HELLO .. STOP
    .. 'data: {"error":{"message":"guard","code":"blocked"}}\n\n', content = "Hello",
    kind = "api", code = "blocked" },
  { "an error at once", 'data: {"error":{"message":"no","code":"x"}}\n\n', kind = "api",
    code = "x" },
}

-- What is tested here is one try.

local server = Server.for_tests()
local client

local function converse(more)
  return opperchat.conversation(with({ client = client, model = "m" }, more))
end

-- Sends a prompt; gathers what handlers are told until the end.
local function listen()
  local chat = converse()
  local told = { delta = "", content = "", reasoning = "", refusal = "", calls = {}, endings = 0 }
  local request = assert(chat:start("Hi", {
    on_delta = function(piece)
      assert(piece ~= "" and #piece <= 65536)
      told.delta = told.delta .. piece
    end,
    on_event = function(event)
      local piece = event.text or event.arguments
      assert(#piece <= 65536 and not piece:find("^[\128-\191]"))
      if event.type == "tool_call" then
        local known = told.calls[event.index] or { id = "", name = "", arguments = "" }
        told.calls[event.index] = known
        known.id = event.id or known.id
        known.name = event.name or known.name
        known.arguments = known.arguments .. event.arguments
      else
        told[event.type] = told[event.type] .. event.text
      end
    end,
    on_done = function(reply, err)
      told.endings = told.endings + 1
      told.reply, told.err = reply, err
    end,
  }))
  local deadline = core.now() + 20
  while told.endings == 0 and core.now() < deadline do
    opperchat.poll(1)
  end
  return told, chat, request
end

local function describe_calls(list, arguments)
  local result = {}
  for i, one in ipairs(list or {}) do
    local id = one.id:find("^call_%x+$") and "?" or one.id
    result[i] = id .. " " .. one.name .. " " .. one[arguments]
  end
  return result
end

local function check(row, how)
  local told, chat, request = listen()
  local where = row[1] .. ", " .. how
  local reply, err = told.reply, told.err
  assert.equal(1, told.endings, where)
  if row.kind then
    assert.is_nil(reply, where)
    assert.equal(row.kind, err.kind, where .. ": " .. tostring(err))
    assert.equal(row.code, err.code, where)
    assert.equal("failed", request:state(), where)
    assert.equal(0, #chat, where)
    reply = err.partial
    assert.equal(not (row.content or row.calls), reply == nil, where)
    reply = reply or {}
  else
    assert.is_nil(err, where .. ": " .. tostring(err))
    assert.equal(row.finish or "stop", reply.finish_reason, where)
    assert.equal("done", request:state(), where)
    assert.equal(2, #chat, where)
    assert.equal(row.total, reply.usage and reply.usage.total_tokens, where)
  end
  assert.equal(row.content, reply.content, where)
  assert.equal(row.reasoning, reply.reasoning, where)
  assert.equal(row.refusal, reply.refusal, where)
  assert.same(row.calls or {}, describe_calls(reply.tool_calls, "arguments_json"), where)
  assert.equal(row.content or "", told.delta, where)
  assert.equal(row.content or "", told.content, where)
  assert.equal(row.reasoning or "", told.reasoning, where)
  assert.equal(row.refusal or "", told.refusal, where)
  assert.same(row.calls or {}, describe_calls(told.calls, "arguments"), where)
  assert.equal(row.content or "", request:content(), where)
  return chat
end

describe("a stream", function()
  before_each(function()
    client = opperchat.client { base_url = server.url, api_key = "k", max_retries = 0 }
  end)

  after_each(function()
    client:close()
  end)

  for _, row in ipairs(rows) do
    it("comes whole: " .. row[1], function()
      server:stream { row[2] }
      local chat = check(row, "whole")
      if not row.kind and not row.calls then
        -- what was kept can be sent
        server:stream(sse.answer("ok"))
        assert(chat:send("Go on", { stream = true }))
      end
    end)
  end

  it("is told in pieces of at most 64 KB, in whole characters", function()
    local long = ("\226\130\172"):rep(100000)
    for _, shift in ipairs { "", "a", "ab" } do
      local given = shift .. long
      server:stream { text(given) .. sse.delta('{"reasoning":"' .. given .. '"}')
        .. calls(call(0, "a", "f", '["' .. given)) .. calls(call(0, nil, nil, '"]'))
        .. finish("tool_calls") .. DONE }
      local told = listen()
      assert.is_nil(told.err)
      assert.is_true(told.reply.content == given and told.delta == given
        and told.content == given and told.reasoning == given)
      assert.equal("f", told.calls[1].name)
      assert.is_true(told.calls[1].arguments == '["' .. given .. '"]')
    end
  end)

  it("is not told on once it was cancelled between two pieces", function()
    server:stream({ text(("x"):rep(300000)), STOP .. DONE }, { pause = 0.5 })
    local chat, heard, request = converse(), 0, nil
    request = assert(chat:start("Hi", { on_delta = function(piece)
      heard = heard + #piece
      request:cancel()
    end }))
    local _, err = request:wait()
    assert.equal("cancelled", err.kind)
    assert.is_true(heard <= 65536)
  end)

  it("comes split in two", function()
    for index, row in ipairs(rows) do
      local bytes = row[2]
      for i = 1, 4 do
        -- other places for each stream, but the same ones in each run
        local at = (index * 7919 + i * 104729) % (#bytes - 1) + 1
        server:stream({ bytes:sub(1, at), bytes:sub(at + 1) }, { pause = 0.001 })
        check(row, "split at " .. at)
      end
    end
  end)

  it("comes byte by byte", function()
    for _, row in ipairs(rows) do
      local pieces = {}
      for byte in row[2]:gmatch(".") do
        pieces[#pieces + 1] = byte
      end
      server:stream(pieces)
      check(row, "byte by byte")
    end
  end)

  it("comes without HTTP chunks, until the connection closes", function()
    for _, row in ipairs(rows) do
      local bytes = row[2]
      local at = math.floor(#bytes / 3)
      server:script { { "send", sse.head .. bytes:sub(1, at) }, { "sleep", 0.001 },
        { "send", bytes:sub(at + 1) }, { "close" } }
      check(row, "until the close")
    end
  end)

  it("is truncated when its connection closes within an HTTP chunk", function()
    server:script { { "send", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" },
      { "send", ("%x\r\n%s"):format(1000, HELLO) }, { "close" } }
    local told, chat = listen()
    assert.equal("truncated", told.err.kind)
    assert.equal("Hello", told.err.partial.content)
    assert.equal(0, #chat)
  end)

  it("is an error when its connection is reset", function()
    server:script { { "send", sse.head .. HELLO }, { "sleep", 0.05 }, { "reset" } }
    local told = listen()
    assert.truthy(told.err.kind == "network" or told.err.kind == "truncated", tostring(told.err))
    assert.equal("Hello", told.err.partial.content)
    assert.equal(1, told.endings)
  end)

  it("is over at [DONE], whether or not the server closes", function()
    server:script { { "send", "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
      .. HELLO .. STOP .. DONE }, { "stall" } }
    local began = core.now()
    local told = listen()
    assert.equal("Hello", told.reply.content)
    assert.truthy(core.now() - began < 2)
    -- and broken behind it
    server:script { { "send", sse.head .. HELLO .. STOP .. DONE }, { "reset" } }
    told = listen()
    assert.equal("Hello", told.reply and told.reply.content, tostring(told.err))
  end)

  it("may be a plain answer although a stream was asked for", function()
    server:reply { body = { choices = { { message = { role = "assistant", content = "Hello" },
      finish_reason = "stop" } } } }
    local told, chat = listen()
    assert.equal("Hello", told.reply.content)
    assert.equal("Hello", told.delta)
    assert.equal("Hello", told.content)
    assert.equal(2, #chat)
    assert.equal(true, server:requests()[1].json.stream)
    -- whatever it calls itself, and with white space first
    server:reply { headers = { ["Content-Type"] = "text/event-stream" },
      body = '\n\n {"choices":[{"message":{"content":"Hello"},"finish_reason":"stop"}]}' }
    told = listen()
    assert.equal("Hello", told.reply and told.reply.content, tostring(told.err))
  end)

  it("may be a stream although none was asked for", function()
    server:stream({ HELLO .. STOP .. DONE }, { headers = { ["Content-Type"] = "text/plain" } })
    local chat = converse()
    local reply = assert(chat:send("Hi"))
    assert.equal("Hello", reply.content)
    assert.is_nil(server:requests()[1].json.stream)
  end)

  it("may be an error status, before anything was told", function()
    server:reply { status = 429, body = { error = { message = "slow down", code = "rate_limit" } } }
    local told, chat = listen()
    assert.equal("rate_limit", told.err.code)
    assert.equal(429, told.err.status)
    assert.equal(true, told.err.retryable)
    assert.is_nil(told.err.partial)
    assert.equal("", told.delta)
    assert.equal(0, #chat)
    server:reply { status = 502, headers = { ["Content-Type"] = "text/html" },
      body = "<html><body>Bad gateway</body></html>" }
    told = listen()
    assert.equal("http", told.err.kind)
    assert.equal(502, told.err.status)
  end)

  it("may be nothing, or a page", function()
    server:stream {}
    assert.equal("protocol", listen().err.kind)
    server:reply { body = "" }
    assert.equal("protocol", listen().err.kind)
    server:reply { status = 204 }
    assert.equal("protocol", listen().err.kind)
    server:reply { headers = { ["Content-Type"] = "text/html" }, body = "<html>Hello</html>" }
    assert.equal("protocol", listen().err.kind)
    server:reply { body = "upstream connect error" }
    assert.truthy(listen().err)
  end)

  it("ends with an error when it is larger than allowed", function()
    client:close()
    client = opperchat.client { base_url = server.url, api_key = "k", max_response_bytes = 4000 }
    local pieces = {}
    for i = 1, 100 do
      pieces[i] = text("0123456789")
    end
    server:stream(pieces)
    local told, chat = listen()
    assert.equal("limit", told.err.kind)
    assert.truthy(#told.err.partial.content > 0)
    assert.equal(told.delta, told.err.partial.content)
    assert.equal(0, #chat)
  end)

  it("keeps a long answer whole", function()
    local pieces, expected = { sse.delta('{"role":"assistant","content":""}') }, {}
    for i = 1, 3000 do
      local piece = i % 100 == 0 and "\226\130\172" or "word " .. i
      pieces[#pieces + 1] = text(piece)
      expected[i] = piece
    end
    pieces[#pieces + 1] = STOP .. DONE
    server:stream(pieces)
    local told = listen()
    assert.truthy(table.concat(expected) == told.reply.content)
    assert.truthy(told.delta == told.reply.content)
  end)

  it("asks for usage unless told not to", function()
    server:stream(sse.answer("a")):stream(sse.answer("b")):stream(sse.answer("c"))
    assert(converse():send("1", { stream = true }))
    assert(converse { include_usage = false }:send("2", { stream = true }))
    assert(converse():send("3", { stream = true, include_usage = false }))
    local requests = server:requests()
    assert.equal(true, requests[1].json.stream_options.include_usage)
    assert.is_nil(requests[2].json.stream_options)
    assert.is_nil(requests[3].json.stream_options)
  end)
end)
