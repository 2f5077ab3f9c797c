--- Builds apart from the usual ones, for the specs about installing and embedding.

local shell = require "spec.support.shell"

local install = {}

--- `make` with this Lua, into folders of its own, without optimising, and not as a
--- part of the `make` that runs the specs.
---@param words string
---@return string command
function install.make(words)
  return "unset MAKEFLAGS MFLAGS MAKELEVEL LUA_PATH LUA_CPATH LD_PRELOAD; make -s -j2 "
    .. "LUA=" .. shell.quote(shell.interpreter()) .. " VARIANT=apart- CFLAGS=-O0 " .. words
end

--- The folder that `install.make` builds this Lua's files in.
---@param build string? the folder above it, when it is not the tree's own by its full path
---@return string
function install.build_folder(build)
  local name = shell.interpreter():match("[^/]+$")
  return (build or shell.output_of("pwd"):match("[^\n]*") .. "/build") .. "/apart-" .. name
end

--- What a command prints, and whether it ended well.
---@return string output
---@return boolean worked
function install.run(command)
  local output, status = shell.run(command)
  return output, status == "0"
end

--- Every module of the public face, and `opperchat.core`, by the files of the tree.
---@return string[] names
function install.module_names()
  local names = { "opperchat.core" }
  for path in shell.output_of("find lua -name '*.lua' | LC_ALL=C sort"):gmatch("[^\n]+") do
    local name = path:gsub("^lua/", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", ".")
    -- annotations, which nothing loads
    if not shell.read_file(path):find("^%-%-%-@meta") then
      names[#names + 1] = name
    end
  end
  return names
end

--- Runs spec/support/smoke.lua in another folder, where no file of the tree is found
--- but by what `environment` says.
---@param environment string assignments
---@param url string
---@param prefix string
---@return string output
function install.smoke(environment, url, prefix)
  local folder = shell.new_folder()
  local script = shell.write_file(folder .. "/smoke.lua",
    shell.read_file("spec/support/smoke.lua"))
  local output, worked = install.run("cd " .. shell.quote(folder)
    .. " && unset LUA_PATH LUA_CPATH LUA_INIT LUA_PATH_5_4 LUA_CPATH_5_4 LD_PRELOAD && "
    .. environment .. " " .. shell.quote(shell.interpreter()) .. " " .. shell.quote(script) .. " "
    .. url .. " " .. shell.quote(prefix) .. " " .. table.concat(install.module_names(), " "))
  shell.remove_folder(folder)
  assert(worked, output)
  return output
end

return install
