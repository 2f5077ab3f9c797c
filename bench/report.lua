-- Takes the short table of bench/report.md into README.md, between its markers
-- <!-- bench --> and <!-- /bench -->.
--
--   lua bench/report.lua readme

local here = arg[0]:match("^(.*)/") or "."
package.path = here .. "/?.lua;" .. here .. "/../?.lua;" .. package.path

local markdown = require "harness.markdown"
local process = require "harness.process"

local BEGIN, END = "<!-- bench -->", "<!-- /bench -->"

-- Where what stands between two markers begins and ends.
local function find_block(text, first, last, what)
  local _, from = text:find(first, 1, true)
  local to = from and text:find(last, from, true)
  if not to then
    error(what .. " has no " .. first .. " ... " .. last, 0)
  end
  return from + 1, to - 1
end

local function readme()
  local report = process.read_file(here .. "/report.md")
  if not report then
    error("bench/report.md is missing: make bench", 0)
  end
  local from, to = find_block(report, markdown.SUMMARY_BEGIN, markdown.SUMMARY_END, "the report")
  local path = here .. "/../README.md"
  local text = assert(process.read_file(path))
  local first, last = find_block(text, BEGIN, END, "README.md")
  process.write_file(path, text:sub(1, first - 1) .. report:sub(from, to) .. text:sub(last + 1))
end

if arg[1] ~= "readme" then
  io.stderr:write("usage: lua bench/report.lua readme\n")
  os.exit(2)
end
local ok, problem = pcall(readme)
if not ok then
  io.stderr:write("bench: ", tostring(problem), "\n")
  os.exit(1)
end
