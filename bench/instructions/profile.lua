-- Reads what callgrind has written.

local profile = {}

--- Instructions of each object file without those of what it called, and how
--- often it called into other ones, by their base names.
---@param path string
---@return table<string, integer> instructions
---@return table<string, table<string, integer>> calls by caller and callee
function profile.read(path)
  -- a name is written once, as "(3) name", and is "(3)" from then on
  local names = {}
  local function name_of(text)
    local id, name = text:match("^(%b()) ?(.*)$")
    if name ~= "" then
      names[id] = name:match("[^/]*$")
    end
    return names[id]
  end

  local instructions, calls = {}, {}
  local object, callee, is_call
  for line in io.lines(path) do
    local key, value = line:match("^(%l+)=(.*)$")
    if key == "ob" then
      object, callee = name_of(value), nil
    elseif key == "cob" then
      callee = name_of(value)
    elseif key == "calls" then
      -- without cob= it is a function of the same object
      if callee and callee ~= object then
        local of = calls[object] or {}
        calls[object] = of
        of[callee] = (of[callee] or 0) + tonumber(value:match("^%d+"))
      end
      callee, is_call = nil, true
    elseif line:find("^[%d+*-]") then
      -- the line behind calls= is what was spent in the callee
      local cost = tonumber(line:match("^%S+ (%d+)$"))
      if cost and not is_call then
        instructions[object] = (instructions[object] or 0) + cost
      end
      is_call = false
    end
  end
  return instructions, calls
end

return profile
