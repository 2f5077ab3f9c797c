local STREAMS = 64

return {
  name = "frames",
  title = "A poll in each frame",
  text = [[
64 streams of 100 chunks a second for 3 seconds, polled 60 times a second, as a game does: CPU time
of one call of `opperchat.poll`, handlers included, and of `curl_multi_perform`. A poll stops when
its time is up, and leaves the rest for the next one: the price is how many frames it takes until
a text is told, at most.]],
  runs = function(kit)
    local path = "paced/300/10000"
    return {
      {
        label = "64 streams",
        rounds = 5,
        requests = STREAMS,
        contestants = {
          kit.floor("frames", STREAMS, kit.endpoint(path)),
          kit.opperchat("frames.lua", kit.url(path), STREAMS),
        },
        rows = {
          { key = "median", label = "a poll with 64 streams, median", unit = "ms" },
          { key = "p99", label = "  99th percentile", unit = "ms", aim = { most = 0.5 },
            summary = "a poll with 64 streams, 99th percentile" },
          { key = "worst", label = "  worst", unit = "ms" },
          { key = "late", label = "  a text is told within", unit = "frames" },
          { key = "idle", label = "  with nothing to do", unit = "ms" },
        },
      },
      {
        label = "64 streams, all in each poll",
        rounds = 5,
        requests = STREAMS,
        contestants = {
          kit.floor("frames", STREAMS, kit.endpoint(path)),
          kit.opperchat("frames.lua", kit.url(path), STREAMS, "all"),
        },
        rows = {
          { key = "median", label = "without a limit, median", unit = "ms" },
          { key = "p99", label = "  99th percentile", unit = "ms",
            summary = "the same when each poll does all there is" },
          { key = "worst", label = "  worst", unit = "ms" },
          { key = "late", label = "  a text is told within", unit = "frames" },
        },
      },
    }
  end,
}
