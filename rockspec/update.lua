-- Writes the lists of C and Lua files in the rockspec anew, from src/ and lua/.
-- Run it from the top of the tree after adding a file: lua5.4 rockspec/update.lua

local PATH = "rockspec/opperchat-scm-1.rockspec"

local function read(path)
  local file = assert(io.open(path))
  local text = file:read("*a")
  file:close()
  return text
end

-- Files below a folder whose names end with `ending`, sorted.
local function find(folder, ending)
  local files = {}
  local pipe = assert(io.popen("find " .. folder .. " -name '*" .. ending .. "' | LC_ALL=C sort"))
  for path in pipe:lines() do
    files[#files + 1] = path
  end
  pipe:close()
  return files
end

-- The name under which a Lua file is required.
local function module_name(path)
  return (path:gsub("^lua/", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", "."))
end

local sources, modules = {}, {}
for i, path in ipairs(find("src", ".c")) do
  sources[i] = ('        "%s",\n'):format(path)
end
for i, path in ipairs(find("lua", ".lua")) do
  local name = module_name(path)
  local key = name:find("%.") and ('["%s"]'):format(name) or name
  modules[i] = ('    %s = "%s",\n'):format(key, path)
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
local file = assert(io.open(PATH, "w"))
assert(file:write(text))
assert(file:close())
