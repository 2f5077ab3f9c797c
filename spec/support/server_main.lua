--- The process behind spec/support/server.lua. Lua 5.4 and lua-socket.
--
-- One coroutine per connection over one select. It prints "<port> <control
-- port>" and from then on speaks only through sockets. It ends when the test
-- closes the control connection, and after ten minutes at the latest, so a
-- test run that crashed leaves nothing behind.

local socket = require "socket"
local here = arg[0]:match("^(.*[/\\])") or "./"
local wire = dofile(here .. "wire.lua")

local LIFETIME = 600
local CONNECT_GRACE = 10
local HIGHEST_INHERITED = 1023

-- popen hands over every descriptor of the test that is not marked close on
-- exec. Keeping them would hold the test's own connections open behind its
-- back, so they are closed before anything else is opened here.
local function close_inherited()
  local closer = socket.tcp4()
  closer:close()
  for fd = 3, HIGHEST_INHERITED do
    closer:setfd(fd)
    closer:close()
  end
end
close_inherited()

local queue, requests, default_answer = {}, {}, nil
local connections = {}
local accepted = 0

-- Connections ---------------------------------------------------------------

local Connection = {}
Connection.__index = Connection

local function new_connection(sock, number)
  sock:settimeout(0)
  sock:setoption("tcp-nodelay", true)
  return setmetatable({ sock = sock, number = number, buffer = "", at = 1 }, Connection)
end

-- Leaves the coroutine until the socket can be read or written, or until
-- `seconds` have passed; returns what it was resumed for.
function Connection:wait(what, seconds)
  self.read = what == "read" or what == "either"
  self.write = what == "write"
  self.deadline = seconds and socket.gettime() + seconds
  local why = coroutine.yield()
  self.read, self.write, self.deadline = false, false, nil
  return why
end

-- Ends the coroutine; the loop closes the socket.
local function hang_up()
  error(hang_up, 0)
end

-- What has arrived, at least one byte.
function Connection:receive()
  while true do
    local data, err, partial = self.sock:receive(1048576)
    data = data or partial
    if data and data ~= "" then
      return data
    elseif err ~= "timeout" then
      hang_up()
    end
    self:wait("read")
  end
end

function Connection:read_bytes(count)
  local have = #self.buffer - self.at + 1
  if have >= count then
    local bytes = self.buffer:sub(self.at, self.at + count - 1)
    self.at = self.at + count
    return bytes
  end
  local parts = { self.buffer:sub(self.at) }
  while have < count do
    local data = self:receive()
    parts[#parts + 1] = data
    have = have + #data
  end
  local last = parts[#parts]
  local surplus = have - count
  parts[#parts] = last:sub(1, #last - surplus)
  self.buffer, self.at = last:sub(#last - surplus + 1), 1
  return table.concat(parts)
end

-- One line without its line end.
function Connection:read_line()
  while true do
    local stop = self.buffer:find("\n", self.at, true)
    if stop then
      local line = self.buffer:sub(self.at, stop - 1):gsub("\r$", "")
      self.at = stop + 1
      return line
    end
    self.buffer, self.at = self.buffer:sub(self.at) .. self:receive(), 1
  end
end

function Connection:send(bytes)
  local sent = 0
  while sent < #bytes do
    local last, err, partial = self.sock:send(bytes, sent + 1)
    sent = last or partial
    if not last then
      if err ~= "timeout" then
        hang_up()
      end
      self:wait("write")
    end
  end
end

-- Sleeps, but notices at once when the client goes away.
function Connection:sleep(seconds)
  local deadline = seconds and socket.gettime() + seconds
  while not deadline or socket.gettime() < deadline do
    if self:wait("either", deadline and deadline - socket.gettime()) == "read" then
      self.buffer, self.at = self.buffer:sub(self.at) .. self:receive(), 1
    end
    if self.released then
      self.released = nil
      return
    end
  end
end

-- Requests --------------------------------------------------------------------

function Connection:read_head()
  local line = self:read_line()
  while line == "" do
    line = self:read_line()
  end
  local method, path, version = line:match("^(%S+) (%S+) (%S+)$")
  local request = {
    method = method or line, path = path or "", version = version or "",
    headers = {}, header_list = {}, body = "", connection = self.number,
    time = socket.gettime(),
  }
  line = self:read_line()
  while line ~= "" do
    local name, value = line:match("^([^:]+):%s*(.-)%s*$")
    if name then
      request.header_list[#request.header_list + 1] = { name, value }
      name = name:lower()
      local before = request.headers[name]
      request.headers[name] = before and before .. ", " .. value or value
    end
    line = self:read_line()
  end
  return request
end

function Connection:read_body(request)
  local headers = request.headers
  if (headers["expect"] or ""):lower() == "100-continue" then
    self:send("HTTP/1.1 100 Continue\r\n\r\n")
  end
  if (headers["transfer-encoding"] or ""):lower():find("chunked", 1, true) then
    local parts = {}
    repeat
      local size = tonumber(self:read_line():match("^%x+"), 16)
      if not size then
        hang_up()
      end
      if size > 0 then
        parts[#parts + 1] = self:read_bytes(size)
        self:read_line()
      end
    until size == 0
    repeat until self:read_line() == ""
    request.body = table.concat(parts)
  elseif headers["content-length"] then
    request.body = self:read_bytes(tonumber(headers["content-length"]) or 0)
  end
end

-- Answers ---------------------------------------------------------------------

local REASONS = {
  [200] = "OK", [204] = "No Content", [301] = "Moved Permanently", [302] = "Found",
  [307] = "Temporary Redirect", [308] = "Permanent Redirect", [400] = "Bad Request",
  [401] = "Unauthorized", [402] = "Payment Required", [403] = "Forbidden",
  [404] = "Not Found", [408] = "Request Timeout", [409] = "Conflict",
  [413] = "Content Too Large", [422] = "Unprocessable Content",
  [429] = "Too Many Requests", [500] = "Internal Server Error", [502] = "Bad Gateway",
  [503] = "Service Unavailable", [504] = "Gateway Timeout", [529] = "Overloaded",
}

-- The header lines of an answer, and the names in them in lower case.
local function header_lines(headers)
  local lines, seen = {}, {}
  local function add(name, value)
    lines[#lines + 1] = name .. ": " .. tostring(value) .. "\r\n"
    seen[name:lower()] = true
  end
  for _, pair in ipairs(headers or {}) do
    add(pair[1], pair[2])
  end
  local names = {}
  for name in pairs(headers or {}) do
    if type(name) == "string" then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    add(name, headers[name])
  end
  return lines, seen
end

-- The head of an answer; the headers in `add` only where it names none.
local function head_of(answer, add)
  local status = answer.status or 200
  local lines, seen = header_lines(answer.headers)
  for _, pair in ipairs(add) do
    local is_length = pair[1] == "Content-Length" and seen["transfer-encoding"]
    if not seen[pair[1]:lower()] and not is_length then
      lines[#lines + 1] = pair[1] .. ": " .. pair[2] .. "\r\n"
    end
  end
  local reason = answer.reason or REASONS[status] or "Status"
  return "HTTP/1.1 " .. status .. " " .. reason .. "\r\n" .. table.concat(lines) .. "\r\n"
end

function Connection:send_reply(answer)
  local body = answer.body or ""
  local add = { { "Content-Type", "application/json" }, { "Content-Length", #body } }
  if answer.status == 204 or answer.status == 304 then
    add, body = {}, ""
  end
  local head = head_of(answer, add)
  -- One write for small answers, so that head and body share a packet.
  if #body < 65536 then
    self:send(head .. body)
  else
    self:send(head)
    self:send(body)
  end
end

function Connection:send_stream(answer)
  self:send(head_of(answer, {
    { "Content-Type", "text/event-stream" }, { "Transfer-Encoding", "chunked" },
  }))
  for i, chunk in ipairs(answer.chunks) do
    if i > 1 and answer.pause and answer.pause > 0 then
      self:sleep(answer.pause)
    end
    if #chunk > 0 then
      self:send(string.format("%x\r\n%s\r\n", #chunk, chunk))
    end
  end
  self:send("0\r\n\r\n")
end

-- Returns true when the script ended the connection.
function Connection:play(steps)
  for _, step in ipairs(steps) do
    local verb, value = step[1], step[2]
    if verb == "send" then
      for _ = 1, step[3] or 1 do
        self:send(value)
      end
    elseif verb == "sleep" then
      self:sleep(value)
    elseif verb == "close" then
      return true
    elseif verb == "reset" then
      self.sock:setoption("linger", { on = true, timeout = 0 })
      return true
    elseif verb == "stall" then
      while true do
        self:sleep(nil)
      end
    elseif verb == "hold" then
      self.held = true
      self:sleep(nil)
    end
  end
  return false
end

local function default_for(request)
  if default_answer then
    return default_answer
  end
  local model = request.body:match('"model"%s*:%s*"([^"\\]*)"') or "test/model"
  local usage = '"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}'
  -- In a text inside the body the quotes are escaped, so this finds only the
  -- option itself.
  if request.body:find('"stream"%s*:%s*true') then
    local chunk = 'data: {"id":"chatcmpl-test","object":"chat.completion.chunk",'
      .. '"created":1,"model":"' .. model .. '",%s}\n\n'
    return {
      kind = "stream",
      chunks = {
        chunk:format('"choices":[{"index":0,"delta":{"role":"assistant","content":"ok"},'
          .. '"finish_reason":null}]'),
        chunk:format('"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]'),
        chunk:format('"choices":[],' .. usage),
        "data: [DONE]\n\n",
      },
    }
  end
  return {
    kind = "reply",
    body = '{"id":"chatcmpl-test","object":"chat.completion","created":1,"model":"' .. model
      .. '","choices":[{"index":0,"message":{"role":"assistant","content":"ok"},'
      .. '"finish_reason":"stop"}],' .. usage .. '}',
  }
end

-- The first verb of the script that waits at the head of the queue.
local function next_verb()
  local answer = queue[1]
  return answer and answer.kind == "script" and answer.steps[1] and answer.steps[1][1]
end

function Connection:serve()
  while true do
    if self.at > #self.buffer then
      self:wait("read")
      if next_verb() == "hangup_before_reading" then
        table.remove(queue, 1)
        return
      end
    end
    local request = self:read_head()
    if next_verb() ~= "before_body" then
      self:read_body(request)
    end
    request.done = socket.gettime()
    requests[#requests + 1] = request
    local answer = table.remove(queue, 1) or default_for(request)
    if answer.delay and answer.delay > 0 then
      self:sleep(answer.delay)
    end
    if answer.kind == "script" then
      if self:play(answer.steps) then
        return
      end
    elseif answer.kind == "stream" then
      self:send_stream(answer)
    else
      self:send_reply(answer)
    end
    local wish = (request.headers["connection"] or ""):lower()
    if answer.close or wish:find("close", 1, true)
        or (request.version == "HTTP/1.0" and not wish:find("keep-alive", 1, true)) then
      return
    end
  end
end

-- Relays ----------------------------------------------------------------------

-- More ports: listener -> port it hands its connections on to, nil for those
-- that are served here.
local relays = {}
local spawn, step

-- Hands on what arrives until either side is gone.
function Connection:pass_to(other)
  if self.at <= #self.buffer then
    other:send(self:read_bytes(#self.buffer - self.at + 1))
  end
  while true do
    other:send(self:receive())
  end
end

-- Hands a new connection on, with a second coroutine for the way back.
function Connection:relay(port)
  local sock = socket.connect("127.0.0.1", port)
  if not sock then
    return
  end
  local other = new_connection(sock)
  other.partner, self.partner = self, other
  step(spawn(other, function()
    other:pass_to(self)
  end))
  self:pass_to(other)
end

-- Control ---------------------------------------------------------------------

local commands = {}
local listeners = {}

-- Listens on one more port, which may be given; its connections are served as
-- all others, or handed on to port `target`.
function commands.listen(message)
  local given = message.answer or {}
  local listener, problem = socket.bind("127.0.0.1", given.port or 0, 1024)
  if not listener then
    return problem
  end
  listener:settimeout(0)
  local _, port = listener:getsockname()
  port = tonumber(port)
  listeners[port] = listener
  relays[listener] = given.target
  return port
end

-- Listens there no more.
function commands.unlisten(message)
  local listener = listeners[message.answer]
  if listener then
    listeners[message.answer], relays[listener] = nil, nil
    listener:close()
  end
end

function commands.queue(message)
  queue[#queue + 1] = message.answer
end

function commands.default(message)
  default_answer = message.answer
end

function commands.requests()
  return requests
end

function commands.reset()
  queue, requests, default_answer = {}, {}, nil
end

-- Lets every connection that stands at a "hold" go on; returns how many.
function commands.release()
  local count = 0
  for _, connection in ipairs(connections) do
    if connection.held then
      connection.held, connection.released = nil, true
      connection.deadline = 0
      count = count + 1
    end
  end
  return count
end

function commands.status()
  local open, held = 0, 0
  for _, connection in ipairs(connections) do
    open = open + (connection.number and 1 or 0)
    held = held + (connection.held and 1 or 0)
  end
  return { open = open, held = held, accepted = accepted, queued = #queue, requests = #requests }
end

function Connection:obey()
  while true do
    local message = wire.decode(self:read_bytes(tonumber(self:read_line())))
    if message.command == "stop" then
      os.exit(true)
    end
    self:send(wire.encode({ value = commands[message.command](message) }))
  end
end

-- The loop --------------------------------------------------------------------

function spawn(connection, main)
  connection.thread = coroutine.create(main)
  connections[#connections + 1] = connection
  return connection
end

local function forget(connection)
  connection.sock:close()
  for i, other in ipairs(connections) do
    if other == connection then
      table.remove(connections, i)
      break
    end
  end
  local partner = connection.partner
  if partner then
    connection.partner, partner.partner = nil, nil
    forget(partner)
  end
end

-- Runs a connection until it waits again. The first resume hands over the
-- connection itself, later ones why it was woken.
function step(connection, why)
  local thread = connection.thread
  local first = not connection.started
  connection.started = true
  local ok, err = coroutine.resume(thread, first and connection or why)
  if not ok and err ~= hang_up then
    io.stderr:write("test server: ", debug.traceback(thread, tostring(err)), "\n")
  end
  if coroutine.status(thread) == "dead" then
    forget(connection)
  end
end

local listener = assert(socket.bind("127.0.0.1", 0, 1024))
local control_listener = assert(socket.bind("127.0.0.1", 0, 1))
listener:settimeout(0)
io.write(select(2, listener:getsockname()), " ", select(2, control_listener:getsockname()), "\n")
io.flush()

control_listener:settimeout(CONNECT_GRACE)
local control = control_listener:accept()
control_listener:close()
if not control then
  os.exit(false)
end
control = spawn(new_connection(control), Connection.obey)
step(control)

local end_of_life = socket.gettime() + LIFETIME
while coroutine.status(control.thread) ~= "dead" do
  local now = socket.gettime()
  if now > end_of_life then
    os.exit(false)
  end
  local readers, writers, by_socket = { listener }, {}, {}
  local is_listener = { [listener] = true }
  for _, more in pairs(listeners) do
    readers[#readers + 1], is_listener[more] = more, true
  end
  local wake = end_of_life
  for _, connection in ipairs(connections) do
    by_socket[connection.sock] = connection
    if connection.read then
      readers[#readers + 1] = connection.sock
    end
    if connection.write then
      writers[#writers + 1] = connection.sock
    end
    if connection.deadline and connection.deadline < wake then
      wake = connection.deadline
    end
  end
  local readable, writable = socket.select(readers, writers, math.max(0, wake - now))
  local ready = {}
  for _, sock in ipairs(readable) do
    if is_listener[sock] then
      local target = relays[sock]
      local main = target and function(connection) connection:relay(target) end or Connection.serve
      local client = sock:accept()
      while client do
        accepted = accepted + 1
        ready[#ready + 1] = { spawn(new_connection(client, accepted), main), "start" }
        client = sock:accept()
      end
    else
      ready[#ready + 1] = { by_socket[sock], "read" }
    end
  end
  for _, sock in ipairs(writable) do
    ready[#ready + 1] = { by_socket[sock], "write" }
  end
  now = socket.gettime()
  for _, connection in ipairs(connections) do
    if connection.deadline and connection.deadline <= now
        and not readable[connection.sock] and not writable[connection.sock] then
      ready[#ready + 1] = { connection, "time" }
    end
  end
  for _, item in ipairs(ready) do
    step(item[1], item[2])
  end
end
