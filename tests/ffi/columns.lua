-- usage: columns.lua LIBRARY CDEF: LuaJIT builds a request, encodes it, decodes it and reads its columns.
local ffi = require "ffi"
local library, cdef = ...
ffi.cdef(assert(io.open(cdef)):read "*a")
local pra = ffi.load(library)

local function check(rc)
  assert(rc == 0, "code " .. tonumber(rc))
end

local function new(kind)
  local out = ffi.new("pra_" .. kind .. "*[1]")
  check(kind == "buffer" and pra.pra_buffer_new(nil, out) or pra.pra_write_request_new(nil, out))
  return ffi.gc(out[0], pra["pra_" .. kind .. "_free"])
end

local function str(s)
  return ffi.new("pra_str", s, #s)
end

local SERIES, SAMPLES = 1000, 3
local built = new "write_request"
local labels = ffi.new("pra_label[2]")
local t, v = ffi.new("int64_t[?]", SAMPLES), ffi.new("double[?]", SAMPLES)
for i = 0, SERIES - 1 do
  local instance = "host-" .. i -- kept alive until it is copied
  labels[0].name, labels[0].value = str "__name__", str "up"
  labels[1].name, labels[1].value = str "instance", str(instance)
  check(pra.pra_write_request_add_series(built, labels, 2))
  for k = 0, SAMPLES - 1 do
    t[k], v[k] = 1700000000000LL + k, i + k
  end
  check(pra.pra_write_request_add_samples(built, t, v, nil, SAMPLES))
end
local plain, block = new "buffer", new "buffer"
check(pra.pra_write_request_encode(built, pra.PRA_WRITE_V1, plain, nil))
check(pra.pra_snappy_compress(pra.pra_buffer_data(plain), pra.pra_buffer_len(plain), block, nil))

local request = new "write_request"
check(pra.pra_write_request_decode_snappy(request, pra.PRA_WRITE_V1, pra.pra_buffer_data(block),
  pra.pra_buffer_len(block), nil, nil))
local c = ffi.new("pra_columns", { size = ffi.sizeof "pra_columns" })
check(pra.pra_write_request_columns(request, c))
assert(c.series_count == SERIES and c.sample_count == SERIES * SAMPLES)
local sum, times = 0, 0LL
for i = 0, SERIES * SAMPLES - 1 do
  sum, times = sum + c.values[i], times + c.timestamps_ms[i]
end
assert(sum == SERIES * (SERIES - 1) / 2 * SAMPLES + SERIES * 3)
assert(times == 1700000000000LL * SERIES * SAMPLES + SERIES * 3)
local last = c.labels[c.label_offsets[SERIES - 1] + 1].value
assert(ffi.string(c.base + last.off, last.len) == "host-999")

local err = ffi.new "pra_error"
assert(pra.pra_write_request_decode(request, pra.PRA_WRITE_V1, "\10", 1, nil, err)
  == pra.PRA_ERR_PROTO)
assert(err.http_status == 400 and #ffi.string(err.message) > 0)
