---The options of policies.
local errors = require "opperchat.errors"
local json = require "opperchat.json"
local options = require "opperchat.options"

local check = {}

---Checks the options of a policy, fills in defaults; raises at the caller's line.
---@param name string the policy's
---@param given? table
---@param known table<string, table> by name: `{ kind, default =, needed = }`
---@return table checked a new one
function check.options(name, given, known)
  local kinds, result = {}, {}
  for option, of in pairs(known) do
    kinds[option] = of[1]
    result[option] = of.default
  end
  local valid, problem = options.check({
    place = "policy." .. name .. "{...}", body = false, known = kinds,
  }, given)
  if not valid then
    errors.misuse("policy.%s: %s", name, problem)
  end
  for option, value in pairs(given or {}) do
    result[option] = type(value) == "table" and options.copy(value) or value
  end
  for option, of in pairs(known) do
    if of.needed and result[option] == nil or json.is_null(result[option]) then
      errors.misuse("policy.%s: option '%s': %s expected, got nil", name, option, of[1])
    end
  end
  return result
end

return check
