---What a message has to be, for whoever checks a list of messages or mends one.
---
---Metatables are not looked at: fields are what the table itself has. null and
---absent are the same here.
local content = require "opperchat.content"
local core = require "opperchat.core"
local json = require "opperchat.json"

-- Not `next` by name in a loop: see json.lua.
local step = next

local rules = {}

---The calls that one message may make (the core's own limit).
rules.MAX_CALLS = 1024

local ROLES = { assistant = true, developer = true, system = true, tool = true, user = true }

---A field of a table; nil for null.
---@param from table
---@param name string
---@return any
function rules.field(from, name)
  local value = rawget(from, name)
  if json.is_null(value) then
    return nil
  end
  return value
end

---The role of an entry of a list; nil when it has none that is known.
---@param entry any
---@return string?
function rules.role(entry)
  local role = type(entry) == "table" and rawget(entry, "role")
  return type(role) == "string" and ROLES[role] and role or nil
end

---The positions at which a list holds something, in order. A decoded list has
---holes where there was null.
---@param list table
---@return integer[]
function rules.indices(list)
  local count, highest, found = 0, 0, {}
  for key in step, list do
    if type(key) == "number" and key >= 1 and key % 1 == 0 then
      count = count + 1
      highest = math.max(highest, key)
      found[count] = key
    end
  end
  if count == highest then
    for i = 1, count do
      found[i] = i
    end
  else
    table.sort(found)
  end
  return found
end

---Whether a table has nothing but items.
---@param list table
---@return boolean
function rules.is_list(list)
  for key in step, list do
    if type(key) ~= "number" or key < 1 or key % 1 ~= 0 then
      return false
    end
  end
  return true
end

---Goes over a list of messages, holes included: a hole of any length counts
---once, as nil.
---@param list table
---@param visit fun(index: integer, entry: any)
function rules.each(list, visit)
  local previous = 0
  for _, index in ipairs(rules.indices(list)) do
    if index > previous + 1 then
      visit(previous + 1, nil)
    end
    visit(index, rawget(list, index))
    previous = index
  end
end

---A value for the text of a problem: its type, and null by its name.
---@param value any
---@return string
function rules.type_name(value)
  return json.is_null(value) and "null" or type(value)
end

local type_name = rules.type_name

---Whether a value can be content as it stands: a string, or a list of parts.
---@param value any
---@return boolean
---@return string? problem
function rules.check_content(value)
  if type(value) == "string" and core.quote(value) then
    return true
  elseif type(value) == "table" then
    if type(rawget(value, "type")) == "string" then
      return false, "content: string or list of parts expected, got a single part"
    end
    for i, part in ipairs(rules.indices(value)) do
      if type(rawget(value, part)) == "string" then
        return false, ("content[%d]: part expected, got string"):format(i)
      end
    end
  end
  local called, written, problem = pcall(content.encode, value, "content")
  if called and written then
    return true
  end
  return false, called and problem or tostring(written)
end

---Whether a message can have this field.
---@param name any
---@param value any
---@param around? integer how many tables there are around the field's own, 0
---@return boolean
---@return string? problem
function rules.check_field(name, value, around)
  if type(name) ~= "string" then
    return false, "fields have names, got a " .. type(name)
  elseif core.quote(name) and (type(value) == "boolean"
      or type(value) == "string" and core.quote(value)) then
    return true
  end
  local given = { [name] = value }
  for _ = 1, around or 0 do
    given = { given }
  end
  local written, problem = pcall(json.encode, given)
  if written then
    return true
  end
  return false, problem
end

---Whether a message's field has to be looked at by `check_field`; the others
---have rules of their own.
---@param name any
---@return boolean
function rules.is_plain_field(name)
  return name ~= "role" and name ~= "content"
end

---What is wrong with the id of a call or a result.
---@param id any
---@return string? code "no_call_id", "bad_call_id"
---@return string? problem
function rules.check_id(id)
  if type(id) == "string" and id ~= "" then
    return nil
  elseif id == nil or id == "" or json.is_null(id) then
    return "no_call_id", id == "" and "an empty id" or "no id"
  end
  return "bad_call_id", "an id that is a " .. type_name(id)
end

---What is wrong with a tool call, but for its id.
---@param call table
---@return string? code "no_call_name", "bad_arguments"
---@return string? problem
function rules.check_call(call)
  local called, kind = rules.field(call, "function"), rules.field(call, "type")
  if type(called) ~= "table" then
    if type(kind) == "string" and kind ~= "function" then
      return nil        -- another kind of tool, and the server's business
    end
    return "no_call_name", "no function"
  end
  local name, arguments = rawget(called, "name"), rawget(called, "arguments")
  if type(name) ~= "string" or name == "" then
    return "no_call_name", "no function name"
  elseif type(arguments) ~= "string" then
    return "bad_arguments", "arguments: string expected, got " .. type_name(arguments)
  end
end

return rules
