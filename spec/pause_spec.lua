-- A stream whose reader is slow: what waits for it is limited, and the
-- transfer pauses until it has been taken.

local core = require "opperchat.core"
local opperchat = require "opperchat"
local Server = require "spec.support.server"
local sse = require "spec.support.sse"
local with = require "spec.support.with"
local poll_until = require "spec.support.poll_until"

local SLOW = os.getenv("OPPERCHAT_SLOW") or os.getenv("OPPERCHAT_GC") or os.getenv("ASAN_OPTIONS")

-- What may wait for a reader. It stops within a piece of the transfer of that.
local LIMIT, PIECE, SLACK = 100000, 5000, 40000
local COUNT = 600                     -- pieces of an answer: 3 MB

local server = Server.for_tests()
local client

local function new_client(more)
  return opperchat.client(with({
    base_url = server.url, api_key = "k", max_buffered_bytes = LIMIT, max_retries = 0,
  }, more))
end

local function converse(own)
  return opperchat.conversation { client = own or client, model = "m" }
end

-- Piece `i` of the answer; all are different.
local function piece(i)
  local number = ("%d "):format(i)
  return number .. ("x"):rep(PIECE - #number)
end

local answer = {}
for i = 1, COUNT do
  answer[i] = piece(i)
end
answer = table.concat(answer)

-- Queues a large answer; `wrap` makes an event of a piece, `count`: so many.
local function flood(wrap, count, last)
  local steps, bytes = { { "send", sse.head } }, {}
  for i = 1, count or COUNT do
    bytes[#bytes + 1] = (wrap or sse.text)(piece(i))
    if i % 20 == 0 then
      steps[#steps + 1] = { "send", table.concat(bytes) }
      bytes = {}
    end
  end
  steps[#steps + 1] = { "send", table.concat(bytes) .. (last or sse.finish() .. sse.done) }
  steps[#steps + 1] = { "close" }
  server:script(steps)
end

-- Lets the client read for a while, without telling anybody.
local function step(seconds)
  local deadline = core.now() + (seconds or 0.15)
  repeat
    core.step(client, 0.01, true)
  until core.now() >= deadline
end

local function is_bounded(request, taken)
  local waiting = #request:content() - taken
  assert.is_true(waiting >= LIMIT - SLACK, waiting .. " bytes are not enough to pause")
  assert.is_true(waiting <= LIMIT + SLACK, waiting .. " bytes wait")
end

describe("a stream whose reader is slow", function()
  before_each(function()
    client = new_client()
  end)

  after_each(function()
    client:close()
  end)

  it("waits for a loop, and goes on", function()
    flood()
    local chat = converse()
    local parts, taken, pauses = {}, 0, 0
    local request = chat:stream("Hi")
    for text in request do
      parts[#parts + 1] = text
      taken = taken + #text
      if #parts % 20 == 1 and request:state() == "receiving" and taken < #answer - 2 * LIMIT then
        step(0.1)
        is_bounded(request, taken)
        pauses = pauses + 1
      end
    end
    assert.is_true(pauses > 1, pauses)
    assert.equal(answer, table.concat(parts))
    assert.equal(2, #chat)
    assert.equal(answer, chat:last().content)
  end)

  it("waits for handlers", function()
    flood()
    local parts, is_done = {}, false
    local request = assert(converse():start("Hi", {
      on_delta = function(text) parts[#parts + 1] = text end,
      on_done = function(reply) is_done = reply ~= nil end,
    }))
    step()
    is_bounded(request, 0)
    -- polled once it is told, and reads on
    opperchat.poll { budget = false }
    step()
    is_bounded(request, #table.concat(parts))
    poll_until(function() return is_done end)
    assert.equal(answer, table.concat(parts))
  end)

  it("waits while a handler of another one does", function()
    flood()
    local flooded, size, parts = nil, nil, {}
    server:script { { "send", sse.head .. sse.text("a") }, { "sleep", 0.2 },
      { "send", sse.text("b") .. sse.finish() .. sse.done }, { "close" } }
    flooded = assert(converse():start("Hi", { on_delta = function(text)
      parts[#parts + 1] = text
      if not size then
        assert.equal("ab", assert(converse():send("Hi", { stream = true })).content)
        size = #flooded:content() - #text
      end
    end }))
    assert(flooded:wait())
    assert.is_true(size <= LIMIT + SLACK, size)
    assert.equal(answer, table.concat(parts))
  end)

  it("waits for calls and reasoning that are to be told, too", function()
    for _, row in ipairs {
      { "reasoning", function(text)
        return sse.delta('{"reasoning_content":"' .. text .. '"}')
      end },
      { "tool_call", function(text) return sse.calls(sse.call(0, nil, nil, text)) end },
    } do
      server:reset()
      flood(function(text)
        return text:find("^1 ") and sse.calls(sse.call(0, "call_1", "f", "")) .. row[2](text)
          or row[2](text)
      end, nil, sse.finish("tool_calls") .. sse.done)
      local size = 0
      local request = assert(converse():start("Hi", { on_event = function(event)
        if event.type == row[1] then
          size = size + #(event.text or event.arguments)
        end
      end }))
      step()
      assert.equal("receiving", request:state())
      assert.equal(0, size)
      opperchat.poll { budget = false }
      assert.is_true(size >= LIMIT and size <= 2 * LIMIT + 2 * SLACK, size)
      poll_until(function() return client:active() == 0 end)
      assert.equal(#answer, size)
      client:close()
      client = new_client()
    end
  end)

  it("waits for the tasks that read it", function()
    flood(function(text)
      local number = tonumber(text:match("%d+"))
      -- much that is no text, and a text at the end
      return number == COUNT and sse.text("end")
        or sse.delta('{"reasoning_content":"' .. text .. '"}')
    end)
    flood()
    local first, parts, longest = nil, {}, 0
    opperchat.go(function()
      first = converse():stream("Hi")()
    end)
    local request
    opperchat.go(function()
      request = converse():stream("Hi")
      local text = request()
      while text do
        parts[#parts + 1] = text
        if #parts < 8 then
          local before = #table.concat(parts)
          opperchat.sleep(0.05)
          longest = math.max(longest, #request:content() - before)
        end
        text = request()
      end
    end)
    poll_until(function() return client:active() == 0 end)
    assert.equal("end", first)
    assert.equal(answer, table.concat(parts))
    assert.is_true(longest >= LIMIT - SLACK and longest <= LIMIT + SLACK, longest)
  end)

  it("does not wait for somebody who wants the whole", function()
    flood()
    local chat = converse()
    local request = assert(chat:start("Hi"))
    local deadline = core.now() + 20
    while not core.has_ended(request) and core.now() < deadline do
      core.step(client, 0.01, true)
    end
    assert.equal(answer, request:content())
    assert.equal(answer, assert(request:wait()).content)
    flood()
    assert.equal(answer, assert(converse():send("Hi", { stream = true })).content)
    -- or has read enough of it
    flood()
    request = converse():stream("Hi")
    assert.equal(piece(1):sub(1, 10), request():sub(1, 10))
    step(0.05)
    assert.equal(answer, assert(request:wait()).content)
    flood()
    local reply
    opperchat.go(function()
      request = converse():stream("Hi")
      request()
      opperchat.sleep(0.05)
      reply = request:wait()
    end)
    poll_until(function() return reply end)
    assert.equal(answer, reply.content)
  end)

  it("is not taken for a silent one", function()
    client:close()
    client = new_client { timeout = { idle = 0.3 } }
    flood()
    local request = converse():stream("Hi")
    local parts = { request() }
    step(0.7)
    assert.equal("receiving", request:state())
    is_bounded(request, #parts[1])
    for text in request do
      parts[#parts + 1] = text
    end
    assert.equal(answer, table.concat(parts))
    -- which still ends when it goes on in silence
    server:script { { "send", sse.head .. sse.text(piece(1):rep(30)) .. sse.text("x") },
      { "stall" } }
    request = converse():stream("Hi")
    request()
    step(0.5)
    local began = core.now()
    local ok, err = pcall(function()
      for _ in request do end
    end)
    assert.is_false(ok)
    assert.equal("idle_timeout", err.code)
    assert.is_true(core.now() - began < (SLOW and 2 or 0.6), core.now() - began)
  end)

  it("has no more than all of its time", function()
    client:close()
    client = new_client { timeout = { total = 0.3 } }
    flood()
    local request = converse():stream("Hi")
    request()
    step(0.5)
    assert.equal("failed", request:state())
    local _, err = request:wait()
    assert.equal("total_timeout", err.code)
    assert.is_true(#err.partial.content >= LIMIT)
  end)

  it("can be ended, and its connection used no more", function()
    for _, how in ipairs { "request", "chat", "client", "nobody" } do
      server:reset()
      flood()
      local own = how == "client" and new_client() or client
      local chat = converse(own)
      local request = chat:stream("Hi")
      local first = request()
      local deadline = core.now() + 0.1
      repeat
        core.step(own, 0.01, true)
      until core.now() >= deadline
      is_bounded(request, #first)
      local began = core.now()
      if how == "request" then
        request:cancel()
      elseif how == "chat" then
        chat:cancel()
      elseif how == "client" then
        own:close()
      else
        request:cancel()
        request = nil -- luacheck: ignore
        collectgarbage()
      end
      assert.is_true(core.now() - began < (SLOW and 1 or 0.05))
      assert.equal(0, own:active())
      -- the handle that was paused serves the next one
      server:reset()
      for i = 1, 3 do
        local again = converse()
        assert.equal("ok", assert(again:send("Hi " .. i, { stream = true })).content)
        assert.equal("ok", assert(again:send("Hi " .. i)).content)
      end
    end
  end)

  it("fails while it goes on, like any other", function()
    client:close()
    client = new_client { max_response_bytes = 2 * LIMIT }
    flood()
    local request = converse():stream("Hi")
    request()
    step(0.05)
    local ok, err = pcall(function()
      for _ in request do end
    end)
    assert.is_false(ok)
    assert.equal("response_too_large", err.code)
    assert.equal(0, client:active())
    -- or breaks off
    client:close()
    client = new_client()
    flood(nil, 100, sse.text("last"))
    request = converse():stream("Hi")
    local size = #request()
    step(0.05)
    ok, err = pcall(function()
      for text in request do
        size = size + #text
      end
    end)
    assert.is_false(ok)
    assert.equal("truncated", err.kind)
    assert.equal(100 * PIECE + 4, size)
  end)

  it("may have any limit", function()
    for _, limit in ipairs { 1, 1000, 1e9 } do
      client:close()
      client = new_client { max_buffered_bytes = limit }
      flood(nil, 100)
      local size = 0
      for text in converse():stream("Hi") do
        size = size + #text
      end
      assert.equal(100 * PIECE, size)
      flood(nil, 100)
      size = 0
      assert(converse():send("Hi", { on_delta = function(text) size = size + #text end }))
      assert.equal(100 * PIECE, size)
    end
  end)

  it("is not slower for it when there are many", function()
    local requests, done = {}, 0
    for i = 1, 20 do
      flood(nil, 200)
      requests[i] = assert(converse():start("Hi", {
        on_delta = function() end, on_done = function(reply) done = done + (reply and 1 or 0) end,
      }))
    end
    local deadline = core.now() + 30
    while client:active() > 0 and core.now() < deadline do
      client:poll { seconds = 0.01, budget = 1e-6 }
      for i = 1, 20 do
        assert.is_true(#requests[i]:content() <= 200 * PIECE)
      end
    end
    assert.equal(20, done)
  end)
end)
