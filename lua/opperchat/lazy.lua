---Modules that are loaded when they are first used.
---
---A program pays at its start for what it needs at its start: most never ask
---the doctor, check a schema or mend a list, and the core brings libcurl with
---it, which is slower to load than everything else together.
---
---By the time of the first use a host may have left the folder it was started
---in, set `package.path` for its own programs and taken `require` away from
---them. So what is found now is found again then.
local lazy = {}

local require, package, globals, io = require, package, _G, io

-- What stands before package.path and package.cpath while we load a module.
local path_prefix, cpath_prefix = "", ""

-- Where notes of the build are looked for in a file of the core.
local HEAD = 4096

-- The beginning of a file and its size; nil: it cannot be opened.
local function look_into(file)
  -- a host may keep `io` from its programs
  local handle = io and io.open(file, "rb")
  if handle then
    local head, size = handle:read(HEAD), handle:seek("end")
    handle:close()
    return head or "", size
  end
end

-- What to put before a relative path to find its file from other folders too:
-- "" when there is nothing that is sure, nil when it is no file.
local function find_root(file)
  if file:find("^[/\\]") or file:find("^%a:[/\\]") then
    return ""
  end
  -- the shell's word, which is old in a program that has gone elsewhere since
  local root = (os.getenv("PWD") or "") .. "/"
  local head, size = look_into(file)
  local same_head, same_size = look_into(root .. file)
  return head and (head == same_head and size == same_size and root or "")
end

-- Remembers where our own files are, by the name of this one.
local function remember_folder(file)
  local folder = type(file) == "string" and file:match("^(.*)opperchat[/\\]lazy%.lua$")
  local root = folder and find_root(file)
  -- nil when they are in a library, or an archive
  if root then
    folder = root .. folder
    path_prefix = folder .. "?.lua;" .. folder .. "?/init.lua;"
  end
end

-- `require`, with the host's settings as we need them for as long as it takes.
local function load(name)
  local path, cpath, global = package.path, package.cpath, rawget(globals, "require")
  local own_path, own_cpath = path_prefix .. (path or ""), cpath_prefix .. (cpath or "")
  rawset(globals, "require", require)
  package.path, package.cpath = own_path, own_cpath
  local worked, module = pcall(require, name)
  -- as they were, unless somebody's loader has just changed them
  if package.path == own_path then
    package.path = path
  end
  if package.cpath == own_cpath then
    package.cpath = cpath
  end
  if rawget(globals, "require") == require then
    rawset(globals, "require", global)
  end
  if worked then
    return module
  end
  if name == "opperchat.missing" then
    error(module, 0)
  end
  load("opperchat.missing").fail(module)
end

---Stands for a module: reading and writing a field loads it, and goes to the
---module itself from then on. Not for modules that are functions.
---@param name string
---@return table
function lazy.module(name)
  local mt = {}

  local function get()
    local module = load(name)
    mt.__index, mt.__newindex = module, module
    return module
  end

  function mt.__index(_, key)
    return get()[key]
  end

  function mt.__newindex(_, key, value)
    get()[key] = value
  end

  return setmetatable({}, mt)
end

---A function of a module.
---@param name string of the module
---@param field? string of the function; nil: the module is one
---@return function
function lazy.call(name, field)
  local fn
  return function(...)
    if not fn then
      local module = load(name)
      fn = field and module[field] or module
    end
    return fn(...)
  end
end

---Raises why something cannot be loaded, the next time too.
---@type fun(problem: any)
lazy.fail = lazy.call("opperchat.missing", "fail")

---Puts functions of a module into a table.
---@param into table
---@param name string of the module
---@param fields string[] of the functions
---@return table into
function lazy.fill(into, name, fields)
  for _, field in ipairs(fields) do
    into[field] = lazy.call(name, field)
  end
  return into
end

---Announces methods that a module adds to an object's when it is loaded; one that
---was loaded already has added them.
---@param methods table
---@param name string of the module
---@param fields string[] of the methods
function lazy.extend(methods, name, fields)
  if package.loaded[name] then
    return
  end
  for _, field in ipairs(fields) do
    local function first(...)
      load(name)
      assert(methods[field] ~= first, name)
      return methods[field](...)
    end
    methods[field] = first
  end
end

---Raises at once what is wrong with the core, without loading it when nothing
---is.
function lazy.expect_core()
  local name = "opperchat.core"
  if package.loaded[name] or package.preload[name] then
    return
  end
  local path = name:gsub("%.", package.config:sub(1, 1)):gsub("%%", "%%%%")
  for template in (package.cpath or ""):gmatch("[^;]+") do
    local file = template:gsub("%?", path)
    local head = look_into(file)
    if head then
      cpath_prefix = (find_root(file) or "") .. template .. ";"
      local built_for = head:match("opperchat core for (Lua %d+%.%d+)")
      if built_for and built_for ~= _VERSION then
        load("opperchat.missing").fail_for_another(file, built_for)
      end
      return
    end
  end
  -- some loader may know better where it is
  load(name)
end

-- Lua 5.1 does not tell a module its file.
remember_folder(select(2, ...) or debug and debug.getinfo(1, "S").source:gsub("^@", ""))

return lazy
