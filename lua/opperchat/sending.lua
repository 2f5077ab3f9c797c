---Sending: from the list and its options to a request, and what is done with the
---answer. Adds send, start, stream, run, cancel and preview to a conversation.
local answer = require "opperchat.answer"
local client = require "opperchat.client"
local compaction = require "opperchat.compaction"
local core = require "opperchat.core"
local driver = require "opperchat.driver"
local errors = require "opperchat.errors"
local journal = require "opperchat.journal"
local json = require "opperchat.json"
local media = require "opperchat.media"
local message = require "opperchat.message"
local options = require "opperchat.options"
local request = require "opperchat.request"
local run = require "opperchat.run"
local schema = require "opperchat.schema"
local tokens = require "opperchat.tokens"
local tools = require "opperchat.tools"
require "opperchat.turn"

local misuse = errors.misuse

local sending = {}

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

---Turns the short forms of `tools` and `schema` into what is sent. Returns the
---tools that can be run here and the JSON Schema answers are checked against.
function sending.resolve_forms(given, what)
  local registry, wanted, problem
  if given.tools ~= nil and not json.is_null(given.tools) then
    registry, problem = tools.compile(given.tools)
    if not registry then
      misuse("%s: option '%s", what, (problem:gsub("^tools", "tools'", 1)))
    end
    given.tools = tools.wire(registry) or {}
  end
  if json.is_null(given.schema) then
    -- not what the conversation says
    given.schema, wanted = nil, false
    if given.response_format == nil then
      given.response_format = json.null
    end
  elseif given.schema == nil and given.response_format ~= nil then
    wanted = false
  elseif given.schema ~= nil then
    wanted, problem = schema.expand(given.schema)
    if not wanted then
      misuse("%s: option 'schema': %s", what, problem)
    end
    given.response_format = schema.response_format(wanted)
  end
  return registry, wanted
end

-- A prompt as the core wants it: a text, or a list of messages as JSON text.
local function encode_prompt(prompt)
  if type(prompt) == "string" then
    return prompt
  elseif prompt == nil then
    return {}
  end
  local text, problem = message.encode("user", prompt)
  if not text then
    misuse("send: " .. problem:gsub("^content", "prompt"))
  end
  return { text }
end

-- Asks for usage at the end of a stream, unless told otherwise.
local function add_stream(fields, state, given)
  fields.stream = true
  local include_usage = given and given.include_usage
  if include_usage == nil then
    include_usage = state.options.include_usage
  end
  if include_usage ~= false and fields.stream_options == nil then
    fields.stream_options = { include_usage = true }
  end
end

-- The JSON fields of the request body. The two that a conversation needs most
-- often are kept.
local function encode_fields(state, given, is_stream)
  local is_plain = given == nil or next(given) == nil
  local cached = is_plain and (is_stream and state.stream_fields or not is_stream and state.fields)
  if cached then
    return cached
  end
  local fields = options.body(state.options, given)
  if is_stream then
    add_stream(fields, state, given)
  end
  local text, problem = options.encode(fields)
  if not text then
    misuse("send: " .. problem)
  end
  if is_plain and is_stream then
    state.stream_fields = text
  end
  return text
end

---What one call of send, start, stream or run is about.
---@class opperchat.Plan
---@field given? table checked options, with tools and schema as they are sent
---@field registry opperchat.ToolRegistry
---@field wanted? table|false JSON Schema of the answer
---@field is_stream boolean

-- Checks the options of one call.
local function plan_of(state, given, what, set)
  local valid, problem = options.check(set or options.send, given)
  if not valid then
    misuse(what .. ": " .. problem)
  end
  local registry, wanted
  if given and (given.tools ~= nil or given.schema ~= nil or given.response_format ~= nil) then
    given = copy(given)
    registry, wanted = sending.resolve_forms(given, what)
    if json.is_null(given.tools) then
      registry = tools.new()
    end
  end
  if wanted == nil then
    wanted = state.wanted
  end
  return {
    given = given,
    registry = registry or state.registry,
    wanted = wanted,
    is_stream = given ~= nil
      and (given.stream or given.on_delta ~= nil or given.on_event ~= nil) or false,
  }
end

local function refuse(code, text, detail)
  if code == "open_call" then
    misuse("send: the tool call '%s' has no result yet: append it with "
      .. "append(\"tool\", result, {tool_call_id = ...})", message.id(detail))
  end
  misuse("send: " .. message.problem(code, text, detail):gsub("^content", "prompt"))
end

-- Appends a prompt to a fork. A file in it that cannot be read (any more) is an
-- error, as it is when the prompt is sent.
local function append_prompt(work, prompt)
  local encoded = encode_prompt(prompt)
  if type(encoded) == "string" then
    local text, problem = message.encode("user", encoded)
    if not text then
      misuse("send: " .. problem:gsub("^content", "prompt"))
    end
    encoded = { text }
  end
  for _, text in ipairs(encoded) do
    local appended, code, problem, detail = core.append_json(work, text)
    if not appended then
      local err = media.error(code, problem)
      if err then
        return err
      end
      refuse(code, problem, detail)
    end
  end
end

-- The body of a request, and what it would come to.
local function look_ahead(self, prompt, given, what)
  local state = open(self)
  local plan = plan_of(state, given, what)
  local fields = encode_fields(state, plan.given, plan.is_stream)
  local list = core.fork(self)
  local err = append_prompt(list, prompt)
  if err then
    misuse("send: " .. err.message)
  end
  local forecast = compaction.forecast(self, list, plan.given)
  local text, code, problem, detail = core.body(list, fields, {})
  if not text then
    refuse(code, problem, detail)
  end
  return text, forecast
end

---The exact body that `send` would post, after what the policy would do to the
---list. A policy that would ask a model does not.
---@param prompt? any
---@param given? table
---@return string json
function methods:preview(prompt, given)
  return (look_ahead(self, prompt, given, "preview"))
end

---What `send` would come to: how large the request is, what it costs, what each
---policy would do. Nothing is sent and nothing changes.
---@param prompt? any
---@param given? table
---@return opperchat.Forecast
function methods:forecast(prompt, given)
  local text, forecast = look_ahead(self, prompt, given, "forecast")
  forecast.body = text
  return forecast
end

-- All headers of a request but those the core adds.
local function headers_of(state, client_state)
  local opper = client_state.opper
  local given = state.options
  local lines, problem = options.headers_for(opper, {
    name = given.name, tags = given.tags, guard = given.guard, trace_id = state.trace_id,
  })
  if not lines then
    misuse("send: " .. problem)
  end
  -- the client's own take the place of ours
  local result, taken = {}, {}
  for i, line in ipairs(client_state.headers) do
    result[i] = line
    taken[line:match("^[^:;]*"):lower()] = true
  end
  for _, line in ipairs(lines) do
    if not taken[line:match("^[^:]*"):lower()] then
      result[#result + 1] = line
    end
  end
  return result
end

-- What all requests of the conversation have in common. It is made again for
-- each request only when the key may be another one each time.
local function setup_of(state, own_client, client_state, is_refused)
  if state.setup and state.setup_client == own_client then
    return state.setup
  end
  local key, err = client.key(own_client, is_refused)
  if key == nil then
    return nil, err
  elseif core.client_is_closed(own_client) then
    return nil, errors.new("cancelled", "closed", "the client was closed")
  end
  local settings = copy(client_state.settings)
  settings.key = key or nil
  settings.headers = headers_of(state, client_state)
  local setup = core.setup(own_client, settings)
  if not key then
    state.setup, state.setup_client = setup, own_client
  end
  return setup
end

local function check_idle(self)
  if core.is_busy(self) then
    misuse("conversation is busy: a request is in flight "
      .. "(wait for it, cancel it, or send on a fork)")
  end
end

-- The list as it will be sent, when that is not just the conversation's with the
-- prompt behind it.
local function prepare(self, prompt, plan)
  local state = core.state(self)
  local own = state.options
  if not (plan.list or state.policy or state.ready or own.max_cost or own.max_tokens_total
      or tokens.is_custom() or plan.may_change) then
    return nil
  end
  local list = core.fork(plan.list or self)
  local before = #list
  local err = append_prompt(list, prompt)
  if err then
    return nil, err
  end
  local prompts = #list - before
  local prepared
  if plan.can_ask and state.policy then
    -- it may wait for a model, and others run meanwhile; not within a task, so
    -- nothing yields across the pcall
    local worked
    core.set_busy(self, true)
    worked, prepared, err = pcall(compaction.prepare, self, list, prompts, plan.given, true)
    local _, is_open = core.kind(self)
    if is_open then
      core.set_busy(self, false)
    end
    if not worked then
      error(prepared, 0)
    elseif not is_open then
      return nil, errors.new("cancelled", "closed", "the conversation was closed")
    end
  else
    prepared, err = compaction.prepare(self, list, prompts, plan.given, false)
  end
  err = err or compaction.check_limits(self, list, plan.given)
  return prepared, err
end

-- How often requests of one turn may be sent again, all of them together.
local function budget_of(self)
  local own_client = core.state(self).options.client or client.default()
  return { left = core.state(own_client).retry_budget }
end

-- What the end of the turn has to know.
local function turn_of(self, plan, setup, fields, prepared)
  local state = core.state(self)
  local model = plan.given and plan.given.model or state.options.model
  return {
    setup = setup, fields = fields, is_stream = plan.is_stream, given = plan.given,
    prepared = prepared, in_background = not plan.can_ask,
    before = journal.before(self), is_booked = false,
    budget = plan.budget or plan.fallbacks and budget_of(self) or nil,
    fallbacks = plan.fallbacks and copy(plan.fallbacks),
    encode = plan.fallbacks and function(given)
      return encode_fields(state, given, plan.is_stream)
    end,
    sent = {
      fields = compaction.fields_tokens(state, plan.given),
      model = type(model) == "string" and model or nil,
    },
  }
end

-- Makes a request and sends it.
local function start(self, prompt, plan)
  local state, given = open(self), plan.given
  local own_client = state.options.client or client.default()
  local client_state = client.check(own_client)
  check_idle(self)
  local fields = encode_fields(state, given, plan.is_stream)
  if prompt == nil and #self == 0 then
    misuse("send: nothing to send: give a prompt or append a message")
  end
  local setup, err = setup_of(state, own_client, client_state)
  if not setup then
    return nil, err
  end
  plan.fallbacks = given and given.fallback_models or state.options.fallback_models
  -- the list has to be at hand for another try of ours
  plan.may_change = plan.fallbacks and true or client_state.key_function and true or nil
  local prepared
  prepared, err = prepare(self, prompt, plan)
  if err then
    if err.code == "over_budget" and not plan.can_ask then
      -- no turn will come that makes room
      compaction.begin(self)
    end
    return nil, err
  end

  local id = client.next_id(own_client)
  local keep_partial = given and given.keep_partial
  if keep_partial == nil then
    keep_partial = state.options.keep_partial
  end
  local sent, code, problem, detail = core.request(setup, own_client, self, fields,
    prepared and {} or encode_prompt(prompt), plan.is_stream, id, keep_partial,
    prepared and prepared.list)
  if not sent then
    err = media.error(code, problem)
    if err then
      return nil, err
    end
    refuse(code, problem, detail)
  end
  if client_state.on_request then
    client_state.on_request {
      conversation = state.origin or state.asked_by or self,
      url = client_state.base_url .. "/chat/completions",
    }
  end
  local wanted = plan.wanted
  if wanted then
    -- before the turn is committed: an answer of the wrong shape is none
    core.state(sent).on_check = function(reply)
      return answer.check(reply, wanted)
    end
  end
  client.check(own_client)
  local turn = turn_of(self, plan, setup, fields, prepared)
  turn.sent.messages = core.request_tokens(sent)
  if client_state.key_function then
    turn.renew = function()
      return (setup_of(state, own_client, client_state, true))
    end
  end
  if turn.budget then
    core.request_limit(sent, turn.budget.left)
  end
  request.start(sent, id, given, turn)
  return sent
end

-- Sends and waits.
local function send_once(self, prompt, plan)
  local sent, err = start(self, prompt, plan)
  if not sent then
    return nil, err
  end
  return sent:wait()
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
  core.adopt(self, work)
  local saved, err = journal.after(self, before)
  if not saved then
    return err
  end
  state.anchor, state.unlearned = tokens.anchor_of_fork(self, tokens.anchor(work)), nil
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
  for _, fn in ipairs(is_open and compaction.make_ready(self) or {}) do
    calls[#calls + 1] = fn
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
  compaction.call_all(calls)
  return reply, err
end

-- Calls `fn(work, ...)` with a fork, while the conversation itself is held.
-- Whatever it raises comes out when that is over.
local function with_scratch(self, fn, ...)
  local state = open(self)
  local work = make_scratch(self)
  core.set_busy(self, true)
  state.work = work
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
  local problem = prompt ~= nil and append_prompt(work, prompt)
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
    reply, err = send_once(work, nil, plan)
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
local function send_checked(self, prompt, plan)
  local given = plan.given or {}
  local retries = given.schema_retries or open(self).options.schema_retries or 0
  if retries == 0 then
    return send_once(self, prompt, plan)
  end
  -- told once, of the last try
  local on_done = given.on_done
  plan = copy(plan)
  plan.budget = plan.budget or budget_of(self)
  plan.given = copy(given)
  plan.given.on_done = nil

  local state = core.state(self)
  if not state.origin then
    state.is_run_cancelled = false
  end
  local calls = {}
  local reply, err = send_once(self, prompt, plan)
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
  local plan = plan_of(open(self), given, "send")
  plan.can_ask = not driver.current()
  return send_checked(self, prompt, plan)
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
  check_idle(self)
  if prompt == nil and not plan.list then
    local left = tools.find_left_to_caller(plan.registry, run.open_calls(self))
    if left then
      refuse("open_call", nil, left.id)
    end
  end
  local choice = given.tool_choice
  if choice == nil then
    choice = state.options.tool_choice
  end
  state.is_run_cancelled = false
  plan.can_ask, plan.budget = not driver.current(), budget_of(self)
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
      return send_checked(fork, step_prompt, step)
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
  return run_turn(self, prompt, plan_of(open(self), given, "run", options.run))
end

---Takes the last turn back and asks again: its user message is sent once more,
---with what the options say. Tools are run when they were in that turn. When it
---fails, the turn stays as it was.
---@param given? opperchat.RunOptions
---@return opperchat.Reply? reply
---@return opperchat.Error? err
function methods:retry(given)
  local state = open(self)
  check_idle(self)
  local first, found = core.turn(self, 1)
  if found == 0 then
    misuse("retry: there is no turn to be repeated")
  end
  local list = core.fork(self)
  core.cut(list, first)
  local has_calls = core.kinds(self):find("[cC]", first) ~= nil
  local runs = has_calls and next(state.registry.by_name) ~= nil
  local plan = plan_of(state, given, "retry", runs and options.run or options.send)
  plan.list, plan.can_ask = list, not driver.current()
  if runs then
    return run_turn(self, nil, plan)
  end
  return send_checked(self, nil, plan)
end

---Ends a request, or the run or second try that is at work on a fork.
function sending.cancel(state)
  state.is_run_cancelled = true
  while state.work do
    state = core.state(state.work)
  end
  local asking = {}
  for job in pairs(state.foreground or {}) do
    asking[#asking + 1] = job.asking
  end
  for _, scratch in ipairs(asking) do
    sending.cancel(core.state(scratch))
  end
  local in_flight = state.in_flight
  if in_flight and core.kind(in_flight) then
    in_flight:cancel()
  end
end

---Ends what is in flight on this conversation, a request or a run. Does
---nothing when nothing is. A tool that is at work is not torn apart: the run
---ends when it has.
function methods:cancel()
  sending.cancel(open(self))
end

-- start and stream ask for a stream unless told otherwise.
local function plan_of_stream(self, given, what)
  local plan = plan_of(open(self), given, what)
  if given and given.schema_retries and given.schema_retries > 0 then
    misuse(what .. ": option 'schema_retries': only send and run can ask again")
  end
  plan.is_stream = not (given and given.stream == false)
  return plan
end

---The same without waiting. The answer comes as a stream: `on_delta(text)` gets
---its text piece by piece, `on_event(event, request)` reasoning and tool calls as
---well, `on_done(reply, err)` the ending, once. They are called from `poll`, never
---from here.
---@param prompt? any
---@param given? opperchat.SendOptions
---@return opperchat.Request? request
---@return opperchat.Error? err
function methods:start(prompt, given)
  return start(self, prompt, plan_of_stream(self, given, "start"))
end

---Sends the list and returns what to loop over:
---`for text in chat:stream("Hi") do io.write(text) end`. What goes wrong is
---raised, as an error of the usual kind, by this or by the loop.
---@param prompt? any
---@param given? opperchat.SendOptions
---@return opperchat.Request
function methods:stream(prompt, given)
  local sent, err = start(self, prompt, plan_of_stream(self, given, "stream"))
  if not sent then
    error(err, 0)
  end
  return sent
end

return sending
