---The client: connections, credentials, timeouts and limits, shared by any
---number of conversations.
local core = require "opperchat.core"
local driver = require "opperchat.driver"
local errors = require "opperchat.errors"
local lazy = require "opperchat.lazy"
local options = require "opperchat.options"

local log = lazy.module "opperchat.log"
local public = lazy.module "opperchat"
local secret = lazy.module "opperchat.secret"

local client = {}

local OPPER_URL = "https://api.opper.ai/v3/compat"

-- Seconds. A model may think in silence for minutes before its first token.
local TIMEOUTS = { connect = 10, first_token = 300, idle = 60, total = false }

-- Attempts after the first one, of one request, and of all of a turn.
local MAX_RETRIES, RETRY_BUDGET = 2, 6

local MAX_RESPONSE_BYTES = 64 * 1024 * 1024
local MAX_EVENT_BYTES = 16 * 1024 * 1024
local MAX_BUFFERED_BYTES = 1024 * 1024

-- Header lines may hold keys. They are not in the state of the client, which a
-- program that looks around may print.
local private = setmetatable({}, { __mode = "k" })

-- What libcurl takes as it is.
local TEXTS = {
  "proxy", "proxy_ca_file", "ca_file", "ca_path", "client_cert", "client_key",
  "client_key_password",
}

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
    lines[#lines + 1] = "User-Agent: opperchat/" .. public.version
  end
  table.sort(lines)
  return lines
end

-- Options that say nothing without another one, or contradict it.
local function check_tapes(given)
  if given.record and given.replay then
    return "options 'record' and 'replay': one of them expected"
  end
  for _, name in ipairs { "replay_speed", "replay_match" } do
    if given[name] ~= nil and not given.replay then
      return ("option '%s': means nothing without 'replay'"):format(name)
    end
  end
end

local function has_authorization(headers)
  for name in pairs(headers or {}) do
    if name:lower() == "authorization" then
      return true
    end
  end
  return false
end

-- What the key is, and where it comes from: a string or userdata that the core
-- will copy; a function, a secret; or nothing.
local function find_key(given)
  if given == nil then
    local key, problem = core.secret_env("OPPER_API_KEY")
    if not key and environment("OPPER_API_KEY") then
      errors.misuse("client: OPPER_API_KEY: " .. problem .. " (a line break at its end?)")
    end
    return key, key and "environment variable OPPER_API_KEY" or "none"
  elseif type(given) == "string" then
    return given ~= "" and given or nil, given ~= "" and "option api_key" or "none"
  end
  return nil, type(given) == "function" and "function api_key"
    or "secret: " .. secret.describe(given)
end

-- What the core is told of TLS and proxies.
local function transport_of(given)
  local result = {}
  for _, name in ipairs(TEXTS) do
    result[name] = given[name]
  end
  if given.client_key and not given.client_cert then
    errors.misuse("client: option 'client_key': it goes with 'client_cert'")
  end
  local hosts = given.no_proxy
  result.no_proxy = type(hosts) == "table" and table.concat(hosts, ",") or hosts
  result.skip_verify = given.insecure_skip_verify
  -- a program that names what it trusts wants nothing else to be trusted
  result.trusts_only = given.ca_file ~= nil or given.ca_path ~= nil
  if not result.trusts_only then
    -- as the curl program does, which libcurl itself does not
    result.ca_file = environment("CURL_CA_BUNDLE") or environment("SSL_CERT_FILE")
    result.ca_path = environment("SSL_CERT_DIR")
  end
  return result
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
  message = check_tapes(given)
  if message then
    errors.misuse("client: " .. message)
  end

  local url = given.base_url
  if not url then
    url = environment("OPPER_BASE_URL") or OPPER_URL
    valid, message = options.check(options.client, { base_url = url })
    if not valid then
      errors.misuse("client: OPPER_BASE_URL: " .. message:gsub("^option 'base_url': ", ""))
    end
  end
  url = url:gsub("/+$", "")

  local key, key_source = find_key(given.api_key)
  local transport = transport_of(given)
  local made = options.copy(transport)
  made.base_url, made.key = url, key
  made.http2 = given.http2 ~= false
  made.max_connections = given.max_connections or 0
  made.record, made.replay = given.record, given.replay
  made.replay_speed = type(given.replay_speed) == "number" and given.replay_speed or 0
  made.replay_in_order = given.replay_match == "order"
  local self, _, problem = core.client(made)
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
  state.key_function = type(given.api_key) == "function" and given.api_key or nil
  state.secret = type(given.api_key) == "table" and given.api_key or nil
  state.key_source = key_source
  if (state.key_function or state.secret) and given.replay then
    -- a tape needs no key, but another one may have been tried when it was made
    local count = 0
    state.secret = nil
    state.key_function = function()
      count = count + 1
      return "none-" .. count
    end
  end
  state.needs_key = is_opper(url) and not given.replay and not has_authorization(given.headers)
  private[self] = header_lines(given.headers)
  state.opper = options.copy { name = given.name, tags = given.tags, guard = given.guard }
  state.record, state.replay = given.record, given.replay
  state.on_request, state.on_retry = given.on_request, given.on_retry
  state.retry_budget = given.retry_budget or math.max(RETRY_BUDGET, settings.max_retries)
  -- where certificates are looked for, and the way there: for the doctor
  state.ca_file, state.ca_path = transport.ca_file, transport.ca_path
  state.proxy = transport.proxy and log.without_login(transport.proxy)
  state.no_proxy, state.skips_verify = transport.no_proxy, transport.skip_verify
  if given.debug ~= nil or environment("OPPERCHAT_DEBUG") then
    state.log = log.new(given.debug)
  end
  if state.secret then
    secret.hold(state.secret, self)
  end
  if transport.skip_verify then
    io.stderr:write("opperchat: the certificate of ", log.without_login(url),
      " is not checked (insecure_skip_verify): anybody on the way can read along\n")
  end
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
client.check = core.client_open

---The headers of each request. Raises when there are none: a program has taken
---opperchat out of package.loaded and required it again, and what is not in the
---state of a client is lost.
---@param self opperchat.Client
---@return string[] lines not a copy
function client.headers(self)
  return private[self]
    or errors.misuse("this client belongs to an earlier load of opperchat: make another one")
end

---Whether the key may be another one for each request.
---@param state table of the client
---@return boolean
function client.can_renew(state)
  return state.key_function ~= nil or state.secret ~= nil and secret.can_renew(state.secret)
end

---The key for one request.
---@param self opperchat.Client
---@param is_refused? boolean the server has just refused the one it was given
---@param refused? string|userdata which one that was
---@return string|userdata|false|nil key false: the client's own; "": the function wants none to
---be sent; nil: there is none that could be, see err
---@return opperchat.Error? err
function client.key(self, is_refused, refused)
  local state = core.state(self)
  if state.secret then
    return secret.take(state.secret, is_refused and refused or nil)
  elseif not state.key_function then
    if state.needs_key and not core.client_has_key(self) then
      return nil, errors.new("api", "missing_api_key",
        "no API key: set OPPER_API_KEY or give opperchat.client{api_key = ...}")
    end
    return false
  end
  local worked, key = pcall(state.key_function, is_refused or false)
  if not worked then
    return nil, errors.new("api", "missing_api_key", "api_key function failed: " .. tostring(key))
  elseif key == "" and state.needs_key then
    return nil, errors.new("api", "missing_api_key",
      "no API key: the api_key function returned \"\", and this host needs one")
  elseif type(key) ~= "string" or key:find("%c") then
    return nil, errors.new("api", "missing_api_key",
      "api_key function: a string without control characters expected, got "
      .. (type(key) == "string" and "another one" or type(key)))
  end
  return key
end

---A number for the next request, by which the core finds it again.
---@param state table of the client
---@return integer
function client.next_id(state)
  state.last_id = state.last_id % 2 ^ 30 + 1
  return state.last_id
end

---@class opperchat.Client
local methods = core.methods("client")
lazy.extend(methods, "opperchat.models", { "models", "model" })
lazy.extend(methods, "opperchat.oneshot", { "json" })
lazy.extend(methods, "opperchat.doctor", { "doctor" })

---Ends every request of this client (each with an error of kind `cancelled`),
---closes its connections and forgets the key. May be called again.
---@return boolean? closed nil: it is, but not all of it could be recorded
---@return opperchat.Error? err of kind `store`
function methods:close()
  local state = core.open(self, "client")
  if not core.client_is_closed(self) then
    if state.on_close then
      -- a host's loop lets go of the descriptor while it is still one
      state.on_close()
    end
    core.client_close(self)
    if state.secret then
      secret.release(state.secret, self)
    end
    private[self] = {}
    driver.tell(self)
  end
  local problem = core.client_record_problem(self)
  if problem then
    return nil, errors.new("store", "write_failed", state.record .. ": " .. problem)
  end
  return true
end

---The recordings of the tape (option `replay`) that no request has asked for, in
---the order in which they would be played. Of a closed client too.
---@return opperchat.Recording[] left
function methods:replay_left()
  core.open(self, "client")
  local left = core.client_left(self)
  if not left then
    errors.misuse("replay_left: the client was made without 'replay'")
  end
  return left
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
---@param given? number|{seconds?: number, budget?: number|false} see driver.poll
---@return integer active how many requests are under way
function methods:poll(given)
  return driver.poll_client(self, client.check(self), given)
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
