---One turn that takes several requests: runs with tools, second tries for an answer
---of the wrong shape, a turn that is repeated. Adds send, run and retry to a
---conversation.
---
---The work is done on a fork, and the conversation takes it over at the end: a turn
---is kept whole or not at all.
local client = require "opperchat.client"
local core = require "opperchat.core"
local driver = require "opperchat.driver"
local errors = require "opperchat.errors"
local journal = require "opperchat.journal"
local lazy = require "opperchat.lazy"
local options = require "opperchat.options"
local sending = require "opperchat.sending"
local tokens = require "opperchat.tokens"

local answer = lazy.module "opperchat.answer"
local compaction = lazy.module "opperchat.compaction"
local reports = lazy.module "opperchat.reports"
local run = lazy.module "opperchat.run"
local tools = lazy.module "opperchat.tools"

local misuse = errors.misuse

local steps = {}

---@class opperchat.Conversation
local methods = core.methods("conversation")

local function open(self)
  return core.open(self, "conversation")
end

local function copy(given)
  local result = {}
  for name, value in pairs(given or {}) do
    result[name] = value
  end
  return result
end

-- A fork that works for its origin: with the same options, tools, connection
-- settings and totals.
local function make_scratch(self)
  local work = core.fork(self)
  local state = core.state(work)
  for name, value in pairs(core.state(self)) do
    state[name] = value
  end
  state.in_flight, state.work, state.journal = nil, nil, nil
  state.background, state.foreground, state.paid = nil, nil, nil
  state.origin, state.deferred = state.origin or self, {}
  state.anchor, state.unlearned = tokens.anchor_of_fork(work, tokens.anchor(self)), nil
  return work
end

-- Makes the list of a fork that has worked for a conversation the
-- conversation's own. Adds what is to be told then to `calls`.
local function take_over(self, work, calls)
  local state, done = core.state(self), core.state(work)
  local before = journal.before(self)
  -- what the work remembers goes over with its list
  local anchor = tokens.anchor(work)
  core.adopt(self, work)
  local saved, err = journal.after(self, before)
  if not saved then
    return err
  end
  state.anchor, state.unlearned = tokens.anchor_of_fork(self, anchor), nil
  compaction.take_ready(self, done.ready)
  if state.origin then
    for _, prepared in ipairs(done.deferred) do
      table.insert(state.deferred, prepared)
    end
    return nil
  end
  for _, prepared in ipairs(done.deferred) do
    for _, fn in ipairs(compaction.tellings(self, prepared)) do
      calls[#calls + 1] = fn
    end
  end
end

-- The end of work on a fork: everybody is told, whatever one of them raises.
local function end_work(self, calls, plan, on_done, reply, err)
  local _, is_open = core.kind(self)
  if is_open and core.state(self).ready then
    for _, fn in ipairs(compaction.make_ready(self)) do
      calls[#calls + 1] = fn
    end
  end
  if on_done then
    calls[#calls + 1] = function()
      on_done(reply, err)
    end
  end
  if reply and not plan.can_ask and not core.state(self).origin then
    calls[#calls + 1] = function()
      local _, is_still_open = core.kind(self)
      if is_still_open then
        compaction.begin(self)
      end
    end
  end
  reports.call_all(calls)
  return reply, err
end

-- Calls `fn(work, ...)` with a fork, while the conversation itself is held.
-- Whatever it raises comes out when that is over.
local function with_scratch(self, fn, ...)
  local state = open(self)
  local work = make_scratch(self)
  -- this may ask for memory, and what is busy has to become idle again
  state.work = work
  core.set_busy(self, true)
  local ok, reply, err = driver.protect(fn, work, ...)
  state.work = nil
  -- a model that has failed in there is not asked again so soon either
  state.ask_again_at = core.state(work).ask_again_at
  local _, is_open = core.kind(self)
  if is_open then
    core.set_busy(self, false)
  end
  if not ok then
    core.conversation_close(work)
    error(reply, 0)
  end
  return work, reply, err, is_open
end

-- Why a conversation that works for another one has to stop, nil: it need not.
local function find_stop(work)
  local state = core.state(work)
  if core.state(state.origin).is_run_cancelled then
    return errors.new("cancelled", "cancelled", "the request was cancelled")
  elseif core.client_is_closed(state.options.client or client.default()) then
    return errors.new("cancelled", "closed", "the client was closed")
  end
end

-- Tells the model what was wrong with its answer, and asks again.
local function retry_answer(work, prompt, plan, err, retries)
  if plan.list then
    core.assign(work, plan.list)
  end
  local problem = prompt ~= nil and sending.append_prompt(work, prompt)
  if problem then
    return nil, problem
  end
  -- the policy sees the turn as it will be, without the tries
  local state = core.state(work)
  local prepared, refused = compaction.prepare(work, core.fork(work), prompt ~= nil and 1 or 0,
    plan.given, false)
  if not prepared then
    return nil, refused
  end
  core.assign(work, prepared.list)
  state.deferred = { prepared }
  state.policy, state.ready, state.kept = nil, nil, #work
  local reply
  for _ = 1, retries do
    local stop = find_stop(work)
    if stop then
      return nil, stop
    end
    work:append("assistant", err.partial.content or "")
    work:append("user", answer.correction(err))
    reply, err = sending.send_once(work, state, nil, plan)
    if reply or not answer.correction(err) then
      break
    end
  end
  return reply, err
end

-- Whether a try that failed can be followed by another one: what was waiting
-- for it may have begun something else, or closed the conversation.
local function can_retry(self, err)
  local _, is_open = core.kind(self)
  return answer.correction(err) and is_open and not core.is_busy(self)
end

-- Sends, and again as long as the answer has the wrong shape.
local function send_checked(self, state, prompt, plan)
  local given = plan.given
  local retries = given and given.schema_retries or state.options.schema_retries or 0
  if retries == 0 then
    return sending.send_once(self, state, prompt, plan)
  end
  -- told once, of the last try
  local on_done = given and given.on_done
  plan = copy(plan)
  plan.budget = plan.budget or sending.budget_of(state)
  plan.given = copy(given)
  plan.given.on_done = nil

  if not state.origin then
    state.is_run_cancelled = false
  end
  local calls = {}
  local reply, err = sending.send_once(self, state, prompt, plan)
  if not reply and can_retry(self, err) then
    local work, is_open
    work, reply, err, is_open = with_scratch(self, retry_answer, prompt, plan, err, retries)
    if reply and is_open then
      local last = core.message_json(work, -1)
      core.cut(work, core.state(work).kept)
      core.append_json(work, last)
      local problem = take_over(self, work, calls)
      if problem then
        reply, err, problem.partial = nil, problem, reply
      end
    end
    core.conversation_close(work)
  end
  return end_work(self, calls, plan, on_done, reply, err)
end

---Sends the list, with `prompt` as a user message at its end, and waits for
---the answer. Both are added to the list together when the answer is complete;
---on any failure the list is as it was before.
---@param prompt? any a string, a part, or a list of both; nil: the list as it is
---@param given? opperchat.SendOptions
---@return opperchat.Reply? reply
---@return opperchat.Error? err
function methods:send(prompt, given)
  local state = open(self)
  local plan = sending.plan_of(state, given, "send")
  plan.can_ask = not driver.current()
  return send_checked(self, state, prompt, plan)
end

-- The options of a run that one of its requests gets.
local function options_of_step(given, choice)
  local step = copy(given)
  step.max_steps, step.on_tool, step.confirm, step.on_done = nil, nil, nil, nil
  step.tool_choice = choice
  return step
end

-- The loop, on the list that is wanted.
local function run_loop(work, prompt, plan)
  if plan.list then
    core.assign(work, plan.list)
  end
  return run.loop(work, prompt, plan)
end

-- One run, of the conversation's list or the one of the plan.
local function run_turn(self, prompt, plan)
  local state, given = open(self), plan.given or {}
  sending.check_idle(self)
  if prompt == nil and not plan.list then
    local left = tools.find_left_to_caller(plan.registry, run.open_calls(self))
    if left then
      sending.refuse("open_call", nil, left.id)
    end
  end
  local choice = given.tool_choice
  if choice == nil then
    choice = state.options.tool_choice
  end
  state.is_run_cancelled = false
  plan.can_ask, plan.budget = not driver.current(), sending.budget_of(state)
  local own_client = state.options.client or client.default()
  client.check(own_client)
  local work, reply, err, is_open = with_scratch(self, run_loop, prompt, {
    list = plan.list,
    registry = plan.registry,
    tool_choice = choice,
    max_steps = given.max_steps,
    confirm = given.confirm,
    on_tool = given.on_tool,
    is_cancelled = function()
      return state.is_run_cancelled
    end,
    send = function(fork, step_prompt, step_choice)
      if step_prompt == nil and core.client_is_closed(own_client) then
        -- while a tool was at work
        return nil, errors.new("cancelled", "closed", "the client was closed")
      end
      local step = copy(plan)
      step.list = nil
      step.given = options_of_step(given, step_choice)
      return send_checked(fork, open(fork), step_prompt, step)
    end,
  })
  local calls, keeps_partial = {}, given.keep_partial
  if keeps_partial == nil then
    keeps_partial = state.options.keep_partial
  end
  if is_open and (reply or err.kind == "tool" or keeps_partial) then
    local problem = take_over(self, work, calls)
    if problem then
      problem.partial = reply or err.partial
      reply, err = nil, problem
    end
  elseif is_open then
    -- what a model has written for the policy was paid for
    local done = core.state(work)
    compaction.take_ready(self, done.paid or done.ready)
  end
  core.conversation_close(work)
  return end_work(self, calls, plan, given.on_done, reply, err)
end

---Sends like `send`, runs the tools that the model calls, sends their results,
---and so on until the model has answered.
---
---Options beside those of `send`: `max_steps` (10 requests at most),
---`on_tool(event)` for each call with its `call`, `result`, `error` and `step`,
---`confirm(call)` which returns whether a call may happen, and why not.
---@param prompt? any
---@param given? opperchat.RunOptions
---@return opperchat.Reply? reply with `steps`, the number of requests
---@return opperchat.Error? err
function methods:run(prompt, given)
  return run_turn(self, prompt, sending.plan_of(open(self), given, "run", options.run))
end

---Takes the last turn back and asks again: its user message is sent once more,
---with what the options say. Tools are run when they were in that turn. When it
---fails, the turn stays as it was.
---@param given? opperchat.RunOptions
---@return opperchat.Reply? reply
---@return opperchat.Error? err
function methods:retry(given)
  local state = open(self)
  sending.check_idle(self)
  local first, found = core.turn(self, 1)
  if found == 0 then
    misuse("retry: there is no turn to be repeated")
  end
  local list = core.fork(self)
  core.cut(list, first)
  local has_calls = core.kinds(self):find("[cC]", first) ~= nil
  local runs = has_calls and next(state.registry.by_name) ~= nil
  local plan = sending.plan_of(state, given, "retry", runs and options.run or options.send)
  plan.list, plan.can_ask = list, not driver.current()
  if runs then
    return run_turn(self, nil, plan)
  end
  return send_checked(self, state, nil, plan)
end

return steps
