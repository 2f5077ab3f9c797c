-- The list of models: every shape in which servers send it, how long it is
-- kept, who waits for it, and what goes wrong.

local core = require "opperchat.core"
local opperchat = require "opperchat"
local models = require "opperchat.models"
local Server = require "spec.support.server"
local with = require "spec.support.with"
local poll_until = require "spec.support.poll_until"
local offline = dofile("examples/support/offline.lua")

local KEY = "op-5ecret-Key.0123456789"

local LIST = [[{"object":"list","data":[
  {"id":"zeta/big","object":"model","created":0,"owned_by":"zeta","context_length":200000,
   "pricing":{"prompt":"0.000003","completion":"0.000015"},"opper":{"region":"eu","tags":[]}},
  {"id":"alpha/Small","object":"model","created":1,"owned_by":"alpha"}
]}]]

local server = Server.for_tests()
local client

local function new_client(more)
  return opperchat.client(with({
    base_url = server.url, api_key = KEY, timeout = { first_token = 20 }, max_retries = 0,
  }, more))
end

local function ids(list)
  local result = {}
  for i, model in ipairs(list) do
    result[i] = model.id
  end
  return result
end

-- The only model in what a server sent.
local function read_one(entry)
  local list = assert(models.read('{"object":"list","data":[' .. entry .. "]}"))
  assert.equal(1, #list)
  return list[1]
end

local function raises(pattern, f)
  local ok, message = pcall(f)
  assert.is_false(ok, "nothing was raised")
  assert.truthy(message:find("models_spec%.lua:%d+: "), message)
  assert.truthy(message:find(pattern), message)
end

describe("a list of models", function()
  it("comes as OpenAI's, with Opper's fields", function()
    local list = assert(models.read(LIST))
    assert.same({ "zeta/big", "alpha/Small" }, ids(list))
    local model = list[1]
    assert.equal(200000, model.context_length)
    assert.equal("200000", tostring(model.context_length))
    assert.near(0.000003, model.price.prompt, 1e-12)
    assert.near(0.000015, model.price.completion, 1e-12)
    assert.equal("zeta", model.owned_by)
    assert.equal("eu", model.raw.opper.region)
    assert.equal("0.000003", model.raw.pricing.prompt)
    assert.is_nil(list[2].price)
    assert.is_nil(list[2].context_length)
  end)

  it("comes as Opper's own, with models in it", function()
    local list = assert(models.read([[{"models":[{"id":"a/b","type":"llm","provider":"a",
      "name":"B","model_id":"b","context_window":128000,"pricing":{"input":[],"output":[]}}],
      "total":1,"offset":0,"limit":50}]]))
    assert.same({ "a/b" }, ids(list))
    assert.equal(128000, list[1].context_length)
    assert.equal("a", list[1].owned_by)
    assert.is_nil(list[1].price)
  end)

  it("comes as Ollama's, where a model has a name", function()
    local list = assert(models.read([[{"models":[
      {"name":"llama3:8b","model":"llama3:8b-x","details":{}},{"name":"old"}]}]]))
    assert.same({ "llama3:8b-x", "old" }, ids(list))
  end)

  it("comes as llama.cpp's, which has both", function()
    local list = assert(models.read([[{"models":[{"name":"x.gguf","model":"x.gguf"}],
      "object":"list","data":[{"id":"x.gguf","owned_by":"llamacpp",
      "meta":{"n_ctx_train":32768,"n_params":1}}]}]]))
    assert.same({ "x.gguf" }, ids(list))
    assert.equal(32768, list[1].context_length)
    assert.equal("llamacpp", list[1].owned_by)
  end)

  it("comes as a bare list", function()
    assert.same({ "b", "a" }, ids(assert(models.read('[{"id":"b"},{"id":"a"}]'))))
  end)

  it("may be empty", function()
    for _, text in ipairs{
      "[]", '{"data":[]}', '{"models":[ ]}', '{"object":"list","data":null}',
    } do
      assert.same({}, (assert(models.read(text))), text)
    end
  end)

  it("has the context length under many names", function()
    for _, fields in ipairs{
      '"context_length":4096', '"context_window":4096', '"max_model_len":4096',
      '"max_context_length":4096', '"n_ctx":4096', '"meta":{"n_ctx":4096,"n_ctx_train":8192}',
      '"meta":{"n_ctx_train":4096}', '"top_provider":{"context_length":4096}',
      '"context_length":"4096"', '"context_length":4096.0', '"context_length":4.096e3',
      '"context_length":null,"max_model_len":4096', '"context_length":0,"n_ctx":4096',
    } do
      local model = read_one('{"id":"m",' .. fields .. "}")
      assert.equal("4096", tostring(model.context_length), fields)
    end
    for _, fields in ipairs{
      '"context_length":-1', '"context_length":"many"', '"context_length":1e300',
      '"context_length":{}', '"meta":7', '"context_length":"inf"', '"context_length":true',
    } do
      assert.is_nil(read_one('{"id":"m",' .. fields .. "}").context_length, fields)
    end
  end)

  it("has prices as texts or numbers, or in part, or none that is one", function()
    local function price_of(pricing)
      return read_one('{"id":"m","pricing":' .. pricing .. "}").price
    end
    assert.same({ prompt = 0.5, completion = 0 }, price_of('{"prompt":"0.5","completion":"0"}'))
    assert.same({ prompt = 0.5, completion = 0.25 }, price_of('{"prompt":0.5,"completion":0.25}'))
    assert.same({ prompt = 2 ^ -10 }, price_of('{"prompt":"9.765625e-4"}'))
    -- OpenRouter's way to say that it depends
    assert.is_nil(price_of('{"prompt":"-1","completion":"-1"}'))
    assert.is_nil(price_of('{"prompt":"","completion":"free"}'))
    assert.is_nil(price_of('{"input":3,"output":15}'))
    assert.is_nil(price_of('"cheap"'))
    assert.is_nil(price_of("null"))
  end)

  it("leaves out what has no id", function()
    local list = assert(models.read('[{"id":"a"},{"id":""},7,"x",{"object":"model"},{"id":"b"}]'))
    assert.same({ "a", "b" }, ids(list))
  end)

  it("is not any other JSON", function()
    for _, text in ipairs{
      "{}", "null", "7", '"models"', '{"object":"model","id":"m"}', '{"data":{"id":"m"}}',
      '{"data":"none"}', '[1,2]', '{"data":[{"object":"model"}]}',
    } do
      local list, problem = models.read(text)
      assert.is_nil(list, text)
      assert.equal("string", type(problem), text)
    end
  end)
end)

describe("client:models", function()
  before_each(function()
    client = new_client()
  end)

  after_each(function()
    client:close()
  end)

  it("gets the list with the client's key and headers", function()
    client = new_client{ headers = { ["X-Team"] = "owls" } }
    server:reply{ body = LIST }
    assert.same({ "zeta/big", "alpha/Small" }, ids(assert(client:models())))
    local asked = server:requests()[1]
    assert.equal("GET", asked.method)
    assert.equal("/v1/models", asked.path)
    assert.equal("", asked.body)
    assert.equal("Bearer " .. KEY, asked.headers.authorization)
    assert.equal("owls", asked.headers["x-team"])
    assert.equal("application/json", asked.headers.accept)
    assert.is_nil(asked.headers["content-type"])
    assert.is_nil(asked.headers["content-length"])
    assert.equal(0, client:active())
  end)

  it("lets a program have its own Accept header", function()
    client = new_client{ headers = { accept = "*/*" } }
    server:reply{ body = LIST }
    assert(client:models())
    assert.equal("*/*", server:requests()[1].headers.accept)
  end)

  it("asks a function for the key and tells on_request", function()
    local told
    client = new_client{
      api_key = function() return "from-a-function" end,
      on_request = function(info) told = info end,
    }
    server:reply{ body = LIST }
    assert(client:models())
    assert.equal("Bearer from-a-function", server:requests()[1].headers.authorization)
    assert.same({ url = server.url .. "/models" }, told)
  end)

  it("keeps the list, and asks again when told to", function()
    server:reply{ body = LIST }
    assert.equal(2, #assert(client:models()))
    assert.equal(2, #assert(client:models()))
    assert.equal("alpha/Small", client:model("alpha/Small").id)
    assert.equal(1, #server:requests())
    server:reply{ body = '[{"id":"new"}]' }
    assert.same({ "new" }, ids(assert(client:models{ refresh = true })))
    assert.same({ "new" }, ids(assert(client:models())))
    assert.equal(2, #server:requests())
    server:reply{ body = LIST }
    assert.equal(2, #assert(client:models{ max_age = 0 }))
    assert.equal(3, #server:requests())
    opperchat.sleep(0.05)
    assert.equal(2, #assert(client:models{ max_age = 60 }))
    server:reply{ body = LIST }
    assert.equal(2, #assert(client:models{ max_age = 0.01 }))
    assert.equal(4, #server:requests())
  end)

  it("keeps the list through a failure to renew it", function()
    server:reply{ body = LIST }
    assert(client:models())
    server:reply{ status = 503, body = "busy" }
    local list, err = client:models{ refresh = true }
    assert.is_nil(list)
    assert.equal("http", err.kind)
    assert.is_true(err.retryable)
    assert.equal(2, #assert(client:models()))
  end)

  it("is not changed by what callers do to their lists", function()
    server:reply{ body = LIST }
    local list = assert(client:models())
    list[1].id, list[1].price.prompt, list[1].raw.opper.region = "x", 7, "us"
    table.remove(list)
    client:model("zeta/big").price.prompt = 8
    client:models(function(model) model.id = "y" end)
    local model = assert(client:models())[1]
    assert.equal("zeta/big", model.id)
    assert.near(0.000003, model.price.prompt, 1e-12)
    assert.equal("eu", model.raw.opper.region)
    assert.equal(2, #client:models())
  end)

  it("filters by a text or with a function", function()
    server:reply{ body = LIST }
    assert.same({ "alpha/Small" }, ids(assert(client:models("SMALL"))))
    assert.same({ "zeta/big", "alpha/Small" }, ids(assert(client:models("/"))))
    assert.same({}, ids(assert(client:models("a.*"))))
    assert.same({ "zeta/big" }, ids(assert(client:models{ filter = "big" })))
    assert.same({ "zeta/big" }, ids(assert(client:models(function(model)
      return (model.context_length or 0) > 100000
    end))))
    assert.equal(1, #server:requests())
    local ok, message = pcall(client.models, client, function() error("mine", 0) end)
    assert.is_false(ok)
    assert.equal("mine", message)
  end)

  it("finds one model", function()
    server:reply{ body = LIST }
    assert.equal("alpha", client:model("alpha/Small").owned_by)
    local model, err = client:model("alpha/small")
    assert.is_nil(model)
    assert.is_nil(err)
    server:reply{ status = 500, body = "no" }
    client = new_client()
    model, err = client:model("alpha/Small")
    assert.is_nil(model)
    assert.equal("http", err.kind)
  end)

  it("returns what goes wrong as an error of the usual kinds", function()
    local cases = {
      { { status = 401, body = '{"error":{"code":"invalid_api_key","message":"no"}}' },
        "api", "invalid_api_key", 401 },
      { { status = 404, body = "<html><h1>Not Found</h1></html>" }, "http", "http_status", 404 },
      { { status = 500, body = "" }, "http", "http_status", 500 },
      { { body = "<html>Log in</html>" }, "protocol", "bad_json", 200 },
      { { body = "event: x\n" }, "protocol", "bad_json", 200 },
      { { body = "" }, "protocol", "empty_response", 200 },
      { { status = 204, body = "" }, "protocol", "empty_response", 204 },
      { { body = "{}" }, "protocol", "bad_response", 200 },
      { { body = LIST .. "," }, "protocol", "bad_json", 200 },
      { { body = '["\255"]' }, "protocol", "bad_utf8", 200 },
      { { body = '{"error":{"message":"no","code":"quota"}}' }, "api", "quota", 200 },
      { { body = ("["):rep(600) }, "limit", "nesting_too_deep", 200 },
      { { status = 302, headers = { Location = "http://127.0.0.1:9/" }, body = "" },
        "http", "redirect", 302 },
    }
    for i, case in ipairs(cases) do
      server:reply(case[1])
      local list, err = client:models()
      assert.is_nil(list, i)
      assert.equal(case[2] .. " " .. case[3], err.kind .. " " .. err.code, i)
      assert.equal(case[4], err.status, i)
      assert.equal(1, err.attempts, i)
      assert.truthy(tostring(err):find("^%l+ error "), i)
    end
    -- none of them was kept
    server:reply{ body = '{"error":null,"data":[{"id":"a"}]}' }
    assert.same({ "a" }, ids(assert(client:models())))
  end)

  it("has the limits and deadlines of the client", function()
    client = new_client{ max_response_bytes = 100 }
    server:reply{ body = LIST }
    local _, err = client:models()
    assert.equal("response_too_large", err.code)
    client = new_client{ timeout = { first_token = 0.05 } }
    server:script{ { "stall" } }
    _, err = client:models()
    assert.equal("first_token_timeout", err.code)
    client = new_client{ timeout = { idle = 0.05 } }
    server:script{
      { "send", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{" }, { "stall" },
    }
    _, err = client:models()
    assert.equal("idle_timeout", err.code)
    server:script{ { "hangup_before_reading" } }
    client = new_client()
    _, err = client:models()
    assert.equal("connection_lost", err.code)
    server:script{
      { "send", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n[]" }, { "close" },
    }
    _, err = client:models()
    assert.equal("truncated", err.code)
  end)

  it("follows a redirect within the server", function()
    server:reply{ status = 307, headers = { Location = "/v2/models" }, body = "moved" }
    server:reply{ body = LIST }
    assert.equal(2, #assert(client:models()))
    assert.equal("/v2/models", server:requests()[2].path)
    assert.equal("GET", server:requests()[2].method)
  end)

  it("never shows the key", function()
    server:reply{ status = 401, body = { error = { message = "bad key " .. KEY, code = KEY } } }
    local _, err = client:models()
    for name, value in pairs(err) do
      assert.is_nil(tostring(value):find(KEY, 1, true), name)
    end
    server:reply{ body = '"' .. KEY .. '"' }
    _, err = client:models()
    assert.is_nil(tostring(err):find(KEY, 1, true))
    server:reply{ body = "Key " .. KEY .. " refused" }
    _, err = client:models()
    assert.equal("protocol", err.kind)
    assert.is_nil(tostring(err):find(KEY, 1, true))
  end)

  it("sends nothing without a key where one is needed", function()
    client = opperchat.client{ base_url = "https://api.opper.ai/v3/compat", api_key = "" }
    local list, err = client:models()
    assert.is_nil(list)
    assert.equal("missing_api_key", err.code)
    client = new_client{ api_key = function() error("locked") end }
    list, err = client:models()
    assert.is_nil(list)
    assert.equal("missing_api_key", err.code)
    assert.same({}, server:requests())
  end)

  it("shares its connection with conversations, and keeps none busy", function()
    local chat = opperchat.conversation{ client = client, model = "m" }
    assert.equal("ok", assert(chat:send("one")).content)
    server:reply{ body = LIST }
    assert(client:models())
    assert.equal("ok", assert(chat:send("two")).content)
    assert.equal("ok", assert(chat:send(("x"):rep(100000))).content)
    server:reply{ body = LIST }
    assert(client:models{ refresh = true })
    local requests = server:requests()
    assert.equal(5, #requests)
    for i, method in ipairs{ "POST", "GET", "POST", "POST", "GET" } do
      assert.equal(method, requests[i].method)
      assert.equal(requests[1].connection, requests[i].connection)
    end
    assert.equal("two", requests[3].json.messages[3].content)
    assert.is_nil(requests[5].headers.expect)
    assert.equal("", requests[5].body)
    assert.equal(3, chat:usage().requests)
    assert.equal(6, #chat)
  end)

  it("lets other requests go on while it waits", function()
    local chat = opperchat.conversation{ client = client, model = "m" }
    local reply
    server:reply{ body = LIST, delay = 0.3 }
    local list
    opperchat.go(function() list = client:models() end)
    local sent = chat:start("Hi", { on_done = function(given) reply = given end })
    assert.equal("ok", sent:wait().content)
    assert.truthy(reply)
    assert.is_nil(list)
    assert.equal(2, #assert(client:models()))
    poll_until(function() return list end)
    assert.equal(2, #server:requests())
  end)

  it("yields inside go, and never blocks a poll", function()
    local list
    server:reply{ body = LIST, delay = 0.2 }
    local started = core.now()
    local task = opperchat.go(function()
      list = assert(client:models())
      return #list
    end)
    opperchat.poll()
    assert.truthy(core.now() - started < 0.15)
    assert.is_nil(list)
    assert.equal("running", task.state)
    assert.equal(1, client:active())
    assert.equal(2, task:wait())
    assert.equal(0, client:active())
  end)

  it("is asked once by many callers at a time", function()
    server:reply{ body = LIST, delay = 0.1 }
    local lists = {}
    for i = 1, 3 do
      opperchat.go(function() lists[i] = assert(client:models()) end)
    end
    -- and one that blocks
    lists[4] = assert(client:models("zeta"))
    poll_until(function() return lists[1] and lists[2] and lists[3] end)
    for i = 1, 3 do
      assert.equal(2, #lists[i])
    end
    assert.equal(1, #lists[4])
    assert.are_not_equal(lists[1][1], lists[2][1])
    assert.equal(1, #server:requests())
    -- a failure is theirs together, too
    server:reply{ status = 500, body = "no", delay = 0.1 }
    local failures = 0
    for _ = 1, 3 do
      opperchat.go(function()
        local list, err = client:models{ refresh = true }
        assert(not list and err.status == 500)
        failures = failures + 1
      end)
    end
    poll_until(function() return failures == 3 end)
    assert.equal(2, #server:requests())
  end)

  it("can be called within a handler", function()
    local chat = opperchat.conversation{ client = client, model = "m" }
    local list
    local sent = chat:start("Hi", {
      on_delta = function()
        server:reply{ body = LIST }
        list = list or assert(client:models())
      end,
    })
    assert.equal("ok", assert(sent:wait()).content)
    assert.equal(2, #list)
  end)

  it("ends when the client is closed", function()
    server:script{ { "stall" } }
    local list, err
    local task = opperchat.go(function() list, err = client:models() end)
    poll_until(function() return #server:requests() == 1 end)
    client:close()
    assert.equal("done", task.state)
    assert.is_nil(list)
    assert.equal("cancelled", err.kind)
    assert.equal("closed", err.code)
    raises("client is closed", function() client:models() end)
    raises("client is closed", function() client:model("a") end)
  end)

  it("leaves nothing behind when nobody waits any more", function()
    server:reply{ body = LIST, delay = 0.05 }
    local gone = setmetatable({}, { __mode = "k" })
    do
      local own = new_client()
      gone[own] = true
      opperchat.go(function() own:models() end)
    end
    collectgarbage()
    poll_until(function() return opperchat.poll() == 0 end)
    for _ = 1, 4 do
      collectgarbage()
    end
    assert.is_nil(next(gone))
  end)

  it("refuses what it does not know", function()
    raises("models: string, function or table of options expected, got number",
      function() client:models(7) end)
    raises("models: unknown option 'refesh' %(did you mean 'refresh'%?%)",
      function() client:models{ refesh = true } end)
    raises("models: option 'max_age': number expected, got string",
      function() client:models{ max_age = "1" } end)
    raises("model: id expected, got nil", function() client:model() end)
    raises("client expected, got nil", function() client.models() end)
    assert.same({}, server:requests())
  end)

  it("gets the list of the offline server", function()
    local own = assert(offline.start())
    client = new_client{ base_url = own.url }
    local list = assert(client:models())
    assert.same({ "offline" }, ids(list))
    assert.equal("opperchat", list[1].owned_by)
    own:stop()
  end)
end)
