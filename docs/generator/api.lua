-- Writes docs/api.md, the reference of all classes and functions, from the
-- annotations in lua/opperchat/types.lua.
--
--   lua docs/generator/api.lua           prints the page
--   lua docs/generator/api.lua PATH      writes it there

package.path = arg[0]:gsub("[^/]*$", "?.lua;") .. package.path

local types = require "types"

-- What a program calls things by; the rest are tables, shown as classes.
local VARIABLES = {
  ["opperchat"] = "opperchat", ["opperchat.Client"] = "client",
  ["opperchat.Conversation"] = "chat", ["opperchat.Request"] = "request",
  ["opperchat.Task"] = "task", ["opperchat.Policies"] = "opperchat.policy",
  ["opperchat.History"] = "opperchat.history", ["opperchat.Draft"] = "draft",
  ["opperchat.loop.Nvim"] = 'require("opperchat.loop.nvim")',
  ["opperchat.loop.Luv"] = 'require("opperchat.loop.luv")',
  ["opperchat.loop.Cqueues"] = 'require("opperchat.loop.cqueues")',
  ["opperchat.nvim"] = 'require("opperchat.nvim")',
}

-- Who looks something up wants functions first.
local ORDER = {
  "The module", "Objects", "Options", "Answers", "Messages", "Policies", "Keeping", "Event loops",
  "Neovim",
}

local classes, by_name = types.read()

local out = {}

local function write(text)
  out[#out + 1] = text
end

-- As headings are turned into anchors.
local function anchor(heading)
  return (heading:lower():gsub("[^%w _-]", ""):gsub(" ", "-"))
end

local function short(name)
  return name == "opperchat" and "opperchat (module)" or (name:gsub("^opperchat%.", ""))
end

-- Types in a table's cell, with links to what is described on this page.
local function type_text(text)
  local links, seen = {}, {}
  for name in text:gmatch("opperchat%.[%w.]+") do
    if by_name[name] and not seen[name] then
      seen[name] = true
      links[#links + 1] = ("[%s](#%s)"):format(short(name), anchor(short(name)))
    end
  end
  local plain = text:gsub("opperchat%.([%w.]+)", "%1")
  if #links == 1 and text == text:match("^opperchat%.[%w.]+$") then
    return links[1]
  end
  local code = "`" .. plain:gsub("|", "\\|") .. "`"
  return #links > 0 and code .. " (" .. table.concat(links, ", ") .. ")" or code
end

local function cell(text)
  return (text:gsub("|", "\\|"))
end

local function sentence(text)
  return text == "" and "" or text:sub(1, 1):upper() .. text:sub(2)
end

-- Prose and examples of a description. Examples are whole programs on the page.
local function write_text(lines)
  local example = {}
  local function finish_example()
    if example[1] then
      write("")
      write("```lua")
      write("local opperchat = require \"opperchat\"")
      for _, line in ipairs(example) do
        write(line)
      end
      write("```")
      example = {}
    end
  end
  for _, line in ipairs(lines) do
    if line:find("^    ") then
      example[#example + 1] = line:sub(5)
    elseif line == "" then
      finish_example()
      if out[#out] ~= "" then
        write("")
      end
    else
      finish_example()
      write(line)
    end
  end
  -- a blank line before an example is written with it
  if example[1] and out[#out] == "" then
    out[#out] = nil
  end
  finish_example()
end

-- The tables of a function's parameters or results.
local function write_entries(title, entries, has_defaults)
  if not entries[1] then
    return
  end
  write("")
  write(("| %s | type | |"):format(title))
  write("|---|---|---|")
  for _, entry in ipairs(entries) do
    local name = entry.name and "`" .. entry.name .. "`" or ""
    local mark = has_defaults and entry.is_optional and " (optional)" or ""
    write(("| %s%s | %s | %s |"):format(name, mark, type_text(entry.type),
      cell(sentence(entry.text))))
  end
end

local function signature(class, fn)
  local arguments, closing = {}, 0
  for i, name in ipairs(fn.arguments) do
    local param = fn.params[i]
    local separator = i > 1 and ", " or ""
    if param and param.is_optional and fn.arguments[i + 1] == nil
        or param and param.is_optional and fn.params[i + 1] and fn.params[i + 1].is_optional then
      arguments[#arguments + 1] = "[" .. separator .. name
      closing = closing + 1
    else
      arguments[#arguments + 1] = separator .. name
    end
  end
  local variable = VARIABLES[class.name] or short(class.name)
  return ("%s%s%s(%s)"):format(variable, fn.is_method and ":" or ".", fn.name,
    table.concat(arguments) .. ("]"):rep(closing))
end

local function write_function(class, fn)
  write("")
  write("### `" .. signature(class, fn) .. "`")
  write("")
  write_text(fn.text)
  write_entries("parameter", fn.params, true)
  write_entries("returns", fn.returns, false)
end

-- What an operator looks like: { with the object, type of the result }.
local function operator_text(class, operator)
  local variable = VARIABLES[class.name]
  if operator.name == "len" then
    return "#" .. variable, operator.type
  end
  assert(operator.name == "call", operator.name)
  return variable .. operator.type:match("^fun(%b())"), operator.type:match("^fun%b():%s*(.*)$")
end

local function write_operators(class)
  if not class.operators[1] then
    return
  end
  write("")
  write("| the object itself | type | |")
  write("|---|---|---|")
  for _, operator in ipairs(class.operators) do
    local text, result = operator_text(class, operator)
    write(("| `%s` | %s | %s |"):format(text, type_text(result), cell(sentence(operator.text))))
  end
end

local function write_fields(class)
  if not class.fields[1] then
    return
  end
  write("")
  write("| field | type | |")
  write("|---|---|---|")
  for _, field in ipairs(class.fields) do
    write(("| `%s`%s | %s | %s |"):format(field.name, field.is_optional and " (optional)" or "",
      type_text(field.type), cell(sentence(field.text))))
  end
end

local function write_class(class)
  write("")
  write("## " .. short(class.name))
  write("")
  write_text(class.text)
  if class.parents[1] then
    local links = {}
    for i, parent in ipairs(class.parents) do
      links[i] = ("[%s](#%s)"):format(short(parent), anchor(short(parent)))
    end
    write("")
    write("Has the fields of " .. table.concat(links, " and ") .. " too.")
  end
  for _, value in ipairs(class.values or {}) do
    write("")
    write("- " .. type_text(value))
  end
  write_operators(class)
  write_fields(class)
  for _, fn in ipairs(class.functions) do
    write_function(class, fn)
  end
end

local function sections()
  local names, seen, result = {}, {}, {}
  for _, name in ipairs(ORDER) do
    names[#names + 1], seen[name] = name, true
  end
  for _, class in ipairs(classes) do
    assert(seen[class.section], class.section .. ": a section that docs/generator/api.lua "
      .. "has no place for")
  end
  for i, name in ipairs(names) do
    local own = {}
    for _, class in ipairs(classes) do
      if class.section == name then
        own[#own + 1] = class
      end
    end
    result[i] = { name = name, classes = own }
  end
  return result
end

-- What has functions, each with them; then the tables of the section.
local function write_contents(list)
  for _, section in ipairs(list) do
    write("")
    write("**" .. section.name .. "**")
    write("")
    local tables = {}
    for _, class in ipairs(section.classes) do
      local link = ("[%s](#%s)"):format(short(class.name), anchor(short(class.name)))
      local links = {}
      for i, fn in ipairs(class.functions) do
        links[i] = ("[%s](#%s)"):format(fn.name, anchor(signature(class, fn)))
      end
      if links[1] then
        write("- " .. link .. ": " .. table.concat(links, ", "))
      else
        tables[#tables + 1] = link
      end
    end
    if tables[1] then
      write("- " .. table.concat(tables, ", "))
    end
  end
end

write([[
# API reference

```lua
local opperchat = require "opperchat"

local chat = opperchat.conversation{ model = "openai/gpt-5-mini" }
print(assert(chat:send("What's a vector?")).content)
```

Every function, option and field, as editors with a Lua language server show them. This page is
written by `make docs` from `lua/opperchat/types.lua`; the [other pages](README.md) tell what to do
with all of it.

In signatures, `[...]` may be left out, and `chat`, `client`, `request`, `task` and `draft` are
objects. Defaults stand in round brackets. Seconds are numbers with fractions. Misuse is raised
at the line of the caller; what can go wrong at run time comes back as `nil` and an
[Error](#error).]])

local list = sections()
write_contents(list)
for _, section in ipairs(list) do
  for _, class in ipairs(section.classes) do
    write_class(class)
  end
end

-- Two headings with one anchor: the second one cannot be linked to.
local headings = {}
for _, line in ipairs(out) do
  local heading = line:match("^#+ `?(.-)`?$")
  if heading then
    local name = anchor(heading)
    assert(not headings[name], ("the headings '%s' and '%s' have one anchor"):format(
      tostring(headings[name]), heading))
    headings[name] = heading
  end
end

local page = table.concat(out, "\n"):gsub("[ \t]+\n", "\n"):gsub("\n\n\n+", "\n\n") .. "\n"
if arg[1] then
  local file = assert(io.open(arg[1], "w"))
  assert(file:write(page))
  assert(file:close())
else
  io.write(page)
end
