-- SPDX-License-Identifier: Apache-2.0
-- The side that asks: read requests are made, answers taken apart.
local ffi = require "ffi"
local base = require "prom_remote_api.ffi_base"
local requests = require "prom_remote_api.ffi_request"
local series = require "prom_remote_api.ffi_series"

local client = {}
local lib = base.lib

---- questions

local matcher_types = { ["="] = 0, ["!="] = 1, ["=~"] = 2, ["!~"] = 3 }

local function text_field(object, name, what)
  local value = object[name]
  if type(value) ~= "string" then
    error(("field %s of %s is a %s, not a string"):format(name, what, type(value)), 0)
  end
  return value
end

local function integer_field(object, name, what)
  local value = object[name]
  local integer = base.integer(value)
  if not integer then
    error(("field %s of %s is no integer: %s"):format(name, what, tostring(value)), 0)
  end
  return integer
end

local function add_matcher(raw, m)
  if type(m) ~= "table" then error("a matcher is a table { type, name, value }", 0) end
  local kind = matcher_types[m.type]
  if not kind then error("no such type of matcher: " .. tostring(m.type), 0) end
  local keep = { text_field(m, "name", "a matcher"), text_field(m, "value", "a matcher") }
  local texts = ffi.new "pra_str[2]"
  base.set_str(texts[0], keep[1])
  base.set_str(texts[1], keep[2])
  local code = lib.pra_read_request_add_matcher(raw, kind, texts[0], texts[1])
  keep[1] = nil -- they have lived until here
  return code
end

local function set_hints(raw, given)
  local grouping = given.grouping or {}
  local keep = { grouping, given.func or "" }
  local hints = ffi.new("pra_read_hints", { size = ffi.sizeof "pra_read_hints", present = 1 })
  local names = ffi.new("pra_str[?]", #grouping)
  for i, name in ipairs(grouping) do
    if type(name) ~= "string" then error("grouping is a list of strings", 0) end
    base.set_str(names[i - 1], name)
  end
  hints.grouping, hints.grouping_count = names, #grouping
  base.set_str(hints.func, keep[2])
  hints.by = given.by and 1 or 0
  for _, name in ipairs { "start_ms", "end_ms", "step_ms", "range_ms" } do
    if given[name] ~= nil then hints[name] = integer_field(given, name, "hints") end
  end
  local code = lib.pra_read_request_set_hints(raw, hints)
  keep[1], keep[3] = nil, names -- they have lived until here
  return code
end

local function add_query(raw, query)
  if type(query) ~= "table" then error("a query is a table, not a " .. type(query), 0) end
  local code = lib.pra_read_request_add_query(raw, integer_field(query, "start_ms", "a query"),
    integer_field(query, "end_ms", "a query"))
  local matchers, hints = query.matchers or {}, query.hints
  for i = 1, #matchers do
    if code == 0 then code = add_matcher(raw, matchers[i]) end
  end
  if code == 0 and hints then code = set_hints(raw, hints) end
  return code
end

local function fill_message(buffer, raw)
  return lib.pra_read_request_encode(raw, buffer, base.fresh())
end

--- A block of snappy that asks these queries; types: a list of PRA_RESPONSE_ numbers.
function client.encode_queries(queries, types)
  if type(queries) ~= "table" then error("queries are a list, not a " .. type(queries), 3) end
  local out = ffi.new "pra_read_request *[1]"
  base.fresh()
  local code = lib.pra_read_request_new(nil, out)
  if code ~= 0 then return base.failure(code) end
  local raw = ffi.gc(out[0], lib.pra_read_request_free)
  for i = 1, #queries do
    if code == 0 then code = add_query(raw, queries[i]) end
  end
  for i = 1, #(types or {}) do
    if code == 0 then code = lib.pra_read_request_add_accepted(raw, types[i]) end
  end
  if code ~= 0 then return base.failure(code) end
  local bytes, message, number = requests.block(base.filled(fill_message, raw))
  lib.pra_read_request_free(ffi.gc(raw, nil))
  return bytes, message, number
end

---- answers

local function columns_of(raw, get)
  local columns = ffi.new("pra_columns", { size = ffi.sizeof "pra_columns" })
  base.check(get(raw, columns))
  return columns
end

-- Series first … last - 1 (from 0) of columns, behind those of list.
local function add_tables(list, columns, first, last, shown)
  local state = { columns = columns, shown = shown, symbols = {}, owner = list }
  for i = first, last - 1 do
    local one = series.new(state, i + 1)
    list[#list + 1] = {
      labels = one.labels, timestamps = one.timestamps:totable(), values = one.values:totable(),
      histograms = one.histograms,
    }
  end
end

local function decode_sampled(body, limits, shown)
  local out = ffi.new "pra_read_response *[1]"
  base.fresh()
  local code = lib.pra_read_response_new(nil, out)
  if code ~= 0 then return base.failure(code) end
  local raw = ffi.gc(out[0], lib.pra_read_response_free)
  code = lib.pra_read_response_decode_snappy(raw, body, #body, limits, base.fresh())
  if code ~= 0 then return base.failure(code) end
  local columns = columns_of(raw, lib.pra_read_response_columns)
  local offsets, results = ffi.new "const uint32_t *[1]", {}
  for i = 1, tonumber(lib.pra_read_response_results(raw, offsets)) do
    results[i] = {}
    add_tables(results[i], columns, offsets[0][i - 1], offsets[0][i], shown)
  end
  lib.pra_read_response_free(ffi.gc(raw, nil))
  return results
end

local function append(list, more)
  for i = 1, #(more or {}) do list[#list + 1] = more[i] end
  return list
end

-- A series may go on in the next frame, with the same labels [R-23].
local function join(result, one)
  local key, last = base.key(one.labels), result[#result]
  if not last or result.key ~= key then
    result[#result + 1], result.key = one, key
    return
  end
  append(last.timestamps, one.timestamps)
  append(last.values, one.values)
  if one.histograms then last.histograms = append(last.histograms or {}, one.histograms) end
end

local MOST_QUERIES = 100000

-- Results of queries that have no frame are empty.
local function add_frame(results, reader, shown)
  local frame, query = {}, lib.pra_stream_reader_query_index(reader)
  if query < 0 or query >= MOST_QUERIES then
    return lib.pra_error_set_cstr(base.err, lib.PRA_ERR_FRAME,
      "a frame answers a query that was not asked")
  end
  local columns = columns_of(reader, lib.pra_stream_reader_columns)
  add_tables(frame, columns, 0, tonumber(columns.series_count), shown)
  for i = #results + 1, tonumber(query) + 1 do results[i] = {} end
  for _, one in ipairs(frame) do join(results[tonumber(query) + 1], one) end
  return 0
end

local function decode_streamed(body, limits, shown)
  local out = ffi.new "pra_stream_reader *[1]"
  base.fresh()
  local code = lib.pra_stream_reader_new(nil, limits, out)
  if code ~= 0 then return base.failure(code) end
  local reader = ffi.gc(out[0], lib.pra_stream_reader_free)
  code = lib.pra_stream_reader_feed(reader, body, #body)
  if code ~= 0 then return base.failure(code) end
  local results = {}
  code = lib.pra_stream_reader_next(reader, base.fresh())
  while code == 0 do
    code = add_frame(results, reader, shown)
    if code == 0 then code = lib.pra_stream_reader_next(reader, base.fresh()) end
  end
  if code == lib.PRA_DONE then code = lib.pra_stream_reader_finish(reader, base.fresh()) end
  if code ~= 0 then return base.failure(code) end
  lib.pra_stream_reader_free(ffi.gc(reader, nil))
  for _, result in ipairs(results) do result.key = nil end
  return results
end

--- A list per query of lists of series tables, from the body of an answer.
function client.decode_answer(body, streamed, limits, integers)
  if type(body) ~= "string" then error("a body is a string, not a " .. type(body), 3) end
  local decode = streamed and decode_streamed or decode_sampled
  return decode(body, limits, base.integers(integers))
end

return client
