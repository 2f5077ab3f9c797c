---Conversations and their buffers: all that there are.
---
---The buffer is a list of questions and answers under headings. The last
---heading is the user's: what stands below it is the next question.
local Chat = require "opperchat.nvim.chat_class"
local config = require "opperchat.nvim.config"
local conversation = require "opperchat.nvim.conversation"
local headings = require "opperchat.nvim.headings"
local notify = require "opperchat.nvim.notify"
local page = require "opperchat.nvim.page"

-- their methods
require "opperchat.nvim.answer"
require "opperchat.nvim.question"

local api = vim.api

local chat = {
  notify = notify.show,
  guard = notify.guard,
}

---@type table<integer, opperchat.nvim.Chat> by buffer
local chats = {}

---@type opperchat.nvim.Chat?
local current

local count = 0

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
    notify.guard(self.ask, self)
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

local function define_highlights()
  api.nvim_set_hl(0, "OpperNote", { default = true, link = "Comment" })
  api.nvim_set_hl(0, "OpperError", { default = true, link = "ErrorMsg" })
end

-- A conversation with these lines in its buffer, the last of which are
-- the heading of the next question and two that are empty.
local function new(lines)
  define_highlights()
  count = count + 1
  local own, problem = page.new(count, lines)
  if problem then
    notify.show(problem, "WARN")
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
  return new({ headings.QUESTION, "", "" })
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
  local worked, result, journal = pcall(conversation.open, path)
  if not worked and type(result) == "table" and result.code == "locked" then
    error(("the conversation '%s' is open in another program"):format(
      vim.fn.fnamemodify(path, ":t:r")), 0)
  elseif not worked then
    error(result, 0)
  end
  local lines = {}
  local model = headings.answer()
  for _, message in ipairs(result:messages()) do
    local text = text_of(message.content)
    if (message.role == "user" or message.role == "assistant") and text ~= "" then
      vim.list_extend(lines, { message.role == "user" and headings.QUESTION or model, "" })
      vim.list_extend(lines, vim.split(text:gsub("\r\n?", "\n"), "\n", { plain = true }))
      lines[#lines + 1] = ""
    end
  end
  local self = new(vim.list_extend(lines, { headings.QUESTION, "", "" }))
  self.conversation, self.journal = result, journal
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

return chat
