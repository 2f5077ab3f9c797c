--- Facts from a document into a Lua table, printed as text.
--
--   OPPER_API_KEY=... lua5.4 examples/extract.lua invoice.pdf
--   lua5.4 examples/extract.lua             an invoice that comes with it
--
-- Takes a PDF, a picture (PNG, JPEG, WebP, GIF) or a text file. With
-- OPPER_BASE_URL it talks to that server instead of Opper. With neither it
-- starts the offline server that comes with the examples, which goes through text
-- and the PDF of the invoice by a few plain rules, and sees nothing in pictures.

local opperchat = require "opperchat"

local here = arg[0]:match("^(.*[/\\])") or "./"
local path = arg[1] or here .. "documents/invoice.pdf"

-- What is to be found. The answer has these fields and no others.
local FACTS = {
  kind = { "invoice", "receipt", "letter", "other" },
  number = "string?",
  date = { type = "string", description = "YYYY-MM-DD", optional = true },
  seller = "string?",
  buyer = "string?",
  currency = { type = "string", description = "ISO 4217", optional = true },
  items = { { description = "string", quantity = "number", price = "number" } },
  total = "number?",
  paid = "boolean?",
}

-- The order in which they are printed.
local ORDER = { "kind", "number", "date", "seller", "buyer", "currency", "total", "paid" }
local COLUMNS = { "description", "quantity", "price" }

-- The document as text or as a part of a prompt.
local function document()
  local file, problem = io.open(path, "rb")
  if not file then
    error(problem, 0)
  end
  local head = file:read(12) or ""
  if head:find("^%%PDF") then
    file:close()
    return opperchat.file(path)
  elseif head:find("^\137PNG") or head:find("^\255\216") or head:find("^GIF8")
      or head:find("^RIFF....WEBP") then
    file:close()
    return opperchat.image(path)
  end
  local text = head .. file:read("*a")
  file:close()
  return text
end

local function shown(value, has_cents)
  if type(value) == "number" then
    return (has_cents and "%.2f" or "%.14g"):format(value)
  end
  return tostring(value)
end

-- Rows with their columns aligned: text to the left, numbers to the right.
local function print_table(rows, columns)
  local lines = { {} }
  for i = 1, #rows do
    lines[i + 1] = {}
  end
  for i, column in ipairs(columns) do
    local is_number, has_cents = type(rows[1][column]) == "number", false
    for _, row in ipairs(rows) do
      has_cents = has_cents or is_number and row[column] % 1 ~= 0
    end
    local width = #column
    for _, row in ipairs(rows) do
      width = math.max(width, #shown(row[column], has_cents))
    end
    local pattern = "%" .. (is_number and "" or "-") .. width .. "s"
    lines[1][i] = pattern:format(column)
    for j, row in ipairs(rows) do
      lines[j + 1][i] = pattern:format(shown(row[column], has_cents))
    end
  end
  for _, cells in ipairs(lines) do
    print("  " .. table.concat(cells, "  "))
  end
end

local function print_facts(facts)
  for _, name in ipairs(ORDER) do
    if facts[name] ~= nil then
      print(("%-10s%s"):format(name, shown(facts[name], name == "total")))
    end
  end
  if #facts.items == 0 then
    return
  end
  print("items")
  print_table(facts.items, COLUMNS)

  -- The values are Lua's own: they can be calculated with.
  local sum = 0
  for _, item in ipairs(facts.items) do
    sum = sum + item.quantity * item.price
  end
  local is_right = facts.total and math.abs(sum - facts.total) < 0.005
  print(("The items add up to %.2f%s."):format(sum,
    is_right and ", as the document says" or facts.total and ", the document says otherwise" or ""))
end

local function extract(client)
  local facts, err = client:json{
    model = "openai/gpt-5-mini",
    instructions = "Take the facts from the document. Leave out what is not in it.",
    input = document(),
    schema = FACTS,
    schema_retries = 1,
  }
  if not facts then
    error(err, 0)
  end
  print(path)
  print_facts(facts)
end

local offline, client
if not os.getenv("OPPER_API_KEY") and not os.getenv("OPPER_BASE_URL") then
  offline = dofile(here .. "support/offline.lua").start()
  client = opperchat.client{ base_url = offline.url }
  print("No OPPER_API_KEY is set: talking to the offline server at " .. offline.url)
  print("It is no model, and makes sense only of documents laid out like its invoice.")
end

local ok, err = pcall(extract, client or opperchat.client())
if offline then
  offline:stop()
end
if not ok then
  io.stderr:write("extract: ", tostring(err), "\n")
  os.exit(1)
end
