-- SPDX-License-Identifier: Apache-2.0

--- Prometheus remote write and remote read, with the storage in Lua.
---
--- A storage is a table of functions; each is optional, what is missing is answered with 404:
---
---   write(ctx, request)             store before returning; return nothing
---   process_query(ctx, query, sink) sink:add(series), or return a list of series, or return a
---                                   function that returns one series after the other
---   read(ctx, queries, sinks)       all queries of a request at once, instead of process_query:
---                                   fill sinks[i] for queries[i], or return a list of answers
---
--- ctx, request, query and sink are good until the function returns; later they raise an error.
---
---   ctx      tenant, path, query_string, remote_addr, user, worker, headers (names in lower case);
---            ctx:header(name)
---   request  see below; also request:reject(number, reason [, kind [, count]]): this series was not
---            stored and never will be, everything else was; or just count (1) of its data of a
---            kind: "sample", "histogram", "exemplar"
---   query    start_ms, end_ms (both inclusive); matchers, a list of { type, name, value } with
---            `set` and `prefix` where they are known; hints or nil; query:matches(labels)
---   sink     sink:add(series): labels, samples and histograms in any order; what is outside the
---            query's time range is left out
---
--- The sender is told that histograms (and, with remote write 2.0, exemplars) are refused unless the
--- storage says that it keeps them, by its fields `histograms = true` and `exemplars = true`.
---
--- Series
---
--- A plain series is a table that is the script's own; sink:add, request:add and answers have them:
---
---   { labels = { __name__ = "up", job = "web" }, timestamps = { 1700000000000 }, values = { 1.0 } }
---
--- Timestamps are milliseconds since 1970. There may also be
---
---   start_timestamps   since when each sample counts (0 = not said)
---   exemplars          a list of { labels, value, timestamp }
---   histograms         a list of native histograms: { timestamp, count, sum, schema,
---                      zero_threshold, zero_count, reset_hint ("unknown", "yes", "no", "gauge"),
---                      start_timestamp, positive_spans and negative_spans (lists of { offset,
---                      length }), positive_buckets and negative_buckets (the counts of these
---                      buckets), custom_values (the bounds with schema -53) }. All counts are
---                      floats or all are integers: is_float says which, and without it it is as count
---                      is written, where Lua tells 1.0 from 1. Integer ones also come as
---                      positive_deltas and negative_deltas, to be read only. What is 0 or empty may
---                      be left out.
---
--- `for series, number in request:series()` gives series objects, which may be used in its place.
--- They are made of what is asked for, and stay good for as long as they are referenced, also after
--- the call. Fields as above, and index (its number in the request) and fingerprint (16 hexadecimal
--- digits); start_timestamps, exemplars and histograms are nil if there are none. timestamps, values
--- and start_timestamps are Columns: column[i], #column, column:totable([first [, last]]).
---
---   series:label(name)    the value of one label, or nil, without a table
---   series:samples()      for timestamp, value in series:samples() do ... end
---   series:totable()      a plain series
---   series:reject(reason [, kind [, count]])
---
--- Requests
---
---   request:series()      see above
---   request:labels()      for number, labels in request:labels() do ... end: tables of labels, the
---                         quickest way to all of them
---   request:each_label()  for number, name, value in request:each_label() do ... end: without tables
---   #request, series_count, sample_count, histogram_count, exemplar_count
---   version               1 or 2; 0 if it was built
---   metadata              a list of { type, family or (2.0) series, its number, help, unit }
---   timestamps, values, start_timestamps (nil if there are none)
---                         Columns of all samples. Series number i has the samples from
---                         sample_offsets[i] + 1 to sample_offsets[i + 1]; likewise label_offsets,
---                         histogram_offsets, exemplar_offsets
---   fingerprints          a list of the fingerprints of the series
---   request:copy()        the same request to keep beyond the call; costs no memory
---   request:encode([{ version, compressed }]), request:map(fn), request:relabel(relabel),
---   request:split(n), request:add(series), request:add_metadata { type, family, help, unit }
---
--- pra.decode makes one of bytes, pra.request an empty one.
---
--- Integers
---
--- In Lua 5.3 and later they are integers. In 5.1, 5.2 and LuaJIT an integer is a number where that
--- is exact (up to 2^53), else a decimal string (ffi face: int64_t). With integers = "string" all are
--- decimal strings, with integers = "cdata" (ffi face) all are int64_t or uint64_t. What takes an
--- integer takes each of these. Counts above 2^63 - 1 are decimal strings where they are not cdata.
--- Values are doubles bit for bit; but LuaJIT has few NaNs: stale markers stay what they are, others
--- may become its own.
---
--- Failures
---
--- Functions that can fail return nil, message, code; wrong types of arguments raise. With
--- `require "prom_remote_api.strict"` all failures raise. How a storage function says that it did
--- not work: it raises an error.
---
---   error(pra.reject "...")   the data or the query is wrong: 400, the sender drops it
---   error(pra.retry "...")    it may work later: 503, the sender tries again
---   any other error           500, the sender tries again; message and traceback go to the log
---
--- To return them is the same as to raise them: `return nil, why`, `return false, why`, `return
--- pra.retry "..."`; also in an iterator that gives series. A script that runs out of memory is a
--- 503.
local core = require "prom_remote_api.faces"
local client = require "prom_remote_api.client"
local options = require "prom_remote_api.options"
local requests = require "prom_remote_api.requests"
local verdicts = require "prom_remote_api.verdicts"

---@class pra
---@field version string
---@field face "swig"|"ffi"
---@field stale_nan number the value that ends a series; compare with is_stale, not with ==
---@field is_stale fun(value: number): boolean whether it is that value
---@field key fun(labels: pra.Labels, tenant: string?): string one string for one set of labels
local pra = {
  version = core.version(),
  face = core.face,
  stale_nan = core.stale_nan,
  is_stale = core.is_stale,
  key = core.key,
  buckets = require "prom_remote_api.buckets",
  reject = verdicts.reject,
  retry = verdicts.retry,
  handler = require("prom_remote_api.handler").new,
  serve = require "prom_remote_api.serve",
  decode = requests.decode,
  request = requests.request,
  relabel = requests.relabel,
  encode_queries = client.encode_queries,
  decode_answer = client.decode_answer,
}

--- A string of few bytes that has all of a histogram, for a database.
---@param histogram pra.Histogram
---@return string
function pra.encode_histogram(histogram) return core.histogram_encode(histogram) end

local DECODE_HISTOGRAM = { "integers" }

--- A histogram from what encode_histogram gave, or from a Histogram message of remote write;
--- nil, message, code if it is none.
---@param data string
---@param opts { integers: string? }?
---@return pra.Histogram? histogram
---@return string? message
---@return integer? code
function pra.decode_histogram(data, opts)
  if opts then options.known(opts, DECODE_HISTOGRAM) end
  return core.histogram_decode(data, opts and opts.integers)
end

return pra
