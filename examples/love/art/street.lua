--- The village: inn, stall, fire, gate and hut, from left to right, in units of
-- the world. What the world says is open, played or given is to be seen here.

local sky = require "art.sky"

local lg = love.graphics

local street = {}

local BOTTOM, LENGTH = 540, 1480
local LAMP = { 1, 0.72, 0.36 }
local stones, tufts, floor = {}, {}, nil

function street.load()
  local dice = love.math.newRandomGenerator(5)
  local function between(low, high)
    return low + (high - low) * dice:random()
  end
  floor = lg.newMesh({
    { 0, 404, 0, 0, 0.30, 0.25, 0.42, 1 }, { LENGTH, 404, 0, 0, 0.16, 0.19, 0.30, 1 },
    { 0, 424, 0, 0, 0.42, 0.33, 0.44, 1 }, { LENGTH, 424, 0, 0, 0.22, 0.25, 0.32, 1 },
    { 0, BOTTOM, 0, 0, 0.14, 0.10, 0.24, 1 }, { LENGTH, BOTTOM, 0, 0, 0.06, 0.08, 0.17, 1 },
  }, "strip", "static")
  for i = 1, 230 do
    local depth = between(0, 1)
    stones[i] = { between(0, 1040), 418 + depth * 60, between(9, 17) * (0.7 + depth * 0.6),
      between(2.4, 3.6) * (0.7 + depth * 0.6), between(0.85, 1.15) }
  end
  for i = 1, 150 do
    local is_wood = i > 60
    tufts[i] = { is_wood and between(1090, LENGTH) or between(0, LENGTH), between(410, 468),
      between(6, 13), between(-3, 3), between(0, 6) }
  end
end

local function window(x, y, width, height)
  lg.setColor(1, 0.79, 0.43)
  lg.rectangle("fill", x, y, width, height, 2)
  lg.setColor(1, 0.93, 0.66)
  lg.rectangle("fill", x + 3, y + 3, width - 6, height * 0.5, 2)
  lg.setColor(0.24, 0.14, 0.16)
  lg.setLineWidth(2.4)
  lg.rectangle("line", x, y, width, height, 2)
  lg.line(x + width / 2, y, x + width / 2, y + height)
  lg.line(x, y + height / 2, x + width, y + height / 2)
end

local function glow(x, y, radius, alpha, tint)
  lg.setBlendMode("add")
  sky.light(x, y, radius, nil, tint or LAMP, alpha)
  lg.setBlendMode("alpha")
end

local function draw_inn(time)
  local beam = { 0.27, 0.16, 0.18 }
  for i = 0, 5 do
    local rise = (time * 0.22 + i / 6) % 1
    lg.setColor(0.75, 0.68, 0.8, 0.24 * (1 - rise))
    lg.circle("fill", 96 + 16 * math.sin(rise * 5 + i) + rise * 24, 158 - rise * 78, 7 + rise * 16)
  end
  lg.setColor(0.33, 0.24, 0.30)
  lg.rectangle("fill", 84, 162, 24, 60)
  lg.setColor(0.42, 0.31, 0.35)
  lg.rectangle("fill", 81, 158, 30, 8, 2)
  lg.setColor(0.80, 0.66, 0.58)
  lg.rectangle("fill", 36, 264, 200, 158)
  lg.setColor(0.66, 0.52, 0.53)
  lg.rectangle("fill", 36, 264, 200, 20)
  lg.setColor(0.40, 0.31, 0.36)
  lg.rectangle("fill", 32, 394, 208, 30)
  lg.setColor(beam)
  lg.setLineWidth(7)
  lg.line(38, 268, 38, 394)
  lg.line(234, 268, 234, 394)
  lg.line(138, 268, 138, 394)
  lg.line(36, 332, 236, 332)
  lg.setLineWidth(5)
  lg.line(42, 328, 76, 272)
  lg.line(230, 328, 198, 272)
  -- the roof, tile by tile
  lg.setColor(0.45, 0.20, 0.28)
  lg.polygon("fill", 14, 272, 258, 272, 206, 184, 66, 184)
  for row = 0, 5 do
    local y, inset = 268 - row * 15, row * 8.8
    lg.setColor(0.52 - row * 0.012, 0.25, 0.31)
    for x = 20 + inset, 250 - inset - 10, 15 do
      lg.arc("fill", x + 7 + (row % 2) * 5 - 4, y - 8, 7.5, 0, math.pi)
    end
  end
  lg.setColor(0.32, 0.14, 0.22)
  lg.rectangle("fill", 10, 268, 252, 7, 3)
  window(58, 288, 34, 34)
  window(160, 288, 34, 34)
  window(60, 346, 40, 36)
  -- the door
  lg.setColor(0.24, 0.14, 0.16)
  lg.rectangle("fill", 158, 344, 58, 80, 4)
  lg.arc("fill", 187, 346, 29, -math.pi, 0)
  lg.setColor(0.48, 0.28, 0.20)
  lg.rectangle("fill", 164, 348, 46, 76, 3)
  lg.arc("fill", 187, 349, 23, -math.pi, 0)
  lg.setColor(0.36, 0.20, 0.16)
  lg.setLineWidth(1.5)
  for x = 175, 200, 12 do
    lg.line(x, 334, x, 423)
  end
  lg.setColor(0.95, 0.78, 0.4)
  lg.circle("fill", 203, 388, 3, 14)
  -- the sign of the pike
  local swing = 0.05 * math.sin(time * 1.4)
  lg.setColor(beam)
  lg.setLineWidth(4)
  lg.line(236, 296, 284, 296)
  lg.push()
  lg.translate(266, 297)
  lg.rotate(swing)
  lg.setLineWidth(1.5)
  lg.line(-14, 0, -14, 8)
  lg.line(14, 0, 14, 8)
  lg.setColor(0.55, 0.33, 0.22)
  lg.rectangle("fill", -22, 8, 44, 28, 5)
  lg.setColor(0.97, 0.84, 0.55)
  lg.ellipse("fill", -2, 22, 12, 5)
  lg.polygon("fill", 8, 22, 17, 16, 17, 28)
  lg.setColor(0.3, 0.16, 0.16)
  lg.circle("fill", -9, 21, 1.3, 8)
  lg.pop()
  glow(110, 350, 110, 0.24)
  glow(178, 300, 80, 0.2)
  glow(187, 420, 70, 0.16)
end

-- The lanterns of the feast. One hook is empty.
local function draw_lanterns(time, song)
  local poles, tints = { 318, 590, 872, 1014 }, { { 1, 0.72, 0.36 }, { 1, 0.5, 0.45 },
    { 0.95, 0.85, 0.5 }, { 0.75, 0.6, 1 } }
  local count = 0
  for i = 1, #poles - 1 do
    local x1, x2 = poles[i], poles[i + 1]
    local points = {}
    for k = 0, 12 do
      local t = k / 12
      points[#points + 1] = x1 + (x2 - x1) * t
      points[#points + 1] = 262 + 34 * (1 - (2 * t - 1) ^ 2) + math.sin(time * 0.8 + i) * 1.5
    end
    lg.setColor(0.14, 0.09, 0.20)
    lg.setLineWidth(1.5)
    lg.line(points)
    for k = 2, 10, 2 do
      local x, y = points[k * 2 + 1], points[k * 2 + 2]
      count = count + 1
      local tint = tints[count % 4 + 1]
      if not (i == 2 and k == 6) then
        local beat = not song and 2 or song.mood == "merry" and 9 or 3
        local light = 0.82 + (song and 0.18 or 0.08) * math.sin(time * beat + count)
        lg.setColor(tint[1] * light, tint[2] * light, tint[3] * light)
        lg.ellipse("fill", x, y + 11, 7, 9)
        lg.setColor(1, 0.97, 0.85, 0.7 * light)
        lg.ellipse("fill", x, y + 12, 3, 5)
        lg.setColor(0.14, 0.09, 0.20)
        lg.rectangle("fill", x - 4, y + 1, 8, 3, 1)
        glow(x, y + 11, 34, 0.42 * light, tint)
      else
        lg.setColor(0.14, 0.09, 0.20)
        lg.arc("line", "open", x, y + 5, 3.5, -1.2, math.pi)
      end
    end
  end
  lg.setColor(0.19, 0.12, 0.22)
  lg.setLineWidth(5)
  for i = 1, 3 do
    lg.line(poles[i], 258, poles[i], 424)
    lg.circle("fill", poles[i], 256, 4.5, 16)
  end
end

local function draw_stall_back()
  lg.setColor(0.30, 0.19, 0.22)
  lg.setLineWidth(6)
  lg.line(402, 316, 402, 424)
  lg.line(540, 316, 540, 424)
  lg.setColor(0.22, 0.15, 0.25)
  lg.rectangle("fill", 404, 326, 134, 70)
  local shelf = { { 0.8, 0.35, 0.35 }, { 0.5, 0.7, 0.5 }, { 0.9, 0.75, 0.4 }, { 0.55, 0.5, 0.8 } }
  lg.setColor(0.36, 0.24, 0.24)
  lg.rectangle("fill", 408, 362, 126, 4)
  for i = 0, 8 do
    lg.setColor(shelf[i % 4 + 1])
    lg.rectangle("fill", 413 + i * 13.4, 350 - i % 2 * 3, 8, 12 + i % 2 * 3, 2)
  end
end

local function draw_awning(time)
  local flutter = math.sin(time * 1.7) * 1.5
  for i = 0, 7 do
    local x1, x2 = 390 + i * 20.5, 390 + (i + 1) * 20.5
    lg.setColor(i % 2 == 0 and { 0.93, 0.86, 0.76 } or { 0.22, 0.53, 0.56 })
    lg.polygon("fill", x1 + (472 - x1) * 0.14, 290, x2 + (472 - x2) * 0.14, 290, x2, 324, x1, 324)
    lg.arc("fill", (x1 + x2) / 2, 323.5 + flutter * 0.3, 10.3, 0, math.pi)
  end
  lg.setColor(0.30, 0.19, 0.22)
  lg.rectangle("fill", 399, 285, 146, 6, 3)
  glow(472, 352, 84, 0.26)
end

--- What the one who keeps the stall stands behind.
function street.draw_counter(world)
  lg.setColor(0.42, 0.27, 0.22)
  lg.rectangle("fill", 398, 396, 150, 40, 3)
  lg.setColor(0.34, 0.21, 0.19)
  for x = 408, 540, 17 do
    lg.rectangle("fill", x, 402, 2, 34)
  end
  lg.setColor(0.60, 0.41, 0.30)
  lg.rectangle("fill", 392, 390, 162, 8, 3)
  local heaps = { { 410, { 0.85, 0.28, 0.30 } }, { 520, { 0.95, 0.66, 0.28 } } }
  for _, heap in ipairs(heaps) do
    lg.setColor(heap[2])
    for i = 0, 2 do
      lg.circle("fill", heap[1] + i * 9, 386, 5.2, 18)
    end
    lg.setColor(heap[2][1] * 1.1, heap[2][2] * 1.2, heap[2][3] * 1.1)
    lg.circle("fill", heap[1] + 4.5, 378.5, 5, 18)
    lg.circle("fill", heap[1] + 13.5, 378.5, 5, 18)
  end
  draw_awning(world.time)
end

local function draw_fire(time, song)
  lg.setColor(0.30, 0.24, 0.32)
  for i = 0, 6 do
    lg.ellipse("fill", 662 + i * 9, 430 + (i % 2) * 3, 7, 4.5)
  end
  lg.setColor(0.30, 0.17, 0.15)
  lg.setLineWidth(7)
  lg.line(668, 429, 710, 418)
  lg.line(712, 429, 670, 418)
  local size = (song and song.mood == "merry" and 1.35 or 1) * (1 + 0.06 * math.sin(time * 13))
  local layers = { { 0.95, 0.36, 0.20, 17, 46 }, { 1, 0.62, 0.24, 12, 34 },
    { 1, 0.88, 0.48, 7, 21 } }
  for i, layer in ipairs(layers) do
    local sway = math.sin(time * (4 + i) + i) * 4
    lg.setColor(layer[1], layer[2], layer[3])
    local w, h = layer[4] * (0.6 + 0.4 * size), layer[5] * size
    lg.polygon("fill", 690 - w, 420, 690 - w * 0.75, 420 - h * 0.45, 690 + sway, 420 - h,
      690 + w * 0.8, 420 - h * 0.4, 690 + w, 420)
    lg.ellipse("fill", 690, 420, w, 7)
  end
  for i = 0, 7 do
    local rise = (time * 0.5 + i / 8) % 1
    lg.setColor(1, 0.75, 0.35, 1 - rise)
    lg.circle("fill", 690 + 16 * math.sin(i * 2.4 + rise * 5), 400 - rise * 90, 1.6, 8)
  end
  glow(690, 400, 150 * size, 0.36)
  glow(690, 408, 60 * size, 0.5)
  -- notes rise from the lute
  if song then
    local tint = song.mood == "merry" and { 1, 0.9, 0.55 } or { 0.72, 0.8, 1 }
    for i = 0, 6 do
      local rise = (time * (song.mood == "merry" and 0.4 or 0.2) + i / 7) % 1
      local x, y = 766 + 26 * math.sin(rise * 6 + i * 1.3) + i * 5, 372 - rise * 130
      lg.setColor(tint[1], tint[2], tint[3], math.min(1, song.left) * (1 - rise))
      lg.ellipse("fill", x, y, 4.6, 3.4)
      lg.setLineWidth(1.8)
      lg.line(x + 4, y, x + 4, y - 15, x + 11, y - 11)
    end
  end
end

local function tower(x, foot, width, height)
  lg.setColor(0.37, 0.32, 0.43)
  lg.rectangle("fill", x, foot - height, width, height)
  lg.setColor(0.45, 0.39, 0.49)
  lg.rectangle("fill", x + width * 0.55, foot - height, width * 0.45, height)
  lg.setColor(0.29, 0.25, 0.36)
  for row = 0, math.floor(height / 16) - 1 do
    for k = 0, 1 do
      local left = x + 4 + (row % 2) * 9 + k * 21
      if left + 14 < x + width then
        lg.rectangle("line", left, foot - height + 8 + row * 16, 14, 8, 2)
      end
    end
  end
  lg.setColor(0.41, 0.36, 0.46)
  for k = 0, 2 do
    lg.rectangle("fill", x - 4 + k * (width - 2) / 2.4, foot - height - 14, 12, 16, 1)
  end
  lg.rectangle("fill", x - 5, foot - height - 2, width + 10, 8, 2)
end

local GATE_X, GATE_TOP = 1064, 266

-- The bars hang between the towers; what is lifted has gone into the lintel.
local function draw_gate_back(world)
  lg.setLineWidth(1)
  tower(1022, 424, 40, 176)
  local lift = world.gate_lift ^ 1.5 * 140
  lg.stencil(function()
    lg.polygon("fill", 1048, GATE_TOP, 1094, GATE_TOP + 12, 1094, 460, 1048, 430)
  end, "replace", 1)
  lg.setStencilTest("greater", 0)
  lg.setColor(0.10, 0.07, 0.16, 0.55)
  lg.polygon("fill", 1050, GATE_TOP, 1092, GATE_TOP + 12, 1092, 452, 1050, 424)
  lg.setColor(0.50, 0.33, 0.24)
  lg.setLineWidth(6)
  for i = 0, 4 do
    local x, down = 1053 + i * 9, i * 6
    lg.line(x, GATE_TOP - 140 + down - lift, x, 424 + down - lift)
  end
  lg.setColor(0.40, 0.25, 0.20)
  lg.setLineWidth(5)
  for y = 150, 410, 26 do
    lg.line(1048, y - lift, 1094, y + 30 - lift)
  end
  lg.setColor(0.85, 0.86, 0.92)
  for i = 0, 4 do
    local x, y = 1053 + i * 9, 424 + i * 6 - lift
    lg.polygon("fill", x - 3, y, x + 3, y, x, y + 8)
  end
  lg.setStencilTest()
  lg.setColor(0.33, 0.28, 0.39)
  lg.polygon("fill", 1020, GATE_TOP - 22, 1064, GATE_TOP - 22, 1120, GATE_TOP - 4, 1120,
    GATE_TOP + 20, 1064, GATE_TOP + 8, 1020, GATE_TOP)
end

local function draw_torch(x, y, time)
  lg.setColor(0.25, 0.16, 0.16)
  lg.setLineWidth(4)
  lg.line(x, y, x, y + 18)
  local flame = 1 + 0.15 * math.sin(time * 15 + x)
  lg.setColor(1, 0.56, 0.24)
  lg.polygon("fill", x - 6, y + 1, x + math.sin(time * 8) * 2, y - 17 * flame, x + 6, y + 1)
  lg.setColor(1, 0.87, 0.5)
  lg.ellipse("fill", x, y - 2, 3.4, 5 * flame)
  glow(x, y - 4, 62 * flame, 0.45)
end

local function draw_hut(time)
  lg.setColor(0.30, 0.22, 0.33)
  lg.polygon("fill", 1312, 424, 1318, 330, 1430, 326, 1440, 424)
  lg.setColor(0.22, 0.16, 0.27)
  lg.polygon("fill", 1400, 424, 1396, 327, 1430, 326, 1440, 424)
  lg.setColor(0.36, 0.17, 0.38)
  lg.polygon("fill", 1288, 336, 1352, 236, 1384, 196, 1400, 244, 1464, 332, 1420, 346, 1330, 348)
  lg.setColor(0.45, 0.23, 0.46)
  lg.polygon("fill", 1288, 336, 1352, 236, 1384, 196, 1376, 260, 1370, 346, 1330, 348)
  lg.setColor(0.72, 0.6, 0.8, 0.5)
  for _, spot in ipairs{ { 1340, 300, 9 }, { 1376, 262, 7 }, { 1412, 306, 10 } } do
    lg.ellipse("fill", spot[1], spot[2], spot[3], spot[3] * 0.7)
  end
  lg.setColor(0.55, 0.95, 0.6)
  lg.circle("fill", 1352, 376, 15, 28)
  lg.setColor(0.2, 0.13, 0.25)
  lg.setLineWidth(3)
  lg.circle("line", 1352, 376, 15, 28)
  lg.line(1337, 376, 1367, 376)
  lg.line(1352, 361, 1352, 391)
  lg.setColor(0.18, 0.11, 0.2)
  lg.rectangle("fill", 1390, 366, 32, 58, 12)
  glow(1352, 376, 80, 0.4, { 0.5, 1, 0.6 })
  -- the kettle
  lg.setColor(0.13, 0.10, 0.17)
  lg.arc("fill", 1306, 412, 19, -0.25, math.pi + 0.25)
  lg.ellipse("fill", 1306, 408, 20, 5)
  lg.setColor(0.5, 0.92, 0.55)
  lg.ellipse("fill", 1306, 407, 15, 3)
  for i = 0, 4 do
    local rise = (time * 0.6 + i / 5) % 1
    lg.setColor(0.6, 1, 0.65, 0.8 * (1 - rise))
    lg.circle("line", 1306 + 9 * math.sin(i * 2.1), 404 - rise * 36, 2 + rise * 3)
  end
  glow(1306, 406, 46, 0.4, { 0.5, 1, 0.6 })
end

--- Everything that people stand before.
---@param world table
function street.draw_back(world)
  local time = world.time
  lg.setColor(1, 1, 1)
  lg.draw(floor)
  for _, stone in ipairs(stones) do
    lg.setColor(0.36 * stone[5], 0.28 * stone[5], 0.40 * stone[5], 0.55)
    lg.ellipse("fill", stone[1], stone[2], stone[3], stone[4])
  end
  lg.setLineWidth(1.6)
  for _, tuft in ipairs(tufts) do
    local bend = tuft[4] + 2 * math.sin(time * 1.3 - tuft[1] * 0.012 + tuft[5])
    lg.setColor(0.20, 0.36, 0.38)
    lg.polygon("fill", tuft[1] - 2, tuft[2], tuft[1] + 2, tuft[2], tuft[1] + bend,
      tuft[2] - tuft[3])
  end
  draw_inn(time)
  draw_lanterns(time, world.song)
  draw_stall_back()
  draw_fire(time, world.song)
  draw_gate_back(world)
  draw_torch(1010, 330, time)
  draw_hut(time)
end

--- What people pass behind.
---@param world table
function street.draw_front(world)
  lg.setLineWidth(1)
  tower(GATE_X + 20, 462, 46, 196)
  draw_torch(GATE_X + 43, 350, world.time)
end

--- A thing of the player's bag, about 16 wide.
function street.draw_item(name, x, y)
  if name == "coin" then
    lg.setColor(0.96, 0.76, 0.3)
    lg.circle("fill", x, y, 6.5, 20)
    lg.setColor(0.72, 0.5, 0.16)
    lg.setLineWidth(1.4)
    lg.circle("line", x, y, 4.2, 16)
  elseif name == "warm bread" then
    lg.setColor(0.86, 0.6, 0.32)
    lg.ellipse("fill", x, y, 8.5, 5.5)
    lg.setColor(0.97, 0.82, 0.56)
    lg.setLineWidth(1.5)
    for i = -1, 1 do
      lg.line(x + i * 4.5 - 1, y - 2.5, x + i * 4.5 + 1, y + 1.5)
    end
  elseif name == "mug of cider" then
    lg.setColor(0.62, 0.42, 0.26)
    lg.rectangle("fill", x - 5, y - 5, 9, 11, 2)
    lg.setColor(1, 0.96, 0.84)
    lg.ellipse("fill", x - 0.5, y - 5, 5.4, 2.4)
  elseif name == "coil of rope" then
    lg.setColor(0.82, 0.68, 0.45)
    lg.setLineWidth(2.2)
    lg.circle("line", x, y, 6, 20)
    lg.circle("line", x + 1, y, 3, 14)
  elseif name == "jar of honey" then
    lg.setColor(0.95, 0.62, 0.2)
    lg.rectangle("fill", x - 5.5, y - 4, 11, 10, 3)
    lg.setColor(0.98, 0.9, 0.7)
    lg.rectangle("fill", x - 6, y - 7, 12, 4, 1.5)
  else -- the lucky charm: a clover
    lg.setColor(0.45, 0.82, 0.48)
    for i = 0, 3 do
      local turn = i * math.pi / 2 + 0.785
      lg.circle("fill", x + math.cos(turn) * 3.6, y + math.sin(turn) * 3.6, 3.4, 14)
    end
  end
end

return street
