-- What the scripts that measure opperchat have in common.

local core = require "opperchat.core"
local material = require "material"
local opperchat = require "opperchat"

local ours = {}

ours.now = core.now

--- A client of the bench server, whatever the environment says of proxies.
---@param base_url string
---@param given? table more options
function ours.client(base_url, given)
  local options = { base_url = base_url, api_key = "test", proxy = "",
    max_response_bytes = 2 ^ 31 }
  for name, value in pairs(given or {}) do
    options[name] = value
  end
  return opperchat.client(options)
end

---@param work fun()
function ours.measure(work)
  material.measure(work, core.now)
end

--- Lets a client move until nothing is left to do.
function ours.finish(client)
  while client:poll(1) > 0 do
    -- everything happens in the handlers
  end
end

return ours
