-- Random histories and random policies: what has to hold whatever they are.

local Dice = require "spec.support.dice"
local core = require "opperchat.core"
local draft = require "opperchat.policy.draft"
local errors = require "opperchat.errors"
local json = require "opperchat.json"
local opperchat = require "opperchat"
local policy = require "opperchat.policy"
local with = require "spec.support.with"

local ROUNDS = os.getenv("OPPERCHAT_GC") and 150 or os.getenv("OPPERCHAT_SLOW") and 400 or 4000

-- ---------------------------------------------------------------------------
-- Chance
-- ---------------------------------------------------------------------------

local dice

local function roll(sides)
  return dice:roll(sides)
end

local function chance(percent)
  return dice:chance(percent)
end

local function pick(list)
  return dice:pick(list)
end

local WORDS = { "tea", "caf\195\169", "\230\188\162\229\173\151", "\240\159\153\130", "12.5",
  "\"so\"", "\\n", "{}", "</b>", "\226\128\168", "a/b", "\tx" }

local function text(most)
  local words = {}
  for i = 1, roll(most) do
    words[i] = pick(WORDS)
  end
  return table.concat(words, " ")
end

-- ---------------------------------------------------------------------------
-- Histories
-- ---------------------------------------------------------------------------

local MEDIA = {
  { type = "image_url", image_url = { url = "data:image/png;base64,AAAA" } },
  { type = "image_url", image_url = { url = "https://x/y.png", detail = "low" } },
  { type = "file", file = { file_id = "f1" } },
  { type = "input_audio", input_audio = { data = "AAAA", format = "wav" } },
}

local function content()
  if chance(12) then
    local parts = { text(6) }
    for _ = 1, roll(3) do
      parts[#parts + 1] = chance(60) and pick(MEDIA) or text(4)
    end
    return parts
  end
  return text(chance(4) and 900 or chance(15) and 150 or 8)
end

local function fields(more)
  local result = more or {}
  if chance(10) then
    result.pinned = true
  end
  if chance(8) then
    result.odd = { 1, "x", { deep = true } }
  end
  return result
end

-- Calls of an assistant message and their results, in any order.
local function append_calls(chat, id)
  local calls, order = {}, {}
  for i = 1, roll(3) do
    calls[i] = { id = id .. "_" .. i, type = "function",
      ["function"] = { name = pick { "look", "go" }, arguments = pick { "{}", "{\"a\":1}" } } }
    table.insert(order, roll(i), i)
  end
  chat:append { role = "assistant", content = chance(30) and text(5) or nil, tool_calls = calls,
    pinned = chance(5) or nil }
  for _, i in ipairs(order) do
    chat:append("tool", content(), fields { tool_call_id = id .. "_" .. i })
  end
end

local function append_turn(chat, number)
  chat:append("user", content(), fields())
  for i = 1, roll(3) - 1 do
    append_calls(chat, "c" .. number .. "_" .. i)
    if chance(10) then
      chat:append("system", text(4), fields())
    end
  end
  if chance(90) then
    chat:append("assistant", content(), fields())
  end
  if chance(5) then
    chat:append(pick { "system", "developer", "assistant" }, text(4), fields())
  end
end

local function random_history()
  local chat = opperchat.conversation()
  for _ = 1, roll(3) - 1 do
    chat:append(pick { "system", "developer" }, text(20))
  end
  if chance(10) then
    core.append_json(chat, '{"role":"system","content":"What is known: {\\"facts\\":[\\"x\\"]}"}')
    core.set_flag(chat, #chat, "facts", true)
  end
  if chance(20) then
    chat:append("assistant", "Earlier: " .. text(10))
    core.set_flag(chat, #chat, "summary", true)
    if chance(15) then
      core.set_flag(chat, #chat, "pinned", true)
    end
  end
  if chance(20) then
    chat:append("assistant", "Welcome!", fields())
  end
  for number = 1, chance(5) and 0 or roll(12) do
    append_turn(chat, number)
  end
  if #chat > 0 and chance(30) then
    chat:append("user", content())
  end
  return chat
end

-- ---------------------------------------------------------------------------
-- Policies
-- ---------------------------------------------------------------------------

local function budget(size)
  return math.max(1, math.floor(size * pick { 0.1, 0.3, 0.5, 0.8, 0.95, 1, 1.2, 3 }))
end

local makers = {
  function()
    return policy.keep { turns = roll(6), slack = roll(4) - 1 }
  end,
  function(size)
    return policy.fit { tokens = budget(size), target = pick { 0.1, 0.5, 0.9, 1 } }
  end,
  function()
    return policy.fit { target = pick { 0.1, 0.5, 1 } }
  end,
  function(size)
    return policy.shrink { tokens = chance(50) and budget(size) or nil, at = pick { 0.1, 0.65, 1 },
      turns = roll(4), max = pick { 1, 50, 500 }, preview = pick { 0, 10, 200 },
      media = chance(70) }
  end,
  function(size)
    return policy.summarize { tokens = budget(size), at = pick { 0.2, 0.85, 1 },
      target = pick { 0.1, 0.5, 0.9 }, turns = roll(4),
      role = pick { "assistant", "assistant", "system", "developer" } }
  end,
  function(size)
    return policy.remember { tokens = budget(size), at = pick { 0.2, 0.85, 1 },
      target = pick { 0.1, 0.5 }, turns = roll(4) }
  end,
}

local function random_policy(size)
  if chance(40) then
    local steps = {}
    for i = 1, roll(3) do
      steps[i] = pick(makers)(size)
    end
    return policy.pipeline(steps)
  end
  return pick(makers)(size)
end

-- What a model answers: good and bad.
local function random_ask(log)
  return function(_, given)
    log.asked = log.asked + 1
    if given.schema and chance(60) then
      return { parsed = { facts = { text(3) } }, content = "{}", finish_reason = "stop" }
    elseif not given.schema and chance(60) then
      return { content = chance(50) and "s" or text(6), finish_reason = "stop" }
    end
    log.failed = log.failed + 1
    return pick {
      function() return nil, errors.new("api", "x", "no") end,
      function() return { content = "", finish_reason = "stop" } end,
      function() return { content = " \n", finish_reason = "stop" } end,
      function() return { finish_reason = "stop" } end,
      function() return { content = "half", finish_reason = "length" } end,
      function() return { content = "x", finish_reason = "content_filter" } end,
      function() return { content = "x", refusal = "no", finish_reason = "stop" } end,
      function() return { content = "x", tool_calls = {}, finish_reason = "tool_calls" } end,
      function() return { content = ("long "):rep(100000), finish_reason = "stop" } end,
    }()
  end
end

-- ---------------------------------------------------------------------------
-- What has to hold
-- ---------------------------------------------------------------------------

local client = opperchat.client { base_url = "http://127.0.0.1:1/v1", api_key = "x" }

local function new_draft(chat, given)
  local made = with({ of = { client = client, fields = 0 }, reserve = 0, is_forced = false,
    can_ask = false, ask = error }, given)
  return draft.new(core.fork(chat), made)
end

local function texts_of(chat)
  local list = {}
  for i = 1, #chat do
    local json_text, _, flags = core.message_json(chat, i)
    list[i] = { text = json_text, flags = flags, pinned = flags % 2 == 1 }
  end
  return list
end

local function is_same(a, b)
  return #a == #b and core.common(a, b) == #a
end

-- The policies that a policy consists of.
local function leaves(of, list)
  list = list or {}
  if of.steps then
    for _, step in ipairs(of.steps) do
      leaves(step, list)
    end
  else
    list[#list + 1] = of
  end
  return list
end

local function names_of(of)
  local set = {}
  for _, step in ipairs(leaves(of)) do
    set[step.name] = (set[step.name] or 0) + 1
  end
  return set
end

local checked = { changed = 0, over = 0, asked = 0, failed = 0, summaries = 0 }

-- The survivors: each message of the result that was in the list is the very
-- one, in the old order; what is not, a policy has written.
local function check_survivors(before, after, names)
  local at, is_new = 1, {}
  local index = {}
  for i, entry in ipairs(before) do
    index[entry.text .. entry.flags] = index[entry.text .. entry.flags] or {}
    table.insert(index[entry.text .. entry.flags], i)
  end
  for i, entry in ipairs(after) do
    local found
    for _, where in ipairs(index[entry.text .. entry.flags] or {}) do
      if where >= at then
        found = where
        break
      end
    end
    if found then
      at = found + 1
    else
      is_new[i] = true
      local is_asked = entry.flags == 2 and names.summarize or entry.flags == 4 and names.remember
      local is_short = names.shrink and entry.flags == 0
        and entry.text:find("left out]", 1, true) or entry.text:find("was here]", 1, true)
      assert(is_asked or is_short, "not of this list: " .. entry.text:sub(1, 200))
    end
  end
  return is_new
end

local function check_result(chat, outcome, made, names, log)
  local before, after = texts_of(chat), texts_of(made.list)
  -- it can be sent
  local messages = {}
  for i, entry in ipairs(after) do
    messages[i] = json.decode(entry.text)
  end
  assert.are.equal(#after, #opperchat.conversation { messages = messages })
  assert.is_nil((core.open_call(made.list)))
  check_survivors(before, after, names)

  -- the head, but for facts and a summary that stand there
  local head, _, first = core.turns(chat)
  local at = 1
  for i = 1, head do
    if before[i].flags % 8 < 2 then
      while after[at] and after[at].text ~= before[i].text do
        at = at + 1
      end
      assert(after[at], "the head has lost a message")
      at = at + 1
    end
  end
  assert.is_true(#after >= head or head == 0)

  -- the last turn
  if #first > 0 then
    local count = #chat - first[#first]
    for i = 0, count do
      assert.are.equal(before[#before - i].text, after[#after - i] and after[#after - i].text)
      assert.are.equal(before[#before - i].flags, after[#after - i].flags)
    end
  end

  -- pins
  local left = {}
  for _, entry in ipairs(after) do
    if entry.pinned then
      left[entry.text] = (left[entry.text] or 0) + 1
    end
  end
  for _, entry in ipairs(before) do
    if entry.pinned then
      left[entry.text] = (left[entry.text] or 0) - 1
      assert(left[entry.text] >= 0, "a pinned message is gone")
    end
  end

  -- one summary, one message of facts, and none when nobody could write it
  local counts = { [2] = 0, [4] = 0 }
  for _, entry in ipairs(after) do
    -- one that the program has pinned is the program's
    if entry.flags > 1 and not entry.pinned then
      counts[entry.flags] = counts[entry.flags] + 1
    end
  end
  assert.is_true(counts[2] <= 1 and counts[4] <= 1)
  if log.asked == log.failed then
    for _, entry in ipairs(after) do
      if entry.flags > 1 then
        local was_there = false
        for _, old in ipairs(before) do
          was_there = was_there or old.text == entry.text
        end
        assert(was_there, "written by nobody")
      end
    end
  end
  checked.summaries = checked.summaries + counts[2]

  -- sums
  local sum = 0
  for i = 1, #made.list do
    sum = sum + core.message_info(made.list, i)
  end
  assert.are.equal(sum, core.tokens(made.list))
  for _, step in ipairs(outcome.steps) do
    assert.is_false(is_same(step.base, step.edited))
  end
end

-- What fit alone promises: it fits, or nothing has changed and that is said.
local function check_fit(of, chat, outcome, made)
  local limit = math.min(of.tokens or 1 / 0, made.window or 1 / 0)
  if limit == 1 / 0 then
    assert.is_true(is_same(chat, made.list))
    return
  end
  local size = made:tokens()
  if #outcome.errors > 0 then
    assert.are.equal("over_budget", outcome.errors[1].err.code)
    assert.is_true(is_same(chat, made.list))
    -- and it was not possible: what has to stay is too much
    local turns = made:turns()
    local needed = turns.head_tokens + core.TOKENS_REQUEST
    for number = turns.start, turns.count do
      if turns.kept[number] or number == turns.count then
        needed = needed + turns.tokens[number]
      end
    end
    assert.is_true(needed > limit, needed .. " of " .. limit)
    checked.over = checked.over + 1
  elseif not made.is_forced then
    assert.is_true(size <= limit, size .. " of " .. limit)
  end
end

describe("random policies on random histories", function()
  teardown(function()
    client:close()
  end)

  it("keep what they promise", function()
    for round = 1, ROUNDS do
      dice = Dice.new(round * 7919)
      local chat = random_history()
      local size = core.tokens(chat)
      local of = random_policy(size)
      local names = names_of(of)
      local log = { asked = 0, failed = 0 }
      local given = {
        can_ask = chance(75), ask = random_ask(log), is_forced = chance(20),
        window = chance(30) and budget(size) or nil, reserve = roll(50),
      }
      local bytes = chat:preview()
      local made = new_draft(chat, given)
      local ok, err = pcall(function()
        local outcome = policy.run(of, made)
        -- the conversation itself is not touched
        assert.are.equal(bytes, chat:preview())
        check_result(chat, outcome, made, names, log)
        if of.name == "fit" then
          check_fit(of, chat, outcome, made)
        end
        if not given.can_ask then
          assert.are.equal(0, log.asked)
        end
        if #outcome.steps == 0 then
          assert.is_true(is_same(chat, made.list))
        else
          checked.changed = checked.changed + 1
        end

        -- once more, by one that would have to ask: nothing is left to be done
        local again = new_draft(made.list, { window = given.window, reserve = given.reserve,
          is_forced = given.is_forced })
        local second = policy.run(of, again)
        if not of.steps and #outcome.errors == 0 then
          assert.are.equal(0, #second.steps, "not idempotent")
          assert.is_true(is_same(made.list, again.list))
        end
        -- and what it did can be moved to where the conversation stands now
        local chat_now = core.fork(chat)
        if not core.open_call(chat) then
          chat_now:append("user", "later"):append("assistant", "on")
          assert(core.patch(chat_now, chat, made.list))
          assert.are.equal(#made.list + 2, #chat_now)
          assert.are.equal(#made.list, core.common(chat_now, made.list))
        end
      end)
      checked.asked, checked.failed = checked.asked + log.asked, checked.failed + log.failed
      if not ok then
        error("round " .. round .. " (" .. (of.name or "pipeline") .. "): "
          .. (type(err) == "table" and err.message or tostring(err)), 0)
      end
    end
    -- all of it did happen
    assert.is_true(checked.changed > ROUNDS / 5, "changed: " .. checked.changed)
    assert.is_true(checked.over > ROUNDS / 100, "over: " .. checked.over)
    assert.is_true(checked.asked - checked.failed > ROUNDS / 20)
    assert.is_true(checked.failed > ROUNDS / 40)
    assert.is_true(checked.summaries > ROUNDS / 20)
  end)
end)
