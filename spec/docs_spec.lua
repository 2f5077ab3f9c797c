-- The documentation: every program in it runs, every link leads somewhere, and
-- nothing that a program can use goes without mention there or in types.lua.

local opperchat = require "opperchat"
local core = require "opperchat.core"
require "opperchat.conversation"    -- which makes the methods
local options = require "opperchat.options"
local Server = require "spec.support.server"
local shell = require "spec.support.shell"
local completion = require "spec.support.completion"
local annotations = require "spec.support.annotations"

local PAGES = {
  "README.md", "docs/conversations.md", "docs/streaming.md", "docs/drivers.md",
  "docs/errors.md", "docs/options.md", "docs/tools.md", "docs/structured.md",
  "docs/media.md", "docs/history.md", "docs/keeping.md", "docs/reliability.md",
  "docs/security.md", "docs/debugging.md", "docs/testing.md", "docs/command.md",
  "docs/neovim.md", "docs/embedding.md", "docs/api.md", "docs/README.md",
  "docs/love.md",
}

-- Seconds for one program; checkers of memory are slow.
local LIMIT = (os.getenv("OPPERCHAT_SLOW") or os.getenv("ASAN_OPTIONS")) and 120 or 20

local texts, all_text = {}, ""
for _, page in ipairs(PAGES) do
  texts[page] = shell.read_file(page)
  all_text = all_text .. texts[page]
end

-- The programs --------------------------------------------------------------

-- Blocks marked as Lua: { place =, code = }.
local function blocks_of(page)
  local blocks, block, number = {}, nil, 0
  local is_inside = false
  for line in texts[page]:gmatch("([^\n]*)\n") do
    number = number + 1
    local mark = line:match("^```(.*)$")
    if mark and not is_inside then
      is_inside = true
      if mark:find("^lua") then
        assert(mark == "lua", page .. ":" .. number .. ": all Lua is run, without exception")
        block = { place = page .. ":" .. number, lines = {} }
      end
    elseif mark then
      is_inside = false
      if block then
        block.code = table.concat(block.lines, "\n") .. "\n"
        blocks[#blocks + 1] = block
        block = nil
      end
    elseif block then
      block.lines[#block.lines + 1] = line
    end
  end
  assert(not is_inside, page .. ": a block has no end")
  return blocks
end

-- The lines a program promises to print: what stands behind "-->".
local function promises_of(block)
  local promises = {}
  for _, line in ipairs(block.lines) do
    promises[#promises + 1] = line:match("%-%-> (.*)$")
  end
  return promises
end

local has_timeout = shell.has("timeout")

-- What a program prints, and its exit code; without a server it has no key either.
local function run(block, url)
  local path = shell.write_file(os.tmpname(), block.code)
  local output, status = shell.run("env "
    .. (url and "OPPER_API_KEY=key-of-the-docs OPPER_BASE_URL=" .. shell.quote(url)
      or "-u OPPER_API_KEY -u OPPER_BASE_URL") .. " "
    .. (has_timeout and "timeout -k 1 " .. LIMIT .. " " or "")
    .. shell.quote(shell.interpreter()) .. " spec/support/docs_host.lua " .. shell.quote(path))
  os.remove(path)
  return output, status
end

local call = completion.call

local MODELS = { body = { object = "list", data = { {
  id = "openai/gpt-5-mini", object = "model", owned_by = "openai", context_length = 400000,
  pricing = { prompt = "0.00000025", completion = "0.000002" },
} } } }

-- What the server has to say to some of them: { text in the block, function }.
local SCENES = {
  { "reply.tool_calls do", function(server)
    server:reply(completion.opper({ role = "assistant", tool_calls = {
      call("call_1", "weather", '{"city":"Oslo"}'), call("call_2", "weather", '{"city":"Rome"}'),
    } }, "tool_calls"))
  end },
  { "retryable", function(server)
    server:reply{ status = 503, body = "busy", headers = { ["retry-after-ms"] = "10" } }
  end },
  { "once more in", function(server)
    server:reply{ status = 503, body = "busy", headers = { ["Retry-After-Ms"] = "20" } }
  end },
  { "client:model", function(server)
    server:reply(MODELS)
  end },
  -- tools that are to be called, by what their program asks
  { "umbrella in Oslo", function(server)
    server:reply(completion.opper({ role = "assistant", tool_calls = {
      call("call_1", "weather", '{"city":"Oslo"}'),
    } }, "tool_calls"))
  end },
  { "Is it cold in Oslo", function(server)
    server:reply(completion.opper({ role = "assistant", tool_calls = {
      call("call_1", "weather", '{"city":"Oslo"}'),
    } }, "tool_calls"))
    server:reply(completion.opper({ role = "assistant", content = '{"is_cold":true}' }, "stop"))
  end },
  { "Go on", function(server)
    server:reply(completion.opper({ role = "assistant", tool_calls = {
      call("call_1", "open_door", '{"door":"red"}'),
    } }, "tool_calls"))
  end },
  { "Clean up", function(server)
    server:reply(completion.opper({ role = "assistant", tool_calls = {
      call("call_1", "delete_file", '{"path":"/etc/passwd"}'),
    } }, "tool_calls"))
  end },
  { "Compare the weather", function(server)
    server:reply(completion.opper({ role = "assistant", tool_calls = {
      call("call_1", "weather", '{"city":"Oslo"}'), call("call_2", "weather", '{"city":"Rome"}'),
    } }, "tool_calls"))
  end },
  { "Order a pizza", function(server)
    server:reply(completion.opper({ role = "assistant", tool_calls = {
      call("call_1", "ask_user", '{"question":"Which one?"}'),
    } }, "tool_calls"))
  end },
  -- structured answers, by what is asked in their program
  { "Oslo will have 4 degrees", function(server)
    server:default(completion.opper({ role = "assistant",
      content = '{"city":"Oslo","degrees":4,"sky":"rain"}' }, "stop"))
  end },
  { "schema = { city = \"string\" }", function(server)
    server:default(completion.opper({ role = "assistant", content = '{"city":"Oslo"}' }, "stop"))
  end },
  { "My brakes squeal", function(server)
    server:reply(completion.opper({ role = "assistant",
      content = '{"topic":"repair","is_complaint":true,"wishes":["a visit on Friday"]}' }, "stop"))
  end },
  { "How old is Ada?", function(server)
    server:reply(completion.opper({ role = "assistant", content = '{"age":"thirty-six"}' }, "stop"))
    server:reply(completion.opper({ role = "assistant", content = '{"age":36}' }, "stop"))
  end },
  { "Two teas", function(server)
    server:reply(completion.opper({ role = "assistant", content = '{"items":[{"name":"tea",'
      .. '"price":3},{"name":"tea","price":3}],"total":6}' }, "stop"))
  end },
  -- long conversations, whose answers do not say how many tokens they were
  { "about the number", function(server)
    local answer = completion.opper({ role = "assistant", content = "It is a number." }, "stop")
    answer.body.usage = nil
    server:default(answer)
  end },
  -- policies that ask a model, by what is said before
  { "I collect rivers", function(server)
    for _, text in ipairs{ "The Volga.", "3,531 kilometres.", "The Danube.",
      "Ada collects rivers. The Volga is the longest of Europe." } do
      server:reply(completion.opper({ role = "assistant", content = text }, "stop"))
    end
  end },
  { "You are a waiter", function(server)
    for _, text in ipairs{ "Of course.", "The fish.",
      '{"order":["soup"],"allergies":["nuts"],"table":5}' } do
      server:reply(completion.opper({ role = "assistant", content = text }, "stop"))
    end
  end },
  { "client:doctor{", function(server)
    server:reply(MODELS)
  end },
  { "assert(client:models())", function(server)
    server:reply(MODELS)
  end },
  { "Name a planet.\")\nprint(chat:tokens() > 0", function(server)
    local answer = completion.opper({ role = "assistant", content = "Mars." }, "stop")
    answer.body.usage = { prompt_tokens = 12, completion_tokens = 9, total_tokens = 21 }
    server:reply(answer)
  end },
  -- an answer that is never complete
  { "keep_partial = true }\n\nlocal request", function(server)
    server:script{
      { "send", "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: "
        .. '{"choices":[{"index":0,"delta":{"content":"It was"}}]}\n\n' },
      { "stall" },
    }
  end },
}

describe("the documentation", function()
  local server = Server.for_tests()

  for _, page in ipairs(PAGES) do
    for _, block in ipairs(blocks_of(page)) do
      it("has a program that runs at " .. block.place, function()
        for _, scene in ipairs(SCENES) do
          if block.code:find(scene[1], 1, true) then
            scene[2](server)
          end
        end
        local output, status = run(block, server.url)
        if output:find("^skipped: ") then
          pending(output)
          return
        end
        assert.equal("0", status, block.place .. ":\n" .. output)
        local at = 1
        for _, promise in ipairs(promises_of(block)) do
          local first, last = ("\n" .. output):find("\n" .. promise .. "\n", at, true)
          assert.truthy(first, block.place .. " does not print: " .. promise .. "\n" .. output)
          at = last
        end
      end)
    end
  end

  -- The first that somebody tries in a game or an engine, where nobody sees a result
  -- that is not looked at. For the first one of embedding.md see spec/embed_spec.lua.
  for _, mark in ipairs{ "README.md: love.keypressed", "docs/love.md: love.keypressed",
    "docs/embedding.md: chat:start(" } do
    local page, words = mark:match("^(.-): (.*)$")
    it("says that there is no key in the program for games of " .. page, function()
      for _, block in ipairs(blocks_of(page)) do
        if block.code:find(words, 1, true) then
          local output = run(block)
          assert.truthy(output:find("OPPER_API_KEY", 1, true), block.place .. ":\n" .. output)
          return
        end
      end
      error("no such program in " .. page)
    end)
  end

  it("begins each page with a program", function()
    for _, page in ipairs(PAGES) do
      -- spec/command_spec.lua and spec/embed_spec.lua run what is no Lua
      local languages = { ["docs/embedding.md"] = "c", ["docs/command.md"] = "sh" }
      if page ~= "README.md" then
        local language = languages[page] or "lua"
        assert.truthy(texts[page]:find("^# [^\n]+\n\n```" .. language .. "\n"), page)
      end
    end
  end)

  it("links to files and headings that exist", function()
    local function anchors(text)
      local found = {}
      for heading in ("\n" .. text):gmatch("\n#+ ([^\n]+)") do
        found[heading:lower():gsub("[^%w _-]", ""):gsub(" ", "-")] = true
      end
      return found
    end
    for page, text in pairs(texts) do
      local folder = page:match("^(.*/)") or ""
      local prose = text:gsub("\n```.-\n```", ""):gsub("`[^`\n]+`", "")
      for target in prose:gmatch("%]%(([^)]+)%)") do
        if not target:find("^https?://") then
          local path, anchor = target:match("^([^#]*)#?(.*)$")
          path = path == "" and page or folder .. path
          local file = io.open(path)
          assert.truthy(file, page .. ": no such file: " .. target)
          if anchor ~= "" then
            assert.truthy(anchors(file:read("*a"))[anchor], page .. ": no such heading: " .. target)
          end
          file:close()
        end
      end
    end
  end)

  it("has no stray blanks", function()
    for page, text in pairs(texts) do
      assert.is_nil(text:find("[ \t]\n"), page .. ": blanks at the end of a line")
      assert.is_nil(text:find("\r"), page)
    end
  end)
end)

-- What there is, against what is said of it ------------------------------------

-- Classes of types.lua: { parents = {...}, fields = {...}, methods = {...} }.
local function read_types()
  local classes, by_variable, class = {}, {}, nil
  for line in shell.read_file("lua/opperchat/types.lua"):gmatch("[^\n]+") do
    local name, parents = line:match("^%-%-%-@class ([%w._]+):?(.*)$")
    local variable = line:match("^local (%w+) = {}$")
    local owner, method = line:match("^function (%w+)[.:]([%w_]+)%(")
    if name then
      class = { parents = {}, fields = {} }
      classes[name] = class
      for parent in parents:gmatch("[%w._]+") do
        table.insert(class.parents, parent)
      end
    elseif variable then
      by_variable[variable] = class.fields
    elseif method then
      local fields = by_variable[owner]
      fields[method] = true
    else
      local field = line:match("^%-%-%-@field ([%w_]+)")
      if field then
        class.fields[field] = true
      end
    end
  end
  local function inherit(into, from)
    for field in pairs(from.fields) do
      into.fields[field] = true
    end
    for _, parent in ipairs(from.parents) do
      inherit(into, assert(classes[parent], parent))
    end
  end
  for _, own in pairs(classes) do
    for _, parent in ipairs(own.parents) do
      inherit(own, classes[parent])
    end
  end
  return classes
end

local names_in = annotations.names_in

local function lists(text, name)
  return text:find("`" .. name .. "`", 1, true) or text:find("`" .. name .. "()`", 1, true)
end

describe("types.lua and the documentation", function()
  local classes = read_types()

  for kind, class in pairs{
    client = "opperchat.Client", conversation = "opperchat.Conversation",
    request = "opperchat.Request",
  } do
    it("know the methods of a " .. kind, function()
      local methods = core.methods(kind)
      assert.same(names_in(methods), names_in(classes[class].fields))
      for _, name in ipairs(names_in(methods)) do
        assert.truthy(all_text:find("[:`]" .. name .. "%f[^%w_]"), class .. ":" .. name)
      end
    end)
  end

  it("know the functions of the module", function()
    assert.same(names_in(opperchat), names_in(classes["opperchat"].fields))
    for _, name in ipairs(names_in(opperchat)) do
      assert.truthy(all_text:find("opperchat%." .. name .. "%f[^%w_]"), "opperchat." .. name)
    end
  end)

  it("know tasks", function()
    local task = opperchat.go(function() end)
    local methods = names_in(getmetatable(task).__index)
    for _, name in ipairs(methods) do
      assert.truthy(classes["opperchat.Task"].fields[name], name)
      assert.truthy(all_text:find("task:" .. name, 1, true), name)
    end
  end)

  for set, class in pairs{
    client = "opperchat.ClientOptions", conversation = "opperchat.ConversationOptions",
    send = "opperchat.SendOptions", run = "opperchat.RunOptions", json = "opperchat.JsonOptions",
  } do
    it("know the options of a " .. set, function()
      local known = names_in(options[set].known)
      assert.same(known, names_in(classes[class].fields))
      for _, name in ipairs(known) do
        assert.truthy(lists(texts["docs/options.md"], name), name)
      end
    end)
  end

  it("name no option that does not exist", function()
    local known = { connect = true, first_token = true, idle = true, total = true }
    for _, set in pairs{ options.client, options.conversation, options.send, options.run,
      options.json } do
      for name in pairs(set.known) do
        known[name] = true
      end
    end
    for row in texts["docs/options.md"]:gmatch("\n| ([^|]*)|") do
      for name in row:gmatch("`([%w_]+)`") do
        assert.truthy(known[name], name)
      end
    end
  end)

  it("know all fields of a reply and of an error", function()
    local server = Server.start()
    local chat = opperchat.conversation{ client = opperchat.client{ base_url = server.url },
      model = "m", fallback_models = {} }
    server:reply(completion.opper({
      role = "assistant", content = "ok", reasoning_content = "hm", refusal = "no",
      tool_calls = { call("call_1", "f", "{}") },
    }, "tool_calls"))
    local reply = assert(chat:send("Hi"))
    server:reply{ status = 500, body = "no", headers = {
      ["X-Opper-Trace-Id"] = "trace", ["Retry-After"] = "3600",
    } }
    local _, err = chat:fork():clear():send("Hi")
    server:stop()
    assert.truthy(reply.requested_model and err.requested_model and err.retry_after)

    for class, given in pairs{
      ["opperchat.Reply"] = reply, ["opperchat.Usage"] = reply.usage,
      ["opperchat.Timing"] = reply.timing, ["opperchat.ToolCall"] = reply.tool_calls[1],
      ["opperchat.Error"] = err,
    } do
      for _, name in ipairs(names_in(given)) do
        assert.truthy(classes[class].fields[name], class .. "." .. name)
        local page = class == "opperchat.Error" and "docs/errors.md" or "docs/conversations.md"
        assert.truthy(texts[page]:find("%f[%w_]" .. name .. "%f[^%w_]"), class .. "." .. name)
      end
    end
    -- written down twice, for the reader of the file and for the editor
    for name in shell.read_file("lua/opperchat/errors.lua"):gmatch("%-%-%-@field ([%w_]+)") do
      assert.truthy(classes["opperchat.Error"].fields[name], name)
    end
  end)

  it("know every kind and code of an error", function()
    local header, page = shell.read_file("src/oc_error.h"), texts["docs/errors.md"]
    local kinds = 0
    for symbol, name in header:gmatch("X%(([A-Z]+), \"(%l+)\"%)") do
      kinds = kinds + 1
      if symbol ~= "NONE" and symbol ~= "MISUSE" then
        assert.truthy(page:find("\n## [%l, ]*%f[%l]" .. name .. "%f[%L]"), name)
      end
    end
    assert.truthy(kinds > 10)
    local codes = 0
    for kind, name in header:gmatch("X%(E_[%u_0-9]+, (%u+), \"([%l_0-9]+)\"") do
      codes = codes + 1
      if kind ~= "MISUSE" then
        local section = page:match("\n## " .. kind:lower() .. "\n(.-)\n## ")
        assert.truthy(section and lists(section, name), kind .. " " .. name)
      end
    end
    assert.truthy(codes > 30)
  end)

  it("know the codes that policies and limits give", function()
    local codes = 0
    local pipe = assert(io.popen("ls lua/opperchat/policy/*.lua lua/opperchat/compaction.lua "
      .. "lua/opperchat/limits.lua"))
    for path in pipe:lines() do
      for kind, name in shell.read_file(path):gmatch("errors%.new%(\"(%l+)\",%s*\"([%l_]+)\"") do
        codes = codes + 1
        local section = texts["docs/errors.md"]:match("\n## " .. kind .. "\n(.-)\n## ")
        assert.truthy(section and lists(section, name), kind .. " " .. name)
        assert.truthy(name == "closed" or lists(texts["docs/history.md"], name), name)
      end
    end
    pipe:close()
    assert.truthy(codes >= 7)
  end)

  it("know what keeping gives", function()
    local page = texts["docs/keeping.md"]
    local source = shell.read_file("lua/opperchat/keeping.lua")
    for kind, name in source:gmatch("errors%.new%(\"(%l+)\", \"([%l_]+)\"") do
      local section = texts["docs/errors.md"]:match("\n## " .. kind .. "\n(.-)\n## ")
      assert.truthy(section and lists(section, name), kind .. " " .. name)
      assert.truthy(lists(page, name), name)
    end
    assert.same(names_in(opperchat.history), names_in(classes["opperchat.History"].fields))
    for _, name in ipairs(names_in(opperchat.history)) do
      assert.truthy(page:find("history." .. name, 1, true), name)
    end
    local fields = names_in(classes["opperchat.LoadReport"].fields)
    assert.same({ "events", "repaired", "torn" }, fields)
    for _, name in ipairs(fields) do
      assert.truthy(lists(page, name), name)
    end
    -- options that are saved are named there, or are parameters of the model
    for name in pairs(require("opperchat.store").SAVED) do
      assert.truthy(classes["opperchat.BodyOptions"].fields[name] or lists(page, name), name)
    end
  end)

  it("know policies, their options and what is said of them", function()
    local policies = opperchat.policy
    for _, name in ipairs{ "keep", "fit", "shrink", "summarize", "remember", "pipeline" } do
      assert.truthy(classes["opperchat.Policies"].fields[name], name)
      assert.truthy(policies[name] and texts["docs/history.md"]:find("`" .. name .. "{", 1, true))
    end
    for name, class in pairs{
      keep = "KeepOptions", fit = "FitOptions", shrink = "ShrinkOptions",
      summarize = "SummarizeOptions", remember = "RememberOptions",
    } do
      local source = shell.read_file("lua/opperchat/policy/" .. name .. ".lua")
      local known = {}
      for option in source:match("check%.options%(.-\n(.-)\n  }%)"):gmatch("\n?    ([%l_]+) = {") do
        known[#known + 1] = option
      end
      table.sort(known)
      assert.same(names_in(classes["opperchat." .. class].fields), known)
      for _, option in ipairs(known) do
        assert.truthy(lists(texts["docs/history.md"], option)
          or texts["docs/history.md"]:find("`" .. option .. "(", 1, true), name .. "." .. option)
      end
    end

    local chat = opperchat.conversation{ policy = policies.keep{ turns = 1 } }
    chat:append("user", "one"):append("assistant", "1"):append("user", "two")
    local forecast, report = chat:forecast(), chat:compact()
    for class, given in pairs{
      ["opperchat.Forecast"] = forecast, ["opperchat.CompactReport"] = report,
      ["opperchat.PolicyReport"] = report.policies[1],
    } do
      for _, name in ipairs(names_in(given)) do
        assert.truthy(classes[class].fields[name], class .. "." .. name)
        assert.truthy(lists(texts["docs/history.md"], name), class .. "." .. name)
      end
    end
    local methods = names_in(getmetatable(require("opperchat.policy.draft").new(chat, {})).__index)
    for _, name in ipairs(methods) do
      local is_public = classes["opperchat.Draft"].fields[name]
      assert.equal(is_public or false,
        texts["docs/history.md"]:find("`draft:" .. name .. "(", 1, true) ~= nil, name)
    end
  end)

  it("know the doctor and secrets", function()
    local page = texts["docs/debugging.md"]
    assert.same(names_in(options.doctor.known), names_in(classes["opperchat.DoctorOptions"].fields))
    for name in pairs(options.doctor.known) do
      assert.truthy(lists(page, name), name)
    end
    local report = opperchat.client{ base_url = "http://127.0.0.1:9/v1" }:doctor{ write = false }
    assert.same(names_in(report), names_in(classes["opperchat.DoctorReport"].fields))
    for _, line in ipairs(report.lines) do
      for _, name in ipairs(names_in(line)) do
        assert.truthy(classes["opperchat.DoctorLine"].fields[name], name)
        assert.truthy(lists(page, name), name)
      end
    end
    for name in shell.read_file("lua/opperchat/doctor.lua"):gmatch('add%(report, "([%l]+)"') do
      assert.truthy(lists(page, name), name)
    end
    for _, name in ipairs{ "env", "file", "command" } do
      assert.truthy(classes["opperchat.SecretOptions"].fields[name], name)
      assert.truthy(texts["docs/security.md"]:find("secret{ " .. name .. " = ", 1, true), name)
    end
  end)

  it("know the adapters of host loops", function()
    local pipe = assert(io.popen("ls lua/opperchat/loop"))
    local count = 0
    for name in pipe:lines() do
      local module = name:match("^(.*)%.lua$")
      if module and shell.read_file("lua/opperchat/loop/" .. name):find("%.attach%(client") then
        count = count + 1
        local mention = 'require("opperchat.loop.' .. module .. '")'
        assert.truthy(texts["docs/drivers.md"]:find(mention, 1, true), name)
      end
    end
    pipe:close()
    assert.truthy(count > 0)
  end)
end)
