-- Conversations that go on where their file ends.

local kept = require "spec.support.kept"
local raises = require "spec.support.raises"
local opperchat = require "opperchat"

kept.for_tests()

local WEATHER, answer_with_tool = kept.WEATHER, kept.answer_with_tool

describe("a conversation goes on", function()
  it("with its list, options, trace id and usage", function()
    local chat, path = kept.new { system = "s", temperature = 0.5, extra = { x = opperchat.null } }
    kept.answer("Hello.")
    assert(chat:send("Hi"))
    local trace = kept.last_request().headers["x-opper-trace-id"]
    chat:close()
    local report
    chat, report = opperchat.conversation { client = kept.client, journal = path, system = "other",
      messages = { { role = "user", content = "not this" } } }
    assert.truthy(chat, report)
    assert.same({ events = 2 }, report)
    assert.equal(3, #chat)
    assert.equal(0.25, chat:usage().cost)
    kept.answer("Fine.")
    assert(chat:send("How are you?"))
    assert.equal(0.5, chat:usage().cost)
    assert.equal(2, chat:usage().requests)
    local sent = kept.last_request()
    assert.equal(trace, sent.headers["x-opper-trace-id"])
    assert.truthy(sent.body:find('"x":null', 1, true))
    assert.equal(0.5, sent.json.temperature)
    assert.equal("m", sent.json.model)
    assert.equal(4, #sent.json.messages)
    assert.equal("Hello.", sent.json.messages[3].content)
    kept.check(chat, path)
    chat:close()
  end)

  it("when it was collected and not closed", function()
    local path = kept.path()
    do
      local chat = kept.new { journal = path }
      assert(chat:send("a"))
      chat = nil -- luacheck: ignore 311
    end
    collectgarbage()
    collectgarbage()
    local chat, report = opperchat.conversation(kept.options { journal = path })
    assert.truthy(chat, report)
    assert.equal(2, #chat)
    assert(chat:send("b"))
    kept.check(chat, path)
    chat:close()
  end)

  it("with options that go before those of the file", function()
    local chat, path = kept.new { temperature = 0.5, schema = { x = "string" }, seed = 3 }
    kept.answer('{"x":"1"}')
    assert(chat:send("a"))
    chat:close()
    chat = assert(opperchat.load(path, { client = kept.client, journal = path, temperature = 1,
      response_format = { type = "json_object" }, trace_id = "mine" }))
    assert(chat:send("b"))
    local lines = kept.lines(path)
    local line = lines[#lines]
    assert.equal("mine", kept.last_request().headers["x-opper-trace-id"])
    assert.equal(1, line.options.temperature)
    assert.equal(3, line.options.seed)
    assert.is_nil(line.options.schema)
    assert.equal("json_object", kept.last_request().json.response_format.type)
    chat:close()
  end)

  it("with its schema", function()
    local schema = { city = "string", degrees = "integer?", sky = { "string" } }
    local chat, path = kept.new { schema = schema }
    local wire = chat:preview()
    chat:close()
    for _, given in ipairs { {}, { journal = path } } do
      given.client = kept.client
      chat = assert(opperchat.load(path, given))
      assert.equal(wire, chat:preview())
      kept.answer('{"city":"Oslo","sky":["rain"]}')
      assert.equal("Oslo", assert(chat:send("x")).parsed.city)
      kept.answer('{"city":1}')
      local _, err = chat:send("x")
      assert.equal("schema", err.kind)
      chat:close()
    end
  end)

  it("with tools whose functions are given again", function()
    local chat, path = kept.new { tools = { WEATHER } }
    chat:close()
    -- without them the calls are left to the program
    chat = assert(opperchat.load(path, { client = kept.client }))
    kept.answer { role = "assistant", tool_calls = { kept.call("c", "weather") } }
    local reply = assert(chat:run("Rain?"))
    assert.equal("weather", reply.tool_calls[1].name)
    assert.equal(2, #chat)
    chat = assert(opperchat.load(path, { client = kept.client, journal = path,
      tools = { WEATHER } }))
    answer_with_tool()
    assert.equal("It rains.", assert(chat:run("Rain?")).content)
    assert.equal("rain in Oslo", chat:messages(3, 3)[1].content)
    chat:close()
    chat = assert(opperchat.load(path, { client = kept.client, journal = path }))
    chat:tool(WEATHER)
    answer_with_tool()
    assert.equal("It rains.", assert(chat:run("Rain?")).content)
    kept.check(chat, path)
    chat:close()
  end)

  it("within what it may cost", function()
    local chat, path = kept.new { max_cost = 0.3 }
    kept.answer("a")
    assert(chat:send("a"))
    chat:close()
    chat = assert(opperchat.conversation { client = kept.client, journal = path })
    kept.answer("b")
    assert(chat:send("b"))
    local reply, err = chat:send("c")
    assert.is_nil(reply)
    assert.equal("max_cost", err.code)
    chat:close()
    chat = assert(opperchat.load(path, { client = kept.client }))
    reply, err = chat:send("c")
    assert.is_nil(reply)
    assert.equal("max_cost", err.code)
    chat:close()
    -- and so with tokens
    chat = assert(opperchat.load(path, { client = kept.client, max_cost = 9,
      max_tokens_total = 25 }))
    reply, err = chat:send("c")
    assert.is_nil(reply)
    assert.equal("max_tokens_total", err.code)
    chat:close()
  end)

  it("that never came to its first line", function()
    local path = kept.write(kept.path(), '{"opperchat":1,"options":{},"trace_id":"t-1"}\n{"usa')
    local chat = kept.new { journal = path, system = "Be brief." }
    assert.equal(1, #chat)
    assert(chat:send("Hi"))
    assert.equal("t-1", kept.last_request().headers["x-opper-trace-id"])
    kept.check(chat, path)
    chat:close()
  end)

  it("where a file was torn", function()
    local chat, path = kept.new()
    assert(chat:send("a"))
    chat:close()
    local whole = kept.read(path)
    kept.write(path, whole .. '{"append":[{"role":"us')
    local loaded, report = opperchat.load(path)
    assert.equal(2, #loaded)
    assert.same({ line = 4, bytes = 22 }, report.torn)
    chat, report = opperchat.conversation(kept.options { journal = path })
    assert.same({ line = 4, bytes = 22 }, report.torn)
    assert.equal(whole, kept.read(path))
    chat:close()
  end)

  it("alone in its file", function()
    local chat, path = kept.new()
    local other, err = opperchat.conversation(kept.options { journal = path })
    assert.is_nil(other)
    assert.equal("store", err.kind)
    assert.equal("locked", err.code)
    other, err = opperchat.load(path, { journal = path })
    assert.is_nil(other)
    assert.equal("locked", err.code)
    -- reading is free, and a fork writes nothing
    assert.equal(0, #assert(opperchat.load(path)))
    local fork = chat:fork()
    fork:append("user", "x"):undo()
    assert.equal(1, #kept.lines(path))
    chat:close()
    chat:close()
    chat = assert(opperchat.conversation(kept.options { journal = path }))
    chat:close()
  end)

  it("but not in a file of somebody else, or none", function()
    local path = kept.write(kept.path(), "Dear diary\n")
    local chat, err = opperchat.conversation { journal = path }
    assert.is_nil(chat)
    assert.equal("bad_line", err.code)
    assert.equal(1, err.line)
    assert.equal("Dear diary\n", kept.read(path))
    chat, err = opperchat.load(kept.path("none"), { journal = kept.folder .. "/none" })
    assert.is_nil(chat)
    assert.equal("no_file", err.code)
    assert.is_nil(io.open(kept.folder .. "/none"))
    -- nothing is made for options that are wrong
    path = kept.path()
    assert.is_false((pcall(opperchat.conversation, { journal = path, messages = { {} } })))
    assert.is_false((pcall(opperchat.conversation, { journal = path, nonsense = true })))
    assert.is_nil(io.open(path))
    local free = opperchat.conversation()
    raises("fork: a fork has no journal: save it, and load it with one",
      function() free:fork { journal = path } end)
  end)
end)
