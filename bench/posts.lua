-- Requests one after another, with a history of MESSAGES messages of SIZE bytes.
--
--   lua bench/posts.lua BASE_URL REQUESTS MESSAGES SIZE
--
-- Prints `cpu SECONDS` of the requests alone; building the history is not in it.

package.path = arg[0]:gsub("[^/]*$", "?.lua;") .. package.path

local material = require "material"
local opperchat = require "opperchat"
local ours = require "ours"

local requests, count, size = material.numbers(2)
local client = ours.client(arg[1])
local chat = opperchat.conversation{ client = client, model = "m" }
for _, message in ipairs(material.messages(count, size)) do
  chat:append(message.role, message.content)
end

ours.measure(function()
  for _ = 1, requests do
    local reply = assert(chat:send(material.prompt))
    assert(reply.finish_reason == "stop" and #reply.content > 100)
    chat:undo()
  end
end)
assert(#chat == count)
client:close()
