local CHUNKS = 200000

-- What the deltas are, their bytes, the mode of burst.lua, the aim.
local STREAMS = {
  { "burst", 20, "delta", "small deltas (20 bytes), on_delta", 4,
    "a chunk of a stream in bursts, small deltas" },
  { "burst", 20, "event", "the same, on_event", 6 },
  { "burst", 400, "delta", "large deltas (400 bytes), on_delta", 4,
    "the same, large deltas (400 bytes)" },
  { "tools", 20, "event", "fragments of a tool call (20 bytes), on_event", 4,
    "the same, fragments of a tool call" },
}

local function run(kit, kind, size, mode, label, aim, summary)
  local path = ("%s/%d/%d"):format(kind, CHUNKS, size)
  local url = kit.endpoint(path)
  local contestants = {
    kit.floor("burst", url),
    kit.opperchat("burst.lua", mode, kit.url(path), CHUNKS, size),
  }
  -- events are ours alone: others have one way, measured once
  if summary then
    contestants[3] = kit.npm("stream", kit.url(path), CHUNKS, size)
    contestants[4] = kit.plain("stream", kit.url(path), CHUNKS, size)
    contestants[5] = kit.curl("sequential", 1, kit.stream_body_file(), url)
  end
  return {
    label = label,
    rounds = 21,
    requests = 1,
    contestants = contestants,
    rows = {
      { key = "cpu", scale = 1e9 / CHUNKS, unit = "ns", aim = { ratio = aim }, summary = summary,
        note = function(found)
          return ("%.0f chunks a call"):format(CHUNKS / found.calls)
        end },
    },
  }
end

return {
  name = "burst",
  title = "A stream in bursts",
  text = [[
200,000 chunks as fast as the socket takes them; figures are of one chunk. Bare libcurl only counts
bytes. Deltas that arrived together are handed over together, at most 64 KB of them, to `on_delta`
as well as to `on_event`; the column of remarks says how many. The others call for each chunk. The
curl process prints the stream unread: what a program does with it comes on top.]],
  runs = function(kit)
    local runs = {}
    for i, stream in ipairs(STREAMS) do
      runs[i] = run(kit, (table.unpack or unpack)(stream)) -- luacheck: ignore
    end
    return runs
  end,
}
