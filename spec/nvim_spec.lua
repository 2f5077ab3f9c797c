-- The loop of the real Neovim, without a terminal: it goes on while answers
-- stream in. What the plugin does is in nvim_plugin_spec.

local Server = require "spec.support.server"
local shell = require "spec.support.shell"
local support = require "spec.support.nvim"
local completion = require "spec.support.completion"

describe("opperchat.loop.nvim outside Neovim", function()
  it("says where it belongs, at the line that wants it", function()
    local source = "local name = ...\nrequire(name)"
    local load_text = loadstring or load -- luacheck: ignore 113
    local worked, problem = pcall(load_text(source, "=program"), "opperchat.loop.nvim")
    assert.is_false(worked)
    assert.truthy(problem:find("^program:2: opperchat%.loop%.nvim runs inside Neovim"), problem)
    package.loaded["opperchat.loop.nvim"] = nil -- Lua 5.1 has a mark there
  end)
end)

if not support.is_there() then
  describe("opperchat.loop.nvim", function()
    pending("needs nvim")
  end)
  return
end

local words = support.words

-- As for a plugin of one's own: found by LUA_PATH and LUA_CPATH.
local PATHS = ("LUA_PATH='%s/lua/?.lua;%s/lua/?/init.lua;;' LUA_CPATH='%s/build/luajit/?.so;;'")
  :gsub("%%s", (support.root:gsub("%%", "%%%%")))

-- How long the loop was kept from anything else, at the most, in milliseconds.
local PULSE = [[
local function pulse()
  local timer, last, ticks, gap = uv.new_timer(), uv.hrtime(), 0, 0
  timer:start(10, 10, function()
    local now = uv.hrtime()
    gap, last, ticks = math.max(gap, now - last), now, ticks + 1
  end)
  return function()
    timer:close()
    return gap / 1e6, ticks
  end
end
]]

describe("opperchat.loop.nvim", function()
  local server = Server.for_tests()
  local folder

  setup(function()
    support.build()
    folder = shell.new_folder()
  end)

  teardown(function()
    shell.remove_folder(folder)
  end)

  -- Runs a script in a Neovim of its own; returns what it put into `results`.
  local function nvim(script)
    return support.run(PULSE .. script, {
      folder = folder, url = server.url, environment = PATHS, arguments = "-u NONE",
    })
  end

  -- Queues an answer, streamed in the given pieces.
  local function stream(pieces, pause)
    server:stream(support.chunks(pieces), { pause = pause })
  end

  it("keeps the editor going while an answer streams in, and idle after it", function()
    stream(words(40), 0.02)
    local results = nvim([[
      local opperchat = require "opperchat"
      local loop = require "opperchat.loop.nvim"
      local detach = loop.attach()
      results.is_once = detach == loop.attach()
      local chat = opperchat.conversation{ model = "m" }
      local stop = pulse()
      local pieces, is_fast, content = 0, false, nil
      chat:start("Hi", {
        on_delta = function(text)
          is_fast = is_fast or vim.in_fast_event()
          pieces = pieces + 1
          vim.api.nvim_buf_set_lines(0, -1, -1, false, vim.split(text, "\n"))
        end,
        on_done = function(reply)
          content = reply.content
        end,
      })
      wait_for("the answer", function() return content end)
      results.gap, results.ticks = stop()
      results.pieces = pieces
      results.is_fast, results.content = is_fast, content

      -- nothing is left of it
      sleep(0.05)
      local client = require("opperchat.client").default()
      local watch = require("opperchat.core").state(client).loop.watch
      results.is_watching = watch ~= nil and not watch.is_resting
      local before = processor_time()
      local started = uv.hrtime()
      while uv.hrtime() - started < 1e9 do
        sleep(0.5)
      end
      results.idle = processor_time() - before
      detach()
      detach()
    ]])
    assert.equal(table.concat(words(40)), results.content)
    assert.is_true(results.is_once)
    assert.is_false(results.is_fast)
    assert.truthy(results.pieces >= 10, results.pieces)
    assert.truthy(results.ticks >= 40, results.ticks)
    assert.truthy(results.gap < 150, results.gap)
    assert.is_false(results.is_watching)
    assert.truthy(results.idle < 0.1, results.idle)
  end)

  it("lets the user type while answers stream in", function()
    stream(words(60), 0.02)
    stream(words(60), 0.02)
    local results = nvim([[
      local opperchat = require "opperchat"
      require("opperchat.loop.nvim").attach()
      local answers, ended = vim.api.nvim_create_buf(false, true), 0
      local function write(text)
        vim.api.nvim_buf_set_lines(answers, -1, -1, false, vim.split(text, "\n"))
      end
      opperchat.conversation{ model = "m" }:start("Hi", {
        on_delta = write,
        on_done = function() ended = ended + 1 end,
      })
      opperchat.go(function()
        for text in opperchat.conversation{ model = "m" }:stream("Hi") do
          write(text)
        end
        ended = ended + 1
      end)
      wait_for("some text", function() return lines(answers):find("word3 ") end)
      keys("i")
      local before = #lines(answers)
      for letter in ("typed text"):gmatch(".") do
        local typed = lines()
        vim.api.nvim_feedkeys(letter, "t", false)
        wait_for("the letter", function() return lines() == typed .. letter end)
        sleep(0.03)
      end
      results.typed, results.mode = lines(), vim.api.nvim_get_mode().mode
      results.meanwhile, results.ended_meanwhile = #lines(answers) - before, ended
      wait_for("the answers", function() return ended == 2 end)
      results.mode_at_end = vim.api.nvim_get_mode().mode
      local _, count = lines(answers):gsub("word60", "")
      results.count = count
    ]])
    assert.equal("typed text", results.typed)
    assert.equal("i", results.mode)
    assert.equal("i", results.mode_at_end)
    assert.truthy(results.meanwhile > 0, results.meanwhile)
    assert.equal(0, results.ended_meanwhile)
    assert.equal(2, results.count)
  end)

  it("moves many requests at once", function()
    local answer = support.chunks(words(40))
    for _ = 1, 50 do
      server:stream(answer, { pause = 0.02 })
    end
    local results = nvim([[
      local opperchat = require "opperchat"
      require("opperchat.loop.nvim").attach()
      local stop = pulse()
      local begun, ended, begun_first = 0, 0, nil
      local contents = {}
      local function done(reply)
        begun_first = begun_first or begun
        ended = ended + 1
        contents[reply.content] = (contents[reply.content] or 0) + 1
      end
      for i = 1, 50 do
        local chat = opperchat.conversation{ model = "m" }
        local is_new = true
        local options = {
          on_delta = function()
            begun, is_new = begun + (is_new and 1 or 0), false
          end,
        }
        if i % 2 == 0 then
          options.on_done = done
          chat:start("Hi", options)
        else
          opperchat.go(function()
            done(assert(chat:send("Hi", options)))
          end)
        end
      end
      wait_for("the answers", function() return ended == 50 end)
      results.gap, results.ticks = stop()
      results.begun_first, results.contents = begun_first, contents
    ]])
    assert.same({ [table.concat(words(40))] = 50 }, results.contents)
    -- none waits for another
    assert.equal(50, results.begun_first)
    assert.truthy(results.ticks >= 40, results.ticks)
    assert.truthy(results.gap < 150, results.gap)
  end)

  it("drives one client where it is given one, until it is taken back", function()
    local results = nvim([[
      local opperchat = require "opperchat"
      local loop = require "opperchat.loop.nvim"
      local own, other = opperchat.client{}, opperchat.client{}
      local detach = loop.attach(own)
      local chat = opperchat.conversation{ model = "m", client = own }
      local elsewhere = opperchat.conversation{ model = "m", client = other }
      elsewhere:start("Hi")
      chat:start("Hi")
      wait_for("the answer", function() return #chat == 2 end)
      sleep(0.2)
      results.elsewhere = other:active()
      detach()
      chat:start("Hi")
      sleep(0.2)
      results.own = own:active()
      loop.attach()
      wait_for("both", function() return #chat == 4 and #elsewhere == 2 end)
      results.left = opperchat.poll()
    ]])
    assert.equal(1, results.elsewhere)
    assert.equal(1, results.own)
    assert.equal(0, results.left)
  end)

  it("waits in silence without using the processor", function()
    server:reply{ delay = 1, body = completion.body("ok") }
    local results = nvim([[
      require("opperchat.loop.nvim").attach()
      local chat = require("opperchat").conversation{ model = "m" }
      local before, content = nil, nil
      chat:start("Hi", {
        stream = false,
        on_done = function(reply)
          content = reply.content
          results.time = processor_time() - before
        end,
      })
      before = processor_time()
      while not content do
        sleep(0.5)
      end
      results.content = content
    ]])
    assert.equal("ok", results.content)
    assert.truthy(results.time < 0.1, results.time)
  end)

  it("shows what handlers and tasks raise, and goes on", function()
    stream(words(5), 0.02)
    local results = nvim([[
      local opperchat = require "opperchat"
      require("opperchat.loop.nvim").attach()
      local first = opperchat.conversation{ model = "m" }
      local second = opperchat.conversation{ model = "m" }
      first:start("Hi", { on_delta = function() error("out of my depth") end })
      opperchat.go(function()
        opperchat.sleep(0.1)
        results.content = second:send("Hi").content
        error("overslept")
      end)
      wait_for("both", function()
        return messages():find("overslept", 1, true) and #second == 2
      end)
      results.messages = messages()
    ]])
    assert.equal("ok", results.content)
    assert.truthy(results.messages:find("opperchat: [^\n]*out of my depth"), results.messages)
    assert.truthy(results.messages:find("opperchat: [^\n]*overslept"), results.messages)
  end)

  it("gets along with those who wait themselves", function()
    stream(words(5), 0.02)
    stream(words(5), 0.02)
    local results = nvim([[
      local opperchat = require "opperchat"
      require("opperchat.loop.nvim").attach()
      local slow = opperchat.conversation{ model = "m" }
      local quick = opperchat.conversation{ model = "m" }
      local is_done = false
      slow:start("Hi", { on_done = function() is_done = true end })
      results.quick = quick:send("Hi", { stream = true }).content
      results.is_done = vim.wait(5000, function() return is_done end, 5)
      results.slow = slow:last().content
    ]])
    assert.equal(table.concat(words(5)), results.quick)
    assert.is_true(results.is_done)
    assert.equal(table.concat(words(5)), results.slow)
  end)

  it("looks now and then where there is no descriptor", function()
    stream(words(5), 0.02)
    local results = nvim([[
      require("opperchat.core").pollfd = function() return nil end
      require("opperchat.loop.nvim").attach()
      local chat = require("opperchat").conversation{ model = "m" }
      chat:start("Hi")
      wait_for("the answer", function() return #chat == 2 end)
      results.content = chat:last().content
      sleep(0.05)
      local before = processor_time()
      for _ = 1, 2 do
        sleep(0.25)
      end
      results.idle = processor_time() - before
    ]])
    assert.equal(table.concat(words(5)), results.content)
    assert.truthy(results.idle < 0.1, results.idle)
  end)

  it("does not hold up an editor that is left", function()
    server:script{ { "stall" } }
    server:script{ { "stall" } }
    nvim([[
      require("opperchat.loop.nvim").attach()
      local opperchat = require "opperchat"
      opperchat.conversation{ model = "m" }:start("Hi")
      sleep(0.1)
      local client = opperchat.client{}
      opperchat.conversation{ model = "m", client = client }:start("Hi")
      sleep(0.1)
      client:close()
    ]])
  end)

  it("is enough for a plugin of one's own, such as that of the documentation", function()
    local page = shell.read_file("docs/drivers.md")
    local plugin = page:match("\n## Neovim\n.-\n```lua\n(.-)\n```")
    stream({ "A fold", " is:\n\n- lines", "\n- out of sight\n" }, 0.02)
    server:reply{ status = 401, body = { error = { message = "no such key" } } }
    local results = nvim(plugin .. [[

      vim.cmd("Ask What is a fold?")
      wait_for("the answer", function() return lines():find("sight\n", 1, true) end)
      results.text = lines()
      wait_for("its end", function() return #chat == 2 end)
      vim.cmd("Ask And now?")
      wait_for("the error", function() return messages():find("no such key", 1, true) end)
    ]])
    assert.equal("A fold is:\n\n- lines\n- out of sight\n", results.text)
    assert.equal("What is a fold?", server:requests()[1].json.messages[1].content)
    assert.equal(4, #server:requests()[1].json.messages + #server:requests()[2].json.messages)
  end)
end)
