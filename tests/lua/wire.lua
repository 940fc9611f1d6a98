-- SPDX-License-Identifier: Apache-2.0
-- Messages and snappy blocks for the tests, written without the library under test.
local bits = require "wire_bits"

-- double(number), read_double(bytes): all bits.
local wire = { double = bits.double, read_double = bits.read_double }

-- LuaJIT's int64_t or uint64_t, in the face that gives them, of a string of digits.
local function wide(integer, ending)
  if type(integer) ~= "string" or os.getenv("PRA_LUA_FACE") ~= "ffi" then return integer end
  return loadstring("return " .. integer .. ending)()
end

--- The integer as the module gives it.
function wire.int64(digits) return wide(bits.int64(digits), "LL") end

--- The same of one above 2^63-1.
function wire.uint64(digits) return wide(digits, "ULL") end

wire.exhaust = require "exhaust"
wire.max, wire.min = wire.int64 "9223372036854775807", wire.int64 "-9223372036854775808"

-- LuaJIT makes one NaN of all that come from C; of the others it can have the positive ones.
local has_ffi, ffi = pcall(require, "ffi")
if rawget(_G, "jit") and has_ffi then
  function wire.read_double(data)
    local number = ffi.new "double[1]"
    ffi.copy(number, data, 8)
    return data:byte(8) < 0x80 and number[0] or bits.read_double(data)
  end
end

--- The decimal digits of what int64 gives.
function wire.digits(integer)
  if type(integer) == "number" and not math.type then return ("%.0f"):format(integer) end
  return (tostring(integer):match("^-?%d+"))
end

--- Whether numbers say that they are integers, as from Lua 5.3 on.
wire.has_integers = math.type ~= nil

---- protocol buffers

local function varint(integer) return bits.varint(type(integer) == "number" and integer or wire.digits(integer)) end
local function int(field, value) return varint(field * 8) .. varint(value) end
local function bytes(field, value) return varint(field * 8 + 2) .. varint(#value) .. value end
local function double(field, value) return varint(field * 8 + 1) .. bits.double(value) end

local function sorted(labels)
  local names = {}
  for name in pairs(labels) do names[#names + 1] = name end
  table.sort(names)
  return names
end

local function labels_of(labels)
  local out = {}
  for _, name in ipairs(sorted(labels)) do
    out[#out + 1] = bytes(1, bytes(1, name) .. bytes(2, labels[name]))
  end
  return table.concat(out)
end

--- prometheus.WriteRequest of {labels, timestamps, values, exemplars, raw} and
--- {type, family, help, unit}.
function wire.write_request(list, metadata)
  local out = {}
  for _, series in ipairs(list) do
    local message = { labels_of(series.labels) }
    for i, timestamp in ipairs(series.timestamps or {}) do
      message[#message + 1] = bytes(2, double(1, series.values[i]) .. int(2, timestamp))
    end
    for _, e in ipairs(series.exemplars or {}) do
      message[#message + 1] = bytes(3, labels_of(e.labels) .. double(2, e.value) .. int(3, e.timestamp))
    end
    message[#message + 1] = series.raw
    out[#out + 1] = bytes(1, table.concat(message))
  end
  for _, m in ipairs(metadata or {}) do
    out[#out + 1] = bytes(3, int(1, m.type) .. bytes(2, m.family) .. bytes(4, m.help) .. bytes(5, m.unit))
  end
  return table.concat(out)
end

--- A float or integer native histogram with two positive buckets, for `raw` of a series.
function wire.histogram(timestamp)
  local spans = bytes(11, int(1, 0) .. int(2, 2)) -- offset 0, length 2
  local deltas = bytes(12, varint(2) .. varint(4)) -- zigzag 1, 2: buckets 1 and 3
  return bytes(4, int(1, 4) .. double(3, 2.5) .. int(4, 2) .. spans .. deltas .. int(15, timestamp))
end

--- io.prometheus.write.v2.Request of {labels, timestamps, values, start_timestamps, exemplars,
--- histograms (messages), metadata = {type, help, unit}}.
function wire.write_request_v2(list)
  local symbols, numbers = { "" }, { [""] = 0 }
  local function ref(text)
    if not numbers[text] then
      numbers[text] = #symbols
      symbols[#symbols + 1] = text
    end
    return numbers[text]
  end
  local function refs_of(labels)
    local out = {}
    for _, name in ipairs(sorted(labels)) do
      out[#out + 1] = varint(ref(name)) .. varint(ref(labels[name]))
    end
    return bytes(1, table.concat(out))
  end
  local out = {}
  for _, series in ipairs(list) do
    local message = { refs_of(series.labels) }
    for i, timestamp in ipairs(series.timestamps or {}) do
      message[#message + 1] = bytes(2, double(1, series.values[i]) .. int(2, timestamp)
        .. int(3, (series.start_timestamps or {})[i] or 0))
    end
    for _, histogram in ipairs(series.histograms or {}) do message[#message + 1] = bytes(3, histogram) end
    for _, e in ipairs(series.exemplars or {}) do
      message[#message + 1] = bytes(4, refs_of(e.labels) .. double(2, e.value) .. int(3, e.timestamp))
    end
    local m = series.metadata
    if m then message[#message + 1] = bytes(5, int(1, m.type) .. int(3, ref(m.help)) .. int(4, ref(m.unit))) end
    out[#out + 1] = bytes(5, table.concat(message))
  end
  for i, text in ipairs(symbols) do symbols[i] = bytes(4, text) end
  return table.concat(symbols) .. table.concat(out)
end

local matcher_types = { ["="] = 0, ["!="] = 1, ["=~"] = 2, ["!~"] = 3 }

--- prometheus.ReadRequest of {start_ms, end_ms, matchers = {{type, name, value}}, hints}.
function wire.read_request(queries)
  local out = {}
  for _, query in ipairs(queries) do
    local message = { int(1, query.start_ms), int(2, query.end_ms) }
    for _, m in ipairs(query.matchers) do
      message[#message + 1] = bytes(3, int(1, matcher_types[m[1]]) .. bytes(2, m[2]) .. bytes(3, m[3]))
    end
    local h = query.hints
    if h then
      message[#message + 1] = bytes(4, int(1, h.step_ms) .. bytes(2, h.func) .. int(3, h.start_ms)
        .. int(4, h.end_ms) .. bytes(5, h.grouping[1]) .. int(6, 1) .. int(7, h.range_ms))
    end
    out[#out + 1] = bytes(1, table.concat(message))
  end
  return table.concat(out)
end

-- Iterates over fields: number, value (integer or bytes).
function wire.fields(message)
  local at = 1
  local function read_varint()
    local value
    value, at = bits.read_varint(message, at)
    return wide(value, "LL")
  end
  return function()
    if at > #message then return nil end
    local tag = read_varint()
    local kind = tag % 8
    local field = (tag - kind) / 8
    if wire.has_integers then field = math.tointeger(field) end
    if kind == 0 then return field, read_varint() end
    local length = kind == 1 and 8 or read_varint()
    at = at + length
    return field, message:sub(at - length, at - 1)
  end
end

local function read_series(message)
  local series = { labels = {}, timestamps = {}, values = {} }
  for field, value in wire.fields(message) do
    local item = { "", "" }
    if field == 2 then item = { 0.0, 0 } end
    if field < 3 then for number, part in wire.fields(value) do item[number] = part end end
    if field == 4 then
      series.histograms = series.histograms or {}
      table.insert(series.histograms, value)
    end
    if field == 1 then
      series.labels[item[1]] = item[2]
    elseif field == 2 then
      local number = item[1] == 0.0 and 0.0 or wire.read_double(item[1])
      table.insert(series.values, number)
      table.insert(series.timestamps, item[2])
    end
  end
  return series
end

--- prometheus.ReadResponse: for each result a list of series.
function wire.read_response(message)
  local results = {}
  for _, result in wire.fields(message) do
    local list = {}
    for _, series in wire.fields(result) do list[#list + 1] = read_series(series) end
    results[#results + 1] = list
  end
  return results
end

---- snappy blocks

--- One block of literals only.
function wire.compress(data)
  local out = { varint(#data) }
  for from = 1, #data, 0x10000 do
    local piece = data:sub(from, from + 0xffff)
    out[#out + 1] = string.char(61 * 4, (#piece - 1) % 256, math.floor((#piece - 1) / 256)) .. piece
  end
  return table.concat(out)
end

function wire.uncompress(block)
  local at, out, length = 1, {}, 0
  while block:byte(at) >= 0x80 do at = at + 1 end -- the declared length is not needed
  at = at + 1
  local function number(width) -- little-endian
    local value = 0
    for i = width - 1, 0, -1 do value = value * 256 + block:byte(at + i) end
    at = at + width
    return value
  end
  local function copy(offset, count)
    for _ = 1, count do
      out[length + 1] = out[length + 1 - offset]
      length = length + 1
    end
  end
  while at <= #block do
    local tag = block:byte(at)
    local kind, upper = tag % 4, math.floor(tag / 4)
    at = at + 1
    if kind == 0 then
      local count = upper + 1
      if upper >= 60 then
        count = number(upper - 59) + 1
      end
      for i = at, at + count - 1 do
        length = length + 1
        out[length] = block:sub(i, i)
      end
      at = at + count
    elseif kind == 1 then
      copy(math.floor(upper / 8) * 256 + number(1), upper % 8 + 4)
    else
      copy(number(kind == 2 and 2 or 4), upper + 1)
    end
  end
  return table.concat(out)
end

---- whole requests for handler:request

local headers = {
  ["Content-Type"] = "application/x-protobuf",
  ["Content-Encoding"] = "snappy",
  ["X-Prometheus-Remote-Write-Version"] = "0.1.0",
}

local function with_headers(extra)
  local all = {}
  for name, value in pairs(headers) do all[name] = value end
  for name, value in pairs(extra or {}) do all[name] = value end
  return all
end

function wire.write(list, extra, metadata)
  return { target = "/api/v1/write", headers = with_headers(extra),
    body = wire.compress(wire.write_request(list, metadata)) }
end

function wire.write_v2(list)
  return { target = "/api/v1/write", body = wire.compress(wire.write_request_v2(list)), headers = with_headers {
    ["Content-Type"] = "application/x-protobuf;proto=io.prometheus.write.v2.Request",
    ["X-Prometheus-Remote-Write-Version"] = "2.0.0",
  } }
end

function wire.read(queries, extra)
  return { target = "/api/v1/read?from=test", headers = with_headers(extra),
    body = wire.compress(wire.read_request(queries)) }
end

--- Asks one query {type, name, value}... over all time: status, list of series.
function wire.ask(handler, matchers, extra)
  local status, _, body = handler:request(wire.read({ { start_ms = 0, end_ms = wire.max, matchers = matchers } }, extra))
  if status ~= 200 then return status, body end
  return status, wire.read_response(wire.uncompress(body))[1]
end

--- n series up{instance="0".."n-1"} with one sample each.
function wire.some(n)
  local list = {}
  for i = 1, n or 1 do
    list[i] = { labels = { __name__ = "up", instance = tostring(i - 1) }, timestamps = { 1000 + i }, values = { i / 2 } }
  end
  return list
end

return wire
