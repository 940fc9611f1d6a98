"""usage: cdef_cffi.py LIBRARY CDEF...: cffi reads the declarations and calls through them."""

import sys

import cffi

library, *cdefs = sys.argv[1:]
ffi = cffi.FFI()
for cdef in cdefs:
    with open(cdef) as text:
        ffi.cdef(text.read())
pra = ffi.dlopen(library)
version = ffi.string(pra.pra_version_cstr()).decode()
major, minor, patch = map(int, version.split("."))
assert (major, minor) == (pra.PRA_VERSION_MAJOR, pra.PRA_VERSION_MINOR), version
assert pra.pra_version_number() == major * 10000 + minor * 100 + patch
