-- A plain Lua script, as such scripts are usually written: LuaSocket's
-- http.request, which opens a connection for each request and closes it, the list
-- of messages in a table that cjson encodes anew each time, and for a stream a
-- sink that cuts lines off a string and decodes each of them.
--
--   lua bench/plain.lua posts BASE_URL REQUESTS MESSAGES SIZE
--   lua bench/plain.lua stream|garbage BASE_URL CHUNKS SIZE
--   lua bench/plain.lua first BASE_URL TIMES
--   lua bench/plain.lua memory COUNT SIZE
--
-- What they print is what posts.lua, burst.lua, first.lua and memory.lua print.

package.path = arg[0]:gsub("[^/]*$", "?.lua;") .. package.path

local cjson = require "cjson"
local http = require "socket.http"
local ltn12 = require "ltn12"
local material = require "material"
local socket = require "socket"

local mode, base_url = arg[1], arg[2]

local function post(body, sink)
  local payload = cjson.encode(body)
  local ok, status = http.request{
    url = base_url .. "/chat/completions",
    method = "POST",
    headers = {
      ["Content-Type"] = "application/json",
      ["Content-Length"] = #payload,
      ["Authorization"] = "Bearer test",
    },
    source = ltn12.source.string(payload),
    sink = sink,
  }
  assert(ok and status == 200, status)
end

local function ask(messages)
  local pieces = {}
  post({ model = "m", messages = messages }, ltn12.sink.table(pieces))
  return cjson.decode(table.concat(pieces)).choices[1].message
end

-- What a line of the stream says, if anything.
local function decode(line)
  local data = line:match("^data: (.*)$")
  if data and data ~= "[DONE]" then
    local choice = cjson.decode(data).choices[1]
    return choice and choice.delta
  end
end

-- Calls a function with each delta.
local function stream(messages, on_delta)
  local rest = ""
  local body = { model = "m", messages = messages, stream = true,
    stream_options = { include_usage = true } }
  post(body, function(piece)
    local text, at = rest .. (piece or ""), 1
    while true do
      local stop = text:find("\n", at, true)
      if not stop then
        rest = text:sub(at)
        return 1
      end
      local delta = decode(text:sub(at, stop - 1))
      if delta then
        on_delta(delta)
      end
      at = stop + 1
    end
  end)
end

local function text_of(delta)
  local call = delta.tool_calls and delta.tool_calls[1]
  return call and call["function"].arguments or delta.content or ""
end

local modes = {}

function modes.posts()
  local requests, count, size = material.numbers(3)
  local messages = material.messages(count, size)
  material.measure(function()
    for _ = 1, requests do
      table.insert(messages, { role = "user", content = material.prompt })
      assert(#ask(messages).content > 100)
      table.remove(messages)
    end
  end, socket.gettime)
end

local function prompt()
  return { { role = "user", content = "Count." } }
end

function modes.stream()
  local chunks, size = material.numbers(3)
  local pieces, bytes, calls = {}, 0, 0
  material.measure(function()
    stream(prompt(), function(delta)
      local text = text_of(delta)
      pieces[#pieces + 1] = text
      bytes = bytes + #text
      calls = calls + 1
    end)
  end, socket.gettime)
  assert(bytes >= chunks * size and #table.concat(pieces) == bytes, "too little text")
  print(("calls %d"):format(calls))
end

function modes.garbage()
  local watch = material.watch_garbage(material.numbers(3))
  stream(prompt(), function(delta)
    local text = text_of(delta)
    if text ~= "" then
      watch.add(text)
    end
  end)
  watch.report()
end

function modes.first()
  local values = {}
  for i = 1, material.numbers(3) do
    local before, at
    stream(prompt(), function(delta)
      if text_of(delta) == "" then
        before = before or os.clock()
      else
        at = at or os.clock()
      end
    end)
    values[i] = (at - before) * 1e6
  end
  print(("first %.2f"):format(material.at_share(values, 0.5)))
  print(("first_p95 %.2f"):format(material.at_share(values, 0.95)))
end

function modes.memory()
  local count, size = material.numbers(2)
  local messages = {}
  collectgarbage()
  local before = collectgarbage("count")
  for i = 1, count do
    -- a text of its own for each, as they come
    local number = tostring(i)
    messages[i] = {
      role = i % 2 == 1 and "user" or "assistant",
      content = number .. ("x"):rep(size - #number),
    }
  end
  collectgarbage()
  print(("bytes %.1f"):format((collectgarbage("count") - before) * 1024 / #messages - size))
end

assert(modes[mode], "plain.lua posts|stream|garbage|first|memory ...")()
