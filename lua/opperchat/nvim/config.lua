---What `setup` takes. Nothing of opperchat is loaded to look at it.
local config = {}

---@type opperchat.nvim.Options
local DEFAULTS = {
  model = "openai/gpt-5-mini",
  system = "You are a concise assistant inside a text editor. Answer in Markdown.",
  window = "split",
  focus = true,
  journal = false,
  keymaps = false,
  buffer_keymaps = { send = "<CR>", stop = "<C-c>" },
}

local WINDOWS = { split = true, vsplit = true, float = true, current = true }

local KEYS = {
  keymaps = { ask = true, new = true, stop = true },
  buffer_keymaps = { send = true, stop = true },
}

-- What has an option of its own, or nobody here who would see to it.
local ELSEWHERE = {
  client = "is an option of its own", journal = "is an option of its own",
  messages = "begin with the first question", tools = "are not run by this plugin",
}

-- Each says what was expected when it is something else.
local CHECKS = {
  model = function(value)
    return type(value) == "string" and value ~= "" or "string expected"
  end,
  system = function(value)
    return type(value) == "string" or value == false or "string or false expected"
  end,
  client = function(value)
    return type(value) == "table" or type(value) == "userdata" or "table or client expected"
  end,
  conversation = function(value)
    for name in pairs(type(value) == "table" and value or {}) do
      if ELSEWHERE[name] then
        return ("'%s' %s"):format(name, ELSEWHERE[name])
      end
    end
    return type(value) == "table" or "table expected"
  end,
  policy = function(value)
    return type(value) == "table" or type(value) == "function" or "policy or function expected"
  end,
  window = function(value)
    return WINDOWS[value] or type(value) == "function"
      or "\"split\", \"vsplit\", \"float\", \"current\" or a function expected"
  end,
  size = function(value)
    return type(value) == "number" and value > 0 or "number above 0 expected"
  end,
  focus = function(value)
    return type(value) == "boolean" or "boolean expected"
  end,
  journal = function(value)
    return type(value) == "boolean" or type(value) == "string" and value ~= ""
      or "path of a folder, true or false expected"
  end,
}

-- " (did you mean 'model'?)"; only a mistake is worth loading that for.
local function suggestion(name, known)
  local worked, options = pcall(require, "opperchat.options")
  local near = worked and options.nearest(name, vim.tbl_keys(known))
  return near and (" (did you mean '%s'?)"):format(near) or ""
end

local function unknown(what, name, known)
  return ("unknown %s '%s'%s"):format(what, tostring(name), suggestion(name, known))
end

for option, known in pairs(KEYS) do
  CHECKS[option] = function(value)
    if value == false then
      return true
    elseif type(value) ~= "table" then
      return "table or false expected"
    end
    for name, key in pairs(value) do
      if not known[name] then
        return unknown("key", name, known)
      elseif key ~= false and (type(key) ~= "string" or key == "") then
        return ("'%s': string or false expected, got %s"):format(name, type(key))
      end
    end
    return true
  end
end

-- What was given, without showing it: it may be a key.
local function got(value)
  return type(value) == "string" and "a string" or type(value)
end

---Checks options, and adds what they leave out.
---@param given? opperchat.nvim.Options
---@return opperchat.nvim.Options? options
---@return string? problem
function config.resolve(given)
  if given ~= nil and type(given) ~= "table" then
    return nil, "table of options expected, got " .. type(given)
  end
  local result = {}
  for name, value in pairs(DEFAULTS) do
    result[name] = value
  end
  for name, value in pairs(given or {}) do
    local check = CHECKS[name]
    if not check then
      return nil, unknown("option", name, CHECKS)
    end
    local problem = check(value)
    if problem ~= true then
      return nil, ("option '%s': %s%s"):format(name, problem,
        problem:find(" expected$") and ", got " .. got(value) or "")
    end
    result[name] = value
  end
  if result.buffer_keymaps then
    local keymaps = {}
    for name, default in pairs(DEFAULTS.buffer_keymaps) do
      keymaps[name] = default
    end
    for name, key in pairs(result.buffer_keymaps) do
      keymaps[name] = key
    end
    result.buffer_keymaps = keymaps
  end
  return result
end

---The options in force.
---@type opperchat.nvim.Options
config.current = assert(config.resolve())

---The names of all options.
---@return string[]
function config.names()
  local names = {}
  for name in pairs(CHECKS) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

---The folder of the journals; nil when there is none.
---@return string?
function config.journal_folder()
  local journal = config.current.journal
  if not journal then
    return nil
  elseif journal == true then
    return vim.fn.stdpath("data") .. "/opperchat"
  end
  return (vim.fn.fnamemodify(vim.fn.expand(journal), ":p"):gsub("(.)/$", "%1"))
end

return config
