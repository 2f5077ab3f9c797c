-- What it costs to edit a list of messages: microseconds of one operation.
--
--   lua bench/edits.lua opperchat|table MESSAGES
--
-- `table` does the same to a plain Lua table of messages, as programs without a
-- library keep it. Prints `append`, `undo`, `splice` (two messages in the middle
-- become two others) and `fork`, each the median of several batches.

package.path = arg[0]:gsub("[^/]*$", "?.lua;") .. package.path

local material = require "material"

local SIZE, BATCHES, BATCH = 300, 41, 20

local mode, count = arg[1], tonumber(arg[2])
local middle = math.max(1, math.floor(count / 4) * 2 - 1)
local question, answer = material.text(1, SIZE), material.text(2, SIZE)
local pair = { { role = "user", content = question }, { role = "assistant", content = answer } }

-- Each takes a list and returns it.
local edits = {}

if mode == "opperchat" then
  local opperchat = require "opperchat"

  function edits.new()
    return opperchat.conversation{ model = "m" }
  end

  function edits.append(list)
    return list:append("user", question):append("assistant", answer)
  end

  function edits.undo(list)
    return list:undo()
  end

  function edits.splice(list)
    return list:splice(middle, middle + 1, pair)
  end

  function edits.fork(list)
    return list:fork()
  end
else
  function edits.new()
    return {}
  end

  function edits.append(list)
    list[#list + 1] = { role = "user", content = question }
    list[#list + 1] = { role = "assistant", content = answer }
    return list
  end

  function edits.undo(list)
    repeat
      local gone = table.remove(list)
    until gone.role == "user"
    return list
  end

  -- as one would who knows nothing of the number of messages put in
  function edits.splice(list)
    for _ = 1, 2 do
      table.remove(list, middle)
    end
    for i, message in ipairs(pair) do
      table.insert(list, middle + i - 1, message)
    end
    return list
  end

  function edits.fork(list)
    local copy = {}
    for i = 1, #list do
      copy[i] = list[i]
    end
    return copy
  end
end

local list = edits.new()
for _ = 1, count / 2 do
  edits.append(list)
end
assert(#list == count)

-- Median over the batches; what `after` does to the list is not measured.
local function measure(name, per, edit, after)
  local values = {}
  for i = 1, BATCHES do
    collectgarbage()
    collectgarbage("stop")
    local start = os.clock()
    for _ = 1, BATCH do
      edit(list)
    end
    values[i] = (os.clock() - start) * 1e6 / BATCH / per
    collectgarbage("restart")
    for _ = 1, BATCH do
      after(list)
    end
  end
  assert(#list == count, name)
  print(("%s %.4f"):format(name, material.at_share(values, 0.5)))
end

local function nothing() end

measure("append", 2, edits.append, edits.undo)
for _ = 1, BATCH do
  edits.append(list)
end
count = #list
measure("undo", 1, edits.undo, edits.append)
measure("splice", 1, edits.splice, nothing)
measure("fork", 1, edits.fork, nothing)
