-- SPDX-License-Identifier: Apache-2.0
-- The server: threads that call Lua, which prom_remote_api.core does on each face.
local handlers = require "prom_remote_api.handler"
local options = require "prom_remote_api.options"
local new_handler = handlers.new_core

local KNOWN = { "script", "listen", "workers", "max_connections", "max_concurrent_reads",
  "web_config_file", "bearer_token_file", "description", "grace_ms", "ready", "reload",
  "max_memory", (table.unpack or unpack)(handlers.options) }

local serving = false

local function load_core()
  local ok, core = pcall(require, "prom_remote_api.core")
  if ok then return core end
  error("serve needs the module in C, prom_remote_api/core.so for " .. _VERSION
    .. ": install it with luarocks or see the README\n" .. core, 3)
end

-- The Lua states of opts.script: opts with the field host, or nil, message, code.
local function with_host(core, opts)
  if opts.storage then error("serve has either a storage or a script", 3) end
  local host, message, code = core.host {
    script = opts.script, workers = opts.workers or 8, max_memory = opts.max_memory,
    max_instructions = opts.max_instructions, path = package.path, cpath = package.cpath,
  }
  if not host then return nil, message, code end
  return setmetatable({ host = host }, { __index = opts })
end

-- Where handlers are of another face, verdicts are its own too; core is to know them, and its
-- requests are to be like the others.
local function join_faces(core)
  local face = require "prom_remote_api.faces"
  if face ~= core then debug.getregistry()["pra.verdict"] = face.verdict end
  require("prom_remote_api.requests").adopt(core)
end

local function run(core, opts)
  local handler, message, code = new_handler(core, opts)
  if not handler then return nil, message, code end
  local server
  server, message, code = core.Server(handler, opts.listen, opts.workers or 0,
    opts.max_connections or 0, opts.description or "a storage in Lua",
    opts.web_config_file, opts.bearer_token_file, opts.max_concurrent_reads or 0)
  if not server then return nil, message, code end
  local function announce()
    io.stderr:write(('level=info msg="listening" port=%d\n'):format(server:port()))
    if opts.ready then opts.ready(server:port()) end
  end
  local reload = opts.reload ~= false and opts.host or nil
  local signal
  signal, message, code = server:serve(opts.grace_ms or 10000, reload, announce)
  if not signal then return nil, message, code end
  return true
end

--- Serves until SIGINT or SIGTERM. Options: those of pra.handler, and listen (default
--- "127.0.0.1:9201", port 0 = any free one), workers (default 8), max_connections,
--- max_concurrent_reads, web_config_file (TLS and passwords, as Prometheus' --web.config.file),
--- bearer_token_file, description, grace_ms (default 10,000), ready, a function that is called with
--- the port before the first request.
---
--- With `script = "store.lua"` instead of a storage each worker (or as many as the storage says in
--- its field `threads`) has a Lua state of its own, in which the file is run; what it returns is the
--- storage. The calling state only waits. On SIGHUP (unless `reload = false`) the file is run again,
--- in new states. max_memory and max_instructions are the caps of each call: bytes that it may add
--- to its state, instructions that it may take; past them the sender gets 503. They hold for loading
--- the file too; past them it does not run. States share nothing:
--- data that all requests are to see belong into a database, or into `threads = 1`.
---
--- With `storage` the calling Lua state serves all requests, one at a time; there is no reload, and
--- of the caps max_instructions only. In the script of a server (here, or in
--- `pra serve --storage=lua:FILE`) serve returns the storage, for the script to return it in turn.
---
--- The storage's function close is called when no more is asked of it: at the end of serve, or of a
--- state. More in lua/docs/serve.md.
---@param opts table
---@return true|table|nil done or the storage
---@return string? message
---@return integer? code
local function serve(opts)
  options.known(opts, KNOWN)
  local core = load_core()
  if core.hosted then
    return opts.storage or error("in the script of a server, serve needs a storage", 2)
  end
  if serving then error("serve was called while serving", 2) end
  local message, code
  if opts.script then
    opts, message, code = with_host(core, opts)
    if not opts then return nil, message, code end
  else
    join_faces(core)
  end
  serving = true
  local ok, done
  ok, done, message, code = pcall(run, core, opts)
  serving = false
  if opts.host then
    core.host_close(opts.host)
  elseif type(opts.storage) == "table" and opts.storage.close then
    opts.storage.close()
  end
  if not ok then error(done, 0) end
  return done, message, code
end

return serve
