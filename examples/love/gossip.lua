--- Two villagers who talk with each other when nobody disturbs them: what one has
-- answered is what the other one hears. It costs what any conversation costs, so
-- they do it now and then, and only a few lines.

local opperchat = require "opperchat"

local LINES = 4
local DISTANCE = 104 -- between the two; their bubbles have room

-- `breath`: seconds to read the last line before the next one begins.
local gossip = { breath = 1.2 }

-- Waits as long as both are undisturbed and the condition holds.
local function wait_while(talk, condition)
  while not talk.is_over and condition() do
    opperchat.sleep(0.1)
  end
end

local function exchange(talk, world, opening)
  local a, b = talk[1], talk[2]
  local home = a.body.x
  local side = home < b.body.x and -1 or 1
  if not world:walk(a.body, b.body.x + side * DISTANCE) then
    return
  end
  wait_while(talk, function() return a.body.goal end)
  a.body.facing, b.body.facing = -side, side

  local line, speaker, listener = opening, b, a
  for _ = 1, LINES do
    if talk.is_over then
      break
    end
    local reply = speaker:hear(world:describe(speaker.body) .. "\n" .. line):wait()
    if not reply or not reply.content then
      break
    end
    wait_while(talk, function() return speaker.mood ~= "quiet" end)
    if not talk.is_over then
      opperchat.sleep(gossip.breath)
    end
    line = speaker.name .. ": " .. reply.content
    speaker, listener = listener, speaker
  end
  world:walk(a.body, home)
end

--- Begins; `talk.is_over` tells when it has ended. What was said is part of both
--- conversations.
---@param a table the one who walks over
---@param b table
---@param world table
---@param opening string what a says first, out of the game's own script
---@return table talk
function gossip.start(a, b, world, opening)
  local talk = { a, b, is_over = false }
  talk.task = opperchat.go(function()
    -- the first line is no model's
    local is_fine, err = pcall(exchange, talk, world, opening)
    -- whatever came of it: the next two are to have their turn
    talk.is_over = true
    if not is_fine then
      print("opperchat: gossip: " .. tostring(err))
    end
  end)
  return talk
end

--- The player talks to one of the two: the other one falls silent.
---@param talk table
---@param npc table
function gossip.interrupt(talk, npc)
  local other = npc == talk[1] and talk[2] or npc == talk[2] and talk[1]
  if other and not talk.is_over then
    talk.is_over = true
    other:hush()
  end
end

return gossip
