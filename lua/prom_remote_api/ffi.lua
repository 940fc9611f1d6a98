-- SPDX-License-Identifier: Apache-2.0

--- The core interface (see faces.lua) over LuaJIT's FFI: libpra.so and no C beside it. Its
--- exchanges are stepped, so that storage functions may yield.
local base = require "prom_remote_api.ffi_base"
local build = require "prom_remote_api.ffi_build"
local client = require "prom_remote_api.ffi_client"
local handlers = require "prom_remote_api.ffi_handler"
local histograms = require "prom_remote_api.ffi_histogram"
local requests = require "prom_remote_api.ffi_request"
local series = require "prom_remote_api.ffi_series"
local columns = require "prom_remote_api.ffi_columns"
local views = require "prom_remote_api.ffi_views"
local ffi = require "ffi"

local lib = base.lib

local core = {
  face = "ffi",
  version = function() return ffi.string(lib.pra_version_cstr()) end,
  strerror = base.strerror,
  http_status = function(code) return lib.pra_http_status(code) end,
  stale_nan = base.stale_nan,
  is_stale = base.is_stale,
  key = base.key,
  verdict = views.verdict,
  histogram_encode = histograms.encode,
  histogram_decode = histograms.decode,
  histogram_bound = histograms.bound,
  request = build.request,
  encode_queries = client.encode_queries,
  Limits = handlers.Limits,
  Rules = handlers.Rules,
  Handler = handlers.Handler,
  Exchange = handlers.Exchange,
  Request = requests.Request,
  Relabel = build.Relabel,
  Series = series.Series,
  Column = columns.Column,
}

function core.decode(data, version, compressed, limits, integers)
  return requests.decode(data, version, compressed, handlers.limits_of(limits), integers)
end

function core.decode_answer(body, streamed, limits, integers)
  return client.decode_answer(body, streamed, handlers.limits_of(limits), integers)
end

function core.relabel(rules, limits) return build.relabel(rules, handlers.limits_of(limits)) end

for _, name in ipairs { "OK", "DONE", "ERR_REJECT", "ERR_RETRY", "ERR_INVALID_ARG",
  "ENDPOINT_AUTO", "CANONICAL_STRICT" } do
  core[name] = lib["PRA_" .. name]
end

return core
