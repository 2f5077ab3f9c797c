-- What becomes of a conversation whose journal cannot be written, or whose
-- process is killed.

local core = require "opperchat.core"
local kept = require "spec.support.kept"
local opperchat = require "opperchat"
local shell = require "spec.support.shell"
local store = require "opperchat.store"

local policy = opperchat.policy

local SLOW = os.getenv("OPPERCHAT_SLOW") or os.getenv("OPPERCHAT_GC") or os.getenv("ASAN_OPTIONS")

kept.for_tests()

-- An error of the store, behind which the conversation is as it was.
local function failed(chat, before, result, err)
  assert.is_nil(result)
  assert.equal("store", err.kind)
  assert.equal("journal_changed", err.code)
  assert.is_false(err.retryable)
  assert.equal(before, chat:export())
  return err
end

local WEATHER, answer_with_tool = kept.WEATHER, kept.answer_with_tool

-- A conversation of two turns whose file is away: it, what it holds, its path, and
-- what brings the file back.
local function cut_off(given)
  local chat, path = kept.new(given)
  chat:append("user", "q1"):append("assistant", "a1")
  chat:append("user", "q2"):append("assistant", "a2")
  return chat, chat:export(), path, kept.take_away(path)
end

-- Brings the file back: it goes on as if nothing had been.
local function recover(chat, path, give_back)
  give_back()
  kept.server:reset()
  local before = #chat
  kept.answer("Back.")
  assert.equal("Back.", assert(chat:send("Still there?")).content)
  assert.equal(before + 2, #chat)
  kept.check(chat, path)
  chat:close()
end

describe("a turn that cannot be written is taken back", function()
  it("plain", function()
    local chat, before, path, give_back = cut_off()
    kept.answer("Hello.")
    local err = failed(chat, before, chat:send("Hi"))
    assert.equal("Hello.", err.partial.content)
    assert.equal(12, err.partial.usage.total_tokens)
    assert.truthy(err.message:find("was deleted", 1, true))
    -- again and again
    failed(chat, before, chat:send("Hi"))
    recover(chat, path, give_back)
  end)

  it("streamed, and its handlers are told that it failed, once", function()
    local chat, before, path, give_back = cut_off()
    local text, seen = "", {}
    local function on_delta(piece)
      text = text .. piece
    end
    local function on_done(reply, err)
      seen[#seen + 1] = tostring(reply) .. " " .. err.code .. " " .. err.partial.content
    end
    local err = failed(chat, before, chat:send("a", { on_delta = on_delta, on_done = on_done }))
    assert.equal("ok", err.partial.content)
    assert.equal("ok", text)
    failed(chat, before, assert(chat:start("b", { on_done = on_done })):wait())
    opperchat.go(function()
      failed(chat, before, chat:send("c", { on_done = on_done }))
    end):wait()
    assert.same({ "nil journal_changed ok", "nil journal_changed ok", "nil journal_changed ok" },
      seen)
    -- a loop gets the text, then the error
    local ok
    text = ""
    ok, err = pcall(function()
      for piece in chat:stream("d") do
        text = text .. piece
      end
    end)
    assert.is_false(ok)
    assert.equal("ok", text)
    failed(chat, before, nil, err)
    recover(chat, path, give_back)
  end)

  it("a run", function()
    local chat, before, path, give_back = cut_off { tools = { WEATHER } }
    local seen = {}
    answer_with_tool()
    local err = failed(chat, before, chat:run("Rain?", { on_done = function(reply, told)
      seen[#seen + 1] = tostring(reply) .. told.code
    end }))
    assert.equal("It rains.", err.partial.content)
    assert.equal(2, err.partial.steps)
    assert.same({ "niljournal_changed" }, seen)
    kept.server:default(kept.completion { role = "assistant", tool_calls = {
      kept.call("call_1", "weather", '{"city":"Oslo"}'),
    } })
    err = failed(chat, before, chat:run("Rain?", { max_steps = 2 }))
    assert.equal("weather", err.partial.tool_calls[1].name)
    recover(chat, path, give_back)
  end)

  it("an answer that fits in the end, and what was kept of one", function()
    local chat, before, path, give_back = cut_off { schema_retries = 1, keep_partial = true }
    local seen = 0
    kept.answer("no")
    kept.answer('{"x":"y"}')
    local err = failed(chat, before, chat:send("x?", { schema = { x = "string" },
      on_done = function(reply, told)
        assert.is_nil(reply)
        assert.equal("journal_changed", told.code)
        seen = seen + 1
      end }))
    assert.equal(1, seen)
    assert.equal("y", err.partial.parsed.x)
    kept.break_off("It was")
    err = failed(chat, before, chat:send("A story", { stream = true }))
    assert.equal("It was", err.partial.content)
    recover(chat, path, give_back)
  end)

  it("a second answer: the first one stays", function()
    local chat, before, path, give_back = cut_off()
    kept.answer("other")
    local err = failed(chat, before, chat:retry())
    assert.equal("other", err.partial.content)
    recover(chat, path, give_back)
  end)

  it("together with what the policy did", function()
    local dropped, told = 0, {}
    local chat, before, path, give_back = cut_off {
      context_window = 4000, policy = policy.keep { turns = 1 },
      on_drop = function() dropped = dropped + 1 end,
      on_compact = function(_, err) told[#told + 1] = err and err.code or "done" end,
    }
    failed(chat, before, chat:send("a"))
    failed(chat, before, chat:compact())
    assert.equal(0, dropped)
    assert.same({ "journal_changed" }, told)
    give_back()
    assert(chat:send("a"))
    assert.equal(2, #chat)
    assert.equal(1, dropped)
    kept.check(chat, path)
    chat:close()
  end)

  it("and a summary in the background is not made", function()
    local told = {}
    local chat, path = kept.new {
      context_window = 4000, policy = policy.summarize { tokens = 10, turns = 1 },
      on_compact = function(_, err) told[#told + 1] = err and err.code or "done" end,
    }
    for i = 1, 20 do
      chat:append("user", "question " .. i):append("assistant", "answer " .. i)
    end
    kept.server:stream { 'data: {"choices":[{"index":0,"delta":{"content":"ok"},'
      .. '"finish_reason":"stop"}]}\n\n', "data: [DONE]\n\n" }
    kept.server:script { { "hold" }, { "send", "HTTP/1.1 200 OK\r\nContent-Length: 80\r\n\r\n"
      .. ('{"choices":[{"index":0,"message":{"content":"S."},"finish_reason":"stop"}]}')
      .. "     " } }
    assert(assert(chat:start("next")):wait())
    local before = chat:export()
    for _ = 1, 1000 do
      opperchat.poll(0.01)
      if kept.server:status().held > 0 then
        break
      end
    end
    local give_back = kept.take_away(path)
    kept.server:release()
    kept.drain()
    assert.same({ "journal_changed" }, told)
    assert.equal(before, chat:export())
    give_back()
    kept.check(chat, path)
    chat:close()
  end)
end)

describe("an edit that cannot be written is taken back", function()
  it("each of them", function()
    local chat, before, path, give_back = cut_off { system = "s" }
    failed(chat, before, chat:append("user", "x"))
    failed(chat, before, chat:append { role = "user", content = { "x" } })
    failed(chat, before, chat:undo())
    failed(chat, before, chat:clear())
    failed(chat, before, chat:splice(2, 3, { { role = "user", content = "x" } }))
    failed(chat, before, chat:splice(2, 3, { { role = "tool", content = "x",
      tool_call_id = "c" } }, { repair = true }))
    failed(chat, before, chat:pin(2))
    assert.is_nil(chat:messages(2, 2)[1].pinned)
    local body = chat:preview()
    failed(chat, before, chat:tool(WEATHER))
    assert.equal(body, chat:preview())
    assert.is_nil(body:find("weather", 1, true))
    give_back()
    assert.equal(chat, chat:tool(WEATHER))
    answer_with_tool()
    assert.equal("It rains.", assert(chat:run("Rain?")).content)
    kept.check(chat, path)
    chat:close()
  end)

  it("whatever others did to the file", function()
    local chat, before, path, give_back = cut_off()
    give_back()
    local text = kept.read(path)
    local file = assert(io.open(path, "ab"))
    file:write('{"time":1}\n')
    file:close()
    local err = failed(chat, before, chat:send("a"))
    assert.equal("ok", err.partial.content)
    assert.truthy(err.message:find("somebody else has written", 1, true))
    failed(chat, before, chat:undo())
    assert.equal(text .. '{"time":1}\n', kept.read(path))
    -- it is shortened to what it was
    recover(chat, path, function() kept.write(path, text) end)
    -- another one in its place
    chat, path = kept.new()
    assert.is_false((pcall(chat.save, chat, path)))
    before = chat:export()
    assert(opperchat.conversation():save(path))
    err = failed(chat, before, chat:send("a"))
    assert.truthy(err.message:find("was replaced", 1, true))
    chat:close()
  end)
end)

-- Programs ------------------------------------------------------------------------

local function child(mode, path, kind)
  local quote = shell.quote
  return quote(shell.interpreter()) .. " spec/support/keeping_child.lua " .. mode .. " "
    .. quote(kept.server.url) .. " " .. quote(path) .. " " .. (kind or "none") .. " 2>&1"
end

describe("a program", function()
  it("whose file may not grow goes on with what fits", function()
    local path = kept.path()
    -- blocks of 512 or 1,024 bytes; no signal ends it
    local pipe = assert(io.popen("trap '' XFSZ; ulimit -f 40; exec " .. child("full", path)))
    assert.equal("store write_failed ok true", pipe:read("*l"))
    assert.equal("nil write_failed true", pipe:read("*l"))
    assert.equal("nil write_failed true", pipe:read("*l"))
    local word, list = pipe:read("*l"), pipe:read("*l")
    pipe:close()
    assert.truthy(word == "ok" or word == "write_failed", word)
    local loaded, report = opperchat.load(path)
    assert.truthy(loaded, report)
    assert.is_nil(report.torn)
    assert.equal(list, loaded:export())
    assert.truthy(#loaded >= 5)
  end)

  -- The list is valid and ends with the turn `number`; nothing is missing before it.
  local function check_turns(list, number, kind)
    for i = #list, 2, -2 do
      local user, answer = list:messages(i - 1, i)[1], list:messages(i, i)[1]
      assert.equal("ok", answer.content)
      assert.equal(tostring(number), user.content:match("^%d+"))
      number = number - 1
    end
    assert.equal("Count.", list:messages(1, 1)[1].content)
    if kind ~= "keep" then
      assert.equal(0, number)
    else
      assert.truthy(#list <= 7)
    end
  end

  it("that is killed at any time has lost nothing that it was told of", function()
    local rounds = SLOW and 12 or 120
    local kinds = { "none", "keep", "edits" }
    local seed, path = os.time(), nil
    local confirmed, torn = 0, 0
    local function random(n)
      seed = seed * 16807 % 2147483647
      return seed % n
    end
    for round = 0, rounds - 1 do
      local kind = kinds[math.floor(round / 6) % 3 + 1]
      if round % 6 == 0 then
        path = kept.path()
        kept.server:reset()
        confirmed = 0
      end
      local pipe = assert(io.popen("echo $$; exec " .. child("turns", path, kind)))
      local pid = pipe:read("*l")
      local turns = random(8) - 1
      if turns < 0 then
        core.sleep(random(30) / 1000)           -- perhaps before it has begun
      else
        local found = tonumber((pipe:read("*l")))
        assert.truthy(found == confirmed or found == confirmed + 1, found)
        confirmed = found
        for _ = 1, turns do
          confirmed = assert(tonumber((pipe:read("*l"))))
        end
        core.sleep(random(40) / 10000)
      end
      os.execute("kill -9 " .. pid)
      for line in pipe:lines() do
        confirmed = tonumber(line) or error(line)
      end
      pipe:close()
      local list, report = opperchat.load(path)
      if list and #list > 0 then
        torn = torn + (report.torn and 1 or 0)
        if list:last().content == "dropped" then
          -- killed between two edits
          assert.equal("edits", kind)
          list:undo()
        end
        local last = list:messages(-2, -2)[1]
        local number = last and tonumber(last.content:match("^%d+")) or 0
        assert.truthy(number == confirmed or number == confirmed + 1,
          ("%d turns, %d were confirmed (seed %d)"):format(number, confirmed, seed))
        check_turns(list, number, kind)
      else
        assert.equal(0, confirmed, tostring(report))
      end
    end
    if os.getenv("OPPERCHAT_FIGURES") then
      print(rounds .. " kills, " .. torn .. " torn ends")
    end
  end)
end)

-- Cuts ------------------------------------------------------------------------------

describe("a journal with a policy's edits", function()
  it("can be cut at every byte", function()
    local path = kept.path()
    local chat = kept.new { journal = path, system = "s", context_window = 4000,
      policy = policy.keep { turns = 2 }, tools = { WEATHER } }
    local states = { kept.contents(chat) }
    local function note()
      states[#states + 1] = kept.contents(chat)
    end
    for i = 1, 4 do
      kept.answer("answer " .. i)
      assert(chat:send("question " .. i))
      note()
    end
    answer_with_tool()
    assert(chat:run("Rain?"))
    note()
    chat:pin(2)
    note()
    chat:undo()
    note()
    kept.answer("last")
    assert(chat:send("end"))
    note()
    chat:close()

    local text = kept.read(path)
    local first = text:find("\n", 1, true) + 1
    local copy = kept.path("copy")
    for cut = first, #text, SLOW and 7 or 1 do
      local part = text:sub(1, cut)
      local lines = select(2, part:gsub("\n", "")) - 1
      if text:sub(cut + 1, cut + 1) == "\n" then
        lines = lines + 1                       -- complete but for its newline
      end
      kept.write(copy, part)
      local list, report = opperchat.load(copy)
      assert.truthy(list, report)
      assert.equal(lines, report.events)
      assert.is_nil(report.repaired)
      assert.same(states[lines] or {}, kept.contents(list))
      assert.is_true((opperchat.history.check(list:messages())))
    end
    -- going on from a few of them
    for cut = first, #text, 97 do
      kept.write(copy, text:sub(1, cut))
      local on, report = opperchat.conversation(kept.options { journal = copy, system = "s" })
      assert.truthy(on, report)
      kept.server:reset()
      assert(on:send("and then?"))
      kept.check(on, copy)
      on:close()
      assert.truthy(store.load(copy))
    end
  end)
end)
