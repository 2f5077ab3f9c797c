---Requests under a controller of cqueues:
---
---    local cq = require("cqueues").new()
---    require("opperchat.loop.cqueues").attach(cq)
---    chat:start("Hi", { on_delta = io.write })
---    assert(cq:loop())
---
---`cq:loop()` returns when all requests have ended and nothing else is to be done.
---
---Handlers must not yield. A coroutine that waits for an answer is started with
---`opperchat.go`; in one of the controller's own, `send` blocks.
local cqueues = require "cqueues"
local condition = require "cqueues.condition"
local adapter = require "opperchat.loop.adapter"
local errors = require "opperchat.errors"

local M = {}

-- By controller. Weak both ways, as the loop refers to its controller: only
-- what is attached keeps it.
local loops = setmetatable({}, { __mode = "kv" })

-- A coroutine of the controller that waits, as long as the watch is open.
local function watch_with(cq, descriptor, due)
  local changed = condition.new()
  local deadline, is_closed = nil, false
  local watch = { has_descriptor = descriptor ~= nil }

  -- cqueues asks it anew before each wait
  local pollable = {
    events = "r",
    timeout = function()
      return deadline and math.max(0, deadline - cqueues.monotime())
    end,
  }

  function watch.arm(seconds)
    pollable.pollfd = descriptor
    deadline = seconds and cqueues.monotime() + seconds
    changed:signal()
  end

  function watch.disarm()
    pollable.pollfd, deadline = nil, nil
    changed:signal()
  end

  function watch.close()
    if is_closed then
      return
    end
    is_closed = true
    watch.disarm()
    if descriptor and cqueues.type(cq) == "controller" then
      -- forget it now: it may be closed next, and its number used again
      cq:cancel(descriptor)
    end
  end

  cq:wrap(function()
    while not is_closed do
      local first, second = cqueues.poll(pollable, changed)
      if not is_closed and (first == pollable or second == pollable) then
        due()
      end
    end
  end)
  return watch
end

local function loop_of(cq)
  local loop = loops[cq]
  if not loop then
    loop = {
      name = "another controller of cqueues",
      watch = function(descriptor, due)
        return watch_with(cq, descriptor, due)
      end,
      report = adapter.complain,
      is_closed = function()
        return cqueues.type(cq) ~= "controller"
      end,
    }
    loops[cq] = loop
  end
  return loop
end

---Lets a controller move a client forward, or all clients: those that exist
---and those made later. A client that is attached already stays so, once.
---
---`attach(client, cq[, options])` or `attach(cq[, options])`.
---@param client any opperchat.Client; nil or left out: all
---@param cq any the controller
---@param options? {on_error?: fun(err: any)} `on_error` gets what handlers and tasks raise,
---with a traceback; without it that goes to standard error. One for all clients of a controller.
---@return fun() detach may be called again
function M.attach(client, cq, options)
  if cqueues.type(client) then
    client, cq, options = nil, client, cq
  end
  if cqueues.type(cq) ~= "controller" then
    errors.misuse("attach: controller of cqueues expected, got "
      .. (cqueues.type(cq) or type(cq)))
  end
  local report = adapter.reporter(options)
  local loop = loop_of(cq)
  local detach = adapter.attach(loop, client)
  if options then
    loop.report = report
  end
  return detach
end

return M
