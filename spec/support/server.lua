--- A scripted chat-completions server for the specs, in a process of its own.
--
--   local Server = require "spec.support.server"
--   local server = Server.start()
--   server:reply{ status = 429, headers = { ["Retry-After"] = "1" } }
--   server:reply{ body = { choices = { ... } } }
--   ... talk to server.url ...
--   server:requests()[1].json.messages
--   server:stop()
--
-- Or, in a spec, `local server = Server.for_tests()`, which does the rest by itself.
--
-- The server runs on lua5.4 whatever the tests run on, and ends by itself
-- when the test process does.

local socket = require "socket"

local here = debug.getinfo(1, "S").source:match("^@(.*[/\\])") or "./"
local wire = dofile(here .. "wire.lua")

local has_cjson, cjson = pcall(require, "cjson")
if has_cjson then
  -- Private, so that neither the tests' settings nor ours reach the other.
  cjson = cjson.new()
else
  cjson = vim.json -- luacheck: ignore (Neovim without lua-cjson)
end

---@class spec.Server
---@field url string "http://127.0.0.1:PORT/v1"
---@field port integer
local Server = {}
Server.__index = Server

-- Started and not yet stopped. It keeps the pipes alive: collecting one waits
-- for its process, which would wait for us.
local running = {} -- luacheck: ignore 241

local function quote(word)
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

local function launch(self)
  local interpreter = os.getenv("OPPERCHAT_SERVER_LUA") or "lua5.4"
  -- A preloaded sanitizer is for the tests; `exec` leaves no shell behind in
  -- which it would look for leaks.
  local pipe = assert(io.popen("unset LD_PRELOAD; exec " .. quote(interpreter) .. " "
    .. quote(here .. "server_main.lua") .. " </dev/null", "r"))
  local line = pipe:read("*l") or ""
  local port, control_port = line:match("^(%d+) (%d+)$")
  if not port then
    pipe:close()
    error("the test server did not start; it needs " .. interpreter .. " and lua-socket", 3)
  end
  local control = assert(socket.connect("127.0.0.1", tonumber(control_port)))
  control:setoption("tcp-nodelay", true)
  control:settimeout(60)
  self.port = tonumber(port)
  self.url = "http://127.0.0.1:" .. port .. "/v1"
  self.control, self.pipe = control, pipe
  running[self] = true
  return setmetatable(self, Server)
end

--- Starts a server on a free loopback port; returns when it listens.
---@return spec.Server
function Server.start()
  return launch({})
end

--- One for all tests of the block or file that this is called in: it is started
--- before the first, each finds it reset, and it is stopped behind the last.
---@return spec.Server
function Server.for_tests()
  local busted = require "busted"
  local self = setmetatable({}, { __index = function(_, name)
    error("server." .. tostring(name) .. ": there is a server only while tests run", 2)
  end })
  busted.setup(function()
    launch(self)
  end)
  busted.before_each(function()
    self:reset()
  end)
  busted.teardown(function()
    self:stop()
  end)
  return self
end

-- Sends one command and waits until it has been carried out.
function Server:command(name, answer)
  assert(self.control, "the test server has been stopped")
  assert(self.control:send(wire.encode({ command = name, answer = answer })))
  local length = assert(self.control:receive("*l"))
  return wire.decode(assert(self.control:receive(tonumber(length)))).value
end

local function prepare(answer)
  local copy = { kind = "reply" }
  for key, value in pairs(answer) do
    copy[key] = value
  end
  if type(copy.body) == "table" then
    copy.body = cjson.encode(copy.body)
  end
  return copy
end

--- Queues one HTTP answer.
---@param answer { status: integer?, reason: string?, headers: table?, body: string|table?,
---  delay: number?, close: boolean? } `headers` is a map or a list of {name, value};
---  Content-Type and Content-Length are added unless given
---@return spec.Server
function Server:reply(answer)
  self:command("queue", prepare(answer or {}))
  return self
end

--- Queues a list of steps, played after the whole request has been read:
--- {"send", bytes[, times]} {"sleep", seconds} {"close"} {"reset"} {"stall"} {"hold"};
--- with {"hangup_before_reading"} first the connection is closed when the
--- request begins to arrive, with {"before_body"} first the steps start after
--- the request's headers. "hold" waits for `release`.
---@param steps table[]
---@return spec.Server
function Server:script(steps)
  self:command("queue", { kind = "script", steps = steps })
  return self
end

--- Queues a streamed answer, each string in an HTTP chunk of its own.
---@param chunks string[]
---@param options { pause: number?, status: integer?, headers: table?, delay: number?,
---  close: boolean? }?
---@return spec.Server
function Server:stream(chunks, options)
  local answer = prepare(options or {})
  answer.kind, answer.chunks = "stream", chunks
  self:command("queue", answer)
  return self
end

--- What to answer when the queue is empty; nil brings back the usual "ok",
--- which is streamed when the request asks for a stream.
---@param answer table? as for `reply`, or { chunks = {...} } as for `stream`
---@return spec.Server
function Server:default(answer)
  if answer then
    answer = prepare(answer)
    if answer.chunks then
      answer.kind = "stream"
    elseif answer.steps then
      answer.kind = "script"
    end
  end
  self:command("default", answer)
  return self
end

-- `json` is decoded when it is first looked at: bodies may be large.
local request_mt = {
  __index = function(request, key)
    if key == "json" and request.body ~= "" then
      local ok, value = pcall(cjson.decode, request.body)
      if ok then
        rawset(request, "json", value)
        return value
      end
    end
    return nil
  end,
}

--- Everything that was asked so far, in the order of arrival.
---@return table[] requests { method, path, version, headers, header_list, body, json,
---  connection, time, done }
function Server:requests()
  local list = self:command("requests")
  for _, request in ipairs(list) do
    setmetatable(request, request_mt)
  end
  return list
end

--- The last one.
---@return table? request
function Server:last_request()
  local list = self:requests()
  return list[#list]
end

--- The JSON of all of them.
---@return table[]
function Server:bodies()
  local list = self:requests()
  for i, request in ipairs(list) do
    list[i] = request.json
  end
  return list
end

--- Lets the connections that stand at a "hold" go on.
---@return integer count how many there were
function Server:release()
  return self:command("release")
end

--- Listens on one more port: on `port` if it is given, else on a free one. Its
--- connections are served like all others, or handed on to `target`, a port.
---@param port integer?
---@param target integer?
---@return integer port
function Server:listen(port, target)
  local result = self:command("listen", { port = port, target = target })
  assert(type(result) == "number", result)
  return result
end

--- Listens there no more; what is connected stays.
---@param port integer
function Server:unlisten(port)
  self:command("unlisten", port)
  return self
end

--- { open = connections now, accepted = connections ever, held =, queued =, requests = }
---@return table
function Server:status()
  return self:command("status")
end

--- Forgets the queue, the requests and the default answer.
---@return spec.Server
function Server:reset()
  self:command("reset")
  return self
end

--- Ends the process; safe to call twice.
function Server:stop()
  if self.control then
    self.control:send(wire.encode({ command = "stop" }))
    self.control:receive("*a")
    self.control:close()
    self.control = nil
    self.pipe:close()
    running[self] = nil
  end
end

return Server
