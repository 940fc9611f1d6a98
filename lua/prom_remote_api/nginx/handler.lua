-- SPDX-License-Identifier: Apache-2.0
-- A backend in Lua inside nginx: the shared handler behind content_by_lua.
local pra = require "prom_remote_api"
local exchanges = require "prom_remote_api.nginx.exchanges"

local handler = {}

local function go_on() end

-- A write is finished even if its sender has gone: half a write helps nobody.
local function guarded(storage)
  if not storage.write then return storage end
  local write = storage.write
  return setmetatable({ write = function(ctx, request)
    ngx.on_abort(go_on) -- refused, and not needed, where lua_check_client_abort is off
    return write(ctx, request)
  end }, { __index = storage })
end

-- With more workers than states a storage is for, each keeps data that the others do not see.
local function check_workers(threads)
  local workers = ngx.worker.count()
  if threads and workers > threads then
    error(("this storage keeps its data in %d worker(s), nginx has %d: set worker_processes %d")
      :format(threads, workers, threads), 3)
  end
end

--- A function for content_by_lua; see nginx.lua.
function handler.new(opts)
  local all = {}
  for name, value in pairs(opts) do all[name] = value end
  all.endpoint = nil
  all.storage = guarded(opts.storage or error("a storage is missing", 3))
  check_workers(all.storage.threads)
  all.log = opts.log or function(text) ngx.log(ngx.ERR, "remote storage: ", text) end
  local pool = exchanges.pool(assert(pra.handler(all)), opts.endpoint)
  return function() return pool:send(pool:receive()) end
end

return handler
