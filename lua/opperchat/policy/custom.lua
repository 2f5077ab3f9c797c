---A policy that a program writes as a function of the messages.
local core = require "opperchat.core"
local errors = require "opperchat.errors"
local rebuild = require "opperchat.rebuild"

local Custom = { name = "function" }
Custom.__index = Custom

function Custom:apply(draft)
  local size, how = draft:tokens()
  local given = draft.list:messages()
  local held = {}
  for i, entry in ipairs(given) do
    held[i] = entry
  end
  local result, err = self.fn(given, {
    tokens = size, how = how, window = draft.window, model = draft.model,
    is_forced = draft.is_forced,
  })
  if result == nil then
    if err ~= nil and not errors.is(err) then
      err = errors.new("tool", "policy_failed", tostring(err))
    end
    return err == nil or nil, err
  elseif type(result) ~= "table" then
    errors.misuse("policy: list of messages expected, got " .. type(result))
  end
  local list = rebuild(draft.list, held, result, "policy")
  if list then
    core.assign(draft.list, list)
  end
  return true
end

---@param fn fun(messages: table[], info: table): table[]?, any
---@return opperchat.Policy
local function custom(fn)
  return setmetatable({ fn = fn }, Custom)
end

return custom
