-- SPDX-License-Identifier: Apache-2.0
-- Native histograms: columns become plain tables, and back.
local ffi = require "ffi"
local bit = require "bit"
local base = require "prom_remote_api.ffi_base"

local histograms = {}
local lib = base.lib

local hints = { [0] = "unknown", "yes", "no", "gauge" }
local numbers_of_hints = {}
for number, hint in pairs(hints) do numbers_of_hints[hint] = number end

---- from columns

local SUM = ffi.offsetof("pra_histogram", "sum")
local ZERO_THRESHOLD = ffi.offsetof("pra_histogram", "zero_threshold")
local FLOAT, ZERO_FLOAT = lib.PRA_HISTOGRAM_FLOAT, lib.PRA_HISTOGRAM_ZERO_FLOAT

-- Lists are nil where they are empty.

local function spans_of(spans, range)
  if range.count == 0 then return nil end
  local list = {}
  for i = 1, range.count do
    local span = spans[range.start + i - 1]
    list[i] = { offset = span.offset, length = span.length }
  end
  return list
end

local function numbers_of(items, range)
  if range.count == 0 then return nil end
  local list = {}
  for i = 1, range.count do list[i] = base.number_at(items, range.start + i - 1) end
  return list
end

local function integers_of(show, items, range)
  if range.count == 0 then return nil end
  local list = {}
  for i = 1, range.count do list[i] = show(items[range.start + i - 1]) end
  return list
end

-- Counts of integer buckets: each the one before plus its delta.
local function sums_of(show, deltas, range)
  if range.count == 0 then return nil end
  local list, sum = {}, 0LL
  for i = 1, range.count do
    sum = sum + deltas[range.start + i - 1]
    list[i] = show(sum)
  end
  return list
end

local function count_of(show, bits, is_float)
  if is_float then return base.number_of_bits(bits) end
  return base.show_unsigned(show, bits)
end

--- Histogram h of columns as a table; show as in base.show.
function histograms.table_of(columns, h, show)
  local is_float = bit.band(h.flags, FLOAT) ~= 0
  -- a zero count of the other kind means nothing [W-47]
  local has_zero = (bit.band(h.flags, ZERO_FLOAT) ~= 0) == is_float
  local out = {
    timestamp = show(h.timestamp_ms),
    start_timestamp = h.start_timestamp_ms ~= 0 and show(h.start_timestamp_ms) or nil,
    schema = h.schema,
    count = count_of(show, h.count_bits, is_float),
    zero_count = count_of(show, has_zero and h.zero_count_bits or 0ULL, is_float),
    sum = base.number_in(h, SUM),
    zero_threshold = base.number_in(h, ZERO_THRESHOLD),
    reset_hint = hints[h.reset_hint] or "unknown",
    is_float = is_float or nil, -- the numbers themselves do not say it
    positive_spans = spans_of(columns.bucket_spans, h.positive_spans),
    negative_spans = spans_of(columns.negative_bucket_spans, h.negative_spans),
    custom_values = numbers_of(columns.custom_values, h.custom_values),
  }
  if is_float then
    out.positive_buckets = numbers_of(columns.positive_counts, h.positive_counts)
    out.negative_buckets = numbers_of(columns.negative_counts, h.negative_counts)
  else
    out.positive_buckets = sums_of(show, columns.positive_deltas, h.positive_deltas)
    out.negative_buckets = sums_of(show, columns.negative_deltas, h.negative_deltas)
    out.positive_deltas = integers_of(show, columns.positive_deltas, h.positive_deltas)
    out.negative_deltas = integers_of(show, columns.negative_deltas, h.negative_deltas)
  end
  return out
end

---- to columns

local function wrong(name)
  error("field " .. name .. " of a histogram is not what it should be", 0)
end

local function integer_field(h, name, least, most)
  local value = h[name]
  if value == nil then return 0 end
  value = base.integer(value)
  if not value or least and (value < least or value > most) then wrong(name) end
  return value
end

local function number_field(h, name, needed)
  local value = h[name]
  if value == nil and not needed then return 0 end
  return type(value) == "number" and value or tonumber(value) or wrong(name)
end

local function list_field(h, name)
  local list = h[name]
  if list ~= nil and type(list) ~= "table" then wrong(name) end
  return list or {}
end

-- Whether counts are floats: if that is not said, numbers with a fraction are.
local function is_float(h)
  if h.is_float ~= nil then return h.is_float and true or false end
  return type(h.count) == "number" and h.count % 1 ~= 0
end

local function count_field(h, name, float)
  if h[name] == nil then
    if name == "count" then wrong(name) end
    return 0ULL
  end
  if float then return base.bits_of(number_field(h, name)) end
  return base.unsigned(h[name]) or wrong(name)
end

local function fill_spans(h, name, keep)
  local list = list_field(h, name)
  local spans = ffi.new("pra_bucket_span[?]", #list)
  keep[name] = spans
  for i = 1, #list do
    local span = list[i]
    if type(span) ~= "table" then wrong(name) end
    spans[i - 1].offset = integer_field(span, "offset", -0x80000000, 0x7fffffff)
    spans[i - 1].length = integer_field(span, "length", 0, 0xffffffff)
  end
  return spans, #list
end

local function fill_numbers(h, name, keep)
  local list = list_field(h, name)
  local numbers = ffi.new("double[?]", #list)
  keep[name] = numbers
  for i = 1, #list do
    local value = list[i]
    numbers[i - 1] = type(value) == "number" and value or tonumber(value) or wrong(name)
  end
  return numbers, #list
end

local function fill_deltas(h, name, keep)
  local list = list_field(h, name)
  local deltas = ffi.new("int64_t[?]", #list)
  keep[name] = deltas
  local before = 0LL
  for i = 1, #list do
    local now = ffi.cast("int64_t", base.integer(list[i]) or wrong(name))
    deltas[i - 1] = now - before
    before = now
  end
  return deltas, #list
end

local function fill_fields(h, out, float)
  out.flags = float and FLOAT + ZERO_FLOAT or 0
  out.timestamp_ms = integer_field(h, "timestamp")
  out.start_timestamp_ms = integer_field(h, "start_timestamp")
  out.schema = integer_field(h, "schema", -0x80000000, 0x7fffffff)
  out.count_bits = count_field(h, "count", float)
  out.zero_count_bits = count_field(h, "zero_count", float)
  out.sum = number_field(h, "sum", true)
  out.zero_threshold = number_field(h, "zero_threshold")
  local hint = h.reset_hint
  if hint ~= nil and not numbers_of_hints[hint] then wrong("reset_hint") end
  out.reset_hint = numbers_of_hints[hint] or 0
end

local function fill_buckets(h, side, out, columns, float, keep)
  local name = side .. "_buckets"
  if float then
    columns[side .. "_counts"], out[side .. "_counts"].count = fill_numbers(h, name, keep)
    columns[side .. "_count_count"] = out[side .. "_counts"].count
  else
    columns[side .. "_deltas"], out[side .. "_deltas"].count = fill_deltas(h, name, keep)
    columns[side .. "_delta_count"] = out[side .. "_deltas"].count
  end
end

--- Columns that hold nothing but the histogram of this table. They point into what is put into
--- keep; raises.
function histograms.columns_of(h, keep)
  if type(h) ~= "table" then error("a histogram is a table, not a " .. type(h), 0) end
  local out, columns = ffi.new "pra_histogram[1]", ffi.new "pra_columns"
  keep.histogram, keep.columns = out, columns
  local float = is_float(h)
  fill_fields(h, out[0], float)
  columns.size = ffi.sizeof "pra_columns"
  columns.histograms, columns.histogram_count = out, 1
  columns.bucket_spans, out[0].positive_spans.count = fill_spans(h, "positive_spans", keep)
  columns.bucket_span_count = out[0].positive_spans.count
  columns.negative_bucket_spans, out[0].negative_spans.count =
    fill_spans(h, "negative_spans", keep)
  columns.negative_bucket_span_count = out[0].negative_spans.count
  columns.custom_values, out[0].custom_values.count = fill_numbers(h, "custom_values", keep)
  columns.custom_value_count = out[0].custom_values.count
  fill_buckets(h, "positive", out[0], columns, float, keep)
  fill_buckets(h, "negative", out[0], columns, float, keep)
  return columns
end

---- functions of the module

--- A histogram as a string of few bytes.
function histograms.encode(h)
  local keep = {}
  local ok, columns = pcall(histograms.columns_of, h, keep)
  if not ok then error(columns, 2) end
  local bytes, message = base.filled(function(buffer)
    base.fresh()
    return lib.pra_histogram_encode(columns, 0, buffer)
  end)
  keep[1] = nil -- it has lived until here
  if not bytes then error(message, 0) end
  return bytes
end

-- A request that holds nothing but the histogram: the request, or nil and a code.
local function request_of(data)
  local out = ffi.new "pra_write_request *[1]"
  base.fresh()
  local code = lib.pra_write_request_new(nil, out)
  if code ~= 0 then return nil, code end
  local request = ffi.gc(out[0], lib.pra_write_request_free)
  code = lib.pra_write_request_add_series(request, nil, 0)
  if code == 0 then
    code = lib.pra_write_request_add_histogram_encoded(request, data, #data, base.err)
  end
  if code ~= 0 then return nil, code end
  return request
end

--- A histogram from its bytes; nil, message, code if it is none.
function histograms.decode(data, integers)
  if type(data) ~= "string" then
    error("the bytes of a histogram are a string, not a " .. type(data), 2)
  end
  local show = base.show[base.integers(integers)]
  local request, code = request_of(data)
  if not request then return base.failure(code) end
  local columns = ffi.new("pra_columns", { size = ffi.sizeof "pra_columns" })
  base.check(lib.pra_write_request_columns(request, columns))
  local out = histograms.table_of(columns, columns.histograms[0], show)
  lib.pra_write_request_free(ffi.gc(request, nil))
  return out
end

--- Upper bound of a bucket.
function histograms.bound(schema, index)
  return lib.pra_histogram_bound(assert(tonumber(schema)), assert(tonumber(index)))
end

return histograms
