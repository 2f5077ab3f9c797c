-- What is counted. `prepare(base_url)` returns a function that does `n`
-- operations; it is called with `case.n` and with twice as many.
--
-- Streams are played from a tape, since how many chunks one read from a socket
-- brings is the kernel's business. `server = true`: it needs one, and how often
-- it waits for that is not the same each time.

local material = require "material"

local cases = {}

local function opperchat()
  return require "opperchat"
end

local function client(base_url)
  return opperchat().client{ base_url = base_url, api_key = "test" }
end

local function conversation(own_client, count, size)
  return opperchat().conversation{
    client = own_client,
    model = "m",
    messages = count and material.messages(count, size),
  }
end

-------------------------------------------------------------------- streams

local CHUNK = 'data: {"id":"chatcmpl-1787575036836132584","object":"chat.completion.chunk",'
  .. '"created":1787575036,"model":"openai/gpt-5-mini","service_tier":"default",'
  .. '"system_fingerprint":"fp_44709d6fcb","choices":[{"index":0,"delta":%s,"logprobs":null,'
  .. '"finish_reason":%s}]}\n\n'
local USAGE = 'data: {"id":"chatcmpl-1787575036836132584","object":"chat.completion.chunk",'
  .. '"created":1787575036,"model":"openai/gpt-5-mini","choices":[],"usage":{"prompt_tokens":9,'
  .. '"completion_tokens":100,"total_tokens":109}}\n\ndata: [DONE]\n\n'

-- The pieces of a stream of `chunks` chunks, so many of them in each piece.
local function pieces(chunks, together)
  local list = { CHUNK:format('{"role":"assistant","content":""}', "null") }
  local piece = {}
  for i = 1, chunks do
    local text = material.text(i, 4 + i % 5)
    piece[#piece + 1] = CHUNK:format('{"content":' .. material.quote(text) .. "}", "null")
    if #piece == together or i == chunks then
      list[#list + 1] = table.concat(piece)
      piece = {}
    end
  end
  list[#list + 1] = CHUNK:format("{}", '"stop"') .. USAGE
  return list
end

-- One line of a tape: a request and its answer as a stream.
local function recording(chunks, together)
  local quoted = {}
  for i, piece in ipairs(pieces(chunks, together)) do
    quoted[i] = ("[%d,%s]"):format(i, material.quote(piece))
  end
  return '{"request":{"method":"POST","path":"/chat/completions","attempt":1,"body":{"model":"m",'
    .. '"stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user",'
    .. '"content":"Count."}]}},"response":{"status":200,"http":"1.1","headers":{"content-type":'
    .. '"text/event-stream"},"chunks":[' .. table.concat(quoted, ",") .. ']},"ms":{"end":9}}\n'
end

-- How often the clock ends a poll is not the same each time.
local UNLIMITED = { budget = false }

-- Streams of `n`, `2n` and `2n` chunks, in the order in which they are asked for.
local function stream(n, together)
  return function()
    local path = os.tmpname()
    local tape = assert(io.open(path, "w"))
    tape:write('{"opperchat_tape":1}\n', recording(2 * n, together), recording(n, together),
      recording(2 * n, together))
    tape:close()
    local own_client = opperchat().client{ replay = path, replay_match = "order" }
    os.remove(path)
    return function(chunks)
      local chat = conversation(own_client)
      local bytes = 0
      local request = assert(chat:start("Count.", {
        on_delta = function(text)
          bytes = bytes + #text
        end,
      }))
      while request:state() ~= "done" do
        own_client:poll(UNLIMITED)
      end
      local reply = assert(request:wait())
      assert(bytes == #reply.content and bytes > 4 * chunks, "text was lost")
      chat:close()
    end
  end
end

cases.chunk = { n = 500, prepare = stream(500, 1) }
cases.burst = { n = 3000, prepare = stream(3000, 60) }

------------------------------------------------------------------- requests

-- Each request has the same list. With `grows` it does not: behind 10,000 messages
-- two more weigh nothing, and taking them back would cost more than the request.
local function send(count, size, grows)
  return function(base_url)
    local chat = conversation(client(base_url), count, size)
    return function(n)
      for _ = 1, n do
        local reply = assert(chat:send(material.prompt))
        assert(reply.finish_reason == "stop" and #reply.content > 100)
        if not grows then
          chat:undo()
        end
      end
      assert(grows or #chat == count)
    end
  end
end

cases.send = { n = 300, prepare = send(2, 430), server = true }
cases.history = { n = 3, prepare = send(10000, 1000, true), server = true }

----------------------------------------------------------------- the rest

cases.append = {
  n = 1000,
  prepare = function()
    local text = material.text(1, 1000)
    return function(n)
      local chat = conversation()
      for i = 1, n do
        chat:append(i % 2 == 1 and "user" or "assistant", text)
      end
      assert(#chat == n)
    end
  end,
}

cases.fork = {
  n = 20,
  prepare = function()
    local chat = conversation(nil, 10000, 20)
    return function(n)
      for _ = 1, n do
        assert(#chat:fork() == 10000)
      end
    end
  end,
}

cases.poll = {
  n = 1000,
  prepare = function(base_url)
    local own_client = client(base_url)
    assert(conversation(own_client):send("Hello"))
    return function(n)
      for _ = 1, n do
        assert(opperchat().poll() == 0)
      end
    end
  end,
  server = true,
}

-- Without the linking of the library, which stays loaded.
cases.require = {
  n = 2,
  prepare = function()
    return function(n)
      for _ = 1, n do
        for name in pairs(package.loaded) do
          if name:find("^opperchat") then
            package.loaded[name] = nil
          end
        end
        require "opperchat"
      end
    end
  end,
}

return cases
