---Reading: what is piped in, and the lines of a chat.
local core = require "opperchat.core"
local output = require "opperchat.command.output"
local terminal = require "opperchat.command.terminal"
local waiting = require "opperchat.command.waiting"

local reading = {}

---All of stdin; "" when it is a terminal, closed or empty.
---@return string
function reading.all()
  if terminal.is_terminal(terminal.STDIN) then
    return ""
  end
  local text = io.stdin:read("*a")
  if core.interrupts_take() then
    error(waiting.INTERRUPTED, 0)
  end
  return text or ""
end

-- A prompt is for people: not when the lines come through a pipe.
local function show(prompt)
  if terminal.is_terminal(terminal.STDIN) then
    output.write(terminal.styled(terminal.STDOUT, "prompt", prompt))
  end
end

---One line. At a Ctrl-C the terminal forgets what was typed of it.
---@param prompt string
---@return string? line
---@return "interrupted"|"end"|nil why there is none
function reading.line(prompt)
  show(prompt)
  local line = io.stdin:read("*l")
  if core.interrupts_take() then
    -- read() returns early then, which Lua takes for a failure
    return nil, "interrupted"
  elseif not line then
    return nil, "end"
  end
  return (line:gsub("\r$", ""))
end

-- What follows `"""`, up to the next one.
local function read_block(first)
  local lines, line = {}, first
  while true do
    local body = line:match('^(.*)"""%s*$')
    lines[#lines + 1] = body or line
    if body then
      return (table.concat(lines, "\n"):gsub("^\n", ""):gsub("\n$", ""))
    end
    local next_line, why = reading.line(". ")
    if not next_line then
      return why == "end" and table.concat(lines, "\n") or nil, why
    end
    line = next_line
  end
end

---One question, of several lines if they say so: `"""` around them, or `\` at the
---end of each but the last.
---@param prompt string
---@return string? text
---@return "interrupted"|"end"|nil why there is none
function reading.question(prompt)
  local line, why = reading.line(prompt)
  if not line then
    return nil, why
  elseif line:find('^%s*"""') then
    return read_block((line:gsub('^%s*"""', "")))
  end
  local lines = {}
  while line and line:find("\\$") do
    lines[#lines + 1] = line:sub(1, -2)
    line, why = reading.line(". ")
    if why == "interrupted" then
      return nil, why
    end
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n")
end

return reading
