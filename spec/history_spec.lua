local content = require "opperchat.content"
local history = require "opperchat.history"
local json = require "opperchat.json"
local opperchat = require "opperchat"
local with = require "spec.support.with"
local call = require("spec.support.completion").call

-- Under valgrind, or with a collector that never rests.
local SLOW = os.getenv("OPPERCHAT_SLOW") or os.getenv("OPPERCHAT_GC")

local unpack = rawget(table, "unpack") or rawget(_G, "unpack")

local function user(value)
  return { role = "user", content = value == nil and "Hi" or value }
end

local function says(text) return { role = "assistant", content = text or "Hello" } end

local function calls(...)
  local list = {}
  for i = 1, select("#", ...) do
    local id = select(i, ...)
    list[i] = type(id) == "table" and id or call(id)
  end
  return { role = "assistant", tool_calls = list }
end

local function result(id, text)
  return { role = "tool", tool_call_id = id, content = text or "done" }
end

local function interrupted(id)
  return result(id, history.INTERRUPTED)
end

-- "2 orphan_result b", or what a report says with its actions.
local function describe_list(list)
  local lines = {}
  for i, entry in ipairs(list or {}) do
    lines[i] = entry.index .. " " .. (entry.action and entry.action .. " " or "") .. entry.code
      .. (entry.id and " " .. entry.id or "")
    assert.is_string(entry.message)
  end
  return lines
end

local function finds(problems, messages, options)
  local valid, found = history.check(messages, options)
  assert.are.same(problems, describe_list(found))
  if problems[1] then
    assert.is_nil(valid)
  else
    assert.is_true(valid)
    assert.is_nil(found)
  end
end

local function same_items(expected, list)
  assert.are.equal(#expected, #list)
  for i, message in ipairs(expected) do
    assert.is_true(rawequal(message, list[i]), "message " .. i)
  end
end

local function mends(expected, messages, report, options)
  local list, done = history.repair(messages, options)
  assert.are.same(expected, list)
  if report then
    assert.are.same(report, describe_list(done))
  end
  finds({}, list, options)
  local again, nothing = history.repair(list, options)
  same_items(list, again)
  assert.are.same({}, nothing)
  opperchat.conversation { messages = list }
  return list
end

describe("history.split", function()
  local function range(first, last) return { first = first, last = last } end

  it("finds head, opening and turns", function()
    assert.are.same({
      head = range(1, 2), opening = range(3, 3), turns = { range(4, 7), range(8, 8) },
    }, history.split {
      { role = "system", content = "a" }, { role = "developer", content = "b" }, says "Welcome",
      user(), calls "a", result "a", says(), user(),
    })
  end)

  it("leaves empty what there is not", function()
    assert.are.same({ head = range(1, 0), opening = range(1, 0), turns = {} }, history.split {})
    assert.are.same({ head = range(1, 0), opening = range(1, 0), turns = { range(1, 1) } },
      history.split { user() })
    assert.are.same({ head = range(1, 1), opening = range(2, 1), turns = {} },
      history.split { { role = "system", content = "a" } })
    assert.are.same({ head = range(1, 0), opening = range(1, 2), turns = {} },
      history.split { says(), { role = "system", content = "late" } })
  end)

  it("takes a later system message for a part of its turn", function()
    assert.are.same({ range(1, 3) },
      history.split { user(), { role = "system", content = "be brief" }, says() }.turns)
  end)
end)

describe("history.check", function()
  it("passes what can be sent", function()
    finds({}, {})
    finds({}, {
      { role = "system", content = "a" }, user { { type = "text", text = "b" } },
      calls("a", "b"), result "b", result("a", { { type = "text", text = "c" } }),
      { role = "assistant", content = json.null, tool_calls = { call "a" } }, result "a",
      says "", user(), { role = "assistant", content = "x", refusal = json.null, extra = { 1 } },
    })
    finds({}, { { role = "assistant", tool_calls = { { id = "c", type = "custom",
      custom = { name = "f", input = "" } } } }, result "c" })
  end)

  it("lets calls stand open at the end alone", function()
    finds({}, { calls "a" })
    finds({}, { calls("a", "b"), result "b" })
    finds({ "1 unanswered_call a" }, { calls("a", "b"), result "b" }, { closed = true })
    finds({ "1 unanswered_call a" }, { calls "a", user() })
    finds({ "1 unanswered_call a" }, { calls "a", calls "b" })
  end)

  it("finds what is no message", function()
    finds({ "1 not_a_message", "2 not_a_message", "3 no_role", "4 no_role", "5 unknown_role",
      "6 unknown_role" },
      { "Hi", json.null, {}, { role = json.null, content = "" }, { role = "bot", content = "" },
        { role = 5, content = "" } })
  end)

  it("counts a hole once, however long it is", function()
    finds({ "2 not_a_message" }, { user(), nil, nil, user() })
    finds({ "2 not_a_message" }, { user(), [1e9] = user() })
    finds({ "1 not_a_message" }, json.decode "[null,null,{\"role\":\"user\",\"content\":\"\"}]")
  end)

  it("finds content that is missing or wrong", function()
    finds({ "1 no_content" }, { { role = "user" } })
    finds({ "1 no_content" }, { { role = "system", content = json.null } })
    finds({ "1 no_content" }, { { role = "assistant" } })
    finds({ "1 no_content" }, { { role = "assistant", content = json.null } })
    for _, value in ipairs { 5, true, print, {}, { 1 }, { "a" }, { type = "text", text = "a" },
      { { text = "a" } }, { { type = "text" } }, { { type = "text", text = "a" }, json.null },
      { { type = 1 } }, { { type = "text", text = "a" }, x = 1 }, "\255" } do
      finds({ "1 bad_content" }, { user(value) })
    end
  end)

  local function asking(tool_calls, others)
    return with({ role = "assistant", tool_calls = tool_calls }, others)
  end

  it("finds calls that cannot be sent", function()
    finds({ "1 bad_tool_calls", "1 no_content" }, { asking "x" })
    finds({ "1 bad_tool_calls" }, { asking { 5 } })
    finds({ "1 bad_tool_calls" }, { { role = "user", content = "", tool_calls = { call "a" } } })
    finds({ "1 bad_tool_calls", "1 unwritable" }, { asking { call "a", x = 1 } })
    finds({ "1 bad_tool_calls", "1 unwritable" }, { asking { call "a", nil, call "b" } })
    finds({ "1 empty_tool_calls" }, { { role = "user", content = "", tool_calls = {} } })
    finds({ "1 empty_tool_calls" }, { asking(json.null, { content = "" }) })
    finds({ "1 no_call_id", "1 no_call_id", "1 no_call_id", "1 bad_call_id" },
      { asking { call(), call "", call(json.null), call(7) } })
    finds({ "1 duplicate_call_id a" }, { calls("a", "a"), result "a" })
    finds({ "1 no_call_name a", "1 no_call_name b", "1 no_call_name c" },
      { asking { { id = "a" }, call("b", ""), { id = "c", type = "function", name = "f" } } })
    finds({ "1 bad_arguments a", "1 bad_arguments b" }, { asking { call("a", "f", { x = 1 }),
      { id = "b", ["function"] = { name = "f" } } } })
    finds({ "1 legacy_call" },
      { { role = "assistant", content = "", function_call = { name = "f", arguments = "{}" } } })
  end)

  it("finds more calls than a message can have", function()
    local list = {}
    for i = 1, 1025 do
      list[i] = call("c" .. i)
    end
    finds({ "1 bad_tool_calls" }, { asking(list) })
    list[1025] = nil
    finds({}, { asking(list) })
  end)

  it("finds results without their call", function()
    finds({ "1 no_tool_call_id", "2 no_tool_call_id", "3 bad_tool_call_id" },
      { { role = "tool", content = "" }, result "", result(5) })
    finds({ "1 orphan_result a" }, { result "a" })
    finds({ "2 orphan_result b" }, { calls "a", result "b", result "a" })
    finds({ "3 duplicate_result a" }, { calls "a", result "a", result "a" })
    finds({ "1 unanswered_call a", "3 orphan_result a" }, { calls "a", user(), result "a" })
    finds({ "1 orphan_result a" }, { result "a", calls "a" })
    finds({ "1 unanswered_call a", "3 orphan_result a" }, { calls "a", calls "b", result "a" })
  end)

  it("finds what cannot be written", function()
    finds({ "1 unwritable" }, { { role = "user", content = "", f = print } })
    finds({ "1 unwritable" }, { { role = "user", content = "", "x" } })
    finds({ "1 unwritable" }, { { role = "user", content = "", n = 0 / 0 } })
    finds({ "1 unwritable" }, { { role = "user", content = "", name = "\255" } })
    local cycle = user()
    cycle.self = cycle
    finds({ "1 unwritable" }, { cycle })
  end)

  it("says all that is wrong, in the order of the messages", function()
    finds({ "1 unanswered_call a", "2 bad_content", "3 no_role", "4 orphan_result x" },
      { calls "a", user(5), {}, result "x" })
  end)

  it("refuses wrong use", function()
    assert.has_error(function() history.check("x") end,
      "history.check: list of messages expected, got string")
    assert.has_error(function() history.repair(user()) end,
      "history.repair: list of messages expected, got one message")
    assert.has_error(function() history.split(nil) end,
      "history.split: list of messages expected, got nil")
    assert.has_error(function() history.repair({}, true) end,
      "history.repair: options: table expected, got boolean")
  end)
end)

describe("history.repair", function()
  it("leaves alone what is right", function()
    local list = {
      { role = "system", content = "a" }, says "Welcome", user(), calls("a", "b"), result "b",
      result "a", says(), user(), calls "a",
    }
    local mended, report = history.repair(list)
    same_items(list, mended)
    assert.are.same({}, report)
    assert.is_false(rawequal(list, mended))
  end)

  it("answers calls that nobody answered", function()
    mends({ calls("a", "b", "c"), result "b", interrupted "a", interrupted "c", user() },
      { calls("a", "b", "c"), result "b", user() },
      { "1 added unanswered_call", "1 added unanswered_call" })
    mends({ calls "a", interrupted "a", calls "b" }, { calls "a", calls "b" },
      { "1 added unanswered_call" })
    assert.are.equal("interrupted: this call was not run", history.INTERRUPTED)
  end)

  it("answers calls at the end only when the list is closed", function()
    mends({ calls("a", "b"), result "b" }, { calls("a", "b"), result "b" }, {})
    mends({ calls("a", "b"), result "b", interrupted "a" }, { calls("a", "b"), result "b" },
      { "1 added unanswered_call" }, { closed = true })
    -- what cannot stay makes no end
    mends({ calls "a" }, { calls "a", { role = "user" }, result "x", 5 },
      { "2 removed no_content", "3 removed orphan_result", "4 removed not_a_message" })
  end)

  it("moves results back behind their calls", function()
    mends({ calls("a", "b"), result "b", result "a", user() },
      { calls("a", "b"), user(), result "b", result "a" },
      { "3 moved displaced_result", "4 moved displaced_result" })
    mends({ calls("a", "b", "c"), result "b", result "a", interrupted "c", user() },
      { calls("a", "b", "c"), result "b", user(), result "a" },
      { "1 added unanswered_call", "4 moved displaced_result" })
    mends({ calls "a", result "a", calls "b", result "b" },
      { calls "a", calls "b", result "a", result "b" }, { "3 moved displaced_result" })
  end)

  it("looks for the nearest call, and only further up", function()
    mends({ calls "a", interrupted "a", user "1", calls "a", result "a", user "2" },
      { calls "a", user "1", calls "a", user "2", result "a" },
      { "1 added unanswered_call", "5 moved displaced_result" })
    mends({ calls "a" }, { result "a", calls "a" }, { "1 removed orphan_result" })
    -- the call right before it goes first
    mends({ calls "a", interrupted "a", user(), calls "a", result "a" },
      { calls "a", user(), calls "a", result "a" }, { "1 added unanswered_call" })
  end)

  it("removes results without a call, and second ones", function()
    mends({ user() }, { result "a", user() }, { "1 removed orphan_result" })
    mends({ calls "a", result("a", "1") }, { calls "a", result("a", "1"), result("a", "2") },
      { "3 removed duplicate_result" })
    mends({ calls "a", result("a", "1"), user() },
      { calls "a", result("a", "1"), user(), result("a", "2") }, { "4 removed orphan_result" })
    mends({ calls "a", interrupted "a", user(), calls "a", result("a", "1") },
      { calls "a", user(), calls "a", result("a", "1"), result("a", "2") },
      { "1 added unanswered_call", "5 removed duplicate_result" })
  end)

  it("gives calls ids of their own, and the results with them", function()
    mends({ calls("call_1_1", "call_1_2"), result("call_1_1", "1"), result("call_1_2", "2") },
      { calls("", call(nil)), result("", "1"), { role = "tool", content = "2" } },
      { "1 changed no_call_id", "1 changed no_call_id", "2 changed no_tool_call_id",
        "3 changed no_tool_call_id" })
    mends({ calls("a", "call_1_2"), result("a", "1"), result("call_1_2", "2") },
      { calls("a", "a"), result("a", "1"), result("a", "2") },
      { "1 changed duplicate_call_id", "3 changed duplicate_call_id" })
    mends({ calls("call_1_2", "call_1_2_"), result "call_1_2" },
      { calls("call_1_2", ""), result "call_1_2" })
    mends({ calls "7", result "7" }, { calls(call(7)), result(7) },
      { "1 changed bad_call_id", "2 changed bad_tool_call_id" })
    mends({ calls "7", result "7" }, { calls(call(7)), result "7" })
    mends({ calls "\239\191\189", result "\239\191\189" }, { calls "\255", result "\255" })
  end)

  it("pairs results without an id with what is open", function()
    mends({ calls("a", "b"), result("b", "1"), result("a", "2") },
      { calls("a", "b"), result("b", "1"), { role = "tool", content = "2" } },
      { "3 changed no_tool_call_id" })
    mends({ calls(call("a", "f"), call("b", "g")),
      { role = "tool", tool_call_id = "b", name = "g", content = "1" }, result("a", "2") },
      { calls(call("a", "f"), call("b", "g")), { role = "tool", name = "g", content = "1" },
        { role = "tool", content = "2" } })
    mends({ calls "a", result "a" }, { calls "a", result "a", { role = "tool", content = "2" } },
      { "3 removed no_tool_call_id" })
    mends({ calls "call_1_1", result "call_1_1", user() }, { calls "", user(), result "" })
  end)

  it("pairs the same ids of several messages in a row in order", function()
    mends({ calls "a", result("a", "1"), calls "a", result("a", "2") },
      { calls "a", calls "a", result("a", "1"), result("a", "2") },
      { "3 moved displaced_result" })
    mends({ calls "a", interrupted "a", calls "a", result("a", "1") },
      { calls "a", calls "a", result("a", "1") }, { "1 added unanswered_call" })
  end)

  it("mends calls", function()
    mends({ calls(call("a", "f", "{\"x\":1}"), call("b", "f", "{}"), call("c", "f", "[1]")) },
      { calls(call("a", "f", { x = 1 }), { id = "b", type = "function",
        ["function"] = { name = "f" } }, call("c", "f", { 1 })) },
      { "1 changed bad_arguments", "1 changed bad_arguments", "1 changed bad_arguments" })
    -- as a reply has them
    mends({ calls(call("a", "f", "{\"x\": 1}"), call("b", "g", "{\"x\":1}")) },
      { calls({ id = "a", name = "f", arguments = { x = 1 }, arguments_json = "{\"x\": 1}" },
        { id = "b", name = "g", arguments = { x = 1 } }) },
      { "1 changed no_call_name", "1 changed no_call_name" })
    mends({ calls "b", result "b" },
      { calls({ id = "a" }, "b"), result "a", result "b" },
      { "1 changed no_call_name", "2 removed orphan_result" })
    mends({ says() }, { { role = "assistant", content = "Hello", tool_calls = { call("a", "") } },
      result "a" }, { "1 changed no_call_name", "2 removed orphan_result" })
    mends({ says() }, { { role = "assistant", content = "Hello", tool_calls = "x" } },
      { "1 changed bad_tool_calls" })
    mends({ calls "a" }, { { role = "assistant", tool_calls = { call "a", x = 1, [5] = 5 } } })
    mends({ says() }, { { role = "assistant", content = "Hello", tool_calls = {} } },
      { "1 changed empty_tool_calls" })
    mends({ user() }, { { role = "user", content = "Hi", tool_calls = { call "a" } } },
      { "1 changed bad_tool_calls" })
  end)

  it("keeps as many calls as a message can have", function()
    local list = {}
    for i = 1, 1030 do
      list[i] = call("c" .. i)
    end
    local mended = history.repair { { role = "assistant", tool_calls = list }, result "c1030" }
    assert.are.equal(1, #mended)
    assert.are.equal(1024, #mended[1].tool_calls)
    opperchat.conversation { messages = mended }
  end)

  it("turns function_call into tool_calls", function()
    mends({ calls(call("call_1_1", "f", "{\"x\":1}")),
      { role = "tool", name = "f", content = "1", tool_call_id = "call_1_1" } },
      { { role = "assistant", function_call = { name = "f", arguments = "{\"x\":1}" } },
        { role = "function", name = "f", content = "1" } },
      { "1 changed legacy_call", "1 changed no_call_id", "2 changed unknown_role",
        "2 changed no_tool_call_id" })
    mends({ calls "a" }, { { role = "assistant", tool_calls = { call "a" },
      function_call = { name = "f", arguments = "{}" } } }, { "1 changed legacy_call" })
    mends({}, { { role = "assistant", function_call = 5 } }, { "1 removed no_content" })
  end)

  it("knows other names of the roles", function()
    mends({ user(), says(), says(), says(), user() },
      { { role = "human", content = "Hi" }, { role = "ai", content = "Hello" },
        { role = "bot", content = "Hello" }, { role = "model", content = "Hello" },
        { role = "User", content = "Hi" } })
    mends({}, { { role = "alien", content = "Hi" }, { role = 5, content = "Hi" }, {} },
      { "1 removed unknown_role", "2 removed unknown_role", "3 removed no_role" })
  end)

  it("removes what is no message", function()
    mends({ user(), user() }, { 5, user(), "x", json.null, nil, nil, user() },
      { "1 removed not_a_message", "3 removed not_a_message", "4 removed not_a_message",
        "5 removed not_a_message" })
  end)

  it("mends content", function()
    local function text(value) return { { type = "text", text = value } } end
    for _, case in ipairs {
      { text "a", { type = "text", text = "a" } },
      { text "a", { text = "a" } },
      { text "a", { "a" } },
      { text "a", { { text = "a" } } },
      { text "a", { { type = "text", text = "a" }, json.null, { type = "text" } } },
      { text "5", { { type = "text", text = 5 } } },
      { text "a", { { type = "text", text = "a", f = print } } },
      { { { type = "text", text = "a" }, { type = "text", text = "{\"x\":1}" } },
        { "a", { x = 1 }, print } },
      { { { type = "image_url", image_url = { url = "x" } } },
        { type = "image_url", image_url = { url = "x" } } },
      { "5", 5 }, { "false", false }, { "{\"x\":1}", { x = 1 } }, { "[1,2]", { 1, 2 } },
      { "a\239\191\189b\195\169", "a\255b\195\169" },
      { "\239\191\189\239\191\189\239\191\189 \240\159\152\128", "\237\160\128 \240\159\152\128" },
    } do
      mends({ user(case[1]) }, { user(case[2]) }, { "1 changed bad_content" })
    end
    for _, value in ipairs { print, {}, { print }, { x = print }, { json.null }, 0 / 0, json.null,
      { type = "image_url", f = print } } do
      mends({}, { user(value) })
      mends({ calls "a", result("a", "") }, { calls "a",
        { role = "tool", tool_call_id = "a", content = value } })
    end
  end)

  it("removes an assistant message that says nothing at all", function()
    mends({}, { { role = "assistant" }, { role = "assistant", content = json.null, name = "x",
      refusal = json.null, annotations = {} } },
      { "1 removed no_content", "2 removed no_content" })
    mends({ { role = "assistant", content = "", refusal = "I will not" } },
      { { role = "assistant", refusal = "I will not" } }, { "1 changed no_content" })
    mends({ { role = "assistant", content = "", reasoning_content = "hm" } },
      { { role = "assistant", content = {}, reasoning_content = "hm" } },
      { "1 changed bad_content" })
    mends({ says "" }, { says "" }, {})
  end)

  it("drops what cannot be written and nothing else", function()
    local cycle = { role = "user", content = "Hi", x = 1 }
    cycle.self = cycle
    mends({ { role = "user", content = "Hi", x = 1 } }, { cycle }, { "1 changed unwritable" })
    mends({ { role = "user", content = "Hi", name = "\239\191\189" } },
      { { role = "user", content = "Hi", name = "\255", f = print, n = 0 / 0, [1] = 5,
        ["\255"] = 1 } })
    local asking = calls "a"
    asking.tool_calls[1].f = print
    asking.tool_calls[1]["function"].g = asking
    asking.tool_calls[1]["function"].arguments = "\255"
    mends({ calls(call("a", "f", "\239\191\189")) }, { asking },
      { "1 changed unwritable", "1 changed unwritable", "1 changed unwritable" })
  end)

  it("gets along with lists inside themselves", function()
    local list = { user() }
    list[2] = list
    list[3] = { role = "user", content = list }
    list[4] = { role = "assistant", tool_calls = list }
    list[5] = list[4]
    mends({ user() }, list)
  end)

  it("looks at no metatable", function()
    local trap = { __index = error, __len = error, __eq = error, __newindex = error }
    local function trapped(value) return setmetatable(value, trap) end
    local list = trapped { user(), trapped { role = "tool", content = "x" },
      trapped { role = "human", content = "Hi" }, 5 }
    mends({ user(), user() }, { list[1], list[2], list[3], list[4] })
    assert.are.equal(2, #history.repair(list))
    assert.is_nil(history.check(list))
  end)

  it("keeps the fields that it does not know", function()
    mends({ { role = "assistant", content = json.null, x = { 1 }, tool_calls = { {
      id = "a", index = 0, type = "function", extra_content = { s = "x" },
      ["function"] = { name = "f", arguments = "{}", y = 1 } } } } },
      { { role = "model", content = json.null, x = { 1 }, tool_calls = { {
        id = "a", index = 0, type = "function", extra_content = { s = "x" },
        ["function"] = { name = "f", arguments = {}, y = 1 } } } } })
  end)

  it("mends ten thousand messages in no time", function()
    local list, chain, count = {}, {}, SLOW and 400 or 10000
    for i = 1, count, 4 do
      list[i] = user("question " .. i)
      list[i + 1] = calls("call_0", i % 3 == 0 and "" or "call_1")
      list[i + 2] = result("call_0")
      list[i + 3] = i % 8 == 1 and result("x" .. i) or says()
    end
    for i = 1, count / 2 do
      chain[i], chain[count / 2 + i] = calls("c" .. i), result("c" .. i)
    end
    for _, given in ipairs { list, chain } do
      local started = os.clock()
      local mended = history.repair(given)
      assert.is_true(os.clock() - started < 1 or SLOW ~= nil)
      assert.is_true(history.check(mended))
    end
  end)
end)

-- Random lists ----------------------------------------------------------------

local ROUNDS = SLOW and 50 or 2000

local seed
local function random(n)
  seed = (seed * 16807) % 2147483647
  return seed % n + 1
end

local function pick(...)
  return (select(random(select("#", ...)), ...))
end

local function random_id()
  return pick("a", "b", "c", "a", "b", "", 7, nil, json.null, "\255", "call_2_1")
end

local function random_call()
  local kind = random(12)
  if kind == 1 then
    return pick(5, "x", json.null, {}, { id = "a" })
  elseif kind == 2 then
    return { id = random_id(), name = "f", arguments = { x = 1 } }
  end
  return call(random_id(), pick("f", "g", "f", "g", "f", "", 5),
    pick("{}", "{}", "{\"x\":1}", { x = 1 }, {}, json.null, print, "\255"))
end

local function random_calls()
  local list = {}
  for i = 1, random(3) do
    list[i] = random_call()
  end
  return pick(list, list, list, list, list, list, {}, json.null, "x")
end

local function random_content(tag)
  local text = "text " .. tag
  return pick(text, text, text, text, { { type = "text", text = text } },
    { type = "text", text = text }, { text }, { text = text },
    { { type = "text", text = text }, 5 }, { { type = "text", text = text }, print },
    text .. "\255", nil, json.null, {}, 5, { x = 1 }, { print })
end

-- The tag stays with a message, whatever becomes of it.
local function random_message(tag)
  if random(15) == 1 then
    return pick(5, "x", json.null, {}, { content = "x" }, print)
  end
  local role = pick("user", "user", "assistant", "assistant", "assistant", "tool", "tool", "tool",
    "tool", "system", "human", "model", "function", "alien")
  local message = { role = role, content = random_content(tag), tag = tag }
  if role == "assistant" and random(3) > 1 or random(40) == 1 then
    message.tool_calls = random_calls()
    message.content = pick(nil, nil, json.null, message.content)
  elseif role == "assistant" and random(10) == 1 then
    message.function_call = pick({ name = "f", arguments = "{}" }, { name = "f" }, 5, json.null)
  end
  if role == "tool" then
    message.tool_call_id = random_id()
  elseif role == "function" then
    message.name = pick("f", "g")
  end
  if random(25) == 1 then
    message.extra = pick(print, 0 / 0, "\255", { 1 }, "kept")
  end
  return message
end

local function random_list()
  local list = {}
  for i = 1, random(14) - 1 do
    list[i] = random_message(i)
    if list[i] == nil then
      list[i] = 5
    end
  end
  return list
end

-- Calls with results in any order, as they can be sent.
local function random_valid_list()
  local list = {}
  for _ = 1, random(8) do
    local kind = random(3)
    if kind < 3 then
      list[#list + 1] = kind == 1 and user() or says()
    else
      local ids = pick({ "a" }, { "a", "b" }, { "b", "a", "c" })
      list[#list + 1] = calls(unpack(ids))
      for i = #ids, 1, -1 do
        list[#list + 1] = result(ids[i])
      end
    end
  end
  if random(3) == 1 then
    list[#list + 1] = calls("a", "b")
    list[#list + 1] = pick(nil, result "b")
  end
  return list
end

local function deep_copy(value)
  if type(value) ~= "table" then
    return value
  end
  local result_of = {}
  for key, item in next, value do
    result_of[key] = deep_copy(item)
  end
  return setmetatable(result_of, getmetatable(value))
end

-- Faster than assert.are.same, and NaN is NaN.
local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return rawequal(a, b) or a ~= a and b ~= b
  end
  for key, item in next, a do
    if not same(item, b[key]) then
      return false
    end
  end
  for key in next, b do
    if a[key] == nil then
      return false
    end
  end
  return getmetatable(a) == getmetatable(b)
end

-- Calls `test` with many random lists and the number of each, for its seed.
local function for_many(make, test)
  for round = 1, ROUNDS do
    seed = round * 7919
    for _ = 1, 5 do
      random(10)
    end
    local list = make()
    test(list, "round " .. round)
  end
end

-- Broken lists, with what they were before and what became of them.
local cases

local function for_all_broken(test)
  if not cases then
    cases = {}
    for_many(random_list, function(list, round)
      local before = deep_copy(list)
      local mended, report = history.repair(list)
      cases[#cases + 1] =
        { list = list, before = before, mended = mended, report = report, round = round }
    end)
  end
  for _, case in ipairs(cases) do
    test(case, case.round)
  end
end

local function text_of(message)
  local given = type(message) == "table" and message.content
  if type(given) == "table" and type(given.text) == "string" then
    return given.text
  end
  local text = content.text(given)
  return text ~= "" and text or nil
end

-- Assertions take longer than what they are about here.
local function must(condition, message)
  if not condition then
    error(message, 2)
  end
end

local function equal(expected, found, round)
  if expected ~= found then
    error(("%s: %s expected, got %s"):format(round, tostring(expected), tostring(found)), 2)
  end
end

describe("history.repair with random lists", function()
  it("gives what check passes and the core takes", function()
    for_all_broken(function(case, round)
      local valid, problems = history.check(case.mended)
      must(valid, problems and round .. ": " .. problems[1].message)
      opperchat.conversation { messages = case.mended }
    end)
  end)

  it("leaves no call open when it shall not", function()
    for_all_broken(function(case, round)
      local closed = history.repair(case.list, { closed = true })
      must(history.check(closed, { closed = true }), round)
      opperchat.conversation { messages = closed }:append("user", "Hi")
    end)
  end)

  it("has nothing to do the second time", function()
    for_all_broken(function(case, round)
      local twice, report = history.repair(case.mended)
      equal(0, #report, round)
      equal(#case.mended, #twice, round)
      for i, message in ipairs(case.mended) do
        must(rawequal(message, twice[i]), round)
      end
    end)
  end)

  it("does the same each time and leaves its input alone", function()
    for_all_broken(function(case, round)
      must(same(case.before, case.list), round)
      local mended, report = history.repair(case.before)
      must(same(case.mended, mended), round)
      must(same(case.report, report), round)
    end)
  end)

  it("does something when check finds something, and only then", function()
    for_all_broken(function(case, round)
      equal(history.check(case.list) == true, #case.report == 0, round)
      must(same(case.before, case.list), round)
    end)
    for_many(random_valid_list, function(list, round)
      must(history.check(list), round)
      local mended, report = history.repair(list)
      equal(0, #report, round)
      equal(#list, #mended, round)
    end)
  end)

  -- What was done to the message at each index.
  local function actions(report)
    local done = { changed = {}, moved = {}, removed = {}, added = {} }
    for i, entry in ipairs(report) do
      must(i == 1 or report[i - 1].index <= entry.index, "the report is not in order")
      done[entry.action][entry.index] = true
    end
    return done
  end

  it("keeps the messages that it need not change, and the order of all", function()
    for_all_broken(function(case, round)
      local done, previous, found = actions(case.report), 0, {}
      for _, message in ipairs(case.mended) do
        local tag = message.tag
        if not tag then
          equal(history.INTERRUPTED, message.content, round)
        else
          found[tag] = true
          equal(not done.changed[tag], rawequal(message, case.list[tag]), round)
          if not done.moved[tag] then
            must(tag > previous, round)
            previous = tag
          end
        end
      end
      for tag in ipairs(case.list) do
        equal(not done.removed[tag], found[tag] or false, round)
      end
    end)
  end)

  it("loses no text of a user, a model or a system", function()
    local roles = { user = true, assistant = true, system = true, human = true, model = true }
    for_all_broken(function(case, round)
      local texts = {}
      for _, message in ipairs(case.mended) do
        texts[message.tag or 0] = text_of(message)
      end
      for tag, message in ipairs(case.list) do
        if type(message) == "table" and roles[message.role] and text_of(message) then
          local text = "text " .. tag
          equal(text, (texts[tag] or ""):sub(1, #text), round)
        end
      end
    end)
  end)

  it("mends what is half of a good list", function()
    -- any piece of a valid list, as trimming by number of messages leaves it
    for_many(random_valid_list, function(list, round)
      local piece = {}
      for i = random(#list), random(#list) do
        piece[#piece + 1] = list[i]
      end
      local mended, report = history.repair(piece)
      must(history.check(mended), round)
      for _, done in ipairs(report) do
        equal("removed", done.action, round)
      end
      opperchat.conversation { messages = mended }
    end)
  end)
end)
