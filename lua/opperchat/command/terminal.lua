---What is known of the terminal, and what may be written to it.
local core = require "opperchat.core"

local terminal = {}

---Descriptors.
terminal.STDIN, terminal.STDOUT, terminal.STDERR = 0, 1, 2

---@param descriptor integer
---@return boolean
function terminal.is_terminal(descriptor)
  return core.is_terminal(descriptor)
end

local function environment(name)
  local value = os.getenv(name)
  return value ~= "" and value or nil
end

-- One that can do no more than print.
local function is_dumb()
  return environment("TERM") == "dumb" or not environment("TERM")
end

---Whether lines may be written over.
---@param descriptor integer
---@return boolean
function terminal.can_move(descriptor)
  return core.is_terminal(descriptor) and not is_dumb()
end

---@param descriptor integer
---@return boolean
function terminal.has_colour(descriptor)
  return terminal.can_move(descriptor) and not environment("NO_COLOR")
end

---@return boolean
function terminal.is_utf8()
  local locale = environment("LC_ALL") or environment("LC_CTYPE") or environment("LANG") or ""
  return locale:lower():find("utf%-?8") ~= nil
end

---Columns of the terminal that a descriptor is.
---@param descriptor integer
---@return integer
function terminal.width(descriptor)
  return core.terminal_width(descriptor) or tonumber(environment("COLUMNS")) or 80
end

local STYLES = { bold = "1", dim = "2", prompt = "1;36", warning = "33", failure = "31" }

---A text in a style, where a descriptor has such.
---@param descriptor integer
---@param style "bold"|"dim"|"prompt"|"warning"|"failure"
---@param text string
---@return string
function terminal.styled(descriptor, style, text)
  if not terminal.has_colour(descriptor) then
    return text
  end
  return ("\27[%sm%s\27[0m"):format(STYLES[style], text)
end

return terminal
