---libuv, for those who have it under one name or another: one poll handle and
---one timer for each client with requests in flight.
local uv_loop = {}

local function nobody() end

---How to watch with libuv.
---@param uv table `luv`, `vim.uv` or `vim.loop`
---@param defer? fun(fn: fun()) for a host where little is allowed within libuv's callbacks:
---calls `fn` later, outside of them
---@return fun(descriptor?: integer, due: fun()): opperchat.loop.Watch
function uv_loop.watcher(uv, defer)
  return function(descriptor, due)
    local timer = assert(uv.new_timer())
    -- without a handle for it there is still the timer
    local poll = descriptor and uv.new_poll(descriptor) or nil
    local is_watching, is_closed = false, false
    local watch = { has_descriptor = poll ~= nil }

    function watch.disarm()
      if is_closed then
        return
      end
      timer:stop()
      if is_watching then
        is_watching = false
        poll:stop()
      end
    end

    local function fire()
      if not defer then
        due()
        return
      end
      -- the descriptor stays readable until `due` has been called: once is
      -- enough, and whatever comes until then is dealt with together
      watch.disarm()
      defer(function()
        if not is_closed then
          due()
        end
      end)
    end

    local function on_readable(err)
      if err then
        -- libuv has stopped the handle; from now on by time alone
        is_watching, watch.has_descriptor = false, false
      end
      fire()
    end

    function watch.arm(seconds)
      watch.is_resting = false
      if seconds then
        -- libuv counts milliseconds: rather late than a millisecond too early,
        -- which would have to be followed by another one
        timer:start(math.min(math.ceil(seconds * 1000), 2 ^ 31), 0, fire)
      else
        timer:stop()
      end
      if watch.has_descriptor and not is_watching then
        is_watching = poll:start("r", on_readable) and true or false
        watch.has_descriptor = is_watching
      end
    end

    -- A timer that is closed and never run again makes some versions of luv
    -- crash when the state is closed, so the handles wait for the next request.
    -- What libuv would call meanwhile is nobody: a client may be collected.
    function watch.rest()
      watch.disarm()
      if is_closed then
        return
      end
      watch.is_resting = true
      timer:start(1, 0, nobody)
      timer:stop()
      if poll and watch.has_descriptor then
        poll:start("r", nobody)
        poll:stop()
      end
    end

    function watch.close()
      watch.disarm()
      if not is_closed then
        is_closed = true
        timer:close()
        if poll then
          poll:close()
        end
      end
    end

    return watch
  end
end

return uv_loop
