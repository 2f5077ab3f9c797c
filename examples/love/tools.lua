--- What the people can do. Each tool changes the world and says what came of it,
-- and that goes back to the model. An error is no disaster: the model is told, and
-- says it in its own words. Arguments were checked against `parameters` before.
--
-- A tool may take its time: `opperchat.sleep` lets the game go on. It is never torn
-- apart, so it looks itself whether somebody has interrupted its turn.

local opperchat = require "opperchat"

local tools = {}

-- Waits as long as the turn goes on and `condition()` holds.
local function wait_while(npc, condition)
  local turn = npc.turn
  while npc.turn == turn and condition() do
    opperchat.sleep(0.05)
  end
  if npc.turn ~= turn then
    error("you were interrupted", 0)
  end
end

-- A result that says why not becomes an error without a place in this file.
local function must(result, why)
  return result or error(why, 0)
end

function tools.walk_to(npc, world)
  return {
    name = "walk_to",
    description = "Walk to a place in the village. Returns when you are there.",
    parameters = { place = world.PLACE_NAMES },
    run = function(arguments)
      local x = world.PLACES[arguments.place]
      must(world:walk(npc.body, x))
      wait_while(npc, function() return npc.body.goal end)
      must(math.abs(npc.body.x - x) < 20, "the gate was in the way")
      return "you are at the " .. arguments.place
    end,
  }
end

function tools.give_item(npc, world)
  local names, prices = {}, {}
  for name, price in pairs(npc.wares) do
    names[#names + 1] = name
    prices[#prices + 1] = name .. " " .. (price == 0 and "free" or price .. " coins")
  end
  -- pairs has no order, and what is sent should be the same each time
  table.sort(names)
  table.sort(prices)
  return {
    name = "give_item",
    description = "Hand something to the traveller, who pays its price: "
      .. table.concat(prices, ", "),
    parameters = { item = names },
    run = function(arguments)
      must(world:hand_over(npc.name, arguments.item, npc.wares[arguments.item]))
      return { given = arguments.item, coins_left = world:count("coin") }
    end,
  }
end

function tools.set_gate(npc, world)
  return {
    name = "set_gate",
    description = "Open or close the gate. You have to be at the gate.",
    parameters = { state = { "open", "closed" } },
    run = function(arguments)
      must(math.abs(npc.body.x - world.PLACES.gate) < 60, "you are not at the gate")
      must(world:set_gate(arguments.state == "open"))
      wait_while(npc, function() return world:is_gate_moving() end)
      return "the gate is " .. arguments.state
    end,
  }
end

function tools.play_song(_, world)
  return {
    name = "play_song",
    description = "Begin to play a song on your lute.",
    parameters = { mood = { "merry", "slow" } },
    run = function(arguments)
      world:play(arguments.mood)
      return "everybody listens to the " .. arguments.mood .. " song"
    end,
  }
end

function tools.conjure(_, world)
  return {
    name = "conjure",
    description = "Show your magic to the whole village.",
    parameters = { what = { "snow", "stars", "fireflies" } },
    run = function(arguments)
      world:conjure(arguments.what)
      return arguments.what .. " are seen over the village"
    end,
  }
end

--- The tools of one of the people.
---@param npc table
---@param world table
---@param names string[]
---@return table[] for the option `tools` of a conversation
function tools.of(npc, world, names)
  local list = {}
  for i, name in ipairs(names) do
    list[i] = tools[name](npc, world)
  end
  return list
end

return tools
