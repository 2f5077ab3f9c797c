local COUNTS = { 10, 100, 1000, 10000, 100000 }
local SHOWN = { "10", "100", "1,000", "10,000", "100,000" }
local KEYS = { "append", "splice", "undo", "fork" }

return {
  name = "edits",
  title = "Edits of the list",
  text = [[
One operation on a list of messages of 300 bytes: `append` of one message, `splice` of two in
the middle, `undo` of a turn, `fork`. Beside it the same with a plain Lua table, which checks
nothing and encodes nothing.]],
  runs = function(kit)
    local runs = {}
    for i, count in ipairs(COUNTS) do
      local rows = {}
      for j, key in ipairs(KEYS) do
        rows[j] = { key = key, unit = "us", label = key .. ", " .. SHOWN[i] .. " messages" }
      end
      runs[i] = {
        label = SHOWN[i],
        rounds = count > 10000 and 3 or 7,
        contestants = {
          kit.opperchat("edits.lua", "opperchat", count),
          kit.plain_script("edits.lua", "table", count),
        },
        rows = rows,
      }
    end
    return runs
  end,
  derive = function(rows)
    local derived = {}
    for j, key in ipairs(KEYS) do
      local short, long = rows[j].figure, rows[3 * #KEYS + j].figure
      derived[j] = { label = key .. ": 10,000 messages against 10", unit = "x",
        figure = long / short, aim = key == "append" and { most = 1.5 } or nil }
    end
    return derived
  end,
}
