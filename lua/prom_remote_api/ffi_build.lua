-- SPDX-License-Identifier: Apache-2.0
-- Write requests that a script makes: series by series, or from those of another request.
local ffi = require "ffi"
local base = require "prom_remote_api.ffi_base"
local histograms = require "prom_remote_api.ffi_histogram"
local requests = require "prom_remote_api.ffi_request"
local series = require "prom_remote_api.ffi_series"

local build = {}
local lib, Request = base.lib, requests.Request
local check = requests.check

---- empty requests

-- A request object of an empty handle. What is shown of it is copied: it may grow.
local function new_built(shown)
  local handle, code = requests.take_handle()
  if not handle then return nil, code end
  local object, state = requests.new(handle, requests.own(handle, true), shown)
  state.built, state.copied, state.refresh = true, true, requests.refresh
  return object, state
end

--- An empty request; integers as in base.integers.
function build.request(integers)
  local object, code = new_built(base.integers(integers))
  if not object then return base.failure(code) end
  return object
end

-- The state of a request that can be added to; or nil, message, code.
local function check_built(self)
  local state = check(self)
  if not state.built then
    return nil, "only a request that pra.request made can be added to", lib.PRA_ERR_STATE
  end
  return state
end

---- add

-- Everything that may raise comes first: a request never has half a series.

local function prepare_histograms(one, keep)
  local list = series.list(one, "histograms")
  for i = 1, #list do
    keep[i] = {}
    histograms.columns_of(list[i], keep[i])
  end
  return #list
end

local function prepare_exemplars(one)
  local list, prepared = series.list(one, "exemplars"), {}
  for i = 1, #list do
    local exemplar = list[i]
    if type(exemplar) ~= "table" then error("an exemplar is a table", 0) end
    local scratch = base.take()
    local count = series.fill_labels(scratch, exemplar, nil, base.sorted_labels)
    local timestamp = base.integer(exemplar.timestamp)
    local value = tonumber(exemplar.value)
    if not timestamp or not value then
      error(("exemplar %d of a series has no %s"):format(i,
        timestamp and "number as value" or "integer as timestamp"), 0)
    end
    prepared[i] = { scratch = scratch, count = count, timestamp = timestamp, value = value }
  end
  return prepared
end

local function add_exemplars(raw, prepared)
  for _, e in ipairs(prepared) do
    local code = lib.pra_write_request_add_exemplar(raw, e.scratch.labels, e.count, e.timestamp,
      e.value)
    base.give(e.scratch)
    if code ~= 0 then return code end
  end
  return 0
end

local function add_series(raw, one, labels)
  local scratch, keep, few = base.take(), {}, { timestamps = {}, values = {} }
  scratch.keep.series = keep
  local data = one
  if one.timestamps == nil and one.values == nil and one.histograms ~= nil then data = few end
  local timestamps, values, count, starts = series.samples(keep, data)
  local histogram_count, exemplars = prepare_histograms(one, keep), prepare_exemplars(one)
  local label_count = series.fill_labels(scratch, one, labels, base.sorted_labels)
  local code = lib.pra_write_request_add_series(raw, scratch.labels, label_count)
  if code == 0 and count > 0 then
    code = lib.pra_write_request_add_samples(raw, timestamps, values, starts, count)
  end
  for i = 1, histogram_count do
    if code ~= 0 then break end
    code = lib.pra_write_request_add_histogram(raw, keep[i].columns, 0)
  end
  if code == 0 then code = add_exemplars(raw, exemplars) end
  scratch.keep.series = nil
  base.give(scratch)
  return code
end

-- The columns of a request, without metadata that stand alone before or behind those of series: in
-- a message of 1.0 they all do, and none of them is to be looked at for each series.
local function columns_to_copy(state)
  local columns = state.columns
  if columns.metadata_count == 0 then return columns end
  local all = tonumber(columns.metadata_count)
  local own = state.own or { columns = ffi.new("pra_columns"), seen = 0, first = 0, behind = 0 }
  state.own = own
  for i = own.seen, all - 1 do
    if columns.metadata[i].series ~= 0xffffffff then
      if own.behind == 0 then own.first = i end
      own.behind = i + 1
    end
  end
  own.seen = all
  ffi.copy(own.columns, columns, ffi.sizeof "pra_columns")
  own.columns.metadata = columns.metadata + own.first
  own.columns.metadata_count = own.behind - own.first
  return own.columns
end

-- A series of another request, as it is but for its labels.
local function add_copy(raw, state, one, labels)
  if state.refresh then state:refresh() end
  labels = labels or rawget(one, "_labels")
  local index = rawget(one, "_index") - 1
  if not labels then
    return lib.pra_write_request_add_copy(raw, columns_to_copy(state), index, nil, 0)
  end
  local scratch = base.take()
  local count = series.fill_labels(scratch, one, labels, base.sorted_labels)
  local columns = columns_to_copy(state)
  local code = lib.pra_write_request_add_copy(raw, columns, index, scratch.labels, count)
  base.give(scratch)
  return code
end

--- Adds a series: a table, or a series of a request; under these labels instead of its own, if they
--- are given.
---@param one pra.SeriesTable|pra.Series
---@param labels table<string, string>?
---@return true?
---@return string? message
---@return integer? code
function Request:add(one, labels)
  local state, message, number = check_built(self)
  if not state then return nil, message, number end
  if type(one) ~= "table" then
    error(("a series is a table {labels, timestamps, values}, not a %s"):format(type(one)), 2)
  end
  base.fresh()
  local from, code = series.state_of(one), nil
  if from and from.raw ~= state.raw and not series.is_changed(one) then
    code = add_copy(state.raw, from, one, labels)
  else -- of itself: what is added must not point into what grows
    code = add_series(state.raw, one, labels or one.labels)
  end
  state.changed = true
  if code ~= 0 then return base.failure(code) end
  return true
end

local function text_field(entry, name)
  local value = entry[name]
  if value == nil then return "" end
  if type(value) ~= "string" then error(("field %s of metadata is a string"):format(name), 3) end
  return value
end

--- Adds an entry of metadata { type, family, help, unit }; without a family it is of the series
--- that was added last (2.0).
---@param entry pra.Metadata
---@return true?
---@return string? message
---@return integer? code
function Request:add_metadata(entry)
  local state, message, number = check_built(self)
  if not state then return nil, message, number end
  if type(entry) ~= "table" then error("an entry of metadata is a table", 2) end
  local kind = requests.numbers_of_types[entry.type or "unknown"]
  if not kind then error("no such type of metric: " .. tostring(entry.type), 2) end
  local keep = { text_field(entry, "family"), text_field(entry, "help"), text_field(entry, "unit") }
  local texts = ffi.new "pra_str[3]"
  for i = 1, 3 do base.set_str(texts[i - 1], keep[i]) end
  base.fresh()
  local code = lib.pra_write_request_add_metadata(state.raw, kind, texts[0], texts[1], texts[2])
  keep[1], state.changed = nil, true -- they have lived until here
  if code ~= 0 then return base.failure(code) end
  return true
end

---- relabelling and splitting

local Relabel = {}
build.Relabel = Relabel
Relabel.__index = Relabel

-- Strings of a rule, which keep keeps alive.
local function set_text(keep, str, text)
  if type(text) ~= "string" then error("what a rule names is a string", 0) end
  keep[#keep + 1] = text
  base.set_str(str, text)
end

local function fill_sources(keep, rule, names)
  if type(names) ~= "table" then error("source_labels is a list of strings", 0) end
  local sources = ffi.new("pra_str[?]", #names)
  keep[#keep + 1] = sources
  for i = 1, #names do set_text(keep, sources[i - 1], names[i]) end
  rule.source_labels, rule.source_label_count = sources, #names
end

local known = { source_labels = true, separator = true, regex = true, modulus = true,
  target_label = true, replacement = true, action = true }

local function fill_rule(keep, rule, given, number)
  if type(given) ~= "table" then error(("rule %d is no table"):format(number), 0) end
  base.check(lib.pra_relabel_rule_init(rule, ffi.sizeof "pra_relabel_rule"))
  for name in pairs(given) do
    if not known[name] then
      error(("rule %d has no field %s"):format(number, tostring(name)), 0)
    end
  end
  if given.action ~= nil then
    local action = ffi.new "pra_str"
    set_text(keep, action, given.action)
    rule.action = lib.pra_relabel_action(action)
    if rule.action < 0 then
      base.fresh()
      return ("rule %d: no such action: %s"):format(number, given.action)
    end
  end
  if given.source_labels ~= nil then fill_sources(keep, rule, given.source_labels) end
  for _, name in ipairs { "separator", "regex", "target_label", "replacement" } do
    if given[name] ~= nil then set_text(keep, rule[name], given[name]) end
  end
  if given.modulus ~= nil then
    rule.modulus = base.unsigned(given.modulus) or error("modulus is a whole number", 0)
  end
end

--- Compiles a list of rules { source_labels, separator, regex, modulus, target_label, replacement,
--- action }.
function build.relabel(rules, limits)
  if type(rules) ~= "table" then error("rules are a list, not a " .. type(rules), 2) end
  local keep, raw = {}, ffi.new("pra_relabel_rule[?]", #rules)
  for i = 1, #rules do
    local message = fill_rule(keep, raw[i - 1], rules[i], i)
    if message then return nil, message, lib.PRA_ERR_INVALID_ARG end
  end
  local out, arena = ffi.new "pra_relabel *[1]", ffi.new "pra_arena *[1]"
  local code = lib.pra_relabel_new(nil, raw, #rules, limits, out, base.fresh())
  keep[1] = raw -- they have lived until here
  if code ~= 0 then return base.failure(code) end
  local relabel = setmetatable({ raw = ffi.gc(out[0], lib.pra_relabel_free) }, Relabel)
  code = lib.pra_arena_new(nil, 0, arena)
  if code ~= 0 then return base.failure(code) end
  relabel.arena = ffi.gc(arena[0], lib.pra_arena_free)
  return relabel
end

local function check_relabel(relabel)
  if type(relabel) ~= "table" or getmetatable(relabel) ~= Relabel then
    error("a relabel is wanted: what pra.relabel returns", 3)
  end
end

--- What the rules make of a set of labels: a new table, or nil if they drop it.
---@param labels table<string, string>
---@return table<string, string>?
function Relabel:labels(labels)
  check_relabel(self)
  if type(labels) ~= "table" then
    error("labels are a table of strings, not a " .. type(labels), 2)
  end
  local scratch, out = base.take(), ffi.new "const pra_label *[1]"
  local count = ffi.new "size_t[1]"
  local given = series.fill_labels(scratch, { labels = labels })
  local code = lib.pra_relabel_labels(self.raw, scratch.labels, given, self.arena, out, count,
    base.fresh())
  local left = nil
  if code == 0 then
    left = {}
    for i = 0, tonumber(count[0]) - 1 do
      left[base.text(out[0][i].name)] = base.text(out[0][i].value)
    end
  end
  base.give(scratch)
  lib.pra_arena_reset(self.arena)
  if code < 0 then return base.failure(code) end
  return left
end

--- A new request of what the rules leave, and how many series they dropped.
---@param relabel pra.Relabel
---@return pra.Request?
---@return integer|string|nil dropped or message
function Request:relabel(relabel)
  local state = check(self)
  check_relabel(relabel)
  local object, out = new_built(state.shown)
  if not object then return base.failure(out) end
  local dropped = ffi.new "uint64_t[1]"
  local code = lib.pra_write_request_relabel(state.raw, relabel.raw, out.raw, dropped, base.fresh())
  out.changed = true
  if code ~= 0 then return base.failure(code) end
  return object, tonumber(dropped[0])
end

local MOST_PARTS = 65536

--- A list of n requests: each series in the one that its labels' fingerprint names.
---@param n integer
---@return pra.Request[]?
function Request:split(n)
  local state = check(self)
  n = tonumber(n)
  if not n or n < 1 or n > MOST_PARTS or n % 1 ~= 0 then
    error(("a request is split into 1 to %d"):format(MOST_PARTS), 2)
  end
  local list, raw = {}, ffi.new("pra_write_request *[?]", n)
  for i = 1, n do
    local object, out = new_built(state.shown)
    if not object then return base.failure(out) end
    list[i], raw[i - 1], out.changed = object, out.raw, true
  end
  local code = lib.pra_write_request_split(state.raw, raw, n, base.fresh())
  if code ~= 0 then return base.failure(code) end
  return list
end

return build
