-- SPDX-License-Identifier: Apache-2.0
-- Numbers of 64 bits come and go without loss in every version of Lua.
local pra = require "prom_remote_api"
local wire = require "wire"

local digits = { "0", "-1", "9007199254740991", "9007199254740992", "9007199254740993", "-9007199254740992",
  "-9007199254740993", "1152921504606846976", "9223372036854775806", "9223372036854775807", "-9223372036854775808" }

-- The timestamps that a storage is given for those in a request.
local function received(timestamps)
  local values, got = {}, nil
  for i = 1, #timestamps do values[i] = i end
  local handler = assert(pra.handler { storage = { write = function(_, request)
    for series in request:series() do got = series.timestamps end
  end } })
  assert.equal(204, (handler:request(wire.write { { labels = { __name__ = "x" }, timestamps = timestamps, values = values } })))
  local plain = {}
  for i = 1, #got do plain[i] = got[i] end
  return plain
end

-- The timestamps of an answer, or the status and the text of the error.
local function answered(timestamp)
  local logged
  local handler = assert(pra.handler { log = function(text) logged = text end, storage = {
    process_query = function() return { { labels = { __name__ = "x" }, timestamps = { timestamp }, values = { 1 } } } end,
  } })
  local status, _, body = handler:request(wire.read { { start_ms = wire.min, end_ms = wire.max, matchers = {} } })
  if status ~= 200 then return status, logged end
  return wire.read_response(wire.uncompress(body))[1][1].timestamps[1]
end

describe("an integer", function()
  it("is what the version of Lua can hold", function()
    local sent = {}
    for i, text in ipairs(digits) do sent[i] = wire.int64(text) end
    local got = received(sent)
    for i, text in ipairs(digits) do
      assert.equal(sent[i], got[i], text)
      if wire.has_integers then assert.equal("integer", math.type(got[i]), text) end
    end
    if not wire.has_integers then
      local wide = pra.face == "ffi" and "cdata" or "string"
      for i, kind in ipairs { "number", "number", "number", "number", wide, "number", wide, wide, wide, wide, wide } do
        assert.equal(kind, type(got[i]), digits[i])
      end
    end
  end)

  it("is taken as number and as digits", function()
    for _, text in ipairs(digits) do
      assert.equal(wire.int64(text), answered(text), text)
      assert.equal(wire.int64(text), answered(wire.int64(text)), text)
    end
    assert.equal(5, answered(5.0))
    assert.equal(wire.int64 "1152921504606846976", answered(2 ^ 60))
  end)

  it("is taken as LuaJIT has it", function()
    if not jit then return end
    local ffi = require "ffi"
    assert.equal(wire.int64 "9007199254740993", answered(ffi.cast("int64_t", 9007199254740992) + 1))
    assert.equal(7, answered(ffi.cast("uint64_t", 7)))
    assert.equal(wire.min, answered(ffi.cast("int64_t", 2 ^ 62) * -2))
    assert.equal(500, (answered(ffi.cast("uint64_t", 2 ^ 63))))
    assert.equal(500, (answered(ffi.new("struct { int x; }"))))
  end)

  it("is not made of anything else", function()
    for _, wrong in ipairs { 0.5, 2 ^ 63, -2 ^ 64, 0 / 0, 1 / 0, "", "-", "x", "1.0", "1e3", " 1", "0x10", "1LL",
      "9223372036854775808", "-9223372036854775809", "18446744073709551616", "99999999999999999999", true } do
      local status, logged = answered(wrong)
      assert.equal(500, status, tostring(wrong))
      assert.matches("no integer", logged)
    end
  end)

  it("says what it should be", function()
    for _, wrong in ipairs { "x", -1, 2 ^ 64, {} } do
      local ok, message = pcall(pra.handler, { limits = { max_labels_per_series = wrong }, storage = { write = print } })
      assert.is_false(ok)
      assert.matches(pra.face == "ffi" and "max_labels_per_series"
        or "whole number from 0 to 18446744073709551615, as a number or as a string of decimal digits", message)
    end
    for _, right in ipairs { 7, "7", "18446744073709551615", 2 ^ 63 } do
      assert(pra.handler { limits = { max_labels_per_series = right }, storage = { write = print } })
    end
  end)
end)

describe("a count of a histogram", function()
  local function survives(h)
    return pra.decode_histogram(pra.encode_histogram(h))
  end

  it("is exact up to 2^64-1", function()
    for _, text in ipairs { "0", "9007199254740993", "9223372036854775807" } do
      local h = survives { timestamp = 1, sum = 1, count = text, zero_count = text, zero_threshold = 1 }
      assert.same({ wire.int64(text), wire.int64(text) }, { h.count, h.zero_count })
    end
    for _, text in ipairs { "9223372036854775808", "18446744073709551615" } do
      local h = survives { timestamp = 1, sum = 1, count = text, zero_count = text, zero_threshold = 1 }
      assert.same({ wire.uint64(text), wire.uint64(text) }, { h.count, h.zero_count })
      assert.same(h, survives(h))
    end
  end)

  it("of a bucket, too", function()
    local h = survives { timestamp = 1, sum = 1, count = "9007199254740994", schema = 0,
      positive_spans = { { offset = 0, length = 2 } }, positive_buckets = { "9007199254740993", 1 } }
    assert.same({ wire.int64 "9007199254740993", 1 }, h.positive_buckets)
    assert.same({ wire.int64 "9007199254740993", wire.int64 "-9007199254740992" }, h.positive_deltas)
    assert.same(h, survives(h))
  end)

  it("is a float if it says so", function()
    local h = { timestamp = 1, sum = 1, count = 3, schema = 0, is_float = true,
      positive_spans = { { offset = 0, length = 1 } }, positive_buckets = { 3 } }
    assert.same({ true, nil }, { survives(h).is_float, survives(h).positive_deltas })
    h.is_float = false
    assert.same({ nil, { 3 } }, { survives(h).is_float, survives(h).positive_deltas })
    h.is_float, h.count = nil, 0.5
    assert.is_true(survives(h).is_float)
  end)
end)

describe("a double", function()
  it("keeps its bits, or is a NaN that harms nobody", function()
    for _, high in ipairs { "\240\127", "\248\127", "\240\255", "\248\255", "\249\255", "\250\255", "\255\255" } do
      for _, low in ipairs { "\2\0\0\0\0\0", "\255\255\255\255\255\255" } do
        local sent = low .. high
        local h = pra.decode_histogram("\25" .. sent .. "\8\1\120\1")
        assert.equal("number", type(h.sum))
        assert.is_true(h.sum ~= h.sum)
        if not jit or pra.is_stale(h.sum) then assert.equal(sent, wire.double(h.sum)) end
        assert.equal(sent == "\2\0\0\0\0\0\240\127", pra.is_stale(h.sum))
      end
    end
  end)
end)
