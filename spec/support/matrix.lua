--- Runs the faults of matrix_faults.lua against a client: in both forms of an
-- answer, with every driver, with and without further attempts.
--
--   local world = matrix.new_world()
--   local result = matrix.try(world, fault, "streamed", "poll", 0)
--   world:stop()
--
-- `try` raises when anything but the error itself is not as it has to be: the
-- list, the deadline, descriptors, tasks, what the server got, and that the
-- same conversation goes on working.

local socket = require "socket"
local opperchat = require "opperchat"
local Nginx = require "spec.support.nginx"
local Server = require "spec.support.server"
local shell = require "spec.support.shell"

local matrix = { forms = { "whole", "streamed" }, drivers = { "blocking", "poll", "go" } }

local KEY = "op-5ecret-Key.0123456789"

-- Checkers of memory, and a collector that never rests, take their time.
local SLOW = os.getenv("OPPERCHAT_SLOW") and 8
  or (os.getenv("ASAN_OPTIONS") or os.getenv("OPPERCHAT_GC")) and 3 or 1

-- Seconds: of the deadline that is to end a request, how much later it may
-- be, and how long anything else may take.
local LIMIT, LATE, AT_ONCE = 0.12 * SLOW, 0.4 * SLOW, 3 * SLOW

-- How long a poll that is not told to wait may take.
local POLL = 0.1 * SLOW

-- {==== answers ====

local function chunk(bytes)
  return ("%x\r\n%s\r\n"):format(#bytes, bytes)
end

local function head(content_type)
  return "HTTP/1.1 200 OK\r\nContent-Type: " .. content_type
    .. "\r\nTransfer-Encoding: chunked\r\n\r\n"
end

local function delta(text)
  return 'data: {"choices":[{"index":0,"delta":{"content":"' .. text .. '"}}]}\n\n'
end

local WHOLE = '{"id":"c1","object":"chat.completion","model":"m","choices":[{"index":0,'
  .. '"message":{"role":"assistant","content":"Once upon'

local ANSWERS = {
  whole = {
    type = "application/json", head = head "application/json", chunk = chunk,
    start = head "application/json" .. chunk(WHOLE), drop = " a",
    all = WHOLE .. ' a time"},"finish_reason":"stop"}]}',
    most = WHOLE .. ' a time"},"finish_reason":"stop"}]}',
  },
  streamed = {
    type = "text/event-stream", head = head "text/event-stream", chunk = chunk,
    start = head "text/event-stream" .. chunk(delta "Once upon"), drop = delta " a",
    most = delta "Once upon" .. delta " a time",
    all = delta "Once upon" .. delta " a time"
      .. 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n',
  },
}

--- What an answer of each form is made of.
matrix.answers = ANSWERS

-- }====

-- {==== places ====

-- nginx: port 1 is the good one, the others have their faults.
local SERVERS = [[
  server {
    listen 127.0.0.1:@port1 ssl http2;
    location / {
      proxy_pass http://127.0.0.1:@port;
      proxy_http_version 1.1;
      proxy_redirect off;
      proxy_buffering off;
    }
  }
  server {
    listen 127.0.0.1:@port2 ssl;
    ssl_certificate @folder/old.pem;
    ssl_certificate_key @folder/old.key;
  }
  server {
    listen 127.0.0.1:@port3 ssl;
    ssl_certificate @folder/foreign.pem;
    ssl_certificate_key @folder/foreign.key;
  }
  server {
    listen 127.0.0.1:@port4 ssl;
    ssl_certificate @folder/elsewhere.pem;
    ssl_certificate_key @folder/elsewhere.key;
  }
]]

-- A port on which a bad TLS server is until it is healed.
local function bad_tls(number)
  return function(world)
    local port = world.server:listen(nil, world.front.ports[number])
    return "https://127.0.0.1:" .. port .. "/v1", function()
      world.server:unlisten(port):listen(port, world.front.ports[1])
    end, function()
      world.server:unlisten(port)
    end
  end
end

-- A listener whose queue is full: the kernel leaves further connections
-- unanswered. nil where it does not.
local function new_hole()
  local listener = assert(socket.bind("127.0.0.1", 0, 0))
  local _, port = listener:getsockname()
  local hole = { listener }
  for _ = 1, 16 do
    local one = socket.tcp()
    one:settimeout(0.03)
    hole[#hole + 1] = one
    if not one:connect("127.0.0.1", port) then
      return hole, tonumber(port)
    end
  end
  for _, one in ipairs(hole) do
    one:close()
  end
end

local function close_all(list)
  for _, one in ipairs(list) do
    one:close()
  end
end

-- Where a client is sent: each returns the URL, what makes a good server of it
-- (nil: nothing can), and what clears up; or nil and why it cannot be had.
local PLACES = {
  refused = function(world)
    local port = world.server:listen()
    world.server:unlisten(port)
    return "http://127.0.0.1:" .. port .. "/v1", function()
      world.server:listen(port)
    end, function()
      world.server:unlisten(port)
    end
  end,
  unknown = function()
    return "http://no-such-host.invalid/v1"
  end,
  hole = function(world)
    local hole, port = new_hole()
    if not hole then
      return nil, "this system answers when its queue is full"
    end
    return "http://127.0.0.1:" .. port .. "/v1", function()
      close_all(hole)
      world.server:listen(port)
    end, function()
      close_all(hole)
      world.server:unlisten(port)
    end
  end,
  mute = function(world)
    local mute = assert(socket.bind("127.0.0.1", 0))
    local _, target = mute:getsockname()
    local port = world.server:listen(nil, tonumber(target))
    return "https://127.0.0.1:" .. port .. "/v1", function()
      world.server:unlisten(port):listen(port, world.front.ports[1])
    end, function()
      mute:close()
      world.server:unlisten(port)
    end
  end,
  old = bad_tls(2), foreign = bad_tls(3), elsewhere = bad_tls(4),
  good = function(world)
    return "https://127.0.0.1:" .. world.good_port .. "/v1"
  end,
}

local NEEDS_TLS = { mute = true, old = true, foreign = true, elsewhere = true, good = true }

local World = {}
World.__index = World

--- The servers that all tries share.
function matrix.new_world()
  local world = setmetatable({ server = Server.start(), other = Server.start() }, World)
  world.front, world.problem = Nginx.start(SERVERS, { ports = 4, port = world.server.port })
  world.good_port = world.front and world.front.ports[1]
  return world
end

function World:stop()
  self.server:stop()
  self.other:stop()
  if self.front then
    self.front:stop()
  end
end

-- }====

-- {==== drivers ====

-- Each sends "hello" and returns what came of it.
local DRIVERS = {}

function DRIVERS.blocking(chat, given)
  return chat:send("hello", given)
end

function DRIVERS.poll(chat, given, client)
  local request = assert(chat:start("hello", given))
  local longest = 0
  while request:state() ~= "done" and request:state() ~= "failed" do
    local before = socket.gettime()
    client:poll()
    longest = math.max(longest, socket.gettime() - before)
    socket.sleep(0.001)
  end
  if longest > POLL then
    error(("a poll took %.3f s"):format(longest), 0)
  end
  return request:wait()
end

function DRIVERS.go(chat, given)
  local reply, err
  local task = opperchat.go(function()
    reply, err = chat:send("hello", given)
  end)
  while not reply and not err do
    opperchat.poll { seconds = 0.05 }
  end
  task:wait()
  return reply, err
end

-- }====

-- {==== one try ====

local function check(condition, format, ...)
  if not condition then
    error(format:format(...), 0)
  end
end

local function same(wanted, got, what)
  check(wanted == got, "%s: %s expected, got %s", what, tostring(wanted), tostring(got))
end

local function descriptors()
  collectgarbage()
  collectgarbage()
  return shell.count_descriptors()
end

local function check_error(err, plan)
  same("table", type(err), "err")
  same(plan.kind .. " " .. plan.code, err.kind .. " " .. err.code, tostring(err))
  check(type(err.message) == "string" and err.message ~= "", "no message")
  same("boolean", type(err.retryable), "err.retryable")
  check(not tostring(err):find("[\r\n]"), "more than one line: %s", tostring(err))
  check(not tostring(err):find(KEY, 1, true), "the key is in %s", tostring(err))
end

--- Lets the server do with its next request what a fault's `answer` says.
function matrix.answer_with(server, answer)
  if not answer then
    return
  elseif answer.reply then
    server:reply(answer.reply)
  elseif answer.default then
    server:default(answer.default)
  else
    server:script(answer)
  end
end

local function timeouts(deadline)
  local timeout = { connect = 20, first_token = 20, idle = 20 }
  if deadline then
    timeout[deadline] = LIMIT
  end
  return timeout
end

local function requests_of(world)
  return world.server:status().requests
end

local function run(world, fault, form, driver, retries, url, heal)
  local plan = fault[form]
  local answer = ANSWERS[form]
  local options = {
    base_url = url, api_key = KEY, timeout = timeouts(plan.deadline), max_retries = retries,
    ca_file = NEEDS_TLS[plan.place] and world.front.folder .. "/ca.pem" or nil,
  }
  for name, value in pairs(plan.options or {}) do
    options[name] = value
  end
  local waits = {}
  options.on_retry = function(event)
    waits[#waits + 1] = event
    if heal then
      heal()
      heal = nil
    end
  end
  matrix.answer_with(world.server, plan.answer and plan.answer(answer, world))

  local client = opperchat.client(options)
  local chat = opperchat.conversation {
    client = client, model = "test/model",
    messages = {
      { role = "system", content = "Be brief." },
      { role = "user", content = "one" }, { role = "assistant", content = "two" },
    },
  }
  local before = chat:export()
  local text, endings = {}, 0
  local given = {
    stream = form == "streamed",
    on_delta = form == "streamed" and function(piece)
      text[#text + 1] = piece
    end or nil,
    on_done = function()
      endings = endings + 1
    end,
  }

  local started = socket.gettime()
  local reply, err = DRIVERS[driver](chat, given, client)
  local seconds = socket.gettime() - started
  text = table.concat(text)

  -- how it ends
  local is_retried = retries > 0 and plan.retried
  local result = { is_retried = #waits > 0 }
  same(1, endings, "calls of on_done")
  if is_retried and PLACES[plan.place or ""] ~= PLACES.unknown then
    check(reply, "no success: %s", tostring(err))
    same(2, reply.attempts, "attempts")
    same(1, #waits, "calls of on_retry")
    check(seconds >= (plan.wait or 0), "waited only %.6f s", seconds)
    same("ok", reply.content, "content")
    same(form == "streamed" and "ok" or "", text, "text in on_delta")
    check_error(waits[1].err, plan)
    chat:undo()
  else
    check(not reply, "it ended with a reply")
    check_error(err, plan)
    same(is_retried and retries + 1 or plan.requests or 1, err.attempts, "attempts")
    if form == "streamed" then
      same(err.partial and err.partial.content or "", text, "err.partial and on_delta")
    end
    result.kind, result.code, result.deadline = err.kind, err.code, plan.deadline
    local least = plan.deadline and LIMIT or 0
    local most = plan.deadline and LIMIT + LATE or AT_ONCE
    if is_retried then
      most = most + AT_ONCE
    end
    check(seconds >= least and seconds < most, "took %.6f s", seconds)
  end

  -- what has changed: nothing
  same(before, chat:export(), "the list")
  same(0, client:active(), "active requests")
  same(0, opperchat.poll(), "requests and sleeping tasks")
  local is_served = not plan.place or plan.place == "good"
  local asked = requests_of(world)
  same(is_served and (plan.requests or 1) + (reply and 1 or 0) or reply and 1 or 0, asked,
    "requests at the server")
  same(0, world.other:status().accepted, "connections to the other host")

  -- and it goes on
  if heal then
    heal()
  end
  world.server:default(nil)
  if PLACES[plan.place or ""] ~= PLACES.unknown then
    local again, problem = chat:send("again")
    check(again, "the next request: %s", tostring(problem))
    same("ok", again.content, "the next answer")
    local requests = world.server:requests()
    same(asked + 1, #requests, "requests at the server")
    local messages = requests[#requests].json.messages
    same(4, #messages, "messages that were sent")
    same("again", messages[4].content, "the last of them")
  end
  client:close()
  return result
end

--- One fault in one form with one driver and so many further attempts.
---@return table? result { kind, code, deadline, is_retried }
---@return string? problem why it cannot be tried here
function matrix.try(world, fault, form, driver, retries)
  local plan = fault[form]
  if NEEDS_TLS[plan.place] and not world.front then
    return nil, world.problem
  end
  world.server:reset()
  world.other:reset()
  local url, heal, clear = world.server.url, nil, nil
  if plan.place then
    url, heal, clear = PLACES[plan.place](world)
    if not url then
      return nil, heal
    end
  end
  local before = descriptors()
  local ok, result = pcall(run, world, fault, form, driver, retries, url, heal)
  local after = ok and descriptors()
  if clear then
    clear()
  end
  if ok and after ~= before and not (plan.place == "hole" and after < before) then
    ok, result = false, ("%s descriptors before, %s after"):format(before, after)
  end
  if not ok then
    error(("%s: %s (%s, %s, max_retries = %d): %s"):format(fault.group, fault.name, form, driver,
      retries, tostring(result)), 0)
  end
  return result
end

-- }====

--- Whether this run is checked by something that takes its time, or very much of
--- it; how many seconds late a deadline may be, and how long a poll may take.
matrix.is_slow, matrix.is_very_slow = SLOW > 1, SLOW > 4
matrix.late, matrix.longest_poll = LATE, POLL

return matrix
