-- SPDX-License-Identifier: Apache-2.0
-- A script served in Lua states of its own, by pra.serve{script=} and by `pra serve`: reload, close,
-- caps.
local system = require "system"
local program = require "program"
local wire = require "wire"

local lua, pra = os.getenv("PRA_LUA_PROGRAM"), os.getenv("PRA_PROGRAM")
local running

local function script(name, text)
  return program.write_file(name, 'local pra = require "prom_remote_api"\n' .. text)
end

local function by_module(path, options)
  local fields = {}
  for name, value in pairs(options or {}) do fields[#fields + 1] = (", %s = %s"):format(name, tostring(value)) end
  running = program.start(lua .. " " .. program.write_file("main.lua", ([[
    local pra = require "prom_remote_api"
    assert(pra.serve { script = "%s", listen = "127.0.0.1:0"%s })
    print("served")
  ]]):format(path, table.concat(fields))))
  return running
end

local flags = { workers = "web.workers", max_memory = "lua.max-memory",
  max_instructions = "lua.max-instructions" }

local function by_program(path, options)
  local words = {}
  for name, value in pairs(options or {}) do words[#words + 1] = ("--%s=%s"):format(flags[name], value) end
  running = program.start(
    ("env -u LUA_PATH -u LUA_CPATH %s serve --storage=lua:%s --web.listen-address=127.0.0.1:0 %s")
      :format(pra, path, table.concat(words, " ")))
  return running
end

local function wait_until(get)
  for _ = 1, 2400 do
    if get() then return end
    system.sleep(0.05)
  end
  error("waited in vain: " .. running:log(), 2)
end

local function count(text, what)
  local _, n = text:gsub(what, "%0")
  return n
end

local function hang_up(server)
  assert(os.execute("kill -HUP " .. server.pid))
end

local function send(server, what)
  local request = wire.write(wire.some())
  request.headers["X-Do"] = what
  local statuses, body = server:post(request)
  return statuses[1], body
end

local ways = { ["pra.serve"] = by_module, ["pra serve"] = by_program }

describe("a script", function()
  after_each(function()
    if running and not running:exit_code() then running:stop("KILL") end
    running = nil
  end)
  teardown(program.remove_files)

  -- Answers with what it is: 204 or 4xx.
  local function numbered(number, more)
    return script("numbered.lua", ([[
      local storage = { close = function() io.stderr:write("closed %d\n") end }
      function storage.write() error(pra.reject { "number %d", status = 400 + %d }) end
      %s
      return pra.serve { storage = storage }
    ]]):format(number, number, number, more or ""))
  end

  for name, start in pairs(ways) do
    describe("in " .. name, function()
      it("runs in a state per worker", function()
        local lines = program.write_file("states", "")
        local server = start(script("states.lua", ([[
          local file = io.open(%q, "a")
          file:write("state\n")
          file:close()
          return { write = function() end, close = function() io.stderr:write("closed\n") end }
        ]]):format(lines)), { workers = 3 })
        assert.equal(("state\n"):rep(3), program.read_file(lines))
        for _, status in ipairs(server:post(wire.write(wire.some(2)), 20)) do
          assert.equal(204, status)
        end
        assert.equal(0, server:stop(), server:log())
        assert.equal(3, count(server:log(), "closed"))
      end)

      it("is run again on SIGHUP", function()
        local server = start(numbered(1), { workers = 2 })
        assert.equal(401, (send(server)))
        numbered(2)
        assert.equal(401, (send(server)))
        hang_up(server)
        wait_until(function() return count(server:log(), "closed 1") == 2 end)
        assert.equal(402, (send(server)))
        assert.matches("storage script reloaded", server:log())
        assert.equal(0, server:stop(), server:log())
        assert.equal(2, count(server:log(), "closed 2"))
      end)

      it("goes on as it was where the new one does not run", function()
        local server = start(numbered(1), { workers = 2 })
        local bad = {
          ["numbered.lua:%d+: unexpected symbol"] = function() script("numbered.lua", "\nx = = 1") end,
          ["numbered.lua:%d+: not today"] = function() numbered(3, "error 'not today'") end,
          ["not its storage"] = function() script("numbered.lua", "return 7") end,
          ["binary chunk"] = function() program.write_file("numbered.lua", string.dump(function() end)) end,
          ["attempt to load a binary chunk"] = function()
            program.write_file("numbered.lua", "#!/usr/bin/lua\n" .. string.dump(function() end))
          end,
          ["other functions"] = function() numbered(4, "storage.read = function() end") end,
          ["flags"] = function() numbered(5, "storage.histograms = true") end,
          ["No such file"] = function() os.remove(program.folder .. "/numbered.lua") end,
        }
        local failures = 0
        for message, break_it in pairs(bad) do
          break_it()
          hang_up(server)
          failures = failures + 1
          wait_until(function() return count(server:log(), "not reloaded, the one before goes on") == failures end)
          assert.matches(message, server:log())
          assert.equal(401, (send(server)))
        end
        assert.equal(0, count(server:log(), "closed 1"))
        assert.equal(0, server:stop(), server:log())
      end)

      it("may set a hook of its own", function()
        local server = start(numbered(1, [[
          debug.sethook(function() end, "", 1000000)
          function storage.write() error(pra.reject { "hook", status = debug.gethook() and 421 or 422 }) end]]))
        assert.equal(421, (send(server)))
        assert.equal(0, server:stop(), server:log())
      end)

      it("is kept to its caps while it is loaded", function()
        local server = start(numbered(1), { max_memory = 20000000, max_instructions = 1000000 })
        local failures = 0
        for text, message in pairs {
          ["while true do end"] = "numbered.lua:4: more than max_instructions %(1000000%)",
          ["\nwhile true do pcall(function() while true do end end) end"] =
            "numbered.lua:5: more than max_instructions %(1000000%)",
          ["\n\nsetmetatable(storage, { __index = function() while true do end end })"] =
            "numbered.lua:6: more than max_instructions %(1000000%)",
          ["local t = {} while true do t[#t + 1] = ('x'):rep(900) .. #t end"] = "more than max_memory %(20000000 bytes%)",
        } do
          numbered(2, text)
          hang_up(server)
          failures = failures + 1
          wait_until(function() return count(server:log(), "not reloaded, the one before goes on") == failures end)
          assert.matches(message .. " while it was loaded", server:log())
          assert.equal(401, (send(server)))
        end
        numbered(3)
        hang_up(server)
        wait_until(function() return server:log():find("script reloaded") end)
        assert.equal(403, (send(server)))
        assert.equal(0, server:stop(), server:log())
      end)

      it("may be stopped while it is loaded again", function()
        local server = start(numbered(1), { workers = 2 })
        numbered(2, [[
          io.stderr:write("loading\n")
          if jit then jit.off() end -- compiled loops do not look
          coroutine.wrap(function() while true do end end)()
        ]])
        hang_up(server)
        wait_until(function() return server:log():find("loading") end)
        assert.equal(0, server:stop(), server:log())
        assert.matches("numbered.lua:%d+: a signal to stop came while it was loaded", server:log())
        assert.equal(2, count(server:log(), "closed 1"))
      end)

      it("loses no request while it is run again and again", function()
        local server = start(script("busy.lua", [[
          return { write = function(_, request)
            for series in request:series() do assert(series.labels.__name__ == "up") end
          end, close = function() end }
        ]]), { workers = 4 })
        local stop = program.folder .. "/stop"
        local shell = io.popen(("while [ ! -e %s ] && kill -HUP %s; do sleep 0.02; done"):format(stop, server.pid))
        local rounds, reloads = 0, 0
        repeat
          local statuses = server:post(wire.write(wire.some(20)), 100)
          assert.equal(100, #statuses)
          for _, status in ipairs(statuses) do assert.equal(204, status, server:log()) end
          rounds, reloads = rounds + 1, count(server:log(), "storage script reloaded")
        until rounds >= 4 and reloads >= 20
        program.write_file("stop", "")
        shell:close()
        os.remove(stop)
        assert.equal(0, server:stop(), server:log())
      end)

      it("is ended before it is run again once more", function()
        local hold = program.folder .. "/hold"
        local server = start(script("slow.lua", ([[
          io.stderr:write("loads\n")
          while io.open(%q) do collectgarbage() end
          return { write = function() end, close = function() io.stderr:write("closed\n") end }
        ]]):format(hold)), { workers = 1 })
        program.write_file("hold", "")
        hang_up(server)
        wait_until(function() return count(server:log(), "loads") == 2 end)
        hang_up(server)
        assert(os.execute("kill -TERM " .. server.pid))
        os.remove(hold)
        wait_until(function() return server:exit_code() end)
        assert.equal(0, server:exit_code(), server:log())
        assert.equal(2, count(server:log(), "loads"))
        -- The signal may end the second one while it loads; else it is done before.
        local ended = count(server:log(), "a signal to stop came while it was loaded")
        assert.equal(2 - ended, count(server:log(), "closed"), server:log())
      end)

      it("may fail to close", function()
        local server = start(numbered(1, "storage.close = function() error 'stuck' end"), { workers = 1 })
        hang_up(server)
        wait_until(function() return server:log():find("stuck") end)
        assert.equal(401, (send(server)))
        assert.equal(0, server:stop(), server:log())
      end)

      local greedy = [[
        local function burn() while true do end end
        local function fill() local t = {} for i = 1, 1e9 do t[i] = { i } end end
        local kept = coroutine.wrap(function() while true do coroutine.yield() burn() end end)
        kept()
        local ways = {
          burn = burn,
          fill = fill,
          held = function() while true do pcall(burn) end end,
          held_twice = function() while true do pcall(pcall, burn) end end,
          returned = function() return (select("#", pcall(burn))) end,
          fill_held = function() while true do pcall(fill) end end,
          coroutine = function()
            while true do coroutine.resume(coroutine.create(burn)) end
          end,
          earlier_coroutine = kept,
          tower = function()
            local function up(level)
              while level < 50 do coroutine.wrap(function() pcall(up, level + 1) end)() end
              burn()
            end
            up(1)
          end,
          handled = function()
            pcall(pcall, pcall, pcall, pcall, print) -- so that what a call takes is there
            xpcall(burn, burn)
          end,
          unwound = function() while true do xpcall(burn, error) end end,
          sorted = function() table.sort({ 3, 2, 1 }, function() burn() end) end,
        }
        return { threads = 1, write = function(ctx) (ways[ctx:header("x-do")] or print)() end }
      ]]

      it("is kept to its caps", function()
        local server = start(script("greedy.lua", greedy), { max_memory = 20000000, max_instructions = 1000000 })
        for _, what in ipairs { "burn", "fill", "held", "held_twice", "returned", "fill_held",
          "coroutine", "earlier_coroutine", "tower", "handled", "unwound", "sorted" } do
          local status, body = send(server, what)
          assert.equal(503, status, what)
          assert.matches("more than max_%a+ %(%d+.-%) in one call", body)
          assert.equal(204, (send(server, "nothing")), what)
        end
        assert.matches("greedy.lua:%d+: more than max_instructions", server:log())
        assert.equal(0, server:stop(), server:log())
      end)

      it("can have either cap alone", function()
        local path = script("greedy.lua", greedy)
        local server = start(path, { max_instructions = 100000 })
        assert.equal(503, (send(server, "burn")))
        assert.equal(0, server:stop(), server:log())
        server = start(path, { max_memory = 1000000 })
        for _ = 1, 3 do
          assert.equal(503, (send(server, "fill")))
          assert.equal(503, (send(server, "fill_held")))
          assert.equal(204, (send(server, "nothing")))
        end
        assert.equal(0, server:stop(), server:log())
      end)

      it("may make garbage beyond its cap", function()
        local server = start(script("garbage.lua", [[
          return { threads = 1, write = function()
            for i = 1, 20000 do local s = ("x"):rep(1000) .. i end
          end }
        ]]), { max_memory = 8000000 })
        for _ = 1, 3 do assert.equal(204, (send(server))) end
        assert.equal(0, server:stop(), server:log())
      end)

      it("shows how it fares in /metrics", function()
        local server = start(script("greedy.lua", greedy), { workers = 3, max_instructions = 100000 })
        send(server, "burn")
        hang_up(server)
        wait_until(function() return server:log():find("script reloaded") end)
        local _, text = program.run(("env -u LD_PRELOAD curl -s -m 60 http://127.0.0.1:%s/metrics"):format(server.port))
        assert.matches("\npra_lua_states 1\n", text)
        assert.matches('\npra_lua_reloads_total{result="done"} 1\n', text)
        assert.matches('\npra_lua_reloads_total{result="failed"} 0\n', text)
        assert.matches('\npra_lua_capped_calls_total{cap="instructions"} 1\n', text)
        assert.equal(0, server:stop(), server:log())
      end)
    end)
  end

  it("in pra serve may be stopped while it is loaded first", function()
    running = program.start(pra .. " serve --storage=lua:"
      .. program.write_file("endless.lua", 'io.stderr:write("loading 1\\n") while true do end'), "loading (%d)")
    assert.equal(1, running:stop(), running:log())
    assert.matches("endless.lua:1: a signal to stop came while it was loaded", running:log())
  end)

  describe("in pra.serve", function()
    it("is reported if it takes too much", function()
      local code, output = program.run(lua .. " " .. program.write_file("main.lua", ([[
        print(require("prom_remote_api").serve {
          script = "%s", listen = "127.0.0.1:0", max_instructions = 100000, max_memory = 20000000 })
      ]]):format(program.write_file("endless.lua", "while true do end"))))
      assert.equal(0, code, output)
      assert.matches("^nil\t[^\n]-endless.lua:1: more than max_instructions %(100000%) while it was loaded\t%-%d+\n", output)
    end)

    it("is reported if it does not run", function()
      for text, message in pairs {
        ["x = = 1"] = "unexpected symbol",
        ["error 'not today'"] = "not today",
        ["require('prom_remote_api.strict').relabel { {} }"] = "target_label is missing",
        ["return 7"] = "not its storage",
        ["return { write = print, threads = 0 }"] = "threads",
        ["return { write = print, close = 1 }"] = "storage.close is a number",
      } do
        local code, output = program.run(lua .. " " .. program.write_file("main.lua", ([[
          print(require("prom_remote_api").serve { script = "%s", listen = "127.0.0.1:0" })
        ]]):format(program.write_file("bad.lua", text))))
        assert.equal(0, code, output)
        assert.matches("^nil\t[^\n]-" .. message .. "[^\n]-\t%-%d+\n", output)
      end
    end)

    it("is closed where serve fails", function()
      local code, output = program.run(lua .. " " .. program.write_file("main.lua", ([[
        print(require("prom_remote_api").serve { script = "%s", workers = 2, listen = "nowhere" })
        print("after")
      ]]):format(numbered(1))))
      assert.equal(0, code, output)
      assert.matches("closed 1\nclosed 1\n", output)
    end)

    it("cannot stand beside a storage", function()
      local code, output = program.run(lua .. " " .. program.write_file("main.lua", [[
        print(pcall(require("prom_remote_api").serve, { script = "x", storage = {} }))
      ]]))
      assert.equal(0, code, output)
      assert.matches("either a storage or a script", output)
    end)

    it("is closed after whatever signals come while it ends", function()
      local hold = program.write_file("hold", "")
      local server = by_module(script("slow.lua", ([[
        local function close()
          io.stderr:write("closed\n")
          os.execute(("kill -HUP %%d"):format(io.open("/proc/self/stat"):read("*n")))
        end
        return { close = close, write = function()
          io.stderr:write("begun\n")
          while io.open(%q) do collectgarbage() end
        end }
      ]]):format(hold)), { workers = 2, grace_ms = 100000 })
      local request = wire.write(wire.some())
      local curl = { "env -u LD_PRELOAD curl -s -m 120 -w '%{http_code}' --data-binary @" ..
        program.write_file("body", request.body) }
      for name, value in pairs(request.headers) do curl[#curl + 1] = ("-H '%s: %s'"):format(name, value) end
      curl[#curl + 1] = ("http://127.0.0.1:%s%s"):format(server.port, request.target)
      local sender = io.popen(table.concat(curl, " "))
      wait_until(function() return count(server:log(), "begun") == 1 end)
      for _, signal in ipairs { "TERM", "HUP", "INT", "TERM" } do
        assert(os.execute(("kill -%s %s"):format(signal, server.pid)))
        system.sleep(0.05) -- so that the first is not one with the last
      end
      os.remove(hold)
      assert.equal("204", sender:read("*a"))
      sender:close()
      wait_until(function() return server:exit_code() end)
      assert.equal(0, server:exit_code(), server:log())
      assert.equal(2, count(server:log(), "closed"))
      assert.matches("served", server:log())
    end)

    it("takes signals as soon as it is known to run", function()
      running = program.start(lua .. " " .. program.write_file("main.lua", ([[
        assert(require("prom_remote_api").serve { script = %q, listen = "127.0.0.1:0", workers = 2,
          ready = function() os.execute "kill -HUP $PPID" end })
        print("served")
      ]]):format(numbered(1))))
      wait_until(function() return count(running:log(), "closed 1") == 2 end)
      assert.matches("storage script reloaded", running:log())
      assert.equal(0, running:stop(), running:log())
      assert.equal(4, count(running:log(), "closed 1"))
      assert.matches("served", running:log())
    end)

    it("lets what ready raises through", function()
      local code, output = program.run(lua .. " " .. program.write_file("main.lua", ([[
        print(pcall(require("prom_remote_api").serve, { script = %q, listen = "127.0.0.1:0", workers = 1,
          ready = function() error("not ready", 0) end }))
        os.execute "kill -TERM $PPID"
        print("still here")
      ]]):format(numbered(1))))
      assert.equal(143, code, output)
      assert.matches("closed 1\n", output)
    end)

    it("stays as it is with reload = false", function()
      local server = by_module(numbered(1), { reload = false, workers = 1 })
      assert.equal(401, (send(server)))
      hang_up(server) -- the signal is what it is to any program
      wait_until(function() return server:exit_code() end)
      assert.equal(0, count(server:log(), "reloaded"))
    end)
  end)

  it("in the calling state is closed at the end", function()
    running = program.start(lua .. " " .. script("plain.lua", [[
      assert(pra.serve { listen = "127.0.0.1:0", max_instructions = 100000, storage = {
        write = function(ctx) while ctx:header("x-do") == "burn" do end end,
        close = function() io.stderr:write("closed\n") end,
      } })
    ]]))
    assert.equal(503, (send(running, "burn")))
    assert.equal(204, (send(running, "nothing")))
    assert.equal(0, running:stop(), running:log())
    assert.equal(1, count(running:log(), "closed"))
  end)

  it("in the calling state is handed what it is handed anywhere", function()
    running = program.start(lua .. " " .. script("plain.lua", [[
      local relabel = assert(pra.relabel { { target_label = "also", replacement = "here" } })
      assert(pra.serve { listen = "127.0.0.1:0", storage = { write = function(ctx, request)
        local relabelled = assert(request:relabel(relabel))
        assert(request:relabel(relabel)) -- what was made once is good again
        local own = assert(pra.request())
        for series in relabelled:series() do assert(own:add(series)) end
        assert(#own == 3 and #own:encode() > 0)
        for _, labels in own:labels() do assert(labels.also == "here" and labels.instance) end
        local kept, dropped = request:map(function(labels)
          labels.to = "there"
          return labels.instance == "1" and labels or nil
        end)
        assert(#kept == 1 and dropped == 2 and #kept:encode { version = 2 } > 0)
        for series in kept:series() do assert(series:totable().labels.to == "there") end
        error(pra.reject { "as it should be", status = 422 })
      end } })
    ]]))
    local statuses, body = running:post(wire.write(wire.some(3)))
    assert.equal(422, statuses[1], running:log())
    assert.matches("as it should be", body)
    assert.equal(0, running:stop(), running:log())
  end)

  it("in the calling state has no cap of memory", function()
    local code, output = program.run(lua .. " " .. script("plain.lua", [[
      print(pcall(pra.serve, { listen = "127.0.0.1:0", max_memory = 1, storage = { write = print } }))
    ]]))
    assert.equal(0, code, output)
    assert.matches("^false\t[^\n]*max_memory", output)
  end)

  it("is not what another storage has to run again", function()
    running = program.start(pra .. " serve --storage=memory --web.listen-address=127.0.0.1:0")
    hang_up(running)
    wait_until(function() return running:log():find("nothing to reload") end)
    assert.equal(204, (send(running)))
    assert.equal(0, running:stop(), running:log())
  end)
end)
