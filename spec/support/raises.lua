--- Misuse is raised with exactly this message, at the line of the call.
--
--   raises("append: role expected", function() chat:append() end)
--
-- The function is written on one line.

local assert = require "luassert"

---@param expected string
---@param fn fun()
return function(expected, fn)
  local info = debug.getinfo(fn, "S")
  local place = info.short_src .. ":" .. info.linedefined .. ": "
  local ok, err = pcall(fn)
  assert.is_false(ok, place .. "nothing was raised instead of: " .. expected)
  assert.equal(place .. expected, tostring(err))
end
