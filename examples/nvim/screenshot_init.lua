-- luacheck: globals vim
--- For screenshot.sh: the settings of the Neovim in the picture, and what is done in it. A file is
--- edited, and the plugin asked about a selection in it.

dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "screenshot_colours.lua")

require("opperchat.nvim").setup{ window = "vsplit", size = 0.6 }
vim.o.statusline = " %f%=%{v:lua.require'opperchat.nvim'.status(bufnr())} "
vim.o.showcmd = false

local SOURCE = [=[
--- Counts the words of a file.

local words = {}

local function lines_of(text)
  return text:gmatch("(.-)\r?\n")
end

local function count(path)
  local file = assert(io.open(path))
  local text = file:read("*a")
  file:close()
  for line in lines_of(text) do
    for word in line:gmatch("%a+") do
      word = word:lower()
      words[word] = (words[word] or 0) + 1
    end
  end
end

for _, path in ipairs(arg) do
  count(path)
end

local list = {}
for word in pairs(words) do
  list[#list + 1] = word
end
table.sort(list, function(a, b)
  return words[a] > words[b]
end)
for i = 1, math.min(#list, 10) do
  print(words[list[i]], list[i])
end]=]

local function text()
  return table.concat(vim.api.nvim_buf_get_lines(0, 0, -1, false), "\n")
end

-- Looks again and again, while the loop goes on.
local function once(condition, fn)
  if condition() then
    fn()
  else
    vim.defer_fn(function()
      once(condition, fn)
    end, 20)
  end
end

local function status()
  return require("opperchat.nvim").status()
end

vim.api.nvim_create_autocmd("VimEnter", {
  callback = function()
    vim.cmd("cd " .. vim.fn.expand("$HOME"))
    vim.cmd("edit wordcount.lua")
    vim.api.nvim_buf_set_lines(0, 0, -1, false, vim.split(SOURCE, "\n"))
    vim.bo.filetype = "lua"
    vim.cmd("silent write")
    vim.cmd("normal! 5GV2j")
    vim.cmd(vim.api.nvim_replace_termcodes("normal! <Esc>", true, true, true))
    vim.cmd("'<,'>Opper Is there anything wrong with this?")
    once(function()
      return status():find("tokens")
    end, function()
      vim.cmd("Opper Show me how to mend it.")
      once(function()
        return text():find("now has one$")
      end, function()
        vim.cmd("redraw!")
        local file = assert(io.open(os.getenv("OPPER_READY"), "w"))
        file:close()
      end)
    end)
  end,
})
