---One message: from what a program gives to the JSON text that is kept.
local core = require "opperchat.core"
local json = require "opperchat.json"
local lazy = require "opperchat.lazy"
local options = require "opperchat.options"

local content = lazy.module "opperchat.content"

local message = {}

local ROLES = { "assistant", "developer", "system", "tool", "user" }

local is_role = {}
for _, role in ipairs(ROLES) do
  is_role[role] = true
end

---Checks a role.
---@param role any
---@return true? valid
---@return string? problem
function message.check_role(role)
  if type(role) ~= "string" then
    return nil, "role: string expected, got " .. type(role)
  elseif not is_role[role] then
    local near = options.nearest(role, ROLES)
    return nil, ("unknown role '%s' (%s)"):format(role:sub(1, 40):gsub("%c", "?"),
      near and "did you mean '" .. near .. "'?" or table.concat(ROLES, ", "))
  end
  return true
end

---Writes a message as JSON text.
---@param role string
---@param value any content: a string, a part, a list of both, null
---@param fields? table the message's other fields
---@return string|table[]|nil text pieces when there is media in it: see `content.join`
---@return string? problem
function message.encode(role, value, fields)
  local valid, problem = message.check_role(role)
  if not valid then
    return nil, problem
  end
  local others = {}
  for name, field in pairs(fields or {}) do
    if type(name) ~= "string" then
      return nil, "fields have names, got " .. tostring(name)
    elseif name == "pinned" then
      if type(field) ~= "boolean" then
        return nil, "pinned: boolean expected, got " .. type(field)
      end
    elseif name ~= "role" and name ~= "content" then
      others[name] = field
    end
  end
  if value == nil then
    if role ~= "assistant" or others.tool_calls == nil then
      return nil, "content expected, got nil"
    end
    value = json.null
  end
  local text
  text, problem = content.encode(value, "content")
  if not text then
    return nil, problem
  end
  local rest = "}"
  if next(others) ~= nil then
    local written, fields_text = pcall(json.encode, others)
    if not written then
      return nil, fields_text
    end
    rest = "," .. fields_text:sub(2)
  end
  return content.join { '{"role":"' .. role .. '","content":', text, rest }
end

---Writes a message given as one table.
---@param given any
---@return string|table[]|nil text
---@return string? problem
function message.encode_table(given)
  if type(given) ~= "table" then
    return nil, "table expected, got " .. type(given)
  elseif given.role == nil then
    return nil, "a message needs a role"
  end
  return message.encode(given.role, given.content, given)
end

---What a message says of itself to policies. It is not part of its text.
---@param list opperchat.Conversation
---@param index integer
---@param given? table the message, or its other fields
function message.set_flags(list, index, given)
  if given and given.pinned then
    core.set_flag(list, index, "pinned", true)
  end
end

-- Names and bits of what policies have marked themselves.
local MARKS = { summary = 2, facts = 4 }

---The same of a message that stands for another one.
---@param list opperchat.Conversation
---@param index integer
---@param from opperchat.Conversation
---@param source? integer index in `from`; nil: it stands for none
function message.copy_marks(list, index, from, source)
  local flags = source and select(3, core.message_info(from, source)) or 0
  for name, bit in pairs(MARKS) do
    if flags % (2 * bit) >= bit then
      core.set_flag(list, index, name, true)
    end
  end
end

---Decodes a message of a list.
---@param list opperchat.Conversation
---@param index integer negative ones count from the end
---@return table?
function message.at(list, index)
  local text, _, flags = core.message_json(list, index)
  local decoded = text and json.decode(text)
  if decoded and flags % 2 == 1 then
    decoded.pinned = true
  end
  return decoded
end

---The text of an id that the core took out of a message as it stands there,
---with its escapes.
---@param raw string|integer?
---@return string
function message.id(raw)
  return json.decode('"' .. tostring(raw) .. '"') or tostring(raw)
end

---Says why the core refused a message.
---@param code string
---@param text string the code's own words
---@param detail? string|integer an id, or an offset
---@return string
function message.problem(code, text, detail)
  if code == "bad_utf8" then
    return ("content: not valid UTF-8 at byte %s"):format(tostring(detail))
  elseif code == "orphan_result" then
    return ("no open tool call with the id '%s'"):format(message.id(detail))
  elseif code == "open_call" then
    return ("the tool call '%s' has no result yet"):format(message.id(detail))
  end
  return text
end

return message
