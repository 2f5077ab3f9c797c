---Options of clients, conversations and sends: the checks, the request body and
---Opper's headers. Which options there are is in `options_sets`, what each may
---be in `options_kinds`.
---
---Nothing here raises: misuse comes back as `nil, message`, and the caller
---raises it at the position of its own caller.
local json = require "opperchat.json"
local kinds = require "opperchat.options_kinds"
local names = require "opperchat.names"
local sets = require "opperchat.options_sets"

-- Not `next` by name in a loop: see json.lua.
local step = next

local BODY = sets.BODY

local options = {
  client = sets.client,
  conversation = sets.conversation,
  send = sets.send,
  run = sets.run,
  json = sets.json,
  models = sets.models,
  doctor = sets.doctor,
  -- The metatable of `opperchat.secret{...}`; what it does is in `opperchat.secret`.
  secret_mt = kinds.secret_mt,
  nearest = names.nearest,
}

-- ---------------------------------------------------------------------------
-- What is given
-- ---------------------------------------------------------------------------

-- A send takes these away with null.
local CAN_BE_REMOVED = { schema = true, policy = true }
for name in step, BODY do
  CAN_BE_REMOVED[name] = true
end

local SETS = {
  sets.client, sets.conversation, sets.send, sets.run, sets.json,
}

-- Only the option that somebody most likely meant is named: of this call, then
-- of another one.
local function unknown_option(set, name)
  local message = "unknown option " .. names.shown(name)
  if type(name) ~= "string" then
    return message .. ": options have names"
  end
  for _, other in ipairs(SETS) do
    if other ~= set and other.known[name] then
      return message .. ": it belongs to " .. other.place
    end
  end
  local here = names.suggestion(name, names.sorted(set.known))
  if here ~= "" then
    return message .. here
  end
  for _, other in ipairs(SETS) do
    local near = names.nearest(name, names.sorted(other.known))
    if near then
      return ("%s (did you mean '%s' of %s?)"):format(message, near, other.place)
    end
  end
  if set.body then
    message = message .. " (other fields of the request body go into extra = {...})"
  end
  return message
end

---Checks a table of options.
---
---Where options of the request body are allowed, each of them and `schema` may
---also be `opperchat.null`: in a send it removes what the conversation says.
---@param set opperchat.OptionSet `options.client`, `options.conversation` or `options.send`
---@param given? table
---@return true? valid
---@return string? message
function options.check(set, given)
  if given == nil then
    return true
  elseif type(given) ~= "table" then
    return nil, "table of options expected, got " .. kinds.got(given, "")
  end
  for name in step, given do
    if type(name) ~= "string" then
      return nil, unknown_option(set, name)
    end
  end
  for _, name in ipairs(names.sorted(given)) do
    local kind = set.known[name]
    if not kind then
      return nil, unknown_option(set, name)
    end
    local value = given[name]
    if not (set.body and CAN_BE_REMOVED[name] and json.is_null(value)) then
      local valid, message = kinds.known[kind](value)
      if not valid then
        return nil, ("option '%s': %s"):format(name,
          message or kind .. " expected, got " .. kinds.got(value, kind))
      end
    end
  end
  return true
end

-- Nothing in options is nested as deeply; what writes them says so.
local MAX_DEPTH = 128

-- Copies a table, with its mark as a list but no other metatable. One that
-- contains itself does so in the copy, too.
local function copy_table(value, seen, depth)
  if seen[value] then
    return seen[value]
  end
  local result = {}
  seen[value] = result
  for name, item in step, value do
    if type(item) == "table" and depth < MAX_DEPTH then
      item = copy_table(item, seen, depth + 1)
    end
    result[name] = item
  end
  return json.copy_mark(value, result)
end

---A copy of options: a caller who changes his table later changes nothing here,
---and nothing unchecked gets in. Functions and userdata stay what they are.
---@generic T
---@param value T
---@return T
function options.copy(value)
  return type(value) == "table" and copy_table(value, {}, 1) or value
end

-- ---------------------------------------------------------------------------
-- What becomes of them
-- ---------------------------------------------------------------------------

-- Token ids are numbers to people and strings in JSON.
local function with_string_keys(map)
  local result = {}
  for key, value in step, map do
    result[type(key) == "number" and json.encode(key) or key] = value
  end
  return result
end

-- Servers refuse `"tools":[]`; a send that says so wants none.
local function is_empty_list(value)
  return type(value) == "table" and next(value) == nil
end

---The fields of a request body. A send's options go before the
---conversation's, `opperchat.null` in a send removes the conversation's, and
---what stands in `extra` (the conversation's, then the send's, where null is
---sent as null) comes last. Empty `tools` and `stop` are left out.
---@param conversation? table checked options; others than body options are ignored
---@param send? table the same of one send
---@return table<string, any> fields new, but the values are not copied
function options.body(conversation, send)
  local fields, extras = {}, {}
  for _, given in ipairs { conversation or {}, send or {} } do
    for name in step, BODY do
      local value = given[name]
      if name == "extra" then
        if json.is_null(value) then
          extras = {}
        elseif value ~= nil then
          extras[#extras + 1] = value
        end
      elseif json.is_null(value) then
        fields[name] = nil
      elseif value ~= nil then
        fields[name] = value
      end
    end
  end
  if fields.logit_bias then
    fields.logit_bias = with_string_keys(fields.logit_bias)
  end
  for _, name in ipairs { "tools", "stop" } do
    if is_empty_list(fields[name]) then
      fields[name] = nil
    end
  end
  for _, extra in ipairs(extras) do
    for name, value in step, extra do
      fields[name] = value
    end
  end
  return fields
end

---The fields of a request body as JSON text without the braces around it,
---`model` first and the others sorted; "" when there are none.
---@param fields table<string, any>
---@return string? text
---@return string? message names the field that cannot be written
function options.encode(fields)
  local written, text = pcall(json.encode, fields)
  if not written then
    return nil, text
  elseif text:sub(1, 1) ~= "{" then
    return nil, "the fields of a request body need names"
  end
  return text:sub(2, -2)
end

local function guard_text(rules)
  return type(rules) == "table" and table.concat(rules, ",") or rules
end

---Opper's headers of a request, each as "Name: value".
---@param settings? table checked options with `name`, `tags`, `guard` and `trace_id`
---@param over? table the same, going before `settings`; tags are put together
---@return string[]? headers always in the same order
---@return string? message when there are too many tags together
function options.headers_for(settings, over)
  settings, over = settings or {}, over or {}
  local headers = {}
  local function add(header, value)
    if value ~= nil then
      headers[#headers + 1] = header .. ": " .. value
    end
  end

  add("X-Opper-Name", over.name or settings.name)

  local tags = {}
  for _, given in ipairs { settings.tags or {}, over.tags or {} } do
    for key, tag in step, given do
      tags[key] = tag
    end
  end
  local pairs_of_tags = {}
  for i, key in ipairs(names.sorted(tags)) do
    pairs_of_tags[i] = key .. ":" .. kinds.tag_text(tags[key])
  end
  if #pairs_of_tags > kinds.MAX_TAGS then
    return nil, ("option 'tags': at most %d tags can be sent, got %d together with the client's")
      :format(kinds.MAX_TAGS, #pairs_of_tags)
  elseif #pairs_of_tags > 0 then
    add("X-Opper-Tags", table.concat(pairs_of_tags, ","))
  end

  local guard = over.guard or settings.guard or {}
  add("X-Opper-Guard-Input", guard_text(guard.input))
  add("X-Opper-Guard-Output", guard_text(guard.output))
  add("X-Opper-Guard-Action", guard.action)

  add("X-Opper-Trace-Id", over.trace_id or settings.trace_id)
  return headers
end

return options
