-- The frame test: 64 streams of 100 chunks a second, polled 60 times a second,
-- as a game does.
--
--   lua bench/frames.lua BASE_URL STREAMS [all]
--
-- Prints the CPU milliseconds of one poll: median, 99th percentile, worst, and
-- of a poll with nothing to do; and how many frames it takes at most until a
-- stream is told of a text (each is sent more than one in a frame): 1 is the
-- next frame. With `all` a poll does all there is to do, however long it takes.

package.path = arg[0]:gsub("[^/]*$", "?.lua;") .. package.path

local core = require "opperchat.core"
local material = require "material"
local opperchat = require "opperchat"
local ours = require "ours"

local streams = tonumber(arg[2])
local given = arg[3] == "all" and { budget = false } or nil
local client = ours.client(arg[1])
local letters = 0
local times, told, late = {}, {}, 0
for i = 1, streams do
  assert(opperchat.conversation{ client = client, model = "m" }:start("Count.", {
    on_delta = function(text)
      letters = letters + #text
      late = math.max(late, #times + 1 - (told[i] or #times))
      told[i] = #times + 1
    end,
  }))
end

-- CPU time of one poll, in milliseconds.
local function poll()
  local start = os.clock()
  local active = opperchat.poll(given)
  return (os.clock() - start) * 1000, active
end

local active = streams
local next_frame = core.now()
while active > 0 do
  local time
  time, active = poll()
  times[#times + 1] = time
  next_frame = next_frame + 1 / 60
  core.sleep(next_frame - core.now())
end
assert(letters > 0)

local idle = {}
for i = 1, 1001 do
  idle[i] = poll()
end

print(("median %.4f"):format(material.at_share(times, 0.5)))
print(("p99 %.4f"):format(material.at_share(times, 0.99)))
print(("worst %.4f"):format(material.at_share(times, 1)))
print(("late %d"):format(late))
print(("idle %.4f"):format(material.at_share(idle, 0.5)))
client:close()
