-- Tools: what is sent of them, what runs, what the model and the program are
-- told, and what is left in the list when something ends a run.

local Server = require "spec.support.server"
local core = require "opperchat.core"
local opperchat = require "opperchat"
local cjson = require("cjson").new()
local sse = require "spec.support.sse"
local with = require "spec.support.with"
local completion = require "spec.support.completion"
local poll_until = require "spec.support.poll_until"

local call = completion.call

local function response(message, reason)
  message.role = "assistant"
  return { body = completion.body(message, { finish_reason = reason,
    usage = { prompt_tokens = 1, completion_tokens = 1, total_tokens = 2 } }) }
end

-- A reply that calls; with a text beside the calls.
local function calling(calls, text)
  return response({ content = text, tool_calls = calls }, "tool_calls")
end

local function saying(text, reason)
  return response({ content = text }, reason)
end

-- The same as a stream; arguments come in pieces.
local function streamed(calls, text)
  local events = { sse.delta('{"role":"assistant","content":""}') }
  if text then
    events[#events + 1] = sse.text(text)
  end
  for i, own in ipairs(calls) do
    local fn = own["function"]
    local half = math.floor(#fn.arguments / 2)
    events[#events + 1] = sse.calls(sse.call(i - 1, own.id, fn.name, ""))
    events[#events + 1] = sse.calls(sse.call(i - 1, nil, nil, fn.arguments:sub(1, half)))
    events[#events + 1] = sse.calls(sse.call(i - 1, nil, nil, fn.arguments:sub(half + 1)))
  end
  events[#events + 1] = sse.finish("tool_calls")
  events[#events + 1] = sse.done
  return events
end

-- Raises unless each call of the list has one result, right behind it.
local function check_list(chat)
  local open = {}
  for at, message in ipairs(chat:messages()) do
    if message.role == "tool" then
      local id = message.tool_call_id
      assert(open[id], "message " .. at .. ": a result without a call")
      open[id] = nil
    else
      assert(next(open) == nil, "message " .. at .. ": a call without a result before it")
      for _, own in ipairs(message.tool_calls or {}) do
        assert(not open[own.id], "message " .. at .. ": an id twice")
        open[own.id] = true
      end
    end
  end
  assert(next(open) == nil, "the last calls have no result")
end

describe("tools", function()
  local server = Server.for_tests()
  local client, chat

  before_each(function()
    client = opperchat.client{ base_url = server.url, api_key = "k", max_retries = 0 }
    chat = opperchat.conversation{ client = client, model = "m" }
  end)

  after_each(function()
    client:close()
  end)

  -- What the model was told by the results in the last request.
  local function told()
    local all = server:bodies()
    local results = {}
    for _, message in ipairs(all[#all].messages) do
      if message.role == "tool" then
        results[#results + 1] = message.content
      end
    end
    return results
  end

  -- Runs one call of one tool; what the model was told, and the event.
  local function run_one(tool, arguments, options)
    server:reset()
    server:reply(calling{ call("a", tool.name or "f", arguments) })
    server:reply(saying "done")
    local one = opperchat.conversation{ client = client, model = "m", tools = { tool } }
    local event
    local given = with({ on_tool = function(what) event = what end }, options)
    local reply = assert(one:run("go on", given))
    assert.equal("done", reply.content)
    check_list(one)
    return told()[1], event
  end

  -- Runs in a task, and polls until it is over.
  local function in_task(fn)
    local results
    local task = opperchat.go(function()
      results = { fn() }
    end)
    poll_until(function() return task.state ~= "running" end, "the end of the task")
    assert.equal("done", task.state)
    return results[1], results[2]
  end

  -- Both ways to wait.
  local HOWS = {
    { ", blocking", function(fn) return fn() end },
    { ", in a task", in_task },
  }

  describe("on the wire", function()
    local function sent(tools)
      local body = cjson.decode(opperchat.conversation{ model = "m", tools = tools }:preview("Hi"))
      return body.tools
    end

    it("are functions with a JSON Schema", function()
      local list = sent{ {
        name = "weather", description = "Weather by city",
        parameters = { city = "string", days = { type = "integer", optional = true } },
        run = function() end, confirm = function() end,
      } }
      assert.same({ { type = "function", ["function"] = {
        name = "weather", description = "Weather by city",
        parameters = {
          type = "object", additionalProperties = false, required = { "city" },
          properties = { city = { type = "string" }, days = { type = "integer" } },
        },
      } } }, list)
    end)

    it("keep a schema as it is, and empty tables what they are", function()
      local text = opperchat.conversation{ model = "m", tools = {
        { name = "now" },
        { name = "then", strict = true, parameters = {
          type = "object", properties = {}, required = opperchat.array{} } },
      } }:preview("Hi")
      local _, count = text:gsub('"properties":{}', "")
      assert.equal(2, count)
      _, count = text:gsub('"required":%[%]', "")
      assert.equal(2, count)
      assert.truthy(text:find('"strict":true', 1, true))
    end)

    it("pass through in the server's own form", function()
      local own = { type = "opper:web_search", max_results = 3 }
      local fn = { type = "function", ["function"] = { name = "f" } }
      assert.same({ own, fn }, sent{ own, fn })
    end)

    it("are added one by one, and replaced by name", function()
      assert.equal(chat, chat:tool{ name = "a", run = function() return 1 end })
      chat:tool{ name = "b" }
      chat:tool{ name = "a", description = "new" }
      local body = cjson.decode(chat:preview("Hi"))
      assert.equal(2, #body.tools)
      assert.equal("new", body.tools[1]["function"].description)
    end)

    it("are refused when they make no sense", function()
      for _, case in ipairs{
        { "string expected", nil }, { {}, "a tool needs a name" },
        { { name = "" }, "name: 1 to 64" }, { { name = "no blanks" }, "name: 1 to 64" },
        { { name = ("x"):rep(65) }, "name: 1 to 64" }, { { name = 1 }, "name: 1 to 64" },
        { { name = "a", run = "b" }, "run: function expected, got string" },
        { { name = "a", confirm = true }, "confirm: function expected" },
        { { name = "a", description = 1 }, "description: string expected" },
        { { name = "a", parameters = "x" }, "parameters: table expected" },
        { { name = "a", parameters = { n = "int" } },
          "parameters.n: unknown type 'int' (did you mean 'integer'?)" },
        { { name = "a", parmeters = {} },
          "unknown field 'parmeters' (did you mean 'parameters'?)" },
        { { type = "function", ["function"] = { name = "a" }, run = function() end },
          "written without type" },
      } do
        local ok, problem = pcall(function() chat:tool(case[1]) end)
        assert.falsy(ok)
        assert.truthy(problem:find("tools_spec.lua:%d+: tool: "), problem)
        assert.truthy(problem:find(case[2] or "table expected", 1, true), problem)
        ok, problem = pcall(opperchat.conversation, { tools = { case[1] } })
        assert.falsy(ok)
        assert.truthy(problem:find("tools", 1, true), problem)
      end
      assert.equal("{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}",
        chat:preview("Hi"))
    end)

    it("are not changed by who changes his table", function()
      local tool = { name = "a", parameters = { x = "string" } }
      chat:tool(tool)
      tool.parameters.x = "number"
      assert.truthy(chat:preview("Hi"):find('"string"', 1, true))
    end)

    it("go with a fork, each with its own", function()
      chat:tool{ name = "a", run = function() return "ran" end }
      local fork = chat:fork()
      fork:tool{ name = "b" }
      assert.falsy(chat:preview("Hi"):find('"b"', 1, true))
      assert.truthy(fork:preview("Hi"):find('"a"', 1, true))
      server:reply(calling{ call("1", "a") }):reply(saying "done")
      assert(fork:run("Hi"))
      assert.same({ "ran" }, told())
      assert.equal(0, #chat)
      assert.falsy(chat:fork{ tools = opperchat.null }:preview("Hi"):find("tools", 1, true))
    end)
  end)

  describe("that are called", function()
    it("get their arguments, and answer with what they return", function()
      local parts = { { type = "text", text = "a part" } }
      for _, case in ipairs{
        { "text", "text" }, { "", "" }, { { temp = 4 }, '{"temp":4}' }, { { 1, 2 }, "[1,2]" },
        { 7, "7" }, { true, "true" }, { nil, "null" }, { parts, parts }, { parts[1], parts },
        { { "Look:", parts[1] }, { { type = "text", text = "Look:" }, parts[1] } },
        { opperchat.array{}, "[]" },
      } do
        local got, given
        local text, event = run_one({ name = "f", parameters = { n = "integer" },
          run = function(arguments, own)
            got, given = arguments, own
            return case[1]
          end }, '{"n":1}')
        assert.same(case[2], text)
        assert.same({ n = 1 }, got)
        assert.equal("a", given.id)
        assert.equal("f", given.name)
        assert.equal('{"n":1}', given.arguments_json)
        assert.equal(case[1], event.result)
        assert.is_nil(event.error)
        assert.equal(1, event.step)
      end
    end)

    it("may fail: the model is told in a few words", function()
      local function fails(err)
        return { name = "f", run = function() error(err, 2) end }
      end
      local text, event = run_one{ name = "f", run = function() error("the door is locked") end }
      assert.equal('{"error":"the door is locked"}', text)
      assert.truthy(event.error:find("tools_spec.lua:%d+: the door is locked$"))
      assert.equal('{"error":"the tool failed"}', (run_one(fails{ 1 })))
      assert.equal('{"error":"the tool failed"}',
        (run_one{ name = "f", run = function() return (nil).x end }):gsub(":.*", ":")
          .. '"the tool failed"}')
      local _, err = chat:fork{ client = opperchat.client{ base_url = "http://127.0.0.1:1" } }
        :send("Hi")
      assert.truthy(run_one(fails(err)):find("network error", 1, true))
      -- text that is no UTF-8
      assert.equal('{"error":"na??ve"}', (run_one{ name = "f", run = function()
        error("na\239\191ve", 0) end }))
      text, event = run_one{ name = "f", run = function() return "na\239\191ve" end }
      assert.truthy(text:find("the result cannot be sent: .*not valid UTF%-8 at byte 3"), text)
      assert.truthy(event.error:find("not valid UTF-8", 1, true))
      text = run_one{ name = "f", run = function() return { f = print } end }
      assert.truthy(text:find("the result cannot be sent", 1, true), text)
    end)

    it("may not exist", function()
      local ran = false
      server:reply(calling{ call("a", "opne"), call("b", "open") }):reply(saying "done")
      chat:tool{ name = "open", run = function() ran = true return "open" end }
      chat:tool{ name = "close", run = function() end }
      local events = {}
      assert(chat:run("Hi", { on_tool = function(event) events[#events + 1] = event end }))
      assert.same({ '{"error":"unknown tool \'opne\'; the tools are: close, open"}', "open" },
        told())
      assert.truthy(ran)
      assert.truthy(events[1].error:find("unknown tool", 1, true))
      assert.equal("opne", events[1].call.name)
      assert.is_nil(events[2].error)
    end)

    it("may get arguments that are none", function()
      local seen
      local tool = { name = "f", parameters = { city = "string" },
        run = function(arguments) seen = arguments return "ran" end }
      for arguments, problem in pairs{
        ["{}{}"] = "not valid JSON: {}{}", ['{"city":"Os'] = "not valid JSON",
        ["{}"] = "wrong arguments: city: missing", [""] = "city: missing",
        ["[]"] = "wrong arguments: object expected, got array", ["5"] = "has to be a JSON object",
        ['"x"'] = "has to be a JSON object", ["nonsense"] = "not valid JSON: nonsense",
        ['{"city":1}'] = "city: string expected, got number",
        ['{"city":"a","town":1}'] = "town: not a field",
      } do
        seen = nil
        local text, event = run_one(tool, arguments)
        assert.is_nil(seen)
        local said = cjson.decode(text).error
        assert.truthy(said:gsub("have to", "has to"):find(problem, 1, true), arguments .. said)
        assert.equal(said, event.error)
      end
      for _, arguments in ipairs{ "", "{}", "null", " " } do
        assert.equal("ran", (run_one({ name = "f", run = tool.run }, arguments)))
        assert.same({}, seen)
      end
      -- long ones are cut between characters
      local text = run_one(tool, "x" .. ("\195\169"):rep(500))
      assert.truthy(#text < 300 and cjson.decode(text).error:find("\195\169...", 1, true))
    end)

    it("happen only with leave", function()
      local asked, ran = {}, 0
      local tool = { name = "f", run = function() ran = ran + 1 return "ran" end }
      local function confirm(answer, why)
        return function(own)
          asked[#asked + 1] = own.name
          return answer, why
        end
      end
      assert.equal('{"error":"not allowed: too late"}',
        (run_one(tool, "{}", { confirm = confirm(false, "too late") })))
      assert.equal('{"error":"not allowed"}', (run_one(tool, "{}", { confirm = confirm(nil) })))
      assert.equal(0, ran)
      assert.equal("ran", (run_one(tool, "{}", { confirm = confirm(true) })))
      assert.same({ "f", "f", "f" }, asked)
      -- a tool's own goes before
      tool.confirm = confirm(false, "mine")
      local text, event = run_one(tool, "{}", { confirm = confirm(true) })
      assert.equal('{"error":"not allowed: mine"}', text)
      assert.equal("not allowed: mine", event.error)
      tool.confirm = function() error("oops", 0) end
      assert.equal('{"error":"oops"}', (run_one(tool)))
      assert.equal(1, ran)
      -- it may wait
      tool.confirm = function() opperchat.sleep(0.01) return true end
      assert.equal("ran", (in_task(function() return run_one(tool) end)))
    end)

    for _, how in ipairs(HOWS) do
      it("are all answered, several in one reply" .. how[1], function()
        server:reply(calling({ call("a", "double", '{"n":1}'), call("b", "double", '{"n":2}'),
          call("c", "double", '{"n":3}') }, "Let me see."))
        server:reply(saying "2, 4 and 6")
        chat:tool{ name = "double", parameters = { n = "integer" },
          run = function(arguments) return { twice = arguments.n * 2 } end }
        local reply = assert(how[2](function() return chat:run("Double 1, 2, 3") end))
        assert.equal("2, 4 and 6", reply.content)
        assert.equal(2, reply.steps)
        assert.same({ '{"twice":2}', '{"twice":4}', '{"twice":6}' }, told())
        assert.equal(6, #chat)
        assert.equal("Let me see.", chat:messages(2, 2)[1].content)
        assert.equal("2, 4 and 6", chat:last().content)
        assert.equal(2, chat:usage().requests)
        assert.equal(4, chat:usage().total_tokens)
        check_list(chat)
      end)

      it("come in pieces of a stream" .. how[1], function()
        server:stream(streamed({ call("a", "f", '{"n":1}'), call("b", "f", '{"n":2}') }, "Hm. "))
        server:stream(sse.answer("All ", "done"))
        local text, fragments, seen, done = "", 0, {}, 0
        chat:tool{ name = "f", parameters = { n = "integer" }, run = function(arguments)
          seen[#seen + 1] = arguments.n
          return "ok"
        end }
        local reply = assert(how[2](function()
          return chat:run("Hi", {
            on_delta = function(new) text = text .. new end,
            on_event = function(event)
              fragments = fragments + (event.type == "tool_call" and 1 or 0)
            end,
            on_done = function(result, err)
              assert(not err and result.content == "All done")
              done = done + 1
            end,
          })
        end))
        assert.equal("All done", reply.content)
        assert.equal("Hm. All done", text)
        assert.truthy(fragments >= 2)
        assert.same({ 1, 2 }, seen)
        assert.equal(1, done)
        assert.equal(true, server:bodies()[2].stream)
        check_list(chat)
      end)

      it("may have empty or repeated ids" .. how[1], function()
        server:reply(calling{ call("", "f"), call("x", "f"), call("x", "f"), call("", "f") })
        server:reply(calling{ call("x", "f", '{"again":1}') })
        server:reply(saying "done")
        local count = 0
        chat:tool{ name = "f", parameters = { again = "integer?" },
          run = function() count = count + 1 return tostring(count) end }
        assert(how[2](function() return chat:run("Hi") end))
        assert.equal(5, count)
        assert.same({ "1", "2", "3", "4", "5" }, told())
        check_list(chat)
        local ids = {}
        for _, own in ipairs(chat:messages(2, 2)[1].tool_calls) do
          assert.is_nil(ids[own.id])
          ids[own.id] = true
        end
      end)

      it("may call the model" .. how[1], function()
        server:reply(calling{ call("a", "ask", '{"what":"x"}') })
        server:reply(saying "an inner answer"):reply(saying "an outer answer")
        chat:tool{ name = "ask", parameters = { what = "string" }, run = function(arguments)
          local inner = opperchat.conversation{ client = client, model = "small" }
          return assert(inner:send(arguments.what)).content
        end }
        assert.equal("an outer answer",
          assert(how[2](function() return chat:run("Hi") end)).content)
        assert.equal("small", server:bodies()[2].model)
        assert.same({ "an inner answer" }, told())
      end)

      it("cannot use the conversation that runs them" .. how[1], function()
        server:reply(calling{ call("a", "f") }):reply(saying "done")
        chat:tool{ name = "f", run = function() return chat:send("Hi").content end }
        assert(how[2](function() return chat:run("Hi") end))
        assert.truthy(told()[1]:find("conversation is busy", 1, true))
      end)
    end

    it("run side by side in a task", function()
      server:reply(calling{ call("a", "f", '{"n":3}'), call("b", "f", '{"n":2}'),
        call("c", "f", '{"n":1}') }):reply(saying "done")
      local order, began = {}, nil
      chat:tool{ name = "f", parameters = { n = "integer" }, run = function(arguments)
        began = began or core.now()
        opperchat.sleep(0.05 + 0.05 * arguments.n)
        order[#order + 1] = arguments.n
        if #order == 3 then
          assert(core.now() - began < 0.28, "one after another")
        end
        return tostring(arguments.n)
      end }
      assert(in_task(function() return chat:run("Hi") end))
      assert.same({ 1, 2, 3 }, order)
      assert.same({ "3", "2", "1" }, told())
    end)

    it("fail alone, side by side", function()
      server:reply(calling{ call("a", "f", '{"n":1}'), call("b", "f", '{"n":2}') })
      server:reply(saying "done")
      chat:tool{ name = "f", parameters = { n = "integer" }, run = function(arguments)
        opperchat.sleep(0.01)
        if arguments.n == 1 then
          error("one is bad", 0)
        end
        return "fine"
      end }
      assert(in_task(function() return chat:run("Hi") end))
      assert.same({ '{"error":"one is bad"}', "fine" }, told())
    end)
  end)

  describe("in a run", function()
    local function counting()
      local count = 0
      chat:tool{ name = "f", parameters = { n = "integer?" },
        run = function() count = count + 1 return tostring(count) end }
      return function() return count end
    end

    it("are not needed", function()
      server:reply(saying "just so")
      local reply = assert(chat:run("Hi"))
      assert.equal("just so", reply.content)
      assert.equal(1, reply.steps)
      assert.equal(2, #chat)
    end)

    it("are asked for in the first step only", function()
      local named = { type = "function", ["function"] = { name = "f" } }
      for _, case in ipairs{
        { "required", "required", "auto" }, { named, named, "auto" }, { "auto", "auto", "auto" },
        { nil, nil, nil },
      } do
        for _, place in ipairs{ "conversation", "run" } do
          server:reset()
          server:reply(calling{ call("a", "f") }):reply(saying "done")
          local one = opperchat.conversation{ client = client, model = "m",
            tools = { { name = "f", run = function() end } },
            tool_choice = place == "conversation" and case[1] or nil }
          assert(one:run("Hi", place == "run" and { tool_choice = case[1] } or nil))
          assert.same(case[2], server:bodies()[1].tool_choice)
          assert.same(case[3], server:bodies()[2].tool_choice)
        end
      end
    end)

    it("are counted", function()
      local count = counting()
      for i = 1, 12 do
        server:reply(calling{ call("a" .. i, "f", '{"n":' .. i .. "}") })
      end
      local reply, err = chat:run("Hi")
      assert.is_nil(reply)
      assert.equal("tool", err.kind)
      assert.equal("max_steps", err.code)
      assert.truthy(err.message:find("10 steps", 1, true))
      assert.equal("a10", err.partial.tool_calls[1].id)
      assert.equal(10, err.partial.steps)
      assert.is_false(err.retryable)
      assert.truthy(tostring(err):find("^tool error %(max_steps%): "))
      assert.equal(9, count())
      assert.equal(10, #server:requests())
      -- the list is kept, and may be used
      assert.equal(21, #chat)
      check_list(chat)
      server:reset()
      server:reply(saying "well")
      assert.equal("well", assert(chat:send("Stop it")).content)
      server:reply(calling{ call("z", "f") })
      reply, err = chat:run("Again", { max_steps = 1 })
      assert.is_nil(reply)
      assert.equal("max_steps", err.code)
      assert.equal(9, count())
      check_list(chat)
    end)

    it("are not called a third time with the same arguments", function()
      local count = counting()
      for i = 1, 3 do
        server:reply(calling{ call("a" .. i, "f", '{"n":1}'), call("b" .. i, "f",
          '{"n":1' .. i .. "}") })
      end
      local reply, err = chat:run("Hi")
      assert.is_nil(reply)
      assert.equal("tool", err.kind)
      assert.equal("repeated_call", err.code)
      assert.truthy(err.message:find("the same call of 'f' came 3 times", 1, true))
      assert.equal(4, count())
      check_list(chat)
      assert.truthy(chat:last().content:find("not run", 1, true))
      -- with another one in between it is no circle
      server:reset()
      for i = 1, 5 do
        server:reply(calling{ call("c" .. i, "f", '{"n":' .. i % 2 .. "}") })
      end
      server:reply(saying "done")
      assert(chat:run("Hi"))
    end)

    it("without run are left to the program", function()
      local ran = 0
      chat:tool{ name = "ask_user", parameters = { question = "string" } }
      chat:tool{ name = "f", run = function() ran = ran + 1 return "ran" end }
      server:reply(calling{ call("a", "f"), call("b", "ask_user", '{"question":"Who?"}') })
      local reply = assert(chat:run("Hi"))
      assert.equal("Who?", reply.tool_calls[2].arguments.question)
      assert.equal(0, ran)
      assert.equal(2, #chat)
      -- not before it is answered
      local ok, problem = pcall(function() chat:run() end)
      assert.falsy(ok)
      assert.truthy(problem:find("tools_spec.lua:%d+: .*'b' has no result yet"), problem)
      ok, problem = pcall(function() chat:run("more") end)
      assert.falsy(ok)
      assert.truthy(problem:find("has no result yet", 1, true), problem)
      assert.equal(0, ran)
      assert.equal(2, #chat)
      -- then the others run
      chat:append("tool", "me", { tool_call_id = "b" })
      server:reply(saying "Hello you")
      local steps = {}
      reply = assert(chat:run(nil, { on_tool = function(event)
        steps[#steps + 1] = event.call.id .. event.step
      end }))
      assert.equal("Hello you", reply.content)
      assert.equal(1, ran)
      assert.same({ "a0" }, steps)
      -- here the program's answer came first
      assert.same({ "me", "ran" }, told())
      check_list(chat)
    end)

    it("in the server's form are left to the program", function()
      server:reply(calling{ call("a", "theirs") })
      local reply = assert(chat:run("Hi", { tools = {
        { type = "function", ["function"] = { name = "theirs" } }, { type = "opper:web_search" },
      } }))
      assert.equal("theirs", reply.tool_calls[1].name)
    end)

    it("run when send has left their calls", function()
      local count = counting()
      server:reply(calling{ call("a", "f"), call("b", "f") }):reply(saying "done")
      assert.equal(2, #assert(chat:send("Hi")).tool_calls)
      assert.equal(0, count())
      assert.equal("done", assert(chat:run()).content)
      assert.equal(2, count())
      check_list(chat)
    end)

    it("answer only for that run when they are its options", function()
      server:reply(calling{ call("a", "g") }):reply(saying "done")
      counting()
      assert(chat:run("Hi", { tools = { { name = "g", run = function() return "g" end } } }))
      assert.same({ "g" }, told())
      assert.equal(1, #server:bodies()[1].tools)
      assert.equal(1, #server:bodies()[2].tools)
      assert.equal("f", cjson.decode(chat:preview("x")).tools[1]["function"].name)
    end)

    it("may have results in another order than their calls", function()
      server:reply(calling{ call("a", "x"), call("b", "x"), call("c", "x") })
      server:reply(saying "done")
      chat:tool{ name = "x" }
      assert(chat:run("Hi"))
      for _, id in ipairs{ "c", "a", "b" } do
        chat:append("tool", id, { tool_call_id = id })
      end
      assert(chat:run())
      assert.same({ "c", "a", "b" }, told())
      check_list(chat)
    end)

    it("show the program its own conversation before each request", function()
      local seen = {}
      local watched = opperchat.client{ base_url = server.url,
        on_request = function(info) seen[#seen + 1] = info.conversation end }
      local one = opperchat.conversation{ client = watched, model = "m",
        tools = { { name = "f", run = function() end } } }
      server:reply(calling{ call("a", "f") }):reply(saying "done")
      assert(one:run("Hi"))
      assert.equal(2, #seen)
      assert.truthy(seen[1] == one and seen[2] == one)
      watched:close()
    end)

    it("leave the list alone when a request fails", function()
      counting()
      for _, how in ipairs(HOWS) do
        for _, keep in ipairs{ false, true } do
          server:reset()
          chat:clear()
          server:reply(calling{ call("a", "f", '{"n":1}') })
          server:reply(calling{ call("b", "f", '{"n":2}') })
          server:script{ { "close" } }
          server:script{ { "close" } }
          local reply, err = how[2](function()
            return chat:run("Hi", { keep_partial = keep })
          end)
          assert.is_nil(reply)
          assert.equal("network", err.kind)
          assert.equal(keep and 5 or 0, #chat)
          check_list(chat)
          assert.falsy(core.is_busy(chat))
        end
      end
    end)

    it("raise what a handler raises, and change nothing", function()
      counting()
      for _, how in ipairs(HOWS) do
        for _, name in ipairs{ "on_tool", "on_delta" } do
          server:reset()
          server:stream(streamed({ call("a", "f") }, "Hm"))
          local ok, problem = pcall(how[2], function()
            local task_ok, task_problem = true, nil
            if how[1] == ", blocking" then
              task_ok, task_problem = pcall(function()
                chat:run("Hi", { stream = true, [name] = function() error("mine", 0) end })
              end)
            else
              local task = opperchat.go(function()
                chat:run("Hi", { stream = true, [name] = function() error("mine", 0) end })
              end)
              local deadline = core.now() + 10
              while task.state == "running" and core.now() < deadline do
                task_ok, task_problem = pcall(opperchat.poll, 0.02)
                if not task_ok then
                  break
                end
              end
              pcall(opperchat.poll, 0.02)
            end
            return not task_ok and task_problem
          end)
          assert.truthy(ok, problem)
          assert.equal("mine", problem:match("^[^\n]*"))
          -- an answer that has arrived whole by then is kept, and its run goes on
          if name == "on_tool" or how[1] == ", blocking" then
            assert.equal(0, #chat)
          end
          chat:cancel()
          opperchat.poll(0.02)
          assert.falsy(core.is_busy(chat))
          chat:clear()
        end
      end
    end)

    it("end when the run is cancelled", function()
      for _, keep in ipairs{ false, true } do
        server:reset()
        chat:clear()
        server:reply(calling{ call("a", "f") })
        server:script{ { "stall" } }
        chat:tool{ name = "f", run = function() return "ran" end }
        local reply, err, done
        local task = opperchat.go(function()
          reply, err = chat:run("Hi", { keep_partial = keep,
            on_done = function(_, problem) done = problem end })
        end)
        opperchat.go(function()
          while #server:requests() < 2 do
            opperchat.sleep(0.01)
          end
          assert.truthy(core.is_busy(chat))
          chat:cancel()
        end)
        local began = core.now()
        task:wait(10)
        assert.truthy(core.now() - began < 5)
        assert.is_nil(reply)
        assert.equal("cancelled", err.kind)
        assert.equal(err, done)
        assert.equal(keep and 3 or 0, #chat)
        check_list(chat)
      end
    end)

    it("are not begun once the run is cancelled", function()
      server:reply(calling{ call("a", "f", '{"n":1}'), call("b", "f", '{"n":2}') })
      local ran, events = 0, 0
      chat:tool{ name = "f", parameters = { n = "integer" }, run = function()
        ran = ran + 1
        chat:cancel()
      end }
      local _, err = chat:run("Hi", { keep_partial = true,
        on_tool = function() events = events + 1 end })
      assert.equal("cancelled", err.kind)
      assert.equal(1, ran)
      assert.equal(2, events)
      assert.equal(4, #chat)
      check_list(chat)
      -- and it is over with that
      server:reset()
      assert(chat:run("Hi"))
    end)

    it("end with their conversation, and with their client", function()
      for _, what in ipairs{ "conversation", "client" } do
        for _, when in ipairs{ "request", "tool" } do
          server:reset()
          local own = opperchat.client{ base_url = server.url }
          local one = opperchat.conversation{ client = own, model = "m" }
          local function close()
            if what == "client" then own:close() else one:close() end
          end
          server:reply(calling{ call("a", "f") })
          server:script{ { "stall" } }
          one:tool{ name = "f", run = function()
            if when == "tool" then
              close()
            end
          end }
          local reply, err
          local task = opperchat.go(function()
            reply, err = one:run("Hi")
          end)
          if when == "request" then
            opperchat.go(function()
              while #server:requests() < 2 do
                opperchat.sleep(0.01)
              end
              close()
            end)
          end
          task:wait(10)
          assert.equal("done", task.state)
          assert.is_nil(reply)
          assert.equal("cancelled", err.kind, what .. when)
          own:close()
        end
      end
    end)

    it("keep others away until it is over", function()
      server:reply(calling{ call("a", "f") }):reply(saying "done")
      local problems = {}
      chat:tool{ name = "f", run = function()
        opperchat.sleep(0.05)
      end }
      local task = opperchat.go(function() chat:run("Hi") end)
      opperchat.sleep(0.02)
      for name, fn in pairs{
        send = function() chat:send("x") end, run = function() chat:run("x") end,
        append = function() chat:append("user", "x") end,
        undo = function() chat:undo() end,
      } do
        local ok, problem = pcall(fn)
        problems[#problems + 1] = not ok and problem:find("busy", 1, true) and name or nil
      end
      task:wait()
      assert.equal(4, #problems)
      assert.equal(4, #chat)
    end)
  end)

  -- Random conversations with a server that calls, answers, breaks off, loops
  -- and sends nonsense, and a program that cancels, refuses and raises.
  it("always leave a list in which each call has one result", function()
    local seed = tonumber(os.getenv("OPPERCHAT_SEED")) or os.time() % 100000
    math.randomseed(seed)
    local random = math.random
    local ARGUMENTS = { "{}", "", "{}{}", '{"n":1}', '{"n":2}', '{"n":"x"}', '{"n', "null", "[]" }
    local NAMES = { "quick", "slow", "bad", "none", "left" }

    local function random_calls(step)
      local calls = {}
      for i = 1, random(1, 4) do
        local id = ({ "", "same", "c" .. step .. "_" .. i })[random(3)]
        calls[i] = call(id, NAMES[random(#NAMES)], ARGUMENTS[random(#ARGUMENTS)])
      end
      return calls
    end

    local function queue(step, loop)
      local what = random(10)
      local calls = loop or random_calls(step)
      if what <= 3 then
        server:reply(calling(calls, random(2) == 1 and "Hm" or nil))
      elseif what <= 6 then
        server:stream(streamed(calls, random(2) == 1 and "Hm" or nil))
      elseif what == 7 then
        server:reply(saying "done")
      elseif what == 8 then
        local events = streamed(calls, "Hm")
        for _ = 1, random(1, 4) do
          events[#events] = nil
        end
        server:stream(events)
      elseif what == 9 then
        server:reply{ status = 500, body = '{"error":{"message":"no"}}' }
      else
        server:script{ { "close" } }
      end
    end

    local function tool(name, fn)
      return { name = name, parameters = { n = "integer?" }, run = fn }
    end

    local function attempt(one, is_task)
      local given = {
        max_steps = random(1, 6), keep_partial = random(2) == 1, stream = random(2) == 1,
      }
      if random(3) == 1 then
        given.confirm = function() return random(2) == 1, "no" end
      end
      if random(6) == 1 then
        given.on_tool = function() error("a handler's own", 0) end
      end
      local prompt
      if not core.open_call(one) then
        prompt = "Hi"
      else
        local ok = pcall(function() one:preview() end)
        assert(not ok)
        -- answer those that are left to the program
        for _, own in ipairs(require("opperchat.run").open_calls(one)) do
          if own.name == "left" then
            one:append("tool", "answered", { tool_call_id = own.id })
          end
        end
      end
      if is_task then
        local task = opperchat.go(function()
          opperchat.sleep(0)
          one:run(prompt, given)
        end)
        if random(2) == 1 then
          opperchat.go(function()
            opperchat.sleep(random() * 0.02)
            one:cancel()
          end)
        end
        local deadline = core.now() + 10
        local active
        repeat
          -- it raises what tasks and handlers raise
          local ok, count = pcall(opperchat.poll, 0.01)
          active = not ok or count > 0
        until task.state ~= "running" and not active or core.now() > deadline
        assert(task.state ~= "running", "it never ends")
      else
        pcall(function() one:run(prompt, given) end)
      end
    end

    local ok, problem = pcall(function()
      for _ = 1, 60 do
        server:reset()
        local one = opperchat.conversation{ client = client, model = "m", tools = {
          tool("quick", function() return { 1 } end),
          tool("slow", function() opperchat.sleep(random() * 0.01) return "slow" end),
          tool("bad", function() error("bad", random(0, 2)) end),
          { name = "left", parameters = { n = "integer?" } },
        } }
        local loop = random(4) == 1 and random_calls(0) or nil
        for step = 1, random(1, 8) do
          queue(step, loop)
        end
        for _ = 1, random(1, 3) do
          attempt(one, random(2) == 1)
          assert.falsy(core.is_busy(one))
          -- what is left to the program may be open, and nothing else
          local left = {}
          for _, own in ipairs(require("opperchat.run").open_calls(one)) do
            left[#left + 1] = own
          end
          local fork = one:fork()
          for _, own in ipairs(left) do
            fork:append("tool", "x", { tool_call_id = own.id })
          end
          check_list(fork)
        end
        one:close()
      end
    end)
    assert(ok, "seed " .. seed .. ": " .. tostring(problem))
  end)
end)
