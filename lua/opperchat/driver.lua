---Drivers: what moves requests forward. A blocking wait, `poll` once a frame,
---coroutines started by `go`, or a host's event loop (see opperchat.loop).
---
---Nothing here runs by itself: whoever drives a client calls `poll`, and all
---handlers and coroutines run from there.
local core = require "opperchat.core"
local errors = require "opperchat.errors"

local unpack = table.unpack or unpack -- luacheck: ignore

local driver = {}

local check_seconds

-- Every client, so that opperchat.poll() can drive those that were made by
-- somebody else; the ones with requests in flight are kept alive.
local clients = setmetatable({}, { __mode = "k" })
local active = {}

-- Called with each client, those that exist and those made later; the value
-- is called when a task has begun or ceased to wait for a time.
local watchers = {}

-- ---------------------------------------------------------------------------
-- Clients
-- ---------------------------------------------------------------------------

---To be called once with each new client.
---@param client opperchat.Client
function driver.add(client)
  clients[client] = true
  for watch in pairs(watchers) do
    watch(client)
  end
end

---Calls `watch` with every open client there is and will be.
---@param watch fun(client: opperchat.Client)
---@param on_sleep? fun() called when `timer_due` has become another time
---@return fun() stop
function driver.watch(watch, on_sleep)
  watchers[watch] = on_sleep or function() end
  local list = {}
  for client in pairs(clients) do
    list[#list + 1] = client
  end
  for _, client in ipairs(list) do
    if not core.client_is_closed(client) then
      watch(client)
    end
  end
  return function()
    watchers[watch] = nil
  end
end

-- Whether a client has to be polled. While its handlers are called it stays
-- among those that have, so that nobody else has to be asked about handlers.
local function note_active(client, state)
  active[client] = state.pending > 0 or state.is_draining or nil
end

---Something was started, cancelled or closed outside of `poll`: a host's loop
---may have to wake up sooner than it planned.
---@param client opperchat.Client
---@param state? table of the client
function driver.notify(client, state)
  state = state or core.state(client)
  note_active(client, state)
  if state.wake then
    state.wake()
  end
end

-- What has to be done when handlers have been called: takes and returns what
-- `core.drain` and `core.advance` do. Whatever they raise, a host's loop that watches
-- the client learns that other times hold now.
local function after_drain(client, state, has_failed, err)
  active[client] = state.pending > 0 or state.is_draining or nil
  if state.wake then
    local told, problem = pcall(state.wake)
    if not told and not has_failed then
      return state, true, problem
    end
  end
  return state, has_failed, err
end

---Tells the endings that a cancel or a close has just made, unless a handler
---is running: then they are told when it returns.
---@param client opperchat.Client
function driver.tell(client)
  local state = core.state(client)
  if state.is_draining then
    driver.notify(client, state)
    return
  end
  local _, has_failed, err = after_drain(client, core.drain(client))
  if has_failed then
    error(err, 0)
  end
end

-- ---------------------------------------------------------------------------
-- Coroutines
-- ---------------------------------------------------------------------------

---@class opperchat.Task
local Task = {}
Task.__index = Task
Task.__name = "opperchat.Task"

local tasks = setmetatable({}, { __mode = "k" })

-- Coroutines waiting for a time: {at = seconds of core.now(), resume = function}.
local timers = {}

---The task that is running, nil outside of `go`.
---@return opperchat.Task?
function driver.current()
  local thread = coroutine.running()
  return thread and tasks[thread]
end

local function finish(task, worked, ...)
  -- a weak key that its own value refers to is for ever on Lua 5.1
  tasks[task.thread] = nil
  local waiting = task.waiting
  task.waiting = nil
  if worked then
    task.state = "done"
    task.results = { n = select("#", ...), ... }
  else
    task.state = "failed"
    task.results = { n = 1, (...) }
  end
  local first
  for _, resume in ipairs(waiting or {}) do
    local ok, err = pcall(resume)
    first = first or not ok and { err } or nil
  end
  if first then
    error(first[1], 0)
  elseif not worked and not (waiting and waiting[1]) then
    -- nobody is waiting for it: whoever drives hears of it
    error(task.results[1], 0)
  end
end

local function traceback(thread, err)
  if type(err) == "string" and debug and debug.traceback then
    return debug.traceback(thread, err)
  end
  return err
end

local function step(task, ...)
  local results = { n = 0 }
  local function keep(...)
    results = { n = select("#", ...), ... }
  end
  keep(coroutine.resume(task.thread, ...))
  if not results[1] then
    finish(task, false, traceback(task.thread, results[2]))
  elseif coroutine.status(task.thread) == "dead" then
    finish(task, true, unpack(results, 2, results.n))
  end
end

---Runs a function in a coroutine in which `send`, `run`, `wait` and `sleep`
---wait without blocking: they let go of the host until `poll`, or its loop,
---brings the answer.
---
---It runs at once, up to the first wait. What it raises comes out of `go`, or
---later out of `poll`, unless a task waits for it.
---
---A wait cannot cross a C function (a comparison given to `table.sort`, a
---handler such as `on_delta`), and on Lua 5.1 no `pcall`.
---@param fn function
---@param ... any its arguments
---@return opperchat.Task
function driver.go(fn, ...)
  if type(fn) ~= "function" then
    errors.misuse("go: function expected, got " .. type(fn))
  end
  local task = setmetatable({ state = "running", thread = coroutine.create(fn) }, Task)
  tasks[task.thread] = task
  step(task, ...)
  return task
end

---Starts a task as `go` does, for somebody who will `join` it: what it raises
---comes out there and nowhere else.
---@param fn function
---@param ... any
---@return opperchat.Task
function driver.spawn(fn, ...)
  local task = setmetatable({
    state = "running", thread = coroutine.create(fn), waiting = { function() end },
  }, Task)
  tasks[task.thread] = task
  step(task, ...)
  return task
end

---Waits, within a task, until a spawned task has ended.
---@param task opperchat.Task
---@return boolean worked
---@return any ... what it returned, or raised
function driver.join(task)
  while task.state == "running" do
    driver.suspend(nil, function(resume)
      table.insert(task.waiting, resume)
    end)
  end
  return task.state == "done", unpack(task.results, 1, task.results.n)
end

---Calls a function as pcall does, but one that may wait: within a task it runs in
---one of its own, since 5.1 cannot yield across a pcall.
---@param fn function
---@param ... any
---@return boolean worked
---@return any ... what it returned, or raised
function driver.protect(fn, ...)
  if driver.current() then
    return driver.join(driver.spawn(fn, ...))
  end
  return pcall(fn, ...)
end

-- What timer_due() returns is another time now.
local function tell_loops()
  for client in pairs(clients) do
    local state = not core.client_is_closed(client) and core.state(client)
    if state and state.wake then
      state.wake()
    end
  end
  for _, on_sleep in pairs(watchers) do
    on_sleep()
  end
end

---Suspends the running task until `resume` is called, or a time has come.
---@param deadline? number seconds of core.now()
---@param register fun(resume: fun()) keeps `resume` for whoever will call it
---@return boolean in_time false: the deadline came first
function driver.suspend(deadline, register)
  local task = driver.current()
  local is_waiting = true
  local timer
  -- Where a C function or, on Lua 5.1, a pcall is in between, the yield below
  -- raises: the task went on, and what was registered is not to wake it.
  local wait = (task.waits or 0) + 1
  task.waits = wait
  local function wake(in_time)
    if is_waiting and task.waits == wait and coroutine.status(task.thread) == "suspended" then
      is_waiting = false
      if timer then
        timer.resume = nil
        tell_loops()
      end
      step(task, in_time)
    elseif timer then
      timer.resume = nil
    end
  end
  if deadline then
    timer = { at = deadline, resume = function() wake(false) end }
    timers[#timers + 1] = timer
    tell_loops()
  end
  register(function() wake(true) end)
  return coroutine.yield()
end

-- Tasks that wait for a time.
local function count_sleepers()
  local count = 0
  for _, timer in ipairs(timers) do
    count = count + (timer.resume and 1 or 0)
  end
  return count
end

---Resumes the tasks whose time has come; keeps what they raise for the end.
local function run_timers()
  local now, due, left = core.now(), {}, {}
  for _, timer in ipairs(timers) do
    if timer.resume then
      local list = timer.at <= now and due or left
      list[#list + 1] = timer
    end
  end
  timers = left
  -- a host that comes late still sees them in the order of their times
  table.sort(due, function(a, b) return a.at < b.at end)
  local first
  for _, timer in ipairs(due) do
    -- an earlier one may have ended the wait of a later one
    if timer.resume then
      local ok, err = pcall(timer.resume)
      first = first or not ok and { err } or nil
    end
  end
  if first then
    error(first[1], 0)
  end
end

---Seconds until a task's time has come.
---@return number? seconds nil: no task waits for a time
local function timer_due()
  local first
  for _, timer in ipairs(timers) do
    if timer.resume and (not first or timer.at < first) then
      first = timer.at
    end
  end
  return first and math.max(0, first - core.now())
end

driver.run_timers, driver.timer_due = run_timers, timer_due

-- ---------------------------------------------------------------------------
-- Polling
-- ---------------------------------------------------------------------------

-- A time to wait: what is below 0 does not wait.
function check_seconds(seconds, what)
  if type(seconds) ~= "number" or seconds ~= seconds then
    errors.misuse("%s: seconds expected, got %s", what,
      type(seconds) == "number" and "nan" or type(seconds))
  end
  return math.max(seconds, 0)
end

-- How long a poll may take that does not wait, in seconds: a fiftieth of a frame.
local BUDGET = 0.0003

-- `seconds` or {seconds =, budget =} of poll. Whoever waits has no frames to draw.
local function poll_options(given, what)
  if given == nil or given == 0 then
    return 0, BUDGET
  elseif type(given) == "number" then
    local seconds = check_seconds(given, what)
    return seconds, seconds == 0 and BUDGET or nil
  elseif type(given) ~= "table" then
    errors.misuse("%s: seconds or a table of options expected, got %s", what, type(given))
  end
  for name, value in pairs(given) do
    if name ~= "seconds" and name ~= "budget" then
      errors.misuse("%s: unknown option '%s' (seconds, budget)", what, tostring(name))
    elseif type(value) ~= "number" and (name == "seconds" or value ~= false) then
      errors.misuse("%s: option '%s': %s expected, got %s", what, name,
        name == "budget" and "number or false" or "number", type(value))
    elseif value ~= value then
      errors.misuse("%s: option '%s': number expected, got nan", what, name)
    end
  end
  local seconds, budget = check_seconds(given.seconds or 0, what), given.budget
  if budget == nil and seconds == 0 then
    budget = BUDGET
  end
  -- none at all still moves one thing forward
  return seconds, budget and math.max(budget, 0) or nil
end

---Moves one client forward, for a wait outside of any handler.
---@param client opperchat.Client
---@param seconds? number how long it may wait; nil: until something happens
function driver.move(client, seconds)
  local due = timers[1] and timer_due()
  local _, has_failed, err = after_drain(client, core.advance(client,
    due and seconds and math.min(due, seconds) or due or seconds))
  if has_failed then
    error(err, 0)
  elseif timers[1] then
    run_timers()
  end
end

local function refuse_handler(what)
  errors.misuse(what .. ": not within a handler")
end

local function check_not_handling(what)
  for client in pairs(active) do
    if core.state(client).is_draining then
      refuse_handler(what)
    end
  end
end

---Moves one client forward and calls the handlers of its requests.
---@param client opperchat.Client
---@param state table of the client
---@param given? number|{seconds?: number, budget?: number|false}
---@return integer active how many requests are under way
function driver.poll_client(client, state, given)
  local seconds, budget = poll_options(given, "poll")
  if state.is_draining then
    refuse_handler("poll")
  end
  local due = timers[1] and timer_due()
  local _, has_failed, err = after_drain(client, core.advance(client,
    due and math.min(due, seconds) or seconds, budget))
  if has_failed then
    error(err, 0)
  elseif timers[1] then
    run_timers()
  end
  return state.pending
end

-- One descriptor can be waited for, not several: take turns.
local function wait_for_any(list, seconds)
  local deadline = core.now() + seconds
  repeat
    local is_due = false
    for i = 1, #list do
      core.step(list[i], 0.001)
      is_due = is_due or core.timeout(list[i]) == 0
    end
  until is_due or core.now() >= deadline
end

-- What the last call of `poll` has left of its list, so that a host that calls it
-- in each frame asks for no memory. Empty.
local spare

---Moves every client forward and calls the handlers of their requests:
---once a frame. Returns at once unless told to wait.
---
---`seconds` is how long it may wait for news; `budget` how long it may take
---beside that: what it does not come to waits for the next call. false: no limit,
---as for those that may wait.
---@param given? number|{seconds?: number, budget?: number|false}
---@return integer active how many requests are under way and tasks asleep
function driver.poll(given)
  local wait, budget = poll_options(given, "poll")
  if not timers[1] and not next(active) then
    if wait > 0 then
      core.sleep(wait)
    end
    return 0
  end
  check_not_handling("poll")
  local list, size, count, first = spare or {}, 0, 0, nil
  spare = nil
  for client in pairs(active) do
    size = size + 1
    list[size] = client
  end
  local due = timers[1] and timer_due()
  wait = due and math.min(due, wait) or wait
  if wait > 0 and size > 1 then
    wait_for_any(list, wait)
    wait = 0
  elseif wait > 0 and size == 0 then
    core.sleep(wait)
  end
  local until_time = budget and core.now() + budget
  for i = 1, size do
    -- what one client does not need is for those behind it
    local left = until_time and size > 1 and math.max(until_time - core.now(), 0) / (size - i + 1)
    local client = list[i]
    local state, has_failed, err = after_drain(client,
      core.advance(client, wait, left or budget))
    list[i] = nil
    first = first or has_failed and { err } or nil
    count = count + state.pending
  end
  spare = list
  if timers[1] then
    local ok, err = pcall(run_timers)
    first = first or not ok and { err } or nil
    count = count + count_sleepers()
  end
  if first then
    error(first[1], 0)
  end
  return count
end

---Seconds until a client has to be polled even without news of its sockets.
---@param client opperchat.Client
---@return number?
function driver.timeout(client)
  local own, tasks_due = core.timeout(client), timer_due()
  return own and tasks_due and math.min(own, tasks_due) or own or tasks_due
end

-- ---------------------------------------------------------------------------
-- Waiting
-- ---------------------------------------------------------------------------

local function await(task, resume)
  task.waiting = task.waiting or {}
  table.insert(task.waiting, resume)
end

-- Whoever gave up waiting does not hear of an error: the driver will.
local function give_up(task, resume)
  for i, known in ipairs(task.waiting or {}) do
    if known == resume then
      table.remove(task.waiting, i)
      return
    end
  end
end

-- Waits outside of any task, until something has happened.
local function block_for(task, seconds)
  if not seconds and not next(active) and not timer_due() then
    errors.misuse("wait: nothing is under way that could end this task")
  end
  local function note() end
  await(task, note)
  local ok, err = pcall(driver.poll, { seconds = seconds or 3600 })
  give_up(task, note)
  if not ok then
    error(err, 0)
  end
end

---Waits until the task has ended.
---@param seconds? number at most
---@return any ... what its function returned; nothing when the time was up
function Task:wait(seconds)
  local deadline = seconds and core.now() + check_seconds(seconds, "wait")
  local current = driver.current()
  if current == self then
    errors.misuse("wait: a task cannot wait for itself")
  elseif not current then
    check_not_handling("wait")
  end
  while self.state == "running" do
    local left = deadline and deadline - core.now()
    if left and left <= 0 then
      return
    elseif current then
      local mine
      driver.suspend(deadline, function(resume)
        mine = resume
        await(self, resume)
      end)
      give_up(self, mine)
    else
      block_for(self, left)
    end
  end
  if self.state == "failed" then
    error(self.results[1], 0)
  end
  return unpack(self.results, 1, self.results.n)
end

---Waits for some time: inside `go` without blocking anything else.
---@param seconds number
function driver.sleep(seconds)
  seconds = check_seconds(seconds, "sleep")
  local deadline = core.now() + seconds
  if driver.current() then
    driver.suspend(deadline, function() end)
    return
  end
  check_not_handling("sleep")
  repeat
    driver.poll { seconds = math.max(deadline - core.now(), 0) }
  until core.now() >= deadline
end

return driver
