-- The client: its options and defaults, the key, headers, proxies, and what
-- is left of it when it is closed.

local socket = require "socket"
local cjson = require("cjson").new()
local core = require "opperchat.core"
local opperchat = require "opperchat"
local Server = require "spec.support.server"
local shell = require "spec.support.shell"

local KEY = "op-5ecret-Key.0123456789"

-- Nothing listens on the discard port.
local NOWHERE = "http://127.0.0.1:9/v1"

local load_text = loadstring or load -- luacheck: ignore 113

-- What a program prints that runs with these environment variables; what it
-- raises is printed, too.
local function child(environment, program)
  return (shell.run_lua("local ok, problem = pcall(function()\n" .. program
    .. "\nend)\nif not ok then print(problem) end\n", shell.env(environment)):gsub("\n$", ""))
end

-- The function raises a message that matches, at a line of its own.
local function raises(pattern, f)
  local ok, message = pcall(f)
  assert.is_false(ok, "nothing was raised")
  assert.equal("string", type(message))
  local line, text = message:match("^[^\n]*client_spec%.lua:(%d+): ([^\n]*)$")
  assert.truthy(line, "raised elsewhere: " .. message)
  local info = debug.getinfo(f, "S")
  line = tonumber(line)
  assert.truthy(line >= info.linedefined and line <= info.lastlinedefined, message)
  assert.truthy(text:find(pattern), text)
  assert.falsy(text:find(KEY, 1, true), text)
  return text
end

-- Every string that can be reached from a value.
local function strings_in(value, found, seen)
  found, seen = found or {}, seen or {}
  if type(value) == "string" then
    found[#found + 1] = value
  elseif type(value) == "table" and not seen[value] then
    seen[value] = true
    for key, item in pairs(value) do
      strings_in(key, found, seen)
      strings_in(item, found, seen)
    end
  end
  return found
end

describe("a client", function()
  local server = Server.for_tests()

  before_each(function()
    collectgarbage()
  end)

  -- A conversation over a client with these options.
  local function talk(given)
    given.base_url = given.base_url or server.url
    given.timeout = given.timeout or { connect = 20, first_token = 20 }
    given.max_retries = given.max_retries or 0
    local client = opperchat.client(given)
    return opperchat.conversation { client = client, model = "test/model" }, client
  end

  -- The only request that a conversation over such a client sends.
  local function request_of(given)
    server:reset()
    local chat, client = talk(given)
    collectgarbage()
    assert.equal("ok", assert(chat:send("hello")).content)
    client:close()
    local requests = server:requests()
    assert.equal(1, #requests)
    return requests[1]
  end

  describe("takes from the environment", function()
    local SHOW = [[
      local opperchat = require "opperchat"
      print(tostring(opperchat.client()))
    ]]

    it("nothing when there is nothing", function()
      assert.equal("opperchat.client (https://api.opper.ai/v3/compat, no key)", child({}, SHOW))
    end)

    it("nothing from empty variables", function()
      assert.equal("opperchat.client (https://api.opper.ai/v3/compat, no key)",
        child({ OPPER_API_KEY = "", OPPER_BASE_URL = "" }, SHOW))
    end)

    it("the key and the address", function()
      assert.equal("opperchat.client (http://gateway.example/a/b, key <redacted>)",
        child({ OPPER_API_KEY = KEY, OPPER_BASE_URL = "http://gateway.example/a/b/" }, SHOW))
    end)

    it("only what the options leave open", function()
      local request = server:status().accepted
      local output = child({ OPPER_API_KEY = KEY, OPPER_BASE_URL = NOWHERE }, [[
        local opperchat = require "opperchat"
        local client = opperchat.client { api_key = "mine", base_url = "]] .. server.url .. [[" }
        local chat = opperchat.conversation { client = client }
        print(assert(chat:send("hello")).content)
        client = opperchat.client { api_key = "", base_url = "]] .. server.url .. [[" }
        chat = opperchat.conversation { client = client }
        print(assert(chat:send("hello")).content)
      ]])
      assert.equal("ok\nok", output)
      assert.equal(request + 2, server:status().accepted)
      assert.equal("Bearer mine", server:requests()[1].headers.authorization)
      assert.is_nil(server:requests()[2].headers.authorization)
    end)

    it("one client for all conversations that have none", function()
      local output = child({ OPPER_API_KEY = KEY, OPPER_BASE_URL = server.url }, [[
        local opperchat = require "opperchat"
        for i = 1, 5 do
          local chat = opperchat.conversation { model = "m" .. i }
          collectgarbage()
          io.write(assert(chat:send("hello")).content, " ")
        end
      ]])
      assert.equal("ok ok ok ok ok ", output)
      local requests = server:requests()
      assert.equal(5, #requests)
      for i, request in ipairs(requests) do
        assert.equal(requests[1].connection, request.connection)
        assert.equal("Bearer " .. KEY, request.headers.authorization)
        assert.equal("m" .. i, request.json.model)
      end
    end)

    it("no rubbish", function()
      local output = child({ OPPER_BASE_URL = "gateway.example" }, SHOW)
      assert.truthy(output:find("^[^\n]*:3: client: OPPER_BASE_URL: must start with http"), output)
      output = child({ OPPER_BASE_URL = "http://127.0.0.1:99999/" }, SHOW)
      assert.truthy(output:find("^[^\n]*:3: client: "), output)
      output = child({ OPPER_API_KEY = KEY .. "\n" }, SHOW)
      assert.truthy(output:find("^[^\n]*:3: client: OPPER_API_KEY: control character"), output)
      assert.falsy(output:find(KEY, 1, true))
    end)

    it("a proxy, unless there is to be none", function()
      local proxy = Server.start()
      local program = [[
        local opperchat = require "opperchat"
        local client = opperchat.client { base_url = "%s", proxy = %s }
        local chat = opperchat.conversation { client = client }
        print(assert(chat:send("hello")).content)
      ]]
      local environment = { http_proxy = proxy.url:gsub("/v1", "") }
      assert.equal("ok", child(environment, program:format("http://opper.invalid/v1", "nil")))
      assert.equal("http://opper.invalid/v1/chat/completions", proxy:requests()[1].path)
      assert.equal("ok", child(environment, program:format(server.url, '""')))
      assert.equal(1, #proxy:requests())
      assert.equal(1, #server:requests())
      proxy:stop()
    end)
  end)

  describe("has defaults", function()
    it("for all limits", function()
      local settings = core.state(opperchat.client { base_url = NOWHERE }).settings
      assert.equal(10, settings.connect)
      assert.equal(300, settings.first_token)
      assert.equal(60, settings.idle)
      assert.is_nil(settings.total)
      assert.equal(64 * 1024 * 1024, settings.max_response)
    end)

    it("for each limit on its own", function()
      local settings = core.state(opperchat.client {
        base_url = NOWHERE, timeout = { idle = 5, first_token = false },
      }).settings
      assert.equal(10, settings.connect)
      assert.is_nil(settings.first_token)
      assert.equal(5, settings.idle)
    end)

    it("in its headers", function()
      local request = request_of {}
      assert.equal("POST", request.method)
      assert.equal("application/json", request.headers["content-type"])
      assert.equal("opperchat/" .. opperchat.version, request.headers["user-agent"])
      assert.equal("127.0.0.1:" .. server.port, request.headers.host)
      assert.is_nil(request.headers.expect)
      assert.is_nil(request.headers.cookie)
      assert.truthy(request.headers["x-opper-trace-id"]:find("^%x+%-%x+%-4%x+%-[89ab]%x+%-%x+$"))
    end)
  end)

  it("keeps nothing of the table it was made of", function()
    local headers = { ["X-One"] = "1" }
    local given = { base_url = server.url, headers = headers, timeout = { total = 20 } }
    local client = opperchat.client(given)
    headers["X-One"], headers["X-Two"] = "2", "2"
    given.base_url, given.timeout.total = NOWHERE, 0.001
    local chat = opperchat.conversation { client = client }
    assert(chat:send("hello"))
    assert.equal("1", server:requests()[1].headers["x-one"])
    assert.is_nil(server:requests()[1].headers["x-two"])
  end)

  describe("refuses", function()
    it("what it does not know", function()
      raises("^client: unknown option 'api_kye' %(did you mean 'api_key'%?%)$", function()
        opperchat.client { api_kye = KEY }
      end)
      raises("^client: unknown option 'temperature': it belongs to", function()
        opperchat.client { temperature = 1 }
      end)
      raises("^client: table of options expected, got string$", function()
        opperchat.client(KEY)
      end)
    end)

    it("options of the wrong type", function()
      for name, values in pairs {
        api_key = { 5, {}, true },
        base_url = { 5, "", "gateway.example", "ftp://gateway.example", "http://", "http:///v1",
          "http://a b/", "http://a/?key=1", "http://a/#x", "http://a/\r\nX: y" },
        headers = { 5, "X: y", { "X: y" }, { X = 5 } },
        timeout = { 5, { connect = 0 }, { idle = -1 }, { total = "1" }, { conect = 1 },
          { total = 0 / 0 }, { total = 1 / 0 } },
        max_connections = { 0, -1, 1.5, "2" },
        max_response_bytes = { 0, "1" },
        proxy = { 5, "http://a\r\nb" },
        ca_file = { 5, "a\0b" },
        http2 = { 1, "yes" },
        on_request = { 1, {} },
      } do
        for _, value in ipairs(values) do
          raises("^client: option '" .. name .. "': ", function()
            opperchat.client { [name] = value }
          end)
        end
      end
    end)

    it("an address that is none", function()
      for _, url in ipairs { "http://127.0.0.1:99999/v1", "http://[::1/v1", "http://a%00b/v1" } do
        raises("^client: ", function()
          opperchat.client { base_url = url }
        end)
      end
    end)

    it("line breaks in the key", function()
      for _, ending in ipairs { "\n", "\r", "\r\nX-Evil: 1", "\0" } do
        raises("^client: option 'api_key': control character at byte " .. #KEY + 1, function()
          opperchat.client { api_key = KEY .. ending }
        end)
      end
    end)

    it("line breaks in headers, and headers that are not the caller's", function()
      raises("^client: option 'headers': 'X%-A': control character at byte 2", function()
        opperchat.client { headers = { ["X-A"] = "1\r\nX-Evil: 1" } }
      end)
      raises("^client: option 'headers': 'X%-A%?X%-Evil: 1' is not the name", function()
        opperchat.client { headers = { ["X-A\nX-Evil: 1"] = "1" } }
      end)
      for _, name in ipairs { "Content-Length", "transfer-encoding" } do
        raises("^client: option 'headers': .* cannot be set$", function()
          opperchat.client { headers = { [name] = "5" } }
        end)
      end
    end)

    it("line breaks in Opper's own headers", function()
      raises("^client: option 'name': control character", function()
        opperchat.client { name = "a\r\nb" }
      end)
      raises("^client: option 'tags': 'a': control character", function()
        opperchat.client { tags = { a = "a\r\nb" } }
      end)
    end)

    it("a conversation over something else", function()
      raises("^conversation: option 'client': client expected, got table$", function()
        opperchat.conversation { client = {} }
      end)
      raises("^conversation: option 'client': client expected, got conversation$", function()
        opperchat.conversation { client = opperchat.conversation {} }
      end)
    end)
  end)

  describe("with Opper's own host", function()
    local OPPER = "https://api.opper.ai/v3/compat"

    it("and no key says so before it sends anything", function()
      for _, url in ipairs { OPPER, "HTTPS://API.OPPER.AI/v3/compat", "https://opper.ai",
        "http://eu.opper.ai:8080/x", "https://user@api.opper.ai/v3/compat",
        "https://user:pw@api.opper.ai/v3/compat" } do
        local before = server:status().accepted
        local chat = talk { api_key = "", base_url = url, proxy = server.url:gsub("/v1", "") }
        local reply, err = chat:send("hello")
        assert.is_nil(reply)
        assert.equal("api", err.kind)
        assert.equal("missing_api_key", err.code)
        assert.is_false(err.retryable)
        assert.truthy(err.message:find("OPPER_API_KEY", 1, true))
        assert.equal(0, #chat)
        assert.equal(before, server:status().accepted)
        chat = talk {
          api_key = function() return "" end, base_url = url, proxy = server.url:gsub("/v1", ""),
        }
        reply, err = chat:send("hello")
        assert.is_nil(reply)
        assert.equal("missing_api_key", err.code)
        assert.truthy(err.message:find("the api_key function returned \"\"", 1, true), err.message)
        assert.equal(before, server:status().accepted)
      end
    end)

    it("and an Authorization header of the caller's sends", function()
      server:reply { status = 403, body = "no tunnel" }
      local chat = talk {
        api_key = "", base_url = OPPER, headers = { AUTHORIZATION = "Bearer own" },
        proxy = server.url:gsub("/v1", ""),
      }
      local _, err = chat:send("hello")
      assert.equal("network", err.kind)
      local request = server:requests()[1]
      assert.equal("CONNECT", request.method)
      assert.equal("api.opper.ai:443", request.path)
      assert.is_nil(request.headers.authorization)
    end)

    it("does not take another one for it", function()
      for _, host in ipairs { "notopper.ai", "opper.ai.example", "api-opper.ai" } do
        server:reset()
        local chat = talk {
          api_key = "", base_url = "http://" .. host .. "/v1", proxy = server.url:gsub("/v1", ""),
        }
        assert(chat:send("hello"))
        assert.is_nil(server:requests()[1].headers.authorization)
      end
    end)
  end)

  describe("sends its key", function()
    it("as a bearer token", function()
      assert.equal("Bearer " .. KEY, request_of({ api_key = KEY }).headers.authorization)
      assert.is_nil(request_of({ api_key = "" }).headers.authorization)
    end)

    it("from a function that is asked before each request", function()
      local count = 0
      local chat = talk {
        api_key = function()
          count = count + 1
          collectgarbage()
          return "key" .. count
        end,
      }
      assert.equal(0, count)
      assert(chat:send("one"))
      assert(chat:send("two"))
      assert.equal(2, count)
      assert.equal("Bearer key1", server:requests()[1].headers.authorization)
      assert.equal("Bearer key2", server:requests()[2].headers.authorization)
    end)

    it("unless the function fails", function()
      local function answer()
        return KEY
      end
      local chat = talk {
        api_key = function()
          return answer()
        end,
      }
      assert(chat:send("hello"))
      local function fails(pattern, f)
        answer = f
        local reply, err = chat:send("again")
        assert.is_nil(reply)
        assert.equal("api", err.kind)
        assert.equal("missing_api_key", err.code)
        assert.truthy(err.message:find(pattern), err.message)
        assert.falsy(tostring(err):find("[\r\n]"))
        assert.falsy(tostring(err):find(KEY, 1, true))
        assert.equal(2, #chat)
      end
      fails("vault is sealed", function() error("vault is sealed") end)
      fails("vault%sis sealed", function() error("vault\nis sealed", 0) end)
      fails("failed", function() error({}) end)
      fails("failed", function() error() end)
      fails("got nil", function() return nil end)
      fails("got nil", function() end)
      fails("got boolean", function() return false end)
      fails("got number", function() return 5 end)
      fails("got table", function() return { KEY } end)
      fails("control characters", function() return KEY .. "\n" end)
      fails("control characters", function() return KEY .. "\r\nX-Evil: 1" end)
      fails("control characters", function() return KEY .. "\0" end)
      assert.equal(1, #server:requests())
      answer = function() return "good" end
      assert(chat:send("again"))
      assert.equal("Bearer good", server:requests()[2].headers.authorization)
    end)

    it("and none when the function returns \"\"", function()
      local keys, asked = { "", KEY, "" }, {}
      local chat, client = talk {
        api_key = function(is_refused)
          asked[#asked + 1] = is_refused
          return table.remove(keys, 1)
        end,
      }
      assert(chat:send("one"))
      assert(chat:send("two"))
      server:reply { body = { object = "list", data = { { id = "a/model" } } } }
      assert(client:models())
      assert.is_nil(server:requests()[1].headers.authorization)
      assert.equal("Bearer " .. KEY, server:requests()[2].headers.authorization)
      assert.is_nil(server:requests()[3].headers.authorization)
      -- a server that wants one after all: the function may think again
      keys = { "", KEY }
      server:reply { status = 401, body = '{"error":"who are you?"}' }
      assert(chat:send("three"))
      assert.is_nil(server:requests()[4].headers.authorization)
      assert.equal("Bearer " .. KEY, server:requests()[5].headers.authorization)
      assert.same({ false, false, false, false, true }, asked)
    end)

    it("unless the caller has an Authorization header", function()
      local request = request_of { api_key = KEY, headers = { authorization = "Basic eDp5" } }
      assert.equal("Basic eDp5", request.headers.authorization)
      request = request_of { api_key = KEY, headers = { Authorization = "" } }
      assert.equal("", request.headers.authorization or "")
    end)
  end)

  describe("never shows its key", function()
    it("in its text or its state", function()
      local chat, client = talk { api_key = KEY }
      assert.equal("opperchat.client (" .. server.url .. ", key <redacted>)", tostring(client))
      assert(chat:send("hello"))
      for _, object in ipairs { client, chat } do
        assert.falsy(tostring(object):find(KEY, 1, true))
        for _, text in ipairs(strings_in(core.state(object))) do
          assert.falsy(text:find(KEY, 1, true), text)
        end
      end
    end)

    it("nor the password in an address", function()
      local _, client = talk { base_url = server.url:gsub("//", "//joe:s3same@") }
      assert.falsy(tostring(client):find("s3same", 1, true), tostring(client))
    end)

    it("in an error, not even when the server repeats it", function()
      local bodies = {
        '{"error":"invalid bearer token ' .. KEY .. '"}',
        '{"error":{"message":"' .. KEY .. KEY .. ' is bad","code":"' .. KEY .. '"}}',
        "<html>no such key: " .. KEY .. "</html>",
      }
      for _, body in ipairs(bodies) do
        for _, status in ipairs { 401, 200 } do
          server:reset()
          server:reply { status = status, body = body }
          local chat = talk {
            api_key = status == 401 and KEY or function() return KEY end,
          }
          local _, err = chat:send("hello")
          for _, text in ipairs(strings_in(err)) do
            assert.falsy(text:find(KEY, 1, true), text)
          end
          assert.falsy(tostring(err):find(KEY, 1, true))
        end
      end
    end)

    it("in an error of the transport", function()
      local chat = talk { api_key = KEY, base_url = NOWHERE }
      local _, err = chat:send("hello")
      assert.equal("connection_refused", err.code)
      assert.falsy(cjson.encode { err.message, err.code, tostring(err) }:find(KEY, 1, true))
    end)
  end)

  it("takes any path as base_url", function()
    local root = server.url:gsub("/v1", "")
    for base, path in pairs {
      [""] = "/chat/completions",
      ["/"] = "/chat/completions",
      ["/v1"] = "/v1/chat/completions",
      ["/v1/"] = "/v1/chat/completions",
      ["/v1///"] = "/v1/chat/completions",
      ["/v3/compat"] = "/v3/compat/chat/completions",
      ["/openai/deployments/a%20b/"] = "/openai/deployments/a%20b/chat/completions",
      ["/a:b@c/~d;e=1,2"] = "/a:b@c/~d;e=1,2/chat/completions",
      ["/%C3%A4"] = "/%C3%A4/chat/completions",
    } do
      local request = request_of { base_url = root .. base }
      assert.equal(path, request.path)
    end
    assert.equal("/v1/chat/completions",
      request_of({ base_url = server.url:gsub("http", "HTTP") }).path)
  end)

  describe("sends headers", function()
    it("of the caller's", function()
      local request = request_of {
        headers = { ["X-Tenant"] = "42", ["X-Empty"] = "", ["X-Odd"] = "a: b; c=\"d\" \195\164" },
      }
      assert.equal("42", request.headers["x-tenant"])
      assert.equal("", request.headers["x-empty"])
      assert.equal("a: b; c=\"d\" \195\164", request.headers["x-odd"])
    end)

    it("of the caller's in place of its own", function()
      for name, value in pairs {
        ["User-Agent"] = "mygame/1.0",
        ["accept"] = "application/x-own",
        ["CONTENT-TYPE"] = "application/json; charset=utf-8",
        ["Host"] = "gateway.example",
        ["X-Opper-Trace-Id"] = "11111111-2222-4333-8444-555555555555",
        ["x-opper-name"] = "mine",
      } do
        local request = request_of { name = "ours", headers = { [name] = value } }
        -- one that is there twice shows as "a, b"
        assert.equal(value, request.headers[name:lower()], name)
      end
    end)

    it("of Opper's", function()
      local request = request_of {
        name = "npc", tags = { team = "a b", level = 3 }, guard = { input = { "pii", "secrets" } },
      }
      assert.equal("npc", request.headers["x-opper-name"])
      assert.equal("level:3,team:a b", request.headers["x-opper-tags"])
      assert.equal("pii,secrets", request.headers["x-opper-guard-input"])
    end)
  end)

  describe("goes through a proxy", function()
    local proxy

    before_each(function()
      proxy = server.url:gsub("/v1", "")
    end)

    it("that sees the whole address", function()
      local request = request_of {
        api_key = KEY, base_url = "http://opper.invalid/v1", proxy = proxy,
      }
      assert.equal("http://opper.invalid/v1/chat/completions", request.path)
      assert.equal("opper.invalid", request.headers.host)
      assert.equal("hello", request.json.messages[1].content)
    end)

    it("that does not get the key of a TLS connection", function()
      server:reply { status = 407, body = "who are you?" }
      local chat = talk {
        api_key = KEY, base_url = "https://opper.invalid/v1",
        proxy = proxy:gsub("//", "//joe:s3same@"),
      }
      local _, err = chat:send("hello")
      assert.equal("network", err.kind)
      assert.equal("proxy_failed", err.code)
      assert.falsy(tostring(err):find("s3same", 1, true))
      local request = server:requests()[1]
      assert.equal("CONNECT", request.method)
      assert.is_nil(request.headers.authorization)
      assert.is_nil(request.headers["x-opper-trace-id"])
      assert.equal("Basic am9lOnMzc2FtZQ==", request.headers["proxy-authorization"])
    end)

    it("or says that it cannot", function()
      for _, address in ipairs { "http://127.0.0.1:9", "http://proxy.invalid:80", "rubbish://x",
        "::::" } do
        local chat = talk { proxy = address }
        local reply, err = chat:send("hello")
        assert.is_nil(reply)
        assert.equal("network", err.kind)
        assert.equal(0, #chat)
      end
      assert.equal(0, #server:requests())
    end)
  end)

  it("opens no more than max_connections", function()
    local chat, client = talk { max_connections = 2 }
    local requests = {}
    for i = 1, 6 do
      requests[i] = chat:fork():start("hello")
    end
    for i = 1, 6 do
      assert.equal("ok", assert(requests[i]:wait(20)).content)
    end
    local seen, count = {}, 0
    for _, request in ipairs(server:requests()) do
      if not seen[request.connection] then
        seen[request.connection] = true
        count = count + 1
      end
    end
    assert.equal(2, count)
    client:close()
  end)

  describe("tells on_request", function()
    it("what is sent, and to where", function()
      local told = {}
      local chat = talk {
        api_key = KEY,
        on_request = function(event)
          told[#told + 1] = event
        end,
      }
      assert(chat:send("hello"))
      assert.equal(1, #told)
      assert.equal(server.url .. "/chat/completions", told[1].url)
      assert.equal(chat, told[1].conversation)
      for _, text in ipairs(strings_in(told[1])) do
        assert.falsy(text:find(KEY, 1, true))
      end
    end)

    it("and is not hurt by what it raises", function()
      local problem = "no more requests"
      local chat, client = talk {
        on_request = function()
          if problem then
            error(problem, 0)
          end
        end,
      }
      local ok, message = pcall(chat.send, chat, "hello")
      assert.is_false(ok)
      assert.truthy(tostring(message):find(problem, 1, true))
      assert.equal(0, #chat)
      assert.equal(0, client:active())
      assert.equal(0, #server:requests())
      problem = nil
      assert.equal("ok", assert(chat:send("hello")).content)
    end)
  end)

  describe("that is closed", function()
    it("is closed for good, and may be closed again", function()
      local chat, client = talk { api_key = KEY }
      assert(chat:send("hello"))
      client:close()
      client:close()
      collectgarbage()
      client:close()
      assert.equal("opperchat.client (closed)", tostring(client))
      assert.equal(0, client:active())
      assert.equal("client", (opperchat.type(client)))
    end)

    it("lets go of its connections", function()
      -- a server of its own: clients of the tests before may still wait for the collector
      local own = Server.start()
      local client = opperchat.client { base_url = own.url, api_key = KEY }
      local chat = opperchat.conversation { client = client, model = "m" }
      assert(chat:send("hello"))
      local open_before = own:status().open
      client:close()
      local deadline = socket.gettime() + 10
      while own:status().open > 0 and socket.gettime() < deadline do
        socket.sleep(0.01)
      end
      local open_behind = own:status().open
      own:stop()
      assert.equal(1, open_before)
      assert.equal(0, open_behind)
    end)

    it("leaves its conversations readable", function()
      local chat, client = talk {}
      assert(chat:send("hello"))
      client:close()
      collectgarbage()
      assert.equal(2, #chat)
      assert.equal("ok", chat:last().content)
      chat:append("user", "more")
      assert.equal(3, #chat)
      assert.truthy(chat:preview():find('"more"', 1, true))
      for _ = 1, 2 do
        raises("^client is closed$", function()
          chat:send("again")
        end)
      end
      assert.equal(3, #chat)
      -- a fork may have another one
      local other = chat:fork { client = opperchat.client { base_url = server.url } }
      assert.equal("ok", assert(other:send()).content)
      assert.equal(4, #other)
      assert.equal(3, #chat)
    end)

    it("need not have been used", function()
      for _ = 1, 3 do
        opperchat.client({ base_url = NOWHERE, api_key = KEY }):close()
      end
      collectgarbage()
    end)

    it("raises where methods are called on something else", function()
      local close = opperchat.client({ base_url = NOWHERE }).close
      raises("^client expected, got table %(call methods with a colon%)$", function() close({}) end)
      raises("^client expected, got nil %(call methods with a colon%)$", function()
        close()
      end)
      raises("^client expected, got userdata$", function() close(io.stdout) end)
      raises("^client expected, got userdata$", function() close(opperchat.conversation {}) end)
    end)

    it("by <close> where Lua has it", function()
      local chunk = load_text([[
        local opperchat, url = ...
        local kept
        do
          local client <close> = opperchat.client { base_url = url }
          kept = client
        end
        return tostring(kept)
      ]])
      if not chunk then
        return
      end
      local text = chunk(opperchat, server.url)
      assert.truthy(text:find("closed", 1, true), text)
    end)
  end)

  it("lives as long as a conversation refers to it", function()
    local chat = talk {}
    for _ = 1, 3 do
      collectgarbage()
      collectgarbage()
      assert.equal("ok", assert(chat:send("hello")).content)
    end
    assert.equal(server:requests()[1].connection, server:requests()[3].connection)
  end)

  it("closes its connections when it is collected", function()
    collectgarbage()
    collectgarbage()
    socket.sleep(0.02)
    local before = server:status().open
    for _ = 1, 5 do
      local chat = talk {}
      assert(chat:send("hello"))
    end
    collectgarbage()
    collectgarbage()
    local deadline = socket.gettime() + 10
    while server:status().open > before and socket.gettime() < deadline do
      socket.sleep(0.01)
    end
    assert.equal(before, server:status().open)
  end)

  it("leaves no descriptor behind", function()
    if not shell.count_descriptors() then
      pending("no /proc")
      return
    end
    local function use()
      for i = 1, 30 do
        local chat, client = talk {}
        assert(chat:send("hello"))
        if i % 2 == 0 then
          client:close()
        end
      end
      collectgarbage()
      collectgarbage()
      return shell.count_descriptors()
    end
    -- the first round clears what the tests before this one have left to the collector
    local before = use()
    local after = use()
    assert.is_true(after <= before, before .. " descriptors, then " .. after)
  end)

  -- How many descriptors a child process has; nil where they cannot be counted.
  -- (Its parent's it must not count: those of the pipe are still being closed.)
  local function inherited()
    local pipe = io.popen("ls /proc/self/fd 2>/dev/null")
    local count = 0
    for _ in pipe:lines() do
      count = count + 1
    end
    pipe:close()
    return count > 0 and count or nil
  end

  it("keeps its descriptors from child processes", function()
    collectgarbage()
    collectgarbage()
    local before = inherited()
    if not before then
      pending("no /proc")
      return
    end
    local chat, client = talk {}
    assert.equal(before, inherited())
    assert(chat:send("hello"))
    assert.equal(before, inherited())
    client:close()
  end)
end)
