---Waiting for a server, with an eye on Ctrl-C.
local core = require "opperchat.core"
local driver = require "opperchat.driver"

local waiting = {}

-- Seconds between two looks; a Ctrl-C ends a wait at once.
local LOOK = 0.1

---Runs a function whose waits let go (it is a task of `opperchat.go`), and returns
---what it returns; nil and `waiting.INTERRUPTED` when somebody has pressed Ctrl-C before.
---@param fn fun(): any, any
---@param hooks {on_look?: fun(), on_interrupt?: fun()} `on_look` is called a few times a
---second; without `on_interrupt` nothing goes on after a Ctrl-C
---@return any ...
function waiting.run(fn, hooks)
  if core.interrupts_take() then
    -- nothing that costs is begun then
    if not hooks.on_interrupt then
      error(waiting.INTERRUPTED, 0)
    end
    return nil, waiting.INTERRUPTED
  end
  local task = driver.spawn(fn)
  while task.state == "running" do
    driver.poll(LOOK)
    if core.interrupts_take() then
      if not hooks.on_interrupt then
        error(waiting.INTERRUPTED, 0)
      end
      hooks.on_interrupt()
    end
    if hooks.on_look then
      hooks.on_look()
    end
  end
  return task:wait()
end

---What is raised when somebody has pressed Ctrl-C.
waiting.INTERRUPTED = setmetatable({}, { __tostring = function() return "interrupted" end })

return waiting
