---The conversation: a list of messages, the options sent with it, and what
---can be done with both.
local client = require "opperchat.client"
local core = require "opperchat.core"
local errors = require "opperchat.errors"
local json = require "opperchat.json"
local message = require "opperchat.message"
local options = require "opperchat.options"
local request = require "opperchat.request"

local misuse = errors.misuse

local conversation = {}

---@class opperchat.Conversation
local methods = core.methods("conversation")

local function open(self)
  return core.open(self, "conversation")
end

local function new_usage()
  return {
    requests = 0, prompt_tokens = 0, completion_tokens = 0, total_tokens = 0,
    cached_tokens = 0, reasoning_tokens = 0, cost = 0,
  }
end

local function copy(given)
  local result = {}
  for name, value in pairs(given or {}) do
    result[name] = value
  end
  return result
end

-- The state of a new conversation, from checked options.
local function set_up(self, given)
  if given.client and core.kind(given.client) ~= "client" then
    misuse("conversation: option 'client': client expected, got %s",
      core.kind(given.client) or type(given.client))
  end
  local state = core.state(self)
  state.options = options.copy(given)
  state.trace_id = given.trace_id or core.uuid()
  state.usage = new_usage()
  local fields, problem = options.encode(options.body(given))
  if not fields then
    misuse("conversation: " .. problem)
  end
  state.fields = fields
  return self
end

---Makes a conversation.
---@param given? opperchat.ConversationOptions
---@return opperchat.Conversation
function conversation.new(given)
  local valid, problem = options.check(options.conversation, given)
  if not valid then
    misuse("conversation: " .. problem)
  end
  given = copy(given)
  local system, messages = given.system, given.messages
  given.system, given.messages = nil, nil

  local self = set_up(core.conversation(), given)
  if system ~= nil then
    self:append("system", system)
  end
  if messages then
    self:splice(#self + 1, #self, messages)
  end
  return self
end

-- ---------------------------------------------------------------------------
-- Appending and editing
-- ---------------------------------------------------------------------------

---Adds a message at the end.
---
---`append(role, content[, fields])` or `append(message)`; the content is a
---string, a part, or a list of both, and `fields` has the message's other
---fields, such as `tool_call_id`.
---@param role string|table
---@param content? any
---@param fields? table
---@return opperchat.Conversation self
function methods:append(role, content, fields)
  local appended, code, text, detail
  if type(role) == "string" and type(content) == "string" and fields == nil and role ~= "tool" then
    appended, code, text, detail = core.append_text(self, role, content)
    if code == "unknown_role" then
      text = select(2, message.check_role(role))
    end
  else
    open(self)
    local encoded, problem
    if type(role) == "table" and content == nil and fields == nil then
      encoded, problem = message.encode_table(role)
    elseif fields ~= nil and type(fields) ~= "table" then
      problem = "fields: table expected, got " .. type(fields)
    else
      encoded, problem = message.encode(role, content, fields)
    end
    if not encoded then
      misuse("append: " .. problem)
    end
    appended, code, text, detail = core.append_json(self, encoded)
  end
  if not appended then
    misuse("append: " .. message.problem(code, text, detail))
  end
  return self
end

-- A position in a list of `count`: negative ones count from the end.
local function position(value, default, count, what)
  if value == nil then
    value = default
  elseif type(value) ~= "number" or value % 1 ~= 0 then
    misuse("%s: integer expected, got %s", what,
      type(value) == "number" and tostring(value) or type(value))
  end
  return value < 0 and value + count + 1 or value
end

---Replaces the messages `i` to `j` by others. `j = i - 1` only inserts.
---
---The list stays as it is, and an error is raised, when a tool call would lose
---its result or a result its call.
---@param i integer negative ones count from the end
---@param j integer
---@param messages? table[]
---@return opperchat.Conversation self
function methods:splice(i, j, messages)
  open(self)
  local count = #self
  i = position(i, 1, count, "splice: i")
  j = position(j, i - 1, count, "splice: j")
  if i < 1 or i > count + 1 or j < i - 1 or j > count then
    misuse("splice: messages %.14g to %.14g of %d do not exist", i, j, count)
  end
  if messages ~= nil and type(messages) ~= "table" then
    misuse("splice: list of messages expected, got " .. type(messages))
  end
  local encoded = {}
  for at, given in ipairs(messages or {}) do
    local text, problem = message.encode_table(given)
    if not text then
      misuse("messages[%d]: %s", at, problem)
    end
    encoded[at] = text
  end
  for key in pairs(messages or {}) do
    if not encoded[key] then
      misuse("splice: list of messages expected, got a table with the key " .. tostring(key))
    end
  end
  local done, code, text, detail, at = core.splice(self, i, j - i + 1, encoded)
  if not done then
    if at and (code == "orphan_result" or code == "open_call") then
      -- an index of the resulting list: say what the caller can look up
      local own = at - i + 1
      local place = own >= 1 and own <= #encoded and ("messages[%d]"):format(own)
        or ("message %d of the result"):format(at)
      misuse("%s: %s", place, message.problem(code, text, detail))
    end
    misuse("messages[%d]: %s", at or 0, message.problem(code, text, detail))
  end
  return self
end

---Takes back the last turns: each user message with everything behind it.
---@param n? integer how many, 1 when left out
---@return opperchat.Conversation self
function methods:undo(n)
  open(self)
  if n ~= nil and (type(n) ~= "number" or n % 1 ~= 0 or n < 0) then
    misuse("undo: number of turns expected, got "
      .. (type(n) == "number" and tostring(n) or type(n)))
  end
  local first = core.turn(self, n or 1)
  core.cut(self, first - 1)
  return self
end

---Drops all turns. The head (system and developer messages at the beginning)
---stays.
---@return opperchat.Conversation self
function methods:clear()
  open(self)
  core.cut(self, core.head(self))
  return self
end

---Another conversation that begins with the same messages and options. It is
---cheap: the messages are shared, and none is copied.
---@param given? opperchat.ConversationOptions what is to be different
---@return opperchat.Conversation
function methods:fork(given)
  local state = open(self)
  local valid, problem = options.check(options.conversation, given)
  if not valid then
    misuse("fork: " .. problem)
  elseif given and (given.system ~= nil or given.messages ~= nil) then
    misuse("fork: a fork begins with the messages of its origin; append to it or splice it")
  end
  local merged = copy(state.options)
  for name, value in pairs(given or {}) do
    merged[name] = value
  end
  return set_up(core.fork(self), merged)
end

-- ---------------------------------------------------------------------------
-- Reading
-- ---------------------------------------------------------------------------

---The messages from `i` to `j` as Lua tables. They are copies: changing them
---changes nothing.
---@param i? integer 1 when left out; negative ones count from the end
---@param j? integer -1 when left out
---@return table[]
function methods:messages(i, j)
  open(self)
  local count = #self
  local first = math.max(position(i, 1, count, "messages: i"), 1)
  local last = math.min(position(j, -1, count, "messages: j"), count)
  local result = {}
  for at = first, last do
    result[#result + 1] = json.decode((core.message_json(self, at)))
  end
  return result
end

---The last message.
---@return table?
function methods:last()
  open(self)
  local text = core.message_json(self, -1)
  return text and json.decode(text)
end

---What all requests of this conversation took together.
---@return opperchat.Usage usage with `requests`; cost in US dollars
function methods:usage()
  return copy(open(self).usage)
end

-- ---------------------------------------------------------------------------
-- Sending
-- ---------------------------------------------------------------------------

-- A prompt as the core wants it: a text, or a list of messages as JSON text.
local function encode_prompt(prompt)
  if type(prompt) == "string" then
    return prompt
  elseif prompt == nil then
    return {}
  end
  local text, problem = message.encode("user", prompt)
  if not text then
    misuse("send: " .. problem:gsub("^content", "prompt"))
  end
  return { text }
end

-- Asks for usage at the end of a stream, unless told otherwise.
local function add_stream(fields, state, given)
  fields.stream = true
  local include_usage = given and given.include_usage
  if include_usage == nil then
    include_usage = state.options.include_usage
  end
  if include_usage ~= false and fields.stream_options == nil then
    fields.stream_options = { include_usage = true }
  end
end

-- The JSON fields of the request body. The two that a conversation needs most
-- often are kept.
local function encode_fields(state, given, is_stream)
  local is_plain = given == nil or next(given) == nil
  local cached = is_plain and (is_stream and state.stream_fields or not is_stream and state.fields)
  if cached then
    return cached
  end
  local fields = options.body(state.options, given)
  if is_stream then
    add_stream(fields, state, given)
  end
  local text, problem = options.encode(fields)
  if not text then
    misuse("send: " .. problem)
  end
  if is_plain and is_stream then
    state.stream_fields = text
  end
  return text
end

local function check_given(given, what)
  local valid, problem = options.check(options.send, given)
  if not valid then
    misuse(what .. ": " .. problem)
  end
end

local function refuse(code, text, detail)
  if code == "open_call" then
    misuse("send: the tool call '%s' has no result yet: append it with "
      .. "append(\"tool\", result, {tool_call_id = ...})", message.id(detail))
  end
  misuse("send: " .. message.problem(code, text, detail):gsub("^content", "prompt"))
end

---The exact body that `send` would post.
---@param prompt? any
---@param given? table
---@return string json
function methods:preview(prompt, given)
  local state = open(self)
  check_given(given, "preview")
  local is_stream = given
    and (given.stream or given.on_delta ~= nil or given.on_event ~= nil) or false
  local fields, prompts = encode_fields(state, given, is_stream), encode_prompt(prompt)
  local text, code, problem, detail = core.body(self, fields, prompts)
  if not text then
    refuse(code, problem, detail)
  end
  return text
end

-- All headers of a request but those the core adds.
local function headers_of(state, client_state)
  local opper = client_state.opper
  local given = state.options
  local lines, problem = options.headers_for(opper, {
    name = given.name, tags = given.tags, guard = given.guard, trace_id = state.trace_id,
  })
  if not lines then
    misuse("send: " .. problem)
  end
  -- the client's own take the place of ours
  local result, taken = {}, {}
  for i, line in ipairs(client_state.headers) do
    result[i] = line
    taken[line:match("^[^:;]*"):lower()] = true
  end
  for _, line in ipairs(lines) do
    if not taken[line:match("^[^:]*"):lower()] then
      result[#result + 1] = line
    end
  end
  return result
end

-- What all requests of the conversation have in common. It is made again for
-- each request only when the key may be another one each time.
local function setup_of(state, own_client, client_state)
  if state.setup and state.setup_client == own_client then
    return state.setup
  end
  local key, err = client.key(own_client)
  if key == nil then
    return nil, err
  end
  local settings = copy(client_state.settings)
  settings.key = key or nil
  settings.headers = headers_of(state, client_state)
  local setup = core.setup(own_client, settings)
  if not key then
    state.setup, state.setup_client = setup, own_client
  end
  return setup
end

-- Makes a request and sends it.
local function start(self, prompt, given, is_stream)
  local state = open(self)
  local own_client = state.options.client or client.default()
  local client_state = client.check(own_client)
  if core.is_busy(self) then
    misuse("conversation is busy: a request is in flight "
      .. "(wait for it, cancel it, or send on a fork)")
  end
  local fields = encode_fields(state, given, is_stream)
  if prompt == nil and #self == 0 then
    misuse("send: nothing to send: give a prompt or append a message")
  end
  local setup, err = setup_of(state, own_client, client_state)
  if not setup then
    return nil, err
  end

  local id = client_state.last_id % 2 ^ 30 + 1
  client_state.last_id = id
  local keep_partial = given and given.keep_partial
  if keep_partial == nil then
    keep_partial = state.options.keep_partial
  end
  local sent, code, problem, detail = core.request(setup, own_client, self, fields,
    encode_prompt(prompt), is_stream, id, keep_partial)
  if not sent then
    refuse(code, problem, detail)
  end
  if client_state.on_request then
    client_state.on_request {
      conversation = self, url = client_state.base_url .. "/chat/completions",
    }
  end
  state.in_flight = sent
  request.start(sent, id, given)
  return sent
end

---Sends the list, with `prompt` as a user message at its end, and waits for
---the answer. Both are added to the list together when the answer is complete;
---on any failure the list is as it was before.
---@param prompt? any a string, a part, or a list of both; nil: the list as it is
---@param given? opperchat.SendOptions
---@return opperchat.Reply? reply
---@return opperchat.Error? err
function methods:send(prompt, given)
  check_given(given, "send")
  local is_stream = given and (given.stream or given.on_delta ~= nil or given.on_event ~= nil)
  local sent, err = start(self, prompt, given, is_stream or false)
  if not sent then
    return nil, err
  end
  return sent:wait()
end

---The same without waiting. The answer comes as a stream: `on_delta(text)` gets
---its text piece by piece, `on_event(event, request)` reasoning and tool calls as
---well, `on_done(reply, err)` the ending, once. They are called from `poll`, never
---from here.
---@param prompt? any
---@param given? opperchat.SendOptions
---@return opperchat.Request? request
---@return opperchat.Error? err
function methods:start(prompt, given)
  check_given(given, "start")
  return start(self, prompt, given, not (given and given.stream == false))
end

---Sends the list and returns what to loop over:
---`for text in chat:stream("Hi") do io.write(text) end`. What goes wrong is
---raised, as an error of the usual kind, by this or by the loop.
---@param prompt? any
---@param given? opperchat.SendOptions
---@return opperchat.Request
function methods:stream(prompt, given)
  check_given(given, "stream")
  local sent, err = start(self, prompt, given, not (given and given.stream == false))
  if not sent then
    error(err, 0)
  end
  return sent
end

---Drops the messages and cancels a request in flight. May be called again.
function methods:close()
  local kind, is_open = core.kind(self)
  if kind ~= "conversation" then
    open(self)
  elseif is_open then
    local in_flight = core.state(self).in_flight
    core.conversation_close(self)
    if in_flight and core.kind(in_flight) then
      in_flight:cancel()
    end
  end
end

-- `local chat <close> = ...`
core.set_close("conversation", function(self)
  methods.close(self)
end)

return conversation
