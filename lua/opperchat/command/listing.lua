---Lists: chats, one chat, models.
local chats = require "opperchat.command.chats"
local opperchat = require "opperchat"
local output = require "opperchat.command.output"
local safe_text = require "opperchat.command.safe_text"
local terminal = require "opperchat.command.terminal"
local transcript = require "opperchat.command.transcript"
local usage = require "opperchat.command.usage"

local listing = {}

local FORMAT = "%-6s  %s  %-24s  "

-- A chat as one line.
local function row(file)
  local date = os.date("%Y-%m-%d %H:%M", math.floor(file.modified))
  local chat, err = opperchat.load(file.path)
  if not chat then
    return FORMAT:format(file.id, date, "-") .. "(" .. tostring(err.code) .. ")"
  elseif chats.turns(chat) == 0 then
    chat:close()
    return nil
  end
  local model = safe_text.cut(safe_text.line(chats.model(chat) or "-"), 24)
  local line = FORMAT:format(file.id, date, model) .. safe_text.line(chats.first_words(chat))
  chat:close()
  return line
end

---Prints the chats, the last used first.
---@param most? integer
---@return integer count
function listing.chats(most)
  local width = output.is_terminal() and terminal.width(terminal.STDOUT) or math.huge
  local count = 0
  for _, file in ipairs(chats.list()) do
    local line = not output.failed() and count < (most or math.huge) and row(file)
    if line then
      count = count + 1
      output.write(safe_text.cut(line, width) .. "\n")
    end
  end
  return count
end

---Prints what was said in a chat.
---@param file opperchat.command.ChatFile
---@return true? printed
---@return any problem
function listing.show(file)
  local chat, err = opperchat.load(file.path)
  if not chat then
    return nil, err
  end
  local text = transcript.markdown(chat)
  chat:close()
  output.write(output.is_terminal() and safe_text.whole(text) or text)
  return true
end

---Prints models: id, context window, dollars for a million tokens in and out.
---@param models opperchat.Model[]
function listing.models(models)
  table.sort(models, function(a, b) return a.id < b.id end)
  local width = 0
  for _, model in ipairs(models) do
    width = math.max(width, #model.id)
  end
  for _, model in ipairs(models) do
    local line = safe_text.line(model.id)
    local window = model.context_length and usage.grouped(model.context_length) or ""
    local price = model.price or {}
    if output.is_terminal() and (window ~= "" or price.prompt) then
      line = line .. (" "):rep(width - #model.id) .. ("  %10s tokens"):format(window)
      if price.prompt and price.completion then
        line = line .. ("  $%g in, $%g out"):format(price.prompt * 1e6, price.completion * 1e6)
      end
    end
    output.write(line .. "\n")
  end
end

return listing
