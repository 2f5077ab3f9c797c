---What the command writes: the answer to stdout, all else to stderr.
---
---A write that fails is remembered and not raised: it happens in the middle of
---handlers. Whoever waits looks at `failed()`.
local core = require "opperchat.core"
local safe_text = require "opperchat.command.safe_text"
local terminal = require "opperchat.command.terminal"

local output = {}

-- The numbers of all systems that there is a libcurl for.
local EINTR, EPIPE = 4, 32

local failure

---Whether stdout is a terminal.
---@return boolean
function output.is_terminal()
  return terminal.is_terminal(terminal.STDOUT)
end

---Whether the person who reads stderr sees the answer there too.
---@return boolean
function output.shares_terminal()
  return terminal.is_terminal(terminal.STDOUT) and terminal.is_terminal(terminal.STDERR)
end

local function keep(worked, problem, number)
  if not worked and not failure then
    failure = { problem = tostring(problem), is_closed = number == EPIPE,
      is_interrupted = number == EINTR }
  end
end

---Writes to stdout, at once.
---@param text string
function output.write(text)
  if not failure and text ~= "" then
    keep(io.stdout:write(text))
    keep(io.stdout:flush())
  end
end

---Why stdout takes no more.
---@return {problem: string, is_closed: boolean, is_interrupted: boolean}? failure
function output.failed()
  return failure
end

---Writes a line that may have foreign text in it, to stderr.
---@param text string
---@param style? "dim"|"warning"|"failure"
function output.note(text, style)
  text = safe_text.line(text)
  io.stderr:write(style and terminal.styled(terminal.STDERR, style, text) or text, "\n")
end

-- An error for somebody at a shell, who has other means than a program in Lua.
local function words_of(problem)
  local code = type(problem) == "table" and problem.code
  if code == "missing_api_key" and tostring(problem.message):find("^no API key") then
    return "no API key: set OPPER_API_KEY, or name a file that has it with --key-file"
  elseif code == "locked" then
    return "this chat is open in another program"
  end
  return tostring(problem)
end

---Says what went wrong: one line, `opperchat: ...`.
---@param problem any
function output.complain(problem)
  output.note("opperchat: " .. words_of(problem))
end

---A writer of one answer. It ends with one newline, whatever the model makes of
---its end, and cannot drive the terminal.
---@return {write: fun(text: string), finish: fun(), has_begun: fun(): boolean}
function output.answer()
  local filter = output.is_terminal() and safe_text.filter() or nil
  local held, has_begun = "", false
  local function write(text)
    -- newlines wait for what follows them
    text = held .. text
    if not has_begun then
      text = text:gsub("^[\r\n]+", "")
    end
    local body, rest = text:match("^(.-)([\r\n]*)$")
    held = rest
    has_begun = has_begun or body ~= ""
    output.write(body)
  end
  return {
    write = function(text)
      write(filter and filter(text) or text)
    end,
    finish = function()
      if filter then
        write(filter())
      end
      if has_begun then
        output.write("\n")
      end
      held = ""
    end,
    has_begun = function()
      return has_begun
    end,
  }
end

---Seconds of a clock.
output.now = core.now

return output
