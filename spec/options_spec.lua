local json = require "opperchat.json"
local options = require "opperchat.options"

local function accepts(set, given)
  local valid, message = options.check(set, given)
  assert.is_nil(message)
  assert.is_true(valid)
end

local function refuses(set, given, expected)
  local valid, message = options.check(set, given)
  assert.is_nil(valid)
  assert.are.equal(expected, message)
end

describe("options.check", function()
  local client, conversation, send = options.client, options.conversation, options.send

  it("accepts nothing at all", function()
    accepts(client, nil)
    accepts(client, {})
    refuses(client, "key", "table of options expected, got string")
    refuses(client, json.null, "table of options expected, got null")
  end)

  it("accepts what is right", function()
    accepts(client, {
      api_key = "op-1", base_url = "https://api.example.com/v1/", headers = { ["X-A"] = "b c" },
      timeout = { connect = 1, first_token = 0.5, idle = false, total = false },
      max_connections = 8, max_response_bytes = 2 ^ 20, proxy = "", ca_file = "/ca.pem",
      http2 = false, name = "npc", tags = { team = "a:b", shift = 3 },
      guard = { input = { "pii", "secrets" }, output = "toxicity", action = "block" },
      on_request = print,
    })
    accepts(client, { api_key = print, base_url = "HTTP://[::1]:8080", guard = {}, tags = {} })
    accepts(conversation, {
      client = io.stdout, system = "Be brief.", messages = {}, trace_id = "t-1", name = "n",
      tags = {}, guard = { action = "flag" }, model = "m", temperature = 0, tools = {},
    })
    accepts(conversation, { system = { { type = "text", text = "x" } }, messages = { {} } })
    accepts(send, {
      model = "m", temperature = 0.5, top_p = 1, max_tokens = -1, max_completion_tokens = 5.0,
      stop = "x", seed = 7, frequency_penalty = -2, presence_penalty = 2,
      reasoning_effort = "low", response_format = { type = "json_object" }, tools = { {} },
      tool_choice = "auto", parallel_tool_calls = false, user = "u", metadata = { a = "b" },
      logit_bias = { [50256] = -100, ["7"] = 1 }, logprobs = true, top_logprobs = 0,
      service_tier = "flex", store = true, verbosity = "low", prompt_cache_key = "k",
      extra = { anything = { 1 } },
    })
    accepts(send, { stop = { "a", "b" }, tool_choice = { type = "function" } })
  end)

  it("names option, expected and got", function()
    refuses(send, { temperature = "hot" }, "option 'temperature': number expected, got string")
    refuses(send, { temperature = 0 / 0 }, "option 'temperature': number expected, got nan")
    refuses(send, { seed = 1.5 }, "option 'seed': integer expected, got 1.5")
    refuses(send, { seed = "1" }, "option 'seed': integer expected, got string")
    refuses(send, { top_logprobs = -1 }, "option 'top_logprobs': integer >= 0 expected, got -1")
    refuses(send, { stop = { 1 } },
      "option 'stop': string or list of strings expected, got table")
    refuses(send, { stop = { "a", nil, "c" } },
      "option 'stop': string or list of strings expected, got table")
    refuses(send, { store = 1 }, "option 'store': boolean expected, got number")
    refuses(send, { metadata = { 1 } }, "option 'metadata': names expected as keys, got [1]")
    refuses(send, { logit_bias = { x = "y" } },
      "option 'logit_bias': token ids with numbers expected")
    refuses(client, { max_connections = 0 },
      "option 'max_connections': integer >= 1 expected, got 0")
    refuses(client, { http2 = json.null }, "option 'http2': boolean expected, got null")
    refuses(client, { on_request = {} }, "option 'on_request': function expected, got table")
    refuses(conversation, { client = {} }, "option 'client': client expected, got table")
    refuses(conversation, { client = json.null }, "option 'client': client expected, got null")
    refuses(conversation, { messages = { "Hi" } },
      "option 'messages': list of tables expected, got table")
    refuses(conversation, { trace_id = "" }, "option 'trace_id': must not be empty")
    refuses(conversation, { name = 5 }, "option 'name': non-empty string expected, got number")
  end)

  it("never shows a key", function()
    refuses(client, { api_key = "op-secret\n" },
      "option 'api_key': control character at byte 10, the last")
    refuses(client, { api_key = { "op-secret" } },
      "option 'api_key': string, function or secret expected, got table")
  end)

  it("takes null for options of the body", function()
    accepts(send, { temperature = json.null, extra = json.null })
    accepts(conversation, { model = json.null })
    refuses(conversation, { system = json.null },
      "option 'system': string or table expected, got null")
  end)

  it("names the nearest option", function()
    refuses(conversation, { temprature = 1 },
      "unknown option 'temprature' (did you mean 'temperature'?)")
    refuses(send, { maxTokens = 1 }, "unknown option 'maxTokens' (did you mean 'max_tokens'?)")
    refuses(client, { ["base-url"] = "" }, "unknown option 'base-url' (did you mean 'base_url'?)")
    refuses(client, { apikey = "" }, "unknown option 'apikey' (did you mean 'api_key'?)")
    refuses(send, { mdoel = "m" }, "unknown option 'mdoel' (did you mean 'model'?)")
  end)

  it("names the place of an option from elsewhere", function()
    refuses(conversation, { api_key = "op-1" },
      "unknown option 'api_key': it belongs to opperchat.client{...}")
    refuses(client, { model = "m" },
      "unknown option 'model': it belongs to opperchat.conversation{...}")
    refuses(send, { system = "x" },
      "unknown option 'system': it belongs to opperchat.conversation{...}")
    refuses(conversation, { apikey = "op-1" },
      "unknown option 'apikey' (did you mean 'api_key' of opperchat.client{...}?)")
  end)

  it("guesses nothing far away", function()
    refuses(client, { zzz = 1 }, "unknown option 'zzz'")
    refuses(send, { n = 2 },
      "unknown option 'n' (other fields of the request body go into extra = {...})")
    refuses(send, { [1] = "Hi" }, "unknown option [1]: options have names")
    refuses(client, { ["a\nb"] = 1 }, "unknown option 'a?b'")
    assert.is_truthy(#select(2, options.check(client, { [("x"):rep(1e6)] = 1 })) < 200)
  end)

  it("reports the same mistake each time", function()
    for _ = 1, 20 do
      refuses(send, { zz_a = 1, zz_b = 2, seed = "x" },
        "option 'seed': integer expected, got string")
    end
  end)

  it("checks URLs", function()
    local function bad(url, message)
      refuses(client, { base_url = url }, "option 'base_url': " .. message)
    end
    bad("api.example.com", "must start with http:// or https:// and a host")
    bad("ftp://example.com", "must start with http:// or https:// and a host")
    bad("https://", "must start with http:// or https:// and a host")
    bad("https:///v1", "must start with http:// or https:// and a host")
    bad("https://a.example/v 1", "space or control character at byte 20")
    bad("https://a.example/\r\nX: y", "space or control character at byte 19")
    bad("https://a.example\0", "space or control character at byte 18")
    bad("https://a.example/?x=1", "must end with the path, without '?' or '#'")
    bad("https://a.example/#x", "must end with the path, without '?' or '#'")
    bad(1, "URL expected, got number")
  end)

  it("checks headers", function()
    local function bad(headers, message)
      refuses(client, { headers = headers }, "option 'headers': " .. message)
    end
    bad("X: y", "table of headers expected, got string")
    bad({ "X: y" }, "[1] is not the name of a header")
    bad({ ["X Y"] = "z" }, "'X Y' is not the name of a header")
    bad({ ["X:"] = "z" }, "'X:' is not the name of a header")
    bad({ [""] = "z" }, "'' is not the name of a header")
    bad({ ["X\r\nY"] = "z" }, "'X??Y' is not the name of a header")
    bad({ X = 1 }, "'X': string expected, got number")
    bad({ X = "a\r\nY: b" }, "'X': control character at byte 2")
    bad({ X = "a\0" }, "'X': control character at byte 2, the last")
    bad({ ["content-Length"] = "1" }, "'content-Length' cannot be set")
    bad({ ["Transfer-Encoding"] = "chunked" }, "'Transfer-Encoding' cannot be set")
    accepts(client, { headers = { ["X-!#$%&'*+.^_`|~09"] = "\195\169" } })
  end)

  it("checks timeouts", function()
    local function bad(timeout, message)
      refuses(client, { timeout = timeout }, "option 'timeout': " .. message)
    end
    local expected = ": seconds > 0 (at most 2147483) or false for none expected, got "
    bad(30, "table of seconds expected, got number")
    bad({ conect = 1 }, "unknown key 'conect' (did you mean 'connect'?)")
    bad({ 30 }, "unknown key [1]")
    bad({ idle = 0 }, "'idle'" .. expected .. "0")
    bad({ total = "1" }, "'total'" .. expected .. "string")
    bad({ total = true }, "'total'" .. expected .. "boolean")
    bad({ total = 1 / 0 }, "'total'" .. expected .. "inf")
    bad({ total = 0 / 0 }, "'total'" .. expected .. "nan")
  end)

  it("checks guards", function()
    local function bad(guard, message)
      refuses(conversation, { guard = guard }, "option 'guard': " .. message)
    end
    bad("pii", "table of guards expected, got string")
    bad({ inputs = "pii" }, "unknown key 'inputs' (did you mean 'input'?)")
    bad({ input = {} }, "'input': string or list of strings expected, got an empty list")
    bad({ output = 1 }, "'output': string or list of strings expected, got number")
    bad({ output = { 1 } }, "'output': string or list of strings expected, got table")
    bad({ input = "pii\r\nX: y" }, "'input': 'pii??X: y' is not the name of a guard")
    bad({ action = "stop" }, "'action': \"flag\", \"block\" or \"redact\" expected, got 'stop'")
    bad({ action = 1 }, "'action': \"flag\", \"block\" or \"redact\" expected, got number")
  end)

  it("checks tags", function()
    local function bad(tags, message)
      refuses(client, { tags = tags }, "option 'tags': " .. message)
    end
    local name = " is not the name of a tag (a letter, then at most 63 letters, digits, "
      .. "'_', '.' or '-')"
    bad("a:b", "table of tags expected, got string")
    bad({ "a" }, "[1]" .. name)
    bad({ ["1a"] = "b" }, "'1a'" .. name)
    bad({ ["a:b"] = "c" }, "'a:b'" .. name)
    bad({ [("a"):rep(65)] = "c" }, "'" .. ("a"):rep(64) .. "'" .. name)
    bad({ a = true }, "'a': string or number expected, got boolean")
    bad({ a = "b,c" }, "'a': ',' cannot be part of a tag")
    bad({ a = "b\nc" }, "'a': control character at byte 2")
    local many = {}
    for i = 1, 9 do many["t" .. i] = "x" end
    bad(many, "at most 8 tags can be sent, got 9")
  end)

  it("keeps what is the conversation's own out of extra", function()
    refuses(send, { extra = { messages = {} } },
      "option 'extra': 'messages' cannot be set, they are the conversation's own")
    refuses(send, { extra = { stream = false } }, "option 'extra': 'stream' cannot be set here")
    refuses(send, { extra = { 1 } }, "option 'extra': names expected as keys, got [1]")
    refuses(send, { extra = "x" }, "option 'extra': table of body fields expected, got string")
  end)
end)

describe("options.nearest", function()
  it("finds insertions, deletions, replacements and swaps", function()
    local list = { "alpha", "beta", "gamma_ray" }
    assert.are.equal("alpha", options.nearest("alhpa", list))
    assert.are.equal("alpha", options.nearest("alph", list))
    assert.are.equal("beta", options.nearest("betta", list))
    assert.are.equal("beta", options.nearest("bota", list))
    assert.are.equal("gamma_ray", options.nearest("GammaRay", list))
    assert.is_nil(options.nearest("delta2", list))
    assert.is_nil(options.nearest("", list))
    assert.is_nil(options.nearest(1, list))
    assert.is_nil(options.nearest("alpha", {}))
  end)

  it("counts a swap as one change", function()
    assert.are.equal("abc", options.nearest("acb", { "abc" }))
    assert.is_nil(options.nearest("cba", { "abc" }))
  end)

  it("takes the nearest of several, then the first by name", function()
    assert.are.equal("abcdef", options.nearest("abcdeg", { "abcdxx", "abcdef" }))
    assert.are.equal("tables", options.nearest("taples", { "tamles", "tables" }))
  end)
end)

describe("options.body", function()
  it("takes the body options only", function()
    assert.are.same({ model = "m", temperature = 0 }, options.body {
      model = "m", temperature = 0, system = "x", messages = {}, trace_id = "t", name = "n",
    })
    assert.are.same({}, options.body())
    assert.are.same({ seed = 1 }, options.body(nil, { seed = 1 }))
  end)

  it("lets the send go first", function()
    assert.are.same({ model = "b", seed = 1, store = false },
      options.body({ model = "a", seed = 1, store = true }, { model = "b", store = false }))
  end)

  it("removes with null", function()
    assert.are.same({ model = "a" },
      options.body({ model = "a", seed = 1 }, { seed = json.null, user = json.null }))
  end)

  it("merges extra last", function()
    local first = { model = "a", extra = { model = "b", x = 1, y = 1 } }
    assert.are.same({ model = "b", x = 1, y = 1 }, options.body(first))
    assert.are.same({ model = "b", x = 2, y = 1, z = json.null },
      options.body(first, { model = "c", extra = { x = 2, z = json.null } }))
    assert.are.same({ model = "a" }, options.body(first, { extra = json.null }))
    assert.are.same({ x = 1, y = 1, model = "b" }, first.extra)
  end)

  it("leaves empty tools and stop out", function()
    assert.are.same({}, options.body({ tools = { {} }, stop = "x" }, { tools = {}, stop = {} }))
  end)

  it("writes token ids as strings", function()
    local given = { logit_bias = { [50256] = -100, ["7"] = 1 } }
    assert.are.same({ logit_bias = { ["50256"] = -100, ["7"] = 1 } }, options.body(given))
    assert.are.equal(-100, given.logit_bias[50256])
  end)
end)

describe("options.encode", function()
  it("writes fields without braces, model first", function()
    assert.are.equal("\"model\":\"x\",\"a\":[],\"temperature\":0.2",
      options.encode { temperature = 0.2, model = "x", a = json.array() })
    assert.are.equal("", options.encode {})
  end)

  it("writes empty tables as schemas need them", function()
    assert.are.equal("\"tools\":[{\"function\":{\"name\":\"f\",\"parameters\":{\"properties\":{},"
      .. "\"required\":[],\"type\":\"object\"}},\"type\":\"function\"}]",
      options.encode { tools = { { type = "function", ["function"] = { name = "f",
        parameters = { type = "object", properties = {}, required = {} } } } } })
  end)

  it("returns what cannot be written", function()
    local text, message = options.encode { metadata = { a = print } }
    assert.is_nil(text)
    assert.are.equal("metadata.a: a function cannot be written as JSON", message)
    text, message = options.encode { 1 }
    assert.is_nil(text)
    assert.are.equal("the fields of a request body need names", message)
  end)
end)

describe("options.headers_for", function()
  it("writes nothing for nothing", function()
    assert.are.same({}, options.headers_for())
    assert.are.same({}, options.headers_for { tags = {}, guard = {} })
  end)

  it("writes Opper's headers", function()
    assert.are.same({
      "X-Opper-Name: npc",
      "X-Opper-Tags: level:3,team:a:b",
      "X-Opper-Guard-Input: pii,secrets",
      "X-Opper-Guard-Output: toxicity",
      "X-Opper-Guard-Action: block",
      "X-Opper-Trace-Id: t-1",
    }, options.headers_for {
      name = "npc", tags = { team = "a:b", level = 3 }, trace_id = "t-1",
      guard = { input = { "pii", "secrets" }, output = "toxicity", action = "block" },
    })
  end)

  it("puts a client's and a conversation's settings together", function()
    assert.are.same({
      "X-Opper-Name: b", "X-Opper-Tags: x:2,y:1,z:3", "X-Opper-Guard-Output: pii",
    }, options.headers_for(
      { name = "a", tags = { x = "1", y = "1" }, guard = { input = "pii" } },
      { name = "b", tags = { x = "2", z = "3" }, guard = { output = "pii" } }))
  end)

  it("counts the tags of both", function()
    local headers, message = options.headers_for(
      { tags = { a = "1", b = "1", c = "1", d = "1", e = "1" } },
      { tags = { f = "1", g = "1", h = "1", i = "1" } })
    assert.is_nil(headers)
    assert.are.equal(
      "option 'tags': at most 8 tags can be sent, got 9 together with the client's", message)
  end)
end)
