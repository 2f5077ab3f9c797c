local SIZE = 1000

-- Messages, requests, requests of those that are slow.
local LENGTHS = {
  { 10, 1000, 100 }, { 100, 500, 100 }, { 1000, 100, 20 }, { 10000, 10, 5 },
}

local SHOWN = { [10] = "10", [100] = "100", [1000] = "1,000", [10000] = "10,000" }

local function run(kit, length, requests, few)
  local body, url = kit.body_file(length, SIZE), kit.endpoint "plain"
  local slow = {
    kit.npm("posts", kit.url "plain", few, length, SIZE),
    kit.plain("posts", kit.url "plain", few, length, SIZE),
    kit.curl("sequential", few, body, url),
  }
  for _, contestant in ipairs(slow) do
    contestant.requests = few
  end
  return {
    label = SHOWN[length] .. " messages",
    rounds = 15,
    requests = requests,
    contestants = {
      kit.floor("sequential", requests, body, url),
      kit.opperchat("posts.lua", kit.url "plain", requests, length, SIZE),
      slow[1], slow[2], slow[3],
    },
    rows = {
      { key = "cpu", scale = 1e6, unit = "us", per_request = true,
        aim = length == 10000 and { ratio = 1.2 } or nil,
        summary = length == 10000 and "a request with a history of 10,000 messages, 10 MB" or nil },
    },
  }
end

return {
  name = "history",
  title = "Requests with a long history",
  text = [[
Messages of 1 KB, all of which are sent each time. Bare libcurl posts a body that is there already;
opperchat writes it from its list; the others encode their tables anew.]],
  chart = { title = "a request, by its history", x = "messages",
    at = { 10, 100, 1000, 10000 } },
  runs = function(kit)
    local runs = {}
    for i, length in ipairs(LENGTHS) do
      runs[i] = run(kit, length[1], length[2], length[3])
    end
    return runs
  end,
  derive = function(rows)
    local short, long = rows[1].ratios.opperchat, rows[#rows].ratios.opperchat
    return {
      { label = "send, beside bare libcurl: 10,000 messages against 10", unit = "x",
        figure = long / short, aim = { most = 1.5 } },
    }
  end,
}
