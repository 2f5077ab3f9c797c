-- The LÖVE example: its parts that draw nothing here, and then the game itself
-- in a real LÖVE on a virtual screen.

local Server = require "spec.support.server"
local shell = require "spec.support.shell"
local cjson = require("cjson").new()
local has_utf8 = pcall(require, "utf8")

-- The events of a streamed answer: a word in each, and a tool call behind them.
local function events_of(answer, tool, arguments)
  local events = {}
  local function add(delta, finish_reason)
    events[#events + 1] = "data: " .. cjson.encode({
      id = "chatcmpl-love", object = "chat.completion.chunk", created = 1, model = "test/npc",
      choices = { { index = 0, delta = delta, finish_reason = finish_reason or cjson.null } },
    }) .. "\n\n"
  end
  for word in answer:gmatch("%s*%S+") do
    add({ role = "assistant", content = word })
  end
  if tool then
    add({ tool_calls = { { index = 0, id = "call_" .. tool, type = "function",
      ["function"] = { name = tool, arguments = arguments } } } })
  end
  add({ content = "" }, tool and "tool_calls" or "stop")
  events[#events + 1] = "data: [DONE]\n\n"
  return events
end

-- Modules of the game, which have short names, for as long as `fn` runs.
local function load_game(...)
  local old_path, known, modules = package.path, {}, {}
  for name in pairs(package.loaded) do
    known[name] = true
  end
  package.path = "examples/love/?.lua;" .. package.path
  for i, name in ipairs{ ... } do
    modules[i] = require(name)
  end
  package.path = old_path
  for name in pairs(package.loaded) do
    if not known[name] and not name:find("^opperchat") then
      package.loaded[name] = nil
    end
  end
  return (table.unpack or unpack)(modules) -- luacheck: ignore
end

describe("the typewriter of the LÖVE example", function()
  if not has_utf8 then
    pending("needs the utf8 library of Lua 5.3 or LÖVE")
    return
  end
  local Typewriter = dofile("examples/love/ui/typewriter.lua")

  local function shown(typewriter)
    return typewriter.text:sub(1, typewriter:shown())
  end

  it("reveals whole letters, at its own pace", function()
    local typewriter = Typewriter.new()
    typewriter:push("\195\160 la \226\130\172 \240\159\166\137") -- "à la € (owl)"
    typewriter:finish()
    local before = ""
    for _ = 1, 40 do
      typewriter:update(0.01)
      local now = shown(typewriter)
      assert.equal(before, now:sub(1, #before))
      assert.truthy(utf8.len(now)) -- luacheck: ignore 113 (not in all versions)
      before = now
    end
    assert.equal("\195\160 la \226\130\172 \240\159\166\137", before)
    assert.equal(8, #typewriter.ends)
    assert.is_true(typewriter:is_done())
  end)

  it("joins a letter that arrived in two halves and replaces what is none", function()
    local typewriter = Typewriter.new()
    typewriter:push("caf\195")
    assert.equal("caf", typewriter.text)
    typewriter:push("\169 \255!")
    typewriter:finish()
    assert.equal("caf\195\169 \239\191\189!", typewriter.text)
  end)

  it("holds a word back until it is whole", function()
    local typewriter = Typewriter.new()
    typewriter:push("a vec")
    typewriter:skip()
    assert.equal("a ", shown(typewriter))
    assert.is_false(typewriter:is_done())
    typewriter:push("tor is")
    typewriter:skip()
    assert.equal("a vector ", shown(typewriter))
    typewriter:finish()
    typewriter:skip()
    assert.equal("a vector is", shown(typewriter))
    local without_spaces = Typewriter.new()
    without_spaces:push(("\227\130\171"):rep(30))
    assert.truthy(#without_spaces.ready > 30)
    assert.equal(0, #without_spaces.ready % 3)
  end)

  it("catches up with a long answer that came at once", function()
    local typewriter = Typewriter.new()
    typewriter:push(("word "):rep(400))
    typewriter:finish()
    for _ = 1, 60 * 20 do
      typewriter:update(1 / 60)
    end
    assert.is_true(typewriter:is_done())
  end)
end)

describe("the villagers of the LÖVE example", function()
  if not has_utf8 then
    pending("needs the utf8 library of Lua 5.3 or LÖVE")
    return
  end

  local opperchat = require "opperchat"
  local offline = dofile("examples/support/offline.lua")
  local Npc, World, cast, gossip, tools
  local server = Server.for_tests()
  local village, folder

  setup(function()
    Npc, World, cast, gossip, tools = load_game("npc", "world", "cast", "gossip", "tools")
    gossip.breath = 0
    village = offline.start(nil, 0)
    folder = shell.new_folder()
  end)

  teardown(function()
    village:stop()
    shell.remove_folder(folder)
  end)

  local client, world, base

  -- Somebody of the village, who talks to `url`.
  local function invite(name, path)
    for _, person in ipairs(cast.people) do
      if person.name == name then
        local npc = Npc.new(person)
        npc.body = world:add(name, World.PLACES[person.place], person.look)
        return npc:open{ base = base, client = client, path = path, trace_id = "the-village",
          tools = tools.of(npc, world, person.tools) }
      end
    end
  end

  local function begin(url)
    client = opperchat.client{ base_url = url, api_key = "sk-test" }
    base = opperchat.conversation{ client = client, model = "test/npc", system = cast.lore }
    world = World.new()
  end

  before_each(function()
    begin(server.url)
  end)

  after_each(function()
    client:close()
  end)

  -- Frames of the game, in which time passes ten times as fast.
  local function play_until(condition, ...)
    for _ = 1, 4000 do
      opperchat.poll{ seconds = 0.005, budget = 0.002 }
      world:update(0.05, 0)
      for _, npc in ipairs{ ... } do
        npc:update(0.05)
      end
      if condition() then
        return
      end
    end
    error("it did not come to that")
  end

  local function ask(npc, line)
    npc:hear(world:describe(npc.body) .. "\nTraveller: " .. line)
    play_until(function() return not npc:is_busy() end, npc)
    npc.typewriter:skip()
    npc:update(0)
    assert.equal("quiet", npc.mood)
    return npc.said
  end

  it("share what everybody knows, and nothing else", function()
    local osk, finn = invite("Osk"), invite("Finn")
    server:stream(events_of("Halt.")):stream(events_of("La la."))
    ask(osk, "Hello")
    ask(finn, "Hello")
    local first, second = server:requests()[1], server:requests()[2]
    local osk_sees, finn_sees = first.json.messages, second.json.messages
    assert.equal(3, #osk_sees)
    assert.equal(cast.lore, osk_sees[1].content)
    assert.equal(cast.lore, finn_sees[1].content)
    assert.truthy(osk_sees[2].content:find("^You are Osk"))
    assert.truthy(finn_sees[2].content:find("^You are Finn"))
    assert.equal(3, #finn_sees)
    assert.equal(1, #base)
    assert.equal("set_gate", first.json.tools[2]["function"].name)
    assert.equal("play_song", second.json.tools[2]["function"].name)
    -- what a provider's cache goes by: the same provider, the same beginning
    assert.equal(first.headers["x-opper-trace-id"], second.headers["x-opper-trace-id"])
    local shared = '{"role":"system","content":"You play one of the people of Lanternford'
    assert.truthy(first.body:find(shared, 1, true))
    assert.truthy(second.body:find(shared, 1, true))
  end)

  it("cost next to nothing each, however long the base is", function()
    for i = 1, 500 do
      base:append("user", ("What is known about the year %d? "):format(i):rep(30))
        :append("assistant", ("Little. "):rep(100))
    end
    local bytes = #base:preview()
    collectgarbage()
    collectgarbage()
    local before, forks = collectgarbage("count"), {}
    for i = 1, 100 do
      forks[i] = base:fork():append("system", "You are number " .. i)
    end
    assert.truthy(bytes > 800000, bytes .. " bytes")
    assert.truthy(collectgarbage("count") - before < 1000, "a fork copies")
    assert.equal(1002, #forks[100])
  end)

  it("say something while the model thinks, and then the answer instead", function()
    local osk = invite("Osk")
    server:stream(events_of("At last."), { delay = 0.4 })
    osk:hear("Traveller: Are you there?")
    assert.equal("thinking", osk.mood)
    play_until(function() return osk.mood == "pondering" end, osk)
    assert.equal("Hm, let me think...", osk.typewriter.text)
    play_until(function() return osk.mood == "quiet" end, osk)
    assert.equal("At last.", osk.typewriter.text)
  end)

  it("can be interrupted in the middle, and keep what was said", function()
    local osk = invite("Osk")
    server:stream(events_of(("word "):rep(200)), { pause = 0.01 }):stream(events_of("Yes."))
    osk:hear("Traveller: Tell me everything.")
    play_until(function() return #osk.said > 20 end, osk)
    osk:hush()
    assert.is_false(osk:is_busy())
    play_until(function() return osk.mood == "quiet" and client:active() == 0 end, osk)
    assert.truthy(#osk.typewriter.text < 500)
    assert.truthy(osk.typewriter.text:find("\226\128\148$"))
    assert.truthy(osk.chat:last().content:find("^word word"))
    assert.equal("Yes.", ask(osk, "Are you done?"))
  end)

  it("are interrupted by the next line, before the first word as well", function()
    local osk = invite("Osk")
    server:script{ { "stall" } }:stream(events_of("Yes."))
    osk:hear("Traveller: Is anybody there?")
    play_until(function() return #server:requests() == 1 end, osk)
    assert.equal("Yes.", ask(osk, "Hello?"))
    assert.equal(4, #osk.chat)
  end)

  it("stop walking when they are interrupted", function()
    local osk = invite("Osk")
    server:stream(events_of("I'm coming.", "walk_to", '{"place":"inn"}'))
      :stream(events_of("Yes?"))
    osk:hear("Traveller: Walk to the inn.")
    play_until(function() return osk.body.goal and osk.body.x < 960 end, osk)
    assert.equal("Yes?", ask(osk, "Wait!"))
    assert.truthy(osk.chat.messages, "still open")
    for _, message in ipairs(osk.chat:messages()) do
      assert.is_not.equal("you are at the inn", message.content)
    end
  end)

  it("stay in their part when something goes wrong", function()
    local osk = invite("Osk")
    local lines, old_print = {}, print
    _G.print = function(line) lines[#lines + 1] = line end
    server:reply{ status = 400, body = { error = { message = "out of mice" } } }
    local ok, err = pcall(ask, osk, "What's a vector?")
    _G.print = old_print
    assert.is_true(ok, err)
    assert.is_nil(osk.typewriter.text:find("mice", 1, true))
    assert.truthy(lines[1]:find("out of mice", 1, true))
    assert.equal(2, #osk.chat)
  end)

  it("tell the model why something cannot be done", function()
    local sela = invite("Sela")
    local old_print = print
    _G.print = function() end
    server:stream(events_of("", "give_item", '{"item":"dragon"}'))
      :stream(events_of("", "give_item", '{"item":"jar of honey"}'))
      :stream(events_of("", "give_item", '{"item":"lucky charm"}'))
      :stream(events_of("Your purse is empty."))
    local ok, err = pcall(ask, sela, "I'll take everything.")
    _G.print = old_print
    assert.is_true(ok, err)
    local messages = sela.chat:messages()
    assert.truthy(messages[5].content:find("wrong arguments", 1, true))
    assert.truthy(messages[7].content:find('"coins_left":0', 1, true))
    assert.equal('{"error":"it costs 1, and the traveller has 0 coins"}', messages[9].content)
    assert.same({ "jar of honey" }, world.purse)
  end)

  it("remember for ever in a bounded context, and the next day as well", function()
    client:close()
    begin(village.url)
    local path = folder .. "/marta.jsonl"
    local marta = invite("Marta", path)
    ask(marta, "My name is Ada. I come from the hills beyond the lake.")
    local largest = 0
    for i = 1, 50 do
      ask(marta, "And what about the year " .. i .. ", when the lake was high and the fish dear?")
      largest = math.max(largest, (marta.chat:tokens()))
      -- the memory is written between two turns
      play_until(function() return client:active() == 0 end, marta)
    end
    assert.truthy(largest <= 2000, largest .. " tokens")
    assert.truthy(#marta.chat < 80, #marta.chat .. " messages")
    local facts = marta.chat:messages(3, 3)[1]
    assert.equal("system", facts.role)
    assert.truthy(facts.content:find("Ada", 1, true), facts.content)
    for _, message in ipairs(marta.chat:messages(4)) do
      assert.is_nil(message.content:find("My name is", 1, true), "the turn is still there")
    end
    assert.equal("You are Ada, of course.", ask(marta, "What's my name?"))
    assert.truthy(ask(marta, "What do you remember?"):find("I come from the hills", 1, true))
    assert.truthy(marta.chat:usage().cached_tokens > marta.chat:usage().prompt_tokens / 2)

    local journal = #shell.read_file(path)
    local messages = #marta.chat
    marta.chat:close()
    client:close()
    begin(village.url)
    marta = invite("Marta", path)
    assert.equal(messages, #marta.chat)
    assert.truthy(#shell.read_file(path) < journal / 2, "the journal was not made short")
    assert.equal("You are Ada, of course.", ask(marta, "What's my name?"))
  end)

  it("have one file each, and none when somebody else has it", function()
    local path = folder .. "/osk.jsonl"
    server:stream(events_of("Halt.")):stream(events_of("Who goes there?"))
      :stream(events_of("You again."))
    local first = invite("Osk", path)
    ask(first, "Hello")
    local lines, old_print = {}, print
    _G.print = function(line) lines[#lines + 1] = line end
    local second = invite("Osk", path)
    _G.print = old_print
    assert.truthy(lines[1]:find("locked", 1, true), lines[1])
    assert.equal("Who goes there?", ask(second, "Hello"))
    assert.equal("You again.", ask(first, "Hello"))
    first.chat:close()
    assert.equal(6, #opperchat.load(path))
  end)

  -- Takes down what is printed while `fn` runs.
  local function prints_of(fn)
    local lines, old_print = {}, print
    _G.print = function(line) lines[#lines + 1] = line end
    local ok, err = pcall(fn)
    _G.print = old_print
    assert(ok, err)
    return table.concat(lines, "\n")
  end

  for name, head in pairs{
    ["shorter"] = { "Old lore." },
    ["longer"] = { "Old lore.", "Old manners.", "You are old Osk." },
  } do
    it("have the texts of the new version, when those of the old one were " .. name, function()
      local path = folder .. "/" .. name .. ".jsonl"
      local old = opperchat.conversation{
        policy = { name = "spec", apply = function(_, draft)
          local at = draft:turns().head
          draft:replace(at + 1, at, { { role = "system", content = "What is known: {}" } }, "facts")
          return true
        end },
      }
      for _, text in ipairs(head) do
        old:append("system", text)
      end
      old:append("user", "Traveller: I am Ada."):append("assistant", "Halt, Ada.")
      assert(old:compact())
      assert.equal("What is known: {}", old:messages(#head + 1, #head + 1)[1].content)
      assert(old:save(path))
      local osk = invite("Osk", path)
      local contents = {}
      for i, message in ipairs(osk.chat:messages()) do
        contents[i] = message.content
      end
      assert.same({ cast.lore, osk.person.persona, "What is known: {}", "Traveller: I am Ada.",
        "Halt, Ada." }, contents)
      osk.chat:close()
    end)
  end

  it("talk on when their file becomes useless at the last moment", function()
    local path = folder .. "/race.jsonl"
    invite("Osk", path).chat:close()
    local load, count = opperchat.load, 0
    opperchat.load = function(...)
      count = count + 1
      if count == 2 then
        local file = assert(io.open(path, "wb"))
        file:write("somebody else's\n")
        file:close()
      end
      return load(...)
    end
    local osk
    local printed = prints_of(function() osk = invite("Osk", path) end)
    opperchat.load = load
    assert.truthy(count >= 2)
    assert.truthy(printed:find("what Osk hears is not kept", 1, true), printed)
    server:stream(events_of("Halt."))
    assert.equal("Halt.", ask(osk, "Hello"))
    assert.equal("somebody else's\n", shell.read_file(path))
  end)

  it("gossip another time, when something is wrong with it once", function()
    local marta, sela = invite("Marta"), invite("Sela")
    local printed = prints_of(function()
      local talk = gossip.start(marta, sela, { walk = function() error("no way there") end }, "Hm.")
      play_until(function() return talk.is_over end, marta, sela)
    end)
    assert.truthy(printed:find("gossip: .*no way there"), printed)
  end)

  it("fall silent when the game ends while they talk", function()
    local marta, sela = invite("Marta"), invite("Sela")
    server:stream(events_of("This goes on."), { pause = 5 }):stream(events_of("And this."),
      { delay = 5 })
    local printed = prints_of(function()
      marta:hear("Traveller: What's new?")
      play_until(function() return marta.mood == "speaking" end, marta)
      sela:hear("Traveller: And you?")
      play_until(function() return server:status().requests == 2 end, marta, sela)
      client:close() -- as love.quit does
      opperchat.poll()
    end)
    assert.equal("", printed)
    assert.falsy(marta:is_busy() or sela:is_busy())
  end)

  it("talk about you when you are not there", function()
    client:close()
    begin(village.url)
    local marta, sela = invite("Marta"), invite("Sela")
    local home = marta.body.x
    local talk = gossip.start(marta, sela, world, "Marta: The silver lantern is gone.")
    play_until(function() return talk.is_over and not marta.body.goal end, marta, sela)
    assert.truthy(math.abs(marta.body.x - home) < 5)
    local heard = marta.chat:messages()
    assert.equal("Sela: " .. sela.chat:messages(4, 4)[1].content,
      heard[3].content:match("\n(.*)$"))
    assert.equal(2 + 4, #sela.chat)
    assert.equal(2 + 4, #heard)

    talk = gossip.start(marta, sela, world, "Marta: And another thing.")
    play_until(function() return sela:is_busy() end, marta, sela)
    gossip.interrupt(talk, marta)
    assert.is_false(sela:is_busy())
    play_until(function() return talk.task.state == "done" end, marta, sela)
  end)
end)

describe("examples/love in LÖVE", function()
  local MODULE = "build/luajit/opperchat/core.so"
  local missing
  if not shell.succeeds("command -v love && command -v xvfb-run") then
    missing = "love and xvfb-run are not installed"
  elseif not shell.succeeds("test -f " .. MODULE) then
    missing = MODULE .. " is not built: make LUA=luajit"
  elseif not shell.succeeds("test -z \"$(find src -name '*.c' -newer " .. MODULE .. ")\"") then
    missing = MODULE .. " is older than src: make LUA=luajit"
  end
  if missing then
    pending("skipped: " .. missing)
    return
  end

  -- CPU seconds of the game's thread, see spec/support/love_play.lua. A frame has
  -- 16 ms; what the conversations take of it is to be hardly noticed.
  local MOST_OF_POLL, MOST_OF_UPDATE = 0.006, 0.016

  local server = Server.for_tests()
  local folder

  setup(function()
    folder = shell.new_folder()
  end)

  teardown(function()
    shell.remove_folder(folder)
  end)

  -- Plays the game once; returns what was seen.
  local function play(name, settings)
    local output, status = shell.run("unset LD_PRELOAD OPPER_API_KEY OPPER_BASE_URL; "
      .. (settings or "") .. " XDG_DATA_HOME='" .. folder .. "' OPPERCHAT_LOVE_PLAY=" .. name
      .. " OPPERCHAT_LOVE_RESULT='" .. folder .. "/result.txt' "
      .. "OPPERCHAT_LOVE_SCRIPT=\"$PWD/spec/support/love_play.lua\" "
      .. "xvfb-run -a timeout -k 5 90 love examples/love")
    assert.equal("0", status, output)
    local result = {}
    for key, value in shell.read_file(folder .. "/result.txt"):gmatch("([%w_]+)=([^\n]*)") do
      result[key] = tonumber(value) or value
    end
    return result
  end

  it("is alive while everybody talks, and goes on the next day", function()
    server:stream(events_of("Stand back.", "set_gate", '{"state":"open"}'), { delay = 1.8 })
      :stream(events_of("There, it is open. Mind the wolves."), { pause = 0.07 })
      :stream(events_of("", "walk_to", '{"place":"moon"}'))
      :stream(events_of("I know no way there."))
      :stream(events_of(("on and "):rep(150)), { pause = 0.04 })
    server:default{ chunks = events_of("Well, you know how it is, and how it was."), pause = 0.08 }
    local seen = play("evening", "OPPER_BASE_URL=" .. server.url)

    -- a canned line, and then the answer in its place
    assert.equal("thinking", seen.first_mood)
    assert.equal("Hm, let me think...", seen.pondered)
    assert.truthy(seen.pondered_after > 0.9, seen.pondered_after)
    assert.truthy(seen.answer_begins:find("^Stand"), seen.answer_begins)
    assert.truthy(seen.typed_in_steps >= 3, seen.typed_in_steps)
    assert.equal("Stand back. There, it is open. Mind the wolves.", seen.said)
    assert.equal(seen.said, seen.shown)

    -- the gate, in the world, on the screen, and for the model
    assert.equal("true", seen.gate_open)
    assert.truthy(seen.gate_pixels > 0.3, seen.gate_pixels .. " of the pixels")
    assert.truthy(seen.paper_after > seen.paper_before + 500, "no bubble is to be seen")
    local requests = server:requests()
    local messages = requests[2].json.messages
    assert.truthy(messages[3].content:find("The gate is closed", 1, true))
    assert.truthy(messages[3].content:find("\nTraveller: Please open the gate.", 1, true))
    assert.equal("the gate is open", messages[5].content)
    messages = requests[4].json.messages
    assert.truthy(messages[#messages].content:find("wrong arguments", 1, true))
    assert.truthy(math.abs(seen.osk_x - 968) < 1, seen.osk_x)

    -- walking away, and Esc
    assert.equal(1, seen.active_before)
    assert.equal(0, seen.active_after)
    assert.truthy(seen.walked > 100, seen.walked)
    assert.truthy(seen.osk_last:find("^on and on"), seen.osk_last)
    assert.truthy(#seen.osk_last < 700, #seen.osk_last)
    assert.equal(3, seen.active_together)
    assert.equal("false", seen.marta_busy)
    assert.truthy(seen.active_after_escape < 3, seen.active_after_escape)
    assert.equal("Well, you know how it is, and how it was.", seen.sela)
    assert.equal(6, seen.panel_rows)

    -- no frame is lost to them
    assert.truthy(seen.frames > 30, seen.frames)
    assert.truthy(seen.poll_cpu < MOST_OF_POLL, "poll took " .. seen.poll_cpu)
    assert.truthy(seen.update_cpu < MOST_OF_UPDATE, "update took " .. seen.update_cpu)
    assert.truthy(seen.poll_waits < seen.frames * 0.1, seen.poll_waits .. " waits")

    local osk_last = seen.osk_last
    seen = play("resume")
    assert.equal(osk_last, seen.osk_last)
    assert.equal(4, seen.Sela)
    assert.equal(2, seen.Wynne)
    assert.truthy(seen.offline:find("^offline"), seen.offline)
  end)
end)
