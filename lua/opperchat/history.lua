---A plain list of messages, as the chat-completions API has them: where its
---turns are, whether it can be sent, and how to mend it when it cannot.
---
---Pure functions: nothing is changed in place, and the same list always gives
---the same result.
local errors = require "opperchat.errors"
local history_repair = require "opperchat.history_repair"
local rules = require "opperchat.history_rules"

-- Not `next` by name in a loop: see json.lua.
local step = next

local history = {}

---The result that `repair` gives a call that nobody answered.
history.INTERRUPTED = history_repair.INTERRUPTED

---@class opperchat.HistoryRange
---@field first integer
---@field last integer first - 1: nothing

---@class opperchat.HistorySplit
---@field head opperchat.HistoryRange system and developer messages at the beginning
---@field opening opperchat.HistoryRange what stands between them and the first turn
---@field turns opperchat.HistoryRange[] a user message and all up to the next one

---@class opperchat.HistoryProblem
---@field index integer
---@field code string
---@field message string
---@field id? string of the call or the result

---@class opperchat.HistoryRepair
---@field index integer in the list that was given
---@field action "added"|"removed"|"moved"|"changed"
---@field code string why
---@field message string

---@class opperchat.HistoryOptions
---@field closed? boolean no call may stand open, not even at the end

local function expect_list(messages, name)
  if type(messages) ~= "table" then
    errors.misuse("history.%s: list of messages expected, got %s", name, type(messages))
  elseif rawget(messages, "role") ~= nil then
    errors.misuse("history.%s: list of messages expected, got one message", name)
  end
end

local function is_closed(options, name)
  if options == nil then
    return false
  elseif type(options) ~= "table" then
    errors.misuse("history.%s: options: table expected, got %s", name, type(options))
  end
  for option in pairs(options) do
    if option ~= "closed" then
      errors.misuse("history.%s: unknown option '%s' (closed = true or false)", name,
        tostring(option))
    end
  end
  if options.closed ~= nil and type(options.closed) ~= "boolean" then
    errors.misuse("history.%s: option 'closed': boolean expected, got %s", name,
      type(options.closed))
  end
  return options.closed or false
end

---Where a list's parts are. Entries that are no messages belong to the part
---in which they stand.
---@param messages table[]
---@return opperchat.HistorySplit
function history.split(messages)
  expect_list(messages, "split")
  local length, head, starts = #messages, 0, {}
  while head < length do
    local role = rules.role(rawget(messages, head + 1))
    if role ~= "system" and role ~= "developer" then
      break
    end
    head = head + 1
  end
  for i = head + 1, length do
    if rules.role(rawget(messages, i)) == "user" then
      starts[#starts + 1] = i
    end
  end
  local turns = {}
  for i, first in ipairs(starts) do
    turns[i] = { first = first, last = (starts[i + 1] or length + 1) - 1 }
  end
  return {
    head = { first = 1, last = head },
    opening = { first = head + 1, last = (starts[1] or length + 1) - 1 },
    turns = turns,
  }
end

-- ---------------------------------------------------------------------------
-- Checking
-- ---------------------------------------------------------------------------

---@alias opperchat.HistoryAdd fun(code: string, message: string, id?: string)

-- The calls of an assistant message: a list of ids, those that can be answered.
---@param calls any
---@param add opperchat.HistoryAdd
local function check_calls(calls, add)
  if type(calls) ~= "table" then
    add("bad_tool_calls", "tool_calls: list expected, got " .. rules.type_name(calls))
    return nil
  end
  local ids, seen, count = {}, {}, 0
  rules.each(calls, function(n, call)
    count = count + 1
    local place = ("tool call %d: "):format(n)
    if type(call) ~= "table" then
      return add("bad_tool_calls", place .. "table expected, got " .. rules.type_name(call))
    end
    local id = rawget(call, "id")
    local code, problem = rules.check_id(id)
    if code then
      add(code, place .. problem)
    elseif seen[id] then
      add("duplicate_call_id", place .. "the id of another call", id)
    else
      seen[id] = true
      ids[#ids + 1] = id
    end
    code, problem = rules.check_call(call)
    if code then
      add(code, place .. problem, not rules.check_id(id) and id or nil)
    end
  end)
  if not rules.is_list(calls) then
    add("bad_tool_calls", "tool_calls: a list has no fields with names")
  end
  if count > rules.MAX_CALLS then
    add("bad_tool_calls", ("more than %d tool calls"):format(rules.MAX_CALLS))
  end
  return ids
end

local function check_content(message, role, has_calls, add)
  local content = rules.field(message, "content")
  if content ~= nil then
    local valid, problem = rules.check_content(content)
    if not valid then
      add("bad_content", problem)
    end
  elseif role ~= "assistant" then
    add("no_content", "no content")
  elseif not has_calls then
    add("no_content", "neither content nor tool calls")
  end
end

-- Keys of a table come in no order, problems do.
local function check_fields(message, add)
  local problems = {}
  for name, value in step, message do
    if rules.is_plain_field(name) then
      local valid, problem = rules.check_field(name, value)
      if not valid then
        problems[#problems + 1] = problem
      end
    end
  end
  table.sort(problems)
  for _, problem in ipairs(problems) do
    add("unwritable", problem)
  end
end

-- All about a message that stands alone. Returns its role and the ids of its
-- calls, as far as there are any.
local function check_message(message, add)
  if type(message) ~= "table" then
    add("not_a_message", "message expected, got " .. rules.type_name(message))
    return nil
  end
  local role, given = rules.role(message), rules.field(message, "role")
  if given == nil then
    add("no_role", "no role")
    return nil
  elseif not role then
    add("unknown_role", type(given) == "string"
      and ("unknown role '%s'"):format(given:sub(1, 40):gsub("%c", "?"))
      or "role: string expected, got " .. type(given))
    return nil
  end

  local calls, ids = rawget(message, "tool_calls"), nil
  if calls ~= nil and (rules.field(message, "tool_calls") == nil
      or type(calls) == "table" and next(calls) == nil) then
    add("empty_tool_calls", "tool_calls without a call")
  elseif calls ~= nil and role ~= "assistant" then
    add("bad_tool_calls", "only an assistant calls tools")
  elseif calls ~= nil then
    ids = check_calls(calls, add)
  end
  if role == "assistant" and rules.field(message, "function_call") ~= nil then
    add("legacy_call", "function_call: tool_calls took its place")
  elseif role == "tool" then
    local code, problem = rules.check_id(rawget(message, "tool_call_id"))
    if code then
      add(code == "no_call_id" and "no_tool_call_id" or "bad_tool_call_id", problem)
    end
  end
  check_content(message, role, ids ~= nil, add)
  check_fields(message, add)
  return role, ids
end

-- Pairs the results with the calls of the message before them.
local function pairing(add)
  local open                -- ids of the calls that a result here may answer
  local pair = {}

  -- The message at `index` makes calls; they are those that are open now.
  function pair.calls(index, ids)
    open = { index = index, ids = ids, is_call = {}, answered = {} }
    for _, id in ipairs(ids) do
      open.is_call[id] = true
    end
  end

  function pair.result(index, id)
    if rules.check_id(id) then
      return                -- has been said
    elseif not (open and open.is_call[id]) then
      add(index, "orphan_result", "no open tool call with this id before it", id)
    elseif open.answered[id] then
      add(index, "duplicate_result", "a second result for this tool call", id)
    else
      open.answered[id] = true
    end
  end

  -- No result can follow any more.
  function pair.close()
    for _, id in ipairs(open and open.ids or {}) do
      if not open.answered[id] then
        add(open.index, "unanswered_call", "a tool call without a result", id)
      end
    end
    open = nil
  end

  return pair
end

local function in_order(problems)
  for i, problem in ipairs(problems) do
    problem.place = i
  end
  table.sort(problems, function(a, b)
    if a.index ~= b.index then
      return a.index < b.index
    end
    return a.place < b.place
  end)
  for _, problem in ipairs(problems) do
    problem.place = nil
  end
  return problems
end

---Whether a list can be sent as it is. Calls at its very end may stand open,
---since they can still be answered.
---@param messages table[]
---@param options? opperchat.HistoryOptions
---@return true? valid
---@return opperchat.HistoryProblem[]? problems in the order of the messages
function history.check(messages, options)
  expect_list(messages, "check")
  local closed = is_closed(options, "check")
  local problems = {}
  local function add(index, code, message, id)
    problems[#problems + 1] = { index = index, code = code, message = message, id = id }
  end

  local pair = pairing(add)
  rules.each(messages, function(index, message)
    local role, ids = check_message(message, function(code, text, id)
      add(index, code, text, id)
    end)
    if role == "tool" then
      pair.result(index, rawget(message, "tool_call_id"))
    elseif role then
      pair.close()
      if ids then
        pair.calls(index, ids)
      end
    end
  end)
  if closed then
    pair.close()
  end
  if problems[1] == nil then
    return true
  end
  return nil, in_order(problems)
end

---Makes a list that `check` has nothing against out of any list. What could be
---sent stays: a result is moved behind its call rather than dropped, and a call
---without one gets `history.INTERRUPTED`. Calls at the very end stay open.
---
---Messages that were right are the same tables in the new list; the others are
---copies. Mending a second time changes nothing.
---@param messages table[]
---@param options? opperchat.HistoryOptions `closed`: answers the calls at the end too
---@return table[] mended
---@return opperchat.HistoryRepair[] report what was done, empty when nothing was
function history.repair(messages, options)
  expect_list(messages, "repair")
  return history_repair.repair(messages, is_closed(options, "repair"), in_order)
end

return history
