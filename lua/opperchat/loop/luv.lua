---Requests under luv's loop:
---
---    require("opperchat.loop.luv").attach()
---    chat:start("Hi", { on_delta = io.write })
---    require("luv").run()
---
---`uv.run()` returns when all requests have ended and nothing else is to be done.
local uv = require "luv"
local adapter = require "opperchat.loop.adapter"
local uv_loop = require "opperchat.loop.uv"

local luv = {}

local loop = {
  name = "luv's loop",
  watch = uv_loop.watcher(uv),
  report = adapter.complain,
}

---Lets luv's loop move a client forward, or all clients: those that exist and
---those made later. A client that is attached already stays so, once.
---@param client? opperchat.Client nil: all
---@param options? {on_error?: fun(err: any)} `on_error` gets what handlers and tasks raise,
---with a traceback; without it that goes to standard error. One for all clients of the loop.
---@return fun() detach may be called again
function luv.attach(client, options)
  local report = adapter.reporter(options)
  local detach = adapter.attach(loop, client)
  if options then
    loop.report = report
  end
  return detach
end

return luv
