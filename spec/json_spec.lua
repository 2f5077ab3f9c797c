local core = require "opperchat.core"

local number_type = rawget(math, "type") or type

-- Other builds of lua-cjson ---------------------------------------------------

-- A reader that does what OpenResty's build does where it differs from the
-- classic one: integers stay integers and stop at 64 bits, empty lists can be
-- marked. `options.mark_arrays` is decode_array_with_array_mt, `empty_object`
-- the metatable that vim.json gives to {}.
local function reader(options)
  return function(text)
    local at = 1
    local function blank() at = text:find("[^ \t\r\n]", at) or #text + 1 end
    local value
    local function str()
      local from = at + 1
      at = from
      while text:sub(at, at) ~= "\"" do
        at = at + (text:sub(at, at) == "\\" and 2 or 1)
      end
      local raw = text:sub(from, at - 1)
      at = at + 1
      -- unescape with the lua-cjson that is there (refuses half pairs too)
      return options.real.decode("[\"" .. raw .. "\"]")[1]
    end
    local function number()
      local token = text:match("^[-+%d.eE]+", at)
      at = at + #token
      if number_type(1) ~= "integer" or token:find("[.eE]") then
        return tonumber(token) + 0.0
      end
      local n = tonumber(token)
      if number_type(n) == "integer" then
        return n
      end
      return n > 0 and rawget(math, "maxinteger") or rawget(math, "mininteger")
    end
    local function container(close, item)
      local result, empty = {}, true
      at = at + 1
      blank()
      while text:sub(at, at) ~= close do
        item(result)
        empty = false
        blank()
        at = at + (text:sub(at, at) == "," and 1 or 0)
        blank()
      end
      at = at + 1
      return result, empty
    end
    function value()
      blank()
      local c = text:sub(at, at)
      if c == "{" then
        local result, empty = container("}", function(t)
          local key = str()
          blank()
          at = at + 1
          t[key] = value()
        end)
        return empty and setmetatable(result, options.empty_object) or result
      elseif c == "[" then
        local n = 0
        local result = container("]", function(t)
          n = n + 1
          t[n] = value()
        end)
        return options.mark_arrays and setmetatable(result, options.mark_arrays) or result
      elseif c == "\"" then
        return str()
      end
      local word = text:match("^%a+", at)
      if word then
        at = at + #word
        if word == "null" then return options.null end
        return word == "true"
      end
      return number()
    end
    return value()
  end
end

local installed = require "cjson"

-- Loads opperchat.json anew with `cjson` (nil: there is none) and `vim`.
local function load_json(cjson, vim)
  local before = { package.loaded.cjson, package.loaded["opperchat.json"], rawget(_G, "vim") }
  package.loaded["opperchat.json"] = nil
  package.loaded.cjson = cjson
  package.preload.cjson = function()
    error("module 'cjson' not found:\n\tno file 'cjson.lua'", 0)
  end
  rawset(_G, "vim", vim)
  local loaded, json = pcall(require, "opperchat.json")
  package.preload.cjson = nil
  package.loaded.cjson = before[1]
  package.loaded["opperchat.json"] = before[2]
  rawset(_G, "vim", before[3])
  return loaded and json, json
end

local function openresty()
  local build = {
    null = installed.null,
    array_mt = {},
    empty_array_mt = {},
    -- any value will do that is no table: the real one is a light userdata
    empty_array = io.stdout,
  }
  build.decode = reader { real = installed, null = installed.null }
  function build.new()
    local copy = {}
    for name, value in pairs(build) do copy[name] = value end
    return copy
  end
  return build
end

local vim_null = io.stderr      -- vim.NIL is a full userdata

local function neovim()
  local empty_dict = { __tostring = function() return "vim.empty_dict()" end }
  return {
    NIL = vim_null,
    _empty_dict_mt = empty_dict,
    json = { decode = reader { real = installed, null = vim_null, empty_object = empty_dict } },
  }
end

local builds = {
  { "the installed lua-cjson", function() return load_json(installed) end },
  { "OpenResty's lua-cjson", function() return load_json(openresty()) end },
  { "vim.json", function() return load_json(nil, neovim()) end },
}

-- Kinds of numbers count, and so do the marks.
local function describe_value(json, value)
  if type(value) == "table" then
    local keys, parts = {}, {}
    for key in pairs(value) do keys[#keys + 1] = key end
    table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
    for _, key in ipairs(keys) do
      parts[#parts + 1] = type(key):sub(1, 1) .. key .. "=" .. describe_value(json, value[key])
    end
    local mark = getmetatable(value)
    return (mark == json.array_mt and "list" or "") .. "{" .. table.concat(parts, " ") .. "}"
  elseif type(value) == "number" then
    return number_type(value) .. ":" .. core.number(value)
  end
  return type(value) .. ":" .. tostring(value)
end

local INT = number_type(1)
local FLOAT = number_type(0.5)

for _, build in ipairs(builds) do
  describe("json with " .. build[1], function()
    local json = assert(build[2]())

    local function reads(text, expected)
      local value, message = json.decode(text)
      assert.is_nil(message)
      assert.are.equal(expected, describe_value(json, value))
      return value
    end

    it("reads scalars", function()
      reads("\"a\"", "string:a")
      reads("true", "boolean:true")
      reads("false", "boolean:false")
      reads("0.5", FLOAT .. ":0.5")
      reads("12", INT .. ":12")
      local value, message = json.decode("null")
      assert.is_nil(value)
      assert.is_nil(message)
    end)

    it("reads integral numbers as integers", function()
      reads("[3,3.0,3e2,-7,0.5]",
        ("{n1=%s:3 n2=%s:3 n3=%s:300 n4=%s:-7 n5=%s:0.5}"):format(INT, INT, INT, INT, FLOAT))
      reads("[9007199254740992,-9007199254740992]",
        ("{n1=%s:9007199254740992 n2=%s:-9007199254740992}"):format(INT, INT))
    end)

    it("reads larger integers as the nearest double", function()
      local list = json.decode("[12345678901234567890, -12345678901234567890, 9007199254740995]")
      assert.are.equal(12345678901234567890.0, list[1])
      assert.are.equal(-12345678901234567890.0, list[2])
      assert.are.equal(9007199254740996, list[3])
      for i = 1, 3 do
        assert.are.equal(FLOAT, number_type(list[i]))
      end
      -- digits in strings are nobody's number
      reads("[\"12345678901234567890\",\"a\\\"12345678901234567890\\\\\",1]",
        ("{n1=string:12345678901234567890 n2=string:a\"12345678901234567890\\ n3=%s:1}")
          :format(INT))
    end)

    it("drops null in objects", function()
      reads("{\"a\":null,\"b\":{\"c\":null}}", "{sb={}}")
    end)

    it("keeps the places in an array with null", function()
      local value = reads("[null,2,null,4,null]", ("list{n2=%s:2 n4=%s:4}"):format(INT, INT))
      assert.are.equal("[null,2,null,4,null]", json.encode(value))
      assert.are.equal("[null]", json.encode(json.decode("[null]")))
      value[6] = "new"
      assert.are.equal("[null,2,null,4,null,\"new\"]", json.encode(value))
    end)

    it("tells [] from {}", function()
      reads("[]", "list{}")
      reads("{}", "{}")
      reads("[ \n ]", "list{}")
      reads("{\"a\":[],\"b\":{},\"c\":[[]],\"d\":[1]}",
        ("{sa=list{} sb={} sc={n1=list{}} sd={n1=%s:1}}"):format(INT))
      reads("[\"[]\"]", "{n1=string:[]}")
    end)

    it("gives no mark but to empty lists", function()
      local value = json.decode("{\"a\":[1],\"b\":{},\"c\":{\"d\":1}}")
      assert.is_nil(getmetatable(value))
      assert.is_nil(getmetatable(value.a))
      assert.is_nil(getmetatable(value.b))
      assert.is_nil(getmetatable(value.c))
    end)

    it("takes the last of two equal keys", function()
      reads("{\"a\":1,\"a\":\"x\"}", "{sa=string:x}")
      reads("{\"a\":1,\"a\":null}", "{}")
    end)

    it("keeps string keys strings", function()
      reads("{\"1\":true,\"\":false}", "{s=boolean:false s1=boolean:true}")
    end)

    it("reads escapes, and half surrogate pairs as U+FFFD", function()
      reads("\"\\u00e9\\n\\ud83d\\ude00\\/\"", "string:\195\169\n\240\159\152\128/")
      reads("\"a\\ud83d\"", "string:a\239\191\189")
      reads("\"\\ud83d\\ud83d\\ude00\"", "string:\239\191\189\240\159\152\128")
      reads("\"\\ude00\\ud83d b\"", "string:\239\191\189\239\191\189 b")
      reads("\"\\\\ud83d\"", "string:\\ud83d")
      reads("\"\\\\\\ud83d\\\\ude00\"", "string:\\\239\191\189\\ude00")
      assert.are.equal("a\0b", json.decode("\"a\\u0000b\""))
    end)

    it("refuses what is not JSON", function()
      for _, text in ipairs { "", " ", "[1,]", "{\"a\":}", "{a:1}", "'a'", "[012]", "0x10",
        "NaN", "[Infinity]", "-inf", "[1.]", "[.5]", "[+1]", "nul", "1 2", "\"\t\"", "[1",
        "\"\\x\"", "// c\n1", "{\"a\":1,}", "\239\187\1911" } do
        local value, message = json.decode(text)
        assert.is_nil(value)
        assert.is_truthy(message:find("^not valid JSON at byte %d+$"), text)
      end
      assert.are.equal("not valid UTF-8 at byte 4",
        (select(2, json.decode("[\"a\255\"]"))))
    end)

    it("refuses deep nesting and takes what the core takes", function()
      local value, message = json.decode(("["):rep(600) .. ("]"):rep(600))
      assert.is_nil(value)
      assert.is_truthy(message:find("nested too deeply", 1, true))
      assert.is_table(json.decode(("["):rep(400) .. ("]"):rep(400)))
    end)

    it("returns a message for what is no string", function()
      local value, message = json.decode(nil)
      assert.is_nil(value)
      assert.are.equal("string expected, got nil", message)
    end)

    it("writes back what it read", function()
      for _, text in ipairs {
        "{\"a\":[],\"b\":{},\"c\":[[],{},[null]]}",
        "{\"content\":{},\"required\":{},\"tools\":[]}",
        "[1,2.5,\"x\",true,false]",
        "{\"role\":\"tool\",\"content\":\"\\n\\\"\"}",
      } do
        assert.are.equal(text, json.encode(json.decode(text)))
      end
    end)

    it("writes its own null", function()
      assert.are.equal("[null]", json.encode { json.null })
      assert.is_true(json.is_null(json.null))
      assert.is_false(json.is_null(nil))
      assert.is_false(json.is_null(false))
      assert.is_false(json.is_null({}))
      assert.is_false(json.is_null(io.stdin))
    end)
  end)
end

describe("json.encode", function()
  local json = require "opperchat.json"

  local function refuses(value, message)
    local written, text = pcall(json.encode, value)
    assert.is_false(written)
    assert.are.equal(message, text)
  end

  it("writes scalars", function()
    assert.are.equal("\"a/b\"", json.encode("a/b"))
    assert.are.equal("true", json.encode(true))
    assert.are.equal("false", json.encode(false))
    assert.are.equal("0.1", json.encode(0.1))
    assert.are.equal("3", json.encode(3.0))
    assert.are.equal("-12", json.encode(-12))
  end)

  it("writes integers of 64 bits exactly", function()
    if number_type(1) ~= "integer" then
      return
    end
    assert.are.equal("9223372036854775807", json.encode(rawget(math, "maxinteger")))
    assert.are.equal("-9223372036854775808", json.encode(rawget(math, "mininteger")))
  end)

  it("writes keys sorted, role and model first", function()
    assert.are.equal("{\"role\":\"user\",\"content\":\"x\",\"name\":\"n\"}",
      json.encode { content = "x", name = "n", role = "user" })
    assert.are.equal("{\"model\":\"m\",\"a\":1,\"b\":2}",
      json.encode { b = 2, a = 1, model = "m" })
    assert.are.equal("{\"role\":false}", json.encode { role = false })
  end)

  it("writes lists", function()
    assert.are.equal("[1,[2,[]],\"x\"]", json.encode { 1, { 2, json.array {} }, "x" })
    assert.are.equal("[]", json.encode(json.array()))
    assert.are.equal("[1]", json.encode(json.array { 1 }))
  end)

  it("writes an empty table as the list that must stand there", function()
    assert.are.equal("{}", json.encode {})
    assert.are.equal("[]", json.encode({}, "tools"))
    assert.are.equal("{}", json.encode({}, "properties"))
    assert.are.equal("{\"parameters\":{\"properties\":{},\"required\":[],\"type\":\"object\"}}",
      json.encode { parameters = { type = "object", properties = {}, required = {} } })
    assert.are.equal("{\"anyOf\":[{},{\"enum\":[]}]}",
      json.encode { anyOf = { {}, { enum = {} } } })
    assert.are.equal("{\"role\":\"assistant\",\"annotations\":[],\"tool_calls\":[]}",
      json.encode { role = "assistant", tool_calls = {}, annotations = {} })
  end)

  it("knows names from keywords", function()
    assert.are.equal(
      "{\"properties\":{\"properties\":{\"properties\":{\"stop\":{}},\"required\":[]},"
        .. "\"required\":{},\"stop\":{\"enum\":[]}}}",
      json.encode { properties = {
        required = {}, stop = { enum = {} },
        properties = { properties = { stop = {} }, required = {} },
      } })
    assert.are.equal("{\"$defs\":{\"enum\":{}},\"definitions\":{\"anyOf\":{}}}",
      json.encode { ["$defs"] = { enum = {} }, definitions = { anyOf = {} } })
    assert.are.equal("{\"stop\":{\"enum\":[]}}",
      json.encode({ stop = { enum = {} } }, "properties"))
  end)

  it("takes values in a schema as they are", function()
    assert.are.equal("{\"const\":{\"required\":{}},\"default\":{},\"enum\":[{\"tools\":{}}]}",
      json.encode { default = {}, const = { required = {} }, enum = { { tools = {} } } })
    assert.are.equal("{\"default\":[],\"type\":\"array\"}",
      json.encode { type = "array", default = {} })
  end)

  it("accepts the marks and nulls of every build", function()
    local fork = openresty()
    local vim = neovim()
    local both = assert(load_json(fork, vim))
    assert.are.equal("{\"a\":[],\"b\":[],\"c\":[],\"d\":[7],\"e\":[],\"stop\":{}}", both.encode {
      a = fork.empty_array, b = setmetatable({}, fork.empty_array_mt),
      c = setmetatable({}, fork.array_mt), d = setmetatable({ 7 }, fork.empty_array_mt),
      e = both.array(), stop = setmetatable({}, vim._empty_dict_mt),
    })
    assert.are.equal("{\"x\":1}", both.encode(setmetatable({ x = 1 }, fork.empty_array_mt)))
    assert.are.equal("[null,null]", both.encode { vim.NIL, installed.null })
    assert.are.equal(fork.array_mt, both.array_mt)
  end)

  it("uses an instance of its own", function()
    local fork, touched = openresty(), {}
    local new = fork.new
    local function setter(where, name)
      where[name] = function() touched[#touched + 1] = name end
    end
    setter(fork, "decode_max_depth")
    fork.new = function()
      local instance = new()
      instance.decode_max_depth = function() end
      return instance
    end
    assert(load_json(fork))
    assert.are.same({}, touched)
  end)

  it("names what cannot be written", function()
    refuses(nil, "nil cannot be written as JSON (opperchat.null stands for null)")
    refuses(print, "a function cannot be written as JSON")
    refuses({ messages = { {}, { content = "abcd\255" } } },
      "messages[2].content: not valid UTF-8 at byte 5")
    refuses({ a = { ["two words"] = { print } } },
      "a[\"two words\"][1]: a function cannot be written as JSON")
    refuses({ a = { ["\255\n"] = 1 } }, "a: a key is not valid UTF-8 at byte 1")
    refuses({ a = coroutine.create(function() end) }, "a: a thread cannot be written as JSON")
    refuses({ a = io.stdout }, "a: a userdata cannot be written as JSON")
    refuses({ a = { 1, 2, x = 3 } },
      "a: a table with both list items and named fields cannot be written as JSON")
    refuses({ a = json.array { x = 3 } },
      "a: a table with both list items and named fields cannot be written as JSON")
    refuses({ a = { [true] = 1 } }, "a: a boolean cannot be a key in JSON")
    refuses({ a = { [1.5] = 1 } },
      "a: a number cannot be a key in JSON: write the key as a string")
    refuses({ a = { [0] = 1 } },
      "a: a number cannot be a key in JSON: write the key as a string")
  end)

  it("names the item that is missing in a list", function()
    local message = "a: a list without item %d (keys of an object are strings, "
      .. "and opperchat.null stands for null)"
    refuses({ a = { 1, nil, 3 } }, message:format(2))
    refuses({ a = { [50256] = -100 } }, message:format(1))
    refuses({ a = json.array { 1, nil, 3 } }, message:format(2))
  end)

  it("refuses NaN and infinities", function()
    for _, number in ipairs { 0 / 0, 1 / 0, -1 / 0 } do
      local written, text = pcall(json.encode, { a = { number } })
      assert.is_false(written)
      assert.is_truthy(text:find("^a%[1%]: "))
    end
  end)

  it("refuses cycles but not the same table twice", function()
    local shared = { x = 1 }
    assert.are.equal("[{\"x\":1},{\"x\":1}]", json.encode { shared, shared })
    local cycle = {}
    cycle.inner = { cycle }
    refuses(cycle, "inner[1]: a table inside itself cannot be written as JSON")
  end)

  it("refuses nesting deeper than 128", function()
    local function nest(depth)
      local value = json.array()
      for _ = 2, depth do value = { value } end
      return value
    end
    assert.are.equal(("["):rep(128) .. ("]"):rep(128), json.encode(nest(128)))
    local written, text = pcall(json.encode, nest(129))
    assert.is_false(written)
    assert.is_truthy(text:find("nested deeper than 128", 1, true))
  end)

  it("looks at no metamethod", function()
    local trap = setmetatable({ a = 1 }, { __index = error, __pairs = error, __len = error })
    assert.are.equal("{\"a\":1}", json.encode(trap))
  end)
end)

describe("json", function()
  local json = require "opperchat.json"

  it("wants tables for lists", function()
    assert.has_error(function() json.array("x") end, "table expected, got string")
    local list = {}
    assert.are.equal(list, json.array(list))
  end)

  it("names the package when there is no lua-cjson", function()
    local loaded, message = load_json(nil, nil)
    assert.is_false(loaded)
    assert.is_truthy(message:find("apt install lua-cjson", 1, true))
    assert.is_truthy(message:find("luarocks install lua-cjson", 1, true))
    assert.is_truthy(message:find("module 'cjson' not found:", 1, true))
    assert.is_nil(message:find("\n", 1, true))
  end)

  it("makes a new instance when the old one cannot read", function()
    -- the classic build reads numbers by the locale it was made in
    local fork, made = openresty(), 0
    local new = fork.new
    function fork.new()
      local instance = new()
      made = made + 1
      if made == 1 then
        local decode = instance.decode
        instance.decode = function(text)
          if text:find("0.5", 1, true) then error("invalid token", 0) end
          return decode(text)
        end
      end
      return instance
    end
    local loaded = assert(load_json(fork))
    assert.are.same({ 0.5 }, loaded.decode("[0.5]"))
    assert.are.equal(2, made)
  end)

  it("gives the same text again for whatever it read", function()
    -- often enough for LuaJIT to compile what happens here
    local keys = { "a", "required", "content", "properties", "default", "x y", "", "role" }
    local scalars = { "1", "-0.5", "1e3", "null", "true", "[]", "{}", "\"[]\"", "\"\\ud800\"" }
    local seed = 7
    local function random(n)
      seed = (seed * 16807) % 2147483647
      return seed % n + 1
    end
    local function text(depth)
      local kind = random(depth > 4 and 1 or 3)
      local parts = {}
      if kind == 1 then
        return scalars[random(#scalars)]
      end
      for i = 1, random(5) - 1 do
        parts[i] = (kind == 2 and "" or "\"" .. keys[random(#keys)] .. "\":") .. text(depth + 1)
      end
      return (kind == 2 and "[" or "{") .. table.concat(parts, ", ") .. (kind == 2 and "]" or "}")
    end
    for _ = 1, 3000 do
      local value, message = json.decode(text(0))
      assert.is_nil(message)
      if value ~= nil then
        local once = json.encode(value)
        assert.are.equal(once, json.encode(json.decode(once)))
      end
    end
  end)

  it("reads long strings as it reads short ones", function()
    local long = ("\195\164x"):rep(30000)
    local escaped = ("\\n\\\"\\u00e4\\/"):rep(10000)
    local read = ("\n\"\195\164/"):rep(10000)
    local value = assert(json.decode('{"a":"' .. long .. '","b":["' .. escaped
      .. '",[],12345678901234567890,"' .. long .. '",null],"' .. long
      .. '":"short","c":"opperchat string 1"}'))
    assert.is_true(value.a == long and value.b[1] == read and value.b[4] == long)
    assert.are.equal(json.array_mt, getmetatable(value.b[2]))
    assert.are.equal(12345678901234567890.0, value.b[3])
    assert.are.equal("short", value[long])
    assert.are.equal("opperchat string 1", value.c)
    assert.is_true(json.decode('"' .. long .. '"') == long)
    assert.is_true(json.decode('"' .. long .. '\\ud83d"') == long .. "\239\191\189")
    assert.is_true(json.decode('["' .. long .. '\\ud83d\\ude00","\\ud83d"]')[1]
      == long .. "\240\159\152\128")
  end)

  it("cannot be fooled by what stands for an empty list", function()
    local text = "[[],\"opperchat empty list\",[\"opperchat empty list\"]]"
    assert.are.equal(text, json.encode(json.decode(text)))
  end)
end)
