-- The log: what a client writes down of its requests, and what it does not.

local opperchat = require "opperchat"
local log = require "opperchat.log"
local Server = require "spec.support.server"
local shell = require "spec.support.shell"
local with = require "spec.support.with"

local KEY = "op-5ecret-Key.0123456789"

describe("debug", function()
  local server = Server.for_tests()
  local lines

  before_each(function()
    lines = {}
    collectgarbage()
  end)

  local function write(line)
    lines[#lines + 1] = line
  end

  local function talk(given)
    local client = opperchat.client(with({
      base_url = server.url, api_key = KEY, debug = write, max_retries = 0,
    }, given))
    return opperchat.conversation { client = client, model = "test/model" }, client
  end

  -- All lines, checked: each is one, without the key.
  local function text()
    local all = table.concat(lines, "\n")
    for _, line in ipairs(lines) do
      assert.truthy(line:find("^opperchat #%d+ [<>!] "), line)
      assert.falsy(line:find("%c"), line)
      assert.truthy(#line < 70000)
    end
    assert.falsy(all:find(KEY, 1, true), all)
    assert.falsy(all:find("s3same", 1, true), all)
    return all
  end

  local function has(part)
    assert.truthy(text():find(part, 1, true), part .. " is not in:\n" .. text())
  end

  it("writes down requests and answers", function()
    server:reply { body = { id = "x", model = "m", choices = { { finish_reason = "stop",
      message = { role = "assistant", content = "A line.\nAnother\tone." } } },
      usage = { prompt_tokens = 7, completion_tokens = 5, total_tokens = 12, cost = 0.25 } },
      headers = { ["X-Opper-Trace-Id"] = "trace-1" } }
    local chat = talk { base_url = server.url:gsub("//", "//joe:s3same@") }
    chat:append("system", "Be brief.")
    assert(chat:send("hello"))
    has("> POST " .. server.url .. "/chat/completions, 2 messages, about ")
    has('> {"model":"test/model","messages":[{"role":"system","content":"Be brief."},')
    has("< HTTP 200, stop, ")
    has("1 attempt, 7+5 tokens, $0.250000, trace trace-1")
    has("A line.\\nAnother\\tone.")
    assert.equal(4, #lines)
    -- numbers tell requests apart
    local number = lines[1]:match("#%d+")
    assert(chat:send("again", { stream = true }))
    has("4 messages")
    has("as a stream")
    assert.truthy(lines[5]:match("#%d+") ~= number)
  end)

  it("writes down failures and what is done about them", function()
    server:reply { status = 503, body = "busy", headers = { ["Retry-After-Ms"] = "30" } }
    server:reply { status = 404, body = '{"error":{"message":"no such model","code":"no_model"}}' }
    local told = 0
    local chat = talk { max_retries = 2, on_retry = function() told = told + 1 end }
    assert(chat:send("hello", { fallback_models = { "test/other" } }))
    has("! http (http_status, HTTP 503)")
    has("(attempt 1 failed)")
    has("! api (no_model, HTTP 404): no such model; sent again with a shorter list, or to another")
    has("3 attempts")
    assert.equal(1, told)
    lines = {}
    chat = talk { base_url = "http://127.0.0.1:9/v1" }
    assert.is_nil((chat:send("hello")))
    has("! network (connection_refused)")
    assert.equal(3, #lines)
  end)

  it("writes down a key that was renewed", function()
    server:reply { status = 401, body = '{"error":"invalid bearer token ' .. KEY .. '"}' }
    local chat = talk { api_key = function() return KEY end }
    assert(chat:send("hello"))
    has("HTTP 401): invalid bearer token ****")
    has("sent again with another key")
  end)

  it("writes down tools, models and what is cut short", function()
    server:reply { body = { choices = { { finish_reason = "tool_calls", message = {
      role = "assistant", tool_calls = { { id = "1", type = "function",
        ["function"] = { name = "f", arguments = '{"a":1}' } } } } } } } }
    local chat, client = talk()
    assert(chat:send("hello"))
    has('< f({"a":1})')
    lines = {}
    server:reply { body = { data = { { id = "m1" } } } }
    assert(client:models())
    has("> GET " .. server.url .. "/models")
    has('"id":"m1"')
    lines = {}
    server:script { { "send", "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: "
      .. '{"choices":[{"index":0,"delta":{"content":"It was"}}]}\n\n' }, { "close" } }
    assert.is_nil((opperchat.conversation { client = client }:send("hello", { stream = true })))
    has("! truncated")
    has("< It was")
  end)

  it("cuts what is long, and data", function()
    local chat = talk()
    local long = ("word "):rep(2000)
    assert(chat:send({ opperchat.image { data = "\137PNG\r\n\26\n" .. ("\0"):rep(5000) }, long }))
    has("...<")
    has(" bytes more>")
    for _, line in ipairs(lines) do
      assert.truthy(#line < 2200, #line)
    end
    assert.truthy(#lines[1] < 200)
    -- not in the middle of a character
    lines = {}
    for i = 0, 3 do
      chat = talk()
      assert(chat:send(("x"):rep(i) .. ("\226\130\172 "):rep(1000)))
    end
    for line in text():gmatch("[^\n]+") do
      assert.falsy(line:find("[\226\130] %.%.%.<"), line:sub(-60))
    end
  end)

  it("hides keys in bodies and headers", function()
    local other = "another-s3same-key-0123456789"
    local chat = talk {
      debug = write, headers = {
        ["X-Api-Key"] = other, ["X-Session-Token"] = "short", Cookie = "a=" .. other .. "; b=2",
        ["X-Plain"] = "plain",
      },
    }
    require("opperchat.core").state(require("opperchat.core").state(chat).options.client).log
      .level = 2
    server:reply { body = { choices = { { finish_reason = "stop", message = {
      role = "assistant", content = "your key is " .. KEY .. " or " .. other } } } },
      headers = { ["Set-Cookie"] = "session=s3same-0123456", ["X-Echo"] = KEY,
        ["X-Other"] = "seen" } }
    assert(chat:send("my key is " .. KEY .. " and " .. other))
    has("Authorization: <redacted>")
    has("X-Api-Key: <redacted>")
    has("X-Session-Token: <redacted>")
    has("Cookie: <redacted>")
    has("X-Plain: plain")
    has("Set-Cookie: <redacted>")
    has("X-Other: seen")
    has("my key is ****")
    has("your key is ****")
    assert.falsy(text():find("short", 1, true))
  end)

  it("is not hurt by what its function raises", function()
    local output = shell.run_lua(([[
      local opperchat = require "opperchat"
      local client = opperchat.client{ base_url = %q, debug = function() error("disk full") end }
      print(assert(opperchat.conversation{ client = client }:send("hello")).content)
    ]]):format(server.url))
    assert.truthy(output:find("the debug function failed: ", 1, true), output)
    assert.truthy(output:find("\nok\n", 1, true), output)
  end)

  it("goes to stderr, or nowhere", function()
    local function run(environment, option)
      local output = shell.run_lua(([[
        local opperchat = require "opperchat"
        local client = opperchat.client{ base_url = %q, api_key = %q, debug = %s }
        assert(opperchat.conversation{ client = client }:send("hello"))
      ]]):format(server.url, KEY, option), ">/dev/null env -u OPPERCHAT_DEBUG " .. environment)
      assert.falsy(output:find(KEY, 1, true), output)
      local count = 0
      for _ in output:gmatch("\n") do
        count = count + 1
      end
      return count
    end
    assert.equal(0, run("", "nil"))
    assert.equal(0, run("", "false"))
    assert.equal(4, run("", "true"))
    assert.equal(4, run("", "1"))
    assert.equal(0, run("OPPERCHAT_DEBUG=0", "nil"))
    assert.equal(0, run("OPPERCHAT_DEBUG=", "nil"))
    assert.equal(4, run("OPPERCHAT_DEBUG=1", "nil"))
    assert.equal(4, run("OPPERCHAT_DEBUG=yes", "nil"))
    assert.equal(0, run("OPPERCHAT_DEBUG=1", "false"))
    assert.equal(4, run("OPPERCHAT_DEBUG=2", "1"))
    local most = run("OPPERCHAT_DEBUG=2", "nil")
    assert.truthy(most > 8)
    assert.equal(most, run("OPPERCHAT_DEBUG=1", "2"))
    assert.equal(most, run("OPPERCHAT_DEBUG=2", "true"))
  end)

  it("takes logins out of addresses", function()
    for url, wanted in pairs {
      ["https://joe:s3same@host/v1"] = "https://host/v1", ["joe:s3@same@host:80"] = "host:80",
      ["https://host/a@b"] = "https://host/a@b", ["http://[::1]:80/"] = "http://[::1]:80/",
      ["socks5h://x@y"] = "socks5h://y", host = "host", [""] = "",
    } do
      assert.equal(wanted, log.without_login(url))
    end
  end)
end)
