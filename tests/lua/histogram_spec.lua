-- SPDX-License-Identifier: Apache-2.0
-- Native histograms, exemplars and what else remote write 2.0 brings.
local pra = require "prom_remote_api"
local wire = require "wire"
local unpack = table.unpack or unpack

local inf = math.huge
local integer = { timestamp = 1000, start_timestamp = 10, count = 12, sum = 18.5, schema = 1, zero_threshold = 0.001,
  zero_count = 2, reset_hint = "no", positive_spans = { { offset = 0, length = 2 }, { offset = 1, length = 2 } },
  positive_buckets = { 1, 2, 1, 1 }, negative_spans = { { offset = -1, length = 2 } }, negative_buckets = { 3, 2 } }
local float = { timestamp = 2000, is_float = true, count = 4.5, sum = inf, schema = -2, zero_threshold = 0.0, zero_count = 0.5,
  reset_hint = "gauge", positive_spans = { { offset = 3, length = 1 } }, positive_buckets = { 4.0 } }
local custom = { timestamp = 3000, count = 6, sum = -1.0, schema = -53, zero_threshold = 0.0, zero_count = 0,
  reset_hint = "unknown", positive_spans = { { offset = 0, length = 3 } }, positive_buckets = { 1, 2, 3 },
  custom_values = { 0.5, 2.0 } }
local kinds = { integer = integer, float = float, custom = custom }
local encode, decode = pra.encode_histogram, pra.decode_histogram

-- Without what is there to be read only.
local function plain(h)
  local copy = {}
  for name, value in pairs(h) do copy[name] = value end
  copy.positive_deltas, copy.negative_deltas = nil, nil
  return copy
end

local function with(changes)
  local copy = plain(integer)
  for name, value in pairs(changes) do copy[name] = value end
  return copy
end

local function listed(h)
  local all = {}
  for lower, upper, count, lower_inclusive, upper_inclusive in pra.buckets(h) do
    all[#all + 1] = { lower, upper, count, lower_inclusive, upper_inclusive }
  end
  return all
end

local function receive(list, storage)
  local got = {}
  storage = storage or { histograms = true, exemplars = true }
  storage.write = storage.write or function(_, request)
    got.version, got.metadata = request.version, request.metadata
    for series in request:series() do got[#got + 1] = series:totable() end
  end
  local status, headers, body = assert(pra.handler { storage = storage }):request(wire.write_v2(list))
  return status, got, headers, body
end

describe("a histogram", function()
  it("survives as bytes", function()
    for name, h in pairs(kinds) do assert.same(h, plain(decode(encode(h))), name) end
    assert.same({ 1, 1, -1, 0 }, decode(encode(integer)).positive_deltas)
    assert.is_nil(decode(encode(float)).positive_deltas)
    local stale = decode(encode { timestamp = 1, count = 0, sum = pra.stale_nan })
    assert.is_true(pra.is_stale(stale.sum))
    local three = decode(encode { timestamp = 1, count = 3.0, sum = 1, is_float = true })
    assert.same({ true, 3.0 }, { three.is_float, three.count })
    if wire.has_integers then
      assert.equal("float", math.type(three.zero_count))
      assert.is_true(decode(encode { timestamp = 1, count = 3.0, sum = 1 }).is_float)
    end
  end)

  it("is not made of other bytes", function()
    local h, message, code = decode "\255\255"
    assert.is_nil(h)
    assert.is_string(message)
    assert.is_true(code < 0)
  end)

  it("has buckets as PromQL has them", function()
    local root = 0.7071067811865475
    assert.same({ { -1.0, -root, 2, true, false }, { -root, -0.5, 3, true, false }, { -0.001, 0.001, 2, true, true },
      { root, 1.0, 1, false, true }, { 1.0, 2 * root, 2, false, true }, { 2.0, 4 * root, 1, false, true },
      { 4 * root, 4.0, 1, false, true } }, listed(integer))
    assert.same({ { -0.0, 0.0, 0.5, true, true }, { 256.0, 4096.0, 4.0, false, true } }, listed(float))
    assert.same({ { -inf, 0.5, 1, true, true }, { 0.5, 2.0, 2, false, true }, { 2.0, inf, 3, false, true } },
      listed(custom))
    assert.same({ { -2.0, -1.5, 2, true, false }, { -1.5, 1.5, 1, true, true }, { 1.5, 2.0, 2, false, true } },
      listed { schema = 0, zero_threshold = 1.5, zero_count = 1, positive_spans = { { offset = 1, length = 1 } },
        positive_buckets = { 2 }, negative_spans = { { offset = 1, length = 1 } }, negative_buckets = { 2 } })
    assert.same({}, listed { timestamp = 1, count = 0, sum = 0 })
  end)

  it("refuses fields that are wrong", function()
    for _, changes in ipairs {
      { count = "many" }, { count = -1 }, { timestamp = 1.5 }, { sum = "x" }, { sum = {} }, { schema = 2 ^ 40 },
      { reset_hint = "maybe" }, { reset_hint = 1 }, { zero_count = 0.5 }, { positive_spans = 1 },
      { positive_spans = { 1 } }, { positive_spans = { { offset = 2 ^ 31, length = 1 } } },
      { negative_spans = { { offset = 0, length = -1 } } }, { positive_buckets = { 0.5 } },
      { positive_buckets = { {} } }, { custom_values = { "x" } }, { zero_threshold = {} },
      { is_float = true, positive_buckets = { "x" } },
    } do
      assert.has_error(function() encode(with(changes)) end)
    end
    assert.has_error(function() encode(1) end)
    assert.has_error(function() decode {} end)
  end)
end)

describe("remote write 2.0", function()
  it("brings everything", function()
    local exemplar = { labels = { trace_id = "abc" }, value = 0.5, timestamp = 1500 }
    local status, got = receive {
      { labels = { __name__ = "a" }, timestamps = { 1000, 2000 }, values = { 1.0, 2.0 }, start_timestamps = { 10, 0 },
        exemplars = { exemplar }, metadata = { type = 1, help = "how many", unit = "s" } },
      { labels = { __name__ = "b" }, histograms = { encode(integer), encode(float) },
        metadata = { type = 2, help = "", unit = "K" } },
    }
    assert.equal(204, status)
    assert.equal(2, got.version)
    assert.same({ 10, 0 }, got[1].start_timestamps)
    assert.same({ exemplar }, got[1].exemplars)
    assert.is_nil(got[1].histograms)
    assert.same({ integer, float }, { plain(got[2].histograms[1]), plain(got[2].histograms[2]) })
    assert.is_nil(got[2].start_timestamps)
    assert.same({ { type = "counter", series = 1, help = "how many", unit = "s" },
      { type = "gauge", series = 2, help = "", unit = "K" } }, got.metadata)
  end)

  it("refuses what the storage does not keep", function()
    local exemplars = { { labels = {}, value = 1.0, timestamp = 1 } }
    local list = { { labels = { __name__ = "a" }, timestamps = { 1 }, values = { 1.0 }, exemplars = exemplars },
      { labels = { __name__ = "b" }, histograms = { encode(integer) } } }
    for _, case in ipairs { { true, true, 204, "1", "1" }, { false, true, 400, "0", "1" }, { true, false, 400, "1", "0" } } do
      local status, _, headers = receive(list, { histograms = case[1], exemplars = case[2] })
      assert.same({ case[3], "1", case[4], case[5] }, { status,
        headers["x-prometheus-remote-write-samples-written"], headers["x-prometheus-remote-write-histograms-written"],
        headers["x-prometheus-remote-write-exemplars-written"] })
    end
  end)

  it("counts what is refused", function()
    local exemplars = { { labels = {}, value = 1.0, timestamp = 1 } }
    for arguments, expected in pairs { [{ "no" }] = "0", [{ "no", "sample" }] = "1", [{ "no", "sample", 2 }] = "0",
      [{ "no", "exemplar" }] = "2" } do
      local status, _, headers, body = receive(
        { { labels = { __name__ = "a" }, timestamps = { 1, 2 }, values = { 1.0, 2.0 }, exemplars = exemplars } },
        { exemplars = true, write = function(_, request) request:reject(1, unpack(arguments)) end })
      assert.equal(400, status)
      assert.equal(expected, headers["x-prometheus-remote-write-samples-written"])
      assert.matches("no", body)
    end
  end)
end)

describe("an answer with histograms", function()
  local series = { labels = { __name__ = "up" }, timestamps = { 500 }, values = { 1.0 }, histograms = { float, integer } }

  local function asked(process_query)
    return wire.ask(assert(pra.handler { storage = { process_query = process_query },
      log = function() end }), { { "=", "__name__", "up" } })
  end

  it("has them in order", function()
    for _, answer in ipairs { function() return { series } end, function(_, _, sink) sink:add(series) end } do
      local status, all = asked(answer)
      assert.equal(200, status)
      assert.same({ 500 }, all[1].timestamps)
      assert.equal(integer.timestamp, decode(all[1].histograms[1]).timestamp)
      assert.same(listed(integer), listed(decode(all[1].histograms[1])))
      assert.same(float, plain(decode(all[1].histograms[2])))
    end
  end)

  it("hands back what a request brought", function()
    local kept
    local storage = { histograms = true, write = function(_, request)
      for one in request:series() do kept = one end
    end, process_query = function() return { kept } end }
    local handler = assert(pra.handler { storage = storage })
    assert.equal(204, (handler:request(wire.write_v2 { { labels = series.labels, histograms = { encode(custom) } } })))
    local _, all = wire.ask(handler, { { "=", "__name__", "up" } })
    assert.same(custom, plain(decode(all[1].histograms[1])))
  end)

  it("is an error of the script if they are wrong", function()
    for _, wrong in ipairs { with { count = 13 }, with { schema = 9 }, with { count = -1 }, 17, "x", false } do
      assert.equal(500, (asked(function()
        return { { labels = series.labels, timestamps = {}, values = {}, histograms = { wrong } } }
      end)))
    end
    assert.equal(500, (asked(function()
      return { { labels = series.labels, timestamps = {}, values = {}, histograms = 17 } }
    end)))
  end)

  it("streams", function()
    local handler = assert(pra.handler { storage = { process_query = function() return { series } end } })
    local request = wire.read { { start_ms = 0, end_ms = 10000, matchers = { { "=", "__name__", "up" } } } }
    request.body = wire.compress(wire.uncompress(request.body) .. "\016\001")
    local status, headers, body = handler:request(request)
    assert.equal(200, status)
    assert.matches("^application/x%-streamed%-protobuf", headers["content-type"])
    local kinds_of_chunks = {}
    local at = 1
    while body:byte(at) >= 0x80 do at = at + 1 end
    local frame = body:sub(at + 5) -- behind length and checksum
    for _, part in wire.fields(frame) do
      for field, value in wire.fields(part) do
        if field == 2 then
          local chunk = {}
          for name, item in wire.fields(value) do chunk[name] = item end
          table.insert(kinds_of_chunks, chunk[3])
        end
      end
      break
    end
    assert.same({ 1, 2, 3 }, kinds_of_chunks)
  end)
end)

describe("options of a handler", function()
  local up = { labels = { __name__ = "up" }, timestamps = { 1 }, values = { 1.0 } }

  local function handler(options)
    options.storage = { write = function() end, process_query = function() return { up } end }
    return assert(pra.handler(options))
  end

  it("say which messages are taken", function()
    for _, case in ipairs { { { 1, 2 }, 204, 204 }, { { 1 }, 204, 415 }, { { 2 }, 415, 204 } } do
      local h = handler { accepted_messages = case[1] }
      assert.same({ case[2], case[3] }, { (h:request(wire.write { up })), (h:request(wire.write_v2 { up })) })
    end
    assert.has_error(function() handler { accepted_messages = { 3 } } end)
  end)

  it("add labels and leave out matchers", function()
    local status, all = wire.ask(handler { external_labels = { region = "eu" } }, { { "=", "region", "eu" } })
    assert.equal(200, status)
    assert.same({ __name__ = "up", region = "eu" }, all[1].labels)
    local seen
    local h = assert(pra.handler { ignored_matchers = { "zone" }, storage = { process_query = function(_, query)
      seen = query.matchers
    end } })
    assert.equal(200, (wire.ask(h, { { "=", "zone", "a" }, { "=", "job", "b" } })))
    assert.same({ 1, "job" }, { #seen, seen[1].name })
  end)

  it("bound the time and the mending", function()
    local now = os.time() * 1000
    local h = assert(pra.handler { read_delay_ms = 600000, read_max_age_ms = 1800000, storage = { process_query = function()
      return { { labels = up.labels, timestamps = { now - 3600000, now - 1200000, now }, values = { 1, 2, 3 } } }
    end } })
    local _, all = wire.ask(h, {})
    assert.same({ 2.0 }, all[1].values)
    local gap = { { labels = { __name__ = "up", empty = "" }, timestamps = { 1 }, values = { 1.0 } } }
    assert.equal(204, (handler({}):request(wire.write(gap))))
    assert.equal(400, (handler({ strict = true }):request(wire.write(gap))))
  end)
end)
