-- The scenarios of memory.c, and what has to hold after each of them.
--
--   memory.setup()      before each try, with all memory there is
--   memory.run[i]()     the try; what it raises or returns is no matter
--   memory.check()      afterwards, with all memory again

local url, folder = ...

local core = require "opperchat.core"
local opperchat = require "opperchat"

local memory = { names = {}, run = {} }

-- Messages that the list may have grown by, by scenario.
local allowed = {}

-- Scenarios that only wait themselves: whatever they raise, nothing may be left for
-- anybody else to drive.
local BLOCKING = { send = true, run = true, policy = true, summarize = true, journal = true }
local is_blocking

local function scenario(name, grows, fn)
  table.insert(memory.names, name)
  table.insert(memory.run, function()
    allowed = grows
    memory.is_journal = name == "journal"
    is_blocking = BLOCKING[name]
    return fn()
  end)
end

local KEY = "op-0123456789abcdef"

local function new_client()
  return opperchat.client { base_url = url, api_key = KEY, max_retries = 0 }
end

local client = new_client()
local template = opperchat.conversation { client = client, model = "m", system = "Be brief." }
for i = 1, 3 do
  template:append("user", "question " .. i)
  template:append("assistant", "answer " .. i)
end

local chat, before, path, kept

function memory.setup()
  chat = template:fork()
  before = #chat
  kept = nil
  path = folder .. "/journal"
  os.remove(path)
end

scenario("send", { 0, 2 }, function()
  return chat:send("hi")
end)

scenario("stream", { 0, 2 }, function()
  local text = ""
  for piece in chat:stream "hi" do
    text = text .. piece
  end
  return text
end)

scenario("handlers", { 0, 2 }, function()
  local seen = {}
  return chat:start("hi", {
    on_delta = function(text)
      seen[#seen + 1] = text
    end,
    on_event = function(event)
      seen[#seen + 1] = event.type
    end,
    on_done = function(reply)
      seen[#seen + 1] = reply
    end,
  }):wait()
end)

scenario("cancel", { 0, 2 }, function()
  local request = chat:start "hi"
  client:poll(0)
  request:cancel()
  return request:wait()
end)

scenario("go", { 0, 2 }, function()
  local task = opperchat.go(function()
    return chat:send "hi"
  end)
  return task:wait()
end)

-- The calls and their results, then the answer.
scenario("run", { 0, 1, 2, 3, 4 }, function()
  chat:tool {
    name = "add",
    description = "Adds.",
    parameters = { type = "object", properties = { a = { type = "number" } } },
    run = function(arguments)
      return tostring(arguments.a + arguments.b)
    end,
  }
  return chat:run "hi"
end)

scenario("append", { 0, 1, 2 }, function()
  chat:append("user", { "Look:", opperchat.image("\137PNG\r\n\26\n1234", {}) })
  chat:append { role = "assistant", content = "I see.", x = { y = { 1, 2 } } }
end)

scenario("splice", { -6, -3, -2, -1, 0 }, function()
  chat:splice(2, 3, { { role = "user", content = "short" }, { role = "assistant", content = "s" } })
  chat:undo()
  chat:messages()
  return chat:last()
end)

scenario("fork", { 0 }, function()
  local other = chat:fork()
  other:append("user", "x")
  other:send "hi"
  return #other:messages()
end)

scenario("policy", { -6, -4, -2, 0, 2 }, function()
  local short = chat:fork { policy = opperchat.policy.keep { turns = 1 } }
  chat = short
  before = #chat
  chat:compact()
  return chat:send "hi"
end)

scenario("summarize", { -6, -5, -4, -3, -2, -1, 0, 1, 2 }, function()
  local short = chat:fork { policy = opperchat.policy.summarize { tokens = 20, keep_turns = 1 } }
  chat = short
  before = #chat
  return chat:send "hi"
end)

scenario("save", { 0 }, function()
  chat:save(folder .. "/saved")
  local loaded = opperchat.load(folder .. "/saved", { client = client })
  return loaded and #loaded
end)

scenario("journal", { 0, 2 }, function()
  kept = opperchat.conversation { client = client, model = "m", journal = path }
  if kept then
    chat, before = kept, 0
    return chat:send "hi"
  end
end)

scenario("client", { 0 }, function()
  local other = new_client()
  local reply = opperchat.conversation { client = other, model = "m" }:send "hi"
  other:close()
  return reply
end)

local function grown_by_right_number()
  local grown = #chat - before
  for _, n in ipairs(allowed) do
    if n == grown then
      return true
    end
  end
  local roles = {}
  for _, message in ipairs(chat:messages()) do
    roles[#roles + 1] = message.role .. " " .. tostring(message.content)
  end
  return false, "the list has grown by " .. grown .. ": " .. table.concat(roles, "; ")
end

-- An error that was raised out of a wait of the program's own leaves the request
-- under way, or its ending untold.
local function drive()
  local deadline = os.time() + 10
  repeat
    client:poll(client:active() > 0 and 0.01 or 0)
    opperchat.poll()
  until client:active() == 0 or os.time() > deadline
end

function memory.check()
  if is_blocking then
    assert(core.client_active(client) == 0, "a request is still under way")
  else
    drive()
    assert(client:active() == 0, "a request does not end")
  end
  assert(grown_by_right_number())
  local list = chat:messages()
  assert(#list == #chat)
  local valid, problems = opperchat.history.check(list)
  if not valid then
    error("the list is not valid: " .. tostring(problems and problems[1] and problems[1].message))
  end
  -- the conversation is usable: calls left open are taken back first
  local last = list[#list]
  if last and (last.tool_calls or last.role == "tool") then
    chat:undo()
  end
  local length = #chat
  local reply, err = chat:send "again"
  if not reply then
    error("it cannot be used any more: " .. tostring(err))
  end
  assert(reply.content == "ok" or reply.tool_calls, "another answer")
  assert(#chat <= length + 2)
  assert(client:active() == 0)

  -- a journal holds what the list does, and one that was not opened can be
  if kept then
    local expected = #kept
    kept:close()
    local loaded, problem = opperchat.load(path, { client = client })
    assert(loaded, tostring(problem))
    assert(#loaded == expected, "the journal holds " .. #loaded .. " of " .. expected)
    loaded:close()
  elseif memory.is_journal then
    collectgarbage()
    local other = opperchat.conversation { client = client, model = "m", journal = path }
    assert(other:send "hi")
    other:close()
  end
end

-- So that nothing of a try is left but what leaks.
function memory.forget()
  opperchat.poll()
  chat, kept = nil, nil
  collectgarbage()
  collectgarbage()
end

function memory.close()
  client:close()
end

return memory
