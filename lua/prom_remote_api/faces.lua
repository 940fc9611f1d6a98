-- SPDX-License-Identifier: Apache-2.0

--- Which face of libpra is below: prom_remote_api.core, the module in C, or, in LuaJIT where
--- libpra.so is found, prom_remote_api.ffi. Both offer the core interface, and no more of the Lua
--- API than that: what can be said in Lua stands in the files beside this one, once.
---
--- Core interface
---
--- Functions that can fail return nil, message, code; wrong types of arguments raise. Integers of
--- 64 bits go in as numbers, decimal strings or (LuaJIT) cdata, and come out as `integers` says:
--- nil (numbers where exact), "string", "cdata" (ffi only).
---
---   face, version(), strerror(code), http_status(code)
---   OK, DONE, ERR_REJECT, ERR_RETRY, ERR_INVALID_ARG, ENDPOINT_AUTO, CANONICAL_STRICT
---   stale_nan, is_stale(value), key(labels [, tenant])
---   verdict                        a metatable: of errors that say how a call is to be answered
---   histogram_encode(histogram), histogram_decode(bytes [, integers]),
---   histogram_bound(schema, index)
---
---   Limits()                       an object with the fields of pra_limits (0 at first; reading any
---                                  other field gives nil), to be assigned
---   relabel(rules, limits)         → object; Relabel, the table of its methods: labels(self, labels)
---                                  → labels, or nil if they are dropped
---   decode(data, version, compressed, limits, integers) → Request
---   request(integers)              → Request, empty, to be built
---   encode_queries(queries, types) → string; types: a list of PRA_RESPONSE_ numbers, or nil
---   decode_answer(body, streamed, limits, integers) → list per query of lists of series tables
---
---   Request                        the table in which the methods of requests are looked up; in it:
---     series(self), labels(self), each_label(self)
---     add(self, series [, labels]) → true; labels: to be used instead of the series' own
---     add_metadata(self, entry)    → true
---     encode(self, version, compressed) → string
---     copy(self)                   → Request
---     relabel(self, relabel)       → Request, dropped
---     split(self, n)               → list of Requests
---     reject(self, number, reason [, kind [, count]])
---     and as fields: version, series_count, sample_count, histogram_count, exemplar_count,
---     metadata, timestamps, values, start_timestamps, sample_offsets, label_offsets,
---     histogram_offsets, exemplar_offsets, fingerprints, and #request
---   Series                         likewise of series: label, samples, reject; and as fields labels,
---                                  timestamps, values, start_timestamps, histograms, exemplars,
---                                  index, fingerprint
---   Column                         likewise of columns: totable(self [, first, last]); column[i],
---                                  #column
---
---   Rules()                        an object with the fields of pra_handler_opts that are neither
---                                  limits nor pointers, to be assigned, and the methods
---                                  add_external_label(name, value), ignore_matcher(name)
---   Handler(limits, tenant_header, parallel, rules, options) → object; options: the table of
---                                  pra.handler, of which it reads storage, log, integers,
---                                  max_memory, max_instructions
---   Exchange(handler)              → object with the methods
---     begin(method, target, headers, remote_addr, user, endpoint), feed(piece), end_body(), run()
---                                  → OK (go on), DONE (the answer stands); on the ffi face also
---                                  run(spawn) and cancel(): see handler.lua
---     status(), header_count(), header_name(i), header_value(i) (from 0), body_length() (nil: not
---     known), body() → piece or nil at the end, reset()
---   Server(handler, …)             only in core: see serve.lua
---
--- Requests that a storage function is handed, ctx, query and sink are objects as init.lua
--- describes them; that a request is over is an error of its methods, not of its series and columns.

local wanted = package.loaded["prom_remote_api.face"] -- "swig" or "ffi": for tests

local function try(name)
  local ok, core = pcall(require, "prom_remote_api." .. name)
  return ok and core or nil, core
end

if wanted then return require("prom_remote_api." .. (wanted == "ffi" and "ffi" or "core")) end
local core, why_not
if rawget(_G, "jit") and not package.loaded["prom_remote_api.core"] then
  core, why_not = try("ffi")
  if core then return core end
end
local message
core, message = try("core")
if core then return core end
error(tostring(message) .. (why_not and "\n" .. tostring(why_not) or ""), 0)
