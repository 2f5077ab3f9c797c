local CHUNKS, SIZE, MICROSECONDS = 10000, 8, 100

return {
  name = "single",
  title = "Chunks that arrive one by one",
  text = [[
One stream of 10,000 chunks, one each 100 microseconds, so that nearly every one of them is a read,
and a call of the handler, of its own. Figures are of one chunk.]],
  runs = function(kit)
    local path = ("single/%d/%d"):format(CHUNKS, MICROSECONDS)
    local url = kit.endpoint(path)
    return {
      {
        label = "a chunk by itself, on_delta",
        rounds = 7,
        requests = 1,
        contestants = {
          kit.floor("burst", url),
          kit.opperchat("burst.lua", "delta", kit.url(path), CHUNKS, SIZE),
          kit.npm("stream", kit.url(path), CHUNKS, SIZE),
          kit.plain("stream", kit.url(path), CHUNKS, SIZE),
          kit.curl("sequential", 1, kit.stream_body_file(), url),
        },
        rows = {
          { key = "cpu", scale = 1e6 / CHUNKS, unit = "us", aim = { ratio = 6 },
            summary = "a chunk that arrives by itself",
            note = function(found)
              return ("%.2f chunks a call"):format(CHUNKS / found.calls)
            end,
            unless = function(found)
              return found.calls < CHUNKS * 0.8 and "the chunks did not arrive one by one" or nil
            end },
        },
      },
    }
  end,
}
