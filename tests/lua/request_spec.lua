-- SPDX-License-Identifier: Apache-2.0
-- Requests, their series and columns, in a storage and outside of one.
local pra = require "prom_remote_api"
local wire = require "wire"

local float_histogram = { timestamp = 9, is_float = true, count = 4.0, sum = 2.5, schema = 1,
  zero_threshold = 0.0, zero_count = 0.0, reset_hint = "gauge",
  positive_spans = { { offset = 0, length = 2 } }, positive_buckets = { 1.5, 2.5 } }

local function some()
  return {
    { labels = { __name__ = "up", job = "web", zone = "a" }, timestamps = { 1, 2, 3 }, values = { 0.5, -1, 2 } },
    { labels = { __name__ = "up", job = "api" }, timestamps = { 3 }, values = { 1e300 } },
    { labels = { __name__ = "lat", job = "api" }, timestamps = {}, values = {}, histograms = { float_histogram } },
    { labels = { __name__ = "lat", job = "web" }, timestamps = { 5 }, values = { 4 },
      exemplars = { { labels = { trace_id = "abc" }, timestamp = 4, value = 0.25 } } },
  }
end

local function built(list)
  local request = assert(pra.request())
  for _, series in ipairs(list or some()) do assert(request:add(series)) end
  return request
end

local function decoded(list, version)
  version = version or 1
  return assert(pra.decode(assert(built(list):encode { version = version }), { version = version }))
end

local function plain(request)
  local list = {}
  for series in request:series() do list[#list + 1] = series:totable() end
  return list
end

-- Long enough that columns are no copies.
local function long(samples)
  local series = { labels = { __name__ = "long" }, timestamps = {}, values = {} }
  for i = 1, samples or 1000 do series.timestamps[i], series.values[i] = i, i + 0.5 end
  return series
end

-- Of each entry its help, and the number of the series that it is of.
local function metadata_of(request)
  local list = {}
  for _, entry in ipairs(request.metadata) do
    list[#list + 1] = entry.help .. (entry.series and ":" .. entry.series or "")
  end
  return table.concat(list, " ")
end

describe("options of a call", function()
  it("are refused where there are none of that name", function()
    local request, relabel = built(), { { target_label = "a", replacement = "b" } }
    local bytes = assert(request:encode())
    local question = { { start_ms = 0, end_ms = 1, matchers = {} } }
    local histogram = assert(pra.encode_histogram(float_histogram))
    local calls = {
      decode = function(opts) return (pra.decode(bytes, opts)) end,
      encode = function(opts) return (request:encode(opts)) end,
      relabel = function(opts) return (pra.relabel(relabel, opts)) end,
      encode_queries = function(opts) return (pra.encode_queries(question, opts)) end,
      decode_histogram = function(opts) return (pra.decode_histogram(histogram, opts)) end,
      decode_answer = function(opts) return (pra.decode_answer("", nil, opts)) end,
    }
    for name, call in pairs(calls) do
      call()
      call {}
      local fine, message = pcall(call, { verison = 2 })
      assert.is_false(fine, name)
      assert.matches(": no such option: verison", message, name)
      fine, message = pcall(call, 2)
      assert.is_false(fine, name)
      assert.matches("options are a table, not a number", message, name)
    end
  end)
end)

describe("metadata of a request", function()
  -- "s" adds a series, "m" metadata of it, "f" metadata that stand alone.
  local function arranged(order)
    local request, count = assert(pra.request()), 0
    for what in order:gmatch(".") do
      count = count + 1
      if what == "s" then
        assert(request:add { labels = { __name__ = "n" .. count }, timestamps = { 1 }, values = { 1 } })
      else
        assert(request:add_metadata { type = "gauge", help = what .. count, family = what == "f" and "n" or nil })
      end
    end
    return request
  end

  it("are mapped in any order", function()
    for order, expected in pairs {
      [""] = "", ss = "", ffss = "f1 f2", ssff = "f3 f4", smsm = "m2:1 m4:2",
      ffsmssm = "m4:1 m7:3 f1 f2", smssmff = "m2:1 m5:3 f6 f7", fsmfssmf = "m3:1 m7:3 f1 f4 f8",
      smffssm = "m2:1 m7:3 f3 f4",
    } do
      local request = arranged(order)
      assert.equal(expected, metadata_of(assert(request:map(function(labels) return labels end))), order)
      local first = request:map(function(labels, series) return series.index > 1 and labels or nil end)
      assert.equal(order == "ss" and 1 or #request - (#request > 0 and 1 or 0), #first)
      assert.equal((expected:gsub("m%d:1 ?", ""):gsub(":(%d)", function(n) return (":%d"):format(n - 1) end)),
        metadata_of(first), order)
    end
  end)

  it("are seen by series that are added later", function()
    local from, to = arranged("fsm"), assert(pra.request())
    local series = from:series()()
    assert(to:add(series))
    assert(from:add_metadata { family = "n", type = "gauge", help = "f" })
    assert(from:add { labels = { __name__ = "b" }, timestamps = { 1 }, values = { 1 } })
    assert(from:add_metadata { type = "gauge", help = "m" })
    for added in from:series() do assert(to:add(added)) end
    assert.equal("m3:1 m3:2 m:3", metadata_of(to))
  end)

  it("cost a map no more than they and the series cost alone", function()
    local many = 40000
    local function seconds(series, entries)
      local request = assert(pra.decode(assert(arranged(("s"):rep(series) .. ("f"):rep(entries)):encode())))
      collectgarbage()
      local start = os.clock()
      assert(request:map(function(labels) return labels end))
      return os.clock() - start
    end
    local apart = seconds(many, 0) + seconds(0, many)
    local together = seconds(many, many)
    assert.is_true(together < 6 * apart, ("%g s, apart %g s"):format(together, apart)) -- 20 times were it quadratic
  end)
end)

local makers = { built = built, ["1.0"] = decoded, ["2.0"] = function(list) return decoded(list, 2) end }

for kind, make in pairs(makers) do
  describe("a request (" .. kind .. ")", function()
    it("has what was put into it", function()
      assert.same(some(), plain(make()))
    end)

    it("counts", function()
      local request = make()
      assert.equal(4, #request)
      assert.equal(4, request.series_count)
      assert.equal(5, request.sample_count)
      assert.equal(1, request.histogram_count)
      assert.equal(1, request.exemplar_count)
      assert.equal(kind == "built" and 0 or tonumber(kind), request.version)
      assert.is_nil(request.unknown)
    end)

    it("gives all labels as tables", function()
      local list = some()
      for i = 1, 100 do
        list[#list + 1] = { labels = { __name__ = "m" .. i % 3, a = i % 5 == 0 and "x" or nil, id = tostring(i) },
          timestamps = { i }, values = { i } }
      end
      local request, numbers, got = make(list), {}, {}
      for number, labels in request:labels() do numbers[#numbers + 1], got[#got + 1] = number, labels end
      for i, series in ipairs(list) do
        assert.equal(i, numbers[i])
        assert.same(series.labels, got[i])
      end
      assert.equal(#list, #got)
      local single = {}
      for number, name, value in request:each_label() do
        single[number] = single[number] or {}
        single[number][name] = value
      end
      assert.same(got, single)
    end)

    it("gives columns of all series", function()
      local request = make()
      assert.same({ 1, 2, 3, 3, 5 }, request.timestamps:totable())
      assert.same({ 0.5, -1, 2, 1e300, 4 }, request.values:totable())
      assert.is_nil(request.start_timestamps)
      assert.same({ 0, 3, 4, 4, 5 }, request.sample_offsets:totable())
      assert.same({ 0, 3, 5, 7, 9 }, request.label_offsets:totable())
      assert.same({ 0, 0, 0, 1, 1 }, request.histogram_offsets:totable())
      assert.same({ 0, 0, 0, 0, 1 }, request.exemplar_offsets:totable())
      local sums, offsets, values = {}, request.sample_offsets, request.values
      for i = 1, #request do
        local sum = 0
        for k = offsets[i] + 1, offsets[i + 1] do sum = sum + values[k] end
        sums[i] = sum
      end
      assert.same({ 1.5, 1e300, 0, 4 }, sums)
    end)

    it("has fingerprints", function()
      local request = make()
      assert.equal(4, #request.fingerprints)
      for series, number in request:series() do
        assert.matches("^%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x$", series.fingerprint)
        assert.equal(request.fingerprints[number], series.fingerprint)
      end
      assert.not_equal(request.fingerprints[1], request.fingerprints[2])
    end)

    it("is encoded as either version", function()
      for version = 1, 2 do
        local bytes = assert(make():encode { version = version })
        assert.same(some(), plain(assert(pra.decode(bytes, { version = version }))))
        bytes = assert(make():encode { version = version, compressed = false })
        local request = assert(pra.decode(bytes, { version = version, compressed = false }))
        bytes = nil -- luacheck: ignore
        collectgarbage()
        assert.same(some(), plain(request))
        assert.equal(version, request.version)
      end
    end)

    it("is mapped", function()
      local seen = {}
      local out, dropped = make():map(function(labels, series)
        seen[#seen + 1] = series.index
        if labels.job == "api" then return nil end
        if labels.__name__ == "lat" then return { __name__ = "latency" } end
        labels.zone, labels.cluster = nil, "c"
        return labels
      end)
      assert.same({ 1, 2, 3, 4 }, seen)
      assert.equal(2, dropped)
      local expected = some()
      expected[1].labels = { __name__ = "up", job = "web", cluster = "c" }
      expected[4].labels = { __name__ = "latency" }
      assert.same({ expected[1], expected[4] }, plain(out))
      assert.has_error(function() make():map(function() error("no") end) end)
    end)

    it("is relabelled", function()
      local relabel = assert(pra.relabel {
        { source_labels = { "__name__" }, regex = "lat", action = "drop" },
        { source_labels = { "job" }, regex = "(.)(.*)", target_label = "initial", replacement = "$1" },
        { regex = "zone", action = "labeldrop" },
      })
      local out, dropped = make():relabel(relabel)
      assert.equal(2, dropped)
      local expected = some()
      expected[1].labels = { __name__ = "up", job = "web", initial = "w" }
      expected[2].labels = { __name__ = "up", job = "api", initial = "a" }
      assert.same({ expected[1], expected[2] }, plain(out))
    end)

    it("is split", function()
      local request = make()
      local parts, labels = assert(request:split(3)), {}
      assert.equal(3, #parts)
      for _, part in ipairs(parts) do
        for series in part:series() do labels[series.fingerprint] = series.labels end
      end
      for series in request:series() do assert.same(labels[series.fingerprint], series.labels) end
      assert.equal(4, #parts[1] + #parts[2] + #parts[3])
      assert.has_error(function() request:split(0) end)
      assert.has_error(function() request:split(65537) end)
    end)

    it("keeps what was asked of it when it is collected", function()
      local request = make { long(), some()[1] }
      local next_series = request:series()
      local first, second = next_series(), next_series()
      local whole, ours = request.values, first.timestamps
      request, next_series = nil, nil -- luacheck: ignore
      for _ = 1, 3 do
        collectgarbage()
        make { long(3000) }
      end
      assert.equal(1000, #ours)
      assert.equal(77, ours[77])
      assert.equal(77.5, whole[77])
      assert.same({ __name__ = "up", job = "web", zone = "a" }, second.labels)
      assert.same(long(), first:totable())
    end)
  end)
end

describe("a series", function()
  it("is made of what is asked for, once", function()
    local series = decoded():series()()
    assert.equal(series.labels, series.labels)
    assert.equal(series.values, series.values)
    assert.equal(1, series.index)
    assert.is_nil(series.histograms)
    assert.is_nil(series.exemplars)
    assert.is_nil(series.start_timestamps)
    assert.is_nil(series.unknown)
  end)

  it("finds a label", function()
    local series = decoded():series()()
    assert.equal("web", series:label "job")
    assert.is_nil(series:label "jo")
    series.labels.job = "changed"
    assert.equal("changed", series:label "job")
    assert.has_error(function() series:label() end)
  end)

  it("goes through its samples", function()
    local timestamps, values = {}, {}
    for timestamp, value in decoded():series()():samples() do
      timestamps[#timestamps + 1], values[#values + 1] = timestamp, value
    end
    assert.same({ 1, 2, 3 }, timestamps)
    assert.same({ 0.5, -1, 2 }, values)
  end)

  it("cannot be changed", function()
    local series = decoded():series()()
    assert.has_error(function() series.timestamps = {} end)
    assert.has_error(function() series.other = 1 end)
    local own = series:totable()
    own.timestamps[1], own.other = 7, true
    assert.equal(1, series.timestamps[1])
  end)

  it("has start timestamps where they are", function()
    local list = some()
    list[1].start_timestamps = { 1, 0, 2 }
    local request = decoded(list, 2)
    assert.same({ 1, 0, 2, 0, 0 }, request.start_timestamps:totable())
    assert.same({ 1, 0, 2 }, request:series()().start_timestamps:totable())
    assert.same({ 1, 0, 2 }, plain(request)[1].start_timestamps)
  end)

  it("stands for a plain one in another request", function()
    local out = assert(pra.request())
    for series in decoded():series() do assert(out:add(series)) end
    assert.same(some(), plain(out))
    for series in out:series() do -- of its own, too
      if series.index == 1 then assert(out:add(series)) end
    end
    assert.same(some()[1], plain(out)[5])
  end)

  it("keeps what a script made of it", function()
    local out, series = assert(pra.request()), decoded():series()()
    series.labels.job = "changed"
    assert(out:add(series))
    assert(out:add(series, {}))
    local lists = decoded():series()
    local last
    for one in lists do last = one end
    last.exemplars[1].labels.trace_id = "def"
    assert(out:add(last))
    local got = plain(out)
    assert.equal("changed", got[1].labels.job)
    assert.same({}, got[2].labels)
    assert.equal("def", got[3].exemplars[1].labels.trace_id)
  end)

  it("stands for a plain one in an answer", function()
    local kept = {}
    for series in decoded():series() do kept[#kept + 1] = series end
    local handler = assert(pra.handler { storage = { process_query = function() return kept end } })
    local status, list = wire.ask(handler, { { "=", "__name__", "up" } })
    assert.equal(200, status)
    assert.same(some()[1], list[1])
  end)
end)

describe("a Column", function()
  for name, count in pairs { short = 3, long = 1000 } do
    it("is read by index (" .. name .. ")", function()
      local column = decoded({ long(count) }).values
      assert.equal(count, #column)
      assert.equal(1.5, column[1])
      assert.equal(count + 0.5, column[count])
      for _, beyond in ipairs { 0, -1, count + 1, 1.5, 2 ^ 60, -2 ^ 60, math.huge, 0 / 0 } do
        assert.is_nil(column[beyond])
      end
      assert.is_nil(column.unknown)
      assert.has_error(function() column[1] = 2 end)
    end)

    it("becomes a table (" .. name .. ")", function()
      local column = decoded({ long(count) }).values
      assert.same(long(count).values, column:totable())
      assert.same({ 2.5, 3.5 }, column:totable(2, 3))
      assert.same({ 1.5, 2.5 }, column:totable(-5, 2))
      assert.same({ count + 0.5 }, column:totable(count, count + 10))
      assert.same({}, column:totable(3, 2))
      assert.same({}, column:totable(count + 1))
      assert.has_error(function() column:totable({}) end)
      assert.has_error(function() column.totable({}) end)
    end)
  end

  it("is taken where lists of numbers are", function()
    local from, out = decoded({ long() }):series()(), assert(pra.request())
    assert(out:add { labels = { __name__ = "x" }, timestamps = from.timestamps, values = from.values })
    assert.same(long().values, plain(out)[1].values)
    assert.has_error(function()
      out:add { labels = { __name__ = "x" }, timestamps = from.values, values = from.values }
    end)
    assert.equal(1, #out)
  end)
end)

describe("the memory of requests", function()
  it("is known to the collector", function()
    local generational = _VERSION == "Lua 5.4" and collectgarbage("generational")
    local block, known = assert(built({ long(50000) }):encode()), setmetatable({}, { __mode = "k" })
    for _ = 1, 300 do -- 1 MB each
      local request = assert(pra.decode(block))
      known[request] = true
      assert.equal(1.5, request:series()().values[1])
      for _ = 1, 2000 do assert({}) end -- so that it is old to a generational collector
    end
    local count = 0
    for _ in pairs(known) do count = count + 1 end
    assert.is_true(count < 200, count)
    if generational then collectgarbage(generational) end
  end)
end)

describe("integers", function()
  local times = { wire.max, wire.min, wire.int64 "9007199254740993", wire.int64 "-1", wire.int64 "0" }
  local texts = { "9223372036854775807", "-9223372036854775808", "9007199254740993", "-1", "0" }
  local function of(list)
    return { { labels = { __name__ = "x" }, timestamps = list, values = { 1, 2, 3, 4, 5 } } }
  end

  it("are exact", function()
    assert.same(times, decoded(of(times)).timestamps:totable())
    assert.same(times, plain(decoded(of(texts)))[1].timestamps)
  end)

  it("are strings on request", function()
    local bytes = assert(built(of(times)):encode())
    local request = assert(pra.decode(bytes, { integers = "string" }))
    assert.same(texts, request.timestamps:totable())
    local series = request:series()()
    assert.equal(texts[3], series.timestamps[3])
    assert.same(texts, plain(request)[1].timestamps)
    local first = series:samples()()
    assert.equal(texts[1], first)
    assert.same(texts, plain(assert(request:split(1))[1])[1].timestamps)
    assert.equal(1, series.index)
    assert.equal(0, request.sample_offsets[1])
    assert.has_error(function() pra.decode(bytes, { integers = "float" }) end)
  end)

  it("are strings for a storage that wants them so", function()
    local seen = {}
    local handler = assert(pra.handler { integers = "string", storage = {
      write = function(_, request) seen.timestamp = request:series()().timestamps[1] end,
      process_query = function(_, query) seen.start_ms, seen.end_ms = query.start_ms, query.end_ms end,
    } })
    assert.equal(204, (handler:request(wire.write(wire.some()))))
    assert.equal(200, (wire.ask(handler, { { "=", "a", "b" } })))
    assert.equal("1001", seen.timestamp)
    assert.equal("0", seen.start_ms)
    assert.equal(texts[1], seen.end_ms)
    assert.has_error(function() pra.handler { integers = "x", storage = { write = print } } end)
  end)
end)

describe("adding to a request", function()
  it("takes a series as a whole or not at all", function()
    local wrong = {
      { labels = {}, timestamps = { 1 }, values = {} },
      { labels = {}, timestamps = { 1, "x" }, values = { 1, 2 } },
      { labels = {}, timestamps = { 1, 2 }, values = { 1, {} } },
      { labels = {}, timestamps = { 1.5 }, values = { 1 } },
      { labels = { a = 1 }, timestamps = { 1 }, values = { 1 } },
      { labels = {}, timestamps = { 1 }, values = { 1 }, start_timestamps = {} },
      { labels = {}, timestamps = { 1 }, values = { 1 }, exemplars = { {} } },
      { labels = {}, timestamps = { 1 }, values = { 1 }, exemplars = { 1 } },
      { labels = {}, timestamps = { 1 }, values = { 1 }, exemplars = { { labels = {}, value = 1 } } },
      { labels = {}, timestamps = { 1 }, values = { 1 }, histograms = { { count = 1 } } },
      { labels = {}, timestamps = { 1 }, values = { 1 }, histograms = 1 },
      { labels = "a", timestamps = { 1 }, values = { 1 } },
      { timestamps = { 1 }, values = { 1 } },
      { labels = {} },
    }
    local request = built()
    for i, series in ipairs(wrong) do
      local ok, message = pcall(request.add, request, series)
      assert.is_false(ok, i)
      assert.truthy(message)
    end
    assert.has_error(function() request:add() end)
    assert.has_error(function() request:add(1) end)
    assert.has_error(function() request:add(some()[1], "x") end)
    assert.same(some(), plain(request))
  end)

  it("never mixes series of which one is added while the other is read", function()
    local request = assert(pra.request())
    local inner = { labels = { __name__ = "inner" }, timestamps = { 5 }, values = { 6 } }
    local outer = setmetatable({ labels = { __name__ = "outer" }, timestamps = { 1, 2 }, values = { 3, 4 } },
      { __index = function(_, key) if key == "histograms" then assert(request:add(inner)) end end })
    local ok = pcall(request.add, request, outer) -- with the ffi face everything is read first
    local names = {}
    for number, labels in request:labels() do names[number] = labels.__name__ end
    assert.same(ok and { "inner", "outer" } or { "inner" }, names)
    assert.same(ok and { 6, 3, 4 } or { 6 }, request.values:totable())
    assert(request:add(inner))
  end)

  it("is split into a number that makes sense", function()
    for _, wrong in ipairs { 0, -1, 1.5, 65537, 2 ^ 53, 1 / 0, 0 / 0 } do
      assert.has_error(function() built():split(wrong) end)
    end
  end)

  it("sorts labels", function()
    local request = assert(pra.request())
    local labels, names = {}, {}
    for i = 100, 250 do labels["n" .. i] = "v" end
    assert(request:add { labels = labels, timestamps = { 1 }, values = { 1 } })
    for _, name in request:each_label() do names[#names + 1] = name end
    for i = 1, 151 do assert.equal("n" .. 99 + i, names[i]) end
  end)

  it("needs one that can be added to", function()
    local series = some()[1]
    for _, request in ipairs { decoded(), assert(decoded():copy()) } do
      local ok, message, code = request:add(series)
      assert.is_nil(ok)
      assert.matches("pra.request", message)
      assert.equal("number", type(code))
      assert.is_nil((request:add_metadata { type = "gauge", family = "up" }))
    end
    local request = built()
    local copy = assert(request:copy())
    local ok, message, code = request:add(series)
    assert.is_nil(ok)
    assert.equal("string", type(message))
    assert.equal("number", type(code))
    assert.same(some(), plain(copy))
    copy = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert(request:add(series))
    assert.equal(5, #request)
  end)

  it("keeps columns that were asked for before", function()
    local request = assert(pra.request())
    assert(request:add(long()))
    local values, series = request.values, request:series()()
    for i = 1, 50 do assert(request:add(long(i * 10))) end
    assert.equal(1000, #values)
    assert.equal(1000.5, values[1000])
    assert.same(long(), series:totable())
  end)

  it("takes metadata", function()
    local request = assert(pra.request())
    assert(request:add(some()[1]))
    assert(request:add_metadata { type = "counter", family = "up", help = "h", unit = "u" })
    assert(request:add_metadata { family = "down" })
    local entries = { { type = "counter", family = "up", help = "h", unit = "u" },
      { type = "unknown", family = "down", help = "", unit = "" } }
    assert.same(entries, request.metadata)
    assert.same(entries, assert(pra.decode(assert(request:encode()))).metadata)
    local second = assert(pra.decode(assert(request:encode { version = 2 }), { version = 2 }))
    assert.same({ { type = "counter", series = 1, help = "h", unit = "u" } }, second.metadata)
    for _, maker in ipairs { function(r) return (r:map(function(labels) return labels end)) end,
      function(r) return assert(r:split(1))[1] end } do
      assert.same(entries, maker(request).metadata)
      assert.same(second.metadata, maker(second).metadata)
    end
    assert.has_error(function() request:add_metadata { type = "number" } end)
    assert.has_error(function() request:add_metadata { family = 1 } end)
    assert.has_error(function() request:add_metadata() end)
  end)
end)

describe("what is not a request", function()
  it("is refused with a message and a code", function()
    for _, arguments in ipairs { { "" }, { "nonsense" }, { "\1\0", { version = 1 } },
      { "\255", { compressed = false } }, { assert(built():encode()), { version = 3 } },
      { assert(built():encode()), { limits = { max_decoded_bytes = 5 } } } } do
      local request, message, code = pra.decode(arguments[1], arguments[2])
      if request then
        assert.equal(0, #request)
      else
        assert.equal("string", type(message))
        assert.is_true(code < 0)
      end
    end
    assert.is_nil((pra.decode("\255", { compressed = false })))
    assert.has_error(function() pra.decode() end)
    assert.has_error(function() pra.decode("", { limits = { max_speed = 1 } }) end)
    local ok, _, code = built():encode { version = 3 }
    assert.is_nil(ok)
    assert.is_true(code < 0)
  end)

  it("has no methods", function()
    local request = built()
    for _, name in ipairs { "series", "labels", "each_label", "add", "add_metadata", "encode", "copy", "map",
      "relabel", "split", "reject" } do
      assert.has_error(function() request[name]({}) end)
      assert.has_error(function() request[name](io.stdout) end)
      assert.has_error(function() request[name](nil) end)
    end
    assert.has_error(function() request:reject(1, "no storage was handed it") end)
    assert.has_error(function() request:relabel({}) end)
  end)
end)

describe("relabelling", function()
  it("of labels", function()
    local relabel = assert(pra.relabel {
      { source_labels = { "a", "b" }, separator = "-", regex = "(.*)-x", target_label = "c", replacement = "<$1>" },
      { source_labels = { "drop" }, regex = "yes", action = "drop" },
      { source_labels = { "a" }, modulus = 7, target_label = "shard", action = "hashmod" },
    })
    local labels = { a = "1", b = "x" }
    local got = relabel:labels(labels)
    assert.equal("<1>", got.c)
    assert.matches("^[0-6]$", got.shard)
    assert.same({ a = "1", b = "x" }, labels)
    assert.is_nil((relabel:labels { drop = "yes" }))
    assert.has_error(function() relabel:labels { a = 1 } end)
    assert.has_error(function() relabel:labels() end)
    assert.has_error(function() relabel.labels({}, labels) end)
    for i = 1, 200 do labels["n" .. i] = "v" .. i end
    labels.c, labels.shard = nil, nil
    got = relabel:labels(labels)
    assert.equal("v117", got.n117)
  end)

  it("is refused with the number of the rule", function()
    local good = { target_label = "x" }
    for _, rules in ipairs { { good, { regex = "(" } }, { good, { action = "explode" } },
      { good, { action = "hashmod" } } } do
      local relabel, message, code = pra.relabel(rules)
      assert.is_nil(relabel)
      assert.matches("rule 2", message)
      assert.is_true(code < 0)
    end
    for _, rules in ipairs { { { unknown = 1 } }, { 1 }, { { regex = 1 } }, { { source_labels = "a" } },
      { { source_labels = { 1 } } }, { { modulus = "x" } }, "x" } do
      assert.has_error(function() pra.relabel(rules) end)
    end
  end)

  it("without rules keeps all", function()
    local relabel = assert(pra.relabel {})
    assert.same({ a = "b" }, relabel:labels { a = "b" })
  end)
end)

describe("the request of a storage", function()
  local function during(f, list)
    local handler = assert(pra.handler { storage = { histograms = true, exemplars = true, write = f } })
    return handler:request { target = "/api/v1/write", body = assert(built(list):encode()),
      headers = { ["Content-Type"] = "application/x-protobuf", ["Content-Encoding"] = "snappy" } }
  end

  it("can be kept by copy, series and columns, but not itself", function()
    local kept = {}
    for i = 1, 20 do
      assert.equal(204, (during(function(_, request)
        kept[i] = { request = request, copy = assert(request:copy()), series = request:series()(),
          values = request.values }
      end, { long(1000 + i) })))
    end
    collectgarbage()
    for i = 1, 20 do
      local one = kept[i]
      assert.equal(1, #one.copy)
      assert.equal(1000 + i, #one.values)
      assert.equal(1000.5 + i, one.values[1000 + i])
      assert.same(long(1000 + i), one.series:totable())
      assert.same({ long(1000 + i) }, plain(one.copy))
      for _, late in ipairs { function() return one.request.values end, function() return #one.request end,
        function() return one.request:labels() end, function() return one.request:encode() end,
        function() return one.series:reject("late") end, function() return one.request:copy() end } do
        local ok, message = pcall(late)
        assert.is_false(ok)
        assert.matches("is over", message)
      end
      assert.has_error(function() one.copy:reject(1, "late") end)
    end
  end)

  it("can be encoded, mapped and split", function()
    local block, mapped, parts
    assert.equal(204, (during(function(_, request)
      block = assert(request:encode { version = 2 })
      mapped = assert(request:map(function(labels) return labels.job == "web" and labels end))
      parts = assert(request:split(2))
    end)))
    assert.equal(4, #assert(pra.decode(block, { version = 2 })))
    assert.equal(2, #mapped)
    assert.equal(4, #parts[1] + #parts[2])
  end)

  it("is refused in part by a series", function()
    local status, _, body = during(function(_, request)
      for series in request:series() do
        if series:label "zone" then series:reject("no zones") end
      end
    end)
    assert.equal(400, status)
    assert.matches("no zones", body)
    status, _, body = during(function(_, request) request:series()():reject("late", "sample", 2) end)
    assert.equal(400, status)
    assert.matches("2 samples", body)
  end)

  it("ends for iterators as well", function()
    local iterators = {}
    assert.equal(204, (during(function(_, request)
      iterators = { request:series(), request:labels(), request:each_label() }
      for _, next_one in ipairs(iterators) do assert.truthy(next_one()) end
    end)))
    for _, next_one in ipairs(iterators) do
      local ok, message = pcall(next_one)
      assert.is_false(ok)
      assert.matches("is over", message)
    end
  end)
end)

describe("coroutines", function()
  it("may share a request and its iterators", function()
    local request, got = decoded(), {}
    local next_labels, next_series = request:labels(), request:series()
    local threads = {}
    for i = 1, 2 do
      threads[i] = coroutine.create(function()
        for _ = 1, 2 do
          local number, labels = next_labels()
          coroutine.yield()
          local series = next_series()
          coroutine.yield()
          got[#got + 1] = { number, labels, series.index, series.labels }
        end
      end)
    end
    for _ = 1, 5 do
      for _, thread in ipairs(threads) do assert(coroutine.resume(thread)) end
      collectgarbage()
    end
    table.sort(got, function(a, b) return a[1] < b[1] end)
    local seen = {}
    for i, series in ipairs(some()) do
      assert.equal(i, got[i][1])
      assert.same(series.labels, got[i][2])
      seen[got[i][3]] = got[i][4]
    end
    for i, series in ipairs(some()) do assert.same(series.labels, seen[i]) end
  end)

  it("may raise while a request is mapped, and go on", function()
    local request = decoded()
    local thread = coroutine.wrap(function()
      local ok, message = pcall(request.map, request, function(_, series)
        if series.index == 3 then error("third", 0) end
        return series.labels
      end)
      coroutine.yield(ok, message)
      return #assert(request:map(function(labels) return labels end))
    end)
    local ok, message = thread()
    assert.is_false(ok)
    assert.equal("third", message)
    assert.equal(4, thread())
  end)
end)
