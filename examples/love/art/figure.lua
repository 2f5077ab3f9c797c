--- People: one way to draw them all, and a table of looks. A figure stands with
-- its feet at body.x on the ground and is about 105 high.

local sky = require "art.sky"

local lg = love.graphics

local figure = {}

local GROUND, SIZE = 430, 1.3
local LAMP = { 1, 0.72, 0.36 }
local DARK = { 0.17, 0.11, 0.22 }

local known = {}

--- "c8414f" as { r, g, b }.
function figure.color(hex)
  if not known[hex] then
    local value = tonumber(hex, 16)
    known[hex] = { math.floor(value / 65536) / 255, math.floor(value / 256) % 256 / 255,
      value % 256 / 255 }
  end
  return known[hex]
end

-- Sets a color of the look, lighter or darker.
local function paint(hex, light)
  local tint = figure.color(hex)
  light = light or 1
  lg.setColor(tint[1] * light, tint[2] * light, tint[3] * light)
end

local props = {}

function props.lantern(time)
  lg.rotate(0.12 * math.sin(time * 2.6))
  lg.setColor(DARK)
  lg.line(0, 0, 0, 5)
  lg.rectangle("fill", -5, 4, 10, 3, 1.5)
  lg.setColor(1, 0.86, 0.5)
  lg.rectangle("fill", -4, 7, 8, 10, 2)
  lg.setColor(1, 0.98, 0.86)
  lg.ellipse("fill", 0, 12.5, 1.8, 3.2)
  lg.setColor(DARK)
  lg.rectangle("fill", -5, 16, 10, 3, 1.5)
end

function props.mug()
  lg.setColor(0.62, 0.42, 0.26)
  lg.rectangle("fill", -4, -7, 10, 11, 2)
  lg.setLineWidth(2)
  lg.circle("line", 7, -2, 3.4, 12)
  lg.setColor(1, 0.96, 0.84)
  lg.ellipse("fill", 1, -7.5, 6, 2.8)
end

function props.scales()
  lg.setColor(0.95, 0.78, 0.4)
  lg.setLineWidth(1.6)
  lg.line(0, -14, 0, 2)
  lg.line(-9, -12, 9, -12)
  for side = -1, 1, 2 do
    lg.line(side * 9, -12, side * 12, -4)
    lg.line(side * 9, -12, side * 6, -4)
    lg.arc("fill", side * 9, -4, 4, 0, math.pi)
  end
end

function props.lute(time, song)
  lg.push()
  lg.translate(-9, 3)
  lg.rotate(-0.5 + (song and 0.07 * math.sin(time * 14) or 0))
  lg.setColor(0.55, 0.33, 0.2)
  lg.rectangle("fill", 2, -3, 25, 4, 1.5)
  lg.setColor(0.82, 0.55, 0.3)
  lg.ellipse("fill", -2, -1, 12, 9.5)
  lg.setColor(0.35, 0.18, 0.14)
  lg.circle("fill", 0, -1, 3.2, 14)
  lg.setColor(1, 0.95, 0.8)
  lg.setLineWidth(0.8)
  lg.line(-9, -1.6, 26, -1.6)
  lg.line(-9, 0, 26, 0)
  lg.pop()
end

function props.spear()
  lg.setColor(0.42, 0.27, 0.2)
  lg.setLineWidth(3)
  lg.line(1, 26, 1, -58)
  lg.setColor(0.82, 0.86, 0.93)
  lg.polygon("fill", -4, -56, 6, -56, 1, -72)
  lg.setColor(0.78, 0.25, 0.3)
  lg.polygon("fill", 1, -54, 16, -49, 1, -43)
end

function props.staff(time, _, is_magic)
  lg.setColor(0.36, 0.24, 0.24)
  lg.setLineWidth(3.4)
  lg.line(1, 26, 0, -40, 4, -48)
  lg.setColor(0.6, 1, 0.66)
  lg.circle("fill", 2, -52, 5, 20)
  lg.setBlendMode("add")
  local beat = 0.55 + 0.2 * math.sin(time * 3)
  sky.light(2, -52, is_magic and 52 or 24, nil, { 0.5, 1, 0.6 }, beat)
  lg.setBlendMode("alpha")
end

local hats = {}

function hats.hood(look)
  paint(look.coat)
  lg.polygon("fill", -9, -4, -17, 0, -5, 9)
  lg.circle("fill", -1.5, 0.5, 12.2, 32)
  paint(look.coat, 0.5)
  lg.ellipse("fill", 3, 1.5, 9, 10)
  return true -- behind the face
end

function hats.bun(look)
  paint(look.hair)
  lg.circle("fill", -3, -12, 5.5, 20)
  lg.arc("fill", 0, -1, 11.6, -math.pi * 1.08, 0.02)
  paint(look.trim)
  lg.setLineWidth(2)
  lg.arc("line", "open", 0, -1, 11, -math.pi * 0.92, -math.pi * 0.2)
end

function hats.scarf(look)
  paint(look.trim)
  lg.arc("fill", 0, -1, 12, -math.pi * 1.05, 0.05)
  lg.polygon("fill", -10, -4, -19, 6, -13, 8, -8, 0)
  paint(look.trim, 0.82)
  lg.rectangle("fill", -11.5, -3.5, 23, 3.4, 1.6)
  lg.setColor(0.85, 0.3, 0.35)
  lg.circle("fill", 4, -8, 2.2, 12)
end

function hats.feather(look)
  paint(look.hair)
  lg.arc("fill", 0, 0, 11.5, -math.pi * 1.15, 0.1)
  paint(look.coat, 0.8)
  lg.polygon("fill", -15, -6, 14, -8, 8, -17, -8, -17)
  paint(look.trim)
  lg.polygon("fill", -6, -14, -20, -25, -15, -13)
  lg.setLineWidth(1.4)
  lg.line(-5, -12, -18, -24)
end

function hats.helmet(look)
  paint(look.trim, 0.82)
  lg.arc("fill", 0, -1, 12.5, -math.pi, 0)
  lg.rectangle("fill", -14, -3, 28, 3.6, 1.6)
  paint(look.trim)
  lg.arc("fill", 3, -2, 8.5, -math.pi, 0)
  lg.setColor(0.78, 0.25, 0.3)
  lg.polygon("fill", -3, -13, 4, -13, -8, -25)
end

function hats.witch(look)
  paint(look.hair)
  lg.polygon("fill", -11, -4, -15, 15, -6, 9)
  lg.polygon("fill", 10, -4, 13, 12, 7, 8)
  paint(look.coat, 0.75)
  lg.polygon("fill", -10, -6, 10, -6, 3, -24, -9, -36)
  lg.ellipse("fill", 0, -6, 20, 4.6)
  paint(look.trim)
  lg.polygon("fill", -9.4, -8, 9.3, -8, 8, -12, -8.6, -12)
end

local function draw_face(body, time, pose)
  local look = body.look
  paint(look.skin)
  lg.circle("fill", 0, 0, 10.4, 32)
  lg.setColor(0.95, 0.5, 0.45, 0.35)
  lg.circle("fill", -1.5, 3.6, 2.4, 12)
  lg.circle("fill", 8, 3.6, 2, 12)
  if look.beard then
    paint(look.hair)
    lg.arc("fill", 2.2, 4, 8.4, 0, math.pi)
    lg.polygon("fill", -9, -1, -6, -1, -4, 5, -7, 6)
  end
  -- eyes blink, and look up while their owner thinks
  local up = pose.is_thinking and -1.6 or 0
  local open = (time + body.phase) % 3.7 < 0.13 and 0.35 or 2
  lg.setColor(DARK)
  lg.ellipse("fill", 0.6, -1.6 + up, 1.5, open)
  lg.ellipse("fill", 6.6, -1.6 + up, 1.4, open)
  local mouth = pose.is_talking and 0.8 + 1.7 * math.abs(math.sin(time * 11 + body.phase)) or 0
  if mouth > 0 then
    lg.setColor(0.5, 0.16, 0.2)
    lg.ellipse("fill", 4, 4.6, 2.5, mouth)
  else
    lg.setColor(0.45, 0.18, 0.2)
    lg.setLineWidth(1.2)
    lg.arc("line", "open", 3.8, 3, 2.8, 0.35, math.pi - 0.35)
  end
end

local function draw_head(body, time, pose)
  lg.push()
  lg.translate(0, 0.6 * math.sin(time * 2 + body.phase))
  lg.rotate(pose.is_thinking and -0.12 or pose.is_talking and 0.05 * math.sin(time * 5) or 0)
  local hat = hats[body.look.hat]
  if body.look.hat == "hood" then
    hat(body.look)
    draw_face(body, time, pose)
    paint(body.look.hair)
    lg.arc("fill", "closed", 0.6, 0, 9.8, -2.7, -0.75)
  else
    draw_face(body, time, pose)
    hat(body.look)
  end
  lg.pop()
end

local function draw_coat(look, trail)
  paint(look.coat, 0.72)
  lg.polygon("fill", -10, -50, 3, -50, 4, -9, -17 - trail, -7)
  paint(look.coat)
  lg.polygon("fill", -9, -52, 9, -52, 16, -9, 4, -6, -11 - trail * 0.6, -8)
  paint(look.coat, 1.18)
  lg.polygon("fill", 3, -52, 9, -52, 16, -9, 8, -7)
  if look.apron then
    paint(look.trim)
    lg.polygon("fill", -2, -44, 8, -44, 13, -12, -3, -11)
  else
    paint(look.trim)
    lg.polygon("fill", -10.5, -31, 11.5, -31, 12.4, -26.5, -11, -26.5)
  end
  paint(look.trim)
  lg.rectangle("fill", -9, -53, 18, 4.6, 2.3)
end

--- The upper half, for a portrait; the middle of the neck is at 0, 0.
function figure.draw_bust(body, world, pose)
  lg.push()
  lg.translate(0, 46)
  draw_coat(body.look, 0)
  lg.pop()
  lg.push()
  lg.translate(0, -16)
  draw_head(body, world.time, pose)
  lg.pop()
end

---@param body table of the world
---@param world table
---@param pose { is_talking: boolean?, is_thinking: boolean?, is_near: boolean? }
function figure.draw(body, world, pose)
  local look, time = body.look, world.time
  local pace = math.min(1, math.abs(body.speed) / 60)
  local bob = math.abs(math.sin(body.stride)) * 2.2 * pace + 0.6 * math.sin(time * 2 + body.phase)
  if world.song and pace < 0.1 then
    -- nobody stands still when the bard plays
    local beat = world.song.mood == "merry" and 9 or 3.4
    local height = world.song.mood == "merry" and 5 or 2
    bob = bob + math.abs(math.sin(time * beat + body.phase)) * height
  end
  local trail = pace * 5 + 1.2 * math.sin(time * 2.3 + body.phase)

  if pose.is_near then
    lg.setBlendMode("add")
    sky.light(body.x, GROUND + 4, 48, 14, { 1, 0.85, 0.5 }, 0.55 + 0.15 * math.sin(time * 4))
    lg.setBlendMode("alpha")
  end
  lg.setColor(0.06, 0.05, 0.16, 0.45)
  lg.ellipse("fill", body.x, GROUND + 2, 27, 6.5)
  lg.push()
  lg.translate(body.x, GROUND)
  lg.scale(body.facing * SIZE, SIZE)
  lg.setColor(DARK)
  lg.setLineWidth(5.5)
  for side = -1, 1, 2 do
    local swing = math.sin(body.stride) * side * 8 * pace
    local lift = math.max(0, math.cos(body.stride) * side) * 3 * pace
    lg.line(side * 3.6, -14, side * 4 + swing, -2 - lift)
    lg.ellipse("fill", side * 4 + swing + 2, -1.5 - lift, 5.5, 2.8)
  end
  lg.translate(0, -bob)
  draw_coat(look, trail)
  -- the arm that holds something moves with the words
  local wave = pose.is_talking and 3 * math.sin(time * 6) or 0
  lg.push()
  lg.translate(0, -68)
  draw_head(body, time, pose)
  lg.pop()
  paint(look.coat, 0.86)
  lg.setLineWidth(6)
  lg.line(3, -44, 18, -36 - wave)
  lg.push()
  lg.translate(19, -36 - wave)
  props[look.prop](time, world.song, world.magic)
  lg.pop()
  paint(look.skin)
  lg.circle("fill", 19, -36 - wave, 3.2, 14)
  lg.pop()

  if look.prop == "lantern" then
    local x = body.x + 25 * body.facing
    local light = 1 + 0.05 * math.sin(time * 9) + 0.04 * math.sin(time * 23.7)
    lg.setBlendMode("add")
    sky.light(x, GROUND - 30 - bob, 84 * light, nil, LAMP, 0.32)
    sky.light(x, GROUND - 30 - bob, 26 * light, nil, LAMP, 0.6)
    sky.light(x, GROUND + 3, 70, 14, LAMP, 0.24 * light)
    lg.setBlendMode("alpha")
  end
end

return figure
