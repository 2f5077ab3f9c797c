---Which options there are, of each call, and of which kind each is: a key of
---`known` in options_kinds.lua.

-- Not `next` by name in a loop: see json.lua.
local step = next

local sets = {}

---Fields of the request body: options of a conversation and of one send.
sets.BODY = {
  model = "string",
  temperature = "number",
  top_p = "number",
  max_tokens = "integer",             -- -1 is "no limit" to some servers
  max_completion_tokens = "integer",
  stop = "string or list of strings",
  seed = "integer",
  frequency_penalty = "number",
  presence_penalty = "number",
  reasoning_effort = "string",
  verbosity = "string",
  response_format = "table",
  tools = "table",
  tool_choice = "string or table",
  parallel_tool_calls = "boolean",
  user = "string",
  metadata = "table with names",
  logit_bias = "table of token ids",
  logprobs = "boolean",
  top_logprobs = "integer >= 0",
  service_tier = "string",
  store = "boolean",
  prompt_cache_key = "string",
  extra = "table of body fields",
}

-- Opper's headers: options of a client and of a conversation.
local HEADERS = {
  name = "non-empty string",
  tags = "table of tags",
  guard = "table of guards",
}

-- How an answer is received: options of a conversation and of one send.
local RECEIVING = {
  include_usage = "boolean",
  keep_partial = "boolean",
  schema = "table",
  schema_retries = "integer >= 0",
  fallback_models = "list of strings",
}

-- How a conversation is kept short, cheap and on disk.
local KEEPING = {
  policy = "policy, function or list of them",
  context_window = "integer >= 1",
  on_drop = "function",
  on_compact = "function",
  max_cost = "number >= 0",
  max_tokens_total = "integer >= 0",
  journal = "string without control characters",
  sync = "boolean",
}

-- What belongs to one send alone.
local HANDLERS = {
  stream = "boolean",
  on_delta = "function",
  on_event = "function",
  on_done = "function",
  on_retry = "function",
}

local function join(...)
  local result = {}
  for _, part in ipairs { ... } do
    for name, kind in step, part do
      result[name] = kind
    end
  end
  return result
end

---@class opperchat.OptionSet
---@field place string the call whose options they are
---@field known table<string, string> kind of each option by name
---@field body boolean whether options of the request body are among them

---Options of `opperchat.client{...}`.
---@type opperchat.OptionSet
sets.client = {
  place = "opperchat.client{...}",
  body = false,
  known = join(HEADERS, {
    api_key = "string, function or secret",
    base_url = "URL",
    headers = "table of headers",
    timeout = "table of seconds",
    max_connections = "integer >= 1",
    max_response_bytes = "integer >= 1",
    max_buffered_bytes = "integer >= 1",
    proxy = "string without control characters",
    no_proxy = "string or list of hosts",
    proxy_ca_file = "string without control characters",
    ca_file = "string without control characters",
    ca_path = "string without control characters",
    client_cert = "string without control characters",
    client_key = "string without control characters",
    client_key_password = "string without control characters",
    insecure_skip_verify = "boolean",
    debug = "boolean, 1, 2 or function",
    http2 = "boolean",
    on_request = "function",
    on_retry = "function",
    max_retries = "integer >= 0",
    retry_budget = "integer >= 0",
    record = "non-empty string",
    replay = "non-empty string",
    replay_speed = "number > 0 or \"instant\"",
    replay_match = "\"exact\" or \"order\"",
  }),
}

---Options of `opperchat.conversation{...}`.
---@type opperchat.OptionSet
sets.conversation = {
  place = "opperchat.conversation{...}",
  body = true,
  known = join(HEADERS, sets.BODY, RECEIVING, KEEPING, {
    client = "client",
    system = "string or table",
    messages = "list of tables",
    trace_id = "non-empty string",
  }),
}

---Options of one `send`.
---@type opperchat.OptionSet
sets.send = {
  place = "send(prompt, {...})",
  body = true,
  known = join(sets.BODY, RECEIVING, HANDLERS),
}

---Options of one `run`.
---@type opperchat.OptionSet
sets.run = {
  place = "run(prompt, {...})",
  body = true,
  known = join(sets.BODY, RECEIVING, HANDLERS, {
    max_steps = "integer >= 1",
    on_tool = "function",
    confirm = "function",
  }),
}

---Options of one `client:json`.
---@type opperchat.OptionSet
sets.json = {
  place = "client:json{...}",
  body = true,
  known = join(HEADERS, sets.BODY, RECEIVING, HANDLERS, {
    instructions = "string or table",
    input = "string or table",
    trace_id = "non-empty string",
  }),
}

---Options of one `client:models`.
---@type opperchat.OptionSet
sets.models = {
  place = "client:models{...}",
  body = false,
  known = {
    filter = "string or function",
    refresh = "boolean",
    max_age = "number",
  },
}

---Options of `opperchat.doctor`.
---@type opperchat.OptionSet
sets.doctor = {
  place = "opperchat.doctor{...}",
  body = false,
  known = {
    client = "client",
    model = "string",
    stream = "boolean",
    tools = "boolean",
    timeout = "number >= 0",
    write = "function or false",
  },
}

return sets
