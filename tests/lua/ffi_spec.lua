-- SPDX-License-Identifier: Apache-2.0
-- What is special about the face over LuaJIT's FFI.
local pra = require "prom_remote_api"
local wire = require "wire"
if pra.face ~= "ffi" then return end

local ffi = require "ffi"
local strict = require "prom_remote_api.strict"

local series = wire.some()[1]
local everything = { { start_ms = 0, end_ms = wire.max, matchers = { { "=", "__name__", "up" } } } }
local write_request, read_request = wire.write(wire.some(5)), wire.read(everything)

local function double(high, low)
  local word = ffi.new "union { uint32_t halves[2]; double number; char bytes[8]; }"
  word.halves[0], word.halves[1] = low, high
  return ffi.string(word.bytes, 8)
end

local function bits(number)
  local word = ffi.new "union { uint32_t halves[2]; double number; }"
  word.number = number
  return bit.tohex(word.halves[1]) .. bit.tohex(word.halves[0])
end

-- A request of one series whose values have these bits, each { high, low }.
local function with_bits(list)
  local plain = { labels = { __name__ = "up" }, timestamps = {}, values = {} }
  for i in ipairs(list) do plain.timestamps[i], plain.values[i] = i, 0.123456789 + i end
  local message = wire.write_request { plain }
  for i, word in ipairs(list) do
    local from, to = message:find(wire.double(plain.values[i]), 1, true)
    message = message:sub(1, from - 1) .. double(word[1], word[2]) .. message:sub(to + 1)
  end
  local request = wire.write { plain }
  request.body = wire.compress(message)
  return request
end

describe("a storage function", function()
  it("may yield wherever it is", function()
    local function y(what) assert.equal("go on", coroutine.yield(what)) end
    local handler = assert(pra.handler { storage = {
      write = function(_, request)
        y "write"
        for one in request:series() do y(one.labels.instance) end
        assert.equal(5, #request)
      end,
      process_query = function(_, query, sink)
        y "query"
        sink:add(series)
        return function()
          y "iterator"
          return nil
        end
      end,
    } })
    local function run(request)
      local seen, thread = {}, coroutine.create(function() return handler:request(request) end)
      local _, what = coroutine.resume(thread)
      while coroutine.status(thread) == "suspended" do
        seen[#seen + 1] = what
        collectgarbage()
        _, what = coroutine.resume(thread, "go on")
      end
      return what, table.concat(seen, " ")
    end
    local status, seen = run(write_request)
    assert.same({ 204, "write 0 1 2 3 4" }, { status, seen })
    status, seen = run(read_request)
    assert.same({ 200, "query iterator" }, { status, seen })
  end)

  it("may wait while others are at work", function()
    local handler = assert(pra.handler { storage = { write = function(ctx, request)
      for one in request:series() do
        coroutine.yield()
        assert.equal(ctx.tenant, one.labels.instance)
      end
    end } })
    local threads, statuses = {}, {}
    for i = 1, 20 do
      threads[i] = coroutine.create(function()
        local one = { labels = { __name__ = "up", instance = "t" .. i }, timestamps = { 1 }, values = { 1 } }
        statuses[i] = handler:request(wire.write({ one, one, one }, { ["X-Scope-OrgID"] = "t" .. i }))
      end)
    end
    for _ = 1, 4 do
      for _, thread in ipairs(threads) do assert(coroutine.resume(thread)) end
    end
    for i = 1, 20 do assert.equal(204, statuses[i]) end
  end)

  it("may be dropped in the middle", function()
    local kept
    local handler = assert(pra.handler { storage = { write = function(ctx, request)
      kept = { ctx = ctx, request = request, first = request:series()() }
      coroutine.yield()
    end, process_query = function(_, _, sink)
      sink:add(series)
      coroutine.yield()
    end } })
    for _ = 1, 50 do
      for _, request in ipairs { write_request, read_request } do
        coroutine.wrap(function() handler:request(request) end)()
      end
      collectgarbage()
    end
    assert.equal("5", tostring(#kept.request)) -- it holds what it looks at
    assert.equal("up", kept.first.labels.__name__)
  end)
end)

describe("an exchange", function()
  local function begun(storage, request)
    local x = assert(assert(pra.handler { storage = storage }):exchange())
    assert(x:begin(request))
    assert(x:feed(request.body))
    assert(x:end_body())
    return x
  end

  it("that is reset ends what its storage is at", function()
    for _, ending in ipairs { "reset", "begin" } do
      local kept, late = {}, nil
      local x = begun({ process_query = function(ctx, query, sink)
        kept = { ctx = ctx, query = query, sink = sink }
        coroutine.yield()
        late = { pcall(sink.add, sink, series) }
      end }, read_request)
      local thread = coroutine.create(function() return x:run() end)
      assert(coroutine.resume(thread))
      assert.equal("", kept.ctx.tenant)
      if ending == "reset" then x:reset() else assert(x:begin(read_request)) end
      for _, f in ipairs { function() return kept.ctx.tenant end, function() return kept.query.start_ms end,
        function() kept.sink:add(series) end } do
        local ok, message = pcall(f)
        assert.is_false(ok)
        assert.matches("is over", message)
      end
      local _, result, message, code = coroutine.resume(thread) -- the storage goes on and sees it
      assert.is_nil(result)
      assert.is_string(message)
      assert.is_true(code < 0)
      assert.is_false(late[1])
      assert.matches("is over", late[2])
      if ending == "reset" then assert(x:begin(read_request)) end
      assert(x:feed(read_request.body))
      assert(x:end_body()) -- the next one is served as ever
      local again = coroutine.create(function() return x:run() end)
      assert(coroutine.resume(again))
      assert(coroutine.resume(again))
      assert.equal(200, x:status())
    end
  end)

  it("has queries run side by side", function()
    local order, queries = {}, {}
    for i = 1, 4 do queries[i] = everything[1] end
    local count = 0
    local x = begun({ process_query = function(_, _, sink)
      count = count + 1
      local number = count
      order[#order + 1] = number
      coroutine.yield()
      order[#order + 1] = number
      sink:add { labels = { number = tostring(number) }, timestamps = { 1 }, values = { number } }
    end }, wire.read(queries))
    assert(x:run(function(tasks)
      local threads = {}
      for i, task in ipairs(tasks) do threads[i] = coroutine.create(task) end
      for _ = 1, 2 do
        for i = #threads, 1, -1 do assert(coroutine.resume(threads[i])) end
      end
    end))
    assert.same({ 1, 2, 3, 4, 1, 2, 3, 4 }, order)
    local answer = {}
    for piece in x:pieces() do answer[#answer + 1] = piece end
    local results = pra.decode_answer(table.concat(answer), x:headers()["content-type"])
    for i = 1, 4 do assert.same({ { tostring(5 - i) } }, { { results[i][1].labels.number } }) end
  end)

  it("fails with the first query that fails", function()
    local number = 0
    local x = begun({ process_query = function()
      number = number + 1
      error(number == 2 and pra.reject "two" or pra.retry(tostring(number)))
    end }, wire.read { everything[1], everything[1], everything[1] })
    assert(x:run(function(tasks) for i = #tasks, 1, -1 do tasks[i]() end end))
    assert.equal(503, x:status())
    assert.matches("3", x:piece())
  end)

  it("fails with a query that was not finished", function()
    local x = begun({ process_query = function(_, _, sink)
      sink:add(series)
      coroutine.yield()
    end }, wire.read { everything[1], everything[1] })
    assert(x:run(function(tasks) for _, task in ipairs(tasks) do coroutine.wrap(task)() end end))
    assert.equal(503, x:status())
  end)

  it("can be told that nobody waits", function()
    local x, raised
    x = begun({ process_query = function(_, _, sink)
      sink:add(series)
      x:cancel()
      raised = select(2, pcall(sink.add, sink, series))
      error(raised)
    end }, read_request)
    assert(x:run())
    assert.matches("gone", tostring(raised))
    assert.is_true(x:status() >= 400)
  end)

  it("says what it cannot do now", function()
    local x = assert(assert(pra.handler { storage = { write = function() end } }):exchange())
    local done, message, code = x:run()
    assert.is_nil(done)
    assert.is_string(message)
    assert.is_true(code < 0)
    assert.has_error(function()
      assert(strict.handler { storage = { write = function() end } }):exchange():run()
    end)
  end)
end)

describe("NaNs", function()
  -- { high, low, what becomes of the high half }: what LuaJIT could take for another type, now or
  -- behind a sign or a sum, becomes a plain NaN
  local words = {
    { 0x7ff00000, 2, "7ff00000" }, { 0x7ff80000, 1, "7ff80000" }, { 0xfff00000, 1, "fff00000" },
    { 0xfff80000, 0, "fff80000" }, { 0x7ff0ffff, 5, "7ff0ffff" }, { 0x7ff00000, 0, "7ff00000" },
    { 0xfff00000, 0, "fff00000" }, { 0xfff90000, 0 }, { 0xfff97fff, 0xffffffff }, { 0xfffe8000, 4096 },
    { 0xffff8000, 4096 }, { 0xffffffff, 0xffffffff }, { 0x7fffffff, 0xffffffff }, { 0x7ff90000, 0 },
    { 0xfffa0000, 0x12345678 }, { 0xfffb8000, 64 }, { 0xfffc0000, 8 }, { 0xfffd0000, 8 }, { 0xfff10000, 0 },
  }

  local function check(value, word)
    assert.equal("number", type(value))
    assert.equal("number", type(-value))
    assert.equal("number", type(value + 1))
    assert.equal("number", type(-(value + 1)))
    if word[3] then
      assert.equal(word[3] .. bit.tohex(word[2]), bits(value))
    else
      assert.is_true(value ~= value)
    end
    assert.equal(word[1] == 0x7ff00000 and word[2] == 2, pra.is_stale(value))
  end

  it("of the network are numbers", function()
    local handler = assert(pra.handler { storage = { write = function(_, request)
      for _ = 1, 100 do -- compiled too
        for one in request:series() do
          local list = one.values:totable()
          for i, word in ipairs(words) do
            check(one.values[i], word)
            check(request.values[i], word)
            check(list[i], word)
          end
          local i = 0
          for _, value in one:samples() do
            i = i + 1
            check(value, words[i])
          end
        end
      end
    end } })
    local status, _, body = handler:request(with_bits(words))
    assert.equal(204, status, body)
  end)

  it("go through columns with all their bits", function()
    local kept
    local handler = assert(pra.handler { storage = { write = function(_, request) kept = request:series()() end,
      process_query = function() return { kept } end } })
    assert.equal(204, (handler:request(with_bits(words))))
    local status, _, body = handler:request(read_request)
    assert.equal(200, status)
    local answer = wire.uncompress(body)
    for _, word in ipairs(words) do assert.truthy(answer:find(double(word[1], word[2]), 1, true)) end
    local again = pra.request()
    assert(again:add(kept))
    local message = assert(again:encode { compressed = false })
    for _, word in ipairs(words) do assert.truthy(message:find(double(word[1], word[2]), 1, true)) end
  end)

  it("of histograms and exemplars are numbers", function()
    for _, word in ipairs(words) do
      local h = { timestamp = 1, count = 0.25, is_float = true, sum = 0.123456789, zero_threshold = 0.987654321,
        zero_count = 0.333333333, positive_spans = { { offset = 0, length = 1 } }, positive_buckets = { 0.777777777 },
        schema = -53, custom_values = { 0.555555555 } }
      local text = pra.encode_histogram(h)
      for _, value in ipairs { h.count, h.sum, h.zero_threshold, h.zero_count, 0.777777777, 0.555555555 } do
        local from, to = text:find(wire.double(value), 1, true)
        text = text:sub(1, from - 1) .. double(word[1], word[2]) .. text:sub(to + 1)
      end
      local got = assert(pra.decode_histogram(text))
      for _, value in ipairs { got.count, got.sum, got.zero_threshold, got.zero_count, got.positive_buckets[1],
        got.custom_values[1] } do
        check(value, word)
      end
    end
    local one = { labels = { __name__ = "up" }, timestamps = { 1 }, values = { 1 },
      exemplars = { { labels = {}, timestamp = 1, value = 0.123456789 } } }
    for _, word in ipairs(words) do
      local message = wire.write_request { one }
      local from, to = message:find(wire.double(0.123456789), 1, true)
      message = message:sub(1, from - 1) .. double(word[1], word[2]) .. message:sub(to + 1)
      local request = assert(pra.decode(message, { compressed = false }))
      check(request:series()().exemplars[1].value, word)
    end
  end)
end)

describe("integers", function()
  local times = { 1, 2 ^ 53, wire.max, wire.min }
  local request = wire.write { { labels = { __name__ = "up" }, timestamps = times, values = { 1, 2, 3, 4 } } }

  local function decoded(integers) return assert(pra.decode(request.body, { integers = integers })) end

  it("are numbers where that is exact, else cdata", function()
    local list = decoded().timestamps:totable()
    assert.same({ "number", "number", "cdata", "cdata" },
      { type(list[1]), type(list[2]), type(list[3]), type(list[4]) })
    assert.equal(2 ^ 53, list[2])
    assert.same({ "9223372036854775807LL", "-9223372036854775808LL" }, { tostring(list[3]), tostring(list[4]) })
  end)

  it("are strings or cdata on request", function()
    assert.same({ "1", "9007199254740992", "9223372036854775807", "-9223372036854775808" },
      decoded("string").timestamps:totable())
    for _, value in ipairs(decoded("cdata").timestamps:totable()) do assert.is_true(ffi.istype("int64_t", value)) end
    assert.has_error(function() decoded("words") end)
  end)

  it("go in as all of them", function()
    for _, integers in ipairs { "number", "string", "cdata" } do
      local out = pra.request()
      local mode = integers ~= "number" and integers or nil
      assert(out:add(decoded(mode):series()():totable()))
      assert(out:add((decoded(mode):series()())))
      local list = assert(pra.decode(out:encode())).timestamps:totable()
      for i = 1, 8 do assert.is_true(list[i] == decoded().timestamps[(i - 1) % 4 + 1]) end
    end
    for _, wrong in ipairs { 1.5, "1.5", "x", "", 2 ^ 63, ffi.cast("uint64_t", -1), {}, "9223372036854775808" } do
      assert.has_error(function()
        pra.request():add { labels = { a = "b" }, timestamps = { wrong }, values = { 1 } }
      end)
    end
  end)
end)

describe("columns", function()
  local function request(n)
    local one = { labels = { __name__ = "up" }, timestamps = {}, values = {} }
    for i = 1, n do one.timestamps[i], one.values[i] = i, i / 2 end
    return assert(pra.decode(wire.write({ one }).body))
  end

  it("have bounds", function()
    for _, n in ipairs { 0, 1, 8, 9, 100 } do
      local values = request(n).values
      assert.equal(n, #values)
      for _, i in ipairs { 0, -1, n + 1, 2 ^ 31, 2 ^ 53, -2 ^ 31, 1 / 0, -1 / 0, 0 / 0, 0.5, 1.5 } do
        assert.is_nil(values[i])
      end
      assert.has_error(function() values[1] = 1 end)
      assert.has_error(function() values.unknown = 1 end)
      assert.is_nil(values.unknown)
      if n > 0 then assert.equal(n / 2, values.pointer[n - 1]) end
      assert.same(n > 2 and { 1, 1.5 } or {}, values:totable(2, n > 2 and 3 or 1))
    end
  end)

  it("outlive their request", function()
    local columns = {}
    for i = 1, 200 do columns[i] = request(20 + i).values end
    collectgarbage()
    collectgarbage()
    for _ = 1, 200 do request(50) end
    for i = 1, 200 do
      assert.equal(20 + i, #columns[i])
      for k = 1, 20 + i do assert.equal(k / 2, columns[i][k]) end
    end
  end)

  it("of a request that is built stay as they are", function()
    local built, kept = pra.request(), {}
    for i = 1, 50 do
      assert(built:add { labels = { __name__ = "m" .. i }, timestamps = { i }, values = { i } })
      kept[i] = { built.values, built.sample_offsets, built:series()() }
    end
    for i = 1, 50 do
      assert.equal(i, #kept[i][1])
      for k = 1, i do assert.equal(k, kept[i][1][k]) end
      assert.equal(i, kept[i][2][i + 1])
      assert.equal("m1", kept[i][3].labels.__name__)
    end
  end)

  it("are taken from arrays of C too", function()
    local timestamps, values = ffi.new("int64_t[3]", 1, 2, 3), ffi.new("double[?]", 3)
    values[0], values[1], values[2] = 0.5, 1.5, 2.5
    local function add(one) return pra.request():add(one) end
    local labels = { __name__ = "up" }
    local out = pra.request()
    assert(out:add { labels = labels, timestamps = timestamps, values = values, n = 3 })
    assert(out:add { labels = labels, timestamps = ffi.cast("const int64_t *", timestamps),
      values = { 0.5, 1.5, 2.5 }, n = 3 })
    assert.same({ 0.5, 1.5, 2.5, 0.5, 1.5, 2.5 }, out.values:totable())
    assert.same({ 1, 2, 3, 1, 2, 3 }, out.timestamps:totable())
    assert.has_error(function() add { labels = labels, timestamps = timestamps, values = values, n = 4 } end)
    assert.has_error(function() add { labels = labels, timestamps = timestamps, values = values } end)
    assert.has_error(function() add { labels = labels, timestamps = timestamps, values = values, n = -1 } end)
    local struct = ffi.new("struct { int64_t times[2]; double values[2]; }", { { 7, 8 }, { 0.5, 1.5 } })
    out = pra.request()
    assert(out:add { labels = labels, timestamps = struct.times, values = struct.values, n = 2 })
    assert.same({ 7, 8 }, out.timestamps:totable())
    assert.same({ 0.5, 1.5 }, out.values:totable())
  end)

  it("are not taken from arrays of other types", function()
    local labels, one = { __name__ = "up" }, { 1 }
    for _, array in ipairs { ffi.new "uint64_t[1]", ffi.new "int32_t[1]", ffi.new "float[1]", ffi.new "int64_t *[1]",
      ffi.new "int64_t[1][1]", ffi.new "void *", ffi.new "int64_t", ffi.new "char[1]", ffi.new("bool[?]", 1) } do
      for _, series in ipairs { { timestamps = array, values = one }, { timestamps = one, values = array } } do
        series.labels, series.n = labels, 1
        assert.error_matches(function() pra.request():add(series) end, "array")
      end
    end
    local built = pra.request()
    built:add { labels = labels, timestamps = one, values = one }
    assert.error_matches(function()
      pra.request():add { labels = labels, timestamps = built.values, values = built.values }
    end, "Column of other numbers")
  end)

  it("are read in compiled loops", function()
    if not jit.status() then return end
    local big = request(2000)
    local many = {}
    for i = 1, 300 do many[i] = { labels = { __name__ = "up", i = tostring(i) }, timestamps = { i }, values = { i } } end
    many = assert(pra.decode(wire.write(many).body))
    local loops = {
      function()
        local values, times, sum = big.values, big.timestamps, 0
        for i = 1, #values do sum = sum + values[i] + times[i] end
        return sum
      end,
      function()
        local sum = 0
        for one in many:series() do
          local values, times = one.values, one.timestamps
          for i = 1, #values do sum = sum + values[i] + times[i] end
        end
        return sum
      end,
      function()
        local sum = 0
        for one in many:series() do
          for time, value in one:samples() do sum = sum + time + value end
        end
        return sum
      end,
      function()
        local sum = 0
        for number, labels in many:labels() do sum = sum + number + #labels.i end
        return sum
      end,
      function()
        local sum = 0
        for _, name, value in many:each_label() do sum = sum + #name + #value end
        return sum
      end,
    }
    for number, loop in ipairs(loops) do
      local loops_compiled, first = 0, loop()
      local function on_trace(what, trace)
        if what == "stop" and require("jit.util").traceinfo(trace).linktype == "loop" then
          loops_compiled = loops_compiled + 1
        end
      end
      jit.flush()
      jit.attach(on_trace, "trace")
      for _ = 1, 50 do assert.equal(first, loop()) end
      jit.attach(on_trace)
      assert.is_true(loops_compiled > 0, "loop " .. number)
    end
  end)
end)

describe("a collector at every turn", function()
  local compiles = jit.status()

  after_each(function()
    collectgarbage("setpause", 200)
    collectgarbage("setstepmul", 200)
    if compiles then jit.on() end
  end)

  it("changes nothing", function()
    local histogram = { timestamp = 50, count = 3, sum = 4, schema = 0,
      positive_spans = { { offset = 0, length = 2 } }, positive_buckets = { 1, 2 } }
    local got = {}
    local handler = assert(pra.handler { storage = { histograms = true, exemplars = true,
      write = function(ctx, request)
        for one, number in request:series() do
          got[number] = one:totable()
          assert.equal(one.labels.instance, one:label "instance")
          setmetatable({}, { __mode = "k" })[one] = true
        end
        assert.is_string(ctx:header "Content-Type")
        assert.is_table(ctx.headers)
      end,
      process_query = function(_, query, sink)
        assert.is_table(query.matchers)
        for i, one in ipairs(got) do
          local labels = {}
          for name, value in pairs(one.labels) do labels[name] = value .. "" end
          if query:matches(labels) then
            sink:add { labels = labels, timestamps = { i, i + 1 }, values = { i, i }, histograms = { histogram } }
          end
        end
      end,
    } })
    collectgarbage("setpause", 100)
    collectgarbage("setstepmul", 1000)
    for round = 1, 30 do
      local list = {}
      for i = 1, 5 do
        list[i] = { labels = { __name__ = "up", instance = ("x"):rep(round) .. i }, timestamps = { 1000 + i },
          values = { i / 2 } }
      end
      assert.equal(204, (handler:request(wire.write(list))))
      assert.same(list, got)
      local status, answer = wire.ask(handler, { { "=~", "instance", "x.*" } })
      assert.equal(200, status)
      assert.equal(5, #answer)
      for i, one in ipairs(answer) do
        assert.same(list[i].labels, one.labels)
        assert.equal(1, #one.histograms)
      end
      local built = pra.request()
      for _, one in ipairs(got) do assert(built:add(one)) end
      assert(built:add_metadata { type = "gauge", family = "up", help = "h" .. round, unit = "u" .. round })
      local again = assert(pra.decode(assert(built:encode { version = 2 }), { version = 2 }))
      for one, number in again:series() do assert.same(list[number].labels, one.labels) end
      assert.equal("h" .. round, again.metadata[1].help)
    end
  end)

  it("outlives its request as a column, and goes with the last of them", function()
    local list = {}
    for i = 1, 100 do list[i] = { labels = { __name__ = "up" }, timestamps = { i }, values = { i } } end
    local block = assert(wire.write(list).body)
    for round = 1, 20 do
      local kept = assert(pra.decode(block)).values
      local same = assert(pra.decode(block))
      local timestamps, copy = same.timestamps, assert(same:copy())
      same = nil
      for _ = 1, 3 do
        collectgarbage()
        assert(pra.decode(wire.write({ series }).body)) -- in memory that was given back
      end
      for i = 1, 100 do assert.same({ i, i }, { kept[i], timestamps[i] }, round) end
      timestamps = nil
      collectgarbage()
      assert.equal(100, copy.values[100])
    end
  end)

  it("may finalize what calls the module", function()
    jit.off() -- LuaJIT does not always come out of a compiled loop over `next` in a finalizer
    local calls = 0
    local function trap()
      ffi.gc(ffi.new "int[1]", function()
        calls = calls + 1
        pra.key { a = "b" }
        pra.encode_histogram { timestamp = 1, count = 1, sum = 1 }
        assert(pra.request():add(series))
      end)
    end
    local handler = assert(pra.handler { storage = { write = function(_, request)
      for one in request:series() do
        trap()
        pra.key(one.labels)
      end
    end, process_query = function(_, query, sink)
      for i = 1, 20 do
        trap()
        local one = { labels = { __name__ = "up", i = tostring(i) }, timestamps = { 1 }, values = { i } }
        assert.is_true(query:matches(one.labels))
        sink:add(one)
      end
    end } })
    collectgarbage("setpause", 100)
    for _ = 1, 20 do
      assert.equal(204, (handler:request(write_request)))
      local status, answer = wire.ask(handler, everything[1].matchers)
      assert.equal(200, status)
      assert.equal(20, #answer)
      for i = 1, 20 do
        assert.same({ __name__ = "up", i = tostring(i) }, answer[i].labels)
        assert.same({ i }, answer[i].values)
      end
    end
    assert.is_true(calls > 0)
    -- those that a state finalizes at its end are too late: LuaJIT frees nothing of what they make
    for _ = 1, 3 do collectgarbage() end
  end)
end)
