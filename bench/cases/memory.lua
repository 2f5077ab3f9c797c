local STREAMS = 1000

-- Messages of so many bytes, and how many of them.
local SIZES = { { 20, 200000 }, { 100, 200000 }, { 300, 200000 }, { 1000, 50000 } }

local function message(kit, size, count)
  return {
    label = ("a message of %d bytes, beyond its text"):format(size),
    rounds = 1,
    contestants = {
      kit.opperchat("memory.lua", "message", count, size),
      kit.npm("message", count, size),
      kit.plain("memory", count, size),
    },
    rows = { { key = "bytes", unit = "B", aim = { most = 100 } } },
  }
end

return {
  name = "memory",
  title = "Memory",
  text = [[
Resident memory of the process, for messages beyond their text (for opperchat: beyond the JSON text
it keeps; for the others: of the objects that hold the string).]],
  runs = function(kit)
    local runs = {}
    for i, shape in ipairs(SIZES) do
      runs[i] = message(kit, shape[1], shape[2])
    end
    runs[#runs + 1] = {
      label = "a fork, per message (10,000 of 1 KB)",
      rounds = 3,
      contestants = { kit.opperchat("memory.lua", "fork", 10000, 1000) },
      -- the list may be copied, a reference and room to grow; the text may not
      rows = { { key = "bytes", scale = 1e-4, unit = "B", aim = { most = 16 } } },
    }
    runs[#runs + 1] = {
      label = "an idle conversation",
      rounds = 3,
      contestants = { kit.opperchat("memory.lua", "idle", 10000) },
      rows = { { key = "bytes", unit = "B" } },
    }
    local path = "paced/200/100000"
    runs[#runs + 1] = {
      label = "each of 1,000 streams at once",
      rounds = 3,
      contestants = {
        kit.floor("memory", STREAMS, kit.endpoint(path)),
        kit.opperchat("memory.lua", "streams", kit.url(path), STREAMS),
        kit.npm("memory", kit.url(path), STREAMS),
      },
      rows = { { key = "bytes", scale = 1 / 1024, unit = "KB",
        summary = "memory of each of 1,000 streams at once" } },
    }
    return runs
  end,
}
