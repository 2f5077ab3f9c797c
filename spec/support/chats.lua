--- Conversations with the test server, for the specs of policies and tokens.
--
--   local chats = require "spec.support.chats"
--   chats.for_tests()
--   local chat = chats.new{ policy = ... }
--   chats.answer("Hi")       -- queues what the server says next

local Server = require "spec.support.server"
local with = require "spec.support.with"
local json = require "opperchat.json"
local completion = require "spec.support.completion"
local opperchat = require "opperchat"

local chats = {}

local LETTERS = { system = "s", developer = "d", user = "u", assistant = "a", tool = "t" }

local own_count = opperchat.tokens.count

--- Begins again in the middle of a test: with a client of its own, since clients
--- remember what replies have told them, and a server that has heard nothing.
function chats.begin()
  chats.server:reset()
  if chats.client then
    chats.client:close()
  end
  chats.client = opperchat.client {
    base_url = chats.server.url, api_key = "op-secret", max_retries = 0,
  }
end

--- Makes `chats.server` for the tests of this file, and a `chats.client` for each.
function chats.for_tests()
  local busted = require "busted"
  chats.server = Server.for_tests()
  busted.before_each(chats.begin)
  busted.after_each(function()
    opperchat.tokens.count = own_count
    chats.client:close()
  end)
end

--- A conversation. It names no model, so nobody asks the server for its list.
---@param given? table
---@return opperchat.Conversation
function chats.new(given)
  return opperchat.conversation(with({ client = chats.client }, given))
end

--- One token for each byte: numbers that can be worked out by hand. A message
--- costs 4 beside its text, a request 3.
function chats.count_bytes()
  opperchat.tokens.count = function(text)
    return #text
  end
end

--- Appends turns "u1 a1 u2 a2 ...", each text `size` bytes long.
---@param chat opperchat.Conversation
---@param first integer
---@param last integer
---@param size? integer
---@return opperchat.Conversation
function chats.fill(chat, first, last, size)
  for number = first, last do
    for _, role in ipairs { "user", "assistant" } do
      local text = LETTERS[role] .. number
      chat:append(role, text .. (" "):rep((size or 0) - #text))
    end
  end
  return chat
end

local function words_of(messages)
  local words = {}
  for i, message in ipairs(messages) do
    local text = message.content
    if type(text) == "table" and text[1] then
      local parts = {}
      for k, part in ipairs(text) do
        parts[k] = part.text or part.type
      end
      text = table.concat(parts, "+")
    end
    text = type(text) == "string" and text:gsub("%s+$", "") or "-"
    local letter = LETTERS[message.role]
    if message.tool_calls then
      letter = "c"
    end
    words[i] = text:find("^" .. letter .. "%d*$") and text or letter .. ":" .. text
  end
  return table.concat(words, " ")
end

--- The list as one line: "s:Be brief. u1 a1"; c is a message with tool calls.
---@param chat opperchat.Conversation
---@return string
function chats.show(chat)
  return words_of(chat:messages())
end

--- The same of what would be sent.
---@param chat opperchat.Conversation
---@param prompt? any
---@return string
function chats.preview(chat, prompt)
  return words_of(json.decode(chat:preview(prompt)).messages)
end

--- The same of messages.
chats.words = words_of

--- The list byte for byte, with its flags.
---@param chat opperchat.Conversation
---@return string
function chats.bytes(chat)
  local core = require "opperchat.core"
  local texts = {}
  for i = 1, #chat do
    local text, _, flags = core.message_json(chat, i)
    texts[i] = text .. " " .. flags
  end
  return table.concat(texts, "\n")
end

--- Queues a whole response.
---@param message string|table
---@param more? table `finish_reason`, `usage`
function chats.answer(message, more)
  chats.server:reply { body = json.encode(completion.body(message, more)) }
end

--- Queues one that the server keeps to itself until `chats.server:release()`.
---@param message string|table
---@param more? table
function chats.hold(message, more)
  local body = json.encode(completion.body(message, more))
  chats.server:script {
    { "hold" },
    { "send", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
      .. #body .. "\r\n\r\n" .. body },
  }
end

--- Queues an error.
---@param status integer
---@param message string
---@param code? string
function chats.fail(status, message, code)
  chats.server:reply {
    status = status, body = json.encode { error = { message = message, code = code } },
  }
end

--- Gives options of a conversation handlers that write down what they are told.
---@param given table
---@return table given
---@return { dropped: string[], reports: table[], errors: table[], drop_report: table? } log
function chats.record(given)
  local log = { dropped = {}, reports = {}, errors = {} }
  given.on_drop = function(messages, report)
    log.dropped[#log.dropped + 1] = words_of(messages)
    log.drop_report = report
  end
  given.on_compact = function(report, err)
    log.reports[#log.reports + 1] = report
    log.errors[#log.errors + 1] = err
  end
  return given, log
end

--- What the server was asked, one string of messages for each request.
---@return string[]
function chats.asked()
  local list = {}
  for i, request in ipairs(chats.server:requests()) do
    list[i] = request.json and words_of(request.json.messages) or request.path
  end
  return list
end

--- Polls until a condition holds; fails after a while.
chats.poll_until = require "spec.support.poll_until"

--- Polls until nothing is under way any more.
function chats.settle()
  chats.poll_until(function()
    return opperchat.poll() == 0
  end, "something is left hanging")
end

--- Polls until the server holds so many answers back.
---@param count integer
function chats.wait_held(count)
  chats.poll_until(function()
    return chats.server:status().held == count
  end, "held answers")
end

return chats
