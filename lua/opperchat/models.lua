---The models a server has: what it lists, in one form whoever the server is.
local client = require "opperchat.client"
local core = require "opperchat.core"
local errors = require "opperchat.errors"
local json = require "opperchat.json"
local log = require "opperchat.log"
local options = require "opperchat.options"
local request = require "opperchat.request"

local models = {}

-- Seconds for which a list is taken for the present one.
local MAX_AGE = 300

-- Beyond this a double does not hold each integer.
local MAX_EXACT = 2 ^ 53

-- ---------------------------------------------------------------------------
-- Reading a list
-- ---------------------------------------------------------------------------

-- A number that is not negative; some servers write theirs as strings.
local function number(value)
  if type(value) == "string" then
    -- as JSON, which knows neither "inf" nor "0x10" nor the host's locale
    value = json.decode(value)
  end
  if type(value) == "number" and value >= 0 and value < 1 / 0 then
    return value
  end
  return nil
end

-- The first of some values that may be a number of tokens.
local function token_count(list, count)
  for i = 1, count do
    local value = number(list[i])
    if value and value >= 1 and value < MAX_EXACT then
      return math.floor(value)
    end
  end
  return nil
end

local function field_of(value, name)
  return type(value) == "table" and value[name] or nil
end

-- Each server has its own name for it.
local function context_length(raw)
  return token_count({
    raw.context_length,                             -- Opper, OpenRouter, Mistral
    raw.context_window,                             -- Opper's own API, Groq
    raw.max_model_len,                              -- vLLM
    raw.max_context_length,                         -- LM Studio
    raw.n_ctx,                                      -- llama.cpp: as it runs ...
    field_of(raw.meta, "n_ctx"),
    field_of(raw.meta, "n_ctx_train"),              -- ... and as it was trained
    field_of(raw.top_provider, "context_length"),
  }, 8)
end

-- US dollars per token. Other names than these two come with other units.
local function price(raw)
  local prompt = number(field_of(raw.pricing, "prompt"))
  local completion = number(field_of(raw.pricing, "completion"))
  if prompt or completion then
    return { prompt = prompt, completion = completion }
  end
  return nil
end

-- The first of some values that is a text.
local function text(...)
  for i = 1, select("#", ...) do
    local value = select(i, ...)
    if type(value) == "string" and value ~= "" then
      return value
    end
  end
  return nil
end

local function read_entry(raw)
  -- Ollama's own list calls it `model`, and older ones know only a `name`
  local id = type(raw) == "table" and text(raw.id, raw.model, raw.name)
  return id and {
    id = id,
    context_length = context_length(raw),
    price = price(raw),
    owned_by = text(raw.owned_by, raw.provider),
    raw = raw,
  }
end

local function is_list(value)
  return type(value) == "table" and (value[1] ~= nil or getmetatable(value) == json.array_mt)
end

-- The list in what a server sent; nil: there is none.
local function find_list(decoded)
  if type(decoded) ~= "table" then
    return nil
  end
  for _, name in ipairs { "data", "models" } do
    if is_list(decoded[name]) then
      return decoded[name]
    end
  end
  if decoded.object == "list" and decoded.data == nil then
    -- "data": null is how a server without models may say so
    return {}
  end
  return is_list(decoded) and decoded or nil
end

---Reads the answer to GET /models.
---@param source string JSON text
---@return opperchat.Model[]? list in the order of the server
---@return string? message when it is no list of models
function models.read(source)
  local decoded, problem = json.decode(source)
  if problem then
    return nil, problem
  end
  local entries = find_list(decoded)
  if not entries then
    return nil, "it is no list of models"
  end
  local list = {}
  for _, raw in ipairs(entries) do
    list[#list + 1] = read_entry(raw) or nil
  end
  if #list == 0 and #entries > 0 then
    return nil, "its models have no id"
  end
  return list
end

-- ---------------------------------------------------------------------------
-- Asking for it
-- ---------------------------------------------------------------------------

-- What the request left: a list for the client to keep, or an error.
local function take(job, state, document, err)
  state.models_job = nil
  if document then
    local list, problem = models.read(document.text)
    if list then
      state.models = { list = list, at = core.now() }
      job.list = list
      return
    end
    err = errors.new("protocol", "bad_response", "bad response: " .. problem)
    err.status, err.attempts = document.status, document.attempts
  end
  job.err = err
end

---Makes the request for a list, to be started with `request.start`.
---@param self opperchat.Client
---@param key string|userdata|false
---@param limits? table settings other than the client's
---@return opperchat.Request? sent
---@return opperchat.Error? err
function models.ask(self, key, limits)
  local state = core.state(self)
  local settings = { get = "/models", key = key or nil, headers = client.headers(self) }
  for _, from in ipairs { state.settings, limits } do
    for name, value in pairs(from) do
      settings[name] = value
    end
  end
  local setup = core.setup(self, settings)
  local sent = core.get(setup, self, client.next_id(state))
  if not sent then
    return nil, errors.new("limit", "out_of_memory", "out of memory")
  end
  if state.on_request then
    state.on_request { url = state.base_url .. "/models" }
  end
  if state.log then
    core.state(sent).log = log.sent(state.log, {
      method = "GET", url = state.base_url .. "/models", setup = setup,
    })
  end
  return sent
end

-- Sends the request, unless one is under way.
local function start(self, state, refused)
  if state.models_job then
    return state.models_job
  end
  local key, err = client.key(self, refused ~= nil, refused)
  if key == nil or refused ~= nil and key == refused then
    -- none, or none that is new
    return nil, err
  end
  local sent, problem = models.ask(self, key)
  if not sent then
    return nil, problem
  end
  local job = { request = sent, key = key }
  state.models_job = job
  request.start(sent, core.state(sent), {
    on_done = function(document, failure)
      take(job, state, document, failure)
    end,
  })
  return job
end

-- The list, as young as is asked for.
local function fetch(self, given)
  local state = client.check(self)
  local cached = state.models
  if cached and not given.refresh and core.now() - cached.at < (given.max_age or MAX_AGE) then
    return cached.list
  end
  local job, err = start(self, state)
  if not job then
    return nil, err
  end
  job.request:wait()
  if job.err and job.err.status == 401 and job.key and client.can_renew(state)
      and not core.client_is_closed(self) then
    -- the key may be another one by now
    local again = start(self, state, job.key)
    if again then
      again.request:wait()
      job = again
    end
  end
  return job.list, job.err
end

---What is known of a model without asking anybody.
---@param self opperchat.Client
---@param id string
---@return opperchat.Model? model not a copy
function models.peek(self, id)
  local cached = core.state(self).models
  for _, model in ipairs(cached and cached.list or {}) do
    if model.id == id then
      return model
    end
  end
end

---Asks for the list, once, without waiting for it.
---@param self opperchat.Client
function models.prefetch(self)
  local state = client.check(self)
  if not state.models and not state.has_asked_models then
    state.has_asked_models = true
    start(self, state)
  end
end

-- ---------------------------------------------------------------------------
-- Methods
-- ---------------------------------------------------------------------------

---@class opperchat.Client
local methods = core.methods("client")

-- The many ways to say which models are wanted, as a table of options.
local function options_of(given)
  if type(given) == "string" or type(given) == "function" then
    return { filter = given }
  elseif given ~= nil and type(given) ~= "table" then
    errors.misuse("models: string, function or table of options expected, got " .. type(given))
  end
  local valid, problem = options.check(options.models, given)
  if not valid then
    errors.misuse("models: " .. problem)
  end
  return given or {}
end

---The models the server has for this key, in its order. The list is kept for a
---while (300 s) and shared by all callers. Waits like `send`: blocking, or
---inside `go` yielding.
---@param given? string|opperchat.ModelsOptions|fun(model: opperchat.Model): any a
---text that is part of the id (upper and lower case are the same), options, or a
---function that says whether a model is wanted
---@return opperchat.Model[]? list copies: changing them changes nothing here
---@return opperchat.Error? err
function methods:models(given)
  given = options_of(given)
  local filter = given.filter
  local list, err = fetch(self, given)
  if not list then
    return nil, err
  end
  local part = type(filter) == "string" and filter:lower()
  local result = {}
  for _, model in ipairs(list) do
    if not part or model.id:lower():find(part, 1, true) then
      local copy = options.copy(model)
      if type(filter) ~= "function" or filter(copy) then
        result[#result + 1] = copy
      end
    end
  end
  return result
end

---The model with an id, from the list of `models`.
---@param id string
---@return opperchat.Model? model nil without an error: the server has none of this id
---@return opperchat.Error? err
function methods:model(id)
  if type(id) ~= "string" then
    errors.misuse("model: id expected, got " .. type(id))
  end
  local list, err = fetch(self, {})
  for _, model in ipairs(list or {}) do
    if model.id == id then
      return options.copy(model)
    end
  end
  return nil, err
end

return models
