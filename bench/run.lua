-- Runs the benches, prints a table and writes the report.
--
--   lua bench/run.lua [--rounds N] [--strict] [CASE...]
--
-- A run of all cases writes bench/report.md and bench/report.svg, a run of some
-- build/bench/report.md and .svg. `--rounds` limits how often each is repeated, and
-- writes to build/bench as well; `--strict` fails when an aim is missed; otherwise
-- only a run that fails does.

local here = arg[0]:match("^(.*)/") or "."
package.path = here .. "/?.lua;" .. here .. "/../?.lua;" .. package.path

local cases = require "cases"
local chart = require "harness.chart"
local console = require "harness.console"
local contestants = require "harness.contestants"
local front = require "harness.front"
local machine = require "harness.machine"
local markdown = require "harness.markdown"
local measure = require "harness.measure"
local process = require "harness.process"
local server = require "harness.server"

local function parse_arguments()
  local given, known = { wanted = {} }, {}
  for _, case in ipairs(cases) do
    known[case.name] = true
  end
  local i = 1
  while arg[i] do
    if arg[i] == "--rounds" then
      i = i + 1
      given.rounds = tonumber(arg[i] or "")
      if not given.rounds or given.rounds < 1 or given.rounds % 1 ~= 0 then
        error("--rounds takes a number from 1 on", 0)
      end
    elseif arg[i] == "--strict" then
      given.is_strict = true
    elseif known[arg[i]] then
      given.wanted[arg[i]], given.is_partial = true, true
    else
      error("there is no case '" .. arg[i] .. "'", 0)
    end
    i = i + 1
  end
  return given
end

local function write_report(results, description, folder)
  process.write_file(folder .. "report.svg", chart.render(results))
  process.write_file(folder .. "report.md", markdown.render(results, description, "report.svg"))
  print("\nwritten: " .. folder:gsub("^.*%.%./", "") .. "report.md, report.svg")
end

local function main()
  local given = parse_arguments()
  contestants.check()
  local description = machine.describe()
  server.start(contestants.programs)
  local results, all, began = {}, {}, os.time()
  console.header()
  for _, case in ipairs(cases) do
    if not given.is_partial or given.wanted[case.name] then
      local rows = measure.run(case, given.rounds)
      console.case(case, rows)
      results[#results + 1] = { case = case, rows = rows }
      for _, row in ipairs(rows) do
        all[#all + 1] = row
      end
    end
  end
  local all_met = console.aims(all)
  print(("%d minutes and %d seconds"):format(math.floor((os.time() - began) / 60),
    (os.time() - began) % 60))
  write_report(results, description,
    (given.is_partial or given.rounds) and contestants.programs or here .. "/")
  return all_met or not given.is_strict
end

local ok, result = pcall(main)
front.stop()
server.stop()
process.remove_temporary_files()
if not ok then
  io.stderr:write("bench: ", tostring(result), "\n")
end
os.exit(ok and result and 0 or 1)
