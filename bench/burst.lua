-- One stream whose chunks come as fast as they can.
--
--   lua bench/burst.lua BASE_URL CHUNKS SIZE
--
-- The deltas of one read are handed over together. Prints `cpu SECONDS`, the
-- bytes of text handed over and the garbage in Lua memory beyond them.

package.path = arg[0]:gsub("[^/]*$", "?.lua;") .. package.path

local material = require "material"
local opperchat = require "opperchat"

local client = opperchat.client{ base_url = arg[1], api_key = "test", max_response_bytes = 2 ^ 31 }
local chat = opperchat.conversation{ client = client, model = "m" }

local bytes, calls = 0, 0
collectgarbage()
collectgarbage("stop")
local before = collectgarbage("count")
local after
material.measure(function()
  local request = assert(chat:start("Count.", {
    on_delta = function(text)
      bytes = bytes + #text
      calls = calls + 1
    end,
  }))
  while not (request:state() == "done" or request:state() == "failed") do
    client:poll(1)
  end
  after = collectgarbage("count")
  local reply = assert(request:wait())
  assert(#reply.content == bytes, "text was lost")
end)
assert(bytes >= tonumber(arg[2]) * tonumber(arg[3]) * 0.9, "too little text")
print(("bytes %d"):format(bytes))
print(("calls %d"):format(calls))
-- the final reply holds the whole text once more
print(("garbage %.3f"):format(((after - before) * 1024 - bytes * 2) / bytes))
client:close()
