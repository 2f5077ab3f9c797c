---The conversation: a list of messages, the options sent with it, and what
---can be done with both.
local core = require "opperchat.core"
local errors = require "opperchat.errors"
local journal = require "opperchat.journal"
local json = require "opperchat.json"
local lazy = require "opperchat.lazy"
local limits = require "opperchat.limits"
local message = require "opperchat.message"
local options = require "opperchat.options"
local sending = require "opperchat.sending"
local tokens = require "opperchat.tokens"

local compaction = lazy.module "opperchat.compaction"
local history = lazy.module "opperchat.history"
local keeping = lazy.module "opperchat.keeping"
local policy = lazy.module "opperchat.policy"
local rebuild = lazy.call "opperchat.rebuild"
local store = lazy.module "opperchat.store"
local tools = lazy.module "opperchat.tools"

local misuse = errors.misuse

-- A registry, like each of them not to be changed in place.
local NO_TOOLS = { list = {}, by_name = {} }

local conversation = {}

---@class opperchat.Conversation
local methods = core.methods("conversation")
lazy.extend(methods, "opperchat.steps", { "send", "run", "retry" })
lazy.extend(methods, "opperchat.compaction", { "compact" })
lazy.extend(methods, "opperchat.keeping", { "save", "export" })
lazy.extend(methods, "opperchat.outlook", { "tokens", "pin" })

local function open(self)
  return core.open(self, "conversation")
end

local function copy(given)
  local result = {}
  for name, value in pairs(given or {}) do
    result[name] = value
  end
  return result
end

-- The text of the options a request of this conversation begins with.
local function encode_options(state)
  local fields, problem = options.encode(options.body(state.options))
  if not fields then
    misuse("conversation: " .. problem)
  end
  state.fields, state.stream_fields, state.fields_tokens = fields, nil, nil
end

-- The state of a new conversation, from checked options.
local function set_up(self, given, registry)
  if given.client and core.kind(given.client) ~= "client" then
    misuse("conversation: option 'client': client expected, got %s",
      core.kind(given.client) or type(given.client))
  end
  local state = core.state(self)
  -- an object of its own, and not a table to be copied
  if given.policy and not json.is_null(given.policy) then
    state.policy = policy.compile(given.policy, "conversation: option 'policy'")
  end
  given.policy = nil
  state.options = options.copy(given)
  state.options.policy = state.policy or nil
  state.trace_id = given.trace_id or core.uuid()
  state.usage = limits.new_usage()
  local own, wanted = sending.resolve_forms(state.options, "conversation")
  state.registry = registry or own or NO_TOOLS
  state.wanted = wanted or nil
  encode_options(state)
  return self
end

-- Puts the messages of its options into a new conversation.
local function fill(self, system, messages)
  if system ~= nil then
    self:append("system", system)
  end
  if messages then
    self:splice(#self + 1, #self, messages)
  end
  return self
end

-- The same with options out of a file, in which anything may stand.
local function set_up_stored(list, given, path)
  local worked, self = pcall(set_up, list, given)
  if worked then
    return self
  end
  core.conversation_close(list)
  local problem = tostring(self):gsub("^.-conversation: ", "")
  return nil, errors.new("store", "bad_line", ("%s: %s"):format(path, problem))
end

-- A conversation that goes on in the file its journal is, or begins it.
local function new_journaled(given, system, messages)
  local path, sync = given.journal, given.sync
  -- so that nothing is written when the options are wrong
  local trial = fill(set_up(core.conversation(), copy(given)), system, messages)
  local state = core.state(trial)
  local opened, err = keeping.open_journal(path,
    { trace_id = state.trace_id, options = state.options })
  if not opened then
    return nil, err
  end
  local own = { file = opened.file, path = path, sync = sync or false }
  local self, report
  if opened.list then
    self, err = set_up_stored(opened.list, keeping.merge_options(opened.stored, given), path)
    core.conversation_close(trial)
    if not self then
      store.close(opened.file)
      return nil, err
    end
    keeping.restore_usage(self, opened.stored)
    report = keeping.report(opened.stored)
    core.state(self).journal = own
    return self, report
  end
  own.options, state.journal = opened.options, own
  state.trace_id = given.trace_id or opened.stored.trace_id or state.trace_id
  local written
  written, err = journal.after(trial, core.conversation())
  if not written then
    journal.close(trial)
    return nil, err
  end
  return trial
end

local function check_new(given, what)
  local valid, problem = options.check(options.conversation, given)
  if not valid then
    misuse(what .. ": " .. problem)
  end
end

---Makes a conversation.
---@param given? opperchat.ConversationOptions
---@return opperchat.Conversation? chat nil only with a `journal` that cannot be used
---@return opperchat.LoadReport|opperchat.Error|nil report of a journal that was there already,
---or an error of kind `store`
function conversation.new(given)
  check_new(given, "conversation")
  given = copy(given)
  local system, messages = given.system, given.messages
  given.system, given.messages = nil, nil
  if given.journal then
    return new_journaled(given, system, messages)
  end
  return fill(set_up(core.conversation(), given), system, messages)
end

-- Has a conversation that is there begin a journal, if one is wanted.
local function with_journal(self, path, sync, report)
  if path then
    local begun, err = keeping.begin_journal(self, path, sync)
    if not begun then
      self:close()
      return nil, err
    end
  end
  return self, report
end

---Makes a conversation of a file that `save` or a journal has written. Messages,
---options and usage are those of the file; options that are given go before them.
---@param path string
---@param given? opperchat.ConversationOptions all but `system` and `messages`
---@return opperchat.Conversation?
---@return opperchat.LoadReport|opperchat.Error report
function conversation.load(path, given)
  check_new(given, "load")
  if given and (given.system ~= nil or given.messages ~= nil) then
    misuse("load: the messages are those of the file; append to it or splice it")
  elseif given and given.journal == path then
    return keeping.resume(path, given, conversation.new)
  end
  local list, stored = keeping.load_file(path)
  if not list then
    return nil, stored
  end
  local merged = keeping.merge_options(stored, given)
  merged.journal, merged.sync = nil, nil
  local self, err_options = set_up_stored(list, merged, path)
  if not self then
    return nil, err_options
  end
  keeping.restore_usage(self, stored)
  return with_journal(self, given and given.journal, given and given.sync, keeping.report(stored))
end

---Makes a conversation of a plain list of messages, such as other programs write.
---What makes the list invalid is mended.
---@param source string|table JSON text of a list or of a request's body, or such a table
---@param given? opperchat.ConversationOptions all but `messages`
---@return opperchat.Conversation?
---@return opperchat.HistoryRepair[]|opperchat.Error report what was mended
function conversation.import(source, given)
  check_new(given, "import")
  if given and given.messages ~= nil then
    misuse("import: the messages are those that are imported")
  end
  local messages, report, list = keeping.read_plain(source)
  if not messages then
    return nil, report
  end
  given = copy(given)
  local path, sync = given.journal, given.sync
  given.journal, given.sync = nil, nil
  given.messages = not list and messages or nil
  local self = conversation.new(given)
  if list then
    assert(core.take_messages(self, list, 1, #list))
  end
  -- not into what a journal has already: this is no part of it
  return with_journal(self, path, sync, report)
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
  local before = journal.before(self)
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
  message.set_flags(self, #self, type(role) == "table" and role or fields)
  return journal.after(self, before)
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

-- The places of a splice, checked.
local function check_splice(self, i, j, messages, given)
  local count = #self
  i = position(i, 1, count, "splice: i")
  j = position(j, i - 1, count, "splice: j")
  if i < 1 or i > count + 1 or j < i - 1 or j > count then
    misuse("splice: messages %.14g to %.14g of %d do not exist", i, j, count)
  end
  if messages ~= nil and type(messages) ~= "table" then
    misuse("splice: list of messages expected, got " .. type(messages))
  elseif given ~= nil and type(given) ~= "table" then
    misuse("splice: table of options expected, got " .. type(given))
  end
  for name, value in pairs(given or {}) do
    if name ~= "repair" or type(value) ~= "boolean" then
      misuse("splice: unknown option '%s' (repair = true or false)", tostring(name))
    end
  end
  return i, j
end

-- The same with what makes the list invalid mended.
local function splice_and_repair(self, i, j, messages)
  local held, wanted = self:messages(), {}
  for at = 1, i - 1 do
    wanted[at] = held[at]
  end
  for _, given in ipairs(messages or {}) do
    wanted[#wanted + 1] = given
  end
  for at = j + 1, #held do
    wanted[#wanted + 1] = held[at]
  end
  local mended, report = history.repair(wanted)
  local list = rebuild(self, held, mended, "splice")
  local before = journal.before(self)
  if list then
    if core.is_busy(self) then
      misuse("conversation is busy: a request is in flight "
        .. "(wait for it, cancel it, or work on a fork)")
    end
    core.adopt(self, list)
  end
  local kept, err = journal.after(self, before)
  return kept, kept and report or err
end

---Replaces the messages `i` to `j` by others. `j = i - 1` only inserts.
---
---The list stays as it is, and an error is raised, when a tool call would lose
---its result or a result its call; with `repair = true` that is mended.
---@param i integer negative ones count from the end
---@param j integer
---@param messages? table[]
---@param given? {repair?: boolean}
---@return opperchat.Conversation? self
---@return opperchat.HistoryRepair[]|opperchat.Error|nil report what was mended; or why the
---journal could not be written
function methods:splice(i, j, messages, given)
  open(self)
  i, j = check_splice(self, i, j, messages, given)
  if given and given.repair then
    return splice_and_repair(self, i, j, messages)
  end
  local encoded = {}
  for at, message_given in ipairs(messages or {}) do
    local text, problem = message.encode_table(message_given)
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
  local before = journal.before(self)
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
  for offset, message_given in ipairs(messages or {}) do
    message.set_flags(self, i + offset - 1, message_given)
  end
  return journal.after(self, before)
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
  local before = journal.before(self)
  core.cut(self, core.turn(self, n or 1) - 1)
  return journal.after(self, before)
end

---Drops all turns, and what policies have written of them. The head (system and
---developer messages at the beginning) stays.
---@return opperchat.Conversation self
function methods:clear()
  open(self)
  local before = journal.before(self)
  core.cut(self, core.head(self))
  for _, flag in ipairs { "summary", "facts" } do
    local at = core.find_flag(self, flag)
    if at then
      core.splice(self, at, 1, {})
    end
  end
  return journal.after(self, before)
end

-- A fork with the options of its origin, which were checked and written as JSON
-- there. They are not changed in place, and neither are tools: `tool` makes new ones.
local function fork_unchanged(self, state)
  local other = core.fork(self)
  local own = core.state(other)
  own.options = copy(state.options)
  own.options.journal, own.options.sync = nil, nil
  own.policy, own.registry, own.wanted = state.policy, state.registry, state.wanted
  own.fields, own.stream_fields = state.fields, state.stream_fields
  own.trace_id = own.options.trace_id or core.uuid()
  own.usage = limits.new_usage()
  own.anchor = tokens.anchor_of_fork(other, tokens.anchor(self))
  return other
end

---Another conversation that begins with the same messages and options. It is
---cheap: the messages are shared, and none is copied.
---@param given? opperchat.ConversationOptions what is to be different
---@return opperchat.Conversation
function methods:fork(given)
  local state = open(self)
  if given == nil then
    return fork_unchanged(self, state)
  end
  local valid, problem = options.check(options.conversation, given)
  if not valid then
    misuse("fork: " .. problem)
  elseif given.system ~= nil or given.messages ~= nil then
    misuse("fork: a fork begins with the messages of its origin; append to it or splice it")
  elseif given.journal ~= nil then
    misuse("fork: a fork has no journal: save it, and load it with one")
  end
  local merged = copy(state.options)
  for name, value in pairs(given) do
    merged[name] = value
  end
  if given.schema ~= nil or given.response_format ~= nil then
    -- either takes the place of both
    merged.schema, merged.response_format = given.schema, given.response_format
  end
  merged.journal, merged.sync = nil, nil
  -- the tools it has already are on the wire; what runs them comes along
  local registry = not given.tools and state.registry or nil
  local other = set_up(core.fork(self), merged, registry)
  core.state(other).anchor = tokens.anchor_of_fork(other, tokens.anchor(self))
  return other
end

---A fork that ends before a turn, to have it go another way: send the message
---that began it once more, changed, or anything else.
---@param turn integer 1 is the first; negative ones count from the end
---@param given? opperchat.ConversationOptions what is to be different
---@return opperchat.Conversation fork
---@return table message the user message that begins the turn
function methods:fork_at(turn, given)
  open(self)
  local _, _, first = core.turns(self)
  if type(turn) ~= "number" or turn % 1 ~= 0 then
    misuse("fork_at: number of a turn expected, got "
      .. (type(turn) == "number" and tostring(turn) or type(turn)))
  end
  local number = turn < 0 and turn + #first + 1 or turn
  -- what stands before the first turn is none
  local at = number >= 1 and first[number]
  if not at then
    misuse("fork_at: there is no turn %.14g of %d", turn, #first)
  end
  local other = self:fork(given)
  core.cut(other, at - 1)
  return other, message.at(self, at)
end

---Adds a tool that the model may call: see `run`. One of the same name is
---replaced.
---@param tool opperchat.Tool
---@return opperchat.Conversation? self
---@return opperchat.Error? err of kind `store`: the journal could not be written
function methods:tool(tool)
  local state = open(self)
  -- all of it on copies: a tool that cannot be written changes nothing
  local registry = tools.copy(state.registry)
  local added, problem = tools.add(registry, options.copy(tool))
  if not added then
    misuse("tool: " .. problem)
  end
  local changed = {}
  for name, value in pairs(state.options) do
    changed[name] = value
  end
  changed.tools = tools.wire(registry)
  local new = { options = changed }
  encode_options(new)
  local old = { registry = state.registry, options = state.options, fields = state.fields }
  local function set(to)
    state.registry, state.options, state.fields = to.registry, to.options, to.fields
    state.stream_fields, state.fields_tokens = nil, nil
  end
  new.registry = registry
  set(new)
  local kept, err = journal.after(self, journal.before(self))
  if not kept then
    set(old)
  end
  return kept, err
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
    result[#result + 1] = message.at(self, at)
  end
  return result
end

---The last message.
---@return table?
function methods:last()
  open(self)
  return message.at(self, -1)
end

---What all requests of this conversation took together.
---@return opperchat.Usage usage with `requests`; cost in US dollars
function methods:usage()
  open(self)
  return limits.used(self)
end

---Drops the messages and cancels a request in flight. May be called again.
function methods:close()
  local kind, is_open = core.kind(self)
  if kind ~= "conversation" then
    open(self)
  elseif is_open then
    core.conversation_close(self)
    local state = core.state(self)
    sending.cancel(state)
    if state.background then
      compaction.stop(self)
    end
    journal.close(self)
  end
end

-- `local chat <close> = ...`
core.set_close("conversation", function(self)
  methods.close(self)
end)

return conversation
