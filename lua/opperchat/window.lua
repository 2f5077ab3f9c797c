---The context window: how many tokens a model takes. Given by the program, said
---by the server's list of models, or learned when it was too small.
local core = require "opperchat.core"
local models = require "opperchat.models"

local window = {}

-- Told that it was too long, but not by how much: the window is this share of
-- what was sent, at the most.
local BLIND_SHARE = 0.75

local function learned_of(client)
  local state = core.state(client)
  state.windows = state.windows or {}
  return state.windows
end

---The window of a model, as far as it is known now.
---@param client opperchat.Client
---@param model? string
---@param given? integer the option `context_window`
---@return integer? tokens nil: not known
function window.of(client, model, given)
  local known = given
  if not known and model then
    local listed = models.peek(client, model)
    known = listed and listed.context_length
  end
  local learned = learned_of(client)[model or ""]
  return known and learned and math.min(known, learned) or known or learned
end

---Has the server's list asked for in the background, when it alone can tell.
---@param client opperchat.Client
---@param model? string
---@param given? integer
function window.prefetch(client, model, given)
  if model and not window.of(client, model, given) then
    models.prefetch(client)
  end
end

---Learns from an error that said the request was too long.
---@param client opperchat.Client
---@param model? string
---@param overflow {window?: integer, tokens?: integer} what the error said
---@param sent integer tokens of the request, as far as they were known
---@return number scale by how much the estimate was too small, 1: nothing is known of that
function window.learn(client, model, overflow, sent)
  local learned = learned_of(client)
  local key = model or ""
  local seen = overflow.window or math.max(1, math.floor((overflow.tokens or sent) * BLIND_SHARE))
  learned[key] = learned[key] and math.min(learned[key], seen) or seen
  return overflow.tokens and sent > 0 and overflow.tokens / sent or 1
end

return window
