-- SPDX-License-Identifier: Apache-2.0

--- libpra over LuaJIT's FFI: the library, failures, numbers, strings.
---
--- Rules of the files ffi*.lua
--- * What C is given for the time of a call (strings, arrays) is kept in a table that is used again
---   behind the call: a collector may run at every allocation, and compiled code forgets locals.
--- * Memory that is used for a call only is taken from a list and given back: a finalizer may call
---   into the module at any allocation.
--- * No double of the network becomes a Lua value but through base.number_at: LuaJIT does not look
---   at the bits of what it loads, and NaNs with other bits are its tables and strings.
local ffi = require "ffi"
local bit = require "bit"
local cdef = require "prom_remote_api.cdef"

local base = {}

---- the library

local function load_library()
  local path = package.searchpath and package.searchpath("prom_remote_api.libpra", package.cpath)
  return ffi.load(path or ("libpra.so." .. cdef.soversion))
end

if not pcall(ffi.typeof, "pra_columns") then ffi.cdef(cdef.text) end
local lib = load_library()
base.lib = lib

do
  local version = lib.pra_version_number()
  local major, minor = math.floor(version / 10000), math.floor(version / 100) % 100
  if major ~= lib.PRA_VERSION_MAJOR or minor ~= lib.PRA_VERSION_MINOR then
    error(("libpra has version %d.%d, prom_remote_api is made for %d.%d"):format(major, minor,
      lib.PRA_VERSION_MAJOR, lib.PRA_VERSION_MINOR))
  end
end

---- failures

base.err = ffi.new "pra_error" -- of the call before: read it at once

--- The error for the next call, empty.
function base.fresh()
  base.err.code = 0
  return base.err
end

function base.strerror(code) return ffi.string(lib.pra_strerror(code)) end

--- What a call that returned code says.
function base.message(code)
  if base.err.code ~= 0 then return ffi.string(base.err.message) end
  return code == lib.PRA_ERR_NOMEM and "not enough memory" or base.strerror(code)
end

--- nil, message, code
function base.failure(code) return nil, base.message(code), tonumber(code) end

--- Raises what a call failed with that cannot fail but for want of memory or by a wrong argument.
function base.check(code)
  if code ~= 0 then error(base.message(code), 0) end
end

---- integers

local int64, uint64 = ffi.typeof "int64_t", ffi.typeof "uint64_t"
local EXACT = 2 ^ 53
local floor = math.floor

-- A decimal string: its value as uint64_t, its sign; nil if it is none or too long.
local function parse(text)
  local sign, digits = text:match "^([+-]?)0*(%d*)$"
  if not sign or #text == #sign or #digits > 20 then return nil end
  local value = 0ULL
  for i = 1, #digits do
    local next = value * 10 + (digits:byte(i) - 48)
    if i == 20 and (next < value or value > 1844674407370955161ULL) then return nil end
    value = next
  end
  return value, sign == "-"
end

local MOST = 0x7fffffffffffffffULL

--- Number, decimal string or cdata → what an int64_t can be set to; nil if it is no such integer.
---@return number|ffi.cdata*|nil
function base.integer(value)
  local kind = type(value)
  if kind == "number" then
    if value >= -0x1p63 and value < 0x1p63 and floor(value) == value then return value end
  elseif kind == "cdata" then
    if ffi.istype(int64, value) then return value end
    if ffi.istype(uint64, value) then return value <= MOST and int64(value) or nil end
    local number = tonumber(value)
    return number and base.integer(number)
  elseif kind == "string" then
    local size, negative = parse(value)
    if not size or size > (negative and MOST + 1 or MOST) then return nil end
    return negative and -int64(size) or int64(size)
  end
end

--- The same for what a uint64_t can be set to.
function base.unsigned(value)
  local kind = type(value)
  if kind == "number" then
    if value >= 0 and value < 0x1p64 and floor(value) == value then
      return value < 0x1p63 and value or uint64(value)
    end
  elseif kind == "string" then
    local size, negative = parse(value)
    return size and not (negative and size > 0) and size or nil
  elseif kind == "cdata" and ffi.istype(uint64, value) then
    return value
  else
    local number = base.integer(value)
    return number and number >= 0 and number or nil
  end
end

--- How integers of 64 bits are shown, by the option `integers`.
base.show = {
  number = function(value)
    local number = tonumber(value)
    if number > -EXACT and number < EXACT then return number end
    if value == 0x20000000000000LL or value == -0x20000000000000LL then return number end
    return value
  end,
  string = function(value)
    return (tostring(value):gsub("U?LL$", ""))
  end,
  cdata = function(value) return value end,
}

--- Name of a way to show integers; raises if there is none of that name.
function base.integers(name)
  if name == nil then return "number" end
  if not base.show[name] then error("integers are shown as \"string\" or \"cdata\"", 0) end
  return name
end

--- A uint64_t, shown; nothing above 2^63 - 1 comes out negative.
function base.show_unsigned(show, value)
  if show == base.show.string or value <= MOST then
    return show(show ~= base.show.string and int64(value) or value)
  end
  return value
end

---- doubles

local nan = 0 / 0
local HIGH = ffi.abi "le" and 1 or 0
local band = bit.band
local words_type = ffi.typeof "const int32_t *"
base.nan, base.HIGH = nan, HIGH

--- Element index of an array of doubles as a Lua number. NaNs keep their bits as long as neither
--- these nor what arithmetic makes of them are among the values that LuaJIT tags; the others become
--- the usual NaN.
function base.number_at(pointer, index)
  local high = ffi.cast(words_type, pointer)[2 * index + HIGH]
  if band(high, 0x7ff00000) == 0x7ff00000 and band(high, 0x00070000) ~= 0 then return nan end
  return pointer[index]
end

local word_type = ffi.typeof "union { uint64_t bits; double number[1]; int32_t halves[2]; }"

--- The double that has these bits.
function base.number_of_bits(bits)
  local word = word_type()
  word.bits = bits
  return base.number_at(word.number, 0)
end

--- The bits of a number.
function base.bits_of(number)
  local word = word_type()
  word.number[0] = number
  return word.bits
end

--- Element of a struct: offset of a double in it.
local double_type, byte_type = ffi.typeof "const double *", ffi.typeof "const char *"
function base.number_in(struct, offset)
  return base.number_at(ffi.cast(double_type, ffi.cast(byte_type, struct) + offset), 0)
end

base.stale_nan = base.number_of_bits(0x7ff0000000000002ULL)

function base.is_stale(value)
  if type(value) ~= "number" then
    error("is_stale takes a number, not a " .. type(value), 2)
  end
  return value ~= value and base.bits_of(value) == 0x7ff0000000000002ULL
end

---- strings

local ffi_string = ffi.string

function base.text(str)
  if str.len == 0 then return "" end
  return ffi_string(str.ptr, str.len)
end

--- text of a pra_span
function base.span(buffer, span) return ffi_string(buffer + span.off, span.len) end

function base.set_str(str, text) str.ptr, str.len = text, #text end

---- memory for one call

local FEW = 64
local labels_type = ffi.typeof "pra_label[?]"
local free

--- {labels, room, keep}: to be given back, but after an error. What is put into keep lives until
--- then.
function base.take()
  local scratch = free
  if scratch then
    free = scratch.next
    scratch.next = nil
    return scratch
  end
  return { labels = labels_type(FEW), room = FEW, keep = {} }
end

function base.give(scratch)
  scratch.next = free
  free = scratch
end

local function grow(scratch)
  local labels = labels_type(2 * scratch.room)
  ffi.copy(labels, scratch.labels, scratch.room * ffi.sizeof "pra_label")
  scratch.labels, scratch.room = labels, 2 * scratch.room
  return labels
end

--- Makes room for count labels, forgetting those that are there.
function base.room(scratch, count)
  if count > scratch.room then
    scratch.labels, scratch.room = labels_type(count), count
  end
  return scratch.labels
end

local function not_labels(name, value)
  return ("labels hold a %s with a %s, not strings by strings"):format(type(name), type(value))
end

--- Puts a table of labels into scratch; their number, or nil and what is wrong with them.
function base.labels(scratch, labels)
  local raw, keep, room, count = scratch.labels, scratch.keep, scratch.room, 0
  for name, value in next, labels do
    if type(name) ~= "string" or type(value) ~= "string" then
      return nil, not_labels(name, value)
    end
    if count == room then
      raw = grow(scratch)
      room = scratch.room
    end
    keep[2 * count + 1], keep[2 * count + 2] = name, value
    local label = raw[count]
    label.name.ptr, label.name.len = name, #name
    label.value.ptr, label.value.len = value, #value
    count = count + 1
  end
  return count
end

local FEW_NAMES = 32

-- Sorts texts; few of them without a call that is not compiled.
local function sort(texts, count)
  if count > FEW_NAMES then return table.sort(texts) end
  for i = 2, count do
    local text, at = texts[i], i
    while at > 1 and texts[at - 1] > text do
      texts[at] = texts[at - 1]
      at = at - 1
    end
    texts[at] = text
  end
end

--- The same, sorted by name.
function base.sorted_labels(scratch, labels)
  local names, count = {}, 0
  for name, value in next, labels do
    if type(name) ~= "string" or type(value) ~= "string" then
      return nil, not_labels(name, value)
    end
    count = count + 1
    names[count] = name
  end
  sort(names, count)
  local raw, keep = base.room(scratch, count), scratch.keep
  for i = 1, count do
    local name, value = names[i], labels[names[i]]
    keep[2 * i - 1], keep[2 * i] = name, value
    base.set_str(raw[i - 1].name, name)
    base.set_str(raw[i - 1].value, value)
  end
  return count
end

--- Puts the labels of columns, from first on, into scratch.
function base.label_spans(scratch, buffer, spans, count)
  local raw = base.room(scratch, count)
  for i = 0, count - 1 do
    local label, span = raw[i], spans[i]
    label.name.ptr, label.name.len = buffer + span.name.off, span.name.len
    label.value.ptr, label.value.len = buffer + span.value.off, span.value.len
  end
  return count
end

---- output of encoders

--- Calls fill(buffer, ...), which returns a code: the bytes that it wrote, or nil, message, code.
function base.filled(fill, ...)
  local out = ffi.new "pra_buffer *[1]"
  base.fresh()
  local code = lib.pra_buffer_new(nil, out)
  if code ~= 0 then return base.failure(code) end
  local buffer = ffi.gc(out[0], lib.pra_buffer_free)
  code = fill(buffer, ...)
  if code ~= 0 then return base.failure(code) end
  local bytes = ffi_string(lib.pra_buffer_data(buffer), lib.pra_buffer_len(buffer))
  lib.pra_buffer_free(ffi.gc(buffer, nil)) -- not only when the collector comes by
  return bytes
end

---- keys

--- key(labels [, prefix]): prefix 0xFF name 0xFF value 0xFF …, sorted by name; a text in UTF-8
--- holds no 0xFF.
function base.key(labels, prefix)
  if type(labels) ~= "table" then
    error("bad argument #1 to 'key' (table expected, got " .. type(labels) .. ")", 2)
  end
  local names, parts, count, size = {}, {}, 0, 0
  for name, value in next, labels do
    if type(name) ~= "string" or type(value) ~= "string" then
      error(not_labels(name, value), 2)
    end
    count = count + 1
    names[count] = name
  end
  sort(names, count)
  if prefix and prefix ~= "" then size, parts[1] = 1, prefix end
  for i = 1, count do
    parts[size + 1], parts[size + 2] = names[i], labels[names[i]]
    size = size + 2
  end
  if size == 0 then return "" end
  parts[size + 1] = ""
  return table.concat(parts, "\255")
end

return base
