-- SPDX-License-Identifier: Apache-2.0

--- A storage in one SQLite file, by LuaSQL (Debian: lua-sql-sqlite3; LuaRocks: luasql-sqlite3).
--
--   local sqlite = require "prom_remote_api.storages.sqlite"
--   return pra.serve { storage = sqlite.new "metrics.db" }
--
-- It keeps samples, native histograms and exemplars (which remote read never asks for), tenants
-- apart; metadata are not kept. What write has taken is on the disk when it returns. Of two values
-- for one time in one series the first stays; the second is refused unless it is the same. The file
-- may be open in any number of Lua states and processes: one of them writes at a time, the others
-- wait. It is the file of Python's SQLiteStorage too.
--
-- In SQL of your own: labels ->> 'job' of the table series; timestamps are milliseconds; a value
-- is a number where typeof(value) = 'real', else a NaN, or a histogram where the column says so.
local pra = require "prom_remote_api"
local known = require("prom_remote_api.options").known
local file = require "prom_remote_api.storages.sqlite_file"
local text = require "prom_remote_api.storages.text"

local sqlite = {}
local query_rows, run, transaction = file.query_rows, file.run, file.transaction

-- A NaN, which SQLite would turn into NULL, is a blob of its 8 bytes, the highest first; a
-- histogram is one of pra.encode_histogram. Columns without a type keep what they are given. The
-- keys are in the order of reading.
local SCHEMA = {
  [[CREATE TABLE IF NOT EXISTS series (id INTEGER PRIMARY KEY, tenant TEXT NOT NULL,
    labels TEXT NOT NULL, name TEXT NOT NULL, UNIQUE (tenant, labels))]],
  "CREATE INDEX IF NOT EXISTS series_by_name ON series (tenant, name)",
  [[CREATE TABLE IF NOT EXISTS samples (series INTEGER, timestamp INTEGER,
    histogram INTEGER NOT NULL, value NOT NULL, PRIMARY KEY (series, timestamp)) WITHOUT ROWID]],
  [[CREATE TABLE IF NOT EXISTS exemplars (series INTEGER, timestamp INTEGER, value, labels TEXT,
    PRIMARY KEY (series, timestamp, value, labels)) WITHOUT ROWID]],
}
local BATCH = 1000 -- rows of one statement

-- LuaSQL gives integers to Lua before 5.3 as doubles: beyond 2^53 they come as text.
local TIME = math.type and "timestamp" or [[CASE WHEN abs(timestamp / 2) < 1 << 52 THEN timestamp
  ELSE CAST(timestamp AS TEXT) END]]

---- SQL as text, since LuaSQL binds no values

local function hex(bytes)
  return (bytes:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

local function quote(s)
  if s:find("\0", 1, true) then return "CAST(x'" .. hex(s) .. "' AS TEXT)" end
  return "'" .. s:gsub("'", "''") .. "'"
end

-- A number that SQLite reads back bit for bit. It does with 17 digits and a moderate exponent; with
-- others it has to multiply by a power of two.
local function real(value)
  local size, scale = math.abs(value), 2 ^ 600
  if size == math.huge then return value > 0 and "9e999" or "-9e999" end
  if size ~= 0 and size < 1e-150 then return ("%.17g/%.17g"):format(value * scale, scale) end
  if size > 1e150 then return ("%.17g*%.17g"):format(value / scale, scale) end
  local digits = ("%.17g"):format(value)
  return digits:find("[.e]") and digits or digits .. ".0"
end

local function stored(value)
  return value == value and real(value) or "x'" .. text.nan_bits(value) .. "'"
end

-- What SQLite can sort out; query:matches has the last word.
local function where(ctx, query)
  local parts = { "tenant = " .. quote(ctx.tenant) }
  for _, m in ipairs(query.matchers) do
    local set = m.type == "=" and { m.value } or m.type == "=~" and m.set or {}
    if m.name == "__name__" and #set > 0 then
      local names = {}
      for i, value in ipairs(set) do names[i] = quote(value) end
      table.insert(parts, "name IN (" .. table.concat(names, ", ") .. ")")
    elseif #set == 1 and set[1] ~= "" then -- "job":"api" stands in the labels as it does here
      local pair = text.json({ [m.name] = set[1] }):sub(2, -2)
      table.insert(parts, "instr(labels, " .. quote(pair) .. ")")
    end
  end
  return table.concat(parts, " AND ")
end

local function between(query, oldest_ms)
  local start = text.digits(query.start_ms)
  if oldest_ms then start = ("max(%s, %s)"):format(start, oldest_ms) end
  return ("timestamp BETWEEN %s AND %s"):format(start, text.digits(query.end_ms))
end

---- Writing

-- Inserts rows (of text, without the brackets); rejects those at whose time there is another value.
local function insert_samples(db, rows, request)
  local new = "WITH new(number, series, timestamp, histogram, value) AS (VALUES ("
    .. table.concat(rows, "),(") .. ")) "
  local inserted = run(db, new
    .. "INSERT OR IGNORE INTO samples SELECT series, timestamp, histogram, value FROM new")
  if inserted == #rows then return end
  local others = [[SELECT number, new.histogram, count(*) FROM new JOIN samples AS old
    USING (series, timestamp) WHERE old.histogram <> new.histogram OR old.value IS NOT new.value
    GROUP BY 1, 2]]
  query_rows(db, new .. others, function(row)
    local kind = row[2] == 1 and "histogram" or "sample"
    request:reject(row[1], "another value is stored for this time", kind, row[3])
  end)
end

local function insert_exemplars(db, rows)
  run(db, "INSERT OR IGNORE INTO exemplars VALUES (" .. table.concat(rows, "),(") .. ")")
end

local function insert_series(db, tenant, labels)
  local json = text.json(labels)
  local row = ("%s, %s"):format(quote(tenant), quote(json))
  local new = run(db, ("INSERT OR IGNORE INTO series VALUES (NULL, %s, %s)"):format(row,
    quote(labels.__name__ or "")))
  if new == 1 then return text.digits(db:getlastautoid()) end
  local id
  query_rows(db, "SELECT id FROM series WHERE (tenant, labels) = (" .. row .. ")",
    function(found) id = text.digits(found[1]) end)
  return id
end

-- id_of(labels) gives the series' number in the file. Returns how many samples there are.
local function insert(db, request, id_of)
  local samples, exemplars, count = {}, {}, 0
  local function flush(least)
    if #samples > least then
      insert_samples(db, samples, request)
      count, samples = count + #samples, {}
    end
    if #exemplars > least then insert_exemplars(db, exemplars) exemplars = {} end
  end
  for series, number in request:series() do
    local id, timestamps, values = id_of(series.labels), series.timestamps, series.values
    for i = 1, #timestamps do
      samples[#samples + 1] = ("%d,%s,%s,0,%s"):format(number, id, text.digits(timestamps[i]),
        stored(values[i]))
      if #samples == BATCH then flush(BATCH - 1) end
    end
    for _, one in ipairs(series.histograms or {}) do
      samples[#samples + 1] = ("%d,%s,%s,1,x'%s'"):format(number, id, text.digits(one.timestamp),
        hex(pra.encode_histogram(one)))
    end
    for _, one in ipairs(series.exemplars or {}) do
      exemplars[#exemplars + 1] = ("%s,%s,%s,%s"):format(id, text.digits(one.timestamp),
        stored(one.value), quote(text.json(one.labels)))
    end
    flush(BATCH - 1)
  end
  flush(0)
  return count
end

---- Reading

local function read_series(db, id, labels, range)
  local series, count = { labels = labels, timestamps = {}, values = {}, histograms = {} }, 0
  local statement = ("SELECT %s, histogram, value FROM samples WHERE series = %s AND %s")
    :format(TIME, id, range)
  query_rows(db, statement, function(row)
    if row[2] == 1 then
      table.insert(series.histograms, assert(pra.decode_histogram(row[3])))
    else
      count = count + 1
      series.timestamps[count] = row[1]
      series.values[count] = type(row[3]) == "string" and text.nan(hex(row[3])) or row[3]
    end
  end)
  return series
end

---- The storage

---@class pra.SQLiteStorage
---@field write function
---@field process_query function
---@field close fun() closes the file

--- path: a file, which is created if there is none. timeout (30): seconds that a writer waits for
--- the others, then it is a pra.retry. retention: seconds after which data are deleted; without it
--- they never are. Raises an error if the file cannot be opened.
---@param path string
---@param options? { timeout: number?, retention: number? }
---@return pra.SQLiteStorage
function sqlite.new(path, options)
  if type(path) ~= "string" or path == "" or path == ":memory:" then
    error("sqlite.new needs the path of a file", 2)
  end
  options = options or {}
  known(options, { "timeout", "retention" })
  local timeout, retention = options.timeout or 30, options.retention or math.huge
  if type(retention) ~= "number" or not (retention > 0) then
    error("retention: a number of seconds, or nil to keep everything", 2)
  end
  local db, ids, id_count = nil, {}, 0 -- ids: of series that are committed
  local deletions = 0                  -- of series, by anyone, which ids knows of
  local forgotten, due = 0, 0          -- up to this series; when the next one is
  local storage = { histograms = true, exemplars = true }

  -- Not before it is used: a connection is not to be carried into another process by a fork.
  local function connection()
    if db then file.tidy(db) else db = file.connect(path, timeout) end
    return db
  end

  local function see_deletions(open)
    local now = file.deletions(open)
    if now ~= deletions then deletions, ids, id_count = now, {}, 0 end
  end

  -- What is before it is too old; nil: nothing is.
  local function oldest_ms()
    local now = os.time()
    return retention < now and ("%.0f"):format((now - retention) * 1000) or nil
  end

  -- Some of what is too old, now and then: twice what a write has brought, so that deleting keeps
  -- up, and a little for writes that bring nothing. If that fails, the sender is told so, and sends again what is stored.
  local function forget(written)
    local oldest, now = oldest_ms(), os.time()
    if not oldest or now < due then return end
    due = now + math.min(math.max(retention / 20, 60), 3600) -- not at once where a cap ends this
    local done
    transaction(db, function(open)
      see_deletions(open)
      done = file.forget(open, forgotten, oldest, 2 * written + 100, function(tenant, labels)
        ids[pra.key(labels, tenant)] = nil
      end)
      deletions = file.deletions(open)
    end)
    forgotten, due = done or 0, done and 0 or due
  end

  function storage.write(ctx, request)
    local tenant, new, written = ctx.tenant, {}, nil
    local function id_of(labels)
      local key = pra.key(labels, tenant)
      local id = ids[key] or new[key]
      if not id then
        id = insert_series(db, tenant, labels)
        new[key] = id
      end
      return id
    end
    transaction(connection(), function(open)
      see_deletions(open)
      written = insert(open, request, id_of)
    end)
    if id_count > 1000000 then ids, id_count = {}, 0 end
    for key, id in pairs(new) do ids[key], id_count = id, id_count + 1 end -- no rolled back ones
    forget(written)
  end

  function storage.process_query(ctx, query)
    local found, at, range = {}, 0, between(query, oldest_ms())
    local statement = "SELECT labels, id FROM series WHERE " .. where(ctx, query) .. " AND EXISTS"
      .. " (SELECT 1 FROM samples WHERE series = id AND " .. range .. ")"
    query_rows(connection(), statement, function(row)
      local labels = text.labels(row[1])
      if query:matches(labels) then found[#found + 1] = { text.digits(row[2]), labels } end
    end)
    return function()
      at = at + 1
      local one = found[at]
      if one then return read_series(db or connection(), one[1], one[2], range) end
    end
  end

  function storage.close()
    if db then
      file.tidy(db)
      db:close()
    end
    db = nil
  end

  local first = file.connect(path, timeout)
  file.use_log(first, timeout)
  transaction(first, function() for _, statement in ipairs(SCHEMA) do run(first, statement) end end)
  first:close()
  return storage
end

return sqlite
