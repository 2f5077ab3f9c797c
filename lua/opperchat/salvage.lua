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
    if type(event.splice) ~= "table" then
      return nil
    end
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
---@field torn? {line: integer, bytes: integer} a last line that was cut off
---@field report opperchat.HistoryRepair[] what was mended

-- The numbers in what a line says of usage.
local function usage_of(given)
  if type(given) ~= "table" then
    return nil
  end
  local usage = {}
  for name, value in pairs(given) do
    if type(name) == "string" and type(value) == "number" then
      usage[name] = value
    end
  end
  return usage
end

---Reads the text of a file.
---@param text string
---@return opperchat.Salvaged? salvaged nil: it is broken in another way
function salvage.read(text)
  local result = { events = 0, flags = {} }
  local list, number = {}, 0
  for line, ending in text:gmatch("([^\n]*)(\n?)") do
    number = number + 1
    local event = json.decode(line)
    if ending == "" and type(event) ~= "table" then
      -- the last one: cut off, or nothing behind the last newline
      result.torn = line ~= "" and { line = number, bytes = #line } or nil
      break
    elseif type(event) ~= "table" then
      if line:find("%S") then
        return nil
      end
    elseif not result.header then
      result.header = event
    else
      list = apply(list, event, result.flags)
      if not list then
        return nil
      end
      result.events = result.events + 1
      result.usage = usage_of(event.usage) or result.usage
      result.options = event.options or result.options
    end
  end
  if not result.header or result.header.opperchat ~= 1 then
    return nil
  end
  result.messages, result.report = history.repair(list)
  return result.report[1] and result or nil
end

return salvage
