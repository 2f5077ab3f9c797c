local SIZE = "20000000"

local function run(kit, mode, label)
  return {
    label = label,
    rounds = 1,
    contestants = { kit.opperchat("media.lua", mode, SIZE) },
    -- the base64 text, which is the message, and little else
    rows = { { key = "megabytes", unit = "MB", aim = { most = 28 } } },
  }
end

return {
  name = "media",
  title = "Memory of large files",
  text = [[
By how much the process is larger at its largest while a PDF of 20 MB is appended, whose base64
text has 26.7 MB.]],
  runs = function(kit)
    return {
      run(kit, "path", "a PDF of 20 MB, by its path"),
      run(kit, "data", "the same as a string, beyond that string"),
    }
  end,
}
