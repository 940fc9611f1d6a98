-- SPDX-License-Identifier: Apache-2.0
-- usage: luajit columns.lua FILE: what it takes to decode a write request (a plain message of remote
-- write 1.0) with the C library alone, and to do so through the module and read it in Lua. Ratios are
-- of the medians of runs that take turns.
local path = assert(..., "usage: columns.lua FILE")
local ffi = require "ffi"
local pra = require "prom_remote_api"
local base = require "prom_remote_api.ffi_base"

local RUNS = 60
local lib = base.lib
local message = assert(io.open(path, "rb")):read "*a"
local block = assert(assert(pra.decode(message, { compressed = false })):encode())

ffi.cdef [[
  typedef struct { long seconds, nanoseconds; } pra_bench_time;
  int clock_gettime(int clock, pra_bench_time *out);
]]
local time = ffi.new "pra_bench_time"
local function now_ms()
  ffi.C.clock_gettime(2, time) -- of the processor, for this process
  return tonumber(time.seconds) * 1e3 + tonumber(time.nanoseconds) / 1e6
end

-- The C library alone: a handle that is used again.
local handle = ffi.new "pra_write_request *[1]"
assert(lib.pra_write_request_new(nil, handle) == 0)
local function decode_in_c()
  assert(lib.pra_write_request_decode_snappy(handle[0], 1, block, #block, nil, nil) == 0)
end

local function sum_columns()
  local request = assert(pra.decode(block))
  local values, timestamps = request.values, request.timestamps
  local sum, times = 0, 0
  for i = 1, #values do
    sum = sum + values[i]
    times = times + timestamps[i]
  end
  return sum, times
end

local function each_series()
  local sum = 0
  for series in assert(pra.decode(block)):series() do
    for _, value in series:samples() do sum = sum + value end
  end
  return sum
end

local function series_columns()
  local sum = 0
  for series in assert(pra.decode(block)):series() do
    local values, timestamps = series.values, series.timestamps
    for i = 1, #values do sum = sum + values[i] + timestamps[i] end
  end
  return sum
end

local function all_labels()
  local count = 0
  for _, labels in assert(pra.decode(block)):labels() do
    if labels.__name__ then count = count + 1 end
  end
  return count
end

local function each_label()
  local length = 0
  for _, name, value in assert(pra.decode(block)):each_label() do
    length = length + #name + #value
  end
  return length
end

local function series_labels()
  local count = 0
  for series in assert(pra.decode(block)):series() do
    if series.labels.__name__ then count = count + 1 end
  end
  return count
end

local function decode_only() return #assert(pra.decode(block)) end

local cases = {
  { "C: decode", decode_in_c }, { "decode", decode_only },
  { "columns of the request summed", sum_columns }, { "samples of each series summed", each_series },
  { "columns of each series summed", series_columns }, { "names and values of all labels", each_label },
  { "tables of all labels", all_labels }, { "series with their labels", series_labels },
}

local function median(list)
  table.sort(list)
  return list[math.ceil(#list / 2)]
end

local times = {}
for i, case in ipairs(cases) do
  times[i] = {}
  for _ = 1, 5 do case[2]() end
end
for _ = 1, RUNS do
  for i, case in ipairs(cases) do
    local before = now_ms()
    case[2]()
    table.insert(times[i], now_ms() - before)
  end
end
local c = median(times[1])
for i, case in ipairs(cases) do
  local ms = median(times[i])
  print(("%-34s %8.3f ms  %5.2f x"):format(case[1], ms, ms / c))
end
lib.pra_write_request_free(handle[0])
