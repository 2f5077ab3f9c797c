---Structured answers: from the text of a reply to the values it was asked for.
local errors = require "opperchat.errors"
local json = require "opperchat.json"
local lazy = require "opperchat.lazy"

local schema = lazy.module "opperchat.schema"

local answer = {}

-- Models without structured output wrap their JSON in a Markdown block.
-- Looked for from both ends: a pattern over the whole would take for ever on an
-- answer that has run off into blanks.
local function strip_fence(text)
  local first = text:match("^%s*```%w*()")
  local last = #text
  while first and last > first and text:find("^%s", last) do
    last = last - 1
  end
  if first and last - 2 >= first and text:sub(last - 2, last) == "```" then
    return text:sub(first, last - 3)
  end
end

local function decode(text)
  local value, problem = json.decode(text)
  if value == nil and problem then
    local inner = strip_fence(text)
    if inner then
      value, problem = json.decode(inner)
    end
  end
  return value, problem
end

local function refuse(reply, code, message)
  local err = errors.new("schema", code, message)
  err.partial = reply
  err.trace_id, err.attempts = reply.trace_id, reply.attempts
  return err
end

---Looks at a complete reply and fills in `parsed`.
---@param reply opperchat.Reply
---@param wanted table JSON Schema
---@return opperchat.Error? err of kind `schema`; nil: the reply is what was asked for
function answer.check(reply, wanted)
  if reply.tool_calls then
    -- not the answer yet
    return nil
  elseif reply.refusal then
    return refuse(reply, "refusal", "the model refuses: " .. reply.refusal)
  elseif reply.finish_reason == "length" then
    return refuse(reply, "length", "the answer was cut off at the token limit")
  elseif reply.finish_reason == "content_filter" then
    return refuse(reply, "content_filter", "a guard has blocked or changed the answer")
  end
  local value, problem = decode(reply.content or "")
  if value == nil and problem then
    return refuse(reply, "no_json", "the answer is no JSON: " .. problem)
  end
  local valid, mismatch = schema.check(value, wanted)
  if not valid then
    return refuse(reply, "mismatch", "the answer does not fit the schema: " .. mismatch)
  end
  reply.parsed = value
  return nil
end

---What a model is told to make it better.
---@param err opperchat.Error
---@return string? prompt nil: telling it would not help
function answer.correction(err)
  if err.kind == "schema" and (err.code == "no_json" or err.code == "mismatch") then
    return err.message .. "\nAnswer again, with nothing but JSON that fits the schema."
  end
end

return answer
