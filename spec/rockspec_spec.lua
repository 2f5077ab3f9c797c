-- The rockspec names every file, since LuaRocks builds nothing else: a new
-- source has to be added there too.

local ROCKSPEC = "rockspec/opperchat-scm-1.rockspec"

local function load_rockspec()
  local rockspec = {}
  local chunk
  if setfenv then -- luacheck: ignore 113 (Lua 5.1)
    chunk = assert(loadfile(ROCKSPEC))
    setfenv(chunk, rockspec) -- luacheck: ignore 113
  else
    chunk = assert(loadfile(ROCKSPEC, "t", rockspec))
  end
  chunk()
  return rockspec
end

local function files_in(folder, pattern)
  local names = {}
  local pipe = assert(io.popen("find " .. folder .. " -type f -name '" .. pattern
    .. "' 2>/dev/null"))
  for name in pipe:lines() do
    names[#names + 1] = name
  end
  pipe:close()
  table.sort(names)
  return names
end

describe("the rockspec", function()
  local build = load_rockspec().build
  local modules = build.modules

  it("builds opperchat.core from every file in src/", function()
    local sources = {}
    for _, name in ipairs(modules["opperchat.core"].sources) do
      sources[#sources + 1] = name
    end
    table.sort(sources)
    assert.same(files_in("src", "*.c"), sources)
  end)

  it("installs every file in lua/ under the name it is required by", function()
    local names = {}
    for module, name in pairs(modules) do
      if type(name) == "string" then
        names[#names + 1] = name
        local stem = "lua/" .. module:gsub("%.", "/")
        assert.truthy(name == stem .. ".lua" or name == stem .. "/init.lua", name)
      end
    end
    table.sort(names)
    assert.same(files_in("lua", "*.lua"), names)
  end)

  it("installs every command in bin/ under its own name", function()
    local names = {}
    for command, name in pairs(build.install.bin) do
      assert.equal("bin/" .. command, name)
      names[#names + 1] = name
    end
    table.sort(names)
    assert.same(files_in("bin", "*"), names)
  end)

  it("copies the manual, and what Neovim looks for", function()
    local folders = {}
    for _, folder in ipairs{ "doc", "docs", "plugin" } do
      if #files_in(folder, "*") > 0 then
        folders[#folders + 1] = folder
      end
    end
    assert.same(folders, build.copy_directories)
  end)
end)
