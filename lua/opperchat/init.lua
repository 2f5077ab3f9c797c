---opperchat: conversations with language models.
---
---    local opperchat = require "opperchat"
---    local chat = opperchat.conversation { model = "openai/gpt-5-mini" }
---    local reply = assert(chat:send("What's a vector?"))
---    print(reply.content)
local client = require "opperchat.client"
client.version = "0.1.0"

local conversation = require "opperchat.conversation"
local core = require "opperchat.core"
local doctor = require "opperchat.doctor"
local driver = require "opperchat.driver"
local json = require "opperchat.json"
require "opperchat.models"
require "opperchat.oneshot"
local history = require "opperchat.history"
local media = require "opperchat.media"
local policy = require "opperchat.policy"
local secret = require "opperchat.secret"
local tokens = require "opperchat.tokens"

local opperchat = {
  ---The version of this module.
  version = client.version,
  ---Moves every client forward: once a frame.
  poll = driver.poll,
  ---Runs a function in a coroutine in which waiting does not block.
  go = driver.go,
  ---Waits for some time, inside `go` without blocking.
  sleep = driver.sleep,
  ---JSON's null, where a table needs one.
  null = json.null,
  ---Marks a table as a list, so that it is written as `[]` when it is empty.
  array = json.array,
  ---An image for a prompt, from a file, a URL or bytes.
  image = media.image,
  ---A file for a prompt, such as a PDF.
  file = media.file,
  ---Audio for a prompt.
  audio = media.audio,
  ---What keeps a conversation short: keep, fit, shrink, summarize, remember,
  ---pipeline.
  policy = policy,
  ---Plain lists of messages: split, check, repair.
  history = history,
  ---A key from the environment, a file or a command, for `api_key`.
  secret = secret.new,
  ---How texts are counted; `tokens.count` may be replaced.
  tokens = tokens,
}

---Makes a client: connections, credentials, timeouts and limits.
---@param options? opperchat.ClientOptions
---@return opperchat.Client
function opperchat.client(options)
  return client.new(options)
end

---Makes a conversation.
---@param options? opperchat.ConversationOptions
---@return opperchat.Conversation
function opperchat.conversation(options)
  return conversation.new(options)
end

---Makes a conversation of a file that `chat:save` or a journal has written.
---@param path string
---@param options? opperchat.ConversationOptions all but `system` and `messages`
---@return opperchat.Conversation?
---@return opperchat.LoadReport|opperchat.Error report
function opperchat.load(path, options)
  return conversation.load(path, options)
end

---Makes a conversation of a plain list of messages, mended where that is needed.
---@param source string|table JSON text of a list or of a request's body, or such a table
---@param options? opperchat.ConversationOptions all but `messages`
---@return opperchat.Conversation?
---@return opperchat.HistoryRepair[]|opperchat.Error report
function opperchat.import(source, options)
  return conversation.import(source, options)
end

---Looks for what is wrong between this program and its server, and says what to
---do about it.
---@param options? opperchat.DoctorOptions
---@return opperchat.DoctorReport
function opperchat.doctor(options)
  return doctor.run(options)
end

---What kind of object a value is.
---@param value any
---@return "client"|"conversation"|"request"|nil kind nil: none of ours
---@return boolean|nil is_open
function opperchat.type(value)
  return core.kind(value)
end

return opperchat
