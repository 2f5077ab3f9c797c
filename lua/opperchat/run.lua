---The tool loop: send, run what the model asks for, answer every call, send
---again, until the model is done.
---
---The work is done on a fork, and the conversation takes it over at the end: a
---run is one turn, and a turn is kept whole or not at all.
local core = require "opperchat.core"
local errors = require "opperchat.errors"
local json = require "opperchat.json"
local tools = require "opperchat.tools"

local run = {}

local MAX_STEPS = 10
-- The same call in this many steps in a row: the model is going in circles.
local MAX_REPEATS = 3

-- `required` and a named function hold for the first step: a model that has to
-- call a tool each time never comes to an end.
local function next_tool_choice(choice)
  local kind = type(choice) == "table" and choice.type
  if choice == "required" or choice == "any" or kind == "function" or kind == "custom" then
    return "auto"
  elseif kind == "allowed_tools" and type(choice.allowed_tools) == "table" then
    -- which tools there are goes on holding, that one has to be called does not
    return {
      type = kind,
      allowed_tools = { mode = "auto", tools = choice.allowed_tools.tools },
    }
  end
  return choice
end

---The calls at the end of a list that have no result yet, as a reply has them.
---@param list opperchat.Conversation
---@return opperchat.ToolCall[]
function run.open_calls(list)
  local calls, answered = {}, {}
  if not core.open_call(list) then
    return calls
  end
  local at = #list
  local message = list:messages(at, at)[1]
  while message.role == "tool" do
    answered[message.tool_call_id] = true
    at = at - 1
    message = list:messages(at, at)[1]
  end
  for _, call in ipairs(message.tool_calls) do
    if not answered[call.id] then
      local fn = call["function"] or {}
      local text = fn.arguments or ""
      if type(text) ~= "string" then
        text = json.encode(text)
      end
      calls[#calls + 1] = {
        id = call.id, name = fn.name or "", arguments_json = text,
        arguments = tools.decode_arguments(text),
      }
    end
  end
  return calls
end

-- Counts calls that come again step after step; the name of one that has come
-- too often.
local function find_repeated(calls, counts)
  local now, repeated = {}, nil
  for _, call in ipairs(calls) do
    local key = call.name .. "\0" .. call.arguments_json
    now[key] = (counts[key] or 0) + 1
    if now[key] >= MAX_REPEATS then
      repeated = call.name
    end
  end
  return now, repeated
end

-- Answers every call with the same words: it has not been run.
local function answer_all(work, calls, text)
  for _, call in ipairs(calls) do
    work:append("tool", tools.failure(text), { tool_call_id = call.id })
  end
end

-- Appends what a tool said; text that is no UTF-8 would spoil the list.
local function answer(work, outcome, id)
  local ok, err = pcall(work.append, work, "tool", outcome.content,
    { tool_call_id = id })
  if not ok then
    outcome.error = "the result cannot be sent: " .. tostring(err):gsub("^.-append: ", "")
    work:append("tool", tools.failure(outcome.error), { tool_call_id = id })
  end
end

local function stop(code, message, reply)
  local err = errors.new("tool", code, message)
  err.partial, err.trace_id = reply, reply.trace_id
  return err
end

local function cancelled()
  return errors.new("cancelled", "cancelled", "the run was cancelled")
end

---@class opperchat.RunPlan
---@field registry opperchat.ToolRegistry
---@field send fun(work: opperchat.Conversation, prompt: any, tool_choice: any): any, any
---@field tool_choice any
---@field max_steps? integer
---@field confirm? function
---@field on_tool? function
---@field is_cancelled fun(): boolean

-- Runs the calls of one reply and answers them all. What on_tool raises ends
-- the run.
local function take_calls(work, calls, plan, step)
  -- code of the program gets to see the calls, and may change them
  local ids = {}
  for i, call in ipairs(calls) do
    ids[i] = call.id
  end
  local outcomes = tools.run(plan.registry, calls, plan.confirm, plan.is_cancelled)
  for i, outcome in ipairs(outcomes) do
    answer(work, outcome, ids[i])
    if plan.on_tool then
      plan.on_tool {
        call = outcome.call, result = outcome.result, error = outcome.error, step = step,
      }
    end
  end
end

---Runs the loop on `work`.
---@param work opperchat.Conversation a fork nobody else has
---@param prompt any
---@param plan opperchat.RunPlan
---@return opperchat.Reply? reply
---@return opperchat.Error? err of kind `tool` when the list is worth keeping all the same
function run.loop(work, prompt, plan)
  local choice, counts = plan.tool_choice, {}
  if prompt == nil then
    -- an earlier run, or the program, may have left calls to be answered
    take_calls(work, run.open_calls(work), plan, 0)
    if plan.is_cancelled() then
      return nil, cancelled()
    end
  end
  local max_steps = plan.max_steps or MAX_STEPS
  for step = 1, max_steps do
    local reply, err = plan.send(work, prompt, choice)
    if not reply then
      return nil, err
    end
    reply.steps = step
    local calls = reply.tool_calls
    if not calls or tools.find_left_to_caller(plan.registry, calls) then
      return reply
    end
    local repeated
    counts, repeated = find_repeated(calls, counts)
    if repeated then
      local problem = ("the same call of '%s' came %d times in a row"):format(repeated, MAX_REPEATS)
      answer_all(work, calls, "not run: " .. problem)
      return nil, stop("repeated_call", problem, reply)
    elseif step == max_steps then
      local problem = ("the model still calls tools after %d steps"):format(max_steps)
      answer_all(work, calls, "not run: " .. problem)
      return nil, stop("max_steps", problem, reply)
    end
    take_calls(work, calls, plan, step)
    if plan.is_cancelled() then
      return nil, cancelled()
    end
    prompt, choice = nil, next_tool_choice(choice)
  end
end

return run
