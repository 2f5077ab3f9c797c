--- The evening behind the village and the light in the air before it: drawn with
-- primitives alone, in units of a screen 960 wide and 540 high.

local lg = love.graphics

local sky = {}

local WIDTH, HEIGHT, GROUND = 960, 540, 430
local SHORE, MARGIN = 344, 100 -- where the hills stand in the lake; how far they reach out
local SUN = { x = 700, y = 228, radius = 31 }

local time, glow, dice = 0, nil, nil
local shapes, stars, clouds, glints, cottages, pines, sparks, flies = {}, {}, {}, {}, {}, {}, {}, {}

local function color(hex, alpha)
  local value = tonumber(hex, 16)
  return { math.floor(value / 65536) / 255, math.floor(value / 256) % 256 / 255,
    value % 256 / 255, alpha or 1 }
end

-- A strip across the screen whose colors run from its upper edge to its lower.
local function band(top, bottom, upper, lower)
  local vertices = {}
  for x = -MARGIN, WIDTH + MARGIN, 8 do
    vertices[#vertices + 1] = { x, top(x), 0, 0, unpack(upper) }
    vertices[#vertices + 1] = { x, bottom, 0, 0, unpack(lower) }
  end
  return lg.newMesh(vertices, "strip", "static")
end

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

--- A round patch of light.
function sky.light(x, y, radius_x, radius_y, tint, alpha)
  lg.setColor(tint[1], tint[2], tint[3], alpha)
  lg.draw(glow, x, y, 0, radius_x / 32, (radius_y or radius_x) / 32, 32, 32)
end

local function far_hills(x)
  return 292 + 24 * math.sin(x * 0.0095 + 2.2) + 12 * math.sin(x * 0.024 + 1)
    + 3 * math.sin(x * 0.08)
end

local function middle_hills(x)
  return 318 + 18 * math.sin(x * 0.007 + 4.4) + 8 * math.sin(x * 0.019) + 2 * math.sin(x * 0.1)
end

local function between(low, high)
  return low + (high - low) * dice:random()
end

function sky.load()
  glow = new_glow()
  dice = love.math.newRandomGenerator(11) -- the same evening each time
  shapes.air = gradient(0, SHORE + 8, {
    { 0, color("17163f") }, { 0.32, color("3a2b74") }, { 0.56, color("84468a") },
    { 0.76, color("dd6c7b") }, { 0.92, color("f8a676") }, { 1, color("ffd592") },
  })
  shapes.water = gradient(SHORE, GROUND, {
    { 0, color("f0a07a") }, { 0.25, color("b4628a") }, { 0.6, color("573b7e") },
    { 1, color("2a255d") },
  })
  shapes.far = band(far_hills, SHORE + 4, color("86508d"), color("d67c80"))
  shapes.middle = band(middle_hills, SHORE + 4, color("55387c"), color("854a82"))
  for i = 1, 90 do
    stars[i] = { x = between(0, WIDTH), y = between(0, 170), size = between(0.5, 1.4),
      phase = between(0, 6.3) }
  end
  for i = 1, 6 do
    local cloud = { x = i * 190 + between(-60, 60), y = between(50, 200), speed = between(3, 7) }
    local length = between(60, 110)
    for k = 1, 9 do
      local along = (k - 5) / 4
      local radius = (1 - along * along * 0.75) * between(24, 36)
      cloud[k] = { along * length + between(-6, 6), between(-5, 4) - radius * 0.22, radius }
    end
    clouds[i] = cloud
  end
  for i = 1, 50 do
    local depth, in_sun = between(0, 1), i <= 28
    glints[i] = { x = in_sun and SUN.x + between(-1, 1) * (16 + 60 * depth) or between(0, WIDTH),
      y = SHORE + 5 + depth * 60, length = (in_sun and 16 or 10) * (0.6 + depth),
      phase = between(0, 6.3), speed = between(0.8, 2), strength = in_sun and 0.8 or 0.2 }
  end
  for i = 1, 9 do
    cottages[i] = { x = 20 + i * 96 + between(-20, 20), width = between(44, 66),
      height = between(26, 40), roof = between(24, 38) }
  end
  for i = 1, 34 do
    pines[i] = { x = 860 + i * 22 + between(-9, 9), y = GROUND - between(0, 16),
      size = between(2.2, 4.2), phase = between(0, 6.3) }
  end
  for i = 1, 120 do
    sparks[i] = { x = between(0, WIDTH), y = between(0, HEIGHT), phase = between(0, 6.3),
      speed = between(0.6, 1.4), size = between(1.2, 2.8) }
  end
  for i = 1, 20 do
    flies[i] = { x = between(0, 1480), y = between(350, 440), phase = between(0, 50),
      pace = between(0.5, 1.2) }
  end
end

function sky.update(dt)
  time = time + dt
  for _, cloud in ipairs(clouds) do
    cloud.x = (cloud.x + cloud.speed * dt + 150) % (WIDTH + 300) - 150
  end
end

local function draw_air(camera)
  lg.setColor(1, 1, 1)
  lg.draw(shapes.air)
  for _, star in ipairs(stars) do
    local twinkle = 0.5 + 0.5 * math.sin(time * 1.6 + star.phase)
    lg.setColor(1, 0.96, 0.9, (0.25 + 0.65 * twinkle) * (1 - star.y / 175))
    lg.circle("fill", star.x, star.y, star.size, 8)
  end
  lg.push()
  lg.translate(-camera * 0.03, 0)
  lg.setBlendMode("add")
  sky.light(SUN.x, SUN.y, 300, 190, color("ff8f5c"), 0.22)
  sky.light(SUN.x, SUN.y, 104, nil, color("ffb070"), 0.36)
  lg.setBlendMode("alpha")
  lg.setColor(color("fff1cd"))
  lg.circle("fill", SUN.x, SUN.y, SUN.radius, 48)
  lg.pop()
  -- clouds, lit from below
  local body, lit = color("b57fb4"), color("ffb391")
  for _, cloud in ipairs(clouds) do
    for _, puff in ipairs(cloud) do
      sky.light(cloud.x + puff[1], cloud.y + puff[2], puff[3] * 1.25, puff[3] * 0.72, body, 0.42)
    end
    for _, puff in ipairs(cloud) do
      sky.light(cloud.x + puff[1], cloud.y + puff[2] + puff[3] * 0.26, puff[3] * 1.1,
        puff[3] * 0.34, lit, 0.34)
    end
  end
end

local function draw_lake()
  lg.setColor(1, 1, 1)
  lg.draw(shapes.water)
  lg.setBlendMode("add")
  sky.light(SUN.x, SHORE + 14, 100, 56, color("ffb070"), 0.45)
  for _, glint in ipairs(glints) do
    local shine = math.max(0, math.sin(time * glint.speed + glint.phase))
    lg.setColor(1, 0.8, 0.56, shine * glint.strength)
    lg.ellipse("fill", glint.x + 3 * math.sin(time * 0.6 + glint.phase), glint.y,
      glint.length * (0.5 + 0.5 * shine), 1, 12)
  end
  lg.setBlendMode("alpha")
end

local function draw_cottage(cottage)
  local x, top = cottage.x, GROUND - 8 - cottage.height
  lg.setColor(0.20, 0.14, 0.34)
  lg.rectangle("fill", x, top, cottage.width, cottage.height + 10)
  lg.setColor(0.15, 0.10, 0.28)
  lg.polygon("fill", x - 7, top, x + cottage.width + 7, top, x + cottage.width / 2,
    top - cottage.roof)
  lg.rectangle("fill", x + cottage.width * 0.68, top - cottage.roof * 0.9, 7, cottage.roof * 0.7)
  lg.setColor(1, 0.78, 0.42, 0.9)
  lg.rectangle("fill", x + cottage.width * 0.22, top + 9, 8, 10, 1)
  lg.rectangle("fill", x + cottage.width * 0.62, top + 9, 8, 10, 1)
end

local function draw_pine(pine)
  local sway = math.sin(time * 0.9 + pine.phase) * 1.4
  for level = 0, 2 do
    local half = (8.5 - level * 2) * pine.size
    local foot = pine.y - (2 + level * 8) * pine.size
    lg.polygon("fill", pine.x - half + sway * level * 0.6, foot, pine.x + half + sway * level * 0.6,
      foot, pine.x + sway * (level + 1), foot - 14 * pine.size)
  end
end

--- What lies behind the street.
---@param camera number how far the view has moved to the right
function sky.draw(camera)
  draw_air(camera)
  lg.setColor(1, 1, 1)
  lg.draw(shapes.far, -camera * 0.05)
  lg.draw(shapes.middle, -camera * 0.1)
  sky.light(SUN.x, SHORE - 2, 380, 22, color("ffc79a"), 0.4) -- mist
  draw_lake()
  lg.push()
  lg.translate(-camera * 0.45, 0)
  for i, cottage in ipairs(cottages) do
    if i < 7 then
      draw_cottage(cottage)
    end
  end
  lg.pop()
  lg.push()
  lg.translate(-camera * 0.7, 0)
  for i, pine in ipairs(pines) do
    lg.setColor(0.13 + i % 3 * 0.02, 0.10 + i % 3 * 0.02, 0.27 + i % 3 * 0.03)
    draw_pine(pine)
  end
  lg.pop()
end

-- What the witch has conjured.
local function draw_magic(what, strength)
  for i, spark in ipairs(sparks) do
    local t = time * spark.speed
    if what == "snow" then
      lg.setColor(1, 1, 1, 0.85 * strength)
      lg.circle("fill", (spark.x + 18 * math.sin(t + spark.phase)) % WIDTH,
        (spark.y + t * 46) % HEIGHT, spark.size, 10)
    elseif what == "stars" and i <= 26 then
      local run = (t * 0.5 + spark.phase) % 2
      local x, y = spark.x + run * 190, spark.y * 0.5 + run * 90
      lg.setColor(1, 0.95, 0.75, strength * math.max(0, 1 - run))
      lg.setLineWidth(1.6)
      lg.line(x, y, x - 34, y - 16)
      sky.light(x, y, 9, nil, { 1, 0.95, 0.8 }, strength * math.max(0, 1 - run))
    elseif what == "fireflies" then
      local shine = strength * math.max(0, math.sin(t * 2 + spark.phase))
      sky.light(spark.x + 30 * math.sin(t * 0.8 + spark.phase), 210 + spark.y * 0.42
        + 16 * math.cos(t + spark.phase), 15, nil, color("b9ff7a"), 0.8 * shine)
    end
  end
end

--- What floats before it.
---@param camera number
---@param world table
function sky.draw_front(camera, world)
  lg.setBlendMode("add")
  for _, fly in ipairs(flies) do
    local t = time * fly.pace + fly.phase
    local x = fly.x - camera + 26 * math.sin(t * 0.7) + 12 * math.sin(t * 1.9)
    local y = fly.y + 14 * math.sin(t * 0.9 + 1)
    local shine = math.max(0, math.sin(t * 1.7)) ^ 0.6
    sky.light(x, y, 12, nil, color("ffe27a"), 0.5 * shine)
    lg.setColor(1, 0.97, 0.7, shine)
    lg.circle("fill", x, y, 1.3, 8)
  end
  if world.magic then
    draw_magic(world.magic.what, math.min(1, world.magic.left))
  end
  lg.setBlendMode("alpha")
end

return sky
