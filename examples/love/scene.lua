--- The lake at dusk: everything that moves without being told to. It is drawn
-- with primitives alone, in units of a screen 800 wide and 450 high.

local lg = love.graphics

local Scene = {}
Scene.__index = Scene

local WIDTH, HEIGHT = 800, 450
local SHORE = 292 -- where the far hills stand in the lake
local MARGIN = 80 -- hills reach this far out, since they slide

local SUN = { x = 196, y = 222, radius = 30 }

local function color(hex, alpha)
  local value = tonumber(hex, 16)
  return { math.floor(value / 65536) / 255, math.floor(value / 256) % 256 / 255,
    value % 256 / 255, alpha or 1 }
end

local SKY = {
  { 0, color("1d1a4b") }, { 0.30, color("43307a") }, { 0.55, color("8c4a8c") },
  { 0.76, color("e0727c") }, { 0.92, color("f9ac78") }, { 1, color("ffd795") },
}
local WATER = {
  { 0, color("f3a57c") }, { 0.25, color("b9658a") }, { 0.6, color("5c3d80") },
  { 1, color("2c2660") },
}

-- ---------------------------------------------------------------------------
-- Shapes
-- ---------------------------------------------------------------------------

-- A strip across the screen whose colors run from its upper edge to its lower.
local function band(top, bottom, upper, lower)
  local vertices = {}
  for x = -MARGIN, WIDTH + MARGIN, 8 do
    vertices[#vertices + 1] = { x, top(x), 0, 0, unpack(upper) }
    vertices[#vertices + 1] = { x, bottom, 0, 0, unpack(lower) }
  end
  return lg.newMesh(vertices, "strip", "static")
end

-- A rectangle with several colors from above to below.
local function gradient(top, bottom, stops)
  local vertices = {}
  for _, stop in ipairs(stops) do
    local y = top + (bottom - top) * stop[1]
    vertices[#vertices + 1] = { -MARGIN, y, 0, 0, unpack(stop[2]) }
    vertices[#vertices + 1] = { WIDTH + MARGIN, y, 0, 0, unpack(stop[2]) }
  end
  return lg.newMesh(vertices, "strip", "static")
end

-- A round light that fades out to its rim, as an image to be tinted.
local function new_glow()
  local size = 64
  local data = love.image.newImageData(size, size)
  data:mapPixel(function(x, y)
    local dx, dy = (x + 0.5) / size * 2 - 1, (y + 0.5) / size * 2 - 1
    local light = math.max(0, 1 - math.sqrt(dx * dx + dy * dy))
    return 1, 1, 1, light * light * (3 - 2 * light)
  end)
  return lg.newImage(data)
end

local glow

--- A round patch of light.
function Scene.light(x, y, radius_x, radius_y, tint, alpha)
  lg.setColor(tint[1], tint[2], tint[3], alpha)
  lg.draw(glow, x, y, 0, radius_x / 32, (radius_y or radius_x) / 32, 32, 32)
end

local function far_hills(x)
  return 246 + 22 * math.sin(x * 0.011 + 2.2) + 11 * math.sin(x * 0.027 + 1)
    + 3 * math.sin(x * 0.09)
end

local function middle_hills(x)
  return 268 + 18 * math.sin(x * 0.008 + 4.4) + 8 * math.sin(x * 0.021)
    + 2 * math.sin(x * 0.11)
end

local function island(x)
  local side = math.abs(x - 640) / 300
  local height = math.max(0, 1 - side * side)
  return 304 - height * (46 + 3 * math.sin(x * 0.06))
end

--- The height of the ground where people walk.
---@param x number
---@return number y
function Scene.ground(x)
  return 350 + 7 * math.sin(x * 0.0085 + 0.6) + 3 * math.sin(x * 0.023 + 2)
end

-- ---------------------------------------------------------------------------
-- Making
-- ---------------------------------------------------------------------------

function Scene.new()
  glow = new_glow()
  -- the same landscape each time, without touching the game's own dice
  local dice = love.math.newRandomGenerator(11)
  local function between(low, high)
    return low + (high - low) * dice:random()
  end

  local self = setmetatable({
    time = 0,
    sky = gradient(0, SHORE + 8, SKY),
    water = gradient(SHORE, 372, WATER),
    far = band(far_hills, SHORE + 4, color("8a4d8b"), color("d9807f")),
    middle = band(middle_hills, SHORE + 4, color("5b3a80"), color("8a4c83")),
    island = band(island, 304, color("3a2d69"), color("2b2357")),
    meadow = band(Scene.ground, HEIGHT + 4, color("3a6a66"), color("141a3a")),
    stars = {}, clouds = {}, pines = {}, glints = {}, blades = {}, fireflies = {}, petals = {},
    flowers = {},
  }, Scene)

  for i = 1, 70 do
    self.stars[i] = { x = between(0, WIDTH), y = between(0, 130), size = between(0.5, 1.3),
      phase = between(0, 6.3) }
  end
  for i = 1, 6 do
    local cloud = { x = i * 160 + between(-50, 50), y = between(46, 178), speed = between(3, 7),
      puffs = {} }
    local length = between(50, 96)
    for k = 1, 9 do
      local along = (k - 5) / 4
      local radius = (1 - along * along * 0.75) * between(24, 34)
      cloud.puffs[k] = { x = along * length + between(-6, 6), y = between(-5, 4) - radius * 0.22,
        radius = radius }
    end
    self.clouds[i] = cloud
  end
  for _ = 1, 26 do
    local x = 640 + between(-250, 240)
    self.pines[#self.pines + 1] = { x = x, y = island(x) + 5, size = between(0.7, 1.35),
      phase = between(0, 6.3) }
  end
  table.sort(self.pines, function(a, b) return a.size < b.size end)
  for i = 1, 44 do
    local depth = between(0, 1)
    local in_sun = i <= 26
    self.glints[i] = {
      x = in_sun and SUN.x + between(-1, 1) * (14 + 46 * depth) or between(0, WIDTH),
      y = SHORE + 5 + depth * 50, length = (in_sun and 15 or 10) * (0.6 + depth),
      phase = between(0, 6.3), speed = between(0.8, 2), strength = in_sun and 0.85 or 0.22,
    }
  end
  for i = 1, 190 do
    local depth = i / 190
    self.blades[i] = { x = between(-20, WIDTH + 20), down = depth * depth * 34 + 1,
      height = between(5, 10) + depth * 7, lean = between(-2, 2), depth = depth,
      phase = between(0, 1) }
  end
  for i = 1, 20 do
    self.flowers[i] = { x = between(0, WIDTH), down = between(4, 26),
      tint = dice:random() < 0.5 and color("ffd7a0") or color("f59ac0"), phase = between(0, 6) }
  end
  for i = 1, 22 do
    self.fireflies[i] = { x = between(0, WIDTH), y = between(296, 384), phase = between(0, 50),
      pace = between(0.5, 1.2) }
  end
  for i = 1, 12 do
    self.petals[i] = { x = between(0, WIDTH), y = between(60, 380), phase = between(0, 6.3),
      speed = between(14, 28) }
  end
  return self
end

function Scene:update(dt)
  self.time = self.time + dt
  for _, cloud in ipairs(self.clouds) do
    cloud.x = (cloud.x + cloud.speed * dt + 130) % (WIDTH + 260) - 130
  end
  for _, petal in ipairs(self.petals) do
    petal.x = (petal.x + petal.speed * dt + 20) % (WIDTH + 40) - 20
    petal.y = (petal.y + petal.speed * 0.35 * dt) % 390
  end
end

-- The wind at one place: gusts that run across the meadow.
local function wind(time, x)
  return math.sin(time * 1.3 - x * 0.012) + 0.5 * math.sin(time * 2.9 - x * 0.031)
end

-- ---------------------------------------------------------------------------
-- Drawing, from the back to the front
-- ---------------------------------------------------------------------------

local function draw_stars(self)
  for _, star in ipairs(self.stars) do
    local twinkle = 0.5 + 0.5 * math.sin(self.time * 1.6 + star.phase)
    lg.setColor(1, 0.96, 0.9, (0.25 + 0.65 * twinkle) * (1 - star.y / 135))
    lg.circle("fill", star.x, star.y, star.size, 8)
  end
end

local function draw_sun(self)
  lg.setBlendMode("add")
  local breath = 1 + 0.02 * math.sin(self.time * 0.9)
  Scene.light(SUN.x, SUN.y, 250 * breath, 170 * breath, color("ff8f5c"), 0.22)
  Scene.light(SUN.x, SUN.y, 92 * breath, nil, color("ffb070"), 0.36)
  lg.setBlendMode("alpha")
  lg.setColor(color("fff1cd"))
  lg.circle("fill", SUN.x, SUN.y, SUN.radius, 48)
end

-- Lit from below, where the sun is.
local function draw_clouds(self)
  local body, lit = color("b57fb4"), color("ffb391")
  for _, cloud in ipairs(self.clouds) do
    for _, puff in ipairs(cloud.puffs) do
      Scene.light(cloud.x + puff.x, cloud.y + puff.y, puff.radius * 1.25, puff.radius * 0.72,
        body, 0.42)
    end
    for _, puff in ipairs(cloud.puffs) do
      Scene.light(cloud.x + puff.x, cloud.y + puff.y + puff.radius * 0.26, puff.radius * 1.1,
        puff.radius * 0.34, lit, 0.34)
    end
  end
end

local function draw_birds(self)
  lg.setColor(color("3a2458"))
  lg.setLineWidth(1.4)
  for i = 1, 5 do
    local x = (self.time * 13 + i * 19) % (WIDTH + 200) - 60
    local y = 150 + math.abs(i - 3) * 9 + 5 * math.sin(self.time * 0.7 + i) - i * 2
    local flap = 3.4 * math.sin(self.time * 7 + i * 1.7)
    lg.line(x - 8, y - flap, x - 4, y - 1 - flap * 0.6, x, y + 1, x + 4, y - 1 - flap * 0.6,
      x + 8, y - flap)
  end
end

local function draw_pine(pine, sway)
  local size = pine.size
  for level = 0, 2 do
    local half = (8.5 - level * 2) * size
    local foot = pine.y - (2 + level * 8) * size
    local tip = foot - 14 * size
    local shift = sway * (level + 1) * 0.5
    lg.polygon("fill", pine.x - half + shift * 0.6, foot, pine.x + half + shift * 0.6, foot,
      pine.x + shift, tip)
  end
end

local function draw_lake(self)
  lg.setColor(1, 1, 1)
  lg.draw(self.water)
  -- the island's own reflection
  lg.setColor(0.16, 0.12, 0.34, 0.5)
  lg.ellipse("fill", 640, SHORE + 12, 250, 13, 48)
  lg.setBlendMode("add")
  Scene.light(SUN.x, SHORE + 14, 84, 50, color("ffb070"), 0.5)
  for _, glint in ipairs(self.glints) do
    local shine = math.max(0, math.sin(self.time * glint.speed + glint.phase))
    lg.setColor(1, 0.8, 0.56, shine * glint.strength)
    local length = glint.length * (0.5 + 0.5 * shine)
    lg.ellipse("fill", glint.x + 3 * math.sin(self.time * 0.6 + glint.phase), glint.y, length, 1,
      12)
  end
  lg.setBlendMode("alpha")
end

local function draw_blades(self, from, to)
  for i = from, to do
    local blade = self.blades[i]
    local y = Scene.ground(blade.x) + blade.down
    local bend = blade.lean + wind(self.time, blade.x) * (1.2 + blade.height * 0.12)
    local light = 1 - blade.depth * 0.75
    lg.setColor(0.10 + 0.25 * light, 0.22 + 0.34 * light, 0.28 + 0.16 * light)
    lg.polygon("fill", blade.x - 1.3, y, blade.x + 1.3, y, blade.x + bend, y - blade.height)
  end
end

local function draw_flowers(self)
  for _, flower in ipairs(self.flowers) do
    local x, y = flower.x, Scene.ground(flower.x) + flower.down
    local bend = wind(self.time, x) * 1.6
    lg.setColor(0.20, 0.40, 0.38)
    lg.setLineWidth(1)
    lg.line(x, y, x + bend, y - 9)
    lg.setColor(flower.tint)
    lg.circle("fill", x + bend, y - 10, 2.1, 10)
  end
end

--- What lies behind the people: sky, hills, lake and meadow.
---@param camera number how far the view has moved to the right
function Scene:draw_back(camera)
  lg.setColor(1, 1, 1)
  lg.draw(self.sky)
  draw_stars(self)
  draw_sun(self)
  draw_clouds(self)
  draw_birds(self)
  lg.setColor(1, 1, 1)
  lg.draw(self.far, -camera * 0.06)
  lg.draw(self.middle, -camera * 0.12)
  -- mist at the feet of the hills
  Scene.light(SUN.x, SHORE - 2, 330, 20, color("ffc79a"), 0.42)
  draw_lake(self)

  lg.push()
  lg.translate(-camera * 0.2, 0)
  lg.setColor(0.23, 0.175, 0.41)
  for _, pine in ipairs(self.pines) do
    draw_pine(pine, wind(self.time, pine.x) + 0.4 * math.sin(self.time + pine.phase))
  end
  lg.setColor(1, 1, 1)
  lg.draw(self.island)
  lg.pop()
  lg.draw(self.meadow)
  draw_flowers(self)
  draw_blades(self, 1, 110)
end

--- What floats and grows before them.
function Scene:draw_front()
  draw_blades(self, 111, #self.blades)
  for _, petal in ipairs(self.petals) do
    lg.push()
    lg.translate(petal.x, petal.y + 7 * math.sin(self.time * 1.4 + petal.phase))
    lg.rotate(self.time * 1.1 + petal.phase)
    lg.setColor(1, 0.76, 0.78, 0.75)
    lg.ellipse("fill", 0, 0, 3.6, 1.7 * math.abs(math.cos(self.time + petal.phase)) + 0.4, 10)
    lg.pop()
  end
  lg.setBlendMode("add")
  for _, fly in ipairs(self.fireflies) do
    local t = self.time * fly.pace + fly.phase
    local x = fly.x + 26 * math.sin(t * 0.7) + 12 * math.sin(t * 1.9)
    local y = fly.y + 12 * math.sin(t * 0.9 + 1)
    local shine = math.max(0, math.sin(t * 1.7)) ^ 0.6
    Scene.light(x, y, 13, nil, color("ffe27a"), 0.55 * shine)
    lg.setColor(1, 0.97, 0.7, shine)
    lg.circle("fill", x, y, 1.3, 8)
  end
  lg.setBlendMode("alpha")
end

return Scene
