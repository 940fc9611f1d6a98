-- SPDX-License-Identifier: Apache-2.0
-- The buckets of native histograms.
local core = require "prom_remote_api.faces"
local unpack = table.unpack or unpack -- luacheck: ignore

-- Calls each(number of the bucket, count) for all buckets of one side.
local function each_bucket(spans, buckets, each)
  local index, at = 0, 1
  for _, span in ipairs(spans or {}) do
    index = index + span.offset
    for number = index, index + span.length - 1 do
      if not buckets or not buckets[at] then return end
      each(number, buckets[at])
      at = at + 1
    end
    index = index + span.length
  end
end

local function custom_buckets(h, add)
  local bounds = h.custom_values or {}
  each_bucket(h.positive_spans, h.positive_buckets, function(i, count)
    add(i < 1 and -math.huge or bounds[i] or math.huge,
      i < 0 and -math.huge or bounds[i + 1] or math.huge, count, i == 0, true)
  end)
end

-- A count may be a decimal string.
local function above_zero(count) return (tonumber(count) or 0) > 0 end

local function exponential_buckets(h, add)
  local zero, negative = h.zero_threshold or 0, {}
  local function bounds(i)
    local lower = core.histogram_bound(h.schema or 0, i - 1)
    return lower > 0 and lower < zero and zero or lower, core.histogram_bound(h.schema or 0, i)
  end
  each_bucket(h.negative_spans, h.negative_buckets, function(i, count)
    table.insert(negative, { i, count })
  end)
  for k = #negative, 1, -1 do
    local lower, upper = bounds(negative[k][1])
    add(-upper, -lower, negative[k][2], true, false)
  end
  if above_zero(h.zero_count) then add(-zero, zero, h.zero_count, true, true) end
  each_bucket(h.positive_spans, h.positive_buckets, function(i, count)
    local lower, upper = bounds(i)
    add(lower, upper, count, false, true)
  end)
end

--- for lower, upper, count, lower_inclusive, upper_inclusive in pra.buckets(histogram) do ... end:
--- all buckets from the lowest to the highest, as PromQL sees them; an empty zero bucket is left
--- out.
---@param histogram pra.Histogram
---@return fun(): number?, number?, number?, boolean?, boolean?
local function buckets(histogram)
  local list, at = {}, 0
  local function add(...) list[#list + 1] = { ... } end
  local fill = histogram.schema == -53 and custom_buckets or exponential_buckets
  fill(histogram, add)
  return function()
    at = at + 1
    if list[at] then return unpack(list[at]) end
  end
end

return buckets
