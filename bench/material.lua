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

--- Runs `work` and prints the CPU seconds this process spent on it. What was
--- garbage before is collected before.
---@param work fun()
function material.measure(work)
  collectgarbage()
  collectgarbage()
  local start = os.clock()
  work()
  print(string.format("cpu %.6f", os.clock() - start))
end

--- Sizes of the cases: the scripts and the floor must do the same work.
material.history = { requests = 10, messages = 10000, size = 1000, prompt = "And in 3D?" }
material.requests = { requests = 1000, messages = 2, size = 430, prompt = "And in 3D?" }

return material
