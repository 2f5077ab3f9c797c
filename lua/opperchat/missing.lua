---What is said when something of opperchat cannot be loaded, the second time too.
local missing = {}

-- What builds the core for the Lua that runs this.
local function command()
  if rawget(_G, "jit") then
    return "make LUA=luajit"
  end
  return "make LUA=" .. _VERSION:gsub("^Lua ", "lua")
end

-- Whether the loader has missed a function of Lua: glibc's words, Apple's, musl's.
local function is_for_another(text)
  return text:find("undefined symbol: luaL?_") or text:find("[sS]ymbol not found[^\n]-_luaL?_")
    or text:find("luaL?_[%w_]+: symbol not found")
end

---@param file string of the core
---@param built_for? string which Lua that is, when it can be told
---@return string message
local function for_another(file, built_for)
  return ("opperchat.core at %s is built for another Lua%s than this one (%s%s): %s"):format(file,
    built_for and " (" .. built_for .. ")" or "", _VERSION, rawget(_G, "jit") and ", LuaJIT" or "",
    command())
end

---What the loader says, behind what it means when it is about the core.
---@param text string
---@return string
function missing.explain(text)
  if not text:find("'opperchat.core'", 1, true) then
    return text
  end
  local file = text:match("from file '([^\n]-)'")
  local meaning
  if text:find("'opperchat.core' not found", 1, true) then
    meaning = "opperchat.core is not built: " .. command() .. " in the folder of opperchat"
  elseif file and is_for_another(text) then
    meaning = for_another(file)
  else
    meaning = "opperchat.core" .. (file and " at " .. file or "") .. " cannot be loaded"
  end
  return meaning .. "\n" .. text
end

-- Lua 5.1 takes a module that failed for one that is still being loaded, and
-- says "loop or previous error" from then on. Its mark is a light userdata, to
-- which `type` gives another name in LuaJIT.
local function forget_failed()
  -- a host may have taken `package` away
  local loaded = package and package.loaded or {}
  for name, value in pairs(loaded) do
    local kind = type(value)
    if kind ~= "table" and kind ~= "function" and type(name) == "string"
        and (name == "opperchat" or name:find("^opperchat%.")) then
      loaded[name] = nil
    end
  end
end

---Raises why something cannot be loaded.
---@param problem any what the loader says
function missing.fail(problem)
  forget_failed()
  error(type(problem) == "string" and missing.explain(problem) or problem, 0)
end

---Raises that a file was built for another Lua.
---@param file string of the core
---@param built_for string such as "Lua 5.4"
function missing.fail_for_another(file, built_for)
  missing.fail(for_another(file, built_for))
end

return missing
