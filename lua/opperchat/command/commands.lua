---What begins with a slash in a chat.
local attachments = require "opperchat.command.attachments"
local chats = require "opperchat.command.chats"
local core = require "opperchat.core"
local help = require "opperchat.command.help"
local listing = require "opperchat.command.listing"
local options = require "opperchat.options"
local output = require "opperchat.command.output"
local places = require "opperchat.command.places"
local safe_text = require "opperchat.command.safe_text"
local transcript = require "opperchat.command.transcript"
local usage = require "opperchat.command.usage"
local waiting = require "opperchat.command.waiting"

local commands = {}

-- Chats that /list shows.
local MOST = 15

local function say(text, style)
  output.note(text, style or "dim")
end

local function complain(text)
  output.note(tostring(text), "warning")
end

local known = {}

function known.help()
  output.write(help.CHAT)
end

function known.quit()
  return 0
end

known.exit = known.quit

function known.undo(self)
  local chat = self.session.chat
  local _, _, first = core.turns(chat)
  if self.failed then
    self.failed = nil
    return say("the question that had no answer is forgotten")
  elseif #first == 0 then
    return complain("there is nothing to take back")
  end
  local at = first[#first]
  local words = safe_text.cut(safe_text.line(chats.text_of(chat:messages(at, at)[1])), 60)
  local worked, err = chat:undo()
  if not worked then
    return complain(err)
  end
  say(("taken back: %s"):format(words))
end

function known.retry(self)
  -- commands are part of the chat, which knows how to ask
  require("opperchat.command.interactive").retry(self)
end

function known.model(self, name)
  if name ~= "" then
    local worked, problem = self.session:set_model(name)
    if not worked then
      complain(problem)
    end
  end
  say("model: " .. (self.session:model() or "the server's own"))
end

function known.system(self, text)
  if text == "" then
    return say("system: " .. (self.session:system() or "nothing"))
  end
  local worked, err = self.session:set_system(text)
  if not worked then
    return complain(err)
  end
  say("system: " .. text)
end

function known.attach(self, path)
  if path == "" then
    return complain("/attach FILE")
  end
  local attachment, problem = attachments.read(path)
  if not attachment then
    return complain(problem)
  end
  table.insert(self.attached, attachment)
  say(("%s goes along with the next question"):format(path))
end

function known.usage(self)
  say(usage.words(self.session.chat:usage()))
end

function known.compact(self)
  if chats.turns(self.session.chat) < 2 then
    return complain("there is nothing to sum up yet")
  end
  local report, err = self.session:compact()
  if report then
    say(("%s tokens are %s now"):format(usage.grouped(report.tokens_before),
      usage.grouped(report.tokens_after)))
  elseif rawequal(err, waiting.INTERRUPTED) then
    say("[stopped]")
  else
    complain(err)
  end
end

-- Like the journal, for its owner alone.
local function write_new(path, text)
  local made, problem = core.make_file(path)
  local file
  if made then
    file, problem = io.open(path, "wb")
  end
  if not file then
    return nil, problem
  end
  local worked, why = file:write(text)
  local closed, why_not_closed = file:close()
  if worked and closed then
    return true
  end
  os.remove(path)
  return nil, why or why_not_closed
end

function known.save(self, path)
  local chat = self.session.chat
  if path == "" then
    return complain("/save FILE")
  end
  path = places.expand(path)
  if core.file_kind(path) then
    return complain(path .. ": is there already")
  end
  local worked, problem
  if path:find("%.md$") then
    worked, problem = write_new(path, transcript.markdown(chat))
  elseif path:find("%.json$") then
    worked, problem = write_new(path, chat:export() .. "\n")
  else
    worked, problem = chat:save(path)
  end
  if not worked then
    return complain(problem)
  end
  say("saved as " .. path)
end

function known.list()
  if listing.chats(MOST) == 0 then
    say("no chat is kept")
  end
end

---Does what a line says.
---@param self opperchat.command.Interactive
---@param name string without the slash
---@param rest string what stands behind it
---@return integer? code to leave with
function commands.run(self, name, rest)
  local command = known[name:lower()]
  if command then
    return command(self, rest)
  end
  local names = {}
  for other in pairs(known) do
    names[#names + 1] = other
  end
  local near = options.nearest(name, names)
  complain(("unknown command /%s%s. A question that begins with / needs a space before it."):format(
    name, near and " (did you mean /" .. near .. "?)" or ""))
end

---@return string[] names
function commands.names()
  local names = {}
  for name in pairs(known) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

return commands
