--- Runs a program with a server to talk to.
--
--   lua5.4 examples/embed/run.lua build/lua5.4/static/host
--
-- With neither OPPER_API_KEY nor OPPER_BASE_URL set, that is the offline server
-- of the examples. Ends as the program ends.

local here = arg[0]:match("^(.*[/\\])") or "./"
local program = assert(arg[1], "usage: run.lua PROGRAM")
local command = "'" .. program:gsub("'", "'\\''") .. "'"

local offline
if not os.getenv("OPPER_API_KEY") and not os.getenv("OPPER_BASE_URL") then
  offline = dofile(here .. "../support/offline.lua").start()
  command = "OPPER_BASE_URL=" .. offline.url .. " " .. command
  print("No OPPER_API_KEY is set: talking to the offline server at " .. offline.url)
  io.stdout:flush()
end

local result = os.execute(command)
if offline then
  offline:stop()
end
os.exit((result == true or result == 0) and 0 or 1)
