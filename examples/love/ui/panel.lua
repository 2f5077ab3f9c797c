--- Tab: what the conversations cost, and proof that no frame waits for them.

local lg = love.graphics

local Panel = {}
Panel.__index = Panel

local LEFT, TOP, WIDTH, HEIGHT = 508, 44, 440, 236
local FRAMES = 180 -- three seconds, mostly
local DARK, CREAM, GOLD = { 0.07, 0.05, 0.15, 0.88 }, { 1, 0.96, 0.89 }, { 1, 0.79, 0.45 }

-- Where the columns end.
local COLUMNS = { 64, 138, 196, 252, 312, 366, 424 }
local TITLES = { "", "state", "messages", "context", "cached", "requests", "cost" }

function Panel.new(game)
  return setmetatable({ game = game, frames = {}, polls = {}, at = 0, is_open = false, due = 0,
    rows = {} }, Panel)
end

function Panel:toggle()
  self.is_open = not self.is_open
end

--- To be told of each frame.
---@param dt number how long it took
---@param poll number how much of it opperchat.poll took
function Panel:measure(dt, poll)
  self.at = self.at % FRAMES + 1
  self.frames[self.at], self.polls[self.at] = dt, poll
  self.due = self.due - dt
  if self.is_open and self.due <= 0 then
    self.due = 0.25 -- counting tokens is not for every frame
    self:count()
  end
end

local function percent(part, whole)
  return whole > 0 and ("%d %%"):format(part / whole * 100 + 0.5) or "-"
end

function Panel:count()
  local rows, all = {}, { messages = 0, cached = 0, prompt = 0, requests = 0, cost = 0 }
  for i, npc in ipairs(self.game.npcs) do
    local usage, tokens = npc.chat:usage(), npc.chat:tokens()
    rows[i] = { npc.name, npc.mood, #npc.chat, tokens, percent(usage.cached_tokens,
      usage.prompt_tokens), usage.requests, ("$%.4f"):format(usage.cost) }
    all.cached, all.prompt = all.cached + usage.cached_tokens, all.prompt + usage.prompt_tokens
    all.messages, all.requests = all.messages + #npc.chat, all.requests + usage.requests
    all.cost = all.cost + usage.cost
  end
  rows[#rows + 1] = { "all", self.game.connection.client:active() .. " active", all.messages, "",
    percent(all.cached, all.prompt), all.requests, ("$%.4f"):format(all.cost) }
  self.rows = rows
end

local function longest(list)
  local most = 0
  for _, seconds in ipairs(list) do
    most = math.max(most, seconds)
  end
  return most * 1000
end

local function draw_row(font, cells, y)
  for i, cell in ipairs(cells) do
    cell = tostring(cell)
    lg.print(cell, i == 1 and LEFT + 16 or LEFT + COLUMNS[i] - font:getWidth(cell), y)
  end
end

---@param fonts table<string, table>
function Panel:draw(fonts)
  if not self.is_open then
    return
  end
  lg.setColor(DARK)
  lg.rectangle("fill", LEFT, TOP, WIDTH, HEIGHT, 12)
  lg.setColor(GOLD[1], GOLD[2], GOLD[3], 0.5)
  lg.setLineWidth(1.2)
  lg.rectangle("line", LEFT, TOP, WIDTH, HEIGHT, 12)
  local font = fonts.tiny
  lg.setFont(font)
  lg.setColor(GOLD)
  draw_row(font, TITLES, TOP + 12)
  for i, row in ipairs(self.rows) do
    lg.setColor(CREAM)
    if i == #self.rows then
      lg.setColor(GOLD)
    end
    draw_row(font, row, TOP + 14 + i * 18)
  end

  local bottom = TOP + HEIGHT - 14
  lg.setColor(CREAM)
  local text = "longest frame %.1f ms      longest opperchat.poll %.2f ms      Lua heap %.1f MB"
  lg.print(text:format(longest(self.frames), longest(self.polls), collectgarbage("count") / 1024),
    LEFT + 16, bottom - 66)
  -- a bar for each frame, up to 50 ms; what poll took of it in gold
  for i = 1, #self.frames do
    local k = (self.at + i - 1) % #self.frames + 1
    local x = LEFT + 16 + (i - 1) * 2.26
    lg.setColor(0.55, 0.75, 0.95, 0.7)
    local height = math.min(44, self.frames[k] * 880)
    lg.rectangle("fill", x, bottom - height, 1.6, height)
    lg.setColor(GOLD)
    height = math.min(44, self.polls[k] * 880)
    lg.rectangle("fill", x, bottom - height, 1.6, height)
  end
end

return Panel
