--- Charts for the terminal: two series as areas, one behind the other, out of
-- blocks that every monospaced font has.
--
--   print(chart.draw{ title = "tokens", back = {...}, front = {...}, rows = 6,
--     format = tostring })

local chart = {}

local BLOCKS = { [0] = " ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" }
local SHADE = "░"

local COLUMNS, LABEL = 60, 8

-- A value for each column: the mean of those that fall into it.
local function squeeze(values)
  local columns = {}
  for column = 1, COLUMNS do
    local first = math.floor((column - 1) * #values / COLUMNS) + 1
    local last = math.max(first, math.floor(column * #values / COLUMNS))
    local sum = 0
    for i = first, last do
      sum = sum + values[i]
    end
    columns[column] = sum / (last - first + 1)
  end
  return columns
end

local function highest(...)
  local most = 0
  for _, values in ipairs{ ... } do
    for _, value in ipairs(values) do
      most = math.max(most, value)
    end
  end
  return most
end

-- A round number, not smaller than `value`: what a row stands for.
local function round_up(value)
  local unit = 10 ^ math.floor(math.log(value) / math.log(10))
  for _, factor in ipairs{ 1, 2, 3, 4, 5 } do
    if factor * unit >= value then
      return factor * unit
    end
  end
  return 10 * unit
end

-- One character of the area: `front` and `back` are eighths of a row, above the
-- row's own bottom.
local function cell(front, back)
  local filled = math.max(0, math.min(8, math.floor(front + 0.5)))
  if filled > 0 then
    return BLOCKS[filled]
  end
  return back >= 4 and SHADE or " "
end

local function rtrim(line)
  return (line:gsub("%s+$", ""))
end

--- Samples of the two areas.
chart.back, chart.front = SHADE:rep(2), BLOCKS[8]:rep(2)

--- The numbers below the charts, from 1 to `count`.
---@param count integer
---@return string
function chart.axis(count)
  local line = (" "):rep(LABEL) .. "└" .. ("─"):rep(COLUMNS)
  local numbers = "1"
  for part = 1, 4 do
    local number = tostring(math.floor(count * part / 4))
    local stop = math.floor(COLUMNS * part / 4)
    numbers = numbers .. (" "):rep(stop - #numbers - #number) .. number
  end
  return line .. "\n" .. (" "):rep(LABEL + 1) .. numbers
end

--- Two areas over the same scale. A row stands for a round number; there are `rows` of
--- them, or fewer when the values need no more.
---@param given {title: string, back: number[], front: number[], rows: integer, top?: number,
---format: fun(value: number): string} `top`: value of the upper edge
---@return string lines
function chart.draw(given)
  local back, front = squeeze(given.back), squeeze(given.front)
  local rows = given.rows
  local step = given.top and given.top / rows
  if not step then
    local most = highest(back, front)
    step = round_up(most / rows)
    rows = math.ceil(most / step)
  end
  local lines = { given.title }
  for row = rows, 1, -1 do
    local bottom, cells = (row - 1) * step, {}
    for column = 1, COLUMNS do
      cells[column] = cell((front[column] - bottom) / step * 8, (back[column] - bottom) / step * 8)
    end
    local has_label = row == rows or not given.top and (rows - row) % 2 == 0
    lines[#lines + 1] = rtrim(("%" .. LABEL - 1 .. "s "):format(
      has_label and given.format(row * step) or "") .. (has_label and "┤" or "│")
      .. table.concat(cells))
  end
  return table.concat(lines, "\n")
end

return chart
