--- How the pretend model fills in a JSON Schema: with what it finds in the text
-- it was sent, by a few plain rules.
--
--   a property    what stands behind its name: "Due date: 2024-04-04"
--   a list        what stands behind its name, separated by commas; of objects,
--                 the rows below a line that has the names of their properties
--   a choice      the first of the values that is in the text
--
-- and otherwise a date for what is called a date, the first line for a name or
-- a title. What is not found is left out, or empty where it is required.

local cjson = require("cjson").new()

local reader = {}

local function words_of(name)
  return (name:gsub("_", " "):gsub("(%l)(%u)", "%1 %2"):lower())
end

-- Letters only, so that the name can be looked for anywhere.
local function plain(text)
  return (text:lower():gsub("%s+", " "):gsub("^ ", ""):gsub(" $", ""))
end

local function lines_of(text)
  local lines = {}
  for line in (text .. "\n"):gmatch("([^\n]*)\n") do
    lines[#lines + 1] = (line:gsub("\r$", ""))
  end
  return lines
end

-- What stands behind "name:" at the beginning of a line.
local function labelled(lines, name)
  local wanted = words_of(name)
  for _, line in ipairs(lines) do
    local label, value = line:match("^%s*([^:]+):%s*(.-)%s*$")
    if label and plain(label) == wanted and value ~= "" then
      return value
    end
  end
  return nil
end

-- Cells are two blanks or a tab apart.
local function cells_of(line)
  local cells = {}
  for cell in (line:gsub("\t", "  ") .. "  "):gmatch("%s*(.-)%s%s+") do
    if cell ~= "" then
      cells[#cells + 1] = cell
    end
  end
  return cells
end

-- The rows of a table: lists of lines "column: cell", as if each were a text of
-- its own.
local function rows_for(lines, properties)
  for i, line in ipairs(lines) do
    local columns, known = cells_of(line), 0
    for _, column in ipairs(columns) do
      for name in pairs(properties) do
        known = known + (words_of(name) == plain(column) and 1 or 0)
      end
    end
    if known >= 2 then
      local rows = {}
      for j = i + 1, #lines do
        local cells = cells_of(lines[j])
        if #cells == 0 then
          break
        end
        local row = {}
        for k, cell in ipairs(cells) do
          row[k] = (columns[k] or "") .. ": " .. cell
        end
        rows[#rows + 1] = row
      end
      return rows
    end
  end
  return {}
end

local function find_number(text)
  local number = text and text:gsub("(%d),(%d%d%d)", "%1%2"):match("%-?%d+%.?%d*")
  return tonumber(number)
end

local function find_date(lines)
  for _, line in ipairs(lines) do
    local date = line:match("%d%d%d%d%-%d%d%-%d%d")
    if date then
      return date
    end
  end
  return nil
end

local function first_line(lines)
  for _, line in ipairs(lines) do
    if line:find("%S") then
      return line:match("^%s*(.-)%s*$")
    end
  end
  return nil
end

-- The choice whose name comes first in the text.
local function find_choice(lines, name, values)
  local text = (labelled(lines, name) or table.concat(lines, "\n")):lower()
  local best, best_at
  for _, value in ipairs(values) do
    local at = text:find(tostring(value):lower(), 1, true)
    if at and (not best_at or at < best_at) then
      best, best_at = value, at
    end
  end
  return best
end

local TRUE = { yes = true, ["true"] = true, y = true, x = true }

-- Each returns JSON text, or nil when there is nothing in the text.
local read = {}

function read.string(lines, name, schema)
  local value = labelled(lines, name)
  local words = " " .. words_of(name) .. " "
  if not value and (schema.format == "date" or words:find(" date ", 1, true)) then
    value = find_date(lines)
  elseif not value and (words:find(" name ", 1, true) or words:find(" title ", 1, true)
      or words:find(" seller ", 1, true) or words:find(" subject ", 1, true)) then
    value = first_line(lines)
  end
  return value and cjson.encode(value)
end

function read.number(lines, name)
  local value = find_number(labelled(lines, name))
  return value and (("%.14g"):format(value))
end

function read.integer(lines, name)
  local value = find_number(labelled(lines, name))
  return value and ("%d"):format(math.floor(value))
end

function read.boolean(lines, name)
  local value = labelled(lines, name)
  return value and (TRUE[value:lower()] and "true" or "false")
end

local EMPTY = {
  string = '""', number = "0", integer = "0", boolean = "false", array = "[]", object = "{}",
  null = "null",
}

local function type_of(schema)
  local kind = schema.type
  if type(kind) == "table" then
    kind = kind[1]
  end
  return kind or schema.properties and "object" or "string"
end

local fill

function read.object(lines, _, schema)
  local required, names, fields = {}, {}, {}
  for _, name in ipairs(schema.required or {}) do
    required[name] = true
  end
  for name in pairs(schema.properties or {}) do
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local value = fill(lines, name, schema.properties[name], required[name])
    if value then
      fields[#fields + 1] = cjson.encode(name) .. ":" .. value
    end
  end
  return "{" .. table.concat(fields, ",") .. "}"
end

function read.array(lines, name, schema)
  local items, values = type(schema.items) == "table" and schema.items or {}, {}
  if type_of(items) == "object" then
    for _, row in ipairs(rows_for(lines, items.properties or {})) do
      values[#values + 1] = fill(row, name, items, true)
    end
  else
    for part in (labelled(lines, name) or ""):gmatch("[^,;]+") do
      values[#values + 1] = fill({ name .. ": " .. part }, name, items, true)
    end
  end
  return "[" .. table.concat(values, ",") .. "]"
end

-- The value of a property as JSON text; nil when it can be left out.
function fill(lines, name, schema, is_required)
  if schema.const ~= nil then
    return cjson.encode(schema.const)
  elseif schema.enum then
    local choice = find_choice(lines, name, schema.enum)
    if choice == nil and is_required then
      choice = schema.enum[#schema.enum]
    end
    return choice ~= nil and cjson.encode(choice) or nil
  end
  local kind = type_of(schema)
  local value = read[kind] and read[kind](lines, name, schema)
  return value or is_required and (EMPTY[kind] or "null") or nil
end

--- A JSON text that fits the schema, with what the text has for it.
---@param text string
---@param schema table
---@return string json
function reader.fill(text, schema)
  return fill(lines_of(text), "", schema, true)
end

return reader
