---Drafts for policies, and what the size of a request is known from.
local client = require "opperchat.client"
local core = require "opperchat.core"
local lazy = require "opperchat.lazy"
local limits = require "opperchat.limits"
local options = require "opperchat.options"
local tokens = require "opperchat.tokens"
local window = require "opperchat.window"

-- which requires this file
local conversation = lazy.module "opperchat.conversation"
local draft = lazy.module "opperchat.policy.draft"

local drafting = {}

-- Tokens of the window that are left for the answer, unless the options say how
-- long it may be: this share, and not more than so many.
local RESERVE_SHARE, MAX_RESERVE = 0.1, 8000

---The client that a conversation uses.
---@param state table of the conversation
---@return opperchat.Client
function drafting.client_of(state)
  return state.options.client or client.default()
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

---What the size of a request of a conversation is known from.
---@param chat opperchat.Conversation
---@param given? table options of the request
---@return table of see `tokens.of_request`
function drafting.measure(chat, given)
  local state = core.state(chat)
  local model = given and given.model or state.options.model
  local own_client = drafting.client_of(state)
  return {
    client = own_client, model = type(model) == "string" and model or nil,
    fields = tokens.of_options(state, given), anchor = tokens.anchor(chat),
  }
end

-- Asks a model something on behalf of a conversation, which pays for it.
local function ask(chat, job, messages, given)
  local state = core.state(chat)
  local of = drafting.measure(chat)
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

---A draft of a conversation's list.
---@param chat opperchat.Conversation
---@param list opperchat.Conversation a fork, which the draft edits
---@param given? table options of the request
---@param job table `can_ask`, `is_forced`; `asking` is the request of a model while there is one
---@return opperchat.Draft
function drafting.draft(chat, list, given, job)
  local state, of = core.state(chat), drafting.measure(chat, given)
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

---Whether a request may be sent, by the limits of its conversation.
---@param state table of the conversation
---@param list opperchat.Conversation what is sent
---@param given? table options of the request
---@return opperchat.Error? err
function drafting.check_limits(chat, list, given)
  local state = core.state(chat)
  local own = state.options
  if not own.max_cost and not own.max_tokens_total then
    return nil
  end
  local of = drafting.measure(chat, given)
  return limits.check(state, of.client, of.model, function()
    return (tokens.of_request(list, of))
  end)
end

return drafting
