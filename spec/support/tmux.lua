--- A real terminal for the specs: tmux, on a socket of its own.
--
--   local terminal = tmux.start("lua5.4 bin/opperchat", { TERM = "screen" })
--   terminal:wait_for("\n>")     blanks at the ends of lines are not seen
--   terminal:type("hello")          and Enter
--   terminal:keys("C-c")
--   terminal:stop()
--
-- Nothing here waits for a time: `wait_for` waits for what is on the screen.

local socket = require "socket"
local shell = require "spec.support.shell"

local tmux = {}
tmux.__index = tmux

-- Seconds to wait for something to appear; checkers of memory are slow.
local LIMIT = (os.getenv("OPPERCHAT_SLOW") or os.getenv("ASAN_OPTIONS")) and 120 or 20

---@return boolean
function tmux.is_there()
  return shell.has("tmux")
end

--- Starts a command in a terminal. When it ends, the screen says "[ended N]".
---@param command string
---@param environment table<string, string|false> false: not set
---@param columns integer?
function tmux.start(command, environment, columns)
  local self = setmetatable({ folder = shell.new_folder() }, tmux)
  self.tmux = "unset LD_PRELOAD TMUX; TMUX_TMPDIR=" .. shell.quote(self.folder)
    .. " LC_ALL=C.UTF-8 tmux -L spec -f /dev/null "
  local preload = os.getenv("LD_PRELOAD")
  local lines = { preload and "export LD_PRELOAD=" .. shell.quote(preload) or "" }
  for name, value in pairs(environment) do
    lines[#lines + 1] = value and "export " .. name .. "=" .. shell.quote(value)
      or "unset " .. name
  end
  -- Ctrl-C is for the command and not for the shell that says how it ended
  lines[#lines + 1] = "trap : INT"
  lines[#lines + 1] = command
  lines[#lines + 1] = "echo \"[ended $?]\"\nexec cat >/dev/null\n"
  -- a file: the command line of tmux is short
  local script = shell.write_file(self.folder .. "/script", table.concat(lines, "\n"))
  assert(shell.succeeds(self.tmux .. "new-session -d -x " .. (columns or 80) .. " -y 30 'sh "
    .. script .. "'"), "tmux does not start")
  return self
end

--- What is on the screen, without blanks at the ends of lines.
---@return string
function tmux:screen()
  return (shell.output_of(self.tmux .. "capture-pane -p"):gsub("[ \t]+\n", "\n"):gsub("\n+$", "\n"))
end

--- Waits until the screen has a text; with `count`, that often.
---@param text string
---@param count integer?
---@return string screen
function tmux:wait_for(text, count)
  local deadline = socket.gettime() + LIMIT
  repeat
    local screen = self:screen()
    local found, at = 0, 1
    while true do
      local _, last = screen:find(text, at, true)
      if not last then
        break
      end
      found, at = found + 1, last + 1
    end
    if found >= (count or 1) then
      return screen
    end
    socket.sleep(0.02)
  until socket.gettime() > deadline
  error("waited too long for '" .. text .. "' on this screen:\n" .. self:screen(), 2)
end

--- Presses keys, as tmux calls them.
function tmux:keys(...)
  local words = {}
  for i, key in ipairs { ... } do
    words[i] = shell.quote(key)
  end
  assert(shell.succeeds(self.tmux .. "send-keys " .. table.concat(words, " ")))
end

--- Types a line.
---@param line string
function tmux:type(line)
  assert(shell.succeeds(self.tmux .. "send-keys -l -- " .. shell.quote(line)))
  self:keys("Enter")
end

--- Ends the terminal and what runs in it; safe to call twice.
function tmux:stop()
  if self.folder then
    shell.succeeds(self.tmux .. "kill-server")
    shell.remove_folder(self.folder)
    self.folder = nil
  end
end

return tmux
