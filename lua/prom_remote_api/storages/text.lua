-- SPDX-License-Identifier: Apache-2.0

--- What the storages here have in common: integers, values and labels as text, in every Lua.
local pra = require "prom_remote_api"

local text = {}

---- Integers

--- The digits of an integer, whether it is a number, a string of digits or an int64_t of LuaJIT.
---@param integer pra.Integer
---@return string
function text.digits(integer)
  if type(integer) ~= "number" then return (tostring(integer):match("^-?%d+")) end
  return (math.type and "%d" or "%.0f"):format(integer)
end

--- A number where it is exact, else the digits: a key of a table.
---@param integer pra.Integer
---@return number|string
function text.integer(integer)
  if type(integer) == "number" then return integer end
  local digits = text.digits(integer)
  return (math.type or #digits <= 15) and tonumber(digits) or digits
end

---- Values

-- No Lua before 5.3 shows the bits of a NaN. A histogram's message does: its sum is the tag 0x19,
-- and 8 bytes, the lowest first.
local TAG = "\25"

local nans = {} -- 16 hex digits → NaN

--- The bits of a NaN as 16 hex digits, the highest first.
---@param nan number
---@return string
function text.nan_bits(nan)
  if pra.is_stale(nan) then return "7ff0000000000002" end
  local message = pra.encode_histogram { timestamp = 0, count = 0, sum = nan }
  local from = message:find(TAG .. "......[\240-\255][\127\255]")
  local bytes = message:sub(from + 1, from + 8):reverse()
  return (bytes:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

--- The NaN with these bits.
---@param bits string 16 hex digits
---@return number
function text.nan(bits)
  if not nans[bits] then
    local bytes = bits:gsub("%x%x", function(hex) return string.char(tonumber(hex, 16)) end)
    nans[bits] = assert(pra.decode_histogram(TAG .. bytes:reverse())).sum
  end
  return nans[bits]
end

--- Whether two values are the same bit for bit.
---@param a number
---@param b number
---@return boolean
function text.same(a, b)
  if a ~= a then return b ~= b and text.nan_bits(a) == text.nan_bits(b) end
  return a == b and 1 / a == 1 / b
end

---- Labels

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t",
  ["\b"] = "\\b", ["\f"] = "\\f", ["\127"] = "\127" }

local function quoted(s)
  return '"' .. s:gsub('[%c"\\]', function(c)
    return ESCAPES[c] or ("\\u%04x"):format(c:byte())
  end) .. '"'
end

--- A JSON object of sorted labels, as short as it can be.
---@param labels table<string, string>
---@return string
function text.json(labels)
  local names, pairs_of = {}, {}
  for name in pairs(labels) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do pairs_of[i] = quoted(name) .. ":" .. quoted(labels[name]) end
  return "{" .. table.concat(pairs_of, ",") .. "}"
end

-- The byte 255, which is nowhere in UTF-8, stands for the backslash: then every quote is an end.
local MARKED = { q = '"', ["\\"] = "\\", n = "\n", r = "\r", t = "\t", b = "\b", f = "\f" }

local function plain(s)
  return (s:gsub("\255u00(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)
    :gsub("\255(.)", MARKED))
end

--- The labels of such an object.
---@param json string
---@return table<string, string>
function text.labels(json)
  local labels = {}
  if json:find("\\", 1, true) then
    json = json:gsub("\\(.)", function(c) return "\255" .. (c == '"' and "q" or c) end)
    for name, value in json:gmatch('"([^"]*)":"([^"]*)"') do labels[plain(name)] = plain(value) end
  else
    for name, value in json:gmatch('"([^"]*)":"([^"]*)"') do labels[name] = value end
  end
  return labels
end

return text
