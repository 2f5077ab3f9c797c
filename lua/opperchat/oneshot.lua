---One question, one value: extraction and classification without a conversation
---to keep.
local content = require "opperchat.content"
local conversation = require "opperchat.conversation"
local core = require "opperchat.core"
local errors = require "opperchat.errors"
local options = require "opperchat.options"

---@class opperchat.Client
local methods = core.methods("client")

-- Options of the conversation that is made for the call; all others are of its
-- request.
local OF_CONVERSATION = { name = true, tags = true, guard = true, trace_id = true }

-- What is sent, from the options of the call.
local function split(given)
  local own, send = {}, {}
  for name, value in pairs(given) do
    if OF_CONVERSATION[name] then
      own[name] = value
    elseif name ~= "instructions" and name ~= "input" then
      send[name] = value
    end
  end
  own.system = given.instructions
  return own, send
end

---Asks for one value that fits a schema.
---
---Options are those of `send` and `name`, `tags`, `guard` and `trace_id` of a
---conversation; and `instructions`, what to do; `input`, what to do it with: a
---text, parts such as an image, or any other table, which is sent as JSON.
---@param given opperchat.JsonOptions
---@return any value as the schema says
---@return opperchat.Reply|opperchat.Error reply of a value; of nil the error
function methods:json(given)
  core.open(self, "client")
  local valid, problem = options.check(options.json, given)
  if valid and (given == nil or given.schema == nil) then
    problem = "option 'schema': table expected, got nil"
  elseif valid and given.input == nil then
    problem = "option 'input': string or table expected, got nil"
  end
  if problem then
    errors.misuse("json: " .. problem)
  end
  local input
  input, problem = content.of_value(given.input)
  if not input then
    errors.misuse("json: option 'input': " .. problem)
  end
  local own, send = split(given)
  own.client = self
  local chat = conversation.new(own)
  local reply, err = chat:send(input, send)
  chat:close()
  if not reply then
    return nil, err
  elseif reply.tool_calls then
    err = errors.new("schema", "tool_calls", "the model calls tools instead of answering")
    err.partial = reply
    return nil, err
  end
  return reply.parsed, reply
end

return methods
