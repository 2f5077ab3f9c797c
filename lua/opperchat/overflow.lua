---Recognises "this conversation is too long for the model" in an error.
---
---There is one code for it, `context_length_exceeded`, and many servers that do
---not use it, so the text counts as well. What only sounds alike is left out:
---limits per minute, bodies that are too large for the server, and answers
---that are longer than the model can give, for a shorter conversation helps
---with none of them.
local overflow = {}

-- Longest piece of a message that is read.
local MAX_TEXT = 4096

-- Beyond this a double holds no exact integer, and no window is that large.
local MAX_NUMBER = 2 ^ 53

-- Codes, without what stands between their words.
local CODES = {
  contextlengthexceeded = true, contextwindowexceeded = true,
  contextwindowexceedederror = true, contextlengthexceedederror = true,
  modelcontextwindowexceeded = true, contextlimitexceeded = true,
  exceedcontextsize = true, exceedcontextsizeerror = true, contextoverflow = true,
  prompttoolong = true, inputtoolong = true,
}

-- Said of how much may be sent in a time, or of how much was paid for.
local RATE_WORDS = {
  "tokens per min", "tokens per day", "%(tpm%)", "%(tpd%)", "rate[ _-]limit", "too many requests",
  "throttl", "quota", "per minute", "per day", "per hour",
}

local PHRASES = {
  "context_length_exceeded", "context_window_exceeded", "exceed_context_size", "prompt_too_long",
  "contextwindowexceeded", "contextlengthexceeded",
  "prompt is too long", "prompt too long", "input is too long", "prompt exceeds max length",
  "prompt [%a%d() ]-is too long",
  "max%a* context length", "maximum model length", "maximum prompt length is %d",
  "maximum allowed input length",
  -- "exceeds the available context size", "exceed context limit"
  "exceed%a*[%a' ]- context [lws]%a+",
  -- "context window exceeds limit", "context size has been exceeded"
  "context [lws]%a+ [%a ]-exceed",
  "greater than the [%a' ]-context length", "longer than the [%a' ]-context length",
  "context length is only %d", "configured context size is %d",
  "input token count.-exceeds the maximum", "input token count is %d+ but model only supports",
  "exceeded model token limit", "token count of %d+ exceeds the limit of %d",
  "input tokens exceed the configured limit", "exceed max message tokens",
  "tokens in request more than max tokens allowed", "too many input tokens",
  "tokens in the prompt cannot exceed", "range of input length should be %[",
  "inputs` tokens %+ `max_new_tokens` must be", "inputs` must have less than %d+ tokens",
  "reduce the length of the messages", "reduce the length of the input",
  "reduce the length of the prompt", "reduce your prompt",
}

-- How many tokens the model takes.
local WINDOW = {
  "max%a* context length is (%d+)", "context length is only (%d+)", "max%a* prompt length is (%d+)",
  "(%d+) maximum context length", "max%a* context length of (%d+)",
  "max%a* context length[%s:(]+(%d+)", "maximum model length of (%d+)",
  "tokens > (%d+)", "%d %+ %d+ > (%d+)",
  "maximum number of tokens allowed[%s(]+(%d+)", "exceeds the maximum of (%d+)",
  "only supports up to (%d+)",
  "context [lws]%a+[%s:(]+(%d+)", "context [lws]%a+ of (%d+)", "context [lws]%a+ is (%d+)",
  "configured limit of (%d+)", "exceeds the limit of (%d+)", "model token limit: (%d+)",
  "maximum allowed input length of (%d+)", "input length should be %[%d+, *(%d+)",
  "max_new_tokens` must be <= (%d+)", "must have less than (%d+) tokens",
  "limit is (%d+)", "tokens in the prompt cannot exceed (%d+)", "n_ctx\"?: *(%d+)",
}

-- How many tokens the request had. Where there are two numbers it is their sum:
-- the conversation and the answer that was asked for.
local TOKENS = {
  "(%d+) %+ (%d+) > %d", "(%d+) > %d+ %- (%d+)",
  "(%d+) `inputs` tokens and (%d+) `max_new_tokens`",
  "total of at least (%d+)", "a total of (%d+)",
  "requested a?b?o?u?t? ?(%d+) tokens", "resulted in (%d+) tokens",
  "request contains a?b?o?u?t? ?(%d+)", "has (%d+) input tokens",
  "prompt is too long: (%d+)", "token count[%s(]+(%d+)", "token count is (%d+)",
  "token count of (%d+)", "requested tokens %((%d+)", "request %((%d+) tokens",
  "input %((%d+) tokens",
  "prompt contains (%d+)", "prompt has (%d+)", "requested: (%d+)",
  "input length[%s(]+(%d+)", "prompt %(length (%d+)", "total length (%d+)",
  "current length is (%d+)", "received (%d+)", "n_prompt_tokens\"?: *(%d+)", "n_keep: (%d+)",
  "given: (%d+)",
}

-- The tokens of the answer that was asked for.
local ANSWER = {
  "(%d+) in the completion", "(%d+) for the completion", "(%d+) tokens for the completion",
  "(%d+) in the output", "requested (%d+) output tokens", "is too large: (%d+)",
  "%d %+ (%d+) > %d", "tokens and (%d+) `max_new_tokens`",
}

local function number(digits)
  local value = tonumber(digits)
  return value and value > 0 and value < MAX_NUMBER and value or nil
end

-- The number that the first pattern to match finds.
local function find_number(text, patterns)
  for _, pattern in ipairs(patterns) do
    local first, second = text:match(pattern)
    if first then
      first = number(first)
      return first and second and first + (number(second) or 0) or first
    end
  end
end

local function matches(text, patterns)
  for _, pattern in ipairs(patterns) do
    if text:find(pattern) then
      return true
    end
  end
  return false
end

-- On one line, in small letters, and with 200,000 written as 200000.
local function plain(text)
  text = text:sub(1, MAX_TEXT):lower():gsub("%s+", " ") .. " "
  local count
  repeat
    text, count = text:gsub("(%d),(%d%d%d[^%d])", "%1%2")
  until count == 0
  return text
end

local function is_code(code)
  return type(code) == "string" and CODES[(code:lower():gsub("[^%a]", ""))] or false
end

---What an error says of a conversation that is too long.
---@class opperchat.Overflow
---@field window? integer tokens that the model takes
---@field tokens? integer tokens of the request, with the answer where the text counts it

---Reads an error.
---@param err any
---@return opperchat.Overflow? overflow nil when the error is about something else
function overflow.read(err)
  if type(err) ~= "table" or err.kind ~= nil and err.kind ~= "api" and err.kind ~= "http" then
    return nil
  end
  local text = plain(type(err.message) == "string" and err.message or "")
  if not is_code(err.code) then
    local code = type(err.code) == "string" and err.code:lower() or ""
    if err.status == 429 or matches(code, RATE_WORDS) or matches(text, RATE_WORDS)
        or not matches(text, PHRASES) then
      return nil
    end
  end
  local window, answer = find_number(text, WINDOW), find_number(text, ANSWER)
  if window and answer and answer >= window then
    return nil      -- no conversation is short enough for this answer
  end
  return { window = window, tokens = find_number(text, TOKENS) }
end

return overflow
