--- PDF files of plain text, and the text in them.
--
--   lua5.4 examples/support/pdf.lua notes.txt notes.pdf
--
-- As a module: `make` writes pages of typewriter text, uncompressed, and `text`
-- reads them. Other PDFs are compressed, and `text` finds nothing in them.

local pdf = {}

local LINES_PER_PAGE = 60

-- The text in the encoding of the font, which is that of Windows: Latin-1 is
-- all that is needed here.
local function latin1(text)
  return (text:gsub("[\192-\247][\128-\191]*", function(character)
    local first, second = character:byte(1, 2)
    return (first == 194 or first == 195) and #character == 2
      and string.char((first - 192) * 64 + second - 128) or "?"
  end))
end

local function utf8_of(text)
  return (text:gsub("[\128-\255]", function(character)
    local code = character:byte()
    return string.char(192 + math.floor(code / 64), 128 + code % 64)
  end))
end

local function pages_of(text)
  local pages, page = {}, nil
  if text:sub(-1) ~= "\n" then
    text = text .. "\n"
  end
  for line in text:gsub("\r", ""):gmatch("([^\n]*)\n") do
    if not page or #page == LINES_PER_PAGE then
      page = {}
      pages[#pages + 1] = page
    end
    page[#page + 1] = "(" .. latin1(line):gsub("[\\()]", "\\%0") .. ") '"
  end
  return pages
end

--- A PDF file with this text, line by line.
---@param text string UTF-8
---@return string bytes
function pdf.make(text)
  local objects = {
    "<< /Type /Catalog /Pages 2 0 R >>",
    "", -- the list of pages, when they are known
    "<< /Type /Font /Subtype /Type1 /BaseFont /Courier /Encoding /WinAnsiEncoding >>",
  }
  local kids = {}
  for _, lines in ipairs(pages_of(text)) do
    local content = "BT /F1 10 Tf 12 TL 60 790 Td\n" .. table.concat(lines, "\n") .. "\nET\n"
    objects[#objects + 1] = "<< /Length " .. #content .. " >>\nstream\n" .. content .. "endstream"
    objects[#objects + 1] = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents "
      .. #objects .. " 0 R /Resources << /Font << /F1 3 0 R >> >> >>"
    kids[#kids + 1] = #objects .. " 0 R"
  end
  objects[2] = "<< /Type /Pages /Kids [" .. table.concat(kids, " ") .. "] /Count " .. #kids
    .. " >>"

  local parts, size, offsets = { "%PDF-1.4\n" }, 9, {}
  local function add(part)
    parts[#parts + 1] = part
    size = size + #part
  end
  for i, object in ipairs(objects) do
    offsets[i] = ("%010d 00000 n \n"):format(size)
    add(i .. " 0 obj\n" .. object .. "\nendobj\n")
  end
  local start = size
  add("xref\n0 " .. #objects + 1 .. "\n0000000000 65535 f \n" .. table.concat(offsets))
  add("trailer\n<< /Size " .. #objects + 1 .. " /Root 1 0 R >>\nstartxref\n" .. start
    .. "\n%%EOF\n")
  return table.concat(parts)
end

--- The text of a PDF file that `make` wrote.
---@param bytes string
---@return string text
function pdf.text(bytes)
  local lines = {}
  for content in bytes:gmatch("stream\r?\n(.-)endstream") do
    for line in content:gmatch("[^\n]+") do
      local text = line:match("^%((.*)%) '$")
      if text then
        lines[#lines + 1] = utf8_of((text:gsub("\\(.)", "%1")))
      end
    end
  end
  return table.concat(lines, "\n")
end

-- The program -----------------------------------------------------------------

if type(arg) == "table" and type(arg[0]) == "string" and arg[0]:find("pdf%.lua$") then
  if #arg ~= 2 then
    io.stderr:write("usage: pdf.lua TEXT-FILE PDF-FILE\n")
    os.exit(1)
  end
  local from = assert(io.open(arg[1], "rb"))
  local text = from:read("*a")
  from:close()
  local to = assert(io.open(arg[2], "wb"))
  assert(to:write(pdf.make(text)))
  assert(to:close())
end

return pdf
