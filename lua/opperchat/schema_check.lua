---The check of a decoded value against a JSON Schema, and how values and the
---places of them are named in messages.
---
---Nothing here raises for what a model got wrong: it comes back as
---`nil, message, path`.
local json = require "opperchat.json"
local options = require "opperchat.options"

-- Not `next` by name in a loop: see json.lua.
local getmetatable, ipairs, iterate, type = getmetatable, ipairs, next, type

local schema_check = {}

-- As deep as JSON texts are read.
local MAX_DEPTH = 512

-- $ref after $ref without a step into the value: a schema that is only itself.
local MAX_REFS = 32

-- Alternatives inside alternatives take as many steps as there are
-- combinations of them.
local MAX_STEPS = 1000000

-- A failure is dearer than a step: its message is made, and the path.
local STEPS_OF_FAILURE = 20

-- ---------------------------------------------------------------------------
-- Tables
-- ---------------------------------------------------------------------------

local function is_null(value)
  return value == nil or json.is_null(value)
end

---The highest index of a table that has nothing but a list in it, 0 for an
---empty table. Nulls leave holes in a list.
---@param value table
---@return integer? length nil for other tables
function schema_check.list_length(value)
  local length = 0
  for key in iterate, value do
    if type(key) ~= "number" or key < 1 or key % 1 ~= 0 then
      return nil
    end
    length = math.max(length, key)
  end
  return length
end

local list_length = schema_check.list_length

---The keys that are strings, sorted.
---@param value table
---@return string[]
function schema_check.sorted_keys(value)
  local keys = {}
  for key in iterate, value do
    if type(key) == "string" then
      keys[#keys + 1] = key
    end
  end
  table.sort(keys)
  return keys
end

local sorted_keys = schema_check.sorted_keys

-- ---------------------------------------------------------------------------
-- Messages
-- ---------------------------------------------------------------------------

---The beginning of a text, on one line and not cut inside a character.
---@param text string
---@param limit integer bytes
---@return string
function schema_check.clip(text, limit)
  if #text > limit then
    local last = limit - 3
    while last > limit - 8 and text:byte(last + 1) >= 128 and text:byte(last + 1) < 192 do
      last = last - 1
    end
    text = text:sub(1, last) .. "..."
  end
  return (text:gsub("%c", "?"))
end

local clip = schema_check.clip

---A path with one more step: `days[2].city`, `["two words"].x`.
---@param path string
---@param key any
---@return string
function schema_check.join(path, key)
  if type(key) == "number" then
    return ("%s[%d]"):format(path, key)
  elseif type(key) ~= "string" then
    return path .. "[" .. type(key) .. "]"
  elseif key:find("^[%a_][%w_]*$") then
    return path == "" and key or path .. "." .. key
  end
  return path .. "[\"" .. clip(key, 60) .. "\"]"
end

---A short text for a value, on one line.
---@param value any
---@return string
function schema_check.shown(value)
  local kind = type(value)
  if is_null(value) then
    return "null"
  elseif kind == "string" then
    return "\"" .. clip(value, 40) .. "\""
  elseif kind == "number" then
    return ("%.14g"):format(value)
  elseif kind == "boolean" then
    return tostring(value)
  end
  return "a " .. kind
end

local shown = schema_check.shown

-- "a", "b", "c"; of a long list the beginning.
local function choices(list)
  local parts = {}
  for i = 1, list_length(list) or 0 do
    if i > 8 then
      parts[i] = "..."
      break
    end
    parts[i] = shown(list[i])
  end
  return table.concat(parts, ", ")
end

-- ---------------------------------------------------------------------------
-- The check
--
-- Each function returns true, or false, a message without the path, and the
-- path as text with the number of its steps.
-- ---------------------------------------------------------------------------

local function is_number(value)
  return type(value) == "number"
end

-- The path to the value that is being looked at, without the middle of a long
-- one.
local function path_text(state)
  local path, depth = "", state.depth
  for i = 1, depth do
    if depth <= 16 or i <= 8 or i > depth - 4 then
      path = schema_check.join(path, state.path[i])
    elseif i == 9 then
      path = path .. "..."
    end
  end
  return path
end

local function fail(state, message, ...)
  if select("#", ...) > 0 then
    message = message:format(...)
  end
  state.steps = state.steps + STEPS_OF_FAILURE
  return false, message, path_text(state), state.depth
end

-- fail() for a value inside of the one that is being looked at.
local function fail_below(state, key, message)
  state.depth = state.depth + 1
  state.path[state.depth] = key
  local _, _, path, depth = fail(state, message)
  state.depth = state.depth - 1
  return false, message, path, depth
end

local check

local function check_below(state, key, value, given)
  if state.depth >= MAX_DEPTH then
    return fail(state, "nested too deeply")
  end
  local refs = state.refs
  state.depth, state.refs = state.depth + 1, 0
  state.path[state.depth] = key
  local valid, message, path, depth = check(state, value, given)
  state.depth, state.refs = state.depth - 1, refs
  return valid, message, path, depth
end

-- The JSON type of a decoded value. For a table also the highest index of a
-- list; an empty table without a mark is both, an "object" with the index 0.
local function kind_of(value)
  local kind = type(value)
  if is_null(value) then
    return "null"
  elseif kind ~= "table" then
    return kind
  end
  local length = list_length(value)
  if getmetatable(value) == json.array_mt or length and length > 0 then
    return "array", length or 0
  end
  return "object", length
end

local function fits_type(name, value, kind, length)
  if name == "integer" then
    return kind == "number" and value % 1 == 0
  elseif name == "array" then
    return length ~= nil
  end
  return name == kind
end

-- Whether a schema has a value of this type.
local function has_type(given, value, kind, length)
  local wanted = given.type
  if type(wanted) == "table" then
    for _, name in ipairs(wanted) do
      if fits_type(name, value, kind, length) then
        return true
      end
    end
    return false
  end
  return type(wanted) ~= "string" or fits_type(wanted, value, kind, length)
end

local function check_type(state, value, given, kind, length)
  if has_type(given, value, kind, length) then
    return true
  end
  local wanted = given.type
  if type(wanted) == "table" then
    local names = {}
    for i, name in ipairs(wanted) do
      names[i] = tostring(name)
    end
    wanted = table.concat(names, " or ")
  end
  local got = kind
  if kind == "number" and wanted:find("integer", 1, true) then
    got = shown(value)
  end
  return fail(state, "%s expected, got %s", wanted, got)
end

local function equal(a, b, depth)
  if is_null(a) or is_null(b) then
    return is_null(a) and is_null(b)
  elseif type(a) ~= "table" or type(b) ~= "table" or a == b then
    return a == b
  elseif depth > MAX_DEPTH then
    return false
  end
  for key, item in iterate, a do
    if not equal(item, b[key], depth + 1) then
      return false
    end
  end
  for key, item in iterate, b do
    if a[key] == nil and not is_null(item) then
      return false
    end
  end
  return true
end

-- What the value is compared with as a whole.
local function check_values(state, value, given)
  if type(given.enum) == "table" then
    local found = false
    for i = 1, list_length(given.enum) or 0 do
      found = found or equal(given.enum[i], value, 0)
    end
    if not found then
      return fail(state, "one of %s expected, got %s", choices(given.enum), shown(value))
    end
  end
  if given.const ~= nil and not equal(given.const, value, 0) then
    return fail(state, "%s expected, got %s", shown(given.const), shown(value))
  end
  return true
end

local function check_number(state, value, given)
  if is_number(given.minimum) and value < given.minimum then
    return fail(state, "at least %.14g expected, got %.14g", given.minimum, value)
  elseif is_number(given.maximum) and value > given.maximum then
    return fail(state, "at most %.14g expected, got %.14g", given.maximum, value)
  elseif is_number(given.exclusiveMinimum) and value <= given.exclusiveMinimum then
    return fail(state, "more than %.14g expected, got %.14g", given.exclusiveMinimum, value)
  elseif is_number(given.exclusiveMaximum) and value >= given.exclusiveMaximum then
    return fail(state, "less than %.14g expected, got %.14g", given.exclusiveMaximum, value)
  end
  return true
end

-- Characters of a string, items of an array.
local function check_length(state, length, least, most, unit)
  local bound, word
  if is_number(least) and length < least then
    bound, word = least, "at least"
  elseif is_number(most) and length > most then
    bound, word = most, "at most"
  else
    return true
  end
  return fail(state, "%s %.14g %s%s expected, got %d", word, bound, unit,
    bound == 1 and "" or "s", length)
end

local function check_string(state, value, given)
  if given.minLength == nil and given.maxLength == nil then
    return true
  end
  local _, count = value:gsub("[^\128-\191]", "")
  return check_length(state, count, given.minLength, given.maxLength, "character")
end

local function check_array(state, value, given, length)
  local valid, message, path, depth = check_length(state, length, given.minItems,
    given.maxItems, "item")
  if not valid then
    return false, message, path, depth
  end
  local first, rest = given.prefixItems, given.items
  if type(rest) == "table" and rest[1] ~= nil then
    first, rest = rest, given.additionalItems       -- one for each item, before 2020
  end
  for i = 1, length do
    local own = type(first) == "table" and first[i]
    if not own then
      own = rest
    end
    if own ~= nil then
      valid, message, path, depth = check_below(state, i, value[i], own)
      if not valid then
        return false, message, path, depth
      end
    end
  end
  return true
end

local function check_required(state, value, given, properties)
  if type(given.required) ~= "table" then
    return true
  end
  for _, name in ipairs(given.required) do
    if value[name] == nil then
      -- A null is nil as well: where one is allowed, it is taken for one.
      local own = properties[name]
      if own == nil or not check_below(state, name, nil, own) then
        return fail_below(state, name, "missing")
      end
    end
  end
  return true
end

local function unknown_field(state, value, properties, name)
  local near = options.nearest(name, sorted_keys(properties))
  local hint = near and value[near] == nil and " (did you mean '" .. near .. "'?)" or ""
  return fail_below(state, name, "not a field of this object" .. hint)
end

local function check_object(state, value, given)
  local properties = type(given.properties) == "table" and given.properties or {}
  local valid, message, path, depth = check_required(state, value, given, properties)
  if not valid then
    return false, message, path, depth
  end
  for _, name in ipairs(sorted_keys(value)) do
    local own = properties[name]
    -- which names a pattern is for is not known here
    if own == nil and given.patternProperties == nil then
      own = given.additionalProperties
      if own == false then
        return unknown_field(state, value, properties, name)
      end
    end
    if own ~= nil then
      valid, message, path, depth = check_below(state, name, value[name], own)
      if not valid then
        return false, message, path, depth
      end
    end
  end
  return true
end

-- The keywords for each kind of value.
local function check_inside(state, value, given, kind, length)
  if kind == "number" then
    return check_number(state, value, given)
  elseif kind == "string" then
    return check_string(state, value, given)
  elseif kind == "array" or length == 0 and not has_type(given, value, "object") then
    return check_array(state, value, given, length)
  elseif kind == "object" then
    return check_object(state, value, given)
  end
  return true
end

-- anyOf and oneOf. Told is what is wrong with the alternative that the value
-- came furthest in: most likely it was meant.
local function check_alternatives(state, value, list, exactly_one)
  local fitting, messages = 0, {}
  local deepest, deepest_path, most = nil, nil, state.depth
  for _, own in ipairs(list) do
    local valid, message, path, depth = check(state, value, own)
    if valid then
      fitting = fitting + 1
      if not exactly_one then
        return true
      end
    else
      messages[#messages + 1] = message
      if depth > most then
        deepest, deepest_path, most = message, path, depth
      end
    end
  end
  if fitting == 1 or #list == 0 then
    return true
  elseif fitting > 1 then
    return fail(state, "fits %d of the alternatives, and only one is allowed", fitting)
  elseif deepest then
    return false, deepest, deepest_path, most
  elseif #messages > 3 then
    return fail(state, "fits none of %d alternatives", #list)
  end
  return fail(state, "%s", table.concat(messages, ", or "))
end

-- What a reference inside of the schema leads to; nil when to nothing, false
-- when it leads out of it.
local function resolve(root, reference)
  local pointer = reference:match("^#(.*)$")
  if not pointer or pointer ~= "" and pointer:sub(1, 1) ~= "/" then
    return false
  end
  local found = root
  for step in pointer:gmatch("/([^/]*)") do
    if type(found) ~= "table" then
      return nil
    end
    step = step:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)
    step = step:gsub("~1", "/"):gsub("~0", "~")
    local index, item = tonumber(step), found[step]
    if item == nil and index then
      item = found[index + 1]
    end
    found = item
  end
  return found
end

local function check_reference(state, value, reference)
  local target = resolve(state.root, reference)
  if target == false then
    return true
  elseif target == nil then
    return fail(state, "the schema refers to %s, which it does not have", shown(reference))
  elseif state.refs >= MAX_REFS then
    return fail(state, "the schema refers to itself without an end")
  end
  state.refs = state.refs + 1
  local valid, message, path, depth = check(state, value, target)
  state.refs = state.refs - 1
  return valid, message, path, depth
end

-- Schemas that are for the same value.
local function check_combined(state, value, given, kind, length)
  local valid, message, path, depth = true, nil, nil, nil
  if type(given["$ref"]) == "string" then
    valid, message, path, depth = check_reference(state, value, given["$ref"])
  end
  if type(given.allOf) == "table" then
    for _, own in ipairs(given.allOf) do
      if valid then
        valid, message, path, depth = check(state, value, own)
      end
    end
  end
  if valid and type(given.anyOf) == "table" then
    valid, message, path, depth = check_alternatives(state, value, given.anyOf, false)
  end
  if valid and type(given.oneOf) == "table" then
    -- an empty table may fit two because it is taken for both
    local is_both = kind == "object" and length == 0
    valid, message, path, depth = check_alternatives(state, value, given.oneOf, not is_both)
  end
  return valid, message, path, depth
end

function check(state, value, given)
  state.steps = state.steps + 1
  if state.steps > MAX_STEPS then
    return false, "", "", 0
  elseif given == false then
    return fail(state, "nothing is allowed here")
  elseif type(given) ~= "table" then
    return true
  end
  local kind, length = kind_of(value)
  local valid, message, path, depth = check_type(state, value, given, kind, length)
  if valid then
    valid, message, path, depth = check_values(state, value, given)
  end
  if valid then
    valid, message, path, depth = check_inside(state, value, given, kind, length)
  end
  if valid then
    valid, message, path, depth = check_combined(state, value, given, kind, length)
  end
  return valid, message, path, depth
end

---Checks a value that `json.decode` returned against a JSON Schema.
---
---Looked at are `type`, `enum`, `const`, `required`, `properties`,
---`additionalProperties`, `items`, `prefixItems`, `minItems`, `maxItems`,
---`minLength` and `maxLength` (in characters), `minimum`, `maximum`,
---`exclusiveMinimum`, `exclusiveMaximum`, `anyOf`, `oneOf`, `allOf` and `$ref`
---inside of the schema. All others are not: above all no `pattern` and no
---`format`, for Lua has no regular expressions.
---
---Decoded values do not tell null from absent: a required field that may be
---null may be absent. An empty table that is not marked as a list is taken for
---an object or an array, as the schema wants.
---@param value any
---@param json_schema table|boolean a full schema, see `schema.expand`
---@return true? fits
---@return string? message `days[2].city: string expected, got number`
---@return string? path `days[2].city`; "" for the value itself
function schema_check.check(value, json_schema)
  local state = { root = json_schema, steps = 0, depth = 0, refs = 0, path = {} }
  local valid, message, path = check(state, value, json_schema)
  if valid then
    return true
  elseif state.steps > MAX_STEPS then
    return nil, "too many combinations to check", ""
  end
  return nil, path == "" and message or path .. ": " .. message, path
end

return schema_check
