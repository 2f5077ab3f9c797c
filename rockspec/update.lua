-- Writes the lists of files in the rockspec anew, from src/, lua/ and bin/, and
-- which folders are copied as they are.
-- Run it from the top of the tree after adding a file: lua5.4 rockspec/update.lua

local PATH = "rockspec/opperchat-scm-1.rockspec"

-- The manual, and what Neovim looks for in a plugin.
local FOLDERS = { "doc", "docs", "plugin" }

local function read(path)
  local file = assert(io.open(path))
  local text = file:read("*a")
  file:close()
  return text
end

-- Files below a folder whose names match a pattern of the shell, sorted; none when
-- there is no such folder.
local function find(folder, pattern)
  local files = {}
  local pipe = assert(io.popen("find " .. folder .. " -type f -name '" .. pattern
    .. "' 2>/dev/null | LC_ALL=C sort"))
  for path in pipe:lines() do
    files[#files + 1] = path
  end
  pipe:close()
  return files
end

local function key_of(name)
  return name:find("^[%a_][%w_]*$") and name or ('["%s"]'):format(name)
end

-- The name under which a Lua file is required.
local function module_name(path)
  return (path:gsub("^lua/", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", "."))
end

local sources, modules, commands, folders = {}, {}, {}, {}
for i, path in ipairs(find("src", "*.c")) do
  sources[i] = ('        "%s",\n'):format(path)
end
for i, path in ipairs(find("lua", "*.lua")) do
  modules[i] = ('    %s = "%s",\n'):format(key_of(module_name(path)), path)
end
for i, path in ipairs(find("bin", "*")) do
  commands[i] = ('      %s = "%s",\n'):format(key_of(path:match("[^/]+$")), path)
end
for _, folder in ipairs(FOLDERS) do
  if #find(folder, "*") > 0 then
    folders[#folders + 1] = ('"%s"'):format(folder)
  end
end

-- A plain replacement: the lists may have any character in them.
local function replace(text, pattern, by)
  local replaced, count = text:gsub(pattern, function() return by end)
  assert(count == 1, "the rockspec has lost its shape: " .. pattern)
  return replaced
end

local text = read(PATH)
text = replace(text, "      sources = {\n.-      },",
  "      sources = {\n" .. table.concat(sources) .. "      },")
text = replace(text, "    %-%- lua/\n.-\n  },",
  "    -- lua/\n" .. table.concat(modules) .. "  },")
text = replace(text, "    bin = {\n.-    },",
  "    bin = {\n" .. table.concat(commands) .. "    },")
text = replace(text, "  copy_directories = {[^\n]*},\n",
  "  copy_directories = { " .. table.concat(folders, ", ") .. " },\n")
local file = assert(io.open(PATH, "w"))
assert(file:write(text))
assert(file:close())
