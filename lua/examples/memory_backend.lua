local pra = require "prom_remote_api"
local memory = { threads = 1 } -- one Lua state: all requests see the same tables
local all = {}                 -- key → series

local function append(list, more) for i = 1, #more do list[#list + 1] = more[i] end end

function memory.write(ctx, request)
  for series in request:series() do
    local key = pra.key(series.labels, ctx.tenant)
    local known = all[key] or { labels = series.labels, timestamps = {}, values = {} }
    all[key], known.tenant = known, ctx.tenant
    append(known.timestamps, series.timestamps)
    append(known.values, series.values)
  end
end

function memory.process_query(ctx, query, sink)
  for _, series in pairs(all) do
    if series.tenant == ctx.tenant and query:matches(series.labels) then sink:add(series) end
  end
end

return assert(pra.serve { listen = "127.0.0.1:9201", storage = memory })
