-- How large the module is.
--
--   lua bench/size.lua          prints `core BYTES`, the stripped core.so, and of the
--                               Lua files `scripts BYTES` and `files N`
--   lua bench/size.lua FOLDER   the last two for the scripts of an npm package

package.path = arg[0]:gsub("[^/]*$", "?.lua;") .. package.path

local process = require "harness.process"

-- Adds up the files that `find` lists with these words.
local function print_files(words)
  local sizes = process.output_of("find " .. words .. " -exec cat {} + | wc -c")
  local count = process.output_of("find " .. words .. " | wc -l")
  print(("scripts %d"):format(tonumber(sizes)))
  print(("files %d"):format(tonumber(count)))
end

if arg[1] then
  print_files(process.quote(arg[1]) .. " -name '*.js' -type f")
  return
end

-- It may be loaded only when it is needed.
local search = package.searchpath -- luacheck: ignore
local path = search and search("opperchat.core", package.cpath)
if not path then
  for template in package.cpath:gmatch("[^;]+") do
    local candidate = template:gsub("%?", "opperchat/core")
    path = path or process.read_file(candidate) and candidate
  end
end
local stripped = process.temporary_file()
assert(process.succeeds(("strip -o %s %s"):format(stripped, process.quote(path))), "no strip")
print(("core %d"):format(#process.read_file(stripped)))
process.remove_temporary_files()
local here = arg[0]:match("^(.*)/") or "."
print_files(process.quote(here .. "/../lua") .. " -name '*.lua' ! -name types.lua")
