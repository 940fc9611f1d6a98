-- SPDX-License-Identifier: Apache-2.0
-- Samples of the tests of storages: sent to a handler, asked from it, as lines of text.
local pra = require "prom_remote_api"
local wire = require "wire"

local samples = {}

samples.ALL = { { "=~", "__name__", ".+" } }

local function from_bits(bits)
  return wire.read_double((bits:gsub("%x%x", function(hex) return string.char(tonumber(hex, 16)) end):reverse()))
end

local function to_bits(value)
  return (wire.double(value):reverse():gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

-- Values that are easily lost. LuaJIT has but one NaN that survives everywhere, besides its own.
samples.odd = { pra.stale_nan }
if not rawget(_G, "jit") then
  for i, bits in ipairs { "7ff8000000000001", "7ff80000deadbeef", "fff8000000000000", "7ff0000000000001" } do
    samples.odd[i + 1] = from_bits(bits)
  end
end
for _, bits in ipairs { "8000000000000000", "0000000000000000", "0000000000000001", "800fffffffffffff",
  "7ff0000000000000", "fff0000000000000", "7fefffffffffffff", "3fb999999999999a", "4340000000000000" } do
  samples.odd[#samples.odd + 1] = from_bits(bits)
end

--- Series up{job}.
function samples.up(job, timestamps, values)
  return { labels = { __name__ = "up", job = job }, timestamps = timestamps, values = values }
end

--- Its key in what read returns.
function samples.key(job) return pra.key { __name__ = "up", job = job } end

--- What read returns of one series: time, value, time, value ...
function samples.lines(...)
  local list = {}
  for i = 1, select("#", ...), 2 do
    list[#list + 1] = wire.digits((select(i, ...))) .. " " .. to_bits((select(i + 1, ...)))
  end
  return table.concat(list, "\n")
end

--- status, body
function samples.write(handler, list, tenant)
  local status, _, body = handler:request(wire.write(list, { ["X-Scope-OrgID"] = tenant }))
  return status, body
end

--- Key of a series → its samples; all there are, unless it is told otherwise.
function samples.read(handler, matchers, first, last, tenant)
  local query = { start_ms = first or wire.min, end_ms = last or wire.max, matchers = matchers or samples.ALL }
  local status, _, body = handler:request(wire.read({ query }, { ["X-Scope-OrgID"] = tenant }))
  if status ~= 200 then error("status " .. status .. ": " .. body, 2) end
  local found = {}
  for _, series in ipairs(wire.read_response(wire.uncompress(body))[1]) do
    local list, key = {}, pra.key(series.labels)
    for i, time in ipairs(series.timestamps) do
      list[i] = wire.digits(time) .. " " .. to_bits(series.values[i])
    end
    if found[key] then error("a series twice", 2) end
    found[key] = table.concat(list, "\n")
  end
  return found
end

return samples
