---One request in flight.
local core = require "opperchat.core"
local driver = require "opperchat.driver"
local errors = require "opperchat.errors"
local json = require "opperchat.json"
local lazy = require "opperchat.lazy"

local log = lazy.module "opperchat.log"
local tools = lazy.module "opperchat.tools"

local request = {}

-- Completes a reply that the core has made.
local function complete(reply, self)
  if reply.tool_calls then
    for _, call in ipairs(reply.tool_calls) do
      call.arguments = tools.decode_arguments(call.arguments_json)
    end
  end
  reply.raw = function()
    return json.decode(core.request_raw(self))
  end
  return reply
end

-- Calls all of a list; what the first failing one raises is raised at the end.
local function call_all(list, ...)
  local first
  for _, fn in ipairs(list) do
    local ok, err = pcall(fn, ...)
    first = first or not ok and { err } or nil
  end
  if first then
    error(first[1], 0)
  end
end

-- The state of the client of a request.
local function client_state_of(state)
  return state.turn and state.turn.client_state or core.state(state.client)
end

-- What has to happen even when memory is short: it asks for none.
local function keep_books(self, state)
  if state.is_finished then
    return
  end
  state.is_finished = true
  local turn = state.turn
  local client_state = turn and turn.client_state or core.state(state.client)
  -- the driver looks at this when all have been told
  client_state.pending = client_state.pending - 1
  if turn then
    local own = turn.own
    if own.in_flight == self then
      own.in_flight = nil
    end
    request.turn.book(self, state, turn)
  end
end

---What has to be done at the end of a conversation's request, before anybody is
---told: set by `opperchat.turn`.
---@class opperchat.TurnHooks
---@field again fun(self: opperchat.Request, state: table): boolean whether it was sent once more
---@field book fun(self: opperchat.Request, state: table, of: opperchat.Turn) asks for no memory
---@field settle fun(self: opperchat.Request, state: table, of: opperchat.Turn): function[] what
---is to be called then
request.turn = nil

-- The error and what had arrived, as programs see them.
local function complete_error(err, self)
  if not errors.is(err) then
    errors.wrap(err)
    if err.partial then
      complete(err.partial, self)
    end
  end
end

-- The core calls this when the turn has been committed or given up; and again
-- when it did not come to its end for want of memory.
local function finish(self, state)
  if state.failed then
    complete_error(state.result, self)
    local err = state.result
    if state.turn and not state.is_finished and request.turn.again(self, state) then
      if state.log then
        log.again(state.log, err, state.turn.setup)
      end
      return
    end
  elseif state.conversation then
    complete(state.result, self)
  end
  keep_books(self, state)
  local turn = state.turn
  local calls = turn and request.turn.settle(self, state, turn)
  local result, on_done, waiting = state.result, state.on_done, state.waiting
  local behind = state.behind
  if state.log then
    local entry = state.log
    state.log = nil
    log.ended(entry, self, result, state.failed)
  end
  state.on_end = nil
  if state.is_watched then
    state.on_done, state.on_delta, state.on_event, state.on_retry = nil, nil, nil, nil
  end
  if waiting then
    state.waiting = nil
  elseif not (on_done or behind or calls and calls[1]) then
    return
  end
  local list = {}
  for i = 1, calls and #calls or 0 do
    list[i] = calls[i]
  end
  if on_done then
    list[#list + 1] = function()
      if state.failed then
        on_done(nil, result)
      else
        on_done(result)
      end
    end
  end
  for i = 1, waiting and #waiting or 0 do
    list[#list + 1] = waiting[i]
  end
  list[#list + 1] = behind
  call_all(list)
end

---Sends a request once more that the core has made again.
---@param self opperchat.Request
---@param state table of the request
function request.restart(self, state)
  core.request_start(self)
  driver.notify(state.client, state.turn.client_state)
end

---Sends a request that the core has made.
---@param self opperchat.Request
---@param state table of the request
---@param given? table options with `on_delta`, `on_event`, `on_done` and `on_retry`
---@param turn? opperchat.Turn for the hooks, of a conversation's request
function request.start(self, state, given, turn)
  -- what may raise for want of memory comes before the first byte is sent
  state.turn = turn
  local client_state = turn and turn.client_state or core.state(state.client)
  state.on_end, state.is_finished = finish, false
  local on_retry = client_state.on_retry
  if given then
    state.is_watched = true
    state.on_delta, state.on_event, state.on_done = given.on_delta, given.on_event, given.on_done
    on_retry = given.on_retry or on_retry
    if given.on_delta or given.on_event then
      state.has_handlers = true
      core.request_pace(self, true)
    end
  end
  if state.log then
    on_retry = log.watch_retry(state.log, on_retry)
  end
  if on_retry then
    state.is_watched = true
    state.on_retry = function(event, ...)
      complete_error(event.err, self)
      on_retry(event, ...)
    end
  end
  local own = turn and turn.own
  if own then
    -- so that to note it below asks for no memory
    own.in_flight = false
  end
  -- raises when the conversation is not what it was when the request was made
  core.request_start(self)
  client_state.pending = client_state.pending + 1
  if own then
    own.in_flight = self
  end
  local told, problem = pcall(driver.notify, state.client, client_state)
  if not told then
    request.abandon(self, state)
    error(problem, 0)
  end
end

---Ends a request that nobody has a hold of, because the wait for it has raised: for want
---of memory, or in a hook that Ctrl-C has set. Its conversation, which would be busy for as
---long as nobody polls, is as it was before and can be used at once; where there is no
---memory to tell the ending, that comes with the next poll or wait.
---@param self opperchat.Request
---@param state table of the request
function request.abandon(self, state)
  if state.is_finished then
    return
  end
  -- neither asks for memory
  core.request_abandon(self)
  if state.turn then
    state.turn.own.in_flight = false
  end
  pcall(driver.tell, state.client)
end

-- ---------------------------------------------------------------------------
-- Methods
-- ---------------------------------------------------------------------------

---@class opperchat.Request
local methods = core.methods("request")

local function open(self)
  return core.open(self, "request")
end

-- Tells what has arrived of one request, within a handler of another or its own.
local function deliver(self)
  local ok, err = pcall(core.deliver, self)
  if not ok then
    core.request_abort(self)
    error(err, 0)
  end
end

-- Lets the client move, and tells what there is to tell: of everybody, or
-- within a handler, where others have to wait, of this request alone.
local function move(self, state, client_state, seconds)
  if client_state.is_draining then
    -- when its end is there already, nothing more may ever come to wait for
    deliver(self)
    if not state.is_finished then
      core.step(state.client, seconds, true)
      deliver(self)
    end
  else
    driver.move(state.client, seconds)
  end
end

-- Suspends the running task until the request has ended, or the deadline.
local function suspend(state, deadline)
  driver.suspend(deadline, function(resume)
    state.waiting = state.waiting or {}
    table.insert(state.waiting, resume)
  end)
end

---Waits for the end of the request.
---@param self opperchat.Request
---@param state table of the request
---@param is_task boolean whether a task waits, which yields
---@param seconds? number at most; nil: as long as it takes
---@return opperchat.Reply? reply
---@return opperchat.Error? err
function request.wait(self, state, is_task, seconds)
  if state.is_read and not state.has_handlers and not state.is_finished then
    -- whoever waits for the whole does not wait for pieces of it
    core.request_pace(self, false)
  end
  local client_state, deadline = client_state_of(state), seconds and core.now() + seconds
  local is_last
  while not state.is_finished do
    local left = deadline and deadline - core.now()
    local is_over = left and left <= 0
    if is_over and (is_task or is_last) then
      return nil
    elseif is_task then
      suspend(state, deadline)
    else
      -- what has arrived is looked at even when there is no time
      move(self, state, client_state, is_over and 0 or left)
      is_last = is_over
    end
  end
  if state.failed then
    return nil, state.result
  end
  return state.result
end

---Waits for the end of the request: blocking, or inside `go` yielding.
---@param seconds? number at most; nil: as long as it takes
---@return opperchat.Reply? reply
---@return opperchat.Error? err nil together with a nil reply: the time was up, and the
---request goes on
function methods:wait(seconds)
  local state = open(self)
  if seconds ~= nil and (type(seconds) ~= "number" or seconds ~= seconds) then
    errors.misuse("wait: seconds expected, got " .. type(seconds))
  end
  return request.wait(self, state, driver.current() ~= nil, seconds)
end

---Ends the request now. Nothing more is delivered of it but its ending, an
---error of kind `cancelled`; the list stays as it was. Does nothing once the
---request has ended.
function methods:cancel()
  local state = open(self)
  if core.has_ended(self) then
    return
  end
  core.request_cancel(self)
  driver.tell(state.client)
end

---@return "sending"|"receiving"|"waiting"|"done"|"failed"|"cancelled" state `waiting`: an
---attempt has failed, and it will be sent once more
methods.state = core.request_state

---The text that has arrived so far.
---@return string
function methods:content()
  return core.content(self)
end

-- Suspends the running task until there is text, or the request has ended.
local function suspend_for_text(self, state)
  if not state.readers then
    local function wake()
      local readers = state.readers
      state.readers = {}
      call_all(readers)
    end
    state.readers, state.is_watched = {}, true
    state.waiting = state.waiting or {}
    table.insert(state.waiting, wake)
    local list = { state.on_delta or wake, state.on_delta and wake }
    state.on_delta = function(...)
      call_all(list, ...)
    end
  end
  -- it may have to hear of much that is no text
  core.request_pace(self, true)
  driver.suspend(nil, function(resume)
    table.insert(state.readers, resume)
  end)
  core.request_pace(self, state.has_handlers or false)
end

---The next piece of text: what `for text in request do` calls. Waits for it.
---A request that fails raises its error here, so that no loop takes half an
---answer for a whole one.
---@return string? text nil at the end of the answer
local function next_text(self)
  local state = open(self)
  state.is_read = true
  local text = core.take(self)
  while not text and not state.is_finished do
    if driver.current() then
      suspend_for_text(self, state)
    else
      move(self, state, client_state_of(state))
    end
    text = core.take(self)
  end
  if not text and state.failed and not state.is_raised then
    state.is_raised = true
    error(state.result, 0)
  end
  return text
end

core.set_call("request", next_text)

-- `local request <close> = chat:stream(...)`: whoever leaves early wants no more.
core.set_close("request", function(self)
  methods.cancel(self)
end)

return request
