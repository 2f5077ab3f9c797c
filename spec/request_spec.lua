-- Requests in flight: handlers, cancelling, closing, waiting, deadlines, and
-- that each one ends exactly once whatever happens.

local core = require "opperchat.core"
local opperchat = require "opperchat"
local Server = require "spec.support.server"
local shell = require "spec.support.shell"
local sse = require "spec.support.sse"
local with = require "spec.support.with"
local wait_until = require "spec.support.poll_until"

local text, call, calls, finish = sse.text, sse.call, sse.calls, sse.finish
local HEAD = sse.head
local STOP, DONE = finish("stop"), sse.done

local server = Server.for_tests()
local client

local function new_client(more)
  return opperchat.client(with({ base_url = server.url, api_key = "k", max_retries = 0 }, more))
end

local function converse(more)
  return opperchat.conversation(with({ client = client, model = "m" }, more))
end

-- Polls until `condition` holds; errors that handlers raise are gathered.
local function poll_until(condition, seconds)
  local raised = {}
  wait_until(condition, nil, function()
    local ok, err = pcall(opperchat.poll, seconds or 0.02)
    if not ok then
      raised[#raised + 1] = err
    end
  end)
  return raised
end

-- A loop over a stream inside go; Lua 5.1 cannot yield from a for loop's iterator.
local function for_each(request, action)
  local piece = request()
  while piece do
    action(piece)
    piece = request()
  end
end

local function all_ended()
  return client:active() == 0
end

-- The same without calling any handler.
local function step_until(condition)
  wait_until(condition, nil, function()
    core.step(client, 0.02, true)
  end)
end

-- A request that counts its endings: { request, endings, reply, err, text }.
local function start(chat, prompt, more)
  local track = { endings = 0, text = "", chat = chat }
  local given = with({
    on_delta = function(piece)
      assert(track.endings == 0, "told after the end")
      track.text = track.text .. piece
    end,
    on_done = function(reply, err)
      track.endings = track.endings + 1
      track.reply, track.err = reply, err
    end,
  }, more)
  track.request = assert(chat:start(prompt, given))
  return track
end

-- Sends the first events, then waits for server:release() before the rest.
local function held(before, after)
  server:script { { "send", HEAD .. before }, { "hold" }, { "send", after or "" }, { "close" } }
end

local function wait_for_text(track, expected)
  poll_until(function() return track.request:content() == expected end)
end

local function contents(chat)
  local list = {}
  for i, message in ipairs(chat:messages()) do
    list[i] = message.role .. ": " .. tostring(message.content)
  end
  return list
end

before_each(function()
  client = new_client()
end)

after_each(function()
  client:close()
end)

describe("a request", function()
  it("tells its text in order, then its end", function()
    local log = {}
    server:stream({ text("a"), text("b"), text("c"), STOP .. DONE }, { pause = 0.005 })
    local chat = converse()
    local request
    request = chat:start("Hi", {
      on_delta = function(piece, ...)
        -- alone: io.write and its like take any number of arguments
        assert.equal(0, select("#", ...))
        log[#log + 1] = piece
      end,
      on_done = function(reply, err)
        assert.is_nil(err)
        log[#log + 1] = "done " .. reply.content
      end,
    })
    poll_until(all_ended)
    assert.equal("done abc", table.remove(log))
    assert.equal("abc", table.concat(log))
    assert.same({ "user: Hi", "assistant: abc" }, contents(chat))
    assert.equal("abc", request:wait().content)
  end)

  it("tells reasoning, tool calls and text as events", function()
    local log = {}
    server:stream({
      sse.delta('{"reasoning_content":"hm"}'), text("Wait."),
      calls(call(0, "a", "f", "")), calls(call(0, nil, nil, '{"x":')),
      calls(call(1, "b", "g", "")), calls(call(0, nil, nil, "1}")),
      calls(call(1, nil, nil, "{}")), finish("tool_calls") .. DONE,
    }, { pause = 0.004 })
    local chat = converse()
    local names, arguments = {}, {}
    chat:start("Hi", { on_event = function(event, request)
      assert.equal("request", (opperchat.type(request)))
      if event.type == "tool_call" then
        if event.id then
          names[event.index] = event.id .. " " .. event.name
        end
        arguments[event.index] = (arguments[event.index] or "") .. event.arguments
      else
        log[#log + 1] = event.type .. " " .. event.text
      end
    end })
    poll_until(all_ended)
    assert.same({ "reasoning hm", "content Wait." }, log)
    assert.same({ "a f", "b g" }, names)
    assert.same({ '{"x":1}', "{}" }, arguments)
    assert.equal(1, chat:last().tool_calls and #chat:last().tool_calls - 1)
  end)

  it("tells the id that a nameless call was given", function()
    local ids = {}
    server:stream { calls(call(0, "", "f", "{}")), finish("tool_calls") .. DONE }
    local track = start(converse(), "Hi", { on_event = function(event)
      ids[#ids + 1] = event.id
    end })
    poll_until(all_ended)
    assert.same({ track.reply.tool_calls[1].id }, ids)
  end)

  it("says how far it is", function()
    held(text("Hel"), text("lo") .. STOP .. DONE)
    local chat = converse()
    local track = start(chat, "Hi")
    assert.equal("sending", track.request:state())
    assert.equal("", track.request:content())
    assert.equal(1, client:active())
    wait_for_text(track, "Hel")
    assert.equal("receiving", track.request:state())
    assert.equal(0, #chat)
    server:release()
    poll_until(all_ended)
    assert.equal("done", track.request:state())
    assert.equal("Hello", track.request:content())
    assert.equal("opperchat.request (done)", tostring(track.request))
    assert.equal(2, #chat)

    server:reply { status = 400, body = { error = { message = "no", code = "x" } } }
    track = start(chat, "Hi")
    poll_until(all_ended)
    assert.equal("failed", track.request:state())
    assert.equal("", track.request:content())
  end)

  it("waits for a time at most", function()
    held(text("Hel"), text("lo") .. STOP .. DONE)
    local track = start(converse(), "Hi")
    local began = core.now()
    local reply, err = track.request:wait(0.05)
    assert.is_nil(reply)
    assert.is_nil(err)
    local took = core.now() - began
    assert.truthy(took >= 0.045 and took < 1, took)
    assert.equal("receiving", track.request:state())
    server:release()
    -- no time at all is enough for what has arrived
    local deadline = core.now() + 5
    repeat
      reply = track.request:wait(0)
    until reply or core.now() > deadline
    assert.equal("Hello", reply.content)
    assert.equal(1, track.endings)
    assert.equal(reply, track.request:wait())
    assert.has_error(function() track.request:wait("1") end)
  end)

  it("keeps its conversation busy, at the caller's line", function()
    held(text("a"), STOP .. DONE)
    local chat = converse { system = "S" }
    chat:append("user", "one"):append("assistant", "two")
    local track = start(chat, "Hi")
    local fork = chat:fork()
    for name, action in pairs {
      send = function() chat:send("x") end,
      start = function() chat:start("x") end,
      stream = function() chat:stream("x") end,
      append = function() chat:append("user", "x") end,
      append_table = function() chat:append { role = "user", content = "x" } end,
      undo = function() chat:undo() end,
      splice = function() chat:splice(1, 1, {}) end,
      clear = function() chat:clear() end,
    } do
      local ok, err = pcall(action)
      assert.is_false(ok, name)
      assert.truthy(err:find("busy", 1, true), name .. ": " .. tostring(err))
      assert.truthy(err:find("^spec/request_spec%.lua:%d+: "), name .. ": " .. tostring(err))
    end
    assert.equal(3, #chat)
    -- a fork is another conversation
    assert.equal("ok", assert(fork:send("x")).content)
    assert.equal(5, #fork)
    server:release()
    poll_until(all_ended)
    assert.equal(1, track.endings)
    assert.equal(5, #chat)
    chat:append("user", "x"):undo()
  end)

  it("runs beside others, each with its own text", function()
    local tracks, origin = {}, converse { system = "S" }
    server:default { chunks = sse.answer("one ", "two ", "three"), pause = 0.002 }
    for i = 1, 20 do
      tracks[i] = start(origin:fork(), "Hi " .. i)
    end
    assert.equal(20, client:active())
    poll_until(all_ended)
    for i = 1, 20 do
      assert.equal(1, tracks[i].endings)
      assert.equal("one two three", tracks[i].text)
      assert.equal("one two three", tracks[i].reply.content)
      assert.same({ "system: S", "user: Hi " .. i, "assistant: one two three" },
        contents(tracks[i].chat))
    end
    assert.equal(1, #origin)
  end)
end)

describe("an iterator", function()
  it("gives the text as it comes", function()
    server:stream({ text("a"), text("b"), text("c"), STOP .. DONE }, { pause = 0.004 })
    local chat, pieces = converse(), {}
    local request = chat:stream("Hi")
    for piece in request do
      pieces[#pieces + 1] = piece
    end
    assert.truthy(#pieces >= 1)
    assert.equal("abc", table.concat(pieces))
    assert.equal("abc", request:wait().content)
    assert.is_nil(request())
    assert.equal(2, #chat)
  end)

  it("raises the error of a request that fails, once, after its text", function()
    server:stream { text("half"), 'data: {"error":{"message":"died","code":"x"}}\n\n' }
    local chat, seen = converse(), ""
    local request = chat:stream("Hi")
    local ok, err = pcall(function()
      for piece in request do
        seen = seen .. piece
      end
    end)
    assert.is_false(ok)
    assert.equal("x", err.code)
    assert.equal("half", err.partial.content)
    assert.equal("half", seen)
    assert.is_nil(request())
    assert.equal(0, #chat)
    assert.equal(err, select(2, request:wait()))
  end)

  it("may be left early; then the request goes on, or is cancelled", function()
    local chat = converse()
    held(text("a"), text("b") .. STOP .. DONE)
    local request = chat:stream("Hi")
    for piece in request do -- luacheck: ignore 512
      assert.equal("a", piece)
      break
    end
    server:release()
    poll_until(all_ended)
    assert.equal("ab", request:wait().content)
    assert.equal("ab", chat:last().content)

    held(text("a"))
    request = chat:stream("Hi")
    for _ in request do -- luacheck: ignore 512
      break
    end
    request:cancel()
    assert.equal("cancelled", request:state())
    assert.equal("cancelled", select(2, request:wait()).kind)
    assert.equal(2, #chat)

    -- dropped and collected
    held(text("a"), text("b") .. STOP .. DONE)
    for _ in chat:stream("Hi") do -- luacheck: ignore 512
      break
    end
    collectgarbage()
    collectgarbage()
    server:release()
    poll_until(all_ended)
    assert.equal("ab", chat:last().content)
    assert.equal(4, #chat)
  end)

  it("gives all of it inside go, without blocking", function()
    local ticks, pieces, told = 0, {}, ""
    server:stream({ text("a"), text("b"), text("c"), STOP .. DONE }, { pause = 0.01 })
    local task = opperchat.go(function()
      local request = converse():stream("Hi", { on_delta = function(piece)
        told = told .. piece
      end })
      for_each(request, function(piece)
        pieces[#pieces + 1] = piece
      end)
      return request:wait()
    end)
    assert.equal("running", task.state)
    while task.state == "running" and ticks < 10000 do
      ticks = ticks + 1
      opperchat.poll(0.001)
    end
    assert.truthy(ticks > 3)
    assert.same({ "a", "b", "c" }, pieces)
    assert.equal("abc", told)
    assert.equal("abc", task:wait().content)
  end)

  it("ends inside go, too, when a handler raises", function()
    server:stream({ text("a"), text("b"), STOP .. DONE }, { pause = 0.01 })
    local problem
    local task = opperchat.go(function()
      local request = converse():stream("Hi", { on_delta = function() error("boom") end })
      local reply, err = request:wait()
      problem = err
      return reply
    end)
    local raised = poll_until(function() return task.state ~= "running" end)
    assert.is_nil(task:wait())
    assert.equal("cancelled", problem.kind)
    assert.equal("handler_failed", problem.code)
    assert.equal(1, #raised)
    assert.truthy(raised[1]:find("boom", 1, true))
  end)

  it("may be read by several tasks, and keeps no closure for each piece", function()
    local events = {}
    for i = 1, 60 do
      events[i] = text("x")
    end
    events[61] = STOP .. DONE
    server:stream(events, { pause = 0.0005 })
    local request, got = converse():stream("Hi"), 0
    local tasks = {}
    for i = 1, 2 do
      tasks[i] = opperchat.go(function()
        for_each(request, function(piece)
          got = got + #piece
        end)
      end)
    end
    local most = 0
    poll_until(function()
      most = math.max(most, #(core.state(request).waiting or {}))
      return tasks[1].state ~= "running" and tasks[2].state ~= "running"
    end)
    assert.equal(60, got)
    assert.truthy(most <= 2)
  end)
end)

describe("a handler that raises", function()
  it("ends its own request and no other; poll raises it at its end", function()
    server:default { chunks = sse.answer("a", "b"), pause = 0.01 }
    held(text("a"))
    local bad_calls = 0
    local bad = start(converse(), "bad", { on_delta = function()
      bad_calls = bad_calls + 1
      error("boom " .. bad_calls)
    end })
    -- its answer is on its way before the others are asked for
    step_until(function() return bad.request:content() == "a" end)
    local good = {}
    for i = 1, 3 do
      good[i] = start(converse(), "good")
    end
    local raised = poll_until(all_ended)
    assert.equal(1, bad_calls)
    assert.equal(1, #raised)
    assert.truthy(raised[1]:find("spec/request_spec.lua:%d+: boom 1"), raised[1])
    -- told once, with what had arrived; the list is as it was
    assert.equal(1, bad.endings)
    assert.equal("cancelled", bad.err.kind)
    assert.equal("handler_failed", bad.err.code)
    assert.equal("a", bad.err.partial.content)
    assert.equal(0, #bad.chat)
    for i = 1, 3 do
      assert.equal(1, good[i].endings)
      assert.equal("ab", good[i].text)
    end
    bad.chat:append("user", "not busy")
  end)

  it("ends its own request in a blocking send", function()
    held(text("a"))
    local chat = converse()
    local ok, err = pcall(chat.send, chat, "Hi", { on_delta = function() error("boom") end })
    assert.is_false(ok)
    assert.truthy(tostring(err):find("boom", 1, true))
    assert.equal(0, #chat)
    assert.equal("ok", assert(chat:send("again")).content)
  end)

  it("may raise when everything has arrived at once", function()
    server:stream { table.concat(sse.answer("Hello")) }
    local track = start(converse(), "Hi", {
      on_delta = function() error("delta") end,
      on_event = function() error("event") end,
    })
    -- the whole answer is there before the first look at it: it counts
    step_until(function() return core.has_ended(track.request) end)
    local raised = poll_until(all_ended)
    assert.equal(1, track.endings)
    assert.equal("Hello", track.reply.content)
    assert.equal(1, #raised)
    -- on_event is the first to be told
    assert.truthy(raised[1]:find("event", 1, true))
    assert.equal(2, #track.chat)
  end)

  it("may raise any value, and in on_done", function()
    local value = { "a table" }
    server:default { chunks = { table.concat(sse.answer("Hello")) } }
    local chat = converse()
    local request = chat:start("Hi", { on_done = function() error(value) end })
    local raised = poll_until(all_ended)
    assert.equal(1, #raised)
    assert.equal(value, raised[1])
    assert.equal("done", request:state())
    assert.equal("Hello", request:wait().content)
    assert.equal(2, #chat)
    assert.equal("Hello", assert(chat:send("Again")).content)
    -- nil too
    chat:start("Hi", { on_done = function() error() end })
    assert.equal(0, client:active() - 1)
    poll_until(all_ended)
    assert.equal(6, #chat)
  end)

  it("raises out of a blocking send, of which a complete turn is kept", function()
    -- a plain answer is told when it is complete
    server:reply { body = { choices = { { message = { role = "assistant", content = "Hello" },
      finish_reason = "stop" } } } }
    local chat = converse()
    local ok, err = pcall(chat.send, chat, "Hi", { on_delta = function() error("boom") end })
    assert.is_false(ok)
    assert.truthy(tostring(err):find("boom", 1, true))
    assert.same({ "user: Hi", "assistant: Hello" }, contents(chat))
  end)

  it("may raise when the client is closed or the request cancelled", function()
    held(text("a"))
    local track = start(converse(), "Hi", { on_done = function() error("boom") end })
    wait_for_text(track, "a")
    local ok, err = pcall(track.request.cancel, track.request)
    assert.is_false(ok)
    assert.truthy(err:find("boom", 1, true))
    assert.equal("cancelled", track.request:state())
    assert.equal(0, client:active())

    held(text("a"))
    held(text("b"))
    track = start(converse(), "Hi", { on_delta = function() error("delta") end })
    local other = start(converse(), "Hi")
    core.step(client, 0.05)
    pcall(client.close, client)
    assert.equal(1, track.endings)
    assert.equal(1, other.endings)
    assert.equal("cancelled", other.err.kind)
  end)
end)

describe("inside a handler", function()
  it("a request may be cancelled: itself or another", function()
    for _, victim in ipairs { "itself", "another" } do
      held(text("a"))
      held(text("a"))
      local tracks, deltas = {}, 0
      for i = 1, 2 do
        tracks[i] = start(converse(), "Hi", {
          on_event = function()
            tracks[victim == "itself" and i or 3 - i].request:cancel()
          end,
          on_delta = function() deltas = deltas + 1 end,
        })
      end
      poll_until(function() return tracks[1].endings + tracks[2].endings >= 1 end)
      for i = 1, 2 do
        tracks[i].request:cancel()
      end
      for i = 1, 2 do
        assert.equal(1, tracks[i].endings, victim)
        assert.equal("cancelled", tracks[i].err.kind)
        assert.equal("cancelled", tracks[i].request:state())
        assert.equal(0, #tracks[i].chat)
      end
      -- who cancels itself wants to hear no more
      assert.truthy(victim == "another" or deltas == 0, deltas)
      assert.equal(0, client:active())
    end
  end)

  it("the state is 'cancelled' at once", function()
    held(text("a"))
    local state
    local track = start(converse(), "Hi", { on_event = function(_, request)
      request:cancel()
      state = request:state()
    end })
    poll_until(all_ended)
    assert.equal("cancelled", state)
    assert.equal(1, track.endings)
  end)

  it("the client may be closed", function()
    held(text("a"))
    held(text("a"))
    held("")
    local tracks = {}
    for i = 1, 3 do
      tracks[i] = start(converse(), "Hi", i < 3 and { on_delta = function()
        client:close()
      end } or nil)
    end
    poll_until(function() return tracks[1].endings + tracks[2].endings > 0 end)
    for i = 1, 3 do
      assert.equal(1, tracks[i].endings, i)
      assert.equal("cancelled", tracks[i].err.kind)
      assert.equal("closed", tracks[i].err.code)
      assert.equal(0, #tracks[i].chat)
    end
    assert.equal(0, opperchat.poll())
    assert.equal("opperchat.client (closed)", tostring(client))
    assert.has_error(function() tracks[1].chat:send("x") end)
    client = new_client()
  end)

  it("another request may be started, also on the same conversation", function()
    server:default { chunks = sse.answer("Hello"), pause = 0.001 }
    local chat, replies = converse(), {}
    local function on_done(reply)
      replies[#replies + 1] = reply.content
      if #replies < 3 then
        chat:start("Again", { on_done = on_done })
      end
    end
    chat:start("Hi", { on_done = on_done })
    poll_until(all_ended)
    assert.equal(3, #replies)
    assert.equal(6, #chat)
    local other
    local track = start(converse(), "Hi", { on_delta = function()
      other = other or start(converse(), "Hi")
    end })
    poll_until(all_ended)
    assert.equal(1, track.endings)
    assert.equal(1, other.endings)
    assert.equal("Hello", other.text)
  end)

  it("send blocks, and the others are told later", function()
    server:default { chunks = sse.answer("a", "b"), pause = 0.003 }
    local inner, depth, deepest = {}, 0, 0
    local function nest()
      depth = depth + 1
      deepest = math.max(deepest, depth)
      if depth < 3 then
        inner[#inner + 1] = assert(converse():send("inner", { on_delta = nest })).content
      end
      depth = depth - 1
    end
    local track = start(converse(), "outer", { on_delta = nest })
    local beside = start(converse(), "beside")
    poll_until(all_ended)
    assert.truthy(deepest >= 2)
    assert.truthy(#inner >= 1)
    for _, content in ipairs(inner) do
      assert.equal("ab", content)
    end
    assert.equal(1, track.endings)
    assert.equal("ab", track.reply.content)
    assert.equal(1, beside.endings)
    assert.equal("ab", beside.text)
  end)

  it("a request may be waited for, even itself", function()
    server:stream({ text("a"), text("b"), STOP .. DONE }, { pause = 0.003 })
    local endings, waited, events = 0, nil, ""
    local request
    request = converse():start("Hi", {
      on_delta = function()
        waited = waited or request:wait(5)
      end,
      on_event = function(event)
        assert.equal(0, endings)
        events = events .. event.text
      end,
      on_done = function(_, err)
        assert.is_nil(err)
        endings = endings + 1
      end,
    })
    local raised = poll_until(all_ended)
    assert.same({}, raised)
    assert.equal(1, endings)
    assert.equal("ab", waited.content)
    -- what was being told when the end came is not told behind it
    assert.truthy(#events <= 2)
  end)

  it("a request whose end has arrived may be waited for", function()
    server:default { chunks = sse.answer("a", "b") }
    local waited
    local request
    request = converse():start("Hi", {
      on_delta = function()
        waited = waited or request:wait(5)
      end,
    })
    step_until(function() return request:state() == "done" end)
    assert.same({}, poll_until(all_ended))
    assert.equal("ab", waited.content)
  end)

  it("the collector may run, and the conversation be closed", function()
    server:default { chunks = sse.answer("a", "b"), pause = 0.002 }
    local track = start(converse(), "Hi", { on_delta = function()
      collectgarbage()
      collectgarbage()
    end })
    poll_until(all_ended)
    assert.equal("ab", track.reply.content)

    local chat = converse()
    track = start(chat, "Hi", { on_delta = function() chat:close() end })
    poll_until(all_ended)
    assert.equal(1, track.endings)
    assert.equal("cancelled", track.err.kind)
    assert.has_error(function() chat:send("x") end)
  end)

  it("an abandoned request leaves its conversation to the next one", function()
    local chat, nested = converse(), nil
    local outer = start(converse(), "Hi", { on_done = function()
      held(text("a"))
      -- what a handler raises ends the wait for it, and nobody else has a hold of it
      local ok, err = pcall(chat.send, chat, "x", { keep_partial = true, on_delta = function()
        error("enough", 0)
      end })
      assert.is_false(ok)
      assert.equal("enough", err)
      held(text("b"), STOP .. DONE)
      nested = start(chat, "y")
    end })
    poll_until(function() return nested and nested.request:content() == "b" end)
    assert.equal("done", outer.request:state())
    -- its end, told meanwhile, has kept nothing and given nothing free
    assert.equal(0, #chat)
    assert.has_error(function() chat:append("user", "z") end)
    server:release()
    poll_until(all_ended)
    assert.same({ "user: y", "assistant: b" }, contents(chat))
  end)

  it("poll is refused, and says so", function()
    server:default { chunks = sse.answer("a") }
    local errors = {}
    local function try()
      for _, action in ipairs { opperchat.poll, function() client:poll() end,
        function() opperchat.sleep(0.001) end } do
        local ok, err = pcall(action)
        errors[#errors + 1] = ok and "not refused" or err
      end
    end
    local track = start(converse(), "Hi", { on_delta = try, on_done = function() try() end })
    poll_until(all_ended)
    assert.equal("done", track.request:state())
    assert.equal(6, #errors)
    for _, err in ipairs(errors) do
      assert.truthy(err:find("not within a handler", 1, true), err)
      assert.truthy(err:find("^spec/request_spec%.lua:") or err:find("poll", 1, true), err)
    end
  end)
end)

describe("cancel", function()
  it("works before the first byte, in the middle, and not after the end", function()
    local chat = converse()
    chat:append("user", "zero"):append("assistant", "null")
    local before = contents(chat)

    server:script { { "stall" } }
    local track = start(chat, "Hi")
    track.request:cancel()
    server:reset()
    assert.equal(1, track.endings)
    assert.equal("cancelled", track.err.kind)
    assert.equal("cancelled", track.err.code)
    assert.is_nil(track.err.partial)
    assert.same(before, contents(chat))

    held(text("half"))
    track = start(chat, "Hi")
    wait_for_text(track, "half")
    track.request:cancel()
    track.request:cancel()
    assert.equal(1, track.endings)
    assert.equal("half", track.err.partial.content)
    assert.equal("cancelled", track.request:state())
    assert.same(before, contents(chat))
    local reply, err = track.request:wait()
    assert.is_nil(reply)
    assert.equal(track.err, err)

    track = start(chat, "Hi")
    poll_until(all_ended)
    track.request:cancel()
    assert.equal(1, track.endings)
    assert.equal("done", track.request:state())
    assert.equal("ok", chat:last().content)
    assert.equal(4, #chat)

    -- and the same call again
    assert.equal("ok", assert(chat:send("Hi")).content)
    poll_until(all_ended)
    assert.equal(1, track.endings)
  end)

  it("keeps the text when it is told to, and no call that was cut", function()
    for _, where in ipairs { "send", "conversation" } do
      local chat = converse { keep_partial = where == "conversation" or nil }
      held(text("half an ") .. text("answer") .. calls(call(0, "a", "f", '{"x":')))
      local track = start(chat, "Hi", { keep_partial = where == "send" or nil })
      wait_for_text(track, "half an answer")
      track.request:cancel()
      assert.equal("cancelled", track.err.kind)
      assert.same({ "user: Hi", "assistant: half an answer" }, contents(chat))
      assert.is_nil(chat:last().tool_calls)
      assert.equal("ok", assert(chat:send("Go on")).content)
      local sent = server:requests()
      assert.equal(3, #sent[#sent].json.messages)
      -- nothing to keep
      server:script { { "stall" } }
      track = start(chat, "Hi", { keep_partial = true })
      track.request:cancel()
      server:reset()
      assert.equal(4, #chat)
    end
  end)

  it("keeps the text of an early end as well, when it is told to", function()
    local chat = converse { keep_partial = true }
    server:stream { text("half") }
    local track = start(chat, "Hi")
    poll_until(all_ended)
    assert.equal("truncated", track.err.kind)
    assert.same({ "user: Hi", "assistant: half" }, contents(chat))
    server:stream { text("half") }
    track = start(chat, "Hi", { keep_partial = false })
    poll_until(all_ended)
    assert.equal("truncated", track.err.kind)
    assert.equal(2, #chat)
  end)

  it("gives the connection back or closes it", function()
    for _ = 1, 20 do
      held(text("x"))
      local track = start(converse(), "Hi")
      track.request:cancel()
    end
    server:reset()
    assert(converse():send("Hi"))
    local deadline = core.now() + 5
    while server:status().open > 2 and core.now() < deadline do
      opperchat.sleep(0.01)
    end
    assert.truthy(server:status().open <= 2)
  end)
end)

describe("a send that raises", function()
  -- Sends, and raises out of the wait after so many steps, as memory that runs out or
  -- a hook of Ctrl-C does.
  local function interrupted(steps, chat, given)
    local advance = core.advance
    core.advance = function(...)
      if steps == 0 then
        error("interrupted!", 0)
      end
      steps = steps - 1
      return advance(...)
    end
    local worked, problem = pcall(chat.send, chat, "Hi", given)
    core.advance = advance
    assert.is_false(worked)
    assert.equal("interrupted!", problem)
  end

  it("gives its conversation free", function()
    server:script { { "send", HEAD .. text("half") }, { "stall" } }
    local chat, endings = converse { keep_partial = true }, {}
    interrupted(0, chat, { on_done = function(_, err)
      endings[#endings + 1] = err.code
    end })
    server:reset()
    assert.equal(0, client:active())
    assert.equal(0, #chat)
    assert.equal("cancelled", table.concat(endings, " "))
    chat:append("user", "One")
    assert.equal("ok", assert(chat:send()).content)
    assert.equal(2, #chat)
    assert.equal(1, #endings)
  end)

  it("commits nothing of an answer that was there already", function()
    -- the end of it cannot be told yet, as when there is no memory
    local chat, drain, advance = converse(), core.drain, core.advance
    core.drain = function()
      error("not enough memory", 0)
    end
    core.advance = core.drain
    local worked, problem = pcall(function()
      local request = core.request_start
      core.request_start = function(sent)
        request(sent)
        step_until(function() return core.has_ended(sent) end)
      end
      local sent, err = pcall(chat.send, chat, "Hi")
      core.request_start = request
      error(err, sent and 1 or 0)
    end)
    core.drain, core.advance = drain, advance
    assert.is_false(worked)
    assert.equal("not enough memory", problem)
    -- the next one begins before the old one's end is told
    assert.equal(0, #chat)
    assert.equal("ok", assert(chat:send("Again")).content)
    assert.equal("Again", chat:messages()[1].content)
    assert.equal(2, #chat)
    assert.equal(0, client:active())
    assert.equal("ok", assert(chat:send("And again")).content)
    assert.equal(4, #chat)
  end)

  it("lets the others go on", function()
    local other = start(converse(), "Hello")
    interrupted(0, converse())
    assert.equal("ok", assert(other.request:wait()).content)
  end)
end)

describe("when references are dropped", function()
  it("a conversation does not hold the requests that it has made", function()
    local chat, seen = converse(), setmetatable({}, { __mode = "k" })
    local request = chat:start("Hi")
    seen[request] = true
    assert(request:wait())
    request = nil -- luacheck: ignore 311
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(seen))
    assert.equal(2, #chat)
  end)

  it("a request goes on and tells its end", function()
    server:stream({ text("a"), text("b"), STOP .. DONE }, { pause = 0.01 })
    local done, delta = 0, ""
    do
      local own = new_client()
      local chat = opperchat.conversation { client = own, model = "m" }
      chat:start("Hi", {
        on_delta = function(piece) delta = delta .. piece end,
        on_done = function(reply)
          assert.equal("ab", reply.content)
          done = done + 1
        end,
      })
    end
    poll_until(function()
      collectgarbage()
      return done > 0
    end)
    assert.equal(1, done)
    assert.equal("ab", delta)
    assert.equal(0, opperchat.poll())
  end)

  it("everything is collected once it is over", function()
    local seen = setmetatable({}, { __mode = "v" })
    do
      local own = new_client()
      local chat = opperchat.conversation { client = own, model = "m" }
      local request = chat:start("Hi", { on_done = function() end })
      seen[1], seen[2], seen[3] = own, chat, request
      request:wait()
    end
    for _ = 1, 4 do
      collectgarbage()
    end
    assert.is_nil(next(seen))
  end)

  it("a closed client keeps nothing alive", function()
    local seen = setmetatable({}, { __mode = "v" })
    local done = 0
    do
      local own = new_client()
      held(text("a"))
      local chat = opperchat.conversation { client = own, model = "m" }
      seen[1], seen[2] = own, chat
      seen[3] = chat:start("Hi", { on_done = function() done = done + 1 end })
      own:close()
    end
    assert.equal(1, done)
    for _ = 1, 4 do
      collectgarbage()
    end
    assert.is_nil(next(seen))
  end)

  if _VERSION == "Lua 5.4" then
    local load_string = load

    it("to-be-closed variables end their requests", function()
      local scope = assert(load_string [[
        local make, start, kind = ...
        local client <close> = make()
        local chat <close> = kind ~= "client" and start.chat(client) or nil
        local track = start.request(client, chat)
        local request <close> = kind == "request" and track.request or nil
        return track
      ]])
      for _, kind in ipairs { "client", "conversation", "request" } do
        held(text("a"))
        local track = scope(new_client, {
          chat = function(own) return opperchat.conversation { client = own, model = "m" } end,
          request = function(own, chat)
            return start(chat or opperchat.conversation { client = own, model = "m" }, "Hi")
          end,
        }, kind)
        assert.equal(1, track.endings, kind)
        assert.equal("cancelled", track.err.kind)
        assert.equal(0, opperchat.poll())
      end
    end)
  end
end)

describe("two clients in one state", function()
  it("do not mix, and one closes without the other", function()
    local other = new_client()
    server:default { chunks = sse.answer("a", "b"), pause = 0.002 }
    local tracks = {}
    for i = 1, 10 do
      tracks[i] = start(converse { client = i % 2 == 0 and client or other }, "Hi")
    end
    assert.equal(5, other:active())
    other:close()
    poll_until(all_ended)
    for i = 1, 10 do
      assert.equal(1, tracks[i].endings)
      assert.equal(i % 2 == 0 and "ab" or nil, tracks[i].reply and tracks[i].reply.content)
    end
    -- polling one leaves the other alone
    other = new_client()
    local mine, theirs = start(converse(), "Hi"), start(converse { client = other }, "Hi")
    local deadline = core.now() + 5
    while client:poll(0.05) > 0 and core.now() < deadline do -- luacheck: ignore 542
    end
    assert.equal(1, mine.endings)
    assert.equal(0, theirs.endings)
    while other:poll(0.05) > 0 and core.now() < deadline do -- luacheck: ignore 542
    end
    assert.equal(1, theirs.endings)
    other:close()
  end)
end)

describe("a budget", function()
  it("keeps the rest for the next call, losing and doubling nothing", function()
    server:default { chunks = sse.answer("a", "b", "c", "d") }
    local tracks = {}
    local function busy()
      local stop = core.now() + 0.002
      repeat until core.now() >= stop
    end
    for i = 1, 12 do
      tracks[i] = start(converse(), "Hi")
      local state = core.state(tracks[i].request)
      local on_delta = state.on_delta
      state.on_delta = function(piece)
        busy()
        on_delta(piece)
      end
    end
    local polls, longest, deadline = 0, 0, core.now() + 10
    while client:active() > 0 and core.now() < deadline do
      local began = core.now()
      if polls % 2 == 0 then
        opperchat.poll { budget = 0.001 }
      else
        client:poll { budget = 0 }
      end
      longest = math.max(longest, core.now() - began)
      polls = polls + 1
    end
    assert.truthy(polls >= 12, polls)
    for i = 1, 12 do
      assert.equal(1, tracks[i].endings)
      assert.equal("abcd", tracks[i].text)
    end
  end)

  it("leaves the timeout at nothing while news is waiting", function()
    server:default { chunks = { table.concat(sse.answer("a")) } }
    for _ = 1, 5 do
      start(converse(), "Hi")
    end
    local deadline = core.now() + 5
    while client:active() == 5 and core.now() < deadline do
      opperchat.sleep(0.02)
      if client:active() == 5 then
        client:poll { budget = 1e-9 }
      end
    end
    opperchat.poll()
    while client:active() > 0 and core.now() < deadline do
      opperchat.poll(0.02)
    end
    assert.equal(0, client:active())
    assert.is_nil(client:timeout())
  end)

  it("is checked", function()
    for _, bad in ipairs { { budget = "1" }, { bugdet = 1 }, "1", true } do
      assert.has_error(function() opperchat.poll(bad) end)
      assert.has_error(function() client:poll(bad) end)
    end
  end)
end)

describe("a step", function()
  it("goes on until there is news", function()
    server:reply { body = { choices = { { message = { role = "assistant", content = "Hello" },
      finish_reason = "stop" } } } }
    -- more than the buffers of a socket take at once
    local track = start(converse(), ("x"):rep(2000000))
    local steps, started = 0, core.now()
    while track.endings == 0 do
      assert(core.now() - started < 10, "the answer did not come")
      core.step(client, 10)
      core.drain(client)
      steps = steps + 1
    end
    assert.equal("Hello", track.reply.content)
    assert.is_true(steps <= 3, steps .. " steps")
  end)

  it("ends when its time is up", function()
    -- that the headers have come is an event and no news
    held("", text("d") .. STOP .. DONE)
    local track = start(converse(), "Hi")
    local started = core.now()
    core.step(client, 0.05)
    local took = core.now() - started
    assert.is_true(took >= 0.045 and took < 2, took .. " s")
    started = core.now()
    for _ = 1, 100 do
      core.step(client, 0)
    end
    assert.is_true(core.now() - started < 2, "a step of no time has waited")
    server:release()
    poll_until(all_ended)
    assert.equal("d", track.text)
  end)
end)

describe("a deadline", function()
  -- Starts a request on a client with these times; gathers its end.
  local function run(timeout, steps, poll_seconds)
    client:close()
    client = new_client { timeout = timeout }
    server:script(steps)
    local began = core.now()
    local track = start(converse(), "Hi")
    local longest = 0
    poll_until(function()
      local before = core.now()
      opperchat.poll()
      longest = math.max(longest, core.now() - before)
      return track.endings > 0
    end, poll_seconds or 0.005)
    track.took = core.now() - began
    -- none of them blocks a poll
    assert.truthy(longest < 0.1 or os.getenv("OPPERCHAT_SLOW"), longest)
    return track
  end

  it("ends what sends no token at all", function()
    local track = run({ first_token = 0.1 }, { { "stall" } })
    assert.equal("timeout", track.err.kind)
    assert.equal("first_token_timeout", track.err.code)
    assert.truthy(track.took >= 0.09 and track.took < 2, track.took)
  end)

  it("for the first token is not moved by comments and empty chunks", function()
    local steps = { { "send", HEAD } }
    for i = 1, 30 do
      steps[#steps + 1] = { "send", i % 2 == 0 and ": still thinking\n\n"
        or sse.delta('{"role":"assistant","content":""}') }
      steps[#steps + 1] = { "sleep", 0.02 }
    end
    local track = run({ first_token = 0.15, idle = 5 }, steps)
    assert.equal("first_token_timeout", track.err.code)
    assert.truthy(track.took < 0.5, track.took)
  end)

  it("for the first token is over with text, reasoning or a call", function()
    for name, first in pairs {
      text = text("a"), reasoning = sse.delta('{"reasoning":"a"}'),
      call = calls(call(0, "a", "f", "")),
    } do
      local track = run({ first_token = 0.05, idle = 5 },
        { { "send", HEAD .. first }, { "sleep", 0.12 }, { "send", STOP .. DONE }, { "close" } })
      assert.equal("stop", track.reply and track.reply.finish_reason,
        name .. ": " .. tostring(track.err))
    end
  end)

  it("ends a stream that stalls; comments are life", function()
    local track = run({ idle = 0.1 }, { { "send", HEAD .. text("half") }, { "stall" } })
    assert.equal("idle_timeout", track.err.code)
    assert.equal("timeout", track.err.kind)
    assert.equal("half", track.err.partial.content)
    assert.truthy(track.took >= 0.09 and track.took < 2, track.took)

    local steps = { { "send", HEAD .. text("a") } }
    for _ = 1, 10 do
      steps[#steps + 1] = { "sleep", 0.03 }
      steps[#steps + 1] = { "send", ": life\n" }
    end
    steps[#steps + 1] = { "send", "\n" .. text("b") .. STOP .. DONE }
    steps[#steps + 1] = { "close" }
    track = run({ idle = 0.2 }, steps)
    assert.equal("ab", track.reply and track.reply.content, tostring(track.err))
    assert.truthy(track.took > 0.25, track.took)
  end)

  it("in total ends what is alive", function()
    local steps = { { "send", HEAD } }
    for _ = 1, 100 do
      steps[#steps + 1] = { "send", text("a") }
      steps[#steps + 1] = { "sleep", 0.01 }
    end
    local track = run({ total = 0.15, idle = 5 }, steps)
    assert.equal("total_timeout", track.err.code)
    assert.truthy(#track.err.partial.content > 1)
    assert.equal(track.text, track.err.partial.content)
    assert.truthy(track.took >= 0.14 and track.took < 1, track.took)
    assert.equal(0, #track.chat)
  end)

  it("is kept in a blocking send, too", function()
    client:close()
    client = new_client { timeout = { idle = 0.1 } }
    server:script { { "send", HEAD .. text("half") }, { "stall" } }
    local chat = converse()
    local reply, err = chat:send("Hi", { stream = true })
    assert.is_nil(reply)
    assert.equal("idle_timeout", err.code)
    assert.equal("ok", assert(chat:send("Hi")).content)
  end)
end)

describe("each request ends exactly once", function()
  -- Random streams, cuts, cancels, closes, collections and raising handlers.
  local function random(seed)
    local state = seed
    return function(n)
      state = (state * 16807) % 2147483647
      return state % n + 1
    end
  end

  -- What is answered to whom is left to chance, too.
  local EXPECTED = "p1 p2 p3 p4 p5 "

  local function random_answer(rnd)
    local events = {}
    for i = 1, rnd(6) - 1 do
      local piece = ("p%d "):format(i)
      events[#events + 1] = rnd(5) == 1 and ": comment\n\n" or ""
      events[#events + 1] = text(piece)
    end
    local ending = rnd(5)
    if ending > 1 then
      events[#events + 1] = STOP
    end
    if ending > 2 then
      events[#events + 1] = DONE
    end
    local bytes = table.concat(events)
    if rnd(4) == 1 then
      bytes = bytes:sub(1, rnd(#bytes + 1) - 1)
    elseif rnd(8) == 1 then
      bytes = bytes .. 'data: {"error":"died"}\n\n'
    end
    local at = rnd(#bytes + 1)
    local steps = { { "send", HEAD .. bytes:sub(1, at - 1) } }
    if rnd(2) == 1 then
      steps[#steps + 1] = { "sleep", rnd(4) / 1000 }
    end
    steps[#steps + 1] = { "send", bytes:sub(at) }
    local last = rnd(6)
    steps[#steps + 1] = { last == 1 and "reset" or last == 2 and "stall" or "close" }
    return steps
  end

  local function scenario(seed)
    local rnd = random(seed)
    local clients, tracks, stopping = { new_client(), new_client() }, {}, false
    for i = 1, rnd(6) do
      server:script(random_answer(rnd))
      local own = clients[rnd(2)]
      local chat = opperchat.conversation { client = own, model = "m" }
      local mood = rnd(10)
      local track
      track = { endings = 0, text = "", chat = chat, number = i }
      tracks[i] = track
      track.request = chat:start("Hi", {
        keep_partial = rnd(4) == 1,
        on_delta = function(piece)
          track.late = track.late or track.endings > 0
          track.text = track.text .. piece
          if mood == 1 then
            error("random")
          elseif mood == 2 then
            track.request:cancel()
          elseif mood == 3 then
            tracks[rnd(#tracks)].request:cancel()
          elseif mood == 4 and not stopping then
            own:close()
          elseif mood == 5 then
            collectgarbage()
          end
        end,
        on_done = function(reply, err)
          track.endings = track.endings + 1
          track.reply, track.err = reply, err
          if mood == 6 then
            error("random end")
          end
        end,
      })
    end
    local function ended()
      for _, track in ipairs(tracks) do
        if track.endings == 0 then
          return false
        end
      end
      return true
    end
    local deadline = core.now() + 0.06
    while not ended() and core.now() < deadline do
      local action = rnd(40)
      if action == 1 then
        pcall(tracks[rnd(#tracks)].request.cancel, tracks[rnd(#tracks)].request)
      elseif action == 2 then
        pcall(clients[rnd(2)].close, clients[1])
      elseif action == 3 then
        collectgarbage()
      elseif action == 4 then
        pcall(tracks[rnd(#tracks)].request.wait, tracks[rnd(#tracks)].request, 0.002)
      end
      pcall(opperchat.poll, action > 20 and 0.002 or { budget = 1e-6, seconds = 0.001 })
    end
    -- what stalls is ended by closing
    stopping = true
    for _, own in ipairs(clients) do
      pcall(own.close, own)
      pcall(own.close, own)
    end
    for _, track in ipairs(tracks) do
      local where = ("seed %d, request %d"):format(seed, track.number)
      assert.equal(1, track.endings, where)
      assert.falsy(track.late, where)
      assert.truthy((track.reply ~= nil) ~= (track.err ~= nil), where)
      assert.equal(track.text, EXPECTED:sub(1, #track.text), where)
      local state = track.request:state()
      if track.reply then
        assert.equal("done", state, where)
        assert.equal(track.text, track.reply.content or "", where)
        assert.equal(2, #track.chat, where)
      else
        assert.truthy(state == "failed" or state == "cancelled", where .. ": " .. state)
        local partial = track.err.partial and track.err.partial.content or ""
        assert.equal(track.text, partial:sub(1, #track.text), where)
        assert.truthy(#track.chat == 0 or #track.chat == 2, where)
        assert.equal("user", #track.chat == 0 and "user" or track.chat:messages(1, 1)[1].role)
      end
      track.chat:append("user", "not busy")
    end
    server:reset()
  end

  it("whatever happens", function()
    local seed = tonumber(os.getenv("OPPERCHAT_SEED"))
    if seed then
      scenario(seed)
      return
    end
    seed = os.time() % 1000000
    local stop = core.now() + 5
    for i = 1, 60 do
      scenario(seed * 100 + i)
      if core.now() > stop then
        break
      end
    end
  end)
end)

describe("a process", function()
  -- Runs Lua code in a child process: its output, the last line of which is how
  -- it ended.
  local function child(code)
    local output, status = shell.run_lua(("local URL = %q\n"):format(server.url) .. [[
      io.stdout:setvbuf("no")
      local YES = _VERSION == "Lua 5.1" and 0 or true
    ]] .. code)
    return output .. "exit=" .. status .. "\n"
  end

  it("may exit in the middle of a transfer", function()
    for _, how in ipairs { "os.exit(YES, true)", "os.exit(YES)", "", "error('bye')",
      "chat = nil client = nil collectgarbage() collectgarbage()" } do
      held(text("a"))
      held(text("a"))
      local output = child([[
        local opperchat = require "opperchat"
        client = opperchat.client { base_url = URL, api_key = "k" }
        chat = opperchat.conversation { client = client, model = "m" }
        local other = opperchat.conversation { client = client, model = "m" }
        local seen = ""
        local function on_delta(text) seen = seen .. text end
        chat:start("Hi", { on_delta = on_delta, on_done = function() print("told") end })
        local task = opperchat.go(function() other:send("Hi", { on_delta = on_delta }) end)
        while seen ~= "aa" do opperchat.poll(0.05) end
        print("receiving", task.state)
        ]] .. how)
      assert.truthy(output:find("receiving\trunning\n", 1, true), output)
      assert.truthy(output:find(how:find("error") and "exit=1\n$" or "^[^\n]*\nexit=0\n$"),
        output)
    end
  end)

  it("may exit inside a handler", function()
    held(text("a"))
    local output = child([[
      local opperchat = require "opperchat"
      local client = opperchat.client { base_url = URL, api_key = "k" }
      local chat = opperchat.conversation { client = client, model = "m" }
      chat:send("Hi", { on_delta = function() print("out") os.exit(YES, true) end })]])
    assert.equal("out\nexit=0\n", output)
  end)

  it("may load the module in a coroutine that dies", function()
    server:stream(sse.answer("a", "b"), { pause = 0.01 })
    local output = child([[
      local opperchat, chat, request
      local thread = coroutine.create(function()
        opperchat = require "opperchat"
        local client = opperchat.client { base_url = URL, api_key = "k" }
        chat = opperchat.conversation { client = client, model = "m" }
        request = chat:start("Hi", { on_delta = function(text) io.write(text) end })
        error("dies")
      end)
      assert(not coroutine.resume(thread))
      thread = nil
      for _ = 1, 3 do collectgarbage() end
      local junk = {}
      for i = 1, 1000 do junk[i] = coroutine.create(function() end) end
      collectgarbage()
      print(" " .. assert(request:wait()).content, #chat)]])
    assert.equal("ab ab\t2\nexit=0\n", output)
  end)
end)
