-- SPDX-License-Identifier: Apache-2.0
-- The server: threads that call Lua, which prom_remote_api.core does on each face.
local new_handler = require("prom_remote_api.handler").new_core

local serving = false

--- Serves until SIGINT or SIGTERM. Options: those of pra.handler, and listen (default
--- "127.0.0.1:9201", port 0 = any free one), workers, max_connections, max_concurrent_reads,
--- web_config_file (TLS and passwords, as Prometheus' --web.config.file), bearer_token_file,
--- description, grace_ms (default 10,000), ready, a function that is called with the port before the
--- first request.
---
--- The calling Lua state serves all requests, one at a time. In `pra serve --storage=lua:FILE` the
--- program does the serving, with one Lua state for each of its workers (or as many as the storage
--- says in its field `threads`): there serve returns the storage, for FILE to return it in turn.
--- States share nothing: data that all requests are to see belong into a database, or into
--- `threads = 1`.
---@param opts table
---@return true|table|nil done or the storage
---@return string? message
---@return integer? code
local function serve(opts)
  local core = require "prom_remote_api.core"
  if core.hosted then return opts.storage end
  if serving then error("serve was called while serving", 2) end
  local handler, message, code = new_handler(core, opts)
  if not handler then return nil, message, code end
  local server
  server, message, code = core.Server(handler, opts.listen, opts.workers or 0,
    opts.max_connections or 0, opts.description or "a storage in Lua",
    opts.web_config_file, opts.bearer_token_file, opts.max_concurrent_reads or 0)
  if not server then return nil, message, code end
  io.stderr:write(('level=info msg="listening" port=%d\n'):format(server:port()))
  if opts.ready then opts.ready(server:port()) end
  serving = true
  local signal
  signal, message, code = server:serve(opts.grace_ms or 10000)
  serving = false
  if not signal then return nil, message, code end
  return true
end

return serve
