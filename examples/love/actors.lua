--- The two who meet at the lake: an owl on a stump, and a traveller with a
-- lantern. Both are drawn with their feet at 0, 0.

local Scene = require "scene"

local lg = love.graphics

local LAMP = { 1, 0.72, 0.36 }

-- A light that flickers as a flame does.
local function flicker(time)
  return 1 + 0.05 * math.sin(time * 9) + 0.04 * math.sin(time * 23.7) + 0.03 * math.sin(time * 3)
end

local function draw_lantern(x, y, swing)
  lg.push()
  lg.translate(x, y)
  lg.rotate(swing)
  lg.setColor(0.16, 0.11, 0.24)
  lg.setLineWidth(1.5)
  lg.line(0, 0, 0, 5)
  lg.rectangle("fill", -5, 4, 10, 3, 1.5)
  lg.setColor(1, 0.86, 0.5)
  lg.rectangle("fill", -4, 7, 8, 10, 2)
  lg.setColor(1, 0.98, 0.86)
  lg.ellipse("fill", 0, 12.5, 1.8, 3.2)
  lg.setColor(0.16, 0.11, 0.24)
  lg.rectangle("fill", -5, 16, 10, 3, 1.5)
  lg.setLineWidth(1)
  lg.line(-4, 7, -4, 16)
  lg.line(4, 7, 4, 16)
  lg.pop()
end

-- ---------------------------------------------------------------------------
-- The owl
-- ---------------------------------------------------------------------------

local Owl = {}
Owl.__index = Owl

function Owl.new(x)
  return setmetatable({ x = x, time = 0, blink = 3, talk = 0, tilt = 0, look_x = 0, look_y = 0 },
    Owl)
end

--- Where its words come from: for the tail of the bubble.
function Owl:mouth()
  return self.x - 30, Scene.ground(self.x) - 112
end

---@param dt number
---@param mood string the Npc's
---@param is_typing boolean does the beak move?
---@param target_x number whom it looks at
function Owl:update(dt, mood, is_typing, target_x)
  self.time = self.time + dt
  self.blink = self.blink - dt
  if self.blink < -0.16 then
    self.blink = 1.5 + 3 * love.math.random()
  end
  local ease = 1 - math.exp(-9 * dt)
  self.talk = self.talk + ((is_typing and 1 or 0) - self.talk) * ease
  -- thinking owls look up and hold their head askew
  local is_thinking = mood == "thinking" or mood == "pondering"
  local look_x = math.max(-1, math.min(1, (target_x - self.x) / 160))
  local look_y = is_thinking and -0.9 or 0.35
  self.look_x = self.look_x + ((is_thinking and -0.4 or look_x) - self.look_x) * ease
  self.look_y = self.look_y + (look_y - self.look_y) * ease
  self.tilt = self.tilt + ((is_thinking and 0.16 or 0) - self.tilt) * ease * 0.6
end

local function draw_stump()
  lg.setColor(0.06, 0.05, 0.16, 0.45)
  lg.ellipse("fill", 4, 3, 56, 9)
  lg.setColor(0.23, 0.15, 0.25)
  lg.polygon("fill", -30, -32, 30, -32, 35, -6, 46, 3, 20, 5, -22, 5, -46, 3, -35, -6)
  lg.setColor(0.30, 0.20, 0.29)
  lg.polygon("fill", 4, -32, 30, -32, 35, -6, 46, 3, 20, 5, 10, 4)
  lg.setColor(0.17, 0.11, 0.21)
  lg.setLineWidth(1.5)
  lg.line(-18, -24, -20, -10, -26, 0)
  lg.line(-4, -22, -5, -6)
  lg.line(14, -23, 16, -8, 22, 1)
  lg.setColor(0.66, 0.47, 0.40)
  lg.ellipse("fill", 0, -32, 30, 7)
  lg.setColor(0.54, 0.36, 0.34)
  lg.ellipse("line", 0, -32, 21, 4.8)
  lg.ellipse("line", 0, -32, 12, 2.6)
end

local function draw_wing(side, lift)
  lg.push()
  lg.translate(side * 21, -47)
  lg.rotate(side * (0.10 - lift))
  lg.setColor(0.31, 0.21, 0.37)
  lg.ellipse("fill", side * 3, 17, 10, 23)
  lg.setColor(0.40, 0.28, 0.45)
  for i = 0, 2 do
    lg.ellipse("fill", side * 3, 6 + i * 9, 6.5 - i, 4.5)
  end
  lg.pop()
end

local function draw_eye(self, x)
  lg.setColor(0.98, 0.89, 0.72)
  lg.circle("fill", x, 0, 13, 32)
  local open = self.blink > 0 and 1 or math.abs(self.blink + 0.08) / 0.08
  open = math.max(0.08, math.min(1, open))
  lg.setColor(0.96, 0.62, 0.20)
  lg.ellipse("fill", x, 0, 8.6, 8.6 * open)
  lg.setColor(0.12, 0.07, 0.19)
  local px, py = x + self.look_x * 2.6, self.look_y * 2.8 * open
  lg.ellipse("fill", px, py, 5, 5 * open)
  if open > 0.5 then
    lg.setColor(1, 1, 1)
    lg.circle("fill", px + 1.7, py - 1.8, 1.6, 12)
  end
  -- spectacles
  lg.setColor(0.93, 0.75, 0.36)
  lg.setLineWidth(1.8)
  lg.circle("line", x, 0, 12.4, 32)
end

local function draw_head(self, beak)
  lg.push()
  lg.translate(0, -66 + 1.2 * math.sin(self.time * 1.9))
  lg.rotate(self.tilt + self.talk * 0.05 * math.sin(self.time * 5))
  lg.setColor(0.36, 0.25, 0.42)
  lg.polygon("fill", -27, -6, -30, -31, -8, -19)
  lg.polygon("fill", 27, -6, 30, -31, 8, -19)
  lg.setColor(0.47, 0.33, 0.50)
  lg.ellipse("fill", 0, 0, 30, 23, 40)
  lg.setColor(0.36, 0.25, 0.42)
  lg.polygon("fill", -9, -22, 9, -22, 0, -4)
  draw_eye(self, -12.5)
  draw_eye(self, 12.5)
  lg.setColor(0.93, 0.75, 0.36)
  lg.line(-2, -2, 0, -3, 2, -2)
  lg.setColor(0.72, 0.38, 0.22)
  lg.polygon("fill", -3.6, 8, 3.6, 8, 0, 13 + beak * 4)
  lg.setColor(0.98, 0.68, 0.30)
  lg.polygon("fill", -5, 4, 5, 4, 0, 13 - beak * 1.5)
  lg.pop()
end

function Owl:draw()
  local y = Scene.ground(self.x)
  lg.push()
  lg.translate(self.x, y + 4)

  -- its own lantern, on a stick
  lg.setColor(0.20, 0.13, 0.24)
  lg.setLineWidth(4)
  lg.line(66, 4, 64, -40, 66, -86)
  lg.setLineWidth(3)
  lg.line(66, -84, 58, -93, 46, -94)
  draw_stump()

  lg.translate(0, -32)
  local breath = 1 + 0.012 * math.sin(self.time * 1.9)
  local hop = self.talk * math.abs(math.sin(self.time * 4.2)) * 1.2
  lg.push()
  lg.translate(0, -hop)
  lg.setColor(0.43, 0.30, 0.47)
  lg.ellipse("fill", 0, -32, 27 * breath, 33, 40)
  lg.setColor(0.88, 0.72, 0.58)
  lg.ellipse("fill", 0, -27, 19 * breath, 25, 40)
  lg.setColor(0.72, 0.53, 0.46)
  lg.setLineWidth(1.6)
  for row = 0, 3 do
    for k = -1, 1 do
      local x = k * 9 + (row % 2) * 4.5 - 2.2
      lg.arc("line", "open", x, -40 + row * 9, 3.6, 0.3, math.pi - 0.3, 8)
    end
  end
  local wave = 0.5 + 0.5 * math.sin(self.time * 3.1)
  draw_wing(1, self.talk * (0.18 + 0.22 * wave))
  draw_wing(-1, self.talk * 0.1)
  local beak = self.talk * (0.5 + 0.5 * math.sin(self.time * 17))
  draw_head(self, beak)
  lg.pop()
  lg.setColor(0.95, 0.62, 0.28)
  for _, x in ipairs{ -13, -8, 8, 13 } do
    lg.ellipse("fill", x, 0, 3.6, 2.4)
  end
  lg.translate(0, 32)
  draw_lantern(46, -94, 0.08 * math.sin(self.time * 1.3))
  lg.pop()

  lg.setBlendMode("add")
  local light = flicker(self.time)
  Scene.light(self.x + 46, y - 78, 96 * light, nil, LAMP, 0.30)
  Scene.light(self.x + 46, y - 78, 28 * light, nil, LAMP, 0.7)
  Scene.light(self.x + 30, y + 6, 130, 24, LAMP, 0.20 * light)
  lg.setBlendMode("alpha")
end

-- ---------------------------------------------------------------------------
-- The traveller
-- ---------------------------------------------------------------------------

local Traveller = {}
Traveller.__index = Traveller

local WALK_SPEED, LEFT_END, RIGHT_END = 92, 46, 500

-- Left alone for so long, the traveller strolls about.
local RESTLESS = 3

function Traveller.new(x)
  return setmetatable({ x = x, time = 0, stride = 0, speed = 0, facing = 1, idle = RESTLESS,
    goal = x + 120 }, Traveller)
end

--- Where its words come from.
function Traveller:mouth()
  return self.x + 2, Scene.ground(self.x) - 58
end

--- Comes nearer to listen, and stays a while.
function Traveller:approach()
  self.goal, self.idle, self.listens = 232, math.max(self.idle, RESTLESS), true
end

---@param dt number
---@param steer number -1 left, 0, 1 right: what the player wants
function Traveller:update(dt, steer)
  self.time = self.time + dt
  self.idle = steer == 0 and self.idle + dt or 0
  local wish = steer * WALK_SPEED
  if self.idle > RESTLESS then
    local way = self.goal - self.x
    wish = math.max(-1, math.min(1, way / 20)) * WALK_SPEED * 0.5
    if math.abs(way) < 3 then
      self.idle = (self.listens and -6 or 0) + 2 * love.math.random()
      self.goal = love.math.random(80, 250)
      self.facing = self.listens and 1 or self.facing
      self.listens = false
    end
  end
  self.speed = self.speed + (wish - self.speed) * (1 - math.exp(-10 * dt))
  self.x = math.max(LEFT_END, math.min(RIGHT_END, self.x + self.speed * dt))
  self.stride = self.stride + self.speed * dt * 0.16
  if math.abs(self.speed) > 8 then
    self.facing = self.speed > 0 and 1 or -1
  end
end

function Traveller:draw()
  local y = Scene.ground(self.x) + 6
  local pace = math.min(1, math.abs(self.speed) / 60)
  local bob = math.abs(math.sin(self.stride)) * 2.2 * pace + 0.6 * math.sin(self.time * 2)
  local trail = pace * 5 + 1.2 * math.sin(self.time * 2.3)

  lg.setColor(0.06, 0.05, 0.16, 0.45)
  lg.ellipse("fill", self.x, y + 1, 19, 5)
  lg.push()
  lg.translate(self.x, y)
  lg.scale(self.facing, 1)

  -- legs
  lg.setColor(0.17, 0.12, 0.27)
  lg.setLineWidth(5)
  for side = -1, 1, 2 do
    local swing = math.sin(self.stride * self.facing) * side * 8 * pace
    local lift = math.max(0, math.cos(self.stride * self.facing) * side) * 3 * pace
    lg.line(side * 3, -14, side * 3.4 + swing, -2 - lift)
    lg.ellipse("fill", side * 3.4 + swing + 2, -1.5 - lift, 5, 2.6)
  end

  lg.translate(0, -bob)
  -- cloak
  lg.setColor(0.60, 0.17, 0.27)
  lg.polygon("fill", -8, -38, 4, -38, 4, -9, -15 - trail, -7)
  lg.setColor(0.80, 0.26, 0.31)
  lg.polygon("fill", -7, -40, 7, -40, 14, -9, 4, -6, -9 - trail * 0.6, -8)
  lg.setColor(0.91, 0.38, 0.37)
  lg.polygon("fill", 2, -40, 7, -40, 14, -9, 7, -7)
  -- arm and lantern
  lg.setColor(0.70, 0.21, 0.29)
  lg.setLineWidth(5)
  lg.line(4, -31, 17, -27)
  lg.setColor(0.96, 0.78, 0.62)
  lg.circle("fill", 18, -27, 2.8, 14)
  draw_lantern(18, -26, 0.12 * math.sin(self.time * 2.6) - 0.1 * pace)
  -- hood and face
  lg.setColor(0.80, 0.26, 0.31)
  lg.polygon("fill", -9, -50, -18 - trail * 0.4, -49 + 2 * math.sin(self.time * 2.3), -6, -39)
  lg.circle("fill", 0, -47, 12, 32)
  lg.setColor(0.35, 0.12, 0.23)
  lg.ellipse("fill", 4, -46, 8, 9)
  lg.setColor(0.97, 0.80, 0.64)
  lg.ellipse("fill", 4.8, -45.4, 6.8, 7.6)
  lg.setColor(0.20, 0.11, 0.22)
  local open = self.time % 3.7 < 0.12 and 0.3 or 1.9
  lg.ellipse("fill", 4, -46.5, 1.3, open)
  lg.ellipse("fill", 9, -46.5, 1.2, open)
  lg.setColor(0.95, 0.55, 0.48, 0.6)
  lg.circle("fill", 2.6, -42.6, 1.7, 10)
  -- scarf
  lg.setColor(0.98, 0.80, 0.45)
  lg.rectangle("fill", -8, -39, 16, 5, 2.5)
  lg.polygon("fill", -7, -38, -19 - trail, -33 + 2 * math.sin(self.time * 4), -17 - trail, -29,
    -6, -34)
  lg.pop()

  lg.setBlendMode("add")
  local light = flicker(self.time + 4)
  local lamp_x = self.x + 18 * self.facing
  Scene.light(lamp_x, y - 14 - bob, 66 * light, nil, LAMP, 0.30)
  Scene.light(lamp_x, y - 14 - bob, 20 * light, nil, LAMP, 0.6)
  Scene.light(lamp_x, y + 1, 60, 13, LAMP, 0.22 * light)
  lg.setBlendMode("alpha")
end

return { Owl = Owl, Traveller = Traveller }
