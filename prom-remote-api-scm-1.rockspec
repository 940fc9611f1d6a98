rockspec_format = "3.0"
package = "prom-remote-api"
version = "scm-1" -- `./dev rock` makes the rockspec of a release from this one
source = { url = "git+file://." } -- `luarocks make` builds what it stands beside
description = {
  summary = "Prometheus remote write and remote read, with the storage in Lua",
  detailed = [[
    Backends and filters for Prometheus remote write 1.0 and 2.0 and remote read: a storage is a
    table of functions. For Lua 5.1 to 5.4, and LuaJIT (also in nginx) through its FFI.
  ]],
  license = "Apache-2.0",
  labels = { "prometheus", "monitoring", "protobuf" },
}
supported_platforms = { "linux" }
dependencies = { "lua >= 5.1, < 5.5" }
-- Besides: CMake 3.25, Ninja, a C and a C++ compiler, swig, nanopb (its generator and libnanopb-dev).
external_dependencies = {
  SNAPPY = { header = "snappy-c.h", library = "snappy" },
  RE2 = { header = "re2/re2.h", library = "re2" },
  MD = { header = "md5.h", library = "md" },
  XXHASH = { header = "xxhash.h" },
  MICROHTTPD = { header = "microhttpd.h", library = "microhttpd" },
  GNUTLS = { header = "gnutls/gnutls.h", library = "gnutls" },
  YAML = { header = "yaml.h", library = "yaml" },
  CRYPT = { header = "crypt.h", library = "crypt" },
}
build = {
  type = "command",
  build_command = "cmake --fresh -G Ninja -S . -B build/rock -DCMAKE_BUILD_TYPE=RelWithDebInfo -DPRA_LUA=ON "
    .. "-DPRA_STORE_SQLITE=OFF '-DPRA_LUA_INCLUDE_DIR=$(LUA_INCDIR)' "
    .. "'-DPRA_LUA_SHARE_DIR=$(LUADIR)' '-DPRA_LUA_LIB_DIR=$(LIBDIR)' "
    .. "&& cmake --build build/rock --parallel --target pra_lua",
  install_command = "cmake --install build/rock --component lua",
}
