-- TLS and proxies: which certificates are trusted, which one is shown, and the
-- way to the server.

local core = require "opperchat.core"
local opperchat = require "opperchat"
local Proxy = require "spec.support.connect_proxy"
local socket = require "socket"
local Server = require "spec.support.server"
local shell = require "spec.support.shell"
local sse = require "spec.support.sse"
local Tls = require "spec.support.tls"
local with = require "spec.support.with"
local completion = require("spec.support.completion").json

local KEY = "op-5ecret-Key.0123456789"
local PASSWORD = "wh1sper-Passw0rd"

-- Under valgrind everything takes its time.
local SLOW = os.getenv("OPPERCHAT_SLOW") and 8 or 1

-- What a program prints, its errors among it, that runs with these variables.
local function child(environment, program)
  return (shell.run_lua(program, shell.env(environment)):gsub("\n$", ""))
end

local function head(length)
  return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " .. length
    .. "\r\n\r\n"
end

describe("TLS", function()
  local server = Server.for_tests()
  local tls = Tls.for_tests(server)

  before_each(function()
    collectgarbage()
  end)

  local function test(name, f)
    it(name, function()
      if tls.problem then
        pending(tls.problem)
        return
      end
      f()
    end)
  end

  local function new_chat(given)
    local all = with({
      api_key = KEY, timeout = { connect = 20, first_token = 20, idle = 20 }, max_retries = 0,
    }, given)
    return opperchat.conversation { client = opperchat.client(all), model = "test/model" }
  end

  local function tls_chat(i, path, given)
    return new_chat(with({ base_url = tls:url(i, path), ca_file = tls.folder .. "/ca.pem" }, given))
  end

  -- Fails with this error, twice, and leaves nothing behind.
  local function fails(chat, kind, code)
    for _ = 1, 2 do
      local reply, err = chat:send("hello")
      assert.is_nil(reply, "a reply came")
      assert.equal(kind, err.kind, tostring(err))
      if code then
        assert.equal(code, err.code, tostring(err))
      end
      for _, secret in ipairs { KEY, PASSWORD, "s3same" } do
        assert.falsy(tostring(err):find(secret, 1, true), tostring(err))
      end
      assert.equal(0, #chat)
    end
    core.state(chat).options.client:close()
  end

  local function works(chat, content)
    assert.equal(content or "ok", assert(chat:send("hello")).content)
  end

  describe("trusts", function()
    test("the certificates it is told to", function()
      local chat = tls_chat(1)
      for i = 1, 3 do
        assert.equal("ok", assert(chat:send("hello " .. i)).content)
      end
      local requests = server:requests()
      assert.equal("Bearer " .. KEY, requests[1].headers.authorization)
      assert.equal("hello 3", requests[3].json.messages[5].content)
      works(tls_chat(1, nil, { base_url = tls:url(1, "/v1", "localhost") }))
      works(new_chat { base_url = tls:url(1), ca_path = tls.folder .. "/cas" })
      works(tls_chat(1, nil, { ca_path = tls.folder .. "/none" }))
    end)

    test("nobody else", function()
      local function refuses(i, given)
        given.base_url = tls:url(i)
        fails(new_chat(given), "tls", "bad_certificate")
      end
      refuses(1, {})
      refuses(1, { ca_file = tls.folder .. "/other.pem" })
      refuses(1, { ca_file = tls.folder .. "/none.pem" })
      refuses(1, { ca_file = tls.folder .. "/nginx.conf" })
      refuses(1, { ca_path = tls.folder })
      refuses(2, { ca_file = tls.folder .. "/ca.pem" })
      refuses(3, { ca_file = tls.folder .. "/ca.pem" })
      assert.equal(0, #server:requests())
    end)

    test("what the environment says, but not beside an option", function()
      local program = ([[
        local opperchat = require "opperchat"
        local client = opperchat.client{ base_url = %q, api_key = "", max_retries = 0, %%s }
        local reply, err = opperchat.conversation{ client = client }:send("hello")
        print(reply and reply.content or err.code)
      ]]):format(tls:url(1))
      local ca, other = tls.folder .. "/ca.pem", tls.folder .. "/other.pem"
      for name, value in pairs {
        SSL_CERT_FILE = ca, CURL_CA_BUNDLE = ca, SSL_CERT_DIR = tls.folder .. "/cas",
      } do
        assert.equal("ok", child({ [name] = value }, program:format("")), name)
        assert.equal("bad_certificate",
          child({ [name] = value }, program:format(("ca_file = %q"):format(other))), name)
      end
      assert.equal("bad_certificate", child({}, program:format("")))
      assert.equal("bad_certificate", child({ SSL_CERT_FILE = other }, program:format("")))
    end)

    test("anybody when it is told so, and says that", function()
      for i = 1, 3 do
        local output = child({}, ([[
          local opperchat = require "opperchat"
          local client = opperchat.client{
            base_url = %q, api_key = %q, insecure_skip_verify = true, max_retries = 0,
          }
          for i = 1, 2 do
            local reply, err = opperchat.conversation{ client = client }:send("hello")
            print(reply and reply.content or err.kind)
          end
        ]]):format(tls:url(i):gsub("//", "//joe:s3same@"), KEY))
        local warning, answers = output:match("^opperchat: ([^\n]*)\n(.*)$")
        assert.truthy(warning and warning:find("insecure_skip_verify", 1, true), output)
        assert.falsy(output:find("s3same", 1, true) or output:find(KEY, 1, true), output)
        -- the second server has nothing at this path
        assert.equal(i == 2 and "http\nhttp" or "ok\nok", answers)
      end
    end)

    it("nobody more for other values of that option", function()
      for _, value in ipairs { 1, "true" } do
        assert.is_false(pcall(opperchat.client, { insecure_skip_verify = value }))
      end
      local ok, message = pcall(opperchat.client, { verify = false })
      assert.is_false(ok)
      assert.truthy(message:find("unknown option", 1, true))
    end)
  end)

  describe("shows a certificate", function()
    test("that the server wants", function()
      local f = tls.folder
      for _, given in ipairs {
        { client_cert = f .. "/client.pem", client_key = f .. "/client.key" },
        { client_cert = f .. "/both.pem" },
        { client_cert = f .. "/client.pem", client_key = f .. "/locked.key",
          client_key_password = PASSWORD },
        { client_cert = f .. "/client.p12", client_key_password = PASSWORD },
      } do
        works(tls_chat(6, nil, given), "CN=client")
      end
    end)

    test("and fails with a wrong one, or none", function()
      local f = tls.folder
      fails(tls_chat(6, nil, { client_cert = f .. "/client.pem", client_key = f .. "/locked.key",
        client_key_password = PASSWORD .. "x" }), "tls")
      fails(tls_chat(6, nil, { client_cert = f .. "/none.pem" }), "tls", "bad_certificate")
      fails(tls_chat(6, nil, { client_cert = f .. "/client.pem",
        client_key = f .. "/stranger.key" }), "tls")
      -- nginx answers these with a page of its own
      for _, given in ipairs {
        {}, { client_cert = f .. "/stranger.pem", client_key = f .. "/stranger.key" },
      } do
        local _, err = tls_chat(6, nil, given):send("hello")
        assert.equal("http", err.kind, tostring(err))
        assert.equal(400, err.status)
        assert.truthy(err.message:find("certificate", 1, true), err.message)
      end
    end)

    it("only together with its options", function()
      local ok, message = pcall(opperchat.client, { client_key = "x.key" })
      assert.is_false(ok)
      assert.truthy(message:find("'client_key': it goes with 'client_cert'", 1, true), message)
    end)
  end)

  describe("goes through a proxy", function()
    local proxy, locked

    setup(function()
      proxy, locked = Proxy.start(), Proxy.start("joe:s3same")
    end)

    teardown(function()
      proxy:stop()
      locked:stop()
    end)

    local function here()
      return "127.0.0.1:" .. tls.ports[1]
    end

    test("that sees nothing of it", function()
      local before = #proxy:seen()
      local chat = tls_chat(1, nil, { proxy = proxy.url })
      works(chat)
      works(chat)
      -- one tunnel for both
      local seen = proxy:seen()
      assert.equal(before + 1, #seen)
      assert.equal(here() .. " open", seen[#seen])
      -- and checks certificates as before
      fails(tls_chat(1, nil, { proxy = proxy.url, ca_file = tls.folder .. "/other.pem" }),
        "tls", "bad_certificate")
      fails(tls_chat(3, nil, { proxy = proxy.url }), "tls", "bad_certificate")
    end)

    test("that wants to know who it is", function()
      local before = #locked:seen()
      works(tls_chat(1, nil, { proxy = locked.url }))
      assert.equal(here() .. " open", locked:seen()[before + 1])
      for _, url in ipairs {
        "http://" .. locked.host, "http://joe:s3samex@" .. locked.host,
      } do
        fails(tls_chat(1, nil, { proxy = url }), "network", "proxy_failed")
      end
    end)

    test("unless the host needs none", function()
      local before = #proxy:seen()
      for _, hosts in ipairs { "127.0.0.1", "example.com,127.0.0.1", "*",
        { "example.com", "127.0.0.1" } } do
        works(tls_chat(1, nil, { proxy = proxy.url, no_proxy = hosts }))
      end
      works(tls_chat(1, nil, { proxy = "" }))
      assert.equal(before, #proxy:seen())
      works(tls_chat(1, nil, { proxy = proxy.url, no_proxy = { "example.com", "localhost" } }))
      assert.equal(before + 1, #proxy:seen())
    end)

    test("of the environment", function()
      local program = ([[
        local opperchat = require "opperchat"
        local client = opperchat.client{
          base_url = %q, api_key = "", ca_file = %q, max_retries = 0, %%s
        }
        local reply, err = opperchat.conversation{ client = client }:send("hello")
        print(reply and reply.content or err.code)
      ]]):format(tls:url(1), tls.folder .. "/ca.pem")
      local plain = program:format("")
      for _, name in ipairs { "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY" } do
        local before = #locked:seen()
        assert.equal("ok", child({ [name] = locked.url }, plain))
        assert.equal(before + 1, #locked:seen(), name)
        for _, exception in ipairs { "no_proxy", "NO_PROXY" } do
          assert.equal("ok", child({ [name] = locked.url, [exception] = "127.0.0.1" }, plain))
        end
        assert.equal("ok", child({ [name] = locked.url }, program:format("proxy = ''")))
        assert.equal("ok", child({ [name] = locked.url }, program:format("no_proxy = '*'")))
        assert.equal(before + 1, #locked:seen(), name)
      end
      assert.equal("ok", child({ HTTP_PROXY = "http://127.0.0.1:9", no_proxy = "" }, plain))
      assert.equal("proxy_failed", child({ https_proxy = "http://" .. locked.host }, plain))
    end)

    test("over TLS", function()
      local given = {
        base_url = "http://opper.invalid/v1", proxy = "https://127.0.0.1:" .. tls.ports[7],
        proxy_ca_file = tls.folder .. "/ca.pem",
      }
      works(new_chat(given))
      assert.equal("/v1/chat/completions", server:requests()[1].path)
      given.proxy_ca_file = tls.folder .. "/other.pem"
      fails(new_chat(given), "tls", "bad_certificate")
      -- what is trusted as a server is not as a proxy, and checking the one is
      -- not given up with the other
      given.proxy_ca_file = nil
      given.ca_file = tls.folder .. "/ca.pem"
      fails(new_chat(given), "tls", "bad_certificate")
    end)

    it("and shows the login to nobody", function()
      for _, address in ipairs {
        "http://joe:s3same@127.0.0.1:9", "http://joe:s3same@proxy.invalid:80",
        "rubbish://joe:s3same@x", "joe:s3same@::::", "http://joe:s3same@:::x", "joe:s3same@:x:",
        "http://joe:s3@same@:x",
      } do
        local chat = new_chat { base_url = "https://opper.invalid/v1", proxy = address }
        local _, err = chat:send("hello")
        assert.equal("network", err.kind)
        for _, text in ipairs { err.message, err.code, tostring(err) } do
          assert.falsy(text:find("s3", 1, true), text)
        end
        assert.falsy(tostring(core.state(chat).options.client):find("s3", 1, true))
        assert.falsy((core.state(core.state(chat).options.client).proxy):find("s3", 1, true))
      end
    end)
  end)

  test("speaks HTTP/2 where it may", function()
    works(tls_chat(1, "/protocol"), "HTTP/2.0")
    works(tls_chat(1, "/protocol", { http2 = false }), "HTTP/1.1")
  end)

  test("sends and gets much", function()
    for _, http2 in ipairs { true, false } do
      server:reset()
      local prompt = ("0123456789"):rep(200000)
      local answer = ("abcdefghij"):rep(200000)
      server:reply { body = completion(answer) }
      local chat = tls_chat(1, nil, { http2 = http2 })
      assert.truthy(assert(chat:send(prompt)).content == answer)
      assert.truthy(server:requests()[1].json.messages[1].content == prompt)
      works(chat)
    end
  end)

  test("gets errors over HTTP/2 as over HTTP/1", function()
    for _, http2 in ipairs { true, false } do
      server:reply { status = 429, body = '{"error":"slow down"}' }
      local chat = tls_chat(1, nil, { http2 = http2 })
      local _, err = chat:send("hello")
      assert.same({ "api", 429, "slow down", true },
        { err.kind, err.status, err.message, err.retryable })
      -- nginx passes on what it got and then breaks off
      local body = completion("never seen")
      server:script { { "send", head(#body) .. body:sub(1, 30) }, { "sleep", 0.02 }, { "close" } }
      _, err = chat:send("hello")
      assert.is_true(err.retryable)
      works(chat)
      chat = tls_chat(1, nil, { http2 = http2, timeout = { first_token = 0.15 * SLOW } })
      server:script { { "stall" } }
      _, err = chat:send("hello")
      assert.equal("first_token_timeout", err.code)
      server:reset()
      works(opperchat.conversation { client = core.state(chat).options.client })
    end
  end)

  -- Starts so many requests of one client at once; what each ended with. With a
  -- path a first one has opened the connection.
  local function burst(given, count, path)
    local chat = tls_chat(1, path, given)
    local ended, requests = {}, {}
    if path then
      assert(chat:fork():send("hello"))
    end
    for i = 1, count do
      requests[i] = assert(chat:fork():start("hello", { on_done = function(reply, err)
        assert.is_nil(ended[i])
        ended[i] = reply and reply.content or err.code
      end }))
    end
    return ended, requests, core.state(chat).options.client
  end

  local function finish(client)
    local deadline = core.now() + 20
    while client:active() > 0 and core.now() < deadline do
      client:poll(0.05)
    end
    assert.equal(0, client:active())
    client:close()
  end

  test("shares a connection that is there among requests that begin together", function()
    local ended, _, client = burst(nil, 60, "/connection")
    finish(client)
    for i = 1, 60 do
      assert.truthy(ended[i]:find("^%d+$"), ended[i])
      assert.equal(ended[1], ended[i])
    end
  end)

  test("leaves the others of a connection alone when one is cancelled", function()
    local answer = head(#completion("ok")) .. completion("ok")
    server:script { { "send", answer }, { "close" } }
    server:default { steps = { { "hold" }, { "send", answer }, { "close" } } }
    local ended, requests, client = burst(nil, 6, "/v1")
    local deadline = core.now() + 10
    while server:status().held < 6 and core.now() < deadline do
      client:poll(0.01)
    end
    requests[2]:cancel()
    requests[5]:cancel()
    server:release()
    finish(client)
    server:default()
    assert.same({ "ok", "cancelled", "ok", "ok", "cancelled", "ok" }, ended)
  end)

  -- as those would that libcurl's CURLOPT_PIPEWAIT has wait for the first one
  test("does not wait in line for a connection that never comes", function()
    local silent = assert(socket.bind("127.0.0.1", 0))
    local _, port = silent:getsockname()
    local began = core.now()
    local ended, _, client = burst({ base_url = ("https://127.0.0.1:%d/v1"):format(port),
      timeout = { connect = 0.3 } }, 8)
    finish(client)
    local took = core.now() - began
    for i = 1, 8 do
      assert.equal("connect_timeout", ended[i])
    end
    assert.is_true(took < 1.5 * SLOW, took)
    silent:close()
    ended, _, client = burst({ base_url = ("https://127.0.0.1:%d/v1"):format(port) }, 8)
    finish(client)
    for i = 1, 8 do
      assert.equal("connection_refused", ended[i])
    end
  end)

  test("is never left on a redirect", function()
    for _, path in ipairs { "/down", "/same" } do
      local chat = tls_chat(1, path)
      local reply, err = chat:send("hello")
      assert.is_nil(reply)
      assert.equal("http", err.kind)
      assert.equal("redirect", err.code)
      assert.equal(307, err.status)
      assert.is_false(err.retryable)
      assert.equal(0, #chat)
    end
    assert.equal(0, #server:requests())
    assert.equal("ok", assert(tls_chat(1, "/up"):send("hello")).content)
    assert.equal("Bearer " .. KEY, server:requests()[1].headers.authorization)
  end)

  test("shares a connection with a stream that waits for its reader", function()
    local events = { sse.delta('{"role":"assistant"}') }
    for i = 2, 400 do
      events[i] = sse.text(("%04d"):format(i) .. ("x"):rep(9996))
    end
    events[401] = sse.finish()
    for _, http2 in ipairs { true, false } do
      server:reset()
      server:stream(events)
      local slow = tls_chat(1, nil, { http2 = http2, max_buffered_bytes = 50000 })
      local client = core.state(slow).options.client
      local request = slow:stream("hello")
      local parts = { request() }
      for i = 1, 5 do
        local other = opperchat.conversation { client = client, model = "m" }
        assert.equal("ok", assert(other:send("hello " .. i)).content)
        assert(other:send(("x"):rep(100000), { stream = true }))
        local waiting = #request:content() - #parts[1]
        assert.is_true(waiting <= 100000, waiting)
      end
      for piece in request do
        parts[#parts + 1] = piece
      end
      local text = table.concat(parts)
      assert.equal(399 * 10000, #text)
      assert.equal("0400x", text:sub(-10000, -9996))
      assert.equal(0, client:active())
      client:close()
    end
  end)

  test("goes on when the server sends the connection away", function()
    for _, i in ipairs { 4, 5 } do
      local chat = tls_chat(i, "/")
      for _ = 1, 7 do
        works(chat, i == 4 and "HTTP/2.0" or "HTTP/1.1")
      end
    end
  end)

  test("survives a server that is no more", function()
    -- nginx closes at once, with most of the body unread
    local output = child({}, ([[
      local opperchat = require "opperchat"
      for _, url in ipairs { %q, %q, %q } do
        local client = opperchat.client { base_url = url, ca_file = %q, max_retries = 0 }
        for _ = 1, 2 do
          local chat = opperchat.conversation { client = client }
          local _, err = chat:send(("x"):rep(3000000))
          io.write(tostring(err ~= nil), " ")
        end
      end
      io.write("alive")
    ]]):format(tls:url(5, "/small"), tls:url(5, "/small"):gsub("https", "HTTPS"),
      tls:url(1, "/small"), tls.folder .. "/ca.pem"))
    assert.equal("true true true true true true alive", output)
  end)

  it("is no match for a server that does not speak it", function()
    server:default { steps = { { "close" } } }
    local chat = new_chat {
      base_url = "https://127.0.0.1:" .. server.port, timeout = { connect = 0.2 * SLOW },
    }
    local reply = chat:send("hello")
    assert.is_nil(reply)
    assert.equal(0, #server:requests())
  end)
end)
