-- Answers in a shape that was asked for: what is sent, what comes back, and
-- what happens when the model does something else.

local Server = require "spec.support.server"
local core = require "opperchat.core"
local opperchat = require "opperchat"
local cjson = require("cjson").new()
local sse = require "spec.support.sse"
local completion = require "spec.support.completion"

local PLANET = { name = "string", moons = "integer" }
local MARS = '{"name":"Mars","moons":2}'

local function answer(message, reason)
  message.role = "assistant"
  return {
    body = completion.body(message, { finish_reason = reason,
      usage = { prompt_tokens = 1, completion_tokens = 1, total_tokens = 2 } }),
    headers = { ["X-Opper-Trace-Id"] = "trace" },
  }
end

local function saying(text, reason)
  return answer({ content = text }, reason)
end

describe("structured answers", function()
  local server = Server.for_tests()
  local client, chat

  before_each(function()
    client = opperchat.client{ base_url = server.url, api_key = "k", max_retries = 0 }
    chat = opperchat.conversation{ client = client, model = "m" }
  end)

  after_each(function()
    client:close()
  end)

  it("are asked for with a JSON Schema", function()
    local expected = {
      type = "json_schema",
      json_schema = {
        name = "answer",
        schema = {
          type = "object", additionalProperties = false, required = { "moons", "name" },
          properties = { name = { type = "string" }, moons = { type = "integer" } },
        },
      },
    }
    local function format(text)
      local given = cjson.decode(text).response_format
      if given then
        table.sort(given.json_schema.schema.required)
      end
      return given
    end
    assert.same(expected, format(chat:preview("Hi", { schema = PLANET })))
    assert.same(expected, format(chat:preview("Hi", { schema = expected.json_schema.schema })))
    local one = opperchat.conversation{ model = "m", schema = PLANET }
    assert.same(expected, format(one:preview("Hi")))
    assert.same(expected, format(one:fork():preview("Hi")))
    -- null takes it away
    assert.is_nil(format(one:preview("Hi", { schema = opperchat.null })))
    assert.is_nil(format(one:fork{ schema = opperchat.null }:preview("Hi")))
    -- and so does another format
    server:default(saying "no planet")
    local other = { response_format = { type = "json_object" }, client = client }
    assert.equal("no planet", assert(one:fork(other):send("Hi")).content)
    other.client = nil
    assert.equal("no planet", assert(one:fork{ client = client }:send("Hi", other)).content)
    local ok, problem = pcall(function() chat:send("Hi", { schema = { n = "int" } }) end)
    assert.falsy(ok)
    assert.truthy(problem:find("structured_spec.lua:%d+: send: option 'schema': .*'int'"), problem)
    ok, problem = pcall(function() chat:send("Hi", { schema = "string" }) end)
    assert.falsy(ok)
    assert.truthy(problem:find("option 'schema': table expected", 1, true), problem)
  end)

  it("arrive as values, whichever way they are waited for", function()
    server:default(saying(MARS))
    local given = { schema = PLANET }
    local mars = { name = "Mars", moons = 2 }
    assert.same(mars, assert(chat:send("Hi", given)).parsed)
    assert.same(mars, assert(chat:run("Hi", given)).parsed)
    assert.same(mars, assert(chat:start("Hi", { schema = PLANET, stream = false })):wait().parsed)
    server:default{ chunks = sse.answer('{\\"name\\":\\"Mars\\",', '\\"moons\\":2}') }
    assert.same(mars, assert(chat:send("Hi", { schema = PLANET, stream = true })).parsed)
    assert.same(mars, assert(chat:start("Hi", given)):wait().parsed)
    assert.same(mars, assert(chat:run("Hi", { schema = PLANET, on_delta = print and
      function() end })).parsed)
    local text, done = "", nil
    local request = chat:stream("Hi", {
      schema = PLANET, on_done = function(reply) done = reply end,
    })
    for piece in request do
      text = text .. piece
    end
    assert.equal(MARS, text)
    assert.same(mars, request:wait().parsed)
    assert.same(mars, done.parsed)
    local reply
    opperchat.go(function() reply = chat:send("Hi", given) end):wait(10)
    assert.same(mars, reply.parsed)
    assert.equal(16, #chat)
    assert.equal(MARS, chat:last().content)
    -- and are nothing where nothing was asked for
    server:default()
    assert.is_nil(assert(chat:send("Hi")).parsed)
  end)

  it("may be fenced", function()
    for _, text in ipairs{
      "```json\n" .. MARS .. "\n```", "```\n" .. MARS .. "\n```", " \n" .. MARS .. "\n",
      "```json\r\n" .. MARS .. "\r\n```\n", "\n```JSON " .. MARS .. "```",
    } do
      server:reply(saying(text))
      local reply = assert(chat:send("Hi", { schema = PLANET }))
      assert.equal("Mars", reply.parsed.name)
      assert.equal(text, reply.content)
    end
  end)

  it("may be something else than an object", function()
    for text, case in pairs{
      ["[1,2]"] = { { type = "array", items = { type = "integer" } }, { 1, 2 } },
      ['"big"'] = { { enum = { "big", "small" } }, "big" }, ["7"] = { { type = "integer" }, 7 },
      ["false"] = { { type = "boolean" }, false },
    } do
      server:reply(saying(text))
      assert.same(case[2], assert(chat:send("Hi", { schema = case[1] })).parsed)
    end
    server:reply(saying "null")
    local reply = assert(chat:send("Hi", { schema = { type = { "string", "null" } } }))
    assert.is_nil(reply.parsed)
  end)

  describe("that are none", function()
    local CASES = {
      { "no_json", saying "Mars has two moons.", "the answer is no JSON: " },
      { "no_json", saying "", "the answer is no JSON: " },
      { "no_json", saying(MARS .. MARS), "the answer is no JSON: " },
      { "no_json", saying(MARS:sub(1, 10)), "the answer is no JSON: " },
      { "mismatch", saying '{"name":"Mars"}', "does not fit the schema: moons: missing" },
      { "mismatch", saying '{"name":"Mars","moons":"2"}', "moons: integer expected, got string" },
      { "mismatch", saying "[]", "object expected, got array" },
      { "length", saying(MARS:sub(1, 10), "length"), "cut off at the token limit" },
      { "content_filter", saying("***", "content_filter"), "guard" },
      { "refusal", answer{ content = cjson.null, refusal = "I must not." },
        "the model refuses: I must not." },
    }

    for _, how in ipairs{ "send", "start", "run", "send in a task" } do
      it("are errors of " .. how, function()
        for _, case in ipairs(CASES) do
          server:reset()
          server:reply(case[2])
          local given = { schema = PLANET, stream = how == "start" and false or nil }
          local told
          given.on_done = function(reply, problem)
            assert(not reply)
            told = problem
          end
          local reply, err
          if how == "start" then
            reply, err = assert(chat:start("Hi", given)):wait()
          elseif how == "send in a task" then
            opperchat.go(function() reply, err = chat:send("Hi", given) end):wait(10)
          else
            reply, err = chat[how](chat, "Hi", given)
          end
          assert.is_nil(reply)
          assert.equal("schema", err.kind, case[3])
          assert.equal(case[1], err.code)
          assert.truthy(err.message:find(case[3], 1, true), err.message)
          assert.is_false(err.retryable)
          assert.equal("trace", err.trace_id)
          assert.equal(1, err.attempts)
          assert.equal(case[2].body.choices[1].finish_reason, err.partial.finish_reason)
          assert.equal(case[2].body.choices[1].message.refusal, err.partial.refusal)
          if case[1] ~= "refusal" then
            assert.equal(case[2].body.choices[1].message.content, err.partial.content)
          end
          assert.equal(err, told)
          assert.equal(0, #chat)
          assert.falsy(core.is_busy(chat))
        end
        assert.equal(2 * #CASES, chat:usage().total_tokens)
      end)
    end

    it("are raised by a stream", function()
      server:stream(sse.answer("Mars has ", "two moons."))
      local text = ""
      local ok, err = pcall(function()
        for piece in chat:stream("Hi", { schema = PLANET }) do
          text = text .. piece
        end
      end)
      assert.falsy(ok)
      assert.equal("no_json", err.code)
      assert.equal("Mars has two moons.", text)
      assert.equal(text, err.partial.content)
      assert.equal(0, #chat)
    end)
  end)

  it("come after tools, not of them", function()
    server:reply(answer({ tool_calls = { {
      id = "a", type = "function", ["function"] = { name = "look", arguments = "{}" },
    } } }, "tool_calls"))
    server:reply(saying(MARS))
    chat:tool{ name = "look", run = function() return "Mars" end }
    local reply = assert(chat:run("Hi", { schema = PLANET }))
    assert.equal(2, reply.parsed.moons)
    assert.truthy(server:bodies()[1].response_format and server:bodies()[2].response_format)
    assert.equal(4, #chat)
  end)

  describe("asked for again", function()
    it("keep the prompt and the good answer", function()
      for _, how in ipairs{ "send", "run", "task" } do
        server:reset()
        chat:clear()
        chat:append("user", "before"):append("assistant", "well")
        server:reply(saying "Two moons."):reply(saying '{"name":"Mars"}'):reply(saying(MARS))
        local done = 0
        local given = { schema = PLANET, schema_retries = 2,
          on_done = function(reply) done = done + (reply.parsed and 1 or 10) end }
        local reply
        if how == "task" then
          opperchat.go(function() reply = assert(chat:send("Mars?", given)) end):wait(10)
        else
          reply = assert(chat[how](chat, "Mars?", given))
        end
        assert.same({ name = "Mars", moons = 2 }, reply.parsed)
        assert.equal(1, done)
        local sent = server:bodies()
        assert.equal(3, #sent)
        local messages = sent[3].messages
        assert.equal(7, #messages)
        assert.equal("Mars?", messages[3].content)
        assert.equal("Two moons.", messages[4].content)
        assert.equal("user", messages[5].role)
        assert.truthy(messages[5].content:find("the answer is no JSON: ", 1, true))
        assert.truthy(messages[7].content:find("moons: missing", 1, true))
        assert.same(sent[1].response_format, sent[3].response_format)
        assert.equal(4, #chat)
        assert.equal("Mars?", chat:messages(3, 3)[1].content)
        assert.equal(MARS, chat:last().content)
      end
      assert.equal(9, chat:usage().requests)
    end)

    it("may be an option of the conversation, and need no prompt", function()
      local one = opperchat.conversation{ client = client, model = "m", schema = PLANET,
        schema_retries = 1 }
      one:append("user", "Mars?")
      server:reply(saying "Two"):reply(saying(MARS))
      assert.equal(2, assert(one:send()).parsed.moons)
      assert.equal(2, #one)
      assert.equal(MARS, one:last().content)
    end)

    it("may fail again", function()
      server:default(saying "no")
      local reply, err = chat:send("Hi", { schema = PLANET, schema_retries = 2 })
      assert.is_nil(reply)
      assert.equal("no_json", err.code)
      assert.equal(3, #server:requests())
      assert.equal(0, #chat)
      server:reset()
      server:reply(saying "no"):reply{ status = 500, body = "no" }
      reply, err = chat:send("Hi", { schema = PLANET, schema_retries = 5 })
      assert.is_nil(reply)
      assert.equal("http", err.kind)
      assert.equal(0, #chat)
    end)

    it("are not when that would not help", function()
      for _, given in ipairs{
        saying("{", "length"), saying("", "content_filter"),
        answer{ content = cjson.null, refusal = "no" },
      } do
        server:reset()
        server:reply(given)
        local _, err = chat:send("Hi", { schema = PLANET, schema_retries = 3 })
        assert.equal("schema", err.kind)
        assert.equal(1, #server:requests())
      end
    end)

    it("can be cancelled", function()
      for _, how in ipairs{ "send", "run" } do
        server:reset()
        server:reply(saying "no"):script{ { "stall" } }
        local err
        local task = opperchat.go(function()
          err = select(2, chat[how](chat, "Hi", { schema = PLANET, schema_retries = 3 }))
        end)
        opperchat.go(function()
          while #server:requests() < 2 do
            opperchat.sleep(0.01)
          end
          chat:cancel()
        end)
        task:wait(10)
        assert.equal("cancelled", err and err.kind)
        assert.equal(0, #chat)
        assert.falsy(core.is_busy(chat))
      end
    end)

    it("need somebody who waits", function()
      for _, how in ipairs{ "start", "stream" } do
        local ok, problem = pcall(function()
          chat[how](chat, "Hi", { schema = PLANET, schema_retries = 1 })
        end)
        assert.falsy(ok)
        assert.truthy(problem:find("only send and run can ask again", 1, true), problem)
      end
    end)
  end)

  describe("of client:json", function()
    it("are one call", function()
      server:reply(saying(MARS))
      local value, reply = client:json{
        model = "m", instructions = "Facts about the planet.", input = "It is red.",
        schema = PLANET, temperature = 0, name = "planets", tags = { level = 3 },
      }
      assert.same({ name = "Mars", moons = 2 }, value)
      assert.equal(MARS, reply.content)
      assert.equal(2, reply.usage.total_tokens)
      local request = server:requests()[1]
      assert.equal("planets", request.headers["x-opper-name"])
      assert.equal("level:3", request.headers["x-opper-tags"])
      local body = request.json
      assert.equal(0, body.temperature)
      assert.same({
        { role = "system", content = "Facts about the planet." },
        { role = "user", content = "It is red." },
      }, body.messages)
      assert.equal("json_schema", body.response_format.type)
      assert.is_nil(body.input)
      assert.is_nil(body.instructions)
    end)

    it("take tables as JSON, and parts as parts", function()
      server:default(saying '"big"')
      for _, case in ipairs{
        { { text = "a", list = { 1 } }, '{"list":[1],"text":"a"}' },
        { { "a", "b" }, '["a","b"]' }, { opperchat.array{}, "[]" },
        { { "a", { type = "text", text = "b" } },
          { { type = "text", text = "a" }, { type = "text", text = "b" } } },
      } do
        server:reset():default(saying '"big"')
        assert.equal("big", (client:json{ input = case[1], schema = { "big", "small" } }))
        assert.same(case[2], server:bodies()[1].messages[1].content)
        assert.equal(1, #server:bodies()[1].messages)
      end
    end)

    it("may fail, and be asked for again", function()
      server:reply(saying "no")
      local value, err = client:json{ input = "x", schema = PLANET }
      assert.is_nil(value)
      assert.equal("schema", err.kind)
      assert.equal("no", err.partial.content)
      server:reply(saying "no"):reply(saying(MARS))
      assert.equal(2, client:json{ input = "x", schema = PLANET, schema_retries = 1 }.moons)
      server:reply{ status = 401, body = '{"error":{"message":"who?","code":"bad_key"}}' }
      value, err = client:json{ input = "x", schema = PLANET }
      assert.is_nil(value)
      assert.equal("bad_key", err.code)
    end)

    it("wait in a task without blocking", function()
      server:reply{ body = saying(MARS).body, delay = 0.05 }
      local ticks, value = 0, nil
      local task = opperchat.go(function()
        value = client:json{ input = "x", schema = PLANET }
      end)
      while task.state == "running" and ticks < 1000 do
        opperchat.poll(0.01)
        ticks = ticks + 1
      end
      assert.equal(2, value.moons)
      assert.truthy(ticks > 1)
    end)

    it("are refused when they make no sense", function()
      for problem, given in pairs{
        ["json: option 'schema': table expected"] = { input = "x" },
        ["json: option 'input': string or table expected"] = { schema = PLANET },
        ["json: unknown option 'imput' (did you mean 'input'?)"] = { imput = "x" },
        ["option 'schema': "] = { input = "x", schema = { n = "int" } },
        ["a function cannot be written"] = { input = { print }, schema = PLANET },
      } do
        local ok, text = pcall(function() client:json(given) end)
        assert.falsy(ok)
        assert.truthy(text:find("structured_spec.lua", 1, true), text)
        assert.truthy(text:find(problem, 1, true), text)
      end
      local ok, text = pcall(function() client:json() end)
      assert.falsy(ok)
      assert.truthy(text:find("option 'schema'", 1, true), text)
      client:close()
      ok, text = pcall(function() client:json{ input = "x", schema = PLANET } end)
      assert.falsy(ok)
      assert.truthy(text:find("client is closed", 1, true), text)
    end)
  end)
end)

-- As docs/errors.md says.
describe("guards", function()
  local server = Server.for_tests()
  local client, chat

  before_each(function()
    client = opperchat.client{ base_url = server.url, api_key = "k", max_retries = 0 }
    chat = opperchat.conversation{ client = client, model = "m" }
  end)

  after_each(function()
    client:close()
  end)

  it("that blocked, cut or changed an answer show in its finish_reason", function()
    for _, text in ipairs{ "", "My number is", "My number is ***." } do
      for _, is_stream in ipairs{ false, true } do
        server:reset()
        chat:clear()
        if is_stream then
          server:stream{ sse.text(text), sse.finish "content_filter", sse.done }
        else
          server:reply(saying(text, "content_filter"))
        end
        local reply = assert(chat:send("Hi", { stream = is_stream }))
        assert.equal("content_filter", reply.finish_reason)
        assert.equal(text, reply.content or "")
        assert.equal(2, #chat)
        assert.equal(text, chat:last().content)
      end
    end
    -- without any content at all
    server:reply(answer({ content = cjson.null }, "content_filter"))
    assert.equal("content_filter", assert(chat:send("Hi")).finish_reason)
    server:stream{ sse.finish "content_filter", sse.done }
    assert.equal("content_filter", assert(chat:send("Hi", { stream = true })).finish_reason)
    assert.equal("", chat:last().content)
    -- in a run it is an answer like others
    server:reply(saying("", "content_filter"))
    assert.equal("content_filter", assert(chat:run("Hi")).finish_reason)
  end)

  it("that failed the call are errors of kind api", function()
    server:reply{ status = 403, body = '{"error":{"message":"blocked by guard pii",'
      .. '"type":"permission_error","code":"guard_blocked"}}' }
    local reply, err = chat:send("Hi")
    assert.is_nil(reply)
    assert.equal("api", err.kind)
    assert.equal("guard_blocked", err.code)
    assert.equal(403, err.status)
    assert.is_false(err.retryable)
    assert.equal(0, #chat)
  end)

  it("that failed a stream are the same, with what had come as partial", function()
    server:stream{ sse.text "My number is",
      'data: {"error":{"message":"blocked by guard pii","code":"guard_blocked"}}\n\n', sse.done }
    local told = ""
    local reply, err = chat:send("Hi", { on_delta = function(text) told = told .. text end })
    assert.is_nil(reply)
    assert.equal("api", err.kind)
    assert.equal("guard_blocked", err.code)
    assert.equal("My number is", err.partial.content)
    assert.equal("My number is", told)
    assert.equal(0, #chat)
  end)
end)
