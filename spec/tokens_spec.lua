local chats = require "spec.support.chats"
local with = require "spec.support.with"
local core = require "opperchat.core"
local json = require "opperchat.json"
local opperchat = require "opperchat"
local window = require "opperchat.window"

local fill, answer = chats.fill, chats.answer

chats.for_tests()

local function size(chat)
  local tokens, how = chat:tokens()
  return { tokens, how }
end

local function use(prompt, completion, more)
  local usage = with({ prompt_tokens = prompt, completion_tokens = completion,
    total_tokens = prompt and prompt + (completion or 0) }, more)
  return { usage = usage }
end

describe("tokens", function()
  it("are estimated at first", function()
    local chat = chats.new()
    local empty, how = chat:tokens()
    assert.are.equal("estimated", how)
    chat:append("user", "How are you?")
    local one = chat:tokens()
    assert.are.equal(empty + 4 + core.estimate("How are you?"), one)
    chat:append("user", { "Look", { type = "image_url", image_url = { url = "data:x,AAAA" } } })
    assert.is_true(chat:tokens() - one > 500)
    chat:undo()
    assert.are.equal(one, (chat:tokens()))
    local tools = { { name = "look", description = "Looks", parameters = {}, run = print } }
    assert.is_true(chats.new { tools = tools }:tokens() > empty)
    assert.is_true(chats.new { schema = { n = "integer" } }:tokens() > empty)
    assert.are.equal(0, #chats.server:requests())
    assert.are.equal(core.estimate("abc"), opperchat.tokens.count("abc"))
  end)

  it("are the same whether or not somebody has asked before the reply", function()
    local found = {}
    for i, asks in ipairs { true, false } do
      local chat = chats.new()
      for n = 1, 60 do
        chat:append(n % 2 == 1 and "user" or "assistant", ("word " .. n .. " "):rep(200))
      end
      if asks then
        chat:tokens()
      end
      answer("a1", use(30000, 12))
      assert(chat:send("and now?"))
      found[i] = size(chat)
    end
    assert.are.equal("measured", found[2][2])
    assert.are.same(found[1], found[2])
  end)

  it("of a long list that nobody counted teach a new conversation", function()
    local chat = chats.new()
    for n = 1, 60 do
      chat:append(n % 2 == 1 and "user" or "assistant", ("word " .. n .. " "):rep(200))
    end
    answer("a1", use(60000, 12))
    assert(chat:send("and now?"))
    local other = chats.new()
    other:append("user", ("word "):rep(1000))
    local tokens, how = other:tokens()
    assert.are.equal("corrected", how)
    assert.is_true(tokens > 1.5 * core.estimate(("word "):rep(1000)), tokens)
  end)

  it("of a list that nobody counted are known when a page says it is too long", function()
    local chat = chats.new()
    for n = 1, 60 do
      chat:append(n % 2 == 1 and "user" or "assistant", ("word " .. n .. " "):rep(200))
    end
    chats.server:reply { status = 400, body = "<p>the prompt is too long</p>" }
    local _, err = chat:send("and now?")
    assert.are.equal("http", err.kind)
    local state = core.state(chat)
    local learned = window.of(state.options.client, state.options.model)
    assert.is_true(learned and learned > 0.5 * chat:tokens(), learned)
  end)

  it("are measured after a reply, and corrected after more", function()
    local chat = chats.new()
    chat:append("system", ("word "):rep(100))
    local estimated = chat:tokens()
    local measured = estimated * 2
    answer("a1", use(measured, 7))
    assert(chat:send("u1"))
    -- the answer was counted by the server; a message costs 4 beside it
    assert.are.same({ measured + 7 + 4, "measured" }, size(chat))
    chat:append("user", ("word "):rep(100))
    local more, how = chat:tokens()
    assert.are.equal("corrected", how)
    -- what is new is estimated, and multiplied by what was learned
    assert.is_true(math.abs(more - (measured + 11) - (estimated - 3) * 2) < 0.1 * measured)
    chat:undo(1)
    assert.are.same({ measured + 11, "measured" }, size(chat))
    -- another list altogether, and another conversation
    chat:undo(1)
    how = select(2, chat:tokens())
    assert.are.equal("corrected", how)
    local other, other_how = chats.new():append("user", ("word "):rep(1000)):tokens()
    assert.are.equal("corrected", other_how)
    assert.is_true(other > 1.5 * (core.estimate(("word "):rep(1000))))
  end)

  it("are learned for each model by itself", function()
    chats.server:default { body = json.encode { data = {}, choices = { { index = 0,
      finish_reason = "stop", message = { role = "assistant", content = "a" } } },
      usage = { prompt_tokens = 600, completion_tokens = 5, total_tokens = 605 } } }
    local text = ("word "):rep(200)
    local first = chats.new { model = "m1" }:append("user", text)
    assert.are.equal("estimated", select(2, first:tokens()))
    assert(first:send())
    assert.are.same({ 609, "measured" }, size(first))
    local same, other = chats.new { model = "m1" }, chats.new { model = "m2" }
    assert.are.equal("corrected", size(same:append("user", "x"))[2])
    assert.are.equal("estimated", size(other:append("user", "x"))[2])
    -- the same messages for another model
    assert.are.equal("estimated", select(2, first:fork { model = "m2" }:tokens()))
    assert.are.equal("measured", select(2, first:fork():tokens()))
    assert.are.equal("corrected", first:forecast("x").how)
    assert.are.equal("estimated", first:forecast("x", { model = "m2" }).how)
    -- and another client knows nothing of it
    local client = opperchat.client { base_url = chats.server.url, api_key = "x" }
    assert.are.equal("estimated",
      select(2, chats.new { client = client, model = "m1" }:append("user", "x"):tokens()))
    client:close()
  end)

  it("do not forget what was measured when a fork goes on", function()
    local chat = chats.new()
    answer("a1", use(20, 5))
    assert(chat:send("How are you doing today, my friend?"))
    local before = size(chat)
    assert.are.equal("measured", before[2])
    local fork = chat:fork()
    answer("a2", use(40, 5))
    assert(fork:send("And you?"))
    assert.are.equal("measured", size(fork)[2])
    assert.are.same(before, size(chat))
    -- nor when a run fails half way
    local tools = { { name = "f", parameters = {}, run = function() return "r" end } }
    answer({ role = "assistant", content = json.null, tool_calls = { { id = "c", type = "function",
      ["function"] = { name = "f", arguments = "{}" } } } }, use(40, 5))
    chats.fail(400, "no")
    assert.is_nil((chat:run("Go", { tools = tools })))
    assert.are.same(before, size(chat))
  end)

  it("believe no server that cannot be right", function()
    local text = ("word "):rep(200)
    for _, usage in ipairs {
      use(0, 0), use(-5, -5), use(3, 1), use(1e15, 1), use(nil, 5), {},
      { usage = json.null }, { usage = { prompt_tokens = "many" } }, use(1e300, 1e300),
    } do
      chats.begin()
      local chat = chats.new():append("user", text)
      local before = chat:tokens()
      answer("a1", usage)
      assert(chat:send())
      local after, how = chat:tokens()
      assert.are.equal("estimated", how)
      assert.is_true(after > before and after < before + 20)
    end
  end)

  it("believe no answer that cannot have been so long", function()
    local text = ("word "):rep(200)
    for _, completion in ipairs { 1e15, 1e9, 0 } do
      chats.begin()
      local chat = chats.new():append("user", text)
      local estimated = chat:tokens()
      answer(text, use(estimated, completion))
      assert(chat:send())
      local after = chat:tokens()
      assert.is_true(after > 1.5 * estimated and after < 2.5 * estimated,
        completion .. ": " .. after .. " after " .. estimated)
    end
  end)

  it("do not count reasoning, which is not sent again", function()
    local chat = chats.new():append("user", ("word "):rep(200))
    local estimated = chat:tokens()
    answer("a1", use(estimated, 1005, { completion_tokens_details = { reasoning_tokens = 1000 } }))
    assert(chat:send())
    assert.are.same({ estimated + 5 + 4, "measured" }, size(chat))
  end)

  it("are corrected step by step", function()
    local chat = chats.new()
    local ratios = {}
    for number = 1, 8 do
      local prompt = "u" .. number .. (" word"):rep(100)
      local forecast = chat:forecast(prompt)
      local honest = math.floor(core.tokens(chat:fork():append("user", prompt)) * 1.5)
      ratios[number] = forecast.tokens / honest
      answer("a" .. number, use(honest, 3))
      assert(chat:send(prompt))
    end
    assert.is_true(math.abs(ratios[8] - 1) < 0.05, "off by " .. ratios[8])
  end)

  it("of a request in flight stay as they were", function()
    local chat = fill(chats.new(), 1, 2)
    local before = size(chat)
    chats.hold("a3")
    local request = assert(chat:start("u3", { stream = false }))
    chats.wait_held(1)
    assert.are.same(before, size(chat))
    request:cancel()
    assert.are.same(before, size(chat))
    chats.settle()
  end)
end)

describe("a program's own count", function()
  it("takes the place of the estimate", function()
    local chat = chats.new():append("user", "12345"):append("assistant", "123")
    local texts, models = {}, {}
    opperchat.tokens.count = function(text, model)
      texts[#texts + 1], models[#models + 1] = text, tostring(model)
      return #text
    end
    assert.are.same({ 3 + 4 + 5 + 4 + 3, "counted" }, size(chat))
    assert.are.same({ "12345", "123" }, texts)
    assert.are.same({ "nil", "nil" }, models)
    -- each message once
    assert.are.equal(19, (chat:tokens()))
    assert.are.equal(19, (chat:fork():tokens()))
    assert.are.equal(2, #texts)
    chats.new { model = "m" }:append("user", "x"):tokens()
    assert.are.equal("m", models[3])
  end)

  it("counts parts, calls and fields", function()
    chats.count_bytes()
    local chat = chats.new():append("user", { "12", { type = "image_url",
      image_url = { url = "data:x,AAAA" } }, "345" })
    assert.are.equal(3 + 4 + 5 + core.TOKENS_IMAGE, (chat:tokens()))
    chat = chats.new():append { role = "assistant", tool_calls = { { id = "c", type = "function",
      ["function"] = { name = "look", arguments = "{ }" } } } }
    assert.are.equal(3 + 4 + core.TOKENS_CALL + 4 + 3, (chat:tokens()))
    chat = chats.new { response_format = { type = "json_object" } }
    assert.are.equal(3 + #'{"type":"json_object"}', (chat:tokens()))
  end)

  it("may be taken back, and be another one", function()
    local chat = chats.new():append("user", ("word "):rep(10))
    local own = opperchat.tokens.count
    local estimated = size(chat)
    chats.count_bytes()
    assert.are.same({ 57, "counted" }, size(chat))
    local fork = chat:fork()
    opperchat.tokens.count = function() return 0.5 end
    assert.are.same({ 3 + 4 + 1, "counted" }, size(chat))
    opperchat.tokens.count = own
    assert.are.same(estimated, size(chat))
    assert.are.same(estimated, size(fork))
    -- what was counted in between is counted again as well
    chats.count_bytes()
    chat:append("user", "12345")
    chat:tokens()
    chat:undo()
    opperchat.tokens.count = own
    assert.are.same(estimated, size(chat))
    chat:clear()
    assert.are.equal(3, (chat:tokens()))
  end)

  it("is corrected by replies for itself", function()
    chats.count_bytes()
    local chat = chats.new():append("user", ("x"):rep(193))
    assert.are.equal(200, (chat:tokens()))
    answer("1234567890", use(100, 5))
    assert(chat:send())
    assert.are.same({ 109, "measured" }, size(chat))
    chat:append("user", ("x"):rep(96))
    assert.are.same({ 109 + 50, "corrected" }, size(chat))
    -- the answer's length as the server has not said it
    answer("1234567890", { usage = { prompt_tokens = 159 } })
    assert(chat:send())
    assert.are.equal("measured", size(chat)[2])
    assert.is_true(math.abs(chat:tokens() - (159 + 7)) <= 1)
  end)

  it("has to give a number", function()
    local chat = chats.new():append("user", "x")
    for _, value in ipairs { "1", -1, 0 / 0, {} } do
      opperchat.tokens.count = function() return value end
      local ok, err = pcall(chat.tokens, chat)
      assert.is_false(ok)
      assert.is_truthy(tostring(err):find("tokens.count: a number of tokens expected", 1, true))
    end
    opperchat.tokens.count = function() error("oops", 0) end
    local ok, err = pcall(chat.send, chat, "y")
    assert.is_false(ok)
    assert.are.equal("oops", err)
    assert.are.equal(1, #chat)
    chats.count_bytes()
    answer("ok")
    assert(chat:send("y"))
    assert.are.equal(3, #chat)
  end)

  it("decides what policies do", function()
    local count = function() return 1 end
    opperchat.tokens.count = count
    local chat = fill(chats.new { policy = opperchat.policy.fit { tokens = 100, target = 0.5 } },
      1, 9, 1000)
    -- 5 for each message
    assert.are.equal(19, chat:forecast("x").messages)
    fill(chat, 10, 10)
    assert.are.equal(9, chat:forecast("x").messages)
  end)
end)

describe("limits", function()
  it("stop a request before it is sent", function()
    chats.count_bytes()
    local chat = chats.new { max_tokens_total = 100 }
    answer("a1", use(40, 20))
    assert(chat:send(("x"):rep(20)))
    assert.are.equal(60, chat:usage().total_tokens)
    local bytes = chats.bytes(chat)
    for _, method in ipairs { "send", "run", "start" } do
      local reply, err = chat[method](chat, ("x"):rep(50))
      assert.is_nil(reply)
      assert.are.equal("limit", err.kind)
      assert.are.equal("max_tokens_total", err.code)
      assert.are.equal(bytes, chats.bytes(chat))
    end
    assert.are.equal(1, #chats.server:requests())
    assert.are.equal(0, opperchat.poll())
  end)

  it("stop by cost, with the price where it is known", function()
    chats.server:reply { body = json.encode { data = { { id = "m",
      pricing = { prompt = "0.001", completion = "0.002" } } } } }
    assert(chats.client:models())
    chats.count_bytes()
    local chat = chats.new { model = "m", max_cost = 1 }
    assert.are.equal(0.5, chat:forecast(("x"):rep(493)).cost)
    local reply, err = chat:send(("x"):rep(994))
    assert.is_nil(reply)
    assert.are.equal("max_cost", err.code)
    answer("a1", use(993, 5, { cost = 1 }))
    assert(chat:send(("x"):rep(986)))
    reply, err = chat:send("x")
    assert.is_nil(reply)
    assert.are.equal("max_cost", err.code)
    -- with no price known, what was spent counts
    local other = chats.new { max_cost = 1 }
    answer("a1", use(10, 5, { cost = 0.9 }))
    answer("a2", use(10, 5, { cost = 0.9 }))
    assert(other:send("x"))
    assert(other:send("x"))
    reply, err = other:send("x")
    assert.is_nil(reply)
    assert.are.equal("max_cost", err.code)
    assert.are.equal(4, #chats.server:requests())
  end)

  it("stop a run between its steps, and the list is as it was", function()
    local runs = 0
    local chat = chats.new { max_cost = 1, tools = { { name = "f", parameters = { n = "integer" },
      run = function() runs = runs + 1 return "r" end } } }
    local more = use(10, 5, { cost = 0.6 })
    more.finish_reason = "tool_calls"
    for i = 1, 5 do
      answer({ role = "assistant", content = json.null, tool_calls = { { id = "c" .. i,
        type = "function", ["function"] = { name = "f", arguments = "{\"n\":" .. i .. "}" } } } },
        more)
    end
    local reply, err = chat:run("go")
    assert.is_nil(reply)
    assert.are.equal("max_cost", err.code)
    assert.are.equal(2, runs)
    assert.are.equal(2, #chats.server:requests())
    assert.are.equal(0, #chat)
    assert.are.equal(1.2, chat:usage().cost)
  end)

  it("stop second tries", function()
    local chat = chats.new { max_cost = 1 }
    answer("no json", use(10, 5, { cost = 0.6 }))
    answer("no json", use(10, 5, { cost = 0.6 }))
    answer("{\"n\":1}", use(10, 5, { cost = 0.6 }))
    local reply, err = chat:send("x", { schema = { n = "integer" }, schema_retries = 5 })
    assert.is_nil(reply)
    assert.are.equal("max_cost", err.code)
    assert.are.equal(2, #chats.server:requests())
    assert.are.equal(0, #chat)
  end)
end)

describe("usage", function()
  it("adds up what requests took, and nobody's nonsense", function()
    local chat = chats.new()
    answer("a1", use(10, 5, { cost = 0.25 }))
    answer("a2", { usage = { prompt_tokens = -10, completion_tokens = -5, total_tokens = -15,
      cost = -1 } })
    answer("a3")
    for number = 1, 3 do
      assert(chat:send("u" .. number))
    end
    local usage = chat:usage()
    assert.are.equal(3, usage.requests)
    assert.are.equal(10, usage.prompt_tokens)
    assert.are.equal(15, usage.total_tokens)
    assert.are.equal(0.25, usage.cost)
    usage.cost = 100
    assert.are.equal(0.25, chat:usage().cost)
  end)
end)
