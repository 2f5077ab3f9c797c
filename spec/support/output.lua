--- busted's output handler here: the failures, then one line that spec/run.lua
-- reads, "N passed, N failed, N skipped".

return function()
  local busted = require "busted"
  local handler = require "busted.outputHandlers.base"()

  local function show(entry)
    local trace = entry.trace or entry.element.trace or {}
    local message = entry.message
    if type(message) ~= "string" then
      message = message == nil and "no message" or require("pl.pretty").write(message)
    end
    io.write("FAILED ", entry.name or "?", "\n")
    io.write("  ", tostring(trace.short_src), ":", tostring(trace.currentline), "\n")
    io.write("  ", (message:gsub("\n", "\n  ")), "\n")
    if entry.isError and trace.traceback then
      io.write("  ", (trace.traceback:gsub("\n", "\n  ")), "\n")
    end
  end

  -- The name of each failing test at once: should the process die later, the
  -- last one is a hint.
  local shown = { failures = 0, errors = 0 }
  local function show_new()
    for kind, count in pairs(shown) do
      for i = count + 1, #handler[kind] do
        show(handler[kind][i])
      end
      shown[kind] = #handler[kind]
    end
    io.flush()
    return nil, true
  end

  local function suite_end()
    show_new()
    io.write(string.format("\n%d passed, %d failed, %d skipped\n", handler.successesCount,
      handler.failuresCount + handler.errorsCount, handler.pendingsCount))
    io.flush()
    return nil, true
  end

  -- OPPERCHAT_TRACE=1 names each test before it runs: for one that hangs or
  -- takes the process with it.
  if os.getenv("OPPERCHAT_TRACE") then
    busted.subscribe({ "test", "start" }, function(element)
      io.write("... ", handler.getFullName(element), "\n")
      io.flush()
      return nil, true
    end)
  end
  busted.subscribe({ "test", "end" }, show_new)
  busted.subscribe({ "suite", "end" }, suite_end)

  return handler
end
