---The end of a turn: what the conversation learns from it, has kept on disk and
---tells its program.
local client = require "opperchat.client"
local compaction = require "opperchat.compaction"
local core = require "opperchat.core"
local journal = require "opperchat.journal"
local limits = require "opperchat.limits"
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
---@field has_retried? boolean
---@field is_booked? boolean
---@field calls? function[]

-- Sends a request again that was too long for the model, once, with a shorter
-- list.
local function again(self, state)
  local of, chat = state.turn, state.conversation
  local _, is_open = core.kind(chat)
  if of.has_retried or not is_open or state.result.partial then
    return false
  end
  of.has_retried = true
  local prepared = compaction.prepare_again(chat, of.prepared, of.given, state.result,
    of.sent.messages + of.sent.fields)
  if not prepared or core.client_is_closed(state.client) then
    return false
  end
  local id = client.next_id(state.client)
  if not core.request_again(self, of.setup, of.fields, of.is_stream, id, prepared.list) then
    return false
  end
  of.prepared, of.attempts = prepared, (state.result.attempts or 1)
  of.sent.messages = core.request_tokens(self)
  state.failed, state.result = nil, nil
  request.restart(self, id)
  local client_state = core.state(state.client)
  if client_state.on_request then
    client_state.on_request {
      conversation = core.state(chat).origin or chat,
      url = client_state.base_url .. "/chat/completions",
    }
  end
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

local NOTHING = {}

-- Books what a request took and has the turn written down: each once, also when
-- the end of the request had to begin again for want of memory.
local function keep_books(state, told)
  local of, chat = state.turn, state.conversation
  if of.is_booked then
    return
  end
  of.is_booked = true
  if of.attempts then
    state.result.attempts = (state.result.attempts or 1) + of.attempts
  end
  if told and (told.usage or not state.failed) then
    limits.book(core.state(chat), told.usage)
  end
  if state.committed and of.before and select(2, core.kind(chat)) then
    local saved, err = journal.after(chat, of.before, of.prepared)
    if not saved then
      give_up(state, err)
    end
  end
end

---Keeps the books of a request that has ended.
---@param state table of the request; its outcome may become another one
---@return function[] calls to be made
local function settle(state)
  local of, chat = state.turn, state.conversation
  if of.calls then
    return of.calls
  end
  local told = state.failed and state.result.partial or state.result
  keep_books(state, told)
  local own = core.state(chat)
  local _, is_open = core.kind(chat)
  local calls = NOTHING
  if not is_open then
    of.calls = calls
    return calls
  end
  local learns = not state.failed and told.usage
  if learns and not tokens.is_custom() then
    tokens.note(chat, state.client, told.usage, of.sent)
    learns = false
  end
  if learns or state.committed and of.prepared or own.ready then
    calls = {}
  end
  if learns then
    -- among the calls, since what a program counts with may raise
    calls[1] = function()
      tokens.settle(chat, of.sent.model)
      tokens.note(chat, state.client, told.usage, of.sent)
    end
  end
  if state.committed and of.prepared then
    for _, fn in ipairs(tell_edits(chat, of.prepared)) do
      calls[#calls + 1] = fn
    end
  end
  if own.ready then
    for _, fn in ipairs(compaction.make_ready(chat)) do
      calls[#calls + 1] = fn
    end
  end
  if state.committed and of.in_background and own.policy and not own.origin then
    of.behind = function()
      local _, is_still_open = core.kind(chat)
      if is_still_open then
        compaction.begin(chat)
      end
    end
  end
  of.calls = calls
  return calls
end

turn.hooks = { again = again, settle = settle }
request.turn = turn.hooks

return turn
