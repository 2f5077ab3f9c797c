local chats = require "spec.support.chats"
local completion = require "spec.support.completion"
local sse = require "spec.support.sse"
local with = require "spec.support.with"
local raises = require "spec.support.raises"
local core = require "opperchat.core"
local json = require "opperchat.json"
local opperchat = require "opperchat"

local policy, call = opperchat.policy, completion.call
local show, preview, fill = chats.show, chats.preview, chats.fill

chats.for_tests()

local PIXEL = { type = "image_url", image_url = { url = "data:image/png;base64,AAAA" } }

-- A turn with a tool call and its result.
local function append_tool_turn(chat, number, result, fields)
  local id = "call_" .. number
  chat:append("user", "u" .. number)
  chat:append { role = "assistant", tool_calls = { call(id) } }
  local more = with({ tool_call_id = id }, fields)
  chat:append("tool", result, more)
  chat:append("assistant", "a" .. number)
  return chat
end

describe("keep", function()
  it("keeps the last turns, the one to be sent among them", function()
    local chat = fill(chats.new { system = "s", policy = policy.keep { turns = 2 } }, 1, 4)
    assert.are.equal("s a:x", chats.words { { role = "system", content = "s" },
      { role = "assistant", content = "x" } })
    assert.are.equal("s u4 a4 u5", preview(chat, "u5"))
    assert.are.equal("s u1 a1 u2 a2 u3 a3 u4 a4", show(chat))
    chats.answer("a5")
    assert(chat:send("u5"))
    assert.are.equal("s u4 a4 u5 a5", show(chat))
    assert.are.same({ "s u4 a4 u5" }, chats.asked())
  end)

  it("keeps one turn", function()
    local chat = fill(chats.new { policy = policy.keep { turns = 1 } }, 1, 3)
    assert.are.equal("u4", preview(chat, "u4"))
    assert.are.equal("u3 a3", preview(chat))
  end)

  it("refuses a prompt that is not UTF-8, as without it", function()
    local chat = fill(chats.new { policy = policy.keep { turns = 1 } }, 1, 2)
    raises("send: prompt: not valid UTF-8 at byte 2", function() chat:send "a\255" end)
    raises("send: prompt: not valid UTF-8 at byte 2", function() chat:preview "a\255" end)
    assert.are.equal("u1 a1 u2 a2", show(chat))
    assert.are.same({}, chats.asked())
  end)

  it("does nothing while there are few", function()
    local chat = chats.new { system = "s", policy = policy.keep { turns = 3 } }
    assert.are.equal("s u1", preview(chat, "u1"))
    fill(chat, 1, 2)
    assert.are.equal("s u1 a1 u2 a2 u3", preview(chat, "u3"))
    chat:compact()
    assert.are.equal("s u1 a1 u2 a2", show(chat))
  end)

  it("drops all that are too many at once, with slack", function()
    local chat = chats.new { system = "s", policy = policy.keep { turns = 2, slack = 2 } }
    local seen = {}
    for number = 1, 8 do
      chats.answer("a" .. number)
      assert(chat:send("u" .. number))
      seen[number] = select(2, chats.asked()[number]:gsub("u%d", ""))
    end
    assert.are.same({ 1, 2, 3, 4, 2, 3, 4, 2 }, seen)
    assert.are.equal("s u7 a7 u8 a8", show(chat))
  end)

  it("forgets slack when it is told to act", function()
    local chat = fill(chats.new { policy = policy.keep { turns = 2, slack = 5 } }, 1, 4)
    assert.are.equal(4, assert(chat:compact()).dropped)
    assert.are.equal("u3 a3 u4 a4", show(chat))
  end)

  it("keeps a greeting until turns go", function()
    local chat = chats.new { system = "s", policy = policy.keep { turns = 2 } }
    chat:append("assistant", "Hello!")
    fill(chat, 1, 1)
    assert.are.equal("s a:Hello! u1 a1 u2", preview(chat, "u2"))
    fill(chat, 2, 2)
    assert.are.equal("s u2 a2 u3", preview(chat, "u3"))
    chat:pin(2)
    assert.are.equal("s a:Hello! u2 a2 u3", preview(chat, "u3"))
  end)

  it("keeps turns with a pinned message, which are not counted", function()
    local chat = fill(chats.new { policy = policy.keep { turns = 2 } }, 1, 5)
    chat:pin(4)
    assert.are.equal("u2 a2 u5 a5 u6", preview(chat, "u6"))
    chat:pin(4, false):pin(1)
    assert.are.equal("u1 a1 u5 a5 u6", preview(chat, "u6"))
    chat:pin(-1)
    assert.are.equal("u1 a1 u4 a4 u5 a5 u6", preview(chat, "u6"))
    assert.is_true(chat:messages(1)[1].pinned)
    assert.is_nil(chat:messages(2)[1].pinned)
    assert.is_nil(chat:preview("x"):find("pinned"))
  end)

  it("takes calls and their results together", function()
    local chat = chats.new { policy = policy.keep { turns = 1 } }
    append_tool_turn(chat, 1, "r1")
    append_tool_turn(chat, 2, "r2")
    assert.are.equal("u2 c:- t:r2 a2", preview(chat))
    assert.are.equal("u3", preview(chat, "u3"))
  end)

  it("leaves system messages in the middle to their turn", function()
    local chat = chats.new { system = "s", policy = policy.keep { turns = 1 } }
    fill(chat, 1, 1)
    chat:append("system", "s2")
    fill(chat, 2, 2)
    assert.are.equal("s u2 a2", preview(chat))
    chat:append("developer", "d")
    assert.are.equal("s u2 a2 d", preview(chat))
  end)

  it("checks its options", function()
    raises("policy.keep: option 'turns': integer >= 1 expected, got nil",
      function() policy.keep {} end)
    raises("policy.keep: option 'turns': integer >= 1 expected, got nil",
      function() policy.keep() end)
    raises("policy.fit: option 'target': number above 0, at most 1 expected, got 0",
      function() policy.fit { tokens = 100, target = 0 } end)
    raises("policy.keep: unknown option 'turn' (did you mean 'turns'?)",
      function() policy.keep { turn = 1 } end)
  end)
end)

describe("fit", function()
  before_each(chats.count_bytes)

  -- Each turn of `fill` costs 2 * (4 + 46) = 100, the request 3.
  local SIZE = 46

  it("trims when there is too much, and then down to its target", function()
    local chat = fill(chats.new { policy = policy.fit { tokens = 1000, target = 0.5 } }, 1, 9, SIZE)
    assert.are.equal(903, (chat:tokens()))
    local prompt = "u10" .. (" "):rep(1000 - 903 - 4 - 3)
    assert.are.equal(1000, chat:forecast(prompt).tokens)
    assert.are.equal(19, #json.decode(chat:preview(prompt)).messages)
    -- one token more
    local forecast = chat:forecast(prompt .. " ")
    assert.are.equal("u7 a7 u8 a8 u9 a9 u10", preview(chat, prompt .. " "))
    assert.are.equal(401, forecast.tokens)
    assert.are.equal(12, forecast.policies[1].dropped)
    assert.are.equal(1001, forecast.policies[1].tokens_before)
    assert.are.equal(401, forecast.policies[1].tokens_after)
  end)

  it("counts the head, tools and the shape of the answer", function()
    local tools = { { name = "look", description = ("x"):rep(300), parameters = {},
      run = print } }
    local chat = fill(chats.new { system = ("s"):rep(300), policy = policy.fit { tokens = 1000 } },
      1, 5, SIZE)
    assert.are.equal(11, #json.decode(chat:preview()).messages)
    assert.is_true(chat:fork { tools = tools }:tokens() > chat:tokens() + 300)
    assert.are.equal(1 + 2, #json.decode(chat:fork { tools = tools }:preview()).messages)
    local again = chat:forecast("x", { schema = { answer = "string" } })
    assert.is_true(again.tokens > chat:forecast("x").tokens + 10)
  end)

  it("keeps head, pins and the last turn, whatever they cost", function()
    local chat = chats.new { system = "s", policy = policy.fit { tokens = 500, target = 0.01 } }
    fill(chat, 1, 6, SIZE):pin(4)
    assert.are.equal("s u2 a2 u7", preview(chat, "u7"))
    assert.are.equal("s u2 a2 u6 a6", preview(chat))
  end)

  it("is an error when what has to stay is too much", function()
    local given, log = chats.record { policy = policy.fit { tokens = 300 } }
    local chat = fill(chats.new(given), 1, 4, SIZE):pin(2)
    local before, bytes = chat:preview("x"), chats.bytes(chat)
    local long = ("y"):rep(200)
    local forecast = chat:forecast(long)
    assert.are.equal("over_budget", forecast.err.code)
    for _, method in ipairs { "send", "start", "run" } do
      local reply, err = chat[method](chat, long)
      assert.is_nil(reply)
      assert.are.equal("limit", err.kind)
      assert.are.equal("over_budget", err.code)
      assert.is_false(err.retryable)
      assert.are.equal(bytes, chats.bytes(chat))
    end
    local ok, err = pcall(chat.stream, chat, long)
    assert.is_false(ok)
    assert.are.equal("over_budget", err.code)
    assert.are.equal(0, #chats.server:requests())
    assert.are.same({}, log.dropped)
    assert.are.same({}, log.reports)
    assert.are.equal(before, chat:preview("x"))
    -- with room, the same call can be made again
    chat:pin(2, false)
    chats.answer("done")
    assert(chat:send(long))
    assert.are.equal("u:" .. long .. " a:done", show(chat))
    assert.are.same({ "u1 a1 u2 a2 u3 a3 u4 a4" }, log.dropped)
    assert.are.equal(0, opperchat.poll())
  end)

  it("does not fail when it is told to act", function()
    local chat = fill(chats.new { policy = policy.fit { tokens = 60 } }, 1, 2, SIZE)
    local report = assert(chat:compact())
    assert.are.equal("u2 a2", show(chat))
    assert.are.equal(2, report.dropped)
  end)

  it("takes 85 % of the window when it is told of one", function()
    local chat = fill(chats.new { policy = policy.fit {}, context_window = 1000 }, 1, 8, SIZE)
    assert.are.equal(16, #json.decode(chat:preview()).messages)
    fill(chat, 9, 9, SIZE)
    assert.are.equal("u6 a6 u7 a7 u8 a8 u9 a9", preview(chat))
    assert.are.equal(1000, chat:forecast().window)
    -- the answer needs some of it
    local other = chat:fork { max_tokens = 500 }
    other:undo(3)
    assert.are.equal("u5 a5 u6 a6", preview(other))
    -- between what it aims at and the window it is sent all the same
    local one = chats.new { policy = policy.fit {}, context_window = 1000 }
    assert.is_nil(one:forecast(("x"):rep(993)).err)
    assert.are.equal("over_budget", one:forecast(("x"):rep(994)).err.code)
  end)

  it("does nothing without a budget", function()
    local chat = fill(chats.new { policy = policy.fit() }, 1, 50, 1000)
    assert.are.equal(100, #json.decode(chat:preview()).messages)
  end)

  it("has the server's list of models say the window", function()
    chats.server:reply { body = json.encode { object = "list",
      data = { { id = "small", context_length = 1000 } } } }
    assert(chats.client:models())
    local chat = fill(chats.new { model = "small", policy = policy.fit {} }, 1, 9, SIZE)
    assert.are.equal(1000, chat:forecast().window)
    assert.are.equal("u6 a6 u7 a7 u8 a8 u9 a9", preview(chat))
    assert.is_nil(chat:fork { model = "other" }:forecast().window)
    -- another one for this request alone
    assert.is_nil(chat:forecast("x", { model = "other" }).window)
  end)

  it("asks for that list once, and does not wait for it", function()
    -- an answer to both requests, whichever comes first
    chats.server:default { body = completion.body("a", {
      object = "list", data = { { id = "m1", context_length = 1000 } },
    }) }
    local chat = fill(chats.new { model = "m1", policy = policy.fit {} }, 1, 9, SIZE)
    assert(chat:send("u10"))
    assert.are.equal(20, #chat)
    chats.settle()
    assert.are.equal(1000, chat:forecast().window)
    assert(chat:send("u11"))
    assert.is_true(#chat <= 12)
    local paths = {}
    for _, request in ipairs(chats.server:requests()) do
      paths[#paths + 1] = request.path:match("[^/]+$")
    end
    table.sort(paths)
    assert.are.same({ "completions", "completions", "models" }, paths)
  end)
end)

describe("a request that is too long", function()
  local TOO_LONG = "This model's maximum context length is 500 tokens. However, your messages "
    .. "resulted in %d tokens."

  before_each(chats.count_bytes)

  local function too_long(tokens)
    chats.fail(400, TOO_LONG:format(tokens), "context_length_exceeded")
  end

  local function new_chat(given)
    return fill(chats.new(given), 1, 9, 46)
  end

  it("is trimmed and sent once more", function()
    local given, log = chats.record { policy = policy.fit {} }
    local chat = new_chat(given)
    too_long(908)
    chats.answer("a10")
    local reply = assert(chat:send("u10"))
    assert.are.equal("a10", reply.content)
    assert.are.equal(2, reply.attempts)
    local asked = chats.asked()
    assert.are.equal(2, #asked)
    assert.are.equal("u1 a1 u2 a2 u3 a3 u4 a4 u5 a5 u6 a6 u7 a7 u8 a8 u9 a9 u10", asked[1])
    assert.are.equal("u8 a8 u9 a9 u10", asked[2])
    assert.are.equal("u8 a8 u9 a9 u10 a10", show(chat))
    assert.are.same({ "u1 a1 u2 a2 u3 a3 u4 a4 u5 a5 u6 a6 u7 a7" }, log.dropped)
    assert.are.equal(1, #log.reports)
    -- from now on it is known
    assert.are.equal(500, chat:forecast().window)
    assert.are.equal(500, chats.new():forecast("x").window)
    assert.are.equal(1, chat:usage().requests)
  end)

  it("by every way of sending", function()
    for _, way in ipairs { "start", "stream", "run", "go" } do
      chats.begin()
      local given, log = chats.record { policy = policy.keep { turns = 100 } }
      local chat = new_chat(given)
      too_long(908)
      if way == "start" or way == "stream" then
        chats.server:stream({
          'data: {"choices":[{"index":0,"delta":{"content":"a1"}}]}\n\n',
          'data: {"choices":[{"index":0,"delta":{"content":"0"},"finish_reason":"stop"}]}\n\n',
          "data: [DONE]\n\n",
        })
      else
        chats.answer("a10")
      end
      local text, done = "", 0
      if way == "start" then
        local request = assert(chat:start("u10", {
          on_delta = function(delta) text = text .. delta end,
          on_done = function() done = done + 1 end,
        }))
        assert(request:wait())
        assert.are.equal(1, done)
        assert.are.equal("done", request:state())
      elseif way == "stream" then
        for delta in chat:stream("u10") do
          text = text .. delta
        end
      elseif way == "run" then
        text = assert(chat:run("u10")).content
      else
        opperchat.go(function()
          text = assert(chat:send("u10")).content
        end):wait()
      end
      assert.are.equal("a10", text, way)
      assert.are.equal(2, #chats.asked(), way)
      assert.are.equal("a10", chat:last().content)
      assert.is_true(#chat < 10, way)
      assert.are.equal(1, #log.dropped, way)
      chats.settle()
    end
  end)

  it("is an error when it is too long once more", function()
    local given, log = chats.record { policy = policy.fit {} }
    local chat = new_chat(given)
    local bytes = chats.bytes(chat)
    too_long(908)
    too_long(800)
    local reply, err = chat:send("u10")
    assert.is_nil(reply)
    assert.are.equal("context_length_exceeded", err.code)
    assert.are.equal(400, err.status)
    assert.are.equal(2, err.attempts)
    assert.are.equal(2, #chats.asked())
    assert.are.equal(bytes, chats.bytes(chat))
    assert.are.same({}, log.dropped)
    assert.are.same({}, log.reports)
    -- and the same call works with what is known now
    chats.answer("a10")
    assert(chat:send("u10"))
    assert.are.equal(1, #log.dropped)
  end)

  it("is an error when nothing can go", function()
    local chat = chats.new { policy = policy.fit {} }
    too_long(908)
    local reply, err = chat:send(("x"):rep(900))
    assert.is_nil(reply)
    assert.are.equal("context_length_exceeded", err.code)
    assert.are.equal(1, #chats.asked())
    assert.are.equal(0, #chat)
  end)

  it("is an error when there is no policy", function()
    local chat = new_chat()
    too_long(908)
    local reply, err = chat:send("u10")
    assert.is_nil(reply)
    assert.are.equal("context_length_exceeded", err.code)
    assert.are.equal(1, #chats.asked())
    assert.are.equal(18, #chat)
    -- what it said is known all the same
    assert.are.equal(500, chat:forecast().window)
  end)

  it("is not trimmed again for other errors", function()
    local chat = new_chat { policy = policy.fit {} }
    chats.fail(429, "Rate limit reached: limit is 500 tokens per min", "rate_limit_exceeded")
    local reply, err = chat:send("u10")
    assert.is_nil(reply)
    assert.are.equal(429, err.status)
    assert.are.equal(1, #chats.asked())
    assert.is_nil(chat:forecast().window)
  end)

  it("may be cancelled in between", function()
    local chat = new_chat { policy = policy.fit {} }
    too_long(908)
    chats.hold("a10")
    local ended
    local request = assert(chat:start("u10", {
      on_done = function(_, err) ended = err end,
    }))
    chats.wait_held(1)
    request:cancel()
    assert.are.equal("cancelled", ended.kind)
    assert.are.equal(18, #chat)
    chats.settle()
    chats.answer("again")
    assert(chat:send("u10"))
    assert.are.equal("again", chat:last().content)
  end)

  it("keeps to a window that no number was given for", function()
    local chat = new_chat { policy = policy.fit {} }
    chats.fail(400, "prompt is too long", "context_length_exceeded")
    chats.answer("a10")
    assert(chat:send("u10"))
    assert.is_true(chat:forecast().window < 908)
    assert.is_true(#chat < 20)
  end)
end)

describe("shrink", function()
  local LONG = ("0123456789"):rep(100)

  it("previews old results", function()
    local chat = chats.new { policy = policy.shrink {} }
    append_tool_turn(chat, 1, LONG, { name = "f", extra = { deep = { 1, "x" } } })
    append_tool_turn(chat, 2, LONG)
    append_tool_turn(chat, 3, LONG)
    local body = json.decode(chat:preview("u4"))
    assert.are.equal(13, #body.messages)
    local old = body.messages[3]
    assert.are.same({ role = "tool", tool_call_id = "call_1", name = "f",
      extra = { deep = { 1, "x" } },
      content = LONG:sub(1, 200) .. "\n[800 of 1000 bytes left out]" }, old)
    assert.are.equal(LONG:sub(1, 200) .. "\n[800 of 1000 bytes left out]",
      body.messages[7].content)
    -- the last two turns, the new one among them
    assert.are.equal(LONG, body.messages[11].content)
    assert.are.equal(LONG, chat:messages(3)[1].content)
    for _, i in ipairs { 1, 2, 4, 5, 6, 8, 9, 10, 12 } do
      assert.are.same(chat:messages(i)[1], body.messages[i])
    end
    chats.answer("a4")
    assert(chat:send("u4"))
    assert.are.equal(old.content, chat:messages(3)[1].content)
  end)

  it("does not cut a character", function()
    local chat = chats.new { policy = policy.shrink { max = 20, preview = 10, turns = 1 } }
    append_tool_turn(chat, 1, ("\226\130\172"):rep(100))
    chat:append("user", "u2")
    local text = json.decode(chat:preview()).messages[3].content
    assert.are.equal(("\226\130\172"):rep(3) .. "\n[291 of 300 bytes left out]", text)
    chat = chats.new { policy = policy.shrink { max = 20, preview = 0, turns = 1 } }
    append_tool_turn(chat, 1, ("\226\130\172"):rep(100))
    chat:append("user", "u2")
    text = json.decode(chat:preview()).messages[3].content
    assert.are.equal("\n[300 of 300 bytes left out]", text)
  end)

  it("puts words in the place of old media", function()
    local chat = chats.new { policy = policy.shrink { turns = 1 } }
    local audio = { type = "input_audio", input_audio = { data = "AAAA", format = "wav" } }
    local file = { type = "file", file = { file_data = "data:application/pdf;base64,AAAA",
      filename = "a.pdf" } }
    chat:append("user", { "Look", PIXEL, audio, file }, { name = "Ann" })
    chat:append("assistant", "a1")
    chat:append("user", { "And here", PIXEL })
    local messages = json.decode(chat:preview()).messages
    assert.are.same({ role = "user", name = "Ann", content = {
      { type = "text", text = "Look" }, { type = "text", text = "[an image was here]" },
      { type = "text", text = "[audio was here]" }, { type = "text", text = "[a file was here]" },
    } }, messages[1])
    assert.are.same({ { type = "text", text = "And here" }, PIXEL }, messages[3].content)
    -- unless they shall stay
    local other = chat:fork { policy = policy.shrink { turns = 1, media = false } }
    assert.are.equal(chat:fork { policy = policy.keep { turns = 9 } }:preview(), other:preview())
  end)

  it("shortens results that are lists of parts", function()
    local chat = chats.new { policy = policy.shrink { turns = 1 } }
    append_tool_turn(chat, 1, { LONG, PIXEL })
    append_tool_turn(chat, 2, { "short", PIXEL })
    chat:append("user", "u3")
    local messages = json.decode(chat:preview()).messages
    assert.are.equal("string", type(messages[3].content))
    assert.is_true(messages[3].content:find(LONG:sub(1, 200), 1, true) == 1)
    assert.are.same({ { type = "text", text = "short" },
      { type = "text", text = "[an image was here]" } }, messages[7].content)
  end)

  it("leaves an image in a result alone when media shall stay", function()
    local chat = chats.new { policy = policy.shrink { turns = 1, media = false } }
    append_tool_turn(chat, 1, { LONG, PIXEL })
    chat:append("user", "u2")
    local content = json.decode(chat:preview()).messages[3].content
    assert.are.same({ { type = "text", text = LONG }, PIXEL }, content)
  end)

  it("leaves pinned messages alone", function()
    local chat = chats.new { policy = policy.shrink {} }
    append_tool_turn(chat, 1, LONG, { pinned = true })
    append_tool_turn(chat, 2, LONG)
    fill(chat, 3, 4)
    local messages = json.decode(chat:preview()).messages
    assert.are.equal(LONG, messages[3].content)
    assert.is_true(#messages[7].content < 300)
  end)

  it("never touches texts, calls or the head", function()
    local chat = chats.new { policy = policy.shrink {}, system = LONG }
    chat:append("user", LONG):append("assistant", LONG)
    fill(chat, 2, 5)
    assert.are.equal(LONG, json.decode(chat:preview()).messages[2].content)
    local report = assert(chat:compact())
    assert.are.equal(0, report.dropped)
  end)

  it("waits until the request has reached its share", function()
    chats.count_bytes()
    local chat = chats.new { policy = policy.shrink { tokens = 10000, at = 0.5 } }
    append_tool_turn(chat, 1, LONG)
    fill(chat, 2, 3)
    local size = chat:tokens()
    assert.are.equal(0, #chat:forecast(("x"):rep(5000 - size - 5)).policies)
    assert.are.equal(1, #chat:forecast(("x"):rep(5000 - size - 4)).policies)
    -- the window does as well, less what the answer may need of it
    local other = chat:fork { policy = policy.shrink { at = 0.5 }, context_window = 10001,
      max_tokens = 1 }
    assert.are.equal(0, #other:forecast(("x"):rep(5000 - size - 5)).policies)
    assert.are.equal(1, #other:forecast(("x"):rep(5000 - size - 4)).policies)
  end)

  it("acts when a tenth can be saved, and not for less", function()
    chats.count_bytes()
    local chat = chats.new { policy = policy.shrink { turns = 1 } }
    append_tool_turn(chat, 1, LONG)
    chat:append("user", "u2")
    local saved = 1000 - #("x"):rep(200) - #"\n[800 of 1000 bytes left out]"
    local rest = chat:tokens() - 3
    assert.are.equal(1, #chat:forecast(("x"):rep(saved * 10 - rest - 4)).policies)
    assert.are.equal(0, #chat:forecast(("x"):rep(saved * 10 - rest - 4 + 10)).policies)
    -- unless it is told to
    local other = chat:fork()
    other:append("assistant", ("x"):rep(saved * 20)):append("user", "u3")
    assert.are.equal(0, #other:forecast("x").policies)
    assert.are.equal(1, assert(other:compact()).dropped)
  end)

  it("does not shorten what it has shortened", function()
    for _, given in ipairs { {}, { max = 1 }, { max = 1, preview = 0 }, { max = 150 },
        { max = 229, preview = 200 }, { max = 240 }, { preview = 1000 },
        { max = 30, preview = 9 } } do
      given.turns = 1
      local chat = chats.new { policy = policy.shrink(given) }
      for number = 1, 30 do
        append_tool_turn(chat, number, ("x"):rep(number * number + 190))
        append_tool_turn(chat, 100 + number, ("\195\164"):rep(5 * number))
        append_tool_turn(chat, 200 + number, { "x", PIXEL, ("y"):rep(20 * number) })
      end
      chat:append("user", "u")
      assert(chat:compact())
      local bytes = chats.bytes(chat)
      for _ = 1, 3 do
        local report = assert(chat:compact())
        assert.are.equal(0, report.dropped)
        assert.are.equal(bytes, chats.bytes(chat))
      end
    end
  end)

  it("tells what was replaced", function()
    local given, log = chats.record { policy = policy.shrink { turns = 1 } }
    local chat = chats.new(given)
    append_tool_turn(chat, 1, LONG)
    chats.answer("a2")
    assert(chat:send("u2"))
    assert.are.same({ "t:" .. LONG }, log.dropped)
    local report = log.reports[1]
    assert.are.equal("shrink", report.policy)
    assert.are.equal(1, report.dropped)
    assert.are.equal(1, report.added)
    assert.is_true(report.tokens_after < report.tokens_before)
  end)
end)

describe("a function as a policy", function()
  local function chat_with(fn)
    local chat = chats.new { system = "s", policy = fn }
    return fill(chat, 1, 3)
  end

  it("may return nothing, or the same", function()
    for _, fn in ipairs { function() end, function(messages) return messages end } do
      local chat = chat_with(fn)
      local bytes = chats.bytes(chat)
      assert.are.equal("s u1 a1 u2 a2 u3 a3 u4", preview(chat, "u4"))
      assert.are.same({}, chat:forecast("u4").policies)
      assert.are.equal(0, assert(chat:compact()).dropped)
      assert.are.equal(bytes, chats.bytes(chat))
    end
  end)

  it("is told of the size", function()
    local seen
    local chat = chats.new { context_window = 5000, model = "m", policy = function(messages, info)
      seen = { messages = #messages, info = info }
    end }
    chat:append("user", "Hi"):preview("Ho")
    assert.are.equal(2, seen.messages)
    assert.are.equal(5000, seen.info.window)
    assert.are.equal("m", seen.info.model)
    assert.are.equal("estimated", seen.info.how)
    assert.is_false(seen.info.is_forced)
    assert.is_true(seen.info.tokens >= 2 * 4 + 3)
    chat:compact()
    assert.is_true(seen.info.is_forced)
  end)

  it("may leave messages out, and the others keep every byte", function()
    local chat = chat_with(function(messages)
      table.remove(messages, 2)
      table.remove(messages, 2)
      return messages
    end)
    chat:append("user", "x", { odd = { 1e3, opperchat.array {} } })
    local text = core.message_json(chat, -1)
    assert.are.equal("s u2 a2 u3 a3 u:x", preview(chat))
    assert.is_true(chat:preview():find(text, 1, true) ~= nil)
  end)

  it("may write new ones", function()
    local chat = chat_with(function(messages)
      return { messages[1], { role = "assistant", content = "In short: ...", pinned = true },
        messages[#messages] }
    end)
    chats.answer("a4")
    assert(chat:send("u4"))
    assert.are.equal("s a:In short: ... u4 a4", show(chat))
    assert.is_true(chat:messages(2)[1].pinned)
    chats.answer("a5")
    assert(chat:send("u5"))
    assert.are.equal("s a:In short: ... u5 a5", show(chat))
  end)

  it("may change messages in place", function()
    local chat = chat_with(function(messages)
      for _, message in ipairs(messages) do
        if message.content == "a2" then
          message.content = "short"
        end
      end
      return messages
    end)
    chat:pin(3)
    local first = core.message_json(chat, 2)
    assert(chat:compact())
    assert.are.equal("s u1 a1 u2 a:short u3 a3", show(chat))
    assert.are.equal(first, core.message_json(chat, 2))
    assert.is_true(chat:messages(3)[1].pinned)
  end)

  it("changes nothing by changing what it does not return", function()
    local chat = chat_with(function(messages)
      messages[1].content = "changed"
      messages[2] = nil
    end)
    assert.are.equal("s u1 a1 u2 a2 u3 a3 u4", preview(chat, "u4"))
  end)

  it("may take the pin off, or put it on", function()
    local chat = chat_with(function(messages)
      messages[2].pinned, messages[4].pinned = nil, true
      return messages
    end)
    chat:pin(2)
    assert(chat:compact())
    assert.is_nil(chat:messages(2)[1].pinned)
    assert.is_true(chat:messages(4)[1].pinned)
    assert.are.equal("s u1 a1 u2 a2 u3 a3", show(chat))
  end)

  it("may change the order, as long as the list can be sent", function()
    local chat = chat_with(function(messages)
      return { messages[1], messages[4], messages[5], messages[2], messages[3], messages[6],
        messages[7], messages[8] }
    end)
    assert.are.equal("s u2 a2 u1 a1 u3 a3 u4", preview(chat, "u4"))
    local tools = chats.new { policy = function(messages)
      return { messages[1], messages[3], messages[2], messages[4] }
    end }
    append_tool_turn(tools, 1, "r")
    local bytes = chats.bytes(tools)
    raises("policy: messages[2]: no open tool call with the id 'call_1'",
      function() tools:preview() end)
    raises("policy: messages[2]: no open tool call with the id 'call_1'",
      function() tools:send() end)
    raises("policy: messages[2]: no open tool call with the id 'call_1'",
      function() tools:compact() end)
    assert.are.equal(bytes, chats.bytes(tools))
    assert.are.equal(0, #chats.server:requests())
    -- nothing is left of it
    tools:append("user", "u2")
    assert.are.equal("u1 c:- t:r a1 u2", show(tools))
  end)

  it("is told which message is none", function()
    local result
    local chat = chat_with(function() return result end)
    local bytes = chats.bytes(chat)
    result = { { role = "user", content = "x" }, { role = "usr", content = "x" } }
    raises("policy: messages[2]: unknown role 'usr' (did you mean 'user'?)",
      function() chat:send("x") end)
    result = { { role = "user" } }
    raises("policy: messages[1]: content expected, got nil", function() chat:send("x") end)
    result = { "x" }
    raises("policy: messages[1]: table expected, got string", function() chat:send("x") end)
    result = "x"
    raises("policy: list of messages expected, got string", function() chat:send("x") end)
    result = { { role = "user", content = "a\255" } }
    raises("policy: messages[1]: content: not valid UTF-8 at byte 2",
      function() chat:send("x") end)
    assert.are.equal(bytes, chats.bytes(chat))
    result = nil
    chats.answer("ok")
    assert(chat:send("x"))
  end)

  it("may say what is wrong", function()
    local given, log = chats.record { policy = function() return nil, "no time" end }
    local chat = fill(chats.new(given), 1, 2)
    local report, err = chat:compact()
    assert.is_nil(report)
    assert.are.equal("tool", err.kind)
    assert.are.equal("policy_failed", err.code)
    assert.are.equal("no time", err.message)
    -- that is no reason not to send
    chats.answer("a3")
    assert(chat:send("u3"))
    assert.are.equal("u1 a1 u2 a2 u3 a3", show(chat))
    assert.are.equal(2, #log.errors)
    assert.are.equal("function", log.reports[2].policy)
    assert.are.equal(0, log.reports[2].dropped)
  end)

  it("may raise", function()
    local fails = true
    local chat = chat_with(function() if fails then error("oops", 0) end end)
    local bytes = chats.bytes(chat)
    for _, method in ipairs { "send", "start", "stream", "run", "preview", "forecast" } do
      local ok, err = pcall(chat[method], chat, "x")
      assert.is_false(ok)
      assert.are.equal("oops", err, method)
    end
    assert.is_false((pcall(chat.compact, chat)))
    assert.are.equal(bytes, chats.bytes(chat))
    fails = false
    chats.answer("ok")
    assert(chat:send("x"))
    chats.settle()
  end)

  it("may drop the prompt itself", function()
    local chat = chat_with(function(messages) return { messages[1], messages[2] } end)
    chats.answer("ok")
    assert(chat:send("x"))
    assert.are.equal("s u1 a:ok", show(chat))
  end)
end)

describe("pipeline", function()
  it("goes in order, each with what the one before has left", function()
    local seen = {}
    local function look(name)
      return function(messages)
        seen[#seen + 1] = name .. #messages
      end
    end
    local given, log = chats.record { policy = policy.pipeline {
      look "a", policy.keep { turns = 4 }, look "b", { policy.keep { turns = 2 }, look "c" },
    } }
    local chat = fill(chats.new(given), 1, 6)
    chats.answer("a7")
    assert(chat:send("u7"))
    assert.are.same({ "a13", "b7", "c3" }, seen)
    assert.are.equal("u6 a6 u7 a7", show(chat))
    assert.are.same({ "u1 a1 u2 a2 u3 a3", "u4 a4 u5 a5" }, log.dropped)
    assert.are.same({ 6, 4 }, { log.reports[1].dropped, log.reports[2].dropped })
  end)

  it("may be written as a list", function()
    local chat = fill(chats.new { policy = { policy.keep { turns = 2 },
      function(messages) messages[1].content = "x" return messages end } }, 1, 5)
    assert.are.equal("u:x a5 u6", preview(chat, "u6"))
  end)

  it("goes on when one fails, which changes nothing", function()
    local given, log = chats.record { policy = {
      function(messages)
        messages[1].content = "x"
        return nil, "no"
      end,
      policy.keep { turns = 2 },
    } }
    local chat = fill(chats.new(given), 1, 4)
    chats.answer("a5")
    assert(chat:send("u5"))
    assert.are.equal("u4 a4 u5 a5", show(chat))
    assert.are.equal(2, #log.reports)
    assert.are.equal(1, #log.errors)
  end)

  it("checks what it is made of", function()
    raises("policy.pipeline[2]: policy, function or list of them expected, got number",
      function() policy.pipeline { policy.keep { turns = 1 }, 5 } end)
    raises("policy.pipeline: policy, function or list of them expected, got an empty table",
      function() policy.pipeline {} end)
    raises("policy.pipeline: list of policies expected, got string",
      function() policy.pipeline "x" end)
    raises("policy.pipeline: policy, function or list of them expected, got another table",
      function() policy.pipeline { turns = 3 } end)
    raises("conversation: option 'policy'[1][1]: policy, function or list of them expected, "
      .. "got boolean", function() chats.new { policy = { { true } } } end)
  end)
end)

describe("what a policy dropped", function()
  it("is told once, when the turn is in the list", function()
    local given, log = chats.record { policy = policy.keep { turns = 2 } }
    local chat
    local at
    given.on_drop = function(messages, report)
      at = #chat
      log.dropped[#log.dropped + 1] = chats.words(messages)
      log.drop_report = report
    end
    chat = fill(chats.new(given), 1, 3)
    chat:preview("u4")
    chat:forecast("u4")
    for _, code in ipairs { 400, 403 } do
      chats.fail(code, "no")
      assert.is_nil((chat:send("u4")))
    end
    local request = assert(chat:start("u4"))
    request:cancel()
    assert.are.same({}, log.dropped)
    assert.are.equal("u1 a1 u2 a2 u3 a3", show(chat))
    chats.answer("a4")
    assert(chat:send("u4"))
    assert.are.same({ "u1 a1 u2 a2" }, log.dropped)
    assert.are.equal(4, at)
    assert.are.equal("keep", log.drop_report.policy)
    assert.are.equal(4, log.drop_report.dropped)
    assert.are.equal(0, log.drop_report.added)
    assert.is_nil(log.drop_report.in_background)
    chats.settle()
    assert.are.equal(1, #log.reports)
  end)

  it("is told of kept parts as well", function()
    local given, log = chats.record { policy = policy.keep { turns = 1 }, keep_partial = true }
    local chat = fill(chats.new(given), 1, 2)
    chats.server:script(sse.broken_off("half"))
    local reply, err = chat:start("u3"):wait()
    assert.is_nil(reply)
    assert.are.equal("half", err.partial.content)
    assert.are.equal("u3 a:half", show(chat))
    assert.are.same({ "u1 a1 u2 a2" }, log.dropped)
    -- and nothing of it without that option
    chat = fill(chats.new { policy = policy.keep { turns = 1 } }, 1, 2)
    chats.server:script(sse.broken_off("half"))
    assert.is_nil((chat:start("u3"):wait()))
    assert.are.equal("u1 a1 u2 a2", show(chat))
  end)

  it("hurts nobody when its handlers raise", function()
    for _, way in ipairs { "send", "start", "run", "compact" } do
      local calls, done = 0, 0
      local chat = fill(chats.new { policy = policy.keep { turns = 1 },
        on_drop = function() calls = calls + 1 error("drop", 0) end,
        on_compact = function() calls = calls + 1 error("compact", 0) end }, 1, 2)
      chats.answer("a3")
      local given = { on_done = function(reply) done = done + (reply and 1 or 0) end }
      local ok, err
      if way == "compact" then
        ok, err = pcall(chat.compact, chat)
        assert.are.equal("u2 a2", show(chat))
      else
        if way == "start" then
          local request = chat:start("u3", given)
          ok, err = pcall(request.wait, request)
          assert.are.equal("done", request:state())
        else
          ok, err = pcall(chat[way], chat, "u3", given)
        end
        assert.are.equal("u3 a3", show(chat), way)
        assert.are.equal(1, done, way)
      end
      assert.is_false(ok)
      assert.are.equal("drop", err:match("^%w+"), way)
      assert.are.equal(2, calls, way)
      -- nothing is held
      chat:undo():append("user", "x")
      chats.server:reset()
      chats.settle()
    end
  end)
end)

describe("a policy", function()
  it("works with a run and its tools", function()
    local given, log = chats.record { policy = policy.keep { turns = 2 }, tools = {
      { name = "f", parameters = {}, run = function() return "r" end },
    } }
    local chat = fill(chats.new(given), 1, 3)
    chats.answer({ role = "assistant", content = json.null, tool_calls = { call("c1") } },
      { finish_reason = "tool_calls" })
    chats.answer("a4")
    assert(chat:run("u4"))
    assert.are.equal("u3 a3 u4 c:- t:r a4", show(chat))
    assert.are.same({ "u3 a3 u4", "u3 a3 u4 c:- t:r" }, chats.asked())
    assert.are.same({ "u1 a1 u2 a2" }, log.dropped)
    -- a run that fails changes nothing and tells nothing
    chats.answer({ role = "assistant", content = json.null, tool_calls = { call("c2") } },
      { finish_reason = "tool_calls" })
    chats.fail(400, "no")
    assert.is_nil((chat:run("u5")))
    assert.are.equal("u3 a3 u4 c:- t:r a4", show(chat))
    assert.are.equal(1, #log.dropped)
  end)

  it("works with second tries of structured answers", function()
    local given, log = chats.record { policy = policy.keep { turns = 2 } }
    local chat = fill(chats.new(given), 1, 3)
    chats.answer("no json")
    chats.answer("{\"n\":\"x\"}")
    chats.answer("{\"n\":3}")
    local reply = assert(chat:send("u4", { schema = { n = "integer" }, schema_retries = 2 }))
    assert.are.same({ n = 3 }, reply.parsed)
    assert.are.equal("u3 a3 u4 a:{\"n\":3}", show(chat))
    assert.are.same({ "u1 a1 u2 a2" }, log.dropped)
    local asked = chats.asked()
    assert.are.equal("u3 a3 u4", asked[1])
    assert.are.equal("u3 a3 u4 a:no json u:", asked[2]:match("^.-u4 a:no json u:"))
    assert.are.equal(3, #asked)
    -- when all fail, nothing has changed
    local bytes = chats.bytes(chat)
    chats.answer("no json")
    chats.answer("no json")
    assert.is_nil((chat:send("u5", { schema = { n = "integer" }, schema_retries = 1 })))
    assert.are.equal(bytes, chats.bytes(chat))
    assert.are.equal(1, #log.dropped)
  end)

  it("works with retry", function()
    local given, log = chats.record { policy = policy.keep { turns = 2 } }
    local chat = fill(chats.new(given), 1, 4)
    chats.fail(400, "no")
    assert.is_nil((chat:retry()))
    assert.are.equal("u1 a1 u2 a2 u3 a3 u4 a4", show(chat))
    chats.answer("other")
    assert(chat:retry())
    assert.are.equal("u3 a3 u4 a:other", show(chat))
    assert.are.same({ "u1 a1 u2 a2" }, log.dropped)
  end)

  it("comes along with a fork", function()
    local chat = fill(chats.new { policy = policy.keep { turns = 2 } }, 1, 4):pin(1)
    local fork, message = chat:fork_at(3)
    assert.are.equal("u1 a1 u2 a2", show(fork))
    assert.are.same({ role = "user", content = "u3" }, message)
    assert.are.equal("u1 a1 u2 a2 u:x", preview(fork, "x"))
    assert.are.equal("u1 a1 u4 a4 u:x", preview(chat, "x"))
    fork = chat:fork_at(-1, { policy = policy.keep { turns = 1 } })
    assert.are.equal("u1 a1 u:x", preview(fork, "x"))
    assert.is_true(fork:messages(1)[1].pinned)
    raises("fork_at: there is no turn 5 of 4", function() chat:fork_at(5) end)
    raises("fork_at: there is no turn 0 of 4", function() chat:fork_at(0) end)
    raises("fork_at: there is no turn -5 of 4", function() chat:fork_at(-5) end)
  end)

  it("is not applied by forecast and preview", function()
    local given, log = chats.record { policy = policy.keep { turns = 1 }, context_window = 1000 }
    local chat = fill(chats.new(given), 1, 3)
    local bytes, tokens = chats.bytes(chat), chat:tokens()
    for _ = 1, 3 do
      local forecast = chat:forecast("u4")
      assert.are.equal(1, forecast.messages)
      assert.are.equal("estimated", forecast.how)
      assert.are.same({}, forecast.would_ask)
      assert.is_nil(forecast.err)
      assert.are.equal(chat:preview("u4"), forecast.body)
      assert.are.equal(6, forecast.policies[1].dropped)
    end
    assert.are.equal(bytes, chats.bytes(chat))
    assert.are.equal(tokens, (chat:tokens()))
    assert.are.same({}, log.reports)
    assert.are.equal(0, #chats.server:requests())
    assert.are.equal(0, opperchat.poll())
  end)

  it("may be a program's own table", function()
    local chat = fill(chats.new { policy = { name = "mine", apply = function(_, draft)
      local turns = draft:turns()
      draft:drop(turns, { true })
      return true
    end } }, 1, 2)
    assert.are.equal("mine", assert(chat:compact()).policies[1].policy)
    assert.are.equal("u2 a2", show(chat))
  end)

  it("is needed for compact", function()
    local chat = fill(chats.new(), 1, 2)
    raises("compact: the conversation has no policy", function() chat:compact() end)
  end)
end)
