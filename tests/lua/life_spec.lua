-- SPDX-License-Identifier: Apache-2.0
-- What stays behind, what outlives its call, and who calls whom.
local pra = require "prom_remote_api"
local wire = require "wire"

local write_request = wire.write(wire.some(5))
local read_request = wire.read { { start_ms = 0, end_ms = wire.max, matchers = { { "=", "__name__", "up" } } } }
local series = wire.some()[1]

local function registry_size()
  collectgarbage()
  collectgarbage()
  local count = 0
  for _ in pairs(debug.getregistry()) do count = count + 1 end
  return count
end

local function quiet() end

describe("nothing stays behind", function()
  local ways = {
    ["a write"] = { write_request, { write = function(_, request)
      for s in request:series() do assert(s.labels) end
    end } },
    ["a write that looks at all"] = { write_request, { write = function(_, request)
      for _, labels in request:labels() do assert(labels.__name__) end
      for _, name in request:each_label() do assert(name) end
      for s in request:series() do assert(s:totable()) end
      assert(#request.values == #request.timestamps)
      assert(request:copy())
    end } },
    ["a write that builds"] = { write_request, { write = function(_, request)
      local out = assert(request:map(function(labels) return labels end))
      assert(pra.decode(assert(out:encode())))
      assert(out:relabel(assert(pra.relabel { { regex = "job", action = "labeldrop" } })))
      assert(out:split(2))
    end } },
    ["a read by sink"] = { read_request, { process_query = function(_, query, sink)
      if query:matches(series.labels) then sink:add(series) end
    end } },
    ["a read by iterator"] = { read_request, { process_query = function()
      return coroutine.wrap(function() coroutine.yield(series) end)
    end } },
    ["an error"] = { write_request, { write = function() error("x") end } },
    ["an error in an iterator"] = { read_request, { process_query = function()
      return function() error("x") end
    end } },
    ["a wrong series"] = { read_request, { process_query = function() return { { labels = {} } } end } },
    ["a reject"] = { write_request, { write = function() error(pra.reject "x") end } },
    ["a retry"] = { read_request, { read = function() return nil, pra.retry "x" end } },
    ["out of memory"] = { write_request, { write = wire.exhaust } },
    ["a request refused before the storage"] = { { target = "/" }, { write = quiet } },
  }
  for name, way in pairs(ways) do
    it("after " .. name, function()
      local handler = assert(pra.handler { storage = way[2], log = quiet })
      local function many(n)
        for _ = 1, n do handler:request(way[1]) end
        collectgarbage()
        collectgarbage()
        return collectgarbage("count")
      end
      if jit then -- what it compiles is memory too: at first only
        many(1000)
        jit.off()
      end
      local before, registry = many(100), registry_size()
      local after = many(2000)
      if jit then jit.on() end
      -- LuaJIT's tables of weak keys and finalizers are now larger, now smaller.
      assert.is_true(after - before < (jit and 100 or 4), ("%.1f KiB more"):format(after - before))
      assert.equal(registry, registry_size())
    end)
  end

  it("of a handler", function()
    local function make()
      local handler = assert(pra.handler { storage = { write = quiet } })
      handler:request(write_request)
      assert.is_false(pcall(pra.handler, { storage = {} }))
    end
    make()
    local before = registry_size()
    for _ = 1, 100 do make() end
    assert.equal(before, registry_size())
  end)

  it("of a storage that a handler used", function()
    local weak = setmetatable({}, { __mode = "k" })
    do
      local storage = { write = quiet }
      weak[storage] = true
      local handler = assert(pra.handler { storage = storage })
      collectgarbage()
      assert.is_true(weak[storage])
      assert.equal(204, (handler:request(write_request)))
    end
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(weak))
  end)
end)

describe("what outlives its call", function()
  it("of a write raises", function()
    local kept = {}
    local handler = assert(pra.handler { storage = { write = function(ctx, request)
      kept = { ctx = ctx, request = request, next = request:series(), series = request:series()() }
    end } })
    assert.equal(204, (handler:request(write_request)))
    collectgarbage()
    local late = {
      function() return kept.ctx.tenant end,
      function() return kept.ctx.headers end,
      function() return kept.ctx:header("x") end,
      function() return kept.request:series() end,
      function() return #kept.request end,
      function() return kept.request.metadata end,
      function() return kept.request:reject(1, "x") end,
      function() return kept.next() end,
    }
    for i, f in ipairs(late) do
      local ok, message = pcall(f)
      assert.is_false(ok, i)
      assert.matches("is over", message)
    end
    assert.equal("up", kept.series.labels.__name__)
  end)

  it("of a query raises", function()
    local kept = {}
    local handler = assert(pra.handler { storage = { process_query = function(_, query, sink)
      kept = { query = query, sink = sink, matches = query.matches, matchers = query.matchers }
    end } })
    assert.equal(200, (handler:request(read_request)))
    local late = {
      function() return kept.query.start_ms end,
      function() return kept.query.matchers end,
      function() return kept.query:matches({}) end,
      function() return kept.matches(kept.query, {}) end,
      function() return kept.sink:add(series) end,
    }
    for i, f in ipairs(late) do
      local ok, message = pcall(f)
      assert.is_false(ok, i)
      assert.matches("is over", message)
    end
    assert.equal("__name__", kept.matchers[1].name)
  end)

  it("of a failed call raises as well", function()
    local kept
    local handler = assert(pra.handler { log = quiet, storage = { write = function(_, request)
      kept = request
      error("x")
    end } })
    assert.equal(500, (handler:request(write_request)))
    assert.has_error(function() return kept:series() end)
  end)

  it("raises in a later call too", function()
    local kept, message
    local handler = assert(pra.handler { storage = { write = function(_, request)
      if kept then message = select(2, pcall(kept.series, kept)) end
      kept = request
    end } })
    handler:request(write_request)
    assert.equal(204, (handler:request(write_request)))
    assert.matches("is over", message)
  end)

  it("cannot be mistaken for something else", function()
    local messages = {}
    local handler = assert(pra.handler { storage = { write = function(ctx, request)
      messages[1] = select(2, pcall(request.series, ctx))
      messages[2] = select(2, pcall(request.series, io.stdout))
      messages[3] = select(2, pcall(request.series))
    end } })
    handler:request(write_request)
    assert.equal(3, #messages)
  end)
end)

describe("who calls whom", function()
  it("a coroutine may ask a handler", function()
    local handler = assert(pra.handler { storage = { write = function() error("x") end }, log = quiet })
    local good = assert(pra.handler { storage = { write = quiet } })
    local statuses = {}
    local threads = {}
    for i = 1, 3 do
      threads[i] = coroutine.create(function()
        for _ = 1, 5 do
          statuses[#statuses + 1] = (good:request(write_request))
          coroutine.yield()
          statuses[#statuses + 1] = (handler:request(write_request))
          coroutine.yield()
        end
      end)
    end
    for _ = 1, 10 do
      for _, thread in ipairs(threads) do assert(coroutine.resume(thread)) end
    end
    assert.equal(30, #statuses)
    for _, status in ipairs(statuses) do assert.is_true(status == 204 or status == 500) end
  end)

  it("a handler made in a coroutine that is gone works", function()
    local storage = { write = quiet }
    local handler = coroutine.wrap(function() return assert(pra.handler { storage = storage }) end)()
    collectgarbage()
    collectgarbage()
    assert.equal(204, (handler:request(write_request)))
  end)

  it("a storage may ask a handler, even its own", function()
    local inner = assert(pra.handler { storage = { write = function() error(pra.reject "inner") end } })
    local outer, depth = nil, 0
    outer = assert(pra.handler { storage = { write = function(_, request)
      depth = depth + 1
      assert((inner:request(write_request)) == 400)
      if depth < 5 then assert((outer:request(write_request)) == 204) end
      assert(#request == 5)
    end } })
    assert.equal(204, (outer:request(write_request)))
    assert.equal(5, depth)
  end)

  it("a storage that asks itself without end is stopped", function()
    collectgarbage() -- so deep Lua may give up on finalizers
    collectgarbage()
    local handler
    handler = assert(pra.handler { log = quiet, storage = { write = function()
      local status = handler:request(write_request)
      if status ~= 204 then error("stopped") end
    end } })
    collectgarbage() -- Lua gives up on finalizers that come up where the stack overflows
    collectgarbage()
    assert.equal(500, (handler:request(write_request)))
  end)

  it("a finalizer may run in any of it", function()
    local handler = assert(pra.handler { storage = {
      write = function(_, request)
        for s in request:series() do
          setmetatable({}, { __gc = function() s.labels.__name__ = nil end })
          pra.key(s.labels)
        end
      end,
      process_query = function(_, query, sink)
        for i = 1, 20 do
          local s = { labels = { __name__ = "up" .. i }, timestamps = { 1 }, values = { 1 } }
          setmetatable({}, { __gc = function() s.labels.__name__ = nil end })
          query:matches(s.labels)
          sink:add(s)
        end
      end,
    } })
    collectgarbage("setpause", 1)
    collectgarbage("setstepmul", 400)
    for _ = 1, 20 do
      assert.equal(204, (handler:request(write_request)))
      handler:request(read_request)
    end
    collectgarbage("setpause", 200)
    collectgarbage("setstepmul", 100)
  end)
end)
