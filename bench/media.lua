-- What a large file in a message takes. Linux only: it reads /proc/self/status.
--
--   lua bench/media.lua path|data SIZE   prints `megabytes N`: by how much the
--                                        process was larger at its largest while
--                                        a PDF of SIZE bytes was appended, and
--                                        `seconds N`
--
-- Given as `data`, the string itself was there before.

local opperchat = require "opperchat"

-- A field of /proc/self/status, in bytes.
local function status(field)
  for line in io.lines("/proc/self/status") do
    local kilobytes = line:match("^" .. field .. ":%s*(%d+) kB")
    if kilobytes then
      return tonumber(kilobytes) * 1024
    end
  end
  error("/proc/self/status has no " .. field)
end

local mode, size = arg[1], tonumber(arg[2])
assert((mode == "path" or mode == "data") and size, "media.lua path|data SIZE")

-- In pieces, so that the file itself is never in this process's memory.
local function write_file(path)
  local file = assert(io.open(path, "wb"))
  local head = "%PDF-1.7\n"
  local piece = ("%x1F\n"):rep(16 * 1024)
  assert(file:write(head))
  local left = size - #head
  while left > 0 do
    assert(file:write(piece:sub(1, left)))
    left = left - #piece
  end
  assert(file:close())
end

local path = os.tmpname()
write_file(path)
local source = path
if mode == "data" then
  local file = assert(io.open(path, "rb"))
  source = { data = file:read("*a"), name = "large.pdf" }
  file:close()
end

-- A first message loads and allocates what is there once per process.
local chat = opperchat.conversation{ model = "m" }
chat:append("user", opperchat.file{ data = "%PDF-", name = "small.pdf" })

collectgarbage()
collectgarbage()
-- The peak until now is of no interest; not every kernel forgets it.
local clear = io.open("/proc/self/clear_refs", "w")
if clear then
  clear:write("5")
  clear:close()
end
local before, start = status("VmRSS"), os.clock()
chat:append("user", { "What does it say?", opperchat.file(source, { name = "large.pdf" }) })
local seconds = os.clock() - start
local peak = status("VmHWM")
os.remove(path)
assert(#chat == 2)
print(("megabytes %.1f"):format((peak - before) / 1e6))
print(("seconds %.4f"):format(seconds))
