-- SPDX-License-Identifier: Apache-2.0

--- Prometheus remote write and remote read inside nginx (OpenResty, or Debian's
--- libnginx-mod-http-lua): a backend in Lua, or a filter before another one.
---
---   local remote = require "prom_remote_api.nginx"
---
--- It needs LuaJIT and libpra.so, nothing else of ours: no thread, no process, no module in C.
--- Everything is made once, in init_by_lua (a mistake in the options then keeps nginx from
--- starting), and used by all workers; each keeps a few exchanges of its own with the memory of the
--- requests they have seen. Decoding and encoding is C that runs without yielding: some
--- milliseconds for a large request, in which the worker does nothing else. Bodies come from memory
--- or from nginx' temporary file, with a Content-Length or chunked; client_max_body_size is to be
--- at least the limit max_body_bytes (32 MiB), or nginx answers in our place, and
--- client_body_buffer_size, say 1m, keeps them out of the file. lua_need_request_body is not
--- needed.
---
--- remote.handler(options) → a function for content_by_lua: the protocol, over a storage in Lua.
---
---   init_by_lua_block {
---     local remote = require "prom_remote_api.nginx"
---     store = remote.handler { storage = require "my_storage" }
---   }
---   location /api/v1/ { content_by_lua_block { store() } }
---
---   Options are those of pra.handler, of which log is nginx' error log here, and
---     endpoint    "write" or "read": what any path of this location is (default: by the last part
---                 of the path, write, receive or read; else 404)
---
---   Functions of the storage may yield (cosockets, ngx.location.capture, ngx.sleep). The queries
---   of a read are asked at the same time, each in a light thread. Long answers are sent piece by
---   piece, and the next piece is made when the client has taken the one before. With
---   lua_check_client_abort on, a read ends when its client goes; a write is always finished.
---   ctx.user is $remote_user, ctx.remote_addr is $remote_addr, ctx.tenant is the header
---   X-Scope-OrgID (option tenant_header; check it with a gate). Tables of a storage are one
---   worker's: what all workers are to see belongs into a database, or nginx gets worker_processes
---   1: with more than the field threads of a storage says nginx does not start.
---
--- remote.filter(options) → a filter: write requests are decoded, changed, encoded and passed on.
---
---   relabel           a list of rules, as pra.relabel takes them: Prometheus'
---                     write_relabel_configs
---   map               function(labels, series, ctx): returns the labels (changed, or another
---                     table) under which the series goes on, or nil to drop it; after relabel
---   upstream_version  1 or 2: the version of remote write that the upstream takes; default: as it
---                     came
---   upstreams         a list of internal locations with proxy_pass: series are divided among them
---                     by their fingerprint (one location gets all)
---   tenant            as remote.gate takes it: asked before the body is read
---   count_dropped     false: what relabel and map dropped counts as not written in the answer to a
---                     sender of 2.0 (default true: it is gone because this was asked for, and a
---                     sender that hears of nothing written takes that for a failure)
---   limits            by the names of pra_limits
---   metrics           name of a lua_shared_dict that counts; remote.metrics shows it
---
---   Without upstreams it stands before nginx' own proxy_pass:
---
---     location = /api/v1/write {
---       access_by_lua_block { filter() }
---       header_filter_by_lua_block { filter:header_filter() }
---       body_filter_by_lua_block { filter:body_filter() }
---       proxy_pass http://backend;
---     }
---
---   With upstreams it is what answers, in content_by_lua_block { filter() }. The module makes its
---   subrequests for HTTP/1.1 only: such a server is not to listen with http2.
---
---   What comes back
---   - What is malformed, too large, or no remote write is answered as any of our servers does, and
---     the upstream never hears of it.
---   - Labels that rules make larger than limits allow are a 400: sent again they would be no smaller.
---   - The upstream's verdict passes back. If it cannot be reached or does not answer in time,
---     nginx' 502 or 504 makes the sender try again.
---   - Where series are dropped and nothing is left, the answer is 204 and nothing is passed on.
---   - Single series that are invalid (no name, a label twice, …) are taken out. When the
---     upstream has taken the rest the answer is a 400 that says which, so that the sender, which
---     never sends them again after a 4xx, counts and logs them; when it has not, the upstream's
---     answer goes first, and all of it comes again. A filter that changes nothing passes the
---     request on as it came and leaves this to the upstream.
---   - The headers that say to a sender of 2.0 how much was written are put right: for what was
---     dropped (see count_dropped), and when the upstream takes 1.0, which has none. An upstream that
---     is sent 2.0 and answers 2xx without them has not understood it: 502.
---   - Of several upstreams the worst answer counts: 5xx, or anything that is none of 2xx, 4xx (as
---     502); then 429; then the other 4xx. Retry-After is the longest of theirs. After 5xx and 429
---     the sender sends everything again, also to those that had written it: they must not mind.
---   header_filter and body_filter can be left out where neither version 2.0 nor invalid series
---   matter.
---
--- remote.gate(options) → a function for access_by_lua, for reads and writes alike.
---   header   the tenant's header (default X-Scope-OrgID); it reaches the upstream exactly once
---   allow    a list of tenants; or function(tenant, ctx) (ctx: tenant, user, remote_addr, path,
---            ctx:header(name)), which returns true, or another tenant to go on as, or false and a
---            reason, and may raise pra.reject and pra.retry; default: any
---   default  the tenant of requests without the header; without it they are refused
---   No tenant is 401, a wrong one 403, two are 400: a sender drops its data. An error in allow is
---   500.
---
--- remote.metrics(name) in content_by_lua: what filters have counted, in Prometheus' text format.
local handler = require "prom_remote_api.nginx.handler"
local filter = require "prom_remote_api.nginx.filter"
local gate = require "prom_remote_api.nginx.gate"
local counters = require "prom_remote_api.nginx.counters"

---@class pra.nginx
local remote = {}

--- A backend: see above.
---@param options table
---@return fun() content for content_by_lua
function remote.handler(options) return handler.new(options) end

--- A filter of write requests: see above.
---@param options table
---@return pra.nginx.Filter
function remote.filter(options) return filter.new(options) end

--- A gate for tenants: see above.
---@param options { header: string?, allow: table|function|nil, default: string? }
---@return fun() access for access_by_lua
function remote.gate(options) return gate.new(options) end

--- For content_by_lua: counters of filters, as Prometheus scrapes them.
---@param dict string
function remote.metrics(dict) return counters.page(dict) end

return remote
