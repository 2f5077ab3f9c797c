-- luacheck: globals vim
--- For screenshot.sh: Neovim's settings, colours that look well in print, and two questions.

vim.cmd("syntax on")
vim.cmd("filetype plugin indent on")
vim.g.markdown_fenced_languages = { "lua" }
vim.o.termguicolors = true
vim.o.number = true
vim.o.laststatus = 2
vim.o.statusline = " %f"
vim.o.ruler = false
vim.o.showmode = false
vim.o.shortmess = "filnxtToOFI"
vim.o.fillchars = "eob: "
vim.o.background = "dark"

for group, colours in pairs({
  Normal = { fg = "#d5d9e0", bg = "#1b1f27" },
  LineNr = { fg = "#4b5464" },
  Comment = { fg = "#6f7b8f", italic = true },
  String = { fg = "#a5cf8a" },
  Number = { fg = "#e0a370" },
  Constant = { fg = "#e0a370" },
  Function = { fg = "#7fb4f0" },
  Identifier = { fg = "#7fb4f0" },
  Statement = { fg = "#c79bf0" },
  Conditional = { fg = "#c79bf0" },
  Repeat = { fg = "#c79bf0" },
  Special = { fg = "#6fcbd0" },
  Type = { fg = "#6fcbd0" },
  StatusLine = { fg = "#e6e9ef", bg = "#38507a", bold = true },
  StatusLineNC = { fg = "#97a1b3", bg = "#2a303c" },
  markdownBlockquote = { fg = "#f0c674", bold = true },
  markdownBold = { fg = "#ffffff", bold = true },
  markdownCode = { fg = "#a5cf8a" },
  markdownCodeDelimiter = { fg = "#6f7b8f" },
  markdownListMarker = { fg = "#6fcbd0", bold = true },
}) do
  vim.api.nvim_set_hl(0, group, colours)
end

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

vim.api.nvim_create_autocmd("VimEnter", {
  callback = function()
    vim.cmd("normal! 30Gzt")
    vim.cmd("Opper What does `for text in request do` wait for?")
    vim.cmd("resize 22")
    once(function()
      return vim.b.opper_status:find("tokens")
    end, function()
      vim.cmd("Opper Show me the second way.")
      once(function()
        return text():find("own loop$")
      end, function()
        vim.cmd("redraw!")
        local file = assert(io.open(os.getenv("OPPER_READY"), "w"))
        file:close()
      end)
    end)
  end,
})
