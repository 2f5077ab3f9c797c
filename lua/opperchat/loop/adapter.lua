---What the adapters of host loops have in common: which client belongs to which
---loop, when there is something to wait for, and what happens when it comes.
---
---A loop is watched with only while requests are in flight (or tasks asleep).
---In between nothing of it is held: an idle client costs no wake-up, keeps no
---loop alive, and may be collected like any other object.
local core = require "opperchat.core"
local driver = require "opperchat.driver"
local client_module = require "opperchat.client"
local errors = require "opperchat.errors"

local adapter = {}

-- The loop calls for what has news, and draws no frames that it could miss.
local ALL = { budget = false }

-- Seconds between two looks where there is no descriptor to watch.
local BLIND_INTERVAL = 0.015

---One thing being waited for, made by a loop.
---@class opperchat.loop.Watch
---@field has_descriptor boolean whether news of the descriptor will be noticed
---@field arm fun(seconds?: number) from now on, `due` is called when the descriptor is
---readable or the time has passed; may be called again at any time
---@field disarm fun() not any more, until armed
---@field rest? fun() not any more for a while, holding on to nothing; without it, `close`
---is called and another one made when it is needed
---@field close fun() for good; may be called within `due`

---A host's loop.
---@class opperchat.loop.Loop
---@field name string
---@field watch fun(descriptor?: integer, due: fun()): opperchat.loop.Watch
---@field report fun(err: any) what to do with the error of a handler; nobody is above
---@field is_closed? fun(): boolean

---What is polled: a client, or the tasks that are asleep.
---@class opperchat.loop.Source
---@field is_busy fun(): boolean
---@field pollfd? fun(): integer?
---@field timeout fun(): number?
---@field is_draining fun(): boolean
---@field poll fun()

---A source under a loop.
---@class opperchat.loop.Attachment
---@field loop opperchat.loop.Loop
---@field source opperchat.loop.Source
---@field watch? opperchat.loop.Watch
---@field is_polling boolean
---@field is_detached boolean
local Attachment = {}
Attachment.__index = Attachment

local function attachment(loop, source)
  return setmetatable({
    loop = loop, source = source, is_polling = false, is_detached = false,
  }, Attachment)
end

-- What is to be waited for may be something else now.
function Attachment:update()
  if self.is_polling or self.is_detached then
    return
  end
  local source = self.source
  if not source.is_busy() then
    self:rest(true)
    return
  end
  if not self.watch then
    self.watch = self.loop.watch(source.pollfd and source.pollfd(), function()
      self:due()
    end)
  end
  local seconds = source.timeout()
  if source.pollfd and not self.watch.has_descriptor then
    seconds = math.min(seconds or BLIND_INTERVAL, BLIND_INTERVAL)
  end
  self.watch.arm(seconds)
end

-- Waits for nothing: for a while, or for good.
function Attachment:rest(for_a_while)
  local watch = self.watch
  if watch and watch.rest and for_a_while then
    watch.rest()
  elseif watch then
    self.watch = nil
    watch.close()
  end
end

function Attachment:due()
  if not self.watch then
    return -- it came too late: all is done, or detached
  end
  if self.is_polling or self.source.is_draining() then
    -- a handler runs its host's loop; who called the handler arms it again
    self.watch.disarm()
    return
  end
  self.is_polling = true
  local worked, err = pcall(self.source.poll)
  self.is_polling = false
  self:update()
  if not worked and not pcall(self.loop.report, err) then
    adapter.complain(err)
  end
end

function Attachment:detach()
  if not self.is_detached then
    self.is_detached = true
    self:rest()
  end
end

---The last resort for an error that nobody takes.
---@param err any
function adapter.complain(err)
  io.stderr:write("opperchat: ", tostring(err), "\n")
end

---How an adapter reports errors, from its options.
---@param given? {on_error?: fun(err: any)}
---@return fun(err: any)
function adapter.reporter(given)
  if given ~= nil and type(given) ~= "table" then
    errors.misuse("attach: table of options expected, got " .. type(given))
  end
  for name, value in pairs(given or {}) do
    if name ~= "on_error" then
      errors.misuse("attach: unknown option '%s' (on_error)", tostring(name))
    elseif type(value) ~= "function" then
      errors.misuse("attach: option 'on_error': function expected, got " .. type(value))
    end
  end
  return given and given.on_error or adapter.complain
end

local function client_source(client)
  local state = core.state(client)
  return {
    -- its tasks may be asleep between two requests
    is_busy = function()
      return not core.client_is_closed(client)
        and (state.pending > 0 or driver.timer_due() ~= nil)
    end,
    pollfd = function()
      return core.pollfd(client)
    end,
    timeout = function()
      return driver.timeout(client)
    end,
    is_draining = function()
      return state.is_draining or false
    end,
    poll = function()
      client:poll(ALL)
    end,
  }
end

-- Tasks that sleep while there is no client at all.
local tasks_source = {
  is_busy = function()
    return driver.timer_due() ~= nil
  end,
  timeout = driver.timer_due,
  is_draining = function()
    return false
  end,
  poll = driver.run_timers,
}

local function is_gone(loop)
  return loop.is_closed ~= nil and loop.is_closed()
end

-- Attaches one client. Its state holds the attachment, and nothing else does
-- while the client is idle: it must not be kept alive by it.
local function attach_client(loop, client)
  local state = client_module.check(client)
  local old = state.loop
  if old and not is_gone(old.loop) then
    if old.loop ~= loop then
      errors.misuse("attach: the client is attached to %s already", old.loop.name)
    end
    return old.detach
  elseif old then
    old.detach()
  end

  local self = attachment(loop, client_source(client))
  function self.detach()
    Attachment.detach(self)
    if state.loop == self then
      state.loop, state.wake, state.on_close = nil, nil, nil
    end
  end
  state.loop = self
  state.wake = function()
    self:update()
  end
  -- a loop must not watch a descriptor that is closed, and may soon be
  -- somebody else's
  state.on_close = self.detach
  self:update()
  return self.detach
end

-- {loop =, detach =} of the loop that drives all clients.
local everywhere

local function attach_all(loop)
  if everywhere and is_gone(everywhere.loop) then
    everywhere.detach()
  elseif everywhere then
    if everywhere.loop ~= loop then
      errors.misuse("attach: all clients are attached to %s already", everywhere.loop.name)
    end
    return everywhere.detach
  end

  local own = setmetatable({}, { __mode = "k" })
  local tasks = attachment(loop, tasks_source)
  local stop = driver.watch(function(client)
    local old = core.state(client).loop
    if not old or is_gone(old.loop) then
      attach_client(loop, client)
      own[client] = true
    end
  end, function()
    tasks:update()
  end)
  local self = { loop = loop }
  function self.detach()
    if everywhere ~= self then
      return
    end
    everywhere = nil
    stop()
    tasks:detach()
    for client in pairs(own) do
      local attached = not core.client_is_closed(client) and core.state(client).loop
      if attached and attached.loop == loop then
        attached.detach()
      end
    end
  end
  everywhere = self
  tasks:update()
  return self.detach
end

---Lets a loop drive one client, or all there are and will be.
---@param loop opperchat.loop.Loop
---@param client? opperchat.Client
---@return fun() detach may be called again
function adapter.attach(loop, client)
  if client ~= nil then
    return attach_client(loop, client)
  end
  return attach_all(loop)
end

return adapter
