--- The table that a run prints while it goes on.

local contestants = require "harness.contestants"
local server = require "harness.server"
local show = require "harness.show"

local console = {}

local ROW = "  %-48s %10s %10s %7s %8s %8s %8s   %-16s %s"

local AIM = "  %-62s %12s   %-18s %s"

local function trim(text)
  return (text:gsub("%s+$", ""))
end

local function peer(row, name)
  if row.ratios[name] then
    return show.ratio(row.ratios[name])
  end
  return row.values[name] and show.figure(row.values[name], row.unit) or ""
end

function console.header()
  print(trim(ROW:format("", "libcurl", "opperchat", "ratio", "npm", "plain", "curl", "aim", "")))
end

---@param case table
---@param rows table[]
function console.case(case, rows)
  print(("%s (%s)"):format(case.title, case.name))
  for _, row in ipairs(rows) do
    print(trim(ROW:format(row.label, show.figure(row.values.floor, row.unit),
      show.figure(row.values.opperchat, row.unit), show.ratio(row.ratios.opperchat),
      peer(row, "npm"), peer(row, "plain"), peer(row, "curl"), show.aim(row),
      show.verdict(row) .. (row.note and "  " .. row.note or ""))))
  end
  console.remarks(rows)
  io.stdout:flush()
end

--- What was left out, and whether the server kept up.
---@param rows table[]
function console.remarks(rows)
  local seen = {}
  for _, row in ipairs(rows) do
    for _, name in ipairs(contestants.NAMES) do
      local why = row.missing[name]
      if why and not seen[name .. why] then
        seen[name .. why] = true
        print(("    without %s: %s"):format(contestants.TITLES[name], why))
      end
    end
    local busy = row.busy.opperchat
    if busy and busy > server.BUSY then
      print(("    the server was busy for %.0f%% of the time (%s)"):format(busy * 100, row.label))
    end
  end
end

--- Every aim with its figure.
---@param rows table[]
---@return boolean all_met
function console.aims(rows)
  print("\nAims")
  local all_met, met, count = true, 0, 0
  for _, row in ipairs(rows) do
    if row.aim then
      local verdict = show.verdict(row)
      local label = row.case .. ": " .. row.label:gsub("^%s+", "")
      print(trim(AIM:format(label, show.judged(row), show.aim(row), verdict)))
      count = count + 1
      met = met + (verdict == "met" and 1 or 0)
      all_met = all_met and verdict ~= "missed"
    end
  end
  print(("%d of %d aims met"):format(met, count))
  return all_met
end

return console
