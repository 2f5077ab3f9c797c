-- The test runner must never call a broken run a success.

local shell = require "spec.support.shell"

-- Runs spec/run.lua on suites given as the bodies of shell scripts, in place
-- of C test programs; returns the last line and the exit code.
local function run(...)
  local paths, names = {}, {}
  for i, body in ipairs({ ... }) do
    paths[i] = shell.write_file(os.tmpname(), body .. "\n")
    names[i] = shell.quote(paths[i])
  end
  local output, status = shell.run(shell.interpreter() .. " spec/run.lua --wrap sh "
    .. table.concat(names, " "))
  for _, path in ipairs(paths) do
    os.remove(path)
  end
  return output:match("([^\n]*)\n$"), status
end

describe("spec/run.lua", function()
  it("adds up the suites", function()
    local last, status = run("echo '2 passed, 0 failed'", "echo '3 passed, 0 failed, 1 skipped'")
    assert.equal("5 passed, 0 failed, 1 skipped", last)
    assert.equal("0", status)
  end)

  it("fails with a failing suite", function()
    local last, status = run("echo '2 passed, 1 failed'; exit 1", "echo '3 passed, 0 failed'")
    assert.equal("5 passed, 1 failed", last)
    assert.equal("1", status)
  end)

  it("fails with a suite that crashes, says nothing, or complains at its end", function()
    for _, body in ipairs({
      "kill -SEGV $$", "true", "echo '1 passed, 0 failed'; exit 9", "echo '0 passed, 0 failed'",
    }) do
      local last, status = run("echo '2 passed, 0 failed'", body)
      assert.truthy(last:find("passed, 1 failed$"), body)
      assert.equal("1", status)
    end
  end)

  it("fails when there is nothing to run", function()
    local last, status = run()
    assert.equal("0 passed, 1 failed", last)
    assert.equal("1", status)
  end)
end)
