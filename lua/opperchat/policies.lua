---The functions that make policies: `opperchat.policy`. Each is loaded when a
---program calls it.
local lazy = require "opperchat.lazy"

---@class opperchat.Policies
local policies = {
  pipeline = lazy.call("opperchat.policy.pipeline", "new"),
}

for _, name in ipairs { "keep", "fit", "shrink", "summarize", "remember" } do
  policies[name] = lazy.call("opperchat.policy." .. name)
end

return policies
