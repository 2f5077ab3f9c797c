-- Saved files and plain lists: save, load, export and import.

local core = require "opperchat.core"
local json = require "opperchat.json"
local kept = require "spec.support.kept"
local raises = require "spec.support.raises"
local opperchat = require "opperchat"

kept.for_tests()

local function failed(code, result, err)
  assert.is_nil(result)
  assert.equal("opperchat.Error", (getmetatable(err) or {}).__name, tostring(err))
  assert.equal("store", err.kind)
  assert.equal(code, err.code)
  return err
end

-- A conversation with a bit of all there is.
local function rich()
  local chat = opperchat.conversation(kept.options {
    system = "a/b \226\128\168", temperature = 0.5, schema = { x = "string" }, stop = { "." },
    tools = { { name = "f", parameters = { n = "integer" }, run = function() return "1" end } },
    tags = { a = 1.5 }, name = "spec", max_cost = 100, context_window = 5000,
  })
  kept.answer { role = "assistant", content = "x/y", odd = 1.5, list = json.array {} }
  assert(chat:send("Hi", { response_format = opperchat.null, schema = opperchat.null }))
  kept.answer { role = "assistant", tool_calls = { kept.call("c1", "f", '{"n":1}') } }
  kept.answer('{"x":"done"}')
  assert(chat:run({ "look", { type = "image_url", image_url = { url = "data:,x" } } }))
  chat:pin(2)
  return chat
end

describe("a saved conversation", function()
  it("is what it was", function()
    local chat, path = rich(), kept.path()
    assert.equal(chat, chat:save(path))
    local loaded, report = kept.check(chat, path)
    assert.same({ events = 3 }, report)
    assert.same(chat:usage(), loaded:usage())
    assert.is_true(loaded:messages(2, 2)[1].pinned)
    -- it goes on like the other one
    kept.answer('{"x":"1"}')
    local a = assert(chat:send("more"))
    kept.answer('{"x":"1"}')
    local b = assert(loaded:send("more"))
    assert.same(a.parsed, b.parsed)
    local requests = kept.server:requests()
    local one, two = requests[#requests - 1], requests[#requests]
    assert.equal(one.body, two.body)
    for _, name in ipairs { "x-opper-trace-id", "x-opper-name", "x-opper-tags" } do
      assert.truthy(one.headers[name], name)
      assert.equal(one.headers[name], two.headers[name])
    end
    -- no journal: nothing more is written
    assert.equal(3, #kept.lines(path))
  end)

  it("after any change is the list after it", function()
    local chat, path = opperchat.conversation(kept.options { system = "s" }), kept.path()
    for _, change in ipairs {
      function() assert(chat:send("a")) end,
      function() assert(chat:retry()) end,
      function() chat:append("user", "b"):append("assistant", "c") end,
      function() chat:splice(2, 1, { { role = "user", content = "0", pinned = true } }) end,
      function() chat:pin(3) end,
      function() chat:undo() end,
      function() chat:tool { name = "f", run = print } end,
      function() chat:append { role = "assistant", tool_calls = { kept.call("open") } } end,
      function() chat:clear() end,
      function() chat:splice(1, 1) end,
    } do
      change()
      assert(chat:save(path))
      kept.check(chat, path)
    end
    assert.equal(0, #chat)
  end)

  it("goes before nothing that load is given", function()
    local chat, path = rich(), kept.path()
    assert(chat:save(path))
    local loaded = assert(opperchat.load(path, { client = kept.client, temperature = 0,
      model = "other", response_format = { type = "json_object" }, tools = {}, trace_id = "t" }))
    local body = json.decode(loaded:preview())
    assert.equal(0, body.temperature)
    assert.equal("other", body.model)
    assert.equal("json_object", body.response_format.type)
    assert.is_nil(body.tools)
    assert(loaded:send("x", { temperature = 1 }))
    assert.equal("t", kept.last_request().headers["x-opper-trace-id"])
    raises("load: the messages are those of the file; append to it or splice it",
      function() opperchat.load(path, { system = "s" }) end)
    raises("load: unknown option 'temprature' (did you mean 'temperature'?)",
      function() opperchat.load(path, { temprature = 1 }) end)
  end)

  it("can begin a journal elsewhere", function()
    local chat, path, copy = rich(), kept.path(), kept.path("copy")
    assert(chat:save(path))
    local text = kept.read(path)
    local loaded, report = opperchat.load(path, { client = kept.client, journal = copy })
    assert.truthy(loaded, report)
    kept.check(loaded, copy)
    kept.answer('{"x":"1"}')
    assert(loaded:send("on"))
    kept.check(loaded, copy)
    assert.equal(text, kept.read(path))
    failed("locked", opperchat.load(path, { journal = copy }))
    loaded:close()
    local before = kept.read(copy)
    local err = failed("file_exists", opperchat.load(path, { journal = copy }))
    assert.truthy(err.message:find(copy, 1, true))
    assert.equal(before, kept.read(copy))
    -- also when the path is written another way
    failed("file_exists", opperchat.load(path, { journal = kept.folder .. "/./chat" }))
    -- one that did not come to its first line is none
    kept.write(copy, text:match("^[^\n]*\n"))
    loaded = assert(opperchat.load(path, { client = kept.client, journal = copy }))
    kept.check(loaded, copy)
    loaded:close()
    failed("write_failed", opperchat.load(path, { journal = kept.folder .. "/none/x" }))
  end)

  it("has no secret in it", function()
    local function key()
      return "op-secret-function"
    end
    for i, client in ipairs { kept.client, opperchat.client { base_url = kept.server.url,
      api_key = key, headers = { Authorization = "Bearer secret", Cookie = "secret" },
      proxy = "", name = "secret-name" } } do
      local path, saved = kept.path(), kept.path("saved")
      local chat = assert(opperchat.conversation { client = client, model = "m", journal = path,
        on_drop = print })
      assert(chat:send("Hi"))
      assert(chat:save(saved))
      for _, text in ipairs { kept.read(path), kept.read(saved), chat:export() } do
        assert.is_nil(text:lower():find("secret"), i .. text)
        assert.is_nil(text:find("127.0.0.1", 1, true))
      end
      chat:close()
    end
  end)

  it("that somebody has broken by hand is mended", function()
    local header = '{"opperchat":1,"options":{"model":"m"},"trace_id":"t"}\n'
    local path = kept.path()
    kept.write(path, header
      .. '{"append":[{"role":"user","content":"a"},{"role":"tool","content":"1",'
      .. '"tool_call_id":"x"},{"role":"assistant","content":"b"}],"pinned":[1],'
      .. '"usage":{"requests":2,"cost":0.5,"odd":"x"}}\n')
    local chat, report = opperchat.load(path, { client = kept.client })
    assert.truthy(chat, report)
    assert.equal(2, #chat)
    assert.equal("orphan_result", report.repaired[1].code)
    assert.is_true(chat:messages(1, 1)[1].pinned)
    assert.equal(0.5, chat:usage().cost)
    assert(chat:send("on"))
    assert.equal("t", kept.last_request().headers["x-opper-trace-id"])
    -- a journal leaves it alone: it would have to write over it
    local text = kept.read(path)
    failed("bad_line", opperchat.conversation { journal = path })
    failed("bad_line", opperchat.load(path, { journal = path }))
    assert.equal(text, kept.read(path))
    -- a copy may begin one, or the mended one takes its place
    local copy = assert(opperchat.load(path, { journal = kept.path("copy") }))
    kept.check(copy, kept.folder .. "/copy")
    copy:close()
    assert(assert(opperchat.load(path)):save(path))
    assert.is_nil(select(2, opperchat.load(path)).repaired)
    -- with a torn end
    kept.write(path, text .. '{"append":[{"ro')
    chat, report = opperchat.load(path)
    assert.equal(2, #chat)
    assert.same({ line = 3, bytes = 15 }, report.torn)
    assert.equal(1, #report.repaired)
  end)

  it("or is refused when its lines make no sense", function()
    local header = '{"opperchat":1}\n'
    local wrong = '{"append":[{"role":"tool","content":"1","tool_call_id":"x"}]}\n'
    for _, line in ipairs { '{"splice":5}', '{"splice":"x"}', '{"splice":[0,1]}', "x", "[",
      '{"splice":[1,9]}', '{"splice":[1.5,0]}', '{"options":{"model":1}}' } do
      local path = kept.write(kept.path(), header .. wrong .. line .. "\n")
      failed("bad_line", opperchat.load(path))
    end
    for _, line in ipairs { '{"usage":5}', '{"usage":{"cost":{}}}', '{"append":5}', '{"with":{}}',
      '{"pinned":7,"append":[1,"x",{}]}', '{"pinned":["x",{},9],"append":[]}', "" } do
      local path = kept.write(kept.path(), header .. wrong .. line .. "\n")
      local chat, report = opperchat.load(path)
      assert.truthy(chat, tostring(report) .. line)
      assert.is_true((opperchat.history.check(chat:messages())))
      assert.truthy(#report.repaired > 0)
    end
  end)
end)

describe("a plain list", function()
  it("goes out and comes back byte for byte", function()
    local chat = rich()
    chat:append { role = "user", content = "\1\127 \195\169 \\ \" /" }
    local text = chat:export()
    local back, report = opperchat.import(text, { client = kept.client })
    assert.truthy(back, report)
    assert.same({}, report)
    assert.equal(text, back:export())
    -- numbers and fields as others write them, and calls that are open
    text = '[{"content":"a\\/b \\u00e9","role":"user","n":1.50,"big":12345678901234567890,'
      .. '"none":null},{"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f",'
      .. '"arguments":"{}"},"id":"c","type":"function"}]}]'
    back = assert(opperchat.import(text))
    assert.equal(text, back:export())
    assert.equal("[]", opperchat.import("[]"):export())
    assert.equal(2, #opperchat.import(json.decode(text)))
  end)

  it("may be pretty, pinned, a table, or within a request", function()
    local back = assert(opperchat.import('[\n  {\n    "role": "user",\n    "content": "a"\n  }]\n'))
    assert.equal('[{"role":"user","content":"a"}]', back:export())
    back = assert(opperchat.import('[{"role":"user","content":"a","pinned":true}]'))
    assert.equal('[{"role":"user","content":"a"}]', back:export())
    assert.is_true(back:messages(1, 1)[1].pinned)
    back = assert(opperchat.import('{"model":"x","messages":[{"role":"user","content":"a"}]}',
      { system = "s", model = "m" }))
    assert.equal('{"model":"m","messages":[{"role":"system","content":"s"},'
      .. '{"role":"user","content":"a"}]}', back:preview())
    back = assert(opperchat.import('[{"role":"user","content":"a"}]', { system = "s" }))
    assert.equal("s", back:messages(1, 1)[1].content)
    back = assert(opperchat.import({ { role = "user", content = "a" } }))
    assert.equal(1, #back)
    assert.equal(0, #assert(opperchat.import({})))
  end)

  it("is mended where it has to be", function()
    local function report_of(list)
      local chat, report = opperchat.import(list)
      assert.truthy(chat, report)
      assert.is_true((opperchat.history.check(chat:messages())))
      -- what is good now needs no mending
      assert.same({}, select(2, opperchat.import(chat:export())))
      return chat, report
    end
    local chat, report = report_of {
      { role = "user", content = "a" },
      { role = "tool", content = "1", tool_call_id = "nobody" },
      { role = "assistant", tool_calls = { kept.call("c1"), kept.call("c2") } },
      { role = "tool", content = "2", tool_call_id = "c2" },
      { role = "user", content = "b" },
      { role = "robot", content = "c" }, "text", { role = "assistant" },
    }
    assert.equal(5, #chat)
    assert.truthy(#report >= 4)
    assert.equal(opperchat.history.INTERRUPTED, chat:messages()[4].content)
    chat = report_of('[{"role":"tool","content":"x","tool_call_id":"1"},[],1,null,"x"]')
    assert.equal(0, #chat)
  end)

  it("can begin a journal, and only begin one", function()
    local path = kept.path()
    local chat, report = opperchat.import('[{"role":"user","content":"a"}]',
      kept.options { journal = path, system = "s" })
    assert.truthy(chat, report)
    kept.check(chat, path)
    assert(chat:send())
    kept.check(chat, path)
    chat:close()
    local text = kept.read(path)
    failed("file_exists", opperchat.import("[]", { journal = path }))
    assert.equal(text, kept.read(path))
  end)

  it("is nothing else", function()
    for _, text in ipairs { "", "null", "5", '"x"', '{"a":1}', "[", "[1,]", '{"messages":5}' } do
      failed("bad_list", opperchat.import(text))
    end
    raises("import: JSON text or list of messages expected, got nil",
      function() opperchat.import() end)
    raises("import: the messages are those that are imported",
      function() opperchat.import("[]", { messages = {} }) end)
    raises("import: unknown option 'modle' (did you mean 'model'?)",
      function() opperchat.import("[]", { modle = "m" }) end)
    local chat = opperchat.conversation()
    chat:close()
    raises("conversation is closed", function() chat:export() end)
    raises("conversation is closed", function() chat:save("x") end)
  end)
end)

describe("a fork", function()
  it("of a conversation with a journal has none", function()
    local chat, path = kept.new { system = "s" }
    assert(chat:send("a"))
    assert(chat:send("b"))
    local text = kept.read(path)
    local fork, message = chat:fork_at(2)
    assert.equal("b", message.content)
    assert(fork:send("c"))
    assert(chat:fork():send("d"))
    assert(fork:retry())
    assert.equal(text, kept.read(path))
    -- saved, and loaded with one, it has
    local copy = kept.path("copy")
    assert(fork:save(copy))
    fork = assert(opperchat.load(copy, { client = kept.client, journal = copy }))
    assert(fork:send("e"))
    kept.check(fork, copy)
    assert.equal(5 + 2, #fork)
    fork:close()
    -- a journal is made shorter the same way
    chat:undo()
    raises("save: the journal of this conversation is up to date; "
      .. "another file would take its place",
      function() chat:save(path) end)
    chat:close()
    local before = #kept.lines(path)
    assert(assert(opperchat.load(path)):save(path))
    assert.truthy(#kept.lines(path) < before)
    chat = assert(opperchat.load(path, { journal = path, client = kept.client }))
    kept.check(chat, path)
    assert.equal(core.state(chat).journal.path, path)
    chat:close()
  end)
end)
