--- What is true in the village: who is where, and what is open, sung or conjured.
-- It knows nothing of language models; tools.lua changes it, art/ draws it.

local World = {}
World.__index = World

World.WIDTH, World.GROUND = 1480, 430
World.PLACES = { inn = 262, market = 470, fire = 748, gate = 968, hut = 1262 }
World.PLACE_NAMES = { "inn", "market", "fire", "gate", "hut" }
World.GATE = 1064 -- where the bars come down

local WALK, RUN = 70, 150 -- of villagers, of the player
local SONG_LASTS, MAGIC_LASTS = 20, 14 -- seconds
local NEWS_LASTS = 5

function World.new()
  return setmetatable({
    time = 0, is_gate_open = false, gate_lift = 0,
    bodies = {}, purse = { "coin", "coin" }, news = {},
  }, World)
end

--- Somebody who stands and walks there.
function World:add(name, x, look)
  local body = { name = name, x = x, look = look, facing = 1, stride = 0, speed = 0,
    pace = name == "traveller" and RUN or WALK, phase = #self.bodies * 1.7 }
  table.insert(self.bodies, body)
  self.bodies[name] = body
  return body
end

--- What has happened, for the player to read.
function World:tell(text)
  table.insert(self.news, { text = text, age = 0 })
end

-- Are the bars between the two?
function World:is_barred(from, to)
  return self.gate_lift < 0.7 and (from - self.GATE) * (to - self.GATE) < 0
end

--- Lets somebody walk; `body.goal` is there until then.
---@return true? nil and a reason: there is no way
function World:walk(body, x)
  if self:is_barred(body.x, x) then
    return nil, "the gate is closed"
  end
  body.goal = math.max(30, math.min(self.WIDTH - 30, x))
  return true
end

function World:set_gate(is_open)
  if self.is_gate_open == is_open then
    return nil, "the gate is " .. (is_open and "open" or "closed") .. " already"
  end
  self.is_gate_open = is_open
  self:tell(is_open and "The gate opens." or "The gate comes down.")
  return true
end

function World:is_gate_moving()
  return self.gate_lift ~= (self.is_gate_open and 1 or 0)
end

function World:play(mood)
  self.song = { mood = mood, left = SONG_LASTS }
  self:tell(mood == "merry" and "Finn plays a merry tune." or "Finn plays a slow song.")
end

function World:conjure(what)
  self.magic = { what = what, left = MAGIC_LASTS }
  self:tell("Wynne raises her staff: " .. what .. "!")
end

function World:count(item)
  local count = 0
  for _, name in ipairs(self.purse) do
    count = count + (name == item and 1 or 0)
  end
  return count
end

--- Something goes into the player's bag, for its price.
function World:hand_over(giver, item, price)
  if self:count(item) > 0 then
    return nil, "the traveller has one already"
  elseif self:count("coin") < price then
    return nil, ("it costs %d, and the traveller has %d coins"):format(price, self:count("coin"))
  end
  for i = #self.purse, 1, -1 do
    if price > 0 and self.purse[i] == "coin" then
      table.remove(self.purse, i)
      price = price - 1
    end
  end
  table.insert(self.purse, item)
  self:tell(giver .. " hands you the " .. item .. ".")
  return true
end

--- What somebody sees, in words. It goes into the prompt and not into the system
-- message: that one has to stay the same to the letter, or no cache knows it.
function World:describe(body)
  local place, nearest = "", math.huge
  for name, x in pairs(self.PLACES) do
    if math.abs(x - body.x) < nearest then
      place, nearest = name, math.abs(x - body.x)
    end
  end
  return ("[You are at the %s. The gate is %s.%s The traveller carries: %s.]"):format(place,
    self.is_gate_open and "open" or "closed",
    self.song and " A " .. self.song.mood .. " song is played." or "",
    #self.purse > 0 and table.concat(self.purse, ", ") or "nothing")
end

local function pass(self, thing, dt)
  local left = self[thing] and self[thing].left - dt
  if left then
    self[thing].left = left
    self[thing] = left > 0 and self[thing] or nil
  end
end

---@param dt number
---@param steer number -1 left, 0, 1 right: what the player wants
function World:update(dt, steer)
  self.time = self.time + dt
  pass(self, "song", dt)
  pass(self, "magic", dt)
  for i = #self.news, 1, -1 do
    self.news[i].age = self.news[i].age + dt
    if self.news[i].age > NEWS_LASTS then
      table.remove(self.news, i)
    end
  end
  local lift = self.is_gate_open and 1 or 0
  local change = math.max(-dt, math.min(dt, lift - self.gate_lift))
  self.gate_lift = self.gate_lift + change

  for _, body in ipairs(self.bodies) do
    local wish = 0
    if body.name == "traveller" and steer ~= 0 then
      wish, body.goal = steer, nil
    elseif body.goal then
      local way = body.goal - body.x
      wish = math.max(-1, math.min(1, way / 12))
      if math.abs(way) < 2 then
        body.goal = nil
      end
    end
    body.speed = body.speed + (wish * body.pace - body.speed) * (1 - math.exp(-12 * dt))
    local x = math.max(30, math.min(self.WIDTH - 30, body.x + body.speed * dt))
    -- as far as the bars, and not through them
    if self:is_barred(body.x, x) then
      x, body.speed, body.goal = body.x, 0, nil
    end
    body.x = x
    body.stride = body.stride + math.abs(body.speed) * dt * 0.11
    if math.abs(body.speed) > 8 then
      body.facing = body.speed > 0 and 1 or -1
    end
  end
end

return World
