--- A small chat-completions server for trying things out without a network.
--
-- In a terminal of its own:
--
--   lua5.4 examples/offline_server.lua --port 8080
--
-- and in another one:
--
--   OPPER_BASE_URL=http://127.0.0.1:8080/v1 lua5.4 examples/quickstart.lua
--
-- It answers POST .../chat/completions, plain and streamed, and GET .../models
-- on the loopback interface, many connections at once. It prints its URL, on any
-- free port without --port, and runs until its standard input ends (Ctrl-D, or the
-- end of the program that started it) or nothing was asked for ten minutes.
--
--   --stay       does not look at its standard input: for `&`, scripts and services
--   --pace 0     how long its pauses take, times the usual: with 0 there are none
--
-- Needs lua-socket and lua-cjson. As a module (`dofile`) it only returns its
-- functions: `respond` turns a decoded request into a response without HTTP.

local cjson = require("cjson").new()
local socket = require "socket"

local here = debug.getinfo(1, "S").source:match("^@(.*[/\\])") or "./"
local pretend_model = dofile(here .. "support/pretend_model.lua")

local IDLE_LIMIT = 600
local MAX_HEAD = 65536
local MAX_BODY = 64 * 1024 * 1024
local CHUNK_PAUSE = 0.02

-- What its pauses are multiplied with.
local hurry = 1

local server = {}

-- What to answer --------------------------------------------------------------

local REASONS = {
  [200] = "OK", [400] = "Bad Request", [404] = "Not Found", [405] = "Method Not Allowed",
  [411] = "Length Required", [413] = "Content Too Large",
}

local function failure(status, code, message)
  return {
    status = status,
    headers = {},
    body = cjson.encode({ error = { code = code, type = code, message = message } }),
  }
end

local answered = 0

local function new_id()
  answered = answered + 1
  return string.format("chatcmpl-offline-%d-%d", os.time(), answered)
end

-- lua-cjson writes an empty table as {}, and `choices` has to be a list. Within
-- a string the quotes would be escaped, so only the key itself can match.
local function encode(value)
  return (cjson.encode(value):gsub('"choices":{}', '"choices":[]'))
end

-- The pieces of a streamed answer, each the text of one `data:` line.
local function stream_pieces(request, id, answer, calls, usage)
  local pieces = {}
  local function add(choices, fields)
    local chunk = {
      id = id, object = "chat.completion.chunk", created = os.time(), model = request.model,
      choices = choices,
    }
    for key, value in pairs(fields or {}) do
      chunk[key] = value
    end
    pieces[#pieces + 1] = encode(chunk)
  end
  local function delta(fields, finish_reason)
    add({ { index = 0, delta = fields, finish_reason = finish_reason or cjson.null } })
  end

  delta({ role = "assistant", content = "" })
  for word in answer:gmatch("%s*%S+") do
    delta({ content = word })
  end
  for i, call in ipairs(calls or {}) do
    local fn = call["function"]
    delta({ tool_calls = { { index = i - 1, id = call.id, type = call.type,
      ["function"] = { name = fn.name, arguments = "" } } } })
    for piece in fn.arguments:gmatch("..?.?.?.?.?.?.?") do
      delta({ tool_calls = { { index = i - 1, ["function"] = { arguments = piece } } } })
    end
  end
  delta({ content = "" }, calls and "tool_calls" or "stop")
  local options = request.stream_options
  if type(options) == "table" and options.include_usage then
    add({}, { usage = usage })
  end
  pieces[#pieces + 1] = "[DONE]"
  return pieces
end

-- The JSON Schema that the answer is asked to fit.
local function schema_of(format)
  if type(format) == "table" and format.type == "json_schema"
      and type(format.json_schema) == "table" and type(format.json_schema.schema) == "table" then
    return format.json_schema.schema
  end
  return nil
end

--- The response to a chat request.
---@param request table the decoded body
---@param headers table<string, string> the request's headers, names in lower case
---@return { status: integer, headers: table<string, string>, body: string?, pieces: string[]?,
---  pace: { delay: number, pause: number }? } with `pieces` instead of `body` when a stream was
---  asked for; `pace`: seconds before them and between them
function server.respond(request, headers)
  local messages = request.messages
  if type(messages) ~= "table" or #messages == 0 then
    return failure(400, "invalid_input", "messages is required")
  end
  for _, message in ipairs(messages) do
    if type(message) ~= "table" or type(message.role) ~= "string" then
      return failure(400, "invalid_input", "each message needs a role")
    end
  end
  if request.model ~= nil and type(request.model) ~= "string" then
    return failure(400, "invalid_input", "model must be a string")
  end
  request.model = request.model or "offline"

  local calls, answer, pace = pretend_model.call(messages, request)
  local schema = schema_of(request.response_format)
  if calls then
    answer = answer or ""
  elseif schema then
    answer = pretend_model.fill(messages, schema)
  else
    answer = answer or pretend_model.answer(messages)
  end
  local usage = pretend_model.usage(messages, answer, headers["x-opper-trace-id"])
  local id = new_id()
  local response = {
    status = 200,
    headers = {
      ["X-Opper-Trace-Id"] = headers["x-opper-trace-id"],
      ["X-Opper-Served-Model"] = request.model,
      ["X-Opper-Served-Provider"] = "offline",
    },
  }
  if request.stream == true then
    response.pieces = stream_pieces(request, id, answer, calls, usage)
    response.pace = pace
  else
    response.headers["X-Opper-Cost"] = string.format("%.8f", usage.cost)
    response.body = encode({
      id = id, object = "chat.completion", created = os.time(), model = request.model,
      choices = {
        {
          index = 0, finish_reason = calls and "tool_calls" or "stop",
          message = {
            role = "assistant", content = calls and cjson.null or answer, tool_calls = calls,
          },
        },
      },
      usage = usage,
    })
  end
  return response
end

-- Which answer a method and a path get.
local function route(method, path, headers, body)
  path = path:match("^[^?]*")
  if path:find("/chat/completions$") then
    if method ~= "POST" then
      return failure(405, "method_not_allowed", "use POST")
    end
    local ok, request = pcall(cjson.decode, body)
    if not ok or type(request) ~= "table" then
      return failure(400, "invalid_input", "the body is not a JSON object")
    end
    return server.respond(request, headers)
  elseif path:find("/models$") and method == "GET" then
    return {
      status = 200,
      headers = {},
      body = cjson.encode({
        object = "list",
        data = { { id = "offline", object = "model", created = 0, owned_by = "opperchat" } },
      }),
    }
  end
  return failure(404, "not_found", "there is nothing at " .. method .. " " .. path)
end

-- One connection --------------------------------------------------------------

-- Each connection is a coroutine. Where it would block it yields what it waits
-- for, "read", "write" or a number of seconds, and the loop resumes it then.

local Connection = {}
Connection.__index = Connection

-- At least one more byte in the buffer; nil when the client has gone.
function Connection:receive()
  while true do
    local data, err, partial = self.sock:receive(65536)
    data = data or partial
    if data and #data > 0 then
      return data
    elseif err ~= "timeout" then
      return nil
    end
    coroutine.yield("read")
  end
end

-- Everything up to `mark`, which is left out; nil at the end or above `limit`.
function Connection:read_until(mark, limit)
  while true do
    local first, last = self.buffer:find(mark, 1, true)
    if first then
      local text = self.buffer:sub(1, first - 1)
      self.buffer = self.buffer:sub(last + 1)
      return text
    end
    local data = #self.buffer <= limit and self:receive()
    if not data then
      return nil
    end
    self.buffer = self.buffer .. data
  end
end

function Connection:read_bytes(count)
  local parts, have = { self.buffer }, #self.buffer
  while have < count do
    local data = self:receive()
    if not data then
      return nil
    end
    parts[#parts + 1] = data
    have = have + #data
  end
  local text = table.concat(parts)
  self.buffer = text:sub(count + 1)
  return text:sub(1, count)
end

-- False when the client has gone.
function Connection:send(bytes)
  local sent = 0
  while sent < #bytes do
    local last, err, partial = self.sock:send(bytes, sent + 1)
    sent = last or partial
    if not last and err ~= "timeout" then
      return false
    elseif not last then
      coroutine.yield("write")
    end
  end
  return true
end

-- The body; or nil and perhaps the failure to answer with.
function Connection:read_body(headers)
  if (headers["expect"] or ""):lower() == "100-continue" then
    self:send("HTTP/1.1 100 Continue\r\n\r\n")
  end
  if (headers["transfer-encoding"] or ""):lower():find("chunked", 1, true) then
    local parts, total = {}, 0
    while true do
      local line = self:read_until("\r\n", MAX_HEAD)
      local size = line and tonumber(line:match("^%x+") or "", 16)
      if not size then
        return nil
      end
      total = total + size
      if total > MAX_BODY then
        return nil, failure(413, "too_large", "the body is too large")
      elseif size == 0 then
        repeat
          line = self:read_until("\r\n", MAX_HEAD)
        until line == nil or line == ""
        return table.concat(parts)
      end
      local data = self:read_bytes(size)
      if not data or not self:read_until("\r\n", MAX_HEAD) then
        return nil
      end
      parts[#parts + 1] = data
    end
  end
  local length = headers["content-length"] or "0"
  if not length:find("^%d+$") then
    return nil, failure(400, "invalid_input", "bad Content-Length")
  elseif tonumber(length) > MAX_BODY then
    return nil, failure(413, "too_large", "the body is too large")
  end
  return self:read_bytes(tonumber(length))
end

local function head_of(response, fields)
  local lines = {
    "HTTP/1.1 " .. response.status .. " " .. (REASONS[response.status] or "Status"),
  }
  for name, value in pairs(response.headers) do
    lines[#lines + 1] = name .. ": " .. value
  end
  for _, field in ipairs(fields) do
    lines[#lines + 1] = field
  end
  return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

function Connection:send_response(response)
  if not response.pieces then
    return self:send(head_of(response, {
      "Content-Type: application/json",
      "Content-Length: " .. #response.body,
    }) .. response.body)
  end
  local alive = self:send(head_of(response, {
    "Content-Type: text/event-stream",
    "Cache-Control: no-cache",
    "Transfer-Encoding: chunked",
  }))
  local pace = response.pace or { delay = 0, pause = CHUNK_PAUSE }
  coroutine.yield(pace.delay * hurry)
  for _, piece in ipairs(response.pieces) do
    local event = "data: " .. piece .. "\n\n"
    alive = alive and self:send(string.format("%x\r\n%s\r\n", #event, event))
    if not alive then
      return false
    end
    coroutine.yield(pace.pause * hurry)
  end
  return self:send("0\r\n\r\n")
end

-- Requests one after another, until either side closes.
function Connection:serve()
  while true do
    local head = self:read_until("\r\n\r\n", MAX_HEAD)
    local method, path = (head or ""):match("^%s*(%S+) (%S+) HTTP/1%.%d")
    if not method then
      return
    end
    local headers = {}
    for name, value in head:gmatch("\r\n([^:\r\n]+):[ \t]*([^\r\n]*)") do
      headers[name:lower()] = value
    end
    local body, refusal = self:read_body(headers)
    if not body then
      if refusal then
        self:send_response(refusal)
      end
      return
    end
    if not self:send_response(route(method, path, headers, body)) then
      return
    end
    if (headers["connection"] or ""):lower() == "close" then
      return
    end
  end
end

-- The loop --------------------------------------------------------------------

-- Standard input as something `socket.select` can wait for.
local standard_input = {
  getfd = function()
    return 0
  end,
  dirty = function()
    return false
  end,
}

-- Nothing is expected there but its end.
local function has_ended()
  return not io.read(1)
end

--- Serves until standard input ends or nothing happens for `IDLE_LIMIT`.
---@param port integer 0 for any free one
---@param stays boolean whatever becomes of standard input, which is not read then
---@param on_listening fun(port: integer)
function server.run(port, stays, on_listening)
  local listener, problem = socket.bind("127.0.0.1", port, 128)
  if not listener then
    error("port " .. port .. ": " .. problem, 0)
  end
  listener:settimeout(0)
  -- somebody who takes it for running would look for the mistake elsewhere
  if not stays and socket.select({ standard_input }, nil, 0)[standard_input] and has_ended() then
    error("nothing is at its standard input, whose end it runs to; --stay goes on without", 0)
  end
  local _, actual_port = listener:getsockname()
  on_listening(tonumber(actual_port))

  local connections = {} -- by socket
  local idle_since = socket.gettime()

  -- Runs a connection until it has to wait; drops it when it is finished.
  local function step(connection)
    local ok, wish = coroutine.resume(connection.thread, connection)
    if not ok then
      io.stderr:write("offline server: ", tostring(wish), "\n")
    end
    if coroutine.status(connection.thread) == "dead" then
      connection.sock:close()
      connections[connection.sock] = nil
    elseif type(wish) == "number" then
      connection.waits, connection.wake = "time", socket.gettime() + wish
    else
      connection.waits = wish
    end
  end

  while true do
    local readers, writers, sleepers = { listener }, {}, {}
    readers[2] = not stays and standard_input or nil
    local now = socket.gettime()
    local deadline = idle_since + IDLE_LIMIT
    for sock, connection in pairs(connections) do
      if connection.waits == "read" then
        readers[#readers + 1] = sock
      elseif connection.waits == "write" then
        writers[#writers + 1] = sock
      else
        sleepers[#sleepers + 1] = connection
        deadline = math.min(deadline, connection.wake)
      end
    end

    local readable, writable = socket.select(readers, writers, math.max(0, deadline - now))
    now = socket.gettime()
    if #readable > 0 or #writable > 0 or #sleepers > 0 then
      idle_since = now
    elseif now - idle_since >= IDLE_LIMIT then
      break
    end
    if readable[standard_input] and has_ended() then
      break
    end
    if readable[listener] then
      local sock = listener:accept()
      if sock then
        sock:settimeout(0)
        sock:setoption("tcp-nodelay", true)
        local connection = setmetatable({ sock = sock, buffer = "" }, Connection)
        connection.thread = coroutine.create(Connection.serve)
        connections[sock] = connection
        step(connection)
      end
    end
    for _, list in ipairs({ readable, writable }) do
      for _, sock in ipairs(list) do
        if connections[sock] then
          step(connections[sock])
        end
      end
    end
    for _, connection in ipairs(sleepers) do
      if connection.wake <= now then
        step(connection)
      end
    end
  end
  listener:close()
end

-- The program -----------------------------------------------------------------

if type(arg) == "table" and type(arg[0]) == "string" and arg[0]:find("offline_server%.lua$") then
  local port, stays, i = 0, false, 1
  while arg[i] do
    local number = tonumber(arg[i + 1])
    if arg[i] == "--stay" then
      stays, i = true, i + 1
    elseif arg[i] == "--port" and number then
      port, i = number, i + 2
    elseif arg[i] == "--pace" and number then
      hurry, i = number, i + 2
    else
      io.stderr:write("usage: offline_server.lua [--port NUMBER] [--pace NUMBER] [--stay]\n")
      os.exit(1)
    end
  end
  local ok, err = pcall(server.run, port, stays, function(actual_port)
    print("http://127.0.0.1:" .. actual_port .. "/v1")
    io.stdout:flush()
  end)
  if not ok and not tostring(err):find("interrupted!", 1, true) then
    io.stderr:write("offline server: ", tostring(err), "\n")
    os.exit(1)
  end
end

return server
