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

--- Sees what is allocated from the first call of a handler on until a later one that
--- has half of the text behind it, and is not held by the strings that were handed
--- over: those are kept here.
---
--- `add(text)` is for the handler; `report()` prints the bytes per chunk.
---@param chunks integer
---@param size integer bytes of text in each
function material.watch_garbage(chunks, size)
  local watch, calls, bytes, first_bytes, garbage = {}, 0, 0, nil, nil
  watch.kept = {}
  for i = 1, chunks + 1 do
    watch.kept[i] = false
  end
  -- a collection that is asked for sets the collector going again on 5.1
  local function collect()
    collectgarbage()
    collectgarbage("stop")
  end
  function watch.add(text)
    calls = calls + 1
    watch.kept[calls] = text
    bytes = bytes + #text
    if not first_bytes then
      collect()
      first_bytes = bytes
    elseif not garbage and bytes >= chunks * size / 2 then
      local before = collectgarbage("count")
      collect()
      garbage = (before - collectgarbage("count")) * 1024 / (bytes - first_bytes) * size
    end
  end
  function watch.report()
    print(("garbage %.3f"):format(assert(garbage, "all of it came in one call")))
    print(("calls %d"):format(calls))
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
