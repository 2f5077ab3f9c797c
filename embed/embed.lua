-- Writes the Lua files of opperchat as one C file, as they are: each Lua compiles
-- its own, and messages keep their lines.
--
--   lua5.4 embed/embed.lua build/core/embed/lua_files.c
--
-- The file is left alone when nothing in it would change.

local TARGET = assert(arg[1], "which file?")

local function read(path)
  local file = io.open(path, "rb")
  local text = file and file:read("*a")
  if file then
    file:close()
  end
  return text
end

-- Paths below lua/, sorted; without annotations, which nothing loads.
local function find_files()
  local files = {}
  local pipe = assert(io.popen("find lua -name '*.lua' | LC_ALL=C sort"))
  for path in pipe:lines() do
    local text = assert(read(path))
    if not text:find("^%-%-%-@meta") then
      files[#files + 1] = { path = path:gsub("^lua/", ""), text = text }
    end
  end
  pipe:close()
  assert(#files > 0, "no Lua files: not in the folder of the sources?")
  return files
end

local function module_name(path)
  return (path:gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", "."))
end

-- Numbers and not a string: C promises no more than 4095 characters of those.
local function bytes_of(text)
  local lines = {}
  for start = 1, #text, 24 do
    lines[#lines + 1] = table.concat({ text:byte(start, start + 23) }, ",")
  end
  return table.concat(lines, ",\n")
end

local names = {}
local arrays, entries, functions = {}, {}, {}
for i, file in ipairs(find_files()) do
  local name = module_name(file.path)
  local symbol = "luaopen_" .. name:gsub("%.", "_")
  assert(not names[symbol], symbol .. " would be two modules")
  names[symbol] = true
  arrays[i] = ("/* %s */\nstatic const unsigned char text_%d[] = {\n%s\n};\n"):format(
    file.path, i, bytes_of(file.text))
  entries[i] = ('  { "%s", "@%s", text_%d, sizeof text_%d },\n'):format(name, file.path, i, i)
  functions[i] = ([[
LEMBED_EXPORT int %s(struct lua_State *L);
LEMBED_EXPORT int %s(struct lua_State *L) {
  return lembed_open(L, "%s");
}
]]):format(symbol, symbol, name)
end

local text = "/* Written by embed/embed.lua. */\n#include \"lembed.h\"\n\n"
  .. table.concat(arrays, "\n")
  .. "\nconst lembed_file lembed_files[] = {\n" .. table.concat(entries)
  .. "  { NULL, NULL, NULL, 0 }\n};\n\n" .. table.concat(functions, "\n")

if read(TARGET) ~= text then
  local file = assert(io.open(TARGET .. ".new", "wb"))
  assert(file:write(text))
  assert(file:close())
  assert(os.rename(TARGET .. ".new", TARGET))
end
