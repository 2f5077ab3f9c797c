---The client: connections, credentials, timeouts and limits, shared by any
---number of conversations.
local core = require "opperchat.core"
local driver = require "opperchat.driver"
local errors = require "opperchat.errors"
local options = require "opperchat.options"

local client = {}

local OPPER_URL = "https://api.opper.ai/v3/compat"

-- Seconds. A model may think in silence for minutes before its first token.
local TIMEOUTS = { connect = 10, first_token = 300, idle = 60, total = false }

-- Attempts after the first one, of one request, and of all of a turn.
local MAX_RETRIES, RETRY_BUDGET = 2, 6

local MAX_RESPONSE_BYTES = 64 * 1024 * 1024
local MAX_EVENT_BYTES = 16 * 1024 * 1024
local MAX_BUFFERED_BYTES = 1024 * 1024

local function environment(name)
  local value = os.getenv(name)
  return value ~= "" and value or nil
end

-- Opper's own host, where nothing works without a key.
local function is_opper(url)
  local host = url:lower():gsub("^(https?://)[^/]*@", "%1"):match("^https?://([^/:]+)")
  return host == "opper.ai" or host ~= nil and host:find("%.opper%.ai$") ~= nil
end

local function header_lines(headers)
  local lines, has_agent = {}, false
  for name, value in pairs(headers or {}) do
    has_agent = has_agent or name:lower() == "user-agent"
    -- libcurl's way to send a header without a value
    lines[#lines + 1] = value == "" and name .. ";" or name .. ": " .. value
  end
  if not has_agent then
    lines[#lines + 1] = "User-Agent: opperchat/" .. client.version
  end
  table.sort(lines)
  return lines
end

local function has_authorization(headers)
  for name in pairs(headers or {}) do
    if name:lower() == "authorization" then
      return true
    end
  end
  return false
end

---Makes a client.
---@param given? opperchat.ClientOptions
---@return opperchat.Client
function client.new(given)
  local valid, message = options.check(options.client, given)
  if not valid then
    errors.misuse("client: " .. message)
  end
  given = given or {}

  local url = given.base_url
  if not url then
    url = environment("OPPER_BASE_URL") or OPPER_URL
    valid, message = options.check(options.client, { base_url = url })
    if not valid then
      errors.misuse("client: OPPER_BASE_URL: " .. message:gsub("^option 'base_url': ", ""))
    end
  end
  url = url:gsub("/+$", "")

  local key = given.api_key
  if key == nil then
    key = environment("OPPER_API_KEY")
    if key and key:find("%c") then
      errors.misuse("client: OPPER_API_KEY: control character in it (a line break at its end?)")
    end
  end

  local self, _, problem = core.client {
    base_url = url,
    key = type(key) == "string" and key ~= "" and key or nil,
    proxy = given.proxy,
    ca_file = given.ca_file,
    http2 = given.http2 ~= false,
    max_connections = given.max_connections or 0,
  }
  if not self then
    errors.misuse("client: " .. problem)
  end

  local timeout = given.timeout or {}
  local settings = {
    max_response = given.max_response_bytes or MAX_RESPONSE_BYTES,
    max_event = math.min(given.max_response_bytes or MAX_EVENT_BYTES, MAX_EVENT_BYTES),
    max_buffered = given.max_buffered_bytes or MAX_BUFFERED_BYTES,
    max_retries = given.max_retries or MAX_RETRIES,
  }
  for name, default in pairs(TIMEOUTS) do
    local seconds = timeout[name]
    if seconds == nil then
      seconds = default
    end
    settings[name] = seconds or nil
  end

  local state = core.state(self)
  state.settings = settings
  -- shown to on_request, so without "user:password@"
  state.base_url = url:gsub("^(%a+://)[^/]*@", "%1")
  state.key_function = type(key) == "function" and key or nil
  state.needs_key = is_opper(url) and not has_authorization(given.headers)
  state.headers = header_lines(given.headers)
  state.opper = options.copy { name = given.name, tags = given.tags, guard = given.guard }
  state.on_request, state.on_retry = given.on_request, given.on_retry
  state.retry_budget = given.retry_budget or math.max(RETRY_BUDGET, settings.max_retries)
  state.last_id = 0
  state.pending = 0
  driver.add(self)
  return self
end

local shared

---The client of conversations that were given none: made when the first of
---them asks for it, from the environment alone.
---@return opperchat.Client
function client.default()
  if not shared or core.client_is_closed(shared) then
    shared = client.new()
  end
  return shared
end

---Raises unless this is an open client.
---@param self any
---@return table state
function client.check(self)
  local state = core.open(self, "client")
  if core.client_is_closed(self) then
    errors.misuse("client is closed")
  end
  return state
end

---The key for one request.
---@param self opperchat.Client
---@param is_refused? boolean the server has just refused the one it was given
---@return string|false|nil key false: the client's own; nil: there is none, see err
---@return opperchat.Error? err
function client.key(self, is_refused)
  local state = core.state(self)
  if not state.key_function then
    if state.needs_key and not core.client_has_key(self) then
      return nil, errors.new("api", "missing_api_key",
        "no API key: set OPPER_API_KEY or give opperchat.client{api_key = ...}")
    end
    return false
  end
  local worked, key = pcall(state.key_function, is_refused or false)
  if not worked then
    return nil, errors.new("api", "missing_api_key", "api_key function failed: " .. tostring(key))
  elseif type(key) ~= "string" or key == "" or key:find("%c") then
    return nil, errors.new("api", "missing_api_key",
      "api_key function: a string without control characters expected, got "
      .. (type(key) == "string" and "another one" or type(key)))
  end
  return key
end

---A number for the next request, by which the core finds it again.
---@param self opperchat.Client
---@return integer
function client.next_id(self)
  local state = core.state(self)
  state.last_id = state.last_id % 2 ^ 30 + 1
  return state.last_id
end

---@class opperchat.Client
local methods = core.methods("client")

---Ends every request of this client (each with an error of kind `cancelled`),
---closes its connections and forgets the key. May be called again.
function methods:close()
  local state = core.open(self, "client")
  if core.client_is_closed(self) then
    return
  end
  if state.on_close then
    -- a host's loop lets go of the descriptor while it is still one
    state.on_close()
  end
  core.client_close(self)
  driver.tell(self)
end

-- `local client <close> = ...`: its requests hear of their end.
core.set_close("client", function(self)
  methods.close(self)
end)

---How many requests have not been told their ending.
---@return integer
function methods:active()
  return core.open(self, "client").pending
end

---Moves this client forward and calls the handlers of its requests. Returns at
---once unless told to wait.
---@param given? number|{seconds?: number, budget?: number} seconds it may wait for
---news; `budget`: seconds it may go on calling handlers, the rest waits for the
---next call
---@return integer active how many requests are under way
function methods:poll(given)
  client.check(self)
  return driver.poll_client(self, given)
end

---A descriptor that is readable when `poll` has work to do: one for all
---connections, the same as long as the client lives.
---@return integer? descriptor nil: this system has none, call `poll` now and then
function methods:pollfd()
  client.check(self)
  return core.pollfd(self)
end

---What to watch the descriptor for, as cqueues asks for it.
---@return "r"
function methods:events()
  client.check(self)
  return "r"
end

---Seconds until `poll` has to be called in any case.
---@return number? seconds nil: not before the descriptor is readable
function methods:timeout()
  client.check(self)
  return driver.timeout(self)
end

return client
