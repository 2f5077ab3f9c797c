local MICROSECONDS = 50000

local COUNTS = { 1, 10, 100, 1000 }

local function label_of(streams)
  return streams == 1 and "1 stream" or streams == 1000 and "1,000 streams" or streams .. " streams"
end

-- Long enough that what is measured is not the beginning alone.
local function chunks_of(streams)
  return streams == 1000 and 100 or 40
end

local function run(label, rounds, streams, contestants, row)
  row.key, row.scale, row.unit = "cpu", 1e3 / streams, "ms"
  return { label = label, rounds = rounds, requests = streams, contestants = contestants,
    rows = { row } }
end

local function http1(kit, streams)
  local chunks = chunks_of(streams)
  local path = ("paced/%d/%d"):format(chunks, MICROSECONDS)
  local url, is_many = kit.endpoint(path), streams == 1000
  local body = kit.stream_body_file()
  return run(label_of(streams), is_many and 5 or 3, streams, {
    kit.floor("paced", streams, url),
    kit.opperchat("paced.lua", kit.url(path), streams),
    kit.npm("paced", kit.url(path), streams),
    streams > 1 and kit.none("plain", "can do one at a time")
      or kit.plain("stream", kit.url(path), chunks, 8),
    is_many and kit.none("curl", "1,000 processes at once")
      or kit.curl("together", streams, body, url),
  }, {
    aim = is_many and { ratio = 0.8 } or nil,
    summary = is_many and "each of 1,000 streams at once" or nil,
  })
end

local function http2(kit, streams)
  local front, problem = kit.front.start()
  local path = ("paced/%d/%d"):format(chunks_of(streams), MICROSECONDS)
  if not front then
    return run(label_of(streams), 1, streams,
      { kit.none("floor", problem), kit.none("opperchat", problem) }, {})
  end
  local url = kit.endpoint(path, front.url)
  local warm_url = kit.endpoint("plain", front.url)
  local made = run(label_of(streams), 3, streams, {
    kit.floor("paced", streams, url, front.ca_file, warm_url),
    kit.opperchat("paced.lua", front.url .. path, streams, front.ca_file),
    kit.none("npm", "speaks HTTP/1.1 only"),
    kit.none("plain", "speaks HTTP/1.1 only"),
    kit.none("curl", "a connection for each process"),
  }, {
    summary = streams == 1000 and "the same over HTTP/2 with TLS" or nil,
    note = function(found)
      return found.connections == 1 and "one connection" or found.connections .. " connections"
    end,
  })
  -- the request that opens the connection
  made.requests = streams + 1
  made.front = front
  return made
end

local function runs_of(one)
  return function(kit)
    local runs = {}
    for i, streams in ipairs(COUNTS) do
      runs[i] = one(kit, streams)
    end
    return runs
  end
end

return {
  {
    name = "paced",
    title = "Many streams at once, HTTP/1.1",
    text = [[
A chunk each 50 ms in every stream: 40 chunks, 100 of them with 1,000 streams. Figures are of one
stream. Bare libcurl is the loop of `curl_multi_perform` and `curl_multi_poll` that its examples
have. The plain script waits for one stream at a time; 1,000 curl processes at once are left out.]],
    chart = { title = "a stream, by their number", x = "streams", at = COUNTS },
    runs = runs_of(http1),
  },
  {
    name = "paced-http2",
    title = "Many streams at once, HTTP/2 with TLS",
    text = [[
The same through nginx, which the server's core is shared with. The connection is open before the
measurement begins. Bare libcurl is told to use one connection for all
(`CURLMOPT_MAX_CONCURRENT_STREAMS`, 100 by itself); opperchat opens one for each hundred, because
libcurl looks at all streams of a connection when one of them has news.]],
    runs = runs_of(http2),
  },
}
