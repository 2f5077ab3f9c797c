--- Whether values are what lua/opperchat/types.lua says of them.
--
--   local annotations = require "spec.support.annotations"
--   assert.is_nil(annotations.find_problem(reply, "opperchat.Reply", "reply"))
--
-- Nothing here knows what there is: it reads annotations and looks at values.

local core = require "opperchat.core"
local types = dofile("docs/generator/types.lua")

local annotations = {}

local classes, by_name = types.read()

annotations.classes, annotations.by_name = classes, by_name

--- The alternatives of a type: "a|(b|c)[]" are "a" and "(b|c)[]".
---@param text string
---@param mark? string what stands between them ("|")
---@return string[]
function annotations.alternatives(text, mark)
  local result, depth, from, quoted = {}, 0, 1, false
  for at = 1, #text do
    local char = text:sub(at, at)
    if char == "\"" then
      quoted = not quoted
    elseif not quoted and char:find("[(<{%[]") then
      depth = depth + 1
    elseif not quoted and char:find("[)>}%]]") then
      depth = depth - 1
    elseif not quoted and char == (mark or "|") and depth == 0 then
      result[#result + 1], from = text:sub(from, at - 1), at + 1
    end
  end
  result[#result + 1] = text:sub(from)
  return result
end

-- What is behind a function's parameters belongs to it: "fun(a: b): c|d" is one
-- type, and ends the list of alternatives.
local function alternatives_of(text)
  local list = annotations.alternatives(text)
  for i, one in ipairs(list) do
    if one:find("^fun%(.*%)%s*:") then
      list[i] = table.concat(list, "|", i)
      for at = #list, i + 1, -1 do
        list[at] = nil
      end
    end
  end
  return list
end

--- The same, with the values of aliases in the place of their names, and nil of
--- what is optional.
---@param text string
---@return string[]
function annotations.expand(text)
  local result = {}
  for _, one in ipairs(alternatives_of(text)) do
    if not one:find("^fun%(") and one:find("%?$") then
      one, result[#result + 1] = one:sub(1, -2), "nil"
    end
    local class = by_name[one]
    if class and class.values then
      for _, value in ipairs(class.values) do
        for _, more in ipairs(annotations.expand(value)) do
          result[#result + 1] = more
        end
      end
    else
      result[#result + 1] = one
    end
  end
  return result
end

--- What a type "fun(a: b, c?: d): e, f?" says.
---@param text string
---@return { name: string, type: string }[] params
---@return string[] results types
function annotations.signature(text)
  local inside, rest = text:match("^fun(%b())(.*)$")
  local params, results = {}, {}
  for _, one in ipairs(annotations.alternatives(inside:sub(2, -2), ",")) do
    local name, mark, of = one:match("^%s*([%w_.]+)(%??):%s*(.+)$")
    if name then
      params[#params + 1] = { name = name, type = of .. mark }
    end
  end
  for _, one in ipairs(rest ~= "" and annotations.alternatives(rest:match("^:%s*(.*)$"), ",")
    or {}) do
    results[#results + 1] = one:match("^%s*(.-)%s*$")
  end
  return params, results
end

--- The public names in a table, sorted.
---@param set table<any, any>
---@return string[]
function annotations.names_in(set)
  local names = {}
  for name in pairs(set) do
    if type(name) == "string" and not name:find("^_") then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  return names
end

-- ---------------------------------------------------------------------------
-- Whether a value is what its annotation says
-- ---------------------------------------------------------------------------

local find_problem

-- Objects have fields of their own that nobody is told of.
local function is_object(value, class)
  local mt = getmetatable(value)
  local name = type(mt) == "table" and mt.__name or mt
  return name == class.name
end

local function has_fields(value, text, place)
  local known = types.members(by_name, text)
  local is_closed = not by_name[text].functions[1]
  for name, item in pairs(value) do
    local entry = known[name]
    local is_private = type(name) == "string" and name:find("^_")
    if not entry and not known["[string]"] and is_closed and not is_private then
      return false, place .. "." .. tostring(name) .. ": not annotated"
    elseif entry and entry.type then
      local problem = find_problem(item, entry.type, place .. "." .. name)
      if problem then
        return false, problem
      end
    end
  end
  for name, entry in pairs(known) do
    if entry.type and entry.type ~= "any" and not entry.is_optional and name:find("^[%l_]+$")
        and value[name] == nil then
      return false, place .. "." .. name .. ": is always there, it is said"
    end
  end
  return true
end

local function is_list(value, of, place)
  if type(value) ~= "table" then
    return false
  end
  local count = 0
  for _ in pairs(value) do
    count = count + 1
  end
  for i, item in ipairs(value) do
    count = count - 1
    local problem = find_problem(item, of, place .. "[" .. i .. "]")
    if problem then
      return false, problem
    end
  end
  -- the turns of a draft begin with 0
  return count == 0 or count == 1 and value[0] ~= nil and not find_problem(value[0], of, place)
end

local function is_map(value, text, place)
  if type(value) ~= "table" then
    return false
  end
  local of = annotations.alternatives(text:match("^table<(.*)>$"), ",")
  for key, item in pairs(value) do
    local problem = find_problem(key, of[1], place .. ": key")
      or find_problem(item, of[2]:match("^%s*(.*)$"), place .. "." .. tostring(key))
    if problem then
      return false, problem
    end
  end
  return true
end

local function is_one(value, text, place)
  if text:find("^fun%(") then
    return type(value) == "function"
  elseif text:find("%?$") then
    return value == nil or is_one(value, text:sub(1, -2), place)
  elseif text:find("%[%]$") then
    return is_list(value, (text:sub(1, -3):gsub("^%((.*)%)$", "%1")), place)
  elseif text:find("^table<") then
    return is_map(value, text, place)
  elseif text:find("^\"") then
    return "\"" .. tostring(value) .. "\"" == text
  elseif text:find("^%d+$") then
    return value == tonumber(text)
  elseif text == "integer" then
    return type(value) == "number" and value % 1 == 0
  elseif text == "any" then
    return true
  elseif text == "true" or text == "false" then
    return tostring(value) == text
  end
  local class = by_name[text]
  if not class then
    return type(value) == text
  elseif class.values then
    for _, one in ipairs(class.values) do
      if not find_problem(value, one, place) then
        return true
      end
    end
    return false
  elseif type(value) == "userdata" then
    return "opperchat." .. (core.kind(value) or "") == text:lower()
  elseif type(value) ~= "table" then
    return false
  elseif is_object(value, class) then
    return not class.fields[1] or has_fields(value, text, place)
  elseif not class.fields[1] and #class.parents == 0 then
    return false
  end
  return has_fields(value, text, place)
end

--- Why a value is not what a type says; nil: it is.
---@param value any
---@param text string the type
---@param place string what to call the value
---@return string?
function find_problem(value, text, place)
  local found
  for _, one in ipairs(alternatives_of(text)) do
    local fits, problem = is_one(value, one, place)
    if fits then
      return nil
    end
    found = problem or found
  end
  return found or ("%s: %s expected, got %s"):format(place, text, type(value))
end

annotations.find_problem = find_problem

-- ---------------------------------------------------------------------------
-- Defaults
-- ---------------------------------------------------------------------------

local UNITS = { MiB = 1024 * 1024, KiB = 1024 }

--- The default that a description says: the last thing in it in round brackets.
---@param text string
---@return boolean is_said
---@return any value nil: there is none, "(none)" or "(no limit)"
function annotations.default(text)
  local found, value = false, nil
  for inside in text:gmatch("%(([^()]*)%)") do
    local number, unit = inside:match("^(%-?[%d.]+) ?(%a*)$")
    if number and (unit == "" or UNITS[unit]) then
      found, value = true, tonumber(number) * (UNITS[unit] or 1)
    elseif inside == "true" or inside == "false" then
      found, value = true, inside == "true"
    elseif inside:find("^\".*\"$") or inside:find("^<.*>$") then
      found, value = true, (inside:gsub("\"", ""))
    elseif inside == "none" or inside == "no limit" then
      found, value = true, nil
    end
  end
  return found, value
end

return annotations
