-- SPDX-License-Identifier: Apache-2.0

--- A storage in memory, for tests, for trying things out and for the latest of a few thousand
--- series.
--
--   local memory = require "prom_remote_api.storages.memory"
--   return pra.serve { storage = memory.new() }
--
-- It keeps samples, native histograms and exemplars (which remote read never asks for), tenants
-- apart; metadata are not kept. Of two values for one time in one series the first stays; the
-- second is refused unless it is the same bit for bit. Everything is in one Lua state, so that
-- `pra serve` makes only one (threads = 1); workers of nginx would each have their own.
local pra = require "prom_remote_api"
local known = require("prom_remote_api.options").known
local text = require "prom_remote_api.storages.text"

local memory = {}

-- Adds what is new to points (time → value, or the bytes of a histogram): how many were new, how
-- many have a time at which there is something else.
local function add_samples(points, series)
  local timestamps, values, new, refused = series.timestamps, series.values, 0, 0
  for i = 1, #timestamps do
    local time, value = text.integer(timestamps[i]), values[i]
    local there = points[time]
    if there == nil then
      points[time], new = value, new + 1
    elseif type(there) == "string" or not text.same(there, value) then
      refused = refused + 1
    end
  end
  return new, refused
end

local function add_histograms(points, series)
  local new, refused = 0, 0
  for _, histogram in ipairs(series.histograms or {}) do
    local time, bytes = text.integer(histogram.timestamp), pra.encode_histogram(histogram)
    local there = points[time]
    if there == nil then
      points[time], new = bytes, new + 1
    elseif there ~= bytes then
      refused = refused + 1
    end
  end
  return new, refused
end

local function add_exemplars(exemplars, series)
  local new = 0
  for _, one in ipairs(series.exemplars or {}) do
    local value = one.value == one.value and ("%.17g"):format(one.value) or text.nan_bits(one.value)
    local key = pra.key(one.labels, text.digits(one.timestamp) .. " " .. value)
    if not exemplars[key] then exemplars[key], new = one, new + 1 end
  end
  return new
end

-- A series as sink:add takes it, of what is between two times (nil: all).
local function shown(known, first, last)
  local series = { labels = known.labels, timestamps = {}, values = {}, histograms = {} }
  local count = 0
  for time, value in pairs(known.points) do
    local inside = not first or type(time) == "string" or time >= first and time <= last
    if inside and type(value) == "string" then
      table.insert(series.histograms, pra.decode_histogram(value))
    elseif inside then
      count = count + 1
      series.timestamps[count], series.values[count] = time, value
    end
  end
  return series
end

---@class pra.MemoryStorage
---@field write function
---@field process_query function
---@field count fun(): integer samples, histograms and exemplars that are stored
---@field all fun(tenant?: string): pra.Series[] what is stored, in no order; tests ask it
---@field clear fun() forgets everything
---@field close fun() nothing to do

--- max_samples (10,000,000): how many samples, histograms and exemplars there may be, all tenants
--- together. What goes beyond is refused with pra.retry: a sender keeps its data until there is
--- room again; nothing that was acknowledged is dropped, by age neither.
---@param options? { max_samples: integer? }
---@return pra.MemoryStorage
function memory.new(options)
  options = options or {}
  known(options, { "max_samples" })
  local max_samples = options.max_samples or 10000000
  local tenants, stored = {}, 0 -- tenant → key → { labels, points, exemplars }
  local storage = { threads = 1, histograms = true, exemplars = true }

  local function add(known, series, number, request)
    local samples, refused = add_samples(known.points, series)
    local histograms, refused_histograms = add_histograms(known.points, series)
    if refused > 0 then
      request:reject(number, "another value is stored for this time", "sample", refused)
    end
    if refused_histograms > 0 then
      request:reject(number, "another value is stored for this time", "histogram",
        refused_histograms)
    end
    return samples + histograms + add_exemplars(known.exemplars, series)
  end

  function storage.write(ctx, request)
    for series, number in request:series() do
      local coming = #series.timestamps + #(series.histograms or {}) + #(series.exemplars or {})
      if stored + coming > max_samples then -- what was added of this request may come again
        error(pra.retry { "the memory is full: " .. stored .. " samples", after = 30 })
      end
      local tenant, key = tenants[ctx.tenant] or {}, pra.key(series.labels)
      local known = tenant[key] or { labels = series.labels, points = {}, exemplars = {} }
      local new = add(known, series, number, request)
      if new > 0 then tenants[ctx.tenant], tenant[key], stored = tenant, known, stored + new end
    end
  end

  function storage.process_query(ctx, query, sink)
    local first, last = text.integer(query.start_ms), text.integer(query.end_ms)
    if type(first) == "string" or type(last) == "string" then first = nil end -- the sink compares
    for _, known in pairs(tenants[ctx.tenant] or {}) do
      if query:matches(known.labels) then sink:add(shown(known, first, last)) end
    end
  end

  function storage.all(tenant)
    local list = {}
    for _, known in pairs(tenants[tenant or ""] or {}) do
      local series = shown(known)
      series.exemplars = {}
      for _, one in pairs(known.exemplars) do table.insert(series.exemplars, one) end
      list[#list + 1] = series
    end
    return list
  end

  function storage.count() return stored end

  function storage.clear() tenants, stored = {}, 0 end

  function storage.close() end

  return storage
end

return memory
