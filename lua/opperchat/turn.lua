---The end of a turn: what the conversation learns from it, has kept on disk and
---tells its program.
local client = require "opperchat.client"
local compaction = require "opperchat.compaction"
local core = require "opperchat.core"
local journal = require "opperchat.journal"
local limits = require "opperchat.limits"
local overflow = require "opperchat.overflow"
local request = require "opperchat.request"
local tokens = require "opperchat.tokens"

local turn = {}

---What is known of a turn while its request is in flight.
---@class opperchat.Turn
---@field setup userdata
---@field fields string options of the request as JSON text
---@field is_stream boolean
---@field given? table options of the request
---@field prepared? opperchat.Prepared what a policy has made of the list
---@field sent {messages: integer, fields: integer, model?: string} estimates
---@field in_background boolean whether policies ask models between turns only
---@field before? opperchat.Conversation the list before, where a failure to write it down
---takes the turn back
---@field fallbacks? string[] models that are left to be tried
---@field encode fun(model: string): string options of the request to another model
---@field renew? fun(): userdata? asks for the key again
---@field budget? {left: integer} attempts that the turn may still take
---@field has_trimmed? boolean
---@field has_renewed? boolean
---@field attempts? integer of earlier tries
---@field is_booked boolean
---@field calls? function[]

-- Whether a model has refused, or has no room for the request just now.
local function is_refusal(err)
  local status = err.status or 0
  if err.kind ~= "api" and err.kind ~= "http" then
    return false
  elseif status == 400 or status == 422 then
    -- of all that may be wrong with a request, only the model is another one
    return (err.code .. " " .. err.message):lower():find("model", 1, true) ~= nil
  end
  return status == 402 or status == 403 or status == 404 or status == 408 or status == 409
    or status == 429 or status >= 500 or err.retryable
end

-- What another try has to be made of; nil: there is none.
local function next_try(state)
  local of, err = state.turn, state.result
  local prepared
  if not of.has_trimmed then
    prepared = compaction.prepare_again(state.conversation, of.prepared, of.given, err,
      of.sent.messages + of.sent.fields)
  end
  if prepared then
    of.has_trimmed = true
    return { prepared = prepared }
  elseif of.renew and err.status == 401 and not of.has_renewed then
    of.has_renewed = true
    local setup = of.renew()
    return setup and { setup = setup } or nil
  elseif of.fallbacks and of.fallbacks[1] and (is_refusal(err) or overflow.read(err)) then
    local model = table.remove(of.fallbacks, 1)
    return { model = model, fields = of.encode(model) }
  end
end

-- Sends a request once more that has failed before anything of an answer
-- arrived: shorter, with another key or to another model.
local function again(self, state)
  local of, chat = state.turn, state.conversation
  local _, is_open = core.kind(chat)
  if not is_open or state.result.partial or core.client_is_closed(state.client) then
    return false
  end
  local try = next_try(state)
  if not try then
    return false
  end
  of.setup, of.fields = try.setup or of.setup, try.fields or of.fields
  local id = client.next_id(state.client)
  local list = of.prepared and (try.prepared or of.prepared).list
  if not list or not core.request_again(self, of.setup, of.fields, of.is_stream, id, list) then
    return false
  end
  of.prepared, of.attempts = try.prepared or of.prepared,
    (of.attempts or 0) + (state.result.attempts or 1)
  of.sent.messages, of.sent.model = core.request_tokens(self), try.model or of.sent.model
  state.failed, state.result = nil, nil
  request.restart(self, id)
  return true
end

-- The turn could not be written down, so it is none.
local function give_up(state, err)
  err.partial, err.trace_id = state.failed and state.result.partial or state.result,
    state.result.trace_id
  state.failed, state.committed, state.result = true, false, err
end

-- What is to be told of a policy's edits. A fork that works for another
-- conversation leaves that to the end of its work.
local function tell_edits(chat, prepared)
  local own = core.state(chat)
  if not own.origin then
    return compaction.committed(chat, prepared)
  end
  -- should that fail, what was paid for is not lost
  own.paid, own.ready = own.paid or own.ready, nil
  own.deferred[#own.deferred + 1] = prepared
  return {}
end

-- What is counted of a turn, once.
local function book(state)
  local of, chat = state.turn, state.conversation
  local told = state.failed and state.result.partial or state.result
  if of.attempts then
    state.result.attempts = (state.result.attempts or 1) + of.attempts
  end
  if of.budget then
    of.budget.left = of.budget.left - (state.result.attempts or 1) + 1
  end
  if of.fallbacks then
    state.result.requested_model = of.sent.model
  end
  if told and (told.usage or not state.failed) then
    limits.book(core.state(chat), told.usage)
  end
  local _, is_open = core.kind(chat)
  if is_open and not state.failed and told.usage then
    tokens.learn(chat, state.client, told.usage, of.sent)
  end
end

---Keeps the books of a request that has ended. May be called again when it did not
---come to its end for want of memory.
---@param state table of the request; its outcome may become another one
---@return function[] calls to be made
local function settle(state)
  local of, chat = state.turn, state.conversation
  if of.calls then
    return of.calls
  end
  if not of.is_booked then
    of.is_booked = true
    book(state)
  end
  local _, is_open = core.kind(chat)
  if is_open and state.committed and of.before then
    local saved, err = journal.after(chat, of.before, of.prepared)
    of.before = nil
    if not saved then
      give_up(state, err)
    end
  end
  local own = core.state(chat)
  of.calls = {}
  if not is_open then
    return of.calls
  end
  if state.committed and of.prepared then
    of.calls = tell_edits(chat, of.prepared)
  end
  for _, fn in ipairs(compaction.make_ready(chat)) do
    of.calls[#of.calls + 1] = fn
  end
  if state.committed and of.in_background and not own.origin then
    of.behind = function()
      local _, is_still_open = core.kind(chat)
      if is_still_open then
        compaction.begin(chat)
      end
    end
  end
  return of.calls
end

turn.hooks = { again = again, settle = settle }
request.turn = turn.hooks

return turn
