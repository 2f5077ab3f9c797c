---Modules that are loaded when they are first used.
---
---A program pays at its start for what it needs at its start: most never ask
---the doctor, check a schema or mend a list, and the core brings libcurl with
---it, which is slower to load than everything else together. What is missing
---is said by `require` itself, at the first use.
local lazy = {}

-- A host may take `require` away from the programs it runs later.
local require = require

---Stands for a module: reading and writing a field loads it, and goes to the
---module itself from then on. Not for modules that are functions.
---@param name string
---@return table
function lazy.module(name)
  local mt = {}

  local function load()
    local module = require(name)
    mt.__index, mt.__newindex = module, module
    return module
  end

  function mt.__index(_, key)
    return load()[key]
  end

  function mt.__newindex(_, key, value)
    load()[key] = value
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
      local module = require(name)
      fn = field and module[field] or module
    end
    return fn(...)
  end
end

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
      require(name)
      assert(methods[field] ~= first, name)
      return methods[field](...)
    end
    methods[field] = first
  end
end

-- Whether `require` will find a module without loading it.
local function is_there(name)
  if package.loaded[name] or package.preload[name] then
    return true
  end
  -- a host may keep `io` from its programs
  local path = io and name:gsub("%.", package.config:sub(1, 1))
  for template in (path and package.cpath or ""):gmatch("[^;]+") do
    local file = io.open((template:gsub("%?", (path:gsub("%%", "%%%%")))), "rb")
    if file then
      file:close()
      return true
    end
  end
  return false
end

---Raises what `require` says when a module in C is not there, without loading
---it when it is.
---@param name string
function lazy.expect(name)
  if not is_there(name) then
    -- or some loader knows better where it is
    require(name)
  end
end

return lazy
