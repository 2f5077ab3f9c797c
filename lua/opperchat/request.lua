---One request in flight.
local core = require "opperchat.core"
local errors = require "opperchat.errors"
local json = require "opperchat.json"

local request = {}

-- The arguments of a tool call as a Lua value, nil when they are no JSON.
-- Models write nothing at all for a tool without parameters.
local function decode_arguments(text)
  if not text:find("%S") then
    return {}
  end
  return (json.decode(text))
end

-- Completes a reply that the core has made.
local function complete(reply, self)
  for _, call in ipairs(reply.tool_calls or {}) do
    call.arguments = decode_arguments(call.arguments_json)
  end
  reply.raw = function()
    return json.decode(core.request_raw(self))
  end
  return reply
end

-- Adds to the totals of the conversation, which may have been closed.
local function add_usage(conversation, usage)
  local totals = core.state(conversation).usage
  totals.requests = totals.requests + 1
  for name, number in pairs(usage or {}) do
    totals[name] = (totals[name] or 0) + number
  end
end

---Runs once, when the request has been settled.
---@param self opperchat.Request
function request.finish(self)
  local state = core.state(self)
  local result = state.result
  if state.failed then
    errors.wrap(result)
    if result.partial then
      complete(result.partial, self)
    end
  else
    complete(result, self)
  end
  local told = state.failed and result.partial or result
  if told and (told.usage or not state.failed) then
    add_usage(state.conversation, told.usage)
  end
end

---@class opperchat.Request
local methods = core.methods("request")

---Waits for the end of the request.
---@param seconds? number at most; nil: as long as it takes
---@return opperchat.Reply? reply
---@return opperchat.Error|nil err nil with a nil reply: the time was up
function methods:wait(seconds)
  local state = core.open(self, "request")
  local deadline = seconds and core.now() + seconds
  while not core.settle(self) do
    local left = deadline and deadline - core.now()
    if left and left <= 0 then
      return nil
    end
    core.step(state.client, left)
    core.drain(state.client)
  end
  -- another one's drain has told it, or nobody yet
  core.drain(state.client)
  if state.failed then
    return nil, state.result
  end
  return state.result
end

return request
