---A conversation and its buffer.
---
---The buffer is a list of questions and answers under headings. The last
---heading is the user's: what stands below it is the next question.
local config = require "opperchat.nvim.config"
local page = require "opperchat.nvim.page"
local undo = require "opperchat.nvim.undo"

local api = vim.api

local QUESTION = "## You"

-- Milliseconds between tries to write into a buffer that cannot be written to,
-- and how many there are.
local RETRY, RETRIES = 100, 100

local chat = {}

---A question that was asked.
---@class opperchat.nvim.Turn
---@field prompt integer mark where its text begins
---@field heading string the line above its answer
---@field note? integer mark of that line
---@field step? integer the step to undo that the answer is
---@field text string the question
---@field pending string[] what has arrived and is not in the buffer yet
---@field tail string the last of what is in the buffer
---@field is_kept boolean whether it has become a part of the conversation

---@class opperchat.nvim.Chat
---@field number integer
---@field page opperchat.nvim.Page
---@field conversation? opperchat.Conversation made by the first question
---@field turns opperchat.nvim.Turn[]
---@field prompt integer mark where the next question begins
---@field request? opperchat.Request
---@field status string what `status()` says
---@field is_closed boolean
local Chat = {}
Chat.__index = Chat

---@type table<integer, opperchat.nvim.Chat> by buffer
local chats = {}

---@type opperchat.nvim.Chat?
local current

local count = 0

---Shows a message in one line.
---@param message any
---@param level? "ERROR"|"WARN"|"INFO"
function chat.notify(message, level)
  local text = tostring(message):gsub("%s+", " "):gsub("%c", "?")
  -- at once it would be raised in the script that gave the command
  vim.schedule(function()
    vim.notify("Opper: " .. text, vim.log.levels[level or "ERROR"])
  end)
end

-- What was raised, without the place in our own files.
local function without_place(problem)
  return type(problem) == "string" and problem:gsub("^[^\n]-%.lua:%d+: ", "") or problem
end

-- The line above an answer.
local function answer_heading()
  return "## " .. ((config.current.conversation or {}).model or config.current.model)
end

-- ---------------------------------------------------------------------------
-- The conversation
-- ---------------------------------------------------------------------------

-- The client for a table of options: one for all conversations.
local made = setmetatable({}, { __mode = "k" })

local function client_of(opperchat, given)
  if type(given) ~= "table" then
    return given
  end
  made[given] = made[given] or opperchat.client(given)
  return made[given]
end

-- The options of a conversation.
local function options_of(opperchat)
  local own = config.current
  local options = vim.tbl_extend("keep", own.conversation or {}, {
    model = own.model, system = own.system or nil, keep_partial = true,
  })
  options.client = client_of(opperchat, own.client)
  if type(own.policy) == "function" then
    options.policy = own.policy(opperchat.policy)
  elseif own.policy then
    options.policy = own.policy
  end
  return options
end

-- A new file in the folder of the journals.
local function new_journal(folder)
  vim.fn.mkdir(folder, "p")
  local name = folder .. "/" .. os.date("%Y-%m-%d_%H-%M-%S")
  local path, number = name .. ".jsonl", 1
  while (vim.uv or vim.loop).fs_stat(path) do
    number = number + 1
    path = ("%s_%d.jsonl"):format(name, number)
  end
  return path
end

-- Makes the conversation, or goes on with the one in a file. Raises.
function Chat:converse(path)
  local opperchat = require "opperchat"
  require("opperchat.loop.nvim").attach()
  local options = options_of(opperchat)
  local conversation, err
  if path then
    options.journal, options.system = path, nil
    conversation, err = opperchat.load(path, options)
  else
    local folder = config.journal_folder()
    options.journal = folder and new_journal(folder) or nil
    conversation, err = opperchat.conversation(options)
  end
  if not conversation then
    error(err, 0)
  end
  self.conversation = conversation
end

-- ---------------------------------------------------------------------------
-- Showing what goes on
-- ---------------------------------------------------------------------------

local NOTES = { failed = "OpperError", stopped = "OpperNote" }

local function define_highlights()
  api.nvim_set_hl(0, "OpperNote", { default = true, link = "Comment" })
  api.nvim_set_hl(0, "OpperError", { default = true, link = "ErrorMsg" })
end

-- The note behind the last answer's heading: not there while that is undone.
function Chat:annotate()
  local turn = self.turns[#self.turns]
  if turn and turn.note then
    self.page:annotate(turn.note, turn.heading, self.status, NOTES[self.status] or "OpperNote")
  end
end

function Chat:set_status(text)
  if self.status ~= text and not self.is_closed then
    self.status = text
    self:annotate()
    -- the user's own expressions are evaluated there
    pcall(vim.cmd, "redrawstatus!")
  end
end

local function summary(reply)
  local parts, usage = {}, reply.usage or {}
  if reply.timing and reply.timing.total then
    parts[1] = ("%.1f s"):format(reply.timing.total)
  end
  if usage.total_tokens then
    parts[#parts + 1] = usage.total_tokens .. " tokens"
  end
  if usage.cost then
    parts[#parts + 1] = ("$%.5f"):format(usage.cost)
  end
  return table.concat(parts, ", ")
end

-- ---------------------------------------------------------------------------
-- The answer
-- ---------------------------------------------------------------------------

-- Whether the user has undone the answer.
function Chat:is_undone(turn)
  return turn.step ~= nil and undo.undone(self.page.buffer)[turn.step] == true
end

-- Writes what has arrived, all of it at once. False when it has to wait.
function Chat:flush(turn, is_last)
  if self.page:is_touched() and self:is_undone(turn) then
    -- whoever takes back the beginning does not want the rest
    turn.pending = {}
    if self.request then
      self.request:cancel()
    end
    return true
  end
  local text = table.concat(turn.pending)
  local held = not is_last and text:match("\r$") or ""
  -- a line of a buffer has no end of line in it
  local clean = text:sub(1, #text - #held):gsub("\r\n?", "\n")
  if turn.tail == "" then
    clean = clean:gsub("^\n+", "")
  end
  if clean ~= "" then
    if not self.page:write(clean) then
      return false
    end
    turn.tail = (turn.tail .. clean):sub(-2)
  end
  turn.pending = { held ~= "" and held or nil }
  return true
end

function Chat:receive(turn, text)
  turn.pending[#turn.pending + 1] = text
  if not turn.is_scheduled then
    turn.is_scheduled = true
    -- all that arrives in this turn of the loop together
    vim.schedule(function()
      turn.is_scheduled = false
      if not self.is_closed and not turn.is_over then
        self:flush(turn)
      end
    end)
  end
end

-- Line ends for an empty line behind what was written of an answer.
local function gap(turn)
  if turn.tail == "" then
    return ""
  end
  return ("\n"):rep(2 - #turn.tail:match("\n*$"))
end

-- The end of a code block that an answer was cut off in.
function Chat:closing_fence(turn)
  local open
  local first = self.page:where(turn.note)
  local last = self.page:where(self.page.place)
  for _, line in ipairs(self.page:lines(first, last + 1)) do
    local fence = line:match("^%s*(```+)")
    if fence and not open then
      open = fence
    elseif fence and #fence >= #open and line:find("^%s*`+%s*$") then
      open = nil
    end
  end
  return open and (turn.tail:find("\n$") and "" or "\n") .. open or ""
end

-- What is to be said below an answer, and the status; nil: nothing.
local function remark(turn, reply, err)
  if err and err.kind == "cancelled" then
    return "*(stopped)*", "stopped"
  elseif err then
    local text = tostring(err):gsub("%s+", " "):gsub("%c", "?")
    return "> **Error:** " .. text, "failed"
  elseif reply.refusal and turn.tail == "" then
    return reply.refusal:gsub("\r\n?", "\n"), summary(reply)
  elseif reply.finish_reason == "length" or reply.finish_reason == "content_filter" then
    return ("*(cut off: %s)*"):format(reply.finish_reason), summary(reply)
  elseif turn.tail == "" then
    return "*(an empty answer)*", summary(reply)
  end
  return nil, summary(reply)
end

-- Whether a question that failed left something in the conversation.
function Chat:has_kept(err)
  local partial = err.partial and err.partial.content
  local last = partial and self.conversation and self.conversation:last()
  return last ~= nil and partial ~= "" and last.role == "assistant" and last.content == partial
end

-- Begins the next question below the answer.
function Chat:begin_question(turn)
  self.page:write(gap(turn) .. QUESTION .. "\n\n")
  local row = self.page:where(self.page.place)
  self.prompt = self.page:mark(row, 0, false)
end

-- Called once for each question, however it ends; again when the buffer cannot
-- be written to now.
function Chat:finish(turn, reply, err, tries)
  self.request = nil
  if self.is_closed then
    return
  end
  if not self:flush(turn, true) and (tries or 0) < RETRIES then
    vim.defer_fn(function()
      self:finish(turn, reply, err, (tries or 0) + 1)
    end, RETRY)
    return
  end
  turn.is_over = true
  turn.is_kept = reply ~= nil or self:has_kept(err)
  if self:is_undone(turn) then
    self:set_status("")
    return
  end
  local text, status = remark(turn, reply, err)
  if text then
    local fence = err and self:closing_fence(turn) or ""
    if fence ~= "" then
      self.page:write(fence)
      turn.tail = "`"
    end
    self.page:write(gap(turn) .. text)
    turn.tail = text:sub(-2)
  end
  self:begin_question(turn)
  self:set_status(status)
  if err and err.kind ~= "cancelled" then
    chat.notify(err)
  end
  api.nvim_exec_autocmds("User", { pattern = "OpperDone", modeline = false })
end

-- Sends a question that is in the buffer already.
function Chat:start(turn)
  local worked, request, err = pcall(function()
    if not self.conversation then
      self:converse()
    end
    return self.conversation:start(turn.text, {
      on_delta = function(text)
        self:set_status("answering")
        self:receive(turn, text)
      end,
      on_event = function(event)
        if event.type == "reasoning" then
          self:set_status("thinking")
        end
      end,
      on_retry = function(event)
        self:set_status(("sent again in %.0f s"):format(math.ceil(event.wait)))
      end,
      on_done = function(reply, failure)
        self:finish(turn, reply, failure)
      end,
    })
  end)
  if not worked then
    -- an error of ours has its kind in it
    err = type(request) == "table" and request
      or require("opperchat.errors").new("api", "misuse", tostring(without_place(request)))
    request = nil
  end
  self.request = request
  if not request then
    self:finish(turn, nil, err)
  end
end

-- ---------------------------------------------------------------------------
-- The question
-- ---------------------------------------------------------------------------

local function trim(lines)
  local first, last = 1, #lines
  while first <= last and lines[first]:find("^%s*$") do
    first = first + 1
  end
  while last >= first and lines[last]:find("^%s*$") do
    last = last - 1
  end
  return vim.list_slice(lines, first, last)
end

-- Takes the questions out of the conversation whose answers the user has undone.
-- Returns the text of the first of them.
function Chat:forget_undone()
  local text
  local undone = #self.turns > 0 and undo.undone(self.page.buffer)
  while #self.turns > 0 and undone[self.turns[#self.turns].step] do
    local turn = table.remove(self.turns)
    if turn.is_kept then
      local kept, err = self.conversation:undo()
      if not kept then
        self.turns[#self.turns + 1] = turn
        error(err, 0)
      end
    end
    text, self.prompt = turn.text, turn.prompt
  end
  return text
end

-- What the user has written below the last heading.
function Chat:draft()
  local row = self.page:where(self.prompt)
  return trim(self.page:lines(row))
end

-- Puts lines below the last heading, in the place of what is there.
function Chat:set_draft(lines)
  local row = self.page:where(self.prompt)
  local last, column = self.page:ending()
  self.page:begin_step()
  return self.page:replace(row, 0, last, column, lines)
end

-- The lines of a question: what is there already, the question, the context.
local function compose(...)
  local all = {}
  for _, part in ipairs{ ... } do
    if #part > 0 then
      if #all > 0 then
        all[#all + 1] = ""
      end
      vim.list_extend(all, part)
    end
  end
  return all
end

local function lines_of(question)
  return trim(vim.split((question or ""):gsub("\r\n?", "\n"), "\n", { plain = true }))
end

---Whether an answer is on its way.
---@return boolean
function Chat:is_busy()
  return self.request ~= nil
end

---Puts a question below the last heading, to be completed there.
---@param context string[] lines of Markdown
function Chat:prepare(context)
  self:forget_undone()
  local lines = compose(self:draft(), context)
  vim.list_extend(lines, { "", "" })
  self:set_draft(lines)
end

---Asks what is below the last heading, and what is given.
---@param question? string
---@param context? string[] lines of Markdown
---@return boolean asked
function Chat:ask(question, context)
  if self:is_busy() then
    chat.notify("an answer is on its way; :OpperStop ends it", "WARN")
    return false
  end
  local undone = self:forget_undone()
  local draft, given = self:draft(), compose(lines_of(question), context or {})
  if undone and #given > 0 and table.concat(draft, "\n") == undone then
    draft = {} -- a new question in the place of the one that was taken back
  end
  local lines = compose(draft, given)
  if #lines == 0 then
    chat.notify("nothing to send: write below the last heading", "WARN")
    return false
  end
  local own = self.page
  local row = own:where(self.prompt)
  local is_set = vim.deep_equal(lines, own:lines(row)) or self:set_draft(lines)
  local turn = {
    prompt = self.prompt, text = table.concat(lines, "\n"), pending = {}, tail = "",
    heading = answer_heading(), is_kept = false,
  }
  own:begin_step()
  own:go_to_end()
  for _, window in ipairs(vim.fn.win_findbuf(own.buffer)) do
    if window == api.nvim_get_current_win() or window == self.shown then
      api.nvim_win_set_cursor(window, { own:ending() + 1, 0 })
    end
  end
  if not (is_set and own:write("\n\n" .. turn.heading .. "\n\n")) then
    chat.notify("the buffer cannot be changed now", "WARN")
    return false
  end
  self.turns[#self.turns + 1] = turn
  turn.step = undo.step(own.buffer)
  turn.note = own:mark(own:where(own.place) - 2, 0, false)
  self.status = ""
  self:set_status("waiting")
  self:start(turn)
  return true
end

---Ends the answer that is on its way; what has arrived of it stays.
---@return boolean stopped
function Chat:stop()
  if not self.request then
    return false
  end
  self.request:cancel()
  return true
end

-- ---------------------------------------------------------------------------
-- All of them
-- ---------------------------------------------------------------------------

function Chat:close()
  self.is_closed = true
  chats[self.page.buffer] = nil
  if current == self then
    current = nil
  end
  self:stop()
  if self.conversation then
    -- lets go of its journal
    self.conversation:close()
  end
end

local function set_keys(self)
  local keys = config.current.buffer_keymaps or {}
  local function map(key, what, fn)
    if key then
      vim.keymap.set("n", key, fn, { buffer = self.page.buffer, desc = "Opper: " .. what })
    end
  end
  map(keys.send, "send what is below the last heading", function()
    chat.guard(self.ask, self)
  end)
  map(keys.stop, "end the answer", function()
    self:stop()
  end)
end

local function watch(self)
  local function on(event, callback)
    api.nvim_create_autocmd(event, { buffer = self.page.buffer, callback = callback })
  end
  on("BufEnter", function()
    current = self
  end)
  on("TextChanged", function()
    self:annotate()
  end)
  on("BufUnload", function()
    self:close()
  end)
end

-- A conversation with these lines in its buffer, the last of which is the
-- beginning of the next question.
local function new(lines)
  define_highlights()
  count = count + 1
  local self = setmetatable({
    number = count, page = page.new(count, lines), turns = {}, status = "", is_closed = false,
  }, Chat)
  self.prompt = self.page:mark(#lines - 1, 0, false)
  chats[self.page.buffer], current = self, self
  set_keys(self)
  watch(self)
  return self
end

---Begins a conversation.
---@return opperchat.nvim.Chat
function chat.new()
  return new({ QUESTION, "", "" })
end

-- The text of a message; what is no text is named.
local function text_of(content)
  if type(content) == "string" then
    return content
  end
  local parts = {}
  for _, part in ipairs(type(content) == "table" and content or {}) do
    parts[#parts + 1] = part.text or "*(" .. tostring(part.type) .. ")*"
  end
  return table.concat(parts, "\n\n")
end

---Goes on with a conversation out of a journal.
---@param path string
---@return opperchat.nvim.Chat
function chat.resume(path)
  local reader = setmetatable({}, Chat)
  reader:converse(path)
  local lines = {}
  local model = answer_heading()
  for _, message in ipairs(reader.conversation:messages()) do
    local text = text_of(message.content)
    if (message.role == "user" or message.role == "assistant") and text ~= "" then
      vim.list_extend(lines, { message.role == "user" and QUESTION or model, "" })
      vim.list_extend(lines, vim.split(text:gsub("\r\n?", "\n"), "\n", { plain = true }))
      lines[#lines + 1] = ""
    end
  end
  local self = new(vim.list_extend(lines, { QUESTION, "", "" }))
  self.conversation = reader.conversation
  return self
end

---The conversation of a buffer; without one, that which was used last.
---@param buffer? integer
---@return opperchat.nvim.Chat?
function chat.get(buffer)
  return chats[buffer or api.nvim_get_current_buf()] or not buffer and current or nil
end

---All conversations there are.
---@return opperchat.nvim.Chat[]
function chat.all()
  return vim.tbl_values(chats)
end

---Calls a function; what it raises is shown.
---@return boolean worked
---@return any result
function chat.guard(fn, ...)
  local worked, result = pcall(fn, ...)
  if not worked then
    chat.notify(without_place(result))
  end
  return worked, result
end

return chat
