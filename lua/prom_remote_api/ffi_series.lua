-- SPDX-License-Identifier: Apache-2.0
-- One series of a request, as an object that looks into the request's columns when it is asked; and
-- series tables, as C wants them.
local ffi = require "ffi"
local bit = require "bit"
local base = require "prom_remote_api.ffi_base"
local columns = require "prom_remote_api.ffi_columns"
local histograms = require "prom_remote_api.ffi_histogram"

if not pcall(function() return ffi.C.memcmp end) then
  ffi.cdef "int memcmp(const void *a, const void *b, size_t n);"
end

local series = {}
local lib, C = base.lib, ffi.C
local ffi_string = ffi.string
local found, new_table = pcall(require, "table.new")
if not found then new_table = function() return {} end end

--- The state of a request, which its series share:
--- columns (pra_columns), shown (a key of base.show), owner (what keeps the columns alive),
--- refresh(state) or nil (for requests that change: fetches the columns anew), copied (columns
--- change: what is kept of them must be a copy), call and result (of a storage's), symbols (number
--- → string)

---@class pra.Series
local Series = {}
series.Series = Series

---- labels

-- Of remote write 2.0: one string for each symbol.
local function symbol(state, ref, buffer, span)
  if ref == 0 then return ffi_string(buffer + span.off, span.len) end
  local text = state.symbols[ref]
  if not text then
    text = ffi_string(buffer + span.off, span.len)
    state.symbols[ref] = text
  end
  return text
end

--- Name and value of label k (from 0) of all. Of remote write 1.0 LuaJIT's own table of strings is
--- as fast as comparing with the series before: measured.
function series.label(state, k)
  local buffer, span, refs = state.columns.base, state.columns.labels[k], state.columns.label_refs
  if refs ~= nil then
    return symbol(state, refs[k].name, buffer, span.name),
      symbol(state, refs[k].value, buffer, span.value)
  end
  return ffi_string(buffer + span.name.off, span.name.len),
    ffi_string(buffer + span.value.off, span.value.len)
end

--- Labels of series number index (from 1).
function series.labels(state, index)
  local offsets = state.columns.label_offsets
  local first, last = offsets[index - 1], offsets[index]
  local labels = new_table(0, last - first)
  for k = first, last - 1 do
    local name, value = series.label(state, k)
    labels[name] = value
  end
  return labels
end

-- Labels first … last - 1 of exemplars.
local function exemplar_labels(state, first, last)
  local buffer, spans, labels = state.columns.base, state.columns.exemplar_labels, {}
  for k = first, last - 1 do
    labels[base.span(buffer, spans[k].name)] = base.span(buffer, spans[k].value)
  end
  return labels
end

function series.fingerprint(state, index)
  local c = state.columns
  local first = c.label_offsets[index - 1]
  return bit.tohex(lib.pra_labels_fingerprint(c.base, c.labels + first,
    c.label_offsets[index] - first))
end

---- fields

local function range(offsets, index)
  return offsets[index - 1], offsets[index] - offsets[index - 1]
end

local int64_array, double_array = ffi.typeof "int64_t[?]", ffi.typeof "double[?]"

-- A column of the elements at pointer; what may change is copied.
function series.integers(state, pointer, count)
  if not state.copied then
    return columns.integers(state.shown, pointer, count, state.owner)
  end
  local copy = int64_array(count)
  ffi.copy(copy, pointer, count * 8)
  return columns.integers(state.shown, copy, count, copy)
end

function series.values(state, pointer, count)
  if not state.copied then return columns.values(pointer, count, state.owner) end
  local copy = double_array(count)
  ffi.copy(copy, pointer, count * 8)
  return columns.values(copy, count, copy)
end

local getters = {}

function getters.labels(state, index) return series.labels(state, index) end

function getters.timestamps(state, index)
  local first, count = range(state.columns.sample_offsets, index)
  return series.integers(state, state.columns.timestamps_ms + first, count)
end

function getters.values(state, index)
  local first, count = range(state.columns.sample_offsets, index)
  return series.values(state, state.columns.values + first, count)
end

function getters.start_timestamps(state, index)
  local first, count = range(state.columns.sample_offsets, index)
  local starts = state.columns.start_timestamps_ms
  if starts == nil or count == 0 then return nil end
  return series.integers(state, starts + first, count)
end

function getters.histograms(state, index)
  local first, count = range(state.columns.histogram_offsets, index)
  if count == 0 then return nil end
  local list, show = {}, base.show[state.shown]
  for i = 1, count do
    list[i] = histograms.table_of(state.columns, state.columns.histograms[first + i - 1], show)
  end
  return list
end

function getters.exemplars(state, index)
  local c = state.columns
  local first, count = range(c.exemplar_offsets, index)
  if count == 0 then return nil end
  local list, show, offsets = {}, base.show[state.shown], c.exemplar_label_offsets
  for i = first, first + count - 1 do
    list[i - first + 1] = {
      labels = exemplar_labels(state, offsets[i], offsets[i + 1]),
      timestamp = show(c.exemplar_timestamps_ms[i]),
      value = base.number_at(c.exemplar_values, i),
    }
  end
  return list
end

function getters.fingerprint(state, index) return series.fingerprint(state, index) end

-- What was made of a series, once it was asked for, is kept in the object under another name, so
-- that it cannot be set.
local kept = {}
for name in pairs(getters) do kept[name] = "_" .. name end

local metatable = { __metatable = "locked" }

function metatable.__index(self, key)
  local slot = kept[key]
  if slot then
    local value = rawget(self, slot)
    if not value then
      local state = rawget(self, "_state")
      if state.refresh then state:refresh() end
      value = getters[key](state, rawget(self, "_index"))
      rawset(self, slot, value)
    end
    return value
  end
  if key == "index" then return rawget(self, "_index") end
  return Series[key]
end

function metatable.__newindex()
  error("a series cannot be changed; series:totable() gives a table that can", 2)
end

--- Series number index (from 1) of the request with this state.
function series.new(state, index)
  -- what is asked for most has its room from the start
  return setmetatable({ _state = state, _index = index, _labels = false, _timestamps = false,
    _values = false }, metatable)
end

-- The state behind a series object; nil if it is something else.
local function state_of(object)
  local state = type(object) == "table" and rawget(object, "_state")
  return state and state.columns and state or nil
end

local function check(self)
  local state = state_of(self)
  if not state then error("a series of a request is wanted", 3) end
  if state.refresh then state:refresh() end
  return state, self._index
end

---- methods

--- The value of the label of that name, nil if there is none.
---@param name string
---@return string?
function Series:label(name)
  local state, index = check(self)
  if type(name) ~= "string" then error("the name of a label is a string", 2) end
  local labels = rawget(self, "_labels")
  if labels then return labels[name] end
  local c, length = state.columns, #name
  for k = c.label_offsets[index - 1], c.label_offsets[index] - 1 do
    local span = c.labels[k].name
    if span.len == length and C.memcmp(c.base + span.off, name, length) == 0 then
      local value = c.labels[k].value
      return ffi_string(c.base + value.off, value.len)
    end
  end
end

-- An object that is called, for compiled loops can make one but no function.
local Samples = {}

function Samples.__call(self)
  local at = self.at
  if at < self.last then
    self.at = at + 1
    local c = self.state.columns
    return self.show(c.timestamps_ms[at]), base.number_at(c.values, at)
  end
end

--- for timestamp, value in series:samples() do ... end
---@return fun(): any, number?
function Series:samples()
  local state, index = check(self)
  local offsets = state.columns.sample_offsets
  return setmetatable({ state = state, at = offsets[index - 1], last = offsets[index],
    show = base.show[state.shown] }, Samples)
end

local kinds = { sample = lib.PRA_DATUM_SAMPLE, histogram = lib.PRA_DATUM_HISTOGRAM,
  exemplar = lib.PRA_DATUM_EXEMPLAR, metadata = lib.PRA_DATUM_METADATA,
  series = lib.PRA_DATUM_SERIES }

--- Refuses series number index of the request that a storage was handed.
function series.reject(state, index, reason, kind, count)
  if type(reason) ~= "string" then error("the reason is a " .. type(reason), 3) end
  local number = kinds[kind or "series"]
  if not number then error("no such kind of data: " .. tostring(kind), 3) end
  count = base.unsigned(count == nil and 1 or count)
  if not count then error("a count is not negative", 3) end
  if not state.call then error("only what a storage is handed can be refused", 3) end
  if not state.call.alive then
    error("this request is over: its series cannot be refused any more", 3)
  end
  local scratch = base.take()
  scratch.keep[1] = reason
  base.set_str(scratch.labels[0].value, reason)
  lib.pra_write_result_reject(state.result, number, index - 1, count, scratch.labels[0].value)
  base.give(scratch)
end

--- This series was not stored and never will be, everything else was; or just count (1) of its data
--- of a kind: "sample", "histogram", "exemplar".
---@param reason string
---@param kind string?
---@param count integer?
function Series:reject(reason, kind, count)
  local state, index = check(self)
  series.reject(state, index, reason, kind, count)
end

---- series tables, as C wants them

local function not_table(value, name)
  error(("field %s of a series is a %s, not a table"):format(name, type(value)), 0)
end

--- Puts the labels of a series, or those given instead, into scratch; their number. fill:
--- base.labels, or base.sorted_labels.
function series.fill_labels(scratch, one, labels, fill)
  local state = state_of(one)
  if state and not labels and not rawget(one, "_labels") then
    if state.refresh then state:refresh() end
    local c = state.columns
    local first, count = range(c.label_offsets, one.index)
    return base.label_spans(scratch, c.base, c.labels + first, count)
  end
  labels = labels or one.labels
  if type(labels) ~= "table" then not_table(labels, "labels") end
  local count, message = (fill or base.labels)(scratch, labels)
  if not count then error(message, 0) end
  return count
end

local function length_of(list, name, one)
  if type(list) == "cdata" then
    if columns.is_values(list) or columns.is_integers(list) then return #list end
    local n = base.integer(one.n)
    if not n or n < 0 then
      error(("field %s of a series is cdata: field n says how many there are"):format(name), 0)
    end
    return tonumber(n)
  end
  if type(list) ~= "table" then not_table(list, name) end
  return #list
end

-- An array of count elements: of a column or of cdata of the element's type itself, else a copy.
-- Arrays of other types cannot be told from lists that begin at 1: they are refused.
local function array_of(list, count, is_column, pointer_type, array_type)
  if type(list) ~= "cdata" then return array_type(count), true end
  if is_column(list) then return list.pointer end
  if columns.is_values(list) or columns.is_integers(list) then
    error("a list of a series is a Column of other numbers", 0)
  end
  local text, wanted = tostring(ffi.typeof(list)), tostring(pointer_type):match "([%w_]+) %*"
  local element, shape = text:gsub("const ", ""):gsub("%(&%)", ""):match "^ctype<([%w_]+) (.*)>$"
  if element ~= wanted or shape ~= "*" and not shape:find "^%[[%d?]+%]$" then
    error(("an array of a series is a %s, not a %s array"):format(text, wanted), 0)
  end
  if shape ~= "*" and ffi.sizeof(list) < 8 * count then
    error("an array of a series is shorter than its field n says", 0)
  end
  return ffi.cast(pointer_type, list)
end

local int64_pointer, double_pointer = ffi.typeof "const int64_t *", ffi.typeof "const double *"

local function integers_of(keep, slot, list, count)
  local array, copied = array_of(list, count, columns.is_integers, int64_pointer, int64_array)
  keep[slot] = array
  if copied then
    for i = 1, count do
      local value = base.integer(list[i])
      if not value then
        error(("sample %d of a series has no integer as timestamp"):format(i), 0)
      end
      array[i - 1] = value
    end
  end
  return array
end

local function values_of(keep, slot, list, count)
  local array, copied = array_of(list, count, columns.is_values, double_pointer, double_array)
  keep[slot] = array
  if copied then
    for i = 1, count do
      local value = list[i]
      value = type(value) == "number" and value or tonumber(value)
      if not value then error(("sample %d of a series has no number as value"):format(i), 0) end
      array[i - 1] = value
    end
  end
  return array
end

--- Timestamps, values, their number and start timestamps (nil: none) of a series, as arrays that
--- live until keep is emptied. Raises.
function series.samples(keep, one)
  local timestamps, values, starts = one.timestamps, one.values, one.start_timestamps
  local count = length_of(timestamps, "timestamps", one)
  local others = length_of(values, "values", one)
  if others ~= count then
    error(("a series has %d timestamps and %d values"):format(count, others), 0)
  end
  if starts ~= nil and length_of(starts, "start_timestamps", one) ~= count then
    error("a series has as many start_timestamps as timestamps, or none", 0)
  end
  keep.timestamps, keep.values, keep.starts = timestamps, values, starts
  return integers_of(keep, "timestamp_array", timestamps, count),
    values_of(keep, "value_array", values, count), count,
    starts ~= nil and integers_of(keep, "start_array", starts, count) or nil
end

--- The list in a field of a series that may have none.
function series.list(one, name)
  local list = one[name]
  if list ~= nil and type(list) ~= "table" then not_table(list, name) end
  return list or {}
end

--- Columns and the range of histograms of a series object that has no table of them; else nil.
function series.own_histograms(one)
  local state = state_of(one)
  if not state or rawget(one, "_histograms") then return nil end
  if state.refresh then state:refresh() end
  return state.columns, range(state.columns.histogram_offsets, one.index)
end

--- Whether a script was given tables of more than labels, which it may have changed.
function series.is_changed(one)
  return rawget(one, "_histograms") ~= nil or rawget(one, "_exemplars") ~= nil
end

series.state_of = state_of

return series
