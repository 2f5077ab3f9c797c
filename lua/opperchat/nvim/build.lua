---Finds the C part in the folder that the plugin was installed to. Plugin
---managers put lua/ on the runtimepath, but not build/, which `make` fills.
local build = {}

-- Of LuaJIT or of Lua 5.1: to a module, they are the same.
local FOLDERS = { "luajit", "lua5.1", "lua51", "luajit-2.1" }

local OPEN = "luaopen_opperchat_core"

local function is_file(path)
  local file = io.open(path, "rb")
  if file then
    file:close()
  end
  return file ~= nil
end

-- Where we are. Asked now: a relative path means another place after a :cd.
local source = debug.getinfo(1, "S").source
local root = source:match("^@(.*)[/\\]lua[/\\]opperchat[/\\]nvim[/\\]build%.lua$")
root = root and vim.fn.fnamemodify(root, ":p"):gsub("[/\\]$", "")

---The folder of the plugin.
---@return string? path nil when it is not laid out as in the repository
function build.root()
  return root
end

---The shell command that builds the C part.
---@return string
function build.command()
  local lua = type(rawget(_G, "jit")) == "table" and "luajit" or "lua5.1"
  return ("make -C %s LUA=%s"):format(vim.fn.shellescape(root or "."), lua)
end

-- Where the module may be: the plugin's own first, since it is of the same
-- version as the Lua files beside it.
local function candidates()
  local list = {}
  for _, folder in ipairs(root and FOLDERS or {}) do
    list[#list + 1] = ("%s/build/%s/opperchat/core.so"):format(root, folder)
  end
  for pattern in package.cpath:gmatch("[^;]+") do
    list[#list + 1] = (pattern:gsub("%?", "opperchat/core"))
  end
  return list
end

---The file of the C part.
---@return string? path nil: it has not been built
function build.path()
  for _, path in ipairs(candidates()) do
    if is_file(path) then
      return path
    end
  end
end

---Loads the C part: what `require "opperchat.core"` does inside Neovim.
---@return table core raises with the command to run when it is not built
function build.load()
  local problem
  for _, path in ipairs(candidates()) do
    if is_file(path) then
      local open, err = package.loadlib(path, OPEN)
      if open then
        return open("opperchat.core")
      end
      -- that of another Lua, or a library of it is missing
      problem = problem or tostring(err):gsub("%s+", " ")
    end
  end
  -- so that it is tried anew when it has been built meanwhile
  package.loaded["opperchat.core"] = nil
  error(("opperchat is not built for Neovim's Lua%s; in a shell: %s"):format(
    problem and " (" .. problem .. ")" or "", build.command()), 0)
end

---Whether the C part can be loaded, and why not.
---@return boolean is_loaded
---@return string? problem one line
function build.check()
  if type(package.loaded["opperchat.core"]) == "table" then
    return true
  end
  package.preload["opperchat.core"] = package.preload["opperchat.core"] or build.load
  local worked, problem = pcall(require, "opperchat.core")
  if worked then
    return true
  end
  problem = tostring(problem)
  return false, (problem:match("opperchat is not built[^\n]*") or problem:gsub("%s+", " "))
end

return build
