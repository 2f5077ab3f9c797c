--- Polls until something has happened, and fails when it does not.
--
--   local poll_until = require "spec.support.poll_until"
--   poll_until(function() return client:active() == 0 end)

local core = require "opperchat.core"
local opperchat = require "opperchat"

-- Seconds; checkers of memory are slow.
local LIMIT = 30

---@param condition fun(): any
---@param what? string that is waited for
---@param poll? fun() instead of a short `opperchat.poll`, which raises what handlers raise
return function(condition, what, poll)
  local deadline = core.now() + LIMIT
  while not condition() do
    assert(core.now() < deadline, "waited in vain: " .. (what or "it did not happen"))
    if poll then
      poll()
    else
      opperchat.poll(0.01)
    end
  end
end
