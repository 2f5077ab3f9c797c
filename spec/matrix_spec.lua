-- Everything that can go wrong between a request and its answer, one after the
-- other: see spec/support/matrix_faults.lua. docs/reliability.md shows what comes
-- of it; `make reliability` writes the table there.
--
-- MATRIX=all tries further attempts with every driver, not with one of them in
-- turn.

local faults = require "spec.support.matrix_faults"
local matrix = require "spec.support.matrix"
local reliability = require "spec.support.matrix_table"
local shell = require "spec.support.shell"

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
    if matrix.is_very_slow then
      local retries = fault[form].retried and 1 or 0
      return select(2, matrix.try(world, fault, form, drivers()[1], retries))
    end
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

-- A network of its own, in which the system's name server takes questions and
-- does not answer. Prints the error and the longest time a call took.
local SILENT_NAMES = [[
  local socket = require "socket"
  local opperchat = require "opperchat"
  local names = socket.udp()
  assert(names:setsockname(arg[1], 53))
  local client = opperchat.client {
    base_url = "http://silent.example/v1", timeout = { connect = 0.3 }, max_retries = 0,
  }
  local chat = opperchat.conversation { client = client }
  local longest = 0
  local function timed(f, ...)
    local before = socket.gettime()
    local result = f(...)
    longest = math.max(longest, socket.gettime() - before)
    return result
  end
  local begun = socket.gettime()
  local request = timed(chat.start, chat, "hello")
  while client:active() > 0 do
    timed(client.poll, client)
    socket.sleep(0.001)
  end
  local _, err = request:wait()
  local seconds = socket.gettime() - begun
  -- neither do a cancel and a close wait for it
  request = timed(chat.start, chat, "hello")
  timed(client.poll, client)
  timed(request.cancel, request)
  timed(chat.start, chat, "hello")
  timed(client.poll, client)
  timed(client.close, client)
  print(err.code, seconds, longest, socket.gettime())
]]

describe("a name server that does not answer", function()
  it("holds nothing up", function()
    local config = io.open("/etc/resolv.conf")
    local address = config and config:read("*a"):match("nameserver%s+(%d+%.%d+%.%d+%.%d+)")
    if config then
      config:close()
    end
    if not address or not shell.succeeds("unshare -n ip link set lo up") then
      pending("no network can be made here, or no name server is known")
      return
    end
    local program = shell.write_file(os.tmpname(), SILENT_NAMES)
    local output = shell.output_of("preload=$LD_PRELOAD; unset LD_PRELOAD; unshare -n sh -c '"
      .. "ip link set lo up; ip addr add " .. address .. "/32 dev lo; "
      .. "LD_PRELOAD='$preload' exec " .. shell.interpreter() .. " " .. program .. " "
      .. address .. "'; date +%s.%N")
    os.remove(program)
    local code, seconds, longest, last, ended =
      output:match("^(%S+)\t(%S+)\t(%S+)\t(%S+)\n(%S+)")
    assert.equal("connect_timeout", code, output)
    assert.truthy(tonumber(seconds) < 0.3 + matrix.late, seconds)
    assert.truthy(tonumber(longest) < matrix.longest_poll, longest)
    -- nor does the end of the program
    assert.truthy(tonumber(ended) - tonumber(last) < 2 * matrix.late, output)
  end)
end)
