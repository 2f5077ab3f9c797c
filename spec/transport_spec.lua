-- What can happen between a request and its answer: connections that break or
-- stall at every place, odd and hostile answers, redirects, TLS. Whatever it
-- is, the conversation stays as it was and the client goes on working.

local socket = require "socket"
local cjson = require("cjson").new()
local opperchat = require "opperchat"
local Server = require "spec.support.server"
local shell = require "spec.support.shell"
local with = require "spec.support.with"
local completion = require("spec.support.completion").json

local KEY = "op-5ecret-Key.0123456789"

-- Under valgrind everything takes its time.
local SLOW = os.getenv("OPPERCHAT_SLOW") and 8 or 1

local KINDS = {}
for kind in ("network tls timeout http api protocol truncated cancelled limit"):gmatch("%a+") do
  KINDS[kind] = true
end

local quote, succeeds, has, output_of = shell.quote, shell.succeeds, shell.has, shell.output_of

local function head(length, more)
  return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" .. (more or "")
    .. (length and "Content-Length: " .. length .. "\r\n" or "") .. "\r\n"
end

local function chunked(text)
  return ("%x\r\n%s\r\n"):format(#text, text)
end

describe("the transport", function()
  local server = Server.for_tests()

  local function new_client(given)
    return opperchat.client(with({
      base_url = server.url, api_key = KEY,
      timeout = { connect = 20, first_token = 20, idle = 20 },
      -- these specs are about one try
      max_retries = 0,
    }, given))
  end

  -- A conversation that has one turn behind it and no connection yet.
  local function new_chat(given)
    return opperchat.conversation {
      client = new_client(given), model = "test/model",
      messages = {
        { role = "system", content = "Be brief." },
        { role = "user", content = "one" }, { role = "assistant", content = "two" },
      },
    }
  end

  local function client_of(chat)
    return require("opperchat.core").state(chat).options.client
  end

  -- An error as every one is to be.
  local function check_error(err)
    assert.equal("table", type(err))
    assert.truthy(KINDS[err.kind], tostring(err.kind))
    assert.truthy(type(err.code) == "string" and err.code ~= "")
    assert.truthy(type(err.message) == "string" and err.message ~= "")
    assert.equal("boolean", type(err.retryable))
    assert.falsy(tostring(err):find("[\r\n]"))
    assert.falsy(tostring(err):find(KEY, 1, true))
  end

  -- Sends, expects this error, and that nothing else has changed: the list is
  -- as it was and the next send works.
  local function fails(chat, wanted)
    local before = chat:messages()
    collectgarbage()
    local reply, err = chat:send("hello")
    collectgarbage()
    assert.is_nil(reply, "a reply came")
    check_error(err)
    for name, value in pairs(wanted) do
      assert.same({ [name] = value }, { [name] = err[name] }, tostring(err))
    end
    assert.equal(#before, #chat)
    assert.same(before, chat:messages())
    assert.equal(0, client_of(chat):active())
    server:reset()
    assert.equal("ok", assert(chat:send("again")).content)
    assert.equal(#before + 2, #chat)
    assert.equal("again", server:last_request().json.messages[#before + 1].content)
    chat:undo()
    return err
  end

  -- Waits until nobody is connected: "hangup_before_reading" is for whoever
  -- stirs next, and a connection that is closed does.
  local function quiet()
    collectgarbage()
    collectgarbage()
    local deadline = socket.gettime() + 5
    while server:status().open > 0 and socket.gettime() < deadline do
      socket.sleep(0.005)
    end
  end

  -- The same with a scripted answer.
  local function breaks(steps, wanted, given)
    local chat = new_chat(given)
    server:script(steps)
    fails(chat, wanted)
    return chat
  end

  describe("that finds no server", function()
    -- The next send would fail as well.
    local function cannot_send(given, wanted)
      local chat = new_chat(given)
      for _ = 1, 2 do
        local reply, err = chat:send("hello")
        assert.is_nil(reply)
        check_error(err)
        for name, value in pairs(wanted) do
          assert.equal(value, err[name], tostring(err))
        end
        assert.is_nil(err.status)
        assert.equal(3, #chat)
        collectgarbage()
      end
    end

    it("says that nobody listens", function()
      local listener = assert(socket.bind("127.0.0.1", 0))
      local _, port = listener:getsockname()
      listener:close()
      cannot_send({ base_url = "http://127.0.0.1:" .. port },
        { kind = "network", code = "connection_refused", retryable = true, attempts = 1 })
    end)

    it("says that the name is unknown", function()
      cannot_send({ base_url = "http://no-such-host.invalid/v1" },
        { kind = "network", code = "unknown_host", retryable = true })
    end)

    it("gives up connecting", function()
      -- A full queue: the kernel leaves further connections unanswered.
      local listener = assert(socket.bind("127.0.0.1", 0, 0))
      local _, port = listener:getsockname()
      local waiting, is_full = {}, false
      for i = 1, 16 do
        local one = socket.tcp()
        one:settimeout(0.05)
        waiting[i] = one
        if not one:connect("127.0.0.1", port) then
          is_full = true
          break
        end
      end
      if is_full then
        local started = socket.gettime()
        cannot_send({
          base_url = "http://127.0.0.1:" .. port, timeout = { connect = 0.15 },
        }, { kind = "timeout", code = "connect_timeout", retryable = true })
        local seconds = socket.gettime() - started
        assert.truthy(seconds >= 0.28 and seconds < 1 * SLOW, seconds)
      end
      for _, one in ipairs(waiting) do
        one:close()
      end
      listener:close()
      if not is_full then
        pending("this system answers when its queue is full")
      end
    end)

    it("gives up agreeing on TLS", function()
      local listener = assert(socket.bind("127.0.0.1", 0))
      local _, port = listener:getsockname()
      cannot_send({ base_url = "https://127.0.0.1:" .. port, timeout = { connect = 0.15 } },
        { kind = "timeout", code = "connect_timeout", retryable = true })
      listener:close()
    end)
  end)

  describe("whose connection breaks", function()
    local LOST = { kind = "network", code = "connection_lost", retryable = true }
    local SHORT = { kind = "truncated", code = "truncated", retryable = true, status = 200 }
    local body = completion("never seen")

    it("before the request has been read", function()
      quiet()
      breaks({ { "hangup_before_reading" } }, LOST)
    end)

    it("before the answer", function()
      breaks({ { "close" } }, LOST)
      breaks({ { "sleep", 0.02 }, { "close" } }, LOST)
      breaks({ { "reset" } }, LOST)
    end)

    it("in the status line", function()
      breaks({ { "send", "HTTP/1." }, { "close" } }, LOST)
      breaks({ { "send", "HTTP/1." }, { "sleep", 0.02 }, { "reset" } }, LOST)
    end)

    it("in the headers", function()
      for _, text in ipairs {
        "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Ty",
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n",
      } do
        breaks({ { "send", text }, { "close" } }, LOST)
        breaks({ { "send", text }, { "sleep", 0.02 }, { "reset" } }, LOST)
      end
    end)

    it("behind the headers", function()
      breaks({ { "send", head(#body) }, { "close" } }, SHORT)
      breaks({ { "send", head(nil, "Transfer-Encoding: chunked\r\n") }, { "close" } }, SHORT)
      breaks({ { "send", head(#body) }, { "sleep", 0.02 }, { "reset" } }, LOST)
    end)

    it("in the body", function()
      for _, length in ipairs { 1, 40, #body - 1 } do
        breaks({ { "send", head(#body) .. body:sub(1, length) }, { "close" } }, SHORT)
        breaks({ { "send", head(#body) .. body:sub(1, length) }, { "sleep", 0.02 }, { "reset" } },
          LOST)
      end
      -- complete JSON, but not all that was promised
      breaks({ { "send", head(#body + 1) .. body }, { "close" } }, SHORT)
      -- without a length the server has to close, but not so
      breaks({ { "send", head() .. body }, { "sleep", 0.02 }, { "reset" } }, LOST)
    end)

    it("in a chunk or between chunks", function()
      local start = head(nil, "Transfer-Encoding: chunked\r\n")
      for _, rest in ipairs {
        "4", "40\r\n", "40\r\n" .. body:sub(1, 20), chunked(body:sub(1, 20)), chunked(body),
        chunked(body) .. "0", chunked(body:sub(1, 20)):sub(1, -2),
      } do
        breaks({ { "send", start .. rest }, { "close" } }, SHORT)
      end
      breaks({ { "send", start .. chunked(body) }, { "sleep", 0.02 }, { "reset" } }, LOST)
    end)

    it("in the middle of a stream", function()
      local start = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        .. "Transfer-Encoding: chunked\r\n\r\n"
        .. chunked('data: {"choices":[{"index":0,"delta":{"content":"Once upon"}}]}\n\n')
      for _, ending in ipairs { "close", "reset" } do
        local chat = new_chat()
        server:script { { "send", start }, { "sleep", 0.02 }, { ending } }
        local err = fails(chat, { retryable = true })
        assert.equal("Once upon", err.partial and err.partial.content)
      end
    end)

    it("in the body of an error, of which the status is known", function()
      for _, ending in ipairs { "close", "reset" } do
        breaks({ { "send", "HTTP/1.1 401 Unauthorized\r\nContent-Length: 100\r\n\r\n{\"error\"" },
          { "sleep", 0.02 }, { ending } }, { kind = "http", status = 401, retryable = false })
        breaks({ { "send", "HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\n" },
          { "sleep", 0.02 }, { ending } }, { kind = "http", status = 503, retryable = true })
      end
    end)
  end)

  describe("that has to wait", function()
    local LIMIT = 0.12 * SLOW

    -- The same as `breaks`, and the deadline holds.
    local function stalls(steps, limits, wanted)
      local timeout = { connect = 20, first_token = 20, idle = 20 }
      for name, seconds in pairs(limits) do
        timeout[name] = seconds
      end
      steps[#steps + 1] = { "stall" }
      local chat = new_chat { timeout = timeout }
      server:script(steps)
      local before = chat:messages()
      local started = socket.gettime()
      local reply, err = chat:send("hello")
      local seconds = socket.gettime() - started
      assert.is_nil(reply)
      check_error(err)
      assert.equal("timeout", err.kind)
      assert.is_true(err.retryable)
      for name, value in pairs(wanted) do
        assert.equal(value, err[name], name .. ": " .. tostring(err))
      end
      assert.truthy(seconds > LIMIT - 0.005, seconds)
      assert.truthy(seconds < LIMIT + 0.15 * SLOW, seconds)
      assert.same(before, chat:messages())
      assert.equal(0, client_of(chat):active())
      server:reset()
      local again = opperchat.conversation { client = client_of(chat) }
      assert.equal("ok", assert(again:send("again")).content)
      return err
    end

    it("for the first token", function()
      local limits = { first_token = LIMIT }
      stalls({}, limits, { code = "first_token_timeout" })
      stalls({ { "send", "HTTP/1.1 2" } }, limits, { code = "first_token_timeout" })
      stalls({ { "send", "HTTP/1.1 200 OK\r\nContent" } }, limits, { code = "first_token_timeout" })
      stalls({ { "send", head(100) } }, limits, { code = "first_token_timeout", status = 200 })
      stalls({ { "send", head(100) .. " \r\n" } }, limits, { code = "first_token_timeout" })
      stalls({ { "send", head(100) .. ": comment\n\n: another\n\n" } }, limits,
        { code = "first_token_timeout" })
    end)

    it("for the rest of the answer", function()
      local limits = { idle = LIMIT }
      stalls({ { "send", head(100) .. '{"choices":' } }, limits,
        { code = "idle_timeout", status = 200 })
      local err = stalls({ { "send", head(1000)
        .. 'data: {"choices":[{"delta":{"content":"Once"}}]}\n\n' } }, limits,
        { code = "idle_timeout", status = 200 })
      assert.equal("Once", err.partial.content)
    end)

    it("for everything together", function()
      local limits = { total = LIMIT, first_token = 20, idle = 20 }
      stalls({}, limits, { code = "total_timeout" })
      stalls({ { "send", head(100) .. '{"choices":' } }, limits, { code = "total_timeout" })
      -- life does not help
      local steps = { { "send", head(10000) .. "{" } }
      for _ = 1, 200 do
        steps[#steps + 1] = { "sleep", LIMIT / 20 }
        steps[#steps + 1] = { "send", " " }
      end
      stalls(steps, limits, { code = "total_timeout" })
    end)

    it("and says the status of an error it knows already", function()
      local chat = new_chat { timeout = { first_token = LIMIT } }
      server:script { { "send", "HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\n{" }, { "stall" } }
      local _, err = chat:send("hello")
      check_error(err)
      assert.equal(503, err.status)
    end)

    it("as long as something arrives in time", function()
      local text = head(nil, "Transfer-Encoding: chunked\r\n")
      local body = completion("drip, drip, drip")
      for i = 1, #body, 7 do
        text = text .. chunked(body:sub(i, i + 6))
      end
      text = text .. "0\r\n\r\n"
      local steps = {}
      for i = 1, #text, 5 do
        steps[#steps + 1] = { "send", text:sub(i, i + 4) }
        steps[#steps + 1] = { "sleep", 0.001 }
      end
      server:script(steps)
      local chat = new_chat { timeout = { first_token = 20, idle = LIMIT * 2 } }
      local reply = assert(chat:send("hello"))
      assert.equal("drip, drip, drip", reply.content)
      assert.truthy(reply.timing.total > 0.05, reply.timing.total)
    end)

    it("no longer than is left of the time for all of it", function()
      -- comments are life, but no token
      local steps = { { "send", head(100000) } }
      for _ = 1, 100 do
        steps[#steps + 1] = { "send", ": still thinking\n\n" }
        steps[#steps + 1] = { "sleep", LIMIT / 20 }
      end
      stalls(steps, { first_token = LIMIT }, { code = "first_token_timeout" })
    end)
  end)

  describe("that gets an error", function()
    local LONG = ("x"):rep(100000)
    -- Bodies, and what becomes of them: kind, code, message pattern.
    local BODIES = {
      { '{"error":{"message":"no such thing","code":"not_here","details":{}}}',
        "api", "not_here", "^no such thing$" },
      { '{"error":{"message":"no such thing","type":"bad_request","param":null,"code":null}}',
        "api", "bad_request", "^no such thing$" },
      { '{"error":{"code":1234,"message":"no such thing"}}', "api", "1234", "^no such thing$" },
      { '{"error":"No API key was sent. See the docs.","docs_url":"https://docs.example"}',
        "api", "api_error", "^No API key was sent%. See the docs%.$" },
      { '{"errors":[{"type":"HTTPException","message":"Not Found"}]}',
        "api", "HTTPException", "^Not Found$" },
      { '{"errors":[{"type":"HTTPException","detail":"Not Found"}]}',
        "api", "HTTPException", "^Not Found$" },
      { '{"errors":["first","second"]}', "api", "api_error", "^first$" },
      { '{"type":"error","error":{"type":"not_found_error","message":"model: x"}}',
        "api", "not_found_error", "^model: x$" },
      { '{"type":"BadRequestError","message":"wrong","detail":"very"}',
        "api", "BadRequestError", "^wrong$" },
      { '{"detail":"Not authenticated"}', "api", nil, "^Not authenticated$" },
      { '{"error":{}}', "http" }, { '{"error":null}', "http" }, { '{"error":[]}', "http" },
      { '{"error":true}', "http" }, { '{"errors":[]}', "http" }, { '{"errors":[null,{}]}', "http" },
      { "{}", "http" }, { "[]", "http" }, { "null", "http" }, { '"x"', "http" }, { "12", "http" },
      { "", "http", "http_status", "^HTTP status %d+$" },
      { " \r\n ", "http", "http_status", "^HTTP status %d+$" },
      { "slow down", "http", "http_status", "^HTTP status %d+: slow down$" },
      { "<!DOCTYPE html>\n<html><head><style>p { x: y }</style></head>\n<body>502</body>", "http",
        "http_status" },
      { "<html>\r\n<h1>502  Bad\tGateway</h1>\r\n<hr>nginx</html>",
        "http", "http_status", "502 Bad Gateway nginx$" },
      { "\255\254\0\1", "http", "http_status" },
      { '{"error":{"message":"\255\254 not UTF-8"}}' },
      { '{"error":{"message":"cut in the mid', "http", "http_status" },
      { '{"error":{"message":"' .. LONG .. '","code":"' .. LONG .. '"}}', "api" },
      { "<html>" .. LONG, "http", "http_status" },
      { ("["):rep(100000), "http" },
      { '{"error":' .. ("["):rep(600) .. ("]"):rep(600) .. ',"message":"deep"}' },
    }
    local STATUSES = {
      300, 303, 304, 307, 400, 401, 402, 403, 404, 405, 408, 409, 410, 413, 418, 422, 429, 451,
      500, 501, 502, 503, 504, 520, 529, 599,
    }
    local RETRYABLE = { [408] = true, [409] = true, [429] = true }

    it("says what is wrong, whatever the status and the body", function()
      local chat = new_chat()
      local before = chat:messages()
      for _, status in ipairs(STATUSES) do
        for i, case in ipairs(BODIES) do
          -- all bodies with two statuses, and all statuses with some bodies
          if status == 404 or status == 500 or i % 6 == 1 then
            local body = status == 304 and "" or case[1]
            server:reply { status = status, body = body }
            local reply, err = chat:send("hello")
            local about = status .. " " .. body:sub(1, 60)
            assert.is_nil(reply, about)
            check_error(err)
            assert.equal(status, err.status, about)
            assert.equal(1, err.attempts)
            if status ~= 304 then
              if case[2] then
                assert.equal(case[2], err.kind, about)
              end
              if case[3] then
                assert.equal(case[3], err.code, about)
              end
              if case[4] then
                assert.truthy(err.message:find(case[4]), about .. ": " .. err.message)
              end
            end
            assert.equal(RETRYABLE[status] or status >= 500, err.retryable, about)
            assert.truthy(#err.message < 4000 and #err.code < 100)
            assert.is_nil(err.partial)
          end
        end
        assert.equal(3, #chat)
      end
      assert.same(before, chat:messages())
      assert.equal("ok", assert(chat:send("again")).content)
      -- an error does not cost the connection
      local requests = server:requests()
      assert.equal(requests[1].connection, requests[#requests].connection)
    end)

    it("shows characters as a whole", function()
      local chat = new_chat()
      for i = 1, 4 do
        server:reply { status = 500, body = ("x"):rep(i) .. ("\226\130\172"):rep(300) }
        local _, err = chat:send("hello")
        assert.truthy(pcall(opperchat.conversation({}).append, opperchat.conversation {}, "user",
          err.message))
        server:reply {
          status = 500,
          body = '{"error":{"message":"' .. ("x"):rep(i) .. ("\226\130\172"):rep(3000) .. '"}}',
        }
        _, err = chat:send("hello")
        assert.truthy(pcall(opperchat.conversation({}).append, opperchat.conversation {}, "user",
          err.message))
      end
    end)

    it("takes a huge body for what it is", function()
      local chat = new_chat()
      server:reply { status = 500, body = "broken " .. ("x"):rep(5000000) }
      fails(chat, { kind = "http", status = 500, retryable = true })
      chat = new_chat { max_response_bytes = 100000 }
      server:reply { status = 500, body = "broken " .. ("x"):rep(5000000) }
      fails(chat, { kind = "http", status = 500, retryable = true })
      server:reply { status = 401, body = '{"error":"who are you?"}' .. (" "):rep(5000000) }
      fails(chat, { status = 401, retryable = false })
    end)

    it("in a success", function()
      for body, wanted in pairs {
        ['{"error":{"message":"overloaded","code":"busy"}}'] =
          { code = "busy", message = "overloaded" },
        ['{"error":"overloaded"}'] = { message = "overloaded" },
        ['{"id":"1","choices":[],"error":{"message":"overloaded","code":529}}'] =
          { code = "529", message = "overloaded", retryable = true },
      } do
        server:reply { body = body }
        wanted.kind, wanted.status = "api", 200
        fails(new_chat(), wanted)
      end
    end)
  end)

  describe("that gets rubbish for an answer", function()
    -- A success with this body.
    local function answers(body, wanted, more)
      wanted.status = wanted.status or 200
      local chat = new_chat(more)
      server:reply { body = body }
      return fails(chat, wanted)
    end

    it("says that it is no JSON", function()
      for _, body in ipairs {
        "<html><body>Welcome to our hotel Wi-Fi</body></html>", "  <html>", "Bad gateway",
        "upstream connect error", "not \255 UTF-8", "\0\1\2\3", "{}x", "{,}", '{"choices":[}',
        '{"choices":[{"message":{"content":"x"}}]}{"choices":[]}', "[1 2]", "'x'", "nil",
        "{\"choices\":[{\"message\":{\"content\":\"line\nbreak\"}}]}",
      } do
        answers(body, { kind = "protocol", retryable = false })
      end
    end)

    it("says that it is not the right JSON", function()
      for _, body in ipairs { "[]", '"x"', "null", "true", "12", "-1e5", '[{"choices":[]}]' } do
        answers(body, { kind = "protocol", code = "bad_response", retryable = false })
      end
    end)

    it("that ends too early", function()
      local body = completion("a long answer", ',"usage":{"total_tokens":5}')
      for length = 1, #body - 1, SLOW == 1 and 4 or 40 do
        local err = answers(body:sub(1, length), {})
        assert.truthy(err.kind == "protocol" or err.kind == "truncated", tostring(err))
      end
    end)

    it("says that there is nothing", function()
      answers("", { kind = "protocol", code = "empty_response" })
      answers(" \r\n\t ", { kind = "protocol", code = "empty_response" })
      server:reply { status = 204 }
      fails(new_chat(), { kind = "protocol", code = "empty_response", status = 204 })
      server:script { { "send", "HTTP/1.1 200 OK\r\n\r\n" }, { "close" } }
      fails(new_chat(), { kind = "protocol", code = "empty_response" })
    end)

    it("says that there are no choices", function()
      for _, body in ipairs {
        "{}", '{"choices":[]}', '{"choices":null}', '{"choices":{}}', '{"choices":"x"}',
        '{"choices":[null]}', '{"choices":[1]}', '{"id":"c1","object":"chat.completion"}',
        '{"result":"ok"}', '{"error":null}',
      } do
        answers(body, { kind = "protocol", code = "no_choices", retryable = false })
      end
    end)

    it("says that there is no message", function()
      for _, body in ipairs {
        '{"choices":[{}]}', '{"choices":[{"message":null}]}', '{"choices":[{"message":"x"}]}',
        '{"choices":[{"message":[]}]}', '{"choices":[{"index":0,"finish_reason":"stop"}]}',
      } do
        answers(body, { kind = "protocol", code = "bad_response", retryable = false })
      end
    end)

    it("that is nested deeply", function()
      answers(("["):rep(100000), { kind = "limit", code = "nesting_too_deep" })
      answers('{"a":' .. ('{"a":'):rep(100000), { kind = "limit", code = "nesting_too_deep" })
    end)

    it("that is no HTTP", function()
      for _, text in ipairs {
        "SSH-2.0-OpenSSH_9.2\r\n", "garbage", "\22\3\1\2\0\1\0\1", "HTTP 200 OK\r\n\r\n{}",
        "<html></html>",
      } do
        breaks({ { "send", text }, { "close" } }, { retryable = false, kind = "protocol" })
      end
      breaks({ { "send", "HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\n{}" }, { "close" } },
        { kind = "protocol" })
      breaks({ { "send", "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}" }, { "close" } },
        { kind = "protocol" })
      breaks({ { "send", head(nil, "Transfer-Encoding: chunked\r\n") .. "zz\r\n{}\r\n" },
        { "close" } }, {})
      breaks({ { "send", "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n{}" }, { "close" } }, {})
    end)

    it("that claims to be compressed", function()
      server:reply { body = completion("x"), headers = { ["Content-Encoding"] = "gzip" } }
      fails(new_chat(), { kind = "protocol" })
      server:reply { body = completion("x"), headers = { ["Content-Encoding"] = "rot13" } }
      fails(new_chat(), { kind = "protocol" })
    end)
  end)

  describe("that gets a strange answer", function()
    -- The reply to a success with this body.
    local function reply_to(body)
      server:reset()
      server:reply { body = body }
      local chat = new_chat()
      collectgarbage()
      local reply = assert(chat:send("hello"))
      collectgarbage()
      assert.equal(5, #chat)
      assert.equal("assistant", chat:last().role)
      assert(chat:send("again"))
      assert.equal(7, #chat)
      return reply, chat
    end

    it("without content", function()
      for _, message in ipairs {
        '{"role":"assistant","content":null}', '{"role":"assistant"}', "{}", '{"content":5}',
        '{"content":{}}', '{"content":true}',
      } do
        local reply = reply_to('{"choices":[{"message":' .. message .. ',"finish_reason":"stop"}]}')
        assert.is_nil(reply.content)
        assert.equal("stop", reply.finish_reason)
      end
    end)

    it("with content in parts", function()
      local reply, chat = reply_to('{"choices":[{"message":{"role":"assistant","content":['
        .. '{"type":"text","text":"Hel"},{"type":"image_url","image_url":{"url":"data:,"}},null,5,'
        .. '{"type":"text","text":null},{"type":"text"},{"text":"lo","type":"text"}]}}]}')
      assert.equal("Hello", reply.content)
      assert.equal("Hello", chat:messages(5)[1].content)
      assert.equal("", reply_to('{"choices":[{"message":{"content":[]}}]}').content or "")
    end)

    it("with bytes that are no UTF-8", function()
      local reply, chat = reply_to('{"choices":[{"message":{"content":"a\255b\\ud800c"}}]}')
      assert.equal("a\239\191\189b\239\191\189c", reply.content)
      assert.equal(reply.content, chat:messages(5)[1].content)
    end)

    it("with null in every place, and with other things", function()
      local full = cjson.decode [[{
        "id": "c1", "object": "chat.completion", "created": 1, "model": "m", "cost": 0.1,
        "system_fingerprint": "f", "service_tier": "default",
        "choices": [{
          "index": 0, "finish_reason": "tool_calls", "logprobs": {"content": [{"token": "x"}]},
          "message": {
            "role": "assistant", "content": "text", "refusal": "no", "reasoning_content": "hm",
            "annotations": [{"type": "url"}], "audio": {"id": "a"}, "name": "bot",
            "tool_calls": [
              {"id": "call_a", "type": "function", "index": 0,
               "function": {"name": "f", "arguments": "{\"a\":1}", "x": [1]}, "extra": {"y": 1}},
              {"id": "call_b", "type": "function", "function": {"name": "g", "arguments": "{}"}}
            ]
          }
        }],
        "usage": {
          "prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "cost": 0.5,
          "prompt_tokens_details": {"cached_tokens": 1},
          "completion_tokens_details": {"reasoning_tokens": 1}
        }
      }]]
      -- The same value with what is at `path` replaced by the text "@".
      local function replaced(value, path, depth)
        if depth > #path then
          return "@"
        end
        local result = {}
        for key, item in pairs(value) do
          result[key] = key == path[depth] and replaced(item, path, depth + 1) or item
        end
        return result
      end
      local paths = {}
      local function walk(value, path)
        paths[#paths + 1] = path
        if type(value) == "table" then
          for key, item in pairs(value) do
            local longer = {}
            for i, step in ipairs(path) do
              longer[i] = step
            end
            longer[#longer + 1] = key
            walk(item, longer)
          end
        end
      end
      walk(full, {})
      local values = { "null", '""', '"x"', "0", "-1.5e300", "true", "false", "[]", "{}", "[null]",
        '[{}]', '{"a":null}', "[[[1]]]", '"\\ud800"' }
      if SLOW > 1 then
        values = { "null" }
      end
      local client = new_client()
      local replies = 0
      for _, path in ipairs(paths) do
        local template = cjson.encode(replaced(full, path, 1))
        for _, value in ipairs(values) do
          local body = template:gsub('"@"', function() return value end)
          server:reply { body = body }
          local chat = opperchat.conversation { client = client }
          local ok, reply, err = pcall(chat.send, chat, "hello")
          assert.is_true(ok, body .. "\n" .. tostring(reply))
          if reply then
            replies = replies + 1
            assert.equal(2, #chat, body)
            assert.equal("assistant", chat:last().role)
            assert.truthy(reply.content == nil or type(reply.content) == "string")
            for _, name in ipairs { "refusal", "reasoning", "model", "id", "finish_reason" } do
              assert.truthy(reply[name] == nil or type(reply[name]) == "string", body)
            end
            for _, name in ipairs { "prompt_tokens", "total_tokens", "cached_tokens", "cost" } do
              local number = reply.usage and reply.usage[name]
              assert.truthy(number == nil or type(number) == "number", body)
            end
            local seen = {}
            for _, call in ipairs(reply.tool_calls or {}) do
              assert.truthy(type(call.id) == "string" and call.id ~= "" and not seen[call.id], body)
              assert.equal("string", type(call.name), body)
              assert.equal("string", type(call.arguments_json), body)
              seen[call.id] = true
              chat:append("tool", "done", { tool_call_id = call.id })
            end
            assert.equal("table", type(reply.raw()), body)
            assert.truthy(chat:preview("next"))
          else
            check_error(err)
            assert.equal(0, #chat, body)
          end
        end
        collectgarbage("step")
      end
      assert.truthy(replies > #paths * #values / 2, replies)
      assert.equal(0, client:active())
    end)

    it("with white space before it", function()
      assert.equal("x", reply_to(" \r\n\t\n" .. completion("x") .. "\r\n\r\n").content)
      server:script {
        { "send", head(nil, "Transfer-Encoding: chunked\r\n") .. chunked(" ") }, { "sleep", 0.01 },
        { "send", chunked("\n\n\n") }, { "sleep", 0.01 },
        { "send", chunked(completion("y")) .. "0\r\n\r\n" },
      }
      assert.equal("y", assert(new_chat():send("hello")).content)
    end)

    it("with headers in odd cases", function()
      local body = completion("x", ',"usage":{"prompt_tokens":1}')
      server:script { { "send", "HTTP/1.1 200\r\ncONTENT-lENGTH:" .. #body
        .. "\r\nX-OPPER-TRACE-ID:  t-1 \t\r\nx-opper-cost: 0.25\r\nX-opper-Served-Model:m2\r\n"
        .. "X-Opper-Served-PROVIDER: p\r\nX-Empty:\r\nX-Opper-Trace-Id: t-2\r\n\r\n" .. body } }
      local reply = assert(new_chat():send("hello"))
      assert.equal("t-1", reply.trace_id)
      assert.equal("m2", reply.served_model)
      assert.equal("p", reply.served_provider)
      assert.equal(0.25, reply.usage.cost)
    end)

    it("with headers that say nothing good", function()
      for _, cost in ipairs { "", "abc", "0,5", "nan", "inf", "0x10", "1e999", "-1", "null" } do
        server:reply { body = completion("x"), headers = { ["X-Opper-Cost"] = cost } }
        local reply = assert(new_chat():send("hello"))
        assert.equal("x", reply.content)
        assert.is_nil(reply.usage and reply.usage.cost, cost)
      end
    end)

    it("behind hints and a request to continue", function()
      local body = completion("x")
      server:script { { "send", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n"
        .. "Link: </a>\r\nX-Opper-Trace-Id: early\r\n\r\n" }, { "sleep", 0.01 },
        { "send", "HTTP/1.1 102 Processing\r\n\r\n" .. head(#body, "X-Opper-Trace-Id: late\r\n")
          .. body } }
      local reply = assert(new_chat():send("hello"))
      assert.equal("x", reply.content)
      assert.equal("late", reply.trace_id)
    end)

    it("that is a stream nobody asked for", function()
      server:stream {
        ": hello\n\n",
        'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":"On"}}]}\n\n',
        'data: {"choices":[{"index":0,"delta":{"content":"ce"},"finish_reason":null}]}\n\n',
        'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n', "data: [DONE]\n\n",
      }
      local chat = new_chat()
      local reply = assert(chat:send("hello"))
      assert.equal("Once", reply.content)
      assert.equal("stop", reply.finish_reason)
      assert.equal("Once", chat:last().content)
      -- without a content type
      server:reply { headers = { ["Content-Type"] = "application/json" },
        body = 'data:{"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}\n\n' }
      assert.equal("x", assert(chat:send("hello")).content)
    end)

    it("with a byte order mark", function()
      server:reply { body = "\239\187\191data: {\"choices\":[{\"delta\":{\"content\":\"x\"},"
        .. "\"finish_reason\":\"stop\"}]}\n\n" }
      assert.equal("x", assert(new_chat():send("hello")).content)
    end)

    it("with more behind it", function()
      local body = completion("x")
      server:script { { "send", head(#body) .. body .. "HTTP/1.1 500 Oops\r\n\r\n" }, { "close" } }
      local chat = new_chat()
      assert.equal("x", assert(chat:send("hello")).content)
      assert.equal("ok", assert(chat:send("again")).content)
    end)

    it("in HTTP/1.0", function()
      server:script { { "send", "HTTP/1.0 200 OK\r\n\r\n" .. completion("x") }, { "close" } }
      local chat = new_chat()
      assert.equal("x", assert(chat:send("hello")).content)
      assert.equal("ok", assert(chat:send("again")).content)
    end)
  end)

  describe("has a limit", function()
    local TOO_LARGE = { kind = "limit", code = "response_too_large", retryable = false }

    it("for answers", function()
      local body = completion(("x"):rep(10000))
      server:reply { body = body }
      fails(new_chat { max_response_bytes = #body - 1 }, TOO_LARGE)
      server:reply { body = body }
      assert.equal(10000, #assert(new_chat({ max_response_bytes = #body }):send("hello")).content)
      -- one that has no end
      local steps = { { "send", head() .. '{"a":"' } }
      for _ = 1, 100 do
        steps[#steps + 1] = { "send", ("x"):rep(10000) }
      end
      steps[#steps + 1] = { "stall" }
      server:script(steps)
      fails(new_chat { max_response_bytes = 500000 }, TOO_LARGE)
    end)

    it("for streams", function()
      local chunks = {}
      for i = 1, 100 do
        chunks[i] = 'data: {"choices":[{"index":0,"delta":{"content":"' .. ("x"):rep(1000)
          .. '"}}]}\n\n'
      end
      server:stream(chunks)
      local err = fails(new_chat { max_response_bytes = 50000 }, TOO_LARGE)
      assert.truthy(#err.partial.content >= 1000)
      server:script { { "send", head() .. "data: " .. ("x"):rep(100000) }, { "stall" } }
      fails(new_chat { max_response_bytes = 50000 }, { kind = "limit" })
    end)

    it("for what is packed", function()
      if not has "gzip" then
        pending("no gzip")
        return
      end
      local path = os.tmpname()
      local file = assert(io.open(path, "wb"))
      file:write('{"choices":[{"message":{"content":"')
      for _ = 1, 20 do
        file:write((" "):rep(1000000))
      end
      file:write('"}}]}')
      file:close()
      local bomb = output_of("gzip -9 <" .. path)
      os.remove(path)
      assert.truthy(#bomb > 1000 and #bomb < 50000)
      server:reply { body = bomb, headers = { ["Content-Encoding"] = "gzip" } }
      fails(new_chat { max_response_bytes = 1000000 }, TOO_LARGE)
      -- and what is packed within the limit is read
      shell.write_file(path, completion("packed"))
      server:reply {
        body = output_of("gzip <" .. path), headers = { ["Content-Encoding"] = "gzip" },
      }
      os.remove(path)
      assert.equal("packed", assert(new_chat():send("hello")).content)
    end)

    it("for what is packed much smaller, and no more memory is used", function()
      if not has "gzip" or output_of("cat /proc/self/status"):find("VmHWM") == nil then
        pending("no gzip or no /proc")
        return
      elseif os.getenv("OPPERCHAT_SLOW") or os.getenv("ASAN_OPTIONS") then
        pending("memory is counted differently here")
        return
      end
      local bomb = output_of("head -c 200000000 /dev/zero | gzip -9")
      assert.truthy(#bomb < 300000)
      for _, status in ipairs { 200, 400 } do
        server:reset()
        server:default { status = status, body = bomb, headers = { ["Content-Encoding"] = "gzip" } }
        local output, code = shell.run_lua(([[
          local opperchat = require "opperchat"
          local function peak()
            return tonumber(io.open("/proc/self/status"):read("*a"):match("VmHWM:%%s*(%%d+)"))
          end
          local client = opperchat.client { base_url = %q, max_retries = 0 }
          local chat = opperchat.conversation { client = client, model = "m" }
          local first = peak()
          for i = 1, 3 do
            local _, err = chat:send("hello", { stream = i == 2 })
            io.write(err.kind, " ")
          end
          io.write(peak() - first < 90000 and "small" or peak() - first)
        ]]):format(server.url))
        -- a stream is not asked for packed, so it is taken as it comes
        assert.equal(status == 200 and "limit protocol limit small" or "http http http small",
          output)
        assert.equal("0", code)
      end
    end)

    it("for headers", function()
      local wanted = { kind = "limit", code = "headers_too_large" }
      local steps = { { "send", "HTTP/1.1 200 OK\r\n" } }
      for _ = 1, 400 do
        steps[#steps + 1] = { "send", ("X-Endless: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"):rep(50) }
      end
      steps[#steps + 1] = { "stall" }
      breaks(steps, wanted)
      breaks({ { "send", "HTTP/1.1 200 OK\r\nX-Endless: " .. ("a"):rep(1000000) }, { "stall" } },
        wanted)
      -- hints without end
      steps = {}
      for i = 1, 100 do
        steps[i] = { "send", ("HTTP/1.1 103 Early Hints\r\nLink: </aaaaaaaaaa>\r\n\r\n"):rep(200) }
      end
      steps[#steps + 1] = { "stall" }
      local chat = new_chat { timeout = { first_token = 2 * SLOW } }
      server:script(steps)
      local _, err = chat:send("hello")
      check_error(err)
    end)
  end)

  describe("on a redirect", function()
    local other

    setup(function()
      other = Server.start()
    end)

    teardown(function()
      other:stop()
    end)

    before_each(function()
      other:reset()
    end)

    it("to the same server sends everything again", function()
      for _, status in ipairs { 301, 302, 307, 308 } do
        for _, location in ipairs { "/elsewhere/x?y=z", "../../elsewhere/x?y=z",
          "http://127.0.0.1:" .. server.port .. "/elsewhere/x?y=z",
          "//127.0.0.1:" .. server.port .. "/elsewhere/x?y=z",
          "HTTP://127.0.0.1:" .. server.port .. "/elsewhere/x?y=z" } do
          server:reset()
          server:reply { status = status, headers = { Location = location }, body = "gone" }
          local chat = new_chat { headers = { ["X-Tenant"] = "42" } }
          assert.equal("ok", assert(chat:send("hello")).content)
          local first, second = server:requests()[1], server:requests()[2]
          assert.equal("POST", second.method)
          assert.equal("/elsewhere/x?y=z", second.path)
          assert.equal(first.body, second.body)
          assert.equal("hello", second.json.messages[4].content)
          assert.equal("Bearer " .. KEY, second.headers.authorization)
          assert.equal("42", second.headers["x-tenant"])
          assert.equal(5, #chat)
        end
      end
    end)

    it("sends a long body again", function()
      local prompt = ("0123456789"):rep(100000)
      server:reply { status = 307, headers = { Location = "/a" } }
      server:reply { status = 308, headers = { Location = "/b" } }
      assert(new_chat():send(prompt))
      local requests = server:requests()
      assert.equal(3, #requests)
      assert.equal("/b", requests[3].path)
      assert.truthy(requests[3].json.messages[4].content == prompt)
    end)

    it("does not go in circles", function()
      local chat = new_chat()
      server:default { status = 301, headers = { Location = "/v1/chat/completions" } }
      local err = fails(chat, { kind = "limit", code = "too_many_redirects", retryable = false,
        status = 301 })
      assert.truthy(err.message:find("5", 1, true), err.message)
      server:default { status = 307, headers = { Location = "/v1/chat/completions" } }
      assert.is_nil((chat:send("hello")))
      local count = #server:requests()
      assert.truthy(count <= 8, count)
    end)

    it("to another server stays where it is", function()
      for _, status in ipairs { 301, 302, 307, 308 } do
        for _, location in ipairs {
          other.url .. "/chat/completions",
          "//127.0.0.1:" .. other.port .. "/x",
          "http://localhost:" .. server.port .. "/v1/chat/completions",
          "https://127.0.0.1:" .. server.port .. "/v1/chat/completions",
          "http://127.0.0.1:" .. server.port .. "@localhost:" .. other.port .. "/",
          "http://127.0.0.1." .. ":" .. other.port .. "/",
          "file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1:" .. other.port .. "/",
          "http://[", "http://127.0.0.1:99999/", "http:///",
        } do
          local chat = new_chat()
          server:reply { status = status, headers = { Location = location }, body = "gone" }
          local reply, err = chat:send("hello")
          assert.is_nil(reply, location)
          check_error(err)
          assert.equal(status, err.status, location)
          assert.equal("http", err.kind, location)
          assert.is_false(err.retryable)
          assert.equal(3, #chat)
          assert.equal("ok", assert(chat:send("again")).content)
          client_of(chat):close()
        end
      end
      local chat = new_chat()
      server:reply { status = 307, headers = { Location = other.url } }
      fails(chat, { kind = "http", code = "redirect", status = 307, retryable = false })
      assert.equal(0, other:status().accepted)
    end)

    it("that asks for something else is an error", function()
      server:reply { status = 303, headers = { Location = "/v1/other" } }
      fails(new_chat(), { kind = "http", status = 303, retryable = false })
      server:reply { status = 307 }
      fails(new_chat(), { kind = "http", status = 307, retryable = false })
      server:reply { status = 300, headers = { Location = "/v1/other" } }
      fails(new_chat(), { kind = "http", status = 300, retryable = false })
      server:reply { status = 200, headers = { Location = "/v1/other" }, body = completion("x") }
      assert.equal("x", assert(new_chat():send("hello")).content)
      assert.equal(1, #server:requests() - 1)
    end)
  end)

  describe("keeps its connection", function()
    it("for 200 conversations", function()
      local client = new_client()
      for i = 1, 200 do
        local chat = opperchat.conversation { client = client, model = "m" .. i }
        assert.equal("ok", assert(chat:send("hello " .. i)).content)
        if i % 50 == 0 then
          collectgarbage()
        end
      end
      local requests = server:requests()
      assert.equal(200, #requests)
      for i, request in ipairs(requests) do
        assert.equal(requests[1].connection, request.connection)
        assert.equal("hello " .. i, request.json.messages[1].content)
      end
    end)

    it("until the server closes it", function()
      for _, close in ipairs {
        function() server:reply { body = completion("first"), close = true } end,
        function()
          local body = completion("first")
          server:script { { "send", head(#body) .. body }, { "close" } }
        end,
        function()
          local body = completion("first")
          server:script { { "send", head(#body) .. body }, { "sleep", 0.01 }, { "reset" } }
        end,
        function()
          local body = completion("first")
          server:script { { "send", head(#body, "Connection: close\r\n") .. body }, { "close" } }
        end,
      } do
        local chat = new_chat()
        for _, pause in ipairs { 0, 0.03 } do
          server:reset()
          close()
          assert.equal("first", assert(chat:send("one")).content)
          socket.sleep(pause)
          assert.equal("ok", assert(chat:send("two")).content)
          local requests = server:requests()
          assert.equal(2, #requests)
          assert.are_not.equal(requests[1].connection, requests[2].connection)
        end
      end
    end)

    it("until the server closes it before the next answer", function()
      -- a request may cross with the server's decision that it was idle
      for _, ending in ipairs { "close", "reset" } do
        local chat = new_chat()
        assert.equal("ok", assert(chat:send("one")).content)
        server:script { { ending } }
        assert.equal("ok", assert(chat:send("two")).content)
        local prompt = ("x"):rep(3000000)
        server:script { { ending } }
        assert.equal("ok", assert(chat:send(prompt)).content)
        assert.truthy(server:last_request().json.messages[8].content == prompt)
      end
    end)
  end)

  describe("sends", function()
    it("ten megabytes as they are", function()
      local parts = {}
      for i = 1, 180000 do
        parts[i] = ("%08d \226\130\172\"\\\n\1 "):format(i) .. ("a"):rep(44)
      end
      local prompt = table.concat(parts)
      assert.truthy(#prompt > 10e6)
      local chat = new_chat()
      assert.equal("ok", assert(chat:send(prompt)).content)
      local request = server:requests()[1]
      assert.equal(#request.body, tonumber(request.headers["content-length"]))
      assert.is_nil(request.headers.expect)
      assert.truthy(request.json.messages[4].content == prompt)
      assert.equal("ok", assert(chat:send("again")).content)
      request = server:requests()[2]
      assert.truthy(request.json.messages[4].content == prompt)
    end)

    it("no more than the server wants", function()
      local chat = new_chat()
      server:script { { "before_body" }, { "send", "HTTP/1.1 413 Too Large\r\n"
        .. "Content-Length: 20\r\nConnection: close\r\n\r\n{\"error\":\"too long\"}" },
        { "stall" } }
      local _, err = chat:send(("x"):rep(20000000))
      check_error(err)
      assert.equal(413, err.status)
      assert.equal("too long", err.message)
      assert.equal(3, #chat)
      server:reset()
      assert.equal("ok", assert(chat:send("again")).content)
    end)

    it("to a server that hangs up in between", function()
      for _ = 1, 3 do
        local chat = new_chat()
        quiet()
        server:script { { "hangup_before_reading" } }
        local reply, err = chat:send(("x"):rep(5000000))
        assert.is_nil(reply)
        check_error(err)
        assert.equal("network", err.kind)
        assert.is_true(err.retryable)
        assert.equal(3, #chat)
        assert.equal("ok", assert(chat:send("again")).content)
        client_of(chat):close()
      end
    end)
  end)

  it("is not disturbed by another LC_NUMERIC", function()
    local locale = output_of("locale -a"):match("de_DE%.[Uu][Tt][Ff]%-?8")
      or output_of("locale -a"):match("fr_FR%.[Uu][Tt][Ff]%-?8")
    local folder, environment
    if not locale then
      folder = shell.new_folder()
      locale = "de_DE.UTF-8"
      environment = "LOCPATH=" .. quote(folder)
      if not succeeds("localedef -i de_DE -f UTF-8 " .. quote(folder .. "/" .. locale)) then
        succeeds("rm -rf " .. quote(folder))
        pending("no locale with a decimal comma")
        return
      end
    end
    server:reply {
      body = completion("x", ',"usage":{"prompt_tokens":3,"cost":0.125}'),
      headers = { ["X-Opper-Cost"] = "0.5" },
    }
    server:reply { body = completion("y"), headers = { ["X-Opper-Cost"] = "2.5e-1" } }
    local output = shell.run_lua(([[
      local opperchat = require "opperchat"
      assert(os.setlocale(%q, "numeric"))
      local client = opperchat.client { base_url = %q, timeout = { connect = 2.5, idle = 2.5 } }
      local chat = opperchat.conversation {
        client = client, model = "m", temperature = 3 / 4, tags = { level = 5 / 2 },
        extra = { big = 2 ^ 70, tiny = 1 / 1024 },
      }
      local cost = assert(chat:send("hello")).usage.cost
      print(cost == 1 / 8, chat:usage().cost == 1 / 8)
      print(assert(chat:send("hello")).usage.cost == 1 / 4)
      local _, err = chat:send("hello", { extra = { timeout = 1 / 2 } })
      print(err)
    ]]):format(locale, server.url), environment)
    if folder then
      succeeds("rm -rf " .. quote(folder))
    end
    -- behind it a sanitizer may tell what glibc keeps of LOCPATH
    local expected = "true\ttrue\ntrue\nnil\n"
    assert.equal(expected, output:sub(1, #expected))
    local rest = output:sub(#expected + 1)
    assert.is_true(rest == "" or rest:find("LeakSanitizer", 1, true) ~= nil
      and rest:find("__argz_add_sep", 1, true) ~= nil, rest)
    local requests = server:requests()
    assert.equal(3, #requests)
    assert.truthy(requests[1].body:find('"temperature":0.75', 1, true), requests[1].body)
    assert.truthy(requests[1].body:find('"tiny":0.0009765625', 1, true), requests[1].body)
    assert.truthy(requests[3].body:find('"timeout":0.5', 1, true), requests[3].body)
    assert.equal(2 ^ 70, requests[1].json.big)
    assert.equal("level:2.5", requests[1].headers["x-opper-tags"])
  end)

  it("does not let a broken connection kill the process", function()
    quiet()
    for _ = 1, 3 do
      server:script { { "hangup_before_reading" } }
    end
    local output, code = shell.run_lua(([[
      local opperchat = require "opperchat"
      local chat = opperchat.conversation {
        client = opperchat.client { base_url = %q, max_retries = 0 },
      }
      for i = 1, 3 do
        local _, err = chat:send(("x"):rep(3000000))
        io.write(err.kind, " ")
      end
      assert(chat:send("hello"))
    ]]):format(server.url))
    assert.equal("network network network ", output)
    assert.equal("0", code)
  end)
end)
