-- The same calls through opperchat and through the official npm client must
-- send the same request bodies, as JSON values.

local Server = require "spec.support.server"
local shell = require "spec.support.shell"
local cjson = require("cjson").new()

local peer = "spec/peer"
local has_node = shell.has("node")
local has_client = shell.succeeds("test -f " .. peer .. "/node_modules/openai/package.json")

-- lua-cjson cannot tell `[]` from `{}`; a mark inside keeps them apart.
local function mark_empty_lists(text)
  local parts, at = {}, 1
  while true do
    local open = text:find('"', at, true)
    parts[#parts + 1] = (text:sub(at, (open or 0) - 1):gsub("%[%s*%]", '["<empty>"]'))
    if not open then
      return table.concat(parts)
    end
    local close = open + 1
    while text:sub(close, close) ~= '"' do
      close = close + (text:sub(close, close) == "\\" and 2 or 1)
    end
    parts[#parts + 1] = text:sub(open, close)
    at = close + 1
  end
end

local function decode(text)
  return cjson.decode(mark_empty_lists(text))
end

-- Has the official client do what `calls` says (see spec/peer/openai.mjs);
-- returns the contents of the answers.
local function call_peer(server, calls)
  local path = shell.write_file(os.tmpname(), '{"base_url":' .. cjson.encode(server.url)
    .. ',"calls":' .. calls .. "}")
  local output = shell.run("unset LD_PRELOAD; node " .. peer .. "/openai.mjs <" .. path)
  os.remove(path)
  local ok, answers = pcall(cjson.decode, output)
  assert(ok and type(answers) == "table", "the npm client failed: " .. output)
  return answers
end

-- Each case says the calls twice: as JSON for the npm client, whose options
-- are the API's own, and as a function of a conversation's constructor.
local cases = {
  {
    name = "one question",
    calls = [=[ [{"options":{"model":"openai/gpt-5-mini"},
      "messages":[{"role":"user","content":"What is a vector?"}]}] ]=],
    run = function(converse)
      assert(converse{ model = "openai/gpt-5-mini" }:send("What is a vector?"))
    end,
  },
  {
    name = "two turns after a system message",
    calls = [=[ [
      {"options":{"model":"m"},"messages":[{"role":"system","content":"Be brief."},
        {"role":"user","content":"One"}]},
      {"options":{"model":"m"},"continue":true,"messages":[{"role":"user","content":"Two"}]}
    ] ]=],
    run = function(converse)
      local chat = converse{ model = "m", system = "Be brief." }
      assert(chat:send("One"))
      assert(chat:send("Two"))
    end,
  },
  {
    name = "unknown fields of an answer, sent back",
    reply = [[{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,
      "finish_reason":"stop","message":{"role":"assistant","content":"Hm.",
      "annotations":[],"extra":{"deep":[1,2.5,"x",{}]}}}]}]],
    calls = [=[ [
      {"options":{"model":"m"},"messages":[{"role":"user","content":"One"}]},
      {"options":{"model":"m"},"continue":true,"messages":[{"role":"user","content":"Two"}]}
    ] ]=],
    run = function(converse)
      local chat = converse{ model = "m" }
      assert(chat:send("One"))
      assert(chat:send("Two"))
    end,
  },
  {
    name = "a list of messages with every plain role",
    calls = [=[ [{"options":{"model":"m"},"messages":[
      {"role":"developer","content":"Answer in English."},
      {"role":"user","content":"One","name":"ann"},
      {"role":"assistant","content":"1"},
      {"role":"user","content":"Two"}]}] ]=],
    run = function(converse)
      local chat = converse{
        model = "m",
        messages = {
          { role = "developer", content = "Answer in English." },
          { role = "user", content = "One", name = "ann" },
        },
      }
      chat:append("assistant", "1")
      assert(chat:send("Two"))
    end,
  },
  {
    name = "sampling options",
    calls = [=[ [{"messages":[{"role":"user","content":"Hi"}],"options":{"model":"m",
      "temperature":0.2,"top_p":0.95,"max_tokens":200,"seed":9007199254740991,
      "frequency_penalty":-0.5,"presence_penalty":0,"stop":"END",
      "reasoning_effort":"low"}}] ]=],
    run = function(converse)
      local chat = converse{
        model = "m",
        temperature = 0.2,
        top_p = 0.95,
        max_tokens = 200,
        seed = 9007199254740991,
        frequency_penalty = -0.5,
        presence_penalty = 0,
        stop = "END",
        reasoning_effort = "low",
      }
      assert(chat:send("Hi"))
    end,
  },
  {
    name = "options of one send, a list of stops and metadata",
    calls = [=[ [
      {"messages":[{"role":"user","content":"Hi"}],"options":{"model":"m","temperature":1,
        "max_completion_tokens":64,"stop":["END","\n\n"],"metadata":{"user":"42","run":"a b"}}},
      {"messages":[{"role":"user","content":"Again"}],"continue":true,"options":{"model":"m",
        "temperature":1}},
      {"messages":[{"role":"user","content":"Last"}],"continue":true,"options":{"model":"m",
        "temperature":0,"stop":["one"]}}
    ] ]=],
    run = function(converse)
      local chat = converse{ model = "m", temperature = 1 }
      assert(chat:send("Hi", {
        max_completion_tokens = 64,
        stop = { "END", "\n\n" },
        metadata = { user = "42", run = "a b" },
      }))
      assert(chat:send("Again"))
      assert(chat:send("Last", { temperature = 0, stop = { "one" } }))
    end,
  },
  {
    name = "a schema for the answer",
    reply = [[{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,
      "finish_reason":"stop","message":{"role":"assistant",
      "content":"{\"category\":\"billing\",\"urgent\":true,\"words\":[]}"}}]}]],
    calls = [=[ [{"messages":[{"role":"user","content":"Sort this."}],"options":{"model":"m",
      "response_format":{"type":"json_schema","json_schema":{"name":"ticket","strict":true,
        "schema":{"type":"object","additionalProperties":false,"required":["category","urgent"],
          "properties":{"category":{"type":"string","enum":["billing"]},
            "urgent":{"type":"boolean"},
            "words":{"type":"array","items":{"type":"string"}}}}}}}}] ]=],
    run = function(converse)
      local chat = converse{ model = "m" }
      assert(chat:send("Sort this.", {
        response_format = {
          type = "json_schema",
          json_schema = {
            name = "ticket",
            strict = true,
            schema = {
              type = "object",
              additionalProperties = false,
              required = { "category", "urgent" },
              properties = {
                category = { type = "string", enum = { "billing" } },
                urgent = { type = "boolean" },
                words = { type = "array", items = { type = "string" } },
              },
            },
          },
        },
      }))
    end,
  },
  {
    name = "tools and a tool choice as the API writes them",
    calls = [=[ [{"messages":[{"role":"user","content":"Weather?"}],"options":{"model":"m",
      "parallel_tool_calls":false,
      "tool_choice":{"type":"function","function":{"name":"get_weather"}},
      "tools":[
        {"type":"function","function":{"name":"get_weather","description":"Weather by city",
          "parameters":{"type":"object","properties":{"city":{"type":"string"}},
            "required":["city"]}}},
        {"type":"function","function":{"name":"now",
          "parameters":{"type":"object","properties":{},"required":[]}}},
        {"type":"opper:web_search","max_results":3}]}}] ]=],
    run = function(converse)
      local chat = converse{
        model = "m",
        parallel_tool_calls = false,
        tool_choice = { type = "function", ["function"] = { name = "get_weather" } },
        tools = {
          {
            type = "function",
            ["function"] = {
              name = "get_weather",
              description = "Weather by city",
              parameters = {
                type = "object",
                properties = { city = { type = "string" } },
                required = { "city" },
              },
            },
          },
          {
            type = "function",
            ["function"] = {
              name = "now",
              parameters = { type = "object", properties = {}, required = {} },
            },
          },
          { type = "opper:web_search", max_results = 3 },
        },
      }
      assert(chat:send("Weather?"))
    end,
  },
  {
    name = "tool calls of an answer and their results",
    reply = [[{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,
      "finish_reason":"tool_calls","message":{"role":"assistant","content":null,"tool_calls":[
      {"id":"call_a","type":"function","thought_signature":"sig/1==",
        "function":{"name":"get_weather","arguments":"{\"city\": \"Oslo\"}"}},
      {"id":"call_b","type":"function","function":{"name":"now","arguments":""}}]}}]}]],
    calls = [=[ [
      {"options":{"model":"m"},"messages":[{"role":"user","content":"Weather?"}]},
      {"options":{"model":"m"},"continue":true,"messages":[
        {"role":"tool","tool_call_id":"call_a","content":"{\"temp\":4}"},
        {"role":"tool","tool_call_id":"call_b","content":""}]}
    ] ]=],
    run = function(converse)
      local chat = converse{ model = "m" }
      assert(chat:send("Weather?"))
      chat:append{ role = "tool", tool_call_id = "call_a", content = '{"temp":4}' }
      chat:append("tool", "", { tool_call_id = "call_b" })
      assert(chat:send())
    end,
  },
  {
    name = "a run of a tool, told in short",
    reply = [[{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,
      "finish_reason":"tool_calls","message":{"role":"assistant","content":"I look.","tool_calls":[
      {"id":"call_a","type":"function","thought_signature":"sig/1==",
        "function":{"name":"get_weather","arguments":"{\"city\": \"Oslo\"}"}},
      {"id":"call_b","type":"function","function":{"name":"now","arguments":""}}]}}]}]],
    calls = [=[ [
      {"options":{"model":"m","tool_choice":"required","tools":[
        {"type":"function","function":{"name":"get_weather","description":"Weather by city",
          "parameters":{"type":"object","additionalProperties":false,"required":["city"],
            "properties":{"city":{"type":"string"},"days":{"type":"integer"}}}}},
        {"type":"function","function":{"name":"now","parameters":{"type":"object",
          "properties":{},"required":[],"additionalProperties":false}}},
        {"type":"opper:web_search"}]},
        "messages":[{"role":"user","content":"Weather?"}]},
      {"options":{"model":"m","tool_choice":"auto","tools":[
        {"type":"function","function":{"name":"get_weather","description":"Weather by city",
          "parameters":{"type":"object","additionalProperties":false,"required":["city"],
            "properties":{"city":{"type":"string"},"days":{"type":"integer"}}}}},
        {"type":"function","function":{"name":"now","parameters":{"type":"object",
          "properties":{},"required":[],"additionalProperties":false}}},
        {"type":"opper:web_search"}]},
        "continue":true,"messages":[
        {"role":"tool","tool_call_id":"call_a","content":"{\"temp\":4}"},
        {"role":"tool","tool_call_id":"call_b","content":[{"type":"text","text":"noon"}]}]}
    ] ]=],
    run = function(converse)
      local chat = converse{ model = "m", tools = { {
        name = "get_weather", description = "Weather by city",
        parameters = { city = "string", days = { type = "integer", optional = true } },
        run = function() return { temp = 4 } end,
      }, {
        name = "now", run = function() return { type = "text", text = "noon" } end,
      }, {
        type = "opper:web_search",
      } } }
      assert(chat:run("Weather?", { tool_choice = "required" }))
    end,
  },
  {
    name = "a schema, told in short",
    calls = [=[ [{"options":{"model":"m","response_format":{"type":"json_schema","json_schema":{
      "name":"answer","schema":{"type":"object","additionalProperties":false,"required":["tags"],
        "properties":{"tags":{"type":"array","items":{"type":"string"}},
          "more":{"type":"object","properties":{},"required":[]}}}}}},
      "messages":[{"role":"system","content":"Tag it."},
        {"role":"user","content":"{\"title\":\"Hi\"}"}]}] ]=],
    reply = [[{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,
      "finish_reason":"stop","message":{"role":"assistant","content":"{\"tags\":[]}"}}]}]],
    run = function(_, _, client)
      local value = assert(client:json{
        model = "m", instructions = "Tag it.", input = { title = "Hi" },
        schema = { tags = { "string" }, more = {
          type = "object", properties = {}, required = {}, optional = true } },
      })
      assert(#value.tags == 0)
    end,
  },
  {
    name = "a history with tool calls",
    calls = [=[ [{"options":{"model":"m"},"messages":[
      {"role":"user","content":"Weather?"},
      {"role":"assistant","content":null,"tool_calls":[{"id":"call_a","type":"function",
        "function":{"name":"get_weather","arguments":"{\"city\":\"Oslo\"}"}}]},
      {"role":"tool","tool_call_id":"call_a","content":"4"},
      {"role":"assistant","content":"Four degrees."},
      {"role":"user","content":"Thanks"}]}] ]=],
    run = function(converse, opperchat)
      local chat = converse{
        model = "m",
        messages = {
          { role = "user", content = "Weather?" },
          {
            role = "assistant",
            content = opperchat.null,
            tool_calls = {
              {
                id = "call_a",
                type = "function",
                ["function"] = { name = "get_weather", arguments = '{"city":"Oslo"}' },
              },
            },
          },
          { role = "tool", tool_call_id = "call_a", content = "4" },
          { role = "assistant", content = "Four degrees." },
        },
      }
      assert(chat:send("Thanks"))
    end,
  },
  {
    name = "text of every kind",
    calls = [=[ [{"options":{"model":"m"},"messages":[
      {"role":"system","content":""},
      {"role":"user","content":"Gr\u00fc\u00df Gott \u65e5\u672c\u8a9e \ud83d\ude80 e\u0301"},
      {"role":"assistant","content":"\" \\ / \b\f\n\r\t\u0000\u0001\u001f\u007f"},
      {"role":"user","content":"\u2028\u2029\ufeff</script>\uffff"}]}] ]=],
    run = function(converse)
      local chat = converse{ model = "m", system = "" }
      chat:append("user", "Gr\195\188\195\159 Gott \230\151\165\230\156\172\232\170\158 "
        .. "\240\159\154\128 e\204\129")
      chat:append("assistant", '" \\ / \b\f\n\r\t\0\1\31\127')
      assert(chat:send("\226\128\168\226\128\169\239\187\191</script>\239\191\191"))
    end,
  },
  {
    name = "content parts",
    calls = [=[ [{"options":{"model":"m"},"messages":[{"role":"user","content":[
      {"type":"text","text":"What is this?"},
      {"type":"image_url","image_url":{"url":"https://example.com/cat.jpg"}},
      {"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo=",
        "detail":"low"}}]}]}] ]=],
    run = function(converse)
      assert(converse{ model = "m" }:send{
        { type = "text", text = "What is this?" },
        { type = "image_url", image_url = { url = "https://example.com/cat.jpg" } },
        {
          type = "image_url",
          image_url = { url = "data:image/png;base64,iVBORw0KGgo=", detail = "low" },
        },
      })
    end,
  },
  {
    name = "images from bytes and by URL",
    calls = [=[ [{"options":{"model":"m"},"messages":[{"role":"user","content":[
      {"type":"text","text":"Which one?"},
      {"type":"image_url","image_url":{"url":"data:image/gif;base64,R0lGODlh","detail":"high"}},
      {"type":"image_url","image_url":{"url":"https://example.com/cat.jpg"}}]}]}] ]=],
    run = function(converse, opperchat)
      assert(converse{ model = "m" }:send{
        "Which one?",
        opperchat.image({ data = "GIF89a" }, { detail = "high" }),
        opperchat.image("https://example.com/cat.jpg"),
      })
    end,
  },
  {
    name = "a file and audio, and a second turn after them",
    calls = [=[ [
      {"options":{"model":"m"},"messages":[{"role":"user","content":[
        {"type":"text","text":"Sum it up."},
        {"type":"file","file":{"filename":"contract.pdf",
          "file_data":"data:application/pdf;base64,JVBERi0xLjQK"}},
        {"type":"input_audio","input_audio":{"data":"SUQzBAAAAAAAAA==","format":"mp3"}}]}]},
      {"options":{"model":"m"},"continue":true,"messages":[{"role":"user","content":"Shorter."}]}
    ] ]=],
    run = function(converse, opperchat)
      local path = shell.write_file(os.tmpname(), "%PDF-1.4\n")
      local chat = converse{ model = "m" }
      assert(chat:send{
        "Sum it up.",
        opperchat.file(path, { name = "contract.pdf" }),
        opperchat.audio{ data = "ID3\4\0\0\0\0\0\0" },
      })
      os.remove(path)
      assert(chat:send("Shorter."))
    end,
  },
  {
    name = "parameters nobody here knows",
    calls = [=[ [{"messages":[{"role":"user","content":"Hi"}],"options":{"model":"m",
      "n":1,"logit_bias":{"50256":-100},"top_k":40,"nested":{"list":[1,[2,[3]]],"on":true}}}] ]=],
    run = function(converse)
      local chat = converse{
        model = "m",
        extra = {
          n = 1,
          logit_bias = { ["50256"] = -100 },
          top_k = 40,
          nested = { list = { 1, { 2, { 3 } } }, on = true },
        },
      }
      assert(chat:send("Hi"))
    end,
  },
}

describe("beside the official npm client", function()
  if not has_node or not has_client then
    pending(has_node and "spec/peer/node_modules is missing: run spec/peer/install.sh"
      or "node is missing")
    return
  end

  local opperchat = require "opperchat"
  local server = Server.for_tests()

  -- Request bodies that arrive while `work` runs, which first has the answer
  -- of the case queued.
  local function bodies(case, work)
    server:reset()
    if case.reply then
      server:reply{ body = case.reply }
    end
    work()
    local list = {}
    for i, request in ipairs(server:requests()) do
      assert.equal("POST", request.method)
      assert.equal("/v1/chat/completions", request.path)
      list[i] = decode(request.body)
    end
    return list
  end

  for _, case in ipairs(cases) do
    it("sends the same: " .. case.name, function()
      local theirs = bodies(case, function()
        call_peer(server, case.calls)
      end)
      local client = opperchat.client{ base_url = server.url, api_key = "test" }
      local ours = bodies(case, function()
        case.run(function(options)
          options.client = client
          return opperchat.conversation(options)
        end, opperchat, client)
      end)
      client:close()
      assert.truthy(#theirs > 0)
      assert.same(theirs, ours)
    end)
  end
end)
