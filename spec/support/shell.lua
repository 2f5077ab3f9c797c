--- Programs and files of the system, for the specs.

local shell = {}

--- The Lua that runs this.
---@return string
function shell.interpreter()
  local i = 0
  while arg[i - 1] do
    i = i - 1
  end
  return arg[i]
end

function shell.quote(word)
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

--- Runs a command in silence; a preloaded sanitizer is not for it.
---@return boolean worked
function shell.succeeds(command)
  local result = os.execute("unset LD_PRELOAD; { " .. command .. "; } >/dev/null 2>&1")
  return result == true or result == 0
end

---@return boolean
function shell.has(program)
  return shell.succeeds("command -v " .. program .. " || test -x /usr/sbin/" .. program)
end

--- What a command prints.
---@return string
function shell.output_of(command)
  local pipe = assert(io.popen(command .. " 2>/dev/null", "r"))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

function shell.read_file(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

---@return string path
function shell.write_file(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  return path
end

--- A new folder, for the spec to remove.
---@return string path
function shell.new_folder()
  local path = os.tmpname()
  os.remove(path)
  assert(shell.succeeds("mkdir " .. shell.quote(path)))
  return path
end

function shell.remove_folder(path)
  return shell.succeeds("rm -rf " .. shell.quote(path))
end

--- How many descriptors this process has; nil where the system does not say.
---@return integer?
function shell.count_descriptors()
  local status = io.open("/proc/self/status")
  if not status then
    return nil
  end
  -- those of valgrind itself are far up
  local size = math.min(256, tonumber(status:read("*a"):match("FDSize:%s*(%d+)")))
  status:close()
  local count = 0
  for fd = 0, size - 1 do
    local file = io.open("/proc/self/fdinfo/" .. fd)
    if file then
      file:close()
      count = count + 1
    end
  end
  return count
end

return shell
