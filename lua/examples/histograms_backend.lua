-- The backend in memory that keeps all there is: native histograms and exemplars too.
local pra = require "prom_remote_api"
local everything = { threads = 1, histograms = true, exemplars = true }
local all, traces = {}, {} -- key → series; a list of exemplars

local function append(list, more)
  for i = 1, #(more or {}) do list[#list + 1] = more[i] end
end

function everything.write(ctx, request)
  for series, number in request:series() do
    if series.labels.trace_id then
      request:reject(number, "a trace_id belongs into an exemplar") -- the rest is stored
    else
      local key = pra.key(series.labels, ctx.tenant)
      local known = all[key] or { labels = series.labels, timestamps = {}, values = {}, histograms = {} }
      all[key], known.tenant = known, ctx.tenant
      append(known.timestamps, series.timestamps)
      append(known.values, series.values)
      append(known.histograms, series.histograms)
      append(traces, series.exemplars)
    end
  end
end

function everything.process_query(ctx, query, sink)
  for _, series in pairs(all) do
    if series.tenant == ctx.tenant and query:matches(series.labels) then sink:add(series) end
  end
end

return assert(pra.serve { listen = "127.0.0.1:9201", storage = everything })
