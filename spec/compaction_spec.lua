local chats = require "spec.support.chats"
local completion = require "spec.support.completion"
local sse = require "spec.support.sse"
local with = require "spec.support.with"
local core = require "opperchat.core"
local json = require "opperchat.json"
local opperchat = require "opperchat"

local policy, call = opperchat.policy, completion.call
local show, preview, fill, answer = chats.show, chats.preview, chats.fill, chats.answer

chats.for_tests()
before_each(chats.count_bytes)

-- Each turn of `fill` costs 2 * (4 + 46) = 100, a request 3.
local SIZE = 46

-- A policy that summarizes from 850 tokens on, down to 500.
local function summarize(given)
  return policy.summarize(with({ tokens = 1000 }, given))
end

-- A conversation in which it is time: nine turns.
local function new_chat(given)
  given = given or {}
  given.policy = given.policy or summarize()
  return fill(chats.new(given), 1, 9, SIZE)
end

local function is_summary(text)
  return text:find("You condense", 1, true) or text:find("You keep the memory", 1, true)
end

-- How many of the requests were for a summary.
local function count_summaries()
  local count = 0
  for _, text in ipairs(chats.asked()) do
    count = count + (is_summary(text) and 1 or 0)
  end
  return count
end

-- How many messages have a flag: 2 a summary, 4 facts.
local function count_flags(chat, flag)
  local count = 0
  for i = 1, #chat do
    count = count + (select(3, core.message_info(chat, i)) == flag and 1 or 0)
  end
  return count
end

local USAGE = { prompt_tokens = 500, completion_tokens = 20, total_tokens = 520, cost = 0.5 }

describe("summarize", function()
  it("puts one message in the place of the older turns", function()
    local given, log = chats.record {}
    local chat = new_chat(given)
    answer("  They counted to five.\n", { usage = USAGE })
    answer("a10")
    local reply = assert(chat:send("u10"))
    assert.are.equal("a10", reply.content)
    assert.are.equal("a:Earlier: They counted to five. u6 a6 u7 a7 u8 a8 u9 a9 u10 a10", show(chat))
    assert.are.same({ role = "assistant", content = "Earlier: They counted to five." },
      chat:messages(1)[1])
    local asked = chats.asked()
    assert.are.equal(2, #asked)
    assert.is_truthy(asked[1]:find("Answer with nothing but the summary.", 1, true))
    local question = chats.server:requests()[1].json
    assert.are.equal(2, #question.messages)
    assert.are.equal("user", question.messages[2].role)
    local text = question.messages[2].content
    assert.are.equal("The conversation:\n\nUser: u1", text:sub(1, 27))
    assert.is_truthy(text:find("Assistant: a5", 1, true))
    assert.is_nil(text:find("u6", 1, true))
    assert.are.equal("a:Earlier: They counted to five. u6 a6 u7 a7 u8 a8 u9 a9 u10", asked[2])
    -- told once, with what it cost
    assert.are.same({ "u1 a1 u2 a2 u3 a3 u4 a4 u5 a5" }, log.dropped)
    assert.are.equal(1, #log.reports)
    local report = log.reports[1]
    assert.are.equal("summarize", report.policy)
    assert.are.equal(10, report.dropped)
    assert.are.equal(1, report.added)
    assert.are.equal(910, report.tokens_before)
    assert.is_true(report.tokens_after < 500)
    assert.are.equal(1, report.usage.requests)
    assert.are.equal(0.5, report.usage.cost)
    local usage = chat:usage()
    assert.are.equal(2, usage.requests)
    assert.are.equal(520, usage.total_tokens)
    assert.are.equal(0.5, usage.cost)
    assert.are.equal(1, count_flags(chat, 2))
    chats.settle()
  end)

  it("is not called again at once", function()
    local chat = new_chat()
    answer("sum")
    for number = 10, 13 do
      answer("a" .. number)
      assert(chat:send("u" .. number))
    end
    assert.are.equal(1, count_summaries())
    assert.are.equal("a:Earlier: sum u6 a6 u7 a7 u8 a8 u9 a9 u10 a10 u11 a11 u12 a12 u13 a13",
      show(chat))
  end)

  it("takes an older summary into the new one", function()
    local chat = new_chat { system = "s" }
    answer("sum1")
    answer("a10")
    assert(chat:send("u10"))
    fill(chat, 11, 16, SIZE)
    answer("sum2")
    answer("a17")
    assert(chat:send("u17"))
    assert.are.equal(2, count_summaries())
    local text = chats.server:requests()[3].json.messages[2].content
    assert.are.equal("Summary of the parts before:\nsum1\n\nThe conversation:\n\nUser: u6",
      text:sub(1, 62))
    assert.are.equal("s a:Earlier: sum2", show(chat):sub(1, 17))
    assert.is_nil(show(chat):find("sum1"))
    assert.are.equal(1, count_flags(chat, 2))
    assert.are.equal(chat:last().content, "a17")
  end)

  it("says who speaks, calls, and answers", function()
    local chat = chats.new { policy = summarize { tokens = 200, turns = 1 } }
    chat:append("user", { "Look", { type = "image_url", image_url = { url = "data:x,AAAA" } },
      { type = "file", file = { file_id = "f" } } })
    chat:append { role = "assistant", content = "Wait",
      tool_calls = { call("c1", "look", '{"at":1}') } }
    chat:append("tool", "a door", { tool_call_id = "c1" })
    chat:append("assistant", "A door.")
    chat:append("user", "Go")
    answer("sum")
    answer("ok")
    assert(chat:send())
    assert.are.equal("The conversation:\n\nUser: Look\n[image]\n[file]\n\n"
      .. "Assistant: Wait\nTool call: look({\"at\":1})\n\nTool: a door\n\nAssistant: A door.",
      chats.server:requests()[1].json.messages[2].content)
  end)

  it("takes its options", function()
    local chat = new_chat { system = "s", name = "app", temperature = 1, max_tokens = 100,
      policy = summarize { prefix = "So far - ", role = "system", model = "small",
        prompt = "100% short!", options = { temperature = 0, max_tokens = 77 } } }
    answer("sum")
    answer("a10")
    assert(chat:send("u10"))
    assert.are.equal("s s:So far - sum u6", show(chat):sub(1, 19))
    local request = chats.server:requests()[1]
    assert.are.equal("small", request.json.model)
    assert.are.equal(0, request.json.temperature)
    assert.are.equal(77, request.json.max_tokens)
    assert.are.equal("100% short!", request.json.messages[1].content)
    assert.is_nil(chats.server:requests()[2].json.model)
    -- the same trace as the conversation
    local second = chats.server:requests()[2]
    assert.are.equal(second.headers["x-opper-trace-id"], request.headers["x-opper-trace-id"])
    -- and the next one takes its place, wherever it stands
    fill(chat, 11, 16, SIZE)
    answer("sum2")
    answer("a17")
    assert(chat:send("u17"))
    assert.is_truthy(show(chat):find("^s s:So far %- sum2 u"))
    local text = chats.server:requests()[3].json.messages[2].content
    assert.is_truthy(text:find("^Summary of the parts before:\nsum\n\n"))
  end)

  it("keeps the last turns and those with pins", function()
    local chat = new_chat { system = "s", policy = summarize { turns = 3, target = 0.1 } }
    chat:pin(4)
    answer("sum")
    answer("a10")
    assert(chat:send("u10"))
    assert.are.equal("s a:Earlier: sum u2 a2 u8 a8 u9 a9 u10 a10", show(chat))
    local text = chats.server:requests()[1].json.messages[2].content
    assert.is_nil(text:find("u2", 1, true))
  end)

  it("takes a greeting along", function()
    local chat = chats.new { system = "s", policy = summarize() }
    chat:append("assistant", "Welcome!")
    fill(chat, 1, 9, SIZE)
    answer("sum")
    answer("a10")
    assert(chat:send("u10"))
    assert.are.equal("s a:Earlier: sum u", show(chat):sub(1, 18))
    assert.is_truthy(chats.asked()[1]:find("Assistant: Welcome!", 1, true))
  end)

  it("waits for a share of the window, when that is known", function()
    local chat = chats.new { context_window = 1001, max_tokens = 1, policy = policy.summarize() }
    fill(chat, 1, 8, SIZE)
    assert.are.same({}, chat:forecast(("x"):rep(850 - 803 - 4 - 1)).would_ask)
    assert.are.same({ "summarize" }, chat:forecast(("x"):rep(850 - 803 - 4)).would_ask)
    -- and does nothing when neither is known
    chat = fill(chats.new { policy = policy.summarize() }, 1, 50, 1000)
    assert.are.same({}, chat:forecast("x").would_ask)
    assert.are.equal(0, #chats.server:requests())
  end)

  it("summarizes in parts what is larger than the window", function()
    local chat = chats.new { context_window = 1000, max_tokens = 1,
      policy = policy.summarize { turns = 1 } }
    for number = 1, 6 do
      chat:append("user", "u" .. number .. ("x"):rep(200))
      chat:append("assistant", "a" .. number .. ("y"):rep(1500))
    end
    chat:append("user", "u7")
    local limit = 600
    for _ = 1, 20 do
      answer("part")
    end
    local before = #chat
    local report = assert(chat:compact())
    assert.are.equal("a:Earlier: part u7", show(chat))
    assert.are.equal(before - 1, report.dropped)
    local requests = chats.server:requests()
    assert.is_true(#requests > 1)
    assert.are.equal(#requests, report.policies[1].usage.requests)
    local all = {}
    for i, request in ipairs(requests) do
      local text = request.json.messages[2].content
      all[#all + 1] = text
      if i > 1 then
        assert.is_truthy(text:find("^Summary of the parts before:\npart\n\nThe conversation:"))
      end
      assert.is_true(core.estimate(text) <= limit + 600, "a part is too large")
    end
    all = table.concat(all)
    for number = 1, 6 do
      assert.is_truthy(all:find("u" .. number, 1, true))
      assert.is_truthy(all:find("a" .. number, 1, true))
    end
  end)

  it("shows a model the beginning and the end of what is very long", function()
    local chat = chats.new { policy = summarize { turns = 1 } }
    chat:append("user", "first" .. ("\226\130\172"):rep(100000) .. "last")
    chat:append("assistant", "a1"):append("user", "u2")
    answer("sum")
    answer("a2")
    assert(chat:send())
    local text = chats.server:requests()[1].json.messages[2].content
    assert.is_true(#text < 7000)
    assert.is_truthy(text:find("first", 1, true) and text:find("last", 1, true))
    assert.is_truthy(text:find("%[%.%.%. %d+ bytes left out %.%.%.%]"))
  end)

  describe("that fails", function()
    -- Each way in which it can; what is queued for the summary.
    local ways = {
      { "an error", function() chats.fail(400, "no") end, "api" },
      { "an error of the server", function()
          chats.fail(500, "no")
        end, nil },
      { "empty", function() answer("") end, "protocol" },
      { "blank", function() answer(" \n\t ") end, "protocol" },
      { "longer than what it stands for", function() answer(("x"):rep(800)) end, "protocol" },
      { "cut off", function() answer("sum", { finish_reason = "length" }) end, "protocol" },
      { "filtered", function() answer("sum", { finish_reason = "content_filter" }) end, nil },
      { "refused", function()
          answer { role = "assistant", content = json.null, refusal = "I will not" }
        end, nil },
      { "a tool call", function()
          answer({ role = "assistant", content = "sum", tool_calls = { call("c1") } },
            { finish_reason = "tool_calls" })
        end, "protocol" },
      { "no JSON", function() chats.server:reply { body = "<html>" } end, "protocol" },
      { "a connection that ends", function() chats.server:script { { "close" } } end, nil },
    }

    for _, way in ipairs(ways) do
      it("leaves the list: " .. way[1], function()
        local given, log = chats.record {}
        local chat = new_chat(given)
        local bytes = chats.bytes(chat)
        way[2]()
        chats.server:default { body = completion.body("fine") }
        local report, err = chat:compact()
        assert.is_nil(report)
        assert.are.equal(bytes, chats.bytes(chat))
        if way[3] then
          assert.are.equal(way[3], err.kind)
        end
        assert.are.same({ err }, log.errors)
        assert.are.same({}, log.dropped)
        assert.are.equal("summarize", log.reports[1].policy)
        -- before a request it is told, and the request is sent all the same
        chats.server:reset()
        chat = new_chat(given)
        way[2]()
        chats.server:default { body = completion.body("fine") }
        assert(chat:send("u10"))
        assert.are.equal(bytes, (chats.bytes(chat):match("^(.*)\n[^\n]*\n[^\n]*$")))
        assert.are.equal(2, #log.errors)
        assert.are.same({}, log.dropped)
        chats.settle()
      end)
    end

    it("says what was wrong with it", function()
      local chat = new_chat()
      answer("sum", { finish_reason = "length" })
      local _, err = chat:compact()
      assert.are.equal("bad_summary", err.code)
      assert.are.equal("the summary was cut off at the token limit", err.message)
      assert.are.equal("sum", err.partial.content)
      answer("")
      _, err = chat:compact()
      assert.are.equal("the summary is empty", err.message)
    end)

    it("is not asked again until the list has grown", function()
      local chat = new_chat()
      answer("")
      for number = 10, 13 do
        answer("a" .. number)
        assert(chat:send("u" .. number))
      end
      -- 4 * (6 + 7) tokens later, it is 5 %
      assert.are.equal(1, count_summaries())
      answer("sum")
      answer("a14")
      assert(chat:send("u14" .. (" "):rep(30)))
      assert.are.equal(2, count_summaries())
      assert.is_truthy(show(chat):find("^a:Earlier: sum "))
    end)

    it("is asked again at once when it is told to", function()
      local chat = new_chat()
      answer("")
      answer("a10")
      assert(chat:send("u10"))
      answer("sum")
      assert(chat:compact())
      assert.is_truthy(show(chat):find("^a:Earlier: sum "))
    end)

    it("is not asked in each run, either", function()
      local chat = new_chat { tools = { { name = "f", parameters = {}, run = function()
        return "r"
      end } } }
      answer("")
      answer({ role = "assistant", content = json.null, tool_calls = { call("c1") } },
        { finish_reason = "tool_calls" })
      answer("a10")
      assert(chat:run("u10"))
      answer("a11")
      assert(chat:run("u11"))
      assert.are.equal(1, count_summaries())
    end)
  end)

  it("times out with its client", function()
    local slow = opperchat.client { base_url = chats.server.url, api_key = "x",
      timeout = { first_token = 0.2 } }
    local chat = new_chat { client = slow }
    local bytes = chats.bytes(chat)
    chats.hold("late")
    local report, err = chat:compact()
    assert.is_nil(report)
    assert.are.equal("timeout", err.kind)
    assert.are.equal(bytes, chats.bytes(chat))
    slow:close()
  end)

  it("ends with cancel, and the list is what it was", function()
    for _, way in ipairs { "cancel", "close", "client" } do
      chats.begin()
      local chat = new_chat()
      local bytes = chats.bytes(chat)
      chats.hold("late")
      opperchat.go(function()
        opperchat.sleep(0.1)
        if way == "cancel" then
          chat:cancel()
        elseif way == "close" then
          chat:close()
        else
          chats.client:close()
        end
      end)
      local reply, err = chat:send("u10")
      assert.is_nil(reply, way)
      assert.are.equal("cancelled", err.kind, way)
      if way ~= "close" then
        assert.are.equal(bytes, chats.bytes(chat), way)
      end
      if way == "cancel" then
        -- the same call can be made again
        answer("sum")
        answer("a10")
        assert(chat:send("u10"))
        assert.are.equal("a10", chat:last().content)
      end
      chats.server:release()
      chats.settle()
    end
  end)

  it("does not go on for ever when the last turns are too large", function()
    local chat = chats.new { policy = summarize { tokens = 300 } }
    for number = 1, 12 do
      answer("a" .. number .. ("y"):rep(300))
      chats.server:default { body = completion.body("sum") }
      local before = #chats.server:requests()
      -- whoever asks first gets the long one: it is no summary
      assert(chat:send("u" .. number .. ("x"):rep(300)))
      assert.is_true(#chats.server:requests() - before <= 3)
    end
    local chatty = chats.new { policy = summarize { tokens = 300, turns = 1 } }
    chats.server:reset()
    for number = 1, 4 do
      answer("a" .. number)
      assert(chatty:send("u" .. ("x"):rep(1000)))
      chatty:undo()
    end
    assert.are.equal(4, #chats.server:requests())
  end)

  it("costs what the conversation may cost", function()
    local chat = new_chat { max_cost = 1 }
    answer("sum", { usage = USAGE })
    answer("a10", { usage = { prompt_tokens = 500, completion_tokens = 1, total_tokens = 501,
      cost = 0.6 } })
    assert(chat:send("u10"))
    assert.is_true(math.abs(chat:usage().cost - 1.1) < 1e-9)
    local report, err = chat:compact()
    assert.is_nil(report)
    assert.are.equal("max_cost", err.code)
    assert.are.equal(2, #chats.server:requests())
    -- the same for tokens: the question is counted
    chat = new_chat { max_tokens_total = 5000 }
    answer("sum", { usage = { prompt_tokens = 3, completion_tokens = 1, total_tokens = 4000 } })
    assert(chat:compact())
    assert.are.equal(3, #chats.server:requests())
    fill(chat, 11, 19, SIZE)
    report, err = chat:compact()
    assert.is_nil(report)
    assert.are.equal("max_tokens_total", err.code)
    assert.are.equal("limit", err.kind)
    assert.are.equal(3, #chats.server:requests())
  end)

  it("is paid for once when the request fails", function()
    local given, log = chats.record {}
    local chat = new_chat(given)
    local bytes = chats.bytes(chat)
    answer("sum", { usage = USAGE })
    chats.fail(400, "no")
    assert.is_nil((chat:send("u10")))
    assert.are.equal(bytes, chats.bytes(chat))
    assert.are.same({}, log.dropped)
    assert.are.equal(0.5, chat:usage().cost)
    -- the next one begins with it
    assert.are.equal("a:Earlier: sum u6 a6 u7 a7 u8 a8 u9 a9 u:x", preview(chat, "x"))
    assert.are.equal(bytes, chats.bytes(chat))
    answer("a10")
    assert(chat:send("u10"))
    assert.are.equal(1, count_summaries())
    assert.are.equal("a:Earlier: sum u6 a6 u7 a7 u8 a8 u9 a9 u10 a10", show(chat))
    assert.are.same({ "u1 a1 u2 a2 u3 a3 u4 a4 u5 a5" }, log.dropped)
    assert.are.equal(1, #log.reports)
  end)

  it("that was paid for is not used on another list", function()
    local chat = new_chat()
    answer("sum")
    chats.fail(400, "no")
    assert.is_nil((chat:send("u10")))
    chat:undo(6)
    assert.are.equal("u1 a1 u2 a2 u3 a3 u:x", preview(chat, "x"))
    answer("a4")
    assert(chat:send("u4"))
    assert.are.equal("u1 a1 u2 a2 u3 a3 u4 a4", show(chat))
  end)

  it("and a retry that fails lose nothing", function()
    local chat = new_chat()
    local bytes = chats.bytes(chat)
    answer("sum")
    chats.fail(400, "no")
    assert.is_nil((chat:retry()))
    assert.are.equal(bytes, chats.bytes(chat))
    answer("a10")
    assert(chat:send("u10"))
    assert.is_truthy(show(chat):find(" u9 a9 u10 a10$"))
    assert.are.equal(1, count_summaries())
    -- and one that succeeds
    chat = new_chat()
    answer("sum")
    answer("other")
    assert(chat:retry())
    assert.is_truthy(show(chat):find("^a:Earlier: sum u%d"))
    assert.is_truthy(show(chat):find(" u8 a8 u9 a:other$"))
  end)

  it("works with a run and its tools", function()
    local given, log = chats.record { tools = { { name = "f", parameters = {}, run = function()
      return ("r"):rep(30)
    end } } }
    local chat = new_chat(given)
    answer("sum")
    answer({ role = "assistant", content = json.null, tool_calls = { call("c1") } },
      { finish_reason = "tool_calls" })
    answer("a10")
    assert(chat:run("u10"))
    assert.is_truthy(show(chat):find("^a:Earlier: sum u%d .* u10 c:%- t:r+ a10$"))
    assert.are.equal(1, count_summaries())
    assert.are.equal(1, #log.dropped)
    assert.are.equal(3, chat:usage().requests)
  end)

  it("is paid for once when a run fails later", function()
    local chat = new_chat { tools = { { name = "f", parameters = {}, run = function()
      return "r"
    end } } }
    local bytes = chats.bytes(chat)
    answer("sum")
    answer({ role = "assistant", content = json.null, tool_calls = { call("c1") } },
      { finish_reason = "tool_calls" })
    chats.fail(400, "no")
    assert.is_nil((chat:run("u10")))
    assert.are.equal(bytes, chats.bytes(chat))
    answer("a10")
    assert(chat:send("u10"))
    assert.are.equal(1, count_summaries())
    assert.is_truthy(show(chat):find("^a:Earlier: sum u%d.* u9 a9 u10 a10$"))
  end)

  it("leaves one alone that is pinned", function()
    local chat = new_chat()
    answer("sum1")
    assert(chat:compact())
    chat:pin(1)
    fill(chat, 10, 17, SIZE)
    answer("sum2")
    assert(chat:compact())
    assert.are.equal("a:Earlier: sum2 a:Earlier: sum1 u16 a16 u17 a17", show(chat))
    assert.is_true(chat:messages(2)[1].pinned)
    -- the one that is not goes on
    fill(chat, 18, 25, SIZE)
    answer("sum3")
    assert(chat:compact())
    assert.are.equal("a:Earlier: sum3 a:Earlier: sum1 u24 a24 u25 a25", show(chat))
    local requests = chats.server:requests()
    assert.is_truthy(requests[3].json.messages[2].content:find("before:\nsum2\n", 1, true))
  end)

  it("comes with what had arrived of an answer that is kept", function()
    local given, log = chats.record { keep_partial = true }
    local chat = new_chat(given)
    answer("sum")
    chats.server:script(sse.broken_off("half"))
    assert.is_nil((chat:send("u10", { stream = true })))
    assert.is_truthy(show(chat):find("^a:Earlier: sum u6 .* u10 a:half$"))
    assert.are.equal(1, #log.dropped)
    assert.are.equal(1, #log.reports)
  end)

  it("keeps calls that still wait for their results", function()
    local chat = new_chat { policy = { summarize(), policy.keep { turns = 1 },
      policy.shrink {}, policy.fit { tokens = 300 } } }
    chat:append("user", "u10")
    chat:append { role = "assistant", tool_calls = { call("c1"), call("c2") } }
    chat:append("tool", "r", { tool_call_id = "c2" })
    answer("sum")
    assert(chat:compact())
    assert.are.equal("a:Earlier: sum u10 c:- t:r", show(chat))
    chat:append("tool", "r1", { tool_call_id = "c1" })
    answer("a10")
    assert(chat:send())
  end)

  it("goes before what trims", function()
    local chat = new_chat { policy = { summarize(), policy.fit { tokens = 1000 } } }
    answer("")
    answer("a10")
    assert(chat:send("u10" .. (" "):rep(100)))
    -- no summary, so the oldest turns went
    assert.are.equal("u7 a7 u8 a8 u9 a9 u10 a10", show(chat))
  end)

  it("checks its options", function()
    local ok, err = pcall(policy.summarize, { role = "tool" })
    assert.is_false(ok)
    assert.is_truthy(tostring(err):find("option 'role'", 1, true))
    ok, err = pcall(policy.summarize, { turns = 0 })
    assert.is_false(ok)
    assert.is_truthy(tostring(err):find("option 'turns'", 1, true))
  end)
end)

describe("remember", function()
  local function remember(given)
    return policy.remember(with({ tokens = 1000 }, given))
  end

  it("keeps facts in the head and drops the turns", function()
    local given, log = chats.record { system = "s", policy = remember() }
    local chat = new_chat(given)
    answer('{"facts":["Ann likes tea"]}', { usage = USAGE })
    answer("a10")
    assert(chat:send("u10"))
    assert.are.equal('s s:What is known: {"facts":["Ann likes tea"]} '
      .. "u6 a6 u7 a7 u8 a8 u9 a9 u10 a10", show(chat))
    local request = chats.server:requests()[1].json
    assert.are.equal("json_schema", request.response_format.type)
    assert.are.equal("Known: {}\n\nThe conversation:\n\nUser: u1",
      request.messages[2].content:sub(1, 38))
    assert.are.same({ "u1 a1 u2 a2 u3 a3 u4 a4 u5 a5" }, log.dropped)
    assert.are.equal("remember", log.reports[1].policy)
    assert.are.equal(0.5, log.reports[1].usage.cost)
    assert.are.equal(1, count_flags(chat, 4))
  end)

  it("merges: new values take the place of old ones", function()
    local chat = new_chat { policy = remember { schema = { name = "string?", city = "string?",
      likes = { "string" } } } }
    answer('{"name":"Ann","city":"Rome","likes":["tea"]}')
    answer("a10")
    assert(chat:send("u10"))
    fill(chat, 11, 15, SIZE)
    answer('{"city":"Oslo","likes":["tea","snow"]}')
    answer("a16")
    assert(chat:send("u16"))
    local question = chats.server:requests()[3].json.messages[2].content
    local known = json.decode(question:match("^Known: (%b{})"))
    assert.are.same({ name = "Ann", city = "Rome", likes = { "tea" } }, known)
    local facts = chat:messages(1)[1]
    assert.are.equal("system", facts.role)
    assert.are.same({ name = "Ann", city = "Oslo", likes = { "tea", "snow" } },
      json.decode((facts.content:gsub("^What is known: ", ""))))
    assert.are.equal(1, count_flags(chat, 4))
  end)

  it("merges with the program's own function", function()
    local seen
    local chat = new_chat { policy = remember { schema = { n = "integer" }, role = "developer",
      prefix = "[Facts] {n}: ", merge = function(known, found)
        seen = known
        return { n = (known and known.n or 0) + found.n }
      end } }
    answer('{"n":2}')
    answer("a10")
    assert(chat:send("u10"))
    assert.is_nil(seen)
    fill(chat, 11, 15, SIZE)
    answer('{"n":3}')
    answer("a16")
    assert(chat:send("u16"))
    assert.are.same({ n = 2 }, seen)
    assert.are.same({ role = "developer", content = '[Facts] {n}: {"n":5}' }, chat:messages(1)[1])
  end)

  it("keeps what its function makes, whatever that is", function()
    local seen = {}
    local chat = new_chat { policy = remember { schema = { n = "integer" },
      merge = function(known, found)
        seen[#seen + 1] = tostring(known)
        return "n is " .. found.n
      end } }
    answer('{"n":2}')
    assert(chat:compact())
    fill(chat, 11, 15, SIZE)
    answer('{"n":3}')
    assert(chat:compact())
    assert.are.same({ "nil", "n is 2" }, seen)
    assert.are.equal('What is known: "n is 3"', chat:messages(1)[1].content)
  end)

  it("leaves the list when the answer is no facts", function()
    local chat = new_chat { policy = remember { schema = { n = "integer" } } }
    local bytes = chats.bytes(chat)
    for _, text in ipairs { "", "no json", '{"n":"x"}', "[]", "null" } do
      answer(text)
      local report, err = chat:compact()
      assert.is_nil(report)
      assert.is_string(err.kind)
      assert.are.equal(bytes, chats.bytes(chat))
    end
    answer { role = "assistant", content = json.null, refusal = "no" }
    assert.is_nil((chat:compact()))
    answer('{"n":1}', { finish_reason = "length" })
    assert.is_nil((chat:compact()))
    chats.fail(400, "no")
    assert.is_nil((chat:compact()))
    assert.are.equal(bytes, chats.bytes(chat))
  end)

  it("works beside summarize", function()
    local chat = new_chat { system = "s", policy = {
      remember { target = 0.7 }, summarize { at = 0.6, target = 0.3 },
    } }
    answer('{"facts":["x"]}')
    answer("sum")
    answer("a10")
    assert(chat:send("u10"))
    assert.is_truthy(show(chat):find('^s s:What is known: {"facts":%["x"%]} a:Earlier: sum u'))
    assert.are.equal(1, count_flags(chat, 2))
    assert.are.equal(1, count_flags(chat, 4))
  end)

  it("checks its schema", function()
    assert.is_false((pcall(policy.remember, { schema = { n = "intger" } })))
  end)
end)

describe("between turns", function()
  -- Sends without waiting for anything else; the answer is not a stream.
  local function start(chat, prompt)
    local reply, err
    local request = assert(chat:start(prompt, { stream = false }))
    reply, err = request:wait()
    return reply, err
  end

  -- A conversation whose background summary is held back by the server.
  local function compacting(given)
    local log
    given, log = chats.record(given or {})
    local chat = new_chat(given)
    answer("a10")
    chats.hold("sum", { usage = USAGE })
    assert(start(chat, "u10"))
    chats.wait_held(1)
    assert.are.equal(20, #chat)
    return chat, log
  end

  local function release()
    chats.server:release()
    chats.settle()
  end

  it("nothing is asked before a request", function()
    for _, way in ipairs { "start", "stream", "go" } do
      chats.begin()
      local chat = new_chat()
      chats.hold("a10")
      if way == "go" then
        opperchat.go(function()
          assert(chat:send("u10"))
        end)
      else
        chat[way](chat, "u10", { stream = false })
      end
      chats.wait_held(1)
      assert.are.equal(0, count_summaries(), way)
      answer("sum")
      chats.server:release()
      chats.poll_until(function()
        return #chat == 11
      end, way)
      assert.are.equal(1, count_summaries(), way)
      assert.is_truthy(show(chat):find("^a:Earlier: sum u6 .* u10 a10$"))
      chats.settle()
    end
  end)

  it("begins after a run as well", function()
    local chat = new_chat { tools = { { name = "f", parameters = {}, run = function()
      return "r"
    end } } }
    answer({ role = "assistant", content = json.null, tool_calls = { call("c1") } },
      { finish_reason = "tool_calls" })
    answer("a10")
    answer("sum")
    local seen
    opperchat.go(function()
      assert(chat:run("u10"))
      seen = count_summaries()
    end):wait()
    chats.settle()
    assert.is_true(seen <= 1)
    assert.are.equal(1, count_summaries())
    assert.is_truthy(show(chat):find("^a:Earlier: sum u%d .* u10 c:%- t:r a10$"))
  end)

  it("delays no request, and is made on the list as it is then", function()
    local chat, log = compacting()
    answer("a11")
    answer("a12")
    assert(start(chat, "u11"))
    opperchat.go(function()
      assert(chat:send("u12"))
    end):wait()
    assert.are.equal(24, #chat)
    assert.are.equal(1, chats.server:status().held)
    assert.are.same({}, log.dropped)
    release()
    assert.are.equal("a:Earlier: sum u6 a6 u7 a7 u8 a8 u9 a9 u10 a10 u11 a11 u12 a12", show(chat))
    assert.are.same({ "u1 a1 u2 a2 u3 a3 u4 a4 u5 a5" }, log.dropped)
    assert.are.equal(1, #log.reports)
    assert.is_true(log.reports[1].in_background)
    assert.are.equal(0.5, log.reports[1].usage.cost)
    assert.are.equal(0.5, chat:usage().cost)
    assert.are.equal(4, chat:usage().requests)
    assert.are.equal(1, count_summaries())
  end)

  it("waits for the end of a request in flight", function()
    for _, way in ipairs { "answer", "failure", "cancel" } do
      chats.begin()
      local chat, log = compacting()
      if way == "failure" then
        chats.server:script { { "hold" }, { "send", "HTTP/1.1 400 Bad Request\r\n"
          .. "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}" } }
      else
        chats.hold("a11")
      end
      local request = assert(chat:start("u11", { stream = false }))
      chats.wait_held(2)
      if way == "cancel" then
        -- the summary comes first
        chats.server:release()
        request:cancel()
        chats.settle()
        assert.is_truthy(show(chat):find("^a:Earlier: sum u6 .* u10 a10$"), way)
      else
        -- both come at once, in this order or the other
        chats.server:release()
        local reply = request:wait()
        assert.are.equal(way == "answer", reply ~= nil)
        chats.settle()
        assert.is_truthy(show(chat):find(way == "answer"
          and "^a:Earlier: sum u6 .* u10 a10 u11 a11$" or "^a:Earlier: sum u6 .* u10 a10$"), way)
      end
      assert.are.same({ "u1 a1 u2 a2 u3 a3 u4 a4 u5 a5" }, log.dropped)
      assert.are.equal(1, count_summaries())
    end
  end)

  it("is not lost to a request that ends after it", function()
    for _, way in ipairs { "answer", "failure", "run", "failing run" } do
      chats.begin()
      -- the summary is answered late, but before the next answer
      local given, log = chats.record { tools = { { name = "f", parameters = {}, run = function()
        return "r"
      end } } }
      local chat = new_chat(given)
      answer("a10")
      chats.hold("sum")
      assert(start(chat, "u10"))
      chats.wait_held(1)
      local reply, err, is_over
      local function go_on()
        if way:find("run") then
          reply, err = chat:run("u11")
        else
          reply, err = chat:send("u11")
        end
        is_over = true
      end
      -- the next answer comes when the summary has been taken
      local body = way:find("fail") and "{}" or json.encode(completion.body("a11"))
      chats.server:script { { "sleep", 0.3 }, { "send", "HTTP/1.1 "
        .. (way:find("fail") and "400 Bad Request" or "200 OK")
        .. "\r\nContent-Type: application/json\r\nContent-Length: " .. #body
        .. "\r\n\r\n" .. body } }
      opperchat.go(go_on)
      chats.poll_until(function()
        return #chats.server:requests() == 3
      end, "the next request")
      chats.server:release()
      chats.poll_until(function()
        return chat:usage().requests == 2
      end, "the summary")
      assert.is_nil(is_over, way)
      assert.are.equal(20, #chat)
      chats.settle()
      assert.is_true(is_over)
      assert.are.equal(not way:find("fail"), reply ~= nil, way)
      assert.are.equal(reply == nil, err ~= nil)
      assert.is_truthy(show(chat):find(reply and "^a:Earlier: sum u7 .* u10 a10 u11 a11$"
        or "^a:Earlier: sum u7 .* u10 a10$"), way .. ": " .. show(chat))
      assert.are.same({ "u1 a1 u2 a2 u3 a3 u4 a4 u5 a5 u6 a6" }, log.dropped)
      assert.are.equal(1, count_summaries())
    end
  end)

  it("is made after later turns were taken back", function()
    local chat, log = compacting()
    answer("a11")
    assert(start(chat, "u11"))
    chat:undo(3)
    assert.are.equal("u8", chat:messages(-2)[1].content:match("%S+"))
    release()
    assert.are.equal("a:Earlier: sum u6 a6 u7 a7 u8 a8", show(chat))
    assert.are.equal(1, #log.dropped)
  end)

  it("is given up when the turns it is about have changed", function()
    for _, edit in ipairs {
      function(chat) chat:undo(7) end,
      function(chat) chat:clear() end,
      function(chat) chat:splice(3, 4, { { role = "user", content = "x" } }) end,
      function(chat) chat:splice(2, 1, { { role = "assistant", content = "x" } }) end,
      function(chat) chat:pin(3) end,
    } do
      chats.begin()
      local chat, log = compacting()
      edit(chat)
      local bytes = chats.bytes(chat)
      release()
      assert.are.equal(bytes, chats.bytes(chat))
      assert.are.same({}, log.dropped)
      assert.are.equal(1, #log.errors)
      assert.are.equal("list_changed", log.errors[1].code)
      assert.are.equal("cancelled", log.errors[1].kind)
      -- it was paid for all the same
      assert.are.equal(0.5, chat:usage().cost)
      -- and the next time it is tried again
      fill(chat, 20, 30, SIZE)
      answer("sum2")
      assert(chat:compact())
      assert.is_truthy(show(chat):find("a:Earlier: sum2", 1, true))
    end
  end)

  it("ends with its conversation", function()
    local chat, log = compacting()
    chat:close()
    chats.settle()
    chats.server:release()
    chats.settle()
    assert.are.same({}, log.reports)
    -- one that nobody has any more
    chats.begin()
    local weak = setmetatable({}, { __mode = "v" })
    chat, log = compacting()
    weak[1], chat = chat, nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    release()
    collectgarbage()
    collectgarbage()
    collectgarbage()
    assert.is_nil(weak[1])
    assert.is_true(#log.reports <= 1)
  end)

  it("ends with its client", function()
    local chat, log = compacting()
    local bytes = chats.bytes(chat)
    chats.client:close()
    chats.server:release()
    chats.settle()
    assert.are.equal(bytes, chats.bytes(chat))
    assert.are.same({}, log.dropped)
    assert.are.equal(1, #log.errors)
    assert.are.equal("cancelled", log.errors[1].kind)
  end)

  it("is not begun twice", function()
    local chat = compacting()
    answer("a11")
    answer("a12")
    assert(start(chat, "u11"))
    assert(start(chat, "u12"))
    assert.are.equal(1, count_summaries())
    release()
    assert.are.equal(1, count_summaries())
  end)

  it("comes first when compact is called", function()
    local chat, log = compacting()
    opperchat.go(function()
      opperchat.sleep(0.1)
      chats.server:release()
    end)
    answer("sum2")
    local report = assert(chat:compact())
    assert.are.equal("a:Earlier: sum2 u9 a9 u10 a10", show(chat))
    assert.are.equal(2, count_summaries())
    assert.are.equal(2, #log.reports)
    assert.are.equal(1 + 6, report.dropped)
    chats.settle()
  end)

  it("is what compact does within go", function()
    local chat = new_chat()
    chats.hold("sum")
    local report
    opperchat.go(function()
      report = assert(chat:compact())
    end)
    chats.wait_held(1)
    assert.is_nil(report)
    answer("a10")
    assert(start(chat, "u10"))
    release()
    assert.are.equal("a:Earlier: sum u8 a8 u9 a9 u10 a10", show(chat))
    assert.are.equal(14, report.dropped)
  end)

  it("is not asked for beside it, by whoever waits", function()
    local chat = compacting()
    answer("a11")
    assert(chat:send("u11"))
    answer("a12")
    assert(chat:run("u12"))
    assert.are.equal(1, count_summaries())
    release()
    assert.is_truthy(show(chat):find("^a:Earlier: sum u6 .* u12 a12$"))
    assert.are.equal(1, count_summaries())
  end)

  it("ends with the conversation that compacts within go", function()
    local chat = new_chat()
    chats.hold("sum")
    local report, err
    opperchat.go(function()
      report, err = chat:compact()
    end)
    chats.wait_held(1)
    chat:close()
    chats.settle()
    assert.is_nil(report)
    assert.are.equal("cancelled", err.kind)
  end)

  it("may be followed by whatever its handlers do", function()
    local chat
    local seen = {}
    chat = new_chat { on_drop = function(messages)
      seen[#seen + 1] = #messages
      chat:append("user", "noted")
      answer("yes")
      assert(chat:start(nil, { stream = false }))
    end }
    answer("a10")
    answer("sum")
    assert(start(chat, "u10"))
    chats.settle()
    assert.is_truthy(show(chat):find("^a:Earlier: sum u6 .* u10 a10 u:noted a:yes$"))
    assert.are.same({ 10 }, seen)
    -- and before a request that waits
    fill(chat, 11, 16, SIZE)
    answer("sum2")
    answer("a17")
    assert(chat:send("u17"))
    chats.settle()
    assert.is_truthy(show(chat):find("^a:Earlier: sum2 .* u17 a17 u:noted a:yes$"), show(chat))
    assert.are.equal(2, #seen)
  end)

  it("leaves the list when it fails, and is not tried again at once", function()
    local given, log = chats.record {}
    local chat = new_chat(given)
    answer("a10")
    answer("")
    assert(start(chat, "u10"))
    chats.settle()
    assert.are.equal(20, #chat)
    assert.are.equal("bad_summary", log.errors[1].code)
    for number = 11, 13 do
      answer("a" .. number)
      assert(start(chat, "u" .. number))
      chats.settle()
    end
    assert.are.equal(1, count_summaries())
    assert.are.equal(1, #log.errors)
    answer("a14")
    answer("sum")
    assert(start(chat, "u14" .. (" "):rep(40)))
    chats.settle()
    assert.are.equal(2, count_summaries())
    assert.is_truthy(show(chat):find("^a:Earlier: sum "))
  end)

  it("trims at once what does not fit, and summarizes later", function()
    local chat = new_chat { policy = { summarize { at = 0.4, target = 0.2, turns = 1 },
      policy.fit { tokens = 950, target = 0.5 } } }
    answer("a10")
    answer("sum")
    assert(start(chat, "u10" .. (" "):rep(60)))
    assert.are.equal("u6 a6 u7 a7 u8 a8 u9 a9 u10 a10", show(chat))
    chats.settle()
    assert.is_truthy(show(chat):find("^a:Earlier: sum "), show(chat))
  end)

  it("goes on after code of the program has raised", function()
    local fails, heard = true, nil
    local given = { policy = { summarize(), function(_, info)
      if fails and info.tokens < 850 then
        error("oops", 0)
      end
    end } }
    local chat = new_chat(given)
    answer("a10")
    answer("sum")
    assert(start(chat, "u10"))
    local deadline = os.time() + 10
    while not heard and os.time() < deadline do
      local ok, err = pcall(opperchat.poll, 0.01)
      heard = not ok and tostring(err)
    end
    assert.is_truthy(heard:find("oops", 1, true))
    assert.are.equal(20, #chat)
    chats.settle()
    fails = false
    answer("a11")
    answer("sum2")
    assert(start(chat, "u11"))
    chats.settle()
    assert.is_truthy(show(chat):find("^a:Earlier: sum2 "), show(chat))
    answer("sum3")
    assert(chat:compact())
  end)

  it("keeps what worked when another policy fails", function()
    local given, log = chats.record { policy = { summarize(), function()
      return nil, "no"
    end } }
    local chat = new_chat(given)
    answer("a10")
    answer("sum", { usage = USAGE })
    assert(start(chat, "u10"))
    chats.settle()
    assert.is_truthy(show(chat):find("^a:Earlier: sum "), show(chat))
    assert.are.equal(1, #log.dropped)
    assert.are.equal("policy_failed", log.errors[#log.errors].code)
  end)

  it("hears of handlers that raise, and loses nothing", function()
    local chat = new_chat { on_drop = function() error("drop", 0) end }
    answer("a10")
    answer("sum")
    assert(start(chat, "u10"))
    local heard
    local deadline = os.time() + 10
    while not heard and os.time() < deadline do
      local ok, err = pcall(opperchat.poll, 0.01)
      heard = not ok and tostring(err)
    end
    assert.is_truthy(heard:find("drop", 1, true))
    assert.is_truthy(show(chat):find("^a:Earlier: sum "))
    chats.settle()
    answer("a11")
    assert(start(chat, "u11"))
  end)

  it("works for many conversations of one client", function()
    local list = {}
    for i = 1, 10 do
      list[i] = new_chat()
      answer("a10")
    end
    chats.server:default { body = completion.body("sum") }
    for i = 1, 10 do
      opperchat.go(function()
        assert(list[i]:send("u10"))
      end)
    end
    chats.settle()
    for i = 1, 10 do
      assert.is_truthy(show(list[i]):find("^a:Earlier: %w+ u6 "))
    end
  end)

  it("facts are learned as well", function()
    local chat = new_chat { policy = policy.remember { tokens = 1000 } }
    answer("a10")
    answer('{"facts":["x"]}')
    assert(start(chat, "u10"))
    chats.settle()
    assert.is_truthy(show(chat):find('^s:What is known: {"facts":%["x"%]} u6 '))
  end)
end)
