-- Only what Lua 5.1, 5.2, 5.3, 5.4 and LuaJIT have in common.
std = "min"
max_line_length = 100
cache = false

files["spec"] = { std = "min+busted" }
files["lua/opperchat/types.lua"] = { ignore = { "211", "212", "221", "241" } }
-- Runs inside Neovim.
files["lua/opperchat/loop/nvim.lua"] = { read_globals = { "vim" } }
files["lua/opperchat/nvim"] = { globals = { "vim" } }
files["lua/opperchat/health.lua"] = { read_globals = { "vim" } }
files["plugin"] = { globals = { "vim" } }
files["lua/opperchat/json.lua"] = { read_globals = { "vim" } }
-- Runs inside LÖVE, which is LuaJIT.
files["examples/love"] = { std = "luajit+love" }
