-- SPDX-License-Identifier: Apache-2.0
-- Write requests: the one that a storage is handed, and those that a script decodes or builds.
local ffi = require "ffi"
local base = require "prom_remote_api.ffi_base"
local columns = require "prom_remote_api.ffi_columns"
local series = require "prom_remote_api.ffi_series"

local requests = {}
local lib = base.lib

---@class pra.Request
local Request = {}
requests.Request = Request

---- owners

-- What requests hold is no memory of Lua's, so its collector would not hurry. It is told when there
-- is more of it than of Lua's own, and than what does not matter: before a handle is taken, so that
-- it is one of those that come back, while caches still have it.
local FOREIGN = 5 * 1024 -- KiB: a large request and the one before
local SPARE = 28 * 1024 -- KiB: what a cycle of the collector may give back at once
local foreign, latest = 0, 0 -- KiB: of all, of the latest

local function relieve()
  if foreign > FOREIGN and foreign > collectgarbage "count" then
    collectgarbage("step", latest)
  end
end

-- Handles with their memory, for requests to come: { handle, KiB }, together spare KiB. Finalizers
-- put them there, at any allocation; at the end of a Lua state they run in any order, so that what
-- comes behind that of the list is freed.
local MOST_SPARE = 8
local spares, spare = {}, 0
local ending = ffi.gc(ffi.new "int[1]", function()
  for _, one in ipairs(spares) do lib.pra_write_request_free(one[1]) end
  spares = nil
end)

local function put_aside(handle, kib)
  if not spares or #spares == MOST_SPARE or spare + kib > SPARE then
    return lib.pra_write_request_free(handle)
  end
  lib.pra_write_request_reset(handle)
  spare = spare + kib
  spares[#spares + 1] = { handle, kib }
end

-- Who holds a handle, by number: the request (its owner) and long columns. All of them may die in
-- one cycle of the collector and in any order; the last gives the handle back.
local held = {} -- number → { handle, KiB, keep, holders }
local numbers = 0
local unused = {} -- numbers

local function let_go(number)
  local one = held[number]
  one.holders = one.holders - 1
  if one.holders > 0 then return end
  held[number] = nil
  unused[#unused + 1] = number
  foreign = foreign - one.kib
  if one.keep then
    put_aside(one.handle, one.kib)
  else
    lib.pra_write_request_free(one.handle)
  end
end

local Owner = ffi.metatype(ffi.typeof "struct { int32_t number; }", {
  __gc = function(owner) let_go(owner.number) end,
})

-- Takes a handle; keep: it may be used for another request afterwards.
local function own(handle, keep)
  local kib = tonumber(lib.pra_write_request_memory(handle)) / 1024
  local number = table.remove(unused)
  if not number then
    numbers = numbers + 1
    number = numbers
  end
  held[number] = { handle = handle, kib = kib, keep = keep, holders = 1 }
  local owner = Owner(number)
  foreign, latest = foreign + kib, kib
  return owner
end

-- For columns: see ffi_columns.lua.
columns.shared(Owner, function(owner)
  local one = held[owner.number]
  one.holders = one.holders + 1
  return owner.number
end, let_go)

---- states: see ffi_series.lua; also raw (the handle), bytes (that it borrows), mark

-- A request is userdata whose environment is its state: a table with weak keys would keep states
-- and what they own for one more cycle of the collector.
local getfenv, setfenv = debug.getfenv, debug.setfenv
local prototype = newproxy(true)
local mark = {} -- of states

local function refresh(state)
  if state.changed then
    base.check(lib.pra_write_request_columns(state.raw, state.columns))
    state.changed = false
  end
end

local function new(raw, owner, shown, call)
  local state = { mark = mark, raw = raw, owner = owner, shown = shown, call = call, symbols = {},
    columns = ffi.new("pra_columns", { size = ffi.sizeof "pra_columns" }), changed = true }
  refresh(state)
  local object = newproxy(prototype)
  return setfenv(object, state), state
end

-- state, if its request is not over, as it is now.
local function current(state)
  if state.call and not state.call.alive then
    error("this request is over: it can be used until the storage function returns", 3)
  end
  if state.refresh then refresh(state) end
  return state
end

-- The state of self.
local function check(self)
  local state = getfenv(self)
  if not state or rawget(state, "mark") ~= mark then
    error("a request is wanted, not a " .. type(self), 3)
  end
  return current(state)
end

-- The same, of which something is to be shown that may stay.
local function check_kept(self)
  local state = check(self)
  if not state.owner then
    relieve()
    local handle = lib.pra_write_request_share(state.raw)
    if handle == nil then error("not enough memory", 0) end
    state.owner = own(handle)
  end
  return state
end

--- The request that a storage is handed; result: its pra_write_result. It is over with call.
function requests.view(call, raw, result, shown)
  local object, state = new(ffi.cast("pra_write_request *", raw), nil, shown, call)
  state.result = result
  return object
end

---- fields

local getters = {}

function getters.version(self) return lib.pra_write_request_version(check(self).raw) end

for _, name in ipairs { "series_count", "sample_count", "histogram_count", "exemplar_count" } do
  getters[name] = function(self) return tonumber(check(self).columns[name]) end
end

local types = { [0] = "unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary",
  "info", "stateset" }
local numbers_of_types = {}
for number, name in pairs(types) do numbers_of_types[name] = number end

function getters.metadata(self)
  local c, list = check(self).columns, {}
  for i = 0, tonumber(c.metadata_count) - 1 do
    local entry = c.metadata[i]
    local alone = entry.series == 0xffffffff
    list[i + 1] = {
      type = types[entry.type] or "unknown",
      family = alone and base.span(c.base, entry.family) or nil,
      series = not alone and entry.series + 1 or nil,
      help = base.span(c.base, entry.help),
      unit = base.span(c.base, entry.unit),
    }
  end
  return list
end

function getters.timestamps(self)
  local state = check_kept(self)
  local c = state.columns
  return series.integers(state, c.timestamps_ms, tonumber(c.sample_count))
end

function getters.values(self)
  local state = check_kept(self)
  local c = state.columns
  return series.values(state, c.values, tonumber(c.sample_count))
end

function getters.start_timestamps(self)
  local state = check_kept(self)
  local c = state.columns
  if c.start_timestamps_ms == nil then return nil end
  return series.integers(state, c.start_timestamps_ms, tonumber(c.sample_count))
end

for _, name in ipairs { "sample_offsets", "label_offsets", "histogram_offsets",
  "exemplar_offsets" } do
  getters[name] = function(self)
    local state = check_kept(self)
    local count = tonumber(state.columns.series_count) + 1
    local pointer, owner = state.columns[name], state.owner
    if state.copied then
      owner = ffi.new("uint32_t[?]", count)
      ffi.copy(owner, pointer, 4 * count)
      pointer = owner
    end
    return columns.offsets(pointer, count, owner)
  end
end

function getters.fingerprints(self)
  local state, list = check(self), {}
  for i = 1, tonumber(state.columns.series_count) do list[i] = series.fingerprint(state, i) end
  return list
end

local metatable = getmetatable(prototype)
metatable.__metatable = "locked"

function metatable.__index(self, key)
  local method = Request[key]
  if method ~= nil then return method end
  local get = getters[key]
  if get then return get(self) end
end

function metatable.__newindex() error("a request has no fields that can be set", 2) end

function metatable.__len(self) return getters.series_count(self) end

---- iterators

--- for series, number in request:series() do ... end
---@return fun(): pra.Series?, integer?
function Request:series()
  local state, at = check_kept(self), 0
  return function()
    current(state)
    if at < state.columns.series_count then
      at = at + 1
      return series.new(state, at), at
    end
  end
end

--- for number, labels in request:labels() do ... end: tables of labels and nothing else.
---@return fun(): integer?, table<string, string>?
function Request:labels()
  local state, at = check(self), 0
  return function()
    current(state)
    if at < state.columns.series_count then
      at = at + 1
      return at, series.labels(state, at)
    end
  end
end

--- for number, name, value in request:each_label() do ... end: without tables.
---@return fun(): integer?, string?, string?
function Request:each_label()
  local state, at, k = check(self), 1, 0
  return function()
    current(state)
    local c = state.columns
    if k < c.label_count then
      while k >= c.label_offsets[at] do at = at + 1 end
      k = k + 1
      return at, series.label(state, k - 1)
    end
  end
end

--- Series number `number` was not stored and never will be, everything else was; or just count (1)
--- of its data of a kind: "sample", "histogram", "exemplar".
---@param number integer
---@param reason string
---@param kind string?
---@param count integer?
function Request:reject(number, reason, kind, count)
  local state = check(self)
  local index = base.integer(number)
  if not index or index < 1 then error("series are counted from 1", 2) end
  series.reject(state, index, reason, kind, count)
end

--- The same request, to be kept beyond the call.
---@return pra.Request?
function Request:copy()
  local state = check(self)
  relieve()
  local handle = lib.pra_write_request_share(state.raw)
  if handle == nil then return base.failure(lib.PRA_ERR_BUSY) end
  if state.owner then held[state.owner.number].keep = false end
  local object, copy = new(handle, own(handle), state.shown)
  copy.bytes = state.bytes
  if state.built then copy.built, copy.copied, copy.refresh = true, true, refresh end
  return object
end

---- decoding and encoding

local function take_handle()
  relieve()
  local count = ending and #spares
  if count > 0 then
    local one = spares[count]
    spares[count] = nil
    spare = spare - one[2]
    return one[1]
  end
  local out = ffi.new "pra_write_request *[1]"
  base.fresh()
  local code = lib.pra_write_request_new(nil, out)
  if code ~= 0 then return nil, code end
  return out[0]
end

local function decode_into(handle, data, version, compressed, limits)
  local decode = compressed and lib.pra_write_request_decode_snappy or lib.pra_write_request_decode
  return decode(handle, version, data, #data, limits, base.fresh())
end

--- A request from its bytes. limits: of requests.Limits, or nil.
function requests.decode(data, version, compressed, limits, integers)
  if type(data) ~= "string" then error("what is decoded is a string, not a " .. type(data), 3) end
  local shown = base.integers(integers)
  local handle, code = take_handle()
  if not handle then return base.failure(code) end
  code = decode_into(handle, data, version, compressed, limits)
  while code == lib.PRA_ERR_BUSY do -- somebody else still has what was in it
    lib.pra_write_request_free(handle)
    handle, code = take_handle()
    if not handle then return base.failure(code) end
    code = decode_into(handle, data, version, compressed, limits)
  end
  if code ~= 0 then
    local message = base.message(code)
    lib.pra_write_request_free(handle)
    return nil, message, tonumber(code)
  end
  local object, state = new(handle, own(handle, true), shown)
  if not compressed then state.bytes = data end
  return object
end

local function compress(buffer, data)
  return lib.pra_snappy_compress(data, #data, buffer, base.fresh())
end

local function fill_message(buffer, raw, version)
  return lib.pra_write_request_encode(raw, version, buffer, base.fresh())
end

--- The bytes of a message, as a block of snappy if that is wanted.
function requests.block(bytes, message, code)
  if not bytes then return nil, message, code end
  return base.filled(compress, bytes)
end

function Request:encode(version, compressed)
  local state = check(self)
  local bytes, message, code = base.filled(fill_message, state.raw, version)
  if not compressed then return bytes, message, code end
  return requests.block(bytes, message, code)
end

requests.numbers_of_types = numbers_of_types
requests.new, requests.own = new, own
requests.check, requests.take_handle, requests.refresh = check, take_handle, refresh

return requests
