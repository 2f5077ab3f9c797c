---What a client does, line by line, for whoever looks for what is wrong.
---
---Keys are in none of it: the core blots them out, and with them everything
---that stands in headers whose name smells of a secret.
local core = require "opperchat.core"

local log = {}

-- Bytes that are shown of a body, by level.
local SHOWN = { 2048, 65536 }

-- Longer runs of letters and digits are data and not words.
local LONG_RUN = ("[%w+/_-]"):rep(100) .. "[%w+/_-]*=*"

local numbers = 0

---@class opperchat.Logger
---@field level integer
---@field write fun(line: string)

---What is known of the log of one request.
---@class opperchat.LogEntry
---@field logger opperchat.Logger
---@field number integer
---@field setup userdata

local function to_stderr(line)
  io.stderr:write(line, "\n")
end

---A logger for a client.
---@param given? boolean|1|2|fun(line: string) the option `debug`
---@return opperchat.Logger? logger nil: nothing is to be logged
function log.new(given)
  local variable = os.getenv("OPPERCHAT_DEBUG")
  local level = (variable == nil or variable == "" or variable == "0") and 0
    or variable == "2" and 2 or 1
  if given == false then
    return nil
  elseif type(given) == "number" then
    level = given
  elseif given ~= nil then
    level = math.max(level, 1)
  end
  if level == 0 then
    return nil
  end
  return { level = level, write = type(given) == "function" and given or to_stderr }
end

---A URL without "user:password@".
---@param url string
---@return string
function log.without_login(url)
  local scheme, rest = url:match("^(%a[%w+.-]*://)(.*)$")
  local host, path = (rest or url):match("^([^/]*)(.*)$")
  return (scheme or "") .. host:gsub("^.*@", "") .. path
end

local ESCAPES = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

-- One line of a text that may be anything.
local function one_line(text)
  return (text:gsub("%c", function(byte)
    return ESCAPES[byte] or ("\\x%02x"):format(byte:byte())
  end))
end

-- The beginning of a text, without what is only data.
local function cut(text, limit)
  text = text:gsub(LONG_RUN, function(run)
    return ("%s...<%d bytes>"):format(run:sub(1, 12), #run)
  end)
  if #text <= limit then
    return text
  end
  local shown = text:sub(1, limit):gsub("[\194-\244]?[\128-\191]*$", "")
  return ("%s ...<%d bytes more>"):format(shown, #text - #shown)
end

-- What a program's own function raises is not to hurt the request.
local function write(entry, mark, text)
  local line = ("opperchat #%d %s %s"):format(entry.number, mark, text)
  local worked, problem = pcall(entry.logger.write, line)
  if not worked then
    io.stderr:write("opperchat: the debug function failed: ", tostring(problem), "\n")
  end
end

-- Blots out the key, and the one before it when it was another.
local function hide(entry, text)
  for _, setup in ipairs(entry.earlier or {}) do
    text = core.hide(setup, text)
  end
  return core.hide(entry.setup, text)
end

local function write_body(entry, mark, text)
  -- before it is cut: half a key would not be found
  text = hide(entry, text)
  write(entry, mark, one_line(cut(text, SHOWN[entry.logger.level])))
end

local function size(bytes)
  return bytes < 10240 and bytes .. " bytes" or ("%.0f KiB"):format(bytes / 1024)
end

---What is about to be sent.
---@class opperchat.LogInfo
---@field method string
---@field url string
---@field setup userdata
---@field body? string
---@field messages? integer
---@field tokens? integer estimated
---@field is_stream? boolean

---Logs a request that is about to be sent.
---@param logger opperchat.Logger
---@param info opperchat.LogInfo
---@return opperchat.LogEntry entry for what follows
function log.sent(logger, info)
  numbers = numbers + 1
  local entry = { logger = logger, number = numbers, setup = info.setup }
  local parts = { info.method .. " " .. log.without_login(info.url) }
  if info.messages then
    parts[#parts + 1] = info.messages .. (info.messages == 1 and " message" or " messages")
  end
  if info.tokens then
    parts[#parts + 1] = "about " .. info.tokens .. " tokens"
  end
  if info.body then
    parts[#parts + 1] = size(#info.body)
  end
  parts[#parts + 1] = info.is_stream and "as a stream" or nil
  write(entry, ">", one_line(table.concat(parts, ", ")))
  if logger.level > 1 then
    for _, line in ipairs(core.setup_headers(info.setup)) do
      write(entry, ">", one_line(line))
    end
  end
  if info.body then
    write_body(entry, ">", info.body)
  end
  return entry
end

local function attempts(count)
  return count == 1 and "1 attempt" or (count or 1) .. " attempts"
end

-- An error as one line. Its message has no key in it.
local function shown_error(err)
  return ("%s (%s%s): %s"):format(tostring(err.kind), tostring(err.code),
    err.status and ", HTTP " .. err.status or "", tostring(err.message))
end

---A handler that logs a failed attempt, and then tells the program's own.
---@param entry opperchat.LogEntry
---@param on_retry? function
---@return function
function log.watch_retry(entry, on_retry)
  return function(event, ...)
    write(entry, "!", one_line(("%s; sent again in %.2f s (attempt %d failed)")
      :format(shown_error(event.err), event.wait, event.attempt)))
    if on_retry then
      on_retry(event, ...)
    end
  end
end

---Logs that a request that has failed is sent once more, changed.
---@param entry opperchat.LogEntry
---@param err opperchat.Error
function log.again(entry, err, setup)
  if setup ~= entry.setup then
    entry.earlier = entry.earlier or {}
    table.insert(entry.earlier, entry.setup)
    entry.setup = setup
  end
  write(entry, "!", one_line(shown_error(err) .. "; sent again with "
    .. (err.status == 401 and "another key" or "a shorter list, or to another model")))
end

local function shown_usage(usage)
  local text = ("%s+%s tokens"):format(usage.prompt_tokens or "?", usage.completion_tokens or "?")
  if usage.cached_tokens and usage.cached_tokens > 0 then
    text = text .. (" (%d cached)"):format(usage.cached_tokens)
  end
  return usage.cost and ("%s, $%.6f"):format(text, usage.cost) or text
end

local function shown_timing(timing)
  local parts = {}
  for _, name in ipairs { "connect", "first_byte", "first_token" } do
    if timing[name] and timing[name] > 0 then
      parts[#parts + 1] = ("%s %.3f"):format(name, timing[name])
    end
  end
  return ("%.3f s"):format(timing.total or 0)
    .. (#parts > 0 and " (" .. table.concat(parts, ", ") .. ")" or "")
end

-- What arrived of an answer.
local function write_reply(entry, reply)
  if reply.text or reply.content then
    write_body(entry, "<", reply.text or reply.content)
  end
  for _, call in ipairs(reply.tool_calls or {}) do
    write_body(entry, "<", ("%s(%s)"):format(call.name or "?", call.arguments_json or ""))
  end
end

-- A header whose value may be a secret has none.
local function shown_header(line)
  local name = line:match("^([^:]*):")
  return name and core.is_secret_name(name) and name .. ": <redacted>" or line
end

---Logs the end of a request.
---@param entry opperchat.LogEntry
---@param request opperchat.Request
---@param result table reply, document or error
---@param has_failed boolean
function log.ended(entry, request, result, has_failed)
  local reply = has_failed and result.partial or result
  local parts = {}
  if has_failed then
    parts[1] = shown_error(result)
  else
    parts[1] = "HTTP " .. (result.status or 200)
    parts[2] = result.finish_reason
  end
  if reply and reply.timing then
    parts[#parts + 1] = shown_timing(reply.timing)
  end
  parts[#parts + 1] = attempts(result.attempts)
  if reply and reply.usage then
    parts[#parts + 1] = shown_usage(reply.usage)
  end
  if result.trace_id then
    parts[#parts + 1] = "trace " .. result.trace_id
  end
  write(entry, has_failed and "!" or "<", one_line(table.concat(parts, ", ")))
  if entry.logger.level > 1 then
    for line in hide(entry, core.request_head(request)):gmatch("[^\r\n]+") do
      write(entry, "<", one_line(shown_header(line)))
    end
  end
  if reply then
    write_reply(entry, reply)
  end
end

return log
