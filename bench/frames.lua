-- The frame test: 64 streams of 100 chunks a second, polled 60 times a second,
-- as a game does.
--
--   lua bench/frames.lua BASE_URL STREAMS
--
-- Prints the CPU milliseconds of one poll: median, 99th percentile, worst, and
-- of a poll with nothing to do.

package.path = arg[0]:gsub("[^/]*$", "?.lua;") .. package.path

local core = require "opperchat.core"
local opperchat = require "opperchat"

local streams = tonumber(arg[2])
local client = opperchat.client{ base_url = arg[1], api_key = "test" }
local letters = 0
for _ = 1, streams do
  assert(opperchat.conversation{ client = client, model = "m" }:start("Count.", {
    on_delta = function(text)
      letters = letters + #text
    end,
  }))
end

-- CPU time of one poll, in milliseconds.
local function poll()
  local start = os.clock()
  local active = opperchat.poll()
  return (os.clock() - start) * 1000, active
end

local function at(sorted, share)
  return sorted[math.max(1, math.ceil(#sorted * share))]
end

local times, active = {}, streams
local next_frame = core.now()
while active > 0 do
  local time
  time, active = poll()
  times[#times + 1] = time
  next_frame = next_frame + 1 / 60
  core.sleep(next_frame - core.now())
end
table.sort(times)
assert(letters > 0)

local idle = {}
for i = 1, 1001 do
  idle[i] = poll()
end
table.sort(idle)

print(("median %.4f"):format(at(times, 0.5)))
print(("p99 %.4f"):format(at(times, 0.99)))
print(("worst %.4f"):format(times[#times]))
print(("idle %.4f"):format(at(idle, 0.5)))
client:close()
