---How texts are counted: `opperchat.tokens`. A program may put a tokenizer of
---its own into the place of `count`.
local lazy = require "opperchat.lazy"

local core = lazy.module "opperchat.core"
local errors = lazy.module "opperchat.errors"

local counter = {}

---The core's own count: estimated tokens of a text.
---@param text string UTF-8
---@return integer
function counter.own(text)
  if type(text) ~= "string" then
    errors.misuse("tokens.count: string expected, got " .. type(text))
  end
  return core.estimate(text)
end

---What a program sees, and may change before anything else is loaded.
---@type opperchat.Tokens
counter.public = { count = counter.own }

return counter
