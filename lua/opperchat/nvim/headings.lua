---The headings in the buffer of a conversation.
local config = require "opperchat.nvim.config"

local headings = {
  QUESTION = "## You",
}

---The line above an answer.
---@return string
function headings.answer()
  return "## " .. ((config.current.conversation or {}).model or config.current.model)
end

return headings
