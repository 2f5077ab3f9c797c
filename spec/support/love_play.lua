-- luacheck: std luajit+love
--- What spec/love_spec.lua does inside the game: it plays a little, and writes down
-- what it saw as `name=value`. Runs within LÖVE, by OPPERCHAT_LOVE_SCRIPT;
-- OPPERCHAT_LOVE_PLAY picks what is played, OPPERCHAT_LOVE_RESULT is the file.

local ffi = require "ffi"
local opperchat = require "opperchat"

local FRAME = 1 / 30 -- a rate that a computer without a graphics card can keep

local result, frames = {}, 0
-- What takes long, and is no part of the game: looked at when all is measured.
local later = {}

-- An error ends the game instead of waiting in a window for a key.
function love.errorhandler(message)
  io.stderr:write(debug.traceback(tostring(message), 2), "\n")
  return function() return 1 end
end

-- Measuring -----------------------------------------------------------------------

-- Seconds on a clock say little on a busy computer: somebody else may have had them.
-- So it is the CPU time of this thread that counts, and how often it gave the CPU
-- away of its own will, as whoever waits for a socket does.
ffi.cdef[[
  typedef struct { long seconds, nanoseconds; } oc_time;
  typedef struct { long fields[36]; } oc_usage;
  int clock_gettime(int clock, oc_time *time);
  int getrusage(int who, oc_usage *usage);
]]
local THREAD_CPUTIME, RUSAGE_THREAD, VOLUNTARY_SWITCHES = 3, 1, 16

local function cpu()
  local time = ffi.new("oc_time")
  assert(ffi.C.clock_gettime(THREAD_CPUTIME, time) == 0)
  return tonumber(time.seconds) + tonumber(time.nanoseconds) * 1e-9
end

local function waits()
  local usage = ffi.new("oc_usage")
  assert(ffi.C.getrusage(RUSAGE_THREAD, usage) == 0)
  return tonumber(usage.fields[VOLUNTARY_SWITCHES])
end

local function measured(name, fn)
  result[name .. "_cpu"], result[name .. "_waits"] = 0, 0
  return function(...)
    local before, switches = cpu(), waits()
    fn(...)
    result[name .. "_waits"] = result[name .. "_waits"] + waits() - switches
    result[name .. "_cpu"] = math.max(result[name .. "_cpu"], cpu() - before)
  end
end

local function finish()
  result.frames = frames
  -- this runs within a poll, whose end comes too late for the file
  for _, look in ipairs(later) do
    look()
  end
  local file = assert(io.open(os.getenv("OPPERCHAT_LOVE_RESULT"), "wb"))
  for name, value in pairs(result) do
    file:write(name, "=", tostring(value), "\n")
  end
  file:close()
  love.event.quit()
end

-- Playing -------------------------------------------------------------------------

local function wait_until(what, condition)
  local deadline = love.timer.getTime() + 30
  while not condition() do
    assert(love.timer.getTime() < deadline, "it did not come to that: " .. what)
    opperchat.sleep(0.02)
  end
end

local function picture()
  local image
  love.graphics.captureScreenshot(function(data) image = data end)
  wait_until("a picture", function() return image end)
  return image
end

-- The share of pixels in a rectangle that are not what they were.
local function difference(a, b, left, top, width, height)
  local changed = 0
  for y = top, top + height - 1 do
    for x = left, left + width - 1 do
      local r1, g1, b1 = a:getPixel(x, y)
      local r2, g2, b2 = b:getPixel(x, y)
      if math.abs(r1 - r2) + math.abs(g1 - g2) + math.abs(b1 - b2) > 0.12 then
        changed = changed + 1
      end
    end
  end
  return changed / (width * height)
end

-- How much of the picture is a bubble's paper.
local function paper(image)
  local count = 0
  for y = 0, 430, 3 do
    for x = 0, 959, 3 do
      local r, g, b = image:getPixel(x, y)
      if r > 0.98 and g > 0.94 and b > 0.86 and b < 0.95 then
        count = count + 1
      end
    end
  end
  return count
end

local plays = {}

function plays.evening(game)
  local world, client = game.world, game.connection.client
  local osk, marta = game.npcs.Osk, game.npcs.Marta
  game.next_gossip = math.huge
  game.player.x, game.camera = 900, 420
  wait_until("somebody is near", function() return game.near == osk and frames > 10 end)
  local before = picture()

  -- a canned line after a second of silence, and then the answer in its place
  love.textinput("1") -- "Please open the gate."
  local asked = love.timer.getTime()
  result.first_mood = osk.mood
  wait_until("a canned line", function() return osk.mood == "pondering" end)
  result.pondered_after = love.timer.getTime() - asked
  result.pondered = osk.typewriter.text
  wait_until("words", function() return osk.mood == "speaking" end)
  result.answer_begins = osk.typewriter.text
  result.bubble_open = game.bubbles[osk].is_open
  local steps, last, typing = 0, 0, true
  opperchat.go(function()
    while typing and osk:is_busy() do
      steps = steps + (#osk.typewriter.ends > last and 1 or 0)
      last = #osk.typewriter.ends
      opperchat.sleep(0.03)
    end
  end)

  -- the tool: the world, the screen, and the model hears of it
  wait_until("an open gate", function() return world.gate_lift == 1 end)
  result.gate_open = world.is_gate_open
  wait_until("the end of it", function() return not osk:is_busy() end)
  result.typed_in_steps, typing = steps, false
  result.said = osk.said
  wait_until("all to be typed", function() return osk.mood == "quiet" end)
  result.shown = osk.typewriter.text:sub(1, osk.typewriter:shown())
  local after = picture()
  local left = math.floor(world.GATE - 10 - game.camera)
  later[#later + 1] = function()
    result.paper_before, result.paper_after = paper(before), paper(after)
    result.gate_pixels = difference(before, after, left, 310, 20, 90)
  end

  -- a tool that cannot be: the model is told, the world stays as it is
  game.say("And now to the moon.")
  wait_until("an answer", function() return not osk:is_busy() end)
  result.osk_x = osk.body.x

  -- walking away ends it
  game.say("Tell me everything.")
  wait_until("a long answer", function() return #osk.said > 30 end)
  result.active_before = client:active()
  love.mousepressed(100, 400) -- far to the left
  wait_until("being out of earshot", function() return not osk:is_busy() end)
  game.player.goal = nil
  result.walked = 900 - game.player.x
  opperchat.sleep(0)
  result.active_after = client:active()
  result.osk_last = osk.chat:last().content

  -- three at once, and Esc for the one who speaks to the player
  game.player.x = 300
  wait_until("Marta", function() return game.near == marta end)
  love.keypressed("tab")
  game.say("I'm hungry.")
  game.npcs.Sela:hear("Finn: Is it about me?")
  game.npcs.Finn:hear("Sela: It is about my prices.")
  result.active_together = client:active()
  wait_until("three who speak", function()
    return #marta.said > 8 and #game.npcs.Sela.said > 8 and #game.npcs.Finn.said > 8
  end)
  love.keypressed("escape")
  opperchat.sleep(0)
  result.marta_busy = marta:is_busy()
  result.active_after_escape = client:active()
  wait_until("the end", function() return client:active() == 0 end)
  opperchat.sleep(0.1)
  result.sela = game.npcs.Sela.said
  result.panel_rows = #game.panel.rows
end

-- The next day: what is still there.
function plays.resume(game)
  opperchat.sleep(0.1)
  for _, npc in ipairs(game.npcs) do
    result[npc.name] = #npc.chat
  end
  result.osk_last = game.npcs.Osk.chat:last().content
  result.offline = game.connection.label
end

return function(game)
  opperchat.poll = measured("poll", opperchat.poll)
  love.update = measured("update", love.update)
  local update, due = love.update, love.timer.getTime()
  function love.update(dt)
    -- a virtual screen has no refresh to wait for
    due = math.max(due + FRAME, love.timer.getTime())
    love.timer.sleep(due - love.timer.getTime())
    frames = frames + 1
    update(dt)
  end
  opperchat.go(function()
    plays[os.getenv("OPPERCHAT_LOVE_PLAY")](game)
    finish()
  end)
end
