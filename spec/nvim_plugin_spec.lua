-- The plugin in the real Neovim, as a plugin manager installs it: the folder of
-- the repository on the runtimepath, and nothing else.

local Server = require "spec.support.server"
local shell = require "spec.support.shell"
local support = require "spec.support.nvim"

if not support.is_there() then
  describe("the plugin for Neovim", function()
    pending("needs nvim")
  end)
  return
end

local words = support.words

local HELPERS = [[
local opper = require "opperchat.nvim"

local BUSY = { waiting = true, thinking = true, answering = true }
local function is_done()
  return not BUSY[opper.status()] and not opper.status():find("^sent again")
end

local function ask(command)
  vim.cmd(command)
  wait_for("the answer to " .. command, is_done)
end
]]

describe("the plugin for Neovim", function()
  local server = Server.for_tests()
  local folder

  setup(function()
    support.build()
    folder = shell.new_folder()
  end)

  teardown(function()
    shell.remove_folder(folder)
  end)

  -- With the plugin on the runtimepath, sourced as at every start.
  local function nvim(script, arguments)
    return support.run(HELPERS .. script, {
      folder = folder, url = server.url, environment = "OPPER_API_KEY=key-of-the-tests",
      arguments = arguments or "-u NORC --cmd 'set rtp^=.'",
    })
  end

  local function stream(pieces, pause)
    server:stream(support.chunks(pieces), { pause = pause })
  end

  -- What the model was asked last.
  local function asked(number)
    local messages = server:requests()[number or #server:requests()].json.messages
    return messages[#messages].content, messages
  end

  local function write_file(name, text)
    return shell.write_file(folder .. "/" .. name, text)
  end

  describe("at Neovim's start", function()
    it("loads nothing and is ready", function()
      local results = support.run([[
        local loaded = {}
        for name in pairs(package.loaded) do
          if name:find("^opperchat") then
            loaded[#loaded + 1] = name
          end
        end
        results.loaded = table.concat(loaded, " ")
        results.commands = vim.fn.exists(":Opper") + vim.fn.exists(":OpperStop")
        results.sourced = vim.fn.execute("scriptnames"):find("plugin/opperchat.lua", 1, true) ~= nil
        -- what other plugins do
        results.version = require("opperchat").version
        results.path = package.cpath:find("build/luajit", 1, true) ~= nil
      ]], { folder = folder, url = server.url, arguments = "-u NORC --cmd 'set rtp^=.'" })
      assert.equal("", results.loaded)
      assert.equal(4, results.commands)
      assert.is_true(results.sourced)
      assert.equal(require("opperchat").version, results.version)
      assert.is_false(results.path)
    end)

    it("says which command builds it where it is not built", function()
      local copy = folder .. "/not built"
      assert.is_true(shell.succeeds(("mkdir '%s' && cp -r lua plugin '%s'"):format(copy, copy)))
      local results = support.run([[
        vim.cmd("Opper Hi")
        sleep(0.02)
        results.messages = messages()
        results.buffers = #vim.api.nvim_list_bufs()
        vim.cmd("checkhealth opperchat")
        results.health = lines()
        vim.cmd("Opper Hi")
        -- and then it is
        vim.fn.system("mkdir -p '" .. vim.env.COPY .. "/build/luajit' && cp -r "
          .. "build/luajit/opperchat '" .. vim.env.COPY .. "/build/luajit'")
        vim.cmd("Opper Hi")
        wait_for("the answer", function() return lines():find("\n\nok\n\n## You") end)
      ]], { folder = folder, url = server.url,
        environment = "OPPER_API_KEY=k COPY='" .. copy .. "'",
        arguments = "-u NORC --cmd 'let &rtp = \"" .. copy .. ",\" . &rtp'" })
      local command = "make -C '" .. copy .. "' LUA=luajit"
      assert.truthy(results.messages:find(command, 1, true), results.messages)
      assert.equal(1, results.buffers)
      assert.truthy(results.health:find("ERROR: opperchat is not built", 1, true), results.health)
      assert.truthy(results.health:find(command, 1, true), results.health)
    end)
  end)

  -- spec/types_options_spec.lua and spec/types_defaults_spec.lua look at the options.
  describe("its functions", function()
    local annotations = require "spec.support.annotations"

    it("are as annotated, and no others", function()
      stream({ "One." })
      stream({ "Two." }, 0.05)
      local results = nvim([[
        results.names = {}
        for name, value in pairs(opper) do
          results.names[#results.names + 1] = type(value) == "function" and name or name .. "?"
        end
        results.options = require("opperchat.nvim.config").names()
        -- each result as JSON has it, with its type where that has none
        results.calls = {}
        local function call(name, ...)
          local values = { opper[name](...) }
          for i = 1, #values do
            if type(values[i]) == "userdata" then
              values[i] = "a " .. require("opperchat").type(values[i])
            end
          end
          table.insert(results.calls, { name = name, values = { values[1], values[2] } })
          return values[1]
        end
        call("setup")
        call("setup", { focus = true })
        call("status")
        call("stop")
        call("conversation")
        call("ask")
        call("ask", "  ", { context = { "> a" } })
        call("ask", "Hi")
        wait_for("the first", is_done)
        call("ask", "Ho", { new = true, context = { "> b" } })
        results.both = #require("opperchat.nvim.chat").all()
        call("stop", true)
        call("status", vim.api.nvim_get_current_buf())
        call("conversation", vim.api.nvim_get_current_buf())
        call("conversation")
        -- the new one has its own messages
        results.own = #opper.conversation()
        results.raised = not pcall(opper.setup, { no_such_option = true })
      ]])
      local functions, names = {}, {}
      for _, fn in ipairs(annotations.by_name["opperchat.nvim"].functions) do
        functions[fn.name] = fn
        names[#names + 1] = fn.name
      end
      table.sort(names)
      table.sort(results.names)
      assert.same(names, results.names)
      local options = {}
      for _, field in ipairs(annotations.by_name["opperchat.nvim.Options"].fields) do
        options[#options + 1] = field.name
      end
      table.sort(options)
      assert.same(options, results.options)
      -- the second question went into the conversation of the first, the third did not
      assert.equal(2, results.both)
      local new = annotations.by_name["opperchat.nvim.AskOptions"].fields[1]
      assert.same({ "new", true, false }, { new.name, annotations.default(new.text) })
      local all = functions.stop.params[1]
      assert.same({ "all", true, false }, { all.name, annotations.default(all.text) })
      assert.is_true(results.raised)
      local seen = {}
      for _, call in ipairs(results.calls) do
        local returns = functions[call.name].returns
        assert.is_true(#call.values <= #returns, call.name)
        for i, of in ipairs(returns) do
          for _, one in ipairs(annotations.expand(of.type)) do
            local value = call.values[i]
            local fits = one == "opperchat.Conversation" and value == "a conversation"
              or not one:find("^opperchat") and not annotations.find_problem(value, one, call.name)
            seen[call.name .. i] = seen[call.name .. i] or {}
            seen[call.name .. i][one] = seen[call.name .. i][one] or fits
            call.fits = call.fits or fits
          end
          assert.is_true(call.fits, call.name .. ": " .. of.type .. " expected")
        end
      end
      for place, types in pairs(seen) do
        for one, was_seen in pairs(types) do
          assert.is_true(was_seen, place .. ": " .. one .. " was not seen")
        end
      end
    end)
  end)

  describe(":Opper", function()
    it("streams into a buffer of its own, and remembers", function()
      local answer = { "A closure", " is:\r", "\n\r\n- a function", "\r\n- and its upvalues",
        "\n\nnaïve – ✓\0." }
      stream(answer, 0.02)
      stream({ "\n\nSure." }, 0.02)
      local results = nvim([[
        keys(":Opper What is a <lt>closure> | `x`?<CR>")
        wait_for("the start", function() return opper.status() == "answering" end)
        wait_for("the answer", is_done)
        results.first, results.status = lines(), opper.status()
        results.at_end = vim.fn.line(".") == vim.fn.line("$")
        results.options = vim.bo.filetype .. " " .. vim.bo.buftype .. " " .. vim.bo.bufhidden
        results.modified, results.name = vim.bo.modified, vim.fn.bufname()
        vim.cmd("wincmd p")
        vim.cmd("Opper And an example?")
        wait_for("the second", is_done)
        results.second, results.windows = lines(), #vim.api.nvim_list_wins()
        results.count = #opper.conversation()
        results.messages = messages()
      ]])
      local first = "## You\n\nWhat is a <closure> | `x`?\n\n## openai/gpt-5-mini\n\n"
        .. "A closure is:\n\n- a function\n- and its upvalues\n\nnaïve – ✓\0.\n\n## You\n\n"
      assert.equal(first, results.first)
      assert.equal(first .. "And an example?\n\n## openai/gpt-5-mini\n\nSure.\n\n## You\n\n",
        results.second)
      assert.truthy(results.status:find("^[%d.]+ s, 30 tokens$"), results.status)
      assert.is_true(results.at_end)
      assert.equal("markdown nofile hide", results.options)
      assert.is_false(results.modified)
      assert.equal("opper://1", results.name)
      assert.equal(2, results.windows)
      assert.equal(5, results.count)
      assert.equal("", results.messages)
      local text, messages = asked(2)
      assert.equal("And an example?", text)
      assert.equal("system", messages[1].role)
      assert.equal(table.concat(answer), messages[3].content)
    end)

    it("survives characters that are cut in two", function()
      local body = 'data: {"choices":[{"index":0,"delta":{"content":"a€\240\159\166\137é"}}]}\n\n'
        .. 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
        .. "data: [DONE]\n\n"
      local steps = { { "send", "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        .. "Connection: close\r\n\r\n" } }
      for i = 1, #body do
        steps[#steps + 1] = { "send", body:sub(i, i) }
        if i > 40 and i < 70 then
          steps[#steps + 1] = { "sleep", 0.005 }
        end
      end
      steps[#steps + 1] = { "close" }
      server:script(steps)
      stream({ "a", "€", "\240\159\166\137", "é\n", "é" }, 0.01)
      local results = nvim([[
        ask("Opper Hi")
        results.first = lines()
        ask("Opper Hi")
        results.second = lines()
      ]])
      assert.truthy(results.first:find("\n\na€\240\159\166\137é\n\n## You", 1, true))
      assert.truthy(results.second:find("\n\na€\240\159\166\137é\né\n\n## You", 1, true))
    end)

    it("writes once per turn of the loop, and never the whole buffer", function()
      -- 2 MB in 20,000 pieces, in lines and at last in one line of 1 MB
      local pieces = {}
      for i = 1, 20000 do
        pieces[i] = ("%05d"):format(i) .. ("x"):rep(94) .. (i <= 10000 and "\n" or " ")
      end
      stream(pieces, 0)
      local results = nvim([[
        local writes, touched = 0, 0
        local before = processor_time()
        vim.cmd("Opper Hi")
        vim.api.nvim_buf_attach(0, false, {
          on_lines = function(_, _, _, first, last, new_last)
            writes, touched = writes + 1, touched + last - first
          end,
        })
        wait_for("the answer", is_done)
        results.time, results.writes, results.touched = processor_time() - before, writes, touched
        results.count, results.size = vim.fn.line("$"), #lines()
        keys("u")
        results.undone = lines()
      ]])
      assert.truthy(results.size > 2000000, results.size)
      assert.equal(6 + 10000 + 1 + 4, results.count)
      assert.truthy(results.writes < 10000, results.writes)
      -- each write touches the line it begins in, and no other
      assert.truthy(results.touched <= results.writes, results.touched)
      assert.truthy(results.time < 10, results.time)
      assert.equal("## You\n\nHi", results.undone)
    end)

    it("has the selection in its question", function()
      local path = write_file("lib.lua",
        "local näme = 1\nlocal text = [[\n```\n]]\n\tprint(näme)\nreturn näme\n")
      local results = nvim(([[
        vim.cmd("edit %s")
        vim.bo.filetype = "lua"
        local file = vim.api.nvim_get_current_win()
        local function about(selecting, question)
          vim.api.nvim_set_current_win(file)
          keys(selecting)
          keys(":Opper! " .. question .. "<CR>")
          wait_for("the answer", is_done)
        end
        about("ggwvej", "Charwise?")
        about("gg0wve", "One word?")
        about("ggVj", "Lines?")
        about("gg0<C-v>ljj", "Block?")
        about("gg0wv$", "To the end?")
        vim.api.nvim_set_current_win(file)
        keys("5G^<C-v>j$y")
        results.yanked = vim.fn.getreg()
        about("5G^<C-v>j$", "Block to the ends?")
        about("ggj0w<C-v>kE", "Block to a column?")
        vim.api.nvim_set_current_win(file)
        ask("4,5Opper! Range?")
        vim.api.nvim_set_current_win(file)
        ask("%%Opper! All?")
        -- without a question it waits below the heading
        vim.api.nvim_set_current_win(file)
        vim.cmd("5Opper!")
        results.draft, results.line = lines(), vim.fn.line(".") == vim.fn.line("$")
        keys("iWhat is that?<Esc><CR>")
        wait_for("the answer", is_done)
        results.name = vim.fn.fnamemodify(vim.fn.bufname("lib.lua"), ":~:.")
        results.messages = messages()
      ]]):format(path))
      local function question(text, place, code, fence)
        fence = fence or "```"
        return text .. "\n\n`" .. results.name .. "`, " .. place .. ":\n\n" .. fence .. "lua\n"
          .. code .. "\n" .. fence
      end
      assert.equal("", results.messages:gsub("[^\n]*lib.lua[^\n]*", ""):gsub("%s", ""))
      assert.equal(question("Charwise?", "lines 1-2", "näme = 1\nlocal text"), asked(1))
      assert.equal(question("One word?", "line 1", "näme"), asked(2))
      assert.equal(question("Lines?", "lines 1-2", "local näme = 1\nlocal text = [["), asked(3))
      assert.equal(question("Block?", "lines 1-3", "lo\nlo\n``"), asked(4))
      assert.equal(question("To the end?", "line 1", "näme = 1"), asked(5))
      assert.equal("print(näme)\näme", results.yanked)
      assert.equal(question("Block to the ends?", "lines 5-6", results.yanked), asked(6))
      assert.equal(question("Block to a column?", "lines 1-2", "näme\ntext"), asked(7))
      assert.equal(question("Range?", "lines 4-5", "]]\n\tprint(näme)"), asked(8))
      assert.equal(question("All?", "lines 1-6",
        "local näme = 1\nlocal text = [[\n```\n]]\n\tprint(näme)\nreturn näme", "````"), asked(9))
      local context = question("", "line 5", "\tprint(näme)"):sub(3)
      assert.equal("## You\n\n" .. context .. "\n\n", results.draft)
      assert.is_true(results.line)
      assert.equal(context .. "\n\nWhat is that?", asked(10))
    end)

    it("sends what stands below the last heading", function()
      local results = nvim([[
        vim.cmd("Opper")
        results.empty = lines()
        vim.cmd("Opper")
        sleep(0.02)
        results.messages = messages()
        keys("iFirst line<CR><CR>second line<Esc>")
        keys("<CR>")
        wait_for("the answer", is_done)
        keys("iAnd more<Esc>")
        ask("Opper")
        keys("iA draft<Esc>")
        ask("Opper with a question")
        results.all = lines()
        vim.cmd("Opper!")
        -- in the empty line, and nothing below it
        keys("kiRight below<Esc><CR>")
        wait_for("the answer", is_done)
        keys("kOIn a new line<Esc>jdd<CR>")
        wait_for("the answer", is_done)
        keys("GkkoMore<Esc>jdG<CR>")
        wait_for("the answer", is_done)
        keys("GkdGGdd:Opper Without a line<CR>")
        wait_for("the answer", is_done)
      ]])
      assert.equal("Right below", asked(4))
      assert.equal("In a new line", asked(5))
      assert.equal("## You\n\n", results.empty)
      assert.truthy(results.messages:find("nothing to send", 1, true), results.messages)
      local reply = "\n\n## openai/gpt-5-mini\n\nok\n\n## You\n\n"
      assert.equal("## You\n\nFirst line\n\nsecond line" .. reply .. "And more" .. reply
        .. "A draft\n\nwith a question" .. reply, results.all)
      assert.equal("First line\n\nsecond line", asked(1))
      assert.equal("And more", asked(2))
      assert.equal("A draft\n\nwith a question", asked(3))
    end)

    it("waits with a selection while an answer is on its way", function()
      stream(words(40), 0.02)
      local results = nvim([[
        vim.cmd("Opper Hi")
        local chat = vim.api.nvim_get_current_buf()
        wait_for("some text", function() return lines():find("word5") end)
        vim.cmd("wincmd p")
        keys("ione<Esc>")
        vim.cmd("1Opper")
        wait_for("the end", is_done)
        sleep(0.02)
        results.chat, results.messages = lines(chat), messages()
      ]])
      assert.equal("## You\n\nHi\n\n## openai/gpt-5-mini\n\n" .. table.concat(words(40))
        .. "\n## You\n\n", results.chat)
      assert.truthy(results.messages:find("an answer is on its way", 1, true), results.messages)
    end)

    it("has several conversations side by side", function()
      stream(words(60), 0.02)
      stream({ "two" }, 0.02)
      local results = nvim([[
        vim.cmd("Opper One")
        local first = vim.api.nvim_get_current_buf()
        wait_for("some text", function() return lines(first):find("word3") end)
        vim.cmd("Opper! Two")
        local second = vim.api.nvim_get_current_buf()
        wait_for("the second", is_done)
        results.is_busy = opper.status(first)
        wait_for("the first", function() return opper.status(first):find("tokens") end)
        vim.cmd("Opper Again two")
        wait_for("it", is_done)
        vim.cmd("wincmd p")
        results.is_first = vim.api.nvim_get_current_buf() == first
        vim.cmd("Opper Again one")
        wait_for("it", is_done)
        results.first, results.second = lines(first), lines(second)
        results.names = vim.fn.bufname(first) .. " " .. vim.fn.bufname(second)
        results.windows = #vim.api.nvim_list_wins()
        results.counts = { #opper.conversation(first), #opper.conversation(second) }
      ]])
      assert.equal("answering", results.is_busy)
      assert.is_true(results.is_first)
      assert.truthy(results.first:find("## You\n\nOne\n.*word60\n\n## You\n\nAgain one\n.*ok\n\n"))
      assert.truthy(results.second:find("## You\n\nTwo\n.*two\n\n## You\n\nAgain two\n.*ok\n\n"))
      assert.equal("opper://1 opper://2", results.names)
      assert.equal(3, results.windows)
      assert.same({ 5, 5 }, results.counts)
    end)
  end)

  describe("while an answer streams in", function()
    it("leaves cursors and other windows alone, and what the user writes", function()
      stream(words(40), 0.03)
      local results = nvim([[
        vim.cmd("edit " .. vim.fn.tempname())
        local file = vim.api.nvim_get_current_win()
        keys("ione<CR>two<Esc>gg")
        vim.cmd("Opper Hi")
        local chat = vim.api.nvim_get_current_win()
        wait_for("some text", function() return lines():find("word5") end)
        results.followed = vim.fn.line(".") == vim.fn.line("$")
        keys("gg")
        wait_for("more text", function() return lines():find("word10") end)
        results.stayed = vim.fn.line(".")
        -- edits above and below the place where the text goes
        keys("Omine<Esc>")
        keys("Goa draft<Esc>")
        wait_for("more text", function() return lines():find("word20") end)
        vim.bo.modifiable = false
        wait_for("more text", function() return lines():find("word25") end)
        results.modifiable = vim.bo.modifiable
        vim.bo.modifiable = true
        -- not shown anywhere
        vim.cmd("hide")
        results.windows = #vim.api.nvim_list_wins()
        wait_for("the end", is_done)
        results.cursor, results.file = vim.api.nvim_win_get_cursor(file), lines()
        vim.cmd("Opper")
        results.chat, results.messages = lines(), messages()
      ]])
      assert.is_true(results.followed)
      assert.equal(1, results.stayed)
      assert.is_false(results.modifiable)
      assert.equal(1, results.windows)
      assert.same({ 1, 2 }, results.cursor)
      assert.equal("one\ntwo", results.file)
      assert.equal("mine\n## You\n\nHi\n\n## openai/gpt-5-mini\n\n"
        .. table.concat(words(40)) .. "\n## You\n\n\na draft", results.chat)
      assert.is_nil(results.messages:find("Error"), results.messages)
    end)

    it("may be typed into", function()
      stream(words(40), 0.03)
      local results = nvim([[
        vim.cmd("Opper Hi")
        wait_for("some text", function() return lines():find("word5") end)
        keys("Go")
        for letter in ("typed text"):gmatch(".") do
          vim.api.nvim_feedkeys(letter, "t", false)
          sleep(0.03)
        end
        results.mode = vim.api.nvim_get_mode().mode
        wait_for("the end", is_done)
        results.chat = lines()
        results.line = vim.api.nvim_get_current_line()
      ]], "-u NORC --cmd 'set rtp^=.' --cmd 'set noautoindent'")
      assert.truthy(results.chat:find(table.concat(words(40)) .. "\n## You\n\n", 1, true),
        results.chat)
      assert.truthy(results.chat:find("typed text", 1, true), results.chat)
    end)

    it("lets the user write into a file, also while many do", function()
      local answer = support.chunks(words(60))
      for _ = 1, 8 do
        server:stream(answer, { pause = 0.03 })
      end
      local results = nvim([[
        local file = vim.api.nvim_get_current_win()
        local buffers = {}
        for i = 1, 8 do
          vim.cmd("Opper! Question " .. i)
          buffers[i] = vim.api.nvim_get_current_buf()
          vim.cmd("close")
        end
        local function all(check)
          return #vim.tbl_filter(check, buffers) == #buffers
        end
        wait_for("some text", function()
          return all(function(buffer) return lines(buffer):find("word3 ") end)
        end)
        vim.api.nvim_set_current_win(file)
        keys("i")
        for letter in ("typed text"):gmatch(".") do
          local typed = lines()
          vim.api.nvim_feedkeys(letter, "t", false)
          wait_for("the letter", function() return lines() == typed .. letter end)
          sleep(0.02)
        end
        results.typed, results.mode = lines(), vim.api.nvim_get_mode().mode
        results.are_busy = all(function(buffer) return opper.status(buffer) == "answering" end)
        wait_for("the answers", function()
          return all(function(buffer) return opper.status(buffer):find("tokens") end)
        end)
        results.mode_at_end = vim.api.nvim_get_mode().mode
        results.are_whole = all(function(buffer) return lines(buffer):find("word60\n") end)
        results.messages = messages()
      ]])
      assert.equal("typed text", results.typed)
      assert.equal("i", results.mode)
      assert.equal("i", results.mode_at_end)
      assert.is_true(results.are_busy)
      assert.is_true(results.are_whole)
      assert.equal("", results.messages)
    end)

    it("ends quietly when its buffer is wiped, deleted or unloaded", function()
      for _ = 1, 3 do
        stream(words(500), 0.02)
      end
      local results = nvim([[
        results.closed = 0
        for _, command in ipairs{ "bwipeout!", "bdelete!", "bunload!" } do
          vim.cmd("Opper! Hi")
          wait_for("some text", function() return lines():find("word3") end)
          local conversation = opper.conversation()
          vim.cmd(command)
          sleep(0.15)
          if select(2, require("opperchat").type(conversation)) == false then
            results.closed = results.closed + 1
          end
        end
        results.active = require("opperchat").poll()
        ask("Opper Hi")
        results.lines, results.messages = lines(), messages()
      ]])
      assert.equal(3, results.closed)
      assert.equal(0, results.active)
      assert.truthy(results.lines:find("\n\nok\n\n## You\n\n$"), results.lines)
      assert.equal("", results.messages)
      assert.truthy(server:status().open <= 1)
    end)

    it("begins anew in a buffer that was loaded again", function()
      local results = nvim([[
        ask("Opper One")
        local buffer = vim.api.nvim_get_current_buf()
        vim.cmd("edit")
        results.keys = vim.fn.maparg("<CR>", "n") .. vim.fn.maparg("<C-c>", "n")
        ask("Opper Two")
        results.second = lines()
        vim.cmd("bunload!")
        vim.cmd("buffer " .. buffer)
        vim.cmd("enew")
        vim.cmd("buffer " .. buffer)
        results.status = opper.status(buffer)
        ask("Opper Three")
        results.third, results.groups = lines(), vim.fn.getcompletion("opperchat", "augroup")
        -- whoever has kept one that is closed
        local chat = require("opperchat.nvim.chat").get()
        vim.cmd("bwipeout!")
        results.asked = chat:ask("Four")
        sleep(0.02)
        results.messages = messages()
      ]])
      local reply = "\n\n## openai/gpt-5-mini\n\nok\n\n## You\n\n"
      assert.equal("", results.keys)
      assert.equal("## You\n\nTwo" .. reply, results.second)
      assert.equal("", results.status)
      assert.equal("## You\n\nThree" .. reply, results.third)
      assert.same({ "opperchat3" }, results.groups)
      assert.is_false(results.asked)
      assert.truthy(results.messages:find("Opper: this conversation is closed", 1, true),
        results.messages)
      assert.equal(3, #server:requests())
    end)

    it("stops and keeps what came", function()
      stream({ "Like so:\n\n```lua\n", "local a = 1\n", "local b = 2" }, 0.05)
      server:reset()
      server:script{
        { "send", "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
          .. support.chunks{ "Like so:\n\n```lua\nlocal a = 1\nlocal" }[1] },
        { "stall" },
      }
      stream(words(500), 0.02)
      local results = nvim([[
        vim.cmd("Opper Code")
        wait_for("some text", function() return lines():find("local a") end)
        vim.cmd("Opper Too early")
        vim.cmd("OpperStop")
        wait_for("the end", is_done)
        results.first, results.status = lines(), opper.status()
        vim.cmd("Opper Count")
        wait_for("some text", function() return lines():find("word5") end)
        keys("<C-c>")
        wait_for("the end", is_done)
        results.stopped = lines()
        sleep(0.1)
        results.later = lines()
        vim.cmd("OpperStop")
        vim.cmd("OpperStop!")
        ask("Opper Last")
        results.all, results.messages = lines(), messages()
      ]])
      assert.equal("## You\n\nCode\n\n## openai/gpt-5-mini\n\nLike so:\n\n```lua\nlocal a = 1\n"
        .. "local\n```\n\n*(stopped)*\n\n## You\n\n", results.first)
      assert.equal("stopped", results.status)
      assert.truthy(results.stopped:find("word1 .*word5\n.*\n%*%(stopped%)%*\n\n## You\n\n$"))
      assert.equal(results.stopped, results.later)
      assert.truthy(results.all:find("Last\n\n## openai/gpt%-5%-mini\n\nok\n\n## You\n\n$"))
      assert.truthy(results.messages:find("an answer is on its way", 1, true), results.messages)
      -- what the reader saw is what the model is told
      local _, messages = asked(3)
      assert.equal(6, #messages)
      assert.equal("Like so:\n\n```lua\nlocal a = 1\nlocal", messages[3].content)
    end)
  end)

  describe("undo", function()
    it("takes back an answer in one step, and with it the turn", function()
      stream(words(40), 0.01)
      local results = nvim([[
        vim.cmd("Opper First")
        wait_for("the end", is_done)
        ask("Opper Second")
        results.both = lines()
        keys("u")
        results.undone = lines()
        keys("<C-r>")
        results.redone = lines()
        ask("Opper Third")
        results.count = #opper.conversation()
        -- two answers, and their questions' headings
        keys("uuu")
        results.two = lines()
        ask("Opper Instead")
        results.instead, results.messages = lines(), messages()
        results.left = #opper.conversation()
      ]])
      local first = "## You\n\nFirst\n\n## openai/gpt-5-mini\n\n" .. table.concat(words(40))
        .. "\n## You\n\n"
      local reply = "\n\n## openai/gpt-5-mini\n\nok\n\n## You\n\n"
      assert.equal(first .. "Second" .. reply, results.both)
      assert.equal(first .. "Second", results.undone)
      assert.equal(results.both, results.redone)
      assert.equal(7, results.count)
      assert.equal(first .. "Second", results.two)
      assert.equal(first .. "Instead" .. reply, results.instead)
      assert.equal(5, results.left)
      assert.is_nil(results.messages:find("E%d"), results.messages)
      local text, messages = asked(4)
      assert.equal("Instead", text)
      assert.equal(4, #messages)
    end)

    it("is undone by redo, whatever is asked then", function()
      local results = nvim([[
        ask("Opper one")
        keys("u<C-r>")
        ask("Opper two")
        results.two = lines()
        -- and below the heading by hand, after several steps
        keys("uuu<C-r><C-r><C-r>Gothree<Esc><CR>")
        wait_for("the answer", is_done)
        results.three, results.count = lines(), #opper.conversation()
        results.messages = messages()
      ]])
      local reply = "\n\n## openai/gpt-5-mini\n\nok\n\n## You\n\n"
      assert.equal("two", asked(2))
      assert.equal("three", asked(3))
      assert.equal("## You\n\none" .. reply .. "two" .. reply, results.two)
      assert.equal(results.two .. "three" .. reply, results.three)
      assert.equal(7, results.count)
      assert.is_nil(results.messages:find("E%d"), results.messages)
    end)

    it("in the middle of an answer is undone by redo, with all that had come", function()
      local pieces = words(500)
      table.insert(pieces, 1, "Code:\n\n```lua\n")
      stream(pieces, 0.02)
      local results = nvim([[
        vim.cmd("Opper one")
        wait_for("some text", function() return lines():find("word5") end)
        keys("u")
        wait_for("the end", is_done)
        sleep(0.05)
        results.undone = lines()
        keys("<C-r>")
        ask("Opper next")
        results.all, results.count = lines(), #opper.conversation()
        results.partial = opper.conversation():messages()[3].content
        -- the end alone is taken back, and written anew
        keys("uuu")
        results.without = lines()
        ask("Opper last")
        results.last = lines()
      ]])
      assert.equal("## You\n\none", results.undone)
      local heading = "\n\n## openai/gpt-5-mini\n\n"
      local text = results.partial .. (results.partial:find("\n$") and "" or "\n")
      local first = "## You\n\none" .. heading .. text .. "```\n\n*(stopped)*\n\n## You\n\n"
      assert.equal(first .. "next" .. heading .. "ok\n\n## You\n\n", results.all)
      assert.equal(5, results.count)
      assert.equal("next", asked(2))
      assert.is_nil(results.without:find("stopped", 1, true), results.without)
      assert.equal(results.without:gsub("\n$", "") .. "\n```\n\n*(stopped)*\n\n## You\n\nlast"
        .. heading .. "ok\n\n## You\n\n", results.last)
      local text_of_last, messages = asked(3)
      assert.equal("last", text_of_last)
      assert.equal(4, #messages)
    end)

    it("is not misled by headings in code, nor by one that is gone", function()
      stream({ "Write\n\n```markdown\n## You\n\nme\n```\n" }, 0)
      stream({ "```\nnever closed" }, 0)
      local results = nvim([[
        ask("Opper one")
        keys("u<C-r>")
        ask("Opper two")
        keys("u<C-r>")
        ask("Opper three")
        results.three = lines()
        -- the last heading is deleted
        keys("GkddGofour<Esc>")
        ask("Opper")
        -- all of it is
        keys("u<C-r>:%d<CR>")
        ask("Opper five")
        results.five = lines()
      ]])
      assert.equal("two", asked(2))
      assert.equal("three", asked(3))
      assert.truthy(results.three:find("never closed\n```\n\n## You\n\nthree\n", 1, true),
        results.three)
      assert.equal("four", asked(4))
      assert.equal("five", asked(5))
      assert.truthy(results.five:find("^%s*## You\n\nfive\n\n## openai"), results.five)
    end)

    it("gives the question back, to be changed and sent again", function()
      local results = nvim([[
        ask("Opper Wat is a fold?")
        keys("u")
        keys("ggjj0cwWhat<Esc><CR>")
        wait_for("the answer", is_done)
        results.all, results.count = lines(), #opper.conversation()
        -- that branch is the one in force now
        ask("Opper More")
        results.more = #opper.conversation()
      ]])
      assert.equal("## You\n\nWhat is a fold?\n\n## openai/gpt-5-mini\n\nok\n\n## You\n\n",
        results.all)
      assert.equal(3, results.count)
      assert.equal(5, results.more)
      assert.equal("What is a fold?", asked(2))
    end)

    it("in the middle of an answer ends it", function()
      stream(words(500), 0.02)
      local results = nvim([[
        vim.cmd("Opper Hi")
        wait_for("some text", function() return lines():find("word5") end)
        keys("u")
        wait_for("the end", is_done)
        sleep(0.1)
        results.undone, results.active = lines(), require("opperchat").poll()
        keys("A there<Esc><CR>")
        wait_for("the answer", is_done)
        results.all, results.count, results.messages = lines(), #opper.conversation(), messages()
      ]])
      assert.equal("## You\n\nHi", results.undone)
      assert.equal(0, results.active)
      assert.equal("## You\n\nHi there\n\n## openai/gpt-5-mini\n\nok\n\n## You\n\n", results.all)
      assert.equal(3, results.count)
      assert.is_nil(results.messages:find("E%d"), results.messages)
    end)

    it("leaves alone what the user has written meanwhile", function()
      stream(words(40), 0.03)
      local results = nvim([[
        vim.cmd("Opper Hi")
        wait_for("some text", function() return lines():find("word5") end)
        keys("ggOmine<Esc>")
        wait_for("the end", is_done)
        keys("u")
        results.first = lines()
        keys("u")
        results.second = lines()
        keys("u")
        results.third = lines()
      ]])
      -- what came after the edit, the edit, what came before it
      assert.truthy(results.first:find("^mine\n## You\n\nHi\n\n## openai.*word5"), results.first)
      assert.is_nil(results.first:find("word40"))
      assert.truthy(results.second:find("^## You\n\nHi\n\n## openai.*word5"), results.second)
      assert.equal("## You\n\nHi", results.third)
    end)
  end)

  describe("an error", function()
    it("is a line in the buffer and a message of one line; the question comes back", function()
      server:reply{ status = 401, body = { error = { message = "that key is\nnot known here" } } }
      server:stream({ 'data: {"choices":[{"index":0,"delta":{"content":"Well"}}]}\n\n',
        'data: {"error":{"message":"the model fell over"}}\n\n' })
      local results = nvim([[
        ask("Opper Hi")
        sleep(0.02)
        results.first, results.status, results.messages = lines(), opper.status(), messages()
        keys("u<CR>")
        wait_for("the answer", is_done)
        results.second = lines()
        ask("Opper Go on")
        results.third = lines()
        results.all = messages()
      ]])
      local heading = "## You\n\nHi\n\n## openai/gpt-5-mini\n\n"
      assert.truthy(results.first:find("^## You\n\nHi\n\n## openai/gpt%-5%-mini\n\n"
        .. "> %*%*Error:%*%* api error [^\n]*that key is not known here\n\n## You\n\n$"),
        results.first)
      assert.equal("failed", results.status)
      assert.truthy(results.messages:find("\nOpper: api error [^\n]*that key is not known here$"),
        results.messages)
      assert.truthy(results.second:find(heading .. "Well\n\n> **Error:** ", 1, true),
        results.second)
      assert.truthy(results.third:find("\n\nok\n\n## You\n\n$"), results.third)
      local _, messages = asked(3)
      assert.equal("Well", messages[3].content)
      assert.is_nil(results.all:find("key-of-the-tests", 1, true))
    end)

    it("of an autocommand for Markdown is shown, and the question is asked", function()
      local results = nvim([[
        vim.cmd("autocmd FileType markdown lua error('a plugin fell over')")
        ask("Opper Hi")
        sleep(0.02)
        results.all, results.messages = lines(), messages()
        results.options = vim.bo.filetype .. " " .. vim.bo.buftype
        results.buffers = #vim.fn.getbufinfo{ buflisted = 1 }
      ]])
      assert.truthy(results.all:find("\n\nok\n\n## You\n\n$"), results.all)
      assert.truthy(results.messages:find("Opper: [^\n]*a plugin fell over"), results.messages)
      assert.equal("markdown nofile", results.options)
      assert.equal(2, results.buffers)
    end)

    it("of the options comes with the first question", function()
      local results = nvim([[
        local function try(options)
          local worked, err = pcall(opper.setup, options)
          results[#results + 1] = worked and "fine" or err:gsub("^.-:%d+: ", "")
        end
        try{ modle = "m" }
        try{ model = 5 }
        try{ window = "tab" }
        try{ keymaps = { aks = "x" } }
        try{ keymaps = { ask = 5 } }
        try{ conversation = { tools = {} } }
        try{ size = -1 }
        try("m")
        try{ model = "m", client = { api_kee = "sesame" } }
        ask("Opper Hi")
        results[#results + 1] = lines()
        sleep(0.02)
        results[#results + 1] = messages()
      ]])
      local function at(i)
        return results[i] or results[tostring(i)]
      end
      assert.equal("opperchat.nvim.setup: unknown option 'modle' (did you mean 'model'?)", at(1))
      assert.equal("opperchat.nvim.setup: option 'model': string expected, got number", at(2))
      assert.equal("opperchat.nvim.setup: option 'window': \"split\", \"vsplit\", \"float\", "
        .. "\"current\" or a function expected, got a string", at(3))
      assert.equal("opperchat.nvim.setup: option 'keymaps': unknown key 'aks' (did you mean "
        .. "'ask'?)", at(4))
      assert.equal("opperchat.nvim.setup: option 'keymaps': 'ask': string or false expected, "
        .. "got number", at(5))
      assert.equal("opperchat.nvim.setup: option 'conversation': 'tools' are not run by this "
        .. "plugin", at(6))
      assert.equal("opperchat.nvim.setup: option 'size': number above 0 expected, got number",
        at(7))
      assert.equal("opperchat.nvim.setup: table of options expected, got string", at(8))
      assert.equal("fine", at(9))
      assert.truthy(at(10):find("## m\n\n> **Error:** ", 1, true), at(10))
      assert.truthy(at(11):find("client: unknown option 'api_kee' (did you mean 'api_key'?)", 1,
        true), at(11))
      assert.is_nil(at(11):find("sesame", 1, true))
      -- it is no server's
      assert.is_nil(at(11):find("api error", 1, true), at(11))
      assert.is_nil(at(10):find("misuse", 1, true), at(10))
    end)
  end)

  describe("setup", function()
    it("takes options for the conversation, the client, keys and windows", function()
      local results = nvim([[
        local shown
        opper.setup{
          model = "test/model", system = false,
          client = { base_url = vim.env.OPPER_BASE_URL, headers = { ["X-Team"] = "owls" },
            api_key = function() return "key-from-a-function" end },
          conversation = { temperature = 0.5 },
          policy = function(policy) return policy.keep{ turns = 1 } end,
          keymaps = { ask = "<F5>", stop = "<F6>" },
          buffer_keymaps = { send = "<C-s>" },
          window = "float",
        }
        keys("<F5>One<CR>")
        wait_for("the answer", function() return opper.status() ~= "" and is_done() end)
        results.float = vim.api.nvim_win_get_config(0).relative
        keys("iTwo<Esc><C-s>")
        wait_for("the answer", is_done)
        results.all = lines()
        vim.cmd("close")

        opper.setup{ window = "vsplit", size = 30, focus = false }
        results.unmapped = vim.fn.maparg("<F5>", "n")
        local before = vim.api.nvim_get_current_win()
        vim.cmd("Opper! Three")
        results.stayed = vim.api.nvim_get_current_win() == before
        wait_for("the answer", is_done)
        local windows = vim.api.nvim_list_wins()
        results.width = vim.api.nvim_win_get_width(windows[#windows])
        vim.cmd("only")

        opper.setup{ window = "current" }
        vim.cmd("Opper! Four")
        results.current = #vim.api.nvim_list_wins()
        wait_for("the answer", is_done)

        opper.setup{ window = function(buffer)
          vim.cmd("tab sbuffer " .. buffer)
        end }
        vim.cmd("Opper! Five")
        wait_for("the answer", is_done)
        results.tabs = #vim.api.nvim_list_tabpages()
        results.messages = messages()
      ]])
      assert.equal("editor", results.float)
      assert.truthy(results.all:find("## test/model\n\nok\n\n## You\n\nTwo\n\n## test/model\n\nok"),
        results.all)
      assert.equal("", results.unmapped)
      assert.is_true(results.stayed)
      assert.equal(30, results.width)
      assert.equal(1, results.current)
      assert.equal(2, results.tabs)
      assert.is_nil(results.messages:find("%S"), results.messages)
      local requests = server:requests()
      assert.equal("test/model", requests[1].json.model)
      assert.equal(0.5, requests[1].json.temperature)
      assert.equal("owls", requests[1].headers["x-team"])
      assert.equal("Bearer key-from-a-function", requests[1].headers.authorization)
      assert.equal(1, #requests[1].json.messages)
      assert.equal(1, #requests[2].json.messages)
      assert.equal("openai/gpt-5-mini", requests[3].json.model)
    end)

    it("keeps conversations in a folder, to go on with", function()
      local journals = folder .. "/journals"
      local results = nvim(([[
        opper.setup{ journal = "%s" }
        vim.cmd("Opper")
        results.none = #vim.fn.glob("%s/*", false, true)
        ask("Opper My name is Ada.")
        ask("Opper And I am 36.")
        local before = lines()
        results.files = #vim.fn.glob("%s/*.jsonl", false, true)
        results.mode = vim.fn.getfperm("%s")
        -- it is open here
        vim.cmd("enew")
        vim.cmd("OpperResume")
        results.is_shown = lines() == before
        results.open = messages()
        vim.cmd("bwipeout!")
        results.names = vim.fn.getcompletion("OpperResume ", "cmdline")
        vim.cmd("OpperResume " .. results.names[1])
        results.same = lines() == before
        ask("Opper What's my name?")
        results.all, results.messages = lines(), messages()
        vim.cmd("OpperResume nothing")
        sleep(0.02)
        results.missing = messages()
      ]]):format(journals, journals, journals, journals))
      assert.equal(0, results.none)
      assert.equal("rwx------", results.mode)
      assert.is_true(results.is_shown)
      assert.equal("", results.open)
      assert.equal(1, results.files)
      assert.equal(1, #results.names)
      assert.is_true(results.same)
      assert.truthy(results.all:find("Ada.*36.*my name%?\n\n## openai[^\n]*\n\nok"), results.all)
      assert.equal("", results.messages)
      assert.truthy(results.missing:find("\nOpper: store error [^\n]*nothing"), results.missing)
      assert.equal(6, #server:requests()[3].json.messages)
    end)
  end)

  it("says when a conversation is open in another Neovim", function()
    local results = nvim(([[
      opper.setup{ journal = "%s/shared" }
      ask("Opper Hi")
      local text = vim.fn.system{ vim.v.progpath, "-u", "NORC", "-i", "NONE", "--headless",
        "--cmd", "set rtp^=.", "-c", "lua require('opperchat.nvim').setup{ journal = '%s/shared' }",
        "-c", "OpperResume", "-c", "sleep 50m", "-c", "qa!" }
      results.text, results.name = text, vim.fn.fnamemodify(vim.fn.glob("%s/shared/*"), ":t:r")
    ]]):format(folder, folder, folder))
    assert.truthy(results.text:find("Opper: the conversation '" .. results.name
      .. "' is open in another program", 1, true), results.text)
  end)

  it("leaves characters that turn the text around to Neovim, which shows them", function()
    stream({ "a\226\128\174b\226\129\166c" }, 0)
    local results = nvim([[
      ask("Opper Hi")
      local line = vim.fn.getline(7)
      results.line, results.shown = line, vim.fn.strtrans(line)
    ]])
    assert.equal("a\226\128\174b\226\129\166c", results.line)
    assert.equal("a<202e>b<2066>c", results.shown)
  end)

  describe(":checkhealth opperchat", function()
    it("says what is there, and never the key", function()
      server:reply{ body = { object = "list", data = { { id = "a/model", object = "model" } } } }
      local results = nvim([[
        vim.cmd("checkhealth opperchat")
        results.text = lines()
      ]])
      for _, expected in ipairs{
        "OK: Neovim 0", "OK: the C part is built", "build/luajit/opperchat/core.so",
        "OK: requests move in Neovim's own loop", "OK: opperchat: ", "OK: libcurl: ",
        "OK: key: environment variable OPPER_API_KEY", "OK: address: " .. server.url,
        "OK: models: 1 model", "INFO: journal: off",
      } do
        assert.truthy(results.text:find(expected, 1, true), expected .. "\n" .. results.text)
      end
      assert.is_nil(results.text:find("ERROR", 1, true), results.text)
      assert.is_nil(results.text:find("key-of-the-tests", 1, true))
    end)

    it("names what is wrong", function()
      local results = nvim([[
        opper.setup{ client = { base_url = "http://127.0.0.1:1", api_key = "sesame" } }
        vim.cmd("checkhealth opperchat")
        results.text = lines()
        opper.setup{ client = { base_url = 5 } }
        vim.cmd("checkhealth opperchat")
        results.wrong = lines()
      ]])
      assert.truthy(results.text:find("ERROR: connection: ", 1, true), results.text)
      assert.truthy(results.text:find("nothing listens there", 1, true), results.text)
      assert.is_nil(results.text:find("sesame", 1, true))
      assert.truthy(results.wrong:find("ERROR: option 'client': [^\n]*base_url"), results.wrong)
    end)

    it("works with the names that Neovim has today", function()
      local results = nvim([[
        local said = {}
        vim.health = setmetatable({}, { __index = function(_, name)
          if name == "start" or name == "ok" or name == "warn" or name == "error"
              or name == "info" then
            return function(text) said[#said + 1] = name .. " " .. text end
          end
        end })
        require("opperchat.health").check()
        results.text = table.concat(said, "\n")
      ]])
      assert.truthy(results.text:find("^start opperchat"), results.text)
      assert.truthy(results.text:find("\nok requests move in Neovim's own loop", 1, true))
    end)
  end)

  describe("the help", function()
    local text = shell.read_file("doc/opperchat.txt")

    it("has tags for each command, option and function", function()
      local results = nvim([[
        vim.cmd("helptags " .. vim.fn.fnameescape(vim.env.HOME .. "/doc"))
        results.tags = table.concat(vim.fn.readfile(vim.env.HOME .. "/doc/tags"), "\n")
        results.options = require("opperchat.nvim.config").names()
        results.functions = vim.tbl_keys(opper)
        results.commands = vim.tbl_filter(function(name)
          return name:find("^Opper")
        end, vim.tbl_keys(vim.api.nvim_get_commands{}))
      ]], "-u NORC --cmd 'set rtp^=.' --cmd \"call mkdir('" .. folder .. "/doc', 'p')\" "
        .. "--cmd \"call writefile(readfile('doc/opperchat.txt'), '" .. folder
        .. "/doc/opperchat.txt')\"")
      local function has_tag(name)
        return ("\n" .. results.tags):find("\n" .. name .. "\t", 1, true)
      end
      assert.equal(3, #results.commands)
      for _, name in ipairs(results.commands) do
        assert.truthy(has_tag(":" .. name), name)
      end
      assert.truthy(#results.options >= 11)
      for _, name in ipairs(results.options) do
        assert.truthy(has_tag("opperchat-" .. name), name)
        assert.truthy(shell.read_file("docs/neovim.md"):find("`" .. name .. "`", 1, true), name)
      end
      assert.equal(5, #results.functions)
      for _, name in ipairs(results.functions) do
        assert.truthy(has_tag("opperchat.nvim." .. name .. "()"), name)
      end
      for _, name in ipairs{ "opperchat", "opperchat.txt", "opperchat-undo", "OpperDone" } do
        assert.truthy(has_tag(name), name)
      end
    end)

    it("is no wider than a screen, and leads somewhere", function()
      assert.truthy(text:find("^%*opperchat.txt%*"), text:sub(1, 40))
      local tags = {}
      for tag in text:gmatch("%*([^%s*]+)%*") do
        assert.is_nil(tags[tag], tag)
        tags[tag] = true
      end
      for line in text:gmatch("[^\n]*") do
        assert.truthy(#line <= 79, line)
      end
      for link in text:gmatch("|([^%s|]+)|") do
        if link:find("^:?[Oo]pper") then
          assert.truthy(tags[link], link)
        end
      end
    end)
  end)

  it("has its picture taken", function()
    local picture = folder .. "/neovim.png"
    local output, status = shell.run("env -u LD_PRELOAD timeout -k 5 90 "
      .. "examples/nvim/screenshot.sh " .. picture)
    if status == "77" then
      pending(output:match("[^\n]*"))
      return
    end
    assert.equal("0", status, output)
    local image = shell.read_file(picture)
    assert.equal("\137PNG\r\n\26\n", image:sub(1, 8))
    local high, low = image:byte(19, 20)
    local width = high * 256 + low
    assert.truthy(width > 900 and width < 1280, width)
    assert.truthy(#image > 10000 and #image < 200000, #image)
  end)
end)
