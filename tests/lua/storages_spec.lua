-- SPDX-License-Identifier: Apache-2.0
-- The storages that come with the package: one suite for all of them.
local pra = require "prom_remote_api"
local program = require "program"
local redis_server = require "redis_server"
local samples = require "samples"
local wire = require "wire"

local odd, up, key, lines, read, write = samples.odd, samples.up, samples.key, samples.lines, samples.read, samples.write

---- the storages

local numbered, redis = 0, nil

local function number()
  numbered = numbered + 1
  return numbered
end

-- A memory in another process, for the relay.
local function upstream()
  local path = program.write_file("upstream.lua", [[
    local storage = require("prom_remote_api.storages.memory").new()
    return assert(require("prom_remote_api").serve { storage = storage, listen = "127.0.0.1:0" })]])
  return program.start(os.getenv("PRA_LUA_PROGRAM") .. " " .. path)
end

-- new(name) opens what has this name, afresh or again.
local storages = {
  memory = { new = function() return require("prom_remote_api.storages.memory").new() end },
  sqlite = {
    missing = not pcall(require, "luasql.sqlite3") and "LuaSQL",
    new = function(name) return require("prom_remote_api.storages.sqlite").new(program.folder .. "/" .. name) end,
  },
  redis = {
    missing = not redis_server.found() and "redis-server or LuaSocket",
    new = function(name)
      redis = redis or redis_server.new()
      return require("prom_remote_api.storages.redis").new { port = redis.port, prefix = name .. ":", timeout = 600 }
    end,
  },
  relay = {
    missing = not pcall(require, "socket") and "LuaSocket",
    new = function()
      local url = "http://127.0.0.1:" .. upstream().port .. "/api/v1/"
      return require("prom_remote_api.storages.relay").new { write_url = url .. "write", read_url = url .. "read",
        timeout = 600 }
    end,
  },
}

local function histogram(timestamp, count)
  return pra.encode_histogram { timestamp = timestamp, count = count, sum = 1.5, schema = 1, zero_count = count - 3,
    zero_threshold = 0.001, positive_spans = { { offset = 0, length = 2 } }, positive_buckets = { 1, 2 } }
end

teardown(function()
  program.kill_all()
  program.remove_files()
end)

for name, kind in pairs(storages) do
  describe(name, function()
    if kind.missing then
      pending("needs " .. kind.missing)
      return
    end
    local storage, handler, called

    local function open()
      storage = kind.new(called)
      handler = assert(pra.handler { storage = storage })
    end

    before_each(function()
      called = name .. number()
      open()
    end)
    after_each(function() storage.close() end)

    it("reads what was written", function()
      assert.same({}, read(handler))
      assert.equal(204, write(handler, { up("a", { 1000, 2000 }, { 1, 0 }), up("b", { 1000 }, { 2.5 }) }))
      assert.equal(204, write(handler, { up("a", { 3000 }, { 3 }) }))
      assert.same({ [key "a"] = lines(1000, 1, 2000, 0, 3000, 3), [key "b"] = lines(1000, 2.5) }, read(handler))
      assert.same({ [key "a"] = lines(2000, 0, 3000, 3) }, read(handler, nil, 2000, 3000))
      assert.same({}, read(handler, nil, 2001, 2999))
      assert.same({}, read(handler, nil, wire.max, wire.min))
    end)

    it("matches as Prometheus does", function()
      local odd_text = 'say "hi", \\\n日本\0\1'
      assert.equal(204, write(handler, {
        up("a", { 1 }, { 1 }),
        { labels = { __name__ = "up_again", odd = odd_text }, timestamps = { 1 }, values = { 1 } },
        { labels = { __name__ = "down", job = "b", not_job = "a" }, timestamps = { 1 }, values = { 1 } },
        { labels = { __name__ = "Upper" }, timestamps = { 1 }, values = { 1 } },
      }))
      for _, case in ipairs {
        { "up", { "=", "__name__", "up" } }, { "down up", { "=~", "__name__", "up|down" } },
        { "up up_again", { "=~", "__name__", "up.*" } }, { "Upper down up_again", { "!=", "__name__", "up" } },
        { "Upper down", { "!~", "__name__", "up.*" } }, { "up", { "=", "job", "a" } },
        { "down up", { "=~", "job", "a|b" } }, { "Upper up_again", { "=", "job", "" } },
        { "Upper up up_again", { "=~", "job", "|a" } }, { "", { "=", "job", 'say "hi", \\' } },
        { "up_again", { "=", "odd", odd_text } }, { "up_again", { "=~", "odd", "say(.|\n)*" } },
        { "", { "=", "ob", "a" } }, { "", { "=", "__name__", "nothing" } }, { "down", { "=", "job", "b" }, { "=~", "not_job", "a|c" } },
        { "", { "=", "job", "'" } }, { "", { "=", "job", "b" }, { "=", "job", "a" } },
        { "Upper down up_again", { "!=", "job", "a" }, { "=~", "__name__", ".+" } },
      } do
        local names = {}
        for found in pairs(read(handler, { case[2], case[3] })) do names[#names + 1] = found:match("__name__\255(.-)\255") end
        table.sort(names)
        assert.equal(case[1], table.concat(names, " "), table.concat(case[2], " "))
      end
    end)

    it("keeps every bit of a value", function()
      local times, expected = {}, {}
      for i, value in ipairs(odd) do times[i], expected[i] = i, lines(i, value) end
      assert.equal(204, write(handler, { up("a", times, odd) }))
      assert.same({ [key "a"] = table.concat(expected, "\n") }, read(handler))
    end)

    it("keeps any time", function()
      local digits = { "-9223372036854775808", "-9007199254740993", "-9007199254740992", "-86400001", "-1", "0", "1",
        "253402300800000", "9007199254740991", "9007199254740993", "9223372036854775806", "9223372036854775807" }
      local times, values, expected = {}, {}, {}
      for i, text in ipairs(digits) do
        times[#digits + 1 - i], values[#digits + 1 - i], expected[i] = wire.int64(text), i, lines(text, i)
      end
      assert.equal(204, write(handler, { up("a", times, values) }))
      assert.same({ [key "a"] = table.concat(expected, "\n") }, read(handler))
      for _, range in ipairs { { 1, 12 }, { 2, 2 }, { 10, 11 }, { 4, 8 }, { 12, 12 }, { 1, 1 } } do
        local first, last = range[1], range[2]
        assert.same({ [key "a"] = table.concat(expected, "\n", first, last) },
          read(handler, nil, wire.int64(digits[first]), wire.int64(digits[last])))
      end
    end)

    it("has tenants apart", function()
      local tenants = { "one", "two", "One", "../two", "%4Fne", "tenant:one", "*", "a/b", "'", "日本" }
      assert.equal(204, write(handler, { up("a", { 1 }, { 100 }) }))
      for i, tenant in ipairs(tenants) do assert.equal(204, write(handler, { up("a", { 1, i + 1 }, { i, 1 }) }, tenant)) end
      for i, tenant in ipairs(tenants) do
        assert.same({ [key "a"] = lines(1, i, i + 1, 1) }, read(handler, nil, nil, nil, tenant))
      end
      assert.same({ [key "a"] = lines(1, 100) }, read(handler))
      assert.same({}, read(handler, nil, nil, nil, "nobody"))
    end)

    it("changes nothing when a request is sent again", function()
      local times = {}
      for i = 1, #odd do times[i] = i end
      local requests = { { up("a", times, odd), up("b", { 5 }, { 1 }) },
        { up("b", { 5, 4 }, { 1, 2 }), up("a", { 1, 100 }, { odd[1], 3 }) } }
      for _, request in ipairs(requests) do assert.equal(204, write(handler, request)) end
      local before = read(handler)
      for i = 1, 6 do assert.equal(204, write(handler, requests[i % 2 + 1])) end
      assert.same(before, read(handler))
    end)

    it("refuses another value for the same time", function()
      assert.equal(204, write(handler, { up("a", { 1, 2, 3 }, { 1, 2, odd[1] }) }))
      local status, body = write(handler, { up("b", { 1 }, { 9 }), up("a", { 1, 2, 3, 4 }, { 1.5, 2, odd[2], 3 }) })
      assert.equal(400, status)
      assert.matches("refused: 2 samples: another value", body)
      assert.same({ [key "a"] = lines(1, 1, 2, 2, 3, odd[1], 4, 3), [key "b"] = lines(1, 9) }, read(handler))
      status = write(handler, { up("c", { 1, 1 }, { 1, 2 }), up("d", { 1 }, { 3 }), up("c", { 1, 2 }, { 4, 1 }) })
      assert.equal(400, status)
      local found = read(handler)
      assert.same({ lines(1, 1, 2, 1), lines(1, 3) }, { found[key "c"], found[key "d"] })
    end)

    it("keeps histograms", function()
      local labels = { __name__ = "h" }
      local one = { labels = labels, timestamps = { 1500 }, values = { 1 }, histograms = { histogram(1000, 8), histogram(2000, 9) } }
      local other = { labels = { __name__ = "i" }, timestamps = { 1000 }, values = { 2 } }
      for _ = 1, 2 do
        local status, _, body = handler:request(wire.write_v2 { one, other })
        assert.equal(204, status, body)
      end
      local function stored()
        local _, answer = wire.ask(handler, samples.ALL)
        table.sort(answer, function(a, b) return a.labels.__name__ < b.labels.__name__ end)
        for i, bytes in ipairs(answer[1].histograms or {}) do answer[1].histograms[i] = pra.encode_histogram(pra.decode_histogram(bytes)) end
        return answer
      end
      local expected = { { labels = labels, timestamps = { 1500 }, values = { 1 }, histograms = one.histograms }, other }
      assert.same(expected, stored())
      local status, _, body = handler:request(wire.write_v2 {
        { labels = labels, timestamps = { 2000 }, values = { 1 }, histograms = { histogram(1000, 7), histogram(1500, 8) } } })
      assert.equal(400, status)
      assert.matches("another value", body)
      assert.same(expected, stored())
    end)

    it("keeps exemplars", function()
      local one = up("a", { 1 }, { 1 })
      one.exemplars = { { labels = { trace_id = "x'\"" }, value = 1.5, timestamp = 77 }, { labels = {}, value = odd[1], timestamp = 77 } }
      for _ = 1, 2 do
        local status, headers, body = handler:request(wire.write_v2 { one })
        assert.equal(204, status, body)
        assert.equal("2", headers["x-prometheus-remote-write-exemplars-written"])
      end
      assert.same({ [key "a"] = lines(1, 1) }, read(handler))
    end)

    it("takes a large request", function()
      local list, expected = {}, {}
      for i = 1, 1500 do
        list[i] = up(tostring(i), { 1, 2, 3 }, { i, i / 3, -i })
        list[i].labels.more = ("m"):rep(i % 50 + 1)
        expected[pra.key(list[i].labels)] = lines(1, i, 2, i / 3, 3, -i)
      end
      assert.equal(204, write(handler, list))
      assert.same(expected, read(handler))
    end)

    it("is not disturbed by what it is refused", function()
      assert.equal(204, write(handler, {}))
      local status = handler:request { target = "/api/v1/write", headers = wire.write({}).headers, body = "nonsense" }
      assert.equal(400, status)
      assert.same({}, read(handler))
    end)

    if name == "sqlite" or name == "redis" then
      it("has everything when it is opened again", function()
        for turn = 1, 3 do
          assert.equal(204, write(handler, { up("a", { turn }, { odd[turn] }), up("b", { turn }, { 1 }) }))
          storage.close()
          open()
        end
        assert.same({ [key "a"] = lines(1, odd[1], 2, odd[2], 3, odd[3]), [key "b"] = lines(1, 1, 2, 1, 3, 1) }, read(handler))
      end)
    end
  end)
end
