---Reads the annotations of lua/opperchat/types.lua, for the API reference and
---for the spec that compares them with what there is.
---
---A description is what stands above a class or function, or behind a field,
---parameter or result; a line without `@` goes on with it. Lines indented by
---four blanks in it are an example.
local types = {}

types.PATH = "lua/opperchat/types.lua"

-- Splits what follows a name into a type and its description. A type ends at a
-- blank outside of brackets, but for those of `fun(): one, other`.
local function split_type(text)
  local depth, at = 0, 1
  local quoted
  while at <= #text do
    local char = text:sub(at, at)
    if quoted then
      quoted = char ~= "\"" or nil
    elseif char == "\"" then
      quoted = true
    elseif char:find("[%(<{%[]") then
      depth = depth + 1
    elseif char:find("[%)>}%]]") then
      depth = depth - 1
    elseif char == " " and depth == 0 and not text:sub(at - 1, at - 1):find("[,:]") then
      break
    end
    at = at + 1
  end
  return text:sub(1, at - 1), text:sub(at + 1)
end

local function add_text(entry, text)
  entry.text = entry.text == "" and text or entry.text .. " " .. text
end

---@class opperchat.doc.Entry a field, a parameter or a result
---@field name? string
---@field type string
---@field is_optional boolean
---@field text string

---@class opperchat.doc.Function
---@field name string
---@field is_method boolean
---@field arguments string[]
---@field text string[] lines
---@field params opperchat.doc.Entry[]
---@field returns opperchat.doc.Entry[]
---@field line integer

---@class opperchat.doc.Class
---@field name string
---@field parents string[]
---@field text string[] lines
---@field fields opperchat.doc.Entry[]
---@field functions opperchat.doc.Function[]
---@field operators opperchat.doc.Entry[] `call`, `len`: what can be done with an object itself
---@field values? string[] of an alias
---@field section string
---@field line integer

-- Parts of a tag's line: name, optional mark, type, description.
local function read_entry(rest, has_name)
  local entry = { is_optional = false }
  if has_name then
    local name, mark, more = rest:match("^(%S-)(%??) (.*)$")
    if rest:sub(1, 1) == "[" then
      name, more = rest:match("^(%b[]) (.*)$")
      mark = ""
    end
    entry.name, entry.is_optional, rest = name, mark == "?", more
  end
  entry.type, entry.text = split_type(rest)
  return entry
end

---@param path? string
---@return opperchat.doc.Class[] classes in their order, aliases among them
---@return table<string, opperchat.doc.Class> by_name
function types.read(path)
  local file = assert(io.open(path or types.PATH))
  local classes, by_name, by_variable = {}, {}, {}
  local section, number = "", 0
  -- what is being read: lines of text, the class or alias, the tags of a function
  local text, class, params, returns, last, is_banner = {}, nil, {}, {}, nil, false

  local function start_over()
    text, params, returns, last = {}, {}, {}, nil
  end

  local function begin(name, parents)
    class = {
      name = name, parents = {}, text = text, fields = {}, functions = {}, operators = {},
      section = section, line = number,
    }
    for parent in (parents or ""):gmatch("[%w._]+") do
      table.insert(class.parents, parent)
    end
    assert(not by_name[name], name .. ": twice")
    classes[#classes + 1], by_name[name] = class, class
    start_over()
  end

  local tags = {}

  function tags.class(rest)
    begin(rest:match("^([%w._]+):?%s*(.*)$"))
  end

  function tags.alias(rest)
    local name, value = rest:match("^(%S+)%s*(.*)$")
    begin(name)
    class.values = {}
    if value ~= "" then
      class.values[1] = value
      last = { append = function(more)
        class.values[1] = class.values[1] .. " " .. more
      end }
    end
  end

  function tags.field(rest)
    last = read_entry(rest, true)
    table.insert(class.fields, last)
  end

  function tags.param(rest)
    last = read_entry(rest, true)
    params[#params + 1] = last
  end

  tags["return"] = function(rest)
    last = read_entry(rest, false)
    -- a name is a word before anything else
    local name, more = last.text:match("^([%a_][%w_]*)%f[^%w_] ?(.*)$")
    if last.text:find("^%.%.%.") then
      name, more = "...", last.text:sub(5)
    end
    last.name, last.text = name, more or last.text
    returns[#returns + 1] = last
  end

  -- what can be done with an object itself: "fun(): string?", "len: integer"
  function tags.overload(rest)
    last = { name = "call" }
    last.type, last.text = split_type(rest)
    table.insert(class.operators, last)
  end

  function tags.operator(rest)
    local name, more = rest:match("^(%l+): (.*)$")
    last = { name = name }
    last.type, last.text = split_type(more)
    table.insert(class.operators, last)
  end

  function tags.meta() end

  for line in file:lines() do
    number = number + 1
    local tag, rest = line:match("^%-%-%-@(%l+) ?(.*)$")
    local owner, separator, name, arguments =
      line:match("^function (%w+)([.:])([%w_]+)%((.-)%) end$")
    local variable = line:match("^local (%w+) = {}$")
    if tag then
      assert(tags[tag], ("%s:%d: @%s"):format(types.PATH, number, tag))(rest)
    elseif line:find("^%-%-%-|") then
      table.insert(class.values, (line:match("^%-%-%-| ?(.*)$")))
    elseif line:find("^%-%-%-") then
      local words = line:sub(4)
      if last and last.append then
        last.append(words)
      elseif last and last.text == "" and last.type:find(",$") then
        -- a type that has more results than fit into its line
        last.type, last.text = split_type(last.type .. " " .. words)
      elseif last then
        add_text(last, words)
      else
        text[#text + 1] = words
      end
    elseif owner then
      local of = assert(by_variable[owner], owner)
      local fn = {
        name = name, is_method = separator == ":", arguments = {}, text = text,
        params = params, returns = returns, line = number,
      }
      for argument in arguments:gmatch("[%w_.]+") do
        table.insert(fn.arguments, argument)
      end
      table.insert(of.functions, fn)
      start_over()
    elseif variable then
      by_variable[variable] = class
      start_over()
    elseif line:find("^%-%- %-%-%-") then
      is_banner = not is_banner
    elseif is_banner and line:find("^%-%- ") then
      section = line:sub(4)
    elseif line == "" then
      start_over()
    end
  end
  file:close()
  return classes, by_name
end

---All fields and functions of a class by name, with those of its parents.
---@param by_name table<string, opperchat.doc.Class>
---@param name string
---@return table<string, opperchat.doc.Entry|opperchat.doc.Function>
function types.members(by_name, name)
  local class = assert(by_name[name], name)
  local result = {}
  for _, parent in ipairs(class.parents) do
    for field, entry in pairs(types.members(by_name, parent)) do
      result[field] = entry
    end
  end
  for _, entry in ipairs(class.fields) do
    result[entry.name] = entry
  end
  for _, fn in ipairs(class.functions) do
    result[fn.name] = fn
  end
  return result
end

return types
