---One chat of the command: the conversation, where it is kept, and asking it.
local chats = require "opperchat.command.chats"
local client_module = require "opperchat.client"
local core = require "opperchat.core"
local lazy = require "opperchat.lazy"
local opperchat = require "opperchat"
local output = require "opperchat.command.output"
local spinner = require "opperchat.command.spinner"
local waiting = require "opperchat.command.waiting"

local keeping = lazy.module "opperchat.keeping"

local session = {}

-- Compacts only when it is told to, down to the last turn.
local COMPACTION = { tokens = 2 ^ 31, turns = 1 }

---@class opperchat.command.SessionOptions
---@field client opperchat.Client
---@field model? string
---@field system? string
---@field parameters table options of a conversation
---@field file? opperchat.command.ChatFile to go on with
---@field is_saved boolean
---@field is_streamed boolean

---@class opperchat.command.Session
---@field chat opperchat.Conversation
---@field file? opperchat.command.ChatFile where it is kept
---@field new_file? opperchat.command.ChatFile where it will be, as soon as something was said
---@field client opperchat.Client
---@field is_streamed boolean
local Session = {}
Session.__index = Session

local function options_for(given, file)
  local made = { client = given.client, model = given.model, keep_partial = given.keep_partial,
    journal = given.is_saved and file and file.path or nil,
    policy = opperchat.policy.summarize(COMPACTION) }
  for name, value in pairs(given.parameters) do
    made[name] = value
  end
  return made
end

-- The message that says who the model is, in the place of the one before.
local function set_system(chat, text)
  local head = core.turns(chat)
  local first = head > 0 and chat:messages(1, 1)[1]
  local has_one = first and (first.role == "system" or first.role == "developer")
  local messages = text ~= "" and { { role = "system", content = text } } or {}
  return chat:splice(1, has_one and 1 or 0, messages)
end

local function go_on(given)
  local made = options_for(given, given.file)
  local chat, err = opperchat.load(given.file.path, made)
  if chat and given.system then
    local worked, problem = set_system(chat, given.system)
    if not worked then
      return nil, problem
    end
  end
  return chat, err
end

-- An answer that is not kept is better than none.
local function complain_not_kept(problem)
  output.complain("this chat is not kept: " .. problem)
end

local function begin(given)
  local made = options_for(given)
  made.system = given.system
  local chat = opperchat.conversation(made)
  local file, problem
  if given.is_saved then
    file, problem = chats.new()
  end
  if problem then
    complain_not_kept(problem)
  end
  return chat, file
end

-- Gives a new chat its file once there is something in it: whoever is killed before
-- leaves none behind.
local function keep(self)
  local file = self.new_file
  if not file or chats.turns(self.chat) == 0 then
    return
  end
  self.new_file = nil
  local begun, err = keeping.begin_journal(self.chat, file.path)
  if begun then
    self.file = file
    return
  elseif err.code ~= "locked" and err.code ~= "file_exists" then
    -- what a full disk has left of it
    os.remove(file.path)
  end
  complain_not_kept(err.message)
end

---Goes on with a chat or begins one.
---@param given opperchat.command.SessionOptions
---@return opperchat.command.Session?
---@return any problem
function session.open(given)
  local self = setmetatable({ client = given.client, is_streamed = given.is_streamed }, Session)
  if given.file then
    local chat, err = go_on(given)
    if not chat then
      return nil, err
    end
    self.chat, self.file = chat, given.is_saved and given.file or nil
  else
    self.chat, self.new_file = begin(given)
    self.is_new = true
  end
  self.given = given
  return self
end

---@return string? model
function Session:model()
  return chats.model(self.chat)
end

---Has another model answer from now on.
---@param name string
---@return true? changed
---@return any problem
function Session:set_model(name)
  local given = {}
  for key, value in pairs(self.given) do
    given[key] = value
  end
  given.model, given.system, given.file = name, nil, self.file
  local valid, copy = pcall(self.chat.fork, self.chat, { model = name })
  if not valid then
    return nil, (tostring(copy):gsub("^.-option", "option"))
  elseif not self.file then
    self.chat:close()
    self.chat, self.given = copy, given
    return true
  end
  -- the options of a journal are those it was opened with
  self.chat:close()
  local chat, err = opperchat.load(self.file.path, options_for(given, self.file))
  self.chat, self.given = chat or copy, given
  if not chat then
    self.file = nil
    return nil, "this chat is not kept any more: " .. tostring(err)
  end
  copy:close()
  return true
end

---The text the model is told before everything else.
---@return string?
function Session:system()
  local head = core.turns(self.chat)
  local first = head > 0 and self.chat:messages(1, 1)[1]
  return first and chats.text_of(first)
end

---@param text string "" takes it away
---@return any worked
---@return any problem
function Session:set_system(text)
  return set_system(self.chat, text)
end

-- Asks, and shows the answer while it comes unless `is_quiet`.
local function converse(self, call, is_quiet)
  local answer, sign = output.answer(), spinner.new()
  local was_interrupted = false
  local given = { on_retry = function(event)
    sign.label = ("%s; again in %.0f s"):format(
      event.err.status and "HTTP " .. event.err.status or tostring(event.err.kind), event.wait)
  end }
  if self.is_streamed then
    given.on_event = function(event)
      if event.type == "reasoning" then
        sign.label = "thinking"
      elseif event.text and event.text ~= "" and not is_quiet then
        sign.stop()
        answer.write(event.text)
      end
    end
  else
    given.stream = false
  end
  local reply, err = waiting.run(function() return call(given) end, {
    on_interrupt = function()
      was_interrupted = true
      self.chat:cancel()
    end,
    on_look = function()
      sign.turn()
      if output.failed() then
        self.chat:cancel()
      end
    end,
  })
  sign.stop()
  if reply and not self.is_streamed and not is_quiet then
    answer.write(reply.content or reply.refusal or "")
  end
  answer.finish()
  keep(self)
  if was_interrupted and not reply then
    return nil, waiting.INTERRUPTED
  end
  return reply, err
end

---Whether there is a key, where the server wants one. It is fetched for that.
---@return any has_key
---@return any problem
function Session:check_key()
  local key, err = client_module.key(self.client)
  return key ~= nil, err
end

---Asks a question.
---@param prompt string|table
---@param schema? table of this answer alone, which is not shown then
---@return opperchat.Reply? reply
---@return any err `waiting.INTERRUPTED` after a Ctrl-C
function Session:ask(prompt, schema)
  return converse(self, function(given)
    given.schema = schema
    return self.chat:send(prompt, given)
  end, schema ~= nil)
end

---Asks the last question again.
---@return opperchat.Reply? reply
---@return any err
function Session:retry()
  return converse(self, function(given) return self.chat:retry(given) end)
end

---Lets a summary stand for all but the last turn.
---@return opperchat.CompactReport? report
---@return any err
function Session:compact()
  local sign, was_interrupted = spinner.new("summing up"), false
  local report, err = waiting.run(function() return self.chat:compact() end, {
    on_look = sign.turn,
    on_interrupt = function()
      was_interrupted = true
      self.chat:cancel()
    end,
  })
  sign.stop()
  if not report and was_interrupted then
    return nil, waiting.INTERRUPTED
  end
  return report, err
end

---Closes the chat. One in which nothing was said leaves no file.
function Session:close()
  local is_empty = self.is_new and chats.turns(self.chat) == 0
  self.chat:close()
  if self.file and is_empty then
    os.remove(self.file.path)
    self.file = nil
  end
end

return session
