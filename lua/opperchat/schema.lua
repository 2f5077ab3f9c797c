---JSON Schema: from the short form that is pleasant to write in Lua, and what
---becomes of it in a request. The check of a value is in schema_check.lua.
---
---Nothing here raises: misuse comes back as `nil, message`, and the caller
---raises it at the position of its own caller.
local json = require "opperchat.json"
local lazy = require "opperchat.lazy"
local options = require "opperchat.options"

local schema_check = lazy.module "opperchat.schema_check"

-- Not `next` by name in a loop: see json.lua.
local step = next

local ipairs, next, type = ipairs, next, type
local clip, join, list_length, shown, sorted_keys = schema_check.clip, schema_check.join,
  schema_check.list_length, schema_check.shown, schema_check.sorted_keys

local schema = {}

schema.check = schema_check.check

-- Deeper than any schema that people write; what comes here is one that
-- contains itself.
local MAX_DEPTH = 64

local TYPES = { "string", "number", "integer", "boolean", "object", "array", "null" }

-- Names that other languages have for them, too far from ours for `nearest`.
local OTHER_NAMES = {
  int = "integer", long = "integer", float = "number", double = "number", real = "number",
  str = "string", text = "string", char = "string", date = "string", bool = "boolean",
  list = "array", map = "object", dict = "object", table = "object", record = "object",
  ["nil"] = "null", none = "null", mixed = "any",
}

local IS_TYPE = {}
for _, name in ipairs(TYPES) do
  IS_TYPE[name] = true
end

-- ---------------------------------------------------------------------------
-- Keywords
-- ---------------------------------------------------------------------------

local function is_type(value)
  if type(value) == "table" then
    for _, name in ipairs(value) do
      if not IS_TYPE[name] then
        return false
      end
    end
    return #value > 0 and list_length(value) == #value
  end
  return IS_TYPE[value] == true
end

-- Nobody describes something as "integer" or "string?": with such a value the
-- key is the name of a property.
local function is_text(value)
  if type(value) ~= "string" then
    return false
  end
  local name = value:match("^(.-)%??$")
  return not IS_TYPE[name] and name ~= "any"
end

local function is_number(value)
  return type(value) == "number"
end

local function is_boolean(value)
  return type(value) == "boolean"
end

local function is_table(value)
  return type(value) == "table"
end

local function is_list(value)
  return type(value) == "table" and list_length(value) ~= nil
end

local function is_schema_value(value)
  return type(value) == "table" or type(value) == "boolean"
end

local function is_anything()
  return true
end

-- The keywords of JSON Schema (2020-12, those of older drafts and of OpenAPI
-- that are still met), and what their values look like.
local KEYWORDS = { type = is_type }
for fits, names in step, {
  [is_text] = "title description format pattern contentEncoding contentMediaType",
  [is_number] = "minimum maximum multipleOf minLength maxLength minItems maxItems "
    .. "minProperties maxProperties minContains maxContains",
  [is_boolean] = "uniqueItems deprecated readOnly writeOnly nullable",
  [is_table] = "properties patternProperties definitions dependentSchemas "
    .. "dependentRequired dependencies discriminator",
  [is_list] = "required enum anyOf oneOf allOf prefixItems examples",
  [is_schema_value] = "items additionalItems unevaluatedItems additionalProperties "
    .. "unevaluatedProperties contains propertyNames contentSchema not if then else",
  [is_anything] = "const default example",
} do
  for name in names:gmatch("%S+") do
    KEYWORDS[name] = fits
  end
end

-- A number since draft 6, a boolean before.
local function is_bound(value)
  return type(value) == "number" or type(value) == "boolean"
end
KEYWORDS.exclusiveMinimum = is_bound
KEYWORDS.exclusiveMaximum = is_bound

local KEYWORD_NAMES = {}
for name in step, KEYWORDS do
  KEYWORD_NAMES[#KEYWORD_NAMES + 1] = name
end
table.sort(KEYWORD_NAMES)

-- One of these has to be there: all others only add to a schema.
local DECIDING = {
  type = true, properties = true, enum = true, const = true, anyOf = true, oneOf = true,
  allOf = true, ["not"] = true, items = true, prefixItems = true,
}

-- And with one of these nothing else matters.
local SCHEMA_ONLY = { ["$ref"] = true, ["$schema"] = true, ["$id"] = true, ["$defs"] = true }

local function is_extension(key)
  return key:find("^%$") ~= nil or key:find("^x%-") ~= nil
end

-- Whether a table is a JSON Schema and not the short form of one. It is
-- when
--   1. it has one of SCHEMA_ONLY, or is of the type "object" with a table of
--      `properties`, or of the type "array" with `items`; or
--   2. at least one of DECIDING is there, and every key is a keyword with a
--      value that fits it, or begins with "$" or "x-", or is `optional` with
--      a boolean.
-- So a property may be called "type", or as any other keyword, beside one that
-- is called as none: {type = "string", name = "string"} is the short form of an
-- object, {type = "string", minLength = 1} is a string.
local function is_schema(value)
  if value.type == "object" and type(value.properties) == "table"
      or value.type == "array" and value.items ~= nil then
    return true
  end
  local decided, only_keywords = false, true
  for key, item in step, value do
    if type(key) ~= "string" then
      return false
    elseif SCHEMA_ONLY[key] then
      return true
    end
    local fits = KEYWORDS[key]
    if fits and fits(item) then
      decided = decided or DECIDING[key] == true
    elseif not is_extension(key) and not (key == "optional" and is_boolean(item)) then
      only_keywords = false
    end
  end
  return decided and only_keywords
end

-- ---------------------------------------------------------------------------
-- The short form
-- ---------------------------------------------------------------------------

local function unknown_type(name, path)
  local near = OTHER_NAMES[name:lower()] or options.nearest(name, TYPES)
  return nil, ("%s: unknown type '%s'%s"):format(path, clip(name, 40),
    near and " (did you mean '" .. near .. "'?)" or "")
end

-- The schema of a type's name.
local function expand_name(name, path)
  if name == "any" then
    return {}
  elseif name == "array" then
    -- several providers refuse an array that does not say of what
    return { type = "array", items = {} }
  elseif not IS_TYPE[name] then
    return unknown_type(name, path)
  end
  return { type = name }
end

local SCHEMA_MAPS = { "properties", "patternProperties", "definitions", "$defs",
  "dependentSchemas" }
local SCHEMA_LISTS = { "anyOf", "oneOf", "allOf", "prefixItems" }
local SCHEMA_VALUES = { "items", "additionalProperties", "contains", "not" }

-- Looks into a full schema for what belongs into the short form only: the
-- server would ignore it in silence, or refuse it in words of its own.
local function verify(given, path, depth, is_property)
  if type(given) == "boolean" then
    return true
  elseif type(given) == "string" then
    return nil, path .. ": a schema expected, got " .. shown(given)
      .. " (inside of a JSON Schema everything is one: {type = \"string\"})"
  elseif type(given) ~= "table" then
    return nil, path .. ": a schema expected, got " .. type(given)
  elseif depth > MAX_DEPTH then
    return nil, path .. ": nested too deeply, or inside itself"
  end
  if given.type ~= nil and not is_type(given.type) then
    if type(given.type) == "string" then
      return unknown_type(given.type, join(path, "type"))
    end
    return nil, join(path, "type") .. ": name of a type or list of them expected, got "
      .. type(given.type)
  elseif is_boolean(given.optional) and not is_property then
    return nil, join(path, "optional")
      .. ": belongs to the short form; here 'required' lists what is not"
  end

  local function verify_all(key, items)
    local below = join(path, key)
    for name, item in step, items do
      local valid, message = verify(item, join(below, name), depth + 1)
      if not valid then
        return nil, message
      end
    end
    return true
  end
  for _, keys in ipairs { SCHEMA_MAPS, SCHEMA_LISTS } do
    for _, key in ipairs(keys) do
      if type(given[key]) == "table" then
        local valid, message = verify_all(key, given[key])
        if not valid then
          return nil, message
        end
      end
    end
  end
  for _, key in ipairs(SCHEMA_VALUES) do
    local item = given[key]
    if item ~= nil then
      local valid, message
      if key == "items" and type(item) == "table" and item[1] ~= nil then
        valid, message = verify_all(key, item)      -- one for each item, before 2020
      else
        valid, message = verify(item, join(path, key), depth + 1)
      end
      if not valid then
        return nil, message
      end
    end
  end
  return true
end

-- The keys beside a list: keywords that add to its schema.
local function add_keywords(result, given, path)
  for _, key in ipairs(sorted_keys(given)) do
    local fits = KEYWORDS[key]
    if fits and not DECIDING[key] and fits(given[key]) or is_extension(key) then
      result[key] = given[key]
    elseif not (key == "optional" and is_boolean(given[key])) then
      return nil, join(path, key) .. ": a list has items and keywords of JSON Schema only"
    end
  end
  return result
end

-- A list of strings or of numbers that are the values to choose from; nil when
-- it is no such list.
local function expand_choice(list, path)
  local names, kind = 0, nil
  for i, value in ipairs(list) do
    local own = type(value)
    if own == "number" and value % 1 == 0 then
      own = "integer"
    end
    if own ~= "string" and own ~= "number" and own ~= "integer" then
      return nil, ("%s: string or number expected, as in a list of values to choose from, got %s")
        :format(join(path, i), type(value))
    elseif kind and (kind == "string") ~= (own == "string") then
      return nil, path .. ": strings and numbers cannot be chosen from one list"
        .. " (write {enum = {...}})"
    end
    kind = kind == "number" and kind or own
    if IS_TYPE[value] then
      names = names + 1
    end
  end
  if names > 0 then
    return nil, path .. ": a list of types or of values? Write {type = {...}} or {enum = {...}}"
  end
  local values = {}
  for i, value in ipairs(list) do
    values[i] = value
  end
  return { type = kind, enum = values }
end

local expand

-- {"string"}, {{name = "string"}}: an array. {"small", "large"}: a choice.
local function expand_list(given, path, depth)
  local list, count = {}, 0
  for key, item in step, given do
    if type(key) == "number" then
      list[key] = item
      count = count + 1
    elseif type(key) ~= "string" then
      return nil, path .. ": names expected as keys, got a " .. type(key)
    end
  end
  if list_length(list) ~= count then
    return nil, path .. ": a list with a hole in it"
  end

  local result, message
  if count > 1 then
    result, message = expand_choice(list, path)
  else
    local items, optional
    items, optional = expand(list[1], path .. "[1]", depth + 1)
    if not items then
      message = optional
    elseif optional then
      message = path .. "[1]: an item of a list cannot be optional"
    else
      result = { type = "array", items = items }
    end
  end
  if not result then
    return nil, message
  end
  return add_keywords(result, given, path)
end

-- Whether a table would be a schema if it had this type.
local function is_schema_of(given, name)
  local copy = {}
  for key, value in step, given do
    copy[key] = value
  end
  copy.type = name
  return is_schema(copy)
end

-- {city = "string", days = "integer?"}: an object.
local function expand_object(given, path, depth)
  local properties, required = {}, {}
  local names = sorted_keys(given)
  -- What was meant as a schema and has a wrong type is told so, before
  -- `optional` or another keyword is found not to be a property.
  if type(given.type) == "string" then
    local name, mark = given.type:match("^(.-)(%??)$")
    if not IS_TYPE[name] then
      table.insert(names, 1, "type")
    elseif mark == "?" and is_schema_of(given, name) then
      return nil, ("%s.type: '%s' (write \"%s\" alone, or optional = true)")
        :format(path, given.type, given.type)
    end
  end
  for _, name in ipairs(names) do
    local value = given[name]
    if name ~= "optional" or not is_boolean(value) then
      local property, optional = expand(value, join(path, name), depth + 1)
      if not property then
        if KEYWORDS[name] == nil and is_type(given.type) then
          local near = options.nearest(name, KEYWORD_NAMES)
          optional = optional .. (near and " (did you mean '" .. near .. "'?)" or "")
        end
        return nil, optional
      end
      properties[name] = property
      if not optional then
        required[#required + 1] = name
      end
    end
  end
  return {
    type = "object",
    properties = properties,
    required = required[1] and required or json.array(required),
    additionalProperties = false,
  }
end

-- The schema of a property, and whether it is optional; or nil and a message.
function expand(given, path, depth)
  if type(given) == "string" then
    local name, mark = given:match("^(.-)(%??)$")
    local result, message = expand_name(name, path)
    if not result then
      return nil, message
    end
    return result, mark == "?"
  elseif type(given) ~= "table" then
    return nil, path .. ": name of a type or schema expected, got "
      .. (json.is_null(given) and "null" or type(given))
  elseif depth > MAX_DEPTH then
    return nil, path .. ": nested too deeply, or inside itself"
  end

  local result, message
  if is_schema(given) then
    local valid
    valid, message = verify(given, path, depth, true)
    if not valid then
      return nil, message
    end
    result = given
    if is_boolean(given.optional) then
      result = {}
      for key, value in step, given do
        if key ~= "optional" then
          result[key] = value
        end
      end
    end
  elseif next(given) == nil and depth > 0 then
    return nil, path .. ": empty (write \"object\", \"array\" or \"any\")"
  elseif given[1] ~= nil or list_length(given) ~= 0 and #sorted_keys(given) == 0 then
    result, message = expand_list(given, path, depth)
  else
    for key in step, given do
      if type(key) ~= "string" then
        return nil, path .. ": names expected as keys, got a " .. type(key)
      end
    end
    result, message = expand_object(given, path, depth)
  end
  if not result then
    return nil, message
  end
  return result, given.optional == true
end

---A JSON Schema from what a user may write.
---
---A table that is a JSON Schema is returned as it is, and not a copy of it. It
---is one when it has `$ref`, `$defs`, `$id` or `$schema`, when it is of the type
---"object" with `properties` or "array" with `items`, or when all its keys are
---keywords of JSON Schema with fitting values and one of them says what the
---value is (`type`, `enum`, `anyOf`...).
---
---Everything else is the short form of an object, where each property is
---  - the name of a type: "string", "number", "integer", "boolean", "object",
---    "array", "null" or "any"; with "?" behind it, it is optional;
---  - a list of one of these things: an array of it;
---  - a list of several strings or numbers: a choice of them;
---  - a JSON Schema or the short form of another object.
---Tables may have `optional = true`. All properties but the optional ones are
---required, and no others are allowed.
---
---A list at the top is an array or a choice as well. `{}` at the top is an
---object without properties.
---@param given table
---@param place? string what to call it in messages, "schema" when left out
---@return table? json_schema
---@return string? message `schema.days: unknown type 'int' (did you mean 'integer'?)`
function schema.expand(given, place)
  place = place or "schema"
  if type(given) ~= "table" then
    return nil, place .. ": table expected, got " .. (json.is_null(given) and "null" or type(given))
  end
  local result, optional = expand(given, place, 0)
  if not result then
    return nil, optional
  elseif is_boolean(given.optional) then
    return nil, join(place, "optional") .. ": only a property can be"
  end
  return result
end

-- ---------------------------------------------------------------------------
-- The request
-- ---------------------------------------------------------------------------

---The `response_format` that asks for an answer that fits a schema.
---@param given table a JSON Schema or the short form of one
---@param name? string letters, digits, "_" and "-"; "answer" when left out
---@param strict? boolean sent only when it is given: not each server knows it
---@return table? response_format
---@return string? message
function schema.response_format(given, name, strict)
  if name == nil then
    name = "answer"
  elseif type(name) ~= "string" or #name > 64 or not name:find("^[%w_-]+$") then
    return nil, "the name of a schema: 1 to 64 letters, digits, '_' and '-' expected, got "
      .. (type(name) == "string" and shown(name) or type(name))
  end
  local expanded, message = schema.expand(given)
  if not expanded then
    return nil, message
  end
  return {
    type = "json_schema",
    json_schema = { name = name, schema = expanded, strict = strict },
  }
end

return schema
