--- What the people of examples/love say when no model is there. Like all of the
-- pretend model it goes by words: of the line it was sent, of what stands in
-- [brackets] before it, and of what a tool has answered. What it remembers it
-- finds in the messages, so what was dropped from them it does not know.

local cjson = require("cjson").new()

local villagers = {}

local made = 0

-- By person: { words of a line, tool, arguments, what is said before, and after }.
-- Words with a space between have to be there all; "|" separates choices.
local DEEDS = {
  Marta = {
    { "hungry|bread|eat|food", "give_item", { item = "warm bread" }, "You poor thing.",
      "Take it, it is still warm. Eat it by the fire, where Finn plays." },
    { "thirsty|cider|drink", "give_item", { item = "mug of cider" }, "Wait, dear.",
      "There. From our own apples, and not too strong." },
  },
  Sela = {
    { "charm", "give_item", { item = "lucky charm" }, "A good eye!",
      "It is yours. I wore it myself, and look how lucky I am: I met you." },
    { "rope", "give_item", { item = "coil of rope" }, "Sturdy hemp.",
      "Take it. You never know what hangs high up in a wood." },
    { "honey", "give_item", { item = "jar of honey" }, "The last jar.",
      "Sweet doing business with you." },
  },
  Finn = {
    { "merry|happy|fast|dance", "play_song", { mood = "merry" }, "At last, somebody with taste!",
      "Hear the pike who leapt so high that he put out the moon, oh my!" },
    { "slow|sad|quiet|song|play", "play_song", { mood = "slow" }, "For the empty hook, then.",
      "Silver light, so far from home, who has hung you up alone?" },
  },
  Osk = {
    { "close|shut", "set_gate", { state = "closed" }, "Gladly.",
      "There. Bolted twice. I sleep better now, and so do the sheep." },
    { "open|let through", "set_gate", { state = "open" }, "You asked politely. Stand back.",
      "There, it is open. Keep to the path, and be back before the lanterns burn down." },
  },
  Wynne = {
    { "snow", "conjure", { what = "snow" }, "In summer? As you like.",
      "Cold, isn't it? That is what the lake felt, a hundred years ago." },
    { "star", "conjure", { what = "stars" }, "Look up.", "One wish each. Do not tell me yours." },
    { "fireflies|light|magic", "conjure", { what = "fireflies" }, "Small ones, come.",
      "They know the way to every lantern. To almost every one." },
  },
}

-- What somebody says to a line with one of these words.
local TOPICS = {
  { "magpie", "A magpie, you say? That bird was always fond of Finn's lute." },
  { "silver lantern|who took|thief", {
    Marta = "It hung here as long as I have lived. I can't look at that hook.",
    Sela = "Ask who sleeps at the inn. I say nothing, and I say it to everybody.",
    Finn = "I have eleven verses about it and no ending. Find me one!",
    Osk = "Something shiny flew over the gate last night. I was... looking elsewhere.",
    Wynne = "Nobody took it who has hands. Play a song in the wood, and see who comes down.",
  } },
  { "wolves|wolf", "They howl from dusk on. It is the wind, says Osk, and holds his spear." },
  { "news", "The silver lantern is gone, bread is free, and Finn rhymes moon with moon." },
  { "price", "Fair prices for fair people. The song may stay as long as it praises my honey." },
}

-- For all other lines, in turn.
local TALK = {
  Marta = { "Sit down, dear. On the evening of the feast nobody stays hungry.",
    "I heard every word. Well, every second one. It sounded kind.",
    "If only that lantern were back on its hook. A feast with a hole in it!" },
  Sela = { "News, ribbons, rope: what can I do for you?",
    "Between us: whoever smiles like that pays the full price.",
    "I have seen stranger things, and I have sold most of them." },
  Finn = { "I shall put you into a song, if you rhyme with something.",
    "They say I boast. They say it because I told them to.",
    "Listen: the fire keeps the beat tonight." },
  Osk = { "Hm. I keep the gate. That is all I know about it.",
    "I am not afraid. The spear shakes because of the cold.",
    "Nobody comes through at night. Well, politely, yes." },
  Wynne = { "You walked a long way to ask that.", "The wood listens. So do I.",
    "Sit. The kettle is nearly polite." },
}

local function has(text, words)
  text = " " .. text:lower():gsub("[^%w']+", " ") .. " "
  for choice in words:gmatch("[^|]+") do
    local all = true
    for word in choice:gmatch("%S+") do
      all = all and text:find(" " .. word, 1, true) ~= nil
    end
    if all then
      return true
    end
  end
  return false
end

-- The name that somebody gave, out of what is known and out of the turns.
local function find_name(messages, text_of)
  for i = #messages, 1, -1 do
    local text = text_of(messages[i])
    local name = messages[i].role == "user" and text:match("[Mm]y name is (%u[%w'-]*)")
      or text:match('^What is known:.*"traveller_name":"([^"]+)"')
    if name then
      return name
    end
  end
end

local function find_facts(messages, text_of)
  for _, message in ipairs(messages) do
    local known = text_of(message):match("^What is known: (.*)$")
    local ok, value = pcall(cjson.decode, known or "")
    if ok and type(value) == "table" and type(value.facts) == "table" then
      return value.facts
    end
  end
  return {}
end

local function call_of(tool, arguments)
  made = made + 1
  return { { id = ("call_village_%d_%d"):format(os.time(), made), type = "function",
    ["function"] = { name = tool, arguments = cjson.encode(arguments) } } }
end

-- What somebody does at a line, nil: nothing.
local function find_deed(name, line)
  for _, deed in ipairs(DEEDS[name]) do
    if has(line, deed[1]) then
      return deed[2], deed[3], deed[4], deed[5]
    end
  end
  local place = line:lower():match("%f[%w]walk%f[%W].- to the (%w+)")
    or line:lower():match("%f[%w]go%f[%W].- to the (%w+)")
    or line:lower():match("%f[%w]come%f[%W].- to the (%w+)")
  if place then
    return "walk_to", { place = place }, "I'm coming.", "Here we are, at the " .. place .. "."
  end
end

-- After a tool has answered: what it was for, or why it did not work.
local function conclude(name, line, result)
  local problem = result:match('"error":"(.-)"}?$')
  if problem and problem:find("^wrong arguments") then
    return "I know no way there. The inn, the market, the fire, the gate and the hut: that is "
      .. "all of Lanternford."
  elseif problem then
    return "I would, but " .. problem:gsub("the traveller has", "you have") .. "."
  end
  return (select(4, find_deed(name, line)))
end

local function answer(name, line, messages, text_of)
  local given = line:match("[Mm]y name is (%u[%w'-]*)")
  if given then
    return given .. ". I shall remember that."
  elseif has(line, "my name|who am i") then
    local known = find_name(messages, text_of)
    return known and "You are " .. known .. ", of course." or "You have not told me your name."
  elseif has(line, "remember|know about me|know of me") then
    local facts = find_facts(messages, text_of)
    return #facts > 0 and "I remember: " .. table.concat(facts, " ")
      or "I remember what you just said, and it was not much."
  end
  for _, topic in ipairs(TOPICS) do
    local said = has(line, topic[1]) and (type(topic[2]) == "table" and topic[2][name]
      or type(topic[2]) == "string" and topic[2])
    if said then
      return said
    end
  end
  local turns = 0
  for _, message in ipairs(messages) do
    turns = turns + (message.role == "user" and 1 or 0)
  end
  return TALK[name][turns % #TALK[name] + 1]
end

--- The next thing that one of the villagers says and does.
---@param messages table[]
---@param text_of fun(message: table): string
---@return { answer: string, calls: table[]?, delay: number, pause: number }? nil: nobody of
---  the village is asked; `delay` and `pause` are seconds, before and between words
function villagers.answer(messages, text_of)
  if not text_of(messages[1]):find("people of Lanternford", 1, true) then
    return nil
  end
  local name = messages[2] and text_of(messages[2]):match("^You are (%a+)")
  if not TALK[name] then
    return nil
  end
  local line, at = "", 0
  for i, message in ipairs(messages) do
    if message.role == "user" then
      line, at = text_of(message):gsub("^%[.-%]%s*", ""):gsub("^%a+: ", ""), i
    end
  end
  local last = messages[#messages]
  if last.role == "tool" then
    return { answer = conclude(name, line, text_of(last)), delay = 0.3, pause = 0.07 }
  end
  local tool, arguments, before = find_deed(name, line)
  if tool and at == #messages then
    return { answer = before, calls = call_of(tool, arguments), delay = 0.6, pause = 0.07 }
  end
  -- a question has to be thought about
  return { answer = answer(name, line, messages, text_of), pause = 0.07,
    delay = line:find("?", 1, true) and 1.7 or 0.7 }
end

--- What is worth keeping of a part of a conversation, when `remember` asks: what
--- the traveller has said of himself.
---@param text string what was known, and the part
---@param schema table
---@return string? json nil: it is not of the village
function villagers.facts(text, schema)
  local properties = type(schema.properties) == "table" and schema.properties
  if not properties or not properties.traveller_name or not properties.facts then
    return nil
  end
  local ok, known = pcall(cjson.decode, text:match("^Known: (.-)\n\nThe conversation:") or "{}")
  known = ok and type(known) == "table" and known or {}
  local facts, seen = {}, {}
  local function add(fact)
    if not seen[fact] then
      seen[fact], facts[#facts + 1] = true, fact
    end
  end
  for _, fact in ipairs(type(known.facts) == "table" and known.facts or {}) do
    add(fact)
  end
  local name = type(known.traveller_name) == "string" and known.traveller_name or nil
  for line in text:gmatch("Traveller: ([^\n]*)") do
    name = line:match("[Mm]y name is (%u[%w'-]*)") or name
    for sentence in line:gmatch("[^.!?]+[.!]") do
      if has(sentence, "i am|i come|i like|i love|my") and not sentence:find("[Mm]y name is") then
        add((sentence:gsub("^%s+", "")))
      end
    end
  end
  local list = {}
  for i = math.max(1, #facts - 11), #facts do
    list[#list + 1] = cjson.encode(facts[i])
  end
  return ('{"traveller_name":%s,"facts":[%s]}'):format(name and cjson.encode(name) or "null",
    table.concat(list, ","))
end

return villagers
