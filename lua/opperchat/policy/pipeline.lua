---pipeline: policies one after another.
local errors = require "opperchat.errors"
local custom = require "opperchat.policy.custom"
local policies = require "opperchat.policies"

---A policy: edits a draft of the list before a request.
---@class opperchat.Policy
---@field name string what it is called in reports
---@field apply fun(self: opperchat.Policy, draft: opperchat.Draft): boolean?, opperchat.Error?
---nil and an error: it could not, and left the draft as it was
---@field asks? boolean whether it asks a model
---@field wants_window? boolean whether it goes by the model's context window
---@field steps? opperchat.Policy[] what it consists of, in the place of `apply`

local Pipeline = { name = "pipeline" }
Pipeline.__index = Pipeline

-- The functions that make policies, by which a forgotten call is known.
local constructors = {}
for name, new in pairs(policies) do
  constructors[new] = name
end

---Makes a policy of what a program may give: a policy, a function, a list of both.
---@param given any
---@param place string what to call it in messages
---@return opperchat.Policy
local function compile(given, place)
  if constructors[given] then
    errors.misuse("%s: policy expected, got the function that makes one: write policy.%s{...}",
      place, constructors[given])
  elseif type(given) == "function" then
    return custom(given)
  elseif type(given) ~= "table" then
    errors.misuse("%s: policy, function or list of them expected, got %s", place, type(given))
  elseif type(given.apply) == "function" then
    if type(given.name) ~= "string" then
      errors.misuse("%s: a policy needs a name", place)
    end
    return given
  elseif getmetatable(given) == Pipeline then
    return given
  end
  local steps, count = {}, 0
  for i, step in ipairs(given) do
    steps[i] = compile(step, place .. "[" .. i .. "]")
  end
  for _ in pairs(given) do
    count = count + 1
  end
  if #steps == 0 or count ~= #steps then
    errors.misuse("%s: policy, function or list of them expected, got %s", place,
      #steps == 0 and count == 0 and "an empty table" or "another table")
  end
  return setmetatable({ steps = steps }, Pipeline)
end

---Applies policies in their order, each to what the one before has left. One that
---fails changes nothing, and the next one goes on.
---@param given (opperchat.Policy|function)[]
---@return opperchat.Policy
local function pipeline(given)
  if type(given) ~= "table" or type(given.apply) == "function" then
    errors.misuse("policy.pipeline: list of policies expected, got " .. type(given))
  end
  return compile(given, "policy.pipeline")
end

return { new = pipeline, compile = compile }
