---Options of clients, conversations and sends: what there is, what each may
---be, and what becomes of it in a request. One table says it all; the checks,
---the request body and Opper's headers follow from it.
---
---Nothing here raises: misuse comes back as `nil, message`, and the caller
---raises it at the position of its own caller.
local json = require "opperchat.json"

-- Not `next` by name in a loop: see json.lua.
local step = next

local options = {}

-- As many milliseconds as fit into 31 bits: three weeks and a half.
local MAX_SECONDS = 2147483

local MAX_TAGS = 8

-- ---------------------------------------------------------------------------
-- Names
-- ---------------------------------------------------------------------------

-- Damerau-Levenshtein distance (optimal string alignment): insertions,
-- deletions, replacements and swaps of neighbours.
local function distance(a, b)
  local before, row = nil, {}
  for j = 0, #b do
    row[j] = j
  end
  for i = 1, #a do
    local above = row
    row = { [0] = i }
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      local best = math.min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (same and 0 or 1))
      if before and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        best = math.min(best, before[j - 2] + 1)
      end
      row[j] = best
    end
    before = above
  end
  return row[#b]
end

-- maxTokens, max-tokens and max_tokens are nearly the same to who types them.
local function plain(name)
  return (name:lower():gsub("[-_ ]", ""))
end

---The name in a list that somebody may have meant.
---@param name string what was given
---@param list string[] what there is
---@return string? nearest nil when nothing is near enough
function options.nearest(name, list)
  if type(name) ~= "string" or #name > 64 then
    return nil
  end
  local best, best_distance
  local wanted = plain(name)
  for _, candidate in ipairs(list) do
    local other = plain(candidate)
    local far = distance(wanted, other)
    if far <= math.floor(math.max(#wanted, #other) / 3)
        and (not best or far < best_distance or far == best_distance and candidate < best) then
      best, best_distance = candidate, far
    end
  end
  return best
end

-- Keys in a fixed order; keys that are no strings are left out.
local function sorted_keys(given)
  local keys = {}
  for key in step, given do
    if type(key) == "string" then
      keys[#keys + 1] = key
    end
  end
  table.sort(keys)
  return keys
end

local function suggestion(name, list)
  local near = options.nearest(name, list)
  return near and " (did you mean '" .. near .. "'?)" or ""
end

-- A name for a message: foreign bytes must not break the line.
local function shown(name)
  if type(name) ~= "string" then
    return "[" .. tostring(name) .. "]"
  end
  return "'" .. name:sub(1, 64):gsub("%c", "?") .. "'"
end

-- ---------------------------------------------------------------------------
-- Kinds of values
--
-- A kind is called with a value and returns true, or false and, when it has
-- more to say than "KIND expected, got ...", a message.
-- ---------------------------------------------------------------------------

local function is_finite(value)
  return type(value) == "number" and value == value and value ~= 1 / 0 and value ~= -1 / 0
end

local function is_integer(value)
  return is_finite(value) and value % 1 == 0
end

-- What was given, without giving away a key or a prompt.
local function got(value, kind)
  if type(value) == "number" and (kind:find("^number") or kind:find("^integer")) then
    return value == value and tostring(value) or "nan"
  elseif json.is_null(value) then
    return "null"
  end
  return type(value)
end

local function is_list_of(value, wanted)
  if type(value) ~= "table" then
    return false
  end
  local count = 0
  for _, item in step, value do
    if type(item) ~= wanted then
      return false
    end
    count = count + 1
  end
  for i = 1, count do
    if value[i] == nil then
      return false
    end
  end
  return true
end

-- Header values and URLs: a line break would start another header.
local function is_clean(value)
  local at = value:find("[%z\1-\31\127]")
  if at then
    return false, "control character at byte " .. at .. (at == #value and ", the last" or "")
  end
  return true
end

local function is_clean_string(value)
  if type(value) ~= "string" then
    return false
  end
  return is_clean(value)
end

local function is_header_value(value)
  if type(value) == "string" and value == "" then
    return false, "must not be empty"
  end
  return is_clean_string(value)
end

local function is_url(value)
  if type(value) ~= "string" then
    return false
  elseif not value:find("^[Hh][Tt][Tt][Pp][Ss]?://[^/?#]") then
    return false, "must start with http:// or https:// and a host"
  end
  local at = value:find("[%z\1-\32\127]")
  if at then
    return false, "space or control character at byte " .. at
  elseif value:find("[?#]") then
    -- the path of the API is appended
    return false, "must end with the path, without '?' or '#'"
  end
  return true
end

-- The body is counted and framed below us; a second opinion in a header is how
-- requests are smuggled.
local FRAMING = { ["content-length"] = true, ["transfer-encoding"] = true }

local function is_headers(value)
  if type(value) ~= "table" then
    return false
  end
  for name, text in step, value do
    if type(name) ~= "string" or not name:find("^[!#$%%&'*+.^_`|~0-9A-Za-z-]+$") then
      return false, shown(name) .. " is not the name of a header"
    elseif type(text) ~= "string" then
      return false, shown(name) .. ": string expected, got " .. type(text)
    elseif FRAMING[name:lower()] then
      return false, shown(name) .. " cannot be set"
    end
    local clean, message = is_clean(text)
    if not clean then
      return false, shown(name) .. ": " .. message
    end
  end
  return true
end

local TIMEOUTS = { "connect", "first_token", "idle", "total" }

-- Whether all keys of a table are among `names`.
local function has_only(value, names)
  local known = {}
  for _, name in ipairs(names) do
    known[name] = true
  end
  for key in step, value do
    if not known[key] then
      return false, "unknown key " .. shown(key) .. suggestion(key, names)
    end
  end
  return true
end

local function is_timeout(value)
  if type(value) ~= "table" then
    return false
  end
  local known, message = has_only(value, TIMEOUTS)
  if not known then
    return false, message
  end
  for _, name in ipairs(TIMEOUTS) do
    local seconds = value[name]
    if seconds ~= nil and seconds ~= false
        and not (is_finite(seconds) and seconds > 0 and seconds <= MAX_SECONDS) then
      return false, ("'%s': seconds > 0 (at most %d) or false for none expected, got %s")
        :format(name, MAX_SECONDS, got(seconds, "number"))
    end
  end
  return true
end

local GUARD = { "action", "input", "output" }
local GUARD_ACTIONS = { flag = true, block = true, redact = true }

local function is_guard(value)
  if type(value) ~= "table" then
    return false
  end
  local known, message = has_only(value, GUARD)
  if not known then
    return false, message
  end
  for _, name in ipairs { "input", "output" } do
    local given = value[name]
    local rules = type(given) == "string" and { given } or given
    if rules ~= nil then
      if not is_list_of(rules, "string") or #rules == 0 then
        return false, "'" .. name .. "': string or list of strings expected, got "
          .. (is_list_of(rules, "string") and "an empty list" or type(given))
      end
      for _, rule in ipairs(rules) do
        if not rule:find("^[A-Za-z0-9_.,-]+$") then
          return false, "'" .. name .. "': " .. shown(rule) .. " is not the name of a guard"
        end
      end
    end
  end
  if value.action ~= nil and not GUARD_ACTIONS[value.action] then
    return false, "'action': \"flag\", \"block\" or \"redact\" expected, got "
      .. (type(value.action) == "string" and shown(value.action) or type(value.action))
  end
  return true
end

local function tag_text(value)
  if is_finite(value) then
    return json.encode(value)
  end
  return value
end

local function is_tags(value)
  if type(value) ~= "table" then
    return false
  end
  local count = 0
  for key, tag in step, value do
    count = count + 1
    local text = tag_text(tag)
    if type(key) ~= "string" or #key > 64 or not key:find("^[A-Za-z][A-Za-z0-9_.-]*$") then
      return false, shown(key) .. " is not the name of a tag (a letter, then at most 63 "
        .. "letters, digits, '_', '.' or '-')"
    elseif type(text) ~= "string" then
      return false, shown(key) .. ": string or number expected, got " .. type(tag)
    elseif text:find(",", 1, true) then
      return false, shown(key) .. ": ',' cannot be part of a tag"
    end
    local clean, message = is_clean(text)
    if not clean then
      return false, shown(key) .. ": " .. message
    end
  end
  if count > MAX_TAGS then
    return false, ("at most %d tags can be sent, got %d"):format(MAX_TAGS, count)
  end
  return true
end

local function is_logit_bias(value)
  if type(value) ~= "table" then
    return false
  end
  for token, bias in step, value do
    if not (type(token) == "string" or is_integer(token)) or not is_finite(bias) then
      return false, "token ids with numbers expected"
    end
  end
  return true
end

local function is_named(value)
  if type(value) ~= "table" then
    return false
  end
  for key in step, value do
    if type(key) ~= "string" then
      return false, "names expected as keys, got " .. shown(key)
    end
  end
  return true
end

-- What a conversation and a request cannot do without being in charge of.
local function is_extra(value)
  local named, message = is_named(value)
  if not named then
    return false, message
  elseif value.messages ~= nil then
    return false, "'messages' cannot be set, they are the conversation's own"
  elseif value.stream ~= nil then
    return false, "'stream' cannot be set here"
  end
  return true
end

local kinds = {
  ["string"] = function(value) return type(value) == "string" end,
  ["number"] = is_finite,
  ["boolean"] = function(value) return type(value) == "boolean" end,
  ["table"] = function(value) return type(value) == "table" end,
  ["function"] = function(value) return type(value) == "function" end,
  ["client"] = function(value) return type(value) == "userdata" and not json.is_null(value) end,
  ["integer"] = is_integer,
  ["integer >= 0"] = function(value) return is_integer(value) and value >= 0 end,
  ["integer >= 1"] = function(value)
    -- beyond it numbers cannot be told apart, and C has no room for them
    return is_integer(value) and value >= 1 and value <= 2 ^ 53
  end,
  ["number above 0, at most 1"] = function(value)
    return is_finite(value) and value > 0 and value <= 1
  end,
  ["number >= 0"] = function(value) return is_finite(value) and value >= 0 end,
  ["policy, function or list of them"] = function(value)
    return type(value) == "function" or type(value) == "table" or value == false
  end,
  ["\"assistant\", \"system\", \"developer\" or \"user\""] = function(value)
    return value == "assistant" or value == "system" or value == "developer" or value == "user"
  end,
  ["string or table"] = function(value)
    return type(value) == "string" or type(value) == "table"
  end,
  ["string or list of strings"] = function(value)
    return type(value) == "string" or is_list_of(value, "string")
  end,
  ["list of strings"] = function(value)
    return is_list_of(value, "string")
  end,
  ["list of tables"] = function(value) return is_list_of(value, "table") end,
  ["string or function"] = function(value)
    if type(value) == "function" then
      return true
    end
    return is_clean_string(value)
  end,
  ["string without control characters"] = is_clean_string,
  ["non-empty string"] = is_header_value,
  ["URL"] = is_url,
  ["table of headers"] = is_headers,
  ["table of seconds"] = is_timeout,
  ["table of guards"] = is_guard,
  ["table of tags"] = is_tags,
  ["table of token ids"] = is_logit_bias,
  ["table with names"] = is_named,
  ["table of body fields"] = is_extra,
}

-- ---------------------------------------------------------------------------
-- The options
-- ---------------------------------------------------------------------------

-- Fields of the request body: options of a conversation and of one send.
local BODY = {
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

-- A send takes these away with null.
local CAN_BE_REMOVED = { schema = true, policy = true }
for name in step, BODY do
  CAN_BE_REMOVED[name] = true
end

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
options.client = {
  place = "opperchat.client{...}",
  body = false,
  known = join(HEADERS, {
    api_key = "string or function",
    base_url = "URL",
    headers = "table of headers",
    timeout = "table of seconds",
    max_connections = "integer >= 1",
    max_response_bytes = "integer >= 1",
    max_buffered_bytes = "integer >= 1",
    proxy = "string without control characters",
    ca_file = "string without control characters",
    http2 = "boolean",
    on_request = "function",
    on_retry = "function",
    max_retries = "integer >= 0",
    retry_budget = "integer >= 0",
  }),
}

---Options of `opperchat.conversation{...}`.
---@type opperchat.OptionSet
options.conversation = {
  place = "opperchat.conversation{...}",
  body = true,
  known = join(HEADERS, BODY, RECEIVING, KEEPING, {
    client = "client",
    system = "string or table",
    messages = "list of tables",
    trace_id = "non-empty string",
  }),
}

---Options of one `send`.
---@type opperchat.OptionSet
options.send = {
  place = "send(prompt, {...})",
  body = true,
  known = join(BODY, RECEIVING, HANDLERS),
}

---Options of one `run`.
---@type opperchat.OptionSet
options.run = {
  place = "run(prompt, {...})",
  body = true,
  known = join(BODY, RECEIVING, HANDLERS, {
    max_steps = "integer >= 1",
    on_tool = "function",
    confirm = "function",
  }),
}

---Options of one `client:json`.
---@type opperchat.OptionSet
options.json = {
  place = "client:json{...}",
  body = true,
  known = join(HEADERS, BODY, RECEIVING, HANDLERS, {
    instructions = "string or table",
    input = "string or table",
    trace_id = "non-empty string",
  }),
}

---Options of one `client:models`.
---@type opperchat.OptionSet
options.models = {
  place = "client:models{...}",
  body = false,
  known = {
    filter = "string or function",
    refresh = "boolean",
    max_age = "number",
  },
}

local SETS = {
  options.client, options.conversation, options.send, options.run, options.json,
}

-- Only the option that somebody most likely meant is named: of this call, then
-- of another one.
local function unknown_option(set, name)
  local message = "unknown option " .. shown(name)
  if type(name) ~= "string" then
    return message .. ": options have names"
  end
  for _, other in ipairs(SETS) do
    if other ~= set and other.known[name] then
      return message .. ": it belongs to " .. other.place
    end
  end
  local here = suggestion(name, sorted_keys(set.known))
  if here ~= "" then
    return message .. here
  end
  for _, other in ipairs(SETS) do
    local near = options.nearest(name, sorted_keys(other.known))
    if near then
      return ("%s (did you mean '%s' of %s?)"):format(message, near, other.place)
    end
  end
  if set.body then
    message = message .. " (other fields of the request body go into extra = {...})"
  end
  return message
end

---Checks a table of options.
---
---Where options of the request body are allowed, each of them and `schema` may
---also be `opperchat.null`: in a send it removes what the conversation says.
---@param set opperchat.OptionSet `options.client`, `options.conversation` or `options.send`
---@param given? table
---@return true? valid
---@return string? message
function options.check(set, given)
  if given == nil then
    return true
  elseif type(given) ~= "table" then
    return nil, "table of options expected, got " .. got(given, "")
  end
  for name in step, given do
    if type(name) ~= "string" then
      return nil, unknown_option(set, name)
    end
  end
  for _, name in ipairs(sorted_keys(given)) do
    local kind = set.known[name]
    if not kind then
      return nil, unknown_option(set, name)
    end
    local value = given[name]
    if not (set.body and CAN_BE_REMOVED[name] and json.is_null(value)) then
      local valid, message = kinds[kind](value)
      if not valid then
        return nil, ("option '%s': %s"):format(name,
          message or kind .. " expected, got " .. got(value, kind))
      end
    end
  end
  return true
end

-- ---------------------------------------------------------------------------
-- What becomes of them
-- ---------------------------------------------------------------------------

-- Token ids are numbers to people and strings in JSON.
local function with_string_keys(map)
  local result = {}
  for key, value in step, map do
    result[type(key) == "number" and json.encode(key) or key] = value
  end
  return result
end

-- Servers refuse `"tools":[]`; a send that says so wants none.
local function is_empty_list(value)
  return type(value) == "table" and next(value) == nil
end

-- Nothing in options is nested as deeply; what writes them says so.
local MAX_DEPTH = 128

-- Copies a table, with its mark as a list but no other metatable. One that
-- contains itself does so in the copy, too.
local function copy_table(value, seen, depth)
  if seen[value] then
    return seen[value]
  end
  local result = {}
  seen[value] = result
  for name, item in step, value do
    if type(item) == "table" and depth < MAX_DEPTH then
      item = copy_table(item, seen, depth + 1)
    end
    result[name] = item
  end
  return json.copy_mark(value, result)
end

---A copy of options: a caller who changes his table later changes nothing here,
---and nothing unchecked gets in. Functions and userdata stay what they are.
---@generic T
---@param value T
---@return T
function options.copy(value)
  return type(value) == "table" and copy_table(value, {}, 1) or value
end

---The fields of a request body. A send's options go before the
---conversation's, `opperchat.null` in a send removes the conversation's, and
---what stands in `extra` (the conversation's, then the send's, where null is
---sent as null) comes last. Empty `tools` and `stop` are left out.
---@param conversation? table checked options; others than body options are ignored
---@param send? table the same of one send
---@return table<string, any> fields new, but the values are not copied
function options.body(conversation, send)
  local fields, extras = {}, {}
  for _, given in ipairs { conversation or {}, send or {} } do
    for name in step, BODY do
      local value = given[name]
      if name == "extra" then
        if json.is_null(value) then
          extras = {}
        elseif value ~= nil then
          extras[#extras + 1] = value
        end
      elseif json.is_null(value) then
        fields[name] = nil
      elseif value ~= nil then
        fields[name] = value
      end
    end
  end
  if fields.logit_bias then
    fields.logit_bias = with_string_keys(fields.logit_bias)
  end
  for _, name in ipairs { "tools", "stop" } do
    if is_empty_list(fields[name]) then
      fields[name] = nil
    end
  end
  for _, extra in ipairs(extras) do
    for name, value in step, extra do
      fields[name] = value
    end
  end
  return fields
end

---The fields of a request body as JSON text without the braces around it,
---`model` first and the others sorted; "" when there are none.
---@param fields table<string, any>
---@return string? text
---@return string? message names the field that cannot be written
function options.encode(fields)
  local written, text = pcall(json.encode, fields)
  if not written then
    return nil, text
  elseif text:sub(1, 1) ~= "{" then
    return nil, "the fields of a request body need names"
  end
  return text:sub(2, -2)
end

local function guard_text(rules)
  return type(rules) == "table" and table.concat(rules, ",") or rules
end

---Opper's headers of a request, each as "Name: value".
---@param settings? table checked options with `name`, `tags`, `guard` and `trace_id`
---@param over? table the same, going before `settings`; tags are put together
---@return string[]? headers always in the same order
---@return string? message when there are too many tags together
function options.headers_for(settings, over)
  settings, over = settings or {}, over or {}
  local headers = {}
  local function add(header, value)
    if value ~= nil then
      headers[#headers + 1] = header .. ": " .. value
    end
  end

  add("X-Opper-Name", over.name or settings.name)

  local tags = join(settings.tags or {}, over.tags or {})
  local pairs_of_tags = {}
  for i, key in ipairs(sorted_keys(tags)) do
    pairs_of_tags[i] = key .. ":" .. tag_text(tags[key])
  end
  if #pairs_of_tags > MAX_TAGS then
    return nil, ("option 'tags': at most %d tags can be sent, got %d together with the client's")
      :format(MAX_TAGS, #pairs_of_tags)
  elseif #pairs_of_tags > 0 then
    add("X-Opper-Tags", table.concat(pairs_of_tags, ","))
  end

  local guard = over.guard or settings.guard or {}
  add("X-Opper-Guard-Input", guard_text(guard.input))
  add("X-Opper-Guard-Output", guard_text(guard.output))
  add("X-Opper-Guard-Action", guard.action)

  add("X-Opper-Trace-Id", over.trace_id or settings.trace_id)
  return headers
end

return options
