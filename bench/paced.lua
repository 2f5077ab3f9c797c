-- Many streams at once, each with a chunk now and then.
--
--   lua bench/paced.lua BASE_URL STREAMS
--
-- Prints `cpu SECONDS` from the first request to the last answer.

package.path = arg[0]:gsub("[^/]*$", "?.lua;") .. package.path

local material = require "material"
local opperchat = require "opperchat"

local streams = tonumber(arg[2])
local client = opperchat.client{ base_url = arg[1], api_key = "test" }
local origin = opperchat.conversation{ client = client, model = "m" }
local chats = {}
for i = 1, streams do
  chats[i] = origin:fork()
end

local done, bytes = 0, 0
material.measure(function()
  for i = 1, streams do
    assert(chats[i]:start("Count.", {
      on_delta = function(text)
        bytes = bytes + #text
      end,
      on_done = function(_, err)
        assert(not err, tostring(err))
        done = done + 1
      end,
    }))
  end
  while client:poll(1) > 0 do
    -- everything happens in the handlers
  end
end)
assert(done == streams, "some streams did not end")
print(("bytes %d"):format(bytes))
client:close()
