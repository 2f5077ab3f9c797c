local CHUNKS, SIZE = 20000, 20

local function run(kit, label, path, size, mode, aim, is_compared)
  return {
    label = label,
    rounds = 3,
    requests = 1,
    contestants = {
      kit.opperchat("burst.lua", mode, kit.url(path), CHUNKS, size),
      is_compared and kit.plain("garbage", kit.url(path), CHUNKS, size) or nil,
    },
    rows = {
      { key = "garbage", unit = "B", aim = aim and { most = aim },
        note = function(found)
          return ("%.2f chunks a call"):format(CHUNKS / found.calls)
        end },
    },
  }
end

return {
  name = "garbage",
  title = "Lua garbage of a stream",
  text = [[
Bytes that Lua allocates per chunk beyond the strings that are handed over, between the first call
of the handler and the last. With `on_event` a table is handed over as well, and counts here.]],
  runs = function(kit)
    local burst = ("burst/%d/%d"):format(CHUNKS, SIZE)
    local single = ("paced/%d/50"):format(CHUNKS)
    return {
      -- a hundredth of a byte: what is left of rounding
      run(kit, "in bursts, on_delta", burst, SIZE, "garbage", 0.01, true),
      run(kit, "one by one, on_delta", single, 8, "garbage", 0.01, true),
      run(kit, "one by one, on_event", single, 8, "event-garbage"),
    }
  end,
}
