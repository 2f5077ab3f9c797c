---What the user is told beside a buffer.
local notify = {}

---Shows a message in one line.
---@param message any
---@param level? "ERROR"|"WARN"|"INFO"
function notify.show(message, level)
  local text = tostring(message):gsub("%s+", " "):gsub("%c", "?")
  -- at once it would be raised in the script that gave the command
  vim.schedule(function()
    vim.notify("Opper: " .. text, vim.log.levels[level or "ERROR"])
  end)
end

---What was raised, without the place in our own files.
---@param problem any
---@return any
function notify.without_place(problem)
  return type(problem) == "string" and problem:gsub("^[^\n]-%.lua:%d+: ", "") or problem
end

---Calls a function; what it raises is shown.
---@return boolean worked
---@return any result
function notify.guard(fn, ...)
  local worked, result = pcall(fn, ...)
  if not worked then
    notify.show(notify.without_place(result))
  end
  return worked, result
end

return notify
