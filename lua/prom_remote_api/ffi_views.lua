-- SPDX-License-Identifier: Apache-2.0
-- What a storage function is handed beside a request: ctx, query, sink. They are good for one call;
-- what a script reads from them is its own to keep.
local ffi = require "ffi"
local base = require "prom_remote_api.ffi_base"
local histograms = require "prom_remote_api.ffi_histogram"
local series = require "prom_remote_api.ffi_series"

local views = { verdict = {} } -- verdict: the metatable of errors that say how a call is answered
local lib = base.lib

-- A call is { alive, shown, exchange }: one storage function at work. A view holds its call, which
-- holds the exchange: what it points into is there as long as the call is alive.
local function class(name, methods, getters)
  local metatable = { __metatable = "locked" }
  local function check(self)
    if type(self) ~= "table" or getmetatable(self) ~= "locked" or
      rawget(self, "_kind") ~= metatable then
      error("a " .. name .. " is wanted", 3)
    end
    local call = rawget(self, "_call")
    if not call.alive then
      error(("this %s is over: it can be used until the storage function returns"):format(name), 3)
    end
    return rawget(self, "_raw"), call
  end
  function metatable.__index(self, key)
    if methods[key] then return methods[key] end
    local get = getters[key]
    if get then return get(check(self)) end
  end
  function metatable.__newindex() error("a " .. name .. " has no fields that can be set", 2) end
  local function new(call, raw)
    return setmetatable({ _kind = metatable, _call = call, _raw = raw }, metatable)
  end
  return new, check
end

---- context

---@class pra.Context
local Context, context_getters = {}, {}
local new_context, check_context = class("pra.context", Context, context_getters)
views.context = new_context

for _, name in ipairs { "tenant", "path", "query_string", "remote_addr", "user" } do
  context_getters[name] = function(raw)
    local out = ffi.new "pra_str"
    lib["pra_context_" .. name](raw, out)
    return base.text(out)
  end
end

function context_getters.worker(raw) return lib.pra_context_worker(raw) end

-- Of repeated names the first.
function context_getters.headers(raw)
  local out, headers = ffi.new "const pra_header *[1]", {}
  for i = tonumber(lib.pra_context_headers(raw, out)) - 1, 0, -1 do
    headers[base.text(out[0][i].name):lower()] = base.text(out[0][i].value)
  end
  return headers
end

--- The value of a request's header, nil if there is none of that name.
---@param name string
---@return string?
function Context:header(name)
  local raw = check_context(self)
  if type(name) ~= "string" then error("the name of a header is a string", 2) end
  local key, out = ffi.new "pra_str", ffi.new "pra_str"
  local scratch = base.take()
  scratch.keep[1] = name
  base.set_str(key, name)
  local there = lib.pra_context_header(raw, key, out)
  base.give(scratch)
  if there == 0 then return nil end
  return base.text(out)
end

---- query

---@class pra.Query
---@field start_ms integer
---@field end_ms integer
---@field matchers pra.Matcher[]
---@field hints pra.Hints?
local Query, query_getters = {}, {}
local new_query, check_query = class("pra.query", Query, query_getters)
views.query = new_query
views.check_query = check_query

function query_getters.start_ms(raw, call)
  return base.show[call.shown](lib.pra_query_start_ms(raw))
end

function query_getters.end_ms(raw, call) return base.show[call.shown](lib.pra_query_end_ms(raw)) end

local function strings(items, count)
  local list = {}
  for i = 1, tonumber(count) do list[i] = base.text(items[i - 1]) end
  return list
end

local matcher_types = { [0] = "=", "!=", "=~", "!~" }

local function matcher_table(matcher)
  local text, set = ffi.new "pra_str", ffi.new "const pra_str *[1]"
  local out = { type = matcher_types[lib.pra_matcher_type(matcher)] }
  lib.pra_matcher_name(matcher, text)
  out.name = base.text(text)
  lib.pra_matcher_value(matcher, text)
  out.value = base.text(text)
  local count = lib.pra_matcher_set(matcher, set)
  if count > 0 then out.set = strings(set[0], count) end
  if lib.pra_matcher_prefix(matcher, text) == 1 then out.prefix = base.text(text) end
  return out
end

function query_getters.matchers(raw)
  local list = {}
  for i = 1, tonumber(lib.pra_query_matcher_count(raw)) do
    list[i] = matcher_table(lib.pra_query_matcher(raw, i - 1))
  end
  return list
end

function query_getters.hints(raw, call)
  local hints = ffi.new("pra_read_hints", { size = ffi.sizeof "pra_read_hints" })
  local show = base.show[call.shown]
  if lib.pra_query_hints(raw, hints) ~= 0 or hints.present == 0 then return nil end
  return {
    func = base.text(hints.func), start_ms = show(hints.start_ms), end_ms = show(hints.end_ms),
    step_ms = show(hints.step_ms), range_ms = show(hints.range_ms), by = hints.by ~= 0,
    grouping = strings(hints.grouping, hints.grouping_count),
  }
end

-- Puts those of the labels that the query asks about into scratch; their number.
local function fill_asked(scratch, raw, labels)
  local matchers = tonumber(lib.pra_query_matcher_count(raw))
  local out, name, count = base.room(scratch, matchers), ffi.new "pra_str", 0
  for i = 0, matchers - 1 do
    lib.pra_matcher_name(lib.pra_query_matcher(raw, i), name)
    local text = base.text(name)
    local value = rawget(labels, text)
    if type(value) == "string" then
      out[count].name = name
      scratch.keep[count + 1] = value
      base.set_str(out[count].value, value)
      count = count + 1
    elseif value ~= nil then
      error(("the value of label '%s' is a %s, not a string"):format(text, type(value)), 3)
    end
  end
  return out, count
end

--- Whether a series with these labels is asked for, by Prometheus' own rules.
---@param labels table<string, string>
---@return boolean
function Query:matches(labels)
  local raw = check_query(self)
  if type(labels) ~= "table" then
    error("labels are a table of strings, not a " .. type(labels), 2)
  end
  local scratch = base.take()
  local code = lib.pra_query_matches(raw, fill_asked(scratch, raw, labels))
  base.give(scratch)
  if code < 0 then error(base.message(code), 2) end -- no answer is not "no"
  return code == 1
end

---- sink

---@class pra.Sink
local Sink = {}
local new_sink, check_sink = class("pra.sink", Sink, {})
views.sink = new_sink

local function raise(code, message)
  error(setmetatable({ code = tonumber(code), message = message }, views.verdict), 0)
end

-- Raises what the sink refused: its limits are the reader's fault, a series the script's.
local function checked(code)
  if code == 0 then return end
  local message = base.message(code)
  if code == lib.PRA_ERR_NOMEM then raise(lib.PRA_ERR_RETRY, message) end
  if code == lib.PRA_ERR_SAMPLE_LIMIT or code == lib.PRA_ERR_RESPONSE_TOO_LARGE or
    code == lib.PRA_ERR_CANCELLED then raise(code, message) end
  error(message, 0)
end

-- All that a series' functions may be asked for (metamethods, which may yield) comes before the
-- first call that needs the sink.
local function add(self, one)
  if type(one) ~= "table" then
    error(("a series is a table {labels, timestamps, values}, not a %s"):format(type(one)), 0)
  end
  local scratch = base.take()
  local keep = {}
  scratch.keep.samples = keep
  local timestamps, values, count = series.samples(keep, one)
  local columns, first, number = series.own_histograms(one)
  local list = columns and {} or series.list(one, "histograms")
  for i = 1, #list do
    keep[i] = {}
    histograms.columns_of(list[i], keep[i])
  end
  local label_count = series.fill_labels(scratch, one)
  local sink, call = check_sink(self)
  if call.exchange.cancelled then raise(lib.PRA_ERR_CANCELLED, "the reader is gone") end
  checked(lib.pra_series_sink_begin(sink, scratch.labels, label_count, base.fresh()))
  checked(lib.pra_series_sink_samples(sink, timestamps, values, count, base.fresh()))
  if columns and number > 0 then
    checked(lib.pra_series_sink_histograms(sink, columns, first, number, base.fresh()))
  end
  for i = 1, #list do
    checked(lib.pra_series_sink_histograms(sink, keep[i].columns, 0, 1, base.fresh()))
  end
  checked(lib.pra_series_sink_end(sink, base.fresh()))
  scratch.keep.samples = nil
  base.give(scratch)
end

--- Adds a series: labels, samples and histograms in any order; what is outside the query's time
--- range is left out.
---@param one pra.SeriesTable|pra.Series
function Sink:add(one)
  check_sink(self)
  add(self, one)
end

--- What a storage function returned. `return nil, why` and `return false` are failures like any
--- raised error: what a script did not store must not be acknowledged, and a part of an answer must
--- not look like all of it.
function views.demand(result, why)
  if type(result) == "table" and getmetatable(result) == views.verdict then
    error(result, 0) -- returned, where it should have been raised
  end
  if not result and (result == false or why ~= nil) then
    if why == nil then why = "the function returned false" end
    error(why, 0)
  end
  return result
end

--- Adds what a storage function returned: nothing, a list of series, or a function that returns one
--- after the other.
function views.drain(sink, answer)
  local kind = type(answer)
  if kind == "function" then
    local one = views.demand(answer())
    while one ~= nil do
      add(sink, one)
      one = views.demand(answer())
    end
  elseif kind == "table" then
    local i = 1
    while answer[i] ~= nil do
      add(sink, answer[i])
      i = i + 1
    end
  elseif answer ~= nil and kind ~= "boolean" then
    error(("the function returned a %s, not a list of series or an iterator"):format(kind), 0)
  end
end

return views
