---fit: the request fits into a number of tokens.
local check = require "opperchat.policy.check"
local errors = require "opperchat.errors"

local Fit = { name = "fit" }
Fit.__index = Fit

-- Marks the oldest turns that may go until `excess` estimated tokens do.
local function choose(turns, excess)
  local drops, found = {}, false
  for number = turns.start, turns.count - 1 do
    if excess <= 0 then
      break
    elseif not turns.kept[number] then
      drops[number], found = true, true
      excess = excess - turns.tokens[number]
    end
  end
  return found and drops
end

function Fit:apply(draft)
  local limit = draft:budget(self.tokens)
  if not limit then
    return true
  end
  local size = draft:tokens()
  if size <= limit and not draft.is_forced then
    return true
  end
  -- once the beginning changes, it changes for all of what the next many
  -- requests need: that is what keeps the provider's prompt cache in use
  local goal = math.floor(limit * self.target)
  while size > goal do
    local turns = draft:turns()
    local drops = choose(turns, (size - goal) / draft:ratio())
    if not drops then
      break
    end
    draft:drop(turns, drops)
    size = draft:tokens()
  end
  -- a guess of the window is reason to trim, but none to send nothing
  local room = not draft.is_guess and draft.window or 1 / 0
  local most = math.min(self.tokens or room, room)
  if size > most and not draft.is_forced then
    return nil, errors.new("limit", "over_budget", ("the head, what is pinned, summaries and the "
      .. "last turn need about %d tokens, and %d are allowed"):format(size, most))
  end
  return true
end

---Trims when the next request would have more than `tokens`, and then down to
---`target` of it: whole turns go, the oldest first, those with pinned messages
---never. An error of kind `limit` (`over_budget`) when what has to stay is too much.
---@param given? {tokens?: integer, target?: number} `tokens`: 85 % of the model's context
---window when left out, and nothing happens while that is not known; `target`: 0.5
---@return opperchat.Policy
local function fit(given)
  local checked = check.options("fit", given, {
    tokens = { "integer >= 1" },
    target = { "number above 0, at most 1", default = 0.5 },
  })
  checked.wants_window = checked.tokens == nil
  return setmetatable(checked, Fit)
end

return fit
