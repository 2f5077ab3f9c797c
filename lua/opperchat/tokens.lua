---Tokens: how large the next request of a conversation is.
---
---No tokenizer is right for every model behind a gateway. So the core estimates
---each message once, when it is made; what each reply reports then corrects the
---estimates: as a number that is exact for the messages it was told of, and as a
---ratio, for each model of a client, for all others.
local content = require "opperchat.content"
local core = require "opperchat.core"
local errors = require "opperchat.errors"
local json = require "opperchat.json"

---@class opperchat.Tokens
---@field count fun(text: string, model?: string): number tokens of a text. To be replaced by
---an exact tokenizer.
local tokens = {}

---Estimated tokens of a text.
---@param text string UTF-8
---@return integer
function tokens.count(text)
  if type(text) ~= "string" then
    errors.misuse("tokens.count: string expected, got " .. type(text))
  end
  return core.estimate(text)
end

local own_count = tokens.count

---Whether a program counts for itself.
---@return boolean
function tokens.is_custom()
  return tokens.count ~= own_count
end

-- ---------------------------------------------------------------------------
-- Counting with a program's own function
-- ---------------------------------------------------------------------------

-- A number for each function that has ever counted; 0 is the core.
local counters, last_counter = setmetatable({}, { __mode = "k" }), 0

local function counter_of(fn)
  if fn == own_count then
    return 0
  elseif not counters[fn] then
    last_counter = last_counter + 1
    counters[fn] = last_counter
  end
  return counters[fn]
end

local function call_count(text, model)
  if text == "" then
    return 0
  end
  local number = tokens.count(text, model)
  if type(number) ~= "number" or number ~= number or number < 0 then
    errors.misuse("tokens.count: a number of tokens expected, got "
      .. (type(number) == "number" and tostring(number) or type(number)))
  end
  return math.ceil(number)
end

local MEDIA = { file = core.TOKENS_FILE, input_audio = core.TOKENS_AUDIO }

local function count_media(value)
  local sum = 0
  for _, part in ipairs(type(value) == "table" and value or {}) do
    if part.type == "image_url" then
      local image = part.image_url
      local is_low = type(image) == "table" and image.detail == "low"
      sum = sum + (is_low and core.TOKENS_IMAGE_LOW or core.TOKENS_IMAGE)
    end
    sum = sum + (MEDIA[part.type] or 0)
  end
  return sum
end

-- The same sum that the core makes, with the program's count of each text.
local function count_message(message, model)
  local sum = core.TOKENS_MESSAGE + call_count(content.text(message.content), model)
    + count_media(message.content)
  for _, call in ipairs(message.tool_calls or {}) do
    local fn = call["function"] or call.custom or {}
    local given = fn.arguments or fn.input
    sum = sum + core.TOKENS_CALL + call_count(tostring(fn.name or ""), model)
      + (type(given) == "string" and call_count(given, model) or 0)
  end
  return sum
end

---Has every message of a list counted by whoever counts now. Costs nothing
---unless a program counts, or did before.
---@param list opperchat.Conversation
---@param model? string
function tokens.settle(list, model)
  local counter = counter_of(tokens.count)
  if counter == 0 and last_counter == 0 then
    return
  end
  local at = core.uncounted(list, counter, 1)
  while at do
    if counter == 0 then
      core.measure(list, at)
    else
      local message = json.decode((core.message_json(list, at)))
      core.set_tokens(list, at, count_message(message, model), counter)
    end
    at = core.uncounted(list, counter, at + 1)
  end
  core.recount(list)
end

---Tokens of the parts of a request that are no messages: tools and the shape of
---the answer.
---@param fields table<string, any> fields of the body
---@param model? string
---@return integer
function tokens.of_fields(fields, model)
  local sum = 0
  for _, name in ipairs { "tools", "response_format" } do
    local value = fields[name]
    if type(value) == "table" and not json.is_null(value) then
      sum = sum + call_count(json.encode(value), model)
    end
  end
  return sum
end

-- ---------------------------------------------------------------------------
-- What replies teach
-- ---------------------------------------------------------------------------

-- So much of what earlier requests said still counts beside the next one.
local MEMORY = 0.7
-- A server that says more or less than this times the estimate counts something
-- else ...
local MIN_RATIO, MAX_RATIO = 0.2, 5
-- ... unless it has put so many tokens of its own in front.
local MAX_HIDDEN = 4000

-- What is known of each model, in the state of its client. Who counts makes a
-- difference, too.
local function ratios_of(client, model)
  local state = core.state(client)
  state.token_ratios = state.token_ratios or {}
  return state.token_ratios, counter_of(tokens.count) .. ":" .. (model or "")
end

---By how much the estimates for a model have to be multiplied.
---@param client opperchat.Client
---@param model? string
---@return number? ratio nil: no reply has told yet
function tokens.ratio(client, model)
  local ratios, key = ratios_of(client, model)
  local known = ratios[key]
  return known and known.measured / known.estimated
end

---What a conversation remembers of its last reply.
---@class opperchat.TokenAnchor
---@field list opperchat.Conversation the messages that were counted
---@field tokens number what the server said they are
---@field model string
---@field fields integer estimate of the other parts of that request

-- What an answer costs from now on. Reasoning is not sent again, but not every
-- server says how much of it there was.
local function answer_tokens(usage, estimated, ratio)
  local measured = usage.completion_tokens
  estimated = estimated * ratio
  if measured then
    measured = measured - (usage.reasoning_tokens or 0) + core.TOKENS_MESSAGE
    if measured >= estimated * MIN_RATIO and measured <= estimated * MAX_RATIO then
      return measured
    end
  end
  return math.max(estimated, 0)
end

---Learns from a reply.
---@param chat opperchat.Conversation it is at the end of its list already
---@param client opperchat.Client
---@param usage opperchat.Usage
---@param sent {messages: integer, fields: integer, model?: string} estimates of the request
function tokens.learn(chat, client, usage, sent)
  tokens.settle(chat, sent.model)
  local measured = usage.prompt_tokens
  local estimated = sent.messages + sent.fields + core.TOKENS_REQUEST
  if not measured or measured < estimated * MIN_RATIO
      or measured > estimated * MAX_RATIO + MAX_HIDDEN then
    return
  end
  if measured <= estimated * MAX_RATIO then
    local ratios, key = ratios_of(client, sent.model)
    local known = ratios[key] or { measured = 0, estimated = 0 }
    known.measured = known.measured * MEMORY + measured
    known.estimated = known.estimated * MEMORY + estimated
    ratios[key] = known
  end

  -- a new one: forks may go on with the one before
  core.state(chat).anchor = {
    list = core.fork(chat), model = sent.model or "", fields = sent.fields,
    tokens = measured + answer_tokens(usage, core.tokens(chat) - sent.messages,
      tokens.ratio(client, sent.model) or 1),
  }
end

---How many tokens a request with these messages has.
---@param list opperchat.Conversation
---@param of {anchor?: opperchat.TokenAnchor, client: opperchat.Client, model?: string,
---fields: integer}
---@return integer tokens
---@return "measured"|"corrected"|"counted"|"estimated" how: by the server, for just these
---messages; by what it said of others; by the program's own function; by the core
function tokens.of_request(list, of)
  tokens.settle(list, of.model)
  local sum, ratio = core.tokens(list), tokens.ratio(of.client, of.model)
  local anchor = of.anchor
  if anchor and anchor.model == (of.model or "")
      and core.common(list, anchor.list) == #anchor.list then
    if last_counter > 0 then
      core.recount(anchor.list)
    end
    local more = sum - core.tokens(anchor.list) + of.fields - anchor.fields
    return math.max(math.floor(anchor.tokens + more * (ratio or 1) + 0.5), 0),
      more == 0 and #list == #anchor.list and "measured" or "corrected"
  end
  sum = sum + of.fields + core.TOKENS_REQUEST
  if ratio then
    return math.floor(sum * ratio + 0.5), "corrected"
  end
  return sum, tokens.is_custom() and "counted" or "estimated"
end

return tokens
