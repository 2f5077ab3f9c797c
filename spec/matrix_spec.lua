-- Everything that can go wrong between a request and its answer, one after the
-- other: see spec/support/matrix_faults.lua. docs/reliability.md shows what comes
-- of it; `make reliability` writes the table there.
--
-- MATRIX=all tries further attempts with every driver, not with one of them in
-- turn.

local faults = require "spec.support.matrix_faults"
local matrix = require "spec.support.matrix"
local reliability = require "spec.support.matrix_table"

local ALL = os.getenv("MATRIX") == "all"
local WRITES = os.getenv("MATRIX") == "write"

describe("a fault", function()
  local world
  local seen = {}

  setup(function()
    world = matrix.new_world()
  end)

  teardown(function()
    world:stop()
  end)

  -- Each try is with another driver than the one before, so that all of them
  -- come to much where not all can come to everything.
  local turn = 0
  local function drivers(is_every)
    if is_every then
      return matrix.drivers
    end
    turn = turn % #matrix.drivers + 1
    return { matrix.drivers[turn] }
  end

  local function try(fault, form)
    local shown
    for _, driver in ipairs(drivers(ALL or not matrix.is_slow)) do
      local result, problem = matrix.try(world, fault, form, driver, 0)
      if not result then
        return problem
      end
      shown = result
    end
    for _, driver in ipairs(drivers(ALL)) do
      shown.is_retried = matrix.try(world, fault, form, driver, 2).is_retried
    end
    seen[fault] = seen[fault] or {}
    seen[fault][form] = shown
  end

  for _, fault in ipairs(faults) do
    it("that is: " .. fault.group .. ": " .. fault.name, function()
      for _, form in ipairs(matrix.forms) do
        local problem = fault[form] and try(fault, form)
        if problem then
          pending(problem)
        end
      end
    end)
  end

  it("ends as docs/reliability.md says", function()
    for _, fault in ipairs(faults) do
      if not seen[fault] then
        pending("not everything was tried")
        return
      end
    end
    local lines = reliability.lines(faults, seen)
    if WRITES then
      reliability.write(lines)
    end
    assert.equal(lines, reliability.read(), "`make reliability` writes it anew")
  end)
end)
