---Makes a list of messages valid: each message by itself, then tool calls and
---results with one another.
---
---Results belong to the calls right before them. Only what is left over then
---is looked for further up, and only further up: ids are often the same again
---in each turn ("call_0"), and a result answers no call that came after it.
local json = require "opperchat.json"
local interrupted = require "opperchat.interrupted"
local mend = require "opperchat.history_mend"
local rules = require "opperchat.history_rules"

-- Not `next` by name in a loop: see json.lua.
local step = next

local history_repair = {}

---The result of a call that nobody answered.
history_repair.INTERRUPTED = interrupted

-- ---------------------------------------------------------------------------
-- Groups: calls and the results right behind them
-- ---------------------------------------------------------------------------

-- Mostly one assistant message. Several in a row with the results behind the
-- last one are parallel calls that somebody wrote one by one.
---@class opperchat.HistoryGroup
---@field callers opperchat.HistoryItem[]
---@field results opperchat.HistoryItem[]
---@field by_key table<string, opperchat.HistoryCall[]> calls in order

local function add_caller(group, item)
  group.callers[#group.callers + 1] = item
  for _, call in ipairs(item.calls) do
    call.item = item
    local same = group.by_key[call.key]
    if not same then
      same = {}
      group.by_key[call.key] = same
    end
    same[#same + 1] = call
  end
end

local function form_groups(items)
  local groups, group = {}, nil
  local function begin()
    group = { callers = {}, results = {}, by_key = {} }
    groups[#groups + 1] = group
  end
  for _, item in ipairs(items) do
    if item.role == "tool" then
      if not group then
        begin()
      end
      group.results[#group.results + 1] = item
    elseif item.calls then
      if not group or group.results[1] then
        begin()
      end
      add_caller(group, item)
    else
      group = nil
    end
  end
  return groups
end

-- ---------------------------------------------------------------------------
-- Pairing
-- ---------------------------------------------------------------------------

local function pair(result, call)
  result.call, call.result = call, result
end

-- Calls with one and the same id: which of them `count` results are for. The
-- last message comes first, for an earlier one may have been interrupted, but
-- within a message, and once it is decided, all goes in order.
local function share(calls, count)
  local chosen, last = {}, #calls
  while last > 0 and count > 0 do
    local first = last
    while first > 1 and calls[first - 1].item == calls[last].item do
      first = first - 1
    end
    for i = first, math.min(last, first + count - 1) do
      chosen[#chosen + 1] = calls[i]
    end
    count = count - (last - first + 1)
    last = first - 1
  end
  table.sort(chosen, function(a, b)
    if a.item ~= b.item then
      return a.item.index < b.item.index
    end
    return a.n < b.n
  end)
  return chosen
end

-- By id, in order where several have the same or none.
local function match_ids(group)
  local keys, results = {}, {}
  for _, result in ipairs(group.results) do
    local same = results[result.key]
    if not same then
      same = {}
      keys[#keys + 1], results[result.key] = result.key, same
    end
    same[#same + 1] = result
  end
  for _, key in ipairs(keys) do
    local calls = group.by_key[key]
    for i, call in ipairs(calls and share(calls, #results[key]) or {}) do
      pair(results[key][i], call)
    end
  end
end

-- Results without an id answer what is still open in the message before them:
-- the function that they name, else the first.
local function match_nameless(group)
  local caller = group.callers[#group.callers]
  local open = {}
  for _, call in ipairs(caller and caller.calls or {}) do
    if not call.result then
      open[#open + 1] = call
    end
  end
  for _, result in ipairs(group.results) do
    if open[1] == nil then
      return
    elseif result.key == "" and not result.call then
      local place = 1
      for i, call in ipairs(open) do
        local called = call.call["function"]
        if result.name and type(called) == "table" and called.name == result.name then
          place = i
          break
        end
      end
      pair(result, table.remove(open, place))
    end
  end
end

-- What is left over answers an open call further up, the nearest one.
local function match_displaced(groups)
  local open = {}         -- by id: a stack of calls
  for _, group in ipairs(groups) do
    for _, result in ipairs(group.results) do
      local stack = not result.call and not group.by_key[result.key] and open[result.key]
      if stack and stack[1] then
        pair(result, table.remove(stack))
      end
    end
    for _, caller in ipairs(group.callers) do
      for i = #caller.calls, 1, -1 do
        local call = caller.calls[i]
        if not call.result then
          open[call.key] = open[call.key] or {}
          table.insert(open[call.key], call)
        end
      end
    end
  end
end

-- ---------------------------------------------------------------------------
-- Ids
-- ---------------------------------------------------------------------------

local function known_ids(items)
  local known = {}
  for _, item in ipairs(items) do
    for _, call in ipairs(item.calls or {}) do
      known[call.key] = true
    end
    if item.key then
      known[item.key] = true
    end
  end
  return known
end

local function new_id(known, index, n)
  local id = ("call_%d_%d"):format(index, n)
  while known[id] do
    id = id .. "_"
  end
  known[id] = true
  return id
end

local function id_problem(call, seen)
  local code, text = rules.check_id(rawget(call.call, "id"))
  if code then
    return code, text
  elseif rawget(call.call, "id") ~= call.key then
    return "unwritable", "an id that is not valid UTF-8"
  elseif seen[call.key] then
    return "duplicate_call_id", "the id of another call"
  end
end

-- Gives each call of a message an id of its own.
local function name_calls(item, known)
  local seen = {}
  for _, call in ipairs(item.calls) do
    local code, text = id_problem(call, seen)
    call.id = call.key
    if call.key == "" or seen[call.key] then
      call.id = new_id(known, item.index, call.n)
    end
    seen[call.id] = true
    if code then
      local copy = {}
      for name, value in step, call.call do
        copy[name] = value
      end
      copy.id = call.id
      call.call, item.has_new_calls = copy, true
      mend.note(item, code, ("tool call %d: %s"):format(call.n, text))
    end
  end
  if item.has_new_calls then
    local list = {}
    for i, call in ipairs(item.calls) do
      list[i] = call.call
    end
    local given = rawget(item.draft.source, "tool_calls")
    item.draft:set("tool_calls", type(given) == "table" and json.copy_mark(given, list) or list)
  end
end

local function name_result(result)
  local given, id = rawget(result.draft.value, "tool_call_id"), result.call.id
  if given == id then
    return
  end
  local code, text = rules.check_id(given)
  if code then
    code = code == "no_call_id" and "no_tool_call_id" or "bad_tool_call_id"
  elseif given ~= result.key then
    code, text = "unwritable", "an id that is not valid UTF-8"
  else
    code, text = "duplicate_call_id", "the id of another call"
  end
  mend.note(result, code, text)
  result.draft:set("tool_call_id", id)
end

-- ---------------------------------------------------------------------------
-- The new list
-- ---------------------------------------------------------------------------

local function read_items(messages, report)
  local items = {}
  rules.each(messages, function(index, entry)
    local item, code, text = mend.item(index, entry)
    if item then
      items[#items + 1] = item
    else
      report[#report + 1] = { index = index, action = "removed", code = code, message = text }
    end
  end)
  return items
end

-- Why a result that belongs to no call has to go.
local function explain_orphan(result, group)
  if group.by_key[result.key] and result.key ~= "" then
    return "duplicate_result", "a second result for this tool call"
  elseif result.key == "" then
    return "no_tool_call_id", "no id, and no open tool call before it"
  end
  return "orphan_result", "no open tool call with this id before it"
end

-- Hands the results to the messages behind which they belong, those that stand
-- there first.
local function hand_out(groups, report)
  for _, group in ipairs(groups) do
    local here = group.callers[#group.callers]
    for _, result in ipairs(group.results) do
      local caller = result.call and result.call.item
      if not caller then
        local code, text = explain_orphan(result, group)
        result.notes = {}
        mend.note(result, code, text, "removed")
      else
        name_result(result)
        if caller ~= here then
          mend.note(result, "displaced_result", "a result that stood apart from its call", "moved")
        end
        caller.results = caller.results or {}
        table.insert(caller.results, result)
      end
      for _, done in ipairs(result.notes) do
        report[#report + 1] = done
      end
    end
  end
end

local function emit(item, closed, list)
  list[#list + 1] = item.draft.value
  for _, result in ipairs(item.results or {}) do
    list[#list + 1] = result.draft.value
  end
  for _, call in ipairs(not closed and {} or item.calls or {}) do
    if not call.result then
      list[#list + 1] = {
        role = "tool", tool_call_id = call.id, content = history_repair.INTERRUPTED,
      }
      mend.note(item, "unanswered_call",
        ("tool call %d: no result"):format(call.n), "added")
    end
  end
end

---See `history.repair`.
---@param messages table[]
---@param closed boolean
---@param in_order fun(report: table[]): table[] sorts by index
---@return table[] mended
---@return opperchat.HistoryRepair[] report
function history_repair.repair(messages, closed, in_order)
  local report, list = {}, {}
  local items = read_items(messages, report)
  local groups = form_groups(items)
  for _, group in ipairs(groups) do
    match_ids(group)
    match_nameless(group)
  end
  match_displaced(groups)

  local known = known_ids(items)
  local last
  for _, item in ipairs(items) do
    if item.calls then
      name_calls(item, known)
    end
    last = item.role ~= "tool" and item or last
  end
  hand_out(groups, report)

  for _, item in ipairs(items) do
    if item.role ~= "tool" then
      emit(item, closed or item ~= last, list)
      for _, done in ipairs(item.notes) do
        report[#report + 1] = done
      end
    end
  end
  return list, in_order(report)
end

return history_repair
