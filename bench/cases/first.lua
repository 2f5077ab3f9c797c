local TIMES = 100

return {
  name = "first",
  title = "The first text of an answer",
  text = [[
CPU time from the moment before the program waits for the first text (the head of the answer has
been there for some milliseconds) until the handler has it; what is above bare libcurl is what the
client adds to the time that the model needs. 100 streams one after another.]],
  runs = function(kit)
    local path = "paced/1/5000"
    return {
      {
        label = "the first text",
        rounds = 5,
        requests = TIMES,
        contestants = {
          kit.floor("first", TIMES, kit.endpoint(path)),
          kit.opperchat("first.lua", kit.url(path), TIMES),
          kit.npm("first", kit.url(path), TIMES),
          kit.plain("first", kit.url(path), TIMES),
          kit.none("curl", "its CPU time cannot be read in between"),
        },
        rows = {
          { key = "first", unit = "us", label = "the first text, median", aim = { added = 100 },
            summary = "the first text of an answer" },
          { key = "first_p95", unit = "us", label = "  95th percentile" },
        },
      },
    }
  end,
}
