---Keeping: conversations in files, and as plain lists that other programs
---understand. Adds save and export to a conversation.
local core = require "opperchat.core"
local errors = require "opperchat.errors"
local journal = require "opperchat.journal"
local json = require "opperchat.json"
local lazy = require "opperchat.lazy"
local limits = require "opperchat.limits"
local message_module = require "opperchat.message"
local store = require "opperchat.store"

local history = lazy.module "opperchat.history"
local salvage = lazy.module "opperchat.salvage"

local misuse = errors.misuse

local keeping = {}

-- ---------------------------------------------------------------------------
-- Files
-- ---------------------------------------------------------------------------

---Opens the journal of a conversation that is about to be made.
---@param path string
---@param settings {trace_id: string, options: table} of one that is new
---@return table? opened `{ file, list, stored, options }`; `list` is nil when it is new, and
---`options` what it says then
---@return opperchat.Error? err
function keeping.open_journal(path, settings)
  local file, list, stored = store.open(path, function()
    return settings
  end)
  if not file then
    return nil, list
  elseif list and stored.events == 0 then
    -- whoever began it did not come to the first line
    core.conversation_close(list)
    return { file = file, stored = stored }
  end
  return { file = file, list = list, stored = stored,
    options = not list and settings.options or nil }
end

---What a file says, as options of a conversation: those that are given go before.
---@param stored opperchat.Stored
---@param given? table
---@return table
function keeping.merge_options(stored, given)
  local merged = {}
  for name, value in pairs(stored.options) do
    merged[name] = value
  end
  for name, value in pairs(given or {}) do
    merged[name] = value
  end
  if given and (given.schema ~= nil or given.response_format ~= nil) then
    merged.schema, merged.response_format = given.schema, given.response_format
  end
  merged.trace_id = given and given.trace_id or stored.trace_id
  return merged
end

---Gives a conversation the totals that a file has.
---@param chat opperchat.Conversation
---@param stored opperchat.Stored
function keeping.restore_usage(chat, stored)
  core.state(chat).usage = limits.sum(stored.usage)
end

---What there is to say of a file that was read.
---@class opperchat.LoadReport
---@field events integer how many lines were read behind the header
---@field torn? {line: integer, bytes: integer} a last line that was cut off while it was
---written: its turn was never complete and does not count

---@field repaired? opperchat.HistoryRepair[] what was mended in a file that somebody had edited

-- What a file is whose lines can be read but whose list cannot be sent.
local function salvage_file(path)
  local file = io.open(path, "rb")
  local text = file and file:read("*a")
  if file then
    file:close()
  end
  local found = text and salvage.read(text)
  if not found then
    return nil
  end
  local trace_id = type(found.header.trace_id) == "string" and found.header.trace_id or nil
  local known = store.known_options(found.options or found.header.options or {}, trace_id)
  if not known then
    return nil
  end
  local list = core.conversation()
  local filled = pcall(function()
    for _, message in ipairs(found.messages) do
      local text_of = assert(message_module.encode_table(message))
      assert(core.append_json(list, text_of))
      for _, flag in ipairs(found.flags[message] or {}) do
        core.set_flag(list, #list, flag, true)
      end
    end
  end)
  if filled then
    return list, {
      options = known, trace_id = trace_id, usage = found.usage, events = found.events,
      torn = found.torn, repaired = found.report,
    }
  end
end

---Reads a file. A list that cannot be sent is mended.
---@param path string
---@return opperchat.Conversation? list without state
---@return opperchat.Stored|opperchat.Error stored
function keeping.load_file(path)
  local list, stored = store.load(path)
  if not list and stored.code == "bad_line" then
    local mended, found = salvage_file(path)
    if mended then
      return mended, found
    end
  end
  return list, stored
end

---@param stored opperchat.Stored
---@return opperchat.LoadReport
function keeping.report(stored)
  return { events = stored.events, torn = stored.torn, repaired = stored.repaired }
end

---Gives a conversation a journal in a new file, with all of its messages.
---@param chat opperchat.Conversation
---@param path string
---@param sync? boolean
---@return true? begun
---@return opperchat.Error? err
function keeping.begin_journal(chat, path, sync)
  local state = core.state(chat)
  local opened, err = keeping.open_journal(path,
    { trace_id = state.trace_id, options = state.options })
  if not opened then
    return nil, err
  elseif opened.list then
    store.close(opened.file)
    return nil, errors.new("store", "file_exists", path .. ": has a conversation already")
  end
  state.trace_id = opened.stored.trace_id or state.trace_id
  state.journal = {
    file = opened.file, path = path, sync = sync or false, options = opened.options,
  }
  local written
  written, err = journal.after(chat, core.conversation())
  if not written then
    journal.close(chat)
    return nil, err
  end
  return true
end

---Goes on with a journal that has to be there.
---@param path string
---@param given table
---@param make fun(given: table): opperchat.Conversation?, any
---@return opperchat.Conversation?
---@return opperchat.LoadReport|opperchat.Error
function keeping.resume(path, given, make)
  -- a mistyped name is no new conversation
  local list, stored = store.load(path)
  if not list then
    return nil, stored
  end
  core.conversation_close(list)
  return make(given)
end

---@class opperchat.Conversation
local methods = core.methods("conversation")

---Writes the conversation into a file, in the place of what it held: its messages,
---options and usage, but no key, no headers and no client. On an error that file is as
---it was.
---@param path string
---@return opperchat.Conversation? self
---@return opperchat.Error? err of kind `store`
function methods:save(path)
  local own = core.open(self, "conversation").journal
  if own and type(path) == "string" and core.journal_is(own.file, path) then
    misuse("save: the journal of this conversation is up to date; "
      .. "another file would take its place")
  end
  local saved, err = store.save(self, path)
  if not saved then
    return nil, err
  end
  return self
end

-- ---------------------------------------------------------------------------
-- Plain lists
-- ---------------------------------------------------------------------------

---The messages as the JSON text of a plain list, as the API has it.
---@return string json
function methods:export()
  core.open(self, "conversation")
  local texts = {}
  for i = 1, #self do
    texts[i] = core.message_json(self, i)
  end
  return "[" .. table.concat(texts, ",") .. "]"
end

-- The list in what a program has got from somewhere.
local function list_in(source)
  if type(source) == "string" then
    local decoded, problem = json.decode(source)
    if problem then
      return nil, "no JSON: " .. problem
    end
    source = decoded
  end
  if type(source) == "table" and source[1] == nil and type(source.messages) == "table" then
    -- the body of a request
    source = source.messages
  end
  if type(source) ~= "table" or source[1] == nil and next(source) ~= nil then
    return nil, "no list of messages"
  end
  return source
end

-- The same list with its messages as they are written, when it is the text of one
-- that needs no mending; nil: they have to be written anew.
local function read_verbatim(source, messages)
  if type(source) ~= "string" or not source:find("^%s*%[") or source:find("[\r\n]") then
    return nil
  end
  for _, message in ipairs(messages) do
    if message.pinned ~= nil then
      return nil
    end
  end
  local list = core.conversation()
  local text = "{\"opperchat\":1}\n{\"append\":" .. source .. "}\n"
  return store.read(text, list) and list or nil
end

---The messages in a list from elsewhere, mended where that is needed.
---@param source string|table JSON text of a list or of a request's body, or such a table
---@return table[]? messages
---@return table[]|opperchat.Error report what was mended, see `history.repair`
---@return opperchat.Conversation? list the same, byte for byte
function keeping.read_plain(source)
  if type(source) ~= "string" and type(source) ~= "table" then
    misuse("import: JSON text or list of messages expected, got " .. type(source))
  end
  local list, problem = list_in(source)
  if not list then
    return nil, errors.new("store", "bad_list", "this is " .. problem)
  end
  local messages, report = history.repair(list)
  return messages, report, not report[1] and read_verbatim(source, messages) or nil
end

return keeping
