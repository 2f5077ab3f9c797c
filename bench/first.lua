-- What the first text of a stream costs: CPU time from the moment before the
-- program waits for it until the handler has it. The head of the answer, and the
-- chunk that only names the role, came some time before.
--
--   lua bench/first.lua BASE_URL TIMES
--
-- Prints microseconds: `first`, the median, and `first_p95`.

package.path = arg[0]:gsub("[^/]*$", "?.lua;") .. package.path

local material = require "material"
local opperchat = require "opperchat"
local ours = require "ours"

local times = material.numbers(2)
local client = ours.client(arg[1])
local chat = opperchat.conversation{ client = client, model = "m" }

local at
local handlers = {
  on_delta = function()
    at = at or os.clock()
  end,
}

local values = {}
for i = 1, times do
  at = nil
  local request = assert(chat:start("Count.", handlers))
  local before
  while not at do
    before = os.clock()
    assert(client:poll(1) > 0 or at, "the stream has no text")
  end
  values[i] = (at - before) * 1e6
  assert(request:wait())
  chat:undo()
end
print(("first %.2f"):format(material.at_share(values, 0.5)))
print(("first_p95 %.2f"):format(material.at_share(values, 0.95)))
client:close()
