-- SPDX-License-Identifier: Apache-2.0
-- A storage that fails in every way, in every function: the sender gets the right status and one
-- line, the log the traceback, and the next request works.
local pra = require "prom_remote_api"
local wire = require "wire"
local unpack = table.unpack or unpack

local series = wire.some()[1]

local function write_request() return wire.write(wire.some()) end

local function read_request()
  return wire.read { { start_ms = 0, end_ms = wire.max, matchers = { { "=", "__name__", "up" } } } }
end

-- name → entry of the storage, request, and how the entry comes to run f
local places = {
  ["write"] = { "write", write_request, function(f) return f end },
  ["write, in its loop"] = { "write", write_request, function(f)
    return function(_, request) for _ in request:series() do f() end end
  end },
  ["process_query"] = { "process_query", read_request, function(f) return f end },
  ["process_query, between two series"] = { "process_query", read_request, function(f)
    return function(_, _, sink)
      sink:add(series)
      return f()
    end
  end },
  ["process_query, in its iterator"] = { "process_query", read_request, function(f)
    return function()
      local calls = 0
      return function()
        calls = calls + 1
        if calls == 2 then f() end
        return series
      end
    end
  end },
  ["process_query, in a coroutine as iterator"] = { "process_query", read_request, function(f)
    return function()
      return coroutine.wrap(function()
        coroutine.yield(series)
        f()
      end)
    end
  end },
  ["read"] = { "read", read_request, function(f) return f end },
  ["read, in an iterator"] = { "read", read_request, function(f) return function() return { function() f() end } end end },
}

local function recurse(n) return 1 + recurse(n + 1) end

local function recurse_in_c(s) return (s:gsub(".", recurse_in_c)) end

-- From Lua 5.3 on; before it, the iterators below are the only coroutines.
local iterating = false
local yieldable = coroutine.isyieldable or function() return iterating end

-- name → what is raised and what comes of it
local failures = {
  ["a string"] = { function() error("it broke") end, 500, log = "it broke" },
  ["a string without position"] = { function() error("it broke", 0) end, 500, log = "it broke" },
  ["a table"] = { function() error({ reason = 1 }) end, 500, log = "table value" },
  ["a table that tells"] = { function()
    error(setmetatable({}, { __tostring = function() return "told" end }))
  end, 500, log = "told" },
  ["a table that fails to tell"] = { function()
    error(setmetatable({}, { __tostring = function() error("x") end }))
  end, 500, log = "" },
  ["nil"] = { function() error(nil) end, 500, log = "nil value" },
  ["a mistake of the script"] = { function() local t; return t.x end, 500, log = "attempt to index" },
  ["endless recursion"] = { function() return recurse(1) end, 500, log = "stack overflow" },
  -- LuaJIT itself does not survive it
  ["endless recursion through C"] = not jit
    and { function() return recurse_in_c("a") end, 500, log = "stack overflow" } or nil,
  ["a yield"] = { function()
    if not yieldable() then coroutine.yield() end
    error("attempt to yield")
  end, 500, log = "attempt to yield" },
  ["out of memory"] = { wire.exhaust, 503, "ran out of memory", log = "not enough memory" },
  ["reject"] = { function() error(pra.reject "go away") end, 400, "go away" },
  ["reject with a status"] = { function() error(pra.reject { "no such tenant", status = 404 }) end, 404, "no such tenant" },
  ["retry"] = { function() error(pra.retry "busy") end, 503, "busy" },
  ["retry with a status"] = { function() error(pra.retry { "slow down", status = 429 }) end, 429, "slow down" },
}

for place, p in pairs(places) do
  describe(place, function()
    -- Lua gives up on a finalizer that comes up for a run on a stack that overflows: what the test
    -- before left behind has to go first.
    before_each(function()
      collectgarbage()
      collectgarbage()
    end)
    for failure, f in pairs(failures) do
      it("raises " .. failure, function()
        local logged, broken = {}, true
        local entry, request, wrap = p[1], p[2], p[3]
        local failing = wrap(f[1])
        iterating = place:find("coroutine as iterator") ~= nil
        local handler = assert(pra.handler {
          storage = { [entry] = function(...) if broken then return failing(...) end end },
          log = function(text) logged[#logged + 1] = text end,
        })
        local status, _, body = handler:request(request())
        assert.equal(f[2], status, body)
        assert.matches("^[^\n]+\n?$", body)
        if f[3] then assert.matches(f[3], body) end
        if f.log then
          assert.equal(1, #logged)
          assert.matches(f.log, logged[1])
        else
          assert.same({}, logged)
        end
        if f.log and f[2] == 500 then assert.is_nil(body:find("it broke", 1, true)) end
        broken = false
        assert.is_true((handler:request(request())) < 300)
      end)
    end
  end)
end

describe("a traceback", function()
  it("names the line and the functions", function()
    local logged
    local function helper() error("here") end
    local handler = assert(pra.handler {
      storage = { write = function() helper() end },
      log = function(text) logged = text end,
    })
    assert.equal(500, (handler:request(write_request())))
    assert.matches("errors_spec.lua:%d+: here\nstack traceback:.*helper", logged)
  end)
end)

describe("returned failures", function()
  local function returning(entry, request, ...)
    local values = { n = select("#", ...), ... }
    local logged
    local handler = assert(pra.handler {
      storage = { [entry] = function() return unpack(values, 1, values.n) end },
      log = function(text) logged = text end,
    })
    local status, _, body = handler:request(request())
    return status, body, logged
  end

  for entry, request in pairs { write = write_request, process_query = read_request, read = read_request } do
    it("of " .. entry .. " are failures", function()
      local status, _, logged = returning(entry, request, nil, "disk full")
      assert.equal(500, status)
      assert.matches("disk full", logged)
      assert.equal(500, (returning(entry, request, false)))
      local body
      status, body = returning(entry, request, nil, pra.retry "later")
      assert.equal(503, status)
      assert.matches("later", body)
      assert.equal(400, (returning(entry, request, false, pra.reject "never")))
      assert.equal(400, (returning(entry, request, pra.reject "never")))
      assert.equal(503, (returning(entry, request, pra.retry "later")))
    end)
  end

  it("of iterators are failures", function()
    for _, entry in ipairs { "process_query", "read" } do
      local function ended(...)
        local values, given = { n = select("#", ...), ... }, false
        local function iterator()
          if given then return unpack(values, 1, values.n) end
          given = true
          return { labels = { __name__ = "up" }, timestamps = { 1 }, values = { 1 } }
        end
        return returning(entry, read_request, entry == "read" and { iterator } or iterator)
      end
      assert.equal(200, (ended(nil)))
      local status, _, logged = ended(nil, "the disk is gone")
      assert.equal(500, status)
      assert.matches("the disk is gone", logged)
      assert.equal(500, (ended(false)))
      assert.equal(503, (ended(nil, pra.retry "later")))
      assert.equal(503, (ended(pra.retry "later")))
    end
  end)

  it("may ask for a delay", function()
    for _, after in ipairs { 30, 60 / 2 } do
      local handler = assert(pra.handler { storage = { write = function()
        error(pra.retry { "later", status = 858 / 2, after = after })
      end } })
      local status, headers = handler:request(write_request())
      assert.equal(429, status)
      assert.equal("30", headers["retry-after"])
    end
  end)

  it("have to be what they say", function()
    assert.has_error(function() pra.reject { "x", status = 500 } end)
    assert.has_error(function() pra.reject { "x", status = 429 } end)
    assert.has_error(function() pra.retry { "x", status = 404 } end)
    assert.has_error(function() pra.retry { "x", status = 200 } end)
    assert.has_error(function() pra.retry { "x", after = -1 } end)
    assert.has_error(function() pra.retry { "x", after = 1.5 } end)
    assert.equal("why", tostring(pra.reject "why"))
  end)
end)

describe("wrong answers of process_query", function()
  local good = { labels = { a = "b" }, timestamps = { 1 }, values = { 1 } }
  local wrong = {
    ["a number"] = 7,
    ["a string"] = "x",
    ["a list of numbers"] = { 7 },
    ["a series without labels"] = { { timestamps = { 1 }, values = { 1 } } },
    ["a series without values"] = { { labels = { a = "b" }, timestamps = { 1 } } },
    ["columns of different lengths"] = { { labels = { a = "b" }, timestamps = { 1, 2 }, values = { 1 } } },
    ["a timestamp with a fraction"] = { { labels = { a = "b" }, timestamps = { 1.5 }, values = { 1 } } },
    ["a timestamp that is none"] = { { labels = { a = "b" }, timestamps = { {} }, values = { 1 } } },
    ["a value that is none"] = { { labels = { a = "b" }, timestamps = { 1 }, values = { {} } } },
    ["a label that is a number"] = { { labels = { a = 1 }, timestamps = { 1 }, values = { 1 } } },
    ["a list of labels"] = { { labels = { "a", "b" }, timestamps = { 1 }, values = { 1 } } },
    ["a label without name"] = { { labels = { [""] = "b" }, timestamps = { 1 }, values = { 1 } } },
    ["a label that is not UTF-8"] = { { labels = { a = "\255" }, timestamps = { 1 }, values = { 1 } } },
  }
  for name, answer in pairs(wrong) do
    it("are a 500: " .. name, function()
      local logged
      local handler = assert(pra.handler {
        storage = { process_query = function(_, _, sink)
          sink:add(good)
          return answer
        end },
        log = function(text) logged = text end,
      })
      assert.equal(500, (handler:request(read_request())))
      assert.matches("stack traceback", logged)
    end)
  end

  it("beyond the limit of samples are the reader's fault", function()
    local handler = assert(pra.handler {
      storage = { process_query = function()
        return function() return { labels = { a = "b" }, timestamps = { 1, 2 }, values = { 1, 2 } } end
      end },
      limits = { max_read_samples = 10 },
    })
    local status, _, body = handler:request(read_request())
    assert.equal(400, status)
    assert.matches("sample", body)
  end)
end)

describe("a log that fails", function()
  it("changes nothing", function()
    local handler = assert(pra.handler {
      storage = { write = function() error("x") end },
      log = function() error("y") end,
    })
    assert.equal(500, (handler:request(write_request())))
  end)
end)

it("refuses a handler that it cannot make", function()
  assert.has_error(function() pra.handler { storage = { write = print, close = 1 } } end)
  assert.has_error(function() pra.handler { storage = { write = print }, max_memory = 1 } end)
end)

describe("what a handler is given", function()
  local handler = assert(pra.handler { storage = { write = function() end } })

  it("has to be of the right type", function()
    for name, wrong in pairs { method = io.stdout, target = 5, headers = io.stdout, remote_addr = {}, user = true } do
      assert.error_matches(function() handler:request { [name] = wrong } end, name .. " of a request")
    end
    assert.error_matches(function() handler:request(io.stdout) end, "a request is a table")
    assert.error_matches(function() handler:request() end, "a request is a table")
    local x = assert(handler:exchange())
    x:begin { target = "/api/v1/write" }
    assert.error_matches(function() x:feed(io.stdout) end, "a piece of a body")
    assert.error_matches(function()
      pra.handler { storage = { write = function() end }, tenant_header = io.stdout }
    end, "tenant_header")
  end)

  it("leaves no global behind", function()
    assert.is_nil(rawget(_G, "swig_type"))
    assert.is_nil(rawget(_G, "swig_equals"))
  end)
end)
