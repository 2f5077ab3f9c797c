-- One case, under callgrind.
--
--   lua bench/instructions/case.lua NAME BASE_URL
--
-- Does the work once for the count of `n` operations and once for `2n`, each
-- with the collection of what it left behind; prints `bytes N` for both, which
-- is the Lua memory taken meanwhile. What the two differ by is `n` operations:
-- warming up, collecting the rest of the heap and measuring are in both.

local here = arg[0]:gsub("[^/]*$", "")
package.path = here .. "?.lua;" .. here .. "../?.lua;" .. package.path

local callgrind = require "callgrind"
local cases = require "cases"

local case = assert(cases[arg[1]], "no such case")
local operate = case.prepare(arg[2])

collectgarbage()
collectgarbage()
collectgarbage("stop")

local function measure(n)
  local before = collectgarbage("count")
  callgrind.start()
  operate(n)
  local after = collectgarbage("count")
  collectgarbage()
  collectgarbage()
  callgrind.stop()
  print(("bytes %d"):format((after - before) * 1024))
end

-- Each of the sizes that come, so that tables and buffers have grown.
operate(2 * case.n)
collectgarbage()
collectgarbage()
print(("operations %d"):format(case.n))
measure(case.n)
measure(2 * case.n)
