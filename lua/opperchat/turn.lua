---The end of a turn: what the conversation learns from it, has kept on disk and
---tells its program.
local client = require "opperchat.client"
local core = require "opperchat.core"
local journal = require "opperchat.journal"
local lazy = require "opperchat.lazy"
local limits = require "opperchat.limits"
local request = require "opperchat.request"
local tokens = require "opperchat.tokens"

local compaction = lazy.module "opperchat.compaction"
local overflow = lazy.module "opperchat.overflow"

local turn = {}

---What is known of a turn while its request is in flight. Most requests of a conversation
---share one (`is_common`), to which nothing is added.
---@class opperchat.Turn
---@field own table state of the conversation
---@field client opperchat.Client
---@field client_state table
---@field setup userdata
---@field fields string options of the request as JSON text
---@field fields_tokens integer estimate of what they say beside the messages
---@field is_stream boolean
---@field given? table options of the request
---@field model? string
---@field is_common? boolean
---@field prepared? opperchat.Prepared what a policy has made of the list
---@field can_ask boolean whether policies may ask models before a request; otherwise between
---turns only
---@field before? opperchat.Conversation the list before, where a failure to write it down
---takes the turn back
---@field fallbacks? string[] models that are left to be tried
---@field encode fun(given: table): string fields of the request with other options
---@field renew? fun(): userdata? asks for the key again
---@field budget? {left: integer} attempts after failures that the turn may still make
---@field has_trimmed? boolean
---@field has_renewed? boolean

-- What other models may do better, beside what the server refuses: they may
-- run elsewhere.
local WORTH_ANOTHER_MODEL = {
  first_token_timeout = true, truncated = true, empty_response = true, no_choices = true,
}

-- Whether a model has refused, or could not do it this time.
local function is_refusal(err)
  local status = err.status or 0
  if err.kind ~= "api" and err.kind ~= "http" then
    return WORTH_ANOTHER_MODEL[err.code] or false
  elseif err.code == "redirect" then
    return false
  elseif status == 400 or status == 422 then
    -- of all that may be wrong with a request, only the model is another one
    return (err.code .. " " .. err.message):lower():find("model", 1, true) ~= nil
  end
  return status == 402 or status == 403 or status == 404 or status == 408 or status == 409
    or status == 429 or status >= 500 or err.retryable
end

-- What another try has to be made of; nil: there is none.
local function next_try(self, state)
  local of, err = state.turn, state.result
  if not of.has_trimmed and overflow.read(err) then
    -- learns from the error what fits, in any case
    local prepared = compaction.prepare_again(state.conversation, of.prepared, of.given, err,
      (core.request_tokens(self) or 0) + of.fields_tokens)
    if prepared then
      return { prepared = prepared, has_trimmed = true }
    end
  end
  if of.renew and err.status == 401 and not of.has_renewed then
    of.has_renewed = true
    local setup = of.renew()
    return setup and { setup = setup }
  elseif of.fallbacks and of.fallbacks[1] and (is_refusal(err) or overflow.read(err)) then
    local given = {}
    for name, value in pairs(of.given or {}) do
      given[name] = value
    end
    given.model = table.remove(of.fallbacks, 1)
    return { given = given, fields = of.encode(given), has_trimmed = false }
  end
end

-- The same, while nobody can change the conversation: an api_key function and
-- policies are the program's own.
local function find_try(self, state)
  local chat = state.conversation
  core.set_busy(chat, true)
  local worked, try = pcall(next_try, self, state)
  local _, is_open = core.kind(chat)
  if is_open then
    core.set_busy(chat, false)
  end
  if not worked then
    error(try, 0)
  end
  return is_open and not core.client_is_closed(state.client) and try or nil
end

-- Sends a request once more that has failed before anything of an answer
-- arrived: shorter, with another key or to another model.
local function again(self, state)
  local of, chat = state.turn, state.conversation
  local _, is_open = core.kind(chat)
  if not is_open or state.result.partial or state.result.kind == "cancelled" then
    return false
  end
  local try = find_try(self, state)
  local prepared = try and try.prepared or of.prepared
  if not try or not prepared then
    return false
  end
  of.setup, of.fields, of.given = try.setup or of.setup, try.fields or of.fields,
    try.given or of.given
  if try.has_trimmed ~= nil then
    of.has_trimmed = try.has_trimmed
  end
  local retries = core.request_retries(self)
  local id = client.next_id(of.client_state)
  if not core.request_again(self, of.setup, of.fields, of.is_stream, id, prepared.list) then
    return false
  end
  if of.budget then
    of.budget.left = of.budget.left - retries
    core.request_limit(self, of.budget.left)
  end
  of.prepared = prepared
  of.model = try.given and try.given.model or of.model
  state.failed, state.result = nil, nil
  request.restart(self, state)
  local client_state = of.client_state
  if client_state.on_request then
    client_state.on_request {
      conversation = of.own.origin or of.own.asked_by or chat,
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

---Books what a request took. Asks for no memory, so it is done or it is not.
---@param self opperchat.Request
---@param state table of the request
---@param of opperchat.Turn
local function book(self, state, of)
  local told = state.result
  if state.failed then
    told = told.partial
  end
  if of.budget then
    of.budget.left = of.budget.left - core.request_retries(self)
  end
  if told and (told.usage or not state.failed) then
    limits.book(of.own, told.usage)
  end
end

-- What a request was thought to be, and what its reply says of it.
local function size_of(self, of, usage)
  return {
    client = of.client, messages = core.request_tokens(self), fields = of.fields_tokens,
    model = of.model, usage = usage, is_learned = false,
  }
end

-- Has the turn of a journal written down, once; what raises for want of memory has not.
local function write_down(state, of, chat)
  if state.committed and select(2, core.kind(chat)) then
    local saved, err = journal.after(chat, of.before, of.prepared)
    of.before = nil
    if not saved then
      give_up(state, err)
    end
  end
end

---What a conversation learns from a request that has ended, and has written down.
---@param self opperchat.Request
---@param state table of the request; its outcome may become another one
---@param of opperchat.Turn
---@return function[] calls to be made
local function settle(self, state, of)
  if state.calls then
    return state.calls
  end
  local chat = state.conversation
  if of.fallbacks then
    state.result.requested_model = of.model
  end
  if of.before then
    write_down(state, of, chat)
  end
  local own = of.own
  local _, is_open = core.kind(chat)
  if not is_open then
    return NOTHING
  end
  local usage = not state.failed and state.result.usage
  local learns = usage and usage.prompt_tokens
  if learns and not tokens.is_custom() then
    tokens.note(chat, own, of.client_state, size_of(self, of, usage))
    learns = false
  end
  if not (learns or own.ready or own.policy or of.prepared) then
    return NOTHING
  end
  local calls = {}
  if learns then
    -- among the calls, since what a program counts with may raise
    calls[1] = function()
      tokens.settle(chat, of.model)
      tokens.note(chat, own, of.client_state, size_of(self, of, usage))
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
  if state.committed and not of.can_ask and own.policy and not own.origin then
    state.behind = function()
      local _, is_still_open = core.kind(chat)
      if is_still_open then
        compaction.begin(chat)
      end
    end
  end
  state.calls = calls
  return calls
end

turn.hooks = { again = again, book = book, settle = settle }
request.turn = turn.hooks

return turn
