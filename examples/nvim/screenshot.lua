-- luacheck: globals vim
--- For screenshot.sh: two questions to the plugin beside this file.

dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "screenshot_colours.lua")

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
