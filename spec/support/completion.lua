--- Whole answers for the specs, as chat-completions servers send them. Streamed ones
--- are in sse.lua.

local cjson = require("cjson").new()

local completion = {}

--- The body of an answer.
---@param message string|table a text or a message
---@param more? table more fields of the body; `finish_reason` ("stop") goes to its place
---@return table
function completion.body(message, more)
  if type(message) == "string" then
    message = { role = "assistant", content = message }
  end
  local choice = { index = 0, message = message, finish_reason = "stop" }
  local body = { id = "chatcmpl-1", object = "chat.completion", created = 1, model = "m",
    choices = { choice } }
  for name, value in pairs(more or {}) do
    if name == "finish_reason" then
      choice.finish_reason = value
    else
      body[name] = value
    end
  end
  return body
end

--- The text of a body, whose bytes are the same each time.
---@param content string
---@param more? string JSON text of more fields, with a comma before it
---@return string
function completion.json(content, more)
  return '{"id":"c1","object":"chat.completion","model":"m","choices":[{"index":0,'
    .. '"finish_reason":"stop","message":{"role":"assistant","content":' .. cjson.encode(content)
    .. "}}]" .. (more or "") .. "}"
end

--- A response with all that Opper says of it, for `server:reply`.
---@param message table
---@param finish_reason string
---@return table
function completion.opper(message, finish_reason)
  return {
    body = completion.body(message, { model = "test/model", finish_reason = finish_reason,
      usage = {
        prompt_tokens = 9, completion_tokens = 5, total_tokens = 14, cost = 0.0001,
        prompt_tokens_details = { cached_tokens = 4 },
        completion_tokens_details = { reasoning_tokens = 2 },
      } }),
    headers = {
      ["X-Opper-Trace-Id"] = "trace", ["X-Opper-Served-Model"] = "model",
      ["X-Opper-Served-Provider"] = "provider",
    },
  }
end

--- An element of a message's `tool_calls`.
---@param id string
---@param name? string ("f")
---@param arguments? string JSON text ("{}")
---@return table
function completion.call(id, name, arguments)
  return { id = id, type = "function",
    ["function"] = { name = name or "f", arguments = arguments or "{}" } }
end

return completion
