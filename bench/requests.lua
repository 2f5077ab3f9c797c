-- Many small requests, one after another: 1,000 with a body of 1 KB.
--
--   lua bench/requests.lua BASE_URL
--
-- Prints `cpu SECONDS` of the requests alone.

package.path = arg[0]:gsub("[^/]*$", "?.lua;") .. package.path

local material = require "material"
local opperchat = require "opperchat"

local work = material.requests
local client = opperchat.client{ base_url = arg[1], api_key = "test" }
local chat = opperchat.conversation{
  client = client,
  model = "m",
  messages = material.messages(work.messages, work.size),
}

material.measure(function()
  for _ = 1, work.requests do
    local reply = assert(chat:send(work.prompt))
    assert(reply.finish_reason == "stop" and #reply.content > 100)
    chat:undo()
  end
end)
assert(#chat == work.messages)
client:close()
