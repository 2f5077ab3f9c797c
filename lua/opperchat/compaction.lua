---Compaction: when a conversation's policy is applied, and what becomes of its
---edits.
---
---Before a request, the policy edits a draft; the edit is made on the list when the
---turn is committed, so a turn that fails changes nothing. A policy that asks a
---model is waited for where `send` blocks anyway. Inside `go`, and for `start` and
---`stream`, it works between turns: its edit is made when it is done, if the
---messages it is about are still there.
local client = require "opperchat.client"
local core = require "opperchat.core"
local draft = require "opperchat.policy.draft"
local driver = require "opperchat.driver"
local errors = require "opperchat.errors"
local journal = require "opperchat.journal"
local fit = require "opperchat.policy.fit"
local limits = require "opperchat.limits"
local message = require "opperchat.message"
local models = require "opperchat.models"
local options = require "opperchat.options"
local overflow = require "opperchat.overflow"
local policy = require "opperchat.policy"
local tokens = require "opperchat.tokens"
local window = require "opperchat.window"

local compaction = {}

-- After a model has failed to help, it is asked again when the request has
-- grown by this share.
local PATIENCE = 0.05

-- Tokens of the window that are left for the answer, unless the options say how
-- long it may be: this share, and not more than so many.
local RESERVE_SHARE, MAX_RESERVE = 0.1, 8000

-- ---------------------------------------------------------------------------
-- Drafts
-- ---------------------------------------------------------------------------

local function client_of(state)
  return state.options.client or client.default()
end

---Estimated tokens of tools and the shape of the answer.
---@param state table of the conversation
---@param given? table options of one request
---@return integer
function compaction.fields_tokens(state, given)
  local is_plain = not given or given.tools == nil and given.response_format == nil
    and given.extra == nil
  local counter = tokens.count
  if is_plain and state.fields_tokens and state.fields_counter == counter then
    return state.fields_tokens
  end
  local sum = tokens.of_fields(options.body(state.options, given), state.options.model)
  if is_plain then
    state.fields_tokens, state.fields_counter = sum, counter
  end
  return sum
end

local function reserve_of(state, given, size)
  given = given or {}
  local own = state.options
  local longest = given.max_completion_tokens or given.max_tokens
    or own.max_completion_tokens or own.max_tokens
  if type(longest) == "number" and longest > 0 then
    return longest
  end
  return size and math.min(math.floor(size * RESERVE_SHARE), MAX_RESERVE) or 0
end

-- What the size of a request of this conversation is known from.
local function measure_of(chat, given)
  local state = core.state(chat)
  local model = given and given.model or state.options.model
  local own_client = client_of(state)
  return {
    client = own_client, model = type(model) == "string" and model or nil,
    fields = compaction.fields_tokens(state, given), anchor = tokens.anchor(chat),
  }
end

-- Asks a model something on behalf of a conversation, which pays for it.
local function ask(chat, job, messages, given)
  local state = core.state(chat)
  local conversation = require "opperchat.conversation"
  local of = measure_of(chat)
  local model = given.model or of.model
  local own = state.options
  local scratch = conversation.new {
    client = of.client, model = model, name = own.name, tags = own.tags, guard = own.guard,
    trace_id = state.trace_id, messages = messages,
    fallback_models = not given.model and own.fallback_models or nil,
  }
  local err = limits.check(state, of.client, model, function()
    return (tokens.of_request(scratch, { client = of.client, model = model, fields = 0 }))
  end)
  if err then
    return nil, err
  end
  local send = options.copy(given.options or {})
  send.schema = given.schema
  job.asking, core.state(scratch).asked_by = scratch, state.origin or job.chat
  local reply
  reply, err = scratch:send(nil, send)
  job.asking = nil
  local usage = limits.used(scratch)
  if select(2, core.kind(scratch)) then
    scratch:close()
  end
  limits.book(state, usage)
  return reply, err, usage
end

-- A draft of a conversation's list.
local function draft_of(chat, list, given, job)
  local state, of = core.state(chat), measure_of(chat, given)
  local known, is_guess = window.of(of.client, of.model, state.options.context_window)
  local result
  result = draft.new(list, {
    of = of, model = of.model, window = known, is_guess = is_guess,
    reserve = reserve_of(state, given, known),
    is_forced = job.is_forced or false, can_ask = job.can_ask,
    ask = function(messages, ask_options)
      local reply, err, usage = ask(chat, job, messages, ask_options or {})
      result.usage = limits.sum(result.usage, usage)
      return reply, err
    end,
  })
  return result
end

-- Whether a model is asked in vain: for just the same in the background, or
-- because it has failed a while ago.
local function should_wait(state, job, made)
  local owner = state.origin and core.state(state.origin) or state
  return owner.background ~= nil and owner.background ~= job
    or state.ask_again_at ~= nil and made:tokens() < state.ask_again_at
end

-- Lets the policy edit a draft.
local function apply(chat, job)
  local state = core.state(chat)
  local made = draft_of(chat, job.list, job.given, job)
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
-- Telling
-- ---------------------------------------------------------------------------

---What a policy did, as programs see it.
---@class opperchat.PolicyReport
---@field policy string its name
---@field dropped integer how many messages have left the list or were replaced
---@field added integer how many it has written
---@field tokens_before integer tokens of the request before
---@field tokens_after integer and after
---@field usage? opperchat.Usage of the requests it made
---@field in_background? boolean whether it worked between turns

local function report_of(step)
  local missing = core.missing(step.base, step.edited)
  return {
    policy = step.policy, dropped = #missing, added = #step.edited - #step.base + #missing,
    tokens_before = step.tokens_before, tokens_after = step.tokens_after, usage = step.usage,
    in_background = step.in_background,
  }, missing
end

-- What is to be called about edits that have been made.
local function tellings(chat, steps, failures)
  local given, list = core.state(chat).options, {}
  for _, step in ipairs(steps) do
    local report, missing = report_of(step)
    if given.on_drop and #missing > 0 then
      local messages = {}
      for i, at in ipairs(missing) do
        messages[i] = message.at(step.base, at)
      end
      list[#list + 1] = function()
        given.on_drop(messages, report)
      end
    end
    if given.on_compact then
      list[#list + 1] = function()
        given.on_compact(report)
      end
    end
  end
  for _, failure in ipairs(failures) do
    if given.on_compact then
      list[#list + 1] = function()
        given.on_compact({ policy = failure.policy, dropped = 0, added = 0,
          usage = failure.usage }, failure.err)
      end
    end
  end
  return list
end

---Calls all of a list; what the first failing one raises is raised at the end.
---@param list function[]
function compaction.call_all(list)
  local first
  for _, fn in ipairs(list) do
    local ok, err = pcall(fn)
    first = first or not ok and { err } or nil
  end
  if first then
    error(first[1], 0)
  end
end

local call_all = compaction.call_all

-- ---------------------------------------------------------------------------
-- Before a request
-- ---------------------------------------------------------------------------

local function extend(list, more)
  for _, item in ipairs(more) do
    list[#list + 1] = item
  end
  return list
end

-- An error that a request cannot be sent with.
local function find_fatal(outcome)
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
    tokens.settle(list, measure_of(chat, given).model)
    return { list = list, prompts = prompts, steps = steps, errors = {} }
  end
  if policy.wants_window(state.policy) then
    window.prefetch(client_of(state), state.options.model, state.options.context_window)
  end
  -- what is at work in the background already is not asked for twice
  local job = { chat = chat, list = list, given = given }
  job.can_ask = can_ask and not state.background
  local outcome = can_ask and in_foreground(state, job, apply, chat, job) or apply(chat, job)
  extend(steps, outcome.steps)
  if has_asked(outcome.steps) then
    -- it was paid for: should this turn fail, the next one begins with it
    local edited = core.fork(list)
    core.cut(edited, #edited - prompts)
    state.ready = { base = base, edited = edited, steps = steps }
  end
  local err = find_fatal(outcome)
  if err then
    return nil, err
  end
  return { list = list, prompts = prompts, steps = steps, errors = outcome.errors }
end

-- What the server said and the policy did not heed: the oldest turns go.
local function trim_hard(chat, list, given, limit)
  local made = draft_of(chat, list, given, { can_ask = false })
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
  local of = measure_of(chat, given)
  local scale = window.learn(of.client, of.model, found, sent)
  if not prepared or not state.policy then
    return nil
  end
  local list = core.fork(prepared.list)
  local outcome = apply(chat, { list = list, given = given, can_ask = false })
  local steps = extend(extend({}, prepared.steps), outcome.steps)
  local known = window.of(of.client, of.model, state.options.context_window)
  if not known then
    return nil
  end
  local limit = known * 0.9 / math.max(scale, 1)
  if tokens.of_request(list, measure_of(chat, given)) > limit then
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
  return tellings(chat, prepared.steps, prepared.errors)
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
    return tellings(chat, {}, { { policy = "compaction", err = err } }), err
  end
  local saved, err = journal.after(chat, before)
  if not saved then
    return tellings(chat, {}, { { policy = "compaction", err = err } }), err
  end
  return tellings(chat, outcome.steps, outcome.errors)
end

-- Works out an edit, on its own copy of the list.
local function work_out(chat, job)
  job.chat, job.base, job.list = chat, core.fork(chat), core.fork(chat)
  return apply(chat, job)
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
    call_all((make_edit(chat, job, outcome)))
  else
    call_all(tellings(chat, {}, outcome.errors))
  end
end

---Begins to compact in the background, when the policy asks models, has something
---to ask, and is not at it already. Its model requests are moved forward by
---whatever moves the conversation's own.
---@param chat opperchat.Conversation
function compaction.begin(chat)
  local state = core.state(chat)
  if not state.policy or state.background or state.foreground or not policy.asks(state.policy)
      or core.client_is_closed(client_of(state)) or core.open_call(chat) then
    return
  end
  local probe = { list = core.fork(chat), can_ask = false }
  if #apply(chat, probe).would_ask == 0 then
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

---What `compact` has done.
---@class opperchat.CompactReport
---@field dropped integer how many messages have left the list or were replaced
---@field added integer how many were written
---@field tokens_before integer
---@field tokens_after integer
---@field policies opperchat.PolicyReport[] one for each policy that changed something

local function sum_up(steps, before, after)
  local report = {
    dropped = 0, added = 0, tokens_before = before, tokens_after = after, policies = {},
  }
  for i, step in ipairs(steps) do
    local one = report_of(step)
    report.policies[i] = one
    report.dropped, report.added = report.dropped + one.dropped, report.added + one.added
  end
  return report
end

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
    call_all(tellings(self, {}, outcome.errors))
    return nil, outcome.errors[1].err
  end
  local calls, err = make_edit(self, job, outcome)
  -- not later: whoever is told may close it
  local size = (self:tokens())
  call_all(calls)
  if err then
    return nil, err
  end
  return sum_up(outcome.steps, before, size)
end

---Tokens of the next request as the list is now.
---@return integer tokens
---@return "measured"|"corrected"|"counted"|"estimated" how `measured`: the server has counted
---these very messages; `corrected`: estimated, and set right by what it said of others;
---`counted`: by `opperchat.tokens.count`; `estimated`: nothing was heard of the server yet
function methods:tokens()
  open(self)
  return tokens.of_request(self, measure_of(self))
end

---What a request would look like, without the request.
---@class opperchat.Forecast
---@field tokens integer of the request, by estimate or better
---@field how string see `chat:tokens`
---@field window? integer the model's context window, where it is known
---@field cost? number US dollars for the prompt alone, where the price is known
---@field messages integer how many are sent
---@field policies opperchat.PolicyReport[] what each policy would change
---@field would_ask string[] policies that would ask a model first
---@field err? opperchat.Error why it would not be sent
---@field body string the request's body, as of `preview`

---Forecasts a request.
---@param chat opperchat.Conversation
---@param list opperchat.Conversation a fork with the prompt at its end; edited by this
---@param given? table options of the request
---@return opperchat.Forecast
function compaction.forecast(chat, list, given)
  local state = core.state(chat)
  local of = measure_of(chat, given)
  local before = tokens.of_request(list, of)
  local outcome = { steps = {}, errors = {}, would_ask = {} }
  if state.ready then
    core.patch(list, state.ready.base, state.ready.edited)
  end
  if state.policy then
    outcome = apply(chat, { list = list, given = given, can_ask = false })
  end
  local size, how = tokens.of_request(list, of)
  local report = sum_up(outcome.steps, before, size)
  local listed = of.model and models.peek(of.client, of.model)
  local price = listed and listed.price and listed.price.prompt
  return {
    tokens = size, how = how, window = window.of(of.client, of.model, state.options.context_window),
    cost = price and price * size, messages = #list, policies = report.policies,
    would_ask = outcome.would_ask,
    err = find_fatal(outcome) or compaction.check_limits(chat, list, given),
  }
end

---Whether a request may be sent, by the limits of its conversation.
---@param state table of the conversation
---@param list opperchat.Conversation what is sent
---@param given? table options of the request
---@return opperchat.Error? err
function compaction.check_limits(chat, list, given)
  local state = core.state(chat)
  local own = state.options
  if not own.max_cost and not own.max_tokens_total then
    return nil
  end
  local of = measure_of(chat, given)
  return limits.check(state, of.client, of.model, function()
    return (tokens.of_request(list, of))
  end)
end

---Pins a message: no policy takes it out of the list, nor its turn.
---@param index integer negative ones count from the end
---@param on? boolean false: it is not pinned any more
---@return opperchat.Conversation? self
---@return opperchat.Error? err of kind `store`: the journal could not be written
function methods:pin(index, on)
  open(self)
  local count = #self
  if type(index) ~= "number" or index % 1 ~= 0 then
    errors.misuse("pin: integer expected, got " .. type(index))
  end
  local at = index < 0 and index + count + 1 or index
  if at < 1 or at > count then
    errors.misuse("pin: there is no message %.14g of %d", index, count)
  elseif core.is_busy(self) then
    errors.misuse("conversation is busy: a request is in flight "
      .. "(wait for it, cancel it, or work on a fork)")
  end
  local before = journal.before(self)
  core.set_flag(self, at, "pinned", on ~= false)
  return journal.after(self, before)
end

return compaction
