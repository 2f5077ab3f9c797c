---JSON for Lua values: options, schemas, tool arguments, `messages()`.
---
---This is the only file that touches lua-cjson, and it uses it for reading
---only. Writing is done here, with strings and numbers from the core, because
---the classic lua-cjson 2.1.0 (Debian's) cannot write an empty array, rounds
---numbers to 14 digits, escapes each "/" and lets invalid UTF-8 through, and
---because no build writes keys in a fixed order: a request whose tools come
---out in another order each time never meets the provider's prompt cache.
---
---Reading is lua-cjson's, but what it makes of a text differs from build to
---build (empty arrays, integers, numbers that are not JSON). So the text is
---checked by the core first, and what lua-cjson returns is gone over once:
---the result is the same for the classic build, OpenResty's and `vim.json`.
local lazy = require "opperchat.lazy"

-- It is there by the time anything is read or written.
local core = lazy.module "opperchat.core"

local concat, max, sort = table.concat, math.max, table.sort
local find, format, gsub, match, sub = string.find, string.format, string.gsub,
  string.match, string.sub
local getmetatable, next, setmetatable, type = getmetatable, next, setmetatable, type
-- nil before 5.3: there each number is a double
local tointeger, number_type = rawget(math, "tointeger"), rawget(math, "type")

-- Not `next` by name in a loop: LuaJIT 2.1.0-beta3 compiles such a loop in a way
-- of its own, and in long runs it was seen to skip a key or hand out a wrong one.
local step = next

local json = {}

-- What is written. Reading goes as deep as the core (512), which is for
-- foreign texts; a Lua value this deep is a mistake.
local MAX_DEPTH = 128

-- Below this a double holds each integer exactly.
local MAX_EXACT = 2 ^ 53

local function set(...)
  local result = {}
  for _, name in ipairs { ... } do
    result[name] = true
  end
  return result
end

-- An empty Lua table is a list or an object, and only the reader of the JSON
-- knows. Under these keys of JSON Schema and of the API it has to be a list.
-- Keys that hold an object in one place and a list in another are left out
-- (`items`, `allowed_tools`, `tags`, `input`): there `{}` stays an object.
local LIST_KEYS = set(
  -- JSON Schema
  "required", "enum", "anyOf", "oneOf", "allOf", "prefixItems", "examples",
  -- messages
  "messages", "content", "tool_calls", "annotations", "reasoning_details",
  -- the request
  "tools", "stop", "modalities", "fallback_models", "models", "transforms", "plugins",
  "allowed_domains", "blocked_domains")

-- Below these the keys are names that somebody chose and not keywords: a
-- property may itself be called "required".
local NAME_MAPS = set("properties", "patternProperties", "$defs", "definitions",
  "dependentSchemas")

-- Below these stand plain values, in which no key is a keyword.
local PLAIN_VALUES = set("default", "const", "enum", "examples")

-- Keys that come first in an object; the others follow sorted.
local LEADING = { "role", "model" }
local IS_LEADING = set("role", "model")

-- ---------------------------------------------------------------------------
-- The build of lua-cjson
-- ---------------------------------------------------------------------------

local vim = rawget(_G, "vim")
if type(vim) ~= "table" then
  vim = nil
end

local function find_build()
  local found, build = pcall(require, "cjson")
  if found and type(build) == "table" and build.decode then
    return build
  end
  if vim and type(vim.json) == "table" and vim.json.decode then
    return vim.json
  end
  local reason = found and "require \"cjson\" returned something else"
    or match(tostring(build), "[^\n]*")
  lazy.fail("opperchat needs lua-cjson (Debian and Ubuntu: apt install lua-cjson; "
    .. "LuaRocks: luarocks install lua-cjson): " .. reason)
end

local build = find_build()

-- A private instance, so that the host's settings and ours never touch. Newer
-- versions of Neovim offer no new(), but no settings either.
local function private_instance()
  if type(build.new) ~= "function" then
    return build
  end
  local instance = build.new()
  if instance.decode_max_depth then
    instance.decode_max_depth(1000)     -- the core has refused above 512
  end
  if instance.encode_sparse_array then
    instance.encode_sparse_array(false, 1, 1)
  end
  return instance
end

local instance = private_instance()

---Stands for null in what is written. Reading never returns it: null and
---absent are both nil.
json.null = instance.null or build.null or vim and vim.NIL
if json.null == nil then
  error("this lua-cjson has no null", 0)
end

-- Every null, list mark and empty list that some build around us may have
-- put into a table.
local nulls = { [json.null] = true }
local list_marks, empty_list_marks, empty_lists = {}, {}, {}

local function learn(from)
  if type(from) ~= "table" then
    return
  end
  if from.null ~= nil then
    nulls[from.null] = true
  end
  if from.array_mt then
    list_marks[from.array_mt] = true
  end
  if from.empty_array_mt then
    empty_list_marks[from.empty_array_mt] = true
  end
  if from.empty_array ~= nil then
    empty_lists[from.empty_array] = true
  end
end

learn(build)
learn(instance)
local object_marks = {}
if vim then
  learn(vim.json)
  if vim.NIL ~= nil then
    nulls[vim.NIL] = true
  end
  if vim._empty_dict_mt then
    object_marks[vim._empty_dict_mt] = true
  end
end

---The metatable of a list. It is lua-cjson's own where the build has one, so
---that a host that writes our tables with it gets lists too.
json.array_mt = instance.array_mt or build.array_mt or {}
list_marks[json.array_mt] = true

-- An empty object that was read from under a key of LIST_KEYS: it goes out as
-- it came in.
local object_mt = {}
object_marks[object_mt] = true

---The metatable of what the core writes itself, such as the base64 text of a
---picture: `json.encode_pieces` leaves it in its place.
json.piece_mt = {}

-- Lengths of the arrays in which a null was read, so that they go out as they
-- came in and are not refused for their holes.
local lengths = setmetatable({}, { __mode = "k" })

---Whether a value is a null of lua-cjson (any build) or of Neovim.
---@param value any
---@return boolean
function json.is_null(value)
  if value == nil then
    return false
  end
  if nulls[value] then
    return true
  end
  -- the NULL pointer, null of a lua-cjson that we do not use ourselves
  if type(value) == "userdata" and getmetatable(value) == nil then
    local text = tostring(value)
    return text == "userdata: (nil)" or text == "userdata: NULL"
  end
  return false
end

---Gives a copy of a table the mark of a list that the table has, if any.
---@generic T: table
---@param from table
---@param to T
---@return T to
function json.copy_mark(from, to)
  local mark = getmetatable(from)
  if mark ~= nil and (list_marks[mark] or empty_list_marks[mark]) then
    setmetatable(to, mark)
  end
  return to
end

---Marks a table as a list: it is written as `[]` even when it is empty.
---@generic T: table
---@param list? T
---@return T list the same table
function json.array(list)
  if list == nil then
    list = {}
  elseif type(list) ~= "table" then
    error("table expected, got " .. type(list), 2)
  end
  return setmetatable(list, json.array_mt)
end

-- ---------------------------------------------------------------------------
-- Writing
-- ---------------------------------------------------------------------------

-- How the keys of a table are to be read.
local KEYWORDS, NAMES, PLAIN = 1, 2, 3

-- For messages: messages[2].content, ["two words"].x; the middle of a long
-- path is left out.
local function path_text(place, path)
  local parts = {}
  for i, key in ipairs(path) do
    if #path > 16 and i > 8 and i <= #path - 4 then
      parts[i] = i == 9 and "..." or ""
    elseif type(key) == "number" then
      parts[i] = format("[%d]", key)
    elseif match(key, "^[%a_][%w_]*$") then
      parts[i] = ((i > 1 or place) and "." or "") .. key
    else
      parts[i] = "[\"" .. gsub(sub(key, 1, 60), "[%c\"\128-\255]", "?") .. "\"]"
    end
  end
  return (place or "") .. concat(parts)
end

local function fail(state, message)
  local path = path_text(state.place, state.path)
  error(path == "" and message or path .. ": " .. message, 0)
end

local write

-- The leading keys that there are, then the others, sorted.
local function in_order(value, keys)
  sort(keys)
  local ordered = {}
  for _, key in ipairs(LEADING) do
    if rawget(value, key) ~= nil then
      ordered[#ordered + 1] = key
    end
  end
  if not ordered[1] then
    return keys
  end
  for _, key in ipairs(keys) do
    if not IS_LEADING[key] then
      ordered[#ordered + 1] = key
    end
  end
  return ordered
end

-- Looks at all keys once. Returns the length of a list, or nil and the keys of
-- an object in the order in which they are written.
local function examine(state, value, as_list)
  local mark = getmetatable(value)
  local is_list = mark ~= nil and list_marks[mark]
  local count, highest, keys = 0, 0, {}
  for key in step, value do
    local kind = type(key)
    if kind == "string" then
      keys[#keys + 1] = key
    elseif kind ~= "number" then
      fail(state, "a " .. kind .. " cannot be a key in JSON")
    elseif key >= 1 and key % 1 == 0 then
      count = count + 1
      -- Not `if key > highest then highest = key end`: when it is compiled,
      -- LuaJIT 2.1 of 2022 (Debian 12's) then compares a wrong `highest` below
      -- now and then (measured; never with -O-fuse or -joff).
      highest = max(highest, key)
    else
      fail(state, "a number cannot be a key in JSON: write the key as a string")
    end
  end

  if keys[1] and (count > 0 or is_list) then
    fail(state, "a table with both list items and named fields cannot be written as JSON")
  end
  local read = lengths[value]
  if read and highest <= read + count then
    return read > highest and read or highest
  end
  if highest ~= count then
    local missing = 1
    while rawget(value, missing) ~= nil do
      missing = missing + 1
    end
    fail(state, format("a list without item %d (keys of an object are strings, "
      .. "and opperchat.null stands for null)", missing))
  end
  if count > 0 or is_list then
    return count
  end
  if not keys[1] and (mark ~= nil and empty_list_marks[mark]
      or as_list and not (mark ~= nil and object_marks[mark])) then
    return 0
  end
  return nil, in_order(value, keys)
end

local function write_list(state, value, length, context)
  local out, path = state.out, state.path
  local level = #path + 1
  out[#out + 1] = "["
  for i = 1, length do
    if i > 1 then
      out[#out + 1] = ","
    end
    local item = rawget(value, i)
    path[level] = i
    if item == nil then
      out[#out + 1] = "null"
    else
      write(state, item, context, false)
    end
  end
  path[level] = nil
  out[#out + 1] = "]"
end

local function write_field(state, value, key, context, first)
  local out = state.out
  local quoted, bad = core.quote(key)
  if not quoted then
    fail(state, format("a key is not valid UTF-8 at byte %d", bad))
  end
  out[#out + 1] = first and quoted or "," .. quoted
  out[#out + 1] = ":"
  local level = #state.path + 1
  state.path[level] = key
  local item = rawget(value, key)
  local below, as_list = context, false
  if context == NAMES then
    below = KEYWORDS
  elseif context == KEYWORDS then
    as_list = LIST_KEYS[key] or key == "default" and rawget(value, "type") == "array"
    if NAME_MAPS[key] then
      below = NAMES
    elseif PLAIN_VALUES[key] then
      below = PLAIN
    end
  end
  write(state, item, below, as_list)
  state.path[level] = nil
end

local function write_table(state, value, context, as_list)
  if state.open[value] then
    fail(state, "a table inside itself cannot be written as JSON")
  end
  if state.depth >= MAX_DEPTH then
    fail(state, format("nested deeper than %d", MAX_DEPTH))
  end
  state.open[value] = true
  state.depth = state.depth + 1

  local length, keys = examine(state, value, as_list)
  if length then
    write_list(state, value, length, context)
  else
    local out = state.out
    out[#out + 1] = "{"
    for i, key in ipairs(keys) do
      write_field(state, value, key, context, i == 1)
    end
    out[#out + 1] = "}"
  end

  state.depth = state.depth - 1
  state.open[value] = nil
end

function write(state, value, context, as_list)
  local kind = type(value)
  local text, trouble
  if kind == "string" then
    text, trouble = core.quote(value)
    if not text then
      fail(state, format("not valid UTF-8 at byte %d", trouble))
    end
  elseif kind == "number" then
    text, trouble = core.number(value)
    if not text then
      fail(state, trouble)
    end
  elseif kind == "boolean" then
    text = value and "true" or "false"
  elseif value ~= nil and empty_lists[value] then
    text = "[]"
  elseif json.is_null(value) then
    text = "null"
  elseif kind == "table" and getmetatable(value) ~= json.piece_mt then
    return write_table(state, value, context, as_list)
  elseif kind == "table" then
    if not state.takes_pieces then
      fail(state, "an image, a file or audio can only stand in a message")
    end
    text = value
  elseif value == nil then
    fail(state, "nil cannot be written as JSON (opperchat.null stands for null)")
  else
    fail(state, "a " .. kind .. " cannot be written as JSON")
  end
  state.out[#state.out + 1] = text
end

---Writes a value. Keys are sorted (`role` and `model` first), so equal values
---give equal texts.
---
---A table is a list when its keys are exactly 1..n, or when it is marked (by
---`json.array` or the marks of lua-cjson). An empty table without a mark is a
---list under the keys that hold one in JSON Schema and in the API, and an
---object everywhere else.
---
---Raises a string (without a position) that names the path of what cannot be
---written: `messages[2].content: not valid UTF-8 at byte 5`.
---@param value any
---@param key? string the key that the value will stand under
---@param place? string what to call the value in messages; `key` when left out
---@return string text
function json.encode(value, key, place)
  local state = { out = {}, place = place or key, path = {}, depth = 0, open = {} }
  local context = KEYWORDS
  if NAME_MAPS[key] then
    context = NAMES
  elseif PLAIN_VALUES[key] then
    context = PLAIN
  end
  write(state, value, context, LIST_KEYS[key])
  return concat(state.out)
end

---The same for a value in which tables with the metatable `json.piece_mt` may
---stand.
---@param value any
---@param place? string what to call the value in messages
---@return (string|table)[] pieces texts and, between them, those tables
function json.encode_pieces(value, place)
  local state = {
    out = {}, place = place, path = {}, depth = 0, open = {}, takes_pieces = true,
  }
  write(state, value, KEYWORDS)
  local pieces, out, from = {}, state.out, 1
  for i = 1, #out do
    if type(out[i]) == "table" then
      pieces[#pieces + 1] = concat(out, "", from, i - 1)
      pieces[#pieces + 1] = out[i]
      from = i + 1
    end
  end
  pieces[#pieces + 1] = concat(out, "", from)
  return pieces
end

-- ---------------------------------------------------------------------------
-- Reading
-- ---------------------------------------------------------------------------

local MESSAGES = {
  bad_json = "not valid JSON",
  bad_utf8 = "not valid UTF-8",
  nesting_too_deep = "nested too deeply",
}

-- A build that reads integers as such stops at 64 bits, where the others go on
-- as doubles.
local reads_integers = number_type ~= nil
  and number_type(instance.decode("[1]")[1]) == "integer"

-- What stands in an array in place of nothing while lua-cjson reads it, and in place
-- of a long string. An address that nobody outside can know.
local ADDRESS = match(tostring({}), "(%w+)$")
local EMPTY, LIFTED = "opperchat empty list " .. ADDRESS, "opperchat string " .. ADDRESS .. " "

-- The same, if somebody did: something that the text does not have.
local function absent(text, marker)
  while find(text, marker, 1, true) do
    marker = "+" .. marker
  end
  return marker
end

-- lua-cjson refuses half a surrogate pair, which is valid JSON and comes from
-- models that cut a text in the middle of an emoji. Outside of strings JSON has
-- no backslash, so the whole text can be walked from escape to escape.
local function mend_surrogates(text)
  local parts, from = {}, 1
  local at = find(text, "\\", 1, true)
  while at do
    local half = match(text, "^u[dD]([89a-fA-F])%x%x", at + 1)
    if not half then
      at = at + 2
    elseif match(half, "[89abAB]") and match(text, "^\\u[dD][c-fC-F]%x%x", at + 6) then
      at = at + 12
    else
      parts[#parts + 1] = sub(text, from, at - 1)
      parts[#parts + 1] = "\\ufffd"
      at = at + 6
      from = at
    end
    at = find(text, "\\", at, true)
  end
  parts[#parts + 1] = sub(text, from)
  return concat(parts)
end

local function as_double(number)
  if #number >= 16 and not find(number, "[.eE]") then
    return number .. "e0"
  end
end

-- Writes integers that may not fit as doubles, outside of strings.
local function mend_integers(text)
  local parts, at = {}, 1
  repeat
    local open = find(text, "\"", at, true)
    parts[#parts + 1] = gsub(sub(text, at, open and open - 1), "%-?%d[%d.eE+-]*", as_double)
    if open then
      local close = find(text, "[\"\\]", open + 1)
      while sub(text, close, close) == "\\" do
        close = find(text, "[\"\\]", close + 2)
      end
      parts[#parts + 1] = sub(text, open, close)
      at = close + 1
    end
  until not open
  return concat(parts)
end

local function clean_number(number)
  if number >= -MAX_EXACT and number <= MAX_EXACT then
    return tointeger(number) or number
  end
  return number + 0.0
end

-- Makes what lua-cjson returned independent of its build, in place; puts what was
-- lifted back.
local function clean(value, empty, lifted)
  local first = value[1]
  if first == nil and next(value) == nil then
    return setmetatable(value, nil)     -- vim.json marks empty objects
  end
  if empty and first == empty then
    value[1] = nil
    return setmetatable(value, json.array_mt)
  end
  local length = first ~= nil and #value
  for key, item in step, value do
    local kind = type(item)
    if kind == "table" then
      clean(item, empty, lifted)
      if LIST_KEYS[key] and next(item) == nil and getmetatable(item) == nil then
        setmetatable(item, object_mt)
      end
    elseif kind == "number" then
      if tointeger then
        value[key] = clean_number(item)
      end
    elseif kind == "string" then
      if lifted and lifted[item] then
        value[key] = lifted[item]
      end
    elseif kind ~= "boolean" then
      value[key] = nil
      if length then
        lengths[value] = length
        setmetatable(value, json.array_mt)
      end
    end
  end
  return value
end

---Reads a JSON text, strictly (RFC 8259) and the same with every lua-cjson.
---
---null becomes nil. In an array it leaves a hole, so that the other items stay
---where they are; count such an array with `pairs`. Integral numbers up to
---2^53 become integers where Lua has them; beyond, digits may be lost. Empty
---arrays carry `json.array_mt`. When a key comes twice the last one counts.
---@param text string
---@return any value nil for the text `null`
---@return string? message nil when the text could be read
function json.decode(text)
  if type(text) ~= "string" then
    return nil, "string expected, got " .. type(text)
  end
  -- the core has seen all of the text: looking for these with patterns took five
  -- times as long as lua-cjson takes
  local valid, surrogates, long_numbers, empty_arrays, long_strings = core.check_json(text)
  if not valid then
    local code, at = surrogates, long_numbers
    return nil, format("%s at byte %d", MESSAGES[code] or code, at)
  end

  local lifted
  if long_strings then
    text, lifted = core.lift_strings(text, absent(text, LIFTED))
  end
  if surrogates then
    text = mend_surrogates(text)
  end
  if reads_integers and long_numbers then
    text = mend_integers(text)
  end
  local empty
  if empty_arrays then
    empty = absent(text, EMPTY)
    text = core.mark_empty_arrays(text, "\"" .. empty .. "\"")
  end

  local read, value = pcall(instance.decode, text)
  if not read then
    -- lua-cjson remembers the decimal point of the locale it was made in, and
    -- the host may have changed it since. A new instance asks again.
    instance = private_instance()
    read, value = pcall(instance.decode, text)
    if not read then
      return nil, "cannot be read: " .. tostring(value)
    end
  end

  local kind = type(value)
  if kind == "table" then
    return clean(value, empty, lifted)
  elseif kind == "number" then
    return tointeger and clean_number(value) or value
  elseif kind == "string" then
    return lifted and lifted[value] or value
  elseif kind == "boolean" then
    return value
  end
  return nil
end

---Which build of lua-cjson is in use, for people.
---@return string
function json.describe()
  if vim and build == vim.json then
    return "vim.json"
  end
  return ("lua-cjson %s (%s)"):format(build._VERSION or "of unknown version",
    build.empty_array ~= nil and "OpenResty's" or "classic")
end

return json
