-- SPDX-License-Identifier: Apache-2.0
-- A storage for one worker that keeps what it gets, and says what it knows of the request.
local pra = require "prom_remote_api"
local kept = { all = {}, histograms = true, exemplars = true }

function kept.write(ctx, request)
  for series in request:series() do
    local one = series:totable()
    one.tenant = ctx.tenant
    kept.all[pra.key(one.labels, ctx.tenant)] = one
  end
end

function kept.process_query(ctx, query, sink)
  for _, series in pairs(kept.all) do
    if series.tenant == ctx.tenant and query:matches(series.labels) then sink:add(series) end
  end
end

return kept
