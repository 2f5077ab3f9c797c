-- The real Neovim, without a terminal: its loop goes on while answers stream
-- in, and the example plugin does what its first lines say.

local Server = require "spec.support.server"
local support = require "spec.support.nvim"

if not support.is_there() then
  describe("Neovim", function()
    pending("needs nvim")
  end)
  return
end

local read_file, words = support.read_file, support.words

-- The plugin's status line says that an answer is on its way.
local IS_ANSWERING = [[
local function is_answering()
  return vim.b.opper_status == "answering, <C-c> stops"
end
]]

-- As in examples/nvim: found by LUA_PATH and LUA_CPATH.
local PATHS = ("LUA_PATH='%s/lua/?.lua;%s/lua/?/init.lua;;' LUA_CPATH='%s/build/luajit/?.so;;'")
  :gsub("%%s", (support.root:gsub("%%", "%%%%")))

describe("Neovim", function()
  local server, folder

  setup(function()
    support.build()
    folder = support.folder()
    server = Server.start()
  end)

  teardown(function()
    server:stop()
    os.execute("rm -rf " .. folder)
  end)

  before_each(function()
    server:reset()
  end)

  -- Runs a script in a Neovim of its own; returns what it put into `results`.
  local function nvim(script)
    return support.run(IS_ANSWERING .. script, {
      folder = folder, url = server.url, environment = PATHS,
      arguments = "-u NONE --cmd 'set rtp^=examples/nvim' -c 'runtime plugin/opper.lua'",
    })
  end

  -- Queues an answer, streamed in the given pieces.
  local function stream(pieces, pause)
    server:stream(support.chunks(pieces), { pause = pause })
  end

  describe("opperchat.loop.nvim", function()
    it("keeps the editor going while an answer streams in, and idle after it", function()
      stream(words(40), 0.02)
      local results = nvim([[
        local opperchat = require "opperchat"
        local loop = require "opperchat.loop.nvim"
        local detach = loop.attach()
        results.is_once = detach == loop.attach()
        local chat = opperchat.conversation{ model = "m" }
        local timer, last, ticks, gap = uv.new_timer(), uv.hrtime(), 0, 0
        timer:start(10, 10, function()
          local now = uv.hrtime()
          gap, last, ticks = math.max(gap, now - last), now, ticks + 1
        end)
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
        timer:close()
        results.gap, results.ticks, results.pieces = gap / 1e6, ticks, pieces
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

    it("waits in silence without using the processor", function()
      server:reply{ delay = 1, body = { choices = { {
        index = 0, finish_reason = "stop", message = { role = "assistant", content = "ok" },
      } } } }
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
  end)

  describe("the example", function()
    local ANSWER = {
      "A closure", " is:\n\n- a function", "\n- and its upvalues\n", "\n```lua\nlocal n = 0\n",
      "return function() n = n + 1 return n end\n```\n", "\n", "naïve – ✓", "\n\n\n", "End.",
    }

    it("streams into a buffer of its own and remembers", function()
      stream(ANSWER, 0.02)
      stream({ "Sure:\n", "\nyes." }, 0.02)
      local results = nvim([[
        keys(":Opper What is a <lt>closure> | `x`?<CR>")
        wait_for("the question", function() return lines():find("> What", 1, true) end)
        wait_for("the answer", function() return not is_answering() end)
        results.first, results.status = lines(), vim.b.opper_status
        results.line, results.last = vim.fn.line("."), vim.fn.line("$")
        results.filetype, results.modified = vim.bo.filetype, vim.bo.modified
        keys("<CR>And an example?<CR>")
        wait_for("the question", function() return lines():find("> And", 1, true) end)
        wait_for("the second", function() return not is_answering() end)
        results.second, results.windows = lines(), #vim.api.nvim_list_wins()
        keys("q")
        results.after_q = #vim.api.nvim_list_wins()
        vim.cmd("Opper! Anew")
        wait_for("the third", function() return not is_answering() end)
        results.third = lines()
      ]])
      local first = "> What is a <closure> | `x`?\n\n" .. table.concat(ANSWER)
      assert.equal(first, results.first)
      assert.equal(first .. "\n\n> And an example?\n\nSure:\n\nyes.", results.second)
      assert.equal("> Anew\n\nok", results.third)
      assert.equal(results.last, results.line)
      assert.equal("markdown", results.filetype)
      assert.truthy(results.status:find("30 tokens", 1, true), results.status)
      assert.equal(2, results.windows)
      assert.equal(1, results.after_q)
      local requests = server:requests()
      assert.equal(4, #requests[2].json.messages)
      assert.equal(table.concat(ANSWER), requests[2].json.messages[3].content)
      assert.equal(2, #requests[3].json.messages)
    end)

    it("stops at <C-c> and :OpperStop, and answers the next question", function()
      stream(words(500), 0.02)
      stream(words(500), 0.02)
      local results = nvim([[
        keys(":Opper Count<CR>")
        wait_for("some text", function() return lines():find("word5") end)
        keys("<C-c>")
        wait_for("the end", function() return not is_answering() end)
        results.stopped = lines()
        sleep(0.1)
        results.later = lines()
        vim.cmd("Opper Again")
        wait_for("more text", function() return lines():find("Again.*word5") end)
        vim.cmd("Opper Too early")
        vim.cmd("OpperStop")
        vim.cmd("OpperStop")
        results.status = vim.b.opper_status
        vim.cmd("Opper Last")
        wait_for("the answer", function() return not is_answering() end)
        results.all, results.messages = lines(), messages()
      ]])
      assert.truthy(results.stopped:find("^> Count\n\nword1 word2 .*\n\n%*%(stopped%)%*$"),
        results.stopped)
      assert.equal(results.stopped, results.later)
      assert.equal("stopped", results.status)
      assert.truthy(results.all:find("\n\n> Again\n\nword1 .*\n\n%*%(stopped%)%*\n\n> Last\n\nok$"),
        results.all)
      assert.truthy(results.messages:find("an answer is on its way", 1, true), results.messages)
      -- what the reader saw is what the model is told
      local sent = server:requests()[3].json.messages
      assert.equal(6, #sent)
      assert.equal(results.stopped, "> Count\n\n" .. sent[3].content .. "\n\n*(stopped)*")
    end)

    it("shows errors and works again after them", function()
      server:reply{ status = 401, body = { error = { message = "that key is not known here" } } }
      server:stream({ 'data: {"choices":[{"index":0,"delta":{"content":"Well"}}]}\n\n',
        'data: {"error":{"message":"the model fell over"}}\n\n' })
      local results = nvim([[
        for _ = 1, 3 do
          vim.cmd("Opper Hi")
          wait_for("the end", function() return not is_answering() end)
        end
        results.lines, results.messages = lines(), messages()
      ]])
      assert.equal("> Hi\n\n*(failed)*\n\n> Hi\n\nWell\n\n*(failed)*\n\n> Hi\n\nok",
        results.lines)
      assert.truthy(results.messages:find("Opper: that key is not known here", 1, true),
        results.messages)
      assert.truthy(results.messages:find("Opper: the model fell over", 1, true), results.messages)
    end)

    it("leaves the cursor and what the user writes alone; one undo takes one answer", function()
      stream(words(20), 0.02)
      local results = nvim([[
        vim.cmd("Opper Hi")
        wait_for("some text", function() return lines():find("word7") end)
        keys("gg")
        -- edits above the place where the text goes
        vim.api.nvim_buf_set_lines(0, 0, 0, false, { "mine" })
        keys("gg")
        wait_for("the end", function() return not is_answering() end)
        results.line, results.lines = vim.fn.line("."), lines()
        vim.cmd("Opper Next")
        wait_for("the end", function() return not is_answering() end)
        results.both = lines()
        keys("u")
        results.undone = lines()
        -- the place is gone with the window that showed it
        vim.cmd("only")
        vim.cmd("Opper More")
        wait_for("the end", function() return not is_answering() end)
        results.more = lines()
      ]])
      local first = "mine\n> Hi\n\n" .. table.concat(words(20))
      assert.equal(1, results.line)
      assert.equal(first, results.lines)
      assert.equal(first .. "\n\n> Next\n\nok", results.both)
      assert.equal(first, results.undone)
      assert.equal(first .. "\n\n> More\n\nok", results.more)
    end)

    it("has its picture taken", function()
      local picture = folder .. "/nvim.png"
      local pipe = assert(io.popen("env -u LD_PRELOAD timeout -k 5 60 examples/nvim/screenshot.sh "
        .. picture .. " 2>&1; echo exit=$?"))
      local output = pipe:read("*a")
      pipe:close()
      if output:find("exit=77\n$") then
        pending(output:match("[^\n]*"))
        return
      end
      assert.truthy(output:find("exit=0\n$"), output)
      local image = read_file(picture)
      assert.equal("\137PNG\r\n\26\n", image:sub(1, 8))
      local high, low = image:byte(19, 20)
      local width = high * 256 + low
      assert.truthy(width > 700 and width < 1100, width)
      assert.truthy(#image > 10000 and #image < 100000, #image)
    end)

    it("ends the request with its buffer", function()
      stream(words(500), 0.02)
      local results = nvim([[
        vim.cmd("Opper Hi")
        wait_for("some text", function() return lines():find("word3") end)
        vim.cmd("bwipeout!")
        sleep(0.1)
        vim.cmd("Opper Hi")
        wait_for("the end", function() return not is_answering() end)
        results.lines, results.messages = lines(), messages()
      ]])
      assert.equal("> Hi\n\nok", results.lines)
      assert.equal("", results.messages)
    end)
  end)
end)
