---The chat: question, answer, question, until somebody leaves.
local attachments = require "opperchat.command.attachments"
local chats = require "opperchat.command.chats"
local commands = require "opperchat.command.commands"
local output = require "opperchat.command.output"
local reading = require "opperchat.command.reading"
local terminal = require "opperchat.command.terminal"
local usage = require "opperchat.command.usage"
local waiting = require "opperchat.command.waiting"

local interactive = {}

---@class opperchat.command.Interactive
---@field session opperchat.command.Session
---@field attached (table|string)[] goes along with the next question
---@field failed? string|table the question that had no answer
---@field shows_usage? boolean

local function is_person()
  return terminal.is_terminal(terminal.STDIN)
end

---Says something that is not the model's.
---@param text string
---@param style? string
function interactive.say(text, style)
  output.note(text, style or "dim")
end

-- What has become of a question. Returns whether it was answered.
local function report(self, reply, err)
  if reply then
    if reply.finish_reason == "length" then
      interactive.say("[cut off at the token limit]")
    end
    if self.shows_usage then
      interactive.say(usage.words(reply.usage))
    end
  elseif rawequal(err, waiting.INTERRUPTED) then
    interactive.say("[stopped]")
  elseif not output.failed() then
    output.complain(err)
  end
  if is_person() then
    output.write("\n")
  end
  return reply ~= nil
end

---Asks a question and shows the answer.
---@param self opperchat.command.Interactive
---@param prompt string|table
function interactive.ask(self, prompt)
  local before = chats.turns(self.session.chat)
  local answered = report(self, self.session:ask(prompt))
  -- what had begun to arrive is a turn as well
  self.failed = not answered and chats.turns(self.session.chat) == before and prompt or nil
end

---Asks the last question again.
---@param self opperchat.command.Interactive
function interactive.retry(self)
  if self.failed then
    interactive.ask(self, self.failed)
  elseif chats.turns(self.session.chat) == 0 then
    interactive.say("nothing was asked yet", "warning")
  else
    report(self, self.session:retry())
  end
end

local function greet(self)
  if is_person() then
    local turns = chats.turns(self.session.chat)
    interactive.say(("%s%s. /help lists what else can be typed; Ctrl-D leaves."):format(
      self.session:model() or "the model of the server",
      turns > 0 and (", going on after %d turn%s"):format(turns, turns == 1 and "" or "s") or ""))
  end
end

-- Whether a Ctrl-C leaves: the second in a row with nothing typed before it.
local function is_leaving(was_interrupted, what)
  if not is_person() then
    return true
  end
  output.write("\n")
  if what == "interrupted" and not was_interrupted then
    interactive.say("Ctrl-C again, or Ctrl-D, leaves")
  end
  return what == "interrupted" and was_interrupted
end

-- A text of several lines is never a command: it may be a path, or code.
local function take(self, text, what)
  if what == "line" and text:find("^/") then
    local name, rest = text:match("^/([%a]+)%s*(.-)%s*$")
    return commands.run(self, name or text:sub(2), rest or "")
  elseif text:find("%S") then
    local given = self.attached
    self.attached = {}
    text = what == "line" and text:gsub("^%s+", "") or text
    interactive.ask(self, attachments.prompt({ text }, given))
  end
end

---Holds the chat.
---@param session opperchat.command.Session
---@param given {prompt?: string|table, attached: table, shows_usage?: boolean}
---@return integer code
function interactive.run(session, given)
  local self = { session = session, attached = given.attached, shows_usage = given.shows_usage }
  greet(self)
  if given.prompt then
    self.attached = {}
    interactive.ask(self, given.prompt)
  end
  local code, was_interrupted = nil, false
  while not code and not output.failed() do
    local text, what = reading.question("> ")
    if text then
      was_interrupted = false
      code = take(self, text, what)
    elseif what == "end" then
      if is_person() then
        output.write("\n")
      end
      code = 0
    else
      code = is_leaving(was_interrupted, what) and 130 or nil
      was_interrupted = what == "interrupted"
    end
  end
  session:close()
  if session.file and is_person() and not output.failed() then
    interactive.say(("kept as %s: opperchat -c goes on"):format(session.file.id))
  end
  return code or 0
end

return interactive
