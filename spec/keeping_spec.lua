-- Conversations with a journal, as programs use them. What the files are like is
-- in store_spec.lua; going on with one in keeping_resume_spec.lua; what happens
-- when they cannot be written in keeping_failure_spec.lua.

local kept = require "spec.support.kept"
local opperchat = require "opperchat"

local policy = opperchat.policy

kept.for_tests()

-- Does something to a conversation with a journal, which has to take `count`
-- lines (1), and leave a file of the very same conversation. Returns the last line.
local function change(chat, path, fn, count)
  local before = #kept.lines(path)
  fn(chat)
  local lines = kept.lines(path)
  assert.equal(count or 1, #lines - before)
  kept.check(chat, path)
  return lines[#lines]
end

-- Some turns, without a server.
local function fill(chat, turns)
  for i = 1, turns do
    chat:append("user", "question " .. i):append("assistant", "answer " .. i)
  end
  return chat
end

local WEATHER, answer_with_tool = kept.WEATHER, kept.answer_with_tool

-- Turns ---------------------------------------------------------------------------

describe("a turn is one line", function()
  it("of the prompt and the answer", function()
    local chat, path = kept.new { system = "Be brief." }
    local lines, header = kept.lines(path)
    assert.equal(1, header.opperchat)
    assert.same({ model = "m" }, header.options)
    assert.equal(1, #lines)
    assert.equal("Be brief.", lines[1].append[1].content)
    kept.answer("Hello.")
    local line = change(chat, path, function() assert(chat:send("Hi")) end)
    assert.equal("Hi", line.append[1].content)
    assert.equal("Hello.", line.append[2].content)
    assert.equal(2, #line.append)
    assert.is_nil(line.splice)
    assert.equal(1, line.usage.requests)
    assert.equal(0.25, line.usage.cost)
    assert.is_nil(line.options)
    chat:append("user", "more")
    change(chat, path, function() assert(chat:send()) end)
    chat:close()
  end)

  it("streamed, with handlers, in a loop, inside go", function()
    local chat, path = kept.new()
    change(chat, path, function() assert(chat:send("a", { on_delta = function() end })) end)
    change(chat, path, function() assert(assert(chat:start("b")):wait()) end)
    change(chat, path, function()
      for _ in chat:stream("c") do end -- luacheck: ignore 542
    end)
    change(chat, path, function()
      local task = opperchat.go(function()
        assert(chat:send("d"))
        local sent = chat:stream("e")
        -- a `for` over it cannot yield on PUC Lua 5.1
        while sent() do end -- luacheck: ignore 542
      end)
      task:wait()
    end, 2)
    assert.equal(10, #chat)
    chat:close()
  end)

  it("of a run with all its steps", function()
    local chat, path = kept.new { tools = { WEATHER } }
    answer_with_tool()
    local line = change(chat, path, function() assert(chat:run("Rain?")) end)
    assert.equal(4, #line.append)
    assert.equal("rain in Oslo", line.append[3].content)
    assert.equal(2, line.usage.requests)
    -- and inside go, with a policy that has something to do
    answer_with_tool()
    line = change(chat, path, function()
      opperchat.go(function() assert(chat:run("Again?")) end):wait()
    end)
    assert.equal(4, #line.append)
    chat:close()
  end)

  it("of a run that was stopped", function()
    local chat, path = kept.new { tools = { WEATHER } }
    kept.server:default(kept.completion { role = "assistant", tool_calls = {
      kept.call("call_1", "weather", '{"city":"Oslo"}'),
    } })
    local line = change(chat, path, function()
      local reply, err = chat:run("Rain?", { max_steps = 2 })
      assert.is_nil(reply)
      assert.equal("max_steps", err.code)
    end)
    assert.equal(5, #line.append)
    chat:close()
  end)

  it("of an answer that fits in the end", function()
    local chat, path = kept.new { schema = { age = "integer" }, schema_retries = 2 }
    kept.answer('{"age":"old"}')
    kept.answer('{"age":36}')
    local line = change(chat, path, function()
      assert.equal(36, assert(chat:send("How old?")).parsed.age)
    end)
    assert.equal(2, #line.append)
    assert.equal('{"age":36}', line.append[2].content)
    assert.equal(2, line.usage.requests)
    chat:close()
  end)

  it("of what was kept of an answer", function()
    local chat, path = kept.new { keep_partial = true }
    kept.break_off("It was")
    local line = change(chat, path, function()
      local reply, err = chat:send("A story", { stream = true })
      assert.is_nil(reply)
      assert.equal("truncated", err.kind)
    end)
    assert.equal("It was", line.append[2].content)
    chat:close()
  end)

  it("of another answer to the same question", function()
    local chat, path = kept.new { tools = { WEATHER } }
    kept.answer("one")
    assert(chat:send("a"))
    kept.answer("two")
    local line = change(chat, path, function() assert(chat:retry { temperature = 1 }) end)
    assert.same({ 2, 1 }, line.splice)
    assert.equal("two", line.with[1].content)
    answer_with_tool()
    assert(chat:run("b"))
    answer_with_tool()
    -- what is the same in both is not written again
    line = change(chat, path, function() assert(chat:retry()) end)
    assert.equal(4, line.splice[1])
    assert.equal(6, #chat)
    chat:close()
  end)

  it("and no line when it fails", function()
    local chat, path = kept.new()
    change(chat, path, function()
      kept.server:reply { status = 500, body = "no" }
      assert.is_nil((chat:send("a")))
      kept.break_off("It was")
      assert.is_nil((chat:send("a", { stream = true })))
      local sent = assert(chat:start("a"))
      sent:cancel()
      assert.is_nil((sent:wait()))
      kept.answer("no JSON")
      assert.is_nil((chat:send("a", { schema = { x = "string" } })))
    end, 0)
    -- what a failed one has cost is in the next line
    local line = change(chat, path, function() assert(chat:send("a")) end)
    assert.equal(chat:usage().requests, line.usage.requests)
    assert.equal(0.25, line.usage.cost)
    chat:close()
  end)
end)

describe("what a policy does is in the line of its turn", function()
  it("keep and fit", function()
    local chat, path = kept.new { system = "s", policy = policy.keep { turns = 1 } }
    fill(chat, 3)
    local line = change(chat, path, function() assert(chat:send("next")) end)
    assert.same({ 2, 6 }, line.splice)
    assert.equal(2, #line.append)
    assert.equal(3, #chat)
    chat:close()
    chat, path = kept.new { policy = policy.fit { tokens = 60 } }
    fill(chat, 40)
    line = change(chat, path, function() assert(chat:send("next")) end)
    assert.equal(1, line.splice[1])
    assert.equal("next", line.append[1].content)
    chat:close()
  end)

  it("in a run, and with an answer that fits in the end", function()
    local chat, path = kept.new { context_window = 4000, policy = policy.keep { turns = 1 },
      tools = { WEATHER }, schema_retries = 1 }
    fill(chat, 3)
    answer_with_tool()
    local line = change(chat, path, function() assert(chat:run("Rain?")) end)
    assert.same({ 1, 6 }, line.splice)
    assert.equal(4, #chat)
    kept.answer("no")
    kept.answer('{"x":"y"}')
    line = change(chat, path, function() assert(chat:send("x?", { schema = { x = "string" } })) end)
    assert.same({ 1, 4 }, line.splice)
    assert.equal(2, #chat)
    chat:close()
  end)

  it("summarize before a request", function()
    local chat, path = kept.new { context_window = 4000,
      policy = policy.summarize { tokens = 80, turns = 1 } }
    fill(chat, 40)
    kept.answer("They counted.")
    kept.answer("Nine.")
    local line = change(chat, path, function() assert(chat:send("next")) end)
    assert.equal(1, line.splice[1])
    assert.truthy(line.splice[2] > 60)
    assert.equal("Earlier: They counted.", line.with[1].content)
    assert.same({ 1 }, line.summary)
    assert.equal(2, line.usage.requests)
    -- a turn that fails leaves nothing, and the next one has the summary
    fill(chat, 40)
    kept.answer("They counted more.")
    kept.server:reply { status = 500, body = "no" }
    change(chat, path, function() assert.is_nil((chat:send("next"))) end, 0)
    line = change(chat, path, function() assert(chat:send("next")) end)
    assert.equal("Earlier: They counted more.", line.with[1].content)
    assert.equal(4, line.usage.requests)
    chat:close()
  end)

  it("summarize in the background: a line of its own", function()
    local seen
    local chat, path = kept.new { context_window = 4000,
      policy = policy.summarize { tokens = 80, turns = 1 },
      on_compact = function(report) seen = report end }
    fill(chat, 40)
    kept.server:stream { 'data: {"choices":[{"index":0,"delta":{"content":"Nine."},'
      .. '"finish_reason":"stop"}]}\n\n', "data: [DONE]\n\n" }
    kept.answer("They counted.")
    local line = change(chat, path, function()
      assert(assert(chat:start("next")):wait())
      kept.drain()
    end, 2)
    assert.is_true(seen.in_background)
    assert.equal(1, line.splice[1])
    assert.same({ 1 }, line.summary)
    assert.is_nil(line.append)
    assert.equal(2, line.usage.requests)
    -- on demand
    fill(chat, 40)
    kept.answer("More.")
    change(chat, path, function() assert(chat:compact()) end)
    chat:close()
  end)
end)

-- Edits ---------------------------------------------------------------------------

describe("an edit is one line", function()
  local chat, path

  before_each(function()
    chat, path = kept.new { system = "s" }
    fill(chat, 2)
  end)

  after_each(function()
    chat:close()
  end)

  it("of append and undo", function()
    change(chat, path, function()
      assert.equal(chat, chat:append("user", "a"))
    end)
    change(chat, path, function()
      chat:append { role = "assistant", content = { { type = "text", text = "b" } }, odd = 1.5 }
    end)
    local line = change(chat, path, function() chat:append("user", "c", { pinned = true }) end)
    assert.same({ 1 }, line.pinned)
    change(chat, path, function() chat:undo() end)
    change(chat, path, function() chat:undo(2) end)
    assert.equal(3, #chat)
  end)

  it("of clear and splice", function()
    local line = change(chat, path, function()
      chat:splice(2, 3, { { role = "user", content = "x", pinned = true } })
    end)
    assert.same({ 2, 2 }, line.splice)
    assert.same({ 1 }, line.pinned)
    change(chat, path, function() chat:splice(2, 1, { { role = "user", content = "first" } }) end)
    change(chat, path, function() chat:clear() end)
    assert.equal(1, #chat)
  end)

  it("of a splice that mends", function()
    local report
    change(chat, path, function()
      report = select(2, chat:splice(4, 4, {
        { role = "user", content = "x" }, { role = "assistant", tool_calls = { kept.call("1") } },
        { role = "user", content = "y" },
      }, { repair = true }))
    end)
    assert.equal("unanswered_call", report[1].code)
    change(chat, path, function()
      report = select(2, chat:splice(-1, -1, { { role = "tool", content = "1",
        tool_call_id = "z" } }, { repair = true }))
    end)
    assert.equal("orphan_result", report[1].code)
    -- nothing but what is wrong with it
    change(chat, path, function()
      local kept_it, nothing = chat:splice(1, 0, {}, { repair = true })
      assert.equal(chat, kept_it)
      assert.same({}, nothing)
    end)
  end)

  it("of pin and tool", function()
    local line = change(chat, path, function() chat:pin(2) end)
    assert.same({ 1 }, line.pinned)
    change(chat, path, function() chat:pin(2, false) end)
    line = change(chat, path, function() assert.equal(chat, chat:tool(WEATHER)) end)
    assert.equal("weather", line.options.tools[1]["function"].name)
    assert.is_nil(line.append)
  end)

  it("and none when it is refused", function()
    change(chat, path, function()
      pcall(chat.append, chat, "usr", "x")
      pcall(chat.append, chat, "user", "\255")
      pcall(chat.splice, chat, 2, 2, { { role = "tool", content = "x", tool_call_id = "1" } })
      pcall(chat.tool, chat, { name = "a b" })
    end, 0)
  end)
end)

-- Telling -------------------------------------------------------------------------

describe("handlers", function()
  it("are told once, when the line is in the file", function()
    local chat, path = kept.new { tools = { WEATHER }, schema_retries = 1 }
    local seen = {}
    local function on_done(reply, err)
      assert.truthy(reply, err)
      local lines = kept.lines(path)
      local append = lines[#lines].append
      seen[#seen + 1] = append[#append].content == reply.content and #lines
    end
    assert(chat:send("a", { on_done = on_done }))
    assert(chat:send("b", { on_done = on_done, on_delta = function() end }))
    assert(assert(chat:start("c", { on_done = on_done })):wait())
    answer_with_tool()
    assert(chat:run("d", { on_done = on_done }))
    kept.answer("no")
    kept.answer('{"x":"y"}')
    assert(chat:send("e", { on_done = on_done, schema = { x = "string" } }))
    opperchat.go(function() assert(chat:send("f", { on_done = on_done })) end):wait()
    assert.same({ 2, 3, 4, 5, 6, 7 }, seen)
    chat:close()
  end)

  it("of policies too", function()
    local path, seen = kept.path(), 0
    local chat = kept.new { journal = path, policy = policy.keep { turns = 1 },
      on_drop = function()
        local lines = kept.lines(path)
        assert.same({ 1, 6 }, lines[#lines].splice)
        seen = seen + 1
      end }
    fill(chat, 3)
    assert(chat:send("next"))
    assert.equal(1, seen)
    chat:close()
  end)
end)
