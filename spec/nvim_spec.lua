-- The real Neovim, without a terminal: its loop goes on while answers stream
-- in, and the example plugin does what its first lines say.

local cjson = require("cjson").new()
local Server = require "spec.support.server"

local function succeeds(command)
  local status = os.execute(command .. " >/dev/null 2>&1")
  return status == true or status == 0
end

if not succeeds("nvim --version") then
  describe("Neovim", function()
    pending("needs nvim")
  end)
  return
end

local function read_file(path)
  local file = io.open(path, "rb")
  local text = file and file:read("*a")
  if file then
    file:close()
  end
  return text
end

-- What each script begins with. A script is a coroutine of Neovim's own loop,
-- which is idle while it waits: keys are dealt with as if somebody typed them.
local PRELUDE = [[
local uv = vim.loop
local results = {}

local thread
local function sleep(seconds)
  vim.defer_fn(function()
    coroutine.resume(thread)
  end, seconds * 1000)
  coroutine.yield()
end

local function wait_for(what, condition)
  local deadline = uv.hrtime() + 15e9
  while not condition() do
    if uv.hrtime() > deadline then
      error("waited too long for " .. what)
    end
    sleep(0.005)
  end
end

-- Not nvim_input: there <C-c> is an interrupt while this script runs.
local function keys(text)
  text = vim.api.nvim_replace_termcodes(text, true, true, true)
  vim.api.nvim_feedkeys(text, "t", false)
  sleep(0.05)
end

local function lines(buffer)
  return table.concat(vim.api.nvim_buf_get_lines(buffer or 0, 0, -1, false), "\n")
end

local function messages()
  return vim.fn.execute("messages")
end

local function processor_time()
  local usage = uv.getrusage()
  return usage.utime.sec + usage.stime.sec + (usage.utime.usec + usage.stime.usec) / 1e6
end

-- The plugin's status line says that an answer is on its way.
local function is_answering()
  return vim.b.opper_status == "answering, <C-c> stops"
end

local function finish()
  io.stdout:write("RESULT ", vim.json.encode(results), "\n")
  io.stdout:flush()
  vim.cmd("qa!")
end

local function script()
  %s
end

thread = coroutine.create(function()
  local ok, err = xpcall(script, debug.traceback)
  results.failure = not ok and tostring(err) or nil
  finish()
end)
vim.schedule(function()
  coroutine.resume(thread)
end)
]]

local root = assert(io.popen("pwd")):read("*l")

-- Neovim's Lua is LuaJIT, whichever one the tests run on.
local environment = "env -u LD_PRELOAD -u LUA_PATH -u LUA_CPATH -u OPPER_API_KEY "
  .. "LUA_PATH='" .. root .. "/lua/?.lua;" .. root .. "/lua/?/init.lua;;' "
  .. "LUA_CPATH='" .. root .. "/build/luajit/?.so;;' "

describe("Neovim", function()
  local server, folder

  setup(function()
    -- the make that runs us may have other settings, for a sanitizer
    local log = os.tmpname()
    local ok = succeeds("env -u MAKEFLAGS -u MFLAGS -u MAKEOVERRIDES make LUA=luajit >" .. log
      .. " 2>&1")
    assert.is_true(ok, read_file(log))
    os.remove(log)
    folder = os.tmpname()
    os.remove(folder)
    assert.is_true(succeeds("mkdir " .. folder))
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
    local path = folder .. "/script.lua"
    local file = assert(io.open(path, "w"))
    file:write((PRELUDE:gsub("%%s", function()
      return script
    end)))
    file:close()
    local pipe = assert(io.popen(environment .. "HOME=" .. folder
      .. " OPPER_BASE_URL=" .. server.url .. " timeout -k 5 40 "
      .. "nvim --headless -u NONE -i NONE -n --cmd 'set rtp^=examples/nvim' "
      .. "-c 'runtime plugin/opper.lua' -c 'luafile " .. path .. "' 2>&1; echo exit=$?"))
    local output = pipe:read("*a")
    pipe:close()
    assert.truthy(output:find("exit=0\n$"), output)
    local text = output:match("RESULT ([^\n]*)\n")
    assert.truthy(text, output)
    local results = cjson.decode(text)
    assert.is_nil(results.failure, results.failure)
    results.output = output
    return results
  end

  -- Queues an answer, streamed in the given pieces.
  local function stream(pieces, pause)
    local chunks = {}
    for i, text in ipairs(pieces) do
      chunks[i] = "data: " .. cjson.encode({
        choices = { { index = 0, delta = { content = text } } },
      }) .. "\n\n"
    end
    chunks[#chunks + 1] = 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
      .. 'data: {"choices":[],"usage":{"prompt_tokens":20,"completion_tokens":10,'
      .. '"total_tokens":30}}\n\ndata: [DONE]\n\n'
    server:stream(chunks, { pause = pause })
  end

  local function words(count)
    local list = {}
    for i = 1, count do
      list[i] = "word" .. i .. (i % 5 == 0 and "\n" or " ")
    end
    return list
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
