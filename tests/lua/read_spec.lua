-- SPDX-License-Identifier: Apache-2.0
local pra = require "prom_remote_api"
local wire = require "wire"

local series = { labels = { __name__ = "up", job = "web" }, timestamps = { 1, 2, 3 }, values = { 0.5, 1.5, -2.0 } }
local other = { labels = { __name__ = "up", job = "db" }, timestamps = { 1 }, values = { 7.0 } }

local function asked(process_query, matchers)
  local handler = assert(pra.handler { storage = { process_query = process_query } })
  local status, answer = wire.ask(handler, matchers or { { "=", "__name__", "up" } })
  assert.equal(200, status, answer)
  table.sort(answer, function(a, b) return a.labels.job > b.labels.job end)
  return answer
end

local bits = wire.double

describe("process_query answers", function()
  it("through the sink", function()
    assert.same({ series, other }, asked(function(_, _, sink)
      sink:add(series)
      sink:add(other)
    end))
  end)

  it("with a list", function()
    assert.same({ series, other }, asked(function() return { series, other } end))
    assert.same({}, asked(function() return {} end))
  end)

  it("with an iterator", function()
    assert.same({ series, other }, asked(function()
      return coroutine.wrap(function()
        coroutine.yield(series)
        coroutine.yield(other)
      end)
    end))
  end)

  it("with nothing", function()
    assert.same({}, asked(function() end))
    assert.same({}, asked(function() return true end))
  end)

  it("with samples in any order, trimmed to the range", function()
    local handler = assert(pra.handler { storage = { process_query = function()
      return { { labels = { b = "2", a = "1" }, timestamps = { 30, 10, 20, 40 }, values = { 3, 1, 2, 4 } } }
    end } })
    local request = wire.read { { start_ms = 20, end_ms = 30, matchers = { { "=", "a", "1" } } } }
    local status, headers, body = handler:request(request)
    assert.equal(200, status)
    assert.equal("snappy", headers["content-encoding"])
    assert.equal("application/x-protobuf", headers["content-type"])
    assert.same({ { { labels = { a = "1", b = "2" }, timestamps = { 20, 30 }, values = { 2.0, 3.0 } } } },
      wire.read_response(wire.uncompress(body)))
  end)

  it("with every bit of a value", function()
    local values = { pra.stale_nan, 0 / 0, math.huge, -math.huge, -0.0, 5e-324 }
    local answer = asked(function()
      return { { labels = { a = "b" }, timestamps = { 1, 2, 3, 4, 5, 6 }, values = values } }
    end)[1]
    for i, value in ipairs(answer.values) do assert.equal(bits(values[i]), bits(value)) end
  end)

  it("without a series that was refused in the middle, also streamed", function()
    local function one(job) return { labels = { job = job }, timestamps = { 1, 2 }, values = { 0.5, 1.5 } } end
    local broken = one "a"
    broken.histograms = { { timestamp = 3, count = 1, sum = 1, positive_spans = { { offset = 0, length = 5 } } } }
    local handler = assert(pra.handler { storage = { process_query = function(_, _, sink)
      sink:add(one "b")
      sink:add(one "c")
      assert.is_false((pcall(sink.add, sink, broken)))
    end } })
    for _, kind in ipairs { "samples", "streamed" } do
      local body = pra.encode_queries({ { start_ms = 0, end_ms = 9, matchers = {} } }, { response_types = { kind } })
      local status, headers, answer = handler:request { target = "/api/v1/read", body = body }
      assert.equal(200, status)
      local jobs = {}
      for i, series in ipairs(pra.decode_answer(answer, headers["content-type"])[1]) do jobs[i] = series.labels.job end
      assert.same({ "b", "c" }, jobs)
    end
  end)

  it("with many samples and labels", function()
    local big = { labels = {}, timestamps = {}, values = {} }
    for i = 1, 70 do big.labels["l" .. i] = "v" .. i end
    for i = 1, 1000 do big.timestamps[i], big.values[i] = i, i / 4 end
    assert.same({ big }, asked(function() return { big } end))
  end)
end)

describe("a query", function()
  it("tells what is asked", function()
    local seen
    local handler = assert(pra.handler { storage = { process_query = function(ctx, query)
      seen = { start_ms = query.start_ms, end_ms = query.end_ms, matchers = query.matchers,
        hints = query.hints, path = ctx.path, unknown = query.unknown }
    end } })
    local query = {
      start_ms = -5, end_ms = wire.max,
      matchers = { { "=", "a", "b" }, { "!=", "c", "d" }, { "=~", "e", "x|y" }, { "!~", "g", "h.*" } },
      hints = { step_ms = 15, func = "rate", start_ms = 1, end_ms = 2, grouping = { "job" }, range_ms = 60 },
    }
    assert.equal(200, (handler:request(wire.read { query })))
    for i, m in ipairs(seen.matchers) do
      assert.same(query.matchers[i], { m.type, m.name, m.value })
    end
    assert.same({ "x", "y" }, seen.matchers[3].set)
    assert.equal("h", seen.matchers[4].prefix)
    seen.matchers = nil
    assert.same({ start_ms = -5, end_ms = wire.max, path = "/api/v1/read", hints = { func = "rate", step_ms = 15,
      start_ms = 1, end_ms = 2, range_ms = 60, by = true, grouping = { "job" } } }, seen)
  end)

  it("has no hints where none were sent", function()
    local hints = true
    asked(function(_, query) hints = query.hints end)
    assert.is_nil(hints)
  end)

  it("matches labels with Prometheus' rules", function()
    local function matches(labels, matchers)
      local result
      asked(function(_, query) result = query:matches(labels) end, matchers)
      return result
    end
    local labels = { __name__ = "up", job = "web" }
    assert.is_true(matches(labels, { { "=", "job", "web" } }))
    assert.is_false(matches(labels, { { "=", "job", "db" } }))
    assert.is_true(matches(labels, { { "=", "zone", "" } }))
    assert.is_true(matches(labels, { { "!=", "zone", "a" } }))
    assert.is_false(matches(labels, { { "=~", "job", "we" } }))
    assert.is_true(matches(labels, { { "=~", "job", "w.*" }, { "=~", "job", ".*b" }, { "!~", "job", "d.*" } }))
    assert.is_false(matches(labels, { { "=~", "job", "w.*" }, { "=~", "job", ".*c" } }))
    local many = {}
    for i = 1, 200 do many[i] = { "!=", "job", "x" .. i } end
    assert.is_true(matches(labels, many))
    many[200] = { "=", "job", "" }
    assert.is_false(matches(labels, many))
  end)

  it("refuses labels that are not strings", function()
    local message
    asked(function(_, query) message = select(2, pcall(query.matches, query, { job = 1 })) end,
      { { "=", "job", "web" } })
    assert.matches("not a string", message)
  end)
end)

describe("read", function()
  local function two(read)
    local handler = assert(pra.handler { storage = { read = read } })
    local status, _, body = handler:request(wire.read {
      { start_ms = 0, end_ms = 10, matchers = { { "=", "job", "web" } } },
      { start_ms = 0, end_ms = 10, matchers = { { "=", "job", "db" } } },
    })
    assert.equal(200, status, body)
    return wire.read_response(wire.uncompress(body))
  end

  it("fills a sink for each query", function()
    assert.same({ { series }, { other } }, two(function(_, queries, sinks)
      for i, query in ipairs(queries) do
        for _, s in ipairs { series, other } do
          if query:matches(s.labels) then sinks[i]:add(s) end
        end
      end
    end))
  end)

  it("or returns a list of answers", function()
    assert.same({ { series }, { other } }, two(function()
      return { { series }, coroutine.wrap(function() coroutine.yield(other) end) }
    end))
    assert.same({ {}, { other } }, two(function() return { true, { other } } end))
  end)

  it("outlives what a script does to the lists", function()
    local kept
    two(function(_, queries, sinks)
      kept = { queries[1], sinks[2] }
      queries[1], queries[2], sinks[1], sinks[2] = nil, nil, nil, nil
      collectgarbage()
    end)
    assert.has_error(function() return kept[1].start_ms end)
    assert.has_error(function() kept[2]:add(series) end)
  end)
end)
