---Conversations on disk: saved files, and journals that grow with each turn.
---
---Both are the same: lines of JSON, the first of which is a header and each
---other one a committed turn (src/oc_events.h has the format). A key, headers
---or a client are never among what is written.
local core = require "opperchat.core"
local errors = require "opperchat.errors"
local json = require "opperchat.json"
local options = require "opperchat.options"

local misuse = errors.misuse

-- Not `next` by name in a loop: see json.lua.
local step = next

local store = {}

---Bytes that a file may have to be read.
store.MAX_BYTES = 1024 * 1024 * 1024

---The options of a conversation that are saved. All others are not: what is
---forgotten here is lost, what is written by mistake may be a secret.
store.SAVED = {
  -- fields of the request body
  model = true, temperature = true, top_p = true, max_tokens = true,
  max_completion_tokens = true, stop = true, seed = true, frequency_penalty = true,
  presence_penalty = true, reasoning_effort = true, verbosity = true, response_format = true,
  tools = true, tool_choice = true, parallel_tool_calls = true, user = true, metadata = true,
  logit_bias = true, logprobs = true, top_logprobs = true, service_tier = true, store = true,
  prompt_cache_key = true, extra = true,
  -- others
  name = true, tags = true, guard = true, include_usage = true, keep_partial = true,
  schema_retries = true, schema = true, fallback_models = true, context_window = true,
  max_cost = true, max_tokens_total = true,
}

-- ---------------------------------------------------------------------------
-- What goes wrong
-- ---------------------------------------------------------------------------

local LIMITS = { file_too_large = true, out_of_memory = true }

local function failure(code, text, line)
  local err = errors.new(LIMITS[code] and "limit" or "store", code, text)
  err.line = line
  return err
end

local function check_path(what, path)
  if type(path) ~= "string" then
    misuse("%s: path expected, got %s", what, type(path))
  elseif path == "" then
    misuse("%s: the path is empty", what)
  elseif path:find("%z") then
    misuse("%s: a path cannot have a zero byte", what)
  end
end

-- ---------------------------------------------------------------------------
-- Options
-- ---------------------------------------------------------------------------

-- The options that are saved, ready to be written.
local function to_save(given)
  local result = {}
  for name, value in step, given do
    if store.SAVED[name] then
      result[name] = value
    end
  end
  if result.schema ~= nil and not json.is_null(result.schema) then
    -- it is made of the schema, which alone has answers checked
    result.response_format = nil
  end
  if type(result.logit_bias) == "table" and not json.is_null(result.logit_bias) then
    -- token ids are strings in JSON
    local bias = {}
    for token, number in step, result.logit_bias do
      bias[type(token) == "number" and json.encode(token) or token] = number
    end
    result.logit_bias = bias
  end
  return result
end

local function encode(value)
  local written, text = pcall(json.encode, value)
  if not written then
    misuse("a conversation that cannot be saved: " .. text)
  end
  return text
end

-- Puts `json.null` back for the mark, in place.
local function restore_nulls(value, mark)
  for key, item in step, value do
    if item == mark then
      value[key] = json.null
    elseif type(item) == "table" and not json.is_null(item) then
      restore_nulls(item, mark)
    end
  end
  return value
end

-- Reads the text of an object. Decoding forgets nulls, but options may have
-- them: `extra = {x = opperchat.null}` is sent as null. So a string stands in
-- for them, one that is not in the text.
local function decode(text)
  if not text:find("null", 1, true) then
    return json.decode(text)
  end
  local mark = "opperchat null"
  while text:find(mark, 1, true) do
    mark = mark .. "+"
  end
  local parts, at = {}, 1
  repeat
    local open = text:find("\"", at, true)
    parts[#parts + 1] = text:sub(at, open and open - 1):gsub("null", "\"" .. mark .. "\"")
    if open then
      local close = text:find("[\"\\]", open + 1)
      while text:sub(close, close) == "\\" do
        close = text:find("[\"\\]", close + 2)
      end
      parts[#parts + 1] = text:sub(open, close)
      at = close + 1
    end
  until not open
  local value, problem = json.decode(table.concat(parts))
  return value and restore_nulls(value, mark), problem
end

-- ---------------------------------------------------------------------------
-- What is found
-- ---------------------------------------------------------------------------

---What a file says beside the messages.
---@class opperchat.Stored
---@field header? table the first line; nil: nothing was ever written
---@field trace_id? string
---@field options table those that are known here, checked
---@field usage? table<string, number> totals
---@field events integer lines behind the header
---@field good_bytes integer bytes of all complete lines
---@field torn? { line: integer, bytes: integer } a last line that was cut off, and does not count

---Options of this version among those of a file.
---@param given any
---@param trace_id? string
---@return table? options nil: they are not valid
---@return string? problem
function store.known_options(given, trace_id)
  if type(given) ~= "table" or json.is_null(given) then
    return nil, "\"options\" is not an object"
  end
  local result = {}
  for name, value in step, given do
    if store.SAVED[name] then
      result[name] = value
    end
  end
  result.trace_id = trace_id
  local valid, problem = options.check(options.conversation, result)
  if not valid then
    return nil, problem
  end
  result.trace_id = nil
  return result
end

local function known_usage(text)
  local result = {}
  for name, value in step, json.decode(text) or {} do
    if type(value) == "number" then
      result[name] = value
    end
  end
  return result
end

-- Makes of what the core has found what the file says; nil, problem, line.
local function understand(found)
  local stored = {
    events = found.events,
    good_bytes = found.good_bytes,
    usage = found.usage and known_usage(found.usage),
    torn = found.torn_line and { line = found.torn_line, bytes = found.torn_bytes } or nil,
    options = {},
  }
  if not found.header then
    return stored
  end
  local header, problem = decode(found.header)
  if not header then
    return nil, problem, 1
  end
  local trace_id = header.trace_id
  if json.is_null(trace_id) then
    trace_id = nil
  end
  stored.header, stored.trace_id = header, trace_id
  local given, line = header.options, 1
  if given == nil then
    given = {}
  end
  if found.options then
    given, problem = decode(found.options)
    line = found.options_line
    if not given then
      return nil, problem, line
    end
  end
  stored.options, problem = store.known_options(given, trace_id)
  if not stored.options then
    return nil, problem, line
  end
  return stored
end

-- The same after a call of the core; nil, err.
local function result_of(path, found, code, text, line)
  if not found then
    return nil, failure(code, text, line)
  end
  local stored, problem, at = understand(found)
  if not stored then
    return nil, failure("bad_line",
      ("%sline %d: %s"):format(path and path .. ": " or "", at, problem), at)
  end
  return stored
end

-- ---------------------------------------------------------------------------
-- Saved files
-- ---------------------------------------------------------------------------

---The first line of a file, without its newline.
---@param settings { trace_id: string, options: table, created: string? }
---@return string line
function store.header(settings)
  -- the version comes first: by that a file is known to be ours
  return "{\"opperchat\":1," .. encode {
    created = settings.created or os.date("!%Y-%m-%dT%H:%M:%SZ"),
    trace_id = settings.trace_id,
    options = to_save(settings.options or {}),
  }:sub(2)
end

---Writes a conversation into a file, in the place of what it held. On any
---error that file is as it was.
---@param chat opperchat.Conversation
---@param path string
---@return true? saved
---@return opperchat.Error? err
function store.save(chat, path)
  local state = core.open(chat, "conversation")
  check_path("save", path)
  local header = store.header { trace_id = state.trace_id, options = state.options }
  local saved, code, text = core.save_file(path, chat, header, encode { usage = state.usage })
  if not saved then
    return nil, failure(code, text)
  end
  return true
end

-- No file at all can be loaded from what counts as a new journal.
local function check_loaded(path, stored)
  if stored.header then
    return true
  elseif stored.torn then
    return nil, failure("bad_line", path .. "line 1: the file is cut off", 1)
  end
  return nil, failure("empty_file", path .. "the file is empty")
end

---Reads the text of a file into an empty list.
---@param text string
---@param list userdata `core.conversation()`
---@return opperchat.Stored? stored without header: nothing was ever written
---@return opperchat.Error? err
function store.read(text, list)
  return result_of(nil, core.replay_text(text, list))
end

---Reads a file. It is not changed, whatever is wrong with it.
---@param path string
---@return userdata? list a list of messages without state
---@return opperchat.Stored|opperchat.Error stored
function store.load(path)
  check_path("load", path)
  local list = core.conversation()
  local stored, err = result_of(path, core.replay_file(path, list, store.MAX_BYTES))
  if stored then
    local loaded
    loaded, err = check_loaded(path .. ": ", stored)
    if loaded then
      return list, stored
    end
  end
  core.conversation_close(list)
  return nil, err
end

-- ---------------------------------------------------------------------------
-- Journals
-- ---------------------------------------------------------------------------

-- Reads an open journal into the list and makes it ready for the next line.
local function resume(journal, path, list, fresh)
  local stored, err = result_of(path, core.journal_replay(journal, list, store.MAX_BYTES))
  if not stored then
    return nil, err
  end
  local header
  if not stored.header then
    local made, settings = pcall(fresh)
    if not made then
      core.journal_close(journal)       -- nobody else would for a while
      error(settings, 0)
    end
    header = store.header(settings) .. "\n"
  end
  local done, code, text = core.journal_keep(journal, stored.good_bytes)
  if done and header then
    done, code, text = core.journal_append(journal, header, true)
  end
  if not done then
    return nil, failure(code, text)
  end
  return stored
end

---Opens a journal, or makes one. What a last write has left unfinished is cut
---off. No other journal can have the file until this one is closed.
---@param path string
---@param fresh fun(): { trace_id: string, options: table } called when it is new
---@return userdata? journal
---@return userdata? list its messages, without state; nil: the journal is new
---@return opperchat.Stored|opperchat.Error stored
function store.open(path, fresh)
  check_path("journal", path)
  local journal, code, text = core.journal_open(path)
  if not journal then
    return nil, failure(code, text)
  end
  local list = core.conversation()
  local stored, err = resume(journal, path, list, fresh)
  if not stored then
    core.journal_close(journal)
    core.conversation_close(list)
    return nil, err
  elseif not stored.header then
    core.conversation_close(list)
    return journal, nil, stored
  end
  return journal, list, stored
end

---Adds what made `after` out of `before` to a journal: one line, which is in
---the file as a whole or not at all. Only messages that are new are written.
---@param journal userdata
---@param before? userdata the list as the journal has it; nil: empty
---@param edited? userdata the same after an edit, such as a policy's; nil: there was none
---@param after userdata
---@param extra? { usage: table?, options: table?, time: string? } what else to write
---@param sync? boolean whether to wait until the disk has it
---@return true? written
---@return integer|opperchat.Error bytes how many; 0: there was nothing to say
function store.write(journal, before, edited, after, extra, sync)
  local fields = ""
  if extra and next(extra) ~= nil then
    fields = encode {
      usage = extra.usage,
      options = extra.options and to_save(extra.options),
      time = extra.time,
    }:sub(2, -2)
  end
  local bytes, code, text = core.journal_write(journal, before, edited, after, fields, sync)
  if not bytes then
    return nil, failure(code, text)
  end
  return true, bytes
end

---Closes a journal, so that another one can have its file. May be called again.
---@param journal userdata
function store.close(journal)
  core.journal_close(journal)
end

return store
