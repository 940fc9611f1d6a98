-- SPDX-License-Identifier: Apache-2.0

--- Prometheus remote write and remote read, with the storage in Lua.
--
-- A storage is a table of functions; each is optional, what is missing is answered with 404:
--
--   write(ctx, request)             store before returning; return nothing
--   process_query(ctx, query, sink) sink:add(series), or return a list of series, or return a
--                                   function that returns one series after the other
--   read(ctx, queries, sinks)       all queries of a request at once, instead of process_query:
--                                   fill sinks[i] for queries[i], or return a list of answers
--
-- A series is a plain table, the same in both directions:
--
--   { labels = { __name__ = "up", job = "web" }, timestamps = { 1700000000000 }, values = { 1.0 } }
--
-- Timestamps are integers, milliseconds since 1970. Integers have 64 bits: from Lua 5.3 on they are
-- Lua's; in Lua 5.1, 5.2 and LuaJIT a number up to 2^53 and beyond it a string of decimal digits, so
-- that nothing is lost. Counts above 2^63-1 are such strings everywhere. What takes an integer takes
-- a number, such a string or LuaJIT's int64_t and uint64_t.
-- A series of a request may also have
--
--   start_timestamps   since when each sample counts (0 = not said)
--   exemplars          a list of { labels, value, timestamp }
--   histograms         a list of native histograms, which a series of an answer may have too:
--                      { timestamp, count, sum, schema, zero_threshold, zero_count, reset_hint
--                      ("unknown", "yes", "no", "gauge"), start_timestamp, positive_spans and
--                      negative_spans (lists of { offset, length }), positive_buckets and
--                      negative_buckets (the counts of these buckets), custom_values (the bounds
--                      with schema -53) }. All counts are floats or all are integers, as
--                      is_float says; without it, as count is (before Lua 5.3: floats if it has a
--                      fraction). Integer ones also come as positive_deltas and negative_deltas, to
--                      be read only. What is 0 or empty may be left out.
--
-- The sender is told that histograms (and, with remote write 2.0, exemplars) are refused unless the
-- storage says that it keeps them, by its fields `histograms = true` and `exemplars = true`. Tables
-- that a script got are its own, to keep and to change.
--
-- ctx, request, query and sink are good until the function returns; later they raise an error.
--
--   ctx      tenant, path, query_string, remote_addr, user, worker, headers (names in lower case);
--            ctx:header(name)
--   request  for series, number in request:series() do ... end; #request; version (1 or 2);
--            metadata: a list of { type, family or (2.0) series, its number, help, unit };
--            request:reject(number, reason [, kind [, count]]): this series was not stored and never
--            will be, everything else was; or just count (1) of its data of a kind: "sample",
--            "histogram", "exemplar"
--   query    start_ms, end_ms (both inclusive); matchers, a list of { type, name, value } with
--            `set` and `prefix` where they are known; hints or nil; query:matches(labels)
--   sink     sink:add(series): labels, samples and histograms in any order; what is outside the
--            query's time range is left out
--
-- How a function says that it did not work: it raises an error.
--
--   error(pra.reject "...")   the data or the query is wrong: 400, the sender drops it
--   error(pra.retry "...")    it may work later: 503, the sender tries again
--   any other error           500, the sender tries again; message and traceback go to the log
--
-- `return nil, why` and `return false, why` are the same as `error(why)`. A script that runs out of
-- memory is a 503.
local core = require "prom_remote_api.core"
local unpack = table.unpack or unpack ---@diagnostic disable-line: deprecated

---@class pra
local pra = {
  version = core.version(),
  stale_nan = core.stale_nan, -- the value that ends a series; compare with is_stale, not with ==
  is_stale = core.is_stale,   -- is_stale(value)
  key = core.key,             -- key(labels [, tenant]): one string for one set of labels
}

---- Native histograms

--- A string of few bytes that has all of a histogram, for a database.
pra.encode_histogram = core.histogram_encode

--- A histogram from what encode_histogram gave, or from a Histogram message of remote write;
--- nil, message, code if it is none.
pra.decode_histogram = core.histogram_decode

-- Calls each(number of the bucket, count) for all buckets of one side.
local function each_bucket(spans, buckets, each)
  local index, at = 0, 1
  for _, span in ipairs(spans or {}) do
    index = index + span.offset
    for number = index, index + span.length - 1 do
      if not buckets or not buckets[at] then return end
      each(number, buckets[at])
      at = at + 1
    end
    index = index + span.length
  end
end

local function custom_buckets(h, add)
  local bounds = h.custom_values or {}
  each_bucket(h.positive_spans, h.positive_buckets, function(i, count)
    add(i < 1 and -math.huge or bounds[i] or math.huge,
      i < 0 and -math.huge or bounds[i + 1] or math.huge, count, i == 0, true)
  end)
end

local function exponential_buckets(h, add)
  local zero, negative = h.zero_threshold or 0, {}
  local function bounds(i)
    local lower = core.histogram_bound(h.schema or 0, i - 1)
    return lower > 0 and lower < zero and zero or lower, core.histogram_bound(h.schema or 0, i)
  end
  each_bucket(h.negative_spans, h.negative_buckets, function(i, count)
    table.insert(negative, { i, count })
  end)
  for k = #negative, 1, -1 do
    local lower, upper = bounds(negative[k][1])
    add(-upper, -lower, negative[k][2], true, false)
  end
  if (h.zero_count or 0) > 0 then add(-zero, zero, h.zero_count, true, true) end
  each_bucket(h.positive_spans, h.positive_buckets, function(i, count)
    local lower, upper = bounds(i)
    add(lower, upper, count, false, true)
  end)
end

--- for lower, upper, count, lower_inclusive, upper_inclusive in pra.buckets(histogram) do ... end:
--- all buckets from the lowest to the highest, as PromQL sees them; an empty zero bucket is left out.
function pra.buckets(histogram)
  local list, at = {}, 0
  local function add(...) list[#list + 1] = { ... } end
  local fill = histogram.schema == -53 and custom_buckets or exponential_buckets
  fill(histogram, add)
  return function()
    at = at + 1
    if list[at] then return unpack(list[at]) end
  end
end

---- Verdicts

core.verdict.__tostring = function(verdict) return verdict.message end

local function is_whole(n) return type(n) == "number" and n % 1 == 0 end

local function verdict(code, spec, allowed)
  if type(spec) ~= "table" then spec = { spec } end
  local status, after = spec.status, spec.after
  if status and not allowed(status) then
    error("status " .. tostring(status) .. " does not say this", 3)
  end
  if after and not (is_whole(after) and after >= 0 and after <= 0xffffffff) then
    error("after is a whole number of seconds", 3)
  end
  local message = tostring(spec[1] or core.strerror(code))
  return setmetatable({ code = code, message = message, status = status, after = after },
    core.verdict)
end

--- The request is wrong and will stay so: error(pra.reject "no such tenant"), or with another
--- status than 400: error(pra.reject { "no such tenant", status = 404 }).
function pra.reject(spec)
  return verdict(core.ERR_REJECT, spec, function(status)
    return is_whole(status) and status >= 400 and status <= 499 and status ~= 429
  end)
end

--- It may work later: error(pra.retry "compacting"), or with another status than 503 (429, 5xx) and
--- seconds to wait: error(pra.retry { "too fast", status = 429, after = 30 }).
function pra.retry(spec)
  return verdict(core.ERR_RETRY, spec, function(status)
    return is_whole(status) and (status == 429 or status >= 500 and status <= 599)
  end)
end

---- Handler: requests in, answers out, without a socket

local function limits_of(options)
  if not options.limits then return nil end
  local limits = core.Limits()
  for name, value in pairs(options.limits) do
    if not limits[name] then error("no such limit: " .. tostring(name), 3) end
    limits[name] = value
  end
  return limits
end

-- Options of pra_handler_opts that are no limits; nil where there are none.
local function rules_of(options)
  local rules = assert(core.Rules())
  local accepted, bits = 0, { 2, 4 }
  for _, version in ipairs(options.accepted_messages or { 1, 2 }) do
    if version ~= 1 and version ~= 2 then
      error("no such version of remote write: " .. tostring(version), 4)
    end
    accepted, bits[version] = accepted + bits[version], 0
  end
  rules.accepted_messages = accepted
  rules.canonical_flags = options.strict and core.CANONICAL_STRICT or 0
  rules.read_delay_ms = options.read_delay_ms or 0
  rules.read_max_age_ms = options.read_max_age_ms or 0
  for name, value in pairs(options.external_labels or {}) do
    rules:add_external_label(name, value)
  end
  for _, name in ipairs(options.ignored_matchers or {}) do rules:ignore_matcher(name) end
  return rules
end

local function new_handler(options)
  return core.Handler(limits_of(options), options.tenant_header, false, rules_of(options), options)
end

---@class pra.Handler
local Handler = {}
Handler.__index = Handler

--- Options: storage; limits, a table by the names of pra_limits; tenant_header (default
--- "X-Scope-OrgID", "" = none); log, a function that takes the text of an error that a storage
--- function raised (default: standard error); accepted_messages, a list of versions of remote write
--- (default { 1, 2 }); strict = true, which refuses what is mended otherwise (unsorted labels, empty
--- values); external_labels, which every series of an answer has; ignored_matchers, a list of labels
--- that queries are not to ask about; read_delay_ms and read_max_age_ms: what is younger or older is
--- not read.
function pra.handler(options)
  local handler, message, code = new_handler(options)
  if not handler then return nil, message, code end
  return setmetatable({ core = handler, idle = {} }, Handler)
end

-- Steps return core.OK: go on; core.DONE: the answer stands; nil, message, code.
local function drive(x, request)
  local go, message, code = x:begin(request.method or "POST", request.target or "/",
    request.headers or {}, request.remote_addr or "", request.user or "", core.ENDPOINT_AUTO)
  if go == core.OK then go, message, code = x:feed(request.body or "") end
  if go == core.OK then go, message, code = x:end_body() end
  if go == core.OK then go, message, code = x:run() end
  return message, code
end

local function answer_of(x)
  local headers, pieces = {}, {}
  for i = 0, x:header_count() - 1 do
    headers[x:header_name(i):lower()] = x:header_value(i)
  end
  repeat
    local piece, message, code = x:body()
    if message then return nil, message, code end
    pieces[#pieces + 1] = piece
  until not piece
  return x:status(), headers, table.concat(pieces)
end

--- Answers one HTTP request {method, target, headers (names to strings), body, remote_addr, user}:
--- returns status, headers (names in lower case), body. May be called from a coroutine; a storage
--- function cannot yield.
function Handler:request(request)
  local x, message, code = table.remove(self.idle)
  if not x then
    x, message, code = core.Exchange(self.core)
    if not x then return nil, message, code end
  end
  message, code = drive(x, request)
  if x:status() == 0 then return nil, message, code end
  local status, headers, body = answer_of(x)
  self.idle[#self.idle + 1] = x
  return status, headers, body
end

---- Server

local serving = false

--- Serves until SIGINT or SIGTERM. Options: those of pra.handler, and listen (default
--- "127.0.0.1:9201", port 0 = any free one), workers, max_connections, max_concurrent_reads,
--- web_config_file (TLS and passwords, as Prometheus' --web.config.file), bearer_token_file,
--- description, grace_ms (default 10,000), ready, a function that is called with the port before the first request.
---
--- The calling Lua state serves all requests, one at a time. In `pra serve --storage=lua:FILE` the
--- program does the serving, with one Lua state for each of its workers (or as many as the storage
--- says in its field `threads`): there serve returns the storage, for FILE to return it in turn.
--- States share nothing: data that all requests are to see belong into a database, or into
--- `threads = 1`.
function pra.serve(options)
  if core.hosted then return options.storage end
  if serving then error("serve was called while serving", 2) end
  local handler, message, code = new_handler(options)
  if not handler then return nil, message, code end
  local server
  server, message, code = core.Server(handler, options.listen, options.workers or 0,
    options.max_connections or 0, options.description or "a storage in Lua",
    options.web_config_file, options.bearer_token_file, options.max_concurrent_reads or 0)
  if not server then return nil, message, code end
  io.stderr:write(('level=info msg="listening" port=%d\n'):format(server:port()))
  if options.ready then options.ready(server:port()) end
  serving = true
  local signal
  signal, message, code = server:serve(options.grace_ms or 10000)
  serving = false
  if not signal then return nil, message, code end
  return true
end

return pra
