---Mends one message of a list, without a look at the others. What it finds is
---what `history_rules` asks for.
---
---The message is copied at the first change; what was right stays the very
---table it was.
local json = require "opperchat.json"
local rules = require "opperchat.history_rules"

-- Not `next` by name in a loop: see json.lua.
local step = next

-- LuaJIT 2.1.0-beta3, as Debian 12 and Ubuntu 22.04 have it, swaps the results
-- of a compiled next() with a 32-bit exchange where its registers fall so: the
-- second step over a table of one field then reads a cut-off address and the
-- process dies. The looks at small tables here made it do so; this file is
-- for lists that need mending, so it can do without being compiled.
local jit = rawget(_G, "jit")
if jit then
  jit.off(true, true)
end

local byte, concat, gsub, sub = string.byte, table.concat, string.gsub, string.sub
local field = rules.field

local mend = {}

-- What other programs call the roles.
local OTHER_NAMES = {
  model = "assistant", bot = "assistant", ai = "assistant",
  human = "user",
  ["function"] = "tool",
}

local function copy(from)
  local result = {}
  for name, value in step, from do
    result[name] = value
  end
  return result
end

-- A table that becomes a copy of itself when something is set in it.
local Draft = {}
Draft.__index = Draft

local function draft(source)
  return setmetatable({ source = source, value = source }, Draft)
end

function Draft:set(name, value)
  if self.value == self.source then
    self.value = copy(self.source)
  end
  self.value[name] = value
end

function Draft:is_changed()
  return self.value ~= self.source
end

-- ---------------------------------------------------------------------------
-- Text
-- ---------------------------------------------------------------------------

-- Where the second byte of a sequence has narrower limits than 0x80 to 0xBF.
local SECOND_FROM = { [0xE0] = 0xA0, [0xF0] = 0x90 }
local SECOND_TO = { [0xED] = 0x9F, [0xF4] = 0x8F }

-- Length of the UTF-8 sequence at `i`, nil when there is no valid one.
local function sequence(text, i)
  local lead = byte(text, i)
  local length = lead >= 0xC2 and lead <= 0xDF and 2
    or lead >= 0xE0 and lead <= 0xEF and 3
    or lead >= 0xF0 and lead <= 0xF4 and 4
  if not length then
    return nil
  end
  for n = 1, length - 1 do
    local from = n == 1 and SECOND_FROM[lead] or 0x80
    local to = n == 1 and SECOND_TO[lead] or 0xBF
    local follows = byte(text, i + n)
    if not follows or follows < from or follows > to then
      return nil
    end
  end
  return length
end

-- A run of bytes above 127 with U+FFFD for what is no UTF-8.
local function valid_run(run)
  local out, i = {}, 1
  while i <= #run do
    local length = sequence(run, i)
    out[#out + 1] = length and sub(run, i, i + length - 1) or "\239\191\189"
    i = i + (length or 1)
  end
  return concat(out)
end

local function valid_text(text)
  return (gsub(text, "[\128-\255]+", valid_run))
end

-- The JSON text of a value, nil when it has none.
local function json_text(value)
  local written, text = pcall(json.encode, value)
  return written and text or nil
end

---The id of a call or a result as text; "" when it has none that says anything.
---@param id any
---@return string
function mend.id(id)
  if type(id) == "string" then
    return valid_text(id)
  end
  return type(id) == "number" and json_text(id) or ""
end

-- ---------------------------------------------------------------------------
-- Fields
-- ---------------------------------------------------------------------------

-- Mends or drops the fields that cannot be written; `is_skipped` says which are
-- somebody else's. Returns what was wrong.
local function mend_fields(target, around, is_skipped)
  local bad, problems = {}, {}
  for name, value in step, target.value do
    if not (is_skipped and is_skipped(name)) then
      local valid, problem = rules.check_field(name, value, around)
      if not valid then
        bad[#bad + 1] = name
        problems[#problems + 1] = problem
      end
    end
  end
  for _, name in ipairs(bad) do
    local value = target.value[name]
    if type(name) == "string" and type(value) == "string" and valid_text(name) == name then
      target:set(name, valid_text(value))
    else
      target:set(name, nil)
    end
  end
  table.sort(problems)
  return problems
end

-- ---------------------------------------------------------------------------
-- Content
-- ---------------------------------------------------------------------------

local function is_part(value)
  return type(value) == "table" and type(rawget(value, "type")) == "string"
end

-- A text part that lacks its type, as some APIs have them.
local function is_bare_text(value)
  return type(value) == "table" and type(rawget(value, "text")) == "string"
    and next(value, next(value)) == nil
end

local function mend_text_part(value)
  local part, text = draft(value), rawget(value, "text")
  if type(text) == "number" then
    part:set("text", json_text(text))
  end
  mend_fields(part)
  return part.value
end

-- A part out of what stands in a list of them; nil: nothing can be made of it.
local function mend_part(value)
  local part
  if type(value) == "string" then
    part = { type = "text", text = valid_text(value) }
  elseif is_bare_text(value) then
    part = { type = "text", text = valid_text(rawget(value, "text")) }
  elseif not is_part(value) then
    part = { type = "text", text = not json.is_null(value) and json_text(value) or nil }
  elseif rawget(value, "type") == "text" then
    part = mend_text_part(value)
  else
    part = value
  end
  return rules.check_content { part } and part or nil
end

local function mend_parts(list, indices)
  local parts = {}
  for _, index in ipairs(indices) do
    parts[#parts + 1] = mend_part(rawget(list, index))
  end
  return parts[1] ~= nil and parts or nil
end

local function has_items(value)
  for name in step, value do
    if field(value, name) ~= nil then
      return true
    end
  end
  return false
end

-- Content that can be sent, made of some that cannot; nil: there is nothing in
-- it to be sent.
local function mend_content(value)
  if type(value) == "string" then
    return valid_text(value)
  elseif type(value) ~= "table" then
    return json_text(value)
  elseif is_part(value) or is_bare_text(value) then
    local part = mend_part(value)
    return part and { part }
  end
  local indices = rules.indices(value)
  for _, index in ipairs(indices) do
    local item = rawget(value, index)
    if type(item) == "string" or is_part(item) or is_bare_text(item) then
      return mend_parts(value, indices)
    end
  end
  -- some value of a program
  return has_items(value) and json_text(value) or nil
end

-- ---------------------------------------------------------------------------
-- Tool calls
-- ---------------------------------------------------------------------------

-- Arguments as the JSON text that they have to be.
local function arguments_text(arguments)
  if type(arguments) == "string" then
    return valid_text(arguments)
  end
  return arguments ~= nil and not json.is_null(arguments) and json_text(arguments) or "{}"
end

-- A call given as a reply has it, with name and arguments in the call itself.
local function unfold(call)
  if type(field(call.value, "function")) == "table"
      or type(field(call.value, "name")) ~= "string" then
    return
  end
  local exact = field(call.value, "arguments_json")
  call:set("function", {
    name = field(call.value, "name"),
    arguments = type(exact) == "string" and exact or arguments_text(field(call.value, "arguments")),
  })
  call:set("type", "function")
  for _, name in ipairs { "name", "arguments", "arguments_json" } do
    call:set(name, nil)
  end
end

local function mend_function(call)
  local called = draft(call.value["function"])
  if type(rawget(called.value, "arguments")) ~= "string" then
    called:set("arguments", arguments_text(rawget(called.value, "arguments")))
  end
  local problems = mend_fields(called, 3)
  if called:is_changed() then
    call:set("function", called.value)
  end
  return problems
end

---@class opperchat.HistoryCall
---@field key string the id that it had, "" without one
---@field n integer its place in the message
---@field call table
---@field id? string the id that it gets
---@field result? opperchat.HistoryItem
---@field item? opperchat.HistoryItem

-- One call; nil when it names no function. `notes(code, text)` is told.
local function mend_call(given, n, notes)
  local place = ("tool call %d: "):format(n)
  if type(given) ~= "table" then
    notes("bad_tool_calls", place .. "table expected, got " .. rules.type_name(given))
    return nil
  end
  local call, problems = draft(given), {}
  local code, problem = rules.check_call(given)
  if code then
    notes(code, place .. problem)
  end
  if code == "no_call_name" then
    unfold(call)
  end
  if type(field(call.value, "function")) == "table" then
    problems = mend_function(call)
  end
  if rules.check_call(call.value) then
    return nil
  end
  for _, text in ipairs(mend_fields(call, 2, function(name) return name == "id" end)) do
    problems[#problems + 1] = text
  end
  for _, text in ipairs(problems) do
    notes("unwritable", place .. text)
  end
  local key = mend.id(rawget(given, "id"))
  return { key = key, n = n, call = call.value }
end

-- What can be called of the calls of a message.
local function mend_calls(list, notes)
  if type(list) ~= "table" then
    notes("bad_tool_calls", "tool_calls: list expected, got " .. rules.type_name(list))
    return {}
  end
  local calls, count = {}, 0
  rules.each(list, function(n, given)
    count = count + 1
    if count <= rules.MAX_CALLS then
      calls[#calls + 1] = mend_call(given, n, notes)
    end
  end)
  if not rules.is_list(list) then
    notes("bad_tool_calls", "tool_calls: a list has no fields with names")
  end
  if count > rules.MAX_CALLS then
    notes("bad_tool_calls", ("more than %d tool calls"):format(rules.MAX_CALLS))
  end
  return calls
end

-- ---------------------------------------------------------------------------
-- Messages
-- ---------------------------------------------------------------------------

---@class opperchat.HistoryItem
---@field index integer in the list that was given
---@field role string
---@field message table the message, or a copy of it
---@field calls? opperchat.HistoryCall[]
---@field has_new_calls? boolean the list of calls has to be written anew
---@field key? string of a result: the id that it had, "" without one
---@field name? string of a result: the function's name, where it says one
---@field draft table
---@field notes table[]

local function note(item, code, text, action)
  item.notes[#item.notes + 1] =
    { index = item.index, action = action or "changed", code = code, message = text }
end

---Notes what was done to a message.
mend.note = note

local function mend_role(item, entry)
  local given = field(entry, "role")
  if rules.role(entry) then
    return given
  elseif given == nil then
    return nil, "no_role", "no role"
  elseif type(given) ~= "string" then
    return nil, "unknown_role", "role: string expected, got " .. type(given)
  end
  local name = given:lower()
  local role = OTHER_NAMES[name] or rules.role { role = name }
  local text = ("unknown role '%s'"):format(given:sub(1, 40):gsub("%c", "?"))
  if not role then
    return nil, "unknown_role", text
  end
  item.draft:set("role", role)
  note(item, "unknown_role", text .. ": it is " .. role)
  return role
end

-- function_call, which tool_calls took the place of.
local function mend_legacy_call(item, calls)
  local legacy = field(item.draft.value, "function_call")
  if legacy == nil then
    return
  end
  note(item, "legacy_call", "function_call: tool_calls took its place")
  item.draft:set("function_call", nil)
  if calls[1] == nil then
    calls[1] = mend_call({ type = "function", ["function"] = legacy }, 1, function() end)
    item.has_new_calls = calls[1] ~= nil
  end
end

-- Gives an assistant's item its calls, and drops what only looks like some.
local function mend_call_list(item)
  local message = item.draft.value
  local list, before = rawget(message, "tool_calls"), #item.notes
  local is_empty = json.is_null(list) or type(list) == "table" and next(list) == nil
  local calls = {}
  if list ~= nil and is_empty then
    note(item, "empty_tool_calls", "tool_calls without a call")
  elseif list ~= nil and item.role ~= "assistant" then
    note(item, "bad_tool_calls", "only an assistant calls tools")
  elseif list ~= nil then
    calls = mend_calls(list, function(code, text) note(item, code, text) end)
  end
  item.has_new_calls = #item.notes > before
  if item.role == "assistant" then
    mend_legacy_call(item, calls)
  end
  if calls[1] ~= nil then
    item.calls = calls
  elseif list ~= nil then
    item.draft:set("tool_calls", nil)
  end
end

-- Whether an assistant message without content and calls has something to say:
-- a refusal, its reasoning, sound.
local function has_more(message)
  for name in step, message do
    local value = field(message, name)
    local is_empty = value == nil or value == "" or value == false
      or type(value) == "table" and next(value) == nil
    if not is_empty and name ~= "role" and name ~= "content" and name ~= "name" then
      return true
    end
  end
  return false
end

-- Returns why the message cannot stay.
local function mend_item_content(item)
  local message = item.draft.value
  local given, code, text = field(message, "content"), "no_content", "no content"
  if given ~= nil then
    local valid, problem = rules.check_content(given)
    if valid then
      return nil
    end
    code, text = "bad_content", problem
    local mended = mend_content(given)
    if mended ~= nil then
      item.draft:set("content", mended)
      note(item, code, text)
      return nil
    end
  end
  if item.calls then
    if given ~= nil then
      item.draft:set("content", nil)
      note(item, code, text)
    end
  elseif item.role == "tool" or item.role == "assistant" and has_more(message) then
    item.draft:set("content", "")
    note(item, code, text)
  else
    return code, text
  end
end

-- The fields of a message that have rules of their own.
local function is_ruled(name)
  return not rules.is_plain_field(name) or name == "tool_calls"
end

-- In a result the id has, too.
local function is_ruled_in_result(name)
  return is_ruled(name) or name == "tool_call_id"
end

---Mends one entry of a list.
---@param index integer
---@param entry any
---@return opperchat.HistoryItem? item nil: it has to go
---@return string? code why
---@return string? text
function mend.item(index, entry)
  if type(entry) ~= "table" then
    return nil, "not_a_message", "message expected, got " .. rules.type_name(entry)
  end
  local item = { index = index, draft = draft(entry), notes = {} }
  local role, code, text = mend_role(item, entry)
  if not role then
    return nil, code, text
  end
  item.role = role
  mend_call_list(item)
  local is_skipped = role == "tool" and is_ruled_in_result or is_ruled
  for _, problem in ipairs(mend_fields(item.draft, 0, is_skipped)) do
    note(item, "unwritable", problem)
  end
  code, text = mend_item_content(item)
  if code then
    return nil, code, text
  end
  if role == "tool" then
    local id = rawget(entry, "tool_call_id")
    local name = field(item.draft.value, "name")
    item.key, item.name = mend.id(id), type(name) == "string" and name or nil
  end
  return item
end

return mend
