--- Lanternford: a village whose people answer while everything keeps moving.
--
--   make demo-love
--
-- npc.lua has the conversations, tools.lua what they can do, world.lua what is
-- true. Here all of it comes together once a frame. No thread, no waiting: the
-- network moves on in `opperchat.poll`.

-- From a built tree the modules are found here, before any others: those of
-- another Lua, which LUA_CPATH may lead to, would not load.
local root = love.filesystem.getSourceBaseDirectory():match("^(.*)[/\\]") or "."
package.path = root .. "/lua/?.lua;" .. root .. "/lua/?/init.lua;" .. package.path
package.cpath = root .. "/build/luajit/?.so;" .. package.cpath

local is_there, opperchat = pcall(require, "opperchat")
if not is_there then
  error("opperchat cannot be loaded; in a source tree run `make LUA=luajit` first.\n\n"
    .. tostring(opperchat), 0)
end

local Bar = require "ui.bar"
local Bubble = require "ui.bubble"
local Npc = require "npc"
local Panel = require "ui.panel"
local World = require "world"
local cast = require "cast"
local company = require "company"
local connect = require "connect"
local figure = require "art.figure"
local sky = require "art.sky"
local street = require "art.street"
local tools = require "tools"

local WIDTH, HEIGHT = 960, 540 -- what is drawn; scaled to the window

-- Answers arrive whenever they like; of each frame's 16 ms they get at most 2.
local POLL_BUDGET = 0.002

local OUT_OF_VIEW = 120 -- beyond the edge of the screen nobody's bubble is shown

local game = { time = 0, npcs = {}, bubbles = {} }

-- ---------------------------------------------------------------------------
-- Beginning
-- ---------------------------------------------------------------------------

-- Where the conversations are kept: in the save directory, a file for each.
local function path_of(name)
  love.filesystem.createDirectory("talks")
  return love.filesystem.getSaveDirectory() .. "/talks/" .. name:lower() .. ".jsonl"
end

local function new_id()
  local random = love.math.random
  return ("%08x-%04x-4%03x-8%03x-%012x"):format(os.time(), random(0, 65535), random(0, 4095),
    random(0, 4095), random(0, 2 ^ 48 - 1))
end

local function add_people()
  local base = opperchat.conversation{
    client = game.connection.client, model = game.connection.model, system = cast.lore,
  }
  local trace_id = new_id()
  for _, person in ipairs(cast.people) do
    local npc = Npc.new(person)
    npc.body = game.world:add(person.name, World.PLACES[person.place], person.look)
    npc:open{
      base = base, client = game.connection.client, path = path_of(person.name),
      trace_id = trace_id, tools = tools.of(npc, game.world, person.tools),
    }
    table.insert(game.npcs, npc)
    game.npcs[person.name] = npc
    game.bubbles[npc] = Bubble.new{ width = 300, rows = 5, font = "speech", name = person.name,
      paper = { 1, 0.97, 0.91 }, ink = { 0.23, 0.15, 0.30 }, tint = figure.color(person.look.coat) }
  end
end

-- Letters are drawn as sharp as the window is large.
local function resize(width, height)
  game.scale = math.min(width / WIDTH, height / HEIGHT)
  game.left = (width - WIDTH * game.scale) / 2
  game.top = (height - HEIGHT * game.scale) / 2
  local function font(size)
    return love.graphics.newFont(size, "normal", game.scale)
  end
  game.fonts = { speech = font(15.5), bar = font(15), small = font(12), tiny = font(10.5) }
end

love.resize = resize

-- ---------------------------------------------------------------------------
-- The frame
-- ---------------------------------------------------------------------------

function love.load()
  love.keyboard.setKeyRepeat(true)
  love.graphics.setBackgroundColor(0.06, 0.05, 0.14)
  resize(love.graphics.getDimensions())
  game.connection = connect(root)
  game.world = World.new()
  add_people()
  game.player = game.world:add("traveller", 600, cast.traveller)
  game.camera = 120
  game.player_bubble = Bubble.new{ width = 210, rows = 3, font = "small",
    paper = { 0.99, 0.88, 0.84 }, ink = { 0.36, 0.16, 0.28 } }
  company.begin(game)
  game.bar = Bar.new{ on_say = game.say, on_stop = game.stop }
  game.panel = Panel.new(game)
  sky.load()
  street.load()

  -- what a spec or the picture of the README does with the game
  local script = os.getenv("OPPERCHAT_LOVE_SCRIPT")
  if script then
    assert(loadfile(script))()(game)
  end
end

local function steer()
  if love.keyboard.isDown("left") then
    return -1
  end
  return love.keyboard.isDown("right") and 1 or 0
end

function love.update(dt)
  -- Moves all requests on, calls their handlers and goes on with the coroutines
  -- that wait; returns at once.
  local before = love.timer.getTime()
  opperchat.poll{ budget = POLL_BUDGET }
  game.panel:measure(dt, love.timer.getTime() - before)

  game.time = game.time + dt
  company.update(game, dt)
  -- After a hiccup of the system nobody should jump.
  dt = math.min(dt, 0.1)
  game.world:update(dt, steer())
  for _, npc in ipairs(game.npcs) do
    game.bubbles[npc]:follow(npc, dt, game.fonts)
  end
  game.player_bubble:update(dt, game.fonts)
  local goal = math.max(0, math.min(World.WIDTH - WIDTH, game.player.x - WIDTH / 2))
  game.camera = game.camera + (goal - game.camera) * (1 - math.exp(-3 * dt))
  sky.update(dt)
  game.bar:update(dt, game)
end

-- The one who speaks to the player comes first and lies on top; what would cover
-- another bubble is lifted above it.
local function draw_bubbles()
  local player, placed = game.player, {}
  local function place(bubble, body, lean)
    local x = body.x - game.camera
    if bubble:is_visible() and x > -OUT_OF_VIEW and x < WIDTH + OUT_OF_VIEW then
      bubble:place(x, World.GROUND - 116, lean, placed)
      placed[#placed + 1] = bubble
    end
  end
  if game.partner then
    place(game.bubbles[game.partner], game.partner.body, game.partner.body.x < player.x and 0.72
      or 0.28)
  end
  for _, npc in ipairs(game.npcs) do
    if npc ~= game.partner then
      -- two who stand side by side lean their bubbles away from each other
      place(game.bubbles[npc], npc.body, npc.body.facing > 0 and 0.78 or 0.22)
    end
  end
  place(game.player_bubble, player, 0.5)
  for i = #placed, 1, -1 do
    placed[i]:draw(game.fonts)
  end
end

local function draw_world()
  local world, camera = game.world, game.camera
  sky.draw(camera, world)
  love.graphics.push()
  love.graphics.translate(-camera, 0)
  street.draw_back(world)
  for _, is_front in ipairs{ false, true } do
    for _, body in ipairs(world.bodies) do
      -- whoever keeps the stall stands behind its counter
      local is_behind = body.name == "Sela" and math.abs(body.x - World.PLACES.market) < 30
      if is_front ~= is_behind then
        local npc = game.npcs[body.name]
        figure.draw(body, world, {
          is_talking = npc and npc.mood == "speaking" and npc.typewriter:is_typing(),
          is_thinking = npc and (npc.mood == "thinking" or npc.mood == "pondering"),
          is_near = npc and npc == game.near,
        })
      end
    end
    if not is_front then
      street.draw_counter(world)
    end
  end
  street.draw_front(world)
  love.graphics.pop()
  sky.draw_front(camera, world)
end

function love.draw()
  love.graphics.push()
  love.graphics.translate(game.left, game.top)
  love.graphics.scale(game.scale)
  draw_world()
  draw_bubbles()
  game.bar:draw(game.fonts, game)
  game.panel:draw(game.fonts)
  love.graphics.pop()
end

-- ---------------------------------------------------------------------------
-- The player
-- ---------------------------------------------------------------------------

function love.textinput(text)
  game.bar:text_input(text)
end

function love.keypressed(key)
  if key == "q" and love.keyboard.isDown("lctrl", "rctrl", "lgui", "rgui") then
    love.event.quit()
  elseif key == "tab" or key == "f1" then
    game.panel:toggle()
  else
    game.bar:key_pressed(key)
  end
end

-- A click on somebody goes there, a click on the street as well.
function love.mousepressed(x, y)
  x, y = (x - game.left) / game.scale, (y - game.top) / game.scale
  if y < HEIGHT - 70 then
    local goal = x + game.camera
    for _, npc in ipairs(game.npcs) do
      if math.abs(npc.body.x - goal) < 30 then
        goal = npc.body.x + (game.player.x < npc.body.x and -70 or 70)
      end
    end
    game.player.goal = goal -- as far as the gate lets one
  end
end

function love.quit()
  -- what was said is in the journals already
  if game.connection then
    game.connection.client:close()
  end
  if game.connection and game.connection.offline then
    game.connection.offline:stop()
  end
end
