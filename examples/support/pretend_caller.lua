--- How the pretend model uses tools: by the words in their names and in the
-- choices of their parameters, which it looks for in what it was asked.
--
--   red_door { action = "open" | "go_through" }     "Go through the red door"
--   weather { city = string }                       "What's the weather in Oslo?"
--
-- "then", "and" and commas divide a question into steps. It takes one step at a
-- time, and neighbouring steps with the same tool at once; what the tools have
-- said since the question is its answer.

local cjson = require("cjson").new()

local caller = {}

local made = 0

local function words_of(name)
  local words = {}
  for word in name:gsub("(%l)(%u)", "%1 %2"):lower():gmatch("%w+") do
    words[#words + 1] = word
  end
  return words
end

-- Whether all words of a name are in a text.
local function has_words(text, name)
  text = " " .. text:lower():gsub("%W+", " ") .. " "
  local words = words_of(name)
  for _, word in ipairs(words) do
    if not text:find(" " .. word .. " ", 1, true) then
      return false
    end
  end
  return #words > 0
end

local function steps_of(question)
  local text = question:gsub("%f[%w][Tt]hen%f[%W]", ","):gsub("%f[%w][Aa]nd%f[%W]", ",")
    :gsub("[;.!?\n]", ",")
  local steps = {}
  for step in text:gmatch("[^,]+") do
    if step:find("%w") then
      steps[#steps + 1] = step
    end
  end
  return steps
end

-- A value for one parameter, nil when the step has none.
local function find_value(step, schema)
  if type(schema.enum) == "table" then
    for _, choice in ipairs(schema.enum) do
      if has_words(step, tostring(choice)) then
        return choice
      end
    end
  elseif schema.type == "integer" or schema.type == "number" then
    return tonumber(step:match("%-?%d+%.?%d*"))
  elseif schema.type == "boolean" then
    return not has_words(step, "not")
  elseif schema.type == "string" then
    -- a name, or else the last word
    return step:match("%w%W+(%u%w*)") or step:match("(%w+)%W*$")
  end
  return nil
end

-- The arguments of a tool in this step, nil when one that it needs is missing.
local function find_arguments(step, fn)
  local schema = type(fn.parameters) == "table" and fn.parameters or {}
  local arguments = {}
  for name, own in pairs(type(schema.properties) == "table" and schema.properties or {}) do
    arguments[name] = type(own) == "table" and find_value(step, own) or nil
  end
  for _, name in ipairs(type(schema.required) == "table" and schema.required or {}) do
    if arguments[name] == nil then
      return nil
    end
  end
  return arguments
end

-- The tool whose name is in this step; of several the one with the longest.
local function find_call(step, tools)
  local best, best_arguments
  for _, tool in ipairs(tools) do
    local fn = tool["function"]
    if type(fn) == "table" and type(fn.name) == "string" and has_words(step, fn.name)
        and (not best or #fn.name > #best) then
      local arguments = find_arguments(step, fn)
      if arguments then
        best, best_arguments = fn.name, arguments
      end
    end
  end
  return best and { name = best, arguments = best_arguments }
end

-- All calls that a question asks for, each with the number of its group.
local function plan(question, tools)
  local calls, group = {}, 0
  for _, step in ipairs(steps_of(question)) do
    local call = find_call(step, tools)
    if call then
      local last = calls[#calls]
      group = last and last.name == call.name and group or group + 1
      call.group = group
      calls[#calls + 1] = call
    end
  end
  return calls
end

-- What a tool has said, in words.
local function told(content)
  local ok, value = pcall(cjson.decode, content)
  if not ok or type(value) ~= "table" then
    return content
  elseif type(value.error) == "string" then
    return "That did not work: " .. value.error:gsub("%.$", "") .. "."
  end
  local parts = {}
  for name, item in pairs(value) do
    if type(item) ~= "table" then
      local shown = type(item) == "number" and ("%.14g"):format(item) or tostring(item)
      parts[#parts + 1] = tostring(name) .. ": " .. shown
    end
  end
  table.sort(parts)
  return table.concat(parts, ", ")
end

--- The next thing to do for the last question.
---@param messages table[]
---@param request table the decoded body: its `tools` and `tool_choice` count
---@param text_of fun(message: table): string
---@return table[]? calls as the API writes them
---@return string? answer what the tools have said, when there is nothing more to call
function caller.next(messages, request, text_of)
  local tools = request.tools
  if type(tools) ~= "table" or #tools == 0 then
    return nil
  end
  local question, replies, results = "", 0, {}
  for _, message in ipairs(messages) do
    if message.role == "user" then
      question, replies, results = text_of(message), 0, {}
    elseif message.role == "assistant" and type(message.tool_calls) == "table" then
      replies = replies + 1
    elseif message.role == "tool" then
      results[#results + 1] = told(text_of(message))
    end
  end
  local list = {}
  if request.tool_choice ~= "none" then
    for _, call in ipairs(plan(question, tools)) do
      if call.group == replies + 1 then
        made = made + 1
        local arguments = next(call.arguments) and cjson.encode(call.arguments) or "{}"
        list[#list + 1] = {
          id = ("call_%d_%d"):format(os.time(), made), type = "function",
          ["function"] = { name = call.name, arguments = arguments },
        }
      end
    end
  end
  if #list > 0 then
    return list
  elseif #results > 0 then
    return nil, table.concat(results, " ")
  end
  return nil
end

return caller
