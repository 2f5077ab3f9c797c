---What a conversation is about to send: its size, its price, what stays in it. Adds
---tokens and pin to a conversation.
local compaction = require "opperchat.compaction"
local core = require "opperchat.core"
local drafting = require "opperchat.drafting"
local errors = require "opperchat.errors"
local journal = require "opperchat.journal"
local lazy = require "opperchat.lazy"
local reports = require "opperchat.reports"
local tokens = require "opperchat.tokens"
local window = require "opperchat.window"

local models = lazy.module "opperchat.models"

local outlook = {}

---@class opperchat.Conversation
local methods = core.methods("conversation")

local function open(self)
  return core.open(self, "conversation")
end

---Tokens of the next request as the list is now.
---@return integer tokens
---@return "measured"|"corrected"|"counted"|"estimated" how `measured`: the server has counted
---these very messages; `corrected`: estimated, and set right by what it said of others;
---`counted`: by `opperchat.tokens.count`; `estimated`: nothing was heard of the server yet
function methods:tokens()
  open(self)
  return tokens.of_request(self, drafting.measure(self))
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
function outlook.forecast(chat, list, given)
  local state = core.state(chat)
  local of = drafting.measure(chat, given)
  local before = tokens.of_request(list, of)
  local outcome = { steps = {}, errors = {}, would_ask = {} }
  if state.ready then
    core.patch(list, state.ready.base, state.ready.edited)
  end
  if state.policy then
    outcome = compaction.apply(chat, { list = list, given = given, can_ask = false })
  end
  local size, how = tokens.of_request(list, of)
  local report = reports.sum_up(outcome.steps, before, size)
  local listed = of.model and models.peek(of.client, of.model)
  local price = listed and listed.price and listed.price.prompt
  return {
    tokens = size, how = how, window = window.of(of.client, of.model, state.options.context_window),
    cost = price and price * size, messages = #list, policies = report.policies,
    would_ask = outcome.would_ask,
    err = compaction.find_fatal(outcome) or drafting.check_limits(chat, list, given),
  }
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

return outlook
