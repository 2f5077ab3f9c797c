local process = require "harness.process"

local LENGTHS = { { 10, "10" }, { 1000, "1,000" }, { 10000, "10,000" } }

return {
  name = "journal",
  title = "Conversations in files",
  text = "CPU time of a turn of 1 KB that is written into a journal, and of a file of 5.4 MB.",
  runs = function(kit)
    local runs = {}
    for i, length in ipairs(LENGTHS) do
      runs[i] = {
        label = "a turn into a journal, behind " .. length[2] .. " messages",
        rounds = 3,
        contestants = {
          kit.opperchat("journal.lua", "turns", length[1], process.temporary_file()),
        },
        rows = { { key = "microseconds", unit = "us",
          note = function(found)
            return ("%.0f bytes"):format(found.bytes)
          end } },
      }
    end
    runs[#runs + 1] = {
      label = "10,000 messages",
      rounds = 1,
      contestants = { kit.opperchat("journal.lua", "files", 10000, process.temporary_file()) },
      rows = {
        { key = "save_seconds", scale = 1e3, unit = "ms", label = "10,000 messages: save" },
        { key = "load_seconds", scale = 1e3, unit = "ms", label = "  load" },
      },
    }
    return runs
  end,
  derive = function(rows)
    return {
      { label = "a turn into a journal: 10,000 messages against 10", unit = "x",
        figure = rows[3].figure / rows[1].figure, aim = { most = 1.2 } },
    }
  end,
}
