-- Requests that share connections: how many are opened, who waits for them, and
-- what becomes of the requests when the server gives a connection up.

local core = require "opperchat.core"
local Http2 = require "spec.support.http2"
local Nginx = require "spec.support.nginx"
local opperchat = require "opperchat"
local Server = require "spec.support.server"
local socket = require "socket"

-- Under valgrind everything takes its time.
local SLOW = os.getenv("OPPERCHAT_SLOW") and 8 or 1

local SERVERS = [[
  server {
    listen 127.0.0.1:@port1 ssl http2;
    http2_max_concurrent_streams 100;
    location / {
      return 200 '{"choices":[{"message":{"content":"$connection"}}]}';
    }
  }
  server {
    listen 127.0.0.1:@port2 ssl http2;
    keepalive_requests 20;
    location / {
      return 200 '{"choices":[{"message":{"content":"$connection"}}]}';
    }
  }
  server {
    listen 127.0.0.1:@port3 ssl;
    location / {
      proxy_pass http://127.0.0.1:@upstream;
    }
  }
]]

local function completion(content)
  return '{"choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant",'
    .. '"content":"' .. content .. '"}}]}'
end

describe("HTTP/2", function()
  local server, nginx, problem
  local python_problem = Http2.problem()

  setup(function()
    server = Server.start()
    nginx, problem = Nginx.start(SERVERS, { ports = 3, upstream = server.port })
  end)

  teardown(function()
    if nginx then
      nginx:stop()
    end
    server:stop()
  end)

  local function test(name, f)
    it(name, function()
      if problem then
        pending(problem)
        return
      end
      f()
    end)
  end

  local function new_client(url, given)
    local all = {
      base_url = url, api_key = "key", ca_file = nginx.folder .. "/ca.pem", proxy = "",
      timeout = { connect = 20, first_token = 20, idle = 20 },
    }
    for name, value in pairs(given or {}) do
      all[name] = value
    end
    return opperchat.client(all)
  end

  local function url(i)
    return "https://localhost:" .. nginx.ports[i] .. "/v1"
  end

  -- Starts so many requests at once. For each: what it was told in pieces, and
  -- how it ended, which it must do once.
  local function start(client, count, given)
    given = given or {}
    local told, ended, requests = {}, {}, {}
    for i = 1, count do
      local chat = opperchat.conversation { client = client, model = "m" }
      told[i] = ""
      local prompt = ("prompt-%d%s"):format(i, given.more or "")
      requests[i] = assert(chat:start(prompt, {
        on_delta = function(text)
          told[i] = told[i] .. text
        end,
        on_done = function(reply, err)
          assert.is_nil(ended[i], "ended twice")
          ended[i] = reply and reply.content or err.code
        end,
      }))
    end
    return ended, told, requests
  end

  local function move(client, done)
    local deadline = core.now() + 20 * SLOW
    while not done() and core.now() < deadline do
      client:poll(0.01)
    end
    assert.is_true(done(), "it takes too long")
  end

  local function finish(client)
    move(client, function()
      return client:active() == 0
    end)
    client:close()
  end

  local function distinct(values)
    local seen, count = {}, 0
    for _, value in ipairs(values) do
      count = count + (seen[value] and 0 or 1)
      seen[value] = true
    end
    return count
  end

  -- Runs `f` with a server of ours.
  local function with(options, f)
    if python_problem then
      pending(python_problem)
      return
    end
    local peer = Http2.start(nginx.folder, options)
    local ok, message = pcall(f, peer)
    peer:stop()
    assert(ok, message)
  end

  describe("opens", function()
    test("one connection for all that begin together", function()
      local client = new_client(url(1))
      local ended = start(client, 60)
      finish(client)
      for i = 1, 60 do
        assert.truthy(ended[i]:find("^%d+$"), ended[i])
        assert.equal(ended[1], ended[i])
      end
    end)

    test("one for each hundred", function()
      with({ pause = 0.1 }, function(peer)
        local client = new_client(peer.url)
        local ended, told = start(client, 250)
        finish(client)
        for i = 1, 250 do
          assert.equal("prompt-" .. i, ended[i])
          assert.equal("prompt-" .. i, told[i])
        end
        assert.equal(3, peer:count "open")
      end)
    end)

    test("what a server needs that allows fewer", function()
      with({ pause = 0.1, streams = 5 }, function(peer)
        local client = new_client(peer.url)
        local first = start(client, 1)
        move(client, function()
          return first[1] ~= nil
        end)
        local ended = start(client, 20)
        finish(client)
        for i = 1, 20 do
          assert.equal("prompt-" .. i, ended[i])
        end
        local count = peer:count "open"
        assert.is_true(count >= 4 and count <= 6, count)
      end)
    end)

    test("one for each where HTTP/1 is spoken, all at once", function()
      server:reset()
      local body = completion "ok"
      local answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
        .. #body .. "\r\n\r\n" .. body
      server:default { steps = { { "hold" }, { "send", answer }, { "close" } } }
      local client = new_client(url(3))
      for _ = 1, 2 do
        local ended = start(client, 8)
        move(client, function()
          return server:status().held == 8
        end)
        server:release()
        move(client, function()
          return client:active() == 0
        end)
        for i = 1, 8 do
          assert.equal("ok", ended[i])
        end
      end
      client:close()
      server:default()
    end)

    test("as many as it may", function()
      with({ pause = 0.02 }, function(peer)
        local client = new_client(peer.url, { max_connections = 1 })
        local ended = start(client, 130)
        finish(client)
        for i = 1, 130 do
          assert.equal("prompt-" .. i, ended[i])
        end
        assert.equal(1, peer:count "open")
      end)
    end)
  end)

  describe("has requests wait for the first connection", function()
    test("and sends them in their order", function()
      with({ handshake = 0.1 }, function(peer)
        local client = new_client(peer.url)
        start(client, 20)
        finish(client)
        local prompts = {}
        for _, words in ipairs(peer:log()) do
          if words[1] == "request" then
            -- streams have odd numbers
            prompts[(tonumber(words[3]) + 1) / 2] = words[4]
          end
        end
        for i = 1, 20 do
          assert.equal("prompt-" .. i, prompts[i])
        end
        assert.equal(1, peer:count "open")
      end)
    end)

    test("which is part of their times", function()
      with({ handshake = 0.1 }, function(peer)
        local client = new_client(peer.url)
        local _, _, requests = start(client, 4)
        finish(client)
        for i = 1, 4 do
          local timing = requests[i]:wait().timing
          assert.is_true(timing.connect >= 0.1, timing.connect)
          assert.is_true(timing.first_byte >= timing.connect, timing.first_byte)
          assert.is_true(timing.first_token >= timing.first_byte, timing.first_token)
        end
      end)
    end)

    test("but not for long", function()
      with({ handshake = 1 * SLOW }, function(peer)
        local client = new_client(peer.url)
        local ended = start(client, 8)
        finish(client)
        for i = 1, 8 do
          assert.equal("prompt-" .. i, ended[i])
        end
        local count = peer:count "open"
        assert.is_true(count > 1 and count <= 8, count)
      end)
    end)

    test("unless it is cancelled", function()
      with({ handshake = 0.15 * SLOW }, function(peer)
        local client = new_client(peer.url)
        local ended, _, requests = start(client, 8)
        client:poll()
        requests[1]:cancel()
        requests[4]:cancel()
        finish(client)
        for i = 1, 8 do
          assert.equal((i == 1 or i == 4) and "cancelled" or "prompt-" .. i, ended[i])
        end
      end)
    end)

    test("and cancels and closes those that wait", function()
      with({ handshake = 0.3 * SLOW }, function(peer)
        local client = new_client(peer.url)
        local ended, _, requests = start(client, 8)
        for i = 8, 1, -1 do
          requests[i]:cancel()
        end
        move(client, function()
          return #ended == 8
        end)
        assert.equal(0, client:active())
        ended = start(client, 8)
        client:poll()
        client:close()
        opperchat.poll()
        for i = 1, 8 do
          assert.equal("closed", ended[i])
        end
      end)
    end)

    test("within their own deadlines", function()
      local silent = assert(socket.bind("127.0.0.1", 0))
      local _, port = silent:getsockname()
      for code, timeout in pairs {
        first_token_timeout = { connect = 20, first_token = 0.2 },
        total_timeout = { connect = 20, total = 0.2 },
        connect_timeout = { connect = 0.2 },
      } do
        local client = new_client("https://127.0.0.1:" .. port .. "/v1",
          { timeout = timeout, max_retries = 0 })
        local began = core.now()
        local ended = start(client, 8)
        finish(client)
        for i = 1, 8 do
          assert.equal(code, ended[i])
        end
        assert.is_true(core.now() - began < 0.28 * SLOW + 0.5, code)
      end
      silent:close()
    end)

    test("and retries them", function()
      -- what listens there comes late
      local reserved = assert(socket.bind("127.0.0.1", 0))
      local _, port = reserved:getsockname()
      reserved:close()
      local client = new_client("https://127.0.0.1:" .. port .. "/v1", { max_retries = 1 })
      local ended, _, requests = start(client, 8)
      finish(client)
      for i = 1, 8 do
        assert.equal("connection_refused", ended[i])
        local _, err = requests[i]:wait()
        assert.equal(2, err.attempts)
      end
    end)
  end)

  describe("goes on when the server gives the connection up", function()
    -- Each is told its text once.
    local function all_are_whole(count, ended, told, more)
      for i = 1, count do
        local text = ("prompt-%d%s"):format(i, more or "")
        assert.truthy(text == ended[i], ended[i])
        assert.truthy(text == told[i], "told something else")
      end
    end

    -- How often each stream of the first connection was answered.
    local function answered(peer, connection)
      local count = 0
      for _, words in ipairs(peer:log()) do
        if words[1] == "answered" and words[2] == connection then
          count = count + 1
        end
      end
      return count
    end

    test("and has taken some of the requests", function()
      for _, accept in ipairs { 0, 1, 3, 7 } do
        with({ when = 8, accept = accept }, function(peer)
          -- libcurl sends most of the others again by itself, but not all
          local client = new_client(peer.url)
          local ended, told = start(client, 12)
          finish(client)
          all_are_whole(12, ended, told)
          assert.equal(1, peer:count "goaway")
          assert.equal(accept, answered(peer, "1"))
          assert.equal(12, peer:count "answered")
        end)
      end
    end)

    test("while one of them goes on, and others begin", function()
      with({ when = 1, accept = 1, pause = 0.5 * SLOW }, function(peer)
        local client = new_client(peer.url, { max_retries = 0 })
        local ended, told = start(client, 1)
        move(client, function()
          return peer:count "goaway" == 1 and told[1] ~= ""
        end)
        local more_ended, more_told = start(client, 50)
        move(client, function()
          return peer:count "answered" == 51
        end)
        -- one connection for all of them, and not one each
        assert.equal(2, peer:count "open")
        finish(client)
        all_are_whole(1, ended, told)
        all_are_whole(50, more_ended, more_told)
      end)
    end)

    test("with large requests", function()
      local more = ("x"):rep(100000)
      with({ when = 3, accept = 1, pieces = 20 }, function(peer)
        local client = new_client(peer.url, { max_retries = 0 })
        local ended, told = start(client, 8, { more = more })
        finish(client)
        all_are_whole(8, ended, told, more)
        assert.equal(8, peer:count "answered")
      end)
    end)

    test("and does not finish what it has taken", function()
      with({ when = 8, accept = 3, hang_up = true }, function(peer)
        local client = new_client(peer.url, { max_retries = 2 })
        local ended, told, requests = start(client, 12)
        finish(client)
        for i = 1, 12 do
          local text = "prompt-" .. i
          if ended[i] == text then
            assert.equal(text, told[i])
          else
            -- something had been told already, so nobody begins anew
            assert.is_true(i <= 3, ended[i])
            local _, err = requests[i]:wait()
            assert.equal(1, err.attempts)
            assert.equal(told[i], err.partial.content)
            assert.equal(told[i], text:sub(1, #told[i]))
          end
        end
      end)
    end)

    test("or refuses a request", function()
      with({ reset = true }, function(peer)
        local client = new_client(peer.url, { max_retries = 0 })
        local ended, told = start(client, 6)
        finish(client)
        all_are_whole(6, ended, told)
        assert.equal(6, peer:count "answered")
      end)
    end)

    test("as nginx does after so many of them", function()
      local client = new_client(url(2), { max_retries = 0 })
      for _ = 1, 3 do
        local ended = start(client, 70)
        move(client, function()
          return client:active() == 0
        end)
        for i = 1, 70 do
          assert.truthy(ended[i]:find("^%d+$"), ended[i])
        end
        assert.is_true(distinct(ended) >= 3)
      end
      client:close()
    end)
  end)
end)
