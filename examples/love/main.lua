--- A small game in which somebody answers while everything keeps moving.
--
--   make LUA=luajit && love examples/love
--
-- With OPPER_API_KEY the owl's words come from Opper, with OPPER_BASE_URL from
-- that server; with neither, from the offline server of the examples.
--
-- All there is to it are three lines: `opperchat.poll` in love.update, and
-- `chat:start` and `request:cancel` in npc.lua. No thread, no waiting.

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

local actors = require "actors"
local Bubble = require "bubble"
local Npc = require "npc"
local Panel = require "panel"
local Scene = require "scene"
local Typewriter = require "typewriter"

local WIDTH, HEIGHT = 800, 450 -- what is drawn; scaled to the window

-- Answers arrive whenever they like; of each frame's 16 ms they get at most 2.
local POLL_BUDGET = 0.002

local QUESTION_STAYS = 6 -- seconds

local QUESTIONS = { "What's a vector?", "Give me an example in 3D.", "What's a coroutine?" }

local SYSTEM = "You are Minerva, an old owl with spectacles who sits on a stump by a lake at dusk "
  .. "and teaches passing travellers about mathematics and programming. Stay in character. Answer "
  .. "in at most three short sentences of plain text, without markdown."

local game = {}

-- ---------------------------------------------------------------------------
-- The server
-- ---------------------------------------------------------------------------

-- An interpreter that can run the offline server: LÖVE itself cannot.
local function find_lua()
  for _, name in ipairs{ "lua5.4", "lua", "lua5.3", "luajit", "lua5.1" } do
    local works = os.execute(name .. [[ -e 'require "cjson" require "socket"' >/dev/null 2>&1]])
    if works == 0 or works == true then
      return name
    end
  end
  error("No OPPER_API_KEY is set, and the offline server needs a Lua with lua-cjson and "
    .. "lua-socket on the PATH (on Debian: lua5.4 lua-cjson lua-socket).", 0)
end

local function new_client()
  local base_url
  if not os.getenv("OPPER_API_KEY") and not os.getenv("OPPER_BASE_URL") then
    game.offline = dofile(root .. "/examples/support/offline.lua").start(find_lua())
    base_url = game.offline.url
  end
  return opperchat.client{
    base_url = base_url,
    -- a player does not wait for minutes
    timeout = { connect = 5, first_token = 45, idle = 20 },
  }
end

-- ---------------------------------------------------------------------------
-- The window
-- ---------------------------------------------------------------------------

-- Letters are drawn as sharp as the window is large.
local function resize(width, height)
  game.scale = math.min(width / WIDTH, height / HEIGHT)
  game.left = (width - WIDTH * game.scale) / 2
  game.top = (height - HEIGHT * game.scale) / 2
  local function font(size)
    return love.graphics.newFont(size, "normal", game.scale)
  end
  game.fonts = { speech = font(16), panel = font(14), small = font(11.5) }
end

love.resize = resize

-- ---------------------------------------------------------------------------
-- The game
-- ---------------------------------------------------------------------------

local function ask(question)
  -- The traveller says it all at once.
  game.question = Typewriter.new()
  game.question:push(question)
  game.question:finish()
  game.question:skip()
  game.traveller:approach()
  game.npc:ask(question)
end

local function stop()
  if game.npc:is_busy() then
    game.npc:stop()
  else
    game.npc.typewriter:skip()
  end
end

function love.load()
  love.keyboard.setKeyRepeat(true)
  love.graphics.setBackgroundColor(0.06, 0.05, 0.14)
  resize(love.graphics.getDimensions())

  game.npc = Npc.new{
    client = new_client(),
    model = os.getenv("OPPERCHAT_MODEL") or "openai/gpt-5-mini",
    system = SYSTEM,
  }
  game.scene = Scene.new()
  game.owl = actors.Owl.new(604)
  game.traveller = actors.Traveller.new(150)
  game.camera = 0
  game.panel = Panel.new{ questions = QUESTIONS, on_ask = ask, on_stop = stop }
  game.answer_bubble = Bubble.new{
    width = 376, rows = 6, font = "speech", lean = 0.74, name = "Minerva",
    paper = { 1, 0.97, 0.91 }, ink = { 0.23, 0.15, 0.30 }, name_color = { 0.76, 0.28, 0.40 },
  }
  game.question_bubble = Bubble.new{
    width = 190, rows = 3, font = "panel", lean = 0.7,
    paper = { 0.98, 0.90, 0.84 }, ink = { 0.36, 0.20, 0.32 },
  }

  local test_folder = os.getenv("OPPERCHAT_LOVE_TEST")
  if test_folder then
    require("selftest").start(game, test_folder, ask)
  end
end

local function update_bubbles(dt)
  local npc = game.npc
  if npc.mood ~= "quiet" then
    game.answer_bubble:open()
  end
  game.answer_bubble:update(dt, npc.typewriter, game.fonts, npc.mood == "thinking")

  if game.question then
    game.question:update(dt)
    if game.question.time < QUESTION_STAYS then
      game.question_bubble:open()
    else
      game.question_bubble:close()
    end
    game.question_bubble:update(dt, game.question, game.fonts, false)
  end
end

local function steer()
  if love.keyboard.isDown("left") then
    return -1
  end
  return love.keyboard.isDown("right") and 1 or 0
end

function love.update(dt)
  -- Moves all requests on and calls their handlers; returns at once.
  opperchat.poll{ budget = POLL_BUDGET }

  -- After a hiccup of the system nobody should jump.
  dt = math.min(dt, 0.1)
  local npc = game.npc
  npc:update(dt)
  game.scene:update(dt)
  game.traveller:update(dt, steer())
  game.owl:update(dt, npc.mood, npc.typewriter:is_typing(), game.traveller.x)
  game.camera = game.camera + (game.traveller.x - 260 - game.camera) * (1 - math.exp(-2 * dt))
  update_bubbles(dt)
  game.panel:update(dt, npc)
end

function love.draw()
  love.graphics.push()
  love.graphics.translate(game.left, game.top)
  love.graphics.scale(game.scale)
  game.scene:draw_back(game.camera)
  game.owl:draw()
  game.traveller:draw()
  game.scene:draw_front()
  game.question_bubble:draw(game.fonts, game.traveller:mouth())
  game.answer_bubble:draw(game.fonts, game.owl:mouth())
  game.panel:draw(game.fonts)
  love.graphics.pop()
end

function love.textinput(text)
  game.panel:text_input(text)
end

function love.keypressed(key)
  if key == "q" and love.keyboard.isDown("lctrl", "rctrl", "lgui", "rgui") then
    love.event.quit()
  else
    game.panel:key_pressed(key)
  end
end

function love.quit()
  if game.npc then
    game.npc:stop()
  end
  if game.offline then
    game.offline:stop()
  end
end
