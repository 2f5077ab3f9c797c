---Tokens: how large the next request of a conversation is.
---
---No tokenizer is right for every model behind a gateway. So the core estimates
---each message once, when somebody asks; what each reply reports then corrects the
---estimates: as a number that is exact for the messages it was told of, and as a
---ratio, for each model of a client, for all others.
local core = require "opperchat.core"
local counting = require "opperchat.counter"
local errors = require "opperchat.errors"
local json = require "opperchat.json"
local lazy = require "opperchat.lazy"
local options = require "opperchat.options"

local content = lazy.module "opperchat.content"
local window = lazy.module "opperchat.window"

local tokens = {}

local public, own_count = counting.public, counting.own

---Whether a program counts for itself.
---@return boolean
function tokens.is_custom()
  return public.count ~= own_count and public.count ~= nil
end

-- ---------------------------------------------------------------------------
-- Counting with a program's own function
-- ---------------------------------------------------------------------------

-- A number for each function and model that has ever been counted for; 0 is
-- the core.
local counters, last_counter = setmetatable({}, { __mode = "k" }), 0

-- Who counts now. Taking a function of one's own away brings the core's back.
local function current()
  local fn = public.count
  if fn == nil then
    public.count = own_count
    return own_count
  elseif type(fn) ~= "function" then
    errors.misuse("tokens.count: function expected, got " .. type(fn))
  end
  return fn
end

local function counter_of(model)
  local fn = current()
  if fn == own_count then
    return 0
  end
  local known = counters[fn] or {}
  counters[fn] = known
  model = model or ""
  if not known[model] then
    last_counter = last_counter + 1
    known[model] = last_counter
  end
  return known[model]
end

local function call_count(text, model)
  if text == "" then
    return 0
  end
  local number = current()(text, model)
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
  local counter = counter_of(model)
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

-- Tokens of the parts of a request that are no messages, from the fields of its body.
local function count_fields(fields, model)
  local sum = 0
  for _, name in ipairs { "tools", "response_format" } do
    local value = fields[name]
    if type(value) == "table" and not json.is_null(value) then
      sum = sum + call_count(json.encode(value), model)
    end
  end
  return sum
end

---Tokens of the parts of a request that are no messages: tools and the shape of
---the answer.
---@param state table of the conversation
---@param given? table options of one request
---@return integer
function tokens.of_options(state, given)
  local is_plain = not given or given.tools == nil and given.response_format == nil
    and given.extra == nil
  local counter = public.count
  if is_plain and state.fields_tokens and state.fields_counter == counter then
    return state.fields_tokens
  end
  local sum = count_fields(options.body(state.options, given), state.options.model)
  if is_plain then
    state.fields_tokens, state.fields_counter = sum, counter
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

-- What is known of a model, in the state of its client. Who counts makes a
-- difference, too.
local function ratios_of(client, model)
  local state = core.state(client)
  local all = state.token_ratios or {}
  state.token_ratios = all
  local counter = counter_of(model)
  all[counter] = all[counter] or {}
  return all[counter]
end

---What a conversation remembers of its last reply. The messages that were counted
---are those of its mark.
---@class opperchat.TokenAnchor
---@field owner opperchat.Conversation whose mark it is
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

-- Corrects the ratio of a model.
local function learn_ratio(client, sent)
  local measured = sent.usage.prompt_tokens
  sent.is_learned = true
  window.accept(client, sent.model, measured)
  local estimated = sent.messages + sent.fields + core.TOKENS_REQUEST
  if measured < estimated * MIN_RATIO or measured > estimated * MAX_RATIO then
    return
  end
  local ratios = ratios_of(client, sent.model)
  local known = ratios[sent.model or ""]
  if not known then
    known = { measured = 0, estimated = 0 }
    ratios[sent.model or ""] = known
  end
  known.measured = known.measured * MEMORY + measured
  known.estimated = known.estimated * MEMORY + estimated
end

---What a request was thought to be, and what its reply said of it.
---@class opperchat.SentSize
---@field client opperchat.Client
---@field messages? integer nil: they were not counted, but the mark of the conversation has them
---@field fields integer
---@field model? string
---@field usage opperchat.Usage with `prompt_tokens`
---@field is_learned boolean

-- The conversations of those that were not counted.
local owners = setmetatable({}, { __mode = "kv" })

-- Counts what was sent, if that was not done; false: nobody knows any more.
local function count_sent(sent)
  local chat = not sent.messages and owners[sent]
  if chat and select(2, core.kind(chat)) and core.state(chat).unlearned == sent then
    sent.messages = core.mark_tokens(chat)
  end
  return sent.messages ~= nil
end

---Notes what a reply said. It is learned when somebody wants to know a size: most
---programs never do.
---@param chat opperchat.Conversation the reply is at the end of its list
---@param state table of the conversation
---@param client_state table of the client
---@param sent opperchat.SentSize kept, and added to
function tokens.note(chat, state, client_state, sent)
  core.mark(chat)
  if not sent.messages then
    owners[sent] = chat
  end
  state.unlearned, client_state.unlearned = sent, sent
end

-- Learns what a client was told last.
local function learn_client(client)
  local state = core.state(client)
  local sent = state.unlearned
  state.unlearned = nil
  if sent and not sent.is_learned and count_sent(sent) then
    learn_ratio(client, sent)
  end
end

---By how much the estimates for a model have to be multiplied.
---@param client opperchat.Client
---@param model? string
---@return number? ratio nil: no reply has told yet
function tokens.ratio(client, model)
  learn_client(client)
  local known = ratios_of(client, model)[model or ""]
  return known and known.measured / known.estimated
end

---What a conversation remembers of its last reply.
---@param chat opperchat.Conversation
---@return opperchat.TokenAnchor?
function tokens.anchor(chat)
  local state = core.state(chat)
  local sent = state.unlearned
  if not sent then
    return state.anchor
  end
  local is_counted = count_sent(sent)
  state.unlearned = nil
  local _, answer = core.mark_tokens(chat)
  if is_counted and not sent.is_learned then
    learn_ratio(sent.client, sent)
  end
  if not is_counted or not answer then
    -- the list does not begin with it any more
    state.anchor = nil
    return nil
  end
  local measured = sent.usage.prompt_tokens
  local estimated = sent.messages + sent.fields + core.TOKENS_REQUEST
  if measured < estimated * MIN_RATIO or measured > estimated * MAX_RATIO + MAX_HIDDEN then
    state.anchor = nil
    return nil
  end
  state.anchor = {
    owner = chat, model = sent.model or "", fields = sent.fields,
    tokens = measured + answer_tokens(sent.usage, answer,
      tokens.ratio(sent.client, sent.model) or 1),
  }
  return state.anchor
end

---The same for a fork: what it remembers from now on is its own.
---@param fork opperchat.Conversation
---@param anchor? opperchat.TokenAnchor
---@return opperchat.TokenAnchor?
function tokens.anchor_of_fork(fork, anchor)
  return anchor and {
    owner = fork, tokens = anchor.tokens, model = anchor.model, fields = anchor.fields,
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
  local beyond, messages
  if anchor and anchor.model == (of.model or "") and select(2, core.kind(anchor.owner)) then
    beyond, messages = core.beyond_mark(list, anchor.owner, last_counter > 0)
  end
  if beyond then
    local more = beyond + of.fields - anchor.fields
    return math.max(math.floor(anchor.tokens + more * (ratio or 1) + 0.5), 0),
      more == 0 and messages == 0 and "measured" or "corrected"
  end
  sum = sum + of.fields + core.TOKENS_REQUEST
  if ratio then
    return math.floor(sum * ratio + 0.5), "corrected"
  end
  return sum, tokens.is_custom() and "counted" or "estimated"
end

return tokens
