---The words of the command line, as a table.
local options = require "opperchat.options"

local arguments = {}

---What the command was asked to do.
---@class opperchat.command.Arguments
---@field words string[] the question
---@field system? string
---@field model? string
---@field attach? string[]
---@field schema? string
---@field continue? boolean
---@field chat? string
---@field interactive? boolean
---@field option? string[] `key=value`
---@field ["no-stream"]? boolean
---@field ["no-save"]? boolean
---@field usage? boolean
---@field ["base-url"]? string
---@field ["key-file"]? string
---@field debug? boolean
---@field list? boolean
---@field show? string
---@field models? boolean
---@field doctor? boolean
---@field version? boolean
---@field help? boolean

-- `value`: what stands behind it; `many`: each time is one more; `mode`: it is
-- done in the place of asking; `config`: the file of defaults may have it.
local KNOWN = {
  system = { short = "s", value = "TEXT", config = true },
  model = { short = "m", value = "NAME", config = true },
  attach = { short = "a", value = "FILE", many = true },
  schema = { value = "SCHEMA" },
  continue = { short = "c" },
  chat = { value = "ID" },
  interactive = { short = "i" },
  option = { short = "o", value = "KEY=VALUE", many = true, config = true },
  ["no-stream"] = { config = true },
  ["no-save"] = { config = true },
  usage = { short = "u", config = true },
  ["base-url"] = { value = "URL", config = true },
  ["key-file"] = { value = "FILE", config = true },
  debug = {},
  list = { short = "l", mode = true },
  show = { value = "ID", mode = true },
  models = { mode = true },
  doctor = { mode = true },
  version = { short = "V", mode = true },
  help = { short = "h", mode = true },
}

local BY_LETTER, NAMES = {}, {}
for name, option in pairs(KNOWN) do
  NAMES[#NAMES + 1] = name
  if option.short then
    BY_LETTER[option.short] = name
  end
end

---The longest word of the command line that is repeated to the user.
local SHOWN = 64

local function put(parsed, name, value)
  local option = KNOWN[name]
  if option.many then
    parsed[name] = parsed[name] or {}
    table.insert(parsed[name], value)
  else
    parsed[name] = value
  end
end

local function unknown(word)
  local near = options.nearest(word:gsub("^%-+", ""), NAMES)
  return ("unknown option '%s'%s"):format(word:sub(1, SHOWN),
    near and #word > 2 and " (did you mean '--" .. near .. "'?)" or "")
end

-- `--name`, `--name=value`, `--name value`. Returns how many words it took.
local function read_long(parsed, word, following)
  local name, value = word:match("^%-%-([^=]*)=(.*)$")
  name = name or word:sub(3)
  local option = KNOWN[name]
  if not option then
    return nil, unknown("--" .. name)
  elseif not option.value then
    if value then
      return nil, "--" .. name .. " takes no value"
    end
    put(parsed, name, true)
    return 1
  elseif value then
    put(parsed, name, value)
    return 1
  elseif following == nil then
    return nil, ("--%s wants %s behind it"):format(name, option.value)
  end
  put(parsed, name, following)
  return 2
end

-- `-c`, `-cu`, `-m NAME`, `-mNAME`, `-cm NAME`.
local function read_short(parsed, word, following)
  for at = 2, #word do
    local letter = word:sub(at, at)
    local name = BY_LETTER[letter]
    if not name then
      return nil, unknown("-" .. letter)
    elseif KNOWN[name].value then
      local value = word:sub(at + 1)
      if value ~= "" then
        put(parsed, name, value)
        return 1
      elseif following == nil then
        return nil, ("-%s wants %s behind it"):format(letter, KNOWN[name].value)
      end
      put(parsed, name, following)
      return 2
    end
    put(parsed, name, true)
  end
  return 1
end

-- What cannot be wanted at the same time.
local function check(parsed)
  local mode
  for _, name in ipairs { "list", "show", "models", "doctor" } do
    if parsed[name] and mode then
      return ("--%s and --%s are two things to do"):format(mode, name)
    end
    mode = parsed[name] and name or mode
  end
  if mode and mode ~= "models" and #parsed.words > 0 then
    return ("--%s asks no question, so what is '%s'?"):format(mode,
      parsed.words[1]:sub(1, SHOWN))
  elseif parsed.continue and parsed.chat then
    return "--continue and --chat are two chats"
  elseif parsed.interactive and parsed.schema then
    return "--schema is for one question, --interactive for many"
  end
end

---Reads the words.
---@param given string[]
---@return opperchat.command.Arguments? parsed
---@return string? problem
function arguments.parse(given)
  local parsed, at = { words = {} }, 1
  while given[at] do
    local word = given[at]
    local count, problem = 1, nil
    if word == "--" then
      for i = at + 1, #given do
        table.insert(parsed.words, given[i])
      end
      break
    elseif word:find("^%-%-") then
      count, problem = read_long(parsed, word, given[at + 1])
    elseif word:find("^%-.") then
      count, problem = read_short(parsed, word, given[at + 1])
    else
      table.insert(parsed.words, word)
    end
    if not count then
      return nil, problem
    end
    at = at + count
  end
  local problem = check(parsed)
  if problem then
    return nil, problem
  end
  return parsed
end

---Reads the file of defaults: lines `name = value`, the names those of long options.
---@param text string
---@return opperchat.command.Arguments? parsed
---@return string? problem
function arguments.parse_file(text)
  local parsed, number = { words = {} }, 0
  for line in (text .. "\n"):gmatch("([^\n]*)\r?\n") do
    number = number + 1
    line = line:gsub("^%s+", ""):gsub("%s+$", "")
    if line ~= "" and not line:find("^#") then
      local name, value = line:match("^([%w-]+)%s*=%s*(.*)$")
      name = name or line
      local option = KNOWN[name]
      if not option or not option.config then
        return nil, ("line %d: no such setting '%s'"):format(number, name:sub(1, SHOWN))
      elseif (option.value ~= nil) ~= (value ~= nil) then
        return nil, ("line %d: %s"):format(number, option.value
          and name .. " = " .. option.value .. " expected" or name .. " takes no value")
      end
      put(parsed, name, value or true)
    end
  end
  return parsed
end

---Adds defaults to what was typed. Of an option that may come several times, what
---was typed comes last and so goes first.
---@param parsed opperchat.command.Arguments
---@param defaults opperchat.command.Arguments
function arguments.merge(parsed, defaults)
  for name, value in pairs(defaults) do
    local option = KNOWN[name]
    if option and option.many then
      local list = {}
      for _, from in ipairs { value, parsed[name] or {} } do
        for _, item in ipairs(from) do
          list[#list + 1] = item
        end
      end
      parsed[name] = list
    elseif option and parsed[name] == nil then
      parsed[name] = value
    end
  end
end

---Names and letters of all options, for whoever checks the help.
---@return table<string, {short?: string, value?: string, config?: boolean}>
function arguments.known()
  return KNOWN
end

return arguments
