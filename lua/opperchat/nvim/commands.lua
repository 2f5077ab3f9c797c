---What the commands do, with what they were given.
local build = require "opperchat.nvim.build"
local config = require "opperchat.nvim.config"
local chat = require "opperchat.nvim.chat"
local window = require "opperchat.nvim.window"

local commands = {}

-- Shows a conversation with the cursor at its end, unless it is to stay.
local function show(self, keep)
  local shown = window.show(self.page.buffer, keep)
  self.shown = shown
  local row, column = self.page:ending()
  vim.api.nvim_win_set_cursor(shown, { row + 1, column })
end

-- Without the C part there is nothing to ask.
local function is_built()
  local worked, problem = build.check()
  if not worked then
    chat.notify(problem)
  end
  return worked
end

---Asks a question, or shows a conversation in which to write one.
---@param question? string
---@param options? opperchat.nvim.AskOptions
---@return boolean asked
function commands.question(question, options)
  options = options or {}
  if not is_built() then
    return false
  end
  local here = vim.api.nvim_get_current_buf()
  local self = not options.new and chat.get() or chat.new()
  local has_question = question ~= nil and not question:find("^%s*$")
  local is_here = self.page.buffer == here
  show(self, has_question and not config.current.focus)
  if has_question or is_here and not options.context then
    return self:ask(question, options.context)
  elseif options.context then
    self:prepare(options.context)
    show(self)
  end
  return false
end

---:Opper
---@param given table as of nvim_create_user_command
function commands.ask(given)
  chat.guard(function()
    local context
    if given.range > 0 then
      context = require("opperchat.nvim.selection").as_markdown(given)
    end
    commands.question(given.args, { new = given.bang, context = context })
  end)
end

---:OpperStop
---@param given { bang: boolean }
---@return boolean stopped
function commands.stop(given)
  local stopped = false
  for _, each in ipairs(given.bang and chat.all() or { chat.get() }) do
    stopped = each:stop() or stopped
  end
  return stopped
end

-- The names of the journals that are there, the newest first.
local function journals()
  local folder, names = config.journal_folder(), {}
  for _, path in ipairs(folder and vim.fn.glob(folder .. "/*.jsonl", false, true) or {}) do
    names[#names + 1] = vim.fn.fnamemodify(path, ":t:r")
  end
  table.sort(names, function(a, b)
    return a > b
  end)
  return names, folder
end

---@param lead string what was typed
---@return string[] names
function commands.complete_journals(lead)
  return vim.tbl_filter(function(name)
    return vim.startswith(name, lead)
  end, (journals()))
end

---:OpperResume
---@param given { args: string }
function commands.resume(given)
  if not is_built() then
    return
  end
  chat.guard(function()
    local names, folder = journals()
    local name = given.args ~= "" and given.args or names[1]
    if not folder then
      error("no journals are kept: see the option 'journal'", 0)
    elseif not name then
      error("there is no journal yet in " .. folder, 0)
    end
    show(chat.resume(("%s/%s.jsonl"):format(folder, (name:gsub("%.jsonl$", "")))))
  end)
end

return commands
