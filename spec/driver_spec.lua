-- What moves requests forward: poll, go, sleep, and what a host's loop needs.

local core = require "opperchat.core"
local opperchat = require "opperchat"
local socket = require "socket"
local Server = require "spec.support.server"
local sse = require "spec.support.sse"
local with = require "spec.support.with"
local wait_until = require "spec.support.poll_until"

local HEAD, text = sse.head, sse.text
local END = sse.finish("stop") .. sse.done
local SLOW = os.getenv("OPPERCHAT_SLOW") or os.getenv("OPPERCHAT_GC")
local IS_51 = _VERSION == "Lua 5.1" and not rawget(_G, "jit")

local server = Server.for_tests()
local client

local function new_client(more)
  return opperchat.client(with({ base_url = server.url, api_key = "k", max_retries = 0 }, more))
end

local function converse(own)
  return opperchat.conversation { client = own or client, model = "m" }
end

-- An answer that comes when server:release() says so.
local function held(answer)
  server:script { { "hold" }, { "send", HEAD .. text(answer) .. END }, { "close" } }
end

-- Polls until `condition` holds; errors that handlers raise are gathered.
local function poll_until(condition)
  local raised = {}
  wait_until(condition, nil, function()
    local ok, err = pcall(opperchat.poll, 0.02)
    if not ok then
      raised[#raised + 1] = err
    end
  end)
  return raised
end

local function is_over(task)
  return function()
    return task.state ~= "running"
  end
end

local function wait_for_held(count)
  wait_until(function() return server:status().held >= count end, "held answers")
end

before_each(function()
  client = new_client()
end)

after_each(function()
  client:close()
end)

describe("go", function()
  it("runs at once up to the first wait, then from poll", function()
    held("Hello")
    local log = {}
    local task = opperchat.go(function(a, b)
      log[#log + 1] = a .. b
      local reply = assert(converse():send("Hi"))
      log[#log + 1] = reply.content
      return reply.content, nil, 3
    end, "x", "y")
    assert.same({ "xy" }, log)
    assert.equal("running", task.state)
    for _ = 1, 10 do
      opperchat.poll()
    end
    assert.same({ "xy" }, log)
    wait_for_held(1)
    server:release()
    poll_until(is_over(task))
    assert.equal("done", task.state)
    assert.equal(3, select("#", task:wait()))
    local content, nothing, number = task:wait()
    assert.equal("Hello", content)
    assert.is_nil(nothing)
    assert.equal(3, number)
  end)

  it("returns what needs no waiting", function()
    local task = opperchat.go(function() return "now" end)
    assert.equal("done", task.state)
    assert.equal("now", task:wait())
    assert.has_error(function() opperchat.go("x") end)
    local ok, err = pcall(opperchat.go, 7)
    assert.is_false(ok)
    assert.truthy(err:find("function expected, got number", 1, true))
  end)

  it("keeps a conversation of several turns", function()
    local chat = converse()
    local task = opperchat.go(function()
      for _ = 1, 3 do
        assert(chat:send("Hi"))
      end
      return #chat
    end)
    assert.equal(6, task:wait())
  end)

  it("runs several requests of one task side by side", function()
    server:default { body = { choices = { { message = { content = "Hello" },
      finish_reason = "stop" } } }, delay = 0.1 }
    local began = core.now()
    local task = opperchat.go(function()
      local first = converse():start("1", { stream = false })
      local second = converse():start("2")
      local a, b = first:wait(), second:wait()
      return a.content .. b.content
    end)
    assert.equal("HelloHello", task:wait())
    assert.truthy(core.now() - began < 0.19 or SLOW)
  end)

  it("runs tasks side by side, nested and waiting for each other", function()
    server:default { chunks = sse.answer("ok"), pause = 0.005 }
    local outer = opperchat.go(function()
      local inner = {}
      for i = 1, 5 do
        inner[i] = opperchat.go(function()
          return assert(converse():send("Hi", { stream = true })).content .. i
        end)
      end
      local result = {}
      for i = 5, 1, -1 do
        result[#result + 1] = inner[i]:wait()
      end
      return table.concat(result, " ")
    end)
    assert.equal("ok5 ok4 ok3 ok2 ok1", outer:wait())
  end)

  it("raises what is raised before the first wait", function()
    local value = {}
    local ok, err = pcall(opperchat.go, function() error(value) end)
    assert.is_false(ok)
    assert.equal(value, err)
    ok, err = pcall(opperchat.go, function() error("boom") end)
    assert.is_false(ok)
    assert.truthy(err:find("spec/driver_spec.lua:%d+: boom"), err)
  end)

  it("raises later out of poll, once, and others go on", function()
    local bad = opperchat.go(function()
      assert(converse():send("Hi"))
      error("boom")
    end)
    local good = opperchat.go(function()
      return assert(converse():send("Hi")).content
    end)
    local raised = poll_until(function() return is_over(bad)() and is_over(good)() end)
    assert.equal(1, #raised)
    assert.truthy(raised[1]:find("boom", 1, true))
    assert.equal("failed", bad.state)
    assert.equal("ok", good:wait())
    local ok, err = pcall(bad.wait, bad)
    assert.is_false(ok)
    assert.truthy(err:find("boom", 1, true))
    assert.equal(0, opperchat.poll())
  end)

  it("raises to who waits for it, and to nobody else", function()
    local inner
    local outer = opperchat.go(function()
      inner = opperchat.go(function()
        opperchat.sleep(0.005)
        error { code = 7 }
      end)
      return inner:wait()
    end)
    local ok, err
    if not IS_51 then
      local raised = poll_until(is_over(outer))
      -- outer did not catch it, and nobody waits for outer
      assert.equal(1, #raised)
    end
    ok, err = pcall(outer.wait, outer)
    assert.is_false(ok)
    assert.equal(7, err.code)
    assert.equal("failed", inner.state)
    assert.equal("failed", outer.state)
  end)

  it("is heard of when who waited gave up", function()
    local task = opperchat.go(function()
      opperchat.sleep(0.2)
      error("boom")
    end)
    assert.equal(0, select("#", task:wait(0.001)))
    local waiter = opperchat.go(function() task:wait(0.001) end)
    local raised = poll_until(function() return is_over(task)() and is_over(waiter)() end)
    assert.equal(1, #raised)
    assert.truthy(raised[1]:find("boom", 1, true))
    assert.equal("done", waiter.state)
  end)

  it("does not wait for ever for what cannot end", function()
    local task = opperchat.go(function() coroutine.yield() end)
    local ok, err = pcall(task.wait, task)
    assert.is_false(ok)
    assert.truthy(err:find("nothing is under way", 1, true), err)
    local own
    own = opperchat.go(function()
      opperchat.sleep(0)
      own:wait()
    end)
    local raised = poll_until(is_over(own))
    assert.truthy(raised[1]:find("cannot wait for itself", 1, true), raised[1])
  end)

  it("waits for requests with a time", function()
    held("Hello")
    local task = opperchat.go(function()
      local request = converse():start("Hi")
      local began = core.now()
      local reply, err = request:wait(0.02)
      assert(reply == nil and err == nil)
      local took = core.now() - began
      return took, request:wait().content
    end)
    wait_for_held(1)
    opperchat.sleep(0.03)
    server:release()
    local took, content = task:wait()
    assert.truthy(took >= 0.018 and took < 1, took)
    assert.equal("Hello", content)
  end)

  it("hears of a close and of a cancel", function()
    held("x")
    local request
    local first = opperchat.go(function()
      request = converse():start("Hi")
      return select(2, request:wait()).kind
    end)
    request:cancel()
    assert.equal("done", first.state)
    assert.equal("cancelled", first:wait())
    local own = new_client()
    held("x")
    local second = opperchat.go(function()
      return select(2, converse(own):send("Hi")).code
    end)
    own:close()
    assert.equal("closed", second:wait())
  end)

  it("keeps its tasks while nobody holds them", function()
    server:stream(sse.answer("a", "b"), { pause = 0.005 })
    local done
    opperchat.go(function()
      local reply = converse():send("Hi", { stream = true })
      opperchat.sleep(0.01)
      done = reply.content
    end)
    poll_until(function()
      collectgarbage()
      return done
    end)
    assert.equal("ab", done)
  end)

  it("is not confused by coroutines of the program", function()
    local task = opperchat.go(function()
      -- inside another coroutine a send blocks: it is no task
      local inner = coroutine.wrap(function()
        local reply = assert(converse():send("Hi"))
        coroutine.yield(reply.content)
      end)
      return inner()
    end)
    assert.equal("ok", task:wait())
  end)

  it("resumes thousands of waits without growing the stack", function()
    local count = 0
    local task = opperchat.go(function()
      for _ = 1, 3000 do
        opperchat.sleep(0)
        count = count + 1
      end
    end)
    task:wait()
    assert.equal(3000, count)
    local chat = converse()
    task = opperchat.go(function()
      for _ = 1, 300 do
        assert(chat:send("Hi"))
        chat:undo()
      end
    end)
    task:wait()
    assert.equal(0, #chat)
  end)
end)

describe("sleep", function()
  it("blocks outside of go and drives what is under way", function()
    server:stream(sse.answer("a", "b"), { pause = 0.005 })
    local seen
    converse():start("Hi", { on_done = function(reply) seen = reply.content end })
    local began = core.now()
    opperchat.sleep(0.1)
    local took = core.now() - began
    assert.truthy(took >= 0.099 and (took < 0.5 or SLOW), took)
    assert.equal("ab", seen)
    opperchat.sleep(0)
    opperchat.sleep(-1)
    assert.has_error(function() opperchat.sleep("1") end)
  end)

  it("lets go of the host inside go, in the order of the times", function()
    local log = {}
    for _, seconds in ipairs { 0.03, 0.01, 0.02 } do
      opperchat.go(function()
        opperchat.sleep(seconds)
        log[#log + 1] = seconds
      end)
    end
    assert.equal(3, opperchat.poll())
    local began = core.now()
    poll_until(function() return #log == 3 end)
    assert.same({ 0.01, 0.02, 0.03 }, log)
    assert.truthy(core.now() - began < 0.3 or SLOW)
    assert.equal(0, opperchat.poll())
  end)

  it("raises out of poll what a task raises behind it, after all others ran", function()
    local ran = 0
    for i = 1, 3 do
      opperchat.go(function()
        opperchat.sleep(0.001)
        ran = ran + 1
        if i == 1 then
          error("boom")
        end
      end)
    end
    local raised = poll_until(function() return ran == 3 end)
    assert.equal(1, #raised)
  end)
end)

describe("poll", function()
  it("returns what is under way", function()
    assert.equal(0, opperchat.poll())
    assert.equal(0, client:poll())
    held("a")
    held("b")
    local other = new_client()
    converse():start("Hi")
    converse(other):start("Hi")
    assert.equal(2, opperchat.poll())
    assert.equal(1, client:poll())
    local task = opperchat.go(function() opperchat.sleep(0.001) end)
    assert.equal("running", task.state)
    wait_for_held(2)
    server:release()
    poll_until(function() return opperchat.poll() == 0 end)
    assert.equal("done", task.state)
    other:close()
  end)

  it("waits for news at most as long as it is told to", function()
    held("a")
    converse():start("Hi")
    wait_for_held(1)
    for _, action in ipairs { opperchat.poll, function(seconds) return client:poll(seconds) end } do
      local began = core.now()
      assert.equal(1, action(0.05))
      local took = core.now() - began
      assert.truthy(took >= 0.045 and (took < 0.3 or SLOW), took)
    end
    local began = core.now()
    opperchat.poll { seconds = 0 }
    assert.truthy(core.now() - began < 0.02 or SLOW)
    server:release()
    began = core.now()
    while opperchat.poll(5) > 0 and core.now() - began < 5 do -- luacheck: ignore 542
    end
    assert.truthy(core.now() - began < 1)
  end)

  it("waits for several clients, and for sleeping tasks, at once", function()
    local other = new_client()
    held("a")
    held("b")
    local done = 0
    local function on_done() done = done + 1 end
    converse():start("Hi", { on_done = on_done })
    converse(other):start("Hi", { on_done = on_done })
    wait_for_held(2)
    local woken
    opperchat.go(function()
      opperchat.sleep(0.03)
      woken = core.now()
    end)
    local began = core.now()
    while not woken and core.now() - began < 5 do
      opperchat.poll(2)
    end
    assert.truthy(woken - began >= 0.025 and (woken - began < 0.3 or SLOW), woken - began)
    server:release()
    began = core.now()
    while done < 2 and core.now() - began < 5 do
      opperchat.poll(2)
    end
    assert.equal(2, done)
    assert.truthy(core.now() - began < 0.5 or SLOW)
    other:close()
  end)

  it("does not spin while it waits", function()
    held("a")
    converse():start("Hi")
    wait_for_held(1)
    for _ = 1, 5 do
      opperchat.poll(0.002)
    end
    local polls, stop, cpu = 0, core.now() + 0.2, os.clock()
    while core.now() < stop do
      opperchat.poll(0.05)
      polls = polls + 1
    end
    assert.truthy(polls <= 8, polls)
    assert.truthy(os.clock() - cpu < 0.1 or SLOW)
  end)

  it("costs little when there is nothing to do", function()
    held("a")
    converse():start("Hi")
    wait_for_held(1)
    collectgarbage()
    local cpu, count = os.clock(), 5000
    for _ = 1, count do
      opperchat.poll()
    end
    local each = (os.clock() - cpu) / count
    assert.truthy(each < 50e-6 or SLOW, each)
    cpu = os.clock()
    client:close()
    for _ = 1, count do
      opperchat.poll()
    end
    each = (os.clock() - cpu) / count
    assert.truthy(each < 20e-6 or SLOW, each)
    client = new_client()
  end)

  it("leaves other coroutines and signals of the host alone", function()
    -- a poll inside a coroutine of the program is a poll like any other
    server:stream(sse.answer("a"))
    local seen
    converse():start("Hi", { on_done = function(reply) seen = reply.content end })
    local thread = coroutine.wrap(function()
      for _ = 1, 500 do
        if seen then
          break
        end
        opperchat.poll(0.01)
      end
      return "end"
    end)
    assert.equal("end", thread())
    assert.equal("a", seen)
  end)

  it("refuses closed clients and wrong options", function()
    client:close()
    assert.has_error(function() client:poll() end)
    assert.has_error(function() client:pollfd() end)
    assert.has_error(function() client:timeout() end)
    client = new_client()
    for _, bad in ipairs { "x", true, { second = 1 }, { seconds = "1" } } do
      local ok, err = pcall(opperchat.poll, bad)
      assert.is_false(ok)
      assert.truthy(err:find("poll", 1, true), err)
    end
  end)
end)

describe("a host's loop", function()
  local function as_socket(fd)
    return {
      getfd = function() return fd end,
      dirty = function() return false end,
    }
  end

  local function is_readable(fd, seconds)
    return socket.select({ as_socket(fd) }, nil, seconds)[1] ~= nil
  end

  -- Drives a client by its descriptor and its timeout alone; counts the polls.
  local function drive(own, condition)
    local deadline, polls = core.now() + 10, 0
    while not condition() do
      assert(core.now() < deadline, "it did not happen within 10 s")
      local due = own:timeout()
      assert(due == nil or due >= 0)
      is_readable(own:pollfd(), math.min(due or 5, 5))
      own:poll()
      polls = polls + 1
    end
    return polls
  end

  it("needs the descriptor, the events and the timeout only", function()
    local fd = client:pollfd()
    if not fd then
      pending("this build has no descriptor")
      return
    end
    assert.equal("r", client:events())
    assert.equal("number", type(fd))
    server:stream({ text("a"), text("b"), text("c"), END }, { pause = 0.02 })
    local done
    local pieces = {}
    converse():start("Hi", {
      on_delta = function(piece) pieces[#pieces + 1] = piece end,
      on_done = function(reply, err) done = reply or err end,
    })
    local polls = drive(client, function() return done end)
    assert.equal("abc", done.content)
    assert.same({ "a", "b", "c" }, pieces)
    assert.truthy(polls < 30 or SLOW, polls)
    assert.equal(fd, client:pollfd())
  end)

  it("finds the descriptor readable exactly when there is work", function()
    local fd = client:pollfd()
    if not fd then
      pending("this build has no descriptor")
      return
    end
    assert.is_false(is_readable(fd, 0))
    assert.is_nil(client:timeout())
    held("a")
    local done
    converse():start("Hi", { on_done = function() done = true end })
    wait_for_held(1)
    for _ = 1, 5 do
      client:poll()
    end
    assert.is_false(is_readable(fd, 0.01))
    server:release()
    assert.is_true(is_readable(fd, 5))
    assert.is_true(is_readable(fd, 0))
    local deadline = core.now() + 5
    while not done and core.now() < deadline do
      client:poll(0.01)
    end
    assert.is_true(done)
    client:poll()
    assert.is_false(is_readable(fd, 0.01))
    assert.is_nil(client:timeout())
    -- a kept connection that the server closes is no work for ever
    assert(converse():send("Hi"))
    server:reset()
    client:poll()
    client:poll()
    assert.is_false(is_readable(fd, 0.01))
  end)

  it("is told when it has to poll in any case", function()
    client:close()
    client = new_client { timeout = { first_token = 0.5 } }
    assert.is_nil(client:timeout())
    held("a")
    local request = converse():start("Hi")
    wait_for_held(1)
    local due = client:timeout()
    assert.truthy(due and due > 0 and due <= 0.5, tostring(due))
    request:cancel()
    assert.is_nil(client:timeout())
    opperchat.go(function() opperchat.sleep(0.25) end)
    due = client:timeout()
    assert.truthy(due and due > 0.05 and due <= 0.25, tostring(due))
    client:poll(1)
    poll_until(function() return opperchat.poll() == 0 end)
    assert.is_nil(client:timeout())
  end)

  it("ends what runs out of time", function()
    local fd = client:pollfd()
    client:close()
    client = new_client { timeout = { idle = 0.05 } }
    if not fd then
      pending("this build has no descriptor")
      return
    end
    server:script { { "send", HEAD .. text("half") }, { "stall" } }
    local err
    converse():start("Hi", { on_done = function(_, problem) err = problem end })
    local polls = drive(client, function() return err end)
    assert.equal("idle_timeout", err.code)
    assert.truthy(polls < 20 or SLOW, polls)
  end)

  it("is woken by what is started, cancelled and slept elsewhere", function()
    local woken = 0
    core.state(client).wake = function() woken = woken + 1 end
    held("a")
    local request = converse():start("Hi")
    assert.truthy(woken >= 1)
    woken = 0
    opperchat.go(function() opperchat.sleep(0.001) end)
    assert.truthy(woken >= 1)
    woken = 0
    request:cancel()
    assert.truthy(woken >= 1)
    opperchat.sleep(0.005)
    core.state(client).wake = nil
  end)

  it("carries many streams at once", function()
    local fd = client:pollfd()
    if not fd then
      pending("this build has no descriptor")
      return
    end
    server:default { chunks = sse.answer("a", "b", "c"), pause = 0.003 }
    local count, done = SLOW and 20 or 150, 0
    for i = 1, count do
      converse():start("Hi " .. i, { on_done = function(reply, err)
        assert(reply, err)
        assert(reply.content == "abc")
        done = done + 1
      end })
    end
    drive(client, function() return done == count end)
    assert.equal(count, done)
    assert.equal(0, client:active())
  end)
end)
