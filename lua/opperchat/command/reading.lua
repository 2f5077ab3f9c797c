---Reading: what is piped in, and the lines of a chat.
local core = require "opperchat.core"
local output = require "opperchat.command.output"
local terminal = require "opperchat.command.terminal"
local waiting = require "opperchat.command.waiting"

local reading = {}

-- Bytes that are asked for at once.
local BLOCK = 2 ^ 16

---What is left of a file, or its beginning.
---@param file file*
---@param most integer bytes
---@return string
function reading.up_to(file, most)
  local blocks, left = {}, most
  while left > 0 do
    local block = file:read(math.min(left, BLOCK))
    -- read() returns early then, which Lua takes for the end
    if core.interrupts_take() then
      error(waiting.INTERRUPTED, 0)
    elseif not block then
      break
    end
    blocks[#blocks + 1] = block
    left = left - #block
  end
  return table.concat(blocks)
end

---What stdin has; "" when it is a terminal, closed or empty.
---@param most integer bytes
---@return string
function reading.stdin(most)
  if terminal.is_terminal(terminal.STDIN) then
    return ""
  end
  return reading.up_to(io.stdin, most)
end

-- A prompt is for people: not when the lines come through a pipe.
local function show(prompt)
  if terminal.is_terminal(terminal.STDIN) then
    output.write(terminal.styled(terminal.STDOUT, "prompt", prompt))
  end
end

-- Reads a line. Returns also whether something was typed of one that a Ctrl-C ended.
local function read_line()
  if not terminal.is_terminal(terminal.STDIN) then
    return io.stdin:read("*l"), false
  end
  local was_held = core.terminal_hold(true)
  local line = io.stdin:read("*l")
  local dropped = not line and core.terminal_drop() or 0
  core.terminal_hold(was_held)
  return line, dropped > 0
end

---One line. A Ctrl-C takes back what was typed of it.
---@param prompt string
---@return string? line
---@return "interrupted"|"cleared"|"end"|nil why there is none; "cleared": there was
---something to take back
function reading.line(prompt)
  show(prompt)
  local line, was_typed = read_line()
  if core.interrupts_take() then
    -- read() returns early then, which Lua takes for a failure
    return nil, was_typed and "cleared" or "interrupted"
  elseif not line then
    return nil, "end"
  end
  return (line:gsub("\r$", ""))
end

-- What follows `"""`, up to the next one. Returns as `reading.question` does.
local function read_block(first)
  local lines, line = {}, first
  while true do
    local body = line:match('^(.*)"""%s*$')
    lines[#lines + 1] = body or line
    if body then
      return (table.concat(lines, "\n"):gsub("^\n", ""):gsub("\n$", "")), "text"
    end
    local next_line, why = reading.line(". ")
    if not next_line then
      if why == "end" then
        return table.concat(lines, "\n"), "text"
      end
      return nil, "cleared"
    end
    line = next_line
  end
end

---One question, of several lines if they say so: `"""` around them, or `\` at the
---end of each but the last.
---@param prompt string
---@return string? text
---@return "line"|"text"|"interrupted"|"cleared"|"end" what a text is, or why there is none
function reading.question(prompt)
  local line, why = reading.line(prompt)
  if not line then
    return nil, why
  elseif line:find('^%s*"""') then
    return read_block((line:gsub('^%s*"""', "")))
  elseif not line:find("\\$") then
    return line, "line"
  end
  local lines = {}
  while line and line:find("\\$") do
    lines[#lines + 1] = line:sub(1, -2)
    line, why = reading.line(". ")
    if not line and why ~= "end" then
      return nil, "cleared"
    end
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n"), "text"
end

return reading
