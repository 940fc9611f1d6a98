-- SPDX-License-Identifier: Apache-2.0
-- A read that is answered in one message: 2,000 series of 240 samples from a storage in Lua, and from
-- one in C.
local native = require "native"
local support = require "support"
local pra = require "prom_remote_api"

local SERIES, SAMPLES, SAMPLED = 2000, 240, 0
local question = native.read_request(SAMPLED)

---- what the storage in C answers with, in the ways in which a script may have it

local function timestamps_of()
  local list = {}
  for i = 1, SAMPLES do list[i] = 1700000000000 + (i - 1) * 15000 end
  return list
end

local function values_of(id)
  local list = {}
  for i = 1, SAMPLES do list[i] = (id * 1000 + (i - 1) * (id % 13)) / 3 end
  return list
end

local function labels_of(id)
  return { __name__ = "node_cpu_seconds_total", instance = ("host-%04d:9100"):format(id),
    job = "node" }
end

local tables, request = {}, assert(pra.request())
for id = 0, SERIES - 1 do
  local one = { labels = labels_of(id), timestamps = timestamps_of(), values = values_of(id) }
  tables[id + 1] = one
  assert(request:add(one))
end
request = assert(pra.decode(assert(request:encode()))) -- its columns are no copies

local columns, kept = {}, {}
for one, number in request:series() do
  kept[number] = one
  columns[number] = { labels = tables[number].labels, timestamps = one.timestamps,
    values = one.values }
end

---- who asks

local HEAD = {
  method = "POST", target = "/api/v1/read", body = question,
  headers = { ["Content-Type"] = "application/x-protobuf", ["Content-Encoding"] = "snappy" },
}

local function ask(process_query)
  local handler = assert(pra.handler { storage = { process_query = process_query } })
  return function()
    local status, _, body = handler:request(HEAD)
    assert(status == 200, body)
    return #body
  end
end

local function list_of(series)
  return ask(function() return series end)
end

local function through_sink(_, _, sink)
  for i = 1, SERIES do sink:add(columns[i]) end
end

local function c()
  local status, body = native.exchange("/api/v1/read", question)
  assert(status == 200)
  return #body
end

support.group("sampled answer of 2,000 x 240, and C", {
  { name = "C", run = c },
  { name = "tables", run = list_of(tables) },
  { name = "labels and Columns", run = list_of(columns) },
  { name = "the same by sink:add", run = ask(through_sink) },
  { name = "series of a request", run = list_of(kept) },
}, 1)
