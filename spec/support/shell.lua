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

--- What a command prints, its errors among it, and its exit code, as text. It has
--- nothing to read.
---@return string output
---@return string status
function shell.run(command)
  local pipe = assert(io.popen("{ " .. command .. "\n} 2>&1 </dev/null; echo \"exit=$?\""))
  local text = pipe:read("*a")
  pipe:close()
  return text:match("^(.*)exit=(%d+)\n$")
end

--- The same of a Lua program in a process of its own, with the Lua that runs this.
---@param program string its text
---@param before? string what stands before its command
---@return string output
---@return string status
function shell.run_lua(program, before)
  local path = shell.write_file(os.tmpname(), program)
  local output, status = shell.run((before or "") .. " " .. shell.quote(shell.interpreter()) .. " "
    .. shell.quote(path))
  os.remove(path)
  return output, status
end

--- Runs a command that has to work; a preloaded sanitizer is not for it.
---@return string output
function shell.must(command)
  local output, status = shell.run("unset LD_PRELOAD; " .. command)
  assert(status == "0", command .. "\n" .. output)
  return output
end

-- Where a client and libcurl look.
local VARIABLES = {
  "OPPER_API_KEY", "OPPER_BASE_URL", "OPPERCHAT_DEBUG", "CURL_CA_BUNDLE", "SSL_CERT_FILE",
  "SSL_CERT_DIR", "http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY",
  "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
}

--- What stands before a command that is to have these variables, and none else that
--- would tell a client something.
---@param variables? table<string, string>
---@return string
function shell.env(variables)
  local words = { "env" }
  for _, name in ipairs(VARIABLES) do
    words[#words + 1] = "-u " .. name
  end
  for name, value in pairs(variables or {}) do
    words[#words + 1] = name .. "=" .. shell.quote(value)
  end
  return table.concat(words, " ")
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
  assert(file:write(text))
  assert(file:close())
  return path
end

--- A new folder, for the spec to remove.
---@return string path
function shell.new_folder()
  local path = os.tmpname()
  os.remove(path)
  shell.must("mkdir " .. shell.quote(path))
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
