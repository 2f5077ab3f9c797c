---keep: the last turns stay, and no others.
local check = require "opperchat.policy.check"

local Keep = { name = "keep" }
Keep.__index = Keep

function Keep:apply(draft)
  local turns = draft:turns()
  local loose = 0
  for number = 1, turns.count do
    loose = loose + (turns.kept[number] and 0 or 1)
  end
  if loose <= self.turns + (draft.is_forced and 0 or self.slack) then
    return true
  end
  local drops, left = {}, loose
  for number = turns.start, turns.count - 1 do
    if left <= self.turns then
      break
    elseif not turns.kept[number] then
      drops[number] = true
      left = left - (number > 0 and 1 or 0)
    end
  end
  draft:drop(turns, drops)
  return true
end

---Keeps the last turns: the one that is about to be sent and those before it.
---Turns with a pinned message stay as well and are not counted.
---@param given {turns: integer, slack?: integer} `slack` (0): so many more turns may gather
---before all of them go at once, so that the requests between share their beginning
---@return opperchat.Policy
local function keep(given)
  local checked = check.options("keep", given, {
    turns = { "integer >= 1", needed = true },
    slack = { "integer >= 0", default = 0 },
  })
  return setmetatable(checked, Keep)
end

return keep
