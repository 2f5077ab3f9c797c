-- JSON Schema: the short form and the check of decoded values.

local json = require "opperchat.json"
local schema = require "opperchat.schema"

-- The JSON text, so that empty lists and objects are told apart.
local function text(value)
  return json.encode(value)
end

local function expanded(given)
  return text(assert(schema.expand(given, "parameters")))
end

local function problem(given)
  local result, message = schema.expand(given, "parameters")
  assert.is_nil(result)
  return message
end

describe("the short form", function()
  it("makes an object of names and types", function()
    assert.equal('{"additionalProperties":false,"properties":{"city":{"type":"string"},'
      .. '"days":{"type":"integer"}},"required":["city"],"type":"object"}',
      expanded{ city = "string", days = { type = "integer", optional = true } })
  end)

  it("knows every type", function()
    for _, name in ipairs{ "string", "number", "integer", "boolean", "object", "null" } do
      assert.equal('{"type":"' .. name .. '"}', text(schema.expand{ x = name }.properties.x))
    end
    assert.equal('{"items":{},"type":"array"}', text(schema.expand{ x = "array" }.properties.x))
    assert.equal("{}", text(schema.expand{ x = "any" }.properties.x))
  end)

  it("always lists what is required, sorted", function()
    assert.equal('{"additionalProperties":false,"properties":{},"required":[],"type":"object"}',
      expanded{})
    assert.equal(json.array_mt, getmetatable(schema.expand{}.required))
    assert.same({}, schema.expand{ a = "string?" }.required)
    assert.same({ "a", "b", "c" }, schema.expand{ c = "any", a = "null", b = "object" }.required)
  end)

  it("has two ways to say that something is optional", function()
    assert.equal(expanded{ a = "number", b = "string?" },
      expanded{ a = "number", b = { type = "string", optional = true } })
    assert.equal(expanded{ a = { "string" }, b = "string" },
      expanded{ a = { "string", optional = false }, b = { type = "string", optional = false } })
  end)

  it("removes 'optional' from a copy", function()
    local days = { type = "integer", minimum = 1, optional = true }
    local result = schema.expand{ days = days }
    assert.same({ type = "integer", minimum = 1 }, result.properties.days)
    assert.is_true(days.optional)
    assert.same({}, result.required)
  end)

  it("makes arrays of lists of one thing", function()
    local properties = schema.expand{
      tags = { "string" },
      grid = { { "number" } },
      people = { { name = "string", age = "integer?" } },
      dates = { { type = "string", format = "date" } },
      few = { "string", optional = true, minItems = 1, description = "At least one" },
    }.properties
    assert.equal('{"items":{"type":"string"},"type":"array"}', text(properties.tags))
    assert.equal('{"items":{"items":{"type":"number"},"type":"array"},"type":"array"}',
      text(properties.grid))
    assert.equal('{"items":{"additionalProperties":false,"properties":{"age":{"type":"integer"},'
      .. '"name":{"type":"string"}},"required":["name"],"type":"object"},"type":"array"}',
      text(properties.people))
    assert.equal('{"items":{"format":"date","type":"string"},"type":"array"}',
      text(properties.dates))
    assert.equal('{"description":"At least one","items":{"type":"string"},"minItems":1,'
      .. '"type":"array"}', text(properties.few))
  end)

  it("makes a choice of lists of several values", function()
    local properties = schema.expand{
      size = { "small", "large" },
      stars = { 1, 2, 3, optional = true, description = "More is better" },
      factor = { 0.5, 1, 2 },
    }
    assert.equal('{"enum":["small","large"],"type":"string"}', text(properties.properties.size))
    assert.equal('{"description":"More is better","enum":[1,2,3],"type":"integer"}',
      text(properties.properties.stars))
    assert.equal("number", properties.properties.factor.type)
    assert.same({ "factor", "size" }, properties.required)
  end)

  it("nests", function()
    assert.equal('{"additionalProperties":false,"properties":{"place":{"additionalProperties":'
      .. 'false,"properties":{"city":{"type":"string"}},"required":["city"],"type":"object"}},'
      .. '"required":[],"type":"object"}',
      expanded{ place = { city = "string", optional = true } })
  end)

  it("may be a list at the top", function()
    assert.equal('{"items":{"type":"string"},"type":"array"}', expanded{ "string" })
    assert.equal('{"enum":["spam","ham"],"type":"string"}', expanded{ "spam", "ham" })
  end)

  it("leaves the given table alone", function()
    local function make()
      return { a = { "string", optional = true }, b = { c = "number?" }, d = { "x", "y" } }
    end
    local given = make()
    local result = schema.expand(given)
    result.properties.d.enum[1] = "changed"
    assert.same(make(), given)
  end)
end)

describe("a JSON Schema", function()
  it("is returned as it is", function()
    for _, given in ipairs{
      { type = "object", properties = {} },
      { type = "object" },
      { type = "string" },
      { type = { "string", "null" } },
      { type = "object", properties = { a = { type = "string" } }, propertyOrdering = { "a" } },
      { properties = { a = { type = "string" } }, required = { "a" } },
      { enum = { "a", "b" } },
      { const = "string" },
      { anyOf = { { type = "string" }, { type = "null" } } },
      { ["$ref"] = "#/$defs/a", ["$defs"] = { a = { type = "string" } } },
      { ["$defs"] = { a = true }, whatever = "string" },
      { type = "array", items = { type = "string" }, ["x-order"] = 1 },
      { type = "integer", description = "How many", minimum = 1, default = 3 },
      { type = "object", additionalProperties = { type = "number" } },
      { allOf = { { type = "object" } }, title = "All" },
      { oneOf = { { const = 1 }, { const = 2 } } },
    } do
      local result, message = schema.expand(given)
      assert.equal(given, result, message)
    end
  end)

  it("may have properties that are called as keywords are", function()
    local given = { type = "object", properties = { type = { type = "string" },
      properties = { type = "object" }, optional = { type = "boolean" } } }
    assert.equal(given, schema.expand(given))
  end)

  it("is told from the short form of an object with such properties", function()
    for _, given in ipairs{
      { type = "string", name = "string" },
      { type = "string", description = "string" },
      { title = "string", description = "string?" },
      { type = "string", properties = "object", required = "boolean" },
      { items = { "string" }, total = "number" },
      { type = { "spam", "ham" }, text = "string" },
      { optional = "boolean", name = "string" },
      { enum = "string" },
      { default = "string", format = "string" },
      { ["$price"] = "number" },
    } do
      local result = assert(schema.expand(given))
      assert.equal("object", result.type)
      local count = 0
      for name in pairs(result.properties) do
        assert.truthy(given[name])
        count = count + 1
      end
      for _ in pairs(given) do
        count = count - 1
      end
      assert.equal(0, count)
    end
  end)

  it("stands inside of the short form", function()
    local unit = { type = "string", enum = { "C", "F" } }
    assert.equal(unit, schema.expand{ unit = unit }.properties.unit)
  end)
end)

describe("a schema that is none", function()
  it("is refused with the place in it", function()
    for message, given in pairs{
      ["parameters.days: unknown type 'int' (did you mean 'integer'?)"] = { days = "int" },
      ["parameters.a: unknown type 'strng' (did you mean 'string'?)"] = { a = "strng" },
      ["parameters.b: unknown type 'Boolean' (did you mean 'boolean'?)"] = { b = "Boolean?" },
      ["parameters.b: unknown type 'bool' (did you mean 'boolean'?)"] = { b = "bool" },
      ["parameters.b: unknown type 'wobble'"] = { b = "wobble" },
      ["parameters.b: unknown type ''"] = { b = "" },
      ["parameters.days.type: unknown type 'int' (did you mean 'integer'?)"] =
        { days = { type = "int", optional = true } },
      ["parameters.a[1]: unknown type 'list' (did you mean 'array'?)"] = { a = { "list" } },
      ["parameters.a[1].b: unknown type 'str' (did you mean 'string'?)"] =
        { a = { { b = "str" } } },
      ["parameters.n: name of a type or schema expected, got number"] = { n = 3 },
      ["parameters.n: name of a type or schema expected, got null"] = { n = json.null },
      ["parameters.optional: only a property can be"] = { a = "string", optional = true },
      ["parameters: names expected as keys, got a boolean"] = { [true] = "string" },
      ["parameters: a list with a hole in it"] = { nil, "string" },
      ["parameters.a: a list of types or of values? Write {type = {...}} or {enum = {...}}"] =
        { a = { "string", "null" } },
      ["parameters.a: strings and numbers cannot be chosen from one list (write {enum = {...}})"] =
        { a = { "x", 1 } },
      ["parameters.a[2]: string or number expected, as in a list of values to choose from, "
        .. "got table"] = { a = { "x", {} } },
      ["parameters.a[1]: an item of a list cannot be optional"] = { a = { "string?" } },
      ["parameters.a: empty (write \"object\", \"array\" or \"any\")"] = { a = {} },
      ["parameters.a.x: a list has items and keywords of JSON Schema only"] =
        { a = { "string", x = "string" } },
      ["parameters.a.minLenght: name of a type or schema expected, got number "
        .. "(did you mean 'minLength'?)"] = { a = { type = "string", minLenght = 2 } },
      ["parameters.a.type: 'integer?' (write \"integer?\" alone, or optional = true)"] =
        { a = { type = "integer?", minimum = 1 } },
      ["parameters[\"two words\"].b: unknown type 'x'"] = { ["two words"] = { b = "x" } },
      ["parameters.properties.a: a schema expected, got \"string\" "
        .. "(inside of a JSON Schema everything is one: {type = \"string\"})"] =
        { type = "object", properties = { a = "string" } },
      ["parameters.a.items: a schema expected, got \"string\" "
        .. "(inside of a JSON Schema everything is one: {type = \"string\"})"] =
        { a = { type = "array", items = "string" } },
      ["parameters.properties.a.optional: belongs to the short form; "
        .. "here 'required' lists what is not"] =
        { type = "object", properties = { a = { type = "string", optional = true } } },
      ["parameters.anyOf[2].type: unknown type 'nil' (did you mean 'null'?)"] =
        { anyOf = { { type = "string" }, { type = "nil" } } },
      ["parameters.properties.a.type: name of a type or list of them expected, got number"] =
        { type = "object", properties = { a = { type = 1 } } },
    } do
      assert.equal(message, problem(given))
    end
    assert.same({ nil, "schema: table expected, got string" }, { schema.expand("string") })
    assert.same({ nil, "schema: table expected, got nil" }, { schema.expand() })
    assert.same({ nil, "schema: table expected, got null" }, { schema.expand(json.null) })
  end)

  it("is refused when it contains itself", function()
    local short = { a = "string" }
    short.b = short
    assert.truthy(problem(short):find("nested too deeply, or inside itself$"))
    local list = {}
    list[1] = list
    assert.truthy(problem(list):find("nested too deeply, or inside itself$"))
    local full = { type = "object", properties = {} }
    full.properties.a = full
    assert.truthy(problem(full):find("nested too deeply, or inside itself$"))
  end)
end)

describe("the check", function()
  -- Both as JSON texts: as they come from outside.
  local function check(value, json_schema)
    if type(value) == "string" then
      value = json.decode(value)
    end
    if type(json_schema) == "string" then
      json_schema = json.decode(json_schema)
    end
    return schema.check(value, json_schema)
  end

  local function fits(value, json_schema)
    assert.same({ true }, { check(value, json_schema) })
  end

  local function fails(message, value, json_schema, path)
    local valid, told, place = check(value, json_schema)
    assert.is_nil(valid)
    assert.equal(message, told)
    assert.equal(path or told:match("^([%w_%[%].]+): ") or "", place)
  end

  it("knows types", function()
    local examples = {
      string = { '"a"', '""' }, number = { "1", "1.5", "-1e-3" }, integer = { "1", "2.0", "-3" },
      boolean = { "true", "false" }, object = { "{}", '{"a":1}' }, array = { "[]", "[1]" },
      null = { "null" },
    }
    local also = { integer = "number" }
    for name in pairs(examples) do
      for other, texts in pairs(examples) do
        for _, value in ipairs(texts) do
          local is_both = value == "{}" and name == "array"
            or name == "integer" and value == "1"
          if name == other or also[other] == name or is_both then
            fits(value, { type = name })
          else
            local got = also[other] or other
            if name == "integer" and got == "number" then
              got = ("%.14g"):format(json.decode(value))
            end
            fails(name .. " expected, got " .. got, value, { type = name })
          end
        end
      end
    end
    fits("null", { type = { "string", "null" } })
    fails("string or null expected, got array", "[1]", { type = { "string", "null" } })
    fails("integer expected, got 3.5", "3.5", { type = "integer" })
    fails("boolean expected, got null", json.null, { type = "boolean" })
  end)

  it("takes an empty table for both, unless it is marked", function()
    fits({}, { type = "object" })
    fits({}, { type = "array" })
    fits(json.array(), { type = "array" })
    fails("object expected, got array", json.array(), { type = "object" })
    fails("at least 1 item expected, got 0", {}, { type = "array", minItems = 1 })
    fails("at least 1 item expected, got 0", {}, { type = { "array", "null" }, minItems = 1 })
    fails("a: missing", {}, { type = { "array", "object" }, required = { "a" } })
    fits({}, { oneOf = { { type = "array" }, { type = "object" } } })
  end)

  it("knows nothing of a table with both items and fields", function()
    fails("array expected, got object", { 1, a = 2 }, { type = "array" })
  end)

  it("looks into objects and arrays", function()
    local days = schema.expand{ days = { { city = "string", rain = "boolean?" } } }
    fits('{"days":[{"city":"Oslo"},{"city":"Rome","rain":false}]}', days)
    fits('{"days":[]}', days)
    fails("days[2].city: string expected, got number",
      '{"days":[{"city":"Oslo"},{"city":7}]}', days, "days[2].city")
    fails("days[1].city: missing", '{"days":[{}]}', days, "days[1].city")
    fails("days[1].rian: not a field of this object (did you mean 'rain'?)",
      '{"days":[{"city":"Oslo","rian":true}]}', days, "days[1].rian")
    fails("days[1].sun: not a field of this object", '{"days":[{"city":"Oslo","sun":true}]}', days)
    fails("days: array expected, got object", '{"days":{"city":"Oslo"}}', days)
    fails("object expected, got array", "[]", days)
    fails("object expected, got null", "null", days)
  end)

  it("takes null and absent for the same", function()
    local either = { type = "object", properties = { a = { type = { "string", "null" } } },
      required = { "a" } }
    fits('{"a":null}', either)
    fits("{}", either)
    fails("a: number expected, got string", '{"a":"x"}',
      { properties = { a = { type = "number" } } })
    fits('{"a":null}', { properties = { a = { type = "number" } } })
    fails("a: missing", '{"a":null}', { required = { "a" } })
  end)

  it("sees nulls in arrays", function()
    fails("[2]: string expected, got null", '["a",null,"b"]',
      { type = "array", items = { type = "string" } }, "[2]")
    fits('["a",null,"b"]', { type = "array", items = { type = { "string", "null" } } })
    fits('["a",null,"b"]', { type = "array", minItems = 3, maxItems = 3 })
    fits("[null]", { type = "array" })
  end)

  it("knows other fields", function()
    local map = { type = "object", properties = { id = { type = "string" } },
      additionalProperties = { type = "number" } }
    fits('{"id":"x","a":1,"b":2}', map)
    fails("b: number expected, got string", '{"id":"x","a":1,"b":"2"}', map)
    fits('{"x_1":true}', { patternProperties = { ["^x_"] = {} }, additionalProperties = false })
    fails('["a b"]: not a field of this object', '{"a b":1}', { additionalProperties = false },
      '["a b"]')
    fails('["größe"]: not a field of this object', '{"größe":1}',
      { additionalProperties = false }, '["größe"]')
  end)

  it("knows tuples", function()
    local pair = '{"prefixItems":[{"type":"string"},{"type":"number"}],"items":false}'
    fits('["a",1]', pair)
    fits('["a"]', pair)
    fails("[2]: number expected, got string", '["a","b"]', pair, "[2]")
    fails("[3]: nothing is allowed here", '["a",1,2]', pair, "[3]")
    fails("[1]: string expected, got number", "[1]", { items = { { type = "string" } } }, "[1]")
  end)

  it("compares with values", function()
    fits('"small"', { enum = { "small", "large" } })
    fails('one of "small", "large" expected, got "huge"', '"huge"',
      { enum = { "small", "large" } })
    fits("null", '{"enum":["a",null,"b"]}')
    fits('"b"', '{"enum":["a",null,"b"]}')
    fails('one of "a", null, "b" expected, got 1', "1", '{"enum":["a",null,"b"]}')
    fits('{"a":[1,{"b":2}]}', '{"enum":[1,{"a":[1,{"b":2}]}]}')
    fails('one of 1, a table expected, got a table', '{"a":[1,{"b":3}]}',
      '{"enum":[1,{"a":[1,{"b":2}]}]}')
    fails('one of 1, 2, 3, 4, 5, 6, 7, 8, ... expected, got 0', "0",
      { enum = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 } })
    fits("1.0", { const = 1 })
    fails('"a" expected, got "b"', '"b"', { const = "a" })
    fails("null expected, got false", "false", { const = json.null })
    fails('"a" expected, got "' .. ("é"):rep(18) .. '..."', '"' .. ("é"):rep(30) .. '"',
      { const = "a" })
  end)

  it("knows limits", function()
    local bounds = { minimum = 1, maximum = 5 }
    fits("1", bounds)
    fits("5", bounds)
    fails("at least 1 expected, got 0.5", "0.5", bounds)
    fails("at most 5 expected, got 6", "6", bounds)
    fails("more than 1 expected, got 1", "1", { exclusiveMinimum = 1 })
    fails("less than 5 expected, got 5", "5", { exclusiveMaximum = 5 })
    fits("5", { maximum = 5, exclusiveMaximum = true })
    fails("at least 2 characters expected, got 1", '"é"', { minLength = 2 })
    fits('"éé"', { maxLength = 2 })
    fails("at most 1 character expected, got 3", '"日本語"', { maxLength = 1 })
    fails("a: at most 2 items expected, got 3", '{"a":[1,2,3]}',
      { properties = { a = { maxItems = 2 } } })
    fits('"a"', bounds)
    fits("7", { minLength = 2, minItems = 3, required = { "a" } })
  end)

  it("knows alternatives", function()
    local either = '{"anyOf":[{"type":"string"},{"type":"number","minimum":3}]}'
    fits('"a"', either)
    fits("3", either)
    fails("string expected, got number, or at least 3 expected, got 1", "1", either)
    fails("a: string expected, got boolean, or number expected, got boolean", '{"a":true}',
      { properties = { a = json.decode(either) } })
    fails("fits none of 4 alternatives", "true", '{"anyOf":[{"const":1},{"const":2},{"const":3},'
      .. '{"const":4}]}')
    -- the alternative it came furthest in
    fails("shape.radius: number expected, got string", '{"shape":{"kind":"circle","radius":"1"}}',
      '{"properties":{"shape":{"anyOf":[{"type":"null"},{"type":"object","properties":'
      .. '{"radius":{"type":"number"}}}]}}}')
    local one = '{"oneOf":[{"type":"integer"},{"type":"number","maximum":5}]}'
    fits("1.5", one)
    fits("7", one)
    fails("fits 2 of the alternatives, and only one is allowed", "3", one)
    fails("at least 3 expected, got 1", "1", '{"allOf":[{"type":"number"},{"minimum":3}]}')
    fits("4", '{"allOf":[{"type":"number"},{"minimum":3}]}')
  end)

  it("follows references inside of the schema", function()
    local tree = '{"$ref":"#/$defs/node","$defs":{"node":{"type":"object","properties":'
      .. '{"name":{"type":"string"},"nodes":{"type":"array","items":{"$ref":"#/$defs/node"}}},'
      .. '"required":["name"]}}}'
    fits('{"name":"a","nodes":[{"name":"b","nodes":[{"name":"c"}]}]}', tree)
    fails("nodes[1].nodes[2].name: missing",
      '{"name":"a","nodes":[{"name":"b","nodes":[{"name":"c"},{}]}]}', tree)
    fits('{"a":"x"}', '{"properties":{"a":{"$ref":"#/definitions/a b~1c"}},"definitions":'
      .. '{"a b/c":{"type":"string"}}}')
    fails("a: string expected, got number", '{"a":1}', '{"properties":{"a":{"$ref":'
      .. '"#/definitions/a%20b~1c"}},"definitions":{"a b/c":{"type":"string"}}}')
    fails("[1]: string or array expected, got number", "[1]",
      '{"items":{"$ref":"#/anyOf/0"},"anyOf":[{"type":["string","array"]}]}', "[1]")
    fits("[[[]]]", '{"type":"array","items":{"$ref":"#"}}')
    fails("[1][1]: array expected, got number", "[[1]]", '{"type":"array","items":{"$ref":"#"}}',
      "[1][1]")
    fits("1", '{"$ref":"https://example.com/other.json"}')
    fails('the schema refers to "#/$defs/b", which it does not have', "1",
      '{"$ref":"#/$defs/b","$defs":{}}')
  end)

  it("comes to an end", function()
    fails("the schema refers to itself without an end", "1", '{"$ref":"#"}')
    fails("the schema refers to itself without an end", "1",
      '{"anyOf":[{"$ref":"#/$defs/a"}],"$defs":{"a":{"$ref":"#/$defs/b"},'
      .. '"b":{"$ref":"#/$defs/a"}}}')
    local deep = ("["):rep(500) .. ("]"):rep(500)
    fits(deep, '{"type":"array","items":{"$ref":"#"}}')
    local own = {}
    own[1] = own
    local place = ("[1]"):rep(8) .. "..." .. ("[1]"):rep(4)
    fails(place .. ": nested too deeply", own, '{"items":{"$ref":"#"}}', place)
    -- each level twice: 2^300 ways
    fails("too many combinations to check", ("["):rep(300) .. "1" .. ("]"):rep(300),
      '{"anyOf":[{"type":"array","items":{"$ref":"#"}},{"type":"array","items":{"$ref":"#"}}]}')
  end)

  it("does not look at what it does not know", function()
    fits('"a"', { pattern = "^b$", format = "date", wobble = 1 })
    fits('"a"', {})
    fits("null", true)
    fails("nothing is allowed here", "1", false)
  end)

  it("does not fall over odd schemas", function()
    for _, odd in ipairs{ "x", 1, true, {}, { {} }, json.array() } do
      for _, key in ipairs{ "properties", "required", "items", "prefixItems", "enum", "anyOf",
        "oneOf", "allOf", "$ref", "minimum", "minLength", "minItems", "additionalProperties",
        "exclusiveMinimum", "const", "type" } do
        for _, value in ipairs{ "a", 1, true, { 1, 2 }, { a = 1 }, json.array() } do
          schema.check(value, { [key] = odd })
        end
      end
    end
  end)
end)

-- Random short forms: a value made for the schema fits it, each change that
-- breaks it is found, and where it is.
describe("any schema", function()
  local seed = 0
  local function random(n)
    seed = (seed * 69069 + 12345) % 2 ^ 32
    return math.floor(seed / 2 ^ 16) % n + 1
  end

  local NAMES = { "city", "type", "properties", "optional", "two words", "required", "ä", "name" }
  local TYPES = { "string", "number", "integer", "boolean" }

  -- A short form, a value for it and how the path goes on to a leaf in it that
  -- can be broken: { path =, set = function(wrong value) }.
  local make

  local function step(path, key)
    if type(key) == "number" then
      return path .. "[" .. key .. "]"
    elseif key:find("^[%a_][%w_]*$") then
      return path == "" and key or path .. "." .. key
    end
    return path .. '["' .. key .. '"]'
  end

  local function make_leaf()
    local name = TYPES[random(#TYPES)]
    local values = { string = "text", number = 1.5, integer = 3, boolean = false }
    return name, values[name], {}
  end

  local function make_list(depth)
    local item, leaf, leaves
    local value, all = {}, {}
    for i = 1, random(3) do
      if i == 1 then
        item, leaf, leaves = make(depth - 1)
      else
        leaf, leaves = json.decode(json.encode(leaf)), {}
      end
      value[i] = leaf
      all[#all + 1] = { path = { i }, holder = value, key = i, scalar = type(leaf) ~= "table" }
      for _, own in ipairs(leaves) do
        table.insert(own.path, 1, i)
        all[#all + 1] = own
      end
    end
    return { item }, value, all
  end

  local function make_object(depth)
    local short, value, all = {}, {}, {}
    -- a name that is no keyword: what the object is has to be clear
    for _, name in ipairs{ "own", NAMES[random(#NAMES)], NAMES[random(#NAMES)] } do
      local item, own, leaves = make(depth - 1)
      short[name], value[name] = item, own
      for i = #all, 1, -1 do
        if all[i].path[1] == name then
          table.remove(all, i)
        end
      end
      all[#all + 1] = { path = { name }, holder = value, key = name,
        scalar = type(own) ~= "table", required = true }
      for _, leaf in ipairs(leaves) do
        table.insert(leaf.path, 1, name)
        all[#all + 1] = leaf
      end
    end
    return short, value, all
  end

  function make(depth)
    local kind = depth > 0 and random(4) or 1
    if kind <= 2 then
      return make_leaf()
    elseif kind == 3 then
      return make_list(depth)
    end
    return make_object(depth)
  end

  local function path_of(leaf)
    local path = ""
    for _, key in ipairs(leaf.path) do
      path = step(path, key)
    end
    return path
  end

  it("is fitted by its values and by no others", function()
    local rounds, broken = 0, 0
    for i = 1, 400 do
      seed = i
      local short, value, leaves = make_object(4)
      local full, message = schema.expand(short)
      assert.truthy(full, message)
      assert.equal(full, schema.expand(full))
      rounds = rounds + 1
      -- through JSON, as it goes to the server and as the answer comes back
      local wire = json.decode(json.encode(full))
      assert.same({ true }, { schema.check(json.decode(json.encode(value)), full) })
      assert.same({ true }, { schema.check(json.decode(json.encode(value)), wire) })

      for _, leaf in ipairs(leaves) do
        local before = leaf.holder[leaf.key]
        leaf.holder[leaf.key] = leaf.scalar and { wrong = true } or "wrong"
        local valid, told, path = schema.check(json.decode(json.encode(value)), wire)
        assert.is_nil(valid)
        assert.equal(path_of(leaf), path)
        assert.equal(path .. ": ", told:sub(1, #path + 2))
        if leaf.required then
          leaf.holder[leaf.key] = nil
          assert.same({ nil, path .. ": missing", path }, { schema.check(value, full) })
        end
        leaf.holder[leaf.key] = before
        broken = broken + 1
      end
      value.unheard_of = 1
      assert.same({ nil, "unheard_of: not a field of this object", "unheard_of" },
        { schema.check(value, full) })
    end
    assert.truthy(rounds == 400 and broken > 1000)
  end)
end)

describe("response_format", function()
  it("asks for an answer that fits", function()
    assert.equal('{"json_schema":{"name":"answer","schema":{"additionalProperties":false,'
      .. '"properties":{"city":{"type":"string"}},"required":["city"],"type":"object"}},'
      .. '"type":"json_schema"}', text(schema.response_format{ city = "string" }))
    local given = { type = "object", properties = {}, required = {} }
    local format = schema.response_format(given, "weather-1", true)
    assert.equal(given, format.json_schema.schema)
    assert.equal('{"json_schema":{"name":"weather-1","schema":{"properties":{},"required":[],'
      .. '"type":"object"},"strict":true},"type":"json_schema"}', text(format))
  end)

  it("leaves a list at the top as it is", function()
    assert.equal("array", schema.response_format{ "string" }.json_schema.schema.type)
  end)

  it("refuses what is no schema and no name", function()
    assert.same({ nil, "schema.a: unknown type 'int' (did you mean 'integer'?)" },
      { schema.response_format{ a = "int" } })
    for _, name in ipairs{ "", "two words", "é", ("x"):rep(65), 7 } do
      local format, message = schema.response_format({ a = "string" }, name)
      assert.is_nil(format)
      assert.truthy(message:find("^the name of a schema: "))
    end
  end)
end)
