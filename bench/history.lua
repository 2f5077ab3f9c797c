-- Requests with a long history: 10,000 messages, 10 MB in all.
--
--   lua bench/history.lua BASE_URL
--
-- Prints `cpu SECONDS` of the requests alone; building the history is not in it.

package.path = arg[0]:gsub("[^/]*$", "?.lua;") .. package.path

local material = require "material"
local opperchat = require "opperchat"

local work = material.history
local client = opperchat.client{ base_url = arg[1], api_key = "test" }
local chat = opperchat.conversation{ client = client, model = "m" }
for _, message in ipairs(material.messages(work.messages, work.size)) do
  chat:append(message.role, message.content)
end

material.measure(function()
  for _ = 1, work.requests do
    local reply = assert(chat:send(work.prompt))
    assert(reply.finish_reason == "stop" and #reply.content > 100)
    chat:undo()
  end
end)
assert(#chat == work.messages)
client:close()
