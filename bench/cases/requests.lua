local REQUESTS, FEW = 1000, 100
local MESSAGES, SIZE = 2, 430

return {
  name = "requests",
  title = "Requests one after another",
  text = [[
A body of 1 KB, an answer of 500 bytes, 1,000 times over one kept connection. The plain Lua script
opens a connection for each request, as LuaSocket's `http.request` does; the curl process is started
100 times, and is the whole cost of a request.]],
  runs = function(kit)
    local body, url = kit.body_file(MESSAGES, SIZE), kit.endpoint "plain"
    local curl = kit.curl("sequential", FEW, body, url)
    curl.requests = FEW
    return {
      {
        label = "a request, 1 KB body",
        rounds = 21,
        requests = REQUESTS,
        contestants = {
          kit.floor("sequential", REQUESTS, body, url),
          kit.opperchat("posts.lua", kit.url "plain", REQUESTS, MESSAGES, SIZE),
          kit.npm("posts", kit.url "plain", REQUESTS, MESSAGES, SIZE),
          kit.plain("posts", kit.url "plain", REQUESTS, MESSAGES, SIZE),
          curl,
        },
        rows = {
          { key = "cpu", scale = 1e6, unit = "us", per_request = true, aim = { ratio = 1.3 },
            summary = "a request with a body of 1 KB" },
        },
      },
    }
  end,
}
