-- SPDX-License-Identifier: Apache-2.0
-- The option retention of the storage for SQLite; that of Redis is in storages_life_spec.
local pra = require "prom_remote_api"
local program = require "program"
local samples = require "samples"
local wire = require "wire"

local key, lines, read, up, write = samples.key, samples.lines, samples.read, samples.up, samples.write
local HOUR = 3600
local NOON = 20000 * 24 * HOUR + 12 * HOUR

describe("retention of sqlite", function()
  local found, luasql = pcall(require, "luasql.sqlite3")
  if not found then
    pending("needs LuaSQL")
    return
  end
  local sqlite = require "prom_remote_api.storages.sqlite"
  local real_time, now = os.time, NOON
  local path, opened

  local function ms(hours) return (NOON + hours * HOUR) * 1000 end

  local function handler_of(options)
    local storage = sqlite.new(path, options)
    opened[#opened + 1] = storage
    return assert(pra.handler { storage = storage, log = function() end })
  end

  -- What another program sees: a list of the first column.
  local function rows(statement)
    local db = luasql.sqlite3():connect(path)
    local cursor, list = assert(db:execute(statement)), {}
    if type(cursor) == "userdata" then
      for value in function() return cursor:fetch() end do list[#list + 1] = value end
      cursor:close()
    end
    db:close()
    return list
  end

  local function count(what) return tonumber(rows("SELECT count(*) FROM " .. what)[1]) end

  setup(function() os.time = function() return now end end)
  teardown(function()
    os.time = real_time
    program.remove_files()
  end)
  local number = 0
  before_each(function()
    number = number + 1
    now, opened, path = NOON, {}, ("%s/retention%d.db"):format(program.folder, number)
  end)
  after_each(function() for _, storage in ipairs(opened) do storage.close() end end)

  it("is a number of seconds", function()
    for _, wrong in ipairs { 0, -1, "3600", 0 / 0 } do
      assert.error_matches(function() sqlite.new(path, { retention = wrong }) end, "retention: a number of seconds")
    end
  end)

  it("keeps everything where there is none, or a long one", function()
    local times = { wire.min, -1, 0, ms(0) }
    for i, retention in ipairs { false, math.huge, NOON + 24 * HOUR, 1e300 } do
      local handler = handler_of { retention = retention or nil }
      for turn = 1, 2 do
        assert.equal(204, write(handler, { up("a", times, { 1, 2, 3, 4 }), up(tostring(i), { turn }, { turn }) }))
        now = now + 2 * HOUR
      end
      assert.equal(lines(wire.min, 1, -1, 2, 0, 3, ms(0), 4), read(handler)[key "a"])
      assert.equal(lines(1, 1, 2, 2), read(handler)[key(tostring(i))])
      now = NOON
    end
  end)

  it("deletes what is older", function()
    local raw = handler_of()
    local exemplar = { labels = { id = "x" }, value = 1, timestamp = ms(-72) }
    local old = up("old", { ms(-72) }, { 1 })
    old.exemplars = { exemplar }
    assert.equal(204, write(raw, { old, up("up", { 0, ms(-48) - 1, ms(-48), ms(-1) }, { 1, 2, 3, 4 }) }))
    assert.equal(1, count "exemplars")
    local handler = handler_of { retention = 48 * HOUR }
    local kept = lines(ms(-48), 3, ms(-1), 4)
    assert.same({ [key "up"] = kept }, read(handler))
    assert.same({}, read(handler, nil, nil, ms(-48) - 1))
    assert.equal(5, count "samples")
    assert.equal(204, write(handler, { up("new", { ms(0) }, { 5 }) }))
    assert.same({ [key "up"] = kept, [key "new"] = lines(ms(0), 5) }, read(raw))
    assert.equal(3, count "samples")
    assert.equal(0, count "exemplars")
    assert.equal(2, count "series")
  end)

  it("takes what comes too late, and forgets it", function()
    local handler = handler_of { retention = 2 * HOUR }
    for _ = 1, 2 do
      assert.equal(204, write(handler, { up("a", { ms(-3), ms(0) }, { 1, 2 }), up("b", { 0 }, { 3 }) }))
      assert.same({ [key "a"] = lines(ms(0), 2) }, read(handler))
      now = now + 60
    end
    now = now + HOUR
    assert.equal(204, write(handler, { up("a", { ms(1) }, { 4 }) }))
    assert.same({ ms(0), ms(1) }, rows "SELECT timestamp FROM samples ORDER BY 1")
  end)

  -- At most twice what it brought and 100 rows, of a table and of series.
  it("deletes in parts, each after a write, then rests", function()
    local times, values, list = {}, {}, {}
    for i = 1, 1000 do times[i], values[i] = i, i end
    for i = 1, 250 do list[i] = up("short" .. i, { 1 }, { 1 }) end
    list[251], list[252] = up("long", times, values), up("last", { ms(0) }, { 1 })
    assert.equal(204, write(handler_of(), list))
    local handler = handler_of { retention = HOUR }
    local left, turns = count "samples", 0
    repeat
      turns = turns + 1
      assert.equal(204, write(handler, { up("last", { ms(0) + turns }, { 1 }) }))
      local after = count "samples"
      assert.is_true(after >= left - 101, after)
      left = after
    until left == turns + 1 or turns == 100
    assert.is_true(turns > 10 and turns < 20, turns)
    assert.equal(1, count "series")
    now = now + 2 * HOUR
    for pause, some in pairs { [0] = 1, [179] = 1, [180] = 0 } do -- of a twentieth
      path = ("%s/rest%d.db"):format(program.folder, pause)
      handler, now = handler_of { retention = HOUR }, NOON
      assert.equal(204, write(handler, { up("a", { ms(-1) - 1 }, { 1 }), up("b", { ms(0) }, { 1 }) }))
      assert.equal(204, write(handler, { up("a", { ms(-1) - 1 }, { 1 }), up("b", { ms(0) }, { 1 }) }))
      now = now + pause
      assert.equal(204, write(handler, { up("b", { ms(0) }, { 1 }) }))
      assert.equal(some, count("samples WHERE timestamp < 1000 * " .. NOON - HOUR))
    end
  end)

  it("never gives the number of a series that is gone to another", function()
    local deleting, other = handler_of { retention = HOUR }, handler_of()
    for turn = 1, 3 do
      assert.equal(204, write(other, { up("a", { ms(-2) }, { 1 }), up("b", { ms(-2) }, { 1 }) }))
      assert.equal(204, write(deleting, { up("last" .. turn, { ms(-2) }, { 1 }) }))
      now = now + 180
      assert.equal(1, count "series")
      assert.equal(204, write(other, { up("a", { ms(0) }, { turn }), up("b", { ms(0) }, { turn }) }))
      assert.same({ [key "a"] = lines(ms(0), turn), [key "b"] = lines(ms(0), turn) },
        read(other, nil, ms(0)))
      rows("DELETE FROM samples")
    end
  end)

  it("says where it cannot delete, and loses nothing", function()
    local handler = handler_of { retention = HOUR }
    rows "CREATE TRIGGER no BEFORE DELETE ON samples BEGIN SELECT raise(FAIL, 'thirteen'); END"
    for turn = 1, 2 do
      local list = { up("a", { ms(-2), ms(0) + turn }, { 1, turn }) }
      local status = write(handler, list)
      assert.equal(500, status)
      assert.equal(204, write(handler, list)) -- what the sender sends again
      now = now + 180
    end
    assert.same({ [key "a"] = lines(ms(0) + 1, 1, ms(0) + 2, 2) }, read(handler))
    rows "DROP TRIGGER no"
    assert.equal(204, write(handler, { up("a", { ms(0) }, { 0 }) }))
    assert.equal(3, count "samples")
  end)
end)
