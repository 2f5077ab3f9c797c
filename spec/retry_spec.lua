-- Requests that are sent again: when, how often, what the program is told, and
-- which model or key is tried next.

local core = require "opperchat.core"
local opperchat = require "opperchat"
local Server = require "spec.support.server"
local shell = require "spec.support.shell"
local sse = require "spec.support.sse"
local with = require "spec.support.with"
local poll_until = require "spec.support.poll_until"
local completion = require "spec.support.completion"

local HEAD = sse.head

local server = Server.for_tests()
local client

local function new_client(more)
  return opperchat.client(with({ base_url = server.url, api_key = "k" }, more))
end

local function converse(more)
  return opperchat.conversation(with({ client = client, model = "m" }, more))
end

-- Queues an error that asks for a short wait; `more` are headers.
local function refuse(status, more, body)
  local headers = { ["retry-after-ms"] = "3" }
  for name, value in pairs(more or {}) do
    headers[name] = value or nil
  end
  for name, value in pairs(more or {}) do
    if value == false then
      headers[name] = nil
    end
  end
  server:reply { status = status, headers = headers,
    body = body or { error = { message = "no " .. status, code = "c" .. status } } }
end

local function complete(content, more)
  server:reply { body = completion.body(content, more) }
end

-- Three ways to send, each to the end of the request: fn(chat, prompt, options).
local ways = {
  blocking = function(chat, prompt, given)
    return chat:send(prompt, given)
  end,
  poll = function(chat, prompt, given)
    local request = assert(chat:start(prompt, given))
    poll_until(function() return client:active() == 0 end)
    return request:wait()
  end,
  go = function(chat, prompt, given)
    local reply, err
    local task = opperchat.go(function()
      reply, err = chat:send(prompt, given)
    end)
    task:wait()
    return reply, err
  end,
}

-- fn(way, options) for each of the ways, plain and streamed.
local function each_way(fn)
  for name, way in pairs(ways) do
    for _, is_stream in ipairs { false, true } do
      server:reset()
      fn(function(chat, prompt, more)
        local given = with({ stream = is_stream }, more)
        return way(chat, prompt, given)
      end, name .. (is_stream and ", streamed" or ""))
    end
  end
end

local function count()
  return #server:requests()
end

local function models_asked()
  local list = {}
  for i, request in ipairs(server:requests()) do
    list[i] = request.json.model
  end
  return table.concat(list, " ")
end

describe("a request is sent again", function()
  before_each(function()
    client = new_client()
  end)

  after_each(function()
    assert.equal(0, client:active())
    assert.equal(0, core.client_active(client))
    client:close()
  end)

  it("for the statuses that pass, and until one does", function()
    for _, status in ipairs { 408, 409, 429, 500, 502, 503, 504, 529 } do
      server:reset()
      refuse(status)
      refuse(status)
      local chat = converse()
      local reply = assert(chat:send("Hi"))
      assert.equal("ok", reply.content)
      assert.equal(3, reply.attempts, status)
      assert.equal(2, #chat)
      local requests = server:requests()
      assert.equal(3, #requests)
      assert.equal(requests[1].body, requests[3].body)
      assert.equal(requests[1].headers["x-opper-trace-id"], requests[3].headers["x-opper-trace-id"])
    end
  end)

  it("in every way of sending", function()
    each_way(function(send, name)
      refuse(503)
      refuse(429)
      local told = {}
      local chat = converse()
      local reply, err = send(chat, "Hi", { on_retry = function(event, request)
        told[#told + 1] = ("%d %g %d %s"):format(event.attempt, event.wait, event.err.status,
          tostring(event.err))
        assert.equal("waiting", request:state())
      end })
      assert.is_nil(err, name)
      assert.equal("ok", reply.content)
      assert.equal(3, reply.attempts)
      assert.same({
        "1 0.003 503 api error (c503, HTTP 503): no 503",
        "2 0.003 429 api error (c429, HTTP 429): no 429",
      }, told, name)
      assert.equal(2, #chat)
      assert.equal(3, count())
    end)
  end)

  it("not for other statuses", function()
    for _, status in ipairs { 400, 401, 402, 403, 404, 405, 410, 413, 422 } do
      server:reset()
      refuse(status)
      local reply, err = converse():send("Hi")
      assert.is_nil(reply)
      assert.equal(status, err.status)
      assert.equal(1, err.attempts)
      assert.is_false(err.retryable)
      assert.equal(1, count())
    end
  end)

  it("as often as max_retries says", function()
    each_way(function(send, name)
      for _ = 1, 4 do
        refuse(500)
      end
      local told = 0
      local chat = converse()
      local reply, err = send(chat, "Hi", { on_retry = function() told = told + 1 end })
      assert.is_nil(reply)
      assert.equal(3, err.attempts, name)
      assert.is_true(err.retryable)
      assert.equal(0.003, err.retry_after)
      assert.equal(2, told)
      assert.equal(0, #chat)
      assert.equal(3, count())
    end)
    for retries, attempts in pairs { [0] = 1, [1] = 2, [4] = 5 } do
      server:reset()
      local own = new_client { max_retries = retries }
      for _ = 1, attempts do
        refuse(500)
      end
      local _, err = converse({ client = own }):send("Hi")
      assert.equal(attempts, err.attempts)
      assert.equal(attempts, count())
      own:close()
    end
  end)

  it("when the server says so, and not when it says no", function()
    refuse(400, { ["x-should-retry"] = "true" })
    assert.equal(2, assert(converse():send("Hi")).attempts)
    refuse(503, { ["x-should-retry"] = "false" })
    local _, err = converse():send("Hi")
    assert.equal(1, err.attempts)
    assert.is_false(err.retryable)
    assert.equal(0.003, err.retry_after)
  end)

  it("when its connection breaks before anything of the answer is there", function()
    local role = sse.delta('{"role":"assistant","content":""}')
    local usage = sse.usage_chunk
    local whole = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n"
    local ends = {
      { { "hangup_before_reading" } },
      { { "close" } }, { { "reset" } },
      { { "send", "HTTP/1.1 20" }, { "close" } },
      { { "send", "HTTP/1.1 200 OK\r\nContent-Ty" }, { "reset" } },
      { { "send", HEAD }, { "close" } },
      { { "send", HEAD .. ": still here\n\n: and here\n\n" }, { "close" } },
      { { "send", HEAD .. role }, { "close" } },
      { { "send", HEAD .. role .. usage }, { "close" } },
      { { "send", HEAD .. role .. 'data: {"choices":[{"delta":{"content":"ha' }, { "close" } },
      { { "send", HEAD:gsub("Connection", "Content-Length: 9999\r\nConnection") .. role },
        { "close" } },
      -- nobody has seen half of a whole answer
      { { "send", whole .. '{"choices":[{"message":{"content":"half' }, { "close" } },
      { { "send", whole .. '{"choices":[{"message":{"content":"half' }, { "reset" } },
    }
    for i, steps in ipairs(ends) do
      for _, is_stream in ipairs { false, true } do
        -- libcurl knows that a kept connection may have died meanwhile
        local own = new_client()
        server:reset()
        server:script(steps)
        local chat, text, event = converse { client = own }, "", nil
        local request = assert(chat:start("Hi", { stream = is_stream,
          on_delta = function(piece) text = text .. piece end,
          on_event = function(given) assert.equal("content", given.type) end,
          on_retry = function(given)
            assert.is_nil(event)
            event = given
          end }))
        poll_until(function() return event or own:active() == 0 end)
        assert.equal("waiting", request:state(), i)
        local kind = event.err.kind
        assert.truthy(kind == "network" or kind == "truncated" or kind == "protocol", kind)
        assert.is_true(event.err.retryable)
        assert.is_nil(event.err.partial)
        assert.is_true(event.wait >= 0.375 and event.wait <= 0.5, event.wait)
        assert.equal("", request:content())
        if i % 5 == 0 then
          -- to the end; the others would take as long
          local reply = assert(request:wait())
          assert.equal("ok", reply.content)
          assert.equal("ok", text)
          assert.equal(2, reply.attempts)
          assert.equal(4, reply.usage.total_tokens)
          assert.equal(2, #chat)
        end
        own:close()
      end
    end
  end)

  it("when nobody listens", function()
    local failures = {}
    local own = new_client { base_url = "http://127.0.0.1:1/v1", max_retries = 1 }
    local began = core.now()
    local _, err = converse({ client = own }):send("Hi", { on_retry = function(event)
      failures[#failures + 1] = event
    end })
    assert.equal("connection_refused", err.code)
    assert.equal(2, err.attempts)
    assert.equal(1, #failures)
    assert.is_true(failures[1].wait >= 0.375 and failures[1].wait <= 0.5)
    assert.is_true(core.now() - began >= failures[1].wait)
    assert.is_nil(err.retry_after)
    own:close()
  end)

  it("never when something of the answer has arrived", function()
    for _, piece in ipairs {
      sse.text("a"), sse.delta('{"reasoning_content":"hm"}'), sse.delta('{"refusal":"no"}'),
      sse.calls(sse.call(0, "call_1", "f", "{")),
    } do
      for _, ending in ipairs { { "close" }, { "reset" } } do
        server:reset()
        server:script { { "send", HEAD .. piece }, { "sleep", 0.02 }, ending }
        local chat = converse()
        local reply, err = chat:send("Hi", { stream = true, on_retry = function()
          error("not to be called")
        end })
        assert.is_nil(reply)
        assert.equal(1, err.attempts)
        assert.truthy(err.partial)
        assert.equal(0, #chat)
        assert.equal(1, count())
      end
    end
    server:script { { "send", HEAD .. sse.text("a")
      .. 'data: {"error":{"code":429,"message":"try again in 3ms"}}\n\n' }, { "close" } }
    local _, err = converse():send("Hi", { stream = true })
    assert.equal("429", err.code)
    assert.equal(1, err.attempts)
    assert.equal("a", err.partial.content)
  end)

  it("when a stream begins with an error that passes", function()
    server:script { { "send", HEAD .. sse.delta('{"role":"assistant"}')
      .. 'data: {"error":{"code":503,"message":"Please try again in 4ms."}}\n\n' }, { "close" } }
    local wait
    local reply = assert(converse():send("Hi", { stream = true, on_retry = function(event)
      wait = event.wait
    end }))
    assert.equal("ok", reply.content)
    assert.equal(0.004, wait)
  end)

  it("for documents, too", function()
    server:reply { status = 503, headers = { ["retry-after-ms"] = "3" }, close = true }
    server:script { { "close" } }
    server:reply { body = { data = { { id = "m" } } } }
    local told = 0
    local own = new_client { on_retry = function(event, request)
      told = told + 1
      assert.truthy(event.err.kind)
      assert.equal("waiting", request:state())
    end }
    assert.equal("m", assert(own:models())[1].id)
    assert.equal(2, told)
    assert.equal(3, count())
    own:close()
  end)

  describe("after a wait", function()
    local function wait_of(headers, message)
      server:reset()
      refuse(429, headers, { error = { message = message or "slow down" } })
      local request, event
      request = assert(converse():start("Hi", { on_retry = function(given)
        event = given
        request:cancel()
      end }))
      local _, err = request:wait()
      if event then
        assert.equal("cancelled", err.kind)
        assert.is_nil(err.retry_after)
        assert.equal(event.err.retry_after, event.err.retry_after and event.wait)
        return event.wait
      end
      assert.equal(1, err.attempts)
      return nil, err
    end

    it("that the server asks for", function()
      local date = "Tue, 14 Nov 2023 22:13:20 GMT"
      for _, row in ipairs {
        { { ["retry-after-ms"] = "1500" }, 1.5 },
        { { ["retry-after-ms"] = "1500", ["Retry-After"] = "7" }, 1.5 },
        { { ["retry-after-ms"] = "junk", ["Retry-After"] = "7" }, 7 },
        { { ["retry-after-ms"] = false, ["Retry-After"] = "7.25" }, 7.25 },
        { { ["retry-after-ms"] = false, ["Retry-After"] = "120" }, 120 },
        { { ["retry-after-ms"] = false, Date = date,
          ["Retry-After"] = "Tue, 14 Nov 2023 22:13:50 GMT" }, 30 },
        { { ["retry-after-ms"] = false }, 20, "Please try again in 20s." },
        { { ["retry-after-ms"] = "10" }, 0.01, "Please try again in 20s." },
      } do
        assert.equal(row[2], wait_of(row[1], row[3]))
      end
    end)

    it("of its own when the server does not say", function()
      for _, headers in ipairs {
        { ["retry-after-ms"] = false }, { ["retry-after-ms"] = "0" },
        { ["retry-after-ms"] = "-3" }, { ["retry-after-ms"] = false, ["Retry-After"] = "later" },
        { ["retry-after-ms"] = false, ["Retry-After"] = "Tue, 14 Nov 2023 22:13:50 GMT" },
      } do
        local wait = wait_of(headers)
        assert.is_true(wait >= 0.375 and wait <= 0.5)
      end
    end)

    it("that is not too long", function()
      for _, row in ipairs {
        { { ["retry-after-ms"] = "120001" }, 120.001 },
        { { ["retry-after-ms"] = false, ["Retry-After"] = "3600" }, 3600 },
        { { ["retry-after-ms"] = false }, 432, "try again in 7m12s" },
      } do
        local wait, err = wait_of(row[1], row[3])
        assert.is_nil(wait)
        assert.equal(row[2], err.retry_after)
        assert.is_true(err.retryable)
      end
    end)

    it("that it keeps", function()
      refuse(503, { ["retry-after-ms"] = "80" })
      local waits = {}
      local began = core.now()
      assert(converse():send("Hi", { on_retry = function(event)
        waits[#waits + 1] = event.wait
      end }))
      local took = core.now() - began
      assert.equal("0.08", table.concat(waits, " "))
      assert.is_true(took >= 0.08 and took < 2, took)
      local requests = server:requests()
      local between = requests[2].time - requests[1].time
      assert.is_true(between >= 0.08, between)
    end)

    -- Starts a request that waits for so many milliseconds; returns it a little
    -- before its time is up.
    local function about_to_go(ms)
      server:reset()
      refuse(503, { ["retry-after-ms"] = tostring(ms) })
      local request = assert(converse():start("Hi"))
      poll_until(function() return request:state() == "waiting" end)
      core.sleep(ms / 1000 - 0.0007)
      return request
    end

    it("whose last millisecond is not spent asking whether it is over", function()
      local polls, sleeps, rounds = 0, 0, 20
      for _ = 1, rounds do
        local request = about_to_go(10)
        while request:state() == "waiting" do
          client:poll(1)
          polls = polls + 1
        end
        request:wait()
        -- a host that knows whole milliseconds only, as libuv's timers do
        request = about_to_go(10)
        while request:state() == "waiting" do
          core.sleep(math.floor(client:timeout() * 1000) / 1000)
          client:poll()
          sleeps = sleeps + 1
        end
        request:wait()
      end
      -- once each, and once more where libcurl had something to do
      assert.is_true(polls <= 2 * rounds, polls)
      assert.is_true(sleeps <= 2 * rounds, sleeps)
    end)

    it("that is never shorter than it was to be", function()
      for _ = 1, 40 do
        server:reset()
        refuse(503, { ["retry-after-ms"] = "5" })
        -- asked all the time: a host that sleeps comes a little late
        local began = core.now()
        local request = assert(converse():start("Hi"))
        while client:active() > 0 do
          client:poll()
        end
        local took = core.now() - began
        assert(request:wait())
        local requests = server:requests()
        local between = requests[2].time - requests[1].time
        assert.is_true(took >= 0.005 and between >= 0.005, took .. " " .. between)
      end
    end)

    it("in which a frame costs nothing and the countdown can be shown", function()
      refuse(503, { ["retry-after-ms"] = "150" })
      local frames, long, states, wait = 0, 0, {}, nil
      local request = assert(converse():start("Hi", { on_retry = function(event)
        wait = event.wait
      end }))
      while client:active() > 0 do
        local began = core.now()
        opperchat.poll()
        long = long + (core.now() - began > 0.01 and 1 or 0)
        states[request:state()] = (states[request:state()] or 0) + 1
        frames = frames + 1
        if wait and request:state() == "waiting" then
          local timeout = client:timeout()
          assert.is_true(timeout and timeout <= 0.15, tostring(timeout))
        end
        core.sleep(0.002)
      end
      assert.equal(0.15, wait)
      assert.is_true(frames > 20, frames)
      assert.is_true(states.waiting > 15, states.waiting)
      -- a busy machine may hold up some of them
      assert.is_true(long < frames / 4, long .. " of " .. frames)
      assert.equal("ok", request:wait().content)
    end)

    it("in which others go on", function()
      refuse(503, { ["retry-after-ms"] = "200" })
      local slow = assert(converse():start("Hi"))
      poll_until(function() return slow:state() == "waiting" end)
      for i = 1, 3 do
        assert.equal("ok", assert(converse():send("Hi " .. i)).content)
      end
      assert.equal("waiting", slow:state())
      assert.equal("ok", assert(slow:wait()).content)
    end)

    it("which wait() waits for, or not", function()
      refuse(503, { ["retry-after-ms"] = "60" })
      local request = assert(converse():start("Hi"))
      local reply, err = request:wait(0.02)
      assert.is_nil(reply)
      assert.is_nil(err)
      assert.equal("ok", assert(request:wait(10)).content)
    end)
  end)

  describe("unless it is ended while it waits", function()
    local chat, request, err, endings

    local function begin()
      server:reset()
      refuse(503, { ["retry-after-ms"] = "60000" })
      endings, err = 0, nil
      chat = converse()
      request = assert(chat:start("Hi", { on_done = function(_, problem)
        endings, err = endings + 1, problem
      end }))
      poll_until(function() return request:state() == "waiting" end)
      assert.equal(1, client:active())
    end

    local function ended(code, began)
      assert.is_true(core.now() - began < 1, core.now() - began)
      assert.equal(1, endings)
      assert.equal("cancelled", err.kind)
      assert.equal(code, err.code)
      assert.equal(1, err.attempts)
      assert.is_nil(err.retry_after)
      assert.equal(0, core.client_active(client))
      assert.equal(1, count())
    end

    it("by request:cancel", function()
      begin()
      local began = core.now()
      request:cancel()
      ended("cancelled", began)
      assert.equal(0, #chat)
      assert.equal("cancelled", request:state())
      -- and the conversation goes on at once
      assert.equal("ok", assert(chat:send("Hi")).content)
    end)

    it("by chat:cancel", function()
      begin()
      local began = core.now()
      chat:cancel()
      ended("cancelled", began)
      assert.equal("ok", assert(chat:send("Hi")).content)
    end)

    it("by closing the conversation", function()
      begin()
      local began = core.now()
      chat:close()
      ended("cancelled", began)
    end)

    it("by client:close", function()
      begin()
      local began = core.now()
      client:close()
      ended("closed", began)
      client = new_client()
    end)

    it("by a handler that raises", function()
      server:reset()
      refuse(503)
      local calls = 0
      endings = 0
      local own = converse()
      request = assert(own:start("Hi", {
        on_retry = function() calls = calls + 1 error("ouch") end,
        on_done = function(_, problem) endings, err = endings + 1, problem end,
      }))
      local ok, raised = pcall(request.wait, request)
      assert.is_false(ok)
      assert.truthy(tostring(raised):find("ouch", 1, true))
      assert.equal(1, calls)
      assert.equal(1, endings)
      assert.equal("handler_failed", err.code)
      assert.equal(0, #own)
      assert.equal("ok", assert(own:send("Hi")).content)
    end)

    it("by the collector", function()
      local gone = setmetatable({}, { __mode = "k" })
      local function drop()
        server:reset()
        refuse(503, { ["retry-after-ms"] = "60000" })
        local own = new_client()
        local waiting = assert(converse({ client = own }):start("Hi"))
        while waiting:state() ~= "waiting" do
          own:poll(0.01)
        end
        own:close()
        gone[own], gone[waiting] = true, true
      end
      drop()
      for _ = 1, 6 do
        collectgarbage()
      end
      assert.is_nil(next(gone))
    end)

    it("by the end of its Lua state", function()
      local yes = _VERSION == "Lua 5.1" and "0" or "true"
      for _, last in ipairs { "os.exit(" .. yes .. ", true)", "", "os.exit(" .. yes .. ")" } do
        server:reset()
        refuse(503, { ["retry-after-ms"] = "60000" })
        local output, status = shell.run_lua(([[
          local opperchat = require "opperchat"
          local client = opperchat.client { base_url = %q, api_key = "k" }
          local chat = opperchat.conversation { client = client, model = "m" }
          request = chat:start("Hi")
          while request:state() ~= "waiting" do
            opperchat.poll(0.01)
          end
          io.write("waiting") io.stdout:flush()
          ]] .. last):format(server.url))
        assert.equal("waiting", output)
        assert.equal("0", status)
      end
    end)
  end)

  it("within all of its time", function()
    local own = new_client { timeout = { total = 0.4 } }
    -- no wait that could not end in time
    refuse(503, { ["retry-after-ms"] = "5000" })
    local began = core.now()
    local _, err = converse({ client = own }):send("Hi")
    assert.equal(503, err.status)
    assert.equal(1, err.attempts)
    assert.equal(5, err.retry_after)
    assert.is_true(core.now() - began < 0.4)
    -- what is left of it is for the next try
    server:reset()
    refuse(503, { ["retry-after-ms"] = "300" })
    server:script { { "stall" } }
    began = core.now()
    _, err = converse({ client = own }):send("Hi")
    local took = core.now() - began
    assert.equal("total_timeout", err.code)
    assert.equal(2, err.attempts)
    assert.is_true(took >= 0.4 and took < 0.3 + 0.4, took)
    own:close()
  end)

  it("with the whole of first_token for each try", function()
    local own = new_client { timeout = { first_token = 0.3 } }
    server:script { { "sleep", 0.2 }, { "close" } }
    server:script { { "sleep", 0.2 }, { "send", HEAD .. sse.text("late") .. sse.finish() },
      { "close" } }
    local reply = assert(converse({ client = own, model = "m" }):send("Hi", { stream = true }))
    assert.equal("late", reply.content)
    -- seconds since the beginning, all tries included
    assert.is_true(reply.timing.first_token >= 0.7, reply.timing.first_token)
    assert.is_true(reply.timing.first_byte >= 0.7, reply.timing.first_byte)
    assert.is_true(reply.timing.total >= reply.timing.first_token)
    -- a server that says nothing has not broken off
    server:reset()
    own:close()
    own = new_client { timeout = { first_token = 0.05 } }
    server:script { { "stall" } }
    local _, err = converse({ client = own }):send("Hi")
    assert.equal("first_token_timeout", err.code)
    assert.equal(1, err.attempts)
    own:close()
  end)

  it("and its program is told once, by the nearest on_retry", function()
    local of_client, of_send = 0, 0
    local own = new_client { on_retry = function() of_client = of_client + 1 end }
    refuse(503)
    assert(converse({ client = own }):send("Hi"))
    assert.equal(1, of_client)
    refuse(503)
    assert(converse({ client = own }):send("Hi", { on_retry = function()
      of_send = of_send + 1
    end }))
    assert.equal(1, of_client)
    assert.equal(1, of_send)
    own:close()
  end)

  it("and is told late when the host comes late", function()
    refuse(503, { ["retry-after-ms"] = "1" })
    local waits, attempt = {}, nil
    local request = assert(converse():start("Hi", { on_retry = function(event)
      waits[#waits + 1], attempt = event.wait, event.attempt
    end }))
    -- moved on by somebody who calls no handlers, as a wait in another handler does
    local deadline = core.now() + 10
    while not core.has_ended(request) and core.now() < deadline do
      core.step(client, 0.01, true)
    end
    assert.same({}, waits)
    assert.equal("ok", assert(request:wait()).content)
    assert.same({ 0 }, waits)
    assert.equal(1, attempt)
  end)

  it("also while a handler of another one waits", function()
    refuse(503)
    local inner
    local outer = assert(converse():start("Hi", { on_retry = function()
      refuse(503)
      inner = assert(converse():send("there"))
    end }))
    local reply = assert(outer:wait())
    assert.equal("ok", reply.content)
    assert.equal("ok", inner.content)
    assert.equal(4, count())
  end)

  it("with a large body from its beginning", function()
    local prompt = ("x"):rep(300000)
    refuse(503)
    server:script { { "before_body" }, { "send", "HTTP/1.1 503 Busy\r\nretry-after-ms: 2\r\n"
      .. "Content-Length: 0\r\nConnection: close\r\n\r\n" }, { "close" } }
    local reply = assert(converse():send(prompt))
    assert.equal(3, reply.attempts)
    local requests = server:requests()
    assert.equal(prompt, requests[3].json.messages[1].content)
  end)

  it("behind a redirect", function()
    server:reply { status = 307, headers = { Location = "/v1/elsewhere" } }
    refuse(503)
    assert.equal("ok", assert(converse():send("Hi")).content)
    assert.equal("/v1/elsewhere", server:requests()[3].path)
  end)

  it("and keeps no secret in what it tells", function()
    local key = "sk-very-secret"
    local own = new_client { api_key = key }
    refuse(503, nil, { error = { message = "bad " .. key } })
    local told
    assert(converse({ client = own }):send("Hi", { on_retry = function(event)
      told = tostring(event.err)
    end }))
    assert.is_nil(told:find(key, 1, true))
    own:close()
  end)

  it("and leaves nothing behind", function()
    if not shell.count_descriptors() then
      pending("no /proc")
      return
    end
    local function round()
      refuse(503, { ["retry-after-ms"] = "1" })
      server:script { { "reset" } }
      local own = new_client { max_retries = 1 }
      converse({ client = own }):send("Hi")
      own:close()
    end
    for _ = 1, 3 do
      round()
    end
    collectgarbage()
    collectgarbage()
    local before = shell.count_descriptors()
    for _ = 1, 10 do
      round()
    end
    collectgarbage()
    collectgarbage()
    local after = shell.count_descriptors()
    assert.is_true(after <= before, before .. " descriptors, then " .. after)
  end)

  it("and makes no garbage to speak of", function()
    if os.getenv("OPPERCHAT_GC") then
      pending("not with a collector that never rests")
      return
    end
    local own = new_client { max_retries = 40, retry_budget = 40 }
    local function cost_of(failures)
      server:reset()
      for _ = 1, failures do
        refuse(503, { ["retry-after-ms"] = "1" })
      end
      local request = assert(converse({ client = own }):start("Hi"))
      collectgarbage()
      collectgarbage()
      collectgarbage("stop")
      local before = collectgarbage("count")
      assert(request:wait())
      local after = collectgarbage("count")
      collectgarbage("restart")
      return (after - before) * 1024
    end
    cost_of(1)
    local none, many = cost_of(0), cost_of(40)
    assert.is_true((many - none) / 40 < 400, ("%g bytes"):format((many - none) / 40))
    own:close()
  end)

  it("as often as the budget of a run allows", function()
    local tools = { { name = "f", description = "x", run = function() return "done" end } }
    local function call_tool(number)
      complete({ role = "assistant", tool_calls = {
        completion.call("call_" .. number, "f", '{"n":' .. number .. "}"),
      } }, { finish_reason = "tool_calls" })
    end
    local own = new_client { retry_budget = 3 }
    local chat = converse { client = own, tools = tools }
    refuse(503) refuse(503) call_tool(1) refuse(503) call_tool(2) refuse(503)
    local reply, err = chat:run("Hi")
    assert.is_nil(reply)
    assert.equal(503, err.status)
    assert.equal(1, err.attempts)
    assert.equal(6, count())
    -- the next turn has one of its own
    server:reset()
    refuse(503) refuse(503)
    assert.equal("ok", assert(chat:run("Hi")).content)
    -- no budget, no retries
    own:close()
    server:reset()
    own = new_client { retry_budget = 0 }
    refuse(503)
    err = select(2, converse({ client = own, tools = tools }):run("Hi"))
    assert.equal(1, err.attempts)
    -- which a plain send has not got
    refuse(503)
    assert.equal("ok", assert(converse({ client = own }):send("Hi")).content)
    own:close()
  end)

  it("as often as the budget of a corrected answer allows", function()
    local own = new_client { retry_budget = 2 }
    local chat = converse { client = own }
    refuse(503) complete("no json") refuse(503) complete("still none") refuse(503)
    local _, err = chat:send("Hi", { schema = { x = "string" }, schema_retries = 3 })
    assert.equal(503, err.status)
    assert.equal(1, err.attempts)
    assert.equal(5, count())
    own:close()
  end)

  describe("to another model", function()
    it("when one is refused", function()
      for _, row in ipairs {
        { 404, "The model does not exist" }, { 403, "not for you" }, { 402, "no credit" },
        { 400, "model m is not a chat model" }, { 422, "unknown model" },
        { 503, "busy", { ["x-should-retry"] = "false" } },
        { 400, "This model's maximum context length is 100 tokens" },
      } do
        each_way(function(send, name)
          refuse(row[1], row[3], { error = { message = row[2] } })
          local chat = converse { fallback_models = { "b", "c" } }
          local reply, err = send(chat, "Hi")
          assert.is_nil(err, name .. ": " .. tostring(err))
          assert.equal("b", reply.requested_model)
          assert.equal("m b", models_asked())
          assert.equal(2, reply.attempts)
          assert.equal(4, reply.usage.total_tokens)
          assert.equal(4, chat:usage().total_tokens)
          assert.equal(2, #chat)
        end)
      end
    end)

    it("when one is exhausted", function()
      for _, status in ipairs { 429, 503 } do
        server:reset()
        for _ = 1, 3 do
          refuse(status)
        end
        refuse(status)
        local told = {}
        local reply = assert(converse({ fallback_models = { "b" } }):send("Hi", {
          on_retry = function(event) told[#told + 1] = event.attempt end,
        }))
        assert.equal("b", reply.requested_model)
        assert.equal("m m m b b", models_asked())
        assert.equal(5, reply.attempts)
        -- each failure that is waited for, of each model
        assert.same({ 1, 2, 4 }, told)
      end
      -- or does not come to its first token
      server:reset()
      local own = new_client { timeout = { first_token = 0.05 } }
      server:script { { "stall" } }
      local reply = assert(converse({ client = own, fallback_models = { "b" } }):send("Hi"))
      assert.equal("b", reply.requested_model)
      own:close()
    end)

    it("one after the other, and the last error stands", function()
      refuse(404) refuse(403) refuse(404)
      local chat = converse()
      local reply, err = chat:send("Hi", { fallback_models = { "b", "c" } })
      assert.is_nil(reply)
      assert.equal(404, err.status)
      assert.equal(3, err.attempts)
      assert.equal("c", err.requested_model)
      assert.equal("m b c", models_asked())
      assert.equal(0, #chat)
    end)

    it("beginning with its own each time, which the reply tells", function()
      local chat = converse { fallback_models = { "b" } }
      refuse(404)
      assert.equal("b", assert(chat:send("Hi")).requested_model)
      assert.equal("m", assert(chat:send("Hi")).requested_model)
      assert.equal("m b m", models_asked())
      assert.equal("x", assert(chat:send("Hi", { model = "x" })).requested_model)
      -- none for one send
      server:reset()
      refuse(404)
      local _, err = chat:send("Hi", { fallback_models = {} })
      assert.equal(404, err.status)
      assert.equal(1, count())
      assert.is_nil(assert(converse():send("Hi")).requested_model)
    end)

    it("not for what is wrong with the request, the key or the line", function()
      for _, row in ipairs {
        { 400, "temperature out of range" }, { 401, "bad key" }, { 413, "x" },
      } do
        server:reset()
        refuse(row[1], nil, { error = { message = row[2] } })
        local _, err = converse({ fallback_models = { "b" } }):send("Hi")
        assert.equal(row[1], err.status)
        assert.equal(1, count())
      end
      server:reset()
      server:script { { "send", HEAD .. sse.text("begun") }, { "close" } }
      local _, err = converse({ fallback_models = { "b" } }):send("Hi", { stream = true })
      assert.equal("begun", err.partial.content)
      assert.equal(1, count())
      server:reset()
      server:script { { "stall" } }
      local request = assert(converse({ fallback_models = { "b" } }):start("Hi"))
      poll_until(function() return count() == 1 end)
      request:cancel()
      assert.equal("cancelled", select(2, request:wait()).kind)
      assert.equal(1, count())
    end)

    it("with the other options as they are, and the list", function()
      refuse(404)
      local chat = converse { temperature = 0.5, fallback_models = { "b" }, messages = {
        { role = "system", content = "S" }, { role = "user", content = "u" },
        { role = "assistant", content = "a" } } }
      assert(chat:send("Hi", { max_tokens = 9, stream = true }))
      local requests = server:requests()
      local first, second = requests[1].json, requests[2].json
      assert.equal("b", second.model)
      first.model, second.model = nil, nil
      assert.same(first, second)
      assert.equal(5, #chat)
    end)

    it("within the budget and the time of the turn", function()
      local own = new_client { retry_budget = 3 }
      for _ = 1, 9 do
        refuse(503)
      end
      local _, err = converse({ client = own, fallback_models = { "b", "c" } }):send("Hi")
      assert.equal(503, err.status)
      assert.equal("m m m b b c", models_asked())
      assert.equal(6, err.attempts)
      own:close()
      server:reset()
      own = new_client { timeout = { total = 0.4 } }
      server:reply { status = 404, delay = 0.3, body = "{}" }
      server:script { { "stall" } }
      local began = core.now()
      _, err = converse({ client = own, fallback_models = { "b" } }):send("Hi")
      assert.equal("total_timeout", err.code)
      local took = core.now() - began
      assert.is_true(took >= 0.4 and took < 0.3 + 0.4, took)
      own:close()
    end)

    it("which may be too small as well", function()
      local overflow = { error = { code = "context_length_exceeded",
        message = "This model's maximum context length is 60 tokens. However, your messages "
          .. "resulted in 90 tokens." } }
      local chat = converse { fallback_models = { "b" },
        policy = opperchat.policy.fit { tokens = 100000 } }
      for i = 1, 6 do
        chat:append("user", "question " .. i):append("assistant", ("answer "):rep(10) .. i)
      end
      refuse(404)
      refuse(400, nil, overflow)
      local reply = assert(chat:send("Hi"))
      assert.equal("b", reply.requested_model)
      assert.equal("m b b", models_asked())
      local requests = server:requests()
      assert.is_true(#requests[3].json.messages < #requests[2].json.messages)
      assert.equal(3, reply.attempts)
    end)

    it("and the journal has the turn once", function()
      local path = os.tmpname()
      os.remove(path)
      refuse(503) refuse(404)
      local chat = converse { fallback_models = { "b" }, journal = path }
      assert(chat:send("Hi"))
      chat:close()
      local loaded = assert(opperchat.load(path, { client = client }))
      assert.equal(2, #loaded)
      assert.equal("ok", loaded:last().content)
      loaded:close()
      os.remove(path)
    end)

    it("of a conversation that was saved", function()
      local path = os.tmpname()
      local chat = converse { fallback_models = { "b" } }
      assert(chat:send("Hi"))
      assert(chat:save(path))
      local loaded = assert(opperchat.load(path, { client = client }))
      refuse(404)
      assert.equal("b", assert(loaded:send("Hi")).requested_model)
      os.remove(path)
    end)

    it("in a run and in client:json", function()
      refuse(404)
      local chat = converse { fallback_models = { "b" } }
      assert.equal("b", assert(chat:run("Hi")).requested_model)
      refuse(404)
      complete('{"x":"y"}')
      local value = assert(client:json { model = "m", fallback_models = { "b" }, input = "x",
        schema = { x = "string" } })
      assert.equal("y", value.x)
    end)

    it("for what a policy asks, too", function()
      local chat = converse { fallback_models = { "b" },
        policy = opperchat.policy.summarize { tokens = 300, turns = 1 } }
      for i = 1, 6 do
        chat:append("user", "question " .. i):append("assistant", ("answer "):rep(30))
      end
      refuse(404)
      complete("What was said.")
      assert(chat:send("Hi"))
      assert.equal("m b m", models_asked())
    end)
  end)

  describe("with another key", function()
    it("when the server refuses the one it was given", function()
      each_way(function(send, name)
        local given = {}
        local own = new_client { api_key = function(is_refused)
          given[#given + 1] = is_refused
          return "key-" .. #given
        end }
        refuse(401)
        local reply, err = send(converse { client = own }, "Hi")
        if name:find("poll", 1, true) then
          -- it waits for the other client
          assert.is_true(reply ~= nil or err ~= nil)
        end
        assert.equal("ok", reply.content)
        assert.equal(2, reply.attempts)
        assert.same({ false, true }, given)
        local requests = server:requests()
        assert.equal("Bearer key-1", requests[1].headers.authorization)
        assert.equal("Bearer key-2", requests[2].headers.authorization)
        own:close()
      end)
    end)

    it("once only", function()
      local asked = 0
      local own = new_client { api_key = function()
        asked = asked + 1
        return "key"
      end }
      refuse(401) refuse(401)
      local chat = converse { client = own }
      local _, err = chat:send("Hi")
      assert.equal(401, err.status)
      assert.equal(2, err.attempts)
      assert.equal(2, asked)
      assert.equal(0, #chat)
      own:close()
      -- a key that is a text is what it is
      server:reset()
      refuse(401)
      _, err = converse():send("Hi")
      assert.equal(1, err.attempts)
    end)

    it("unless there is none", function()
      for _, renew in ipairs {
        function() error("no key") end, function() return nil end, function() return 5 end,
      } do
        local chat
        local own = new_client { api_key = function(is_refused)
          if is_refused then
            return renew()
          end
          return "key"
        end }
        refuse(401)
        chat = converse { client = own }
        local _, err = chat:send("Hi")
        assert.equal(401, err.status)
        assert.equal(1, err.attempts)
        assert.equal(0, #chat)
        assert.equal("ok", assert(chat:send("Hi")).content)
        own:close()
      end
    end)

    it("while the conversation cannot be changed, but may be closed", function()
      local chat, problem
      local own = new_client { api_key = function(is_refused)
        if is_refused then
          problem = select(2, pcall(chat.append, chat, "user", "sneaked in"))
        end
        return "key"
      end }
      refuse(401)
      chat = converse { client = own }
      assert.equal("ok", assert(chat:send("Hi")).content)
      assert.truthy(tostring(problem):find("busy", 1, true))
      assert.equal(2, #chat)
      own:close()
      for _, what in ipairs { "chat", "client" } do
        server:reset()
        local closing
        closing = new_client { api_key = function(is_refused)
          if is_refused then
            (what == "chat" and chat or closing):close()
          end
          return "key"
        end }
        refuse(401)
        chat = converse { client = closing }
        local _, err = chat:send("Hi")
        assert.equal(401, err.status)
        assert.equal(1, count())
        closing:close()
      end
    end)

    it("and to another model then", function()
      local own = new_client { api_key = function() return "key" end }
      refuse(401) refuse(404)
      local reply = assert(converse({ client = own, fallback_models = { "b" } }):send("Hi"))
      assert.equal("b", reply.requested_model)
      assert.equal("m m b", models_asked())
      assert.equal(3, reply.attempts)
      own:close()
    end)

    it("for a list of models, too, when it is another key", function()
      local own = new_client { api_key = function() return "key" end }
      refuse(401)
      local _, err = own:models()
      assert.equal(401, err.status)
      own:close()

      local key = "old"
      own = new_client { api_key = function(is_refused)
        key = is_refused and "new" or key
        return key
      end }
      refuse(401)
      server:reply { body = '{"object":"list","data":[{"id":"m"}]}' }
      assert.equal("m", assert(own:models())[1].id)
      assert.equal("Bearer new", server:last_request().headers.authorization)
      own:close()
    end)
  end)
end)

