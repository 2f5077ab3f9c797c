---The conversation behind a buffer, made of the plugin's options.
local config = require "opperchat.nvim.config"

local conversation = {}

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

---Begins a conversation, or goes on with the one in a file. Raises.
---@param path? string of a journal
---@return opperchat.Conversation
---@return string? journal path of the file it is kept in
function conversation.open(path)
  local opperchat = require "opperchat"
  require("opperchat.loop.nvim").attach()
  local options = options_of(opperchat)
  local opened, err
  if path then
    options.journal, options.system = path, nil
    opened, err = opperchat.load(path, options)
  else
    local folder = config.journal_folder()
    options.journal = folder and new_journal(folder) or nil
    opened, err = opperchat.conversation(options)
  end
  if not opened then
    error(err, 0)
  end
  return opened, options.journal
end

return conversation
