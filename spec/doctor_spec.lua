-- The doctor: what it says of servers that are well, and of those that are not.

local core = require "opperchat.core"
local opperchat = require "opperchat"
local Server = require "spec.support.server"
local shell = require "spec.support.shell"
local sse = require "spec.support.sse"
local Tls = require "spec.support.tls"
local with = require "spec.support.with"

local KEY = "op-5ecret-Key.0123456789"

-- Under valgrind everything takes its time.
local SLOW = os.getenv("OPPERCHAT_SLOW") and 8 or 1

-- A piece of content; the last one comes with its finish reason.
local function event(text, reason)
  return reason and sse.line(('{"index":0,"delta":{"content":"%s"},"finish_reason":"%s"}')
    :format(text, reason)) .. "\n\n" or sse.text(text)
end

local USAGE = sse.line("", ',"usage":{"prompt_tokens":20,"completion_tokens":40,'
  .. '"total_tokens":60,"cost":0.0001}') .. "\n\n"
local DONE = sse.done

local MODELS = { body = { object = "list", data = {
  { id = "test/small", object = "model" }, { id = "test/large", object = "model" },
} } }

describe("the doctor", function()
  local server = Server.for_tests()
  local tls = Tls.for_tests(server)

  before_each(function()
    collectgarbage()
  end)

  local function client_of(given)
    return opperchat.client(with({ base_url = server.url, api_key = KEY }, given))
  end

  -- The report on such a client, and its lines by name.
  local function examine(given, more)
    local written = {}
    local all = with({
      client = client_of(given), timeout = 5 * SLOW,
      write = function(line) written[#written + 1] = line end,
    }, more)
    local report = opperchat.doctor(all)
    assert.equal(0, all.client:active())
    all.client:close()
    local lines = {}
    for i, line in ipairs(report.lines) do
      lines[line.name] = line
      assert.truthy(written[i]:find(line.text, 1, true))
      assert.truthy(line.status == "ok" or line.status == "skip" or line.advice
        or line.name == "tools", line.name)
    end
    local text = tostring(report)
    assert.equal(text, table.concat(written, "\n"))
    for _, word in ipairs { KEY, "s3same", "5ecret" } do
      assert.falsy(text:find(word, 1, true), text)
    end
    assert.falsy(text:find("\27", 1, true))
    return report, lines
  end

  local function stream_well()
    server:stream({ event("1 2 3 "), event("4 5 6 "), event("7 8", "stop"), USAGE, DONE },
      { pause = 0.03 * SLOW })
  end

  -- This line has this status and says this.
  local function says(line, status, text, advice)
    assert.truthy(line, "no such line")
    assert.equal(status, line.status, line.text)
    assert.truthy(line.text:find(text, 1, true), line.text)
    if advice then
      assert.truthy(line.advice:find(advice, 1, true), line.advice)
    end
  end

  it("finds nothing where all is well", function()
    server:reply(MODELS)
    stream_well()
    local report, lines = examine()
    assert.is_true(report.ok)
    assert.truthy(tostring(report):find("\nAll is well.$"), tostring(report))
    says(lines.opperchat, "ok", opperchat.version)
    says(lines.libcurl, "ok", core.curl_info().version)
    says(lines.json, "ok", "cjson")
    says(lines.address, "ok", server.url)
    says(lines.proxy, "ok", "none")
    says(lines.key, "ok", "option api_key")
    says(lines.connection, "ok", "HTTP/1.1")
    says(lines.models, "ok", "2 models")
    says(lines.answer, "ok", "stop")
    says(lines.stream, "ok", "pieces")
    says(lines.usage, "ok", "60 tokens, $0.0001")
    assert.is_nil(lines.certificates)
    local requests = server:requests()
    assert.same({ "GET", "POST" }, { requests[1].method, requests[2].method })
    assert.equal("test/small", requests[2].json.model)
    assert.equal("Bearer " .. KEY, requests[1].headers.authorization)
  end)

  it("tries tools when it is asked to", function()
    local function call(name)
      return { body = { choices = { { finish_reason = "tool_calls", message = {
        role = "assistant", tool_calls = { { id = "1", type = "function",
          ["function"] = { name = name, arguments = '{"city":"Oslo"}' } } },
      } } } } }
    end
    server:reply(MODELS)
    stream_well()
    server:reply(call("weather"))
    local _, lines = examine(nil, { tools = true, model = "test/large" })
    says(lines.tools, "ok", 'weather({"city":"Oslo"})')
    assert.equal("test/large", server:requests()[3].json.model)
    assert.is_nil(lines.model)
    server:reset()
    server:reply(MODELS)
    stream_well()
    lines = select(2, examine(nil, { tools = true, model = "test/larg" }))
    says(lines.model, "warn", "no test/larg", "test/large")
    says(lines.tools, "warn", "without calling the tool", "try another one")
  end)

  it("asks no model when it is told so", function()
    server:reply(MODELS)
    local report, lines = examine(nil, { stream = false })
    assert.is_true(report.ok)
    says(lines.answer, "skip", "stream = false")
    assert.equal(1, #server:requests())
  end)

  describe("says what to do", function()
    it("where nobody listens", function()
      local report, lines = examine { base_url = "http://127.0.0.1:9/v1" }
      assert.is_false(report.ok)
      says(lines.connection, "fail", "cannot connect", "nothing listens there")
      says(lines.answer, "skip", "not tried")
      lines = select(2, examine { base_url = "http://joe:s3same@opper.invalid/v1" })
      says(lines.name, "fail", "cannot be resolved", "spelling of base_url")
      says(lines.key, "warn", "option api_key", "https://")
      assert.is_nil(lines.connection)
    end)

    it("about a key that is refused", function()
      server:default { status = 401, body = '{"error":"invalid bearer token ' .. KEY .. '"}' }
      local report, lines = examine()
      assert.is_false(report.ok)
      says(lines.models, "fail", "HTTP 401", "does not accept the key (option api_key)")
      says(lines.answer, "skip", "not tried")
      server:default { status = 401, body = '{"error":"No API key was sent."}' }
      lines = select(2, examine { api_key = "" })
      says(lines.models, "fail", "HTTP 401", "wants a key")
      lines = select(2, examine { api_key = function() return "" end })
      says(lines.key, "ok", "none, says the function api_key")
      says(lines.models, "fail", "HTTP 401", "wants a key")
      server:reply(MODELS)
      lines = select(2, examine { api_key = function() return "" end })
      says(lines.models, "ok", "2 models")
      says(lines.answer, "fail", "HTTP 401", "wants a key")
      server:default { status = 403, body = '{"error":{"message":"no","code":"permission_error"}}' }
      lines = select(2, examine())
      says(lines.models, "fail", "HTTP 403: no", "whoever administers")
      says(lines.answer, "fail", "HTTP 403: no")
    end)

    it("about a key that cannot be had", function()
      server:reply(MODELS)
      local report, lines = examine { api_key = opperchat.secret { file = "/no/such/file" } }
      assert.is_false(report.ok)
      says(lines.key, "fail", "/no/such/file", "secret: file /no/such/file")
      says(lines.models, "ok", "2 models")
      says(lines.answer, "skip", "not tried")
      local secret = opperchat.secret { command = "echo " .. KEY .. "; exit 2" }
      lines = select(2, examine { api_key = secret })
      says(lines.key, "fail", "exit code 2", "secret: command")
      lines = select(2, examine({ api_key = "", base_url = "https://api.opper.ai/v3/compat",
        proxy = "http://127.0.0.1:9" }))
      says(lines.key, "fail", "needs one", "OPPER_API_KEY")
    end)

    it("about a key that others can read", function()
      local path = shell.write_file(os.tmpname(), KEY .. "\n")
      os.execute("chmod 644 " .. path)
      server:reply(MODELS)
      stream_well()
      local report, lines = examine { api_key = opperchat.secret { file = path } }
      assert.is_true(report.ok)
      says(lines.key, "warn", path, "chmod 600")
      os.execute("chmod 600 " .. path)
      server:reply(MODELS)
      stream_well()
      lines = select(2, examine { api_key = opperchat.secret { file = path } })
      says(lines.key, "ok", path)
      os.remove(path)
    end)

    it("about a server without a list of models", function()
      server:reply { status = 404, body = "not here" }
      stream_well()
      local report, lines = examine()
      assert.is_true(report.ok)
      says(lines.models, "warn", "HTTP 404", "base_url")
      says(lines.answer, "ok", "stop")
      assert.is_nil(server:requests()[2].json.model)
      server:reset()
      server:default { status = 404, body = "not here" }
      report, lines = examine()
      assert.is_false(report.ok)
      says(lines.answer, "fail", "HTTP 404", "its path")
    end)

    it("about web pages", function()
      server:default { status = 200, body = "<html><title>Log in</title></html>",
        headers = { ["Content-Type"] = "text/html" } }
      local report, lines = examine()
      assert.is_false(report.ok)
      says(lines.models, "fail", "", "login page")
      says(lines.answer, "fail", "", "login page")
      server:default { status = 502, body = "<html><h1>502 Bad Gateway</h1></html>" }
      lines = select(2, examine({ max_retries = 0 }))
      says(lines.models, "fail", "HTTP 502", "try later")
    end)

    it("about streams that do not stream", function()
      server:reply(MODELS)
      server:stream({ event("1 2 3 4 5 6 7 8") .. event("9", "stop") .. USAGE .. DONE },
        { delay = 0.4 })
      local report, lines = examine()
      assert.is_true(report.ok)
      says(lines.stream, "warn", "at once", "proxy_buffering off")
      assert.truthy(tostring(report):find("0 problems, 1 warning.", 1, true))
    end)

    it("about streams without usage", function()
      server:reply(MODELS)
      server:stream { event("1 2 3"), event("4", "stop"), DONE }
      local _, lines = examine()
      says(lines.usage, "warn", "how many tokens")
    end)

    it("about servers that say nothing, in time", function()
      server:default { steps = { { "stall" } } }
      local begun = core.now()
      local _, lines = examine(nil, { timeout = 0.3 })
      assert.truthy(core.now() - begun < 5 * SLOW)
      says(lines.connection, "fail", "", "slow")
      server:reset()
      server:reply(MODELS)
      server:script { { "stall" } }
      begun = core.now()
      lines = select(2, examine(nil, { timeout = 0.5 * SLOW }))
      assert.truthy(core.now() - begun < 8 * SLOW)
      says(lines.answer, "fail", "no answer within", "slow")
    end)

    it("about certificates", function()
      if tls.problem then
        pending(tls.problem)
        return
      end
      server:default(MODELS)
      local _, lines = examine { base_url = tls:url(1), ca_file = tls.folder .. "/ca.pem" }
      says(lines.certificates, "ok", "1 in " .. tls.folder .. "/ca.pem")
      says(lines.connection, "ok", "HTTP/2")
      lines = select(2, examine { base_url = tls:url(1), ca_file = tls.folder .. "/other.pem" })
      says(lines.connection, "fail", "cannot be trusted", "ca_file or SSL_CERT_FILE")
      lines = select(2, examine { base_url = tls:url(2), ca_file = tls.folder .. "/ca.pem" })
      says(lines.connection, "fail", "", "expired")
      lines = select(2, examine { base_url = tls:url(3), ca_file = tls.folder .. "/ca.pem" })
      says(lines.connection, "fail", "", "another host")
      for _, name in ipairs { "/none.pem", "/nginx.conf" } do
        lines = select(2, examine { base_url = tls:url(1), ca_file = tls.folder .. name })
        says(lines.certificates, "fail", tls.folder .. name, "ca_file")
      end
    end)

    it("about proxies", function()
      local _, lines = examine { base_url = "https://opper.invalid/v1",
        proxy = "http://joe:s3same@127.0.0.1:9" }
      says(lines.proxy, "ok", "http://127.0.0.1:9 (option proxy)")
      says(lines.name, "skip", "the proxy looks up opper.invalid")
      says(lines.connection, "fail", "", "")
      local hosts = { "example.com", "127.0.0.1" }
      lines = select(2, examine { proxy = "http://127.0.0.1:9", no_proxy = hosts })
      says(lines.proxy, "ok", "none for this host")
    end)
  end)

  it("is a method of clients, and works in a coroutine", function()
    server:reply(MODELS)
    stream_well()
    local ticks, report = 0, nil
    local client = client_of()
    local task = opperchat.go(function()
      report = client:doctor { write = false, timeout = 5 * SLOW }
    end)
    opperchat.go(function()
      while not report do
        ticks = ticks + 1
        opperchat.sleep(0.005)
      end
    end)
    task:wait()
    assert.is_true(report.ok)
    assert.truthy(ticks > 3)
    client:close()
  end)

  it("checks its options", function()
    for given, text in pairs {
      ["{ modell = 'x' }"] = "unknown option 'modell' (did you mean 'model'?)",
      ["{ timeout = 'x' }"] = "option 'timeout': number >= 0 expected",
      ["{ write = true }"] = "function or false expected",
      ["5"] = "table of options expected",
      ["{ client = io.stdout }"] = "client expected",
    } do
      local load_text = loadstring or load -- luacheck: ignore 113
      local ok, message = pcall(load_text("require('opperchat').doctor(" .. given .. ")", "=here"))
      assert.is_false(ok)
      assert.truthy(message:find("here:1: doctor: ", 1, true), message)
      assert.truthy(message:find(text, 1, true), message)
    end
    assert.is_false(pcall(opperchat.doctor, { client = opperchat.conversation() }))
  end)

  -- What a program prints that examines the default client with these variables.
  local function examine_with(variables)
    return (shell.run_lua('os.exit(require("opperchat").doctor{ timeout = 10 }.ok and 0 or 1)',
      shell.env(variables)))
  end

  it("examines the default client", function()
    server:reply(MODELS)
    stream_well()
    local output = examine_with { OPPER_API_KEY = KEY, OPPER_BASE_URL = server.url }
    assert.truthy(output:find("environment variable OPPER_API_KEY", 1, true), output)
    assert.truthy(output:find("\nAll is well.\n$"), output)
    assert.falsy(output:find(KEY, 1, true) or output:find("\27", 1, true), output)
    output = examine_with { OPPER_BASE_URL = "ftp://x" }
    assert.truthy(output:find("fail  client", 1, true), output)
    assert.truthy(output:find("OPPER_BASE_URL", 1, true), output)
    output = examine_with { OPPER_API_KEY = KEY .. "\1", OPPER_BASE_URL = server.url }
    assert.truthy(output:find("fail  client", 1, true), output)
    assert.falsy(output:find(KEY, 1, true), output)
  end)

  it("knows proxies of the environment", function()
    local output = examine_with {
      http_proxy = "http://joe:s3same@127.0.0.1:9", no_proxy = "example.com",
      OPPER_BASE_URL = "http://opper.invalid/v1",
    }
    assert.truthy(output:find("http://127.0.0.1:9 (http_proxy)", 1, true), output)
    assert.falsy(output:find("s3same", 1, true), output)
  end)

  it("finds the offline server well", function()
    local offline = dofile("examples/support/offline.lua").start("lua5.4")
    local report = opperchat.client { base_url = offline.url, api_key = "" }
      :doctor { write = false, tools = true }
    offline:stop()
    assert.truthy(tostring(report):find("All is well", 1, true), tostring(report))
  end)
end)
