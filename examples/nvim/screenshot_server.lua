--- For screenshot.sh: a server with the answers in the picture. The last one stays in the middle
--- of a sentence, so that the picture shows an answer on its way. Writes its address to the file
--- that it is given and runs until it is ended, a minute at the most.

local cjson = require("cjson").new()
local socket = require "socket"
local Server = require "spec.support.server"

local FIRST = [[
Yes: a last line without a newline is **lost**, since the
pattern wants a `"\n"` behind each of them.]]

local SECOND = [[
Make the newline optional by adding one where it is missing:

```lua
local function lines_of(text)
  if text:sub(-1) ~= "\n" then
    text = text .. "\n"
  end
  return text:gmatch("(.-)\r?\n")
end
```

- `.-` is lazy, so an empty line stays an empty line
- `\r?` takes the carriage return of files from Windows

An empty file now has one]]

-- A piece for each word, as models send them.
local function steps_for(answer, is_whole)
  local steps = { { "send", "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    .. "Connection: close\r\n\r\n" } }
  local function send(choice, usage)
    local event = cjson.encode({ choices = { choice }, usage = usage })
    steps[#steps + 1] = { "send", "data: " .. event .. "\n\n" }
    steps[#steps + 1] = { "sleep", 0.02 }
  end
  for word in answer:gmatch("%s*%S+") do
    send({ index = 0, delta = { content = word } })
  end
  if is_whole then
    send({ index = 0, delta = { content = "" }, finish_reason = "stop" },
      { prompt_tokens = 61, completion_tokens = 58, total_tokens = 119, cost = 0.000131 })
    steps[#steps + 1] = { "send", "data: [DONE]\n\n" }
    steps[#steps + 1] = { "close" }
  else
    steps[#steps + 1] = { "stall" }
  end
  return steps
end

local answers = { FIRST, SECOND }
local server = Server.start()
for i, answer in ipairs(answers) do
  server:script(steps_for(answer, i < #answers))
end
local file = assert(io.open(arg[1], "w"))
file:write(server.url)
file:close()
socket.sleep(60)
