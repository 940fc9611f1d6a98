-- SPDX-License-Identifier: Apache-2.0
-- pra.serve in a plain interpreter, and scripts in `pra serve`, spoken to over HTTP.
local program = require "program"
local wire = require "wire"

local lua = os.getenv("PRA_LUA_PROGRAM")
local pra = os.getenv("PRA_PROGRAM")
local example = os.getenv("PRA_ROOT") .. "/lua/examples/memory_backend.lua"
local running

local function interpret(path)
  running = program.start(lua .. " " .. path)
  return running
end

-- pra knows the module without any path.
local function serve(path, flags)
  running = program.start(("env -u LUA_PATH -u LUA_CPATH %s serve --storage=lua:%s --web.listen-address=127.0.0.1:0 %s")
    :format(pra, path, flags or ""))
  return running
end

local function script(name, text) return program.write_file(name, 'local pra = require "prom_remote_api"\n' .. text) end

local function example_on_any_port()
  local text, count = program.read_file(example):gsub('"127.0.0.1:9201"', '"127.0.0.1:0"')
  assert.equal(1, count)
  return program.write_file("memory_backend.lua", text)
end

local function round_trip(server)
  local sent = wire.some(3)
  assert.same({ 204 }, (server:post(wire.write(sent))))
  assert.same({ 204 }, (server:post(wire.write(sent, { ["X-Scope-OrgID"] = "other" }))))
  local status, answer = server:ask { { "=", "__name__", "up" }, { "!=", "instance", "1" } }
  assert.equal(200, status)
  table.sort(answer, function(a, b) return a.labels.instance < b.labels.instance end)
  assert.same({ sent[1], sent[3] }, answer)
  assert.same({ 200, {} }, { server:ask({ { "=", "__name__", "up" } }, { ["X-Scope-OrgID"] = "third" }) })
end

describe("serving:", function()
  after_each(function()
    if running and not running:exit_code() then running:stop("KILL") end
    running = nil
  end)
  teardown(program.remove_files)

  describe("the example", function()
    it("fits on a page", function()
      local _, lines = program.read_file(example):gsub("\n", "\n")
      assert.is_true(lines <= 25)
    end)

    for _, signal in ipairs { "TERM", "INT" } do
      it("runs in a plain interpreter until SIG" .. signal, function()
        local server = interpret(example_on_any_port())
        round_trip(server)
        assert.equal(0, server:stop(signal), server:log())
      end)
    end

    it("takes many requests at once", function()
      for _, start in ipairs { interpret, serve } do
        local server = start(example_on_any_port())
        local statuses = server:post(wire.write(wire.some(50)), 40)
        assert.equal(40, #statuses)
        for _, status in ipairs(statuses) do assert.equal(204, status) end
        local _, answer = server:ask { { "=", "__name__", "up" } }
        assert.equal(50, #answer)
        assert.equal(0, server:stop(), server:log())
      end
    end)

    for _, path in ipairs { example, (example:gsub("memory", "histograms")) } do
      it("runs in pra serve: " .. path:match("[^/]+$"), function()
        local server = serve(path)
        round_trip(server)
        assert.equal(0, server:stop(), server:log())
      end)
    end
  end)

  describe("a storage of histograms", function()
    local text = [[
      local kept
      local storage = { threads = 1, histograms = true, exemplars = true }
      function storage.write(_, request)
        for series, number in request:series() do
          if #series.exemplars == 1 then kept = series else request:reject(number, "no exemplar") end
        end
      end
      function storage.process_query() return { kept } end
      return assert(pra.serve { listen = "127.0.0.1:0", storage = storage, max_concurrent_reads = 2 })
    ]]

    for name, start in pairs { ["pra.serve"] = interpret, ["pra serve"] = serve } do
      it("works in " .. name, function()
        local server = start(script("histograms.lua", text))
        local exemplars = { { labels = {}, value = 1.0, timestamp = 7 } }
        local series = { labels = { __name__ = "up" }, exemplars = exemplars, raw = wire.histogram(7) }
        assert.same({ 204 }, (server:post(wire.write { series })))
        series.exemplars[2] = exemplars[1]
        assert.same({ 400 }, (server:post(wire.write { series })))
        local status, answer = server:ask { { "=", "__name__", "up" } }
        assert.equal(200, status)
        assert.equal(1, #answer[1].histograms)
        assert.equal(0, server:stop(), server:log())
      end)
    end
  end)

  describe("a script that fails", function()
    local text = [[
      local count = 0
      local function recurse(s) return (s:gsub(".", recurse)) end
      local ways = {
        function() error("a plain error") end,
        function() if jit then error("as below") else recurse("x") end end, -- LuaJIT does not survive it
        function() local function f() return 1 + f() end f() end,
        dofile(os.getenv("PRA_ROOT") .. "/tests/lua/exhaust.lua"),
        function() error(pra.reject "not this") end,
      }
      local function write()
        count = count + 1
        if ways[count] then ways[count]() end
      end
      return assert(pra.serve { listen = "127.0.0.1:0", storage = { write = write, threads = 1 } })
    ]]

    for name, start in pairs { ["pra.serve"] = interpret, ["pra serve"] = serve } do
      it("leaves the server at work: " .. name, function()
        local server = start(script("failing.lua", text))
        local got = {}
        for i = 1, 7 do got[i] = server:post(wire.write(wire.some()))[1] end
        assert.same({ 500, 500, 500, 503, 400, 204, 204 }, got)
        assert.matches("failing.lua:%d+: a plain error", server:log())
        assert.matches("stack traceback", server:log())
        assert.equal(0, server:stop(), server:log())
      end)
    end

    it("at its start ends pra serve", function()
      for text, message in pairs {
        ["x = = 1"] = "unexpected symbol",
        ["error('not today')"] = "not today",
        ["return 7"] = "not its storage",
        ["return {}"] = "none of the functions",
        ["return assert(require('prom_remote_api').serve { storag = {} })"] = "bad.lua:1: no such option: storag",
        ["return assert(require('prom_remote_api').serve { script = 'x' })"] = "bad.lua:1: in the script of a server, serve needs",
        ["return { write = print, threads = 0 }"] = "threads",
      } do
        local code, output = program.run(("%s serve --storage=lua:%s --web.listen-address=127.0.0.1:0")
          :format(pra, program.write_file("bad.lua", text)))
        assert.equal(1, code, output)
        assert.matches(message, output)
      end
    end)

    it("to get its address says so", function()
      local code, output = program.run(lua .. " " .. script("address.lua",
        "print(pra.serve { listen = 'nowhere', storage = { write = print } })"))
      assert.equal(0, code)
      assert.matches("^nil\t[^\n]+\t%-%d+\n", output)
    end)
  end)

  describe("pra serve", function()
    -- Each state leaves a line, and answers with its own count of writes.
    local text = [[
      local threads, path = %s, "%s"
      local file = io.open(path, "a")
      file:write("state\n")
      file:close()
      return { threads = threads, write = function() end }
    ]]

    for threads, expected in pairs { ["nil"] = 3, ["1"] = 1, ["2"] = 2, ["9"] = 3 } do
      it("makes " .. expected .. " states of 3 workers and threads = " .. threads, function()
        local lines = program.write_file("states" .. threads, "")
        local server = serve(program.write_file("states.lua", text:format(threads, lines)), "--web.workers=3")
        local statuses = server:post(wire.write(wire.some(2)), 20)
        assert.equal(20, #statuses)
        for _, status in ipairs(statuses) do assert.equal(204, status) end
        assert.equal(("state\n"):rep(expected), program.read_file(lines))
        assert.equal(0, server:stop(), server:log())
      end)
    end
  end)
end)
