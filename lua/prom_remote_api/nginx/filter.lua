-- SPDX-License-Identifier: Apache-2.0
-- Write requests on their way to an upstream: decoded, changed, encoded again.
local pra = require "prom_remote_api"
local core = require "prom_remote_api.faces"
local counters = require "prom_remote_api.nginx.counters"
local exchanges = require "prom_remote_api.nginx.exchanges"
local gate = require "prom_remote_api.nginx.gate"
local options = require "prom_remote_api.options"
local shards = require "prom_remote_api.nginx.shards"
local written = require "prom_remote_api.nginx.written"

local filter = {}

local KEY = "prom_remote_api" -- in ngx.ctx: what is known of the request

local MESSAGES = {
  { content_type = "application/x-protobuf", version = "0.1.0" },
  {
    content_type = "application/x-protobuf;proto=io.prometheus.write.v2.Request", version = "2.0.0",
  },
}

local TEXT = { ["Content-Type"] = "text/plain; charset=utf-8" }

---@class pra.nginx.Filter
local Filter = {}
Filter.__index = Filter

-- What a method of a request made. What it makes of this request it makes of it every time: only
-- the want of memory passes.
local function made(out, message, code)
  if out then return out end
  local status = core.http_status(code)
  error(status < 500 and pra.reject { message, status = status } or pra.retry(message), 0)
end

-- The request with everything done to it that was asked for.
local function transform(self, ctx, request)
  local out = request
  if self.relabel then out = made(out:relabel(self.relabel)) end
  local map = self.map
  if map then
    out = made(out:map(function(labels, series) return map(labels, series, ctx) end))
  end
  return out
end

local function set_message_headers(version)
  local message = MESSAGES[version]
  ngx.req.set_header("Content-Type", message.content_type)
  ngx.req.set_header("Content-Encoding", "snappy")
  ngx.req.set_header("X-Prometheus-Remote-Write-Version", message.version)
end

-- For nginx' own proxy_pass behind access_by_lua. What nothing was asked of is passed on as it
-- came. Only when the new body is in place is the request one that goes on.
local function replace_body(self, state, out, version)
  if self.changes or version ~= state.version then
    ngx.req.set_body_data(made(out:encode { version = version }))
    set_message_headers(version)
    state.encoded = true
  end
  state.forwarded = written.counts(out)
end

-- The storage of the handler whose rules the filter follows.
local function storage_of(self)
  local storage = { histograms = true, exemplars = true }
  function storage.write(ctx, request)
    local state = ngx.ctx[KEY]
    local out = transform(self, ctx, request)
    state.version = request.version
    state.received = written.counts(request)
    state.empty = out.series_count == 0 and #out.metadata == 0
    self.count("requests", 1)
    self.count("series", request.series_count)
    self.count("dropped_series", request.series_count - out.series_count)
    if state.empty then
      state.forwarded, state.written = written.counts(out), written.counts(out)
      return
    end
    local version = self.upstream_version or request.version
    self.count("forwarded_requests", 1)
    if self.upstreams then
      set_message_headers(version)
      shards.forward(out, self.upstreams, version, state)
    else
      replace_body(self, state, out, version)
    end
  end
  return storage
end

-- What the sender is to be told, from what the upstreams said; who is to send all again is told
-- that nothing was written.
local function written_headers(self, state, status)
  if state.version ~= 2 or not state.forwarded then return nil end
  if status == 429 or status >= 500 then return written.none() end
  return written.headers(state.received, state.forwarded, state.written, self.count_dropped)
end

-- Checks and changes the request. Returns an exchange whose answer stands, and what came of it.
local function process(self)
  if self.gate then self.gate() end
  local state = {}
  ngx.ctx[KEY] = state
  local x = self.pool:receive()
  if x:status() ~= 204 and not state.forwarded then self.count("refused_requests", 1) end
  return x, state
end

-- With upstreams, for content_by_lua: their verdict is there.
local function answer(self)
  local x, state = process(self)
  ngx.ctx[KEY] = nil
  return self.pool:send(x, written_headers(self, state, x:status()))
end

-- What nginx' proxy_pass is to be left to. What x says would be the answer if the upstream writes
-- everything: where that is no plain success, it is kept for the filters of the answer.
local function pass(self)
  local x, state = process(self)
  if not state.forwarded or state.empty then
    ngx.ctx[KEY] = nil
    return self.pool:send(x, written_headers(self, state, x:status()))
  end
  local status, headers, body = exchanges.answer(x)
  self.pool:give(x)
  if status ~= 204 and state.encoded then
    self.count("refused_requests", 1)
    ngx.log(ngx.WARN, "remote write, partly refused: ", body:match "^[^\n]*")
    state.status, state.headers, state.body = status, headers, body
  end
end

--- What stands in access_by_lua or, with upstreams, in content_by_lua.
function Filter:__call()
  if self.upstreams then return answer(self) end
  return pass(self)
end

local function replace_answer(state, status, headers, body)
  state.body = body
  ngx.status = status
  for name, value in pairs(headers) do ngx.header[name] = value end
  ngx.header["Content-Length"], ngx.header["Content-Encoding"] = #body, nil
  state.replace = true
end

-- A sender would take these for a refusal and drop its data.
local function is_no_verdict(status)
  return status < 200 or status >= 300 and status < 400 or status >= 600
end

--- What stands in header_filter_by_lua beside access_by_lua: makes the upstream's headers those
--- that the sender understands, and success a 400 if a part of the request was refused here
--- already.
function Filter:header_filter()
  local state = ngx.ctx[KEY]
  if not state or not state.forwarded then return end
  if is_no_verdict(ngx.status) then
    written.remove(ngx.header)
    return replace_answer(state, 502, TEXT, "the upstream answered " .. ngx.status .. "\n")
  end
  local upstream = self.upstream_version or state.version
  local ok = ngx.status >= 200 and ngx.status < 300
  local header = function(name) return ngx.header[name] end
  local silent = upstream == 2 and written.not_understood(header, state.forwarded)
  if state.version == 1 then
    written.remove(ngx.header)
  elseif not silent then
    state.written = written.said(header, state.forwarded, ok)
    state.told = written_headers(self, state, ngx.status)
  end
  if ok and silent and state.version == 1 then -- a sender of 2.0 sees it by itself
    replace_answer(state, 502, TEXT, "the upstream does not know remote write 2.0\n")
  elseif ok and state.status and not silent then
    replace_answer(state, state.status, state.headers, state.body)
  end
  for name, value in pairs(state.told or {}) do ngx.header[name] = value end
end

--- What stands in body_filter_by_lua beside header_filter.
function Filter:body_filter()
  local state = ngx.ctx[KEY]
  if not state or not state.replace then return end
  ngx.arg[1] = ngx.arg[2] and state.body or nil
end

local MOST_UPSTREAMS = 50 -- nginx makes no more subrequests of a request at a time

local function check(opts)
  options.known(opts, { "relabel", "map", "upstream_version", "upstreams", "tenant", "count_dropped",
    "limits", "metrics" }, 4)
  if opts.upstream_version and not MESSAGES[opts.upstream_version] then
    error("upstream_version is 1 or 2", 3)
  end
  if opts.upstreams and (#opts.upstreams == 0 or #opts.upstreams > MOST_UPSTREAMS) then
    error("upstreams is a list of 1 to " .. MOST_UPSTREAMS .. " locations", 3)
  end
end

--- A filter; see nginx.lua.
function filter.new(opts)
  opts = opts or {}
  check(opts)
  local self = setmetatable({
    map = opts.map, upstream_version = opts.upstream_version, upstreams = opts.upstreams,
    count_dropped = opts.count_dropped ~= false, count = counters.over(opts.metrics),
    changes = opts.relabel ~= nil or opts.map ~= nil,
    gate = opts.tenant and gate.new(opts.tenant),
  }, Filter)
  if opts.relabel then self.relabel = assert(pra.relabel(opts.relabel, { limits = opts.limits })) end
  local handler = assert(pra.handler {
    storage = storage_of(self), limits = opts.limits,
    tenant_header = opts.tenant and opts.tenant.header,
    log = function(text) ngx.log(ngx.ERR, "remote write filter: ", text) end,
  })
  self.pool = exchanges.pool(handler, "write")
  return self
end

return filter
