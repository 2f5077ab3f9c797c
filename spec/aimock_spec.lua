-- aimock (npm) is a chat-completions server that nobody here wrote: what it
-- sends must arrive as its fixtures say.

local core = require "opperchat.core"
local opperchat = require "opperchat"
local cjson = require("cjson").new()
local http = require "socket.http"
local shell = require "spec.support.shell"
local with = require "spec.support.with"

local peer = "spec/peer"
local has_node = shell.has("node")
local installed = shell.succeeds("test -f " .. peer
  .. "/node_modules/@copilotkit/aimock/package.json")

local WEATHER = '{"city":"Oslo","days":[1,2,3],"unit":"celsius"}'
local TIME = '{"zone":"Europe/Oslo","text":"caf\195\169 \226\130\172 \240\159\152\128 \\"x\\""}'

local fixtures = {
  { match = { userMessage = "hello" },
    response = { content = "Hello! How can I help? caf\195\169 \226\130\172 \240\159\152\128" } },
  { match = { userMessage = "think" },
    response = { content = "42", reasoning = "Let me think about it for a while." } },
  { match = { userMessage = "long" },
    response = { content = ("lorem ipsum "):rep(500) } },
  { match = { userMessage = "tools", hasToolResult = true },
    response = { content = "It is 4 degrees." } },
  { match = { userMessage = "tools" },
    response = { toolCalls = {
      { id = "call_a", name = "get_weather", arguments = WEATHER },
      { id = "call_b", name = "get_time", arguments = TIME },
      { id = "call_c", name = "get_news", arguments = "{}" },
    } } },
  { match = { userMessage = "mixed" },
    response = { blocks = {
      { type = "text", text = "Let me look. " },
      { type = "toolCall", id = "call_x", name = "look", arguments = '{"at":"here"}' },
      { type = "text", text = "And there." },
      { type = "toolCall", id = "call_y", name = "look", arguments = '{"at":"there"}' },
    } } },
  { match = { userMessage = "usage" },
    response = { content = "Counted.", finishReason = "length", model = "other/model",
      usage = { prompt_tokens = 1200, completion_tokens = 34, total_tokens = 1234 } } },
  { match = { userMessage = "paced" }, latency = 10,
    response = { content = "one two three four five" } },
  { match = { userMessage = "cut" }, latency = 5, truncateAfterChunks = 4,
    response = { content = "This will be cut short by the server." } },
  { match = { userMessage = "drop" }, latency = 20, disconnectAfterMs = 70,
    response = { content = "This will be dropped by the server, long before it is complete." } },
  { match = { userMessage = "limit" },
    response = { status = 429, retryAfter = 7,
      error = { message = "slow down", type = "rate_limit_error", code = "rate_limit" } } },
  { match = { userMessage = "key" },
    response = { status = 401,
      error = { message = "bad key", type = "authentication_error", code = "invalid_api_key" } } },
  { match = { userMessage = "broken" },
    response = { status = 500, error = { message = "broken", type = "server_error" } } },
}

describe("aimock", function()
  if not (has_node and installed) then
    pending("needs node and spec/peer/install.sh")
    return
  end

  local base, input, client
  local paths = {}

  setup(function()
    paths[1] = shell.write_file(os.tmpname(), cjson.encode { fixtures = fixtures })
    paths[2] = os.tmpname()
    input = assert(io.popen(("unset LD_PRELOAD; exec node %s/aimock.mjs %s >%s 2>&1")
      :format(peer, paths[1], paths[2]), "w"))
    local deadline = core.now() + 20
    repeat
      core.sleep(0.02)
      base = shell.read_file(paths[2]):match("^(http://%S+)\n")
    until base or core.now() > deadline
    assert(base, "aimock did not start")
  end)

  teardown(function()
    input:close()
    os.remove(paths[1])
    os.remove(paths[2])
  end)

  before_each(function()
    client = opperchat.client { base_url = base .. "/v1", api_key = "k",
      max_retries = 0 }
  end)

  after_each(function()
    client:close()
  end)

  local function converse(more)
    return opperchat.conversation(with({ client = client, model = "openai/gpt-5-mini" }, more))
  end

  -- Sends as a stream or not; what handlers were told comes third.
  local function ask(prompt, is_stream, chat)
    local told = { content = "", reasoning = "", calls = {}, pieces = 0 }
    local options = { stream = false }
    if is_stream then
      options = { on_event = function(event)
        told.pieces = told.pieces + 1
        if event.type == "tool_call" then
          local call = told.calls[event.index] or { arguments = "" }
          told.calls[event.index] = call
          call.id, call.name = event.id or call.id, event.name or call.name
          call.arguments = call.arguments .. event.arguments
        else
          told[event.type] = told[event.type] .. event.text
        end
      end }
    end
    chat = chat or converse()
    local reply, err = chat:send(prompt, options)
    return reply, err, told, chat
  end

  for _, is_stream in ipairs { false, true } do
    local how = is_stream and ", streamed" or ", plain"

    it("answers" .. how, function()
      local reply, err, told, chat = ask("hello", is_stream)
      assert.is_nil(err)
      assert.equal(fixtures[1].response.content, reply.content)
      assert.equal("stop", reply.finish_reason)
      assert.equal("openai/gpt-5-mini", reply.model)
      assert.truthy(reply.id:find("^chatcmpl%-"))
      assert.truthy(reply.usage.total_tokens > 0)
      assert.equal(reply.usage.prompt_tokens + reply.usage.completion_tokens,
        reply.usage.total_tokens)
      if is_stream then
        assert.equal(reply.content, told.content)
      end
      assert.equal(2, #chat)
      assert.equal(reply.usage.total_tokens, chat:usage().total_tokens)
    end)

    it("thinks" .. how, function()
      local reply, err, told = ask("think", is_stream)
      assert.is_nil(err)
      assert.equal("42", reply.content)
      assert.equal(fixtures[2].response.reasoning, reply.reasoning)
      assert.equal(is_stream and reply.reasoning or "", told.reasoning)
    end)

    it("answers at length" .. how, function()
      local reply, _, told = ask("long", is_stream)
      assert.equal(6000, #reply.content)
      assert.truthy(not is_stream or told.content == reply.content)
    end)

    it("calls tools, and takes their results" .. how, function()
      local reply, err, told, chat = ask("tools", is_stream)
      assert.is_nil(err)
      assert.equal("tool_calls", reply.finish_reason)
      assert.is_nil(reply.content)
      local calls = reply.tool_calls
      assert.equal(3, #calls)
      assert.equal("call_a", calls[1].id)
      assert.equal("get_weather", calls[1].name)
      assert.equal(WEATHER, calls[1].arguments_json)
      assert.same({ city = "Oslo", days = { 1, 2, 3 }, unit = "celsius" }, calls[1].arguments)
      assert.equal(TIME, calls[2].arguments_json)
      assert.equal("get_news", calls[3].name)
      assert.equal("{}", calls[3].arguments_json)
      if is_stream then
        for i = 1, 3 do
          assert.same({ id = calls[i].id, name = calls[i].name,
            arguments = calls[i].arguments_json }, told.calls[i])
        end
      end
      assert.has_error(function() chat:send("too early") end)
      for _, call in ipairs(calls) do
        chat:append("tool", '{"temp":4}', { tool_call_id = call.id })
      end
      reply, err = ask(nil, is_stream, chat)
      assert.is_nil(err)
      assert.equal("It is 4 degrees.", reply.content)
      -- what was sent back is what was called, in the right order
      local journal = cjson.decode((http.request(base .. "/__aimock/journal")))
      local entry = journal.entries and journal.entries[#journal.entries] or journal[#journal]
      local messages = entry.body.messages
      assert.equal(5, #messages)
      assert.equal("call_b", messages[2].tool_calls[2].id)
      assert.equal(TIME, messages[2].tool_calls[2]["function"].arguments)
      assert.equal("call_c", messages[5].tool_call_id)
    end)

    it("mixes text and calls" .. how, function()
      local reply, err, told = ask("mixed", is_stream)
      assert.is_nil(err)
      assert.equal("Let me look. And there.", reply.content)
      assert.equal(2, #reply.tool_calls)
      assert.equal("there", reply.tool_calls[2].arguments.at)
      if is_stream then
        assert.equal(reply.content, told.content)
        assert.equal('{"at":"there"}', told.calls[2].arguments)
      end
    end)

    it("reports usage, model and finish reason" .. how, function()
      local reply = assert(ask("usage", is_stream))
      assert.equal("length", reply.finish_reason)
      assert.equal("other/model", reply.model)
      assert.equal(1200, reply.usage.prompt_tokens)
      assert.equal(34, reply.usage.completion_tokens)
      assert.equal(1234, reply.usage.total_tokens)
      assert.equal("Counted.", reply.raw().choices[1].message.content)
    end)

    it("refuses" .. how, function()
      for _, case in ipairs {
        { "limit", 429, "rate_limit", true }, { "key", 401, "invalid_api_key", false },
        { "broken", 500, nil, true }, { "no such fixture", 503, nil, true },
      } do
        local reply, err, told, chat = ask(case[1], is_stream)
        assert.is_nil(reply, case[1])
        assert.equal("api", err.kind, case[1])
        assert.equal(case[2], err.status, case[1])
        assert.equal(case[4], err.retryable, case[1])
        if case[3] then
          assert.equal(case[3], err.code)
        end
        assert.is_nil(err.partial)
        assert.equal("", told.content)
        assert.equal(0, #chat)
        if case[2] == 429 and err.retry_after then
          assert.equal(7, err.retry_after)
        end
      end
    end)
  end

  for _, is_stream in ipairs{ false, true } do
    it("has its calls run" .. (is_stream and ", streamed" or ", plain"), function()
      local function run_it()
        local seen = {}
        local function tool(name)
          return { name = name, parameters = { type = "object", properties = {}, required = {} },
            run = function(arguments)
              seen[#seen + 1] = name
              return arguments.city or arguments.zone
            end }
        end
        local chat = converse{ tools = { tool "get_weather", tool "get_time" } }
        local events = {}
        local reply = assert(chat:run("tools", { stream = is_stream,
          on_tool = function(event) events[#events + 1] = event end }))
        assert(reply.content == "It is 4 degrees." and reply.steps == 2)
        assert(#seen == 2 and #events == 3 and #chat == 6)
        assert(events[1].result == "Oslo" and events[2].result == "Europe/Oslo")
        assert(events[3].error:find("unknown tool 'get_news'", 1, true))
      end
      run_it()
      opperchat.go(run_it):wait(10)
    end)

    it("goes in circles" .. (is_stream and ", streamed" or ", plain"), function()
      local chat = converse{ tools = { { name = "look", parameters = { at = "string" },
        run = function() return "nothing" end } } }
      local reply, err = chat:run("mixed", { stream = is_stream })
      assert.is_nil(reply)
      assert.equal("repeated_call", err.code)
      assert.equal(10, #chat)
    end)
  end

  it("sends no usage when none is asked for", function()
    local reply = assert(converse { include_usage = false }:send("hello", { stream = true }))
    assert.is_nil(reply.usage)
  end)

  it("paces its stream", function()
    local times, began = {}, core.now()
    local reply = assert(converse():send("paced", { on_delta = function()
      times[#times + 1] = core.now() - began
    end }))
    assert.equal("one two three four five", reply.content)
    assert.truthy(#times >= 3, #times)
    assert.truthy(times[#times] - times[1] >= 0.02)
    assert.truthy(reply.timing.first_token <= reply.timing.total)
  end)

  it("cuts its stream, which is truncated", function()
    local reply, err, told, chat = ask("cut", true)
    assert.is_nil(reply)
    assert.equal("truncated", err.kind)
    assert.truthy(#err.partial.content > 0)
    assert.equal(told.content, err.partial.content)
    assert.equal(1, ("This will be cut short by the server."):find(told.content, 1, true))
    assert.equal(0, #chat)
    -- and the conversation goes on
    assert.equal(fixtures[1].response.content, assert(ask("hello", true, chat)).content)
  end)

  it("drops its connection, which is truncated", function()
    local reply, err, told, chat = ask("drop", true)
    assert.is_nil(reply)
    assert.equal("truncated", err.kind)
    assert.equal(told.content, err.partial and err.partial.content or "")
    assert.equal(0, #chat)
    -- the text can be kept
    chat:send("drop", { stream = true, keep_partial = true })
    assert.truthy(#chat == 2 or told.content == "")
  end)

  it("serves many streams at once", function()
    local done, chats = 0, {}
    for i = 1, 20 do
      chats[i] = converse()
      chats[i]:start("paced", { on_done = function(reply, err)
        assert(reply, err)
        assert(reply.content == "one two three four five")
        done = done + 1
      end })
    end
    local deadline = core.now() + 10
    while opperchat.poll(0.05) > 0 and core.now() < deadline do -- luacheck: ignore 542
    end
    assert.equal(20, done)
    for i = 1, 20 do
      assert.equal(2, #chats[i])
    end
  end)
end)
