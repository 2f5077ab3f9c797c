---Tokens and cost, in words.
local usage = {}

-- 12345 -> 12,345
local function grouped(number)
  local text = ("%.0f"):format(number)
  repeat
    local count
    text, count = text:gsub("^(%d+)(%d%d%d)", "%1,%2")
  until count == 0
  return text
end

---@param given? opperchat.Usage of a reply, or of a chat (with `requests`)
---@return string
function usage.words(given)
  if not given or not given.prompt_tokens and not given.completion_tokens then
    return "the server does not say"
  end
  local text = ("%s tokens asked%s, %s answered"):format(grouped(given.prompt_tokens or 0),
    (given.cached_tokens or 0) > 0 and (" (%s cached)"):format(grouped(given.cached_tokens)) or "",
    grouped(given.completion_tokens or 0))
  if (given.reasoning_tokens or 0) > 0 then
    text = text .. (" (%s of thought)"):format(grouped(given.reasoning_tokens))
  end
  if given.cost and given.cost > 0 then
    text = text .. (", $%.6f"):format(given.cost)
  end
  if given.requests then
    text = ("%s request%s, %s"):format(grouped(given.requests), given.requests == 1 and "" or "s",
      text)
  end
  return text
end

usage.grouped = grouped

return usage
