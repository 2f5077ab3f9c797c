--- busted without its start script, which would start a second interpreter:
-- under a sanitizer or valgrind there should be one process.
--
--   lua5.4 spec/support/busted.lua -o spec/support/output.lua spec/json_spec.lua
--
-- OPPERCHAT_GC=1 makes the collector as eager as it can be, so that what is
-- alive by luck alone does not stay so: it starts over as soon as it is done,
-- and does a whole cycle all the time.

if os.getenv("OPPERCHAT_GC") then
  if _VERSION == "Lua 5.4" then
    -- a step for every 64 bytes, and each goes a long way
    collectgarbage("incremental", 1, 1000, 6)
  end
  collectgarbage("setpause", 0)
  collectgarbage("setstepmul", 1000)
end

require "busted.runner"{ standalone = false }
