--- Pieces of event streams for the specs, as chat-completions servers send them.

local sse = {}

local ENVELOPE = '{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m",'

--- The line of one event, without its end: `choices` is the inside of the list.
function sse.line(choices, more)
  return "data: " .. ENVELOPE .. '"choices":[' .. choices .. "]" .. (more or "") .. "}"
end

--- One event with a delta, which is JSON text.
function sse.delta(delta, more)
  return sse.line('{"index":0,"delta":' .. delta .. ',"finish_reason":null}', more) .. "\n\n"
end

--- One event with a piece of content; `text` is the inside of a JSON string.
function sse.text(text)
  return sse.delta('{"content":"' .. text .. '"}')
end

--- One event with a tool_calls list.
function sse.calls(list)
  return sse.delta('{"tool_calls":[' .. list .. "]}")
end

--- An element of such a list; what is nil is left out.
function sse.call(index, id, name, arguments)
  local fields, inner = {}, {}
  if index then
    fields[#fields + 1] = '"index":' .. index
  end
  if id then
    fields[#fields + 1] = '"id":"' .. id .. '","type":"function"'
  end
  if name then
    inner[#inner + 1] = '"name":"' .. name .. '"'
  end
  if arguments then
    inner[#inner + 1] = '"arguments":"' .. arguments:gsub('[\\"]', "\\%0") .. '"'
  end
  fields[#fields + 1] = '"function":{' .. table.concat(inner, ",") .. "}"
  return "{" .. table.concat(fields, ",") .. "}"
end

--- The event with the finish reason.
function sse.finish(reason, more)
  return sse.line('{"index":0,"delta":{},"finish_reason":"' .. (reason or "stop") .. '"}', more)
    .. "\n\n"
end

sse.usage = '"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,'
  .. '"prompt_tokens_details":{"cached_tokens":4},"cost":0.5}'
sse.usage_chunk = sse.line("", "," .. sse.usage) .. "\n\n"
sse.done = "data: [DONE]\n\n"

--- A list of texts: "w1 ", "w2 " and so on.
function sse.words(count)
  local list = {}
  for i = 1, count do
    list[i] = "w" .. i .. " "
  end
  return list
end

--- A whole answer, as a list of events; texts, or a list of them.
function sse.answer(first, ...)
  local events = { sse.delta('{"role":"assistant","content":""}') }
  for _, text in ipairs(type(first) == "table" and first or { first, ... }) do
    events[#events + 1] = sse.text(text)
  end
  events[#events + 1] = sse.finish("stop")
  events[#events + 1] = sse.usage_chunk
  events[#events + 1] = sse.done
  return events
end

--- The head of a streamed response that lasts until the connection closes.
sse.head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"

--- Steps of a stream that breaks off behind some text, for `server:script`.
function sse.broken_off(text)
  return { { "send", sse.head .. sse.text(text) }, { "close" } }
end

return sse
