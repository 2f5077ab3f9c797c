--- Writes the report as Markdown.

local contestants = require "harness.contestants"
local server = require "harness.server"
local show = require "harness.show"

local markdown = {}

--- What stands between these is what README.md gets.
markdown.SUMMARY_BEGIN, markdown.SUMMARY_END = "<!-- summary -->", "<!-- /summary -->"

local INTRODUCTION = [[
Written by `make bench`. Every figure is CPU time, user and system, of the client's process, the
median of several rounds that run forwards and backwards by turns; in brackets stands how
many times that of bare libcurl it is, which did the same exchanges in the same round: the median of
what the rounds had, so it may differ a little from the ratio of the two figures. Start-up is not in
it, but for the curl process, which is started for each request. Client and server
(`bench/server.c`) have a core each; the last columns say within which ratios the middle half of the
rounds lay, and how much of the time the server was busy, with bare libcurl and with opperchat: a
server that is always busy is what its client waits for, which costs the client no CPU time.

- **bare libcurl** is a C program that sends a body it has and counts, or keeps, the bytes of the
  answer: `bench/floor/`. It understands nothing of them.
- **npm openai** is the official client on Node: `bench/peer.mjs`.
- **plain Lua** is a script with LuaSocket and lua-cjson, as such scripts are usually written:
  `bench/plain.lua`. `http.request` opens a connection for each request.
- **curl process** is one for each request, as plugins of editors do it, with `-N`. What it prints
  is read and thrown away: `bench/each.c`.]]

local function escape(text)
  return (text:gsub("|", "\\|"):gsub("<", "&lt;"))
end

-- Lines of a table; columns that are empty in every row are left out. `words` has
-- the numbers of those that are no figures, beside the first.
local function add_table(lines, titles, rows, words)
  local used = {}
  for _, row in ipairs(rows) do
    for i in ipairs(titles) do
      used[i] = used[i] or (row[i] ~= "" and row[i] ~= "-")
    end
  end
  local function add(cells)
    local kept = {}
    for i in ipairs(titles) do
      if used[i] then
        kept[#kept + 1] = cells[i]
      end
    end
    lines[#lines + 1] = "| " .. table.concat(kept, " | ") .. " |"
  end
  local rule = {}
  for i in ipairs(titles) do
    rule[i] = (i == 1 or words and words[i]) and "---" or "---:"
  end
  add(titles)
  add(rule)
  for _, row in ipairs(rows) do
    for i, cell in ipairs(row) do
      row[i] = escape(cell)
    end
    add(row)
  end
  lines[#lines + 1] = ""
end

local function label_of(row)
  local text, count = row.label:gsub("^%s+", "")
  return (count > 0 and "&nbsp; " or "") .. text
end

local function add_aims(lines, rows)
  local cells = {}
  for _, row in ipairs(rows) do
    if row.aim then
      cells[#cells + 1] = { row.case, (row.label:gsub("^%s+", "")), show.aim(row),
        show.judged(row), show.verdict(row) }
    end
  end
  lines[#lines + 1] = "## Aims\n"
  add_table(lines, { "case", "what", "aim", "figure", "" }, cells, { [2] = true, [5] = true })
end

local function between(row)
  return row.low and ("%.2f-%.2f"):format(row.low, row.high) or ""
end

-- How much of the time the server was busy, for the floor and for opperchat.
local function busy(row)
  local shares = {}
  for _, name in ipairs{ "floor", "opperchat" } do
    local share = row.busy[name]
    shares[#shares + 1] = share and ("%.0f%%"):format(share * 100)
  end
  return table.concat(shares, ", ")
end

-- What was left out, and where the server did not keep up.
local function add_remarks(lines, rows)
  local seen = {}
  for _, row in ipairs(rows) do
    for _, name in ipairs(contestants.NAMES) do
      local why = row.missing[name]
      if why and not seen[name .. why] then
        seen[name .. why] = true
        lines[#lines + 1] = ("Without %s: %s.\n"):format(contestants.TITLES[name], why)
      end
    end
    if (row.busy.opperchat or 0) > server.BUSY then
      lines[#lines + 1] = ("The server was busy for %.0f%% of the time: %s.\n"):format(
        row.busy.opperchat * 100, row.label)
    end
  end
end

local function add_case(lines, case, rows)
  lines[#lines + 1] = ("## %s\n"):format(case.title)
  lines[#lines + 1] = case.text .. "\n"
  local cells = {}
  for i, row in ipairs(rows) do
    cells[i] = { label_of(row) }
    for _, name in ipairs(contestants.NAMES) do
      table.insert(cells[i], show.beside(row, name))
    end
    table.insert(cells[i], between(row))
    table.insert(cells[i], busy(row))
    table.insert(cells[i], row.note or "")
  end
  local titles = { case.name }
  for _, name in ipairs(contestants.NAMES) do
    titles[#titles + 1] = contestants.TITLES[name]
  end
  for _, title in ipairs{ "middle half", "server busy", "" } do
    titles[#titles + 1] = title
  end
  add_table(lines, titles, cells, { [#titles] = true })
  add_remarks(lines, rows)
end

local function value_of(machine, name)
  for _, entry in ipairs(machine) do
    if entry[1] == name then
      return entry[2]
    end
  end
end

-- The short table: multiples of the floor.
local function add_summary(lines, rows, machine)
  lines[#lines + 1] = markdown.SUMMARY_BEGIN
  local cells = {}
  for _, row in ipairs(rows) do
    if row.summary and row.ratios.opperchat then
      local cell = { row.summary, show.figure(row.values.floor, row.unit) }
      for i = 2, #contestants.NAMES do
        cell[i + 1] = show.ratio(row.ratios[contestants.NAMES[i]])
      end
      cell[3] = "**" .. cell[3] .. "**"
      cells[#cells + 1] = cell
    end
  end
  local titles = { "work" }
  for _, name in ipairs(contestants.NAMES) do
    titles[#titles + 1] = contestants.TITLES[name]
  end
  add_table(lines, titles, cells)
  lines[#lines + 1] = ("%s; %s; %s, %s; %s."):format(value_of(machine, "Processor"),
    value_of(machine, "System"), value_of(machine, "Lua"),
    value_of(machine, "Versions"):match("libcurl [%d.]+") or "libcurl", value_of(machine, "Date"))
  lines[#lines + 1] = markdown.SUMMARY_END .. "\n"
end

--- The whole report.
---@param results { case: table, rows: table[] }[]
---@param machine string[][] see harness.machine
---@param chart? string file name of the chart
---@return string
function markdown.render(results, machine, chart)
  local lines, all = { "# Benchmarks\n", INTRODUCTION .. "\n" }, {}
  for _, result in ipairs(results) do
    for _, row in ipairs(result.rows) do
      all[#all + 1] = row
    end
  end
  add_table(lines, { "measured on", "" }, machine, { [2] = true })
  if chart then
    lines[#lines + 1] = ("![CPU time as a multiple of bare libcurl's](%s)\n"):format(chart)
  end
  add_summary(lines, all, machine)
  add_aims(lines, all)
  for _, result in ipairs(results) do
    add_case(lines, result.case, result.rows)
  end
  return (table.concat(lines, "\n"):gsub("\n+$", "\n"))
end

return markdown
