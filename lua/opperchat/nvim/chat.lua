---A conversation and its buffer.
---
---The buffer is a list of questions and answers under headings. The last
---heading is the user's: what stands below it is the next question.
local config = require "opperchat.nvim.config"
local markdown = require "opperchat.nvim.markdown"
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
---@field is_over? boolean whether nothing more arrives
---@field is_kept boolean whether it has become a part of the conversation
---@field remark? string what is to be said below the answer
---@field ending? integer the step to undo that the next question's heading is

---@class opperchat.nvim.Chat
---@field number integer
---@field page opperchat.nvim.Page
---@field conversation? opperchat.Conversation made by the first question
---@field turns opperchat.nvim.Turn[]
---@field prompt integer mark where the next question begins, below its heading
---@field first integer mark above which no question of ours begins
---@field request? opperchat.Request
---@field status string what `status()` says
---@field is_closed boolean
---@field keys string[] mapped in the buffer
---@field group integer of its autocommands
---@field journal? string path of the file it is kept in
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
  vim.fn.mkdir(folder, "p", 448) -- 0700: the files are for nobody else either
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
  self.conversation, self.journal = conversation, options.journal
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

-- The end of a code block that an answer ends in.
function Chat:closing_fence(turn)
  local own = self.page
  local last, column = own:where(own.place)
  local open = markdown.open_fence(own:lines(own:where(turn.note) + 1, last + 1))
  return open and (column > 0 and "\n" or "") .. open or ""
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

-- Writes the heading of the next question where the answer ends.
function Chat:write_heading()
  local own = self.page
  if not own:write(own:gap() .. QUESTION .. "\n\n") then
    return false
  end
  self.prompt = own:mark(own:where(own.place) - 1, 0, false)
  return true
end

-- Writes what belongs below an answer: the rest of it, a remark, and the heading
-- of the next question. False when the buffer cannot be changed now.
function Chat:conclude(turn)
  local own = self.page
  if not self:flush(turn, true) then
    return false
  end
  local fence = self:closing_fence(turn)
  if fence ~= "" then
    own:write(fence)
  end
  if turn.remark then
    own:write(own:gap() .. turn.remark)
  end
  if not self:write_heading() then
    return false
  end
  turn.ending = undo.step(own.buffer)
  return true
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
  local text, status = remark(turn, reply, err)
  turn.remark = text
  local is_undone = self:is_undone(turn)
  if is_undone then
    -- should it be redone, the next question comes with the rest
    self:set_status("")
  else
    self:conclude(turn)
    self:set_status(status)
  end
  if err and err.kind ~= "cancelled" and not is_undone then
    chat.notify(err)
  end
  api.nvim_exec_autocmds("User", { pattern = "OpperDone", modeline = false })
end

-- What was raised about the options, in the place of an error of a request: no
-- server has said it.
local function mistake(problem)
  local text = tostring(without_place(problem))
  return setmetatable({ kind = "misuse" }, {
    __tostring = function()
      return text
    end,
  })
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
    err = type(request) == "table" and request or mistake(request)
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

-- Where the next question begins, right below its heading; nil when there is no
-- heading and the buffer cannot be changed now. Undo takes the end of an answer
-- away; redo puts the text back, and the mark stays where undo has left it.
function Chat:question_row()
  local own, turn = self.page, self.turns[#self.turns]
  local is_open = turn and (not turn.ending or undo.undone(own.buffer)[turn.ending])
  if is_open and not self:conclude(turn) then
    return nil
  end
  local row = own:where(self.prompt)
  local first = turn and own:where(turn.note) + 1 or own:where(self.first)
  if row > first and own:lines(row - 1, row)[1] == QUESTION then
    return row
  end
  local index = markdown.find_last(own:lines(first), QUESTION)
  if not index and row >= first then
    return row -- the user has changed the heading
  elseif not index then
    own:go_to_end()
    return self:write_heading() and own:where(self.prompt) or nil
  end
  row = first + index
  local last, column = own:ending()
  if row > last and not own:replace(last, column, last, column, { "", "" }) then
    return nil
  end
  self.prompt = own:mark(row, 0, false)
  return row
end

-- What the user has written below the last heading.
function Chat:draft()
  local row = self:question_row()
  return row and markdown.trim(self.page:lines(row))
end

-- Puts lines below the last heading, in the place of what is there.
function Chat:set_draft(lines)
  local row = self.page:where(self.prompt)
  local last, column = self.page:ending()
  self.page:begin_step()
  return self.page:replace(row, 0, last, column, vim.list_extend({ "" }, lines))
end

-- Whether the lines are what stands below the last heading.
function Chat:is_draft(lines)
  local there = self.page:lines((self.page:where(self.prompt)))
  if there[1] == "" then
    table.remove(there, 1)
  end
  return vim.deep_equal(lines, there)
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
  return markdown.trim(vim.split((question or ""):gsub("\r\n?", "\n"), "\n", { plain = true }))
end

---Whether an answer is on its way.
---@return boolean
function Chat:is_busy()
  local turn = self.turns[#self.turns]
  return turn ~= nil and not turn.is_over
end

-- Whether a question can be written now; says why not.
function Chat:is_ready()
  if self.is_closed then
    chat.notify("this conversation is closed; :Opper begins another", "WARN")
  elseif self:is_busy() then
    chat.notify("an answer is on its way; :OpperStop ends it", "WARN")
  else
    return true
  end
  return false
end

local function refused()
  chat.notify("the buffer cannot be changed now", "WARN")
  return false
end

---Puts a question below the last heading, to be completed there.
---@param context string[] lines of Markdown
---@return boolean worked
function Chat:prepare(context)
  if not self:is_ready() then
    return false
  end
  self:forget_undone()
  local draft = self:draft()
  if not draft then
    return refused()
  end
  local lines = compose(draft, context)
  vim.list_extend(lines, { "", "" })
  return self:set_draft(lines) or refused()
end

---Asks what is below the last heading, and what is given.
---@param question? string
---@param context? string[] lines of Markdown
---@return boolean asked
function Chat:ask(question, context)
  if not self:is_ready() then
    return false
  end
  local undone = self:forget_undone()
  local draft, given = self:draft(), compose(lines_of(question), context or {})
  if not draft then
    return refused()
  end
  if undone and #given > 0 and table.concat(draft, "\n") == undone then
    draft = {} -- a new question in the place of the one that was taken back
  end
  local lines = compose(draft, given)
  if #lines == 0 then
    chat.notify("nothing to send: write below the last heading", "WARN")
    return false
  end
  local own = self.page
  local is_set = self:is_draft(lines) or self:set_draft(lines)
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
    return refused()
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
  -- the buffer may go on without us
  pcall(api.nvim_del_augroup_by_id, self.group)
  for _, key in ipairs(self.keys) do
    pcall(vim.keymap.del, "n", key, { buffer = self.page.buffer })
  end
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
      self.keys[#self.keys + 1] = key
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
  self.group = api.nvim_create_augroup("opperchat" .. self.number, {})
  local function on(event, callback)
    api.nvim_create_autocmd(event, {
      group = self.group, buffer = self.page.buffer, callback = callback,
    })
  end
  on("BufEnter", function()
    if not self.is_closed then
      current = self
    end
  end)
  on("TextChanged", function()
    self:annotate()
  end)
  on("BufUnload", function()
    self:close()
  end)
end

-- A conversation with these lines in its buffer, the last of which are
-- the heading of the next question and two that are empty.
local function new(lines)
  define_highlights()
  count = count + 1
  local own, problem = page.new(count, lines)
  if problem then
    chat.notify(problem, "WARN")
  end
  local self = setmetatable({
    number = count, page = own, turns = {}, keys = {}, status = "", is_closed = false,
  }, Chat)
  self.first = self.page:mark(#lines - 3, 0, false)
  self.prompt = self.page:mark(#lines - 2, 0, false)
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

-- The conversation that is kept in a file, if it is open in this Neovim.
local function find_open(path)
  local real = (vim.uv or vim.loop).fs_realpath
  local wanted = real(path)
  for _, each in pairs(chats) do
    if each.journal and wanted and real(each.journal) == wanted then
      return each
    end
  end
end

---Goes on with a conversation out of a journal. One that is open already is
---the one that is returned.
---@param path string
---@return opperchat.nvim.Chat
function chat.resume(path)
  local open = find_open(path)
  if open then
    return open
  end
  local reader = setmetatable({}, Chat)
  local worked, problem = pcall(reader.converse, reader, path)
  if not worked and type(problem) == "table" and problem.code == "locked" then
    error(("the conversation '%s' is open in another program"):format(
      vim.fn.fnamemodify(path, ":t:r")), 0)
  elseif not worked then
    error(problem, 0)
  end
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
  self.conversation, self.journal = reader.conversation, reader.journal
  return self
end

---The conversation of a buffer; without one, that which was used last.
---@param buffer? integer
---@return opperchat.nvim.Chat?
function chat.get(buffer)
  local self = chats[buffer or api.nvim_get_current_buf()] or not buffer and current or nil
  return self and not self.is_closed and self or nil
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
