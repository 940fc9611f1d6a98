-- SPDX-License-Identifier: Apache-2.0
-- Write requests in Lua. The C side is the library itself, called in the same process.
local native = require "native"
local plain = require "plain"
local support = require "support"
local pra = require "prom_remote_api"

local block = native.write_request(10000, 1)
local block2 = native.write_request(10000, 2)
local message = assert(assert(pra.decode(block)):encode { compressed = false })

local function case(name, run, target) return { name = name, run = run, target = target } end

---- columns

local function decode_in_c() native.decode(block, 1) end

local function sum(values, timestamps)
  local total, times = 0, 0
  for i = 1, #values do
    total = total + values[i]
    times = times + timestamps[i]
  end
  return total, times
end

local function checked(total, times) return ("%.17g %.17g"):format(total, times) end

local function columns()
  local request = assert(pra.decode(block))
  return checked(sum(request.values, request.timestamps))
end

local function lists()
  local request = assert(pra.decode(block))
  return checked(sum(request.values:totable(), request.timestamps:totable()))
end

local function columns_of_series()
  local total, times = 0, 0
  for series in assert(pra.decode(block)):series() do
    local values, timestamps = series.values, series.timestamps
    for i = 1, #values do
      total = total + values[i]
      times = times + timestamps[i]
    end
  end
  return checked(total, times)
end

local function samples_of_series()
  local total, times = 0, 0
  for series in assert(pra.decode(block)):series() do
    for timestamp, value in series:samples() do
      total = total + value
      times = times + timestamp
    end
  end
  return checked(total, times)
end

-- Many in a row: requests that are made anew take turns in some memory, which the case before has
-- driven out of caches.
support.group("columns of 10,000 series decoded and summed, and C", {
  case("C: decoded into a warm request", decode_in_c),
  case("C: decoded into a new request", function() native.decode_new(block, 1) end),
  case("decoded", function() assert(pra.decode(block)) end),
  case("columns of the request, summed", columns, support.face == "ffi" and 1.3),
  case("the same as lists", lists),
}, 100)
support.group("series of 10,000 decoded and summed, and C", {
  case("C: decoded", decode_in_c),
  case("columns of each series, summed", columns_of_series),
  case("series:samples(), summed", samples_of_series),
}, 20)

---- labels: each name and value is looked at

-- The peer that works by descriptors: starwing's lua-protobuf, if it is in a folder named here.
local function load_pb()
  local folder = os.getenv "PRA_BENCH_PB"
  if not folder then return nil end
  package.cpath = ("%s/%s/?.so;%s"):format(folder, _VERSION:match "%d.%d", package.cpath)
  local found, pb = pcall(require, "pb")
  assert(found, "PRA_BENCH_PB: there is no " .. folder .. "/" .. _VERSION:match "%d.%d" .. "/pb.so")
  local schema = assert(io.open(support.built .. "/labels.pb", "rb"))
  assert(pb.load((schema:read "*a")))
  schema:close()
  return pb
end

local pb = load_pb()

local function count_labels(each)
  local count, length = 0, 0
  each(function(name, value)
    count = count + 1
    length = length + #name + #value
  end)
  return ("%d %d"):format(count, length)
end

local function pairs_of(labels, count, length)
  for name, value in pairs(labels) do
    count = count + 1
    length = length + #name + #value
  end
  return count, length
end

local function by_pb()
  local count, length = 0, 0
  for _, series in ipairs(pb.decode("labels.Request", message).timeseries) do
    for _, label in ipairs(series.labels) do
      count = count + 1
      length = length + #label.name + #label.value
    end
  end
  return ("%d %d"):format(count, length)
end

local function tables_by_pb()
  local count, length = 0, 0
  for _, series in ipairs(pb.decode("labels.Request", message).timeseries) do
    local labels = {}
    for _, label in ipairs(series.labels) do labels[label.name] = label.value end
    count, length = pairs_of(labels, count, length)
  end
  return ("%d %d"):format(count, length)
end

local function maps_by_pb()
  local count, length = 0, 0
  for _, series in ipairs(pb.decode("labels.RequestOfMaps", message).timeseries) do
    count, length = pairs_of(series.labels, count, length)
  end
  return ("%d %d"):format(count, length)
end

local function by_plain()
  return count_labels(function(visit) plain.each_label(message, visit) end)
end

local function tables_by_plain()
  local count, length = 0, 0
  for _, labels in ipairs(plain.labels(message)) do
    count, length = pairs_of(labels, count, length)
  end
  return ("%d %d"):format(count, length)
end

local function each_label(data, options)
  return function()
    local count, length = 0, 0
    for _, name, value in assert(pra.decode(data, options)):each_label() do
      count = count + 1
      length = length + #name + #value
    end
    return ("%d %d"):format(count, length)
  end
end

local function labels(data, options)
  return function()
    local count, length = 0, 0
    for _, found in assert(pra.decode(data, options)):labels() do
      count, length = pairs_of(found, count, length)
    end
    return ("%d %d"):format(count, length)
  end
end

local function labels_of_series(data)
  return function()
    local count, length = 0, 0
    for series in assert(pra.decode(data)):series() do
      count, length = pairs_of(series.labels, count, length)
    end
    return ("%d %d"):format(count, length)
  end
end

-- Ours decompress too, which the peers need not.
local TARGET = _VERSION == "Lua 5.4" and 1 / 3

local function compare(peer_name, by_peer, tables_by_peer, target)
  support.group("all labels of 10,000 series visited, and " .. peer_name, {
    case(peer_name, by_peer),
    case("request:each_label()", each_label(block), TARGET),
    case("the same, not compressed", each_label(message, { compressed = false })),
  }, 1)
  support.group("all labels of 10,000 series as tables, and " .. peer_name, {
    case(peer_name, tables_by_peer),
    case("request:labels()", labels(block), target),
    case("series.labels", labels_of_series(block)),
    case("request:labels(), not compressed", labels(message, { compressed = false })),
  }, 1)
end

compare("plain Lua", by_plain, tables_by_plain, TARGET)
if pb then
  compare("lua-protobuf", by_pb, tables_by_pb, TARGET)
  -- Where most of the time of either is the loop over the tables.
  compare("lua-protobuf, labels declared as a map", maps_by_pb, maps_by_pb)
end

support.group("all labels of 10,000 series in 2.0", {
  case("1.0: request:each_label()", each_label(block)),
  case("request:each_label()", each_label(block2, { version = 2 })),
  case("request:labels()", labels(block2, { version = 2 })),
}, 2)

---- a whole exchange

local small = native.write_request(2000, 1)
local HEAD = {
  method = "POST", target = "/api/v1/write", body = small,
  headers = { ["Content-Type"] = "application/x-protobuf", ["Content-Encoding"] = "snappy" },
}

local function exchange(write)
  local handler = assert(pra.handler { storage = { write = write } })
  return function()
    local status, _, body = handler:request(HEAD)
    assert(status == 204, body)
  end
end

local function look(_, request) assert(request.series_count == 2000) end

local function sum_request(_, request) sum(request.values, request.timestamps) end

local function visit(_, request)
  local count = 0
  for _, found in request:labels() do
    if found.__name__ then count = count + 1 end
  end
  assert(count == 2000)
end

local function store(_, request)
  local stored = {}
  for series, number in request:series() do
    stored[number] = { series.labels, series.timestamps:totable(), series.values:totable() }
  end
end

support.group("exchange of 2,000 series, and C", {
  case("C: looks only", function() assert(native.exchange("/api/v1/write", small) == 204) end),
  case("looks only", exchange(look)),
  case("columns summed", exchange(sum_request)),
  case("tables of labels", exchange(visit)),
  case("tables of all", exchange(store)),
}, 20)
