-- SPDX-License-Identifier: Apache-2.0
-- The side that asks, hosts that get and send in pieces, and failures that raise.
local pra = require "prom_remote_api"
local strict = require "prom_remote_api.strict"
local wire = require "wire"

local headers = { ["Content-Type"] = "application/x-protobuf", ["Content-Encoding"] = "snappy" }

local function storage_of(list, seen)
  return { process_query = function(_, query, sink)
    if seen then seen[#seen + 1] = query.hints or false end
    for _, series in ipairs(list) do
      if query:matches(series.labels) then sink:add(series) end
    end
  end }
end

local function ask(handler, queries, opts)
  local body = assert(pra.encode_queries(queries, opts))
  local status, got, answer = handler:request { target = "/api/v1/read", headers = headers, body = body }
  assert.equal(200, status, answer)
  return got["content-type"], answer
end

local function many(count)
  local list = {}
  for i = 1, count do
    local series = { labels = { __name__ = "m", id = ("%03d"):format(i) }, timestamps = {}, values = {} }
    for k = 1, 500 do series.timestamps[k], series.values[k] = k * 10, i + k end
    list[i] = series
  end
  return list
end

local all = { start_ms = 0, end_ms = wire.max, matchers = { { type = "=~", name = "__name__", value = ".+" } } }
local none = { start_ms = 0, end_ms = 1, matchers = { { type = "=", name = "__name__", value = "none" } } }

describe("a query", function()
  for _, types in ipairs { { "samples" }, { "streamed" }, { "streamed", "samples" } } do
    it("is answered in the form that was asked for: " .. table.concat(types, ", "), function()
      local list = many(20)
      local handler = assert(pra.handler { storage = storage_of(list) })
      local content_type, body = ask(handler, { all, none, all }, { response_types = types })
      assert.equal(types[1] == "streamed", content_type:find("streamed", 1, true) ~= nil)
      local results = assert(pra.decode_answer(body, content_type))
      assert.same(list, results[1])
      assert.same({}, results[2])
      assert.same(list, results[3])
      assert.equal(3, #results)
    end)
  end

  it("has hints and all kinds of matchers", function()
    local seen = {}
    local hints = { func = "rate", start_ms = 1, end_ms = 2, step_ms = 3, range_ms = 4, by = true,
      grouping = { "job", "zone" } }
    local handler = assert(pra.handler { storage = storage_of(many(3), seen) })
    local query = { start_ms = 0, end_ms = 100, hints = hints, matchers = {
      { type = "=", name = "__name__", value = "m" }, { type = "!=", name = "id", value = "001" },
      { type = "=~", name = "id", value = "00." }, { type = "!~", name = "id", value = ".*3" } } }
    local content_type, body = ask(handler, { query })
    local results = assert(pra.decode_answer(body, content_type))
    assert.equal(1, #results[1])
    assert.equal("002", results[1][1].labels.id)
    assert.equal(10, #results[1][1].values)
    assert.same({ hints }, seen)
  end)

  it("can be passed on", function()
    local inner = assert(pra.handler { storage = storage_of(many(4)) })
    local outer = assert(pra.handler { storage = { process_query = function(_, query)
      local content_type, body = ask(inner, { query }, { response_types = { "streamed" } })
      return assert(pra.decode_answer(body, content_type))[1]
    end } })
    local content_type, body = ask(outer, { all })
    assert.same(many(4), assert(pra.decode_answer(body, content_type))[1])
  end)

  it("brings histograms and integers as they are wanted", function()
    local histogram = { timestamp = 9, count = 4, sum = 2.5, schema = 1, zero_threshold = 0, zero_count = 0,
      positive_spans = { { offset = 0, length = 2 } }, positive_buckets = { 1, 3 } }
    local handler = assert(pra.handler { storage = storage_of {
      { labels = { __name__ = "h" }, timestamps = {}, values = {}, histograms = { histogram } } } })
    for _, types in ipairs { { "samples" }, { "streamed" } } do
      local content_type, body = ask(handler, { all }, { response_types = types })
      local got = assert(pra.decode_answer(body, content_type))[1][1].histograms[1]
      assert.equal(9, got.timestamp)
      assert.same({ 1, 3 }, got.positive_buckets)
      got = assert(pra.decode_answer(body, content_type, { integers = "string" }))[1][1].histograms[1]
      assert.equal("9", got.timestamp)
      assert.same({ "1", "3" }, got.positive_buckets)
      assert.equal(1, got.schema)
    end
  end)

  it("raises where it is wrong", function()
    for _, query in ipairs { 1, {}, { start_ms = 0 }, { start_ms = 0, end_ms = "x" },
      { start_ms = 0, end_ms = 1, matchers = 1 }, { start_ms = 0, end_ms = 1, matchers = { {} } },
      { start_ms = 0, end_ms = 1, matchers = { { type = "~", name = "a", value = "b" } } },
      { start_ms = 0, end_ms = 1, matchers = { { type = "=", name = "a", value = 1 } } },
      { start_ms = 0, end_ms = 1, hints = 1 }, { start_ms = 0, end_ms = 1, hints = { grouping = { 1 } } } } do
      assert.has_error(function() pra.encode_queries { query } end)
    end
    assert.has_error(function() pra.encode_queries { all, response_types = 1 } ; pra.encode_queries(1) end)
    assert.has_error(function() pra.encode_queries({ all }, { response_types = { "json" } }) end)
  end)

  it("is refused an answer that is none", function()
    local streamed = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"
    local handler = assert(pra.handler { storage = storage_of(many(3)) })
    local _, body = ask(handler, { all }, { response_types = { "streamed" } })
    for _, arguments in ipairs { { "nonsense" }, { "nonsense", streamed }, { body:sub(1, -2), streamed },
      { body:gsub("m", "n", 1), streamed }, { body, streamed, { limits = { max_frame_read_bytes = 10 } } } } do
      local results, message, code = pra.decode_answer(arguments[1], arguments[2], arguments[3])
      assert.is_nil(results)
      assert.equal("string", type(message))
      assert.is_true(code < 0)
    end
    assert.has_error(function() pra.decode_answer() end)
  end)
end)

describe("an exchange", function()
  local function read_in_pieces(x, body, size)
    assert.is_true(assert(x:begin { target = "/api/v1/read", headers = headers }))
    for at = 1, #body, size do assert.is_true((assert(x:feed(body:sub(at, at + size - 1))))) end
    assert.is_true(assert(x:end_body()))
    assert.equal(0, x:status())
    assert.is_true(assert(x:run()))
    assert.equal(200, x:status())
  end

  it("takes and gives pieces, again and again", function()
    local list = many(40)
    local handler = assert(pra.handler { storage = storage_of(list) })
    local x = assert(handler:exchange())
    for size = 1, 40, 13 do
      local streamed = size % 2 == 0
      local body = assert(pra.encode_queries({ all }, { response_types = { streamed and "streamed" or "samples" } }))
      read_in_pieces(x, body, size)
      local content_type, pieces = x:headers()["content-type"], {}
      assert.equal(streamed, x:body_length() == nil)
      local length = x:body_length()
      for piece in x:pieces() do pieces[#pieces + 1] = piece end
      assert.is_nil(x:piece())
      local answer = table.concat(pieces)
      assert.is_true(length == nil or length == #answer)
      assert.same(list, assert(pra.decode_answer(answer, content_type))[1])
    end
  end)

  it("says early that the answer stands", function()
    local x = assert(assert(pra.handler { storage = storage_of {} }):exchange())
    assert.is_false(x:begin { method = "GET", target = "/api/v1/read" })
    assert.equal(405, x:status())
    x:reset()
    assert.equal(0, x:status())
    assert.is_true(x:begin { target = "/api/v1/read", headers = headers })
    assert.is_true(x:feed "nonsense")
    assert.is_false(x:end_body())
    assert.equal(400, x:status())
  end)

  it("refuses a wrong order", function()
    local x = assert(assert(pra.handler { storage = storage_of {} }):exchange())
    for _, step in ipairs { "end_body", "run", "piece" } do
      local ok, message, code = x[step](x)
      assert.is_nil(ok)
      assert.equal("string", type(message))
      assert.equal("number", type(code))
    end
  end)
end)

describe("strict", function()
  local function raised(f, ...)
    local ok, e = pcall(f, ...)
    assert.is_false(ok)
    assert.equal("table", type(e))
    assert.equal("string", type(e.message))
    assert.equal("number", type(e.code))
    assert.equal(e.message, tostring(e))
    return e
  end

  it("has all that the other has", function()
    for name, value in pairs(pra) do assert.equal(type(value), type(strict[name]), name) end
  end)

  it("raises failures of functions", function()
    raised(strict.decode, "nonsense")
    raised(strict.decode_histogram, "\255")
    raised(strict.relabel, { { regex = "(" } })
    raised(strict.decode_answer, "nonsense")
    raised(strict.handler, { storage = { write = print }, external_labels = { [""] = "x" } })
  end)

  it("raises failures of methods, and of what they return", function()
    local request = strict.request()
    assert(request:add(wire.some()[1]))
    raised(request.encode, request, { version = 3 })
    local decoded = strict.decode(request:encode())
    raised(decoded.add, decoded, wire.some()[1])
    local copy = decoded:copy()
    raised(copy.add, copy, wire.some()[1])
    raised(copy.add_metadata, copy, { family = "x" })
    local part = decoded:split(1)[1]
    raised(part.encode, part, { version = 3 })
    local mapped = decoded:map(function(labels) return labels end)
    raised(mapped.encode, mapped, { version = 3 })
    local plain = assert(pra.request())
    assert.is_nil((plain:encode { version = 3 }))
  end)

  it("raises in a storage, too", function()
    local e
    local handler = strict.handler { storage = { write = function(_, request)
      e = raised(request.encode, request, { version = 3 })
    end, process_query = function() return {} end } }
    assert.equal(204, (handler:request(wire.write(wire.some()))))
    assert.truthy(e)
    assert.equal(200, (wire.ask(handler, { { "=", "a", "b" } })))
    raised(handler:exchange().run, handler:exchange())
  end)
end)
