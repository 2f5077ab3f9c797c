---What there is of a conversation and its buffer. The methods that are not here
---are added by answer.lua, question.lua and chat.lua.
local undo = require "opperchat.nvim.undo"

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

local NOTES = { failed = "OpperError", stopped = "OpperNote" }

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

-- Whether the user has undone the answer.
function Chat:is_undone(turn)
  return turn.step ~= nil and undo.undone(self.page.buffer)[turn.step] == true
end

---Whether an answer is on its way.
---@return boolean
function Chat:is_busy()
  local turn = self.turns[#self.turns]
  return turn ~= nil and not turn.is_over
end

return Chat
