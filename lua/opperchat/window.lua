---The context window: how many tokens a model takes. Given by the program, said
---by the server's list of models, or learned when it was too small.
local core = require "opperchat.core"
local lazy = require "opperchat.lazy"

local models = lazy.module "opperchat.models"

local window = {}

-- Told that it was too long, but not by how much: the window is this share of
-- what was sent, at the most. What is very short was refused for another reason.
local BLIND_SHARE, MIN_BLIND = 0.75, 256

-- What is known of a model beyond what anybody says: `learned` by refusals,
-- `is_guess` when they named no number, `accepted` the largest prompt so far.
local function known_of(client, model)
  local state = core.state(client)
  state.windows = state.windows or {}
  local known = state.windows[model or ""]
  if not known then
    known = { accepted = 0 }
    state.windows[model or ""] = known
  end
  return known
end

---The window of a model, as far as it is known now. A guess counts only where
---nobody says anything.
---@param client opperchat.Client
---@param model? string
---@param given? integer the option `context_window`
---@return integer? tokens nil: not known
---@return boolean? is_guess
function window.of(client, model, given)
  local said = given
  if not said and model then
    local listed = models.peek(client, model)
    said = listed and listed.context_length
  end
  local known = known_of(client, model)
  if known.learned and (not said or not known.is_guess) then
    return math.min(known.learned, said or known.learned), known.is_guess
  end
  return said
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

---Learns from a request that the model has taken: what is larger than the window
---is not larger than the window.
---@param client opperchat.Client
---@param model? string
---@param prompt_tokens? integer
function window.accept(client, model, prompt_tokens)
  if not prompt_tokens then
    return
  end
  local known = known_of(client, model)
  known.accepted = math.max(known.accepted, prompt_tokens)
  if known.learned and known.accepted > known.learned then
    known.learned, known.is_guess = nil, nil
  end
end

---Learns from an error that said the request was too long.
---@param client opperchat.Client
---@param model? string
---@param overflow {window?: integer, tokens?: integer} what the error said
---@param sent integer tokens of the request, as far as they were known
---@return number scale by how much the estimate was too small, 1: nothing is known of that
function window.learn(client, model, overflow, sent)
  local known = known_of(client, model)
  if overflow.window then
    known.learned, known.is_guess = overflow.window, nil
    known.accepted = math.min(known.accepted, overflow.window)
  else
    local guess = math.floor((overflow.tokens or sent) * BLIND_SHARE)
    guess = math.max(guess, known.accepted)
    if guess >= MIN_BLIND and (not known.learned or known.is_guess and guess < known.learned) then
      known.learned, known.is_guess = guess, true
    end
  end
  return overflow.tokens and sent > 0 and overflow.tokens / sent or 1
end

return window
