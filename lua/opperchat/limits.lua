---Limits of a conversation: what it may cost, checked before each request.
local core = require "opperchat.core"
local errors = require "opperchat.errors"
local lazy = require "opperchat.lazy"

local models = lazy.module "opperchat.models"

local limits = {}

---Whether a request would take a conversation over what it is allowed.
---@param state table of the conversation
---@param client opperchat.Client
---@param model? string
---@param prompt_tokens fun(): integer tokens of the request, asked for only when needed
---@return opperchat.Error? err of kind `limit`; nil: it may be sent
function limits.check(state, client, model, prompt_tokens)
  local given, usage = state.options, state.usage
  if given.max_tokens_total then
    local expected = usage.total_tokens + prompt_tokens()
    if expected > given.max_tokens_total then
      return errors.new("limit", "max_tokens_total",
        ("%d tokens were used, this request needs about %d more, and max_tokens_total is %d")
          :format(usage.total_tokens, expected - usage.total_tokens, given.max_tokens_total))
    end
  end
  if given.max_cost then
    local listed = model and models.peek(client, model)
    local price = listed and listed.price and listed.price.prompt
    local expected = price and price * prompt_tokens() or 0
    if usage.cost >= given.max_cost or usage.cost + expected > given.max_cost then
      return errors.new("limit", "max_cost",
        ("$%.6f were spent, this request costs at least about $%.6f, and max_cost is $%.6f")
          :format(usage.cost, expected, given.max_cost))
    end
  end
end

---Adds what a request took to the totals of its conversation.
---@param state table of the conversation
---@param usage? opperchat.Usage with `requests` when it stands for several
function limits.book(state, usage)
  local totals = state.usage
  totals.requests = totals.requests + (usage and usage.requests or 1)
  if not usage then
    return
  end
  totals.prompt_tokens = totals.prompt_tokens + (usage.prompt_tokens or 0)
  totals.completion_tokens = totals.completion_tokens + (usage.completion_tokens or 0)
  totals.total_tokens = totals.total_tokens + (usage.total_tokens or 0)
  local cached, reasoning, cost = usage.cached_tokens, usage.reasoning_tokens, usage.cost
  if cached then
    totals.cached_tokens = totals.cached_tokens + cached
  end
  if reasoning then
    totals.reasoning_tokens = totals.reasoning_tokens + reasoning
  end
  -- what adds up to infinity could not be written down
  if cost and totals.cost + cost < 1 / 0 then
    totals.cost = totals.cost + cost
  end
end

---What all requests of a conversation took.
---@param chat opperchat.Conversation open or closed
---@return opperchat.Usage a copy
function limits.used(chat)
  return limits.sum(core.state(chat).usage)
end

---@param a? opperchat.Usage
---@param b? opperchat.Usage
---@return opperchat.Usage sum a new one
function limits.sum(a, b)
  local result = limits.new_usage()
  for _, usage in ipairs { a or b or {}, a and b or {} } do
    for name, number in pairs(usage) do
      result[name] = (result[name] or 0) + number
    end
  end
  return result
end

---@return opperchat.Usage
function limits.new_usage()
  return {
    requests = 0, prompt_tokens = 0, completion_tokens = 0, total_tokens = 0,
    cached_tokens = 0, reasoning_tokens = 0, cost = 0,
  }
end

return limits
