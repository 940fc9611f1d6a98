-- SPDX-License-Identifier: Apache-2.0

--- A storage in Redis (5.0 or newer, one server; no cluster): over the cosockets of nginx' Lua
--- module where that runs it, else over LuaSocket (Debian: lua-socket; LuaRocks: luasocket).
--
--   local redis = require "prom_remote_api.storages.redis"
--   return pra.serve { storage = redis.new { host = "127.0.0.1", retention = 86400 } }
--
-- It keeps samples, native histograms and exemplars (which remote read never asks for), tenants
-- apart; metadata are not kept. Of two values for one time in one series the first stays; the
-- second is refused unless it is the same. Any number of states, workers and machines may share a
-- server: what comes twice is stored once. What is acknowledged is as durable as Redis is told to
-- be: `appendonly yes` and `appendfsync always` have it on the disk.
--
-- The keys, each after prefix .. tenant .. ":" (in the tenant, % and : are %25 and %3A):
--
--   id               string, the number of the newest series
--   s:LABELS         string, the number of the series; LABELS is pra.key(labels)
--   l:ID             string, LABELS of the series with this number
--   i:NAME=VALUE     set of the numbers of the series that have this label; all: of all series
--   w:ID             sorted set of the windows (time divided by 1,000,000 ms) that have data
--   c:ID:WINDOW      hash of these data: time → a number, or "nan" and the bits of a NaN, or "h"
--                    and a histogram of pra.encode_histogram
--   e:ID             set of exemplars: time, value, and pra.key(labels of the exemplar)
local pra = require "prom_remote_api"
local known = require("prom_remote_api.options").known
local resp = require "prom_remote_api.storages.resp"
local text = require "prom_remote_api.storages.text"

local redis = {}

-- ARGV: prefix, retention (0 = none); then for each series its number in the request, its key, the
-- number of samples, times and values, the number of exemplars, exemplars. Returns numbers of
-- series, each with how many samples and histograms were refused.
local WRITE = [[
local call, prefix, retention, at, refused = redis.call, ARGV[1], tonumber(ARGV[2]), 2, {}
local now = tonumber(call("TIME")[1])
local function take() at = at + 1 return ARGV[at] end
local function live(key, seconds)
  if retention > 0 and call("TTL", key) < seconds then call("EXPIRE", key, seconds) end
end
local function enter(id, labels, window)
  -- Times that nobody lives to see: Redis refuses what would overflow.
  local left = math.min(math.max(1, math.floor((window + 1) * 1000 + retention - now)), 2 ^ 40)
  local sets = { "all" }
  for name, value in labels:gmatch("([^\255]*)\255([^\255]*)\255") do
    sets[#sets + 1] = "i:" .. name .. "=" .. value
  end
  for _, set in ipairs(sets) do
    call("SADD", prefix .. set, id)
    live(prefix .. set, left)
  end
  call("ZADD", prefix .. "w:" .. id, window, string.format("%.0f", window))
  if retention > 0 then
    call("ZREMRANGEBYSCORE", prefix .. "w:" .. id, "-inf", (now - retention) / 1000 - 2)
  end
  for _, key in ipairs({ "s:" .. labels, "l:" .. id, "w:" .. id }) do
    live(prefix .. key, left)
  end
  return left
end
while at < #ARGV do
  local number, labels, samples, histograms = take(), take(), 0, 0
  local id = call("GET", prefix .. "s:" .. labels)
  if not id then
    id = call("INCR", prefix .. "id")
    call("SET", prefix .. "s:" .. labels, id)
    call("SET", prefix .. "l:" .. id, labels)
  end
  local chunk, before, expires
  for _ = 1, tonumber(take()) do
    local time, value = take(), take()
    local window = math.floor(tonumber(time) / 1000000)
    if window ~= before then
      before, chunk = window, prefix .. "c:" .. id .. ":" .. string.format("%.0f", window)
      expires = call("EXISTS", chunk) == 0 and enter(id, labels, window)
    end
    if call("HSETNX", chunk, time, value) == 0 and call("HGET", chunk, time) ~= value then
      if value:sub(1, 1) == "h" then histograms = histograms + 1 else samples = samples + 1 end
    end
    if expires and retention > 0 then call("EXPIRE", chunk, expires) end
    expires = nil
  end
  local exemplars = tonumber(take())
  for _ = 1, exemplars do call("SADD", prefix .. "e:" .. id, take()) end
  if exemplars > 0 then live(prefix .. "e:" .. id, retention + 1000) end
  if samples + histograms > 0 then
    refused[#refused + 1] = { tonumber(number), samples, histograms }
  end
end
return refused]]

-- ARGV: prefix, then sets: of each their number and their names; what is in one of each of them.
-- Returns numbers and keys of series. Forgets what has expired.
local FIND = [[
local call, prefix, one, at, found = redis.call, ARGV[1], { ARGV[1] .. "all" }, 2, {}
local more = {}
while at <= #ARGV do
  local keys = {}
  for i = 1, tonumber(ARGV[at]) do keys[i] = prefix .. ARGV[at + i] end
  at = at + #keys + 1
  if #keys == 1 then one[#one + 1] = keys[1] else more[#more + 1] = keys end
end
local ids = call("SINTER", unpack(one))
for _, keys in ipairs(more) do
  local wanted, kept = {}, {}
  for _, key in ipairs(keys) do
    for _, id in ipairs(call("SMEMBERS", key)) do wanted[id] = true end
  end
  for _, id in ipairs(ids) do if wanted[id] then kept[#kept + 1] = id end end
  ids = kept
end
for _, id in ipairs(ids) do
  local labels = call("GET", prefix .. "l:" .. id)
  if labels then
    found[#found + 1] = id
    found[#found + 1] = labels
  else
    for _, key in ipairs(one) do call("SREM", key, id) end
  end
end
return found]]

-- ARGV: prefix, first and last time, numbers of series. Returns times and values of each.
local READ = [[
local call, prefix, all = redis.call, ARGV[1], {}
local first = math.floor(tonumber(ARGV[2]) / 1000000)
local last = math.floor(tonumber(ARGV[3]) / 1000000)
for i = 4, #ARGV do
  local one = {}
  for _, window in ipairs(call("ZRANGEBYSCORE", prefix .. "w:" .. ARGV[i], first, last)) do
    for _, item in ipairs(call("HGETALL", prefix .. "c:" .. ARGV[i] .. ":" .. window)) do
      one[#one + 1] = item
    end
  end
  all[#all + 1] = one
end
return all]]

local BATCH = 1000 -- samples of one script that writes: others wait meanwhile
local SERIES = 20  -- series of one script that reads

---- Values as text

local function number_text(value)
  if value ~= value then return "nan" .. text.nan_bits(value) end
  if value == math.huge then return "inf" elseif value == -math.huge then return "-inf" end
  if value == 0 then return 1 / value > 0 and "0" or "-0.0" end
  local short = ("%.15g"):format(value)
  return tonumber(short) == value and short or ("%.17g"):format(value)
end

local INFINITE = { inf = math.huge, ["-inf"] = -math.huge }

local function number_of(value)
  return tonumber(value) or INFINITE[value] or text.nan(value:sub(4))
end

---- Writing

-- Appends a series to the arguments of WRITE; returns how many samples it has.
local function append(arguments, number, series)
  local timestamps, values, histograms = series.timestamps, series.values, series.histograms or {}
  local exemplars, at = series.exemplars or {}, #arguments
  local count = #timestamps + #histograms
  local function put(argument) at = at + 1 arguments[at] = argument end
  put(text.digits(number)) put(pra.key(series.labels)) put(text.digits(count))
  for i = 1, #timestamps do put(text.digits(timestamps[i])) put(number_text(values[i])) end
  for _, one in ipairs(histograms) do
    put(text.digits(one.timestamp)) put("h" .. pra.encode_histogram(one))
  end
  put(text.digits(#exemplars))
  for _, one in ipairs(exemplars) do
    put(text.digits(one.timestamp) .. " " .. number_text(one.value) .. " " .. pra.key(one.labels))
  end
  return count
end

-- The commands that write a request.
local function write_commands(prefix, retention, request)
  local commands, arguments, count = {}, nil, 0
  for series, number in request:series() do
    if not arguments then
      arguments, count = { "EVAL", WRITE, "0", prefix, text.digits(retention) }, 0
      commands[#commands + 1] = arguments
    end
    count = count + append(arguments, number, series) + 1
    if count >= BATCH then arguments = nil end
  end
  return commands
end

local function reject(request, refused)
  for _, one in ipairs(refused) do
    local number, samples, histograms = one[1], one[2], one[3]
    local reason = "another value is stored for this time"
    if samples > 0 then request:reject(number, reason, "sample", samples) end
    if histograms > 0 then request:reject(number, reason, "histogram", histograms) end
  end
end

---- Reading

-- The sets of FIND; query:matches has the last word.
local function sets_of(query, arguments)
  for _, m in ipairs(query.matchers) do
    local values, empty = m.type == "=" and { m.value } or m.type == "=~" and m.set or {}, false
    for _, value in ipairs(values) do empty = empty or value == "" end -- no set has who lacks it
    if #values > 0 and not empty then
      table.insert(arguments, text.digits(#values))
      for _, value in ipairs(values) do table.insert(arguments, "i:" .. m.name .. "=" .. value) end
    end
  end
  return arguments
end

local function labels_of(key)
  local labels = {}
  for name, value in key:gmatch("([^\255]*)\255([^\255]*)\255") do labels[name] = value end
  return labels
end

local function series_of(labels, items)
  local series, count = { labels = labels, timestamps = {}, values = {}, histograms = {} }, 0
  for i = 1, #items, 2 do
    local value = items[i + 1]
    if value:sub(1, 1) == "h" then
      table.insert(series.histograms, assert(pra.decode_histogram(value:sub(2))))
    else
      count = count + 1
      series.timestamps[count], series.values[count] = text.integer(items[i]), number_of(value)
    end
  end
  return series
end

---- The storage

---@class pra.RedisStorage
---@field write function
---@field process_query function
---@field close fun() closes the connection

---@class pra.RedisOptions
---@field host? string (127.0.0.1)
---@field port? integer (6379)
---@field path? string a socket of the machine, instead of host and port
---@field user? string
---@field password? string
---@field database? integer (0)
---@field prefix? string of all keys ("pra:")
---@field timeout? number seconds without a sign of life (5)
---@field retention? integer seconds for which data are kept; default: for ever

--- Connects when it is used. When Redis does not answer, or answers with an error, also that its
--- memory is full, that is a pra.retry.
---@param options? pra.RedisOptions
---@return pra.RedisStorage
function redis.new(options)
  options = options or {}
  known(options, { "host", "port", "path", "user", "password", "database", "prefix", "timeout",
    "retention" })
  local server, retention = resp.new(options), options.retention or 0
  local storage = { histograms = true, exemplars = true, close = function() server:close() end }

  local function prefix_of(ctx)
    local tenant = ctx.tenant:gsub("[%%:]", { ["%"] = "%25", [":"] = "%3A" })
    return (options.prefix or "pra:") .. tenant .. ":"
  end

  local function ask(commands)
    local answers, problem = server:ask(commands)
    if not answers then error(pra.retry("Redis: " .. problem)) end
    return answers
  end

  function storage.write(ctx, request)
    local commands = write_commands(prefix_of(ctx), retention, request)
    for _, refused in ipairs(ask(commands)) do reject(request, refused) end
  end

  function storage.process_query(ctx, query, sink)
    local prefix, ids, labels = prefix_of(ctx), {}, {}
    local found = ask({ sets_of(query, { "EVAL", FIND, "0", prefix }) })[1]
    for i = 1, #found, 2 do
      local of_one = labels_of(found[i + 1])
      if query:matches(of_one) then ids[#ids + 1], labels[#labels + 1] = found[i], of_one end
    end
    for from = 1, #ids, SERIES do
      local command = { "EVAL", READ, "0", prefix, text.digits(query.start_ms),
        text.digits(query.end_ms) }
      for i = from, math.min(from + SERIES - 1, #ids) do command[#command + 1] = ids[i] end
      for i, items in ipairs(ask({ command })[1]) do
        sink:add(series_of(labels[from + i - 1], items))
      end
    end
  end

  return storage
end

return redis
