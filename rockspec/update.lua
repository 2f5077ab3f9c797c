-- regenerates the two lists of the rockspec (scratch tool)
local f=io.open("rockspec/opperchat-scm-1.rockspec"); local s=f:read("*a"); f:close()
local function ls(c) local p=io.popen(c.." | LC_ALL=C sort") local t={} for l in p:lines() do t[#t+1]=l end p:close() return t end
local c={} for _,x in ipairs(ls("find src -name '*.c'")) do c[#c+1]='        "'..x..'",' end
local l={} for _,x in ipairs(ls("find lua -name '*.lua'")) do
  local m=x:gsub("^lua/",""):gsub("%.lua$",""):gsub("/init$",""):gsub("/",".")
  local key = m:find("[.]") and '["'..m..'"]' or m
  l[#l+1]='    '..key..' = "'..x..'",' end
s=s:gsub("      sources = {\n.-\n      },", function() return "      sources = {\n"..table.concat(c,"\n").."\n      }," end)
s=s:gsub("    %-%- lua/\n.-\n  },", function() return "    -- lua/\n"..table.concat(l,"\n").."\n  }," end)
f=io.open("rockspec/opperchat-scm-1.rockspec","w"); f:write(s); f:close()
