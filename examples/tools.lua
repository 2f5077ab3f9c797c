--- A text adventure. The model tells the story; the doors and the chests are
-- tools that it has to use, and the rules are Lua.
--
--   OPPER_API_KEY=... lua5.4 examples/tools.lua
--
-- Type what you want to do; an empty line ends the game. When the input is no
-- terminal, a short game is played by itself. With OPPER_BASE_URL it talks to
-- that server instead of Opper. With neither it starts the offline server that
-- comes with the examples, whose model knows the words in the tools' names.

local opperchat = require "opperchat"

local here = arg[0]:match("^(.*[/\\])") or "./"

-- `--play` plays the game by itself in any case.
local is_terminal = arg[1] ~= "--play" and io.stdin and os.execute("test -t 0 2>/dev/null")
is_terminal = is_terminal == true or is_terminal == 0

local SCRIPT = {
  { "Look around." },
  { "Open the red door." },
  { "Open the oak chest, then open the red door." },
  { "Go through the red door and look around." },
  { "Open the iron chest.", "n" },
  { "Open the iron chest, then open the green door.", "y" },
  { "Go through the green door and look around." },
}

-- The world ---------------------------------------------------------------------

local world = { room = "hall", keys = {}, is_won = false }

local rooms = {
  hall = "You stand in a hall full of dust. There are an oak chest and a red door.",
  library = "You are in a library. An iron chest hums below the books. The red door leads back to "
    .. "the hall, a green door leads out.",
  garden = "You stand in a garden, under the sky.",
}

local function need_to_be_in(...)
  for _, room in ipairs{ ... } do
    if world.room == room then
      return
    end
  end
  error("there is no such thing in the " .. world.room, 0)
end

-- Makes the tool of a door between two rooms that a key unlocks.
local function door(name, key, from, to)
  local is_open = false
  return {
    name = name,
    description = ("The %s between the %s and the %s"):format((name:gsub("_", " ")), from, to),
    parameters = { action = { "open", "go_through" } },
    run = function(arguments)
      need_to_be_in(from, to)
      if not is_open then
        if arguments.action == "go_through" then
          error("it is closed", 0)
        elseif not world.keys[key] then
          error("it is locked, and a " .. key .. " key would fit", 0)
        end
        is_open = true
        return "The " .. key .. " key turns, and the door swings open."
      elseif arguments.action == "open" then
        return "The door stands open already."
      end
      world.room = world.room == from and to or from
      world.is_won = world.is_won or world.room == "garden"
      return "You go through, into the " .. world.room .. "."
    end,
  }
end

-- The same of a chest with a key in it.
local function chest(name, room, key, confirm)
  return {
    name = name,
    description = ("The %s in the %s"):format((name:gsub("_", " ")), room),
    parameters = { action = { enum = { "open" } } },
    confirm = confirm,
    run = function()
      need_to_be_in(room)
      if world.keys[key] then
        return "It is empty."
      end
      world.keys[key] = true
      return "Inside lies a " .. key .. " key. You take it."
    end,
  }
end

-- The game -----------------------------------------------------------------------

-- What the player answers without a terminal.
local prepared = {}

local function ask(question)
  io.write(question)
  io.flush()
  if is_terminal then
    return io.read()
  end
  local answer = table.remove(prepared, 1)
  print(answer or "")
  return answer
end

local function player_agrees()
  if world.room ~= "library" then
    return true
  end
  local answer = ask("  The chest hums, and it is hot. Really? (y/n) ")
  if answer and answer:find("^[yY]") then
    return true
  end
  return false, "the player is afraid of it"
end

-- One line for each thing that happens, indented.
local function show(event)
  local action = event.call.arguments and event.call.arguments.action
  print(("  [%d: %s%s: %s]"):format(event.step, event.call.name, action and " " .. action or "",
    event.error or event.result))
end

local function turn(chat, prompt)
  local reply, err = chat:run(prompt, { on_tool = show })
  if reply then
    print(reply.content or "")
  elseif err.kind == "tool" then
    print("(The story goes in circles: " .. err.message .. ")")
  else
    error(err, 0)
  end
end

local function play(client)
  local chat = opperchat.conversation{
    client = client,
    model = "openai/gpt-5-mini",
    system = "You are the narrator of a text adventure. Whatever the player does with a door or a "
      .. "chest, do it with the tool of that thing, and tell in one or two sentences what came of "
      .. "it. Invent no things and no exits.",
    tools = {
      {
        name = "look_around",
        description = "What the player sees where he is",
        run = function() return rooms[world.room] end,
      },
      door("red_door", "brass", "hall", "library"),
      door("green_door", "silver", "library", "garden"),
      chest("oak_chest", "hall", "brass"),
      chest("iron_chest", "library", "silver", player_agrees),
    },
  }
  for i = 1, is_terminal and math.huge or #SCRIPT do
    if not is_terminal then
      prepared = { SCRIPT[i][1], SCRIPT[i][2] }
    end
    local prompt = ask("\n> ")
    if not prompt or prompt == "" then
      break
    end
    turn(chat, prompt)
    if world.is_won then
      print(("\nYou are free. %d requests, %d messages."):format(chat:usage().requests, #chat))
      break
    end
  end
end

local offline, client
if not os.getenv("OPPER_API_KEY") and not os.getenv("OPPER_BASE_URL") then
  offline = dofile(here .. "support/offline.lua").start()
  client = opperchat.client{ base_url = offline.url }
  print("No OPPER_API_KEY is set: talking to the offline server at " .. offline.url)
end
if is_terminal then
  print('Try "Look around", "Open the oak chest". An empty line ends the game.')
end

local ok, err = pcall(play, client)
if offline then
  offline:stop()
end
if not ok then
  io.flush()
  io.stderr:write("tools: ", tostring(err), "\n")
  os.exit(1)
end
