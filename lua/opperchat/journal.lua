---The journal of a conversation: each change of its list is a line of a file
---before anybody is told of it, and a change that cannot be written is undone.
local core = require "opperchat.core"
local errors = require "opperchat.errors"
local lazy = require "opperchat.lazy"

local store = lazy.module "opperchat.store"

local journal = {}

---What a conversation knows of its journal.
---@class opperchat.JournalState
---@field file userdata
---@field path string
---@field sync boolean whether each line waits for the disk
---@field options table what the file says they are

---To be called before a change.
---@param chat opperchat.Conversation
---@param state? table of it
---@return opperchat.Conversation? before its list as it is; nil: there is no journal
function journal.before(chat, state)
  state = state or core.open(chat, "conversation")
  return state.journal and core.fork(chat) or nil
end

-- The list between a policy's edit and the turn that came behind it.
local function edited_of(prepared)
  if not prepared or not prepared.steps[1] then
    return nil
  end
  local edited = core.fork(prepared.list)
  core.cut(edited, #edited - prepared.prompts)
  return edited
end

---To be called after a change: has it written down, or takes it back.
---@param chat opperchat.Conversation
---@param before? opperchat.Conversation what `before` returned
---@param prepared? opperchat.Prepared what a policy did before the turn
---@return opperchat.Conversation? chat
---@return opperchat.Error? err of kind `store`; the list is as it was before
function journal.after(chat, before, prepared)
  local state = core.state(chat)
  local own = state.journal
  if not before or not own then
    return chat
  end
  local extra = { usage = state.usage }
  if own.options ~= state.options then
    extra.options = state.options
  end
  local edited = edited_of(prepared)
  local worked, written, err = pcall(store.write, own.file, before, edited, chat, extra, own.sync)
  if not worked then
    written, err = nil, errors.new("store", "write_failed", own.path .. ": " .. tostring(written))
  end
  if not written then
    core.adopt(chat, before)
    return nil, err
  end
  own.options = state.options
  return chat
end

---Closes the file, so that others may have it.
---@param chat opperchat.Conversation open or closed
function journal.close(chat)
  local own = core.state(chat).journal
  if own then
    core.state(chat).journal = nil
    store.close(own.file)
  end
end

return journal
