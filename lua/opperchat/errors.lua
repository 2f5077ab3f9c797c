---Errors: what is raised and what is returned.
---
---Misuse (a wrong type, an unknown option, a closed object) is raised, with the
---position of the line that called us. What can go wrong at run time is
---returned as `nil, err`.
local core = require "opperchat.core"

local errors = {}

-- Misuse is reported at the first function that is not one of ours; these are
-- the ones from the folder of this file.
local source = debug and debug.getinfo(1, "S").source
core.set_source(source and source:match("^(.*)errors%.lua$") or "")

---@class opperchat.Error
local Error = {}
Error.__index = Error
Error.__name = "opperchat.Error"

-- Servers put whole pages into their messages; an error is one line.
local function one_line(text)
  return (tostring(text):gsub("%s+", " "))
end

function Error:__tostring()
  local place = self.code or self.kind
  if self.status then
    place = place .. ", HTTP " .. self.status
  end
  return ("%s error (%s): %s"):format(self.kind, one_line(place), one_line(self.message))
end

-- So that `"failed: " .. err` works.
function Error.__concat(a, b)
  return tostring(a) .. tostring(b)
end

---Makes an error of a table with its fields, in place.
---@param fields table
---@return opperchat.Error
function errors.wrap(fields)
  return setmetatable(fields, Error)
end

---A new error.
---@param kind string
---@param code string
---@param message string
---@return opperchat.Error
function errors.new(kind, code, message)
  return errors.wrap { kind = kind, code = code, message = message, retryable = false }
end

---Whether a value is one of our errors.
---@param value any
---@return boolean
function errors.is(value)
  return type(value) == "table" and getmetatable(value) == Error
end

---Raises a misuse at the line of the program that called opperchat.
---@param message string may be a format, with its arguments behind it
function errors.misuse(message, ...)
  if select("#", ...) > 0 then
    message = message:format(...)
  end
  core.misuse(message)
end

return errors
