--- Who talks with whom: the player with whoever is near, and the others with each
-- other when they are left alone.

local cast = require "cast"
local gossip = require "gossip"

local REACH = 120 -- so near somebody listens
local EARSHOT = 230 -- so far away nobody does any more
local GOSSIP_AFTER, GOSSIP_EVERY = 9, 40 -- seconds

local company = {}

local function is_gossiping(game)
  return game.talk ~= nil and not game.talk.is_over
end

-- Is somebody free to talk with a neighbour?
local function is_idle(game, npc)
  return npc ~= game.partner and npc ~= game.near and not npc:is_busy() and not npc.body.goal
end

---@param game table `near` is who would listen, `partner` who talks with the player
function company.begin(game)
  game.next_gossip = GOSSIP_AFTER

  --- The player says something to the one who is near.
  function game.say(text)
    local npc = game.near
    if not npc then
      return
    end
    -- one at a time has the player's ear
    if game.partner and game.partner ~= npc then
      game.partner:hush()
    end
    if game.talk then
      gossip.interrupt(game.talk, npc)
    end
    game.partner = npc
    game.player_bubble:say(text)
    npc:hear(game.world:describe(npc.body) .. "\nTraveller: " .. text)
  end

  --- Ends what the player hears, or shows at once what has arrived.
  function game.stop()
    local npc = game.partner
    if npc and npc:is_busy() then
      npc:hush()
    elseif npc then
      npc.typewriter:skip()
    end
  end

  --- Lets two of the people talk with each other.
  ---@param number integer which of the pairs of cast.lua
  function game.start_gossip(number)
    local pair = cast.gossip[number]
    local a, b = game.npcs[pair[1]], game.npcs[pair[2]]
    if is_idle(game, a) and is_idle(game, b) then
      game.bubbles[a]:say((pair[3]:gsub("^%w+: ", "")))
      game.talk = gossip.start(a, b, game.world, pair[3])
    end
  end
end

---@param game table
---@param dt number
function company.update(game, dt)
  local player, nearest = game.player, REACH
  game.near = nil
  for _, npc in ipairs(game.npcs) do
    local distance = math.abs(npc.body.x - player.x)
    if distance < nearest and not game.world:is_barred(npc.body.x, player.x) then
      game.near, nearest = npc, distance
    end
    npc:update(dt)
    if npc == game.partner and distance > EARSHOT then
      npc:hush() -- nobody talks to somebody who has walked away
      game.partner = nil
    end
  end
  for _, npc in pairs{ game.near, game.partner } do
    local is_in_talk = is_gossiping(game) and (npc == game.talk[1] or npc == game.talk[2])
    if not npc.body.goal and not is_in_talk then
      npc.body.facing = player.x > npc.body.x and 1 or -1
    end
  end
  if not is_gossiping(game) and game.time > game.next_gossip then
    game.next_gossip = game.time + GOSSIP_EVERY
    game.start_gossip(love.math.random(#cast.gossip))
  end
end

return company
