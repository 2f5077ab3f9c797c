--- Runs one program of the documentation in Neovim, with this folder as a
-- plugin. What a program returns is taken as a plugin manager takes it.

-- In Neovim: the program, then as long as something is under way.
local DRIVER = [[
local worked, err = pcall(function()
  -- a server of the reader's own is that of the tests
  local opperchat = require "opperchat"
  local new_client = opperchat.client
  opperchat.client = function(given)
    return new_client(vim.tbl_extend("force", given, { base_url = vim.env.OPPER_BASE_URL }))
  end
  local spec = dofile(%q)
  if spec then
    require(spec.main).setup(spec.opts)
    vim.cmd("Opper Hello")
  end
  local opper = require "opperchat.nvim"
  vim.wait(15000, function()
    return opper.status():find("tokens") or opper.status() == "failed"
  end, 10)
  assert(opper.status():find("tokens"),
    table.concat(vim.api.nvim_buf_get_lines(0, 0, -1, false), "\n"))
end)
io.stdout:write(worked and "" or tostring(err) .. "\n", vim.fn.execute("messages"), "\n")
vim.cmd(worked and "qa!" or "cq!")
]]

local function succeeds(command)
  local status = os.execute(command)
  return status == true or status == 0
end

---@param path string of the program
---@return integer status
return function(path)
  if not succeeds("nvim --version >/dev/null 2>&1 && test -e build/luajit/opperchat/core.so") then
    print("skipped: no nvim, or nothing built for it")
    return 0
  end
  local driver = os.tmpname()
  local file = assert(io.open(driver, "w"))
  file:write(DRIVER:format(path))
  file:close()
  local worked = succeeds("env -u LUA_PATH -u LUA_CPATH -u LD_PRELOAD HOME=/nonexistent "
    .. "XDG_DATA_HOME=" .. driver .. ".d nvim --headless -u NORC -i NONE -n "
    .. "--cmd 'set rtp^=.' -c 'luafile " .. driver .. "' 2>&1")
  os.remove(driver)
  os.execute("rm -rf '" .. driver .. ".d'")
  return worked and 0 or 1
end
