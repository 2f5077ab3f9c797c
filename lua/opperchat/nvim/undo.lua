---One answer is one step to undo, however many pieces it came in.
local undo = {}

---Begins a new step: what comes next is not undone together with what was.
---@param buffer integer
function undo.break_step(buffer)
  -- in Insert mode that would tear the step of whoever is typing
  if vim.api.nvim_get_current_buf() == buffer
      and not vim.api.nvim_get_mode().mode:find("^[nc]") then
    return
  end
  vim.api.nvim_buf_call(buffer, function()
    vim.cmd("let &g:undolevels = &g:undolevels")
  end)
end

---What comes next belongs to the step of the last change. Only for when nobody
---else has changed the buffer since: otherwise it would be their step.
---@param buffer integer
function undo.join(buffer)
  vim.api.nvim_buf_call(buffer, function()
    -- right after an undo it is an error
    pcall(vim.cmd, "undojoin")
  end)
end

local function tree_of(buffer)
  return vim.api.nvim_buf_call(buffer, function()
    return vim.fn.undotree()
  end)
end

---The number of the last step.
---@param buffer integer
---@return integer
function undo.step(buffer)
  return tree_of(buffer).seq_cur
end

local function add_all(entries, set)
  for _, entry in ipairs(entries) do
    set[entry.seq] = true
    if entry.alt then
      add_all(entry.alt, set)
    end
  end
end

---The steps that are undone now. One that is so old that Neovim has forgotten
---it is not among them.
---@param buffer integer
---@return table<integer, boolean> set
function undo.undone(buffer)
  local set, is_undone = {}, false
  for _, entry in ipairs(tree_of(buffer).entries) do
    is_undone = is_undone or entry.curhead ~= nil
    if is_undone then
      set[entry.seq] = true
    end
    -- branches that were left
    add_all(entry.alt or {}, set)
  end
  return set
end

return undo
