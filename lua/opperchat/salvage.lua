---Salvage: a saved conversation whose lines can be read but whose list cannot be
---sent, because somebody has edited the file. What is left is mended.
local history = require "opperchat.history"
local json = require "opperchat.json"

local salvage = {}

local FLAGS = { "pinned", "summary", "facts" }

-- The messages of a line's two lists together, with their flags.
local function messages_of(event)
  local list, flags = {}, {}
  for _, name in ipairs { "with", "append" } do
    for _, message in ipairs(type(event[name]) == "table" and event[name] or {}) do
      list[#list + 1] = message
    end
  end
  for _, name in ipairs(FLAGS) do
    for _, at in ipairs(type(event[name]) == "table" and event[name] or {}) do
      if list[at] ~= nil then
        flags[list[at]] = flags[list[at]] or {}
        table.insert(flags[list[at]], name)
      end
    end
  end
  return list, flags
end

local function is_place(value)
  return type(value) == "number" and value % 1 == 0
end

-- Does to a plain list what a line says; nil: the line makes no sense.
local function apply(list, event, flags)
  local at, removed = #list + 1, 0
  if event.splice ~= nil then
    at, removed = event.splice[1], event.splice[2]
    if not is_place(at) or not is_place(removed) or at < 1 or removed < 0
        or at + removed > #list + 1 then
      return nil
    end
  end
  local messages, own_flags = messages_of(event)
  local result, with = {}, type(event.with) == "table" and #event.with or 0
  for i = 1, at - 1 do
    result[i] = list[i]
  end
  for i = 1, with do
    result[#result + 1] = messages[i]
  end
  for i = at + removed, #list do
    result[#result + 1] = list[i]
  end
  for i = with + 1, #messages do
    result[#result + 1] = messages[i]
  end
  for message, names in pairs(own_flags) do
    flags[message] = names
  end
  return result
end

---What was read.
---@class opperchat.Salvaged
---@field messages table[] a list that can be sent
---@field flags table<table, string[]> of messages in it
---@field header table
---@field options? table the last ones
---@field usage? table the last ones
---@field events integer
---@field report opperchat.HistoryRepair[] what was mended

---Reads the text of a file.
---@param text string
---@return opperchat.Salvaged? salvaged nil: it is broken in another way
function salvage.read(text)
  local result = { events = 0, flags = {} }
  local list = {}
  for line in text:gmatch("[^\n]+") do
    local event = json.decode(line)
    if type(event) ~= "table" then
      return nil
    elseif not result.header then
      result.header = event
    else
      list = apply(list, event, result.flags)
      if not list then
        return nil
      end
      result.events = result.events + 1
      result.usage, result.options = event.usage or result.usage, event.options or result.options
    end
  end
  if not result.header or result.header.opperchat ~= 1 then
    return nil
  end
  result.messages, result.report = history.repair(list)
  return result.report[1] and result or nil
end

return salvage
