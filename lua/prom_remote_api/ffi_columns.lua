-- SPDX-License-Identifier: Apache-2.0

--- Columns: arrays of a request that are read like lists. A short one is a copy; a longer one
--- points into the request, which it keeps alive.
local ffi = require "ffi"
local base = require "prom_remote_api.ffi_base"

local columns = {}
local FEW = 8

---@class pra.Column
---@field n integer their number
local Column = {}
columns.Column = Column

-- What a column points into: column → anything that keeps it alive. Owners of requests count their
-- holders instead, so that they go in the same cycle of the collector.
local owners = setmetatable({}, { __mode = "k" })
local Owner, hold, release

--- Owners of type are held by hold(owner), which gives a number, until release(number).
function columns.shared(type, hold_owner, release_number)
  Owner, hold = type, hold_owner
  release = function(column) release_number(column.holds) end
end

local band, nan, HIGH = bit.band, base.nan, base.HIGH
local show, floor = base.show, math.floor

-- How an element is shown, by kind of column. See base.number_at about doubles.
local readers = {
  values = function(column, i)
    if band(column.words[2 * i + HIGH], 0x7ff00000) == 0x7ff00000 and
      band(column.words[2 * i + HIGH], 0x00070000) ~= 0 then return nan end
    return column.pointer[i]
  end,
  offsets = function(column, i) return column.pointer[i] end,
}
for name, shown in pairs(show) do
  readers[name] = function(column, i) return shown(column.pointer[i]) end
end

local function new_type(kind, element, read)
  local declared = ([[struct { // %s: each kind is a type, also where types are remembered by text
    union { const %s *pointer; const int32_t *words; };
    int32_t n, holds;
    %s own[%d];
  }]]):format(kind, element, element, FEW)
  return ffi.metatype(ffi.typeof(declared), {
    __index = function(column, key)
      if type(key) == "number" then
        if key >= 1 and key <= column.n and floor(key) == key then
          return read(column, key - 1)
        end
        return nil
      end
      return Column[key]
    end,
    __newindex = function()
      error("a Column cannot be changed; column:totable() gives a table that can", 2)
    end,
    __len = function(column) return column.n end,
  })
end

local types = {
  values = new_type("values", "double", readers.values),
  offsets = new_type("offsets", "uint32_t", readers.offsets),
  number = new_type("number", "int64_t", readers.number),
  string = new_type("string", "int64_t", readers.string),
  cdata = new_type("cdata", "int64_t", readers.cdata),
}

local ffi_copy = ffi.copy

-- kind: values, offsets, or the way in which integers are shown. size: of an element.
local function new(kind, size, pointer, count, owner)
  local column = types[kind]()
  column.n = count
  if count <= FEW then
    ffi_copy(column.own, pointer, count * size)
    column.pointer = column.own
  else
    column.pointer = pointer
    if ffi.istype(Owner, owner) then
      column.holds = hold(owner)
      ffi.gc(column, release)
    else
      owners[column] = owner
    end
  end
  return column
end

--- count doubles at pointer, which owner keeps alive.
function columns.values(pointer, count, owner) return new("values", 8, pointer, count, owner) end

--- Integers of 64 bits, shown as base.show[shown] says.
function columns.integers(shown, pointer, count, owner)
  return new(shown, 8, pointer, count, owner)
end

function columns.offsets(pointer, count, owner) return new("offsets", 4, pointer, count, owner) end

function columns.is_values(object) return ffi.istype(types.values, object) end

function columns.is_integers(object)
  return ffi.istype(types.number, object) or ffi.istype(types.string, object)
    or ffi.istype(types.cdata, object)
end

local function is_column(object)
  for _, kind in pairs(types) do
    if ffi.istype(kind, object) then return true end
  end
  return false
end

--- A list of the elements first (1) to last (all there are).
---@param first integer?
---@param last integer?
---@return any[]
function Column:totable(first, last)
  if not is_column(self) then error("totable is asked of a column", 2) end
  first, last = math.max(first or 1, 1), math.min(last or self.n, self.n)
  local list = {}
  for i = first, last do list[i - first + 1] = self[i] end
  return list
end

return columns
