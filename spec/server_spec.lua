-- The test server itself: what the other specs rely on.

local socket = require "socket"
local Server = require "spec.support.server"

-- Sends raw bytes over a new connection and returns all that comes back until
-- the server closes, and how the reading ended.
local function exchange(server, bytes)
  local client = assert(socket.connect("127.0.0.1", server.port))
  client:settimeout(20)
  client:send(bytes)
  local data, err, partial = client:receive("*a")
  client:close()
  return data or partial, err
end

local function post(body, headers)
  return "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    .. (headers or "") .. "Content-Length: " .. #body .. "\r\n\r\n" .. body
end

describe("the test server", function()
  local server

  before_each(function()
    server = Server.start()
  end)

  after_each(function()
    server:stop()
  end)

  it("answers from its queue and then with the default", function()
    server:reply{ status = 429, headers = { ["X-One"] = "1" }, body = { error = "slow down" } }
    local first = exchange(server, post("{}"))
    assert.truthy(first:find("^HTTP/1.1 429 Too Many Requests\r\n"))
    assert.truthy(first:find("\r\nX-One: 1\r\n", 1, true))
    assert.truthy(first:find('\r\n\r\n{"error":"slow down"}', 1, true))
    assert.truthy(exchange(server, post("{}")):find('"content":"ok"', 1, true))
    assert.truthy(exchange(server, post('{"stream":true}')):find("data: [DONE]", 1, true))
    server:default{ status = 500, body = "no" }
    assert.truthy(exchange(server, post("{}")):find("^HTTP/1.1 500"))
    server:reset()
    assert.same({}, server:requests())
    assert.truthy(exchange(server, post("{}")):find("^HTTP/1.1 200"))
  end)

  it("keeps each request as it came", function()
    local binary = {}
    for byte = 0, 255 do
      binary[#binary + 1] = string.char(byte)
    end
    local body = table.concat(binary):rep(4000)
    exchange(server, post(body, "X-Name: a\r\nx-name: b\r\n"))
    exchange(server, post('{"model":"m","messages":[{"role":"user"}]}'))
    exchange(server, "POST /c HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
      .. "3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n")
    local requests = server:requests()
    assert.equal(3, #requests)
    assert.truthy(requests[1].body == body)
    assert.equal("a, b", requests[1].headers["x-name"])
    assert.equal("POST", requests[2].method)
    assert.equal("/v1/chat/completions", requests[2].path)
    assert.equal("m", requests[2].json.model)
    assert.equal("user", requests[2].json.messages[1].role)
    assert.equal("abc0123456789", requests[3].body)
    assert.is_nil(requests[3].json)
    assert.equal(3, requests[3].connection)
  end)

  it("keeps connections open and numbers them", function()
    local client = assert(socket.connect("127.0.0.1", server.port))
    client:settimeout(20)
    server:reply{ body = "one" }:reply{ body = "two" }
    for _, expected in ipairs{ "one", "two" } do
      client:send("POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
      assert.equal("HTTP/1.1 100 Continue", client:receive("*l"))
      client:receive("*l")
      client:send("{}")
      repeat
        local line = client:receive("*l")
      until line == ""
      assert.equal(expected, client:receive(3))
    end
    assert.equal(1, server:status().open)
    client:close()
    exchange(server, post("{}"))
    local requests = server:requests()
    assert.equal(1, requests[2].connection)
    assert.equal(2, requests[3].connection)
  end)

  it("streams each piece as a chunk of its own", function()
    server:stream({ "data: a\n\n", "data: b\n\n" }, { headers = { ["X-Two"] = "2" } })
    local answer = exchange(server, post("{}"))
    assert.truthy(answer:find("\r\nX-Two: 2\r\n", 1, true))
    assert.truthy(answer:find("\r\n\r\n9\r\ndata: a\n\n\r\n9\r\ndata: b\n\n\r\n0\r\n\r\n$"))
  end)

  it("plays scripts", function()
    server:script{ { "send", "HTTP/1.1 200 OK\r\n" }, { "sleep", 0.01 }, { "send", "half" },
      { "close" } }
    assert.equal("HTTP/1.1 200 OK\r\nhalf", (exchange(server, post("{}"))))
    server:script{ { "reset" } }
    assert.equal("", (exchange(server, post("{}"))))
    server:script{ { "hangup_before_reading" } }
    assert.equal("", (exchange(server, post("{}"))))
    assert.equal(2, #server:requests())
    server:script{ { "before_body" }, { "send", "HTTP/1.1 413 No\r\n\r\n" }, { "close" } }
    assert.truthy(exchange(server, "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n"):find("413"))
  end)

  it("holds a connection until it is released", function()
    server:script{ { "send", "a" }, { "hold" }, { "send", "b" }, { "close" } }
    local client = assert(socket.connect("127.0.0.1", server.port))
    client:settimeout(20)
    client:send(post("{}"))
    assert.equal("a", client:receive(1))
    client:settimeout(0.02)
    assert.is_nil(client:receive(1))
    assert.equal(1, server:release())
    client:settimeout(20)
    assert.equal("b", client:receive(1))
    client:close()
  end)

  it("ends with the process that started it", function()
    local program = [[
      package.path = "./?.lua;" .. package.path
      print(require("spec.support.server").start().port)
      io.stdout:flush()
      os.exit(3)
    ]]
    local pipe = io.popen("unset LD_PRELOAD; lua5.4 -e '" .. program .. "' 2>&1")
    local port = tonumber(pipe:read("*l"))
    pipe:close()
    assert.truthy(port)
    local refused
    for _ = 1, 200 do
      local client = socket.connect("127.0.0.1", port)
      refused = not client
      if refused then
        break
      end
      client:close()
      socket.sleep(0.02)
    end
    assert.truthy(refused)
  end)

  it("listens on more ports, and hands on what comes there", function()
    local port = server:listen()
    local relay = server:listen(nil, server.port)
    for _, one in ipairs{ port, relay } do
      local answer, err = exchange({ port = one }, post("{}"))
      assert.equal("closed", err or "closed")
      assert.truthy(answer:find('"content":"ok"', 1, true))
    end
    assert.equal(2, #server:requests())
    server:unlisten(port):unlisten(relay)
    assert.is_nil((socket.connect("127.0.0.1", port)))
    assert.is_nil((socket.connect("127.0.0.1", relay)))
    assert.equal(port, server:listen(port))
    assert.truthy(exchange({ port = port }, post("{}")):find('"content":"ok"', 1, true))
    assert.equal(0, server:status().open)
    -- nobody is there to hand it on to
    relay = server:listen(nil, port)
    server:unlisten(port)
    assert.equal("", (exchange({ port = relay }, post("{}"))))
  end)
end)
