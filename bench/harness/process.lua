--- Programs to run, and the figures they print.

local process = {}

--- Client and server each on a core of their own, as if the network lay between
--- them: otherwise the scheduler puts them on one core in some runs and on two in
--- others, and a system call that wakes the server costs three times as much.
process.CLIENT_CORE, process.SERVER_CORE = 0, 1

local temporary = {}

---@return boolean
function process.succeeds(command)
  local result = os.execute("{ " .. command .. "; } >/dev/null 2>&1")
  return result == true or result == 0
end

--- What a command prints; nil when it prints nothing.
---@return string?
function process.output_of(command)
  local pipe = assert(io.popen("{ " .. command .. "; } 2>/dev/null", "r"))
  local text = pipe:read("*a"):gsub("%s+$", "")
  pipe:close()
  return text ~= "" and text or nil
end

local can_pin = process.succeeds("taskset -c " .. process.SERVER_CORE .. " true")

--- Whether client and server have a core each.
process.is_pinned = can_pin

---@param core integer
---@return string words to put in front of a command
function process.pinned(core)
  return can_pin and ("taskset -c %d "):format(core) or ""
end

--- Moves a process to a core.
function process.pin(pid, core)
  return can_pin and process.succeeds(("taskset -apc %d %d"):format(core, pid))
end

function process.quote(word)
  return "'" .. tostring(word):gsub("'", "'\\''") .. "'"
end

---@param words any[]
---@return string
function process.command(words)
  local quoted = {}
  for i, word in ipairs(words) do
    quoted[i] = process.quote(word)
  end
  return table.concat(quoted, " ")
end

--- The Lua that runs this.
---@return string
function process.interpreter()
  local first = 0
  while arg[first - 1] do
    first = first - 1
  end
  return arg[first]
end

--- A file that is removed at the end.
---@param bytes? string
---@return string path
function process.temporary_file(bytes)
  local path = os.tmpname()
  temporary[#temporary + 1] = path
  if bytes then
    process.write_file(path, bytes)
  end
  return path
end

function process.remove_temporary_files()
  for _, path in ipairs(temporary) do
    os.remove(path)
  end
end

---@return string? text nil when there is no such file
function process.read_file(path)
  local file = io.open(path, "rb")
  if not file then
    return nil
  end
  local text = file:read("*a")
  file:close()
  return text
end

function process.write_file(path, text)
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  assert(file:close())
end

--- Runs a program on the client's core; returns what it prints, `NAME NUMBER` a
--- line. Raises when it fails or prints no such line.
---@param words any[]
---@return table<string, number>
function process.figures(words)
  local errors = process.temporary_file()
  local pipe = assert(io.popen(process.pinned(process.CLIENT_CORE) .. process.command(words)
    .. " 2>" .. errors .. "; echo status $?", "r"))
  local output = pipe:read("*a")
  pipe:close()
  local found = {}
  for key, value in output:gmatch("(%S+) (%-?[%d.]+)\n") do
    found[key] = tonumber(value)
  end
  if found.status ~= 0 or not next(found, next(found)) then
    error(("%s failed:\n%s%s"):format(process.command(words), output,
      process.read_file(errors) or ""), 0)
  end
  os.remove(errors)
  return found
end

return process
