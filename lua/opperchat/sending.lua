---Sending: from the list and its options to one request. Adds start, stream, cancel,
---preview and forecast to a conversation; `opperchat.steps` adds what may take several.
local client = require "opperchat.client"
local core = require "opperchat.core"
local errors = require "opperchat.errors"
local journal = require "opperchat.journal"
local json = require "opperchat.json"
local lazy = require "opperchat.lazy"
local message = require "opperchat.message"
local options = require "opperchat.options"
local request = require "opperchat.request"
local tokens = require "opperchat.tokens"
require "opperchat.turn"

local answer = lazy.module "opperchat.answer"
local compaction = lazy.module "opperchat.compaction"
local drafting = lazy.module "opperchat.drafting"
local log = lazy.module "opperchat.log"
local media = lazy.module "opperchat.media"
local outlook = lazy.module "opperchat.outlook"
local schema = lazy.module "opperchat.schema"
local tools = lazy.module "opperchat.tools"

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
  if is_plain then
    local cached = is_stream and state.stream_fields or not is_stream and state.fields
    if cached then
      return cached
    end
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
---@field can_ask boolean whether policies may ask models before a request: no task waits
---@field list? opperchat.Conversation what is sent instead of the conversation's list
---@field budget? {left: integer} attempts after failures that the turn may still make

---Checks the options of one call.
function sending.plan_of(state, given, what, set)
  if given == nil then
    return { registry = state.registry, wanted = state.wanted, is_stream = false, can_ask = false }
  end
  local valid, problem = options.check(set or options.send, given)
  if not valid then
    misuse(what .. ": " .. problem)
  end
  local registry, wanted
  if given.tools ~= nil or given.schema ~= nil or given.response_format ~= nil then
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
    is_stream = given.stream or given.on_delta ~= nil or given.on_event ~= nil,
    can_ask = false,
  }
end

---Raises what the core has refused to send.
---@param code string
---@param text? string
---@param detail? string|integer
function sending.refuse(code, text, detail)
  if code == "open_call" then
    misuse("send: the tool call '%s' has no result yet: append it with "
      .. "append(\"tool\", result, {tool_call_id = ...})", message.id(detail))
  end
  misuse("send: " .. message.problem(code, text, detail):gsub("^content", "prompt"))
end

---Appends a prompt to a fork. A file in it that cannot be read (any more) is an
---error, as it is when the prompt is sent.
function sending.append_prompt(work, prompt)
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
      sending.refuse(code, problem, detail)
    end
  end
end

-- The body of a request, and what it would come to.
local function look_ahead(self, prompt, given, what)
  local state = open(self)
  local plan = sending.plan_of(state, given, what)
  local fields = encode_fields(state, plan.given, plan.is_stream)
  local list = core.fork(self)
  local err = sending.append_prompt(list, prompt)
  if err then
    misuse("send: " .. err.message)
  end
  local forecast = outlook.forecast(self, list, plan.given)
  local text, code, problem, detail = core.body(list, fields, {})
  if not text then
    sending.refuse(code, problem, detail)
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
local function headers_of(state, own_client)
  local opper = core.state(own_client).opper
  local given = state.options
  local lines, problem = options.headers_for(opper, {
    name = given.name, tags = given.tags, guard = given.guard, trace_id = state.trace_id,
  })
  if not lines then
    misuse("send: " .. problem)
  end
  -- the client's own take the place of ours
  local result, taken = {}, {}
  for i, line in ipairs(client.headers(own_client)) do
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
local function setup_of(state, own_client, client_state, is_refused, refused)
  if state.setup and state.setup_client == own_client then
    return state.setup
  end
  local key, err = client.key(own_client, is_refused, refused)
  if key == nil then
    return nil, err
  elseif core.client_is_closed(own_client) then
    return nil, errors.new("cancelled", "closed", "the client was closed")
  end
  local settings = copy(client_state.settings)
  settings.key = key or nil
  settings.headers = headers_of(state, own_client)
  local setup = core.setup(own_client, settings)
  if not key then
    state.setup, state.setup_client = setup, own_client
  end
  return setup, key
end

---Raises while a request is in flight.
---@type fun(self: opperchat.Conversation)
sending.check_idle = core.check_idle

-- The list as it will be sent, when that is not just the conversation's with the
-- prompt behind it. `may_change`: it has to be at hand for another try of ours.
local function prepare(self, state, prompt, plan, may_change)
  local own = state.options
  if not (may_change or plan.list or state.policy or state.ready or own.max_cost
      or own.max_tokens_total or tokens.is_custom()) then
    return nil
  end
  local list = core.fork(plan.list or self)
  local before = #list
  local err = sending.append_prompt(list, prompt)
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
  err = err or drafting.check_limits(self, list, plan.given)
  return prepared, err
end

---How often requests of one turn may be sent again, all of them together.
---@param state table of the conversation
function sending.budget_of(state)
  local own_client = state.options.client or client.default()
  return { left = core.state(own_client).retry_budget }
end

-- What the end of a turn has to know.
local function turn_of(state, plan, own_client, client_state, setup, fields)
  local given = plan.given
  local model = given and given.model or state.options.model
  return {
    own = state, client = own_client, client_state = client_state, setup = setup,
    fields = fields, is_stream = plan.is_stream, given = given, can_ask = plan.can_ask,
    model = type(model) == "string" and model or nil,
    fields_tokens = tokens.of_options(state, given),
  }
end

-- The turn that all requests share which have no options of their own and nothing that
-- their ends would have to know beyond it; nil: this conversation has no such requests.
local function common_turn(state, turn)
  local own = state.options
  -- a setup that is not kept has a key that may be another one each time
  if turn.setup ~= state.setup or turn.given or turn.prepared or turn.renew or turn.fallbacks
      or turn.budget or own.max_cost or own.max_tokens_total then
    return nil
  end
  return {
    own = state, client = turn.client, client_state = turn.client_state, setup = turn.setup,
    fields = turn.fields, is_stream = turn.is_stream, can_ask = false, model = turn.model,
    fields_tokens = turn.fields_tokens, is_common = true,
    options = own, keep_partial = own.keep_partial,
  }
end

-- Whether a request is one of those that share a turn.
local function is_common(state, common, prompt, plan)
  return common and common.options == state.options and common.own == state
    and common.is_stream == plan.is_stream and type(prompt) == "string"
    and not (plan.given or plan.list or plan.budget or plan.wanted or state.policy
      or state.ready or state.journal or tokens.is_custom())
end

-- Writes down what is about to be sent.
local function log_sent(client_state, setup, sent, plan, fields, list, prompt)
  local encoded = encode_prompt(prompt)
  return log.sent(client_state.log, {
    method = "POST", url = client_state.base_url .. "/chat/completions", setup = setup,
    body = core.body(list, fields, encoded), tokens = core.request_tokens(sent, true),
    messages = #list + (type(encoded) == "string" and 1 or #encoded), is_stream = plan.is_stream,
  })
end

-- Tells the client's hook of a request that is about to be sent.
local function tell_request(self, state, client_state)
  client_state.on_request {
    conversation = state.origin or state.asked_by or self,
    url = client_state.base_url .. "/chat/completions",
  }
end

-- Makes a request, and raises, or returns, why there is none.
local function make_request(self, of, prompt, keep_partial, list)
  local sent, sent_state, problem, detail = core.request(of.setup, of.client, self, of.fields,
    prompt, of.is_stream, client.next_id(of.client_state), keep_partial, list)
  if not sent then
    local err = media.error(sent_state, problem)
    if not err then
      sending.refuse(sent_state, problem, detail)
    end
    return nil, err
  end
  return sent, sent_state
end

-- Makes a request and sends it. Returns its state, too.
local function start(self, state, prompt, plan)
  local given = plan.given
  local own_client = state.options.client or client.default()
  local common = state.common
  if is_common(state, common, prompt, plan) and common.client == own_client then
    local sent, sent_state = make_request(self, common, prompt, common.keep_partial)
    request.start(sent, sent_state, nil, common)
    return sent, sent_state
  end
  local client_state = client.check(own_client)
  sending.check_idle(self)
  local fields = encode_fields(state, given, plan.is_stream)
  if prompt == nil and #self == 0 then
    misuse("send: nothing to send: give a prompt or append a message")
  end
  local setup, key = setup_of(state, own_client, client_state)
  if not setup then
    return nil, key
  end
  local fallbacks = given and given.fallback_models or state.options.fallback_models
  local can_renew = client.can_renew(client_state)
  local prepared, err = prepare(self, state, prompt, plan, fallbacks or can_renew)
  if err then
    if err.code == "over_budget" and not plan.can_ask then
      -- no turn will come that makes room
      compaction.begin(self)
    end
    return nil, err
  end

  local keep_partial = given and given.keep_partial
  if keep_partial == nil then
    keep_partial = state.options.keep_partial
  end
  local turn = turn_of(state, plan, own_client, client_state, setup, fields)
  local sent, sent_state = make_request(self, turn, prepared and {} or encode_prompt(prompt),
    keep_partial, prepared and prepared.list)
  if not sent then
    return nil, sent_state
  end
  if client_state.on_request then
    tell_request(self, state, client_state)
    client.check(own_client)
  end
  local wanted = plan.wanted
  if wanted then
    -- before the turn is committed: an answer of the wrong shape is none
    sent_state.on_check = function(reply)
      return answer.check(reply, wanted)
    end
  end
  if client_state.log then
    sent_state.log = log_sent(client_state, setup, sent, plan, fields,
      prepared and prepared.list or self, not prepared and prompt or nil)
  end
  turn.prepared, turn.before = prepared, journal.before(self, state)
  if can_renew then
    turn.renew = function()
      return (setup_of(state, own_client, client_state, true, key))
    end
  end
  if fallbacks then
    turn.fallbacks = copy(fallbacks)
    turn.encode = function(other)
      return encode_fields(state, other, plan.is_stream)
    end
  end
  if fallbacks or plan.budget then
    turn.budget = plan.budget or sending.budget_of(state)
    core.request_limit(sent, turn.budget.left)
  end
  if not (client_state.on_request or client_state.log) then
    state.common = common_turn(state, turn)
  end
  request.start(sent, sent_state, given, turn)
  return sent, sent_state
end

---Sends and waits. When that raises, the request is over: nobody else could end it.
---@param self opperchat.Conversation
---@param state table of it
---@param prompt any
---@param plan opperchat.Plan
---@return opperchat.Reply? reply
---@return opperchat.Error? err
function sending.send_once(self, state, prompt, plan)
  local sent, sent_state = start(self, state, prompt, plan)
  if not sent then
    return nil, sent_state
  elseif not plan.can_ask then
    -- 5.1 cannot yield across a pcall; whoever drives the task drives the request
    return request.wait(sent, sent_state, true)
  end
  local worked, reply, problem = pcall(request.wait, sent, sent_state, false)
  if not worked then
    request.abandon(sent, sent_state)
    error(reply, 0)
  end
  return reply, problem
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
local function plan_of_stream(state, given, what)
  local plan = sending.plan_of(state, given, what)
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
  local state = open(self)
  local sent, err = start(self, state, prompt, plan_of_stream(state, given, "start"))
  if not sent then
    return nil, err
  end
  return sent
end

---Sends the list and returns what to loop over:
---`for text in chat:stream("Hi") do io.write(text) end`. What goes wrong is
---raised, as an error of the usual kind, by this or by the loop.
---@param prompt? any
---@param given? opperchat.SendOptions
---@return opperchat.Request
function methods:stream(prompt, given)
  local state = open(self)
  local sent, err = start(self, state, prompt, plan_of_stream(state, given, "stream"))
  if not sent then
    error(err, 0)
  end
  return sent
end

return sending
