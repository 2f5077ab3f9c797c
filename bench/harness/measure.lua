--- Runs a case and makes rows of it.
---
--- A case is a table:
---
---   name, title     for the command line and for the report
---   text            what is done and how; for the report
---   runs(kit)       a list of runs; `kit` is harness.contestants
---   derive(rows)    rows that follow from these: { label, figure, unit, aim }
---
--- and a run:
---
---   label           what is special about it
---   rounds          how often; the contestants take turns at going first
---   contestants     see harness.contestants
---   requests        how many each of them sends, unless it has `requests` of its own; nil:
---                   nobody asks the server
---   front           harness.front, when the requests go through it
---   rows            what becomes of the figures they print:
---     key, unit     the figure `key`, times `scale`, in `unit`; a figure for all requests is
---                   divided by their number with `per_request`
---     label         nil: that of the run
---     only          names of the contestants it is shown for; nil: all
---     aim           { ratio = at most }, beside the floor; { most = }, { least = },
---                   of the figure itself; { added = }, what it is above the floor
---     summary       label in the short table, for the README
---     unless(found) why the aim says nothing, or nil: found are opperchat's figures
---     note(found)   a remark for the report

local contestants = require "harness.contestants"
local front = require "harness.front"
local server = require "harness.server"
local statistics = require "harness.statistics"
local process = require "harness.process"

local measure = {}

--- Rounds that slow contestants take part in.
local SLOW_ROUNDS = 3

-- What both sent must be alike, or their times say nothing.
local function check_alike(case, run, reports)
  local first = reports.opperchat
  for name, report in pairs(reports) do
    local sent, expected = report.bytes / report.requests, first.bytes / first.requests
    if report.requests ~= (report.expected or run.requests)
      or math.abs(sent - expected) > 0.02 * expected + 250 then
      error(("%s: %s sent %d requests with %d bytes each against %d with %d"):format(case.name,
        name, report.requests, sent, first.requests, expected), 0)
    end
  end
end

-- One contestant, once: its figures and what the server did meanwhile.
local function run_once(run, contestant)
  if not run.requests then
    return process.figures(contestant.words)
  end
  server.report()
  local before, connections = front.cpu(), run.front and front.connections()
  local found = process.figures(contestant.words)
  local report = server.report()
  report.expected = contestant.requests
  found.connections = connections and front.connections() - connections
  report.busy = (report.cpu + front.cpu() - before) / (found.wall or report.wall)
  return found, report
end

-- Figures of all contestants, round by round: all[name][round] = { key = value }.
local function run_rounds(case, run, rounds)
  local present, all, busy = {}, {}, {}
  for _, contestant in ipairs(run.contestants) do
    if contestant.words then
      present[#present + 1] = contestant
      all[contestant.name] = {}
    end
  end
  for round = 1, rounds do
    local reports = {}
    for turn = 1, #present do
      local contestant = present[round % 2 == 1 and turn or #present + 1 - turn]
      local name = contestant.name
      if not contestant.slow or round <= SLOW_ROUNDS then
        all[name][round], reports[name] = run_once(run, contestant)
        if reports[name] then
          busy[name] = math.max(busy[name] or 0, reports[name].busy)
        end
      end
    end
    if run.requests then
      check_alike(case, run, reports)
    end
  end
  return all, busy
end

local function values_of(rounds, key, contestant, scale)
  local values = {}
  for i, found in ipairs(rounds) do
    values[i] = (found[key] or error(contestant .. " prints no " .. key, 0)) * scale
  end
  return values
end

--- The figure an aim is about, and whether it is met.
---@param row table
function measure.judge(row)
  local aim = row.aim
  local figure = row.figure
  if not aim or not figure then
    return
  end
  if aim.ratio then
    figure = row.ratios.opperchat
    row.met = figure and figure <= aim.ratio
  elseif aim.added then
    figure = row.values.floor and row.values.opperchat - row.values.floor
    row.met = figure and figure <= aim.added
  elseif aim.least then
    row.met = figure >= aim.least
  else
    row.met = figure <= aim.most
  end
  row.judged = figure
end

local function make_row(case, run, wanted, all, busy)
  local row = {
    case = case.name, label = wanted.label or run.label, unit = wanted.unit,
    form = wanted.form, aim = wanted.aim, summary = wanted.summary,
    values = {}, ratios = {}, missing = {}, busy = busy,
  }
  local scale, lists = wanted.scale or 1, {}
  for _, contestant in ipairs(run.contestants) do
    local name = contestant.name
    row.missing[name] = contestant.missing
    if contestant.words and (not wanted.only or wanted.only[name]) then
      lists[name] = values_of(all[name], wanted.key, name,
        scale / (wanted.per_request and (contestant.requests or run.requests) or 1))
      row.values[name] = statistics.median(lists[name])
    end
  end
  row.figure = row.values.opperchat
  if lists.floor and row.values.floor > 0 then
    for name, list in pairs(lists) do
      row.ratios[name] = statistics.median(statistics.ratios(list, lists.floor))
    end
    if lists.opperchat then
      local ratios = statistics.ratios(lists.opperchat, lists.floor)
      row.low, row.high = statistics.quantile(ratios, 0.25), statistics.quantile(ratios, 0.75)
    end
  end
  measure.judge(row)
  local last = all.opperchat and all.opperchat[#all.opperchat]
  row.note = last and wanted.note and wanted.note(last)
  row.open = last and wanted.unless and wanted.unless(last)
  return row
end

--- Runs a case.
---@param case table
---@param rounds? integer instead of those it has
---@return table[] rows
function measure.run(case, rounds)
  local rows = {}
  for _, run in ipairs(case.runs(contestants)) do
    local all, busy = run_rounds(case, run, rounds and math.min(rounds, run.rounds) or run.rounds)
    for _, wanted in ipairs(run.rows) do
      rows[#rows + 1] = make_row(case, run, wanted, all, busy)
    end
  end
  for _, derived in ipairs(case.derive and case.derive(rows) or {}) do
    derived.case, derived.values, derived.ratios = case.name, {}, {}
    derived.missing, derived.busy = {}, {}
    derived.values.opperchat = derived.figure
    measure.judge(derived)
    rows[#rows + 1] = derived
  end
  return rows
end

return measure
