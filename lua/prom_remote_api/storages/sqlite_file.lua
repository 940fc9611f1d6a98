-- SPDX-License-Identifier: Apache-2.0

--- What the storage for SQLite does with its file as such: opening it, transactions, and deleting in
--- it, series and all. The file's user_version counts how often series were deleted: who remembers
--- their numbers, in any process, has to forget them then.
local pra = require "prom_remote_api"
local text = require "prom_remote_api.storages.text"

local file = {}

-- In messages of SQLite: the file cannot be used now, and the sender is to try again. It may not be
-- damaged: that is an error.
local PASSING = { "locked", "locking protocol", "disk is full", "disk I/O error", "unable to open" }

local function fail(message)
  for _, passing in ipairs(PASSING) do
    if message:find(passing, 1, true) then error(pra.retry("SQLite: " .. message)) end
  end
  error(message, 0)
end

function file.run(db, statement)
  local result, message = db:execute(statement)
  return result or fail(message)
end

local cursors = setmetatable({}, { __mode = "k" }) -- of connections

-- Calls each(row) with all rows, in one table. At once: while a cursor is open, nobody can empty
-- the log.
function file.query_rows(db, statement, each)
  local cursor, row = file.run(db, statement), {}
  cursors[db] = cursor
  local more, message = cursor:fetch(row, "n")
  while more do
    each(row)
    more, message = cursor:fetch(row, "n")
  end
  cursors[db] = nil
  if message then fail(message) end
end

-- Ends what a call has left open that was ended by a cap, which no pcall holds up.
function file.tidy(db)
  if cursors[db] then cursors[db]:close() end
  cursors[db] = nil
  db:execute "ROLLBACK" -- an error where nothing is open
end

function file.connect(path, timeout)
  local found, luasql = pcall(require, "luasql.sqlite3")
  if not found then
    error("this needs LuaSQL (Debian: lua-sql-sqlite3; LuaRocks: luasql-sqlite3): " .. luasql, 0)
  end
  local db, message = luasql.sqlite3():connect(path, timeout * 1000)
  if not db then error(path .. ": " .. message, 0) end
  file.run(db, "PRAGMA synchronous = FULL")
  return db
end

-- Runs body(db) in one transaction: an IMMEDIATE one, or as kind says.
function file.transaction(db, body, kind)
  file.run(db, "BEGIN " .. (kind or "IMMEDIATE"))
  local fine, problem = pcall(function()
    body(db)
    file.run(db, "COMMIT")
  end)
  if not fine then
    db:execute "ROLLBACK"
    error(problem, 0)
  end
end

-- Switches the file to its log. While another one makes a new file, SQLite refuses that at once,
-- whatever the timeout: BEGIN EXCLUSIVE waits for it.
function file.use_log(db, timeout)
  local deadline = os.time() + timeout
  repeat
    local cursor, message = db:execute "PRAGMA journal_mode = WAL"
    if cursor then return cursor:close() end
    if not message:find("locked", 1, true) or os.time() > deadline then error(message, 0) end
    file.transaction(db, function() end, "EXCLUSIVE")
  until false
end

---- Deleting

local OLD = [[DELETE FROM %s WHERE (series, timestamp) IN (
  SELECT series, timestamp FROM (SELECT id FROM series WHERE id BETWEEN %s AND %s)
  CROSS JOIN %s ON series = id WHERE timestamp < %s LIMIT %s)]]
-- The last one stays: SQLite counts on from its number, so that no number comes twice.
local EMPTY = [[SELECT id, tenant, labels FROM series WHERE id BETWEEN %s AND %s
  AND id < (SELECT max(id) FROM series) AND NOT EXISTS (SELECT 1 FROM samples WHERE series = id)
  AND NOT EXISTS (SELECT 1 FROM exemplars WHERE series = id)]]

-- How often series were deleted.
function file.deletions(db)
  local count
  file.query_rows(db, "PRAGMA user_version", function(row) count = row[1] end)
  return count
end

-- Deletes what is before oldest_ms, up to limit rows of a table, of up to limit series whose numbers
-- are greater than after; and those that have nothing then: gone(tenant, labels) is called for each.
-- Returns up to which number all is done, nil if all is. To be called in a transaction.
function file.forget(db, after, oldest_ms, limit, gone)
  local first, last, count
  local some = "(SELECT id FROM series WHERE id > %s ORDER BY id LIMIT %s)"
  file.query_rows(db, "SELECT min(id), max(id), count(*) FROM " .. some:format(after, limit),
    function(row) first, last, count = row[1], row[2], row[3] end)
  if count == 0 then return nil end
  first, last = text.digits(first), text.digits(last)
  local most, empty = 0, {}
  for _, name in ipairs { "samples", "exemplars" } do
    local old = OLD:format(name, first, last, name, oldest_ms, limit)
    most = math.max(most, file.run(db, old))
  end
  file.query_rows(db, EMPTY:format(first, last), function(row)
    empty[#empty + 1] = text.digits(row[1])
    gone(row[2], text.labels(row[3]))
  end)
  if #empty > 0 then
    file.run(db, "DELETE FROM series WHERE id IN (" .. table.concat(empty, ", ") .. ")")
    file.run(db, ("PRAGMA user_version = %d"):format((file.deletions(db) + 1) % 2 ^ 31))
  end
  if most >= limit then return after end
  return count == limit and last or nil
end

return file
