--- Chance for the specs: the same with every Lua, and again with the same seed.

local Dice = {}
Dice.__index = Dice

function Dice.new(seed)
  return setmetatable({ seed = seed % 2147483648 }, Dice)
end

--- 1 to `sides`.
function Dice:roll(sides)
  self.seed = (self.seed * 1103515245 + 12345) % 2147483648
  -- low bits repeat soon
  local high = math.floor(self.seed / 65536)
  if sides > 32768 then
    self.seed = (self.seed * 1103515245 + 12345) % 2147483648
    high = high * 32768 + math.floor(self.seed / 65536)
  end
  return high % sides + 1
end

function Dice:chance(percent)
  return self:roll(100) <= percent
end

function Dice:pick(list)
  return list[self:roll(#list)]
end

return Dice
