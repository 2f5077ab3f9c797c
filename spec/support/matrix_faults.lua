--- What can go wrong between a request and its answer, one entry each, and how
--- it has to end. For spec/support/matrix.lua.
--
--   { name, place = , answer = function(a), kind, code, ... }
--
-- `answer` returns what the server does with the first request: steps for
-- Server:script, or { reply = }, { default = } for Server:reply and :default.
-- `a` is what an answer of this form ("whole" or "streamed") is made of:
-- head (chunked), start (head and something of the text), drop (more of it),
-- all (of the body), most (all but what shows that it is complete, for a
-- stream), type, chunk(bytes). Other fields:
--
--   place      where the client is sent instead of to the server, see matrix.lua
--   retried    whether the client sends the request again when it may
--   deadline   the one that ends it
--   options    of the client
--   wait       seconds the client has to wait before it tries again, at least
--   whole, streamed   fields for this form alone; false: it does not apply

local cjson = require("cjson").new()
local shell = require "spec.support.shell"

local RESET, CLOSE, STALL = { "reset" }, { "close" }, { "stall" }

-- The bytes arrive before what follows them.
local PAUSE = { "sleep", 0.02 }

local function send(bytes)
  return { "send", bytes }
end

-- An answer that says nothing but this, and how it ends.
local function steps(bytes, ending)
  return { send(bytes), PAUSE, ending }
end

local function http(status, headers, body)
  return function()
    return { reply = { status = status, headers = headers, body = body } }
  end
end

-- An error as the API reports it.
local function api(status, code, headers, message)
  headers = headers or {}
  if not next(headers) then
    headers["Retry-After-Ms"] = "20"
  end
  return http(status, headers, cjson.encode {
    error = { message = message or "no", code = code, type = code },
  })
end

local function gzipped(text)
  local path = shell.write_file(os.tmpname(), text)
  local bytes = shell.output_of("gzip -9 <" .. path)
  os.remove(path)
  return bytes
end

local WEEKDAY = "!%a, %d %b %Y %H:%M:%S GMT"

local function in_one_second()
  local now = os.time()
  return api(429, "rate_limit_exceeded",
    { Date = os.date(WEEKDAY, now), ["Retry-After"] = os.date(WEEKDAY, now + 1) })()
end

local HTML = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n"
  .. "<center><h1>502 Bad Gateway</h1></center>\r\n<hr>nginx</html>\r\n"

local LOST, CUT = { "network", "connection_lost" }, { "truncated", "truncated" }

-- A whole answer that breaks off has been seen by nobody.
local UNSEEN = { retried = true }

local groups = {}

local function group(name)
  return function(faults)
    groups[#groups + 1] = { name = name, faults = faults }
  end
end

group "No connection" {
  { "nobody listens", place = "refused", "network", "connection_refused", retried = true },
  { "the host name is unknown", place = "unknown", "network", "unknown_host", retried = true },
  { "nobody answers the connection", place = "hole", "timeout", "connect_timeout", retried = true,
    deadline = "connect" },
  { "nobody answers TLS", place = "mute", "timeout", "connect_timeout", retried = true,
    deadline = "connect" },
  { "the certificate has expired", place = "old", "tls", "bad_certificate" },
  { "the certificate is of an unknown authority", place = "foreign", "tls", "bad_certificate" },
  { "the certificate is of another host", place = "elsewhere", "tls", "bad_certificate" },
}

-- What stands before the break: the same for all ways to break.
local function before_headers() return "" end
local function in_headers() return "HTTP/1.1 200 OK\r\nContent-Ty" end
local function behind_headers(a) return a.head end
local function in_first_size(a) return a.head .. "4" end
local function in_first_event(a) return a.head .. a.chunk('data: {"choices":[{"ind') end
local function in_body(a) return a.start end
local function in_later_size(a) return a.start .. "4" end
local function in_later_event(a) return a.start .. a.chunk('data: {"choices":[{"ind') end

local function breaks(place, ending)
  return function(a)
    local bytes = place(a)
    return bytes == "" and { ending } or steps(bytes, ending)
  end
end

group "The connection is reset" {
  { "before the headers", answer = breaks(before_headers, RESET), LOST, retried = true },
  { "in the headers", answer = breaks(in_headers, RESET), LOST, retried = true },
  { "behind the headers", answer = breaks(behind_headers, RESET), LOST, retried = true },
  { "in the first chunk size", answer = breaks(in_first_size, RESET), LOST, retried = true },
  { "in the first event", answer = breaks(in_first_event, RESET), LOST, retried = true,
    whole = false },
  { "in the text", answer = breaks(in_body, RESET), LOST, whole = UNSEEN },
  { "in a later chunk size", answer = breaks(in_later_size, RESET), LOST, whole = UNSEEN },
  { "in a later event", answer = breaks(in_later_event, RESET), LOST, whole = false },
}

group "The connection is closed" {
  { "before the headers", answer = breaks(before_headers, CLOSE), LOST, retried = true },
  { "in the headers", answer = breaks(in_headers, CLOSE), LOST, retried = true },
  { "behind the headers", answer = breaks(behind_headers, CLOSE), CUT, retried = true },
  { "in the first chunk size", answer = breaks(in_first_size, CLOSE), CUT, retried = true },
  { "in the first event", answer = breaks(in_first_event, CLOSE), CUT, retried = true,
    whole = false },
  { "in the text", answer = breaks(in_body, CLOSE), CUT, whole = UNSEEN },
  { "in a later chunk size", answer = breaks(in_later_size, CLOSE), CUT, whole = UNSEEN },
  { "in a later event", answer = breaks(in_later_event, CLOSE), CUT, whole = false },
}

local FIRST = { "timeout", "first_token_timeout", deadline = "first_token" }
local IDLE = { "timeout", "idle_timeout", deadline = "idle" }

group "The server falls silent" {
  { "before the headers", answer = breaks(before_headers, STALL), FIRST },
  { "in the headers", answer = breaks(in_headers, STALL), FIRST },
  { "behind the headers", answer = breaks(behind_headers, STALL), FIRST },
  { "in the first chunk size", answer = breaks(in_first_size, STALL), FIRST },
  { "in the first event", answer = breaks(in_first_event, STALL), FIRST, whole = false },
  { "in the text", answer = breaks(in_body, STALL), IDLE },
  { "in a later chunk size", answer = breaks(in_later_size, STALL), IDLE },
  { "in a later event", answer = breaks(in_later_event, STALL), IDLE, whole = false },
  { "but for comments, before the text", whole = false, FIRST, answer = function(a)
    local list = { send(a.head) }
    for _ = 1, 400 do
      list[#list + 1] = send(a.chunk(": still thinking\n\n"))
      list[#list + 1] = { "sleep", 0.01 }
    end
    return list
  end },
  { "never: the text has no end", "timeout", "total_timeout", deadline = "total",
    answer = function(a)
      local list = { send(a.start) }
      for _ = 1, 400 do
        list[#list + 1] = send(a.chunk(a.drop))
        list[#list + 1] = { "sleep", 0.01 }
      end
      return list
    end },
}

local function sized(length, a)
  return "HTTP/1.1 200 OK\r\nContent-Type: " .. a.type .. "\r\nContent-Length: "
    .. length .. "\r\n\r\n" .. a.most
end

group "The answer is broken" {
  { "Content-Length is too long", CUT, whole = UNSEEN, answer = function(a)
    return steps(sized(#a.most + 10, a), CLOSE)
  end },
  { "Content-Length is too short", "protocol", "bad_json", streamed = CUT,
    answer = function(a)
      return steps(sized(#a.most - 2, a), CLOSE)
    end },
  { "the chunks are broken", LOST, whole = UNSEEN, answer = function(a)
    return steps(a.start .. "zz\r\nxx\r\n", STALL)
  end },
  { "the gzip is broken", "protocol", "bad_response", streamed = { "protocol", "bad_json" },
    answer = function()
      return { reply = { body = gzipped("x"):sub(1, 10) .. ("\255"):rep(40),
        headers = { ["Content-Encoding"] = "gzip" } } }
    end },
  { "it is no HTTP", "protocol", "bad_response", answer = function()
    return steps("SSH-2.0-OpenSSH_9.2\r\n", CLOSE)
  end },
  { "it has no body", "protocol", "empty_response", retried = true,
    answer = http(200, {}, "") },
  { "it is HTML", "protocol", "bad_json", answer = http(200, {}, HTML) },
  { "it is JSON of another kind", "protocol", "no_choices", answer = http(200, {}, "{}") },
  { "an event is no JSON", whole = false, "protocol", "bad_json", answer = function(a)
    return steps(a.start .. a.chunk('data: {"choices":[}\n\n') .. a.chunk(""), CLOSE)
  end },
  { "the stream ends without a finish_reason", whole = false, CUT, answer = function(a)
    return { send(a.start .. a.chunk("data: [DONE]\n\n") .. a.chunk("")) }
  end },
  { "an error comes in the middle", whole = false, "api", "overloaded", answer = function(a)
    return { send(a.start .. a.chunk('data: {"error":{"code":"overloaded","message":"no"}}\n\n')
      .. a.chunk("")) }
  end },
}

local SMALL = { max_response_bytes = 100000 }

-- More and more of the same.
local function endless(first, more, times)
  return function(a)
    return { send(first(a)), { "send", more(a), times }, STALL }
  end
end

group "The answer is too large" {
  { "endless headers", "limit", "headers_too_large", answer = endless(
    function() return "HTTP/1.1 200 OK\r\n" end,
    function() return ("X-Endless: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"):rep(100) end, 200) },
  { "endless text", "limit", "response_too_large", options = SMALL, answer = endless(
    function(a) return a.start end,
    function(a) return a.chunk(a.drop:rep(1000)) end, 200) },
  { "an endless event", whole = false, "limit", "event_too_large", answer = endless(
    function(a) return a.start .. a.chunk('data: {"choices":"') end,
    function(a) return a.chunk(("x"):rep(100000)) end, 200) },
  { "a gzip bomb", "limit", "response_too_large", options = SMALL,
    streamed = { "protocol", "bad_json" },
    answer = function(a)
      return { reply = { body = gzipped(a.all .. (" "):rep(20000000)),
        headers = { ["Content-Encoding"] = "gzip" } } }
    end },
}

local LIMITED = "rate_limit_exceeded"

group "The server says no" {
  { "400", "api", "invalid_request", answer = api(400, "invalid_request") },
  { "401", "api", "invalid_api_key", answer = api(401, "invalid_api_key") },
  { "402", "api", "insufficient_credits", answer = api(402, "insufficient_credits") },
  { "403", "api", "guard_blocked", answer = api(403, "guard_blocked") },
  { "404", "api", "model_not_found", answer = api(404, "model_not_found") },
  { "408", "api", "request_timeout", answer = api(408, "request_timeout"), retried = true },
  { "409", "api", "conflict", answer = api(409, "conflict"), retried = true },
  { "413", "api", "too_long", answer = api(413, "too_long") },
  { "422", "api", "unprocessable", answer = api(422, "unprocessable") },
  { "429, Retry-After in seconds", "api", LIMITED, retried = true, wait = 1,
    answer = api(429, LIMITED, { ["Retry-After"] = "1" }) },
  { "429, Retry-After is a date", "api", LIMITED, retried = true, wait = 1,
    answer = in_one_second },
  { "429, Retry-After-Ms", "api", LIMITED, retried = true, wait = 0.05,
    answer = api(429, LIMITED, { ["Retry-After-Ms"] = "50" }) },
  { "429, the message says when", "api", LIMITED, retried = true, wait = 0.05,
    answer = api(429, LIMITED, { ["X-No"] = "hint" }, "Please try again in 50ms.") },
  { "429, Retry-After is no time", "api", LIMITED, retried = true, wait = 0.3,
    answer = api(429, LIMITED, { ["Retry-After"] = "soon" }) },
  { "429, Retry-After is a day", "api", LIMITED,
    answer = api(429, LIMITED, { ["Retry-After"] = "86400" }) },
  { "500", "api", "server_error", answer = api(500, "server_error"), retried = true },
  { "500, X-Should-Retry: false", "api", "server_error",
    answer = api(500, "server_error", { ["X-Should-Retry"] = "false" }) },
  { "502, HTML", "http", "http_status", retried = true,
    answer = http(502, { ["Content-Type"] = "text/html", ["Retry-After-Ms"] = "20" }, HTML) },
  { "503", "api", "overloaded", answer = api(503, "overloaded"), retried = true },
  { "503, and the page breaks off", "http", "http_status", retried = true, answer = function()
    return steps("HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\n<html>", RESET)
  end },
  { "503, and the page stalls", "http", "http_status", retried = true, deadline = "first_token",
    answer = function()
      return steps("HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\n<html>", STALL)
    end },
}

local function redirect(status, to)
  return function(_, world)
    return { reply = { status = status, headers = { Location = to(world) }, body = "gone" } }
  end
end

group "The server redirects" {
  { "in circles", "limit", "too_many_redirects", requests = 6, answer = function()
    return { default = { status = 307, headers = { Location = "/v1/chat/completions" } } }
  end },
  { "to another host", "http", "redirect", answer = redirect(307, function(world)
    return "http://localhost:" .. world.other.port .. "/v1/chat/completions"
  end) },
  { "to another port", "http", "redirect", answer = redirect(308, function(world)
    return world.other.url .. "/chat/completions"
  end) },
  { "from https to http", place = "good", "http", "redirect",
    answer = redirect(307, function(world)
      return "http://127.0.0.1:" .. world.good_port .. "/v1/chat/completions"
    end) },
}

-- { "name", LOST, ... } and { "name", "network", "connection_lost", ... } are
-- the same.
local function read(given, into)
  for name, value in pairs(given) do
    if type(name) == "string" then
      into[name] = value
    end
  end
  local first = given[1]
  if type(first) == "table" then
    read(first, into)
  elseif first then
    into.kind, into.code = first, given[2]
  end
  return into
end

--- The faults, in order: { group =, name =, whole = plan or nil, streamed = }.
local faults = {}
for _, item in ipairs(groups) do
  for _, given in ipairs(item.faults) do
    local fault = { group = item.name, name = given[1] }
    for _, form in ipairs { "whole", "streamed" } do
      if given[form] ~= false then
        local plan = read(given, {})
        read({ given[2], given[3] }, plan)
        plan.deadline = plan.deadline or given.deadline
        plan.whole, plan.streamed = nil, nil
        fault[form] = read(given[form] or {}, plan)
      end
    end
    faults[#faults + 1] = fault
  end
end

return faults
