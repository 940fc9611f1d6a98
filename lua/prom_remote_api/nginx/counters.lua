-- SPDX-License-Identifier: Apache-2.0
-- What filters count in a dictionary that all workers share.
local counters = {}

local HELP = {
  requests = "Write requests that were decoded.",
  series = "Series received.",
  dropped_series = "Series that rules or a map function dropped.",
  forwarded_requests = "Write requests passed on, or the parts of them.",
  refused_requests = "Write requests refused, whole or in part, before they were passed on.",
}
local NAMES = { "requests", "series", "dropped_series", "forwarded_requests", "refused_requests" }

--- A function count(name, n) over lua_shared_dict name; without one it does nothing.
function counters.over(name)
  if not name then return function() end end
  local dict = ngx.shared[name] or error("no lua_shared_dict " .. tostring(name), 3)
  return function(what, n) dict:incr(what, n, 0) end
end

--- For content_by_lua: the counters of lua_shared_dict name in Prometheus' text format.
function counters.page(name)
  local dict = ngx.shared[name] or error("no lua_shared_dict " .. tostring(name), 2)
  ngx.header["Content-Type"] = "text/plain; version=0.0.4; charset=utf-8"
  for _, what in ipairs(NAMES) do
    local metric = "prom_remote_api_filter_" .. what .. "_total"
    ngx.say("# HELP ", metric, " ", HELP[what])
    ngx.say("# TYPE ", metric, " counter")
    ngx.say(metric, " ", dict:get(what) or 0)
  end
end

return counters
