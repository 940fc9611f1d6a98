# What the LuaJIT FFI face needs beside its sources: the declarations of pra.h as a Lua module.
set(cdef ${PROJECT_BINARY_DIR}/pra.cdef.h)
set(cdef_lua ${lua_build}/share/prom_remote_api/cdef.lua)
get_target_property(soversion pra SOVERSION)
add_custom_command(
  OUTPUT ${cdef_lua}
  COMMAND ${CMAKE_COMMAND} -D IN=${cdef} -D OUT=${cdef_lua} -D SOVERSION=${soversion}
          -P ${CMAKE_CURRENT_SOURCE_DIR}/lua_cdef.cmake
  DEPENDS ${cdef} pra_cdef ${CMAKE_CURRENT_SOURCE_DIR}/lua_cdef.cmake
  COMMENT "FFI text: cdef.lua"
  VERBATIM)
add_custom_target(pra_lua_cdef DEPENDS ${cdef_lua})
add_dependencies(pra_lua pra_lua_cdef)
