-- One stream, whose chunks come as fast as they can or at a pace.
--
--   lua bench/burst.lua MODE BASE_URL CHUNKS SIZE
--
--   delta     on_delta gets the text
--   event     on_event gets an event for it
--   garbage   the first, without a collector, to see what it leaves behind
--   event-garbage   the same for events
--
-- The stream has CHUNKS chunks of SIZE bytes of text, or of a call's arguments.
-- Prints `cpu SECONDS` and `calls N`, how often the handler was called.

package.path = arg[0]:gsub("[^/]*$", "?.lua;") .. package.path

local material = require "material"
local opperchat = require "opperchat"
local ours = require "ours"

local mode, base_url = arg[1], arg[2]
local chunks, size = material.numbers(3)
local client = ours.client(base_url)
local chat = opperchat.conversation{ client = client, model = "m" }

local bytes, calls = 0, 0

local HANDLERS = {
  delta = { on_delta = function(text)
    bytes = bytes + #text
    calls = calls + 1
  end },
  event = { on_event = function(event)
    bytes = bytes + #(event.text or event.arguments)
    calls = calls + 1
  end },
}

local function run(handlers)
  local request = assert(chat:start("Count.", handlers))
  ours.finish(client)
  return assert(request:wait())
end

if mode:find("garbage") then
  local watch = material.watch_garbage(chunks, size)
  run(mode == "garbage" and { on_delta = watch.add } or { on_event = function(event)
    watch.add(event.text or event.arguments)
  end })
  watch.report()
else
  local reply
  ours.measure(function()
    reply = run(HANDLERS[mode])
  end)
  print(("calls %d"):format(calls))
  local call = reply.tool_calls and reply.tool_calls[1]
  assert(#(call and call.arguments_json or reply.content) == bytes, "text was lost")
  assert(bytes >= chunks * size, "too little text")
end
client:close()
