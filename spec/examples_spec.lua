-- The examples: what the offline server answers, that it ends with the
-- program that started it, and that the quick start runs as it is.

local socket = require "socket"
local cjson = require("cjson").new()
local shell = require "spec.support.shell"
local offline = dofile("examples/support/offline.lua")
local pretend_model = dofile("examples/support/pretend_model.lua")

local function request(port, method, path, body, headers)
  local client = assert(socket.connect("127.0.0.1", port))
  client:settimeout(20)
  client:send(method .. " " .. path .. " HTTP/1.1\r\nConnection: close\r\n" .. (headers or "")
    .. "Content-Length: " .. #body .. "\r\n\r\n" .. body)
  local answer = client:receive("*a")
  client:close()
  return answer:match("^HTTP/1.1 (%d+)[^\r]*(.-\r\n)\r\n(.*)$")
end

local function is_listening(port)
  local client = socket.connect("127.0.0.1", port)
  if client then
    client:close()
  end
  return client ~= nil
end

describe("the pretend model", function()
  local question = { role = "user", content = "What's a vector?" }
  local follow_up = {
    role = "user",
    content = { { type = "text", text = "Give me an example in 3D." } },
  }

  it("finds the earlier turn in what it is sent", function()
    local answer = pretend_model.answer({
      question, { role = "assistant", content = "A list of numbers." }, follow_up,
    })
    assert.truthy(answer:find([[You asked me "What's a vector?" before]], 1, true))
    assert.truthy(answer:find("(1, 2, 3)", 1, true))
    assert.truthy(answer:find("3 messages", 1, true))
  end)

  it("says so when no earlier turn came along", function()
    local answer = pretend_model.answer({ follow_up })
    assert.truthy(answer:find("No earlier turn reached me", 1, true))
    assert.is_nil(answer:find("(1, 2, 3)", 1, true))
  end)

  it("charges for what was sent", function()
    local short = pretend_model.usage({ question }, "yes")
    local long = pretend_model.usage({ question, question }, "yes")
    assert.truthy(long.prompt_tokens > short.prompt_tokens)
    assert.truthy(long.cost > short.cost)
    assert.equal(short.prompt_tokens + short.completion_tokens, short.total_tokens)
  end)
end)

describe("the offline server", function()
  local server

  setup(function()
    server = offline.start()
  end)

  teardown(function()
    server:stop()
  end)

  local body = cjson.encode({
    model = "some/model", messages = { { role = "user", content = "What is a matrix?" } },
  })

  it("answers a chat request", function()
    local status, headers, answer = request(server.port, "POST", "/v1/chat/completions", body,
      "X-Opper-Trace-Id: 1234\r\n")
    assert.equal("200", status)
    assert.truthy(headers:lower():find("\r\nx-opper-trace-id: 1234\r\n", 1, true))
    local reply = cjson.decode(answer)
    assert.equal("some/model", reply.model)
    assert.equal("stop", reply.choices[1].finish_reason)
    assert.truthy(reply.choices[1].message.content:find("rows and columns", 1, true))
    assert.truthy(reply.usage.cost > 0)
  end)

  it("streams when asked to", function()
    local stream = body:gsub("^{", '{"stream":true,"stream_options":{"include_usage":true},')
    local status, headers, answer = request(server.port, "POST", "/v1/chat/completions", stream)
    assert.equal("200", status)
    assert.truthy(headers:find("text/event-stream", 1, true))
    assert.truthy(answer:find('"choices":[]', 1, true))
    assert.truthy(answer:find("data: %[DONE%]\n\n\r\n0\r\n\r\n$"))
  end)

  it("refuses what it does not understand", function()
    for expected, ask in pairs({
      ["400"] = { "POST", "/v1/chat/completions", "{" },
      ["404"] = { "GET", "/v1/nothing", "" },
      ["405"] = { "GET", "/v1/chat/completions", "" },
      ["200"] = { "GET", "/v1/models", "" },
    }) do
      local status, _, answer = request(server.port, ask[1], ask[2], ask[3])
      assert.equal(expected, status)
      assert.equal(expected == "200", cjson.decode(answer).error == nil)
    end
    local status = request(server.port, "POST", "/v1/chat/completions", '{"messages":[]}')
    assert.equal("400", status)
  end)

  it("ends when it is stopped, and with its starter", function()
    local other = offline.start()
    assert.truthy(is_listening(other.port))
    other:stop()
    other:stop()
    assert.falsy(is_listening(other.port))

    local port = tonumber(shell.run(shell.interpreter() .. [[ -e '
      print(dofile("examples/support/offline.lua").start().port)
      io.stdout:flush()
      os.exit(0)']]):match("%d+"))
    for _ = 1, 200 do
      if not is_listening(port) then
        break
      end
      socket.sleep(0.02)
    end
    assert.falsy(is_listening(port))
  end)
end)

describe("the offline server as somebody starts it", function()
  local PROGRAM = "exec " .. shell.quote(shell.interpreter()) .. " examples/offline_server.lua "

  -- In the background, as with `&`; returns what ends it and how to reach it.
  local function begin(words)
    local pipe = assert(io.popen("{ " .. PROGRAM .. words
      .. "; } 2>&1 </dev/null & echo $!\nwait $!"))
    local pid, line = pipe:read("*l"), pipe:read("*l")
    return function()
      os.execute("kill " .. pid)
      local rest = pipe:read("*a")
      pipe:close()
      return rest
    end, line, tonumber((line or ""):match("^http://127%.0%.0%.1:(%d+)/v1$"))
  end

  it("stays with --stay, and prints its URL", function()
    local stop, line, port = begin("--stay --pace 0")
    assert.truthy(port, line)
    socket.sleep(0.1)
    assert.equal("200", (request(port, "GET", "/v1/models", "")))
    local busy, status = shell.run("( " .. PROGRAM .. "--port " .. port .. " --stay )")
    assert.equal("", stop())
    assert.falsy(is_listening(port))
    assert.equal("offline server: port " .. port .. ": address already in use\n", busy)
    assert.equal("1", status)
  end)

  it("says why it ends at once where its standard input is nothing", function()
    local text, status = shell.run("( " .. PROGRAM .. "--port 0 </dev/null )")
    assert.equal("1", status)
    assert.truthy(text:find("^offline server: [^\n]*%-%-stay[^\n]*\n$"), text)
  end)

  it("runs to the end of its standard input, and refuses other words", function()
    local text, status = shell.run("sleep 0.3 | ( " .. PROGRAM .. " )")
    assert.equal("0", status)
    assert.truthy(text:find("^http://127%.0%.0%.1:%d+/v1\n$"), text)
    for _, words in ipairs({ "--port", "--port x", "--stay 1", "8080" }) do
      text, status = shell.run("( " .. PROGRAM .. words .. " </dev/null )")
      assert.equal("1", status)
      assert.truthy(text:find("^usage: "), text)
    end
  end)
end)

describe("examples/quickstart.lua", function()
  it("holds its conversation offline and leaves nothing behind", function()
    local text, status = shell.run("unset OPPER_API_KEY OPPER_BASE_URL; "
      .. shell.interpreter() .. " examples/quickstart.lua")
    assert.equal("0", status, text)
    assert.truthy(text:find("What's a vector?", 1, true), text)
    assert.truthy(text:find("(1, 2, 3)", 1, true), text)
    assert.truthy(text:find("%d+ tokens, %$%d"), text)
    assert.falsy(is_listening(tonumber(text:match("127%.0%.0%.1:(%d+)"))))
  end)

  it("talks to OPPER_BASE_URL, and fails with one line when nobody is there", function()
    local server = offline.start()
    local text = shell.run("unset OPPER_API_KEY; OPPER_BASE_URL=" .. server.url .. " "
      .. shell.interpreter() .. " examples/quickstart.lua")
    assert.truthy(text:find("(1, 2, 3)", 1, true), text)
    assert.is_nil(text:find("offline", 1, true), text)
    server:stop()
    local complaint, status = shell.run("unset OPPER_API_KEY; OPPER_BASE_URL=" .. server.url
      .. " " .. shell.interpreter() .. " examples/quickstart.lua")
    assert.equal("1", status)
    assert.truthy(complaint:find("\nquickstart: [^\n]+\n$"), complaint)
  end)
end)
