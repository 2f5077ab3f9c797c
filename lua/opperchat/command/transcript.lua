---A chat as a text to read.
local chats = require "opperchat.command.chats"

local transcript = {}

local TITLES = { user = "You", assistant = "Model", system = "System", developer = "System",
  tool = "Tool" }

---A chat in Markdown.
---@param chat opperchat.Conversation
---@return string
function transcript.markdown(chat)
  local parts = {}
  for at = 1, #chat do
    local message = chat:messages(at, at)[1]
    local text = chats.text_of(message)
    for _, call in ipairs(message.tool_calls or {}) do
      local fn = call["function"] or {}
      text = text .. ("\n`%s(%s)`"):format(tostring(fn.name), tostring(fn.arguments))
    end
    parts[#parts + 1] = ("## %s\n\n%s\n"):format(TITLES[message.role] or message.role,
      (text:gsub("^%s+", ""):gsub("%s+$", "")))
  end
  return table.concat(parts, "\n")
end

return transcript
