-- The LÖVE example: its parts that draw nothing here, and then the game itself
-- in a real LÖVE on a virtual screen.

local Server = require "spec.support.server"
local cjson = require("cjson").new()
local has_utf8 = pcall(require, "utf8")

-- Sh's `$?` of a command, on every Lua.
local function status_of(command)
  local pipe = assert(io.popen("( " .. command .. " ) >/dev/null 2>&1; echo $?"))
  local status = tonumber(pipe:read("*a"))
  pipe:close()
  return status
end

local function content(path)
  local file = assert(io.open(path, "rb"))
  local bytes = file:read("*a")
  file:close()
  return bytes
end

-- The events of a streamed answer, a word in each.
local function events_of(answer)
  local events = {}
  local function add(delta, finish_reason)
    events[#events + 1] = "data: " .. cjson.encode({
      id = "chatcmpl-owl", object = "chat.completion.chunk", created = 1, model = "test/owl",
      choices = { { index = 0, delta = delta, finish_reason = finish_reason or cjson.null } },
    }) .. "\n\n"
  end
  for word in answer:gmatch("%s*%S+") do
    add({ role = "assistant", content = word })
  end
  add({ content = "" }, "stop")
  events[#events + 1] = "data: [DONE]\n\n"
  return events
end

describe("the typewriter of the LÖVE example", function()
  if not has_utf8 then
    pending("needs the utf8 library of Lua 5.3 or LÖVE")
    return
  end
  local Typewriter = dofile("examples/love/typewriter.lua")

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

describe("the owl of the LÖVE example", function()
  if not has_utf8 then
    pending("needs the utf8 library of Lua 5.3 or LÖVE")
    return
  end

  local opperchat = require "opperchat"
  local server, client, Npc, owl

  setup(function()
    server = Server.start()
    package.loaded.typewriter = dofile("examples/love/typewriter.lua")
    Npc = dofile("examples/love/npc.lua")
  end)

  teardown(function()
    package.loaded.typewriter = nil
    server:stop()
  end)

  before_each(function()
    server:reset()
    client = opperchat.client{ base_url = server.url, api_key = "sk-test" }
    owl = Npc.new{ client = client, model = "test/owl", system = "You are an owl." }
  end)

  after_each(function()
    client:close()
  end)

  -- Frames of the game, in which time passes ten times as fast.
  local function play_until(condition)
    for _ = 1, 2000 do
      opperchat.poll{ seconds = 0.005, budget = 0.002 }
      owl:update(0.05)
      if condition() then
        return
      end
    end
    error("it did not come to that")
  end

  it("answers, and remembers what was said", function()
    server:stream(events_of("Hoo, a vector!")):stream(events_of("In 3D."))
    owl:ask("What's a vector?")
    assert.equal("thinking", owl.mood)
    assert.is_true(owl:is_busy())
    play_until(function() return owl.mood == "silent" end)
    assert.equal("Hoo, a vector!", owl.typewriter.text)
    owl:ask("And in 3D?")
    play_until(function() return owl.mood == "silent" end)
    assert.equal(4, #server:requests()[2].json.messages)
    assert.equal("Hoo, a vector!", server:requests()[2].json.messages[3].content)
  end)

  it("says something while the model thinks, and then the answer instead", function()
    server:stream(events_of("At last."), { delay = 0.4 })
    owl:ask("Are you there?")
    play_until(function() return owl.mood == "pondering" end)
    assert.truthy(owl.typewriter.text:find("Hmm", 1, true))
    play_until(function() return owl.mood == "silent" end)
    assert.equal("At last.", owl.typewriter.text)
  end)

  it("can be stopped in the middle, and asked again", function()
    server:stream(events_of(("word "):rep(200)), { pause = 0.01 }):stream(events_of("Yes."))
    owl:ask("Tell me everything.")
    play_until(function() return #owl.received > 20 end)
    owl:stop()
    assert.is_false(owl:is_busy())
    assert.truthy(#owl.typewriter.text < 500)
    play_until(function() return owl.mood == "silent" end)
    owl:stop()
    owl:ask("Are you done?")
    play_until(function() return owl.mood == "silent" end)
    assert.equal("Yes.", owl.typewriter.text)
  end)

  it("is interrupted by the next question", function()
    server:script{ { "stall" } }:stream(events_of("Yes."))
    owl:ask("Is anybody there?")
    play_until(function() return #server:requests() == 1 end)
    owl:ask("Hello?")
    play_until(function() return owl.mood == "silent" end)
    assert.equal("Yes.", owl.typewriter.text)
  end)

  it("stays in its part when something goes wrong", function()
    local lines, old_print = {}, print
    _G.print = function(line) lines[#lines + 1] = line end
    server:reply{ status = 400, body = { error = { message = "out of mice" } } }
    owl:ask("What's a vector?")
    local ok, err = pcall(play_until, function() return owl.mood == "silent" end)
    _G.print = old_print
    assert.is_true(ok, err)
    assert.is_nil(owl.typewriter.text:find("mice", 1, true))
    assert.truthy(lines[1]:find("out of mice", 1, true))
    assert.is_false(owl:is_busy())
  end)
end)

describe("examples/love in LÖVE", function()
  local MODULE = "build/luajit/opperchat/core.so"
  local missing
  if status_of("command -v love && command -v xvfb-run") ~= 0 then
    missing = "love and xvfb-run are not installed"
  elseif status_of("test -f " .. MODULE) ~= 0 then
    missing = MODULE .. " is not built: make LUA=luajit"
  elseif status_of("test -z \"$(find src -name '*.c' -newer " .. MODULE .. ")\"") ~= 0 then
    missing = MODULE .. " is older than src: make LUA=luajit"
  end
  if missing then
    pending("skipped: " .. missing)
    return
  end

  local ANSWER = "Hoo, a traveller! A vector is a step with a direction: three paces east, four "
    .. "paces north. Add two of them \226\128\148 et voil\195\160 \226\128\148 and you know the "
    .. "way home. (3, 4) leads around the lake, by the way, not into it."

  -- A frame may last this long, where 33 ms are asked for.
  local LONGEST_FRAME = 0.1

  local server, folder

  setup(function()
    server = Server.start()
    local pipe = assert(io.popen("mktemp -d"))
    folder = pipe:read("*l")
    pipe:close()
  end)

  teardown(function()
    server:stop()
    os.execute("rm -r '" .. folder .. "'")
  end)

  -- Plays the game once; returns what it measured.
  local function play()
    server:reset()
    server:stream(events_of(ANSWER), { delay = 1.3, pause = 0.11 })
    local pipe = assert(io.popen("unset LD_PRELOAD OPPER_API_KEY; rm -f '" .. folder .. "'/*; "
      .. "OPPER_BASE_URL=" .. server.url .. " OPPERCHAT_LOVE_TEST='" .. folder .. "' "
      .. "xvfb-run -a timeout -k 5 60 love examples/love 2>&1; echo status=$?"))
    local output = pipe:read("*a")
    pipe:close()
    assert.truthy(output:find("status=0\n$"), output)
    local result = {}
    for name, value in content(folder .. "/result.txt"):gmatch("([%w_]+)=([^\n]*)") do
      result[name] = tonumber(value) or value
    end
    return result
  end

  it("keeps its frames while an answer streams in", function()
    -- A computer that is busy with something else loses a frame now and then;
    -- a game that waits for the network loses one in every run.
    local result
    for _ = 1, 3 do
      result = play()
      if result.longest_frame < LONGEST_FRAME then
        break
      end
    end
    assert.truthy(result.longest_frame < LONGEST_FRAME, "longest: " .. result.longest_frame)
    assert.truthy(result.longest_update < LONGEST_FRAME / 2, "update: " .. result.longest_update)
    local expected = result.seconds * result.rate
    assert.truthy(result.seconds > 4, "seconds: " .. result.seconds)
    assert.truthy(result.frames > expected * 0.7 and result.frames < expected * 1.1,
      result.frames .. " frames, expected " .. expected)

    assert.equal("true", result.pondered)
    assert.equal(ANSWER, content(folder .. "/received.txt"))
    assert.equal(ANSWER, content(folder .. "/shown.txt"))

    -- taken in the middle of the answer
    assert.equal("true", result.busy_at_picture)
    local picture = content(folder .. "/picture.png")
    assert.equal("\137PNG\r\n\26\n", picture:sub(1, 8))
    assert.equal("\0\0\3\32\0\0\1\194", picture:sub(17, 24)) -- 800 x 450
    assert.truthy(#picture > 20000, #picture .. " bytes")
    assert.truthy(result.colors > 200, result.colors .. " colors")

    local copy = os.getenv("OPPERCHAT_LOVE_PICTURE")
    if copy then
      local file = assert(io.open(copy, "wb"))
      file:write(picture)
      file:close()
    end
  end)
end)
