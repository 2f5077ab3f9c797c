local Server = require "spec.support.server"
local raises = require "spec.support.raises"
local completion = require "spec.support.completion"
local json = require "opperchat.json"
local opperchat = require "opperchat"

local unpack = table.unpack or unpack -- luacheck: ignore

local server = Server.for_tests()
local client

-- A conversation with the test server.
local function new_chat(given)
  given = given or {}
  given.client = given.client or client
  return opperchat.conversation(given)
end

-- The same, and the list has to stay as it was.
local function refuses(chat, expected, fn)
  local before = chat:preview()
  raises(expected, fn)
  assert.are.equal(before, chat:preview())
end

-- The messages as one line: a letter for each role, and its text.
local LETTERS = { system = "s", developer = "d", user = "u", assistant = "a", tool = "t" }

local function show(chat)
  local words = {}
  for i, message in ipairs(chat:messages()) do
    words[i] = LETTERS[message.role] .. ":" .. tostring(message.content)
  end
  return table.concat(words, " ")
end

local call = completion.call

-- A conversation with what a list of words says: "u:Hi" is a message, "a:" with
-- a list of ids in brackets one with tool calls, "t[id]:text" a result.
local function chat_of(words, given)
  local chat = new_chat(given)
  for word in words:gmatch("%S+") do
    local letter, ids, text = word:match("^(%l)%[?([^%]:]*)%]?:(.*)$")
    if letter == "t" then
      chat:append("tool", text, { tool_call_id = ids })
    elseif ids ~= "" then
      local calls = {}
      for id in ids:gmatch("[^,]+") do
        calls[#calls + 1] = call(id)
      end
      chat:append { role = "assistant", tool_calls = calls }
    else
      for role, short in pairs(LETTERS) do
        if short == letter then
          chat:append(role, text)
        end
      end
    end
  end
  return chat
end

-- Queues a whole response.
local function answer(message, more)
  local body = completion.body(message, more)
  local headers = body.headers
  body.headers = nil
  server:reply { body = json.encode(body), headers = headers }
end

setup(function()
  client = opperchat.client { base_url = server.url, api_key = "op-secret", max_retries = 0 }
end)

teardown(function()
  client:close()
end)

describe("append", function()
  it("takes role and content", function()
    local chat = new_chat()
    assert.are.equal(chat, chat:append("system", "Be brief."))
    chat:append("developer", ""):append("user", "Hi \"you\"\n100% \\"):append("assistant", "é 🙂")
    assert.are.same({
      { role = "system", content = "Be brief." },
      { role = "developer", content = "" },
      { role = "user", content = "Hi \"you\"\n100% \\" },
      { role = "assistant", content = "é 🙂" },
    }, chat:messages())
    assert.are.equal(4, #chat)
  end)

  it("takes fields", function()
    local chat = new_chat():append("user", "100% of\n%s %d", { name = "Ann %s", x = { 1, true } })
    assert.are.same({ { role = "user", content = "100% of\n%s %d", name = "Ann %s",
      x = { 1, true } } }, chat:messages())
    -- role and content are said already
    chat = new_chat():append("user", "Hi", { role = "system", content = "Bye" })
    assert.are.same({ { role = "user", content = "Hi" } }, chat:messages())
    assert.are.equal([[{"messages":[{"role":"user","content":"Hi"}]}]], chat:preview())
    chat = new_chat():append("user", "Hi", {})
    assert.are.equal([[{"messages":[{"role":"user","content":"Hi"}]}]], chat:preview())
  end)

  it("takes a message", function()
    local message = { role = "user", content = "50%", name = "Ann" }
    local chat = new_chat():append(message)
    assert.are.same({ role = "user", content = "50%", name = "Ann" }, message)
    message.content = "changed"
    assert.are.same({ { role = "user", content = "50%", name = "Ann" } }, chat:messages())
    -- what messages() gives can be appended
    local copy = new_chat()
    for _, each in ipairs(chat_of("s:x u:y a[p,q]: t[q]:1 t[p]:2 a:z"):messages()) do
      copy:append(each)
    end
    assert.are.equal("s:x u:y a:nil t:1 t:2 a:z", show(copy))
  end)

  it("takes parts", function()
    local picture = { type = "image_url", image_url = { url = "data:image/png;base64,AA==" } }
    local chat = new_chat()
    chat:append("user", { "What is 100% of this?", picture })
    chat:append("user", { type = "text", text = "%" })
    chat:append { role = "user", content = { picture } }
    chat:append("user", { picture }, { name = "Ann" })
    assert.are.same({
      { role = "user", content = { { type = "text", text = "What is 100% of this?" }, picture } },
      { role = "user", content = { { type = "text", text = "%" } } },
      { role = "user", content = { picture } },
      { role = "user", content = { picture }, name = "Ann" },
    }, chat:messages())
  end)

  it("keeps every byte of a text", function()
    local bytes = {}
    for i = 0, 127 do
      bytes[#bytes + 1] = string.char(i)
    end
    local text = table.concat(bytes) .. "\226\128\168\239\191\191\244\143\191\191"
    local chat = new_chat():append("user", text):append("user", text, { name = text })
    chat:append("user", { text })
    assert.are.equal(text, chat:messages(1)[1].content)
    assert.are.same({ role = "user", content = text, name = text }, chat:messages(2)[1])
    assert.are.equal(text, chat:last().content[1].text)
  end)

  it("refuses what is no message", function()
    local chat = chat_of("u:Hi")
    local parts = "content: string, part or list of them expected, got "
    refuses(chat, "append: role: string expected, got nil", function() chat:append() end)
    refuses(chat, "append: role: string expected, got number", function() chat:append(1, "x") end)
    refuses(chat, "append: role: string expected, got table", function() chat:append({}, "x") end)
    refuses(chat, "append: a message needs a role", function() chat:append {} end)
    refuses(chat, "append: a message needs a role", function() chat:append { content = "x" } end)
    refuses(chat, "append: a message needs a role", function() chat:append { "user", "x" } end)
    refuses(chat, "append: role: string expected, got boolean",
      function() chat:append { role = true, content = "x" } end)
    refuses(chat, "append: content expected, got nil", function() chat:append("user") end)
    refuses(chat, "append: content expected, got nil", function() chat:append { role = "user" } end)
    refuses(chat, "append: content expected, got nil", function() chat:append("assistant") end)
    refuses(chat, "append: " .. parts .. "number", function() chat:append("user", 42) end)
    refuses(chat, "append: " .. parts .. "boolean", function() chat:append("user", false) end)
    refuses(chat, "append: " .. parts .. "function", function() chat:append("user", print) end)
    refuses(chat, "append: " .. parts .. "userdata", function() chat:append("user", io.stdout) end)
    refuses(chat, "append: " .. parts .. "an empty table", function() chat:append("user", {}) end)
    refuses(chat, "append: content[2]: string or part expected, got number",
      function() chat:append("user", { "a", 2 }) end)
    refuses(chat, "append: a message needs content",
      function() chat:append("user", opperchat.null) end)
    refuses(chat, "append: fields: table expected, got string",
      function() chat:append("user", "x", "Ann") end)
    refuses(chat, "append: fields have names, got 1",
      function() chat:append("user", "x", { "Ann" }) end)
    refuses(chat, "append: f: a function cannot be written as JSON",
      function() chat:append("user", "x", { f = print }) end)
  end)

  it("names the nearest role", function()
    local chat = chat_of("u:Hi")
    local list = " (assistant, developer, system, tool, user)"
    refuses(chat, "append: unknown role 'usr' (did you mean 'user'?)",
      function() chat:append("usr", "x") end)
    refuses(chat, "append: unknown role 'User' (did you mean 'user'?)",
      function() chat:append("User", "x") end)
    refuses(chat, "append: unknown role 'asistant' (did you mean 'assistant'?)",
      function() chat:append { role = "asistant", content = "x" } end)
    refuses(chat, "append: unknown role 'bot'" .. list, function() chat:append("bot", "x") end)
    refuses(chat, "append: unknown role ''" .. list, function() chat:append("", "x") end)
    refuses(chat, "append: unknown role 'a?b'" .. list, function() chat:append("a\nb", "x") end)
    refuses(chat, "append: unknown role 'bot'" .. list, function() chat:append("bot", { "x" }) end)
  end)

  it("names the byte that is not UTF-8", function()
    local chat = chat_of("u:Hi")
    refuses(chat, "append: content: not valid UTF-8 at byte 1",
      function() chat:append("user", "\255") end)
    refuses(chat, "append: content: not valid UTF-8 at byte 6",
      function() chat:append("user", "caf\195\169\195") end)
    refuses(chat, "append: content: not valid UTF-8 at byte 6",
      function() chat:append { role = "user", content = "caf\195\169\195" } end)
    refuses(chat, "append: content[2].text: not valid UTF-8 at byte 2",
      function() chat:append("user", { "a", "b\200" }) end)
    refuses(chat, "append: name: not valid UTF-8 at byte 3",
      function() chat:append("user", "x", { name = "ab\240" }) end)
    refuses(chat, "send: prompt: not valid UTF-8 at byte 2",
      function() chat:send("a\255") end)
    refuses(chat, "send: prompt[1].text: not valid UTF-8 at byte 2",
      function() chat:send({ "a\255" }) end)
    assert.are.equal(0, #server:requests())
  end)

  it("says it when the colon is missing", function()
    local chat = chat_of("u:Hi")
    local hint = "conversation expected, got string (call methods with a colon)"
    refuses(chat, hint, function() chat.append("user", "x") end)
    refuses(chat, hint, function() chat.append("user") end)
    refuses(chat, hint, function() chat.append("user", "x", "y") end)
    refuses(chat, hint, function() chat.send("x") end)
    refuses(chat, hint, function() chat.close("x") end)
    refuses(chat, "conversation expected, got nil (call methods with a colon)",
      function() chat.messages() end)
    refuses(chat, "conversation expected, got userdata",
      function() chat.append(client, "user", "x") end)
    refuses(chat, "conversation expected, got table (call methods with a colon)",
      function() chat.append({ role = "user" }) end)
  end)

  it("names the line of the caller through our own functions", function()
    raises("conversation: unknown option 'modle' (did you mean 'model'?)",
      function() return (opperchat.conversation { modle = "m" }) end)
    raises("conversation: option 'system': string or table expected, got number",
      function() return (opperchat.conversation { system = 5 }) end)
    raises("append: content: string, part or list of them expected, got an empty table",
      function() return (opperchat.conversation { system = {} }) end)
    raises("messages[2]: unknown role 'usr' (did you mean 'user'?)",
      function() new_chat { messages = { { role = "user", content = "" }, { role = "usr" } } } end)
  end)
end)

describe("a new conversation", function()
  it("begins with its system message and messages", function()
    local chat = new_chat { system = "Be brief.", messages = {
      { role = "user", content = "Hi" }, { role = "assistant", content = "Hello" } } }
    assert.are.equal("s:Be brief. u:Hi a:Hello", show(chat))
    assert.are.equal("s:", show(new_chat { system = "" }))
    assert.are.same({ { type = "text", text = "x" } },
      new_chat { system = { "x" } }:last().content)
    assert.are.equal("", show(new_chat { messages = {} }))
  end)

  it("does not change or keep its table of options", function()
    local given = { client = client, model = "m", system = "s", messages = {}, stop = { "x" } }
    local chat = opperchat.conversation(given)
    assert.are.equal("s", given.system)
    assert.is_table(given.messages)
    given.model = "other"
    assert.truthy(chat:preview():find('"model":"m"', 1, true))
  end)

  it("refuses messages that cannot be sent", function()
    local orphan = { role = "tool", content = "1", tool_call_id = "a" }
    raises("messages[1]: no open tool call with the id 'a'",
      function() new_chat { messages = { orphan } } end)
    raises("messages[2]: content expected, got nil",
      function() new_chat { messages = { { role = "user", content = "" }, { role = "user" } } } end)
    raises("conversation: option 'messages': list of tables expected, got table",
      function() new_chat { messages = { "Hi" } } end)
    raises("conversation: option 'client': client expected, got conversation",
      function() opperchat.conversation { client = new_chat() } end)
  end)
end)

describe("reading", function()
  it("gives messages by index", function()
    local chat = chat_of("s:1 u:2 a:3 u:4 a:5")
    local function texts(...)
      local list = {}
      for i, message in ipairs(chat:messages(...)) do
        list[i] = message.content
      end
      return table.concat(list)
    end
    for _, case in ipairs {
      { "12345" }, { "2345", 2 }, { "5", 5 }, { "", 6 }, { "23", 2, 3 }, { "3", 3, 3 },
      { "", 3, 2 }, { "5", -1 }, { "45", -2 }, { "34", -3, -2 }, { "12345", -5 },
      { "12345", -9 }, { "12345", 0 }, { "1", -9, -5 }, { "", -9, -6 }, { "", 1, 0 },
      { "45", 4, 99 }, { "1234", nil, -2 }, { "", 7, 9 }, { "12", 1.0, 2.0 },
    } do
      assert.are.equal(case[1], texts(unpack(case, 2, 3)))
    end
    raises("messages: i: integer expected, got 1.5", function() chat:messages(1.5) end)
    raises("messages: i: integer expected, got string", function() chat:messages("1") end)
    raises("messages: j: integer expected, got table", function() chat:messages(1, {}) end)
    raises("messages: i: integer expected, got inf", function() chat:messages(math.huge) end)
  end)

  it("gives copies", function()
    local chat = chat_of("u:1 a:2")
    chat:messages()[1].content = "changed"
    chat:last().content = "changed"
    assert.are.equal("u:1 a:2", show(chat))
  end)

  it("gives the last message", function()
    assert.is_nil(new_chat():last())
    assert.are.same({ role = "assistant", content = "2" }, chat_of("u:1 a:2"):last())
  end)

  it("gives null as nil", function()
    local chat = chat_of("u:1 a[x]:")
    assert.is_nil(chat:last().content)
    assert.are.equal("x", chat:last().tool_calls[1].id)
    assert.truthy(chat:fork():append("tool", "1", { tool_call_id = "x" }):preview()
      :find('"content":null', 1, true))
  end)

  it("counts", function()
    local chat = new_chat()
    assert.are.equal(0, #chat)
    for i = 1, 500 do
      chat:append(i % 2 == 1 and "user" or "assistant", tostring(i))
      assert.are.equal(i, #chat)
    end
    assert.are.equal("500", chat:last().content)
  end)

  it("tells what an object is", function()
    local chat = new_chat()
    assert.are.same({ "conversation", true }, { opperchat.type(chat) })
    chat:close()
    assert.are.same({ "conversation", false }, { opperchat.type(chat) })
    assert.are.same({ "client", true }, { opperchat.type(client) })
    local other = opperchat.client{ base_url = "http://127.0.0.1:9" }
    other:close()
    assert.are.same({ "client", false }, { opperchat.type(other) })
    for _, value in ipairs { {}, "x", 1, io.stdout, print } do
      assert.is_nil(opperchat.type(value))
    end
    assert.is_nil(opperchat.type(nil))
  end)
end)

describe("editing", function()
  it("undoes turns", function()
    local list = "s:0 u:1 a:2 u:3 a[x]: t[x]:4 a:5 u:6"
    for _, case in ipairs {
      { list, nil, "s:0 u:1 a:2 u:3 a:nil t:4 a:5" },
      { list, 0, "s:0 u:1 a:2 u:3 a:nil t:4 a:5 u:6" },
      { list, 1, "s:0 u:1 a:2 u:3 a:nil t:4 a:5" },
      { list, 2, "s:0 u:1 a:2" },
      { list, 3, "s:0" },
      { list, 4, "s:0" },
      { list, 1e300, "s:0" },
      { "s:0 a:hello u:1 a:2", 5, "s:0 a:hello" },
      { "s:0", 1, "s:0" },
      { "a:x", 1, "a:x" },
      { "u:1", 1, "" },
      { "u:1 a[x]:", 1, "" },
      { "u:1 u:2 d:3", 1, "u:1" },
      { "", 1, "" },
    } do
      local chat = chat_of(case[1])
      chat:undo(case[2])
      assert.are.equal(case[3], show(chat))
      chat:append("user", "new")
      assert.are.equal((case[3] .. " u:new"):gsub("^ ", ""), show(chat))
    end
  end)

  it("refuses to undo what is no number of turns", function()
    local chat = chat_of("u:1 a:2")
    refuses(chat, "undo: number of turns expected, got -1", function() chat:undo(-1) end)
    refuses(chat, "undo: number of turns expected, got 1.5", function() chat:undo(1.5) end)
    refuses(chat, "undo: number of turns expected, got string", function() chat:undo("1") end)
    refuses(chat, "undo: number of turns expected, got inf", function() chat:undo(math.huge) end)
  end)

  it("clears all but the head", function()
    for _, case in ipairs {
      { "s:0 d:1 u:2 a:3 s:4", "s:0 d:1" }, { "u:1 s:2", "" }, { "s:0", "s:0" }, { "", "" },
      { "u:1 a[x]:", "" },
    } do
      local chat = chat_of(case[1])
      assert.are.equal(chat, chat:clear())
      assert.are.equal(case[2], show(chat))
    end
  end)

  it("splices", function()
    local function message(text)
      return { role = "user", content = text }
    end
    for _, case in ipairs {
      { 1, 0, { "x" }, "u:x u:1 a:2 u:3" },
      { 4, 3, { "x", "y" }, "u:1 a:2 u:3 u:x u:y" },
      { 4, nil, { "x" }, "u:1 a:2 u:3 u:x" },
      { 2, 2, { "x" }, "u:1 u:x u:3" },
      { 2, 3, {}, "u:1" },
      { 2, 3, nil, "u:1" },
      { 1, 3, { "x" }, "u:x" },
      { 1, -1, {}, "" },
      { -1, -1, { "x", "y" }, "u:1 a:2 u:x u:y" },
      { -2, 2, { "x" }, "u:1 u:x u:3" },
      { -1, -2, { "x" }, "u:1 a:2 u:x u:3" },
      { 2, 1, {}, "u:1 a:2 u:3" },
      { nil, nil, { "x" }, "u:x u:1 a:2 u:3" },
    } do
      local chat = chat_of("u:1 a:2 u:3")
      local list = case[3]
      for i, text in ipairs(list or {}) do
        list[i] = message(text)
      end
      assert.are.equal(chat, chat:splice(case[1], case[2], list))
      assert.are.equal(case[4], show(chat))
    end
  end)

  it("refuses to splice out of range", function()
    local chat = chat_of("u:1 a:2 u:3")
    refuses(chat, "splice: messages 0 to 1 of 3 do not exist", function() chat:splice(0, 1, {}) end)
    refuses(chat, "splice: messages 5 to 4 of 3 do not exist", function() chat:splice(5, 4, {}) end)
    refuses(chat, "splice: messages 1 to 4 of 3 do not exist", function() chat:splice(1, 4, {}) end)
    refuses(chat, "splice: messages 3 to 1 of 3 do not exist", function() chat:splice(3, 1, {}) end)
    refuses(chat, "splice: messages -1 to 3 of 3 do not exist", function() chat:splice(-5, 3) end)
    refuses(chat, "splice: messages 1e+300 to 1e+300 of 3 do not exist",
      function() chat:splice(1e300, 1e300, {}) end)
    refuses(chat, "splice: i: integer expected, got 1.5", function() chat:splice(1.5, 2, {}) end)
    refuses(chat, "splice: j: integer expected, got string", function() chat:splice(1, "2", {}) end)
  end)

  it("refuses to splice what is no list of messages", function()
    local chat = chat_of("u:1 a:2 u:3")
    local user = { role = "user", content = "x" }
    refuses(chat, "splice: list of messages expected, got string",
      function() chat:splice(1, 1, "x") end)
    refuses(chat, "splice: list of messages expected, got a table with the key content",
      function() chat:splice(1, 1, { content = "x" }) end)
    refuses(chat, "splice: list of messages expected, got a table with the key 3",
      function() chat:splice(1, 1, { user, nil, user }) end)
    refuses(chat, "messages[2]: table expected, got string",
      function() chat:splice(1, 1, { user, "x" }) end)
    refuses(chat, "messages[1]: unknown role 'usr' (did you mean 'user'?)",
      function() chat:splice(1, 1, { { role = "usr", content = "x" } }) end)
    refuses(chat, "messages[2]: a tool message needs a tool_call_id",
      function() chat:splice(1, 1, { user, { role = "tool", content = "x" } }) end)
  end)

  it("refuses to part a call from its result", function()
    local chat = chat_of("u:1 a[x]: t[x]:2 a:3")
    local user = { role = "user", content = "x" }
    refuses(chat, "message 3 of the result: the tool call 'x' has no result yet",
      function() chat:splice(3, 3) end)
    refuses(chat, "message 2 of the result: no open tool call with the id 'x'",
      function() chat:splice(2, 2) end)
    refuses(chat, "messages[1]: the tool call 'x' has no result yet",
      function() chat:splice(3, 2, { user }) end)
    refuses(chat, "messages[1]: no open tool call with the id 'y'",
      function() chat:splice(3, 3, { { role = "tool", content = "x", tool_call_id = "y" } }) end)
    local orphan = { role = "tool", content = "x", tool_call_id = "q" }
    refuses(chat, "messages[2]: no open tool call with the id 'q'",
      function() chat:splice(2, 3, { user, orphan }) end)
    chat:splice(3, 3, { { role = "tool", content = "new", tool_call_id = "x" } })
    assert.are.equal("u:1 a:nil t:new a:3", show(chat))
    chat:splice(2, 3)
    assert.are.equal("u:1 a:3", show(chat))
  end)
end)

describe("fork", function()
  it("is independent both ways", function()
    local chat = chat_of("s:0 u:1 a:2")
    local fork = chat:fork()
    assert.are.equal("s:0 u:1 a:2", show(fork))
    chat:append("user", "mine")
    assert.are.equal("s:0 u:1 a:2", show(fork))
    fork:append("user", "its"):append("assistant", "own")
    assert.are.equal("s:0 u:1 a:2 u:mine", show(chat))
    assert.are.equal("s:0 u:1 a:2 u:its a:own", show(fork))
    chat:clear()
    assert.are.equal("s:0 u:1 a:2 u:its a:own", show(fork))
    fork:splice(1, 1, { { role = "developer", content = "d" } })
    assert.are.equal("s:0", show(chat))
    chat:close()
    assert.are.equal("d:d u:1 a:2 u:its a:own", show(fork))
  end)

  it("may be undone and go on", function()
    local chat = chat_of("u:1 a:2 u:3 a:4")
    local fork = chat:fork()
    fork:undo():append("user", "x")
    assert.are.equal("u:1 a:2 u:x", show(fork))
    assert.are.equal("u:1 a:2 u:3 a:4", show(chat))
    chat:undo(2):append("user", "y")
    assert.are.equal("u:1 a:2 u:x", show(fork))
    assert.are.equal("u:y", show(chat))
  end)

  it("has options of its own", function()
    local chat = chat_of("u:1", { model = "m", temperature = 0.5 })
    local fork = chat:fork { model = "other", seed = 7 }
    assert.are.equal('{"model":"other","seed":7,"temperature":0.5,'
      .. '"messages":[{"role":"user","content":"1"}]}', fork:preview())
    assert.are.equal('{"model":"m","temperature":0.5,'
      .. '"messages":[{"role":"user","content":"1"}]}', chat:preview())
    assert.are.equal('{"model":"other","seed":7,'
      .. '"messages":[{"role":"user","content":"1"}]}',
      fork:fork { temperature = opperchat.null }:preview())
    raises("fork: unknown option 'modle' (did you mean 'model'?)",
      function() chat:fork { modle = "m" } end)
    raises("fork: a fork begins with the messages of its origin; append to it or splice it",
      function() chat:fork { system = "x" } end)
    raises("fork: a fork begins with the messages of its origin; append to it or splice it",
      function() chat:fork { messages = {} } end)
    raises("conversation: option 'client': client expected, got conversation",
      function() chat:fork { client = chat } end)
  end)

  it("may be forked, and that again", function()
    local chats, expected = { chat_of("s:0") }, { "s:0" }
    for i = 2, 200 do
      local from = chats[i - 1]
      chats[i] = from:fork():append("user", "f" .. i)
      expected[i] = expected[i - 1] .. " u:f" .. i
      if i % 3 == 0 then
        from:append("user", "late")
        expected[i - 1] = expected[i - 1] .. " u:late"
      end
    end
    for i = 1, 200, 7 do
      assert.are.equal(expected[i], show(chats[i]))
    end
    for i = 1, 150 do
      chats[i] = nil
    end
    collectgarbage()
    collectgarbage()
    for i = 151, 200, 7 do
      chats[i]:append("assistant", "x")
      assert.are.equal(expected[i] .. " a:x", show(chats[i]))
    end
  end)

  it("counts its own usage", function()
    answer("x", { usage = { prompt_tokens = 5, completion_tokens = 1, total_tokens = 6 } })
    local chat = new_chat()
    assert(chat:send("Hi"))
    assert.are.equal(6, chat:usage().total_tokens)
    assert.are.equal(0, chat:fork():usage().total_tokens)
  end)
end)

describe("tool calls", function()
  it("need exactly one result each", function()
    local chat = chat_of("u:1 a[x,y]:")
    raises("append: no open tool call with the id 'z'",
      function() chat:append("tool", "1", { tool_call_id = "z" }) end)
    raises("append: the tool call 'x' has no result yet", function() chat:append("user", "x") end)
    raises("append: the tool call 'x' has no result yet",
      function() chat:append { role = "assistant", content = "x" } end)
    chat:append("tool", "2", { tool_call_id = "y" })     -- in any order
    raises("append: no open tool call with the id 'y'",
      function() chat:append { role = "tool", content = "3", tool_call_id = "y" } end)
    raises("append: the tool call 'x' has no result yet", function() chat:append("user", "x") end)
    chat:append { role = "tool", content = { { type = "text", text = "1" } }, tool_call_id = "x" }
    raises("append: no open tool call with the id 'x'",
      function() chat:append("tool", "1", { tool_call_id = "x" }) end)
    chat:append("user", "on we go")
    raises("append: no open tool call with the id 'x'",
      function() chat:append("tool", "1", { tool_call_id = "x" }) end)
    assert.are.equal(5, #chat)
  end)

  it("need ids", function()
    local chat = chat_of("u:1")
    refuses(chat, "append: a tool message needs a tool_call_id",
      function() chat:append("tool", "x") end)
    refuses(chat, "append: a tool message needs a tool_call_id",
      function() chat:append("tool", "x", { tool_call_id = "" }) end)
    refuses(chat, "append: a tool message needs a tool_call_id",
      function() chat:append("tool", "x", { tool_call_id = 5 }) end)
    local each = "append: each tool call needs an id of its own"
    refuses(chat, each, function() chat:append("assistant", "", { tool_calls = { {} } }) end)
    refuses(chat, each,
      function() chat:append("assistant", "", { tool_calls = { call("a"), call("a") } }) end)
    refuses(chat, each, function() chat:append("assistant", "", { tool_calls = "a" }) end)
    chat:append("assistant", "x", { tool_calls = {} }):append("user", "2")
    assert.are.equal("u:1 a:x u:2", show(chat))
  end)

  it("may have any text as an id", function()
    for _, id in ipairs { "a\"b", "a\\b", "\\u0061", "é\n🙂", "a/b", ("x"):rep(120), "%s" } do
      local chat = new_chat():append("user", "1")
      chat:append("assistant", nil, { tool_calls = { call(id) } })
      raises("append: the tool call '" .. id .. "' has no result yet",
        function() chat:append("user", "x") end)
      raises("send: the tool call '" .. id .. "' has no result yet: append it with "
        .. "append(\"tool\", result, {tool_call_id = ...})", function() chat:send("x") end)
      raises("append: no open tool call with the id '" .. id .. "y'",
        function() chat:append("tool", "1", { tool_call_id = id .. "y" }) end)
      chat:append("tool", "1", { tool_call_id = id }):append("user", "2")
      assert.are.equal(id, chat:messages(3)[1].tool_call_id)
    end
  end)

  it("are not sent without their results", function()
    local chat = chat_of("u:1 a[x,y]: t[x]:1")
    local text = "send: the tool call 'y' has no result yet: append it with "
      .. "append(\"tool\", result, {tool_call_id = ...})"
    raises(text, function() chat:send() end)
    raises(text, function() chat:send("Hi") end)
    raises(text, function() chat:send({ "Hi" }) end)
    raises(text, function() chat:preview() end)
    raises(text, function() chat:start("Hi") end)
    assert.are.equal(3, #chat)
    assert.are.equal(0, #server:requests())
    assert(chat:append("tool", "2", { tool_call_id = "y" }):send())
    assert.are.equal(5, #chat)
  end)

  it("come with their arguments decoded", function()
    answer({ role = "assistant", content = json.null, tool_calls = {
      call("a", "f", [[{"city":"Oslo","n":[1,2.5,{}],"none":null}]]),
      call("b", "g", "{\"x\":"),
      call("c", "h", ""),
      call("d", "h", " \n"),
      call("e", "h", "[]"),
      call("f", "h", "5"),
    } }, { finish_reason = "tool_calls" })
    local chat = new_chat()
    local reply = assert(chat:send("Hi"))
    assert.are.equal("tool_calls", reply.finish_reason)
    assert.is_nil(reply.content)
    local calls = reply.tool_calls
    assert.are.equal(6, #calls)
    assert.are.same({ id = "a", name = "f", arguments = { city = "Oslo", n = { 1, 2.5, {} } },
      arguments_json = [[{"city":"Oslo","n":[1,2.5,{}],"none":null}]] }, calls[1])
    assert.are.same({ id = "b", name = "g", arguments_json = "{\"x\":" }, calls[2])
    assert.are.same({ id = "c", name = "h", arguments = {}, arguments_json = "" }, calls[3])
    assert.are.same({ id = "d", name = "h", arguments = {}, arguments_json = " \n" }, calls[4])
    assert.are.same({}, calls[5].arguments)
    assert.are.equal(5, calls[6].arguments)
    -- whatever a model wrote goes back as it was
    for _, each in ipairs(calls) do
      chat:append("tool", "1", { tool_call_id = each.id })
    end
    assert(chat:send())
    local sent = server:last_request().json.messages
    assert.are.equal(8, #sent)
    assert.are.equal("{\"x\":", sent[2].tool_calls[2]["function"].arguments)
    assert.are.equal("", sent[2].tool_calls[3]["function"].arguments)
  end)

  it("go back with what we do not know", function()
    local message = [[{"role":"assistant","content":"t","annotations":[ 1.50 ],"tool_calls":[]]
      .. [[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"},]]
      .. [["thought_signature":"S\/=="}]}]]
    server:reply { body = [[{"choices":[{"finish_reason":"tool_calls","message":]] .. message
      .. "}]}" }
    local chat = new_chat()
    assert(chat:send("Hi"))
    assert(chat:append("tool", "1", { tool_call_id = "a" }):send())
    local body = server:last_request().body
    assert.truthy(body:find([["thought_signature":"S\/=="]], 1, true))
    assert.truthy(body:find('"annotations":[ 1.50 ]}', 1, true))
  end)

  it("without an id get one", function()
    answer { role = "assistant", content = json.null, tool_calls = {
      { ["function"] = { name = "f", arguments = "{}" } },
      { id = "", ["function"] = { name = "g", arguments = "{}" } } } }
    local chat = new_chat()
    local calls = assert(chat:send("Hi")).tool_calls
    assert.truthy(calls[1].id:find("^call_%x+$"))
    assert.truthy(calls[2].id:find("^call_%x+$"))
    assert.are_not.equal(calls[1].id, calls[2].id)
    chat:append("tool", "1", { tool_call_id = calls[2].id })
    chat:append("tool", "1", { tool_call_id = calls[1].id })
    assert(chat:send("And now?"))
    assert.are.equal(calls[1].id, chat:messages(2)[1].tool_calls[1].id)
  end)
end)

describe("send", function()
  it("sends the whole list every time, in its order", function()
    local chat = new_chat { model = "m", system = "s" }
    for i = 1, 5 do
      answer("answer " .. i)
      local reply = assert(chat:send("question " .. i))
      assert.are.equal("answer " .. i, reply.content)
      assert.are.equal(2 * i + 1, #chat)
    end
    local requests = server:requests()
    assert.are.equal(5, #requests)
    for i, request in ipairs(requests) do
      assert.are.equal("POST", request.method)
      assert.are.equal("/v1/chat/completions", request.path)
      local messages = request.json.messages
      assert.are.equal(2 * i, #messages)
      assert.are.same({ role = "system", content = "s" }, messages[1])
      for k = 1, i do
        assert.are.same({ role = "user", content = "question " .. k }, messages[2 * k])
        if k < i then
          assert.are.same({ role = "assistant", content = "answer " .. k }, messages[2 * k + 1])
        end
      end
    end
  end)

  it("sends the list as it is without a prompt", function()
    local chat = chat_of("u:Hi")
    answer("one")
    assert(chat:send())
    answer("two")
    assert(chat:send(nil, { temperature = 1 }))
    assert.are.equal("u:Hi a:one a:two", show(chat))
    raises("send: nothing to send: give a prompt or append a message",
      function() new_chat():send() end)
  end)

  it("sends parts", function()
    local chat = new_chat()
    assert(chat:send({ "50% of", { type = "image_url", image_url = { url = "u" } } }))
    assert(chat:send({ type = "text", text = "100%" }))
    assert.are.equal('{"messages":[{"role":"user","content":[{"text":"50% of","type":"text"},'
      .. '{"image_url":{"url":"u"},"type":"image_url"}]},{"role":"assistant","content":"ok"},'
      .. '{"role":"user","content":[{"text":"100%","type":"text"}]}]}', server:last_request().body)
    raises("send: prompt: string, part or list of them expected, got number",
      function() chat:send(5) end)
    raises("send: prompt: string, part or list of them expected, got an empty table",
      function() chat:send({}) end)
    raises("send: prompt: string, part or list of them expected, got boolean",
      function() chat:send(false) end)
  end)

  it("posts what preview shows, byte for byte", function()
    local chat = new_chat { model = "m", temperature = 0.1, stop = { "a", "b" }, system = "s\n\"%" }
    for _, case in ipairs {
      { "Hi" }, { "é\0\127" }, { { "parts" } }, { "x", { temperature = 1, extra = { y = {} } } },
      { "x", { max_tokens = 5, stop = opperchat.null } }, { nil }, { "x", { stream = true } },
      { "x", {} },
    } do
      local shown = chat:preview(case[1], case[2])
      assert(chat:send(case[1], case[2]))
      assert.are.equal(shown, server:last_request().body)
      assert.are.equal(#shown, tonumber(server:last_request().headers["content-length"]))
    end
    assert.are.equal('{"messages":[]}', new_chat():preview())
  end)

  it("sends a long list whole", function()
    local chat = new_chat()
    for i = 1, 3000 do
      chat:append(i % 2 == 1 and "user" or "assistant", ("message %d "):format(i):rep(20))
    end
    local shown = chat:preview("the last")
    assert(chat:send("the last"))
    assert.are.equal(shown, server:last_request().body)
    assert.are.equal(3002, #chat)
  end)

  it("sends the options of the conversation and of the call", function()
    local chat = new_chat { model = "m", temperature = 0.5, seed = 7, extra = { a = 1 } }
    assert(chat:send("1"))
    assert(chat:send("2", { temperature = 1, seed = opperchat.null, top_p = 0.25,
      extra = { b = { 2 } } }))
    assert(chat:send("3"))
    local requests = server:requests()
    local function options_of(i)
      local options = requests[i].json
      options.messages = nil
      return options
    end
    assert.are.same({ model = "m", temperature = 0.5, seed = 7, a = 1 }, options_of(1))
    assert.are.same({ model = "m", temperature = 1, top_p = 0.25, a = 1, b = { 2 } },
      options_of(2))
    assert.are.same({ model = "m", temperature = 0.5, seed = 7, a = 1 }, options_of(3))
    raises("send: unknown option 'temprature' (did you mean 'temperature'?)",
      function() chat:send("x", { temprature = 1 }) end)
    raises("send: option 'seed': integer expected, got 1.5",
      function() chat:send("x", { seed = 1.5 }) end)
    raises("send: table of options expected, got string", function() chat:send("x", "y") end)
    raises("preview: unknown option 'temprature' (did you mean 'temperature'?)",
      function() chat:preview("x", { temprature = 1 }) end)
    assert.are.equal(6, #chat)
  end)

  it("leaves the list as it was when it fails", function()
    local chat = chat_of("s:0 u:1 a:2")
    for _, bad in ipairs {
      { status = 400, body = [[{"error":{"message":"no","code":"bad"}}]] },
      { status = 200, body = "no JSON" },
      { status = 200, body = "" },
      { status = 200, body = "{}" },
    } do
      server:reply(bad)
      local reply, err = chat:send("Hi")
      assert.is_nil(reply)
      assert.is_string(err.kind)
      assert.are.equal("s:0 u:1 a:2", show(chat))
    end
    assert(chat:send("Hi"))
    assert.are.equal("s:0 u:1 a:2 u:Hi a:ok", show(chat))
  end)

  it("passes every finish reason", function()
    local chat = new_chat()
    for _, reason in ipairs { "stop", "length", "tool_calls", "content_filter", "banana" } do
      answer("x", { finish_reason = reason })
      assert.are.equal(reason, assert(chat:send("Hi")).finish_reason)
    end
    answer("x", { finish_reason = json.null })
    assert.is_nil(assert(chat:send("Hi")).finish_reason)
  end)

  it("uses one connection for two conversations", function()
    local own = opperchat.client { base_url = server.url }
    local a, b = new_chat { client = own }, new_chat { client = own }
    for i = 1, 3 do
      assert(a:send("a" .. i))
      assert(b:send("b" .. i))
    end
    local requests = server:requests()
    assert.are.equal(6, #requests)
    for _, request in ipairs(requests) do
      assert.are.equal(requests[1].connection, request.connection)
    end
    assert.are.equal("u:a1 a:ok u:a2 a:ok u:a3 a:ok", show(a))
    own:close()
  end)
end)

describe("a reply", function()
  it("has its fields", function()
    server:reply {
      body = [[{"id":"c-1","object":"chat.completion","created":5,"model":"openai/gpt-5-mini",
        "system_fingerprint":null,"service_tier":"x","choices":[{"index":0,"logprobs":null,
        "finish_reason":"stop","message":{"role":"assistant","content":"2","refusal":null,
        "reasoning_content":"hm","annotations":[],"tool_calls":null}}],
        "usage":{"prompt_tokens":13,"completion_tokens":4,"total_tokens":17,
        "prompt_tokens_details":{"cached_tokens":3,"audio_tokens":null},
        "completion_tokens_details":{"reasoning_tokens":2},"cost":0.25,"more":{"x":1}}}]],
      headers = { ["X-Opper-Trace-Id"] = "t-9", ["x-opper-served-model"] = "gpt-5-mini-2025",
        ["X-Opper-Served-Provider"] = "azure" },
    }
    local reply = assert(new_chat():send("Hi"))
    assert.are.equal("2", reply.content)
    assert.are.equal("stop", reply.finish_reason)
    assert.are.equal("hm", reply.reasoning)
    assert.are.equal("c-1", reply.id)
    assert.are.equal("openai/gpt-5-mini", reply.model)
    assert.are.equal("t-9", reply.trace_id)
    assert.are.equal("gpt-5-mini-2025", reply.served_model)
    assert.are.equal("azure", reply.served_provider)
    assert.are.equal(1, reply.attempts)
    assert.are.same({ prompt_tokens = 13, completion_tokens = 4, total_tokens = 17,
      cached_tokens = 3, reasoning_tokens = 2, cost = 0.25 }, reply.usage)
    assert.is_true(reply.timing.total >= 0)
    for _, absent in ipairs { "refusal", "tool_calls", "parsed" } do
      assert.is_nil(reply[absent])
    end
    local raw = reply.raw()
    assert.are.equal("2", raw.choices[1].message.content)
    assert.are.equal("hm", raw.choices[1].message.reasoning_content)
    assert.are.equal("stop", raw.choices[1].finish_reason)
    assert.are.equal(1, raw.usage.more.x)
    assert.are.equal("c-1", raw.id)
  end)

  it("has nil for what is absent", function()
    server:reply { body = [[{"choices":[{"message":{"content":null},"finish_reason":null}]}]] }
    local reply = assert(new_chat():send("Hi"))
    for _, absent in ipairs { "content", "finish_reason", "reasoning", "refusal", "tool_calls",
      "usage", "model", "id", "trace_id", "served_model", "served_provider" } do
      assert.is_nil(reply[absent])
    end
    assert.are.equal("", reply.raw().choices[1].message.content)
  end)

  it("has whole numbers as integers", function()
    answer("x", { usage = { prompt_tokens = 3, completion_tokens = 1, total_tokens = 4 } })
    local usage = assert(new_chat():send("Hi")).usage
    assert.are.equal("3 1 4", ("%s %s %s"):format(usage.prompt_tokens, usage.completion_tokens,
      usage.total_tokens))
  end)

  it("adds up what the server did not", function()
    answer("x", { usage = { prompt_tokens = 3, completion_tokens = 1 } })
    assert.are.equal(4, assert(new_chat():send("Hi")).usage.total_tokens)
  end)
end)

describe("usage", function()
  it("adds up, with the cost from wherever it stands", function()
    local chat = new_chat()
    assert.are.same({ requests = 0, prompt_tokens = 0, completion_tokens = 0, total_tokens = 0,
      cached_tokens = 0, reasoning_tokens = 0, cost = 0 }, chat:usage())
    local tokens = { prompt_tokens = 10, completion_tokens = 2, total_tokens = 12 }
    -- in usage, where it goes before the two others
    answer("x", { cost = 64, headers = { ["X-Opper-Cost"] = "64" }, usage = { cost = 0.25,
      prompt_tokens = 10, completion_tokens = 2, total_tokens = 12,
      prompt_tokens_details = { cached_tokens = 4 },
      completion_tokens_details = { reasoning_tokens = 1 } } })
    assert.are.equal(0.25, assert(chat:send("1")).usage.cost)
    -- beside it
    answer("x", { cost = 0.5, usage = tokens, headers = { ["X-Opper-Cost"] = "64" } })
    assert.are.equal(0.5, assert(chat:send("2")).usage.cost)
    -- in a header
    answer("x", { usage = tokens, headers = { ["X-Opper-Cost"] = "0.125" } })
    assert.are.equal(0.125, assert(chat:send("3")).usage.cost)
    -- nowhere
    answer("x", { usage = tokens })
    assert.is_nil(assert(chat:send("4")).usage.cost)
    answer("x")
    assert.is_nil(assert(chat:send("5")).usage)
    -- in a header that is no number
    answer("x", { usage = tokens, headers = { ["X-Opper-Cost"] = "free" } })
    assert.is_nil(assert(chat:send("6")).usage.cost)
    -- a failure costs nothing that we know of
    server:reply { status = 400, body = "{}" }
    assert.is_nil((chat:send("7")))
    assert.are.same({ requests = 6, prompt_tokens = 50, completion_tokens = 10, total_tokens = 60,
      cached_tokens = 4, reasoning_tokens = 1, cost = 0.875 }, chat:usage())
    chat:usage().cost = 7
    assert.are.equal(0.875, chat:usage().cost)
  end)
end)

describe("Opper's headers", function()
  it("come from client and conversation", function()
    local own = opperchat.client { base_url = server.url .. "/", api_key = "op-secret",
      name = "from-client", tags = { team = "a", shift = 1 }, guard = { input = "pii" },
      headers = { ["X-Mine"] = "yes" } }
    local chat = new_chat { client = own, name = "npc", tags = { team = "b:c" },
      guard = { input = { "pii", "secrets" }, output = "toxicity", action = "block" },
      trace_id = "trace-1" }
    assert(chat:send("Hi"))
    local headers = server:last_request().headers
    assert.are.equal("Bearer op-secret", headers.authorization)
    assert.are.equal("application/json", headers["content-type"])
    assert.are.equal("npc", headers["x-opper-name"])
    assert.are.equal("shift:1,team:b:c", headers["x-opper-tags"])
    assert.are.equal("pii,secrets", headers["x-opper-guard-input"])
    assert.are.equal("toxicity", headers["x-opper-guard-output"])
    assert.are.equal("block", headers["x-opper-guard-action"])
    assert.are.equal("trace-1", headers["x-opper-trace-id"])
    assert.are.equal("yes", headers["x-mine"])
    assert(new_chat { client = own }:send("Hi"))
    headers = server:last_request().headers
    assert.are.equal("from-client", headers["x-opper-name"])
    assert.are.equal("shift:1,team:a", headers["x-opper-tags"])
    assert.are.equal("pii", headers["x-opper-guard-input"])
    assert.is_nil(headers["x-opper-guard-action"])
    own:close()
  end)

  it("are few when nothing is asked for", function()
    assert(new_chat():send("Hi"))
    for name in pairs(server:last_request().headers) do
      assert.truthy(not name:find("^x%-opper") or name == "x-opper-trace-id")
    end
  end)

  it("have one trace id for all turns, and a new one for a fork", function()
    local chat = new_chat()
    assert(chat:send("1"))
    assert(chat:send("2"))
    local fork = chat:fork()
    assert(fork:send("3"))
    assert(chat:send("4"))
    assert(fork:send("5"))
    assert(new_chat():send("6"))
    local ids = {}
    for i, request in ipairs(server:requests()) do
      ids[i] = request.headers["x-opper-trace-id"]
      assert.truthy(ids[i]:find("^%x%x%x%x%x%x%x%x%-%x%x%x%x%-4%x%x%x%-[89ab]%x%x%x%-%x+$"))
      assert.are.equal(36, #ids[i])
    end
    assert.are.equal(ids[1], ids[2])
    assert.are.equal(ids[1], ids[4])
    assert.are_not.equal(ids[1], ids[3])
    assert.are.equal(ids[3], ids[5])
    assert.are_not.equal(ids[1], ids[6])
    assert.are_not.equal(ids[3], ids[6])
  end)

  it("may be others in a fork", function()
    local chat = new_chat { name = "a", tags = { x = "1" } }
    assert(chat:send("1"))
    assert(chat:fork { name = "b" }:send("2"))
    assert.are.equal("b", server:last_request().headers["x-opper-name"])
    assert.are.equal("x:1", server:last_request().headers["x-opper-tags"])
    assert(chat:send("3"))
    assert.are.equal("a", server:last_request().headers["x-opper-name"])
  end)
end)

describe("tostring", function()
  it("tells what there is, and never the key", function()
    local own = opperchat.client { base_url = server.url, api_key = "op-secret" }
    local chat = new_chat { client = own }
    assert.are.equal("opperchat.client (" .. server.url .. ", key <redacted>)", tostring(own))
    assert.are.equal("opperchat.conversation (0 messages)", tostring(chat))
    assert.are.equal("opperchat.conversation (1 message)", tostring(chat:append("user", "x")))
    assert.are.equal("opperchat.conversation (2 messages)", tostring(chat:append("user", "x")))
    local request = chat:start()
    assert.truthy(tostring(request):find("^opperchat%.request %(%a+%)$"))
    assert(request:wait())
    assert.are.equal("opperchat.request (done)", tostring(request))
    own:close()
    assert.are.equal("opperchat.client (closed)", tostring(own))
    chat:close()
    assert.are.equal("opperchat.conversation (closed)", tostring(chat))
    local keyless = opperchat.client { base_url = server.url, api_key = "" }
    assert.are.equal("opperchat.client (" .. server.url .. ", no key)", tostring(keyless))
    keyless:close()
  end)

  it("of an error has no key either", function()
    server:reply { status = 401, body = [[{"error":"who are you?"}]] }
    local _, err = new_chat():send("Hi")
    assert.are.equal("api error (api_error, HTTP 401): who are you?", tostring(err))
    for _, value in pairs(err) do
      assert.is_nil(tostring(value):find("op-secret", 1, true))
    end
  end)
end)

describe("closing", function()
  local function closed()
    local chat = chat_of("u:1")
    chat:close()
    return chat
  end

  it("ends a conversation", function()
    local chat = closed()
    chat:close()
    local text = "conversation is closed"
    raises(text, function() chat:append("user", "x") end)
    raises(text, function() chat:append { role = "user", content = "x" } end)
    raises(text, function() chat:send("x") end)
    raises(text, function() chat:start("x") end)
    raises(text, function() chat:stream("x") end)
    raises(text, function() chat:messages() end)
    raises(text, function() chat:last() end)
    raises(text, function() chat:undo() end)
    raises(text, function() chat:splice(1, 0) end)
    raises(text, function() chat:clear() end)
    raises(text, function() chat:fork() end)
    raises(text, function() chat:usage() end)
    raises(text, function() chat:preview() end)
    raises(text, function() return #chat end)
  end)

  it("of a client ends what its conversations send", function()
    local own = opperchat.client { base_url = server.url }
    local chat = new_chat { client = own }
    assert(chat:send("Hi"))
    own:close()
    own:close()
    raises("client is closed", function() chat:send("x") end)
    raises("client is closed", function() own:poll() end)
    assert.are.equal("u:Hi a:ok", show(chat:append("user", "x"):undo()))
    assert(chat:fork { client = client }:send("Hi again"))
  end)

  local load_text = loadstring or load -- luacheck: ignore
  local scope = load_text("local make, use = ... local chat <close> = make() use(chat) return chat")
  if scope then
    it("comes with the end of a scope", function()
      local chat = scope(function() return chat_of("u:1 a:2") end,
        function(chat_inside) assert.are.equal(2, #chat_inside) end)
      assert.are.equal("opperchat.conversation (closed)", tostring(chat))
      local leaked
      assert.is_false(pcall(scope, function() return chat_of("u:1") end,
        function(chat_inside)
          leaked = chat_inside
          error("x")
        end))
      assert.are.equal("opperchat.conversation (closed)", tostring(leaked))
      local own = scope(function() return opperchat.client { base_url = server.url } end,
        function(client_inside) assert.is_true(select(2, opperchat.type(client_inside))) end)
      assert.are.equal("opperchat.client (closed)", tostring(own))
    end)
  end

  it("leaves nothing to the collector that it could stumble over", function()
    for _ = 1, 20 do
      local chat = chat_of("u:1 a:2")
      chat:fork():close()
      chat:close()
      getmetatable(chat).__gc(chat)
      getmetatable(chat).__gc(chat)
      assert.are.equal("opperchat.conversation (closed)", tostring(chat))
    end
    collectgarbage()
  end)

  it("cancels what is under way", function()
    server:script { { "stall" } }
    local chat = chat_of("u:1")
    local request = chat:start("Hi")
    chat:close()
    local reply, err = request:wait(5)
    assert.is_nil(reply)
    assert.are.equal("cancelled", err.kind)
    raises("conversation is closed", function() return #chat end)
  end)
end)

describe("a conversation that waits for its answer", function()
  it("cannot be changed, but read and forked", function()
    server:script { { "stall" } }
    local chat = chat_of("u:1 a:2")
    local request = chat:start("Hi")
    local edit = "conversation is busy: a request is in flight "
      .. "(wait for it, cancel it, or work on a fork)"
    raises(edit, function() chat:append("user", "x") end)
    raises(edit, function() chat:append { role = "user", content = "x" } end)
    raises(edit, function() chat:undo() end)
    raises(edit, function() chat:clear() end)
    raises(edit, function() chat:splice(1, 1) end)
    raises("conversation is busy: a request is in flight "
      .. "(wait for it, cancel it, or send on a fork)", function() chat:send("x") end)
    assert.are.equal("u:1 a:2", show(chat))
    local fork = chat:fork()
    assert(fork:send("x"))
    assert.are.equal("u:1 a:2 u:x a:ok", show(fork))
    request:cancel()
    request:wait()
    assert.are.equal("u:1 a:2 u:x", show(chat:append("user", "x")))
  end)
end)
