local BURST, SINGLE = 100000, 10000

local function run(kit, label, path, chunks, size, mode, aim, is_compared)
  return {
    label = label,
    rounds = 3,
    requests = 1,
    contestants = {
      kit.opperchat("burst.lua", mode, kit.url(path), chunks, size),
      is_compared and kit.plain("garbage", kit.url(path), chunks, size) or nil,
    },
    rows = {
      { key = "garbage", unit = "B", aim = aim and { most = aim },
        note = function(found)
          return ("%.2f chunks a call"):format(chunks / found.calls)
        end },
    },
  }
end

return {
  name = "garbage",
  title = "Lua garbage of a stream",
  text = [[
Bytes that Lua allocates per chunk beyond the strings that are handed over, between the first call
of the handler and a later one. With `on_event` a table is handed over as well, and counts here.]],
  runs = function(kit)
    local burst = ("burst/%d/20"):format(BURST)
    local single = ("single/%d/100"):format(SINGLE)
    -- none per chunk: what is there once, divided by all chunks, is below a tenth
    return {
      run(kit, "in bursts, on_delta", burst, BURST, 20, "garbage", 0.1, true),
      run(kit, "one by one, on_delta", single, SINGLE, 8, "garbage", 0.1, true),
      run(kit, "one by one, on_event", single, SINGLE, 8, "event-garbage"),
    }
  end,
}
