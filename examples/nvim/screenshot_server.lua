--- For screenshot.sh: a scripted server with two answers. The second stays in the middle of a
--- sentence, so that the picture shows an answer on its way. Writes its address to the file
--- that it is given and runs until it is ended.

local cjson = require("cjson").new()
local socket = require "socket"
local Server = require "spec.support.server"

local FIRST = [[
Each turn of the loop waits until the next piece of the answer is here:

- in plain code it **blocks** the program,
- inside `opperchat.go` it **yields**, and everything else goes on.

A request that fails raises its error in the loop.]]

local SECOND = [[
```lua
opperchat.go(function()
  for text in chat:stream(question) do
    io.write(text)
  end
end)
```

The coroutine rests between two pieces; Neovim's own loop]]

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

local server = Server.start()
server:script(steps_for(FIRST, true))
server:script(steps_for(SECOND, false))
local file = assert(io.open(arg[1], "w"))
file:write(server.url)
file:close()
socket.sleep(60)
