-- What the benches talk about, and the clock they are measured with.

local material = {}

local speech = [[
A vector is a quantity that has both a size and a direction. Think of an arrow: how long it is
says how much, and where it points says which way. You write it as a pair of numbers in two
dimensions, as a triple in three, and "nothing" stops you from going on to hundreds of them.
Adding two vectors means walking along the first and then along the second; the sum is the straight
line home. Multiplying by a number makes the arrow longer or shorter, and a negative one turns it
around. Wind is a vector, and so is the pull of the earth; temperature is not: it points nowhere.
]]

--- Text of exactly `size` bytes; different numbers give different texts.
---@param number integer
---@param size integer
---@return string
function material.text(number, size)
  local start = (number * 37) % #speech
  local rest = speech:sub(start + 1)
  local copies = math.ceil(math.max(0, size - #rest) / #speech)
  return (rest .. speech:rep(copies)):sub(1, size)
end

--- JSON string of a text of this file, which needs no more than these escapes.
---@param text string
---@return string
function material.quote(text)
  return '"' .. text:gsub('[\\"]', "\\%0"):gsub("\n", "\\n") .. '"'
end

--- Roles and texts of a conversation: user and assistant in turn.
---@param count integer
---@param size integer bytes of text in each
---@return table[] messages
function material.messages(count, size)
  local messages = {}
  for i = 1, count do
    messages[i] = {
      role = i % 2 == 1 and "user" or "assistant",
      content = material.text(i, size),
    }
  end
  return messages
end

--- The request body that a client sends for these messages and one prompt.
---@param messages table[]
---@param prompt string
---@return string
function material.body(messages, prompt)
  local parts = {}
  for i, message in ipairs(messages) do
    parts[i] = '{"role":"' .. message.role .. '","content":'
      .. material.quote(message.content) .. "}"
  end
  parts[#parts + 1] = '{"role":"user","content":' .. material.quote(prompt) .. "}"
  return '{"model":"m","messages":[' .. table.concat(parts, ",") .. "]}"
end

--- Runs `work` and prints the CPU seconds this process spent on it, and those
--- that passed. What was garbage before is collected before.
---@param work fun()
---@param now fun(): number seconds of any clock that goes on while this waits
function material.measure(work, now)
  collectgarbage()
  collectgarbage()
  local began, start = now(), os.clock()
  work()
  local spent = os.clock() - start
  print(("cpu %.6f"):format(spent))
  print(("wall %.6f"):format(now() - began))
end

--- The number of which `share` of all are no larger; sorts them.
---@param values number[]
---@param share number
---@return number
function material.at_share(values, share)
  table.sort(values)
  return values[math.min(#values, math.floor(#values * share) + 1)]
end

--- What a Lua string takes beyond its bytes.
---@return number bytes
function material.string_overhead()
  local kept = {}
  for i = 1, 400 do
    kept[i] = false
  end
  collectgarbage()
  collectgarbage("stop")
  local before, bytes = collectgarbage("count"), 0
  for i = 1, 400 do
    -- longer than what is interned, short enough for no buffer on the heap
    kept[i] = ("x"):rep(40 + i)
    bytes = bytes + #kept[i]
  end
  local after = collectgarbage("count")
  collectgarbage("restart")
  return ((after - before) * 1024 - bytes) / #kept
end

--- Counts what is allocated between the first piece of text that a handler gets
--- and the last one.
---
--- `add(text)` is for the handler; `report(chunks)` prints the `handed` bytes of the
--- strings it got, and the `garbage` beyond them, both per chunk.
function material.watch_garbage()
  local overhead = material.string_overhead()
  local watch, handed, calls, first, last = {}, 0, 0, nil, nil
  collectgarbage()
  collectgarbage("stop")
  function watch.add(text)
    last = collectgarbage("count")
    if first then
      handed = handed + #text + overhead
      calls = calls + 1
    else
      first = last
    end
  end
  function watch.report(chunks)
    print(("handed %.3f"):format(handed / chunks))
    print(("garbage %.3f"):format(((last - first) * 1024 - handed) / chunks))
    print(("calls %d"):format(calls + 1))
  end
  return watch
end

--- Arguments behind the modes of a script.
---@param first integer
---@return number? ...
function material.numbers(first)
  local found = {}
  for i = first, #arg do
    found[#found + 1] = tonumber(arg[i])
  end
  return (table.unpack or unpack)(found) -- luacheck: ignore
end

material.prompt = "And in 3D?"

return material
