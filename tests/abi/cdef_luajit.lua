-- usage: cdef_luajit.lua LIBRARY CDEF...: LuaJIT reads the declarations and calls through them.
local ffi = require "ffi"
local library = ...
for i = 2, select("#", ...) do
  ffi.cdef(assert(io.open((select(i, ...)))):read "*a")
end
local pra = ffi.load(library)
local version = ffi.string(pra.pra_version_cstr())
local major, minor, patch = version:match "^(%d+)%.(%d+)%.(%d+)$"
assert(tonumber(major) == pra.PRA_VERSION_MAJOR and tonumber(minor) == pra.PRA_VERSION_MINOR)
assert(pra.pra_version_number() == major * 10000 + minor * 100 + patch, version)
