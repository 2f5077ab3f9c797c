-- Many streams at once, each with a chunk now and then.
--
--   lua bench/paced.lua BASE_URL STREAMS [CA_FILE]
--
-- With CA_FILE over HTTP/2 and TLS; a first request, which is not measured and
-- cancelled when it has begun, opens the connection. Prints `cpu SECONDS` from the first request to
-- the last answer.

package.path = arg[0]:gsub("[^/]*$", "?.lua;") .. package.path

local opperchat = require "opperchat"
local ours = require "ours"

local base_url, streams, ca_file = arg[1], tonumber(arg[2]), arg[3]
local client = ours.client(base_url, { ca_file = ca_file })
local origin = opperchat.conversation{ client = client, model = "m" }

local done, bytes = 0, 0

if ca_file then
  local first = assert(origin:start("Count."))
  while first:state() == "sending" do
    client:poll(1)
  end
  assert(first:state() == "receiving", first:state())
  first:cancel()
end
local chats = {}
for i = 1, streams do
  chats[i] = origin:fork()
end
ours.measure(function()
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
  ours.finish(client)
end)
assert(done == streams, "some streams did not end")
print(("bytes %d"):format(bytes))
client:close()
