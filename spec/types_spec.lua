-- lua/opperchat/types.lua against what there is: every method, option and field
-- is annotated, and nothing is that does not exist. And docs/api.md against
-- types.lua, of which it is made.

local annotations = require "spec.support.annotations"
local core = require "opperchat.core"
require "opperchat.conversation"    -- which makes the methods
local draft_module = require "opperchat.policy.draft"
local opperchat = require "opperchat"
local options = require "opperchat.options"
local Server = require "spec.support.server"
local shell = require "spec.support.shell"
local completion = require "spec.support.completion"
local types = dofile("docs/generator/types.lua")

local classes, by_name = annotations.classes, annotations.by_name

local sorted = annotations.names_in

local function members(class)
  return types.members(by_name, "opperchat" .. (class ~= "" and "." .. class or ""))
end

local find_problem = annotations.find_problem

local function expect(value, class)
  local problem = find_problem(value, "opperchat." .. class, class)
  assert.is_nil(problem, problem)
end

-- ---------------------------------------------------------------------------

describe("the annotations", function()
  it("describe everything", function()
    local count = 0
    for _, class in ipairs(classes) do
      assert.truthy(class.text[1] and #class.text[1] > 2, class.name)
      for _, field in ipairs(class.fields) do
        count = count + 1
        assert.truthy(#field.text > 2, class.name .. "." .. field.name)
      end
      for _, operator in ipairs(class.operators) do
        assert.truthy(#operator.text > 2, class.name .. ": " .. operator.name)
        assert.truthy(operator.type == "integer" or operator.type:find("^fun%("), class.name)
      end
      for _, fn in ipairs(class.functions) do
        count = count + 1
        local place = class.name .. "." .. fn.name
        assert.truthy(fn.text[1] and #fn.text[1] > 2, place)
        local names = {}
        for i, param in ipairs(fn.params) do
          names[i] = param.name
          assert.truthy(#param.text > 2, place .. ": " .. param.name)
        end
        assert.same(fn.arguments, names, place)
        for _, result in ipairs(fn.returns) do
          assert.truthy(result.type ~= "", place)
          assert.truthy(#result.text > 2, place .. ": what it returns")
        end
      end
    end
    assert.truthy(count > 300)
  end)

  it("refer to classes that exist", function()
    local text = shell.read_file(types.PATH)
    for name in text:gmatch("[^%w.\"](opperchat%.[%u][%w]*)") do
      assert.truthy(by_name[name], name)
    end
    for name in text:gmatch("[^%w.\"](opperchat%.loop%.[%u][%w]*)") do
      assert.truthy(by_name[name], name)
    end
  end)

  it("say of each function that raises without misuse of a type that it does", function()
    local closed = opperchat.conversation{}
    closed:close()
    local function nobody() error("mine") end
    for place, call in pairs{
      ["Conversation.compact"] = function() opperchat.conversation{}:compact() end,
      ["Conversation.retry"] = function() opperchat.conversation{}:retry() end,
      ["Conversation.fork_at"] = function() opperchat.conversation{}:fork_at(1) end,
      ["Conversation.pin"] = function() opperchat.conversation{}:pin(1) end,
      ["Conversation.append"] = function() opperchat.conversation{}:append("nobody", "Hi") end,
      ["Conversation.cancel"] = function() closed:cancel() end,
      ["Client.replay_left"] = function() opperchat.client():replay_left() end,
      ["opperchat.go"] = function() opperchat.go(nobody) end,
    } do
      assert.is_false(pcall(call), place)
      local class, name = place:match("^(.*)%.(.*)$")
      local fn = members(class == "opperchat" and "" or class)[name]
      assert.truthy(table.concat(fn.text, " "):find("%f[%a]Raises%f[%A]"), place .. ": Raises ...")
    end
  end)

  it("have what can be done with an object itself", function()
    local chat = opperchat.conversation{}
    local client = opperchat.client{ base_url = "http://127.0.0.1:9/v1", max_retries = 0 }
    local request = assert(opperchat.conversation{ client = client }:start("Hi"))
    for class, object in pairs{ Client = client, Conversation = chat, Request = request } do
      local names = {}
      for _, operator in ipairs(by_name["opperchat." .. class].operators) do
        names[operator.name] = true
      end
      assert.equal(pcall(function() return #object end), names.len or false, class)
      -- a request that cannot be had raises its own error, which is a table
      local called, err = pcall(object)
      assert.equal(called or type(err) == "table", names.call or false, class)
    end
    client:close()
  end)

  it("name an option of time or size with its unit or default", function()
    for _, class in ipairs{ "opperchat.Timeouts", "opperchat.DoctorOptions",
      "opperchat.ModelsOptions", "opperchat.PollOptions" } do
      for _, field in ipairs(by_name[class].fields) do
        if field.type:find("number") then
          local words = table.concat(by_name[class].text, " ") .. field.text
          assert.truthy(words:find("[Ss]econds"), class .. "." .. field.name)
          assert.truthy(field.text:find("%("), class .. "." .. field.name .. ": its default")
        end
      end
    end
  end)
end)

describe("types.lua", function()
  for kind, class in pairs{ client = "Client", conversation = "Conversation",
    request = "Request" } do
    it("has the methods of a " .. kind .. " and no others", function()
      assert.same(sorted(core.methods(kind)), sorted(members(class)))
    end)
  end

  it("has what the module has and nothing else", function()
    assert.same(sorted(opperchat), sorted(members ""))
    for name, entry in pairs(members "") do
      assert.equal(entry.arguments and "function" or type(opperchat[name]), type(opperchat[name]))
    end
    assert.same(sorted(opperchat.policy), sorted(members "Policies"))
    assert.same(sorted(opperchat.history), sorted(members "History"))
    assert.same(sorted(opperchat.tokens), sorted(members "Tokens"))
  end)

  it("has the methods of tasks", function()
    local task = opperchat.go(function() end)
    local methods = getmetatable(task).__index
    for _, name in ipairs(sorted(methods)) do
      assert.truthy(members("Task")[name], name)
    end
    for name, entry in pairs(members "Task") do
      assert.truthy(methods[name] or entry.type, name)
      assert.truthy(task[name] ~= nil, name)
    end
  end)

  it("has no method of drafts that is not there", function()
    local chat = opperchat.conversation{}
    local methods = getmetatable(draft_module.new(chat, {})).__index
    for _, fn in ipairs(by_name["opperchat.Draft"].functions) do
      assert.equal("function", type(methods[fn.name]), fn.name)
    end
  end)

  it("has the adapters of event loops", function()
    local pipe = assert(io.popen("grep -l 'attach(client' lua/opperchat/loop/*.lua"))
    local count = 0
    for path in pipe:lines() do
      local name = path:match("([%w]+)%.lua$")
      if name ~= "adapter" then
        count = count + 1
        local class = by_name["opperchat.loop." .. name:sub(1, 1):upper() .. name:sub(2)]
        assert.truthy(class, path)
        local arguments = shell.read_file(path):match("\nfunction %w+%.attach%((.-)%)")
        assert.equal(#class.functions[1].arguments, select(2, arguments:gsub("[%w]+", "")), path)
      end
    end
    pipe:close()
    assert.equal(3, count)
  end)

  for set, class in pairs{
    client = "ClientOptions", conversation = "ConversationOptions", send = "SendOptions",
    run = "RunOptions", json = "JsonOptions", models = "ModelsOptions", doctor = "DoctorOptions",
  } do
    it("has the options of " .. set .. " and no others", function()
      assert.same(sorted(options[set].known), sorted(members(class)))
    end)
  end

  it("has what is inside of options", function()
    local source = shell.read_file("lua/opperchat/options_kinds.lua")
    for list, class in pairs{ TIMEOUTS = "Timeouts", GUARD = "Guard" } do
      local known = {}
      for name in source:match("local " .. list .. " = (%b{})"):gmatch("\"([%l_]+)\"") do
        known[name] = true
      end
      assert.same(sorted(known), sorted(members(class)))
    end
  end)

  -- What a function says of a name that it does not know, it must not say of
  -- one that is annotated.
  local function takes(class, call, value)
    local _, unknown = pcall(call, { no_such_name = true })
    assert.truthy(tostring(unknown):find("unknown option 'no_such_name'", 1, true), class)
    for name in pairs(members(class)) do
      local _, problem = pcall(call, { [name] = value or {} })
      assert.is_nil(tostring(problem):find("unknown", 1, true), class .. "." .. name)
    end
  end

  it("has no options that are refused", function()
    takes("PollOptions", opperchat.poll)
    takes("SpliceOptions", function(given)
      opperchat.conversation{}:splice(1, 0, {}, given)
    end, true)
    takes("HistoryOptions", function(given)
      opperchat.history.check({}, given)
    end, true)
    takes("SecretOptions", opperchat.secret)
    takes("ImageOptions", function(given)
      opperchat.image("https://example.com/a.png", given)
    end)
    takes("FileOptions", function(given)
      opperchat.file("https://example.com/a.pdf", given)
    end)
    takes("MediaOptions", function(given)
      opperchat.audio("a.wav", given)
    end)
    for _, name in ipairs{ "keep", "fit", "shrink", "summarize", "remember" } do
      takes(name:sub(1, 1):upper() .. name:sub(2) .. "Options", opperchat.policy[name])
    end
  end)

  it("has the fields of tools", function()
    for name in pairs(members "Tool") do
      local tool = { name = "f", parameters = {}, run = print, confirm = print, strict = true,
        description = "f" }
      assert.truthy(tool[name] ~= nil, name)
      opperchat.conversation{}:tool(tool)
    end
    assert.has_error(function()
      opperchat.conversation{}:tool{ name = "f", no_such_name = true }
    end)
  end)
end)

describe("real values are as annotated:", function()
  local server = Server.for_tests()
  local client

  local CALL = completion.call("call_1", "f", '{"a":1}')

  before_each(function()
    client = opperchat.client{ base_url = server.url, api_key = "k", max_retries = 0 }
  end)

  after_each(function()
    client:close()
  end)

  local function new_chat(given)
    given = given or {}
    given.client, given.model = client, "m"
    return opperchat.conversation(given)
  end

  it("a reply with everything", function()
    server:reply(completion.opper({ role = "assistant", content = '{"a":1}', refusal = "no",
      reasoning_content = "hm", tool_calls = { CALL } }, "tool_calls"))
    local reply = assert(new_chat{ fallback_models = {} }:send("Hi"))
    expect(reply, "Reply")
    expect(reply.usage, "Usage")
    expect(reply.timing, "Timing")
    expect(reply.tool_calls[1], "ToolCall")
    -- nor is anything annotated that is never there
    for name in pairs(members "Reply") do
      assert.truthy(reply[name] ~= nil or name == "parsed" or name == "steps", name)
    end
    for name in pairs(members "Usage") do
      assert.truthy(reply.usage[name] ~= nil or name == "requests", name)
    end
    for name in pairs(members "Timing") do
      assert.truthy(reply.timing[name] ~= nil, name)
    end
  end)

  it("a parsed reply", function()
    server:reply(completion.opper({ role = "assistant", content = '{"a":"b"}' }, "stop"))
    local reply = assert(new_chat():send("Hi", { schema = { a = "string" } }))
    expect(reply, "Reply")
    assert.truthy(reply.parsed)
  end)

  it("a stream's events, and a run's", function()
    local events = {}
    server:stream{
      'data: {"choices":[{"index":0,"delta":{"reasoning_content":"hm"}}]}\n\n',
      'data: {"choices":[{"index":0,"delta":{"content":"Wait"}}]}\n\n',
      'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_1",'
        .. '"type":"function","function":{"name":"f","arguments":"{}"}}]}}]}\n\n',
      'data: {"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}\n\n',
      "data: [DONE]\n\n",
    }
    server:reply(completion.opper({ role = "assistant", content = "ok" }, "stop"))
    local chat = new_chat()
    chat:tool{ name = "f", run = function(_, call)
      expect(call, "ToolCall")
      return "done"
    end }
    local tool_events = {}
    local reply = assert(chat:run("Hi", {
      stream = true,
      on_event = function(event, request)
        assert.equal("request", opperchat.type(request))
        events[#events + 1] = event
      end,
      on_tool = function(event)
        tool_events[#tool_events + 1] = event
      end,
    }))
    expect(reply, "Reply")
    assert.truthy(reply.steps)
    local seen = {}
    for _, event in ipairs(events) do
      expect(event, "Event")
      for name in pairs(event) do
        seen[name] = true
      end
    end
    assert.same(sorted(members "Event"), sorted(seen))
    assert.equal(1, #tool_events)
    expect(tool_events[1], "ToolEvent")
    expect(chat:usage(), "Usage")
    for _, message in ipairs(chat:messages()) do
      expect(message, "Message")
    end
  end)

  it("errors of all sorts, and what hooks are told", function()
    local infos, retries = {}, {}
    local other = opperchat.client{
      base_url = server.url, api_key = "k", max_retries = 1,
      on_request = function(info) infos[#infos + 1] = info end,
      on_retry = function(event) retries[#retries + 1] = event end,
    }
    server:reply{ status = 503, body = "no", headers = { ["Retry-After-Ms"] = "1" } }
    server:reply{ status = 400, body = "no", headers = { ["X-Opper-Trace-Id"] = "trace" } }
    local chat = opperchat.conversation{ client = other, model = "m", fallback_models = {} }
    local _, err = chat:send("Hi")
    expect(err, "Error")
    assert.truthy(err.attempts == 2 and err.status and err.trace_id and err.requested_model)
    assert.truthy(#infos >= 1 and #retries == 1)
    for _, info in ipairs(infos) do
      expect(info, "RequestInfo")
    end
    expect(retries[1], "RetryEvent")
    server:script{ { "send", "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: "
      .. '{"choices":[{"index":0,"delta":{"content":"It was"}}]}\n\n' }, { "close" } }
    local request = assert(new_chat():start("Hi"))
    _, err = request:wait()
    expect(err, "Error")
    expect(err.partial, "Reply")
    assert.equal("truncated", err.kind)
    server:reply{ status = 429, body = "no", headers = { ["Retry-After"] = "3600" } }
    _, err = new_chat():send("Hi")
    expect(err, "Error")
    assert.truthy(err.retry_after)
    _, err = opperchat.load("/no/such/file")
    expect(err, "Error")
    other:close()
  end)

  it("models, and what the doctor finds", function()
    server:reply{ body = { object = "list", data = { {
      id = "m", object = "model", owned_by = "me", context_length = 4000,
      pricing = { prompt = "0.00000025", completion = "0.000002" },
    } } } }
    local list = assert(client:models())
    expect(list[1], "Model")
    expect(list[1].price, "Price")
    for name in pairs(members "Model") do
      assert.truthy(list[1][name] ~= nil, name)
    end
    expect(client:doctor{ write = false, stream = false }, "DoctorReport")
  end)

  it("reports, forecasts and drafts of policies", function()
    local chat = new_chat{ policy = {
      opperchat.policy.keep{ turns = 1 },
      function(messages, info)
        expect(info, "PolicyInfo")
        return messages
      end,
      { name = "own", apply = function(_, draft)
        for name, entry in pairs(members "Draft") do
          assert.truthy(draft[name] ~= nil or entry.is_optional, name)
        end
        expect(draft:turns(), "DraftSplit")
        for name in pairs(members "DraftSplit") do
          assert.truthy(draft:turns()[name] ~= nil, name)
        end
        return true
      end },
    } }
    local told = {}
    local other = new_chat{ policy = opperchat.policy.keep{ turns = 1 },
      on_drop = function(messages, report)
        told = { messages, report }
      end }
    for _, one in ipairs{ chat, other } do
      one:append("user", "one"):append("assistant", "1"):append("user", "two")
      expect(one:forecast(), "Forecast")
      local report = assert(one:compact())
      expect(report, "CompactReport")
      expect(report.policies[1], "PolicyReport")
    end
    expect(told[1][1], "Message")
    expect(told[2], "PolicyReport")
  end)

  it("what is read of files and lists", function()
    local path = os.tmpname()
    local chat = new_chat()
    assert(chat:append("user", "Hi"):save(path))
    local file = assert(io.open(path, "a"))
    file:write('{"torn')
    file:close()
    local loaded, report = opperchat.load(path, { client = client })
    assert.truthy(loaded, tostring(report))
    expect(report, "LoadReport")
    assert.truthy(report.torn)
    expect(report.torn, "TornLine")
    os.remove(path)
    local broken = { { role = "user", content = "Hi" },
      { role = "tool", tool_call_id = "lost", content = "4" } }
    expect(opperchat.history.split(broken), "HistorySplit")
    local _, problems = opperchat.history.check(broken)
    expect(problems[1], "HistoryProblem")
    local mended, repairs = opperchat.history.repair(broken)
    expect(mended[1], "Message")
    expect(repairs[1], "HistoryRepair")
  end)

  it("parts of messages", function()
    expect(opperchat.image("https://example.com/a.png", { detail = "low" }), "ImagePart")
    expect(opperchat.file("https://example.com/a.pdf"), "FilePart")
    expect(opperchat.audio("a.wav"), "AudioPart")
  end)

  it("recordings of a tape", function()
    local path = os.tmpname()
    os.remove(path)
    local recorder = opperchat.client{ base_url = server.url, api_key = "k", record = path }
    assert(opperchat.conversation{ client = recorder, model = "m" }:send("Hi"))
    assert(recorder:close())
    local player = opperchat.client{ base_url = server.url, replay = path }
    local left = player:replay_left()
    os.remove(path)
    expect(left[1], "Recording")
    for name in pairs(members "Recording") do
      assert.truthy(left[1][name] ~= nil, name)
    end
    player:close()
  end)

  it("and what is not, is found", function()
    assert.truthy(find_problem({ prompt_tokens = "9" }, "opperchat.Usage", "Usage"))
    assert.truthy(find_problem({ prompt_token = 9 }, "opperchat.Usage", "Usage"))
    assert.truthy(find_problem({ code = "x", message = "x", retryable = false, kind = "other" },
      "opperchat.Error", "Error"))
    assert.truthy(find_problem({ kind = "api", message = "x", retryable = false },
      "opperchat.Error", "Error"))
    assert.is_nil(find_problem({ kind = "api", code = "x", message = "x", retryable = false },
      "opperchat.Error", "Error"))
  end)
end)

describe("docs/api.md", function()
  it("is what make docs writes", function()
    local page = shell.run(shell.quote(shell.interpreter()) .. " docs/generator/api.lua")
    assert.truthy(page == shell.read_file("docs/api.md"),
      "docs/api.md is not up to date: make docs")
  end)
end)

describe("docs/README.md", function()
  it("leads to each page", function()
    local index = shell.read_file("docs/README.md")
    local pipe = assert(io.popen("ls docs/*.md"))
    local count = 0
    for path in pipe:lines() do
      local name = path:match("[^/]+$")
      count = count + 1
      assert.truthy(name == "README.md" or index:find("](" .. name .. ")", 1, true), path)
    end
    pipe:close()
    assert.truthy(count > 10)
  end)
end)
