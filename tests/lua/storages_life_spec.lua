-- SPDX-License-Identifier: Apache-2.0
-- Storages that something happens to: other writers, the end of a process, a server that is away.
local pra = require "prom_remote_api"
local program = require "program"
local redis_server = require "redis_server"
local samples = require "samples"
local wire = require "wire"

local key, lines, read, up, write = samples.key, samples.lines, samples.read, samples.up, samples.write
local lua = os.getenv("PRA_LUA_PROGRAM")
local folder = program.folder

local function handler_of(storage) return assert(pra.handler { storage = storage }) end

-- A process that writes a sample of its own series and one of all at each of `count` times, each until it is taken;
-- "acknowledged" follows. `open` is Lua that gives the storage.
local function writer(open, count, name)
  return program.write_file(("writer%s.lua"):format(name), ([[
    local pra = require "prom_remote_api"
    local samples = require "samples"
    local handler = assert(pra.handler { storage = %s })
    for i = 1, %s do
      repeat
        local status, body = samples.write(handler, { samples.up("%s", { i }, { i }), samples.up("all", { i }, { i }) })
        if status ~= 204 and status ~= 503 then error(body) end
      until status == 204
      io.stdout:write("acknowledged ", i, "\n")
      io.stdout:flush()
    end]]):format(open, count, name))
end

-- Four of them at a time.
local function write_together(open)
  local commands = {}
  for i = 1, 4 do commands[i] = ("(%s %s || echo failed) &"):format(lua, writer(open, "25", i)) end
  local _, output = program.run(table.concat(commands, " ") .. " wait")
  assert.not_matches("failed", output)
end

local function assert_all_of_them(found)
  local list = {}
  for i = 1, 25 do list[i] = lines(i, i) end
  local expected = table.concat(list, "\n")
  assert.same({ [key "1"] = expected, [key "2"] = expected, [key "3"] = expected, [key "4"] = expected,
    [key "all"] = expected }, found)
end

local function acknowledged(log) return tonumber(log:match(".*acknowledged (%d+)\n")) end

local function assert_acknowledged(log, found)
  local count, list = acknowledged(log), {}
  assert.is_true(count >= 30)
  for i = 1, count do list[i] = lines(i, i) end
  local expected = table.concat(list, "\n")
  for _, job in ipairs { "x", "all" } do assert.equal(expected, found[key(job)]:sub(1, #expected)) end
end

teardown(function()
  program.kill_all()
  program.remove_files()
end)

describe("memory", function()
  local memory = require "prom_remote_api.storages.memory"

  it("holds what it is told to, and no more", function()
    local storage = memory.new { max_samples = 4 }
    local handler = handler_of(storage)
    assert.equal(204, write(handler, { up("a", { 1, 2, 3 }, { 1, 2, 3 }) }))
    local status, headers, body = handler:request(require("wire").write { up("a", { 4, 5 }, { 4, 5 }) })
    assert.same({ 503, "30", "the memory is full: 3 samples\n" }, { status, headers["retry-after"], body })
    assert.equal(204, write(handler, { up("b", { 4 }, { 4 }) }))
    assert.equal(4, storage.count())
    assert.equal(2, #storage.all())
    storage.clear()
    assert.same({}, read(handler))
    assert.equal(204, write(handler, { up("a", { 4 }, { 5 }) }))
    assert.same({ { labels = { __name__ = "up", job = "a" }, timestamps = { 4 }, values = { 5 },
      histograms = {}, exemplars = {} } }, storage.all())
  end)
end)

describe("sqlite", function()
  if not pcall(require, "luasql.sqlite3") then
    pending("needs LuaSQL")
    return
  end
  local sqlite = require "prom_remote_api.storages.sqlite"

  local function opening(path) return ('require("prom_remote_api.storages.sqlite").new(%q)'):format(path) end

  it("needs a file", function()
    for _, path in ipairs { "", ":memory:", folder, folder .. "/none/x.db" } do
      assert.has_error(function() sqlite.new(path) end)
    end
    assert.has_error(function() sqlite.new() end)
    local text = program.write_file("text.db", ("no database "):rep(100))
    assert.has_error(function() sqlite.new(text) end)
  end)

  it("makes the file of Python's SQLiteStorage", function()
    local function plain(statement) return (statement:gsub("IF NOT EXISTS ", ""):gsub("%s+", " ")) end
    local path = folder .. "/same.db"
    sqlite.new(path)
    local source = program.read_file(os.getenv("PRA_ROOT") .. "/python/prom_remote_api/storages/sqlite.py")
    local expected, found = {}, {}
    for statement in source:gmatch("\n(CREATE [^;]+);") do expected[#expected + 1] = plain(statement) end
    local db = require("luasql.sqlite3").sqlite3():connect(path)
    local cursor = db:execute "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"
    for statement in function() return cursor:fetch() end do found[#found + 1] = plain(statement) end
    db:close()
    assert.equal(4, #found)
    assert.same(expected, found)
    local text = require "prom_remote_api.storages.text"
    assert.equal([[{"a":"\"\\\n\r\t\b\f\u0000\u001f]] .. "\127ü日" .. [[","b":""}]],
      text.json { b = "", a = '"\\\n\r\t\b\f\0\31\127ü日' })
  end)

  it("has many writers", function()
    local path = folder .. "/together.db"
    write_together(opening(path))
    local storage = sqlite.new(path)
    assert_all_of_them(read(handler_of(storage)))
    storage.close()
  end)

  -- As Python's SQLiteStorage does with a retention, in another process.
  it("hears of series that others delete", function()
    local path = folder .. "/deleted.db"
    local storage = sqlite.new(path)
    local handler = handler_of(storage)
    for i = 1, 3 do
      assert.equal(204, write(handler, { up("a", { i }, { i }), up("last", { i }, { i }) }))
      local db = require("luasql.sqlite3").sqlite3():connect(path)
      for _, statement in ipairs { "BEGIN", "DELETE FROM samples",
        "DELETE FROM series WHERE id < (SELECT max(id) FROM series)", "PRAGMA user_version = " .. i, "COMMIT" } do
        local result = assert(db:execute(statement))
        if type(result) == "userdata" then result:close() end
      end
      db:close()
    end
    assert.equal(204, write(handler, { up("a", { 9 }, { 9 }), up("last", { 9 }, { 8 }) }))
    assert.same({ [key "a"] = lines(9, 9), [key "last"] = lines(9, 8) }, read(handler))
    storage.close()
  end)

  -- SQLite refuses at once to switch to the log, whatever the timeout.
  it("waits for another that makes the file", function()
    local path = folder .. "/opened.db"
    local other = require("luasql.sqlite3").sqlite3():connect(path)
    assert(other:execute "BEGIN IMMEDIATE")
    local opener = program.write_file("opener.lua", ([[
      print("opening 1")
      io.stdout:flush()
      local storage = %s
      print "opened"]]):format(opening(path)))
    local running = program.start(lua .. " " .. opener, "opening (%d)")
    require("system").sleep(0.3)
    assert.is_nil(running:exit_code(), running:log())
    assert(other:execute "COMMIT")
    other:close()
    program.wait_until(function() return running:log() end, function() return running:exit_code() end)
    assert.matches("opened", running:log())
  end)

  it("has on the disk what it acknowledged", function()
    local path = folder .. "/killed.db"
    local running = program.start(lua .. " " .. writer(opening(path), "math.huge", "x"), "(acknowledged 30)")
    running:stop("KILL")
    local storage = sqlite.new(path)
    assert_acknowledged(running:log(), read(handler_of(storage)))
    storage.close()
  end)

  it("asks for another try where another one writes for too long", function()
    local path = folder .. "/locked.db"
    local storage = sqlite.new(path, { timeout = 0.05 })
    local handler = handler_of(storage)
    assert.equal(204, write(handler, { up("a", { 1 }, { 1 }) }))
    local other = require("luasql.sqlite3").sqlite3():connect(path)
    assert(other:execute "BEGIN IMMEDIATE")
    local status, body = write(handler, { up("a", { 2 }, { 2 }) })
    assert.equal(503, status)
    assert.matches("locked", body)
    assert.same({ [key "a"] = lines(1, 1) }, read(handler))
    assert(other:execute "COMMIT")
    assert.equal(204, write(handler, { up("a", { 2 }, { 2 }), up("new", { 2 }, { 2 }) }))
    assert.same({ [key "a"] = lines(1, 1, 2, 2), [key "new"] = lines(2, 2) }, read(handler))
    other:close()
    storage.close()
  end)

  if pra.face ~= "ffi" then -- which has no caps
    it("lets go of the file after a call that a cap has ended", function()
      local path = folder .. "/capped.db"
      local storage, other = sqlite.new(path), sqlite.new(path, { timeout = 0.05 })
      local handler = assert(pra.handler { storage = storage, max_instructions = 200000, log = function() end })
      local many = {}
      for i = 1, 3000 do many[i] = up(tostring(i), { 1 }, { 1 }) end
      assert.equal(503, (write(handler, many)))
      assert.equal(503, (write(handler_of(other), { up("b", { 1 }, { 1 }) })))
      assert.equal(204, write(handler, { up("a", { 1 }, { 1 }) }))
      assert.equal(204, write(handler_of(other), { up("b", { 1 }, { 1 }) }))
      assert.equal(503, (write(handler, many)))
      assert.same({ [key "a"] = lines(1, 1), [key "b"] = lines(1, 1) }, read(handler))
      assert.equal(204, write(handler_of(other), { up("b", { 2 }, { 1 }) }))
      assert.equal(503, (write(handler, many)))
      storage.close()
      assert.equal(204, write(handler_of(other), { up("b", { 3 }, { 1 }) }))
      other.close()
    end)
  end

  it("asks for another try while the disk is full", function()
    local real, db = require "luasql.sqlite3", nil
    package.loaded["luasql.sqlite3"] = { sqlite3 = function()
      return { connect = function(_, ...)
        db = assert(real.sqlite3():connect(...))
        return db
      end }
    end }
    finally(function() package.loaded["luasql.sqlite3"] = real end)
    local function room(pages) assert(db:execute("PRAGMA max_page_count = " .. pages)):close() end
    local storage = sqlite.new(folder .. "/full.db")
    local handler = handler_of(storage)
    assert.equal(204, write(handler, { up("a", { 1 }, { 1 }) }))
    room(20)
    local times, values = {}, {}
    for i = 1, 10000 do times[i], values[i] = i + 10, i + 0.5 end
    for _ = 1, 2 do
      local status, body = write(handler, { up("new", { 1 }, { 1 }), up("a", times, values) })
      assert.equal(503, status)
      assert.matches("disk is full", body)
      assert.same({ [key "a"] = lines(1, 1) }, read(handler))
    end
    assert.equal(204, write(handler, { up("new", { 2 }, { 2 }) })) -- that one has room
    room(100000)
    assert.equal(204, write(handler, { up("a", { 20000 }, { 3 }) }))
    assert.same({ [key "a"] = lines(1, 1, 20000, 3), [key "new"] = lines(2, 2) }, read(handler))
    storage.close()
  end)

  it("fails where the file is damaged, and goes on", function()
    local path = folder .. "/damaged.db"
    local storage = sqlite.new(path)
    local times, values = {}, {}
    for i = 1, 1000 do times[i], values[i] = i, i + 0.5 end
    assert.equal(204, write(handler_of(storage), { up("a", times, values) }))
    storage.close()
    local file = assert(io.open(path, "r+b"))
    local size = file:seek "end"
    file:seek("set", 4096) -- all but the schema
    file:write(("\165"):rep(size - 4096))
    file:close()
    storage = sqlite.new(path)
    local said = {}
    local handler = assert(pra.handler { storage = storage, log = function(text) said[#said + 1] = text end })
    for _ = 1, 2 do
      assert.equal(500, (write(handler, { up("a", { 2000 }, { 1 }) })))
      assert.equal(500, (handler:request(wire.read { { start_ms = 0, end_ms = wire.max, matchers = samples.ALL } })))
    end
    assert.equal(4, #said)
    for _, text in ipairs(said) do assert.matches("malformed", text) end
    storage.close()
    assert.has_error(function() sqlite.new(program.write_file("other.db", ("x"):rep(5000))) end)
  end)

  it("takes all of a request or nothing", function()
    local path = folder .. "/whole.db"
    local storage = sqlite.new(path)
    local handler = assert(pra.handler { storage = storage, log = function() end })
    local other = require("luasql.sqlite3").sqlite3():connect(path)
    assert(other:execute [[CREATE TRIGGER no BEFORE INSERT ON samples WHEN new.timestamp = 13
      BEGIN SELECT raise(FAIL, 'thirteen'); END]])
    assert.equal(500, (write(handler, { up("a", { 12 }, { 1 }), up("b", { 14, 13 }, { 1, 1 }) })))
    assert.same({}, read(handler))
    assert.equal(204, write(handler, { up("b", { 12 }, { 1 }), up("a", { 14 }, { 1 }) }))
    assert.same({ [key "a"] = lines(14, 1), [key "b"] = lines(12, 1) }, read(handler))
    other:close()
    storage.close()
  end)
end)

describe("redis", function()
  if not redis_server.found() then
    pending("needs redis-server and LuaSocket")
    return
  end
  local resp = require "prom_remote_api.storages.resp"
  local server, admin

  -- However slow the disk is, only what is about time runs out of it.
  local function new(options)
    options.timeout = options.timeout or 600
    return require("prom_remote_api.storages.redis").new(options)
  end

  local function opening()
    return ('require("prom_remote_api.storages.redis").new { port = %d, timeout = 600 }'):format(server.port)
  end

  setup(function()
    server = redis_server.new()
    admin = resp.new { port = server.port, timeout = 600 }
  end)
  teardown(function()
    admin:close()
    server:stop()
  end)
  before_each(function() assert(admin:ask { { "FLUSHALL" } }) end)

  local function ask(...) return assert(admin:ask { { ... } })[1] end

  it("has many writers", function()
    write_together(opening())
    assert_all_of_them(read(handler_of(new { port = server.port })))
  end)

  it("is away, and comes back with what it acknowledged", function()
    local storage = new { port = server.port }
    local handler = handler_of(storage)
    assert.equal(204, write(handler, { up("a", { 1 }, { 1 }) }))
    for turn = 2, 4 do
      server:stop(turn == 3 and "TERM" or "KILL")
      if turn < 4 then -- else the connection that is kept has ended without notice
        for _ = 1, 2 do
          local status, body = write(handler, { up("a", { turn }, { turn }) })
          assert.equal(503, status)
          assert.matches("^Redis: ", body)
        end
        assert.has_error(function() read(handler) end)
      end
      server:start()
      assert.equal(204, write(handler, { up("a", { turn }, { turn }) }))
    end
    assert.same({ [key "a"] = lines(1, 1, 2, 2, 3, 3, 4, 4) }, read(handler))
    storage.close()
  end)

  it("goes away while others write", function()
    local running = program.start(lua .. " " .. writer(opening(), "math.huge", "x"), "(acknowledged 30)")
    server:stop()
    local before = acknowledged(running:log())
    server:start()
    program.wait_until(function() return running:log() end, function()
      return running:exit_code() or acknowledged(running:log()) > before + 30
    end)
    assert.is_nil(running:exit_code(), running:log())
    running:stop("KILL")
    assert_acknowledged(running:log(), read(handler_of(new { port = server.port })))
  end)

  it("says what Redis says", function()
    local storage = new { port = server.port }
    local handler = handler_of(storage)
    assert.equal(204, write(handler, { up("a", { 1 }, { 1 }) }))
    ask("CONFIG", "SET", "maxmemory", "1")
    local status, body = write(handler, { up("a", { 2 }, { 2 }) })
    assert.equal(503, status)
    assert.matches("^Redis: OOM ", body)
    ask("CONFIG", "SET", "maxmemory", "0")
    assert.equal(204, write(handler, { up("a", { 2 }, { 2 }) }))
    storage.close()
  end)

  it("is found by a path, with a password and a number", function()
    ask("CONFIG", "SET", "requirepass", "secret")
    local function storage_status(options)
      local storage = new(options)
      local status = write(handler_of(storage), { up("a", { 1 }, { 1 }) })
      storage.close()
      return status
    end
    assert.equal(503, storage_status { path = server.path })
    assert.equal(503, storage_status { path = server.path, password = "wrong" })
    assert.equal(204, storage_status { path = server.path, password = "secret", database = 3 })
    assert.equal(204, storage_status { host = "localhost", port = server.port, user = "default", password = "secret" })
    assert.equal(503, storage_status { path = server.path .. "x", password = "secret" })
    local other = resp.new { path = server.path, timeout = 600, password = "secret", database = 3 }
    assert.equal("1", assert(other:ask { { "HGET", "pra::c:1:0", "1" } })[1])
    other:close()
    ask("CONFIG", "SET", "requirepass", "")
  end)

  it("waits for no more than it is told, and for no other server", function()
    local listener = assert(require("socket").bind("127.0.0.1", 0))
    local _, port = listener:getsockname()
    local status, body = write(handler_of(new { port = port, timeout = 0.05 }), { up("a", { 1 }, { 1 }) })
    assert.same({ 503, "Redis: timeout\n" }, { status, body })
    listener:close()
    local other = program.start(lua .. " " .. program.write_file("other.lua", [[
      local server = require("socket").bind("127.0.0.1", 0)
      io.stdout:write('msg="listening" port=', (select(2, server:getsockname())), "\n")
      io.stdout:flush()
      local client = server:accept()
      client:receive("*l")
      client:send("HTTP/1.1 400 Bad Request\r\n\r\n")
      server:accept()]]))
    status, body = write(handler_of(new { port = other.port }), { up("a", { 1 }, { 1 }) })
    assert.same({ 503, "Redis: this is no Redis\n" }, { status, body })
  end)

  it("forgets what is old", function()
    local now = os.time()
    local function at(seconds) return seconds * 1000 end
    local storage = new { port = server.port, retention = 7200 }
    local handler = handler_of(storage)
    assert.equal(204, write(handler, { up("a", { at(now - 3600), at(now) }, { 1, 2 }) }))
    local ttls = ask("EVAL", [[ -- all of them at one moment
      local ttls = {}
      for i, key in ipairs(KEYS) do ttls[i] = redis.call("TTL", key) end
      return ttls]], "7", "pra::c:1:" .. ("%d"):format(math.floor(now / 1000)), "pra::all", "pra::s:" .. key "a",
      "pra::l:1", "pra::w:1", "pra::i:job=a", "pra::i:__name__=up")
    assert.is_true(ttls[1] > 7000 and ttls[1] <= 8200, ttls[1])
    for i = 2, 7 do assert.is_true(ttls[i] >= ttls[1] - 5, i) end
    -- One whose window is over in a moment.
    local window = math.floor(now / 1000) - 1
    local short = new { port = server.port, retention = os.time() - (window + 1) * 1000 + 1 }
    assert.equal(204, write(handler_of(short), { up("b", { at(window * 1000) }, { 1 }) }))
    repeat until ask("EXISTS", "pra::l:2") == 0
    assert.equal(2, ask("SCARD", "pra::all"))
    assert.same({ [key "a"] = lines(at(now - 3600), 1, at(now), 2) }, read(handler))
    assert.equal(1, ask("SCARD", "pra::all"))
    assert.equal(0, #ask("KEYS", "*:c:2:*"))
    assert.equal(204, write(handler, { up("far", { "9223372036854775807" }, { 1 }) }))
    storage.close()
    short.close()
  end)
end)
