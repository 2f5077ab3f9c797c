--- The one client that all the villagers share: with OPPER_API_KEY it is Opper,
-- with OPPER_BASE_URL that server, and with neither the offline server of the
-- examples, which is no model and says so on the screen.

local opperchat = require "opperchat"

local MODEL = os.getenv("OPPERCHAT_MODEL") or "openai/gpt-5-mini"

-- An interpreter that can run the offline server: LÖVE itself cannot.
local function find_lua()
  for _, name in ipairs{ "lua5.4", "lua", "lua5.3", "luajit", "lua5.1" } do
    local works = os.execute(name .. [[ -e 'require "cjson" require "socket"' >/dev/null 2>&1]])
    if works == 0 or works == true then
      return name
    end
  end
  error("No OPPER_API_KEY is set, and the offline server needs a Lua with lua-cjson and "
    .. "lua-socket on the PATH (on Debian: lua5.4 lua-cjson lua-socket).", 0)
end

---@param root string where the examples are
---@return { client: opperchat.Client, model: string, label: string, offline: table? }
return function(root)
  local offline
  if not os.getenv("OPPER_API_KEY") and not os.getenv("OPPER_BASE_URL") then
    offline = dofile(root .. "/examples/support/offline.lua").start(find_lua())
  end
  return {
    client = opperchat.client{
      base_url = offline and offline.url,
      -- a player does not wait for minutes
      timeout = { connect = 5, first_token = 45, idle = 20 },
    },
    model = MODEL,
    label = offline and "offline: scripted answers, no model" or MODEL,
    offline = offline,
  }
end
