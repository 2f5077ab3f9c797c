---Compaction: when a conversation's policy is applied, and what becomes of its
---edits.
---
---Before a request, the policy edits a draft; the edit is made on the list when the
---turn is committed, so a turn that fails changes nothing. A policy that asks a
---model is waited for where `send` blocks anyway. Inside `go`, and for `start` and
---`stream`, it works between turns: its edit is made when it is done, if the
---messages it is about are still there.
local core = require "opperchat.core"
local drafting = require "opperchat.drafting"
local driver = require "opperchat.driver"
local errors = require "opperchat.errors"
local journal = require "opperchat.journal"
local lazy = require "opperchat.lazy"
local reports = require "opperchat.reports"
local tokens = require "opperchat.tokens"
local window = require "opperchat.window"

local fit = lazy.call "opperchat.policy.fit"
local overflow = lazy.module "opperchat.overflow"
local policy = lazy.module "opperchat.policy"

local compaction = {}

-- After a model has failed to help, it is asked again when the request has
-- grown by this share.
local PATIENCE = 0.05

-- Whether a model is asked in vain: for just the same in the background, or
-- because it has failed a while ago.
local function should_wait(state, job, made)
  local owner = state.origin and core.state(state.origin) or state
  return owner.background ~= nil and owner.background ~= job
    or state.ask_again_at ~= nil and made:tokens() < state.ask_again_at
end

---Lets the policy edit a draft.
---@param chat opperchat.Conversation
---@param job table `list`, `given`, `can_ask`, `is_forced`
---@return opperchat.PolicyOutcome
---@return opperchat.Draft
function compaction.apply(chat, job)
  local state = core.state(chat)
  local made = drafting.draft(chat, job.list, job.given, job)
  if job.can_ask and not job.is_forced and should_wait(state, job, made) then
    made.can_ask = false
  end
  local outcome = policy.run(state.policy, made)
  if made.can_ask then
    state.ask_again_at = nil
    for _, failure in ipairs(outcome.errors) do
      if failure.err.code ~= "over_budget" and failure.err.kind ~= "cancelled" then
        state.ask_again_at = math.floor(made:tokens() * (1 + PATIENCE)) + 1
      end
    end
  end
  return outcome, made
end

-- ---------------------------------------------------------------------------
-- Before a request
-- ---------------------------------------------------------------------------

local function extend(list, more)
  for _, item in ipairs(more) do
    list[#list + 1] = item
  end
  return list
end

---An error that a request cannot be sent with.
---@param outcome opperchat.PolicyOutcome
---@return opperchat.Error?
function compaction.find_fatal(outcome)
  for _, failure in ipairs(outcome.errors) do
    if failure.err.code == "over_budget" or failure.err.kind == "cancelled" then
      return failure.err
    end
  end
end

local function has_asked(steps)
  for _, step in ipairs(steps) do
    if step.usage then
      return true
    end
  end
  return false
end

-- Works on something that the program waits for: meanwhile nothing begins in the
-- background. Several may be at it, and end in any order.
local function in_foreground(state, job, fn, ...)
  state.foreground = state.foreground or {}
  state.foreground[job] = true
  local worked, result = driver.protect(fn, ...)
  state.foreground[job] = nil
  if next(state.foreground) == nil then
    state.foreground = nil
  end
  if not worked then
    error(result, 0)
  end
  return result
end

---What a policy has made of the list of a request.
---@class opperchat.Prepared
---@field list opperchat.Conversation what is sent: the prompt is at its end
---@field prompts integer how many messages of it are the prompt
---@field steps opperchat.PolicyStep[] how the policy came to it
---@field errors table[] what failed and is no reason not to send

---Lets the policy prepare the list of a request. The conversation itself stays as
---it is.
---@param chat opperchat.Conversation
---@param list opperchat.Conversation a fork with the prompt at its end
---@param prompts integer how many messages the prompt is
---@param given? table options of the request
---@param can_ask boolean whether models may be asked: the caller waits anyway
---@return opperchat.Prepared? prepared
---@return opperchat.Error? err
function compaction.prepare(chat, list, prompts, given, can_ask)
  local state = core.state(chat)
  local steps, base = {}, core.fork(list)
  core.cut(base, #base - prompts)
  if state.ready and core.patch(list, state.ready.base, state.ready.edited) then
    extend(steps, state.ready.steps)
  else
    state.ready = nil
  end
  if not state.policy then
    tokens.settle(list, drafting.measure(chat, given).model)
    return { list = list, prompts = prompts, steps = steps, errors = {} }
  end
  if policy.wants_window(state.policy) then
    window.prefetch(drafting.client_of(state), state.options.model, state.options.context_window)
  end
  -- what is at work in the background already is not asked for twice
  local job = { chat = chat, list = list, given = given }
  job.can_ask = can_ask and not state.background
  local outcome = can_ask and in_foreground(state, job, compaction.apply, chat, job)
    or compaction.apply(chat, job)
  extend(steps, outcome.steps)
  if has_asked(outcome.steps) then
    -- it was paid for: should this turn fail, the next one begins with it
    local edited = core.fork(list)
    core.cut(edited, #edited - prompts)
    state.ready = { base = base, edited = edited, steps = steps }
  end
  local err = compaction.find_fatal(outcome)
  if err then
    return nil, err
  end
  return { list = list, prompts = prompts, steps = steps, errors = outcome.errors }
end

-- What the server said and the policy did not heed: the oldest turns go.
local function trim_hard(chat, list, given, limit)
  local made = drafting.draft(chat, list, given, { can_ask = false })
  local trim = fit { tokens = math.max(1, math.floor(limit)), target = 0.6 }
  local outcome = policy.run(trim, made)
  if #outcome.errors > 0 then
    return nil, outcome.errors[1].err
  end
  return outcome.steps
end

---After an error that said the request was too long: learns the window, and
---prepares the list once more, shorter. nil: the error was another one, or
---there is nothing that can go.
---@param chat opperchat.Conversation
---@param prepared? opperchat.Prepared nil: there is no policy
---@param given? table options of the request
---@param err opperchat.Error
---@param sent integer estimate of the request
---@return opperchat.Prepared?
function compaction.prepare_again(chat, prepared, given, err, sent)
  local found = overflow.read(err)
  if not found then
    return nil
  end
  local state = core.state(chat)
  local of = drafting.measure(chat, given)
  local scale = window.learn(of.client, of.model, found, sent)
  if not prepared or not state.policy then
    return nil
  end
  local list = core.fork(prepared.list)
  local outcome = compaction.apply(chat, { list = list, given = given, can_ask = false })
  local steps = extend(extend({}, prepared.steps), outcome.steps)
  local known = window.of(of.client, of.model, state.options.context_window)
  if not known then
    return nil
  end
  local limit = known * 0.9 / math.max(scale, 1)
  if tokens.of_request(list, drafting.measure(chat, given)) > limit then
    local more = trim_hard(chat, list, given, limit)
    if not more then
      return nil
    end
    extend(steps, more)
  end
  if #list == #prepared.list and core.common(list, prepared.list) == #list then
    return nil
  end
  return { list = list, prompts = prepared.prompts, steps = steps, errors = prepared.errors }
end

---The turn that was prepared is in the list now.
---@param chat opperchat.Conversation
---@param prepared opperchat.Prepared
---@return function[] calls to be made: they tell the program
function compaction.committed(chat, prepared)
  compaction.take_ready(chat, nil)
  return compaction.tellings(chat, prepared)
end

---@param chat opperchat.Conversation
---@param prepared opperchat.Prepared
---@return function[] calls to be made: they tell the program
function compaction.tellings(chat, prepared)
  return reports.tellings(chat, prepared.steps, prepared.errors)
end

---What the next request is to begin with. An edit that came from between turns
---while a request was in flight is not lost to it: it is made at its end.
---@param chat opperchat.Conversation
---@param ready? table nil: nothing
function compaction.take_ready(chat, ready)
  local state = core.state(chat)
  if not (state.ready and state.ready.is_finished) then
    state.ready = ready
  end
end

-- ---------------------------------------------------------------------------
-- Between turns
-- ---------------------------------------------------------------------------

-- Makes an edit that was worked out on an earlier list. Returns what is to be
-- told, or nothing when a request is in flight: then it is made at its end; and
-- why it could not be made.
local function make_edit(chat, job, outcome)
  local state = core.state(chat)
  if core.is_busy(chat) then
    state.ready = { base = job.base, edited = job.list, steps = outcome.steps,
      errors = outcome.errors, is_finished = true }
    return {}
  end
  local before = journal.before(chat)
  local done = core.patch(chat, job.base, job.list)
  if not done then
    local err = errors.new("cancelled", "list_changed",
      "the messages were edited while the policy was at work on them")
    return reports.tellings(chat, {}, { { policy = "compaction", err = err } }), err
  end
  local saved, err = journal.after(chat, before)
  if not saved then
    return reports.tellings(chat, {}, { { policy = "compaction", err = err } }), err
  end
  return reports.tellings(chat, outcome.steps, outcome.errors)
end

-- Works out an edit, on its own copy of the list.
local function work_out(chat, job)
  job.chat, job.base, job.list = chat, core.fork(chat), core.fork(chat)
  return compaction.apply(chat, job)
end

---Makes an edit that had to wait for the end of a request.
---@param chat opperchat.Conversation
---@return function[] calls to be made
function compaction.make_ready(chat)
  local state = core.state(chat)
  local ready = state.ready
  if not ready or not ready.is_finished or core.is_busy(chat) then
    return {}
  end
  state.ready = nil
  return (make_edit(chat, { base = ready.base, list = ready.edited }, ready))
end

-- The body of the task that compacts between turns.
local function run_background(chat, state, job)
  local worked, outcome = driver.protect(work_out, chat, job)
  state.background = nil
  local _, is_open = core.kind(chat)
  if not worked then
    error(outcome, 0)
  elseif not is_open then
    return
  end
  for _, step in ipairs(outcome.steps) do
    step.in_background = true
  end
  if #outcome.steps > 0 then
    reports.call_all((make_edit(chat, job, outcome)))
  else
    reports.call_all(reports.tellings(chat, {}, outcome.errors))
  end
end

---Begins to compact in the background, when the policy asks models, has something
---to ask, and is not at it already. Its model requests are moved forward by
---whatever moves the conversation's own.
---@param chat opperchat.Conversation
function compaction.begin(chat)
  local state = core.state(chat)
  if not state.policy or state.background or state.foreground or not policy.asks(state.policy)
      or core.client_is_closed(drafting.client_of(state)) or core.open_call(chat) then
    return
  end
  local probe = { list = core.fork(chat), can_ask = false }
  if #compaction.apply(chat, probe).would_ask == 0 then
    return
  end
  local job = { can_ask = true }
  state.background = job
  job.task = driver.go(run_background, chat, state, job)
end

---Ends what is at work in the background for a conversation that was closed.
---@param chat opperchat.Conversation
function compaction.stop(chat)
  local job = core.state(chat).background
  if job and job.asking and select(2, core.kind(job.asking)) then
    job.asking:close()
  end
end

-- ---------------------------------------------------------------------------
-- On demand
-- ---------------------------------------------------------------------------

---@class opperchat.Conversation
local methods = core.methods("conversation")

local function open(self)
  return core.open(self, "conversation")
end

---Applies the policy now, however short the list is. Waits like `send` when a
---model is asked.
---@return opperchat.CompactReport? report
---@return opperchat.Error? err nothing was changed
function methods:compact()
  local state = open(self)
  if not state.policy then
    errors.misuse("compact: the conversation has no policy")
  elseif core.is_busy(self) then
    errors.misuse("conversation is busy: a request is in flight "
      .. "(wait for it, or cancel it)")
  end
  if state.background and state.background.task then
    state.background.task:wait()
  end
  local job = { can_ask = true, is_forced = true }
  local before = (self:tokens())
  local outcome = in_foreground(state, job, work_out, self, job)
  local _, is_open = core.kind(self)
  if not is_open then
    return nil, errors.new("cancelled", "closed", "the conversation was closed")
  elseif #outcome.errors > 0 then
    reports.call_all(reports.tellings(self, {}, outcome.errors))
    return nil, outcome.errors[1].err
  end
  local calls, err = make_edit(self, job, outcome)
  -- not later: whoever is told may close it
  local size = (self:tokens())
  reports.call_all(calls)
  if err then
    return nil, err
  end
  return reports.sum_up(outcome.steps, before, size)
end

return compaction
