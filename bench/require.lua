-- What `require "opperchat"` costs a program at its start, and what the first
-- uses of it cost then. Each run is a process of its own.
--
--   lua bench/require.lua             prints the medians of several processes
--   lua bench/require.lua once uses   of one: the require, then the core, the first
--                                     conversation and the first client behind it
--   lua bench/require.lua once all    the same with every module there is behind it
--
-- `NAME_ms` is CPU time, `NAME_kb` what stays on Lua's heap, `NAME_files` how many
-- files of Lua were loaded, `NAME_objects` how many shared objects were, and
-- `NAME_resident` by how many KB the process has grown.

local RUNS = 21

local mode = arg[2]

local function read(path)
  local file = io.open(path, "rb")
  local text = file and file:read("*a") or ""
  if file then
    file:close()
  end
  return text
end

-- Shared objects in this process, where the system tells.
local function count_objects()
  local seen, count = {}, 0
  for path in read("/proc/self/maps"):gmatch("(/[^\n]-%.so[%d.]*)\n") do
    if not seen[path] then
      seen[path], count = true, count + 1
    end
  end
  return count
end

local function resident()
  return tonumber(read("/proc/self/status"):match("VmRSS:%s*(%d+)")) or 0
end

local function count_modules()
  local count = 0
  for name in pairs(package.loaded) do
    if name:find("^opperchat") and name ~= "opperchat.core" then
      count = count + 1
    end
  end
  return count
end

local function show(name, value)
  print(("%s %.4f"):format(name, value))
end

-- Runs a function and prints its CPU time, and what it leaves on Lua's heap.
local function measure(name, fn)
  collectgarbage()
  local before = collectgarbage("count")
  local began = os.clock()
  local result = fn()
  show(name .. "_ms", (os.clock() - began) * 1e3)
  collectgarbage()
  show(name .. "_kb", collectgarbage("count") - before)
  return result
end

local function once()
  local objects = count_objects()
  -- the pages of /proc's own reading are there by then
  local before = resident()
  local opperchat = measure("require", function()
    return require "opperchat"
  end)
  show("require_resident", resident() - before)
  show("require_files", count_modules())
  show("require_objects", count_objects() - objects)
  if mode == "all" then
    measure("all", function()
      local list = io.popen("find lua/opperchat -name '*.lua'")
      for path in list:lines() do
        local name = path:gsub("^lua/", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", ".")
        if not name:find("%.loop%.") and name ~= "opperchat.types" then
          pcall(require, name)    -- some are for their host alone
        end
      end
      list:close()
    end)
    return
  end
  objects = count_objects()
  measure("core", function()
    require "opperchat.core"
  end)
  show("core_objects", count_objects() - objects)
  measure("chat", function()
    return opperchat.conversation{ model = "m" }
  end)
  measure("client", function()
    return opperchat.client{ base_url = "https://127.0.0.1:9", api_key = "none" }
  end)
end

local function median(values)
  table.sort(values)
  return values[math.floor(#values / 2) + 1]
end

-- The interpreter that runs this.
local function interpreter()
  local i = 0
  while arg[i - 1] do
    i = i - 1
  end
  return arg[i]
end

if arg[1] == "once" then
  once()
  return
end

local values, names = {}, {}
for run = 1, 2 * RUNS do
  local pipe = assert(io.popen(("'%s' %s once %s"):format(interpreter(), arg[0],
    run % 2 == 0 and "all" or "uses")))
  for line in pipe:lines() do
    local name, value = line:match("^(%S+) (%S+)$")
    if not values[name] then
      values[name] = {}
      names[#names + 1] = name
    end
    table.insert(values[name], tonumber(value))
  end
  pipe:close()
end
for _, name in ipairs(names) do
  assert(#values[name] >= RUNS, name)
  show(name, median(values[name]))
end
