---Conversations in Neovim: the functions of the plugin. It works without
---`setup`; what it needs is loaded when it is first used.
---
---    require("opperchat.nvim").setup{ model = "openai/gpt-5-mini" }
---
---See :help opperchat.
package.preload["opperchat.core"] = package.preload["opperchat.core"] or function()
  return require("opperchat.nvim.build").load()
end

local nvim = {}

-- Keys of the last setup: { mode, key }.
local mapped = {}

local function map(mode, key, command, description)
  if key then
    vim.keymap.set(mode, key, command, { desc = "Opper: " .. description })
    mapped[#mapped + 1] = { mode, key }
  end
end

local function set_keys(keys)
  for _, each in ipairs(mapped) do
    pcall(vim.keymap.del, each[1], each[2])
  end
  mapped = {}
  if keys then
    map({ "n", "x" }, keys.ask, ":Opper ", "ask")
    map({ "n", "x" }, keys.new, ":Opper! ", "ask in a new conversation")
    map("n", keys.stop, "<Cmd>OpperStop<CR>", "end the answer")
  end
end

---Sets options. What is not given has its default. Not needed.
---@param options? opperchat.nvim.Options
function nvim.setup(options)
  local config = require "opperchat.nvim.config"
  local resolved, problem = config.resolve(options)
  if not resolved then
    error("opperchat.nvim.setup: " .. problem, 2)
  end
  config.current = resolved
  set_keys(resolved.keymaps)
end

---Asks a question as :Opper does, or without one shows a conversation.
---@param question? string
---@param options? opperchat.nvim.AskOptions
---@return boolean asked
function nvim.ask(question, options)
  return require("opperchat.nvim.commands").question(question, options)
end

---Ends the answer that is on its way; what has arrived of it stays.
---@param all? boolean those of all conversations
---@return boolean stopped
function nvim.stop(all)
  return require("opperchat.nvim.commands").stop{ bang = all == true }
end

-- Only what is loaded already: a status line must not load it.
local function chat_of(buffer)
  local chat = package.loaded["opperchat.nvim.chat"]
  return chat and chat.get(buffer)
end

---What a status line may show: "waiting", "thinking", "answering", "stopped",
---"failed", or how long the last answer took and what it cost; "" before the
---first question.
---@param buffer? integer of a conversation; nil: the current one, or that used last
---@return string
function nvim.status(buffer)
  local self = chat_of(buffer)
  return self and self.status or ""
end

---The conversation behind a buffer, to read its messages or its usage.
---@param buffer? integer nil: the current one, or that used last
---@return opperchat.Conversation? conversation nil before the first question
function nvim.conversation(buffer)
  local self = chat_of(buffer)
  return self and self.conversation
end

return nvim
