---Where the command keeps what: the XDG base directories.
local core = require "opperchat.core"

local places = {}

local function environment(name)
  local value = os.getenv(name)
  return value ~= "" and value or nil
end

-- A folder of XDG; a relative path is to be ignored, says its specification.
local function base(name, default)
  local given = environment(name)
  if given and given:find("^/") then
    return given
  end
  local home = environment("HOME")
  return home and home .. default
end

---The folder of the chats.
---@return string? path nil: neither XDG_DATA_HOME nor HOME is set
function places.chats()
  local data = base("XDG_DATA_HOME", "/.local/share")
  return data and data .. "/opperchat/chats"
end

---The file of defaults.
---@return string?
function places.config()
  local config = base("XDG_CONFIG_HOME", "/.config")
  return config and config .. "/opperchat/config"
end

---Makes a folder and those it is in, for their owner alone; one that is there already
---is closed to others, when it is ours.
---@param path string
---@return true? made
---@return string? problem
function places.make(path)
  for to in path:gmatch("()/") do
    if to > 1 and not core.file_kind(path:sub(1, to - 1)) then
      local made, problem = core.make_folder(path:sub(1, to - 1))
      if not made then
        return nil, problem
      end
    end
  end
  local made, problem = core.make_folder(path)
  if made then
    core.close_to_others(path)
  end
  return made, problem
end

---A path as it is typed: `~/` is the home folder.
---@param path string
---@return string
function places.expand(path)
  local home = environment("HOME")
  return home and path:gsub("^~/", function() return home .. "/" end) or path
end

return places
