-- luacheck: globals vim
--- For screenshot_init.lua: Neovim's settings, and colours that look well in print.

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
vim.o.fillchars = "eob: ,vert:│"
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
  Title = { fg = "#f0c674", bold = true },
  VertSplit = { fg = "#2a303c", bg = "#1b1f27" },
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
