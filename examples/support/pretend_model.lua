--- What the offline server says. It is no model: it knows a few subjects, and
-- otherwise finds its words in the messages it was sent. So its answers show
-- what really reached the server: ask for "an example" without the earlier
-- turns, and it has to ask back.

local mime = require "mime"

local here = debug.getinfo(1, "S").source:match("^@(.*[/\\])") or "./"
local pdf = dofile(here .. "pdf.lua")
local reader = dofile(here .. "pretend_reader.lua")
local caller = dofile(here .. "pretend_caller.lua")
local logbook = dofile(here .. "pretend_logbook.lua")
local villagers = dofile(here .. "pretend_villagers.lua")

local pretend_model = {}

-- What it knows. `example(n)` is one in n dimensions.
local subjects = {
  {
    word = "vector",
    explanation = "A vector is a quantity with a size and a direction, written as a list of "
      .. "numbers, one for each dimension.",
    example = function(n)
      local numbers = {}
      for i = 1, n do
        numbers[i] = tostring(i)
      end
      return "a vector in " .. n .. "D is a list of " .. n .. " numbers, e.g. ("
        .. table.concat(numbers, ", ") .. ")"
    end,
  },
  {
    word = "matrix",
    explanation = "A matrix is a table of numbers in rows and columns; it turns one vector "
      .. "into another.",
    example = function(n)
      local rows = {}
      for row = 1, n do
        local numbers = {}
        for column = 1, n do
          numbers[column] = row == column and "1" or "0"
        end
        rows[row] = "(" .. table.concat(numbers, " ") .. ")"
      end
      return "the identity matrix in " .. n .. "D has the rows " .. table.concat(rows, " ")
    end,
  },
  {
    word = "coroutine",
    explanation = "A coroutine is a function that can stop in the middle and be resumed later.",
    example = function()
      return "a coroutine that counts calls coroutine.yield(i) in a loop, and each resume "
        .. "returns the next number"
    end,
  },
}

local function subject_of(text)
  text = text:lower()
  for _, subject in ipairs(subjects) do
    if text:find(subject.word, 1, true) then
      return subject
    end
  end
  return nil
end

--- The text of a message; its content may be a string or a list of parts.
---@param message table
---@return string
function pretend_model.text_of(message)
  local content = message.content
  if type(content) == "string" then
    return content
  elseif type(content) ~= "table" then
    return "" -- null, as in an assistant message with tool calls
  end
  local texts = {}
  for _, part in ipairs(content) do
    if type(part) == "table" then
      local is_text = part.type == "text" and type(part.text) == "string"
      texts[#texts + 1] = is_text and part.text or "[" .. tostring(part.type) .. "]"
    end
  end
  return table.concat(texts, " ")
end

-- The last question, and the ones before it, newest last.
local function questions_in(messages)
  local earlier = {}
  for _, message in ipairs(messages) do
    if message.role == "user" then
      earlier[#earlier + 1] = pretend_model.text_of(message)
    end
  end
  local last = table.remove(earlier)
  return last or "", earlier
end

local function quoted(text)
  return '"' .. (#text > 80 and text:sub(1, 77) .. "..." or text) .. '"'
end

local function example_for(question, earlier)
  local dimensions = tonumber(question:match("(%d+)%s*[dD]%f[%W]")) or 2
  dimensions = math.max(1, math.min(dimensions, 9))
  local subject = subject_of(question)
  if subject then
    return "Sure: " .. subject.example(dimensions) .. "."
  end
  for i = #earlier, 1, -1 do
    subject = subject_of(earlier[i])
    if subject then
      return "You asked me " .. quoted(earlier[i]) .. " before; " .. subject.example(dimensions)
        .. "."
    end
  end
  if #earlier > 0 then
    return "You asked me " .. quoted(earlier[#earlier]) .. " before, and I know no example of that."
  end
  return "An example of what? No earlier turn reached me, only this question."
end

local function count(messages)
  return #messages == 1 and "1 message" or #messages .. " messages"
end

-- What a conversation is to be replaced by, when that is what it is asked for.
local function sum_up(messages)
  local first = pretend_model.text_of(messages[1])
  if #messages == 2 and first:find("^You condense the older part of a conversation") then
    return logbook.summary(pretend_model.text_of(messages[2]))
  end
  return nil
end

--- The answer to a list of messages.
---@param messages table[]
---@return string
function pretend_model.answer(messages)
  local question, earlier = questions_in(messages)
  local last = messages[#messages]
  local text = sum_up(messages) or logbook.answer(messages, pretend_model.text_of)
  if text then
    return text
  end
  if last and last.role == "tool" then
    text = "The tool says: " .. pretend_model.text_of(last)
  elseif question:lower():find("example", 1, true) then
    text = example_for(question, earlier)
  elseif subject_of(question) then
    text = subject_of(question).explanation
  elseif #earlier > 0 then
    text = "You said " .. quoted(question) .. ", and before that " .. quoted(earlier[#earlier])
      .. ". I only know what a vector, a matrix and a coroutine are."
  else
    text = "You said " .. quoted(question)
      .. ". I only know what a vector, a matrix and a coroutine are."
  end
  return text .. " (" .. count(messages) .. " reached me.)"
end

--- The tools it calls next, or what those it has called have said; nil when
--- the last question has nothing to do with the tools it was sent.
---@param messages table[]
---@param request table
---@return table[]? calls
---@return string? answer
---@return { delay: number, pause: number }? pace nil: the usual one
function pretend_model.call(messages, request)
  local said = villagers.answer(messages, pretend_model.text_of)
  if said then
    return said.calls, said.answer, said
  end
  return caller.next(messages, request, pretend_model.text_of)
end

-- The text of a `file` part: a text file, or a PDF that pdf.lua has written.
local function text_of_file(part)
  local data = type(part.file) == "table" and part.file.file_data
  local kind, encoded = tostring(data):match("^data:([^;,]*);base64,(.*)$")
  local bytes = encoded and mime.unb64(encoded) or ""
  if bytes:find("^%%PDF") then
    return pdf.text(bytes)
  end
  return kind and kind:find("^text/") and bytes or ""
end

--- The answer to a list of messages when it has to fit a JSON Schema: what the
--- last question and the files in it have to say. Pictures say nothing to it.
---@param messages table[]
---@param schema table
---@return string json
function pretend_model.fill(messages, schema)
  local texts = {}
  for _, message in ipairs(messages) do
    if message.role == "user" then
      texts = {}
      local parts = message.content
      if type(parts) ~= "table" then
        parts = { { type = "text", text = tostring(parts) } }
      end
      for _, part in ipairs(parts) do
        if part.type == "text" then
          texts[#texts + 1] = part.text
        elseif part.type == "file" then
          texts[#texts + 1] = text_of_file(part)
        end
      end
    end
  end
  local text = table.concat(texts, "\n")
  return villagers.facts(text, schema) or reader.fill(text, schema)
end

-- Dollars per token, as a small hosted model might ask.
local PROMPT_PRICE, CACHED_PRICE, COMPLETION_PRICE = 0.25e-6, 0.025e-6, 2e-6

local function tokens_in(text)
  return math.ceil(#text / 4)
end

-- What a provider's prompt cache knows: the last prompts, each a list of texts.
local MAX_PROMPTS = 16
local prompts = {}

-- How many messages a prompt has in common with one of the last ones of its
-- trace, from the beginning on.
local function known_messages(texts, trace)
  local most = 0
  for _, prompt in ipairs(prompts) do
    local same = 0
    while prompt.trace == trace and texts[same + 1] and texts[same + 1] == prompt.texts[same + 1] do
      same = same + 1
    end
    most = math.max(most, same)
  end
  table.insert(prompts, 1, { trace = trace, texts = texts })
  prompts[MAX_PROMPTS + 1] = nil
  return most
end

--- The usage of one call, counted from the text that was sent.
---@param messages table[]
---@param answer string
---@param trace? string the beginning that it shares with an earlier prompt of the
---same trace counts as cached
---@return table usage as in the API
function pretend_model.usage(messages, answer, trace)
  local prompt, cached, texts = 3, 0, {}
  for i, message in ipairs(messages) do
    texts[i] = message.role .. ": " .. pretend_model.text_of(message)
  end
  local known = trace and known_messages(texts, trace) or 0
  for i, message in ipairs(messages) do
    prompt = prompt + 4 + tokens_in(pretend_model.text_of(message))
    cached = i == known and prompt or cached
  end
  local completion = tokens_in(answer)
  return {
    prompt_tokens = prompt,
    completion_tokens = completion,
    total_tokens = prompt + completion,
    prompt_tokens_details = { cached_tokens = cached },
    completion_tokens_details = { reasoning_tokens = 0 },
    cost = (prompt - cached) * PROMPT_PRICE + cached * CACHED_PRICE
      + completion * COMPLETION_PRICE,
  }
end

return pretend_model
