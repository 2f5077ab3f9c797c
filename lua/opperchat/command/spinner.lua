---A sign of life on stderr until the first word is there.
local output = require "opperchat.command.output"
local safe_text = require "opperchat.command.safe_text"
local terminal = require "opperchat.command.terminal"

local spinner = {}

-- A short wait needs no sign.
local DELAY = 0.2

local DOTS = { "⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏" }
local PLAIN = { "|", "/", "-", "\\" }

---@class opperchat.command.Spinner
---@field label string what is waited for
---@field turn fun() to be called a few times a second
---@field stop fun() takes it off the screen, for good

---@param label? string
---@return opperchat.command.Spinner
function spinner.new(label)
  local frames = terminal.is_utf8() and DOTS or PLAIN
  local can_show = output.shares_terminal() and terminal.can_move(terminal.STDERR)
  local begun, is_shown, has_stopped = output.now(), false, not can_show
  local self = { label = label or "waiting" }

  function self.turn()
    local elapsed = output.now() - begun
    if has_stopped or elapsed < DELAY then
      return
    end
    local frame = frames[math.floor(elapsed * 10) % #frames + 1]
    -- a line that goes on in the next one cannot be written over; the last cell stays free
    local shown = safe_text.cut(safe_text.line(self.label), terminal.width(terminal.STDERR) - 3)
    io.stderr:write("\r", terminal.styled(terminal.STDERR, "dim", frame .. " " .. shown), "\27[K")
    io.stderr:flush()
    is_shown = true
  end

  function self.stop()
    if is_shown then
      io.stderr:write("\r\27[K")
      io.stderr:flush()
    end
    is_shown, has_stopped = false, true
  end

  return self
end

return spinner
