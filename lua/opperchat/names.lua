---Names that somebody has given: which one was meant, and how one is shown.

-- Not `next` by name in a loop: see json.lua.
local step = next

local names = {}

-- Damerau-Levenshtein distance (optimal string alignment): insertions,
-- deletions, replacements and swaps of neighbours.
local function distance(a, b)
  local before, row = nil, {}
  for j = 0, #b do
    row[j] = j
  end
  for i = 1, #a do
    local above = row
    row = { [0] = i }
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      local best = math.min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (same and 0 or 1))
      if before and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        best = math.min(best, before[j - 2] + 1)
      end
      row[j] = best
    end
    before = above
  end
  return row[#b]
end

-- maxTokens, max-tokens and max_tokens are nearly the same to who types them.
local function plain(name)
  return (name:lower():gsub("[-_ ]", ""))
end

---The name in a list that somebody may have meant.
---@param name string what was given
---@param list string[] what there is
---@return string? nearest nil when nothing is near enough
function names.nearest(name, list)
  if type(name) ~= "string" or #name > 64 then
    return nil
  end
  local best, best_distance
  local wanted = plain(name)
  for _, candidate in ipairs(list) do
    local other = plain(candidate)
    local far = distance(wanted, other)
    if far <= math.floor(math.max(#wanted, #other) / 3)
        and (not best or far < best_distance or far == best_distance and candidate < best) then
      best, best_distance = candidate, far
    end
  end
  return best
end

---The same as what is said behind a message; "" without one.
---@param name any what was given
---@param list string[] what there is
---@return string
function names.suggestion(name, list)
  local near = names.nearest(name, list)
  return near and " (did you mean '" .. near .. "'?)" or ""
end

---Keys in a fixed order; keys that are no strings are left out.
---@param given table
---@return string[]
function names.sorted(given)
  local keys = {}
  for key in step, given do
    if type(key) == "string" then
      keys[#keys + 1] = key
    end
  end
  table.sort(keys)
  return keys
end

---A name for a message: foreign bytes must not break the line.
---@param name any
---@return string
function names.shown(name)
  if type(name) ~= "string" then
    return "[" .. tostring(name) .. "]"
  end
  return "'" .. name:sub(1, 64):gsub("%c", "?") .. "'"
end

return names
